/* SPDX-License-Identifier: Apache-2.0 */
/* engine/txn/txn_check.c -- do the fields and the page accounts of a transaction agree? */
#include "engine/txn/txn_state.h"
#include "ftk/invariant.h"

static const char *
check_retired(const struct txn_writer *writer)
{
    for (size_t i = 0; i < writer->dead.count; i++)
        if (writer->dead.items[i].birth >= writer->birth_first)
            return "a page that the transaction made counts as one of an older snapshot";
    for (size_t i = 0; i < writer->retired_own.count; i++)
        if (writer->retired_own.items[i].birth < writer->birth_first)
            return "a page of an older snapshot counts as the transaction's";
    for (size_t i = writer->scope_born; i < writer->born.list.count; i++)
        if (writer->born.list.items[i].birth < writer->birth_floor)
            return "a page of an outer scope counts as one of this scope";
    return NULL;
}

/* Marks and floors grow from scope to scope. */
static const char *
check_savepoints(const struct txn_writer *writer)
{
    struct txn_savepoint below = {.pages.birth_floor = writer->birth_first};

    for (size_t i = 0; i <= writer->savepoint_count; i++) {
        struct txn_savepoint now = {.trees_before = writer->before_count,
                                    .pages = {.born = writer->born.list.count,
                                              .dead = writer->dead.count,
                                              .retired_own = writer->retired_own.count,
                                              .birth_floor = writer->birth_floor}};
        if (i < writer->savepoint_count)
            now = writer->savepoints[i];
        if (now.pages.birth_floor < below.pages.birth_floor ||
            now.trees_before < below.trees_before)
            return "a savepoint's scope begins before the one around it";
        if (now.pages.born < below.pages.born || now.pages.dead < below.pages.dead ||
            now.pages.retired_own < below.pages.retired_own)
            return "a savepoint's scope has less than the one around it";
        below = now;
    }
    size_t begin = writer->savepoint_count == 0
                       ? 0
                       : writer->savepoints[writer->savepoint_count - 1].pages.born;
    return writer->scope_born == begin ? NULL : "the present scope does not begin at its savepoint";
}

const char *
txn_pages_check(kiln_txn *txn)
{
    const struct txn_writer *writer = &txn->writer;
    const char *fault = check_savepoints(writer);

    FTK_INVARIANT_COUNT("transaction's pages");
    if (fault == NULL)
        fault = check_retired(writer);
    if (fault == NULL &&
        (writer->birth < writer->birth_floor || writer->birth_floor < writer->birth_first))
        fault = "births do not grow";
    if (fault == NULL && !txn_born_is_sound(&writer->born, txn->db->space))
        fault = "a page that the transaction made is free, live, or missing in the index";
    if (fault == NULL && writer->logs && writer->ops_capacity - writer->ops_size < writer->ops_kept)
        fault = "the log has no room for the ends of the savepoints";
    if (fault == NULL && writer->mark == NULL && writer->ops_kept != writer->savepoint_count)
        fault = "room is kept in the log for the ends of more or fewer savepoints than there are";
    return fault;
}

/* What returning a leaf changes, by whichever thread: only where nobody can be about it. */
static void
check_trees(const kiln_txn *txn)
{
    const struct txn_writer *writer = &txn->writer;

    FTK_ASSERT(atomic_load_explicit(&txn->slot->epoch, memory_order_relaxed) == 0);
    FTK_ASSERT(txn->window == NULL || txn->window->txn == txn);
    FTK_ASSERT(page_ref_is_none(txn->catalog.root) == (txn->catalog.height == 0));
    for (size_t i = 0; i < txn->tree_count; i++)
        FTK_ASSERT(page_ref_is_none(txn->trees[i]->root) == (txn->trees[i]->height == 0));
    FTK_ASSERT(!txn->write ||
               (writer->birth_floor <= writer->birth && writer->birth < db_births(txn->db)));
}

static void
check_reader(const kiln_txn *txn)
{
    FTK_ASSERT(atomic_load_explicit(&txn->slot->snapshot, memory_order_relaxed) ==
               txn->snapshot.id);
    FTK_ASSERT(txn->window == NULL);
    FTK_ASSERT(txn->writer.savepoint_count == 0 && txn->writer.bulks == NULL);
    FTK_ASSERT(txn->writer.held_page == 0);
    lent_check(&txn->reader.lent);
}

static void
check_writer(const kiln_txn *txn)
{
    const struct txn_writer *writer = &txn->writer;

    FTK_ASSERT(txn->reader.beside == NULL);
    FTK_ASSERT(txn->window == NULL || txn->window == &txn->db->window);
    FTK_ASSERT(writer->birth_first > txn->snapshot.id &&
               writer->birth_first <= writer->birth_floor);
    FTK_ASSERT(writer->savepoint_count > 0 || writer->birth_floor == writer->birth_first);
    FTK_ASSERT(writer->ops_size <= writer->ops_capacity);
}

void
txn_check(const kiln_txn *txn)
{
    FTK_INVARIANT_COUNT("transaction");
    FTK_ASSERT((txn->writer.held_page == 0) <= !txn->writer.held_run);
    if (txn->write)
        check_writer(txn);
    else
        check_reader(txn);
    /* With a window another thread may be returning a leaf: window_check. */
    if (txn->window == NULL || window_state(txn->window) == WINDOW_UNTRIED)
        check_trees(txn);
}
