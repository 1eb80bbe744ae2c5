/* SPDX-License-Identifier: Apache-2.0 */
/* engine/txn/txn_check.c -- do the fields and the page accounts of a transaction agree? */
#include "engine/txn/txn_state.h"

static const char *
check_retired(const kiln_txn *txn)
{
    for (size_t i = 0; i < txn->dead.count; i++)
        if (txn->dead.items[i].birth >= txn->birth_first)
            return "a page that the transaction made counts as one of an older snapshot";
    for (size_t i = 0; i < txn->retired_own.count; i++)
        if (txn->retired_own.items[i].birth < txn->birth_first)
            return "a page of an older snapshot counts as the transaction's";
    for (size_t i = txn_scope_born(txn); i < txn->born.list.count; i++)
        if (txn->born.list.items[i].birth < txn->birth_floor)
            return "a page of an outer scope counts as one of this scope";
    return NULL;
}

/* Marks and floors grow from scope to scope. */
static const char *
check_savepoints(const kiln_txn *txn)
{
    struct txn_savepoint below = {.birth_floor = txn->birth_first};

    for (size_t i = 0; i <= txn->savepoint_count; i++) {
        struct txn_savepoint now = {.trees_before = txn->before_count,
                                    .born = txn->born.list.count,
                                    .dead = txn->dead.count,
                                    .retired_own = txn->retired_own.count,
                                    .birth_floor = txn->birth_floor};
        if (i < txn->savepoint_count)
            now = txn->savepoints[i];
        if (now.birth_floor < below.birth_floor || now.trees_before < below.trees_before)
            return "a savepoint's scope begins before the one around it";
        if (now.born < below.born || now.dead < below.dead || now.retired_own < below.retired_own)
            return "a savepoint's scope has less than the one around it";
        below = now;
    }
    return NULL;
}

const char *
txn_pages_check(kiln_txn *txn)
{
    const char *fault = check_savepoints(txn);

    if (fault == NULL)
        fault = check_retired(txn);
    if (fault == NULL && (txn->birth < txn->birth_floor || txn->birth_floor < txn->birth_first))
        fault = "births do not grow";
    if (fault == NULL && !txn_born_is_sound(&txn->born, txn->db->space))
        fault = "a page that the transaction made is free, live, or missing in the index";
    if (fault == NULL && txn->logs && txn->ops_capacity - txn->ops_size < txn->savepoint_count)
        fault = "the log has no room for the ends of the savepoints";
    return fault;
}

void
txn_check(const kiln_txn *txn)
{
    if (txn->window != NULL && window_state(txn->window) != WINDOW_UNTRIED)
        return; /* another thread may be returning a leaf: window_check */
    FTK_ASSERT(atomic_load_explicit(&txn->slot->epoch, memory_order_relaxed) == 0);
    FTK_ASSERT((txn->held_page == 0) <= !txn->held_run);
    FTK_ASSERT(page_ref_is_none(txn->catalog.root) == (txn->catalog.height == 0));
    for (size_t i = 0; i < txn->tree_count; i++)
        FTK_ASSERT(page_ref_is_none(txn->trees[i]->root) == (txn->trees[i]->height == 0));
    if (!txn->write) {
        FTK_ASSERT(atomic_load_explicit(&txn->slot->snapshot, memory_order_relaxed) ==
                   txn->snapshot.id);
        FTK_ASSERT(txn->window == NULL);
        return;
    }
    FTK_ASSERT(txn->beside == NULL);
    FTK_ASSERT(txn->window == NULL || window_state(txn->window) == WINDOW_SHUT ||
               txn->window->txn == txn);
    FTK_ASSERT(txn->birth_first > txn->snapshot.id && txn->birth_first <= txn->birth_floor);
    FTK_ASSERT(txn->birth_floor <= txn->birth && txn->birth < txn->db->birth_next);
    FTK_ASSERT(txn->savepoint_count > 0 || txn->birth_floor == txn->birth_first);
    FTK_ASSERT(txn->ops_size <= txn->ops_capacity);
}
