/* SPDX-License-Identifier: Apache-2.0 */
/* engine/tree/tree_delete.c -- delete, merge, clear. */
#include <string.h>

#include "engine/tree/tree.h"
#include "ftk/mem.h"

/* A page with less than P / 4 in use looks for a neighbour to merge with; the result may use up to
 * 7/8 of a page, so that the next insert does not split it again. */
static bool
is_sparse(struct node node)
{
    return node_used_bytes(node) < node.bytes / 4;
}

/* Remove entry pos of an inner page; entry 0 always stays as "everything below entry 1". */
static void
remove_child(struct node parent, uint32_t pos)
{
    FTK_ASSERT(pos < node_count(parent.page));
    if (pos == 0 && node_count(parent.page) > 1) {
        node_set_child(parent, 0, node_child(parent.page, 1));
        pos = 1;
    }
    node_remove(parent, pos);
}

/* The root has one child: the child is the root. */
static void
root_shrink(kiln_txn *txn, struct tree *tree)
{
    while (tree->height > 1) {
        uint64_t root_id = page_ref_id(tree->root);
        struct node root = tree_node(txn, root_id);
        if (!cache_use(txn->fast, root_id) || node_count(root.page) > 1)
            return;
        struct page_ref child = node_child(root.page, 0);
        if (!cache_use(txn->fast, page_ref_id(child)))
            return;
        txn_page_retire(txn, root_id, 1, node_birth(root.page));
        tree->root = child;
        tree->height--;
    }
}

/* The page at path level d is empty: take it and all parents that become empty out of the tree. */
static void
remove_empty(kiln_txn *txn, struct tree *tree, struct tree_path *path, uint32_t d)
{
    for (;;) {
        uint64_t page = path->page[d];
        FTK_ASSERT(d < path->depth && path->depth == tree->height);
        txn_page_retire(txn, page, 1, node_birth(cache_address(txn->fast, page)));
        if (d == 0) {
            tree->root = (struct page_ref){0};
            tree->height = 0;
            return;
        }
        d--;
        struct node parent = tree_node(txn, path->page[d]);
        if (node_count(parent.page) > 1) {
            remove_child(parent, path->pos[d]);
            return;
        }
    }
}

/*
 * Try to merge the page at level d with a neighbour under the same parent.  Inside an epoch, the
 * path is the transaction's own.  *again_out: a neighbour had to be fetched, descend anew.
 */
static ftk_status
merge_at(kiln_txn *txn, const struct tree *tree, struct tree_path *path, uint32_t d,
         bool *merged_out, bool *again_out)
{
    struct node parent = tree_node(txn, path->page[d - 1]);
    uint32_t pos = path->pos[d - 1];
    bool to_right = pos + 1 < node_count(parent.page);
    uint32_t separator_pos = to_right ? pos + 1 : pos;
    uint32_t separator_size;
    uint8_t separator[NODE_KEY_MAX];
    struct page_ref sibling_ref;
    uint64_t sibling;
    struct node mine, other, fresh = {txn->writer.page_scratch, txn->db->page_bytes};
    ftk_status rc;

    FTK_ASSERT(d > 0 && d < path->depth && pos < node_count(parent.page));
    *merged_out = *again_out = false;
    if (!to_right && pos == 0)
        return FTK_OK; /* the only child */
    sibling_ref = node_child(parent.page, to_right ? pos + 1 : pos - 1);
    sibling = page_ref_id(sibling_ref);
    rc = tree_use(txn, tree, sibling, 0, again_out);
    if (rc != FTK_OK || *again_out)
        return rc;
    mine = tree_node(txn, path->page[d]);
    other = tree_node(txn, sibling);
    rc = tree_check_page(txn, sibling_ref, node_level(mine.page));
    if (rc != FTK_OK)
        return rc;
    if (mine.page[PAGE_FLAGS] != other.page[PAGE_FLAGS] ||
        mine.page[PAGE_HEAD_BYTES] != other.page[PAGE_HEAD_BYTES])
        return FTK_FAIL(FTK_CORRUPT, "pages %llu and %llu of one tree are of different kinds",
                        (unsigned long long)path->page[d], (unsigned long long)sibling);
    if (node_used_bytes(mine) + node_used_bytes(other) > mine.bytes)
        return FTK_OK;
    separator_size = node_key(parent, separator_pos, separator);
    if (!node_merge(to_right ? mine : other, to_right ? other : mine, separator, separator_size,
                    fresh, node_birth(mine.page)) ||
        node_used_bytes(fresh) > mine.bytes / 8 * 7)
        return FTK_OK;
    FTK_DEBUG_ASSERT(txn_page_mine(txn, node_birth(mine.page)));
    FTK_DEBUG_ASSERT(node_count(fresh.page) == node_count(mine.page) + node_count(other.page));
    node_take(mine, fresh.page);
    txn_page_retire(txn, sibling, 1, node_birth(other.page));
    node_set_child(parent, to_right ? pos : pos - 1, tree_ref(txn, path->page[d]));
    node_remove(parent, to_right ? pos + 1 : pos);
    *merged_out = true;
    return FTK_OK;
}

/*
 * After a removal at `key`: merge sparse pages on its path, from the leaf up.  What there is no
 * memory for, or what cannot be read, stays as it is: a tree with sparse pages is as good, and the
 * next removal tries again.
 */
