/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_cache_threads.c -- readers, a writer, write passes and eviction at once. */
#include "cache/cache_internal.h"
#include "tests/unit/test_cache_fixture.h"

#define PAGES 4096u
#define READERS 3

/*
 * The model of an engine: 2 x PAGES ids; the page of key k lives at id `where[k]`, one of k and
 * k + PAGES.  The writer copies it to the other id and publishes that; the old one is freed when no
 * reader can see it any more.
 */
struct world {
    struct fixture f;
    _Atomic uint64_t where[PAGES];
    _Atomic uint64_t commit;
    _Atomic uint64_t stop, wrong, errors, fetched, used, readers;
    uint64_t rounds;
};

/* A reader's slot shows which ids it may be looking at by being inside, or in `snapshot`. */
static void
await_readers(struct world *w)
{
    uint64_t now = atomic_load(&w->commit);
    for (struct cache_slot *slot = NULL; (slot = cache_slot_next(w->f.cache, slot)) != NULL;)
        for (;;) {
            uint64_t snapshot = atomic_load(&slot->snapshot);
            if (snapshot == 0 || snapshot >= now)
                break;
            ftk_thread_yield();
        }
}

static void
read_one(struct world *w, struct cache_slot *slot, struct ftk_random *random)
{
    const struct cache_fast *fast = w->f.fast;
    uint64_t key = ftk_random_below(random, PAGES);
    bool keep = ftk_random_below(random, 8) == 0;

    do
        atomic_store(&slot->snapshot, atomic_load(&w->commit));
    while (atomic_load(&slot->snapshot) != atomic_load(&w->commit));
    uint64_t id = atomic_load(&w->where[key]);
    for (;;) {
        cache_enter(fast, slot);
        if (cache_use(fast, id)) {
            if (!page_is(fixture_page(&w->f, id), id))
                atomic_fetch_add(&w->wrong, 1);
            if (keep)
                cache_pin(fast, id);
            cache_leave(slot);
            break;
        }
        cache_leave(slot);
        if (cache_fetch(w->f.cache, id, 0) != FTK_OK) {
            atomic_fetch_add(&w->errors, 1);
            break;
        }
        atomic_fetch_add(&w->fetched, 1);
        cache_unpin(fast, id);
    }
    if (keep) {
        ftk_thread_yield();
        if (!page_is(fixture_page(&w->f, id), id))
            atomic_fetch_add(&w->wrong, 1);
        cache_unpin(fast, id);
    }
    atomic_fetch_add(&w->used, 1);
    atomic_store(&slot->snapshot, 0);
}

static void
read_some(struct world *w, struct ftk_random *random)
{
    uint64_t ids[40];
    for (size_t i = 0; i < 40; i++) /* any id: freed and fresh ones too, as a stale prefetch does */
        ids[i] = ftk_random_below(random, PAGES);
    for (size_t i = 0; i < 40; i++)
        ids[i] = atomic_load(&w->where[ids[i]]);
    cache_prefetch(w->f.cache, ids, 40, CACHE_SCAN);
}

static void
reader_run(void *context)
{
    struct world *w = context;
    struct cache_slot *slot;
    struct ftk_random random;

    ftk_random_seed(&random, test_seed() + atomic_fetch_add(&w->readers, 1));
    if (cache_slot_take(w->f.cache, &slot) != FTK_OK)
        return;
    for (uint64_t i = 0; atomic_load(&w->stop) == 0; i++) {
        read_one(w, slot, &random);
        if (i % 256 == 0)
            read_some(w, &random);
        if (i % 8 == 0) { /* slots come and go */
            cache_slot_give(slot);
            if (cache_slot_take(w->f.cache, &slot) != FTK_OK) {
                atomic_fetch_add(&w->errors, 1);
                return;
            }
        }
    }
    cache_slot_give(slot);
}

static void
pass_run(void *context)
{
    struct world *w = context;
    while (atomic_load(&w->stop) == 0) {
        if (cache_write_dirty(w->f.cache, atomic_load(&w->commit), NULL) != FTK_OK)
            atomic_fetch_add(&w->errors, 1);
        ftk_clock_sleep_ns(300000);
    }
}

