/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/test_cache_fork.c -- the child of a fork opens caches of its own, whatever threads of
 * the parent were doing.  On a simulated disk, so that the child starts no threads.
 */
#include <errno.h>
#include <sys/wait.h>

#include "tests/support/simdisk.h"
#include "tests/unit/test_cache_fixture.h"

#define PAGES 4096u
#define LIMIT_PAGES (4 * MIB / PAGE_BYTES)

enum {
    CHILD_SECONDS = 60, /* then it hangs */
    LENT = 16,
};

static struct cache_stats
stats_of(struct fixture *f)
{
    struct cache_stats stats;

    cache_stats(f->cache, &stats);
    return stats;
}

/* 0: a cache opened now works, and the whole limit is its own. */
static int
use_own(void)
{
    struct simdisk *disk = simdisk_new(NULL);
    struct fixture f;
    struct cache_stats stats;

    alarm(CHILD_SECONDS);
    fixture_open_on(&f, simdisk_disk(disk), "own", PAGES);
    stats = stats_of(&f);
    if (stats.used_bytes != 0 || stats.process_bytes != stats.meta_bytes)
        return 1;
    if (cache_reserve(f.cache, LIMIT_PAGES / 8 * 7) != FTK_OK)
        return 2;
    cache_unreserve(f.cache);
    if (cache_lends_too_much() || cache_lend(f.cache, LENT) != LENT)
        return 3;
    cache_lend_end(f.cache, LENT);
    if (fixture_load(&f, 0, 2 * LIMIT_PAGES) != FTK_OK) /* others are evicted for half of them */
        return 4;
    for (uint64_t id = 0; id < 2 * LIMIT_PAGES; id++) {
        if (cache_fetch(f.cache, id, 0) != FTK_OK || !page_is(fixture_page(&f, id), id))
            return 5;
        cache_unpin(f.fast, id);
    }
    if (stats_of(&f).process_bytes > cache_limit() || cache_limit_set(5 * MIB) != FTK_OK)
        return 6;
    fixture_close(&f);
    simdisk_free(disk);
    return 0;
}

static int
use_own_in_grandchild(void)
{
    struct simdisk *disk = simdisk_new(NULL);
    struct fixture f;
    int status = 1;

    alarm(CHILD_SECONDS);
    fixture_open_on(&f, simdisk_disk(disk), "between", PAGES);
    if (cache_reserve(f.cache, LIMIT_PAGES / 2) != FTK_OK)
        return 7;
    pid_t child = fork();
    if (child == 0)
        _exit(use_own());
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
        return 8;
    cache_unreserve(f.cache);
    fixture_close(&f);
    simdisk_free(disk);
    return 0;
}

/* What it exits with, as of waitpid. */
static int
in_child(int (*use)(void))
{
    int status = -1;
    pid_t child = fork(), ended;

    REQUIRE(child >= 0);
    if (child == 0)
        _exit(use());
    do
        ended = waitpid(child, &status, 0);
    while (ended < 0 && errno == EINTR);
    CHECK_EQ(ended, child);
    return status;
}

static void
a_child_has_the_whole_limit(void)
{
    struct fixture f;

    REQUIRE_OK(cache_limit_set(4 * MIB));
    fixture_open(&f, "data", PAGES);
    REQUIRE_OK(cache_reserve(f.cache, LIMIT_PAGES / 2));
    for (uint64_t id = 0; id < LIMIT_PAGES / 2; id++)
        fixture_make(&f, id, 1, 1);
    CHECK_EQ(in_child(use_own), 0);
    CHECK_EQ(stats_of(&f).used_bytes, LIMIT_PAGES / 2 * PAGE_BYTES); /* here nothing has changed */
    CHECK_EQ(in_child(use_own_in_grandchild), 0);
    REQUIRE_OK(cache_write_dirty(f.cache, 1, NULL));
    fixture_close(&f);
}

