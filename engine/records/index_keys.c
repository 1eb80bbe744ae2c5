/* SPDX-License-Identifier: Apache-2.0 */
/* engine/records/index_keys.c -- scan of a record, combinations of its values, their keys. */
#include "engine/records/index_keys.h"

#include <string.h>

#include "engine/records/keycode.h"
#include "ftk/mem.h"

/* ---- scan ------------------------------------------------------------------------------------ */

void
index_scan_release(struct index_scan *scan)
{
    ftk_free(scan->slots);
    ftk_free(scan->next);
    memset(scan, 0, sizeof(*scan));
}

static ftk_status
scan_room(struct index_scan *scan, const struct index_plan *plan)
{
    void *memory = scan->slots;
    uint32_t capacity = plan->slot_count + 16;
    ftk_status rc;

    FTK_ASSERT(plan->slot_count <= INDEX_EDGES_MAX);
    if (plan->slot_count < scan->slot_capacity)
        return FTK_OK;
    rc = ftk_realloc(&memory, capacity * sizeof(*scan->slots));
    if (rc == FTK_OK) {
        scan->slots = memory;
        scan->slot_capacity = capacity;
    }
    return rc;
}

/* Another value of a slot that has one. */
static ftk_status
slot_repeat(struct index_scan *scan, struct index_slot *slot, uint32_t item)
{
    void *memory = scan->next;
    uint32_t capacity = scan->record->item_count + 16;
    ftk_status rc;

    if (item >= scan->next_capacity) {
        rc = ftk_realloc(&memory, capacity * sizeof(*scan->next));
        if (rc != FTK_OK)
            return rc;
        scan->next = memory;
        scan->next_capacity = capacity;
    }
    FTK_ASSERT(slot->count > 0 && slot->last < item && item < scan->record->item_count);
    scan->repeats = true;
    scan->next[slot->last] = item;
    slot->last = item;
    slot->count++;
    return FTK_OK;
}

static ftk_status
type_fail(const struct record_types *types, const struct record_item *item)
{
    static const char *const names[] = {"?",    "text",  "int",       "double",
                                        "bool", "bytes", "date-time", "group"};

    if (item->field >= types->count || types->types[item->field] == 0)
        return FTK_FAIL(FTK_CONSTRAINT, "field %u is not in the dictionary", item->field);
    return FTK_FAIL(FTK_CONSTRAINT, "field %u is of type %s, the record has %s", item->field,
                    names[types->types[item->field] & 7], names[item->type & 7]);
}

static ftk_status
required_check(const struct index_scan *scan, const struct index_plan *plan)
{
    const struct index_plan_use *use;
    const struct dict_part *part;

    for (use = plan->uses; use < plan->uses + plan->use_count; use++) {
        for (uint32_t p = 0; p < use->index->part_count; p++) {
            part = &use->index->parts[p];
            if ((part->flags & KILN_REQUIRED) != 0 && scan->slots[use->slots[p]].count == 0)
                return FTK_FAIL(FTK_CONSTRAINT, "index '%s' requires field %u, the record lacks it",
                                use->index->name, part->field);
        }
    }
    return FTK_OK;
}

