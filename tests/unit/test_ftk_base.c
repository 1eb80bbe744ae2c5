/* SPDX-License-Identifier: Apache-2.0 */
/* Status, memory, bytes, random numbers, clock, threads, checksum, log. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ftk/bytes.h"
#include "ftk/checksum.h"
#include "ftk/clock.h"
#include "ftk/log.h"
#include "ftk/mem.h"
#include "ftk/random.h"
#include "ftk/spin.h"
#include "ftk/thread.h"
#include "tests/support/test.h"

/* ---- status ---- */

static void
every_code_has_a_name_and_a_text(void)
{
    CHECK_STR(ftk_status_name(FTK_NOSPACE), "NOSPACE");
    CHECK_STR(ftk_status_text(FTK_OK), "success");
    for (int i = 0; i <= FTK_CONSTRAINT; i++) {
        CHECK(strcmp(ftk_status_name((ftk_status)i), "UNKNOWN") != 0);
        CHECK(strlen(ftk_status_text((ftk_status)i)) > 0);
    }
    CHECK_STR(ftk_status_text((ftk_status)12345), "unknown status");
    CHECK_STR(ftk_status_name((ftk_status)-1), "UNKNOWN");
    CHECK_EQ(ftk_status_of_errno(0), FTK_OK);
    CHECK_EQ(ftk_status_of_errno(EDQUOT), FTK_NOSPACE);
    CHECK_EQ(ftk_status_of_errno(EROFS), FTK_READONLY);
    CHECK_EQ(ftk_status_of_errno(EIO), FTK_IO);
}

static void
fail_elsewhere(void *context)
{
    (void)context;
    (void)FTK_FAIL(FTK_CORRUPT, "elsewhere");
}

