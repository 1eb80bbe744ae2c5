/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_record_memory.c -- records in memory: append, walk, find, decode. */
#include <math.h>
#include <string.h>

#include "engine/records/record.h"
#include "engine/records/record_utf8.h"
#include "engine/records/records_internal.h"
#include "tests/support/test.h"

/* Field n has type types[n]; field 20 lies above the direct codes. */
static const uint8_t type_table[] = {
    0,          KILN_TEXT, KILN_INT, KILN_DOUBLE, KILN_BOOL,  KILN_BYTES, KILN_DATETIME,
    KILN_GROUP, 0,         0,        0,           0,          0,          0,
    KILN_TEXT,  KILN_TEXT, 0,        0,           KILN_GROUP, KILN_INT,   KILN_BYTES};
static const struct record_types types = {type_table, sizeof type_table};

static kiln_record *
record_make(void)
{
    kiln_record *record;

    REQUIRE_OK(kiln_record_new(&record));
    return record;
}

#define OK(call) REQUIRE_OK(call)
#define STATUS(call, status) CHECK_STATUS(call, status)

/* Both have the same items with the same values. */
static void
require_same(const kiln_record *a, const kiln_record *b)
{
    kiln_walk wa, wb;
    kiln_item ia, ib;
    kiln_status rc;

    kiln_walk_begin(&wa, a);
    kiln_walk_begin(&wb, b);
    while ((rc = kiln_walk_next(&wa, &ia)) == KILN_OK) {
        OK(kiln_walk_next(&wb, &ib));
        REQUIRE_EQ(ib.field, ia.field);
        REQUIRE_EQ(ib.type, ia.type);
        REQUIRE_EQ(ib.depth, ia.depth);
        REQUIRE_EQ(ib.integer, ia.integer);
        REQUIRE(memcmp(&ib.real, &ia.real, sizeof ia.real) == 0);
        REQUIRE_EQ(ib.data.size, ia.data.size);
        REQUIRE(ia.data.size == 0 || memcmp(ia.data.data, ib.data.data, ia.data.size) == 0);
    }
    REQUIRE_EQ(rc, KILN_NOTFOUND);
    REQUIRE_EQ(kiln_walk_next(&wb, &ib), KILN_NOTFOUND);
}

static void
require_decodes(const kiln_record *record)
{
    struct kiln_record back;

    record_init(&back);
    REQUIRE_OK(record_decode(&back, &types, record->body, record->body_bytes));
    require_same(record, &back);
    REQUIRE_OK(record_check_texts(&back));
    REQUIRE_OK(record_decode(&back, NULL, record->body, record->body_bytes));
    REQUIRE_EQ(back.item_count, record->item_count);
    record_release(&back);
}

static void
person_takes_no_more_than_its_texts_and_a_byte_each(void)
{
    kiln_record *record = record_make();

    OK(kiln_record_text(record, 1, "Grace", 5));
    OK(kiln_record_text(record, 1, "Hopper", 6));
    OK(kiln_record_int(record, 2, 85));
    CHECK_EQ(record->body_bytes, 1 + 5 + 1 + 6 + 1 + 1);
    require_decodes(record);
    kiln_record_free(record);
}

static void
every_type_comes_back(void)
{
    static const int64_t integers[] = {0,   1,     -1,    63,      64,        -64,      -65,
                                       127, 32767, 65536, 1 << 30, INT64_MAX, INT64_MIN};
    static const double reals[] = {0.0, -0.0, 1.0, -1.5, 3.14159, 1e300, INFINITY, NAN, 4.9e-324};
    kiln_record *record = record_make();
    char text[300];

    memset(text, 'x', sizeof text);
    for (size_t i = 0; i < sizeof integers / sizeof integers[0]; i++) {
        OK(kiln_record_int(record, 2, integers[i]));
        OK(kiln_record_int(record, 19, integers[i]));
        OK(kiln_record_datetime(record, 6, integers[i]));
    }
    for (size_t i = 0; i < sizeof reals / sizeof reals[0]; i++)
        OK(kiln_record_double(record, 3, reals[i]));
    for (size_t size = 0; size <= sizeof text; size += size < 20 ? 1 : 70) {
        OK(kiln_record_text(record, 14, text, size));
        OK(kiln_record_text(record, 15, text, size));
        OK(kiln_record_bytes(record, 20, text, size));
    }
    OK(kiln_record_bool(record, 4, true));
    OK(kiln_record_bool(record, 4, false));
    OK(kiln_record_text(record, 1, NULL, 0));
    require_decodes(record);
    kiln_record_free(record);
}

static void
groups_nest_to_the_limit(void)
{
    kiln_record *record = record_make();

    for (int i = 0; i < KILN_RECORD_DEPTH_MAX; i++) {
        OK(kiln_record_int(record, 2, i));
        OK(kiln_record_group_begin(record, i % 2 ? 7 : 18));
    }
    STATUS(kiln_record_group_begin(record, 7), FTK_TOOBIG);
    OK(kiln_record_text(record, 1, "deep", 4));
    for (int i = 0; i < KILN_RECORD_DEPTH_MAX; i++) {
        OK(kiln_record_group_end(record));
        OK(kiln_record_int(record, 2, -i));
    }
    STATUS(kiln_record_group_end(record), FTK_STATE);
    require_decodes(record);
    kiln_record_free(record);
}

