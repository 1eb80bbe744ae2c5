/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/test_engine_share.c -- several databases, and batches, with a cache that is far too
 * small for what they change: everything goes through, and what was committed is there.
 */
#include <stdlib.h>

#include "cache/cache.h"
#include "ftk/clock.h"
#include "ftk/thread.h"
#include "tests/unit/engine_testing.h"

#define MIB (UINT64_C(1) << 20)

enum { DATABASES_MAX = 24 };

struct writer {
    struct ftk_thread thread;
    kiln_db *db;
    kiln_coll coll;
    uint64_t seed;
    uint32_t puts, value_bytes;
    kiln_status status;
    char error[200];
};

static kiln_db *
open_native(const char *name, uint32_t page_bytes)
{
    kiln_options options = KILN_OPTIONS_INIT;
    kiln_db *db = NULL;

    options.flags = KILN_CREATE;
    options.durability = KILN_OS;
    options.page_bytes = page_bytes;
    options.rfl_segment_bytes = 2u << 20;
    OK(kiln_open(test_path(name), &options, &db));
    return db;
}

static void
writer_open(struct writer *w, unsigned number, uint32_t page_bytes, uint32_t puts,
            uint32_t value_bytes)
{
    char name[16];

    snprintf(name, sizeof name, "db%u", number);
    *w = (struct writer){.puts = puts, .value_bytes = value_bytes, .seed = number + 1u};
    w->db = open_native(name, page_bytes);
    kiln_txn *txn = engine_begin(w->db, KILN_WRITE);
    w->coll = engine_coll(txn, "c");
    OK(kiln_txn_commit(txn));
}

static kiln_status
write_keys(struct writer *w, kiln_txn *txn)
{
    struct ftk_random random;
    uint8_t *value = malloc(w->value_bytes);
    kiln_status rc = KILN_OK;

    if (value == NULL)
        return KILN_NOMEM;
    memset(value, 'v', w->value_bytes);
    ftk_random_seed(&random, w->seed);
    for (uint32_t i = 0; i < w->puts && rc == KILN_OK; i++) {
        uint64_t key = ftk_random_next(&random);
        memcpy(value, &key, sizeof key);
        rc = kiln_put(txn, w->coll, &key, sizeof key, value, w->value_bytes, KILN_PUT_REPLACE);
    }
    free(value);
    return rc;
}

static void
write_transaction(void *context)
{
    struct writer *w = context;
    kiln_txn *txn = NULL;

    w->status = kiln_txn_begin(w->db, KILN_WRITE, &txn);
    if (w->status == KILN_OK) {
        w->status = write_keys(w, txn);
        if (w->status == KILN_OK)
            w->status = kiln_txn_commit(txn);
        else
            kiln_txn_abort(txn);
    }
    if (w->status != KILN_OK)
        snprintf(w->error, sizeof w->error, "%s", kiln_error_last()->text);
}

static void
expect_keys(struct writer *w)
{
    struct ftk_random random;
    kiln_txn *txn = engine_begin(w->db, KILN_READ);
    uint8_t *value = malloc(w->value_bytes);

    REQUIRE(value != NULL);
    ftk_random_seed(&random, w->seed);
    for (uint32_t i = 0; i < w->puts; i++) {
        uint64_t key = ftk_random_next(&random);
        size_t got = 0;
        if (i % 16 != 0)
            continue;
        OK(kiln_value_read(txn, w->coll, &key, sizeof key, 0, value, w->value_bytes, &got));
        REQUIRE_EQ(got, w->value_bytes);
        CHECK_MEM(value, &key, sizeof key);
        CHECK_EQ(value[w->value_bytes - 1], 'v');
    }
    free(value);
    kiln_txn_abort(txn);
    engine_check(w->db);
}

static void
together(unsigned count, uint64_t limit, uint32_t page_bytes, uint32_t puts, uint32_t value_bytes)
{
    struct writer writers[DATABASES_MAX];

    OK(kiln_cache_limit(limit));
    for (unsigned i = 0; i < count; i++)
        writer_open(&writers[i], i, page_bytes, puts, value_bytes);
    for (unsigned i = 0; i < count; i++)
        REQUIRE_OK(ftk_thread_start(&writers[i].thread, "writer", write_transaction, &writers[i]));
    for (unsigned i = 0; i < count; i++)
        ftk_thread_join(&writers[i].thread);
    for (unsigned i = 0; i < count; i++) {
        CHECK_MSG(writers[i].status == KILN_OK, "database %u of %u: %s", i, count,
                  writers[i].error);
        expect_keys(&writers[i]);
        OK(kiln_close(writers[i].db));
    }
}

