/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The native disk when the system says "not now": a signal interrupts a call, descriptors run out;
 * and when it says "not here": a file system without syncs of directories.
 *
 * The calls of the C library that the native disk makes are replaced here by ones that first fail
 * so and so often; and a sync can fail for good.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ftk/disk.h"
#include "kiln.h"
#include "tests/support/test.h"

static unsigned interruptions; /* of the calls to come */
static unsigned interrupted;
static int sync_errno; /* of the next sync, 0: none */
static unsigned syncs;

static bool
interrupt(void)
{
    if (interruptions == 0)
        return false;
    interruptions--;
    interrupted++;
    errno = EINTR;
    return true;
}

int
openat(int dir, const char *path, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    unsigned mode = (flags & O_CREAT) != 0 ? va_arg(rest, unsigned) : 0;
    va_end(rest);
    return interrupt() ? -1 : (int)syscall(SYS_openat, dir, path, flags, mode);
}

static bool
sync_fails(void)
{
    int err = sync_errno;

    syncs++;
    sync_errno = 0;
    errno = err;
    return err != 0;
}

int
fdatasync(int fd)
{
    return sync_fails() || interrupt() ? -1 : (int)syscall(SYS_fdatasync, fd);
}

/* A file system that has no syncs of directories, and what it says to a sync of all of it. */
static struct {
    bool here;
    int err;
    unsigned syncs;
} no_dir_sync;

int
fsync(int fd)
{
    struct stat about;

    if (no_dir_sync.here && fstat(fd, &about) == 0 && S_ISDIR(about.st_mode)) {
        errno = EINVAL;
        return -1;
    }
    return sync_fails() || interrupt() ? -1 : (int)syscall(SYS_fsync, fd);
}

int
syncfs(int fd)
{
    (void)fd; /* of the machine, it would take long */
    no_dir_sync.syncs++;
    errno = no_dir_sync.err;
    return no_dir_sync.err != 0 ? -1 : 0;
}

int
ftruncate(int fd, off_t size)
{
    return interrupt() ? -1 : (int)syscall(SYS_ftruncate, fd, size);
}

int
fallocate(int fd, int mode, off_t offset, off_t size)
{
    return interrupt() ? -1 : (int)syscall(SYS_fallocate, fd, mode, offset, size);
}

ssize_t
pread(int fd, void *memory, size_t size, off_t offset)
{
    return interrupt() ? -1 : (ssize_t)syscall(SYS_pread64, fd, memory, size, offset);
}

ssize_t
pwrite(int fd, const void *memory, size_t size, off_t offset)
{
    return interrupt() ? -1 : (ssize_t)syscall(SYS_pwrite64, fd, memory, size, offset);
}

/* The call succeeds although it was interrupted three times. */
#define CHECK_GOES_ON(call)                                                                        \
    do {                                                                                           \
        interruptions = 3;                                                                         \
        interrupted = 0;                                                                           \
        CHECK_OK(call);                                                                            \
        CHECK_EQ(interrupted, 3);                                                                  \
    } while (0)

static void
an_interrupted_call_goes_on(void)
{
    struct ftk_disk *disk = ftk_disk_native();
    struct ftk_file *file = NULL;
    struct ftk_dir *dir = NULL;
    char bytes[4];

    CHECK_GOES_ON(ftk_dir_open(disk, test_dir(), &dir));
    REQUIRE(dir != NULL);
    CHECK_GOES_ON(ftk_file_open_in(dir, "f", FTK_OPEN_CREATE, &file));
    REQUIRE(file != NULL);
    CHECK_GOES_ON(ftk_file_write(file, "kiln", 4, 0));
    CHECK_GOES_ON(ftk_file_read(file, bytes, 4, 0));
    CHECK_MEM(bytes, "kiln", 4);
    CHECK_GOES_ON(ftk_file_truncate(file, 8));
    CHECK_GOES_ON(ftk_file_sync(file));
    CHECK_GOES_ON(ftk_dir_sync(dir));
    if (ftk_file_allocate(file, 0, 4096) == FTK_OK) /* not on every file system */
        CHECK_GOES_ON(ftk_file_allocate(file, 0, 8192));
    ftk_file_close(file);
    ftk_dir_close(dir);
}

static void
a_shortage_of_descriptors_passes_and_has_words(void)
{
    struct ftk_disk *disk = ftk_disk_native();
    struct ftk_file *file = NULL;
    struct ftk_dir *dir = NULL, *other = NULL;
    struct rlimit before, none;

    REQUIRE_OK(ftk_dir_open(disk, test_dir(), &dir));
    REQUIRE_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 0;
    REQUIRE_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
    CHECK_STATUS(ftk_file_open_in(dir, "f", FTK_OPEN_CREATE, &file), FTK_NOMEM);
    CHECK_HAS(ftk_error_last()->text, "descriptor");
    CHECK_HAS(ftk_error_last()->text, "/f ");
    CHECK_STATUS(ftk_dir_open(disk, test_dir(), &other), FTK_NOMEM);
    CHECK_STATUS(test_dir_sync(disk, test_dir()), FTK_NOMEM);
    REQUIRE_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
    CHECK_OK(ftk_file_open_in(dir, "f", FTK_OPEN_CREATE, &file));
    ftk_file_close(file);
    ftk_dir_close(dir);
}

