/* SPDX-License-Identifier: Apache-2.0 */
/* engine/records/record_utf8.c -- UTF-8 (RFC 3629): no overlong forms, no surrogates, nothing above
 * 10FFFF. */
#include "engine/records/record_utf8.h"

#include <string.h>

#define ASCII_MASK UINT64_C(0x8080808080808080)

bool
record_utf8_is_ascii(const void *text, size_t text_bytes)
{
    const uint8_t *from = text;
    const uint8_t *end = from + text_bytes;
    uint64_t word, all = 0;
    uint32_t half, half_all;

    if (text_bytes >= 8) {
        for (; end - from > 8; from += 8) {
            memcpy(&word, from, 8);
            all |= word;
        }
        memcpy(&word, end - 8, 8); /* the last eight, some of them again */
        return ((all | word) & ASCII_MASK) == 0;
    }
    if (text_bytes >= 4) {
        memcpy(&half_all, from, 4);
        memcpy(&half, end - 4, 4);
        return ((half_all | half) & (uint32_t)ASCII_MASK) == 0;
    }
    for (; from < end; from++)
        all |= *from;
    return (all & 0x80) == 0;
}

/* Bytes of the well-formed character at `from`; 0 when there is none. */
static size_t
character_bytes(const uint8_t *from, size_t left)
{
    uint8_t head = from[0];
    uint8_t low = 0x80, high = 0xbf; /* bounds of the second byte (RFC 3629, section 4) */
    size_t count;

    if (head < 0x80)
        return 1;
    if (head < 0xc2 || head > 0xf4)
        return 0;
    count = head < 0xe0 ? 2 : head < 0xf0 ? 3 : 4;
    if (left < count)
        return 0;
    if (head == 0xe0)
        low = 0xa0;
    else if (head == 0xed)
        high = 0x9f;
    else if (head == 0xf0)
        low = 0x90;
    else if (head == 0xf4)
        high = 0x8f;
    if (from[1] < low || from[1] > high)
        return 0;
    for (size_t i = 2; i < count; i++) {
        if ((from[i] & 0xc0) != 0x80)
            return 0;
    }
    return count;
}

size_t
record_utf8_check(const void *text, size_t text_bytes)
{
    const uint8_t *from = text;
    uint64_t word;
    size_t at = 0;
    size_t count;

    if (record_utf8_is_ascii(text, text_bytes))
        return text_bytes;
    while (at < text_bytes) {
        if (text_bytes - at >= 8) {
            memcpy(&word, from + at, 8);
            if ((word & ASCII_MASK) == 0) {
                at += 8;
                continue;
            }
        }
        count = character_bytes(from + at, text_bytes - at);
        if (count == 0)
            return at;
        at += count;
    }
    return text_bytes;
}
