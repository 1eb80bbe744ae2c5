/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ftk/iobuf.c -- the buffer manager (design, section 6).
 *
 *     available --acquire--> used --submit--> pending --completion--> available
 *                             used --release--> available
 *
 * 1. A buffer is in exactly one place: the free list (available), with its owner (used), or in the
 *    list of pending I/Os, which is in the order of submission.
 * 2. The free list is empty while anyone is in the buffer-waiter queue: a buffer that comes back is
 *    handed to the first waiter under the same lock.
 * 3. Waits for bytes have a queue of their own: who waits there holds a buffer, so that nothing he
 *    waits for can stand behind someone who waits for a buffer.
 * 4. bytes_pending is the sum over pending buffers and of what used ones hold, at most bytes_max
 *    unless there is only one.
 * 5. A completion runs the owner's callback without the lock, then lowers the group's count, then
 *    gives the buffer back, the two under one lock.  Nothing of a group is touched afterwards.
 * 6. No allocation per I/O: the ftk_io is part of the buffer, waiters live on their own stacks.
 */
#include "ftk/iobuf.h"

#include <string.h>

#include "ftk/clock.h"
#include "ftk/mem.h"
#include "ftk/thread.h"

#define POLL_PAUSE_NS 1000000u /* a polled backend with nothing to do: someone may submit soon */

enum iobuf_state { IOBUF_AVAILABLE, IOBUF_USED, IOBUF_PENDING };

struct ftk_iobuf {
    struct ftk_io io; /* first: a completion finds its buffer by it */
    struct ftk_iobufs *bufs;
    void *own_memory;
    enum iobuf_state state;
    uint64_t held;          /* used: bytes it may submit without waiting */
    bool finished;          /* pending and complete: held back in wait_oldest mode */
    struct ftk_iobuf *next; /* in the free list, or among the pending */
    struct ftk_iobuf *prev; /* among the pending */
    struct ftk_iogroup *group;
    void (*done)(void *context, void *memory, size_t size, ftk_status status);
    void *done_context;
};

/* One sleeper, on its own stack. */
struct waiter {
    struct waiter *next;
    struct ftk_cond wake;
    bool ready;
    struct ftk_iobuf *buf;     /* granted to who waits for a buffer */
    uint64_t bytes;            /* wanted by who waits for bytes */
    struct ftk_iogroup *group; /* of who waits for a group */
};

struct waiter_queue {
    struct waiter *head;
    struct waiter *tail;
};

struct ftk_iobufs {
    struct ftk_disk *disk;
    struct ftk_aio *aio;
    struct ftk_iobuf *all;
    uint32_t count;
    uint32_t memory_bytes;
    uint32_t memory_align;
    uint64_t bytes_max;
    bool wait_oldest;

    struct ftk_mutex mutex; /* guards what follows */
    struct ftk_iobuf *available;
    struct ftk_iobuf *oldest; /* pending, in the order of submission */
    struct ftk_iobuf *newest;
    uint64_t bytes_pending;
    uint64_t busy_since_ns;
    struct waiter_queue for_buffer; /* the buffer-waiter queue */
    struct waiter_queue for_bytes;
    struct waiter_queue for_group;
    struct ftk_iobufs_stats stats;
};

/* ---- waiters -------------------------------------------------------------------------------- */

static void
queue_add(struct waiter_queue *queue, struct waiter *waiter)
{
    waiter->next = NULL;
    if (queue->tail != NULL)
        queue->tail->next = waiter;
    else
        queue->head = waiter;
    queue->tail = waiter;
}

static struct waiter *
queue_take(struct waiter_queue *queue)
{
    struct waiter *waiter = queue->head;
    queue->head = waiter->next;
    if (queue->head == NULL)
        queue->tail = NULL;
    return waiter;
}

static void
waiter_wake(struct waiter *waiter)
{
    waiter->ready = true;
    ftk_cond_signal(
        &waiter->wake); /* under the lock: the waiter's stack is there until we let go */
}

