/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/test_engine_hold.c -- values that a read transaction lent stay the same bytes at the
 * same place: the last ones by themselves, others as long as they are held.
 *
 * Rules: engine/txn/lent.h.
 */
#include <stdatomic.h>

#include "ftk/mem.h"
#include "ftk/thread.h"
#include "tests/unit/engine_testing.h"

enum { KEYS = 4000, SIZE = 500, LARGE = 40000, LARGES = 20, SMALLEST = 4 << 20 };

static void
value_make(unsigned i, unsigned version, unsigned size, uint8_t *value)
{
    struct ftk_random random;

    ftk_random_seed(&random, i * 31u + version * 1000003u);
    for (unsigned at = 0; at < size; at++)
        value[at] = (uint8_t)ftk_random_below(&random, 256);
}

static bool
is_value(kiln_slice got, unsigned i, unsigned version)
{
    static uint8_t value[LARGE];

    value_make(i, version, (unsigned)got.size, value);
    return memcmp(got.data, value, got.size) == 0;
}

/* Each key apart from the next by more than a page of others. */
static void
write_all(kiln_db *db, kiln_coll *coll, unsigned version)
{
    static uint8_t value[LARGE];
    kiln_txn *txn = engine_begin(db, KILN_WRITE);
    uint8_t key[8];

    *coll = engine_coll(txn, "c");
    for (unsigned i = 0; i < KEYS; i++) {
        engine_key(i, key);
        value_make(i, version, SIZE, value);
        OK(kiln_put(txn, *coll, key, 8, value, SIZE, KILN_PUT_REPLACE));
    }
    for (unsigned i = 0; i < LARGES; i++) {
        engine_key(KEYS + i, key);
        value_make(KEYS + i, version, LARGE, value);
        OK(kiln_put(txn, *coll, key, 8, value, LARGE, KILN_PUT_REPLACE));
    }
    OK(kiln_txn_commit(txn));
    OK(kiln_checkpoint(db));
}

static kiln_db *
filled(struct simdisk *disk, kiln_coll *coll, uint64_t limit)
{
    kiln_db *db;

    REQUIRE_OK(cache_limit_set(limit));
    db = engine_open(disk, KILN_CREATE);
    write_all(db, coll, 1);
    return db;
}

static void
ended(struct simdisk *disk, kiln_db *db)
{
    engine_end(disk, db);
    REQUIRE_OK(cache_limit_set(256 << 20));
}

static kiln_slice
get(kiln_txn *txn, kiln_coll coll, unsigned i)
{
    kiln_slice got = {NULL, 0};
    uint8_t key[8];

    engine_key(i, key);
    OK(kiln_get(txn, coll, key, 8, &got));
    return got;
}

static uint64_t
page_of(const kiln_txn *txn, kiln_slice value)
{
    return (uint64_t)((const uint8_t *)value.data - txn->fast->base) >> txn->fast->page_shift;
}

static uint32_t
pins_of(const kiln_txn *txn, kiln_slice value)
{
    return atomic_load(&txn->fast->states[page_of(txn, value)]) / CACHE_PIN_ONE;
}

/* What readers may have granted, none having anything. */
static bool
nothing_is_granted(kiln_db *db)
{
    uint32_t all = cache_lend(db->cache, UINT32_MAX);

    cache_lend_end(db->cache, all);
    return all == cache_limit() / 8 / db->page_bytes;
}

static void
the_last_values_stay_while_a_writer_overwrites_them(void)
{
    struct simdisk *disk = simdisk_new(NULL);
    kiln_slice got[KILN_LENT_MAX];
    kiln_coll coll;
    kiln_db *db = filled(disk, &coll, SMALLEST);
    kiln_txn *txn = engine_begin(db, KILN_READ);

    for (unsigned i = 0; i < KILN_LENT_MAX; i++)
        got[i] = get(txn, coll, i * 60);
    write_all(db, &coll, 2);
    write_all(db, &coll, 3);
    for (unsigned i = 0; i < KILN_LENT_MAX; i++)
        CHECK_MSG(is_value(got[i], i * 60, 1), "value %u of %u", i, KILN_LENT_MAX);
    for (unsigned i = 0; i < KILN_LENT_MAX; i++)
        CHECK(pins_of(txn, got[i]) >= 1);
    kiln_txn_abort(txn);
    ended(disk, db);
}

static void
the_oldest_is_given_back_first(void)
{
    struct simdisk *disk = simdisk_new(NULL);
    kiln_slice got[3 * KILN_LENT_MAX];
    kiln_coll coll;
    kiln_db *db = filled(disk, &coll, 64 << 20);
    kiln_txn *txn = engine_begin(db, KILN_READ);

    for (unsigned i = 0; i < 3 * KILN_LENT_MAX; i++) {
        got[i] = get(txn, coll, i * 20);
        for (unsigned before = 0; before <= i; before++)
            REQUIRE_MSG((pins_of(txn, got[before]) == 1) == (i - before < KILN_LENT_MAX),
                        "value %u after value %u", before, i);
    }
    OK(kiln_txn_renew(txn));
    for (unsigned i = 0; i < 3 * KILN_LENT_MAX; i++)
        CHECK_EQ(pins_of(txn, got[i]), 0);
    kiln_txn_abort(txn);
    ended(disk, db);
}

