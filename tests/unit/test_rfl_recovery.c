/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/test_rfl_recovery.c -- where a log ends: torn tails are cut, damage is reported, old
 * records never come back, and what is not ours is not touched.
 */
#include <errno.h>

#include "rfl/rfl_format.h"
#include "tests/unit/rfl_testing.h"

#define SEGMENT_1 "/log/0000000000000001.rfl"
#define SEGMENT_2 "/log/0000000000000002.rfl"
#define EPOCH_BYTES 56u /* the record that each open begins with */

static struct simdisk *disk;
static struct rfl_options options;
static struct rfl_log *log_;

static void
begin(void)
{
    disk = simdisk_new(&(struct simdisk_options){.seed = test_seed()});
    options = testing_options(simdisk_disk(disk), "/log");
    REQUIRE_OK(rfl_open(&options, true, 0, &log_));
}

static void
end(void)
{
    CHECK_OK(rfl_close(log_));
    simdisk_free(disk);
}

/* Power fails; nothing of what was written is lost. */
static void
crash(void)
{
    struct simdisk *after = simdisk_clone(disk, 1);

    simdisk_crash_as(after, SIMDISK_ALL, 1);
    CHECK_OK(rfl_close(log_));
    simdisk_free(disk);
    disk = after;
    options.disk = simdisk_disk(disk);
    log_ = NULL;
}

static uint64_t
append(uint64_t number, size_t record_bytes, enum rfl_durability durability)
{
    uint64_t lsn_end;

    REQUIRE_OK(testing_append(log_, number, record_bytes - RFL_RECORD_HEADER, &lsn_end));
    REQUIRE_OK(rfl_commit(log_, lsn_end, durability));
    return lsn_end;
}

static void
reopen(size_t records)
{
    REQUIRE_OK(rfl_open(&options, false, 0, &log_));
    REQUIRE_EQ(testing_read(log_, 0, 0), records);
}

static void
torn_tail_is_cut(void)
{
    static const uint8_t zeros[4096];

    begin();
    append(0, 4096 - EPOCH_BYTES, RFL_FULL);
    append(1, 4096, RFL_OS);
    append(2, 8192, RFL_OS);
    crash();
    REQUIRE(simdisk_poke(disk, SEGMENT_1, 4096 + 8192 + 4096, zeros, 4096));
    reopen(2);
    append(2, 200, RFL_FULL);
    crash();
    reopen(3);
    end();
}

static void
a_lost_record_before_written_ones_is_the_end_when_nothing_was_durable(void)
{
    static const uint8_t zeros[4096];

    begin();
    append(0, 4096 - EPOCH_BYTES, RFL_FULL);
    for (uint64_t i = 1; i < 6; i++)
        append(i, 4096, RFL_OS);
    crash();
    REQUIRE(simdisk_poke(disk, SEGMENT_1, 4096 + 4096, zeros, 4096));
    reopen(1);
    end();
}

/* Every byte that was durable when a later record was appended is guarded. */
static void
damage_before_the_end_is_reported(void)
{
    struct rfl_log *none;
    uint64_t lsn_guarded = 0;

    begin();
    for (uint64_t i = 0; i < 12; i++) {
        uint64_t lsn_end = append(i, 48 + i * 97 / 8 * 8, RFL_FULL);
        if (i < 11)
            lsn_guarded = lsn_end;
    }
    crash();
    for (uint64_t at = 0; at < lsn_guarded; at++) {
        uint8_t mask = (uint8_t)(1u << at % 8);
        REQUIRE(simdisk_flip(disk, SEGMENT_1, RFL_BLOCK + at, mask));
        if (rfl_open(&options, false, 0, &none) != FTK_CORRUPT)
            CHECK_MSG(false, "byte %llu", (unsigned long long)at);
        if (at == 0) {
            CHECK_HAS(ftk_error_last()->text, SEGMENT_1);
            CHECK_HAS(ftk_error_last()->text, "offset 4096");
        }
        REQUIRE(none == NULL);
        REQUIRE(simdisk_flip(disk, SEGMENT_1, RFL_BLOCK + at, mask));
    }
    reopen(12);
    end();
}

