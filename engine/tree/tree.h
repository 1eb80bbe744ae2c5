/* SPDX-License-Identifier: Apache-2.0 */
/* engine/tree/tree.h -- trees of a transaction. */
#ifndef ENGINE_TREE_H
#define ENGINE_TREE_H

#include "engine/txn/txn_state.h"

/* ---- engine/tree/tree.c ---- */

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
 * slot leaves and re-enters, *again_out: everything else used in the epoch may be gone.  What a
 * change of this tree needs stays prepared. */
ftk_status tree_use_slow(kiln_txn *txn, const struct tree *tree, uint64_t page_id,
                         unsigned fetch_flags, bool *again_out);
static inline bool
tree_is_resident(const kiln_txn *txn, uint64_t page_id)
{
    return FTK_LIKELY(page_id < txn->fast->pages_max) && cache_use(txn->fast, page_id);
}
static inline ftk_status
tree_use(kiln_txn *txn, const struct tree *tree, uint64_t page_id, unsigned fetch_flags,
         bool *again_out)
{
    *again_out = false;
    if (FTK_LIKELY(tree_is_resident(txn, page_id)))
        return FTK_OK;
    return tree_use_slow(txn, tree, page_id, fetch_flags, again_out);
}
/* A resident page is the one that the reference means: level and birth. */
static inline bool
tree_page_fits(const uint8_t *page, struct page_ref ref, uint32_t level)
{
    return node_level(page) == level && page[PAGE_TYPE] == (level == 0 ? PAGE_LEAF : PAGE_INNER) &&
           page_ref_means(ref, node_birth(page));
}
/* FTK_CORRUPT when it is not. */
ftk_status tree_misfit(const kiln_txn *txn, struct page_ref ref, uint32_t level);
static inline ftk_status
tree_check_page(const kiln_txn *txn, struct page_ref ref, uint32_t level)
{
    if (FTK_LIKELY(tree_page_fits(cache_address(txn->fast, page_ref_id(ref)), ref, level)))
        return FTK_OK;
    return tree_misfit(txn, ref, level);
}

static inline struct node
tree_node(const kiln_txn *txn, uint64_t page_id)
{
    return (struct node){cache_address(txn->fast, page_id), txn->db->page_bytes};
}

/* The reference to a page of this transaction, as its parent must have it. */
static inline struct page_ref
tree_ref(const kiln_txn *txn, uint64_t page_id)
{
    return page_ref_make(page_id, node_birth(cache_address(txn->fast, page_id)));
}

/* What holds of a tree and of a path in it; asserted with DEBUG=1.  Inside an epoch. */
bool tree_check(const kiln_txn *txn, const struct tree *tree);
bool tree_path_check(const kiln_txn *txn, const struct tree *tree, const struct tree_path *path);

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
/* The first `size` bytes of a key's value, the rest stays.  FTK_NOTFOUND; FTK_CORRUPT: it has no
 * more than these, or is a large value. */
ftk_status tree_overwrite(kiln_txn *txn, struct tree *tree, const void *key, size_t key_size,
                          const void *head, uint32_t size);
ftk_status tree_delete(kiln_txn *txn, struct tree *tree, const void *key, size_t key_size);
/* Put behind the last key of the tree, where the last put went: false when it is not so simple. */
bool tree_append(kiln_txn *txn, struct tree *tree, const void *key, size_t key_size,
                 const struct node_value *value);
/* Put in the place of a large value, whose reference it was when the key was last looked for. */
ftk_status tree_put_over_large(kiln_txn *txn, struct tree *tree, kiln_slice key,
                               const struct node_value *value, const uint8_t *ref);
/* Walk to a key whose value is this large one, which is going to be retired: room for that, and
 * pages for a change at the end of the path (reserve: as txn_prepare).  As tree_descend; FTK_OK: it
 * is there. */
ftk_status tree_descend_to_large(kiln_txn *txn, const struct tree *tree, kiln_slice key,
                                 const uint8_t *ref, bool reserve, struct tree_path *path_out);
/* Retire every page; or none, when one cannot be read, or for want of memory. */
ftk_status tree_clear(kiln_txn *txn, struct tree *tree);

/* Put an entry into a page of mine: as it is, or under a shorter prefix.  False: no room. */
bool tree_node_put(kiln_txn *txn, struct node node, uint32_t pos, const void *key,
                   uint32_t key_size, const struct node_value *value);

/* A put at the end of the path cannot make the tree higher than may be; FTK_TOOBIG: it could.
 * tree_limit: of a tree that is as high as may be. */
