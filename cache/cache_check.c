/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache/cache_check.c -- what holds of states, accounts and sets of page ids.  Builds with DEBUG=1
 * look at a state whenever it moves and at everything when a cache is closed; tests, when they
 * like.
 */
#include "cache/cache_internal.h"
#include "ftk/invariant.h"

void
cache__check_state(uint32_t state)
{
    const uint32_t kind = state & CACHE_STATE_MASK, flags = state & ~(uint32_t)CACHE_STATE_MASK;
    const uint32_t alive = CACHE_DIRTY | CACHE_RAW | CACHE_REF | CACHE_SCANNED;

    FTK_INVARIANT_COUNT("state of a cache page");
    switch (kind) {
    case CACHE_ABSENT: FTK_ASSERT((flags & ~(uint32_t)CACHE_FREE) == 0); break;
    case CACHE_READING:
        FTK_ASSERT((flags & ~(uint32_t)(CACHE_FREE | CACHE_WAITED | CACHE_COVERED)) == 0);
        break;
    case CACHE_RESIDENT: FTK_ASSERT((flags & CACHE_WAITED) == 0); break;
    case CACHE_EVICTING:
        FTK_ASSERT((flags & (CACHE_DIRTY | CACHE_SEALING | CACHE_WRITING | CACHE_WAITED)) == 0);
        break;
    case CACHE_LEAVING:
        FTK_ASSERT((flags & (CACHE_DIRTY | CACHE_SEALING | CACHE_WRITING)) == 0);
        FTK_ASSERT(CACHE__PINS(state) == 0);
        break;
    case CACHE_FRESH:
        FTK_ASSERT((flags & (CACHE_DIRTY | CACHE_SEALING | CACHE_FREE | CACHE_WAITED)) == 0);
        break;
    default: FTK_ASSERT(!"no such kind of state");
    }
    /* A page that is free has nothing of a life; one is sealed before it is written, and only while
     * it is dirty, unless it was freed meanwhile. */
    FTK_ASSERT((flags & CACHE_FREE) == 0 || (flags & alive) == 0);
    FTK_ASSERT((flags & CACHE_SEALING) == 0 || (flags & CACHE_WRITING) == 0);
    FTK_ASSERT((flags & CACHE_SEALING) == 0 || (flags & (CACHE_DIRTY | CACHE_FREE)) != 0);
}

struct tally {
    uint64_t charged, dirty; /* pages */
};

static void
check_page(struct cache *cache, uint64_t page_id, struct tally *tally)
{
    uint32_t state = atomic_load(&cache->fast.states[page_id]), kind = state & CACHE_STATE_MASK;
    uint64_t block = page_id >> cache->block_shift;

    cache__check_state(state);
    FTK_ASSERT(kind != CACHE_READING && kind != CACHE_LEAVING); /* nobody is there to end them */
    FTK_ASSERT((state & (CACHE_SEALING | CACHE_WRITING | CACHE_WAITED)) == 0);
    FTK_ASSERT(kind == CACHE_ABSENT || cache__bits_has(&cache->resident, page_id));
    FTK_ASSERT((state & CACHE_DIRTY) == 0 || cache__bits_has(&cache->dirty, page_id));
    FTK_ASSERT((state & CACHE_COVERED) == 0 || atomic_load(&cache->blocks[block]) != 0);
    tally->dirty += (state & CACHE_DIRTY) != 0;
    tally->charged += kind != CACHE_ABSENT && (state & CACHE_COVERED) == 0;
}

void
cache__check(struct cache *cache)
{
    uint64_t end = atomic_load(&cache->resident.end);
    uint64_t blocks =
        (cache->fast.pages_max + (UINT64_C(1) << cache->block_shift) - 1) >> cache->block_shift;
    struct tally tally = {0, 0};

    FTK_INVARIANT_COUNT("cache");
    FTK_ASSERT(atomic_load(&cache->dirty.end) <= end); /* what is dirty was made here */
    FTK_ASSERT(end <= cache->fast.pages_max);
    for (uint64_t id = 0; id < end; id++) {
        if (atomic_load(&cache->meta[id / CACHE__META_PAGES]) == 0) { /* never touched */
            id |= CACHE__META_PAGES - 1;
            continue;
        }
        check_page(cache, id, &tally);
    }
    for (uint64_t block = 0; block < blocks && block << cache->block_shift < end; block++)
        if (atomic_load(&cache->blocks[block]) != 0)
            tally.charged += UINT64_C(1) << cache->block_shift;
    tally.charged += atomic_load(&cache->reserved);
    FTK_ASSERT(tally.charged == atomic_load(&cache->used_pages));
    FTK_ASSERT(tally.dirty << cache->fast.page_shift == cache_dirty_bytes(cache));
    FTK_ASSERT(atomic_load(&cache->write_left) == 0);
    FTK_ASSERT(atomic_load(&cache->loose_pending) == 0);
    FTK_ASSERT(atomic_load(&cache->freed_reading) == 0);
}
