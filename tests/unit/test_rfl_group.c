/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_rfl_group.c -- many threads commit together; one sync serves many. */
#include <stdatomic.h>

#include "ftk/clock.h"
#include "ftk/thread.h"
#include "tests/support/gatedisk.h"
#include "tests/unit/rfl_testing.h"

#define THREADS 8

struct worker {
    struct ftk_thread thread;
    struct rfl_log *log;
    uint64_t id;
    uint64_t rounds;
    int durability; /* -1: each in turn */
    ftk_status status;
    uint64_t seen; /* while reading back */
};

static _Atomic bool stop;

static void
work(void *context)
{
    struct worker *worker = context;
    uint64_t lsn_end;

    for (uint64_t i = 0; i < worker->rounds && worker->status == FTK_OK; i++) {
        int durability = worker->durability >= 0 ? worker->durability : (int)((i + worker->id) % 3);
        worker->status = testing_append(worker->log, worker->id << 32 | i,
                                        8 + (i * 131 + worker->id * 17) % 6000, &lsn_end);
        if (worker->status == FTK_OK)
            worker->status = rfl_commit(worker->log, lsn_end, (enum rfl_durability)durability);
    }
}

/* Reads all that is written, again and again, beside the writers. */
static void
read_along(void *context)
{
    struct worker *worker = context;

    while (!atomic_load(&stop) && worker->status == FTK_OK) {
        struct rfl_reader *reader;
        struct rfl_record record;
        uint64_t number;

        worker->status = rfl_reader_open(worker->log, 0, &reader);
        while (worker->status == FTK_OK) {
            worker->status = rfl_reader_next(reader, &record);
            if (worker->status == FTK_OK && !testing_check(&record, &number))
                worker->status = FTK_CORRUPT;
        }
        rfl_reader_close(reader);
        if (worker->status == FTK_NOTFOUND)
            worker->status = FTK_OK;
        ftk_thread_yield();
    }
}

/* Every thread's records are there, in its order. */
static void
check_all(struct rfl_log *log, struct worker *workers)
{
    struct rfl_reader *reader;
    struct rfl_record record;
    uint64_t number;
    ftk_status rc;

    REQUIRE_OK(rfl_reader_open(log, 0, &reader));
    while ((rc = rfl_reader_next(reader, &record)) == FTK_OK) {
        REQUIRE(testing_check(&record, &number) && number >> 32 < THREADS);
        REQUIRE_EQ(number & UINT32_MAX, workers[number >> 32].seen);
        workers[number >> 32].seen++;
    }
    CHECK_STATUS(rc, FTK_NOTFOUND);
    rfl_reader_close(reader);
    for (int i = 0; i < THREADS; i++)
        CHECK_EQ(workers[i].seen, workers[i].rounds);
}

static void
run(int durability, uint64_t rounds, bool background, bool reading)
{
    struct rfl_options options = testing_options(ftk_disk_native(), test_path("log"));
    struct worker workers[THREADS + 1] = {0};
    struct rfl_stats stats;
    struct rfl_log *log;

    options.background = background;
    options.lazy_ms = 2;
    atomic_store(&stop, false);
    REQUIRE_OK(rfl_open(&options, true, 0, &log));
    for (uint64_t i = 0; i <= THREADS; i++) {
        workers[i] =
            (struct worker){.log = log, .id = i, .rounds = rounds, .durability = durability};
        if (i < THREADS || reading)
            REQUIRE_OK(ftk_thread_start(&workers[i].thread, "worker",
                                        i < THREADS ? work : read_along, &workers[i]));
    }
    for (int i = 0; i < THREADS; i++)
        ftk_thread_join(&workers[i].thread);
    atomic_store(&stop, true);
    ftk_thread_join(&workers[THREADS].thread);
    for (int i = 0; i <= THREADS; i++)
        CHECK_OK(workers[i].status);
    rfl_stats(log, &stats);
    CHECK(stats.appends >= THREADS * rounds);
    if (durability == RFL_FULL) {
        CHECK_EQ(stats.lsn_durable, stats.lsn_end);
        CHECK_EQ(stats.waiters_served <= THREADS * rounds, 1);
        CHECK(stats.syncs < THREADS * rounds);
    }
    REQUIRE_OK(rfl_close(log));
    REQUIRE_OK(rfl_open(&options, false, 0, &log));
    check_all(log, workers);
    REQUIRE_OK(rfl_close(log));
}

static void
full_commits_of_eight_threads_share_syncs(void)
{
    run(RFL_FULL, 200, true, false);
}

static void
os_commits_of_eight_threads(void)
{
    run(RFL_OS, 500, true, false);
}

static void
all_durabilities_mixed_with_a_reader_beside(void)
{
    run(-1, 400, true, true);
}

