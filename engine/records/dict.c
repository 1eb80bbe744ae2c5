/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/records/dict.c -- a dictionary in memory (dict_rows.c has its rows).
 *
 * Invariants:
 *   1. Field numbers ascend from 1; fields are never dropped.  A number without a field (one that a
 *      transaction took and did not commit) has type 0 and no name.
 *   2. containers and indexes ascend by number; position is the place in the array.
 *   3. Every name is in `names` once per kind.
 */
#include "engine/records/dict.h"

#include <stdio.h>
#include <string.h>

#include "engine/db/extension.h"
#include "ftk/checksum.h"
#include "ftk/mem.h"

enum { CHUNK_BYTES = 4096 };

struct dict_chunk {
    struct dict_chunk *next;
    size_t used, capacity;
    _Alignas(16) uint8_t memory[];
};

struct dict_name {
    const char *name; /* NULL: free */
    uint32_t name_bytes;
    int kind;
    uint32_t number;
    uint32_t hash;
};

/* ---- life ------------------------------------------------------------------------------------ */

ftk_status
dict_new(struct dict **dict_out)
{
    struct dict *dict = NULL;
    ftk_status rc;

    *dict_out = NULL;
    FTK_TRY(FTK_NEW(&dict));
    atomic_init(&dict->references, 1);
    dict->field_next = dict->container_next = dict->index_next = 1;
    *dict_out = dict;
out:
    return rc;
}

void
dict_retain(struct dict *dict)
{
    uint32_t before = atomic_fetch_add_explicit(&dict->references, 1, memory_order_relaxed);

    FTK_ASSERT(before > 0);
}

void
dict_release(struct dict *dict)
{
    struct dict_chunk *chunk, *next;

    if (dict == NULL || atomic_fetch_sub_explicit(&dict->references, 1, memory_order_acq_rel) != 1)
        return;
    for (chunk = dict->chunks; chunk != NULL; chunk = next) {
        next = chunk->next;
        ftk_free(chunk);
    }
    ftk_free(dict->types_own);
    ftk_free(dict->field_names);
    ftk_free(dict->containers);
    ftk_free(dict->indexes);
    ftk_free(dict->names);
    ftk_free(dict);
}

ftk_status
dict_memory(struct dict *dict, size_t bytes, void **out)
{
    struct dict_chunk *chunk = dict->chunks;
    size_t capacity;
    ftk_status rc = FTK_OK;

    bytes = (bytes + 15) & ~(size_t)15;
    if (chunk == NULL || chunk->capacity - chunk->used < bytes) {
        capacity = bytes > CHUNK_BYTES ? bytes : CHUNK_BYTES;
        rc = ftk_alloc(sizeof(*chunk) + capacity, (void **)&chunk);
        if (rc != FTK_OK)
            return rc;
        chunk->next = dict->chunks;
        chunk->used = 0;
        chunk->capacity = capacity;
        dict->chunks = chunk;
    }
    *out = chunk->memory + chunk->used;
    chunk->used += bytes;
    FTK_ASSERT(chunk->used <= chunk->capacity);
    return rc;
}

static ftk_status
text_copy(struct dict *dict, const char *text, size_t text_bytes, const char **out)
{
    void *memory;
    ftk_status rc;

    FTK_TRY(dict_memory(dict, text_bytes + 1, &memory));
    memcpy(memory, text, text_bytes);
    ((char *)memory)[text_bytes] = '\0';
    *out = memory;
out:
    return rc;
}

/* ---- names ----------------------------------------------------------------------------------- */

static struct dict_name *
name_slot(const struct dict *dict, int kind, const char *name, size_t name_bytes, uint32_t hash)
{
    struct dict_name *slot;

    FTK_ASSERT(dict->name_count < dict->name_capacity); /* a free place ends the search */
    for (uint32_t i = hash;; i++) {
        slot = &dict->names[i & (dict->name_capacity - 1)];
        if (slot->name == NULL ||
            (slot->hash == hash && slot->kind == kind && slot->name_bytes == name_bytes &&
             memcmp(slot->name, name, name_bytes) == 0))
            return slot;
    }
}