/* Random trees, then every cut of the body and random damage: an error or a well-formed record. */
static void
random_records_come_back_and_damage_is_survived(void)
{
    struct ftk_random random = test_random();
    kiln_record *record = record_make();
    struct kiln_record back;
    uint8_t damaged[4096];

    record_init(&back);
    for (uint64_t round = 0; round < test_rounds(3000); round++) {
        uint32_t depth = 0;
        kiln_record_clear(record);
        for (uint64_t i = ftk_random_below(&random, 24); i > 0; i--) {
            switch (ftk_random_below(&random, 6)) {
            case 0: OK(kiln_record_int(record, 2, (int64_t)ftk_random_next(&random))); break;
            case 1:
                OK(kiln_record_text(record, 1, "abcdefghijklmnopqrstuvwxyz",
                                    (size_t)ftk_random_below(&random, 27)));
                break;
            case 2: OK(kiln_record_double(record, 3, ftk_random_double(&random))); break;
            case 3: OK(kiln_record_bool(record, 4, i % 2 == 0)); break;
            case 4:
                if (depth < 30) {
                    OK(kiln_record_group_begin(record, i % 2 == 0 ? 7 : 18));
                    depth++;
                }
                break;
            default:
                if (depth > 0) {
                    OK(kiln_record_group_end(record));
                    depth--;
                }
                break;
            }
        }
        for (; depth > 0; depth--)
            OK(kiln_record_group_end(record));
        require_decodes(record);
        REQUIRE(record->body_bytes <= sizeof damaged);
        for (uint32_t i = 0; i < 20 && record->body_bytes > 0; i++) {
            size_t bytes = record->body_bytes;
            memcpy(damaged, record->body, bytes);
            damaged[ftk_random_below(&random, bytes)] ^=
                (uint8_t)(1 + ftk_random_below(&random, 255));
            if (i % 4 == 0)
                bytes = (size_t)ftk_random_below(&random, bytes);
            ftk_status rc = record_decode(&back, &types, damaged, bytes);
            REQUIRE(rc == FTK_OK || rc == FTK_CORRUPT);
        }
    }
    record_release(&back);
    kiln_record_free(record);
}

static void
other_forms_of_a_body_are_refused(void)
{
    static const struct {
        const char *bytes;
        size_t size;
    } cases[] = {
        {"\x00", 1}, /* field code 0 */
        {"\x13"
         "ab",
         3}, /* payload cut off */
        {"\x1e\x05"
         "abcde",
         7},                 /* a length that fits the code */
        {"\x1e\x8e\x00", 3}, /* a varint longer than it need be */
        {"\xf1\x0e"
         "a",
         3},                 /* field 14 in the long form */
        {"\x22\x01\x00", 3}, /* an integer with a zero byte at its end */
        {"\x29\x01\x01\x01\x01\x01\x01\x01\x01\x01", 10}, /* of 9 bytes */
        {"\x41\x02", 2},                                  /* a bool that is 2 */
        {"\x41\x00", 2},                                  /* a false of one byte */
        {"\x32\x3f\x00", 3},                              /* a double with a zero byte at its end */
        {"\x71"
         "a",
         2},             /* a group without a group's length */
        {"\x1f\x00", 2}, /* a text as a group */
        {"\x7f\x05\x11"
         "a",
         4}, /* a group longer than the body */
        {"\x7f\x02\x13"
         "abc",
         6}, /* an item longer than its group */
        {"\x81"
         "a",
         2}, /* a field that is not in the dictionary */
        {"\xf1\x7f"
         "a",
         3},         /* nor this */
        {"\xf1", 1}, /* field number cut off */
    };
    struct kiln_record back;

    record_init(&back);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CHECK_MSG(record_decode(&back, &types, cases[i].bytes, cases[i].size) == FTK_CORRUPT,
                  "case %zu", i);
        CHECK_EQ(back.item_count, 0);
    }
    CHECK_OK(record_decode(&back, &types, "", 0));
    CHECK_OK(record_decode(&back, &types, "\x11\xff", 2));
    CHECK_STATUS(record_check_texts(&back), FTK_CORRUPT);
    record_release(&back);
}

static void
find_takes_the_nth_at_the_top(void)
{
    kiln_record *record = record_make();
    kiln_item item;

    OK(kiln_record_int(record, 2, 10));
    OK(kiln_record_group_begin(record, 7));
    OK(kiln_record_int(record, 2, 11));
    OK(kiln_record_group_end(record));
    OK(kiln_record_int(record, 2, 12));
    OK(kiln_record_find(record, 2, 0, &item));
    CHECK_EQ(item.integer, 10);
    OK(kiln_record_find(record, 2, 1, &item));
    CHECK_EQ(item.integer, 12);
    CHECK_EQ(kiln_record_find(record, 2, 2, &item), KILN_NOTFOUND);
    CHECK_EQ(kiln_record_find(record, 3, 0, &item), KILN_NOTFOUND);
    kiln_record_free(record);
}

