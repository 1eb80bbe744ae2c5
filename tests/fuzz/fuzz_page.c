/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/fuzz/fuzz_page.c -- any bytes as a leaf or an inner page.
 *
 * What node_validate takes (as when a page is read) must be safe to search, to read, and to change;
 * what it takes thoroughly must keep its order through changes.  The first byte chooses the page
 * size; the rest is the page, zero-padded in the middle: its first half is the page's beginning,
 * its second half the page's end.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/page/node.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t scratch[PAGE_BYTES_MAX], copy[PAGE_BYTES_MAX], right[PAGE_BYTES_MAX];

static void
must(bool held)
{
    if (!held)
        abort();
}

static void
read_everything(struct node node)
{
    uint32_t first = node.page[PAGE_TYPE] == PAGE_INNER ? 1 : 0;
    uint8_t key[NODE_KEY_MAX];
    volatile uint64_t sum = 0;

    for (uint32_t i = 0; i < node_count(node.page); i++) {
        struct node_entry entry;
        uint32_t key_size;
        bool exact;
        node_entry(node, i, &entry);
        for (uint32_t j = 0; j < entry.value_size && entry.value != NULL; j++)
            sum += entry.value[j];
        key_size = node_key(node, i, key);
        must(key_size <= NODE_KEY_MAX);
        if (first == 0)
            (void)node_lower_bound(node, key, key_size, &exact);
        else
            must(node_child_pos(node, key, key_size) < node_count(node.page));
        if (i >= first)
            (void)node_compare(node, i, key, key_size);
    }
    (void)node_used_bytes(node);
    (void)sum;
}

/* A key and a value derived from the page's own bytes. */
static uint32_t
some_key(const uint8_t *page, uint32_t bytes, uint32_t round, uint8_t *key)
{
    uint32_t size = 1 + page[(round * 131) % bytes] * (round % 4 + 1);

    for (uint32_t i = 0; i < size; i++)
        key[i] = page[(round * 977 + i * 3) % bytes];
    return size;
}

static void
change_leaf(struct node node)
{
    static const uint8_t bytes[900];
    uint8_t key[NODE_KEY_MAX];

    for (uint32_t round = 0; round < 24; round++) {
        struct node_value value = {.data = bytes, .size = round * 37 % 900};
        uint32_t key_size = some_key(node.page, node.bytes, round, key);
        bool exact;
        uint32_t pos = node_lower_bound(node, key, key_size, &exact);
        if (exact && round % 2 == 0)
            node_remove(node, pos);
        else if (exact)
            (void)node_replace(node, pos, &value, scratch);
        else if (node_prefix_matches(node, key, key_size))
            (void)node_insert(node, pos, key, key_size, &value, scratch);
        must(node_validate(node.page, node.bytes, 1, true) == FTK_OK);
    }
}

static void
change_inner(struct node node)
{
    uint8_t key[NODE_KEY_MAX];

    for (uint32_t round = 0; round < 24; round++) {
        struct node_value value = {.child = page_ref_make(round + 1, round)};
        uint32_t key_size = some_key(node.page, node.bytes, round, key);
        uint32_t pos = node_child_pos(node, key, key_size);
        node_set_child(node, pos, page_ref_make(round, round));
        if (pos > 0 && round % 3 == 0 && node_count(node.page) > 1)
            node_remove(node, pos);
        else if (node_prefix_matches(node, key, key_size) &&
                 (pos == 0 || node_compare(node, pos, key, key_size) < 0))
            (void)node_insert(node, pos + 1, key, key_size, &value, scratch);
        must(node_validate(node.page, node.bytes, 1, true) == FTK_OK);
    }
}

static void
split_and_merge(struct node node)
{
    struct node_source source = {.node = node, .extra_pos = UINT32_MAX};
    struct node low = {scratch, node.bytes}, high = {right, node.bytes};
    uint32_t count = node_count(node.page), at, size;
    uint8_t separator[NODE_KEY_MAX];

    if (count < 2)
        return;
    at = node_split_point(&source);
    must(at > 0 && at < count);
    size = node_source_key(&source, at, separator);
    if (!node_build(&source, 0, at, low, 1, NODE_PREFIX_BEST) ||
        !node_build(&source, at, count, high, 1, NODE_PREFIX_BEST))
        return;
    must(node_validate(low.page, low.bytes, 1, true) == FTK_OK);
    must(node_validate(high.page, high.bytes, 1, true) == FTK_OK);
    if (!node_merge(low, high, separator, size, (struct node){copy, node.bytes}, 1))
        return;
    must(node_validate(copy, node.bytes, 1, true) == FTK_OK);
    must(node_count(copy) == count);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint32_t bytes = size > 0 ? 4096u << data[0] % 5 : 4096;
    uint8_t *page = calloc(1, bytes); /* of its own, so that overruns show */
    struct node node = {page, bytes};
    size_t half;

    if (page == NULL)
        abort();
    if (size > 1) {
        data++;
        size = size - 1 > bytes ? bytes : size - 1;
        half = size / 2;
        memcpy(page, data, half);
        memcpy(page + bytes - (size - half), data + half, size - half);
    }
    if (node_validate(page, bytes, 1, false) == FTK_OK) {
        read_everything(node);
        if (node_validate(page, bytes, 1, true) == FTK_OK) {
            split_and_merge(node);
            if (page[PAGE_TYPE] == PAGE_LEAF)
                change_leaf(node);
            else
                change_inner(node);
        }
    }
    free(page);
    return 0;
}
