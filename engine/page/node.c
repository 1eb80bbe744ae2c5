/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/page/node.c -- slotted pages: search, read, insert, remove.  Invariants:
 * engine/page/node.h.
 */
#include "engine/page/node.h"

#include <string.h>

#include "engine/page/node_internal.h"

enum { CAPACITY_STEP = 8 };

void
node_init(struct node node, enum page_type type, uint8_t flags, uint8_t level, uint8_t head_bytes,
          uint64_t birth, const void *prefix, uint32_t prefix_bytes)
{
    FTK_ASSERT((type == PAGE_LEAF) == (level == 0));
    FTK_ASSERT(head_bytes == 2 || head_bytes == 4);
    FTK_ASSERT(prefix_bytes <= NODE_KEY_MAX && node_heads_at_for(prefix_bytes) <= node.bytes);
    memset(node.page, 0, node_heads_at_for(prefix_bytes));
    ftk_put_le64(node.page + PAGE_BIRTH, birth);
    node.page[PAGE_TYPE] = (uint8_t)type;
    node.page[PAGE_FLAGS] = flags;
    node.page[PAGE_LEVEL] = level;
    node.page[PAGE_HEAD_BYTES] = head_bytes;
    ftk_put_le16(node.page + PAGE_PREFIX_BYTES, (uint16_t)prefix_bytes);
    ftk_put_le16(node.page + PAGE_HEADS_AT, (uint16_t)node_heads_at_for(prefix_bytes));
    if (prefix_bytes > 0)
        memcpy(node.page + PAGE_HEADER_BYTES, prefix, prefix_bytes);
}

/* ---- bodies ---------------------------------------------------------------------------------- */

static inline uint32_t
key_length_bytes(uint32_t size)
{
    return size < KEY_LENGTH_ESCAPE ? 1 : 1 + (uint32_t)ftk_varint_size(size - KEY_LENGTH_ESCAPE);
}

static inline uint8_t *
key_length_put(uint8_t *to, uint32_t size)
{
    if (size < KEY_LENGTH_ESCAPE) {
        *to++ = (uint8_t)size;
        return to;
    }
    *to++ = KEY_LENGTH_ESCAPE;
    return ftk_varint_put(to, size - KEY_LENGTH_ESCAPE);
}

/* Varint inside a page that has been validated: no bound needed. */
static inline const uint8_t *
varint_trusted(const uint8_t *from, uint32_t *value_out)
{
    uint32_t value = *from++;

    if (FTK_UNLIKELY(value >= 0x80)) {
        value &= 0x7f;
        for (unsigned shift = 7;; shift += 7) {
            uint32_t byte = *from++;
            value |= (byte & 0x7f) << shift;
            if (byte < 0x80)
                break;
        }
    }
    *value_out = value;
    return from;
}

static inline const uint8_t *
key_length_get(const uint8_t *from, uint32_t *size_out)
{
    uint32_t size = *from++;

    if (FTK_UNLIKELY(size == KEY_LENGTH_ESCAPE)) {
        from = varint_trusted(from, &size);
        size += KEY_LENGTH_ESCAPE;
    }
    *size_out = size;
    return from;
}

static inline bool
is_plain_leaf(const uint8_t *page)
{
    return page[PAGE_TYPE] == PAGE_LEAF && !(page[PAGE_FLAGS] & PAGE_KEYS_ONLY);
}

uint32_t
node__body_bytes(const uint8_t *page, uint32_t suffix_size, const struct node_value *value)
{
    uint32_t head = page[PAGE_HEAD_BYTES];
    uint32_t rest = suffix_size > head ? suffix_size - head : 0;

    if (page[PAGE_TYPE] == PAGE_INNER)
        return PAGE_REF_BYTES + key_length_bytes(suffix_size) + rest;
    if (page[PAGE_FLAGS] & PAGE_KEYS_ONLY)
        return key_length_bytes(suffix_size) + rest;
    uint32_t bytes = 1 + rest + value->size;
    if (suffix_size >= BODY_KEY_ESCAPE)
        bytes += (uint32_t)ftk_varint_size(suffix_size - BODY_KEY_ESCAPE);
    if (!value->large && value->size >= BODY_VALUE_ESCAPE)
        bytes += (uint32_t)ftk_varint_size(value->size - BODY_VALUE_ESCAPE);
    return bytes;
}

