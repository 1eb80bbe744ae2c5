/* SPDX-License-Identifier: Apache-2.0 */
/* gigatest/giga_series.h -- the run over time, in bounded memory. */
#ifndef GIGATEST_GIGA_SERIES_H
#define GIGATEST_GIGA_SERIES_H

#include <stdbool.h>
#include <stdint.h>

#include "gigatest/giga_gauges.h"

/* When the samples are full, neighbours are merged and the interval doubles: between 1024 and 2048
 * points for a run of any length. */
#define GIGA_SAMPLES_MAX 2048u
#define GIGA_SAMPLE_NS 20000000u /* the first interval */
#define GIGA_CHECKPOINTS_MAX 4096u
#define GIGA_STAGES_MAX 128u

struct giga_sample {
    uint64_t ns;           /* since the start of the run */
    uint64_t work;         /* objects written so far */
    uint64_t device_bytes; /* written by this process so far, as the operating system counts */
    uint64_t checkpoint_bytes, log_bytes, commits; /* so far */
    uint64_t dirty_bytes, used_bytes, limit_bytes, log_since_bytes;
    uint64_t commit_p50_ns, commit_p99_ns, commit_max_ns; /* of the commits since the last sample */
};

struct giga_checkpoint_span {
    uint64_t start_ns, sync_ns, end_ns; /* end_ns 0: under way */
};

struct giga_stage_mark {
    uint64_t ns;
    enum giga_stage stage;
};

struct giga_series {
    uint64_t interval_ns;
    uint32_t sample_count, checkpoint_count, stage_count;
    uint64_t checkpoints_seen;
    bool checkpoint_open;
    struct giga_sample samples[GIGA_SAMPLES_MAX];
    struct giga_checkpoint_span checkpoints[GIGA_CHECKPOINTS_MAX];
    struct giga_stage_mark stages[GIGA_STAGES_MAX];
};

void giga_series_init(struct giga_series *series);
bool giga_series_due(const struct giga_series *series, uint64_t ns);
/* sample->ns must not go down. */
void giga_series_add(struct giga_series *series, const struct giga_sample *sample);
/* Follow the checkpoints; call it often.  Those beyond GIGA_CHECKPOINTS_MAX are not kept. */
void giga_series_checkpoint(struct giga_series *series, uint64_t ns, const kiln_stat *stat);
/* From the end of writing to the end, of all checkpoints that were followed, and of the last of
 * `stat` when that ended behind the last look. */
double giga_series_sync_seconds(const struct giga_series *series, const kiln_stat *stat);
void giga_series_stage(struct giga_series *series, uint64_t ns, enum giga_stage stage);
/* The last sample at least `ago_ns` older than the newest; the oldest one if all are younger; NULL
 * when there are fewer than two. */
const struct giga_sample *giga_series_ago(const struct giga_series *series, uint64_t ago_ns);

#endif
