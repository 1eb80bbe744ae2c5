/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rfl/rfl_check.c -- what holds between two holders of the append lock.
 *
 * Run under DEBUG after each change of the log's state, and by the simulations (FTK_DEBUG_ASSERT
 * (rfl__check(log))).  It looks at every segment, spare and waiter, so it is not for the normal
 * build.  What it asserts is the log's own doing: nothing here depends on bytes of a file.
 */
#include "ftk/invariant.h"
#include "rfl/rfl_internal.h"

static void
check_segment(const struct rfl__segment *s)
{
    FTK_ASSERT(s->path != NULL && s->number != 0);
    FTK_ASSERT(s->bytes >= RFL_SEGMENT_BYTES_MIN && s->bytes % RFL_BLOCK == 0);
    FTK_ASSERT(s->lsn_begin % RFL_BLOCK == 0);
    FTK_ASSERT(s->lsn_end == s->lsn_begin + s->bytes - RFL_BLOCK);
    FTK_ASSERT(s->lsn_records >= s->lsn_begin && s->lsn_records - s->lsn_begin < RFL_BLOCK);
    /* README.md, slots and locks, 3: what is written or used without the lock is open. */
    FTK_ASSERT(!s->dirty || s->file != NULL);
    FTK_ASSERT(s->users == 0 || s->file != NULL);
    /* 5: a segment that is leaving is nobody's any more. */
    FTK_ASSERT(!s->leaving || (s->readers == 0 && s->users == 0 && !s->dirty));
}

/* Invariants 1 and 6: numbers and LSNs without a gap; the buffers' segment is among them. */
static void
check_segments(const struct rfl_log *log)
{
    const struct rfl__segment *active = log->buffers[log->active].segment;
    const struct rfl__segment *last = NULL;
    bool found = false;

    FTK_ASSERT(log->oldest != NULL);
    for (const struct rfl__segment *s = log->oldest; s != NULL; s = s->next) {
        check_segment(s);
        if (last != NULL) {
            FTK_ASSERT(s->number == last->number + 1);
            FTK_ASSERT(s->lsn_begin == last->lsn_end && s->lsn_records == s->lsn_begin);
        }
        FTK_ASSERT(!s->leaving || (s == log->oldest && s != active && log->recycling));
        FTK_ASSERT(!s->archived || s == log->oldest);
        found |= s == active;
        /* A prepared segment is open, empty and unused. */
        FTK_ASSERT(!found || log->read_only || s->file != NULL);
        FTK_ASSERT(!found || s == active || !s->dirty);
        last = s;
    }
    FTK_ASSERT(found && last == log->last);
}

static void
check_spares(const struct rfl_log *log)
{
    uint32_t count = 0;

    for (const struct rfl__spare *spare = log->spares; spare != NULL; spare = spare->next) {
        FTK_ASSERT(spare->path != NULL && spare->bytes >= RFL_SEGMENT_BYTES_MIN);
        FTK_ASSERT(spare->bytes % RFL_BLOCK == 0);
        count++;
    }
    FTK_ASSERT(count == log->spare_count);
}

/* The active buffer ends where the log does, within its segment and its memory. */
static void
check_buffers(const struct rfl_log *log)
{
    const struct rfl__buffer *buffer = &log->buffers[log->active];
    uint64_t end = buffer->lsn_base + buffer->used;

    if (log->read_only)
        return;
    FTK_ASSERT(log->active < 2 && buffer->memory != NULL);
    FTK_ASSERT(buffer->lsn_base % RFL_BLOCK == 0 && buffer->lsn_base >= buffer->segment->lsn_begin);
    FTK_ASSERT(buffer->used <= log->buffer_bytes + RFL_RECORD_HEADER);
    FTK_ASSERT(buffer->lsn_end <= buffer->segment->lsn_end);
    FTK_ASSERT(buffer->lsn_end == end ||
               (buffer->lsn_end == buffer->segment->lsn_end && end < buffer->lsn_end)); /* filler */
    FTK_ASSERT(buffer->lsn_end == log->lsn_end);
    FTK_ASSERT(!log->epoch_begun || log->salt != 0 || log->lsn_end > 0);
}

/* Durable <= written <= appended; what is released has been appended. */
static void
check_lsns(const struct rfl_log *log)
{
    uint64_t durable = log->lsn_durable, written = log->lsn_written, end = log->lsn_end;

    FTK_ASSERT(durable % 8 == 0 && written % 8 == 0 && end % 8 == 0);
    FTK_ASSERT(durable <= written && written <= end);
    FTK_ASSERT(log->lsn_release <= end && log->lsn_writeback <= written);
    FTK_ASSERT(log->oldest->lsn_begin <= durable);
}

/* Waiters wait for a sync that somebody leads, and for bytes that none has covered yet. */
static void
check_waiters(const struct rfl_log *log)
{
    const struct rfl__waiter *last = NULL;
    uint32_t count = 0;

    for (const struct rfl__waiter *w = log->waiters_first; w != NULL; w = w->next) {
        FTK_ASSERT(w->lsn_end > log->lsn_durable && w->lsn_end <= log->lsn_end);
        last = w;
        count++;
    }
    FTK_ASSERT(count == log->waiter_count && last == log->waiters_last);
    FTK_ASSERT(count == 0 || log->syncing);
}

bool
rfl__check(const struct rfl_log *log)
{
    FTK_INVARIANT_COUNT("log");
    check_segments(log);
    check_spares(log);
    check_buffers(log);
    check_lsns(log);
    check_waiters(log);
    FTK_ASSERT(!log->failed || log->error.status != FTK_OK);
    FTK_ASSERT(!log->archiving || log->archive != NULL || !log->recycling || !log->oldest->leaving);
    return true;
}
