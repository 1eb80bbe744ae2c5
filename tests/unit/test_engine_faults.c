/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/test_engine_faults.c -- every allocation and every I/O call fails once.
 *
 * A life of a database (made, worked on, checkpointed, closed, recovered) with the n-th call of a
 * kind failing, for n = 1, 2, 3 ... until none fails.  Nothing may crash, hang or leak; afterwards,
 * without faults, the database opens, has every commit that was acknowledged and none that was
 * refused, and kiln_check finds nothing.
 */
#include <stdio.h>
#include <string.h>

#include "tests/support/world.h"

static struct world_options
options_of(enum world_keys shape)
{
    return (struct world_options){.keys = 80,
                                  .shape = shape,
                                  .value_max = 300,
                                  .large_max = 20000,
                                  .large_one_in = 10,
                                  .ops_max = 10};
}

struct faulty {
    uint64_t seed;
    enum world_keys shape;
    unsigned steps;
};

/* Without faults: what was promised is there, and work goes on. */
static void
aftermath(struct world *world)
{
    ftk_status rc;

    world->lenient = false;
    rc = world_try_open(world, KILN_CREATE);
    REQUIRE_MSG(rc == FTK_OK, "after the fault: %s: %s", ftk_status_text(rc),
                ftk_error_last()->text);
    REQUIRE_OK(world_adopt(world, world->floor_os, "after the fault"));
    world_verify(world, world->now, "after the fault");
    world_check(world, "after the fault");
    for (unsigned i = 0; i < 4; i++)
        world_transaction(world);
    world_verify(world, world->now, "work after the fault");
    world_check(world, "work after the fault");
    world_close(world);
}

static ftk_status
faulty_life(void *context)
{
    struct faulty *faulty = context;
    struct world_options options = options_of(faulty->shape);
    struct world world;
    ftk_status rc;

    options.seed = faulty->seed;
    world_init(&world, &options);
    world.disk = simdisk_new(&(struct simdisk_options){.seed = faulty->seed});
    world.lenient = true;
    rc = world_try_open(&world, KILN_CREATE);
    for (unsigned i = 0; i < faulty->steps && rc == FTK_OK && !world.maybe; i++) {
        if (world.db == NULL) { /* the step closed it */
            rc = world_try_open(&world, 0);
            if (rc == FTK_OK) /* what was lazy may be lost with the log's last flush */
                rc = world_adopt(&world, world.floor_os, "between faults");
        } else if (i == faulty->steps / 2) {
            world_abandon(&world); /* recover from the log */
        } else {
            world_step(&world);
        }
    }
    if (rc == FTK_OK && world.db != NULL && !world.maybe)
        world_close(&world);
    if (rc == FTK_OK)
        rc = world.error;
    ftk_fault_disarm();
    world_abandon(&world);
    aftermath(&world);
    simdisk_free(world.disk);
    world_release(&world);
    return rc;
}

static void
each_fault(enum ftk_fault kind, unsigned lives, unsigned steps)
{
    struct ftk_random random = test_random();
    uint64_t faults = 0;

    for (unsigned i = 0; i < test_rounds(lives); i++) {
        struct faulty faulty = {ftk_random_next(&random), (enum world_keys)(i % 4), steps};
        faults += test_each_fault(kind, faulty_life, &faulty);
    }
    printf("    %llu faults\n", (unsigned long long)faults);
}

static void
each_allocation_can_fail(void)
{
    each_fault(FTK_FAULT_ALLOC, 4, 14);
}

static void
each_read_can_fail(void)
{
    each_fault(FTK_FAULT_READ, 8, 20);
}

static void
each_write_can_fail(void)
{
    each_fault(FTK_FAULT_WRITE, 8, 20);
}

static void
each_sync_can_fail(void)
{
    each_fault(FTK_FAULT_SYNC, 8, 20);
}

TEST_MAIN("engine_faults", TEST(each_allocation_can_fail), TEST(each_read_can_fail),
          TEST(each_write_can_fail), TEST(each_sync_can_fail))
