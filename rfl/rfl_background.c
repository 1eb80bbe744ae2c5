/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rfl/rfl_background.c -- the two threads of a log, and leaving segments.
 *
 *   flusher   writes a long stream out while it is appended, syncs full segments, serves RFL_LAZY
 *   keeper    prepares segments ahead, pre-writes them where that pays; archives and recycles
 *             released ones.  It may be held up by the archive function as long as that likes, or
 *             by pre-writing: appenders make raw segments for themselves then.
 *
 * Without `background` there is neither: the caller's thread does all of it, when it must.
 */
#include <inttypes.h>

#include "ftk/clock.h"
#include "ftk/mem.h"
#include "rfl/rfl_internal.h"

/* ---- flusher ---- */

void
rfl__flusher_wake(struct rfl_log *log)
{
    ftk_cond_signal(&log->flusher_wake);
}

/* End of the newest segment that is full, written and not synced; 0 when there is none. */
static uint64_t
full_unsynced(const struct rfl_log *log)
{
    const struct rfl__segment *active = log->buffers[log->active].segment;
    uint64_t lsn = 0;

    for (const struct rfl__segment *s = log->oldest; s != active; s = s->next)
        if (s->dirty && s->lsn_end <= log->lsn_written)
            lsn = s->lsn_end;
    return lsn;
}

/* Ask for writeback of what is written and not synced.  With the mutex, dropped meanwhile. */
static void
writeback(struct rfl_log *log)
{
    struct rfl__segment *active = log->buffers[log->active].segment;
    uint64_t begin =
        log->lsn_writeback > active->lsn_begin ? log->lsn_writeback : active->lsn_begin;
    uint64_t end = RFL_ALIGN_DOWN(log->lsn_written, RFL_BLOCK);

    log->writeback_wanted = false;
    log->lsn_writeback = log->lsn_written;
    if (end <= begin || log->syncing) /* a sync under way writes it all */
        return;
    begin = RFL_ALIGN_DOWN(begin, RFL_BLOCK);
    FTK_ASSERT(active->file != NULL && end <= active->lsn_end);
    active->users++;
    ftk_mutex_unlock(&log->mutex);
    ftk_file_hint(active->file, FTK_HINT_WRITEBACK, rfl__offset(active, begin), end - begin);
    ftk_mutex_lock(&log->mutex);
    FTK_ASSERT(active->users > 0);
    active->users--;
}

/* With the mutex, dropped meanwhile.  A failure is in log->error. */
static void
sync_to(struct rfl_log *log, uint64_t lsn)
{
    ftk_mutex_unlock(&log->mutex);
    (void)rfl__sync(log, lsn, false);
    ftk_mutex_lock(&log->mutex);
}

/* A lazy commit's time is over: its promise comes before all that makes later syncs cheaper. */
static bool
lazy_due(const struct rfl_log *log)
{
    return log->lazy_deadline_ns != 0 && ftk_clock_ns() >= log->lazy_deadline_ns;
}

static void
flusher_run(void *context)
{
    struct rfl_log *log = context;

    ftk_mutex_lock(&log->mutex);
    while (!log->stop) {
        if (log->failed) {
            ftk_cond_wait(&log->flusher_wake, &log->mutex);
        } else if (lazy_due(log)) {
            log->lazy_deadline_ns = 0; /* who commits from here on sets a new one */
            sync_to(log, log->lsn_end);
        } else if (log->stream_wanted) {
            (void)rfl__write(log); /* a failure is in log->error */
            log->stream_wanted = false;
        } else if (log->writeback_wanted) {
            writeback(log);
        } else if (full_unsynced(log) > log->lsn_durable) {
            sync_to(log, full_unsynced(log));
        } else if (log->lazy_deadline_ns != 0) {
            (void)ftk_cond_wait_until(&log->flusher_wake, &log->mutex, log->lazy_deadline_ns);
        } else {
            ftk_cond_wait(&log->flusher_wake, &log->mutex);
        }
    }
    ftk_mutex_unlock(&log->mutex);
}

/* ---- archive, recycle ---- */

/* The oldest segment if it may leave now; marked, so that nobody begins to read it. */
static struct rfl__segment *
leaving_begin(struct rfl_log *log)
{
    struct rfl__segment *s = log->oldest;

    if (log->archiving && log->archive == NULL)
        return NULL;
    if (log->failed || s == log->buffers[log->active].segment || s->lsn_end > log->lsn_release ||
        s->lsn_end > log->lsn_durable || s->dirty || s->readers > 0 || s->users > 0)
        return NULL;
    FTK_ASSERT(!s->leaving && log->recycling);
    s->leaving = true;
    return s;
}

/* With a path that holds wherever the process has gone since, and wherever the log has moved. */
static ftk_status
segment_archive(struct rfl_log *log, const struct rfl__segment *s)
{
    struct ftk_identity there;
    char *where = NULL;
    char *path = NULL;
    ftk_status rc;

    rc = ftk_dir_identify(log->home, rfl__file_name(s->path), &there);
    if (rc == FTK_NOTFOUND) /* moved away at an earlier offer, though that was refused */
        return FTK_OK;
    if (rc != FTK_OK)
        return rc;
    FTK_TRY(ftk_dir_locate(log->home, &where));
    FTK_TRY(ftk_path_join(where, rfl__file_name(s->path), &path));
    rc = log->archive(log->archive_context, path, s->lsn_begin, s->lsn_end);
out:
    ftk_free(path);
    ftk_free(where);
    return rc;
}

