/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rfl/rfl_open.c -- open a log, find its end, close it.
 *
 * The end P is the first LSN from lsn_start on where no record of the chain is (rfl_scan.c).  What
 * lies behind P decides what P is (README.md, invariant 2):
 *
 *   a record that says "durable > P"     damage: FTK_CORRUPT, nothing is cut
 *   none                                 the end: a crash has cut what was not durable yet
 *
 * Where no record stands at lsn_start itself, the chain must at least lead there from the beginning
 * of the segment; if it does not, the log is short.
 *
 * What can be read need not be on the device (README.md, invariant 10): behind the last LSN that a
 * record of the chain says was durable, an open for writing writes the log anew before anyone reads
 * it.
 */
#include <inttypes.h>
#include <string.h>

#include "ftk/clock.h"
#include "ftk/mem.h"
#include "rfl/rfl_internal.h"

/* After a record that says "closed" and blank bytes, no more than this is searched for claims. */
#define CLAIMS_BYTES_CLOSED (256u << 10)
#define REWRITE_BYTES (1u << 20)

/* ---- find the end ---- */

struct end {
    struct rfl__segment *tail; /* holds lsn */
    uint64_t lsn;
    uint32_t salt;     /* of the last record; 0: there is none */
    bool is_short;     /* the log ends before lsn_start */
    uint64_t lsn_sure; /* all below was durable once: lsn_start, or what a record behind it says */
    bool owned;        /* the owner has records behind lsn_start */
    bool closed;       /* the last record says that the log was closed */
};

static ftk_status
damaged(const struct rfl__segment *segment, uint64_t lsn)
{
    return FTK_FAIL(FTK_CORRUPT,
                    "%s: damaged log record at offset %" PRIu64 " (LSN %" PRIu64
                    "): records behind it say that it was durable",
                    segment->path, rfl__offset(segment, lsn), lsn);
}

/*
 * A filler is written when the next segment is there, under a name that is durable: nothing but the
 * loss of that file leaves a chain that ends with one.
 */
static ftk_status
missing_check(const struct rfl__scan *scan)
{
    const struct rfl__segment *segment = scan->segment;

    if (!scan->filled || scan->lsn != segment->lsn_end || segment->next != NULL)
        return FTK_OK;
    return FTK_FAIL(FTK_CORRUPT,
                    "%s: log segment %016" PRIx64 RFL_SEGMENT_SUFFIX
                    " is missing: the one before says that the log goes on there",
                    scan->log->dir, segment->number + 1);
}

/* What the records of a chain say together. */
struct chain {
    uint64_t records;
    uint64_t lsn_durable; /* the highest that one of them calls durable */
    bool owned;           /* one is the owner's */
};

/* Follow the chain to its end, or until lsn_stop. */
static ftk_status
chain_follow(struct rfl__scan *scan, uint64_t lsn_stop, struct chain *chain_out)
{
    *chain_out = (struct chain){0};
    while (scan->lsn < lsn_stop) {
        struct rfl__record_header header;
        enum rfl__verdict verdict;
        const uint8_t *body;
        ftk_status rc = rfl__scan_next(scan, &verdict, &header, &body);

        if (rc != FTK_OK)
            return rc;
        if (verdict == RFL__BAD || (verdict == RFL__MORE && scan->segment->next == NULL))
            break;
        if (verdict == RFL__GOOD) {
            chain_out->records++;
            chain_out->owned |= header.kind != 0;
            if (header.lsn_durable > chain_out->lsn_durable)
                chain_out->lsn_durable = header.lsn_durable;
            continue;
        }
        rc = rfl__scan_enter(scan, scan->segment->next, scan->segment->next->lsn_records);
        if (rc != FTK_OK)
            return rc;
    }
    return FTK_OK;
}

