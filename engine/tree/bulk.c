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
    kiln_txn *txn;
    struct tree *tree;
    uint32_t height;
    uint64_t page[TREE_HEIGHT_MAX]; /* by level: 0 is the leaf */
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
    *bulk_out = bulk;
    return FTK_OK;
}

static uint64_t
page_open(struct kiln_bulk *bulk, uint32_t level)
{
    kiln_txn *txn = bulk->txn;
    uint8_t flags = level == 0 && (bulk->tree->flags & CATALOG_KEYS_ONLY) ? PAGE_KEYS_ONLY : 0;
    uint8_t head = level == 0 && (bulk->tree->flags & CATALOG_U64_KEYS) ? 2 : 4;
    uint64_t page = txn_page_new(txn);

    node_init(tree_node(txn, page), level == 0 ? PAGE_LEAF : PAGE_INNER, flags, (uint8_t)level,
              head, txn->birth, NULL, 0);
    txn_page_born(txn, page);
    bulk->page[level] = page;
    return page;
}

/* A page was closed on `level` - 1 and `child` opened behind it. */
static void
parent_add(struct kiln_bulk *bulk, uint32_t level, uint64_t first, const uint8_t *separator,
           uint32_t separator_size, uint64_t child)
{
    kiln_txn *txn = bulk->txn;
    struct node_value value = {.child = first};
    struct node node;

    if (level == bulk->height) { /* the level begins with the page that was closed */
        FTK_ASSERT(level < TREE_HEIGHT_MAX);
        page_open(bulk, level);
        node_insert(tree_node(txn, bulk->page[level]), 0, "", 0, &value, txn->page_scratch);
        bulk->height++;
    }
    value.child = child;
    node = tree_node(txn, bulk->page[level]);
    if (tree_node_put(txn, node, node_count(node.page), separator, separator_size, &value))
        return;
    uint64_t closed = bulk->page[level];
    uint64_t opened = page_open(bulk, level);
    node_insert(tree_node(txn, opened), 0, "", 0, &value, txn->page_scratch);
    parent_add(bulk, level + 1, closed, separator, separator_size, opened);
}

/* Put at the end of the open leaf; a full one is tried again under its best prefix. */
static bool
leaf_add(struct kiln_bulk *bulk, const void *key, uint32_t key_size, const struct node_value *value)
{
    kiln_txn *txn = bulk->txn;
    struct node leaf = tree_node(txn, bulk->page[0]);
    uint32_t count = node_count(leaf.page);
    struct node_source source = {.node = leaf,
                                 .extra_pos = count,
                                 .extra_key = key,
                                 .extra_key_size = key_size,
                                 .extra_value = value};
    struct node fresh = {txn->page_scratch, leaf.bytes};

    if (tree_node_put(txn, leaf, count, key, key_size, value))
        return true;
    if (count < 2 || !node_build(&source, 0, count + 1, fresh, txn->birth, NODE_PREFIX_BEST))
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

ftk_status
bulk_add(struct kiln_bulk *bulk, const void *key, uint32_t key_size, const struct node_value *value)
{
    kiln_txn *txn = bulk->txn;
    uint8_t separator[NODE_KEY_MAX];
    uint64_t closed, opened;
    ftk_status rc;

    rc = txn_prepare(txn, 2 * TREE_HEIGHT_MAX, false);
    if (rc != FTK_OK)
        return rc;
    if (bulk->keys == 0) {
        page_open(bulk, 0);
        bulk->height = 1;
    }
    /* Open pages may have been written out since, but they are dirty or fetched again here. */
    for (uint32_t level = 0; level < bulk->height; level++) {
        rc = cache_fetch(txn->cache, bulk->page[level], 0);
        if (rc != FTK_OK) {
            txn->ended = true;
            while (level-- > 0)
                cache_unpin(txn->fast, bulk->page[level]);
            return rc;
        }
        cache_dirty(txn->cache, txn->fast, bulk->page[level]);
    }
    uint32_t pinned = bulk->height;
    uint64_t pins[TREE_HEIGHT_MAX];
    memcpy(pins, bulk->page, sizeof(pins));
    if (!leaf_add(bulk, key, key_size, value)) {
        uint32_t size = node_separator(bulk->last, bulk->last_size, key, key_size, separator);
        closed = bulk->page[0];
        opened = page_open(bulk, 0);
        leaf_add(bulk, key, key_size, value);
        parent_add(bulk, 1, closed, separator, size, opened);
    }
    for (uint32_t level = 0; level < pinned; level++)
        cache_unpin(txn->fast, pins[level]);
    memcpy(bulk->last, key, key_size);
    bulk->last_size = key_size;
    bulk->keys++;
    return FTK_OK;
}

void
bulk_end(struct kiln_bulk *bulk)
{
    struct tree *tree = bulk->tree;

    if (bulk->keys > 0) {
        tree->root = bulk->page[bulk->height - 1];
        tree->height = (uint8_t)bulk->height;
        tree->keys = bulk->keys;
        tree->dirty = true;
        tree->changes++;
    }
    ftk_free(bulk);
}

/* What was logged is taken back the same way in a replay: the keys, then the clearing. */
ftk_status
bulk_abort(struct kiln_bulk *bulk)
{
    kiln_txn *txn = bulk->txn;
    struct tree *tree = bulk->tree;
    ftk_status rc;

    bulk_end(bulk);
    FTK_TRY(txn_log_reserve(txn, 32));
    FTK_TRY(tree_clear(txn, tree));
    txn_log_coll(txn, OP_COLL_CLEAR, tree->id);
    return FTK_OK;
out:
    txn->ended = true;
    return rc;
}

kiln_txn *
bulk_txn(struct kiln_bulk *bulk)
{
    return bulk->txn;
}

kiln_coll
bulk_coll(const struct kiln_bulk *bulk)
{
    return bulk->tree->id;
}
