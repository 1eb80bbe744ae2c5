/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/test_engine_forged.c -- pages that no fault of a device makes: every checksum is right
 * and the trees are not.  Every call answers, with KILN_CORRUPT where it meets the place.
 */
#include "tests/support/record_testing.h"

#include "tests/support/forge.h"
#include "tests/unit/engine_testing.h"

enum { PAGE = 4096, RECORDS = 1000, KEYS = 4000 };

static struct simdisk *disk;
static struct forge forge;
static kiln_field field;
static kiln_container containers[3];

/* Every second number is a key. */
static void
series_put(kiln_txn *txn, kiln_coll coll, uint64_t from, uint64_t to)
{
    uint8_t key[8];

    for (uint64_t i = from; i < to; i++) {
        engine_key(2 * i, key);
        OK(kiln_put(txn, coll, key, sizeof key, "a value of a few bytes", 22, 0));
    }
}

/* Three containers, two indexes, records in the last container, and a collection. */
static void
make(void)
{
    kiln_record *record;
    kiln_db *db;
    kiln_txn *txn;
    uint64_t id;

    disk = simdisk_new(NULL);
    db = engine_open(disk, KILN_CREATE);
    txn = engine_begin(db, KILN_WRITE);
    OK(kiln_field_define(txn, "text", KILN_TEXT, &field));
    OK(kiln_container_define(txn, "one", &containers[0]));
    OK(kiln_container_define(txn, "two", &containers[1]));
    OK(kiln_container_define(txn, "three", &containers[2]));
    (void)index_on(txn, "first", containers[0], &field, 1, 0);
    (void)index_on(txn, "second", containers[1], &field, 1, 0);
    OK(kiln_record_new(&record));
    OK(kiln_record_text(record, field, "a text of some bytes", 20));
    for (unsigned i = 0; i < RECORDS; i++) {
        id = 0;
        OK(kiln_record_add(txn, containers[2], record, &id));
    }
    kiln_record_free(record);
    series_put(txn, engine_coll(txn, "series"), 0, KEYS);
    OK(engine_put(txn, engine_coll(txn, "few"), "a", "1"));
    OK(engine_put(txn, engine_coll(txn, "few"), "b", "2"));
    OK(kiln_txn_commit(txn));
    OK(kiln_close(db));
    forge = forge_of(disk, "/db/data.kdb");
}

static void
end(kiln_db *db, kiln_txn *txn)
{
    kiln_txn_abort(txn);
    db_abandon(db);
    simdisk_free(disk);
}

/* ---- the catalog ----------------------------------------------------------------------------- */

/* Entry `key` of the catalog gets these bytes. */
static void
catalog_forge(kiln_db *db, const char *key, size_t key_size, const void *data, uint32_t size)
{
    struct node_value value = {.data = data, .size = size};
    kiln_txn *txn = engine_begin(db, KILN_WRITE);

    REQUIRE_OK(tree_put(txn, &txn->catalog, key, key_size, &value, KILN_PUT_REPLACE));
    txn->writer.grows = true;
    OK(engine_put(txn, engine_coll(txn, "any"), "k", "v"));
    OK(kiln_txn_commit(txn));
}

static void
catalog_name_of_number_0_is_corrupt(void)
{
    static const uint8_t none[4];
    kiln_container found;
    kiln_coll coll = 7;
    kiln_db *db;
    kiln_txn *txn;

    make();
    db = engine_open(disk, 0);
    catalog_forge(db, "nx", 2, none, 4);
    catalog_forge(db, "n\001c2", 4, none, 4);
    txn = engine_begin(db, KILN_READ);
    STATUS(kiln_coll_open(txn, "x", 0, &coll), KILN_CORRUPT);
    CHECK_HAS(kiln_txn_error(txn)->text, "has number 0");
    CHECK_EQ(coll, 0);
    STATUS(kiln_container_find(txn, "two", &found), KILN_CORRUPT);
    CHECK_HAS(kiln_txn_error(txn)->text, "has number 0");
    end(db, txn);
}

static void
container_in_the_dictionary_s_collection_is_corrupt(void)
{
    uint8_t number[4];
    kiln_coll dictionary;
    kiln_db *db;
    kiln_txn *txn;

    make();
    db = engine_open(disk, 0);
    txn = engine_begin(db, KILN_READ);
    REQUIRE_OK(coll_open_internal(txn, DICT_COLLECTION, DICT_COLLECTION_BYTES, 0, &dictionary));
    kiln_txn_abort(txn);
    ftk_put_le32(number, dictionary);
    catalog_forge(db, "n\001c2", 4, number, 4);
    txn = engine_begin(db, KILN_WRITE);
    STATUS(kiln_container_drop(txn, containers[1]), KILN_CORRUPT);
    CHECK_HAS(kiln_txn_error(txn)->text, "container 2");
    end(db, txn);
}

