/* engine/txn/window.c -- the window of a transaction: open, lock, leaves, undo memory. */
#include "engine/txn/window.h"

#include <string.h>

#include "engine/txn/txn_state.h"
#include "ftk/mem.h"

enum {
    LEAVES_MAX = 2048,
    SET_SLOTS = 2 * LEAVES_MAX, /* power of two */
    CACHE_PART = 128,           /* at most this part of the cache's pages are such leaves */
    UNDO_MAX = 1 << 16,
    BYTES_MAX = 4 << 20,
    UNDO_KEPT = 4096, /* memory for so much stays with the transaction object */
    BYTES_KEPT = 256 << 10,
    REST = 256, /* transactions, after a reader came in */
};

void
in_place_db_init(kiln_db *db, void (*give_back)(kiln_db *db))
{
    db->in_place.give_back = give_back;
    ftk_mutex_init(&db->in_place.mutex);
}

void
in_place_db_release(kiln_db *db)
{
    ftk_mutex_release(&db->in_place.mutex);
}

void
in_place_release(kiln_txn *txn)
{
    struct in_place *mine = &txn->in_place;

    ftk_free(mine->leaves);
    ftk_free(mine->set);
    ftk_free(mine->undo);
    ftk_free(mine->bytes);
    ftk_free(mine->value);
}

void
in_place_begin(kiln_txn *txn, bool allowed)
{
    struct in_place_db *shared = &txn->db->in_place;
    struct in_place *mine = &txn->in_place;

    if (atomic_load_explicit(&shared->rest, memory_order_relaxed) > 0) {
        atomic_fetch_sub(&shared->rest, 1); /* only the holder of the writer queue takes from it */
        allowed = false;
    }
    mine->state = allowed ? IN_PLACE_UNTRIED : IN_PLACE_SHUT;
    atomic_store_explicit(&mine->failed, FTK_OK, memory_order_relaxed);
}

bool
in_place_lock(kiln_txn *txn)
{
    struct in_place *mine = &txn->in_place;

    if (mine->locked)
        return true;
    ftk_mutex_lock(&txn->db->in_place.mutex);
    if (!atomic_load_explicit(&mine->open, memory_order_relaxed)) { /* given back meanwhile */
        ftk_mutex_unlock(&txn->db->in_place.mutex);
        mine->state = IN_PLACE_SHUT;
        return false;
    }
    mine->locked = true;
    return true;
}

void
in_place_unlock(kiln_txn *txn)
{
    txn->in_place.locked = false;
    ftk_mutex_unlock(&txn->db->in_place.mutex);
}

static uint32_t
set_slot(const struct in_place *mine, uint64_t page)
{
    uint32_t slot = (uint32_t)(page * UINT64_C(0x9e3779b97f4a7c15) >> 40) & (SET_SLOTS - 1);

    while (mine->set[slot] != 0 && mine->leaves[mine->set[slot] - 1].page != page)
        slot = (slot + 1) & (SET_SLOTS - 1);
    return slot;
}

bool
in_place_has(const kiln_txn *txn, uint64_t page)
{
    const struct in_place *mine = &txn->in_place;

    return mine->set[set_slot(mine, page)] != 0;
}

/* Pages that giving this leaf back can make and retire; ancestors shared with the last leaf count
 * once. */
static uint32_t
pages_for(struct in_place *mine, const struct tree_path *path)
{
    uint32_t pages = 1;

    for (uint32_t d = 0; d + 1 < path->depth; d++) {
        pages += path->page[d] != mine->last_path[d];
        mine->last_path[d] = path->page[d];
    }
    return 2 * pages;
}

