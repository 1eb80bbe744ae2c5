/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/tree/batch_sort.c -- sort a batch of keys on the 8 bytes behind the prefix that all keys
 * share:
 * radix sort on the first bytes that tell most keys apart, insertion sort for the rest, then runs
 * of equal heads by comparison.  Stable.
 */
#include <string.h>

#include "engine/tree/tree.h"

static uint64_t
head_at(kiln_slice key, size_t skip)
{
    const uint8_t *bytes = key.data;
    uint64_t head = 0;

    if (key.size >= skip + 8)
        return ftk_get_be64(bytes + skip);
    for (size_t i = skip; i < key.size; i++)
        head |= (uint64_t)bytes[i] << (56 - 8 * (i - skip));
    return head;
}

static size_t
common_prefix(const kiln_slice *keys, size_t count)
{
    size_t common = keys[0].size;

    for (size_t i = 1; i < count && common > 0; i++) {
        size_t n = keys[i].size < common ? keys[i].size : common;
        const uint8_t *a = keys[0].data, *b = keys[i].data;
        if (n == common && memcmp(a, b, n) == 0)
            continue;
        size_t same = 0;
        while (same < n && a[same] == b[same])
            same++;
        common = same;
    }
    return common;
}

/* Runs of equal heads: stable insertion by the whole key. */
static void
sort_runs(const kiln_slice *keys, size_t count, struct batch_item *items)
{
    for (size_t i = 1; i < count; i++) {
        struct batch_item item = items[i];
        size_t j = i;
        while (j > 0 && items[j - 1].head == item.head &&
               ftk_bytes_compare(keys[items[j - 1].index].data, keys[items[j - 1].index].size,
                                 keys[item.index].data, keys[item.index].size) > 0) {
            items[j] = items[j - 1];
            j--;
        }
        items[j] = item;
    }
}

/* Stable by the bytes first..7 of the heads (7 is the most significant). */
static void
radix_sort(struct batch_item *items, struct batch_item *scratch, size_t count, unsigned first)
{
    uint32_t counts[8][256];
    struct batch_item *from = items, *to = scratch;

    FTK_ASSERT(count > 0 && first < 8);
    memset(counts, 0, sizeof(counts));
    for (size_t i = 0; i < count; i++)
        for (unsigned digit = first; digit < 8; digit++)
            counts[digit][items[i].head >> (8 * digit) & 255]++;
    for (unsigned digit = first; digit < 8; digit++) {
        uint32_t *bucket = counts[digit];
        uint32_t at = 0;
        if (bucket[from[0].head >> (8 * digit) & 255] == count)
            continue; /* all alike */
        for (unsigned value = 0; value < 256; value++) {
            uint32_t n = bucket[value];
            bucket[value] = at;
            at += n;
        }
        for (size_t i = 0; i < count; i++)
            to[bucket[from[i].head >> (8 * digit) & 255]++] = from[i];
        struct batch_item *swap = from;
        from = to;
        to = swap;
    }
    if (from != items)
        memcpy(items, from, count * sizeof(*items));
}

/* Two bytes tell most of a batch's keys apart; the few left are put right by insertion, unless they
 * turn out to be many. */
static void
head_sort(struct batch_item *items, struct batch_item *scratch, size_t count)
{
    size_t moves = 8 * count;

    radix_sort(items, scratch, count, 6);
    for (size_t i = 1; i < count; i++) {
        struct batch_item item = items[i];
        size_t j = i;
        for (; j > 0 && items[j - 1].head > item.head; j--)
            items[j] = items[j - 1];
        items[j] = item;
        if (FTK_UNLIKELY(i - j > moves)) {
            radix_sort(items, scratch, count, 0);
            return;
        }
        moves -= i - j;
    }
}

/* Long runs of equal heads are sorted anew on the bytes behind them. */
static void
sort_from(const kiln_slice *keys, size_t count, struct batch_item *items,
          struct batch_item *scratch, size_t skip)
{
    bool ascending = true;

    for (size_t i = 0; i < count; i++) {
        items[i].head = head_at(keys[items[i].index], skip);
        if (i > 0 && items[i].head < items[i - 1].head)
            ascending = false;
    }
    if (!ascending)
        head_sort(items, scratch, count);
    for (size_t from = 0; from < count;) {
        size_t to = from + 1;
        bool longer = keys[items[from].index].size > skip + 8;
        while (to < count && items[to].head == items[from].head) {
            longer |= keys[items[to].index].size > skip + 8;
            to++;
        }
        if (to - from > 16 && longer && skip + 8 <= NODE_KEY_MAX)
            sort_from(keys, to - from, items + from, scratch, skip + 8);
        else if (to - from > 1)
            sort_runs(keys, to - from, items + from);
        from = to;
    }
}

static bool
is_in_order(const kiln_slice *keys, const struct batch_item *a, const struct batch_item *b)
{
    const kiln_slice *x = &keys[a->index], *y = &keys[b->index];
    int order = ftk_bytes_compare(x->data, x->size, y->data, y->size);

    return order < 0 || (order == 0 && a->index < b->index);
}

void
batch_sort(const kiln_slice *keys, size_t count, struct batch_item *items,
           struct batch_item *scratch)
{
    FTK_ASSERT(count <= UINT32_MAX);
    for (size_t i = 0; i < count; i++)
        items[i] = (struct batch_item){.index = (uint32_t)i};
    if (count > 1)
        sort_from(keys, count, items, scratch, common_prefix(keys, count));
    for (size_t i = 1; i < count; i++)
        FTK_DEBUG_ASSERT(is_in_order(keys, &items[i - 1], &items[i]));
}
