/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/page/node.h -- one slotted page of a tree: search, insert, remove, rebuild, validate.
 *
 * Knows nothing of trees, caches or transactions: works on P bytes of memory.
 *
 * Invariants (node_validate checks them)
 * 1. Entries are in ascending order of their full keys; entry 0 of an inner page has no suffix.
 * 2. Every key of the page begins with the page's prefix (inner: but entry 0).
 * 3. arrays + heap fit: heads_at + capacity * (head_bytes + 2) + heap_bytes <= P.
 * 4. garbage_bytes = heap_bytes - sum of body sizes.
 */
#ifndef ENGINE_NODE_H
#define ENGINE_NODE_H

#include <stdbool.h>
#include <string.h>

#include "engine/page/page_format.h"
#include "ftk/status.h"

/* A node as its holder sees it: the page's memory and its size. */
struct node {
    uint8_t *page;
    uint32_t bytes;
};

/* An entry decoded: the key is prefix + head + rest. */
struct node_entry {
    uint32_t suffix_size;
    uint32_t head_size; /* bytes of the suffix that are in the slot: min(suffix_size, head_bytes) */
    uint8_t head[4];
    const uint8_t *rest;  /* suffix_size - head_size bytes */
    const uint8_t *value; /* leaf: value or large_ref; inner: NULL */
    uint32_t value_size;  /* bytes at value */
    bool large;
    struct page_ref child; /* inner */
    uint32_t body_bytes;   /* in the heap */
};

/* What is put into a node. */
struct node_value {
    const uint8_t *data; /* leaf: value or large_ref */
    uint32_t size;
    bool large;
    struct page_ref child; /* inner */
};

#define NODE_KEY_MAX 1024

static inline uint32_t
node_count(const uint8_t *page)
{
    return ftk_get_le16(page + PAGE_COUNT);
}
static inline uint32_t
node_level(const uint8_t *page)
{
    return page[PAGE_LEVEL];
}
static inline uint32_t
node_prefix_bytes(const uint8_t *page)
{
    return ftk_get_le16(page + PAGE_PREFIX_BYTES);
}
static inline uint64_t
node_birth(const uint8_t *page)
{
    return ftk_get_le64(page + PAGE_BIRTH);
}
static inline uint32_t
node_capacity(const uint8_t *page)
{
    return ftk_get_le16(page + PAGE_CAPACITY);
}
static inline uint32_t
node_heads_at(const uint8_t *page)
{
    return ftk_get_le16(page + PAGE_HEADS_AT);
}
/* End of the slot arrays. */
static inline uint32_t
node_arrays_end(const uint8_t *page)
{
    return node_heads_at(page) + node_capacity(page) * (page[PAGE_HEAD_BYTES] + 2u);
}
/* Where the bodies begin. */
static inline uint32_t
node_heap_at(struct node node)
{
    return node.bytes - ftk_get_le16(node.page + PAGE_HEAP_BYTES);
}
/* Every line of them on its way into the second-level cache. */
static inline void
node_prefetch_heap(struct node node)
{
    for (uint32_t at = node_heap_at(node) & ~63u; at < node.bytes; at += 64)
        __builtin_prefetch(node.page + at, 0, 2);
}
static inline const uint8_t *
node_body(const uint8_t *page, uint32_t pos)
{
    FTK_DEBUG_ASSERT(pos < node_count(page));
    uint32_t at = node_heads_at(page) + node_capacity(page) * page[PAGE_HEAD_BYTES] + pos * 2;
    return page + ftk_get_le16(page + at);
}
/* Child of an inner entry. */
static inline struct page_ref
node_child(const uint8_t *page, uint32_t pos)
{
    FTK_DEBUG_ASSERT(page[PAGE_TYPE] == PAGE_INNER);
    return page_ref_get(node_body(page, pos));
}

/* Take over a page rebuilt elsewhere, all but its checksum and birth: the checkpointer may be
 * looking at those of the page as it is. */
static inline void
node_take(struct node node, const uint8_t *from)
{
    memcpy(node.page + PAGE_TYPE, from + PAGE_TYPE, node.bytes - PAGE_TYPE);
}

/* An empty page; birth and type are set, prefix is copied in. */
void node_init(struct node node, enum page_type type, uint8_t flags, uint8_t level,
               uint8_t head_bytes, uint64_t birth, const void *prefix, uint32_t prefix_bytes);

/* First entry with a key >= the given one; *exact_out: equal.  Leaf pages. */
uint32_t node_lower_bound(struct node node, const void *key, uint32_t key_size, bool *exact_out);
/* The lines of that entry are on their way.  Leaf pages. */
void node_prefetch(struct node node, const void *key, uint32_t key_size);
/* The entry whose subtree holds the key.  Inner pages. */
uint32_t node_child_pos(struct node node, const void *key, uint32_t key_size);
/* Compare the full key of entry pos with a key: < 0, 0, > 0.  (Inner: pos > 0.) */
int node_compare(struct node node, uint32_t pos, const void *key, uint32_t key_size);

