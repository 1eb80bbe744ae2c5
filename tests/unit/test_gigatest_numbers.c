/* gigatest: counts, sizes and times of the command line, and the texts for people. */
#include "gigatest/giga_number.h"
#include "tests/support/test.h"

static uint64_t
count_of(const char *text)
{
    uint64_t count = 77;

    return giga_count_parse(text, &count) ? count : UINT64_MAX;
}

static uint64_t
size_of(const char *text)
{
    uint64_t bytes = 77;

    return giga_size_parse(text, &bytes) ? bytes : UINT64_MAX;
}

static uint64_t
ms_of(const char *text)
{
    uint64_t ms = 77;

    return giga_time_parse(text, &ms) ? ms : UINT64_MAX;
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
    uint64_t value = 77;

    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        CHECK_MSG(!giga_count_parse(wrong[i], &value), "\"%s\"", wrong[i]);
        CHECK_EQ(value, 0);
        value = 77;
    }
    CHECK_EQ(size_of("1b"), UINT64_MAX);
    CHECK_EQ(size_of("8388608T"), UINT64_MAX);
    CHECK_EQ(ms_of("0.0001"), UINT64_MAX);
}

static void
texts_for_people_read_well(void)
{
    char text[GIGA_NUMBER_MAX];

    CHECK_STR(giga_count_text(text, 0), "0");
    CHECK_STR(giga_count_text(text, 999), "999");
    CHECK_STR(giga_count_text(text, 1000), "1,000");
    CHECK_STR(giga_count_text(text, UINT64_MAX), "18,446,744,073,709,551,615");
    CHECK_STR(giga_bytes_text(text, 1023), "1023 B");
    CHECK_STR(giga_bytes_text(text, 1536), "1.50 KiB");
    CHECK_STR(giga_bytes_text(text, 3ull << 30), "3.00 GiB");
    CHECK_STR(giga_rate_text(text, 93.06e6), "93.1 MB/s");
    CHECK_STR(giga_seconds_text(text, 0.0123), "12 ms");
    CHECK_STR(giga_seconds_text(text, 12.34), "12.3 s");
    CHECK_STR(giga_seconds_text(text, 3723), "1:02:03");
    CHECK_STR(giga_seconds_text(text, 1e12), "never");
    CHECK_STR(giga_latency_text(text, 110000), "110 us");
    CHECK_STR(giga_latency_text(text, 1234000), "1.23 ms");
    CHECK_STR(giga_latency_text(text, 2500000000), "2.5 s");
}

TEST_MAIN("gigatest_numbers", TEST(counts_take_decimal_suffixes), TEST(sizes_take_binary_suffixes),
          TEST(times_take_units), TEST(what_is_no_number_is_refused),
          TEST(texts_for_people_read_well))
