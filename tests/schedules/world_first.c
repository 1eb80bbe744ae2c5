/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/schedules/world_first.c -- the memory limit of a process that has not used any yet.
 *
 * Who first asks for the limit computes the default; beside that others set one, of which the last
 * holds.  Each schedule is a process of its own, since it happens once in a process.
 */
#include "cache/cache.h"
#include "tests/schedules/schedule_world.h"

enum { ASKING = 2, LIMIT = 32 << 20 };

static void
ask(void *context)
{
    uint64_t *seen = context;

    *seen = cache_limit();
}

static void
set(void *context)
{
    uint64_t *seen = context;

    MUST_OK(cache_limit_set(LIMIT));
    *seen = cache_limit();
}

static void
scenario(struct simdisk *disk, struct ftk_random *random)
{
    uint64_t seen[ASKING + 1] = {0};
    struct ftk_thread threads[ASKING + 1];
    unsigned setter = (unsigned)ftk_random_below(random, ASKING + 1);

    (void)disk;
    ftk_schedule_explore(true);
    for (unsigned i = 0; i <= ASKING; i++)
        MUST_OK(ftk_thread_start(&threads[i], i == setter ? "set" : "ask", i == setter ? set : ask,
                                 &seen[i]));
    for (unsigned i = 0; i <= ASKING; i++)
        ftk_thread_join(&threads[i]);
    ftk_schedule_explore(false);
    for (unsigned i = 0; i <= ASKING; i++)
        MUST(seen[i] == LIMIT || (i != setter && seen[i] >= 64u << 20),
             "thread %u is told %llu bytes", i, (unsigned long long)seen[i]);
    MUST(cache_limit() == LIMIT, "the limit that was set is lost: it is %llu bytes",
         (unsigned long long)cache_limit());
}

SCHEDULE_WORLD(.name = "first", .scenario = scenario, .forks = true)