/* One transaction: some keys move to their other id, then the old ids are freed. */
static void
write_one(struct world *w, struct ftk_random *random)
{
    uint64_t old[16], keys[16], birth = atomic_load(&w->commit) + 1;
    struct cache *cache = w->f.cache;

    if (cache_reserve(cache, 16) != FTK_OK) {
        atomic_fetch_add(&w->errors, 1);
        return;
    }
    uint64_t first = ftk_random_below(random, PAGES - 16);
    for (size_t i = 0; i < 16; i++) {
        keys[i] = first + i;
        old[i] = atomic_load(&w->where[keys[i]]);
        uint64_t id = old[i] < PAGES ? old[i] + PAGES : old[i] - PAGES;
        fixture_make(&w->f, id, birth, birth);
        atomic_store(&w->where[keys[i]], id);
    }
    atomic_store(&w->commit, birth);
    await_readers(w);
    for (size_t i = 0; i < 16; i++)
        cache_free(cache, old[i]);
    cache_unreserve(cache);
}

static void
everyone_at_once(void)
{
    static struct world w;
    struct ftk_thread readers[READERS], pass;
    struct ftk_random random = test_random();
    struct cache_stats stats;

    memset(&w, 0, sizeof w);
    REQUIRE_OK(cache_limit_set(12 * MIB));
    fixture_open(&w.f, "data", 2 * PAGES);
    REQUIRE_OK(fixture_load(&w.f, 0, PAGES));
    for (uint64_t i = 0; i < PAGES; i++)
        atomic_store(&w.where[i], i);
    atomic_store(&w.commit, 1);
    for (size_t i = 0; i < READERS; i++)
        REQUIRE_OK(ftk_thread_start(&readers[i], "reader", reader_run, &w));
    REQUIRE_OK(ftk_thread_start(&pass, "pass", pass_run, &w));
    for (uint64_t i = 0; i < test_rounds(1500); i++) {
        write_one(&w, &random);
        if (i % 16 == 0) /* the limit moves, too */
            CHECK_OK(cache_limit_set((8 + ftk_random_below(&random, 8)) * MIB));
    }
    atomic_store(&w.stop, 1);
    for (size_t i = 0; i < READERS; i++)
        ftk_thread_join(&readers[i]);
    ftk_thread_join(&pass);
    CHECK_EQ(w.wrong, 0);
    CHECK_EQ(w.errors, 0);
    cache_stats(w.f.cache, &stats);
    CHECK(stats.evictions > 0);
    CHECK(w.used > 100);

    /* Everything is on disk, and the accounts agree. */
    REQUIRE_OK(cache_write_dirty(w.f.cache, UINT64_MAX, NULL));
    CHECK_EQ(cache_dirty_bytes(w.f.cache), 0);
    uint64_t charged = 0;
    for (uint64_t deadline = ftk_clock_ns() + UINT64_C(60) * 1000000000;
         atomic_load(&w.f.cache->loose_pending) > 0 && ftk_clock_ns() < deadline;)
        ftk_clock_sleep_ns(1000000); /* prefetches end */
    for (uint64_t id = 0; id < 2 * PAGES; id++) {
        uint32_t state = fixture_state(&w.f, id);
        CHECK_EQ(CACHE__PINS(state), 0);
        CHECK_EQ(state & (CACHE_DIRTY | CACHE_WRITING), 0);
        /* Those marked for an eviction that has not been wanted since stay EVICTING. */
        charged += (state & CACHE_STATE_MASK) != CACHE_ABSENT;
    }
    cache_stats(w.f.cache, &stats);
    CHECK_EQ(stats.used_bytes, charged * PAGE_BYTES);
    cache__check(w.f.cache);
    fixture_reopen(&w.f, "data", 2 * PAGES);
    for (uint64_t i = 0; i < PAGES; i++) {
        uint64_t id = atomic_load(&w.where[i]);
        REQUIRE_OK(cache_fetch(w.f.cache, id, 0));
        CHECK(page_is(fixture_page(&w.f, id), id));
        cache_unpin(w.f.fast, id);
    }
    fixture_close(&w.f);
}

