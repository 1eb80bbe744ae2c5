/*
 * tests/unit/test_api_ended.c -- what is left of a transaction that has ended does no harm.
 *
 * Cursors outlive it: their calls are KILN_STATE, and closing them is right at any time, in any
 * order, also when the database is closed.
 */
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

TEST_MAIN("api_ended", TEST(cursors_outlive_their_transaction),
          TEST(cursors_of_records_outlive_their_transaction))
