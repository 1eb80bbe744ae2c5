/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rfl/rfl_internal.h -- what the files of rfl/ share.  Rules and lock order: rfl/README.md.
 *
 *   rfl_format.c      bytes
 *   rfl_segment.c     files: make, pre-write, activate, retire
 *   rfl_scan.c        sequential reading of records, shared by open and readers
 *   rfl_open.c        open, find the end, close
 *   rfl_append.c      records into the buffers
 *   rfl_flush.c       write, sync, group commit
 *   rfl_background.c  the two threads; release and archive
 *   rfl_reader.c      records back
 *   rfl_check.c       what holds at any time
 */
#ifndef RFL_RFL_INTERNAL_H
#define RFL_RFL_INTERNAL_H

#include <stdatomic.h>
#include <string.h>

#include "ftk/thread.h"
#include "rfl/rfl.h"
#include "rfl/rfl_format.h"

/* Two of them, and what the owner reads, should stay in a core's second-level cache. */
#define RFL_BUFFER_BYTES_DEFAULT (2u << 20)
#define RFL_BUFFER_BYTES_MIN ((1u << 20) + (64u << 10)) /* RFL_BODY_MAX, headers, a tail block */
#define RFL_SPARE_SEGMENTS_DEFAULT 2u
#define RFL_LAZY_MS_DEFAULT 100u
/* A new log begins with a segment of this size, each next one doubles it up to segment_bytes: a
 * small database has a small log and opens at once. */
#define RFL_SEGMENT_BYTES_FIRST (4u << 20)
/* Segments ready beyond the open one that, on a full disk, only rfl_append_reserved may use. */
#define RFL_RESERVE_SEGMENTS 1u
/* A sync over pre-written blocks saves 70 to 140 us of the device's time, pre-writing takes 0.3 to
 * 1 ms of it for each MiB: it pays where so many bytes see a sync. */
#define RFL_PREWRITE_SYNC_BYTES (512u << 10)
/* Changes that pile up in the operating system before it is asked to write them back. */
#define RFL_WRITEBACK_BYTES (4u << 20)

/* One segment in use, from the oldest kept to the one prepared behind the open one. */
struct rfl__segment {
    struct rfl__segment *next;
    uint64_t number;
    uint64_t lsn_begin;           /* of the record area */
    uint64_t lsn_records;         /* first record */
    uint64_t lsn_end;             /* of the record area */
    uint64_t bytes;               /* of the file */
    struct ftk_identity identity; /* of the file: no other one is touched under its name */
    struct ftk_file *file;        /* open from activation until synced to its end; else NULL */
    bool dirty;                   /* written since its last sync */
    bool leaving;                 /* being archived and recycled: no new readers */
    bool archived;                /* the archive has it; set by the holder of `recycling` */
    uint32_t users;               /* threads that use `file` without the mutex: it is not closed */
    uint32_t readers;
    char *path; /* the directory's and its name: for messages; the name is rfl__file_name */
};

/* A file without a place in the log. */
struct rfl__spare {
    struct rfl__spare *next;
    uint64_t bytes;
    struct ftk_identity identity; /* of the file, as in rfl__segment */
    bool prewritten; /* named .spare; else raw: space is allocated, named .new, nothing is synced */
    char *path;
};

/*
 * A buffer holds the log bytes [lsn_base, lsn_base + used) of one segment; lsn_base is a multiple
 * of RFL_BLOCK.  lsn_end is the end of its last record: lsn_base + used, or the end of the segment
 * after a filler.
 */
struct rfl__buffer {
    uint8_t *memory;
    struct rfl__segment *segment;
    uint64_t lsn_base;
    uint64_t used;
    uint64_t lsn_end;
    uint64_t zero_from, zero_to; /* of the memory: zeros when it was last padded */
};

/* A thread waiting for a sync; on that thread's stack.  See rfl_flush.c. */
struct rfl__waiter {
    struct rfl__waiter *next;
    uint64_t lsn_end;
    struct ftk_mutex mutex; /* guards `state` and its signal; innermost lock */
    struct ftk_cond cond;
    enum { RFL__WAITING, RFL__SERVED, RFL__LEAD } state;
    bool failed;
};

struct rfl_log {
    /* Constant after open. */
    struct ftk_disk *disk;
    const struct ftk_log *messages;
    struct ftk_dir *home;       /* all names of files are looked up in it */
    struct ftk_file *lock_file; /* keeps others out; NULL: none, on read-only media */
    char *dir;                  /* how it was named: for messages */
    uint8_t identity[16];
    uint64_t seed;
    uint64_t segment_bytes;
    uint64_t buffer_bytes;
    uint64_t stream_bytes; /* the flusher begins to write when the buffer holds as much */
    uint32_t spare_segments;
    uint64_t lazy_ns;
    bool read_only;
    bool background;
    bool was_closed; /* see rfl_was_closed */
    bool archiving;  /* segments leave through `archive` alone; without it none does */
    ftk_status (*archive)(void *context, const char *path, uint64_t lsn_begin, uint64_t lsn_end);
    void *archive_context;

