/* SPDX-License-Identifier: Apache-2.0 */
/* Directories as handles, and what a fork does to open files; on both disks where it can be. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ftk/disk_internal.h"
#include "tests/support/simdisk.h"
#include "tests/support/test.h"

static ftk_status
count_name(void *context, const char *name)
{
    ++*(unsigned *)context;
    return strcmp(name, "stop") == 0 ? FTK_CANCELED : FTK_OK;
}

static void
put_file(const struct ftk_dir *dir, const char *name, const char *text)
{
    struct ftk_file *file = NULL;

    REQUIRE_OK(ftk_file_open_in(dir, name, FTK_OPEN_CREATE, &file));
    CHECK_OK(ftk_file_write(file, text, strlen(text), 0));
    CHECK_OK(ftk_file_sync(file));
    ftk_file_close(file);
}

static void
check_file(const struct ftk_dir *dir, const char *name, const char *text)
{
    struct ftk_file *file = NULL;
    char bytes[16];

    REQUIRE_OK(ftk_file_open_in(dir, name, FTK_OPEN_READ_ONLY, &file));
    CHECK_OK(ftk_file_read(file, bytes, strlen(text), 0));
    CHECK_MEM(bytes, text, strlen(text));
    ftk_file_close(file);
}

/* Two directories change their places: every call goes to the one that was opened. */
static void
follow(struct ftk_disk *disk, const char *at)
{
    struct ftk_dir *top, *a, *b, *parent;
    struct ftk_file *file;
    struct ftk_identity one, two;
    char *where;
    unsigned count = 0;

    REQUIRE_OK(ftk_dir_open(disk, at, &top));
    REQUIRE_OK(disk->ops->mkdir(disk, top, "a"));
    REQUIRE_OK(disk->ops->mkdir(disk, top, "b"));
    REQUIRE_OK(ftk_dir_open_in(top, "a", &a));
    REQUIRE_OK(ftk_dir_open_in(top, "b", &b));
    put_file(a, "f", "of a");
    CHECK_OK(ftk_dir_rename(top, "a", "moved"));
    CHECK_OK(ftk_dir_rename(top, "b", "a"));
    put_file(b, "f", "of b");
    check_file(a, "f", "of a");
    CHECK_OK(ftk_dir_identify(a, "f", &one));
    CHECK_OK(ftk_dir_identify(b, "f", &two));
    CHECK(!ftk_identity_same(&one, &two));
    CHECK_OK(ftk_dir_identify(top, "moved/f", &two));
    CHECK(ftk_identity_same(&one, &two));
    REQUIRE_OK(ftk_file_open_in(a, "f", 0, &file));
    CHECK(ftk_identity_same(&file->identity, &one));
    ftk_file_close(file);
    CHECK_OK(ftk_dir_rename(a, "f", "g"));
    CHECK_OK(ftk_dir_identify(a, "g", &two)); /* a file keeps its identity under another name */
    CHECK(ftk_identity_same(&one, &two));
    check_file(top, "moved/g", "of a");
    CHECK_STATUS(ftk_dir_identify(a, "f", &two), FTK_NOTFOUND);
    CHECK_OK(ftk_dir_list(a, count_name, &count));
    CHECK_EQ(count, 1);
    CHECK_OK(ftk_dir_locate(a, &where));
    CHECK_HAS(where, "/moved");
    ftk_free(where);
    CHECK_OK(ftk_dir_sync_name(a));
    REQUIRE_OK(ftk_dir_open_in(a, "..", &parent));
    check_file(parent, "a/f", "of b");
    ftk_dir_close(parent);
    CHECK_OK(ftk_dir_remove(a, "g"));
    CHECK_OK(ftk_dir_remove(top, "moved"));
    CHECK_STATUS(ftk_dir_locate(a, &where), FTK_NOTFOUND);
    CHECK_STATUS(ftk_file_open_in(a, "f", FTK_OPEN_CREATE, &file), FTK_NOTFOUND);
    CHECK_STATUS(ftk_dir_open_in(top, "a/f", &parent), FTK_IO);
    CHECK_STATUS(ftk_dir_open_in(top, "none", &parent), FTK_NOTFOUND);
    CHECK_HAS(ftk_error_last()->text, "none");
    ftk_dir_close(a);
    ftk_dir_close(b);
    ftk_dir_close(top);
    ftk_dir_close(NULL);
}

static void
a_directory_is_followed_where_it_moves(void)
{
    follow(ftk_disk_native(), test_dir());
}

static void
the_simulated_disk_follows_it_too(void)
{
    struct simdisk *disk = simdisk_new(NULL);

    follow(simdisk_disk(disk), "/");
    simdisk_free(disk);
}

