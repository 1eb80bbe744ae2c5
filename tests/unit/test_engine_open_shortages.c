/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/test_engine_open_shortages.c -- an open or a close in which one allocation, one I/O or
 * one descriptor is refused.
 *
 * For each scene of the table: a copy of its disk; the open (or the close) with the n-th call of a
 * kind failing, n = 1, 2, 3 ... until none fails.  Then
 *
 *     it failed       with the status of what was refused, and words for it; nothing is left: no
 *                     memory, no file, no lock, no half database; power may be cut
 *     it succeeded    it is the database
 *
 * and in both cases the same open, made again, succeeds and finds what was committed, and work goes
 * on, is checked, closed, and found again.
 */
#include <errno.h>

#include "engine/db/open.h"
#include "tests/support/simdisk_internal.h"
#include "tests/unit/engine_testing.h"

enum { BATCH_KEYS = 10, VALUE_BYTES = 100, LARGE_BYTES = 60000, BATCHES = 8, OLD_BATCHES = 4 };

/* ---- what is in the database ----------------------------------------------------------------- */

/* Batch i: a few small values and a large one, durable. */
static kiln_status
batch_put(kiln_db *db, uint64_t i)
{
    static uint8_t large[LARGE_BYTES];
    kiln_txn *txn = NULL;
    kiln_coll small = 0, big = 0;
    uint8_t key[8];
    kiln_status rc = kiln_txn_begin(db, KILN_WRITE, &txn);

    if (rc != KILN_OK)
        return rc;
    engine_key(i, key);
    large[0] = (uint8_t)i;
    rc = kiln_coll_open(txn, "small", KILN_COLL_CREATE, &small);
    if (rc == KILN_OK)
        rc = kiln_coll_open(txn, "big", KILN_COLL_CREATE, &big);
    if (rc == KILN_OK)
        rc = engine_series(txn, small, i * BATCH_KEYS, (i + 1) * BATCH_KEYS, VALUE_BYTES);
    if (rc == KILN_OK)
        rc = kiln_put(txn, big, key, sizeof key, large, sizeof large, KILN_PUT_INSERT);
    if (rc == KILN_OK)
        return kiln_txn_commit(txn);
    kiln_txn_abort(txn);
    return rc;
}

static void
batches_put(kiln_db *db, uint64_t from, uint64_t to)
{
    for (uint64_t i = from; i < to; i++)
        OK(batch_put(db, i));
}

/* All of so many batches are there, and nothing else. */
static void
batches_verify(kiln_db *db, uint64_t batches, const char *how)
{
    kiln_txn *txn = engine_begin(db, KILN_READ);
    kiln_coll small = 0, big = 0;
    uint64_t count = 0;
    uint8_t key[8];
    kiln_slice value;

    if (batches == 0) {
        CHECK_MSG(kiln_coll_open(txn, "small", 0, &small) == KILN_NOTFOUND, "%s", how);
        kiln_txn_abort(txn);
        return;
    }
    OK(kiln_coll_open(txn, "small", 0, &small));
    OK(kiln_coll_open(txn, "big", 0, &big));
    OK(kiln_coll_count(txn, small, &count));
    CHECK_MSG(count == batches * BATCH_KEYS, "%s: %llu keys", how, (unsigned long long)count);
    OK(kiln_coll_count(txn, big, &count));
    CHECK_MSG(count == batches, "%s: %llu large values", how, (unsigned long long)count);
    for (uint64_t i = 0; i < batches; i++) {
        engine_key(i, key);
        OK(kiln_get(txn, big, key, sizeof key, &value));
        CHECK_MSG(value.size == LARGE_BYTES && *(const uint8_t *)value.data == (uint8_t)i,
                  "%s: large value %llu", how, (unsigned long long)i);
    }
    kiln_txn_abort(txn);
}

/* ---- scenes ---------------------------------------------------------------------------------- */

struct scene {
    const char *name;
    uint32_t flags;
    const char *logs;   /* options.rfl_dir */
    uint64_t batches;   /* what the open finds */
    uint32_t made_with; /* flags of its creation */
    void (*prepare)(struct simdisk *disk, const struct scene *scene);
};