struct same {
    struct fixture *f;
    _Atomic uint64_t errors;
    uint64_t count;
};

static void
same_run(void *context)
{
    struct same *s = context;
    uint64_t ids[128];

    for (uint64_t at = 0; at < s->count; at += 128) {
        for (uint64_t i = 0; i < 128; i++)
            ids[i] = at + (i * 37) % 128;
        if (cache_fetch_many(s->f->cache, ids, 128, 0) != FTK_OK)
            atomic_fetch_add(&s->errors, 1);
        for (uint64_t i = 0; i < 128; i++) {
            if (cache_fetch(s->f->cache, ids[i], 0) != FTK_OK) {
                atomic_fetch_add(&s->errors, 1);
                continue;
            }
            if (!page_is(fixture_page(s->f, ids[i]), ids[i]))
                atomic_fetch_add(&s->errors, 1);
            cache_unpin(s->f->fast, ids[i]);
        }
    }
}

static void
each_page_is_read_once_by_all(void)
{
    struct fixture f;
    struct ftk_thread threads[4];
    struct same same = {.f = &f, .count = 2048};
    struct ftk_iobufs_stats io;

    REQUIRE_OK(cache_limit_set(64 * MIB));
    fixture_open(&f, "data", 4096);
    REQUIRE_OK(fixture_load(&f, 0, 2048));
    fixture_reopen(&f, "data", 4096);
    for (size_t i = 0; i < 4; i++)
        REQUIRE_OK(ftk_thread_start(&threads[i], "same", same_run, &same));
    for (size_t i = 0; i < 4; i++)
        ftk_thread_join(&threads[i]);
    CHECK_EQ(same.errors, 0);
    CHECK_EQ(f.verifies, 2048);
    ftk_iobufs_stats(f.bufs, &io);
    CHECK(io.read_bytes <= 2048 * PAGE_BYTES);
    fixture_close(&f);
}

/* Pages that were asked for come without anyone fetching them; beside others who do, once. */
static void
pages_asked_for_are_read_by_another_thread(void)
{
    struct fixture f;
    struct ftk_thread thread;
    struct same same = {.f = &f, .count = 2048};
    uint64_t ids[512];
    uint64_t deadline = ftk_clock_ns() + UINT64_C(60) * 1000000000;

    REQUIRE_OK(cache_limit_set(64 * MIB));
    fixture_open(&f, "data", 4096);
    REQUIRE_OK(fixture_load(&f, 0, 2048));
    fixture_reopen(&f, "data", 4096);
    for (uint64_t i = 0; i < 400; i++)
        ids[i] = 399 - i;
    cache_read_ahead(f.cache, ids, 400);
    while (atomic_load(&f.verifies) < 400 && ftk_clock_ns() < deadline)
        ftk_clock_sleep_ns(1000000);
    CHECK_EQ(f.verifies, 400);
    cache_read_ahead(f.cache, ids, 400); /* they are there */

    REQUIRE_OK(ftk_thread_start(&thread, "same", same_run, &same));
    for (uint64_t at = 0; at < 2048; at += 256) {
        for (uint64_t i = 0; i < 512; i++)
            ids[i] = (at + i * 5) % 2048;
        cache_read_ahead(f.cache, ids, 512);
    }
    ftk_thread_join(&thread);
    CHECK_EQ(same.errors, 0);
    CHECK_EQ(f.verifies, 2048);

    fixture_reopen(&f, "data", 4096);
    cache_read_ahead(f.cache, ids, 512);
    fixture_close(&f); /* with reads under way */
}

TEST_MAIN("cache_threads", TEST(everyone_at_once), TEST(each_page_is_read_once_by_all),
          TEST(pages_asked_for_are_read_by_another_thread))
