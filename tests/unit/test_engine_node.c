/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/test_engine_node.c -- one page against a model: changes, searches, splits, merges.
 *
 * Keys are made so that heads are often equal, keys are prefixes of each other, and lengths lie
 * around every boundary of the encoding.  node_validate must agree after each change.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/page/node.h"
#include "tests/support/test.h"

enum { ENTRIES_MAX = 8192, VALUE_MAX = 700 };

struct entry {
    uint8_t key[NODE_KEY_MAX];
    uint32_t key_size;
    uint8_t value[VALUE_MAX];
    uint32_t value_size;
    bool large;
    struct page_ref child;
};

struct model {
    struct ftk_random random;
    struct node node;
    bool inner, keys_only;
    uint32_t prefix; /* bytes of `begin` that all keys share */
    struct entry *entries;
    uint32_t count;
};

static const uint8_t begin[] = {'u', 0xff, 0, 'r', ':', 1, 2};
static uint8_t scratch[PAGE_BYTES_MAX];

static uint64_t
below(struct model *model, uint64_t bound)
{
    return ftk_random_below(&model->random, bound);
}

/* ---- entries --------------------------------------------------------------------------------- */

static uint32_t
size_near_a_boundary(struct model *model, uint32_t max)
{
    static const uint32_t sizes[] = {0,  1,  3,   4,   5,   6,   7,   8,   9,  29,
                                     30, 31, 127, 157, 158, 254, 255, 256, 383};
    uint32_t size = below(model, 3) == 0 ? sizes[below(model, sizeof sizes / sizeof *sizes)]
                                         : (uint32_t)below(model, 24);

    return size > max ? max : size;
}

/* Few different bytes, the extreme ones among them. */
static void
key_make(struct model *model, struct entry *entry)
{
    static const uint8_t bytes[] = {0, 0, 0, 1, 'a', 'b', 0xfe, 0xff};
    uint32_t rest = size_near_a_boundary(model, 400);

    memcpy(entry->key, begin, model->prefix);
    for (uint32_t i = 0; i < rest; i++)
        entry->key[model->prefix + i] = bytes[below(model, sizeof bytes)];
    if (below(model, 6) == 0) /* the highest head there is, and often */
        memset(entry->key + model->prefix, 0xff, rest < 5 ? rest : 5);
    entry->key_size = model->prefix + rest;
    if (entry->key_size == 0)
        entry->key[entry->key_size++] = 'x';
}

static void
value_make(struct model *model, struct entry *entry)
{
    entry->value_size = 0;
    entry->large = false;
    entry->child = page_ref_make(1 + below(model, PAGE_ID_MAX), below(model, UINT32_MAX));
    if (model->inner || model->keys_only)
        return;
    entry->large = below(model, 8) == 0;
    entry->value_size = entry->large ? LARGE_REF_BYTES : size_near_a_boundary(model, VALUE_MAX);
    for (uint32_t i = 0; i < entry->value_size; i++)
        entry->value[i] = (uint8_t)below(model, 256);
}

static struct node_value
value_of(const struct entry *entry)
{
    return (struct node_value){.data = entry->value,
                               .size = entry->value_size,
                               .large = entry->large,
                               .child = entry->child};
}

static int
compare(const struct entry *a, const struct entry *b)
{
    return ftk_bytes_compare(a->key, a->key_size, b->key, b->key_size);
}

/* First entry of the model with a key >= the given one. */
static uint32_t
model_find(const struct model *model, const struct entry *entry, bool *exact_out)
{
    uint32_t pos = model->inner ? 1 : 0; /* entry 0 of an inner page is below all keys */

    while (pos < model->count && compare(&model->entries[pos], entry) < 0)
        pos++;
    *exact_out = pos < model->count && compare(&model->entries[pos], entry) == 0;
    return pos;
}

/* ---- comparing ------------------------------------------------------------------------------- */

static void
entry_check(struct node node, uint32_t pos, const struct entry *expected, bool with_key)
{
    uint8_t key[NODE_KEY_BUFFER];
    struct node_entry entry;

    node_entry(node, pos, &entry);
    if (with_key) {
        REQUIRE_EQ(node_key(node, pos, key), expected->key_size);
        REQUIRE_MEM(key, expected->key, expected->key_size);
    }
    if (node.page[PAGE_TYPE] == PAGE_INNER) {
        REQUIRE_EQ(entry.child.bits, expected->child.bits);
        return;
    }
    REQUIRE_EQ(entry.value_size, expected->value_size);
    REQUIRE_EQ(entry.large, expected->large);
    REQUIRE_MEM(entry.value, expected->value, expected->value_size);
}

