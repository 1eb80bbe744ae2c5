/*
 * engine/txn.h -- a transaction as the engine sees it.
 *
 * A write transaction changes pages it made itself in place (birth numbers tell them: page birth >=
 * birth_floor means "mine in this scope"), leaves that only it can reach under the rules of
 * engine/in_place.h, and copies all others.  Every operation first
 * takes all memory, page ids and log space it may need (txn_prepare); from the first change on it
 * cannot fail.
 */
#ifndef ENGINE_TXN_H
#define ENGINE_TXN_H

#include "engine/db.h"
#include "engine/node.h"

/* A collection's tree as this transaction sees it. */
struct tree {
    kiln_coll id;
    uint8_t flags; /* CATALOG_* */
    uint8_t height;
    bool dirty; /* the catalog entry must be written */
    bool dropped;
    uint64_t root; /* 0: empty */
    uint64_t keys;
    uint64_t changes;   /* counts modifications: cursors look */
    uint64_t hint_leaf; /* leaf and position of the last insert: finds ascending runs */
    uint32_t hint_pos;
    uint64_t append_leaf; /* rightmost leaf, mine, last insert was at its end; 0: none */
};

/* Path from root to leaf: level[0] is the root. */
struct tree_path {
    uint32_t depth; /* number of levels */
    uint64_t page[TREE_HEIGHT_MAX];
    uint32_t pos[TREE_HEIGHT_MAX];
    bool exact;
};

struct txn_savepoint {
    struct tree *trees; /* copies of what was open, in order of opening */
    size_t tree_count;
    struct tree catalog;
    uint32_t coll_next;
    uint64_t applied;
    uint64_t birth_floor;
    size_t born, dead, retired_own;
    struct space_extents scratch;
};

struct kiln_txn {
    kiln_db *db;
    bool write;
    bool logs;  /* operations go to the log */
    bool ended; /* an error made it useless: only abort */
    kiln_durability durability;
    struct cache_slot *slot;
    const struct cache_fast *fast;
    struct cache *cache;
    struct db_snapshot snapshot; /* read: what is seen; write: what it began from, then becomes */
    uint64_t birth;              /* of pages made now */
    uint64_t birth_floor;        /* pages born at or after this are changed in place */
    uint64_t birth_first;        /* of this transaction's first page */

    struct tree catalog;
    struct tree **trees; /* open trees, in order of opening */
    size_t tree_count, tree_capacity;
    struct tree *tree_last; /* the one used last */

    /* what is held for a borrowed value */
    uint64_t held_page;  /* pinned page, 0: none */
    uint64_t held_count; /* pages of a run, 1 for a leaf */
    bool held_run;
    kiln_cursor *cursors;

    /* a writer's */
    /* Pages that can be made or retired without failing.  Changed by whoever holds the window's
     * mutex (engine/in_place.h), if there is a window. */
    _Atomic uint32_t prepared;
    struct in_place in_place;
    uint32_t appends; /* puts behind the last key of a tree, without a descent */
    struct space_extents born, dead;
    struct space_extents retired_own; /* made by an outer scope of this transaction */
    struct space_extents scratch;     /* made in this scope and no longer needed: used first */
    _Atomic uint64_t spill_pages;     /* made, or clean and changed again, since the last spill */
    uint64_t spill_due;               /* so many of them call for a look */
    struct txn_savepoint *savepoints;
    size_t savepoint_count, savepoint_capacity;
    uint8_t *page_scratch; /* page_bytes */
    uint8_t *ops;          /* log operations not yet appended */
    size_t ops_size, ops_capacity;
    void *batch_memory; /* of tree_batch.c */
    size_t batch_bytes;
    bool streamed; /* a fragment is in the log */
    bool grows; /* it puts something: the last pages and log bytes of a full disk are not for it */
    bool reserve; /* the last pages are for it all the same: a replay */
    struct records_txn *records;
};

/* ---- engine/txn.c ---- */

