/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/test_rfl_archive.c -- segments leave the log through the archive, without a hole: what
 * the archive has and what the log has together reach from the first byte to the end.
 */
#include <stdio.h>
#include <unistd.h>

#include "ftk/checksum.h"
#include "tests/unit/rfl_testing.h"

#define SEGMENTS_MAX 400

enum how { COPIED, MOVED, MOVED_AND_REFUSED, LINKED, LINKED_AND_LOST, OPENED, REFUSED };

static struct simdisk *disk;
static struct rfl_options options;
static struct rfl_log *log_;

static struct {
    enum how how;
    uint64_t refuse_from; /* call number */
    unsigned calls;
    uint64_t lsn_end; /* everything below is in the archive */
    bool hole;
    char paths[SEGMENTS_MAX][300]; /* of linked ones */
    FILE *files[SEGMENTS_MAX];     /* of those that are still read */
    uint64_t sums[SEGMENTS_MAX];
    unsigned count;
} archived;

/* Of an open file, from its beginning; it is closed. */
static uint64_t
sum_and_close(FILE *file)
{
    static uint8_t bytes[RFL_SEGMENT_BYTES_MIN];
    size_t n = file == NULL ? 0 : fread(bytes, 1, sizeof bytes, file);

    if (file != NULL)
        fclose(file);
    return ftk_checksum(bytes, n, 0);
}

static uint64_t
sum_of(const char *path)
{
    return sum_and_close(fopen(path, "rb"));
}

static ftk_status
archive(void *context, const char *path, uint64_t lsn_begin, uint64_t lsn_end)
{
    struct ftk_disk *where = options.disk;
    char to[300];

    (void)context;
    archived.calls++;
    if (archived.how == REFUSED ||
        (archived.refuse_from != 0 && archived.calls >= archived.refuse_from))
        return FTK_IO;
    archived.hole |= lsn_begin > archived.lsn_end;
    if (lsn_end > archived.lsn_end)
        archived.lsn_end = lsn_end;
    if (archived.how == MOVED || archived.how == MOVED_AND_REFUSED) {
        snprintf(to, sizeof to, "/archive/%llu", (unsigned long long)lsn_begin);
        REQUIRE_OK(where->ops->rename(where, NULL, path, to));
        return archived.how == MOVED ? FTK_OK : FTK_IO;
    }
    if (archived.how == LINKED_AND_LOST && archived.count > 0)
        return FTK_IO;
    if (archived.how == LINKED || archived.how == LINKED_AND_LOST) {
        REQUIRE(archived.count < SEGMENTS_MAX);
        snprintf(archived.paths[archived.count], sizeof archived.paths[0], "%s",
                 test_path("archive"));
        snprintf(to, sizeof to, "%.250s-%u", archived.paths[archived.count], archived.count);
        snprintf(archived.paths[archived.count], sizeof archived.paths[0], "%s", to);
        REQUIRE(link(path, to) == 0);
        archived.sums[archived.count++] = sum_of(to);
        return archived.how == LINKED ? FTK_OK : FTK_IO;
    }
    if (archived.how == OPENED) {
        REQUIRE(archived.count < SEGMENTS_MAX);
        archived.files[archived.count] = fopen(path, "rb");
        setvbuf(archived.files[archived.count], NULL, _IONBF, 0);
        archived.sums[archived.count++] = sum_of(path);
    }
    return FTK_OK;
}

static void
begin(enum how how)
{
    disk = simdisk_new(&(struct simdisk_options){.seed = test_seed()});
    REQUIRE_OK(simdisk_disk(disk)->ops->mkdir(simdisk_disk(disk), NULL, "/archive"));
    options = testing_options(simdisk_disk(disk), "/log");
    options.archive = archive;
    memset(&archived, 0, sizeof archived);
    archived.how = how;
    REQUIRE_OK(rfl_open(&options, true, 0, &log_));
}

static void
end(void)
{
    CHECK_OK(rfl_close(log_));
    simdisk_free(disk);
}

static uint64_t
oldest(void)
{
    struct rfl_stats stats;

    rfl_stats(log_, &stats);
    return stats.lsn_oldest;
}

