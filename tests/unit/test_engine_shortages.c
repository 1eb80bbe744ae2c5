/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/test_engine_shortages.c -- every allocation and every I/O of one call fails, in turn.
 *
 * For each call of the table: a copy of one database, opened cold; a write transaction that has
 * changed something; the call, with its n-th allocation (or read, write, sync) failing, n = 1, 2, 3
 * ... until none fails.  Then
 *
 *     the call succeeded        what is committed is what the call makes of it
 *     it failed                 the transaction has what it had, later calls and the commit work;
 *                               with a failed write or sync it may be ended, and then nothing is
 *                               committed
 *     it was the commit         KILN_FAILED: all or nothing; any other error: nothing
 *
 * and in every case: the accounts agree, kiln_check finds nothing, before and after opening anew,
 * and but for a failed write or sync the database goes on.
 */
#include <stdlib.h>

#include "engine/db/coll.h"
#include "engine/space/space.h"
#include "ftk/checksum.h"
#include "tests/unit/engine_testing.h"

enum { SMALL_KEYS = 400, LARGE_KEYS = 5, LARGE_BYTES = 30000, PEOPLE = 60, COLLS = 64 };

static uint8_t large_value[LARGE_BYTES];

/* ---- the database ---------------------------------------------------------------------------- */

struct run {
    struct simdisk *disk;
    kiln_db *db;
    kiln_txn *txn;
    kiln_txn *reader;
    kiln_cursor *cursor; /* of the reader */
    kiln_coll small, large, spare;
    kiln_field name, age;
    kiln_container people;
    kiln_index by_name;
};

static kiln_status
index_make(kiln_txn *txn, const char *name, kiln_container container, kiln_field field,
           kiln_index *index_out)
{
    kiln_index_options options = KILN_INDEX_OPTIONS_INIT;
    kiln_index_part part = {.field = field};

    options.name = name;
    options.container = container;
    options.parts = &part;
    options.part_count = 1;
    return kiln_index_define(txn, &options, index_out);
}

/* Person i of so many; id 0: a new one. */
static kiln_status
person_put(struct run *run, uint64_t id, unsigned i)
{
    kiln_record *record = NULL;
    char name[32];
    kiln_status rc = kiln_record_new(&record);

    snprintf(name, sizeof name, "name %u", i * 7919 % 1000);
    if (rc == KILN_OK)
        rc = kiln_record_text(record, run->name, name, strlen(name));
    if (rc == KILN_OK)
        rc = kiln_record_int(record, run->age, i);
    if (rc == KILN_OK && id == 0)
        rc = kiln_record_add(run->txn, run->people, record, &id);
    else if (rc == KILN_OK)
        rc = kiln_record_update(run->txn, run->people, id, record);
    kiln_record_free(record);
    return rc;
}

static kiln_status
large_put(struct run *run, unsigned i, size_t size)
{
    uint8_t key[8];

    engine_key(i, key);
    large_value[0] = (uint8_t)i;
    return kiln_put(run->txn, run->large, key, sizeof key, large_value, size, 0);
}

static void
colls_find(struct run *run)
{
    run->small = engine_coll(run->txn, "small");
    run->large = engine_coll(run->txn, "large");
    run->spare = engine_coll(run->txn, "spare");
}

static kiln_db *
open_database(struct simdisk *disk, uint32_t flags)
{
    kiln_options options = engine_options(flags);
    kiln_db *db = NULL;

    options.durability = KILN_OS;
    options.page_bytes = 4096;
    REQUIRE_OK(engine_try_open(disk, &options, &db));
    return db;
}

static void
base_make(struct run *base)
{
    memset(base, 0, sizeof *base);
    base->disk = simdisk_new(NULL);
    base->db = open_database(base->disk, KILN_CREATE);
    base->txn = engine_begin(base->db, KILN_WRITE);
    colls_find(base);
    OK(engine_series(base->txn, base->small, 0, SMALL_KEYS, 100));
    for (unsigned i = 0; i < LARGE_KEYS; i++)
        OK(large_put(base, i, LARGE_BYTES - i * 1000));
    OK(kiln_field_define(base->txn, "name", KILN_TEXT, &base->name));
    OK(kiln_field_define(base->txn, "age", KILN_INT, &base->age));
    OK(kiln_container_define(base->txn, "people", &base->people));
    OK(index_make(base->txn, "by_name", base->people, base->name, &base->by_name));
    for (unsigned i = 1; i <= PEOPLE; i++)
        OK(person_put(base, 0, i));
    OK(kiln_txn_commit(base->txn));
    OK(kiln_close(base->db));
}

