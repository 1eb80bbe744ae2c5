/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/txn/txn_state.h -- what a transaction holds.
 *
 * A write transaction changes pages it made itself in place (birth numbers tell them: page birth >=
 * birth_floor means "mine in this scope"), leaves that only it can reach under the rules of
 * engine/txn/window.h, and copies all others.  Every operation first
 * takes all memory, page ids and log space it may need (txn_prepare); from the first change on it
 * cannot fail.
 */
#ifndef ENGINE_TXN_STATE_H
#define ENGINE_TXN_STATE_H

#include "engine/page/node.h"
#include "engine/txn/db_state.h"
#include "engine/txn/lent.h"
#include "engine/txn/log_ops.h"
#include "engine/txn/txn_born.h"

/* A collection's tree as this transaction sees it. */
struct tree {
    kiln_coll id;
    uint8_t flags; /* CATALOG_* */
    uint8_t height;
    bool dirty; /* the catalog entry must be written */
    bool dropped;
    bool building;        /* a bulk builder is at work: nobody else may change it */
    bool reserved;        /* an extension's: programs that guess its number may not change it */
    struct page_ref root; /* none: empty */
    uint64_t keys;
    uint64_t changes;   /* counts modifications: cursors look */
    uint64_t hint_leaf; /* leaf and position of the last insert: finds runs of keys in order */
    uint32_t hint_pos;
    bool hint_down;       /* the last leaf was split in front of a descending run */
    uint64_t append_leaf; /* rightmost leaf, mine, last insert was at its end; 0: none */
    uint64_t noted;       /* scope (its birth_floor) that last noted what it was: db/trees.h */
    uint64_t renewal;     /* txn->reader.renewals when it was read from the catalog */
};

/* Path from root to leaf: level[0] is the root. */
struct tree_path {
    uint32_t depth; /* number of levels */
    uint64_t page[TREE_HEIGHT_MAX];
    struct page_ref ref[TREE_HEIGHT_MAX]; /* of the page: what its parent says */
    uint32_t pos[TREE_HEIGHT_MAX];
    bool exact;
};

/* What a tree was when the scope at hand first used it. */
struct tree_before {
    struct tree *tree;
    struct tree was;
};

/* Where kiln_coll_name has got to: `count` collections up to number `coll`, in a catalog of so many
 * changes. */
struct txn_named {
    uint64_t count;
    kiln_coll coll;
    uint64_t changes, renewals;
};

/*
 * What the pages of a transaction were before a scope of it: a savepoint's, or that of a call that
 * takes itself back when it fails.  Pages made before the scope stay as they are until it is kept,
 * so taking it back finds them, and needs neither memory nor I/O.
 */
struct txn_scope {
    size_t born, dead, retired_own; /* how many there were in each list */
    uint64_t birth_floor;           /* of the scope around it, */
    size_t scope_born;              /* and where that begins */
};

/* What a rollback restores: set aside so that restoring it cannot fail. */
struct txn_savepoint {
    struct txn_scope pages;
    size_t trees_before; /* how many there were */
    struct tree catalog;
    uint64_t applied;
};

/* Of a reader alone. */
struct txn_reader {
    struct window *beside; /* it began beside this one: leaves are settled before they are read */
    uint64_t renewals;     /* trees of earlier ones are read again */
    struct txn_lent lent;  /* values that it lent, newest and before */
};

/*
 * Where the operations of a call begin that may have to be taken back: on the stack of that call,
 * inner ones inside outer ones (engine/txn/txn_log.c).
 */
struct txn_log_mark {
    size_t at;   /* of the operations; `logged`: a savepoint in the log says so instead */
    bool logged; /* some of them have left for the log */
    bool grows;  /* the writer's, before */
    struct txn_log_mark *outer;
};

enum txn_refusal {
    TXN_FIT,
    TXN_BUSY,    /* a program's function is called inside of a call: it may read, no more */
    TXN_DAMAGED, /* txn_damage: only a rollback, or the abort */
};

/* Of a writer alone.  What needs nothing else of the transaction takes this. */
struct txn_writer {
    bool logs;  /* operations go to the log */
    bool grows; /* it puts something: the last pages and log bytes of a full disk are not for it */
    bool reserve; /* the last pages are for it all the same: a replay */
    kiln_durability durability;
    uint64_t birth;       /* of pages made now */
    uint64_t birth_floor; /* pages born at or after this are changed in place */
    uint64_t birth_first; /* of this transaction's first page */

