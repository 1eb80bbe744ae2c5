/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rfl/rfl_flush.c -- write, sync, group commit.
 *
 * Two slots, each taken by one thread at a time and guarded by the append lock:
 *
 *   writing   one write of the active buffer to its segment's file.  Taking it makes the other
 *             buffer active, so that appends go on.
 *   syncing   one fdatasync.  Its leader first writes all that was appended, then syncs, then
 *             serves everyone whose LSN is covered.
 *
 * Life of a commit (full): covered already -> return; slot `syncing` free -> lead; else wait.  A
 * waiter is woken once: SERVED (it returns without touching the append lock) or LEAD (the slot is
 * handed to it: the first waiter that the sync before did not cover).  A lone thread never waits
 * and is never woken: it writes and syncs itself.
 *
 * Why the next leader is woken first: the device is idle until it runs.
 */
#include <inttypes.h>
#include <string.h>

#include "ftk/clock.h"
#include "rfl/rfl_internal.h"

#define GATHER_PATIENCE_NS 15000u /* between two arrivals; a few context switches */
#define GATHER_VAIN_MAX 6u        /* then 1 sync of 64 gathers */

ftk_status
rfl__failed(struct rfl_log *log)
{
    return FTK_FAIL(FTK_FAILED, "%s: the log has failed: %.150s", log->dir, log->error.text);
}

bool
rfl_has_failed(struct rfl_log *log)
{
    bool failed;

    ftk_mutex_lock(&log->mutex);
    failed = log->failed;
    ftk_mutex_unlock(&log->mutex);
    return failed;
}

void
rfl__fail(struct rfl_log *log)
{
    if (log->failed)
        return;
    FTK_ASSERT(ftk_error_last()->status != FTK_OK);
    log->error = *ftk_error_last();
    log->failed = true;
    ftk_cond_broadcast(&log->turn);
}

/* The first to see a failure, or in its group: FTK_IO with the words of the failure. */
static ftk_status
failed_now(struct rfl_log *log)
{
    struct ftk_error error = log->error;

    error.status = FTK_IO;
    ftk_error_set(&error);
    return error.status;
}

/* ---- write ---- */

static void
turn_wait(struct rfl_log *log)
{
    log->turn_waiters++;
    ftk_cond_wait(&log->turn, &log->mutex);
    log->turn_waiters--;
}

/* Make the other buffer the active one, going on where `full` ends. */
static void
buffer_turn(struct rfl_log *log, const struct rfl__buffer *full)
{
    struct rfl__buffer *other = &log->buffers[log->active ^ 1];
    uint64_t base = RFL_ALIGN_DOWN(full->lsn_end, RFL_BLOCK);
    uint64_t used = full->lsn_end - base, there = 0;
    const uint8_t *from = full->memory + (base - full->lsn_base);

    FTK_ASSERT(full == &log->buffers[log->active]);
    FTK_ASSERT(!log->writing);   /* the other buffer is not on its way to the file */
    if (other->lsn_base == base) /* the same block, as far as it went the last time */
        there = other->used < used ? other->used : used;
    other->segment = full->segment;
    other->lsn_end = full->lsn_end;
    other->lsn_base = base;
    other->used = used;
    if (full->lsn_end == full->segment->lsn_end && full->segment->next != NULL) {
        other->segment = full->segment->next;
        log->lsn_prepare = other->lsn_base;
        log->syncs_asked_before = log->syncs_asked;
        log->syncs_asked = 0;
        log->lsn_syncs_asked = full->segment->lsn_begin;
    }
    memcpy(other->memory + there, from + there, used - there);
    FTK_ASSERT(other->used < RFL_BLOCK);
    FTK_DEBUG_ASSERT(memcmp(other->memory, from, used) == 0);
    log->active ^= 1;
}

static bool
all_zero(const uint8_t *p, size_t size)
{
    return size == 0 || (p[0] == 0 && memcmp(p, p + 1, size - 1) == 0);
}

/* Zeros from the last record to the end of its block, and a zero block behind if that is nothing
 * (README.md, invariant 4).  The bytes to write. */
