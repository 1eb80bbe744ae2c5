/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_engine_tree.c -- puts, batches and bulk loads: shapes that went wrong once. */
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
    if (txn != NULL)
        OK(kiln_txn_commit(txn));
    txn = NULL;
    engine_end(disk, db);
}

static kiln_slice
text(const char *s)
{
    return (kiln_slice){s, strlen(s)};
}

static void
batch_of_equal_keys_into_an_empty_collection_keeps_the_last(void)
{
    kiln_slice keys[3] = {text("k"), text("k"), text("k")};
    kiln_slice values[3] = {text("one"), text("two"), text("three")};
    size_t done = 0;

    begin();
    OK(kiln_put_many(txn, coll, keys, values, 3, KILN_PUT_REPLACE, &done));
    CHECK_EQ(done, 3);
    CHECK_VALUE(txn, coll, "k", "three");
    end();
}

/* Larger than the cache, and behind its last key the batch goes on with keys that are not there. */
static void
batch_that_empties_a_collection_and_goes_on(void)
{
    enum { THERE = 16000, ALL = THERE + 2000 };
    kiln_options options = engine_options(KILN_CREATE);
    static uint8_t bytes[ALL][8];
    static kiln_slice keys[ALL];
    uint64_t deleted;

    disk = simdisk_new(NULL);
    options.cache_bytes = 4 << 20;
    REQUIRE_OK(engine_try_open(disk, &options, &db));
    txn = engine_begin(db, KILN_WRITE);
    coll = engine_coll(txn, "c");
    OK(engine_series(txn, coll, 0, THERE, 600));
    for (uint64_t i = 0; i < ALL; i++) {
        engine_key(i, bytes[i]);
        keys[i] = (kiln_slice){bytes[i], 8};
    }
    OK(kiln_delete_many(txn, coll, keys, ALL, &deleted));
    CHECK_EQ(deleted, THERE);
    end();
    OK((ftk_status)kiln_cache_limit(64u << 20));
}

static void
bulk_load_takes_each_key_once(void)
{
    kiln_bulk *bulk = NULL;
    uint64_t count = 0;
    char key[8];

    begin();
    OK(kiln_bulk_begin(txn, coll, &bulk));
    for (unsigned i = 0; i < 2000; i++) {
        int size = snprintf(key, sizeof key, "%05u", i);
        OK(kiln_bulk_add(bulk, key, (size_t)size, "1", 1));
        STATUS(kiln_bulk_add(bulk, key, (size_t)size, "2", 1), KILN_INVALID);
        STATUS(kiln_bulk_add(bulk, key, (size_t)size - 1, "3", 1), KILN_INVALID); /* below it */
    }
    OK(kiln_bulk_end(bulk));
    OK(kiln_coll_count(txn, coll, &count));
    CHECK_EQ(count, 2000);
    CHECK_VALUE(txn, coll, "00000", "1");
    CHECK_VALUE(txn, coll, "01999", "1");
    end();
}

struct asked {
    size_t next, found;
};

static int
is_next(void *context, size_t index, kiln_slice value)
{
    struct asked *asked = context;
    bool there = index % 2 == 0;

    CHECK_EQ(index, asked->next);
    CHECK((value.data != NULL) == there);
    if (value.data != NULL)
        CHECK_EQ(ftk_get_be64(value.data), index);
    asked->found += value.data != NULL;
    asked->next++;
    return 0;
}

/* More than one group of them, keys that are there and keys that are not. */
static void
each_of_many_keys_has_its_own_answer(void)
{
    enum { MANY = 1000 };
    static uint8_t bytes[MANY][8];
    static kiln_slice keys[MANY];
    struct asked asked = {0, 0};

    begin();
    for (uint64_t i = 0; i < MANY; i++) {
        engine_key(i, bytes[i]);
        keys[i] = (kiln_slice){bytes[i], 8};
        if (i % 2 == 0)
            OK(engine_series(txn, coll, i, i + 1, 100));
    }
    OK(kiln_get_many(txn, coll, keys, MANY, is_next, &asked));
    CHECK_EQ(asked.next, MANY);
    CHECK_EQ(asked.found, MANY / 2);
    end();
}

/* Keys [from, to) of the series are all that there is. */
static void
series_is(uint64_t from, uint64_t to)
{
    uint64_t count = 0, wrong = 0;
    kiln_slice value;
    uint8_t key[8];

    for (uint64_t i = from; i < to; i++) {
        engine_key(i, key);
        wrong += kiln_get(txn, coll, key, 8, &value) != KILN_OK || ftk_get_be64(value.data) != i;
    }
    CHECK_EQ(wrong, 0);
    OK(kiln_coll_count(txn, coll, &count));
    CHECK_EQ(count, to - from);
}