/* Nothing stands at lsn_start: does the chain lead there?  Gives the salt it arrives with. */
static ftk_status
reach_check(struct rfl_log *log, struct rfl__segment *segment, uint64_t lsn_start, struct end *end)
{
    struct rfl__segment *from = segment;
    struct rfl__scan scan;
    struct chain chain;
    ftk_status rc;

    if (lsn_start == segment->lsn_records) /* the chain comes from the segment before, if any */
        for (from = log->oldest; from != segment && from->next != segment; from = from->next)
            continue;
    if (from->lsn_records == lsn_start)
        return FTK_OK;
    rc = rfl__scan_init(&scan, log);
    if (rc != FTK_OK)
        return rc;
    FTK_TRY(rfl__scan_enter(&scan, from, from->lsn_records));
    FTK_TRY(chain_follow(&scan, lsn_start, &chain));
    end->salt = scan.salt_known ? scan.salt : 0;
    if (scan.lsn > lsn_start)
        rc = FTK_FAIL(FTK_CORRUPT, "%s: no record begins at LSN %" PRIu64, scan.segment->path,
                      lsn_start);
    else if (scan.lsn < lsn_start &&
             !(lsn_start == scan.segment->lsn_end && lsn_start - scan.lsn < RFL_RECORD_HEADER)) {
        end->is_short = true;
        end->lsn = scan.lsn;
    }
out:
    rfl__scan_release(&scan);
    return rc;
}

/* The chain ends at scan->lsn: say whether anything behind claims that more was durable. */
static ftk_status
claims_check(struct rfl__scan *scan)
{
    struct rfl__segment *tail = scan->segment;
    uint64_t lsn = scan->lsn;
    bool closed = scan->closed;
    bool found = false;
    ftk_status rc;

    if (closed) {
        rc = rfl__scan_blank(scan, &closed);
        if (rc != FTK_OK)
            return rc;
    }
    rc = rfl__scan_claims(scan, lsn, closed ? CLAIMS_BYTES_CLOSED : UINT64_MAX, &found);
    for (struct rfl__segment *s = tail->next; rc == FTK_OK && !found && !closed && s != NULL;
         s = s->next) {
        rc = rfl__scan_enter(scan, s, s->lsn_begin);
        if (rc == FTK_OK)
            rc = rfl__scan_claims(scan, lsn, UINT64_MAX, &found);
    }
    if (rc == FTK_OK && found)
        rc = damaged(tail, lsn);
    return rc;
}

static ftk_status
end_find(struct rfl_log *log, uint64_t lsn_start, struct end *end)
{
    struct rfl__segment *segment = log->oldest;
    struct rfl__scan scan;
    struct chain chain;
    ftk_status rc;

    end->lsn_sure = lsn_start;
    if (lsn_start < segment->lsn_records)
        return FTK_FAIL(FTK_CORRUPT, "%s: the log begins at LSN %" PRIu64 ", needed from %" PRIu64,
                        log->dir, segment->lsn_records, lsn_start);
    while (segment->next != NULL && lsn_start >= segment->lsn_end)
        segment = segment->next;
    if (lsn_start > segment->lsn_end) {
        end->lsn = segment->lsn_end;
        end->is_short = true;
        return FTK_OK;
    }
    rc = rfl__scan_init(&scan, log);
    if (rc != FTK_OK)
        return rc;
    FTK_TRY(rfl__scan_enter(&scan, segment, lsn_start));
    FTK_TRY(chain_follow(&scan, UINT64_MAX, &chain));
    end->tail = scan.segment;
    end->lsn = scan.lsn;
    end->salt = scan.salt;
    end->owned = chain.owned;
    end->closed = scan.closed;
    if (chain.lsn_durable > lsn_start)
        end->lsn_sure = chain.lsn_durable;
    FTK_ASSERT(end->lsn_sure <= end->lsn); /* a record speaks of what is before it */
    if (chain.records == 0) {
        end->salt = 0;
        FTK_TRY(reach_check(log, segment, lsn_start, end));
        if (end->is_short)
            goto out;
    }
    FTK_TRY(missing_check(&scan));
    rc = claims_check(&scan);
out:
    rfl__scan_release(&scan);
    return rc;
}

/* ---- open for writing ---- */

/*
 * Numbers are names, in archives too, and are not given twice.  A log that has been here and is
 * missing now ended below lsn_start; each of its segments covered at least as many LSNs as are
 * counted here, so all their numbers are lower.
 */
static uint64_t
number_first(uint64_t lsn_start)
{
    return 1 + lsn_start / (RFL_SEGMENT_BYTES_MIN - RFL_BLOCK);
}

static ftk_status
log_create(struct rfl_log *log, uint64_t lsn_start, struct end *end)
{
    ftk_status rc = rfl__segment_create_first(log, number_first(lsn_start), lsn_start);

    if (rc == FTK_OK)
        rc = rfl__names_sync(log); /* of the directory itself */
    end->tail = log->oldest;
    end->lsn = lsn_start;
    end->lsn_sure = lsn_start;
    end->salt = 0;
    return rc;
}

