/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/tree/tree_batch.c -- many puts: sorted, with the pages of the next keys on their way while
 * the present one is worked on.
 *
 * A cache miss costs 200-300 ns and a device read 50 us: what counts is to overlap them.
 *   1. The batch is sorted, so that neighbours share their path: the next key starts at the lowest
 *      page of the last path that covers it.
 *   2. For each group of keys the leaves are looked up first and their first lines prefetched.
 *   3. When leaves are missing, another thread reads those of the next keys meanwhile.
 */
#include <string.h>

#include "engine/tree/tree.h"
#include "ftk/mem.h"

enum {
    CHUNK = 32768,           /* keys sorted at a time: bounds memory */
    CHUNK_UNLOGGED = 262144, /* where nothing waits for the log: a replay */
    CHUNK_BYTES = 384 << 10, /* their bytes: what a log record can carry */
    GROUP = 32,              /* keys whose leaves are looked up ahead */
};

struct batch {
    kiln_txn *txn;
    struct tree *tree;
    const kiln_slice *keys, *values;
    struct batch_item *order;
    size_t count;
    uint32_t flags;
    struct tree_path path;
    bool path_valid; /* in the epoch the slot is in */
    struct tree_ahead *ahead;
    bool misses;  /* some pages were missing */
    size_t asked; /* what keys before this one will miss was asked for */
};

/* All but the arrays of the path, a kilobyte that a batch of one key would feel. */
static void
batch_init(struct batch *batch, kiln_txn *txn, struct tree *tree, uint32_t flags)
{
    batch->txn = txn;
    batch->tree = tree;
    batch->flags = flags;
    batch->keys = batch->values = NULL;
    batch->order = NULL;
    batch->count = batch->asked = 0;
    batch->path.depth = 0;
    batch->path.exact = batch->path_valid = batch->misses = false;
    batch->ahead = NULL;
}

/* ---- walking from key to key ----------------------------------------------------------------- */

/* Level from which the path must be walked anew for a key above the last one: depth: not at all. */
static uint32_t
path_level_for(const kiln_txn *txn, const struct tree_path *path, const kiln_slice *key)
{
    uint32_t from = path->depth;

    FTK_ASSERT(path->depth > 0 && path->depth <= TREE_HEIGHT_MAX);
    for (uint32_t d = path->depth - 1; d-- > 0;) {
        struct node node = tree_node(txn, path->page[d]);
        if (path->pos[d] + 1 >= node_count(node.page))
            continue;
        if (node_compare(node, path->pos[d] + 1, key->data, (uint32_t)key->size) > 0)
            break;
        from = d;
    }
    return from;
}

/* Walk from level d down to level `to`.  False: a page must be fetched, or is damaged. */
static bool
path_walk(const kiln_txn *txn, struct tree_path *path, uint32_t d, uint32_t to,
          const kiln_slice *key)
{
    for (; d < to; d++) {
        struct node node = tree_node(txn, path->page[d]);
        struct page_ref ref;
        uint64_t child;
        path->pos[d] = node_child_pos(node, key->data, (uint32_t)key->size);
        ref = node_child(node.page, path->pos[d]);
        child = page_ref_id(ref);
        path->page[d + 1] = child;
        path->ref[d + 1] = ref;
        if (child >= txn->fast->pages_max)
            return false;
        if (!cache_use(txn->fast, child) ||
            !tree_page_fits(cache_address(txn->fast, child), ref, path->depth - 2 - d))
            return false;
    }
    return true;
}

static ftk_status
batch_seek(struct batch *batch, const kiln_slice *key)
{
    kiln_txn *txn = batch->txn;
    struct tree_path *path = &batch->path;
    uint32_t leaf = path->depth - 1;
    uint32_t d;
    ftk_status rc;

    if (batch->path_valid) {
        d = path_level_for(txn, path, key);
        if (d >= leaf || path_walk(txn, path, d, leaf, key)) {
            path->pos[leaf] = node_lower_bound(tree_node(txn, path->page[leaf]), key->data,
                                               (uint32_t)key->size, &path->exact);
            FTK_DEBUG_ASSERT(tree_path_check(txn, batch->tree, path));
            return FTK_OK;
        }
    }
    rc = tree_descend(txn, batch->tree, key->data, key->size, 0, path);
    batch->path_valid = rc == FTK_OK;
    return rc;
}