static kiln_status
no_archive_today(void *context, const char *path)
{
    (void)context;
    (void)path;
    return KILN_IO;
}

static ftk_status
scene_open(struct simdisk *disk, const struct scene *scene, uint32_t flags, const char *logs,
           kiln_db **db_out)
{
    kiln_options options = engine_options(flags);

    options.rfl_dir = logs;
    options.page_bytes = 4096;
    if ((flags & (KILN_EXTERNAL_LOG | KILN_NO_ARCHIVE)) == 0 && strstr(scene->name, "archiv"))
        options.archive = no_archive_today;
    return engine_try_open(disk, &options, db_out);
}

/* One of each operation that the log knows, in a transaction of several fragments; nothing is left
 * of it. */
static void
operations(kiln_db *db)
{
    static uint8_t large[LARGE_BYTES];
    kiln_txn *txn = engine_begin(db, KILN_WRITE);
    kiln_coll coll = engine_coll(txn, "passing");
    uint8_t key[8];

    OK(engine_series(txn, coll, 0, 700, 900));
    for (uint64_t i = 0; i < 100; i++) {
        engine_key(i, key);
        OK(kiln_delete(txn, coll, key, sizeof key));
    }
    OK(kiln_savepoint(txn));
    OK(kiln_put(txn, coll, "large", 5, large, sizeof large, 0));
    OK(kiln_savepoint(txn));
    OK(kiln_put(txn, coll, "larger", 6, large, sizeof large, 0));
    OK(kiln_savepoint_release(txn));
    OK(kiln_savepoint_rollback(txn));
    OK(kiln_coll_clear(txn, coll));
    OK(engine_put(txn, coll, "key", "value"));
    OK(kiln_coll_drop(txn, coll));
    OK(kiln_txn_commit(txn));
}

/* Some batches behind a checkpoint, more in the log; not closed. */
static kiln_db *
made(struct simdisk *disk, const struct scene *scene)
{
    kiln_db *db = NULL;

    REQUIRE_OK(scene_open(disk, scene, KILN_CREATE | scene->made_with, scene->logs, &db));
    batches_put(db, 0, OLD_BATCHES);
    OK(kiln_checkpoint(db));
    batches_put(db, OLD_BATCHES, BATCHES);
    return db;
}

static void
nothing_is_there(struct simdisk *disk, const struct scene *scene)
{
    (void)disk;
    (void)scene;
}

static void
it_was_closed(struct simdisk *disk, const struct scene *scene)
{
    OK(kiln_close(made(disk, scene)));
}

/* The option names the same directory in other words. */
static void
log_is_named_otherwise(struct simdisk *disk, const struct scene *scene)
{
    struct scene before = *scene;

    before.logs = "/logs";
    it_was_closed(disk, &before);
}

static void
it_was_killed(struct simdisk *disk, const struct scene *scene)
{
    kiln_db *db = made(disk, scene);

    simdisk_kill(disk, 1);
    db_abandon(db);
}

/* Without a checkpoint: all is in the log. */
static void
it_was_killed_young(struct simdisk *disk, const struct scene *scene)
{
    kiln_db *db = NULL;

    REQUIRE_OK(scene_open(disk, scene, KILN_CREATE, scene->logs, &db));
    batches_put(db, 0, 2);
    operations(db);
    simdisk_kill(disk, 1);
    db_abandon(db);
}

static void
power_was_cut(struct simdisk *disk, const struct scene *scene)
{
    kiln_db *db = made(disk, scene);

    simdisk_crash_as(disk, SIMDISK_TORN, 1);
    db_abandon(db);
}

static void
rename_to(struct simdisk *disk, const char *from, const char *to)
{
    REQUIRE_OK(simdisk_disk(disk)->ops->rename(simdisk_disk(disk), NULL, from, to));
    REQUIRE_OK(test_dir_sync(simdisk_disk(disk), "/"));
}

static void
log_is_lost_after_a_close(struct simdisk *disk, const struct scene *scene)
{
    it_was_closed(disk, scene);
    rename_to(disk, "/db/rfl", "/lost");
}

