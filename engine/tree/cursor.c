/* SPDX-License-Identifier: Apache-2.0 */
/* engine/tree/cursor.c -- cursors.  Invariants: engine/tree/cursor.h. */
#include "engine/tree/cursor.h"

#include <string.h>

#include "ftk/mem.h"

enum {
    AHEAD_PAGES = 64,     /* read ahead by scans */
    AHEAD_ITEMS = 8,      /* prefetched: what the core can have on the way */
    ITEM_LINES_MAX = 4,   /* of one of them: the rest of a longer one follows by itself */
    ARRAYS_MAX = 16 * 64, /* bytes, of the slot arrays of the next leaf */
};

static void
release_run(kiln_cursor *cursor)
{
    if (cursor->held_first != 0)
        cache_unpin_run(cursor->txn->cache, cursor->held_first, cursor->held_count);
    cursor->held_first = 0;
}

static void
unpin(kiln_cursor *cursor)
{
    release_run(cursor);
    if (cursor->pinned != 0)
        cache_unpin(cursor->txn->fast, cursor->pinned);
    cursor->pinned = 0;
}

/* Invariants 1, 2 and 3. */
static bool
is_sound(const kiln_cursor *cursor)
{
    if (!cursor->positioned)
        return !cursor->plain && !cursor->sought;
    if (cursor->pinned == 0) /* known by its key alone */
        return !cursor->plain && !cursor->sought && cursor->changes != cursor->tree->changes;
    return cursor->path.depth > 0 && cursor->pinned == cursor->path.page[cursor->path.depth - 1] &&
           (cursor->deleted || cursor->path.pos[cursor->path.depth - 1] < cursor->leaf_count ||
            cursor->txn->write);
}

void
cursor_unposition(kiln_cursor *cursor)
{
    unpin(cursor);
    cursor->positioned = false;
    cursor->plain = false;
    cursor->sought = false;
    cursor->deleted = false;
    FTK_DEBUG_ASSERT(is_sound(cursor));
}

/* A step from an item has failed, memory or a read: the cursor stays there, known by its key
 * (invariant 2).  A snapshot's item keeps no key; it is the last or the first of its leaf, where
 * the step began. */
static void
stay(kiln_cursor *cursor, bool forward)
{
    struct node leaf;

    FTK_ASSERT(cursor->positioned);
    if (!cursor->txn->write && cursor->pinned != 0) {
        leaf = tree_node(cursor->txn, cursor->pinned);
        if (node_count(leaf.page) == 0) { /* no sound tree: nothing to stay at */
            cursor_unposition(cursor);
            return;
        }
        cursor->key_size = node_key(leaf, forward ? node_count(leaf.page) - 1 : 0, cursor->key);
    }
    unpin(cursor);
    cursor->plain = false;
    cursor->sought = false;
    cursor->changes = cursor->tree->changes - 1;
    FTK_DEBUG_ASSERT(is_sound(cursor));
}

static unsigned
fetch_flags(const kiln_cursor *cursor)
{
    return cursor->flags & KILN_CURSOR_SCAN ? CACHE_SCAN : 0;
}

static struct node
leaf_node(const kiln_cursor *cursor)
{
    return tree_node(cursor->txn, cursor->path.page[cursor->path.depth - 1]);
}

static uint32_t *
leaf_pos(kiln_cursor *cursor)
{
    return &cursor->path.pos[cursor->path.depth - 1];
}

/* Pin the leaf of the path and leave the epoch.  An error: the leaf pinned before stays so. */
static ftk_status
settle(kiln_cursor *cursor)
{
    uint64_t leaf = cursor->path.page[cursor->path.depth - 1];

    FTK_DEBUG_ASSERT(node_level(leaf_node(cursor).page) == 0);
    if (leaf != cursor->pinned) {
        if (FTK_UNLIKELY(cache_pins_many(cursor->txn->fast, leaf))) {
            cache_leave(cursor->txn->slot);
            return FTK_FAIL(FTK_NOMEM, "%d cursors and readers are at one page already",
                            CACHE_PINS_MOST);
        }
        unpin(cursor);
        cache_pin(cursor->txn->fast, leaf);
        cursor->pinned = leaf;
        cursor->prefix_page = 0;
    } else {
        release_run(cursor);
    }
    cursor->changes = cursor->tree->changes;
    cursor->leaf_count = node_count(leaf_node(cursor).page);
    cursor->scanning = false;
    cache_leave(cursor->txn->slot);
    return FTK_OK;
}

