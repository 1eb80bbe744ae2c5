/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/tree/bulk.c -- fill an empty tree from ascending keys, bottom up.
 *
 * One open page per level, the rightmost.  A leaf that is full is rebuilt once with the best prefix
 * of what it holds; only when that gains nothing it is closed, so pages come out denser than by
 * puts.
 */
#include <string.h>

#include "engine/tree/tree.h"
#include "ftk/mem.h"

struct kiln_bulk {
    kiln_txn *txn;   /* NULL: it has ended */
    kiln_bulk *next; /* of the transaction */
    struct tree *tree;
    uint32_t height;
    struct page_ref open[TREE_HEIGHT_MAX]; /* by level: 0 is the leaf */
    uint64_t keys;
    uint32_t last_size;
    uint8_t last[NODE_KEY_MAX];
};

ftk_status
bulk_begin(kiln_txn *txn, struct tree *tree, struct kiln_bulk **bulk_out)
{
    struct kiln_bulk *bulk = NULL;
    ftk_status rc;

    *bulk_out = NULL;
    if (tree->height != 0)
        return FTK_FAIL(FTK_STATE, "bulk: collection %u is not empty", tree->id);
    rc = in_place_end(txn);
    if (rc == FTK_OK)
        rc = FTK_NEW(&bulk);
    if (rc != FTK_OK)
        return rc;
    bulk->txn = txn;
    bulk->tree = tree;
    bulk->next = txn->writer.bulks;
    txn->writer.bulks = bulk;
    tree->building = true;
    *bulk_out = bulk;
    return FTK_OK;
}

static struct node
open_node(const struct kiln_bulk *bulk, uint32_t level)
{
    return tree_node(bulk->txn, page_ref_id(bulk->open[level]));
}

static struct page_ref
page_open(struct kiln_bulk *bulk, uint32_t level)
{
    kiln_txn *txn = bulk->txn;
    uint8_t flags = level == 0 && (bulk->tree->flags & CATALOG_KEYS_ONLY) ? PAGE_KEYS_ONLY : 0;
    uint8_t head = level == 0 && (bulk->tree->flags & CATALOG_U64_KEYS) ? 2 : 4;
    uint64_t page = txn_page_new(txn);

    FTK_ASSERT(level <= bulk->height && level < TREE_HEIGHT_MAX);
    node_init(tree_node(txn, page), level == 0 ? PAGE_LEAF : PAGE_INNER, flags, (uint8_t)level,
              head, txn->writer.birth, NULL, 0);
    txn_page_born(txn, page);
    bulk->open[level] = page_ref_make(page, txn->writer.birth);
    return bulk->open[level];
}

/* A page was closed on `level` - 1 and `child` opened behind it. */
static void
parent_add(struct kiln_bulk *bulk, uint32_t level, struct page_ref first, const uint8_t *separator,
           uint32_t separator_size, struct page_ref child)
{
    kiln_txn *txn = bulk->txn;
    struct node_value value = {.child = first};
    struct node node;

    if (level == bulk->height) { /* the level begins with the page that was closed */
        page_open(bulk, level);
        node_insert(open_node(bulk, level), 0, "", 0, &value, txn->writer.page_scratch);
        bulk->height++;
    }
    value.child = child;
    node = open_node(bulk, level);
    if (tree_node_put(txn, node, node_count(node.page), separator, separator_size, &value))
        return;
    struct page_ref closed = bulk->open[level];
    struct page_ref opened = page_open(bulk, level);
    node_insert(open_node(bulk, level), 0, "", 0, &value, txn->writer.page_scratch);
    parent_add(bulk, level + 1, closed, separator, separator_size, opened);
}

/* Put at the end of the open leaf; a full one is tried again under its best prefix. */
static bool
leaf_add(struct kiln_bulk *bulk, const void *key, uint32_t key_size, const struct node_value *value)
{
    kiln_txn *txn = bulk->txn;
    struct node leaf = open_node(bulk, 0);
    uint32_t count = node_count(leaf.page);
    struct node_source source = {.node = leaf,
                                 .extra_pos = count,
                                 .extra_key = key,
                                 .extra_key_size = key_size,
                                 .extra_value = value};
    struct node fresh = {txn->writer.page_scratch, leaf.bytes};

    if (tree_node_put(txn, leaf, count, key, key_size, value))
        return true;
    if (count < 2 || !node_build(&source, 0, count + 1, fresh, txn->writer.birth, NODE_PREFIX_BEST))
        return false;
    node_take(leaf, fresh.page);
    return true;
}

ftk_status
bulk_check_order(const struct kiln_bulk *bulk, const void *key, size_t key_size)
{
    if (bulk->keys > 0 && ftk_bytes_compare(key, key_size, bulk->last, bulk->last_size) <= 0)
        return FTK_FAIL(FTK_INVALID, "bulk: key %llu is not above the one before it",
                        (unsigned long long)bulk->keys);
    return FTK_OK;
}

