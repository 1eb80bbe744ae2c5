/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/test_rfl_golden.c -- a log of format version 1, byte by byte, which every later build
 * reads.  Never change the bytes: a new version gets a file of its own.
 */
#include "rfl/rfl_format.h"
#include "tests/unit/rfl_testing.h"

#define PATH "/log/0000000000000001.rfl"

#include "tests/unit/rfl_golden_v1.h"

static void
version_1_is_read(void)
{
    struct simdisk *disk = simdisk_new(NULL);
    struct rfl_options options = testing_options(simdisk_disk(disk), "/log");
    struct rfl_log *log;

    /* A blank file of the right size, then the golden bytes over it. */
    REQUIRE_OK(rfl_open(&options, true, 0, &log));
    REQUIRE_OK(rfl_close(log));
    REQUIRE(simdisk_poke(disk, PATH, 0, golden_header, sizeof golden_header));
    REQUIRE(simdisk_poke(disk, PATH, RFL_BLOCK, golden_records, sizeof golden_records));
    options.read_only = true;
    REQUIRE_OK(rfl_open(&options, false, 0, &log));
    CHECK_EQ(rfl_lsn_end(log), sizeof golden_records);
    CHECK_EQ(testing_read(log, 0, 0), 3);
    REQUIRE_OK(rfl_close(log));
    simdisk_free(disk);
}

/* What is written today has the golden shape, clocks and chance aside. */
static void
version_1_is_written(void)
{
    struct simdisk *disk = simdisk_new(NULL);
    struct rfl_options options = testing_options(simdisk_disk(disk), "/log");
    uint8_t header[sizeof golden_header], records[sizeof golden_records];
    uint64_t lsn_end;
    struct rfl_log *log;

    REQUIRE_OK(rfl_open(&options, true, 0, &log));
    for (uint64_t i = 0; i < 3; i++)
        REQUIRE_OK(testing_append(log, i, 9 + 10 * i, &lsn_end));
    REQUIRE_OK(rfl_close(log));
    REQUIRE(simdisk_peek(disk, PATH, 0, header, sizeof header));
    REQUIRE(simdisk_peek(disk, PATH, RFL_BLOCK, records, sizeof records));
    CHECK_MEM(header, golden_header, RFL_SEGMENT_CREATED);
    for (size_t at = 56; at < sizeof records;) { /* behind the epoch record */
        uint32_t body_size = ftk_get_le32(records + at + RFL_RECORD_BODY_SIZE);
        CHECK_MEM(records + at + 8, golden_records + at + 8, RFL_RECORD_SALT - 8);
        CHECK_MEM(records + at + RFL_RECORD_BODY_SIZE, golden_records + at + RFL_RECORD_BODY_SIZE,
                  (RFL_RECORD_HEADER - RFL_RECORD_BODY_SIZE) + body_size);
        at += rfl__record_bytes(body_size);
    }
    simdisk_free(disk);
}

TEST_MAIN("rfl_golden", TEST(version_1_is_read), TEST(version_1_is_written))
