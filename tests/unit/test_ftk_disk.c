/* SPDX-License-Identifier: Apache-2.0 */
/* The native disk: whole transfers, clear refusals, alignment found from the file. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ftk/disk_internal.h"
#include "ftk/mem.h"
#include "tests/support/test.h"

static struct ftk_file *
open_file(const char *name, unsigned flags)
{
    struct ftk_file *file = NULL;
    REQUIRE_OK(ftk_file_open(ftk_disk_native(), test_path(name), flags, &file));
    return file;
}

static void
what_is_written_is_read(void)
{
    struct ftk_file *file = open_file("f", FTK_OPEN_CREATE);
    char bytes[8];
    uint64_t size;

    CHECK_EQ(file->io_align, 1);
    CHECK(!file->direct);
    CHECK_OK(ftk_file_write(file, "kiln", 4, 3));
    CHECK_OK(ftk_file_size(file, &size));
    CHECK_EQ(size, 7);
    CHECK_OK(ftk_file_read(file, bytes, 7, 0));
    CHECK_MEM(bytes, "\0\0\0kiln", 7);
    CHECK_OK(ftk_file_read(file, bytes, 0, 7));
    CHECK_STATUS(ftk_file_read(file, bytes, 8, 0), FTK_IO);
    CHECK_HAS(ftk_error_last()->text, "short read");
    CHECK_HAS(ftk_error_last()->text, file->path);
    CHECK_OK(ftk_file_sync(file));
    CHECK_OK(ftk_file_truncate(file, 4));
    CHECK_OK(ftk_file_truncate(file, 5));
    CHECK_OK(ftk_file_read(file, bytes, 5, 0));
    CHECK_MEM(bytes, "\0\0\0k\0", 5);
    CHECK_STATUS(ftk_file_write(file, "x", 1, UINT64_MAX - 1), FTK_TOOBIG);
    CHECK_STATUS(ftk_file_truncate(file, UINT64_MAX), FTK_TOOBIG);
    CHECK_STATUS(ftk_file_allocate(file, UINT64_MAX - 1, 4), FTK_TOOBIG);
    ftk_file_close(file);
    ftk_file_close(NULL);
}

static void
open_says_why_not(void)
{
    struct ftk_disk *disk = ftk_disk_native();
    struct ftk_file *file;

    CHECK_STATUS(ftk_file_open(disk, test_path("none"), 0, &file), FTK_NOTFOUND);
    CHECK_HAS(ftk_error_last()->text, "none");
    CHECK(file == NULL);
    ftk_file_close(open_file("f", FTK_OPEN_CREATE | FTK_OPEN_EXCLUSIVE));
    CHECK_STATUS(ftk_file_open(disk, test_path("f"), FTK_OPEN_CREATE | FTK_OPEN_EXCLUSIVE, &file),
                 FTK_EXISTS);
    CHECK_STATUS(ftk_file_open(disk, test_dir(), FTK_OPEN_READ_ONLY, &file), FTK_INVALID);
    REQUIRE_EQ(mkfifo(test_path("fifo"), 0600), 0);
    CHECK_STATUS(ftk_file_open(disk, test_path("fifo"), 0, &file), FTK_INVALID); /* no hang */
    CHECK_STATUS(ftk_file_open(disk, test_path("fifo"), FTK_OPEN_READ_ONLY, &file), FTK_INVALID);
}

static void
a_read_only_file_is_not_written(void)
{
    ftk_file_close(open_file("f", FTK_OPEN_CREATE));
    REQUIRE_EQ(chmod(test_path("f"), 0400), 0);
    struct ftk_file *file = open_file("f", FTK_OPEN_READ_ONLY | FTK_OPEN_DIRECT);

    CHECK_STATUS(ftk_file_write(file, "x", 0, 0), FTK_READONLY);
    CHECK_STATUS(ftk_file_truncate(file, 0), FTK_READONLY);
    CHECK_STATUS(ftk_file_allocate(file, 0, 1), FTK_READONLY);
    ftk_file_close(file);
}