static size_t
buffer_pad(struct rfl__buffer *buffer)
{
    uint64_t size = RFL_ALIGN_UP(buffer->used, RFL_BLOCK);
    bool sealed = buffer->lsn_end == buffer->segment->lsn_end;

    if (size == buffer->used && !sealed)
        size += RFL_BLOCK;
    FTK_ASSERT(size % RFL_BLOCK == 0 && size - buffer->used <= RFL_BLOCK);
    /* Small commits go on in one block, each with the other buffer: two commits ago this one has
     * set them, and only appends have come since. */
    if (buffer->zero_from > buffer->used || buffer->zero_to < size)
        memset(buffer->memory + buffer->used, 0, (size_t)(size - buffer->used));
    FTK_DEBUG_ASSERT(all_zero(buffer->memory + buffer->used, size - buffer->used));
    buffer->zero_from = buffer->used;
    buffer->zero_to = size;
    return (size_t)size;
}

ftk_status
rfl__write(struct rfl_log *log)
{
    struct rfl__buffer *buffer;
    struct ftk_file *file;
    size_t size;
    ftk_status rc;

    while (log->writing && !log->failed)
        turn_wait(log);
    if (log->failed)
        return rfl__failed(log);
    buffer = &log->buffers[log->active];
    if (buffer->lsn_end == log->lsn_written && !log->tail_unclean) {
        if (buffer->lsn_end == buffer->segment->lsn_end)
            buffer_turn(log, buffer);
        return FTK_OK;
    }
    size = buffer_pad(buffer);
    buffer_turn(log, buffer);
    log->writing = true;
    log->tail_unclean = false;
    log->stream_wanted = false;
    log->stats.flushes++;
    log->stats.flush_bytes += size;
    file = buffer->segment->file;
    FTK_ASSERT(file != NULL); /* README.md, slots and locks, 3 */
    buffer->segment->users++;
    ftk_mutex_unlock(&log->mutex);

    rc = size == 0 ? FTK_OK
                   : ftk_file_write(file, buffer->memory, size,
                                    rfl__offset(buffer->segment, buffer->lsn_base));

    ftk_mutex_lock(&log->mutex);
    FTK_ASSERT(log->writing && buffer->segment->users > 0);
    log->writing = false;
    buffer->segment->users--;
    if (log->turn_waiters > 0)
        ftk_cond_broadcast(&log->turn);
    if (rc != FTK_OK) {
        rfl__fail(log);
        return failed_now(log);
    }
    FTK_ASSERT(buffer->lsn_end >= log->lsn_written && !buffer->segment->leaving);
    /* Not before: a sync that runs beside the write does not cover it. */
    buffer->segment->dirty = true;
    atomic_store_explicit(&log->lsn_written, buffer->lsn_end, memory_order_release);
    if (log->background && buffer->lsn_end - log->lsn_writeback >= RFL_WRITEBACK_BYTES &&
        !log->writeback_wanted) {
        log->writeback_wanted = true;
        rfl__flusher_wake(log);
    }
    return FTK_OK;
}

static ftk_status
commit_os(struct rfl_log *log, uint64_t lsn_end)
{
    ftk_status rc = FTK_OK;

    ftk_mutex_lock(&log->mutex);
    while (rc == FTK_OK && log->lsn_written < lsn_end) {
        if (log->failed)
            rc = rfl__failed(log);
        else if (log->writing)
            turn_wait(log);
        else
            rc = rfl__write(log);
    }
    ftk_mutex_unlock(&log->mutex);
    return rc;
}

/* ---- sync ---- */

static void
waiter_wake(struct rfl__waiter *waiter, int state, bool failed)
{
    ftk_mutex_lock(&waiter->mutex);
    FTK_ASSERT(waiter->state == RFL__WAITING && state != RFL__WAITING); /* woken once */
    waiter->state = state;
    waiter->failed = failed;
    ftk_cond_signal(&waiter->cond);
    ftk_mutex_unlock(&waiter->mutex); /* it may be gone from here on */
}

/* With the mutex, which is dropped.  How the wait ended. */
static int
waiter_wait(struct rfl_log *log, uint64_t lsn_end, bool *failed_out)
{
    struct rfl__waiter waiter = {.lsn_end = lsn_end, .state = RFL__WAITING};
    int state;

    FTK_ASSERT(log->syncing && lsn_end > log->lsn_durable); /* or nobody would wake it */
    ftk_mutex_init(&waiter.mutex);
    ftk_cond_init(&waiter.cond);
    if (log->waiters_last == NULL)
        log->waiters_first = &waiter;
    else
        log->waiters_last->next = &waiter;
    log->waiters_last = &waiter;
    log->waiter_count++;
    ftk_mutex_unlock(&log->mutex);

    ftk_mutex_lock(&waiter.mutex);
    while (waiter.state == RFL__WAITING)
        ftk_cond_wait(&waiter.cond, &waiter.mutex);
    state = waiter.state;
    *failed_out = waiter.failed;
    ftk_mutex_unlock(&waiter.mutex);
    ftk_cond_release(&waiter.cond);
    ftk_mutex_release(&waiter.mutex);
    return state;
}

