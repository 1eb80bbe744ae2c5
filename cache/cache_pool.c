/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache/cache_pool.c -- the memory limit of the process: a list of all caches, and what they use.
 * The only global state of the folder (design, section 8: the documented process-wide limit).
 *
 * 1. Memory is charged before it is used and uncharged after it was given back, so that what is
 *    used is never more than `used_bytes`.
 *    The states of pages ever touched (0.1 % of the file at 4 KiB pages) count, too.
 * 2. Who needs memory evicts it himself, outside epochs, under the pool's mutex, a batch at a time:
 *    one eviction serves the next hundred misses.
 *    A prefetch, which may be called inside an epoch, sees to it in time that a batch is begun.
 * 3. Second chance runs over all caches as over one: the turn passes to the next cache when the
 *    hand of this one has come round.
 * 4. When nothing can be evicted because everything is dirty, the pressure hooks are called and the
 *    thread naps until pages have been cleaned.  It gives up (FTK_NOMEM) when nothing was cleaned
 *    for STUCK_NS, or for STUCK_WRITING_NS while a write pass is under way (a device that hangs for
 *    seconds is no reason to fail).
 * 5. Dirty pages of unfinished transactions can be written by their own writers alone.  Each writes
 *    them out when they are more than its share (cache_share), which looks at the pool as a whole:
 *    the shares of any number of writers add up to less than three quarters of the limit, so that
 *    there is always something to evict, for readers too; and when memory is wanted and none can be
 *    had at once (cache_room_take, cache_try_reserve), before it waits for others.
 * 6. When nothing can be evicted, what the writers of other caches hold in reserve is taken from
 *    them: it may date from before the limit fell.  What they make then is charged as it is made,
 *    over the limit if need be, and they are told so and look again before the next operation.
 * 7. Memory is taken where it is found: nobody is told that there would be some.  Between a look
 *    and a use others may take it, and the limit may fall.
 * 8. The child of a fork has a pool of its own, empty and with its parent's limit.  Its parent's
 *    caches are not in it: no thread there ever leaves their slots or lets go the mutex.
 */
#include <unistd.h>

#include "cache/cache_internal.h"
#include "ftk/clock.h"
#include "ftk/fork.h"

#define STUCK_NS 3000000000u
#define STUCK_SOON_NS 3000000u /* a checkpoint that was called for has begun by then */
#define STUCK_WRITING_NS 30000000000u
#define NAP_NS_MIN 50000u
#define NAP_NS_MAX 2000000u
#define SWEEP_AGAIN_NS 10000000u /* something may have been unpinned */

static struct {
    struct ftk_mutex mutex; /* guards caches and turn; held while evicting */
    struct cache *caches;
    struct cache *turn;
    _Atomic uint32_t count;       /* of caches */
    _Atomic uint64_t limit_bytes; /* 0: not set, the default holds */
    _Atomic uint64_t meta_bytes;  /* states of pages, once touched: never given back */
    _Alignas(64) _Atomic uint64_t used_bytes;
    _Atomic uint64_t cleaned; /* pages of all caches made evictable; only its change matters */
    _Alignas(64) _Atomic uint64_t lent_bytes; /* granted to readers: see cache_lend */
} pool = {.mutex = FTK_MUTEX_INIT};

uint64_t
cache_limit(void)
{
    uint64_t limit = atomic_load_explicit(&pool.limit_bytes, memory_order_relaxed);

    if (FTK_UNLIKELY(limit == 0)) { /* a quarter of the machine's memory, at least 64 MiB */
        long pages = sysconf(_SC_PHYS_PAGES), bytes = sysconf(_SC_PAGESIZE);
        if (pages > 0 && bytes > 0)
            limit = (uint64_t)pages * (uint64_t)bytes / 4;
        if (limit < 64u << 20)
            limit = 64u << 20;
        uint64_t set = 0;
        if (!atomic_compare_exchange_strong(&pool.limit_bytes, &set, limit))
            limit = set; /* somebody has set one meanwhile: the default does not take its place */
    }
    return limit;
}

ftk_status
cache_limit_set(uint64_t bytes)
{
    if (bytes < CACHE__LIMIT_BYTES_MIN)
        return FTK_FAIL(FTK_INVALID, "a cache of %llu bytes is too small: at least %d",
                        (unsigned long long)bytes, CACHE__LIMIT_BYTES_MIN);
    atomic_store(&pool.limit_bytes, bytes);
    cache__shrink();
    FTK_DEBUG_ASSERT(cache__budget() >= bytes / 4 * 3 || cache_limit() != bytes);
    return FTK_OK;
}

