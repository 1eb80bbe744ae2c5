/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/test_engine_undo.c -- the undo log of leaf pages, alone: pages in memory, no tree.
 *
 * What a page has is compared by its entries, not by its bytes: taking back leaves garbage.
 */
#include "engine/page/undo.h"
#include "tests/support/test.h"

enum { PAGE = 4096, PAGES = 5, MODEL_MAX = 400, VALUE_MAX = 300 };

struct leaf {
    uint8_t *memory;
    struct node node;
    uint32_t chain;
};

struct model_entry {
    uint8_t key[40];
    uint32_t key_size;
    uint8_t value[VALUE_MAX];
    uint32_t value_size;
};
struct model {
    struct model_entry entries[MODEL_MAX];
    uint32_t count;
};

static uint8_t scratch[PAGE];

static struct leaf
leaf_new(void)
{
    struct leaf leaf = {.chain = 0};

    REQUIRE_OK(ftk_alloc_aligned(64, PAGE, (void **)&leaf.memory));
    memset(leaf.memory, 0, PAGE);
    leaf.node = (struct node){leaf.memory, PAGE};
    node_init(leaf.node, PAGE_LEAF, 0, 0, 4, 7, "", 0);
    return leaf;
}

static void
model_take(const struct leaf *leaf, struct model *model)
{
    model->count = node_count(leaf->node.page);
    REQUIRE(model->count <= MODEL_MAX);
    for (uint32_t i = 0; i < model->count; i++) {
        struct model_entry *to = &model->entries[i];
        struct node_entry entry;
        node_entry(leaf->node, i, &entry);
        to->key_size = node_key(leaf->node, i, to->key);
        to->value_size = entry.value_size;
        memcpy(to->value, entry.value, entry.value_size);
    }
}

static void
expect_model(const struct leaf *leaf, const struct model *model)
{
    static struct model now;

    REQUIRE_OK(node_validate(leaf->node.page, PAGE, 1, true));
    model_take(leaf, &now);
    REQUIRE(now.count == model->count);
    for (uint32_t i = 0; i < now.count; i++) {
        const struct model_entry *a = &now.entries[i], *b = &model->entries[i];
        REQUIRE(a->key_size == b->key_size && memcmp(a->key, b->key, a->key_size) == 0);
        REQUIRE(a->value_size == b->value_size && memcmp(a->value, b->value, a->value_size) == 0);
    }
}

static struct node_value
random_value(struct ftk_random *random, uint8_t *buffer, uint32_t size_max)
{
    uint32_t size = (uint32_t)ftk_random_below(random, size_max + 1);

    memset(buffer, (int)ftk_random_below(random, 256), size);
    return (struct node_value){.data = buffer, .size = size};
}

/* One change, noted before it is made; false: the page or the log has no room. */
static bool
insert_noted(struct undo_log *log, struct leaf *leaf, const void *key, uint32_t key_size,
             const struct node_value *value)
{
    bool exact;
    uint32_t pos = node_lower_bound(leaf->node, key, key_size, &exact);

    if (exact || !node_prefix_matches(leaf->node, key, key_size) || !undo_room(log, 0))
        return false;
    undo_note_insert(log, &leaf->chain, pos);
    if (node_insert(leaf->node, pos, key, key_size, value, scratch))
        return true;
    undo_drop_last(log, &leaf->chain);
    return false;
}

static bool
replace_noted(struct undo_log *log, struct leaf *leaf, uint32_t pos, const struct node_value *value)
{
    struct node_entry old;

    node_entry(leaf->node, pos, &old);
    if (!undo_room(log, old.value_size))
        return false;
    undo_note_replace(log, &leaf->chain, pos, &old);
    if (node_replace(leaf->node, pos, value, scratch))
        return true;
    undo_drop_last(log, &leaf->chain);
    return false;
}

static bool
delete_noted(struct undo_log *log, struct leaf *leaf, uint32_t pos)
{
    if (!undo_room(log, NODE_KEY_MAX + VALUE_MAX))
        return false;
    undo_note_delete(log, &leaf->chain, leaf->node, pos);
    node_remove(leaf->node, pos);
    return true;
}

static void
change_some(struct undo_log *log, struct leaf *leaf, struct ftk_random *random, uint32_t changes,
            uint32_t size_max)
{
    uint8_t key[8], buffer[VALUE_MAX];

    while (changes-- > 0) {
        struct node_value value = random_value(random, buffer, size_max);
        uint32_t count = node_count(leaf->node.page);
        uint64_t kind = ftk_random_below(random, 4);
        ftk_put_be64(key, ftk_random_below(random, 1000) << 40);
        if (kind < 2 || count == 0)
            (void)insert_noted(log, leaf, key, 3 + (uint32_t)ftk_random_below(random, 6), &value);
        else if (kind == 2)
            (void)replace_noted(log, leaf, (uint32_t)ftk_random_below(random, count), &value);
        else
            (void)delete_noted(log, leaf, (uint32_t)ftk_random_below(random, count));
    }
}

