/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/sim/test_simulation_invariants.c -- a simulation looks at the rules of every struct, often.
 *
 * With DEBUG=1 each invariant function counts its runs; in the normal build the library looks at
 * nothing, and nothing is counted.  tests/schedules/test_schedules.sh asks the same of the
 * schedules.
 */
#include <stdio.h>

#include "ftk/invariant.h"
#include "tests/support/world.h"

static const struct {
    const char *name;
    uint64_t runs; /* at least, with DEBUG=1 */
} wanted[] = {
    {"page", 10000},        {"space", 200},
    {"transaction", 10000}, {"transaction's pages", 200},
    {"window", 1000},       {"state of a cache page", 20000},
    {"cache", 1},           {"log", 200},
    {"tree", 50000},        {"path", 50000},
};

static void
simulate(uint64_t seed, uint64_t steps)
{
    struct world_options options = {.seed = seed,
                                    .keys = 1000,
                                    .shape = WORLD_KEYS_WORDS,
                                    .value_max = 300,
                                    .large_max = 9000,
                                    .large_one_in = 100,
                                    .ops_max = 20};
    struct world world;

    world_init(&world, &options);
    world.disk = simdisk_new(&(struct simdisk_options){.seed = seed});
    world_open(&world, KILN_CREATE);
    for (uint64_t i = 0; i < steps; i++)
        world_step(&world);
    world_verify(&world, world.now, "at the end");
    world_close(&world);
    simdisk_free(world.disk);
    world_release(&world);
}

static void
every_invariant_is_looked_at(void)
{
    struct ftk_random random = test_random();

    simulate(ftk_random_next(&random), test_rounds(300));
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        uint64_t runs = ftk_invariant_runs(wanted[i].name);
        printf("    %-24s %8llu runs\n", wanted[i].name, (unsigned long long)runs);
#ifdef KILN_DEBUG
        CHECK_MSG(runs >= wanted[i].runs, "%s: looked at %llu times, wanted %llu", wanted[i].name,
                  (unsigned long long)runs, (unsigned long long)wanted[i].runs);
#else
        CHECK_EQ(runs, 0);
#endif
    }
}

TEST_MAIN("simulation_invariants", TEST(every_invariant_is_looked_at))
