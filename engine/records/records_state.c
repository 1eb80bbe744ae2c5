/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/records/records_state.c -- the records state of a transaction: its life, its dictionary,
 * its flush.
 *
 * The dictionary of a database is kept once for all transactions that see the same version of it
 * (records_db).  A transaction compares its snapshot's version, one small get, with the kept one.
 * Only a version that was committed is kept: one read by a transaction that has not changed it.
 */
#include <string.h>

#include "engine/records/records_internal.h"
#include "ftk/bytes.h"
#include "ftk/mem.h"

enum { HIGHS = 8 };

/* What the last commits knew of a container: spares the next transaction two reads. */
struct records_high {
    uint64_t txn_id; /* of the commit */
    kiln_container container;
    uint64_t high, kept; /* as in record_gather */
};

/* Ids of a container that kiln chose, be it in transactions that did not commit. */
struct records_given {
    kiln_container container;
    uint64_t id; /* the last one */
};

struct records_db {
    uint32_t number_next[3];     /* fields, containers, indexes; of the holder of the writer lock */
    struct records_given *given; /* his too */
    uint32_t given_count, given_capacity;
    struct records_high highs[HIGHS]; /* of the holder of the writer lock */
    uint32_t high_last;
    struct ftk_mutex mutex; /* guards dict, coll_known and dict_coll; taken last of all */
    struct dict *dict;
    bool coll_known;
    kiln_coll dict_coll;
    _Atomic(struct records_txn *) spare; /* an ended transaction's state with its memory */
};

/* ---- life ------------------------------------------------------------------------------------ */

static ftk_status
db_find(kiln_txn *txn, struct records_db **db_out)
{
    void **slot = extension_db(txn);
    struct records_db *db = __atomic_load_n(slot, __ATOMIC_ACQUIRE);
    void *expected = NULL;
    ftk_status rc = FTK_OK;

    if (FTK_UNLIKELY(db == NULL)) {
        rc = FTK_NEW(&db);
        if (rc != FTK_OK)
            return rc;
        ftk_mutex_init(&db->mutex);
        if (!__atomic_compare_exchange_n(slot, &expected, db, false, __ATOMIC_ACQ_REL,
                                         __ATOMIC_ACQUIRE)) {
            ftk_mutex_release(&db->mutex);
            ftk_free(db); /* another thread was first */
            db = expected;
        }
    }
    *db_out = db;
    return rc;
}

static void
state_free(struct records_txn *state)
{
    if (state == NULL)
        return;
    for (uint32_t i = 0; i < state->gather_capacity; i++) {
        ftk_free(state->gathers[i].keys);
        ftk_free(state->gathers[i].ends);
        ftk_free(state->gathers[i].bodies);
    }
    for (uint32_t i = 0; i < state->batch_capacity; i++)
        index_batch_release(&state->batches[i]);
    ftk_free(state->gathers);
    ftk_free(state->used);
    ftk_free(state->batches);
    index_scan_release(&state->scan);
    index_scan_release(&state->scan_old);
    record_release(&state->record_old);
    index_batch_release(&state->keys_old);
    index_batch_release(&state->keys_new);
    index_sorter_release(&state->sorter);
    index_suspects_release(state);
    ftk_free(state->slices);
    ftk_free(state);
}

void
records_db_end(void *db_state)
{
    struct records_db *db = db_state;

    if (db == NULL)
        return;
    FTK_ASSERT(db->given_count <= db->given_capacity && db->high_last < HIGHS);
    dict_release(db->dict);
    ftk_free(db->given);
    state_free(atomic_load_explicit(&db->spare, memory_order_acquire));
    ftk_mutex_release(&db->mutex);
    ftk_free(db);
}

/* Is its memory small enough to be kept for the next transaction? */
static bool
state_is_small(const struct records_txn *state)
{
    size_t bytes = state->keys_old.keys_capacity + state->keys_new.keys_capacity +
                   state->record_old.body_capacity +
                   state->slice_capacity * 2 * sizeof(kiln_slice) +
                   (size_t)state->sorter.capacity * 2 * sizeof(*state->sorter.entries);

    FTK_ASSERT(state->used_count == 0);
    bytes += state->idle_bytes;
    for (uint32_t i = 0; i < state->batch_capacity; i++)
        bytes += state->batches[i].keys_capacity +
                 state->batches[i].capacity * sizeof(struct index_change);
    return bytes <= 4u << 20;
}

