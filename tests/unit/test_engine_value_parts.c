/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/test_engine_value_parts.c -- large values take no more of the cache than a part: with
 * the smallest cache they are written, read and replayed, and a piece costs a few pages.
 */
#include <pthread.h>
#include <stdlib.h>

#include "tests/unit/engine_testing.h"

enum { KIB = 1024, MIB = 1024 * KIB };

static struct simdisk *disk;
static uint64_t limit_before;

static kiln_db *
open_with(uint32_t flags, uint32_t page_bytes, uint64_t cache_bytes)
{
    kiln_options options = engine_options(flags);
    kiln_db *db = NULL;

    options.page_bytes = page_bytes;
    options.cache_bytes = cache_bytes;
    REQUIRE_OK(engine_try_open(disk, &options, &db));
    return db;
}

static void
begin(void)
{
    limit_before = cache_limit();
    disk = simdisk_new(NULL);
}

static void
end(kiln_db *db)
{
    engine_end(disk, db);
    OK(kiln_cache_limit(limit_before));
}

/* Bytes that differ from one 64-bit word to the next, and from one seed to the next. */
static void
bytes_fill(uint64_t seed, uint64_t at, uint8_t *to, size_t size)
{
    for (size_t i = 0; i < size; i++, at++)
        to[i] = (uint8_t)(((at / 8 + seed) * UINT64_C(0x9e3779b97f4a7c15)) >> (8 * (at % 8)));
}

struct stream {
    uint64_t seed, at;
};

static int
stream_read(void *context, void *buffer, size_t size)
{
    struct stream *stream = context;

    bytes_fill(stream->seed, stream->at, buffer, size);
    stream->at += size;
    return 0;
}

static kiln_status
value_put(kiln_txn *txn, kiln_coll coll, const char *key, uint64_t size, uint64_t seed)
{
    struct stream stream = {seed, 0};

    return kiln_value_write(txn, coll, key, strlen(key), size, stream_read, &stream);
}

struct range {
    uint64_t from, to;
    size_t piece; /* read so many bytes at a time */
};

static void
value_check(kiln_txn *txn, kiln_coll coll, const char *key, struct range range, uint64_t seed)
{
    size_t piece = range.piece;
    uint8_t *got = malloc(piece), *wanted = malloc(piece);
    size_t n = 0;

    for (uint64_t at = range.from; at < range.to; at += n) {
        size_t size = range.to - at < piece ? (size_t)(range.to - at) : piece;
        OK(kiln_value_read(txn, coll, key, strlen(key), at, got, size, &n));
        REQUIRE_EQ(n, size);
        bytes_fill(seed, at, wanted, n);
        REQUIRE_MEM(got, wanted, n);
    }
    free(got);
    free(wanted);
}

/* Written beside small keys and a savepoint, read in the same transaction, replayed, read again. */
static void
round_trip(uint32_t page_bytes, uint64_t cache_bytes, uint64_t size)
{
    kiln_db *db;
    kiln_txn *txn;
    kiln_coll coll;

    begin();
    db = open_with(KILN_CREATE, page_bytes, cache_bytes);
    txn = engine_begin(db, KILN_WRITE);
    coll = engine_coll(txn, "c");
    OK(engine_series(txn, coll, 0, 500, 100));
    OK(value_put(txn, coll, "large", size, 1));
    OK(kiln_savepoint(txn));
    OK(value_put(txn, coll, "large", size + 1, 2));
    OK(kiln_savepoint_rollback(txn));
    OK(value_put(txn, coll, "other", size / 2 + 77, 3));
    OK(engine_series(txn, coll, 500, 1000, 100));
    value_check(txn, coll, "large", (struct range){0, size, 300000}, 1);
    OK(kiln_txn_commit(txn));
    db_abandon(db);
    db = open_with(0, 0, cache_bytes);
    txn = engine_begin(db, KILN_READ);
    coll = engine_coll(txn, "c");
    value_check(txn, coll, "large", (struct range){0, size, 3000000}, 1);
    value_check(txn, coll, "large", (struct range){size - 5000, size, 7}, 1);
    value_check(txn, coll, "other", (struct range){0, size / 2 + 77, 100000}, 3);
    kiln_txn_abort(txn);
    engine_check(db);
    txn = engine_begin(db, KILN_WRITE);
    OK(value_put(txn, coll, "large", 5, 4));
    OK(kiln_delete(txn, coll, "other", 5));
    OK(kiln_txn_commit(txn));
    end(db);
}

static void
value_larger_than_the_smallest_cache_makes_the_round(void)
{
    round_trip(4 * KIB, 4 * MIB, 20 * MIB + 12345);
    round_trip(4 * KIB, 4 * MIB, 16 * MIB);
}

static void
value_larger_than_the_smallest_cache_makes_the_round_with_any_page_size(void)
{
    round_trip(16 * KIB, 4 * MIB, 17 * MIB + 1);
    round_trip(64 * KIB, 6 * MIB, 33 * MIB + 65535);
}

