/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rfl/rfl.h -- the roll-forward log: append, group commit, segments, read back, archive.
 * Rules and lock order: rfl/README.md.  Bytes: rfl/rfl_format.h.
 *
 * An LSN is a byte position in the log since its creation.  A record occupies [lsn, lsn_end); the
 * next record begins at lsn_end (a multiple of 8).  Records may cross from one segment into the
 * next only as whole records: a segment's tail that is too small is padded by a filler.
 */
#ifndef RFL_RFL_H
#define RFL_RFL_H

#include "ftk/disk.h"
#include "ftk/log.h"

struct rfl_log;    /* opaque: rfl_open to rfl_close */
struct rfl_reader; /* opaque: rfl_reader_open to rfl_reader_close */

#define RFL_BODY_MAX (1u << 20) /* largest body of one record; owners split larger ones */
#define RFL_SEGMENT_BYTES_DEFAULT (64u << 20)
#define RFL_SEGMENT_BYTES_MIN (2u << 20) /* holds a record of RFL_BODY_MAX with headers */

enum rfl_durability {
    RFL_LAZY, /* flushed in the background within lazy_ms */
    RFL_OS,   /* handed to the operating system: survives the process, not the machine */
    RFL_FULL, /* on stable storage */
};

struct rfl_options {
    struct ftk_disk *disk;
    const struct ftk_log *log;    /* messages; may be NULL */
    const struct ftk_dir *parent; /* that `dir` is relative to; NULL: the working directory */
    const char *dir;              /* created when missing (one level); looked up at open alone */
    uint8_t identity[16];         /* of the owner; a segment of another identity is FTK_FOREIGN */
    uint32_t segment_bytes;       /* of new segments; multiple of 4096 */
    uint32_t buffer_bytes;        /* of each of the two buffers in flight; default 2 MiB */
    uint32_t spare_segments;      /* segments kept ready; default 2 */
    uint32_t lazy_ms;             /* default 100 */
    bool read_only;               /* no append, no repair; works on a read-only file system */
    bool background;  /* a thread prepares segments ahead and serves RFL_LAZY; false: the
                                   caller's threads do it (simulation) */
    bool allow_short; /* a log that is missing, or ends before lsn_start, is begun anew at
                                   lsn_start: the owner has everything below elsewhere */
    bool archiving;   /* an earlier open had an archive function: without one no segment leaves.
                         The owner remembers it */
    /*
     * Called with a full segment's path, absolute and as of now, before it leaves the log; FTK_OK
     * says that the archive has it on stable storage: as a copy, a link, or the file itself, moved
     * away.  A segment that is not there under its name any more counts as archived; one that is
     * refused stays and is offered again, and so may one be after a crash that was taken already.
     * In order, the oldest first.  May be NULL.  Runs without locks.
     */
    ftk_status (*archive)(void *context, const char *path, uint64_t lsn_begin, uint64_t lsn_end);
    void *archive_context;
};

struct rfl_stats {
    uint64_t appends, append_bytes; /* records and their bytes with headers */
    uint64_t flushes, flush_bytes;  /* writes to the operating system, padding included */
    uint64_t syncs, sync_ns;        /* fdatasync calls and time in them */
    uint64_t waiters_served;        /* commits made durable; / syncs = group size */
    uint64_t segments, segments_spare, bytes_on_disk;
    uint64_t prewrites;    /* files written with zeros ahead of use */
    uint64_t segments_raw; /* segments taken into use without that, space allocated only */
    uint64_t lsn_oldest, lsn_end, lsn_written, lsn_durable;
};

/*
 * Open a log, creating it when `create` is set and the directory holds none.  Finds the end of the
 * log by reading from `lsn_start` (the owner's checkpoint; 0 for a new log): the end is the first
 * record that fails its checksum or its LSN.  Every record carries the LSN known to be durable when
 * it was written: a bad record at P with a valid record behind it that says durable > P is damage,
 * reported as FTK_CORRUPT with segment and offset, never cut.  A log that ends before lsn_start is
 * FTK_CORRUPT too, unless `allow_short` (then it is begun anew at lsn_start).
 *
 * Opened for writing, all records that the owner can read are durable when this returns, also those
 * of a process that died or that failed to sync them (rfl/README.md, invariant 10).
 *
 * The owner reads its records back (rfl_reader) before the first append.
 * errors: FTK_IO, FTK_CORRUPT, FTK_FOREIGN, FTK_VERSION, FTK_NOMEM, FTK_NOSPACE, FTK_NOTFOUND (no
 * log and no `create`), FTK_INUSE (somebody has the directory's log open; readers share it).
 */
