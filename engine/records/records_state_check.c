/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/records/records_state_check.c -- do the dictionary in memory and what a transaction has
 * gathered keep their rules?  Expensive: for debug assertions.
 */
#include <string.h>

#include "engine/records/records_internal.h"
#include "ftk/bytes.h"
#include "ftk/invariant.h"

/* ---- dictionary ------------------------------------------------------------------------------ */

static uint32_t
fields_check(const struct dict *dict)
{
    uint32_t named = 0;

    FTK_ASSERT(dict->types.count <= dict->field_capacity && dict->types.count <= dict->field_next);
    for (uint32_t n = 0; n < dict->types.count; n++) {
        const char *name = dict->field_names[n];
        FTK_ASSERT((name == NULL) == (dict->types.types[n] == 0));
        FTK_ASSERT(n > 0 || name == NULL); /* there is no field 0 */
        if (name == NULL)
            continue;
        FTK_ASSERT(dict->types.types[n] <= KILN_GROUP);
        FTK_ASSERT(dict_find(dict, DICT_KIND_FIELD, name, strlen(name)) == n);
        named++;
    }
    return named;
}

/* Its plan names each index of its records once, by the dictionary's own object. */
static void
plan_check(const struct dict *dict, const struct dict_container *container)
{
    const struct index_plan *plan = &container->plan;
    uint32_t wanted = 0;

    for (uint32_t i = 0; i < dict->index_count; i++) {
        const struct dict_index *index = dict->indexes[i];
        bool used = index->container == 0 || index->container == container->number;
        FTK_ASSERT((index_plan_use_of(plan, index) != NULL) == used);
        wanted += used;
    }
    FTK_ASSERT(plan->use_count == wanted && plan->edge_count <= INDEX_EDGES_MAX);
    for (uint32_t u = 0; u < plan->use_count; u++)
        for (uint32_t p = 0; p < plan->uses[u].index->part_count; p++)
            FTK_ASSERT(plan->uses[u].slots[p] >= 1 && plan->uses[u].slots[p] <= plan->slot_count);
}

static void
containers_check(const struct dict *dict)
{
    uint32_t last = 0;

    FTK_ASSERT(dict->container_count <= dict->container_capacity);
    for (uint32_t i = 0; i < dict->container_count; i++) {
        const struct dict_container *container = dict->containers[i];
        FTK_ASSERT(container->position == i && container->number > last);
        FTK_ASSERT(container->number < dict->container_next && container->coll != 0);
        FTK_ASSERT(dict_find(dict, DICT_KIND_CONTAINER, container->name, strlen(container->name)) ==
                   container->number);
        plan_check(dict, container);
        last = container->number;
    }
}

static void
indexes_check(const struct dict *dict)
{
    uint32_t last = 0;

    FTK_ASSERT(dict->index_count <= dict->index_capacity && dict->index_count <= INDEX_COUNT_MAX);
    for (uint32_t i = 0; i < dict->index_count; i++) {
        const struct dict_index *index = dict->indexes[i];
        FTK_ASSERT(index->position == i && index->number > last);
        FTK_ASSERT(index->number < dict->index_next && index->coll != 0);
        FTK_ASSERT(dict_find(dict, DICT_KIND_INDEX, index->name, strlen(index->name)) ==
                   index->number);
        FTK_ASSERT(index->container == 0 || dict_container_of(dict, index->container) != NULL);
        FTK_ASSERT(index->part_count >= 1 && index->part_count <= KILN_INDEX_PARTS_MAX);
        FTK_ASSERT(index->text_limit >= KEYCODE_TEXT_LIMIT_MIN &&
                   index->text_limit <= dict_text_limit(index));
        for (uint32_t p = 0; p < index->part_count; p++)
            FTK_ASSERT(dict->types.types[index->parts[p].field] == index->parts[p].type);
        last = index->number;
    }
}

void
dict_check(const struct dict *dict)
{
    FTK_INVARIANT_COUNT("dictionary");
    FTK_ASSERT(atomic_load(&dict->references) > 0);
    FTK_ASSERT(dict->name_count <= dict->name_capacity / 2);
    FTK_ASSERT(dict->name_count == fields_check(dict) + dict->container_count + dict->index_count);
    containers_check(dict);
    indexes_check(dict);
}

