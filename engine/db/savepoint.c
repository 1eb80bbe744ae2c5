/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/db/savepoint.c -- savepoints: set, release, roll back.
 *
 * Invariants
 * 1. Setting one can fail, and then nothing has changed.  Releasing one and rolling back to it
 *    cannot: what they need was set aside when it was set (room in the operations for the log, and
 *    what the trees were: engine/db/trees.h).
 * 2. Pages made before the scope at hand stay as they are until it is released: a rollback finds
 *    them.  Then those that the scope replaced go back to the space map, so that a savepoint for
 *    each of a thousand statements costs the pages of one.
 */
#include "engine/db/trees.h"
#include "engine/db/txn.h"
#include "engine/tree/cursor.h"
#include "ftk/mem.h"

static struct txn_savepoint *
newest(struct txn_writer *writer)
{
    FTK_ASSERT(writer->savepoint_count > 0);
    return &writer->savepoints[writer->savepoint_count - 1];
}

static ftk_status
room_for_one(struct txn_writer *writer)
{
    size_t capacity = writer->savepoint_capacity == 0 ? 4 : writer->savepoint_capacity * 2;
    ftk_status rc = FTK_OK;

    if (writer->savepoint_count == writer->savepoint_capacity) {
        rc = ftk_realloc((void **)&writer->savepoints, capacity * sizeof(*writer->savepoints));
        if (rc == FTK_OK)
            writer->savepoint_capacity = capacity;
    }
    return rc;
}

ftk_status
txn_savepoint(kiln_txn *txn)
{
    struct txn_writer *writer = &txn->writer;
    ftk_status rc;

    FTK_TRY(txn_check_write(txn));
    txn_unhold(txn);
    FTK_TRY(in_place_end(txn));
    if (txn->extension != NULL)
        FTK_TRY(db_extension_records.savepoint(txn));
    FTK_TRY(room_for_one(writer));
    FTK_TRY(txn_log_reserve(txn, 2 * log_op_bytes(OP_SAVEPOINT, 0, 0))); /* for its end as well */
    writer->savepoints[writer->savepoint_count++] =
        (struct txn_savepoint){.trees_before = writer->before_count,
                               .born = writer->born.list.count,
                               .dead = writer->dead.count,
                               .retired_own = writer->retired_own.count,
                               .catalog = txn->catalog,
                               .applied = txn->snapshot.applied,
                               .birth_floor = writer->birth_floor};
    FTK_ASSERT(txn->db->birth_next > writer->birth);
    writer->birth = writer->birth_floor = db_birth_take(txn->db);
    txn->tree_last = NULL;
    txn_log_op(txn, OP_SAVEPOINT);
    FTK_DEBUG_ASSERT(txn_pages_check(txn) == NULL);
out:
    return rc;
}

/* Of what the scope replaced, drop what the scope around it made: no rollback wants it any more. */
static void
pages_keep(kiln_txn *txn, size_t from)
{
    struct txn_writer *writer = &txn->writer;
    struct space_extents *retired = &writer->retired_own;
    size_t kept = from;

    FTK_ASSERT(from <= retired->count);
    for (size_t i = from; i < retired->count; i++) {
        struct space_extent extent = retired->items[i];
        if (extent.birth < writer->birth_floor || !txn_page_drop(txn, extent))
            retired->items[kept++] = extent;
    }
    retired->count = kept;
}

ftk_status
txn_savepoint_release(kiln_txn *txn)
{
    struct txn_writer *writer = &txn->writer;
    ftk_status rc = txn_check_write(txn);

    if (rc != FTK_OK)
        return rc;
    if (writer->savepoint_count == 0)
        return FTK_FAIL(FTK_STATE, "there is no savepoint");
    txn_unhold(txn);
    trees_keep(txn, newest(writer));
    txn_log_op(txn, OP_RELEASE);
    writer->birth_floor = newest(writer)->birth_floor;
    size_t from = newest(writer)->retired_own;
    writer->savepoint_count--;
    pages_keep(txn, from);
    FTK_DEBUG_ASSERT(txn_pages_check(txn) == NULL);
    return FTK_OK;
}

ftk_status
txn_savepoint_rollback(kiln_txn *txn)
{
    struct txn_writer *writer = &txn->writer;
    const struct txn_savepoint *savepoint;

    if (!txn->write)
        return FTK_FAIL(FTK_READONLY, "a read transaction has no savepoints");
    if (writer->savepoint_count == 0)
        return FTK_FAIL(FTK_STATE, "there is no savepoint");
    txn_unhold(txn);
    for (kiln_cursor *cursor = txn->cursors; cursor != NULL; cursor = cursor->next)
        cursor_unposition(cursor);
    if (txn->extension != NULL)
        db_extension_records.rollback(txn);
    savepoint = newest(writer);
    txn_pages_give_back(txn, &writer->born.list, savepoint->born);
    txn_born_cut(&writer->born, savepoint->born);
    writer->dead.count = savepoint->dead;
    writer->retired_own.count = savepoint->retired_own;
    writer->birth_floor = savepoint->birth_floor;
    uint64_t changes = txn->catalog.changes + 1;
    txn->catalog = savepoint->catalog;
    txn->catalog.changes = changes;
    txn->snapshot.applied = savepoint->applied;
    writer->ended = writer->damaged = false; /* what ended it has been undone */
    trees_restore(txn, savepoint);
    txn_log_op(txn, OP_ROLLBACK);
    writer->savepoint_count--;
    FTK_DEBUG_ASSERT(txn_pages_check(txn) == NULL);
    return FTK_OK;
}
