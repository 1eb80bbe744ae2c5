/* SPDX-License-Identifier: Apache-2.0 */
/* gigatest/giga_histogram.h -- latencies in log-linear buckets, as HdrHistogram does. */
#ifndef GIGATEST_GIGA_HISTOGRAM_H
#define GIGATEST_GIGA_HISTOGRAM_H

#include <stdatomic.h>
#include <stdint.h>

/* 32 buckets for each power of two: a value is known within 1/32.  Up to 2^40 ns = 18 minutes. */
#define GIGA_HISTOGRAM_BITS 5
#define GIGA_HISTOGRAM_TOP 40
#define GIGA_HISTOGRAM_BUCKETS                                                                     \
    ((GIGA_HISTOGRAM_TOP - GIGA_HISTOGRAM_BITS + 1) << GIGA_HISTOGRAM_BITS)

/* Written by any number of threads, read by others at any time. */
struct giga_histogram {
    _Atomic uint64_t buckets[GIGA_HISTOGRAM_BUCKETS];
    _Atomic uint64_t count, sum, max;
};

/* A copy at rest. */
struct giga_histogram_copy {
    uint64_t buckets[GIGA_HISTOGRAM_BUCKETS];
    uint64_t count, sum, max;
};

void giga_histogram_add(struct giga_histogram *histogram, uint64_t value);
void giga_histogram_copy(const struct giga_histogram *histogram, struct giga_histogram_copy *copy);
/* newer := newer - older; max becomes the top of the highest bucket in use. */
void giga_histogram_since(struct giga_histogram_copy *newer,
                          const struct giga_histogram_copy *older);
/* The value that `share` (0..1) of all values do not exceed, to the bucket's upper end; 0 when
 * there is none. */
uint64_t giga_histogram_percentile(const struct giga_histogram_copy *copy, double share);

uint32_t giga_histogram_bucket(uint64_t value);
uint64_t giga_histogram_bucket_top(uint32_t bucket); /* the greatest value in it */

#endif