/* Positioned on an item: keep its key where the tree may change. */
static ftk_status
arrived(kiln_cursor *cursor)
{
    cursor->positioned = true;
    cursor->deleted = false;
    cursor->sought = false;
    cursor->plain = !cursor->txn->write && !cursor->has_low && !cursor->has_high;
    if (cursor->txn->write)
        cursor->key_size = node_key(leaf_node(cursor), *leaf_pos(cursor), cursor->key);
    FTK_DEBUG_ASSERT(is_sound(cursor));
    return FTK_OK;
}

static ftk_status
nothing(kiln_cursor *cursor)
{
    cursor_unposition(cursor);
    return FTK_ANSWER(FTK_NOTFOUND, "no further item");
}

/* ---- stepping over leaf ends ----------------------------------------------------------------- */

/* Children of the parent that come next are read ahead. */
static void
read_ahead(kiln_cursor *cursor, uint64_t parent_id, struct node parent, uint32_t pos)
{
    uint64_t ids[AHEAD_PAGES];
    uint32_t count = node_count(parent.page);
    uint32_t from = pos + 1, n = 0;

    if (!(cursor->flags & KILN_CURSOR_SCAN))
        return;
    if (cursor->ahead_page == parent_id) {
        if (pos + AHEAD_PAGES / 2 < cursor->ahead_pos)
            return;
        from = cursor->ahead_pos > from ? cursor->ahead_pos : from;
    }
    for (; from + n < count && n < AHEAD_PAGES; n++)
        ids[n] = page_ref_id(node_child(parent.page, from + n));
    cursor->ahead_page = parent_id;
    cursor->ahead_pos = from + n;
    if (n > 0)
        cache_prefetch(cursor->txn->cache, ids, n, CACHE_SCAN);
}

/* ---- looking ahead: what the next items touch is on its way while this one is looked at ------ */

/* The body of an item: in a leaf filled at random, neighbours in order lie anywhere in the heap. */
static inline void
prefetch_item(const kiln_cursor *cursor, const uint8_t *page, uint32_t pos)
{
    const uint8_t *body = node_body(page, pos);

    for (uint32_t line = 0; line < cursor->item_lines; line++)
        __builtin_prefetch(body + (size_t)line * 64);
}

/* The scan is in a leaf; `next`: the leaf behind it, 0: not known. */
static void
scan_leaf(kiln_cursor *cursor, uint64_t next)
{
    const struct cache_fast *fast = cursor->txn->fast;
    struct node leaf = leaf_node(cursor);
    uint32_t body, arrays;

    cursor->scanning = !cursor->txn->write && !txn_is_beside(cursor->txn); /* nobody changes it */
    cursor->next_leaf = next < fast->pages_max ? next : 0;
    if (!cursor->scanning || node_count(leaf.page) == 0)
        return;
    body = (leaf.bytes - node_heap_at(leaf)) / node_count(leaf.page);
    cursor->item_lines = (body + 2 * 63) / 64;
    if (cursor->item_lines > ITEM_LINES_MAX)
        cursor->item_lines = ITEM_LINES_MAX;
    if (cursor->next_leaf == 0)
        return;
    arrays = node_arrays_end(leaf.page); /* the next leaf will be much like this one */
    if (arrays > ARRAYS_MAX)
        arrays = ARRAYS_MAX;
    __builtin_prefetch((const char *)(uintptr_t)&fast->states[next], 1);
    for (uint32_t at = 0; at < arrays; at += 64)
        __builtin_prefetch(cache_address(fast, next) + at);
}

/* The first items of the next leaf. */
static void
prefetch_next_leaf(kiln_cursor *cursor)
{
    kiln_txn *txn = cursor->txn;
    const uint8_t *page = cache_address(txn->fast, cursor->next_leaf);

    cache_enter(txn->fast, txn->slot);
    if (cache_use(txn->fast, cursor->next_leaf) && node_level(page) == 0)
        for (uint32_t pos = 0; pos < AHEAD_ITEMS && pos < node_count(page); pos++)
            prefetch_item(cursor, page, pos);
    cache_leave(txn->slot);
    cursor->next_leaf = 0;
}

