/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_cache_limit.c -- the memory limit: strict, shared, changeable; address space. */
#include <sys/resource.h>
#include <sys/wait.h>

#include "tests/unit/test_cache_fixture.h"

#define PAGES 16384u /* 64 MiB */

/* Sanitizers shadow each byte with several of their own, and give none back. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SHADOWED 1
#else
#define SHADOWED 0
#endif

static void
memory_stays_within_the_limit(void)
{
    struct fixture f;
    struct ftk_random random = test_random();
    struct cache_stats stats;

    REQUIRE_OK(cache_limit_set(16 * MIB));
    uint64_t before = resident_bytes(), most = 0;
    fixture_open(&f, "data", PAGES);
    REQUIRE_OK(fixture_load(&f, 0, PAGES));
    for (unsigned i = 0; i < 20000; i++) {
        uint64_t id = ftk_random_below(&random, PAGES);
        REQUIRE_OK(cache_fetch(f.cache, id, 0));
        CHECK(page_is(fixture_page(&f, id), id));
        cache_unpin(f.fast, id);
        if (i % 100 == 0) {
            uint64_t now = resident_bytes();
            most = now > most ? now : most;
            cache_stats(f.cache, &stats);
            CHECK(stats.process_bytes <= 16 * MIB);
        }
    }
    CHECK_MSG(SHADOWED || most < before + 24 * MIB, "resident %llu KiB, before %llu KiB",
              (unsigned long long)most / 1024, (unsigned long long)before / 1024);
    CHECK(stats.evictions > 10000);
    fixture_close(&f);
}

static void
a_lowered_limit_is_reached_at_once(void)
{
    struct fixture f;
    struct cache_stats stats;

    REQUIRE_OK(cache_limit_set(64 * MIB));
    fixture_open(&f, "data", PAGES);
    REQUIRE_OK(fixture_load(&f, 0, 12000));
    uint64_t before = resident_bytes();
    cache_stats(f.cache, &stats);
    CHECK_EQ(stats.used_bytes, 12000 * PAGE_BYTES);
    REQUIRE_OK(cache_limit_set(8 * MIB));
    cache_stats(f.cache, &stats);
    CHECK(stats.process_bytes <= 8 * MIB);
    CHECK(SHADOWED || resident_bytes() + 30 * MIB < before);

    /* Dirty pages go as soon as they are clean. */
    REQUIRE_OK(cache_limit_set(64 * MIB));
    REQUIRE_OK(cache_reserve(f.cache, 8000));
    for (uint64_t id = 0; id < 8000; id++)
        fixture_make(&f, id, 2, 1);
    cache_unreserve(f.cache);
    REQUIRE_OK(cache_limit_set(8 * MIB));
    cache_stats(f.cache, &stats);
    CHECK_EQ(stats.dirty_bytes, 8000 * PAGE_BYTES);
    REQUIRE_OK(cache_write_dirty(f.cache, 1, NULL));
    cache_stats(f.cache, &stats);
    CHECK(stats.process_bytes <= 8 * MIB);
    CHECK_STATUS(cache_limit_set(1 * MIB), FTK_INVALID);
    CHECK_EQ(cache_limit(), 8 * MIB);
    fixture_close(&f);
}

static void
two_caches_share_the_limit(void)
{
    struct fixture a, b;
    struct cache_stats in_a, in_b;

    REQUIRE_OK(cache_limit_set(16 * MIB));
    fixture_open(&a, "a", PAGES);
    fixture_open(&b, "b", PAGES);
    REQUIRE_OK(fixture_load(&a, 0, 6000));
    cache_stats(a.cache, &in_a);
    CHECK(in_a.used_bytes > 15 * MIB);
    REQUIRE_OK(fixture_load(&b, 0, 6000)); /* a is idle and gives way */
    cache_stats(a.cache, &in_a);
    cache_stats(b.cache, &in_b);
    CHECK(in_a.used_bytes + in_b.used_bytes <= 16 * MIB);
    CHECK_EQ(in_a.process_bytes,
             in_a.used_bytes + in_b.used_bytes + in_a.meta_bytes + in_b.meta_bytes);
    CHECK(in_b.used_bytes > 6 * MIB);
    fixture_close(&a);
    cache_stats(b.cache, &in_b);
    CHECK_EQ(in_b.process_bytes, in_b.used_bytes + in_b.meta_bytes);
    fixture_close(&b);
}

