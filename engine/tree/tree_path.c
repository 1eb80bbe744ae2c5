/* engine/tree/tree_path.c -- from the root to a leaf. */
#include <string.h>

#include "engine/tree/tree.h"
#include "ftk/mem.h"

enum edge { EDGE_NONE, EDGE_FIRST, EDGE_LAST };

ftk_status
tree_check_page(kiln_txn *txn, uint64_t page_id, uint32_t level)
{
    const uint8_t *page = cache_address(txn->fast, page_id);

    if (FTK_LIKELY(node_level(page) == level &&
                   page[PAGE_TYPE] == (level == 0 ? PAGE_LEAF : PAGE_INNER)))
        return FTK_OK;
    return FTK_FAIL(FTK_CORRUPT, "page %llu is not a page of level %u as its parent says",
                    (unsigned long long)page_id, level);
}

ftk_status
tree_use(kiln_txn *txn, uint64_t page_id, unsigned fetch_flags, bool *again_out)
{
    ftk_status rc;

    *again_out = false;
    if (FTK_UNLIKELY(page_id >= txn->fast->pages_max))
        return FTK_FAIL(FTK_CORRUPT, "reference to page %llu, which cannot be",
                        (unsigned long long)page_id);
    if (FTK_LIKELY(cache_use(txn->fast, page_id)))
        return FTK_OK;
    txn_leave(txn);
    rc = cache_fetch(txn->cache, page_id, fetch_flags);
    txn_enter(txn);
    if (rc == FTK_OK)
        cache_unpin(txn->fast, page_id);
    *again_out = true;
    return rc;
}

static inline ftk_status
descend(kiln_txn *txn, const struct tree *tree, const void *key, size_t key_size, enum edge edge,
        unsigned fetch_flags, struct tree_path *path)
{
    uint32_t page_bytes = txn->db->page_bytes;
    uint64_t id;
    bool again;
    ftk_status rc;

    path->depth = tree->height;
    path->exact = false;
    txn_enter(txn);
restart:
    id = tree->root;
    for (uint32_t d = 0; d < tree->height; d++) {
        uint32_t level = tree->height - 1u - d;
        struct node node = {cache_address(txn->fast, id), page_bytes};
        rc = tree_use(txn, id, fetch_flags, &again);
        if (FTK_UNLIKELY(rc != FTK_OK))
            goto fail;
        if (FTK_UNLIKELY(again))
            goto restart;
        rc = tree_check_page(txn, id, level);
        if (FTK_UNLIKELY(rc != FTK_OK))
            goto fail;
        path->page[d] = id;
        if (level > 0) {
            path->pos[d] = edge == EDGE_NONE ? node_child_pos(node, key, (uint32_t)key_size)
                                             : (edge == EDGE_FIRST ? 0 : node_count(node.page) - 1);
            id = node_child(node.page, path->pos[d]);
            if (FTK_LIKELY(id < txn->fast->pages_max))
                tree_prefetch(txn, id, level - 1);
        } else if (edge == EDGE_NONE) {
            path->pos[d] = node_lower_bound(node, key, (uint32_t)key_size, &path->exact);
        } else {
            uint32_t count = node_count(node.page);
            path->pos[d] = edge == EDGE_FIRST || count == 0 ? 0 : count - 1;
        }
    }
    return FTK_OK;
fail:
    txn_leave(txn);
    return rc;
}

ftk_status
tree_descend(kiln_txn *txn, const struct tree *tree, const void *key, size_t key_size,
             unsigned fetch_flags, struct tree_path *path)
{
    return descend(txn, tree, key, key_size, EDGE_NONE, fetch_flags, path);
}

ftk_status
tree_descend_edge(kiln_txn *txn, const struct tree *tree, bool last, unsigned fetch_flags,
                  struct tree_path *path)
{
    return descend(txn, tree, NULL, 0, last ? EDGE_LAST : EDGE_FIRST, fetch_flags, path);
}

/* Pages one put or delete can make or retire: a copy and a split of every level, and a new root;
 * and what in_place.c may set aside for a leaf. */
uint32_t
tree_pages_needed(const struct tree *tree)
{
    return 5u * tree->height + 6u;
}

void
tree_own_path(kiln_txn *txn, struct tree *tree, struct tree_path *path)
{
    for (uint32_t d = 0; d < path->depth; d++) {
        uint64_t mine = txn_page_own(txn, path->page[d]);
        if (mine == path->page[d])
            continue;
        if (tree->hint_leaf == path->page[d])
            tree->hint_leaf = mine;
        if (tree->append_leaf == path->page[d])
            tree->append_leaf = mine;
        if (d == 0)
            tree->root = mine;
        else
            node_set_child(tree_node(txn, path->page[d - 1]), path->pos[d - 1], mine);
        path->page[d] = mine;
    }
    tree->dirty = true;
    tree->changes++;
}

bool
tree_path_is_rightmost(const kiln_txn *txn, const struct tree_path *path)
{
    for (uint32_t d = 0; d + 1 < path->depth; d++)
        if (path->pos[d] + 1 != node_count(cache_address(txn->fast, path->page[d])))
            return false;
    return true;
}

/* The large_ref at the path's entry into ref; false: its value is in the leaf. */
bool
tree_large_at(kiln_txn *txn, const struct tree_path *path, uint8_t *ref)
{
    struct node_entry entry;

    node_entry(tree_node(txn, path->page[path->depth - 1]), path->pos[path->depth - 1], &entry);
    if (entry.large)
        memcpy(ref, entry.value, LARGE_REF_BYTES);
    return entry.large;
}

ftk_status
tree_each_page(kiln_txn *txn, uint64_t page_id, uint32_t level,
               ftk_status (*each)(void *context, uint64_t page_id, uint32_t level), void *context)
{
    struct node node = tree_node(txn, page_id);
    uint64_t *children = NULL;
    uint32_t count = 0;
    ftk_status rc;

    if (page_id >= txn->fast->pages_max)
        return FTK_FAIL(FTK_CORRUPT, "reference to page %llu, which cannot be",
                        (unsigned long long)page_id);
    if (level > 0) {
        rc = cache_fetch(txn->cache, page_id, CACHE_SCAN);
        if (rc != FTK_OK)
            return rc;
        rc = tree_check_page(txn, page_id, level);
        if (rc == FTK_OK) {
            count = node_count(node.page);
            rc = FTK_NEW_ARRAY(&children, count);
        }
        for (uint32_t i = 0; rc == FTK_OK && i < count; i++)
            children[i] = node_child(node.page, i);
        cache_unpin(txn->fast, page_id);
        if (rc != FTK_OK)
            goto out;
        if (level == 1)
            cache_prefetch(txn->cache, children, count, CACHE_SCAN);
    }
    for (uint32_t i = 0; i < count; i++)
        FTK_TRY(tree_each_page(txn, children[i], level - 1, each, context));
    rc = each(context, page_id, level);
out:
    ftk_free(children);
    return rc;
}