/* The log is short and the owner allows it: newest first, so that a crash leaves a shorter log. */
static ftk_status
log_begin_anew(struct rfl_log *log, uint64_t lsn_start, struct end *end)
{
    uint64_t number = log->last->number + 1;
    ftk_status rc;

    ftk_log(log->messages, FTK_LOG_WARNING,
            "%s: the log ends at LSN %" PRIu64 " and is begun anew at %" PRIu64, log->dir, end->lsn,
            lsn_start);
    rc = rfl__segments_cut(log, log->oldest);
    if (rc == FTK_OK)
        rc = rfl__file_remove(log, log->oldest->path, &log->oldest->identity);
    if (rc == FTK_OK)
        rc = ftk_dir_sync(log->home);
    if (rc != FTK_OK)
        return rc;
    rfl__segment_free(log->oldest);
    log->oldest = NULL;
    log->last = NULL;
    rc = rfl__segment_create_first(log, number, lsn_start);
    end->tail = log->oldest;
    end->lsn = lsn_start;
    end->lsn_sure = lsn_start;
    end->salt = 0;
    end->is_short = false;
    return rc;
}

/* Segments behind the tail: those that are prepared and blank stay, the others become spares. */
static ftk_status
behind_tail(struct rfl_log *log, struct rfl__segment *tail)
{
    struct rfl__scan scan;
    bool blank = true;
    ftk_status rc;

    if (tail->next == NULL)
        return FTK_OK;
    rc = rfl__scan_init(&scan, log);
    if (rc != FTK_OK)
        return rc;
    while (tail->next != NULL) {
        struct rfl__segment *next = tail->next;

        FTK_TRY(rfl__scan_enter(&scan, next, next->lsn_begin));
        FTK_TRY(rfl__scan_blank(&scan, &blank));
        if (!blank)
            break;
        FTK_TRY(rfl__file_open(log, next->path, 0, &next->identity, &next->file));
        tail = next;
    }
    rc = rfl__segments_cut(log, tail);
out:
    rfl__scan_release(&scan);
    return rc;
}

/* Write [lsn_begin, lsn_end) of the segment over itself, in whole blocks. */
static ftk_status
range_rewrite(struct ftk_file *file, const struct rfl__segment *segment, uint64_t lsn_begin,
              uint64_t lsn_end)
{
    uint64_t at = RFL_ALIGN_DOWN(lsn_begin, RFL_BLOCK);
    void *memory = NULL;
    ftk_status rc = FTK_OK;

    FTK_ASSERT(lsn_end % RFL_BLOCK == 0 && lsn_end <= segment->lsn_end);
    if (at >= lsn_end)
        return FTK_OK;
    FTK_TRY(ftk_alloc_aligned(RFL_BLOCK, REWRITE_BYTES, &memory));
    while (at < lsn_end) {
        size_t size = lsn_end - at < REWRITE_BYTES ? (size_t)(lsn_end - at) : REWRITE_BYTES;

        FTK_TRY(ftk_file_read(file, memory, size, rfl__offset(segment, at)));
        FTK_TRY(ftk_file_write(file, memory, size, rfl__offset(segment, at)));
        at += size;
    }
out:
    ftk_free(memory);
    return rc;
}

/* Everything behind lsn_sure, but for the tail block, which the first flush writes anew. */
static ftk_status
unsure_rewrite(struct rfl_log *log, const struct end *end)
{
    ftk_status rc = FTK_OK;

    for (struct rfl__segment *s = log->oldest; s != end->tail && rc == FTK_OK; s = s->next) {
        uint64_t begin = end->lsn_sure > s->lsn_begin ? end->lsn_sure : s->lsn_begin;
        struct ftk_file *file = NULL;

        if (s->lsn_end <= end->lsn_sure)
            continue;
        rc = rfl__file_open(log, s->path, 0, &s->identity, &file);
        if (rc == FTK_OK)
            rc = range_rewrite(file, s, begin, s->lsn_end);
        if (rc == FTK_OK)
            rc = ftk_file_sync(file);
        ftk_file_close(file);
    }
    if (rc == FTK_OK)
        rc = range_rewrite(end->tail->file, end->tail,
                           end->lsn_sure > end->tail->lsn_begin ? end->lsn_sure
                                                                : end->tail->lsn_begin,
                           RFL_ALIGN_DOWN(end->lsn, RFL_BLOCK));
    return rc;
}