/* ---- gathered -------------------------------------------------------------------------------- */

/* Keys lie one behind the other, in the order of their changes. */
static void
batch_check(const struct index_batch *batch)
{
    size_t offset = 0;

    FTK_ASSERT(batch->count <= batch->capacity && batch->keys_bytes <= batch->keys_capacity);
    for (uint32_t i = 0; i < batch->count; i++) {
        const struct index_change *change = &batch->changes[i];
        FTK_ASSERT(change->offset == offset && change->key_bytes <= KILN_KEY_MAX);
        FTK_ASSERT(change->values_bytes > 0 && change->values_bytes <= change->key_bytes);
        offset += change->key_bytes;
    }
    FTK_ASSERT(offset == batch->keys_bytes);
}

static void
gather_check(const struct record_gather *gather)
{
    uint64_t last = 0;
    uint32_t end = 0;

    FTK_ASSERT(gather->count <= gather->capacity &&
               gather->bodies_bytes <= gather->bodies_capacity);
    FTK_ASSERT(gather->known || gather->count == 0);
    FTK_ASSERT(gather->used || !gather->known);
    for (uint32_t i = 0; i < gather->count; i++) {
        uint64_t id = ftk_get_be64(&gather->keys[i]);
        FTK_ASSERT(id > last && gather->ends[i] >= end);
        last = id;
        end = gather->ends[i];
    }
    FTK_ASSERT(gather->bodies_bytes == end);
    if (gather->known) {
        FTK_ASSERT(last <= gather->high && gather->kept <= gather->high);
        FTK_ASSERT(gather->given == 0 || gather->given == gather->floor);
    }
}

static void
suspects_check(const struct records_txn *state)
{
    FTK_ASSERT(state->suspect_count <= state->suspect_capacity);
    for (uint32_t i = 0; i < state->suspect_count; i++) {
        const struct index_suspects *suspects = &state->suspects[i];
        FTK_ASSERT(suspects->number != 0);
        for (uint32_t j = 0; j < i; j++)
            FTK_ASSERT(state->suspects[j].number != suspects->number);
        batch_check(&suspects->values);
        batch_check(&suspects->settled);
        FTK_ASSERT(!suspects->all || suspects->values.count == 0);
    }
}

void
records_state_check(const struct records_txn *state)
{
    uint32_t containers = state->dict == NULL ? 0 : state->dict->container_count;
    uint32_t indexes = state->dict == NULL ? 0 : state->dict->index_count;
    size_t gathered = 0;

    FTK_INVARIANT_COUNT("records of a transaction");
    FTK_ASSERT(state->txn != NULL && state->db != NULL);
    FTK_ASSERT(!state->write ||
               (containers <= state->gather_capacity && indexes <= state->batch_capacity));
    for (uint32_t i = 0; i < state->gather_capacity; i++) {
        gather_check(&state->gathers[i]);
        FTK_ASSERT(i < containers || !state->gathers[i].known);
        gathered += state->gathers[i].bodies_bytes + 16 * (size_t)state->gathers[i].count;
    }
    for (uint32_t i = 0; i < state->batch_capacity; i++) {
        batch_check(&state->batches[i]);
        FTK_ASSERT(i < indexes || state->batches[i].count == 0);
        gathered += state->batches[i].keys_bytes;
    }
    suspects_check(state);
    FTK_ASSERT(state->pending_bytes >= gathered);
    FTK_ASSERT(state->write || (state->pending_bytes == 0 && state->suspect_count == 0));
    if (state->dict == NULL) {
        FTK_ASSERT(!state->dict_own && state->container_last == NULL);
        return;
    }
    FTK_ASSERT(!state->dict_own || (state->write && atomic_load(&state->dict->references) == 1));
    FTK_ASSERT(state->container_last == NULL ||
               state->container_last ==
                   dict_container_of(state->dict, state->container_last->number));
}
