/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_cache_faults.c -- allocations, reads and writes fail one after another; a
 * simulated disk whose I/O completes only when polled, on one thread. */
#include <errno.h>

#include "cache/checkpointer.h"
#include "tests/support/simdisk.h"
#include "tests/unit/test_cache_fixture.h"

#define PAGES 4096u

/* Nothing pinned, busy or lost, and the account is right.  Pages that were marked for eviction
 * ahead of need may stay so, and are charged (cache/README.md, rules 3 and 5). */
static void
check_consistent(struct fixture *f, uint64_t ids)
{
    struct cache_stats stats;
    uint64_t used = 0, dirty = 0;

    for (uint64_t id = 0; id < ids; id++) {
        uint32_t state = fixture_state(f, id), kind = state & CACHE_STATE_MASK;
        CHECK(kind == CACHE_ABSENT || kind == CACHE_RESIDENT || kind == CACHE_EVICTING);
        CHECK(kind != CACHE_ABSENT || (state & ~(uint32_t)CACHE_FREE) == 0);
        CHECK_EQ(state / CACHE_PIN_ONE, 0);
        CHECK_EQ(state & (CACHE_WRITING | CACHE_WAITED), 0);
        used += kind != CACHE_ABSENT;
        dirty += (state & CACHE_DIRTY) != 0;
    }
    cache_stats(f->cache, &stats);
    CHECK_EQ(stats.used_bytes, used * PAGE_BYTES);
    CHECK_EQ(stats.process_bytes, stats.used_bytes + stats.meta_bytes);
    CHECK_EQ(stats.dirty_bytes, dirty * PAGE_BYTES);
}

static ftk_status
open_and_take_slots(void *context)
{
    struct fixture *f = context;
    struct cache_options options = {
        .file = f->file, .bufs = f->bufs, .page_bytes = PAGE_BYTES, .pages_want = PAGES};
    struct cache_slot *slots[3];
    struct cache *cache;
    ftk_status rc = cache_open(&options, &cache);

    if (rc != FTK_OK) {
        CHECK(cache == NULL);
        return rc;
    }
    for (size_t i = 0; i < 3 && rc == FTK_OK; i++) {
        rc = cache_slot_take(cache, &slots[i]);
        CHECK((rc == FTK_OK) == (slots[i] != NULL));
    }
    cache_close(cache);
    return rc;
}

static void
an_open_that_finds_no_memory_leaves_nothing(void)
{
    struct fixture f;
    struct simdisk *disk = simdisk_new(NULL);

    fixture_open_on(&f, simdisk_disk(disk), "data", PAGES);
    test_each_fault(FTK_FAULT_ALLOC, open_and_take_slots, &f);
    fixture_close(&f);
    simdisk_free(disk);
}

static ftk_status
read_in_all_ways(void *context)
{
    struct fixture *f = context;
    uint64_t ids[60];
    ftk_status rc;

    REQUIRE_OK(cache_limit_set(4 * MIB)); /* evicts nothing: it fits */
    for (size_t i = 0; i < 60; i++)
        ids[i] = (i * 7) % 100;
    FTK_TRY(cache_fetch_many(f->cache, ids, 60, 0));
    for (uint64_t id = 0; id < 200; id += 3) {
        FTK_TRY(cache_fetch(f->cache, id, 0));
        CHECK(page_is(fixture_page(f, id), id));
        cache_unpin(f->fast, id);
    }
    FTK_TRY(fixture_fetch_run(f, 200, 100));
    cache_unpin_run(f->cache, 200, 100);
    for (size_t i = 0; i < 60; i++)
        ids[i] = 300 + i;
    cache_prefetch(f->cache, ids, 60, CACHE_SCAN);
    for (size_t i = 0; i < 60; i++) {
        FTK_TRY(cache_fetch(f->cache, ids[i], 0));
        cache_unpin(f->fast, ids[i]);
    }
out:
    return rc;
}

static ftk_status
open_and_read(void *context)
{
    struct ftk_file *file = context;
    struct fixture f;

    fixture_open_file(&f, file, PAGES);
    ftk_status rc = read_in_all_ways(&f);
    ftk_fault_disarm();
    uint64_t none[1] = {0};
    (void)cache_fetch_many(f.cache, none, 0, 0);
    /* Waits for what a prefetch still reads; all can be had. */
    for (uint64_t id = 0; id < 400; id++) {
        bool raw = id >= 200 && id < 300;
        if ((raw ? fixture_fetch_run(&f, id, 1) : cache_fetch(f.cache, id, 0)) == FTK_OK)
            cache_unpin(f.fast, id);
        else
            CHECK_MSG(false, "page %llu", (unsigned long long)id);
    }
    check_consistent(&f, PAGES);
    cache_close(f.cache);
    ftk_iobufs_close(f.bufs);
    return rc;
}

static void
reads_that_fail_leave_pages_absent(void)
{
    struct fixture f;
    struct simdisk *disk = simdisk_new(NULL);
    struct ftk_file *file;

    REQUIRE_OK(cache_limit_set(8 * MIB));
    fixture_open_on(&f, simdisk_disk(disk), "data", PAGES);
    REQUIRE_OK(fixture_load(&f, 0, 400));
    check_consistent(&f, PAGES);
    fixture_close(&f);
    REQUIRE_OK(ftk_file_open(simdisk_disk(disk), "data", FTK_OPEN_DIRECT, &file));
    CHECK(test_each_fault(FTK_FAULT_READ, open_and_read, file) > 20);
    ftk_file_close(file);
    simdisk_free(disk);
}

