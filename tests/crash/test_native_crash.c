/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/crash/test_native_crash.c -- power cuts and deaths below the operating system's files.
 *
 * The other crash programs run on the simulated disk.  This one runs the library as it is, with
 * ftk/disk_native.c and its asynchronous I/O on real files, records what it asks of the file system
 * (native/recorder.h), and opens what a file system may have kept of that after a crash
 * (native/fs_image.h): all that was promised is there, nothing else is, and it can be worked on
 * (native/workload.h).  Threads make every recording different; a seed replays the workload and the
 * ways of crashing, not the order of ops, so a finding tells the last ops too.
 *
 *   KILN_NATIVE_STATES=n  how many states (make crash-native STATES=n)
 *   KILN_NATIVE_KEEP=dir  an empty directory that gets the state of the first finding
 *   KILN_SEED=n           the seed
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ftk/clock.h"
#include "tests/crash/native/crash_trial.h"
#include "tests/support/test.h"

enum { STATES_DEFAULT = 300, STATES_OF_A_RECORDING = 30, CANARY_STATES_MAX = 3000 };

/* Limits at which nothing happens by itself. */
#define QUIET .rfl_bytes_max = 1 << 30, .dirty_bytes_max = 8 << 20
/* A sync takes up to so many ns while it is recorded: others come between. */
#define QUICK .sync_ns = 20000
#define SLOW .sync_ns = 300000

static const struct workload workloads[] = {
    {.name = "creation",
     .txns = 3,
     .threads = 1,
     .opens = 1,
     .keys = 20,
     .ops_max = 4,
     .value_max = 100,
     .full = 1,
     QUIET,
     QUICK},

    {.name = "full commits and checkpoints",
     .txns = 60,
     .threads = 1,
     .opens = 1,
     .keys = 60,
     .ops_max = 6,
     .value_max = 300,
     .abort_one_in = 8,
     .nest_one_in = 6,
     .checkpoint_one_in = 8,
     .full = 1,
     QUIET,
     QUICK},

    {.name = "segments made, used again, left behind",
     .txns = 90,
     .threads = 2,
     .opens = 1,
     .keys = 20,
     .ops_max = 6,
     .value_max = 60000,
     .abort_one_in = 10,
     .full = 3,
     .os = 1,
     .lazy = 1,
     .rfl_bytes_max = 2 << 20,
     .dirty_bytes_max = 8 << 20,
     QUICK},

    {.name = "deaths in creation",
     .txns = 6,
     .threads = 1,
     .opens = 1,
     .deaths = 3,
     .death_ops = 40,
     .keys = 20,
     .ops_max = 4,
     .value_max = 100,
     .full = 2,
     .os = 1,
     QUIET,
     QUICK},
    {.name = "group commit of mixed durabilities",
     .txns = 120,
     .threads = 4,
     .opens = 1,
     .keys = 40,
     .ops_max = 4,
     .value_max = 200,
     .checkpoint_one_in = 25,
     .abort_one_in = 10,
     .full = 3,
     .os = 1,
     .lazy = 1,
     QUIET,
     SLOW},
    {.name = "large values, bulk, drops",
     .txns = 40,
     .threads = 1,
     .opens = 1,
     .keys = 80,
     .ops_max = 5,
     .value_max = 500,
     .large_max = 100000,
     .large_one_in = 6,
     .drop_one_in = 12,
     .bulk_one_in = 12,
     .nest_one_in = 5,
     .checkpoint_one_in = 6,
     .full = 2,
     .lazy = 1,
     QUIET,
     QUICK},
    {.name = "closed and opened again",
     .txns = 30,
     .threads = 2,
     .opens = 5,
     .keys = 40,
     .ops_max = 4,
     .value_max = 1000,
     .checkpoint_one_in = 10,
     .full = 2,
     .os = 1,
     .lazy = 1,
     QUIET,
     QUICK},
    {.name = "a log in another directory, deaths",
     .txns = 40,
     .threads = 2,
     .opens = 2,
     .deaths = 4,
     .death_ops = 150,
     .keys = 40,
     .ops_max = 4,
     .value_max = 2000,
     .checkpoint_one_in = 10,
     .full = 2,
     .os = 1,
     .log_elsewhere = true,
     QUIET,
     QUICK},
    {.name = "an archive",
     .txns = 100,
     .threads = 1,
     .opens = 2,
     .deaths = 1,
     .death_ops = 400,
     .keys = 20,
     .ops_max = 6,
     .value_max = 60000,
     .full = 1,
     .os = 1,
     .archive = true,
     .rfl_bytes_max = 2 << 20,
     .dirty_bytes_max = 8 << 20,
     QUICK},
    {.name = "through the page cache, large pages",
     .txns = 40,
     .threads = 2,
     .opens = 1,
     .deaths = 1,
     .death_ops = 300,
     .keys = 60,
     .ops_max = 5,
     .value_max = 3000,
     .checkpoint_one_in = 6,
     .full = 1,
     .lazy = 1,
     .page_bytes = 16384,
     .flags = KILN_NO_DIRECT_IO,
     .io_threads = true,
     QUIET,
     QUICK},
    {.name = "transactions larger than the cache",
     .txns = 8,
     .threads = 1,
     .opens = 1,
     .keys = 30,
     .ops_max = 12,
     .value_max = 20000,
     .large_max = 300000,
     .large_one_in = 2,
     .abort_one_in = 3,
     .full = 1,
     .os = 1,
     .cache_bytes = 4 << 20,
     .rfl_bytes_max = 1 << 30,
     .dirty_bytes_max = 1 << 20,
     QUICK},
    {.name = "a log of the program's own",
     .txns = 60,
     .threads = 1,
     .opens = 2,
     .deaths = 1,
     .death_ops = 60,
     .keys = 60,
     .ops_max = 4,
     .value_max = 2000,
     .checkpoint_one_in = 5,
     .lazy = 1,
     .flags = KILN_EXTERNAL_LOG,
     QUIET,
     QUICK},
    {.name = "names in odd forms",
     .txns = 8,
     .threads = 1,
     .opens = 2,
     .deaths = 2,
     .death_ops = 60,
     .keys = 20,
     .ops_max = 4,
     .value_max = 100,
     .full = 2,
     .os = 1,
     .odd_names = true,
     .log_elsewhere = true,
     QUIET,
     QUICK},
    {.name = "a directory that the program made",
     .txns = 4,
     .threads = 1,
     .opens = 1,
     .deaths = 2,
     .death_ops = 60,
     .keys = 20,
     .ops_max = 4,
     .value_max = 100,
     .full = 2,
     .os = 1,
     .odd_names = true,
     .made_before = true,
     QUIET,
     QUICK},
};

