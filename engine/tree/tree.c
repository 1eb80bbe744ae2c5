/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/tree/tree.c -- copy-on-write B+tree: descend, put, split.
 *
 * Invariants
 * 1. All leaves are at level 0; a child's level is its parent's minus one.
 * 2. Keys under entry i of an inner page are >= separator i and < separator i + 1.
 * 3. Separators are the shortest byte strings that do it.
 * 4. A change touches only pages of the transaction (birth >= birth_floor): tree_own_path copies
 *    the others from the root down, so that a parent is always the transaction's before its child.
 */
#include <string.h>

#include "engine/tree/tree.h"

ftk_status
tree_limit(const kiln_txn *txn, const struct tree *tree, uint64_t root_id)
{
    struct node root = tree_node(txn, root_id);
    struct node_value value = {0};

    if (node_used_bytes(root) + node_cost(root.page, NODE_KEY_MAX, &value) <= root.bytes)
        return FTK_OK; /* whatever splits below finds room in the root */
    return FTK_FAIL(FTK_TOOBIG,
                    "collection %u: its tree has %d levels and cannot grow: shorter keys or larger "
                    "pages take fewer",
                    tree->id, TREE_HEIGHT_MAX);
}

/* ---- change ---------------------------------------------------------------------------------- */

/* A new root over two pages. */
static void
root_grow(kiln_txn *txn, struct tree *tree, struct page_ref left, const uint8_t *separator,
          uint32_t separator_size, struct page_ref right)
{
    uint64_t root = txn_page_new(txn);
    struct node node = tree_node(txn, root);
    struct node_value value = {.child = left};

    node_init(node, PAGE_INNER, 0, tree->height, 4, txn->writer.birth, NULL, 0);
    node_insert(node, 0, "", 0, &value, txn->writer.page_scratch);
    value.child = right;
    node_insert(node, 1, separator, separator_size, &value, txn->writer.page_scratch);
    FTK_ASSERT(tree->height < TREE_HEIGHT_MAX);
    txn_page_born(txn, root);
    tree->root = tree_ref(txn, root);
    tree->height++;
}

void
tree_root_new(kiln_txn *txn, struct tree *tree, const void *key, size_t key_size,
              const struct node_value *value)
{
    uint64_t root = txn_page_new(txn);
    struct node node = tree_node(txn, root);
    uint8_t flags = tree->flags & CATALOG_KEYS_ONLY ? PAGE_KEYS_ONLY : 0;
    uint8_t head_bytes = tree->flags & CATALOG_U64_KEYS ? 2 : 4;

    FTK_ASSERT(tree->height == 0 && page_ref_is_none(tree->root) && !tree->dropped);
    node_init(node, PAGE_LEAF, flags, 0, head_bytes, txn->writer.birth, NULL, 0);
    node_insert(node, 0, key, (uint32_t)key_size, value, txn->writer.page_scratch);
    txn_page_born(txn, root);
    tree->root = tree_ref(txn, root);
    tree->height = 1;
    tree->keys = 1;
    tree->dirty = true;
    tree->changes++;
    tree->append_leaf = root;
}

bool
tree_node_put(kiln_txn *txn, struct node node, uint32_t pos, const void *key, uint32_t key_size,
              const struct node_value *value)
{
    struct node_source source = {.node = node,
                                 .extra_pos = pos,
                                 .extra_key = key,
                                 .extra_key_size = key_size,
                                 .extra_value = value};
    struct node fresh = {txn->writer.page_scratch, node.bytes};

    if (FTK_LIKELY(node_prefix_matches(node, key, key_size)))
        return node_insert(node, pos, key, key_size, value, txn->writer.page_scratch);
    if (!node_build(&source, 0, node_source_count(&source), fresh, node_birth(node.page),
                    NODE_PREFIX_BEST))
        return false;
    node_take(node, fresh.page);
    return true;
}

/*
 * Write [0, at) of the source into scratch and [at, end) into right.  False: one does not fit.
 * An append leaves the left page as it is.
 */
