/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_dict_damage.c -- damaged rows of the dictionary give an error, never a crash. */
#include <stdio.h>

#include "engine/db/txn.h"
#include "engine/records/records_format.h"
#include "ftk/bytes.h"
#include "tests/support/record_testing.h"

enum { ROWS_MAX = 32, ROW_BYTES_MAX = 128 };

struct row {
    uint8_t key[8], value[ROW_BYTES_MAX];
    size_t key_size, value_size;
};

static size_t
rows_read(kiln_txn *txn, kiln_coll coll, struct row *rows)
{
    kiln_cursor *cursor;
    kiln_slice key, value;
    size_t count = 0;

    OK(kiln_cursor_open(txn, coll, 0, &cursor));
    while (kiln_cursor_next(cursor) == KILN_OK) {
        OK(kiln_cursor_item(cursor, &key, &value));
        REQUIRE(count < ROWS_MAX && key.size <= 8 && value.size <= ROW_BYTES_MAX);
        memcpy(rows[count].key, key.data, key.size);
        memcpy(rows[count].value, value.data, value.size);
        rows[count].key_size = key.size;
        rows[count++].value_size = value.size;
    }
    kiln_cursor_close(cursor);
    return count;
}

/* Another key, another length, other bytes. */
static void
row_damage(struct ftk_random *random, struct row *row)
{
    switch (ftk_random_below(random, 4)) {
    case 0:
        row->key[ftk_random_below(random, row->key_size)] ^= (uint8_t)ftk_random_next(random);
        break;
    case 1: row->value_size = (size_t)ftk_random_below(random, ROW_BYTES_MAX + 1); break;
    default:
        for (uint64_t i = 1 + ftk_random_below(random, 3); i > 0; i--)
            row->value[ftk_random_below(random, row->value_size)] ^=
                (uint8_t)(1u << ftk_random_below(random, 8));
        break;
    }
}

static void
define_some(kiln_txn *txn, struct people *people)
{
    kiln_index_options options = KILN_INDEX_OPTIONS_INIT;
    kiln_index_part part = {0};
    kiln_field group, city;
    kiln_index index;

    *people = people_define(txn);
    OK(kiln_field_define(txn, "address", KILN_GROUP, &group));
    OK(kiln_field_define(txn, "city", KILN_TEXT, &city));
    part.field = city;
    part.path = &group;
    part.path_count = 1;
    options.name = "by_city";
    options.parts = &part;
    options.part_count = 1;
    OK(kiln_index_define(txn, &options, &index));
    person_add(txn, people, "Ada", "Lovelace", 36);
}

/* One damaged row in the transaction: every call returns, with a status that tells. */
static void
damage_try(struct ftk_random *random, kiln_txn *txn, const struct people *people, uint64_t version)
{
    static struct row rows[ROWS_MAX];
    kiln_record *record;
    kiln_coll coll;
    kiln_field field;
    struct row *row;
    kiln_status rc;
    uint64_t id = 0;

    REQUIRE_OK(coll_open_internal(txn, DICT_COLLECTION, DICT_COLLECTION_BYTES, 0, &coll));
    row = &rows[ftk_random_below(random, rows_read(txn, coll, rows))];
    ftk_put_le64(rows[0].value + 8, version); /* the header comes first; a version never kept */
    OK(extension_put(txn, coll, (kiln_slice){rows[0].key, rows[0].key_size},
                     (kiln_slice){rows[0].value, rows[0].value_size}, 0));
    row_damage(random, row);
    OK(extension_put(txn, coll, (kiln_slice){row->key, row->key_size},
                     (kiln_slice){row->value, row->value_size}, 0));
    rc = kiln_field_find(txn, "age", &field, NULL);
    REQUIRE_MSG(rc == KILN_OK || rc == KILN_NOTFOUND || rc == KILN_CORRUPT || rc == KILN_VERSION,
                "status %s: %s", kiln_status_name(rc), kiln_error_last()->text);
    OK(kiln_record_new(&record));
    person_fill(record, people, "Alan", "Turing", 41);
    rc = kiln_record_add(txn, people->container, record, &id);
    if (rc == KILN_OK)
        rc = kiln_records_flush(txn);
    rc = kiln_record_get(txn, people->container, 1, record);
    rc = kiln_field_define(txn, "another", KILN_TEXT, &field);
    rc = kiln_container_drop(txn, people->container);
    kiln_record_free(record);
}

static void
damaged_rows_are_errors(void)
{
    struct ftk_random random = test_random();
    kiln_db *db = records_open();
    kiln_txn *txn = records_begin(db, KILN_WRITE);
    struct people people;

    define_some(txn, &people);
    OK(kiln_txn_commit(txn));
    for (uint64_t round = 0; round < test_rounds(2000); round++) {
        txn = records_begin(db, KILN_WRITE);
        damage_try(&random, txn, &people, 1000 + round);
        kiln_txn_abort(txn);
    }
    records_close(db);
}

TEST_MAIN("dict_damage", TEST(damaged_rows_are_errors))
