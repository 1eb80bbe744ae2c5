/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache/cache_internal.h -- what the files of this folder share.  Rules and lock order: README.md.
 */
#ifndef CACHE_CACHE_INTERNAL_H
#define CACHE_CACHE_INTERNAL_H

#include <assert.h>

#include "cache/cache.h"
#include "ftk/thread.h"

enum {
    CACHE__RUN_BYTES = 1 << 20, /* largest I/O of a pass, a run or a prefetch */
    CACHE__BATCH_PAGES = 256,   /* pages of one fetch_many round; a 1 MiB run of 4 KiB pages */
    CACHE__AHEAD_MAX = 512,     /* pages asked for ahead */
    CACHE__EVICT_PAGES = 128,   /* pages marked per eviction batch: one epoch wait for them all */
    CACHE__HINTS = 4096,        /* ring of page ids to be evicted first; a power of two */
    CACHE__META_PAGES = 1024,   /* pages whose states fill 4 KiB */
    CACHE__WAIT_BUCKETS = 16,   /* a power of two */
    CACHE__SLOT_CHUNK = 64,     /* slots made together: one word of bits */
    CACHE__SLOT_WORDS = 64,     /* such words on a board */
    CACHE__LIMIT_BYTES_MIN = 4 << 20,
    CACHE__BLOCK_BYTES = 2 << 20, /* a huge page */
};

static_assert(CACHE_PIN_ONE > CACHE_FREE && (CACHE_PIN_ONE & (CACHE_PIN_ONE - 1)) == 0,
              "pins begin above all flags");
static_assert(CACHE_FRESH <= CACHE_STATE_MASK && CACHE_DIRTY == CACHE_STATE_MASK + 1,
              "flags begin above all kinds of state");
static_assert(sizeof(struct cache_slot) == 64, "slots share no cache line");
static_assert(CACHE__RUN_BYTES / 4096 <= CACHE__BATCH_PAGES, "a run is no more than a batch");
static_assert(CACHE__BLOCK_BYTES % CACHE__RUN_BYTES == 0 && CACHE__RUN_BYTES % 65536 == 0,
              "runs and blocks are of whole pages, of any size");
static_assert((CACHE__HINTS & (CACHE__HINTS - 1)) == 0, "a ring's places repeat");

#define CACHE__PINS(state) ((state) / CACHE_PIN_ONE)

/*
 * A set of page ids in two levels: one bit per page, and one bit per word of 64 pages, so that a
 * scan of a file of terabytes costs a look at the summary (64 TiB of 4 KiB pages: 32 MiB, of which
 * only what lies below `end` is read).
 *
 * 1. A leaf word that is not 0 has its summary bit set, except between the two stores of a setter
 *    that has not returned yet.
 * 2. Summary bits are cleared only by the one scanner there is at a time, which looks at the leaf
 *    again afterwards.
 */
struct cache__bits {
    _Atomic uint64_t *leaf;
    _Atomic uint64_t *summary;
    _Atomic uint64_t end; /* one past the highest id ever set */
};

/* Page ids to be evicted early; lossy by intention, any thread adds, the evictor takes. */
struct cache__ring {
    _Atomic uint64_t ids[CACHE__HINTS]; /* page id + 1; 0: none */
    _Atomic uint64_t head;
    uint64_t tail; /* guarded by the pool's mutex */
};

struct cache__batch { /* pages marked EVICTING together */
    uint64_t ids[CACHE__EVICT_PAGES];
    uint64_t count, want;
    uint64_t epoch; /* who entered before it may still see them resident */
};

struct cache__bucket { /* where threads wait for READING or LEAVING to end */
    struct ftk_mutex mutex;
    struct ftk_cond changed;
};

/* How the pages of a read are verified and finished, and the first error. */
struct cache__read {
    struct cache *cache;
    bool scan, raw, loose;   /* loose: counted in cache->loose_pending */
    struct cache_room *room; /* charged already; NULL: none */
    bool *pinned; /* NULL, or of each page from pinned_first on: it became RESIDENT, with a pin */
    uint64_t pinned_first;
    /* of each page of this read; NULL: none */
    ftk_status (*verify)(void *context, uint64_t page_id, const void *page);
    void *context;
    _Atomic uint32_t failed;
    struct ftk_error error;
};

