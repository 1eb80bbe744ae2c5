/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/records/index_sort.c -- sorts a batch of index changes.
 *
 * Keys of a batch often begin alike (records loaded in the order of their names), so the bytes
 * common to all of them are left out, and the next eight (the head) decide nearly every comparison
 * without touching the key.  A merge sort, because runs that are sorted already cost one pass, and
 * because it is stable: of equal keys the last change is the last in order.
 */
#include <string.h>

#include "engine/records/index_keys.h"
#include "ftk/bytes.h"
#include "ftk/mem.h"

void
index_sorter_release(struct index_sorter *sorter)
{
    ftk_free(sorter->entries);
    memset(sorter, 0, sizeof(*sorter));
}

static ftk_status
sorter_room(struct index_sorter *sorter, uint32_t count)
{
    uint32_t capacity = sorter->capacity == 0 ? 256 : sorter->capacity;
    void *memory = NULL;
    ftk_status rc;

    if (count <= sorter->capacity)
        return FTK_OK;
    while (capacity < count)
        capacity *= 2;
    rc = ftk_alloc((size_t)capacity * 2 * sizeof(*sorter->entries), &memory);
    if (rc == FTK_OK) {
        ftk_free(sorter->entries);
        sorter->entries = memory;
        sorter->capacity = capacity;
    }
    return rc;
}

/* Bytes that all keys begin with. */
static uint32_t
common_bytes(const struct index_batch *batch)
{
    const uint8_t *first = batch->keys + batch->changes[0].offset;
    uint32_t common = batch->changes[0].key_bytes;
    const struct index_change *change = batch->changes + 1;
    const uint8_t *key;
    uint32_t i;

    for (; change < batch->changes + batch->count && common > 0; change++) {
        key = batch->keys + change->offset;
        if (change->key_bytes < common)
            common = change->key_bytes;
        if (memcmp(first, key, common) == 0)
            continue;
        for (i = 0; first[i] == key[i]; i++)
            ;
        common = i;
    }
    return common;
}

/* Eight bytes of a key from `skip` on, zeros after its end. */
static inline uint64_t
head_of(const struct index_batch *batch, const struct index_change *change, uint32_t skip)
{
    const uint8_t *from = batch->keys + change->offset + skip;
    uint32_t left = change->key_bytes - skip;
    uint64_t head = 0;

    if (left >= 8)
        return ftk_get_be64(from);
    for (uint32_t i = 0; i < left; i++)
        head |= (uint64_t)from[i] << (56 - 8 * i);
    return head;
}

static int
keys_compare(const struct index_batch *batch, uint32_t a, uint32_t b)
{
    const struct index_change *left = &batch->changes[a], *right = &batch->changes[b];

    return ftk_bytes_compare(batch->keys + left->offset, left->key_bytes,
                             batch->keys + right->offset, right->key_bytes);
}

static inline bool
is_above(const struct index_batch *batch, const struct index_sort_entry *a,
         const struct index_sort_entry *b)
{
    if (FTK_LIKELY(a->head != b->head))
        return a->head > b->head;
    return keys_compare(batch, a->change, b->change) > 0;
}

static inline bool
is_below(const struct index_batch *batch, const struct index_sort_entry *a,
         const struct index_sort_entry *b)
{
    if (FTK_LIKELY(a->head != b->head))
        return a->head < b->head;
    return keys_compare(batch, a->change, b->change) < 0;
}

enum { RUN = 8 };

static void
insertion_sort(const struct index_batch *batch, struct index_sort_entry *entries, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++) {
        struct index_sort_entry entry = entries[i];
        uint32_t j = i;
        for (; j > 0 && is_above(batch, &entries[j - 1], &entry); j--)
            entries[j] = entries[j - 1];
        entries[j] = entry;
    }
}

static void
merge(const struct index_batch *batch, const struct index_sort_entry *from, uint32_t middle,
      uint32_t count, struct index_sort_entry *to)
{
    uint32_t a = 0, b = middle;

    FTK_ASSERT(middle >= 1 && middle <= count);
    if (middle >= count || !is_above(batch, &from[middle - 1], &from[middle])) {
        memcpy(to, from, count * sizeof(*to));
        return;
    }
    while (a < middle && b < count)
        *to++ = is_above(batch, &from[a], &from[b]) ? from[b++] : from[a++];
    memcpy(to, from + a, (middle - a) * sizeof(*to));
    memcpy(to + (middle - a), from + b, (count - b) * sizeof(*to));
}

static struct index_sort_entry *
merge_sort(const struct index_batch *batch, struct index_sort_entry *entries, uint32_t count,
           struct index_sort_entry *spare)
{
    struct index_sort_entry *swap;
    uint32_t part;

    for (uint32_t i = 0; i < count; i += RUN)
        insertion_sort(batch, entries + i, count - i < RUN ? count - i : RUN);
    for (uint32_t run = RUN; run < count; run *= 2) {
        for (uint32_t i = 0; i < count; i += part) {
            part = count - i < 2 * run ? count - i : 2 * run;
            merge(batch, entries + i, run < part ? run : part, part, spare + i);
        }
        swap = entries;
        entries = spare;
        spare = swap;
    }
    return entries;
}

/* Of equal keys keep the last. */
static uint32_t
drop_equal(const struct index_batch *batch, struct index_sort_entry *entries, uint32_t count)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < count; i++) {
        if (i + 1 < count && entries[i].head == entries[i + 1].head &&
            keys_compare(batch, entries[i].change, entries[i + 1].change) == 0)
            continue;
        entries[kept++] = entries[i];
    }
    FTK_ASSERT(kept >= 1); /* the last one is never left out */
    return kept;
}

ftk_status
index_sort(struct index_sorter *sorter, const struct index_batch *batch,
           const struct index_sort_entry **order_out, uint32_t *count_out)
{
    struct index_sort_entry *entries;
    uint32_t skip;
    bool ascending = true;
    ftk_status rc;

    *order_out = NULL;
    *count_out = 0;
    if (batch->count == 0)
        return FTK_OK;
    rc = sorter_room(sorter, batch->count);
    if (rc != FTK_OK)
        return rc;
    entries = sorter->entries;
    skip = common_bytes(batch);
    FTK_ASSERT(skip <= batch->changes[0].key_bytes && batch->count <= sorter->capacity);
    for (uint32_t i = 0; i < batch->count; i++) {
        entries[i].head = head_of(batch, &batch->changes[i], skip);
        entries[i].change = i;
        entries[i].reserved = 0;
        ascending = ascending && (i == 0 || is_below(batch, &entries[i - 1], &entries[i]));
    }
    if (!ascending) {
        entries = merge_sort(batch, entries, batch->count, entries + sorter->capacity);
        *count_out = drop_equal(batch, entries, batch->count);
    } else {
        *count_out = batch->count;
    }
    FTK_ASSERT(*count_out >= 1 && *count_out <= batch->count);
    for (uint32_t i = 1; i < *count_out; i++)
        FTK_DEBUG_ASSERT(is_below(batch, &entries[i - 1], &entries[i]));
    *order_out = entries;
    return FTK_OK;
}
