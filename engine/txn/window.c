/* SPDX-License-Identifier: Apache-2.0 */
/* engine/txn/window.c -- the window of a transaction, and the pins that it must see.  The protocol,
 * the states and the invariants: window.h. */
#include "engine/txn/window.h"

#include <string.h>

#include "engine/txn/txn_state.h"
#include "ftk/invariant.h"
#include "ftk/mem.h"
#include "ftk/spin.h"

enum {
    LEAVES_MAX = 2048,
    SET_SLOTS = 2 * LEAVES_MAX, /* power of two */
    CACHE_PART = 128,           /* at most this part of the cache's pages are such leaves */
    CHANGES_MAX = 64,           /* of one leaf: a reader that comes to it waits for so many */
    RETURN_SOME = 4,            /* leaves with an operation of the writer */
    RETURN_BATCH = 8,           /* leaves before others may have the mutex */
    WAITING_TURNS = 500,        /* they get so many turns of a loop to take it */
    REST = 256,                 /* transactions, after a reader came in */
};

/* ---- states ---------------------------------------------------------------------------------- */

#define TO(state) (1u << WINDOW_##state)
static const uint32_t moves[WINDOW_STATES] = {
    [WINDOW_SHUT] = TO(UNTRIED),
    [WINDOW_UNTRIED] = TO(SHUT) | TO(OPEN),
    [WINDOW_OPEN] = TO(ASKED) | TO(COMMITTING) | TO(SHUT),
    [WINDOW_ASKED] = TO(SHUT),
    [WINDOW_COMMITTING] = TO(SHUT) | TO(OPEN),
};
#undef TO

/* False: it is in another state by now. */
static bool
window_move(struct window *window, enum window_state from, enum window_state to)
{
    uint32_t state = from;

    FTK_ASSERT((moves[from] >> to & 1) != 0);
    return atomic_compare_exchange_strong(&window->state, &state, (uint32_t)to);
}

/* Only the caller may move it from there. */
static void
window_must_move(struct window *window, enum window_state from, enum window_state to)
{
    bool moved = window_move(window, from, to);

    FTK_ASSERT(moved);
}

/* An open window is asked for its leaves; by anyone, without the mutex.  Its state then. */
static enum window_state
ask(struct window *window)
{
    enum window_state state;

    while ((state = window_state(window)) == WINDOW_OPEN)
        if (window_move(window, WINDOW_OPEN, WINDOW_ASKED))
            atomic_fetch_add_explicit(&window->returns, 1, memory_order_relaxed);
    return state;
}

/* Leaves are changed in place. */
static bool
has_leaves(enum window_state state)
{
    return state == WINDOW_OPEN || state == WINDOW_ASKED || state == WINDOW_COMMITTING;
}

static void
leaf_check(const kiln_txn *txn, const struct window *window, const struct window_leaf *leaf)
{
    uint64_t birth = node_birth(cache_address(txn->fast, leaf->page));
    uint64_t above = atomic_load_explicit(&window->above, memory_order_relaxed);

    FTK_ASSERT(birth > above && birth <= window->base);
    FTK_ASSERT(window->set[leaf->slot] == (uint32_t)(leaf - window->leaves) + 1);
    FTK_ASSERT((leaf->undo == 0) == (leaf->changes == 0) || leaf->returned);
    FTK_ASSERT(leaf->undo <= window->undo.count && leaf->changes <= CHANGES_MAX);
    FTK_ASSERT(leaf->returned || cache_is_dirty(txn->fast, leaf->page));
}

/* With the mutex, or by T's thread where there is no window. */
static void
check_held(kiln_db *db)
{
    struct window *window = &db->window;
    /* Relaxed, as all of this: the mutex orders it, and only a reader that asks moves OPEN on. */
    uint64_t above = atomic_load_explicit(&window->above, memory_order_relaxed);
    enum window_state state =
        (enum window_state)atomic_load_explicit(&window->state, memory_order_relaxed);
    uint32_t returned = 0;

    FTK_INVARIANT_COUNT("window");
    FTK_ASSERT((state == WINDOW_SHUT) == (window->txn == NULL));
    FTK_ASSERT(!window->unreadable || state == WINDOW_ASKED);
    if (!has_leaves(state)) {
        FTK_ASSERT(window->leaf_count == 0 && window->undo.count == 0);
        FTK_ASSERT(above == UINT64_MAX);
        FTK_ASSERT(atomic_load_explicit(&window->reserved, memory_order_relaxed) == 0);
        return;
    }
    FTK_ASSERT(window->txn->write && window->base == window->txn->snapshot.id);
    FTK_ASSERT(above < window->base);
    FTK_ASSERT(window->leaf_count <= window->leaves_max && window->next <= window->leaf_count);
    for (uint32_t i = 0; i < window->leaf_count; i++) {
        leaf_check(window->txn, window, &window->leaves[i]);
        FTK_ASSERT(i >= window->next || window->leaves[i].returned);
        returned += window->leaves[i].returned;
    }
    FTK_ASSERT(returned == window->returned && (returned == 0 || state == WINDOW_ASKED));
}