static void
writers_of_three_databases_go_through_a_small_cache(void)
{
    together(3, 8 * MIB, 0, 12000, 200);
}

static void
writers_of_many_databases_go_through_the_smallest_cache(void)
{
    together(DATABASES_MAX, 4 * MIB, 0, 600, 200);
}

/* 96 pages in all: memory runs out in the middle of an operation, when a page is to be read. */
static void
writers_of_large_pages_go_through_the_smallest_cache(void)
{
    together(4, 6 * MIB, 65536, 2500, 900);
}

static void
large_values_of_several_databases_go_through_a_small_cache(void)
{
    together(6, 4 * MIB, 0, 20, 500000);
}

/* One thread, so that nobody who waits can be helped by those who have open transactions. */
static void
unfinished_transactions_leave_room_for_others(void)
{
    enum { RESTING = 10 };
    struct writer writers[RESTING + 1];
    kiln_txn *txns[RESTING + 1];

    OK(kiln_cache_limit(6 * MIB));
    for (unsigned i = 0; i <= RESTING; i++)
        writer_open(&writers[i], i, 0, 4000, 200);
    for (unsigned i = 0; i <= RESTING; i++) {
        txns[i] = engine_begin(writers[i].db, KILN_WRITE);
        OK(write_keys(&writers[i], txns[i]));
    }
    OK(kiln_txn_commit(txns[RESTING]));
    expect_keys(&writers[RESTING]); /* reads, and a check, beside the others */
    for (unsigned i = 0; i < RESTING; i++) {
        if (i % 3 == 2) {
            kiln_txn_abort(txns[i]);
            writers[i].puts = 0;
        } else {
            OK(kiln_txn_commit(txns[i]));
        }
    }
    for (unsigned i = 0; i <= RESTING; i++) {
        expect_keys(&writers[i]);
        OK(kiln_close(writers[i].db));
    }
}

/* A database with pages of 64 KiB and so many values of 1000 bytes, none of its pages dirty. */
static kiln_db *
large_pages_make(struct simdisk *disk, uint64_t keys, kiln_coll *coll_out)
{
    kiln_options options = engine_options(KILN_CREATE);
    kiln_db *db = NULL;
    kiln_txn *txn;

    options.page_bytes = 65536;
    REQUIRE_OK(engine_try_open(disk, &options, &db));
    txn = engine_begin(db, KILN_WRITE);
    *coll_out = engine_coll(txn, "c");
    OK(engine_series(txn, *coll_out, 0, keys, 1000));
    OK(kiln_txn_commit(txn));
    OK(kiln_checkpoint(db));
    return db;
}

/* What a transaction prepared below 120 MiB, 60 pages of 64 KiB, fills a cache of 4 MiB: what it
 * must read then finds room all the same, in each kind of operation. */
static void
pages_prepared_below_a_high_limit_leave_room_below_a_low_one(void)
{
    enum { LEAVES = 200, KEYS_EACH = 64 };
    struct simdisk *disk = simdisk_new(NULL);
    kiln_db *db;
    kiln_coll coll;
    kiln_txn *txn;
    uint8_t key[8];

    OK(kiln_cache_limit(120 * MIB));
    db = large_pages_make(disk, LEAVES * KEYS_EACH, &coll);
    for (unsigned kind = 0; kind < 3; kind++) {
        OK(kiln_cache_limit(120 * MIB));
        txn = engine_begin(db, KILN_WRITE);
        OK(engine_series(txn, coll, kind, kind + 1, 900));
        OK(kiln_cache_limit(4 * MIB));
        for (uint64_t leaf = 1; leaf < LEAVES; leaf += 7) {
            uint64_t i = leaf * KEYS_EACH + kind;
            kiln_slice got;
            engine_key(i, key);
            if (kind == 0)
                OK(engine_series(txn, coll, i, i + 1, 900));
            else if (kind == 1)
                OK(kiln_delete(txn, coll, key, sizeof key));
            else
                OK(kiln_get(txn, coll, key, sizeof key, &got));
        }
        OK(kiln_txn_commit(txn));
        OK(kiln_checkpoint(db));
    }
    engine_check(db);
    OK(kiln_close(db));
    simdisk_free(disk);
}