/* ---- the dictionary -------------------------------------------------------------------------- */

/* Row `number` of a kind comes behind the one after it. */
static void
rows_swap_and_expect(int kind, const char *words)
{
    uint8_t page[PAGE], key[5], wanted[NODE_KEY_MAX];
    kiln_container container;
    uint64_t id;
    kiln_db *db;
    kiln_txn *txn;

    make();
    dict_key_put(key, kind, 1);
    id = forge_find(&forge, PAGE_LEAF, key, sizeof key, page);
    REQUIRE(id != 0);
    for (uint32_t i = 0; i < node_count(page); i++) {
        if (node_key((struct node){page, PAGE}, i, wanted) == sizeof key &&
            memcmp(wanted, key, sizeof key) == 0) {
            forge_move(&forge, page, i, i + 1);
            break;
        }
    }
    forge_write(&forge, id, page);
    db = engine_open(disk, 0);
    txn = engine_begin(db, KILN_READ);
    STATUS(kiln_container_find(txn, "one", &container), KILN_CORRUPT);
    CHECK_HAS(kiln_txn_error(txn)->text, words);
    end(db, txn);
}

static void
containers_out_of_order_are_corrupt(void)
{
    rows_swap_and_expect(DICT_KIND_CONTAINER, "not in ascending order");
}

static void
indexes_out_of_order_are_corrupt(void)
{
    rows_swap_and_expect(DICT_KIND_INDEX, "not in ascending order");
}

/* ---- pages ----------------------------------------------------------------------------------- */

/* The leaf of the series that holds a number; its id. */
static uint64_t
leaf_of(uint64_t number, uint8_t *page)
{
    uint8_t key[8];
    uint64_t id;

    engine_key(2 * number, key);
    id = forge_find(&forge, PAGE_LEAF, key, sizeof key, page);
    REQUIRE(id != 0);
    return id;
}

/* The page above its leaves: no other tree has one with so many. */
static uint64_t
series_root(uint8_t *page)
{
    for (uint64_t id = forge.pages - 1; id > 0; id--) {
        forge_read(&forge, id, page);
        if (page[PAGE_TYPE] == PAGE_INNER && node_count(page) > 20)
            return id;
    }
    REQUIRE(false);
    return 0;
}

static kiln_coll
series(kiln_txn *txn)
{
    kiln_coll coll;

    OK(kiln_coll_open(txn, "series", 0, &coll));
    return coll;
}

static void
get_and_expect(uint64_t number, const char *words)
{
    kiln_db *db = engine_open(disk, 0);
    kiln_txn *txn = engine_begin(db, KILN_READ);
    kiln_slice value;
    uint8_t key[8];

    engine_key(2 * number, key);
    STATUS(kiln_get(txn, series(txn), key, sizeof key, &value), KILN_CORRUPT);
    CHECK_HAS(kiln_txn_error(txn)->text, words);
    end(db, txn);
}

/* With the 24 bits of it that its parent has. */
static void
page_of_a_transaction_to_come_is_corrupt(void)
{
    uint8_t page[PAGE];
    uint64_t id;

    make();
    id = leaf_of(1000, page);
    ftk_put_le64(page + PAGE_BIRTH, node_birth(page) | UINT64_C(1) << 50);
    forge_write(&forge, id, page);
    get_and_expect(1000, "which never was");
}

static void
reference_to_no_page_is_corrupt(void)
{
    uint8_t page[PAGE];
    uint64_t id;

    make();
    id = series_root(page);
    page_ref_put(page + (node_body(page, 1) - page), (struct page_ref){0});
    forge_write(&forge, id, page);
    get_and_expect(1000, "reference to no page");
}

static void
empty_key_is_corrupt(void)
{
    uint8_t page[PAGE], key[NODE_KEY_MAX], scratch[PAGE];
    struct node_value value = {.data = (const uint8_t *)"v", .size = 1};
    struct node node = {page, PAGE};
    uint64_t birth, id;

    make();
    id = leaf_of(1000, page);
    birth = node_birth(page);
    node_init(node, PAGE_LEAF, 0, 0, 4, birth, NULL, 0);
    REQUIRE(node_insert(node, 0, key, 0, &value, scratch));
    forge_write(&forge, id, page);
    get_and_expect(1000, "empty key");
}