/* The cursor has gone one item forward. */
static inline void
look_ahead(kiln_cursor *cursor)
{
    uint32_t ahead = *leaf_pos(cursor) + AHEAD_ITEMS;

    if (!cursor->scanning)
        return;
    if (FTK_LIKELY(ahead < cursor->leaf_count))
        prefetch_item(cursor, leaf_node(cursor).page, ahead);
    else if (cursor->next_leaf != 0)
        prefetch_next_leaf(cursor);
}

/* The first step forward after a seek: a scan begins. */
static void
scan_begin(kiln_cursor *cursor)
{
    kiln_txn *txn = cursor->txn;
    const struct tree_path *path = &cursor->path;
    const uint8_t *leaf = leaf_node(cursor).page;
    uint64_t next = 0;
    uint32_t d = path->depth - 1;

    if (d > 0) {
        cache_enter(txn->fast, txn->slot);
        if (cache_use(txn->fast, path->page[d - 1])) {
            const uint8_t *parent = cache_address(txn->fast, path->page[d - 1]);
            if (path->pos[d - 1] + 1 < node_count(parent))
                next = page_ref_id(node_child(parent, path->pos[d - 1] + 1));
        }
        cache_leave(txn->slot);
    }
    scan_leaf(cursor, next);
    for (uint32_t i = 1; i <= AHEAD_ITEMS && *leaf_pos(cursor) + i < cursor->leaf_count; i++)
        prefetch_item(cursor, leaf, *leaf_pos(cursor) + i);
}

/*
 * To the leaf before or behind this one; FTK_NOTFOUND: there is none.  On FTK_OK inside an epoch
 * and path complete, leaf pos at its near end.  The path is valid (the tree did not change).
 * *next_out: forward, the leaf behind that one under the same parent, 0: none.
 */
static ftk_status
step_leaf(kiln_cursor *cursor, bool forward, uint64_t *next_out)
{
    kiln_txn *txn = cursor->txn;
    struct tree_path *path = &cursor->path;
    uint32_t d = path->depth - 1;
    bool again;
    ftk_status rc;

    cache_enter(txn->fast, txn->slot);
    while (d-- > 0) { /* up to a page with a neighbour */
        FTK_TRY(tree_use(txn, cursor->tree, path->page[d], 0, &again));
        /* It may have been read anew meanwhile. */
        FTK_TRY(tree_check_page(txn, path->ref[d], path->depth - 1 - d));
        struct node node = tree_node(txn, path->page[d]);
        if (forward ? path->pos[d] + 1 < node_count(node.page) : path->pos[d] > 0)
            break;
    }
    if (d == UINT32_MAX) {
        rc = FTK_ANSWER(FTK_NOTFOUND, "no further item");
        goto out;
    }
    path->pos[d] += forward ? 1 : UINT32_MAX;
    for (; d + 1 < path->depth; d++) { /* down to the leaf */
        struct node node = tree_node(txn, path->page[d]);
        uint32_t level = path->depth - 2 - d;
        struct page_ref ref = node_child(node.page, path->pos[d]);
        uint64_t child = page_ref_id(ref);
        if (level == 0 && forward) {
            read_ahead(cursor, path->page[d], node, path->pos[d]);
            *next_out = path->pos[d] + 1 < node_count(node.page)
                            ? page_ref_id(node_child(node.page, path->pos[d] + 1))
                            : 0;
        }
        path->page[d + 1] = child;
        path->ref[d + 1] = ref;
        if (FTK_UNLIKELY(level == 0 && txn_is_beside(txn))) {
            cache_leave(txn->slot);
            rc = window_settle(txn, child);
            cache_enter(txn->fast, txn->slot);
            if (rc != FTK_OK)
                goto out;
        }
        FTK_TRY(tree_use(txn, cursor->tree, child, level == 0 ? fetch_flags(cursor) : 0, &again));
        FTK_TRY(tree_check_page(txn, ref, level));
        uint32_t count = node_count(cache_address(txn->fast, child));
        path->pos[d + 1] = forward || count == 0 ? 0 : count - 1;
    }
    rc = FTK_OK;
out:
    if (rc != FTK_OK)
        cache_leave(txn->slot);
    return rc;
}

