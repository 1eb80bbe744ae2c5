/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/test_engine_check.c -- kiln_check notices what is wrong although every checksum is
 * right: each case damages one thing and seals the page again.
 */
#include "tests/support/forge.h"
#include "tests/unit/engine_testing.h"

enum { PAGE = 4096 };

static struct simdisk *disk;
static struct forge forge;
static char found[4096];

static void
make_of(uint64_t keys)
{
    kiln_db *db;
    kiln_txn *txn;

    disk = simdisk_new(NULL);
    db = engine_open(disk, KILN_CREATE);
    txn = engine_begin(db, KILN_WRITE);
    OK(engine_series(txn, engine_coll(txn, "c"), 0, keys, 60));
    OK(kiln_txn_commit(txn));
    OK(kiln_close(db));
    forge = forge_of(disk, "/db/data.kdb");
}

static void
make(void)
{
    make_of(3000);
}

static void
collect(void *context, const char *text)
{
    (void)context;
    if (strlen(found) + strlen(text) + 2 < sizeof found)
        strcat(strcat(found, text), "\n");
}

static void
expect(const char *words)
{
    kiln_check_options options = KILN_CHECK_OPTIONS_INIT;
    kiln_db *db = engine_open(disk, 0);

    found[0] = 0;
    options.finding = collect;
    STATUS(kiln_check(db, &options), KILN_CORRUPT);
    CHECK_HAS(found, words);
    db_abandon(db);
    simdisk_free(disk);
}

/* The n-th page of a type that is in use, from the end of the file. */
static uint64_t
page_find(uint8_t type, unsigned nth, uint8_t *page)
{
    for (uint64_t id = forge.pages - 1; id >= HEADER_REGION_BYTES / PAGE + 2; id--) {
        forge_read(&forge, id, page);
        if (page[PAGE_TYPE] == type && node_count(page) > 5 && nth-- == 0)
            return id;
    }
    REQUIRE(false);
    return 0;
}

static void
undamaged_database_has_no_findings(void)
{
    kiln_db *db;

    make();
    db = engine_open(disk, 0);
    engine_end(disk, db);
}

static void
missing_entry_is_a_wrong_count(void)
{
    uint8_t page[PAGE];
    uint64_t id;

    make();
    id = page_find(PAGE_LEAF, 1, page);
    node_remove((struct node){page, PAGE}, 2);
    forge_write(&forge, id, page);
    expect("keys, the catalog says");
}

static void
two_parents_of_a_page_are_noticed(void)
{
    uint8_t page[PAGE];
    uint64_t id;

    make();
    id = page_find(PAGE_INNER, 0, page);
    node_set_child((struct node){page, PAGE}, 2, node_child(page, 3));
    forge_write(&forge, id, page);
    expect("is reached twice");
}

/* No rot makes this with a right checksum; a writer that goes over it must come through. */
static void
writer_comes_through_a_page_with_two_parents(void)
{
    uint8_t page[PAGE], key[8];
    kiln_txn *txn;
    kiln_coll coll;
    kiln_db *db;
    uint64_t id;

    for (unsigned from = 0; from < 6; from++) {
        make();
        id = page_find(PAGE_INNER, 0, page);
        node_set_child((struct node){page, PAGE}, from + 1,
                       node_child(page, from % 2 == 0 ? from : from + 2));
        forge_write(&forge, id, page);
        db = engine_open(disk, 0);
        txn = engine_begin(db, KILN_WRITE);
        coll = engine_coll(txn, "c");
        for (uint64_t i = 0; i < 3000; i++) {
            kiln_status rc;
            engine_key(i * 7 % 3000, key);
            rc = kiln_delete(txn, coll, key, sizeof key);
            REQUIRE(rc == KILN_OK || rc == KILN_NOTFOUND || rc == KILN_CORRUPT || rc == KILN_STATE);
        }
        (void)kiln_txn_commit(txn);
        db_abandon(db);
        simdisk_free(disk);
    }
}

static void
reference_behind_the_end_is_noticed(void)
{
    uint8_t page[PAGE];
    uint64_t id;

    make();
    id = page_find(PAGE_INNER, 0, page);
    node_set_child((struct node){page, PAGE}, 2, page_ref_make(forge.pages + 1000, 1));
    forge_write(&forge, id, page);
    expect("page");
}

/* The leaf loses the entry at its other end for one with the key beside its first or last one,
 * which belongs into another leaf. */
static void
leaf_take_over(uint64_t id, uint8_t *page, bool last, const char *words)
{
    struct node_value value = {.data = (const uint8_t *)"v", .size = 1};
    struct node node = {page, PAGE};
    uint8_t scratch[PAGE], key[8];

    node_key(node, last ? node_count(page) - 1 : 0, key);
    ftk_put_be64(key, last ? ftk_get_be64(key) + 1 : ftk_get_be64(key) - 1);
    node_remove(node, last ? 0 : node_count(page) - 1);
    REQUIRE(node_insert(node, last ? node_count(page) : 0, key, 8, &value, scratch));
    forge_write(&forge, id, page);
    expect(words);
}

