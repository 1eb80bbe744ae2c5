/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/test_rfl_promises.c -- what each durability promises, while the disk is busy.
 *
 * The disk is the simulated one with gates, where a thread of the log is held.
 */
#include "ftk/clock.h"
#include "ftk/thread.h"
#include "tests/support/gatedisk.h"
#include "tests/unit/rfl_testing.h"

#define LAZY_MS 20u
#define WAIT_NS UINT64_C(20000000000) /* no promise takes so long */

static struct simdisk *disk;
static struct rfl_options options;
static struct rfl_log *log_;
static uint64_t appended;

static void
begin(bool background)
{
    disk = simdisk_new(&(struct simdisk_options){.seed = test_seed()});
    gate_install(disk, 128u << 10);
    options = testing_options(simdisk_disk(disk), "/log");
    options.segment_bytes = 64u << 20;
    options.background = background;
    options.lazy_ms = LAZY_MS;
    appended = 0;
    REQUIRE_OK(rfl_open(&options, true, 0, &log_));
}

static void
end(void)
{
    CHECK_OK(rfl_close(log_));
    simdisk_free(disk);
}

static uint64_t
append(size_t size)
{
    uint64_t lsn_end;

    REQUIRE_OK(testing_append(log_, appended++, size, &lsn_end));
    return lsn_end;
}

static uint64_t
durable(void)
{
    struct rfl_stats stats;

    rfl_stats(log_, &stats);
    return stats.lsn_durable;
}

static void
pass_deadline(void)
{
    uint64_t deadline = ftk_clock_ns() + 2 * LAZY_MS * UINT64_C(1000000);

    while (ftk_clock_ns() < deadline)
        ftk_thread_yield();
}

static void
check_durable_in_time(uint64_t lsn)
{
    uint64_t deadline = ftk_clock_ns() + WAIT_NS;

    while (durable() < lsn && ftk_clock_ns() < deadline)
        ftk_thread_yield();
    CHECK(durable() >= lsn);
}

/* A little less than a write-back's worth is written and not synced. */
static void
fill_to_writeback(void)
{
    uint64_t lsn_end = 0;

    while (lsn_end < 5u << 20) /* the small first segment is behind */
        lsn_end = append(100u << 10);
    REQUIRE_OK(rfl_commit(log_, lsn_end, RFL_FULL));
    for (int i = 0; i < 39; i++)
        lsn_end = append(100u << 10);
    REQUIRE_OK(rfl_commit(log_, lsn_end, RFL_OS));
}

static void
a_lazy_deadline_that_passes_in_a_streams_write_is_kept(void)
{
    uint64_t lsn;

    begin(true);
    fill_to_writeback();
    lsn = append(100);
    REQUIRE_OK(rfl_commit(log_, lsn, RFL_LAZY));
    gate_hold(GATE_WRITE);
    lsn = append(400u << 10); /* the flusher writes it, and a write-back is due then */
    REQUIRE_OK(rfl_commit(log_, lsn, RFL_LAZY));
    REQUIRE(gate_wait(GATE_WRITE));
    pass_deadline();
    gate_let(GATE_WRITE);
    check_durable_in_time(lsn);
    end();
}

static void
a_lazy_deadline_that_passes_in_a_writeback_is_kept(void)
{
    uint64_t lsn;

    begin(true);
    fill_to_writeback();
    gate_hold(GATE_HINT);
    for (int i = 0; i < 50 && !gate_is_inside(GATE_HINT); i++) { /* one may have been due before */
        lsn = append(300u << 10);
        REQUIRE_OK(rfl_commit(log_, lsn, RFL_OS));
        pass_deadline();
    }
    REQUIRE(gate_wait(GATE_HINT));
    lsn = append(300u << 10); /* the stream goes on */
    REQUIRE_OK(rfl_commit(log_, lsn, RFL_LAZY));
    pass_deadline();
    gate_let(GATE_HINT);
    check_durable_in_time(lsn);
    end();
}

static void
a_lazy_deadline_that_passes_in_another_sync_is_kept(void)
{
    uint64_t lsn;

    begin(true);
    gate_hold(GATE_SYNC);
    lsn = append(100);
    REQUIRE_OK(rfl_commit(log_, lsn, RFL_LAZY)); /* the flusher syncs it */
    REQUIRE(gate_wait(GATE_SYNC));
    lsn = append(100); /* written by nobody, covered by no sync */
    REQUIRE_OK(rfl_commit(log_, lsn, RFL_LAZY));
    pass_deadline();
    CHECK(durable() < lsn);
    gate_let(GATE_SYNC);
    check_durable_in_time(lsn);
    end();
}

static void
a_lazy_deadline_that_passes_in_the_sync_of_a_new_segment_is_kept(void)
{
    uint64_t lsn = 0;

    begin(true);
    gate_hold(GATE_SYNC);
    while (lsn < 3u << 20) /* more than half of the small first segment: the next is made */
        lsn = append(100u << 10);
    REQUIRE(gate_wait(GATE_SYNC));
    REQUIRE_OK(rfl_commit(log_, lsn, RFL_LAZY));
    pass_deadline();
    gate_let(GATE_SYNC);
    check_durable_in_time(lsn);
    end();
}

static void
lazy_commits_of_an_idle_log_are_kept_again_and_again(void)
{
    begin(true);
    for (int i = 0; i < 5; i++) {
        uint64_t lsn = append(100);
        REQUIRE_OK(rfl_commit(log_, lsn, RFL_LAZY));
        check_durable_in_time(lsn);
    }
    end();
}

/* ---- a sync covers what was written before it began ---- */

