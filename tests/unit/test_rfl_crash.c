/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/test_rfl_crash.c -- power cuts and killed processes at every step, against a model.
 *
 * After each: what was committed RFL_FULL is there (RFL_OS too, when only the process died), what
 * was never appended is not, and what is there is a prefix of what was appended, record by record
 * and LSN by LSN.  The survivor goes on appending and crashes again, several generations deep, so
 * that records of lost generations stand behind the end at LSNs that fit.
 */
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/rfl_testing.h"

#define GENERATIONS 4
#define RECORDS_MAX 20000

struct expected {
    uint64_t number;
    uint64_t lsn;
    uint64_t lsn_end;
    uint32_t size;
};

struct world {
    struct simdisk *disk;
    struct expected *records; /* in order; numbers differ between generations */
    size_t count;             /* appended */
    size_t full_count;        /* of them committed RFL_FULL */
    size_t os_count;
    size_t start_count; /* records below lsn_start */
    uint64_t lsn_start;
    uint64_t lsn_released;
    unsigned generation;
    unsigned shape;        /* how sizes are chosen */
    unsigned full_in_1000; /* of all steps, commits RFL_FULL */
    uint64_t segments_raw; /* seen */
    bool fresh;            /* nothing was appended since open */
    struct ftk_random *random;
    unsigned *crashes_left;
    unsigned crash_one_in;
};

/* Bytes up to a multiple of `step`, so that records of all generations begin at the same LSNs. */
static size_t
body_to_boundary(struct world *world, struct rfl_log *log, uint64_t step)
{
    /* The epoch record of an open comes first. */
    uint64_t lsn = rfl_lsn_end(log) + (world->fresh ? 56 : 0) + 36;

    return (size_t)(step - (lsn + 8) % step + 8);
}

static size_t
body_size(struct world *world, struct rfl_log *log)
{
    switch (world->shape) {
    case 0: return body_to_boundary(world, log, 4096);
    case 1: return body_to_boundary(world, log, 512u << ftk_random_below(world->random, 4));
    case 2: return 8 + ftk_random_below(world->random, 600);
    default:
        if (ftk_random_below(world->random, 12) == 0)
            return 100000 + ftk_random_below(world->random, RFL_BODY_MAX - 100000);
        return 8 + ftk_random_below(world->random, 3000);
    }
}

static void crash_hook(void *context, struct simdisk *disk, uint64_t step);

/* Open after a crash (or anew) and compare with the model, which is cut to what survived. */
static struct rfl_log *
open_and_compare(struct world *world, bool create, size_t promised, const char *how)
{
    struct rfl_options options = testing_options(simdisk_disk(world->disk), "/log");
    struct rfl_reader *reader = NULL;
    struct rfl_record record;
    struct rfl_log *log = NULL;
    size_t at = world->start_count;
    ftk_status rc;

    rc = rfl_open(&options, create, world->lsn_start, &log);
    REQUIRE_MSG(rc == FTK_OK, "%s: %s", how, ftk_error_last()->text);
    rc = rfl_reader_open(log, world->lsn_start, &reader);
    REQUIRE_MSG(rc == FTK_OK, "%s: %s", how, ftk_error_last()->text);
    while ((rc = rfl_reader_next(reader, &record)) == FTK_OK) {
        const struct expected *expected = &world->records[at];
        uint64_t number = 0;
        bool same = at < world->count && testing_check(&record, &number) &&
                    number == expected->number && record.lsn == expected->lsn &&
                    record.lsn_end == expected->lsn_end && record.body_size == expected->size;
        REQUIRE_MSG(same, "%s: record %zu of %zu is number %llx at LSN %llu", how, at, world->count,
                    (unsigned long long)number, (unsigned long long)record.lsn);
        at++;
    }
    REQUIRE_MSG(rc == FTK_NOTFOUND, "%s: %s", how, ftk_error_last()->text);
    rfl_reader_close(reader);
    REQUIRE_MSG(at >= promised, "%s: %zu records came back, %zu were promised, %zu appended", how,
                at, promised, world->count);
    world->count = at;
    world->fresh = true;
    return log;
}

/* Append record `number`, in the log and in the model. */
static void
record_append(struct world *world, struct rfl_log *log, uint64_t number, size_t size)
{
    struct expected *expected = &world->records[world->count];

    REQUIRE(world->count < RECORDS_MAX);
    expected->size = (uint32_t)size;
    expected->number = number;
    REQUIRE_OK(testing_append(log, number, expected->size, &expected->lsn_end));
    expected->lsn = expected->lsn_end - ((36 + expected->size + 7) & ~7u);
    world->count++;
    world->fresh = false;
}

static void
step_append(struct world *world, struct rfl_log *log)
{
    uint64_t number = (uint64_t)world->generation << 48 |
                      (ftk_random_next(world->random) & 0xffff) << 32 | world->count;

    record_append(world, log, number, body_size(world, log));
}