/* Names, keys and values of all collections. */
struct contents {
    kiln_coll colls[COLLS];
    bool reserved[COLLS]; /* of the records part */
    unsigned count;
    uint64_t sum;
};

static ftk_status
contents_coll(void *context, kiln_coll coll, const struct tree *tree, const uint8_t *name,
              size_t name_size)
{
    struct contents *contents = context;

    (void)tree;
    REQUIRE(contents->count < COLLS);
    contents->reserved[contents->count] = name[0] == COLL_RESERVED_NAME_BYTE;
    contents->colls[contents->count++] = coll;
    contents->sum = ftk_checksum(name, name_size, contents->sum);
    return FTK_OK;
}

static uint64_t
contents_of(kiln_txn *txn)
{
    struct contents contents = {.sum = 1};
    kiln_slice key, value;
    kiln_cursor *cursor;
    kiln_status rc;

    REQUIRE_OK(coll_each(txn, contents_coll, &contents));
    for (unsigned i = 0; i < contents.count; i++) {
        OK(kiln_cursor_open(txn, contents.colls[i], 0, &cursor));
        while ((rc = kiln_cursor_next(cursor)) == KILN_OK) {
            OK(kiln_cursor_item(cursor, &key, &value));
            if (contents.reserved[i] && key.size == 1) /* the dictionary's next numbers */
                continue;
            contents.sum = ftk_checksum(key.data, key.size, contents.sum);
            contents.sum = ftk_checksum(value.data, value.size, contents.sum + 1);
        }
        CHECK_EQ(rc, KILN_NOTFOUND);
        kiln_cursor_close(cursor);
    }
    return contents.sum;
}

static uint64_t
committed_contents(kiln_db *db)
{
    kiln_txn *txn = engine_begin(db, KILN_READ);
    uint64_t sum = contents_of(txn);

    kiln_txn_abort(txn);
    return sum;
}

/* ---- calls ----------------------------------------------------------------------------------- */

enum {
    GATHERS = 1, /* records: what is in the transaction shows when it is committed */
    PARTLY = 2,  /* a batch: what it did before the error stays, and is said */
    OUTSIDE = 4, /* no write transaction is open: the call makes its own, or none */
    ENDS = 8,    /* the call ends the transaction */
    MAY_END = 16, /* failing, the call may end the transaction */
};

struct call {
    const char *name;
    unsigned flags;
    void (*before)(struct run *run); /* NULL: nothing */
    kiln_status (*run)(struct run *run);
};

static void
change(struct run *run)
{
    uint8_t key[8];

    OK(engine_series(run->txn, run->small, 100, 200, 90));
    OK(large_put(run, 1, 9000));
    for (uint64_t i = 200; i < 260; i++) {
        engine_key(i, key);
        OK(kiln_delete(run->txn, run->small, key, sizeof key));
    }
}

static void
in_scopes(struct run *run)
{
    OK(kiln_savepoint(run->txn));
    change(run);
    OK(kiln_savepoint(run->txn));
    OK(engine_series(run->txn, run->small, 50, 150, 30));
    OK(large_put(run, 2, 15000));
    OK(large_put(run, LARGE_KEYS, 15000));
}

static kiln_status
call_savepoint(struct run *run)
{
    return kiln_savepoint(run->txn);
}

static kiln_status
call_release(struct run *run)
{
    return kiln_savepoint_release(run->txn);
}

static kiln_status
call_rollback(struct run *run)
{
    return kiln_savepoint_rollback(run->txn);
}

static kiln_status
call_put_large(struct run *run)
{
    return large_put(run, LARGE_KEYS + 1, LARGE_BYTES);
}

static kiln_status
call_replace_large(struct run *run)
{
    return large_put(run, 3, LARGE_BYTES / 2);
}

static kiln_status
call_delete_large(struct run *run)
{
    uint8_t key[8];

    engine_key(2, key);
    return kiln_delete(run->txn, run->large, key, sizeof key);
}

