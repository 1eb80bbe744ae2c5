/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/crash/test_engine_crash.c -- power cuts and killed processes at every step of a database.
 *
 * A world (tests/support/world.h) works on a simulated disk.  At its I/O steps the disk is cloned
 * and crashed, the clone is opened, and its contents must be exactly those of one committed
 * transaction: none older than the last that was promised (full: survives the power cut; os:
 * survives the process), none that never was, nothing in between; kiln_check finds nothing.  Some
 * survivors are crashed again while they recover, some work on and crash again, generations deep.
 *
 * KILN_CRASH_STATES=n says how many states (make crash); KILN_SEED replays.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ftk/clock.h"
#include "tests/support/world.h"

enum { GENERATIONS = 4, STATES_DEFAULT = 24000 };

struct crasher {
    struct world *world;
    struct ftk_random random;
    uint64_t *left;  /* crashes still to try, shared by all generations */
    uint64_t one_in; /* steps */
    unsigned generation;
    bool recovering; /* the world's database is being opened */
};

static uint64_t states_tried;

static uint64_t
states_wanted(unsigned percent)
{
    const char *text = getenv("KILN_CRASH_STATES");
    uint64_t all = text != NULL ? strtoull(text, NULL, 10) : test_rounds(STATES_DEFAULT);

    return all * percent / 100;
}

/* ---- canaries: a disk or a harness that is wrong on purpose, in a process of its own ---- */

static const struct ftk_disk_ops *honest;

static ftk_status
no_data_sync(struct ftk_file *file)
{
    return strstr(file->path, "data.kdb") != NULL ? FTK_OK : honest->sync(file);
}

static ftk_status
no_log_sync(struct ftk_file *file)
{
    return strstr(file->path, ".rfl") != NULL ? FTK_OK : honest->sync(file);
}

static ftk_status
no_dir_sync(struct ftk_dir *dir)
{
    (void)dir;
    return FTK_OK;
}

static void
canary_hatch(struct crasher *crasher)
{
    static struct ftk_disk_ops ops;
    struct ftk_disk *disk = simdisk_disk(crasher->world->disk);
    const char *canary = getenv("KILN_CANARY");

    if (canary == NULL)
        return;
    honest = disk->ops;
    ops = *honest;
    if (strcmp(canary, "data sync") == 0)
        ops.sync = no_data_sync;
    else if (strcmp(canary, "log sync") == 0)
        ops.sync = no_log_sync;
    else if (strcmp(canary, "dir sync") == 0)
        ops.dir_sync = no_dir_sync;
    else
        crasher->world->os_is_full = true;
    disk->ops = &ops;
}

