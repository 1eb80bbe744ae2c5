/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ftk/disk_native.c -- files of the operating system.
 *
 * 1. A transfer is whole or an error: short transfers and EINTR are continued here.
 * 2. A sync is never tried twice: after an error the kernel may have dropped the dirty pages.  Only
 *    one that a signal interrupted (EINTR) has said nothing about them, and goes on.
 * 3. On a direct file, misaligned transfers are refused here, before the kernel's bare EINVAL.
 * 4. Every error names the operation, the path, the offset where there is one, and the cause.
 */
#include "ftk/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ftk/disk_internal.h"
#include "ftk/fork.h"
#include "ftk/mem.h"

#define ZERO_CHUNK (256u << 10) /* what allocate writes at a time where fallocate is missing */

const char *
ftk__errno_text(int err)
{
    static _Thread_local char texts[2][96];
    static _Thread_local unsigned turn;
    char *text = texts[turn++ % 2];

    const char *known = strerror_r(err, text, sizeof(texts[0]));
    if (known != text)
        snprintf(text, sizeof(texts[0]), "%s", known);
    return text;
}

static ftk_status
file_failed(struct ftk_file *file, const char *operation, int err)
{
    return FTK_FAIL_OS(ftk_status_of_errno(err), err, "%s of %s failed: %s", operation, file->path,
                       ftk__errno_text(err));
}

/* ---- open and close ------------------------------------------------------------------------ */

static ftk_status
open_os(const struct ftk_dir *dir, const char *path, unsigned flags, struct native_file *file)
{
    /* O_NONBLOCK: a fifo in our place must not hang us; regular files do not care. */
    int os_flags = O_NONBLOCK | ((flags & FTK_OPEN_READ_ONLY) ? O_RDONLY : O_RDWR);
    struct stat about;

    if (flags & FTK_OPEN_CREATE)
        os_flags |= O_CREAT | ((flags & FTK_OPEN_EXCLUSIVE) ? O_EXCL : 0);
    if (ftk_fault_due(FTK_FAULT_READ))
        return FTK_FAIL_OS(FTK_IO, EIO, "open of %s failed: injected fault", file->base.path);
    file->fd = ftk__open_at(dir, path, os_flags);
    if (file->fd < 0)
        return ftk__open_failed(dir, path, errno);
    if (fstat(file->fd, &about) != 0 || !(S_ISREG(about.st_mode) || S_ISBLK(about.st_mode)))
        return FTK_FAIL(FTK_INVALID, "open of %s failed: not a regular file", file->base.path);
    file->base.identity = (struct ftk_identity){about.st_dev, about.st_ino, about.st_nlink};
    return FTK_OK;
}

static ftk_status
native_open(struct ftk_disk *disk, const struct ftk_dir *dir, const char *path, unsigned flags,
            struct ftk_file **file_out)
{
    struct native_file *file = NULL;
    ftk_status rc = FTK_OK;

    *file_out = NULL;
    ftk__fork_watch();
    FTK_TRY(FTK_NEW(&file));
    file->fd = -1;
    FTK_TRY(ftk__path_shown(dir, path, &file->base.path));
    FTK_TRY(open_os(dir, path, flags, file));
    file->base.disk = disk;
    file->base.io_align = 1;
    file->base.mem_align = 1;
    file->read_only = (flags & FTK_OPEN_READ_ONLY) != 0;
    file->forks = ftk_forks();
    if (flags & FTK_OPEN_DIRECT)
        ftk__direct_begin(file);

    *file_out = &file->base;
    file = NULL;
out:
    if (file != NULL) {
        if (file->fd >= 0)
            (void)close(file->fd);
        ftk_free(file->base.path);
        ftk_free(file);
    }
    return rc;
}

static void
native_close(struct ftk_file *base)
{
    struct native_file *file = ftk__native_file(base);

    ftk__native_unlock(file);
    if (file->fd >= 0)
        (void)close(file->fd); /* what matters was synced before */
    ftk_free(base->path);
    ftk_free(base);
}

/* ---- transfers ------------------------------------------------------------------------------ */

static const char *
op_name(enum ftk_io_op op)
{
    return op == FTK_IO_READ ? "read" : "write";
}

