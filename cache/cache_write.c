/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache/cache_write.c -- the write pass: dirty pages in page-id order, in long runs.
 *
 * 1. One pass at a time (the pass mutex).  It scans the dirty bitmap a word of 64 pages at a time.
 * 2. The pass waits (for a buffer and for bytes, or for memory when the limit was lowered) only
 *    while it has taken no page: the buffer for a run, with the bytes of the longest, comes first,
 *    then pages are taken, then the run is submitted, which does not wait.  So whoever meets a page
 *    that is SEALING or WRITING waits for the device at most, never for the pass: else the pass
 *    could wait for an evictor, that one for a slot, and the slot for the page.
 * 3. The bits of a word leave the bitmap before its pages are looked at; those of pages that this
 *    pass does not write come back.  So a page that gets DIRTY while or after it is taken keeps the
 *    bit that its cache_dirty sets.
 * 4. A page is SEALING from before `seal` looks at it, until it is WRITING or given up.  DIRTY goes
 *    in the step that makes it WRITING: DIRTY means newer than what was handed to the file.  A page
 *    freed while it was sealed (cache_free takes DIRTY away) is not written.
 * 5. When the I/O has ended WRITING goes.  If it failed, the page is DIRTY again, and its bit set,
 *    unless its life is over: it is FREE, or FRESH, or DIRTY already on account of the next one.
 * 6. I/O is straight from the region, no copy.  Sealing the next run overlaps the I/O of the last;
 *    the buffer manager bounds what is under way.
 * 7. The first error ends the pass; pages whose I/O failed stay DIRTY.
 */
#include "cache/cache_internal.h"
#include "ftk/clock.h"

struct pass {
    struct cache *cache;
    uint64_t limit;
    struct ftk_iobuf *buf; /* for the next run, with its bytes; NULL: none yet */
    uint64_t first, count; /* the run being collected: WRITING and not submitted */
    struct ftk_iogroup group;
    struct cache_write_stats stats;
    _Atomic uint32_t failed;
};

/* The write of a page failed: true if it is DIRTY again, false if its life is over. */
static bool
write_failed(struct cache *cache, uint64_t page_id)
{
    _Atomic uint32_t *word = &cache->fast.states[page_id];
    uint32_t state = atomic_load(word);
    bool again;

    do {
        FTK_ASSERT((state & CACHE_WRITING) != 0);
        again = (state & CACHE_STATE_MASK) == CACHE_RESIDENT &&
                (state & (CACHE_FREE | CACHE_DIRTY)) == 0;
    } while (!cache__move(word, &state,
                          (state & ~(uint32_t)CACHE_WRITING) | (again ? CACHE_DIRTY : 0u)));
    if (again)
        cache__bits_set(&cache->dirty, page_id);
    return again;
}

/* Completion of one run; on the buffer manager's thread. */
static void
write_done(void *context, void *memory, size_t size, ftk_status status)
{
    struct pass *pass = context;
    struct cache *cache = pass->cache;
    uint64_t first = (uint64_t)((uint8_t *)memory - cache->fast.base) >> cache->fast.page_shift;
    uint64_t count = size >> cache->fast.page_shift, cleaned = count;

    FTK_ASSERT(count << cache->fast.page_shift == size && first + count <= cache->fast.pages_max);
    if (FTK_UNLIKELY(status != FTK_OK)) {
        atomic_store(&pass->failed, 1);
        for (uint64_t id = first; id < first + count; id++)
            cleaned -= write_failed(cache, id);
        atomic_fetch_add(&cache->cleaned, cleaned);
        return;
    }
    for (uint64_t id = first; id < first + count; id++) {
        uint32_t before = cache__state_move(cache, id, CACHE_WRITING, 0);
        FTK_ASSERT((before & CACHE_WRITING) != 0);
    }
    atomic_fetch_add(&cache->cleaned, cleaned);
    cache__pool_cleaned(count);
}

/* Rule 2: the one place where a pass waits for the buffer manager. */
static void
need_buffer(struct pass *pass)
{
    FTK_ASSERT(pass->count == 0);
    if (pass->buf == NULL)
        ftk_iobuf_acquire_for(pass->cache->bufs, CACHE__RUN_BYTES, &pass->buf);
}

