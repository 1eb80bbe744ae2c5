/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/test_engine_places.c -- whose files they are: a database goes on with its own files
 * whatever becomes of paths, and never touches another's.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "engine/txn/db_state.h"
#include "ftk/clock.h"
#include "ftk/thread.h"
#include "tests/unit/engine_testing.h"

enum { ROUNDS = 60, PER_ROUND = 100, VALUE_BYTES = 1000 }; /* 6 MB of log: three segments */

static kiln_options
place_options(uint32_t flags)
{
    kiln_options options = engine_options(flags);

    options.durability = KILN_OS;
    options.checkpoint_ms = UINT32_MAX;
    return options;
}

static kiln_db *
place_open(const char *path, uint32_t flags)
{
    kiln_options options = place_options(flags);
    kiln_db *db = NULL;

    OK(kiln_open(path, &options, &db));
    return db;
}

/* A round of the series in one transaction. */
static kiln_status
place_round(kiln_db *db, uint64_t round)
{
    kiln_txn *txn = NULL;
    kiln_coll coll = 0;
    kiln_status rc = kiln_txn_begin(db, KILN_WRITE, &txn);

    if (rc != KILN_OK)
        return rc;
    rc = kiln_coll_open(txn, "c", KILN_COLL_CREATE, &coll);
    if (rc == KILN_OK)
        rc = engine_series(txn, coll, round * PER_ROUND, (round + 1) * PER_ROUND, VALUE_BYTES);
    if (rc != KILN_OK) {
        kiln_txn_abort(txn);
        return rc;
    }
    return kiln_txn_commit(txn);
}

/* Rounds [from, to), a checkpoint in their midst: segments are made, retired, made again. */
static void
place_rounds(kiln_db *db, uint64_t from, uint64_t to)
{
    for (uint64_t round = from; round < to; round++) {
        OK(place_round(db, round));
        if (round == (from + to) / 2)
            OK(kiln_checkpoint(db));
    }
}

static void
place_expect_with(const char *path, const kiln_options *options, uint64_t rounds)
{
    kiln_coll coll = 0;
    uint64_t count = 0;
    kiln_db *db = NULL;
    kiln_txn *txn;

    OK(kiln_open(path, options, &db));
    txn = engine_begin(db, KILN_READ);
    OK(kiln_coll_open(txn, "c", 0, &coll));
    OK(kiln_coll_count(txn, coll, &count));
    CHECK_EQ(count, rounds * PER_ROUND);
    kiln_txn_abort(txn);
    engine_check(db);
    OK(kiln_close(db));
}

static void
place_expect(const char *path, uint64_t rounds)
{
    place_expect_with(path, NULL, rounds);
}

static void
go(const char *path)
{
    REQUIRE_MSG(chdir(path) == 0, "chdir to %s", path);
}

/* ---- the working directory ------------------------------------------------------------------ */

static void
relative_path_holds_whatever_the_working_directory_becomes(void)
{
    char *top = strdup(test_dir()), *other = strdup(test_path("other"));
    kiln_db *db;

    REQUIRE_EQ(mkdir(other, 0755), 0);
    go(top);
    db = place_open("db", KILN_CREATE);
    go(other);
    place_rounds(db, 0, ROUNDS);
    OK(kiln_close(db));
    go(top);
    CHECK_EQ(rmdir("other"), 0); /* nothing was left in it */
    place_expect("db", ROUNDS);
    go("/");
    free(top);
    free(other);
}

static void
same_relative_name_in_two_directories_is_two_databases(void)
{
    char *top = strdup(test_dir());
    kiln_db *one, *two;

    go(top);
    REQUIRE(mkdir("t1", 0755) == 0 && mkdir("t2", 0755) == 0);
    go("t1");
    one = place_open("data", KILN_CREATE);
    go("../t2");
    two = place_open("./data/", KILN_CREATE);
    for (uint64_t round = 0; round < ROUNDS; round++) {
        OK(place_round(one, round));
        if (round < ROUNDS / 2)
            OK(place_round(two, round));
        if (round % 20 == 19)
            OK(kiln_checkpoint(round % 40 == 19 ? one : two));
    }
    OK(kiln_close(one));
    OK(kiln_close(two));
    go(top);
    place_expect("t1/data", ROUNDS);
    place_expect("t2/data", ROUNDS / 2);
    go("/");
    free(top);
}