ftk_status
ftk__transfer_failed(struct ftk_file *file, enum ftk_io_op op, size_t size, uint64_t offset,
                     int err)
{
    return FTK_FAIL_OS(ftk_status_of_errno(err), err,
                       "%s of %zu bytes at offset %" PRIu64 " of %s failed: %s", op_name(op), size,
                       offset, file->path, ftk__errno_text(err));
}

ftk_status
ftk__transfer_check(struct ftk_file *file, enum ftk_io_op op, const void *memory, size_t size,
                    uint64_t offset)
{
    if (FTK_UNLIKELY(size > INT64_MAX || offset > INT64_MAX - size))
        return FTK_FAIL(FTK_TOOBIG, "%s of %zu bytes at offset %" PRIu64 " of %s: beyond any file",
                        op_name(op), size, offset, file->path);
    if (FTK_UNLIKELY(op == FTK_IO_WRITE && ftk__native_file(file)->read_only))
        return FTK_FAIL(FTK_READONLY, "write at offset %" PRIu64 " of %s: opened read-only", offset,
                        file->path);
    if (FTK_UNLIKELY(op == FTK_IO_WRITE && ftk__native_file(file)->forks != ftk_forks()))
        return ftk__change_check(file, "write");
    if (FTK_UNLIKELY(file->direct && (offset % file->io_align != 0 || size % file->io_align != 0 ||
                                      (uintptr_t)memory % file->mem_align != 0)))
        return FTK_FAIL(FTK_INVALID,
                        "%s of %zu bytes at offset %" PRIu64 " of %s: direct I/O wants offset and "
                        "size in multiples of %" PRIu32 ", memory of %" PRIu32 " (it is %p)",
                        op_name(op), size, offset, file->path, file->io_align, file->mem_align,
                        memory);
    if (FTK_UNLIKELY(ftk_fault_due(op == FTK_IO_READ ? FTK_FAULT_READ : FTK_FAULT_WRITE)))
        return FTK_FAIL_OS(FTK_IO, EIO,
                           "%s of %zu bytes at offset %" PRIu64 " of %s failed: injected fault",
                           op_name(op), size, offset, file->path);
    return FTK_OK;
}

ftk_status
ftk__transfer_finish(struct ftk_file *file, enum ftk_io_op op, void *memory, size_t size,
                     uint64_t offset, size_t done)
{
    int fd = ftk__native_file(file)->fd;

    while (done < size) {
        char *at = (char *)memory + done;
        off_t position = (off_t)(offset + done);

        /* A direct read that ends off the grid has met the end of the file. */
        bool ended = op == FTK_IO_READ && file->direct && done % file->io_align != 0;
        ssize_t n = ended               ? 0
                    : op == FTK_IO_READ ? pread(fd, at, size - done, position)
                                        : pwrite(fd, at, size - done, position);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return ftk__transfer_failed(file, op, size, offset, errno);
        if (n == 0 && op == FTK_IO_WRITE)
            return ftk__transfer_failed(file, op, size, offset, EIO);
        if (n == 0)
            return FTK_FAIL(FTK_IO,
                            "short read: %zu of %zu bytes at offset %" PRIu64
                            " of %s, the file ends there",
                            done, size, offset, file->path);
        done += (size_t)n;
    }
    return FTK_OK;
}

static ftk_status
native_read(struct ftk_file *file, void *memory, size_t size, uint64_t offset)
{
    ftk_status rc = ftk__transfer_check(file, FTK_IO_READ, memory, size, offset);
    return rc != FTK_OK ? rc : ftk__transfer_finish(file, FTK_IO_READ, memory, size, offset, 0);
}

static ftk_status
native_write(struct ftk_file *file, const void *memory, size_t size, uint64_t offset)
{
    ftk_status rc = ftk__transfer_check(file, FTK_IO_WRITE, memory, size, offset);
    if (rc != FTK_OK)
        return rc;
    return ftk__transfer_finish(file, FTK_IO_WRITE, (void *)(uintptr_t)memory, size, offset, 0);
}

