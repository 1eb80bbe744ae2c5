/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_record_format.c -- the bytes of format 1, as engine/records/records_format.h
   says.
 * They are frozen: a later version may write others, and must read these. */
#include "engine/db/txn.h"
#include "tests/support/record_testing.h"

/* The value of a key of an internal collection is exactly this. */
static void
check_row(kiln_txn *txn, const char *collection, const void *key, size_t key_size,
          const void *wanted, size_t wanted_size)
{
    kiln_coll coll;
    kiln_slice value;

    REQUIRE_OK(coll_open_internal(txn, collection, strlen(collection), 0, &coll));
    OK(kiln_get(txn, coll, key, key_size, &value));
    REQUIRE_EQ(value.size, wanted_size);
    CHECK_MEM(value.data, wanted, wanted_size);
}

#define ROW(collection, key, value)                                                                \
    check_row(txn, collection, key, sizeof(key) - 1, value, sizeof(value) - 1)

static void
stored_bytes_are_those_of_format_1(void)
{
    kiln_db *db = records_open();
    kiln_txn *txn = records_begin(db, KILN_WRITE);
    struct people people = people_define(txn);
    kiln_index_options options = KILN_INDEX_OPTIONS_INIT;
    kiln_index_part part = {.flags = KILN_DESCENDING | KILN_REQUIRED};
    kiln_field group;
    kiln_index index;

    OK(kiln_field_define(txn, "g", KILN_GROUP, &group));
    part.field = people.age;
    options.name = "age";
    options.parts = &part;
    options.part_count = 1;
    options.flags = KILN_UNIQUE;
    OK(kiln_index_define(txn, &options, &index));
    CHECK_EQ(person_add(txn, &people, "Ada", "Lovelace", 36), 1);
    CHECK_EQ(person_add(txn, &people, "Alan", "Turing", 300), 2);
    OK(kiln_record_delete(txn, people.container, 2));
    OK(kiln_txn_commit(txn));

    txn = records_begin(db, KILN_READ);
    ROW("\x01"
        "dict",
        "\0",
        "\1\0\0\0"
        "\0\0\0\0"
        "\7\0\0\0\0\0\0\0"
        "\5\0\0\0"
        "\2\0\0\0"
        "\3\0\0\0"
        "\0\0\0\0");
    ROW("\x01"
        "dict",
        "C\0\0\0\1", "\1\0\6people");
    ROW("\x01"
        "dict",
        "F\0\0\0\1", "\1\0\1\5first");
    ROW("\x01"
        "dict",
        "F\0\0\0\3", "\1\0\2\3age");
    ROW("\x01"
        "dict",
        "F\0\0\0\4", "\1\0\7\1g");
    ROW("\x01"
        "dict",
        "I\0\0\0\1",
        "\1\0\0\2"
        "\xfb\1"
        "\0\0"
        "\1\0\0\0"
        "\0\0\0\0"
        "\0\0\0\0\0\0\0\0"
        "\7by_name"
        "\0\0\0\2"
        "\0\0\0\1");
    ROW("\x01"
        "dict",
        "I\0\0\0\2",
        "\1\0\1\1"
        "\xe9\3"
        "\0\0"
        "\0\0\0\0"
        "\0\0\0\0"
        "\0\0\0\0\0\0\0\0"
        "\3age"
        "\3\0\0\3");
    ROW("\x01"
        "c1",
        "\0\0\0\0\0\0\0\1",
        "\x13"
        "Ada"
        "\x28"
        "Lovelace"
        "\x31"
        "\x48");
    ROW("\x01"
        "c1",
        "\0\0\0\0\0\0\0\0", "\2"); /* id 2 was given out */
    ROW("\x01"
        "i1",
        "Lovelace\1Ada\1\1", "");
    ROW("\x01"
        "i2",
        "\xab\1\1", ""); /* ~(10 + 36 + 32), container, id */
    kiln_txn_abort(txn);
    records_close(db);
}

TEST_MAIN("record_format", TEST(stored_bytes_are_those_of_format_1))