/* After it the system may have dropped what was to be synced: a second sync would succeed. */
static void
an_error_of_a_sync_is_told_and_the_sync_not_repeated(void)
{
    static const int errors[] = {EIO, ENOSPC, EDQUOT};
    struct ftk_disk *disk = ftk_disk_native();
    struct ftk_file *file = NULL;
    struct ftk_dir *dir = NULL;

    REQUIRE_OK(ftk_dir_open(disk, test_dir(), &dir));
    REQUIRE_OK(ftk_file_open_in(dir, "f", FTK_OPEN_CREATE, &file));
    REQUIRE_OK(ftk_file_write(file, "kiln", 4, 0));
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        syncs = 0;
        sync_errno = errors[i];
        CHECK_STATUS(ftk_file_sync(file), FTK_IO);
        CHECK_HAS(ftk_error_last()->text, "sync of ");
        CHECK_EQ(ftk_error_last()->os_errno, errors[i]);
        CHECK_EQ(syncs, 1);
        sync_errno = errors[i];
        CHECK(ftk_dir_sync(dir) != FTK_OK);
        CHECK_EQ(syncs, 2);
    }
    CHECK_OK(ftk_file_sync(file));
    CHECK_OK(ftk_dir_sync(dir));
    ftk_file_close(file);
    ftk_dir_close(dir);
}

static void
a_directory_without_a_sync_is_synced_with_its_file_system(void)
{
    static const int errors[] = {EIO, EINVAL, ENOSYS, EROFS};
    struct ftk_disk *disk = ftk_disk_native();
    struct ftk_dir *dir = NULL;

    no_dir_sync.here = false;
    no_dir_sync.syncs = 0;
    no_dir_sync.err = 0;
    REQUIRE_OK(ftk_dir_open(disk, test_dir(), &dir));
    CHECK_OK(ftk_dir_sync(dir));
    CHECK_EQ(no_dir_sync.syncs, 0); /* it has one */
    no_dir_sync.here = true;
    CHECK_OK(ftk_dir_sync(dir));
    CHECK_EQ(no_dir_sync.syncs, 1);
    CHECK_OK(ftk_dir_sync_name(dir));
    CHECK_EQ(no_dir_sync.syncs, 2);
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        no_dir_sync.err = errors[i];
        CHECK_STATUS(ftk_dir_sync(dir), FTK_IO);
        CHECK_HAS(ftk_error_last()->text, "sync of directory");
        CHECK_EQ(ftk_error_last()->os_errno, errors[i]);
    }
    no_dir_sync.here = false;
    ftk_dir_close(dir);
}

static kiln_status
put_one(kiln_db *db, const char *key)
{
    kiln_txn *txn;
    kiln_coll coll;

    REQUIRE_OK((ftk_status)kiln_txn_begin(db, KILN_WRITE, &txn));
    REQUIRE_OK((ftk_status)kiln_coll_open(txn, "c", KILN_COLL_CREATE, &coll));
    REQUIRE_OK((ftk_status)kiln_put(txn, coll, key, 1, "v", 1, 0));
    return kiln_txn_commit(txn);
}

static void
a_database_where_names_cannot_be_made_durable_is_refused(void)
{
    kiln_options options = KILN_OPTIONS_INIT;
    kiln_db *db = NULL;

    options.flags = KILN_CREATE;
    options.durability = KILN_FULL;
    no_dir_sync.here = true;
    no_dir_sync.err = 0;
    no_dir_sync.syncs = 0;
    REQUIRE_OK((ftk_status)kiln_open(test_path("whole"), &options, &db));
    CHECK(no_dir_sync.syncs > 0); /* its names are durable */
    CHECK_OK((ftk_status)put_one(db, "a"));
    CHECK_OK((ftk_status)kiln_close(db));
    no_dir_sync.err = EIO;
    CHECK_STATUS((ftk_status)kiln_open(test_path("none"), &options, &db), FTK_IO);
    CHECK(db == NULL);
    no_dir_sync.err = 0;
    REQUIRE_OK((ftk_status)kiln_open(test_path("whole"), &options, &db));
    CHECK_OK((ftk_status)put_one(db, "b"));
    CHECK_OK((ftk_status)kiln_close(db));
    no_dir_sync.here = false;
}

TEST_MAIN("ftk_interrupted", TEST(an_interrupted_call_goes_on),
          TEST(a_directory_without_a_sync_is_synced_with_its_file_system),
          TEST(a_database_where_names_cannot_be_made_durable_is_refused),
          TEST(a_shortage_of_descriptors_passes_and_has_words),
          TEST(an_error_of_a_sync_is_told_and_the_sync_not_repeated))
