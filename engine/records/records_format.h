/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/records/records_format.h -- every byte that the records part of the engine stores.
 *
 * Integers are little-endian unless a table says BE (big-endian).  "varint" is LEB128 (ftk/bytes.h)
 * in its shortest form; a longer form is corrupt.  Values marked frozen never change their meaning.
 *
 * 1. Collections.  Names that begin with byte 01 belong to kiln.
 *
 *      NAME                HOLDS
 *      01 "dict"           the dictionary (2)
 *      01 "c" <decimal>    the records of container <number> (3)
 *      01 "i" <decimal>    the entries of index <number> (5); values are empty
 *
 * 2. Dictionary rows.  Key: one byte of kind, then the number (BE 32).  Numbers start at 1, are
 *    given out ascending and never again.
 *
 *      KIND  KEY SIZE  ROW
 *      00    1         header
 *      'C'   5         container
 *      'F'   5         field
 *      'I'   5         index
 *
 *    Header row, 32 bytes:
 *      OFFSET SIZE FIELD            MEANING
 *      0      4    format           DICT_FORMAT
 *      4      4    field_gaps       so many numbers below field_next that no field has
 *      8      8    version          grows by one with every change of the dictionary
 *      16     4    field_next       the next number of a field ...
 *      20     4    container_next   ... of a container ...
 *      24     4    index_next       ... of an index
 *      28     4    reserved         zero
 *
 *    Container row:
 *      0      1    form             DICT_ROW_FORM
 *      1      1    flags            zero
 *      2      1    name_bytes       1..255
 *      3      n    name             UTF-8, no control characters
 *
 *    Field row:
 *      0      1    form             DICT_ROW_FORM
 *      1      1    flags            zero
 *      2      1    type             kiln_type (frozen: 1 text, 2 int, 3 double, 4 bool, 5 bytes,
 *                                   6 date-time, 7 group)
 *      3      1    name_bytes
 *      4      n    name
 *
 *    Index row:
 *      0      1    form             DICT_ROW_FORM
 *      1      1    state            0 ready, 1 building, 2 suspended (only 0 is written today)
 *      2      1    flags            1 unique
 *      3      1    part_count       1..16
 *      4      2    text_limit       bytes of key that one text or bytes part may take (4)
 *      6      2    reserved         zero
 *      8      4    container        0: all containers
 *      12     4    reserved         zero
 *      16     8    position         building: container id up to which entries exist; else zero
 *      24     1    name_bytes
 *      25     n    name
 *      25+n        part_count parts, each:
 *                  flags       1 byte: 1 descending, 2 required
 *                  collation   1 byte: zero (bytes of the text; others for language-aware keys)
 *                  path_count  1 byte: 0..32
 *                  path        path_count varints, fields of the groups from the top level down
 *                  field       varint
 *
 * 3. Container.  Key: the record id, BE 64, 1 or more.  Value: the record body (below).
 *    Key 0 is no record: its value is a varint, the highest id ever given out; it is written when
 *    the record with that very id is deleted, so that ids are never given out twice.  The next id
 *    is
 *    one above the larger of that value and the last key.
 *
 *    Record body: items one after the other, up to the end of the value.  An item:
 *
 *      header    1 byte: field code (high 4 bits), length code (low 4 bits)
 *      field     field code 15 only: varint, the field's number, 15 or more
 *      length    length code 14: varint, payload bytes, 14 or more;
 *                length code 15: varint, bytes of the group's items
 *      payload
 *
 *      FIELD CODE    MEANING
 *      0             reserved for later forms of a body or an item; corrupt today
 *      1..14         the field's number
 *      15            the number follows
 *      LENGTH CODE
 *      0..13         payload bytes
 *      14            payload bytes follow
 *      15            a group
 *
 *      TYPE          PAYLOAD
 *      text          UTF-8
 *      bytes         as they are
 *      int           zigzag (0, -1, 1, -2 ... = 0, 1, 2, 3 ...), little-endian, no zero bytes at
 *                    the end: 0 has no payload
 *      date-time     as int: microseconds since 1970-01-01 UTC
 *      bool          false: none; true: 01
 *      double        IEEE 754 binary64, BE, no zero bytes at the end: 0.0 has no payload, 1.0 is 3f
 *      f0 group         items
 *
 *    A field's type is in the dictionary and never changes, so an item does not repeat it.
 *
 * 4. Key parts.  Each encoding is free of prefixes (no encoding is the beginning of another) and
 *    compares as its value does, bytewise.  A descending part has every byte inverted.  A missing
 *    value sorts below all values (above, in a descending part).
 *
 *      text, bytes   each byte b > 02 as it is; 00, 01, 02 as 02 01, 02 02, 02 03; then 01.
 *                    When that, without the 01, is longer than text_limit - 10: as many bytes as
 *                    fit in text_limit - 10, then 02 00 (truncated: above everything that fits),
 *                    then XXH3 64 of the whole text, seed 0, BE: so that texts which begin alike
 *                    have different keys, in no particular order among themselves.
 *                    missing: 00
 *      int,          -32..191: one byte, 10 + value + 32 (hexadecimal 10 = -32, ef = 191).
 *      date-time     above: f0 + k - 1, then the value in k bytes, BE, k the least possible.
 *                    below: 10 - k, then the k low bytes of the two's complement, BE, k the least
 *                    for which -value - 1 fits in k bytes.
 *                    missing: 00
 *      double        8 bytes, BE: the bits, with all inverted when the sign is set and else the
 *                    sign alone; -0.0 counts as 0.0; every NaN is ff f8 00 00 00 00 00 00, above
 *                    infinity. missing: 00 00
 *      bool          01 false, 02 true; missing: 00
 *
 *    Number (of containers and record ids), the least class that holds it:
 *      FIRST BYTE    BYTES AFTER    NUMBERS FROM
 *      00..0f        0              0
 *      10..1f        1              16
 *      20..bf        2              4,112
 *      c0..f7        3              10,489,872
 *      f8..fb        4              950,013,968
 *      fc            5              18,129,883,152
 *      fd            6              1,117,641,510,928
 *      fe            8              282,592,618,221,584
 *      ff            never
 *    The number minus the first number of its class, BE, added to the first byte.
 *
 * 5. Index.  Key: the parts in order (4); the container's number when the index is over all
 *    containers; the record id (both as "number").  Value: empty.
 */
