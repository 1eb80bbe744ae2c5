/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache/cache_region.c -- one reservation of address space per cache: pages, states, bitmaps.
 * Nothing of it takes memory before it is touched.
 *
 *     | pages: pages_max x page_bytes | states: 4 bytes each | dirty: leaf, summary |
 *     | resident: leaf, summary | blocks: a byte per 2 MiB | meta: a byte per 4 KiB of states |
 *
 * Cost beside the pages: 4 bytes of state and 2 bits per page touched, in units of 4 KiB: 0.1 % of
 * the file at 4 KiB pages.
 */
#include <stdlib.h>
#include <string.h>

#include "cache/cache_internal.h"
#include "ftk/mem.h"

#define REGION_ALIGN ((uint64_t)CACHE__BLOCK_BYTES)
/* Address space left for others where it is scarce. */
#define SLACK_BYTES (UINT64_C(64) << 20)

static uint64_t
align_up(uint64_t bytes, uint64_t align)
{
    return (bytes + align - 1) / align * align;
}

struct layout {
    uint64_t states, leaf[2], summary[2], blocks, meta, end;
};

static struct layout
layout_of(uint64_t pages, uint32_t page_bytes)
{
    struct layout layout;
    uint64_t words = (pages + 63) / 64;

    layout.states = align_up(pages * page_bytes, REGION_ALIGN);
    uint64_t at = layout.states + align_up(pages * sizeof(uint32_t), 4096);
    for (int i = 0; i < 2; i++) {
        layout.leaf[i] = at;
        at += align_up(words * sizeof(uint64_t), 4096);
        layout.summary[i] = at;
        at += align_up((words + 63) / 64 * sizeof(uint64_t), 4096);
    }
    layout.blocks = at;
    at += align_up(layout.states / CACHE__BLOCK_BYTES, 4096);
    layout.meta = at;
    layout.end = at + align_up(pages / CACHE__META_PAGES + 1, 4096);
    return layout;
}

/* Halve what is wanted until the operating system has it. */
static ftk_status
region_reserve(struct cache *cache, const struct cache_options *options)
{
    uint64_t need = options->pages_need > 0 ? options->pages_need : 1;
    uint64_t pages = options->pages_want > need ? options->pages_want : need;
    struct layout layout;
    void *region = NULL;

    for (;; pages = pages / 2 > need ? pages / 2 : need) {
        layout = layout_of(pages, options->page_bytes);
        uint64_t bytes = layout.end + REGION_ALIGN + SLACK_BYTES;
        ftk_status rc = ftk_region_reserve(bytes, &region);
        if (rc == FTK_OK)
            break;
        if (pages == need)
            return FTK_FAIL(FTK_NOMEM,
                            "cannot reserve %llu bytes of address space for %llu pages: is it "
                            "limited (ulimit -v)?",
                            (unsigned long long)bytes, (unsigned long long)pages);
    }
    FTK_ASSERT(pages >= need && layout.states >= pages * options->page_bytes);
    cache->region = region;
    cache->region_bytes = layout.end + REGION_ALIGN;
    ftk_region_release((uint8_t *)region + cache->region_bytes, SLACK_BYTES);

    uint8_t *base = region;
    base += align_up((uintptr_t)base, REGION_ALIGN) - (uintptr_t)base;
    FTK_ASSERT(base + layout.end <= (uint8_t *)region + cache->region_bytes);
    cache->fast.base = base;
    cache->fast.pages_max = pages;
    cache->fast.states = (_Atomic uint32_t *)(void *)(base + layout.states);
    struct cache__bits *bits[2] = {&cache->dirty, &cache->resident};
    for (int i = 0; i < 2; i++) {
        bits[i]->leaf = (_Atomic uint64_t *)(void *)(base + layout.leaf[i]);
        bits[i]->summary = (_Atomic uint64_t *)(void *)(base + layout.summary[i]);
    }
    cache->meta = (_Atomic uint8_t *)(void *)(base + layout.meta);
    cache->blocks = (_Atomic uint8_t *)(void *)(base + layout.blocks);
    return FTK_OK;
}

static ftk_status
options_check(const struct cache_options *options)
{
    uint32_t page = options->page_bytes;

    if (options->file == NULL || options->bufs == NULL)
        return FTK_FAIL(FTK_INVALID, "a cache without a file or without I/O buffers");
    if (page < 4096 || page > 65536 || (page & (page - 1)) != 0)
        return FTK_FAIL(FTK_INVALID, "pages of %u bytes: a power of two, 4096 to 65536", page);
    if (options->pages_want > UINT64_MAX / 4 / page || options->pages_need > UINT64_MAX / 4 / page)
        return FTK_FAIL(FTK_NOMEM, "%llu pages of %u bytes: more than any address space",
                        (unsigned long long)options->pages_want, page);
    if (page % options->file->io_align != 0 || page % options->file->mem_align != 0)
        return FTK_FAIL(FTK_UNSUPPORTED,
                        "%s: direct I/O of pages of %u bytes is not possible (size in units of %u, "
                        "memory of %u bytes)",
                        options->file->path, page, options->file->io_align,
                        options->file->mem_align);
    return FTK_OK;
}