ftk_status txn_begin(kiln_db *db, uint32_t kind, kiln_durability durability, uint32_t timeout_ms,
                     kiln_txn **txn_out);
ftk_status txn_commit(kiln_txn *txn);
void txn_abort(kiln_txn *txn);
/* recovery: a write transaction that is not logged; commit gives it id and LSN. */
ftk_status txn_begin_replay(kiln_db *db, kiln_txn **txn_out);
ftk_status txn_commit_replay(kiln_txn *txn, uint64_t id, uint64_t lsn);
/* Checks for a write call: KILN_READONLY, KILN_STATE. */
ftk_status txn_check_write(kiln_txn *txn);
void txn_free(kiln_txn *txn); /* an idle object: for good */
ftk_status txn_savepoint(kiln_txn *txn);
ftk_status txn_savepoint_release(kiln_txn *txn);
ftk_status txn_savepoint_rollback(kiln_txn *txn);
ftk_status txn_renew(kiln_txn *txn);
/* For the records layer: its slots. */
struct records_txn **txn_records(kiln_txn *txn);
void **db_records(kiln_txn *txn);
bool txn_is_write(const kiln_txn *txn);

/* Release what kiln_get holds. */
void txn_unhold_slow(kiln_txn *txn);
static inline void
txn_unhold(kiln_txn *txn)
{
    if (txn->held_page != 0)
        txn_unhold_slow(txn);
}

/* ---- epochs: with an open window its mutex comes with them ---- */

