/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_cache_huge.c -- huge pages: charged by block, given up when memory gets short. */
#include "tests/unit/test_cache_fixture.h"

#define PAGES 65536u /* 256 MiB */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SHADOWED 1
#else
#define SHADOWED 0
#endif

static uint64_t
count_covered(struct fixture *f)
{
    uint64_t count = 0;
    for (uint64_t id = 0; id < PAGES; id++)
        count += (fixture_state(f, id) & CACHE_COVERED) != 0;
    return count;
}

/* used = pages with a charge of their own + whole blocks */
static void
check_account(struct fixture *f)
{
    struct cache_stats stats;
    uint64_t bytes = 0;

    for (uint64_t block = 0; block < PAGES / 512; block++) {
        uint64_t covered = 0;
        for (uint64_t id = block * 512; id < block * 512 + 512; id++) {
            uint32_t state = fixture_state(f, id);
            covered += (state & CACHE_COVERED) != 0;
            if (state != CACHE_ABSENT && (state & CACHE_COVERED) == 0)
                bytes += PAGE_BYTES;
        }
        if (covered > 0)
            bytes += 2 * MIB;
    }
    cache_stats(f->cache, &stats);
    CHECK_EQ(stats.used_bytes, bytes);
}

static void
memory_that_fits_is_charged_by_block(void)
{
    struct fixture f;
    struct cache_stats stats;

    REQUIRE_OK(cache_limit_set(512 * MIB));
    fixture_open(&f, "data", PAGES);
    REQUIRE_OK(fixture_load(&f, 0, 1));
    cache_stats(f.cache, &stats);
    CHECK_EQ(stats.used_bytes, PAGE_BYTES); /* small databases stay small */
    REQUIRE_OK(fixture_load(&f, 20000, 1));
    REQUIRE_OK(fixture_load(&f, 20100, 300));
    cache_stats(f.cache, &stats);
    CHECK_EQ(stats.used_bytes, PAGE_BYTES + 2 * MIB);
    CHECK_EQ(count_covered(&f), 301);
    check_account(&f);
    fixture_close(&f);
}

static void
eviction_breaks_the_blocks(void)
{
    struct fixture f;
    struct ftk_random random = test_random();
    struct cache_stats stats;

    REQUIRE_OK(cache_limit_set(128 * MIB));
    uint64_t before = resident_bytes(), most = 0;
    fixture_open(&f, "data", PAGES);
    REQUIRE_OK(fixture_load(&f, 0, 20000));
    CHECK(count_covered(&f) > 10000);
    check_account(&f);
    for (uint64_t id = 20000; id < 60000; id += 4000) {
        REQUIRE_OK(fixture_load(&f, id, 4000));
        uint64_t now = resident_bytes();
        most = now > most ? now : most;
        cache_stats(f.cache, &stats);
        CHECK(stats.process_bytes <= 128 * MIB);
    }
    for (unsigned i = 0; i < 40000; i++) {
        uint64_t id = ftk_random_below(&random, 60000);
        REQUIRE_OK(cache_fetch(f.cache, id, 0));
        CHECK(page_is(fixture_page(&f, id), id));
        cache_unpin(f.fast, id);
    }
    uint64_t now = resident_bytes();
    most = now > most ? now : most;
    CHECK_MSG(SHADOWED || most < before + 160 * MIB, "resident %llu MiB, before %llu MiB",
              (unsigned long long)(most / MIB), (unsigned long long)(before / MIB));
    CHECK_EQ(count_covered(&f), 0);
    check_account(&f);
    REQUIRE_OK(cache_limit_set(8 * MIB));
    CHECK(SHADOWED || resident_bytes() < before + 24 * MIB);
    check_account(&f);
    fixture_close(&f);
}

static void
pages_far_apart_do_not_exceed_the_limit(void)
{
    struct fixture f;
    struct cache_stats stats;

    REQUIRE_OK(cache_limit_set(128 * MIB));
    uint64_t before = resident_bytes();
    fixture_open(&f, "data", PAGES);
    REQUIRE_OK(cache_reserve(f.cache, PAGES / 300 + 1)); /* as a writer inside an epoch would */
    for (uint64_t id = 0; id < PAGES; id += 300)
        fixture_make(&f, id, 1, 1);
    cache_unreserve(f.cache);
    cache_stats(f.cache, &stats);
    CHECK(stats.process_bytes <= 128 * MIB);
    CHECK(SHADOWED || resident_bytes() < before + 140 * MIB);
    check_account(&f);
    REQUIRE_OK(cache_write_dirty(f.cache, 1, NULL));
    REQUIRE_OK(cache_limit_set(4 * MIB)); /* the gaps go first, all pages may stay */
    check_account(&f);
    CHECK(SHADOWED || resident_bytes() < before + 16 * MIB);
    for (uint64_t id = 0; id < PAGES; id += 300) {
        REQUIRE_OK(cache_fetch(f.cache, id, 0));
        CHECK(page_is(fixture_page(&f, id), id));
        cache_unpin(f.fast, id);
    }
    fixture_close(&f);
}

struct shared {
    struct fixture *f;
    _Atomic uint64_t wrong;
    uint64_t seed;
};

static void
fetch_run(void *context)
{
    struct shared *s = context;
    struct ftk_random random;

    ftk_random_seed(&random, s->seed);
    for (unsigned i = 0; i < 30000; i++) {
        uint64_t id = ftk_random_below(&random, 48000);
        if (cache_fetch(s->f->cache, id, 0) != FTK_OK) {
            atomic_fetch_add(&s->wrong, 1);
            continue;
        }
        if (!page_is(fixture_page(s->f, id), id))
            atomic_fetch_add(&s->wrong, 1);
        cache_unpin(s->f->fast, id);
    }
}

static void
blocks_break_beside_readers(void)
{
    struct fixture f;
    struct ftk_thread threads[3];
    struct shared shared = {.f = &f, .seed = test_seed()};

    REQUIRE_OK(cache_limit_set(256 * MIB));
    fixture_open(&f, "data", PAGES);
    REQUIRE_OK(fixture_load(&f, 0, 48000));
    fixture_reopen(&f, "data", PAGES); /* 188 MiB: it fits */
    for (size_t i = 0; i < 3; i++)
        REQUIRE_OK(ftk_thread_start(&threads[i], "fetch", fetch_run, &shared));
    for (uint64_t mib = 240; mib > 40; mib -= 8) {
        ftk_clock_sleep_ns(3000000);
        CHECK_OK(cache_limit_set(mib * MIB));
    }
    for (size_t i = 0; i < 3; i++)
        ftk_thread_join(&threads[i]);
    CHECK_EQ(shared.wrong, 0);
    check_account(&f);
    fixture_close(&f);
}

TEST_MAIN("cache_huge", TEST(memory_that_fits_is_charged_by_block),
          TEST(eviction_breaks_the_blocks), TEST(pages_far_apart_do_not_exceed_the_limit),
          TEST(blocks_break_beside_readers))