struct cache__board { /* slots: see cache_slots.c */
    _Atomic uint64_t taken[CACHE__SLOT_WORDS];
    _Atomic(struct cache_slot *) chunks[CACHE__SLOT_WORDS];
    _Atomic(struct cache__board *) next;
};

struct cache__ahead { /* what the reading thread is asked for */
    struct ftk_mutex mutex;
    struct ftk_cond asked;
    struct ftk_thread thread;
    bool started; /* the thread; guarded by the mutex, as what follows */
    bool ending;
    size_t at, count;
    uint64_t ids[CACHE__AHEAD_MAX];
};

struct cache {
    struct cache_fast fast; /* first: cache_use_slow finds the cache by it */
    struct ftk_file *file;
    struct ftk_iobufs *bufs;
    const struct ftk_log *log;
    ftk_status (*verify)(void *context, uint64_t page_id, const void *page);
    bool (*seal)(void *context, uint64_t page_id, void *page, uint64_t limit);
    void *context;
    uint32_t page_bytes;
    uint32_t run_pages; /* CACHE__RUN_BYTES in pages */
    bool polled;        /* completions may need us (see cache__wait_page) */
    void *region;
    size_t region_bytes;

    struct cache__bits dirty;
    struct cache__bits resident;
    _Atomic uint8_t *meta; /* per CACHE__META_PAGES pages: 1 when their states were charged */
    _Atomic uint64_t meta_bytes;
    _Atomic uint8_t *blocks; /* per block of 2 MiB: see cache_huge.c */
    uint32_t block_shift;    /* page id >> this = block */
    _Atomic bool huge;       /* blocks touched from now on become huge pages */

    _Alignas(64) _Atomic uint64_t epoch;
    struct cache__board board; /* of slots: the first one */

    /* The writer's line: dirty bytes now = (dirtied - freed_dirty - cleaned) pages. */
    _Alignas(64) _Atomic uint64_t dirtied; /* pages ever made dirty */
    _Atomic uint64_t freed_dirty;          /* dirty pages that were freed */
    _Atomic uint64_t reserved;             /* pages charged for cache_new */
    _Alignas(64) _Atomic uint64_t cleaned; /* pages ever written */
    _Atomic uint64_t write_left;           /* pages the pass under way has still to look at */

    _Alignas(64) _Atomic uint64_t used_pages;
    _Atomic uint64_t misses, evictions, rescues, prefetches;

    struct cache__ring freed, scanned;
    struct cache__bucket buckets[CACHE__WAIT_BUCKETS];
    _Atomic uint64_t freed_reading;  /* pages freed while they were being read */
    struct cache__bucket freed_read; /* where cache_reserve waits for them */
    struct ftk_iogroup loose;        /* prefetches: nobody waits for them */
    _Atomic uint64_t loose_pending;
    struct cache__read loose_read[2]; /* [scan] */

    struct cache__ahead ahead;

    struct ftk_mutex pass; /* one write pass at a time */

    /* Guarded by the pool's mutex. */
    struct cache *next;
    uint64_t hand; /* page id where the clock goes on */
    struct cache__batch batch;
    bool vector_refused; /* the kernel does not discard several runs in one call */
    void (*pressure)(void *context);
    void *pressure_context;
    void (*pressure_engine)(void *context);
};

/* ---- cache_bits.c ---- */
void cache__bits_set(struct cache__bits *bits, uint64_t id);
void cache__bits_clear(struct cache__bits *bits, uint64_t id);
/* Set the bits of `mask` in word `word`, all below `end`. */
void cache__bits_set_word(struct cache__bits *bits, uint64_t word, uint64_t mask);
bool cache__bits_has(const struct cache__bits *bits, uint64_t id);
/* Scanner only: the first leaf word at or after *word_inout that is not 0; its contents, and its
 * index in *word_inout; 0 when there is none below word_end. */
uint64_t cache__bits_next(struct cache__bits *bits, uint64_t *word_inout, uint64_t word_end);

/* ---- cache_state.c ---- */
/* One attempt to move a state word, which is held against the table of moves; false: *state_inout
 * is what it is now. */
bool cache__move(_Atomic uint32_t *word, uint32_t *state_inout, uint32_t wanted);
/* Clear `clear`, set `set` in one step, and wake who waits.  Returns the state before. */
uint32_t cache__state_move(struct cache *cache, uint64_t page_id, uint32_t clear, uint32_t set);
/* The same, but nothing happens and false is returned if a flag of `unless` is set. */
bool cache__state_move_unless(struct cache *cache, uint64_t page_id, uint32_t unless,
                              uint32_t clear, uint32_t set);