static void
wrong_arguments_change_nothing(void)
{
    kiln_record *record = record_make();

    OK(kiln_record_int(record, 2, 1));
    STATUS(kiln_record_int(NULL, 2, 1), FTK_INVALID);
    STATUS(kiln_record_int(record, 0, 1), FTK_INVALID);
    STATUS(kiln_record_text(record, 1, NULL, 1), FTK_INVALID);
    STATUS(kiln_record_text(record, 1, "ab\xff", 3), FTK_INVALID);
    STATUS(kiln_record_bytes(record, 5, "x", (size_t)1 << 40), FTK_TOOBIG);
    STATUS(kiln_record_group_end(record), FTK_STATE);
    STATUS(kiln_record_new(NULL), FTK_INVALID);
    CHECK_EQ(record->item_count, 1);
    CHECK_EQ(record->body_bytes, 2);
    kiln_record_free(record);
    kiln_record_free(NULL);
    kiln_record_clear(NULL);
}

/* ---- UTF-8 ----------------------------------------------------------------------------------- */

/* The definition, byte by byte (RFC 3629, section 4). */
static bool
utf8_slowly(const uint8_t *text, size_t size)
{
    size_t i = 0;

    while (i < size) {
        uint32_t head = text[i], code;
        size_t count = head < 0x80         ? 1
                       : (head >> 5) == 6  ? 2
                       : (head >> 4) == 14 ? 3
                       : (head >> 3) == 30 ? 4
                                           : 0;
        if (count == 0 || count > size - i)
            return false;
        code = count == 1 ? head : head & (0x7fu >> count);
        for (size_t k = 1; k < count; k++) {
            if (text[i + k] >> 6 != 2)
                return false;
            code = code << 6 | (text[i + k] & 0x3f);
        }
        if ((count == 2 && code < 0x80) || (count == 3 && code < 0x800) ||
            (count == 4 && (code < 0x10000 || code > 0x10ffff)) ||
            (code >= 0xd800 && code <= 0xdfff))
            return false;
        i += count;
    }
    return true;
}

static void
utf8_agrees_with_its_definition(void)
{
    static const uint8_t odd[] = {0x7f, 0x80, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xed,
                                  0xef, 0xf0, 0xf4, 0xf5, 0xff, 0x9f, 0xa0, 0x8f, 0x90};
    struct ftk_random random = test_random();
    uint8_t text[32];

    for (uint64_t round = 0; round < test_rounds(300000); round++) {
        size_t size = (size_t)ftk_random_below(&random, sizeof text + 1);
        memset(text, 'a', sizeof text);
        for (uint64_t i = ftk_random_below(&random, 6); i > 0 && size > 0; i--)
            text[ftk_random_below(&random, size)] = odd[ftk_random_below(&random, sizeof odd)];
        REQUIRE((record_utf8_check(text, size) == size) == utf8_slowly(text, size));
    }
    for (uint32_t pair = 0; pair < 65536; pair++) {
        text[0] = (uint8_t)(pair >> 8);
        text[1] = (uint8_t)pair;
        text[2] = text[3] = 0x80;
        for (size_t size = 1; size <= 4; size++)
            REQUIRE((record_utf8_check(text, size) == size) == utf8_slowly(text, size));
    }
}

/* ---- memory ---------------------------------------------------------------------------------- */

static ftk_status
build_some(void *context)
{
    kiln_record *record = NULL;
    struct kiln_record back;
    ftk_status rc;

    (void)context;
    record_init(&back);
    FTK_TRY(kiln_record_new(&record));
    for (int i = 0; i < 200; i++) {
        FTK_TRY(kiln_record_group_begin(record, 7));
        FTK_TRY(kiln_record_text(record, 1, "twelve bytes", 12));
        FTK_TRY(kiln_record_group_end(record));
    }
    FTK_TRY(record_decode(&back, &types, record->body, record->body_bytes));
out:
    ftk_fault_disarm();
    record_release(&back);
    kiln_record_free(record);
    return rc;
}

static void
every_failed_allocation_is_reported(void)
{
    test_each_fault(FTK_FAULT_ALLOC, build_some, NULL);
}

TEST_MAIN("record_memory", TEST(person_takes_no_more_than_its_texts_and_a_byte_each),
          TEST(every_type_comes_back), TEST(groups_nest_to_the_limit),
          TEST(random_records_come_back_and_damage_is_survived),
          TEST(other_forms_of_a_body_are_refused), TEST(find_takes_the_nth_at_the_top),
          TEST(wrong_arguments_change_nothing), TEST(utf8_agrees_with_its_definition),
          TEST(every_failed_allocation_is_reported))