static void
the_last_error_belongs_to_its_thread(void)
{
    struct ftk_thread thread;
    struct ftk_error copy;

    CHECK_EQ(FTK_FAIL_OS(FTK_IO, EIO, "page %d", 7), FTK_IO);
    REQUIRE_OK(ftk_thread_start(&thread, "other", fail_elsewhere, NULL));
    ftk_thread_join(&thread);
    ftk_thread_join(&thread); /* nothing the second time */
    const struct ftk_error *error = ftk_error_last();
    CHECK_STR(error->text, "page 7");
    CHECK_EQ(error->os_errno, EIO);
    CHECK_STR(error->file, __FILE__);
    copy = *error;
    (void)FTK_FAIL(FTK_INVALID, "more: %s", error->text); /* an argument from the slot itself */
    CHECK_STR(ftk_error_last()->text, "more: page 7");
    CHECK_EQ(ftk_error_last()->os_errno, 0);
    ftk_error_set(&copy);
    CHECK_STR(ftk_error_last()->text, "page 7");
    char large[1000];
    memset(large, 'x', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    (void)FTK_FAIL(FTK_INVALID, "%s", large);
    CHECK_EQ(strlen(ftk_error_last()->text), FTK_ERROR_TEXT_MAX - 1);
}

/* ---- memory ---- */

static void
memory_is_given_and_refused(void)
{
    void *memory, *same;
    uint64_t *array;
    char *text;

    REQUIRE_OK(ftk_alloc(0, &memory));
    CHECK(memory != NULL);
    ftk_free(memory);
    ftk_free(NULL);
    REQUIRE_OK(ftk_alloc_aligned(65536, 100, &memory));
    CHECK_EQ((uintptr_t)memory % 65536, 0);
    ftk_free(memory);
    REQUIRE_OK(ftk_strdup("kiln", &text));
    CHECK_STR(text, "kiln");
    memory = text;
    ftk_fault_arm(FTK_FAULT_ALLOC, 1, 1);
    CHECK_STATUS(ftk_realloc(&memory, 100), FTK_NOMEM);
    CHECK(memory == text);
    CHECK_OK(ftk_realloc(&memory, 100));
    CHECK_STR((char *)memory, "kiln");
    ftk_free(memory);
    same = &text;
    CHECK_STATUS(ftk_alloc(SIZE_MAX, &same), FTK_NOMEM);
    CHECK(same == NULL);
    CHECK_STATUS(FTK_NEW_ARRAY(&array, SIZE_MAX / 4), FTK_NOMEM); /* the product overflows */
    CHECK(array == NULL);
    REQUIRE_OK(FTK_NEW_ARRAY(&array, 10));
    CHECK_EQ(array[9], 0);
    ftk_free(array);
}

static void
live_allocations_are_counted_in_bytes(void)
{
    uint64_t before = ftk_mem_bytes();
    void *plain, *zeroed, *aligned, *grown = NULL;
    char *text;

    REQUIRE_OK(ftk_alloc(100, &plain));
    REQUIRE_OK(ftk_zalloc(0, &zeroed));
    REQUIRE_OK(ftk_alloc_aligned(4096, 5000, &aligned));
    CHECK_EQ((uintptr_t)aligned % 4096, 0);
    REQUIRE_OK(ftk_strdup("four", &text));
    REQUIRE_OK(ftk_realloc(&grown, 10));
    REQUIRE_OK(ftk_realloc(&grown, 70000));
    CHECK_EQ(ftk_mem_bytes() - before, 100 + 0 + 5000 + 5 + 70000);
    ftk_fault_arm(FTK_FAULT_ALLOC, 1, 1);
    CHECK_STATUS(ftk_realloc(&grown, 80000), FTK_NOMEM);
    ftk_fault_disarm();
    CHECK_EQ(ftk_mem_bytes() - before, 100 + 0 + 5000 + 5 + 70000);
    ftk_free(plain);
    ftk_free(zeroed);
    ftk_free(aligned);
    ftk_free(text);
    ftk_free(grown);
    ftk_free(NULL);
    CHECK_EQ(ftk_mem_bytes(), before);
}

static void
faults_by_chance_are_drawn_from_a_seed(void)
{
    bool first[1000];
    uint64_t hits = 0;

    for (int round = 0; round < 2; round++) {
        ftk_fault_arm_chance(FTK_FAULT_DESCRIPTOR, 10, test_seed());
        for (int i = 0; i < 1000; i++) {
            bool due = ftk_fault_due(FTK_FAULT_DESCRIPTOR);
            CHECK(round == 0 || due == first[i]);
            first[i] = due;
        }
        hits = ftk_fault_hits(FTK_FAULT_DESCRIPTOR);
    }
    CHECK(hits > 30 && hits < 250); /* 100, and 7 to 15 times the deviation */
    ftk_fault_arm(FTK_FAULT_DESCRIPTOR, UINT64_MAX, 1);
    for (int i = 0; i < 1000; i++)
        CHECK(!ftk_fault_due(FTK_FAULT_DESCRIPTOR));
    ftk_fault_disarm();
}

static void
faults_hit_the_calls_they_were_armed_for(void)
{
    void *memory[5];
    uint64_t before, after;

    before = ftk_mem_allocs();
    ftk_fault_arm(FTK_FAULT_ALLOC, 2, 2);
    for (int i = 0; i < 5; i++)
        CHECK_EQ(ftk_alloc(10, &memory[i]), i == 1 || i == 2 ? FTK_NOMEM : FTK_OK);
    CHECK_EQ(ftk_fault_hits(FTK_FAULT_ALLOC), 2);
    CHECK_EQ(ftk_fault_calls(FTK_FAULT_ALLOC), 5);
    ftk_fault_arm(FTK_FAULT_ALLOC, UINT64_MAX, 1);
    ftk_free(memory[0]);
    CHECK_OK(ftk_alloc(10, &memory[0]));
    CHECK_EQ(ftk_fault_calls(FTK_FAULT_ALLOC), 1);
    ftk_fault_arm(FTK_FAULT_ALLOC, 1, UINT64_MAX);
    CHECK_STATUS(ftk_alloc(10, &memory[1]), FTK_NOMEM);
    CHECK_STATUS(ftk_region_reserve(4096, &memory[1]), FTK_NOMEM);
    ftk_fault_disarm();
    CHECK(!ftk_fault_due(FTK_FAULT_ALLOC));
    after = ftk_mem_allocs();
    CHECK_EQ(after - before, 8);
    ftk_free(memory[0]);
    ftk_free(memory[3]);
    ftk_free(memory[4]);
}

static void
a_region_is_address_space_until_touched(void)
{
    size_t size = (size_t)8 << 30;
    char *region;

    REQUIRE_OK(ftk_region_reserve(size, (void **)&region));
    region[0] = 'a';
    region[size - 1] = 'z';
    CHECK_EQ(region[size / 2], 0);
    ftk_region_discard(region, 4096);
    CHECK_EQ(region[0], 0);
    CHECK_EQ(region[size - 1], 'z');
    ftk_region_release(region, size);
    CHECK_STATUS(ftk_region_reserve(0, (void **)&region), FTK_INVALID);
    CHECK_STATUS(ftk_region_reserve((size_t)1 << 60, (void **)&region), FTK_NOMEM);
}

/* ---- bytes ---- */

static void
varints_come_back_and_bad_ones_do_not(void)
{
    static const uint64_t values[] = {
        0, 1, 127, 128, 16383, 16384, UINT32_MAX, UINT64_MAX >> 1, UINT64_MAX};
    uint8_t bytes[FTK_VARINT_MAX + 1];
    uint64_t back = 0;

    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        uint8_t *end = ftk_varint_put(bytes, values[i]);
        CHECK_EQ(end - bytes, ftk_varint_size(values[i]));
        CHECK(ftk_varint_get(bytes, end, &back) == end);
        CHECK_EQ(back, values[i]);
        CHECK(ftk_varint_get(bytes, end - 1, &back) == NULL); /* runs past the end */
    }
    memset(bytes, 0xff, sizeof bytes);
    CHECK(ftk_varint_get(bytes, bytes + sizeof bytes, &back) == NULL); /* too long */
    bytes[9] = 2;
    CHECK(ftk_varint_get(bytes, bytes + sizeof bytes, &back) == NULL); /* 65 bits */
}

