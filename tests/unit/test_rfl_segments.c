/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_rfl_segments.c -- switching, archive and release, full disks, sizes. */
#include <stdatomic.h>

#include "ftk/clock.h"
#include "ftk/log.h"
#include "rfl/rfl_internal.h"
#include "tests/unit/rfl_testing.h"

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
end(void)
{
    CHECK_OK(rfl_close(log_));
    simdisk_free(disk);
}

static uint64_t
append_many(uint64_t count, size_t size)
{
    uint64_t lsn_end = 0;

    for (uint64_t i = 0; i < count; i++)
        REQUIRE_OK(testing_append(log_, appended++, size, &lsn_end));
    return lsn_end;
}

static void
records_of_every_size_meet_the_segments_end(void)
{
    begin();
    for (size_t size = 8; size <= 8 + 64; size += 4) {
        /* Up to a few bytes before the end of a segment, then small ones across it. */
        uint64_t payload = RFL_SEGMENT_BYTES_MIN - 4096;
        uint64_t room = payload - rfl_lsn_end(log_) % payload;
        while (room > RFL_BODY_MAX + 200) {
            append_many(1, 700000);
            room = payload - rfl_lsn_end(log_) % payload;
        }
        if (room > 300)
            append_many(1, room - 100 - size);
        append_many(8, size);
    }
    REQUIRE_OK(rfl_commit(log_, rfl_lsn_end(log_), RFL_OS));
    CHECK_EQ(testing_read(log_, 0, 0), appended);
    REQUIRE_OK(rfl_close(log_));
    REQUIRE_OK(rfl_open(&options, false, 0, &log_));
    CHECK_EQ(testing_read(log_, 0, 0), appended);
    end();
}

static void
segment_size_may_change_between_opens(void)
{
    static const uint32_t sizes[] = {2u << 20, 5u << 20, 3u << 20, 2u << 20};

    begin();
    for (size_t i = 0; i < 4; i++) {
        REQUIRE_OK(rfl_close(log_));
        options.segment_bytes = sizes[i];
        REQUIRE_OK(rfl_open(&options, false, 0, &log_));
        append_many(30, 300000);
        REQUIRE_OK(rfl_commit(log_, rfl_lsn_end(log_), RFL_FULL));
        CHECK_EQ(testing_read(log_, 0, 0), appended);
    }
    end();
}

struct archive {
    uint64_t calls;
    uint64_t lsn_end;
    bool refuse;
};

static ftk_status
archive(void *context, const char *path, uint64_t lsn_begin, uint64_t lsn_end)
{
    struct archive *a = context;
    uint8_t byte;

    if (a->refuse)
        return FTK_IO;
    CHECK_EQ(lsn_begin, a->lsn_end);
    CHECK(lsn_end > lsn_begin);
    CHECK(simdisk_peek(disk, path, 4096, &byte, 1));
    a->lsn_end = lsn_end;
    a->calls++;
    return FTK_OK;
}

static void
a_segment_leaves_only_when_archived(void)
{
    struct archive a = {0};
    struct rfl_stats stats, kept;
    uint64_t lsn_end;

    begin();
    REQUIRE_OK(rfl_close(log_));
    options.archive = archive;
    options.archive_context = &a;
    REQUIRE_OK(rfl_open(&options, false, 0, &log_));
    lsn_end = append_many(40, 300000);
    CHECK_OK(rfl_release(log_, lsn_end)); /* not durable: nothing may leave */
    CHECK_EQ(a.calls, 0);
    REQUIRE_OK(rfl_commit(log_, lsn_end, RFL_FULL));
    a.refuse = true;
    CHECK_OK(rfl_release(log_, lsn_end));
    rfl_stats(log_, &kept);
    CHECK_EQ(kept.lsn_oldest, 0);
    CHECK_EQ(testing_read(log_, 0, 0), 40);
    a.refuse = false;
    CHECK_OK(rfl_release(log_, lsn_end));
    rfl_stats(log_, &stats);
    CHECK(a.calls >= 5);
    CHECK_EQ(stats.lsn_oldest, a.lsn_end);
    CHECK(stats.bytes_on_disk < kept.bytes_on_disk);
    end();
}

static void
a_reader_holds_its_segment(void)
{
    struct rfl_reader *reader;
    struct rfl_record record;
    struct rfl_stats stats;
    uint64_t number, lsn_end;

    begin();
    lsn_end = append_many(20, 300000);
    REQUIRE_OK(rfl_commit(log_, lsn_end, RFL_FULL));
    REQUIRE_OK(rfl_reader_open(log_, 0, &reader));
    CHECK_OK(rfl_release(log_, lsn_end));
    rfl_stats(log_, &stats);
    CHECK_EQ(stats.lsn_oldest, 0);
    for (uint64_t i = 0; i < 20; i++) {
        REQUIRE_OK(rfl_reader_next(reader, &record));
        CHECK(testing_check(&record, &number) && number == i);
    }
    rfl_reader_close(reader);
    CHECK_OK(rfl_release(log_, lsn_end));
    rfl_stats(log_, &stats);
    CHECK(stats.lsn_oldest > 0);
    CHECK_STATUS(rfl_reader_open(log_, 0, &reader), FTK_INVALID);
    end();
}