static void
log_is_lost_after_a_kill(struct simdisk *disk, const struct scene *scene)
{
    it_was_killed(disk, scene);
    rename_to(disk, "/db/rfl", "/lost");
}

static void
log_was_moved(struct simdisk *disk, const struct scene *scene)
{
    struct scene before = *scene;

    before.logs = NULL;
    it_was_killed(disk, &before);
    rename_to(disk, "/db/rfl", "/moved");
}

/* One copy of each header slot is damaged: the open repairs it from its twin. */
static void
header_is_damaged(struct simdisk *disk, const struct scene *scene)
{
    it_was_killed(disk, scene);
    for (uint64_t offset = 0; offset < 2; offset++)
        REQUIRE(simdisk_flip(disk, "/db/data.kdb", offset * 8192 + 100, 1));
}

static const struct scene scenes[] = {
    {"creation", KILN_CREATE, NULL, 0, 0, nothing_is_there},
    {"creation with a log elsewhere", KILN_CREATE, "/logs", 0, 0, nothing_is_there},
    {"creation with an external log", KILN_CREATE | KILN_EXTERNAL_LOG, NULL, 0, 0,
     nothing_is_there},
    {"open after a close", 0, NULL, BATCHES, 0, it_was_closed},
    {"open after a close, log elsewhere", KILN_CREATE, "/logs", BATCHES, 0, it_was_closed},
    {"open after a close, log in other words", 0, "/db/../logs", BATCHES, 0,
     log_is_named_otherwise},
    {"open of an external log's", KILN_EXTERNAL_LOG, NULL, BATCHES, KILN_EXTERNAL_LOG,
     it_was_closed},
    {"open with recovery", 0, NULL, BATCHES, 0, it_was_killed},
    {"open with recovery of all", 0, NULL, 2, 0, it_was_killed_young},
    {"open after a power cut", 0, NULL, BATCHES, 0, power_was_cut},
    {"read-only open after a close", KILN_OPEN_READONLY, NULL, BATCHES, 0, it_was_closed},
    {"read-only open with recovery", KILN_OPEN_READONLY, NULL, BATCHES, 0, it_was_killed},
    {"open without the log", KILN_WITHOUT_LOG, NULL, BATCHES, 0, log_is_lost_after_a_close},
    {"open that accepts loss", KILN_WITHOUT_LOG | KILN_ACCEPT_LOSS, NULL, OLD_BATCHES, 0,
     log_is_lost_after_a_kill},
    {"open of a moved log", KILN_LOG_MOVED, "/moved", BATCHES, 0, log_was_moved},
    {"open with a damaged header", 0, NULL, BATCHES, 0, header_is_damaged},
    {"open of what archives", 0, NULL, BATCHES, 0, it_was_killed},
    {"open that gives up archiving", KILN_NO_ARCHIVE, NULL, BATCHES, 0, it_was_killed},
};
#define SCENES (sizeof scenes / sizeof scenes[0])

/* ---- what is refused ------------------------------------------------------------------------- */

enum refusal { MEMORY, READS, WRITES, SYNCS, DESCRIPTORS, OPENS, NAMES, DEVICE, REFUSALS };

static const struct {
    const char *name;
    int fault;    /* enum ftk_fault; -1: of the disk */
    unsigned ops; /* enum simdisk_op */
    int os_errno;
    ftk_status status;
} refusals[] = {
    [MEMORY] = {"allocation", FTK_FAULT_ALLOC, 0, 0, FTK_NOMEM},
    [READS] = {"read", FTK_FAULT_READ, 0, 0, FTK_IO},
    [WRITES] = {"write", FTK_FAULT_WRITE, 0, 0, FTK_IO},
    [SYNCS] = {"sync", FTK_FAULT_SYNC, 0, 0, FTK_IO},
    [DESCRIPTORS] = {"descriptor", -1, SIMDISK_OPEN, EMFILE, FTK_NOMEM},
    [OPENS] = {"open", -1, SIMDISK_OPEN, EACCES, FTK_IO},
    [NAMES] = {"name", -1, SIMDISK_NAMES, EACCES, FTK_IO},
    [DEVICE] = {"answer of the device", -1, SIMDISK_ANY, EIO, FTK_IO},
};