/* The last leaf is known while keys come in order; after each of these it is another one. */
static void
ascending_keys_go_on_behind_a_clear_a_merge_and_a_longer_value(void)
{
    static const uint8_t longer[900];
    uint8_t key[8];

    for (unsigned scoped = 0; scoped < 2; scoped++) {
        begin();
        OK(engine_series(txn, coll, 0, 2000, 100));
        if (scoped)
            OK(kiln_savepoint(txn));
        OK(kiln_coll_clear(txn, coll));
        OK(engine_series(txn, coll, 2000, 2100, 100));
        series_is(2000, 2100);
        end();
        for (uint64_t keys = 100; keys < 200; keys++) {
            begin();
            OK(engine_series(txn, coll, 0, keys, 100));
            if (scoped)
                OK(kiln_savepoint(txn));
            for (uint64_t i = keys - 3; i-- > keys - 60;) { /* the last ones stay */
                engine_key(i, key);
                OK(kiln_delete(txn, coll, key, 8));
            }
            OK(engine_series(txn, coll, keys, keys + 50, 100));
            OK(engine_series(txn, coll, keys - 60, keys - 3, 100));
            series_is(0, keys + 50);
            for (uint64_t i = keys + 40; i < keys + 48; i++) {
                uint8_t value[900];
                memcpy(value, longer, sizeof value);
                ftk_put_be64(value, i);
                engine_key(i, key);
                OK(kiln_put(txn, coll, key, 8, value, sizeof value, KILN_PUT_REPLACE));
            }
            OK(engine_series(txn, coll, keys + 50, keys + 100, 100));
            series_is(0, keys + 100);
            end();
        }
    }
}

/* Separators are beginnings of keys: a batch that has all of these meets each of them. */
static void
batch_of_keys_that_are_separators_finds_their_places(void)
{
    enum { KEYS = 2000, ALL = 8 * KEYS };
    static uint8_t bytes[KEYS][8];
    static kiln_slice keys[ALL], values[ALL];
    uint64_t wrong = 0;
    kiln_slice value;
    size_t done, n = 0;

    begin();
    OK(engine_series(txn, coll, 0, KEYS, 100));
    for (uint64_t i = 0; i < KEYS; i++) {
        engine_key(i, bytes[i]);
        for (size_t size = 1; size <= 8; size++) {
            keys[n] = (kiln_slice){bytes[i], size};
            values[n++] = (kiln_slice){bytes[i], size};
        }
    }
    OK(kiln_put_many(txn, coll, keys, values, ALL, KILN_PUT_REPLACE, &done));
    for (size_t i = 0; i < ALL; i++)
        wrong += kiln_get(txn, coll, keys[i].data, keys[i].size, &value) != KILN_OK ||
                 value.size != keys[i].size || memcmp(value.data, keys[i].data, value.size) != 0;
    CHECK_EQ(wrong, 0);
    end();
}

/* The page of the cleared collection is another one's by then. */
static void
keys_behind_a_clear_do_not_go_into_the_page_that_was_the_last(void)
{
    kiln_coll other;
    uint64_t count = 0;

    begin();
    other = engine_coll(txn, "other");
    OK(engine_series(txn, coll, 0, 10, 100));
    OK(kiln_coll_clear(txn, coll));
    OK(kiln_coll_count(txn, coll, &count));
    CHECK_EQ(count, 0);
    OK(engine_series(txn, other, 0, 10, 100));
    OK(engine_series(txn, coll, 20, 30, 100));
    series_is(20, 30);
    OK(kiln_coll_count(txn, other, &count));
    CHECK_EQ(count, 10);
    end();
}

TEST_MAIN("engine_tree", TEST(batch_of_equal_keys_into_an_empty_collection_keeps_the_last),
          TEST(batch_that_empties_a_collection_and_goes_on), TEST(bulk_load_takes_each_key_once),
          TEST(each_of_many_keys_has_its_own_answer),
          TEST(ascending_keys_go_on_behind_a_clear_a_merge_and_a_longer_value),
          TEST(batch_of_keys_that_are_separators_finds_their_places),
          TEST(keys_behind_a_clear_do_not_go_into_the_page_that_was_the_last))
