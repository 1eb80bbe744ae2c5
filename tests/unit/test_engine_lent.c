/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/test_engine_lent.c -- values that the database lent, given back in the next call.
 *
 * What kiln_get or a cursor lent lies in the cache.  A put, a delete or a get that is called with
 * it may change that page, copy it, split it, or let it be evicted before it has read it.
 */
#include "engine/txn/db_state.h"
#include "tests/unit/engine_testing.h"

enum { KEYS = 600, LARGE = 300000 };

static void
value_make(unsigned i, unsigned size, uint8_t *value)
{
    for (unsigned at = 0; at < size; at++)
        value[at] = (uint8_t)(i * 7 + at);
}

static unsigned
size_of(unsigned i)
{
    return 10 + i * 37 % 300;
}

static bool
has_value_of(kiln_txn *txn, kiln_coll coll, unsigned at, unsigned i)
{
    uint8_t key[8], value[400];
    kiln_slice got;

    engine_key(at, key);
    value_make(i, size_of(i), value);
    return kiln_get(txn, coll, key, 8, &got) == KILN_OK && got.size == size_of(i) &&
           memcmp(got.data, value, got.size) == 0;
}

static kiln_db *
filled(struct simdisk *disk, kiln_coll *coll, kiln_durability durability)
{
    kiln_options options = engine_options(KILN_CREATE);
    uint8_t key[8], value[400];
    kiln_db *db = NULL;
    kiln_txn *txn;

    options.durability = durability;
    REQUIRE_OK(engine_try_open(disk, &options, &db));
    txn = engine_begin(db, KILN_WRITE);
    *coll = engine_coll(txn, "c");
    for (unsigned i = 0; i < KEYS; i++) {
        engine_key(i, key);
        value_make(i, size_of(i), value);
        OK(kiln_put(txn, *coll, key, 8, value, size_of(i), KILN_PUT_REPLACE));
    }
    OK(kiln_txn_commit(txn));
    return db;
}

/* As many give and take as split pages many times over; the log has the same as the tree. */
static void
values_go_from_key_to_key(bool by_cursor, kiln_durability durability)
{
    static unsigned model[KEYS];
    struct simdisk *disk = simdisk_new(NULL), *after;
    struct ftk_random random = test_random();
    kiln_coll coll;
    kiln_db *db = filled(disk, &coll, durability);
    kiln_txn *txn;

    for (unsigned i = 0; i < KEYS; i++)
        model[i] = i;
    for (unsigned round = 0; round < 40; round++) {
        kiln_cursor *cursor = NULL;
        txn = engine_begin(db, KILN_WRITE);
        if (by_cursor)
            OK(kiln_cursor_open(txn, coll, 0, &cursor));
        for (unsigned n = 0; n < 100; n++) {
            unsigned from = (unsigned)ftk_random_below(&random, KEYS);
            unsigned to = n % 2 ? from / 8 * 8 + n % 8 : (unsigned)ftk_random_below(&random, KEYS);
            uint8_t from_key[8], to_key[8];
            kiln_slice got;
            engine_key(from, from_key);
            engine_key(to, to_key);
            if (by_cursor) {
                OK(kiln_cursor_seek(cursor, from_key, 8));
                OK(kiln_cursor_item(cursor, NULL, &got));
            } else {
                OK(kiln_get(txn, coll, from_key, 8, &got));
            }
            OK(kiln_put(txn, coll, to_key, 8, got.data, got.size, KILN_PUT_REPLACE));
            model[to] = model[from];
        }
        kiln_cursor_close(cursor);
        OK(kiln_txn_commit(txn));
        txn = engine_begin(db, KILN_READ);
        for (unsigned i = 0; i < KEYS; i++)
            REQUIRE_MSG(has_value_of(txn, coll, i, model[i]), "round %u: key %u", round, i);
        kiln_txn_abort(txn);
    }
    after = simdisk_clone(disk, 1);
    simdisk_crash_as(after, SIMDISK_ALL, 1);
    db_abandon(db);
    simdisk_free(disk);
    db = engine_open(after, 0);
    txn = engine_begin(db, KILN_READ);
    for (unsigned i = 0; i < KEYS; i++)
        REQUIRE_MSG(has_value_of(txn, coll, i, model[i]), "recovered: key %u", i);
    kiln_txn_abort(txn);
    engine_check(db);
    OK(kiln_close(db));
    simdisk_free(after);
}

static void
a_value_of_a_get_is_put_elsewhere(void)
{
    values_go_from_key_to_key(false, KILN_FULL);
}

/* In place: no page is copied, and the value moves within its page. */
static void
a_value_of_a_get_is_put_elsewhere_in_a_window(void)
{
    values_go_from_key_to_key(false, KILN_OS);
}

static void
a_value_of_a_cursor_is_put_elsewhere(void)
{
    values_go_from_key_to_key(true, KILN_FULL);
}