static void
a_leaf_asked_again_and_again_is_lent_once(void)
{
    struct simdisk *disk = simdisk_new(NULL);
    kiln_slice first, got = {NULL, 0};
    kiln_coll coll;
    kiln_db *db = filled(disk, &coll, 64 << 20);
    kiln_txn *txn = engine_begin(db, KILN_READ);

    first = get(txn, coll, 1000);
    for (unsigned i = 0; i < 1000; i++)
        got = get(txn, coll, 500);
    CHECK_EQ(pins_of(txn, first), 1);
    CHECK_EQ(pins_of(txn, got), 1);
    kiln_txn_abort(txn);
    ended(disk, db);
}

static void
large_values_stay_too(void)
{
    struct simdisk *disk = simdisk_new(NULL);
    kiln_slice got[LARGES];
    kiln_coll coll;
    kiln_db *db = filled(disk, &coll, 64 << 20);
    kiln_txn *txn = engine_begin(db, KILN_READ);

    for (unsigned i = 0; i < LARGES; i++)
        got[i] = get(txn, coll, KEYS + i);
    for (unsigned i = 0; i < LARGES; i++)
        CHECK_EQ(pins_of(txn, got[i]), i + KILN_LENT_LARGE_MAX >= LARGES);
    for (unsigned i = 0; i < 500; i++)
        (void)get(txn, coll, i * 8);
    write_all(db, &coll, 2);
    REQUIRE_OK(cache_limit_set(8 << 20));
    write_all(db, &coll, 3);
    for (unsigned i = LARGES - KILN_LENT_LARGE_MAX; i < LARGES; i++)
        CHECK(is_value(got[i], KEYS + i, 1));
    kiln_txn_abort(txn);
    ended(disk, db);
}

/* Each takes a quarter of KILN_LENT_BYTES_MAX and a page; the newest one does not count. */
static void
large_values_stay_up_to_so_many_bytes(void)
{
    enum { COUNT = 8, MUCH = KILN_LENT_BYTES_MAX / 4 };
    static uint8_t value[MUCH];
    struct simdisk *disk = simdisk_new(NULL);
    kiln_slice got[COUNT];
    kiln_coll coll;
    kiln_db *db = filled(disk, &coll, 128 << 20);
    kiln_txn *txn = engine_begin(db, KILN_WRITE);
    uint8_t key[8];

    for (unsigned i = 0; i < COUNT; i++) {
        engine_key(i, key);
        OK(kiln_put(txn, coll, key, 8, value, MUCH, KILN_PUT_REPLACE));
    }
    OK(kiln_txn_commit(txn));
    txn = engine_begin(db, KILN_READ);
    for (unsigned i = 0; i < COUNT; i++) {
        got[i] = get(txn, coll, i);
        for (unsigned before = 0; before <= i; before++)
            CHECK_MSG(pins_of(txn, got[before]) == (i - before <= 3), "%u after %u", before, i);
        CHECK(get(txn, coll, i).data == got[i].data); /* the same once more is the newest */
        CHECK_EQ(pins_of(txn, got[i]), 1);
    }
    kiln_txn_abort(txn);
    CHECK(nothing_is_granted(db));
    ended(disk, db);
}

/* More than the eighth: the newest of each is there all the same. */
static void
many_readers_in_the_smallest_cache_keep_their_newest(void)
{
    enum { READERS = 200 };
    static kiln_txn *txn[READERS];
    static kiln_slice small[READERS], large[READERS];
    struct simdisk *disk = simdisk_new(NULL);
    kiln_coll coll;
    kiln_db *db = filled(disk, &coll, SMALLEST);

    for (unsigned i = 0; i < READERS; i++)
        txn[i] = engine_begin(db, KILN_READ);
    for (unsigned round = 0; round < 70; round++)
        for (unsigned i = 0; i < READERS; i++)
            small[i] = get(txn[i], coll, (i * 17 + round * 50) % KEYS);
    for (unsigned i = 0; i < READERS / 10; i++)
        large[i] = get(txn[i], coll, KEYS + i % LARGES);
    write_all(db, &coll, 2);
    for (unsigned i = 0; i < READERS; i++)
        CHECK(is_value(small[i], (i * 17 + 69 * 50) % KEYS, 1));
    for (unsigned i = 0; i < READERS / 10; i++)
        CHECK(is_value(large[i], KEYS + i % LARGES, 1));
    for (unsigned i = 0; i < READERS; i++)
        kiln_txn_abort(txn[i]);
    CHECK(nothing_is_granted(db));
    ended(disk, db);
}

static void
a_lowered_limit_takes_back_all_but_the_newest(void)
{
    struct simdisk *disk = simdisk_new(NULL);
    kiln_coll coll;
    kiln_db *db = filled(disk, &coll, 64 << 20);
    kiln_txn *txn[40];
    kiln_slice got;

    for (unsigned r = 0; r < 40; r++) {
        txn[r] = engine_begin(db, KILN_READ);
        for (unsigned i = 0; i < KILN_LENT_MAX; i++)
            (void)get(txn[r], coll, i * 60);
    }
    REQUIRE_OK(cache_limit_set(SMALLEST));
    CHECK(cache_lends_too_much());
    for (unsigned r = 0; r < 40; r++)
        for (unsigned i = 0; i < KILN_LENT_MAX; i++) {
            got = get(txn[r], coll, i * 60 + r);
            CHECK(is_value(got, i * 60 + r, 1));
        }
    CHECK(!cache_lends_too_much());
    for (unsigned r = 0; r < 40; r++)
        kiln_txn_abort(txn[r]);
    CHECK(nothing_is_granted(db));
    ended(disk, db);
}

