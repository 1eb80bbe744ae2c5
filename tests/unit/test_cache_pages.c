/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_cache_pages.c -- one page's life: new, dirty, written, evicted, read, freed. */
#include "tests/unit/test_cache_fixture.h"

static void
written_pages_come_back(void)
{
    struct fixture f;
    struct cache_write_stats written;

    fixture_open(&f, "data", 1000);
    for (uint64_t id = 10; id < 110; id++)
        fixture_make(&f, id, id * 3, 1);
    CHECK_EQ(cache_dirty_bytes(f.cache), 100 * PAGE_BYTES);
    REQUIRE_OK(cache_write_dirty(f.cache, 1, &written));
    CHECK_EQ(written.pages, 100);
    CHECK_EQ(written.ios, 1);
    CHECK_EQ(cache_dirty_bytes(f.cache), 0);
    CHECK_EQ(f.seals, 100);
    REQUIRE_OK(cache_write_dirty(f.cache, 1, &written));
    CHECK_EQ(written.pages, 0);

    fixture_reopen(&f, "data", 1000);
    for (uint64_t id = 10; id < 110; id++) {
        REQUIRE_OK(cache_fetch(f.cache, id, 0));
        CHECK(page_is(fixture_page(&f, id), id));
        CHECK_EQ(fixture_page(&f, id)->version, id * 3);
        cache_unpin(f.fast, id);
    }
    CHECK_EQ(f.verifies, 100);
    struct cache_stats stats;
    cache_stats(f.cache, &stats);
    CHECK_EQ(stats.misses, 100);
    CHECK_EQ(stats.used_bytes, 100 * PAGE_BYTES);
    fixture_close(&f);
}

static void
pages_that_may_change_are_not_written(void)
{
    struct fixture f;
    struct cache_write_stats written;

    fixture_open(&f, "data", 100);
    for (uint64_t id = 0; id < 30; id++)
        fixture_make(&f, id, 1, id % 3); /* births 0, 1, 2 */
    REQUIRE_OK(cache_write_dirty(f.cache, 1, &written));
    CHECK_EQ(written.pages, 20);
    CHECK_EQ(written.ios, 10); /* runs of two */
    CHECK_EQ(cache_dirty_bytes(f.cache), 10 * PAGE_BYTES);
    REQUIRE_OK(cache_write_dirty(f.cache, 2, &written));
    CHECK_EQ(written.pages, 10);
    CHECK_EQ(cache_dirty_bytes(f.cache), 0);
    fixture_close(&f);
}

static void
freed_pages_are_not_written(void)
{
    struct fixture f;
    struct cache_write_stats written;

    fixture_open(&f, "data", 100);
    for (uint64_t id = 0; id < 20; id++)
        fixture_make(&f, id, 1, 1);
    for (uint64_t id = 0; id < 20; id += 2)
        cache_free(f.cache, id);
    CHECK_EQ(cache_dirty_bytes(f.cache), 10 * PAGE_BYTES);
    fixture_make(&f, 4, 2, 1); /* a new life */
    REQUIRE_OK(cache_write_dirty(f.cache, 1, &written));
    CHECK_EQ(written.pages, 11);
    CHECK_EQ(cache_dirty_bytes(f.cache), 0);
    fixture_reopen(&f, "data", 100);
    REQUIRE_OK(cache_fetch(f.cache, 4, 0));
    CHECK_EQ(fixture_page(&f, 4)->version, 2);
    cache_unpin(f.fast, 4);
    fixture_close(&f);
}

static void
raw_runs_are_neither_sealed_nor_verified(void)
{
    struct fixture f;
    struct cache_write_stats written;
    struct cache_stats stats;

    fixture_open(&f, "data", 2000);
    REQUIRE_OK(cache_reserve(f.cache, 1000));
    REQUIRE_OK(cache_new_run(f.cache, 100, 1000));
    memset(cache_address(f.fast, 100), 0x5a, 1000 * PAGE_BYTES);
    cache_dirty_run(f.cache, 100, 1000);
    REQUIRE_OK(cache_write_dirty(f.cache, 0, &written));
    CHECK_EQ(written.pages, 1000);
    CHECK_EQ(written.ios, 4); /* 1 MiB each */
    CHECK_EQ(f.seals, 0);

    fixture_reopen(&f, "data", 2000);
    REQUIRE_OK(fixture_fetch_run(&f, 100, 1000));
    cache_stats(f.cache, &stats);
    CHECK_EQ(stats.misses, 1000);
    CHECK_EQ(f.verifies, 0);
    CHECK_EQ(cache_address(f.fast, 100)[1000 * PAGE_BYTES - 1], 0x5a);
    cache_unpin_run(f.cache, 100, 1000);
    REQUIRE_OK(fixture_fetch_run(&f, 100, 1000));
    cache_stats(f.cache, &stats);
    CHECK_EQ(stats.misses, 1000);
    cache_unpin_run(f.cache, 100, 1000);
    for (uint64_t id = 100; id < 1100; id++)
        CHECK_EQ(fixture_state(&f, id) / CACHE_PIN_ONE, 0);
    fixture_close(&f);
}

