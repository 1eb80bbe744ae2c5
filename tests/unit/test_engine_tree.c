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

TEST_MAIN("engine_tree", TEST(batch_of_equal_keys_into_an_empty_collection_keeps_the_last),
          TEST(batch_that_empties_a_collection_and_goes_on))