static void
pages_in_use_are_kept(void)
{
    struct fixture f;
    struct cache_slot *slot;

    REQUIRE_OK(cache_limit_set(4 * MIB));
    fixture_open(&f, "data", PAGES);
    REQUIRE_OK(fixture_load(&f, 0, 4000));
    for (uint64_t id = 0; id < 200; id++)
        REQUIRE_OK(cache_fetch(f.cache, id, 0));
    for (uint64_t id = 200; id < 4000; id++) {
        REQUIRE_OK(cache_fetch(f.cache, id, 0));
        cache_unpin(f.fast, id);
    }
    REQUIRE_OK(cache_slot_take(f.cache, &slot));
    cache_enter(f.fast, slot);
    for (uint64_t id = 0; id < 200; id++) {
        CHECK(cache_use(f.fast, id));
        CHECK(page_is(fixture_page(&f, id), id));
    }
    cache_leave(slot);
    cache_slot_give(slot);
    cache_unpin_run(f.cache, 0, 200);
    fixture_close(&f);
}

/* Sleeps take no time: what waits for long gives up at once. */
static _Atomic uint64_t fast_ns = 1000;

static uint64_t
fast_monotonic(void *context)
{
    (void)context;
    return atomic_fetch_add(&fast_ns, 100);
}

static void
fast_sleep(void *context, uint64_t ns)
{
    (void)context;
    atomic_fetch_add(&fast_ns, ns);
}

static const struct ftk_clock_ops fast_clock = {fast_monotonic, fast_monotonic, fast_sleep};

static void
pressed(void *context)
{
    struct fixture *f = context;
    atomic_fetch_add(&f->pressed, 1);
}

static void
a_cache_full_of_dirty_pages_says_so(void)
{
    struct fixture f;
    struct cache *other;

    ftk_clock_use(&fast_clock, NULL);
    REQUIRE_OK(cache_limit_set(4 * MIB));
    fixture_open(&f, "data", PAGES);
    struct cache_options options = {.file = f.file,
                                    .bufs = f.bufs,
                                    .page_bytes = PAGE_BYTES,
                                    .pages_want = 2000,
                                    .context = &f,
                                    .pressure = pressed};
    REQUIRE_OK(cache_open(&options, &other));
    CHECK_STATUS(cache_reserve(other, 1025), FTK_NOMEM); /* more than there is */
    REQUIRE_OK(cache_reserve(other, 1000));
    for (uint64_t id = 0; id < 1000; id++) {
        cache_new(other, id);
        memset(cache_address(cache_fast(other), id), 1, PAGE_BYTES);
        cache_dirty(other, cache_fast(other), id);
    }
    CHECK_EQ(f.pressed, 0);
    CHECK_STATUS(cache_reserve(other, 100), FTK_NOMEM);
    CHECK_HAS(ftk_error_last()->text, "dirty or pinned");
    CHECK(f.pressed > 0);
    REQUIRE_OK(ftk_file_allocate(f.file, 0, UINT64_C(2000) * PAGE_BYTES));
    CHECK_STATUS(
        cache_fetch_run(other, &(struct cache_run){.first = 1000, .count = 100, .tail = 1}),
        FTK_NOMEM);
    REQUIRE_OK(cache_write_dirty(other, 0, NULL));
    REQUIRE_OK(cache_reserve(other, 100));
    cache_unreserve(other);
    cache_close(other);
    fixture_close(&f);
    ftk_clock_use(NULL, NULL);
}

/* Nothing is taken by a trial that fails; what one that succeeds takes is there when the limit
 * falls, and what is beyond the need can be given back for others. */
