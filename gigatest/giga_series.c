/* SPDX-License-Identifier: Apache-2.0 */
/* gigatest/giga_series.c -- see giga_series.h. */
#include "gigatest/giga_series.h"

#include <string.h>

void
giga_series_init(struct giga_series *series)
{
    memset(series, 0, sizeof(*series));
    series->interval_ns = GIGA_SAMPLE_NS;
}

bool
giga_series_due(const struct giga_series *series, uint64_t ns)
{
    return series->sample_count == 0 ||
           ns >= series->samples[series->sample_count - 1].ns + series->interval_ns;
}

static uint64_t
greater(uint64_t left, uint64_t right)
{
    return left > right ? left : right;
}

/* Counters are those of the later sample; of gauges and latencies the worse one stays. */
static void
halve(struct giga_series *series)
{
    uint32_t kept = 1; /* the first sample stays: rates start from it */

    for (uint32_t i = 1; i + 1 < series->sample_count; i += 2) {
        const struct giga_sample *first = &series->samples[i];
        struct giga_sample merged = series->samples[i + 1];

        merged.dirty_bytes = greater(merged.dirty_bytes, first->dirty_bytes);
        merged.commit_p50_ns = (merged.commit_p50_ns + first->commit_p50_ns) / 2;
        merged.commit_p99_ns = greater(merged.commit_p99_ns, first->commit_p99_ns);
        merged.commit_max_ns = greater(merged.commit_max_ns, first->commit_max_ns);
        series->samples[kept++] = merged;
    }
    if (series->sample_count % 2 == 0)
        series->samples[kept++] = series->samples[series->sample_count - 1];
    series->sample_count = kept;
    series->interval_ns *= 2;
}

void
giga_series_add(struct giga_series *series, const struct giga_sample *sample)
{
    if (series->sample_count == GIGA_SAMPLES_MAX)
        halve(series);
    series->samples[series->sample_count++] = *sample;
}

/* sync_ns: how long it took from the end of writing, in case that was not seen to begin. */
static void
checkpoint_close(struct giga_series *series, uint64_t ns, uint64_t sync_ns)
{
    struct giga_checkpoint_span *span = &series->checkpoints[series->checkpoint_count - 1];
    uint64_t lasted = ns - span->start_ns;

    span->end_ns = ns;
    if (span->sync_ns == 0)
        span->sync_ns = ns - (sync_ns < lasted ? sync_ns : lasted);
    series->checkpoint_open = false;
}

static void
checkpoint_open(struct giga_series *series, uint64_t ns)
{
    if (series->checkpoint_count == GIGA_CHECKPOINTS_MAX)
        return;
    series->checkpoints[series->checkpoint_count++] = (struct giga_checkpoint_span){.start_ns = ns};
    series->checkpoint_open = true;
}

void
giga_series_checkpoint(struct giga_series *series, uint64_t ns, const kiln_stat *stat)
{
    if (stat->checkpoints < series->checkpoints_seen) /* the database was opened anew */
        series->checkpoints_seen = stat->checkpoints;
    if (stat->checkpoints > series->checkpoints_seen) {
        uint64_t lasted = stat->checkpoint_last_total_ns;
        uint64_t wrote = stat->checkpoint_last_ns;

        if (!series->checkpoint_open) /* began and ended between two looks */
            checkpoint_open(series, ns > lasted ? ns - lasted : 0);
        if (series->checkpoint_open)
            checkpoint_close(series, ns, lasted > wrote ? lasted - wrote : 0);
        series->checkpoints_seen = stat->checkpoints;
    }
    if (stat->checkpoint_state == KILN_CHECKPOINT_IDLE) {
        if (series->checkpoint_open)
            checkpoint_close(series, ns, 0);
        return;
    }
    if (!series->checkpoint_open)
        checkpoint_open(series, ns);
    if (series->checkpoint_open && stat->checkpoint_state >= KILN_CHECKPOINT_SYNCING &&
        series->checkpoints[series->checkpoint_count - 1].sync_ns == 0)
        series->checkpoints[series->checkpoint_count - 1].sync_ns = ns;
}

double
giga_series_sync_seconds(const struct giga_series *series, const kiln_stat *stat)
{
    uint64_t sum_ns = 0;

    for (uint32_t i = 0; i < series->checkpoint_count; i++) {
        if (series->checkpoints[i].end_ns != 0)
            sum_ns += series->checkpoints[i].end_ns - series->checkpoints[i].sync_ns;
    }
    if (stat->checkpoints > series->checkpoints_seen &&
        stat->checkpoint_last_total_ns > stat->checkpoint_last_ns)
        sum_ns += stat->checkpoint_last_total_ns - stat->checkpoint_last_ns;
    return (double)sum_ns / 1e9;
}

void
giga_series_stage(struct giga_series *series, uint64_t ns, enum giga_stage stage)
{
    if (series->stage_count < GIGA_STAGES_MAX &&
        (series->stage_count == 0 || series->stages[series->stage_count - 1].stage != stage))
        series->stages[series->stage_count++] = (struct giga_stage_mark){.ns = ns, .stage = stage};
}

const struct giga_sample *
giga_series_ago(const struct giga_series *series, uint64_t ago_ns)
{
    uint64_t newest;
    uint32_t i = series->sample_count;

    if (i < 2)
        return NULL;
    newest = series->samples[--i].ns;
    while (i > 0 && newest - series->samples[i].ns < ago_ns)
        i--;
    return &series->samples[i];
}