static void
the_callers_threads_do_it_all_without_background(void)
{
    run(-1, 400, false, true);
}

static void
lazy_commits_become_durable_in_time(void)
{
    struct rfl_options options = testing_options(ftk_disk_native(), test_path("log"));
    struct rfl_stats stats = {0};
    struct rfl_log *log;
    uint64_t lsn_end;

    options.background = true;
    options.lazy_ms = 5;
    REQUIRE_OK(rfl_open(&options, true, 0, &log));
    for (uint64_t i = 0; i < 3; i++) {
        REQUIRE_OK(testing_append(log, i, 100, &lsn_end));
        REQUIRE_OK(rfl_commit(log, lsn_end, RFL_LAZY));
        while (stats.lsn_durable < lsn_end) { /* the test's time limit ends a promise not kept */
            ftk_thread_yield();
            rfl_stats(log, &stats);
        }
    }
    REQUIRE_OK(rfl_close(log));
}

/* The sync fails for everyone in the group and ever after; what was durable stays. */
static void
a_failed_sync_is_final_for_all_threads(void)
{
    struct simdisk *disk = simdisk_new(NULL);
    struct rfl_options options = testing_options(simdisk_disk(disk), "/log");
    struct worker workers[THREADS] = {0};
    struct rfl_log *log;
    uint64_t lsn_end;

    options.background = true;
    REQUIRE_OK(rfl_open(&options, true, 0, &log));
    REQUIRE_OK(testing_append(log, 0, 100, &lsn_end));
    REQUIRE_OK(rfl_commit(log, lsn_end, RFL_FULL));
    simdisk_fail(disk, SIMDISK_SYNC, 20, 1, 5);
    for (uint64_t i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){.log = log, .id = i, .rounds = 100000, .durability = RFL_FULL};
        REQUIRE_OK(ftk_thread_start(&workers[i].thread, "worker", work, &workers[i]));
    }
    for (int i = 0; i < THREADS; i++) {
        ftk_thread_join(&workers[i].thread);
        CHECK(workers[i].status == FTK_IO || workers[i].status == FTK_FAILED);
    }
    CHECK_STATUS(testing_append(log, 1, 100, &lsn_end), FTK_FAILED);
    CHECK_STATUS(rfl_close(log), FTK_FAILED);
    simdisk_free(disk);
}

static bool
somebody_waits(struct rfl_log *log)
{
    uint64_t limit = ftk_clock_ns() + UINT64_C(10000000000);
    bool waits;

    do {
        ftk_thread_yield();
        ftk_mutex_lock(&log->mutex);
        waits = log->waiter_count > 0;
        ftk_mutex_unlock(&log->mutex);
    } while (!waits && ftk_clock_ns() < limit);
    return waits;
}

/* One leads the sync that fails, the other waits for it: it is not told that it is durable. */
static void
who_waits_for_a_sync_that_fails_is_told(void)
{
    struct simdisk *disk = simdisk_new(NULL);
    struct rfl_options options = testing_options(simdisk_disk(disk), "/log");
    struct worker workers[2] = {0};
    struct rfl_log *log;
    uint64_t lsn_end;

    REQUIRE_OK(rfl_open(&options, true, 0, &log));
    REQUIRE_OK(testing_append(log, 0, 100, &lsn_end));
    REQUIRE_OK(rfl_commit(log, lsn_end, RFL_FULL));
    gate_install(disk, 0);
    gate_hold(GATE_SYNC);
    simdisk_fail(disk, SIMDISK_SYNC, 1, 1, 5);
    for (uint64_t i = 0; i < 2; i++) {
        workers[i] = (struct worker){.log = log, .id = i, .rounds = 1, .durability = RFL_FULL};
        REQUIRE_OK(ftk_thread_start(&workers[i].thread, "worker", work, &workers[i]));
        CHECK(i == 0 ? gate_wait(GATE_SYNC) : somebody_waits(log));
    }
    gate_let(GATE_SYNC);
    for (int i = 0; i < 2; i++) {
        ftk_thread_join(&workers[i].thread);
        CHECK_STATUS(workers[i].status, FTK_IO);
    }
    CHECK_STATUS(rfl_close(log), FTK_FAILED);
    simdisk_free(disk);
}

TEST_MAIN("rfl_group", TEST(full_commits_of_eight_threads_share_syncs),
          TEST(os_commits_of_eight_threads), TEST(all_durabilities_mixed_with_a_reader_beside),
          TEST(the_callers_threads_do_it_all_without_background),
          TEST(lazy_commits_become_durable_in_time), TEST(a_failed_sync_is_final_for_all_threads),
          TEST(who_waits_for_a_sync_that_fails_is_told))
