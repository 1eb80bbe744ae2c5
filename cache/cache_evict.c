/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache/cache_evict.c -- second chance over the resident pages, in batches.
 *
 * 1. Only clean, unpinned RESIDENT pages are marked EVICTING: freed pages first, then those that a
 *    scan has read and nobody else (two rings), then those whose REF was not set since the hand
 *    came by.
 * 2. After marking, the epoch goes up, and the evictor waits until every slot is outside or entered
 *    later.  Nobody who saw a marked page RESIDENT is inside then, and who sees it EVICTING rescues
 *    it.  Slots stay inside for microseconds (invariant 2 of cache.h), so the wait spins.
 * 3. What is still EVICTING, unpinned and clean becomes LEAVING, and now belongs to the evictor.
 * 4. One evictor at a time in the process (the pool's mutex), and one batch at a time per cache: a
 *    page found EVICTING after the wait was marked before it.
 * 5. A prefetch may be called inside an epoch and must not wait for its own slot: it begins a
 *    batch, and a later one finishes it when the slots have left (cache__evict_soon).
 */
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "cache/cache_internal.h"
#include "ftk/mem.h"
#include "ftk/spin.h"

#define SCAN_KEEP 1024u       /* 4 MiB of 4 KiB pages: more than any read-ahead */
#define SELF_PROCESS (-10001) /* PIDFD_SELF_THREAD_GROUP */

#define NOT_EVICTABLE (CACHE_DIRTY | CACHE_SEALING | CACHE_WRITING | CACHE_WAITED)

/* RESIDENT -> EVICTING, or take the second chance away. */
static void
mark(struct cache *cache, struct cache__batch *batch, uint64_t page_id)
{
    _Atomic uint32_t *word = &cache->fast.states[page_id];
    uint32_t state = atomic_load_explicit(word, memory_order_relaxed);

    for (;;) {
        if ((state & CACHE_STATE_MASK) != CACHE_RESIDENT || (state & NOT_EVICTABLE) != 0 ||
            CACHE__PINS(state) != 0)
            return;
        bool chance = (state & (CACHE_REF | CACHE_SCANNED)) == CACHE_REF;
        uint32_t wanted = chance ? state & ~(uint32_t)CACHE_REF
                                 : (state & ~(uint32_t)CACHE_STATE_MASK) | CACHE_EVICTING;
        if (!cache__move(word, &state, wanted))
            continue;
        if (!chance) {
            FTK_ASSERT(batch->count < batch->want);
            batch->ids[batch->count++] = page_id;
        }
        return;
    }
}

/* Pages of a ring, the oldest first, whose flags of `mask` are `flags`; not before `keep` have
 * gathered, and not the latest half of these.  (Between the two lies a whole batch, so that a batch
 * leaves room for as many to be read ahead.) */
static void
mark_ring(struct cache *cache, struct cache__batch *batch, struct cache__ring *ring, uint64_t keep,
          uint32_t mask, uint32_t flags)
{
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);

    FTK_ASSERT(ring->tail <= head); /* one evictor takes, what was added */
    if (head - ring->tail > CACHE__HINTS)
        ring->tail = head - CACHE__HINTS;
    if (head - ring->tail < keep)
        return;
    for (; head - ring->tail > keep / 2 && batch->count < batch->want; ring->tail++) {
        uint64_t id = atomic_exchange_explicit(&ring->ids[ring->tail % CACHE__HINTS], 0,
                                               memory_order_relaxed);
        if (id == 0)
            continue;
        uint32_t state = atomic_load_explicit(&cache->fast.states[id - 1], memory_order_relaxed);
        if ((state & mask) == flags)
            mark(cache, batch, id - 1);
    }
}

/* Freed pages, then those of scans, unless they have just been read ahead. */
static void
mark_hinted(struct cache *cache, struct cache__batch *batch)
{
    uint64_t keep = (cache_limit() >> cache->fast.page_shift) / 8;

    mark_ring(cache, batch, &cache->freed, 0, CACHE_REF, 0);
    mark_ring(cache, batch, &cache->scanned, keep < SCAN_KEEP ? keep : SCAN_KEEP, CACHE_SCANNED,
              CACHE_SCANNED);
}

static void
mark_swept(struct cache *cache, struct cache__batch *batch, bool *wrapped_out)
{
    uint64_t end = atomic_load(&cache->resident.end);
    uint64_t word_end = (end + 63) / 64, word = cache->hand / 64;

    while (batch->count < batch->want) {
        uint64_t leaf = cache__bits_next(&cache->resident, &word, word_end);
        if (leaf == 0) {
            *wrapped_out = true;
            cache->hand = 0;
            return;
        }
        leaf &= ~atomic_load_explicit(&cache->dirty.leaf[word], memory_order_relaxed);
        if (word == cache->hand / 64)
            leaf &= UINT64_MAX << (cache->hand % 64);
        for (; leaf != 0; leaf &= leaf - 1) {
            uint64_t id = word * 64 + (uint64_t)__builtin_ctzll(leaf);
            if (batch->count == batch->want) {
                cache->hand = id;
                return;
            }
            mark(cache, batch, id);
        }
        cache->hand = ++word * 64;
    }
}

/* Every slot is outside, or entered in this epoch or later.  wait: until it is so. */
static bool
slots_left(struct cache *cache, uint64_t epoch, bool wait)
{
    for (struct cache_slot *slot = NULL; (slot = cache_slot_next(cache, slot)) != NULL;)
        for (unsigned turns = 0;;) {
            uint64_t entered = atomic_load(&slot->epoch);
            if (entered == 0 || entered >= epoch)
                break;
            if (!wait)
                return false;
            ftk_spin_turn(&turns);
        }
    return true;
}

