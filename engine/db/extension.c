/* SPDX-License-Identifier: Apache-2.0 */
/* engine/db/extension.c -- where an extension keeps its state. */
#include "engine/db/extension.h"
#include "engine/db/txn.h"
#include "engine/tree/cursor.h"
#include "engine/txn/txn_state.h"

struct extension_txn
extension_txn(kiln_txn *txn)
{
    return (struct extension_txn){&txn->extension, txn->snapshot.id};
}

bool
extension_txn_writes(const kiln_txn *txn)
{
    return txn->write;
}

ftk_status
extension_check_write(kiln_txn *txn)
{
    return txn_check_write(txn);
}

bool
extension_txn_scoped(const kiln_txn *txn)
{
    return txn->writer.savepoint_count > 0;
}

uint64_t
extension_txn_birth(const kiln_txn *txn)
{
    FTK_ASSERT(txn->write && txn->writer.birth > txn->snapshot.id);
    return txn->writer.birth;
}

void
extension_enter(kiln_txn *txn)
{
    txn->inside = true;
}

ftk_status
extension_answer(kiln_txn *txn, ftk_status status)
{
    if (txn == NULL)
        return status;
    txn->inside = false;
    return txn_answer(txn, status);
}

void **
extension_db(kiln_txn *txn)
{
    return &txn->db->extension;
}

ftk_status
extension_statement(kiln_txn *txn, ftk_status (*change)(kiln_txn *txn, void *context),
                    void *context)
{
    ftk_status rc = txn_check_write(txn);

    return rc != FTK_OK ? rc : txn_statement(txn, change, context);
}

bool
extension_cursor_ended(const kiln_cursor *cursor)
{
    return cursor->txn == NULL;
}

ftk_status
extension_options_read(const void *options, const char *name, void *known, size_t known_size)
{
    return struct_options_read(options, name, known, known_size);
}
