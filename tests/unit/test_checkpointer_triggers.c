/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_checkpointer_triggers.c -- what starts a checkpoint, who is served, failures. */
#include <errno.h>
#include <time.h>

#include "cache/checkpointer.h"
#include "tests/unit/test_cache_fixture.h"

#define PAGES 16384u

struct engine {
    struct fixture f;
    struct checkpointer *checkpointer;
    _Atomic uint64_t committed, pinned, durable; /* versions */
    _Atomic uint64_t begins, forced, ends, syncs;
    _Atomic uint32_t fail_sync, hold;
    _Atomic uint32_t short_of_memory; /* so many begins */
    _Atomic uint32_t fail_begin;      /* the status */
    _Atomic uint32_t end_status;
};

static ftk_status
hook_begin(void *context, bool forced, uint64_t *limit_out, bool *due_out)
{
    struct engine *e = context;

    atomic_fetch_add(&e->begins, 1);
    if (atomic_load(&e->short_of_memory) > 0) {
        atomic_fetch_sub(&e->short_of_memory, 1);
        return FTK_FAIL(FTK_NOMEM, "no room for the maps");
    }
    if (atomic_load(&e->fail_begin) != 0)
        return FTK_FAIL((ftk_status)atomic_load(&e->fail_begin), "a page cannot be read");
    if (forced)
        atomic_fetch_add(&e->forced, 1);
    *limit_out = atomic_load(&e->committed);
    *due_out = forced || *limit_out != atomic_load(&e->durable);
    atomic_store(&e->pinned, *limit_out);
    return FTK_OK;
}

static ftk_status
hook_sync(void *context)
{
    struct engine *e = context;

    while (atomic_load(&e->hold) != 0)
        ftk_clock_sleep_ns(100000);
    atomic_fetch_add(&e->syncs, 1);
    if (atomic_load(&e->fail_sync) == ENOMEM)
        return FTK_FAIL_OS(FTK_NOMEM, ENOMEM, "sync: the kernel has no memory");
    if (atomic_load(&e->fail_sync) != 0)
        return FTK_FAIL(FTK_IO, "the device is gone");
    return ftk_file_sync(e->f.file);
}

static ftk_status
hook_header(void *context)
{
    struct engine *e = context;
    atomic_store(&e->durable, atomic_load(&e->pinned));
    return FTK_OK;
}

static void
hook_end(void *context, ftk_status status)
{
    struct engine *e = context;
    atomic_fetch_add(&e->ends, 1);
    atomic_store(&e->end_status, (uint32_t)status);
}

static void
engine_open_on(struct engine *e, struct ftk_disk *disk, const char *path, bool thread,
               uint32_t interval_ms)
{
    struct checkpointer_hooks hooks = {.begin = hook_begin,
                                       .sync = hook_sync,
                                       .header = hook_header,
                                       .end = hook_end,
                                       .context = e};

    memset(e, 0, sizeof *e);
    fixture_open_on(&e->f, disk, path, PAGES);
    struct checkpointer_options options = {
        .cache = e->f.cache, .hooks = &hooks, .interval_ms = interval_ms, .thread = thread};
    REQUIRE_OK(checkpointer_open(&options, &e->checkpointer));
}

static void
engine_open(struct engine *e, bool thread, uint32_t interval_ms)
{
    engine_open_on(e, ftk_disk_native(), test_path("data"), thread, interval_ms);
}

static void
engine_close(struct engine *e)
{
    checkpointer_close(e->checkpointer);
    fixture_close(&e->f);
}

/* A transaction of `count` pages from `first`. */
static ftk_status
commit(struct engine *e, uint64_t first, uint64_t count)
{
    uint64_t version = atomic_load(&e->committed) + 1;
    ftk_status rc = cache_reserve(e->f.cache, count);

    if (rc != FTK_OK)
        return rc;
    for (uint64_t i = 0; i < count; i++)
        fixture_make(&e->f, first + i, version, version);
    cache_unreserve(e->f.cache);
    atomic_store(&e->committed, version);
    return checkpointer_throttle(e->checkpointer);
}

static bool
wait_for(_Atomic uint64_t *value, uint64_t wanted)
{
    for (unsigned i = 0; i < 5000 && atomic_load(value) < wanted; i++)
        ftk_clock_sleep_ns(1000000);
    return atomic_load(value) >= wanted;
}

