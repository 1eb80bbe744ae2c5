/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/test_api_errors.c -- an error's words belong to the call that has just failed.
 *
 * Each case first makes an error of another kind, a directory that is not there, whose words would
 * still stand if the call under test brought none.
 */
#include <pthread.h>
#include <string.h>

#include "tests/unit/engine_testing.h"

/* An older error of this thread: NOTFOUND too, so that the status alone does not tell. */
static void
older_error(void)
{
    kiln_db *db;

    STATUS(kiln_open("/nonexistent/directory/db", NULL, &db), KILN_NOTFOUND);
    CHECK(strstr(kiln_error_last()->text, "nonexistent") != NULL);
}

/* The call has given `status`, and its words contain `words`; the transaction knows them too. */
static void
answer_is(const kiln_txn *txn, kiln_status got, kiln_status status, const char *words)
{
    const kiln_error *error = kiln_error_last();

    CHECK_STATUS((ftk_status)got, (ftk_status)status);
    CHECK_EQ(error->status, status);
    CHECK(error->file != NULL && error->line > 0);
    if (strstr(error->text, words) == NULL)
        CHECK_STR(error->text, words);
    if (txn != NULL) {
        error = kiln_txn_error(txn);
        CHECK_EQ(error->status, status);
        CHECK(strstr(error->text, words) != NULL);
    }
    older_error();
}

static void
plain_answers_of_collections_have_words(void)
{
    struct simdisk *disk = simdisk_new(NULL);
    kiln_db *db = engine_open(disk, KILN_CREATE);
    kiln_txn *txn = engine_begin(db, KILN_WRITE);
    kiln_coll coll = engine_coll(txn, "c"), none = 0;
    kiln_cursor *cursor;
    kiln_slice value, key = {"k", 1};
    uint64_t size;
    size_t done;

    older_error();
    answer_is(txn, kiln_get(txn, coll, "k", 1, &value), KILN_NOTFOUND, "no such key");
    answer_is(txn, kiln_delete(txn, coll, "k", 1), KILN_NOTFOUND, "no such key");
    answer_is(txn, kiln_put(txn, coll, "k", 1, "v", 1, KILN_PUT_UPDATE), KILN_NOTFOUND,
              "no such key");
    answer_is(txn, kiln_value_size(txn, coll, "k", 1, &size), KILN_NOTFOUND, "no such key");
    OK(kiln_put(txn, coll, "k", 1, "v", 1, KILN_PUT_INSERT));
    older_error();
    answer_is(txn, kiln_put(txn, coll, "k", 1, "v", 1, KILN_PUT_INSERT), KILN_EXISTS, "already");
    answer_is(txn, kiln_put_many(txn, coll, &key, &key, 1, KILN_PUT_INSERT, &done), KILN_EXISTS,
              "already");
    answer_is(txn, kiln_get(txn, coll, "q", 1, &value), KILN_NOTFOUND, "no such key");
    answer_is(txn, kiln_delete(txn, coll, "q", 1), KILN_NOTFOUND, "no such key");
    answer_is(txn, kiln_coll_open(txn, "other", 0, &none), KILN_NOTFOUND, "other");
    answer_is(txn, kiln_coll_open(txn, "c", KILN_COLL_CREATE | KILN_COLL_EXCLUSIVE, &none),
              KILN_EXISTS, "c");
    answer_is(txn, kiln_get(txn, 4711, "k", 1, &value), KILN_NOTFOUND, "4711");
    OK(kiln_cursor_open(txn, coll, 0, &cursor));
    OK(kiln_cursor_first(cursor));
    older_error();
    answer_is(txn, kiln_cursor_next(cursor), KILN_NOTFOUND, "no further item");
    answer_is(txn, kiln_cursor_item(cursor, NULL, NULL), KILN_STATE, "not on an item");
    answer_is(txn, kiln_cursor_seek(cursor, "z", 1), KILN_NOTFOUND, "no further item");
    kiln_cursor_close(cursor);
    kiln_txn_abort(txn);
    OK(kiln_close(db));
    simdisk_free(disk);
}

static void
plain_answers_of_records_have_words(void)
{
    struct simdisk *disk = simdisk_new(NULL);
    kiln_db *db = engine_open(disk, KILN_CREATE);
    kiln_txn *txn = engine_begin(db, KILN_WRITE);
    kiln_container people;
    kiln_field name;
    kiln_type type;
    kiln_record *record;
    kiln_record_cursor *cursor;
    kiln_index index;
    kiln_item item;
    uint64_t id = 5;

    older_error();
    answer_is(txn, kiln_container_find(txn, "people", &people), KILN_NOTFOUND, "people");
    answer_is(txn, kiln_field_find(txn, "name", &name, &type), KILN_NOTFOUND, "name");
    answer_is(txn, kiln_index_find(txn, "by name", &index), KILN_NOTFOUND, "by name");
    OK(kiln_container_define(txn, "people", &people));
    OK(kiln_record_new(&record));
    answer_is(txn, kiln_record_get(txn, people, 5, record), KILN_NOTFOUND, "people");
    answer_is(txn, kiln_record_get(txn, people, 0, record), KILN_NOTFOUND, "record 0");
    answer_is(txn, kiln_record_delete(txn, people, 5), KILN_NOTFOUND, "people");
    answer_is(NULL, kiln_record_find(record, 1, 0, &item), KILN_NOTFOUND, "no such field");
    OK(kiln_record_add(txn, people, record, &id));
    older_error();
    answer_is(txn, kiln_record_add(txn, people, record, &id), KILN_EXISTS, "people");
    OK(kiln_record_cursor_open(txn, people, 0, &cursor));
    OK(kiln_record_cursor_next(cursor, &id, record));
    older_error();
    answer_is(txn, kiln_record_cursor_next(cursor, &id, record), KILN_NOTFOUND, "no further");
    kiln_record_cursor_close(cursor);
    kiln_record_free(record);
    kiln_txn_abort(txn);
    OK(kiln_close(db));
    simdisk_free(disk);
}

