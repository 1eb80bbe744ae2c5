/* SPDX-License-Identifier: Apache-2.0 */
/* gigatest/giga_points.h -- the series as plots want it: a bounded number of equal steps. */
#ifndef GIGATEST_GIGA_POINTS_H
#define GIGATEST_GIGA_POINTS_H

#include "gigatest/giga_series.h"

#define GIGA_POINTS_MAX 400u

struct giga_points {
    uint32_t count;
    double seconds;                  /* the end of the time axis, and of the last point */
    double t[GIGA_POINTS_MAX];       /* seconds since the start, of the point's end */
    double objects[GIGA_POINTS_MAX]; /* so far */
    double objects_per_second[GIGA_POINTS_MAX];
    double device_bytes_per_second[GIGA_POINTS_MAX];
    double dirty_bytes[GIGA_POINTS_MAX]; /* the most in the step */
    double used_bytes[GIGA_POINTS_MAX];
    double log_bytes[GIGA_POINTS_MAX]; /* to replay after a crash */
    double p50_us[GIGA_POINTS_MAX], p99_us[GIGA_POINTS_MAX], max_us[GIGA_POINTS_MAX];
};

void giga_points_make(struct giga_points *points, const struct giga_series *series);

#endif