static uint64_t
append(uint64_t records)
{
    uint64_t lsn_end = 0;

    for (uint64_t i = 0; i < records; i++)
        REQUIRE_OK(testing_append(log_, i, 200000, &lsn_end));
    REQUIRE_OK(rfl_commit(log_, lsn_end, RFL_FULL));
    return lsn_end;
}

/* Through several segments; all of it is durable and released then. */
static uint64_t
work(uint64_t records)
{
    uint64_t lsn_end = append(records);

    REQUIRE_OK(rfl_release(log_, lsn_end));
    return lsn_end;
}

static void
a_segment_that_was_moved_away_is_archived(void)
{
    uint64_t lsn;

    begin(MOVED);
    work(45);
    CHECK(archived.calls >= 4);
    CHECK(oldest() > 0 && oldest() == archived.lsn_end && !archived.hole);
    lsn = work(45); /* the log goes on */
    CHECK(oldest() == archived.lsn_end && !archived.hole);
    CHECK(!rfl_has_failed(log_));
    CHECK_OK(rfl_close(log_));
    REQUIRE_OK(rfl_open(&options, false, lsn, &log_));
    work(45);
    CHECK(oldest() == archived.lsn_end && !archived.hole);
    end();
}

/* It is gone whatever the function says; the next offer finds that out, without a call. */
static void
a_segment_that_was_moved_away_and_refused_is_archived(void)
{
    unsigned calls;

    begin(MOVED_AND_REFUSED);
    work(45);
    CHECK_EQ(archived.calls, 1); /* the first refusal ends the row */
    CHECK_EQ(oldest(), 0);
    archived.how = COPIED;
    calls = archived.calls;
    work(10);
    CHECK(archived.calls > calls && !archived.hole);
    CHECK_EQ(oldest(), archived.lsn_end);
    end();
}

static void
a_refused_segment_stops_the_row(void)
{
    begin(COPIED);
    archived.refuse_from = 3;
    work(65);
    CHECK_EQ(archived.calls, 3);
    CHECK(oldest() == archived.lsn_end && oldest() > 0);
    archived.refuse_from = 0;
    work(1);
    CHECK(archived.calls >= 6 && !archived.hole);
    CHECK_EQ(oldest(), archived.lsn_end);
    end();
}

static void
an_open_without_the_function_keeps_all_segments(void)
{
    uint64_t lsn, before;

    begin(COPIED);
    lsn = work(45);
    before = oldest();
    CHECK_OK(rfl_close(log_));
    options.archive = NULL;
    options.archiving = true; /* the owner remembers */
    for (int i = 0; i < 3; i++) {
        REQUIRE_OK(rfl_open(&options, false, lsn, &log_));
        lsn = work(45);
        CHECK_EQ(oldest(), before);
        CHECK_OK(rfl_close(log_));
    }
    options.archive = archive;
    REQUIRE_OK(rfl_open(&options, false, lsn, &log_));
    work(1);
    CHECK(oldest() > before && oldest() == archived.lsn_end && !archived.hole);
    end();
}

/* A whole life of a log, its files among the operating system's. */
static void
live_natively(enum how how)
{
    memset(&archived, 0, sizeof archived);
    archived.how = how;
    options = testing_options(ftk_disk_native(), test_path("log"));
    options.archive = archive;
    REQUIRE_OK(rfl_open(&options, true, 0, &log_));
    for (int i = 0; i < 4; i++)
        work(45);
    CHECK_OK(rfl_close(log_));
    CHECK(archived.count >= 12);
}

/* A hard link in the archive is the file itself: used again, it would change there. */
static void
a_segment_that_was_linked_is_never_written_again(void)
{
    live_natively(LINKED);
    for (unsigned i = 0; i < archived.count; i++)
        CHECK_EQ(sum_of(archived.paths[i]), archived.sums[i]);
}

/* Whoever copies in the background has the file open, and no name of it. */
static void
nor_one_that_the_archive_still_reads(void)
{
    live_natively(OPENED);
    for (unsigned i = 0; i < archived.count; i++)
        CHECK_EQ(sum_and_close(archived.files[i]), archived.sums[i]);
}

/* The function took a link, and what it said was lost with the process; then archiving is given up:
 * the archive has the files that the log is about to use again. */
