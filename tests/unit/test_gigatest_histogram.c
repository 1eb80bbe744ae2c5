/* SPDX-License-Identifier: Apache-2.0 */
/* gigatest: percentiles from log-linear buckets. */
#include <stdlib.h>
#include <string.h>

#include "gigatest/giga_histogram.h"
#include "tests/support/test.h"

static int
compare(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left;
    uint64_t b = *(const uint64_t *)right;

    return a < b ? -1 : a > b;
}

static void
buckets_tile_all_values(void)
{
    uint64_t last = 0;

    CHECK_EQ(giga_histogram_bucket(0), 0);
    for (uint32_t i = 1; i < GIGA_HISTOGRAM_BUCKETS; i++) {
        uint64_t top = giga_histogram_bucket_top(i);

        CHECK_EQ(giga_histogram_bucket(last + 1), i);
        CHECK_EQ(giga_histogram_bucket(top), i);
        CHECK((double)(top - last - 1) <= (double)top / 32);
        last = top;
    }
    CHECK_EQ(giga_histogram_bucket(UINT64_MAX), GIGA_HISTOGRAM_BUCKETS - 1);
}

static void
percentiles_are_within_a_thirtysecond(void)
{
    static struct giga_histogram histogram;
    static struct giga_histogram_copy copy;
    static const double shares[] = {0.01, 0.5, 0.9, 0.99, 0.999, 1.0};
    enum { COUNT = 20000 };
    struct ftk_random random = test_random();
    uint64_t *values = malloc(COUNT * sizeof(*values));

    REQUIRE(values != NULL);
    memset(&histogram, 0, sizeof(histogram));
    for (size_t i = 0; i < COUNT; i++) {
        values[i] = ftk_random_next(&random) >> (24 + ftk_random_below(&random, 40));
        giga_histogram_add(&histogram, values[i]);
    }
    qsort(values, COUNT, sizeof(*values), compare);
    giga_histogram_copy(&histogram, &copy);
    CHECK_EQ(copy.count, COUNT);
    CHECK_EQ(copy.max, values[COUNT - 1]);
    for (size_t i = 0; i < sizeof(shares) / sizeof(*shares); i++) {
        uint64_t exact = values[(size_t)(shares[i] * COUNT + 0.5) - 1];
        uint64_t told = giga_histogram_percentile(&copy, shares[i]);

        CHECK_MSG(told >= exact && (double)told <= (double)exact * 33 / 32 + 1,
                  "share %g: %llu told, %llu exact", shares[i], (unsigned long long)told,
                  (unsigned long long)exact);
    }
    free(values);
}

static void
nothing_counted_gives_zero(void)
{
    static struct giga_histogram histogram;
    static struct giga_histogram_copy copy;

    memset(&histogram, 0, sizeof(histogram));
    giga_histogram_copy(&histogram, &copy);
    CHECK_EQ(giga_histogram_percentile(&copy, 0.5), 0);
    CHECK_EQ(giga_histogram_percentile(&copy, 1.0), 0);
}

static void
a_difference_knows_only_the_new(void)
{
    static struct giga_histogram histogram;
    static struct giga_histogram_copy older;
    static struct giga_histogram_copy newer;

    memset(&histogram, 0, sizeof(histogram));
    giga_histogram_add(&histogram, 1000000);
    giga_histogram_copy(&histogram, &older);
    for (int i = 0; i < 100; i++)
        giga_histogram_add(&histogram, 200);
    giga_histogram_copy(&histogram, &newer);
    giga_histogram_since(&newer, &older);
    CHECK_EQ(newer.count, 100);
    CHECK(newer.max >= 200 && newer.max < 210);
    CHECK(giga_histogram_percentile(&newer, 1.0) < 210);
}

TEST_MAIN("gigatest_histogram", TEST(buckets_tile_all_values),
          TEST(percentiles_are_within_a_thirtysecond), TEST(nothing_counted_gives_zero),
          TEST(a_difference_knows_only_the_new))
