/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/test_engine_callbacks.c -- which calls a program's functions may make: those that a
 * call of a transaction, a check, an open or the archiving of a segment calls.
 */
#include <stdlib.h>

#include "engine/space/space_internal.h"
#include "tests/unit/engine_testing.h"

static struct simdisk *disk;
static kiln_db *db;
static kiln_txn *txn;
static kiln_coll coll, empty;
static kiln_bulk *bulk;
static kiln_cursor *cursor;
static kiln_container people;
static kiln_field name;
static kiln_index by_name;

enum { KEYS = 600, LARGE = 40000 };

static void
begin(void)
{
    kiln_index_options index = KILN_INDEX_OPTIONS_INIT;
    kiln_index_part part = {0};
    kiln_record *record = NULL;
    uint64_t id = 0;

    disk = simdisk_new(NULL);
    db = engine_open(disk, KILN_CREATE);
    txn = engine_begin(db, KILN_WRITE);
    coll = engine_coll(txn, "c");
    empty = engine_coll(txn, "empty");
    OK(engine_series(txn, coll, 0, KEYS, 100));
    OK(kiln_field_define(txn, "name", KILN_TEXT, &name));
    OK(kiln_container_define(txn, "people", &people));
    part.field = name;
    index.name = "by_name";
    index.container = people;
    index.parts = &part;
    index.part_count = 1;
    OK(kiln_index_define(txn, &index, &by_name));
    OK(kiln_record_new(&record));
    OK(kiln_record_text(record, name, "Ada", 3));
    OK(kiln_record_add(txn, people, record, &id));
    kiln_record_free(record);
    OK(kiln_txn_commit(txn));
}

static void
end(void)
{
    engine_end(disk, db);
}

/* ---- what changes or ends a transaction ------------------------------------------------------ */

#define REFUSED(call)                                                                              \
    do {                                                                                           \
        STATUS((call), KILN_STATE);                                                                \
        CHECK_HAS(kiln_error_last()->text, "a function that a call of this transaction calls");    \
        CHECK_EQ(kiln_txn_error(txn)->status, KILN_STATE);                                         \
    } while (0)

static void
changes_are_refused(void)
{
    const kiln_slice key = {"key", 3};
    kiln_bulk *other = NULL;
    kiln_coll made = 0;
    int read = 0; /* what value_write reads from, were it to begin */

    REFUSED(kiln_put(txn, coll, "key", 3, "v", 1, 0));
    REFUSED(kiln_delete(txn, coll, "key", 3));
    REFUSED(kiln_put_many(txn, coll, &key, &key, 1, 0, NULL));
    REFUSED(kiln_delete_many(txn, coll, &key, 1, NULL));
    REFUSED(kiln_value_write(txn, coll, "key", 3, 0, NULL, &read));
    REFUSED(kiln_coll_open(txn, "made", KILN_COLL_CREATE, &made));
    REFUSED(kiln_coll_drop(txn, coll));
    REFUSED(kiln_coll_clear(txn, coll));
    REFUSED(kiln_bulk_begin(txn, coll, &other));
    REFUSED(kiln_txn_set_applied(txn, 1));
    if (bulk != NULL) {
        REFUSED(kiln_bulk_add(bulk, "key", 3, "v", 1));
        REFUSED(kiln_bulk_end(bulk));
        REFUSED(kiln_bulk_abort(bulk));
    }
    if (cursor != NULL)
        REFUSED(kiln_cursor_delete(cursor));
}

static void
changes_of_records_are_refused(void)
{
    kiln_index_options index = KILN_INDEX_OPTIONS_INIT;
    kiln_index_part part = {.field = name};
    kiln_record *record = NULL;
    kiln_container container;
    kiln_field field;
    kiln_index made;
    uint64_t id = 0;

    index.name = "other";
    index.container = people;
    index.parts = &part;
    index.part_count = 1;
    OK(kiln_record_new(&record));
    OK(kiln_record_text(record, name, "Eve", 3));
    REFUSED(kiln_field_define(txn, "made", KILN_INT, &field));
    REFUSED(kiln_container_define(txn, "made", &container));
    REFUSED(kiln_container_drop(txn, people));
    REFUSED(kiln_index_define(txn, &index, &made));
    REFUSED(kiln_index_drop(txn, by_name));
    REFUSED(kiln_record_add(txn, people, record, &id));
    REFUSED(kiln_record_update(txn, people, 1, record));
    REFUSED(kiln_record_delete(txn, people, 1));
    kiln_record_free(record);
}