/* The leaf position may be behind the last item (or the leaf empty): go on to an item.  After an
 * error other than FTK_NOTFOUND the path is of no use: the caller lets the cursor stay, or takes
 * its place from it. */
static ftk_status
normalize(kiln_cursor *cursor, bool forward)
{
    uint64_t next = 0;
    ftk_status rc;

    while (*leaf_pos(cursor) >= node_count(leaf_node(cursor).page)) {
        rc = step_leaf(cursor, forward, &next);
        if (rc == FTK_OK)
            rc = settle(cursor);
        if (rc != FTK_OK)
            return rc == FTK_NOTFOUND ? nothing(cursor) : rc;
        if (forward)
            scan_leaf(cursor, next);
    }
    return arrived(cursor);
}

/* ---- bounds ---------------------------------------------------------------------------------- */

static ftk_status
check_bounds(kiln_cursor *cursor, ftk_status rc)
{
    struct node node;

    if (rc != FTK_OK || (!cursor->has_low && !cursor->has_high))
        return rc;
    node = leaf_node(cursor);
    if (cursor->has_high &&
        node_compare(node, *leaf_pos(cursor), cursor->high, cursor->high_size) >= 0)
        return nothing(cursor);
    if (cursor->has_low && node_compare(node, *leaf_pos(cursor), cursor->low, cursor->low_size) < 0)
        return nothing(cursor);
    return FTK_OK;
}

ftk_status
cursor_bounds(kiln_cursor *cursor, kiln_slice low, kiln_slice high)
{
    if (low.size > NODE_KEY_MAX || high.size > NODE_KEY_MAX)
        return FTK_FAIL(FTK_INVALID, "a bound has up to %d bytes", NODE_KEY_MAX);
    cursor->has_low = low.data != NULL;
    cursor->has_high = high.data != NULL;
    cursor->low_size = (uint32_t)low.size;
    cursor->high_size = (uint32_t)high.size;
    if (cursor->has_low)
        memcpy(cursor->low, low.data, low.size);
    if (cursor->has_high)
        memcpy(cursor->high, high.data, high.size);
    cursor_unposition(cursor);
    return FTK_OK;
}

/* ---- moves ----------------------------------------------------------------------------------- */

static ftk_status
seek_raw(kiln_cursor *cursor, const void *key, size_t key_size)
{
    ftk_status rc;

    if (page_ref_is_none(cursor->tree->root))
        return nothing(cursor);
    unpin(cursor);
    rc = tree_descend(cursor->txn, cursor->tree, key, key_size, fetch_flags(cursor), &cursor->path);
    return rc == FTK_OK ? settle(cursor) : rc;
}

/* The end of a seek.  One that fails leaves the cursor on no item. */
static ftk_status
seek_end(kiln_cursor *cursor, ftk_status rc)
{
    if (rc != FTK_OK && rc != FTK_NOTFOUND)
        cursor_unposition(cursor);
    return check_bounds(cursor, rc);
}

ftk_status
cursor_seek(kiln_cursor *cursor, const void *key, size_t key_size)
{
    ftk_status rc;

    if (cursor->has_low && ftk_bytes_compare(key, key_size, cursor->low, cursor->low_size) < 0) {
        key = cursor->low;
        key_size = cursor->low_size;
    }
    rc = seek_raw(cursor, key, key_size);
    if (rc == FTK_OK)
        rc = normalize(cursor, true);
    cursor->sought = rc == FTK_OK && !cursor->txn->write;
    cursor->plain = false; /* the next step looks */
    return seek_end(cursor, rc);
}

/* To the last item below the path's position; errors as those of normalize. */
static ftk_status
step_back(kiln_cursor *cursor)
{
    uint64_t next;
    ftk_status rc;

    if (*leaf_pos(cursor) > 0) {
        (*leaf_pos(cursor))--;
        release_run(cursor);
        return arrived(cursor);
    }
    rc = step_leaf(cursor, false, &next);
    if (rc == FTK_OK)
        rc = settle(cursor);
    if (rc != FTK_OK)
        return rc == FTK_NOTFOUND ? nothing(cursor) : rc;
    return normalize(cursor, false);
}

