/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ftk/disk_dirs.c -- directories and names of the operating system.
 *
 * 1. A directory is a descriptor: what is looked up in it is found wherever it has been moved.
 * 2. A directory that cannot be opened for reading cannot be synced: an error, since names in it
 *    would not be durable.  A file system that has no sync of directories (it says EINVAL: some of
 *    shared folders and of old network protocols) is synced as a whole; if it cannot be, either,
 *    that is an error too.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "ftk/disk_internal.h"
#include "ftk/fork.h"
#include "ftk/mem.h"

static const struct native_dir *
native_dir(const struct ftk_dir *dir)
{
    return (const struct native_dir *)dir;
}

static int
dir_fd(const struct ftk_dir *dir)
{
    return dir == NULL ? AT_FDCWD : native_dir(dir)->fd;
}

/* An armed fault as if the system call had failed. */
static int
fault_errno(enum ftk_fault kind)
{
    return ftk_fault_due(kind) ? EIO : 0;
}

/* Before and between in "before/path", for messages without memory. */
static const char *
shown_before(const struct ftk_dir *dir, const char *path)
{
    return dir == NULL || *path == '/' ? "" : dir->path;
}

static const char *
shown_between(const struct ftk_dir *dir, const char *path)
{
    const char *before = shown_before(dir, path);
    size_t size = strlen(before);

    return size == 0 || before[size - 1] == '/' ? "" : "/";
}

ftk_status
ftk__path_shown(const struct ftk_dir *dir, const char *path, char **shown_out)
{
    return ftk_path_join(shown_before(dir, path), path, shown_out);
}

static ftk_status
path_failed(const char *operation, const struct ftk_dir *dir, const char *path, int err)
{
    return FTK_FAIL_OS(ftk_status_of_errno(err), err, "%s of %s%s%s failed: %s", operation,
                       shown_before(dir, path), shown_between(dir, path), path,
                       ftk__errno_text(err));
}

static ftk_status
dir_failed(const char *operation, const struct ftk_dir *dir, int err)
{
    return path_failed(operation, NULL, dir->path, err);
}

/* ---- open ----------------------------------------------------------------------------------- */

int
ftk__fd_above(int fd)
{
    if (fd < 0 || fd > STDERR_FILENO)
        return fd;
    int above = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    int err = errno;
    (void)close(fd);
    errno = err;
    return above;
}

int
ftk__open_at(const struct ftk_dir *dir, const char *path, int os_flags)
{
    int fd;

    if (ftk_fault_due(FTK_FAULT_DESCRIPTOR)) {
        errno = EMFILE;
        return -1;
    }
    do
        fd = openat(dir_fd(dir), path, os_flags | O_CLOEXEC | O_NOCTTY, 0666);
    while (fd < 0 && errno == EINTR);
    return ftk__fd_above(fd);
}

ftk_status
ftk__open_failed(const struct ftk_dir *dir, const char *path, int err)
{
    if (err == EMFILE || err == ENFILE)
        return FTK_FAIL_OS(FTK_NOMEM, err, "open of %s%s%s failed: no file descriptor is free (%s)",
                           shown_before(dir, path), shown_between(dir, path), path,
                           err == EMFILE ? "the process has as many as it may"
                                         : "the system has as many as it may");
    return path_failed("open", dir, path, err);
}

ftk_status
ftk__native_dir_open(struct ftk_disk *disk, const struct ftk_dir *in, const char *path,
                     struct ftk_dir **dir_out)
{
    struct native_dir *dir = NULL;
    ftk_status rc = FTK_OK;
    int err = fault_errno(FTK_FAULT_READ);

    *dir_out = NULL;
    ftk__fork_watch();
    FTK_TRY(FTK_NEW(&dir));
    dir->base.disk = disk;
    dir->forks = ftk_forks();
    dir->fd = -1;
    FTK_TRY(ftk__path_shown(in, path, &dir->base.path));
    if (err == 0) {
        dir->fd = ftk__open_at(in, path, O_RDONLY | O_DIRECTORY);
        err = dir->fd < 0 ? errno : 0;
    }
    if (err != 0) {
        rc = ftk__open_failed(in, path, err);
        goto out;
    }
    *dir_out = &dir->base;
    dir = NULL;
out:
    if (dir != NULL) {
        ftk_free(dir->base.path);
        ftk_free(dir);
    }
    return rc;
}

void
ftk__native_dir_close(struct ftk_dir *dir)
{
    (void)close(native_dir(dir)->fd);
    ftk_free(dir->path);
    ftk_free(dir);
}

/* ---- directories ---------------------------------------------------------------------------- */

ftk_status
ftk__native_dir_sync(struct ftk_dir *dir)
{
    int err = fault_errno(FTK_FAULT_SYNC);

    while (err == 0 && fsync(native_dir(dir)->fd) != 0) {
        if (errno != EINTR)
            err = errno;
    }
    if (err == EINVAL) /* rule 2 */
        err = syncfs(native_dir(dir)->fd) != 0 ? errno : 0;
    if (err == 0)
        return FTK_OK;
    return FTK_FAIL_OS(FTK_IO, err, "sync of directory %s failed: %s", dir->path,
                       ftk__errno_text(err));
}

ftk_status
ftk_dir_sync_name(struct ftk_dir *dir)
{
    struct ftk_dir *parent = NULL;
    ftk_status rc = ftk_dir_open_in(dir, "..", &parent);

    if (rc == FTK_OK)
        rc = ftk_dir_sync(parent);
    ftk_dir_close(parent);
    return rc;
}