struct archived {
    char directory[256];
    unsigned count;
};

/* Copies the segment away, as a program would; it has changed its working directory by then. */
static kiln_status
archive_copy(void *context, const char *path)
{
    struct archived *archived = context;
    char command[1024];

    CHECK_EQ(path[0], '/');
    snprintf(command, sizeof command, "cp '%s' '%s'", path, archived->directory);
    archived->count++;
    return system(command) == 0 ? KILN_OK : KILN_IO;
}

static void
archive_gets_a_path_that_holds(void)
{
    kiln_options options = place_options(KILN_CREATE);
    struct archived archived = {.count = 0};
    char *top = strdup(test_dir());
    kiln_db *db = NULL;

    snprintf(archived.directory, sizeof archived.directory, "%s", test_path("archive"));
    REQUIRE_EQ(mkdir(archived.directory, 0755), 0);
    options.archive = archive_copy;
    options.archive_context = &archived;
    go(top);
    OK(kiln_open("db", &options, &db));
    go("/");
    place_rounds(db, 0, ROUNDS / 2);
    REQUIRE_EQ(rename(test_path("db"), test_path("moved")), 0);
    place_rounds(db, ROUNDS / 2, ROUNDS);
    OK(kiln_checkpoint(db));
    OK(kiln_close(db));
    CHECK(archived.count >= 2);
    CHECK_EQ(rmdir(archived.directory) != 0 && errno == ENOTEMPTY, 1);
    place_expect(test_path("moved"), ROUNDS);
    free(top);
}

/* ---- directories moved and replaced --------------------------------------------------------- */

static void
moved_database_goes_on_and_the_one_in_its_place_is_left_alone(void)
{
    char *path = strdup(test_path("db")), *moved = strdup(test_path("moved"));
    kiln_db *one = place_open(path, KILN_CREATE), *two;

    place_rounds(one, 0, ROUNDS / 3);
    REQUIRE_EQ(rename(path, moved), 0);
    two = place_open(path, KILN_CREATE);
    place_rounds(two, 0, 10);
    place_rounds(one, ROUNDS / 3, ROUNDS);
    place_rounds(two, 10, 20);
    OK(kiln_close(one));
    OK(kiln_close(two));
    place_expect(moved, ROUNDS);
    place_expect(path, 20);
    free(path);
    free(moved);
}

static void
link_that_is_pointed_elsewhere_changes_nothing(void)
{
    char *link = strdup(test_path("link")), *one_path = strdup(test_path("one"));
    char *two_path = strdup(test_path("two"));
    kiln_db *one, *two;

    REQUIRE(mkdir(one_path, 0755) == 0 && mkdir(two_path, 0755) == 0);
    REQUIRE_EQ(symlink("one", link), 0);
    one = place_open(link, KILN_CREATE);
    place_rounds(one, 0, 10);
    REQUIRE(unlink(link) == 0 && symlink("two", link) == 0);
    two = place_open(link, KILN_CREATE);
    place_rounds(two, 0, 20);
    place_rounds(one, 10, ROUNDS);
    OK(kiln_close(two));
    OK(kiln_close(one));
    place_expect(one_path, ROUNDS);
    place_expect(two_path, 20);
    free(link);
    free(one_path);
    free(two_path);
}

static void
removed_directory_fails_at_once_and_harms_nobody(void)
{
    char *path = strdup(test_path("db"));
    char command[600];
    kiln_db *one = place_open(path, KILN_CREATE), *two;
    kiln_status rc = KILN_OK;

    place_rounds(one, 0, 5);
    snprintf(command, sizeof command, "rm -rf '%s'", path);
    REQUIRE_EQ(system(command), 0);
    two = place_open(path, KILN_CREATE);
    place_rounds(two, 0, 20);
    for (uint64_t round = 5; round < ROUNDS && rc == KILN_OK; round++)
        rc = place_round(one, round);
    CHECK(rc != KILN_OK);
    (void)kiln_close(one);
    OK(kiln_close(two));
    place_expect(path, 20);
    free(path);
}

