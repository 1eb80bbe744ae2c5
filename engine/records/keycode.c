/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/records/keycode.c -- order-preserving key parts.
 *
 * Invariants, for every type (tests/unit/test_keycode_order.c):
 *   1. a < b  =>  bytes(a) < bytes(b), unless both are truncated texts of one beginning: these are
 *      in the order of their checksums.
 *   2. No encoding of a type is the beginning of another one of the same type, so that a key can be
 *      read part by part and an inverted part is in the inverse order.
 *   3. A missing value is below all values.
 */
#include "engine/records/keycode.h"

#include <string.h>

#include "ftk/bytes.h"
#include "ftk/checksum.h"
#include "ftk/status.h"

/* ---- numbers --------------------------------------------------------------------------------- */

struct number_class {
    uint64_t base;
    uint8_t first;
    uint8_t more; /* bytes after the first */
};
/* Descending; the last entry holds everything. */
static const struct number_class number_classes[] = {
    {KEYCODE_BASE_8, 0xfe, 8}, {KEYCODE_BASE_6, 0xfd, 6},
    {KEYCODE_BASE_5, 0xfc, 5}, {KEYCODE_BASE_4, 0xf8, 4},
    {KEYCODE_BASE_3, 0xc0, 3}, {KEYCODE_BASE_2, 0x20, 2},
    {KEYCODE_BASE_1, 0x10, 1}, {0, 0x00, 0},
};

/* The low `count` bytes of value, BE. */
static inline uint8_t *
be_put(uint8_t *to, uint64_t value, unsigned count)
{
    for (unsigned i = count; i-- > 0;)
        *to++ = (uint8_t)(value >> (8 * i));
    return to;
}

static inline uint64_t
be_get(const uint8_t *from, unsigned count, uint8_t flip)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < count; i++)
        value = value << 8 | (uint8_t)(from[i] ^ flip);
    return value;
}

uint8_t *
keycode_number_put(uint8_t *to, uint64_t number)
{
    const struct number_class *class;
    uint64_t rest;

    if (number >= KEYCODE_BASE_2 && number < KEYCODE_BASE_4) { /* the usual ones, without a loop */
        bool long_class = number >= KEYCODE_BASE_3;

        rest = long_class ? number - KEYCODE_BASE_3 + (UINT64_C(0xc0) << 24)
                          : (number - KEYCODE_BASE_2 + (UINT64_C(0x20) << 16)) << 8;
        ftk_put_be32(to, (uint32_t)rest);
        return to + 3 + long_class;
    }
    for (class = number_classes; number < class->base; class ++)
        ;
    rest = number - class->base;
    if (class->more == 8) {
        *to++ = class->first;
        return be_put(to, rest, 8);
    }
    return be_put(to, rest + ((uint64_t) class->first << (8 * class->more)), class->more + 1u);
}

const uint8_t *
keycode_number_get(const uint8_t *from, const uint8_t *end, uint64_t *number_out)
{
    const struct number_class *class;
    uint64_t rest;

    if (from >= end || *from == 0xff)
        return NULL;
    for (class = number_classes; *from < class->first; class ++)
        ;
    if (end - from < 1 + class->more)
        return NULL;
    rest = be_get(from + 1, class->more, 0);
    if (class->more == 8) {
        if (rest > UINT64_MAX - class->base)
            return NULL;
    } else {
        rest |= (uint64_t)(*from - class->first) << (8 * class->more);
    }
    *number_out = class->base + rest;
    return from + 1 + class->more;
}

/* ---- integers, doubles, booleans ------------------------------------------------------------- */

/* Bytes that hold value, at least 1. */
static inline unsigned
bytes_of(uint64_t value)
{
    return (71u - (unsigned)__builtin_clzll(value | 1)) / 8;
}