/* Split the queue: those to serve are returned, the others stay in order. */
static struct rfl__waiter *
waiters_take(struct rfl_log *log, uint64_t lsn_durable, bool all)
{
    struct rfl__waiter *taken = NULL, **taken_end = &taken, **link = &log->waiters_first;

    log->waiters_last = NULL;
    while (*link != NULL) {
        struct rfl__waiter *waiter = *link;
        if (all || waiter->lsn_end <= lsn_durable) {
            *link = waiter->next;
            waiter->next = NULL;
            *taken_end = waiter;
            taken_end = &waiter->next;
            log->waiter_count--;
            log->stats.waiters_served++;
        } else {
            log->waiters_last = waiter;
            link = &waiter->next;
        }
    }
    FTK_ASSERT(!all || (log->waiters_first == NULL && log->waiter_count == 0));
    return taken;
}

static struct rfl__waiter *
waiter_pop(struct rfl_log *log)
{
    struct rfl__waiter *waiter = log->waiters_first;

    if (waiter != NULL) {
        log->waiters_first = waiter->next;
        if (log->waiters_first == NULL)
            log->waiters_last = NULL;
        log->waiter_count--;
    }
    return waiter;
}

/* Sync every file written since its last sync, below lsn.  With the mutex, dropped meanwhile. */
static ftk_status
files_sync(struct rfl_log *log, uint64_t lsn)
{
    ftk_status rc = FTK_OK;

    /* `s` stays on the list, and its file open, while it has a user. */
    for (struct rfl__segment *s = log->oldest; s != NULL && s->lsn_begin <= lsn; s = s->next) {
        uint64_t began;

        if (!s->dirty)
            continue;
        FTK_ASSERT(s->file != NULL && !s->leaving && log->syncing);
        s->dirty = false;
        s->users++;
        ftk_mutex_unlock(&log->mutex);
        began = ftk_clock_ns();
        rc = ftk_file_sync(s->file);
        began = ftk_clock_ns() - began;
        ftk_mutex_lock(&log->mutex);
        s->users--;
        log->stats.syncs++;
        log->stats.sync_ns += began;
        log->sync_ns_mean = (7 * log->sync_ns_mean + began) / 8;
        if (rc != FTK_OK)
            return rc;
    }
    return rc;
}

/* Files of segments that are full and durable.  The caller closes them, without the mutex. */
static size_t
files_finished(struct rfl_log *log, struct ftk_file **files, size_t capacity)
{
    const struct rfl__segment *active = log->buffers[log->active].segment;
    size_t count = 0;

    for (struct rfl__segment *s = log->oldest; s != active && count < capacity; s = s->next) {
        if (s->file != NULL && !s->dirty && !s->leaving && s->users == 0 &&
            s->lsn_end <= log->lsn_durable) {
            files[count++] = s->file;
            s->file = NULL;
        }
    }
    return count;
}

/*
 * Wait a little for threads that committed around the last sync and are on their way back: one sync
 * for all of them instead of one for each half.  Waits as long as they keep coming, at most a
 * quarter of a sync; when nobody comes, rarely tries again.  A lone thread never waits.
 */
static void
gather(struct rfl_log *log)
{
    uint64_t now, patience, limit;
    uint32_t seen = log->waiter_count;

    if (log->committers <= seen + 1)
        return;
    if (log->gather_skip > 0) {
        log->gather_skip--;
        return;
    }
    now = ftk_clock_ns();
    limit = now + log->sync_ns_mean / 4;
    patience = now + GATHER_PATIENCE_NS;
    while (log->waiter_count + 1 < log->committers && now < patience && now < limit) {
        ftk_mutex_unlock(&log->mutex);
        ftk_thread_yield();
        ftk_mutex_lock(&log->mutex);
        now = ftk_clock_ns();
        if (log->waiter_count > seen) {
            seen = log->waiter_count;
            patience = now + GATHER_PATIENCE_NS;
            log->gather_vain = 0;
        }
    }
    if (log->gather_vain < GATHER_VAIN_MAX)
        log->gather_vain++;
    if (log->waiter_count + 1 < log->committers && log->gather_vain > 1)
        log->gather_skip = (1u << log->gather_vain) - 1;
}