static void
log_elsewhere_moved_and_replaced_stays_its_own(void)
{
    kiln_options options = place_options(KILN_CREATE);
    char *logs = strdup(test_path("log")), *moved = strdup(test_path("log.moved"));
    char *one_path = strdup(test_path("one")), *two_path = strdup(test_path("two"));
    kiln_db *one = NULL, *two = NULL;

    options.rfl_dir = logs;
    OK(kiln_open(one_path, &options, &one));
    place_rounds(one, 0, 10);
    REQUIRE_EQ(rename(logs, moved), 0);
    OK(kiln_open(two_path, &options, &two)); /* its log is at the old place of the first one's */
    place_rounds(two, 0, 20);
    place_rounds(one, 10, ROUNDS);
    place_rounds(two, 20, 25);
    OK(kiln_close(one));
    OK(kiln_close(two));
    place_expect_with(two_path, &options, 25);
    REQUIRE(rename(logs, test_path("log.two")) == 0 && rename(moved, logs) == 0);
    place_expect_with(one_path, &options, ROUNDS);
    free(logs);
    free(moved);
    free(one_path);
    free(two_path);
}

static void
two_databases_cannot_share_a_log_directory(void)
{
    kiln_options options = place_options(KILN_CREATE);
    char *one_path = strdup(test_path("one")), *two_path = strdup(test_path("two"));
    char begun[1024];
    kiln_db *one = NULL, *two = NULL;

    options.rfl_dir = test_path("log");
    OK(kiln_open(one_path, &options, &one));
    place_rounds(one, 0, 20); /* it has spare files by now */
    STATUS(kiln_open(two_path, &options, &two), KILN_FOREIGN);
    CHECK_HAS(kiln_error_last()->text, "has the log of another database");
    snprintf(begun, sizeof begun, "%s/data.kdb.new", two_path);
    CHECK(access(begun, F_OK) != 0); /* it was refused before anything was made */
    place_rounds(one, 20, ROUNDS);   /* none of them was taken away */
    OK(kiln_close(one));
    STATUS(kiln_open(two_path, &options, &two), KILN_FOREIGN);
    place_expect_with(one_path, &options, ROUNDS);
    free(one_path);
    free(two_path);
}

static void
file_copy(const char *from, const char *to)
{
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    char bytes[65536];
    size_t n;

    REQUIRE(in != NULL && out != NULL);
    while ((n = fread(bytes, 1, sizeof bytes, in)) > 0)
        REQUIRE_EQ(fwrite(bytes, 1, n, out), n);
    REQUIRE_EQ(fclose(in), 0);
    REQUIRE_EQ(fclose(out), 0);
}

/* The copy has the first one's identity, and its header names the same log. */
static void
copy_of_a_database_does_not_write_into_the_log_of_the_first(void)
{
    kiln_options options = place_options(KILN_CREATE), plain = place_options(0);
    char *one_path = strdup(test_path("one")), *two_path = strdup(test_path("two"));
    char *data_path = strdup(test_path("one/data.kdb"));
    kiln_db *one = NULL, *two = NULL;

    options.rfl_dir = test_path("log");
    OK(kiln_open(one_path, &options, &one));
    place_rounds(one, 0, 5);
    OK(kiln_close(one));
    REQUIRE_EQ(mkdir(two_path, 0755), 0);
    file_copy(data_path, test_path("two/data.kdb"));
    OK(kiln_open(one_path, &plain, &one));
    place_rounds(one, 5, 10);
    STATUS(kiln_open(two_path, &plain, &two), KILN_INUSE);
    CHECK_HAS(kiln_error_last()->text, "rfl.lock");
    plain.flags = KILN_OPEN_READONLY;
    STATUS(kiln_open(two_path, &plain, &two), KILN_INUSE);
    place_rounds(one, 10, ROUNDS);
    OK(kiln_close(one));
    place_expect(one_path, ROUNDS);
    file_copy(data_path, test_path("two/data.kdb"));
    OK(kiln_open(one_path, &plain, &one)); /* both read */
    OK(kiln_open(two_path, &plain, &two));
    OK(kiln_close(one));
    plain.flags = 0;
    STATUS(kiln_open(one_path, &plain, &one), KILN_INUSE);
    OK(kiln_close(two));
    OK(kiln_open(one_path, &plain, &one));
    OK(kiln_close(one));
    free(one_path);
    free(two_path);
    free(data_path);
}

