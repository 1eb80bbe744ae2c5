/* SPDX-License-Identifier: Apache-2.0 */
/* rfl/rfl_reader.c -- records back, also from a log that is open and growing. */
#include <inttypes.h>

#include "ftk/mem.h"
#include "rfl/rfl_internal.h"

/*
 * A reader holds one segment (`readers` > 0: it is not recycled) from when it enters it until it
 * enters the next or is closed.
 */
struct rfl_reader {
    struct rfl_log *log;
    struct rfl__scan scan;
};

/* The segment that holds lsn, held for the reader; NULL when it is gone. */
static struct rfl__segment *
segment_hold(struct rfl_log *log, uint64_t lsn)
{
    struct rfl__segment *s = log->oldest;

    while (s != NULL && lsn >= s->lsn_end && s->next != NULL)
        s = s->next;
    if (s == NULL || s->leaving || lsn < s->lsn_records)
        return NULL;
    s->readers++;
    return s;
}

/* With the mutex. */
static void
segment_drop(struct rfl_log *log, struct rfl__segment *segment)
{
    FTK_ASSERT(segment == NULL || (segment->readers > 0 && !segment->leaving));
    if (segment != NULL && --segment->readers == 0 && log->background &&
        segment->lsn_end <= log->lsn_release) {
        rfl__keeper_wake(log);
    }
}

ftk_status
rfl_reader_open(struct rfl_log *log, uint64_t lsn, struct rfl_reader **reader_out)
{
    struct rfl_reader *reader = NULL;
    struct rfl__segment *segment = NULL;
    ftk_status rc;

    *reader_out = NULL;
    if (lsn % 8 != 0 || lsn > rfl_lsn_end(log))
        return FTK_FAIL(FTK_INVALID, "%s: no record begins at LSN %" PRIu64, log->dir, lsn);
    FTK_TRY(FTK_NEW(&reader));
    reader->log = log;
    FTK_TRY(rfl__scan_init(&reader->scan, log));
    ftk_mutex_lock(&log->mutex);
    segment = segment_hold(log, lsn);
    ftk_mutex_unlock(&log->mutex);
    if (segment == NULL) {
        rc = FTK_FAIL(FTK_INVALID, "%s: the log begins behind LSN %" PRIu64, log->dir, lsn);
        goto out;
    }
    FTK_TRY(rfl__scan_enter(&reader->scan, segment, lsn));
    *reader_out = reader;
    reader = NULL;
    segment = NULL;
out:
    if (reader != NULL) {
        ftk_mutex_lock(&log->mutex);
        segment_drop(log, segment);
        ftk_mutex_unlock(&log->mutex);
        rfl__scan_release(&reader->scan);
        ftk_free(reader);
    }
    return rc;
}

void
rfl_reader_close(struct rfl_reader *reader)
{
    if (reader == NULL)
        return;
    ftk_mutex_lock(&reader->log->mutex);
    segment_drop(reader->log, reader->scan.segment);
    ftk_mutex_unlock(&reader->log->mutex);
    rfl__scan_release(&reader->scan);
    ftk_free(reader);
}

/* Into the segment behind; FTK_NOTFOUND when there is none yet. */
static ftk_status
segment_advance(struct rfl_reader *reader)
{
    struct rfl_log *log = reader->log;
    struct rfl__segment *old = reader->scan.segment;
    struct rfl__segment *next;
    ftk_status rc;

    ftk_mutex_lock(&log->mutex);
    next = old->next;
    FTK_ASSERT(old->readers > 0 && (next == NULL || !next->leaving)); /* they leave in order */
    if (next != NULL)
        next->readers++;
    ftk_mutex_unlock(&log->mutex);
    if (next == NULL)
        return FTK_ANSWER(FTK_NOTFOUND, "the end of the log");
    rc = rfl__scan_enter(&reader->scan, next, next->lsn_records);
    ftk_mutex_lock(&log->mutex);
    segment_drop(log, rc == FTK_OK ? old : next);
    ftk_mutex_unlock(&log->mutex);
    return rc;
}

ftk_status
rfl_reader_next(struct rfl_reader *reader, struct rfl_record *record_out)
{
    struct rfl__scan *scan = &reader->scan;

    for (;;) {
        struct rfl__record_header header;
        enum rfl__verdict verdict;
        ftk_status rc;

        scan->lsn_limit = atomic_load_explicit(&reader->log->lsn_written, memory_order_acquire);
        if (scan->lsn >= scan->lsn_limit)
            return FTK_ANSWER(FTK_NOTFOUND, "the end of the log");
        rc = rfl__scan_next(scan, &verdict, &header, &record_out->body);
        if (rc == FTK_OK && verdict == RFL__BAD)
            rc = FTK_FAIL(FTK_CORRUPT,
                          "%s: damaged log record at offset %" PRIu64 " (LSN %" PRIu64 ")",
                          scan->segment->path, rfl__offset(scan->segment, scan->lsn), scan->lsn);
        else if (rc == FTK_OK && verdict == RFL__MORE)
            rc = segment_advance(reader);
        if (rc != FTK_OK)
            return rc;
        if (verdict == RFL__GOOD && header.kind != 0) {
            FTK_ASSERT(scan->lsn > header.lsn && scan->lsn <= scan->lsn_limit);
            record_out->lsn = header.lsn;
            record_out->lsn_end = scan->lsn;
            record_out->stream = header.stream;
            record_out->kind = header.kind;
            record_out->body_size = header.body_size;
            return FTK_OK;
        }
    }
}
