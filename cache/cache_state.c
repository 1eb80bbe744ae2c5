/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache/cache_state.c -- moves of a page's state that need no memory and no I/O: use, rescue, new,
 * dirty, free, and waiting for a state to end.
 *
 * 1. Every move is one compare-and-swap on the state word, made by cache__move, which holds it
 *    against the table; the flags that a move does not name stay.  (Pins come and go by themselves:
 *    they move nothing.)
 * 2. Whoever ends READING or LEAVING clears WAITED in the same step and, if it was set, wakes the
 *    bucket.  A waiter sets WAITED under the bucket's mutex before it sleeps: no wake-up is lost.
 * 3. The bit in the dirty bitmap is set after DIRTY; see cache_write.c, rule 3.
 *
 * What may be under way when a page gets its next life, and why cache_new need not wait for it:
 *   SEALING  the write pass is in `seal`, which reads and writes the page: cache_new spins.  The
 *            pass waits for nobody meanwhile.
 *   WRITING  the pass is done with the page, the device takes it from memory.  What it gets may be
 *            of either life, and nobody reads it: nothing durable refers to a page given out, and
 *            its next write begins in a later pass, when this one has ended.
 *   READING  the device fills the memory.  It cannot be that: see cache_new in cache.h.
 *   LEAVING  the evictor gives the memory back, and waits for nobody meanwhile: cache_new waits as
 *            for a mutex.
 */
#include "cache/cache_internal.h"
#include "ftk/clock.h"
#include "ftk/mem.h"
#include "ftk/spin.h"

#define POLL_PAUSE_NS 1000000u

static struct cache__bucket *
bucket_of(struct cache *cache, uint64_t page_id)
{
    return &cache->buckets[page_id % CACHE__WAIT_BUCKETS];
}

static void
wake(struct cache *cache, uint64_t page_id)
{
    struct cache__bucket *bucket = bucket_of(cache, page_id);

    ftk_mutex_lock(&bucket->mutex);
    ftk_cond_broadcast(&bucket->changed);
    ftk_mutex_unlock(&bucket->mutex);
}

#define TO(kind) (1u << (kind))

/* The kinds of state that may follow each one. */
static const uint8_t moves[CACHE_STATE_MASK + 1] = {
    [CACHE_ABSENT] = TO(CACHE_ABSENT) | TO(CACHE_READING) | TO(CACHE_FRESH) | TO(CACHE_LEAVING),
    [CACHE_READING] = TO(CACHE_READING) | TO(CACHE_RESIDENT) | TO(CACHE_ABSENT),
    [CACHE_RESIDENT] = TO(CACHE_RESIDENT) | TO(CACHE_EVICTING) | TO(CACHE_FRESH),
    [CACHE_EVICTING] =
        TO(CACHE_EVICTING) | TO(CACHE_RESIDENT) | TO(CACHE_LEAVING) | TO(CACHE_FRESH),
    [CACHE_LEAVING] = TO(CACHE_LEAVING) | TO(CACHE_ABSENT),
    [CACHE_FRESH] = TO(CACHE_FRESH) | TO(CACHE_RESIDENT),
};

bool
cache__move(_Atomic uint32_t *word, uint32_t *state_inout, uint32_t wanted)
{
    FTK_ASSERT((moves[*state_inout & CACHE_STATE_MASK] & TO(wanted & CACHE_STATE_MASK)) != 0);
#ifdef KILN_DEBUG
    cache__check_state(wanted);
#endif
    return atomic_compare_exchange_weak(word, state_inout, wanted);
}

bool
cache__state_move_unless(struct cache *cache, uint64_t page_id, uint32_t unless, uint32_t clear,
                         uint32_t set)
{
    _Atomic uint32_t *word = &cache->fast.states[page_id];
    uint32_t state = atomic_load(word);

    clear |= CACHE_WAITED;
    do
        if ((state & unless) != 0)
            return false;
    while (!cache__move(word, &state, (state & ~clear) | set));
    if (FTK_UNLIKELY((state & CACHE_WAITED) != 0))
        wake(cache, page_id);
    return true;
}

uint32_t
cache__state_move(struct cache *cache, uint64_t page_id, uint32_t clear, uint32_t set)
{
    _Atomic uint32_t *word = &cache->fast.states[page_id];
    uint32_t state = atomic_load(word);

    clear |= CACHE_WAITED;
    while (!cache__move(word, &state, (state & ~clear) | set))
        ;
    if (FTK_UNLIKELY((state & CACHE_WAITED) != 0))
        wake(cache, page_id);
    return state;
}