    /* What is pinned for the value that was lent last; a reader has txn_reader.lent. */
    uint64_t held_page;  /* 0: none */
    uint32_t held_count; /* pages of a run, 1 for a leaf */
    bool held_run;

    /* Pages that can be made or retired without failing.  Changed by whoever holds the window's
     * mutex (engine/txn/window.h), if there is a window. */
    _Atomic uint32_t prepared;
    uint32_t appends;                 /* puts behind the last key of a tree, without a descent */
    uint8_t *page_scratch;            /* page_bytes */
    struct txn_born born;             /* pages made; one that its own scope drops leaves at once */
    size_t scope_born;                /* place of the first one of the present scope */
    struct space_extents dead;        /* of older transactions, no longer needed */
    struct space_extents retired_own; /* made here, and wanted again only by a rollback */
    struct space_extents going;       /* runs of the large value that is about to be retired */
    _Atomic uint64_t spill_pages;     /* made, or clean and changed again, since the last spill */
    _Atomic uint64_t spill_due;       /* so many of them call for a look */

    uint8_t *ops; /* log operations not yet appended */
    size_t ops_size, ops_capacity;
    size_t ops_kept;           /* room set aside for what ends savepoints and marks */
    struct txn_log_mark *mark; /* the innermost; NULL: none */
    uint64_t fragments;        /* in the log */

    struct txn_savepoint *savepoints;
    size_t savepoint_count, savepoint_capacity;
    struct tree_before *before; /* what open savepoints restore */
    size_t before_count, before_capacity;

    kiln_bulk *bulks;   /* builders not yet ended */
    void *batch_memory; /* of tree_batch.c */
    size_t batch_bytes;
};

/* One object serves readers and writers in turn: it is kept for the next transaction, with the
 * memory that it has. */
struct kiln_txn {
    kiln_db *db;
    struct cache_slot *slot;
    const struct cache_fast *fast;
    struct cache *cache;
    struct window *window; /* a writer's: it may have or get one; NULL: it does without */
    struct txn_reader reader;
    struct db_snapshot snapshot; /* read: what is seen; write: what it began from, then becomes */
    bool write;                  /* which half is meant */
    bool inside;     /* an extension's call is under way: what fails inside is not the program's */
    uint8_t refusal; /* enum txn_refusal: of every further change, and of the end */

    struct tree catalog;
    struct tree **trees; /* open trees, in order of opening: engine/db/trees.h */
    size_t tree_count, tree_capacity;
    uint32_t *tree_slots; /* their places by number */
    size_t tree_slot_count;
    struct tree *tree_last; /* the one used last in the present scope */
    struct txn_named named;

    kiln_cursor *cursors;

    struct txn_writer writer;
    void *extension;        /* state of engine/db/extension.h */
    struct ftk_error error; /* of the last call that failed: for kiln_txn_error */
};

/* What a call of the public interface returns: an error's words are kept for kiln_txn_error. */
static inline ftk_status
txn_answer(kiln_txn *txn, ftk_status status)
{
    if (FTK_UNLIKELY(status != FTK_OK) && !txn->inside)
        ftk_error_copy(&txn->error, status);
    return status;
}

/* ---- functions of a program that one of its calls calls (engine/api/README.md, rule 5) ---- */

/* Until txn_calls_end, with what this returned, the transaction may be read and no more. */
static inline uint8_t
txn_calls_begin(kiln_txn *txn)
{
    uint8_t before = txn->refusal;

    txn->refusal = TXN_BUSY;
    return before;
}
static inline void
txn_calls_end(kiln_txn *txn, uint8_t before)
{
    FTK_ASSERT(txn->refusal == TXN_BUSY); /* nobody has ended it, or begun it anew */
    txn->refusal = before;
}
/* Before the end of it, or of a part: not inside such a function.  FTK_STATE. */
ftk_status txn_check_idle(const kiln_txn *txn);

