/* engine/txn_internal.h -- shared by the txn_*.c files. */
#ifndef ENGINE_TXN_INTERNAL_H
#define ENGINE_TXN_INTERNAL_H

#include "engine/txn_state.h"

/* Free dead pages that no pinned snapshot reaches.  By the holder of the writer lock. */
void txn__reclaim(kiln_db *db);
/* Unposition the cursors of the transaction. */
void txn__cursors_reset(kiln_txn *txn);

bool txn__is_ended(const kiln_txn *txn);
uint64_t snapshots__reached(kiln_db *db);
bool window__leaf_take(kiln_txn *txn, struct tree *tree, const struct tree_path *path);
bool window__undo_room(struct in_place *mine, size_t bytes);
void window__undo_push(struct in_place *mine, const struct in_place_undo *undo);
void window__shut(kiln_txn *txn);

#endif