static ftk_status
write_pages(void *context)
{
    struct fixture *f = context;
    ftk_status rc;

    for (uint64_t id = 0; id < 1200; id++)
        if (id % 100 != 99)
            fixture_make(f, id, 1, 1);
    rc = cache_write_dirty(f->cache, 1, NULL);
    ftk_fault_disarm();
    check_consistent(f, PAGES);
    CHECK((rc == FTK_OK) == (cache_dirty_bytes(f->cache) == 0));
    cache_free(f->cache, 5);
    CHECK_OK(cache_write_dirty(f->cache, 1, NULL)); /* nothing was lost */
    CHECK_EQ(cache_dirty_bytes(f->cache), 0);
    return rc;
}

static void
writes_that_fail_leave_pages_dirty(void)
{
    struct fixture f;
    struct simdisk *disk = simdisk_new(NULL);

    REQUIRE_OK(cache_limit_set(8 * MIB));
    fixture_open_on(&f, simdisk_disk(disk), "data", PAGES);
    CHECK(test_each_fault(FTK_FAULT_WRITE, write_pages, &f) > 5);
    fixture_close(&f);
    simdisk_free(disk);
}

/* ---- one thread, I/O completes when polled ---- */

struct engine {
    struct fixture f;
    uint64_t committed, pinned, durable, checkpoints;
};

static ftk_status
hook_begin(void *context, bool forced, uint64_t *limit_out, bool *due_out)
{
    struct engine *e = context;
    *limit_out = e->pinned = e->committed;
    *due_out = forced || e->committed != e->durable;
    return FTK_OK;
}

static ftk_status
hook_sync(void *context)
{
    struct engine *e = context;
    return ftk_file_sync(e->f.file);
}

static ftk_status
hook_header(void *context)
{
    struct engine *e = context;
    e->durable = e->pinned;
    e->checkpoints++;
    return FTK_OK;
}

/* A load larger than the cache, with checkpoints where throttle finds them due; returns a digest of
 * what happened. */
static uint64_t
single_thread_load(uint64_t seed)
{
    struct simdisk *disk = simdisk_new(&(struct simdisk_options){.seed = seed});
    struct engine e;
    struct checkpointer *checkpointer;
    struct checkpointer_hooks hooks = {
        .begin = hook_begin, .sync = hook_sync, .header = hook_header, .context = &e};
    struct ftk_random random;
    struct cache_stats stats;
    uint64_t ids[32];

    memset(&e, 0, sizeof e);
    ftk_random_seed(&random, seed);
    REQUIRE_OK(cache_limit_set(4 * MIB));
    fixture_open_on(&e.f, simdisk_disk(disk), "data", PAGES);
    struct checkpointer_options options = {
        .cache = e.f.cache, .hooks = &hooks, .dirty_bytes_max = 1 * MIB};
    REQUIRE_OK(checkpointer_open(&options, &checkpointer));
    for (uint64_t id = 0; id < PAGES; id++) {
        if (id % 16 == 0)
            REQUIRE_OK(cache_reserve(e.f.cache, 16));
        fixture_make(&e.f, id, 1, e.committed + 1);
        if (id % 16 == 15) {
            e.committed++;
            REQUIRE_OK(checkpointer_throttle(checkpointer));
        }
        if (id % 64 == 63) {
            for (size_t i = 0; i < 32; i++)
                ids[i] = ftk_random_below(&random, id);
            cache_prefetch(e.f.cache, ids, 32, CACHE_SCAN);
            for (size_t i = 0; i < 32; i += 5) {
                REQUIRE_OK(cache_fetch(e.f.cache, ids[i], 0));
                CHECK(page_is(fixture_page(&e.f, ids[i]), ids[i]));
                cache_unpin(e.f.fast, ids[i]);
            }
            REQUIRE_OK(cache_fetch_many(e.f.cache, ids, 32, 0));
        }
    }
    REQUIRE_OK(checkpointer_run(checkpointer, false));
    CHECK_EQ(e.durable, e.committed);
    CHECK(e.checkpoints > 8);
    cache_stats(e.f.cache, &stats);
    CHECK_EQ(stats.dirty_bytes, 0);
    CHECK(stats.evictions > 1000);
    uint64_t digest = simdisk_steps(disk) * 31 + stats.misses * 7 + stats.evictions;
    cache_unreserve(e.f.cache);
    check_consistent(&e.f, PAGES);
    checkpointer_close(checkpointer);
    fixture_close(&e.f);
    simdisk_free(disk);
    return digest;
}

static void
one_thread_and_a_polled_disk_suffice(void)
{
    uint64_t digest = single_thread_load(test_seed());
    CHECK_EQ(single_thread_load(test_seed()), digest);
}

TEST_MAIN("cache_faults", TEST(an_open_that_finds_no_memory_leaves_nothing),
          TEST(reads_that_fail_leave_pages_absent), TEST(writes_that_fail_leave_pages_dirty),
          TEST(one_thread_and_a_polled_disk_suffice))
