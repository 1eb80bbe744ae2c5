/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/test_engine_in_place.c -- leaves changed in place, and who asks for the state before.
 *
 * The random worlds (tests/sim, tests/crash) do the same at random; here each way out of a window
 * is taken on purpose, and threads take them at any moment.
 */
#include <time.h>

#include "ftk/clock.h"
#include "tests/unit/engine_testing.h"

enum { KEYS = 2000 };

static kiln_db *
open_in(struct simdisk *disk)
{
    kiln_options options = engine_options(KILN_CREATE);
    kiln_db *db = NULL;

    options.durability = KILN_OS;
    REQUIRE_OK(engine_try_open(disk, &options, &db));
    return db;
}

/* All keys with this value, each a little different. */
static void
fill(kiln_txn *txn, kiln_coll coll, unsigned first, unsigned step, unsigned value)
{
    uint8_t key[8], data[40];

    for (unsigned i = first; i < KEYS; i += step) {
        engine_key(i, key);
        memset(data, (int)value, sizeof data);
        OK(kiln_put(txn, coll, key, 8, data, 20 + (i + value) % 20, KILN_PUT_REPLACE));
    }
}

static void
expect(kiln_txn *txn, kiln_coll coll, unsigned first, unsigned step, unsigned value)
{
    uint8_t key[8];
    kiln_slice got;

    for (unsigned i = first; i < KEYS; i += step) {
        engine_key(i, key);
        OK(kiln_get(txn, coll, key, 8, &got));
        REQUIRE_MSG(
            got.size == 20 + (i + value) % 20 && *(const uint8_t *)got.data == (uint8_t)value,
            "key %u: %zu bytes of %u, wanted %u", i, got.size, *(const uint8_t *)got.data, value);
    }
}

/* A database whose leaves are younger than its last checkpoint: value 1. */
static kiln_db *
young(struct simdisk *disk, kiln_coll *coll)
{
    kiln_db *db = open_in(disk);
    kiln_txn *txn = engine_begin(db, KILN_WRITE);

    *coll = engine_coll(txn, "c");
    fill(txn, *coll, 0, 1, 1);
    OK(kiln_txn_commit(txn));
    return db;
}

static uint64_t
changes_of(kiln_db *db, uint64_t *returns)
{
    kiln_stat stat = {.size = sizeof stat};

    OK(kiln_stat_get(db, &stat));
    if (returns != NULL)
        *returns = stat.in_place_returns;
    return stat.in_place_changes;
}

/* A write transaction with an open window: every 16th key has value 2, every 16th beside is
 * gone. */
static kiln_txn *
with_window(kiln_db *db, kiln_coll coll)
{
    kiln_txn *txn = engine_begin(db, KILN_WRITE);
    uint8_t key[8];

    fill(txn, coll, 0, 16, 2);
    for (unsigned i = 1; i < KEYS; i += 16) {
        engine_key(i, key);
        OK(kiln_delete(txn, coll, key, 8));
    }
    for (unsigned i = 1; i < KEYS; i += 32) {
        engine_key(i, key);
        OK(kiln_put(txn, coll, key, 8, "again", 5, KILN_PUT_INSERT));
    }
    CHECK(window_state(&db->window) == WINDOW_OPEN);
    return txn;
}

static void
expect_before(kiln_txn *txn, kiln_coll coll)
{
    uint64_t count = 0;

    expect(txn, coll, 0, 1, 1);
    OK(kiln_coll_count(txn, coll, &count));
    CHECK_EQ(count, KEYS);
}