/* A symbolic link in place of the log's directory is carried along by a copy, too. */
static void
link_to_a_log_in_use_is_refused(void)
{
    kiln_options plain = place_options(0);
    char *one_path = strdup(test_path("one")), *two_path = strdup(test_path("two"));
    char *own = strdup(test_path("one/rfl")), *data_path = strdup(test_path("one/data.kdb"));
    kiln_db *one = place_open(one_path, KILN_CREATE), *two = NULL;

    place_rounds(one, 0, 5);
    OK(kiln_close(one));
    REQUIRE_EQ(mkdir(two_path, 0755), 0);
    file_copy(data_path, test_path("two/data.kdb"));
    REQUIRE_EQ(symlink(own, test_path("two/rfl")), 0);
    OK(kiln_open(two_path, &plain, &two));
    STATUS(kiln_open(one_path, &plain, &one), KILN_INUSE);
    OK(kiln_close(two));
    place_expect(one_path, 5);
    free(one_path);
    free(two_path);
    free(own);
    free(data_path);
}

static ftk_status
spare_find(void *context, const char *name)
{
    char(*found)[64] = context;

    if (strstr(name, ".spare") != NULL || strstr(name, ".new") != NULL)
        snprintf(*found, sizeof *found, "/db/rfl/%s", name);
    return FTK_OK;
}

static void
file_put_in_the_place_of_a_spare_is_not_written(void)
{
    struct simdisk *disk = simdisk_new(&(struct simdisk_options){.seed = test_seed()});
    struct ftk_disk *base = simdisk_disk(disk);
    kiln_db *db = engine_open(disk, KILN_CREATE);
    struct ftk_file *file = NULL;
    char name[64] = "", bytes[8];
    uint64_t round = 0, size = 0;
    kiln_status rc = KILN_OK;

    for (; *name == 0 && round < 200; round++) {
        OK(place_round(db, round));
        if (round % 10 == 9)
            OK(kiln_checkpoint(db)); /* full segments become spares */
        REQUIRE_OK(test_dir_list(base, "/db/rfl", spare_find, &name));
    }
    REQUIRE(*name != 0);
    REQUIRE_OK(base->ops->remove(base, NULL, name));
    REQUIRE_OK(ftk_file_open(base, name, FTK_OPEN_CREATE, &file));
    CHECK_OK(ftk_file_write(file, "not ours", 8, 0));
    for (uint64_t end = round + 200; round < end && rc == KILN_OK; round++)
        rc = place_round(db, round);
    CHECK(rc != KILN_OK);
    CHECK_HAS(kiln_error_last()->text, "another file has taken the place");
    (void)kiln_close(db);
    ftk_file_close(file);
    REQUIRE_OK(ftk_file_open(base, name, FTK_OPEN_READ_ONLY, &file)); /* its name is its own */
    CHECK_OK(ftk_file_size(file, &size));
    CHECK_EQ(size, 8);
    CHECK_OK(ftk_file_read(file, bytes, 8, 0));
    CHECK_MEM(bytes, "not ours", 8);
    ftk_file_close(file);
    simdisk_free(disk);
}

static void
file_put_in_the_way_of_a_segment_is_not_replaced(void)
{
    struct simdisk *disk = simdisk_new(&(struct simdisk_options){.seed = test_seed()});
    struct ftk_disk *base = simdisk_disk(disk);
    kiln_db *db = engine_open(disk, KILN_CREATE);
    struct ftk_file *file = NULL;
    kiln_status rc = KILN_OK;
    uint64_t size = 0;

    REQUIRE_OK(ftk_file_open(base, "/db/rfl/0000000000000004.rfl", FTK_OPEN_CREATE, &file));
    CHECK_OK(ftk_file_write(file, "not ours", 8, 0));
    for (uint64_t round = 0; round < 200 && rc == KILN_OK; round++)
        rc = place_round(db, round);
    CHECK(rc != KILN_OK);
    CHECK_HAS(kiln_error_last()->text, "not the log's");
    (void)kiln_close(db);
    CHECK_OK(ftk_file_size(file, &size));
    CHECK_EQ(size, 8);
    ftk_file_close(file);
    simdisk_free(disk);
}