/*
 * What was rewritten is on the device; is it what was found?  Between the two readings the
 * operating system may have dropped pages that were never written, and read older ones.
 */
static ftk_status
rewritten_check(struct rfl_log *log, const struct end *end)
{
    struct rfl__segment *segment = log->oldest;
    struct rfl__scan scan;
    struct chain chain;
    ftk_status rc = rfl__scan_init(&scan, log);

    if (rc != FTK_OK)
        return rc;
    while (segment->next != NULL && end->lsn_sure >= segment->lsn_end)
        segment = segment->next;
    FTK_TRY(rfl__scan_enter(&scan, segment, end->lsn_sure));
    FTK_TRY(chain_follow(&scan, end->lsn, &chain));
    if (scan.lsn != end->lsn || scan.salt != end->salt)
        rc = FTK_FAIL(FTK_IO,
                      "%s: the log had been read to LSN %" PRIu64 " and now ends at %" PRIu64
                      ": what a failed process left was lost meanwhile, open again",
                      log->dir, end->lsn, scan.lsn);
out:
    rfl__scan_release(&scan);
    return rc;
}

static ftk_status
buffers_open(struct rfl_log *log, const struct end *end)
{
    struct rfl__buffer *buffer = &log->buffers[0];
    ftk_status rc;

    /* A filler's header and a zero block may come behind what appends fill. */
    for (int i = 0; i < 2; i++) {
        void *memory;
        rc = ftk_alloc_aligned(RFL_BLOCK, log->buffer_bytes + (size_t)2 * RFL_BLOCK, &memory);
        if (rc != FTK_OK)
            return rc;
        log->buffers[i].memory = memory;
    }
    buffer->lsn_base = RFL_ALIGN_DOWN(end->lsn, RFL_BLOCK);
    buffer->used = end->lsn - buffer->lsn_base;
    if (buffer->used == 0)
        return FTK_OK;
    return ftk_file_read(end->tail->file, buffer->memory, RFL_BLOCK,
                         rfl__offset(end->tail, buffer->lsn_base));
}

static ftk_status
writable_begin(struct rfl_log *log, const struct end *end)
{
    ftk_status rc;

    if (end->tail->file == NULL) {
        rc = rfl__file_open(log, end->tail->path, 0, &end->tail->identity, &end->tail->file);
        if (rc != FTK_OK)
            return rc;
    }
    rc = unsure_rewrite(log, end);
    if (rc == FTK_OK)
        rc = behind_tail(log, end->tail);
    if (rc == FTK_OK)
        rc = buffers_open(log, end);
    /* Records of an open that failed may stand behind the end: the tail block is written before
     * the end is called durable. */
    log->tail_unclean = true;
    end->tail->dirty = true;
    log->lsn_prepare = end->tail->lsn_begin + (end->tail->lsn_end - end->tail->lsn_begin) / 2;
    if (rc != FTK_OK || !end->owned || end->lsn_sure == end->lsn)
        return rc;
    rc = rfl__sync(log, end->lsn, false); /* the owner reads nothing that is not durable */
    return rc != FTK_OK ? rc : rewritten_check(log, end);
}

/* ---- open and close ---- */

static void
log_free(struct rfl_log *log)
{
    if (log == NULL)
        return;
    while (log->oldest != NULL) {
        struct rfl__segment *s = log->oldest;
        log->oldest = s->next;
        rfl__segment_free(s);
    }
    while (log->spares != NULL) {
        struct rfl__spare *spare = log->spares;
        log->spares = spare->next;
        rfl__spare_free(spare);
    }
    ftk_free(log->buffers[0].memory);
    ftk_free(log->buffers[1].memory);
    ftk_free(log->dir);
    ftk_file_close(log->lock_file); /* the last that is done to the directory */
    ftk_dir_close(log->home);
    ftk_cond_release(&log->prepared);
    ftk_cond_release(&log->turn);
    ftk_cond_release(&log->flusher_wake);
    ftk_cond_release(&log->keeper_wake);
    ftk_mutex_release(&log->mutex);
    ftk_free(log);
}