static void
what_cannot_be_had_at_once_is_not_reserved(void)
{
    struct fixture f;
    struct cache_room room;
    struct cache_stats stats;

    ftk_clock_use(&fast_clock, NULL);
    REQUIRE_OK(cache_limit_set(8 * MIB));
    fixture_open(&f, "data", PAGES);
    REQUIRE_OK(fixture_load(&f, 0, 1024));
    CHECK(!cache_try_reserve(f.cache, 2 * 1024 + 1, false)); /* more than there is */
    CHECK(!cache_try_reserve(f.cache, 2 * 1024 + 1, true));
    CHECK(cache_try_reserve(f.cache, 1500, false)); /* evicts */
    CHECK(cache_try_reserve(f.cache, 1500, false)); /* has them */
    REQUIRE_OK(cache_limit_set(4 * MIB));
    cache_stats(f.cache, &stats);
    CHECK(stats.used_bytes >= 1500 * PAGE_BYTES);
    CHECK(cache_try_reserve(f.cache, 1500, false));
    CHECK(!cache_try_reserve(f.cache, 1501, false));
    CHECK(!cache_room_take(f.cache, 1, false, &room));
    cache_reserve_trim(f.cache, 1600); /* no more than it keeps */
    CHECK(!cache_room_take(f.cache, 1, true, &room));
    cache_reserve_trim(f.cache, 500);
    CHECK(cache_room_take(f.cache, 100, false, &room));
    cache_room_give(f.cache, &room);
    REQUIRE_OK(cache_fetch(f.cache, 7, 0));
    cache_unpin(f.fast, 7);
    cache_unreserve(f.cache);
    CHECK(cache_try_reserve(f.cache, 900, false));
    cache_unreserve(f.cache);
    fixture_close(&f);
    ftk_clock_use(NULL, NULL);
}

/* Room for pages was taken; then the limit falls below what is pinned: they are read all the same,
 * in each way, and nothing beside them. */
static void
room_that_was_taken_is_not_lost(void)
{
    enum { FIRST = 1100, ROOM = 64 };
    struct fixture f;
    struct cache_room room;
    uint64_t ids[ROOM / 2];

    ftk_clock_use(&fast_clock, NULL);
    REQUIRE_OK(cache_limit_set(8 * MIB));
    fixture_open(&f, "data", PAGES);
    REQUIRE_OK(fixture_load(&f, 0, 1400));
    fixture_reopen(&f, "data", PAGES);
    for (uint64_t id = 0; id < FIRST; id++)
        REQUIRE_OK(cache_fetch(f.cache, id, 0));
    REQUIRE(cache_room_take(f.cache, ROOM, false, &room));
    REQUIRE_OK(cache_limit_set(4 * MIB));
    CHECK_STATUS(cache_fetch(f.cache, FIRST, 0), FTK_NOMEM);
    REQUIRE_OK(cache_fetch_in(f.cache, FIRST, 0, &room));
    CHECK_EQ(room.pages, ROOM - 1);
    REQUIRE_OK(cache_fetch_in(f.cache, FIRST, 0, &room)); /* it is there: nothing is used */
    CHECK_EQ(room.pages, ROOM - 1);
    for (uint64_t i = 0; i < ROOM / 2; i++)
        ids[i] = FIRST + i * 2;
    REQUIRE_OK(cache_fetch_many_in(f.cache, ids, ROOM / 2, 0, &room));
    CHECK_EQ(room.pages, ROOM / 2);
    struct cache_run run = {.first = 1300, .count = ROOM / 2, .tail = 1, .room = &room};
    REQUIRE_OK(cache_fetch_run(f.cache, &run));
    CHECK_EQ(room.pages, 0);
    run.first = 1340;
    CHECK_STATUS(cache_fetch_run(f.cache, &run), FTK_NOMEM);
    cache_unpin_run(f.cache, 1300, ROOM / 2);
    cache_unpin(f.fast, FIRST);
    cache_unpin(f.fast, FIRST);
    cache_unpin_run(f.cache, 0, FIRST);
    REQUIRE(cache_room_take(f.cache, ROOM, false, &room)); /* by evicting */
    cache_room_give(f.cache, &room);
    CHECK_EQ(room.pages, 0);
    fixture_close(&f);
    ftk_clock_use(NULL, NULL);
}

