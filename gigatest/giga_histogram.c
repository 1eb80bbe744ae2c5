/* SPDX-License-Identifier: Apache-2.0 */
/* gigatest/giga_histogram.c -- see giga_histogram.h. */
#include "gigatest/giga_histogram.h"

#include <math.h>

#define LINEAR (1u << GIGA_HISTOGRAM_BITS)

uint32_t
giga_histogram_bucket(uint64_t value)
{
    uint32_t power;

    if (value < LINEAR)
        return (uint32_t)value;
    power = 63u - (uint32_t)__builtin_clzll(value);
    if (power >= GIGA_HISTOGRAM_TOP)
        return GIGA_HISTOGRAM_BUCKETS - 1;
    return ((power - GIGA_HISTOGRAM_BITS + 1) << GIGA_HISTOGRAM_BITS) +
           (uint32_t)((value >> (power - GIGA_HISTOGRAM_BITS)) & (LINEAR - 1));
}

uint64_t
giga_histogram_bucket_top(uint32_t bucket)
{
    uint32_t range = bucket >> GIGA_HISTOGRAM_BITS;
    uint64_t step = bucket & (LINEAR - 1);

    if (range == 0)
        return step;
    return ((LINEAR + step + 1) << (range - 1)) - 1;
}

void
giga_histogram_add(struct giga_histogram *histogram, uint64_t value)
{
    uint64_t max = atomic_load_explicit(&histogram->max, memory_order_relaxed);

    atomic_fetch_add_explicit(&histogram->buckets[giga_histogram_bucket(value)], 1,
                              memory_order_relaxed);
    atomic_fetch_add_explicit(&histogram->sum, value, memory_order_relaxed);
    while (value > max && !atomic_compare_exchange_weak(&histogram->max, &max, value))
        continue;
    atomic_fetch_add_explicit(&histogram->count, 1, memory_order_relaxed);
}

void
giga_histogram_copy(const struct giga_histogram *histogram, struct giga_histogram_copy *copy)
{
    copy->count = 0;
    for (uint32_t i = 0; i < GIGA_HISTOGRAM_BUCKETS; i++) {
        copy->buckets[i] = atomic_load_explicit(&histogram->buckets[i], memory_order_relaxed);
        copy->count += copy->buckets[i];
    }
    copy->sum = atomic_load_explicit(&histogram->sum, memory_order_relaxed);
    copy->max = atomic_load_explicit(&histogram->max, memory_order_relaxed);
}

void
giga_histogram_since(struct giga_histogram_copy *newer, const struct giga_histogram_copy *older)
{
    uint64_t max_ever = newer->max;

    newer->count -= older->count;
    newer->sum -= older->sum;
    newer->max = 0;
    for (uint32_t i = 0; i < GIGA_HISTOGRAM_BUCKETS; i++) {
        newer->buckets[i] -= older->buckets[i];
        if (newer->buckets[i] != 0)
            newer->max = giga_histogram_bucket_top(i);
    }
    if (newer->max > max_ever)
        newer->max = max_ever;
}

uint64_t
giga_histogram_percentile(const struct giga_histogram_copy *copy, double share)
{
    double exact = ceil(share * (double)copy->count);
    uint64_t rank = exact < 1 ? 1 : (uint64_t)exact;
    uint64_t seen = 0;

    for (uint32_t i = 0; i < GIGA_HISTOGRAM_BUCKETS && copy->count != 0; i++) {
        seen += copy->buckets[i];
        if (seen >= rank) {
            uint64_t top = giga_histogram_bucket_top(i);

            return top < copy->max ? top : copy->max;
        }
    }
    return 0;
}
