/* SPDX-License-Identifier: Apache-2.0 */
/* gigatest: the run over time, in bounded memory, and as plots want it. */
#include <string.h>

#include "gigatest/giga_points.h"
#include "tests/support/test.h"

static struct giga_series series;
static struct giga_points points;

/* Samples as often as they are due, for `seconds`, of a load at a steady rate. */
static void
load_steadily(double seconds, uint64_t per_second)
{
    uint64_t end_ns = (uint64_t)(seconds * 1e9);

    giga_series_init(&series);
    for (uint64_t ns = 0; ns <= end_ns; ns += 10000000) {
        struct giga_sample sample = {.ns = ns, .work = ns / 1000 * per_second / 1000000};

        sample.device_bytes = sample.work * 30;
        sample.dirty_bytes = ns == 5000000000u ? 1000 : 10;
        sample.commit_p50_ns = 100000;
        sample.commit_p99_ns = 200000;
        sample.commit_max_ns = ns == 3000000000u ? 9000000 : 300000;
        if (giga_series_due(&series, ns))
            giga_series_add(&series, &sample);
    }
}

static void
memory_is_bounded_and_time_is_kept(void)
{
    load_steadily(1000, 1000000);
    CHECK(series.sample_count <= GIGA_SAMPLES_MAX);
    CHECK(series.sample_count >= GIGA_SAMPLES_MAX / 2 - 2);
    CHECK_EQ(series.samples[0].ns, 0);
    CHECK(series.samples[series.sample_count - 1].ns >= 999000000000u);
    for (uint32_t i = 1; i < series.sample_count; i++)
        REQUIRE(series.samples[i].ns > series.samples[i - 1].ns);
}

static void
rates_survive_the_merging(void)
{
    load_steadily(300, 1234567);
    giga_points_make(&points, &series);
    CHECK(points.count > 100 && points.count <= GIGA_POINTS_MAX);
    for (uint32_t i = 0; i < points.count; i++) {
        CHECK(points.objects_per_second[i] > 1234000 && points.objects_per_second[i] < 1235000);
        CHECK(points.device_bytes_per_second[i] > 37.0e6 &&
              points.device_bytes_per_second[i] < 37.1e6);
    }
}

static void
the_worst_moment_survives_the_merging(void)
{
    double dirty = 0;
    double max = 0;

    load_steadily(600, 1000);
    giga_points_make(&points, &series);
    for (uint32_t i = 0; i < points.count; i++) {
        dirty = points.dirty_bytes[i] > dirty ? points.dirty_bytes[i] : dirty;
        max = points.max_us[i] > max ? points.max_us[i] : max;
    }
    CHECK_EQ(dirty, 1000);
    CHECK_EQ(max, 9000);
}

static void
too_few_samples_make_no_points(void)
{
    struct giga_sample sample = {.ns = 1};

    giga_series_init(&series);
    giga_points_make(&points, &series);
    CHECK_EQ(points.count, 0);
    giga_series_add(&series, &sample);
    giga_points_make(&points, &series);
    CHECK_EQ(points.count, 0);
    CHECK(giga_series_ago(&series, 1) == NULL);
}

static void
look(uint64_t ms, uint64_t checkpoints, uint32_t state)
{
    kiln_stat stat = {
        .checkpoints = checkpoints, .checkpoint_state = state, .checkpoint_last_total_ns = 4000000};

    giga_series_checkpoint(&series, ms * 1000000, &stat);
}

static void
checkpoints_become_spans(void)
{
    giga_series_init(&series);
    look(10, 0, KILN_CHECKPOINT_IDLE);
    look(20, 0, KILN_CHECKPOINT_WRITING);
    look(30, 0, KILN_CHECKPOINT_SYNCING);
    look(40, 0, KILN_CHECKPOINT_HEADER);
    look(50, 1, KILN_CHECKPOINT_IDLE);
    REQUIRE_EQ(series.checkpoint_count, 1);
    CHECK_EQ(series.checkpoints[0].start_ns, 20000000);
    CHECK_EQ(series.checkpoints[0].sync_ns, 30000000);
    CHECK_EQ(series.checkpoints[0].end_ns, 50000000);
}

static void
a_checkpoint_between_two_looks_is_seen(void)
{
    giga_series_init(&series);
    look(10, 0, KILN_CHECKPOINT_IDLE);
    look(20, 1, KILN_CHECKPOINT_IDLE);
    REQUIRE_EQ(series.checkpoint_count, 1);
    CHECK_EQ(series.checkpoints[0].start_ns, 16000000);
    CHECK_EQ(series.checkpoints[0].end_ns, 20000000);
    look(30, 1, KILN_CHECKPOINT_WRITING);
    look(40, 2, KILN_CHECKPOINT_WRITING);
    CHECK_EQ(series.checkpoint_count, 3);
    CHECK_EQ(series.checkpoints[2].end_ns, 0);
}

static void
writing_and_syncing_are_told_apart(void)
{
    kiln_stat stat = {.size = sizeof(stat),
                      .checkpoints = 1,
                      .checkpoint_last_total_ns = 4000000,
                      .checkpoint_last_ns = 1000000};

    giga_series_init(&series);
    CHECK(giga_series_sync_seconds(&series, &stat) > 0.00299); /* nobody looked: the last counts */
    giga_series_checkpoint(&series, 20000000, &stat);          /* it was between two looks */
    REQUIRE_EQ(series.checkpoint_count, 1);
    CHECK_EQ(series.checkpoints[0].start_ns, 16000000);
    CHECK_EQ(series.checkpoints[0].sync_ns, 17000000);
    CHECK_EQ(series.checkpoints[0].end_ns, 20000000);
    CHECK(giga_series_sync_seconds(&series, &stat) > 0.00299);
    CHECK(giga_series_sync_seconds(&series, &stat) < 0.00301);
    stat.checkpoint_last_ns = UINT64_MAX; /* nonsense does no harm */
    stat.checkpoints = 2;
    giga_series_checkpoint(&series, 30000000, &stat);
    CHECK_EQ(series.checkpoints[1].sync_ns, 30000000);
}

static void
many_checkpoints_fill_nothing_over(void)
{
    giga_series_init(&series);
    for (uint64_t i = 1; i < 3 * GIGA_CHECKPOINTS_MAX; i++)
        look(i, i, KILN_CHECKPOINT_IDLE);
    CHECK_EQ(series.checkpoint_count, GIGA_CHECKPOINTS_MAX);
    for (uint32_t i = 0; i < 1000; i++)
        giga_series_stage(&series, i, i % 2 ? GIGA_STAGE_LOAD : GIGA_STAGE_UPDATE);
    CHECK_EQ(series.stage_count, GIGA_STAGES_MAX);
}

TEST_MAIN("gigatest_series", TEST(memory_is_bounded_and_time_is_kept),
          TEST(rates_survive_the_merging), TEST(the_worst_moment_survives_the_merging),
          TEST(too_few_samples_make_no_points), TEST(checkpoints_become_spans),
          TEST(a_checkpoint_between_two_looks_is_seen), TEST(writing_and_syncing_are_told_apart),
          TEST(many_checkpoints_fill_nothing_over))
