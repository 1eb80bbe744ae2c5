/* SPDX-License-Identifier: Apache-2.0 */
/* engine/tree/tree_path.c -- from the root to a leaf. */
#include <string.h>

#include "engine/tree/tree.h"
#include "ftk/invariant.h"
#include "ftk/mem.h"

enum { AHEAD_PAGES = 256 }; /* asked for at a time */

enum edge { EDGE_NONE, EDGE_FIRST, EDGE_LAST };

ftk_status
tree_misfit(const kiln_txn *txn, struct page_ref ref, uint32_t level)
{
    unsigned long long id = page_ref_id(ref);
    const uint8_t *page = cache_address(txn->fast, id);

    if (node_level(page) == level && page[PAGE_TYPE] == (level == 0 ? PAGE_LEAF : PAGE_INNER))
        return FTK_FAIL(FTK_CORRUPT,
                        "page %llu was written by transaction %llu, its parent means another "
                        "version: a write was lost, or an old page put back",
                        id, (unsigned long long)node_birth(page));
    return FTK_FAIL(FTK_CORRUPT, "page %llu is not a page of level %u as its parent says", id,
                    level);
}

ftk_status
tree_use_slow(kiln_txn *txn, const struct tree *tree, uint64_t page_id, unsigned fetch_flags,
              bool *again_out)
{
    ftk_status rc;

    if (FTK_UNLIKELY(page_id >= txn->fast->pages_max))
        return FTK_FAIL(FTK_CORRUPT, "reference to page %llu, which cannot be",
                        (unsigned long long)page_id);
    txn_leave(txn);
    rc = txn_fetch(txn, page_id, fetch_flags, tree_pages_needed(tree));
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
    struct page_ref ref;
    uint64_t settled = 0;
    bool again;
    ftk_status rc;

    path->depth = tree->height;
    path->exact = false;
    txn_enter(txn);
restart:
    ref = tree->root;
    for (uint32_t d = 0; d < tree->height; d++) {
        uint32_t level = tree->height - 1u - d;
        uint64_t id = page_ref_id(ref);
        struct node node = {cache_address(txn->fast, id), page_bytes};
        if (FTK_UNLIKELY(level == 0 && txn_is_beside(txn) && id != settled)) {
            cache_leave(txn->slot);
            rc = window_settle(txn, id);
            settled = id;
            cache_enter(txn->fast, txn->slot);
            if (rc != FTK_OK)
                goto fail;
            goto restart;
        }
        if (FTK_UNLIKELY(!tree_is_resident(txn, id))) {
            rc = tree_use_slow(txn, tree, id, fetch_flags, &again);
            if (rc != FTK_OK)
                goto fail;
            goto restart;
        }
        if (FTK_UNLIKELY(!tree_page_fits(node.page, ref, level))) {
            rc = tree_misfit(txn, ref, level);
            goto fail;
        }
        path->page[d] = id;
        path->ref[d] = ref;
        if (level > 0) {
            path->pos[d] = edge == EDGE_NONE ? node_child_pos(node, key, (uint32_t)key_size)
                                             : (edge == EDGE_FIRST ? 0 : node_count(node.page) - 1);
            ref = node_child(node.page, path->pos[d]);
            if (FTK_LIKELY(page_ref_id(ref) < txn->fast->pages_max))
                tree_prefetch(txn, page_ref_id(ref), level - 1);
        } else if (edge == EDGE_NONE) {
            path->pos[d] = node_lower_bound(node, key, (uint32_t)key_size, &path->exact);
        } else {
            uint32_t count = node_count(node.page);
            path->pos[d] = edge == EDGE_FIRST || count == 0 ? 0 : count - 1;
        }
    }
    FTK_DEBUG_ASSERT(tree_path_check(txn, tree, path));
    return FTK_OK;
fail:
    txn_leave(txn);
    return rc;
}

bool
tree_check(const kiln_txn *txn, const struct tree *tree)
{
    bool empty = page_ref_is_none(tree->root);

    FTK_INVARIANT_COUNT("tree");
    if (tree->height > TREE_HEIGHT_MAX || empty != (tree->height == 0))
        return false;
    if (empty)
        return tree->append_leaf == 0;
    return page_ref_id(tree->root) < txn->fast->pages_max;
}

/* From the root down each page is the one that its parent names. */
bool
tree_path_check(const kiln_txn *txn, const struct tree *tree, const struct tree_path *path)
{
    struct page_ref ref = tree->root;

    FTK_INVARIANT_COUNT("path");
    if (!tree_check(txn, tree) || path->depth != tree->height)
        return false;
    for (uint32_t d = 0; d < path->depth; d++) {
        const uint8_t *page = cache_address(txn->fast, path->page[d]);
        bool inner = d + 1 < path->depth;
        if (path->ref[d].bits != ref.bits || page_ref_id(ref) != path->page[d] ||
            !tree_page_fits(page, ref, path->depth - 1 - d) ||
            path->pos[d] > node_count(page) - inner)
            return false;
        if (inner)
            ref = node_child(page, path->pos[d]);
    }
    return true;
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
    FTK_ASSERT(txn->write && path->depth == tree->height);
    for (uint32_t d = 0; d < path->depth; d++) {
        uint64_t mine = txn_page_own(txn, path->page[d]);
        struct page_ref ref = tree_ref(txn, mine);
        FTK_DEBUG_ASSERT(txn_page_mine(txn, node_birth(cache_address(txn->fast, mine))));
        if (ref.bits == path->ref[d].bits)
            continue;
        if (tree->hint_leaf == path->page[d])
            tree->hint_leaf = mine;
        if (tree->append_leaf == path->page[d])
            tree->append_leaf = mine;
        if (d == 0)
            tree->root = ref;
        else
            node_set_child(tree_node(txn, path->page[d - 1]), path->pos[d - 1], ref);
        path->page[d] = mine;
        path->ref[d] = ref;
    }
    tree->dirty = true;
    tree->changes++;
    FTK_DEBUG_ASSERT(tree_path_check(txn, tree, path));
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

/* Children of a page begin to be read. */
static void
read_ahead(kiln_txn *txn, const struct page_ref *children, uint32_t count)
{
    uint64_t ids[AHEAD_PAGES];

    for (uint32_t done = 0, n; done < count; done += n) {
        for (n = 0; n < AHEAD_PAGES && done + n < count; n++)
            ids[n] = page_ref_id(children[done + n]);
        cache_prefetch(txn->cache, ids, n, CACHE_SCAN);
    }
}

ftk_status
tree_each_page(kiln_txn *txn, struct page_ref ref, uint32_t level,
               ftk_status (*each)(void *context, struct page_ref ref, uint32_t level),
               void *context)
{
    uint64_t page_id = page_ref_id(ref);
    struct node node = tree_node(txn, page_id);
    struct page_ref *children = NULL;
    uint32_t count = 0;
    ftk_status rc;

    FTK_ASSERT(level < TREE_HEIGHT_MAX);
    if (page_id >= txn->fast->pages_max)
        return FTK_FAIL(FTK_CORRUPT, "reference to page %llu, which cannot be",
                        (unsigned long long)page_id);
    if (level > 0) {
        rc = txn_fetch(txn, page_id, CACHE_SCAN, 0);
        if (rc != FTK_OK)
            return rc;
        rc = tree_check_page(txn, ref, level);
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
            read_ahead(txn, children, count);
    }
    for (uint32_t i = 0; i < count; i++)
        FTK_TRY(tree_each_page(txn, children[i], level - 1, each, context));
    rc = each(context, ref, level);
out:
    ftk_free(children);
    return rc;
}
