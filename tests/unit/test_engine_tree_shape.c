/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/test_engine_tree_shape.c -- how high trees become and how full their pages are,
 * whatever the keys and their order.
 */
#include "engine/tree/tree.h"
#include "tests/unit/engine_testing.h"

static struct simdisk *disk;
static kiln_db *db;
static kiln_txn *txn;
static kiln_coll coll;

static void
begin(uint32_t page_bytes)
{
    kiln_options options = engine_options(KILN_CREATE);

    disk = simdisk_new(NULL);
    options.page_bytes = page_bytes;
    REQUIRE_OK(engine_try_open(disk, &options, &db));
    txn = engine_begin(db, KILN_WRITE);
    coll = engine_coll(txn, "c");
}

static void
end(void)
{
    OK(kiln_txn_commit(txn));
    engine_end(disk, db);
}

static kiln_coll_stat
shape(void)
{
    kiln_coll_stat stat = {.size = sizeof stat};

    OK(kiln_coll_stat_get(txn, coll, &stat));
    return stat;
}

enum order { UP, DOWN, AT_RANDOM };

/* The n-th of `count` numbers in that order. */
static uint32_t
nth(enum order order, uint32_t n, uint32_t count)
{
    if (order == AT_RANDOM)
        return (uint32_t)((uint64_t)n * 7919 % count); /* count has no factor 7919 */
    return order == UP ? n : count - 1 - n;
}

/* Longest keys, so many of them alike but for the last byte: a separator between two of these is as
 * long as they are. */
static void
long_keys(uint32_t alike, enum order order)
{
    enum { COUNT = 6000 };
    uint8_t key[KILN_KEY_MAX];
    kiln_coll_stat stat;

    begin(4096);
    for (uint32_t n = 0; n < COUNT; n++) {
        uint32_t i = nth(order, n, COUNT);
        memset(key, 0x55, sizeof key);
        ftk_put_be32(key, i / alike * 2654435761u);
        if (order != AT_RANDOM)
            ftk_put_be32(key, i / alike);
        key[sizeof key - 1] = (uint8_t)(i % alike);
        OK(kiln_put(txn, coll, key, sizeof key, "", 0, KILN_PUT_INSERT));
    }
    stat = shape();
    CHECK_MSG(stat.height <= 4, "%u alike, order %d: height %u, %llu leaves, %llu inner pages",
              alike, order, stat.height, (unsigned long long)stat.leaf_pages,
              (unsigned long long)stat.inner_pages);
    CHECK_MSG(stat.inner_pages * 3 <= stat.leaf_pages + 3,
              "%u alike, order %d: height %u, %llu leaves, %llu inner pages", alike, order,
              stat.height, (unsigned long long)stat.leaf_pages,
              (unsigned long long)stat.inner_pages);
    end();
}

static void
long_keys_alike_do_not_make_a_tree_high(void)
{
    static const uint32_t alike[] = {1, 2, 3, 4, 7, 30};

    for (unsigned i = 0; i < sizeof alike / sizeof alike[0]; i++)
        for (enum order order = UP; order <= AT_RANDOM; order++)
            long_keys(alike[i], order);
}

static uint64_t
leaves_of(enum order order, uint32_t value_size)
{
    enum { COUNT = 40000 };
    uint8_t key[8], value[512] = {0};
    kiln_coll_stat stat;

    begin(4096);
    for (uint32_t n = 0; n < COUNT; n++) {
        engine_key(nth(order, n, COUNT), key);
        OK(kiln_put(txn, coll, key, sizeof key, value, value_size, KILN_PUT_INSERT));
    }
    stat = shape();
    CHECK_EQ(stat.keys, COUNT);
    end();
    return stat.leaf_pages + stat.inner_pages;
}

static void
descending_keys_fill_pages_as_ascending_ones_do(void)
{
    static const uint32_t sizes[] = {0, 8, 100, 500};

    for (unsigned i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        uint64_t up = leaves_of(UP, sizes[i]), down = leaves_of(DOWN, sizes[i]);
        CHECK_MSG(down <= up + up / 50 + 2, "values of %u: %llu pages upwards, %llu downwards",
                  sizes[i], (unsigned long long)up, (unsigned long long)down);
    }
}

/* Runs that go up or down in many places of a tree by turns. */
static void
runs_in_the_middle_of_a_tree_fill_its_pages(void)
{
    enum { RUNS = 40, LENGTH = 1000 };

    for (enum order order = UP; order <= DOWN; order++) {
        uint8_t key[8], value[60] = {0};
        kiln_coll_stat stat;
        begin(4096);
        for (uint32_t n = 0; n < RUNS; n++) { /* something on both sides of each run */
            engine_key((uint64_t)n << 32, key);
            OK(kiln_put(txn, coll, key, sizeof key, value, sizeof value, 0));
        }
        for (uint32_t run = 0; run < RUNS; run++) {
            for (uint32_t n = 0; n < LENGTH; n++) {
                engine_key(((uint64_t)nth(AT_RANDOM, run, RUNS) << 32) + 1 + nth(order, n, LENGTH),
                           key);
                OK(kiln_put(txn, coll, key, sizeof key, value, sizeof value, 0));
            }
        }
        stat = shape();
        CHECK_MSG(stat.used_bytes * 100 >= (stat.leaf_pages + stat.inner_pages) * 4096 * 75,
                  "order %d: %llu bytes in %llu pages", order, (unsigned long long)stat.used_bytes,
                  (unsigned long long)(stat.leaf_pages + stat.inner_pages));
        end();
    }
}