ftk_status
cursor_seek_before(kiln_cursor *cursor, const void *key, size_t key_size)
{
    ftk_status rc;

    if (cursor->has_high && ftk_bytes_compare(key, key_size, cursor->high, cursor->high_size) >= 0)
        return cursor_last(cursor);
    rc = seek_raw(cursor, key, key_size);
    if (rc == FTK_OK)
        rc = cursor->path.exact ? arrived(cursor) : step_back(cursor);
    return seek_end(cursor, rc);
}

ftk_status
cursor_first(kiln_cursor *cursor)
{
    if (cursor->has_low)
        return cursor_seek(cursor, cursor->low, cursor->low_size);
    return cursor_seek(cursor, "", 0);
}

ftk_status
cursor_last(kiln_cursor *cursor)
{
    ftk_status rc;

    if (cursor->has_high) {
        rc = seek_raw(cursor, cursor->high, cursor->high_size);
        if (rc == FTK_OK)
            rc = step_back(cursor);
        return seek_end(cursor, rc);
    }
    if (page_ref_is_none(cursor->tree->root))
        return nothing(cursor);
    unpin(cursor);
    rc = tree_descend_edge(cursor->txn, cursor->tree, true, fetch_flags(cursor), &cursor->path);
    if (rc == FTK_OK)
        rc = settle(cursor);
    if (rc == FTK_OK)
        rc = normalize(cursor, false);
    return seek_end(cursor, rc);
}

/* The tree changed under the cursor: find the place again.  *at_out: the item itself is there.
 * FTK_NOTFOUND: the tree is empty, the place is kept. */
static ftk_status
refresh(kiln_cursor *cursor, bool *at_out)
{
    ftk_status rc;

    *at_out = true;
    if (cursor->changes == cursor->tree->changes && !cursor->deleted)
        return FTK_OK;
    *at_out = false;
    if (page_ref_is_none(cursor->tree->root))
        return FTK_ANSWER(FTK_NOTFOUND, "no further item");
    rc = seek_raw(cursor, cursor->key, cursor->key_size);
    if (rc == FTK_OK)
        *at_out = cursor->path.exact;
    return rc;
}

/* The end of a step.  One that fails leaves the cursor where it was. */
static ftk_status
step_end(kiln_cursor *cursor, bool forward, ftk_status rc)
{
    if (FTK_UNLIKELY(rc != FTK_OK && rc != FTK_NOTFOUND))
        stay(cursor, forward);
    return check_bounds(cursor, rc);
}

ftk_status
cursor_next(kiln_cursor *cursor)
{
    bool at;
    ftk_status rc;

    if (FTK_LIKELY(cursor->plain)) {
        uint32_t *pos = leaf_pos(cursor);
        if (FTK_LIKELY(*pos + 1 < cursor->leaf_count && cursor->held_first == 0)) {
            ++*pos;
            look_ahead(cursor);
            return FTK_OK;
        }
    }
    if (!cursor->positioned)
        return cursor_first(cursor);
    if (cursor->sought)
        scan_begin(cursor);
    rc = refresh(cursor, &at);
    if (rc != FTK_OK)
        return rc == FTK_NOTFOUND ? nothing(cursor) : step_end(cursor, true, rc);
    if (at) {
        (*leaf_pos(cursor))++;
        release_run(cursor);
    }
    if (FTK_LIKELY(*leaf_pos(cursor) < node_count(leaf_node(cursor).page)))
        rc = arrived(cursor);
    else
        rc = normalize(cursor, true);
    rc = step_end(cursor, true, rc);
    if (rc == FTK_OK)
        look_ahead(cursor);
    return rc;
}

ftk_status
cursor_prev(kiln_cursor *cursor)
{
    bool at;
    ftk_status rc;

    if (!cursor->positioned)
        return cursor_last(cursor);
    rc = refresh(cursor, &at);
    if (rc != FTK_OK)
        return rc == FTK_NOTFOUND ? nothing(cursor) : step_end(cursor, false, rc);
    return step_end(cursor, false, step_back(cursor));
}