static void
all_check(const struct model *model, struct node node, uint32_t from, uint32_t to)
{
    REQUIRE_OK(node_validate(node.page, node.bytes, 7, true));
    REQUIRE_EQ(node_count(node.page), to - from);
    for (uint32_t i = from; i < to; i++)
        entry_check(node, i - from, &model->entries[i], !model->inner || i > from);
}

static void
search_check(struct model *model, const struct entry *probe)
{
    bool exact, got;
    uint32_t pos = model_find(model, probe, &exact);

    if (model->inner) {
        uint32_t child = exact ? pos : pos - 1;
        REQUIRE_EQ(node_child_pos(model->node, probe->key, probe->key_size), child);
    } else {
        REQUIRE_EQ(node_lower_bound(model->node, probe->key, probe->key_size, &got), pos);
        REQUIRE_EQ(got, exact);
    }
    if (model->count > 1) {
        uint32_t i = 1 + (uint32_t)below(model, model->count - 1);
        int order = compare(&model->entries[i], probe);
        int mine = node_compare(model->node, i, probe->key, probe->key_size);
        REQUIRE_EQ((order > 0) - (order < 0), (mine > 0) - (mine < 0));
    }
}

/* ---- changing -------------------------------------------------------------------------------- */

static void
model_insert(struct model *model, uint32_t pos, const struct entry *entry)
{
    REQUIRE(model->count < ENTRIES_MAX);
    memmove(&model->entries[pos + 1], &model->entries[pos],
            (model->count - pos) * sizeof *model->entries);
    model->entries[pos] = *entry;
    model->count++;
}

/* One change, in the page and in the model; a page without room stays as it is. */
static void
change(struct model *model, struct entry *entry)
{
    uint32_t first = model->inner ? 1 : 0;
    struct node_value value;
    bool exact;
    uint32_t pos;

    key_make(model, entry);
    value_make(model, entry);
    value = value_of(entry);
    search_check(model, entry);
    pos = model_find(model, entry, &exact);
    if (!exact && below(model, 3) == 0 && model->count > first) { /* make room now and then */
        pos = first + (uint32_t)below(model, model->count - first);
        node_remove(model->node, pos);
        model->count--;
        memmove(&model->entries[pos], &model->entries[pos + 1],
                (model->count - pos) * sizeof *model->entries);
    } else if (exact && model->inner) {
        node_set_child(model->node, pos, entry->child);
        model->entries[pos].child = entry->child;
    } else if (exact) {
        if (node_replace(model->node, pos, &value, scratch))
            model->entries[pos] = *entry;
    } else if (node_insert(model->node, pos, entry->key, entry->key_size, &value, scratch)) {
        model_insert(model, pos, entry);
    }
}

static void
model_begin(struct model *model, uint32_t bytes, uint8_t head_bytes, uint32_t shape)
{
    model->random = test_random();
    model->inner = shape == 2;
    model->keys_only = shape == 1;
    model->prefix = (uint32_t)below(model, sizeof begin + 1);
    model->node = (struct node){aligned_alloc(4096, bytes), bytes};
    model->entries = malloc(ENTRIES_MAX * sizeof *model->entries);
    model->count = 0;
    node_init(model->node, model->inner ? PAGE_INNER : PAGE_LEAF,
              model->keys_only ? PAGE_KEYS_ONLY : 0, model->inner, head_bytes, 42, begin,
              model->prefix);
    if (model->inner) {
        struct entry zero = {.child = page_ref_make(9, 9)};
        struct node_value value = value_of(&zero);
        REQUIRE(node_insert(model->node, 0, begin, model->prefix, &value, scratch));
        model_insert(model, 0, &zero);
    }
}

static void
model_end(struct model *model)
{
    free(model->node.page);
    free(model->entries);
}

/* Calls each with pages of every size, head size and kind, filled at random. */
static void
each_shape(uint64_t changes, void (*each)(struct model *model))
{
    static struct model model;
    struct entry entry;

    for (uint32_t bytes = PAGE_BYTES_MIN; bytes <= PAGE_BYTES_MAX; bytes *= 4) {
        for (uint32_t kind = 0; kind < 6; kind++) {
            model_begin(&model, bytes, kind % 2 == 0 ? 2 : 4, kind / 2);
            for (uint64_t i = 0; i < test_rounds(changes); i++) {
                change(&model, &entry);
                if (i % 16 == 0)
                    all_check(&model, model.node, 0, model.count);
            }
            all_check(&model, model.node, 0, model.count);
            if (each != NULL && model.count > 4)
                each(&model);
            model_end(&model);
        }
    }
}

static void
changes_and_searches_agree_with_a_model(void)
{
    each_shape(1500, NULL);
}

/* ---- splits and merges ----------------------------------------------------------------------- */

