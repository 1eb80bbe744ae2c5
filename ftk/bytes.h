/* SPDX-License-Identifier: Apache-2.0 */
/* ftk/bytes.h -- explicit byte order, varints, and comparison of byte strings. */
#ifndef FTK_BYTES_H
#define FTK_BYTES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define FTK_BYTES_LE(bits)                                                                         \
    static inline uint##bits##_t ftk_get_le##bits(const void *p)                                   \
    {                                                                                              \
        uint##bits##_t v;                                                                          \
        memcpy(&v, p, sizeof(v));                                                                  \
        return ftk_swap_le##bits(v);                                                               \
    }                                                                                              \
    static inline void ftk_put_le##bits(void *p, uint##bits##_t v)                                 \
    {                                                                                              \
        v = ftk_swap_le##bits(v);                                                                  \
        memcpy(p, &v, sizeof(v));                                                                  \
    }                                                                                              \
    static inline uint##bits##_t ftk_get_be##bits(const void *p)                                   \
    {                                                                                              \
        uint##bits##_t v;                                                                          \
        memcpy(&v, p, sizeof(v));                                                                  \
        return ftk_swap_be##bits(v);                                                               \
    }                                                                                              \
    static inline void ftk_put_be##bits(void *p, uint##bits##_t v)                                 \
    {                                                                                              \
        v = ftk_swap_be##bits(v);                                                                  \
        memcpy(p, &v, sizeof(v));                                                                  \
    }

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define ftk_swap_le16(v) (v)
#define ftk_swap_le32(v) (v)
#define ftk_swap_le64(v) (v)
#define ftk_swap_be16(v) __builtin_bswap16(v)
#define ftk_swap_be32(v) __builtin_bswap32(v)
#define ftk_swap_be64(v) __builtin_bswap64(v)
#else
#define ftk_swap_le16(v) __builtin_bswap16(v)
#define ftk_swap_le32(v) __builtin_bswap32(v)
#define ftk_swap_le64(v) __builtin_bswap64(v)
#define ftk_swap_be16(v) (v)
#define ftk_swap_be32(v) (v)
#define ftk_swap_be64(v) (v)
#endif
FTK_BYTES_LE(16)
FTK_BYTES_LE(32)
FTK_BYTES_LE(64)
#undef FTK_BYTES_LE

/* LEB128: 7 bits a byte, least significant first, at most 10 bytes. */
#define FTK_VARINT_MAX 10

static inline size_t
ftk_varint_size(uint64_t v)
{
    size_t n = 1;
    while (v >= 0x80) {
        v >>= 7;
        n++;
    }
    return n;
}

static inline uint8_t *
ftk_varint_put(uint8_t *p, uint64_t v)
{
    while (v >= 0x80) {
        *p++ = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    *p++ = (uint8_t)v;
    return p;
}

/* The byte after the varint, or NULL when it runs past end or does not fit 64 bits. */
static inline const uint8_t *
ftk_varint_get(const uint8_t *p, const uint8_t *end, uint64_t *v_out)
{
    uint64_t v = 0;
    for (unsigned shift = 0; p < end && shift < 64; shift += 7) {
        uint8_t byte = *p++;
        if (shift == 63 && byte > 1)
            return NULL;
        v |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *v_out = v;
            return p;
        }
    }
    return NULL;
}

/* For qsort of uint64_t. */
static inline int
ftk_u64_order(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static inline int
ftk_bytes_compare(const void *a, size_t a_size, const void *b, size_t b_size)
{
    size_t n = a_size < b_size ? a_size : b_size;
    int order = n == 0 ? 0 : memcmp(a, b, n);
    if (order != 0)
        return order;
    return a_size < b_size ? -1 : a_size > b_size;
}

#endif