/* A leaf has the keys of another: what is put into it splits it where its parent cannot follow. */
static void
keys_in_another_leaf_end_the_transaction_that_splits_it(void)
{
    uint8_t page[PAGE], other[PAGE], key[8], first[8];
    kiln_status rc = KILN_OK;
    kiln_db *db;
    kiln_txn *txn;
    uint64_t id;

    make();
    (void)leaf_of(3000, other);
    id = leaf_of(1000, page);
    REQUIRE_EQ(node_key((struct node){page, PAGE}, 0, first), 8);
    node_take((struct node){page, PAGE}, other);
    forge_write(&forge, id, page);
    db = engine_open(disk, 0);
    txn = engine_begin(db, KILN_WRITE);
    for (uint64_t i = 1; i < 400 && rc == KILN_OK; i += 2) { /* between the keys that were there */
        ftk_put_be64(key, ftk_get_be64(first) + i);
        rc = kiln_put(txn, series(txn), key, sizeof key, "a value of a few bytes", 22, 0);
    }
    if (rc == KILN_OK)
        rc = kiln_txn_commit(txn);
    else
        kiln_txn_abort(txn);
    STATUS(rc, KILN_CORRUPT);
    CHECK_HAS(kiln_error_last()->text, "contradicts itself");
    db_abandon(db);
    simdisk_free(disk);
}

static void
page_that_is_reached_twice_dies_once(void)
{
    uint8_t inner[PAGE];
    kiln_db *db;
    kiln_txn *txn;
    uint64_t id;

    make();
    id = series_root(inner);
    node_set_child((struct node){inner, PAGE}, 5, node_child(inner, 4));
    forge_write(&forge, id, inner);
    for (unsigned how = 0; how < 4; how++) { /* before and after its pages are the transaction's */
        struct simdisk *copy = simdisk_clone(disk, 1);
        db = engine_open(copy, 0);
        txn = engine_begin(db, KILN_WRITE);
        if (how % 2 == 1)
            for (uint64_t i = 0; i < KEYS; i++) {
                uint8_t key[8];
                engine_key(2 * i, key);
                (void)kiln_put(txn, series(txn), key, sizeof key, "v", 1, 0);
            }
        if (how >= 2)
            (void)kiln_savepoint(txn);
        (void)kiln_coll_clear(txn, series(txn));
        (void)kiln_txn_commit(txn);
        txn = engine_begin(db, KILN_WRITE);
        for (uint64_t i = 0; i < KEYS; i++)
            if (engine_put(txn, engine_coll(txn, "after"), "key", "value") != KILN_OK)
                break;
        series_put(txn, engine_coll(txn, "after"), 0, KEYS);
        OK(kiln_txn_commit(txn));
        CHECK(space_check(db->space) == NULL);
        db_abandon(db);
        simdisk_free(copy);
    }
    simdisk_free(disk);
}

/* ---- counts and maps ------------------------------------------------------------------------- */

static void
count_beyond_the_keys_is_noticed_with_the_last_one(void)
{
    uint8_t page[PAGE], key[5] = {'c', 0, 0, 0, 0};
    struct node node = {page, PAGE};
    struct node_entry entry;
    kiln_coll few;
    kiln_db *db;
    kiln_txn *txn;
    uint64_t id;
    bool exact;
    uint32_t pos;

    make();
    db = engine_open(disk, 0);
    txn = engine_begin(db, KILN_READ);
    OK(kiln_coll_open(txn, "few", 0, &few));
    kiln_txn_abort(txn);
    OK(kiln_close(db));
    ftk_put_be32(key + 1, few);
    id = forge_find(&forge, PAGE_LEAF, key, sizeof key, page);
    REQUIRE(id != 0);
    pos = node_lower_bound(node, key, sizeof key, &exact);
    node_entry(node, pos, &entry);
    ftk_put_le64(page + (entry.value - page) + CATALOG_KEYS, 5);
    forge_write(&forge, id, page);
    db = engine_open(disk, 0);
    txn = engine_begin(db, KILN_WRITE);
    OK(kiln_delete(txn, few, "a", 1));
    STATUS(kiln_delete(txn, few, "b", 1), KILN_CORRUPT);
    CHECK_HAS(kiln_txn_error(txn)->text, "the catalog counts 3");
    STATUS(kiln_txn_commit(txn), KILN_CORRUPT);
    db_abandon(db);
    simdisk_free(disk);
}

static void
open_and_expect(const char *words)
{
    kiln_options options = engine_options(0);
    kiln_db *db;

    CHECK_STATUS(engine_try_open(disk, &options, &db), FTK_CORRUPT);
    CHECK_HAS(kiln_error_last()->text, words);
    simdisk_free(disk);
}

