/* ftk/disk_dirs.c -- directories and paths of the operating system. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "ftk/disk_internal.h"
#include "ftk/mem.h"

/* An armed fault as if the system call had failed. */
static int
fault_errno(enum ftk_fault kind)
{
    return ftk_fault_due(kind) ? EIO : 0;
}

static ftk_status
path_failed(const char *operation, const char *path, int err)
{
    return FTK_FAIL_OS(ftk_status_of_errno(err), err, "%s of %s failed: %s", operation, path,
                       ftk__errno_text(err));
}

ftk_status
ftk__native_rename(struct ftk_disk *disk, const char *from, const char *to)
{
    (void)disk;
    int err = fault_errno(FTK_FAULT_WRITE);
    if (err == 0 && rename(from, to) != 0)
        err = errno;
    if (err != 0)
        return FTK_FAIL_OS(ftk_status_of_errno(err), err, "rename of %s to %s failed: %s", from, to,
                           ftk__errno_text(err));
    return FTK_OK;
}

ftk_status
ftk__native_remove(struct ftk_disk *disk, const char *path)
{
    (void)disk;
    int err = fault_errno(FTK_FAULT_WRITE);
    if (err == 0 && remove(path) != 0) /* a file, or a directory that is empty */
        err = errno;
    return err == 0 ? FTK_OK : path_failed("remove", path, err);
}

ftk_status
ftk__native_mkdir(struct ftk_disk *disk, const char *path)
{
    (void)disk;
    int err = fault_errno(FTK_FAULT_WRITE);
    if (err == 0 && mkdir(path, 0777) != 0)
        err = errno;
    return err == 0 ? FTK_OK : path_failed("mkdir", path, err);
}

ftk_status
ftk__native_sync_dir(struct ftk_disk *disk, const char *path)
{
    (void)disk;
    int err = fault_errno(FTK_FAULT_SYNC);
    if (err != 0)
        return path_failed("sync", path, err);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 && errno == EACCES) /* a parent that only lets through: no one here can sync it */
        return FTK_OK;
    if (fd < 0)
        return path_failed("open", path, errno);
    if (fsync(fd) != 0)
        err = errno;
    close(fd);
    if (err == 0 || err == EINVAL) /* a file system whose directories need no sync says EINVAL */
        return FTK_OK;
    return FTK_FAIL_OS(FTK_IO, err, "sync of directory %s failed: %s", path, ftk__errno_text(err));
}

ftk_status
ftk__native_list(struct ftk_disk *disk, const char *path,
                 ftk_status (*each)(void *context, const char *name), void *context)
{
    (void)disk;
    ftk_status rc = FTK_OK;
    int err = fault_errno(FTK_FAULT_READ);
    DIR *dir = err == 0 ? opendir(path) : NULL;

    if (dir == NULL)
        return path_failed("list", path, err != 0 ? err : errno);
    while (rc == FTK_OK) {
        errno = 0;
        struct dirent *entry = readdir(dir);
        if (entry == NULL) {
            if (errno != 0)
                rc = path_failed("list", path, errno);
            break;
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            rc = each(context, entry->d_name);
    }
    closedir(dir);
    return rc;
}

ftk_status
ftk__native_space(struct ftk_disk *disk, const char *path, uint64_t *free_out, uint64_t *total_out)
{
    (void)disk;
    struct statvfs about;
    int err = fault_errno(FTK_FAULT_READ);

    *free_out = 0;
    *total_out = 0;
    while (err == 0 && statvfs(path, &about) != 0) {
        if (errno != EINTR)
            err = errno;
    }
    if (err != 0)
        return path_failed("space", path, err);
    *free_out = (uint64_t)about.f_bavail * about.f_frsize;
    *total_out = (uint64_t)about.f_blocks * about.f_frsize;
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