static void
lock_file_removed_lets_nobody_in(void)
{
    kiln_options options = place_options(0);
    char *path = strdup(test_path("db"));
    kiln_db *db = place_open(path, KILN_CREATE), *second = NULL;

    OK(place_round(db, 0));
    REQUIRE_EQ(unlink(test_path("db/lock")), 0);
    STATUS(kiln_open(path, &options, &second), KILN_INUSE);
    options.flags = KILN_OPEN_READONLY;
    STATUS(kiln_open(path, &options, &second), KILN_INUSE);
    OK(place_round(db, 1));
    OK(kiln_close(db));
    place_expect(path, 2);
    free(path);
}

/* ---- names that survive a power cut --------------------------------------------------------- */

/* Create at `path`, commit, cut the power: is the commit there, opened as `plain`? */
static void
name_survives(const char *path, const char *plain, const char *logs, bool deeper)
{
    struct simdisk *disk = simdisk_new(&(struct simdisk_options){.seed = test_seed()});
    struct db_environment environment = {.disk = simdisk_disk(disk), .manual = true};
    kiln_options options = engine_options(KILN_CREATE);
    kiln_db *db = NULL;
    kiln_txn *txn;

    if (deeper) {
        REQUIRE_OK(simdisk_disk(disk)->ops->mkdir(simdisk_disk(disk), NULL, "/a"));
        REQUIRE_OK(test_dir_sync(simdisk_disk(disk), "/"));
    }
    options.rfl_dir = logs;
    REQUIRE_OK(db_open(path, &options, &environment, &db));
    txn = engine_begin(db, KILN_WRITE);
    OK(engine_put(txn, engine_coll(txn, "c"), "k", "v"));
    OK(kiln_txn_commit(txn));
    simdisk_crash_as(disk, SIMDISK_NONE, test_seed());
    db_abandon(db);
    db = NULL;
    options.flags = 0;
    CHECK_MSG(db_open(plain, &options, &environment, &db) == FTK_OK, "%s as %s, log %s: %s", path,
              plain, logs != NULL ? logs : "inside", ftk_error_last()->text);
    if (db != NULL) {
        txn = engine_begin(db, KILN_READ);
        CHECK_VALUE(txn, engine_coll(txn, "c"), "k", "v");
        kiln_txn_abort(txn);
        engine_end(disk, db);
    } else {
        simdisk_free(disk);
    }
}

static void
however_the_path_is_written_its_name_is_durable(void)
{
    static const char *const ways[] = {"/db",    "/db/",     "/db///",       "/db/.",
                                       "/db/./", "//db",     "db",           "db/",
                                       "./db",   "./db/./.", "/./db//.//./", "/../db/."};

    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++)
        name_survives(ways[i], "/db", NULL, false);
    name_survives("/a/db/", "/a/db", NULL, true);
    name_survives("a/./db//", "/a/db", NULL, true);
    name_survives("/a/../a/db/.", "/a/db", NULL, true);
}

static void
so_is_the_name_of_a_log_elsewhere(void)
{
    static const char *const ways[] = {"/log", "/log/", "log//", "/log/.", "./log/./", "/db/log/"};

    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++)
        name_survives("/db/", "/db", ways[i], false);
    name_survives("/db", "/db", "/a/log/", true);
}

static void
slashes_at_the_end_do_on_the_native_disk_too(void)
{
    char *path = strdup(test_path("db//./")), *plain = strdup(test_path("db"));
    kiln_db *db = place_open(path, KILN_CREATE);

    place_rounds(db, 0, 5);
    OK(kiln_close(db));
    place_expect(plain, 5);
    free(path);
    free(plain);
}