/* Keys of every length whose common beginnings are of every length, put and deleted at random. */
static void
keys_of_any_length_and_likeness_are_all_there(void)
{
    enum { COUNT = 3000 };
    struct ftk_random random = test_random();
    static uint8_t keys[COUNT][KILN_KEY_MAX];
    static uint32_t sizes[COUNT];
    static bool there[COUNT];
    kiln_slice value;

    begin(4096);
    memset(there, 0, sizeof there);
    for (unsigned i = 0; i < COUNT; i++) {
        uint32_t likeness = (uint32_t)ftk_random_below(&random, KILN_KEY_MAX - 8);
        uint32_t from = i == 0 ? 0 : (uint32_t)ftk_random_below(&random, i);
        sizes[i] = likeness + 4 + (uint32_t)ftk_random_below(&random, KILN_KEY_MAX - likeness - 4);
        memset(keys[i], 'a', KILN_KEY_MAX);
        memcpy(keys[i], keys[from], likeness);
        ftk_put_be32(keys[i] + likeness, i + 1); /* different keys */
    }
    for (unsigned n = 0; n < 4 * COUNT; n++) {
        unsigned i = (unsigned)ftk_random_below(&random, COUNT);
        uint8_t data[900] = {(uint8_t)i};
        uint32_t size = 1 + (uint32_t)ftk_random_below(&random, 900);
        if (there[i] && ftk_random_below(&random, 2) == 0) {
            OK(kiln_delete(txn, coll, keys[i], sizes[i]));
            there[i] = false;
        } else {
            OK(kiln_put(txn, coll, keys[i], sizes[i], data, size, KILN_PUT_REPLACE));
            there[i] = true;
        }
    }
    for (unsigned i = 0; i < COUNT; i++) {
        kiln_status rc = kiln_get(txn, coll, keys[i], sizes[i], &value);
        REQUIRE(rc == (there[i] ? KILN_OK : KILN_NOTFOUND));
    }
    end();
}

/* A tree as high as may be whose root is full, put together by hand: it refuses to grow, and
 * nothing of it has changed. */
static void
tree_of_the_greatest_height_refuses_to_grow(void)
{
    uint8_t key[NODE_KEY_MAX];
    struct tree *tree;
    struct page_ref below = {0};
    kiln_slice keys[1] = {{"new", 3}}, values[1] = {{"", 0}};
    size_t done = 0;

    begin(4096);
    OK(engine_put(txn, coll, "there", "value"));
    OK(txn_tree(txn, coll, &tree));
    for (uint32_t level = tree->height; level < TREE_HEIGHT_MAX; level++) {
        struct node_value value = {.child = tree->root};
        uint64_t page;
        struct node node;
        OK(txn_prepare(txn, 1, false));
        page = txn_page_new(txn);
        node = tree_node(txn, page);
        node_init(node, PAGE_INNER, 0, (uint8_t)level, 4, txn->writer.birth, NULL, 0);
        below = tree->root;
        REQUIRE(node_insert(node, 0, "", 0, &value, txn->writer.page_scratch));
        txn_page_born(txn, page);
        tree->root = tree_ref(txn, page);
        tree->height++;
    }
    struct node root = tree_node(txn, page_ref_id(tree->root));
    CHECK_OK(tree_limit(txn, tree, page_ref_id(tree->root))); /* there is room */
    OK(engine_put(txn, coll, "also", "value"));
    root = tree_node(txn, page_ref_id(tree->root));
    memset(key, 0xff, sizeof key);
    for (uint32_t n = 1;; n++) { /* never reached by what is looked for here */
        struct node_value value = {.child = below};
        key[1] = (uint8_t)n;
        if (!node_insert(root, n, key, sizeof key, &value, txn->writer.page_scratch))
            break;
    }
    uint64_t changes = tree->changes;
    STATUS(engine_put(txn, coll, "new", "value"), KILN_TOOBIG);
    CHECK_HAS(ftk_error_last()->text, "24 levels");
    STATUS(kiln_put_many(txn, coll, keys, values, 1, 0, &done), KILN_TOOBIG);
    CHECK_EQ(done, 0);
    CHECK_EQ(tree->changes, changes);
    CHECK_VALUE(txn, coll, "there", "value");
    CHECK_VALUE(txn, coll, "also", "value");
    CHECK_VALUE(txn, coll, "new", NULL);
    kiln_txn_abort(txn);
    engine_end(disk, db);
}

TEST_MAIN("engine_tree_shape", TEST(long_keys_alike_do_not_make_a_tree_high),
          TEST(descending_keys_fill_pages_as_ascending_ones_do),
          TEST(runs_in_the_middle_of_a_tree_fill_its_pages),
          TEST(keys_of_any_length_and_likeness_are_all_there),
          TEST(tree_of_the_greatest_height_refuses_to_grow))
