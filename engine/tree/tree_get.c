/* SPDX-License-Identifier: Apache-2.0 */
/* engine/tree/tree_get.c -- reads: one key, many keys, estimates; what is held of them. */
#include <string.h>

#include "engine/tree/cursor.h"

/* The entry with this key.  On FTK_OK inside an epoch.  (A call of it is 20 instructions.) */
FTK_INLINE ftk_status
find(kiln_txn *txn, const struct tree *tree, const void *key, size_t key_size,
     struct node_entry *entry, uint64_t *leaf_out)
{
    struct tree_path path;
    uint64_t leaf;
    ftk_status rc;

    if (tree->height == 0)
        return FTK_ANSWER(FTK_NOTFOUND, "no such key");
    rc = tree_descend(txn, tree, key, key_size, 0, &path);
    if (rc != FTK_OK)
        return rc;
    if (!path.exact) {
        txn_leave(txn);
        return FTK_ANSWER(FTK_NOTFOUND, "no such key");
    }
    leaf = path.page[path.depth - 1];
    FTK_DEBUG_ASSERT(path.pos[path.depth - 1] < node_count(cache_address(txn->fast, leaf)));
    node_entry(tree_node(txn, leaf), path.pos[path.depth - 1], entry);
    *leaf_out = leaf;
    return FTK_OK;
}

ftk_status
tree_get(kiln_txn *txn, const struct tree *tree, const void *key, size_t key_size,
         uint8_t ref[LARGE_REF_BYTES], struct node_entry *entry)
{
    uint64_t leaf;
    ftk_status rc = find(txn, tree, key, key_size, entry, &leaf);

    if (rc != FTK_OK)
        return rc;
    if (FTK_UNLIKELY(entry->large)) {
        entry->value = memcpy(ref, entry->value, LARGE_REF_BYTES);
        txn_leave(txn);
        return FTK_OK;
    }
    if (FTK_UNLIKELY(txn->window != NULL) && window_has(txn, leaf)) {
        memcpy(txn->window->value, entry->value, entry->value_size);
        entry->value = txn->window->value;
    }
    txn_lend_leaf(txn, leaf);
    txn_leave(txn);
    return FTK_OK;
}

/* Bytes of the value that the buffer gets. */
static size_t
look_bytes(const struct tree_look *look)
{
    uint64_t left = look->offset < look->size ? look->size - look->offset : 0;

    return left < look->buffer_size ? (size_t)left : look->buffer_size;
}

ftk_status
tree_look(kiln_txn *txn, const struct tree *tree, kiln_slice key, struct tree_look *look)
{
    struct node_entry entry;
    uint64_t leaf;
    ftk_status rc = find(txn, tree, key.data, key.size, &entry, &leaf);

    look->copied = 0;
    if (rc != FTK_OK)
        return rc;
    look->large = entry.large;
    look->size = entry.large ? value_ref_size(entry.value) : entry.value_size;
    if (entry.large) {
        memcpy(look->ref, entry.value, LARGE_REF_BYTES);
    } else if (look_bytes(look) > 0) {
        look->copied = look_bytes(look);
        if (FTK_UNLIKELY(txn->window != NULL)) { /* the leaf may be returned when it is let */
            memcpy(look->buffer, entry.value + look->offset, look->copied);
        } else { /* the buffer may be paged out: no epoch while it comes in */
            cache_pin(txn->fast, leaf);
            txn_leave(txn);
            memcpy(look->buffer, entry.value + look->offset, look->copied);
            cache_unpin(txn->fast, leaf);
            return FTK_OK;
        }
    }
    txn_leave(txn);
    return FTK_OK;
}

ftk_status
tree_value_read(kiln_txn *txn, const struct tree *tree, kiln_slice key, struct tree_look *look)
{
    ftk_status rc = tree_look(txn, tree, key, look);
    size_t bytes;

    if (rc != FTK_OK || !look->large)
        return rc;
    bytes = look_bytes(look);
    rc = value_read(txn, look->ref, look->offset, look->buffer, bytes);
    if (rc == FTK_OK)
        look->copied = bytes;
    return rc;
}

/* ---- many ------------------------------------------------------------------------------------ */

/*
 * Keys of a group walk down level by level together: while one waits for its line, the others use
 * theirs.  More keys than lines the core can fetch at once gain nothing (16 on the machines at
 * hand); reading from a device gains from more.
 */
enum { GROUP = 32 };

struct get_group {
    kiln_txn *txn;
    const struct tree *tree;
    const kiln_slice *keys;
    uint32_t count;
    struct page_ref ref[GROUP];
    uint64_t page[GROUP]; /* its id */
    uint32_t pos[GROUP];
    bool exact[GROUP];
};