static int
deliver(void *context, void *buffer, size_t size)
{
    (void)context;
    memset(buffer, 'd', size);
    return 0;
}

static kiln_status
call_write_large(struct run *run)
{
    return kiln_value_write(run->txn, run->large, "written", 7, 40000, deliver, NULL);
}

static kiln_status
call_read_large(struct run *run)
{
    uint8_t key[8], piece[5000];
    kiln_slice value;
    size_t count;
    kiln_status rc;

    engine_key(0, key);
    rc = kiln_get(run->txn, run->large, key, sizeof key, &value);
    if (rc == KILN_OK)
        CHECK_EQ(value.size, LARGE_BYTES);
    engine_key(3, key);
    if (rc == KILN_OK)
        rc = kiln_value_read(run->txn, run->large, key, sizeof key, 20000, piece, sizeof piece,
                             &count);
    return rc;
}

static kiln_status
call_make(struct run *run)
{
    kiln_coll coll;

    return kiln_coll_open(run->txn, "made", KILN_COLL_CREATE, &coll);
}

static kiln_status
call_clear(struct run *run)
{
    return kiln_coll_clear(run->txn, run->large);
}

static kiln_status
call_drop(struct run *run)
{
    return kiln_coll_drop(run->txn, run->small);
}

static kiln_status
call_list(struct run *run)
{
    char name[KILN_COLLECTION_NAME_MAX + 1];
    kiln_coll coll = 0;
    kiln_status rc;

    while ((rc = kiln_coll_next(run->txn, coll, name, sizeof name, &coll)) == KILN_OK)
        ;
    return rc == KILN_NOTFOUND ? KILN_OK : rc;
}

static kiln_status
call_put_many(struct run *run)
{
    uint8_t bytes[150][8];
    kiln_slice keys[150], values[150];

    for (unsigned i = 0; i < 150; i++) {
        engine_key(i * 5, bytes[i]);
        keys[i] = (kiln_slice){bytes[i], 8};
        values[i] = (kiln_slice){large_value, 300};
    }
    return kiln_put_many(run->txn, run->small, keys, values, 150, 0, NULL);
}

static kiln_status
call_delete_many(struct run *run)
{
    uint8_t bytes[150][8];
    kiln_slice keys[150];

    for (unsigned i = 0; i < 150; i++) {
        engine_key(i * 2, bytes[i]);
        keys[i] = (kiln_slice){bytes[i], 8};
    }
    return kiln_delete_many(run->txn, run->small, keys, 150, NULL);
}

static kiln_status
bulk_fill(struct run *run, kiln_bulk **bulk_out)
{
    uint8_t key[8];
    kiln_status rc = kiln_bulk_begin(run->txn, run->spare, bulk_out);

    for (uint64_t i = 0; i < 300 && rc == KILN_OK; i++) {
        engine_key(i, key);
        rc = kiln_bulk_add(*bulk_out, key, sizeof key, large_value, i % 100 == 50 ? 20000 : 60);
    }
    return rc;
}

static kiln_status
call_bulk(struct run *run)
{
    kiln_bulk *bulk = NULL;
    kiln_status rc = bulk_fill(run, &bulk);

    if (rc == KILN_OK)
        return kiln_bulk_end(bulk);
    kiln_bulk_abort(bulk);
    return rc;
}

static kiln_status
call_bulk_abort(struct run *run)
{
    kiln_bulk *bulk = NULL;
    kiln_status rc = bulk_fill(run, &bulk);
    kiln_status aborted = kiln_bulk_abort(bulk);

    return rc != KILN_OK ? rc : aborted;
}

static kiln_status
call_cursor(struct run *run)
{
    kiln_cursor *cursor = NULL;
    kiln_slice key, value;
    kiln_status rc = kiln_cursor_open(run->txn, run->large, KILN_CURSOR_SCAN, &cursor);

    while (rc == KILN_OK && (rc = kiln_cursor_next(cursor)) == KILN_OK)
        rc = kiln_cursor_item(cursor, &key, &value);
    if (cursor != NULL)
        kiln_cursor_close(cursor);
    return rc == KILN_NOTFOUND ? KILN_OK : rc;
}

