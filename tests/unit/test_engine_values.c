/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_engine_values.c -- large values: whole, in pieces, given up half way. */
#include <stdlib.h>

#include "tests/unit/engine_testing.h"

static struct simdisk *disk;
static kiln_db *db;
static kiln_txn *txn;
static kiln_coll coll;

static void
begin(void)
{
    disk = simdisk_new(NULL);
    db = engine_open(disk, KILN_CREATE);
    txn = engine_begin(db, KILN_WRITE);
    coll = engine_coll(txn, "c");
}

static void
end(void)
{
    if (txn != NULL)
        OK(kiln_txn_commit(txn));
    txn = NULL;
    engine_end(disk, db);
}

/* Byte `at` of a value that never repeats within its 64-bit words. */
static void
piece_fill(uint8_t *to, uint64_t at, size_t size)
{
    for (size_t i = 0; i < size; i++, at++)
        to[i] = (uint8_t)((at / 8 * UINT64_C(0x9e3779b97f4a7c15)) >> (8 * (at % 8)));
}

struct stream {
    uint64_t at, gives_up_at;
};

static int
stream_read(void *context, void *buffer, size_t size)
{
    struct stream *stream = context;

    if (stream->at >= stream->gives_up_at)
        return 1;
    piece_fill(buffer, stream->at, size);
    stream->at += size;
    return 0;
}

static kiln_status
stream_put(const char *key, uint64_t size, uint64_t gives_up_at)
{
    struct stream stream = {0, gives_up_at};

    return kiln_value_write(txn, coll, key, strlen(key), size, stream_read, &stream);
}

/* Read in pieces of odd sizes and compare. */
static void
stream_check(kiln_txn *in, const char *key, uint64_t size)
{
    enum { PIECE = 1000003 };
    uint8_t *got = malloc(PIECE), *wanted = malloc(PIECE);
    uint64_t told = 0;
    size_t n = 0;

    OK(kiln_value_size(in, coll, key, strlen(key), &told));
    REQUIRE_EQ(told, size);
    for (uint64_t at = 0; at < size; at += n) {
        OK(kiln_value_read(in, coll, key, strlen(key), at, got, PIECE, &n));
        REQUIRE_EQ(n, size - at < PIECE ? size - at : PIECE);
        piece_fill(wanted, at, n);
        REQUIRE_MEM(got, wanted, n);
    }
    OK(kiln_value_read(in, coll, key, strlen(key), size, got, PIECE, &n));
    CHECK_EQ(n, 0);
    free(got);
    free(wanted);
}

static void
value_given_up_half_way_leaves_key_and_transaction_as_they_were(void)
{
    begin();
    OK(engine_put(txn, coll, "k", "before"));
    STATUS(stream_put("k", 100000, 0), KILN_CANCELED);
    STATUS(stream_put("k", 3000000, 2000000), KILN_CANCELED);
    CHECK_VALUE(txn, coll, "k", "before");
    OK(engine_put(txn, coll, "l", "after"));
    OK(kiln_txn_commit(txn));
    engine_check(db);
    /* The same again from the log. */
    db_abandon(db);
    db = engine_open(disk, 0);
    txn = engine_begin(db, KILN_READ);
    CHECK_VALUE(txn, coll, "k", "before");
    CHECK_VALUE(txn, coll, "l", "after");
    end();
}

static void
refused_key_of_a_bulk_load_leaves_no_pages_behind(void)
{
    static const uint8_t large[20000];
    kiln_bulk *bulk = NULL;

    begin();
    OK(kiln_bulk_begin(txn, coll, &bulk));
    OK(kiln_bulk_add(bulk, "b", 1, large, sizeof large));
    STATUS(kiln_bulk_add(bulk, "a", 1, large, sizeof large), KILN_INVALID);
    STATUS(kiln_bulk_add(bulk, "c", 1, NULL, 1), KILN_INVALID);
    OK(kiln_bulk_add(bulk, "c", 1, large, sizeof large));
    OK(kiln_bulk_end(bulk));
    end();
}

static void
values_around_every_limit_come_back(void)
{
    static const uint32_t around[] = {0,    29,   30,    157,    158,      1024,
                                      4096, 8192, 65536, 524288, 16 << 20, 32 << 20};
    char key[32];

    begin();
    for (unsigned i = 0; i < sizeof around / sizeof around[0]; i++) {
        for (int d = -3; d <= 3; d++) {
            if ((int)around[i] + d < 0)
                continue;
            snprintf(key, sizeof key, "%u", around[i] + d);
            OK(stream_put(key, around[i] + d, UINT64_MAX));
        }
    }
    OK(kiln_txn_commit(txn));
    OK(kiln_checkpoint(db));
    txn = engine_begin(db, KILN_READ);
    for (unsigned i = 0; i < sizeof around / sizeof around[0]; i++) {
        for (int d = -3; d <= 3; d++) {
            if ((int)around[i] + d < 0)
                continue;
            snprintf(key, sizeof key, "%u", around[i] + d);
            stream_check(txn, key, around[i] + d);
        }
    }
    end();
}

