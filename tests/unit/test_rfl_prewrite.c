/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_rfl_prewrite.c -- raw and pre-written segments: who gets which, who waits. */
#include <stdatomic.h>

#include "ftk/thread.h"
#include "tests/unit/rfl_testing.h"

#define PREWRITE_CHUNK (1u << 20) /* a pre-writing's writes have this size, no other does */
#define RECORD_BYTES 100000u

static struct simdisk *disk;
static struct rfl_options options;
static struct rfl_log *log_;
static uint64_t appended;

static void
begin(void)
{
    disk = simdisk_new(&(struct simdisk_options){.seed = test_seed()});
    options = testing_options(simdisk_disk(disk), "/log");
    REQUIRE_OK(rfl_open(&options, true, 0, &log_));
    appended = 0;
}

static void
append_many(uint64_t count, enum rfl_durability durability)
{
    for (uint64_t i = 0; i < count; i++) {
        uint64_t lsn_end;
        REQUIRE_OK(testing_append(log_, appended++, RECORD_BYTES, &lsn_end));
        REQUIRE_OK(rfl_commit(log_, lsn_end, durability));
    }
}

static void
end(void)
{
    REQUIRE_OK(rfl_close(log_));
    REQUIRE_OK(rfl_open(&options, false, 0, &log_));
    CHECK_EQ(testing_read(log_, 0, 0), appended);
    CHECK_OK(rfl_close(log_));
    simdisk_free(disk);
}

static void
a_stream_without_syncs_is_never_prewritten(void)
{
    struct rfl_stats stats;

    begin();
    append_many(50, RFL_OS);
    append_many(50, RFL_LAZY);
    rfl_stats(log_, &stats);
    CHECK_EQ(stats.prewrites, 0);
    CHECK(stats.segments_raw >= 4);
    end();
}

static void
a_sync_now_and_then_is_no_reason_to_prewrite(void)
{
    struct rfl_stats stats;

    begin();
    for (int i = 0; i < 10; i++) { /* a sync for each 2 MB */
        append_many(20, RFL_OS);
        REQUIRE_OK(rfl_commit(log_, rfl_lsn_end(log_), RFL_FULL));
        append_many(1, RFL_FULL);
        append_many(10, RFL_OS);
    }
    rfl_stats(log_, &stats);
    CHECK_EQ(stats.prewrites, 0);
    end();
}

static void
full_commits_find_prewritten_segments(void)
{
    struct rfl_stats stats;

    begin();
    append_many(100, RFL_FULL);
    rfl_stats(log_, &stats);
    CHECK_EQ(stats.segments_raw, 0);
    CHECK(stats.prewrites >= 4);
    end();
}

static void
a_stream_that_begins_to_sync_is_prewritten_soon(void)
{
    struct rfl_stats before, stats;

    begin();
    append_many(100, RFL_OS);
    append_many(60, RFL_FULL); /* the open segment, a raw one behind, one that is decided late */
    rfl_stats(log_, &before);
    CHECK(before.prewrites > 0);
    append_many(100, RFL_FULL);
    rfl_stats(log_, &stats);
    CHECK_EQ(stats.segments_raw, before.segments_raw);
    end();
}

static void
a_raw_segment_comes_back_as_a_prewritten_one(void)
{
    struct rfl_stats before, stats;

    begin();
    REQUIRE_OK(rfl_close(log_));
    options.spare_segments = 2; /* as many as a stream takes at a time */
    REQUIRE_OK(rfl_open(&options, false, 0, &log_));
    append_many(60, RFL_OS);
    for (int i = 0; i < 14; i++) {
        append_many(20, RFL_OS);
        REQUIRE_OK(rfl_commit(log_, rfl_lsn_end(log_), RFL_FULL));
        REQUIRE_OK(rfl_release(log_, rfl_lsn_end(log_)));
        if (i < 4)
            rfl_stats(log_, &before);
    }
    rfl_stats(log_, &stats);
    CHECK_EQ(stats.prewrites, 0);
    CHECK_EQ(stats.segments_raw, before.segments_raw);
    REQUIRE_OK(rfl_close(log_));
    simdisk_free(disk);
}

static ftk_status
count_new(void *context, const char *name)
{
    size_t length = strlen(name);

    *(int *)context += length > 4 && strcmp(name + length - 4, ".new") == 0;
    return FTK_OK;
}

static int
raw_files(struct simdisk *on)
{
    struct ftk_disk *base = simdisk_disk(on);
    int count = 0;

    REQUIRE_OK(test_dir_list(base, "/log", count_new, &count));
    return count;
}