static ftk_status
native_sync(struct ftk_file *file)
{
    if (ftk_fault_due(FTK_FAULT_SYNC))
        return FTK_FAIL_OS(FTK_IO, EIO, "sync of %s failed: injected fault", file->path);
    while (fdatasync(ftk__native_file(file)->fd) != 0) {
        if (errno != EINTR)
            return FTK_FAIL_OS(FTK_IO, errno, "sync of %s failed: %s", file->path,
                               ftk__errno_text(errno));
    }
    return FTK_OK;
}

/* ---- size and space ------------------------------------------------------------------------- */

static ftk_status
size_os(struct ftk_file *file, uint64_t *size_out)
{
    /* Not fstat: a block device tells its size this way only. */
    off_t end = lseek(ftk__native_file(file)->fd, 0, SEEK_END);
    *size_out = end < 0 ? 0 : (uint64_t)end;
    return end < 0 ? file_failed(file, "size", errno) : FTK_OK;
}

static ftk_status
native_size(struct ftk_file *file, uint64_t *size_out)
{
    *size_out = 0;
    if (ftk_fault_due(FTK_FAULT_READ))
        return FTK_FAIL_OS(FTK_IO, EIO, "size of %s failed: injected fault", file->path);
    return size_os(file, size_out);
}

static ftk_status
truncate_os(struct ftk_file *file, uint64_t size)
{
    int failed;
    do
        failed = ftruncate(ftk__native_file(file)->fd, (off_t)size);
    while (failed != 0 && errno == EINTR);
    return failed == 0 ? FTK_OK : file_failed(file, "truncate", errno);
}

static ftk_status
resize_check(struct ftk_file *file, const char *operation, uint64_t end)
{
    ftk_status rc = ftk__change_check(file, operation);

    if (rc != FTK_OK)
        return rc;
    if (end > INT64_MAX)
        return FTK_FAIL(FTK_TOOBIG, "%s of %s to %" PRIu64 " bytes: beyond any file", operation,
                        file->path, end);
    if (ftk__native_file(file)->read_only)
        return FTK_FAIL(FTK_READONLY, "%s of %s: opened read-only", operation, file->path);
    if (ftk_fault_due(FTK_FAULT_WRITE))
        return FTK_FAIL_OS(FTK_IO, EIO, "%s of %s failed: injected fault", operation, file->path);
    return FTK_OK;
}

static ftk_status
native_truncate(struct ftk_file *file, uint64_t size)
{
    ftk_status rc = resize_check(file, "truncate", size);
    return rc != FTK_OK ? rc : truncate_os(file, size);
}

ftk_status
ftk__allocate_by_writing(struct ftk_file *file, uint64_t size_old, uint64_t size_new)
{
    uint64_t align = file->io_align;
    uint64_t at = (size_old + align - 1) / align * align;
    void *zeros = NULL;
    ftk_status rc = FTK_OK;

    if (size_new <= size_old)
        return FTK_OK;
    FTK_TRY(truncate_os(file, size_new)); /* behind an end off the grid there is no writing */
    FTK_TRY(ftk_alloc_aligned(4096 > align ? 4096 : (size_t)align, ZERO_CHUNK, &zeros));
    memset(zeros, 0, ZERO_CHUNK);
    while (at < size_new) {
        uint64_t left = (size_new - at + align - 1) / align * align;
        size_t n = left < ZERO_CHUNK ? (size_t)left : ZERO_CHUNK;
        FTK_TRY(ftk__transfer_finish(file, FTK_IO_WRITE, zeros, n, at, 0));
        at += n;
    }
    FTK_TRY(truncate_os(file, size_new)); /* the grid of direct I/O may have led past it */
out:
    ftk_free(zeros);
    return rc;
}