/* ---- trials --------------------------------------------------------------------------------- */

static uint64_t
states_wanted(unsigned percent)
{
    const char *text = getenv("KILN_NATIVE_STATES");
    uint64_t all = text != NULL ? strtoull(text, NULL, 10) : test_rounds(STATES_DEFAULT);

    return all * percent / 100 + 1;
}

/* A finding ends the case, with all its words: they are longer than a check's. */
static void
require_good(bool good, const struct trial *trial)
{
    if (!good)
        fprintf(stderr, "\n%s: %s\n", trial->workload->name, trial->verdict->text);
    REQUIRE(good);
}

static void
try_workload(struct trial *trial, const struct workload *workload, uint64_t states,
             struct ftk_random *random)
{
    uint64_t done = 0;

    while (done < states) {
        require_good(trial_record(trial, workload, ftk_random_next(random)), trial);
        for (unsigned i = 0; i < STATES_OF_A_RECORDING && done < states; i++, done++)
            require_good(trial_crash(trial, random, NULL), trial);
    }
}

static const struct workload *
workload_find(const char *name)
{
    for (size_t i = 0; i < sizeof workloads / sizeof workloads[0]; i++) {
        if (strcmp(workloads[i].name, name) == 0)
            return &workloads[i];
    }
    abort();
}

static void
crashes(const char *name, unsigned percent)
{
    struct ftk_random random = test_random();
    uint64_t begin = ftk_clock_ns();
    struct trial trial;

    REQUIRE(trial_open(&trial, test_dir()));
    try_workload(&trial, workload_find(name), states_wanted(percent), &random);
    printf("    %u crash states, %.1f s\n", trial.verdict->states,
           (double)(ftk_clock_ns() - begin) / 1e9);
    trial_close(&trial);
}

static void
a_new_database(void)
{
    crashes("creation", 10);
}

static void
deaths_while_it_is_made(void)
{
    crashes("deaths in creation", 10);
}

static void
full_commits_and_checkpoints(void)
{
    crashes("full commits and checkpoints", 20);
}

static void
segments_come_and_go(void)
{
    crashes("segments made, used again, left behind", 8);
}

static void
group_commits_of_mixed_durabilities(void)
{
    crashes("group commit of mixed durabilities", 10);
}

static void
large_values_bulk_and_drops(void)
{
    crashes("large values, bulk, drops", 8);
}

static void
closed_and_opened_again(void)
{
    crashes("closed and opened again", 6);
}

static void
a_log_elsewhere(void)
{
    crashes("a log in another directory, deaths", 6);
}

static void
an_archive_has_no_hole(void)
{
    crashes("an archive", 5);
}

static void
page_cache_and_threads(void)
{
    crashes("through the page cache, large pages", 5);
}

