/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache/cache_ahead.c -- reads that another thread begins.
 *
 * To take memory for a page and to hand its read to the kernel costs a processor more than what a
 * writer does with the page afterwards.  So a writer that knows what it will miss leaves the ids
 * here, and works on the pages that have come.
 *
 * 1. There is one request; a new one takes the place of what has not been begun.
 * 2. Nobody relies on it: who needs a page fetches it.
 * 3. The thread begins with the first request, or, when it could not be started, with a later one:
 *    such a shortage passes.  It ends with the cache.
 */
#include <string.h>

#include "cache/cache_internal.h"

enum { STEP = 32 }; /* pages begun together: adjacent ones as one I/O */

static void
ahead_run(void *context)
{
    struct cache *cache = context;
    struct cache__ahead *ahead = &cache->ahead;
    uint64_t ids[STEP];

    ftk_mutex_lock(&ahead->mutex);
    for (;;) {
        size_t n;
        while (!ahead->ending && ahead->at == ahead->count)
            ftk_cond_wait(&ahead->asked, &ahead->mutex);
        if (ahead->ending)
            break;
        FTK_ASSERT(ahead->at < ahead->count && ahead->count <= CACHE__AHEAD_MAX);
        n = ahead->count - ahead->at < STEP ? ahead->count - ahead->at : STEP;
        memcpy(ids, ahead->ids + ahead->at, n * sizeof(*ids));
        ahead->at += n;
        ftk_mutex_unlock(&ahead->mutex);
        cache__read_start(cache, ids, n);
        ftk_mutex_lock(&ahead->mutex);
    }
    ftk_mutex_unlock(&ahead->mutex);
}

void
cache_read_ahead(struct cache *cache, const uint64_t *ids, size_t count)
{
    struct cache__ahead *ahead = &cache->ahead;

    if (count == 0)
        return;
    if (cache->polled) { /* no thread would be the same each time */
        cache_prefetch(cache, ids, count, 0);
        return;
    }
    ftk_mutex_lock(&ahead->mutex);
    if (FTK_UNLIKELY(!ahead->started)) /* without it all reads are the writer's */
        ahead->started =
            ftk_thread_start(&ahead->thread, "kiln-reader", ahead_run, cache) == FTK_OK;
    ahead->count = count < CACHE__AHEAD_MAX ? count : CACHE__AHEAD_MAX;
    ahead->at = 0;
    memcpy(ahead->ids, ids, ahead->count * sizeof(*ids));
    ftk_cond_signal(&ahead->asked);
    ftk_mutex_unlock(&ahead->mutex);
}

void
cache__ahead_init(struct cache *cache)
{
    ftk_mutex_init(&cache->ahead.mutex);
    ftk_cond_init(&cache->ahead.asked);
}

void
cache__ahead_end(struct cache *cache)
{
    struct cache__ahead *ahead = &cache->ahead;

    ftk_mutex_lock(&ahead->mutex);
    ahead->ending = true;
    ftk_cond_signal(&ahead->asked);
    ftk_mutex_unlock(&ahead->mutex);
    ftk_thread_join(&ahead->thread);
    ftk_cond_release(&ahead->asked);
    ftk_mutex_release(&ahead->mutex);
}
