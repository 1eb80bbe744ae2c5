/* SPDX-License-Identifier: Apache-2.0 */
/* engine/db/coll.h -- the catalog. */
#ifndef ENGINE_COLL_H
#define ENGINE_COLL_H

#include "engine/db/extension.h"
#include "engine/tree/tree.h"

/* ---- engine/db/coll.c: the catalog ---- */

/* The tree of a collection; borrowed from the transaction.  FTK_NOTFOUND. */
ftk_status txn_tree_slow(kiln_txn *txn, kiln_coll coll, struct tree **tree_out);
static inline ftk_status
txn_tree(kiln_txn *txn, kiln_coll coll, struct tree **tree_out)
{
    struct tree *last = txn->tree_last;
    if (FTK_LIKELY(last != NULL && last->id == coll && !last->dropped)) {
        *tree_out = last;
        return FTK_OK;
    }
    return txn_tree_slow(txn, coll, tree_out);
}
/* replay: make a collection with a given number. */
ftk_status coll_create_numbered(kiln_txn *txn, kiln_coll coll, uint8_t flags, const void *name,
                                size_t name_size);
ftk_status coll_drop(kiln_txn *txn, kiln_coll coll);
/* The cursor's transaction was renewed (cursor.renewed): its tree is read again. */
ftk_status coll_cursor_ready(kiln_cursor *cursor);
ftk_status coll_write_entries(kiln_txn *txn); /* at commit: dirty trees into the catalog */
/* Leaves that were returned meanwhile have made a tree dirty again. */
bool coll_entries_due(const kiln_txn *txn);
enum { COLL_RESERVED_NAME_BYTE = 1 }; /* names of the records part's collections begin with it */
/* Of the collections that programs see, in order of number, the one behind `after` (0: the first)
 * and `skip` more.  errors: FTK_NOTFOUND, FTK_TRUNCATED. */
ftk_status coll_name_next(kiln_txn *txn, kiln_coll after, uint64_t skip, char *buffer,
                          size_t buffer_size, kiln_coll *coll_out);
/* Calls each for every collection in order of number. */
ftk_status coll_each(kiln_txn *txn,
                     ftk_status (*each)(void *context, kiln_coll coll, const struct tree *tree,
                                        const uint8_t *name, size_t name_size),
                     void *context);

#endif