/* What pages may use: the limit without the states, which count up to a quarter of it, so that a
 * small cache over a huge file still works. */
uint64_t
cache__budget(void)
{
    uint64_t limit = cache_limit();
    uint64_t meta = atomic_load_explicit(&pool.meta_bytes, memory_order_relaxed);
    return limit - (meta < limit / 4 ? meta : limit / 4);
}

uint64_t
cache__process_bytes(void)
{
    return atomic_load(&pool.used_bytes) + atomic_load(&pool.meta_bytes);
}

bool
cache__over(void)
{
    return atomic_load(&pool.used_bytes) > cache__budget();
}

void
cache__charge_meta(struct cache *cache, uint64_t page_id)
{
    _Atomic uint8_t *group = &cache->meta[page_id / CACHE__META_PAGES];

    if (FTK_LIKELY(atomic_load_explicit(group, memory_order_relaxed) != 0) ||
        atomic_exchange(group, 1) != 0)
        return;
    atomic_fetch_add(&cache->meta_bytes, CACHE__META_PAGES * sizeof(uint32_t));
    atomic_fetch_add(&pool.meta_bytes, CACHE__META_PAGES * sizeof(uint32_t));
}

/* In the child of a fork: rule 8. */
static void
pool_begin_anew(void)
{
    ftk_mutex_init(&pool.mutex); /* a thread that is not here may have it */
    pool.caches = pool.turn = NULL;
    atomic_store(&pool.count, 0);
    atomic_store(&pool.meta_bytes, 0);
    atomic_store(&pool.used_bytes, 0);
    atomic_store(&pool.lent_bytes, 0);
}

void
cache__pool_add(struct cache *cache)
{
    ftk_fork_in_child(pool_begin_anew);
    ftk_mutex_lock(&pool.mutex);
    FTK_ASSERT(atomic_load(&cache->used_pages) == 0);
    cache->next = pool.caches;
    pool.caches = cache;
    atomic_fetch_add(&pool.count, 1);
    ftk_mutex_unlock(&pool.mutex);
}

void
cache__pool_remove(struct cache *cache)
{
    ftk_mutex_lock(&pool.mutex);
    for (struct cache **link = &pool.caches; *link != NULL; link = &(*link)->next)
        if (*link == cache) {
            *link = cache->next;
            atomic_fetch_sub(&pool.count, 1);
            break;
        }
    for (struct cache *other = pool.caches; other != NULL; other = other->next)
        FTK_ASSERT(other != cache); /* it was there once */
    if (pool.turn == cache)
        pool.turn = NULL;
    atomic_fetch_sub(&pool.meta_bytes, atomic_load(&cache->meta_bytes));
    atomic_fetch_sub(&pool.used_bytes, atomic_load(&cache->used_pages) << cache->fast.page_shift);
    /* What no cache uses is used by none. */
    FTK_ASSERT(pool.caches != NULL || atomic_load(&pool.used_bytes) == 0);
    FTK_ASSERT(pool.caches != NULL || atomic_load(&pool.meta_bytes) == 0);
    FTK_ASSERT(pool.caches != NULL || atomic_load(&pool.lent_bytes) == 0);
    ftk_mutex_unlock(&pool.mutex);
}

void
cache__pressure_hook(struct cache *cache, void (*pressure)(void *context), void *context)
{
    ftk_mutex_lock(&pool.mutex);
    cache->pressure = pressure;
    cache->pressure_context = context;
    ftk_mutex_unlock(&pool.mutex);
}

void
cache__pool_cleaned(uint64_t pages)
{
    atomic_fetch_add(&pool.cleaned, pages);
}

/* ---- charging -------------------------------------------------------------------------------- */

static bool
take(struct cache *cache, uint64_t pages)
{
    uint64_t bytes = pages << cache->fast.page_shift;

    if (atomic_fetch_add(&pool.used_bytes, bytes) + bytes <= cache__budget()) {
        atomic_fetch_add_explicit(&cache->used_pages, pages, memory_order_relaxed);
        return true;
    }
    atomic_fetch_sub(&pool.used_bytes, bytes);
    return false;
}

bool
cache__charge_huge(struct cache *cache, uint64_t pages)
{
    uint64_t bytes = pages << cache->fast.page_shift;

    if (atomic_fetch_add(&pool.used_bytes, bytes) + bytes <= cache__budget() / 8 * 7) {
        atomic_fetch_add_explicit(&cache->used_pages, pages, memory_order_relaxed);
        return true;
    }
    atomic_fetch_sub(&pool.used_bytes, bytes);
    return false;
}