uint8_t *
keycode_int_put(uint8_t *to, int64_t value)
{
    unsigned count;

    if (value >= KEYCODE_INT_DIRECT_LOW && value <= KEYCODE_INT_DIRECT_HIGH) {
        *to = (uint8_t)(KEYCODE_INT_DIRECT + (uint64_t)(value - KEYCODE_INT_DIRECT_LOW));
        return to + 1;
    }
    if (value > 0) {
        count = bytes_of((uint64_t)value);
        *to = (uint8_t)(KEYCODE_INT_ABOVE + count - 1);
    } else {
        count = bytes_of(~(uint64_t)value);
        *to = (uint8_t)(KEYCODE_INT_DIRECT - count);
    }
    FTK_DEBUG_ASSERT(count >= 1 && count < KEYCODE_INT_BYTES_MAX);
    return be_put(to + 1, (uint64_t)value, count);
}

const uint8_t *
keycode_int_get(const uint8_t *from, const uint8_t *end, uint8_t flip, int64_t *value_out)
{
    unsigned head, count;
    uint64_t bits;
    int64_t value;

    if (from >= end)
        return NULL;
    head = (uint8_t)(*from++ ^ flip);
    if (head >= KEYCODE_INT_DIRECT && head < KEYCODE_INT_ABOVE) {
        *value_out = (int64_t)(head - KEYCODE_INT_DIRECT) + KEYCODE_INT_DIRECT_LOW;
        return from;
    }
    if (head >= KEYCODE_INT_ABOVE + 8 || head < KEYCODE_INT_DIRECT - 8)
        return NULL;
    count = head >= KEYCODE_INT_ABOVE ? head - KEYCODE_INT_ABOVE + 1 : KEYCODE_INT_DIRECT - head;
    if ((size_t)(end - from) < count)
        return NULL;
    bits = be_get(from, count, flip);
    if (head >= KEYCODE_INT_ABOVE) {
        value = (int64_t)bits;
        if (value <= KEYCODE_INT_DIRECT_HIGH || bytes_of(bits) != count)
            return NULL;
    } else {
        if (count < 8)
            bits |= UINT64_MAX << (8 * count);
        value = (int64_t)bits;
        if (value >= KEYCODE_INT_DIRECT_LOW || bytes_of(~bits) != count)
            return NULL;
    }
    *value_out = value;
    return from + count;
}

uint8_t *
keycode_double_put(uint8_t *to, double value)
{
    uint64_t bits;

    if (value != value) {
        bits = KEYCODE_DOUBLE_NAN;
    } else {
        value += 0.0; /* -0.0 becomes 0.0 */
        memcpy(&bits, &value, sizeof(bits));
        bits ^= bits >> 63 ? UINT64_MAX : UINT64_C(1) << 63;
    }
    ftk_put_be64(to, bits);
    return to + 8;
}

const uint8_t *
keycode_double_get(const uint8_t *from, const uint8_t *end, uint8_t flip, double *value_out)
{
    uint64_t bits;

    if (end - from < 8)
        return NULL;
    bits = be_get(from, 8, flip);
    /* -infinity is 00 0f ff ...; infinity is ff f0 00 ...; -0.0 would be 7f ff ... */
    if (bits < UINT64_C(0x000fffffffffffff) || bits == UINT64_C(0x7fffffffffffffff) ||
        (bits > UINT64_C(0xfff0000000000000) && bits != KEYCODE_DOUBLE_NAN))
        return NULL;
    bits ^= bits >> 63 ? UINT64_C(1) << 63 : UINT64_MAX;
    memcpy(value_out, &bits, sizeof(bits));
    return from + 8;
}

uint8_t *
keycode_bool_put(uint8_t *to, bool value)
{
    *to = value ? 2 : 1;
    return to + 1;
}

/* ---- texts ----------------------------------------------------------------------------------- */

/* Is one of the 8 bytes below 3? */
static inline bool
word_has_special(uint64_t word)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);

    return ((word - 3 * ones) & ~word & (0x80 * ones)) != 0;
}