static void
direct_io_has_the_alignment_of_the_file(void)
{
    struct ftk_file *file = open_file("f", FTK_OPEN_CREATE | FTK_OPEN_DIRECT);
    char *memory;

    if (!file->direct) { /* a file system without it: nothing to align */
        CHECK_EQ(file->io_align, 1);
        CHECK_OK(ftk_file_write(file, "x", 1, 1));
        ftk_file_close(file);
        return;
    }
    uint32_t align = file->io_align;
    CHECK(align >= 1 && (align & (align - 1)) == 0);
    REQUIRE_OK(ftk_alloc_aligned(65536, 65536, (void **)&memory));
    memset(memory, 'd', 65536);
    CHECK_OK(ftk_file_write(file, memory, align, align));
    CHECK_OK(ftk_file_read(file, memory, align, 0));
    CHECK_EQ(memory[0], 0);
    if (align > 1) {
        CHECK_STATUS(ftk_file_write(file, memory, align + 1, 0), FTK_INVALID);
        CHECK_HAS(ftk_error_last()->text, "direct I/O");
        CHECK_STATUS(ftk_file_write(file, memory, align, 1), FTK_INVALID);
        CHECK_STATUS(ftk_file_read(file, memory + file->mem_align / 2, align, 0), FTK_INVALID);
    }
    CHECK_STATUS(ftk_file_read(file, memory, 2 * align, align), FTK_IO);
    CHECK_HAS(ftk_error_last()->text, "short read");
    ftk_file_close(file);

    /* A size off the grid, made by another program: the end is an end, not EINVAL. */
    file = open_file("g", FTK_OPEN_CREATE);
    CHECK_OK(ftk_file_write(file, memory, 65536 - 7, 0));
    ftk_file_close(file);
    file = open_file("g", FTK_OPEN_DIRECT);
    CHECK_STATUS(ftk_file_read(file, memory, 65536, 0), FTK_IO);
    CHECK_HAS(ftk_error_last()->text, "short read");
    ftk_file_close(file);
    ftk_free(memory);
}

static void
allocate_reserves_and_reads_as_zero(void)
{
    struct ftk_file *file = open_file("f", FTK_OPEN_CREATE | FTK_OPEN_DIRECT);
    struct stat about;
    uint64_t size;
    char *memory;

    REQUIRE_OK(ftk_alloc_aligned(4096, 8192, (void **)&memory));
    memset(memory, 'x', 8192);
    CHECK_OK(ftk_file_write(file, memory, 4096, 0));
    CHECK_OK(ftk_file_allocate(file, 0, 1 << 20));
    CHECK_OK(ftk_file_size(file, &size));
    CHECK_EQ(size, 1 << 20);
    CHECK_EQ(stat(file->path, &about), 0);
    CHECK(about.st_blocks * 512 >= 1 << 20);
    CHECK_OK(ftk_file_read(file, memory, 8192, 0));
    CHECK_EQ(memory[0], 'x');
    CHECK_EQ(memory[4096], 0);
    CHECK_OK(ftk_file_allocate(file, 0, 4096)); /* never shrinks */
    CHECK_OK(ftk_file_size(file, &size));
    CHECK_EQ(size, 1 << 20);
    CHECK_OK(ftk_file_allocate(file, 0, 0));
    ftk_free(memory);
    ftk_file_close(file);
}

/* Where there is no fallocate: onto a size off the grid of direct I/O, to one off the grid. */
static void
allocate_can_do_without_the_kernel(void)
{
    struct ftk_file *file = open_file("f", FTK_OPEN_CREATE);
    struct stat about;
    uint64_t size;
    char *memory;

    CHECK_OK(ftk_file_write(file, "end", 3, 1000));
    ftk_file_close(file);
    file = open_file("f", FTK_OPEN_DIRECT);
    CHECK_OK(ftk__allocate_by_writing(file, 1003, (1 << 20) + 77));
    CHECK_OK(ftk_file_size(file, &size));
    CHECK_EQ(size, (1 << 20) + 77);
    REQUIRE_EQ(stat(file->path, &about), 0);
    CHECK(about.st_blocks * 512 >= 1 << 20);
    ftk_file_close(file);
    file = open_file("f", 0);
    REQUIRE_OK(ftk_alloc((1 << 20) + 77, (void **)&memory));
    CHECK_OK(ftk_file_read(file, memory, (1 << 20) + 77, 0));
    CHECK_MEM(memory + 1000, "end", 3);
    CHECK_EQ(memory[1003], 0);
    CHECK(memcmp(memory + 1003, memory + 1004, (1 << 20) + 77 - 1004) == 0);
    ftk_free(memory);
    ftk_file_close(file);
}

/* Trial reads come to an alignment that the kernel's own answer divides. */
static void
alignment_can_be_found_by_trial(void)
{
    struct ftk_file *file = open_file("f", FTK_OPEN_CREATE | FTK_OPEN_DIRECT);

    if (file->direct) {
        CHECK_EQ(ftk__align_try(ftk__native_file(file)->fd), 4096); /* empty: cannot be tried */
        CHECK_OK(ftk_file_allocate(file, 0, 65536));
        uint32_t align = ftk__align_try(ftk__native_file(file)->fd);
        CHECK(align >= 512 && align <= 4096);
        CHECK_EQ(align % file->io_align, 0);
    }
    ftk_file_close(file);
}

