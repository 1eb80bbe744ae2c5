/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers of command lines: counts, sizes, times, their errors; and the texts for people. */
#include "ftk/number.h"

#include <string.h>

#include "tests/support/test.h"

static char error[FTK_NUMBER_ERROR_MAX];

/* UINT64_MAX: refused, and then the number is 0 and there are words. */
static uint64_t
number_of(enum ftk_number_kind kind, const char *text)
{
    struct ftk_number_rule rule = {kind, 0, INT64_MAX};
    uint64_t number = 77;

    if (ftk_number_parse(&rule, text, &number, error)) {
        CHECK_STR(error, "");
        return number;
    }
    CHECK_EQ(number, 0);
    CHECK_HAS(error, "\" is not ");
    return UINT64_MAX;
}

static uint64_t
count_of(const char *text)
{
    return number_of(FTK_NUMBER_COUNT, text);
}

static uint64_t
size_of(const char *text)
{
    return number_of(FTK_NUMBER_SIZE, text);
}

static uint64_t
ms_of(const char *text)
{
    return number_of(FTK_NUMBER_TIME, text);
}

static void
counts_take_decimal_suffixes(void)
{
    CHECK_EQ(count_of("0"), 0);
    CHECK_EQ(count_of("42"), 42);
    CHECK_EQ(count_of("500k"), 500000);
    CHECK_EQ(count_of("10m"), 10000000);
    CHECK_EQ(count_of("10M"), 10000000);
    CHECK_EQ(count_of("2b"), 2000000000);
    CHECK_EQ(count_of("2g"), 2000000000);
    CHECK_EQ(count_of("1t"), 1000000000000);
    CHECK_EQ(count_of("1.5m"), 1500000);
    CHECK_EQ(count_of("0.001k"), 1);
}

static void
sizes_take_binary_suffixes(void)
{
    CHECK_EQ(size_of("4096"), 4096);
    CHECK_EQ(size_of("500k"), 512000);
    CHECK_EQ(size_of("64M"), 64u << 20);
    CHECK_EQ(size_of("8G"), 8ull << 30);
    CHECK_EQ(size_of("8gib"), 8ull << 30);
    CHECK_EQ(size_of("0.5G"), 512u << 20);
    CHECK_EQ(size_of("2T"), 2ull << 40);
}

static void
times_take_units(void)
{
    CHECK_EQ(ms_of("60"), 60000);
    CHECK_EQ(ms_of("0.5"), 500);
    CHECK_EQ(ms_of("200ms"), 200);
    CHECK_EQ(ms_of("5s"), 5000);
    CHECK_EQ(ms_of("2m"), 120000);
    CHECK_EQ(ms_of("1h"), 3600000);
}

static void
what_is_no_number_is_refused(void)
{
    static const char *const wrong[] = {
        "",
        " 1",
        "1 ",
        "-1",
        "+1",
        "x",
        "1x",
        "1kk",
        "k",
        "1.",
        ".5",
        "1.5",
        "1.2.3",
        "0x10",
        "1e6",
        "1,000",
        "1.0005k",
        "1.23456789m",
        "10000000t",
        "99999999999999999999999",
        "18446744073709551615",
        "9223372036854775808",
    };

    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
        CHECK_MSG(count_of(wrong[i]) == UINT64_MAX, "\"%s\"", wrong[i]);
    CHECK_EQ(size_of("1b"), UINT64_MAX);
    CHECK_EQ(size_of("8388608T"), UINT64_MAX);
    CHECK_EQ(size_of("8 G"), UINT64_MAX);
    CHECK_EQ(size_of("8388607T"), 8388607ull << 40);
    CHECK_EQ(ms_of("0.0001"), UINT64_MAX);
    CHECK_EQ(ms_of("5d"), UINT64_MAX);
}

static void
a_refusal_says_what_would_do(void)
{
    struct ftk_number_rule rule = {FTK_NUMBER_SIZE, 4u << 20, 1ull << 40};
    char digits[5000];
    uint64_t number;

    CHECK(!ftk_number_parse(&rule, "12x", &number, error));
    CHECK_STR(error, "\"12x\" is not a size such as 500k, 64m or 8G");
    CHECK(!ftk_number_parse(&rule, "1k", &number, error));
    CHECK_STR(error, "\"1k\" is not between 4.00 MiB and 1.00 TiB");
    CHECK(!ftk_number_parse(&rule, "2t", &number, error));
    CHECK(ftk_number_parse(&rule, "4m", &number, error));
    CHECK(ftk_number_parse(&rule, "1t", &number, error));
    rule = (struct ftk_number_rule){FTK_NUMBER_TIME, 10, 60000};
    CHECK(!ftk_number_parse(&rule, "9ms", &number, error));
    CHECK_STR(error, "\"9ms\" is not between 10 ms and 0:01:00");
    rule = (struct ftk_number_rule){FTK_NUMBER_COUNT, 1, 64};
    CHECK(!ftk_number_parse(&rule, "0", &number, error));
    CHECK_STR(error, "\"0\" is not between 1 and 64");
    memset(digits, '9', sizeof(digits) - 1);
    digits[sizeof(digits) - 1] = 0;
    CHECK(!ftk_number_parse(&rule, digits, &number, error));
    CHECK_HAS(error, "is not a count");
}

static void
texts_for_people_read_well(void)
{
    char text[FTK_NUMBER_TEXT_MAX];

    CHECK_STR(ftk_count_text(text, 0), "0");
    CHECK_STR(ftk_count_text(text, 999), "999");
    CHECK_STR(ftk_count_text(text, 1000), "1,000");
    CHECK_STR(ftk_count_text(text, UINT64_MAX), "18,446,744,073,709,551,615");
    CHECK_STR(ftk_bytes_text(text, 1023), "1023 B");
    CHECK_STR(ftk_bytes_text(text, 1536), "1.50 KiB");
    CHECK_STR(ftk_bytes_text(text, 3ull << 30), "3.00 GiB");
    CHECK_STR(ftk_rate_text(text, 93.06e6), "93.1 MB/s");
    CHECK_STR(ftk_seconds_text(text, 0.0123), "12 ms");
    CHECK_STR(ftk_seconds_text(text, 12.34), "12.3 s");
    CHECK_STR(ftk_seconds_text(text, 3723), "1:02:03");
    CHECK_STR(ftk_seconds_text(text, 1e12), "never");
    CHECK_STR(ftk_latency_text(text, 110000), "110 us");
    CHECK_STR(ftk_latency_text(text, 1234000), "1.23 ms");
    CHECK_STR(ftk_latency_text(text, 2500000000), "2.5 s");
}

TEST_MAIN("ftk_number", TEST(counts_take_decimal_suffixes), TEST(sizes_take_binary_suffixes),
          TEST(times_take_units), TEST(what_is_no_number_is_refused),
          TEST(a_refusal_says_what_would_do), TEST(texts_for_people_read_well))