static void
step_commit(struct world *world, struct rfl_log *log, enum rfl_durability durability)
{
    size_t back = ftk_random_below(world->random, 4);
    size_t count = world->count > back ? world->count - back : world->count;

    if (count <= world->start_count)
        return;
    REQUIRE_OK(rfl_commit(log, world->records[count - 1].lsn_end, durability));
    if (durability == RFL_FULL && count > world->full_count)
        world->full_count = count;
    if (durability != RFL_LAZY && count > world->os_count)
        world->os_count = count;
}

/* A checkpoint of the owner: everything below is elsewhere, and durable in the log first. */
static void
step_release(struct world *world, struct rfl_log *log)
{
    uint64_t lsn = rfl_lsn_end(log);

    REQUIRE_OK(rfl_commit(log, lsn, RFL_FULL));
    world->full_count = world->count;
    world->os_count = world->count;
    world->start_count = world->count;
    world->lsn_start = lsn;
    REQUIRE_OK(rfl_release(log, lsn));
}

static void
session(struct world *world, struct rfl_log *log, unsigned steps)
{
    simdisk_hook(world->disk, crash_hook, world);
    for (unsigned i = 0; i<steps && * world->crashes_left> 0; i++) {
        uint64_t dice = ftk_random_below(world->random, 1000);
        if (dice < 700)
            step_append(world, log);
        else if (dice < 700 + world->full_in_1000)
            step_commit(world, log, RFL_FULL);
        else if (dice < 930)
            step_commit(world, log, RFL_OS);
        else if (dice < 980)
            step_commit(world, log, RFL_LAZY);
        else
            step_release(world, log);
    }
}

/* In another world the power fails, or the process dies, right here. */
static void
crash_hook(void *context, struct simdisk *disk, uint64_t step)
{
    struct world *from = context;
    struct world world = *from;
    struct rfl_log *log;
    char how[160];
    uint64_t seed;
    bool kill;

    if (*from->crashes_left == 0 || ftk_random_below(from->random, from->crash_one_in) != 0)
        return;
    (*from->crashes_left)--;
    seed = ftk_random_next(from->random);
    kill = seed % 8 == 0;
    world.disk = simdisk_clone(disk, seed);
    if (kill)
        simdisk_kill(world.disk, seed);
    else
        simdisk_crash(world.disk, seed);
    snprintf(how, sizeof how, "generation %u, step %llu, %s", from->generation,
             (unsigned long long)step,
             kill ? "killed" : simdisk_policy_name(simdisk_policy_of(seed)));
    world.records = malloc(RECORDS_MAX * sizeof *world.records);
    memcpy(world.records, from->records, from->count * sizeof *world.records);
    world.generation++;
    log = open_and_compare(&world, true, kill ? world.os_count : world.full_count, how);
    /* What survived a crash is durable only when it is committed again. */
    if (world.full_count > world.count)
        world.full_count = world.count;
    world.os_count = world.count;
    if (world.generation < GENERATIONS) {
        world.crash_one_in *= 2;
        session(&world, log, 60);
    }
    simdisk_hook(world.disk, NULL, NULL);
    REQUIRE_OK(rfl_close(log));
    log = open_and_compare(&world, false, world.count, how);
    REQUIRE_OK(rfl_close(log));
    simdisk_free(world.disk);
    free(world.records);
}

static void
crashes(unsigned shape, unsigned full_in_1000, unsigned count, unsigned crash_one_in)
{
    struct ftk_random random = test_random();
    unsigned crashes_left = (unsigned)test_rounds(count);
    struct world world = {
        .random = &random,
        .shape = shape,
        .full_in_1000 = full_in_1000,
        .crashes_left = &crashes_left,
        .crash_one_in = crash_one_in,
    };

    while (crashes_left > 0) {
        struct rfl_stats stats;
        struct rfl_log *log;

        world.disk = simdisk_new(&(struct simdisk_options){.seed = ftk_random_next(&random)});
        world.records = calloc(RECORDS_MAX, sizeof *world.records);
        world.count = world.full_count = world.os_count = world.start_count = 0;
        world.lsn_start = 0;
        simdisk_hook(world.disk, crash_hook, &world);
        log = open_and_compare(&world, true, 0, "new log");
        session(&world, log, 1500);
        simdisk_hook(world.disk, NULL, NULL);
        rfl_stats(log, &stats);
        world.segments_raw += stats.segments_raw;
        REQUIRE_OK(rfl_close(log));
        log = open_and_compare(&world, false, world.count, "closed");
        REQUIRE_OK(rfl_close(log));
        simdisk_free(world.disk);
        free(world.records);
    }
    CHECK(full_in_1000 >= 100 || world.segments_raw > 0);
}