static void
unpin_levels(struct kiln_bulk *bulk, const uint64_t *pages, uint32_t count)
{
    while (count-- > 0)
        cache_unpin(bulk->txn->fast, pages[count]);
}

/* A copy of every level, a page behind it, and two new levels. */
static uint32_t
pages_needed(const struct kiln_bulk *bulk)
{
    return 4 * bulk->height + 3;
}

/* Open pages may have been written out and evicted since the last key: they are resident (pages_out
 * are pinned) and of this transaction again, from the top down. */
static ftk_status
levels_own(struct kiln_bulk *bulk, uint64_t *pages_out)
{
    kiln_txn *txn = bulk->txn;
    ftk_status rc = FTK_OK;

    for (uint32_t level = 0; level < bulk->height; level++) {
        pages_out[level] = page_ref_id(bulk->open[level]);
        rc = txn_fetch(txn, pages_out[level], 0, pages_needed(bulk));
        if (rc == FTK_OK) {
            rc = tree_check_page(txn, bulk->open[level], level);
            if (rc == FTK_OK)
                continue;
            cache_unpin(txn->fast, pages_out[level]);
        }
        unpin_levels(bulk, pages_out, level);
        return rc; /* nothing has changed */
    }
    for (uint32_t level = bulk->height; level-- > 0;) {
        struct page_ref mine = tree_ref(txn, txn_page_own(txn, pages_out[level]));
        struct node parent =
            level + 1 < bulk->height ? open_node(bulk, level + 1) : (struct node){0};
        if (mine.bits != bulk->open[level].bits && parent.page != NULL)
            node_set_child(parent, node_count(parent.page) - 1, mine);
        bulk->open[level] = mine;
    }
    return FTK_OK;
}

ftk_status
bulk_add(struct kiln_bulk *bulk, const void *key, uint32_t key_size, const struct node_value *value)
{
    kiln_txn *txn = bulk->txn;
    uint8_t separator[NODE_KEY_MAX];
    uint64_t pins[TREE_HEIGHT_MAX];
    uint32_t pinned = bulk->height;
    ftk_status rc;

    rc = txn_prepare(txn, pages_needed(bulk), false);
    if (rc == FTK_OK)
        rc = levels_own(bulk, pins);
    if (rc != FTK_OK)
        return rc;
    if (bulk->height == TREE_HEIGHT_MAX)
        rc = tree_limit(txn, bulk->tree, page_ref_id(bulk->open[bulk->height - 1]));
    if (rc != FTK_OK) {
        unpin_levels(bulk, pins, pinned);
        return rc;
    }
    if (bulk->keys == 0) {
        page_open(bulk, 0);
        bulk->height = 1;
    }
    if (!leaf_add(bulk, key, key_size, value)) {
        uint32_t size = node_separator(bulk->last, bulk->last_size, key, key_size, separator);
        struct page_ref closed = bulk->open[0];
        struct page_ref opened = page_open(bulk, 0);
        bool added = leaf_add(bulk, key, key_size, value);
        FTK_ASSERT(added); /* alone in its page */
        parent_add(bulk, 1, closed, separator, size, opened);
    }
    unpin_levels(bulk, pins, pinned);
    memcpy(bulk->last, key, key_size);
    bulk->last_size = key_size;
    bulk->keys++;
    return FTK_OK;
}

void
bulk_detach(struct kiln_bulk *bulk)
{
    kiln_bulk **at = &bulk->txn->writer.bulks;

    while (*at != bulk)
        at = &(*at)->next;
    *at = bulk->next;
    FTK_ASSERT(bulk->tree->building);
    bulk->tree->building = false;
    bulk->txn = NULL;
    bulk->tree = NULL;
}

void
bulk_free(struct kiln_bulk *bulk)
{
    if (bulk->txn != NULL)
        bulk_detach(bulk);
    ftk_free(bulk);
}

/* The tree has what was built. */
static void
tree_take(struct kiln_bulk *bulk)
{
    struct tree *tree = bulk->tree;

    FTK_ASSERT(tree->height == 0 && (bulk->keys == 0) == (bulk->height == 0));
    if (bulk->keys == 0)
        return;
    tree->root = bulk->open[bulk->height - 1];
    tree->height = (uint8_t)bulk->height;
    tree->keys = bulk->keys;
    tree->dirty = true;
    tree->changes++;
}

void
bulk_end(struct kiln_bulk *bulk)
{
    tree_take(bulk);
    bulk_free(bulk);
}

/* What was logged is taken back the same way in a replay: the keys, then the clearing. */
ftk_status
bulk_abort(struct kiln_bulk *bulk)
{
    struct tree *tree = bulk->tree;
    struct tree before = *tree;
    ftk_status rc;

    tree_take(bulk);
    rc = logged_clear(bulk->txn, tree);
    if (rc == FTK_OK)
        bulk_free(bulk);
    else
        *tree = before;
    return rc;
}

kiln_txn *
bulk_txn(struct kiln_bulk *bulk)
{
    return bulk->txn;
}

struct tree *
bulk_tree(const struct kiln_bulk *bulk)
{
    return bulk->tree;
}
