/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/test_engine_archive.c -- archiving of the log, asked for once, is a property of the
 * database: whoever opens it later lets no segment go that is not in the archive.
 */
#include <stdlib.h>

#include "engine/db/open.h"
#include "tests/unit/engine_testing.h"

static struct {
    unsigned calls;
    uint64_t last; /* number of the segment taken last */
    bool hole;
    bool refuse;
} archived;

static kiln_status
archive(void *context, const char *path)
{
    uint64_t number = strtoull(strrchr(path, '/') + 1, NULL, 16);

    (void)context;
    archived.calls++;
    if (archived.refuse)
        return KILN_IO;
    archived.hole |= number > archived.last + 1;
    if (number > archived.last)
        archived.last = number;
    return KILN_OK;
}

static kiln_options
options_of(uint32_t flags, bool with_function)
{
    kiln_options options = engine_options(flags);

    options.durability = KILN_OS;
    options.archive = with_function ? archive : NULL;
    return options;
}

static kiln_db *
open_as(struct simdisk *disk, uint32_t flags, bool with_function)
{
    kiln_options options = options_of(flags, with_function);
    kiln_db *db = NULL;

    REQUIRE_OK(engine_try_open(disk, &options, &db));
    return db;
}

static uint64_t
segments(kiln_db *db)
{
    struct rfl_stats stats;

    rfl_stats(db->log, &stats);
    return stats.segments;
}

/* Through several segments, with checkpoints. */
static void
work(kiln_db *db)
{
    static uint8_t value[100000];

    for (uint64_t i = 0; i < 80; i++) {
        kiln_txn *txn = engine_begin(db, KILN_WRITE);
        kiln_coll coll = engine_coll(txn, "c");
        uint8_t key[8];

        engine_key(i % 10, key);
        OK(kiln_put(txn, coll, key, sizeof key, value, sizeof value, 0));
        OK(kiln_txn_commit(txn));
        if (i % 20 == 19)
            OK(kiln_checkpoint(db));
    }
}

static void
reset(void)
{
    memset(&archived, 0, sizeof archived);
}

static void
an_open_without_the_function_lets_nothing_go(void)
{
    struct simdisk *disk = simdisk_new(&(struct simdisk_options){.seed = test_seed()});
    kiln_db *db;
    uint64_t kept;

    reset();
    archived.refuse = true; /* nothing is taken: only asked for */
    db = open_as(disk, KILN_CREATE, true);
    work(db);
    CHECK(archived.calls > 0);
    kept = segments(db);
    OK(kiln_close(db));
    for (int i = 0; i < 2; i++) {
        db = open_as(disk, i == 0 ? 0 : KILN_CREATE, false);
        CHECK(segments(db) >= kept);
        work(db);
        CHECK(segments(db) > kept);
        kept = segments(db);
        OK(kiln_close(db));
    }
    archived.refuse = false;
    db = open_as(disk, 0, true);
    OK(kiln_checkpoint(db));
    work(db);
    CHECK(archived.last >= 8 && !archived.hole);
    CHECK(segments(db) < kept);
    OK(kiln_close(db));
    simdisk_free(disk);
}

static void
a_database_made_without_archiving_is_told_later(void)
{
    struct simdisk *disk = simdisk_new(&(struct simdisk_options){.seed = test_seed()});
    kiln_db *db;
    uint64_t kept;

    reset();
    db = open_as(disk, KILN_CREATE, false);
    work(db);
    CHECK(segments(db) <= 4); /* used again and again */
    OK(kiln_close(db));
    db = open_as(disk, 0, true); /* opened and closed, nothing else */
    OK(kiln_close(db));
    db = open_as(disk, 0, false);
    kept = segments(db);
    work(db);
    CHECK(segments(db) > kept + 2);
    OK(kiln_close(db));
    simdisk_free(disk);
}

/* Power fails at any step of the open that asks for it, or right after. */
static struct simdisk *steps[200];
static size_t step_count;

static void
keep_step(void *context, struct simdisk *disk, uint64_t step)
{
    (void)context;
    if (step_count < sizeof steps / sizeof steps[0])
        steps[step_count++] = simdisk_clone(disk, step);
}

static void
it_is_remembered_from_the_open_on_whatever_crashes(void)
{
    struct simdisk *disk = simdisk_new(&(struct simdisk_options){.seed = test_seed()});
    kiln_db *db;

    reset();
    db = open_as(disk, KILN_CREATE, false);
    work(db);
    OK(kiln_close(db));
    step_count = 0;
    simdisk_hook(disk, keep_step, NULL);
    db = open_as(disk, 0, true);
    simdisk_hook(disk, NULL, NULL);
    steps[step_count++] = simdisk_clone(disk, 1); /* it has returned */
    for (size_t i = 0; i < step_count; i++) {
        for (int policy = 0; policy < SIMDISK_POLICIES; policy++) {
            struct simdisk *after = simdisk_clone(steps[i], i);
            kiln_db *other;

            simdisk_crash_as(after, (enum simdisk_policy)policy, i);
            other = open_as(after, 0, false);
            if (i == step_count - 1)
                CHECK(other->archiving);
            OK(kiln_close(other));
            simdisk_free(after);
        }
        simdisk_free(steps[i]);
    }
    OK(kiln_close(db));
    simdisk_free(disk);
}

static void
it_can_be_given_up(void)
{
    struct simdisk *disk = simdisk_new(&(struct simdisk_options){.seed = test_seed()});
    kiln_options options = options_of(KILN_NO_ARCHIVE, true);
    kiln_db *db;
    uint64_t kept;

    reset();
    archived.refuse = true;
    db = open_as(disk, KILN_CREATE, true);
    work(db);
    kept = segments(db);
    OK(kiln_close(db));
    CHECK_STATUS(engine_try_open(disk, &options, &db), FTK_INVALID);
    CHECK_HAS(ftk_error_last()->text, "given up");
    db = open_as(disk, KILN_NO_ARCHIVE, false);
    work(db);
    CHECK(segments(db) < kept);
    OK(kiln_close(db));
    db = open_as(disk, 0, false);
    work(db);
    CHECK(segments(db) < kept);
    OK(kiln_close(db));
    simdisk_free(disk);
}

/* A reader of the archived database neither needs the function nor changes what is remembered. */
static void
a_read_only_open_changes_nothing(void)
{
    struct simdisk *disk = simdisk_new(&(struct simdisk_options){.seed = test_seed()});
    kiln_db *db;
    uint64_t writes;

    reset();
    db = open_as(disk, KILN_CREATE, true);
    work(db);
    OK(kiln_close(db));
    writes = simdisk_count(disk, SIMDISK_WRITE);
    db = open_as(disk, KILN_OPEN_READONLY, false);
    OK(kiln_close(db));
    CHECK_EQ(simdisk_count(disk, SIMDISK_WRITE), writes);
    db = open_as(disk, 0, false);
    CHECK(db->archiving);
    OK(kiln_close(db));
    simdisk_free(disk);
}

TEST_MAIN("engine_archive", TEST(an_open_without_the_function_lets_nothing_go),
          TEST(a_database_made_without_archiving_is_told_later),
          TEST(it_is_remembered_from_the_open_on_whatever_crashes), TEST(it_can_be_given_up),
          TEST(a_read_only_open_changes_nothing))
