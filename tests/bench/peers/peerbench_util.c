/* SPDX-License-Identifier: Apache-2.0 */
/* peerbench_util.c -- clock, numbers, keys and values, histogram. */
#include "peerbench.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define GOLDEN 0x9e3779b97f4a7c15ull

uint64_t
pb_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

double
pb_seconds_since(uint64_t start_ns)
{
    return (double)(pb_now_ns() - start_ns) / 1e9;
}

uint64_t
pb_mix(uint64_t x)
{
    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9ull;
    x ^= x >> 27;
    x *= 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

uint64_t
pb_rng_next(struct pb_rng *rng)
{
    rng->state += GOLDEN;
    return pb_mix(rng->state);
}

/* Lemire's multiplication: the bias is below bound / 2^64. */
uint64_t
pb_rng_below(struct pb_rng *rng, uint64_t bound)
{
    return (uint64_t)(((unsigned __int128)pb_rng_next(rng) * bound) >> 64);
}

static void
put_be64(uint8_t *at, uint64_t x)
{
    uint64_t big = __builtin_bswap64(x);

    memcpy(at, &big, sizeof big);
}

void
pb_key_make(uint8_t *key, uint64_t i, enum pb_order order, uint64_t seed)
{
    uint64_t x = order == PB_ASCENDING ? i : pb_mix(i + pb_mix(seed));

    put_be64(key, x);
    put_be64(key + 8, pb_mix(x ^ GOLDEN));
}

void
pb_value_make(uint8_t *value, uint64_t i, uint64_t version)
{
    uint64_t word = pb_mix(i * GOLDEN + version);

    memcpy(value, &i, 8);
    memcpy(value + 8, &version, 8);
    for (size_t at = 16; at + 8 <= PB_VALUE_BYTES; at += 8) {
        word += GOLDEN;
        memcpy(value + at, &word, 8);
    }
    memcpy(value + PB_VALUE_BYTES - 4, &word, 4);
}

bool
pb_value_check(struct peer_slice value, uint64_t *i_out, uint64_t *version_out)
{
    uint8_t expected[PB_VALUE_BYTES];

    if (value.size != PB_VALUE_BYTES)
        return false;
    memcpy(i_out, value.data, 8);
    memcpy(version_out, (const uint8_t *)value.data + 8, 8);
    pb_value_make(expected, *i_out, *version_out);
    return memcmp(expected, value.data, PB_VALUE_BYTES) == 0;
}

/* ---- histogram ------------------------------------------------------------------------------- */

static unsigned
bucket_of(uint64_t ns)
{
    unsigned shift;

    if (ns < 2 * PB_HIST_SUB)
        return (unsigned)ns;
    shift = 63u - (unsigned)__builtin_clzll(ns) - 6;
    return shift * PB_HIST_SUB + (unsigned)(ns >> shift);
}

/* The highest value that falls into the bucket. */
static uint64_t
bucket_top(unsigned bucket)
{
    unsigned shift;

    if (bucket < 2 * PB_HIST_SUB)
        return bucket;
    shift = bucket / PB_HIST_SUB - 1;
    return ((uint64_t)(bucket - shift * PB_HIST_SUB + 1) << shift) - 1;
}

void
pb_hist_add(struct pb_hist *hist, uint64_t ns)
{
    hist->buckets[bucket_of(ns)]++;
    hist->count++;
    if (ns > hist->max_ns)
        hist->max_ns = ns;
}

void
pb_hist_merge(struct pb_hist *into, const struct pb_hist *from)
{
    for (unsigned i = 0; i < PB_HIST_BUCKETS; i++)
        into->buckets[i] += from->buckets[i];
    into->count += from->count;
    if (from->max_ns > into->max_ns)
        into->max_ns = from->max_ns;
}

uint64_t
pb_hist_at(const struct pb_hist *hist, double fraction)
{
    uint64_t want = (uint64_t)ceil(fraction * (double)hist->count);
    uint64_t below = 0;

    for (unsigned i = 0; i < PB_HIST_BUCKETS; i++) {
        below += hist->buckets[i];
        if (below >= want && below > 0)
            return bucket_top(i) < hist->max_ns ? bucket_top(i) : hist->max_ns;
    }
    return hist->max_ns;
}

void
pb_hist_metrics(struct pb_ctx *ctx, const struct pb_hist *hist, const char *prefix, bool primary)
{
    static const struct {
        const char *name;
        double fraction;
        bool chart;
    } points[] = {{"p50", 0.5, true}, {"p99", 0.99, false}, {"p999", 0.999, true}};
    char name[28];

    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
        snprintf(name, sizeof name, "%s%s", prefix, points[i].name);
        pb_metric(ctx, name, "us", (double)pb_hist_at(hist, points[i].fraction) / 1e3, PB_LOWER,
                  primary && points[i].chart);
    }
    snprintf(name, sizeof name, "%smax", prefix);
    pb_metric(ctx, name, "us", (double)hist->max_ns / 1e3, PB_LOWER, false);
}

