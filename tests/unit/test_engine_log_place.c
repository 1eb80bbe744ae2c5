/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/test_engine_log_place.c -- the log's place is remembered; a log that is missing is
 * said, and never replaced in silence.
 */
#include <errno.h>
#include <stdlib.h>

#include "tests/unit/engine_testing.h"

static kiln_status
try_open(struct simdisk *disk, const char *path, uint32_t flags, const char *logs, kiln_db **db_out)
{
    struct db_environment environment = {.disk = simdisk_disk(disk), .manual = true};
    kiln_options options = engine_options(flags);

    options.rfl_dir = logs;
    return (kiln_status)db_open(path, &options, &environment, db_out);
}

static void
commit(kiln_db *db, const char *key)
{
    kiln_txn *txn = engine_begin(db, KILN_WRITE);

    OK(engine_put(txn, engine_coll(txn, "c"), key, "v"));
    OK(kiln_txn_commit(txn));
}

static struct simdisk *
disk_new(void)
{
    return simdisk_new(&(struct simdisk_options){.seed = test_seed()});
}

/* Opens, looks for the keys ("a b c"; one with a '!' before it must not be there), closes. */
static void
expect_at(struct simdisk *disk, const char *path, uint32_t flags, const char *logs,
          const char *keys)
{
    char words[64], *rest = words, *word;
    kiln_db *db = NULL;
    kiln_txn *txn;
    kiln_coll coll;

    OK(try_open(disk, path, flags, logs, &db));
    txn = engine_begin(db, KILN_READ);
    coll = engine_coll(txn, "c");
    snprintf(words, sizeof words, "%s", keys);
    while ((word = strsep(&rest, " ")) != NULL) {
        if (*word == '!')
            CHECK_VALUE(txn, coll, word + 1, NULL);
        else
            CHECK_VALUE(txn, coll, word, "v");
    }
    kiln_txn_abort(txn);
    engine_check(db);
    OK(kiln_close(db));
}

static void
expect(struct simdisk *disk, uint32_t flags, const char *keys)
{
    expect_at(disk, "/db", flags, NULL, keys);
}

/* /db with key "a" in data.kdb; "b" in the log alone when it is not closed. */
static struct simdisk *
disk_with(const char *logs, bool closed)
{
    struct simdisk *disk = disk_new();
    kiln_db *db = NULL;

    OK(try_open(disk, "/db", KILN_CREATE, logs, &db));
    commit(db, "a");
    OK(kiln_checkpoint(db));
    commit(db, "b");
    if (closed) {
        OK(kiln_close(db));
        return disk;
    }
    simdisk_kill(disk, test_seed());
    db_abandon(db);
    return disk;
}

static ftk_status
keep_name(void *context, const char *name)
{
    char(*names)[16][64] = context;

    for (int i = 0; i < 16; i++)
        if ((*names)[i][0] == 0) {
            snprintf((*names)[i], 64, "%s", name);
            return FTK_OK;
        }
    return FTK_TRUNCATED;
}

static void
directory_remove(struct simdisk *disk, const char *path)
{
    struct ftk_disk *base = simdisk_disk(disk);
    char names[16][64] = {{0}}, file[1200];

    REQUIRE_OK(test_dir_list(base, path, keep_name, &names));
    for (int i = 0; i < 16 && names[i][0] != 0; i++) {
        snprintf(file, sizeof file, "%s/%s", path, names[i]);
        REQUIRE_OK(base->ops->remove(base, NULL, file));
    }
    REQUIRE_OK(base->ops->remove(base, NULL, path));
}

struct numbers {
    uint64_t low, high; /* of the segments */
};

static ftk_status
number_keep(void *context, const char *name)
{
    struct numbers *numbers = context;
    char *end;
    uint64_t number = strtoull(name, &end, 16);

    if (strcmp(end, ".rfl") != 0)
        return FTK_OK;
    numbers->low = number < numbers->low ? number : numbers->low;
    numbers->high = number > numbers->high ? number : numbers->high;
    return FTK_OK;
}