static void
expect_after(kiln_txn *txn, kiln_coll coll)
{
    uint64_t count = 0;
    uint8_t key[8];
    kiln_slice got;

    expect(txn, coll, 0, 16, 2);
    for (unsigned first = 2; first < 16; first++)
        expect(txn, coll, first, 16, 1);
    for (unsigned i = 1; i < KEYS; i += 16) {
        engine_key(i, key);
        STATUS(kiln_get(txn, coll, key, 8, &got), i % 32 == 1 ? KILN_OK : KILN_NOTFOUND);
    }
    OK(kiln_coll_count(txn, coll, &count));
    CHECK_EQ(count, KEYS - KEYS / 16 + KEYS / 32 + (KEYS % 32 > 1));
}

static void
finish(kiln_db *db, struct simdisk *disk, kiln_coll coll, void (*expected)(kiln_txn *, kiln_coll))
{
    kiln_txn *txn = engine_begin(db, KILN_READ);

    expected(txn, coll);
    kiln_txn_abort(txn);
    OK(kiln_check(db, NULL));
    OK(kiln_close(db));
    db = open_in(disk);
    txn = engine_begin(db, KILN_READ);
    expected(txn, coll);
    kiln_txn_abort(txn);
    OK(kiln_check(db, NULL));
    OK(kiln_close(db));
    simdisk_free(disk);
}

static void
a_commit_keeps_the_changes(void)
{
    struct simdisk *disk = simdisk_new(NULL);
    kiln_coll coll;
    kiln_db *db = young(disk, &coll);
    uint64_t free_before = changes_of(db, NULL), returns;
    kiln_txn *txn = with_window(db, coll);

    expect_after(txn, coll);
    OK(kiln_txn_commit(txn));
    CHECK(changes_of(db, &returns) > free_before + KEYS / 8);
    CHECK_EQ(returns, 0);
    finish(db, disk, coll, expect_after);
}

static void
an_abort_undoes_them(void)
{
    struct simdisk *disk = simdisk_new(NULL);
    kiln_coll coll;
    kiln_db *db = young(disk, &coll);

    kiln_txn_abort(with_window(db, coll));
    CHECK(window_state(&db->window) == WINDOW_SHUT);
    finish(db, disk, coll, expect_before);
}

static void
a_reader_that_begins_sees_the_state_before(void)
{
    for (unsigned aborts = 0; aborts < 2; aborts++) {
        struct simdisk *disk = simdisk_new(NULL);
        kiln_coll coll;
        kiln_db *db = young(disk, &coll);
        kiln_txn *txn = with_window(db, coll), *reader = engine_begin(db, KILN_READ);
        uint64_t returns;

        (void)changes_of(db, &returns);
        CHECK_EQ(returns, 1);
        expect_before(reader, coll);
        expect_after(txn, coll);
        fill(txn, coll, 5, 16, 3); /* goes on, in its copies */
        expect_before(reader, coll);
        fill(txn, coll, 5, 16, 1);
        if (aborts)
            kiln_txn_abort(txn);
        else
            OK(kiln_txn_commit(txn));
        expect_before(reader, coll);
        kiln_txn_abort(reader);
        finish(db, disk, coll, aborts ? expect_before : expect_after);
    }
}

/* The checkpoint has the state before, and so has the database after a power cut. */
static void
a_checkpoint_that_begins_writes_the_state_before(void)
{
    struct simdisk *disk = simdisk_new(NULL), *after;
    kiln_coll coll;
    kiln_db *db = young(disk, &coll), *again;
    kiln_txn *txn = with_window(db, coll), *reader;

    OK(kiln_checkpoint(db));
    expect_after(txn, coll);
    after = simdisk_clone(disk, 1);
    simdisk_crash_as(after, SIMDISK_NONE, 1);
    again = open_in(after);
    reader = engine_begin(again, KILN_READ);
    expect_before(reader, coll);
    kiln_txn_abort(reader);
    OK(kiln_check(again, NULL));
    OK(kiln_close(again));
    simdisk_free(after);
    OK(kiln_txn_commit(txn));
    finish(db, disk, coll, expect_after);
}

