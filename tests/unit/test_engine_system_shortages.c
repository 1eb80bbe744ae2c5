/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/test_engine_system_shortages.c -- opens, closes and work on the operating system's
 * files, with all threads, while memory, descriptors, threads, reads, writes or syncs are refused.
 *
 * Each call fails with words for what was refused, or does without; no descriptor, no thread and no
 * memory is left over; the lock is given back; and the same call succeeds as soon as nothing is
 * refused.
 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ftk/clock.h"
#include "tests/unit/engine_testing.h"

enum { BATCH_KEYS = 20, VALUE_BYTES = 500, LARGE_BYTES = 200000, BATCHES = 6 };
#define SETTLE_NS UINT64_C(10000000000) /* a thread that was joined may still be listed */

/* ---- what the process has -------------------------------------------------------------------- */

struct holdings {
    unsigned descriptors, threads;
    uint64_t heap;
};

static unsigned
entries_of(const char *path)
{
    DIR *dir = opendir(path);
    unsigned count = 0;

    REQUIRE(dir != NULL);
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

static struct holdings
holdings_now(void)
{
    return (struct holdings){entries_of("/proc/self/fd"), entries_of("/proc/self/task"),
                             ftk_mem_bytes()};
}

static void
holdings_verify(const struct holdings *before, const char *how)
{
    uint64_t deadline = ftk_clock_ns() + SETTLE_NS;
    struct holdings now = holdings_now();

    while (now.threads != before->threads && ftk_clock_ns() < deadline) {
        ftk_thread_yield();
        now = holdings_now();
    }
    CHECK_MSG(now.descriptors == before->descriptors, "%s: %u descriptors became %u", how,
              before->descriptors, now.descriptors);
    CHECK_MSG(now.threads == before->threads, "%s: %u threads became %u", how, before->threads,
              now.threads);
    CHECK_MSG(now.heap == before->heap, "%s: %lld bytes are lost", how,
              (long long)(now.heap - before->heap));
}

/* ---- the database ---------------------------------------------------------------------------- */

static enum ftk_aio_kind aio_kind; /* of the opens that come */

static kiln_status
open_as(const char *path, uint32_t flags, kiln_db **db_out)
{
    struct db_environment environment = {.aio_kind = aio_kind};
    kiln_options options = engine_options(flags);

    options.durability = KILN_OS;
    options.checkpoint_ms = UINT32_MAX;
    return (kiln_status)db_open(path, &options, &environment, db_out);
}

static kiln_status
batch_put(kiln_db *db, uint64_t i)
{
    static uint8_t large[LARGE_BYTES];
    kiln_txn *txn = NULL;
    kiln_coll coll = 0;
    uint8_t key[9] = {'L'};
    kiln_status rc = kiln_txn_begin(db, KILN_WRITE, &txn);

    if (rc != KILN_OK)
        return rc;
    engine_key(i, key + 1);
    rc = kiln_coll_open(txn, "c", KILN_COLL_CREATE, &coll);
    if (rc == KILN_OK)
        rc = engine_series(txn, coll, i * BATCH_KEYS, (i + 1) * BATCH_KEYS, VALUE_BYTES);
    if (rc == KILN_OK)
        rc = kiln_put(txn, coll, key, sizeof key, large, sizeof large, KILN_PUT_INSERT);
    if (rc == KILN_OK)
        return kiln_txn_commit(txn);
    kiln_txn_abort(txn);
    return rc;
}

static uint64_t
keys_in(kiln_db *db)
{
    kiln_txn *txn = engine_begin(db, KILN_READ);
    kiln_coll coll = 0;
    uint64_t count = 0;

    if (kiln_coll_open(txn, "c", 0, &coll) == KILN_OK)
        OK(kiln_coll_count(txn, coll, &count));
    kiln_txn_abort(txn);
    return count;
}

/* So many batches, closed; or given up, with what was put in the log alone. */
static void
database_make(const char *path, bool closed)
{
    kiln_db *db = NULL;

    OK(open_as(path, KILN_CREATE, &db));
    for (uint64_t i = 0; i < BATCHES; i++)
        OK(batch_put(db, i));
    if (closed)
        OK(kiln_close(db));
    else
        db_abandon(db);
}

static void
copy(const char *from, const char *to)
{
    char command[1200];

    snprintf(command, sizeof command, "rm -rf '%s' && cp -r '%s' '%s'", to, from, to);
    REQUIRE(system(command) == 0);
}

/* ---- refusals -------------------------------------------------------------------------------- */

static const struct {
    enum ftk_fault fault;
    const char *name;
    kiln_status status;
} refusals[] = {
    {FTK_FAULT_ALLOC, "allocation", KILN_NOMEM}, {FTK_FAULT_DESCRIPTOR, "descriptor", KILN_NOMEM},
    {FTK_FAULT_THREAD, "thread", KILN_NOMEM},    {FTK_FAULT_READ, "read", KILN_IO},
    {FTK_FAULT_WRITE, "write", KILN_IO},         {FTK_FAULT_SYNC, "sync", KILN_IO},
};
#define REFUSALS (sizeof refusals / sizeof refusals[0])

static void
error_verify(kiln_status rc, size_t what, const char *how)
{
    const kiln_error *error = kiln_error_last();
    bool failed = rc == KILN_FAILED && refusals[what].status == KILN_IO; /* it was met before */

    CHECK_MSG(rc == refusals[what].status || failed, "%s: %s: %s", how, kiln_status_name(rc),
              error->text);
    CHECK_MSG(error->status == rc && error->text != NULL && error->text[0] != '\0',
              "%s: %s, and the words are of %s", how, kiln_status_name(rc),
              kiln_status_name(error->status));
}

/* ---- scenes ---------------------------------------------------------------------------------- */

enum base { NOTHING, CLOSED, CRASHED, BASES };

static const struct {
    const char *name;
    enum base base;
    uint32_t flags;
    enum ftk_aio_kind aio_kind;
} scenes[] = {
    {"creation", NOTHING, KILN_CREATE, FTK_AIO_AUTO},
    {"open after a close", CLOSED, 0, FTK_AIO_LIBAIO},
    {"open without direct I/O", CLOSED, KILN_NO_DIRECT_IO, FTK_AIO_THREADS},
    {"open after a crash", CRASHED, 0, FTK_AIO_AUTO},
    {"read-only open after a crash", CRASHED, KILN_OPEN_READONLY, FTK_AIO_THREADS},
};
#define SCENES (sizeof scenes / sizeof scenes[0])

static const char *bases[BASES];
static const char *path_db;

static void
bases_make(void)
{
    bases[NOTHING] = test_path("nothing");
    bases[CLOSED] = test_path("closed");
    bases[CRASHED] = test_path("crashed");
    path_db = test_path("db");
    REQUIRE(mkdir(bases[NOTHING], 0777) == 0);
    database_make(bases[CLOSED], true);
    database_make(bases[CRASHED], false);
}

static uint64_t
keys_wanted(size_t scene)
{
    return scenes[scene].base == NOTHING ? 0 : BATCHES * (BATCH_KEYS + 1);
}

/* The database is what it was; closed. */
static void
database_verify(kiln_db *db, uint64_t keys, const char *how)
{
    CHECK_MSG(keys_in(db) == keys, "%s: %llu keys", how, (unsigned long long)keys_in(db));
    engine_check(db);
    OK(kiln_close(db));
}

/* ---- opens ----------------------------------------------------------------------------------- */

/* The n-th call is refused; false: none was. */
static bool
open_refused(size_t scene, size_t what, uint64_t n)
{
    struct holdings before = holdings_now();
    kiln_db *db = NULL;
    kiln_status rc;
    char how[160];
    bool hit;

    snprintf(how, sizeof how, "%s, %s %llu", scenes[scene].name, refusals[what].name,
             (unsigned long long)n);
    copy(bases[scenes[scene].base], path_db);
    aio_kind = scenes[scene].aio_kind;
    ftk_fault_arm(refusals[what].fault, n, 1);
    rc = open_as(path_db, scenes[scene].flags, &db);
    hit = ftk_fault_hits(refusals[what].fault) > 0;
    ftk_fault_disarm();
    CHECK_MSG(hit || rc == KILN_OK, "%s: %s without a refusal", how, kiln_error_last()->text);
    if (rc != KILN_OK) {
        CHECK(db == NULL);
        error_verify(rc, what, how);
        holdings_verify(&before, how);
        OK(open_as(path_db, scenes[scene].flags, &db));
    }
    database_verify(db, keys_wanted(scene), how);
    holdings_verify(&before, how);
    return hit;
}

/* About one in `every` of the calls, by the run's seed; each with KILN_TEST_SCALE. */
static void
each_open_is_refused(enum ftk_fault fault, unsigned every)
{
    struct ftk_random random = test_random();
    uint64_t count = 0, stride = 2 * every / test_rounds(1);
    size_t what = 0;

    while (refusals[what].fault != fault)
        what++;
    bases_make();
    for (size_t scene = 0; scene < SCENES; scene++) {
        for (uint64_t n = 1; open_refused(scene, what, n);
             n += 1 + (stride > 1 ? ftk_random_below(&random, stride) : 0))
            count++;
    }
    CHECK(count > 0);
    printf("    %llu %ss refused\n", (unsigned long long)count, refusals[what].name);
}

static void
an_open_without_memory_leaves_nothing(void)
{
    each_open_is_refused(FTK_FAULT_ALLOC, 24);
}

static void
an_open_without_a_descriptor_leaves_nothing(void)
{
    each_open_is_refused(FTK_FAULT_DESCRIPTOR, 3);
}

static void
an_open_without_a_thread_leaves_nothing(void)
{
    each_open_is_refused(FTK_FAULT_THREAD, 1);
}

static void
an_open_that_cannot_read_leaves_nothing(void)
{
    each_open_is_refused(FTK_FAULT_READ, 16);
}

static void
an_open_that_cannot_write_leaves_nothing(void)
{
    each_open_is_refused(FTK_FAULT_WRITE, 2);
}

static void
an_open_that_cannot_sync_leaves_nothing(void)
{
    each_open_is_refused(FTK_FAULT_SYNC, 3);
}

/* ---- closes ---------------------------------------------------------------------------------- */

/* The n-th call of the close, and with `all` those behind it. */
static bool
close_refused(size_t what, uint64_t n, bool all)
{
    struct holdings before = holdings_now();
    uint64_t keys = (BATCHES + 1) * (BATCH_KEYS + 1);
    kiln_db *db = NULL;
    kiln_status rc;
    char how[160];
    bool hit;

    snprintf(how, sizeof how, "close, %s %llu%s", refusals[what].name, (unsigned long long)n,
             all ? " and all behind" : "");
    copy(bases[n % 2 == 0 ? CLOSED : CRASHED], path_db);
    OK(open_as(path_db, 0, &db));
    OK(batch_put(db, BATCHES));
    ftk_fault_arm(refusals[what].fault, n, all ? UINT64_MAX : 1);
    rc = kiln_close(db);
    hit = ftk_fault_hits(refusals[what].fault) > 0;
    ftk_fault_disarm();
    CHECK_MSG(hit || rc == KILN_OK, "%s: %s without a refusal", how, kiln_error_last()->text);
    if (rc != KILN_OK)
        error_verify(rc, what, how);
    holdings_verify(&before, how);
    OK(open_as(path_db, 0, &db));
    database_verify(db, keys, how);
    holdings_verify(&before, how);
    return hit;
}

static void
a_close_that_is_refused_something_leaves_nothing(void)
{
    bases_make();
    for (size_t what = 0; what < REFUSALS; what++) {
        for (uint64_t n = 1; close_refused(what, n, false);)
            n++;
        for (uint64_t n = 1; close_refused(what, n, true);)
            n += 2;
    }
}

/* ---- the limit of descriptors ---------------------------------------------------------------- */

/* Descriptors from here on: `more` of them, and not one beyond. */
static struct rlimit
descriptors_limit(unsigned more)
{
    struct rlimit before, low;
    int next = dup(0);

    REQUIRE(next >= 0 && close(next) == 0);
    REQUIRE(getrlimit(RLIMIT_NOFILE, &before) == 0);
    low = before;
    low.rlim_cur = (rlim_t)next + more;
    REQUIRE(setrlimit(RLIMIT_NOFILE, &low) == 0);
    return before;
}

/* The next free descriptors are in a row: what standard input may have closed does not count. */
static void
an_open_at_the_limit_of_descriptors_leaves_nothing(void)
{
    bases_make();
    for (size_t scene = 0; scene < SCENES; scene++) {
        bool opened = false;

        for (unsigned more = 0; !opened; more++) {
            struct holdings before = holdings_now();
            kiln_db *db = NULL, *second = NULL;
            struct rlimit limit;
            kiln_status rc;
            char how[160];

            snprintf(how, sizeof how, "%s, %u descriptors", scenes[scene].name, more);
            copy(bases[scenes[scene].base], path_db);
            aio_kind = scenes[scene].aio_kind;
            limit = descriptors_limit(more);
            rc = open_as(path_db, scenes[scene].flags, &db);
            opened = rc == KILN_OK;
            if (!opened)
                CHECK_HAS(kiln_error_last()->text, "no file descriptor is free");
            else if (open_as(path_db, 0, &second) == KILN_INUSE) /* and by whom could not be read */
                CHECK_HAS(kiln_error_last()->text, "somebody has it open");
            else
                CHECK_HAS(kiln_error_last()->text, "no file descriptor is free");
            REQUIRE(setrlimit(RLIMIT_NOFILE, &limit) == 0);
            if (opened) {
                STATUS(open_as(path_db, 0, &second), KILN_INUSE);
                CHECK_HAS(kiln_error_last()->text, "already open in this process");
            } else {
                STATUS(rc, KILN_NOMEM);
                holdings_verify(&before, how);
                OK(open_as(path_db, scenes[scene].flags, &db));
            }
            database_verify(db, keys_wanted(scene), how);
            holdings_verify(&before, how);
            REQUIRE(more < 50);
        }
    }
}

/* Work, checks, numbers, limits and checkpoints, when nothing more can be opened. */
static void
an_open_database_works_without_descriptors(void)
{
    kiln_check_options check = KILN_CHECK_OPTIONS_INIT;
    kiln_db *db = NULL;
    struct rlimit limit;
    kiln_stat stat;

    bases_make();
    OK(open_as(bases[CRASHED], 0, &db));
    limit = descriptors_limit(0);
    for (uint64_t i = BATCHES; i < BATCHES + 3; i++) {
        OK(batch_put(db, i));
        OK(kiln_cache_limit((16 + i) << 20));
        OK(kiln_checkpoint(db));
        OK(kiln_check(db, &check));
        kiln_stat_init(&stat);
        OK(kiln_stat_get(db, &stat));
    }
    OK(kiln_close(db));
    REQUIRE(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    OK(open_as(bases[CRASHED], 0, &db));
    database_verify(db, (BATCHES + 3) * (BATCH_KEYS + 1), "without descriptors");
}

/* ---- a thread that is wanted later ----------------------------------------------------------- */

/* Is there a thread of this name? */
static bool
thread_is_there(const char *name)
{
    DIR *dir = opendir("/proc/self/task");
    struct dirent *entry;
    bool found = false;

    REQUIRE(dir != NULL);
    while ((entry = readdir(dir)) != NULL) {
        char path[300], comm[32] = "";
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", entry->d_name);
        FILE *file = fopen(path, "r");
        if (file == NULL)
            continue;
        if (fgets(comm, sizeof comm, file) != NULL)
            found = found || strncmp(comm, name, strlen(name)) == 0;
        fclose(file);
    }
    closedir(dir);
    return found;
}

/* It comes, or goes, in time: a thread names itself, and a joined one may still be listed. */
static bool
thread_becomes(const char *name, bool there)
{
    uint64_t deadline = ftk_clock_ns() + SETTLE_NS;

    while (thread_is_there(name) != there && ftk_clock_ns() < deadline)
        ftk_thread_yield();
    return thread_is_there(name) == there;
}

/* Every `step`th key of a collection whose leaves are not in the cache. */
static kiln_status
batch_beyond_the_cache(kiln_db *db, uint64_t first, uint64_t step)
{
    enum { COUNT = 200 };
    static uint8_t bytes[COUNT][8], value[100];
    kiln_slice keys[COUNT], values[COUNT];
    kiln_txn *txn = engine_begin(db, KILN_WRITE);
    kiln_status rc;

    for (uint64_t i = 0; i < COUNT; i++) {
        engine_key(first + i * step, bytes[i]);
        keys[i] = (kiln_slice){bytes[i], 8};
        values[i] = (kiln_slice){value, sizeof value};
    }
    rc = kiln_put_many(txn, engine_coll(txn, "many"), keys, values, COUNT, 0, NULL);
    if (rc == KILN_OK)
        return kiln_txn_commit(txn);
    kiln_txn_abort(txn);
    return rc;
}

static void
a_reader_that_could_not_start_starts_with_the_next_batch(void)
{
    kiln_db *db = NULL;
    kiln_txn *txn;

    aio_kind = FTK_AIO_AUTO;
    path_db = test_path("db");
    OK(open_as(path_db, KILN_CREATE, &db));
    txn = engine_begin(db, KILN_WRITE);
    OK(engine_series(txn, engine_coll(txn, "many"), 0, 20000, 200));
    OK(kiln_txn_commit(txn));
    OK(kiln_close(db));
    OK(open_as(path_db, 0, &db));
    ftk_fault_arm(FTK_FAULT_THREAD, 1, UINT64_MAX);
    OK(batch_beyond_the_cache(db, 0, 50));
    CHECK(ftk_fault_hits(FTK_FAULT_THREAD) > 0);
    ftk_fault_disarm();
    CHECK(!thread_is_there("kiln-reader"));
    OK(batch_beyond_the_cache(db, 10000, 50));
    CHECK(thread_becomes("kiln-reader", true));
    engine_check(db);
    OK(kiln_close(db));
    CHECK(thread_becomes("kiln-reader", false));
}

TEST_MAIN("engine_system_shortages", TEST(an_open_without_memory_leaves_nothing),
          TEST(an_open_without_a_descriptor_leaves_nothing),
          TEST(an_open_without_a_thread_leaves_nothing),
          TEST(an_open_that_cannot_read_leaves_nothing),
          TEST(an_open_that_cannot_write_leaves_nothing),
          TEST(an_open_that_cannot_sync_leaves_nothing),
          TEST(a_close_that_is_refused_something_leaves_nothing),
          TEST(an_open_at_the_limit_of_descriptors_leaves_nothing),
          TEST(an_open_database_works_without_descriptors),
          TEST(a_reader_that_could_not_start_starts_with_the_next_batch))