static void
people_change(struct run *run)
{
    change(run);
    for (unsigned i = 1; i <= 10; i++) {
        OK(person_put(run, 0, 500 + i));
        OK(person_put(run, i, 700 + i));
    }
    OK(kiln_record_delete(run->txn, run->people, 20));
}

static kiln_status
call_people(struct run *run)
{
    kiln_status rc = person_put(run, 0, 900);

    if (rc == KILN_OK)
        rc = person_put(run, 30, 901);
    return rc == KILN_OK ? kiln_record_delete(run->txn, run->people, 31) : rc;
}

static kiln_status
call_people_flush(struct run *run) /* a savepoint applies what is gathered */
{
    kiln_status rc = kiln_savepoint(run->txn);

    return rc == KILN_OK ? kiln_savepoint_release(run->txn) : rc;
}

static kiln_status
call_field(struct run *run)
{
    kiln_field field;

    return kiln_field_define(run->txn, "city", KILN_TEXT, &field);
}

static kiln_status
call_container(struct run *run)
{
    kiln_container container;

    return kiln_container_define(run->txn, "towns", &container);
}

static kiln_status
call_index(struct run *run)
{
    kiln_index index;

    return index_make(run->txn, "by_age", run->people, run->age, &index);
}

static kiln_status
call_index_drop(struct run *run)
{
    return kiln_index_drop(run->txn, run->by_name);
}

static kiln_status
call_container_drop(struct run *run)
{
    return kiln_container_drop(run->txn, run->people);
}

static void
full_change(struct run *run)
{
    kiln_txn_options options = KILN_TXN_OPTIONS_INIT;

    kiln_txn_abort(run->txn);
    options.kind = KILN_WRITE;
    options.durability = KILN_FULL;
    OK(kiln_txn_begin_with(run->db, &options, &run->txn));
    change(run);
}

static kiln_status
call_commit(struct run *run)
{
    kiln_txn *txn = run->txn;

    run->txn = NULL;
    return kiln_txn_commit(txn);
}

static kiln_status
call_abort(struct run *run)
{
    kiln_txn_abort(run->txn);
    run->txn = NULL;
    return KILN_OK;
}

static int
take_value(void *context, size_t index, kiln_slice value)
{
    (void)index;
    *(size_t *)context += value.size;
    return 0;
}

static kiln_status
call_get_many(struct run *run)
{
    uint8_t bytes[150][8];
    kiln_slice keys[150];
    size_t total = 0;

    for (unsigned i = 0; i < 150; i++) {
        engine_key(i * 2, bytes[i]);
        keys[i] = (kiln_slice){bytes[i], 8};
    }
    return kiln_get_many(run->txn, run->small, keys, 150, take_value, &total);
}

static kiln_status
call_sizes(struct run *run)
{
    kiln_coll_stat stat;
    kiln_stat whole;
    kiln_slice none = {NULL, 0};
    uint64_t count, size;
    uint8_t key[8];
    kiln_status rc = kiln_coll_count(run->txn, run->small, &count);

    kiln_coll_stat_init(&stat);
    kiln_stat_init(&whole);
    engine_key(3, key);
    if (rc == KILN_OK)
        rc = kiln_value_size(run->txn, run->large, key, sizeof key, &size);
    if (rc == KILN_OK)
        rc = kiln_range_estimate(run->txn, run->small, none, none, &count);
    if (rc == KILN_OK)
        rc = kiln_coll_stat_get(run->txn, run->small, &stat);
    return rc == KILN_OK ? kiln_stat_get(run->db, &whole) : rc;
}

static kiln_status
call_cursor_moves(struct run *run)
{
    kiln_cursor *cursor = NULL;
    uint8_t key[8];
    kiln_status rc = kiln_cursor_open(run->txn, run->small, 0, &cursor);

    engine_key(300, key);
    if (rc == KILN_OK)
        rc = kiln_cursor_seek(cursor, key, sizeof key);
    for (unsigned i = 0; i < 150 && rc == KILN_OK; i++)
        rc = kiln_cursor_prev(cursor);
    if (rc == KILN_OK)
        rc = kiln_cursor_last(cursor);
    if (rc == KILN_OK)
        rc = kiln_cursor_seek_before(cursor, key, sizeof key);
    kiln_cursor_close(cursor);
    return rc;
}