static void
a_run_covers_what_is_committed(void)
{
    struct engine e;
    struct checkpointer_stats stats;

    REQUIRE_OK(cache_limit_set(64 * MIB));
    engine_open(&e, true, 0);
    REQUIRE_OK(commit(&e, 0, 100));
    REQUIRE_OK(checkpointer_run(e.checkpointer, false));
    CHECK_EQ(e.durable, 1);
    CHECK_EQ(cache_dirty_bytes(e.f.cache), 0);
    REQUIRE_OK(checkpointer_run(e.checkpointer, false)); /* nothing changed */
    CHECK_EQ(e.ends, 1);
    REQUIRE_OK(checkpointer_run(e.checkpointer, true));
    CHECK_EQ(e.ends, 2);
    CHECK_EQ(e.forced, 1);
    checkpointer_stats(e.checkpointer, &stats);
    CHECK_EQ(stats.checkpoints, 2);
    CHECK_EQ(stats.bytes, 100 * PAGE_BYTES);
    CHECK_EQ(stats.state, CHECKPOINTER_IDLE);
    engine_close(&e);
}

struct runner {
    struct engine *e;
    _Atomic uint64_t done;
};

static void
runner_run(void *context)
{
    struct runner *r = context;
    if (checkpointer_run(r->e->checkpointer, true) == FTK_OK)
        atomic_store(&r->done, 1);
}

static void
a_run_waits_for_one_that_began_later(void)
{
    struct engine e;
    struct runner runner = {.e = &e};
    struct ftk_thread thread;

    engine_open(&e, true, 0);
    REQUIRE_OK(commit(&e, 0, 10));
    atomic_store(&e.hold, 1);
    checkpointer_kick(e.checkpointer);
    REQUIRE(wait_for(&e.begins, 1));
    REQUIRE_OK(commit(&e, 10, 10)); /* too late for the one under way */
    REQUIRE_OK(ftk_thread_start(&thread, "runner", runner_run, &runner));
    ftk_clock_sleep_ns(30000000);
    CHECK_EQ(runner.done, 0);
    atomic_store(&e.hold, 0);
    ftk_thread_join(&thread);
    CHECK_EQ(runner.done, 1);
    CHECK_EQ(e.begins, 2);
    CHECK_EQ(e.durable, 2);
    engine_close(&e);
}

static void
time_and_dirt_start_one(void)
{
    struct engine e;

    engine_open(&e, true, 30);
    ftk_clock_sleep_ns(60000000);
    CHECK_EQ(e.begins, 0); /* nothing changed yet */
    REQUIRE_OK(commit(&e, 0, 10));
    CHECK(wait_for(&e.ends, 1));
    ftk_clock_sleep_ns(60000000);
    CHECK_EQ(e.begins, 1);
    engine_close(&e);

    REQUIRE_OK(cache_limit_set(8 * MIB)); /* the mark is 4 MiB: 1024 pages */
    engine_open(&e, true, 0);
    REQUIRE_OK(commit(&e, 0, 1000));
    ftk_clock_sleep_ns(20000000);
    CHECK_EQ(e.begins, 0);
    REQUIRE_OK(commit(&e, 1000, 30));
    CHECK(wait_for(&e.ends, 1));
    CHECK_EQ(cache_dirty_bytes(e.f.cache), 0);
    engine_close(&e);
}

static void
pressure_starts_one(void)
{
    struct engine e;
    struct checkpointer_stats stats;

    REQUIRE_OK(cache_limit_set(8 * MIB));
    engine_open(&e, true, 0);
    REQUIRE_OK(cache_reserve(e.f.cache, 1800));
    for (uint64_t i = 0; i < 1800; i++)
        fixture_make(&e.f, i, 1, 1);
    atomic_store(&e.committed, 1); /* nobody calls throttle */
    REQUIRE_OK(cache_reserve(e.f.cache, 1000));
    cache_unreserve(e.f.cache);
    checkpointer_stats(e.checkpointer, &stats);
    CHECK(e.begins >= 1);
    engine_close(&e);
}