void
cache__charge_forced(struct cache *cache, uint64_t pages)
{
    atomic_fetch_add(&pool.used_bytes, pages << cache->fast.page_shift);
    atomic_fetch_add_explicit(&cache->used_pages, pages, memory_order_relaxed);
}

void
cache__uncharge(struct cache *cache, uint64_t pages)
{
    if (pages == 0)
        return;
    uint64_t bytes = pages << cache->fast.page_shift;
    uint64_t had = atomic_fetch_sub_explicit(&cache->used_pages, pages, memory_order_relaxed);
    FTK_ASSERT(had >= pages); /* charged before, and once */
    had = atomic_fetch_sub(&pool.used_bytes, bytes);
    FTK_ASSERT(had >= bytes);
}

/* ---- lending --------------------------------------------------------------------------------- */

enum { LENT_PART = 8 };

bool
cache_lends_too_much(void)
{
    return atomic_load_explicit(&pool.lent_bytes, memory_order_relaxed) > cache_limit() / LENT_PART;
}

uint32_t
cache_lend(struct cache *cache, uint32_t pages)
{
    uint64_t most = cache_limit() / LENT_PART;
    uint64_t lent = atomic_load_explicit(&pool.lent_bytes, memory_order_relaxed), granted;

    do {
        uint64_t left = lent < most ? (most - lent) >> cache->fast.page_shift : 0;
        granted = left < pages ? left : pages;
        if (granted == 0)
            return 0;
    } while (!atomic_compare_exchange_weak_explicit(&pool.lent_bytes, &lent,
                                                    lent + (granted << cache->fast.page_shift),
                                                    memory_order_relaxed, memory_order_relaxed));
    return (uint32_t)granted;
}

void
cache_lend_end(struct cache *cache, uint32_t pages)
{
    uint64_t bytes = (uint64_t)pages << cache->fast.page_shift;

    if (pages == 0)
        return;
    uint64_t had = atomic_fetch_sub_explicit(&pool.lent_bytes, bytes, memory_order_relaxed);
    FTK_ASSERT(had >= bytes);
}

/* ---- eviction -------------------------------------------------------------------------------- */

/* Under the mutex: one eviction batch somewhere; pages discarded, 0 when there are none to give. */
static uint64_t
evict_somewhere(void)
{
    unsigned rounds = 0;

    for (struct cache *cache = pool.caches; cache != NULL; cache = cache->next)
        rounds += 2; /* the first time round takes away the second chances */
    while (rounds > 0) {
        bool wrapped = false;
        if (pool.turn == NULL)
            pool.turn = pool.caches;
        FTK_ASSERT(pool.turn != NULL);
        uint64_t pages = cache__evict(pool.turn, CACHE__EVICT_PAGES, &wrapped);
        if (wrapped) {
            pool.turn = pool.turn->next;
            rounds--;
        }
        if (pages > 0)
            return pages;
    }
    return 0;
}

/* Under the mutex: nothing can be evicted, and writers of other caches hold memory in reserve, from
 * before the limit fell, perhaps at rest.  They do without.  False: there was none. */
static bool
recall_reserves(const struct cache *cache)
{
    uint64_t had = atomic_load(&pool.used_bytes);

    for (struct cache *other = pool.caches; other != NULL; other = other->next)
        if (other != cache)
            cache_unreserve(other);
    return atomic_load(&pool.used_bytes) < had;
}

/* Make room for `bytes` more, for this cache; false when nothing could be evicted. */
static bool
make_room(const struct cache *cache, uint64_t bytes)
{
    bool room = true;

    ftk_mutex_lock(&pool.mutex);
    if (atomic_load(&pool.used_bytes) + bytes > cache__budget()) /* else someone did it meanwhile */
        room = evict_somewhere() > 0 || (cache != NULL && recall_reserves(cache));
    ftk_mutex_unlock(&pool.mutex);
    return room;
}

static bool
call_for_cleaning(void)
{
    bool writing = false;

    ftk_mutex_lock(&pool.mutex);
    for (struct cache *cache = pool.caches; cache != NULL; cache = cache->next) {
        writing = writing || atomic_load(&cache->write_left) > 0;
        if (cache_dirty_bytes(cache) == 0)
            continue;
        if (cache->pressure != NULL)
            cache->pressure(cache->pressure_context);
        if (cache->pressure_engine != NULL)
            cache->pressure_engine(cache->context);
    }
    ftk_mutex_unlock(&pool.mutex);
    return writing;
}