static void
a_value_is_a_key(void)
{
    struct simdisk *disk = simdisk_new(NULL);
    kiln_coll coll, names;
    kiln_db *db = filled(disk, &coll, KILN_OS);
    kiln_txn *txn = engine_begin(db, KILN_WRITE);
    uint8_t key[8], name[8];
    kiln_slice got, value;

    names = engine_coll(txn, "names");
    for (unsigned i = 0; i < KEYS; i++) {
        engine_key(i * 7919 % KEYS, key);
        engine_key(i, name);
        OK(kiln_put(txn, names, name, 8, key, 8, KILN_PUT_REPLACE));
    }
    for (unsigned i = 0; i < KEYS; i++) {
        engine_key(i, name);
        OK(kiln_get(txn, names, name, 8, &got));
        OK(kiln_get(txn, coll, got.data, got.size, &value));
        CHECK_EQ(value.size, size_of(i * 7919 % KEYS));
        OK(kiln_get(txn, names, name, 8, &got));
        if (i % 3 == 0)
            OK(kiln_delete(txn, coll, got.data, got.size));
        else if (i % 3 == 1)
            OK(kiln_put(txn, coll, got.data, got.size, got.data, got.size, KILN_PUT_UPDATE));
    }
    for (unsigned i = 0; i < KEYS; i++) {
        engine_key(i * 7919 % KEYS, key);
        STATUS(kiln_get(txn, coll, key, 8, &value), i % 3 == 0 ? KILN_NOTFOUND : KILN_OK);
        if (i % 3 == 1)
            CHECK(value.size == 8 && memcmp(value.data, key, 8) == 0);
    }
    OK(kiln_txn_commit(txn));
    engine_check(db);
    OK(kiln_close(db));
    simdisk_free(disk);
}

/* Larger than what the cache has room for twice: its pages stay until they were read. */
static void
a_large_value_is_put_elsewhere(void)
{
    static uint8_t data[LARGE];
    struct simdisk *disk = simdisk_new(NULL);
    kiln_coll coll;
    kiln_db *db = filled(disk, &coll, KILN_FULL);
    kiln_txn *txn = engine_begin(db, KILN_WRITE);
    kiln_slice got;

    value_make(3, sizeof data, data);
    OK(kiln_put(txn, coll, "large", 5, data, sizeof data, KILN_PUT_REPLACE));
    OK(kiln_txn_commit(txn));
    REQUIRE_OK(cache_limit_set(4 << 20));
    txn = engine_begin(db, KILN_WRITE);
    for (unsigned i = 0; i < 30; i++) {
        OK(kiln_get(txn, coll, "large", 5, &got));
        REQUIRE(got.size == sizeof data && memcmp(got.data, data, sizeof data) == 0);
        OK(kiln_put(txn, coll, &i, sizeof i, got.data, got.size, KILN_PUT_REPLACE));
        OK(kiln_get(txn, coll, &i, sizeof i, &got));
        OK(kiln_put(txn, coll, "large", 5, got.data, got.size, KILN_PUT_REPLACE)); /* over itself */
    }
    OK(kiln_txn_commit(txn));
    txn = engine_begin(db, KILN_READ);
    for (unsigned i = 0; i < 30; i++) {
        OK(kiln_get(txn, coll, &i, sizeof i, &got));
        CHECK(got.size == sizeof data && memcmp(got.data, data, sizeof data) == 0);
    }
    kiln_txn_abort(txn);
    engine_check(db);
    OK(kiln_close(db));
    REQUIRE_OK(cache_limit_set(256 << 20));
    simdisk_free(disk);
}

/* A program may hold parts of a page, and leave cursors at it, as often as it has memory for. */
static void
a_page_pinned_as_often_as_can_be_is_refused(void)
{
    struct simdisk *disk = simdisk_new(NULL);
    kiln_coll coll = 0;
    kiln_db *db = filled(disk, &coll, KILN_OS);
    kiln_txn *txn = engine_begin(db, KILN_READ);
    kiln_cursor *cursor = NULL;
    uint8_t key[8];
    kiln_slice value, item;

    engine_key(0, key);
    OK(kiln_get(txn, coll, key, 8, &value));
    uint64_t page = (uint64_t)((const uint8_t *)value.data - db->fast->base) / db->page_bytes;
    for (unsigned i = 0; i < CACHE_PINS_MOST - 2; i++) /* beside that of the get */
        cache_pin(db->fast, page);
    OK(kiln_cursor_open(txn, coll, 0, &cursor));
    OK(kiln_hold(txn, value.data, 4)); /* the last that is possible */
    CHECK_EQ(kiln_hold(txn, value.data, 5), KILN_NOMEM);
    OK(kiln_hold(txn, value.data, 4)); /* the same again pins nothing */
    CHECK_EQ(kiln_cursor_first(cursor), KILN_NOMEM);
    CHECK_EQ(kiln_cursor_seek(cursor, key, 8), KILN_NOMEM);
    CHECK_EQ(kiln_cursor_item(cursor, &item, NULL), KILN_STATE);
    OK(kiln_cursor_last(cursor)); /* another page */
    OK(kiln_cursor_item(cursor, &item, NULL));
    CHECK(has_value_of(txn, coll, 0, 0)); /* who only looks goes on */
    OK(kiln_release(txn, value.data, 4));
    CHECK_EQ(kiln_hold(txn, value.data, 5), KILN_NOMEM);
    OK(kiln_release(txn, value.data, 4));
    OK(kiln_cursor_first(cursor));
    CHECK_EQ(kiln_hold(txn, value.data, 5), KILN_NOMEM);
    kiln_cursor_close(cursor);
    OK(kiln_hold(txn, value.data, 5));
    kiln_txn_abort(txn);
    for (unsigned i = 0; i < CACHE_PINS_MOST - 2; i++)
        cache_unpin(db->fast, page);
    OK(kiln_close(db));
    simdisk_free(disk);
}

TEST_MAIN("engine_lent", TEST(a_value_of_a_get_is_put_elsewhere),
          TEST(a_value_of_a_get_is_put_elsewhere_in_a_window),
          TEST(a_value_of_a_cursor_is_put_elsewhere), TEST(a_value_is_a_key),
          TEST(a_large_value_is_put_elsewhere), TEST(a_page_pinned_as_often_as_can_be_is_refused))