static uint32_t
name_hash(int kind, const char *name, size_t name_bytes)
{
    return (uint32_t)ftk_checksum(name, name_bytes, (uint64_t)kind);
}

uint32_t
dict_find(const struct dict *dict, int kind, const char *name, size_t name_bytes)
{
    if (dict->name_count == 0)
        return 0;
    return name_slot(dict, kind, name, name_bytes, name_hash(kind, name, name_bytes))->number;
}

static ftk_status
names_grow(struct dict *dict)
{
    struct dict_name *old = dict->names;
    uint32_t old_capacity = dict->name_capacity;
    uint32_t capacity = old_capacity == 0 ? 64 : old_capacity * 2;
    struct dict_name *names = NULL;
    ftk_status rc;

    FTK_TRY(FTK_NEW_ARRAY(&names, capacity));
    dict->names = names;
    dict->name_capacity = capacity;
    for (uint32_t i = 0; i < old_capacity; i++) {
        if (old[i].name != NULL)
            *name_slot(dict, old[i].kind, old[i].name, old[i].name_bytes, old[i].hash) = old[i];
    }
    ftk_free(old);
out:
    return rc;
}

/* name_kept lives as long as the dictionary. */
static ftk_status
name_add(struct dict *dict, int kind, const char *name_kept, size_t name_bytes, uint32_t number)
{
    struct dict_name *slot;
    uint32_t hash = name_hash(kind, name_kept, name_bytes);
    ftk_status rc = FTK_OK;

    if (dict->name_count >= dict->name_capacity / 2)
        FTK_TRY(names_grow(dict));
    slot = name_slot(dict, kind, name_kept, name_bytes, hash);
    if (slot->name != NULL) {
        rc = FTK_FAIL(FTK_CORRUPT, "dictionary: name '%s' is there twice, as %u and %u", name_kept,
                      slot->number, number);
        goto out;
    }
    FTK_ASSERT(number != 0);
    slot->name = name_kept;
    slot->name_bytes = (uint32_t)name_bytes;
    slot->kind = kind;
    slot->number = number;
    slot->hash = hash;
    dict->name_count++;
out:
    return rc;
}

/* ---- numbers --------------------------------------------------------------------------------- */

const struct dict_container *
dict_container_of(const struct dict *dict, uint32_t number)
{
    uint32_t low = 0, high = dict->container_count;

    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (dict->containers[middle]->number < number)
            low = middle + 1;
        else
            high = middle;
    }
    if (low < dict->container_count && dict->containers[low]->number == number)
        return dict->containers[low];
    return NULL;
}

const struct dict_index *
dict_index_of(const struct dict *dict, uint32_t number)
{
    uint32_t low = 0, high = dict->index_count;

    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (dict->indexes[middle]->number < number)
            low = middle + 1;
        else
            high = middle;
    }
    if (low < dict->index_count && dict->indexes[low]->number == number)
        return dict->indexes[low];
    return NULL;
}

/* Room for one more element of size bytes. */
static ftk_status
array_grow(void **array, uint32_t count, uint32_t *capacity, size_t size)
{
    uint32_t more = *capacity == 0 ? 16 : *capacity * 2;
    ftk_status rc = FTK_OK;

    if (count < *capacity)
        return rc;
    rc = ftk_realloc(array, more * size);
    if (rc == FTK_OK)
        *capacity = more;
    return rc;
}

static ftk_status
field_room(struct dict *dict, uint32_t number)
{
    uint32_t capacity = dict->field_capacity;
    ftk_status rc;

    FTK_TRY(array_grow((void **)&dict->types_own, number, &capacity, 1));
    dict->types.types = dict->types_own;
    capacity = dict->field_capacity;
    FTK_TRY(array_grow((void **)&dict->field_names, number, &capacity, sizeof(*dict->field_names)));
    dict->field_capacity = capacity;
out:
    return rc;
}

