/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_engine_txn.c -- transactions: savepoints, errors that are final, states. */
#include <errno.h>

#include "tests/unit/engine_testing.h"

static struct simdisk *disk;
static kiln_db *db;
static kiln_txn *txn;
static kiln_coll coll;

static void
begin(void)
{
    disk = simdisk_new(NULL);
    db = engine_open(disk, KILN_CREATE);
    txn = engine_begin(db, KILN_WRITE);
    coll = engine_coll(txn, "c");
}

static void
end(void)
{
    OK(kiln_txn_commit(txn));
    engine_end(disk, db);
}

static void
savepoints_nest_and_roll_back_what_came_after_them(void)
{
    begin();
    OK(engine_put(txn, coll, "a", "0"));
    OK(kiln_savepoint(txn));
    OK(engine_put(txn, coll, "a", "1"));
    OK(kiln_savepoint(txn));
    OK(engine_put(txn, coll, "a", "2"));
    OK(engine_put(txn, coll, "b", "2"));
    OK(kiln_savepoint_rollback(txn));
    CHECK_VALUE(txn, coll, "a", "1");
    CHECK_VALUE(txn, coll, "b", NULL);
    OK(kiln_savepoint(txn));
    OK(engine_put(txn, coll, "c", "3"));
    OK(kiln_savepoint_release(txn));
    CHECK_VALUE(txn, coll, "c", "3");
    OK(kiln_savepoint_rollback(txn));
    CHECK_VALUE(txn, coll, "a", "0");
    CHECK_VALUE(txn, coll, "c", NULL);
    STATUS(kiln_savepoint_rollback(txn), KILN_STATE);
    STATUS(kiln_savepoint_release(txn), KILN_STATE);
    end();
}

static void
collection_made_behind_a_savepoint_goes_with_it(void)
{
    kiln_coll other = 0, again = 0;
    kiln_slice value;

    begin();
    for (unsigned i = 0; i < 3; i++) {
        OK(kiln_savepoint(txn));
        OK(kiln_coll_open(txn, "other", KILN_COLL_CREATE, &other));
        OK(engine_put(txn, other, "k", "v"));
        OK(kiln_coll_drop(txn, coll));
        STATUS(kiln_get(txn, coll, "k", 1, &value), KILN_NOTFOUND);
        OK(kiln_savepoint_rollback(txn));
        STATUS(kiln_coll_open(txn, "other", 0, &again), KILN_NOTFOUND);
        STATUS(engine_put(txn, other, "k", "v"), KILN_NOTFOUND);
        OK(engine_put(txn, coll, "k", "v"));
    }
    OK(kiln_coll_open(txn, "other", KILN_COLL_CREATE, &other));
    OK(engine_put(txn, other, "last", "v"));
    OK(kiln_txn_commit(txn));
    db_abandon(db);
    db = engine_open(disk, 0);
    txn = engine_begin(db, KILN_READ);
    CHECK_VALUE(txn, other, "last", "v");
    CHECK_VALUE(txn, coll, "k", "v");
    end();
}

static void
commit_releases_open_savepoints(void)
{
    begin();
    for (unsigned i = 0; i < 20; i++) {
        OK(kiln_savepoint(txn));
        OK(engine_series(txn, coll, i * 50, i * 50 + 100, 60));
    }
    OK(kiln_txn_commit(txn));
    engine_check(db);
    db_abandon(db);
    db = engine_open(disk, 0);
    engine_check(db);
    txn = engine_begin(db, KILN_READ);
    uint64_t count = 0;
    OK(kiln_coll_count(txn, coll, &count));
    CHECK_EQ(count, 1050);
    end();
}

