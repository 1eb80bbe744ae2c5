/* SPDX-License-Identifier: Apache-2.0 */
/* engine/records/records_flush.c -- what was gathered is applied; the hooks of the transaction. */
#include <string.h>

#include "engine/records/records_internal.h"
#include "ftk/mem.h"

/* The first `count` are in the container. */
static void
gather_drop(struct record_gather *gather, uint32_t count)
{
    uint32_t bytes = count == 0 ? 0 : gather->ends[count - 1];

    FTK_ASSERT(count <= gather->count && bytes <= gather->bodies_bytes);
    gather->count -= count;
    gather->bodies_bytes -= bytes;
    if (gather->count == 0 || count == 0)
        return;
    memmove(gather->keys, gather->keys + count, gather->count * sizeof(*gather->keys));
    memmove(gather->ends, gather->ends + count, gather->count * sizeof(*gather->ends));
    memmove(gather->bodies, gather->bodies + bytes, gather->bodies_bytes);
    for (uint32_t i = 0; i < gather->count; i++)
        gather->ends[i] -= bytes;
}

/* Rule 4: those that are not in the container when it fails stay gathered. */
static ftk_status
gather_flush(struct records_txn *state, const struct dict_container *container,
             struct record_gather *gather)
{
    struct extension_batch batch = {.count = gather->count,
                                    /* an id that is there after all must not be lost */
                                    .flags = KILN_PUT_INSERT};
    kiln_slice *keys, *values;
    uint32_t first = 0;
    ftk_status rc;

    FTK_ASSERT(gather->known && state->write);
    FTK_TRY(records_slices(state, gather->count, &keys, &values));
    for (uint32_t i = 0; i < gather->count; i++) {
        keys[i] = (kiln_slice){&gather->keys[i], sizeof(gather->keys[i])};
        values[i] = (kiln_slice){gather->bodies + first, gather->ends[i] - first};
        first = gather->ends[i];
    }
    FTK_ASSERT(first == gather->bodies_bytes);
    batch.keys = keys;
    batch.values = values;
    rc = (ftk_status)extension_put_many(state->txn, container->coll, &batch);
    FTK_ASSERT(rc != FTK_OK || batch.done == gather->count);
    gather_drop(gather, (uint32_t)batch.done); /* the ids ascend */
out:
    return rc;
}

ftk_status
records_flush_container(struct records_txn *state, const struct dict_container *container)
{
    struct record_gather *gather;

    if (state->used_count == 0)
        return FTK_OK;
    FTK_ASSERT(container->position < state->gather_capacity);
    gather = &state->gathers[container->position];
    return gather->count > 0 ? gather_flush(state, container, gather) : FTK_OK;
}

ftk_status
records_flush(struct records_txn *state)
{
    struct dict *dict = state->dict;
    ftk_status rc = FTK_OK;

    FTK_DEBUG_ASSERT((records_state_check(state), true));
    if (state->pending_bytes == 0)
        return rc;
    FTK_ASSERT(state->write);
    FTK_ASSERT(dict->container_count <= state->gather_capacity);
    FTK_ASSERT(dict->index_count <= state->batch_capacity);
    /* Records first: a unique index may have to look at them. */
    for (uint32_t i = 0; i < state->used_count; i++)
        FTK_TRY(records_flush_container(state, dict->containers[state->used[i]]));
    for (uint32_t i = 0; i < dict->index_count; i++) {
        if (state->batches[i].count > 0)
            FTK_TRY(index_flush(state, dict->indexes[i], &state->batches[i]));
    }
    FTK_ASSERT(state->dict == dict); /* applying defines nothing */
    state->pending_bytes = 0;
    FTK_DEBUG_ASSERT((records_state_check(state), true));
out:
    return rc;
}

ftk_status
records_savepoint(kiln_txn *txn)
{
    struct records_txn *state = *extension_txn(txn).state;

    return state == NULL || state->dict == NULL ? FTK_OK : records_flush(state);
}

ftk_status
records_before_commit(kiln_txn *txn)
{
    struct records_txn *state = *extension_txn(txn).state;
    ftk_status rc;

    FTK_TRY(records_savepoint(txn));
    if (state != NULL && state->suspect_count > 0) {
        FTK_TRY(records_enter(txn, &state)); /* the dictionary may be gone, by a rollback */
        FTK_TRY(records_unique_judge(state));
    }
    if (state != NULL && state->write && state->dict != NULL)
        records_highs_remember(state);
    FTK_ASSERT(state == NULL || (state->pending_bytes == 0 && state->suspect_count == 0));
out:
    return rc;
}