static struct numbers
numbers_of(struct simdisk *disk)
{
    struct numbers numbers = {UINT64_MAX, 0};

    REQUIRE_OK(test_dir_list(simdisk_disk(disk), "/db/rfl", number_keep, &numbers));
    return numbers;
}

static void
rename_to(struct simdisk *disk, const char *from, const char *to)
{
    REQUIRE_OK(simdisk_disk(disk)->ops->rename(simdisk_disk(disk), NULL, from, to));
}

/* ---- a log that is missing ------------------------------------------------------------------- */

static void
missing_log_is_corrupt_whatever_the_flags(void)
{
    static const uint32_t flags[] = {0, KILN_CREATE, KILN_OPEN_READONLY};

    for (int closed = 0; closed < 2; closed++) {
        for (int empty = 0; empty < 2; empty++) {
            struct simdisk *disk = disk_with(NULL, closed != 0);
            kiln_db *db = NULL;

            directory_remove(disk, "/db/rfl");
            if (empty)
                REQUIRE_OK(simdisk_disk(disk)->ops->mkdir(simdisk_disk(disk), NULL, "/db/rfl"));
            for (size_t i = 0; i < 3; i++) {
                STATUS(try_open(disk, "/db", flags[i], NULL, &db), KILN_CORRUPT);
                CHECK_HAS(kiln_error_last()->text, "no log in /db/rfl");
                CHECK_HAS(kiln_error_last()->text, closed ? "closed cleanly" : "--accept-loss");
                CHECK_HAS(kiln_error_last()->text, "kiln recover --without-log");
            }
            simdisk_free(disk);
        }
    }
}

static void
after_a_clean_close_the_database_goes_on_without_it(void)
{
    struct simdisk *disk = disk_with(NULL, true);
    kiln_db *db = NULL;

    directory_remove(disk, "/db/rfl");
    expect(disk, KILN_WITHOUT_LOG | KILN_OPEN_READONLY, "a b");
    expect(disk, KILN_WITHOUT_LOG, "a b");
    OK(try_open(disk, "/db", 0, NULL, &db)); /* and from then on as ever */
    commit(db, "c");
    simdisk_crash_as(disk, SIMDISK_NONE, test_seed());
    db_abandon(db);
    expect(disk, 0, "a b c");
    simdisk_free(disk);
}

/* An archive has segments by their names: one that came again would be written over the old one. */
static void
segments_of_the_new_log_have_names_that_none_had_before(void)
{
    struct simdisk *disk = disk_with(NULL, true);

    for (int times = 0; times < 3; times++) {
        struct numbers before = numbers_of(disk), after;

        directory_remove(disk, "/db/rfl");
        expect(disk, KILN_WITHOUT_LOG, "a b");
        after = numbers_of(disk);
        CHECK(before.high > 0 && after.low != UINT64_MAX);
        CHECK(after.low > before.high);
        expect(disk, 0, "a b");
    }
    simdisk_free(disk);
}

static void
not_closed_cleanly_it_takes_a_stronger_word(void)
{
    struct simdisk *disk = disk_with(NULL, false);
    kiln_db *db = NULL;

    directory_remove(disk, "/db/rfl");
    STATUS(try_open(disk, "/db", KILN_WITHOUT_LOG, NULL, &db), KILN_CORRUPT);
    STATUS(try_open(disk, "/db", KILN_WITHOUT_LOG | KILN_OPEN_READONLY, NULL, &db), KILN_CORRUPT);
    STATUS(try_open(disk, "/db", KILN_ACCEPT_LOSS, NULL, &db), KILN_INVALID);
    expect(disk, KILN_WITHOUT_LOG | KILN_ACCEPT_LOSS, "a !b");
    expect(disk, 0, "a !b");
    simdisk_free(disk);
}