void
node__body_write(const uint8_t *page, uint8_t *to, const uint8_t *rest, uint32_t suffix_size,
                 const struct node_value *value)
{
    uint32_t head = page[PAGE_HEAD_BYTES];
    uint32_t rest_size = suffix_size > head ? suffix_size - head : 0;

    if (is_plain_leaf(page)) {
        uint32_t k = suffix_size < BODY_KEY_ESCAPE ? suffix_size : BODY_KEY_ESCAPE;
        uint32_t v = value->large                      ? BODY_VALUE_LARGE
                     : value->size < BODY_VALUE_ESCAPE ? value->size
                                                       : BODY_VALUE_ESCAPE;
        *to++ = (uint8_t)(k | v << 3);
        if (k == BODY_KEY_ESCAPE)
            to = ftk_varint_put(to, suffix_size - BODY_KEY_ESCAPE);
        if (v == BODY_VALUE_ESCAPE)
            to = ftk_varint_put(to, value->size - BODY_VALUE_ESCAPE);
    } else {
        if (page[PAGE_TYPE] == PAGE_INNER) {
            page_ref_put(to, value->child);
            to += PAGE_REF_BYTES;
        }
        to = key_length_put(to, suffix_size);
    }
    if (rest_size > 0)
        memcpy(to, rest, rest_size);
    if (is_plain_leaf(page) && value->size > 0)
        memcpy(to + rest_size, value->data, value->size);
}

/* The suffix length and rest of an entry: what comparing needs. */
static inline const uint8_t *
body_rest(const uint8_t *page, const uint8_t *body, uint32_t *suffix_size_out)
{
    if (is_plain_leaf(page)) {
        uint32_t k = *body & 7;
        uint32_t v = *body >> 3;
        body++;
        if (k == BODY_KEY_ESCAPE) {
            body = varint_trusted(body, &k);
            k += BODY_KEY_ESCAPE;
        }
        if (v == BODY_VALUE_ESCAPE)
            while (*body++ >= 0x80) {
            }
        *suffix_size_out = k;
        return body;
    }
    if (page[PAGE_TYPE] == PAGE_INNER)
        body += PAGE_REF_BYTES;
    return key_length_get(body, suffix_size_out);
}

void
node_entry(struct node node, uint32_t pos, struct node_entry *entry)
{
    const uint8_t *page = node.page;
    const uint8_t *body = node_body(page, pos);
    const uint8_t *at = body;
    uint32_t head_bytes = page[PAGE_HEAD_BYTES];
    uint32_t k, v = 0;

    entry->child = (struct page_ref){0};
    entry->large = false;
    if (is_plain_leaf(page)) {
        k = *at & 7;
        v = *at >> 3;
        at++;
        if (k == BODY_KEY_ESCAPE) {
            at = varint_trusted(at, &k);
            k += BODY_KEY_ESCAPE;
        }
        if (v == BODY_VALUE_ESCAPE) {
            at = varint_trusted(at, &v);
            v += BODY_VALUE_ESCAPE;
        } else if (v == BODY_VALUE_LARGE) {
            v = LARGE_REF_BYTES;
            entry->large = true;
        }
    } else {
        if (page[PAGE_TYPE] == PAGE_INNER) {
            entry->child = page_ref_get(at);
            at += PAGE_REF_BYTES;
        }
        at = key_length_get(at, &k);
    }
    entry->suffix_size = k;
    entry->head_size = k < head_bytes ? k : head_bytes;
    node_head_bytes_of(node_head(page, pos), head_bytes, entry->head);
    entry->rest = at;
    at += k - entry->head_size;
    entry->value = page[PAGE_TYPE] == PAGE_INNER ? NULL : at;
    entry->value_size = v;
    entry->body_bytes = (uint32_t)(at + v - body);
}

uint32_t
node_key(struct node node, uint32_t pos, uint8_t *buffer)
{
    uint32_t prefix = node_prefix_bytes(node.page);
    struct node_entry entry;

    node_entry(node, pos, &entry);
    memcpy(buffer, node.page + PAGE_HEADER_BYTES, prefix);
    memcpy(buffer + prefix, entry.head, entry.head_size);
    FTK_ASSERT(prefix + entry.suffix_size <= NODE_KEY_MAX);
    memcpy(buffer + prefix + entry.head_size, entry.rest, entry.suffix_size - entry.head_size);
    return prefix + entry.suffix_size;
}