/* Join a queue and sleep until woken, or do the completing where the backend leaves it to us. */
static void
waiter_sleep(struct ftk_iobufs *bufs, struct waiter_queue *queue, struct waiter *waiter)
{
    ftk_cond_init(&waiter->wake);
    queue_add(queue, waiter);
    while (!waiter->ready) {
        if (!bufs->aio->polled) {
            ftk_cond_wait(&waiter->wake, &bufs->mutex);
            continue;
        }
        ftk_mutex_unlock(&bufs->mutex);
        bool progress = bufs->disk->ops->aio_poll(bufs->aio);
        ftk_mutex_lock(&bufs->mutex);
        if (!progress && !waiter->ready)
            (void)ftk_cond_wait_until(&waiter->wake, &bufs->mutex, ftk_clock_ns() + POLL_PAUSE_NS);
    }
    ftk_cond_release(&waiter->wake);
}

/* ---- moves of a buffer ----------------------------------------------------------------------- */

/* used or pending -> available, or straight to the first waiter. */
static void
buffer_back(struct ftk_iobufs *bufs, struct ftk_iobuf *buf)
{
    if (bufs->for_buffer.head != NULL) {
        struct waiter *first = queue_take(&bufs->for_buffer);
        buf->state = IOBUF_USED;
        first->buf = buf;
        waiter_wake(first);
        return;
    }
    buf->state = IOBUF_AVAILABLE;
    buf->next = bufs->available;
    bufs->available = buf;
}

static struct ftk_iobuf *
buffer_take(struct ftk_iobufs *bufs)
{
    struct ftk_iobuf *buf = bufs->available;
    if (buf != NULL) {
        FTK_DEBUG_ASSERT(buf->state == IOBUF_AVAILABLE);
        bufs->available = buf->next;
        buf->next = NULL;
        buf->state = IOBUF_USED;
    }
    return buf;
}

static bool
bytes_fit(const struct ftk_iobufs *bufs, uint64_t bytes)
{
    return bufs->bytes_pending == 0 ||
           (bytes <= bufs->bytes_max && bufs->bytes_pending <= bufs->bytes_max - bytes);
}

/* Grant bytes to those who wait for them, first come, first served. */
static void
bytes_back(struct ftk_iobufs *bufs, uint64_t bytes)
{
    FTK_ASSERT(bufs->bytes_pending >= bytes);
    bufs->bytes_pending -= bytes;
    while (bufs->for_bytes.head != NULL && bytes_fit(bufs, bufs->for_bytes.head->bytes)) {
        struct waiter *first = queue_take(&bufs->for_bytes);
        bufs->bytes_pending += first->bytes;
        waiter_wake(first);
    }
}

static bool
bytes_try(struct ftk_iobufs *bufs, uint64_t bytes)
{
    bool fit = bufs->for_bytes.head == NULL && bytes_fit(bufs, bytes);

    if (fit)
        bufs->bytes_pending += bytes;
    return fit;
}

static void
bytes_take(struct ftk_iobufs *bufs, uint64_t bytes)
{
    if (bytes == 0 || bytes_try(bufs, bytes))
        return;
    struct waiter self = {.bytes = bytes};
    waiter_sleep(bufs, &bufs->for_bytes, &self); /* the bytes were counted by who woke us */
}

static void
pending_add(struct ftk_iobufs *bufs, struct ftk_iobuf *buf)
{
    buf->state = IOBUF_PENDING;
    buf->finished = false;
    buf->next = NULL;
    buf->prev = bufs->newest;
    if (bufs->newest != NULL)
        bufs->newest->next = buf;
    else
        bufs->oldest = buf;
    bufs->newest = buf;
}

