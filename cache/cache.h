/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache/cache.h -- page cache: one region of address space per database, page id x page size =
 * address (Leis et al., "Virtual-Memory Assisted Buffer Management", SIGMOD 2023).
 * Rules and lock order: cache/README.md.
 *
 * One 32-bit atomic word of state per page; cache_state.c has the table of its moves:
 *
 *     ABSENT --fetch--> READING --verified--> RESIDENT <--rescue-- EVICTING --> LEAVING --> ABSENT
 *        \                                      ^   ^ \--evictor marks--^   (epochs)  (discard)
 *         \--new (contents irrelevant)--> FRESH-/
 *                                         dirty, free
 *
 * and the write of a page: DIRTY -> DIRTY | SEALING -> WRITING -> clean, or DIRTY again when it
 * fails.
 * Other flags: REF (second chance), RAW (part of a large value: no page header, not sealed on
 * write, verified by who reads it), SCANNED, FREE (its life is over), WAITED, COVERED; and a pin
 * count.
 *
 * Invariants
 * 1. A RESIDENT page stays where it is while it is pinned, DIRTY, SEALING, WRITING, or while any
 *    slot that entered before the page was marked EVICTING has not left (epochs).  A FRESH page
 *    stays.
 * 2. No slot is inside an epoch while it waits for memory or for I/O (the one exception, in a
 *    damaged file, stands at cache_new).
 * 3. A DIRTY page whose contents may still change is never written by another thread than the one
 *    that changes it: `seal` refuses it.
 * 4. What is charged (all databases of the process) <= the limit, at all times; but a limit just
 *    lowered is reached as fast as pages become clean, and a writer whose reserve was recalled for
 *    others may be over it by the pages of one operation.  Charged are all pages that are not
 *    ABSENT (one that is EVICTING may stay so until memory is wanted), whole blocks where they are
 *    huge, the writer's reserve, and the states.
 * 5. Who sees a page RESIDENT sees contents that were verified since they were read, or made here.
 * 6. A page that is FREE is used by nobody and no read of it begins, until cache_new begins its
 *    next life.
 */
#ifndef CACHE_CACHE_H
#define CACHE_CACHE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "ftk/iobuf.h"
#include "ftk/log.h"

struct cache;

enum {
    CACHE_STATE_MASK = 7, /* one of the states below */
    CACHE_ABSENT = 0,
    CACHE_READING = 1,
    CACHE_RESIDENT = 2,
    CACHE_EVICTING = 3,
    CACHE_LEAVING = 4, /* being discarded by the evictor: as good as ABSENT, but wait */
    CACHE_FRESH = 5,   /* from cache_new until cache_dirty or cache_free: resident, not evictable */
    CACHE_DIRTY = 1 << 3,   /* contents newer than what was handed to the file */
    CACHE_WRITING = 1 << 4, /* a write is under way, of this life of the page or of the last one */
    CACHE_REF = 1 << 5,
    CACHE_RAW = 1 << 6,
    CACHE_WAITED = 1 << 7,  /* someone sleeps until READING or LEAVING ends */
    CACHE_COVERED = 1 << 8, /* its memory is charged with its huge page */
    CACHE_SCANNED = 1 << 9, /* fetched by a scan, and by nobody else since: no second chance */
    CACHE_SEALING =
        1 << 10,          /* the write pass is in `seal`: microseconds, and it waits for nobody */
    CACHE_FREE = 1 << 11, /* from cache_free to cache_new */
    CACHE_PIN_ONE = 1 << 12, /* pins in the upper 20 bits */
};

enum { CACHE_PINS_MOST = 1 << 19 }; /* half of what they can count: see cache_pins_many */

/* What one user of the cache (a transaction) announces to others; a cache line of its own. */
struct cache_slot {
    _Alignas(64) _Atomic uint64_t epoch; /* 0: outside; else the epoch it entered in */
    _Atomic uint64_t snapshot;           /* the engine's: the pinned snapshot's id, 0 when none */
    struct cache *cache;
    struct cache__board *board; /* where it hangs: see cache_slots.c */
    uint32_t number;            /* on the board */
};

