/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/db/trees.h -- the trees that a transaction has open: found by number, in the same time
 * however many there are; and what they were, for a rollback.
 *
 * Invariants
 * 1. Of two open trees with one number (a replay of an older log may make one, roll it back, and
 *    make it again) the newest is found.
 * 2. In a savepoint's scope what a tree was is noted before the scope first uses it (trees_use).
 *    So setting a savepoint costs the same with one tree open or 100,000, and a rollback puts back
 *    what its scope used, and nothing else, without reading anything.
 * 3. A tree object stays where it is until the transaction ends: cursors point to it.
 */
#ifndef ENGINE_TREES_H
#define ENGINE_TREES_H

#include "engine/txn/txn_state.h"

/* The open tree with this number, dropped or not; NULL: none. */
struct tree *trees_find(const kiln_txn *txn, kiln_coll coll);
/* Room for one more tree, so that trees_add cannot fail.  errors: FTK_NOMEM. */
ftk_status trees_reserve(kiln_txn *txn);
/* was: what a rollback makes of it.  Returns the open tree. */
struct tree *trees_add(kiln_txn *txn, const struct tree *tree, const struct tree *was);
/* The scope at hand is about to use the tree.  errors: FTK_NOMEM. */
ftk_status trees_use(kiln_txn *txn, struct tree *tree);
/* The newest savepoint, still in the list, is released; it is rolled back to. */
void trees_keep(kiln_txn *txn, const struct txn_savepoint *savepoint);
void trees_restore(kiln_txn *txn, const struct txn_savepoint *savepoint);

void trees_start(kiln_txn *txn);   /* none is open */
void trees_release(kiln_txn *txn); /* the memory */

#endif
