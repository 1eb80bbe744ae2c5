/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/records/index_unique.c -- unique indexes: whose values are suspect, and the judgement.
 *
 * Unique: no two records have the same values in all parts.  Entries with a missing part conflict
 * with none (as NULL in SQL).  Texts that are truncated in the key are compared in the records.
 *
 * Uniqueness is a promise about what is committed.  So it is judged at the commit, and does not
 * depend on how changes were gathered on the way: a transaction may move a million records through
 * each other's values as long as its end is unique.
 *
 * 1. Values are suspect when an entry was put beside another entry with the same values.  If two
 *    records have the same values at the commit, their values are suspect: what the transaction
 *    began from is unique, so it put one of the two entries while the other was there.
 * 2. Suspects are kept by number of index and by values, not by position in the dictionary, and
 *    survive a rollback to a savepoint.  One too many does no harm: the judgement looks again.
 * 3. Suspects that are none any more are dropped when their memory passes SUSPECT_BYTES_MAX.  If
 *    that does not help, `all` takes their place: the judgement walks the whole index.
 * 4. While a savepoint is open they are not dropped but settled: a rollback may bring the state
 *    back in which two records had these values.  After a rollback what is settled is judged again.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/records/keycode.h"
#include "engine/records/records_internal.h"
#include "ftk/bytes.h"
#include "ftk/checksum.h"
#include "ftk/mem.h"

enum { SUSPECT_BYTES_MAX = 4 << 20 };

/* ---- truncated texts: whole values are compared ---------------------------------------------- */

/* A whole key of a record, by two checksums: only equal ones are compared byte by byte. */
struct whole {
    uint64_t sums[2];
    kiln_container container;
    uint64_t id;
};

struct wholes {
    struct whole *list;
    size_t count, capacity;
};

/* The whole keys of a record whose truncated keys have these values. */
static ftk_status
whole_keys(struct records_txn *state, const struct dict_index *index, const struct whole *of,
           const kiln_slice *values, struct index_batch *wholes)
{
    struct index_batch *keys = &state->keys_old;
    const struct dict_container *container;
    const struct index_plan_use *use;
    struct kiln_record record;
    uint32_t kept = 0;
    ftk_status rc;

    record_init(&record);
    index_batch_clear(keys);
    index_batch_clear(wholes);
    FTK_TRY(records_container(state, of->container, &container));
    FTK_TRY(records_read(state, container, of->id, &record));
    FTK_TRY(index_scan(&state->scan_old, &state->dict->types, &container->plan, &record));
    use = index_plan_use_of(&container->plan, index);
    FTK_ASSERT(use != NULL);
    FTK_TRY(index_keys_push(keys, &state->scan_old, use, of->container, of->id, 0));
    FTK_TRY(index_keys_push_whole(wholes, &state->scan_old, use));
    FTK_ASSERT(keys->count == wholes->count); /* combination by combination */
    for (uint32_t i = 0; i < keys->count; i++) {
        const struct index_change *change = &keys->changes[i];
        if (change->values_bytes == values->size &&
            memcmp(keys->keys + change->offset, values->data, values->size) == 0)
            wholes->changes[kept++] = wholes->changes[i];
    }
    FTK_ASSERT(kept <= wholes->count);
    wholes->count = kept;
out:
    record_release(&record);
    return rc;
}

static ftk_status
wholes_add(struct records_txn *state, const struct dict_index *index, kiln_container container,
           uint64_t id, const kiln_slice *values, struct wholes *wholes)
{
    struct whole whole = {.container = container, .id = id};
    struct index_batch batch = {0};
    ftk_status rc;

    FTK_TRY(whole_keys(state, index, &whole, values, &batch));
    for (uint32_t i = 0; i < batch.count; i++) {
        const uint8_t *key = batch.keys + batch.changes[i].offset;
        if (wholes->count == wholes->capacity) {
            size_t capacity = wholes->capacity == 0 ? 64 : 2 * wholes->capacity;
            void *memory = wholes->list;
            FTK_TRY(ftk_realloc(&memory, capacity * sizeof(*wholes->list)));
            wholes->list = memory;
            wholes->capacity = capacity;
        }
        whole.sums[0] = ftk_checksum(key, batch.changes[i].key_bytes, 1);
        whole.sums[1] = ftk_checksum(key, batch.changes[i].key_bytes, 2);
        wholes->list[wholes->count++] = whole;
    }
out:
    index_batch_release(&batch);
    return rc;
}