static ftk_status
log_new(const struct rfl_options *options, struct rfl_log **log_out)
{
    struct rfl_log *log;
    ftk_status rc = FTK_NEW(&log);

    if (rc != FTK_OK)
        return rc;
    ftk_mutex_init(&log->mutex);
    ftk_cond_init(&log->prepared);
    ftk_cond_init(&log->turn);
    ftk_cond_init(&log->flusher_wake);
    ftk_cond_init(&log->keeper_wake);
    log->disk = options->disk;
    log->messages = options->log;
    memcpy(log->identity, options->identity, sizeof(log->identity));
    log->seed = rfl__record_seed(log->identity);
    log->segment_bytes =
        options->segment_bytes != 0 ? options->segment_bytes : RFL_SEGMENT_BYTES_DEFAULT;
    log->buffer_bytes =
        options->buffer_bytes != 0 ? options->buffer_bytes : RFL_BUFFER_BYTES_DEFAULT;
    if (log->buffer_bytes < RFL_BUFFER_BYTES_MIN)
        log->buffer_bytes = RFL_BUFFER_BYTES_MIN;
    log->buffer_bytes = RFL_ALIGN_DOWN(log->buffer_bytes, RFL_BLOCK);
    log->stream_bytes = log->buffer_bytes / 8;
    log->spare_segments =
        options->spare_segments != 0 ? options->spare_segments : RFL_SPARE_SEGMENTS_DEFAULT;
    log->lazy_ns =
        (options->lazy_ms != 0 ? options->lazy_ms : RFL_LAZY_MS_DEFAULT) * UINT64_C(1000000);
    log->read_only = options->read_only;
    log->background = options->background && !options->read_only;
    log->archiving = options->archiving || options->archive != NULL;
    log->archive = options->archive;
    log->archive_context = options->archive_context;
    rc = ftk_path_join(options->parent != NULL && *options->dir != '/' ? options->parent->path : "",
                       options->dir, &log->dir);
    if (rc != FTK_OK)
        log_free(log);
    else
        *log_out = log;
    return rc;
}

/* From here on the directory is known by its descriptor alone. */
static ftk_status
home_open(struct rfl_log *log, const struct rfl_options *options, bool create)
{
    ftk_status rc = log->disk->ops->dir_open(log->disk, options->parent, options->dir, &log->home);

    if (rc != FTK_NOTFOUND || !create || log->read_only)
        return rc;
    rc = log->disk->ops->mkdir(log->disk, options->parent, options->dir);
    if (rc != FTK_OK && rc != FTK_EXISTS)
        return rc;
    return log->disk->ops->dir_open(log->disk, options->parent, options->dir, &log->home);
}

/*
 * One log has one user: README.md, invariant 12.  Read-only media may have no lock file, and then
 * nobody can write there.  One that was removed while we waited for its lock keeps nobody out.
 */
static ftk_status
home_lock(struct rfl_log *log)
{
    unsigned flags = log->read_only ? FTK_OPEN_READ_ONLY : FTK_OPEN_CREATE;

    for (;;) {
        struct ftk_identity named;
        ftk_status rc = ftk_file_open_in(log->home, RFL_LOCK_NAME, flags, &log->lock_file);

        if (rc != FTK_OK)
            return rc == FTK_NOTFOUND && log->read_only ? FTK_OK : rc;
        rc = ftk_file_lock(log->lock_file, !log->read_only);
        if (rc == FTK_OK)
            rc = ftk_dir_identify(log->home, RFL_LOCK_NAME, &named);
        if (rc == FTK_OK && ftk_identity_same(&named, &log->lock_file->identity))
            return FTK_OK;
        if (rc != FTK_OK && rc != FTK_NOTFOUND)
            return rc;
        ftk_file_close(log->lock_file);
        log->lock_file = NULL;
    }
}

static ftk_status
log_find(struct rfl_log *log, const struct rfl_options *options, bool create, uint64_t lsn_start,
         struct end *end)
{
    ftk_status rc = home_open(log, options, create);

