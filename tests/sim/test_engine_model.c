/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/sim/test_engine_model.c -- random work on a simulated disk, against a model.
 *
 * One thread, no crash: every result of every call is compared, all of the contents now and then,
 * and kiln_check finds nothing.  KILN_SEED replays, KILN_TEST_SCALE makes it longer.
 */
#include <stdio.h>

#include "tests/support/world.h"

static void
run(const struct world_options *options, unsigned steps)
{
    struct ftk_random random = test_random();
    struct world world;
    struct world_options o = *options;
    char how[64];

    o.seed = ftk_random_next(&random);
    world_init(&world, &o);
    world.disk = simdisk_new(&(struct simdisk_options){.seed = o.seed});
    world_open(&world, KILN_CREATE);
    for (unsigned i = 0; i < steps; i++) {
        world_step(&world);
        if (i % 50 == 49) {
            snprintf(how, sizeof how, "step %u", i);
            world_verify(&world, world.now, how);
            world_check(&world, how);
        }
    }
    world_close(&world);
    world_open(&world, 0);
    world_verify(&world, world.now, "at the end");
    world_check(&world, "at the end");
    world_close(&world);
    printf("    %llu commits, %llu aborts, %llu checkpoints, %llu reopened\n",
           (unsigned long long)world.commits, (unsigned long long)world.aborts,
           (unsigned long long)world.checkpoints, (unsigned long long)world.reopens);
    simdisk_free(world.disk);
    world_release(&world);
}

static void
short_keys_and_small_values(void)
{
    run(
        &(struct world_options){
            .keys = 3000, .shape = WORLD_KEYS_SHORT, .value_max = 100, .ops_max = 20},
        (unsigned)test_rounds(1500));
}

static void
texts_with_shared_prefixes(void)
{
    run(&(struct world_options){.keys = 2000,
                                .shape = WORLD_KEYS_WORDS,
                                .value_max = 300,
                                .large_max = 40000,
                                .large_one_in = 200,
                                .ops_max = 15},
        (unsigned)test_rounds(1200));
}

static void
long_keys_in_small_pages(void)
{
    run(&(struct world_options){.keys = 600,
                                .shape = WORLD_KEYS_LONG,
                                .value_max = 1000,
                                .large_max = 9000,
                                .large_one_in = 50,
                                .ops_max = 15},
        (unsigned)test_rounds(1200));
}

static void
keys_of_zeros_and_ones(void)
{
    run(
        &(struct world_options){
            .keys = 3000, .shape = WORLD_KEYS_BINARY, .value_max = 60, .ops_max = 25},
        (unsigned)test_rounds(1200));
}

static void
large_pages(void)
{
    run(&(struct world_options){.page_bytes = 65536,
                                .keys = 3000,
                                .shape = WORLD_KEYS_WORDS,
                                .value_max = 4000,
                                .large_max = 200000,
                                .large_one_in = 100,
                                .ops_max = 15},
        (unsigned)test_rounds(300));
}

static void
eight_kib_pages_and_long_keys(void)
{
    run(&(struct world_options){.page_bytes = 8192,
                                .keys = 1000,
                                .shape = WORLD_KEYS_LONG,
                                .value_max = 2000,
                                .large_max = 100000,
                                .large_one_in = 30,
                                .ops_max = 15},
        (unsigned)test_rounds(600));
}

/* The cache holds a part of it: pages are evicted, long transactions spill. */
static void
smallest_cache(void)
{
    uint64_t limit = cache_limit();

    OK(kiln_cache_limit(4 << 20));
    run(&(struct world_options){.keys = 8000,
                                .shape = WORLD_KEYS_WORDS,
                                .value_max = 1000,
                                .large_max = 400000,
                                .large_one_in = 60,
                                .ops_max = 60,
                                .dirty_bytes_max = 1 << 20},
        (unsigned)test_rounds(300));
    OK(kiln_cache_limit(limit));
}

TEST_MAIN("engine_model", TEST(short_keys_and_small_values), TEST(texts_with_shared_prefixes),
          TEST(long_keys_in_small_pages), TEST(keys_of_zeros_and_ones), TEST(large_pages),
          TEST(eight_kib_pages_and_long_keys), TEST(smallest_cache))