/* ---- search ---------------------------------------------------------------------------------- */

/* Compare entry pos, whose head equals the suffix's, with the suffix. */
static int
compare_rest(const uint8_t *page, uint32_t pos, const uint8_t *suffix, uint32_t suffix_size)
{
    uint32_t head_bytes = page[PAGE_HEAD_BYTES];
    uint32_t size;
    const uint8_t *rest = body_rest(page, node_body(page, pos), &size);
    uint32_t a = size > head_bytes ? size - head_bytes : 0;
    uint32_t b = suffix_size > head_bytes ? suffix_size - head_bytes : 0;
    uint32_t n = a < b ? a : b;
    int order = n == 0 ? 0 : memcmp(rest, suffix + head_bytes, n);

    if (order != 0)
        return order;
    return size < suffix_size ? -1 : size > suffix_size;
}

bool
node__is_above(const uint8_t *page, uint32_t pos)
{
    uint32_t before = node_head(page, pos - 1), head = node_head(page, pos);
    uint32_t head_bytes = page[PAGE_HEAD_BYTES];
    const uint8_t *left, *right;
    uint32_t left_size, right_size;

    if (FTK_LIKELY(before != head))
        return before < head;
    left = body_rest(page, node_body(page, pos - 1), &left_size);
    right = body_rest(page, node_body(page, pos), &right_size);
    if (left_size <= head_bytes || right_size <= head_bytes)
        return left_size < right_size; /* heads are padded with zeros */
    return ftk_bytes_compare(left, left_size - head_bytes, right, right_size - head_bytes) < 0;
}

/* First position in [low, high) whose head is >= head. */
static inline uint32_t
head_lower_bound(const uint8_t *page, uint32_t low, uint32_t high, uint32_t head)
{
    const uint8_t *heads = page + node_heads_at(page);
    uint32_t n = high - low;

    if (page[PAGE_HEAD_BYTES] == 4) {
        while (n > 0) {
            uint32_t half = n / 2;
            bool right = ftk_get_le32(heads + (low + half) * sizeof(uint32_t)) < head;
            low = right ? low + half + 1 : low;
            n = right ? n - half - 1 : half;
        }
    } else {
        while (n > 0) {
            uint32_t half = n / 2;
            bool right = ftk_get_le16(heads + (low + half) * sizeof(uint16_t)) < head;
            low = right ? low + half + 1 : low;
            n = right ? n - half - 1 : half;
        }
    }
    return low;
}

/* First entry at or after `first` with a suffix >= the given one.  wanted: so is the body behind
 * its key. */