static void
a_file_that_cannot_grow_stays_as_it_was(void)
{
    struct ftk_file *file = open_file("f", FTK_OPEN_CREATE);
    struct rlimit before, limit;
    char bytes[4096] = {1};
    uint64_t size;

    REQUIRE_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    limit.rlim_cur = 1 << 20;
    signal(SIGXFSZ, SIG_IGN);
    CHECK_OK(ftk_file_write(file, bytes, sizeof bytes, 0));
    REQUIRE_EQ(setrlimit(RLIMIT_FSIZE, &limit), 0);
    ftk_status allocated = ftk_file_allocate(file, 0, 8 << 20);
    ftk_status written = ftk_file_write(file, bytes, sizeof bytes, (1 << 20) - 512);
    ftk_status whole = ftk_file_write(file, bytes, sizeof bytes, 2 << 20);
    REQUIRE_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, SIG_DFL);
    CHECK_EQ(allocated, FTK_NOSPACE);
    CHECK_EQ(written, FTK_NOSPACE); /* half of it went through: still an error */
    CHECK_EQ(whole, FTK_NOSPACE);
    CHECK_OK(ftk_file_size(file, &size));
    CHECK_EQ(size, 1 << 20); /* the part written; nothing of the allocation */
    ftk_file_close(file);
}

static void
a_lock_keeps_others_out(void)
{
    struct ftk_file *file = open_file("f", FTK_OPEN_CREATE);
    struct ftk_file *other = open_file("f", 0);
    int ready[2], go[2];
    char byte = 0;

    CHECK_OK(ftk_file_lock(file, true));
    CHECK_STATUS(ftk_file_lock(other, true), FTK_INUSE);
    CHECK_HAS(ftk_error_last()->text, "this process");
    CHECK_STATUS(ftk_file_lock(other, false), FTK_INUSE);
    ftk_file_close(file);
    CHECK_OK(ftk_file_lock(other, false));
    file = open_file("f", FTK_OPEN_READ_ONLY);
    CHECK_OK(ftk_file_lock(file, false)); /* shared with shared */
    CHECK_STATUS(ftk_file_lock(other, true), FTK_INUSE);
    ftk_file_close(file);
    ftk_file_close(other);

    REQUIRE_EQ(pipe(ready), 0);
    REQUIRE_EQ(pipe(go), 0);
    const char *path = test_path("f");
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        struct ftk_file *mine;
        close(go[1]);
        bool good = ftk_file_open(ftk_disk_native(), path, 0, &mine) == FTK_OK &&
                    ftk_file_lock(mine, true) == FTK_OK;
        byte = good ? 'y' : 'n';
        if (write(ready[1], &byte, 1) == 1 && read(go[0], &byte, 1) >= 0)
            _exit(0);
        _exit(1);
    }
    REQUIRE_EQ(read(ready[0], &byte, 1), 1);
    CHECK_EQ(byte, 'y');
    file = open_file("f", 0);
    CHECK_STATUS(ftk_file_lock(file, true), FTK_INUSE);
    if (access("/proc/locks", R_OK) == 0) {
        char pid[32];
        snprintf(pid, sizeof pid, "process %d", (int)child);
        CHECK_HAS(ftk_error_last()->text, pid);
    }
    close(go[1]);
    waitpid(child, NULL, 0);
    CHECK_OK(ftk_file_lock(file, true)); /* gone with its process */
    ftk_file_close(file);
    close(go[0]);
    close(ready[0]);
    close(ready[1]);
}

static ftk_status
count_name(void *context, const char *name)
{
    unsigned *count = context;
    ++*count;
    return strcmp(name, "stop") == 0 ? FTK_CANCELED : FTK_OK;
}