static void
key_on_the_wrong_side_of_a_separator_is_noticed(void)
{
    uint8_t page[PAGE];

    make();
    leaf_take_over(page_find(PAGE_LEAF, 1, page), page, true, "separator");
}

static void
map(uint64_t page_wanted, bool live, const char *words)
{
    uint8_t page[PAGE];

    for (uint64_t id = HEADER_REGION_BYTES / PAGE; id < HEADER_REGION_BYTES / PAGE + 2; id++) {
        forge_read(&forge, id, page);
        if (ftk_get_le64(page + MAP_CHECKPOINT) == 0)
            continue;
        page[MAP_BITS + page_wanted / 8] &= (uint8_t) ~(1u << page_wanted % 8);
        page[MAP_BITS + page_wanted / 8] |= (uint8_t)(live << page_wanted % 8);
        forge_write(&forge, id, page);
    }
    expect(words);
}

static void
page_in_use_but_free_in_the_map_is_noticed(void)
{
    uint8_t page[PAGE];

    make();
    map(page_find(PAGE_LEAF, 1, page), false, "is in use but the space map has it free");
}

static void
page_that_nothing_reaches_is_noticed(void)
{
    kiln_db *db;
    kiln_txn *txn;

    make();
    db = engine_open(disk, 0); /* two free pages in the middle */
    txn = engine_begin(db, KILN_WRITE);
    OK(kiln_coll_clear(txn, engine_coll(txn, "c")));
    OK(engine_series(txn, engine_coll(txn, "c"), 0, 500, 60));
    OK(kiln_txn_commit(txn));
    OK(kiln_close(db));
    for (uint64_t page = 65536 / PAGE + 2;; page++) {
        uint8_t maps[2][PAGE];
        unsigned newest;
        REQUIRE(simdisk_peek(disk, "/db/data.kdb", 65536, maps, sizeof maps));
        newest = ftk_get_le64(maps[1] + MAP_CHECKPOINT) > ftk_get_le64(maps[0] + MAP_CHECKPOINT);
        if (maps[newest][MAP_BITS + page / 8] >> page % 8 & 1)
            continue;
        map(page, true, "is in the space map but nothing reaches it");
        return;
    }
}

static void
key_below_the_separator_of_its_page_is_noticed(void)
{
    uint8_t page[PAGE];

    make();
    leaf_take_over(page_find(PAGE_LEAF, 1, page), page, false,
                   "first key lies below its parent's separator");
}

/* The bound is not in the parent of the leaf, but in the page above that. */
static void
key_behind_the_last_child_of_a_page_is_noticed(void)
{
    enum { KEYS = 30000 };
    uint8_t page[PAGE], key[8];
    struct node node = {page, PAGE};
    uint64_t id;

    make_of(KEYS);
    for (unsigned nth = 0;; nth++) {
        (void)page_find(PAGE_INNER, nth, page);
        if (node_level(page) != 1)
            continue;
        id = page_ref_id(node_child(page, node_count(page) - 1));
        forge_read(&forge, id, page);
        node_key(node, node_count(page) - 1, key);
        if (ftk_get_be64(key) < KEYS - 1)
            break;
    }
    leaf_take_over(id, page, true, "last key lies above its parent's next separator");
}

static void
keys_out_of_order_are_noticed(void)
{
    uint8_t page[PAGE];
    uint64_t id;

    make();
    id = page_find(PAGE_LEAF, 1, page);
    forge_move(&forge, page, 5, 2);
    forge_write(&forge, id, page);
    expect("not in ascending order");
}

static void
number_set(void *context, uint8_t *block)
{
    ftk_put_le32(block + HEADER_COLL_NEXT, *(const uint32_t *)context);
}

static void
collection_whose_number_is_still_to_come_is_noticed(void)
{
    uint32_t next = 1;

    make();
    forge_headers(&forge, number_set, &next);
    expect("its number is still to be given out, from 1 on");
}

TEST_MAIN("engine_check", TEST(undamaged_database_has_no_findings),
          TEST(missing_entry_is_a_wrong_count), TEST(two_parents_of_a_page_are_noticed),
          TEST(writer_comes_through_a_page_with_two_parents),
          TEST(reference_behind_the_end_is_noticed),
          TEST(key_on_the_wrong_side_of_a_separator_is_noticed),
          TEST(page_in_use_but_free_in_the_map_is_noticed),
          TEST(page_that_nothing_reaches_is_noticed),
          TEST(key_below_the_separator_of_its_page_is_noticed),
          TEST(key_behind_the_last_child_of_a_page_is_noticed), TEST(keys_out_of_order_are_noticed),
          TEST(collection_whose_number_is_still_to_come_is_noticed))