static void
map_set(uint64_t page_id, bool live)
{
    uint8_t page[PAGE];

    for (uint64_t id = HEADER_REGION_BYTES / PAGE; id < HEADER_REGION_BYTES / PAGE + 2; id++) {
        forge_read(&forge, id, page);
        page[MAP_BITS + page_id / 8] &= (uint8_t) ~(1u << page_id % 8);
        page[MAP_BITS + page_id / 8] |= (uint8_t)(live << page_id % 8);
        if (ftk_get_le64(page + MAP_CHECKPOINT) != 0)
            forge_write(&forge, id, page);
    }
}

static void
map_that_has_a_header_free_is_corrupt(void)
{
    make();
    map_set(3, false);
    open_and_expect("header page 3 free");
}

static void
map_that_has_itself_free_is_corrupt(void)
{
    make();
    map_set(HEADER_REGION_BYTES / PAGE + 1, false);
    open_and_expect("has itself free");
}

static void
map_with_a_page_behind_its_end_is_corrupt(void)
{
    make();
    map_set(15000, true);
    open_and_expect("page 15000 in use, behind its end");
}

static void
header_end_set(void *context, uint8_t *block)
{
    ftk_put_le64(block + HEADER_PAGES_END, *(const uint64_t *)context);
}

static void
header_that_ends_before_a_map_is_corrupt(void)
{
    uint64_t pages_end = HEADER_REGION_BYTES / PAGE + 1;

    make();
    forge_headers(&forge, header_end_set, &pages_end);
    open_and_expect("before a space map");
}

/* ---- records --------------------------------------------------------------------------------- */

/* The children of the page above the records, by a list of positions. */
static void
children_set(const unsigned pairs[][2], unsigned count)
{
    uint8_t page[PAGE];
    struct node node = {page, PAGE};
    struct page_ref children[16];
    uint64_t id;

    for (id = forge.pages - 1; id > 0; id--) {
        forge_read(&forge, id, page);
        if (page[PAGE_TYPE] == PAGE_INNER && node_count(page) >= 6)
            break;
    }
    REQUIRE(id > 0);
    for (unsigned i = 0; i < 16 && i < node_count(page); i++)
        children[i] = node_child(page, i);
    for (unsigned i = 0; i < count; i++) {
        unsigned to = pairs[i][0] == 99 ? node_count(page) - 1 : pairs[i][0];
        node_set_child(node, to, children[pairs[i][1]]);
    }
    forge_write(&forge, id, page);
}

static void
records_that_come_again_end_a_cursor(void)
{
    static const unsigned pairs[][2] = {{0, 2}, {1, 0}, {3, 0}, {4, 1}};
    kiln_record_cursor *cursor;
    kiln_record *record;
    uint64_t id, last = 0;
    kiln_status rc;
    kiln_db *db;
    kiln_txn *txn;

    make();
    children_set(pairs, 4);
    db = engine_open(disk, 0);
    txn = engine_begin(db, KILN_READ);
    OK(kiln_record_new(&record));
    OK(kiln_record_cursor_open(txn, containers[2], 0, &cursor));
    while ((rc = kiln_record_cursor_next(cursor, &id, record)) == KILN_OK) {
        CHECK(id > last);
        last = id;
    }
    STATUS(rc, KILN_CORRUPT);
    CHECK_HAS(kiln_txn_error(txn)->text, "comes behind its place");
    kiln_record_cursor_close(cursor);
    kiln_record_free(record);
    end(db, txn);
}

static void
record_behind_the_last_one_cannot_be_deleted(void)
{
    static const unsigned pairs[][2] = {{99, 0}};
    kiln_record *record;
    kiln_db *db;
    kiln_txn *txn;

    make();
    children_set(pairs, 1);
    db = engine_open(disk, 0);
    txn = engine_begin(db, KILN_WRITE);
    OK(kiln_record_new(&record));
    OK(kiln_record_get(txn, containers[2], RECORDS / 2, record));
    STATUS(kiln_record_delete(txn, containers[2], RECORDS / 2), KILN_CORRUPT);
    CHECK_HAS(kiln_txn_error(txn)->text, "lies behind the last one");
    kiln_record_free(record);
    end(db, txn);
}

static void
header_last_set(void *context, uint8_t *block)
{
    ftk_put_le64(block + *(const unsigned *)context, UINT64_MAX);
}

/* Nothing could come after it. */
static void
header_of_the_last_number_is_corrupt(void)
{
    static const unsigned fields[] = {HEADER_TXN, HEADER_LSN};

    for (unsigned i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        unsigned at = fields[i];
        make();
        forge_headers(&forge, header_last_set, &at);
        open_and_expect("impossible number");
    }
}