static void
scopes_and_ends_are_refused(void)
{
    if (txn != NULL && bulk == NULL) { /* with a builder they are refused anyway */
        REFUSED(kiln_savepoint(txn));
        REFUSED(kiln_savepoint_release(txn));
        REFUSED(kiln_savepoint_rollback(txn));
    }
    REFUSED(kiln_txn_commit(txn));
    REFUSED(kiln_txn_renew(txn));
    kiln_txn_abort(txn); /* does nothing, and says so */
    CHECK_EQ(kiln_txn_error(txn)->status, KILN_STATE);
    STATUS(kiln_close(db), KILN_STATE);
}

static int
look(void *context, size_t index, kiln_slice value)
{
    (void)index;
    *(uint64_t *)context += value.data != NULL;
    return 0;
}

static void
reads_are_allowed(void)
{
    kiln_index_cursor *entries = NULL;
    kiln_record *record = NULL;
    kiln_cursor *walk = NULL;
    kiln_slice key, value;
    uint64_t count = 0, seen = 0, id;
    uint8_t number[8], part[10];
    size_t size;

    engine_key(7, number);
    key = (kiln_slice){number, 8};
    OK(kiln_get(txn, coll, number, 8, &value));
    CHECK_EQ(ftk_get_be64(value.data), 7);
    OK(kiln_get_many(txn, coll, &key, 1, look, &seen));
    CHECK_EQ(seen, 1);
    OK(kiln_value_read(txn, coll, number, 8, 0, part, sizeof part, &size));
    OK(kiln_coll_count(txn, coll, &count));
    CHECK_EQ(count, KEYS);
    OK(kiln_cursor_open(txn, coll, 0, &walk));
    OK(kiln_cursor_last(walk));
    OK(kiln_cursor_item(walk, &key, &value));
    CHECK_EQ(ftk_get_be64(key.data), KEYS - 1);
    kiln_cursor_close(walk);
    OK(kiln_record_new(&record));
    OK(kiln_record_get(txn, people, 1, record));
    OK(kiln_index_cursor_open(txn, by_name, NULL, 0, &entries));
    OK(kiln_index_cursor_next(entries, &id, NULL, NULL, 0));
    CHECK_EQ(id, 1);
    kiln_index_cursor_close(entries);
    kiln_record_free(record);
}

/* ---- value_write ----------------------------------------------------------------------------- */

static int
everything(void *context, void *buffer, size_t size)
{
    unsigned *calls = context;

    ++*calls;
    memset(buffer, 'v', size);
    reads_are_allowed();
    changes_are_refused();
    changes_of_records_are_refused();
    scopes_and_ends_are_refused();
    return 0;
}

static void
write_with_everything(size_t size)
{
    kiln_slice value;
    unsigned calls = 0;

    begin();
    txn = engine_begin(db, KILN_WRITE);
    OK(kiln_cursor_open(txn, coll, 0, &cursor));
    OK(kiln_cursor_first(cursor));
    OK(kiln_value_write(txn, coll, "value", 5, size, everything, &calls));
    CHECK(calls > 0);
    OK(kiln_get(txn, coll, "value", 5, &value));
    CHECK_EQ(value.size, size);
    kiln_cursor_close(cursor);
    cursor = NULL;
    OK(kiln_delete(txn, coll, "value", 5));
    OK(kiln_bulk_begin(txn, empty, &bulk));
    OK(kiln_bulk_add(bulk, "a", 1, "1", 1));
    OK(kiln_value_write(txn, coll, "value", 5, size, everything, &calls));
    OK(kiln_bulk_add(bulk, "b", 1, "2", 1));
    OK(kiln_bulk_end(bulk));
    bulk = NULL;
    OK(kiln_txn_commit(txn));
    txn = engine_begin(db, KILN_READ);
    OK(kiln_get(txn, coll, "value", 5, &value));
    CHECK(value.size == size && *(const uint8_t *)value.data == 'v');
    CHECK_VALUE(txn, empty, "b", "2");
    kiln_txn_abort(txn);
    end();
}

static void
a_source_of_a_small_value_reads_and_no_more(void)
{
    write_with_everything(300);
}

static void
a_source_of_a_large_value_reads_and_no_more(void)
{
    write_with_everything(LARGE);
}

/* Changes of an index that are only gathered cannot be applied by a read inside. */
static int
read_what_is_gathered(void *context, void *buffer, size_t size)
{
    kiln_index_cursor *entries = NULL;

    memset(buffer, 'g', size);
    REFUSED(kiln_records_flush(txn));
    REFUSED(kiln_index_cursor_open(txn, by_name, NULL, 0, &entries));
    *(kiln_index_cursor **)context = entries;
    return 0;
}

