/* SPDX-License-Identifier: Apache-2.0 */
/* engine/tree/in_place.c -- leaves of older transactions changed in place: engine/txn/window.h. */
#include "engine/tree/tree.h"

/* ---- changes --------------------------------------------------------------------------------- */

/* The leaf is going to change. */
static void
leaf_touch(kiln_txn *txn, struct tree *tree, uint64_t page)
{
    FTK_ASSERT(txn_holds_window(txn) && cache_is_dirty(txn->fast, page));
    FTK_DEBUG_ASSERT(window_has(txn, page));
    txn_page_touch(txn, page);
    tree->dirty = true;
    tree->changes++;
}

static bool
replace_here(kiln_txn *txn, struct tree *tree, const struct tree_path *path,
             struct window_leaf *leaf, const struct node_value *value)
{
    struct undo_log *log = &txn->window->undo;
    uint32_t pos = path->pos[path->depth - 1];
    struct node node = tree_node(txn, leaf->page);
    struct node_entry old;

    node_entry(node, pos, &old);
    if (old.large || !undo_room(log, old.value_size))
        return false;
    undo_note_replace(log, &leaf->undo, pos, &old);
    leaf_touch(txn, tree, leaf->page);
    if (!node_replace(node, pos, value, txn->writer.page_scratch)) {
        undo_drop_last(log, &leaf->undo);
        return false;
    }
    leaf->changes++;
    return true;
}

static bool
insert_here(kiln_txn *txn, struct tree *tree, const struct tree_path *path,
            struct window_leaf *leaf, const kiln_slice *key, const struct node_value *value)
{
    struct undo_log *log = &txn->window->undo;
    uint32_t pos = path->pos[path->depth - 1];
    struct node node = tree_node(txn, leaf->page);
    bool last = pos == node_count(node.page);

    if (!node_prefix_matches(node, key->data, (uint32_t)key->size) || !undo_room(log, 0))
        return false;
    undo_note_insert(log, &leaf->undo, pos);
    leaf_touch(txn, tree, leaf->page);
    if (!node_insert(node, pos, key->data, (uint32_t)key->size, value, txn->writer.page_scratch)) {
        undo_drop_last(log, &leaf->undo);
        return false;
    }
    leaf->changes++;
    tree->keys++;
    tree->hint_leaf = leaf->page;
    tree->hint_pos = pos;
    if (last && tree_path_is_rightmost(txn, path))
        tree->append_leaf = leaf->page;
    return true;
}

/* Behind the last key, and the last transaction put many there: to a copy that is this
 * transaction's own they go without a descent (tree_append). */
static bool
goes_on_appending(const kiln_txn *txn, const struct tree_path *path)
{
    uint32_t leaf = path->depth - 1;

    return txn->db->appends_many && !path->exact &&
           path->pos[leaf] == node_count(cache_address(txn->fast, path->page[leaf])) &&
           tree_path_is_rightmost(txn, path);
}

bool
in_place_put(kiln_txn *txn, struct tree *tree, struct tree_path *path, const void *key,
             uint32_t key_size, const struct node_value *value)
{
    const kiln_slice key_slice = {key, key_size};
    struct window_leaf *leaf;

    if (txn->window == NULL || value->large || goes_on_appending(txn, path))
        return false;
    leaf = window_leaf_take(txn, tree, path);
    if (leaf == NULL)
        return false;
    return path->exact ? replace_here(txn, tree, path, leaf, value)
                       : insert_here(txn, tree, path, leaf, &key_slice, value);
}

/* A leaf that would be empty or sparse afterwards wants more than a removal. */
bool
in_place_delete(kiln_txn *txn, struct tree *tree, struct tree_path *path)
{
    uint64_t page = path->page[path->depth - 1];
    uint32_t pos = path->pos[path->depth - 1];
    struct node node = tree_node(txn, page);
    struct window_leaf *leaf = window_leaf_take(txn, tree, path);
    struct undo_log *log;
    struct node_entry old;

    if (leaf == NULL)
        return false;
    log = &txn->window->undo;
    node_entry(node, pos, &old);
    if (old.large || node_count(node.page) == 1 ||
        (path->depth > 1 && node_used_bytes(node) < node.bytes / 4 + old.body_bytes + 8) ||
        !undo_room(log, node_prefix_bytes(node.page) + old.suffix_size + (size_t)old.value_size))
        return false;
    undo_note_delete(log, &leaf->undo, node, pos);
    leaf->changes++;
    leaf_touch(txn, tree, page);
    node_remove(node, pos);
    tree->keys--;
    tree->hint_leaf = 0;
    return true;
}

/* ---- returning a leaf ------------------------------------------------------------------------ */

/* The path to a key, all of it resident; inside an epoch.  False: *absent_out is missing. */
static bool
walk(kiln_txn *txn, const struct tree *tree, const uint8_t *key, uint32_t key_size,
     struct tree_path *path, uint64_t *absent_out)
{
    struct page_ref ref = tree->root;

    path->depth = tree->height;
    for (uint32_t d = 0; d < path->depth; d++) {
        uint64_t page = page_ref_id(ref);
        struct node node = tree_node(txn, page);
        *absent_out = page;
        if (!cache_use(txn->fast, page))
            return false;
        path->page[d] = page;
        path->ref[d] = ref;
        path->pos[d] = 0;
        if (d + 1 < path->depth) {
            path->pos[d] = node_child_pos(node, key, key_size);
            ref = node_child(node.page, path->pos[d]);
        }
    }
    return true;
}

bool
in_place_copy(kiln_txn *txn, const struct window_leaf *leaf, uint64_t *absent_out)
{
    struct tree_path path;
    uint8_t key[NODE_KEY_BUFFER];
    uint32_t key_size;
    bool found;

    if (leaf->tree->height == 0) /* cleared or dropped */
        return true;
    key_size = node_key(tree_node(txn, leaf->page), 0, key);
    cache_enter(txn->fast, txn->slot);
    found = walk(txn, leaf->tree, key, key_size, &path, absent_out);
    if (found && path.page[path.depth - 1] == leaf->page)
        tree_own_path(txn, leaf->tree, &path);
    cache_leave(txn->slot);
    return found;
}
