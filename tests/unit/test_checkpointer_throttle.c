/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_checkpointer_throttle.c -- writers faster than the device are slowed smoothly;
 * writers slower than it are not slowed at all. */
#include <stdlib.h>

#include "cache/checkpointer.h"
#include "tests/support/slowdisk.h"
#include "tests/unit/test_cache_fixture.h"

#define PAGES 32768u     /* 128 MiB, written round and round */
#define COMMIT_PAGES 16u /* 64 KiB */
#define LIMIT (32 * MIB)
#define COMMITS_MAX 20000u

struct engine {
    struct fixture f;
    struct slowdisk *disk;
    struct checkpointer *checkpointer;
    _Atomic uint64_t committed, pinned, durable;
    uint64_t next;
    uint64_t *waits_ns; /* per commit: reserve and throttle */
    uint64_t commits, dirty_most, start_ns;
};

static ftk_status
hook_begin(void *context, bool forced, uint64_t *limit_out, bool *due_out)
{
    struct engine *e = context;

    *limit_out = atomic_load(&e->committed);
    *due_out = forced || *limit_out != atomic_load(&e->durable);
    atomic_store(&e->pinned, *limit_out);
    return FTK_OK;
}

static ftk_status
hook_nothing(void *context)
{
    (void)context;
    return FTK_OK;
}

static ftk_status
hook_header(void *context)
{
    struct engine *e = context;
    atomic_store(&e->durable, atomic_load(&e->pinned));
    return FTK_OK;
}

/* A device of two channels that writes 1 MiB in 20 ms each: about 100 MB/s. */
static void
engine_open(struct engine *e)
{
    struct slowdisk_options slow = {
        .seed = 1, .channels = 2, .discard = true, .levels = {{1.0, 20000000}}};
    struct checkpointer_hooks hooks = {
        .begin = hook_begin, .sync = hook_nothing, .header = hook_header, .context = e};

    memset(e, 0, sizeof *e);
    REQUIRE_OK(cache_limit_set(LIMIT));
    e->disk = slowdisk_new(&slow);
    fixture_open_on(&e->f, slowdisk_disk(e->disk), test_path("data"), PAGES);
    struct checkpointer_options options = {.cache = e->f.cache, .hooks = &hooks, .thread = true};
    REQUIRE_OK(checkpointer_open(&options, &e->checkpointer));
    REQUIRE_OK(FTK_NEW_ARRAY(&e->waits_ns, COMMITS_MAX));
    e->start_ns = ftk_clock_ns();
}

static void
engine_close(struct engine *e)
{
    checkpointer_close(e->checkpointer);
    fixture_close(&e->f);
    slowdisk_free(e->disk);
    ftk_free(e->waits_ns);
}

static void
commit(struct engine *e)
{
    uint64_t version = atomic_load(&e->committed) + 1, start_ns = ftk_clock_ns();

    REQUIRE_OK(cache_reserve(e->f.cache, COMMIT_PAGES));
    uint64_t wait_ns = ftk_clock_ns() - start_ns;
    for (unsigned i = 0; i < COMMIT_PAGES; i++)
        fixture_make(&e->f, (e->next + i) % PAGES, version, version);
    e->next += COMMIT_PAGES;
    atomic_store(&e->committed, version);
    uint64_t dirty = cache_dirty_bytes(e->f.cache);
    e->dirty_most = dirty > e->dirty_most ? dirty : e->dirty_most;
    start_ns = ftk_clock_ns();
    REQUIRE_OK(checkpointer_throttle(e->checkpointer));
    wait_ns += ftk_clock_ns() - start_ns;
    if (e->commits < COMMITS_MAX)
        e->waits_ns[e->commits++] = wait_ns;
}

static int
compare_ns(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

static void
fast_writers_are_slowed_smoothly(void)
{
    struct engine e;
    struct checkpointer_stats stats;
    struct cache_stats cache;

    engine_open(&e);
    while (ftk_clock_ns() - e.start_ns < 2000000000u)
        commit(&e);
    double seconds = (double)(ftk_clock_ns() - e.start_ns) / 1e9;
    double rate = (double)(e.commits * COMMIT_PAGES * PAGE_BYTES) / 1e6 / seconds;
    checkpointer_stats(e.checkpointer, &stats);
    cache_stats(e.f.cache, &cache);
    qsort(e.waits_ns, e.commits, sizeof *e.waits_ns, compare_ns);
    uint64_t median = e.waits_ns[e.commits / 2], p999 = e.waits_ns[e.commits * 999 / 1000];
    uint64_t most = e.waits_ns[e.commits - 1];
    printf("    %llu commits, %.0f MB/s; waits: median %llu us, 99.9 %% %llu us, most %llu us; "
           "dirty at most %llu of %llu KiB; %llu checkpoints\n",
           (unsigned long long)e.commits, rate, (unsigned long long)median / 1000,
           (unsigned long long)p999 / 1000, (unsigned long long)most / 1000,
           (unsigned long long)e.dirty_most / 1024, (unsigned long long)LIMIT / 1024,
           (unsigned long long)stats.checkpoints);
    uint64_t waited_ns = 0;
    for (uint64_t i = 0; i < e.commits; i++)
        waited_ns += e.waits_ns[i];
    bool slow_cpu = (double)waited_ns < seconds * 1e9 / 4; /* it was not the device that limited */
    CHECK(slow_cpu || stats.throttles > 0);
    CHECK(cache.process_bytes <= LIMIT);
    CHECK(e.dirty_most < LIMIT / 100 * 95); /* the hard stop was not met */
    CHECK(slow_cpu || rate > 50);           /* the device was kept busy */
    CHECK(p999 < 200000000);
    engine_close(&e);
}

static void
slow_writers_are_left_alone(void)
{
    struct engine e;
    struct checkpointer_stats stats;

    engine_open(&e);
    for (unsigned i = 0; i < 500; i++) { /* 32 MiB in half a second and more: the device keeps up */
        commit(&e);
        ftk_clock_sleep_ns(1500000);
    }
    checkpointer_stats(e.checkpointer, &stats);
    CHECK(stats.checkpoints >= 1);
    CHECK(stats.throttle_ns < (ftk_clock_ns() - e.start_ns) / 20); /* 0, on a machine at rest */
    engine_close(&e);
}

TEST_MAIN("checkpointer_throttle", TEST(fast_writers_are_slowed_smoothly),
          TEST(slow_writers_are_left_alone))