struct cache_options {
    struct ftk_file *file;
    struct ftk_iobufs *bufs;
    const struct ftk_log *log;
    uint32_t page_bytes; /* power of two, 4096..65536 */
    uint64_t pages_want; /* address space wanted, in pages; halved until it can be had */
    uint64_t pages_need; /* but not below this */
    /* Called after a read of a page that is not RAW, before anyone sees it: FTK_OK, FTK_CORRUPT.
     * Any thread, inside no epoch. */
    ftk_status (*verify)(void *context, uint64_t page_id, const void *page);
    /* Called with SEALING set before a page that is not RAW is written: set its checksum and return
     * true; false: this pass does not write it (born after `limit`, may still change).  It must
     * wait for nobody: cache_new of this page spins meanwhile. */
    bool (*seal)(void *context, uint64_t page_id, void *page, uint64_t limit);
    void *context;
    /* May be NULL.  Memory is wanted and all of it is dirty: start cleaning.  Called from any
     * thread, with locks of the cache held: only wake someone up.  (checkpointer_open asks for the
     * same on its own account; an engine with a checkpointer needs no hook.) */
    void (*pressure)(void *context);
};

/* The parts that the inline fast path needs; the rest is private to the folder. */
struct cache_fast {
    uint8_t *base;
    _Atomic uint32_t *states; /* one per page id */
    uint32_t page_shift;
    _Atomic uint64_t *epoch_now; /* the global epoch, >= 1 */
    uint64_t pages_max;          /* page ids below this have an address */
};

ftk_status cache_open(const struct cache_options *options, struct cache **cache_out);
/* Nothing may be pinned or under way; dirty pages are dropped.  NULL is fine. */
void cache_close(struct cache *cache);
const struct cache_fast *cache_fast(struct cache *cache);

/* The process-wide limit in bytes, shared by all caches; see kiln_cache_limit. */
ftk_status cache_limit_set(uint64_t bytes);
uint64_t cache_limit(void);

/*
 * Readers may keep pages pinned beyond the call that needed them: all readers of the process
 * together an eighth of the limit, so that evicting always finds others (cache/README.md, rule 15).
 * This grants up to `pages` more and returns how many; nothing is pinned by it.
 */
uint32_t cache_lend(struct cache *cache, uint32_t pages);
void cache_lend_end(struct cache *cache, uint32_t pages); /* grants are given back */
bool cache_lends_too_much(void); /* the limit was lowered: whoever sees it gives grants back */

ftk_status cache_slot_take(struct cache *cache, struct cache_slot **slot_out);
void cache_slot_give(struct cache_slot *slot); /* outside an epoch; clears snapshot */
/* The first taken slot behind this one (NULL: of all); NULL: there are no more.  Who changes
 * something first and then walks meets every slot whose user has not seen the change. */
struct cache_slot *cache_slot_next(struct cache *cache, struct cache_slot *slot);

static inline void
cache_enter(const struct cache_fast *fast, struct cache_slot *slot)
{
    /* The store must be visible before any state is looked at: on x86-64 it is an xchg. */
    atomic_store_explicit(&slot->epoch, atomic_load_explicit(fast->epoch_now, memory_order_relaxed),
                          memory_order_seq_cst);
#if !defined(__x86_64__)
    atomic_thread_fence(memory_order_seq_cst);
#endif
}

static inline void
cache_leave(struct cache_slot *slot)
{
    atomic_store_explicit(&slot->epoch, 0, memory_order_release);
}

static inline uint8_t *
cache_address(const struct cache_fast *fast, uint64_t page_id)
{
    return fast->base + (page_id << fast->page_shift);
}

/* Slow part of cache_use: rescues an EVICTING page; false when the page must be fetched. */
bool cache_use_slow(const struct cache_fast *fast, uint64_t page_id);

/* Inside an epoch: true when the page is resident and stays so until the slot leaves.  False: fetch
 * it; which says what is wrong if it is FREE, or part of a large value. */
static inline bool
cache_use(const struct cache_fast *fast, uint64_t page_id)
{
    uint32_t state = atomic_load_explicit(&fast->states[page_id], memory_order_acquire);
    if (FTK_LIKELY((state & (CACHE_STATE_MASK | CACHE_REF | CACHE_RAW)) ==
                   (CACHE_RESIDENT | CACHE_REF)))
        return true;
    return cache_use_slow(fast, page_id);
}