/* Leaves may have to be settled (window_settle) before they are read; never so for a writer. */
static inline bool
txn_is_beside(const kiln_txn *txn)
{
    return txn->reader.beside != NULL;
}
/* A writer that an error has ended: FTK_STATE, or FTK_CORRUPT where it met damage. */
ftk_status txn_check_ended(const kiln_txn *txn);
/* A change that can no longer fail has met what only a damaged tree has: nothing of this
 * transaction is committed, and its next call says so. */
void txn_damage(kiln_txn *txn);
/* The rules of its fields; outside an epoch. */
void txn_check(const kiln_txn *txn);
/* Checks for a write call: KILN_READONLY, KILN_STATE. */
ftk_status txn_check_write(kiln_txn *txn);

/* ---- values lent: a reader's stay, a writer's until the next call that lends or changes ---- */

/* A writer's value is given back; a reader has none here. */
void txn_unhold_slow(kiln_txn *txn);
static inline void
txn_unhold(kiln_txn *txn)
{
    if (txn->writer.held_page != 0)
        txn_unhold_slow(txn);
}
/* A value in this leaf is lent.  Inside an epoch and after cache_use. */
static inline void
txn_lend_leaf(kiln_txn *txn, uint64_t page)
{
    if (FTK_LIKELY(!txn->write)) {
        lent_leaf(&txn->reader.lent, txn->cache, txn->fast, page);
    } else {
        cache_pin(txn->fast, page);
        txn_unhold(txn); /* the call's key may have been there until now */
        txn->writer.held_page = page;
        txn->writer.held_count = 1;
    }
}
/* Before another run is pinned, so that not many are: what a writer lent before is given back, and
 * a reader's newest run is if nothing is granted for it. */
void txn_lend_run_next(kiln_txn *txn);
/* A run, which was pinned behind that, is lent: the transaction unpins it. */
void txn_lend_run(kiln_txn *txn, struct lent_run run);

/* ---- epochs: with an open window its mutex comes with them ---- */

/* Nobody returns leaves of the window, if there is one, until it is let.  One that was not tried
 * has none, and only this thread can try it. */
static inline void
txn_window_hold(kiln_txn *txn)
{
    if (FTK_UNLIKELY(txn->window != NULL) && !txn->window->held &&
        window_state(txn->window) != WINDOW_UNTRIED)
        window_hold(txn);
}
static inline void
txn_window_let(kiln_txn *txn)
{
    if (FTK_UNLIKELY(txn->window != NULL) && txn->window->held)
        window_let(txn);
}

static inline bool
txn_holds_window(const kiln_txn *txn)
{
    return txn->window != NULL && txn->window->held;
}

static inline void
txn_enter(kiln_txn *txn)
{
    txn_window_hold(txn);
    cache_enter(txn->fast, txn->slot);
}
static inline void
txn_leave(kiln_txn *txn)
{
    cache_leave(txn->slot);
    txn_window_let(txn);
}

/* Before what a window cannot bear: see engine/txn/window.h.  Outside an epoch. */
static inline ftk_status
in_place_end(kiln_txn *txn)
{
    return FTK_LIKELY(txn->window == NULL) ? FTK_OK : window_end(txn);
}

/* ---- engine/txn/txn_pages.c: pages of a write transaction ---- */

/* So many can be made by the operation at hand (the others are for returning leaves), and it is not
 * time to look whether pages must be written out. */
static inline bool
txn_is_prepared(const kiln_txn *txn, uint32_t pages)
{
    if (FTK_UNLIKELY(txn->window != NULL))
        pages += atomic_load_explicit(&txn->window->reserved, memory_order_relaxed);
    return atomic_load_explicit(&txn->writer.prepared, memory_order_relaxed) >= pages &&
           atomic_load_explicit(&txn->writer.spill_pages, memory_order_relaxed) <
               atomic_load_explicit(&txn->writer.spill_due, memory_order_relaxed);
}

/* See that `pages` pages can be made.  Outside an epoch.  reserve: deletes may use the last pages
 * of a full disk. */
ftk_status txn_prepare_slow(kiln_txn *txn, uint32_t pages, bool reserve);
static inline ftk_status
txn_prepare(kiln_txn *txn, uint32_t pages, bool reserve)
{
    if (FTK_LIKELY(txn_is_prepared(txn, pages)))
        return FTK_OK;
    return txn_prepare_slow(txn, pages, reserve);
}
/*
 * As cache_fetch, cache_fetch_many and cache_fetch_run: the one way to a page for a transaction.  A
 * writer whose pages fill the cache gives back what is prepared beyond `keep` pages (and those for
 * returning leaves), then writes its unfinished pages out: that may end the window, so walk anew.
 * Outside an epoch.
 */