static void
many_are_read_with_few_ios(void)
{
    struct fixture f;
    uint64_t ids[900];
    struct ftk_random random = test_random();
    struct ftk_iobufs_stats io;

    fixture_open(&f, "data", 4000);
    REQUIRE_OK(fixture_load(&f, 0, 2000));
    fixture_reopen(&f, "data", 4000);
    for (size_t i = 0; i < 900; i++)
        ids[i] = i < 300 ? 500 + i : ftk_random_below(&random, 2000);
    REQUIRE_OK(cache_fetch_many(f.cache, ids, 900, 0));
    for (size_t i = 0; i < 900; i++) {
        CHECK_EQ(fixture_state(&f, ids[i]) & CACHE_STATE_MASK, CACHE_RESIDENT);
        CHECK(page_is(fixture_page(&f, ids[i]), ids[i]));
    }
    ftk_iobufs_stats(f.bufs, &io);
    CHECK(io.reads < 600);
    REQUIRE_OK(cache_fetch_many(f.cache, ids, 900, 0));
    fixture_close(&f);
}

static void
prefetched_pages_arrive(void)
{
    struct fixture f;
    uint64_t ids[100];
    struct cache_stats stats;

    fixture_open(&f, "data", 1000);
    REQUIRE_OK(fixture_load(&f, 0, 200));
    fixture_reopen(&f, "data", 1000);
    for (uint64_t i = 0; i < 100; i++)
        ids[i] = i * 2;
    cache_prefetch(f.cache, ids, 100, 0);
    for (uint64_t i = 0; i < 100; i++) {
        REQUIRE_OK(cache_fetch(f.cache, ids[i], 0));
        CHECK(page_is(fixture_page(&f, ids[i]), ids[i]));
        cache_unpin(f.fast, ids[i]);
    }
    cache_stats(f.cache, &stats);
    CHECK_EQ(stats.misses + stats.prefetches, 100);
    CHECK(stats.prefetches > 0);
    fixture_close(&f);
}

static void
impossible_pages_are_corrupt(void)
{
    struct fixture f;
    uint64_t ids[3] = {1, 150, 2};

    fixture_open(&f, "data", 200);
    REQUIRE_OK(fixture_load(&f, 0, 10));
    CHECK_STATUS(cache_fetch(f.cache, 200, 0), FTK_CORRUPT);
    CHECK_HAS(ftk_error_last()->text, "page 200");
    CHECK_STATUS(cache_fetch(f.cache, UINT64_MAX, 0), FTK_CORRUPT);
    CHECK_STATUS(cache_fetch(f.cache, 150, 0), FTK_CORRUPT);
    CHECK_HAS(ftk_error_last()->text, "past the end of the file");
    CHECK_EQ(fixture_state(&f, 150), CACHE_ABSENT);
    for (uint64_t id = 1; id < 3; id++)
        cache_free(f.cache, id);
    CHECK_STATUS(cache_fetch_many(f.cache, ids, 3, 0), FTK_CORRUPT);
    CHECK_STATUS(fixture_fetch_run(&f, 100, 200), FTK_CORRUPT);
    CHECK_STATUS(fixture_fetch_run(&f, 100, 20), FTK_CORRUPT);
    CHECK_HAS(ftk_error_last()->text, "past the end of the file");
    fixture_close(&f);
}

static void
a_page_that_rotted_is_not_shown(void)
{
    struct fixture f;
    uint64_t ids[4] = {3, 5, 7, 9};
    uint8_t *block;

    fixture_open(&f, "data", 200);
    REQUIRE_OK(fixture_load(&f, 0, 10));
    REQUIRE_OK(ftk_alloc_aligned(4096, PAGE_BYTES, (void **)&block));
    REQUIRE_OK(ftk_file_read(f.file, block, PAGE_BYTES, 5 * PAGE_BYTES));
    block[2000] ^= 1;
    REQUIRE_OK(ftk_file_write(f.file, block, PAGE_BYTES, 5 * PAGE_BYTES));
    ftk_free(block);
    fixture_reopen(&f, "data", 200);
    CHECK_STATUS(cache_fetch_many(f.cache, ids, 4, 0), FTK_CORRUPT);
    CHECK_HAS(ftk_error_last()->text, "page 5");
    CHECK_EQ(fixture_state(&f, 5), CACHE_ABSENT);
    CHECK_EQ(fixture_state(&f, 7) & CACHE_STATE_MASK, CACHE_RESIDENT);
    CHECK_STATUS(cache_fetch(f.cache, 5, 0), FTK_CORRUPT);
    struct cache_stats stats;
    cache_stats(f.cache, &stats);
    CHECK_EQ(stats.used_bytes, 3 * PAGE_BYTES);
    fixture_close(&f);
}

TEST_MAIN("cache_pages", TEST(written_pages_come_back), TEST(pages_that_may_change_are_not_written),
          TEST(freed_pages_are_not_written), TEST(raw_runs_are_neither_sealed_nor_verified),
          TEST(many_are_read_with_few_ios), TEST(prefetched_pages_arrive),
          TEST(impossible_pages_are_corrupt), TEST(a_page_that_rotted_is_not_shown))
