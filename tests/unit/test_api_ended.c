/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/test_api_ended.c -- what is left of a transaction that has ended does no harm.
 *
 * Cursors outlive it: their calls are KILN_STATE, and closing them is right at any time, in any
 * order, also when the database is closed.
 */
#include "ftk/bytes.h"
#include "tests/unit/engine_testing.h"

enum { CURSORS = 3 };

static void
calls_are_refused(kiln_cursor *cursor)
{
    kiln_slice key = {"x", 1}, value = {"x", 1}, none = {NULL, 0};

    STATUS(kiln_cursor_first(cursor), KILN_STATE);
    STATUS(kiln_cursor_last(cursor), KILN_STATE);
    STATUS(kiln_cursor_next(cursor), KILN_STATE);
    STATUS(kiln_cursor_prev(cursor), KILN_STATE);
    STATUS(kiln_cursor_seek(cursor, "a", 1), KILN_STATE);
    STATUS(kiln_cursor_seek_before(cursor, "a", 1), KILN_STATE);
    STATUS(kiln_cursor_bounds(cursor, none, none), KILN_STATE);
    STATUS(kiln_cursor_prefix(cursor, "a", 1), KILN_STATE);
    STATUS(kiln_cursor_item(cursor, &key, &value), KILN_STATE);
    CHECK(key.data == NULL && key.size == 0 && value.data == NULL && value.size == 0);
    STATUS(kiln_cursor_delete(cursor), KILN_STATE);
    CHECK(strstr(kiln_error_last()->text, "has ended") != NULL);
}

/* Cursors not yet placed, on a small value and on a large one. */
static void
cursors_open(kiln_txn *txn, kiln_coll coll, kiln_cursor **cursors)
{
    kiln_slice value;

    for (unsigned i = 0; i < CURSORS; i++)
        OK(kiln_cursor_open(txn, coll, i == 0 ? KILN_CURSOR_SCAN : 0, &cursors[i]));
    OK(kiln_cursor_first(cursors[1]));
    OK(kiln_cursor_item(cursors[1], NULL, &value));
    OK(kiln_cursor_last(cursors[2]));
    OK(kiln_cursor_item(cursors[2], NULL, &value));
}

/* How the transaction ends. */
enum ending { COMMIT, ABORT, COMMIT_OF_NOTHING, READ, ENDINGS };

static void
cursors_outlive_their_transaction(void)
{
    static uint8_t large[300000];
    struct simdisk *disk = simdisk_new(NULL);
    kiln_db *db = engine_open(disk, KILN_CREATE);
    kiln_txn *txn = engine_begin(db, KILN_WRITE);
    kiln_coll coll = engine_coll(txn, "c");
    kiln_cursor *cursors[ENDINGS][CURSORS];

    OK(kiln_put(txn, coll, "a", 1, "small", 5, 0));
    OK(kiln_put(txn, coll, "z", 1, large, sizeof large, 0));
    OK(kiln_txn_commit(txn));
    for (enum ending ending = 0; ending < ENDINGS; ending++) {
        txn = engine_begin(db, ending == READ ? KILN_READ : KILN_WRITE);
        if (ending < COMMIT_OF_NOTHING)
            OK(kiln_put(txn, coll, "b", 1, "more", 4, 0));
        cursors_open(txn, coll, cursors[ending]);
        if (ending == ABORT)
            kiln_txn_abort(txn);
        else
            OK(kiln_txn_commit(txn));
        for (unsigned i = 0; i < CURSORS; i++)
            calls_are_refused(cursors[ending][i]);
        kiln_cursor_close(cursors[ending][1]); /* one now, in the middle */
    }
    OK(kiln_close(db)); /* nothing is pinned */
    for (enum ending ending = 0; ending < ENDINGS; ending++) {
        calls_are_refused(cursors[ending][2]);
        kiln_cursor_close(cursors[ending][2]);
        kiln_cursor_close(cursors[ending][0]);
    }
    simdisk_free(disk);
}