static void
separator_check(const struct entry *left, const struct entry *right, uint8_t *separator,
                uint32_t size)
{
    REQUIRE(ftk_bytes_compare(left->key, left->key_size, separator, size) < 0);
    REQUIRE(ftk_bytes_compare(separator, size, right->key, right->key_size) <= 0);
    /* No shorter one: every shorter key that is <= right is a prefix of it or below left. */
    REQUIRE(size == 0 || ftk_bytes_compare(right->key, size - 1, left->key, left->key_size) <= 0);
}

/* Halves, and what they are together again, with a new entry put in on the way. */
static void
halve(struct model *model)
{
    static uint8_t halves[2][PAGE_BYTES_MAX], whole[PAGE_BYTES_MAX];
    struct node left = {halves[0], model->node.bytes}, right = {halves[1], model->node.bytes};
    struct node again = {whole, model->node.bytes};
    struct node_source source = {.node = model->node, .extra_pos = UINT32_MAX};
    struct node_value value;
    struct entry entry;
    uint8_t separator[NODE_KEY_BUFFER];
    uint32_t at, size;
    bool exact;

    do {
        key_make(model, &entry);
        source.extra_pos = model_find(model, &entry, &exact);
    } while (exact);
    value_make(model, &entry);
    value = value_of(&entry);
    source.extra_key = entry.key;
    source.extra_key_size = entry.key_size;
    source.extra_value = &value;
    model_insert(model, source.extra_pos, &entry);
    REQUIRE_EQ(node_source_count(&source), model->count);
    at = node_split_point(&source);
    REQUIRE(at > 0 && at < model->count);
    REQUIRE(node_build(&source, 0, at, left, 43, NODE_PREFIX_BEST));
    REQUIRE(node_build(&source, at, model->count, right, 43, NODE_PREFIX_BEST));
    all_check(model, left, 0, at);
    all_check(model, right, at, model->count);
    CHECK_EQ(node_birth(left.page), 43);

    if (model->inner) {
        size = node_source_key(&source, at, separator);
    } else {
        struct entry *a = &model->entries[at - 1], *b = &model->entries[at];
        size = node_separator(a->key, a->key_size, b->key, b->key_size, separator);
        separator_check(a, b, separator, size);
    }
    if (node_merge(left, right, separator, size, again, 44))
        all_check(model, again, 0, model->count);
}

static void
halves_hold_everything_and_merge_again(void)
{
    each_shape(400, halve);
}

/* ---- appends --------------------------------------------------------------------------------- */

static void
appends_go_behind_the_last_key_or_nowhere(void)
{
    struct model model = {0};
    struct entry entry;
    uint32_t taken = 0, refused = 0;

    model_begin(&model, PAGE_BYTES_MIN, 4, 0);
    for (uint32_t i = 0; i < 2000; i++) {
        struct node_value value;
        bool exact, done;
        uint32_t pos;

        key_make(&model, &entry);
        value_make(&model, &entry);
        value = value_of(&entry);
        pos = model_find(&model, &entry, &exact);
        done = model.count == 0 /* an append is behind something */
                   ? node_insert(model.node, 0, entry.key, entry.key_size, &value, scratch)
                   : node_append(model.node, entry.key, entry.key_size, &value, scratch);
        REQUIRE(!done || (pos == model.count && !exact));
        if (done)
            model_insert(&model, pos, &entry);
        taken += done;
        refused += !done;
        /* The last ones go again; now and then all, or a high one would keep out the others. */
        while (model.count > (i % 16 != 0) && (i % 16 == 0 || below(&model, 4) != 0)) {
            node_remove(model.node, model.count - 1);
            model.count--;
        }
        all_check(&model, model.node, 0, model.count);
    }
    CHECK_MSG(taken > 100 && refused > 100, "%u taken, %u refused", taken, refused);
    memcpy(entry.key, "zz", 2);
    if (model.prefix > 0) /* above all, but without the page's prefix */
        CHECK(!node_append(model.node, entry.key, 2, &(struct node_value){0}, scratch));
    model_end(&model);
}

/* ---- separators ------------------------------------------------------------------------------ */

static void
separators_are_as_short_as_can_be(void)
{
    struct model model = {.random = test_random(), .prefix = 2};
    struct entry a, b;
    uint8_t separator[NODE_KEY_BUFFER];

    for (uint64_t i = 0; i < test_rounds(20000); i++) {
        struct entry *low = &a, *high = &b;
        key_make(&model, &a);
        key_make(&model, &b);
        int order = compare(&a, &b);
        if (order == 0)
            continue;
        if (order > 0) {
            low = &b;
            high = &a;
        }
        separator_check(
            low, high, separator,
            node_separator(low->key, low->key_size, high->key, high->key_size, separator));
    }
}

TEST_MAIN("engine_node", TEST(changes_and_searches_agree_with_a_model),
          TEST(halves_hold_everything_and_merge_again),
          TEST(appends_go_behind_the_last_key_or_nowhere), TEST(separators_are_as_short_as_can_be))