static void
names_come_and_go(void)
{
    struct ftk_disk *disk = ftk_disk_native();
    const struct ftk_disk_ops *ops = disk->ops;
    uint64_t free_bytes, total;
    unsigned count = 0;
    char *path;

    CHECK_OK(ops->mkdir(disk, NULL, test_path("d")));
    CHECK_STATUS(ops->mkdir(disk, NULL, test_path("d")), FTK_EXISTS);
    ftk_file_close(open_file("d/a", FTK_OPEN_CREATE));
    ftk_file_close(open_file("d/b", FTK_OPEN_CREATE));
    CHECK_OK(test_dir_list(disk, test_path("d"), count_name, &count));
    CHECK_EQ(count, 2);
    CHECK_OK(ops->rename(disk, NULL, test_path("d/a"), test_path("d/b")));
    CHECK_STATUS(ops->rename(disk, NULL, test_path("d/a"), test_path("d/b")), FTK_NOTFOUND);
    CHECK_OK(ops->rename(disk, NULL, test_path("d/b"), test_path("d/stop")));
    CHECK_OK(test_dir_sync(disk, test_path("d")));
    CHECK_STATUS(test_dir_list(disk, test_path("d"), count_name, &count), FTK_CANCELED);
    CHECK_STATUS(test_dir_list(disk, test_path("none"), count_name, &count), FTK_NOTFOUND);
    CHECK_STATUS(test_dir_sync(disk, test_path("none")), FTK_NOTFOUND);
    CHECK_STATUS(ops->remove(disk, NULL, test_path("d/a")), FTK_NOTFOUND);
    CHECK_OK(ops->remove(disk, NULL, test_path("d/stop")));
    CHECK_OK(ops->remove(disk, NULL, test_path("d")));
    CHECK_OK(test_dir_space(disk, test_dir(), &free_bytes, &total));
    CHECK(total >= free_bytes && total > 0);
    CHECK_STATUS(test_dir_space(disk, test_path("none"), &free_bytes, &total), FTK_NOTFOUND);

    REQUIRE_OK(ftk_path_join("a", "b", &path));
    CHECK_STR(path, "a/b");
    ftk_free(path);
    REQUIRE_OK(ftk_path_join("a/", "b", &path));
    CHECK_STR(path, "a/b");
    ftk_free(path);
    REQUIRE_OK(ftk_path_join("", "b", &path));
    CHECK_STR(path, "b");
    ftk_free(path);
}

static ftk_status
use_everything(void *context)
{
    struct ftk_disk *disk = ftk_disk_native();
    const char *const *paths = context;
    struct ftk_file *file = NULL;
    char bytes[16] = {0};
    uint64_t size, free_bytes, total;
    unsigned count = 0;
    ftk_status rc = FTK_OK;

    FTK_TRY(disk->ops->mkdir(disk, NULL, paths[0]));
    FTK_TRY(ftk_file_open(disk, paths[1], FTK_OPEN_CREATE, &file));
    FTK_TRY(ftk_file_write(file, bytes, sizeof bytes, 0));
    FTK_TRY(ftk_file_allocate(file, 0, 4096));
    FTK_TRY(ftk_file_truncate(file, 64));
    FTK_TRY(ftk_file_read(file, bytes, sizeof bytes, 0));
    FTK_TRY(ftk_file_size(file, &size));
    FTK_TRY(ftk_file_sync(file));
    FTK_TRY(disk->ops->rename(disk, NULL, paths[1], paths[2]));
    FTK_TRY(test_dir_sync(disk, paths[0]));
    FTK_TRY(test_dir_list(disk, paths[0], count_name, &count));
    FTK_TRY(test_dir_space(disk, paths[0], &free_bytes, &total));
    FTK_TRY(disk->ops->remove(disk, NULL, paths[2]));
out:
    ftk_file_close(file);
    ftk_fault_disarm();
    (void)disk->ops->remove(disk, NULL, paths[1]);
    (void)disk->ops->remove(disk, NULL, paths[2]);
    (void)disk->ops->remove(disk, NULL, paths[0]);
    return rc;
}

static void
every_call_can_be_made_to_fail(void)
{
    const char *paths[3] = {test_path("d"), test_path("d/a"), test_path("d/b")};

    CHECK_EQ(test_each_fault(FTK_FAULT_READ, use_everything, paths), 8);
    CHECK_EQ(test_each_fault(FTK_FAULT_WRITE, use_everything, paths), 6);
    CHECK_EQ(test_each_fault(FTK_FAULT_SYNC, use_everything, paths), 2);
    CHECK_EQ(test_each_fault(FTK_FAULT_ALLOC, use_everything, paths), 8);
}

TEST_MAIN("ftk_disk", TEST(what_is_written_is_read), TEST(open_says_why_not),
          TEST(a_read_only_file_is_not_written), TEST(direct_io_has_the_alignment_of_the_file),
          TEST(allocate_reserves_and_reads_as_zero), TEST(allocate_can_do_without_the_kernel),
          TEST(alignment_can_be_found_by_trial), TEST(a_file_that_cannot_grow_stays_as_it_was),
          TEST(a_lock_keeps_others_out), TEST(names_come_and_go),
          TEST(every_call_can_be_made_to_fail))