static uint64_t
misses(kiln_db *db)
{
    struct cache_stats stats;

    cache_stats(db->cache, &stats);
    return stats.misses;
}

static void
piece_of_a_value_costs_a_few_pages(void)
{
    static const uint64_t at[] = {0, 5 * MIB + 100, 16 * MIB - 2000, 16 * MIB, 39 * MIB};
    kiln_db *db;
    kiln_txn *txn;
    kiln_coll coll;

    begin();
    db = open_with(KILN_CREATE, 4 * KIB, 64 * MIB);
    txn = engine_begin(db, KILN_WRITE);
    coll = engine_coll(txn, "c");
    OK(value_put(txn, coll, "large", 40 * MIB, 1));
    OK(kiln_txn_commit(txn));
    OK(kiln_close(db));
    for (unsigned i = 0; i < sizeof at / sizeof at[0]; i++) {
        uint64_t before;
        db = open_with(0, 0, 64 * MIB);
        txn = engine_begin(db, KILN_READ);
        coll = engine_coll(txn, "c");
        CHECK_VALUE(txn, coll, "none", NULL); /* the tree is there */
        before = misses(db);
        value_check(txn, coll, "large", (struct range){at[i], at[i] + 4096, 4096}, 1);
        /* The list, two pages, and at most nine with the checksums of a run; twice at a seam. */
        CHECK_MSG(misses(db) - before <= 1 + 2 * (2 + 9), "%llu pages read for 4096 bytes at %llu",
                  (unsigned long long)(misses(db) - before), (unsigned long long)at[i]);
        before = misses(db);
        value_check(txn, coll, "large", (struct range){at[i], at[i] + 4096, 1000}, 1);
        CHECK_EQ(misses(db) - before, 0);
        kiln_txn_abort(txn);
        OK(kiln_close(db));
    }
    db = open_with(0, 0, 64 * MIB);
    end(db);
}

/* Sizes at which the checksums begin on a page of their own, or the parts end with a page. */
static void
values_at_every_seam_come_back_from_a_small_cache(void)
{
    static const uint32_t seams[] = {4096,  8192,         4096 - 8,  8192 - 16,        12288 - 24,
                                     65536, 65536 + 4096, 256 * KIB, 512 * KIB - 1024, 1 * MIB};
    char key[32];
    kiln_db *db;
    kiln_txn *txn;
    kiln_coll coll;

    begin();
    db = open_with(KILN_CREATE, 4 * KIB, 4 * MIB);
    txn = engine_begin(db, KILN_WRITE);
    coll = engine_coll(txn, "c");
    for (unsigned i = 0; i < sizeof seams / sizeof seams[0]; i++) {
        for (int d = -9; d <= 9; d++) {
            snprintf(key, sizeof key, "%u", seams[i] + d);
            OK(value_put(txn, coll, key, seams[i] + d, seams[i] + d));
        }
    }
    OK(kiln_txn_commit(txn));
    db_abandon(db);
    db = open_with(0, 0, 4 * MIB);
    txn = engine_begin(db, KILN_READ);
    coll = engine_coll(txn, "c");
    for (unsigned i = 0; i < sizeof seams / sizeof seams[0]; i++) {
        for (int d = -9; d <= 9; d++) {
            kiln_slice whole;
            snprintf(key, sizeof key, "%u", seams[i] + d);
            value_check(txn, coll, key, (struct range){0, seams[i] + d, 50001}, seams[i] + d);
            if (seams[i] + d <= 512 * KIB) { /* an eighth of the cache is lent as a whole */
                uint8_t *wanted = malloc(seams[i] + d);
                OK(kiln_get(txn, coll, key, strlen(key), &whole));
                REQUIRE_EQ(whole.size, seams[i] + d);
                bytes_fill(seams[i] + d, 0, wanted, whole.size);
                CHECK_MEM(whole.data, wanted, whole.size);
                free(wanted);
            } else {
                STATUS(kiln_get(txn, coll, key, strlen(key), &whole), KILN_TOOBIG);
            }
        }
    }
    kiln_txn_abort(txn);
    end(db);
}

/* ---- damage ---------------------------------------------------------------------------------- */

enum { DAMAGED_SIZE = 18 * MIB + 100, READ_BYTES = 64 * KIB, READERS = 3 };

/* Where in the file the value's bytes from `at` on are. */
static uint64_t
value_find(uint64_t at)
{
    uint8_t wanted[64], page[4096];
    uint64_t bytes = 0;

    bytes_fill(1, at, wanted, sizeof wanted);
    REQUIRE(simdisk_size(disk, "/db/data.kdb", &bytes));
    for (uint64_t place = 65536; place < bytes; place += sizeof page) {
        REQUIRE(simdisk_peek(disk, "/db/data.kdb", place, page, sizeof page));
        if (memcmp(page, wanted, sizeof wanted) == 0)
            return place;
    }
    REQUIRE(false);
    return 0;
}