/* ---- looking ahead --------------------------------------------------------------------------- */

/* Keys [from, to): what they need is on its way.  Absent pages are in ahead->absent; their
 * number. */
static size_t
look_ahead(struct batch *batch, size_t from, size_t to)
{
    if (batch->tree->height <= 1) /* a delete may have left so much */
        return 0;
    batch->ahead->change = to - from <= GROUP;
    return tree_ahead(batch->txn, batch->tree, batch->keys, batch->order + from, to - from,
                      batch->ahead);
}

/* Pages that the keys behind this group will miss are asked for: another thread reads them while
 * this one works.  Outside an epoch. */
static void
ask_ahead(struct batch *batch, size_t from)
{
    kiln_txn *txn = batch->txn;
    uint64_t part = cache_limit() / 16 / txn->db->page_bytes;
    size_t window = part < TREE_AHEAD_MAX ? (size_t)part : TREE_AHEAD_MAX;
    size_t to = from + window < batch->count ? from + window : batch->count;
    size_t absent;

    if (from >= to)
        return;
    txn_enter(txn);
    absent = look_ahead(batch, from, to);
    txn_leave(txn);
    cache_read_ahead(txn->cache, batch->ahead->absent, absent);
    batch->asked = from + window / 2;
}

/* The missing pages of keys [from, to) are read.  Outside an epoch. */
static ftk_status
fetch_ahead(struct batch *batch, size_t from, size_t to)
{
    kiln_txn *txn = batch->txn;
    size_t absent = 1;
    ftk_status rc = FTK_OK;

    FTK_ASSERT(from < to && to <= batch->count && to - from <= GROUP);
    batch->misses = true;
    if (from >= batch->asked)
        ask_ahead(batch, to);
    /* Once for each level that may be missing. */
    for (uint32_t round = 0; round <= batch->tree->height && absent > 0 && rc == FTK_OK; round++) {
        txn_enter(txn);
        absent = look_ahead(batch, from, to);
        txn_leave(txn);
        rc = txn_fetch_many(txn, batch->ahead->absent, absent, tree_pages_needed(batch->tree));
    }
    return rc;
}

/* ---- puts ------------------------------------------------------------------------------------ */

static ftk_status
put_one(struct batch *batch, const kiln_slice *key, const kiln_slice *data)
{
    kiln_txn *txn = batch->txn;
    struct tree *tree = batch->tree;
    struct node_value value = {.data = data->data, .size = (uint32_t)data->size};
    uint8_t old_ref[LARGE_REF_BYTES];
    struct tree_path *path = &batch->path;
    ftk_status rc;

    if (FTK_UNLIKELY(!txn_is_prepared(txn, tree_pages_needed(tree)))) {
        txn_leave(txn);
        batch->path_valid = false;
        rc = txn_prepare(txn, tree_pages_needed(tree), false);
        txn_enter(txn);
        if (rc != FTK_OK)
            return rc;
    }
    rc = batch_seek(batch, key);
    if (rc != FTK_OK) {
        txn_enter(txn);
        return rc;
    }
    if (path->exact ? batch->flags == KILN_PUT_INSERT : batch->flags == KILN_PUT_UPDATE)
        return path->exact ? FTK_ANSWER(FTK_EXISTS, "the key is there already")
                           : FTK_ANSWER(FTK_NOTFOUND, "no such key");
    if (in_place_put(txn, tree, path, key->data, (uint32_t)key->size, &value)) {
        txn_log_put(txn, tree->id, key->data, key->size, data->data, data->size);
        return FTK_OK;
    }
    rc = tree_check_growth(txn, tree, path);
    if (rc != FTK_OK)
        return rc;
    if (path->exact && FTK_UNLIKELY(tree_large_at(txn, path, old_ref))) {
        txn_leave(txn);
        batch->path_valid = false;
        rc = tree_put_over_large(txn, tree, *key, &value, old_ref);
        txn_enter(txn);
        if (rc == FTK_OK)
            txn_log_put(txn, tree->id, key->data, key->size, data->data, data->size);
        return rc;
    }
    tree_own_path(txn, tree, path);
    txn_log_put(txn, tree->id, key->data, key->size, data->data, data->size);
    batch->path_valid = path->exact ? tree_replace_at(txn, tree, path, key->data, key->size, &value)
                                    : tree_insert_at(txn, tree, path, key->data, key->size, &value);
    return FTK_OK;
}

