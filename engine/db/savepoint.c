/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/db/savepoint.c -- savepoints: set, release, roll back; statements.
 *
 * A statement is a savepoint of kiln's own around a call that changes several things, each of which
 * can fail (the catalog and a tree, rows and collections of the dictionary).  When one fails, the
 * call is rolled back alone, and the transaction goes on with the state before the call.  Its price
 * is that pages which the transaction made before are copied once more, so only calls that are rare
 * are statements.  A put or a delete takes what it needs beforehand instead (engine/txn/README.md,
 * rule 5).
 *
 * Invariants
 * 1. Setting one can fail, and then nothing has changed.  Releasing one and rolling back to it
 *    cannot: what they need was set aside when it was set (room in the operations for the log, and
 *    what the trees were: engine/db/trees.h).
 * 2. Pages made before the scope at hand stay as they are until it is released: a rollback finds
 *    them.  Then those that the scope replaced go back to the space map, so that a savepoint for
 *    each of a thousand statements costs the pages of one.
 * 3. A savepoint is in the log from when it is set.  A statement is there only if some of its
 *    operations had to leave for the log before its end (engine/txn/txn_log.c).
 * 4. A statement ends in the call that begins it: programs never see one open.
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

/* Room for the savepoint, in memory, was made: the scope begins. */
static void
scope_begin(kiln_txn *txn)
{
    struct txn_writer *writer = &txn->writer;
    struct txn_savepoint *savepoint = &writer->savepoints[writer->savepoint_count++];

    FTK_ASSERT(writer->savepoint_count <= writer->savepoint_capacity);
    *savepoint = (struct txn_savepoint){.trees_before = writer->before_count,
                                        .catalog = txn->catalog,
                                        .applied = txn->snapshot.applied};
    txn_scope_begin(txn, &savepoint->pages);
    txn->tree_last = NULL;
}

static void
scope_keep(kiln_txn *txn)
{
    struct txn_writer *writer = &txn->writer;

    trees_keep(txn, newest(writer));
    txn_scope_keep(txn, &newest(writer)->pages);
    writer->savepoint_count--;
}

static void
scope_take_back(kiln_txn *txn)
{
    struct txn_writer *writer = &txn->writer;
    const struct txn_savepoint *savepoint = newest(writer);

    txn_scope_take_back(txn, &savepoint->pages);
    uint64_t changes = txn->catalog.changes + 1;
    txn->catalog = savepoint->catalog;
    txn->catalog.changes = changes;
    txn->snapshot.applied = savepoint->applied;
    txn->refusal = TXN_FIT; /* what ended it has been undone */
    trees_restore(txn, savepoint);
    writer->savepoint_count--;
}

/* ---- savepoints ------------------------------------------------------------------------------ */

ftk_status
txn_savepoint(kiln_txn *txn)
{
    struct txn_writer *writer = &txn->writer;
    ftk_status rc;

    FTK_TRY(txn_check_write(txn));
    txn_unhold(txn);
    FTK_TRY(in_place_end(txn));
    if (txn->extension != NULL) {
        txn->inside = true; /* its calls that fail are not the program's */
        rc = db_extension_records.savepoint(txn);
        txn->inside = false;
        FTK_TRY(rc);
    }
    FTK_TRY(room_for_one(writer));
    FTK_TRY(txn_log_reserve(txn, 2 * log_op_bytes(OP_SAVEPOINT, 0, 0))); /* for its end as well */
    scope_begin(txn);
    writer->ops_kept++;
    txn_log_op(txn, OP_SAVEPOINT);
    FTK_DEBUG_ASSERT_SOUND(txn_pages_check(txn));
out:
    return rc;
}

ftk_status
txn_savepoint_release(kiln_txn *txn)
{
    ftk_status rc = txn_check_write(txn);

    if (rc != FTK_OK)
        return rc;
    if (txn->writer.savepoint_count == 0)
        return FTK_FAIL(FTK_STATE, "there is no savepoint");
    FTK_ASSERT(txn->writer.mark == NULL); /* invariant 4 */
    txn_unhold(txn);
    scope_keep(txn);
    txn->writer.ops_kept--;
    txn_log_op(txn, OP_RELEASE);
    FTK_DEBUG_ASSERT_SOUND(txn_pages_check(txn));
    return FTK_OK;
}

ftk_status
txn_savepoint_rollback(kiln_txn *txn)
{
    if (!txn->write)
        return FTK_FAIL(FTK_READONLY, "a read transaction has no savepoints");
    if (txn->refusal == TXN_BUSY)
        return txn_check_write(txn);
    if (txn->writer.savepoint_count == 0)
        return FTK_FAIL(FTK_STATE, "there is no savepoint");
    FTK_ASSERT(txn->writer.mark == NULL); /* invariant 4 */
    txn_unhold(txn);
    for (kiln_cursor *cursor = txn->cursors; cursor != NULL; cursor = cursor->next)
        cursor_unposition(cursor);
    if (txn->extension != NULL)
        db_extension_records.rollback(txn);
    scope_take_back(txn);
    txn->writer.ops_kept--;
    txn_log_op(txn, OP_ROLLBACK);
    FTK_DEBUG_ASSERT_SOUND(txn_pages_check(txn));
    return FTK_OK;
}

/* ---- statements ------------------------------------------------------------------------------ */

ftk_status
txn_statement(kiln_txn *txn, ftk_status (*change)(kiln_txn *txn, void *context), void *context)
{
    struct txn_log_mark mark;
    struct ftk_error error;
    ftk_status rc;

    txn_unhold(txn);
    FTK_TRY(in_place_end(txn));
    FTK_TRY(room_for_one(&txn->writer));
    FTK_TRY(txn_log_mark(txn, &mark));
    scope_begin(txn);
    rc = change(txn, context);
    if (rc == FTK_OK) {
        scope_keep(txn);
        txn_log_keep(txn, &mark);
        goto out;
    }
    error = *ftk_error_last();
    txn_unhold(txn);
    scope_take_back(txn);
    txn_log_take_back(txn, &mark);
    ftk_error_set(&error);
    FTK_DEBUG_ASSERT_SOUND(txn->writer.mark != NULL ? NULL : txn_pages_check(txn));
out:
    return rc;
}
