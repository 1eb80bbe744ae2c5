/* SPDX-License-Identifier: Apache-2.0 */
/* gigatest: the permutation behind random orders. */
#include <stdlib.h>

#include "gigatest/giga_mix.h"
#include "gigatest/giga_permute.h"
#include "tests/support/test.h"

static void
bijection_check(uint64_t count, uint64_t seed)
{
    struct giga_permute permute;
    uint8_t *seen = calloc(count, 1);
    uint64_t wrong = 0;

    REQUIRE(seen != NULL);
    giga_permute_init(&permute, count, seed);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t to = giga_permute_forward(&permute, i);

        wrong += to >= count || seen[to]++ != 0 || giga_permute_back(&permute, to) != i;
    }
    CHECK_MSG(wrong == 0, "count %llu seed %llu: %llu wrong", (unsigned long long)count,
              (unsigned long long)seed, (unsigned long long)wrong);
    free(seen);
}

static void
every_small_count_is_a_bijection(void)
{
    for (uint64_t count = 1; count <= 300; count++)
        bijection_check(count, count * 7);
}

static void
random_counts_are_bijections(void)
{
    struct ftk_random random = test_random();

    for (uint64_t i = 0; i < test_rounds(10); i++)
        bijection_check(1 + ftk_random_below(&random, 200000), ftk_random_next(&random));
}

static void
huge_counts_go_there_and_back(void)
{
    static const uint64_t counts[] = {1000000000000000u, GIGA_PERMUTE_MAX, GIGA_PERMUTE_MAX - 1,
                                      (1ull << 40) + 1, 4294967296u};
    struct ftk_random random = test_random();

    for (size_t k = 0; k < sizeof(counts) / sizeof(*counts); k++) {
        struct giga_permute permute;

        giga_permute_init(&permute, counts[k], 3);
        for (int i = 0; i < 1000; i++) {
            uint64_t from = ftk_random_below(&random, counts[k]);
            uint64_t to = giga_permute_forward(&permute, from);

            CHECK(to < counts[k]);
            CHECK_EQ(giga_permute_back(&permute, to), from);
        }
    }
}

/* Neighbours must not stay neighbours, or an index would be filled in runs. */
static void
neighbours_are_scattered(void)
{
    struct giga_permute permute;
    uint32_t near = 0;

    giga_permute_init(&permute, 1000000, 1);
    for (uint64_t i = 0; i + 1 < 1000000; i++) {
        uint64_t left = giga_permute_forward(&permute, i);
        uint64_t right = giga_permute_forward(&permute, i + 1);

        near += (left > right ? left - right : right - left) <= 1000;
    }
    CHECK_MSG(near > 1500 && near < 2500, "%u of a million are near, 2000 by chance", near);
}

static void
seeds_give_different_orders_that_stay(void)
{
    struct giga_permute first;
    struct giga_permute second;
    uint64_t hash = 0;
    uint32_t same = 0;

    giga_permute_init(&first, 1000, 7);
    giga_permute_init(&second, 1000, 8);
    for (uint64_t i = 0; i < 1000; i++) {
        same += giga_permute_forward(&first, i) == giga_permute_forward(&second, i);
        hash = giga_mix(hash ^ giga_permute_forward(&first, i));
    }
    CHECK(same < 20);
    CHECK_MSG(hash == 0xf7cd04dea37229b6, "frozen; the hash is 0x%llx", (unsigned long long)hash);
}

TEST_MAIN("gigatest_permute", TEST(every_small_count_is_a_bijection),
          TEST(random_counts_are_bijections), TEST(huge_counts_go_there_and_back),
          TEST(neighbours_are_scattered), TEST(seeds_give_different_orders_that_stay))