static void
damage_is_seen_from_the_next_segment(void)
{
    struct rfl_log *none;
    uint64_t lsn_end = 0;

    begin();
    append(0, 4096, RFL_FULL);
    for (uint64_t i = 1; i < 6; i++)
        lsn_end = append(i, 500000, RFL_OS);
    REQUIRE(lsn_end > RFL_SEGMENT_BYTES_MIN);
    append(6, 100, RFL_FULL);
    append(7, 100, RFL_OS);
    crash();
    REQUIRE(simdisk_flip(disk, SEGMENT_1, RFL_BLOCK + 5000, 1));
    CHECK_STATUS(rfl_open(&options, false, 0, &none), FTK_CORRUPT);
    REQUIRE(simdisk_flip(disk, SEGMENT_1, RFL_BLOCK + 5000, 1));
    reopen(8);
    end();
}

/* Whole records of a lost tail stand at the LSN where the new tail ends.  Invariant 3. */
static void
records_of_a_lost_tail_do_not_follow_a_new_one(void)
{
    static uint8_t block[4096];
    static const uint8_t zeros[4096];

    begin();
    append(0, 4096 - EPOCH_BYTES, RFL_FULL);
    for (uint64_t i = 1; i < 6; i++)
        append(i, 4096, RFL_OS);
    crash();
    REQUIRE(simdisk_peek(disk, SEGMENT_1, 4096 + 8192, block, sizeof block));
    REQUIRE(simdisk_poke(disk, SEGMENT_1, 4096 + 4096, zeros, 4096));
    reopen(1);
    CHECK_EQ(append(1, 4096 - EPOCH_BYTES, RFL_OS), 8192);
    crash();
    /* As if the write had been torn before the zero block that ends it. */
    REQUIRE(simdisk_poke(disk, SEGMENT_1, 4096 + 8192, block, sizeof block));
    reopen(2);
    end();
}

/* The same where nobody stands before: an owner's lsn_start at the end.  Invariant 4. */
static void
records_of_a_lost_tail_do_not_begin_a_log(void)
{
    static const uint8_t zeros[4096];
    uint64_t lsn_end;

    begin();
    append(0, 4096 - EPOCH_BYTES, RFL_FULL);
    for (uint64_t i = 1; i < 6; i++)
        append(i, 4096, RFL_OS);
    crash();
    REQUIRE(simdisk_poke(disk, SEGMENT_1, 4096 + 4096, zeros, 4096));
    reopen(1);
    lsn_end = append(1, 4096 - EPOCH_BYTES, RFL_FULL);
    crash();
    REQUIRE_OK(rfl_open(&options, false, lsn_end, &log_));
    CHECK_EQ(rfl_lsn_end(log_), lsn_end);
    CHECK_EQ(testing_read(log_, lsn_end, 2), 0);
    end();
}

static void
recycled_segments_do_not_show_old_records(void)
{
    uint64_t lsn_end = 0, lsn_kept = 0, kept = 0;

    begin();
    for (uint64_t i = 0; i < 60; i++) {
        lsn_end = append(i, 65536, RFL_OS);
        if (i == 40)
            REQUIRE_OK(rfl_commit(log_, lsn_end, RFL_FULL));
        if (i == 50) {
            lsn_kept = lsn_end;
            kept = i + 1;
            REQUIRE_OK(rfl_commit(log_, lsn_end, RFL_FULL));
            REQUIRE_OK(rfl_release(log_, lsn_kept));
        }
    }
    crash();
    REQUIRE_OK(rfl_open(&options, false, lsn_kept, &log_));
    CHECK_EQ(rfl_lsn_end(log_), lsn_end);
    CHECK_EQ(testing_read(log_, lsn_kept, kept), 60 - kept);
    end();
}

static void
a_missing_segment_is_reported(void)
{
    struct ftk_disk *d;
    struct rfl_log *none;

    begin();
    for (uint64_t i = 0; i < 100; i++)
        append(i, 65536, RFL_OS);
    crash();
    d = simdisk_disk(disk);
    REQUIRE_OK(d->ops->remove(d, NULL, "/log/0000000000000002.rfl"));
    CHECK_STATUS(rfl_open(&options, false, 0, &none), FTK_CORRUPT);
    CHECK_HAS(ftk_error_last()->text, "0000000000000002.rfl is missing");
    REQUIRE_OK(d->ops->remove(d, NULL, SEGMENT_1));
    CHECK_STATUS(rfl_open(&options, false, 0, &none), FTK_CORRUPT);
    CHECK_HAS(ftk_error_last()->text, "begins at LSN");
    simdisk_free(disk);
}

/* Without the newest files nothing stands behind the end to say that more was durable: the filler
 * before them says it. */