static void
failed_sync_is_final_until_the_database_is_opened_again(void)
{
    kiln_txn *reader = NULL, *other = NULL;

    begin();
    OK(engine_put(txn, coll, "before", "v"));
    OK(kiln_txn_commit(txn));
    reader = engine_begin(db, KILN_READ);
    txn = engine_begin(db, KILN_WRITE);
    OK(engine_put(txn, coll, "doubtful", "v"));
    simdisk_fail(disk, SIMDISK_SYNC, 1, 1, EIO);
    STATUS(kiln_txn_commit(txn), KILN_FAILED);
    CHECK_HAS(kiln_error_last()->text, "opened again");
    CHECK_HAS(kiln_error_last()->text, "sync");
    simdisk_fail_clear(disk); /* the disk is well again: too late */
    STATUS(kiln_txn_begin(db, KILN_WRITE, &other), KILN_FAILED);
    STATUS(kiln_checkpoint(db), KILN_FAILED);
    CHECK_VALUE(reader, coll, "before", "v");
    OK(kiln_txn_renew(reader));
    CHECK_VALUE(reader, coll, "doubtful", NULL); /* never promised, never shown */
    kiln_txn_abort(reader);
    CHECK(kiln_close(db) != KILN_OK);
    simdisk_crash_as(disk, SIMDISK_NONE, 1);
    db = engine_open(disk, 0);
    txn = engine_begin(db, KILN_WRITE);
    CHECK_VALUE(txn, coll, "before", "v");
    OK(engine_put(txn, coll, "after", "v"));
    end();
}

static void
failed_checkpoint_is_final_and_loses_nothing(void)
{
    kiln_txn *other = NULL;

    for (unsigned op = 0; op < 2; op++) {
        begin();
        OK(engine_series(txn, coll, 0, 2000, 100));
        OK(kiln_txn_commit(txn));
        simdisk_fail(disk, op == 0 ? SIMDISK_WRITE : SIMDISK_SYNC, 1, 1, EIO);
        STATUS(kiln_checkpoint(db), KILN_IO);
        simdisk_fail_clear(disk);
        STATUS(kiln_txn_begin(db, KILN_WRITE, &other), KILN_FAILED);
        CHECK(kiln_close(db) != KILN_OK);
        db = engine_open(disk, 0);
        txn = engine_begin(db, KILN_READ);
        uint64_t count = 0;
        OK(kiln_coll_count(txn, coll, &count));
        CHECK_EQ(count, 2000);
        end();
    }
}

static void
wrong_calls_are_refused_and_change_nothing(void)
{
    static const uint8_t long_key[KILN_KEY_MAX + 1];
    kiln_txn *reader, *none = NULL;
    kiln_coll other = 0;
    kiln_slice slice = {NULL, 5}, key = {"k", 1};

    begin();
    OK(engine_put(txn, coll, "k", "v"));
    STATUS(kiln_close(db), KILN_STATE);
    STATUS(kiln_txn_begin(db, 7, &none), KILN_INVALID);
    STATUS(kiln_put(txn, coll, long_key, sizeof long_key, "", 0, 0), KILN_TOOBIG);
    STATUS(kiln_put(txn, coll, "", 0, "", 0, 0), KILN_INVALID);
    STATUS(kiln_put(txn, coll, NULL, 3, "", 0, 0), KILN_INVALID);
    STATUS(kiln_put(txn, coll, "k", 1, NULL, 3, 0), KILN_INVALID);
    STATUS(kiln_put(txn, coll, "k", 1, "", 0, 9), KILN_INVALID);
    STATUS(kiln_put(txn, coll, "k", 1, "x", (size_t)KILN_VALUE_MAX + 1, 0), KILN_TOOBIG);
    STATUS(kiln_put_many(txn, coll, &key, &slice, 1, 0, NULL), KILN_INVALID);
    STATUS(kiln_put(txn, coll + 50, "k", 1, "", 0, 0), KILN_NOTFOUND);
    STATUS(kiln_put(txn, 0, "k", 1, "", 0, 0), KILN_NOTFOUND);
    STATUS(kiln_coll_open(txn, "", KILN_COLL_CREATE, &other), KILN_INVALID);
    STATUS(kiln_coll_open(txn, NULL, KILN_COLL_CREATE, &other), KILN_INVALID);
    STATUS(kiln_coll_open(txn, "c", KILN_COLL_EXCLUSIVE, &other), KILN_EXISTS);
    STATUS(kiln_txn_renew(txn), KILN_STATE);
    CHECK_VALUE(txn, coll, "k", "v");
    OK(kiln_txn_commit(txn));
    reader = engine_begin(db, KILN_READ);
    STATUS(engine_put(reader, coll, "k", "w"), KILN_READONLY);
    STATUS(kiln_delete(reader, coll, "k", 1), KILN_READONLY);
    STATUS(kiln_savepoint(reader), KILN_READONLY);
    STATUS(kiln_coll_open(reader, "new", KILN_COLL_CREATE, &other), KILN_READONLY);
    CHECK_VALUE(reader, coll, "k", "v");
    txn = reader;
    end();
}