void
window_check(kiln_db *db)
{
    ftk_mutex_lock(&db->window.mutex);
    check_held(db);
    ftk_mutex_unlock(&db->window.mutex);
}

void
window_init(kiln_db *db, window_copy *copy)
{
    db->window.copy = copy;
    atomic_store(&db->window.above, UINT64_MAX);
    ftk_mutex_init(&db->window.mutex);
}

void
window_release(kiln_db *db)
{
    struct window *window = &db->window;

    FTK_ASSERT(window_state(window) == WINDOW_SHUT);
    ftk_mutex_release(&window->mutex);
    ftk_free(window->leaves);
    ftk_free(window->set);
    ftk_free(window->value);
    undo_release(&window->undo);
}

/* ---- pins ------------------------------------------------------------------------------------ */

/* Births at or below this are reached by a reader or a checkpoint. */
static uint64_t
pins_highest(kiln_db *db)
{
    uint64_t highest = 0, id;

    for (struct cache_slot *slot = NULL; (slot = cache_slot_next(db->cache, slot)) != NULL;) {
        id = atomic_load(&slot->snapshot);
        highest = id > highest ? id : highest;
    }
    id = atomic_load(&db->checkpoint_pin);
    return id > highest ? id : highest;
}

/* A reader has announced its pin.  False: a commit was being decided, look again. */
static bool
reader_looks(kiln_db *db, struct window **beside_out)
{
    struct window *window = &db->window;
    enum window_state state;

    *beside_out = NULL;
    state = ask(window);
    if (state == WINDOW_COMMITTING) {
        ftk_mutex_lock(&window->mutex); /* until it is published */
        ftk_mutex_unlock(&window->mutex);
        return false;
    }
    if (state == WINDOW_ASKED) {
        *beside_out = window;
        atomic_store_explicit(&window->rest, REST, memory_order_relaxed);
    }
    return true;
}

void
db_pin(kiln_db *db, struct cache_slot *slot, struct db_snapshot *snapshot,
       struct window **beside_out)
{
    do {
        db_published_get(db, snapshot);
        atomic_store(&slot->snapshot, snapshot->id);
    } while (!reader_looks(db, beside_out) || db_published_id(db) != snapshot->id);
}

/* ---- the set of leaves ----------------------------------------------------------------------- */

static uint32_t
set_slot(const struct window *window, uint64_t page)
{
    uint32_t slot = (uint32_t)(page * UINT64_C(0x9e3779b97f4a7c15) >> 40) & (SET_SLOTS - 1);

    while (window->set[slot] != 0 && window->leaves[window->set[slot] - 1].page != page)
        slot = (slot + 1) & (SET_SLOTS - 1);
    return slot;
}

static struct window_leaf *
leaf_find(const struct window *window, uint64_t page)
{
    uint32_t index = window->set[set_slot(window, page)];

    return index == 0 ? NULL : &window->leaves[index - 1];
}

bool
window_has(const kiln_txn *txn, uint64_t page)
{
    const struct window *window = txn->window;

    return window->held && leaf_find(window, page) != NULL;
}

/* Pages that returning this leaf can make and retire; ancestors shared with the last leaf count
 * once: whichever of the two is returned first needs them. */
static uint8_t
pages_for(struct window *window, const struct tree_path *path)
{
    uint32_t pages = 1;

    for (uint32_t d = 0; d + 1 < path->depth; d++) {
        pages += path->page[d] != window->last_path[d];
        window->last_path[d] = path->page[d];
    }
    static_assert(2 * TREE_HEIGHT_MAX <= UINT8_MAX, "fits into window_leaf.reserve");
    return (uint8_t)(2 * pages);
}