/* With the mutex and the slot `syncing`; both are given up, waiters are served. */
static ftk_status
sync_lead(struct rfl_log *log)
{
    struct rfl__waiter *served, *leader = NULL;
    struct ftk_file *files[4];
    size_t file_count = 0;
    uint64_t lsn;
    bool failed;
    ftk_status rc;

    FTK_ASSERT(log->syncing);
    if (log->background && !log->failed)
        gather(log);
    rc = rfl__write(log);
    lsn = log->lsn_written;
    if (rc == FTK_OK) {
        rc = files_sync(log, lsn);
        if (rc != FTK_OK) {
            rfl__fail(log);
            rc = failed_now(log);
        }
    }
    failed = rc != FTK_OK;
    if (!failed) {
        FTK_ASSERT(lsn >= log->lsn_durable && lsn <= log->lsn_written);
        atomic_store_explicit(&log->lsn_durable, lsn, memory_order_release);
        log->stats.waiters_served++;
        log->lsn_writeback = lsn;
        file_count = files_finished(log, files, sizeof(files) / sizeof(files[0]));
    }
    log->committers = 1 + log->waiter_count;
    served = waiters_take(log, lsn, failed);
    if (!failed)
        leader = waiter_pop(log);
    log->syncing = leader != NULL;
    FTK_DEBUG_ASSERT(rfl__check(log));
    ftk_mutex_unlock(&log->mutex);

    if (leader != NULL)
        waiter_wake(leader, RFL__LEAD, false);
    while (served != NULL) {
        struct rfl__waiter *next = served->next;
        waiter_wake(served, RFL__SERVED, failed);
        served = next;
    }
    while (file_count > 0) {
        file_count--;
        ftk_file_hint(files[file_count], FTK_HINT_DONTNEED, 0, 0);
        ftk_file_close(files[file_count]);
    }
    return rc;
}

ftk_status
rfl__sync(struct rfl_log *log, uint64_t lsn_end, bool asked)
{
    ftk_status rc;

    ftk_mutex_lock(&log->mutex);
    if (log->lsn_durable >= lsn_end) {
        ftk_mutex_unlock(&log->mutex);
        return FTK_OK;
    }
    if (log->failed) {
        rc = rfl__failed(log);
        ftk_mutex_unlock(&log->mutex);
        return rc;
    }
    if (log->syncing) {
        bool failed;

        if (waiter_wait(log, lsn_end, &failed) == RFL__SERVED) {
            if (!failed)
                return FTK_OK;
            ftk_mutex_lock(&log->mutex);
            rc = failed_now(log);
            ftk_mutex_unlock(&log->mutex);
            return rc;
        }
        ftk_mutex_lock(&log->mutex);
    }
    log->syncing = true;
    log->syncs_asked += asked;
    return sync_lead(log);
}

ftk_status
rfl_commit(struct rfl_log *log, uint64_t lsn_end, enum rfl_durability durability)
{
    ftk_status rc;

    if (log->read_only)
        return FTK_FAIL(FTK_READONLY, "%s: the log is open read-only", log->dir);
    if (lsn_end > rfl_lsn_end(log))
        return FTK_FAIL(FTK_INVALID, "LSN %" PRIu64 " is beyond the end of the log", lsn_end);
    switch (durability) {
    case RFL_FULL:
        if (atomic_load_explicit(&log->lsn_durable, memory_order_acquire) >= lsn_end)
            return FTK_OK;
        return rfl__sync(log, lsn_end, true);
    case RFL_OS:
        if (atomic_load_explicit(&log->lsn_written, memory_order_acquire) >= lsn_end)
            return FTK_OK;
        return commit_os(log, lsn_end);
    default: break;
    }
    if (atomic_load_explicit(&log->lsn_durable, memory_order_acquire) >= lsn_end)
        return FTK_OK;
    ftk_mutex_lock(&log->mutex);
    rc = log->failed ? rfl__failed(log) : FTK_OK;
    if (log->background && log->lazy_deadline_ns == 0) {
        log->lazy_deadline_ns = ftk_clock_ns() + log->lazy_ns;
        rfl__flusher_wake(log);
    }
    ftk_mutex_unlock(&log->mutex);
    return rc;
}