/* ---- numbers as text ------------------------------------------------------------------------- */

static bool
parse_scaled(const char *text, double kilo, uint64_t *number_out)
{
    static const char letters[] = "kmgt";
    char *end;
    double number = strtod(text, &end);
    const char *letter = strchr(letters, *end | 32);

    if (end == text || !(number >= 0) || number > 9e18)
        return false;
    if (*end != '\0') {
        if (letter == NULL || end[1] != '\0')
            return false;
        for (const char *at = letters; at <= letter; at++)
            number *= kilo;
    }
    *number_out = (uint64_t)number;
    return number < 9e18;
}

bool
pb_parse_count(const char *text, uint64_t *count_out)
{
    return parse_scaled(text, 1000, count_out);
}

bool
pb_parse_bytes(const char *text, uint64_t *bytes_out)
{
    return parse_scaled(text, 1024, bytes_out);
}

void
pb_format(char *text, size_t text_size, double value, const char *unit)
{
    static const char letters[] = " kMGTP";
    unsigned step = 0;
    double kilo = strcmp(unit, "B") == 0 ? 1024 : 1000;
    bool scaled = strcmp(unit, "B") == 0 || strcmp(unit, "/s") == 0 || unit[0] == '\0';

    while (scaled && value >= kilo * 9.995 / 10 && step + 1 < sizeof letters - 1) {
        value /= kilo;
        step++;
    }
    if (step > 0)
        snprintf(text, text_size, "%.*f%c",
                 value < 9.995   ? 2
                 : value < 99.95 ? 1
                                 : 0,
                 value, letters[step]);
    else if (scaled && value == floor(value))
        snprintf(text, text_size, "%.0f", value);
    else
        snprintf(text, text_size, "%.*f",
                 value < 0.1     ? 4
                 : value < 9.995 ? 2
                 : value < 99.95 ? 1
                                 : 0,
                 value);
}

/* ---- results --------------------------------------------------------------------------------- */

void
pb_metric(struct pb_ctx *ctx, const char *name, const char *unit, double value, int better,
          bool primary)
{
    struct pb_result *result = ctx->result;
    struct pb_metric *metric;

    if (result->metric_count == PB_METRICS_MAX) {
        result->status = PB_FAILED;
        snprintf(result->note, sizeof result->note, "more than %d metrics", PB_METRICS_MAX);
        return;
    }
    metric = &result->metrics[result->metric_count++];
    snprintf(metric->name, sizeof metric->name, "%s", name);
    snprintf(metric->unit, sizeof metric->unit, "%s", unit);
    metric->value = value;
    metric->better = better;
    metric->primary = primary;
}

void
pb_note(struct pb_ctx *ctx, const char *format, ...)
{
    size_t used = strlen(ctx->result->note);
    va_list args;

    if (used > 0 && used + 3 < sizeof ctx->result->note) {
        strcpy(ctx->result->note + used, "; ");
        used += 2;
    }
    va_start(args, format);
    vsnprintf(ctx->result->note + used, sizeof ctx->result->note - used, format, args);
    va_end(args);
}