/* The note of a close is struck out before anything can be in the log alone. */
static void
note_of_an_earlier_close_does_not_count(void)
{
    for (int committed = 0; committed < 3; committed++) {
        struct simdisk *disk = disk_with(NULL, true);
        kiln_db *db = NULL;

        OK(try_open(disk, "/db", 0, NULL, &db));
        if (committed >= 1)
            commit(db, "c");
        if (committed == 2)
            OK(kiln_checkpoint(db));
        simdisk_crash_as(disk, SIMDISK_NONE, test_seed());
        db_abandon(db);
        directory_remove(disk, "/db/rfl");
        STATUS(try_open(disk, "/db", KILN_WITHOUT_LOG, NULL, &db), KILN_CORRUPT);
        expect(disk, KILN_WITHOUT_LOG | KILN_ACCEPT_LOSS, committed == 2 ? "a b c" : "a b !c");
        simdisk_free(disk);
    }
}

static void
note_is_believed_only_when_it_is_whole_and_of_this_database(void)
{
    for (uint64_t offset = 0; offset < CLOSE_NOTE_BYTES; offset += 3) {
        struct simdisk *disk = disk_with(NULL, true);
        kiln_db *db = NULL;

        directory_remove(disk, "/db/rfl");
        REQUIRE(simdisk_flip(disk, "/db/lock", offset, 0x10));
        STATUS(try_open(disk, "/db", KILN_WITHOUT_LOG, NULL, &db), KILN_CORRUPT);
        if (offset == 0) { /* and without the file */
            REQUIRE_OK(simdisk_disk(disk)->ops->remove(simdisk_disk(disk), NULL, "/db/lock"));
            STATUS(try_open(disk, "/db", KILN_WITHOUT_LOG, NULL, &db), KILN_CORRUPT);
        }
        simdisk_free(disk);
    }
}

static void
log_that_is_there_is_not_thrown_away(void)
{
    for (int closed = 0; closed < 2; closed++) {
        struct simdisk *disk = disk_with(NULL, closed != 0);
        kiln_db *db = NULL;

        STATUS(try_open(disk, "/db", KILN_WITHOUT_LOG | KILN_ACCEPT_LOSS, NULL, &db), KILN_EXISTS);
        expect(disk, 0, "a b");
        simdisk_free(disk);
    }
}

static void
old_log_that_turns_up_later_is_refused(void)
{
    struct simdisk *disk = disk_with(NULL, false);
    kiln_db *db = NULL;

    rename_to(disk, "/db/rfl", "/old");
    expect(disk, KILN_WITHOUT_LOG | KILN_ACCEPT_LOSS, "a !b");
    OK(try_open(disk, "/db", 0, NULL, &db));
    commit(db, "c");
    OK(kiln_close(db));
    rename_to(disk, "/db/rfl", "/new");
    rename_to(disk, "/old", "/db/rfl");
    STATUS(try_open(disk, "/db", 0, NULL, &db), KILN_CORRUPT);
    STATUS(try_open(disk, "/db", KILN_CREATE, NULL, &db), KILN_CORRUPT);
    STATUS(try_open(disk, "/db", KILN_OPEN_READONLY, NULL, &db), KILN_CORRUPT);
    rename_to(disk, "/db/rfl", "/old");
    rename_to(disk, "/new", "/db/rfl");
    expect(disk, 0, "a !b c");
    simdisk_free(disk);
}

struct replacing {
    struct simdisk **clones;
    size_t count;
};

static void
clone_after_step(void *context, struct simdisk *disk, uint64_t step)
{
    struct replacing *replacing = context;

    replacing->clones = realloc(replacing->clones, (replacing->count + 1) * sizeof(void *));
    replacing->clones[replacing->count++] = simdisk_clone(disk, test_seed() + step);
}