ftk_status
index_scan(struct index_scan *scan, const struct record_types *types, const struct index_plan *plan,
           const struct kiln_record *record)
{
    const struct record_item *item = record->items;
    uint16_t
        nodes[KILN_RECORD_DEPTH_MAX + 1]; /* of the groups around, by depth; 0: not looked into */
    const struct index_plan_edge *edge;
    struct index_slot *slot;
    uint32_t found;
    ftk_status rc;

    scan->record = record;
    scan->repeats = false;
    rc = scan_room(scan, plan);
    if (rc != FTK_OK)
        return rc;
    memset(scan->slots, 0, (plan->slot_count + 1) * sizeof(*scan->slots));
    for (uint32_t i = 0; i < record->item_count; i++, item++) {
        if (FTK_UNLIKELY(item->field >= types->count || types->types[item->field] != item->type))
            return type_fail(types, item);
        if (item->depth == 0)
            found = item->field < plan->root_count ? plan->root[item->field] : 0;
        else
            found = nodes[item->depth] == 0
                        ? 0
                        : index_plan_edge_find(plan, nodes[item->depth], item->field);
        FTK_DEBUG_ASSERT(found <= plan->edge_count);
        edge = &plan->edges[found];
        if (item->type == KILN_GROUP) {
            FTK_ASSERT(item->depth < KILN_RECORD_DEPTH_MAX);
            nodes[item->depth + 1] = found == 0 ? 0 : edge->child;
            continue;
        }
        if (found == 0 || edge->slot == 0)
            continue;
        FTK_DEBUG_ASSERT(edge->slot <= plan->slot_count && plan->slot_count < scan->slot_capacity);
        slot = &scan->slots[edge->slot];
        if (slot->count == 0) {
            slot->first = slot->last = i;
            slot->count = 1;
            continue;
        }
        rc = slot_repeat(scan, slot, i);
        if (rc != FTK_OK)
            return rc;
    }
    return required_check(scan, plan);
}

/* ---- combinations ---------------------------------------------------------------------------- */

bool
index_combination_first(const struct index_scan *scan, const struct index_plan_use *use,
                        struct index_combination *combination)
{
    bool any = false;

    for (uint32_t p = 0; p < use->index->part_count; p++) {
        const struct index_slot *slot = &scan->slots[use->slots[p]];
        combination->items[p] = slot->count == 0 ? INDEX_NO_ITEM : slot->first;
        any |= slot->count != 0;
    }
    return any;
}

/* The last part turns fastest. */
bool
index_combination_next(const struct index_scan *scan, const struct index_plan_use *use,
                       struct index_combination *combination)
{
    if (FTK_LIKELY(!scan->repeats))
        return false;
    for (uint32_t p = use->index->part_count; p-- > 0;) {
        const struct index_slot *slot = &scan->slots[use->slots[p]];
        if (slot->count < 2)
            continue;
        if (combination->items[p] != slot->last) {
            combination->items[p] = scan->next[combination->items[p]];
            return true;
        }
        combination->items[p] = slot->first;
    }
    return false;
}

static inline uint8_t *
part_put(uint8_t *to, const struct kiln_record *record, const struct record_item *item,
         size_t text_limit, bool *truncated)
{
    switch (item->type) {
    case KILN_TEXT:
    case KILN_BYTES:
        return keycode_text_put(to, record->body + item->offset, item->bytes, text_limit,
                                truncated);
    case KILN_DOUBLE: return keycode_double_put(to, record_item_double(record, item));
    case KILN_BOOL: return keycode_bool_put(to, item->bytes != 0);
    default: return keycode_int_put(to, record_item_int(record, item));
    }
}

uint8_t *
index_values_put(uint8_t *to, const struct kiln_record *record, const struct dict_index *index,
                 const struct index_combination *combination, size_t text_limit,
                 unsigned *flags_inout)
{
    bool truncated = false;

    for (uint32_t p = 0; p < index->part_count; p++) {
        const struct dict_part *part = &index->parts[p];
        uint8_t *first = to;
        if (combination->items[p] == INDEX_NO_ITEM) {
            to = keycode_missing_put(to, (kiln_type)part->type);
            *flags_inout |= INDEX_CHANGE_MISSING;
        } else {
            to =
                part_put(to, record, &record->items[combination->items[p]], text_limit, &truncated);
        }
        if ((part->flags & KILN_DESCENDING) != 0)
            keycode_invert(first, to);
    }
    if (truncated)
        *flags_inout |= INDEX_CHANGE_TRUNCATED;
    return to;
}

uint8_t *
index_suffix_put(uint8_t *to, const struct dict_index *index, uint32_t container, uint64_t id)
{
    FTK_ASSERT(container != 0 && id != 0);
    FTK_ASSERT(index->container == 0 || index->container == container);
    if (index->container == 0)
        to = keycode_number_put(to, container);
    return keycode_number_put(to, id);
}

