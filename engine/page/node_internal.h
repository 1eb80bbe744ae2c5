/* SPDX-License-Identifier: Apache-2.0 */
/* engine/page/node_internal.h -- pieces of a page shared by node.c and node_build.c. */
#ifndef ENGINE_NODE_INTERNAL_H
#define ENGINE_NODE_INTERNAL_H

#include "engine/page/node.h"

/* The first head_bytes of a suffix as a number that orders as the bytes do. */
static inline uint32_t
node_head_of(const uint8_t *suffix, uint32_t size, uint32_t head_bytes)
{
    uint32_t head = 0;

    if (FTK_LIKELY(size >= 4)) {
        head = ftk_get_be32(suffix);
    } else {
        for (uint32_t i = 0; i < size; i++)
            head |= (uint32_t)suffix[i] << (24 - 8 * i);
    }
    return head_bytes == 4 ? head : head >> 16;
}

static inline uint32_t
node_heads_at_for(uint32_t prefix_bytes)
{
    return PAGE_HEADER_BYTES + ((prefix_bytes + 3) & ~3u);
}

static inline uint32_t
node_head(const uint8_t *page, uint32_t pos)
{
    return page[PAGE_HEAD_BYTES] == 4 ? ftk_get_le32(page + node_heads_at(page) + 4 * pos)
                                      : ftk_get_le16(page + node_heads_at(page) + 2 * pos);
}

static inline void
node_head_set(uint8_t *page, uint32_t pos, uint32_t head)
{
    if (page[PAGE_HEAD_BYTES] == 4)
        ftk_put_le32(page + node_heads_at(page) + 4 * pos, head);
    else
        ftk_put_le16(page + node_heads_at(page) + 2 * pos, (uint16_t)head);
}

static inline void
node_head_bytes_of(uint32_t head, uint32_t head_bytes, uint8_t out[4])
{
    ftk_put_be32(out, head_bytes == 4 ? head : head << 16);
}

static inline uint8_t *
node_offsets(uint8_t *page)
{
    return page + node_heads_at(page) + node_capacity(page) * page[PAGE_HEAD_BYTES];
}

static inline uint32_t
node_heap_bytes(const uint8_t *page)
{
    return ftk_get_le16(page + PAGE_HEAP_BYTES);
}

static inline uint32_t
node_garbage_bytes(const uint8_t *page)
{
    return ftk_get_le16(page + PAGE_GARBAGE_BYTES);
}

/* Entry pos has a key above that of the entry before it (inner: pos > 1). */
bool node__is_above(const uint8_t *page, uint32_t pos);
/* Bytes of a body for a suffix and a value in a page of this type and flags. */
uint32_t node__body_bytes(const uint8_t *page, uint32_t suffix_size,
                          const struct node_value *value);
/* Write a body at `to`. */
void node__body_write(const uint8_t *page, uint8_t *to, const uint8_t *rest, uint32_t suffix_size,
                      const struct node_value *value);

#endif