/* Nobody gives the window back, if there is one, until it is let. */
static inline void
txn_window_hold(kiln_txn *txn)
{
    if (FTK_UNLIKELY(atomic_load_explicit(&txn->in_place.open, memory_order_acquire)))
        (void)in_place_lock(txn);
}
static inline void
txn_window_let(kiln_txn *txn)
{
    if (FTK_UNLIKELY(txn->in_place.locked))
        in_place_unlock(txn);
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

/* Before what a window cannot bear: see engine/in_place.h.  Outside an epoch. */
static inline ftk_status
in_place_end(kiln_txn *txn)
{
    if (FTK_LIKELY(!txn->write || txn->in_place.state == IN_PLACE_SHUT))
        return FTK_OK;
    return in_place_end_slow(txn);
}

/* ---- engine/txn_pages.c: pages of a write transaction ---- */

/* So many can be made by the operation at hand; the others are for giving a window back. */
static inline bool
txn_is_prepared(const kiln_txn *txn, uint32_t pages)
{
    return atomic_load_explicit(&txn->prepared, memory_order_relaxed) >=
           pages + atomic_load_explicit(&txn->in_place.reserved, memory_order_relaxed);
}

/* See that `pages` pages can be made.  Outside an epoch.  reserve: deletes may use the last pages
 * of a full disk. */
ftk_status txn_prepare_slow(kiln_txn *txn, uint32_t pages, bool reserve);
static inline ftk_status
txn_prepare(kiln_txn *txn, uint32_t pages, bool reserve)
{
    if (FTK_LIKELY(txn_is_prepared(txn, pages) &&
                   atomic_load_explicit(&txn->spill_pages, memory_order_relaxed) < txn->spill_due))
        return FTK_OK;
    return txn_prepare_slow(txn, pages, reserve);
}
/* A new page, resident and dirty, birth not yet set in its header (node_init or node_build do). */
uint64_t txn_page_new(kiln_txn *txn);
void txn_page_born(kiln_txn *txn, uint64_t page_id); /* after its header is written: mark dirty */
/* Before a page is changed where it is: dirty again if it was written out early. */
void txn_page_touch(kiln_txn *txn, uint64_t page_id);
/* The page as mine: itself, or a copy (then the old one is retired). */
uint64_t txn_page_own(kiln_txn *txn, uint64_t page_id);
void txn_page_retire(kiln_txn *txn, uint64_t page_id, uint32_t count, uint64_t birth);
/* Room for `count` retirements beyond those of prepared pages. */
ftk_status txn_retire_reserve(kiln_txn *txn, size_t count);
/* Runs for large values; may do I/O (outside an epoch). */
ftk_status txn_run_new(kiln_txn *txn, uint32_t count, uint64_t *page_out);
static inline bool
txn_page_mine(const kiln_txn *txn, uint64_t birth)
{
    return birth >= txn->birth_floor;
}

/* ---- engine/txn_log.c: operations for the log ---- */

/* Room for `bytes` more; appends a fragment to the log when much has gathered.  Outside an
 * epoch. */
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
/* Bytes an operation with these sizes takes at most. */
static inline size_t
txn_log_bytes(size_t key_size, size_t value_size)
{
    return key_size + value_size + 32;
}
ftk_status txn_log_commit(kiln_txn *txn, uint64_t *lsn_end_out);

/* ---- engine/coll.c: the catalog ---- */

/* The tree of a collection; borrowed from the transaction.  FTK_NOTFOUND. */
ftk_status txn_tree_slow(kiln_txn *txn, kiln_coll coll, struct tree **tree_out);
static inline ftk_status
txn_tree(kiln_txn *txn, kiln_coll coll, struct tree **tree_out)
{
    struct tree *last = txn->tree_last;
    if (FTK_LIKELY(last != NULL && last->id == coll && !last->dropped)) {
        *tree_out = last;
        return FTK_OK;
    }
    return txn_tree_slow(txn, coll, tree_out);
}
enum { COLL_KEYS_ONLY = 1 << 8, COLL_U64_KEYS = 1 << 9 }; /* beside KILN_COLL_CREATE, _EXCLUSIVE */
ftk_status coll_open_internal(kiln_txn *txn, const void *name, size_t name_size, uint32_t flags,
                              kiln_coll *coll_out);
/* replay: make a collection with a given number. */
ftk_status coll_create_numbered(kiln_txn *txn, kiln_coll coll, uint8_t flags, const void *name,
                                size_t name_size);
ftk_status coll_drop(kiln_txn *txn, kiln_coll coll);
/* Read a tree's entry from the catalog anew (after a rollback). */
ftk_status coll_reload(kiln_txn *txn, struct tree *tree);
ftk_status coll_write_entries(kiln_txn *txn); /* at commit: dirty trees into the catalog */
/* Calls each for every collection in order of number. */
ftk_status coll_each(kiln_txn *txn,
                     ftk_status (*each)(void *context, kiln_coll coll, const struct tree *tree,
                                        const uint8_t *name, size_t name_size),
                     void *context);

/* ---- engine/tree.c ---- */

/*
 * Walk from the root to the leaf for a key.  On FTK_OK the transaction's slot is inside an epoch,
 * every page of the path is resident until cache_leave, and path->pos of the leaf is the lower
 * bound.  Otherwise the slot is outside.  An empty tree: depth 0.
 */
ftk_status tree_descend(kiln_txn *txn, const struct tree *tree, const void *key, size_t key_size,
                        unsigned fetch_flags, struct tree_path *path_out);
/* To the first (or last) leaf; pos of the leaf is its first (last) entry. */
ftk_status tree_descend_edge(kiln_txn *txn, const struct tree *tree, bool last,
                             unsigned fetch_flags, struct tree_path *path_out);
/* One step of a walk: inside an epoch see that page_id is resident.  When it must be fetched the
 * slot leaves and re-enters, *again_out: everything else used in the epoch may be gone. */
ftk_status tree_use(kiln_txn *txn, uint64_t page_id, unsigned fetch_flags, bool *again_out);
/* The page is what its parent says: level. */
ftk_status tree_check_page(kiln_txn *txn, uint64_t page_id, uint32_t level);

static inline struct node
tree_node(const kiln_txn *txn, uint64_t page_id)
{
    return (struct node){cache_address(txn->fast, page_id), txn->db->page_bytes};
}

/* Have on the way what a search of the page begins with: the state, the header, the first heads; of
 * a page above the leaves, which has more of them, twice as far. */
static inline void
tree_prefetch(const kiln_txn *txn, uint64_t page_id, uint32_t level)
{
    const uint8_t *page = cache_address(txn->fast, page_id);

    __builtin_prefetch((const char *)(uintptr_t)&txn->fast->states[page_id]);
    for (uint32_t at = 0; at < (level > 0 ? 384u : 192u); at += 64)
        __builtin_prefetch(page + at);
}

/* Put and delete in an open tree; they log nothing.  flags: KILN_PUT_*.  value->large: a large_ref.
 * An old large value is retired. */
ftk_status tree_put(kiln_txn *txn, struct tree *tree, const void *key, size_t key_size,
                    const struct node_value *value, uint32_t flags);
ftk_status tree_delete(kiln_txn *txn, struct tree *tree, const void *key, size_t key_size);
/* Put behind the last key of the tree, where the last put went: false when it is not so simple. */
bool tree_append(kiln_txn *txn, struct tree *tree, const void *key, size_t key_size,
                 const struct node_value *value);
/* Retire every page. */
ftk_status tree_clear(kiln_txn *txn, struct tree *tree);

/* Put an entry into a page of mine: as it is, or under a shorter prefix.  False: no room. */
bool tree_node_put(kiln_txn *txn, struct node node, uint32_t pos, const void *key,
                   uint32_t key_size, const struct node_value *value);

/* Pieces shared with the batch and bulk code (slot inside an epoch, pages prepared). */
void tree_own_path(kiln_txn *txn, struct tree *tree, struct tree_path *path);
/* False: the leaf had no room and was split: positions in the path are stale. */
bool tree_insert_at(kiln_txn *txn, struct tree *tree, struct tree_path *path, const void *key,
                    size_t key_size, const struct node_value *value);
/* Likewise. */
bool tree_replace_at(kiln_txn *txn, struct tree *tree, struct tree_path *path, const void *key,
                     size_t key_size, const struct node_value *value);
bool tree_large_at(kiln_txn *txn, const struct tree_path *path, uint8_t *ref);
uint32_t tree_pages_needed(const struct tree *tree);
/* The path leads to the last leaf. */
bool tree_path_is_rightmost(const kiln_txn *txn, const struct tree_path *path);
/* Calls each for every page below and including page_id, children first. */
ftk_status tree_each_page(kiln_txn *txn, uint64_t page_id, uint32_t level,
                          ftk_status (*each)(void *context, uint64_t page_id, uint32_t level),
                          void *context);
void tree_root_new(kiln_txn *txn, struct tree *tree, const void *key, size_t key_size,
                   const struct node_value *value);

/* ---- engine/tree_get.c ---- */
/* Finds the entry and pins its leaf (the transaction holds it). */
ftk_status tree_get(kiln_txn *txn, const struct tree *tree, const void *key, size_t key_size,
                    struct node_entry *entry_out);
ftk_status tree_get_many(kiln_txn *txn, const struct tree *tree, const kiln_slice *keys,
                         size_t count, int (*each)(void *context, size_t index, kiln_slice value),
                         void *context);
ftk_status tree_range_estimate(kiln_txn *txn, const struct tree *tree, kiln_slice low,
                               kiln_slice high, uint64_t *count_out);

/* ---- engine/batch_sort.c ---- */
/* Indices of keys in ascending order, equal keys in order of index.  order: count elements;
 * scratch: as many. */
struct batch_item {
    uint64_t head; /* 8 key bytes behind the batch's common prefix */
    uint32_t index;
    uint32_t reserved;
};
void batch_sort(const kiln_slice *keys, size_t count, struct batch_item *items,
                struct batch_item *scratch);

/* ---- engine/tree_ahead.c ---- */
enum { TREE_AHEAD_MAX = 512 };
struct tree_ahead {
    bool change;                     /* lines that a change of the leaf touches are wanted, too */
    uint64_t absent[TREE_AHEAD_MAX]; /* pages to be read */
    uint64_t items[2][TREE_AHEAD_MAX];
};
/*
 * Find the leaves of the next keys (in order, up to TREE_AHEAD_MAX) in a tree that is not empty,
 * and have their lines on the way.  Inside an epoch.  Returns the number of pages that are absent;
 * below those nothing is looked at.
 */
size_t tree_ahead(const kiln_txn *txn, const struct tree *tree, const kiln_slice *keys,
                  const struct batch_item *order, size_t count, struct tree_ahead *ahead);

/* ---- engine/tree_batch.c: these do log; values are small ---- */
ftk_status tree_delete_many(kiln_txn *txn, struct tree *tree, const kiln_slice *keys, size_t count,
                            uint64_t *deleted_out);
ftk_status tree_put_many(kiln_txn *txn, struct tree *tree, const kiln_slice *keys,
                         const kiln_slice *values, size_t count, uint32_t flags, size_t *done_out);

/* ---- engine/bulk.c ---- */
ftk_status bulk_begin(kiln_txn *txn, struct tree *tree, struct kiln_bulk **bulk_out);
/* FTK_INVALID: not above the last key. */
ftk_status bulk_check_order(const struct kiln_bulk *bulk, const void *key, size_t key_size);
/* The order has been checked. */
ftk_status bulk_add(struct kiln_bulk *bulk, const void *key, uint32_t key_size,
                    const struct node_value *value);
void bulk_end(struct kiln_bulk *bulk);
ftk_status bulk_abort(struct kiln_bulk *bulk);
kiln_txn *bulk_txn(struct kiln_bulk *bulk);
kiln_coll bulk_coll(const struct kiln_bulk *bulk);

/* ---- engine/value.c: large values ---- */

/* Largest key + value kept in a leaf is db->inline_max. */
static inline bool
value_is_large(const kiln_db *db, size_t key_size, size_t value_size)
{
    return key_size + value_size > db->inline_max;
}
/* Write a value into runs; *ref gets LARGE_REF_BYTES. */
ftk_status value_write(kiln_txn *txn, const void *data, uint64_t size, uint8_t *ref);

/* The same in pieces: begin, then next and filled until done == size, then end (or abort). */
enum { VALUE_CHUNKS_MAX = 257 };
struct value_writer {
    uint64_t size, done;
    uint64_t page, bytes; /* of the piece in hand */
    bool open;
    uint32_t chunk, chunk_count;
    uint8_t chunks[VALUE_CHUNKS_MAX * CHILD_BYTES];
};
ftk_status value_writer_begin(kiln_txn *txn, uint64_t size, struct value_writer *writer);
ftk_status value_writer_next(kiln_txn *txn, struct value_writer *writer, uint8_t **memory_out,
                             size_t *size_out);
void value_writer_filled(kiln_txn *txn, struct value_writer *writer);
ftk_status value_writer_end(kiln_txn *txn, struct value_writer *writer, uint8_t *ref);
void value_writer_abort(kiln_txn *txn, struct value_writer *writer);

/* Calls each for every run of a value; bytes: of content. */
ftk_status value_each_run(kiln_txn *txn, const uint8_t *ref,
                          ftk_status (*each)(void *context, uint64_t page, uint32_t count,
                                             uint64_t bytes),
                          void *context);
ftk_status value_check_run(kiln_txn *txn, uint64_t page, uint64_t bytes);
/* Outside an epoch.  An error leaves the transaction fit only for abort. */
ftk_status value_retire(kiln_txn *txn, const uint8_t *ref);
/* Read a piece. */
ftk_status value_read(kiln_txn *txn, const uint8_t *ref, uint64_t offset, void *buffer,
                      size_t size);
/* Pin the whole value (FTK_TOOBIG when it does not lie in one run or is too large for the cache);
 * the transaction holds it. */
ftk_status value_hold(kiln_txn *txn, const uint8_t *ref, kiln_slice *value_out);
static inline uint64_t
value_ref_size(const uint8_t *ref)
{
    return ftk_get_le64(ref + LARGE_REF_SIZE);
}

#endif