static void
bucket_init(struct cache__bucket *bucket)
{
    ftk_mutex_init(&bucket->mutex);
    ftk_cond_init(&bucket->changed);
}

static void
bucket_release(struct cache__bucket *bucket)
{
    ftk_mutex_release(&bucket->mutex);
    ftk_cond_release(&bucket->changed);
}

static void
fields_init(struct cache *cache, const struct cache_options *options)
{
    cache->file = options->file;
    cache->bufs = options->bufs;
    cache->log = options->log;
    cache->verify = options->verify;
    cache->seal = options->seal;
    cache->context = options->context;
    cache->pressure_engine = options->pressure;
    cache->page_bytes = options->page_bytes;
    cache->run_pages = CACHE__RUN_BYTES / options->page_bytes;
    cache->polled = ftk_iobufs_polled(options->bufs);
    cache->fast.page_shift = (uint32_t)__builtin_ctz(options->page_bytes);
    cache->block_shift = (uint32_t)__builtin_ctz(CACHE__BLOCK_BYTES) - cache->fast.page_shift;
    cache->fast.epoch_now = &cache->epoch;
    atomic_store(&cache->epoch, 1);
    for (int i = 0; i < CACHE__WAIT_BUCKETS; i++)
        bucket_init(&cache->buckets[i]);
    bucket_init(&cache->freed_read);
    ftk_mutex_init(&cache->pass);
    cache__ahead_init(cache);
    ftk_iogroup_init(&cache->loose, cache->bufs);
    for (int scan = 0; scan < 2; scan++) {
        cache__read_init(&cache->loose_read[scan], cache, scan != 0);
        cache->loose_read[scan].loose = true;
    }
}

ftk_status
cache_open(const struct cache_options *options, struct cache **cache_out)
{
    struct cache *cache = NULL;
    ftk_status rc = FTK_OK;

    *cache_out = NULL;
    FTK_TRY(options_check(options));
    FTK_TRY(ftk_alloc_aligned(64, sizeof(*cache), (void **)&cache));
    memset(cache, 0, sizeof(*cache));
    FTK_TRY(region_reserve(cache, options));
    fields_init(cache, options);
    cache__huge_open(cache);
    cache__pool_add(cache);
    *cache_out = cache;
    cache = NULL;
out:
    ftk_free(cache);
    return rc;
}

void
cache_close(struct cache *cache)
{
    if (cache == NULL)
        return;
    cache__ahead_end(cache);
    (void)ftk_iogroup_wait(&cache->loose);
    for (struct cache_slot *slot = NULL; (slot = cache_slot_next(cache, slot)) != NULL;)
        FTK_ASSERT(atomic_load(&slot->epoch) == 0); /* nobody is in it */
    FTK_ASSERT(atomic_load(&cache->write_left) == 0);
    cache__pool_remove(cache);
#ifdef KILN_DEBUG
    cache__check(cache); /* no thread can be in it any more, and no evictor */
#endif
    ftk_region_release(cache->region, cache->region_bytes);
    cache__slots_release(cache);
    for (int i = 0; i < CACHE__WAIT_BUCKETS; i++)
        bucket_release(&cache->buckets[i]);
    bucket_release(&cache->freed_read);
    ftk_mutex_release(&cache->pass);
    ftk_free(cache);
}

const struct cache_fast *
cache_fast(struct cache *cache)
{
    return &cache->fast;
}

void
cache_stats(struct cache *cache, struct cache_stats *stats_out)
{
    uint32_t shift = cache->fast.page_shift;

    *stats_out = (struct cache_stats){
        .limit_bytes = cache_limit(),
        .process_bytes = cache__process_bytes(),
        .used_bytes = atomic_load(&cache->used_pages) << shift,
        .dirty_bytes = cache_dirty_bytes(cache),
        .misses = atomic_load(&cache->misses),
        .evictions = atomic_load(&cache->evictions),
        .rescues = atomic_load(&cache->rescues),
        .prefetches = atomic_load(&cache->prefetches),
        .meta_bytes = atomic_load(&cache->meta_bytes),
        .write_left_bytes = atomic_load(&cache->write_left) << shift,
    };
}