static void
freed_and_scanned_pages_go_first(void)
{
    struct fixture f;
    struct cache_slot *slot;
    unsigned kept = 0, freed = 0;

    REQUIRE_OK(cache_limit_set(8 * MIB)); /* 2048 pages */
    fixture_open(&f, "data", PAGES);
    REQUIRE_OK(fixture_load(&f, 0, 8000));
    REQUIRE_OK(cache_slot_take(f.cache, &slot));
    for (uint64_t id = 0; id < 1000; id++) { /* the working set */
        REQUIRE_OK(cache_fetch(f.cache, id, 0));
        cache_unpin(f.fast, id);
    }
    for (uint64_t id = 1000; id < 1900; id++) { /* as recent, but freed */
        REQUIRE_OK(cache_fetch(f.cache, id, 0));
        cache_unpin(f.fast, id);
    }
    for (uint64_t id = 1000; id < 1900; id++)
        cache_free(f.cache, id);
    for (uint64_t id = 2000; id < 2800; id++) {
        REQUIRE_OK(cache_fetch(f.cache, id, CACHE_SCAN));
        cache_unpin(f.fast, id);
    }
    for (uint64_t id = 0; id < 1000; id++)
        kept += (fixture_state(&f, id) & CACHE_STATE_MASK) == CACHE_RESIDENT;
    for (uint64_t id = 1000; id < 1900; id++)
        freed += (fixture_state(&f, id) & CACHE_STATE_MASK) == CACHE_ABSENT;
    CHECK_EQ(kept, 1000);
    CHECK(freed > 600);
    cache_slot_give(slot);
    fixture_close(&f);
}

static void
a_scan_leaves_the_working_set(void)
{
    struct fixture f;
    struct cache_slot *slot;
    unsigned kept = 0;

    REQUIRE_OK(cache_limit_set(8 * MIB)); /* 2048 pages */
    fixture_open(&f, "data", PAGES);
    REQUIRE_OK(fixture_load(&f, 0, 12000));
    fixture_reopen(&f, "data", PAGES);
    REQUIRE_OK(cache_slot_take(f.cache, &slot));
    for (uint64_t id = 0; id < 1200; id++) {
        REQUIRE_OK(cache_fetch(f.cache, id, 0));
        cache_unpin(f.fast, id);
    }
    for (uint64_t id = 2000; id < 12000; id++) { /* each page of it is used several times */
        REQUIRE_OK(cache_fetch(f.cache, id, CACHE_SCAN));
        cache_enter(f.fast, slot);
        cache_unpin(f.fast, id);
        for (unsigned i = 0; i < 3; i++)
            CHECK(cache_use(f.fast, id));
        cache_leave(slot);
    }
    for (uint64_t id = 0; id < 1200; id++)
        kept += (fixture_state(&f, id) & CACHE_STATE_MASK) == CACHE_RESIDENT;
    CHECK_EQ(kept, 1200);
    cache_slot_give(slot);
    fixture_close(&f);
}

static void
a_scan_reads_ahead_in_a_full_cache(void)
{
    struct fixture f;
    struct cache_slot *slot;
    struct cache_stats before, after;
    uint64_t ids[32];

    REQUIRE_OK(cache_limit_set(8 * MIB));
    fixture_open(&f, "data", PAGES);
    REQUIRE_OK(fixture_load(&f, 0, 12000));
    REQUIRE_OK(cache_slot_take(f.cache, &slot));
    cache_stats(f.cache, &before);
    for (uint64_t id = 0; id < 8000; id++) {
        if (id % 32 == 0) { /* inside an epoch, as a cursor does: it must not wait for itself */
            for (uint64_t i = 0; i < 32; i++)
                ids[i] = id + 32 + i;
            cache_enter(f.fast, slot);
            cache_prefetch(f.cache, ids, 32, CACHE_SCAN);
            cache_leave(slot);
        }
        REQUIRE_OK(cache_fetch(f.cache, id, CACHE_SCAN));
        CHECK(page_is(fixture_page(&f, id), id));
        cache_unpin(f.fast, id);
    }
    cache_stats(f.cache, &after);
    CHECK_MSG(after.prefetches - before.prefetches > 7000, "%llu read ahead",
              (unsigned long long)(after.prefetches - before.prefetches));
    CHECK(after.process_bytes <= 8 * MIB);
    cache_slot_give(slot);
    fixture_close(&f);
}

