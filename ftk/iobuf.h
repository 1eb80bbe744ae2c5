/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ftk/iobuf.h -- the buffer manager: a bounded number of I/O buffers, completion callbacks, and the
 * buffer-waiter queue.
 *
 * Life of a buffer (the only moves):
 *
 *     available --acquire--> used --submit--> pending --completion--> available
 *                             used --release--> available
 *
 * 1. `acquire` takes an available buffer or joins the buffer-waiter queue: first come, first
 *    served.
 * 2. A completion, in whatever order the device finishes, runs the owner's callback, gives the
 *    buffer back and wakes exactly the first waiter (the buffer is handed to it directly, so that
 *    nobody can overtake).
 * 3. No one ever waits for a particular I/O to get a buffer.
 * 4. Count and bytes under way are bounded: a submit of more bytes than are free waits, first come,
 *    first served, in a queue of its own (it holds a buffer: in the buffer-waiter queue it could
 *    stand behind one who waits for that buffer).  One I/O larger than the bound is let through
 *    when it is alone.
 * 5. A buffer may hold bytes from its acquire on.  Its submit, of no
 *    more than these, does not wait.
 *
 * Locks: one mutex per manager, held for a few instructions; callbacks run without it.  An owner's
 * callback must not acquire, submit or wait.
 */
#ifndef FTK_IOBUF_H
#define FTK_IOBUF_H

#include "ftk/disk.h"

struct ftk_iobufs; /* the manager */
struct ftk_iobuf;  /* one buffer */

struct ftk_iobufs_options {
    struct ftk_disk *disk;
    enum ftk_aio_kind aio_kind;
    uint32_t count;        /* buffers; default 64 */
    uint64_t bytes_max;    /* bytes under way; default 32 MiB */
    uint32_t memory_bytes; /* of each buffer that has memory of its own; default 1 MiB */
    uint32_t memory_align; /* default 4096 */
    bool wait_oldest;      /* for measurement only: a waiter gets the buffer of the oldest I/O, as
                              engines did before completion callbacks */
};
#define FTK_IOBUFS_OPTIONS_INIT                                                                    \
    {                                                                                              \
        .count = 64, .bytes_max = 32u << 20, .memory_bytes = 1u << 20, .memory_align = 4096        \
    }

/* A set of I/Os that someone waits for together.  Zero-initialise with ftk_iogroup_init. */
struct ftk_iogroup {
    struct ftk_iobufs *bufs;
    uint64_t pending;       /* guarded by the manager's mutex */
    struct ftk_error error; /* the first one; status FTK_OK when none */
};

/* Bucket i counts submits that saw 2^i .. 2^(i+1)-1 under way, themselves included. */
#define FTK_IOBUFS_DEPTH_BUCKETS 16

struct ftk_iobufs_stats {
    uint64_t reads, read_bytes;
    uint64_t writes, write_bytes;
    uint64_t busy_ns;        /* time with at least one I/O under way: bytes / busy = MB/s */
    uint64_t out_of_order;   /* completions that overtook an older I/O */
    uint64_t waits, wait_ns; /* acquires that had to queue, and for how long in total */
    uint64_t wait_ns_max;
    uint32_t waiting;              /* in the buffer-waiter queue now */
    uint32_t pending, pending_max; /* I/Os under way now, and at most */
    uint64_t depth[FTK_IOBUFS_DEPTH_BUCKETS];
};

ftk_status ftk_iobufs_open(const struct ftk_iobufs_options *options, struct ftk_iobufs **bufs_out);
void ftk_iobufs_close(struct ftk_iobufs *bufs); /* waits for pending I/O; NULL is fine */
/* Completions happen on the threads that wait for them, and nowhere else. */
bool ftk_iobufs_polled(const struct ftk_iobufs *bufs);
void ftk_iobufs_stats(struct ftk_iobufs *bufs, struct ftk_iobufs_stats *stats_out);

/* Take a buffer; may sleep in the buffer-waiter queue.  owner: until submit or release. */
void ftk_iobuf_acquire(struct ftk_iobufs *bufs, struct ftk_iobuf **buf_out);
/* The same, holding `bytes` of what may be under way: all waiting is done here, and none by the
 * submit, which may be of so many bytes or fewer (what is left over is given back then). */
void ftk_iobuf_acquire_for(struct ftk_iobufs *bufs, uint64_t bytes, struct ftk_iobuf **buf_out);
/* The same, but NULL at once when there is no buffer, or not so many bytes. */
struct ftk_iobuf *ftk_iobuf_try_acquire(struct ftk_iobufs *bufs, uint64_t bytes);
void ftk_iobuf_release(struct ftk_iobuf *buf);
/* The buffer's own aligned memory (memory_bytes), allocated at first use.  errors: FTK_NOMEM. */
ftk_status ftk_iobuf_memory(struct ftk_iobuf *buf, void **memory_out);

/*
 * Start an I/O of [memory, memory+size): the buffer's own memory or memory that stays untouched
 * until completion.  `done` may be NULL; it runs once, before the group's count falls and before
 * the buffer is available again; it must not block.  group may be NULL.  The buffer is moved.
 */
void ftk_iobuf_submit(struct ftk_iobuf *buf, struct ftk_file *file, enum ftk_io_op op, void *memory,
                      size_t size, uint64_t offset, struct ftk_iogroup *group,
                      void (*done)(void *context, void *memory, size_t size, ftk_status status),
                      void *context);

void ftk_iogroup_init(struct ftk_iogroup *group, struct ftk_iobufs *bufs);
/* Sleep until nothing of the group is pending; the group's first error (also set as this thread's
 * last error). */
ftk_status ftk_iogroup_wait(struct ftk_iogroup *group);

#endif
