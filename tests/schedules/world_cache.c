/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/schedules/world_cache.c -- pages of a full cache: made, freed, written, evicted, read.
 *
 * One writer as the engine has it: frees pages, some of which it has begun to read ahead, makes
 * them inside an epoch, changes what it made.  A write pass, a reader, and someone who lowers the
 * limit and raises it.  Everyone gets on; a page has what was last put there, in memory and, in the
 * end, in the file.
 */
#include <string.h>

#include "cache/cache.h"
#include "ftk/bytes.h"
#include "tests/schedules/schedule_world.h"

enum {
    PAGE_BYTES = 4096,
    OWN = 12,    /* pages 0 .. 11 are the writer's */
    STABLE = 12, /* the next ones have version 1 for ever */
    PAGES = OWN + STABLE,
    LIMIT_LOW = 4 << 20,
    LIMIT_HIGH = 8 << 20,
    ROUNDS = 8,
};

struct scene {
    struct ftk_file *file;
    struct ftk_iobufs *bufs;
    struct cache *cache;
    const struct cache_fast *fast;
    uint32_t versions[PAGES];
    uint64_t births[PAGES];
    uint64_t transaction, committed;
    uint64_t kept; /* pages of the reserve that fill the cache */
    struct ftk_random write_random, read_random;
};

/* ---- a page: its id and version, all over, behind its seal and its birth --------------------- */

enum { SEAL = 0, BIRTH = 8, WORDS = 16 };

static uint64_t
word_of(uint64_t id, uint32_t version)
{
    return (id + 1) << 32 | version;
}

static void
page_fill(void *memory, uint64_t id, uint32_t version, uint64_t birth)
{
    ftk_put_le64((uint8_t *)memory + BIRTH, birth);
    for (size_t at = WORDS; at < PAGE_BYTES; at += 8)
        ftk_put_le64((uint8_t *)memory + at, word_of(id, version));
}

/* Whole; its version. */
static uint32_t
page_look(const void *memory, uint64_t id)
{
    uint64_t first = ftk_get_le64((const uint8_t *)memory + WORDS);

    MUST(first >> 32 == id + 1, "page %llu has the bytes of page %lld", (unsigned long long)id,
         (long long)(first >> 32) - 1);
    for (size_t at = WORDS; at < PAGE_BYTES; at += 8)
        MUST(ftk_get_le64((const uint8_t *)memory + at) == first, "page %llu is torn at %zu",
             (unsigned long long)id, at);
    return (uint32_t)first;
}

static bool
seal(void *context, uint64_t id, void *memory, uint64_t limit)
{
    (void)context;
    if (ftk_get_le64((const uint8_t *)memory + BIRTH) > limit)
        return false; /* of a transaction that has not committed: it may change yet */
    ftk_put_le64((uint8_t *)memory + SEAL, page_look(memory, id));
    return true;
}

static ftk_status
verify(void *context, uint64_t id, const void *memory)
{
    (void)context;
    MUST(ftk_get_le64((const uint8_t *)memory + SEAL) == page_look(memory, id),
         "page %llu was not sealed when written", (unsigned long long)id);
    return FTK_OK;
}

/* ---- threads --------------------------------------------------------------------------------- */

/* The page's life is over, and its id is given out again. */
static void
own_replace(struct scene *scene, struct cache_slot *slot, uint64_t id)
{
    if (ftk_random_below(&scene->write_random, 2) == 0)
        cache_prefetch(scene->cache, &id, 1, 0);
    cache_free(scene->cache, id);
    MUST_OK(cache_reserve(scene->cache, scene->kept + 1));
    cache_enter(scene->fast, slot);
    cache_new(scene->cache, id);
    scene->births[id] = scene->transaction;
    page_fill(cache_address(scene->fast, id), id, ++scene->versions[id], scene->transaction);
    cache_dirty(scene->cache, scene->fast, id);
    cache_leave(slot);
}

