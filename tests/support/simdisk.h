/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/support/simdisk.h -- a disk in memory that can lose power, fail, fill up and rot.
 *
 * What it promises is what a disk and a file system promise, and no more:
 *
 * 1. A write is durable after a sync of its file that began after the write's completion.  Until
 *    then each of its sectors survives a power cut or not, on its own; so do truncates, extensions
 *    and allocations.  An asynchronous write that has not completed may also have reached the disk.
 * 2. Creation, renaming and removal of a name are durable after a sync of the directory (a rename
 *    between two: of the target's).  Until then each survives or not, in any combination; one
 *    rename is atomic.  Syncing a file does not make its name durable.
 * 3. A sync that fails may have lost what it was to make durable: those writes are readable until
 *    the power cut, and no later sync saves them.
 * 4. A write that fails has changed any part of its range, or nothing.
 * 5. The same seed and the same calls give the same behaviour, completions of asynchronous I/O
 *    included.
 *
 * Typical use:
 *
 *     struct simdisk *disk = simdisk_new(&(struct simdisk_options){.seed = test_seed()});
 *     simdisk_hook(disk, after_step, context);  in it: simdisk_clone(disk), kept for later
 *     ... run the database on simdisk_disk(disk) ...
 *     struct simdisk *after = simdisk_clone(disk, seed);
 *     simdisk_crash(after, seed);
 *     ... open the database on simdisk_disk(after) and compare with the model ...
 *     simdisk_free(after);
 *
 * Paths are absolute or relative to the root, which always exists.  Calls may come from any thread;
 * only a single thread gives determinism.  It allocates with malloc: armed FTK_FAULT_ALLOC does not
 * meet it; armed FTK_FAULT_READ, WRITE, SYNC and DESCRIPTOR do.
 */
#ifndef TESTS_SUPPORT_SIMDISK_H
#define TESTS_SUPPORT_SIMDISK_H

#include "ftk/disk.h"

#define SIMDISK_SECTOR 512u

struct simdisk; /* simdisk_new or simdisk_clone to simdisk_free */

struct simdisk_options {
    uint64_t seed;
    uint32_t align;    /* of direct I/O: offset, size and memory; 0 means 512 */
    uint64_t capacity; /* bytes; 0 means without limit */
    bool no_direct;    /* FTK_OPEN_DIRECT is ignored, as on file systems without it */
    bool device;       /* a thread per queue completes I/Os, as a kernel does; and a sync takes
                          some of the clock's time, and saves what was written when it began */
};

struct simdisk *simdisk_new(const struct simdisk_options *options); /* NULL: all defaults */
/* All files and queues must be closed, the dead ones too. */
void simdisk_free(struct simdisk *disk); /* NULL is fine */
struct ftk_disk *simdisk_disk(struct simdisk *disk);

/* ---- steps ---- */

/* Called after every change (write, sync, truncate, create, rename, submit, completion ...), before
 * the caller of the change learns of it, without the disk's lock.  step counts from 1. */
void simdisk_hook(struct simdisk *disk,
                  void (*hook)(void *context, struct simdisk *disk, uint64_t step), void *context);
uint64_t simdisk_steps(struct simdisk *disk);

/*
 * The disk as it is now, with what is not durable still pending, without the open files.  Images
 * are shared copy on write: cost is in the number of files, not of bytes.  Hook, faults and limits
 * are not taken along.
 */
struct simdisk *simdisk_clone(struct simdisk *disk, uint64_t seed);

/* ---- power and process ---- */

enum simdisk_policy {
    SIMDISK_ALL,       /* everything survives */
    SIMDISK_NONE,      /* only what is durable */
    SIMDISK_SECTORS,   /* each sector, size and name on its own */
    SIMDISK_TORN,      /* each write whole, not at all, or with a torn edge */
    SIMDISK_PREFIX,    /* all up to one moment, that one torn */
    SIMDISK_REORDERED, /* the latest survive, of the earlier ones few */
    SIMDISK_POLICIES
};
const char *simdisk_policy_name(enum simdisk_policy policy);

/* Power cut, and power back: files that were open are dead (every call gives FTK_IO; close them),
 * asynchronous I/O under way completes with FTK_IO, names and contents are what survived. */
void simdisk_crash(struct simdisk *disk, uint64_t seed); /* the seed chooses the policy, too */
void simdisk_crash_as(struct simdisk *disk, enum simdisk_policy policy, uint64_t seed);
enum simdisk_policy simdisk_policy_of(uint64_t seed);

/* The process dies, the operating system lives: open files are dead, completed writes are all
 * there (still not durable), those under way by chance. */
void simdisk_kill(struct simdisk *disk, uint64_t seed);

/* ---- faults ---- */

enum simdisk_op {
    SIMDISK_READ = 1,
    SIMDISK_WRITE = 2,
    SIMDISK_SYNC = 4, /* of files */
    SIMDISK_ALLOCATE = 8,
    SIMDISK_TRUNCATE = 16,
    SIMDISK_OPEN = 32,
    SIMDISK_NAMES = 64, /* rename, remove, mkdir, and creation by open */
    SIMDISK_SYNC_DIR = 128,
    SIMDISK_ANY = 255
};
#define SIMDISK_SHORT_READ (-1) /* instead of an errno */

/* The nth operation from now (1 = the next) of those in the mask fails with the errno, and so do
 * the times - 1 after it (UINT64_MAX: for ever).  Several can be set. */
void simdisk_fail(struct simdisk *disk, unsigned ops, uint64_t nth, uint64_t times, int os_errno);
void simdisk_fail_clear(struct simdisk *disk);
uint64_t simdisk_failed(struct simdisk *disk);                    /* faults delivered so far */
uint64_t simdisk_count(struct simdisk *disk, enum simdisk_op op); /* operations so far */

void simdisk_capacity(struct simdisk *disk, uint64_t bytes); /* 0: without limit */
uint64_t simdisk_used(struct simdisk *disk);

/* ---- contents, past the file handles ---- */

/* Change bits at rest, durable at once; false when there is no such byte. */
bool simdisk_flip(struct simdisk *disk, const char *path, uint64_t offset, uint8_t mask);
/* Overwrite bytes at rest, durable at once; the file must be that long. */
bool simdisk_poke(struct simdisk *disk, const char *path, uint64_t offset, const void *memory,
                  size_t size);
bool simdisk_peek(struct simdisk *disk, const char *path, uint64_t offset, void *memory,
                  size_t size);
bool simdisk_size(struct simdisk *disk, const char *path, uint64_t *size_out);
/* Write all files below a real directory, to look at after a failure. */
bool simdisk_save(struct simdisk *disk, const char *directory);

#endif