/* ---- the limit moves ------------------------------------------------------------------------- */

static _Atomic bool stop;

static void
move_the_limit(void *context)
{
    struct ftk_random *random = context;

    while (!atomic_load(&stop)) {
        /* From one that holds every batch to one that holds none of them. */
        (void)cache_limit_set(ftk_random_below(random, 2) == 0 ? 64 * MIB : 4 * MIB);
        ftk_clock_sleep_ns(200000);
    }
}

/* What was sized for a large cache is asked of a small one: it comes in smaller pieces. */
static void
the_limit_may_fall_under_whoever_asks(void)
{
    struct fixture f;
    struct ftk_random random = test_random();
    struct ftk_thread mover;
    uint64_t ids[600];

    REQUIRE_OK(cache_limit_set(64 * MIB));
    fixture_open(&f, "data", PAGES);
    REQUIRE_OK(fixture_load(&f, 0, 12000));
    atomic_store(&stop, false);
    REQUIRE_OK(ftk_thread_start(&mover, "mover", move_the_limit, &random));
    for (unsigned i = 0; i < test_rounds(60); i++) {
        for (size_t k = 0; k < 600; k++)
            ids[k] = (i * 977u + k * 13u) % 12000;
        REQUIRE_OK(cache_fetch_many(f.cache, ids, 600, 0));
        for (size_t k = 0; k < 600; k += 50) {
            REQUIRE_OK(cache_fetch(f.cache, ids[k], 0));
            CHECK(page_is(fixture_page(&f, ids[k]), ids[k]));
            cache_unpin(f.fast, ids[k]);
        }
        REQUIRE_OK(cache_reserve(f.cache, 700));
        REQUIRE_OK(cache_new_run(f.cache, 13000, 700));
        cache_unreserve(f.cache);
        memset(cache_address(f.fast, 13000), (int)i, 700 * PAGE_BYTES);
        cache_dirty_run(f.cache, 13000, 700);
        REQUIRE_OK(cache_write_dirty(f.cache, 1, NULL)); /* the limit falls in here, too */
        REQUIRE_OK(fixture_fetch_run(&f, 13000, 700));
        CHECK_EQ(*cache_address(f.fast, 13699), (uint8_t)i);
        cache_unpin_run(f.cache, 13000, 700);
        for (uint64_t id = 13000; id < 13700; id++)
            cache_free(f.cache, id);
        REQUIRE_OK(cache_reserve(f.cache, 300));
        cache_unreserve(f.cache);
    }
    atomic_store(&stop, true);
    ftk_thread_join(&mover);
    struct cache_stats stats;
    REQUIRE_OK(cache_limit_set(4 * MIB));
    cache_stats(f.cache, &stats);
    CHECK(stats.process_bytes <= 4 * MIB);
    fixture_close(&f);
    REQUIRE_OK(cache_limit_set(64 * MIB));
}

/* In a child with little address space: the region is halved, or the need is refused. */
static int
child_with_address_limit(void)
{
    struct rlimit limit = {UINT64_C(1) << 30, UINT64_C(1) << 30};
    struct fixture f;
    struct cache *cache;

    fixture_open(&f, "data", 100);
    if (setrlimit(RLIMIT_AS, &limit) != 0)
        return 1;
    struct cache_options options = {.file = f.file,
                                    .bufs = f.bufs,
                                    .page_bytes = PAGE_BYTES,
                                    .pages_want = UINT64_C(1) << 28,
                                    .pages_need = 1000};
    if (cache_open(&options, &cache) != FTK_OK)
        return 2;
    uint64_t pages = cache_fast(cache)->pages_max;
    if (pages < 1000 || pages > 262144)
        return 3;
    cache_new(cache, pages - 1);
    cache_address(cache_fast(cache), pages - 1)[PAGE_BYTES - 1] = 1;
    cache_free(cache, pages - 1);
    void *memory;
    if (ftk_alloc(32 << 20, &memory) != FTK_OK) /* something is left for others */
        return 4;
    cache_close(cache);
    options.pages_need = UINT64_C(1) << 20;
    if (cache_open(&options, &cache) != FTK_NOMEM || cache != NULL)
        return 5;
    if (strstr(ftk_error_last()->text, "address space") == NULL)
        return 6;
    return 0;
}

