/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache/checkpointer.h -- decides when to checkpoint, does it beside readers and writers, and slows
 * writers smoothly when dirty pages near the limit.
 *
 *     IDLE --due--> WRITING (begin, dirty pages) --> SYNCING --> HEADER --> IDLE
 *
 * The cache knows neither log nor header: the engine hands in what to do at each step.
 */
#ifndef CACHE_CHECKPOINTER_H
#define CACHE_CHECKPOINTER_H

#include "cache/cache.h"

struct checkpointer;

enum checkpointer_state {
    CHECKPOINTER_IDLE,
    CHECKPOINTER_WRITING,
    CHECKPOINTER_SYNCING,
    CHECKPOINTER_HEADER
};

struct checkpointer_hooks {
    /* Pin the newest committed snapshot; *limit_out goes to the seal function.  *due_out false:
     * nothing changed since the last checkpoint.  errors: nothing was begun and the next one is
     * tried, but for FTK_FAILED, which is final. */
    ftk_status (*begin)(void *context, bool forced, uint64_t *limit_out, bool *due_out);
    /* After the dirty pages are written: write what else the checkpoint consists of (space map). */
    ftk_status (*write_more)(void *context);
    ftk_status (*sync)(void *context);   /* data file and, up to the snapshot, the log */
    ftk_status (*header)(void *context); /* header and its sync */
    /* Unpin; ok: what became free is free now.  Always called after a begin that was due. */
    void (*end)(void *context, ftk_status status);
    void *context;
};

struct checkpointer_options {
    struct cache *cache;
    const struct checkpointer_hooks *hooks;
    const struct ftk_log *log;
    uint64_t dirty_bytes_max; /* start when so much is dirty; 0: half of the limit as it is then */
    uint32_t interval_ms;     /* start so long after the first change (throttle); 0: never */
    bool thread;              /* false: only checkpointer_run, on the caller's thread; a due
                                 checkpoint is run by checkpointer_throttle */
};

struct checkpointer_stats {
    uint64_t checkpoints, bytes, write_ns, total_ns; /* write_ns: in the WRITING phase */
    uint64_t last_bytes, last_write_ns, last_total_ns;
    uint64_t throttle_ns, throttles;
    enum checkpointer_state state;
    uint64_t left_bytes;
};

ftk_status checkpointer_open(const struct checkpointer_options *options,
                             struct checkpointer **checkpointer_out);
/* Waits for one under way; NULL is fine. */
void checkpointer_close(struct checkpointer *checkpointer);
/* Ask for a checkpoint soon (the log is long, ...). */
void checkpointer_kick(struct checkpointer *checkpointer);
/* Checkpoint what is committed now, and wait; forced: also when nothing changed.  errors: FTK_NOMEM
 * (a shortage) and those of `begin`: nothing changed, and a later call may succeed; others are
 * final. */
ftk_status checkpointer_run(struct checkpointer *checkpointer, bool forced);
/* By a writer, without locks, once per commit (and now and then in a long transaction): notes that
 * something changed and sleeps as long as the amount of dirty pages demands: nothing below a soft
 * mark, then growing smoothly so that dirty pages never reach the hard mark.
 * FTK_IO/FTK_NOSPACE/... when checkpoints fail (the first error, final). */
ftk_status checkpointer_throttle(struct checkpointer *checkpointer);
void checkpointer_stats(struct checkpointer *checkpointer, struct checkpointer_stats *stats_out);

#endif