/* ---- which calls end it ---------------------------------------------------------------------- */

static int
count_it(void *context, size_t index, kiln_slice value)
{
    (void)index;
    CHECK(value.data != NULL);
    ++*(unsigned *)context;
    return 0;
}

/* Calls that lend nothing by the transaction itself, each of which reads the whole collection. */
static void
read_all_otherwise(kiln_txn *txn, kiln_coll coll)
{
    static uint8_t bytes[KEYS + LARGES][8], buffer[LARGE];
    static kiln_slice keys[KEYS + LARGES];
    kiln_slice key, value, none = {NULL, 0};
    unsigned seen = 0;
    uint64_t number;
    kiln_coll opened;
    kiln_cursor *cursor;
    char name[20];
    size_t read;

    for (unsigned i = 0; i < KEYS + LARGES; i++) {
        engine_key(i, bytes[i]);
        keys[i] = (kiln_slice){bytes[i], 8};
        OK(kiln_value_size(txn, coll, bytes[i], 8, &number));
        OK(kiln_value_read(txn, coll, bytes[i], 8, 0, buffer, sizeof buffer, &read));
        CHECK_EQ(read, number);
    }
    OK(kiln_get_many(txn, coll, keys, KEYS + LARGES, count_it, &seen));
    CHECK_EQ(seen, KEYS + LARGES);
    OK(kiln_cursor_open(txn, coll, KILN_CURSOR_SCAN, &cursor));
    for (kiln_status rc = kiln_cursor_first(cursor); rc == KILN_OK; rc = kiln_cursor_next(cursor))
        OK(kiln_cursor_item(cursor, &key, &value));
    kiln_cursor_close(cursor);
    OK(kiln_range_estimate(txn, coll, keys[7], none, &number));
    OK(kiln_coll_open(txn, "c", 0, &opened));
    OK(kiln_coll_next(txn, 0, name, sizeof name, &opened));
    OK(kiln_coll_count(txn, coll, &number));
    STATUS(kiln_get(txn, coll, "no such key", 11, &value), KILN_NOTFOUND);
}

static void
other_calls_leave_what_was_lent(void)
{
    struct simdisk *disk = simdisk_new(NULL);
    kiln_slice small, large, none;
    kiln_coll coll;
    kiln_db *db = filled(disk, &coll, SMALLEST);
    kiln_txn *txn = engine_begin(db, KILN_READ);

    small = get(txn, coll, 7);
    large = get(txn, coll, KEYS + 3);
    read_all_otherwise(txn, coll);
    STATUS(kiln_put(txn, coll, "k", 1, "v", 1, KILN_PUT_REPLACE), KILN_READONLY);
    STATUS(kiln_get(txn, coll, "", 0, &none), KILN_INVALID);
    write_all(db, &coll, 2);
    read_all_otherwise(txn, coll);
    CHECK(is_value(small, 7, 1) && is_value(large, KEYS + 3, 1));
    CHECK_EQ(pins_of(txn, small), 1);
    CHECK_EQ(pins_of(txn, large), 1);
    kiln_txn_abort(txn);
    CHECK(nothing_is_granted(db));
    ended(disk, db);
}

/* The item of a cursor stays until that cursor moves, whatever else is read. */
static void
the_item_of_a_cursor_stays_until_it_moves(void)
{
    const unsigned at[2] = {3 * 70, KEYS + 5};
    struct simdisk *disk = simdisk_new(NULL);
    kiln_slice value[2], again;
    kiln_coll coll;
    kiln_db *db = filled(disk, &coll, SMALLEST);
    kiln_txn *txn = engine_begin(db, KILN_READ);
    kiln_cursor *cursor[2];
    uint8_t key[8];

    for (unsigned i = 0; i < 2; i++) {
        engine_key(at[i], key);
        OK(kiln_cursor_open(txn, coll, 0, &cursor[i]));
        OK(kiln_cursor_seek(cursor[i], key, 8));
        OK(kiln_cursor_item(cursor[i], NULL, &value[i]));
    }
    for (unsigned i = 0; i < KEYS; i += 9)
        CHECK(is_value(get(txn, coll, i), i, 1));
    read_all_otherwise(txn, coll);
    write_all(db, &coll, 2);
    for (unsigned i = 0; i < 2; i++) {
        CHECK(is_value(value[i], at[i], 1));
        OK(kiln_cursor_item(cursor[i], NULL, &again));
        CHECK(again.data == value[i].data && again.size == value[i].size);
        CHECK_EQ(pins_of(txn, value[i]), 1);
        OK(kiln_cursor_first(cursor[i]));
        CHECK_EQ(pins_of(txn, value[i]), 0);
        STATUS(kiln_hold(txn, value[i].data, value[i].size), KILN_INVALID);
        kiln_cursor_close(cursor[i]);
    }
    kiln_txn_abort(txn);
    ended(disk, db);
}

/* With nothing granted each value takes the place of the one that was its key: the pages that the
 * get reads on its way are those that others give up. */