/* Inside an epoch and after cache_use: keep the page beyond the epoch. */
static inline void
cache_pin(const struct cache_fast *fast, uint64_t page_id)
{
    uint32_t before =
        atomic_fetch_add_explicit(&fast->states[page_id], CACHE_PIN_ONE, memory_order_acquire);
    FTK_ASSERT(before < UINT32_MAX - CACHE_PIN_ONE);
}

/* What a program may do as often as it likes (hold a value, leave a cursor open) asks before it
 * pins the page once more, and is refused: the other half is for the calls at hand. */
static inline bool
cache_pins_many(const struct cache_fast *fast, uint64_t page_id)
{
    return atomic_load_explicit(&fast->states[page_id], memory_order_relaxed) / CACHE_PIN_ONE >=
           CACHE_PINS_MOST;
}

static inline void
cache_unpin(const struct cache_fast *fast, uint64_t page_id)
{
    uint32_t before =
        atomic_fetch_sub_explicit(&fast->states[page_id], CACHE_PIN_ONE, memory_order_release);
    FTK_ASSERT(before >= CACHE_PIN_ONE);
}

enum { CACHE_SCAN = 1 /* read by a scan: among the first to be evicted */ };

/* Memory for so many pages that are going to be fetched, charged already: neither another thread
 * nor a limit that falls takes it away before.  None: {0}. */
struct cache_room {
    uint64_t pages;
};
/* Outside an epoch.  False, with nothing taken, where memory cannot be had by evicting.  patient:
 * as of cache_try_reserve. */
bool cache_room_take(struct cache *cache, size_t count, bool patient, struct cache_room *room_out);
void cache_room_give(struct cache *cache, struct cache_room *room); /* what was not used of it */

/*
 * Outside an epoch: make the page resident (reading it when absent, evicting others when memory is
 * short) and pin it.  Page ids at or above pages_max are FTK_CORRUPT (a reference that cannot be).
 * errors: FTK_IO, FTK_CORRUPT (does not verify, past the end of the file, FREE, or RAW), FTK_NOMEM
 * (everything is pinned or dirty and nothing gets clean).
 */
ftk_status cache_fetch(struct cache *cache, uint64_t page_id, unsigned flags);
/* The same, into room taken before. */
ftk_status cache_fetch_in(struct cache *cache, uint64_t page_id, unsigned flags,
                          struct cache_room *room);
/*
 * The same for a run of pages of a large value (RAW).  `verify` is called for each page that had to
 * be read, before anyone can see it RESIDENT, possibly on other threads; so who finds such a page
 * in the cache need not verify it.  It may look at pages of the tail: they are there before the
 * others, and those of the tail behind its first page before that one.
 */
struct cache_run {
    uint64_t first, count; /* count >= 1 */
    uint64_t tail; /* so many pages at its end are needed to verify the others; 0: the caller has
                      pinned what is needed */
    ftk_status (*verify)(void *context, uint64_t page_id, const void *page); /* NULL: none */
    void *context;
    struct cache_room *room; /* NULL: none was taken */
};
ftk_status cache_fetch_run(struct cache *cache, const struct cache_run *run);
void cache_unpin_run(struct cache *cache, uint64_t first, uint64_t count);
/* Outside an epoch: read all absent pages of ids[0..count) with I/Os under way together; returns
 * when they are resident (not pinned: use them soon).  Duplicates are fine.  First error. */
ftk_status cache_fetch_many(struct cache *cache, const uint64_t *ids, size_t count, unsigned flags);
/* The same; where memory is short, page by page in room taken before. */
ftk_status cache_fetch_many_in(struct cache *cache, const uint64_t *ids, size_t count,
                               unsigned flags, struct cache_room *room);
/* Let another thread read absent pages, about in this order; best effort.  What was asked before
 * and has not been begun is forgotten.  Legal anywhere. */
void cache_read_ahead(struct cache *cache, const uint64_t *ids, size_t count);
/* Start such reads and return at once; best effort: no memory, no buffer: nothing happens.  Legal
 * inside an epoch too (it does not wait for slots to leave). */
void cache_prefetch(struct cache *cache, const uint64_t *ids, size_t count, unsigned flags);

/* ---- for the writer (one thread at a time) ---- */

/* Outside an epoch: see that the next `count` calls of cache_new need not wait: memory is charged,
 * and reads that were under way of pages freed meanwhile have ended.  errors: FTK_NOMEM. */