static int
whole_order(const void *left, const void *right)
{
    const struct whole *a = left, *b = right;

    if (a->sums[0] != b->sums[0])
        return a->sums[0] < b->sums[0] ? -1 : 1;
    if (a->sums[1] != b->sums[1])
        return a->sums[1] < b->sums[1] ? -1 : 1;
    if (a->container != b->container)
        return a->container < b->container ? -1 : 1;
    return a->id < b->id ? -1 : a->id > b->id;
}

/* Have these two records a whole key in common? */
static ftk_status
whole_equal(struct records_txn *state, const struct dict_index *index, const struct whole *left,
            const struct whole *right, const kiln_slice *values, bool *equal_out)
{
    struct index_batch a = {0}, b = {0};
    ftk_status rc;

    *equal_out = false;
    FTK_TRY(whole_keys(state, index, left, values, &a));
    FTK_TRY(whole_keys(state, index, right, values, &b));
    for (uint32_t i = 0; i < a.count && !*equal_out; i++) {
        for (uint32_t j = 0; j < b.count && !*equal_out; j++)
            *equal_out =
                ftk_bytes_compare(a.keys + a.changes[i].offset, a.changes[i].key_bytes,
                                  b.keys + b.changes[j].offset, b.changes[j].key_bytes) == 0;
    }
out:
    index_batch_release(&a);
    index_batch_release(&b);
    return rc;
}

/* Two records of the list with the same whole key; false: none. */
static ftk_status
wholes_judge(struct records_txn *state, const struct dict_index *index, const kiln_slice *values,
             struct wholes *wholes, uint64_t ids_out[2], bool *conflict_out)
{
    ftk_status rc = FTK_OK;

    if (wholes->count > 1)
        qsort(wholes->list, wholes->count, sizeof(*wholes->list), whole_order);
    for (size_t i = 0; i + 1 < wholes->count && !*conflict_out; i++) {
        const struct whole *left = &wholes->list[i];
        for (size_t j = i + 1; j < wholes->count && !*conflict_out; j++) {
            const struct whole *right = &wholes->list[j];
            if (memcmp(left->sums, right->sums, sizeof(left->sums)) != 0)
                break;
            if (left->container == right->container && left->id == right->id)
                continue;
            FTK_TRY(whole_equal(state, index, left, right, values, conflict_out));
            ids_out[0] = left->id;
            ids_out[1] = right->id;
        }
    }
out:
    return rc;
}

/* ---- one set of values ----------------------------------------------------------------------- */

/* Calls each for the entries with these values; a status other than FTK_OK ends it. */
struct run {
    struct records_txn *state;
    const struct dict_index *index;
    kiln_slice values;
    uint64_t ids[2]; /* of the first two entries */
    uint32_t entries;
    struct wholes *wholes; /* NULL: two entries are enough */
};

static ftk_status
run_entry(struct run *run, const uint8_t *key, size_t key_bytes)
{
    kiln_container container = 0;
    uint64_t id = 0;
    ftk_status rc;

    FTK_TRY(index_suffix_get(run->index, key + run->values.size, key + key_bytes, &container, &id));
    FTK_ASSERT(container != 0 && id != 0 && key_bytes > run->values.size);
    if (run->entries < 2)
        run->ids[run->entries] = id;
    run->entries++;
    if (run->wholes != NULL)
        FTK_TRY(wholes_add(run->state, run->index, container, id, &run->values, run->wholes));
out:
    return rc;
}

