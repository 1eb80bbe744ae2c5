/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/test_rfl_shortage.c -- what a log needs beyond its open segment may be short for a
 * while: memory, descriptors, space, the right to make a file.  The call that needed it fails and
 * adds no record; when the shortage is over the log goes on.  Only a failed write or sync is final.
 */
#include <errno.h>

#include "ftk/clock.h"
#include "tests/unit/rfl_testing.h"

#define RECORDS 50
#define RECORD_BYTES 200000 /* ten to a segment */
#define RETRIES 50

static struct simdisk *disk;
static struct rfl_options options;
static struct rfl_log *log_;

static ftk_status
archive(void *context, const char *path, uint64_t lsn_begin, uint64_t lsn_end)
{
    (void)context;
    (void)path;
    return lsn_begin < lsn_end ? FTK_OK : FTK_INVALID;
}

static void
begin(bool background, bool archived)
{
    disk = simdisk_new(&(struct simdisk_options){.seed = test_seed()});
    options = testing_options(simdisk_disk(disk), "/log");
    options.background = background;
    options.archive = archived ? archive : NULL;
    REQUIRE_OK(rfl_open(&options, true, 0, &log_));
}

/* A record goes in, at the latest when the shortage is over; a refusal leaves the log as it is. */
static uint64_t
append_in_the_end(uint64_t number)
{
    uint64_t lsn_end = 0;
    int tries = 0;

    for (;;) {
        uint64_t before = rfl_lsn_end(log_);
        ftk_status rc = testing_append(log_, number, RECORD_BYTES, &lsn_end);

        if (rc == FTK_OK)
            return lsn_end;
        CHECK(rc != FTK_FAILED && !rfl_has_failed(log_));
        CHECK(ftk_error_last()->text[0] != '\0');
        CHECK(rfl_lsn_end(log_) == before || options.background); /* a filler, perhaps */
        REQUIRE_MSG(++tries < RETRIES, "%s", ftk_error_last()->text);
    }
}

/* Through five segments, with releases; a fault is armed by the caller. */
static void
live(void)
{
    uint64_t lsn_end = 0;

    for (uint64_t i = 0; i < RECORDS; i++) {
        lsn_end = append_in_the_end(i);
        REQUIRE_OK(rfl_commit(log_, lsn_end, i % 4 == 0 ? RFL_FULL : RFL_OS));
        if (i == 24 || i == 40) {
            REQUIRE_OK(rfl_commit(log_, lsn_end, RFL_FULL));
            REQUIRE_OK(rfl_release(log_, lsn_end));
        }
    }
}

/* Nothing is short any more: all that was committed and not released is there. */
static void
end(void)
{
    struct rfl_reader *reader;
    struct rfl_record record;
    struct rfl_stats stats;
    uint64_t number = 0, wanted = UINT64_MAX;
    uint64_t deadline = ftk_clock_ns() + UINT64_C(20000000000);
    ftk_status rc;

    REQUIRE_OK(rfl_commit(log_, rfl_lsn_end(log_), RFL_FULL));
    do { /* the keeper may be letting the oldest go */
        ftk_thread_yield();
        rfl_stats(log_, &stats);
        rc = rfl_reader_open(log_, stats.lsn_oldest, &reader);
    } while (rc == FTK_INVALID && ftk_clock_ns() < deadline);
    REQUIRE_OK(rc);
    while ((rc = rfl_reader_next(reader, &record)) == FTK_OK) {
        CHECK(testing_check(&record, &number));
        CHECK(wanted == UINT64_MAX || number == wanted);
        wanted = number + 1;
    }
    CHECK_STATUS(rc, FTK_NOTFOUND);
    CHECK_EQ(number, RECORDS - 1);
    rfl_reader_close(reader);
    CHECK_OK(rfl_close(log_));
    options.background = false;
    REQUIRE_OK(rfl_open(&options, false, stats.lsn_end, &log_));
    CHECK_OK(rfl_close(log_));
    simdisk_free(disk);
}

/* Each operation of these kinds fails once, one after the other, and once for a while. */
static void
each_fails(unsigned ops, int os_errno, bool background, bool archived)
{
    uint64_t delivered = 1;

    for (uint64_t nth = 1; delivered > 0; nth++) {
        begin(background, archived);
        simdisk_fail(disk, ops, nth, 1 + nth % 3, os_errno);
        live();
        delivered = simdisk_failed(disk);
        simdisk_fail_clear(disk);
        end();
        REQUIRE(nth < 1000);
    }
}

static void
each_open_fails_for_want_of_a_descriptor(void)
{
    each_fails(SIMDISK_OPEN, EMFILE, false, false);
    each_fails(SIMDISK_OPEN, EMFILE, true, false);
    each_fails(SIMDISK_OPEN, ENFILE, false, true);
}

static void
each_change_of_a_name_is_refused(void)
{
    each_fails(SIMDISK_NAMES, EACCES, false, false);
    each_fails(SIMDISK_NAMES, ENOSPC, true, false);
    each_fails(SIMDISK_NAMES, ENOMEM, false, true);
    each_fails(SIMDISK_NAMES, EIO, false, false);
}

static void
each_allocation_of_space_is_refused(void)
{
    each_fails(SIMDISK_ALLOCATE, ENOSPC, false, false);
    each_fails(SIMDISK_ALLOCATE, EDQUOT, true, false);
    each_fails(SIMDISK_ALLOCATE, EIO, false, true);
}