/* EVICTING -> LEAVING, unless it was rescued; EVICTING but pinned since -> RESIDENT. */
static bool
seize(struct cache *cache, uint64_t page_id)
{
    _Atomic uint32_t *word = &cache->fast.states[page_id];
    uint32_t state = atomic_load(word);

    while ((state & CACHE_STATE_MASK) == CACHE_EVICTING) {
        bool ours = (state & NOT_EVICTABLE) == 0 && CACHE__PINS(state) == 0;
        uint32_t wanted = (state & ~(uint32_t)CACHE_STATE_MASK) |
                          (uint32_t)(ours ? CACHE_LEAVING : CACHE_RESIDENT);
        if (cache__move(word, &state, wanted))
            return ours;
    }
    return false;
}

/* Keep of the batch what could be seized, and see that each page has a charge of its own. */
static void
seize_all(struct cache *cache, struct cache__batch *batch)
{
    uint64_t kept = 0;

    for (uint64_t i = 0; i < batch->count; i++)
        if (seize(cache, batch->ids[i]))
            batch->ids[kept++] = batch->ids[i];
    batch->count = kept;
    for (uint64_t i = 0; i < kept; i++)
        if ((atomic_load(&cache->fast.states[batch->ids[i]]) & CACHE_COVERED) != 0)
            cache__break_block(cache, batch->ids[i]);
}

/* The memory of all runs in one call, with one shootdown of other processors' TLBs: 0.4 to 1.5 us
 * per page where one call per run takes 2.4 to 4 (measured).  Linux 6.13 allows it to a process
 * itself. */
static bool
discard_vector(struct cache *cache, const struct iovec *runs, unsigned count, uint64_t bytes)
{
#ifdef SYS_process_madvise
    if (count < 2 || cache->vector_refused)
        return false;
    if (syscall(SYS_process_madvise, SELF_PROCESS, runs, (size_t)count, MADV_DONTNEED, 0u) ==
        (long)bytes)
        return true;
    cache->vector_refused = true; /* an older kernel; or a part was done, which does no harm */
#else
    (void)cache, (void)runs, (void)count, (void)bytes;
#endif
    return false;
}

static void
discard_all(struct cache *cache, struct cache__batch *batch)
{
    struct iovec runs[CACHE__EVICT_PAGES];
    unsigned count = 0;

    FTK_ASSERT(batch->count <= CACHE__EVICT_PAGES);
    for (uint64_t i = 0; i < batch->count; i++) {
        void *page = cache_address(&cache->fast, batch->ids[i]);
        if (i > 0 && batch->ids[i] == batch->ids[i - 1] + 1)
            runs[count - 1].iov_len += cache->page_bytes;
        else
            runs[count++] = (struct iovec){page, cache->page_bytes};
    }
    if (!discard_vector(cache, runs, count, batch->count * cache->page_bytes))
        for (unsigned i = 0; i < count; i++)
            ftk_region_discard(runs[i].iov_base, runs[i].iov_len);
    for (uint64_t i = 0; i < batch->count; i++) {
        cache__bits_clear(&cache->resident, batch->ids[i]);
        uint32_t before =
            cache__state_move(cache, batch->ids[i], ~(uint32_t)CACHE_FREE, CACHE_ABSENT);
        /* Its own charge, which is given back next; and nobody has come to it meanwhile. */
        FTK_ASSERT((before & CACHE_STATE_MASK) == CACHE_LEAVING);
        FTK_ASSERT((before & CACHE_COVERED) == 0);
    }
}

static void
batch_mark(struct cache *cache, uint64_t want, bool *wrapped_out)
{
    struct cache__batch *batch = &cache->batch;

    FTK_ASSERT(batch->count == 0); /* rule 4 */
    batch->want = want < CACHE__EVICT_PAGES ? want : CACHE__EVICT_PAGES;
    mark_hinted(cache, batch);
    if (batch->count < batch->want / 4) /* else leave the others their second chance */
        mark_swept(cache, batch, wrapped_out);
    if (batch->count > 0)
        batch->epoch = atomic_fetch_add(&cache->epoch, 1) + 1;
}

/* After the slots have left. */
static uint64_t
batch_finish(struct cache *cache)
{
    struct cache__batch *batch = &cache->batch;

    seize_all(cache, batch);
    uint64_t total = batch->count;
    discard_all(cache, batch);
    cache__uncharge(cache, total);
    atomic_fetch_add_explicit(&cache->evictions, total, memory_order_relaxed);
    batch->count = 0;
    return total;
}

uint64_t
cache__evict(struct cache *cache, uint64_t want, bool *wrapped_out)
{
    uint64_t total = 0;

    if (cache->batch.count > 0) { /* begun by cache__evict_soon */
        (void)slots_left(cache, cache->batch.epoch, true);
        total = batch_finish(cache);
    }
    if (total == 0) {
        batch_mark(cache, want, wrapped_out);
        (void)slots_left(cache, cache->batch.epoch, true);
        total = batch_finish(cache);
    }
    return total;
}

void
cache__evict_soon(struct cache *cache)
{
    bool wrapped;

    if (cache->batch.count > 0 && slots_left(cache, cache->batch.epoch, false))
        (void)batch_finish(cache);
    else if (cache->batch.count == 0)
        batch_mark(cache, CACHE__EVICT_PAGES, &wrapped);
}