static void
transactions_larger_than_the_cache(void)
{
    crashes("transactions larger than the cache", 3);
}

static void
a_log_of_the_programs_own(void)
{
    crashes("a log of the program's own", 3);
}

static void
names_in_odd_forms(void)
{
    crashes("names in odd forms", 4);
}

static void
a_directory_that_the_program_made(void)
{
    crashes("a directory that the program made", 3);
}

/* ---- canaries: a disk that says OK to a sync that it did not do ---- */

/* The node's name at an op. */
static const char *
name_at(const struct recording *recording, uint32_t op, uint32_t node)
{
    while (op-- > 0) {
        const struct op *at = &recording->ops[op];
        if (at->node == node && at->kind == OP_RENAME)
            return at->name_to;
        if (at->node == node && (at->kind == OP_CREATE || at->kind == OP_MKDIR))
            return at->name;
    }
    return "";
}

static bool
name_ends(const struct recording *recording, uint32_t op, const char *end)
{
    const char *name = name_at(recording, op, recording->ops[op].node);
    size_t size = strlen(name), end_size = strlen(end);

    return size >= end_size && strcmp(name + size - end_size, end) == 0;
}

/* The data file's sync before the header: the one behind writes of pages. */
static bool
no_sync_of_pages(const struct recording *recording, uint32_t sync)
{
    uint32_t node = recording->ops[sync].node;

    if (!name_ends(recording, sync, "data.kdb"))
        return false;
    for (uint32_t i = sync; i-- > 0;) {
        const struct op *op = &recording->ops[i];
        if (op->node == node && op->kind == OP_WRITE && op->offset >= 65536)
            return true;
        if (op->node == node && op->kind == OP_SYNC)
            return false;
    }
    return false;
}

static bool
no_sync_of_the_log(const struct recording *recording, uint32_t sync)
{
    return name_ends(recording, sync, ".rfl");
}

/* Of the directory that has the database's, and of the database's. */
static bool
no_sync_of_new_names(const struct recording *recording, uint32_t sync)
{
    return recording->ops[sync].node == 0 || name_ends(recording, sync, "db");
}

static bool
no_sync_of_segment_names(const struct recording *recording, uint32_t sync)
{
    bool committed = false;

    for (uint32_t i = 0; i < sync && !committed; i++)
        committed = recording->ops[i].kind == OP_NOTE && recording->ops[i].note == NOTE_FULL;
    return committed && strcmp(name_at(recording, sync, recording->ops[sync].node), "rfl") == 0;
}

static void
canary(const char *name, const char *workload, image_liar liar)
{
    struct ftk_random random = test_random();
    unsigned states = 0;
    bool sings = false;
    struct trial trial;

    REQUIRE(trial_open(&trial, test_dir()));
    while (!sings && states < CANARY_STATES_MAX) {
        require_good(trial_record(&trial, workload_find(workload), ftk_random_next(&random)),
                     &trial);
        for (unsigned i = 0; !sings && i < STATES_OF_A_RECORDING; i++, states++)
            sings = !trial_crash(&trial, &random, liar);
    }
    printf("    %s: noticed after %u states\n", name, states);
    CHECK_MSG(sings, "a disk without its %s: nothing noticed in %u states", name, states);
    trial_close(&trial);
}

static void
a_lost_sync_of_pages_is_noticed(void)
{
    canary("sync of pages before the header", "full commits and checkpoints", no_sync_of_pages);
}

static void
a_lost_sync_of_the_log_is_noticed(void)
{
    canary("sync of the log in a commit", "full commits and checkpoints", no_sync_of_the_log);
}

static void
a_lost_sync_of_new_names_is_noticed(void)
{
    canary("sync of directories after creation", "creation", no_sync_of_new_names);
}

static void
a_lost_sync_of_segment_names_is_noticed(void)
{
    canary("sync of the log's directory", "segments made, used again, left behind",
           no_sync_of_segment_names);
}

TEST_MAIN("native_crash", TEST(a_new_database), TEST(deaths_while_it_is_made),
          TEST(full_commits_and_checkpoints), TEST(segments_come_and_go),
          TEST(group_commits_of_mixed_durabilities), TEST(large_values_bulk_and_drops),
          TEST(closed_and_opened_again), TEST(a_log_elsewhere), TEST(an_archive_has_no_hole),
          TEST(page_cache_and_threads), TEST(transactions_larger_than_the_cache),
          TEST(a_log_of_the_programs_own), TEST(names_in_odd_forms),
          TEST(a_directory_that_the_program_made), TEST(a_lost_sync_of_pages_is_noticed),
          TEST(a_lost_sync_of_the_log_is_noticed), TEST(a_lost_sync_of_new_names_is_noticed),
          TEST(a_lost_sync_of_segment_names_is_noticed))