static void
an_unfinished_transaction_does_not_spin(void)
{
    struct engine e;

    REQUIRE_OK(cache_limit_set(16 * MIB));
    engine_open(&e, true, 0);
    REQUIRE_OK(cache_reserve(e.f.cache, 3000));
    for (uint64_t i = 0; i < 3000; i++) {
        fixture_make(&e.f, i, 9, 9); /* not committed: no pass may write it */
        REQUIRE_OK(checkpointer_throttle(e.checkpointer));
        if (i % 50 == 0)
            ftk_clock_sleep_ns(100000);
    }
    CHECK(e.begins >= 1);
    CHECK_MSG(e.begins <= 12, "%llu", (unsigned long long)e.begins);
    engine_close(&e);
}

static void
the_first_error_is_final(void)
{
    struct engine e;

    engine_open(&e, true, 0);
    REQUIRE_OK(commit(&e, 0, 10));
    atomic_store(&e.fail_sync, 1);
    CHECK_STATUS(checkpointer_run(e.checkpointer, true), FTK_IO);
    CHECK_HAS(ftk_error_last()->text, "device is gone");
    CHECK_EQ(e.end_status, FTK_IO);
    CHECK_EQ(e.durable, 0);
    atomic_store(&e.fail_sync, 0);
    (void)FTK_FAIL(FTK_INVALID, "another error in between");
    CHECK_STATUS(checkpointer_run(e.checkpointer, true), FTK_IO);
    CHECK_HAS(ftk_error_last()->text, "device is gone");
    CHECK_STATUS(commit(&e, 10, 10), FTK_IO);
    CHECK_EQ(e.syncs, 1);
    engine_close(&e);
}

static void
a_shortage_of_memory_passes(void)
{
    struct engine e;

    for (unsigned thread = 0; thread < 2; thread++) {
        engine_open(&e, thread == 1, 0);
        REQUIRE_OK(commit(&e, 0, 10));
        atomic_store(&e.short_of_memory, 2);
        CHECK_STATUS(checkpointer_run(e.checkpointer, true), FTK_NOMEM);
        CHECK_HAS(ftk_error_last()->text, "no room for the maps");
        CHECK_STATUS(checkpointer_run(e.checkpointer, false), FTK_NOMEM);
        CHECK_EQ(e.ends, 0); /* nothing was begun */
        CHECK_EQ(e.durable, 0);
        CHECK_OK(commit(&e, 10, 10));
        CHECK_OK(checkpointer_run(e.checkpointer, true));
        CHECK_EQ(e.durable, 2);
        CHECK_EQ(e.ends, 1);
        engine_close(&e);
    }
}

/* Nothing was written: the next one may begin.  A database that has failed begins none. */
static void
what_keeps_one_from_beginning_passes(void)
{
    const ftk_status errors[] = {FTK_IO, FTK_CORRUPT, FTK_NOSPACE, FTK_FAILED};
    struct engine e;

    for (unsigned i = 0; i < 2 * sizeof errors / sizeof errors[0]; i++) {
        ftk_status error = errors[i / 2];
        engine_open(&e, i % 2 == 1, 0);
        REQUIRE_OK(commit(&e, 0, 10));
        atomic_store(&e.fail_begin, (uint32_t)error);
        for (unsigned n = 0; n < 2; n++) {
            CHECK_STATUS(checkpointer_run(e.checkpointer, n == 0), error);
            CHECK_HAS(ftk_error_last()->text, "a page cannot be read");
        }
        CHECK_EQ(e.ends, 0);
        CHECK_EQ(e.syncs, 0);
        atomic_store(&e.fail_begin, 0);
        CHECK_STATUS(checkpointer_run(e.checkpointer, false), error == FTK_FAILED ? error : FTK_OK);
        CHECK_EQ(e.durable, error == FTK_FAILED ? 0 : 1);
        CHECK_STATUS(commit(&e, 10, 10), error == FTK_FAILED ? error : FTK_OK);
        engine_close(&e);
    }
}