/* All of the smallest cache is prepared, for an operation that does not come: one that reads finds
 * room all the same, at once. */
static void
pages_prepared_for_much_leave_room_to_read(void)
{
    enum { KEYS = 4000 };
    struct simdisk *disk = simdisk_new(NULL);
    uint64_t began = ftk_clock_ns();
    kiln_slice got;
    kiln_db *db;
    kiln_coll coll;
    kiln_txn *txn;
    uint8_t key[8];

    OK(kiln_cache_limit(6 * MIB));
    db = large_pages_make(disk, KEYS, &coll);
    txn = engine_begin(db, KILN_WRITE);
    engine_key(0, key);
    OK(kiln_get(txn, coll, key, sizeof key, &got)); /* the last way that is in the cache */
    OK(kiln_put(txn, coll, "other", 5, "", 0, KILN_PUT_REPLACE));
    for (uint64_t pages = 96; txn_prepare(txn, (uint32_t)pages, false) != FTK_OK;)
        REQUIRE(--pages > 32);
    for (uint64_t i = KEYS; i > 0; i -= 400) {
        engine_key(i - 1, key);
        OK(kiln_get(txn, coll, key, sizeof key, &got));
        OK(kiln_put(txn, coll, key, sizeof key, "new", 3, KILN_PUT_REPLACE));
    }
    OK(kiln_txn_commit(txn));
    CHECK(ftk_clock_ns() - began < UINT64_C(60) * 1000000000);
    engine_check(db);
    OK(kiln_close(db));
    simdisk_free(disk);
}

/* ---- records --------------------------------------------------------------------------------- */

/* A database of people with an index, of which each change gathers an entry. */
struct registry {
    struct simdisk *disk;
    kiln_db *db;
    kiln_txn *txn;
    kiln_field name, note;
    kiln_container people;
    kiln_index by_name;
};

static void
registry_open(struct registry *r)
{
    kiln_index_options index = KILN_INDEX_OPTIONS_INIT;
    kiln_options options = engine_options(KILN_CREATE);
    kiln_index_part part = {0};

    r->disk = simdisk_new(NULL);
    options.page_bytes = 4096;
    options.durability = KILN_OS;
    REQUIRE_OK(engine_try_open(r->disk, &options, &r->db));
    r->txn = engine_begin(r->db, KILN_WRITE);
    OK(kiln_field_define(r->txn, "name", KILN_TEXT, &r->name));
    OK(kiln_field_define(r->txn, "note", KILN_BYTES, &r->note));
    OK(kiln_container_define(r->txn, "people", &r->people));
    part.field = r->name;
    index.name = "by_name";
    index.container = r->people;
    index.parts = &part;
    index.part_count = 1;
    OK(kiln_index_define(r->txn, &index, &r->by_name));
    OK(kiln_txn_commit(r->txn));
    r->txn = NULL;
}

/* Person i, new or again with another name. */
static kiln_status
registry_put(struct registry *r, uint64_t i, uint64_t id, const char *as)
{
    static const uint8_t note[400];
    kiln_record *record = NULL;
    char name[64];
    kiln_status rc = kiln_record_new(&record);

    snprintf(name, sizeof name, "%s %llx", as, (unsigned long long)(i * 0x9e3779b97f4a7c15u));
    if (rc == KILN_OK)
        rc = kiln_record_text(record, r->name, name, strlen(name));
    if (rc == KILN_OK)
        rc = kiln_record_bytes(record, r->note, note, sizeof note);
    if (rc == KILN_OK)
        rc = id == 0 ? kiln_record_add(r->txn, r->people, record, &id)
                     : kiln_record_update(r->txn, r->people, id, record);
    kiln_record_free(record);
    return rc;
}

/* Each transaction gathers and dirties more than its share, by turns with the others; one of them
 * rolls a part back, one aborts, and what is committed is whole. */