static void
cursors_of_records_outlive_their_transaction(void)
{
    struct simdisk *disk = simdisk_new(NULL);
    kiln_db *db = engine_open(disk, KILN_CREATE);
    kiln_txn *txn = engine_begin(db, KILN_WRITE);
    kiln_index_options options = KILN_INDEX_OPTIONS_INIT;
    kiln_index_part part = {0};
    kiln_record_cursor *records;
    kiln_index_cursor *entries;
    kiln_record *record;
    kiln_container container;
    kiln_index index;
    uint64_t id = 0;

    OK(kiln_record_new(&record));
    OK(kiln_container_define(txn, "c", &container));
    OK(kiln_field_define(txn, "f", KILN_INT, &part.field));
    options.name = "i";
    options.container = container;
    options.parts = &part;
    options.part_count = 1;
    OK(kiln_index_define(txn, &options, &index));
    OK(kiln_record_int(record, part.field, 7));
    OK(kiln_record_add(txn, container, record, &id));
    OK(kiln_record_cursor_open(txn, container, 0, &records));
    OK(kiln_index_cursor_open(txn, index, NULL, 0, &entries));
    OK(kiln_record_cursor_next(records, &id, record));
    OK(kiln_index_cursor_next(entries, &id, NULL, NULL, 0));
    OK(kiln_txn_commit(txn));
    STATUS(kiln_record_cursor_next(records, &id, record), KILN_STATE);
    STATUS(kiln_index_cursor_next(entries, &id, NULL, NULL, 0), KILN_STATE);
    OK(kiln_close(db));
    STATUS(kiln_record_cursor_next(records, &id, record), KILN_STATE);
    kiln_record_cursor_close(records);
    kiln_index_cursor_close(entries);
    kiln_record_free(record);
    simdisk_free(disk);
}

/* ---- bulk builders --------------------------------------------------------------------------- */

static void
check_is_clean(kiln_db *db)
{
    OK(kiln_check(db, NULL));
}

static void
a_builder_has_its_collection_for_itself(void)
{
    struct simdisk *disk = simdisk_new(NULL);
    kiln_db *db = engine_open(disk, KILN_CREATE);
    kiln_txn *txn = engine_begin(db, KILN_WRITE);
    kiln_coll coll = engine_coll(txn, "c"), other = engine_coll(txn, "d");
    kiln_slice key = {"m", 1}, value;
    kiln_bulk *bulk, *second, *beside;
    uint64_t count;

    OK(kiln_bulk_begin(txn, coll, &bulk));
    OK(kiln_bulk_begin(txn, other, &beside)); /* of another collection */
    OK(kiln_bulk_add(bulk, "a", 1, "1", 1));
    STATUS(kiln_put(txn, coll, "m", 1, "v", 1, 0), KILN_STATE);
    STATUS(kiln_put_many(txn, coll, &key, &key, 1, 0, NULL), KILN_STATE);
    STATUS(kiln_delete(txn, coll, "a", 1), KILN_STATE);
    STATUS(kiln_coll_clear(txn, coll), KILN_STATE);
    STATUS(kiln_coll_drop(txn, coll), KILN_STATE);
    STATUS(kiln_bulk_begin(txn, coll, &second), KILN_STATE);
    CHECK(second == NULL);
    STATUS(kiln_get(txn, coll, "a", 1, &value), KILN_NOTFOUND);
    OK(kiln_bulk_add(beside, "x", 1, "1", 1));
    OK(kiln_bulk_add(bulk, "b", 1, "2", 1));
    OK(kiln_bulk_end(bulk));
    OK(kiln_put(txn, coll, "m", 1, "v", 1, 0));
    STATUS(kiln_savepoint(txn), KILN_STATE); /* the other is still at work */
    OK(kiln_bulk_end(beside));
    OK(kiln_txn_commit(txn));
    check_is_clean(db);
    txn = engine_begin(db, KILN_READ);
    OK(kiln_coll_count(txn, coll, &count));
    CHECK_EQ(count, 3);
    kiln_txn_abort(txn);
    OK(kiln_close(db));
    simdisk_free(disk);
}

/* What a builder holds is in no tree: a commit or a rollback with it would lose track of its pages,
 * and the log would have keys that the database has not. */
