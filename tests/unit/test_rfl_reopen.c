/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/test_rfl_reopen.c -- a log is opened again after a sync, write or change of names has
 * failed, without a power cut between: what was never made durable can still be read (simdisk.h,
 * rule 3).  What an open finds must be on the device before anything is built on it.
 */
#include <stdlib.h>

#include "rfl/rfl_format.h"
#include "tests/unit/rfl_testing.h"

#define SEGMENT_1 "/log/0000000000000001.rfl"

static struct simdisk *disk;
static struct rfl_options options;
static struct rfl_log *log_;

static void
begin(uint64_t seed)
{
    disk = simdisk_new(&(struct simdisk_options){.seed = seed});
    options = testing_options(simdisk_disk(disk), "/log");
    REQUIRE_OK(rfl_open(&options, true, 0, &log_));
}

static void
end(void)
{
    CHECK_OK(rfl_close(log_));
    simdisk_free(disk);
}

/* After a power cut of any kind just now, the log has all of these records. */
static void
check_survives(uint64_t records, const char *when)
{
    for (int policy = 0; policy < SIMDISK_POLICIES; policy++) {
        struct simdisk *after = simdisk_clone(disk, 1);
        struct rfl_options other = options;
        struct rfl_log *log = NULL;
        size_t count = 0;
        ftk_status rc;

        simdisk_crash_as(after, (enum simdisk_policy)policy, (uint64_t)policy + 1);
        other.disk = simdisk_disk(after);
        rc = rfl_open(&other, false, 0, &log);
        if (rc == FTK_OK)
            count = testing_read(log, 0, 0);
        CHECK_MSG(rc == FTK_OK && count != SIZE_MAX && count >= records,
                  "%s, %s: status %d (%s), %zu of %llu records", when,
                  simdisk_policy_name((enum simdisk_policy)policy), (int)rc,
                  rc == FTK_OK ? "" : ftk_error_last()->text, count, (unsigned long long)records);
        (void)rfl_close(log);
        simdisk_free(after);
    }
}

static ftk_status
append(uint64_t number, size_t size, enum rfl_durability durability)
{
    uint64_t lsn_end;
    ftk_status rc = testing_append(log_, number, size, &lsn_end);

    return rc == FTK_OK ? rfl_commit(log_, lsn_end, durability) : rc;
}

/* Open and see what is there; it survives. */
static size_t
open_again(uint64_t committed)
{
    size_t found;

    REQUIRE_OK(rfl_open(&options, false, 0, &log_));
    found = testing_read(log_, 0, 0);
    REQUIRE(found != SIZE_MAX && found >= committed);
    check_survives(found, "opened");
    return found;
}

/* And commit more, and lose power after each step. */
static void
go_on(uint64_t committed)
{
    size_t found = open_again(committed);

    REQUIRE_OK(append(found, 100, RFL_FULL));
    check_survives(found + 1, "one commit");
    for (uint64_t i = 1; i < 4; i++)
        REQUIRE_OK(append(found + i, 5000, RFL_FULL));
    check_survives(found + 4, "more commits");
}

static void
failed_sync(size_t size, uint64_t records)
{
    for (uint64_t seed = 1; seed <= test_rounds(4); seed++) {
        begin(seed);
        REQUIRE_OK(append(0, 500, RFL_FULL));
        for (uint64_t i = 1; i < records; i++)
            REQUIRE_OK(append(i, size, RFL_OS));
        simdisk_fail(disk, SIMDISK_SYNC, 1, 1, 5);
        CHECK_STATUS(append(records, size, RFL_FULL), FTK_IO);
        simdisk_fail_clear(disk);
        CHECK_STATUS(rfl_close(log_), FTK_FAILED);
        go_on(1);
        end();
    }
}

static void
a_record_whose_sync_failed_is_durable_or_gone_after_reopening(void)
{
    failed_sync(200, 1);   /* in the tail block */
    failed_sync(30000, 1); /* in several blocks */
}

static void
records_of_a_failed_sync_over_many_blocks_are_durable_after_reopening(void)
{
    failed_sync(4096 - RFL_RECORD_HEADER, 40); /* ends near blocks' ends */
    failed_sync(90000, 20);                    /* and in pieces of a megabyte */
}