static void
a_key_is_the_value_that_the_get_gives_back(void)
{
    struct simdisk *disk = simdisk_new(NULL);
    kiln_coll coll;
    kiln_db *db = filled(disk, &coll, SMALLEST);
    kiln_txn *txn = engine_begin(db, KILN_WRITE);
    uint8_t key[8], value[600] = {0};
    kiln_slice got;
    unsigned at = 0;

    for (unsigned i = 0; i < 8000; i++) {
        engine_key(i, key);
        engine_key(i * 4001 % 8000, value);
        OK(kiln_put(txn, coll, key, 8, value, i % 5 == 0 ? 600 : 8, KILN_PUT_REPLACE));
    }
    OK(kiln_txn_commit(txn));
    OK(kiln_checkpoint(db));
    uint32_t all = cache_lend(db->cache, UINT32_MAX);
    txn = engine_begin(db, KILN_READ);
    engine_key(at, key);
    OK(kiln_get(txn, coll, key, 8, &got));
    for (unsigned step = 0; step < 20000; step++) {
        unsigned next = at * 4001 % 8000;
        REQUIRE_MSG(ftk_get_be64(got.data) == next, "step %u", step);
        if (step % 3 == 0) { /* elsewhere, so that all are met */
            next = (next + step) % 8000;
            engine_key(next, key);
            got.data = key;
        }
        OK(kiln_get(txn, coll, got.data, 8, &got));
        at = next;
    }
    CHECK_EQ(pins_of(txn, got), 1);
    kiln_txn_abort(txn);
    cache_lend_end(db->cache, all);
    CHECK(nothing_is_granted(db));
    ended(disk, db);
}

/* ---- held ------------------------------------------------------------------------------------ */

static void
what_is_held_stays_until_it_is_released_as_often(void)
{
    struct simdisk *disk = simdisk_new(NULL);
    kiln_slice small, large;
    kiln_coll coll;
    kiln_db *db = filled(disk, &coll, SMALLEST);
    kiln_txn *txn = engine_begin(db, KILN_READ);

    small = get(txn, coll, 7);
    OK(kiln_hold(txn, small.data, small.size));
    OK(kiln_hold(txn, small.data, small.size));
    large = get(txn, coll, KEYS + 3);
    OK(kiln_hold(txn, large.data, large.size));
    for (unsigned version = 2; version < 4; version++) {
        write_all(db, &coll, version);
        for (unsigned i = 0; i < KEYS + LARGES; i += i < KEYS ? 9 : 1)
            CHECK(is_value(get(txn, coll, i), i, 1));
    }
    CHECK(is_value(small, 7, 1) && is_value(large, KEYS + 3, 1));
    OK(kiln_release(txn, small.data, small.size));
    OK(kiln_hold(txn, small.data, small.size)); /* lent no longer, but held */
    OK(kiln_release(txn, small.data, small.size));
    CHECK(pins_of(txn, small) >= 1);
    OK(kiln_release(txn, small.data, small.size));
    STATUS(kiln_release(txn, small.data, small.size), KILN_INVALID);
    STATUS(kiln_hold(txn, small.data, small.size), KILN_INVALID);
    CHECK(is_value(large, KEYS + 3, 1));
    kiln_txn_abort(txn); /* with one held */
    CHECK(nothing_is_granted(db));
    ended(disk, db);
}

static int
hold_it(void *context, size_t index, kiln_slice value)
{
    kiln_txn *txn = ((void **)context)[0];
    kiln_slice *kept = ((void **)context)[1];

    OK(kiln_hold(txn, value.data, value.size));
    kept[index] = value;
    return 0;
}

static void
values_of_batches_and_cursors_are_held(void)
{
    struct simdisk *disk = simdisk_new(NULL);
    uint8_t bytes[50][8];
    kiln_slice keys[50], kept[50], key, value;
    kiln_coll coll;
    kiln_db *db = filled(disk, &coll, 64 << 20);
    kiln_txn *txn = engine_begin(db, KILN_READ);
    void *context[2] = {txn, kept};
    kiln_cursor *cursor;

    for (unsigned i = 0; i < 50; i++) {
        engine_key(i < 45 ? i * 70 : KEYS + i - 45, bytes[i]);
        keys[i] = (kiln_slice){bytes[i], 8};
    }
    OK(kiln_get_many(txn, coll, keys, 50, hold_it, context));
    OK(kiln_cursor_open(txn, coll, 0, &cursor));
    OK(kiln_cursor_seek(cursor, bytes[3], 8));
    OK(kiln_cursor_next(cursor));
    OK(kiln_cursor_item(cursor, &key, &value));
    OK(kiln_hold(txn, value.data, value.size));
    STATUS(kiln_hold(txn, key.data, key.size), KILN_INVALID); /* keys are put together */
    OK(kiln_cursor_last(cursor));
    write_all(db, &coll, 2);
    REQUIRE_OK(cache_limit_set(8 << 20));
    write_all(db, &coll, 3);
    CHECK(is_value(value, 3 * 70 + 1, 1));
    for (unsigned i = 0; i < 50; i++)
        CHECK(is_value(kept[i], i < 45 ? i * 70 : KEYS + i - 45, 1));
    for (unsigned i = 0; i < 50; i++)
        OK(kiln_release(txn, kept[i].data, kept[i].size));
    kiln_cursor_close(cursor);
    kiln_txn_abort(txn);
    ended(disk, db);
}

