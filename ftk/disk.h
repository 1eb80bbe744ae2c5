/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ftk/disk.h -- files, directories and asynchronous I/O behind one table of functions.
 *
 * Everything that touches a disk below the engine goes through a struct ftk_disk, so that a test
 * can put a simulated disk under a database.  The native disk (ftk_disk_native) opens files with
 * O_DIRECT where asked and where the file system takes it.
 *
 * I/O backends of the native disk: libaio, and a pool of threads with pread/pwrite where libaio is
 * refused (FTK_AIO_AUTO tries libaio first).
 */
#ifndef FTK_DISK_H
#define FTK_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ftk/status.h"

enum ftk_open_flags {
    FTK_OPEN_READ_ONLY = 1,
    FTK_OPEN_CREATE = 2,    /* create when missing */
    FTK_OPEN_EXCLUSIVE = 4, /* with CREATE: FTK_EXISTS when it is there */
    FTK_OPEN_DIRECT = 8,    /* bypass the page cache if the file system can */
};

struct ftk_disk;
struct ftk_aio;
struct ftk_io;

/* Which file a name or an open file stands for: no two that exist at one time have the same. */
struct ftk_identity {
    uint64_t device;
    uint64_t inode;
    uint64_t names; /* that the file had when it was looked at; who it is does not depend on it */
};

/*
 * Base of every open directory; backends embed it first.  Names are looked up in the directory that
 * was opened, wherever it is moved, whatever stands at its old path, and whatever the working
 * directory is by then.
 */
struct ftk_dir {
    struct ftk_disk *disk;
    char *path; /* owned by the directory; how it was named when it was opened: for messages */
};

/* Base of every open file; backends embed it first. */
struct ftk_file {
    struct ftk_disk *disk;
    struct ftk_identity identity;
    uint32_t io_align;  /* offset and size of direct I/O are multiples of this; 1 if none */
    uint32_t mem_align; /* so is the memory address; 1 if none */
    bool direct;        /* the page cache is bypassed */
    char *path;         /* owned by the file; the directory's and its own; for messages */
};

enum ftk_io_op { FTK_IO_READ, FTK_IO_WRITE };

/*
 * One asynchronous I/O.  The caller owns it and keeps it (and its memory) untouched from submit
 * until `done` is called.  `done` runs on a thread of the backend, or on the thread in
 * ftk_aio_submit/ftk_aio_poll; it must not block and must not submit.  A short transfer is
 * continued by the backend; a read past the end of the file gives FTK_IO.  When status is not
 * FTK_OK, ftk_error_last() of the thread that runs `done` has the words.
 */
struct ftk_io {
    struct ftk_file *file;
    enum ftk_io_op op;
    void *memory;
    size_t size;
    uint64_t offset;
    void (*done)(struct ftk_io *io); /* status below is set before */
    void *context;                   /* the caller's */
    ftk_status status;               /* set by the backend; os_errno likewise */
    int os_errno;
    uint64_t backend[10]; /* the backend's own: 64 bytes of iocb, progress, link */
};

enum ftk_aio_kind { FTK_AIO_AUTO, FTK_AIO_LIBAIO, FTK_AIO_THREADS };

enum ftk_hint {
    FTK_HINT_WRITEBACK, /* begin to write cached changes out, do not wait */
    FTK_HINT_DONTNEED,  /* these bytes will not be used again soon */
    FTK_HINT_WILLNEED,  /* they will be read soon */
};

/*
 * Functions that take `dir` and `path`: a relative path is looked up in the directory, or, where
 * dir is NULL, in the working directory (of a simulated disk: the root).
 * A shortage of descriptors or memory at an open is FTK_NOMEM: it may pass.
 */
