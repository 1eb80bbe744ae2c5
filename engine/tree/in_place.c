/*
 * engine/tree/in_place.c -- leaves of older transactions changed in place.  See
 * engine/txn/window.h.
 */
#include "engine/txn/window.h"

#include <string.h>

#include "engine/tree/tree.h"
#include "ftk/mem.h"

enum undo_kind { UNDO_INSERT, UNDO_REPLACE, UNDO_DELETE };

/* ---- the set of leaves ----------------------------------------------------------------------- */

/* ---- open ------------------------------------------------------------------------------------ */

/* ---- changes --------------------------------------------------------------------------------- */

/* The leaf is going to change. */
static void
leaf_touch(kiln_txn *txn, struct tree *tree, uint64_t page)
{
    FTK_ASSERT(txn->in_place.locked && cache_is_dirty(txn->fast, page));
    FTK_DEBUG_ASSERT(in_place_has(txn, page));
    txn_page_touch(txn, page);
    tree->dirty = true;
    tree->changes++;
}

static bool
replace_here(kiln_txn *txn, struct tree *tree, const struct tree_path *path,
             const struct node_value *value)
{
    struct in_place *mine = &txn->in_place;
    uint64_t page = path->page[path->depth - 1];
    uint32_t pos = path->pos[path->depth - 1];
    struct node node = tree_node(txn, page);
    struct node_entry old;
    struct in_place_undo undo = {.page = page, .pos = pos, .kind = UNDO_REPLACE};

    node_entry(node, pos, &old);
    if (old.large || !window_undo_room(mine, old.value_size))
        return false;
    undo.at = (uint32_t)mine->bytes_used;
    undo.value_size = (uint16_t)old.value_size;
    if (old.value_size > 0)
        memcpy(mine->bytes + undo.at, old.value, old.value_size);
    leaf_touch(txn, tree, page);
    if (!node_replace(node, pos, value, txn->page_scratch))
        return false;
    window_undo_push(mine, &undo);
    return true;
}

static bool
insert_here(kiln_txn *txn, struct tree *tree, const struct tree_path *path, const void *key,
            uint32_t key_size, const struct node_value *value)
{
    struct in_place *mine = &txn->in_place;
    uint64_t page = path->page[path->depth - 1];
    uint32_t pos = path->pos[path->depth - 1];
    struct node node = tree_node(txn, page);
    bool last = pos == node_count(node.page);

    if (!node_prefix_matches(node, key, key_size) || !window_undo_room(mine, 0))
        return false;
    leaf_touch(txn, tree, page);
    if (!node_insert(node, pos, key, key_size, value, txn->page_scratch))
        return false;
    window_undo_push(mine, &(struct in_place_undo){.page = page, .pos = pos, .kind = UNDO_INSERT});
    tree->keys++;
    tree->hint_leaf = page;
    tree->hint_pos = pos;
    if (last && tree_path_is_rightmost(txn, path))
        tree->append_leaf = page;
    return true;
}

/* A leaf of an older transaction that may be changed where it is.  One that was written out already
 * may not: a page is written once with a birth (engine/README.md, rule 25). */
static bool
leaf_take(kiln_txn *txn, struct tree *tree, const struct tree_path *path)
{
    return cache_is_dirty(txn->fast, path->page[path->depth - 1]) &&
           window_leaf_take(txn, tree, path);
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
    if (value->large || goes_on_appending(txn, path) || !leaf_take(txn, tree, path))
        return false;
    return path->exact ? replace_here(txn, tree, path, value)
                       : insert_here(txn, tree, path, key, key_size, value);
}