/* An eighth of 4 MiB is 128 pages. */
static void
holds_end_at_the_bound_with_words_and_nothing_is_lost(void)
{
    struct simdisk *disk = simdisk_new(NULL);
    kiln_slice got[200], refused;
    kiln_coll coll;
    kiln_db *db = filled(disk, &coll, SMALLEST);
    kiln_txn *txn = engine_begin(db, KILN_READ), *other = engine_begin(db, KILN_READ);
    kiln_status rc = KILN_OK;
    unsigned n = 0;

    while (n < 200) {
        got[n] = get(txn, coll, n * 20);
        rc = kiln_hold(txn, got[n].data, got[n].size);
        if (rc != KILN_OK)
            break;
        n++;
    }
    STATUS(rc, KILN_NOMEM);
    CHECK(strstr(kiln_error_last()->text, "eighth") != NULL);
    CHECK_EQ(n, SMALLEST / 8 / db->page_bytes);
    CHECK(is_value(got[n], n * 20, 1)); /* still the newest */
    refused = get(other, coll, 5);
    STATUS(kiln_hold(other, refused.data, refused.size), KILN_NOMEM);
    write_all(db, &coll, 2);
    for (unsigned i = 0; i < n; i++)
        CHECK(is_value(got[i], i * 20, 1));
    OK(kiln_release(txn, got[0].data, got[0].size));
    OK(kiln_hold(other, refused.data, refused.size));
    kiln_txn_abort(txn);
    CHECK(is_value(refused, 5, 1));
    kiln_txn_abort(other);
    ended(disk, db);
}

static void
what_cannot_be_held_is_said(void)
{
    struct simdisk *disk = simdisk_new(NULL);
    kiln_slice got;
    kiln_coll coll;
    kiln_db *db = filled(disk, &coll, 64 << 20);
    kiln_txn *txn = engine_begin(db, KILN_WRITE);
    uint8_t mine[10] = {0};

    OK(kiln_put(txn, coll, "empty", 5, "", 0, KILN_PUT_REPLACE));
    got = get(txn, coll, 7);
    STATUS(kiln_hold(txn, got.data, got.size), KILN_STATE);
    STATUS(kiln_release(txn, got.data, got.size), KILN_STATE);
    OK(kiln_txn_commit(txn));
    txn = engine_begin(db, KILN_READ);
    STATUS(kiln_hold(txn, mine, sizeof mine), KILN_INVALID);
    STATUS(kiln_hold(txn, NULL, 1), KILN_INVALID);
    STATUS(kiln_hold(txn, txn->fast->base, 10), KILN_INVALID);
    STATUS(kiln_release(txn, mine, sizeof mine), KILN_INVALID);
    STATUS(kiln_release(txn, NULL, 1), KILN_INVALID);
    got = get(txn, coll, 7);
    STATUS(kiln_hold(txn, got.data, SIZE_MAX), KILN_INVALID);
    STATUS(kiln_hold(txn, got.data, db->page_bytes * 2), KILN_INVALID);
    OK(kiln_get(txn, coll, "empty", 5, &got));
    OK(kiln_hold(txn, got.data, got.size));
    OK(kiln_release(txn, got.data, got.size));
    kiln_txn_abort(txn);
    ended(disk, db);
}

/* What begins at one place may be held as values of several sizes, and each hold is its own. */
static void
a_hold_ends_by_a_release_of_its_own_place_and_size_alone(void)
{
    struct simdisk *disk = simdisk_new(NULL);
    kiln_slice got[2];
    kiln_coll coll;
    kiln_db *db = filled(disk, &coll, 64 << 20);
    kiln_txn *txn = engine_begin(db, KILN_READ);

    got[0] = get(txn, coll, 7);
    got[1] = get(txn, coll, KEYS + 3);
    for (unsigned i = 0; i < 2; i++) {
        uint32_t pins = pins_of(txn, got[i]);

        OK(kiln_hold(txn, got[i].data, got[i].size));
        STATUS(kiln_release(txn, got[i].data, got[i].size - 1), KILN_INVALID);
        STATUS(kiln_release(txn, got[i].data, 1), KILN_INVALID);
        STATUS(kiln_release(txn, got[i].data, got[i].size + 1), KILN_INVALID);
        STATUS(kiln_release(txn, (const char *)got[i].data + 1, got[i].size - 1), KILN_INVALID);
        CHECK(pins_of(txn, got[i]) == pins + 1);

        OK(kiln_hold(txn, got[i].data, 1));
        OK(kiln_hold(txn, (const char *)got[i].data + 1, got[i].size - 1));
        CHECK(pins_of(txn, got[i]) == pins + 3);
        OK(kiln_release(txn, got[i].data, got[i].size));
        STATUS(kiln_release(txn, got[i].data, got[i].size), KILN_INVALID);
        OK(kiln_release(txn, (const char *)got[i].data + 1, got[i].size - 1));
        STATUS(kiln_release(txn, (const char *)got[i].data + 1, got[i].size - 1), KILN_INVALID);
        CHECK(pins_of(txn, got[i]) == pins + 1);
        OK(kiln_release(txn, got[i].data, 1));
        STATUS(kiln_release(txn, got[i].data, 1), KILN_INVALID);
        CHECK(pins_of(txn, got[i]) == pins);
    }
    kiln_txn_abort(txn);
    CHECK(nothing_is_granted(db));
    ended(disk, db);
}

/* When all is granted to others a hold takes from what its own transaction has lent, and only when
 * that will do. */