/* A page that this transaction made. */
static void
own_change(struct scene *scene, uint64_t id)
{
    void *page = cache_address(scene->fast, id);

    MUST_OK(cache_fetch(scene->cache, id, 0));
    MUST(page_look(page, id) == scene->versions[id], "page %llu has version %u instead of %u",
         (unsigned long long)id, page_look(page, id), scene->versions[id]);
    cache_dirty(scene->cache, scene->fast, id);
    page_fill(page, id, ++scene->versions[id], scene->transaction);
    cache_unpin(scene->fast, id);
}

static void
own_one(struct scene *scene, struct cache_slot *slot)
{
    uint64_t id = ftk_random_below(&scene->write_random, OWN);

    if (scene->births[id] == scene->transaction)
        own_change(scene, id);
    else
        own_replace(scene, slot, id);
    if (ftk_random_below(&scene->write_random, 3) == 0)
        scene->committed = scene->transaction++;
}

static void
write_some(void *context)
{
    struct scene *scene = context;
    struct cache_slot *slot;

    MUST_OK(cache_slot_take(scene->cache, &slot));
    for (unsigned i = 0; i < ROUNDS; i++)
        own_one(scene, slot);
    cache_slot_give(slot);
}

/* As a reader does: inside an epoch while it is resident, else pinned. */
static void
read_one(struct scene *scene, struct cache_slot *slot, uint64_t id)
{
    const void *page = cache_address(scene->fast, id);

    cache_enter(scene->fast, slot);
    if (cache_use(scene->fast, id)) {
        ftk_schedule_point(FTK_SITE("read, inside an epoch"));
        MUST(page_look(page, id) == 1, "page %llu has changed", (unsigned long long)id);
        cache_leave(slot);
        return;
    }
    cache_leave(slot);
    MUST_OK(cache_fetch(scene->cache, id, 0));
    ftk_schedule_point(FTK_SITE("read, pinned"));
    MUST(page_look(page, id) == 1, "page %llu has changed", (unsigned long long)id);
    cache_unpin(scene->fast, id);
}

static void
read_some(void *context)
{
    struct scene *scene = context;
    struct cache_slot *slot;

    MUST_OK(cache_slot_take(scene->cache, &slot));
    for (unsigned i = 0; i < ROUNDS; i++)
        read_one(scene, slot, OWN + ftk_random_below(&scene->read_random, STABLE));
    cache_slot_give(slot);
}

static void
pass_some(void *context)
{
    struct scene *scene = context;

    for (unsigned i = 0; i < 2; i++)
        MUST_OK(cache_write_dirty(scene->cache, scene->committed, NULL));
}

static void
limit_some(void *context)
{
    (void)context;
    for (unsigned i = 0; i < 2; i++) {
        MUST_OK(cache_limit_set(LIMIT_LOW));
        ftk_schedule_point(FTK_SITE("the limit is low"));
        MUST_OK(cache_limit_set(LIMIT_HIGH));
    }
}

/* ---- the world ------------------------------------------------------------------------------- */

static void
scene_open(struct scene *scene, struct simdisk *disk)
{
    struct ftk_iobufs_options io = FTK_IOBUFS_OPTIONS_INIT;
    struct cache_options options = {.page_bytes = PAGE_BYTES,
                                    .pages_want = 4096,
                                    .pages_need = 1,
                                    .verify = verify,
                                    .seal = seal};

    io.disk = simdisk_disk(disk);
    io.count = 4;
    MUST_OK(ftk_file_open(io.disk, "/pages", FTK_OPEN_CREATE | FTK_OPEN_DIRECT, &scene->file));
    MUST_OK(ftk_iobufs_open(&io, &scene->bufs));
    options.file = scene->file;
    options.bufs = scene->bufs;
    MUST_OK(cache_open(&options, &scene->cache));
    scene->fast = cache_fast(scene->cache);
}

static void
scene_close(struct scene *scene)
{
    cache_close(scene->cache);
    ftk_iobufs_close(scene->bufs);
    ftk_file_close(scene->file);
}