static void
byte_order_is_explicit(void)
{
    uint8_t bytes[8];

    ftk_put_le32(bytes, 0x01020304);
    CHECK_MEM(bytes, "\4\3\2\1", 4);
    CHECK_EQ(ftk_get_le32(bytes), 0x01020304);
    ftk_put_be64(bytes, 0x0102030405060708);
    CHECK_MEM(bytes, "\1\2\3\4\5\6\7\10", 8);
    CHECK_EQ(ftk_get_be16(bytes), 0x0102);
    CHECK(ftk_bytes_compare("ab", 2, "abc", 3) < 0);
    CHECK(ftk_bytes_compare("b", 1, "abc", 3) > 0);
    CHECK_EQ(ftk_bytes_compare(NULL, 0, NULL, 0), 0);
}

/* ---- random numbers ---- */

static void
random_numbers_are_those_of_the_reference(void)
{
    /* xoshiro256** from the state 1, 2, 3, 4. */
    struct ftk_random random = {{1, 2, 3, 4}};
    static const uint64_t wanted[] = {11520, 0, 1509978240, 1215971899390074240};

    for (size_t i = 0; i < 4; i++)
        CHECK_EQ(ftk_random_next(&random), wanted[i]);
    /* splitmix64 from 0 seeds the state. */
    ftk_random_seed(&random, 0);
    CHECK_EQ(random.state[0], 0xe220a8397b1dcdaf);
}

static void
random_numbers_keep_their_bounds(void)
{
    struct ftk_random random = test_random();
    unsigned counts[6] = {0};

    for (int i = 0; i < 60000; i++) {
        uint64_t r = ftk_random_below(&random, 6);
        REQUIRE(r < 6);
        counts[r]++;
        double d = ftk_random_double(&random);
        REQUIRE(d >= 0 && d < 1);
    }
    for (int i = 0; i < 6; i++)
        CHECK(counts[i] > 9000 && counts[i] < 11000);
    CHECK_EQ(ftk_random_below(&random, 1), 0);
    CHECK(ftk_random_below(&random, UINT64_MAX) < UINT64_MAX);
}

static void
fill_with_seven(void *context, void *memory, size_t size)
{
    (void)context;
    memset(memory, 7, size);
}

static void
entropy_can_be_replaced(void)
{
    uint64_t a = 0, b = 0;

    ftk_random_system(&a, sizeof a);
    ftk_random_system(&b, sizeof b);
    CHECK(a != b);
    ftk_random_system_use(fill_with_seven, NULL);
    ftk_random_system(&a, sizeof a);
    ftk_random_system_use(NULL, NULL);
    CHECK_EQ(a, 0x0707070707070707);
}

/* ---- clock and threads ---- */

static uint64_t fake_ns;

static uint64_t
fake_now(void *context)
{
    (void)context;
    return fake_ns;
}

static void
fake_sleep(void *context, uint64_t ns)
{
    (void)context;
    fake_ns += ns;
}

static void
a_test_can_own_the_clock(void)
{
    static const struct ftk_clock_ops ops = {fake_now, fake_now, fake_sleep};
    uint64_t before = ftk_clock_ns();

    ftk_clock_sleep_ns(1000000);
    CHECK(ftk_clock_ns() - before >= 1000000);
    CHECK(ftk_clock_wall_ns() > 1600000000ull * 1000000000);
    ftk_clock_use(&ops, NULL);
    ftk_clock_sleep_ns(3600ull * 1000000000);
    CHECK_EQ(ftk_clock_ns(), 3600ull * 1000000000);
    ftk_clock_use(NULL, NULL);
    CHECK(ftk_clock_ns() > before);
}