static ftk_status
native_allocate(struct ftk_file *file, uint64_t offset, uint64_t size)
{
    int fd = ftk__native_file(file)->fd;
    uint64_t size_old = 0;
    ftk_status rc = FTK_OK;
    int failed;

    if (size == 0)
        return FTK_OK;
    FTK_TRY(resize_check(file, "allocate", offset > INT64_MAX - size ? UINT64_MAX : offset + size));
    FTK_TRY(size_os(file, &size_old));
    do
        failed = fallocate(fd, 0, (off_t)offset, (off_t)size);
    while (failed != 0 && errno == EINTR);
    if (failed == 0)
        goto out;
    if (errno == EOPNOTSUPP || errno == ENOSYS)
        rc = ftk__allocate_by_writing(file, size_old, offset + size);
    else
        rc = FTK_FAIL_OS(ftk_status_of_errno(errno), errno,
                         "allocate of %" PRIu64 " bytes at offset %" PRIu64 " of %s failed: %s",
                         size, offset, file->path, ftk__errno_text(errno));
    if (rc != FTK_OK) {
        struct ftk_error first = *ftk_error_last();
        (void)truncate_os(file, size_old); /* also gives back what was reserved past the end */
        ftk_error_set(&first);
    }
out:
    return rc;
}

/* ---- asynchronous I/O ----------------------------------------------------------------------- */

void
ftk__io_complete(struct ftk_io *io, ftk_status status)
{
    io->status = status;
    io->os_errno = status == FTK_OK ? 0 : ftk_error_last()->os_errno;
    io->done(io); /* the owner may free io from here on */
}

static ftk_status
native_aio_open(struct ftk_disk *disk, enum ftk_aio_kind kind, unsigned depth,
                struct ftk_aio **aio_out)
{
    *aio_out = NULL;
    if (depth == 0 || depth > 65536)
        return FTK_FAIL(FTK_INVALID, "a queue of %u I/Os: 1 to 65536 are possible", depth);
    if (kind == FTK_AIO_THREADS)
        return ftk__aio_threads_open(disk, depth, aio_out);
    ftk_status rc = ftk__libaio_open(disk, depth, aio_out);
    /* Refused by the kernel (fs.aio-max-nr, a container's filter)? */
    if (rc != FTK_OK && kind == FTK_AIO_AUTO)
        rc = ftk__aio_threads_open(disk, depth, aio_out);
    return rc;
}

static void
native_aio_close(struct ftk_aio *aio)
{
    ((struct native_aio *)aio)->ops->close(aio);
}

static void
native_aio_submit(struct ftk_aio *aio, struct ftk_io **ios, size_t count)
{
    ((struct native_aio *)aio)->ops->submit(aio, ios, count);
}

/* Errors mean that the file system does not take advice. */
static void
native_hint(struct ftk_file *file, enum ftk_hint hint, uint64_t offset, uint64_t size)
{
    int fd = ftk__native_file(file)->fd;

    switch (hint) {
    case FTK_HINT_WRITEBACK:
#ifdef SYNC_FILE_RANGE_WRITE
        (void)sync_file_range(fd, (off_t)offset, (off_t)size, SYNC_FILE_RANGE_WRITE);
#endif
        break;
    case FTK_HINT_DONTNEED:
        (void)posix_fadvise(fd, (off_t)offset, (off_t)size, POSIX_FADV_DONTNEED);
        break;
    case FTK_HINT_WILLNEED:
        (void)posix_fadvise(fd, (off_t)offset, (off_t)size, POSIX_FADV_WILLNEED);
        break;
    }
}

static bool
native_aio_poll(struct ftk_aio *aio)
{
    (void)aio;
    return false; /* the backends have threads of their own */
}

struct ftk_disk *
ftk_disk_native(void)
{
    static const struct ftk_disk_ops ops = {
        .open = native_open,
        .close = native_close,
        .read = native_read,
        .write = native_write,
        .sync = native_sync,
        .size = native_size,
        .truncate = native_truncate,
        .allocate = native_allocate,
        .lock = ftk__native_lock,
        .dir_open = ftk__native_dir_open,
        .dir_close = ftk__native_dir_close,
        .dir_sync = ftk__native_dir_sync,
        .dir_list = ftk__native_dir_list,
        .dir_space = ftk__native_dir_space,
        .dir_locate = ftk__native_dir_locate,
        .rename = ftk__native_rename,
        .remove = ftk__native_remove,
        .mkdir = ftk__native_mkdir,
        .identify = ftk__native_identify,
        .aio_open = native_aio_open,
        .aio_close = native_aio_close,
        .aio_submit = native_aio_submit,
        .aio_poll = native_aio_poll,
        .hint = native_hint,
    };
    static struct ftk_disk disk = {.ops = &ops};
    return &disk;
}
