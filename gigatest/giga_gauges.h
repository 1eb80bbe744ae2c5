/* SPDX-License-Identifier: Apache-2.0 */
/* gigatest/giga_gauges.h -- what the working threads tell the watching one. */
#ifndef GIGATEST_GIGA_GAUGES_H
#define GIGATEST_GIGA_GAUGES_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "gigatest/giga_histogram.h"
#include "kiln.h"

#define GIGA_STAGES(X)                                                                             \
    X(START, "starting")                                                                           \
    X(DEVICE, "measuring the device")                                                              \
    X(OPEN, "opening")                                                                             \
    X(LOAD, "loading")                                                                             \
    X(UPDATE, "updating")                                                                          \
    X(DELETE, "deleting")                                                                          \
    X(MIXED, "mixed")                                                                              \
    X(CHECKPOINT, "final checkpoint")                                                              \
    X(CLOSE, "closing")                                                                            \
    X(VERIFY_RECORDS, "verifying records")                                                         \
    X(VERIFY_INDEX, "verifying index")                                                             \
    X(VERIFY_CHECK, "checking pages")                                                              \
    X(DONE, "done")

enum giga_stage {
#define X(id, text) GIGA_STAGE_##id,
    GIGA_STAGES(X)
#undef X
        GIGA_STAGE_COUNT
};
const char *giga_stage_text(enum giga_stage stage);

/* A stage that is over: how much of it was done, and when. */
struct giga_stage_end {
    enum giga_stage stage;
    uint64_t total, before, done;
    uint64_t start_ns, end_ns; /* of the clock */
};

#define GIGA_STAGE_ENDS_MAX 64
#define GIGA_NOTES_MAX 64
#define GIGA_NOTE_BYTES 256

struct giga_gauges {
    _Atomic uint32_t stage;
    _Atomic uint64_t stage_ns;     /* when it began */
    _Atomic uint64_t total;        /* objects (or pages) of the stage */
    _Atomic uint64_t before;       /* of these, done before this run */
    _Atomic uint64_t done;         /* of these, done; includes `before` */
    _Atomic uint64_t work;         /* objects written by this run, all stages; only grows */
    _Atomic bool series_ended;     /* what follows is no part of the plots */
    struct giga_histogram commits; /* nanoseconds in kiln_txn_commit */

    pthread_mutex_t db_lock;                     /* held while the database is asked */
    kiln_db *db;                                 /* NULL while there is none to ask */
    pthread_mutex_t notes_lock;                  /* of all below; taken in kiln's messages */
    uint32_t note_count;                         /* notes ever */
    char notes[GIGA_NOTES_MAX][GIGA_NOTE_BYTES]; /* the last ones, a ring */
    uint32_t stage_end_count;                    /* of stages with a total, up to the bound */
    struct giga_stage_end stage_ends[GIGA_STAGE_ENDS_MAX];
};

void giga_gauges_init(struct giga_gauges *gauges);
void giga_gauges_release(struct giga_gauges *gauges);
void giga_gauges_stage(struct giga_gauges *gauges, enum giga_stage stage, uint64_t total,
                       uint64_t before);
/* Stage `number` (0..) that had a total and is over; false: not yet, or not kept. */
bool giga_gauges_stage_end(struct giga_gauges *gauges, uint32_t number,
                           struct giga_stage_end *end_out);
/* Lend the database to the watching thread; NULL takes it back: it is not in use then. */
void giga_gauges_db(struct giga_gauges *gauges, kiln_db *db);
/* False: no database to ask. */
bool giga_gauges_stat(struct giga_gauges *gauges, kiln_stat *stat_out);
/* A message for people that is not the end of the run. */
void giga_gauges_note(struct giga_gauges *gauges, const char *text);
/* Note number `number` (0..), into text; false when there is none, or it is gone. */
bool giga_gauges_note_get(struct giga_gauges *gauges, uint32_t number, char text[GIGA_NOTE_BYTES]);

#endif