/* A leaf that would be empty or sparse afterwards wants more than a removal. */
bool
in_place_delete(kiln_txn *txn, struct tree *tree, struct tree_path *path)
{
    struct in_place *mine = &txn->in_place;
    uint64_t page = path->page[path->depth - 1];
    uint32_t pos = path->pos[path->depth - 1];
    struct node node = tree_node(txn, page);
    struct node_entry old;
    uint32_t prefix = node_prefix_bytes(node.page);
    struct in_place_undo undo = {.page = page, .pos = pos, .kind = UNDO_DELETE};

    if (!leaf_take(txn, tree, path))
        return false;
    node_entry(node, pos, &old);
    if (old.large || node_count(node.page) == 1 ||
        (path->depth > 1 && node_used_bytes(node) < node.bytes / 4 + old.body_bytes + 8) ||
        !window_undo_room(mine, prefix + old.suffix_size + (size_t)old.value_size))
        return false;
    undo.at = (uint32_t)mine->bytes_used;
    undo.key_size = (uint16_t)(prefix + old.suffix_size);
    undo.value_size = (uint16_t)old.value_size;
    uint8_t key[NODE_KEY_BUFFER];
    node_key(node, pos, key);
    memcpy(mine->bytes + undo.at, key, undo.key_size);
    if (old.value_size > 0)
        memcpy(mine->bytes + undo.at + undo.key_size, old.value, old.value_size);
    leaf_touch(txn, tree, page);
    node_remove(node, pos);
    window_undo_push(mine, &undo);
    tree->keys--;
    tree->hint_leaf = 0;
    return true;
}

/* ---- undo ------------------------------------------------------------------------------------ */

static void
undo_one(kiln_txn *txn, const struct in_place_undo *undo)
{
    struct in_place *mine = &txn->in_place;
    struct node node = tree_node(txn, undo->page);
    const uint8_t *key = mine->bytes + undo->at;
    struct node_value value = {.data = key + undo->key_size, .size = undo->value_size};
    bool ok = true;

    FTK_ASSERT(undo->at + (size_t)undo->key_size + undo->value_size <= mine->bytes_used);
    FTK_ASSERT(node_level(node.page) == 0 && undo->pos <= node_count(node.page));
    if (undo->kind == UNDO_INSERT)
        node_remove(node, undo->pos);
    else if (undo->kind == UNDO_REPLACE)
        ok = node_replace(node, undo->pos, &value, txn->page_scratch);
    else
        ok = node_insert(node, undo->pos, key, undo->key_size, &value, txn->page_scratch);
    FTK_ASSERT(ok); /* it fitted before */
}

static void
undo_all(kiln_txn *txn)
{
    for (size_t i = txn->in_place.undo_count; i-- > 0;)
        undo_one(txn, &txn->in_place.undo[i]);
}

void
in_place_abort(kiln_txn *txn)
{
    if (!atomic_load(&txn->in_place.open) || !in_place_lock(txn))
        return;
    undo_all(txn);
    window_shut(txn);
    in_place_unlock(txn);
}

/* ---- give back ------------------------------------------------------------------------------- */

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

/* The transaction gets a copy of a leaf, if its tree still has it.  False: a page is missing. */
static bool
leaf_copy(kiln_txn *txn, const struct in_place_leaf *leaf, uint64_t *absent_out)
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

/* By any thread; the mutex is held and stays so, but is given up where a page must be read. */
void
in_place_give_back(kiln_db *db)
{
    kiln_txn *txn = db->in_place.txn;
    struct in_place *mine = &txn->in_place;
    uint64_t number = db->in_place.number;
    uint64_t pinned[TREE_HEIGHT_MAX];
    uint32_t pins = 0;

    FTK_ASSERT(txn != NULL);
    atomic_fetch_add_explicit(&db->in_place.returns, 1, memory_order_relaxed);
    for (uint32_t i = 0; i < mine->leaf_count;) {
        uint64_t absent = 0;
        ftk_status rc;
        if (leaf_copy(txn, &mine->leaves[i], &absent)) {
            i++;
            continue;
        }
        ftk_mutex_unlock(&db->in_place.mutex);
        if (pins == TREE_HEIGHT_MAX)
            cache_unpin(db->fast, pinned[--pins]);
        rc = cache_fetch(db->cache, absent, 0);
        ftk_mutex_lock(&db->in_place.mutex);
        if (rc == FTK_OK)
            pinned[pins++] = absent;
        if (!atomic_load(&db->in_place.open) || db->in_place.number != number)
            goto out; /* the transaction ended, or another thread gave it back */
        if (rc != FTK_OK) {
            atomic_store(&mine->failed, rc); /* its changes cannot be kept */
            break;
        }
    }
    undo_all(txn);
    window_shut(txn);
out:
    while (pins > 0)
        cache_unpin(db->fast, pinned[--pins]);
}