/* Version 1 of every page, in the file. */
static void
prepare(struct simdisk *disk)
{
    static struct scene scene;
    struct cache_slot *slot;

    memset(&scene, 0, sizeof scene);
    MUST_OK(cache_limit_set(LIMIT_HIGH));
    scene_open(&scene, disk);
    MUST_OK(cache_slot_take(scene.cache, &slot));
    for (uint64_t id = 0; id < PAGES; id++)
        own_replace(&scene, slot, id);
    cache_unreserve(scene.cache);
    MUST_OK(cache_write_dirty(scene.cache, UINT64_MAX, NULL));
    cache_slot_give(slot);
    scene_close(&scene);
}

/* Some pages resident, and so much reserved that the lower limit has room for few of them. */
static void
fill(struct scene *scene, struct ftk_random *random)
{
    uint64_t resident = 4 + ftk_random_below(random, PAGES - 4);

    for (uint64_t i = 0; i < resident; i++) {
        uint64_t id = ftk_random_below(random, PAGES);
        MUST_OK(cache_fetch(scene->cache, id, 0));
        cache_unpin(scene->fast, id);
    }
    struct cache_stats stats;
    cache_stats(scene->cache, &stats);
    scene->kept =
        LIMIT_LOW / PAGE_BYTES - stats.meta_bytes / PAGE_BYTES - 6 - ftk_random_below(random, 12);
    MUST_OK(cache_reserve(scene->cache, scene->kept));
}

static void
look_again(struct scene *scene)
{
    for (uint64_t id = 0; id < PAGES; id++) {
        MUST_OK(cache_fetch(scene->cache, id, 0));
        uint32_t version = page_look(cache_address(scene->fast, id), id);
        MUST(version == scene->versions[id], "page %llu has version %u instead of %u",
             (unsigned long long)id, version, scene->versions[id]);
        cache_unpin(scene->fast, id);
    }
}

static void
scenario(struct simdisk *disk, struct ftk_random *random)
{
    static struct scene scene;
    struct ftk_thread writer, reader, pass, limiter;
    struct cache_slot *slot;

    memset(&scene, 0, sizeof scene);
    MUST_OK(cache_limit_set(LIMIT_HIGH));
    scene_open(&scene, disk);
    for (uint64_t id = 0; id < PAGES; id++)
        scene.versions[id] = 1;
    fill(&scene, random);
    ftk_random_seed(&scene.write_random, ftk_random_next(random));
    ftk_random_seed(&scene.read_random, ftk_random_next(random));
    scene.transaction = 1;
    MUST_OK(cache_slot_take(scene.cache, &slot));
    for (unsigned i = 2 + (unsigned)ftk_random_below(random, 5); i > 0; i--)
        own_one(&scene, slot);
    cache_slot_give(slot);

    ftk_schedule_explore(true);
    MUST_OK(ftk_thread_start(&writer, "writer", write_some, &scene));
    MUST_OK(ftk_thread_start(&reader, "reader", read_some, &scene));
    MUST_OK(ftk_thread_start(&pass, "pass", pass_some, &scene));
    MUST_OK(ftk_thread_start(&limiter, "limiter", limit_some, NULL));
    ftk_thread_join(&writer);
    ftk_thread_join(&reader);
    ftk_thread_join(&pass);
    ftk_thread_join(&limiter);
    ftk_schedule_explore(false);

    cache_unreserve(scene.cache);
    look_again(&scene);
    MUST_OK(cache_write_dirty(scene.cache, UINT64_MAX, NULL));
    MUST(cache_dirty_bytes(scene.cache) == 0, "%llu bytes are dirty after a write pass",
         (unsigned long long)cache_dirty_bytes(scene.cache));
    scene_close(&scene);
    scene_open(&scene, disk);
    look_again(&scene);
    scene_close(&scene);
}

SCHEDULE_WORLD(.name = "cache", .prepare = prepare, .scenario = scenario)