static inline void
group_enter(struct get_group *group, uint32_t i, struct page_ref ref)
{
    group->ref[i] = ref;
    group->page[i] = page_ref_id(ref);
}

/* See that all pages of this level are resident; inside an epoch before and after. */
static ftk_status
group_use(struct get_group *group)
{
    kiln_txn *txn = group->txn;
    uint64_t absent[GROUP];
    ftk_status rc;

    for (;;) {
        size_t n = 0;
        for (uint32_t i = 0; i < group->count; i++) {
            if (FTK_UNLIKELY(group->page[i] >= txn->fast->pages_max))
                return FTK_FAIL(FTK_CORRUPT, "reference to page %llu, which cannot be",
                                (unsigned long long)group->page[i]);
            if (FTK_UNLIKELY(!cache_use(txn->fast, group->page[i])))
                absent[n++] = group->page[i];
        }
        if (FTK_LIKELY(n == 0))
            return FTK_OK;
        txn_leave(txn);
        rc = txn_fetch_many(txn, absent, n, 0);
        txn_enter(txn);
        if (rc != FTK_OK)
            return rc;
    }
}

/* Leaves that a writer has changed in place are as they were.  Inside an epoch before and after. */
static ftk_status
group_settle(struct get_group *group)
{
    kiln_txn *txn = group->txn;
    ftk_status rc = FTK_OK;

    txn_leave(txn);
    for (uint32_t i = 0; rc == FTK_OK && i < group->count && txn_is_beside(txn); i++)
        rc = window_settle(txn, group->page[i]);
    txn_enter(txn);
    return rc;
}

/* All pages of the level are resident: their level, and where each key goes or is likely to be. */
static ftk_status
group_search(struct get_group *group, uint32_t level)
{
    kiln_txn *txn = group->txn;

    for (uint32_t i = 0; i < group->count; i++) {
        const kiln_slice *key = &group->keys[i];
        struct node node = tree_node(txn, group->page[i]);
        ftk_status rc = tree_check_page(txn, group->ref[i], level);
        if (rc != FTK_OK)
            return rc;
        if (level > 0) {
            group->pos[i] = node_child_pos(node, key->data, (uint32_t)key->size);
            __builtin_prefetch(node_body(node.page, group->pos[i]));
        } else {
            node_prefetch(node, key->data, (uint32_t)key->size);
        }
    }
    return FTK_OK;
}

/* Walk the group to its leaves; inside an epoch before and after. */
static ftk_status
group_walk(struct get_group *group)
{
    kiln_txn *txn = group->txn;
    uint32_t height = group->tree->height;
    ftk_status rc = FTK_OK;

    FTK_ASSERT(height > 0 && group->count > 0 && group->count <= GROUP);
    for (uint32_t i = 0; i < group->count; i++)
        group_enter(group, i, group->tree->root);
    for (uint32_t level = height; level-- > 0;) {
        if (FTK_UNLIKELY(level == 0 && txn_is_beside(txn)))
            rc = group_settle(group);
        if (rc == FTK_OK)
            rc = group_use(group);
        if (rc != FTK_OK)
            return rc;
        rc = group_search(group, level);
        if (rc != FTK_OK)
            return rc;
        for (uint32_t i = 0; i < group->count; i++) {
            const kiln_slice *key = &group->keys[i];
            struct node node = tree_node(txn, group->page[i]);
            if (level > 0) {
                group_enter(group, i, node_child(node.page, group->pos[i]));
                if (group->page[i] < txn->fast->pages_max)
                    tree_prefetch(txn, group->page[i], level - 1);
            } else {
                group->pos[i] =
                    node_lower_bound(node, key->data, (uint32_t)key->size, &group->exact[i]);
            }
        }
    }
    return FTK_OK;
}

static int
group_call(kiln_txn *txn, int (*each)(void *context, size_t index, kiln_slice value), void *context,
           size_t index, kiln_slice value)
{
    uint8_t before = txn_calls_begin(txn);
    int stop = each(context, index, value);

    txn_calls_end(txn, before);
    return stop;
}