ftk_status
dict_add_field(struct dict *dict, uint32_t number, kiln_type type, const char *name,
               size_t name_bytes)
{
    ftk_status rc;

    FTK_ASSERT(number >= dict->types.count &&
               number - dict->types.count <= DICT_FIELD_GAPS_MAX + 1);
    for (uint32_t n = dict->types.count; n <= number; n++) { /* there is no field 0, and gaps */
        FTK_TRY(field_room(dict, n));
        dict->types_own[n] = 0;
        dict->field_names[n] = NULL;
    }
    FTK_TRY(text_copy(dict, name, name_bytes, &dict->field_names[number]));
    FTK_TRY(name_add(dict, DICT_KIND_FIELD, dict->field_names[number], name_bytes, number));
    FTK_ASSERT(number < dict->field_capacity && type >= KILN_TEXT && type <= KILN_GROUP);
    dict->types_own[number] = (uint8_t)type;
    dict->types.count = number + 1;
out:
    return rc;
}

ftk_status
dict_add_container(struct dict *dict, uint32_t number, kiln_coll coll, const char *name,
                   size_t name_bytes)
{
    struct dict_container *container;
    void *memory;
    ftk_status rc;

    FTK_ASSERT(number != 0 && coll != 0);
    FTK_ASSERT(dict->container_count == 0 ||
               dict->containers[dict->container_count - 1]->number < number);
    FTK_TRY(array_grow((void **)&dict->containers, dict->container_count, &dict->container_capacity,
                       sizeof(struct dict_container *)));
    FTK_TRY(dict_memory(dict, sizeof(*container), &memory));
    container = memory;
    memset(container, 0, sizeof(*container));
    container->number = number;
    container->position = dict->container_count;
    container->coll = coll;
    FTK_TRY(text_copy(dict, name, name_bytes, &container->name));
    FTK_TRY(name_add(dict, DICT_KIND_CONTAINER, container->name, name_bytes, number));
    dict->containers[dict->container_count++] = container;
out:
    return rc;
}

ftk_status
dict_add_index(struct dict *dict, const struct dict_index *model)
{
    struct dict_index *index;
    uint32_t *path;
    void *memory;
    ftk_status rc;

    FTK_ASSERT(model->part_count >= 1 && model->part_count <= KILN_INDEX_PARTS_MAX);
    FTK_ASSERT(dict->index_count == 0 ||
               dict->indexes[dict->index_count - 1]->number < model->number);
    FTK_TRY(array_grow((void **)&dict->indexes, dict->index_count, &dict->index_capacity,
                       sizeof(struct dict_index *)));
    FTK_TRY(dict_memory(dict, sizeof(*index), &memory));
    index = memory;
    *index = *model;
    index->position = dict->index_count;
    FTK_TRY(text_copy(dict, model->name, strlen(model->name), &index->name));
    for (uint32_t i = 0; i < model->part_count; i++) {
        FTK_TRY(dict_memory(dict, (model->parts[i].path_count + 1u) * sizeof(*path), &memory));
        path = memory;
        for (uint32_t p = 0; p < model->parts[i].path_count; p++)
            path[p] = model->parts[i].path[p];
        index->parts[i].path = path;
    }
    FTK_TRY(name_add(dict, DICT_KIND_INDEX, index->name, strlen(index->name), index->number));
    dict->indexes[dict->index_count++] = index;
out:
    return rc;
}

ftk_status
dict_coll_open(kiln_txn *txn, char letter, uint32_t number, uint32_t flags, kiln_coll *coll_out)
{
    char name[16];
    int name_bytes = snprintf(name, sizeof(name), RECORDS_NAME_BYTE "%c%u", letter, number);

    FTK_ASSERT((letter == 'c' || letter == 'i') && number != 0);
    FTK_ASSERT(name_bytes > 0 && (size_t)name_bytes < sizeof(name));
    return coll_open_internal(txn, name, (size_t)name_bytes,
                              flags | (letter == 'c' ? COLL_U64_KEYS : COLL_KEYS_ONLY), coll_out);
}
