/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/tree/cursor.h -- a position in a tree.
 *
 * Invariants
 * 1. A positioned cursor pins its leaf; key and value of its item stay readable until it moves.
 *    After a step that failed it is known by its key alone, and pins nothing.
 * 2. path[] is valid while the tree's `changes` is what it was; then the cursor finds its place
 *    again by its key (cursor->key, kept for cursors of write transactions, and of every one after
 *    a step that failed).
 * 3. An unpositioned cursor pins nothing.
 * 4. A cursor outlives its transaction until it is closed: then txn is NULL, and nothing else of it
 *    may be used.
 */
#ifndef ENGINE_CURSOR_H
#define ENGINE_CURSOR_H

#include "engine/tree/tree.h"

struct kiln_cursor {
    kiln_txn *txn; /* NULL: it has ended */
    struct tree *tree;
    kiln_cursor *next, *prev; /* of the transaction's cursors; the newest is first */
    uint32_t flags;
    bool positioned;
    bool plain;    /* positioned, in a read transaction, no bounds: the short ways are open */
    bool sought;   /* by a seek, and not moved since */
    bool deleted;  /* the item was deleted: key is its key, next gives the following one */
    bool renewed;  /* its transaction was, or has ended: a look at both before it moves */
    bool scanning; /* it goes forward through a snapshot: items ahead are prefetched */
    uint64_t changes;
    struct tree_path path;
    uint64_t pinned;     /* leaf, 0: none */
    uint32_t leaf_count; /* its items */
    uint32_t item_lines; /* cache lines that one of them touches, about */
    uint64_t next_leaf;  /* the one behind it, until its first items are prefetched; 0: none */
    uint64_t held_first; /* run of a large value, 0: none */
    uint64_t held_count;
    uint64_t ahead_page; /* parent whose children are being read ahead, and how far */
    uint32_t ahead_pos;
    uint32_t key_size;
    uint64_t prefix_page; /* whose prefix key[] begins with, 0: unknown */
    uint8_t key[NODE_KEY_BUFFER];
    uint32_t low_size, high_size;
    bool has_low, has_high;
    uint8_t low[NODE_KEY_MAX], high[NODE_KEY_MAX + 1];
};

ftk_status cursor_open_tree(kiln_txn *txn, struct tree *tree, uint32_t flags,
                            kiln_cursor **cursor_out);
void cursor_close(kiln_cursor *cursor);
void cursor_detach(kiln_cursor *cursor); /* its transaction ends */
void cursor_unposition(kiln_cursor *cursor);
ftk_status cursor_first(kiln_cursor *cursor);
ftk_status cursor_last(kiln_cursor *cursor);
ftk_status cursor_next(kiln_cursor *cursor);
ftk_status cursor_prev(kiln_cursor *cursor);
ftk_status cursor_seek(kiln_cursor *cursor, const void *key, size_t key_size);
ftk_status cursor_seek_before(kiln_cursor *cursor, const void *key, size_t key_size);
ftk_status cursor_item(kiln_cursor *cursor, kiln_slice *key_out, kiln_slice *value_out);
/* The leaf or run with this page, if a cursor of the transaction pins it. */
bool cursors_lend(const kiln_txn *txn, uint64_t page, struct lent_run *run_out);
ftk_status cursor_bounds(kiln_cursor *cursor, kiln_slice low, kiln_slice high);

#endif