static void
the_simulated_directory_is_dead_after_a_power_cut(void)
{
    struct simdisk *disk = simdisk_new(NULL);
    struct ftk_dir *dir, *below;
    struct ftk_file *file;

    REQUIRE_OK(ftk_dir_open(simdisk_disk(disk), "/", &dir));
    simdisk_crash_as(disk, SIMDISK_ALL, 1);
    CHECK_STATUS(ftk_dir_sync(dir), FTK_IO);
    CHECK_STATUS(ftk_dir_open_in(dir, ".", &below), FTK_IO);
    CHECK_STATUS(ftk_file_open_in(dir, "f", FTK_OPEN_CREATE, &file), FTK_IO);
    ftk_dir_close(dir);
    simdisk_free(disk);
}

/* ---- processes ------------------------------------------------------------------------------ */

static int
status_of(pid_t child)
{
    int status = 0;

    if (child < 0 || waitpid(child, &status, 0) != child)
        return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

/* Everything that opens something, with the standard descriptors closed: are they free after it? */
static bool
standard_ones_stay_free(const char *at)
{
    struct ftk_disk *disk = ftk_disk_native();
    struct ftk_dir *dir = NULL;
    struct ftk_file *file = NULL, *again = NULL;
    struct ftk_aio *aio[2] = {NULL, NULL};
    unsigned count = 0;
    bool good = true;

    close(0);
    close(1);
    close(2);
    good &= ftk_dir_open(disk, at, &dir) == FTK_OK;
    good &= good && ftk_file_open_in(dir, "f", FTK_OPEN_CREATE, &file) == FTK_OK;
    good &= good && ftk_file_open_in(dir, "f", FTK_OPEN_DIRECT, &again) == FTK_OK;
    good &= good && ftk_file_lock(file, true) == FTK_OK && ftk_file_lock(again, true) == FTK_INUSE;
    good &= good && ftk_dir_list(dir, count_name, &count) == FTK_OK;
    good &= good && disk->ops->aio_open(disk, FTK_AIO_AUTO, 4, &aio[0]) == FTK_OK;
    good &= good && disk->ops->aio_open(disk, FTK_AIO_THREADS, 4, &aio[1]) == FTK_OK;
    for (int fd = 0; fd < 3; fd++)
        good &= fcntl(fd, F_GETFD) < 0 && errno == EBADF;
    for (int i = 0; i < 2; i++)
        if (aio[i] != NULL)
            disk->ops->aio_close(aio[i]);
    ftk_file_close(again);
    ftk_file_close(file);
    ftk_dir_close(dir);
    return good;
}

static void
standard_descriptors_are_never_used(void)
{
    const char *at = test_dir();
    pid_t child = fork();

    if (child == 0)
        _exit(standard_ones_stay_free(at) ? 0 : 1);
    CHECK_EQ(status_of(child), 0);
}

static struct ftk_file *
locked_file(const char *path)
{
    struct ftk_file *file = NULL;

    if (ftk_file_open(ftk_disk_native(), path, FTK_OPEN_CREATE, &file) == FTK_OK &&
        ftk_file_lock(file, true) == FTK_OK)
        return file;
    ftk_file_close(file);
    return NULL;
}

/* A child that lives until the pipe is closed. */
static pid_t
child_that_stays(int pipe_fds[2], bool by_system_call)
{
    char byte;
    REQUIRE_EQ(pipe(pipe_fds), 0);
    pid_t child = by_system_call ? (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) : fork();

    if (child == 0) {
        close(pipe_fds[1]);
        _exit(read(pipe_fds[0], &byte, 1) == 0 ? 0 : 1);
    }
    close(pipe_fds[0]);
    return child;
}

static void
a_closed_file_is_unlocked_whatever_a_child_holds(void)
{
    const char *path = test_path("f");

    for (int by_system_call = 0; by_system_call < 2; by_system_call++) {
        struct ftk_file *file = locked_file(path);
        int pipe_fds[2];
        REQUIRE(file != NULL);
        pid_t child = child_that_stays(pipe_fds, by_system_call != 0);
        CHECK(locked_file(path) == NULL);
        ftk_file_close(file);
        file = locked_file(path);
        CHECK(file != NULL);
        close(pipe_fds[1]);
        CHECK_EQ(status_of(child), 0);
        CHECK(locked_file(path) == NULL); /* the child's end has not freed the new lock */
        ftk_file_close(file);
    }
}

static void
a_child_that_ends_or_closes_does_not_unlock(void)
{
    struct ftk_file *file = locked_file(test_path("f"));

    REQUIRE(file != NULL);
    for (int closes = 0; closes < 2; closes++) {
        pid_t child = fork();
        if (child == 0) {
            if (closes)
                ftk_file_close(file);
            _exit(0);
        }
        CHECK_EQ(status_of(child), 0);
        CHECK(locked_file(test_path("f")) == NULL);
    }
    CHECK_OK(ftk_file_write(file, "mine", 4, 0));
    ftk_file_close(file);
}

/* A process that locks the file, and dies with a child that lives until `go` is closed. */
static void
lock_and_die(const char *path, int ready, const int go[2])
{
    struct ftk_file *file = locked_file(path);
    char byte = 'y';

    if (file == NULL)
        _exit(1);
    close(go[1]);
    if (fork() == 0) {
        if (write(ready, &byte, 1) == 1 && read(go[0], &byte, 1) == 0)
            _exit(0);
        _exit(1);
    }
    (void)read(go[0], &byte, 1); /* until it is killed */
}

static void
a_dead_process_holds_no_lock_through_its_child(void)
{
    const char *path = test_path("f");
    int ready[2], go[2];
    char byte = 0;

    REQUIRE_EQ(pipe(ready), 0);
    REQUIRE_EQ(pipe(go), 0);
    pid_t child = fork();
    if (child == 0) {
        lock_and_die(path, ready[1], go);
        _exit(1);
    }
    close(ready[1]);
    CHECK_EQ(read(ready[0], &byte, 1), 1); /* the grandchild lives */
    CHECK(locked_file(path) == NULL);
    CHECK_EQ(kill(child, SIGKILL), 0);
    CHECK_EQ(status_of(child), 1000 + SIGKILL);
    struct ftk_file *file = locked_file(path);
    CHECK(file != NULL);
    ftk_file_close(file);
    close(go[1]);
    CHECK_EQ(read(ready[0], &byte, 1), 0); /* and has ended */
    close(go[0]);
    close(ready[0]);
}

/* In the child: is every change of what the parent opened refused, and a file of its own not? */
static bool
child_changes_nothing(struct ftk_dir *dir, struct ftk_file *file)
{
    struct ftk_file *own = NULL;
    bool good = ftk_file_write(file, "theirs", 6, 0) == FTK_STATE &&
                ftk_file_truncate(file, 0) == FTK_STATE &&
                ftk_file_allocate(file, 0, 4096) == FTK_STATE &&
                ftk_file_lock(file, true) == FTK_STATE && ftk_dir_rename(dir, "f", "g") == FTK_IO &&
                ftk_dir_remove(dir, "f") == FTK_IO;

    good = good && ftk_file_open_in(dir, "own", FTK_OPEN_CREATE, &own) == FTK_OK &&
           ftk_file_write(own, "own", 3, 0) == FTK_OK && ftk_file_lock(own, true) == FTK_OK;
    ftk_file_close(own);
    return good;
}

static void
a_child_changes_nothing_that_the_parent_opened(void)
{
    struct ftk_file *file = locked_file(test_path("f"));
    struct ftk_dir *dir = NULL;

    REQUIRE(file != NULL);
    REQUIRE_OK(ftk_dir_open(ftk_disk_native(), test_dir(), &dir));
    CHECK_OK(ftk_file_write(file, "parent's", 8, 0));
    pid_t child = fork();
    if (child == 0)
        _exit(child_changes_nothing(dir, file) ? 0 : 1);
    CHECK_EQ(status_of(child), 0);
    check_file(dir, "f", "parent's");
    ftk_file_close(file);
    ftk_dir_close(dir);
}

static void
a_directory_that_cannot_be_read_cannot_be_synced(void)
{
    const char *at = test_path("d");
    struct ftk_dir *dir = NULL;

    REQUIRE_EQ(mkdir(at, 0755), 0);
    REQUIRE_EQ(mkdir(test_path("d/below"), 0755), 0);
    REQUIRE_EQ(chmod(at, 0333), 0);
    pid_t child = fork();
    if (child == 0) {
        if (chdir(at) != 0) /* what is above may be closed to the other user */
            _exit(4);
        if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0))
            _exit(2);
        if (ftk_dir_open(ftk_disk_native(), "below", &dir) != FTK_OK)
            _exit(3);
        _exit(ftk_dir_sync_name(dir) == FTK_IO ? 0 : 1);
    }
    CHECK_EQ(status_of(child), 0);
    REQUIRE_EQ(chmod(at, 0755), 0);
}

TEST_MAIN("ftk_dirs", TEST(a_directory_is_followed_where_it_moves),
          TEST(the_simulated_disk_follows_it_too),
          TEST(the_simulated_directory_is_dead_after_a_power_cut),
          TEST(standard_descriptors_are_never_used),
          TEST(a_closed_file_is_unlocked_whatever_a_child_holds),
          TEST(a_child_that_ends_or_closes_does_not_unlock),
          TEST(a_dead_process_holds_no_lock_through_its_child),
          TEST(a_child_changes_nothing_that_the_parent_opened),
          TEST(a_directory_that_cannot_be_read_cannot_be_synced))
