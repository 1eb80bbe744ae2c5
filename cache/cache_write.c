/*
 * cache/cache_write.c -- the write pass: dirty pages in page-id order, in long runs.
 *
 * 1. One pass at a time (the pass mutex).  It scans the dirty bitmap a word of 64 pages at a time.
 * 2. A page is WRITING before it is sealed, and until its I/O has ended: the writer waits for that
 *    before it gives the page a new life, so what is under way does not change.
 * 3. The bits of a run leave the bitmap before its I/O starts (a page may become dirty again as
 *    soon as WRITING ends) and come back when the I/O failed.
 * 4. I/O is straight from the region, no copy.  Sealing the next run overlaps the I/O of the last;
 *    the buffer manager bounds what is under way.
 * 5. The first error ends the pass; pages whose I/O failed stay DIRTY.
 */
#include "cache/cache_internal.h"
#include "ftk/clock.h"

struct pass {
    struct cache *cache;
    uint64_t limit;
    uint64_t first, count; /* the run being collected */
    uint64_t word, taken;  /* bits of this word that are in the run, not yet cleared */
    struct ftk_iogroup group;
    struct cache_write_stats stats;
    _Atomic uint32_t failed;
};

static void
write_failed(struct cache *cache, uint64_t page_id)
{
    uint32_t state = atomic_load(&cache->fast.states[page_id]);

    if ((state & CACHE_DIRTY) != 0) /* not freed since */
        cache__bits_set(&cache->dirty, page_id);
    cache__state_move(cache, page_id, CACHE_WRITING, 0);
}

/* Completion of one run; on the buffer manager's thread. */
static void
write_done(void *context, void *memory, size_t size, ftk_status status)
{
    struct pass *pass = context;
    struct cache *cache = pass->cache;
    uint64_t first = (uint64_t)((uint8_t *)memory - cache->fast.base) >> cache->fast.page_shift;
    uint64_t count = size >> cache->fast.page_shift, cleaned = 0;

    if (FTK_UNLIKELY(status != FTK_OK)) {
        atomic_store(&pass->failed, 1);
        for (uint64_t id = first; id < first + count; id++)
            write_failed(cache, id);
        return;
    }
    for (uint64_t id = first; id < first + count; id++)
        if ((cache__state_move(cache, id, CACHE_DIRTY | CACHE_WRITING, 0) & CACHE_DIRTY) != 0)
            cleaned++;
    atomic_fetch_add(&cache->cleaned, cleaned);
    cache__pool_cleaned(count);
}

static void
clear_taken(struct pass *pass)
{
    if (pass->taken != 0)
        atomic_fetch_and(&pass->cache->dirty.leaf[pass->word], ~pass->taken);
    pass->taken = 0;
}

static void
submit_run(struct pass *pass)
{
    struct cache *cache = pass->cache;
    uint32_t shift = cache->fast.page_shift;
    uint64_t bytes = pass->count << shift;
    struct ftk_iobuf *buf;

    if (pass->count == 0)
        return;
    clear_taken(pass);
    ftk_iobuf_acquire(cache->bufs, &buf);
    ftk_iobuf_submit(buf, cache->file, FTK_IO_WRITE, cache_address(&cache->fast, pass->first),
                     bytes, pass->first << shift, &pass->group, write_done, pass);
    pass->stats.pages += pass->count;
    pass->stats.bytes += bytes;
    pass->stats.ios++;
    pass->count = 0;
    if (cache__over()) /* the limit was lowered */
        cache__shrink();
}

/* The bitmap says dirty, the state does not: freed (or on its way to being dirty). */
static void
drop_stale_bit(struct cache *cache, uint64_t page_id)
{
    cache__bits_clear(&cache->dirty, page_id);
    if ((atomic_load(&cache->fast.states[page_id]) & CACHE_DIRTY) != 0)
        cache__bits_set(&cache->dirty, page_id);
}

/* DIRTY -> DIRTY | WRITING and sealed; false: not to be written by this pass. */
static bool
take_page(struct pass *pass, uint64_t page_id)
{
    struct cache *cache = pass->cache;
    _Atomic uint32_t *word = &cache->fast.states[page_id];
    uint32_t state = atomic_load(word);

    do {
        if ((state & CACHE_DIRTY) == 0) {
            drop_stale_bit(cache, page_id);
            return false;
        }
        if ((state & CACHE_WRITING) != 0)
            return false;
    } while (!atomic_compare_exchange_weak(word, &state, state | CACHE_WRITING));

    if ((state & CACHE_RAW) != 0 || cache->seal == NULL ||
        cache->seal(cache->context, page_id, cache_address(&cache->fast, page_id), pass->limit))
        return true;
    cache__state_move(cache, page_id, CACHE_WRITING, 0);
    return false;
}

static void
take_word(struct pass *pass, uint64_t leaf)
{
    for (; leaf != 0; leaf &= leaf - 1) {
        unsigned bit = (unsigned)__builtin_ctzll(leaf);
        uint64_t id = pass->word * 64 + bit;
        if (!take_page(pass, id))
            continue;
        if (pass->count > 0 &&
            (id != pass->first + pass->count || pass->count == pass->cache->run_pages))
            submit_run(pass);
        if (pass->count == 0)
            pass->first = id;
        pass->count++;
        pass->taken |= UINT64_C(1) << bit;
    }
    clear_taken(pass);
}

static void
scan(struct pass *pass)
{
    struct cache *cache = pass->cache;
    uint64_t left = cache_dirty_bytes(cache) >> cache->fast.page_shift;
    uint64_t word_end = (atomic_load(&cache->dirty.end) + 63) / 64, word = 0;

    for (;; word++) {
        uint64_t leaf = cache__bits_next(&cache->dirty, &word, word_end);
        if (leaf == 0 || atomic_load_explicit(&pass->failed, memory_order_relaxed) != 0)
            break;
        /* At least 1 while the pass is under way: see call_for_cleaning. */
        uint64_t seen = (uint64_t)__builtin_popcountll(leaf);
        left = left > seen ? left - seen : 1;
        atomic_store_explicit(&cache->write_left, left, memory_order_relaxed);
        pass->word = word;
        take_word(pass, leaf);
    }
    submit_run(pass);
}

ftk_status
cache_write_dirty(struct cache *cache, uint64_t limit, struct cache_write_stats *stats_out)
{
    struct pass pass = {.cache = cache, .limit = limit};
    uint64_t start_ns = ftk_clock_ns();

    ftk_mutex_lock(&cache->pass);
    ftk_iogroup_init(&pass.group, cache->bufs);
    scan(&pass);
    ftk_status rc = ftk_iogroup_wait(&pass.group);
    atomic_store(&cache->write_left, 0);
    ftk_mutex_unlock(&cache->pass);

    if (cache__over())
        cache__shrink();
    pass.stats.ns = ftk_clock_ns() - start_ns;
    if (stats_out != NULL)
        *stats_out = pass.stats;
    return rc;
}