static void
address_space_may_be_limited(void)
{
#if SHADOWED
    CHECK(true); /* shadow memory takes terabytes of address space: no limit is possible */
    (void)child_with_address_limit;
#else
    int status = 0;
    const char *dir = test_dir();
    CHECK(dir != NULL);
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0)
        _exit(child_with_address_limit());
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status));
    CHECK_EQ(WEXITSTATUS(status), 0);
#endif
}

struct first_use {
    _Atomic unsigned ready;
    ftk_status status;
};

static void
first_use_meet(struct first_use *use)
{
    atomic_fetch_add(&use->ready, 1);
    while (atomic_load(&use->ready) < 2)
        ftk_cpu_relax();
}

static void
first_use_ask(void *context)
{
    first_use_meet(context);
    (void)cache_limit();
}

static void
first_use_set(void *context)
{
    struct first_use *use = context;

    first_use_meet(use);
    use->status = cache_limit_set(8 * MIB);
}

/* 0: the limit is what was set, whoever else asked for the default at that time. */
static int
child_with_first_use(void)
{
    struct first_use use = {.status = FTK_OK};
    struct ftk_thread asks = {0}, sets = {0};

    if (ftk_thread_start(&asks, "asks", first_use_ask, &use) != FTK_OK ||
        ftk_thread_start(&sets, "sets", first_use_set, &use) != FTK_OK)
        return 2;
    ftk_thread_join(&asks);
    ftk_thread_join(&sets);
    return use.status == FTK_OK && cache_limit() == 8 * MIB ? 0 : 1;
}

/* The first test: no limit was set in this process yet, and each child begins like that. */
static void
a_limit_that_is_set_beside_the_first_use_stays(void)
{
    for (int i = 0; i < 200; i++) {
        int status = 0;
        pid_t child = fork();
        REQUIRE(child >= 0);
        if (child == 0)
            _exit(child_with_first_use());
        REQUIRE(waitpid(child, &status, 0) == child);
        CHECK_MSG(WIFEXITED(status) && WEXITSTATUS(status) == 0, "child %d: status %x", i,
                  (unsigned)status);
    }
}

/* New pages that nobody reserved are memory like all others; those of a reserve count once. */
static void
new_pages_are_charged_with_a_reserve_and_without(void)
{
    struct fixture f;
    struct cache_stats stats;

    REQUIRE_OK(cache_limit_set(8 * MIB));
    fixture_open(&f, "data", PAGES);
    for (uint64_t id = 0; id < 100; id++)
        fixture_make(&f, id, 1, 1);
    cache_stats(f.cache, &stats);
    CHECK_EQ(stats.used_bytes, 100 * PAGE_BYTES);
    CHECK_EQ(stats.process_bytes, stats.used_bytes + stats.meta_bytes);
    REQUIRE_OK(cache_reserve(f.cache, 50));
    for (uint64_t id = 100; id < 160; id++) /* more than were reserved */
        fixture_make(&f, id, 1, 1);
    cache_unreserve(f.cache);
    cache_stats(f.cache, &stats);
    CHECK_EQ(stats.used_bytes, 160 * PAGE_BYTES);
    REQUIRE_OK(cache_write_dirty(f.cache, 1, NULL));
    fixture_close(&f);
}

TEST_MAIN("cache_limit", TEST(a_limit_that_is_set_beside_the_first_use_stays),
          TEST(memory_stays_within_the_limit), TEST(a_lowered_limit_is_reached_at_once),
          TEST(two_caches_share_the_limit), TEST(pages_in_use_are_kept),
          TEST(a_cache_full_of_dirty_pages_says_so),
          TEST(what_cannot_be_had_at_once_is_not_reserved), TEST(room_that_was_taken_is_not_lost),
          TEST(freed_and_scanned_pages_go_first), TEST(a_scan_leaves_the_working_set),
          TEST(a_scan_reads_ahead_in_a_full_cache), TEST(the_limit_may_fall_under_whoever_asks),
          TEST(address_space_may_be_limited),
          TEST(new_pages_are_charged_with_a_reserve_and_without))