/* Cut the power at each step of the way on: it can be gone again, and nothing is lost. */
static void
power_cut_on_the_way_leaves_the_way(void)
{
    struct simdisk *disk = disk_with(NULL, true);
    struct replacing replacing = {NULL, 0};
    kiln_db *db = NULL;

    directory_remove(disk, "/db/rfl");
    simdisk_hook(disk, clone_after_step, &replacing);
    OK(try_open(disk, "/db", KILN_WITHOUT_LOG, NULL, &db));
    simdisk_hook(disk, NULL, NULL);
    OK(kiln_close(db));
    CHECK(replacing.count > 5);
    for (size_t i = 0; i < replacing.count; i++) {
        struct simdisk *after = replacing.clones[i];
        simdisk_crash(after, test_seed() + i);
        kiln_status rc = try_open(after, "/db", 0, NULL, &db);
        if (rc == KILN_CORRUPT)
            rc = try_open(after, "/db", KILN_WITHOUT_LOG, NULL, &db);
        CHECK_MSG(rc == KILN_OK, "step %d: %s", (int)i, kiln_error_last()->text);
        if (rc == KILN_OK) {
            OK(kiln_close(db));
            expect(after, 0, "a b");
        }
        simdisk_free(after);
    }
    free(replacing.clones);
    simdisk_free(disk);
}

static void
close_that_cannot_leave_a_note_is_a_close(void)
{
    struct simdisk *disk = disk_new();
    kiln_db *db = engine_open(disk, KILN_CREATE);
    uint64_t syncs;

    commit(db, "a");
    OK(kiln_checkpoint(db));
    OK(kiln_close(db));
    db = engine_open(disk, 0);
    syncs = simdisk_count(disk, SIMDISK_SYNC);
    OK(kiln_close(db));
    syncs = simdisk_count(disk, SIMDISK_SYNC) - syncs;
    CHECK(syncs > 0);
    db = engine_open(disk, 0);
    simdisk_fail(disk, SIMDISK_SYNC, syncs, 1, EIO); /* the note's is the last */
    CHECK_OK(kiln_close(db));
    simdisk_fail_clear(disk);
    db = engine_open(disk, 0);
    engine_end(disk, db);
}

/* ---- where it is ----------------------------------------------------------------------------- */

static void
place_is_remembered(void)
{
    static const char *const ways[] = {"/log", "log/", "./log/.", "/db/log", "/db/rfl", "/db"};

    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        for (int closed = 0; closed < 2; closed++) {
            struct simdisk *disk = disk_with(ways[i], closed != 0);

            expect(disk, KILN_OPEN_READONLY, "a b");
            expect(disk, 0, "a b");
            expect_at(disk, "/db", 0, ways[i], "a b");
            simdisk_free(disk);
        }
    }
}

static void
wrong_place_is_an_error(void)
{
    struct simdisk *disk = disk_with("/log", false), *plain = disk_with(NULL, false);
    kiln_db *db = NULL;

    STATUS(try_open(disk, "/db", 0, "/none", &db), KILN_INVALID);
    CHECK_HAS(kiln_error_last()->text, "/log");
    CHECK_HAS(kiln_error_last()->text, "/none");
    STATUS(try_open(disk, "/db", KILN_CREATE, "/db", &db), KILN_INVALID);
    STATUS(try_open(disk, "/db", KILN_OPEN_READONLY, "/none", &db), KILN_INVALID);
    expect(disk, 0, "a b");
    STATUS(try_open(plain, "/db", 0, "/log", &db), KILN_INVALID);
    STATUS(try_open(plain, "/db", KILN_LOG_MOVED, "/log", &db), KILN_CORRUPT);
    STATUS(try_open(plain, "/db", KILN_LOG_MOVED, NULL, &db), KILN_INVALID);
    expect_at(plain, "/db", 0, "/db/rfl", "a b"); /* said although it is the usual one */
    simdisk_free(disk);
    simdisk_free(plain);
}

static void
moved_log_is_found_once_it_was_said(void)
{
    for (int from = 0; from < 2; from++) {
        struct simdisk *disk = disk_with(from == 0 ? "/log" : NULL, false);
        kiln_db *db = NULL;

        rename_to(disk, from == 0 ? "/log" : "/db/rfl", "/moved");
        STATUS(try_open(disk, "/db", 0, NULL, &db), KILN_CORRUPT);
        STATUS(try_open(disk, "/db", 0, "/moved", &db), KILN_INVALID);
        OK(try_open(disk, "/db", KILN_LOG_MOVED, "/moved", &db));
        commit(db, "c");
        simdisk_crash_as(disk, SIMDISK_NONE, test_seed()); /* at once it is for good */
        db_abandon(db);
        REQUIRE_OK(test_dir_sync(simdisk_disk(disk), "/"));
        expect(disk, 0, "a b c");
        simdisk_free(disk);
    }
}