static void
pending_remove(struct ftk_iobufs *bufs, struct ftk_iobuf *buf)
{
    if (buf->prev != NULL)
        buf->prev->next = buf->next;
    else
        bufs->oldest = buf->next;
    if (buf->next != NULL)
        buf->next->prev = buf->prev;
    else
        bufs->newest = buf->prev;
    buf->next = NULL;
    buf->prev = NULL;
}

/* pending -> available, with the bytes. */
static void
pending_end(struct ftk_iobufs *bufs, struct ftk_iobuf *buf)
{
    uint64_t bytes = buf->io.size;

    pending_remove(bufs, buf);
    buffer_back(bufs, buf);
    bytes_back(bufs, bytes);
}

/* ---- groups ---------------------------------------------------------------------------------- */

/* One I/O of the group has ended; wake those who wait for the last one. */
static void
group_leave(struct ftk_iobufs *bufs, struct ftk_iogroup *group, const struct ftk_error *error)
{
    if (error != NULL && group->error.status == FTK_OK)
        group->error = *error;
    FTK_ASSERT(group->pending > 0);
    if (--group->pending > 0)
        return;

    struct waiter_queue others = {NULL, NULL};
    while (bufs->for_group.head != NULL) {
        struct waiter *waiter = queue_take(&bufs->for_group);
        if (waiter->group == group)
            waiter_wake(waiter);
        else
            queue_add(&others, waiter);
    }
    bufs->for_group = others;
}

void
ftk_iogroup_init(struct ftk_iogroup *group, struct ftk_iobufs *bufs)
{
    memset(group, 0, sizeof(*group));
    group->bufs = bufs;
}

ftk_status
ftk_iogroup_wait(struct ftk_iogroup *group)
{
    struct ftk_iobufs *bufs = group->bufs;

    ftk_mutex_lock(&bufs->mutex);
    if (group->pending > 0) {
        struct waiter self = {.group = group};
        waiter_sleep(bufs, &bufs->for_group, &self);
    }
    ftk_mutex_unlock(&bufs->mutex);
    if (group->error.status != FTK_OK)
        ftk_error_set(&group->error);
    return group->error.status;
}

/* ---- submit and completion ------------------------------------------------------------------- */

static void
stats_submit(struct ftk_iobufs *bufs, const struct ftk_iobuf *buf)
{
    struct ftk_iobufs_stats *stats = &bufs->stats;

    if (stats->pending++ == 0)
        bufs->busy_since_ns = ftk_clock_ns();
    if (stats->pending > stats->pending_max)
        stats->pending_max = stats->pending;
    unsigned bucket = 31u - (unsigned)__builtin_clz(stats->pending);
    stats->depth[bucket < FTK_IOBUFS_DEPTH_BUCKETS ? bucket : FTK_IOBUFS_DEPTH_BUCKETS - 1]++;
    if (buf->io.op == FTK_IO_READ) {
        stats->reads++;
        stats->read_bytes += buf->io.size;
    } else {
        stats->writes++;
        stats->write_bytes += buf->io.size;
    }
}

static void
stats_complete(struct ftk_iobufs *bufs, const struct ftk_iobuf *buf)
{
    const struct ftk_iobuf *oldest = bufs->oldest;

    while (oldest->finished) /* wait_oldest keeps finished ones in the list */
        oldest = oldest->next;
    if (oldest != buf)
        bufs->stats.out_of_order++;
    if (--bufs->stats.pending == 0)
        bufs->stats.busy_ns += ftk_clock_ns() - bufs->busy_since_ns;
}