static void
reserved_add(struct window *window, uint32_t pages)
{
    /* Under the mutex: no need of an atomic addition. */
    atomic_store_explicit(&window->reserved,
                          atomic_load_explicit(&window->reserved, memory_order_relaxed) + pages,
                          memory_order_relaxed);
}

static struct window_leaf *
leaf_add(struct window *window, struct tree *tree, const struct tree_path *path, uint32_t slot)
{
    struct window_leaf *leaf;

    if (window->leaf_count == window->leaves_max)
        return NULL;
    if (window->leaf_count == window->leaf_capacity) {
        uint32_t capacity = window->leaf_capacity == 0 ? 64 : 2 * window->leaf_capacity;
        if (ftk_realloc((void **)&window->leaves, capacity * sizeof(*window->leaves)) != FTK_OK)
            return NULL;
        window->leaf_capacity = capacity;
    }
    leaf = &window->leaves[window->leaf_count++];
    *leaf = (struct window_leaf){.page = path->page[path->depth - 1],
                                 .tree = tree,
                                 .slot = slot,
                                 .reserve = pages_for(window, path)};
    reserved_add(window, leaf->reserve);
    window->set[slot] = window->leaf_count;
    return leaf;
}

/* ---- begin, open, shut ----------------------------------------------------------------------- */

void
window_begin(kiln_txn *txn, bool allowed)
{
    struct window *window = &txn->db->window;

    FTK_ASSERT(txn->window == NULL && window->txn == NULL);
    if (atomic_load_explicit(&window->rest, memory_order_relaxed) > 0) {
        atomic_fetch_sub(&window->rest, 1); /* only the holder of the writer's turn takes from it */
        allowed = false;
    }
    if (!allowed)
        return;
    window->txn = txn;
    window->base = txn->snapshot.id;
    txn->window = window;
    window_must_move(window, WINDOW_SHUT, WINDOW_UNTRIED);
    FTK_DEBUG_ASSERT((check_held(txn->db), true));
}

static void
leaves_forget(struct window *window)
{
    for (uint32_t i = 0; i < window->leaf_count; i++)
        window->set[window->leaves[i].slot] = 0;
    window->leaf_count = window->returned = window->next = 0;
    window->unreadable = false;
    undo_clear(&window->undo);
    atomic_store_explicit(&window->reserved, 0, memory_order_relaxed);
    atomic_store(&window->above, UINT64_MAX);
}

/* The mutex is held, or the window was never open. */
static void
window_shut(struct window *window, enum window_state from)
{
    leaves_forget(window);
    window->txn = NULL;
    /* A reader may make OPEN ASKED at any time. */
    if (!window_move(window, from, WINDOW_SHUT)) {
        FTK_ASSERT(from == WINDOW_OPEN);
        window_must_move(window, WINDOW_ASKED, WINDOW_SHUT);
    }
}

static ftk_status
memory_get(kiln_db *db)
{
    struct window *window = &db->window;
    ftk_status rc = FTK_OK;

    if (window->set == NULL)
        rc = FTK_NEW_ARRAY(&window->set, SET_SLOTS);
    if (rc == FTK_OK && window->value == NULL)
        rc = ftk_alloc(db->page_bytes, (void **)&window->value);
    return rc;
}

/* The first older leaf.  Inside an epoch; with a window its mutex is held then. */
static void
window_open(kiln_txn *txn)
{
    kiln_db *db = txn->db;
    struct window *window = txn->window;
    uint64_t pages = cache_limit() / db->page_bytes / CACHE_PART;
    uint64_t above;

    if (memory_get(db) != FTK_OK) {
        window_shut(window, WINDOW_UNTRIED);
        txn->window = NULL;
        return;
    }
    ftk_mutex_lock(&window->mutex);
    window_must_move(window, WINDOW_UNTRIED, WINDOW_OPEN); /* announced: now look */
    above = pins_highest(db);
    if (above >= window->base || db_published_id(db) != window->base) {
        window_shut(window, WINDOW_OPEN);
        txn->window = NULL;
        ftk_mutex_unlock(&window->mutex);
        return;
    }
    atomic_store(&window->above, above);
    window->leaves_max = pages < LEAVES_MAX ? (uint32_t)pages : LEAVES_MAX;
    memset(window->last_path, 0, sizeof(window->last_path));
    window->held = true;
    FTK_DEBUG_ASSERT((check_held(db), true));
}