/* Offer to the archive, then recycle; false when the segment must stay. */
static bool
segment_leave(struct rfl_log *log, struct rfl__segment *s)
{
    ftk_status rc = FTK_OK;

    FTK_ASSERT(!log->archiving || log->archive != NULL);
    if (log->archive != NULL && !s->archived) {
        rc = segment_archive(log, s);
        ftk_mutex_lock(&log->mutex);
        s->archived = rc == FTK_OK;
        ftk_mutex_unlock(&log->mutex);
        if (rc != FTK_OK)
            ftk_log(log->messages, FTK_LOG_WARNING, "%s was not archived (%s) and is kept", s->path,
                    ftk_status_text(rc));
    }
    if (rc == FTK_OK) {
        rc = rfl__segment_retire(log, s);
        if (rc != FTK_OK)
            ftk_log(log->messages, FTK_LOG_WARNING, "%s is kept until the next release: %s",
                    s->path, ftk_error_last()->text);
    }
    return rc == FTK_OK;
}

/* Archive and recycle what the owner released.  With the mutex, which is given up meanwhile. */
static void
recycle(struct rfl_log *log)
{
    struct rfl__segment *s;
    bool gone = true;

    if (log->recycling)
        return;
    log->recycling = true;
    while (gone && (s = leaving_begin(log)) != NULL) {
        ftk_mutex_unlock(&log->mutex);
        gone = segment_leave(log, s);
        ftk_mutex_lock(&log->mutex);
        FTK_ASSERT(s == log->oldest && s->leaving && s->next != NULL);
        if (gone) {
            log->oldest = s->next;
            rfl__segment_free(s);
        } else {
            s->leaving = false;
        }
    }
    FTK_ASSERT(log->recycling);
    log->recycling = false;
    FTK_DEBUG_ASSERT(rfl__check(log));
}

/* ---- keeper ---- */

void
rfl__keeper_wake(struct rfl_log *log)
{
    log->keeper_wanted = true;
    ftk_cond_signal(&log->keeper_wake);
}

void
rfl__prepare_wake(struct rfl_log *log)
{
    log->lsn_prepare = UINT64_MAX;
    log->prepare_wanted = true;
    rfl__keeper_wake(log);
}

/* With the mutex, which is dropped meanwhile. */
static void
prepare_ahead(struct rfl_log *log)
{
    uint32_t ready = log->spare_segments;
    ftk_status rc;

    if (ready < 1 + RFL_RESERVE_SEGMENTS)
        ready = 1 + RFL_RESERVE_SEGMENTS;
    rc = rfl__segments_prepare(log, ready, true);
    FTK_ASSERT(rc != FTK_FAILED || log->failed);
    if (rc == FTK_OK || log->failed)
        return;
    log->lsn_prepare = log->lsn_end + log->segment_bytes / 16; /* try again then */
    ftk_mutex_unlock(&log->mutex);
    ftk_log(log->messages, FTK_LOG_WARNING, "%s: no log segment could be prepared ahead: %s",
            log->dir, ftk_error_last()->text);
    ftk_mutex_lock(&log->mutex);
}

static void
keeper_run(void *context)
{
    struct rfl_log *log = context;

    ftk_mutex_lock(&log->mutex);
    while (!log->stop) {
        if (!log->keeper_wanted) {
            ftk_cond_wait(&log->keeper_wake, &log->mutex);
            continue;
        }
        log->keeper_wanted = false;
        if (log->failed)
            continue;
        if (log->prepare_wanted) {
            log->prepare_wanted = false;
            prepare_ahead(log);
        }
        recycle(log);
    }
    ftk_mutex_unlock(&log->mutex);
}

ftk_status
rfl__threads_start(struct rfl_log *log)
{
    ftk_status rc;

    if (!log->background)
        return FTK_OK;
    rc = ftk_thread_start(&log->flusher, "rfl-flusher", flusher_run, log);
    if (rc == FTK_OK)
        rc = ftk_thread_start(&log->keeper, "rfl-keeper", keeper_run, log);
    return rc;
}

void
rfl__threads_stop(struct rfl_log *log)
{
    ftk_mutex_lock(&log->mutex);
    log->stop = true;
    ftk_cond_broadcast(&log->flusher_wake);
    ftk_cond_broadcast(&log->keeper_wake);
    ftk_mutex_unlock(&log->mutex);
    ftk_thread_join(&log->flusher);
    ftk_thread_join(&log->keeper);
}

/* ---- release ---- */

ftk_status
rfl_release(struct rfl_log *log, uint64_t lsn)
{
    ftk_status rc = FTK_OK;

    if (log->read_only)
        return FTK_FAIL(FTK_READONLY, "%s: the log is open read-only", log->dir);
    ftk_mutex_lock(&log->mutex);
    if (log->failed)
        rc = rfl__failed(log);
    if (lsn > log->lsn_end)
        lsn = log->lsn_end;
    if (lsn > log->lsn_release)
        log->lsn_release = lsn;
    log->released = true;
    if (log->background)
        rfl__keeper_wake(log);
    else if (rc == FTK_OK)
        recycle(log);
    ftk_mutex_unlock(&log->mutex);
    return rc;
}