/* The same key comes again and replaces this one. */
static bool
is_superseded(const struct batch *batch, size_t i)
{
    const kiln_slice *a, *b;

    if (batch->flags != KILN_PUT_REPLACE || i + 1 == batch->count ||
        batch->order[i].head != batch->order[i + 1].head)
        return false;
    a = &batch->keys[batch->order[i].index];
    b = &batch->keys[batch->order[i + 1].index];
    return a->size == b->size && memcmp(a->data, b->data, a->size) == 0;
}

/* Keys [from, to) of the sorted batch; inside an epoch before and after. */
static ftk_status
put_group(struct batch *batch, size_t from, size_t to, size_t *done)
{
    ftk_status rc;

    for (size_t i = from; i < to; i++) {
        uint32_t index = batch->order[i].index;
        if (!is_superseded(batch, i)) {
            rc = put_one(batch, &batch->keys[index], &batch->values[index]);
            if (rc != FTK_OK)
                return rc;
        }
        (*done)++;
    }
    return FTK_OK;
}

static ftk_status
put_sorted(struct batch *batch, size_t from, size_t *done)
{
    kiln_txn *txn = batch->txn;
    ftk_status rc = FTK_OK;

    for (size_t i = from; i < batch->count && rc == FTK_OK; i += GROUP) {
        size_t to = i + GROUP < batch->count ? i + GROUP : batch->count;
        size_t absent;
        txn_enter(txn);
        batch->path_valid = false;
        absent = look_ahead(batch, i, to);
        if (absent > 0 || (batch->misses && i >= batch->asked)) {
            txn_leave(txn);
            rc = fetch_ahead(batch, i, to);
            txn_enter(txn);
        }
        if (rc == FTK_OK)
            rc = put_group(batch, i, to, done);
        txn_leave(txn);
    }
    return rc;
}

/* One key by itself. */
static ftk_status
put_single(struct batch *batch, size_t i, size_t *done)
{
    uint32_t index = batch->order[i].index;
    const kiln_slice *key = &batch->keys[index];
    struct node_value value = {.data = batch->values[index].data,
                               .size = (uint32_t)batch->values[index].size};
    ftk_status rc = FTK_OK;

    if (!is_superseded(batch, i)) {
        if (batch->flags == KILN_PUT_UPDATE ||
            !tree_append(batch->txn, batch->tree, key->data, key->size, &value))
            rc = tree_put(batch->txn, batch->tree, key->data, key->size, &value, batch->flags);
        if (rc == FTK_OK)
            txn_log_put(batch->txn, batch->tree->id, key->data, key->size, value.data, value.size);
    }
    if (rc == FTK_OK)
        (*done)++;
    return rc;
}

/* The last put went to the end of the tree, and key i goes behind it. */
static bool
is_append(const struct batch *batch, size_t i)
{
    kiln_txn *txn = batch->txn;
    const kiln_slice *key = &batch->keys[batch->order[i].index];
    struct node node;
    uint64_t leaf;
    bool append;

    txn_enter(txn);
    leaf = batch->tree->append_leaf;
    node = tree_node(txn, leaf);
    append = leaf != 0 && cache_use(txn->fast, leaf) && node_count(node.page) > 0 &&
             node_compare(node, node_count(node.page) - 1, key->data, (uint32_t)key->size) < 0;
    txn_leave(txn);
    return append;
}

/* The first key shows where the batch goes: behind the end (then one by one is fastest), or not. */
static ftk_status
put_chunk(struct batch *batch, size_t *done)
{
    size_t i = 0;
    ftk_status rc;

    do /* more than one when the first is superseded and the tree still empty */
        rc = put_single(batch, i++, done);
    while (rc == FTK_OK && batch->tree->height == 0);
    if (rc != FTK_OK || i == batch->count)
        return rc;
    if (!is_append(batch, i))
        return put_sorted(batch, i, done);
    for (; i < batch->count && rc == FTK_OK; i++)
        rc = put_single(batch, i, done);
    return rc;
}

/*
 * Room to look ahead, and to sort `max` keys.  Kept by the transaction object: memory of this size
 * that comes and goes with every small batch goes back to the operating system in between, and each
 * time all processors are interrupted.
 */