static void
each_allocation_of_memory_fails(void)
{
    for (int background = 0; background < 2; background++) {
        uint64_t calls = 1;
        for (uint64_t nth = 1; nth <= calls; nth++) {
            begin(background != 0, nth % 2 == 0);
            ftk_fault_arm(FTK_FAULT_ALLOC, nth, 1 + nth % 3);
            live();
            calls = ftk_fault_calls(FTK_FAULT_ALLOC);
            ftk_fault_disarm();
            end();
            REQUIRE(nth < 2000);
        }
    }
}

/* While nothing can be made at all, what fits the log still goes in, and then all the rest. */
static void
a_long_shortage_stops_the_log_and_not_for_good(void)
{
    static const int why[] = {EMFILE, ENOSPC, ENOMEM, EACCES};

    for (size_t w = 0; w < sizeof why / sizeof why[0]; w++) {
        uint64_t lsn_end, i = 0;
        ftk_status rc = FTK_OK;

        begin(w % 2 == 1, false);
        simdisk_fail(disk, SIMDISK_OPEN | SIMDISK_NAMES, 1, UINT64_MAX, why[w]);
        for (; rc == FTK_OK; i++) {
            rc = testing_append(log_, i, RECORD_BYTES, &lsn_end);
            if (rc == FTK_OK)
                REQUIRE_OK(rfl_commit(log_, lsn_end, RFL_FULL));
            REQUIRE(i < RECORDS);
        }
        i--;
        for (int tries = 0; tries < RETRIES; tries++)
            CHECK(testing_append(log_, i, RECORD_BYTES, &lsn_end) == rc && !rfl_has_failed(log_));
        CHECK_OK(rfl_commit(log_, rfl_lsn_end(log_), RFL_FULL));
        simdisk_fail_clear(disk);
        for (; i < RECORDS; i++)
            REQUIRE_OK(testing_append(log_, i, RECORD_BYTES, &lsn_end));
        REQUIRE_OK(rfl_commit(log_, lsn_end, RFL_FULL));
        CHECK_EQ(testing_read(log_, 0, 0), RECORDS);
        CHECK_OK(rfl_close(log_));
        simdisk_free(disk);
    }
}

/* A failed sync of a file or directory, or write, during a switch is final all the same. */
static void
a_failed_write_or_sync_during_a_switch_is_final(void)
{
    static const unsigned ops[] = {SIMDISK_SYNC, SIMDISK_SYNC_DIR, SIMDISK_WRITE};

    for (size_t o = 0; o < sizeof ops / sizeof ops[0]; o++) {
        uint64_t lsn_end;
        ftk_status rc = FTK_OK;

        begin(false, false);
        simdisk_fail(disk, ops[o], 1, 1, EIO);
        for (uint64_t i = 0; rc == FTK_OK && i < RECORDS; i++) /* no commit: a switch meets it */
            rc = testing_append(log_, i, RECORD_BYTES, &lsn_end);
        CHECK_STATUS(rc, FTK_IO);
        CHECK(rfl_has_failed(log_));
        CHECK_STATUS(testing_append(log_, 0, 100, &lsn_end), FTK_FAILED);
        CHECK_STATUS(rfl_close(log_), FTK_FAILED);
        simdisk_free(disk);
    }
}

/* The close cannot write or sync, and then cannot remove what was made for the next segment: its
 * words are those of its own error. */
static void
a_close_tells_its_own_error_and_not_that_of_tidying_up(void)
{
    static const unsigned ops[] = {SIMDISK_SYNC, SIMDISK_WRITE};

    for (size_t o = 0; o < sizeof ops / sizeof ops[0]; o++) {
        uint64_t lsn_end, nth = 1;
        struct rfl_stats stats;
        ftk_status rc;

        do { /* until the step that is refused is the naming of a file that has its space */
            begin(false, false);
            simdisk_fail(disk, SIMDISK_NAMES, nth++, UINT64_MAX, EACCES);
            for (uint64_t i = 0; (rc = testing_append(log_, i, RECORD_BYTES, &lsn_end)) == FTK_OK;)
                i++;
            rfl_stats(log_, &stats);
            if (stats.segments_spare == 0) {
                simdisk_fail_clear(disk);
                CHECK_OK(rfl_close(log_));
                simdisk_free(disk);
            }
            REQUIRE(nth < 20);
        } while (stats.segments_spare == 0);
        simdisk_fail(disk, ops[o], 1, UINT64_MAX, EIO);
        rc = rfl_close(log_);
        CHECK_STATUS(rc, FTK_IO);
        CHECK_STATUS(ftk_error_last()->status, rc);
        CHECK_HAS(ftk_error_last()->text, ops[o] == SIMDISK_SYNC ? "sync of" : "write of");
        simdisk_free(disk);
    }
}

TEST_MAIN("rfl_shortage", TEST(each_open_fails_for_want_of_a_descriptor),
          TEST(each_change_of_a_name_is_refused), TEST(each_allocation_of_space_is_refused),
          TEST(each_allocation_of_memory_fails),
          TEST(a_long_shortage_stops_the_log_and_not_for_good),
          TEST(a_failed_write_or_sync_during_a_switch_is_final),
          TEST(a_close_tells_its_own_error_and_not_that_of_tidying_up))
