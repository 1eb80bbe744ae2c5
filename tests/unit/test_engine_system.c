/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/test_engine_system.c -- the real operating system: other processes, kill -9, limits,
 * file systems without O_DIRECT, read-only media.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ftk/clock.h"
#include "tests/unit/engine_testing.h"

/* Run body in a child; its exit code, or 1000 + signal. */
static int
in_child(int (*body)(void *context), void *context)
{
    int status = 0;
    pid_t child = fork();

    if (child == 0)
        _exit(body(context));
    if (waitpid(child, &status, 0) != child)
        return -1;
    return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
}

static int
open_status(void *context)
{
    kiln_options options = engine_options(0);
    kiln_db *db = NULL;
    kiln_status rc = kiln_open(context, &options, &db);

    if (rc == KILN_OK)
        (void)kiln_close(db);
    return (int)rc;
}

static int
open_readonly_status(void *context)
{
    kiln_options options = engine_options(KILN_OPEN_READONLY);
    kiln_db *db = NULL;
    kiln_status rc = kiln_open(context, &options, &db);

    if (rc == KILN_OK)
        (void)kiln_close(db);
    return (int)rc;
}

static void
make(const char *path, uint64_t keys)
{
    kiln_options options = engine_options(KILN_CREATE);
    kiln_db *db = NULL;
    kiln_txn *txn;

    OK(kiln_open(path, &options, &db));
    txn = engine_begin(db, KILN_WRITE);
    OK(engine_series(txn, engine_coll(txn, "c"), 0, keys, 100));
    OK(kiln_txn_commit(txn));
    OK(kiln_close(db));
}

static void
expect(const char *path, uint32_t flags, uint64_t keys)
{
    kiln_options options = engine_options(flags);
    kiln_coll coll = 0;
    uint64_t count = 0;
    kiln_db *db = NULL;
    kiln_txn *txn;

    OK(kiln_open(path, &options, &db));
    txn = engine_begin(db, KILN_READ);
    OK(kiln_coll_open(txn, "c", 0, &coll));
    OK(kiln_coll_count(txn, coll, &count));
    CHECK_EQ(count, keys);
    kiln_txn_abort(txn);
    engine_check(db);
    OK(kiln_close(db));
}

static void
second_process_is_told_that_the_database_is_in_use(void)
{
    kiln_options options = engine_options(KILN_CREATE);
    char *path = strdup(test_path("db"));
    kiln_db *db = NULL, *again = NULL;

    OK(kiln_open(path, &options, &db));
    CHECK_EQ(in_child(open_status, path), KILN_INUSE);
    CHECK_EQ(in_child(open_readonly_status, path), KILN_INUSE);
    STATUS(kiln_open(path, &options, &again), KILN_INUSE);
    CHECK(again == NULL);
    OK(kiln_close(db));
    CHECK_EQ(in_child(open_status, path), KILN_OK);
    options.flags = KILN_OPEN_READONLY; /* readers share */
    OK(kiln_open(path, &options, &db));
#ifndef __SANITIZE_THREAD__ /* cannot start threads in the child of a process with threads */
    CHECK_EQ(in_child(open_readonly_status, path), KILN_OK);
#endif
    CHECK_EQ(in_child(open_status, path), KILN_INUSE);
    OK(kiln_close(db));
    free(path);
}

static int
exits_with_a_copy(void *context)
{
    (void)context;
    return 7; /* the child's copy of the database is left alone */
}

static void
fork_beside_an_open_database_harms_nothing(void)
{
    kiln_options options = engine_options(KILN_CREATE);
    kiln_db *db = NULL;
    kiln_txn *txn;

    OK(kiln_open(test_path("db"), &options, &db));
    for (uint64_t i = 0; i < 10; i++) {
        txn = engine_begin(db, KILN_WRITE);
        OK(engine_series(txn, engine_coll(txn, "c"), i * 100, i * 100 + 100, 100));
        CHECK_EQ(in_child(exits_with_a_copy, NULL), 7);
        OK(kiln_txn_commit(txn));
    }
    OK(kiln_close(db));
    expect(test_path("db"), 0, 1000);
}

static void
file_system_without_direct_io_will_do(void)
{
    char path[] = "/dev/shm/kiln-test-XXXXXX", db[64], command[128];

    if (mkdtemp(path) == NULL)
        return; /* there is none here */
    snprintf(db, sizeof db, "%s/db", path);
    make(db, 5000);
    expect(db, 0, 5000);
    expect(db, KILN_OPEN_READONLY, 5000);
    snprintf(command, sizeof command, "rm -rf %s", path);
    CHECK_EQ(system(command), 0);
}