ftk_status txn_fetch(kiln_txn *txn, uint64_t page_id, unsigned flags, uint32_t keep);
ftk_status txn_fetch_many(kiln_txn *txn, const uint64_t *ids, size_t count, uint32_t keep);
ftk_status txn_fetch_run(kiln_txn *txn, struct cache_run *run);
/* A new page, resident and dirty, birth not yet set in its header (node_init or node_build do). */
uint64_t txn_page_new(kiln_txn *txn);
void txn_page_born(kiln_txn *txn, uint64_t page_id); /* after its header is written: mark dirty */
/* Before a page is changed where it is: dirty again if it was written out early. */
void txn_page_touch(kiln_txn *txn, uint64_t page_id);
/* The page as mine: itself (with a new birth if it was written out early), or a copy (then the
 * old one is retired). */
uint64_t txn_page_own(kiln_txn *txn, uint64_t page_id);
void txn_page_retire(kiln_txn *txn, uint64_t page_id, uint32_t count, uint64_t birth);
/* A page or run made in the present scope goes back to the space map.  False: no memory.  One that
 * the scope has not, or no more, ends the transaction. */
bool txn_page_drop(kiln_txn *txn, struct space_extent extent);
/* All from place `from` on go back to the space map. */
void txn_pages_give_back(kiln_txn *txn, const struct space_extents *extents, size_t from);
/* Scopes lie inside one another, and inside a scope there is no window.  Beginning one copies
 * nothing yet; none of the three can fail. */
void txn_scope_begin(kiln_txn *txn, struct txn_scope *scope);
void txn_scope_keep(kiln_txn *txn, const struct txn_scope *scope);
void txn_scope_take_back(kiln_txn *txn, const struct txn_scope *scope);
/* Room for `count` retirements beyond those of prepared pages. */
ftk_status txn_retire_reserve(kiln_txn *txn, size_t count);
/* Ids of a run for a large value, then, some at a time, its pages: to be filled and made dirty.
 * Both may do I/O (outside an epoch). */
ftk_status txn_run_alloc(kiln_txn *txn, uint32_t count, uint64_t *page_out);
ftk_status txn_run_pages(kiln_txn *txn, uint64_t first, uint32_t count);
static inline bool
txn_page_mine(const kiln_txn *txn, uint64_t birth)
{
    return birth >= txn->writer.birth_floor;
}

/* Expensive; between two calls of a write transaction.  What does not agree, NULL: all does. */
const char *txn_pages_check(kiln_txn *txn);

/* ---- engine/txn/txn_log.c: operations for the log ---- */

/* Room for `bytes` more (log_op_bytes); appends a fragment to the log when much has gathered.
 * Outside an epoch. */
ftk_status txn_log_reserve(kiln_txn *txn, size_t bytes);
void txn_log_put(kiln_txn *txn, kiln_coll coll, const void *key, size_t key_size, const void *value,
                 size_t value_size);
void txn_log_delete(kiln_txn *txn, kiln_coll coll, const void *key, size_t key_size);
void txn_log_coll_create(kiln_txn *txn, kiln_coll coll, uint8_t flags, const void *name,
                         size_t name_size);
void txn_log_coll(kiln_txn *txn, enum log_op op, kiln_coll coll);
void txn_log_op(kiln_txn *txn, enum log_op op);
void txn_log_large(kiln_txn *txn, kiln_coll coll, const void *key, size_t key_size,
                   uint64_t value_size);
void txn_log_chunk(kiln_txn *txn, const void *data, size_t size);
ftk_status txn_log_commit(kiln_txn *txn, uint64_t *lsn_end_out);
/*
 * Operations from here on can be taken back, whether they are still in memory or not; the mark
 * lives until it is kept or taken back, which cannot fail.  errors: txn_log_reserve's.
 */
ftk_status txn_log_mark(kiln_txn *txn, struct txn_log_mark *mark);
void txn_log_keep(kiln_txn *txn, struct txn_log_mark *mark);
void txn_log_take_back(kiln_txn *txn, struct txn_log_mark *mark);

#endif