static void
the_newest_segments_missing_are_reported(void)
{
    static const uint8_t zeros[64];
    uint8_t record[64];
    char path[64];

    for (int durable = 0; durable < 2; durable++) {
        int missing = 0;

        begin();
        for (uint64_t i = 0; i < 100; i++)
            append(i, 65536, durable ? RFL_FULL : RFL_OS);
        crash();
        options.read_only = true;
        for (int number = 9; number >= 2; number--) {
            bool held_records;
            ftk_status rc;

            snprintf(path, sizeof path, "/log/%016x.rfl", number);
            if (!simdisk_peek(disk, path, 4096, record, sizeof record))
                continue;
            held_records = memcmp(record, zeros, sizeof record) != 0;
            REQUIRE_OK(simdisk_disk(disk)->ops->remove(simdisk_disk(disk), NULL, path));
            rc = rfl_open(&options, false, 0, &log_);
            CHECK_STATUS(rc, held_records ? FTK_CORRUPT : FTK_OK);
            if (rc == FTK_OK) {
                CHECK_OK(rfl_close(log_));
                continue;
            }
            snprintf(path, sizeof path, "%016x.rfl is missing", number);
            CHECK_HAS(ftk_error_last()->text, path);
            missing++;
        }
        CHECK(missing >= 2);
        simdisk_free(disk);
    }
}

/* A record may end where its segment does: nothing says that there was another one. */
static void
a_segment_filled_by_its_last_record_may_be_the_newest(void)
{
    begin();
    for (uint64_t i = 0; i < 31; i++)
        append(i, 65536, RFL_FULL);
    append(31, options.segment_bytes - 4096 - rfl_lsn_end(log_), RFL_FULL);
    CHECK_EQ(rfl_lsn_end(log_), options.segment_bytes - 4096);
    crash();
    (void)simdisk_disk(disk)->ops->remove(simdisk_disk(disk), NULL, SEGMENT_2);
    reopen(32);
    append(32, 65536, RFL_FULL);
    crash();
    reopen(33);
    end();
}

/* No segment, descriptor or memory for the record that says "closed": what is there is synced. */
static void
a_close_without_its_last_word_is_a_close(void)
{
    static const int errors[] = {ENOSPC, EMFILE, ENOMEM, EACCES};

    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        begin();
        for (uint64_t k = 0; k < 31; k++)
            append(k, 65536, RFL_LAZY);
        append(31, options.segment_bytes - 4096 - rfl_lsn_end(log_), RFL_LAZY);
        simdisk_fail(disk, SIMDISK_OPEN | SIMDISK_NAMES, 1, UINT64_MAX, errors[i]);
        CHECK_OK(rfl_close(log_));
        CHECK(simdisk_failed(disk) > 0);
        simdisk_fail_clear(disk);
        simdisk_crash_as(disk, SIMDISK_NONE, 1);
        reopen(32);
        end();
    }
}

static void
foreign_newer_and_blank_segments_are_told_apart(void)
{
    static const uint8_t zeros[4096], newer[4] = {2}, noise[8] = "no log!";
    struct rfl_log *none;

    begin();
    append(0, 100, RFL_FULL);
    crash();
    options.identity[0] ^= 1;
    CHECK_STATUS(rfl_open(&options, true, 0, &none), FTK_FOREIGN);
    options.identity[0] ^= 1;
    REQUIRE(simdisk_flip(disk, SEGMENT_1, 60, 4));
    CHECK_STATUS(rfl_open(&options, true, 0, &none), FTK_CORRUPT);
    REQUIRE(simdisk_flip(disk, SEGMENT_1, 60, 4));
    reopen(1);
    CHECK_OK(rfl_close(log_));
    REQUIRE(simdisk_poke(disk, SEGMENT_1, 8, newer, sizeof newer));
    CHECK_STATUS(rfl_open(&options, true, 0, &none), FTK_VERSION);
    REQUIRE(simdisk_poke(disk, SEGMENT_1, 0, noise, sizeof noise));
    CHECK_STATUS(rfl_open(&options, true, 0, &none), FTK_FOREIGN);
    REQUIRE(simdisk_poke(disk, SEGMENT_1, 0, zeros, sizeof zeros));
    CHECK_STATUS(rfl_open(&options, true, 0, &none), FTK_CORRUPT);
    simdisk_free(disk);
}

