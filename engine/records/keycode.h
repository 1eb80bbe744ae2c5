/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/records/keycode.h -- order-preserving encodings of the parts of an index key.
 *
 * The bytes are defined in engine/records/records_format.h (4).  Encoders write at `to`, where
 * there must
 * be room for the largest encoding, and return the byte after.  Decoders take `flip`, 0x00 or 0xff:
 * the latter reads a descending part (inverted bytes); they return the byte after the part, or NULL
 * when [from, end) does not begin with a well-formed part.
 */
#ifndef ENGINE_KEYCODE_H
#define ENGINE_KEYCODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/records/records_format.h"

/* Numbers of containers and records, up to KEYCODE_NUMBER_BYTES_MAX bytes. */
uint8_t *keycode_number_put(uint8_t *to, uint64_t number);
const uint8_t *keycode_number_get(const uint8_t *from, const uint8_t *end, uint64_t *number_out);

/* KILN_INT and KILN_DATETIME. */
uint8_t *keycode_int_put(uint8_t *to, int64_t value);
const uint8_t *keycode_int_get(const uint8_t *from, const uint8_t *end, uint8_t flip,
                               int64_t *value_out);

uint8_t *keycode_double_put(uint8_t *to, double value);
const uint8_t *keycode_double_get(const uint8_t *from, const uint8_t *end, uint8_t flip,
                                  double *value_out);

uint8_t *keycode_bool_put(uint8_t *to, bool value);

/*
 * KILN_TEXT and KILN_BYTES: at most `limit` bytes, limit >= KEYCODE_TEXT_LIMIT_MIN.
 * *truncated_inout becomes true when only the beginning fits.
 */
uint8_t *keycode_text_put(uint8_t *to, const void *text, size_t text_bytes, size_t limit,
                          bool *truncated_inout);
/* shapes: buffer has room for end - from bytes. */
const uint8_t *keycode_text_get(const uint8_t *from, const uint8_t *end, uint8_t flip,
                                uint8_t *buffer, size_t *text_bytes_out, bool *truncated_out);

/* A missing value of the type. */
uint8_t *keycode_missing_put(uint8_t *to, kiln_type type);

/* One decoded part. */
struct keycode_part {
    kiln_type type;  /* 0: no value */
    bool truncated;  /* of a text: only its beginning is here */
    int64_t integer; /* int, date-time, bool */
    double real;
    const uint8_t *text; /* in the caller's buffer */
    size_t text_bytes;
};
/* Any part, a missing one too.  shapes: buffer has room for end - from bytes. */
const uint8_t *keycode_part_get(const uint8_t *from, const uint8_t *end, kiln_type type,
                                bool descending, uint8_t *buffer, struct keycode_part *part_out);

/* Make a part descending (or ascending again). */
static inline void
keycode_invert(uint8_t *from, const uint8_t *to)
{
    for (; from < to; from++)
        *from = (uint8_t) ~*from;
}

/* The largest encoding of a type; of texts: limit. */
static inline size_t
keycode_bytes_max(kiln_type type, size_t limit)
{
    switch (type) {
    case KILN_TEXT:
    case KILN_BYTES: return limit;
    case KILN_DOUBLE: return KEYCODE_DOUBLE_BYTES;
    case KILN_BOOL: return 1;
    default: return KEYCODE_INT_BYTES_MAX;
    }
}

#endif
