/* SPDX-License-Identifier: Apache-2.0 */
/* peerbench_selftest.c -- checks of the measuring tools themselves, canaries included. */
#include "peerbench.h"

#include <stdlib.h>
#include <string.h>

static int failures;

static void
expect(bool truth, const char *what)
{
    if (truth)
        return;
    fprintf(stderr, "selftest: %s: FAILED\n", what);
    failures++;
}

static int
compare_u64(const void *a, const void *b)
{
    uint64_t left, right;

    memcpy(&left, a, sizeof left);
    memcpy(&right, b, sizeof right);
    return (left > right) - (left < right);
}

static void
keys_are_a_permutation(void)
{
    enum { COUNT = 100000 };
    uint64_t *seen = malloc(COUNT * sizeof *seen);
    uint64_t rising = 0;
    uint8_t key[PB_KEY_BYTES];
    bool distinct = true;

    if (seen == NULL)
        abort();
    for (uint64_t i = 0; i < COUNT; i++) {
        pb_key_make(key, i, PB_RANDOM, 7);
        memcpy(&seen[i], key, 8);
        seen[i] = __builtin_bswap64(seen[i]);
        rising += i > 0 && seen[i] > seen[i - 1];
    }
    expect(rising > COUNT / 2 - COUNT / 50 && rising < COUNT / 2 + COUNT / 50,
           "random keys rise and fall alike");
    qsort(seen, COUNT, sizeof *seen, compare_u64);
    for (uint64_t i = 1; i < COUNT; i++)
        distinct = distinct && seen[i] != seen[i - 1];
    expect(distinct, "random keys are distinct");
    free(seen);
}

static void
ascending_keys_ascend(void)
{
    uint8_t last[PB_KEY_BYTES], key[PB_KEY_BYTES];
    bool ascending = true;

    pb_key_make(last, 0, PB_ASCENDING, 7);
    for (uint64_t i = 1; i < 70000; i++) {
        pb_key_make(key, i, PB_ASCENDING, 7);
        ascending = ascending && memcmp(last, key, sizeof key) < 0;
        memcpy(last, key, sizeof key);
    }
    expect(ascending, "ascending keys ascend");
}

/* The canary: every single changed byte of a value must be noticed. */
static void
changed_values_are_noticed(void)
{
    uint8_t value[PB_VALUE_BYTES];
    struct peer_slice slice = {value, sizeof value};
    uint64_t i, version;

    pb_value_make(value, 12345, 3);
    expect(pb_value_check(slice, &i, &version) && i == 12345 && version == 3,
           "a good value passes");
    for (size_t at = 0; at < sizeof value; at++) {
        value[at] ^= 1;
        expect(!pb_value_check(slice, &i, &version), "a changed byte is noticed");
        value[at] ^= 1;
    }
    slice.size--;
    expect(!pb_value_check(slice, &i, &version), "a short value is noticed");
}

static void
wrong_scans_are_noticed(void)
{
    uint8_t key[PB_KEY_BYTES], value[PB_VALUE_BYTES];
    struct peer_slice k = {key, sizeof key}, v = {value, sizeof value};
    struct pb_visitor visitor = {.order = PB_ASCENDING, .ordered = true};

    pb_key_make(key, 5, PB_ASCENDING, 0);
    pb_value_make(value, 5, 0);
    (void)pb_visit(&visitor, k, v);
    expect(visitor.bad == 0 && visitor.count == 1 && visitor.sum == 5, "a good record passes");
    (void)pb_visit(&visitor, k, v);
    expect(visitor.bad == 1, "a repeated key is noticed");
    pb_key_make(key, 6, PB_ASCENDING, 0);
    (void)pb_visit(&visitor, k, v);
    expect(visitor.bad == 2, "another record's value is noticed");
}

static void
percentiles_are_right(void)
{
    struct pb_hist *hist = calloc(1, sizeof *hist);
    double p50, p999;

    if (hist == NULL)
        abort();
    for (uint64_t i = 1; i <= 1000000; i++)
        pb_hist_add(hist, i);
    p50 = (double)pb_hist_at(hist, 0.5);
    p999 = (double)pb_hist_at(hist, 0.999);
    expect(p50 > 495000 && p50 < 510000, "the median of 1..10^6");
    expect(p999 > 990000 && p999 <= 1000000, "the 99.9th percentile of 1..10^6");
    expect(pb_hist_at(hist, 1.0) == 1000000, "the maximum of 1..10^6");
    pb_hist_add(hist, UINT64_MAX);
    expect(hist->max_ns == UINT64_MAX, "the largest number has a bucket");
    free(hist);
}

static void
numbers_are_parsed(void)
{
    uint64_t number = 0;

    expect(pb_parse_count("10m", &number) && number == 10000000, "10m");
    expect(pb_parse_count("1.5k", &number) && number == 1500, "1.5k");
    expect(pb_parse_bytes("4G", &number) && number == (uint64_t)4 << 30, "4G");
    expect(!pb_parse_count("", &number), "nothing is no number");
    expect(!pb_parse_count("10x", &number), "10x is no number");
    expect(!pb_parse_count("-1", &number), "-1 is no count");
    expect(!pb_parse_count("9e30", &number), "9e30 is too much");
}

/* What the program itself costs for each record, in every engine's time. */
static void
own_cost_print(void)
{
    enum { COUNT = 2000000 };
    uint8_t key[PB_KEY_BYTES], value[PB_VALUE_BYTES];
    uint64_t start = pb_now_ns(), i_out, version, sum = 0;
    double make_ns, check_ns;

    for (uint64_t i = 0; i < COUNT; i++) {
        pb_key_make(key, i, PB_RANDOM, 7);
        pb_value_make(value, i, 0);
        sum += value[20] + key[3];
    }
    make_ns = pb_seconds_since(start) * 1e9 / COUNT;
    start = pb_now_ns();
    for (uint64_t i = 0; i < COUNT; i++)
        sum += pb_value_check((struct peer_slice){value, sizeof value}, &i_out, &version);
    check_ns = pb_seconds_since(start) * 1e9 / COUNT;
    printf("selftest: making a record takes %.0f ns, checking one %.0f ns (%u)\n", make_ns,
           check_ns, (unsigned)(sum & 1));
}

int
pb_selftest(void)
{
    keys_are_a_permutation();
    ascending_keys_ascend();
    changed_values_are_noticed();
    wrong_scans_are_noticed();
    percentiles_are_right();
    numbers_are_parsed();
    own_cost_print();
    printf("selftest: %s\n", failures == 0 ? "passed" : "FAILED");
    return failures == 0 ? 0 : 1;
}