/* Three segments are written and not synced; the sync of the nth fails. */
static void
segments_whose_sync_failed_are_durable_after_reopening(void)
{
    for (uint64_t nth = 1; nth <= 3; nth++) {
        uint64_t lsn_end;

        begin(nth);
        REQUIRE_OK(append(0, 500, RFL_FULL));
        for (uint64_t i = 1; i < 30; i++)
            REQUIRE_OK(testing_append(log_, i, 200000, &lsn_end));
        REQUIRE_OK(rfl_commit(log_, lsn_end, RFL_OS));
        simdisk_fail(disk, SIMDISK_SYNC, nth, 1, 5);
        CHECK_STATUS(rfl_commit(log_, lsn_end, RFL_FULL), FTK_IO);
        simdisk_fail_clear(disk);
        CHECK_STATUS(rfl_close(log_), FTK_FAILED);
        go_on(1);
        end();
    }
}

/* The open that is to make it durable fails, too, at each of its syncs and writes. */
static void
an_open_that_fails_to_write_the_end_anew_is_no_better_for_the_next(void)
{
    static const unsigned ops[] = {SIMDISK_SYNC, SIMDISK_WRITE, SIMDISK_READ, SIMDISK_OPEN,
                                   SIMDISK_SYNC_DIR};

    for (size_t i = 0; i < sizeof ops / sizeof ops[0]; i++) {
        ftk_status rc = FTK_IO;
        for (uint64_t nth = 1; rc != FTK_OK; nth++) {
            uint64_t lsn_end;

            begin(nth);
            REQUIRE_OK(append(0, 500, RFL_FULL));
            for (uint64_t r = 1; r < 12; r++)
                REQUIRE_OK(testing_append(log_, r, 300000, &lsn_end));
            REQUIRE_OK(rfl_commit(log_, lsn_end, RFL_OS));
            simdisk_fail(disk, SIMDISK_SYNC, 1, 1, 5);
            CHECK_STATUS(rfl_commit(log_, lsn_end, RFL_FULL), FTK_IO);
            simdisk_fail_clear(disk);
            CHECK_STATUS(rfl_close(log_), FTK_FAILED);
            simdisk_fail(disk, ops[i], nth, 1, 5);
            rc = rfl_open(&options, false, 0, &log_);
            simdisk_fail_clear(disk);
            if (rc == FTK_OK)
                CHECK_OK(rfl_close(log_));
            (void)open_again(1);
            end();
            REQUIRE(nth < 200);
        }
    }
}

static void
a_switch_that_failed_leaves_a_log_that_can_go_on(void)
{
    for (uint64_t nth = 1; nth <= 8; nth++) {
        uint64_t committed = 0;
        ftk_status rc = FTK_OK;

        begin(nth);
        simdisk_fail(disk, SIMDISK_SYNC | SIMDISK_SYNC_DIR | SIMDISK_WRITE, 40 + nth, 1, 5);
        for (uint64_t i = 0; i < 60 && rc == FTK_OK; i++) {
            rc = append(i, 150000, i % 2 == 0 ? RFL_FULL : RFL_OS);
            if (rc == FTK_OK && i % 2 == 0)
                committed = i + 1;
        }
        CHECK(rc == FTK_IO || rc == FTK_FAILED);
        simdisk_fail_clear(disk);
        CHECK_STATUS(rfl_close(log_), FTK_FAILED);
        go_on(committed);
        end();
    }
}

/* No sync has failed: the process died, and only the operating system had the records. */
static void
what_a_killed_process_left_is_durable_once_it_is_read(void)
{
    for (size_t size = 100; size < 1000000; size *= 30) {
        struct simdisk *after;

        begin(size);
        for (uint64_t i = 0; i < 10; i++)
            REQUIRE_OK(append(i, size, RFL_OS));
        after = simdisk_clone(disk, 1);
        end();
        simdisk_kill(after, 1);
        disk = after;
        options.disk = simdisk_disk(disk);
        go_on(10);
        end();
    }
}