static kiln_status
call_cursor_delete(struct run *run)
{
    kiln_cursor *cursor = NULL;
    kiln_status rc = kiln_cursor_open(run->txn, run->large, 0, &cursor);

    if (rc == KILN_OK)
        rc = kiln_cursor_last(cursor);
    if (rc == KILN_OK)
        rc = kiln_cursor_delete(cursor);
    kiln_cursor_close(cursor);
    return rc;
}

static kiln_status
call_people_read(struct run *run)
{
    kiln_index_cursor *by_name = NULL;
    kiln_record_cursor *all = NULL;
    kiln_record *record = NULL;
    uint64_t id, count;
    kiln_status rc = kiln_container_count(run->txn, run->people, &count);

    if (rc == KILN_OK)
        rc = kiln_index_count(run->txn, run->by_name, &count);
    if (rc == KILN_OK)
        rc = kiln_record_new(&record);
    if (rc == KILN_OK)
        rc = kiln_record_get(run->txn, run->people, 7, record);
    if (rc == KILN_OK)
        rc = kiln_record_cursor_open(run->txn, run->people, 1, &all);
    while (rc == KILN_OK && (rc = kiln_record_cursor_next(all, &id, record)) == KILN_OK)
        ;
    kiln_record_cursor_close(all);
    if (rc == KILN_NOTFOUND)
        rc = kiln_index_cursor_open(run->txn, run->by_name, NULL, 0, &by_name);
    while (rc == KILN_OK && (rc = kiln_index_cursor_next(by_name, &id, NULL, NULL, 0)) == KILN_OK)
        ;
    kiln_index_cursor_close(by_name);
    kiln_record_free(record);
    return rc == KILN_NOTFOUND ? KILN_OK : rc;
}

static kiln_status
call_records_flush(struct run *run)
{
    return kiln_records_flush(run->txn);
}

static kiln_status
call_put(struct run *run)
{
    uint8_t key[8];

    engine_key(SMALL_KEYS, key);
    return kiln_put(run->txn, run->small, key, sizeof key, large_value, 500, 0);
}

static kiln_status
call_delete(struct run *run)
{
    uint8_t key[8];

    engine_key(350, key);
    return kiln_delete(run->txn, run->small, key, sizeof key);
}

static kiln_status
call_begin_read(struct run *run)
{
    kiln_txn *txn;
    kiln_status rc = kiln_txn_begin(run->db, KILN_READ, &txn);

    if (rc == KILN_OK)
        kiln_txn_abort(txn);
    return rc;
}

static kiln_status
call_begin_write(struct run *run)
{
    kiln_txn *txn;
    kiln_status rc = kiln_txn_begin(run->db, KILN_WRITE, &txn);

    if (rc == KILN_OK)
        kiln_txn_abort(txn);
    return rc;
}

/* Other collections are open in the reader, and a cursor; a commit came since. */
static void
reader_opens(struct run *run)
{
    uint8_t key[8];
    kiln_slice value;

    run->reader = engine_begin(run->db, KILN_READ);
    engine_key(0, key);
    OK(kiln_get(run->reader, run->small, key, sizeof key, &value));
    OK(kiln_cursor_open(run->reader, run->large, 0, &run->cursor));
    OK(kiln_cursor_first(run->cursor));
    run->txn = engine_begin(run->db, KILN_WRITE);
    change(run);
    OK(kiln_txn_commit(run->txn));
    run->txn = NULL;
}

static kiln_status
call_renew(struct run *run)
{
    uint8_t key[8];
    kiln_slice value;
    kiln_status rc;

    OK(kiln_txn_renew(run->reader)); /* whatever is armed */
    engine_key(0, key);
    rc = kiln_get(run->reader, run->small, key, sizeof key, &value);
    if (rc == KILN_OK)
        rc = kiln_cursor_first(run->cursor);
    return rc == KILN_OK ? kiln_cursor_item(run->cursor, NULL, &value) : rc;
}

static kiln_status
call_checkpoint(struct run *run)
{
    return kiln_checkpoint(run->db);
}

static kiln_status
call_check(struct run *run)
{
    kiln_check_options options = KILN_CHECK_OPTIONS_INIT;

    return kiln_check(run->db, &options);
}