/* The collections have what they had at some time before: nothing is known of them. */
static void
taken_back(struct records_txn *state)
{
    records_forget(state);
    index_suspects_doubt(state);
    state->coll_known = false;
    state->recalls = false;
    FTK_ASSERT(state->pending_bytes == 0 && state->dict == NULL);
    FTK_DEBUG_ASSERT((records_state_check(state), true));
}

void
records_rollback(kiln_txn *txn)
{
    struct records_txn *state = *extension_txn(txn).state;

    if (state != NULL)
        taken_back(state);
}

ftk_status
records_define(struct records_txn *state, ftk_status (*change)(kiln_txn *txn, void *context),
               void *context)
{
    ftk_status rc;

    FTK_TRY(records_flush(state)); /* what is gathered does not go with it */
    rc = extension_statement(state->txn, change, context);
    if (rc != FTK_OK)
        taken_back(state);
out:
    return rc;
}

kiln_status
kiln_records_flush(kiln_txn *txn)
{
    struct records_txn *state = NULL;
    ftk_status rc = records_enter(txn, &state);

    if (rc == FTK_OK && state != NULL)
        rc = records_flush(state);
    if (rc == FTK_OK && state != NULL)
        rc = records_unique_judge(state);
    return extension_answer(txn, rc);
}

ftk_status
records_dict_change(struct records_txn *state)
{
    struct dict *own = NULL;
    ftk_status rc;

    FTK_TRY(records_flush(state));
    if (!state->dict_own) {
        state->recalls = false;
        if (!state->coll_known) {
            state->dict_changed = true; /* the collection may be gone after a rollback */
            FTK_TRY(coll_open_internal(state->txn, DICT_COLLECTION, DICT_COLLECTION_BYTES,
                                       KILN_COLL_CREATE, &state->dict_coll));
            state->coll_known = true;
        }
        state->dict_changed = true;
        if (state->dict->version == 0)
            FTK_TRY(dict_new(&own));
        else
            FTK_TRY(dict_load(state->txn, state->dict_coll, &own));
        records_forget(state);
        state->dict = own;
        state->dict_own = true;
        rc = records_positions_room(state);
    }
    FTK_ASSERT(rc != FTK_OK || (state->write && state->coll_known && state->dict_changed));
out:
    return rc;
}

ftk_status
records_dict_changed(struct records_txn *state, ftk_status rc)
{
    FTK_ASSERT(state->dict_own && state->pending_bytes == 0);
    if (rc == FTK_OK)
        rc = dict_header_write(state->txn, state->dict_coll, state->dict);
    if (rc == FTK_OK)
        rc = records_positions_room(state);
    if (rc != FTK_OK)
        return rc;
    FTK_DEBUG_ASSERT((dict_check(state->dict), true));
    FTK_DEBUG_ASSERT((records_state_check(state), true));
    return rc;
}

static ftk_status
enter_slow(kiln_txn *txn, struct extension_txn seen)
{
    struct records_txn *state;
    ftk_status rc = FTK_OK;

    if (*seen.state == NULL)
        FTK_TRY(records_state_new(txn, seen.state));
    state = *seen.state;
    FTK_ASSERT(state->txn == txn); /* an ended transaction's state belongs to nobody */
    if (state->dict == NULL || state->snapshot_id != seen.snapshot_id) {
        records_forget(state);
        state->snapshot_id = seen.snapshot_id;
        FTK_TRY(records_dict_find(state));
        rc = records_positions_room(state);
        if (rc != FTK_OK)
            records_forget(state);
    }
    FTK_ASSERT(rc != FTK_OK || state->dict != NULL);
out:
    return rc;
}

ftk_status
records_enter(kiln_txn *txn, struct records_txn **state_out)
{
    struct extension_txn seen;
    struct records_txn *state;
    ftk_status rc = FTK_OK;

    if (FTK_UNLIKELY(txn == NULL))
        return FTK_FAIL(FTK_INVALID, "transaction is NULL");
    extension_enter(txn);
    seen = extension_txn(txn);
    state = *seen.state;
    if (FTK_UNLIKELY(state == NULL || state->dict == NULL ||
                     state->snapshot_id != seen.snapshot_id))
        rc = enter_slow(txn, seen);
    *state_out = *seen.state;
    return rc;
}

ftk_status
records_enter_write(kiln_txn *txn, struct records_txn **state_out)
{
    ftk_status rc = records_enter(txn, state_out);

    if (rc == FTK_OK && !(*state_out)->write)
        rc = FTK_FAIL(FTK_READONLY, "a read transaction cannot change records");
    return rc == FTK_OK ? extension_check_write(txn) : rc;
}

const struct db_extension db_extension_records = {.before_commit = records_before_commit,
                                                  .savepoint = records_savepoint,
                                                  .rollback = records_rollback,
                                                  .txn_end = records_txn_end,
                                                  .db_end = records_db_end,
                                                  .check = records_check,
                                                  .count = records_count};