static void
io_done(struct ftk_io *io)
{
    struct ftk_iobuf *buf = (struct ftk_iobuf *)io;
    struct ftk_iobufs *bufs = buf->bufs;
    struct ftk_error error;
    bool failed = io->status != FTK_OK;

    if (FTK_UNLIKELY(failed)) {
        error = *ftk_error_last(); /* before the callback can bear another */
        error.status = io->status;
    }
    if (buf->done != NULL)
        buf->done(buf->done_context, io->memory, io->size, io->status);

    ftk_mutex_lock(&bufs->mutex);
    stats_complete(bufs, buf);
    if (buf->group != NULL)
        group_leave(bufs, buf->group, failed ? &error : NULL);
    if (FTK_LIKELY(!bufs->wait_oldest)) {
        pending_end(bufs, buf);
    } else {
        buf->finished = true;
        while (bufs->oldest != NULL && bufs->oldest->finished)
            pending_end(bufs, bufs->oldest);
    }
    ftk_mutex_unlock(&bufs->mutex);
}

void
ftk_iobuf_submit(struct ftk_iobuf *buf, struct ftk_file *file, enum ftk_io_op op, void *memory,
                 size_t size, uint64_t offset, struct ftk_iogroup *group,
                 void (*done)(void *context, void *memory, size_t size, ftk_status status),
                 void *context)
{
    struct ftk_iobufs *bufs = buf->bufs;
    struct ftk_io *io = &buf->io;

    io->file = file;
    io->op = op;
    io->memory = memory;
    io->size = size;
    io->offset = offset;
    io->done = io_done;
    io->status = FTK_OK;
    buf->group = group;
    buf->done = done;
    buf->done_context = context;

    ftk_mutex_lock(&bufs->mutex);
    FTK_ASSERT(buf->state == IOBUF_USED);
    FTK_ASSERT(buf->held == 0 ||
               size <= buf->held); /* to wait for more than that could be for ever */
    if (buf->held == 0)
        bytes_take(bufs, size);
    else
        bytes_back(bufs, buf->held - size);
    buf->held = 0;
    if (group != NULL) {
        FTK_DEBUG_ASSERT(group->bufs == bufs);
        group->pending++;
    }
    pending_add(bufs, buf);
    stats_submit(bufs, buf);
    ftk_mutex_unlock(&bufs->mutex);

    bufs->disk->ops->aio_submit(bufs->aio, &io, 1);
}

/* ---- acquire and release --------------------------------------------------------------------- */

void
ftk_iobuf_acquire(struct ftk_iobufs *bufs, struct ftk_iobuf **buf_out)
{
    ftk_iobuf_acquire_for(bufs, 0, buf_out);
}

void
ftk_iobuf_acquire_for(struct ftk_iobufs *bufs, uint64_t bytes, struct ftk_iobuf **buf_out)
{
    ftk_mutex_lock(&bufs->mutex);
    struct ftk_iobuf *buf = buffer_take(bufs);
    if (buf == NULL) {
        struct waiter self = {.buf = NULL};
        uint64_t since_ns = ftk_clock_ns();
        bufs->stats.waiting++;
        waiter_sleep(bufs, &bufs->for_buffer, &self);
        bufs->stats.waiting--;
        buf = self.buf;
        uint64_t wait_ns = ftk_clock_ns() - since_ns;
        bufs->stats.waits++;
        bufs->stats.wait_ns += wait_ns;
        if (wait_ns > bufs->stats.wait_ns_max)
            bufs->stats.wait_ns_max = wait_ns;
    }
    bytes_take(bufs, bytes);
    buf->held = bytes;
    ftk_mutex_unlock(&bufs->mutex);
    *buf_out = buf;
}

struct ftk_iobuf *
ftk_iobuf_try_acquire(struct ftk_iobufs *bufs, uint64_t bytes)
{
    struct ftk_iobuf *buf = NULL;

    ftk_mutex_lock(&bufs->mutex);
    if (bufs->available != NULL && (bytes == 0 || bytes_try(bufs, bytes))) {
        buf = buffer_take(bufs);
        buf->held = bytes;
    }
    ftk_mutex_unlock(&bufs->mutex);
    return buf;
}