static void
value_of_hundreds_of_megabytes_passes_through_a_small_cache(void)
{
    const uint64_t size = (UINT64_C(200) << 20) + 12345;
    uint64_t limit = cache_limit();
    kiln_options options = engine_options(KILN_CREATE | KILN_NO_DIRECT_IO);
    kiln_slice slice;

    OK(kiln_cache_limit(48 << 20));
    options.rfl_segment_bytes = 64 << 20;
    OK(kiln_open(test_path("db"), &options, &db));
    txn = engine_begin(db, KILN_WRITE);
    coll = engine_coll(txn, "c");
    OK(stream_put("large", size, UINT64_MAX));
    stream_check(txn, "large", size);
    OK(kiln_txn_commit(txn));
    txn = engine_begin(db, KILN_READ);
    STATUS(kiln_get(txn, coll, "large", 5, &slice), KILN_TOOBIG);
    stream_check(txn, "large", size);
    kiln_txn_abort(txn);
    db_abandon(db); /* and once more out of the log */
    options.flags = KILN_NO_DIRECT_IO;
    OK(kiln_open(test_path("db"), &options, &db));
    txn = engine_begin(db, KILN_READ);
    stream_check(txn, "large", size);
    kiln_txn_abort(txn);
    engine_check(db);
    OK(kiln_close(db));
    OK(kiln_cache_limit(limit));
}

static void
replacing_and_deleting_large_values_gives_their_space_back(void)
{
    static uint8_t value[100000];
    kiln_stat stat = {.size = sizeof stat};
    uint64_t file_bytes = 0;

    begin();
    for (unsigned round = 0; round < 60; round++) {
        for (unsigned i = 0; i < 20; i++) {
            char key[8];
            snprintf(key, sizeof key, "%u", i);
            if (i % 3 == 0 && round % 2 == 1)
                OK(kiln_delete(txn, coll, key, strlen(key)));
            else
                OK(kiln_put(txn, coll, key, strlen(key), value, sizeof value, 0));
        }
        OK(kiln_txn_commit(txn));
        OK(kiln_checkpoint(db));
        OK(kiln_stat_get(db, &stat));
        if (round == 5)
            file_bytes = stat.file_bytes;
        txn = engine_begin(db, KILN_WRITE);
    }
    CHECK_EQ(stat.file_bytes, file_bytes);
    end();
}

/* ---- damage ---------------------------------------------------------------------------------- */

static char found[1024];

static void
collect(void *context, const char *text)
{
    (void)context;
    snprintf(found, sizeof found, "%s", text);
}

/* Where in the file the value's byte `at` lies. */
static uint64_t
value_find(uint64_t at)
{
    uint8_t want[64], got[64];
    uint64_t bytes = 0;

    REQUIRE(simdisk_size(disk, "/db/data.kdb", &bytes));
    piece_fill(want, 0, sizeof want);
    for (uint64_t page = 0; page < bytes; page += 4096)
        if (simdisk_peek(disk, "/db/data.kdb", page, got, sizeof got) &&
            memcmp(got, want, sizeof want) == 0)
            return page + at;
    REQUIRE(false);
    return 0;
}

static bool
finds_damage(void)
{
    kiln_check_options options = KILN_CHECK_OPTIONS_INIT;

    found[0] = 0;
    options.finding = collect;
    return kiln_check(db, &options) == KILN_CORRUPT && strstr(found, "large value") != NULL;
}

/* However it is read, and however often: CORRUPT, and kiln_check says so before and after. */
static void
expect_damaged(uint64_t size, bool check_first)
{
    uint8_t *bytes = malloc(size);
    kiln_slice value;
    size_t got;

    REQUIRE(bytes != NULL);
    db = engine_open(disk, 0);
    if (check_first)
        CHECK(finds_damage());
    txn = engine_begin(db, KILN_READ);
    coll = 0;
    OK(kiln_coll_open(txn, "c", 0, &coll));
    for (unsigned round = 0; round < 3; round++) {
        STATUS(kiln_get(txn, coll, "k", 1, &value), KILN_CORRUPT);
        STATUS(kiln_value_read(txn, coll, "k", 1, 0, bytes, size, &got), KILN_CORRUPT);
    }
    kiln_txn_abort(txn);
    txn = NULL;
    CHECK(finds_damage());
    db_abandon(db);
    free(bytes);
}

/* Values of one page, with their checksums beside them, behind them, on pages of their own; read
 * with one I/O and with more. */
