/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/test_engine_forged.c -- pages that no fault of a device makes: every checksum is right
 * and the trees are not.  Every call answers, with KILN_CORRUPT where it meets the place.
 */
#include "tests/support/record_testing.h"

#include "tests/support/forge.h"
#include "tests/unit/engine_testing.h"

enum { PAGE = 4096, RECORDS = 1000 };

static struct simdisk *disk;
static struct forge forge;
static kiln_field field;
static kiln_container containers[3];

/* Three containers, two indexes, and records in the last container. */
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
    rows_swap_and_expect(DICT_KIND_CONTAINER, "row 1: not in ascending order");
}

static void
indexes_out_of_order_are_corrupt(void)
{
    rows_swap_and_expect(DICT_KIND_INDEX, "row 1: not in ascending order");
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

TEST_MAIN("engine_forged", TEST(catalog_name_of_number_0_is_corrupt),
          TEST(container_in_the_dictionary_s_collection_is_corrupt),
          TEST(containers_out_of_order_are_corrupt), TEST(indexes_out_of_order_are_corrupt),
          TEST(records_that_come_again_end_a_cursor),
          TEST(record_behind_the_last_one_cannot_be_deleted))