static ftk_status
run_walk(struct run *run, kiln_cursor *cursor)
{
    uint8_t copy[KILN_KEY_MAX];
    kiln_slice key;
    ftk_status rc;

    rc = kiln_cursor_seek(cursor, run->values.data, run->values.size);
    for (; rc == FTK_OK; rc = kiln_cursor_next(cursor)) {
        FTK_TRY(kiln_cursor_item(cursor, &key, NULL));
        if (key.size < run->values.size || key.size > sizeof(copy) ||
            memcmp(key.data, run->values.data, run->values.size) != 0)
            goto out;
        memcpy(copy, key.data, key.size); /* records may be read */
        FTK_TRY(run_entry(run, copy, key.size));
        if (run->wholes == NULL && run->entries == 2)
            goto out;
    }
    if (rc == FTK_NOTFOUND)
        rc = FTK_OK;
out:
    return rc;
}

ftk_status
index_unique_judge(struct records_txn *state, const struct dict_index *index, kiln_cursor *cursor,
                   kiln_slice values, bool truncated, uint64_t ids_out[2], bool *conflict_out)
{
    struct run run = {.state = state, .index = index, .values = values};
    struct wholes wholes = {0};
    ftk_status rc;

    *conflict_out = false;
    FTK_TRY(run_walk(&run, cursor));
    ids_out[0] = run.ids[0];
    ids_out[1] = run.ids[1];
    *conflict_out = run.entries == 2 && !truncated;
    if (run.entries == 2 && truncated) {
        run.entries = 0;
        run.wholes = &wholes;
        FTK_TRY(run_walk(&run, cursor));
        rc = wholes_judge(state, index, &values, &wholes, ids_out, conflict_out);
    }
out:
    ftk_free(wholes.list);
    return rc;
}

static ftk_status
conflict_fail(const struct dict_index *index, const uint64_t ids[2])
{
    return FTK_FAIL(FTK_EXISTS, "index '%s' is unique: records %llu and %llu have the same values",
                    index->name, (unsigned long long)ids[0], (unsigned long long)ids[1]);
}

/* ---- the whole index ------------------------------------------------------------------------- */

ftk_status
index_unique_walk(struct records_txn *state, const struct dict_index *index,
                  ftk_status (*each)(void *context, const uint64_t ids[2]), void *context)
{
    uint8_t last[KILN_KEY_MAX], present[KILN_KEY_MAX];
    size_t last_bytes = 0, values_bytes;
    kiln_cursor *cursor = NULL, *judge = NULL;
    bool told = false, conflict;
    uint64_t ids[2];
    unsigned flags;
    kiln_slice key;
    ftk_status rc;

    FTK_TRY(kiln_cursor_open(state->txn, index->coll, KILN_CURSOR_SCAN, &cursor));
    FTK_TRY(kiln_cursor_open(state->txn, index->coll, 0, &judge));
    for (rc = kiln_cursor_first(cursor); rc == FTK_OK; rc = kiln_cursor_next(cursor)) {
        FTK_TRY(kiln_cursor_item(cursor, &key, NULL));
        if (index_values_get(index, key.data, key.size, &values_bytes, &flags) != FTK_OK)
            continue; /* the check of entries tells of it */
        if ((flags & INDEX_CHANGE_MISSING) != 0)
            continue;
        if (last_bytes != values_bytes || memcmp(last, key.data, values_bytes) != 0) {
            memcpy(last, key.data, values_bytes);
            last_bytes = values_bytes;
            told = false;
            continue;
        }
        if (told)
            continue;
        told = true;
        FTK_ASSERT(last_bytes > 0 && last_bytes <= sizeof(present));
        memcpy(present, last, last_bytes);
        FTK_TRY(index_unique_judge(state, index, judge, (kiln_slice){present, last_bytes},
                                   (flags & INDEX_CHANGE_TRUNCATED) != 0, ids, &conflict));
        if (conflict)
            FTK_TRY(each(context, ids));
    }
    if (rc == FTK_NOTFOUND)
        rc = FTK_OK;
out:
    kiln_cursor_close(judge);
    kiln_cursor_close(cursor);
    return rc;
}

static ftk_status
walk_each(void *context, const uint64_t ids[2])
{
    return conflict_fail(context, ids);
}

/* ---- suspects -------------------------------------------------------------------------------- */