static ftk_status
batch_memory(struct batch *batch, size_t max, struct batch_item **items_out)
{
    kiln_txn *txn = batch->txn;
    size_t size = sizeof(*batch->ahead) + 2 * max * sizeof(**items_out);
    ftk_status rc;

    if (size > txn->writer.batch_bytes) {
        rc = ftk_realloc(&txn->writer.batch_memory, size);
        if (rc != FTK_OK)
            return rc;
        txn->writer.batch_bytes = size;
    }
    batch->ahead = txn->writer.batch_memory;
    *items_out = (struct batch_item *)(void *)(batch->ahead + 1);
    batch->order = *items_out;
    return FTK_OK;
}

/* Take the next keys into the batch: as many as are sorted together, and room in the log for
 * them. */
static ftk_status
chunk_take(struct batch *batch, const kiln_slice *keys, const kiln_slice *values, size_t left,
           size_t max)
{
    size_t bytes = 0, n = 0;

    while (n < left && n < max) {
        size_t more = values != NULL ? log_op_bytes(OP_PUT, keys[n].size, values[n].size)
                                     : log_op_bytes(OP_DELETE, keys[n].size, 0);
        if (n > 0 && bytes + more > CHUNK_BYTES && batch->txn->writer.logs)
            break;
        bytes += more;
        n++;
    }
    FTK_ASSERT(n > 0 && n <= max);
    batch->keys = keys;
    batch->values = values;
    batch->count = n;
    return txn_log_reserve(batch->txn, bytes);
}

ftk_status
tree_put_many(kiln_txn *txn, struct tree *tree, const kiln_slice *keys, const kiln_slice *values,
              size_t count, uint32_t flags, size_t *done_out)
{
    struct batch batch;
    size_t most = txn->writer.logs ? CHUNK : CHUNK_UNLOGGED;
    size_t max = count < most ? count : most;
    struct batch_item *items;
    ftk_status rc;

    batch_init(&batch, txn, tree, flags);
    *done_out = 0;
    FTK_TRY(batch_memory(&batch, max, &items));
    for (size_t at = 0; at < count; at += batch.count) {
        FTK_TRY(chunk_take(&batch, keys + at, values + at, count - at, max));
        batch.asked = 0;
        batch_sort(batch.keys, batch.count, items, items + max);
        FTK_TRY(put_chunk(&batch, done_out));
    }
out:
    return rc;
}

/* ---- deletes --------------------------------------------------------------------------------- */

static ftk_status
delete_group(struct batch *batch, size_t from, size_t to, uint64_t *deleted)
{
    kiln_txn *txn = batch->txn;
    size_t absent;

    txn_enter(txn);
    absent = look_ahead(batch, from, to);
    txn_leave(txn);
    if (absent > 0 || (batch->misses && from >= batch->asked)) {
        ftk_status rc = fetch_ahead(batch, from, to);
        if (rc != FTK_OK)
            return rc;
    }
    for (size_t i = from; i < to; i++) {
        const kiln_slice *key = &batch->keys[batch->order[i].index];
        ftk_status rc = tree_delete(txn, batch->tree, key->data, key->size);
        if (rc == FTK_NOTFOUND)
            continue;
        if (rc != FTK_OK)
            return rc;
        txn_log_delete(txn, batch->tree->id, key->data, key->size);
        (*deleted)++;
    }
    return FTK_OK;
}

ftk_status
tree_delete_many(kiln_txn *txn, struct tree *tree, const kiln_slice *keys, size_t count,
                 uint64_t *deleted_out)
{
    struct batch batch;
    size_t max = count < CHUNK ? count : CHUNK;
    struct batch_item *items;
    ftk_status rc;

    batch_init(&batch, txn, tree, 0);
    *deleted_out = 0;
    FTK_TRY(batch_memory(&batch, max, &items));
    for (size_t at = 0; at < count; at += batch.count) {
        FTK_TRY(chunk_take(&batch, keys + at, NULL, count - at, max));
        batch.asked = 0;
        batch_sort(batch.keys, batch.count, items, items + max);
        for (size_t i = 0; i < batch.count; i += GROUP) {
            size_t to = i + GROUP < batch.count ? i + GROUP : batch.count;
            FTK_TRY(delete_group(&batch, i, to, deleted_out));
        }
    }
out:
    return rc;
}