ftk_status tree_limit(const kiln_txn *txn, const struct tree *tree, uint64_t root_id);
static inline ftk_status
tree_check_growth(const kiln_txn *txn, const struct tree *tree, const struct tree_path *path)
{
    return FTK_LIKELY(tree->height < TREE_HEIGHT_MAX) ? FTK_OK
                                                      : tree_limit(txn, tree, path->page[0]);
}

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
/* Calls each for every page below and including the one meant, children first. */
ftk_status tree_each_page(kiln_txn *txn, struct page_ref ref, uint32_t level,
                          ftk_status (*each)(void *context, struct page_ref ref, uint32_t level),
                          void *context);
void tree_root_new(kiln_txn *txn, struct tree *tree, const void *key, size_t key_size,
                   const struct node_value *value);

/* ---- engine/tree/tree_get.c ---- */
/* Finds the entry, and lends its value if it is small; ref gets the reference to a large one. */
ftk_status tree_get(kiln_txn *txn, const struct tree *tree, const void *key, size_t key_size,
                    uint8_t ref[LARGE_REF_BYTES], struct node_entry *entry_out);
/* What is asked of an entry, and the answer: nothing is lent. */
struct tree_look {
    uint64_t offset; /* of a small value its bytes from here on are copied, */
    void *buffer;    /* here, */
    size_t buffer_size;
    size_t copied; /* so many */
    uint64_t size; /* of the value */
    bool large;
    uint8_t ref[LARGE_REF_BYTES]; /* of a large one */
};
ftk_status tree_look(kiln_txn *txn, const struct tree *tree, kiln_slice key,
                     struct tree_look *look);
/* The same, and the bytes of a large value are copied, too. */
ftk_status tree_value_read(kiln_txn *txn, const struct tree *tree, kiln_slice key,
                           struct tree_look *look);
/* A reader's value, not empty, stays until it is released.  FTK_INVALID: it is not lent. */
ftk_status tree_hold(kiln_txn *txn, kiln_slice value);
ftk_status tree_get_many(kiln_txn *txn, const struct tree *tree, const kiln_slice *keys,
                         size_t count, int (*each)(void *context, size_t index, kiln_slice value),
                         void *context);
ftk_status tree_range_estimate(kiln_txn *txn, const struct tree *tree, kiln_slice low,
                               kiln_slice high, uint64_t *count_out);

/* ---- engine/tree/batch_sort.c ---- */
/* Indices of keys in ascending order, equal keys in order of index.  order: count elements;
 * scratch: as many. */
struct batch_item {
    uint64_t head; /* 8 key bytes behind the batch's common prefix */
    uint32_t index;
    uint32_t reserved;
};
void batch_sort(const kiln_slice *keys, size_t count, struct batch_item *items,
                struct batch_item *scratch);

/* ---- engine/tree/tree_ahead.c ---- */
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

/* ---- engine/tree/tree_batch.c: these do log; values are small ---- */
ftk_status tree_delete_many(kiln_txn *txn, struct tree *tree, const kiln_slice *keys, size_t count,
                            uint64_t *deleted_out);
ftk_status tree_put_many(kiln_txn *txn, struct tree *tree, const kiln_slice *keys,
                         const kiln_slice *values, size_t count, uint32_t flags, size_t *done_out);

/* ---- engine/tree/bulk.c ---- */
ftk_status bulk_begin(kiln_txn *txn, struct tree *tree, struct kiln_bulk **bulk_out);
/* FTK_INVALID: not above the last key. */
ftk_status bulk_check_order(const struct kiln_bulk *bulk, const void *key, size_t key_size);
/* The order has been checked. */
ftk_status bulk_add(struct kiln_bulk *bulk, const void *key, uint32_t key_size,
                    const struct node_value *value);
void bulk_end(struct kiln_bulk *bulk);
void bulk_detach(struct kiln_bulk *bulk); /* its transaction ends: nothing but bulk_free is left */
void bulk_free(struct kiln_bulk *bulk);
/* An error: the builder is as it was. */
ftk_status bulk_abort(struct kiln_bulk *bulk);
kiln_txn *bulk_txn(struct kiln_bulk *bulk);
struct tree *bulk_tree(const struct kiln_bulk *bulk);

/* ---- engine/tree/value.c: large values ---- */

/* Largest key + value kept in a leaf is db->inline_max, which no key exceeds; a size of a value may
 * be anything, also one with which the sum would overflow. */
static inline bool
value_is_large(const kiln_db *db, size_t key_size, size_t value_size)
{
    return value_size > db->inline_max - key_size;
}
/* One run of a value: pages [first, first + pages). */
struct value_run {
    uint64_t first;
    uint64_t bytes; /* of content */
    uint64_t birth; /* of the value */
    uint64_t seed;  /* of the checksums, but for the page id */
    uint32_t data_pages, tail_at, pages;
};