static void
directory_that_cannot_be_synced_is_an_error(void)
{
    struct simdisk *disk = simdisk_new(&(struct simdisk_options){.seed = test_seed()});
    kiln_options options = engine_options(KILN_CREATE);
    kiln_db *db = engine_open(disk, KILN_CREATE);
    uint64_t syncs;

    OK(kiln_close(db));
    syncs = simdisk_count(disk, SIMDISK_SYNC_DIR);
    db = engine_open(disk, 0);
    syncs = simdisk_count(disk, SIMDISK_SYNC_DIR) - syncs;
    OK(kiln_close(db));
    CHECK(syncs >= 2); /* the database's name, and the names in it */
    options.flags = 0;
    for (uint64_t i = 1; i <= syncs; i++) {
        simdisk_fail(disk, SIMDISK_SYNC_DIR, i, 1, EACCES);
        CHECK_MSG(engine_try_open(disk, &options, &db) != FTK_OK, "sync %d of %d", (int)i,
                  (int)syncs);
        simdisk_fail_clear(disk);
    }
    options.flags = KILN_OPEN_READONLY; /* that syncs nothing */
    simdisk_fail(disk, SIMDISK_SYNC_DIR, 1, UINT64_MAX, EACCES);
    CHECK_OK(engine_try_open(disk, &options, &db));
    OK(kiln_close(db));
    simdisk_free(disk);
}

static void
parent_that_may_not_be_read_is_said(void)
{
    char *parent = strdup(test_path("p"));
    int status = 0;

    REQUIRE_EQ(mkdir(parent, 0777), 0);
    REQUIRE_EQ(chmod(parent, 0333), 0);
    pid_t child = fork();
    if (child == 0) {
        kiln_options options = place_options(KILN_CREATE);
        kiln_db *db;
        go(parent); /* what is above may be closed to the other user */
        if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0))
            _exit(2);
        _exit(kiln_open("db", &options, &db) == KILN_IO &&
                      strstr(kiln_error_last()->text, "Permission") != NULL
                  ? 0
                  : 1);
    }
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
    REQUIRE_EQ(chmod(parent, 0755), 0);
    free(parent);
}

/* ---- processes ------------------------------------------------------------------------------ */

/* A program that closed the standard descriptors prints while kiln writes segments. */
static int
chatter(const char *path)
{
    kiln_options options = place_options(KILN_CREATE);
    kiln_db *db = NULL;

    for (int fd = 0; fd < 3; fd++)
        close(fd);
    if (kiln_open(path, &options, &db) != KILN_OK)
        return 1;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        if (place_round(db, round) != KILN_OK ||
            (round % 20 == 0 && kiln_checkpoint(db) != KILN_OK))
            return 2;
        for (int fd = 0; fd < 3; fd++)
            if (write(fd, "a stray message\n", 16) >= 0)
                return 3;
    }
    return kiln_close(db) == KILN_OK ? 0 : 4;
}

static void
what_is_printed_to_closed_descriptors_lands_nowhere(void)
{
    char *path = strdup(test_path("db"));
    int status = 0;
    pid_t child = fork();

    if (child == 0)
        _exit(chatter(path));
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
    place_expect(path, ROUNDS);
    free(path);
}

/* In the child of a fork: nothing can be done with the parent's database. */
static int
use_inherited(kiln_db *db, kiln_txn *txn, const char *path)
{
    kiln_txn *mine = NULL;
    kiln_db *own = NULL;

    if (kiln_txn_begin(db, KILN_READ, &mine) != KILN_STATE ||
        kiln_txn_begin(db, KILN_WRITE, &mine) != KILN_STATE || kiln_checkpoint(db) != KILN_STATE ||
        kiln_txn_commit(txn) != KILN_STATE)
        return 1;
    kiln_txn_abort(txn);
    if (kiln_close(db) != KILN_STATE || kiln_open(path, NULL, &own) != KILN_INUSE)
        return 2;
    return 0;
}

static void
child_can_do_nothing_with_the_database_of_its_parent(void)
{
    char *path = strdup(test_path("db"));
    kiln_db *db = place_open(path, KILN_CREATE);
    kiln_txn *txn = engine_begin(db, KILN_WRITE);
    int status = 0;

    OK(engine_series(txn, engine_coll(txn, "c"), 0, PER_ROUND, VALUE_BYTES));
    pid_t child = fork();
    if (child == 0)
        _exit(use_inherited(db, txn, path));
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
    OK(kiln_txn_commit(txn));
    OK(kiln_close(db));
    place_expect(path, 1);
    free(path);
}

struct failing {
    kiln_db *db;
    _Atomic bool inside, go_on;
};

/* Called with a lock of the database. */
static void
logs_slowly(void *context, kiln_log_level level, const char *text)
{
    struct failing *failing = context;

    (void)level;
    (void)text;
    atomic_store(&failing->inside, true);
    while (!atomic_load(&failing->go_on))
        ftk_clock_sleep_ns(100000);
}