void
records_txn_end(kiln_txn *txn)
{
    void **slot = extension_txn(txn).state;
    struct records_txn *state = *slot;
    struct records_txn *expected = NULL;

    if (state == NULL)
        return;
    *slot = NULL;
    FTK_ASSERT(state->txn == txn);
    FTK_DEBUG_ASSERT((records_state_check(state), true));
    records_forget(state);
    index_suspects_release(state);
    if (!state_is_small(state) ||
        !atomic_compare_exchange_strong_explicit(&state->db->spare, &expected, state,
                                                 memory_order_acq_rel, memory_order_relaxed))
        state_free(state);
}

static size_t
gather_bytes(const struct record_gather *gather)
{
    return gather->bodies_capacity + (size_t)gather->capacity * 12;
}

void
records_use(struct records_txn *state, const struct dict_container *container)
{
    struct record_gather *gather = &state->gathers[container->position];

    FTK_ASSERT(state->write && container->position < state->gather_capacity);
    if (FTK_LIKELY(gather->used))
        return;
    FTK_ASSERT(state->used_count < state->gather_capacity && gather->count == 0 && !gather->known);
    FTK_ASSERT(state->idle_bytes >= gather_bytes(gather));
    gather->used = true;
    state->idle_bytes -= gather_bytes(gather);
    state->used[state->used_count++] = container->position;
}

/* ---- what is given once ---------------------------------------------------------------------- */

uint32_t *
records_numbers(struct records_txn *state, int kind)
{
    FTK_ASSERT(state->write);
    return &state->db->number_next[kind == DICT_KIND_FIELD       ? 0
                                   : kind == DICT_KIND_CONTAINER ? 1
                                                                 : 2];
}

/* The place of the first container that is not below this one: they ascend. */
static struct records_given *
given_place(struct records_db *db, kiln_container container)
{
    uint32_t low = 0, high = db->given_count;

    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (db->given[middle].container < container)
            low = middle + 1;
        else
            high = middle;
    }
    return db->given + low;
}

static bool
given_is(const struct records_db *db, const struct records_given *given, kiln_container container)
{
    return given < db->given + db->given_count && given->container == container;
}

ftk_status
records_given_learn(struct records_txn *state, kiln_container container,
                    struct record_gather *gather)
{
    struct records_db *db = state->db;
    const struct records_given *given = given_place(db, container);
    uint32_t capacity = db->given_capacity == 0 ? 16 : 2 * db->given_capacity;
    ftk_status rc;

    FTK_ASSERT(state->write && state->dict != NULL);
    gather->given = 0;
    gather->floor = given_is(db, given, container) ? given->id : 0;
    if (db->given_count + state->dict->container_count <= db->given_capacity)
        return FTK_OK;
    while (capacity < db->given_count + state->dict->container_count)
        capacity *= 2;
    rc = ftk_realloc((void **)&db->given, capacity * sizeof(*db->given));
    if (rc == FTK_OK)
        db->given_capacity = capacity;
    return rc;
}

/* Room was made when the ids were given. */
static void
given_note(struct records_txn *state)
{
    struct records_db *db = state->db;

    for (uint32_t i = 0; i < state->used_count; i++) {
        struct record_gather *gather = &state->gathers[state->used[i]];
        kiln_container container = state->dict->containers[state->used[i]]->number;
        struct records_given *given;
        if (!gather->known || gather->given == 0)
            continue;
        given = given_place(db, container);
        if (!given_is(db, given, container)) {
            FTK_ASSERT(db->given_count < db->given_capacity);
            memmove(given + 1, given,
                    (size_t)(db->given + db->given_count - given) * sizeof(*given));
            *given = (struct records_given){container, 0};
            db->given_count++;
        }
        if (given->id < gather->given)
            given->id = gather->given;
        gather->given = 0;
    }
}

void
records_forget(struct records_txn *state)
{
    FTK_ASSERT(state->used_count == 0 || state->dict != NULL);
    given_note(state);
    for (uint32_t i = 0; i < state->used_count; i++) {
        struct record_gather *gather = &state->gathers[state->used[i]];
        gather->used = gather->known = false;
        gather->count = 0;
        gather->bodies_bytes = 0;
        state->idle_bytes += gather_bytes(gather);
    }
    state->used_count = 0;
    for (uint32_t i = 0; i < state->batch_capacity; i++)
        index_batch_clear(&state->batches[i]);
    state->pending_bytes = 0;
    dict_release(state->dict);
    state->dict = NULL;
    state->dict_own = false;
    state->container_last = NULL;
}