ftk_status
cursor_item(kiln_cursor *cursor, kiln_slice *key_out, kiln_slice *value_out)
{
    struct node_entry entry;
    ftk_status rc;
    bool at;

    if (key_out != NULL)
        *key_out = (kiln_slice){NULL, 0};
    if (value_out != NULL)
        *value_out = (kiln_slice){NULL, 0};
    if (FTK_UNLIKELY(!cursor->plain)) {
        if (!cursor->positioned || cursor->deleted)
            return FTK_FAIL(FTK_STATE, "the cursor is not on an item");
        rc = refresh(cursor, &at);
        if (rc == FTK_NOTFOUND || (rc == FTK_OK && !at)) {
            cursor->changes = cursor->tree->changes - 1; /* look again each time */
            return FTK_FAIL(FTK_STATE, "the cursor's item was deleted");
        }
        if (rc != FTK_OK)
            return step_end(cursor, true, rc);
    }
    node_entry(leaf_node(cursor), *leaf_pos(cursor), &entry);
    if (key_out != NULL) {
        const uint8_t *page = leaf_node(cursor).page;
        uint32_t prefix = node_prefix_bytes(page);
        /* In a leaf that cannot change the prefix is copied once. */
        if (cursor->prefix_page != cursor->pinned || cursor->txn->write)
            memcpy(cursor->key, page + PAGE_HEADER_BYTES, prefix);
        cursor->prefix_page = cursor->pinned;
        cursor->key_size = node_entry_key(&entry, prefix, cursor->key);
        *key_out = (kiln_slice){cursor->key, cursor->key_size};
    }
    if (value_out == NULL)
        return FTK_OK;
    *value_out = (kiln_slice){entry.value, entry.value_size};
    if (!entry.large)
        return FTK_OK;
    if (cursor->held_first == 0) {
        struct lent_run run;
        rc = value_pin(cursor->txn, entry.value, &run, value_out);
        if (rc != FTK_OK)
            return rc;
        cursor->held_first = run.first;
        cursor->held_count = run.pages;
    } else {
        *value_out = (kiln_slice){cache_address(cursor->txn->fast, cursor->held_first),
                                  (size_t)value_ref_size(entry.value)};
    }
    return FTK_OK;
}

bool
cursors_lend(const kiln_txn *txn, uint64_t page, struct lent_run *run_out)
{
    for (const kiln_cursor *cursor = txn->cursors; cursor != NULL; cursor = cursor->next) {
        if (cursor->pinned != 0 && cursor->pinned == page) {
            *run_out = (struct lent_run){page, 1};
            return true;
        }
        if (cursor->held_first != 0 && page - cursor->held_first < cursor->held_count) {
            *run_out = (struct lent_run){cursor->held_first, (uint32_t)cursor->held_count};
            return true;
        }
    }
    return false;
}

/* ---- open, close ----------------------------------------------------------------------------- */

ftk_status
cursor_open_tree(kiln_txn *txn, struct tree *tree, uint32_t flags, kiln_cursor **cursor_out)
{
    kiln_cursor *cursor = NULL;
    ftk_status rc = in_place_end(txn);

    *cursor_out = NULL;
    if (rc == FTK_OK)
        rc = ftk_alloc(sizeof(*cursor), (void **)&cursor);
    if (rc != FTK_OK)
        return rc;
    memset(cursor, 0, offsetof(kiln_cursor, key));
    cursor->has_low = cursor->has_high = false;
    cursor->low_size = cursor->high_size = 0;
    cursor->txn = txn;
    cursor->tree = tree;
    cursor->flags = flags;
    cursor->next = txn->cursors;
    if (cursor->next != NULL)
        cursor->next->prev = cursor;
    txn->cursors = cursor;
    *cursor_out = cursor;
    return FTK_OK;
}

void
cursor_detach(kiln_cursor *cursor)
{
    unpin(cursor);
    FTK_ASSERT((cursor->prev == NULL) == (cursor->txn->cursors == cursor));
    if (cursor->prev != NULL)
        cursor->prev->next = cursor->next;
    else
        cursor->txn->cursors = cursor->next;
    if (cursor->next != NULL)
        cursor->next->prev = cursor->prev;
    cursor->next = cursor->prev = NULL;
    cursor->txn = NULL;
    cursor->tree = NULL;
    cursor->renewed = true; /* so that no move goes the short way */
}

void
cursor_close(kiln_cursor *cursor)
{
    if (cursor == NULL)
        return;
    if (cursor->txn != NULL)
        cursor_detach(cursor);
    ftk_free(cursor);
}