static bool
split_at(kiln_txn *txn, const struct node_source *source, uint32_t at, struct node right)
{
    uint32_t count = node_source_count(source);
    struct node left = {txn->writer.page_scratch, source->node.bytes};

    if (at == 0 || at >= count)
        return false;
    if (!node_build(source, at, count, right, txn->writer.birth, NODE_PREFIX_BEST))
        return false;
    if (at == source->extra_pos && at == count - 1 && !source->replace)
        return true;
    if (!node_build(source, 0, at, left, txn->writer.birth, NODE_PREFIX_BEST))
        return false;
    return true;
}

/*
 * Split in front of the entry that is put in, or behind it; one of the two fits, whatever the
 * others are (a file may have entries larger than any that is put).  Those fit one page, so they
 * fit two however they are parted, and one part leaves half a page, more than an entry takes.  A
 * key that does not share the prefix of the others is at one end, and alone there.
 */
static uint32_t
split_beside_extra(kiln_txn *txn, const struct node_source *source, struct node right)
{
    uint32_t pos = source->extra_pos;

    if (!split_at(txn, source, pos, right)) {
        bool ok = split_at(txn, source, pos + 1, right);
        FTK_ASSERT(ok);
        return pos + 1;
    }
    return pos;
}

/* Split the page of mine at path level d, the entry put in; the separator and the right page go
 * into the parent next. */
static uint64_t
split_page(kiln_txn *txn, const struct node_source *source, uint32_t preferred, uint8_t *separator,
           uint32_t *separator_size_out, uint32_t *at_out)
{
    uint64_t right_id = txn_page_new(txn);
    struct node right = tree_node(txn, right_id);
    uint32_t count = node_source_count(source), pos = source->extra_pos;
    uint8_t left_key[NODE_KEY_MAX], right_key[NODE_KEY_MAX];
    uint32_t left_size, right_size;
    uint32_t at = preferred;

    if (!split_at(txn, source, at, right)) {
        at = node_split_point(source);
        if (!split_at(txn, source, at, right))
            at = split_beside_extra(txn, source, right);
    }
    FTK_ASSERT(at > 0 && at < count);
    FTK_DEBUG_ASSERT(node_count(right.page) == count - at);
    right_size = node_source_key(source, at, right_key);
    if (source->node.page[PAGE_TYPE] == PAGE_INNER) {
        memcpy(separator, right_key, right_size);
        *separator_size_out = right_size;
    } else {
        left_size = node_source_key(source, at - 1, left_key);
        *separator_size_out = node_separator(left_key, left_size, right_key, right_size, separator);
    }
    if (!(at == pos && at == count - 1 && !source->replace))
        node_take(source->node, txn->writer.page_scratch);
    FTK_ASSERT(*separator_size_out > 0 && *separator_size_out <= NODE_KEY_MAX);
    FTK_DEBUG_ASSERT(node_count(source->node.page) == at);
    FTK_DEBUG_ASSERT(node_level(source->node.page) == node_level(right.page));
    txn_page_born(txn, right_id);
    *at_out = at;
    return right_id;
}

/*
 * Where to split a leaf.  In a run of keys in order, so that it leaves full pages behind: what lies
 * beyond the run goes to the other page, and when the run has come to an end of its page, the next
 * key gets a page of its own.  Else in the middle, or nearby.
 */
static uint32_t
leaf_split_preferred(struct tree *tree, const struct tree_path *path,
                     const struct node_source *source)
{
    uint32_t leaf = path->depth - 1;
    uint32_t pos = source->extra_pos, count = node_count(source->node.page);
    bool hinted = tree->hint_leaf == path->page[leaf] && !source->replace;

    tree->hint_down = false;
    if (hinted && tree->hint_pos + 1 == pos)
        return pos < count ? pos + 1 : pos;
    if (pos == count && tree->append_leaf == path->page[leaf] && !source->replace)
        return pos; /* behind the last key of the tree */
    if (hinted && tree->hint_pos == pos && pos < count) {
        tree->hint_down = true;
        return pos > 0 ? pos : 1;
    }
    return node_split_short(source, node_split_point(source));
}