static const struct call calls[] = {
    {"savepoint", 0, change, call_savepoint},
    {"savepoint in scopes", 0, in_scopes, call_savepoint},
    {"release", 0, in_scopes, call_release},
    {"rollback", 0, in_scopes, call_rollback},
    {"put of a large value", MAY_END, change, call_put_large},
    {"put over a large value", MAY_END, NULL, call_replace_large},
    {"put over a large value in scopes", MAY_END, in_scopes, call_replace_large},
    {"delete of a large value", 0, change, call_delete_large},
    {"write of a large value", 0, change, call_write_large},
    {"read of a large value", 0, NULL, call_read_large},
    {"collection", 0, change, call_make},
    {"clear", 0, change, call_clear},
    {"drop", MAY_END, change, call_drop},
    {"drop in scopes", MAY_END, in_scopes, call_drop},
    {"list", 0, NULL, call_list},
    {"put_many", PARTLY, change, call_put_many},
    {"delete_many", PARTLY, change, call_delete_many},
    {"bulk", MAY_END, change, call_bulk},
    {"bulk abort", MAY_END, change, call_bulk_abort},
    {"cursor", 0, change, call_cursor},
    {"records", GATHERS | PARTLY | MAY_END, people_change, call_people},
    {"flush of records", GATHERS | MAY_END, people_change, call_people_flush},
    {"field", GATHERS | MAY_END, people_change, call_field},
    {"container", GATHERS | MAY_END, people_change, call_container},
    {"index", GATHERS | MAY_END, people_change, call_index},
    {"index drop", GATHERS | MAY_END, people_change, call_index_drop},
    {"container drop", GATHERS | MAY_END, people_change, call_container_drop},
    {"put", 0, NULL, call_put},
    {"delete", 0, NULL, call_delete},
    {"get_many", 0, change, call_get_many},
    {"counts and statistics", 0, change, call_sizes},
    {"moves of a cursor", 0, change, call_cursor_moves},
    {"delete by a cursor", 0, change, call_cursor_delete},
    {"cursors of records", GATHERS | MAY_END, people_change, call_people_read},
    {"flush that is asked for", GATHERS | MAY_END, people_change, call_records_flush},
    {"commit", ENDS, change, call_commit},
    {"commit with full durability", ENDS, full_change, call_commit},
    {"commit in scopes", ENDS, in_scopes, call_commit},
    {"commit of records", ENDS | GATHERS, people_change, call_commit},
    {"abort", ENDS, people_change, call_abort},
    {"begin of a read", OUTSIDE, NULL, call_begin_read},
    {"begin of a write", OUTSIDE, NULL, call_begin_write},
    {"renewal", OUTSIDE, reader_opens, call_renew},
    {"checkpoint", OUTSIDE, reader_opens, call_checkpoint},
    {"check", OUTSIDE, reader_opens, call_check},
};

/* ---- one run --------------------------------------------------------------------------------- */

struct outcome {
    kiln_status rc, commit;
    bool hit;
    uint64_t inside;    /* contents in the transaction, when it goes on */
    uint64_t committed; /* ... in the end, after opening anew */
};

static void
agree(struct run *run, const char *how)
{
    const char *fault = space_check(run->db->space);

    CHECK_MSG(fault == NULL, "%s: space map: %s", how, fault);
    fault = run->txn == NULL ? NULL : txn_pages_check(run->txn);
    CHECK_MSG(fault == NULL, "%s: transaction: %s", how, fault);
}

static void
run_begin(struct run *run, const struct run *base, const struct call *call)
{
    *run = *base;
    run->disk = simdisk_clone(base->disk, 1);
    run->db = open_database(run->disk, 0);
    run->txn = engine_begin(run->db, KILN_WRITE);
    colls_find(run);
    if (call->flags & OUTSIDE) {
        OK(engine_put(run->txn, run->spare, "before", "1"));
        OK(kiln_txn_commit(run->txn));
        run->txn = NULL;
    }
    if (call->before != NULL)
        call->before(run);
}

/* The transaction goes on and is committed, if it can be. */
static void
run_commit(struct run *run, const struct call *call, struct outcome *outcome)
{
    kiln_status rc;

    if (call->flags & (OUTSIDE | ENDS)) {
        run->txn = NULL;
        rc = kiln_txn_begin(run->db, KILN_WRITE, &run->txn);
        if (rc != KILN_OK) {
            outcome->commit = rc;
            return;
        }
    }
    rc = engine_put(run->txn, run->spare, "\377 behind", "1");
    if (rc == KILN_OK && !(call->flags & GATHERS))
        outcome->inside = contents_of(run->txn);
    if (rc == KILN_OK)
        agree(run, call->name);
    outcome->commit = kiln_txn_commit(run->txn);
    run->txn = NULL;
    CHECK(rc == KILN_OK || outcome->commit != KILN_OK);
}