static bool
leaf_add(kiln_txn *txn, struct tree *tree, const struct tree_path *path, uint32_t slot)
{
    struct in_place *mine = &txn->in_place;

    if (mine->leaf_count == mine->leaves_max)
        return false;
    if (mine->leaf_count == mine->leaf_capacity) {
        uint32_t capacity = mine->leaf_capacity == 0 ? 64 : 2 * mine->leaf_capacity;
        if (ftk_realloc((void **)&mine->leaves, capacity * sizeof(*mine->leaves)) != FTK_OK)
            return false;
        mine->leaf_capacity = capacity;
    }
    atomic_fetch_add_explicit(&mine->reserved, pages_for(mine, path), memory_order_relaxed);
    mine->leaves[mine->leaf_count++] =
        (struct in_place_leaf){.page = path->page[path->depth - 1], .tree = tree, .slot = slot};
    mine->set[slot] = mine->leaf_count;
    return true;
}

static ftk_status
memory_get(kiln_txn *txn)
{
    struct in_place *mine = &txn->in_place;
    ftk_status rc = FTK_OK;

    if (mine->set == NULL)
        rc = FTK_NEW_ARRAY(&mine->set, SET_SLOTS);
    if (rc == FTK_OK && mine->value == NULL)
        rc = ftk_alloc(txn->db->page_bytes, (void **)&mine->value);
    return rc;
}

/* The first older leaf.  Inside an epoch; when the window is open then, the mutex is held. */
static void
window_open(kiln_txn *txn)
{
    kiln_db *db = txn->db;
    struct in_place_db *shared = &db->in_place;
    struct in_place *mine = &txn->in_place;
    uint64_t pages = cache_limit() / db->page_bytes / CACHE_PART;

    mine->state = IN_PLACE_SHUT;
    if (memory_get(txn) != FTK_OK)
        return;
    ftk_mutex_lock(&shared->mutex);
    atomic_store(&shared->open, true); /* announced: now look */
    mine->above = snapshots_reached(db);
    if (mine->above >= db->newest.id || db_published_id(db) != db->newest.id) {
        atomic_store(&shared->open, false);
        ftk_mutex_unlock(&shared->mutex);
        return;
    }
    shared->txn = txn;
    shared->number++;
    mine->leaves_max = pages < LEAVES_MAX ? (uint32_t)pages : LEAVES_MAX;
    memset(mine->last_path, 0, sizeof(mine->last_path));
    mine->state = IN_PLACE_OPEN;
    mine->locked = true;
    atomic_store(&mine->open, true);
}

/* While the mutex is held and the window open, no checkpoint has pinned what may be changed: one
 * that has announced itself since waits for the mutex (window.h, invariant 2). */
static bool
pins_are_below(const kiln_txn *txn)
{
    uint64_t pin = atomic_load(&txn->db->checkpoint_pin);

    return pin == PIN_ALL || pin <= txn->in_place.above;
}

/* The leaf of the path may be changed in place. */
bool
window_leaf_take(kiln_txn *txn, struct tree *tree, const struct tree_path *path)
{
    struct in_place *mine = &txn->in_place;
    uint64_t page = path->page[path->depth - 1];
    uint64_t birth = node_birth(cache_address(txn->fast, page));
    uint32_t slot;

    if (txn_page_mine(txn, birth) || tree == &txn->catalog)
        return false;
    if (mine->state == IN_PLACE_OPEN && !mine->locked)
        mine->state = IN_PLACE_SHUT; /* given back */
    if (mine->state == IN_PLACE_UNTRIED)
        window_open(txn);
    if (mine->state == IN_PLACE_SHUT)
        return false;
    FTK_DEBUG_ASSERT(pins_are_below(txn));
    if (birth <= mine->above)
        return false;
    slot = set_slot(mine, page);
    return mine->set[slot] != 0 || leaf_add(txn, tree, path, slot);
}

bool
in_place_expected(const kiln_txn *txn, uint64_t birth)
{
    const struct in_place *mine = &txn->in_place;

    if (mine->state == IN_PLACE_UNTRIED)
        return birth > atomic_load_explicit(&txn->db->checkpoint_pin, memory_order_relaxed);
    return mine->state == IN_PLACE_OPEN && birth > mine->above;
}

