/*
 * engine/records/index_flush.c -- applies gathered changes to an index: sorted, deletes first,
 * then the
 * check of uniqueness, then puts.
 *
 * Unique: no two records have the same values in all parts.  Entries with a missing part conflict
 * with none (as NULL in SQL).  Texts that are truncated in the key are compared in the records.
 */
#include <string.h>

#include "engine/records/keycode.h"
#include "engine/records/records_internal.h"
#include "ftk/bytes.h"
#include "ftk/mem.h"

/* ---- what a key says ------------------------------------------------------------------------- */

ftk_status
index_suffix_get(const struct dict_index *index, const uint8_t *suffix, const uint8_t *end,
                 kiln_container *container_out, uint64_t *id_out)
{
    uint64_t container = index->container;

    if (index->container == 0)
        suffix = keycode_number_get(suffix, end, &container);
    if (suffix != NULL)
        suffix = keycode_number_get(suffix, end, id_out);
    if (suffix != end || container == 0 || container > UINT32_MAX || *id_out == 0)
        return FTK_FAIL(FTK_CORRUPT, "index '%s': malformed key", index->name);
    *container_out = (kiln_container)container;
    return FTK_OK;
}

/* ---- unique ---------------------------------------------------------------------------------- */

/* The whole values of a record in an index. */
static ftk_status
whole_values(struct records_txn *state, const struct dict_index *index, kiln_container number,
             uint64_t id, struct index_batch *batch)
{
    const struct dict_container *container;
    const struct index_plan_use *use;
    struct kiln_record record;
    ftk_status rc;

    record_init(&record);
    FTK_TRY(records_container(state, number, &container));
    FTK_TRY(records_read(state, container, id, &record));
    FTK_TRY(index_scan(&state->scan_old, &state->dict->types, &container->plan, &record));
    use = index_plan_use_of(&container->plan, index);
    FTK_ASSERT(use != NULL);
    FTK_TRY(index_keys_push_whole(batch, &state->scan_old, use));
out:
    record_release(&record);
    return rc;
}

