/* SPDX-License-Identifier: Apache-2.0 */
/* gigatest/giga_points.c -- see giga_points.h. */
#include "gigatest/giga_points.h"

#include <string.h>

static double
rate(uint64_t later, uint64_t earlier, uint64_t ns)
{
    return ns == 0 || later < earlier ? 0 : (double)(later - earlier) * 1e9 / (double)ns;
}

static double
greater(double left, double right)
{
    return left > right ? left : right;
}

/* The samples after `first`, up to and with `last`, as one point. */
static void
point_add(struct giga_points *points, const struct giga_series *series, uint32_t first,
          uint32_t last)
{
    const struct giga_sample *from = &series->samples[first];
    const struct giga_sample *to = &series->samples[last];
    uint32_t i = points->count++;
    double p50 = 0;
    uint32_t with_commits = 0;

    points->t[i] = (double)to->ns / 1e9;
    points->objects[i] = (double)to->work;
    points->objects_per_second[i] = rate(to->work, from->work, to->ns - from->ns);
    points->device_bytes_per_second[i] =
        rate(to->device_bytes, from->device_bytes, to->ns - from->ns);
    points->used_bytes[i] = (double)to->used_bytes;
    points->log_bytes[i] = (double)to->log_since_bytes;
    for (uint32_t k = first + 1; k <= last; k++) {
        const struct giga_sample *at = &series->samples[k];

        points->dirty_bytes[i] = greater(points->dirty_bytes[i], (double)at->dirty_bytes);
        points->p99_us[i] = greater(points->p99_us[i], (double)at->commit_p99_ns / 1e3);
        points->max_us[i] = greater(points->max_us[i], (double)at->commit_max_ns / 1e3);
        if (at->commit_max_ns != 0) {
            p50 += (double)at->commit_p50_ns / 1e3;
            with_commits++;
        }
    }
    points->p50_us[i] = with_commits == 0 ? 0 : p50 / with_commits;
}

void
giga_points_make(struct giga_points *points, const struct giga_series *series)
{
    uint32_t count = series->sample_count;
    uint64_t start_ns;
    uint64_t step_ns;
    uint32_t first = 0;

    memset(points, 0, sizeof(*points));
    if (count < 2)
        return;
    start_ns = series->samples[0].ns;
    step_ns = (series->samples[count - 1].ns - start_ns) / (GIGA_POINTS_MAX - 1) + 1;
    if (step_ns < 50000000)
        step_ns = 50000000; /* shorter steps show the sampling, not the engine */
    for (uint32_t i = 1; i < count && points->count < GIGA_POINTS_MAX; i++) {
        if (series->samples[i].ns - series->samples[first].ns < step_ns && i + 1 < count)
            continue;
        point_add(points, series, first, i);
        first = i;
    }
    points->seconds = (double)series->samples[count - 1].ns / 1e9;
}