/* Once, at each call; and that one and all behind it, at each third call. */
static const struct {
    uint64_t times, stride;
} ways[] = {{1, 1}, {UINT64_MAX, 3}};
#define WAYS (sizeof ways / sizeof ways[0])

/* The n-th call from now, and times - 1 behind it. */
static void
refuse(struct simdisk *disk, enum refusal what, uint64_t n, uint64_t times)
{
    if (refusals[what].fault >= 0)
        ftk_fault_arm((enum ftk_fault)refusals[what].fault, n, times);
    else
        simdisk_fail(disk, refusals[what].ops, n, times, refusals[what].os_errno);
}

/* Was there one?  Refuses nothing more. */
static bool
refused(struct simdisk *disk, enum refusal what)
{
    bool hit = refusals[what].fault >= 0 ? ftk_fault_hits((enum ftk_fault)refusals[what].fault) > 0
                                         : simdisk_failed(disk) > 0;

    ftk_fault_disarm();
    simdisk_fail_clear(disk);
    return hit;
}

/* An error of the right kind, with its words; or failed: the log has met it before. */
static void
error_verify(enum refusal what, ftk_status rc, bool may_have_failed, const char *how)
{
    const struct ftk_error *error = ftk_error_last();
    bool failed =
        may_have_failed && (what == WRITES || what == SYNCS || what == DEVICE) && rc == FTK_FAILED;

    CHECK_MSG(rc == refusals[what].status || failed, "%s: %s: %s", how, ftk_status_name(rc),
              error->text);
    CHECK_MSG(error->status == rc && error->text != NULL && error->text[0] != '\0',
              "%s: %s, and the words are of %s: %s", how, ftk_status_name(rc),
              ftk_status_name(error->status), error->text);
}

/* Nobody has anything of the disk open, and kiln no memory beyond what it had. */
static void
nothing_left_verify(struct simdisk *disk, uint64_t heap, const char *how)
{
    CHECK_MSG(disk->files_open == 0, "%s: %zu files are open", how, disk->files_open);
    CHECK_MSG(disk->aios_open == 0, "%s: %zu queues are open", how, disk->aios_open);
    CHECK_MSG(ftk_mem_bytes() == heap, "%s: %lld bytes are lost", how,
              (long long)(ftk_mem_bytes() - heap));
}

/* It is open: what was committed is there, and it can be worked with; closed in the end. */
static void
work_verify(struct simdisk *disk, const struct scene *scene, kiln_db *db, const char *how)
{
    uint32_t flags = scene->flags & (KILN_EXTERNAL_LOG | KILN_OPEN_READONLY | KILN_NO_ARCHIVE);
    uint64_t batches = scene->batches;

    batches_verify(db, batches, how);
    engine_check(db);
    if ((flags & KILN_OPEN_READONLY) == 0) {
        OK(batch_put(db, batches++));
        OK(kiln_checkpoint(db));
        OK(batch_put(db, batches++));
    }
    OK(kiln_close(db));
    REQUIRE_OK(scene_open(disk, scene, flags, scene->logs, &db));
    batches_verify(db, batches, how);
    engine_check(db);
    OK(kiln_close(db));
}

/* The power fails behind the refusal: whatever survives, the same open is possible. */
static void
power_cut_verify(struct simdisk *disk, const struct scene *scene, uint64_t n, const char *how)
{
    struct simdisk *after = simdisk_clone(disk, n);
    kiln_db *db = NULL;
    ftk_status rc;

    simdisk_crash(after, n);
    rc = scene_open(after, scene, scene->flags, scene->logs, &db);
    if (rc == FTK_EXISTS && (scene->flags & KILN_WITHOUT_LOG))
        rc = scene_open(after, scene, 0, scene->logs, &db); /* it has got its new log */
    CHECK_MSG(rc == FTK_OK, "%s, then a power cut: %s: %s", how, ftk_status_name(rc),
              ftk_error_last()->text);
    if (rc == FTK_OK) {
        batches_verify(db, scene->batches, how);
        engine_check(db);
        OK(kiln_close(db));
    }
    simdisk_free(after);
}