/* The same for a page above: a run adds at its end, or behind its first entry. */
static uint32_t
inner_split_preferred(const struct tree *tree, const struct node_source *source)
{
    uint32_t pos = source->extra_pos, count = node_source_count(source);

    if (pos == count - 1)
        return node_split_short(source, pos);
    if (tree->hint_down && pos == 1 && count > 3)
        return node_split_short(source, pos + 1);
    return node_split_short(source, node_split_point(source));
}

/* Does the separator of a page that is split lie between those of its parent?  It does not where
 * the page's keys are not where its parent says, as a file may have it. */
static bool
separator_fits(struct node parent, uint32_t pos, const uint8_t *separator, uint32_t separator_size)
{
    return (pos < 2 || node_compare(parent, pos - 1, separator, separator_size) < 0) &&
           (pos == node_count(parent.page) ||
            node_compare(parent, pos, separator, separator_size) > 0);
}

/* Put (separator, right) into the parents of the page at level d, as far up as they split. */
static void
parents_insert(kiln_txn *txn, struct tree *tree, struct tree_path *path, uint32_t d,
               uint8_t *separator, uint32_t separator_size, struct page_ref right)
{
    uint8_t next[NODE_KEY_MAX];

    while (d > 0) {
        struct node parent = tree_node(txn, path->page[d - 1]);
        uint32_t pos = path->pos[d - 1] + 1;
        struct node_value value = {.child = right};
        struct node_source source = {.node = parent,
                                     .extra_pos = pos,
                                     .extra_key = separator,
                                     .extra_key_size = separator_size,
                                     .extra_value = &value};
        uint32_t next_size, at, preferred;
        FTK_DEBUG_ASSERT(node_level(parent.page) == path->depth - d);
        FTK_ASSERT(pos <= node_count(parent.page) && !page_ref_is_none(right));
        if (FTK_UNLIKELY(!separator_fits(parent, pos, separator, separator_size))) {
            txn_damage(txn);
            return;
        }
        if (tree_node_put(txn, parent, pos, separator, separator_size, &value))
            return;
        preferred = inner_split_preferred(tree, &source);
        right = tree_ref(txn, split_page(txn, &source, preferred, next, &next_size, &at));
        memcpy(separator, next, next_size);
        separator_size = next_size;
        d--;
    }
    root_grow(txn, tree, tree->root, separator, separator_size, right);
}

bool
tree_insert_at(kiln_txn *txn, struct tree *tree, struct tree_path *path, const void *key,
               size_t key_size, const struct node_value *value)
{
    uint32_t leaf = path->depth - 1;
    struct node node = tree_node(txn, path->page[leaf]);
    uint32_t pos = path->pos[leaf];
    struct node_source source = {.node = node,
                                 .extra_pos = pos,
                                 .extra_key = key,
                                 .extra_key_size = (uint32_t)key_size,
                                 .extra_value = value};
    uint8_t separator[NODE_KEY_MAX];
    uint32_t separator_size, at;
    bool last = pos == node_count(node.page);
    uint64_t right;

    FTK_DEBUG_ASSERT(tree_path_check(txn, tree, path));
    FTK_DEBUG_ASSERT(txn_page_mine(txn, node_birth(node.page)));
    FTK_ASSERT(!path->exact && pos <= node_count(node.page) && key_size <= NODE_KEY_MAX);
    tree->keys++;
    if (tree_node_put(txn, node, pos, key, (uint32_t)key_size, value)) {
        tree->hint_leaf = path->page[leaf];
        tree->hint_pos = pos;
        return true;
    }
    right = split_page(txn, &source, leaf_split_preferred(tree, path, &source), separator,
                       &separator_size, &at);
    tree->hint_leaf = pos >= at ? right : path->page[leaf];
    tree->hint_pos = pos >= at ? pos - at : pos;
    if (tree->append_leaf == path->page[leaf])
        tree->append_leaf = last ? right : 0;
    parents_insert(txn, tree, path, leaf, separator, separator_size, tree_ref(txn, right));
    return false;
}