/* The operating system drops the page that could be read, while the open looks away. */
static uint64_t hook_writes;

static void
forget_a_page(void *context, struct simdisk *sim, uint64_t step)
{
    static const uint8_t zeros[4096];

    (void)context;
    (void)step;
    if (simdisk_count(sim, SIMDISK_WRITE) == hook_writes + 1)
        (void)simdisk_poke(sim, SEGMENT_1, 4096 + (1300u << 10), zeros, sizeof zeros);
}

static void
pages_dropped_during_an_open_are_noticed(void)
{
    struct rfl_log *none = NULL;
    uint64_t lsn_end;

    begin(1);
    REQUIRE_OK(append(0, 500, RFL_FULL));
    for (uint64_t i = 1; i < 16; i++)
        REQUIRE_OK(testing_append(log_, i, 100000, &lsn_end));
    REQUIRE_OK(rfl_commit(log_, lsn_end, RFL_OS));
    simdisk_fail(disk, SIMDISK_SYNC, 1, 1, 5);
    CHECK_STATUS(rfl_commit(log_, lsn_end, RFL_FULL), FTK_IO);
    CHECK_STATUS(rfl_close(log_), FTK_FAILED);
    hook_writes = simdisk_count(disk, SIMDISK_WRITE);
    simdisk_hook(disk, forget_a_page, NULL);
    CHECK_STATUS(rfl_open(&options, false, 0, &none), FTK_IO);
    CHECK_HAS(ftk_error_last()->text, "open again");
    simdisk_hook(disk, NULL, NULL);
    go_on(1);
    end();
}

/* Opening a log that was closed costs no write and no sync of a file. */
static void
a_closed_log_is_opened_without_a_write(void)
{
    uint64_t lsn_start, writes, syncs;

    begin(1);
    for (uint64_t i = 0; i < 30; i++)
        REQUIRE_OK(append(i, 1000, RFL_FULL));
    lsn_start = rfl_lsn_end(log_); /* a checkpoint has all of it */
    CHECK_OK(rfl_close(log_));
    writes = simdisk_count(disk, SIMDISK_WRITE);
    syncs = simdisk_count(disk, SIMDISK_SYNC);
    REQUIRE_OK(rfl_open(&options, false, lsn_start, &log_));
    CHECK(rfl_was_closed(log_));
    CHECK_EQ(simdisk_count(disk, SIMDISK_WRITE), writes);
    CHECK_EQ(simdisk_count(disk, SIMDISK_SYNC), syncs);
    CHECK_OK(rfl_close(log_));
    REQUIRE_OK(rfl_open(&options, false, 0, &log_)); /* its owner has records to read */
    CHECK(!rfl_was_closed(log_));
    end();
}

static void
an_abandoned_log_does_not_say_that_it_was_closed(void)
{
    uint64_t lsn_start;

    begin(1);
    REQUIRE_OK(append(0, 1000, RFL_LAZY));
    lsn_start = rfl_lsn_end(log_);
    CHECK_OK(rfl_abandon(log_));
    check_survives(1, "abandoned");
    REQUIRE_OK(rfl_open(&options, false, lsn_start, &log_));
    CHECK(!rfl_was_closed(log_));
    end();
}

/* ---- by chance ---- */

struct model {
    uint64_t appended; /* records 0 .. appended - 1, numbered so */
    uint64_t promised; /* of them durable: committed RFL_FULL, or found by an open */
    uint64_t start;    /* records below lsn_start */
    uint64_t lsn_start;
};

static void
open_and_compare(struct model *model, const char *how)
{
    size_t count;
    ftk_status rc = rfl_open(&options, true, model->lsn_start, &log_);

    REQUIRE_MSG(rc == FTK_OK, "%s: %s", how, ftk_error_last()->text);
    count = testing_read(log_, model->lsn_start, model->start);
    REQUIRE_MSG(count != SIZE_MAX && model->start + count >= model->promised &&
                    model->start + count <= model->appended,
                "%s: records to %llu, promised to %llu, appended to %llu", how,
                (unsigned long long)(model->start + count), (unsigned long long)model->promised,
                (unsigned long long)model->appended);
    model->appended = model->promised = model->start + count;
}