ftk_status
ftk__native_dir_list(struct ftk_dir *dir, ftk_status (*each)(void *context, const char *name),
                     void *context)
{
    ftk_status rc = FTK_OK;
    int err = fault_errno(FTK_FAULT_READ);
    /* A descriptor of its own: the stream moves its position, and closes it. */
    int fd = err == 0 ? ftk__open_at(dir, ".", O_RDONLY | O_DIRECTORY) : -1;

    if (fd < 0)
        return err != 0 ? dir_failed("list", dir, err) : ftk__open_failed(NULL, dir->path, errno);
    DIR *stream = fdopendir(fd);
    if (stream == NULL) {
        rc = dir_failed("list", dir, errno);
        (void)close(fd);
        return rc;
    }
    while (rc == FTK_OK) {
        errno = 0;
        struct dirent *entry = readdir(stream);
        if (entry == NULL) {
            if (errno != 0)
                rc = dir_failed("list", dir, errno);
            break;
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            rc = each(context, entry->d_name);
    }
    closedir(stream);
    return rc;
}

ftk_status
ftk__native_dir_space(struct ftk_dir *dir, uint64_t *free_out, uint64_t *total_out)
{
    struct statvfs about;
    int err = fault_errno(FTK_FAULT_READ);

    *free_out = 0;
    *total_out = 0;
    while (err == 0 && fstatvfs(native_dir(dir)->fd, &about) != 0) {
        if (errno != EINTR)
            err = errno;
    }
    if (err != 0)
        return dir_failed("space", dir, err);
    *free_out = (uint64_t)about.f_bavail * about.f_frsize;
    *total_out = (uint64_t)about.f_blocks * about.f_frsize;
    return FTK_OK;
}

ftk_status
ftk__native_dir_locate(struct ftk_dir *dir, char **path_out)
{
    char link[64];
    char path[PATH_MAX];
    struct stat there, here;

    *path_out = NULL;
    snprintf(link, sizeof(link), "/proc/self/fd/%d", native_dir(dir)->fd);
    ssize_t size = readlink(link, path, sizeof(path) - 1);
    if (size <= 0)
        return dir_failed("path", dir, size < 0 ? errno : ENOENT);
    path[size] = '\0';
    /* Of a directory that was removed the kernel says "path (deleted)". */
    if (fstat(native_dir(dir)->fd, &here) != 0 || stat(path, &there) != 0)
        return dir_failed("path", dir, errno);
    if (here.st_dev != there.st_dev || here.st_ino != there.st_ino)
        return dir_failed("path", dir, ENOENT);
    return ftk_strdup(path, path_out);
}

/* ---- names ---------------------------------------------------------------------------------- */

/* May this process change names in the directory?  An errno, or 0. */
static int
names_errno(const struct ftk_dir *dir)
{
    if (dir != NULL && native_dir(dir)->forks != ftk_forks())
        return EPERM; /* it is the parent's: fork.h */
    return fault_errno(FTK_FAULT_WRITE);
}

ftk_status
ftk__native_rename(struct ftk_disk *disk, const struct ftk_dir *dir, const char *from,
                   const char *to)
{
    (void)disk;
    int err = names_errno(dir);
    if (err == 0 && renameat(dir_fd(dir), from, dir_fd(dir), to) != 0)
        err = errno;
    if (err != 0)
        return FTK_FAIL_OS(ftk_status_of_errno(err), err, "rename of %s%s%s to %s failed: %s",
                           shown_before(dir, from), shown_between(dir, from), from, to,
                           ftk__errno_text(err));
    return FTK_OK;
}

ftk_status
ftk__native_remove(struct ftk_disk *disk, const struct ftk_dir *dir, const char *path)
{
    (void)disk;
    int err = names_errno(dir);
    if (err == 0 && unlinkat(dir_fd(dir), path, 0) != 0)
        err = errno;
    if (err == EISDIR) /* a directory goes when it is empty */
        err = unlinkat(dir_fd(dir), path, AT_REMOVEDIR) != 0 ? errno : 0;
    return err == 0 ? FTK_OK : path_failed("remove", dir, path, err);
}

ftk_status
ftk__native_mkdir(struct ftk_disk *disk, const struct ftk_dir *dir, const char *path)
{
    (void)disk;
    int err = names_errno(dir);
    if (err == 0 && mkdirat(dir_fd(dir), path, 0777) != 0)
        err = errno;
    return err == 0 ? FTK_OK : path_failed("mkdir", dir, path, err);
}

ftk_status
ftk__native_identify(struct ftk_disk *disk, const struct ftk_dir *dir, const char *path,
                     struct ftk_identity *identity_out)
{
    (void)disk;
    struct stat about;
    int err = fault_errno(FTK_FAULT_READ);

    *identity_out = (struct ftk_identity){0};
    if (err == 0 && fstatat(dir_fd(dir), path, &about, 0) != 0)
        err = errno;
    if (err != 0)
        return path_failed("stat", dir, path, err);
    *identity_out = (struct ftk_identity){about.st_dev, about.st_ino, about.st_nlink};
    return FTK_OK;
}

ftk_status
ftk_path_join(const char *dir, const char *name, char **path_out)
{
    size_t dir_size = strlen(dir);
    size_t size = dir_size + 1 + strlen(name) + 1;
    void *path;
    ftk_status rc = ftk_alloc(size, &path);

    *path_out = path;
    if (rc != FTK_OK)
        return rc;
    const char *between = dir_size == 0 || dir[dir_size - 1] == '/' ? "" : "/";
    snprintf(path, size, "%s%s%s", dir, between, name);
    return FTK_OK;
}