/* ---- highest ids ----------------------------------------------------------------------------- */

bool
records_high_recall(const struct records_txn *state, kiln_container container,
                    struct record_gather *gather)
{
    const struct records_high *high = state->db->highs;

    if (!state->recalls)
        return false;
    for (; high < state->db->highs + HIGHS; high++) {
        /* The commit that this transaction begins from: nobody has changed the container since. */
        if (high->txn_id == state->snapshot_id && high->container == container) {
            gather->high = high->high;
            gather->kept = high->kept;
            gather->known = true;
            return true;
        }
    }
    return false;
}

/* Before a commit.  Should it fail, its number is given to no other commit, or to one that comes by
 * here as well, or to one that changes no records: an id may then be left out, never given
 * twice. */
void
records_highs_remember(struct records_txn *state)
{
    struct records_db *db = state->db;
    struct records_high *high;

    for (uint32_t i = 0; i < state->used_count; i++) {
        const struct record_gather *gather = &state->gathers[state->used[i]];
        kiln_container container = state->dict->containers[state->used[i]]->number;
        if (!gather->known)
            continue;
        FTK_ASSERT(gather->count == 0); /* flushed before: rule 3 */
        FTK_ASSERT(gather->kept <= gather->high);
        high = &db->highs[db->high_last];
        if (high->container != container)
            high = &db->highs[db->high_last = (db->high_last + 1) % HIGHS];
        high->txn_id = extension_txn_birth(state->txn);
        high->container = container;
        high->high = gather->high;
        high->kept = gather->kept;
    }
}

/* ---- dictionary ------------------------------------------------------------------------------ */

/* The kept dictionary when it is of this version, else NULL; with a reference. */
static struct dict *
kept_dict(struct records_db *db, uint64_t version)
{
    struct dict *dict;

    ftk_mutex_lock(&db->mutex);
    dict = db->dict;
    if (dict != NULL && dict->version == version)
        dict_retain(dict);
    else
        dict = NULL;
    ftk_mutex_unlock(&db->mutex);
    return dict;
}

static void
keep_dict(struct records_txn *state)
{
    struct records_db *db = state->db;
    struct dict *old = NULL;

    FTK_ASSERT(!state->dict_changed && !state->dict_own && state->dict->version > 0);
    ftk_mutex_lock(&db->mutex);
    db->coll_known = true;
    db->dict_coll = state->dict_coll;
    if (db->dict == NULL || db->dict->version < state->dict->version) {
        old = db->dict;
        dict_retain(state->dict);
        db->dict = state->dict;
    }
    ftk_mutex_unlock(&db->mutex);
    dict_release(old);
}

/* Find the dictionary's collection and version; version 0: there is none in this snapshot. */
static ftk_status
version_find(struct records_txn *state, uint64_t *version_out)
{
    struct records_db *db = state->db;
    ftk_status rc = FTK_OK;

    *version_out = 0;
    if (!state->coll_known && !state->dict_changed) {
        ftk_mutex_lock(&db->mutex);
        state->coll_known = db->coll_known;
        state->dict_coll = db->dict_coll;
        ftk_mutex_unlock(&db->mutex);
    }
    if (state->coll_known) {
        rc = dict_version_read(state->txn, state->dict_coll, version_out);
        if (FTK_LIKELY(rc == FTK_OK))
            return rc;
        state->coll_known = false; /* the snapshot is older than the collection, or an error */
    }
    rc = coll_open_internal(state->txn, DICT_COLLECTION, DICT_COLLECTION_BYTES, 0,
                            &state->dict_coll);
    if (rc == FTK_OK) {
        state->coll_known = true;
        rc = dict_version_read(state->txn, state->dict_coll, version_out);
    }
    return rc == FTK_NOTFOUND ? FTK_OK : rc;
}

