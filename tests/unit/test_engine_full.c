/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/test_engine_full.c -- a full disk is a clean error: what was acknowledged is there,
 * deletes work, and the load goes on when there is room again.
 */
#include <stdio.h>
#include <string.h>

#include "tests/support/world.h"
#include "tests/unit/engine_testing.h"

enum { VALUE = 900, PER_TXN = 50 };

static struct simdisk *disk;
static kiln_db *db;

/* Transactions of PER_TXN keys until one is refused; returns the number of keys committed. */
static uint64_t
load_until_full(uint64_t from, kiln_status *why)
{
    for (;; from += PER_TXN) {
        kiln_txn *txn = NULL;
        kiln_coll coll;
        *why = kiln_txn_begin(db, KILN_WRITE, &txn);
        if (*why != KILN_OK)
            return from;
        *why = kiln_coll_open(txn, "c", KILN_COLL_CREATE, &coll);
        if (*why == KILN_OK)
            *why = engine_series(txn, coll, from, from + PER_TXN, VALUE);
        if (*why != KILN_OK) {
            kiln_txn_abort(txn);
            return from;
        }
        *why = kiln_txn_commit(txn);
        if (*why != KILN_OK)
            return from;
    }
}

static void
expect_keys(uint64_t from, uint64_t to)
{
    kiln_txn *txn = engine_begin(db, KILN_READ);
    kiln_coll coll = 0;
    uint64_t count = 0;
    kiln_slice value;
    uint8_t key[8];

    OK(kiln_coll_open(txn, "c", 0, &coll));
    OK(kiln_coll_count(txn, coll, &count));
    CHECK_EQ(count, to - from);
    for (uint64_t i = from; i < to; i++) {
        engine_key(i, key);
        OK(kiln_get(txn, coll, key, 8, &value));
    }
    kiln_txn_abort(txn);
}

/* Delete [from, to), a few in each transaction; each must work on the full disk. */
static void
delete_keys(uint64_t from, uint64_t to)
{
    while (from < to) {
        kiln_txn *txn = engine_begin(db, KILN_WRITE);
        kiln_coll coll = 0;
        OK(kiln_coll_open(txn, "c", 0, &coll));
        for (unsigned i = 0; i < 20 && from < to; i++, from++) {
            uint8_t key[8];
            engine_key(from, key);
            OK(kiln_delete(txn, coll, key, 8));
        }
        OK(kiln_txn_commit(txn));
    }
}

static void
fill_empty_and_fill_again(uint64_t capacity)
{
    kiln_status why = KILN_OK;
    uint64_t full, again;

    disk = simdisk_new(&(struct simdisk_options){.seed = test_seed(), .capacity = capacity});
    db = engine_open(disk, KILN_CREATE);
    full = load_until_full(0, &why);
    CHECK_EQ(why, KILN_NOSPACE);
    REQUIRE(full > 200);
    expect_keys(0, full);
    CHECK_EQ(load_until_full(full, &why), full); /* still full, still alive */
    CHECK_EQ(why, KILN_NOSPACE);
    delete_keys(0, full / 2);
    expect_keys(full / 2, full);
    again = load_until_full(full, &why);
    CHECK_EQ(why, KILN_NOSPACE);
    /* Of what was freed the reserve of 512 pages is taken first. */
    CHECK_MSG(again >= full + full / 4 || full < 8000,
              "%llu keys, half deleted, then only %llu more", (unsigned long long)full,
              (unsigned long long)(again - full));
    expect_keys(full / 2, again);
    db = engine_reopen(disk, db); /* a checkpoint fits, too */
    expect_keys(full / 2, again);
    simdisk_capacity(disk, 0);
    kiln_txn *txn = engine_begin(db, KILN_WRITE);
    OK(engine_series(txn, engine_coll(txn, "c"), again, again + 20000, VALUE));
    OK(kiln_txn_commit(txn));
    expect_keys(full / 2, again + 20000);
    engine_end(disk, db);
}

static void
deletes_work_on_a_full_disk_and_make_room(void)
{
    for (uint64_t mib = 8; mib <= 64; mib = mib * 3 / 2 + 1)
        fill_empty_and_fill_again(mib << 20);
}