/* Two records whose truncated keys are equal: have they a whole key in common? */
static ftk_status
whole_equal(struct records_txn *state, const struct dict_index *index, const uint64_t ids[2],
            const kiln_container containers[2], bool *equal_out)
{
    struct index_batch a = {0}, b = {0};
    ftk_status rc;

    *equal_out = false;
    FTK_TRY(whole_values(state, index, containers[0], ids[0], &a));
    FTK_TRY(whole_values(state, index, containers[1], ids[1], &b));
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

/* Two keys with the same values.  FTK_EXISTS when they are of two records and really conflict. */
static ftk_status
conflict_check(struct records_txn *state, const struct dict_index *index, const uint8_t *key,
               size_t key_bytes, const struct index_change *change, const uint8_t *change_key)
{
    kiln_container containers[2] = {0, 0};
    uint64_t ids[2] = {0, 0};
    bool equal = true;
    ftk_status rc;

    FTK_TRY(index_suffix_get(index, key + change->values_bytes, key + key_bytes, &containers[0],
                             &ids[0]));
    FTK_TRY(index_suffix_get(index, change_key + change->values_bytes,
                             change_key + change->key_bytes, &containers[1], &ids[1]));
    if (ids[0] == ids[1] && containers[0] == containers[1])
        goto out;
    if ((change->flags & INDEX_CHANGE_TRUNCATED) != 0)
        FTK_TRY(whole_equal(state, index, ids, containers, &equal));
    if (equal)
        rc =
            FTK_FAIL(FTK_EXISTS, "index '%s' is unique: records %llu and %llu have the same values",
                     index->name, (unsigned long long)ids[0], (unsigned long long)ids[1]);
out:
    return rc;
}

/* Entries of the tree with the same values as the change. */
static ftk_status
tree_check(struct records_txn *state, const struct dict_index *index, kiln_cursor *cursor,
           const struct index_change *change, const uint8_t *change_key)
{
    uint8_t copy[KILN_KEY_MAX];
    kiln_slice key;
    ftk_status rc;

    rc = kiln_cursor_seek(cursor, change_key, change->values_bytes);
    for (; rc == FTK_OK; rc = kiln_cursor_next(cursor)) {
        FTK_TRY(kiln_cursor_item(cursor, &key, NULL));
        if (key.size < change->values_bytes || key.size > sizeof copy ||
            memcmp(key.data, change_key, change->values_bytes) != 0)
            goto out;
        memcpy(copy, key.data, key.size); /* the check may read records */
        FTK_TRY(conflict_check(state, index, copy, key.size, change, change_key));
    }
    if (rc == FTK_NOTFOUND)
        rc = FTK_OK;
out:
    return rc;
}

/* Every insert of the batch against the tree and against its neighbours in the batch. */
static ftk_status
unique_check(struct records_txn *state, const struct dict_index *index,
             const struct index_batch *batch, const struct index_sort_entry *order, uint32_t count)
{
    const struct index_change *change, *other;
    kiln_cursor *cursor = NULL;
    ftk_status rc;

    FTK_TRY(kiln_cursor_open(state->txn, index->coll, 0, &cursor));
    for (uint32_t i = 0; i < count; i++) {
        change = &batch->changes[order[i].change];
        if ((change->flags & (INDEX_CHANGE_DELETE | INDEX_CHANGE_MISSING)) != 0)
            continue;
        FTK_TRY(tree_check(state, index, cursor, change, batch->keys + change->offset));
        for (uint32_t j = i + 1; j < count; j++) {
            other = &batch->changes[order[j].change];
            if (other->values_bytes != change->values_bytes ||
                memcmp(batch->keys + other->offset, batch->keys + change->offset,
                       change->values_bytes) != 0)
                break;
            if ((other->flags & INDEX_CHANGE_DELETE) == 0)
                FTK_TRY(conflict_check(state, index, batch->keys + other->offset, other->key_bytes,
                                       change, batch->keys + change->offset));
        }
    }
out:
    kiln_cursor_close(cursor);
    return rc;
}

/* ---- flush ----------------------------------------------------------------------------------- */

/* The keys of the deletes (flags INDEX_CHANGE_DELETE) or of the puts (0). */
static size_t
keys_collect(const struct index_batch *batch, const struct index_sort_entry *order, uint32_t count,
             uint32_t flags, kiln_slice *keys)
{
    const struct index_change *change;
    size_t collected = 0;

    for (uint32_t i = 0; i < count; i++) {
        change = &batch->changes[order[i].change];
        if ((change->flags & INDEX_CHANGE_DELETE) == flags)
            keys[collected++] = (kiln_slice){batch->keys + change->offset, change->key_bytes};
    }
    return collected;
}

ftk_status
index_flush(struct records_txn *state, const struct dict_index *index, struct index_batch *batch)
{
    const struct index_sort_entry *order;
    kiln_slice *keys, *values;
    uint32_t count;
    size_t part;
    ftk_status rc = FTK_OK;

    if (batch->count == 0)
        goto out;
    FTK_TRY(index_sort(&state->sorter, batch, &order, &count));
    FTK_TRY(records_slices(state, count, &keys, &values));
    part = keys_collect(batch, order, count, INDEX_CHANGE_DELETE, keys);
    if (part > 0)
        FTK_TRY(kiln_delete_many(state->txn, index->coll, keys, part, NULL));
    if ((index->flags & KILN_UNIQUE) != 0)
        FTK_TRY(unique_check(state, index, batch, order, count));
    part = keys_collect(batch, order, count, 0, keys);
    if (part > 0)
        FTK_TRY(kiln_put_many(state->txn, index->coll, keys, values, part, KILN_PUT_REPLACE, NULL));
    index_batch_clear(batch);
out:
    return rc;
}
