/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache/cache_huge.c -- huge pages while memory is plenty.
 *
 * A database that fits into the cache is read 1.3 to 1.6 times faster at random when its memory is
 * in huge pages (fewer TLB misses; measured: README).  But a fault then takes 2 MiB at once, so
 * what is charged must be the block.  The region is cut into blocks of 2 MiB:
 *
 *     PLAIN --first touch, while open and the block fits--> HUGE --first eviction--> PLAIN
 *
 * The first blocks stay PLAIN, so that small databases cost no 2 MiB each.
 *
 * 1. A HUGE block is charged whole.  Its pages are COVERED: they have no charge of their own.
 * 2. Whoever clears COVERED (the breaker, or the toucher that came too late) sees to the page's own
 *    charge in the same step: the account is exact.
 * 3. When a block does not fit below 7/8 of the limit, the cache is closed for huge pages, for
 *    ever: MADV_NOHUGEPAGE on the whole region, before the page is touched.
 *    Closing takes no lock: it may happen inside an epoch.
 * 4. Pages of a HUGE block are not discarded one by one.  The evictor breaks the block first (under
 *    the pool's mutex): it claims the absent pages, gives their memory back and charges those that
 *    are there one by one.  MADV_COLD on a part of a huge page splits it at once; the kernel would
 *    otherwise keep its discarded parts until memory runs short.
 */
#include <sys/mman.h>

#include "cache/cache_internal.h"
#include "ftk/mem.h"

#define HUGE_LIMIT_BYTES_MIN (UINT64_C(128) << 20) /* below it 2 MiB are too coarse */

enum { BLOCK_PLAIN = 0, BLOCK_HUGE = 1 };
enum { BLOCKS_PLAIN = 8 }; /* the first ones stay so: a small database gains nothing */

#if defined(MADV_HUGEPAGE) && defined(MADV_NOHUGEPAGE)

static uint64_t
pages_bytes(struct cache *cache)
{
    return cache->fast.pages_max << cache->fast.page_shift;
}

void
cache__huge_open(struct cache *cache)
{
    uint64_t file_bytes = 0, plain = (uint64_t)BLOCKS_PLAIN * CACHE__BLOCK_BYTES;

    /* Where the system gives huge pages unasked, it shall not: what it gives is not accounted. */
    (void)madvise(cache->region, cache->region_bytes, MADV_NOHUGEPAGE);
    if (cache_limit() < HUGE_LIMIT_BYTES_MIN || pages_bytes(cache) <= plain ||
        ftk_file_size(cache->file, &file_bytes) != FTK_OK || file_bytes > cache_limit())
        return;
    if (madvise(cache->fast.base + plain, pages_bytes(cache) - plain, MADV_HUGEPAGE) == 0)
        atomic_store(&cache->huge, true);
}

static void
close_huge(struct cache *cache)
{
    if (atomic_exchange(&cache->huge, false))
        (void)madvise(cache->fast.base, pages_bytes(cache), MADV_NOHUGEPAGE);
}

/* The block may have been one huge page until now. */
static void
split(struct cache *cache, uint64_t block)
{
#ifdef MADV_COLD
    (void)madvise(cache->fast.base + block * CACHE__BLOCK_BYTES, 4096, MADV_COLD);
#endif
    (void)cache;
    (void)block;
}

#else /* no huge pages to be had by advice */

void
cache__huge_open(struct cache *cache)
{
    (void)cache;
}

static void
close_huge(struct cache *cache)
{
    atomic_store(&cache->huge, false);
}

static void
split(struct cache *cache, uint64_t block)
{
    (void)cache;
    (void)block;
}

#endif

/* Make the block HUGE if it can be had. */
static bool
block_take(struct cache *cache, uint64_t block)
{
    uint8_t plain = BLOCK_PLAIN;
    uint64_t pages = CACHE__BLOCK_BYTES >> cache->fast.page_shift;

    FTK_ASSERT(block >= BLOCKS_PLAIN);
    if (!cache__charge_huge(cache, pages)) {
        close_huge(cache);
        return false;
    }
    if (!atomic_compare_exchange_strong(&cache->blocks[block], &plain, BLOCK_HUGE))
        cache__uncharge(cache, pages); /* someone else did */
    return true;
}

uint32_t
cache__cover(struct cache *cache, uint64_t page_id)
{
    uint64_t block = page_id >> cache->block_shift;

    FTK_ASSERT(page_id < cache->fast.pages_max);
    cache__charge_meta(cache, page_id);
    if (atomic_load_explicit(&cache->blocks[block], memory_order_acquire) == BLOCK_HUGE)
        return CACHE_COVERED;
    if (block < BLOCKS_PLAIN || !atomic_load_explicit(&cache->huge, memory_order_relaxed))
        return 0;
    return block_take(cache, block) ? CACHE_COVERED : 0;
}

/* Take COVERED from a page; false: it had it not. */
static bool
uncover(struct cache *cache, uint64_t page_id)
{
    if ((atomic_load(&cache->fast.states[page_id]) & CACHE_COVERED) == 0)
        return false;
    return (cache__state_move(cache, page_id, CACHE_COVERED, 0) & CACHE_COVERED) != 0;
}

void
cache__covered(struct cache *cache, uint64_t page_id)
{
    uint64_t block = page_id >> cache->block_shift;

    if (atomic_load(&cache->blocks[block]) != BLOCK_HUGE && uncover(cache, page_id))
        return; /* broken meanwhile, and not charged by the breaker: our charge is the page's */
    cache__uncharge(cache, 1);
}

/* ABSENT -> LEAVING; false: it is not ABSENT. */
static bool
claim_absent(struct cache *cache, uint64_t page_id)
{
    _Atomic uint32_t *word = &cache->fast.states[page_id];
    uint32_t state = atomic_load(word);

    while ((state & CACHE_STATE_MASK) == CACHE_ABSENT)
        if (cache__move(word, &state, (state & CACHE_FREE) | CACHE_LEAVING))
            return true;
    return false;
}

/* Give back the memory of absent pages of [first, end), which are claimed meanwhile. */
static void
discard_absent(struct cache *cache, uint64_t first, uint64_t end)
{
    uint64_t run = 0;

    FTK_ASSERT(first < end && end <= cache->fast.pages_max);
    for (uint64_t id = first; id <= end; id++) {
        if (id < end && claim_absent(cache, id)) {
            run++;
            continue;
        }
        if (run > 0)
            cache__discard(cache, id - run, run);
        run = 0;
    }
}

void
cache__break_block(struct cache *cache, uint64_t page_id)
{
    uint64_t block = page_id >> cache->block_shift, pages = UINT64_C(1) << cache->block_shift;
    uint64_t first = block << cache->block_shift, end = first + pages, present = 0;
    uint8_t huge = BLOCK_HUGE;

    if (!atomic_compare_exchange_strong(&cache->blocks[block], &huge, BLOCK_PLAIN))
        return;
    close_huge(cache); /* or the block would be taken again at the next touch */
    if (end > cache->fast.pages_max)
        end = cache->fast.pages_max;
    split(cache, block);
    discard_absent(cache, first, end);
    for (uint64_t id = first; id < end; id++)
        present += uncover(cache, id);
    FTK_ASSERT(present <= pages);
    cache__charge_forced(cache, present);
    cache__uncharge(cache, pages);
}