struct patience {
    uint64_t since_ns; /* the last progress */
    uint64_t nap_ns;
    uint64_t cleaned;
    uint64_t stuck_ns; /* gives up after so long without progress and without a write pass */
};

/* Nap until it is worth while to try again; false: nothing gets clean. */
static bool
await_cleaning(struct patience *patience)
{
    uint64_t swept_ns = ftk_clock_ns();
    bool writing = call_for_cleaning();

    for (;;) {
        uint64_t now_ns = ftk_clock_ns();
        uint64_t cleaned = atomic_load(&pool.cleaned);
        if (patience->since_ns == 0 || cleaned != patience->cleaned) {
            bool first = patience->since_ns == 0;
            patience->since_ns = now_ns;
            patience->cleaned = cleaned;
            patience->nap_ns = NAP_NS_MIN;
            if (!first)
                return true;
        }
        if (now_ns - patience->since_ns > (writing ? STUCK_WRITING_NS : patience->stuck_ns))
            return false;
        if (now_ns - swept_ns > SWEEP_AGAIN_NS)
            return true;
        ftk_clock_sleep_ns(patience->nap_ns);
        if (patience->nap_ns < NAP_NS_MAX)
            patience->nap_ns *= 2;
    }
}

bool
cache__charge_now(struct cache *cache, uint64_t pages)
{
    uint64_t bytes = pages << cache->fast.page_shift;

    while (!take(cache, pages))
        if (bytes > cache__budget() || !make_room(cache, bytes))
            return false;
    return true;
}

uint64_t
cache__charge_some(struct cache *cache, uint64_t pages)
{
    while (pages > 0 && !cache__charge_now(cache, pages))
        pages /= 2;
    return pages;
}

bool
cache__charge_soon(struct cache *cache, uint64_t pages, bool patient)
{
    struct patience patience = {.nap_ns = NAP_NS_MIN, .stuck_ns = STUCK_SOON_NS};

    while (!cache__charge_now(cache, pages))
        if (!patient || pages << cache->fast.page_shift > cache__budget() ||
            !await_cleaning(&patience))
            return false;
    return true;
}

uint64_t
cache_share(struct cache *cache)
{
    uint64_t others = 0, budget = cache__budget() / 4 * 3, quarter = cache_limit() / 4, share;

    if (FTK_LIKELY(atomic_load_explicit(&pool.count, memory_order_relaxed) == 1))
        return quarter;
    ftk_mutex_lock(&pool.mutex);
    for (struct cache *other = pool.caches; other != NULL; other = other->next)
        if (other != cache)
            others += cache_dirty_bytes(other) +
                      (atomic_load(&other->reserved) << other->fast.page_shift);
    ftk_mutex_unlock(&pool.mutex);
    share = budget > others ? (budget - others) / 2 : 0;
    return share < quarter ? share : quarter;
}

ftk_status
cache__charge(struct cache *cache, uint64_t pages)
{
    uint64_t bytes = pages << cache->fast.page_shift;
    struct patience patience = {.nap_ns = NAP_NS_MIN, .stuck_ns = STUCK_NS};

    while (!cache__charge_now(cache, pages)) {
        if (bytes > cache__budget())
            return FTK_FAIL(FTK_NOMEM, "%llu bytes are more than the cache limit of %llu bytes",
                            (unsigned long long)bytes, (unsigned long long)cache_limit());
        if (!await_cleaning(&patience))
            return FTK_FAIL(FTK_NOMEM,
                            "the cache is full (limit %llu bytes): every page is dirty or pinned",
                            (unsigned long long)cache_limit());
    }
    return FTK_OK;
}

bool
cache__charge_try(struct cache *cache, uint64_t pages)
{
    uint64_t ahead = (uint64_t)CACHE__EVICT_PAGES << cache->fast.page_shift;
    bool taken = take(cache, pages);

    if (atomic_load(&pool.used_bytes) + ahead > cache__budget() &&
        ftk_mutex_try_lock(&pool.mutex)) {
        cache__evict_soon(cache);
        ftk_mutex_unlock(&pool.mutex);
        taken = taken || take(cache, pages);
    }
    return taken;
}

void
cache__shrink(void)
{
    while (cache__over())
        if (!make_room(NULL, 0)) {
            (void)call_for_cleaning();
            return;
        }
}