static void
rebalance(kiln_txn *txn, struct tree *tree, const void *key, size_t key_size)
{
    struct tree_path path;
    uint32_t up = 0; /* levels above the leaf that are done */

    tree->append_leaf = 0;
    tree->hint_leaf = 0;
    for (;;) {
        bool merged = false, again = false;
        if (txn_prepare(txn, tree_pages_needed(tree), true) != FTK_OK ||
            tree_descend(txn, tree, key, key_size, 0, &path) != FTK_OK)
            return;
        uint32_t d = path.depth - 1 - up;
        if (path.depth < 2 + up || !is_sparse(tree_node(txn, path.page[d]))) {
            root_shrink(txn, tree);
            txn_leave(txn);
            return;
        }
        tree_own_path(txn, tree, &path);
        ftk_status rc = merge_at(txn, tree, &path, d, &merged, &again);
        txn_leave(txn);
        if (rc != FTK_OK)
            return;
        if (!again)
            up++;
    }
}

/* Take out the entry at the end of the path.  Inside an epoch, which is left.  True: its page, or
 * one above, is sparse. */
static bool
entry_remove(kiln_txn *txn, struct tree *tree, struct tree_path *path)
{
    struct node leaf;
    bool sparse;

    tree_own_path(txn, tree, path);
    leaf = tree_node(txn, path->page[path->depth - 1]);
    node_remove(leaf, path->pos[path->depth - 1]);
    tree->keys--;
    tree->hint_leaf = 0;
    FTK_DEBUG_ASSERT(txn_page_mine(txn, node_birth(leaf.page)));
    if (node_count(leaf.page) == 0) {
        tree->append_leaf = 0;
        remove_empty(txn, tree, path, path->depth - 1);
        sparse = !page_ref_is_none(tree->root);
    } else {
        sparse = is_sparse(leaf) && path->depth > 1;
    }
    FTK_DEBUG_ASSERT(tree_check(txn, tree));
    txn_leave(txn);
    return sparse;
}

ftk_status
tree_delete(kiln_txn *txn, struct tree *tree, const void *key, size_t key_size)
{
    uint8_t old_ref[LARGE_REF_BYTES];
    struct tree_path path;
    bool old_large;
    ftk_status rc;

    if (tree->height == 0)
        return FTK_ANSWER(FTK_NOTFOUND, "no such key");
    rc = txn_prepare(txn, tree_pages_needed(tree), true);
    if (rc != FTK_OK)
        return rc;
    rc = tree_descend(txn, tree, key, key_size, 0, &path);
    if (rc != FTK_OK)
        return rc;
    if (!path.exact) {
        txn_leave(txn);
        return FTK_ANSWER(FTK_NOTFOUND, "no such key");
    }
    if (in_place_delete(txn, tree, &path)) {
        txn_leave(txn);
        return FTK_OK;
    }
    old_large = tree_large_at(txn, &path, old_ref);
    if (old_large) {
        txn_leave(txn);
        rc = tree_descend_to_large(txn, tree, (kiln_slice){key, key_size}, old_ref, true, &path);
        if (rc != FTK_OK)
            return rc;
    }
    bool sparse = entry_remove(txn, tree, &path);
    if (FTK_UNLIKELY(tree->height == 0 && tree->keys != 0)) {
        txn_damage(txn);
        return FTK_FAIL(FTK_CORRUPT, "collection %u has no key left, and the catalog counts %lld",
                        tree->id, (long long)tree->keys);
    }
    if (old_large)
        value_retire(txn);
    if (sparse)
        rebalance(txn, tree, key, key_size);
    return FTK_OK;
}

/* ---- whole trees ----------------------------------------------------------------------------- */

static ftk_status
clear_page(void *context, struct page_ref page_ref, uint32_t level)
{
    uint64_t page_id = page_ref_id(page_ref);
    kiln_txn *txn = context;
    struct node node = tree_node(txn, page_id);
    uint8_t ref[LARGE_REF_BYTES];
    struct node_entry entry;
    ftk_status rc = txn_fetch(txn, page_id, CACHE_SCAN, 0);
    uint64_t birth;

    if (rc != FTK_OK)
        return rc;
    birth = node_birth(node.page);
    rc = tree_check_page(txn, page_ref, level);
    for (uint32_t i = 0; rc == FTK_OK && level == 0 && i < node_count(node.page); i++) {
        node_entry(node, i, &entry);
        if (!entry.large)
            continue;
        memcpy(ref, entry.value, sizeof(ref));
        rc = value_retire_prepare(txn, ref, 0, true);
        if (rc == FTK_OK)
            value_retire(txn);
    }
    cache_unpin(txn->fast, page_id);
    if (rc == FTK_OK)
        rc = txn_retire_reserve(txn, 1);
    if (rc == FTK_OK)
        txn_page_retire(txn, page_id, 1, birth);
    return rc;
}

ftk_status
tree_clear(kiln_txn *txn, struct tree *tree)
{
    struct txn_scope scope;
    ftk_status rc = in_place_end(txn);

    if (rc != FTK_OK)
        return rc;
    txn_scope_begin(txn, &scope); /* so that the pages that it had are there until all are found */
    if (!page_ref_is_none(tree->root))
        rc = tree_each_page(txn, tree->root, tree->height - 1u, clear_page, txn);
    if (rc != FTK_OK) {
        txn_scope_take_back(txn, &scope);
        return rc;
    }
    txn_scope_keep(txn, &scope);
    tree->root = (struct page_ref){0};
    tree->height = 0;
    tree->keys = 0;
    tree->append_leaf = 0;
    tree->hint_leaf = 0;
    tree->dirty = true;
    tree->changes++;
    FTK_DEBUG_ASSERT(tree_check(txn, tree));
    return FTK_OK;
}