static void
a_hold_takes_from_what_is_lent_beside(void)
{
    struct simdisk *disk = simdisk_new(NULL);
    kiln_slice got[20], large;
    kiln_coll coll;
    kiln_db *db = filled(disk, &coll, 64 << 20);
    kiln_txn *txn = engine_begin(db, KILN_READ);

    large = get(txn, coll, KEYS + 3);
    for (unsigned i = 0; i < 3; i++)
        got[i] = get(txn, coll, i * 60); /* 16 more are granted, two of them used */
    uint32_t all = cache_lend(db->cache, UINT32_MAX);
    for (unsigned i = 3; i < 20; i++)
        got[i] = get(txn, coll, i * 60);
    for (unsigned i = 3; i < 20; i++)
        CHECK_EQ(pins_of(txn, got[i]), 1);
    CHECK(large.size > db->page_bytes);
    OK(kiln_hold(txn, large.data, large.size)); /* 11 pages */
    CHECK_EQ(pins_of(txn, large), 2);
    CHECK_EQ(pins_of(txn, got[18]), 0);
    CHECK_EQ(pins_of(txn, got[19]), 1);
    OK(kiln_release(txn, large.data, large.size));
    cache_lend_end(db->cache, all);
    CHECK(is_value(got[19], 19 * 60, 1));
    kiln_txn_abort(txn);
    CHECK(nothing_is_granted(db));
    ended(disk, db);
}

static void
a_hold_that_is_refused_ends_nothing(void)
{
    struct simdisk *disk = simdisk_new(NULL);
    kiln_slice got[3], large;
    kiln_coll coll;
    kiln_db *db = filled(disk, &coll, 64 << 20);
    kiln_txn *txn = engine_begin(db, KILN_READ), *other = engine_begin(db, KILN_READ);
    uint32_t all = cache_lend(db->cache, UINT32_MAX);

    cache_lend_end(db->cache, 2);
    for (unsigned i = 0; i < 3; i++)
        got[i] = get(txn, coll, i * 60);
    large = get(txn, coll, KEYS + 3);
    STATUS(kiln_hold(txn, large.data, large.size), KILN_NOMEM);
    for (unsigned i = 0; i < 3; i++)
        CHECK_EQ(pins_of(txn, got[i]), 1);
    CHECK_EQ(pins_of(txn, large), 1);
    STATUS(kiln_release(txn, large.data, large.size), KILN_INVALID);
    got[0] = get(other, coll, 7);
    STATUS(kiln_hold(other, got[0].data, got[0].size), KILN_NOMEM);
    OK(kiln_hold(txn, got[1].data, got[1].size)); /* not the newest: pinned before that goes */
    CHECK_EQ(pins_of(txn, got[1]), 1);
    CHECK(is_value(got[1], 60, 1));
    kiln_txn_abort(other);
    kiln_txn_abort(txn);
    cache_lend_end(db->cache, all - 2);
    CHECK(nothing_is_granted(db));
    ended(disk, db);
}

static void
a_renewed_transaction_holds_nothing(void)
{
    struct simdisk *disk = simdisk_new(NULL);
    kiln_slice small, large;
    kiln_coll coll;
    kiln_db *db = filled(disk, &coll, 64 << 20);
    kiln_txn *txn = engine_begin(db, KILN_READ);

    small = get(txn, coll, 7);
    OK(kiln_hold(txn, small.data, small.size));
    OK(kiln_hold(txn, small.data, small.size));
    for (unsigned i = 0; i < LARGES; i++) {
        large = get(txn, coll, KEYS + i);
        OK(kiln_hold(txn, large.data, large.size));
    }
    write_all(db, &coll, 2);
    OK(kiln_txn_renew(txn));
    CHECK(nothing_is_granted(db));
    CHECK_EQ(pins_of(txn, small), 0);
    CHECK_EQ(pins_of(txn, large), 0);
    STATUS(kiln_release(txn, small.data, small.size), KILN_INVALID);
    STATUS(kiln_hold(txn, large.data, large.size), KILN_INVALID);
    CHECK(is_value(get(txn, coll, 7), 7, 2));
    kiln_txn_abort(txn);
    ended(disk, db);
}

/* One that ended left its object to the next, with nothing in it. */
static void
a_value_is_held_by_the_transaction_that_lent_it(void)
{
    struct simdisk *disk = simdisk_new(NULL);
    kiln_slice got, old;
    kiln_coll coll;
    kiln_db *db = filled(disk, &coll, 64 << 20);
    kiln_txn *txn = engine_begin(db, KILN_READ), *other = engine_begin(db, KILN_READ);

    got = get(txn, coll, 7);
    old = get(txn, coll, 2000);
    STATUS(kiln_hold(other, got.data, got.size), KILN_INVALID);
    OK(kiln_hold(txn, got.data, got.size));
    OK(kiln_hold(txn, old.data, old.size));
    STATUS(kiln_release(other, got.data, got.size), KILN_INVALID);
    CHECK_EQ(pins_of(txn, got), 2);
    (void)get(other, coll, 7);
    OK(kiln_hold(other, got.data, got.size)); /* the same leaf: both hold it */
    OK(kiln_release(txn, got.data, got.size));
    kiln_txn_abort(txn);
    CHECK_EQ(pins_of(other, old), 0);
    CHECK_EQ(pins_of(other, got), 2);
    for (unsigned i = 0; i < 4; i++) {
        txn = engine_begin(db, KILN_READ);
        STATUS(kiln_release(txn, old.data, old.size), KILN_INVALID);
        STATUS(kiln_hold(txn, old.data, old.size), KILN_INVALID);
        kiln_txn_abort(txn);
    }
    kiln_txn_abort(other);
    CHECK(nothing_is_granted(db));
    ended(disk, db);
}