static void
savepoints_cursors_and_batches_end_a_window(void)
{
    for (unsigned way = 0; way < 5; way++) {
        struct simdisk *disk = simdisk_new(NULL);
        kiln_coll coll;
        kiln_db *db = young(disk, &coll);
        kiln_txn *txn = with_window(db, coll);
        kiln_coll_stat stat = {.size = sizeof stat};
        kiln_cursor *cursor;
        uint8_t key[8];

        switch (way) {
        case 0:
            OK(kiln_savepoint(txn));
            fill(txn, coll, 0, 1, 7);
            OK(kiln_savepoint_rollback(txn));
            break;
        case 1:
            OK(kiln_cursor_open(txn, coll, 0, &cursor));
            OK(kiln_cursor_seek(cursor, "", 0));
            kiln_cursor_close(cursor);
            break;
        case 2: OK(kiln_coll_stat_get(txn, coll, &stat)); break;
        case 3: /* a large value, and a small one in its place */
            engine_key(3, key);
            OK(kiln_put(txn, coll, key, 8, test_path("x"), 1, KILN_PUT_REPLACE));
            {
                static uint8_t large[100000];
                OK(kiln_put(txn, coll, key, 8, large, sizeof large, KILN_PUT_REPLACE));
            }
            fill(txn, coll, 3, KEYS, 1);
            break;
        default: {
            kiln_coll other = engine_coll(txn, "other");
            OK(engine_put(txn, other, "a", "b"));
            OK(kiln_coll_drop(txn, other));
        }
        }
        CHECK(window_state(&db->window) == WINDOW_SHUT);
        expect_after(txn, coll);
        OK(kiln_txn_commit(txn));
        finish(db, disk, coll, expect_after);
    }
}

/* What kiln_get lent stays what it was when a reader makes the writer take copies. */
static void
a_borrowed_value_stays(void)
{
    struct simdisk *disk = simdisk_new(NULL);
    kiln_coll coll;
    kiln_db *db = young(disk, &coll);
    kiln_txn *txn = with_window(db, coll), *reader;
    uint8_t key[8], copy[64];
    kiln_slice got;

    engine_key(16, key);
    OK(kiln_get(txn, coll, key, 8, &got));
    memcpy(copy, got.data, got.size);
    reader = engine_begin(db, KILN_READ);
    CHECK(memcmp(copy, got.data, got.size) == 0);
    kiln_txn_abort(reader);
    OK(kiln_txn_commit(txn));
    finish(db, disk, coll, expect_after);
}

/* An old reader holds its snapshot and no more: what is younger is changed in place beside it. */
static void
an_old_reader_is_no_obstacle(void)
{
    struct simdisk *disk = simdisk_new(NULL);
    kiln_coll coll;
    kiln_db *db = young(disk, &coll);
    kiln_txn *reader = engine_begin(db, KILN_READ), *txn = engine_begin(db, KILN_WRITE);

    fill(txn, coll, 0, 1, 1); /* copies: the reader has the leaves */
    OK(kiln_txn_commit(txn));
    CHECK_EQ(changes_of(db, NULL), 0);
    txn = with_window(db, coll);
    OK(kiln_txn_commit(txn));
    CHECK(changes_of(db, NULL) > KEYS / 8);
    expect_before(reader, coll);
    kiln_txn_abort(reader);
    finish(db, disk, coll, expect_after);
}

/* ---- threads --------------------------------------------------------------------------------- */

struct shared {
    kiln_db *db;
    kiln_coll coll;
    _Atomic bool stop;
    _Atomic uint64_t reads, failures;
};

/* Every transaction gives all keys of one residue the same value: a snapshot is all one or the
 * other. */