static void
gathered_changes_wait_for_the_end_of_the_call(void)
{
    kiln_index_cursor *entries = NULL;
    kiln_record *record = NULL;
    uint64_t id = 0, count = 0;

    begin();
    txn = engine_begin(db, KILN_WRITE);
    OK(kiln_record_new(&record));
    OK(kiln_record_text(record, name, "Grace", 5));
    OK(kiln_record_add(txn, people, record, &id));
    OK(kiln_value_write(txn, coll, "value", 5, LARGE, read_what_is_gathered, &entries));
    CHECK(entries == NULL);
    OK(kiln_index_count(txn, by_name, &count));
    CHECK_EQ(count, 2);
    OK(kiln_txn_commit(txn));
    kiln_record_free(record);
    end();
}

/* ---- get_many -------------------------------------------------------------------------------- */

static int
each_everything(void *context, size_t index, kiln_slice value)
{
    unsigned *calls = context;

    (void)index;
    CHECK(value.size == 100);
    if (++*calls > 2)
        return 0;
    reads_are_allowed();
    changes_are_refused();
    changes_of_records_are_refused();
    scopes_and_ends_are_refused();
    CHECK_EQ(value.size, 100); /* what is lent to it is still there */
    return 0;
}

static int
each_ends(void *context, size_t index, kiln_slice value)
{
    (void)index;
    (void)value;
    ++*(unsigned *)context;
    reads_are_allowed();
    REFUSED(kiln_txn_commit(txn));
    REFUSED(kiln_txn_renew(txn));
    kiln_txn_abort(txn);
    STATUS(kiln_put(txn, coll, "key", 3, "v", 1, 0), KILN_READONLY);
    return 0;
}

static void
functions_of_get_many_read_and_no_more(void)
{
    uint8_t bytes[20][8];
    kiln_slice keys[20];
    unsigned calls = 0;

    begin();
    for (unsigned i = 0; i < 20; i++) {
        engine_key(i * 7, bytes[i]);
        keys[i] = (kiln_slice){bytes[i], 8};
    }
    txn = engine_begin(db, KILN_WRITE);
    OK(kiln_get_many(txn, coll, keys, 20, each_everything, &calls));
    CHECK_EQ(calls, 20);
    OK(engine_put(txn, empty, "changes", "again"));
    OK(kiln_txn_commit(txn));
    txn = engine_begin(db, KILN_READ);
    OK(kiln_get_many(txn, coll, keys, 2, each_ends, &calls));
    OK(kiln_txn_renew(txn));
    OK(kiln_txn_commit(txn));
    end();
}

/* ---- check ----------------------------------------------------------------------------------- */

static unsigned findings, asked;

/* A program notes what is found in the database itself. */
static void
note_finding(void *context, const char *text)
{
    kiln_txn *note = engine_begin(db, KILN_WRITE);

    (void)context;
    findings++;
    OK(engine_put(note, coll, "finding", text));
    OK(kiln_txn_commit(note));
    OK(kiln_checkpoint(db));
    STATUS(kiln_close(db), KILN_STATE); /* the check reads */
}

static int
note_progress(void *context, uint64_t done, uint64_t total)
{
    kiln_txn *note = engine_begin(db, KILN_READ);

    (void)context;
    asked++;
    CHECK(done <= total);
    CHECK_EQ(kiln_check(db, NULL), findings > 0 ? KILN_CORRUPT : KILN_OK);
    kiln_txn_abort(note);
    STATUS(kiln_close(db), KILN_STATE);
    return 0;
}

/* Take a free page and forget it. */
static void
page_leak(void)
{
    struct space *space = db->space;
    uint64_t page = 0;

    while (page < space->pages_end && !space__bit(space->avail, page))
        page++;
    REQUIRE(page < space->pages_end);
    space->avail[page / 64] &= ~(UINT64_C(1) << (page % 64));
    space->live[page / 64] |= UINT64_C(1) << (page % 64);
    space->groups[page >> space->group_shift].avail--;
    space->pages_avail--;
    space->pages_live++;
}