static ftk_status
group_deliver(struct get_group *group, size_t base,
              int (*each)(void *context, size_t index, kiln_slice value), void *context)
{
    kiln_txn *txn = group->txn;
    struct txn_lent *lent = txn->write ? NULL : &txn->reader.lent;
    const struct lent_run outer = lent != NULL ? lent->shown : (struct lent_run){0};
    ftk_status rc = FTK_OK;

    for (uint32_t i = 0; i < group->count && rc == FTK_OK; i++) {
        struct lent_run run = {0};
        kiln_slice value = {NULL, 0};
        if (group->exact[i]) {
            struct node_entry entry;
            node_entry(tree_node(txn, group->page[i]), group->pos[i], &entry);
            value = (kiln_slice){entry.value, entry.value_size};
            if (entry.large)
                rc = value_pin(txn, entry.value, &run, &value);
        }
        if (lent != NULL && group->exact[i])
            lent->shown = run.pages > 0 ? run : (struct lent_run){group->page[i], 1};
        if (rc == FTK_OK && group_call(txn, each, context, base + i, value) != 0)
            rc = FTK_FAIL(FTK_CANCELED, "get_many: stopped by its callback");
        if (lent != NULL)
            lent->shown = outer; /* of the call in whose callback this one was made */
        if (run.pages > 0)
            cache_unpin_run(txn->cache, run.first, run.pages);
    }
    return rc;
}

ftk_status
tree_get_many(kiln_txn *txn, const struct tree *tree, const kiln_slice *keys, size_t count,
              int (*each)(void *context, size_t index, kiln_slice value), void *context)
{
    struct get_group group = {.txn = txn, .tree = tree};
    ftk_status rc = in_place_end(txn);

    for (size_t base = 0; base < count && rc == FTK_OK; base += GROUP) {
        group.keys = keys + base;
        group.count = count - base < GROUP ? (uint32_t)(count - base) : GROUP;
        memset(group.exact, 0, sizeof(group.exact));
        if (tree->height != 0) {
            txn_enter(txn);
            rc = group_walk(&group);
            for (uint32_t i = 0; i < group.count && rc == FTK_OK; i++)
                cache_pin(txn->fast, group.page[i]);
            txn_leave(txn);
        }
        if (rc != FTK_OK)
            break;
        rc = group_deliver(&group, base, each, context);
        for (uint32_t i = 0; i < group.count && tree->height != 0; i++)
            cache_unpin(txn->fast, group.page[i]);
    }
    return rc;
}

/* ---- estimates ------------------------------------------------------------------------------- */

/* Where a key stands, as a fraction of the tree's keys: each level narrows the interval. */
static ftk_status
tree_fraction(kiln_txn *txn, const struct tree *tree, kiln_slice key, double *fraction_out)
{
    struct tree_path path;
    double low = 0, width = 1;
    ftk_status rc = tree_descend(txn, tree, key.data, key.size, 0, &path);

    if (rc != FTK_OK)
        return rc;
    for (uint32_t d = 0; d < path.depth; d++) {
        uint32_t count = node_count(cache_address(txn->fast, path.page[d]));
        if (count == 0)
            break;
        low += width * path.pos[d] / count;
        width /= count;
    }
    txn_leave(txn);
    FTK_ASSERT(low >= 0 && low <= 1);
    *fraction_out = low;
    return FTK_OK;
}

ftk_status
tree_range_estimate(kiln_txn *txn, const struct tree *tree, kiln_slice low, kiln_slice high,
                    uint64_t *count_out)
{
    double from = 0, to = 1;
    ftk_status rc = FTK_OK;

    *count_out = 0;
    if (tree->height == 0)
        return FTK_OK;
    if (low.data != NULL)
        rc = tree_fraction(txn, tree, low, &from);
    if (rc == FTK_OK && high.data != NULL)
        rc = tree_fraction(txn, tree, high, &to);
    if (rc == FTK_OK && to > from)
        *count_out = (uint64_t)((to - from) * (double)tree->keys + 0.5);
    return rc;
}

/* ---- holds ----------------------------------------------------------------------------------- */

ftk_status
tree_hold(kiln_txn *txn, kiln_slice value)
{
    const uintptr_t at = (uintptr_t)value.data - (uintptr_t)txn->fast->base; /* any, if not lent */
    const uint64_t page = at >> txn->fast->page_shift;
    struct lent_run run;

    FTK_ASSERT(!txn->write && value.size > 0);
    if (page >= txn->fast->pages_max || value.size > KILN_VALUE_MAX ||
        (!lent_find(&txn->reader.lent, value.data, value.size, page, &run) &&
         !cursors_lend(txn, page, &run)) ||
        ((at + value.size - 1) >> txn->fast->page_shift) - run.first >= run.pages)
        return FTK_FAIL(FTK_INVALID, "hold: not a value that this transaction has lent");
    return lent_hold(&txn->reader.lent, txn->cache, value.data, value.size, run);
}