static void
database_on_read_only_media_can_be_read(void)
{
    char *path = strdup(test_path("db"));
    kiln_options options = engine_options(KILN_OPEN_READONLY);
    kiln_db *db = NULL;
    kiln_txn *txn = NULL;
    struct stat before, after;
    char file[512];

    make(path, 3000);
    snprintf(file, sizeof file, "%s/data.kdb", path);
    REQUIRE(stat(file, &before) == 0);
    REQUIRE(chmod(file, 0444) == 0 && chmod(path, 0555) == 0);
    expect(path, KILN_OPEN_READONLY, 3000);
    OK(kiln_open(path, &options, &db));
    STATUS(kiln_txn_begin(db, KILN_WRITE, &txn), KILN_READONLY);
    STATUS(kiln_checkpoint(db), KILN_READONLY);
    OK(kiln_close(db));
    REQUIRE(stat(file, &after) == 0);
    CHECK_EQ(after.st_size, before.st_size);
    CHECK_EQ(after.st_mtim.tv_nsec, before.st_mtim.tv_nsec);
    CHECK(chmod(path, 0755) == 0);
    free(path);
}

static void
wrong_paths_get_clear_errors(void)
{
    kiln_options options = engine_options(KILN_CREATE);
    kiln_db *db = NULL;
    char path[600];
    FILE *file;

    STATUS(kiln_open(NULL, &options, &db), KILN_INVALID);
    STATUS(kiln_open("", &options, &db), KILN_INVALID);
    STATUS(kiln_open(test_path("no/such/parent"), &options, &db), KILN_NOTFOUND);
    options.flags = 0;
    STATUS(kiln_open(test_path("missing"), &options, &db), KILN_NOTFOUND);
    options.flags = KILN_CREATE;
    file = fopen(test_path("file"), "w");
    REQUIRE(file != NULL);
    fputs("not a directory", file);
    fclose(file);
    CHECK(kiln_open(test_path("file"), &options, &db) != KILN_OK);
    CHECK(kiln_error_last()->text[0] != 0);
    snprintf(path, sizeof path, "%s/data.kdb", test_path("odd"));
    REQUIRE(mkdir(test_path("odd"), 0755) == 0 && mkdir(path, 0755) == 0);
    CHECK(kiln_open(test_path("odd"), &options, &db) != KILN_OK);
    CHECK(db == NULL);
}

static void
options_out_of_range_are_refused(void)
{
    kiln_options options = engine_options(KILN_CREATE);
    kiln_db *db = NULL;

    options.page_bytes = 5000;
    STATUS(kiln_open(test_path("db"), &options, &db), KILN_INVALID);
    options.page_bytes = 131072;
    STATUS(kiln_open(test_path("db"), &options, &db), KILN_INVALID);
    options.page_bytes = 0;
    options.flags = 1u << 30;
    STATUS(kiln_open(test_path("db"), &options, &db), KILN_INVALID);
    options.flags = KILN_CREATE;
    options.rfl_segment_bytes = 1000;
    STATUS(kiln_open(test_path("db"), &options, &db), KILN_INVALID);
    options.rfl_segment_bytes = 0;
    options.io_depth = 1u << 20;
    STATUS(kiln_open(test_path("db"), &options, &db), KILN_INVALID);
    options.io_depth = 0;
    options.durability = (kiln_durability)9;
    STATUS(kiln_open(test_path("db"), &options, &db), KILN_INVALID);
    options.durability = KILN_FULL;
    options.cache_bytes = 1;
    STATUS(kiln_open(test_path("db"), &options, &db), KILN_INVALID);
    STATUS(kiln_cache_limit(4095), KILN_INVALID);
}

