/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/txn/lent.h -- what a read transaction has lent and so keeps pinned.
 *
 * Pages that a snapshot reaches do not change (rule 1 of the folder's README), so a value that was
 * lent is the same bytes at the same address for as long as its pages stay in the cache.  A read
 * transaction pins them: the leaves of small values, the runs of large ones, newest last, and what
 * the caller holds (kiln_hold).
 *
 * States of a leaf or run: lent --(LENT_*_MAX others lent since, or the bound)--> given back;
 * lent --hold--> lent and held --release--> lent, or given back if its turn came meanwhile.
 * The end of the transaction, or renewing it, gives everything back.
 *
 * Invariants
 * 1. What is lent at most: LENT_LEAVES_MAX leaves, a leaf that is lent twice in a row counting
 *    once; LENT_RUNS_MAX runs, of up to LENT_RUN_BYTES_MAX together beside the newest.  The oldest
 *    is given back first.  (A run that is lent again makes room as another one would.)
 * 2. Of each transaction the newest leaf and the newest run are pinned whatever there is.  All
 *    others, and what is held, are granted by the cache (cache_lend): an eighth of its limit for
 *    all readers of the process.  With nothing granted a leaf or run is given back for the next
 *    one, and what is lent beside for a hold; if that would not do, the hold is refused and nothing
 *    is given back.
 * 3. To lend a leaf allocates nothing and waits for nothing.  It asks the cache for a grant once in
 *    `slots` leaves at most, and never for the first one: a transaction of one get touches no
 *    memory that it shares with others but its pages' states.
 * 4. With next == slots the ring has come round: the next leaf goes behind the newest if more slots
 *    are granted, else to the first slot.  Otherwise leaf[next] is the oldest leaf, or 0, and round
 *    the ring from there they grow newer.  Behind the ring there are zeros.
 * 5. runs[] are granted, `newest_run` is not: it gets a grant, or is given back, before the next
 *    run is pinned.  So a reader has one run pinned without a grant at any time.
 */
#ifndef ENGINE_LENT_H
#define ENGINE_LENT_H

#include "cache/cache.h"

enum {
    LENT_LEAVES_MAX = 64,         /* kiln.h tells programs */
    LENT_RUNS_MAX = 16,           /* likewise */
    LENT_RUN_BYTES_MAX = 4 << 20, /* likewise */
};

struct lent_run {
    uint64_t first;
    uint32_t pages;
};

struct lent_hold {
    const void *data; /* what the caller named; NULL: the slot is empty */
    size_t size;      /* likewise: values of several sizes may begin at one place */
    struct lent_run run;
    uint32_t count; /* so many holds are not released */
};

struct txn_lent {
    uint64_t newest; /* leaf, 0: none */
    uint32_t next;   /* the slot that the next leaf takes */
    uint32_t slots;  /* of the ring: 1, and what was granted */
    uint32_t wait;   /* so many rounds pass before a grant is asked for again */
    uint32_t run_count;
    uint32_t run_pages;         /* of runs[] together */
    struct lent_run newest_run; /* pages 0: none */
    struct lent_run shown;      /* what get_many's callback is looking at; pages 0: nothing */
    uint64_t leaf[LENT_LEAVES_MAX + 1];
    struct lent_run runs[LENT_RUNS_MAX - 1]; /* oldest first */

    struct lent_hold *holds; /* by address and size, open addressing */
    size_t hold_count, hold_slots;
};

void lent_init(struct txn_lent *lent);
/* The rules of its fields. */
void lent_check(const struct txn_lent *lent);
/* The ring has come round: next is less than slots. */
void lent_round(struct txn_lent *lent, struct cache *cache);

/* Inside an epoch and after cache_use: lend a value in this leaf. */
static inline void
lent_leaf(struct txn_lent *lent, struct cache *cache, const struct cache_fast *fast, uint64_t page)
{
    uint64_t oldest;

    if (page == lent->newest)
        return;
    if (FTK_UNLIKELY(lent->next == lent->slots))
        lent_round(lent, cache);
    cache_pin(fast, page);
    oldest = lent->leaf[lent->next];
    lent->leaf[lent->next++] = lent->newest = page;
    if (FTK_LIKELY(oldest != 0))
        cache_unpin(fast, oldest);
    /* The next call gives this one back. */
    __builtin_prefetch((const char *)(uintptr_t)&fast->states[lent->leaf[lent->next]], 1);
}

/* Before another run is pinned: the newest one is one of the others, or is given back. */
void lent_run_next(struct txn_lent *lent, struct cache *cache);
/* The run, which the caller has pinned behind lent_run_next, is lent. */
void lent_run(struct txn_lent *lent, struct cache *cache, struct lent_run run);
/* The leaf or run, with this page, where `data` is lent; or `data` of this size is held.  False: it
 * is neither. */
bool lent_find(const struct txn_lent *lent, const void *data, size_t size, uint64_t page,
               struct lent_run *run_out);
/*
 * Hold `data`, `size` bytes in these pages, which are lent; a second time counts.
 * errors: FTK_NOMEM (not granted, no memory for the table, or a page is pinned as often as can be):
 * all is as before.
 */
ftk_status lent_hold(struct txn_lent *lent, struct cache *cache, const void *data, size_t size,
                     struct lent_run run);
/* Once less.  FTK_INVALID: it is not held. */
ftk_status lent_release(struct txn_lent *lent, struct cache *cache, const void *data, size_t size);
/* Everything but the newest leaf is given back. */
void lent_end_slow(struct txn_lent *lent, struct cache *cache);
/* Everything is given back. */
static inline void
lent_end(struct txn_lent *lent, struct cache *cache, const struct cache_fast *fast)
{
    uint32_t more = (lent->slots - 1) | lent->wait | lent->run_count | lent->newest_run.pages;

    if (FTK_UNLIKELY(more != 0 || lent->holds != NULL))
        lent_end_slow(lent, cache);
    lent->shown.pages = 0;
    if (lent->newest != 0) {
        FTK_ASSERT(lent->slots == 1);
        cache_unpin(fast, lent->newest);
        lent->newest = lent->leaf[0] = 0;
        lent->next = 0;
    }
    FTK_DEBUG_ASSERT((lent_check(lent), true));
}
void lent_free(struct txn_lent *lent);

#endif
