/* SPDX-License-Identifier: Apache-2.0 */
/* ftk/disk_internal.h -- what the parts of the native disk share. */
#ifndef FTK_DISK_INTERNAL_H
#define FTK_DISK_INTERNAL_H

#include "ftk/disk.h"

struct native_file {
    struct ftk_file base;
    int fd;
    bool read_only;
    unsigned forks;                  /* ftk_forks() when it was opened */
    bool locked;                     /* in the list of disk_lock.c, guarded by its mutex */
    struct native_file *locked_next; /* likewise */
};

struct native_dir {
    struct ftk_dir base;
    int fd;
    unsigned forks; /* ftk_forks() when it was opened */
};

static inline struct native_file *
ftk__native_file(struct ftk_file *file)
{
    return (struct native_file *)file;
}

/* Text of an errno, in one of a few buffers of the thread. */
const char *ftk__errno_text(int err);

/* The parts of a ftk_io's `backend` words behind the iocb. */
#define FTK__IO_LINK 9 /* next I/O of a queue */

/*
 * May this transfer go to the file as it is?  errors: FTK_INVALID (misaligned on a direct file),
 * FTK_READONLY, FTK_TOOBIG, and FTK_IO from an armed fault point.
 */
ftk_status ftk__transfer_check(struct ftk_file *file, enum ftk_io_op op, const void *memory,
                               size_t size, uint64_t offset);

/* The rest of a transfer of which `done` bytes are through; blocks. */
ftk_status ftk__transfer_finish(struct ftk_file *file, enum ftk_io_op op, void *memory, size_t size,
                                uint64_t offset, size_t done);

ftk_status ftk__transfer_failed(struct ftk_file *file, enum ftk_io_op op, size_t size,
                                uint64_t offset, int err);

/* Set io's result from a status just born in this thread, and run its callback. */
void ftk__io_complete(struct ftk_io *io, ftk_status status);

/* A file that was opened before the process forked is not the child's to change: FTK_STATE. */
ftk_status ftk__change_check(const struct ftk_file *file, const char *operation);

/*
 * A descriptor just made, moved above the standard ones: what a program prints after it has closed
 * those must not land in a file.  Every descriptor of kiln comes through here.  -1 with errno, also
 * when it is -1 already.
 */
int ftk__fd_above(int fd);
/* openat(2), again after EINTR, close-on-exec, above the standard ones.  -1 with errno. */
int ftk__open_at(const struct ftk_dir *dir, const char *path, int os_flags);
/* What an open that failed says. */
ftk_status ftk__open_failed(const struct ftk_dir *dir, const char *path, int err);

/* disk_dirs.c */
ftk_status ftk__native_dir_open(struct ftk_disk *disk, const struct ftk_dir *dir, const char *path,
                                struct ftk_dir **dir_out);
void ftk__native_dir_close(struct ftk_dir *dir);
ftk_status ftk__native_dir_sync(struct ftk_dir *dir);
ftk_status ftk__native_dir_list(struct ftk_dir *dir,
                                ftk_status (*each)(void *context, const char *name), void *context);
ftk_status ftk__native_dir_space(struct ftk_dir *dir, uint64_t *free_out, uint64_t *total_out);
ftk_status ftk__native_dir_locate(struct ftk_dir *dir, char **path_out);
ftk_status ftk__native_rename(struct ftk_disk *disk, const struct ftk_dir *dir, const char *from,
                              const char *to);
ftk_status ftk__native_remove(struct ftk_disk *disk, const struct ftk_dir *dir, const char *path);
ftk_status ftk__native_mkdir(struct ftk_disk *disk, const struct ftk_dir *dir, const char *path);
ftk_status ftk__native_identify(struct ftk_disk *disk, const struct ftk_dir *dir, const char *path,
                                struct ftk_identity *identity_out);
/* "dir/path", or path where there is no directory or the path is absolute: for messages.  Owned. */
ftk_status ftk__path_shown(const struct ftk_dir *dir, const char *path, char **shown_out);

/* disk_lock.c: locks, and what a fork does to open files. */
ftk_status ftk__native_lock(struct ftk_file *file, bool exclusive);
/* Before its descriptor is closed; unlocked files too. */
void ftk__native_unlock(struct native_file *file);
/* Before the first file is opened. */
void ftk__fork_watch(void);

/* disk_align.c: switch the file to direct I/O if it can, and find its alignment. */
void ftk__direct_begin(struct native_file *file);
/* Where the kernel does not tell: the smallest power of two whose multiples are accepted as offset,
 * size and memory of a direct read; 0 when none is. */
uint32_t ftk__align_try(int fd);

/* disk_native.c.  Where fallocate is missing: zeros from the present end to the new one.  Holes
 * inside the file stay holes. */
ftk_status ftk__allocate_by_writing(struct ftk_file *file, uint64_t size_old, uint64_t size_new);

/* An asynchronous backend of the native disk. */
struct native_aio_ops {
    void (*close)(struct ftk_aio *aio);
    void (*submit)(struct ftk_aio *aio, struct ftk_io **ios, size_t count);
};
struct native_aio {
    struct ftk_aio base;
    const struct native_aio_ops *ops;
};
ftk_status ftk__libaio_open(struct ftk_disk *disk, unsigned depth, struct ftk_aio **aio_out);
ftk_status ftk__aio_threads_open(struct ftk_disk *disk, unsigned depth, struct ftk_aio **aio_out);

#endif
