/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/test_rfl_faults.c -- every allocation and every I/O call of a life of a log fails
 * once, one after the other.  Whatever fails, nothing leaks, what was committed is there after
 * reopening, and a failed write or sync is never taken back.
 */
#include "tests/unit/rfl_testing.h"

#define RECORDS 24
#define RECORD_BYTES 200000

struct life {
    struct simdisk *disk;
    uint64_t committed; /* records */
    uint64_t appended;
    uint64_t lsn_start;
    uint64_t start;
};

/* Open, append across segments, commit, release, read, close; the first error ends it. */
static ftk_status
live(struct life *life)
{
    struct rfl_options options = testing_options(simdisk_disk(life->disk), "/log");
    struct rfl_reader *reader = NULL;
    struct rfl_record record;
    struct rfl_log *log = NULL;
    uint64_t lsn_end = 0;
    ftk_status rc;

    FTK_TRY(rfl_open(&options, true, 0, &log));
    for (uint64_t i = 0; i < RECORDS; i++) {
        FTK_TRY(testing_append(log, i, RECORD_BYTES, &lsn_end));
        life->appended = i + 1;
        FTK_TRY(rfl_commit(log, lsn_end, i % 3 == 0 ? RFL_FULL : RFL_OS));
        if (i % 3 == 0)
            life->committed = i + 1;
        if (i == 15) {
            life->lsn_start = lsn_end;
            life->start = i + 1;
            FTK_TRY(rfl_release(log, lsn_end));
        }
    }
    FTK_TRY(rfl_reader_open(log, life->lsn_start, &reader));
    while ((rc = rfl_reader_next(reader, &record)) == FTK_OK)
        continue;
    if (rc == FTK_NOTFOUND)
        rc = FTK_OK;
out:
    rfl_reader_close(reader);
    FTK_KEEP_FIRST(rfl_close(log));
    return rc;
}

static ftk_status
body(void *context)
{
    struct life life = {.disk = simdisk_new(NULL)};
    struct rfl_options options = testing_options(simdisk_disk(life.disk), "/log");
    struct rfl_log *log;
    size_t count;
    ftk_status rc = live(&life);

    (void)context;
    ftk_fault_disarm();
    simdisk_crash(life.disk, ftk_fault_calls(FTK_FAULT_ALLOC) + life.appended);
    REQUIRE_OK(rfl_open(&options, true, life.lsn_start, &log));
    count = testing_read(log, life.lsn_start, life.start);
    CHECK_MSG(count != SIZE_MAX && count + life.start >= life.committed &&
                  count + life.start <= life.appended + 1,
              "%zu records from %llu on, %llu committed, %llu appended", count,
              (unsigned long long)life.start, (unsigned long long)life.committed,
              (unsigned long long)life.appended);
    CHECK_OK(rfl_close(log));
    simdisk_free(life.disk);
    return rc;
}

static void
every_allocation_fails_once(void)
{
    CHECK(test_each_fault(FTK_FAULT_ALLOC, body, NULL) > 20);
}

static void
every_read_fails_once(void)
{
    CHECK(test_each_fault(FTK_FAULT_READ, body, NULL) > 5);
}

static void
every_write_fails_once(void)
{
    CHECK(test_each_fault(FTK_FAULT_WRITE, body, NULL) > 30);
}

static void
every_sync_fails_once(void)
{
    CHECK(test_each_fault(FTK_FAULT_SYNC, body, NULL) > 10);
}

static void
reopening(enum ftk_fault kind)
{
    struct simdisk *disk = simdisk_new(NULL), *after;
    struct rfl_options options = testing_options(simdisk_disk(disk), "/log");
    struct rfl_log *log;
    uint64_t lsn_end;
    ftk_status rc = FTK_IO;

    REQUIRE_OK(rfl_open(&options, true, 0, &log));
    for (uint64_t i = 0; i < RECORDS; i++)
        REQUIRE_OK(testing_append(log, i, RECORD_BYTES, &lsn_end));
    REQUIRE_OK(rfl_commit(log, lsn_end, RFL_OS));
    after = simdisk_clone(disk, 1);
    REQUIRE_OK(rfl_close(log));
    simdisk_free(disk);
    simdisk_kill(after, 1);
    options.disk = simdisk_disk(after);
    for (uint64_t n = 1; rc != FTK_OK; n++) {
        ftk_fault_arm(kind, n, 1);
        rc = rfl_open(&options, false, 0, &log);
        ftk_fault_disarm();
        REQUIRE(n < 10000);
    }
    CHECK_EQ(testing_read(log, 0, 0), RECORDS);
    CHECK_OK(rfl_close(log));
    simdisk_free(after);
}

static void
every_call_of_a_recovery_fails_once(void)
{
    reopening(FTK_FAULT_ALLOC);
    reopening(FTK_FAULT_READ);
    reopening(FTK_FAULT_WRITE);
    reopening(FTK_FAULT_SYNC);
}

/* After a failed sync nothing is accepted, even if the disk works again. */
static void
an_error_of_sync_is_final(void)
{
    struct simdisk *disk = simdisk_new(NULL);
    struct rfl_options options = testing_options(simdisk_disk(disk), "/log");
    struct rfl_log *log;
    uint64_t lsn_end, lsn_durable;

    REQUIRE_OK(rfl_open(&options, true, 0, &log));
    REQUIRE_OK(testing_append(log, 0, 100, &lsn_durable));
    REQUIRE_OK(rfl_commit(log, lsn_durable, RFL_FULL));
    REQUIRE_OK(testing_append(log, 1, 100, &lsn_end));
    simdisk_fail(disk, SIMDISK_SYNC, 1, 1, 5);
    CHECK_STATUS(rfl_commit(log, lsn_end, RFL_FULL), FTK_IO);
    CHECK_STATUS(rfl_commit(log, lsn_end, RFL_FULL), FTK_FAILED);
    CHECK_STATUS(rfl_commit(log, lsn_end, RFL_LAZY), FTK_FAILED);
    CHECK_STATUS(testing_append(log, 2, 100, &lsn_end), FTK_FAILED);
    CHECK_OK(rfl_commit(log, lsn_durable, RFL_FULL));
    CHECK_STATUS(rfl_release(log, lsn_durable), FTK_FAILED);
    CHECK_STATUS(rfl_close(log), FTK_FAILED);
    simdisk_free(disk);
}

TEST_MAIN("rfl_faults", TEST(every_allocation_fails_once), TEST(every_read_fails_once),
          TEST(every_write_fails_once), TEST(every_sync_fails_once),
          TEST(every_call_of_a_recovery_fails_once), TEST(an_error_of_sync_is_final))