    struct ftk_mutex mutex; /* the append lock: guards everything below */

    /* Segments: oldest .. active .. last. */
    struct rfl__segment *oldest;
    struct rfl__segment *last;
    struct rfl__spare *spares;
    uint32_t spare_count;
    uint64_t file_number_next; /* for names of spares; above every number seen */
    bool preparing;            /* slot: one thread makes segments and raw spares */
    bool prewriting;           /* slot: one thread pre-writes a spare */
    bool recycling;            /* slot: one thread retires segments */
    struct ftk_cond prepared;  /* broadcast when one of the two slots is free again */
    uint64_t lsn_release;      /* the owner needs nothing below */
    bool released;             /* rfl_release was called since open */

    /* Appending. */
    struct rfl__buffer buffers[2];
    unsigned active;
    uint32_t salt;      /* of the last record; of all records of this open once it has begun */
    bool epoch_begun;   /* this open has written its epoch record */
    bool tail_unclean;  /* bytes behind lsn_end may hold old records: write the tail block first */
    bool stream_wanted; /* the flusher has been told */

    /* Flushing. */
    bool writing;         /* slot: one write to the files under way */
    bool syncing;         /* slot: one sync under way, handed from leader to leader */
    struct ftk_cond turn; /* broadcast when the slot `writing` is free again */
    uint32_t turn_waiters;
    struct rfl__waiter *waiters_first; /* for a sync, in order of arrival */
    struct rfl__waiter *waiters_last;
    uint32_t waiter_count;
    /* For gather() of rfl_flush.c. */
    uint32_t committers;   /* threads seen committing around the last sync */
    uint32_t gather_skip;  /* syncs to come that do not gather */
    uint32_t gather_vain;  /* times in a row that nobody came */
    uint64_t sync_ns_mean; /* moving mean of a sync's time */
    /* For the decision to pre-write. */
    uint64_t syncs_asked;        /* led for RFL_FULL commits in the active segment */
    uint64_t syncs_asked_before; /* in the one before */
    uint64_t lsn_syncs_asked;    /* where that one began, or this open */
    bool hurry; /* a switch found no next segment: without syncs two are kept behind the active */
    bool failed;
    struct ftk_error error; /* why */

    _Atomic uint64_t lsn_end;     /* of the last append */
    _Atomic uint64_t lsn_written; /* handed to the operating system */
    _Atomic uint64_t lsn_durable; /* on stable storage */

    /* Threads. */
    struct ftk_thread flusher, keeper;
    struct ftk_cond flusher_wake, keeper_wake;
    bool stop;
    uint64_t lazy_deadline_ns; /* 0: nothing lazy is waiting */
    bool keeper_wanted;
    uint64_t lsn_prepare;   /* the keeper is to prepare segments when lsn_end reaches it */
    bool prepare_wanted;    /* the keeper has been told */
    bool no_space;          /* the last attempt to prepare a segment met a full disk */
    uint64_t lsn_writeback; /* the operating system was asked to write back all below */
    bool writeback_wanted;

    struct rfl_stats stats; /* counters only */
};

/* ---- rfl_segment.c ---- */

struct rfl__found { /* what a directory holds */
    struct rfl__segment *oldest;
    struct rfl__segment *last;
    struct rfl__spare *spares;
    uint32_t spare_count;
    uint64_t file_number_next;
};

/* The last part of a path of ours, which a directory knows. */
static inline const char *
rfl__file_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

/*
 * Open a file of the log.  A file that is to be changed must be the one that stood under this name
 * when the log made or found it: FTK_FOREIGN, and nothing is touched, when another has taken its
 * place.  identity NULL: it is about to become known.
 */
ftk_status rfl__file_open(const struct rfl_log *log, const char *path, unsigned flags,
                          const struct ftk_identity *identity, struct ftk_file **file_out);
ftk_status rfl__file_remove(const struct rfl_log *log, const char *path,
                            const struct ftk_identity *identity);

uint64_t rfl__offset(const struct rfl__segment *segment, uint64_t lsn);
ftk_status rfl__name_path(const char *dir, uint64_t number, const char *suffix, char **path_out);
/* Number of a name with this suffix; false when it is not one. */
bool rfl__name_parse(const char *name, const char *suffix, uint64_t *number_out);
/* Make the names in the log's directory durable, and its own. */
ftk_status rfl__names_sync(struct rfl_log *log);
void rfl__segment_free(struct rfl__segment *segment); /* closes its file; NULL is fine */
void rfl__spare_free(struct rfl__spare *spare);
/* List the directory, read every segment's header, check that the chain is whole from the segment
 * that holds lsn_start on.  Fills the log's lists.  errors: see rfl_open; FTK_NOTFOUND: no log. */