static void *
elsewhere(void *argument)
{
    kiln_txn *txn;

    /* The writer's turn is taken: this thread's error is the database's last one. */
    return (void *)(long)kiln_txn_begin_with(
        argument,
        &(kiln_txn_options){.size = sizeof(kiln_txn_options), .kind = KILN_WRITE, .timeout_ms = 0},
        &txn);
}

static void
errors_of_a_database_are_told_to_any_thread(void)
{
    struct simdisk *disk = simdisk_new(NULL);
    kiln_db *db = engine_open(disk, KILN_CREATE);
    kiln_txn *txn = engine_begin(db, KILN_WRITE);
    pthread_t thread;
    void *status;

    CHECK_EQ(kiln_db_error(db)->status, KILN_OK);
    CHECK_EQ(kiln_txn_error(txn)->status, KILN_OK);
    CHECK_STR(kiln_txn_error(txn)->text, "");
    CHECK_EQ(pthread_create(&thread, NULL, elsewhere, db), 0);
    CHECK_EQ(pthread_join(thread, &status), 0);
    CHECK_EQ((long)status, KILN_TIMEOUT);
    CHECK_EQ(kiln_db_error(db)->status, KILN_TIMEOUT);
    CHECK(strstr(kiln_db_error(db)->text, "another write transaction") != NULL);
    STATUS(kiln_close(db), KILN_STATE);
    CHECK_EQ(kiln_db_error(db)->status, KILN_STATE);
    kiln_txn_abort(txn);
    OK(kiln_close(db));
    simdisk_free(disk);
}

/* Calls for records make others of kiln.h, and not finding something is often good news to them. */
static void
a_call_that_went_well_leaves_the_error_of_the_last_that_did_not(void)
{
    struct simdisk *disk = simdisk_new(NULL);
    kiln_db *db = engine_open(disk, KILN_CREATE);
    kiln_txn *txn = engine_begin(db, KILN_WRITE);
    kiln_index_options index = KILN_INDEX_OPTIONS_INIT;
    kiln_record_cursor *walk = NULL;
    kiln_record *record = NULL;
    kiln_index_part part = {0};
    kiln_container people = 0;
    kiln_index by_name = 0;
    kiln_field name = 0;
    uint64_t id = 0, count;

    OK(kiln_record_new(&record));
    for (unsigned round = 0; round < 2; round++) {
        const char *words = round == 0 ? "" : "no collection";
        OK(kiln_field_define(txn, "name", KILN_TEXT, &name));
        OK(kiln_container_define(txn, "people", &people));
        part.field = name;
        index.name = "by_name";
        index.container = people;
        index.parts = &part;
        index.part_count = 1;
        index.flags = KILN_UNIQUE;
        OK(kiln_index_define(txn, &index, &by_name));
        kiln_record_clear(record);
        OK(kiln_record_text(record, name, round == 0 ? "Ada" : "Eve", 3));
        id = 0;
        OK(kiln_record_add(txn, people, record, &id));
        OK(kiln_savepoint(txn));
        OK(kiln_record_update(txn, people, id, record));
        OK(kiln_records_flush(txn));
        OK(kiln_record_delete(txn, people, id));
        OK(kiln_savepoint_release(txn));
        OK(kiln_container_count(txn, people, &count));
        OK(kiln_index_count(txn, by_name, &count));
        id = 0;
        OK(kiln_record_add(txn, people, record, &id));
        OK(kiln_record_cursor_open(txn, people, 0, &walk));
        OK(kiln_record_cursor_next(walk, &id, record));
        kiln_record_cursor_close(walk);
        CHECK_EQ(kiln_txn_error(txn)->status, round == 0 ? KILN_OK : KILN_NOTFOUND);
        CHECK_HAS(kiln_txn_error(txn)->text, words);
        if (round == 0) {
            kiln_coll none;
            answer_is(txn, kiln_coll_open(txn, "none", 0, &none), KILN_NOTFOUND, "");
            CHECK_HAS(kiln_txn_error(txn)->text, "no collection");
        }
    }
    answer_is(txn, kiln_record_get(txn, people, 999, record), KILN_NOTFOUND, "has no record 999");
    kiln_record_free(record);
    OK(kiln_txn_commit(txn));
    engine_end(disk, db);
}

TEST_MAIN("api_errors", TEST(plain_answers_of_collections_have_words),
          TEST(plain_answers_of_records_have_words),
          TEST(errors_of_a_database_are_told_to_any_thread),
          TEST(a_call_that_went_well_leaves_the_error_of_the_last_that_did_not))