    if (rc == FTK_OK)
        rc = home_lock(log);
    if (rc == FTK_OK)
        rc = rfl__segments_load(log, lsn_start);
    if (rc == FTK_NOTFOUND && log->home != NULL && create && !log->read_only) {
        if (lsn_start > 0 && !options->allow_short)
            return FTK_FAIL(FTK_CORRUPT,
                            "%s: holds no log, one that reaches LSN %" PRIu64 " is needed",
                            log->dir, lsn_start);
        return log_create(log, lsn_start, end);
    }
    if (rc == FTK_OK)
        rc = end_find(log, lsn_start, end);
    if (rc != FTK_OK || !end->is_short)
        return rc;
    if (options->allow_short && !log->read_only)
        return log_begin_anew(log, lsn_start, end);
    return FTK_FAIL(FTK_CORRUPT, "%s: the log ends at LSN %" PRIu64 ", needed to %" PRIu64,
                    log->dir, end->lsn, lsn_start);
}

ftk_status
rfl_open(const struct rfl_options *options, bool create, uint64_t lsn_start,
         struct rfl_log **log_out)
{
    struct rfl_log *log = NULL;
    struct end end = {0};
    ftk_status rc;

    *log_out = NULL;
    if (lsn_start % 8 != 0 || lsn_start > INT64_MAX ||
        (options->segment_bytes != 0 && (options->segment_bytes < RFL_SEGMENT_BYTES_MIN ||
                                         options->segment_bytes % RFL_BLOCK != 0)))
        return FTK_FAIL(FTK_INVALID, "%s: impossible log options", options->dir);
    FTK_TRY(log_new(options, &log));
    FTK_TRY(log_find(log, options, create, lsn_start, &end));
    log->salt = end.salt;
    for (int i = 0; i < 2; i++) {
        log->buffers[i].segment = end.tail;
        log->buffers[i].lsn_end = end.lsn;
    }
    log->lsn_end = end.lsn;
    log->lsn_written = end.lsn;
    log->lsn_writeback = end.lsn;
    log->lsn_syncs_asked = end.lsn;
    log->lsn_durable = log->read_only ? end.lsn : end.lsn_sure;
    log->was_closed = end.closed && !end.owned;
    if (!log->read_only) {
        FTK_TRY(writable_begin(log, &end));
        FTK_TRY(rfl__threads_start(log));
    }
    ftk_mutex_lock(&log->mutex); /* the threads are there */
    FTK_DEBUG_ASSERT(rfl__check(log));
    ftk_mutex_unlock(&log->mutex);
    *log_out = log;
    log = NULL;
out:
    if (log != NULL) {
        rfl__threads_stop(log);
        log_free(log);
    }
    return rc;
}

static ftk_status
log_close(struct rfl_log *log, bool say_closed)
{
    ftk_status rc = FTK_OK;

    if (log == NULL)
        return FTK_OK;
    if (!log->read_only) {
        rfl__threads_stop(log);
        if (log->failed)
            rc = rfl__failed(log);
        else if (log->epoch_begun || log->released) {
            if (say_closed)
                rc = rfl__append_close(log);
            if (rc != FTK_OK && !rfl_has_failed(log)) /* an end without a last word is as good */
                rc = FTK_OK;
            if (rc == FTK_OK)
                rc = rfl__sync(log, log->lsn_end, false);
        }
        rfl__spares_raw_remove(log);
    }
    log_free(log);
    return rc;
}

ftk_status
rfl_close(struct rfl_log *log)
{
    return log_close(log, true);
}

ftk_status
rfl_abandon(struct rfl_log *log)
{
    return log_close(log, false);
}

bool
rfl_was_closed(const struct rfl_log *log)
{
    return log->was_closed;
}

void
rfl_stats(struct rfl_log *log, struct rfl_stats *stats_out)
{
    ftk_mutex_lock(&log->mutex);
    *stats_out = log->stats;
    stats_out->segments = 0;
    stats_out->segments_spare = 0;
    stats_out->bytes_on_disk = 0;
    for (const struct rfl__segment *s = log->oldest; s != NULL; s = s->next) {
        stats_out->segments++;
        stats_out->bytes_on_disk += s->bytes;
    }
    for (const struct rfl__spare *spare = log->spares; spare != NULL; spare = spare->next) {
        stats_out->segments_spare++;
        stats_out->bytes_on_disk += spare->bytes;
    }
    FTK_ASSERT(log->oldest != NULL); /* an open log has a segment */
    stats_out->lsn_oldest = log->oldest->lsn_records;
    stats_out->lsn_end = log->lsn_end;
    stats_out->lsn_written = log->lsn_written;
    stats_out->lsn_durable = log->lsn_durable;
    ftk_mutex_unlock(&log->mutex);
}