static void
a_short_log_is_begun_anew_only_when_allowed(void)
{
    static const uint64_t starts[] = {12344, 8192, (5u << 20) + 8};

    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++) {
        uint64_t lsn = starts[i], lsn_end;

        begin();
        append(0, 4096, RFL_FULL);
        crash();
        CHECK_STATUS(rfl_open(&options, true, lsn, &log_), FTK_CORRUPT);
        options.allow_short = true;
        REQUIRE_OK(rfl_open(&options, true, lsn, &log_));
        CHECK_EQ(rfl_lsn_end(log_), lsn);
        REQUIRE_OK(testing_append(log_, 7, 100, &lsn_end));
        CHECK_OK(rfl_close(log_));
        options.allow_short = false;
        REQUIRE_OK(rfl_open(&options, false, lsn, &log_));
        CHECK_EQ(testing_read(log_, lsn, 7), 1);
        CHECK_OK(rfl_close(log_));
        CHECK_STATUS(rfl_open(&options, false, 0, &log_), FTK_CORRUPT);
        simdisk_free(disk);
    }
}

static void
an_lsn_inside_a_record_is_no_beginning(void)
{
    begin();
    append(0, 4096, RFL_FULL);
    crash();
    CHECK_STATUS(rfl_open(&options, false, 1024, &log_), FTK_CORRUPT);
    CHECK_HAS(ftk_error_last()->text, "no record begins at LSN 1024");
    simdisk_free(disk);
}

static void
read_only_never_writes(void)
{
    struct rfl_part part = {"x", 1};
    uint64_t lsn, lsn_end, steps;

    begin();
    append(0, 4096, RFL_FULL);
    append(1, 300, RFL_OS);
    crash();
    options.read_only = true;
    options.background = true;
    steps = simdisk_steps(disk);
    reopen(2);
    CHECK_STATUS(rfl_append(log_, 0, 1, &part, 1, &lsn, &lsn_end), FTK_READONLY);
    CHECK_STATUS(rfl_commit(log_, 8, RFL_FULL), FTK_READONLY);
    CHECK_STATUS(rfl_release(log_, 8), FTK_READONLY);
    CHECK_OK(rfl_close(log_));
    options.dir = "/none";
    CHECK_STATUS(rfl_open(&options, true, 0, &log_), FTK_NOTFOUND);
    CHECK_EQ(simdisk_steps(disk), steps);
    simdisk_free(disk);
}

/* Only the first segment of a log may begin behind its first byte. */
static void
a_later_segment_whose_first_record_is_not_at_its_begin_is_refused(void)
{
    struct rfl__segment_header header;
    uint8_t block[RFL_BLOCK];
    struct rfl_log *none;

    begin();
    for (uint64_t i = 0; i < 12; i++) /* into the second segment */
        append(i, 240000, RFL_OS);
    CHECK_OK(rfl_close(log_));
    REQUIRE(simdisk_peek(disk, SEGMENT_2, 0, block, sizeof block));
    REQUIRE_OK(rfl__segment_decode(block, sizeof block, NULL, SEGMENT_2, &header));
    header.lsn_records += 8;
    rfl__segment_encode(&header, block);
    REQUIRE(simdisk_poke(disk, SEGMENT_2, 0, block, sizeof block));
    CHECK_STATUS(rfl_open(&options, false, 0, &none), FTK_CORRUPT);
    header.lsn_records -= 8;
    rfl__segment_encode(&header, block);
    REQUIRE(simdisk_poke(disk, SEGMENT_2, 0, block, sizeof block));
    reopen(12);
    end();
}

TEST_MAIN("rfl_recovery", TEST(torn_tail_is_cut),
          TEST(a_lost_record_before_written_ones_is_the_end_when_nothing_was_durable),
          TEST(damage_before_the_end_is_reported), TEST(damage_is_seen_from_the_next_segment),
          TEST(records_of_a_lost_tail_do_not_follow_a_new_one),
          TEST(records_of_a_lost_tail_do_not_begin_a_log),
          TEST(recycled_segments_do_not_show_old_records), TEST(a_missing_segment_is_reported),
          TEST(the_newest_segments_missing_are_reported),
          TEST(a_segment_filled_by_its_last_record_may_be_the_newest),
          TEST(a_close_without_its_last_word_is_a_close),
          TEST(foreign_newer_and_blank_segments_are_told_apart),
          TEST(a_short_log_is_begun_anew_only_when_allowed),
          TEST(an_lsn_inside_a_record_is_no_beginning), TEST(read_only_never_writes),
          TEST(a_later_segment_whose_first_record_is_not_at_its_begin_is_refused))
