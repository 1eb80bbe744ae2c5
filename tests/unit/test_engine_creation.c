/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_engine_creation.c -- power cuts and deaths while a database is made. */
#include "tests/unit/engine_testing.h"

enum { SEEDS = 24 }; /* ways in which the power fails at each step */

struct maker {
    kiln_options options;
    struct ftk_random random;
    uint64_t states;
    bool dies; /* first the process dies, another goes on, and then the power fails */
};

static void
open_and_close(struct maker *maker, struct simdisk *disk, const char *how, uint64_t step)
{
    kiln_db *db = NULL;
    ftk_status rc = engine_try_open(disk, &maker->options, &db);

    REQUIRE_MSG(rc == FTK_OK, "%s at step %llu: %s: %s", how, (unsigned long long)step,
                ftk_status_name(rc), ftk_error_last()->text);
    OK(kiln_close(db));
    maker->states++;
}

static void
power_hook(void *context, struct simdisk *disk, uint64_t step)
{
    struct maker *maker = context;

    for (unsigned i = 0; i < (maker->dies ? 2 : SEEDS); i++) {
        struct simdisk *after = simdisk_clone(disk, step);
        simdisk_crash(after, ftk_random_next(&maker->random));
        open_and_close(maker, after, "a power cut", step);
        simdisk_free(after);
    }
}

static void
death_hook(void *context, struct simdisk *disk, uint64_t step)
{
    struct maker *maker = context;
    struct simdisk *after = simdisk_clone(disk, step);

    simdisk_kill(after, ftk_random_next(&maker->random));
    simdisk_hook(after, power_hook, maker);
    open_and_close(maker, after, "a death", step);
    simdisk_hook(after, NULL, NULL);
    simdisk_free(after);
}

/* Whatever a crash leaves of a new database, it can be made again. */
static void
make_and_crash(const char *rfl_dir, uint32_t flags, bool dies)
{
    struct maker maker = {
        .options = engine_options(KILN_CREATE | flags), .random = test_random(), .dies = dies};
    struct simdisk *disk = simdisk_new(&(struct simdisk_options){.seed = test_seed()});

    maker.options.rfl_dir = rfl_dir;
    REQUIRE_OK(simdisk_disk(disk)->ops->mkdir(simdisk_disk(disk), NULL, "/logs"));
    REQUIRE_OK(test_dir_sync(simdisk_disk(disk), "/"));
    simdisk_hook(disk, dies ? death_hook : power_hook, &maker);
    open_and_close(&maker, disk, "nothing", 0);
    simdisk_hook(disk, NULL, NULL);
    simdisk_free(disk);
    CHECK(maker.states > 100);
}

static void
a_database_with_its_log_inside_can_be_made_again(void)
{
    make_and_crash(NULL, 0, false);
}

static void
a_database_with_its_log_beside_it_can_be_made_again(void)
{
    make_and_crash("/log", 0, false);
}

static void
a_database_with_its_log_far_away_can_be_made_again(void)
{
    make_and_crash("/logs/log", 0, false);
}

static void
a_database_with_a_log_of_the_owners_can_be_made_again(void)
{
    make_and_crash(NULL, KILN_EXTERNAL_LOG, false);
}

static void
what_a_death_left_and_another_went_on_with_can_be_made_again(void)
{
    make_and_crash(NULL, 0, true);
    make_and_crash("/log", 0, true);
    make_and_crash("/logs/log", 0, true);
}

TEST_MAIN("engine_creation", TEST(a_database_with_its_log_inside_can_be_made_again),
          TEST(a_database_with_its_log_beside_it_can_be_made_again),
          TEST(a_database_with_its_log_far_away_can_be_made_again),
          TEST(a_database_with_a_log_of_the_owners_can_be_made_again),
          TEST(what_a_death_left_and_another_went_on_with_can_be_made_again))