/* While the mutex is held and the window open, no checkpoint has pinned what may be changed: one
 * that has announced itself since waits for the mutex. */
static bool
pins_are_below(const kiln_txn *txn)
{
    uint64_t pin = atomic_load(&txn->db->checkpoint_pin);

    return pin == PIN_ALL || pin <= atomic_load(&txn->window->above);
}

struct window_leaf *
window_leaf_take(kiln_txn *txn, struct tree *tree, const struct tree_path *path)
{
    uint64_t page = path->page[path->depth - 1];
    uint64_t birth = node_birth(cache_address(txn->fast, page));
    struct window_leaf *leaf;
    struct window *window;
    uint32_t slot;

    /* A page is written once with a birth (engine/txn/README.md, rule 3). */
    if (txn->window == NULL || txn_page_mine(txn, birth) || tree == &txn->catalog ||
        !cache_is_dirty(txn->fast, page))
        return NULL;
    if (window_state(txn->window) == WINDOW_UNTRIED)
        window_open(txn);
    window = txn->window;
    if (window == NULL || window_state(window) != WINDOW_OPEN || birth <= window->above)
        return NULL;
    FTK_ASSERT(window->held);
    FTK_DEBUG_ASSERT(pins_are_below(txn));
    slot = set_slot(window, page);
    leaf = window->set[slot] != 0 ? &window->leaves[window->set[slot] - 1]
                                  : leaf_add(window, tree, path, slot);
    FTK_DEBUG_ASSERT(leaf == NULL || (leaf_check(txn, window, leaf), true));
    return leaf == NULL || leaf->changes == CHANGES_MAX ? NULL : leaf;
}

bool
window_expected(const kiln_txn *txn, uint64_t birth)
{
    const struct window *window = txn->window;

    if (window == NULL)
        return false;
    if (window_state(window) == WINDOW_UNTRIED)
        return birth > atomic_load_explicit(&txn->db->checkpoint_pin, memory_order_relaxed);
    return window_state(window) == WINDOW_OPEN && birth > window->above;
}

/* ---- returning ------------------------------------------------------------------------------- */

static void
leaf_undo(struct window *window, struct window_leaf *leaf)
{
    kiln_txn *txn = window->txn;
    struct node node = {cache_address(txn->fast, leaf->page), txn->db->page_bytes};

    FTK_ASSERT(cache_is_dirty(txn->fast, leaf->page));
    FTK_ASSERT(node_birth(node.page) > window->above && node_birth(node.page) <= window->base);
    undo_page(&window->undo, &leaf->undo, node, txn->writer.page_scratch);
    leaf->changes = 0;
}

static void
undo_all(struct window *window)
{
    for (uint32_t i = 0; i < window->leaf_count; i++)
        if (!window->leaves[i].returned)
            leaf_undo(window, &window->leaves[i]);
}

/* Those that wait for the mutex get it. */
static void
mutex_offer(struct window *window)
{
    unsigned turns = 0;

    if (atomic_load(&window->waiting) == 0)
        return;
    ftk_mutex_unlock(&window->mutex);
    while (turns < WAITING_TURNS && atomic_load(&window->waiting) > 0)
        ftk_spin_turn(&turns);
    ftk_mutex_lock(&window->mutex);
}

static void
mutex_want(struct window *window)
{
    atomic_fetch_add(&window->waiting, 1);
    ftk_mutex_lock(&window->mutex);
    atomic_fetch_sub(&window->waiting, 1);
}

/* The mutex was let go for a while: it is still the window of that snapshot, and not done. */
static bool
is_asked(const struct window *window, uint64_t base)
{
    return window_state(window) == WINDOW_ASKED && window->base == base;
}

/*
 * By any thread outside an epoch; the mutex is held before and after, but is given up where a page
 * must be read.  Whoever needs the snapshot has it pinned (or is T), so no other window of it opens
 * meanwhile.  If the page cannot be read, the leaf stays T's, and the error is the caller's.
 */