static void
recycling_keeps_the_directory_small(void)
{
    struct rfl_stats stats;

    begin();
    for (int i = 0; i < 40; i++) {
        uint64_t lsn_end = append_many(10, 100000);
        REQUIRE_OK(rfl_commit(log_, lsn_end, RFL_FULL));
        REQUIRE_OK(rfl_release(log_, lsn_end));
        rfl_stats(log_, &stats);
        CHECK(stats.bytes_on_disk <= 5u * RFL_SEGMENT_BYTES_MIN);
    }
    end();
}

/*
 * Ordinary appends fail first and change nothing; the reserve lets the records that end work go on;
 * when space is there again, so does everything else.
 */
static void
full_disk(bool background, enum rfl_durability durability)
{
    struct rfl_part part = {"commit", 6};
    struct rfl_stats stats;
    uint64_t lsn, lsn_end, lsn_before, reserved = 0;
    ftk_status rc = FTK_OK;

    begin();
    REQUIRE_OK(rfl_close(log_));
    options.background = background;
    REQUIRE_OK(rfl_open(&options, false, 0, &log_));
    simdisk_capacity(disk, 8 * (uint64_t)RFL_SEGMENT_BYTES_MIN);
    while (rc == FTK_OK) {
        lsn_before = rfl_lsn_end(log_);
        rc = testing_append(log_, appended, 100000, &lsn_end);
        appended += rc == FTK_OK;
        REQUIRE(appended < 1000);
        REQUIRE_OK(rfl_commit(log_, rfl_lsn_end(log_), durability));
    }
    CHECK_STATUS(rc, FTK_NOSPACE);
    /* With a keeper the log may have gone on into its next segment before that one's successor was
     * found missing: a filler, no record. */
    CHECK(rfl_lsn_end(log_) == lsn_before || background);
    CHECK_EQ(testing_read(log_, lsn_before, appended), 0);
    CHECK_STATUS(testing_append(log_, appended, 700000, &lsn_end), FTK_NOSPACE);
    for (int i = 0; i < 1000; i++)
        reserved += rfl_append_reserved(log_, 0, 9, &part, 1, &lsn, &lsn_end) == FTK_OK;
    CHECK_EQ(reserved, 1000);
    CHECK_OK(rfl_commit(log_, lsn_end, RFL_FULL));
    rfl_stats(log_, &stats);
    CHECK(stats.bytes_on_disk <= 8 * (uint64_t)RFL_SEGMENT_BYTES_MIN);
    simdisk_capacity(disk, 0);
    lsn = rfl_lsn_end(log_);
    append_many(100, 100000);
    REQUIRE_OK(rfl_commit(log_, rfl_lsn_end(log_), RFL_FULL));
    CHECK_EQ(testing_read(log_, lsn, appended - 100), 100);
    end();
}

static void
a_full_disk_leaves_the_log_as_it_was(void)
{
    full_disk(false, RFL_LAZY);
}

static void
a_full_disk_leaves_the_log_as_it_was_with_threads(void)
{
    full_disk(true, RFL_LAZY);
}

static void
a_disk_that_fills_up_with_prewritten_segments(void)
{
    full_disk(false, RFL_FULL);
    full_disk(true, RFL_FULL);
}

static void
releasing_on_a_full_disk_makes_room(void)
{
    uint64_t lsn_end;
    ftk_status rc = FTK_OK;

    begin();
    simdisk_capacity(disk, 8 * (uint64_t)RFL_SEGMENT_BYTES_MIN);
    while (rc == FTK_OK) {
        rc = testing_append(log_, appended, 100000, &lsn_end);
        appended += rc == FTK_OK;
    }
    CHECK_STATUS(rc, FTK_NOSPACE);
    REQUIRE_OK(rfl_commit(log_, rfl_lsn_end(log_), RFL_FULL));
    REQUIRE_OK(rfl_release(log_, rfl_lsn_end(log_)));
    append_many(30, 100000);
    end();
}

static _Atomic unsigned messages, messages_under_lock;

static void
message(void *context, enum ftk_log_level level, const char *text)
{
    uint64_t deadline = ftk_clock_ns() + UINT64_C(2000000000);
    bool locked = false;

    (void)context;
    if (level != FTK_LOG_WARNING || strstr(text, "prepared ahead") == NULL)
        return;
    while (!locked && ftk_clock_ns() < deadline)
        locked = ftk_mutex_try_lock(&log_->mutex);
    if (locked)
        ftk_mutex_unlock(&log_->mutex);
    else
        messages_under_lock++;
    messages++;
}