/* With each of these limits of address space: it works, or says what is missing. */
static int
limited(void *context)
{
    uint64_t *bytes = context;
    struct rlimit limit = {*bytes, *bytes};
    kiln_options options = engine_options(KILN_CREATE);
    kiln_db *db = NULL;
    kiln_txn *txn = NULL;
    kiln_coll coll;
    kiln_status rc;

    options.flags |= KILN_NO_DIRECT_IO;
    options.cache_bytes = 16 << 20;
    if (setrlimit(RLIMIT_AS, &limit) != 0)
        return 100;
    rc = kiln_open(test_path("db"), &options, &db);
    if (rc != KILN_OK)
        return rc == KILN_NOMEM || rc == KILN_IO ? 0 : 101;
    rc = kiln_txn_begin(db, KILN_WRITE, &txn);
    if (rc == KILN_OK)
        rc = kiln_coll_open(txn, "c", KILN_COLL_CREATE, &coll);
    if (rc == KILN_OK)
        rc = engine_series(txn, coll, 0, 20000, 500);
    if (rc == KILN_OK) {
        rc = kiln_txn_commit(txn);
        txn = NULL;
    }
    kiln_txn_abort(txn);
    if (rc != KILN_OK && rc != KILN_NOMEM && rc != KILN_NOSPACE)
        return 102;
    rc = kiln_close(db);
    return rc == KILN_OK || rc == KILN_NOMEM ? 0 : 103;
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
static void
little_address_space_is_enough_or_an_error(void)
{
    for (uint64_t mib = 40; mib <= 4096; mib = mib * 3 / 2) {
        uint64_t bytes = mib << 20;
        int code = in_child(limited, &bytes);
        CHECK_MSG(code == 0, "%llu MiB: %d", (unsigned long long)mib, code);
    }
    (void)in_child(open_status, strdup(test_path("db")));
}
#else
static void
little_address_space_is_enough_or_an_error(void)
{
    (void)limited; /* sanitizers need terabytes of it */
}
#endif

/* ---- kill -9 --------------------------------------------------------------------------------- */

struct loader {
    char path[512];
    int pipe[2];
    kiln_durability durability;
    uint64_t from;
};

/* Commit numbers from loader->from on, and tell each one after its commit. */
static int
load_for_ever(void *context)
{
    struct loader *loader = context;
    kiln_options options = engine_options(KILN_CREATE);
    kiln_db *db = NULL;

    close(loader->pipe[0]);
    options.durability = loader->durability;
    options.dirty_bytes_max = 1 << 20;
    if (kiln_open(loader->path, &options, &db) != KILN_OK)
        return 1;
    for (uint64_t i = loader->from;; i++) {
        kiln_txn *txn = NULL;
        kiln_coll coll;
        if (kiln_txn_begin(db, KILN_WRITE, &txn) != KILN_OK ||
            kiln_coll_open(txn, "c", KILN_COLL_CREATE, &coll) != KILN_OK ||
            engine_series(txn, coll, i * 20, i * 20 + 20, 200) != KILN_OK ||
            kiln_txn_commit(txn) != KILN_OK)
            return 2;
        if (write(loader->pipe[1], &i, sizeof i) != sizeof i)
            return 3;
    }
}

/* Let a child load for a while, kill it; the number of transactions it said were committed. */
static uint64_t
load_and_kill(struct loader *loader, uint64_t us)
{
    uint64_t number, told = loader->from;
    int status;
    pid_t child;

    REQUIRE(pipe(loader->pipe) == 0);
    child = fork();
    if (child == 0)
        _exit(load_for_ever(loader));
    close(loader->pipe[1]);
    ftk_clock_sleep_ns(us * 1000);
    CHECK_EQ(kill(child, SIGKILL), 0);
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK_MSG(WIFSIGNALED(status), "the loader ended by itself with %d", WEXITSTATUS(status));
    while (read(loader->pipe[0], &number, sizeof number) == sizeof number)
        told = number + 1;
    close(loader->pipe[0]);
    return told;
}

static uint64_t
verify_killed(const char *path)
{
    kiln_options options = engine_options(KILN_CREATE);
    uint64_t count = 0;
    kiln_db *db = NULL;
    kiln_cursor *cursor = NULL;
    kiln_slice key, value;
    kiln_coll coll;
    kiln_txn *txn;

    OK(kiln_open(path, &options, &db));
    txn = engine_begin(db, KILN_READ);
    if (kiln_coll_open(txn, "c", 0, &coll) == KILN_OK) {
        OK(kiln_coll_count(txn, coll, &count));
        OK(kiln_cursor_open(txn, coll, KILN_CURSOR_SCAN, &cursor));
    }
    CHECK_EQ(count % 20, 0);
    for (uint64_t i = 0; i < count; i++) {
        if (kiln_cursor_next(cursor) != KILN_OK || kiln_cursor_item(cursor, &key, &value) != 0 ||
            ftk_get_be64(key.data) != i || ftk_get_be64(value.data) != i)
            REQUIRE_MSG(false, "key %llu", (unsigned long long)i);
    }
    kiln_txn_abort(txn);
    engine_check(db);
    OK(kiln_close(db));
    return count / 20;
}

static void
killed_loader_keeps_its_word(void)
{
    struct ftk_random random = test_random();

    for (unsigned mode = 0; mode < 2; mode++) {
        struct loader loader = {.durability = mode == 0 ? KILN_FULL : KILN_OS};
        snprintf(loader.path, sizeof loader.path, "%s%u", test_path("db"), mode);
        for (unsigned i = 0; i < test_rounds(8); i++) {
            uint64_t told = load_and_kill(&loader, 5000 + ftk_random_below(&random, 60000));
            uint64_t found = verify_killed(loader.path);
            CHECK_MSG(found >= told, "%llu transactions told, %llu found", (unsigned long long)told,
                      (unsigned long long)found);
            loader.from = found;
        }
        printf("    %llu transactions\n", (unsigned long long)loader.from);
    }
}

TEST_MAIN("engine_system", TEST(second_process_is_told_that_the_database_is_in_use),
          TEST(fork_beside_an_open_database_harms_nothing),
          TEST(file_system_without_direct_io_will_do),
          TEST(database_on_read_only_media_can_be_read), TEST(wrong_paths_get_clear_errors),
          TEST(options_out_of_range_are_refused), TEST(little_address_space_is_enough_or_an_error),
          TEST(killed_loader_keeps_its_word))