ftk_status rfl__segments_load(struct rfl_log *log, uint64_t lsn_start);
/* Make the very first segment of a log, or of one begun anew.  Not locked: open only. */
ftk_status rfl__segment_create_first(struct rfl_log *log, uint64_t number, uint64_t lsn_start);
/* Turn segments behind `tail` into spares, newest first. */
ftk_status rfl__segments_cut(struct rfl_log *log, struct rfl__segment *tail);
/*
 * With the mutex, which is dropped meanwhile: make sure that a segment is there behind the active
 * one and `ready` files in all are (spares included).  may_prewrite: takes the time to pre-write
 * them where that pays; else it costs changes of metadata alone.  errors: any, and the log is as it
 * was, unless a write or sync failed: then the log has (`failed`).
 */
ftk_status rfl__segments_prepare(struct rfl_log *log, uint32_t ready, bool may_prewrite);
uint32_t rfl__segments_ready(const struct rfl_log *log);
/* Take one segment off the log for good: a spare when it serves, else removed.  Not locked. */
ftk_status rfl__segment_retire(struct rfl_log *log, struct rfl__segment *segment);
/* At close: raw spares are of no use to the next open. */
void rfl__spares_raw_remove(struct rfl_log *log);

/* ---- rfl_scan.c ---- */

/* Sequential reading.  One thread. */
struct rfl__scan {
    const struct rfl_log *log;
    struct ftk_file *file;
    struct rfl__segment *segment; /* borrowed */
    uint8_t *memory;
    uint64_t capacity;
    uint64_t read_bytes; /* of the next read at least */
    uint64_t lsn_have;   /* memory holds [lsn_have, lsn_have_end) of the segment */
    uint64_t lsn_have_end;
    uint64_t lsn;       /* of the next record */
    uint64_t lsn_limit; /* nothing at or above is read as a record */
    uint32_t salt;      /* of the record before */
    bool salt_known;
    bool closed; /* the record before says: log closed */
    bool filled; /* it is a filler: the log goes on in the next segment */
};

ftk_status rfl__scan_init(struct rfl__scan *scan, const struct rfl_log *log);
void rfl__scan_release(struct rfl__scan *scan);
ftk_status rfl__scan_enter(struct rfl__scan *scan, struct rfl__segment *segment, uint64_t lsn);
/*
 * The next record within the segment, internal ones included; *verdict_out RFL__GOOD with header
 * and body (borrowed until the next call), RFL__MORE at the segment's end, RFL__BAD: no record of
 * this log's chain at scan->lsn.  errors: FTK_IO.
 */
ftk_status rfl__scan_next(struct rfl__scan *scan, enum rfl__verdict *verdict_out,
                          struct rfl__record_header *header_out, const uint8_t **body_out);
/*
 * Is there behind the bad record at lsn_bad a record that says that more than lsn_bad was durable?
 * From `scan`'s place, at most bytes_max further in this segment.
 */
ftk_status rfl__scan_claims(struct rfl__scan *scan, uint64_t lsn_bad, uint64_t bytes_max,
                            bool *damaged_out);

/* Are there zeros where a record's header would be? */
ftk_status rfl__scan_blank(struct rfl__scan *scan, bool *blank_out);

/* ---- rfl_check.c ---- */

/* With the mutex: assert the log's invariants.  True, so that FTK_DEBUG_ASSERT can call it. */
bool rfl__check(const struct rfl_log *log);

/* ---- rfl_append.c ---- */

/* The record that says that the log was closed; flushed by the caller. */
ftk_status rfl__append_close(struct rfl_log *log);

/* ---- rfl_flush.c ---- */

ftk_status rfl__failed(struct rfl_log *log); /* with the mutex: FTK_FAILED and why */
void rfl__fail(struct rfl_log *log);         /* with the mutex: this thread's last error is final */
/* With the mutex, dropped meanwhile: write what the active buffer holds. */
ftk_status rfl__write(struct rfl_log *log);
/* Without the mutex: lsn_end on stable storage, whatever else is waiting too.  asked: an owner's
 * RFL_FULL commit wants it. */
ftk_status rfl__sync(struct rfl_log *log, uint64_t lsn_end, bool asked);

/* ---- rfl_background.c ---- */

ftk_status rfl__threads_start(struct rfl_log *log);
void rfl__threads_stop(struct rfl_log *log);
void rfl__flusher_wake(struct rfl_log *log); /* with the mutex; so the others */
void rfl__keeper_wake(struct rfl_log *log);  /* to release */
void rfl__prepare_wake(struct rfl_log *log); /* to prepare ahead */

#endif
