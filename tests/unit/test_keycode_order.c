/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_keycode_order.c -- key parts compare as their values do, and come back. */
#include <math.h>
#include <string.h>

#include "engine/records/keycode.h"
#include "ftk/bytes.h"
#include "tests/support/test.h"

enum { ROOM = 2048 };

struct encoded {
    uint8_t bytes[ROOM];
    size_t size;
};

static int
compare(const struct encoded *a, const struct encoded *b)
{
    int order = ftk_bytes_compare(a->bytes, a->size, b->bytes, b->size);
    return (order > 0) - (order < 0);
}

static bool
is_prefix(const struct encoded *a, const struct encoded *b)
{
    return a->size < b->size && memcmp(a->bytes, b->bytes, a->size) == 0;
}

/* ---- numbers, integers ----------------------------------------------------------------------- */

/* Every bit width is as likely as another. */
static uint64_t
random_width(struct ftk_random *random)
{
    uint64_t value = ftk_random_next(random) >> ftk_random_below(random, 64);
    return ftk_random_below(random, 8) == 0 ? 0 - value : value;
}

static void
numbers_are_ordered_and_come_back(void)
{
    static const uint64_t edges[] = {0,
                                     1,
                                     15,
                                     16,
                                     4111,
                                     4112,
                                     10489871,
                                     10489872,
                                     950013967,
                                     950013968,
                                     18129883151,
                                     18129883152,
                                     1117641510927,
                                     1117641510928,
                                     282592618221583,
                                     282592618221584,
                                     UINT64_MAX};
    struct ftk_random random = test_random();
    struct encoded a, b;
    uint64_t left, right, back;

    for (uint64_t i = 0; i < test_rounds(200000); i++) {
        left = i < 17 * 17 ? edges[i / 17] : random_width(&random);
        right = i < 17 * 17 ? edges[i % 17] : random_width(&random);
        a.size = (size_t)(keycode_number_put(a.bytes, left) - a.bytes);
        b.size = (size_t)(keycode_number_put(b.bytes, right) - b.bytes);
        REQUIRE_MSG(compare(&a, &b) == (left > right) - (left < right), "%llu and %llu",
                    (unsigned long long)left, (unsigned long long)right);
        REQUIRE(!is_prefix(&a, &b));
        REQUIRE(keycode_number_get(a.bytes, a.bytes + a.size, &back) == a.bytes + a.size);
        REQUIRE(back == left);
        REQUIRE(keycode_number_get(a.bytes, a.bytes + a.size - 1, &back) == NULL);
    }
}

static void
numbers_are_short(void)
{
    static const struct {
        uint64_t number;
        size_t size;
    } cases[] = {{15, 1},       {16, 2},         {4111, 2},       {4112, 3},
                 {10000000, 3}, {10489872, 4},   {900000000, 4},  {17000000000, 5},
                 {1u << 31, 5}, {1ull << 40, 6}, {1ull << 48, 7}, {UINT64_MAX, 9}};
    uint8_t bytes[KEYCODE_NUMBER_BYTES_MAX];

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        CHECK_EQ(keycode_number_put(bytes, cases[i].number) - bytes, cases[i].size);
}