static void
a_builder_at_work_keeps_a_transaction_from_committing(void)
{
    struct simdisk *disk = simdisk_new(NULL);
    kiln_db *db = engine_open(disk, KILN_CREATE);
    kiln_txn *txn = engine_begin(db, KILN_WRITE);
    kiln_coll coll = engine_coll(txn, "c");
    kiln_bulk *bulk;
    kiln_slice value;
    uint64_t count;

    OK(kiln_txn_commit(txn));
    for (unsigned ending = 0; ending < 2; ending++) {
        txn = engine_begin(db, KILN_WRITE);
        OK(kiln_savepoint(txn));
        OK(kiln_bulk_begin(txn, coll, &bulk));
        for (uint32_t i = 0; i < 2000; i++) {
            uint8_t key[4];
            ftk_put_be32(key, i);
            OK(kiln_bulk_add(bulk, key, sizeof key, "a value of some bytes", 21));
        }
        STATUS(kiln_savepoint_rollback(txn), KILN_STATE);
        STATUS(kiln_savepoint_release(txn), KILN_STATE);
        if (ending == 0)
            STATUS(kiln_txn_commit(txn), KILN_STATE);
        else
            kiln_txn_abort(txn);
        STATUS(kiln_bulk_add(bulk, "z", 1, "", 0), KILN_STATE);
        if (ending == 0)
            STATUS(kiln_bulk_end(bulk), KILN_STATE);
        else
            OK(kiln_bulk_abort(bulk));
        check_is_clean(db);
    }
    db_abandon(db); /* as a crash: the log is replayed */
    db = engine_open(disk, 0);
    txn = engine_begin(db, KILN_WRITE);
    OK(kiln_coll_count(txn, coll, &count));
    CHECK_EQ(count, 0);
    OK(kiln_savepoint(txn)); /* ended first, it goes with the savepoint */
    OK(kiln_bulk_begin(txn, coll, &bulk));
    OK(kiln_bulk_add(bulk, "a", 1, "1", 1));
    OK(kiln_bulk_end(bulk));
    OK(kiln_savepoint_rollback(txn));
    STATUS(kiln_get(txn, coll, "a", 1, &value), KILN_NOTFOUND);
    OK(kiln_put(txn, coll, "a", 1, "2", 1, 0));
    OK(kiln_txn_commit(txn));
    check_is_clean(db);
    OK(kiln_close(db));
    simdisk_free(disk);
}

/* ---- structs --------------------------------------------------------------------------------- */

static void
structs_begin_as_their_initialisers_say(void)
{
    kiln_txn_options txn, txn_wanted = KILN_TXN_OPTIONS_INIT;
    kiln_index_options index;
    kiln_check_options check;
    kiln_coll_stat coll;
    kiln_stat stat;

    memset(&txn, 0xff, sizeof txn);
    kiln_txn_options_init(&txn);
    CHECK_EQ(txn.size, txn_wanted.size);
    CHECK_EQ(txn.kind, txn_wanted.kind);
    CHECK_EQ(txn.timeout_ms, txn_wanted.timeout_ms);
    memset(&index, 0xff, sizeof index);
    kiln_index_options_init(&index);
    CHECK(index.size == sizeof index && index.parts == NULL && index.flags == 0);
    memset(&check, 0xff, sizeof check);
    kiln_check_options_init(&check);
    CHECK(check.size == sizeof check && check.finding == NULL && check.progress == NULL);
    memset(&stat, 0xff, sizeof stat);
    kiln_stat_init(&stat);
    CHECK(stat.size == sizeof stat && stat.commits == 0);
    memset(&coll, 0xff, sizeof coll);
    kiln_coll_stat_init(&coll);
    CHECK(coll.size == sizeof coll && coll.keys == 0);
}

TEST_MAIN("api_ended", TEST(cursors_outlive_their_transaction),
          TEST(cursors_of_records_outlive_their_transaction),
          TEST(a_builder_has_its_collection_for_itself),
          TEST(a_builder_at_work_keeps_a_transaction_from_committing),
          TEST(structs_begin_as_their_initialisers_say))