ftk_status
index_values_get(const struct dict_index *index, const uint8_t *key, size_t key_bytes,
                 size_t *values_bytes, unsigned *flags)
{
    uint8_t text[KILN_KEY_MAX];
    const uint8_t *from = key;
    struct keycode_part part;

    *flags = 0;
    if (key_bytes > sizeof(text))
        return FTK_FAIL(FTK_CORRUPT, "index '%s': key of %zu bytes", index->name, key_bytes);
    for (uint32_t i = 0; i < index->part_count; i++) {
        from = keycode_part_get(from, key + key_bytes, (kiln_type)index->parts[i].type,
                                (index->parts[i].flags & KILN_DESCENDING) != 0, text, &part);
        if (from == NULL)
            return FTK_FAIL(FTK_CORRUPT, "index '%s': malformed key", index->name);
        if (part.type == 0)
            *flags |= INDEX_CHANGE_MISSING;
        if (part.truncated)
            *flags |= INDEX_CHANGE_TRUNCATED;
    }
    *values_bytes = (size_t)(from - key);
    FTK_ASSERT(*values_bytes <= key_bytes);
    return FTK_OK;
}

/* Room for a key with whole texts: every byte escaped. */
static size_t
whole_bytes(const struct kiln_record *record, const struct dict_index *index,
            const struct index_combination *combination)
{
    size_t bytes = KILN_KEY_MAX;

    for (uint32_t p = 0; p < index->part_count; p++) {
        if (combination->items[p] != INDEX_NO_ITEM)
            bytes += 2 * (size_t)record->items[combination->items[p]].bytes + 2;
    }
    return bytes;
}

/* ---- push ------------------------------------------------------------------------------------ */

void
index_batch_release(struct index_batch *batch)
{
    ftk_free(batch->keys);
    ftk_free(batch->changes);
    memset(batch, 0, sizeof(*batch));
}

void
index_batch_clear(struct index_batch *batch)
{
    batch->keys_bytes = 0;
    batch->count = 0;
}

void
index_batch_mark(struct index_batch *batch)
{
    batch->mark_bytes = batch->keys_bytes;
    batch->mark_count = batch->count;
}

void
index_batch_cut(struct index_batch *batch)
{
    FTK_ASSERT(batch->mark_bytes <= batch->keys_bytes && batch->mark_count <= batch->count);
    batch->keys_bytes = batch->mark_bytes;
    batch->count = batch->mark_count;
}

/* Room for one more change with a key of key_bytes. */
static ftk_status
batch_grow(struct index_batch *batch, size_t key_bytes)
{
    size_t keys_capacity = batch->keys_capacity == 0 ? 16384 : batch->keys_capacity;
    uint32_t capacity = batch->capacity == 0 ? 256 : batch->capacity * 2;
    void *memory = batch->keys;
    ftk_status rc = FTK_OK;

    while (keys_capacity - batch->keys_bytes < key_bytes)
        keys_capacity *= 2;
    if (keys_capacity > UINT32_MAX) {
        rc = FTK_FAIL(FTK_TOOBIG, "index changes of one record of more than 4 GiB");
        goto out;
    }
    if (keys_capacity != batch->keys_capacity) {
        FTK_TRY(ftk_realloc(&memory, keys_capacity));
        batch->keys = memory;
        batch->keys_capacity = keys_capacity;
    }
    if (batch->count == batch->capacity) {
        memory = batch->changes;
        FTK_TRY(ftk_realloc(&memory, capacity * sizeof(*batch->changes)));
        batch->changes = memory;
        batch->capacity = capacity;
    }
    FTK_ASSERT(batch->keys_capacity - batch->keys_bytes >= key_bytes &&
               batch->count < batch->capacity);
out:
    return rc;
}

static inline ftk_status
batch_room(struct index_batch *batch, size_t key_bytes)
{
    if (FTK_LIKELY(batch->keys_capacity - batch->keys_bytes >= key_bytes &&
                   batch->count < batch->capacity))
        return FTK_OK;
    return batch_grow(batch, key_bytes);
}