static void
malformed_numbers_are_refused(void)
{
    static const uint8_t never[] = {0xff, 0, 0, 0, 0, 0, 0, 0, 0};
    static const uint8_t above[] = {0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    uint64_t number;

    CHECK(keycode_number_get(never, never, &number) == NULL);
    CHECK(keycode_number_get(never, never + sizeof never, &number) == NULL);
    CHECK(keycode_number_get(above, above + sizeof above, &number) == NULL);
}

static void
integers_are_ordered_and_come_back(void)
{
    static const int64_t edges[] = {
        INT64_MIN, INT64_MIN + 1, -65537, -65536, -257,  -256,  -255,
        -129,      -128,          -33,    -32,    -1,    0,     1,
        191,       192,           255,    256,    65535, 65536, INT64_MAX};
    enum { EDGES = sizeof edges / sizeof edges[0] };
    struct ftk_random random = test_random();
    struct encoded a, b;
    int64_t left, right, back;

    for (uint64_t i = 0; i < test_rounds(200000); i++) {
        left = i < EDGES * EDGES ? edges[i / EDGES] : (int64_t)random_width(&random);
        right = i < EDGES * EDGES ? edges[i % EDGES] : (int64_t)random_width(&random);
        a.size = (size_t)(keycode_int_put(a.bytes, left) - a.bytes);
        b.size = (size_t)(keycode_int_put(b.bytes, right) - b.bytes);
        REQUIRE_MSG(compare(&a, &b) == (left > right) - (left < right), "%lld and %lld",
                    (long long)left, (long long)right);
        REQUIRE(!is_prefix(&a, &b));
        REQUIRE(a.bytes[0] != 0);
        keycode_invert(a.bytes, a.bytes + a.size);
        REQUIRE(keycode_int_get(a.bytes, a.bytes + a.size, 0xff, &back) == a.bytes + a.size);
        REQUIRE(back == left);
    }
}

static void
longer_forms_of_integers_are_refused(void)
{
    static const uint8_t direct[] = {0xf0, 191}, zero[] = {0xf1, 0, 200}, below[] = {0x0f, 0xff},
                         sign[] = {0x0e, 0xff, 0x01}, head[] = {0xf8, 1, 1, 1, 1, 1, 1, 1, 1, 1},
                         high[] = {0xf7, 0x80, 0, 0, 0, 0, 0, 0, 0};
    int64_t value;

    CHECK(keycode_int_get(direct, direct + sizeof direct, 0, &value) == NULL);
    CHECK(keycode_int_get(zero, zero + sizeof zero, 0, &value) == NULL);
    CHECK(keycode_int_get(below, below + sizeof below, 0, &value) == NULL);
    CHECK(keycode_int_get(sign, sign + sizeof sign, 0, &value) == NULL);
    CHECK(keycode_int_get(head, head + sizeof head, 0, &value) == NULL);
    CHECK(keycode_int_get(high, high + sizeof high, 0, &value) == NULL);
}

/* ---- doubles --------------------------------------------------------------------------------- */

static double
random_real(struct ftk_random *random)
{
    static const double edges[] = {0.0, -0.0, 1.0, -1.0, 4.9e-324, -4.9e-324, 1.7e308, -1.7e308};
    uint64_t bits = ftk_random_next(random);
    double value;

    if (ftk_random_below(random, 4) == 0)
        return edges[bits % 8];
    if (ftk_random_below(random, 20) == 0)
        return bits & 1 ? INFINITY : -INFINITY;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void
doubles_are_ordered_and_come_back(void)
{
    struct ftk_random random = test_random();
    struct encoded a, b, missing;
    double left, right, back;
    int wanted;

    missing.size = (size_t)(keycode_missing_put(missing.bytes, KILN_DOUBLE) - missing.bytes);
    for (uint64_t i = 0; i < test_rounds(200000); i++) {
        left = random_real(&random);
        right = random_real(&random);
        a.size = (size_t)(keycode_double_put(a.bytes, left) - a.bytes);
        b.size = (size_t)(keycode_double_put(b.bytes, right) - b.bytes);
        wanted = isnan(left) || isnan(right) ? !!isnan(left) - !!isnan(right)
                                             : (left > right) - (left < right);
        REQUIRE_MSG(compare(&a, &b) == wanted, "%a and %a", left, right);
        REQUIRE(compare(&missing, &a) < 0);
        REQUIRE(!is_prefix(&missing, &a));
        REQUIRE(keycode_double_get(a.bytes, a.bytes + a.size, 0, &back) == a.bytes + a.size);
        REQUIRE(isnan(left) ? isnan(back) : back == left);
        REQUIRE(!signbit(back) || back != 0.0); /* -0.0 is 0.0 */
    }
}

/* ---- texts ----------------------------------------------------------------------------------- */

/* Few different bytes, so that texts begin alike and have bytes that must be escaped. */
static size_t
random_text(struct ftk_random *random, uint8_t *text, size_t max)
{
    static const uint8_t alphabet[] = {0, 1, 2, 3, 'a', 'b', 0xff};
    size_t size = (size_t)ftk_random_below(random, max + 1);
    uint64_t letters = 1 + ftk_random_below(random, sizeof alphabet);

    for (size_t i = 0; i < size; i++)
        text[i] = alphabet[ftk_random_below(random, letters)];
    return size;
}

static void
texts_are_ordered_and_come_back(void)
{
    struct ftk_random random = test_random();
    struct encoded a, b;
    uint8_t left[40], right[40], back[ROOM];
    size_t left_size, right_size, size;
    bool truncated;
    int wanted;

    for (uint64_t i = 0; i < test_rounds(200000); i++) {
        left_size = random_text(&random, left, sizeof left);
        right_size = random_text(&random, right, sizeof right);
        truncated = false;
        a.size = (size_t)(keycode_text_put(a.bytes, left, left_size, 1000, &truncated) - a.bytes);
        b.size = (size_t)(keycode_text_put(b.bytes, right, right_size, 1000, &truncated) - b.bytes);
        REQUIRE(!truncated);
        wanted = ftk_bytes_compare(left, left_size, right, right_size);
        REQUIRE(compare(&a, &b) == (wanted > 0) - (wanted < 0));
        REQUIRE(!is_prefix(&a, &b));
        REQUIRE(a.bytes[0] != 0); /* above a missing one */
        keycode_invert(a.bytes, a.bytes + a.size);
        REQUIRE(keycode_text_get(a.bytes, a.bytes + a.size, 0xff, back, &size, &truncated) ==
                a.bytes + a.size);
        REQUIRE(!truncated && size == left_size);
        REQUIRE(memcmp(back, left, size) == 0);
        REQUIRE(keycode_text_get(a.bytes, a.bytes + a.size - 1, 0xff, back, &size, &truncated) ==
                NULL);
    }
}

/* With a limit, order is kept but for texts that are equal as far as they fit: of these the
 * checksums differ. */
static void
truncated_texts_are_in_order(void)
{
    struct ftk_random random = test_random();
    struct encoded a, b;
    uint8_t left[40], right[40], back[ROOM];
    size_t left_size, right_size, size, limit;
    bool left_cut, right_cut, cut;
    int order, wanted;

    for (uint64_t i = 0; i < test_rounds(300000); i++) {
        limit = KEYCODE_TEXT_LIMIT_MIN + (size_t)ftk_random_below(&random, 8);
        left_size = random_text(&random, left, sizeof left);
        right_size = random_text(&random, right, sizeof right);
        if (ftk_random_below(&random, 2) == 0) { /* the same beginning */
            size_t same = (size_t)ftk_random_below(&random, left_size + 1);
            memcpy(right, left, same);
            right_size = right_size < same ? same : right_size;
        }
        left_cut = right_cut = false;
        a.size = (size_t)(keycode_text_put(a.bytes, left, left_size, limit, &left_cut) - a.bytes);
        b.size =
            (size_t)(keycode_text_put(b.bytes, right, right_size, limit, &right_cut) - b.bytes);
        REQUIRE(a.size <= limit);
        wanted = ftk_bytes_compare(left, left_size, right, right_size);
        order = compare(&a, &b);
        if (left_cut && right_cut && a.size == b.size && memcmp(a.bytes, b.bytes, a.size - 8) == 0)
            REQUIRE((order == 0) == (wanted == 0));
        else
            REQUIRE(order == (wanted > 0) - (wanted < 0));
        REQUIRE(keycode_text_get(a.bytes, a.bytes + a.size, 0, back, &size, &cut) ==
                a.bytes + a.size);
        REQUIRE(cut == left_cut && size <= left_size && memcmp(back, left, size) == 0);
    }
}

static void
malformed_texts_are_refused(void)
{
    static const uint8_t missing[] = {0}, open[] = {'a', 'b'}, escape[] = {'a', 2},
                         code[] = {'a', 2, 4, 1};
    uint8_t back[8];
    size_t size;
    bool cut;

    CHECK(keycode_text_get(missing, missing + 1, 0, back, &size, &cut) == NULL);
    CHECK(keycode_text_get(open, open + sizeof open, 0, back, &size, &cut) == NULL);
    CHECK(keycode_text_get(escape, escape + sizeof escape, 0, back, &size, &cut) == NULL);
    CHECK(keycode_text_get(code, code + sizeof code, 0, back, &size, &cut) == NULL);
}

static void
missing_values_are_told_from_others(void)
{
    static const kiln_type types[] = {KILN_TEXT, KILN_INT,   KILN_DOUBLE,
                                      KILN_BOOL, KILN_BYTES, KILN_DATETIME};
    struct keycode_part part;
    uint8_t bytes[16], buffer[16];
    uint8_t *end;

    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        for (int descending = 0; descending < 2; descending++) {
            end = keycode_missing_put(bytes, types[i]);
            if (descending)
                keycode_invert(bytes, end);
            *end = 0x55; /* of the next part */
            REQUIRE(keycode_part_get(bytes, end + 1, types[i], descending != 0, buffer, &part) ==
                    end);
            CHECK_EQ(part.type, 0);
        }
    }
}

TEST_MAIN("keycode_order", TEST(numbers_are_ordered_and_come_back), TEST(numbers_are_short),
          TEST(malformed_numbers_are_refused), TEST(integers_are_ordered_and_come_back),
          TEST(longer_forms_of_integers_are_refused), TEST(doubles_are_ordered_and_come_back),
          TEST(texts_are_ordered_and_come_back), TEST(truncated_texts_are_in_order),
          TEST(malformed_texts_are_refused), TEST(missing_values_are_told_from_others))