static void
check_snapshot(struct shared *shared, kiln_txn *txn, struct ftk_random *random)
{
    unsigned first = (unsigned)ftk_random_below(random, 16);
    unsigned size = 0, value = 0;
    uint8_t key[8];
    kiln_slice got;

    for (unsigned i = first; i < KEYS; i += 16) {
        engine_key(i, key);
        if (kiln_get(txn, shared->coll, key, 8, &got) != KILN_OK || got.size < 20 ||
            (i > first && *(const uint8_t *)got.data != value) ||
            got.size != 20 + (i + *(const uint8_t *)got.data) % 20)
            atomic_fetch_add(&shared->failures, 1);
        value = *(const uint8_t *)got.data;
        size += (unsigned)got.size;
    }
    atomic_fetch_add(&shared->reads, size > 0);
}

static void
nap(uint64_t ns)
{
    nanosleep(&(struct timespec){.tv_nsec = (long)ns}, NULL);
}

static void
reader_main(void *context)
{
    struct shared *shared = context;
    struct ftk_random random;

    ftk_random_seed(&random, test_seed() ^ 77);
    while (!atomic_load(&shared->stop)) {
        kiln_txn *txn;
        if (kiln_txn_begin(shared->db, KILN_READ, &txn) != KILN_OK) {
            atomic_fetch_add(&shared->failures, 1);
            return;
        }
        check_snapshot(shared, txn, &random);
        kiln_txn_abort(txn);
        nap(ftk_random_below(&random, 300000));
    }
}

static void
checkpoint_main(void *context)
{
    struct shared *shared = context;

    while (!atomic_load(&shared->stop)) {
        if (kiln_checkpoint(shared->db) != KILN_OK)
            atomic_fetch_add(&shared->failures, 1);
        nap(3000000);
    }
}

static void
readers_and_checkpoints_at_any_moment(void)
{
    kiln_options options = engine_options(KILN_CREATE);
    struct shared shared = {0};
    struct ftk_thread threads[3];
    struct ftk_random random = test_random();
    uint64_t until, returns;
    kiln_txn *txn;

    options.durability = KILN_OS;
    OK(kiln_open(test_path("db"), &options, &shared.db));
    txn = engine_begin(shared.db, KILN_WRITE);
    shared.coll = engine_coll(txn, "c");
    fill(txn, shared.coll, 0, 1, 1);
    OK(kiln_txn_commit(txn));
    REQUIRE_OK(ftk_thread_start(&threads[0], "reader", reader_main, &shared));
    REQUIRE_OK(ftk_thread_start(&threads[1], "reader", reader_main, &shared));
    REQUIRE_OK(ftk_thread_start(&threads[2], "checkpoint", checkpoint_main, &shared));
    until = ftk_clock_ns() + test_rounds(2) * UINT64_C(1000000000);
    while (ftk_clock_ns() < until && atomic_load(&shared.failures) == 0) {
        unsigned first = (unsigned)ftk_random_below(&random, 16);
        atomic_store(&shared.db->window.rest, 0); /* always try */
        txn = engine_begin(shared.db, KILN_WRITE);
        fill(txn, shared.coll, first, 16, 1 + (unsigned)ftk_random_below(&random, 200));
        if (ftk_random_below(&random, 4) == 0)
            kiln_txn_abort(txn);
        else
            OK(kiln_txn_commit(txn));
    }
    atomic_store(&shared.stop, true);
    for (unsigned i = 0; i < 3; i++)
        ftk_thread_join(&threads[i]);
    CHECK_EQ(atomic_load(&shared.failures), 0);
    CHECK(changes_of(shared.db, &returns) > 0);
    CHECK(returns > 0);
    OK(kiln_check(shared.db, NULL));
    OK(kiln_close(shared.db));
}

TEST_MAIN("engine_in_place", TEST(a_commit_keeps_the_changes), TEST(an_abort_undoes_them),
          TEST(a_reader_that_begins_sees_the_state_before),
          TEST(a_checkpoint_that_begins_writes_the_state_before),
          TEST(savepoints_cursors_and_batches_end_a_window), TEST(a_borrowed_value_stays),
          TEST(an_old_reader_is_no_obstacle), TEST(readers_and_checkpoints_at_any_moment))