/* ---- entries larger than any that is put ----------------------------------------------------- */

enum { BIG_KEYS = 3, BIG_HOW = 2 * BIG_KEYS + 1 };

/* The leaf of "big" has its three keys, one of them with a value that fills most of the page. */
static void
big_forge(unsigned which)
{
    static const uint8_t filling[PAGE];
    uint8_t page[PAGE], scratch[PAGE];
    struct node node = {page, PAGE};
    uint64_t birth, id = forge_find(&forge, PAGE_LEAF, "kb", 2, page);
    char key[2] = "k";

    REQUIRE(id != 0);
    birth = node_birth(page);
    node_init(node, PAGE_LEAF, 0, 0, page[PAGE_HEAD_BYTES], birth, "k", 1);
    for (unsigned i = 0; i < BIG_KEYS; i++) {
        struct node_value value = {.data = filling, .size = i == which ? 3600 : 150};
        key[1] = (char)('b' + 2 * i);
        REQUIRE(node_insert(node, i, key, 2, &value, scratch));
    }
    forge_write(&forge, id, page);
}

/* One put, to each place of the leaf and of each entry, of the largest value that a leaf keeps. */
static void
big_put(unsigned how, bool prefixed)
{
    static uint8_t value[PAGE];
    kiln_db *db = engine_open(disk, 0);
    kiln_txn *txn = engine_begin(db, KILN_WRITE);
    kiln_coll coll;
    kiln_slice found;
    uint64_t keys = 0;
    kiln_cursor *cursor;
    char key[2] = {prefixed ? 'k' : how < BIG_KEYS ? 'a' : 'z', (char)('a' + how)};

    OK(kiln_coll_open(txn, "big", 0, &coll));
    OK(kiln_put(txn, coll, key, 2, value, db->inline_max - 2, 0));
    OK(kiln_get(txn, coll, key, 2, &found));
    CHECK_EQ(found.size, db->inline_max - 2);
    OK(kiln_cursor_open(txn, coll, 0, &cursor));
    for (kiln_status rc = kiln_cursor_first(cursor); rc == KILN_OK; rc = kiln_cursor_next(cursor))
        keys++;
    kiln_cursor_close(cursor);
    CHECK_EQ(keys, prefixed && how % 2 == 1 ? BIG_KEYS : BIG_KEYS + 1);
    OK(kiln_txn_commit(txn));
    db_abandon(db);
}

static void
leaf_splits_whatever_its_entries_are(void)
{
    kiln_db *db;
    kiln_txn *txn;
    char key[2] = "k";

    for (unsigned which = 0; which < BIG_KEYS; which++)
        for (unsigned how = 0; how < 2 * BIG_HOW; how++) {
            disk = simdisk_new(NULL);
            db = engine_open(disk, KILN_CREATE);
            txn = engine_begin(db, KILN_WRITE);
            for (unsigned i = 0; i < BIG_KEYS; i++) {
                key[1] = (char)('b' + 2 * i);
                OK(kiln_put(txn, engine_coll(txn, "big"), key, 2, "v", 1, 0));
            }
            OK(kiln_txn_commit(txn));
            OK(kiln_close(db));
            forge = forge_of(disk, "/db/data.kdb");
            big_forge(which);
            big_put(how % BIG_HOW, how < BIG_HOW);
            simdisk_free(disk);
        }
}

TEST_MAIN("engine_forged", TEST(catalog_name_of_number_0_is_corrupt),
          TEST(container_in_the_dictionary_s_collection_is_corrupt),
          TEST(containers_out_of_order_are_corrupt), TEST(indexes_out_of_order_are_corrupt),
          TEST(page_of_a_transaction_to_come_is_corrupt), TEST(reference_to_no_page_is_corrupt),
          TEST(empty_key_is_corrupt), TEST(keys_in_another_leaf_end_the_transaction_that_splits_it),
          TEST(page_that_is_reached_twice_dies_once),
          TEST(count_beyond_the_keys_is_noticed_with_the_last_one),
          TEST(map_that_has_a_header_free_is_corrupt), TEST(map_that_has_itself_free_is_corrupt),
          TEST(map_with_a_page_behind_its_end_is_corrupt),
          TEST(header_that_ends_before_a_map_is_corrupt),
          TEST(header_of_the_last_number_is_corrupt), TEST(records_that_come_again_end_a_cursor),
          TEST(record_behind_the_last_one_cannot_be_deleted),
          TEST(leaf_splits_whatever_its_entries_are))