bool
tree_replace_at(kiln_txn *txn, struct tree *tree, struct tree_path *path, const void *key,
                size_t key_size, const struct node_value *value)
{
    uint32_t leaf = path->depth - 1;
    struct node node = tree_node(txn, path->page[leaf]);
    struct node_source source = {.node = node,
                                 .extra_pos = path->pos[leaf],
                                 .extra_key = key,
                                 .extra_key_size = (uint32_t)key_size,
                                 .extra_value = value,
                                 .replace = true};
    uint8_t separator[NODE_KEY_MAX];
    uint32_t separator_size, at;
    uint64_t right;

    FTK_DEBUG_ASSERT(tree_path_check(txn, tree, path));
    FTK_DEBUG_ASSERT(txn_page_mine(txn, node_birth(node.page)));
    FTK_ASSERT(path->exact && path->pos[leaf] < node_count(node.page));
    if (node_replace(node, path->pos[leaf], value, txn->writer.page_scratch))
        return true;
    right = split_page(txn, &source, leaf_split_preferred(tree, path, &source), separator,
                       &separator_size, &at);
    tree->hint_leaf = 0;
    tree->append_leaf = 0;
    parents_insert(txn, tree, path, leaf, separator, separator_size, tree_ref(txn, right));
    return false;
}

/* ---- put ------------------------------------------------------------------------------------- */

/*
 * No descent, and no epoch: the leaf is dirty and mine, so only this transaction writes it out
 * (spill), and until then it is not evicted.  The window is held: who gives it back moves
 * append_leaf.
 */
FTK_INLINE bool
append_here(kiln_txn *txn, struct tree *tree, const void *key, size_t key_size,
            const struct node_value *value)
{
    struct node node = tree_node(txn, tree->append_leaf);

    FTK_DEBUG_ASSERT(tree->append_leaf != 0 && tree->height > 0);
    if (!cache_is_dirty(txn->fast, tree->append_leaf) ||
        !txn_page_mine(txn, node_birth(node.page)) ||
        !node_append(node, key, (uint32_t)key_size, value, txn->writer.page_scratch))
        return false;
    tree->keys++;
    tree->changes++;
    tree->dirty = true;
    txn->writer.appends++;
    return true;
}

bool
tree_append(kiln_txn *txn, struct tree *tree, const void *key, size_t key_size,
            const struct node_value *value)
{
    bool done;

    txn_window_hold(txn);
    done = tree->append_leaf != 0 && append_here(txn, tree, key, key_size, value);
    txn_window_let(txn);
    return done;
}

/* Deletes work on a full disk, and change the catalog. */
static bool
takes_last_pages(const kiln_txn *txn, const struct tree *tree)
{
    return tree == &txn->catalog && !txn->writer.grows;
}