struct flag {
    struct ftk_mutex mutex;
    struct ftk_cond changed;
    bool set;
};

static void
set_flag(void *context)
{
    struct flag *flag = context;
    ftk_mutex_lock(&flag->mutex);
    flag->set = true;
    ftk_cond_broadcast(&flag->changed);
    ftk_mutex_unlock(&flag->mutex);
}

static void
waits_end_by_signal_or_by_time(void)
{
    struct flag flag = {.set = false};
    struct ftk_thread thread;

    ftk_mutex_init(&flag.mutex);
    ftk_cond_init(&flag.changed);
    ftk_mutex_lock(&flag.mutex);
    CHECK(!ftk_mutex_try_lock(&flag.mutex));
    uint64_t begin_ns = ftk_clock_ns();
    while (ftk_cond_wait_until(&flag.changed, &flag.mutex, begin_ns + 5000000))
        ;
    CHECK(ftk_clock_ns() - begin_ns >= 5000000);
    CHECK(!ftk_cond_wait_until(&flag.changed, &flag.mutex, 0)); /* long past */
    REQUIRE_OK(ftk_thread_start(&thread, "a-name-too-long-for-it", set_flag, &flag));
    while (!flag.set)
        CHECK(ftk_cond_wait_until(&flag.changed, &flag.mutex, UINT64_MAX)); /* for ever */
    ftk_mutex_unlock(&flag.mutex);
    ftk_thread_join(&thread);
    ftk_cond_release(&flag.changed);
    ftk_mutex_release(&flag.mutex);
}

/* ---- checksum and log ---- */

static void
the_checksum_is_xxh3(void)
{
    CHECK_EQ(ftk_checksum("", 0, 0), 0x2d06800538d394c2);
    CHECK(ftk_checksum("kiln", 4, 0) != ftk_checksum("kiln", 4, 1));
    CHECK(ftk_checksum("kiln", 4, 0) != ftk_checksum("kilm", 4, 0));
}

static void
take_text(void *context, enum ftk_log_level level, const char *text)
{
    snprintf(context, 64, "%d:%s", (int)level, text);
}

static void
the_log_goes_to_its_owner(void)
{
    char text[64] = "";
    struct ftk_log log = {take_text, text, FTK_LOG_INFO};

    ftk_log(&log, FTK_LOG_DEBUG, "too deep");
    CHECK_STR(text, "");
    ftk_log(&log, FTK_LOG_WARNING, "%s %d", "page", 7);
    CHECK_STR(text, "1:page 7");
    ftk_log(NULL, FTK_LOG_ERROR, "nobody");
    ftk_log(&(struct ftk_log){NULL, NULL, FTK_LOG_DEBUG}, FTK_LOG_ERROR, "nobody");
}

static void
count_sleep(void *context, uint64_t ns)
{
    CHECK_EQ(ns, FTK_SPIN_NAP_NS);
    ++*(unsigned *)context;
}

static void
a_loop_in_vain_sleeps_in_the_end(void)
{
    static const struct ftk_clock_ops counting = {.sleep_ns = count_sleep};
    unsigned turns = 0, slept = 0;

    ftk_clock_use(&counting, &slept);
    for (unsigned i = 0; i < FTK_SPIN_YIELDED; i++)
        ftk_spin_turn(&turns);
    CHECK_EQ(slept, 0);
    for (unsigned i = 0; i < 10; i++)
        ftk_spin_turn(&turns);
    CHECK_EQ(slept, 10);
    turns = 0; /* another wait */
    ftk_spin_turn(&turns);
    CHECK_EQ(slept, 10);
    ftk_clock_use(NULL, NULL);
}

TEST_MAIN("ftk_base", TEST(every_code_has_a_name_and_a_text),
          TEST(the_last_error_belongs_to_its_thread), TEST(memory_is_given_and_refused),
          TEST(live_allocations_are_counted_in_bytes),
          TEST(faults_hit_the_calls_they_were_armed_for),
          TEST(faults_by_chance_are_drawn_from_a_seed),
          TEST(a_region_is_address_space_until_touched),
          TEST(varints_come_back_and_bad_ones_do_not), TEST(byte_order_is_explicit),
          TEST(random_numbers_are_those_of_the_reference), TEST(random_numbers_keep_their_bounds),
          TEST(entropy_can_be_replaced), TEST(a_test_can_own_the_clock),
          TEST(waits_end_by_signal_or_by_time), TEST(the_checksum_is_xxh3),
          TEST(the_log_goes_to_its_owner), TEST(a_loop_in_vain_sleeps_in_the_end))