static ftk_status
leaf_return(kiln_db *db, uint32_t index)
{
    struct window *window = &db->window;
    uint64_t base = window->base, absent = 0;
    uint64_t pinned[TREE_HEIGHT_MAX];
    uint32_t pins = 0;
    ftk_status rc = FTK_OK;

    while (rc == FTK_OK && is_asked(window, base) && !window->leaves[index].returned) {
        struct window_leaf *leaf = &window->leaves[index];
        if (window->copy(window->txn, leaf, &absent)) {
            leaf_undo(window, leaf);
            leaf->returned = true;
            window->returned++;
            window->unreadable = false;
            reserved_add(window, -(uint32_t)leaf->reserve);
            break;
        }
        ftk_mutex_unlock(&window->mutex);
        if (pins == TREE_HEIGHT_MAX)
            cache_unpin(db->fast, pinned[--pins]);
        rc = cache_fetch(db->cache, absent, 0);
        ftk_mutex_lock(&window->mutex);
        if (rc == FTK_OK)
            pinned[pins++] = absent;
        else if (is_asked(window, base) && !window->leaves[index].returned)
            window->unreadable = true;
        else
            rc = FTK_OK; /* somebody else has returned it, or T has ended */
    }
    while (pins > 0)
        cache_unpin(db->fast, pinned[--pins]);
    return rc;
}

/* Up to `count` leaves are returned, and with the last one the window is shut.  As leaf_return;
 * others have the mutex now and then.  The window is ASKED. */
static ftk_status
leaves_return(kiln_db *db, uint32_t count)
{
    struct window *window = &db->window;
    uint64_t base = window->base;
    ftk_status rc;

    FTK_ASSERT(window_state(window) == WINDOW_ASKED);
    for (uint32_t n = 1; is_asked(window, base); n++) {
        while (window->next < window->leaf_count && window->leaves[window->next].returned)
            window->next++;
        if (window->next == window->leaf_count) {
            FTK_ASSERT(window->returned == window->leaf_count);
            FTK_DEBUG_ASSERT((check_held(db), true));
            window_shut(window, WINDOW_ASKED);
            return FTK_OK;
        }
        if (n > count)
            return FTK_OK;
        rc = leaf_return(db, window->next);
        if (rc != FTK_OK)
            return rc;
        if (n % RETURN_BATCH == 0)
            mutex_offer(window);
    }
    return FTK_OK;
}

ftk_status
window_pin_all(kiln_db *db)
{
    struct window *window = &db->window;
    ftk_status rc = FTK_OK;

    atomic_store(&db->checkpoint_pin, PIN_ALL); /* announced: now look */
    while (rc == FTK_OK && has_leaves(window_state(window))) {
        mutex_want(window); /* not while a commit is being decided */
        ask(window);
        if (window_state(window) == WINDOW_ASKED)
            rc = leaves_return(db, UINT32_MAX);
        ftk_mutex_unlock(&window->mutex);
    }
    return rc;
}

/* The mutex is held then, but for false: the reader has a window beside it no longer. */
static bool
reader_enters(kiln_txn *reader)
{
    struct window *window = reader->reader.beside;

    if (window == NULL)
        return false;
    mutex_want(window);
    if (is_asked(window, reader->snapshot.id))
        return true;
    reader->reader.beside = NULL;
    ftk_mutex_unlock(&window->mutex);
    return false;
}

ftk_status
window_settle(kiln_txn *reader, uint64_t page)
{
    const struct window_leaf *leaf;
    struct window *window = reader->reader.beside;
    ftk_status rc = FTK_OK;

    FTK_ASSERT(atomic_load(&reader->slot->epoch) == 0);
    if (!reader_enters(reader))
        return FTK_OK;
    leaf = leaf_find(window, page);
    if (leaf != NULL)
        rc = leaf_return(reader->db, (uint32_t)(leaf - window->leaves));
    if (rc == FTK_OK && is_asked(window, reader->snapshot.id) &&
        window->returned == window->leaf_count)
        rc = leaves_return(reader->db, 0); /* it was the last one */
    ftk_mutex_unlock(&window->mutex);
    return rc;
}

ftk_status
window_settle_all(kiln_txn *reader)
{
    struct window *window = reader->reader.beside;
    ftk_status rc = FTK_OK;

    FTK_ASSERT(atomic_load(&reader->slot->epoch) == 0);
    while (rc == FTK_OK && reader_enters(reader)) {
        rc = leaves_return(reader->db, UINT32_MAX);
        ftk_mutex_unlock(&window->mutex);
    }
    return rc;
}

/* ---- T --------------------------------------------------------------------------------------- */

/* T is asked for its leaves and needs none of them returned itself: so it does not try again what
 * could not be read, which may take its time, and its call, which goes on, keeps the error that it
 * may have on its way out. */