ftk_status rfl_open(const struct rfl_options *options, bool create, uint64_t lsn_start,
                    struct rfl_log **log_out);

/* Are there segments of a log in the directory, whoever's?  Nothing is changed. */
ftk_status rfl_is_in(struct ftk_dir *dir, bool *there_out);

/* Flush all (as RFL_FULL unless the log has failed), stop the thread, free.  NULL is fine. */
ftk_status rfl_close(struct rfl_log *log);
/* The same for an owner that has failed elsewhere: the log does not say that it was closed. */
ftk_status rfl_abandon(struct rfl_log *log);

/*
 * Did the last owner come to its rfl_close, with no record behind lsn_start?  Then all that it had
 * made durable before, here and elsewhere, is what it was told it is.  Otherwise a sync may have
 * failed: what can be read from a file may never have reached the device, and no later sync brings
 * it there, but writing it again does.  For the log itself rfl_open has done that.
 */
bool rfl_was_closed(const struct rfl_log *log);

/*
 * Append one record.  Copies the body (gathered from parts) into the open buffer; blocks when both
 * buffers are full, and for a few changes of metadata when the next segment is not there yet, never
 * for the pre-writing of one (with `background`).  Not durable until rfl_commit(lsn_end).
 *
 * shapes: sum of sizes 1..RFL_BODY_MAX.  kind is the owner's (1..255), stream likewise.
 * errors: FTK_FAILED (an earlier write or sync failed: only rfl_close is legal), FTK_NOSPACE (no
 * room for a segment), FTK_NOMEM (no memory or descriptor for one), FTK_TOOBIG, FTK_IO and others
 * (its file could not be made, or a write or sync failed: rfl_has_failed tells).  No record was
 * added; unless the log has failed, later appends may succeed.
 * locks: the append lock; callers that need an order between records serialise themselves.
 */
struct rfl_part {
    const void *memory;
    size_t size;
};
ftk_status rfl_append(struct rfl_log *log, uint32_t stream, uint8_t kind,
                      const struct rfl_part *parts, size_t part_count, uint64_t *lsn_out,
                      uint64_t *lsn_end_out);
/*
 * The same for records that end work or free space (commit, abort, delete): they may begin to use
 * the last segment kept in reserve, so that on a full disk rfl_append fails first.
 */
ftk_status rfl_append_reserved(struct rfl_log *log, uint32_t stream, uint8_t kind,
                               const struct rfl_part *parts, size_t part_count, uint64_t *lsn_out,
                               uint64_t *lsn_end_out);

/*
 * Make the log up to `lsn_end` as durable as asked.  Group commit: the first caller that finds no
 * flush under way leads one for everybody; meanwhile others append into the other buffer and wait.
 * A failure of write or sync is final for the log (FTK_IO now, FTK_FAILED later); never retried.
 */
ftk_status rfl_commit(struct rfl_log *log, uint64_t lsn_end, enum rfl_durability durability);

/*
 * The owner no longer needs records below lsn: whole segments below it are archived and recycled.
 * An owner that will open with lsn_start = lsn makes the log durable up to lsn first.  A segment
 * that an archive function refuses stays, and is offered again at the next release.
 */
ftk_status rfl_release(struct rfl_log *log, uint64_t lsn);

uint64_t rfl_lsn_end(struct rfl_log *log); /* of the last append */
bool rfl_has_failed(struct rfl_log *log);  /* a write or sync has: only rfl_close is legal */
void rfl_stats(struct rfl_log *log, struct rfl_stats *stats_out);

/* A record read back; body borrowed until the next call on the reader. */
struct rfl_record {
    uint64_t lsn;
    uint64_t lsn_end;
    uint32_t stream;
    uint8_t kind;
    const uint8_t *body;
    uint32_t body_size;
};

/*
 * Read records from lsn on, with large read-ahead (1 MiB and more per read).  The log may be open
 * and growing: records up to lsn_written can be read.  lsn must be a record's beginning.
 * rfl_reader_next: FTK_NOTFOUND at the end of the log; FTK_CORRUPT names segment and offset.
 */
ftk_status rfl_reader_open(struct rfl_log *log, uint64_t lsn, struct rfl_reader **reader_out);
ftk_status rfl_reader_next(struct rfl_reader *reader, struct rfl_record *record_out);
void rfl_reader_close(struct rfl_reader *reader);

#endif