static void
a_hold_without_memory_holds_nothing(void)
{
    struct simdisk *disk = simdisk_new(NULL);
    kiln_slice got[100];
    kiln_coll coll;
    kiln_db *db = filled(disk, &coll, 64 << 20);
    kiln_txn *txn = engine_begin(db, KILN_READ);
    unsigned refused = 0;

    for (unsigned i = 0; i < 100; i++) {
        kiln_status rc;
        got[i] = get(txn, coll, i * 40);
        ftk_fault_arm(FTK_FAULT_ALLOC, 1, 1);
        rc = kiln_hold(txn, got[i].data, got[i].size);
        ftk_fault_disarm();
        if (rc == KILN_OK)
            continue;
        CHECK_STATUS((ftk_status)rc, FTK_NOMEM);
        CHECK_EQ(pins_of(txn, got[i]), 1);
        STATUS(kiln_release(txn, got[i].data, got[i].size), KILN_INVALID);
        OK(kiln_hold(txn, got[i].data, got[i].size));
        refused++;
    }
    CHECK(refused >= 3); /* the table grew as often */
    write_all(db, &coll, 2);
    for (unsigned i = 0; i < 100; i++) {
        CHECK(is_value(got[i], i * 40, 1));
        OK(kiln_release(txn, got[i].data, got[i].size));
    }
    kiln_txn_abort(txn);
    CHECK(nothing_is_granted(db));
    ended(disk, db);
}

/* Holds and releases in any order against a plain list. */
static void
any_order_of_holds_and_releases(void)
{
    enum { MOST = 300 };
    static kiln_slice held[MOST];
    static unsigned which[MOST];
    struct simdisk *disk = simdisk_new(NULL);
    struct ftk_random random = test_random();
    kiln_coll coll;
    kiln_db *db = filled(disk, &coll, 64 << 20);
    kiln_txn *txn = engine_begin(db, KILN_READ);
    unsigned n = 0;

    for (unsigned step = 0; step < 20000; step++) {
        unsigned i = (unsigned)ftk_random_below(&random, n + 1);
        if (n < MOST && ftk_random_below(&random, 2) == 0) {
            which[n] = (unsigned)ftk_random_below(&random, KEYS + LARGES);
            held[n] = get(txn, coll, which[n]);
            OK(kiln_hold(txn, held[n].data, held[n].size));
            n++;
        } else if (n > 0 && i < n) {
            REQUIRE_MSG(is_value(held[i], which[i], 1), "step %u", step);
            OK(kiln_release(txn, held[i].data, held[i].size));
            held[i] = held[--n];
            which[i] = which[n];
        }
    }
    for (unsigned i = 0; i < n; i++)
        CHECK(pins_of(txn, held[i]) >= 1);
    kiln_txn_abort(txn);
    CHECK(nothing_is_granted(db));
    ended(disk, db);
}

/* ---- threads --------------------------------------------------------------------------------- */

/* Readers lend and hold beside a writer and checkpoints, in a cache that holds a part: what they
 * have stays, and what they keep pinned fails nobody. */
struct crowd {
    kiln_db *db;
    kiln_coll coll;
    _Atomic bool stop;
    _Atomic uint32_t wrong, failed, refused, held;
    _Atomic uint64_t rounds;
    uint64_t seed;
    _Atomic uint32_t number;
};

enum { CROWD = 6, SIZE_OF_CROWD = 300, KEYS_OF_CROWD = 16000, KEPT = 40 };

/* All bytes behind the first four are the version's, which those say. */
static void
crowd_value(uint32_t version, uint32_t i, uint8_t *value)
{
    ftk_put_be32(value, version);
    for (unsigned at = 4; at < SIZE_OF_CROWD; at++)
        value[at] = (uint8_t)(version * 7 + i + at);
}

static bool
is_crowd_value(kiln_slice got, uint32_t version, uint32_t i)
{
    uint8_t value[SIZE_OF_CROWD];

    crowd_value(version, i, value);
    return got.size == SIZE_OF_CROWD && memcmp(got.data, value, SIZE_OF_CROWD) == 0;
}

static kiln_status
crowd_write(struct crowd *crowd, uint32_t version, uint32_t step)
{
    uint8_t key[8], value[SIZE_OF_CROWD];
    kiln_txn *txn = NULL;
    kiln_status rc = kiln_txn_begin(crowd->db, KILN_WRITE, &txn);

    for (uint32_t i = 0; i < KEYS_OF_CROWD && rc == KILN_OK; i += step) {
        engine_key(i, key);
        crowd_value(version, i, value);
        rc = kiln_put(txn, crowd->coll, key, 8, value, sizeof value, KILN_PUT_REPLACE);
    }
    if (rc == KILN_OK)
        return kiln_txn_commit(txn);
    kiln_txn_abort(txn);
    return rc;
}