static void
reader_sees_its_snapshot_until_it_is_renewed(void)
{
    kiln_txn *reader;

    begin();
    OK(engine_put(txn, coll, "k", "1"));
    OK(kiln_txn_commit(txn));
    reader = engine_begin(db, KILN_READ);
    txn = engine_begin(db, KILN_WRITE);
    OK(engine_put(txn, coll, "k", "2"));
    CHECK_VALUE(reader, coll, "k", "1");
    CHECK_VALUE(txn, coll, "k", "2");
    OK(kiln_txn_commit(txn));
    CHECK_VALUE(reader, coll, "k", "1");
    OK(kiln_txn_renew(reader));
    CHECK_VALUE(reader, coll, "k", "2");
    txn = engine_begin(db, KILN_WRITE);
    OK(kiln_coll_drop(txn, coll));
    OK(kiln_txn_commit(txn));
    CHECK_VALUE(reader, coll, "k", "2");
    OK(kiln_txn_renew(reader));
    CHECK_VALUE(reader, coll, "k", NULL);
    txn = reader;
    end();
}

/* Beside a writer that has not committed, after one that aborted, and again and again. */
static void
renewal_without_a_commit_keeps_the_snapshot(void)
{
    kiln_cursor *cursor;
    kiln_txn *reader;
    kiln_slice key, value;
    kiln_stat stat = {.size = sizeof stat};
    uint64_t id;

    begin();
    OK(engine_put(txn, coll, "k", "1"));
    OK(kiln_txn_commit(txn));
    reader = engine_begin(db, KILN_READ);
    OK(kiln_stat_get(db, &stat));
    id = stat.oldest_reader_txn_id;
    OK(kiln_cursor_open(reader, coll, 0, &cursor));
    for (unsigned i = 0; i < 4; i++) {
        OK(kiln_cursor_first(cursor));
        OK(kiln_txn_renew(reader));
        CHECK_STATUS((ftk_status)kiln_cursor_item(cursor, &key, &value), FTK_STATE);
        CHECK_VALUE(reader, coll, "k", "1");
        txn = engine_begin(db, KILN_WRITE);
        OK(engine_put(txn, coll, "k", "2"));
        OK(kiln_txn_renew(reader));
        CHECK_VALUE(reader, coll, "k", "1");
        kiln_txn_abort(txn);
        CHECK_VALUE(reader, coll, "k", "1");
        OK(kiln_stat_get(db, &stat));
        CHECK_EQ(stat.oldest_reader_txn_id, id);
    }
    txn = engine_begin(db, KILN_WRITE);
    OK(engine_put(txn, coll, "k", "2"));
    OK(kiln_txn_commit(txn));
    OK(kiln_txn_renew(reader));
    CHECK_VALUE(reader, coll, "k", "2");
    OK(kiln_cursor_first(cursor));
    kiln_cursor_close(cursor);
    txn = reader;
    end();
}

/* Readers of a read-only database replay its log in memory and write nothing. */
static void
read_only_opening_replays_in_memory(void)
{
    kiln_options options = engine_options(KILN_OPEN_READONLY);
    uint64_t count = 0, steps;

    begin();
    OK(engine_series(txn, coll, 0, 5000, 200));
    OK(kiln_txn_commit(txn));
    db_abandon(db);
    steps = simdisk_steps(disk);
    for (unsigned i = 0; i < 2; i++) {
        REQUIRE_OK(engine_try_open(disk, &options, &db));
        txn = engine_begin(db, KILN_READ);
        OK(kiln_coll_count(txn, coll, &count));
        CHECK_EQ(count, 5000);
        kiln_txn_abort(txn);
        engine_check(db);
        OK(kiln_close(db));
    }
    CHECK_EQ(simdisk_steps(disk), steps);
    db = engine_open(disk, 0);
    txn = engine_begin(db, KILN_READ);
    end();
}