/* Room for one more change and the old bytes that it needs. */
bool
window_undo_room(struct in_place *mine, size_t bytes)
{
    size_t capacity;

    if (mine->undo_count == mine->undo_capacity) {
        capacity = mine->undo_capacity == 0 ? 64 : 2 * mine->undo_capacity;
        if (capacity > UNDO_MAX ||
            ftk_realloc((void **)&mine->undo, capacity * sizeof(*mine->undo)) != FTK_OK)
            return false;
        mine->undo_capacity = capacity;
    }
    if (mine->bytes_used + bytes <= mine->bytes_capacity)
        return true;
    capacity = mine->bytes_capacity == 0 ? 4096 : mine->bytes_capacity;
    while (capacity < mine->bytes_used + bytes)
        capacity *= 2;
    if (capacity > BYTES_MAX || ftk_realloc((void **)&mine->bytes, capacity) != FTK_OK)
        return false;
    mine->bytes_capacity = capacity;
    return true;
}

void
window_undo_push(struct in_place *mine, const struct in_place_undo *undo)
{
    mine->undo[mine->undo_count++] = *undo;
    mine->bytes_used += (size_t)undo->key_size + undo->value_size;
}

/* Objects are used again, by readers too: what one large transaction wanted goes back. */
static void
memory_trim(struct in_place *mine)
{
    if (mine->undo_capacity > UNDO_KEPT) {
        ftk_free(mine->undo);
        mine->undo = NULL;
        mine->undo_capacity = 0;
    }
    if (mine->bytes_capacity > BYTES_KEPT) {
        ftk_free(mine->bytes);
        mine->bytes = NULL;
        mine->bytes_capacity = 0;
    }
}

/* The window is no more; mutex held. */
void
window_shut(kiln_txn *txn)
{
    struct in_place *mine = &txn->in_place;

    for (uint32_t i = 0; i < mine->leaf_count; i++)
        mine->set[mine->leaves[i].slot] = 0;
    mine->leaf_count = 0;
    mine->undo_count = 0;
    mine->bytes_used = 0;
    memory_trim(mine);
    atomic_store_explicit(&mine->reserved, 0, memory_order_relaxed);
    atomic_store(&mine->open, false);
    txn->db->in_place.txn = NULL;
    atomic_store(&txn->db->in_place.open, false);
}

void
in_place_commit(kiln_txn *txn)
{
    atomic_fetch_add_explicit(&txn->db->in_place.changes, txn->in_place.undo_count,
                              memory_order_relaxed);
    window_shut(txn);
    in_place_unlock(txn);
}

ftk_status
in_place_end_slow(kiln_txn *txn)
{
    ftk_status rc;

    if (txn->in_place.state == IN_PLACE_OPEN && in_place_lock(txn)) {
        txn->in_place.locked = false; /* give_back may let it go */
        txn->db->in_place.give_back(txn->db);
        ftk_mutex_unlock(&txn->db->in_place.mutex);
    }
    txn->in_place.state = IN_PLACE_SHUT;
    rc = (ftk_status)atomic_load(&txn->in_place.failed);
    return rc == FTK_OK ? FTK_OK : FTK_FAIL(rc, "changes made in place could not be moved: abort");
}

void
in_place_yield(kiln_db *db)
{
    ftk_mutex_lock(&db->in_place.mutex);
    if (atomic_load(&db->in_place.open)) {
        atomic_store(&db->in_place.rest, REST);
        db->in_place.give_back(db);
    }
    ftk_mutex_unlock(&db->in_place.mutex);
}

void
in_place_pin_all(kiln_db *db)
{
    atomic_store(&db->checkpoint_pin, PIN_ALL); /* announced: now look */
    ftk_mutex_lock(&db->in_place.mutex);
    if (atomic_load(&db->in_place.open))
        db->in_place.give_back(db);
    ftk_mutex_unlock(&db->in_place.mutex);
}