uint8_t *
keycode_text_put(uint8_t *to, const void *text, size_t text_bytes, size_t limit,
                 bool *truncated_inout)
{
    const uint8_t *from = text;
    const uint8_t *from_end = from + text_bytes;
    const uint8_t *to_last = to + limit - KEYCODE_CUT_BYTES; /* kept for the end */
    uint64_t word;

    FTK_ASSERT(limit >= KEYCODE_TEXT_LIMIT_MIN); /* so there is room for an end */
    FTK_ASSERT(text != NULL || text_bytes == 0);
    while (from_end - from >= 8 && to_last - to >= 8) {
        memcpy(&word, from, 8);
        if (word_has_special(word))
            break;
        memcpy(to, &word, 8);
        from += 8;
        to += 8;
    }
    for (; from < from_end; from++) {
        if (*from > KEYCODE_ESCAPE) {
            if (to_last - to < 1)
                break;
        } else {
            if (to_last - to < 2)
                break;
            *to++ = KEYCODE_ESCAPE;
            *to++ = (uint8_t)(*from + 1);
            continue;
        }
        *to++ = *from;
    }
    FTK_DEBUG_ASSERT(to <= to_last);
    if (from < from_end) {
        *truncated_inout = true;
        *to++ = KEYCODE_ESCAPE;
        *to++ = 0;
        return be_put(to, ftk_checksum(text, text_bytes, 0), 8);
    }
    *to++ = KEYCODE_END;
    return to;
}

const uint8_t *
keycode_text_get(const uint8_t *from, const uint8_t *end, uint8_t flip, uint8_t *buffer,
                 size_t *text_bytes_out, bool *truncated_out)
{
    uint8_t *to = buffer;
    uint8_t byte;

    *truncated_out = false;
    while (from < end) {
        byte = (uint8_t)(*from++ ^ flip);
        if (byte > KEYCODE_ESCAPE) {
            *to++ = byte;
            continue;
        }
        if (byte == KEYCODE_ESCAPE) {
            if (from == end)
                return NULL;
            byte = (uint8_t)(*from++ ^ flip);
            if (byte > KEYCODE_ESCAPE + 1)
                return NULL;
            if (byte != 0) {
                *to++ = (uint8_t)(byte - 1);
                continue;
            }
            *truncated_out = true;
            if (end - from < KEYCODE_CUT_BYTES - 2)
                return NULL;
            from += KEYCODE_CUT_BYTES - 2;
        } else if (byte != KEYCODE_END) {
            return NULL;
        }
        *text_bytes_out = (size_t)(to - buffer);
        return from;
    }
    return NULL;
}

/* ---- any part -------------------------------------------------------------------------------- */

uint8_t *
keycode_missing_put(uint8_t *to, kiln_type type)
{
    *to++ = 0;
    if (type == KILN_DOUBLE)
        *to++ = 0;
    return to;
}

const uint8_t *
keycode_part_get(const uint8_t *from, const uint8_t *end, kiln_type type, bool descending,
                 uint8_t *buffer, struct keycode_part *part_out)
{
    uint8_t flip = descending ? 0xff : 0;
    uint8_t byte;

    memset(part_out, 0, sizeof(*part_out));
    if (from >= end)
        return NULL;
    byte = (uint8_t)(*from ^ flip);
    if (byte == 0 && type != KILN_DOUBLE)
        return from + 1;
    part_out->type = type;
    switch (type) {
    case KILN_TEXT:
    case KILN_BYTES:
        part_out->text = buffer;
        return keycode_text_get(from, end, flip, buffer, &part_out->text_bytes,
                                &part_out->truncated);
    case KILN_INT:
    case KILN_DATETIME: return keycode_int_get(from, end, flip, &part_out->integer);
    case KILN_DOUBLE:
        if (byte == 0 && end - from >= 2 && (uint8_t)(from[1] ^ flip) == 0) {
            part_out->type = 0;
            return from + 2;
        }
        return keycode_double_get(from, end, flip, &part_out->real);
    case KILN_BOOL: part_out->integer = byte - 1; return byte <= 2 ? from + 1 : NULL;
    default: return NULL;
    }
}