static int
canary_run(const char *canary)
{
    int status = -1;
    pid_t child = fork();

    if (child == 0) {
        int null = open("/dev/null", O_WRONLY);
        dup2(null, STDOUT_FILENO);
        dup2(null, STDERR_FILENO);
        setenv("KILN_CANARY", canary, 1);
        setenv("KILN_CRASH_STATES", "4000", 1);
        unsetenv("ASAN_OPTIONS");
        execl("/proc/self/exe", "canary", "every_step", (char *)NULL);
        _exit(100);
    }
    if (child > 0)
        (void)waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void
the_harness_notices_a_disk_that_lies(void)
{
    static const char *const canaries[] = {"data sync", "log sync", "dir sync", "promise"};

    if (getenv("KILN_CANARY") != NULL)
        return;
    for (unsigned i = 0; i < 4; i++) {
        int code = canary_run(canaries[i]);
        CHECK_MSG(code == 1, "canary \"%s\": exit code %d", canaries[i], code);
    }
}

/* ---- crashes ---- */

static void crash_hook(void *context, struct simdisk *disk, uint64_t step);

/* Work on, with further crashes, and close properly. */
static void
go_on(struct crasher *crasher)
{
    struct world *world = crasher->world;

    for (unsigned i = 0; i < 6 && *crasher->left > 0; i++)
        world_step(world);
    world_verify(world, world->now, "survivor");
    simdisk_hook(world->disk, NULL, NULL);
    world_close(world);
    world_open(world, 0);
    world_verify(world, world->now, "survivor, reopened");
    world_check(world, "survivor, reopened");
}

/* The state that came back becomes the world's. */
static void
adopt(struct world *world, bool killed, const char *how)
{
    REQUIRE_OK(world_adopt(world, killed ? world->floor_os : world->floor_full, how));
    world_verify(world, world->now, how);
    world->floor_os = world->now->commit;
    if (!killed)
        world->floor_full = world->now->commit; /* it is on the disk */
}

static void
survive(struct crasher *crasher, bool killed, const char *how)
{
    struct world *world = crasher->world;
    ftk_status rc;

    if (crasher->generation <= GENERATIONS &&
        ftk_random_below(&crasher->random, 16) == 0) { /* crash in the recovery */
        crasher->recovering = true;
        simdisk_hook(world->disk, crash_hook, crasher);
    }
    rc = world_try_open(world, KILN_CREATE);
    simdisk_hook(world->disk, NULL, NULL);
    crasher->recovering = false;
    REQUIRE_MSG(rc == FTK_OK, "%s: open: %s: %s", how, ftk_status_text(rc), ftk_error_last()->text);
    adopt(world, killed, how);
    world_check(world, how);
    if (crasher->generation < GENERATIONS && ftk_random_below(&crasher->random, 24) == 0) {
        simdisk_hook(world->disk, crash_hook, crasher);
        go_on(crasher);
    }
    world_abandon(world);
}

/* In another world the power fails, or the process dies, right here. */
static void
crash_hook(void *context, struct simdisk *disk, uint64_t step)
{
    struct crasher *from = context;
    struct world world;
    struct crasher crasher = *from;
    char how[160];
    uint64_t seed;
    bool kill;

    if (*from->left == 0 || ftk_random_below(&from->random, from->one_in) != 0)
        return;
    (*from->left)--;
    states_tried++;
    seed = ftk_random_next(&from->random);
    kill = seed % 8 == 0;
    world_copy(&world, from->world, simdisk_clone(disk, seed), seed);
    if (kill) {
        simdisk_kill(world.disk, seed);
    } else {
        simdisk_crash(world.disk, seed);
        world.floor_os = world.floor_full;
    }
    snprintf(how, sizeof how, "generation %u, step %llu%s, commits %llu..%llu, %s",
             from->generation, (unsigned long long)step,
             from->recovering          ? " of recovery"
             : from->world->committing ? " of a commit"
                                       : "",
             (unsigned long long)world.floor_full,
             (unsigned long long)(world.now->commit + world.committing),
             kill ? "killed" : simdisk_policy_name(simdisk_policy_of(seed)));
    crasher.world = &world;
    crasher.generation++;
    crasher.one_in = 1 + ftk_random_below(&from->random, 12);
    ftk_random_seed(&crasher.random, seed);
    survive(&crasher, kill, how);
    simdisk_free(world.disk);
    world_release(&world);
}

/* One life of a world, crashed at one of `one_in` steps. */
static void
life(struct crasher *crasher, const struct world_options *options, unsigned steps)
{
    struct world world;

    world_init(&world, options);
    world.disk = simdisk_new(&(struct simdisk_options){.seed = options->seed});
    crasher->world = &world;
    canary_hatch(crasher);
    simdisk_hook(world.disk, crash_hook, crasher);
    world_open(&world, KILN_CREATE);
    for (unsigned i = 0; *crasher->left > 0 && i < steps; i++)
        world_step(&world);
    simdisk_hook(world.disk, NULL, NULL);
    world_verify(&world, world.now, "at the end");
    world_check(&world, "at the end");
    world_close(&world);
    simdisk_free(world.disk);
    world_release(&world);
}

static void
crashes(const struct world_options *options, unsigned percent, uint64_t one_in, unsigned steps)
{
    uint64_t left = states_wanted(percent), tried = states_tried, begin = ftk_clock_ns();
    struct crasher crasher = {.left = &left, .one_in = one_in, .random = test_random()};
    double seconds;

    while (left > 0) {
        struct world_options o = *options;
        o.seed = ftk_random_next(&crasher.random);
        life(&crasher, &o, steps);
    }
    seconds = (double)(ftk_clock_ns() - begin) / 1e9;
    printf("    %llu crash states, %.0f/s; %llu in all\n",
           (unsigned long long)(states_tried - tried), (double)(states_tried - tried) / seconds,
           (unsigned long long)states_tried);
}

/* The process dies here; another opens, commits until a promise of `full`; the power fails. */
static void
death_hook(void *context, struct simdisk *disk, uint64_t step)
{
    struct crasher *from = context;
    uint64_t seed = ftk_random_next(&from->random), promised;
    struct world world;
    char how[64];

    snprintf(how, sizeof how, "death at step %llu, then a power cut", (unsigned long long)step);
    world_copy(&world, from->world, simdisk_clone(disk, seed), seed);
    simdisk_kill(world.disk, seed);
    world_open(&world, KILN_CREATE);
    adopt(&world, true, how);
    promised = world.floor_full;
    while (world.floor_full == promised)
        world_transaction(&world);
    world_abandon(&world);
    simdisk_crash_as(world.disk, SIMDISK_NONE, seed);
    world_open(&world, KILN_CREATE);
    adopt(&world, false, how);
    world_check(&world, how);
    world_abandon(&world);
    simdisk_free(world.disk);
    world_release(&world);
}

/* What a process read may not be on the disk yet: who opens makes it so. */
static void
a_death_and_then_a_power_cut(void)
{
    struct crasher crasher = {.random = test_random()};
    struct world world;

    world_init(&world, &(struct world_options){.seed = ftk_random_next(&crasher.random),
                                               .keys = 40,
                                               .value_max = 60,
                                               .ops_max = 3});
    world.disk = simdisk_new(&(struct simdisk_options){.seed = world.options.seed});
    crasher.world = &world;
    simdisk_hook(world.disk, death_hook, &crasher);
    world_open(&world, KILN_CREATE);
    for (unsigned i = 0; i < 12; i++)
        world_step(&world);
    world_checkpoint(&world);
    simdisk_hook(world.disk, NULL, NULL);
    world_close(&world);
    simdisk_free(world.disk);
    world_release(&world);
}

static void
every_step_of_a_small_database(void)
{
    crashes(
        &(struct world_options){
            .keys = 60, .shape = WORLD_KEYS_SHORT, .value_max = 60, .ops_max = 5},
        35, 1, 60);
}

static void
some_steps_of_a_database_with_checkpoints_and_large_values(void)
{
    crashes(&(struct world_options){.keys = 150,
                                    .shape = WORLD_KEYS_WORDS,
                                    .value_max = 400,
                                    .large_max = 30000,
                                    .large_one_in = 15,
                                    .ops_max = 8},
            40, 3, 200);
}

static void
transactions_of_many_log_records(void)
{
    crashes(&(struct world_options){.keys = 100,
                                    .shape = WORLD_KEYS_LONG,
                                    .value_max = 1000,
                                    .large_max = 500000,
                                    .large_one_in = 6,
                                    .ops_max = 12,
                                    .dirty_bytes_max = 4 << 20},
            5, 3, 80);
}

static void
large_pages(void)
{
    crashes(&(struct world_options){.page_bytes = 65536,
                                    .keys = 200,
                                    .shape = WORLD_KEYS_BINARY,
                                    .value_max = 300,
                                    .large_max = 100000,
                                    .large_one_in = 40,
                                    .ops_max = 10},
            10, 2, 150);
}

static void
long_lives(void)
{
    crashes(&(struct world_options){.keys = 100,
                                    .shape = WORLD_KEYS_SHORT,
                                    .value_max = 200,
                                    .large_max = 9000,
                                    .large_one_in = 20,
                                    .ops_max = 6},
            10, 20, 3000);
}

/* What comes back is a checkpoint, and says truly up to where its owner's log is applied. */
static void
a_database_whose_log_is_its_owners(void)
{
    crashes(&(struct world_options){.keys = 120,
                                    .shape = WORLD_KEYS_WORDS,
                                    .value_max = 400,
                                    .large_max = 30000,
                                    .large_one_in = 15,
                                    .ops_max = 8,
                                    .external_log = true},
            10, 2, 150);
}

TEST_MAIN("engine_crash", TEST(the_harness_notices_a_disk_that_lies),
          TEST(a_death_and_then_a_power_cut), TEST(every_step_of_a_small_database),
          TEST(some_steps_of_a_database_with_checkpoints_and_large_values),
          TEST(transactions_of_many_log_records), TEST(large_pages), TEST(long_lives),
          TEST(a_database_whose_log_is_its_owners))