static void
fail(void *context)
{
    struct failing *failing = context;

    (void)db_fail(failing->db, FTK_FAIL(FTK_IO, "the device is gone"));
}

static void
child_of_a_fork_amid_a_failure_hears_that_it_cannot(void)
{
    char *path = strdup(test_path("db"));
    struct failing failing = {0};
    struct ftk_thread thread = {0};
    kiln_options options = place_options(KILN_CREATE);
    kiln_txn *txn;
    int status = 0;

    options.log = logs_slowly;
    options.log_context = &failing;
    options.log_level = KILN_LOG_ERROR;
    OK(kiln_open(path, &options, &failing.db));
    txn = engine_begin(failing.db, KILN_WRITE);
    REQUIRE_EQ(ftk_thread_start(&thread, "fails", fail, &failing), FTK_OK);
    for (unsigned i = 0; i < 100000 && !atomic_load(&failing.inside); i++)
        ftk_clock_sleep_ns(100000);
    CHECK(atomic_load(&failing.inside));
    pid_t child = fork();
    if (child == 0) {
        alarm(60);
        _exit(use_inherited(failing.db, txn, path));
    }
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
    atomic_store(&failing.go_on, true);
    ftk_thread_join(&thread);
    kiln_txn_abort(txn);
    CHECK_EQ(kiln_close(failing.db), KILN_FAILED);
    free(path);
}

static void
closed_database_opens_again_while_a_child_lives(void)
{
    char *path = strdup(test_path("db"));
    kiln_db *db = place_open(path, KILN_CREATE);
    int hold[2], status = 0;
    char byte;

    REQUIRE_EQ(pipe(hold), 0);
    pid_t child = fork();
    if (child == 0) {
        close(hold[1]);
        _exit(read(hold[0], &byte, 1) == 0 ? 0 : 1);
    }
    OK(place_round(db, 0));
    OK(kiln_close(db));
    place_expect(path, 1);
    close(hold[1]);
    CHECK_EQ(waitpid(child, &status, 0), child);
    CHECK_EQ(status, 0);
    close(hold[0]);
    free(path);
}

static void
programs_started_inherit_nothing(void)
{
    char *path = strdup(test_path("db"));
    char command[600];
    kiln_db *db = place_open(path, KILN_CREATE);

    place_rounds(db, 0, 10);
    snprintf(command, sizeof command, "! ls -l /proc/self/fd | grep -q '%s'", path);
    CHECK_EQ(system(command), 0);
    OK(kiln_close(db));
    free(path);
}

TEST_MAIN(
    "engine_places", TEST(relative_path_holds_whatever_the_working_directory_becomes),
    TEST(same_relative_name_in_two_directories_is_two_databases),
    TEST(archive_gets_a_path_that_holds),
    TEST(moved_database_goes_on_and_the_one_in_its_place_is_left_alone),
    TEST(link_that_is_pointed_elsewhere_changes_nothing),
    TEST(removed_directory_fails_at_once_and_harms_nobody),
    TEST(log_elsewhere_moved_and_replaced_stays_its_own),
    TEST(two_databases_cannot_share_a_log_directory),
    TEST(copy_of_a_database_does_not_write_into_the_log_of_the_first),
    TEST(link_to_a_log_in_use_is_refused), TEST(file_put_in_the_place_of_a_spare_is_not_written),
    TEST(file_put_in_the_way_of_a_segment_is_not_replaced), TEST(lock_file_removed_lets_nobody_in),
    TEST(however_the_path_is_written_its_name_is_durable), TEST(so_is_the_name_of_a_log_elsewhere),
    TEST(slashes_at_the_end_do_on_the_native_disk_too),
    TEST(directory_that_cannot_be_synced_is_an_error), TEST(parent_that_may_not_be_read_is_said),
    TEST(what_is_printed_to_closed_descriptors_lands_nowhere),
    TEST(child_can_do_nothing_with_the_database_of_its_parent),
    TEST(child_of_a_fork_amid_a_failure_hears_that_it_cannot),
    TEST(closed_database_opens_again_while_a_child_lives), TEST(programs_started_inherit_nothing))
