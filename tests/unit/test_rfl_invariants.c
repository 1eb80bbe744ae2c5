/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_rfl_invariants.c -- rfl__check notices each field that is not what it must be. */
#include "tests/unit/rfl_testing.h"

static struct rfl_log *rfl;

static void
gap(void *context)
{
    (void)context;
    rfl->oldest->next->number += 1;
    (void)rfl__check(rfl);
}

static void
segment_of_no_block(void *context)
{
    (void)context;
    rfl->oldest->bytes += 8;
    (void)rfl__check(rfl);
}

static void
written_without_a_file(void *context)
{
    (void)context;
    for (struct rfl__segment *s = rfl->oldest; s != NULL; s = s->next)
        if (s->file == NULL)
            s->dirty = true;
    (void)rfl__check(rfl);
}

static void
spares_miscounted(void *context)
{
    (void)context;
    rfl->spare_count++;
    (void)rfl__check(rfl);
}

static void
durable_before_written(void *context)
{
    (void)context;
    rfl->lsn_durable = rfl->lsn_end + 8;
    (void)rfl__check(rfl);
}

static void
buffer_behind_the_log(void *context)
{
    (void)context;
    rfl->buffers[rfl->active].used -= 8;
    (void)rfl__check(rfl);
}

static void
waiter_without_a_leader(void *context)
{
    struct rfl__waiter waiter = {.lsn_end = rfl->lsn_end};

    (void)context;
    rfl->waiters_first = rfl->waiters_last = &waiter;
    rfl->waiter_count = 1;
    (void)rfl__check(rfl);
}

static void
failed_without_words(void *context)
{
    (void)context;
    rfl->failed = true;
    (void)rfl__check(rfl);
}

static void
a_broken_log_dies(void)
{
    struct simdisk *disk = simdisk_new(NULL);
    struct rfl_options options = testing_options(simdisk_disk(disk), "/log");
    uint64_t lsn_end = 0;

    REQUIRE_OK(rfl_open(&options, true, 0, &rfl));
    for (uint64_t i = 0; i < 3 * RFL_SEGMENT_BYTES_MIN / 10000; i++)
        REQUIRE_OK(testing_append(rfl, i, 10000, &lsn_end));
    REQUIRE_OK(rfl_commit(rfl, lsn_end, RFL_FULL));
    REQUIRE_OK(testing_append(rfl, 1, 100, &lsn_end));
    CHECK_DIES(gap, NULL, "s->number == last->number + 1");
    CHECK_DIES(segment_of_no_block, NULL, "s->bytes % RFL_BLOCK == 0");
    CHECK_DIES(written_without_a_file, NULL, "!s->dirty || s->file != NULL");
    CHECK_DIES(spares_miscounted, NULL, "count == log->spare_count");
    CHECK_DIES(durable_before_written, NULL, "durable <= written");
    CHECK_DIES(buffer_behind_the_log, NULL, "buffer->lsn_end == end");
    CHECK_DIES(waiter_without_a_leader, NULL, "count == 0 || log->syncing");
    CHECK_DIES(failed_without_words, NULL, "log->error.status != FTK_OK");
    testing_check_log(rfl); /* all of it was the children's */
    REQUIRE_OK(rfl_close(rfl));
    simdisk_free(disk);
}

TEST_MAIN("rfl_invariants", TEST(a_broken_log_dies))
