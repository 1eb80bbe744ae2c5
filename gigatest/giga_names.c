/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gigatest/giga_names.c -- see giga_names.h.
 *
 * The rule.  A word is an onset, a vowel, any number of (medial, vowel) pairs and a coda; each part
 * is drawn from its table by a fixed generator.  Of the words drawn, one is kept when the list does
 * not hold it yet and still wants a word of that length; the list is complete when it has all the
 * lengths it wants, and is sorted at the end.  The lengths wanted make the averages: 5.4 letters
 * for given names, 6.2 for family names.
 */
#include "gigatest/giga_names.h"

#include <stdlib.h>
#include <string.h>

#include "gigatest/giga_mix.h"

#define WORD_MIN 3
#define WORD_MAX 9
#define SET_SLOTS 32768u /* a power of two above twice the longer list: probes stay short */

/* Parts are separated by blanks; a part named more often is drawn more often; "-" is no letters. */
struct grammar {
    const char *onsets;
    const char *vowels;
    const char *medials;
    const char *codas;
    const char *endings;           /* take the place of the last syllable in one word of three */
    uint32_t wanted[WORD_MAX + 1]; /* words by length */
    uint64_t seed;
};

static const struct grammar given_grammar = {
    .onsets = "- - - a b b c ch d d e f g h i j j k k l l l m m m n n o p r r s s sh st t t th tr "
              "v v w y z al an ar el en or br dr gr",
    .vowels = "a a a a a e e e e i i i i o o u u ia ie ei ea",
    .medials =
        "b c d d f g k l l l ll m m n n nn nd nt r r r rr rl rt s s ss st t t tt th v v z br "
        "dr ld lm ls lv mb ng nk rd rk rm rn sh sk",
    .codas = "- - - - - n n n n r r l l s s d k m t th ck x ne lle tte",
    .endings = "a ana ara ela ella ena en er ia ian ie ika ila in ina ine io is ita on or us y",
    .wanted = {0, 0, 0, 450, 1650, 2800, 2550, 1200, 350, 0},
    .seed = 0x6b696c6e2d676976u,
};

static const struct grammar family_grammar = {
    .onsets =
        "- - a b b b br c c ch cl cr d d dr e f f fl fr g g gr h h h j k k kl kr l l m m m n n "
        "o p p pl pr r r s s sch sh sl sm sp st str sw t t th tr v v w w wh z",
    .vowels = "a a a a a e e e e e i i i o o o u u ai au ea ee ei ie oo ou",
    .medials =
        "b ck d d ff g k l l ll m m n n nd ng nk nn nt p r r rb rd rg rk rl rm rn rr rt s ss "
        "st t t tt th v z lb ld lk lm ls lt mb mm mp sk sp",
    .codas =
        "- - ck d dt ft g h k l ld ll lt m n n n nd ng nn nt r r rd rk rs rt s s st t tz th x z",
    .endings = "a ard as ay ell ello en er er ers es et ett ey ez ian in ing is ko ler ley low man "
               "ner o off on or ov rey sen ska ski son stein ston ton witz y",
    .wanted = {0, 0, 0, 300, 1200, 2600, 3400, 2700, 1600, 700},
    .seed = 0x6b696c6e2d66616du,
};

/* Words with one of these inside read badly in one language or another. */
static const char *const avoided[] = {"fuc",  "fuk",  "shit", "cunt", "nig",  "dick", "cock",
                                      "rape", "naz",  "kike", "slut", "fag",  "tits", "cum",
                                      "anus", "puss", "arse", "sex",  "hitl", "wank", "bitc"};

#define PARTS_MAX 96

struct parts {
    const char *at[PARTS_MAX];
    uint8_t size[PARTS_MAX];
    uint32_t count;
};

struct maker {
    struct parts onsets, vowels, medials, codas, endings;
    uint64_t state;
    uint32_t wanted[WORD_MAX + 1];
    uint16_t *set; /* of word number + 1, by hash; 0: free */
};

static void
parts_split(struct parts *parts, const char *text)
{
    parts->count = 0;
    while (*text != 0 && parts->count < PARTS_MAX) {
        size_t size = strcspn(text, " ");

        parts->at[parts->count] = text;
        parts->size[parts->count] = *text == '-' ? 0 : (uint8_t)size;
        parts->count++;
        text += size + (text[size] != 0);
    }
}

static uint32_t
draw(struct maker *maker, uint32_t bound)
{
    maker->state += 0x9e3779b97f4a7c15u;
    return giga_scale(giga_mix(maker->state), bound);
}

struct word {
    char text[64];
    size_t size;
};

