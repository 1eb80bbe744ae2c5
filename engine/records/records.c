/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/records/records.c -- add, update, delete, get; records of a container in order of id.
 *
 * New records with ids above all others are gathered and put in one batch; every other change goes
 * to the container at once.  Index changes are gathered always.  A call that fails leaves nothing
 * gathered of its record (marks).
 */
#include <string.h>

#include "engine/records/records_internal.h"
#include "ftk/bytes.h"
#include "ftk/mem.h"

/* ---- the highest id -------------------------------------------------------------------------- */

static const uint8_t key_kept[8]; /* id 0: the highest id ever given out, when its record is gone */

static ftk_status
kept_read(struct records_txn *state, const struct dict_container *container, uint64_t *kept_out)
{
    const uint8_t *end;
    kiln_slice value;
    ftk_status rc;

    *kept_out = 0;
    rc = kiln_get(state->txn, container->coll, key_kept, sizeof(key_kept), &value);
    if (rc == FTK_NOTFOUND)
        return FTK_OK;
    if (rc != FTK_OK)
        return rc;
    end = (const uint8_t *)value.data + value.size;
    if (ftk_varint_get(value.data, end, kept_out) != end || *kept_out == 0)
        return FTK_FAIL(FTK_CORRUPT, "container '%s': malformed row 0", container->name);
    return FTK_OK;
}

ftk_status
records_high_check(struct records_txn *state, const struct dict_container *container)
{
    uint64_t kept;

    return kept_read(state, container, &kept);
}

static ftk_status
gather_learn(struct records_txn *state, const struct dict_container *container,
             struct record_gather *gather)
{
    kiln_cursor *cursor = NULL;
    kiln_slice key;
    uint64_t last = 0;
    ftk_status rc;

    FTK_TRY(records_given_learn(state, container->number, gather));
    if (records_high_recall(state, container->number, gather))
        goto out;
    FTK_TRY(kept_read(state, container, &gather->kept));
    FTK_TRY(kiln_cursor_open(state->txn, container->coll, 0, &cursor));
    rc = kiln_cursor_last(cursor);
    if (rc == FTK_OK) {
        FTK_TRY(kiln_cursor_item(cursor, &key, NULL));
        if (key.size != 8) {
            rc = FTK_FAIL(FTK_CORRUPT, "container '%s': key of %zu bytes", container->name,
                          key.size);
            goto out;
        }
        last = ftk_get_be64(key.data);
    } else if (rc != FTK_NOTFOUND) {
        goto out;
    }
    rc = FTK_OK;
    FTK_ASSERT(gather->count == 0);
    gather->high = last > gather->kept ? last : gather->kept;
    gather->known = true;
out:
    kiln_cursor_close(cursor);
    return rc;
}

static void
key_put(uint8_t key[8], uint64_t id)
{
    ftk_put_be64(key, id);
}

/* ---- gather ---------------------------------------------------------------------------------- */

static ftk_status
gather_grow(struct record_gather *gather, size_t body_bytes)
{
    size_t bodies_capacity = gather->bodies_capacity == 0 ? 16384 : gather->bodies_capacity;
    uint32_t capacity = gather->capacity == 0 ? 256 : gather->capacity * 2;
    void *memory;
    ftk_status rc = FTK_OK;

    while (bodies_capacity - gather->bodies_bytes < body_bytes)
        bodies_capacity *= 2;
    if (bodies_capacity != gather->bodies_capacity) {
        memory = gather->bodies;
        FTK_TRY(ftk_realloc(&memory, bodies_capacity));
        gather->bodies = memory;
        gather->bodies_capacity = (uint32_t)bodies_capacity;
    }
    if (gather->count == gather->capacity) {
        memory = gather->keys;
        FTK_TRY(ftk_realloc(&memory, capacity * sizeof(*gather->keys)));
        gather->keys = memory;
        memory = gather->ends;
        FTK_TRY(ftk_realloc(&memory, capacity * sizeof(*gather->ends)));
        gather->ends = memory;
        gather->capacity = capacity;
    }
    FTK_ASSERT(gather->count < gather->capacity);
    FTK_ASSERT(gather->bodies_capacity - gather->bodies_bytes >= body_bytes);
out:
    return rc;
}

