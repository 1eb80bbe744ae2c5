/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/records/index_flush.c -- applies gathered changes to an index: sorted, deletes first, then
 * puts.
 */
#include "engine/records/keycode.h"
#include "engine/records/records_internal.h"

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
    size_t part, deleted;
    ftk_status rc = FTK_OK;

    if (batch->count == 0)
        goto out;
    FTK_ASSERT(state->write && index->coll != 0);
    FTK_TRY(index_sort(&state->sorter, batch, &order, &count));
    FTK_TRY(records_slices(state, count, &keys, &values));
    part = keys_collect(batch, order, count, INDEX_CHANGE_DELETE, keys);
    FTK_ASSERT(part <= count);
    if (part > 0)
        FTK_TRY(extension_delete_many(state->txn, index->coll, keys, part));
    deleted = part;
    part = keys_collect(batch, order, count, 0, keys);
    FTK_ASSERT(deleted + part == count); /* each change is one or the other */
    if (part > 0) {
        struct extension_batch puts = {keys, values, part, KILN_PUT_REPLACE, 0};
        FTK_TRY(extension_put_many(state->txn, index->coll, &puts));
    }
    if ((index->flags & KILN_UNIQUE) != 0 && part > 0)
        FTK_TRY(index_unique_note(state, index, batch, order, count));
    index_batch_clear(batch);
out:
    return rc;
}
