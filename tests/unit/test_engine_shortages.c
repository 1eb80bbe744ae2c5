/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_engine_shortages.c -- each call of a write transaction, of records, of a reader
 * and of the database meets every shortage: tests/unit/engine_shortages.h. */
#include "tests/unit/engine_shortages.h"

/* ---- calls ----------------------------------------------------------------------------------- */

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
    if (kiln_bulk_abort(bulk) != KILN_OK)
        run->bulk = bulk;
    return rc;
}

static kiln_status
call_bulk_abort(struct run *run)
{
    kiln_bulk *bulk = NULL;
    kiln_status rc = bulk_fill(run, &bulk);
    kiln_status aborted = kiln_bulk_abort(bulk);

    if (aborted != KILN_OK)
        run->bulk = bulk;
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
    {"put of a large value", 0, change, call_put_large},
    {"put over a large value", 0, NULL, call_replace_large},
    {"put over a large value in scopes", 0, in_scopes, call_replace_large},
    {"delete of a large value", 0, change, call_delete_large},
    {"write of a large value", 0, change, call_write_large},
    {"read of a large value", 0, NULL, call_read_large},
    {"collection", 0, change, call_make},
    {"clear", 0, change, call_clear},
    {"drop", 0, change, call_drop},
    {"drop in scopes", 0, in_scopes, call_drop},
    {"list", 0, NULL, call_list},
    {"put_many", PARTLY, change, call_put_many},
    {"delete_many", PARTLY, change, call_delete_many},
    {"bulk", 0, change, call_bulk},
    {"bulk abort", 0, change, call_bulk_abort},
    {"cursor", 0, change, call_cursor},
    {"records", GATHERS | PARTLY, people_change, call_people},
    {"flush of records", GATHERS, people_change, call_people_flush},
    {"field", GATHERS, people_change, call_field},
    {"container", GATHERS, people_change, call_container},
    {"index", GATHERS, people_change, call_index},
    {"index drop", GATHERS, people_change, call_index_drop},
    {"container drop", GATHERS, people_change, call_container_drop},
    {"put", 0, NULL, call_put},
    {"delete", 0, NULL, call_delete},
    {"get_many", 0, change, call_get_many},
    {"counts and statistics", 0, change, call_sizes},
    {"moves of a cursor", 0, change, call_cursor_moves},
    {"delete by a cursor", 0, change, call_cursor_delete},
    {"cursors of records", GATHERS, people_change, call_people_read},
    {"flush that is asked for", GATHERS, people_change, call_records_flush},
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

static void
a_call_without_memory_leaves_what_was(void)
{
    EACH_FAULT(FTK_FAULT_ALLOC, calls);
}

static void
a_call_that_cannot_read_leaves_what_was(void)
{
    EACH_FAULT(FTK_FAULT_READ, calls);
}

static void
a_call_that_cannot_write_leaves_what_was(void)
{
    EACH_FAULT(FTK_FAULT_WRITE, calls);
}

static void
a_call_that_cannot_sync_leaves_what_was(void)
{
    EACH_FAULT(FTK_FAULT_SYNC, calls);
}

TEST_MAIN("engine_shortages", TEST(a_call_without_memory_leaves_what_was),
          TEST(a_call_that_cannot_read_leaves_what_was),
          TEST(a_call_that_cannot_write_leaves_what_was),
          TEST(a_call_that_cannot_sync_leaves_what_was))