/* The owner's function may wait for a lock whose holder asks for rfl_stats. */
static void
messages_are_given_out_without_the_append_lock(void)
{
    const struct ftk_log told = {message, NULL, FTK_LOG_WARNING};
    uint64_t lsn_end;

    begin();
    REQUIRE_OK(rfl_close(log_));
    options.background = true;
    options.log = &told;
    messages = messages_under_lock = 0;
    REQUIRE_OK(rfl_open(&options, false, 0, &log_));
    simdisk_capacity(disk, 8 * (uint64_t)RFL_SEGMENT_BYTES_MIN);
    while (testing_append(log_, appended, 100000, &lsn_end) == FTK_OK)
        appended++;
    while (messages == 0) /* the test's time limit ends a promise not kept */
        ftk_thread_yield();
    CHECK_EQ(messages_under_lock, 0);
    simdisk_capacity(disk, 0);
    end();
}

/* What the owner still needs may be the last bytes of a segment, or the first. */
static void
a_segment_that_is_released_in_part_stays(void)
{
    const uint64_t payload = RFL_SEGMENT_BYTES_MIN - 4096;
    const uint64_t lsn[] = {payload - 8, payload, payload + 8, 2 * payload - 8, 2 * payload};
    struct rfl_stats stats;

    begin();
    REQUIRE_OK(rfl_commit(log_, append_many(20, 300000), RFL_FULL));
    for (size_t i = 0; i < sizeof lsn / sizeof *lsn; i++) {
        REQUIRE_OK(rfl_release(log_, lsn[i]));
        rfl_stats(log_, &stats);
        CHECK_EQ(stats.lsn_oldest, lsn[i] / payload * payload);
    }
    end();
}

static void
a_record_that_fills_its_segment_to_the_last_byte_is_read(void)
{
    const uint64_t payload = RFL_SEGMENT_BYTES_MIN - 4096;
    uint64_t room;

    begin();
    append_many(1, 100);
    while ((room = payload - rfl_lsn_end(log_) % payload) > RFL_BODY_MAX)
        append_many(1, 300000);
    append_many(1, room - RFL_RECORD_HEADER);
    CHECK_EQ(rfl_lsn_end(log_) % payload, 0);
    append_many(3, 100);
    REQUIRE_OK(rfl_commit(log_, rfl_lsn_end(log_), RFL_FULL));
    CHECK_EQ(testing_read(log_, 0, 0), appended);
    REQUIRE_OK(rfl_close(log_));
    REQUIRE_OK(rfl_open(&options, false, 0, &log_));
    CHECK_EQ(testing_read(log_, 0, 0), appended);
    end();
}

static bool
keeper_rests(void)
{
    bool rests;

    ftk_mutex_lock(&log_->mutex);
    rests = !log_->keeper_wanted && !log_->recycling;
    ftk_mutex_unlock(&log_->mutex);
    return rests;
}

/* The keeper has looked while the reader was there; nobody releases anything a second time. */
static void
a_segment_leaves_when_its_last_reader_does(void)
{
    uint64_t lsn_end, give_up_ns = ftk_clock_ns() + UINT64_C(10000000000);
    struct rfl_reader *reader;
    struct rfl_stats stats;

    begin();
    REQUIRE_OK(rfl_close(log_));
    options.background = true;
    REQUIRE_OK(rfl_open(&options, false, 0, &log_));
    lsn_end = append_many(20, 300000);
    REQUIRE_OK(rfl_commit(log_, lsn_end, RFL_FULL));
    REQUIRE_OK(rfl_reader_open(log_, 0, &reader));
    CHECK_OK(rfl_release(log_, lsn_end));
    while (!keeper_rests() && ftk_clock_ns() < give_up_ns)
        ftk_thread_yield();
    rfl_stats(log_, &stats);
    CHECK_EQ(stats.lsn_oldest, 0);
    rfl_reader_close(reader);
    do {
        ftk_thread_yield();
        rfl_stats(log_, &stats);
    } while (stats.lsn_oldest == 0 && ftk_clock_ns() < give_up_ns);
    CHECK(stats.lsn_oldest > 0);
    end();
}

TEST_MAIN("rfl_segments", TEST(records_of_every_size_meet_the_segments_end),
          TEST(segment_size_may_change_between_opens), TEST(a_segment_leaves_only_when_archived),
          TEST(a_reader_holds_its_segment), TEST(recycling_keeps_the_directory_small),
          TEST(a_full_disk_leaves_the_log_as_it_was),
          TEST(a_full_disk_leaves_the_log_as_it_was_with_threads),
          TEST(a_disk_that_fills_up_with_prewritten_segments),
          TEST(releasing_on_a_full_disk_makes_room),
          TEST(messages_are_given_out_without_the_append_lock),
          TEST(a_segment_that_is_released_in_part_stays),
          TEST(a_record_that_fills_its_segment_to_the_last_byte_is_read),
          TEST(a_segment_leaves_when_its_last_reader_does))