static void
damaged_values_are_corrupt_every_time(void)
{
    static const uint64_t sizes[] = {3000, 4096, 8000, 8192, 20000, 600000, 3000000};

    for (size_t n = 0; n < sizeof sizes / sizeof sizes[0]; n++) {
        const uint64_t size = sizes[n], sums = (size + 7) & ~UINT64_C(7);
        /* First byte, one in the middle, the last, and a checksum. */
        const uint64_t places[] = {0, size / 2, size - 1, sums + 3};
        begin();
        OK(stream_put("k", size, UINT64_MAX));
        OK(kiln_txn_commit(txn));
        txn = NULL;
        OK(kiln_close(db));
        for (size_t i = 0; i < 4; i++) {
            uint64_t at = value_find(0) + places[i];
            REQUIRE(simdisk_flip(disk, "/db/data.kdb", at, 0x20));
            expect_damaged(size, i % 2 == 0);
            REQUIRE(simdisk_flip(disk, "/db/data.kdb", at, 0x20));
        }
        db = engine_open(disk, 0);
        end();
    }
}

/* Where the bytes are in data.kdb; 0: nowhere. */
static uint64_t
found_at(const uint8_t *bytes, size_t size)
{
    static uint8_t page[4096];
    uint64_t end = 0;

    REQUIRE(simdisk_size(disk, "/db/data.kdb", &end));
    for (uint64_t at = 0; at + sizeof page <= end; at += sizeof page) {
        REQUIRE(simdisk_peek(disk, "/db/data.kdb", at, page, sizeof page));
        if (memcmp(page, bytes, size < sizeof page ? size : sizeof page) == 0)
            return at;
    }
    return 0;
}

/* A value takes the pages of one that is gone, and the device loses its write: what is there is
 * whole, checksums included, and not this value. */
static void
older_value_in_the_same_pages_is_not_the_one_that_is_meant(void)
{
    enum { SIZE = 10000, RUN = 3 * 4096, ROUNDS = 100 };
    static uint8_t value[SIZE], runs[ROUNDS][RUN];
    uint64_t at[ROUNDS];
    unsigned round = 0, before = 0;
    kiln_slice got;

    begin();
    for (;; round++) {
        REQUIRE(round < ROUNDS);
        piece_fill(value, (uint64_t)(round + 2) << 20, SIZE);
        OK(kiln_put(txn, coll, "k", 1, value, SIZE, KILN_PUT_REPLACE));
        OK(kiln_txn_commit(txn));
        OK(kiln_checkpoint(db));
        at[round] = found_at(value, SIZE);
        REQUIRE(at[round] != 0);
        REQUIRE(simdisk_peek(disk, "/db/data.kdb", at[round], runs[round], RUN));
        for (before = 0; at[before] != at[round]; before++)
            continue;
        if (before < round)
            break;
        txn = engine_begin(db, KILN_WRITE);
    }
    db = engine_reopen(disk, db);
    txn = engine_begin(db, KILN_READ);
    OK(kiln_get(txn, coll, "k", 1, &got));
    CHECK(got.size == SIZE && memcmp(got.data, value, SIZE) == 0);
    OK(kiln_txn_commit(txn));
    OK(kiln_close(db));
    REQUIRE(simdisk_poke(disk, "/db/data.kdb", at[before], runs[before], RUN));
    db = engine_open(disk, 0);
    txn = engine_begin(db, KILN_READ);
    STATUS(kiln_get(txn, coll, "k", 1, &got), KILN_CORRUPT);
    kiln_txn_abort(txn);
    txn = NULL;
    OK(kiln_close(db));
    simdisk_free(disk);
}

static void
statistics_count_the_bytes_of_large_values(void)
{
    static const uint8_t value[30000];
    kiln_coll_stat stat = {.size = sizeof stat};

    begin();
    OK(kiln_put(txn, coll, "large", 5, value, sizeof value, 0));
    OK(kiln_put(txn, coll, "small", 5, value, 10, 0));
    OK(kiln_put(txn, coll, "none", 4, NULL, 0, 0));
    OK(kiln_coll_stat_get(txn, coll, &stat));
    CHECK_EQ(stat.keys, 3);
    CHECK_EQ(stat.key_bytes, 14);
    CHECK_EQ(stat.value_bytes, sizeof value + 10);
    CHECK_EQ(stat.large_pages, (sizeof value + 8 * 8 + 4095) / 4096);
    CHECK_EQ(stat.leaf_pages, 1);
    end();
}

TEST_MAIN("engine_values", TEST(value_given_up_half_way_leaves_key_and_transaction_as_they_were),
          TEST(refused_key_of_a_bulk_load_leaves_no_pages_behind),
          TEST(values_around_every_limit_come_back),
          TEST(value_of_hundreds_of_megabytes_passes_through_a_small_cache),
          TEST(replacing_and_deleting_large_values_gives_their_space_back),
          TEST(damaged_values_are_corrupt_every_time),
          TEST(older_value_in_the_same_pages_is_not_the_one_that_is_meant),
          TEST(statistics_count_the_bytes_of_large_values))