static struct index_suspects *
suspects_find(const struct records_txn *state, kiln_index number)
{
    for (uint32_t i = 0; i < state->suspect_count; i++)
        if (state->suspects[i].number == number)
            return &state->suspects[i];
    return NULL;
}

static ftk_status
suspects_of(struct records_txn *state, kiln_index number, struct index_suspects **suspects_out)
{
    void *memory = state->suspects;
    uint32_t capacity = state->suspect_capacity + 4;
    ftk_status rc = FTK_OK;

    *suspects_out = suspects_find(state, number);
    if (*suspects_out != NULL)
        return FTK_OK;
    if (state->suspect_count == state->suspect_capacity) {
        FTK_TRY(ftk_realloc(&memory, capacity * sizeof(*state->suspects)));
        state->suspects = memory;
        state->suspect_capacity = capacity;
    }
    *suspects_out = &state->suspects[state->suspect_count++];
    **suspects_out = (struct index_suspects){.number = number};
out:
    return rc;
}

void
index_suspects_drop(struct records_txn *state, kiln_index number)
{
    struct index_suspects *suspects = suspects_find(state, number);

    if (suspects != NULL) {
        index_batch_release(&suspects->values);
        index_batch_release(&suspects->settled);
        *suspects = state->suspects[--state->suspect_count];
    }
}

void
index_suspects_release(struct records_txn *state)
{
    while (state->suspect_count > 0)
        index_suspects_drop(state, state->suspects[0].number);
    ftk_free(state->suspects);
    state->suspects = NULL;
    state->suspect_capacity = 0;
}

void
index_suspects_doubt(struct records_txn *state)
{
    for (uint32_t i = 0; i < state->suspect_count; i++)
        state->suspects[i].doubted = true;
}

static size_t
batch_bytes(const struct index_batch *batch)
{
    return batch->keys_bytes + batch->count * sizeof(struct index_change);
}

/* Judge each.  left NULL: the first conflict is an error; else it gets those that are conflicts. */
static ftk_status
values_judge(struct records_txn *state, const struct dict_index *index,
             const struct index_batch *values, struct index_batch *left)
{
    const struct index_sort_entry *order;
    kiln_cursor *cursor = NULL;
    uint64_t ids[2];
    uint32_t count;
    bool conflict;
    ftk_status rc;

    FTK_TRY(index_sort(&state->sorter, values, &order, &count));
    FTK_TRY(kiln_cursor_open(state->txn, index->coll, 0, &cursor));
    for (uint32_t i = 0; i < count; i++) {
        const struct index_change *change = &values->changes[order[i].change];
        kiln_slice of = {values->keys + change->offset, change->values_bytes};
        FTK_TRY(index_unique_judge(state, index, cursor, of,
                                   (change->flags & INDEX_CHANGE_TRUNCATED) != 0, ids, &conflict));
        if (conflict && left == NULL)
            FTK_TRY(conflict_fail(index, ids));
        if (conflict)
            FTK_TRY(index_batch_copy(left, values, change, 0));
    }
out:
    kiln_cursor_close(cursor);
    return rc;
}

/* No value is suspect any more: rule 4. */
static ftk_status
suspects_settle(struct records_txn *state, struct index_suspects *suspects)
{
    struct index_batch *values = &suspects->values;
    ftk_status rc = FTK_OK;

    FTK_ASSERT(!suspects->all || values->count == 0);
    if (extension_txn_scoped(state->txn)) {
        suspects->settled_all |= suspects->all;
        for (uint32_t i = 0; i < values->count && !suspects->settled_all; i++) {
            FTK_TRY(index_batch_copy(&suspects->settled, values, &values->changes[i], 0));
            suspects->settled_all = batch_bytes(&suspects->settled) >= SUSPECT_BYTES_MAX;
        }
        if (suspects->settled_all)
            index_batch_release(&suspects->settled);
    }
    index_batch_release(values);
    suspects->all = false;
out:
    return rc;
}

/* Rule 3. */
static ftk_status
suspects_bound(struct records_txn *state, const struct dict_index *index,
               struct index_suspects *suspects)
{
    struct index_batch left = {0};
    ftk_status rc = FTK_OK;

