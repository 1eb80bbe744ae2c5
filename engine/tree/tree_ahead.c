/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/tree/tree_ahead.c -- looking ahead: the pages of the next keys of a sorted batch.
 *
 * All keys go down together, a level at a time.  Neighbours share pages, so a level is a list of
 * pages with the first key of each; while one page's lines are on their way the others are
 * searched. Walking key by key would wait for every page above the leaves in turn.
 */
#include "engine/tree/tree.h"

/* A page of a level and the number of the first key that goes there; page 0: not known. */
static inline uint64_t
item(uint64_t page, size_t key)
{
    return page | (uint64_t)key << 48;
}
static inline uint64_t
item_page(uint64_t item)
{
    return item & PAGE_ID_MAX;
}
static inline size_t
item_key(uint64_t item)
{
    return (size_t)(item >> 48);
}

struct walk {
    const kiln_txn *txn;
    const kiln_slice *keys;
    const struct batch_item *order;
    struct tree_ahead *ahead;
    size_t absent;
};

static const kiln_slice *
key_of(const struct walk *walk, size_t i)
{
    return &walk->keys[walk->order[i].index];
}

static bool
is_usable(struct walk *walk, uint64_t page, uint32_t level)
{
    if (page == 0)
        return false;
    if (!cache_use(walk->txn->fast, page)) {
        FTK_ASSERT(walk->absent < TREE_AHEAD_MAX);
        walk->ahead->absent[walk->absent++] = page;
        return false;
    }
    /* A wrong level is damage, and so is a wrong birth: the descent reports them. */
    return node_level(cache_address(walk->txn->fast, page)) == level;
}

/* The children of a page that keys [from, to) go to. */
static size_t
children(struct walk *walk, struct node node, size_t from, size_t to, uint64_t *below, size_t n)
{
    uint32_t count = node_count(node.page), level = node_level(node.page) - 1;

    for (size_t i = from; i < to;) {
        const kiln_slice *key = key_of(walk, i);
        uint32_t pos = node_child_pos(node, key->data, (uint32_t)key->size);
        uint64_t child = page_ref_id(node_child(node.page, pos));
        if (child >= walk->txn->fast->pages_max) /* damage: the descent reports it */
            child = 0;
        else
            tree_prefetch(walk->txn, child, level);
        FTK_DEBUG_ASSERT(n < TREE_AHEAD_MAX);
        below[n++] = item(child, i++);
        if (pos + 1 == count)
            break;
        while (i < to) { /* the same child */
            key = key_of(walk, i);
            if (node_compare(node, pos + 1, key->data, (uint32_t)key->size) <= 0)
                break;
            i++;
        }
    }
    return n;
}

/* Lines that a change touches: of a leaf that will be copied all in use, else where an entry
 * goes. */
static void
prefetch_change(const kiln_txn *txn, uint64_t page_id)
{
    struct node node = tree_node(txn, page_id);
    uint64_t birth = node_birth(node.page);

    if (txn_page_mine(txn, birth) || window_expected(txn, birth)) {
        const uint8_t *top = node.page + node_heap_at(node);
        __builtin_prefetch(top - 64, 1, 2);
        __builtin_prefetch(top - 128, 1, 2);
        return;
    }
    for (uint32_t at = 256; at < node_arrays_end(node.page); at += 64)
        __builtin_prefetch(node.page + at, 0, 2);
    node_prefetch_heap(node);
}

size_t
tree_ahead(const kiln_txn *txn, const struct tree *tree, const kiln_slice *keys,
           const struct batch_item *order, size_t count, struct tree_ahead *ahead)
{
    struct walk walk = {.txn = txn, .keys = keys, .order = order, .ahead = ahead};
    uint64_t *level_items = ahead->items[0], *below = ahead->items[1];
    size_t n = 1;

    FTK_ASSERT(tree->height > 1 && count > 0 && count <= TREE_AHEAD_MAX);
    level_items[0] = item(page_ref_id(tree->root), 0);
    for (uint32_t level = tree->height - 1u; level > 0; level--) {
        uint64_t *swap = level_items;
        size_t m = 0;
        for (size_t k = 0; k < n; k++) {
            uint64_t page = item_page(level_items[k]);
            size_t from = item_key(level_items[k]);
            size_t to = k + 1 < n ? item_key(level_items[k + 1]) : count;
            if (is_usable(&walk, page, level))
                m = children(&walk, tree_node(txn, page), from, to, below, m);
            else
                below[m++] = item(0, from);
        }
        level_items = below;
        below = swap;
        n = m;
    }
    for (size_t k = 0; k < n; k++) {
        uint64_t page = item_page(level_items[k]);
        if (is_usable(&walk, page, 0) && ahead->change)
            prefetch_change(txn, page);
    }
    return walk.absent;
}