static ftk_status
gather_add(struct records_txn *state, struct record_gather *gather, uint64_t id,
           const struct kiln_record *record)
{
    ftk_status rc = FTK_OK;

    if (FTK_UNLIKELY(gather->count == gather->capacity ||
                     gather->bodies_capacity - gather->bodies_bytes < record->body_bytes))
        rc = gather_grow(gather, record->body_bytes);
    if (rc != FTK_OK)
        return rc;
    FTK_ASSERT(gather->known && id > gather->high); /* so keys ascend */
    if (record->body_bytes > 0)
        memcpy(gather->bodies + gather->bodies_bytes, record->body, record->body_bytes);
    gather->bodies_bytes += (uint32_t)record->body_bytes;
    ftk_put_be64(&gather->keys[gather->count], id);
    gather->ends[gather->count++] = gather->bodies_bytes;
    state->pending_bytes += record->body_bytes + 16;
    return rc;
}

/* Is the id perhaps among those gathered? */
static bool
gather_has(const struct records_txn *state, const struct dict_container *container, uint64_t id)
{
    const struct record_gather *gather;

    if (state->used_count == 0) /* always so in a read transaction, which has no gathers */
        return false;
    gather = &state->gathers[container->position];
    return gather->count > 0 && id >= ftk_get_be64(&gather->keys[0]);
}

/* ---- index changes of one record ------------------------------------------------------------- */

static void
batches_mark(struct records_txn *state, const struct index_plan *plan)
{
    for (uint32_t i = 0; i < plan->use_count; i++)
        index_batch_mark(&state->batches[plan->uses[i].index->position]);
}

static void
batches_cut(struct records_txn *state, const struct index_plan *plan)
{
    for (uint32_t i = 0; i < plan->use_count; i++)
        index_batch_cut(&state->batches[plan->uses[i].index->position]);
}

/* Before anything of the container is gathered: flush when much is.  Not after it: the call would
 * fail with its record gathered. */
static ftk_status
gather_begin(struct records_txn *state, const struct dict_container *container)
{
    records_use(state, container);
    return FTK_UNLIKELY(state->pending_bytes >= RECORDS_PENDING_BYTES_MAX) ? records_flush(state)
                                                                           : FTK_OK;
}

/* Count what was added since the mark. */
static void
batches_count(struct records_txn *state, const struct index_plan *plan)
{
    for (uint32_t i = 0; i < plan->use_count; i++) {
        const struct index_batch *batch = &state->batches[plan->uses[i].index->position];
        FTK_ASSERT(batch->keys_bytes >= batch->mark_bytes && batch->count >= batch->mark_count);
        state->pending_bytes += batch->keys_bytes - batch->mark_bytes;
    }
}

/* All keys of the scanned record. */
static ftk_status
batches_push(struct records_txn *state, const struct index_scan *scan,
             const struct dict_container *container, uint64_t id, uint32_t flags)
{
    const struct index_plan *plan = &container->plan;
    const struct index_plan_use *use = plan->uses;
    ftk_status rc = FTK_OK;

    for (; use < plan->uses + plan->use_count && rc == FTK_OK; use++)
        rc = index_keys_push(&state->batches[use->index->position], scan, use, container->number,
                             id, flags);
    return rc;
}

static int
change_compare(const struct index_batch *a, const struct index_sort_entry *a_entry,
               const struct index_batch *b, const struct index_sort_entry *b_entry)
{
    const struct index_change *left = &a->changes[a_entry->change];
    const struct index_change *right = &b->changes[b_entry->change];

    return ftk_bytes_compare(a->keys + left->offset, left->key_bytes, b->keys + right->offset,
                             right->key_bytes);
}

static bool
truncates(const struct index_batch *batch)
{
    for (uint32_t i = 0; i < batch->count; i++)
        if ((batch->changes[i].flags & INDEX_CHANGE_TRUNCATED) != 0)
            return true;
    return false;
}

/* Delete what is only in keys_old, insert what is only in keys_new.  A key with a truncated text is
 * put again: the rest of the text may have changed, and with it whether the values are unique. */