/* The key from `first` to `end` is in place; values end at values_end. */
static inline void
batch_add(struct index_batch *batch, const uint8_t *values_end, const uint8_t *end, uint32_t flags)
{
    struct index_change *change = &batch->changes[batch->count++];
    const uint8_t *first = batch->keys + batch->keys_bytes;

    FTK_ASSERT((size_t)(end - first) <= batch->keys_capacity - batch->keys_bytes);
    FTK_ASSERT(values_end > first && values_end <= end);
    change->offset = (uint32_t)batch->keys_bytes;
    change->key_bytes = (uint32_t)(end - first);
    change->values_bytes = (uint32_t)(values_end - first);
    change->flags = flags;
    batch->keys_bytes += change->key_bytes;
}

ftk_status
index_keys_push(struct index_batch *batch, const struct index_scan *scan,
                const struct index_plan_use *use, uint32_t container, uint64_t id, uint32_t flags)
{
    const struct dict_index *index = use->index;
    struct index_combination combination;
    uint8_t *first, *values_end;
    uint32_t count = 0;
    unsigned key_flags;
    ftk_status rc;

    if (!index_combination_first(scan, use, &combination))
        return FTK_OK;
    do {
        if (count++ == INDEX_COMBINATIONS_MAX)
            return FTK_FAIL(FTK_TOOBIG,
                            "index '%s': more than %d combinations of values in a record",
                            index->name, INDEX_COMBINATIONS_MAX);
        rc = batch_room(batch, KILN_KEY_MAX);
        if (rc != FTK_OK)
            return rc;
        first = batch->keys + batch->keys_bytes;
        key_flags = flags;
        values_end = index_values_put(first, scan->record, index, &combination, index->text_limit,
                                      &key_flags);
        batch_add(batch, values_end, index_suffix_put(values_end, index, container, id), key_flags);
        FTK_ASSERT(batch->changes[batch->count - 1].key_bytes <= KILN_KEY_MAX); /* text_limit */
    } while (index_combination_next(scan, use, &combination));
    return FTK_OK;
}

ftk_status
index_keys_push_whole(struct index_batch *batch, const struct index_scan *scan,
                      const struct index_plan_use *use)
{
    struct index_combination combination;
    unsigned flags = 0;
    uint8_t *end;
    ftk_status rc;

    if (!index_combination_first(scan, use, &combination))
        return FTK_OK;
    do {
        rc = batch_room(batch, whole_bytes(scan->record, use->index, &combination));
        if (rc != FTK_OK)
            return rc;
        end = index_values_put(batch->keys + batch->keys_bytes, scan->record, use->index,
                               &combination, UINT32_MAX, &flags);
        batch_add(batch, end, end, 0);
    } while (index_combination_next(scan, use, &combination));
    return FTK_OK;
}

ftk_status
index_batch_copy(struct index_batch *batch, const struct index_batch *from,
                 const struct index_change *change, uint32_t flags)
{
    uint8_t *first;
    ftk_status rc = batch_room(batch, KILN_KEY_MAX);

    if (rc != FTK_OK)
        return rc;
    FTK_ASSERT(batch != from && change->key_bytes <= KILN_KEY_MAX);
    first = batch->keys + batch->keys_bytes;
    memcpy(first, from->keys + change->offset, change->key_bytes);
    batch_add(batch, first + change->values_bytes, first + change->key_bytes,
              change->flags | flags);
    return FTK_OK;
}

ftk_status
index_batch_values(struct index_batch *batch, const struct index_batch *from,
                   const struct index_change *change)
{
    uint8_t *first;
    ftk_status rc = batch_room(batch, KILN_KEY_MAX);

    if (rc != FTK_OK)
        return rc;
    FTK_ASSERT(batch != from && change->values_bytes <= change->key_bytes);
    first = batch->keys + batch->keys_bytes;
    memcpy(first, from->keys + change->offset, change->values_bytes);
    batch_add(batch, first + change->values_bytes, first + change->values_bytes, change->flags);
    return FTK_OK;
}