/* One snapshot: its values, lent and held, are read again at the end. */
static void
crowd_read(struct crowd *crowd, struct ftk_random *random)
{
    kiln_slice got[KEPT];
    uint32_t at[KEPT], version[KEPT];
    bool held[KEPT];
    kiln_txn *txn = NULL;
    uint8_t key[8];

    if (kiln_txn_begin(crowd->db, KILN_READ, &txn) != KILN_OK) {
        atomic_fetch_add(&crowd->failed, 1);
        return;
    }
    for (unsigned n = 0; n < KEPT; n++) {
        at[n] = (uint32_t)ftk_random_below(random, KEYS_OF_CROWD);
        engine_key(at[n], key);
        if (kiln_get(txn, crowd->coll, key, 8, &got[n]) != KILN_OK) {
            atomic_fetch_add(&crowd->failed, 1);
            kiln_txn_abort(txn);
            return;
        }
        version[n] = ftk_get_be32(got[n].data);
        held[n] =
            ftk_random_below(random, 2) == 0 && kiln_hold(txn, got[n].data, got[n].size) == KILN_OK;
        atomic_fetch_add(held[n] ? &crowd->held : &crowd->refused, 1);
        if (n > 0 && ftk_random_below(random, 4) == 0) { /* the one before: newest or held */
            unsigned before = held[n - 1] ? n - 1 : n;
            atomic_fetch_add(&crowd->wrong,
                             !is_crowd_value(got[before], version[before], at[before]));
        }
    }
    for (unsigned n = 0; n < KEPT; n++) {
        if (!held[n] && n + 1 < KEPT)
            continue;
        atomic_fetch_add(&crowd->wrong, !is_crowd_value(got[n], version[n], at[n]));
        if (held[n] && ftk_random_below(random, 2) == 0)
            atomic_fetch_add(&crowd->wrong, kiln_release(txn, got[n].data, got[n].size) != KILN_OK);
    }
    kiln_txn_abort(txn);
    atomic_fetch_add(&crowd->rounds, 1);
}

static void
crowd_reader(void *context)
{
    struct crowd *crowd = context;
    struct ftk_random random;

    ftk_random_seed(&random, crowd->seed + atomic_fetch_add(&crowd->number, 1));
    while (!atomic_load(&crowd->stop))
        crowd_read(crowd, &random);
}

static void
readers_hold_beside_a_writer_and_checkpoints(void)
{
    kiln_options options = engine_options(KILN_CREATE);
    struct crowd crowd = {.seed = test_seed()};
    struct ftk_thread threads[CROWD];
    kiln_txn *txn;

    options.durability = KILN_OS;
    options.dirty_bytes_max = 1 << 20;
    OK(kiln_cache_limit(SMALLEST));
    OK(kiln_open(test_path("db"), &options, &crowd.db));
    txn = engine_begin(crowd.db, KILN_WRITE);
    crowd.coll = engine_coll(txn, "c");
    OK(kiln_txn_commit(txn));
    OK(crowd_write(&crowd, 1, 1));
    for (unsigned i = 0; i < CROWD; i++)
        REQUIRE_OK(ftk_thread_start(&threads[i], "reader", crowd_reader, &crowd));
    for (uint32_t version = 2; version < 13; version++) {
        OK(crowd_write(&crowd, version, version % 4 == 0 ? 1 : 7 * version));
        if (version % 3 == 0)
            OK(kiln_checkpoint(crowd.db));
        if (version % 2 == 0) /* what was granted is too much, and then not again */
            OK(kiln_cache_limit(version % 4 == 0 ? SMALLEST : 2 * SMALLEST));
    }
    atomic_store(&crowd.stop, true);
    for (unsigned i = 0; i < CROWD; i++)
        ftk_thread_join(&threads[i]);
    CHECK_EQ(crowd.wrong, 0);
    CHECK_EQ(crowd.failed, 0);
    CHECK(crowd.rounds > 0 && crowd.held > 0);
    CHECK(nothing_is_granted(crowd.db));
    engine_check(crowd.db);
    OK(kiln_close(crowd.db));
    REQUIRE_OK(cache_limit_set(256 << 20));
}

TEST_MAIN("engine_hold", TEST(the_last_values_stay_while_a_writer_overwrites_them),
          TEST(the_oldest_is_given_back_first), TEST(a_leaf_asked_again_and_again_is_lent_once),
          TEST(large_values_stay_too), TEST(large_values_stay_up_to_so_many_bytes),
          TEST(many_readers_in_the_smallest_cache_keep_their_newest),
          TEST(a_lowered_limit_takes_back_all_but_the_newest),
          TEST(other_calls_leave_what_was_lent), TEST(the_item_of_a_cursor_stays_until_it_moves),
          TEST(a_key_is_the_value_that_the_get_gives_back),
          TEST(what_is_held_stays_until_it_is_released_as_often),
          TEST(a_hold_ends_by_a_release_of_its_own_place_and_size_alone),
          TEST(values_of_batches_and_cursors_are_held),
          TEST(holds_end_at_the_bound_with_words_and_nothing_is_lost),
          TEST(what_cannot_be_held_is_said), TEST(a_hold_takes_from_what_is_lent_beside),
          TEST(a_hold_that_is_refused_ends_nothing), TEST(a_renewed_transaction_holds_nothing),
          TEST(a_value_is_held_by_the_transaction_that_lent_it),
          TEST(a_hold_without_memory_holds_nothing), TEST(any_order_of_holds_and_releases),
          TEST(readers_hold_beside_a_writer_and_checkpoints))