/* Sleep until neither READING nor LEAVING. */
void cache__wait_page(struct cache *cache, uint64_t page_id);
/* A page that was freed while it was read is ABSENT now. */
void cache__freed_read_ended(struct cache *cache);
/* Pages [first, first+count) that only the caller may touch (READING or LEAVING): give the memory
 * back and make them ABSENT.  Does not uncharge. */
void cache__discard(struct cache *cache, uint64_t first, uint64_t count);
void cache__ring_add(struct cache__ring *ring, uint64_t page_id);

/* ---- cache_pool.c ---- */
void cache__pool_add(struct cache *cache);
void cache__pool_remove(struct cache *cache);
/* Outside epochs; evicts, waits for pages to become clean.  errors: FTK_NOMEM. */
ftk_status cache__charge(struct cache *cache, uint64_t pages);
/* Outside epochs; evicts, but does not wait for pages to become clean. */
bool cache__charge_now(struct cache *cache, uint64_t pages);
/* As many of these as can be charged so: all, or a half of them, a quarter, ..., or none. */
uint64_t cache__charge_some(struct cache *cache, uint64_t pages);
/* As cache__charge_now.  patient: see cache_try_reserve. */
bool cache__charge_soon(struct cache *cache, uint64_t pages, bool patient);
bool cache__charge_try(struct cache *cache, uint64_t pages); /* does not wait; legal in an epoch */
void cache__charge_forced(struct cache *cache, uint64_t pages);
void cache__uncharge(struct cache *cache, uint64_t pages);
void cache__shrink(void); /* evict down to the limit, as far as possible without waiting */
void cache__pool_cleaned(uint64_t pages); /* so many pages became evictable: wakes those who wait */
uint64_t cache__process_bytes(void);
uint64_t cache__budget(void); /* of the limit, what pages may use */
bool cache__over(void);       /* more is used than the limit, which was lowered, allows */
/* Who is told when memory is wanted and everything is dirty; must not block nor call the cache. */
void cache__pressure_hook(struct cache *cache, void (*pressure)(void *context), void *context);

void cache__charge_meta(struct cache *cache, uint64_t page_id);
bool cache__charge_huge(struct cache *cache, uint64_t pages); /* only where plenty is left */

/* ---- cache_huge.c ---- */
void cache__huge_open(struct cache *cache);
/* Before a page leaves ABSENT: the flag to leave it with, CACHE_COVERED or 0; and if that was
 * CACHE_COVERED, afterwards: its own charge is not needed. */
uint32_t cache__cover(struct cache *cache, uint64_t page_id);
void cache__covered(struct cache *cache, uint64_t page_id);
/* Under the pool's mutex: the page's block is charged page by page from now on. */
void cache__break_block(struct cache *cache, uint64_t page_id);

/* ---- cache_evict.c ---- */
/* Under the pool's mutex: discard up to `want` pages; *wrapped_out: the hand came round. */
uint64_t cache__evict(struct cache *cache, uint64_t want, bool *wrapped_out);
/* The same without waiting: begin a batch, or finish the one begun if that is possible. */
void cache__evict_soon(struct cache *cache);

/* ---- cache_fetch.c ---- */
/* How pages that are not RAW are read. */
void cache__read_init(struct cache__read *read, struct cache *cache, bool scan);
size_t cache__batch_pages(struct cache *cache);
/* Read what is absent of up to CACHE__BATCH_PAGES pages, without waiting for the reads; outside
 * epochs. */
void cache__read_start(struct cache *cache, const uint64_t *ids, size_t count);

/* ---- cache_check.c ---- */
/* What holds of each state by itself, at any time. */
void cache__check_state(uint32_t state);
/* That, and that the accounts and the sets of page ids agree with the states.  Nothing may be under
 * way, no thread in the cache, nor an evictor. */
void cache__check(struct cache *cache);

/* ---- cache_slots.c ---- */
void cache__slots_release(struct cache *cache);

/* ---- cache_ahead.c ---- */
void cache__ahead_init(struct cache *cache);
void cache__ahead_end(struct cache *cache);

#endif