#ifndef ENGINE_RECORDS_FORMAT_H
#define ENGINE_RECORDS_FORMAT_H

#include <assert.h>
#include <stdint.h>

#include "kiln.h"

/* 1. */
#define RECORDS_NAME_BYTE "\x01"
#define DICT_COLLECTION RECORDS_NAME_BYTE "dict"
#define DICT_COLLECTION_BYTES 5

/* 2. */
#define DICT_FORMAT 1u
#define DICT_ROW_FORM 1u

enum {
    DICT_KIND_HEADER = 0,
    DICT_KIND_CONTAINER = 'C',
    DICT_KIND_FIELD = 'F',
    DICT_KIND_INDEX = 'I'
};
enum { DICT_INDEX_READY = 0, DICT_INDEX_BUILDING = 1, DICT_INDEX_SUSPENDED = 2 };

/* More numbers than these are not left out: they are given again then. */
#define DICT_FIELD_GAPS_MAX 65536u

struct dict_header_row {
    uint8_t format[4];
    uint8_t field_gaps[4];
    uint8_t version[8];
    uint8_t field_next[4];
    uint8_t container_next[4];
    uint8_t index_next[4];
    uint8_t reserved_28[4];
};
static_assert(sizeof(struct dict_header_row) == 32, "frozen");
static_assert(offsetof(struct dict_header_row, version) == 8, "frozen");
static_assert(offsetof(struct dict_header_row, field_next) == 16, "frozen");

struct dict_container_row {
    uint8_t form;
    uint8_t flags;
    uint8_t name_bytes; /* the name follows */
};
static_assert(sizeof(struct dict_container_row) == 3, "frozen");

struct dict_field_row {
    uint8_t form;
    uint8_t flags;
    uint8_t type;
    uint8_t name_bytes; /* the name follows */
};
static_assert(sizeof(struct dict_field_row) == 4, "frozen");

