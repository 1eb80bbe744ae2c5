/* SPDX-License-Identifier: Apache-2.0 */
/* rfl/rfl_append.c -- records into the buffers.  Rules: rfl/README.md. */
#include <inttypes.h>
#include <string.h>

#include "ftk/bytes.h"
#include "ftk/checksum.h"
#include "ftk/clock.h"
#include "ftk/random.h"
#include "rfl/rfl_internal.h"

#define EPOCH_BYTES RFL_ALIGN_UP(RFL_RECORD_HEADER + RFL_EPOCH_BODY, 8u)

/* Encode a record at the end of the active buffer, where there is room. */
static uint64_t
record_put(struct rfl_log *log, struct rfl__record_header *header, const struct rfl_part *parts,
           size_t part_count)
{
    struct rfl__buffer *buffer = &log->buffers[log->active];
    uint8_t *p = buffer->memory + buffer->used;
    uint8_t *body = p + RFL_RECORD_HEADER;
    uint64_t size = rfl__record_bytes(header->body_size);

    FTK_ASSERT(buffer->used + (header->flags & RFL_FLAG_FILLER ? RFL_RECORD_HEADER : size) <=
               log->buffer_bytes + RFL_BLOCK);
    header->lsn = buffer->lsn_end;
    header->lsn_durable = atomic_load_explicit(&log->lsn_durable, memory_order_relaxed);
    header->salt = log->salt;
    for (size_t i = 0; i < part_count; i++) {
        if (parts[i].size > 0)
            memcpy(body, parts[i].memory, parts[i].size);
        body += parts[i].size;
    }
    rfl__record_seal(header, log->seed, p);
    if (header->flags & RFL_FLAG_FILLER) {
        buffer->used += RFL_RECORD_HEADER;
        buffer->lsn_end = buffer->segment->lsn_end;
    } else {
        buffer->used += size;
        buffer->lsn_end += size;
    }
    atomic_store_explicit(&log->lsn_end, buffer->lsn_end, memory_order_release);
    return header->lsn;
}

/* The first record of an open: from here on its own salt (README.md, invariant 3). */
static void
epoch_put(struct rfl_log *log)
{
    struct rfl__record_header header = {.body_size = RFL_EPOCH_BODY, .flags = RFL_FLAG_EPOCH};
    uint64_t wall = ftk_clock_wall_ns();
    uint8_t body[RFL_EPOCH_BODY];
    struct rfl_part part = {body, sizeof(body)};
    uint64_t mix[5] = {0, wall, ftk_clock_ns(), log->buffers[log->active].lsn_end, log->salt};
    uint32_t before = log->salt;

    FTK_ASSERT(!log->epoch_begun);
    ftk_random_system(&mix[0], sizeof(mix[0]));
    log->salt = (uint32_t)ftk_checksum(mix, sizeof(mix), 0);
    if (log->salt == before)
        log->salt++;
    ftk_put_le32(body + RFL_EPOCH_SALT_BEFORE, before);
    ftk_put_le32(body + RFL_EPOCH_RESERVED, 0);
    ftk_put_le64(body + RFL_EPOCH_OPENED, wall);
    record_put(log, &header, &part, 1);
    log->epoch_begun = true;
}

/*
 * The open segment is full: go on in the next one.  Drops the mutex, so that the caller must look
 * again.  errors: FTK_NOSPACE, FTK_NOMEM: nothing has changed.
 */
static ftk_status
segment_switch(struct rfl_log *log, bool reserved)
{
    struct rfl__buffer *buffer = &log->buffers[log->active];
    struct rfl__segment *segment = buffer->segment;
    uint32_t ready = reserved ? 1 : 1 + RFL_RESERVE_SEGMENTS;
    uint64_t room = segment->lsn_end - buffer->lsn_end;

    if (segment->next == NULL || rfl__segments_ready(log) < ready) {
        log->hurry |= segment->next == NULL;
        /* With a keeper at work the reserve may be made behind our back. */
        if (!log->background || log->no_space)
            return rfl__segments_prepare(log, ready, !log->background);
        if (segment->next == NULL)
            return rfl__segments_prepare(log, 1, false);
    }
    FTK_ASSERT(segment->next != NULL && segment == log->buffers[log->active].segment);
    if (room >= RFL_RECORD_HEADER) {
        struct rfl__record_header filler = {
            .body_size = (uint32_t)(room - RFL_RECORD_HEADER),
            .flags = RFL_FLAG_FILLER,
        };
        record_put(log, &filler, NULL, 0);
    } else if (room > 0) {
        memset(buffer->memory + buffer->used, 0, (size_t)room);
        buffer->used += room;
        buffer->lsn_end = segment->lsn_end;
        atomic_store_explicit(&log->lsn_end, buffer->lsn_end, memory_order_release);
    }
    return rfl__write(log);
}