struct ftk_disk_ops {
    ftk_status (*dir_open)(struct ftk_disk *disk, const struct ftk_dir *dir, const char *path,
                           struct ftk_dir **dir_out);
    void (*dir_close)(struct ftk_dir *dir);
    /* Make the names in it durable.  Reading it must be allowed.  Where the file system has no sync
     * of directories, all of it is synced. */
    ftk_status (*dir_sync)(struct ftk_dir *dir);
    /* Calls each for every entry but . and ..; stops at the first status that is not FTK_OK. */
    ftk_status (*dir_list)(struct ftk_dir *dir, ftk_status (*each)(void *context, const char *name),
                           void *context);
    /* Free bytes and total bytes of its file system. */
    ftk_status (*dir_space)(struct ftk_dir *dir, uint64_t *free_out, uint64_t *total_out);
    /* Its absolute path as of now, without links; FTK_NOTFOUND when it was removed.  Owned. */
    ftk_status (*dir_locate)(struct ftk_dir *dir, char **path_out);
    ftk_status (*rename)(struct ftk_disk *disk, const struct ftk_dir *dir, const char *from,
                         const char *to);
    ftk_status (*remove)(struct ftk_disk *disk, const struct ftk_dir *dir,
                         const char *path); /* FTK_NOTFOUND when absent */
    ftk_status (*mkdir)(struct ftk_disk *disk, const struct ftk_dir *dir,
                        const char *path); /* FTK_EXISTS when there */
    /* What a name stands for, without opening it. */
    ftk_status (*identify)(struct ftk_disk *disk, const struct ftk_dir *dir, const char *path,
                           struct ftk_identity *identity_out);
    ftk_status (*open)(struct ftk_disk *disk, const struct ftk_dir *dir, const char *path,
                       unsigned flags, struct ftk_file **file_out);
    void (*close)(struct ftk_file *file);
    /* Whole transfers or an error; a read past the end gives FTK_IO with text "short read". */
    ftk_status (*read)(struct ftk_file *file, void *memory, size_t size, uint64_t offset);
    ftk_status (*write)(struct ftk_file *file, const void *memory, size_t size, uint64_t offset);
    ftk_status (*sync)(struct ftk_file *file); /* fdatasync */
    ftk_status (*size)(struct ftk_file *file, uint64_t *size_out);
    ftk_status (*truncate)(struct ftk_file *file, uint64_t size);
    /* Make [offset, offset+size) part of the file with space reserved; contents read as zero
     * where nothing was written.  FTK_NOSPACE leaves the file as it was. */
    ftk_status (*allocate)(struct ftk_file *file, uint64_t offset, uint64_t size);
    /*
     * Exclusive (or shared) lock on the file.  FTK_INUSE when refused.  Held until the close by the
     * process that took it, or its death, whatever a forked child holds: a child does not inherit
     * the lock, and neither its close nor its exit gives it back.
     */
    ftk_status (*lock)(struct ftk_file *file, bool exclusive);
    ftk_status (*aio_open)(struct ftk_disk *disk, enum ftk_aio_kind kind, unsigned depth,
                           struct ftk_aio **aio_out);
    void (*aio_close)(struct ftk_aio *aio); /* waits for what is under way */
    /* Queue ios[0..count); blocks only when the kernel's queue is full.  Errors are delivered
     * through each io's done, never as a return value. */
    void (*aio_submit)(struct ftk_aio *aio, struct ftk_io **ios, size_t count);
    /* Complete at least one I/O on this thread if the backend works that way (simulated disk);
     * false when completions come from the backend's own thread, or nothing is under way. */
    bool (*aio_poll)(struct ftk_aio *aio);
    /* Advice about bytes of a file, never an error and never a promise; NULL: none is taken. */
    void (*hint)(struct ftk_file *file, enum ftk_hint hint, uint64_t offset, uint64_t size);
};

struct ftk_disk {
    const struct ftk_disk_ops *ops;
};

/* Base of every aio queue. */
struct ftk_aio {
    struct ftk_disk *disk;
    const char *name; /* "libaio", "threads", "simulated" */
    bool polled;      /* completions happen in aio_poll alone, on the caller's thread */
};

/* The operating system's files; static storage. */
struct ftk_disk *ftk_disk_native(void);

/* Forms that callers use. */
static inline ftk_status
ftk_dir_open(struct ftk_disk *disk, const char *path, struct ftk_dir **dir_out)
{
    return disk->ops->dir_open(disk, NULL, path, dir_out);
}

