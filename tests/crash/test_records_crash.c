/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/crash/test_records_crash.c -- records and indexes under power cuts and killed processes.
 *
 * Transactions add, change and delete records, define and drop an index.  Record 1 counts the
 * commits.  At steps of the simulated disk it is cloned and crashed; the clone is opened, and its
 * records must be exactly those of one commit, none older than the last that was promised, with
 * indexes that agree (kiln_check).
 *
 * KILN_CRASH_STATES=n: a tenth of n states are tried (make crash); KILN_SEED replays.
 */
#include <stdio.h>
#include <stdlib.h>

#include "tests/support/record_testing.h"

#include "tests/unit/engine_testing.h"

enum {
    IDS = 48, /* records 2 to IDS + 1 come and go */
    COMMITS_MAX = 160,
    STATES_DEFAULT = 24000,
};

struct world {
    struct simdisk *disk;
    kiln_db *db;
    struct people people;
    struct ftk_random random;
    uint16_t states[COMMITS_MAX + 1][IDS]; /* by commit: version of each record, 0: none */
    uint32_t commit;                       /* the last that returned */
    uint32_t floor_full, floor_os;         /* the last that is promised */
    bool committing;
    uint64_t left; /* crashes */
    uint64_t one_in;
};

static uint64_t states_tried;

/* ---- records --------------------------------------------------------------------------------- */

/* What a version of a record looks like; few names, so that entries of the index are neighbours. */
static void
person_of(kiln_record *record, const struct people *people, uint32_t id, uint16_t version)
{
    char first[16], last[16];

    snprintf(first, sizeof first, "f%u", (id + version * 7u) % 5);
    snprintf(last, sizeof last, "l%u", (id * 3u + version) % 7);
    person_fill(record, people, version % 4 == 0 ? NULL : first, last, version);
}

static void
records_check_are(const struct world *world, kiln_txn *txn, const uint16_t *versions,
                  const char *how)
{
    kiln_record *record, *expected;
    kiln_item got, wanted;

    OK(kiln_record_new(&record));
    OK(kiln_record_new(&expected));
    for (uint32_t i = 0; i < IDS; i++) {
        kiln_status rc = kiln_record_get(txn, world->people.container, i + 2, record);
        REQUIRE_MSG(rc == (versions[i] == 0 ? KILN_NOTFOUND : KILN_OK), "%s: record %u: %s", how,
                    i + 2, kiln_status_text(rc));
        if (rc != KILN_OK)
            continue;
        person_of(expected, &world->people, i, versions[i]);
        OK(kiln_record_find(record, world->people.age, 0, &got));
        OK(kiln_record_find(expected, world->people.age, 0, &wanted));
        REQUIRE_MSG(got.integer == wanted.integer, "%s: record %u has version %lld, not %u", how,
                    i + 2, (long long)got.integer, versions[i]);
        OK(kiln_record_find(record, world->people.last, 0, &got));
        OK(kiln_record_find(expected, world->people.last, 0, &wanted));
        REQUIRE_EQ(got.data.size, wanted.data.size);
        REQUIRE_MEM(got.data.data, wanted.data.data, wanted.data.size);
    }
    kiln_record_free(record);
    kiln_record_free(expected);
}

/* The commit that the database holds. */
static uint32_t
commit_of(const struct world *world, kiln_txn *txn)
{
    kiln_record *record;
    kiln_item item;

    OK(kiln_record_new(&record));
    OK(kiln_record_get(txn, world->people.container, 1, record));
    OK(kiln_record_find(record, world->people.age, 0, &item));
    kiln_record_free(record);
    return (uint32_t)item.integer;
}

/* ---- transactions ---------------------------------------------------------------------------- */

static void
age_index_toggle(struct world *world, kiln_txn *txn)
{
    kiln_index index;

    if (kiln_index_find(txn, "by_age", &index) == KILN_OK)
        OK(kiln_index_drop(txn, index));
    else
        (void)index_on(txn, "by_age", world->people.container, &world->people.age, 1, 0);
}

static void
change_one(struct world *world, kiln_txn *txn, kiln_record *record, uint16_t *versions)
{
    uint32_t i = (uint32_t)ftk_random_below(&world->random, IDS);
    uint64_t id = i + 2;

    if (versions[i] != 0 && ftk_random_below(&world->random, 3) == 0) {
        OK(kiln_record_delete(txn, world->people.container, id));
        versions[i] = 0;
        return;
    }
    if (versions[i] == 0) {
        versions[i] = (uint16_t)(1 + ftk_random_below(&world->random, 1000));
        person_of(record, &world->people, i, versions[i]);
        OK(kiln_record_add(txn, world->people.container, record, &id));
    } else {
        versions[i]++;
        person_of(record, &world->people, i, versions[i]);
        OK(kiln_record_update(txn, world->people.container, id, record));
    }
}