/* Pages are changed in turn, and taken back in any order, some of them and later the others. */
static void
pages_are_taken_back_each_by_itself(void)
{
    static struct model before[PAGES], after[PAGES];
    struct ftk_random random = test_random();

    for (unsigned round = 0; round < test_rounds(300); round++) {
        uint32_t size_max = round % 3 == 0 ? 8 : round % 3 == 1 ? 60 : VALUE_MAX;
        struct undo_log log = {0}, unnoted = {0};
        struct leaf leaves[PAGES];
        for (unsigned i = 0; i < PAGES; i++) {
            leaves[i] = leaf_new();
            change_some(&unnoted, &leaves[i], &random, 200, size_max); /* full, with garbage */
            leaves[i].chain = 0;
            model_take(&leaves[i], &before[i]);
        }
        for (unsigned turn = 0; turn < 40; turn++)
            change_some(&log, &leaves[ftk_random_below(&random, PAGES)], &random, 5, size_max);
        for (unsigned i = 0; i < PAGES; i++)
            model_take(&leaves[i], &after[i]);
        for (unsigned i = 0; i < PAGES; i++) {
            unsigned back = (i * 3 + round) % PAGES;
            undo_page(&log, &leaves[back].chain, leaves[back].node, scratch);
            CHECK_EQ(leaves[back].chain, 0);
            expect_model(&leaves[back], &before[back]);
            for (unsigned j = i + 1; j < PAGES; j++) /* the others are as they were */
                expect_model(&leaves[(j * 3 + round) % PAGES], &after[(j * 3 + round) % PAGES]);
        }
        for (unsigned i = 0; i < PAGES; i++)
            ftk_free(leaves[i].memory);
        undo_release(&log);
        undo_release(&unnoted);
    }
}

/* The page is full to the last byte, and what makes room in it comes before what uses the room. */
static void
a_full_page_has_room_for_what_it_had(void)
{
    struct leaf leaf = leaf_new();
    static struct model before;
    struct undo_log log = {0};
    uint8_t buffer[VALUE_MAX] = {1}, key[8];
    struct node_value value = {.data = buffer, .size = 200}, none = {.data = buffer, .size = 0};
    uint32_t count;

    for (uint64_t i = 0;; i++) {
        bool exact;
        ftk_put_be64(key, i << 32);
        if (!node_insert(leaf.node, node_lower_bound(leaf.node, key, 8, &exact), key, 8, &value,
                         scratch))
            break;
    }
    count = node_count(leaf.node.page);
    model_take(&leaf, &before);
    for (uint32_t i = 0; i < count; i++)
        CHECK(replace_noted(&log, &leaf, i, &none));
    for (uint64_t i = 0; i < 10000; i++) { /* many small ones: more slots than before */
        ftk_put_be64(key, i << 28 | 1);
        if (!insert_noted(&log, &leaf, key, 8, &none))
            break;
    }
    CHECK(node_count(leaf.node.page) > 4 * count);
    undo_page(&log, &leaf.chain, leaf.node, scratch);
    expect_model(&leaf, &before);
    undo_release(&log);
    ftk_free(leaf.memory);
}

static void
a_change_that_was_dropped_leaves_no_trace(void)
{
    struct leaf leaf = leaf_new();
    static struct model before;
    struct undo_log log = {0};
    uint8_t buffer[VALUE_MAX] = {2};
    struct node_value value = {.data = buffer, .size = 9};
    struct node_entry old;

    REQUIRE(node_insert(leaf.node, 0, "key", 3, &value, scratch));
    model_take(&leaf, &before);
    REQUIRE(insert_noted(&log, &leaf, "other", 5, &value));
    node_entry(leaf.node, 0, &old);
    REQUIRE(undo_room(&log, old.value_size));
    uint32_t count = log.count, bytes = log.bytes_used, chain = leaf.chain;
    undo_note_replace(&log, &leaf.chain, 0, &old);
    undo_drop_last(&log, &leaf.chain);
    CHECK_EQ(log.count, count);
    CHECK_EQ(log.bytes_used, bytes);
    CHECK_EQ(leaf.chain, chain);
    undo_page(&log, &leaf.chain, leaf.node, scratch);
    expect_model(&leaf, &before);
    undo_release(&log);
    ftk_free(leaf.memory);
}

static void
a_log_has_bounds_and_gives_memory_back(void)
{
    struct undo_log log = {0};
    uint32_t chain = 0, count = 0;

    while (undo_room(&log, 0)) {
        undo_note_insert(&log, &chain, 0);
        REQUIRE(++count <= 1 << 20);
    }
    CHECK(count >= 1 << 16);
    undo_clear(&log);
    CHECK(log.capacity <= 4096);
    CHECK(undo_room(&log, 100));
    CHECK(!undo_room(&log, 5 << 20)); /* more old bytes than it may have */
    undo_release(&log);
    CHECK_EQ(log.capacity, 0);
    CHECK_EQ(log.bytes_capacity, 0);
}

TEST_MAIN("engine_undo", TEST(pages_are_taken_back_each_by_itself),
          TEST(a_full_page_has_room_for_what_it_had),
          TEST(a_change_that_was_dropped_leaves_no_trace),
          TEST(a_log_has_bounds_and_gives_memory_back))