/* name may be "..": the directory that holds the name of this one. */
static inline ftk_status
ftk_dir_open_in(const struct ftk_dir *dir, const char *name, struct ftk_dir **dir_out)
{
    return dir->disk->ops->dir_open(dir->disk, dir, name, dir_out);
}

static inline void
ftk_dir_close(struct ftk_dir *dir) /* NULL is fine */
{
    if (dir != NULL)
        dir->disk->ops->dir_close(dir);
}

static inline ftk_status
ftk_dir_sync(struct ftk_dir *dir)
{
    return dir->disk->ops->dir_sync(dir);
}

/* Make its own name durable, which its parent keeps. */
ftk_status ftk_dir_sync_name(struct ftk_dir *dir);

static inline ftk_status
ftk_dir_list(struct ftk_dir *dir, ftk_status (*each)(void *context, const char *name),
             void *context)
{
    return dir->disk->ops->dir_list(dir, each, context);
}

static inline ftk_status
ftk_dir_space(struct ftk_dir *dir, uint64_t *free_out, uint64_t *total_out)
{
    return dir->disk->ops->dir_space(dir, free_out, total_out);
}

static inline ftk_status
ftk_dir_locate(struct ftk_dir *dir, char **path_out)
{
    return dir->disk->ops->dir_locate(dir, path_out);
}

static inline ftk_status
ftk_dir_rename(const struct ftk_dir *dir, const char *from, const char *to)
{
    return dir->disk->ops->rename(dir->disk, dir, from, to);
}

static inline ftk_status
ftk_dir_remove(const struct ftk_dir *dir, const char *name)
{
    return dir->disk->ops->remove(dir->disk, dir, name);
}

static inline ftk_status
ftk_dir_identify(const struct ftk_dir *dir, const char *name, struct ftk_identity *identity_out)
{
    return dir->disk->ops->identify(dir->disk, dir, name, identity_out);
}

static inline bool
ftk_identity_same(const struct ftk_identity *a, const struct ftk_identity *b)
{
    return a->device == b->device && a->inode == b->inode;
}

static inline ftk_status
ftk_file_open(struct ftk_disk *disk, const char *path, unsigned flags, struct ftk_file **file_out)
{
    return disk->ops->open(disk, NULL, path, flags, file_out);
}

static inline ftk_status
ftk_file_open_in(const struct ftk_dir *dir, const char *name, unsigned flags,
                 struct ftk_file **file_out)
{
    return dir->disk->ops->open(dir->disk, dir, name, flags, file_out);
}

static inline void
ftk_file_close(struct ftk_file *file) /* NULL is fine */
{
    if (file != NULL)
        file->disk->ops->close(file);
}

static inline ftk_status
ftk_file_read(struct ftk_file *file, void *memory, size_t size, uint64_t offset)
{
    return file->disk->ops->read(file, memory, size, offset);
}

static inline ftk_status
ftk_file_write(struct ftk_file *file, const void *memory, size_t size, uint64_t offset)
{
    return file->disk->ops->write(file, memory, size, offset);
}

static inline ftk_status
ftk_file_sync(struct ftk_file *file)
{
    return file->disk->ops->sync(file);
}

static inline ftk_status
ftk_file_size(struct ftk_file *file, uint64_t *size_out)
{
    return file->disk->ops->size(file, size_out);
}

static inline ftk_status
ftk_file_truncate(struct ftk_file *file, uint64_t size)
{
    return file->disk->ops->truncate(file, size);
}

static inline ftk_status
ftk_file_allocate(struct ftk_file *file, uint64_t offset, uint64_t size)
{
    return file->disk->ops->allocate(file, offset, size);
}

static inline ftk_status
ftk_file_lock(struct ftk_file *file, bool exclusive)
{
    return file->disk->ops->lock(file, exclusive);
}

static inline void
ftk_file_hint(struct ftk_file *file, enum ftk_hint hint, uint64_t offset, uint64_t size)
{
    if (file->disk->ops->hint != NULL)
        file->disk->ops->hint(file, hint, offset, size);
}

/* "dir/name" into owned text. */
ftk_status ftk_path_join(const char *dir, const char *name, char **path_out);

#endif