static uint64_t lead_lsn;
static ftk_status lead_status;

static void
lead(void *context)
{
    (void)context;
    lead_status = rfl_commit(log_, lead_lsn, RFL_FULL);
}

static void
written_beside_a_sync(enum rfl_durability second_as, bool new_segment)
{
    struct ftk_thread leader = {0};
    uint64_t second, syncs;

    begin(false);
    if (new_segment)
        while (rfl_lsn_end(log_) < (4u << 20) - (200u << 10))
            append(100u << 10);
    lead_lsn = append(1000);
    gate_hold(GATE_SYNC);
    REQUIRE_OK(ftk_thread_start(&leader, "leader", lead, NULL));
    REQUIRE(gate_wait(GATE_SYNC));
    if (new_segment)
        append(300u << 10);
    second = append(1000);
    REQUIRE_OK(rfl_commit(log_, second, second_as));
    gate_let(GATE_SYNC);
    ftk_thread_join(&leader);
    CHECK_OK(lead_status);
    CHECK(durable() >= lead_lsn);
    CHECK(durable() < second);
    syncs = simdisk_count(disk, SIMDISK_SYNC);
    REQUIRE_OK(rfl_commit(log_, second, RFL_FULL));
    CHECK(simdisk_count(disk, SIMDISK_SYNC) > syncs);
    CHECK(durable() >= second);
    struct simdisk *after = simdisk_clone(disk, 1);
    CHECK_OK(rfl_close(log_));
    simdisk_crash_as(after, SIMDISK_NONE, 1);
    options.disk = simdisk_disk(after);
    REQUIRE_OK(rfl_open(&options, false, 0, &log_));
    CHECK_EQ(testing_read(log_, 0, 0), appended);
    CHECK_OK(rfl_close(log_));
    simdisk_free(after);
    simdisk_free(disk);
}

static void
a_record_written_while_a_sync_is_under_way_is_not_durable_by_it(void)
{
    written_beside_a_sync(RFL_OS, false);
}

static void
a_record_appended_while_a_sync_is_under_way_is_not_durable_by_it(void)
{
    written_beside_a_sync(RFL_LAZY, false);
}

static void
a_segment_begun_while_a_sync_is_under_way_is_not_durable_by_it(void)
{
    written_beside_a_sync(RFL_OS, true);
}

/* ---- a failed write is final ---- */

static void
failed_write(enum rfl_durability durability, int os_errno)
{
    uint64_t lsn_durable, lsn, more;

    begin(false);
    lsn_durable = append(100);
    REQUIRE_OK(rfl_commit(log_, lsn_durable, RFL_FULL));
    lsn = append(9000);
    simdisk_fail(disk, SIMDISK_WRITE, 1, 1, os_errno);
    CHECK_STATUS(rfl_commit(log_, lsn, durability), FTK_IO);
    CHECK_STATUS(testing_append(log_, appended, 100, &more), FTK_FAILED);
    CHECK_STATUS(rfl_commit(log_, lsn, RFL_OS), FTK_FAILED);
    CHECK_STATUS(rfl_commit(log_, lsn, RFL_FULL), FTK_FAILED);
    CHECK_STATUS(rfl_commit(log_, lsn, RFL_LAZY), FTK_FAILED);
    CHECK_STATUS(rfl_release(log_, lsn_durable), FTK_FAILED);
    CHECK_OK(rfl_commit(log_, lsn_durable, RFL_FULL));
    CHECK_STATUS(rfl_close(log_), FTK_FAILED);
    REQUIRE_OK(rfl_open(&options, false, 0, &log_));
    CHECK(testing_read(log_, 0, 0) >= 1);
    end();
}

static void
an_error_of_a_write_is_final_though_the_next_would_succeed(void)
{
    failed_write(RFL_OS, 5);
    failed_write(RFL_FULL, 5);
    failed_write(RFL_OS, 28); /* the file has its space: a full disk is no excuse */
    failed_write(RFL_FULL, 12);
}

static void
an_error_of_a_streams_write_is_final(void)
{
    uint64_t lsn_end;
    ftk_status rc = FTK_OK;

    begin(true);
    simdisk_fail(disk, SIMDISK_WRITE, 3, 1, 5); /* nobody commits: the flusher or an appender */
    for (int i = 0; i < 500 && rc == FTK_OK; i++)
        rc = testing_append(log_, appended++, 100u << 10, &lsn_end);
    CHECK(rc == FTK_IO || rc == FTK_FAILED); /* the appender's own write, or the flusher's */
    CHECK_STATUS(rfl_commit(log_, rfl_lsn_end(log_), RFL_FULL), FTK_FAILED);
    CHECK_STATUS(rfl_close(log_), FTK_FAILED);
    simdisk_free(disk);
}

TEST_MAIN("rfl_promises", TEST(a_lazy_deadline_that_passes_in_a_streams_write_is_kept),
          TEST(a_lazy_deadline_that_passes_in_a_writeback_is_kept),
          TEST(a_lazy_deadline_that_passes_in_another_sync_is_kept),
          TEST(a_lazy_deadline_that_passes_in_the_sync_of_a_new_segment_is_kept),
          TEST(lazy_commits_of_an_idle_log_are_kept_again_and_again),
          TEST(a_record_written_while_a_sync_is_under_way_is_not_durable_by_it),
          TEST(a_record_appended_while_a_sync_is_under_way_is_not_durable_by_it),
          TEST(a_segment_begun_while_a_sync_is_under_way_is_not_durable_by_it),
          TEST(an_error_of_a_write_is_final_though_the_next_would_succeed),
          TEST(an_error_of_a_streams_write_is_final))