static void
log_inside_the_database_moves_with_it(void)
{
    static const char *const ways[] = {"/db/wal", "/db/rfl", "/db", NULL};

    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        struct simdisk *disk = disk_with(ways[i], false);

        rename_to(disk, "/db", "/elsewhere");
        expect_at(disk, "/elsewhere", 0, NULL, "a b");
        simdisk_free(disk);
    }
}

static void
place_too_long_to_be_remembered_is_refused(void)
{
    struct simdisk *disk = disk_new();
    struct ftk_disk *base = simdisk_disk(disk);
    char path[1200] = "", name[202];
    kiln_db *db = NULL;

    memset(name, 'n', sizeof name);
    name[0] = '/';
    name[201] = 0;
    for (int i = 0; i < 4; i++) {
        strcat(path, name);
        REQUIRE_OK(base->ops->mkdir(base, NULL, path));
    }
    strcat(path, name);
    OK(try_open(disk, "/db", KILN_CREATE, path, &db)); /* 1005 bytes */
    commit(db, "a");
    OK(kiln_close(db));
    expect(disk, 0, "a");
    name[20] = 0; /* 1025 */
    strcat(path, name);
    STATUS(try_open(disk, "/db2", KILN_CREATE, path, &db), KILN_TOOBIG);
    path[1024] = 0; /* and what just fits */
    OK(try_open(disk, "/db2", KILN_CREATE, path, &db));
    commit(db, "b");
    OK(kiln_close(db));
    expect_at(disk, "/db2", 0, NULL, "b");
    simdisk_free(disk);
}

/* A file of a backup, say: it is whole and of this database, and its checkpoint is not the last. */
static void
note_that_comes_back_from_an_earlier_close_does_not_count(void)
{
    struct simdisk *disk = disk_with(NULL, true);
    uint8_t note[CLOSE_NOTE_BYTES];
    kiln_db *db = NULL;

    REQUIRE(simdisk_peek(disk, "/db/lock", 0, note, sizeof note));
    OK(try_open(disk, "/db", 0, NULL, &db));
    commit(db, "c");
    OK(kiln_checkpoint(db));
    commit(db, "d");
    simdisk_crash_as(disk, SIMDISK_NONE, test_seed());
    db_abandon(db);
    directory_remove(disk, "/db/rfl");
    REQUIRE(simdisk_poke(disk, "/db/lock", 0, note, sizeof note));
    STATUS(try_open(disk, "/db", KILN_WITHOUT_LOG, NULL, &db), KILN_CORRUPT);
    simdisk_free(disk);
}

TEST_MAIN("engine_log_place", TEST(missing_log_is_corrupt_whatever_the_flags),
          TEST(after_a_clean_close_the_database_goes_on_without_it),
          TEST(segments_of_the_new_log_have_names_that_none_had_before),
          TEST(not_closed_cleanly_it_takes_a_stronger_word),
          TEST(note_of_an_earlier_close_does_not_count),
          TEST(note_is_believed_only_when_it_is_whole_and_of_this_database),
          TEST(log_that_is_there_is_not_thrown_away), TEST(old_log_that_turns_up_later_is_refused),
          TEST(power_cut_on_the_way_leaves_the_way),
          TEST(close_that_cannot_leave_a_note_is_a_close), TEST(place_is_remembered),
          TEST(wrong_place_is_an_error), TEST(moved_log_is_found_once_it_was_said),
          TEST(log_inside_the_database_moves_with_it),
          TEST(place_too_long_to_be_remembered_is_refused),
          TEST(note_that_comes_back_from_an_earlier_close_does_not_count))