static ftk_status
difference_push(struct records_txn *state, struct index_batch *batch)
{
    const struct index_batch *old = &state->keys_old, *now = &state->keys_new;
    struct index_sorter sorter_old = {NULL, 0};
    const struct index_sort_entry *olds, *news;
    uint32_t old_count, new_count, o = 0, n = 0;
    int order;
    ftk_status rc;

    if ((now->count == 0 || !truncates(now)) && old->keys_bytes == now->keys_bytes &&
        old->count == now->count &&
        (old->count == 0 || memcmp(old->keys, now->keys, old->keys_bytes) == 0))
        return FTK_OK;
    FTK_TRY(index_sort(&sorter_old, old, &olds, &old_count));
    FTK_TRY(index_sort(&state->sorter, now, &news, &new_count));
    while (o < old_count || n < new_count) {
        if (o == old_count || n == new_count)
            order = o == old_count ? 1 : -1;
        else
            order = change_compare(old, &olds[o], now, &news[n]);
        if (order < 0)
            FTK_TRY(
                index_batch_copy(batch, old, &old->changes[olds[o].change], INDEX_CHANGE_DELETE));
        else if (order > 0 || (now->changes[news[n].change].flags & INDEX_CHANGE_TRUNCATED) != 0)
            FTK_TRY(index_batch_copy(batch, now, &now->changes[news[n].change], 0));
        o += order <= 0;
        n += order >= 0;
    }
    FTK_ASSERT(o == old_count && n == new_count);
out:
    index_sorter_release(&sorter_old);
    return rc;
}

/* For every index, what changes from scan_old to scan. */
static ftk_status
batches_difference(struct records_txn *state, const struct dict_container *container, uint64_t id)
{
    const struct index_plan *plan = &container->plan;
    const struct index_plan_use *use;
    ftk_status rc = FTK_OK;

    for (use = plan->uses; use < plan->uses + plan->use_count; use++) {
        index_batch_clear(&state->keys_old);
        index_batch_clear(&state->keys_new);
        FTK_TRY(index_keys_push(&state->keys_old, &state->scan_old, use, container->number, id, 0));
        FTK_TRY(index_keys_push(&state->keys_new, &state->scan, use, container->number, id, 0));
        FTK_TRY(difference_push(state, &state->batches[use->index->position]));
    }
out:
    return rc;
}

/* ---- add ------------------------------------------------------------------------------------- */

static ftk_status
record_check(const struct kiln_record *record)
{
    if (record == NULL)
        return FTK_FAIL(FTK_INVALID, "record is NULL");
    if (record->depth != 0)
        return FTK_FAIL(FTK_STATE, "%u groups of the record are still open", record->depth);
    return FTK_OK;
}

static ftk_status
record_put(struct records_txn *state, const struct dict_container *container, uint64_t id,
           const struct kiln_record *record, uint32_t flags)
{
    uint8_t key[8];
    ftk_status rc;

    FTK_ASSERT(id != 0 && record->depth == 0); /* key 0 is the row of the highest id */
    key_put(key, id);
    rc = extension_put(state->txn, container->coll, (kiln_slice){key, sizeof(key)},
                       (kiln_slice){record->body, record->body_bytes}, flags);
    if (rc == FTK_EXISTS)
        rc = FTK_FAIL(FTK_EXISTS, "container '%s' has a record %llu", container->name,
                      (unsigned long long)id);
    if (rc == FTK_NOTFOUND)
        rc = FTK_FAIL(FTK_NOTFOUND, "container '%s' has no record %llu", container->name,
                      (unsigned long long)id);
    return rc;
}

/* The record itself: gathered when it goes to the end. */
static ftk_status
add_body(struct records_txn *state, const struct dict_container *container,
         struct record_gather *gather, uint64_t id, const struct kiln_record *record)
{
    ftk_status rc;

    if (id > gather->high && record->body_bytes <= RECORDS_GATHER_BODY_MAX) {
        rc = gather_add(state, gather, id, record);
    } else {
        rc = records_flush_container(state, container);
        if (rc == FTK_OK)
            rc = record_put(state, container, id, record, KILN_PUT_INSERT);
        state->pending_bytes += 16; /* index changes are gathered, be they of no bytes */
    }
    if (rc == FTK_OK && id > gather->high)
        gather->high = id;
    FTK_ASSERT(rc != FTK_OK || (id <= gather->high && state->pending_bytes > 0));
    return rc;
}

