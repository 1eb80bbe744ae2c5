/* SPDX-License-Identifier: Apache-2.0 */
/* tests/schedules/schedule_others.c -- another's cache, which leaves little of the limit. */
#include "cache/cache.h"
#include "tests/schedules/schedule_world.h"

enum { OTHER_PAGE = 16 << 10, OTHER_PAGES = 256 };

static bool
others_seal(void *context, uint64_t id, void *page, uint64_t limit)
{
    (void)context, (void)id, (void)page, (void)limit;
    return false; /* of a transaction that does not end */
}

static ftk_status
others_verify(void *context, uint64_t id, const void *page)
{
    (void)context, (void)page;
    MUST(false, "page %llu of the others is read", (unsigned long long)id);
    return FTK_OK;
}

void
schedule_others_open(struct schedule_others *others, struct simdisk *disk, uint64_t left_bytes,
                     uint64_t share_bytes)
{
    struct ftk_iobufs_options io = FTK_IOBUFS_OPTIONS_INIT;
    struct cache_options options = {.page_bytes = OTHER_PAGE,
                                    .pages_want = OTHER_PAGES,
                                    .pages_need = OTHER_PAGES,
                                    .seal = others_seal,
                                    .verify = others_verify};
    struct cache_stats stats;

    io.disk = simdisk_disk(disk);
    io.count = 1;
    MUST_OK(ftk_file_open(io.disk, "/others", FTK_OPEN_CREATE | FTK_OPEN_DIRECT, &others->file));
    MUST_OK(ftk_iobufs_open(&io, &others->bufs));
    options.file = others->file;
    options.bufs = others->bufs;
    MUST_OK(cache_open(&options, &others->cache));
    cache_stats(others->cache, &stats);
    /* without the states of both */
    uint64_t budget = SCHEDULE_OTHERS_LIMIT - stats.meta_bytes - SCHEDULE_OTHERS_LIMIT / 64;
    uint64_t pages = (budget - left_bytes) / OTHER_PAGE;
    uint64_t dirty = (budget / 4 * 3 - 2 * share_bytes) / OTHER_PAGE;
    FTK_ASSERT(dirty < pages && pages <= OTHER_PAGES);
    MUST_OK(cache_reserve(others->cache, pages));
    for (uint64_t id = 0; id < pages; id++) {
        MUST(cache_new(others->cache, id), "page %llu was not reserved", (unsigned long long)id);
        if (id < dirty)
            cache_dirty(others->cache, cache_fast(others->cache), id);
        else
            MUST_OK(cache_fetch(others->cache, id, 0));
    }
}

void
schedule_others_press(struct schedule_others *others, uint64_t bytes)
{
    (void)cache_try_reserve(others->cache, bytes / OTHER_PAGE, false);
    cache_unreserve(others->cache);
}

void
schedule_others_close(struct schedule_others *others)
{
    struct cache_stats stats;

    cache_stats(others->cache, &stats);
    for (uint64_t id = stats.dirty_bytes / OTHER_PAGE; id < stats.used_bytes / OTHER_PAGE; id++)
        cache_unpin(cache_fast(others->cache), id);
    cache_close(others->cache);
    ftk_iobufs_close(others->bufs);
    ftk_file_close(others->file);
}