/* ---- opens ----------------------------------------------------------------------------------- */

/* False when nothing was refused any more. */
static bool
open_refused(struct simdisk *base, const struct scene *scene, enum refusal what, uint64_t n,
             uint64_t times)
{
    struct simdisk *disk = simdisk_clone(base, n);
    uint64_t heap = ftk_mem_bytes();
    kiln_db *db = NULL;
    char how[200];
    ftk_status rc;
    bool hit;

    snprintf(how, sizeof how, "%s, %s %llu%s", scene->name, refusals[what].name,
             (unsigned long long)n, times > 1 ? " and all behind" : "");
    refuse(disk, what, n, times);
    rc = scene_open(disk, scene, scene->flags, scene->logs, &db);
    hit = refused(disk, what);
    CHECK_MSG(hit || rc == FTK_OK, "%s: %s without a refusal", how, ftk_error_last()->text);
    if (rc != FTK_OK) {
        CHECK_MSG(db == NULL, "%s: failed, and gives a database", how);
        error_verify(what, rc, false, how);
        nothing_left_verify(disk, heap, how);
        power_cut_verify(disk, scene, n, how);
        rc = scene_open(disk, scene, scene->flags, scene->logs, &db);
        if (rc == FTK_EXISTS && (scene->flags & KILN_WITHOUT_LOG))
            rc = scene_open(disk, scene, 0, scene->logs, &db);
        CHECK_MSG(rc == FTK_OK, "%s, made again: %s: %s", how, ftk_status_name(rc),
                  ftk_error_last()->text);
    }
    if (rc == FTK_OK)
        work_verify(disk, scene, db, how);
    nothing_left_verify(disk, heap, how);
    simdisk_free(disk);
    return hit;
}

static void
each_open_is_refused(enum refusal what)
{
    uint64_t count = 0;

    for (size_t i = 0; i < SCENES; i++) {
        struct simdisk *base = simdisk_new(NULL);

        scenes[i].prepare(base, &scenes[i]);
        for (size_t j = 0; j < WAYS; j++)
            for (uint64_t n = 1; open_refused(base, &scenes[i], what, n, ways[j].times);
                 n += ways[j].stride)
                count++;
        simdisk_free(base);
    }
    CHECK(count > 0);
    printf("    %llu %ss refused\n", (unsigned long long)count, refusals[what].name);
}

static void
an_open_without_memory_leaves_nothing(void)
{
    each_open_is_refused(MEMORY);
}

static void
an_open_that_cannot_read_leaves_nothing(void)
{
    each_open_is_refused(READS);
}

static void
an_open_that_cannot_write_leaves_nothing(void)
{
    each_open_is_refused(WRITES);
}

static void
an_open_that_cannot_sync_leaves_nothing(void)
{
    each_open_is_refused(SYNCS);
}

static void
an_open_without_a_descriptor_leaves_nothing(void)
{
    each_open_is_refused(DESCRIPTORS);
}

static void
an_open_that_may_not_open_a_file_leaves_nothing(void)
{
    each_open_is_refused(OPENS);
}

static void
an_open_that_may_not_change_a_name_leaves_nothing(void)
{
    each_open_is_refused(NAMES);
}

static void
an_open_whose_device_is_gone_leaves_nothing(void)
{
    each_open_is_refused(DEVICE);
}

/* ---- closes ---------------------------------------------------------------------------------- */