/* No page becomes free before it commits: what it needs is what the puts have left to it.  Without
 * a log, whose last bytes would be another end of the disk. */
static void
one_transaction_deletes_from_many_leaves_of_a_full_disk(void)
{
    enum { LEAVES = 250, KEYS_EACH = 4 };
    kiln_status why = KILN_OK;
    kiln_coll coll = 0;
    uint64_t full;
    kiln_txn *txn;
    uint8_t key[8];

    disk = simdisk_new(&(struct simdisk_options){.seed = test_seed(), .capacity = 24u << 20});
    db = engine_open(disk, KILN_CREATE | KILN_EXTERNAL_LOG);
    full = load_until_full(0, &why);
    CHECK_EQ(why, KILN_NOSPACE);
    REQUIRE(full > LEAVES * KEYS_EACH);
    txn = engine_begin(db, KILN_WRITE);
    OK(kiln_coll_open(txn, "c", 0, &coll));
    for (uint64_t leaf = 0; leaf < LEAVES; leaf++) {
        engine_key(leaf * KEYS_EACH, key);
        OK(kiln_delete(txn, coll, key, sizeof key));
    }
    OK(kiln_txn_commit(txn));
    engine_end(disk, db);
}

static void
crash_on_a_full_disk_loses_nothing(void)
{
    struct ftk_random random = test_random();

    for (unsigned i = 0; i < 20; i++) {
        uint64_t capacity = (UINT64_C(7) << 20) + ftk_random_below(&random, 24 << 20);
        kiln_status why = KILN_OK;
        uint64_t full;
        disk = simdisk_new(
            &(struct simdisk_options){.seed = ftk_random_next(&random), .capacity = capacity});
        db = engine_open(disk, KILN_CREATE);
        full = load_until_full(0, &why);
        CHECK_EQ(why, KILN_NOSPACE);
        simdisk_crash(disk, ftk_random_next(&random));
        db_abandon(db);
        db = engine_open(disk, 0); /* on the disk as full as it was */
        expect_keys(0, full);
        engine_check(db);
        delete_keys(0, full / 2);
        engine_end(disk, db);
    }
}

/* Anything at any time. */
static void
random_work_meets_the_end_of_the_disk(void)
{
    struct ftk_random random = test_random();
    unsigned full = 0;

    for (unsigned i = 0; i < test_rounds(40); i++) {
        struct world_options options = {.seed = ftk_random_next(&random),
                                        .keys = 4000,
                                        .shape = (enum world_keys)(i % WORLD_KEYS_SHAPES),
                                        .value_max = 900,
                                        .large_max = 300000,
                                        .large_one_in = 20,
                                        .ops_max = 40};
        struct world world;
        world_init(&world, &options);
        world.disk = simdisk_new(&(struct simdisk_options){
            .seed = options.seed, .capacity = (6u << 20) + ftk_random_below(&random, 24 << 20)});
        world_open(&world, KILN_CREATE);
        world.lenient = true;
        for (unsigned step = 0; step < 120; step++) {
            if (world.db == NULL) {
                ftk_status rc = world_try_open(&world, 0);
                REQUIRE_MSG(rc == FTK_OK, "open on a full disk: %s: %s", ftk_status_text(rc),
                            ftk_error_last()->text);
                REQUIRE_OK(world_adopt(&world, world.floor_os, "reopened"));
            }
            world_step(&world);
            full += world.error == FTK_NOSPACE;
            REQUIRE_MSG(world.error == FTK_OK || world.error == FTK_NOSPACE ||
                            world.error == FTK_STATE,
                        "status %s", ftk_status_text(world.error));
            world.error = FTK_OK;
        }
        world.lenient = false;
        if (world.db == NULL)
            world_open(&world, 0);
        world_verify(&world, world.now, "at the end");
        world_check(&world, "at the end");
        world_close(&world);
        simdisk_free(world.disk);
        world_release(&world);
    }
    CHECK_MSG(full > 10, "the disk was full %u times only", full);
}

TEST_MAIN("engine_full", TEST(deletes_work_on_a_full_disk_and_make_room),
          TEST(one_transaction_deletes_from_many_leaves_of_a_full_disk),
          TEST(crash_on_a_full_disk_loses_nothing), TEST(random_work_meets_the_end_of_the_disk))