static void
transaction(struct world *world)
{
    static const kiln_durability promises[] = {KILN_FULL, KILN_OS, KILN_LAZY};
    kiln_txn_options options = KILN_TXN_OPTIONS_INIT;
    uint16_t *versions = world->states[world->commit + 1];
    uint64_t changes = ftk_random_below(&world->random, 12);
    kiln_txn *txn;
    kiln_record *record;

    options.kind = KILN_WRITE;
    options.durability = promises[ftk_random_below(&world->random, 3)];
    OK(kiln_txn_begin_with(world->db, &options, &txn));
    OK(kiln_record_new(&record));
    memcpy(versions, world->states[world->commit], sizeof world->states[0]);
    person_fill(record, &world->people, "count", "commits", world->commit + 1);
    OK(kiln_record_update(txn, world->people.container, 1, record));
    if (ftk_random_below(&world->random, 10) == 0)
        age_index_toggle(world, txn);
    for (uint64_t i = 0; i < changes; i++)
        change_one(world, txn, record, versions);
    kiln_record_free(record);
    world->committing = true;
    OK(kiln_txn_commit(txn));
    world->committing = false;
    world->commit++;
    if (options.durability != KILN_LAZY)
        world->floor_os = world->commit;
    if (options.durability == KILN_FULL)
        world->floor_full = world->commit;
    if (ftk_random_below(&world->random, 12) == 0)
        OK(kiln_checkpoint(world->db));
}

/* ---- crashes --------------------------------------------------------------------------------- */

static void
finding_note(void *context, const char *text)
{
    CHECK_MSG(false, "%s: kiln_check: %s", (const char *)context, text);
}

static void
survivor_check(const struct world *world, struct simdisk *disk, uint32_t floor, char *how)
{
    kiln_check_options options = KILN_CHECK_OPTIONS_INIT;
    kiln_options opening = engine_options(0);
    uint32_t commit;
    kiln_db *db;
    kiln_txn *txn;
    ftk_status rc = engine_try_open(disk, &opening, &db);

    REQUIRE_MSG(rc == FTK_OK, "%s: open: %s", how, ftk_error_last()->text);
    OK(kiln_txn_begin(db, KILN_READ, &txn));
    commit = commit_of(world, txn);
    REQUIRE_MSG(commit >= floor && commit <= world->commit + world->committing,
                "%s: commit %u came back", how, commit);
    records_check_are(world, txn, world->states[commit], how);
    kiln_txn_abort(txn);
    options.finding = finding_note;
    options.context = how;
    OK(kiln_check(db, &options));
    db_abandon(db);
}

static void
crash_hook(void *context, struct simdisk *disk, uint64_t step)
{
    struct world *world = context;
    struct simdisk *clone;
    char how[160];
    uint64_t seed;
    bool kill;

    if (world->left == 0 || ftk_random_below(&world->random, world->one_in) != 0)
        return;
    world->left--;
    states_tried++;
    seed = ftk_random_next(&world->random);
    kill = seed % 8 == 0;
    clone = simdisk_clone(disk, seed);
    if (kill)
        simdisk_kill(clone, seed);
    else
        simdisk_crash(clone, seed);
    snprintf(how, sizeof how, "step %llu%s, commits %u..%u, %s", (unsigned long long)step,
             world->committing ? " of a commit" : "", kill ? world->floor_os : world->floor_full,
             world->commit + world->committing,
             kill ? "killed" : simdisk_policy_name(simdisk_policy_of(seed)));
    survivor_check(world, clone, kill ? world->floor_os : world->floor_full, how);
    simdisk_free(clone);
}

/* A database with its dictionary and record 1: commit 0. */
static void
world_begin(struct world *world)
{
    kiln_record *record;
    kiln_txn *txn;
    uint64_t id = 1;

    world->disk = simdisk_new(&(struct simdisk_options){.seed = ftk_random_next(&world->random)});
    world->db = engine_open(world->disk, KILN_CREATE);
    txn = engine_begin(world->db, KILN_WRITE);
    world->people = people_define(txn);
    OK(kiln_record_new(&record));
    person_fill(record, &world->people, "count", "commits", 0);
    OK(kiln_record_add(txn, world->people.container, record, &id));
    kiln_record_free(record);
    OK(kiln_txn_commit(txn));
    memset(world->states, 0, sizeof world->states);
    world->commit = world->floor_full = world->floor_os = 0;
    simdisk_hook(world->disk, crash_hook, world);
}

static void
world_end(struct world *world)
{
    char how[] = "closed";

    simdisk_hook(world->disk, NULL, NULL);
    OK(kiln_close(world->db));
    survivor_check(world, world->disk, world->commit, how);
    simdisk_free(world->disk);
}

static void
records_and_indexes_survive_as_one_commit_left_them(void)
{
    const char *text = getenv("KILN_CRASH_STATES");
    uint64_t states = text != NULL ? strtoull(text, NULL, 10) : test_rounds(STATES_DEFAULT);
    struct world *world = calloc(1, sizeof *world);

    REQUIRE(world != NULL);
    world->random = test_random();
    world->left = states / 10;
    while (world->left > 0) {
        world->one_in = 1 + ftk_random_below(&world->random, 6);
        world_begin(world);
        while (world->left > 0 && world->commit < COMMITS_MAX)
            transaction(world);
        world_end(world);
    }
    printf("    %llu crash states\n", (unsigned long long)states_tried);
    free(world);
}

TEST_MAIN("records_crash", TEST(records_and_indexes_survive_as_one_commit_left_them))