    if (batch_bytes(&suspects->values) < SUSPECT_BYTES_MAX)
        return FTK_OK;
    FTK_TRY(values_judge(state, index, &suspects->values, &left));
    FTK_TRY(suspects_settle(state, suspects));
    if (batch_bytes(&left) >= SUSPECT_BYTES_MAX / 2) {
        suspects->all = true;
    } else {
        suspects->values = left;
        left = (struct index_batch){0};
    }
out:
    index_batch_release(&left);
    return rc;
}

/* Is there an entry beside the one with this key that has the same values? */
static ftk_status
has_other(struct records_txn *state, const struct dict_index *index, kiln_cursor *cursor,
          kiln_slice values, bool *other_out)
{
    struct run run = {.state = state, .index = index, .values = values};
    ftk_status rc = run_walk(&run, cursor);

    *other_out = run.entries == 2;
    return rc;
}

ftk_status
index_unique_note(struct records_txn *state, const struct dict_index *index,
                  const struct index_batch *batch, const struct index_sort_entry *order,
                  uint32_t count)
{
    struct index_suspects *suspects;
    const struct index_change *last = NULL;
    kiln_cursor *cursor = NULL;
    bool other;
    ftk_status rc;

    FTK_ASSERT((index->flags & KILN_UNIQUE) != 0 && count <= batch->count);
    FTK_TRY(suspects_of(state, index->number, &suspects));
    if (suspects->all)
        goto out;
    FTK_TRY(kiln_cursor_open(state->txn, index->coll, 0, &cursor));
    for (uint32_t i = 0; i < count; i++) {
        const struct index_change *change = &batch->changes[order[i].change];
        kiln_slice values = {batch->keys + change->offset, change->values_bytes};
        if ((change->flags & (INDEX_CHANGE_DELETE | INDEX_CHANGE_MISSING)) != 0)
            continue;
        if (last != NULL && last->values_bytes == values.size &&
            memcmp(batch->keys + last->offset, values.data, values.size) == 0)
            continue;
        last = change;
        FTK_TRY(has_other(state, index, cursor, values, &other));
        if (other)
            FTK_TRY(index_batch_values(&suspects->values, batch, change));
    }
    rc = suspects_bound(state, index, suspects);
out:
    kiln_cursor_close(cursor);
    return rc;
}

ftk_status
index_suspects_judge(struct records_txn *state, const struct dict_index *index)
{
    struct index_suspects *suspects = suspects_find(state, index->number);
    ftk_status rc = FTK_OK;

    if (suspects == NULL)
        return FTK_OK;
    if (suspects->all || (suspects->doubted && suspects->settled_all)) {
        FTK_TRY(index_unique_walk(state, index, walk_each, (void *)(uintptr_t)index));
    } else {
        if (suspects->values.count > 0)
            FTK_TRY(values_judge(state, index, &suspects->values, NULL));
        if (suspects->doubted && suspects->settled.count > 0)
            FTK_TRY(values_judge(state, index, &suspects->settled, NULL));
    }
    FTK_TRY(suspects_settle(state, suspects));
    suspects->doubted = false;
    if (!extension_txn_scoped(state->txn))
        index_suspects_drop(state, index->number);
out:
    return rc;
}

ftk_status
records_unique_judge(struct records_txn *state)
{
    ftk_status rc = FTK_OK;

    FTK_ASSERT(state->pending_bytes == 0); /* what is gathered may be a conflict too */
    /* From the last on: what is dropped gets the last one's place. */
    for (uint32_t i = state->suspect_count; i-- > 0;) {
        kiln_index number = state->suspects[i].number;
        const struct dict_index *index = dict_index_of(state->dict, number);
        if (index != NULL)
            FTK_TRY(index_suspects_judge(state, index));
        else if (extension_txn_scoped(state->txn)) /* it was dropped: a rollback brings it back */
            FTK_TRY(suspects_settle(state, &state->suspects[i]));
        else /* it was dropped, or its definition rolled back */
            index_suspects_drop(state, number);
    }
out:
    return rc;
}