ftk_status
tree_put(kiln_txn *txn, struct tree *tree, const void *key, size_t key_size,
         const struct node_value *value, uint32_t flags)
{
    uint8_t old_ref[LARGE_REF_BYTES];
    struct tree_path path;
    ftk_status rc = txn_prepare(txn, tree_pages_needed(tree), takes_last_pages(txn, tree));

    if (rc != FTK_OK)
        return rc;
    txn_window_hold(txn); /* until the descent takes it over */
    if (tree->append_leaf != 0 && flags != KILN_PUT_UPDATE &&
        append_here(txn, tree, key, key_size, value)) {
        txn_window_let(txn);
        return FTK_OK;
    }
    if (tree->height == 0) {
        if (flags != KILN_PUT_UPDATE)
            tree_root_new(txn, tree, key, key_size, value);
        txn_window_let(txn);
        return flags == KILN_PUT_UPDATE ? FTK_ANSWER(FTK_NOTFOUND, "no such key") : FTK_OK;
    }
    rc = tree_descend(txn, tree, key, key_size, 0, &path);
    if (rc != FTK_OK)
        return rc;
    if (path.exact ? flags == KILN_PUT_INSERT : flags == KILN_PUT_UPDATE) {
        txn_leave(txn);
        return path.exact ? FTK_ANSWER(FTK_EXISTS, "the key is there already")
                          : FTK_ANSWER(FTK_NOTFOUND, "no such key");
    }
    if (in_place_put(txn, tree, &path, key, (uint32_t)key_size, value)) {
        txn_leave(txn);
        return FTK_OK;
    }
    rc = tree_check_growth(txn, tree, &path);
    if (rc != FTK_OK) {
        txn_leave(txn);
        return rc;
    }
    if (path.exact && FTK_UNLIKELY(tree_large_at(txn, &path, old_ref))) {
        txn_leave(txn);
        return tree_put_over_large(txn, tree, (kiln_slice){key, key_size}, value, old_ref);
    }
    tree_own_path(txn, tree, &path);
    if (path.exact) {
        tree_replace_at(txn, tree, &path, key, key_size, value);
    } else {
        uint32_t leaf = path.depth - 1;
        bool last = path.pos[leaf] == node_count(cache_address(txn->fast, path.page[leaf])) &&
                    tree_path_is_rightmost(txn, &path);
        if (last)
            tree->append_leaf = path.page[leaf];
        tree_insert_at(txn, tree, &path, key, key_size, value);
    }
    FTK_DEBUG_ASSERT(tree_check(txn, tree));
    txn_leave(txn);
    return FTK_OK;
}

/* The writer is alone: nobody has changed the tree since the reference was found in it. */
ftk_status
tree_descend_to_large(kiln_txn *txn, const struct tree *tree, kiln_slice key, const uint8_t *ref,
                      bool reserve, struct tree_path *path_out)
{
    uint8_t found[LARGE_REF_BYTES];
    ftk_status rc;

    FTK_TRY(value_retire_prepare(txn, ref, tree_pages_needed(tree), reserve));
    FTK_TRY(tree_descend(txn, tree, key.data, key.size, 0, path_out));
    if (!path_out->exact || !tree_large_at(txn, path_out, found) ||
        memcmp(found, ref, sizeof(found)) != 0) {
        txn_leave(txn);
        rc = FTK_FAIL(FTK_CORRUPT, "collection %u: a page was read twice, and differs", tree->id);
    }
out:
    return rc;
}

ftk_status
tree_put_over_large(kiln_txn *txn, struct tree *tree, kiln_slice key,
                    const struct node_value *value, const uint8_t *ref)
{
    struct tree_path path;
    ftk_status rc;

    FTK_TRY(tree_descend_to_large(txn, tree, key, ref, false, &path));
    rc = tree_check_growth(txn, tree, &path);
    if (rc == FTK_OK) {
        tree_own_path(txn, tree, &path);
        tree_replace_at(txn, tree, &path, key.data, key.size, value);
        FTK_DEBUG_ASSERT(tree_check(txn, tree));
    }
    txn_leave(txn);
    if (rc == FTK_OK)
        value_retire(txn);
out:
    return rc;
}

ftk_status
tree_overwrite(kiln_txn *txn, struct tree *tree, const void *key, size_t key_size, const void *head,
               uint32_t size)
{
    ftk_status rc = txn_prepare(txn, tree_pages_needed(tree), takes_last_pages(txn, tree));
    struct tree_path path;
    uint32_t leaf;

    if (rc == FTK_OK && tree->height == 0)
        return FTK_ANSWER(FTK_NOTFOUND, "no such key");
    if (rc == FTK_OK)
        rc = tree_descend(txn, tree, key, key_size, 0, &path);
    if (rc != FTK_OK)
        return rc;
    if (!path.exact) {
        txn_leave(txn);
        return FTK_ANSWER(FTK_NOTFOUND, "no such key");
    }
    leaf = path.depth - 1;
    tree_own_path(txn, tree, &path);
    if (!node_overwrite(tree_node(txn, path.page[leaf]), path.pos[leaf], head, size))
        rc = FTK_FAIL(FTK_CORRUPT, "the value of a key is shorter than it was written");
    txn_leave(txn);
    return rc;
}