/* Return with room for size bytes in buffer and segment; may drop the mutex meanwhile. */
static ftk_status
room_make(struct rfl_log *log, uint64_t size, bool reserved)
{
    for (;;) {
        struct rfl__buffer *buffer = &log->buffers[log->active];
        uint64_t need = size + (log->epoch_begun ? 0 : EPOCH_BYTES);
        ftk_status rc = FTK_OK;

        if (FTK_UNLIKELY(log->failed))
            return rfl__failed(log);
        if (FTK_UNLIKELY(log->no_space) && !reserved && buffer->segment->next == NULL)
            rc = rfl__segments_prepare(log, 1, !log->background);
        else if (FTK_UNLIKELY(need > buffer->segment->lsn_end - buffer->lsn_end))
            rc = segment_switch(log, reserved);
        else if (FTK_UNLIKELY(buffer->used + need > log->buffer_bytes))
            rc = rfl__write(log);
        else
            return FTK_OK;
        if (rc != FTK_OK)
            return rc;
    }
}

static ftk_status
append(struct rfl_log *log, struct rfl__record_header *header, const struct rfl_part *parts,
       size_t part_count, bool reserved, uint64_t *lsn_out)
{
    ftk_status rc = room_make(log, rfl__record_bytes(header->body_size), reserved);
    struct rfl__buffer *buffer;

    if (FTK_UNLIKELY(rc != FTK_OK))
        return rc;
    if (FTK_UNLIKELY(!log->epoch_begun))
        epoch_put(log);
    *lsn_out = record_put(log, header, parts, part_count);
    log->stats.appends++;
    buffer = &log->buffers[log->active];
    log->stats.append_bytes += buffer->lsn_end - *lsn_out;
    if (log->background) {
        if (buffer->used >= log->stream_bytes && !log->stream_wanted && !log->writing) {
            log->stream_wanted = true;
            rfl__flusher_wake(log);
        }
        if (buffer->lsn_end >= log->lsn_prepare)
            rfl__prepare_wake(log);
    }
    return FTK_OK;
}

static ftk_status
append_public(struct rfl_log *log, uint32_t stream, uint8_t kind, const struct rfl_part *parts,
              size_t part_count, bool reserved, uint64_t *lsn_out, uint64_t *lsn_end_out)
{
    struct rfl__record_header header = {.stream = stream, .kind = kind};
    uint64_t size = 0;
    ftk_status rc;

    *lsn_out = 0;
    *lsn_end_out = 0;
    for (size_t i = 0; i < part_count && size <= RFL_BODY_MAX; i++) {
        if (parts[i].size > RFL_BODY_MAX)
            size = RFL_BODY_MAX;
        size += parts[i].size;
    }
    if (size > RFL_BODY_MAX)
        return FTK_FAIL(FTK_TOOBIG, "a log record's body has at most %u bytes", RFL_BODY_MAX);
    if (size == 0 || kind == 0)
        return FTK_FAIL(FTK_INVALID, "a log record needs a body and a kind");
    if (log->read_only)
        return FTK_FAIL(FTK_READONLY, "%s: the log is open read-only", log->dir);
    header.body_size = (uint32_t)size;
    ftk_mutex_lock(&log->mutex);
    rc = append(log, &header, parts, part_count, reserved, lsn_out);
    if (rc == FTK_OK)
        *lsn_end_out = *lsn_out + rfl__record_bytes(size);
    FTK_DEBUG_ASSERT(rfl__check(log));
    ftk_mutex_unlock(&log->mutex);
    return rc;
}

ftk_status
rfl_append(struct rfl_log *log, uint32_t stream, uint8_t kind, const struct rfl_part *parts,
           size_t part_count, uint64_t *lsn_out, uint64_t *lsn_end_out)
{
    return append_public(log, stream, kind, parts, part_count, false, lsn_out, lsn_end_out);
}

ftk_status
rfl_append_reserved(struct rfl_log *log, uint32_t stream, uint8_t kind,
                    const struct rfl_part *parts, size_t part_count, uint64_t *lsn_out,
                    uint64_t *lsn_end_out)
{
    return append_public(log, stream, kind, parts, part_count, true, lsn_out, lsn_end_out);
}

ftk_status
rfl__append_close(struct rfl_log *log)
{
    struct rfl__record_header header = {.flags = RFL_FLAG_CLOSE};
    uint64_t lsn;
    ftk_status rc;

    ftk_mutex_lock(&log->mutex);
    rc = append(log, &header, NULL, 0, true, &lsn);
    ftk_mutex_unlock(&log->mutex);
    return rc;
}

uint64_t
rfl_lsn_end(struct rfl_log *log)
{
    return atomic_load_explicit(&log->lsn_end, memory_order_acquire);
}