/* A call that failed says what it was refused: the status, the words in the thread's slot, and
 * those kept for its transaction or database (a record in memory belongs to none). */
static void
words_verify(const struct run *run, const struct call *call, enum ftk_fault kind, uint64_t n,
             kiln_status rc)
{
    const kiln_error *last = kiln_error_last();
    kiln_status wanted = kind == FTK_FAULT_ALLOC ? KILN_NOMEM : KILN_IO;
    bool failed = rc == KILN_FAILED && (kind == FTK_FAULT_WRITE || kind == FTK_FAULT_SYNC);

    if (rc == KILN_OK)
        return;
    CHECK_MSG(rc == wanted || failed, "%s, fault %llu of kind %d: %s: %s", call->name,
              (unsigned long long)n, (int)kind, kiln_status_name(rc), last->text);
    CHECK_MSG(last->status == rc && last->text != NULL && last->text[0] != '\0',
              "%s, fault %llu of kind %d: %s, words of %s: %s", call->name, (unsigned long long)n,
              (int)kind, kiln_status_name(rc), kiln_status_name(last->status), last->text);
    if (run->reader != NULL || (call->flags & GATHERS))
        return;
    last = run->txn != NULL ? kiln_txn_error(run->txn) : kiln_db_error(run->db);
    CHECK_MSG(last->status == rc && last->text[0] != '\0',
              "%s, fault %llu of kind %d: %s, and kept is %s: %s", call->name,
              (unsigned long long)n, (int)kind, kiln_status_name(rc),
              kiln_status_name(last->status), last->text);
}

/* kind FTK_FAULT_COUNT: none; skip: the call is not made. */
static struct outcome
run_once(const struct run *base, const struct call *call, enum ftk_fault kind, uint64_t n,
         bool skip)
{
    struct outcome outcome = {0};
    uint64_t heap = ftk_mem_bytes();
    struct run run;
    bool final = kind == FTK_FAULT_WRITE || kind == FTK_FAULT_SYNC;

    run_begin(&run, base, call);
    if (kind != FTK_FAULT_COUNT)
        ftk_fault_arm(kind, n, 1);
    if (!skip)
        outcome.rc = call->run(&run);
    else if (call->flags & ENDS)
        kiln_txn_abort(run.txn);
    if (call->flags & ENDS)
        run.txn = NULL;
    outcome.hit = kind != FTK_FAULT_COUNT && ftk_fault_hits(kind) > 0;
    ftk_fault_disarm();
    words_verify(&run, call, kind, n, outcome.rc);
    agree(&run, call->name);
    run_commit(&run, call, &outcome);
    kiln_cursor_close(run.cursor);
    if (run.reader != NULL)
        kiln_txn_abort(run.reader);
    agree(&run, call->name);
    if (!final) { /* a passing shortage: the database goes on */
        kiln_txn *txn = engine_begin(run.db, KILN_WRITE);
        kiln_txn_abort(txn);
        OK(kiln_checkpoint(run.db));
        outcome.committed = committed_contents(run.db);
        engine_check(run.db);
    }
    (void)kiln_close(run.db);
    run.db = open_database(run.disk, 0);
    if (final)
        outcome.committed = committed_contents(run.db);
    else
        CHECK_EQ(committed_contents(run.db), outcome.committed);
    engine_end(run.disk, run.db);
    CHECK_MSG(ftk_mem_bytes() == heap, "%s, fault %llu of kind %d: %lld bytes are lost",
              call->name, (unsigned long long)n, (int)kind, (long long)(ftk_mem_bytes() - heap));
    return outcome;
}

/* ---- what must come out ---------------------------------------------------------------------- */

struct expected {
    struct outcome skipped, done; /* without the call, and with it */
    uint64_t base;                /* contents when nothing more is committed */
    uint64_t ended;               /* and when the call is what ended the transaction */
};

