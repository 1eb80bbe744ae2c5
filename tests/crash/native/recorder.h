/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/crash/native/recorder.h -- what a process asks of the file system, in order.
 *
 * The linker puts the functions of recorder.c before those of the C library and libaio (Makefile,
 * NATIVE_WRAPS), in this one test program: ftk/disk_native.c and its asynchronous I/O run as they
 * are, on real files, and every change of a file, of a name or of a size and every sync below the
 * recorded directory becomes an op of a recording.  fs_image.c turns ops into states after a crash.
 *
 * 1. Files and directories are nodes, known by their inode: descriptors, their copies and names
 *    relative to directories need no care.  A node is adopted (recording_adopt) or made by an op in
 *    a known directory; all else is not recorded.
 * 2. The ops' order is that of the recording's mutex, which is held around the call itself, but for
 *    those that take time: a sync, and an asynchronous write from its submission on.  Their end is
 *    an op of its own.  An asynchronous write ends when io_getevents has told so.
 * 3. The bytes of a write are those of its begin.  Where they are others at its end (the cache lets
 *    a page begin its next life while a write of the last one is under way) the op is *vague*: each
 *    sector is one or the other.
 * 4. A recording lies in shared memory: a process that dies leaves it whole, and the next goes on.
 * 5. Syncs are recorded and not done.  They take a time drawn by chance instead, so that other
 *    threads come between begin and end on any machine; what a sync promises is the model's matter.
 */
#ifndef TESTS_CRASH_NATIVE_RECORDER_H
#define TESTS_CRASH_NATIVE_RECORDER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum op_kind {
    OP_CREATE,   /* node, dir, name */
    OP_MKDIR,    /* likewise */
    OP_LINK,     /* likewise: one name more */
    OP_REMOVE,   /* dir, name */
    OP_RENAME,   /* node, dir, name, name_to: both in dir */
    OP_WRITE,    /* node, offset, size, bytes */
    OP_TRUNCATE, /* node, size */
    OP_ALLOCATE, /* node, size: grows to it, if smaller */
    OP_SYNC,     /* node, a file or a directory; begins here */
    OP_END,      /* of op `of`: a sync, an asynchronous write */
    OP_NOTE      /* the workload's: note, number, epoch */
};

enum { OP_UNFINISHED = UINT32_MAX, NAME_MAX_HERE = 48 };
#define BYTES_ZERO UINT64_MAX /* all zero */

struct op {
    enum op_kind kind;
    uint32_t node;
    uint32_t dir;
    uint32_t end; /* index of its OP_END; its own for what ends at once */
    uint32_t of;
    uint32_t note, number, epoch;
    bool durable; /* OP_WRITE through O_DSYNC */
    bool is_void; /* an asynchronous write that the kernel refused or failed */
    bool is_vague;
    uint64_t offset, size;
    uint64_t bytes;     /* in recording.bytes, or BYTES_ZERO */
    uint64_t bytes_end; /* of a vague one: as they were when it ended */
    char name[NAME_MAX_HERE], name_to[NAME_MAX_HERE];
};

enum { OPS_MAX = 40000, NODES_MAX = 1000, FLIGHTS_MAX = 512 };

struct recording {
    pthread_mutex_t mutex; /* guards all that follows */
    uint32_t op_count;
    uint32_t die_at;          /* the process ends in place of this op; UINT32_MAX: it does not */
    uint32_t die_at_dir_sync; /* ... and of this sync of a directory, counted from now; 0: not */
    bool notes_only;          /* nothing else is recorded, and syncs are done */
    uint64_t sync_ns;         /* longest time of a sync */
    uint64_t random;
    dev_t device;
    uint32_t node_count;
    ino_t nodes[NODES_MAX]; /* of an inode used again the last node counts */
    struct {
        const void *iocb; /* NULL: free */
        uint32_t op;
    } flights[FLIGHTS_MAX];
    uint64_t bytes_used;
    struct op ops[OPS_MAX];
    unsigned char bytes[]; /* BYTES_MAX */
};

#define BYTES_MAX ((uint64_t)256 << 20) /* address space; memory as it is used */
enum { RECORDER_DEATH = 77 };           /* exit code of a process that died at die_at */

/* In memory shared with processes forked later; NULL when there is none. */
struct recording *recording_new(void);
void recording_free(struct recording *recording);
/* Empty again, without nodes. */
void recording_reset(struct recording *recording, uint64_t seed);
/* The file or directory at path is the next node. */
uint32_t recording_adopt(struct recording *recording, const char *path);
/* Its process has died (with the mutex, perhaps): what was under way ends here. */
void recording_bury(struct recording *recording);

/* From now on the ops of this process go there; NULL: nowhere, and its syncs do nothing. */
void recorder_use(struct recording *recording);
/* Have io_setup fail: the library then does its I/O by threads.  (io_destroy alone takes 30 ms.) */
void recorder_refuse_libaio(bool refuse);
void recorder_note(uint32_t note, uint32_t number, uint32_t epoch);

/* One line about an op, into text. */
void op_describe(const struct recording *recording, uint32_t index, char *text, size_t text_size);

#endif