/* Sleep in the bucket, whose mutex is held, until something in it has changed; on a polled disk see
 * to it that something does. */
static void
bucket_sleep(struct cache *cache, struct cache__bucket *bucket)
{
    if (!cache->polled) {
        ftk_cond_wait(&bucket->changed, &bucket->mutex);
        return;
    }
    (void)ftk_cond_wait_until(&bucket->changed, &bucket->mutex, ftk_clock_ns() + POLL_PAUSE_NS);
    ftk_mutex_unlock(&bucket->mutex);
    if (atomic_load(&cache->loose_pending) > 0)
        (void)ftk_iogroup_wait(&cache->loose); /* completes them here; errors: see read_done */
    ftk_mutex_lock(&bucket->mutex);
}

static bool
is_busy(uint32_t state)
{
    uint32_t kind = state & CACHE_STATE_MASK;
    return kind == CACHE_READING || kind == CACHE_LEAVING;
}

void
cache__wait_page(struct cache *cache, uint64_t page_id)
{
    _Atomic uint32_t *word = &cache->fast.states[page_id];
    struct cache__bucket *bucket = bucket_of(cache, page_id);

    FTK_ASSERT(page_id < cache->fast.pages_max);
    for (unsigned spin = 0; spin < 64; spin++) {
        if (!is_busy(atomic_load(word)))
            return;
        ftk_cpu_relax();
    }
    if (cache->polled && atomic_load(&cache->loose_pending) > 0)
        (void)ftk_iogroup_wait(&cache->loose);

    ftk_mutex_lock(&bucket->mutex);
    uint32_t state = atomic_load(word);
    while (is_busy(state)) {
        if ((state & CACHE_WAITED) == 0 && !cache__move(word, &state, state | CACHE_WAITED))
            continue;
        bucket_sleep(cache, bucket);
        state = atomic_load(word);
    }
    ftk_mutex_unlock(&bucket->mutex);
}

void
cache__freed_read_ended(struct cache *cache)
{
    struct cache__bucket *bucket = &cache->freed_read;

    uint64_t had = atomic_fetch_sub(&cache->freed_reading, 1);

    FTK_ASSERT(had > 0); /* counted before it could be seen */
    if (had > 1)
        return;
    ftk_mutex_lock(&bucket->mutex);
    ftk_cond_broadcast(&bucket->changed);
    ftk_mutex_unlock(&bucket->mutex);
}

/* Until no freed page is being read: none of them begins its next life before. */
static void
wait_freed_read(struct cache *cache)
{
    struct cache__bucket *bucket = &cache->freed_read;

    ftk_mutex_lock(&bucket->mutex);
    while (atomic_load(&cache->freed_reading) > 0)
        bucket_sleep(cache, bucket);
    ftk_mutex_unlock(&bucket->mutex);
}

void
cache__discard(struct cache *cache, uint64_t first, uint64_t count)
{
    ftk_region_discard(cache_address(&cache->fast, first), count << cache->fast.page_shift);
    for (uint64_t id = first; id < first + count; id++) {
        cache__bits_clear(&cache->resident, id);
        uint32_t before = cache__state_move(cache, id, ~(uint32_t)CACHE_FREE, CACHE_ABSENT);
        FTK_ASSERT((before & CACHE_STATE_MASK) == CACHE_LEAVING);
    }
}

void
cache__ring_add(struct cache__ring *ring, uint64_t page_id)
{
    uint64_t at = atomic_fetch_add_explicit(&ring->head, 1, memory_order_relaxed);
    atomic_store_explicit(&ring->ids[at % CACHE__HINTS], page_id + 1, memory_order_relaxed);
}

/* A counter that only the writer changes: no locked instruction, of which a put has enough. */
static inline void
count_one(_Atomic uint64_t *counter)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1,
                          memory_order_release);
}