void
ftk_iobuf_release(struct ftk_iobuf *buf)
{
    struct ftk_iobufs *bufs = buf->bufs;

    ftk_mutex_lock(&bufs->mutex);
    FTK_ASSERT(buf->state == IOBUF_USED);
    uint64_t held = buf->held;
    buf->held = 0;
    buffer_back(bufs, buf);
    bytes_back(bufs, held);
    ftk_mutex_unlock(&bufs->mutex);
}

ftk_status
ftk_iobuf_memory(struct ftk_iobuf *buf, void **memory_out)
{
    ftk_status rc = FTK_OK;

    if (buf->own_memory == NULL)
        rc = ftk_alloc_aligned(buf->bufs->memory_align, buf->bufs->memory_bytes, &buf->own_memory);
    *memory_out = buf->own_memory;
    return rc;
}

/* ---- open and close -------------------------------------------------------------------------- */

static ftk_status
options_check(const struct ftk_iobufs_options *options)
{
    if (options->disk == NULL)
        return FTK_FAIL(FTK_INVALID, "I/O buffers without a disk");
    if (options->count == 0 || options->count > 65536)
        return FTK_FAIL(FTK_INVALID, "%u I/O buffers: 1 to 65536 are possible", options->count);
    if (options->bytes_max == 0 || options->memory_bytes == 0)
        return FTK_FAIL(FTK_INVALID, "I/O buffers of no bytes");
    if (options->memory_align < sizeof(void *) ||
        (options->memory_align & (options->memory_align - 1)) != 0)
        return FTK_FAIL(FTK_INVALID, "I/O buffers aligned to %u bytes: not a power of two",
                        options->memory_align);
    return FTK_OK;
}

ftk_status
ftk_iobufs_open(const struct ftk_iobufs_options *options, struct ftk_iobufs **bufs_out)
{
    struct ftk_iobufs *bufs = NULL;
    ftk_status rc = FTK_OK;

    *bufs_out = NULL;
    FTK_TRY(options_check(options));
    FTK_TRY(FTK_NEW(&bufs));
    bufs->disk = options->disk;
    bufs->count = options->count;
    bufs->bytes_max = options->bytes_max;
    bufs->memory_bytes = options->memory_bytes;
    bufs->memory_align = options->memory_align;
    bufs->wait_oldest = options->wait_oldest;
    FTK_TRY(FTK_NEW_ARRAY(&bufs->all, bufs->count));
    FTK_TRY(bufs->disk->ops->aio_open(bufs->disk, options->aio_kind, bufs->count, &bufs->aio));
    ftk_mutex_init(&bufs->mutex);
    for (uint32_t i = bufs->count; i-- > 0;) {
        bufs->all[i].bufs = bufs;
        bufs->all[i].next = bufs->available;
        bufs->available = &bufs->all[i];
    }
    *bufs_out = bufs;
    bufs = NULL;
out:
    if (bufs != NULL)
        ftk_free(bufs->all);
    ftk_free(bufs);
    return rc;
}

void
ftk_iobufs_close(struct ftk_iobufs *bufs)
{
    if (bufs == NULL)
        return;
    bufs->disk->ops->aio_close(bufs->aio); /* every completion has run, its thread is gone */
    for (uint32_t i = 0; i < bufs->count; i++) {
        FTK_ASSERT(bufs->all[i].state == IOBUF_AVAILABLE);
        ftk_free(bufs->all[i].own_memory);
    }
    ftk_mutex_release(&bufs->mutex);
    ftk_free(bufs->all);
    ftk_free(bufs);
}

bool
ftk_iobufs_polled(const struct ftk_iobufs *bufs)
{
    return bufs->aio->polled;
}

void
ftk_iobufs_stats(struct ftk_iobufs *bufs, struct ftk_iobufs_stats *stats_out)
{
    ftk_mutex_lock(&bufs->mutex);
    *stats_out = bufs->stats;
    if (bufs->stats.pending > 0)
        stats_out->busy_ns += ftk_clock_ns() - bufs->busy_since_ns;
    ftk_mutex_unlock(&bufs->mutex);
}