static inline uint32_t
suffix_lower_bound(const uint8_t *page, uint32_t first, const uint8_t *suffix, uint32_t size,
                   bool wanted, bool *exact_out)
{
    uint32_t head_bytes = page[PAGE_HEAD_BYTES];
    uint32_t head = node_head_of(suffix, size, head_bytes);
    uint32_t count = node_count(page);
    uint32_t low = head_lower_bound(page, first, count, head);
    uint32_t high;

    *exact_out = false;
    if (low == count || node_head(page, low) != head)
        return low;
    if (wanted) {
        __builtin_prefetch(node_body(page, low) + 64);
        __builtin_prefetch(node_body(page, low) + 128);
    }
    /* A run of equal heads: mostly one entry. */
    high = low + 1;
    if (high < count && node_head(page, high) == head)
        high = head == UINT32_MAX ? count : head_lower_bound(page, high, count, head + 1);
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = compare_rest(page, middle, suffix, size);
        if (order == 0) {
            *exact_out = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void
node_prefetch(struct node node, const void *key, uint32_t key_size)
{
    uint32_t prefix = node_prefix_bytes(node.page), count = node_count(node.page);
    uint32_t head, pos;

    if (key_size < prefix)
        return;
    head =
        node_head_of((const uint8_t *)key + prefix, key_size - prefix, node.page[PAGE_HEAD_BYTES]);
    pos = head_lower_bound(node.page, 0, count, head);
    if (pos == count)
        return;
    __builtin_prefetch(node_body(node.page, pos));
    __builtin_prefetch(node_body(node.page, pos) + 64);
}

/* Compare the page's prefix with the beginning of the key; 0: the key has the prefix. */
static inline int
compare_prefix(struct node node, const uint8_t *key, uint32_t key_size)
{
    uint32_t prefix = node_prefix_bytes(node.page);
    const uint8_t *mine = node.page + PAGE_HEADER_BYTES;
    int order;

    if (prefix == 0)
        return 0;
    if (FTK_LIKELY(prefix <= 8 && key_size >= 8)) { /* no call for a few bytes */
        unsigned drop = 64 - 8 * prefix;
        uint64_t a = ftk_get_be64(mine) >> drop; /* the header and what follows are longer */
        uint64_t b = ftk_get_be64(key) >> drop;
        return a == b ? 0 : a < b ? -1 : 1;
    }
    order = memcmp(mine, key, prefix < key_size ? prefix : key_size);
    if (order != 0)
        return order;
    return prefix > key_size ? 1 : 0;
}

uint32_t
node_lower_bound(struct node node, const void *key, uint32_t key_size, bool *exact_out)
{
    uint32_t prefix = node_prefix_bytes(node.page);
    int order = compare_prefix(node, key, key_size);

    FTK_DEBUG_ASSERT(node.page[PAGE_TYPE] == PAGE_LEAF);
    *exact_out = false;
    if (order != 0)
        return order > 0 ? 0 : node_count(node.page);
    return suffix_lower_bound(node.page, 0, (const uint8_t *)key + prefix, key_size - prefix, true,
                              exact_out);
}

uint32_t
node_child_pos(struct node node, const void *key, uint32_t key_size)
{
    uint32_t prefix = node_prefix_bytes(node.page);
    int order = compare_prefix(node, key, key_size);
    bool exact;
    uint32_t pos;

    FTK_DEBUG_ASSERT(node.page[PAGE_TYPE] == PAGE_INNER && node_count(node.page) > 0);
    if (order != 0)
        return order > 0 ? 0 : node_count(node.page) - 1;
    pos = suffix_lower_bound(node.page, 1, (const uint8_t *)key + prefix, key_size - prefix, false,
                             &exact);
    FTK_DEBUG_ASSERT(pos > 0 && pos <= node_count(node.page));
    return exact ? pos : pos - 1;
}

int
node_compare(struct node node, uint32_t pos, const void *key, uint32_t key_size)
{
    uint32_t prefix = node_prefix_bytes(node.page);
    const uint8_t *suffix = (const uint8_t *)key + prefix;
    int order = compare_prefix(node, key, key_size);
    uint32_t head, mine;

    FTK_DEBUG_ASSERT(pos < node_count(node.page));
    FTK_DEBUG_ASSERT(pos > 0 || node.page[PAGE_TYPE] == PAGE_LEAF);
    if (order != 0)
        return order;
    head = node_head_of(suffix, key_size - prefix, node.page[PAGE_HEAD_BYTES]);
    mine = node_head(node.page, pos);
    if (mine != head)
        return mine < head ? -1 : 1;
    return compare_rest(node.page, pos, suffix, key_size - prefix);
}

bool
node_prefix_matches(struct node node, const void *key, uint32_t key_size)
{
    return compare_prefix(node, key, key_size) == 0;
}

/* ---- change ---------------------------------------------------------------------------------- */

uint32_t
node_used_bytes(struct node node)
{
    const uint8_t *page = node.page;

    return node_heads_at(page) + node_count(page) * (page[PAGE_HEAD_BYTES] + 2u) +
           node_heap_bytes(page) - node_garbage_bytes(page);
}

uint32_t
node_cost(const uint8_t *page, uint32_t suffix_size, const struct node_value *value)
{
    return page[PAGE_HEAD_BYTES] + 2u + node__body_bytes(page, suffix_size, value);
}

static uint32_t
free_bytes(struct node node)
{
    return node.bytes - node_heap_bytes(node.page) - node_arrays_end(node.page);
}

static bool
compact(struct node node, uint8_t *scratch)
{
    struct node_source source = {.node = node, .extra_pos = UINT32_MAX};
    struct node fresh = {scratch, node.bytes};
    uint64_t birth = node_birth(node.page);

    if (!node_build(&source, 0, node_count(node.page), fresh, birth, NODE_PREFIX_KEEP))
        return false;
    node_take(node, scratch);
    return true;
}

/* Move the offsets array so that it begins behind a larger heads array. */
static void
capacity_grow(uint8_t *page, uint32_t capacity)
{
    uint32_t count = node_count(page);
    uint8_t *from = node_offsets(page);

    FTK_ASSERT(capacity > node_capacity(page));
    memmove(page + node_heads_at(page) + (size_t)capacity * page[PAGE_HEAD_BYTES], from,
            count * sizeof(uint16_t));
    ftk_put_le16(page + PAGE_CAPACITY, (uint16_t)capacity);
}

/* Make room for one more slot and a body; false: no room even without garbage. */
static bool
make_room(struct node node, uint32_t body_bytes, uint8_t *scratch)
{
    uint8_t *page = node.page;
    uint32_t slot = page[PAGE_HEAD_BYTES] + 2u;
    bool compacted = false;

    for (;;) {
        uint32_t count = node_count(page);
        uint32_t capacity = node_capacity(page);
        uint32_t space = free_bytes(node);
        if (count < capacity && space >= body_bytes)
            return true;
        if (count == capacity && space >= body_bytes + slot) {
            uint32_t steps = (space - body_bytes) / slot;
            capacity_grow(page, capacity + (steps < CAPACITY_STEP ? steps : CAPACITY_STEP));
            return true;
        }
        if (compacted || node_used_bytes(node) + slot + body_bytes > node.bytes ||
            !compact(node, scratch))
            return false;
        compacted = true;
    }
}

/* Write an entry at pos, for which there is room. */
static void
put_entry(struct node node, uint32_t pos, const uint8_t *suffix, uint32_t suffix_size,
          const struct node_value *value, uint32_t body_bytes)
{
    uint8_t *page = node.page;
    uint32_t head_bytes = page[PAGE_HEAD_BYTES];
    uint32_t count = node_count(page);
    uint32_t heap = node_heap_bytes(page) + body_bytes;
    uint8_t *at = page + node_heads_at(page) + (size_t)pos * head_bytes;
    uint8_t *offset = node_offsets(page) + pos * sizeof(uint16_t);

    FTK_ASSERT(pos <= count && count < node_capacity(page));
    FTK_ASSERT(node_arrays_end(page) + heap <= node.bytes);
    if (pos < count) {
        memmove(at + head_bytes, at, (size_t)(count - pos) * head_bytes);
        memmove(offset + sizeof(uint16_t), offset, (count - pos) * sizeof(uint16_t));
    }
    node_head_set(page, pos, node_head_of(suffix, suffix_size, head_bytes));
    ftk_put_le16(offset, (uint16_t)(node.bytes - heap));
    ftk_put_le16(page + PAGE_COUNT, (uint16_t)(count + 1));
    ftk_put_le16(page + PAGE_HEAP_BYTES, (uint16_t)heap);
    node__body_write(page, page + node.bytes - heap,
                     suffix_size > head_bytes ? suffix + head_bytes : suffix, suffix_size, value);
    FTK_DEBUG_ASSERT_SOUND(node_check(node));
}

bool
node_insert(struct node node, uint32_t pos, const void *key, uint32_t key_size,
            const struct node_value *value, uint8_t *scratch)
{
    uint32_t prefix = node_prefix_bytes(node.page);
    uint32_t body_bytes;

    /* Entry 0 of an inner page has no suffix (the prefix stands for it). */
    if (node.page[PAGE_TYPE] == PAGE_INNER && pos == 0)
        key_size = prefix;
    FTK_ASSERT(key_size >= prefix && key_size <= NODE_KEY_MAX);
    FTK_DEBUG_ASSERT(pos == 0 || node_prefix_matches(node, key, key_size));
    body_bytes = node__body_bytes(node.page, key_size - prefix, value);
    if (!make_room(node, body_bytes, scratch))
        return false;
    put_entry(node, pos, (const uint8_t *)key + prefix, key_size - prefix, value, body_bytes);
    return true;
}

bool
node_append(struct node node, const void *key, uint32_t key_size, const struct node_value *value,
            uint8_t *scratch)
{
    uint32_t count = node_count(node.page), prefix = node_prefix_bytes(node.page);
    const uint8_t *suffix = (const uint8_t *)key + prefix;
    uint32_t head, last, body_bytes;

    if (count == 0 || compare_prefix(node, key, key_size) != 0)
        return false;
    head = node_head_of(suffix, key_size - prefix, node.page[PAGE_HEAD_BYTES]);
    last = node_head(node.page, count - 1);
    if (head < last ||
        (head == last && compare_rest(node.page, count - 1, suffix, key_size - prefix) >= 0))
        return false;
    body_bytes = node__body_bytes(node.page, key_size - prefix, value);
    if (!make_room(node, body_bytes, scratch))
        return false;
    put_entry(node, count, suffix, key_size - prefix, value, body_bytes);
    return true;
}

bool
node_replace(struct node node, uint32_t pos, const struct node_value *value, uint8_t *scratch)
{
    struct node_entry entry;
    uint8_t key[NODE_KEY_MAX];
    uint32_t key_size, freed, bytes;

    FTK_ASSERT(node.page[PAGE_TYPE] == PAGE_LEAF && pos < node_count(node.page));
    node_entry(node, pos, &entry);
    if (node.page[PAGE_FLAGS] & PAGE_KEYS_ONLY)
        return true;
    if (entry.value_size == value->size && entry.large == value->large) {
        if (value->size > 0)
            memcpy(node.page + (entry.value - node.page), value->data, value->size);
        return true;
    }
    bytes = node__body_bytes(node.page, entry.suffix_size, value);
    if (node_used_bytes(node) - entry.body_bytes + bytes > node.bytes)
        return false;
    if (free_bytes(node) >= bytes) { /* a new body; the old one becomes garbage */
        uint8_t *page = node.page;
        uint32_t heap = node_heap_bytes(page) + bytes;
        node__body_write(page, page + node.bytes - heap, entry.rest, entry.suffix_size, value);
        ftk_put_le16(node_offsets(page) + pos * sizeof(uint16_t), (uint16_t)(node.bytes - heap));
        ftk_put_le16(page + PAGE_HEAP_BYTES, (uint16_t)heap);
        freed = node_garbage_bytes(page) + entry.body_bytes;
        ftk_put_le16(page + PAGE_GARBAGE_BYTES, (uint16_t)freed);
        FTK_DEBUG_ASSERT_SOUND(node_check(node));
        return true;
    }
    key_size = node_key(node, pos, key);
    struct node_source source = {.node = node,
                                 .extra_pos = pos,
                                 .extra_key = key,
                                 .extra_key_size = key_size,
                                 .extra_value = value,
                                 .replace = true};
    struct node fresh = {scratch, node.bytes};
    if (!node_build(&source, 0, node_count(node.page), fresh, node_birth(node.page),
                    NODE_PREFIX_KEEP))
        return false;
    node_take(node, scratch);
    return true;
}

bool
node_overwrite(struct node node, uint32_t pos, const void *head, uint32_t size)
{
    struct node_entry entry;

    FTK_ASSERT(node.page[PAGE_TYPE] == PAGE_LEAF && pos < node_count(node.page));
    node_entry(node, pos, &entry);
    if (entry.large || entry.value_size <= size)
        return false;
    memcpy(node.page + (entry.value - node.page), head, size);
    return true;
}

void
node_set_child(struct node node, uint32_t pos, struct page_ref child)
{
    FTK_ASSERT(node.page[PAGE_TYPE] == PAGE_INNER && pos < node_count(node.page));
    FTK_ASSERT(!page_ref_is_none(child));
    page_ref_put(node.page + (node_body(node.page, pos) - node.page), child);
}

void
node_remove(struct node node, uint32_t pos)
{
    uint8_t *page = node.page;
    uint32_t count = node_count(page);
    size_t head_bytes = page[PAGE_HEAD_BYTES];
    uint8_t *at = page + node_heads_at(page) + pos * head_bytes;
    uint8_t *offset = node_offsets(page) + pos * sizeof(uint16_t);
    struct node_entry entry;

    FTK_ASSERT(pos < count);
    FTK_ASSERT(page[PAGE_TYPE] == PAGE_LEAF || count == 1 || pos > 0);
    node_entry(node, pos, &entry);
    memmove(at, at + head_bytes, (count - pos - 1) * head_bytes);
    memmove(offset, offset + sizeof(uint16_t), (count - pos - 1) * sizeof(uint16_t));
    ftk_put_le16(page + PAGE_COUNT, (uint16_t)(count - 1));
    ftk_put_le16(page + PAGE_GARBAGE_BYTES,
                 (uint16_t)(node_garbage_bytes(page) + entry.body_bytes));
    FTK_DEBUG_ASSERT_SOUND(page[PAGE_TYPE] == PAGE_INNER ? NULL : node_check(node));
}