static void
some_return(kiln_txn *txn)
{
    struct ftk_error before = *ftk_error_last();

    if (!txn->window->unreadable && leaves_return(txn->db, RETURN_SOME) != FTK_OK)
        ftk_error_set(&before);
}

void
window_hold(kiln_txn *txn)
{
    struct window *window = txn->window;

    FTK_ASSERT(!window->held && window_state(window) != WINDOW_UNTRIED);
    ftk_mutex_lock(&window->mutex);
    FTK_ASSERT(atomic_load_explicit(&txn->slot->epoch, memory_order_relaxed) == 0);
    if (window_state(window) == WINDOW_ASKED)
        some_return(txn);
    if (has_leaves(window_state(window))) {
        window->held = true;
        return;
    }
    if (window_state(window) == WINDOW_SHUT)
        txn->window = NULL;
    ftk_mutex_unlock(&window->mutex);
}

void
window_let(kiln_txn *txn)
{
    struct window *window = txn->window;

    FTK_ASSERT(window->held);
    FTK_ASSERT(atomic_load_explicit(&txn->writer.prepared, memory_order_relaxed) >=
               atomic_load_explicit(&window->reserved, memory_order_relaxed));
    window->held = false;
    ftk_mutex_unlock(&window->mutex);
}

ftk_status
window_end(kiln_txn *txn)
{
    struct window *window = txn->window;
    ftk_status rc = FTK_OK;

    if (window == NULL)
        return FTK_OK;
    FTK_ASSERT(!window->held);
    if (window_state(window) == WINDOW_UNTRIED) {
        window_shut(window, WINDOW_UNTRIED);
        txn->window = NULL;
        return FTK_OK;
    }
    ftk_mutex_lock(&window->mutex);
    ask(window);
    if (window_state(window) == WINDOW_ASKED)
        rc = leaves_return(txn->db, UINT32_MAX);
    ftk_mutex_unlock(&window->mutex);
    if (rc != FTK_OK)
        return rc; /* it stays, and the next call that needs its end tries again */
    FTK_ASSERT(window_state(window) == WINDOW_SHUT);
    txn->window = NULL;
    return FTK_OK;
}

ftk_status
window_commit_begin(kiln_txn *txn, bool *decided_out)
{
    struct window *window = txn->window;

    *decided_out = true;
    if (window == NULL)
        return FTK_OK;
    if (window_state(window) == WINDOW_UNTRIED)
        return window_end(txn);
    ftk_mutex_lock(&window->mutex);
    if (window_move(window, WINDOW_OPEN, WINDOW_COMMITTING)) {
        FTK_DEBUG_ASSERT((check_held(txn->db), true));
        window->held = true;
        return FTK_OK;
    }
    ftk_mutex_unlock(&window->mutex);
    *decided_out = false;
    return window_end(txn);
}

void
window_commit_cancel(kiln_txn *txn)
{
    FTK_ASSERT(txn->window->held);
    window_must_move(txn->window, WINDOW_COMMITTING, WINDOW_OPEN);
    FTK_DEBUG_ASSERT((check_held(txn->db), true));
    window_let(txn);
}

void
window_commit_end(kiln_txn *txn)
{
    struct window *window = txn->window;

    FTK_ASSERT(window->held && window_state(window) == WINDOW_COMMITTING);
    FTK_ASSERT(db_published_id(txn->db) > window->base);
    atomic_fetch_add_explicit(&window->changes, window->undo.count, memory_order_relaxed);
    window_shut(window, WINDOW_COMMITTING);
    FTK_DEBUG_ASSERT((check_held(txn->db), true));
    window->held = false;
    txn->window = NULL;
    ftk_mutex_unlock(&window->mutex);
}

void
window_abort(kiln_txn *txn)
{
    struct window *window = txn->window;
    enum window_state state;

    if (window == NULL)
        return;
    if (!window->held)
        ftk_mutex_lock(&window->mutex);
    FTK_DEBUG_ASSERT((check_held(txn->db), true));
    state = window_state(window);
    if (has_leaves(state))
        undo_all(window);
    if (state != WINDOW_SHUT)
        window_shut(window, state);
    FTK_DEBUG_ASSERT((check_held(txn->db), true));
    window->held = false;
    txn->window = NULL;
    ftk_mutex_unlock(&window->mutex);
}