static void
records_of_several_databases_go_through_a_small_cache(void)
{
    enum { COUNT = 3, PEOPLE = 9000, STEP = 300, ABORTS = 2 };
    struct registry rs[COUNT];

    OK(kiln_cache_limit(6 * MIB));
    for (unsigned k = 0; k < COUNT; k++)
        registry_open(&rs[k]);
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned k = 0; k < COUNT; k++)
            rs[k].txn = engine_begin(rs[k].db, KILN_WRITE);
        for (uint64_t from = 0; from < PEOPLE; from += STEP)
            for (unsigned k = 0; k < COUNT; k++) {
                bool doubtful = k == 1 && from % (4 * STEP) == 0 && round == 1;
                if (doubtful)
                    OK(kiln_savepoint(rs[k].txn));
                for (uint64_t i = from; i < from + STEP; i++)
                    OK(registry_put(&rs[k], i, round == 0 ? 0 : i + 1,
                                    round == 0 ? "first"
                                    : doubtful ? "doubtful"
                                               : "second"));
                if (doubtful)
                    OK(kiln_savepoint_rollback(rs[k].txn));
            }
        for (unsigned k = 0; k < COUNT; k++)
            if (round == 1 && k == ABORTS)
                kiln_txn_abort(rs[k].txn);
            else
                OK(kiln_txn_commit(rs[k].txn));
    }
    for (unsigned k = 0; k < COUNT; k++) {
        uint64_t people = 0, entries = 0;
        kiln_txn *txn = engine_begin(rs[k].db, KILN_READ);
        OK(kiln_container_count(txn, rs[k].people, &people));
        OK(kiln_index_count(txn, rs[k].by_name, &entries));
        CHECK_EQ(people, PEOPLE);
        CHECK_EQ(entries, PEOPLE);
        kiln_txn_abort(txn);
        engine_end(rs[k].disk, rs[k].db);
    }
}

/* Writers of several databases have prepared below a high limit, and rest: what they hold in
 * reserve is more than the limit is when it has fallen.  Each goes on, whoever of them is first. */
static void
reserves_of_resting_writers_do_not_fill_a_limit_that_falls(void)
{
    enum { COUNT = 3, KEYS = 3000 };
    struct simdisk *disks[COUNT];
    kiln_db *dbs[COUNT];
    kiln_txn *txns[COUNT];
    kiln_coll colls[COUNT];

    OK(kiln_cache_limit(120 * MIB));
    for (unsigned k = 0; k < COUNT; k++) {
        disks[k] = simdisk_new(NULL);
        dbs[k] = large_pages_make(disks[k], KEYS, &colls[k]);
    }
    for (unsigned k = 0; k < COUNT; k++) {
        txns[k] = engine_begin(dbs[k], KILN_WRITE);
        OK(engine_series(txns[k], colls[k], 0, 1, 900));
    }
    OK(kiln_cache_limit(6 * MIB));
    for (uint64_t i = 60; i < KEYS; i += 120)
        for (unsigned k = COUNT; k-- > 0;) {
            kiln_slice got;
            uint8_t key[8];
            engine_key(i, key);
            OK(kiln_get(txns[k], colls[k], key, sizeof key, &got));
            OK(engine_series(txns[k], colls[k], i, i + 1, 900));
        }
    for (unsigned k = 0; k < COUNT; k++) {
        OK(kiln_txn_commit(txns[k]));
        engine_end(disks[k], dbs[k]);
    }
}

static _Atomic bool stop;

static void
move_the_limit(void *context)
{
    struct ftk_random *random = context;

    while (!atomic_load(&stop)) {
        (void)kiln_cache_limit((4 + ftk_random_below(random, 13)) * MIB);
        ftk_clock_sleep_ns(1000000);
    }
}