static void
functions_of_a_check_may_use_the_database(void)
{
    kiln_check_options options = KILN_CHECK_OPTIONS_INIT;

    begin();
    txn = engine_begin(db, KILN_WRITE);
    OK(engine_series(txn, coll, 0, 20 * KEYS, 100));
    OK(kiln_txn_commit(txn));
    OK(kiln_checkpoint(db));
    txn = engine_begin(db, KILN_WRITE);
    OK(kiln_coll_clear(txn, coll));
    OK(engine_series(txn, coll, 0, 9 * KEYS, 100));
    OK(kiln_txn_commit(txn));
    OK(kiln_checkpoint(db)); /* pages that are free again */
    txn = engine_begin(db, KILN_WRITE);
    OK(engine_put(txn, coll, "frees", "them"));
    OK(kiln_txn_commit(txn));
    options.finding = note_finding;
    options.progress = note_progress;
    OK(kiln_check(db, &options));
    CHECK(asked > 0 && findings == 0);
    page_leak();
    options.progress = NULL;
    STATUS(kiln_check(db, &options), KILN_CORRUPT);
    CHECK_EQ(findings, 1);
    kiln_close(db);
    simdisk_free(disk);
}

/* ---- open ------------------------------------------------------------------------------------ */

static unsigned opened;

static int
open_it_meanwhile(void *context, uint64_t done, uint64_t total)
{
    kiln_options options = KILN_OPTIONS_INIT;
    kiln_db *other = NULL;

    (void)context;
    (void)done;
    (void)total;
    options.flags = KILN_CREATE;
    STATUS(kiln_open(test_path("db"), &options, &other), KILN_INUSE);
    OK(kiln_open(test_path("other"), &options, &other));
    OK(kiln_close(other));
    opened++;
    return 0;
}

static void
progress_of_an_open_may_open_others(void)
{
    kiln_options options = engine_options(KILN_CREATE);

    options.durability = KILN_OS;
    OK(kiln_open(test_path("db"), &options, &db));
    for (unsigned i = 0; i < 30; i++) {
        txn = engine_begin(db, KILN_WRITE);
        coll = engine_coll(txn, "c");
        OK(engine_series(txn, coll, 0, 1000, 500));
        OK(kiln_txn_commit(txn));
    }
    db_abandon(db);
    options.progress = open_it_meanwhile;
    OK(kiln_open(test_path("db"), &options, &db));
    CHECK(opened > 0);
    OK(kiln_close(db));
}

/* ---- archive --------------------------------------------------------------------------------- */

static _Atomic unsigned archived, wrong;

static kiln_status
archive(void *context, const char *path)
{
    kiln_txn *other = NULL;
    kiln_stat stat;

    (void)context;
    (void)path;
    atomic_fetch_add(&archived, 1);
    kiln_stat_init(&stat);
    if (kiln_txn_begin(db, KILN_READ, &other) != KILN_STATE || other != NULL ||
        strstr(kiln_error_last()->text, "its archive function") == NULL ||
        kiln_txn_begin(db, KILN_WRITE, &other) != KILN_STATE || kiln_checkpoint(db) != KILN_STATE ||
        kiln_check(db, NULL) != KILN_STATE || kiln_close(db) != KILN_STATE ||
        kiln_stat_get(db, &stat) != KILN_OK)
        atomic_fetch_add(&wrong, 1);
    return KILN_OK;
}

static void
work_through_segments(void)
{
    for (unsigned i = 0; i < 60; i++) {
        txn = engine_begin(db, KILN_WRITE);
        coll = engine_coll(txn, "c");
        OK(engine_series(txn, coll, 0, 400, 500));
        OK(kiln_txn_commit(txn));
        if (i % 20 == 19)
            OK(kiln_checkpoint(db));
    }
}

static void
an_archive_function_cannot_use_its_database(void)
{
    kiln_options options = engine_options(KILN_CREATE);

    options.durability = KILN_OS;
    options.archive = archive;
    OK(kiln_open(test_path("db"), &options, &db)); /* with its threads */
    work_through_segments();
    OK(kiln_close(db)); /* the last ones leave in the close */
    CHECK(archived > 0);
    CHECK_EQ(wrong, 0);
    archived = 0;
    disk = simdisk_new(NULL);
    REQUIRE_OK(engine_try_open(disk, &options, &db)); /* without */
    work_through_segments();
    OK(kiln_close(db));
    CHECK(archived > 0);
    CHECK_EQ(wrong, 0);
    simdisk_free(disk);
}

TEST_MAIN("engine_callbacks", TEST(a_source_of_a_small_value_reads_and_no_more),
          TEST(a_source_of_a_large_value_reads_and_no_more),
          TEST(gathered_changes_wait_for_the_end_of_the_call),
          TEST(functions_of_get_many_read_and_no_more),
          TEST(functions_of_a_check_may_use_the_database),
          TEST(progress_of_an_open_may_open_others),
          TEST(an_archive_function_cannot_use_its_database))