/* A close with something to write, of what was just made or recovered. */
static bool
close_refused(struct simdisk *base, const struct scene *scene, enum refusal what, uint64_t n,
              uint64_t times)
{
    struct simdisk *disk = simdisk_clone(base, n);
    uint64_t heap = ftk_mem_bytes();
    struct scene after = *scene;
    kiln_db *db = NULL;
    char how[200];
    kiln_status rc;
    bool hit;

    snprintf(how, sizeof how, "close after %s, %s %llu%s", scene->name, refusals[what].name,
             (unsigned long long)n, times > 1 ? " and all behind" : "");
    REQUIRE_OK(scene_open(disk, scene, scene->flags, scene->logs, &db));
    if ((scene->flags & KILN_OPEN_READONLY) == 0)
        OK(batch_put(db, after.batches++));
    if (scene->flags & KILN_EXTERNAL_LOG) /* without a checkpoint nothing of it is kept */
        OK(kiln_checkpoint(db));
    refuse(disk, what, n, times);
    rc = kiln_close(db);
    hit = refused(disk, what);
    CHECK_MSG(hit || rc == KILN_OK, "%s: %s without a refusal", how, ftk_error_last()->text);
    if (rc != KILN_OK)
        error_verify(what, (ftk_status)rc, true, how);
    nothing_left_verify(disk, heap, how);
    after.flags &= KILN_EXTERNAL_LOG | KILN_OPEN_READONLY | KILN_NO_ARCHIVE;
    power_cut_verify(disk, &after, n, how);
    REQUIRE_OK(scene_open(disk, &after, after.flags, after.logs, &db));
    work_verify(disk, &after, db, how);
    nothing_left_verify(disk, heap, how);
    simdisk_free(disk);
    return hit;
}

static void
a_close_that_is_refused_something_loses_nothing(void)
{
    uint64_t count = 0;

    for (size_t i = 0; i < SCENES; i++) {
        struct simdisk *base = simdisk_new(NULL);

        scenes[i].prepare(base, &scenes[i]);
        for (enum refusal what = 0; what < REFUSALS; what++) {
            for (size_t j = 0; j < WAYS; j++)
                for (uint64_t n = 1; close_refused(base, &scenes[i], what, n, ways[j].times);
                     n += ways[j].stride)
                    count++;
        }
        simdisk_free(base);
    }
    CHECK(count > 0);
    printf("    %llu refusals\n", (unsigned long long)count);
}

/* ---- the lock -------------------------------------------------------------------------------- */

static unsigned removals;

/* Somebody tidies up: the file "lock" goes as soon as it is made. */
static void
lock_removed(void *context, struct simdisk *disk, uint64_t step)
{
    struct ftk_identity there;

    (void)context;
    (void)step;
    if (removals == 0 ||
        simdisk_disk(disk)->ops->identify(simdisk_disk(disk), NULL, "/db/lock", &there) != FTK_OK)
        return;
    removals--;
    REQUIRE_OK(simdisk_disk(disk)->ops->remove(simdisk_disk(disk), NULL, "/db/lock"));
}

static void
a_lock_file_removed_while_it_is_taken_is_made_again(void)
{
    struct scene scene = {.name = "creation", .flags = KILN_CREATE};
    struct simdisk *disk = simdisk_new(NULL);
    uint64_t heap = ftk_mem_bytes();
    kiln_db *db = NULL, *second = NULL;

    removals = 3;
    simdisk_hook(disk, lock_removed, NULL);
    REQUIRE_OK(scene_open(disk, &scene, KILN_CREATE, NULL, &db));
    CHECK_EQ(removals, 0);
    CHECK_STATUS(scene_open(disk, &scene, KILN_CREATE, NULL, &second), FTK_INUSE);
    work_verify(disk, &scene, db, "removed");
    nothing_left_verify(disk, heap, "removed");
    simdisk_free(disk);
}

TEST_MAIN("engine_open_shortages", TEST(an_open_without_memory_leaves_nothing),
          TEST(an_open_that_cannot_read_leaves_nothing),
          TEST(an_open_that_cannot_write_leaves_nothing),
          TEST(an_open_that_cannot_sync_leaves_nothing),
          TEST(an_open_without_a_descriptor_leaves_nothing),
          TEST(an_open_that_may_not_open_a_file_leaves_nothing),
          TEST(an_open_that_may_not_change_a_name_leaves_nothing),
          TEST(an_open_whose_device_is_gone_leaves_nothing),
          TEST(a_close_that_is_refused_something_loses_nothing),
          TEST(a_lock_file_removed_while_it_is_taken_is_made_again))