static void
the_limit_may_move_beside_them(void)
{
    struct ftk_random random = test_random();
    struct ftk_thread mover;
    struct writer writers[3];

    OK(kiln_cache_limit(16 * MIB));
    for (unsigned i = 0; i < 3; i++)
        writer_open(&writers[i], i, 0, 12000, 200);
    atomic_store(&stop, false);
    REQUIRE_OK(ftk_thread_start(&mover, "mover", move_the_limit, &random));
    for (unsigned i = 0; i < 3; i++)
        REQUIRE_OK(ftk_thread_start(&writers[i].thread, "writer", write_transaction, &writers[i]));
    for (unsigned i = 0; i < 3; i++)
        ftk_thread_join(&writers[i].thread);
    atomic_store(&stop, true);
    ftk_thread_join(&mover);
    for (unsigned i = 0; i < 3; i++) {
        CHECK_MSG(writers[i].status == KILN_OK, "database %u: %s", i, writers[i].error);
        expect_keys(&writers[i]);
        OK(kiln_close(writers[i].db));
    }
}

/* ---- batches --------------------------------------------------------------------------------- */

enum { KEYS = 6000, KEY_BYTES = 700 };

static char (*keys)[KEY_BYTES];
static kiln_slice key_slices[KEYS], value_slices[KEYS];

static void
keys_make(void)
{
    keys = malloc(KEYS * sizeof *keys);
    REQUIRE(keys != NULL);
    memset(keys, 'k', KEYS * sizeof *keys);
    for (unsigned i = 0; i < KEYS; i++) {
        int n = snprintf(keys[i], KEY_BYTES, "%u", i * 3571u % KEYS);
        keys[i][n] = 'k';
        key_slices[i] = (kiln_slice){keys[i], KEY_BYTES};
        value_slices[i] = (kiln_slice){keys[i], i % 300};
    }
}

static uint64_t
keys_count(kiln_db *db, kiln_coll coll)
{
    kiln_txn *txn = engine_begin(db, KILN_READ);
    kiln_slice value;
    uint64_t count = 0;

    for (unsigned i = 0; i < KEYS; i++) {
        kiln_status rc = kiln_get(txn, coll, keys[i], KEY_BYTES, &value);
        count += rc == KILN_OK && value.size == i % 300;
    }
    kiln_txn_abort(txn);
    return count;
}

/* Into nothing; over pages that were written out early; in the smallest cache that opens. */
static void
batches_work_with_the_smallest_cache(void)
{
    static const uint32_t pages[] = {4096, 16384, 65536};

    keys_make();
    for (size_t n = 0; n < 3; n++) {
        uint64_t limit = pages[n] * UINT64_C(96) > 4 * MIB ? pages[n] * UINT64_C(96) : 4 * MIB;
        kiln_txn *txn;
        kiln_coll coll;
        uint64_t deleted = 0;
        size_t done = 0;

        OK(kiln_cache_limit(limit));
        kiln_db *db = open_native(n == 0 ? "a" : n == 1 ? "b" : "c", pages[n]);
        txn = engine_begin(db, KILN_WRITE);
        coll = engine_coll(txn, "c");
        for (unsigned round = 0; round < 3; round++) {
            OK(kiln_put_many(txn, coll, key_slices, value_slices, KEYS, 0, &done));
            CHECK_EQ(done, KEYS);
        }
        OK(kiln_txn_commit(txn));
        CHECK_EQ(keys_count(db, coll), KEYS);
        txn = engine_begin(db, KILN_WRITE);
        OK(kiln_put_many(txn, coll, key_slices, value_slices, KEYS, 0, &done));
        OK(kiln_delete_many(txn, coll, key_slices, KEYS / 2, &deleted));
        CHECK_EQ(deleted, KEYS / 2);
        OK(kiln_txn_commit(txn));
        CHECK_EQ(keys_count(db, coll), KEYS - KEYS / 2);
        engine_check(db);
        OK(kiln_close(db));
    }
    free(keys);
}

TEST_MAIN("engine_share", TEST(writers_of_three_databases_go_through_a_small_cache),
          TEST(writers_of_many_databases_go_through_the_smallest_cache),
          TEST(writers_of_large_pages_go_through_the_smallest_cache),
          TEST(large_values_of_several_databases_go_through_a_small_cache),
          TEST(unfinished_transactions_leave_room_for_others), TEST(the_limit_may_move_beside_them),
          TEST(pages_prepared_below_a_high_limit_leave_room_below_a_low_one),
          TEST(pages_prepared_for_much_leave_room_to_read),
          TEST(reserves_of_resting_writers_do_not_fill_a_limit_that_falls),
          TEST(records_of_several_databases_go_through_a_small_cache),
          TEST(batches_work_with_the_smallest_cache))