static void
raw_spares_do_not_outlive_the_log(void)
{
    struct rfl_stats stats;
    struct simdisk *after;
    struct rfl_log *log;

    begin();
    REQUIRE_OK(rfl_close(log_));
    options.background = true;
    options.spare_segments = 6;
    REQUIRE_OK(rfl_open(&options, false, 0, &log_));
    append_many(30, RFL_OS);
    do { /* the keeper makes them */
        ftk_thread_yield();
        rfl_stats(log_, &stats);
    } while (stats.segments_spare < 3);
    CHECK(raw_files(disk) > 0);
    after = simdisk_clone(disk, 1);
    simdisk_kill(after, 1);
    CHECK(raw_files(after) > 0);
    options.disk = simdisk_disk(after);
    REQUIRE_OK(rfl_open(&options, false, 0, &log));
    CHECK_EQ(raw_files(after), 0);
    CHECK_EQ(testing_read(log, 0, 0), appended);
    REQUIRE_OK(rfl_close(log));
    simdisk_free(after);

    options.disk = simdisk_disk(disk);
    REQUIRE_OK(rfl_close(log_));
    CHECK_EQ(raw_files(disk), 0);
    REQUIRE_OK(rfl_open(&options, false, 0, &log_));
    end();
}

/* What was committed RFL_FULL into a raw segment is there after any power cut. */
static void
full_commits_in_a_raw_segment_survive(void)
{
    struct rfl_stats stats;

    begin();
    append_many(30, RFL_OS);
    append_many(2, RFL_FULL);
    rfl_stats(log_, &stats);
    REQUIRE(stats.segments_raw > 0 && stats.lsn_durable > 2 * (RFL_SEGMENT_BYTES_MIN - 4096u) / 2);
    for (uint64_t seed = 0; seed < 60; seed++) {
        struct simdisk *after = simdisk_clone(disk, seed);
        struct rfl_log *log;

        simdisk_crash_as(after, (enum simdisk_policy)(seed % SIMDISK_POLICIES), seed);
        options.disk = simdisk_disk(after);
        REQUIRE_OK(rfl_open(&options, false, 0, &log));
        CHECK_EQ(testing_read(log, 0, 0), appended);
        REQUIRE_OK(rfl_close(log));
        simdisk_free(after);
    }
    options.disk = simdisk_disk(disk);
    end();
}

/* ---- a disk on which pre-writing does not end ---- */

static struct ftk_disk_ops slow_ops;
static struct ftk_disk slow_disk = {&slow_ops};
static _Atomic bool held;
static _Atomic uint64_t holding;

static ftk_status
slow_write(struct ftk_file *file, const void *memory, size_t size, uint64_t offset)
{
    size_t length = strlen(file->path);

    if (size == PREWRITE_CHUNK && strcmp(file->path + length - 4, ".new") == 0) {
        atomic_fetch_add(&holding, 1);
        while (atomic_load(&held))
            ftk_thread_yield();
    }
    return ftk_disk_native()->ops->write(file, memory, size, offset);
}

static void
an_append_does_not_wait_for_prewriting(void)
{
    struct rfl_stats stats;

    slow_ops = *ftk_disk_native()->ops;
    slow_ops.write = slow_write;
    options = testing_options(&slow_disk, test_path("log"));
    options.background = true;
    appended = 0;
    REQUIRE_OK(rfl_open(&options, true, 0, &log_));
    atomic_store(&held, true);
    atomic_store(&holding, 0);
    append_many(12, RFL_FULL);
    while (atomic_load(&holding) == 0) /* the keeper hangs now */
        ftk_thread_yield();
    append_many(100, RFL_FULL);
    rfl_stats(log_, &stats);
    CHECK(stats.segments_raw >= 4);
    CHECK_EQ(stats.prewrites, 0);
    atomic_store(&held, false);
    do {
        append_many(1, RFL_FULL);
        rfl_stats(log_, &stats);
    } while (stats.prewrites == 0);
    REQUIRE_OK(rfl_close(log_));
    REQUIRE_OK(rfl_open(&options, false, 0, &log_));
    CHECK_EQ(testing_read(log_, 0, 0), appended);
    REQUIRE_OK(rfl_close(log_));
}

TEST_MAIN("rfl_prewrite", TEST(a_stream_without_syncs_is_never_prewritten),
          TEST(a_sync_now_and_then_is_no_reason_to_prewrite),
          TEST(full_commits_find_prewritten_segments),
          TEST(a_stream_that_begins_to_sync_is_prewritten_soon),
          TEST(a_raw_segment_comes_back_as_a_prewritten_one),
          TEST(raw_spares_do_not_outlive_the_log), TEST(full_commits_in_a_raw_segment_survive),
          TEST(an_append_does_not_wait_for_prewriting))