ftk_status cache_reserve(struct cache *cache, size_t count);
/* The same, but false, with nothing reserved, where memory cannot be had by evicting.  patient:
 * waits as long as pages are becoming clean; false means then that nobody cleans any: who has
 * unfinished pages, which nobody else can write, should write them out. */
bool cache_try_reserve(struct cache *cache, size_t count, bool patient);
void cache_reserve_trim(struct cache *cache, size_t keep); /* give back what is beyond `keep` */
void cache_unreserve(struct cache *cache);                 /* give back what is left */
/* How many bytes this cache's writer may have dirty before he writes them out himself, since nobody
 * else can: a quarter of the limit, or half of what the writers of other caches leave of three
 * quarters.  Outside an epoch. */
uint64_t cache_share(struct cache *cache);
/*
 * Begin a new life of a page id: FRESH, with undefined contents (zero when it was absent).  False:
 * the reserve had no page for it, since it was recalled when the limit fell: reserve again.  Legal
 * inside an epoch: it does not wait, neither for memory (what was not reserved is charged all the
 * same, over the limit if need be, until the next eviction) nor for a write of the former life that
 * is under way.  What that one leaves in the file is read by nobody: a page is given out only when
 * nothing durable refers to it, and is not read again before it was written again, by a later pass.
 *
 * A *read* under way would have to be waited for, since it fills this memory.  There is none: ids
 * are freed (cache_free) before they are given out again, no read of a FREE page begins, and
 * cache_reserve waits for those begun before.  Only a damaged reference to an id that was free when
 * the database was opened can cause one; then cache_new waits for it.
 */
bool cache_new(struct cache *cache, uint64_t page_id);
/* Contents are (about to be) newer than the file.  For pages that are resident and may change only
 * by this thread.  Set it after the header's birth is in place. */
void cache_dirty_slow(struct cache *cache, uint64_t page_id, uint32_t flags);
static inline bool
cache_is_dirty(const struct cache_fast *fast, uint64_t page_id)
{
    return (atomic_load_explicit(&fast->states[page_id], memory_order_relaxed) & CACHE_DIRTY) != 0;
}
/* New, and not dirty yet: it stays in memory, and nobody but its maker writes it. */
static inline bool
cache_is_fresh(const struct cache_fast *fast, uint64_t page_id)
{
    return (atomic_load_explicit(&fast->states[page_id], memory_order_relaxed) &
            CACHE_STATE_MASK) == CACHE_FRESH;
}
static inline void
cache_dirty(struct cache *cache, const struct cache_fast *fast, uint64_t page_id)
{
    if (FTK_UNLIKELY(
            !(atomic_load_explicit(&fast->states[page_id], memory_order_relaxed) & CACHE_DIRTY)))
        cache_dirty_slow(cache, page_id, 0);
}
/* RAW pages [first, first+count), filled, final: DIRTY | RAW. */
void cache_dirty_run(struct cache *cache, uint64_t first, uint64_t count);
/* RAW runs of the writer begin here: cache_new for each, flagged RAW, out of what was reserved.
 * errors: FTK_NOMEM (no such address). */
ftk_status cache_new_run(struct cache *cache, uint64_t first, uint64_t count);
/* The page's life is over: it is FREE, not DIRTY (nor RAW) any more, and is evicted first.  Legal
 * inside an epoch. */
void cache_free(struct cache *cache, uint64_t page_id);

/*
 * Write dirty pages in page-id order, adjacent ones as one I/O up to 1 MiB, through the buffer
 * manager, and wait for all of them (no sync).  limit is handed to seal.  One pass at a time:
 * others wait.  The first error ends the pass; what was not written stays DIRTY.
 */
struct cache_write_stats {
    uint64_t pages, bytes, ios, ns;
};
ftk_status cache_write_dirty(struct cache *cache, uint64_t limit,
                             struct cache_write_stats *stats_out);

struct cache_stats {
    uint64_t limit_bytes, process_bytes; /* process: used by all caches */
    uint64_t used_bytes, dirty_bytes;    /* of this cache */
    uint64_t misses, evictions, rescues, prefetches;
    uint64_t write_left_bytes; /* of the pass under way */
    uint64_t meta_bytes;       /* of this cache, beside used_bytes: page states.  They take from the
                                  limit, up to a quarter of it; process_bytes has them all */
};
void cache_stats(struct cache *cache, struct cache_stats *stats_out);
uint64_t cache_dirty_bytes(struct cache *cache);

#endif