struct dict_index_row {
    uint8_t form;
    uint8_t state;
    uint8_t flags;
    uint8_t part_count;
    uint8_t text_limit[2];
    uint8_t reserved_6[2];
    uint8_t container[4];
    uint8_t reserved_12[4];
    uint8_t position[8];
    uint8_t name_bytes; /* the name and the parts follow */
};
static_assert(sizeof(struct dict_index_row) == 25, "frozen");
static_assert(offsetof(struct dict_index_row, container) == 8, "frozen");
static_assert(offsetof(struct dict_index_row, position) == 16, "frozen");

static_assert(KILN_TEXT == 1 && KILN_INT == 2 && KILN_DOUBLE == 3 && KILN_BOOL == 4 &&
                  KILN_BYTES == 5 && KILN_DATETIME == 6 && KILN_GROUP == 7,
              "frozen");
static_assert(KILN_DESCENDING == 1 && KILN_REQUIRED == 2 && KILN_UNIQUE == 1, "frozen");

/* An index row at its largest: header, name, parts of 3 bytes and 32 numbers of 5 bytes. */
#define DICT_ROW_BYTES_MAX (25 + 255 + KILN_INDEX_PARTS_MAX * (3 + 32 * 5))

/* 3. */
#define RECORD_FIELD_DIRECT_MAX 14u
#define RECORD_FIELD_FOLLOWS 15u
#define RECORD_LENGTH_DIRECT_MAX 13u
#define RECORD_LENGTH_FOLLOWS 14u
#define RECORD_LENGTH_GROUP 15u
#define RECORD_BYTES_MAX (1u << 30) /* of a body: offsets are 32 bits in memory, with room to add */
#define RECORD_ITEMS_MAX (1u << 24) /* 16 bytes of memory each: 256 MiB */
#define RECORD_ITEM_HEAD_MAX 11     /* header 1, field 5, length 5 */

/* 4. */
#define KEYCODE_END 0x01u    /* of a text */
#define KEYCODE_ESCAPE 0x02u /* before 00 (truncated) or byte + 1 */
#define KEYCODE_CUT_BYTES 10 /* 02 00 and the checksum, behind a truncated text */
#define KEYCODE_INT_DIRECT 0x10u
#define KEYCODE_INT_DIRECT_LOW (-32)
#define KEYCODE_INT_DIRECT_HIGH 191
#define KEYCODE_INT_ABOVE 0xf0u
#define KEYCODE_DOUBLE_NAN 0xfff8000000000000u

/* First numbers of the classes; each is the one before plus what that class holds. */
#define KEYCODE_BASE_1 UINT64_C(16)
#define KEYCODE_BASE_2 (KEYCODE_BASE_1 + (UINT64_C(16) << 8))
#define KEYCODE_BASE_3 (KEYCODE_BASE_2 + (UINT64_C(160) << 16))
#define KEYCODE_BASE_4 (KEYCODE_BASE_3 + (UINT64_C(56) << 24))
#define KEYCODE_BASE_5 (KEYCODE_BASE_4 + (UINT64_C(4) << 32))
#define KEYCODE_BASE_6 (KEYCODE_BASE_5 + (UINT64_C(1) << 40))
#define KEYCODE_BASE_8 (KEYCODE_BASE_6 + (UINT64_C(1) << 48))
static_assert(KEYCODE_BASE_2 == 4112 && KEYCODE_BASE_3 == 10489872, "frozen");
static_assert(KEYCODE_BASE_4 == 950013968, "frozen");

/* Largest encodings. */
#define KEYCODE_NUMBER_BYTES_MAX 9
#define KEYCODE_CONTAINER_BYTES_MAX 5 /* a number of 32 bits */
#define KEYCODE_INT_BYTES_MAX 9
#define KEYCODE_DOUBLE_BYTES 8
#define KEYCODE_TEXT_LIMIT_MIN 16
/* 16 text parts at their least, all containers: 16 * 16 + 5 + 9 = 270 <= 1024. */
static_assert(KILN_INDEX_PARTS_MAX * KEYCODE_TEXT_LIMIT_MIN + KEYCODE_CONTAINER_BYTES_MAX +
                      KEYCODE_NUMBER_BYTES_MAX <=
                  KILN_KEY_MAX,
              "a key always fits");

#endif