void node_entry(struct node node, uint32_t pos, struct node_entry *entry_out);
/* The full key into buffer[NODE_KEY_MAX]; returns its size.  (Inner: pos > 0.) */
uint32_t node_key(struct node node, uint32_t pos, uint8_t *buffer);
/* The same from a decoded entry, where buffer begins with the page's prefix already. */
static inline uint32_t
node_entry_key(const struct node_entry *entry, uint32_t prefix, uint8_t *buffer)
{
    uint32_t rest = entry->suffix_size - entry->head_size;
    uint8_t *to = buffer + prefix + entry->head_size;

    memcpy(buffer + prefix, entry->head,
           sizeof(entry->head)); /* longer than it may be: see below */
    if (rest - 8u <= 8) {        /* 8 to 16 bytes: no call */
        memcpy(to, entry->rest, 8);
        memcpy(to + rest - 8, entry->rest + rest - 8, 8);
    } else if (rest > 0) {
        memcpy(to, entry->rest, rest);
    }
    return prefix + entry->suffix_size;
}
enum { NODE_KEY_BUFFER = NODE_KEY_MAX + 4 }; /* for node_entry_key, which writes whole heads */

/* Bytes in use, slots included, garbage not. */
uint32_t node_used_bytes(struct node node);
/* Bytes an entry takes in an empty page of this head size (slot included). */
uint32_t node_cost(const uint8_t *page, uint32_t suffix_size, const struct node_value *value);

/* True when the key begins with the page's prefix (or the page is empty and has none). */
bool node_prefix_matches(struct node node, const void *key, uint32_t key_size);

/*
 * Insert at pos; the key must match the prefix and fit the order.  Compacts when garbage is in the
 * way.  False: no room, node unchanged.  scratch: P bytes.
 */
bool node_insert(struct node node, uint32_t pos, const void *key, uint32_t key_size,
                 const struct node_value *value, uint8_t *scratch);
/* Put a key behind the last one.  False: there is none, the key does not go there or does not match
 * the prefix, or there is no room.  Leaf pages. */
bool node_append(struct node node, const void *key, uint32_t key_size,
                 const struct node_value *value, uint8_t *scratch);
/* Replace the value at pos (leaf).  False: no room, node unchanged. */
bool node_replace(struct node node, uint32_t pos, const struct node_value *value, uint8_t *scratch);
/* The first `size` bytes of the value at pos (leaf).  False: it has no more than these, or is a
 * large one; node unchanged. */
bool node_overwrite(struct node node, uint32_t pos, const void *head, uint32_t size);
void node_set_child(struct node node, uint32_t pos, struct page_ref child);
void node_remove(struct node node, uint32_t pos);

/*
 * A virtual sequence of entries: those of `node` with a new entry put in at `extra_pos`
 * (UINT32_MAX: none).  Splitting, compacting and changing the prefix are all "write a range of the
 * sequence into a fresh page".
 */
struct node_source {
    struct node node;
    uint32_t extra_pos;
    const uint8_t *extra_key;
    uint32_t extra_key_size;
    const struct node_value *extra_value;
    bool replace; /* the extra entry stands in place of the one at extra_pos */
};
uint32_t node_source_count(const struct node_source *source);
/* Full key of a sequence element (inner element 0 of the page: empty). */
uint32_t node_source_key(const struct node_source *source, uint32_t index, uint8_t *buffer);
/*
 * Write [from, to) into dst; dst gets the source's type, level, flags and the given birth.  False:
 * does not fit (dst then holds rubbish).  Of inner pages the first element written becomes entry 0.
 * Prefix: KEEP the source's (the extra key must match it), or the BEST: the longest common one of
 * the elements written (of the whole sequence when there is but one: its neighbours will follow).
 */
enum node_prefix { NODE_PREFIX_KEEP, NODE_PREFIX_BEST };
bool node_build(const struct node_source *source, uint32_t from, uint32_t to, struct node dst,
                uint64_t birth, enum node_prefix prefix);
/* Split index that balances bytes; both halves fit when entries are at most a third of a page. */
uint32_t node_split_point(const struct node_source *source);
/*
 * The same where a split there gives the parent a short key; else a point near it that gives a
 * shorter one.  Of the keys of a full page two neighbours differ right behind what all have in
 * common (else the page's prefix were longer), so a short one is to be had, and a page above keeps
 * many entries however long the keys are.
 */
uint32_t node_split_short(const struct node_source *source, uint32_t point);
/* dst = left's entries, then right's; the separator (inner) gives right's entry 0 its key back.
 * False: does not fit, or the two are not in order. */
bool node_merge(struct node left, struct node right, const void *separator, uint32_t separator_size,
                struct node dst, uint64_t birth);

/* Shortest key S with left < S <= right; returns its size. */
uint32_t node_separator(const uint8_t *left, uint32_t left_size, const uint8_t *right,
                        uint32_t right_size, uint8_t *buffer);

/* Invariants 3 and 4, and that no two entries share bytes: asserted after each change with
 * DEBUG=1.  (Order is what the caller made of it.)  What does not hold, NULL: all does. */
const char *node_check(struct node node);

/* Invariants 2 to 4 of a page from anywhere, and that it is safe to be read and changed; ordered:
 * invariant 1 as well.  FTK_CORRUPT. */
ftk_status node_validate(const uint8_t *page, uint32_t bytes, uint64_t page_id, bool ordered);

#endif
