/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_rfl_append.c -- records go in, come back, and survive an orderly close. */
#include "tests/unit/rfl_testing.h"

static struct rfl_log *
open_log(struct ftk_disk *disk, bool background, bool create, uint64_t lsn_start)
{
    struct rfl_options options =
        testing_options(disk, disk == ftk_disk_native() ? test_path("log") : "/log");
    struct rfl_log *log;

    options.background = background;
    REQUIRE_OK(rfl_open(&options, create, lsn_start, &log));
    return log;
}

static size_t
size_of(uint64_t number)
{
    return number % 97 == 0 ? 200000 + number * 13 % 500000 : 8 + number * 37 % 400;
}

static void
fill_and_read(struct ftk_disk *disk, bool background, enum rfl_durability durability)
{
    struct rfl_log *log = open_log(disk, background, true, 0);
    uint64_t lsn_end = 0;

    for (uint64_t i = 0; i < 3000; i++) {
        REQUIRE_OK(testing_append(log, i, size_of(i), &lsn_end));
        if (i % 50 == 0)
            REQUIRE_OK(rfl_commit(log, lsn_end, durability));
    }
    CHECK_EQ(rfl_lsn_end(log), lsn_end);
    REQUIRE_OK(rfl_commit(log, lsn_end, RFL_OS));
    CHECK_EQ(testing_read(log, 0, 0), 3000);
    REQUIRE_OK(rfl_close(log));

    log = open_log(disk, background, false, 0);
    CHECK_EQ(testing_read(log, 0, 0), 3000);
    REQUIRE_OK(testing_append(log, 3000, 100, &lsn_end));
    REQUIRE_OK(rfl_close(log));
    log = open_log(disk, background, false, 0);
    CHECK_EQ(testing_read(log, 0, 0), 3001);
    REQUIRE_OK(rfl_close(log));
}

static void
records_come_back_after_full_commits(void)
{
    fill_and_read(ftk_disk_native(), true, RFL_FULL);
}

static void
records_come_back_after_os_commits(void)
{
    fill_and_read(ftk_disk_native(), true, RFL_OS);
}

static void
records_come_back_after_lazy_commits(void)
{
    fill_and_read(ftk_disk_native(), true, RFL_LAZY);
}

static void
records_come_back_without_threads(void)
{
    struct simdisk *disk = simdisk_new(NULL);

    fill_and_read(simdisk_disk(disk), false, RFL_FULL);
    simdisk_free(disk);
}

static void
bad_arguments_are_refused(void)
{
    struct simdisk *disk = simdisk_new(NULL);
    struct rfl_log *log = open_log(simdisk_disk(disk), false, true, 0);
    struct rfl_options options = testing_options(simdisk_disk(disk), "/none");
    struct rfl_log *none;
    static uint8_t body[RFL_BODY_MAX];
    struct rfl_part parts[2] = {{body, RFL_BODY_MAX}, {body, 1}};
    struct rfl_reader *reader;
    uint64_t lsn, lsn_end;

    CHECK_STATUS(rfl_append(log, 0, 1, parts, 2, &lsn, &lsn_end), FTK_TOOBIG);
    CHECK_STATUS(rfl_append(log, 0, 1, parts, 0, &lsn, &lsn_end), FTK_INVALID);
    CHECK_STATUS(rfl_append(log, 0, 0, parts, 1, &lsn, &lsn_end), FTK_INVALID);
    CHECK_EQ(rfl_lsn_end(log), 0);
    CHECK_OK(rfl_append(log, 0, 1, parts, 1, &lsn, &lsn_end));
    CHECK_STATUS(rfl_commit(log, lsn_end + 8, RFL_FULL), FTK_INVALID);
    CHECK_STATUS(rfl_reader_open(log, 4, &reader), FTK_INVALID);
    CHECK_STATUS(rfl_reader_open(log, 1u << 30, &reader), FTK_INVALID);
    CHECK_OK(rfl_close(log));
    CHECK_STATUS(rfl_open(&options, false, 0, &none), FTK_NOTFOUND);
    CHECK(none == NULL);
    CHECK_STATUS(rfl_open(&options, true, 4096, &none), FTK_CORRUPT);
    CHECK_OK(rfl_close(NULL));
    simdisk_free(disk);
}

static void
a_log_read_while_it_grows_gives_what_is_written(void)
{
    struct rfl_log *log = open_log(ftk_disk_native(), true, true, 0);
    struct rfl_reader *reader;
    struct rfl_record record;
    uint64_t lsn_end, number;

    REQUIRE_OK(rfl_reader_open(log, 0, &reader));
    CHECK_STATUS(rfl_reader_next(reader, &record), FTK_NOTFOUND);
    for (uint64_t i = 0; i < 500; i++) {
        REQUIRE_OK(testing_append(log, i, size_of(i), &lsn_end));
        REQUIRE_OK(rfl_commit(log, lsn_end, RFL_OS));
        REQUIRE_OK(rfl_reader_next(reader, &record));
        CHECK(testing_check(&record, &number) && number == i);
        CHECK_EQ(record.lsn_end, lsn_end);
        CHECK_STATUS(rfl_reader_next(reader, &record), FTK_NOTFOUND);
    }
    rfl_reader_close(reader);
    REQUIRE_OK(rfl_close(log));
}

TEST_MAIN("rfl_append", TEST(records_come_back_after_full_commits),
          TEST(records_come_back_after_os_commits), TEST(records_come_back_after_lazy_commits),
          TEST(records_come_back_without_threads), TEST(bad_arguments_are_refused),
          TEST(a_log_read_while_it_grows_gives_what_is_written))
