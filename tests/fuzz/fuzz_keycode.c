/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/fuzz/fuzz_keycode.c -- key parts: any bytes are refused, or are the only encoding of a
 * value (encoding gives the same bytes again).  Input: a byte that picks type and direction, then a
 * part.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/records/keycode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
require(bool held)
{
    if (!held)
        abort();
}

static uint8_t *
encode(uint8_t *to, const struct keycode_part *part, kiln_type type, size_t limit)
{
    bool truncated = false;

    switch (part->type) {
    case KILN_TEXT:
    case KILN_BYTES:
        to = keycode_text_put(to, part->text, part->text_bytes, limit, &truncated);
        require(!truncated);
        return to;
    case KILN_INT:
    case KILN_DATETIME: return keycode_int_put(to, part->integer);
    case KILN_DOUBLE: return keycode_double_put(to, part->real);
    case KILN_BOOL: return keycode_bool_put(to, part->integer != 0);
    default: return keycode_missing_put(to, type);
    }
}

static void
part_try(const uint8_t *data, size_t size, kiln_type type, bool descending)
{
    uint8_t *buffer = malloc(size + 1);
    uint8_t *again = malloc(2 * size + 32);
    struct keycode_part part;
    const uint8_t *after;
    uint8_t *end;

    require(buffer != NULL && again != NULL);
    after = keycode_part_get(data, data + size, type, descending, buffer, &part);
    if (after != NULL) {
        require(after > data && after <= data + size);
        end = encode(again, &part, type, 2 * size + 32);
        if (part.truncated) { /* the mark, where the end would be, and a checksum */
            end[-1] = KEYCODE_ESCAPE;
            *end++ = 0;
            for (unsigned i = 8; i > 0; i--)
                *end++ = descending ? (uint8_t)~after[-(ptrdiff_t)i] : after[-(ptrdiff_t)i];
        }
        if (descending)
            keycode_invert(again, end);
        require(end - again == after - data);
        require(memcmp(again, data, (size_t)(end - again)) == 0);
    }
    free(buffer);
    free(again);
}

static void
number_try(const uint8_t *data, size_t size)
{
    uint8_t again[KEYCODE_NUMBER_BYTES_MAX];
    const uint8_t *after;
    uint64_t number;
    uint8_t *end;

    after = keycode_number_get(data, data + size, &number);
    if (after == NULL)
        return;
    end = keycode_number_put(again, number);
    require(end - again == after - data);
    require(memcmp(again, data, (size_t)(end - again)) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    if ((data[0] & 7) == 7)
        number_try(data + 1, size - 1);
    else
        part_try(data + 1, size - 1, (kiln_type)(data[0] & 7), (data[0] & 8) != 0);
    return 0;
}