static ftk_status
add(struct records_txn *state, const struct dict_container *container,
    const struct kiln_record *record, uint64_t *id_inout)
{
    struct record_gather *gather = &state->gathers[container->position];
    const struct index_plan *plan = &container->plan;
    uint64_t id = *id_inout;
    ftk_status rc;

    FTK_TRY(gather_begin(state, container));
    FTK_TRY(index_scan(&state->scan, &state->dict->types, plan, record));
    if (!gather->known)
        FTK_TRY(gather_learn(state, container, gather));
    if (id == 0) {
        id = gather->high > gather->floor ? gather->high : gather->floor;
        if (id == UINT64_MAX) {
            rc = FTK_FAIL(FTK_NOSPACE, "container '%s' has no id left", container->name);
            goto out;
        }
        id++;
        FTK_ASSERT(id > gather->high && id > gather->floor);
        gather->given = gather->floor = id; /* for good, whatever becomes of this call */
    }
    batches_mark(state, plan);
    rc = batches_push(state, &state->scan, container, id, 0);
    if (rc == FTK_OK)
        rc = add_body(state, container, gather, id, record);
    if (rc != FTK_OK) {
        batches_cut(state, plan);
        goto out;
    }
    *id_inout = id;
    batches_count(state, plan);
out:
    return rc;
}

kiln_status
kiln_record_add(kiln_txn *txn, kiln_container container, const kiln_record *record,
                uint64_t *id_inout)
{
    const struct dict_container *found;
    struct records_txn *state;
    uint64_t id = 0;
    ftk_status rc;

    FTK_TRY(record_check(record));
    FTK_TRY(records_enter_write(txn, &state));
    FTK_TRY(records_container(state, container, &found));
    FTK_TRY(add(state, found, record, id_inout != NULL ? id_inout : &id));
out:
    return extension_answer(txn, rc);
}

/* ---- update, delete -------------------------------------------------------------------------- */

/* The record that is there into record_old, and its values into scan_old. */
static ftk_status
old_read(struct records_txn *state, const struct dict_container *container, uint64_t id)
{
    ftk_status rc = FTK_OK;

    if (gather_has(state, container, id))
        FTK_TRY(records_flush_container(state, container));
    rc = id == 0 ? FTK_ANSWER(FTK_NOTFOUND, "no record has id 0")
                 : records_read(state, container, id, &state->record_old);
    if (rc == FTK_NOTFOUND) {
        rc = FTK_FAIL(FTK_NOTFOUND, "container '%s' has no record %llu", container->name,
                      (unsigned long long)id);
        goto out;
    }
    if (rc == FTK_OK)
        rc =
            index_scan(&state->scan_old, &state->dict->types, &container->plan, &state->record_old);
out:
    return rc;
}

static ftk_status
update(struct records_txn *state, const struct dict_container *container, uint64_t id,
       const struct kiln_record *record)
{
    const struct index_plan *plan = &container->plan;
    ftk_status rc;

    FTK_TRY(gather_begin(state, container));
    FTK_TRY(index_scan(&state->scan, &state->dict->types, plan, record));
    FTK_TRY(old_read(state, container, id));
    batches_mark(state, plan);
    rc = batches_difference(state, container, id);
    if (rc == FTK_OK)
        rc = record_put(state, container, id, record, KILN_PUT_UPDATE);
    if (rc != FTK_OK) {
        batches_cut(state, plan);
        goto out;
    }
    state->pending_bytes += 16;
    batches_count(state, plan);
out:
    return rc;
}

kiln_status
kiln_record_update(kiln_txn *txn, kiln_container container, uint64_t id, const kiln_record *record)
{
    const struct dict_container *found;
    struct records_txn *state;
    ftk_status rc;

    FTK_TRY(record_check(record));
    FTK_TRY(records_enter_write(txn, &state));
    FTK_TRY(records_container(state, container, &found));
    FTK_TRY(update(state, found, id, record));
out:
    return extension_answer(txn, rc);
}