static void
word_append(struct maker *maker, struct word *word, const struct parts *parts)
{
    uint32_t i = draw(maker, parts->count);

    memcpy(word->text + word->size, parts->at[i], parts->size[i]);
    word->size += parts->size[i];
}

static void
word_draw(struct maker *maker, struct word *word)
{
    uint32_t syllables = 1 + draw(maker, 3);

    memset(word, 0, sizeof(*word));
    word_append(maker, word, &maker->onsets);
    word_append(maker, word, &maker->vowels);
    for (uint32_t i = 1; i < syllables; i++) {
        word_append(maker, word, &maker->medials);
        word_append(maker, word, &maker->vowels);
    }
    if (draw(maker, 3) == 0) {
        word_append(maker, word, &maker->medials);
        word_append(maker, word, &maker->endings);
    } else {
        word_append(maker, word, &maker->codas);
    }
}

static bool
is_vowel(char letter)
{
    return letter != 0 && strchr("aeiouy", letter) != NULL;
}

/* No three vowels and no four consonants in a row, no letter three times, nothing to be avoided. */
static bool
word_reads_well(const struct word *word)
{
    uint32_t vowels = 0;
    uint32_t consonants = 0;

    for (size_t i = 0; i < word->size; i++) {
        bool vowel = is_vowel(word->text[i]);

        vowels = vowel ? vowels + 1 : 0;
        consonants = vowel ? 0 : consonants + 1;
        if (vowels > 2 || consonants > 3)
            return false;
        if (i >= 2 && word->text[i] == word->text[i - 1] && word->text[i] == word->text[i - 2])
            return false;
    }
    if (word->text[0] == word->text[1])
        return false;
    for (size_t i = 0; i < sizeof(avoided) / sizeof(*avoided); i++) {
        if (strstr(word->text, avoided[i]) != NULL)
            return false;
    }
    return true;
}

/* True when the word was not in the set; it is now, as number `number`. */
static bool
set_add(struct maker *maker, const struct giga_name *list, const struct giga_name *name,
        uint32_t number)
{
    uint64_t head;
    uint32_t tail;
    uint32_t slot;

    memcpy(&head, name->text, 8);
    memcpy(&tail, name->text + 8, 4);
    slot = (uint32_t)giga_mix(head ^ giga_mix(tail)) & (SET_SLOTS - 1);
    while (maker->set[slot] != 0) {
        if (memcmp(list[maker->set[slot] - 1].text, name->text, GIGA_NAME_BYTES) == 0)
            return false;
        slot = (slot + 1) & (SET_SLOTS - 1);
    }
    maker->set[slot] = (uint16_t)(number + 1);
    return true;
}

static int
name_compare(const void *left, const void *right)
{
    return memcmp(((const struct giga_name *)left)->text, ((const struct giga_name *)right)->text,
                  GIGA_NAME_BYTES);
}

static bool
list_make(const struct grammar *grammar, struct giga_name *list, uint32_t count)
{
    struct maker *maker = calloc(1, sizeof(*maker));
    uint16_t *set = calloc(SET_SLOTS, sizeof(*set));

    if (maker == NULL || set == NULL) {
        free(maker);
        free(set);
        return false;
    }
    maker->set = set;
    maker->state = grammar->seed;
    memcpy(maker->wanted, grammar->wanted, sizeof(maker->wanted));
    parts_split(&maker->onsets, grammar->onsets);
    parts_split(&maker->vowels, grammar->vowels);
    parts_split(&maker->medials, grammar->medials);
    parts_split(&maker->codas, grammar->codas);
    parts_split(&maker->endings, grammar->endings);
    for (uint32_t made = 0; made < count;) {
        struct giga_name name = {.size = 0};
        struct word word;

        word_draw(maker, &word);
        if (word.size < WORD_MIN || word.size > WORD_MAX || maker->wanted[word.size] == 0 ||
            !word_reads_well(&word))
            continue;
        word.text[0] = (char)(word.text[0] - 'a' + 'A');
        memcpy(name.text, word.text, word.size);
        name.size = (uint16_t)word.size;
        if (!set_add(maker, list, &name, made))
            continue;
        list[made++] = name;
        maker->wanted[word.size]--;
    }
    qsort(list, count, sizeof(*list), name_compare);
    free(maker);
    free(set);
    return true;
}

struct giga_names *
giga_names_new(void)
{
    struct giga_names *names = calloc(1, sizeof(*names));

    if (names == NULL)
        return NULL;
    if (list_make(&given_grammar, names->given, GIGA_GIVEN_COUNT) &&
        list_make(&family_grammar, names->family, GIGA_FAMILY_COUNT))
        return names;
    free(names);
    return NULL;
}

void
giga_names_free(struct giga_names *names)
{
    free(names);
}