static void
judge(const struct call *call, enum ftk_fault kind, uint64_t n, const struct outcome *got,
      const struct expected *expected)
{
    const struct outcome *skipped = &expected->skipped, *done = &expected->done;
    uint64_t base = expected->base;
    static const char *const kinds[] = {"allocation", "read", "write", "sync"};
    char how[128];
    bool sure = got->commit == KILN_OK;

    snprintf(how, sizeof how, "%s, %s %llu: %s, then commit %s", call->name, kinds[kind],
             (unsigned long long)n, kiln_status_name(got->rc), kiln_status_name(got->commit));
    CHECK_MSG(got->rc != KILN_FAILED || kind == FTK_FAULT_WRITE || kind == FTK_FAULT_SYNC,
              "%s: a shortage is no reason to fail", how);
    if (got->rc == KILN_OK && sure) {
        CHECK_MSG(got->committed == done->committed, "%s: not what the call does", how);
        return;
    }
    if (sure) {
        CHECK_MSG((call->flags & PARTLY) || got->committed == skipped->committed,
                  "%s: the call failed and changed something", how);
        CHECK_MSG((call->flags & (PARTLY | GATHERS | OUTSIDE)) || got->inside == skipped->inside,
                  "%s: the call failed and changed something in the transaction", how);
        return;
    }
    CHECK_MSG((call->flags & (ENDS | MAY_END)) || kind == FTK_FAULT_WRITE ||
                  kind == FTK_FAULT_SYNC,
              "%s: a shortage is the call's error, and the transaction goes on", how);
    if (call->flags & ENDS)
        CHECK_MSG(got->committed == base ||
                      (got->rc == KILN_FAILED && got->committed == expected->ended),
                  "%s: something is committed, or a part", how);
    else if (got->commit != KILN_FAILED)
        CHECK_MSG(got->committed == base, "%s: something is committed", how);
    else
        CHECK_MSG(got->committed == base || got->committed == skipped->committed ||
                      got->committed == done->committed,
                  "%s: what is there was never written", how);
}

static void
each_fault_of(enum ftk_fault kind)
{
    struct run base;
    uint64_t faults = 0;

    base_make(&base);
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        const struct call *call = &calls[i];
        struct expected expected = {
            .skipped = run_once(&base, call, FTK_FAULT_COUNT, 0, true),
            .done = run_once(&base, call, FTK_FAULT_COUNT, 0, false),
        };
        struct run empty;
        CHECK_MSG(expected.done.rc == KILN_OK && expected.done.commit == KILN_OK,
                  "%s without faults", call->name);
        if (call->flags & ENDS) {
            run_begin(&empty, &base, call);
            OK(call->run(&empty));
            expected.ended = committed_contents(empty.db);
            engine_end(empty.disk, empty.db);
        }
        run_begin(&empty, &base, call); /* what is there when nothing more is committed */
        if (empty.txn != NULL)
            kiln_txn_abort(empty.txn);
        if (empty.reader != NULL)
            kiln_txn_abort(empty.reader);
        expected.base = committed_contents(empty.db);
        engine_end(empty.disk, empty.db);
        for (uint64_t n = 1;; n++) {
            struct outcome got = run_once(&base, call, kind, n, false);
            judge(call, kind, n, &got, &expected);
            if (!got.hit)
                break;
            faults++;
        }
    }
    simdisk_free(base.disk);
    CHECK(faults > 0);
    printf("    %llu faults\n", (unsigned long long)faults);
}

static void
a_call_without_memory_leaves_what_was(void)
{
    each_fault_of(FTK_FAULT_ALLOC);
}

static void
a_call_that_cannot_read_leaves_what_was(void)
{
    each_fault_of(FTK_FAULT_READ);
}

static void
a_call_that_cannot_write_leaves_what_was(void)
{
    each_fault_of(FTK_FAULT_WRITE);
}

static void
a_call_that_cannot_sync_leaves_what_was(void)
{
    each_fault_of(FTK_FAULT_SYNC);
}

TEST_MAIN("engine_shortages", TEST(a_call_without_memory_leaves_what_was),
          TEST(a_call_that_cannot_read_leaves_what_was),
          TEST(a_call_that_cannot_write_leaves_what_was),
          TEST(a_call_that_cannot_sync_leaves_what_was))