ftk_status
records_dict_find(struct records_txn *state)
{
    uint64_t version;
    ftk_status rc;

    FTK_ASSERT(state->dict == NULL && state->pending_bytes == 0);
    FTK_TRY(version_find(state, &version));
    if (version == 0) {
        rc = dict_new(&state->dict);
        goto out;
    }
    if (!state->dict_changed)
        state->dict = kept_dict(state->db, version);
    if (state->dict == NULL) {
        FTK_TRY(dict_load(state->txn, state->dict_coll, &state->dict));
        if (!state->dict_changed)
            keep_dict(state);
    }
    FTK_ASSERT(state->dict->version == version);
out:
    return rc;
}

/* Room for the positions of the dictionary; a read transaction gathers nothing. */
ftk_status
records_positions_room(struct records_txn *state)
{
    void *memory;
    uint32_t capacity;
    ftk_status rc = FTK_OK;

    if (!state->write)
        return FTK_OK;
    if (state->dict->container_count > state->gather_capacity) {
        capacity = state->dict->container_count + state->dict->container_count / 4 + 4;
        memory = state->used;
        FTK_TRY(ftk_realloc(&memory, capacity * sizeof(*state->used)));
        state->used = memory;
        memory = state->gathers;
        FTK_TRY(ftk_realloc(&memory, capacity * sizeof(*state->gathers)));
        state->gathers = memory;
        memset(state->gathers + state->gather_capacity, 0,
               (capacity - state->gather_capacity) * sizeof(*state->gathers));
        state->gather_capacity = capacity;
    }
    if (state->dict->index_count > state->batch_capacity) {
        capacity = state->dict->index_count + 4;
        memory = state->batches;
        FTK_TRY(ftk_realloc(&memory, capacity * sizeof(*state->batches)));
        state->batches = memory;
        memset(state->batches + state->batch_capacity, 0,
               (capacity - state->batch_capacity) * sizeof(*state->batches));
        state->batch_capacity = capacity;
    }
    FTK_ASSERT(state->dict->container_count <= state->gather_capacity);
    FTK_ASSERT(state->dict->index_count <= state->batch_capacity);
out:
    return rc;
}

ftk_status
records_state_new(kiln_txn *txn, void **slot)
{
    struct records_txn *state;
    struct records_db *db;
    ftk_status rc;

    FTK_TRY(db_find(txn, &db));
    state = atomic_exchange_explicit(&db->spare, NULL, memory_order_acq_rel);
    if (state == NULL)
        FTK_TRY(FTK_NEW(&state));
    FTK_ASSERT(state->dict == NULL && state->pending_bytes == 0 && state->suspect_count == 0);
    state->txn = txn;
    state->db = db;
    state->write = extension_txn_writes(txn);
    state->recalls = true;
    state->dict_changed = false;
    state->coll_known = false;
    *slot = state;
out:
    return rc;
}

ftk_status
records_container(struct records_txn *state, kiln_container number,
                  const struct dict_container **container_out)
{
    const struct dict_container *last = state->container_last;

    if (FTK_UNLIKELY(last == NULL || last->number != number)) {
        last = dict_container_of(state->dict, number);
        if (last == NULL)
            return FTK_FAIL(FTK_NOTFOUND, "there is no container %u", number);
        state->container_last = last;
    }
    FTK_DEBUG_ASSERT(state->dict->containers[last->position] == last);
    *container_out = last;
    return FTK_OK;
}

ftk_status
records_index(const struct records_txn *state, kiln_index number,
              const struct dict_index **index_out)
{
    *index_out = dict_index_of(state->dict, number);
    if (*index_out == NULL)
        return FTK_FAIL(FTK_NOTFOUND, "there is no index %u", number);
    return FTK_OK;
}

/* ---- flush ----------------------------------------------------------------------------------- */

ftk_status
records_slices(struct records_txn *state, size_t count, kiln_slice **keys_out,
               kiln_slice **values_out)
{
    size_t capacity = state->slice_capacity == 0 ? 256 : state->slice_capacity;
    void *memory = NULL;
    ftk_status rc = FTK_OK;

    if (count > state->slice_capacity) {
        while (capacity < count)
            capacity *= 2;
        FTK_TRY(ftk_alloc(2 * capacity * sizeof(*state->slices), &memory));
        ftk_free(state->slices);
        state->slices = memory;
        state->slice_capacity = capacity;
    }
    FTK_ASSERT(count <= state->slice_capacity);
    *keys_out = state->slices;
    *values_out = state->slices + state->slice_capacity;
    if (count > 0)
        memset(*values_out, 0, count * sizeof(**values_out));
out:
    return rc;
}