/* The record with the highest id goes: remember the id. */
static ftk_status
keep_high(struct records_txn *state, const struct dict_container *container,
          struct record_gather *gather)
{
    uint8_t value[FTK_VARINT_MAX];
    size_t value_bytes = (size_t)(ftk_varint_put(value, gather->high) - value);
    ftk_status rc;

    FTK_ASSERT(gather->known && gather->high != 0 && gather->kept < gather->high);
    rc = extension_put(state->txn, container->coll, (kiln_slice){key_kept, sizeof(key_kept)},
                       (kiln_slice){value, value_bytes}, KILN_PUT_REPLACE);
    if (rc == FTK_OK)
        gather->kept = gather->high;
    return rc;
}

static ftk_status
remove_record(struct records_txn *state, const struct dict_container *container, uint64_t id)
{
    struct record_gather *gather = &state->gathers[container->position];
    const struct index_plan *plan = &container->plan;
    uint8_t key[8];
    ftk_status rc;

    FTK_TRY(gather_begin(state, container));
    FTK_TRY(old_read(state, container, id));
    if (!gather->known)
        FTK_TRY(gather_learn(state, container, gather));
    if (id > gather->high) { /* the record was read */
        rc = FTK_FAIL(FTK_CORRUPT, "container '%s': record %llu lies behind the last one",
                      container->name, (unsigned long long)id);
        goto out;
    }
    if (id == gather->high && gather->kept != id)
        FTK_TRY(keep_high(state, container, gather));
    key_put(key, id);
    batches_mark(state, plan);
    rc = batches_push(state, &state->scan_old, container, id, INDEX_CHANGE_DELETE);
    if (rc == FTK_OK)
        rc = extension_delete(state->txn, container->coll, (kiln_slice){key, sizeof(key)});
    if (rc != FTK_OK) {
        batches_cut(state, plan);
        goto out;
    }
    state->pending_bytes += 16;
    batches_count(state, plan);
out:
    return rc;
}

kiln_status
kiln_record_delete(kiln_txn *txn, kiln_container container, uint64_t id)
{
    const struct dict_container *found;
    struct records_txn *state;
    ftk_status rc;

    FTK_TRY(records_enter_write(txn, &state));
    FTK_TRY(records_container(state, container, &found));
    FTK_TRY(remove_record(state, found, id));
out:
    return extension_answer(txn, rc);
}

/* ---- get, count ------------------------------------------------------------------------------ */

kiln_status
kiln_record_get(kiln_txn *txn, kiln_container container, uint64_t id, kiln_record *record)
{
    const struct dict_container *found;
    struct records_txn *state;
    ftk_status rc;

    if (record == NULL)
        return extension_answer(txn, FTK_FAIL(FTK_INVALID, "record is NULL"));
    kiln_record_clear(record);
    FTK_TRY(records_enter(txn, &state));
    FTK_TRY(records_container(state, container, &found));
    if (gather_has(state, found, id))
        FTK_TRY(records_flush_container(state, found));
    rc = id == 0 ? FTK_ANSWER(FTK_NOTFOUND, "no record has id 0")
                 : records_read(state, found, id, record);
    if (rc == FTK_NOTFOUND)
        rc = FTK_FAIL(FTK_NOTFOUND, "container '%s' has no record %llu", found->name,
                      (unsigned long long)id);
out:
    return extension_answer(txn, rc);
}

kiln_status
kiln_container_count(kiln_txn *txn, kiln_container container, uint64_t *count_out)
{
    const struct dict_container *found;
    struct records_txn *state;
    uint64_t kept;
    ftk_status rc;

    if (count_out == NULL)
        return extension_answer(txn, FTK_FAIL(FTK_INVALID, "count_out is NULL"));
    *count_out = 0;
    FTK_TRY(records_enter(txn, &state));
    FTK_TRY(records_container(state, container, &found));
    FTK_TRY(records_flush_container(state, found));
    FTK_TRY(kept_read(state, found, &kept));
    FTK_TRY(kiln_coll_count(txn, found->coll, count_out));
    if (kept != 0 && *count_out == 0)
        rc = FTK_FAIL(FTK_CORRUPT, "container '%s': row 0 is not counted", found->name);
    else if (kept != 0)
        *count_out -= 1;
out:
    return extension_answer(txn, rc);
}