static void
submit_run(struct pass *pass)
{
    struct cache *cache = pass->cache;
    uint32_t shift = cache->fast.page_shift;
    uint64_t bytes = pass->count << shift;

    if (pass->count == 0)
        return;
    FTK_ASSERT(pass->buf != NULL && bytes <= CACHE__RUN_BYTES);
    ftk_iobuf_submit(pass->buf, cache->file, FTK_IO_WRITE, cache_address(&cache->fast, pass->first),
                     bytes, pass->first << shift, &pass->group, write_done, pass);
    pass->buf = NULL; /* moved */
    pass->stats.pages += pass->count;
    pass->stats.bytes += bytes;
    pass->stats.ios++;
    pass->count = 0;
    if (cache__over()) /* the limit was lowered */
        cache__shrink();
}

/* SEALING ends: WRITING if the page was sealed and is still alive. */
static bool
seal_end(_Atomic uint32_t *word, bool sealed)
{
    uint32_t state = atomic_load(word), wanted;
    bool taken;

    do {
        FTK_ASSERT((state & CACHE_SEALING) != 0);
        taken = sealed && (state & CACHE_DIRTY) != 0;
        wanted = state & ~(uint32_t)CACHE_SEALING;
        if (taken)
            wanted = (wanted & ~(uint32_t)CACHE_DIRTY) | CACHE_WRITING;
    } while (!cache__move(word, &state, wanted));
    return taken;
}

/* DIRTY -> WRITING, and sealed; false: not written by this pass, and if it is still DIRTY
 * *refused_out. */
static bool
take_page(struct pass *pass, uint64_t page_id, bool *refused_out)
{
    struct cache *cache = pass->cache;
    _Atomic uint32_t *word = &cache->fast.states[page_id];
    uint32_t state = atomic_load(word), wanted;
    bool sealed;

    FTK_ASSERT(page_id < cache->fast.pages_max && pass->buf != NULL); /* rule 2 */
    *refused_out = false;
    do {
        if ((state & CACHE_DIRTY) ==
            0) /* freed, or on its way to being dirty: the bit comes then */
            return false;
        /* Writes of passes before have ended, and this one comes by once. */
        FTK_ASSERT((state & (CACHE_WRITING | CACHE_SEALING)) == 0);
        sealed = (state & CACHE_RAW) != 0 || cache->seal == NULL; /* there is nothing to do */
        wanted = sealed ? (state & ~(uint32_t)CACHE_DIRTY) | CACHE_WRITING : state | CACHE_SEALING;
    } while (!cache__move(word, &state, wanted));
    if (sealed)
        return true;
    sealed =
        cache->seal(cache->context, page_id, cache_address(&cache->fast, page_id), pass->limit);
    *refused_out = !sealed;
    return seal_end(word, sealed);
}

static void
take_word(struct pass *pass, uint64_t word)
{
    struct cache__bits *dirty = &pass->cache->dirty;
    uint64_t leaf = atomic_exchange(&dirty->leaf[word], 0), refused_bits = 0;

    for (; leaf != 0; leaf &= leaf - 1) {
        uint64_t bit = leaf & -leaf, id = word * 64 + (uint64_t)__builtin_ctzll(leaf);
        bool refused;
        if (pass->count > 0 &&
            (id != pass->first + pass->count || pass->count == pass->cache->run_pages))
            submit_run(pass);
        if (pass->count == 0)
            need_buffer(pass);
        if (take_page(pass, id, &refused)) {
            if (pass->count++ == 0)
                pass->first = id;
        } else if (refused) {
            refused_bits |= bit;
        }
    }
    if (refused_bits != 0)
        cache__bits_set_word(dirty, word, refused_bits);
    if (pass->first + pass->count != (word + 1) * 64) /* the next word cannot continue the run */
        submit_run(pass);
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
        take_word(pass, word);
    }
    submit_run(pass);
    if (pass->buf != NULL)
        ftk_iobuf_release(pass->buf);
    pass->buf = NULL;
}

ftk_status
cache_write_dirty(struct cache *cache, uint64_t limit, struct cache_write_stats *stats_out)
{
    struct pass pass = {.cache = cache, .limit = limit};
    uint64_t start_ns = ftk_clock_ns();

    ftk_mutex_lock(&cache->pass);
    ftk_iogroup_init(&pass.group, cache->bufs);
    scan(&pass);
    FTK_ASSERT(pass.count == 0 && pass.buf == NULL);
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