/* Work until something fails or enough is done. */
static void
work(struct model *model, struct ftk_random *random)
{
    ftk_status rc = FTK_OK;

    for (uint64_t i = ftk_random_below(random, 60); i > 0 && rc == FTK_OK; i--) {
        size_t size = 8 + ftk_random_below(random, ftk_random_below(random, 4) ? 9000 : 300000);
        enum rfl_durability durability = (enum rfl_durability)ftk_random_below(random, 3);
        uint64_t lsn_end;

        rc = testing_append(log_, model->appended, size, &lsn_end);
        if (rc != FTK_OK)
            break;
        model->appended++;
        rc = rfl_commit(log_, lsn_end, durability);
        if (rc != FTK_OK || durability != RFL_FULL)
            continue;
        model->promised = model->appended;
        if (ftk_random_below(random, 8) == 0 && rfl_release(log_, lsn_end) == FTK_OK) {
            model->lsn_start = lsn_end;
            model->start = model->appended;
        }
    }
}

static void
a_life(uint64_t seed)
{
    static const unsigned ops[] = {SIMDISK_SYNC, SIMDISK_SYNC, SIMDISK_SYNC,
                                   SIMDISK_SYNC | SIMDISK_SYNC_DIR | SIMDISK_WRITE};
    struct ftk_random random;
    struct model model = {0};
    const char *how = "new";

    ftk_random_seed(&random, seed);
    disk = simdisk_new(&(struct simdisk_options){.seed = seed});
    options = testing_options(simdisk_disk(disk), "/log");
    for (int opens = 0; opens < 12; opens++) {
        struct rfl_log *failed;

        if (ftk_random_below(&random, 4) == 0) { /* an open that may not end */
            simdisk_fail(disk, ops[ftk_random_below(&random, 4)], 1 + ftk_random_below(&random, 6),
                         1, 5);
            if (rfl_open(&options, true, model.lsn_start, &failed) == FTK_OK)
                (void)rfl_close(failed);
            simdisk_fail_clear(disk);
        }
        open_and_compare(&model, how);
        if (ftk_random_below(&random, 4) > 0)
            simdisk_fail(disk, ops[ftk_random_below(&random, 4)], 1 + ftk_random_below(&random, 30),
                         1, 5);
        work(&model, &random);
        how = "reopened";
        if (ftk_random_below(&random, 3) == 0) {
            struct simdisk *after = simdisk_clone(disk, ftk_random_next(&random));
            bool power = ftk_random_below(&random, 2) == 0;

            (void)rfl_close(log_);
            simdisk_free(disk);
            disk = after;
            if (power)
                simdisk_crash(disk, ftk_random_next(&random));
            else
                simdisk_kill(disk, ftk_random_next(&random));
            options.disk = simdisk_disk(disk);
            how = power ? "power cut" : "killed";
        } else {
            (void)rfl_close(log_);
            simdisk_fail_clear(disk);
        }
    }
    simdisk_free(disk);
}

static void
lives_with_failed_syncs_and_reopening_keep_what_was_promised(void)
{
    struct ftk_random random = test_random();

    for (uint64_t i = 0; i < test_rounds(60); i++)
        a_life(ftk_random_next(&random));
}

TEST_MAIN("rfl_reopen", TEST(a_record_whose_sync_failed_is_durable_or_gone_after_reopening),
          TEST(records_of_a_failed_sync_over_many_blocks_are_durable_after_reopening),
          TEST(segments_whose_sync_failed_are_durable_after_reopening),
          TEST(an_open_that_fails_to_write_the_end_anew_is_no_better_for_the_next),
          TEST(a_switch_that_failed_leaves_a_log_that_can_go_on),
          TEST(what_a_killed_process_left_is_durable_once_it_is_read),
          TEST(pages_dropped_during_an_open_are_noticed),
          TEST(a_closed_log_is_opened_without_a_write),
          TEST(an_abandoned_log_does_not_say_that_it_was_closed),
          TEST(lives_with_failed_syncs_and_reopening_keep_what_was_promised))