/* An evictor of the child would wait for it for ever: its thread is not there. */
static void
a_child_waits_for_no_slot_of_its_parent(void)
{
    struct fixture f;
    struct cache_slot *slot;

    REQUIRE_OK(cache_limit_set(4 * MIB));
    fixture_open(&f, "data", PAGES);
    REQUIRE_OK(fixture_load(&f, 0, LIMIT_PAGES / 4 * 3));
    REQUIRE_OK(cache_slot_take(f.cache, &slot));
    cache_enter(f.fast, slot);
    CHECK_EQ(in_child(use_own), 0);
    cache_leave(slot);
    cache_slot_give(slot);
    fixture_close(&f);
}

static void
what_the_parent_has_lent_is_not_lent_in_the_child(void)
{
    struct fixture f;
    uint32_t lent;

    REQUIRE_OK(cache_limit_set(4 * MIB));
    fixture_open(&f, "data", PAGES);
    lent = cache_lend(f.cache, PAGES);
    CHECK(lent > 0);
    CHECK_EQ(in_child(use_own), 0);
    CHECK_EQ(cache_lend(f.cache, 1), 0);
    cache_lend_end(f.cache, lent);
    fixture_close(&f);
}

struct presser {
    struct fixture f;
    _Atomic bool inside, go_on;
};

/* Called with the pool's mutex. */
static void
pressed_and_stays(void *context)
{
    struct presser *presser = context;

    atomic_store(&presser->inside, true);
    while (!atomic_load(&presser->go_on))
        ftk_clock_sleep_ns(100000);
}

static void
press(void *context)
{
    struct presser *presser = context;

    (void)cache_reserve(presser->f.cache, LIMIT_PAGES / 2); /* there is no more */
}

static void
a_child_of_a_fork_amid_an_eviction_does_not_hang(void)
{
    struct presser presser = {0};
    struct ftk_thread thread = {0};
    struct ftk_iobufs_options io = FTK_IOBUFS_OPTIONS_INIT;

    REQUIRE_OK(cache_limit_set(4 * MIB));
    REQUIRE_OK(
        ftk_file_open(ftk_disk_native(), test_path("data"), FTK_OPEN_CREATE, &presser.f.file));
    io.disk = ftk_disk_native();
    REQUIRE_OK(ftk_iobufs_open(&io, &presser.f.bufs));
    struct cache_options options = {.file = presser.f.file,
                                    .bufs = presser.f.bufs,
                                    .page_bytes = PAGE_BYTES,
                                    .pages_want = PAGES,
                                    .pages_need = 1,
                                    .context = &presser,
                                    .pressure = pressed_and_stays};
    REQUIRE_OK(cache_open(&options, &presser.f.cache));
    presser.f.fast = cache_fast(presser.f.cache);
    REQUIRE_OK(cache_reserve(presser.f.cache, LIMIT_PAGES / 8 * 7));
    for (uint64_t id = 0; id < LIMIT_PAGES / 8 * 7; id++)
        fixture_make(&presser.f, id, 1, 1); /* all dirty */
    REQUIRE_OK(ftk_thread_start(&thread, "presser", press, &presser));
    for (unsigned i = 0; i < 100000 && !atomic_load(&presser.inside); i++)
        ftk_clock_sleep_ns(100000);
    CHECK(atomic_load(&presser.inside));
    CHECK_EQ(in_child(use_own), 0);
    atomic_store(&presser.go_on, true);
    REQUIRE_OK(cache_write_dirty(presser.f.cache, 1, NULL));
    ftk_thread_join(&thread);
    cache_unreserve(presser.f.cache);
    fixture_close(&presser.f);
}

TEST_MAIN("cache_fork", TEST(a_child_has_the_whole_limit),
          TEST(a_child_waits_for_no_slot_of_its_parent),
          TEST(what_the_parent_has_lent_is_not_lent_in_the_child),
          TEST(a_child_of_a_fork_amid_an_eviction_does_not_hang))