struct reader {
    kiln_db *db;
    uint64_t from, to; /* pieces with bytes of these are refused */
    unsigned wrong;
};

/* Each piece of the value is as it was, or refused because of the damage. */
static void *
read_pieces(void *context)
{
    struct reader *reader = context;
    uint8_t *got = malloc(READ_BYTES), *wanted = malloc(READ_BYTES);
    kiln_txn *txn = NULL;
    kiln_coll coll = 0;
    bool ready = kiln_txn_begin(reader->db, KILN_READ, &txn) == KILN_OK &&
                 kiln_coll_open(txn, "c", 0, &coll) == KILN_OK;

    reader->wrong += !ready;
    for (uint64_t at = 0; ready && at < DAMAGED_SIZE; at += READ_BYTES) {
        bool has = reader->from < at + READ_BYTES && at < reader->to;
        size_t n = 0;
        kiln_status rc = kiln_value_read(txn, coll, "k", 1, at, got, READ_BYTES, &n);
        bytes_fill(1, at, wanted, n);
        reader->wrong += rc != (has ? KILN_CORRUPT : KILN_OK) || memcmp(got, wanted, n) != 0;
    }
    kiln_txn_abort(txn);
    free(got);
    free(wanted);
    return NULL;
}

static void
expect_damage_at(uint64_t place, uint64_t from, uint64_t to)
{
    kiln_check_options check = KILN_CHECK_OPTIONS_INIT;
    struct reader readers[READERS];
    pthread_t threads[READERS];
    kiln_db *db;

    REQUIRE(simdisk_flip(disk, "/db/data.kdb", place, 0x10));
    db = open_with(KILN_OPEN_READONLY, 0, 4 * MIB);
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < READERS; i++) {
            readers[i] = (struct reader){db, from, to, 0};
            REQUIRE(pthread_create(&threads[i], NULL, read_pieces, &readers[i]) == 0);
        }
        for (unsigned i = 0; i < READERS; i++) {
            pthread_join(threads[i], NULL);
            CHECK_MSG(readers[i].wrong == 0, "bytes %llu to %llu: %u pieces are wrong",
                      (unsigned long long)from, (unsigned long long)to, readers[i].wrong);
        }
        STATUS(kiln_check(db, &check), KILN_CORRUPT);
    }
    db_abandon(db);
    REQUIRE(simdisk_flip(disk, "/db/data.kdb", place, 0x10));
}

static void
damaged_page_of_a_value_is_refused_to_every_thread_and_no_other_page_is(void)
{
    static const uint64_t damaged[] = {0, 4095, 9 * MIB + 77, 16 * MIB - 1, 16 * MIB};
    uint8_t ids[12];
    kiln_db *db;
    kiln_txn *txn;
    kiln_coll coll;
    uint64_t list = 0, bytes = 0;

    begin();
    db = open_with(KILN_CREATE, 4 * KIB, 64 * MIB);
    txn = engine_begin(db, KILN_WRITE);
    coll = engine_coll(txn, "c");
    OK(value_put(txn, coll, "k", DAMAGED_SIZE, 1));
    OK(kiln_txn_commit(txn));
    OK(kiln_close(db));
    for (unsigned i = 0; i < sizeof damaged / sizeof damaged[0]; i++) {
        uint64_t page = damaged[i] / 4096 * 4096;
        expect_damage_at(value_find(page) + damaged[i] - page, page, page + 4096);
    }
    /* The last page has checksums, too: nothing can be said of its run without it. */
    expect_damage_at(value_find(DAMAGED_SIZE / 4096 * 4096) + 9, 16 * MIB, DAMAGED_SIZE);
    /* The list of the two runs. */
    page_put_le48(ids, value_find(0) / 4096);
    page_put_le48(ids + 6, value_find(16 * MIB) / 4096);
    REQUIRE(simdisk_size(disk, "/db/data.kdb", &bytes));
    for (uint64_t place = 65536; place < bytes && list == 0; place += 4096) {
        uint8_t found[12];
        REQUIRE(simdisk_peek(disk, "/db/data.kdb", place, found, sizeof found));
        if (memcmp(found, ids, sizeof ids) == 0)
            list = place;
    }
    REQUIRE(list != 0);
    expect_damage_at(list + 8, 0, DAMAGED_SIZE);
    db = open_with(0, 0, 64 * MIB);
    end(db);
}

TEST_MAIN("engine_value_parts", TEST(value_larger_than_the_smallest_cache_makes_the_round),
          TEST(value_larger_than_the_smallest_cache_makes_the_round_with_any_page_size),
          TEST(piece_of_a_value_costs_a_few_pages),
          TEST(values_at_every_seam_come_back_from_a_small_cache),
          TEST(damaged_page_of_a_value_is_refused_to_every_thread_and_no_other_page_is))