bool
cache_use_slow(const struct cache_fast *fast, uint64_t page_id)
{
    struct cache *cache = (struct cache *)(uintptr_t)fast; /* its first member */
    _Atomic uint32_t *word;
    uint32_t state;

    if (page_id >= fast->pages_max)
        return false; /* cache_fetch says why */
    word = &fast->states[page_id];
    state = atomic_load(word);
    for (;;) {
        uint32_t kind = state & CACHE_STATE_MASK;
        if (FTK_UNLIKELY((state & (CACHE_FREE | CACHE_RAW)) != 0))
            return false;
        if (kind == CACHE_FRESH)
            return true;
        if (kind != CACHE_RESIDENT && kind != CACHE_EVICTING)
            return false;
        uint32_t wanted = (state & ~(uint32_t)CACHE_STATE_MASK) | CACHE_RESIDENT | CACHE_REF;
        if (kind == CACHE_EVICTING)
            wanted &= ~(uint32_t)CACHE_SCANNED; /* in use after all */
        if (state == wanted)
            return true;
        if (cache__move(word, &state, wanted)) {
            if (kind == CACHE_EVICTING)
                atomic_fetch_add_explicit(&cache->rescues, 1, memory_order_relaxed);
            return true;
        }
    }
}

/* One page out of the writer's reserve: true; failing that, over the limit rather than nowhere. */
static bool
charge_new(struct cache *cache)
{
    uint64_t reserved = atomic_load(&cache->reserved);

    while (reserved > 0)
        if (atomic_compare_exchange_weak(&cache->reserved, &reserved, reserved - 1))
            return true;
    if (!cache__charge_try(cache, 1))
        cache__charge_forced(cache, 1);
    return false;
}

static bool
new_page(struct cache *cache, uint64_t page_id, uint32_t flags)
{
    const uint32_t stays = CACHE_COVERED | CACHE_WRITING | ~((uint32_t)CACHE_PIN_ONE - 1);
    _Atomic uint32_t *word = &cache->fast.states[page_id];
    bool charged = false, reserved = true;

    FTK_ASSERT(page_id < cache->fast.pages_max);
    for (unsigned turns = 0;;) {
        uint32_t state = atomic_load(word);
        if (FTK_UNLIKELY(is_busy(state))) {
            cache__wait_page(cache, page_id);
            continue;
        }
        if (FTK_UNLIKELY((state & CACHE_SEALING) != 0)) {
            ftk_spin_turn(&turns);
            continue;
        }
        bool absent = (state & CACHE_STATE_MASK) == CACHE_ABSENT;
        if (absent && !charged) {
            reserved = charge_new(cache);
            charged = true;
            continue;
        }
        uint32_t kept = absent ? cache__cover(cache, page_id) : state & stays;
        if (!cache__move(word, &state, CACHE_FRESH | flags | kept))
            continue;
        if (absent) {
            cache__bits_set(&cache->resident, page_id);
            if (kept != 0)
                cache__covered(cache, page_id);
        } else if (charged) {
            cache__uncharge(cache, 1);
        }
        if ((state & CACHE_DIRTY) != 0)
            count_one(&cache->freed_dirty);
        return reserved;
    }
}

bool
cache_new(struct cache *cache, uint64_t page_id)
{
    return new_page(cache, page_id, 0);
}

ftk_status
cache_reserve(struct cache *cache, size_t count)
{
    uint64_t have = atomic_load(&cache->reserved);
    ftk_status rc = FTK_OK;

    if (FTK_UNLIKELY(atomic_load(&cache->freed_reading) > 0))
        wait_freed_read(cache);
    if (have < count) {
        rc = cache__charge(cache, count - have);
        if (rc == FTK_OK)
            atomic_fetch_add(&cache->reserved, count - have);
    }
    return rc;
}

bool
cache_try_reserve(struct cache *cache, size_t count, bool patient)
{
    uint64_t have = atomic_load(&cache->reserved);

    if (FTK_UNLIKELY(atomic_load(&cache->freed_reading) > 0))
        wait_freed_read(cache);
    if (have >= count)
        return true;
    if (!cache__charge_soon(cache, count - have, patient))
        return false;
    atomic_fetch_add(&cache->reserved, count - have);
    return true;
}

void
cache_reserve_trim(struct cache *cache, size_t keep)
{
    uint64_t have = atomic_load(&cache->reserved);

    while (have > keep) /* whoever returns a leaf may take pages of it meanwhile */
        if (atomic_compare_exchange_weak(&cache->reserved, &have, keep)) {
            cache__uncharge(cache, have - keep);
            return;
        }
}

void
cache_unreserve(struct cache *cache)
{
    cache_reserve_trim(cache, 0);
}

bool
cache_room_take(struct cache *cache, size_t count, bool patient, struct cache_room *room)
{
    room->pages = cache__charge_soon(cache, count, patient) ? count : 0;
    return room->pages == count;
}

