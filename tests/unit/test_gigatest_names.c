/* SPDX-License-Identifier: Apache-2.0 */
/* gigatest: the two lists of names. */
#include <string.h>

#include "gigatest/giga_mix.h"
#include "gigatest/giga_names.h"
#include "tests/support/test.h"

static bool
name_is_plausible(const struct giga_name *name)
{
    bool vowel = false;

    if (name->size < 3 || name->size > 9 || name->text[0] < 'A' || name->text[0] > 'Z')
        return false;
    for (size_t i = 0; i < name->size; i++) {
        char small = (char)(name->text[i] | 0x20);

        if (i > 0 && name->text[i] != small)
            return false;
        if (small < 'a' || small > 'z')
            return false;
        vowel = vowel || strchr("aeiouy", small) != NULL;
    }
    for (size_t i = name->size; i < GIGA_NAME_BYTES; i++) {
        if (name->text[i] != 0)
            return false;
    }
    return vowel;
}

/* Sorted, distinct, plausible; returns the average length in thousandths. */
static uint64_t
list_check(const struct giga_name *list, uint32_t count)
{
    uint64_t letters = 0;

    for (uint32_t i = 0; i < count; i++) {
        CHECK_MSG(name_is_plausible(&list[i]), "name %u \"%.12s\"", i, list[i].text);
        if (i > 0)
            CHECK_MSG(memcmp(list[i - 1].text, list[i].text, GIGA_NAME_BYTES) < 0,
                      "names %u and %u are out of order", i - 1, i);
        letters += list[i].size;
    }
    return letters * 1000 / count;
}

static uint64_t
list_hash(uint64_t hash, const struct giga_name *list, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint64_t head;
        uint32_t tail;

        memcpy(&head, list[i].text, 8);
        memcpy(&tail, list[i].text + 8, 4);
        hash = giga_mix(giga_mix(hash ^ head) ^ tail);
    }
    return hash;
}

static void
lists_are_sorted_distinct_and_plausible(void)
{
    struct giga_names *names = giga_names_new();
    uint64_t given;
    uint64_t family;

    REQUIRE(names != NULL);
    given = list_check(names->given, GIGA_GIVEN_COUNT);
    family = list_check(names->family, GIGA_FAMILY_COUNT);
    CHECK_MSG(given >= 5200 && given <= 5600, "given names: %llu/1000 letters",
              (unsigned long long)given);
    CHECK_MSG(family >= 6000 && family <= 6400, "family names: %llu/1000 letters",
              (unsigned long long)family);
    CHECK(GIGA_GIVEN_COUNT >= 9000 && GIGA_FAMILY_COUNT >= 12500);
    CHECK(GIGA_COMBINATIONS > 112000000);
    giga_names_free(names);
}

/* Databases of older versions must verify: the rule is frozen. */
static void
lists_are_those_of_the_first_version(void)
{
    struct giga_names *names = giga_names_new();
    uint64_t hash;

    REQUIRE(names != NULL);
    hash = list_hash(0, names->given, GIGA_GIVEN_COUNT);
    hash = list_hash(hash, names->family, GIGA_FAMILY_COUNT);
    CHECK_MSG(hash == 0xe22603cc05fad96e, "the hash is 0x%llx", (unsigned long long)hash);
    giga_names_free(names);
}

TEST_MAIN("gigatest_names", TEST(lists_are_sorted_distinct_and_plausible),
          TEST(lists_are_those_of_the_first_version))