static void
equal_records_of_lost_generations_do_not_come_back(void)
{
    crashes(0, 150, 1500, 6);
}

static void
records_that_end_with_blocks_survive_crashes(void)
{
    crashes(1, 150, 1500, 6);
}

static void
small_records_survive_crashes(void)
{
    crashes(2, 150, 1000, 6);
}

static void
large_records_and_segment_switches_survive_crashes(void)
{
    crashes(3, 150, 500, 8);
}

static void
large_records_in_raw_segments_survive_crashes(void)
{
    crashes(3, 10, 500, 8);
}

/* ---- a death and then a power cut ------------------------------------------------------------ */

enum { LONG_RECORD = 100000, LONG_RECORDS = 50 };

static void
append_long(struct world *world, struct rfl_log *log, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        record_append(world, log, (uint64_t)world->generation << 48 | world->count, LONG_RECORD);
    REQUIRE_OK(rfl_commit(log, world->records[world->count - 1].lsn_end, RFL_OS));
}

/* Has a name changed, or something been synced, since the last call? */
static bool
is_turn(struct simdisk *disk, uint64_t *before)
{
    uint64_t now = simdisk_count(disk, SIMDISK_NAMES) + simdisk_count(disk, SIMDISK_SYNC) +
                   simdisk_count(disk, SIMDISK_SYNC_DIR);
    bool turn = now != *before;

    *before = now;
    return turn;
}

static uint64_t turn_dying, turn_surviving;

static void
power_cut_hook(void *context, struct simdisk *disk, uint64_t step)
{
    const struct world *from = context;

    if (!is_turn(disk, &turn_surviving))
        return;
    for (unsigned i = 0; i < 3; i++) {
        struct world world = *from;
        uint64_t seed = ftk_random_next(from->random);
        enum simdisk_policy policy = i == 0 ? SIMDISK_NONE : simdisk_policy_of(seed);
        char how[160];

        world.disk = simdisk_clone(disk, seed);
        simdisk_crash_as(world.disk, policy, seed);
        snprintf(how, sizeof how, "step %llu, %s", (unsigned long long)step,
                 simdisk_policy_name(policy));
        REQUIRE_OK(rfl_close(open_and_compare(&world, false, world.full_count, how)));
        simdisk_free(world.disk);
    }
}

static void
death_hook(void *context, struct simdisk *disk, uint64_t step)
{
    const struct world *from = context;
    struct world world = *from;
    struct rfl_log *log;
    char how[160];

    if (!is_turn(disk, &turn_dying))
        return;
    world.disk = simdisk_clone(disk, step);
    simdisk_kill(world.disk, step);
    world.records = malloc(RECORDS_MAX * sizeof *world.records);
    memcpy(world.records, from->records, from->count * sizeof *world.records);
    world.generation++;
    snprintf(how, sizeof how, "step %llu, killed", (unsigned long long)step);
    turn_surviving = 0;
    simdisk_hook(world.disk, power_cut_hook, &world);
    log = open_and_compare(&world, false, world.os_count, how);
    append_long(&world, log, LONG_RECORDS);
    simdisk_hook(world.disk, NULL, NULL);
    REQUIRE_OK(rfl_close(log));
    simdisk_free(world.disk);
    free(world.records);
}

/* What a dead process renamed is there, but perhaps not for good: whoever comes next must not build
 * on it before it is. */
static void
a_death_in_a_release_and_then_a_power_cut(void)
{
    struct ftk_random random = test_random();
    struct world world = {.random = &random};
    struct rfl_log *log;
    uint64_t lsn;

    world.disk = simdisk_new(&(struct simdisk_options){.seed = ftk_random_next(&random)});
    world.records = calloc(RECORDS_MAX, sizeof *world.records);
    log = open_and_compare(&world, true, 0, "new log");
    append_long(&world, log, LONG_RECORDS);
    lsn = rfl_lsn_end(log);
    REQUIRE_OK(rfl_commit(log, lsn, RFL_FULL));
    world.full_count = world.os_count = world.start_count = world.count;
    world.lsn_start = lsn;
    turn_dying = 0;
    simdisk_hook(world.disk, death_hook, &world);
    REQUIRE_OK(rfl_release(log, lsn));
    simdisk_hook(world.disk, NULL, NULL);
    REQUIRE_OK(rfl_close(log));
    simdisk_free(world.disk);
    free(world.records);
}

TEST_MAIN("rfl_crash", TEST(equal_records_of_lost_generations_do_not_come_back),
          TEST(records_that_end_with_blocks_survive_crashes), TEST(small_records_survive_crashes),
          TEST(large_records_and_segment_switches_survive_crashes),
          TEST(large_records_in_raw_segments_survive_crashes),
          TEST(a_death_in_a_release_and_then_a_power_cut))