void
cache_room_give(struct cache *cache, struct cache_room *room)
{
    cache__uncharge(cache, room->pages);
    room->pages = 0;
}

ftk_status
cache_new_run(struct cache *cache, uint64_t first, uint64_t count)
{
    if (first >= cache->fast.pages_max || count > cache->fast.pages_max - first)
        return FTK_FAIL(FTK_NOMEM, "pages %llu to %llu have no address (%llu pages reserved)",
                        (unsigned long long)first, (unsigned long long)(first + count - 1),
                        (unsigned long long)cache->fast.pages_max);
    for (uint64_t id = first; id < first + count; id++)
        (void)new_page(cache, id, CACHE_RAW);
    return FTK_OK;
}

void
cache_dirty_slow(struct cache *cache, uint64_t page_id, uint32_t flags)
{
    _Atomic uint32_t *word = &cache->fast.states[page_id];
    uint32_t state = atomic_load(word);

    uint32_t wanted;
    do {
        uint32_t kind = state & CACHE_STATE_MASK;
        FTK_ASSERT(kind == CACHE_RESIDENT || kind == CACHE_FRESH || kind == CACHE_EVICTING);
        FTK_ASSERT((state & CACHE_FREE) == 0);
        /* What another thread writes does not change (invariant 3); a write of the life before may
         * be under way. */
        FTK_ASSERT(kind == CACHE_FRESH || (state & (CACHE_DIRTY | CACHE_WRITING)) != CACHE_WRITING);
        wanted = (state & ~(uint32_t)CACHE_STATE_MASK) | CACHE_RESIDENT | CACHE_DIRTY | CACHE_REF |
                 flags;
    } while (!cache__move(word, &state, wanted));
    if ((state & CACHE_DIRTY) == 0) {
        count_one(&cache->dirtied);
        cache__bits_set(&cache->dirty, page_id);
    }
}

void
cache_dirty_run(struct cache *cache, uint64_t first, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        cache_dirty_slow(cache, first + i, CACHE_RAW);
}

void
cache_free(struct cache *cache, uint64_t page_id)
{
    _Atomic uint32_t *word = &cache->fast.states[page_id];
    uint32_t state = atomic_load(word);
    bool reading, counted = false;
    uint32_t wanted;

    FTK_ASSERT(page_id < cache->fast.pages_max);
    do {
        reading = (state & (CACHE_STATE_MASK | CACHE_FREE)) == CACHE_READING;
        if (FTK_UNLIKELY(reading && !counted)) { /* before it is FREE: who ends the read counts */
            atomic_fetch_add(&cache->freed_reading, 1);
            counted = true;
        }
        wanted =
            (state & ~(uint32_t)(CACHE_DIRTY | CACHE_RAW | CACHE_REF | CACHE_SCANNED)) | CACHE_FREE;
        if ((state & CACHE_STATE_MASK) == CACHE_FRESH)
            wanted = (wanted & ~(uint32_t)CACHE_STATE_MASK) | CACHE_RESIDENT;
    } while (state != wanted && !cache__move(word, &state, wanted));
    if (FTK_UNLIKELY(counted && !reading)) /* the read ended before */
        cache__freed_read_ended(cache);
    if (state == wanted)
        return;
    if ((state & CACHE_DIRTY) != 0)
        count_one(&cache->freed_dirty);
    uint32_t kind = state & CACHE_STATE_MASK;
    if (kind == CACHE_ABSENT)
        cache__charge_meta(cache, page_id); /* its state may be the first of its page of states */
    if (kind == CACHE_RESIDENT || kind == CACHE_FRESH) {
        uint64_t at = atomic_load_explicit(&cache->freed.head, memory_order_relaxed);
        atomic_store_explicit(&cache->freed.ids[at % CACHE__HINTS], page_id + 1,
                              memory_order_relaxed);
        count_one(&cache->freed.head);
    }
}

void
cache_unpin_run(struct cache *cache, uint64_t first, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++)
        cache_unpin(&cache->fast, first + i);
}

uint64_t
cache_dirty_bytes(struct cache *cache)
{
    /* In this order the difference cannot fall below what was dirty at the first load. */
    uint64_t cleaned = atomic_load(&cache->cleaned) + atomic_load(&cache->freed_dirty);
    uint64_t dirtied = atomic_load(&cache->dirtied);
    return dirtied > cleaned ? (dirtied - cleaned) << cache->fast.page_shift : 0;
}