static void
nor_once_archiving_was_given_up(void)
{
    uint64_t lsn_end;

    memset(&archived, 0, sizeof archived);
    archived.how = LINKED_AND_LOST;
    options = testing_options(ftk_disk_native(), test_path("log"));
    options.archive = archive;
    REQUIRE_OK(rfl_open(&options, true, 0, &log_));
    lsn_end = work(90);
    CHECK_OK(rfl_close(log_));
    CHECK(archived.count == 1);
    options.archive = NULL;
    options.archiving = false;
    REQUIRE_OK(rfl_open(&options, false, lsn_end, &log_));
    for (int i = 0; i < 6; i++)
        work(45);
    CHECK_OK(rfl_close(log_));
    for (unsigned i = 0; i < archived.count; i++)
        CHECK_EQ(sum_of(archived.paths[i]), archived.sums[i]);
}

/* Somebody took a segment out of the middle: what is below it may be in no archive. */
static void
segments_below_a_gap_are_left_alone(void)
{
    struct ftk_disk *base;
    uint64_t lsn, size = 0;

    begin(REFUSED);
    lsn = work(45);
    CHECK_OK(rfl_close(log_));
    base = simdisk_disk(disk);
    REQUIRE_OK(base->ops->remove(base, NULL, "/log/0000000000000002.rfl"));
    REQUIRE_OK(rfl_open(&options, false, lsn, &log_));
    CHECK(simdisk_size(disk, "/log/0000000000000001.rfl", &size));
    CHECK_OK(rfl_close(log_));
    options.archive = NULL; /* without an archive it is a left-over */
    REQUIRE_OK(rfl_open(&options, false, lsn, &log_));
    CHECK(!simdisk_size(disk, "/log/0000000000000001.rfl", &size));
    end();
}

/* The process dies, or power fails, at any step; opens with and without the function follow. */
static void
a_life(uint64_t seed)
{
    struct ftk_random random;
    uint64_t lsn_start = 0;

    ftk_random_seed(&random, seed);
    begin(COPIED);
    for (int opens = 0; opens < 10; opens++) {
        struct simdisk *after;
        uint64_t lsn_archived;

        for (uint64_t i = 1 + ftk_random_below(&random, 4); i > 0; i--) {
            if (ftk_random_below(&random, 3) == 0)
                archived.refuse_from = archived.calls + 1 + ftk_random_below(&random, 3);
            lsn_start = work(1 + ftk_random_below(&random, 30));
            archived.refuse_from = 0;
        }
        CHECK(!archived.hole && oldest() <= archived.lsn_end);
        lsn_archived = archived.lsn_end;
        if (ftk_random_below(&random, 2) == 0) { /* more is taken, and perhaps not removed */
            lsn_start = append(20);
            simdisk_fail(disk, SIMDISK_NAMES, 1 + ftk_random_below(&random, 3), 1, 5);
            (void)rfl_release(log_, lsn_start);
            simdisk_fail_clear(disk);
        }
        after = simdisk_clone(disk, ftk_random_next(&random));
        CHECK(archived.lsn_end >= lsn_archived);
        (void)rfl_close(log_);
        simdisk_free(disk);
        disk = after;
        simdisk_crash(disk, ftk_random_next(&random));
        options.disk = simdisk_disk(disk);
        options.archiving = true;
        options.archive = ftk_random_below(&random, 2) == 0 ? archive : NULL;
        REQUIRE_OK(rfl_open(&options, false, lsn_start, &log_));
        CHECK(oldest() <= archived.lsn_end);
    }
    end();
}

static void
lives_with_crashes_leave_no_hole(void)
{
    struct ftk_random random = test_random();

    for (uint64_t i = 0; i < test_rounds(20); i++)
        a_life(ftk_random_next(&random));
}

TEST_MAIN("rfl_archive", TEST(a_segment_that_was_moved_away_is_archived),
          TEST(a_segment_that_was_moved_away_and_refused_is_archived),
          TEST(a_refused_segment_stops_the_row),
          TEST(an_open_without_the_function_keeps_all_segments),
          TEST(a_segment_that_was_linked_is_never_written_again),
          TEST(nor_one_that_the_archive_still_reads), TEST(nor_once_archiving_was_given_up),
          TEST(segments_below_a_gap_are_left_alone), TEST(lives_with_crashes_leave_no_hole))