/*
 * Write a value into runs, in parts: begin, then next and filled until done == size, then end (*ref
 * gets LARGE_REF_BYTES).  What is given up, at any time before the reference is in a tree, is taken
 * back by value_runs_drop.
 */
enum {
    VALUE_PART_BYTES = 256 << 10, /* a multiple of every page size */
    VALUE_LIST_MAX = 257,
};
struct value_writer {
    uint64_t size, done;
    uint64_t birth;
    size_t born;          /* pages that the transaction had made before */
    struct value_run run; /* the last one begun, and how much of it is filled */
    uint64_t run_done;
    uint32_t part; /* bytes handed out to be filled, 0: none */
    bool open;     /* the run is not complete */
    uint32_t listed, list_count;
    uint8_t list[VALUE_LIST_MAX * LARGE_ID_BYTES];
};
ftk_status value_writer_begin(kiln_txn *txn, uint64_t size, struct value_writer *writer);
/* Memory for the next part; *size_out bytes of it are to be filled. */
ftk_status value_writer_next(kiln_txn *txn, struct value_writer *writer, uint8_t **memory_out,
                             size_t *size_out);
void value_writer_filled(kiln_txn *txn, struct value_writer *writer);
ftk_status value_writer_end(kiln_txn *txn, struct value_writer *writer, uint8_t *ref);
void value_runs_drop(kiln_txn *txn, const struct value_writer *writer);

/* Calls each for every run of a value. */
ftk_status value_each_run(kiln_txn *txn, const uint8_t *ref,
                          ftk_status (*each)(void *context, const struct value_run *run),
                          void *context);
/* Verify all of it, whether it must be read or is there. */
ftk_status value_check_run(kiln_txn *txn, const struct value_run *run);
/*
 * The pages of a value that is to go are known, with room to retire them, and `pages` more are
 * prepared.  Outside an epoch.  value_retire: its reference has been taken out of the tree.
 */
ftk_status value_retire_prepare(kiln_txn *txn, const uint8_t *ref, uint32_t pages, bool reserve);
void value_retire(kiln_txn *txn);
/* Read a piece. */
ftk_status value_read(kiln_txn *txn, const uint8_t *ref, uint64_t offset, void *buffer,
                      size_t size);
/* Pin the whole value, which lies in *run_out (FTK_TOOBIG when it does not lie in one run or is too
 * large for the cache). */
ftk_status value_pin(kiln_txn *txn, const uint8_t *ref, struct lent_run *run_out,
                     kiln_slice *value_out);
static inline uint64_t
value_ref_size(const uint8_t *ref)
{
    return ftk_get_le64(ref + LARGE_REF_SIZE);
}

/* ---- engine/tree/logged.c ---- */

/* Where the bytes of a large value come from: memory, or calls. */
struct value_source {
    const uint8_t *data;
    int (*read)(void *context, void *buffer, size_t buffer_size);
    void *context;
};
/* Have the program's function deliver bytes; what it calls cannot change the transaction meanwhile.
 * errors: FTK_CANCELED. */
ftk_status value_source_read(kiln_txn *txn, const struct value_source *source, void *buffer,
                             size_t size);
/* A change and its operation in the log; the key has been checked.  flags: KILN_PUT_*. */
ftk_status logged_put(kiln_txn *txn, struct tree *tree, kiln_slice key, kiln_slice value,
                      uint32_t flags);
ftk_status logged_put_large(kiln_txn *txn, struct tree *tree, kiln_slice key, uint64_t size,
                            const struct value_source *source, uint32_t flags);
ftk_status logged_delete(kiln_txn *txn, struct tree *tree, kiln_slice key);
ftk_status logged_clear(kiln_txn *txn, struct tree *tree);
struct logged_batch {
    const kiln_slice *keys, *values;
    size_t count;
    uint32_t flags;
};
ftk_status logged_put_many(kiln_txn *txn, struct tree *tree, const struct logged_batch *batch,
                           size_t *done_out);
ftk_status logged_bulk_add(struct kiln_bulk *bulk, kiln_slice key, kiln_slice value);

/* ---- engine/tree/in_place.c ---- */

/*
 * Change the leaf at the end of the path where it is.  False: nothing happened, copy.  Inside an
 * epoch, pages prepared; put: the flags of the put have been checked.
 */
bool in_place_put(kiln_txn *txn, struct tree *tree, struct tree_path *path, const void *key,
                  uint32_t key_size, const struct node_value *value);
bool in_place_delete(kiln_txn *txn, struct tree *tree, struct tree_path *path);
/* A window's way to give its transaction a copy of a leaf: see window_copy. */
bool in_place_copy(kiln_txn *txn, const struct window_leaf *leaf, uint64_t *absent_out);

#endif