static uint64_t
applied_in(kiln_txn *of)
{
    uint64_t index = UINT64_MAX;

    OK(kiln_txn_applied(of, &index));
    return index;
}

/* Data and index are one state: with the commit, with a snapshot, and behind a rollback. */
static void
applied_index_is_that_of_what_is_seen(void)
{
    kiln_txn *before, *after;

    disk = simdisk_new(NULL);
    db = engine_open(disk, KILN_CREATE | KILN_EXTERNAL_LOG);
    txn = engine_begin(db, KILN_WRITE);
    CHECK_EQ(applied_in(txn), 0);
    OK(kiln_txn_set_applied(txn, 7));
    OK(kiln_txn_commit(txn));
    before = engine_begin(db, KILN_READ);
    CHECK_EQ(applied_in(before), 7);
    txn = engine_begin(db, KILN_WRITE);
    CHECK_EQ(applied_in(txn), 7);
    OK(kiln_txn_set_applied(txn, 8));
    OK(kiln_savepoint(txn));
    OK(kiln_txn_set_applied(txn, 9));
    OK(kiln_savepoint(txn));
    OK(kiln_txn_set_applied(txn, 10));
    OK(kiln_savepoint_rollback(txn));
    CHECK_EQ(applied_in(txn), 9);
    OK(kiln_savepoint_rollback(txn));
    CHECK_EQ(applied_in(txn), 8);
    OK(kiln_savepoint(txn));
    OK(kiln_txn_set_applied(txn, 11));
    OK(kiln_savepoint_release(txn));
    OK(kiln_txn_commit(txn));
    after = engine_begin(db, KILN_READ);
    CHECK_EQ(applied_in(before), 7);
    CHECK_EQ(applied_in(after), 11);
    kiln_txn_abort(before);
    kiln_txn_abort(after);
    txn = engine_begin(db, KILN_WRITE);
    OK(kiln_txn_set_applied(txn, 12));
    kiln_txn_abort(txn);
    txn = engine_begin(db, KILN_WRITE);
    CHECK_EQ(applied_in(txn), 11);
    end();
}

/* In any order of their ends. */
static void
oldest_reader_is_the_one_of_the_oldest_snapshot(void)
{
    kiln_stat stat = {.size = sizeof stat};
    kiln_txn *readers[3];
    uint64_t ids[3];

    begin();
    for (unsigned i = 0; i < 3; i++) {
        OK(engine_put(txn, coll, "a", "1"));
        OK(kiln_txn_commit(txn));
        readers[i] = engine_begin(db, KILN_READ);
        OK(kiln_stat_get(db, &stat));
        ids[i] = stat.txn_id;
        CHECK_EQ(stat.readers, i + 1);
        CHECK_EQ(stat.oldest_reader_txn_id, ids[0]);
        txn = engine_begin(db, KILN_WRITE);
    }
    kiln_txn_abort(readers[1]);
    OK(kiln_txn_commit(txn));
    OK(kiln_stat_get(db, &stat));
    CHECK_EQ(stat.oldest_reader_txn_id, ids[0]);
    kiln_txn_abort(readers[0]);
    OK(kiln_stat_get(db, &stat));
    CHECK_EQ(stat.readers, 1);
    CHECK_EQ(stat.oldest_reader_txn_id, ids[2]);
    kiln_txn_abort(readers[2]);
    OK(kiln_stat_get(db, &stat));
    CHECK_EQ(stat.oldest_reader_txn_id, 0);
    txn = engine_begin(db, KILN_WRITE);
    end();
}

TEST_MAIN("engine_txn", TEST(savepoints_nest_and_roll_back_what_came_after_them),
          TEST(collection_made_behind_a_savepoint_goes_with_it),
          TEST(commit_releases_open_savepoints),
          TEST(failed_sync_is_final_until_the_database_is_opened_again),
          TEST(failed_checkpoint_is_final_and_loses_nothing),
          TEST(wrong_calls_are_refused_and_change_nothing),
          TEST(reader_sees_its_snapshot_until_it_is_renewed),
          TEST(renewal_without_a_commit_keeps_the_snapshot),
          TEST(read_only_opening_replays_in_memory), TEST(applied_index_is_that_of_what_is_seen),
          TEST(oldest_reader_is_the_one_of_the_oldest_snapshot))