/* Nobody asks: the checkpoint that dirty pages or time wanted is tried again, and not at once. */
static void
what_was_due_is_tried_again_after_a_shortage(void)
{
    struct engine e;

    for (unsigned timed = 0; timed < 2; timed++) {
        uint64_t start_ns = ftk_clock_ns();
        REQUIRE_OK(cache_limit_set(8 * MIB));
        engine_open(&e, true, timed == 0 ? 0 : 20);
        atomic_store(&e.short_of_memory, 3);
        REQUIRE_OK(commit(&e, 0, timed == 0 ? 1100 : 10));
        CHECK(wait_for(&e.durable, 1));
        CHECK(ftk_clock_ns() - start_ns >= 250000000); /* three times a tenth of a second */
        CHECK_MSG(e.begins >= 4 && e.begins <= 5, "%llu", (unsigned long long)e.begins);
        engine_close(&e);
    }
}

/* Whoever asked has its error, or does not wait at all: the checkpoint is still wanted. */
static void
what_was_asked_for_is_tried_again_after_a_shortage(void)
{
    struct engine e;

    for (unsigned kicked = 0; kicked < 2; kicked++) {
        engine_open(&e, true, kicked == 0 ? 0 : 60000);
        REQUIRE_OK(commit(&e, 0, 10));
        atomic_store(&e.short_of_memory, 2);
        if (kicked == 0)
            CHECK_STATUS(checkpointer_run(e.checkpointer, false), FTK_NOMEM);
        else
            checkpointer_kick(e.checkpointer);
        CHECK(wait_for(&e.durable, 1));
        CHECK_EQ(e.begins, 3);
        engine_close(&e);
    }
}

static _Atomic uint64_t looks; /* at the clock, by anyone */

static uint64_t
counted_ns(void *context)
{
    struct timespec now;

    (void)context;
    atomic_fetch_add(&looks, 1);
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void
slept_ns(void *context, uint64_t ns)
{
    struct timespec time = {.tv_nsec = (long)ns};

    (void)context;
    FTK_ASSERT(ns < 1000000000u);
    nanosleep(&time, NULL);
}

/* Whatever would start a checkpoint earlier, or much later. */
static void
after_a_shortage_the_thread_rests_until_it_tries_again(void)
{
    static const struct ftk_clock_ops counting = {
        .monotonic_ns = counted_ns, .wall_ns = counted_ns, .sleep_ns = slept_ns};
    static const uint32_t intervals_ms[] = {0, 20, 60000};
    struct engine e;

    ftk_clock_use(&counting, NULL);
    for (unsigned i = 0; i < sizeof intervals_ms / sizeof intervals_ms[0]; i++) {
        engine_open(&e, true, intervals_ms[i]);
        REQUIRE_OK(commit(&e, 0, 10));
        atomic_store(&e.short_of_memory, 3);
        (void)checkpointer_run(e.checkpointer, false);
        atomic_store(&looks, 0);
        CHECK(wait_for(&e.ends, 1));
        slept_ns(NULL, 50000000); /* and afterwards */
        CHECK_MSG(looks < 200, "%llu looks at the clock", (unsigned long long)looks);
        engine_close(&e);
    }
    ftk_clock_use(NULL, NULL);
}

static void
memory_that_a_device_lacks_is_final(void)
{
    struct engine e;

    engine_open(&e, true, 0);
    REQUIRE_OK(commit(&e, 0, 10));
    atomic_store(&e.fail_sync, ENOMEM);
    CHECK_STATUS(checkpointer_run(e.checkpointer, true), FTK_NOMEM);
    atomic_store(&e.fail_sync, 0);
    CHECK_STATUS(checkpointer_run(e.checkpointer, true), FTK_NOMEM);
    CHECK_HAS(ftk_error_last()->text, "the kernel has no memory");
    CHECK_EQ(e.syncs, 1);
    engine_close(&e);
}

TEST_MAIN("checkpointer_triggers", TEST(a_run_covers_what_is_committed),
          TEST(a_run_waits_for_one_that_began_later), TEST(time_and_dirt_start_one),
          TEST(pressure_starts_one), TEST(an_unfinished_transaction_does_not_spin),
          TEST(the_first_error_is_final), TEST(a_shortage_of_memory_passes),
          TEST(what_keeps_one_from_beginning_passes),
          TEST(what_was_due_is_tried_again_after_a_shortage),
          TEST(what_was_asked_for_is_tried_again_after_a_shortage),
          TEST(after_a_shortage_the_thread_rests_until_it_tries_again),
          TEST(memory_that_a_device_lacks_is_final))
