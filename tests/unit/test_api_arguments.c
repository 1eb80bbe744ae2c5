/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/test_api_arguments.c -- arguments that make no sense are a status, and the transaction
 * goes on.
 */
#include <string.h>

#include "tests/unit/engine_testing.h"

static int
fill(void *context, void *buffer, size_t buffer_size)
{
    (void)context;
    memset(buffer, 'v', buffer_size);
    return 0;
}

static int
ignore(void *context, size_t index, kiln_slice value)
{
    (void)context, (void)index, (void)value;
    return 0;
}

/* Sizes whose sum with a key's would overflow, and the first ones that are too big. */
static void
sizes_of_values_beyond_the_limit_are_refused_whatever_they_are(void)
{
    static const size_t sizes[] = {SIZE_MAX, SIZE_MAX - 1, SIZE_MAX - 1024, SIZE_MAX / 2,
                                   (size_t)KILN_VALUE_MAX + 1};
    struct simdisk *disk = simdisk_new(NULL);
    kiln_db *db = engine_open(disk, KILN_CREATE);
    kiln_txn *txn = engine_begin(db, KILN_WRITE);
    kiln_coll coll = engine_coll(txn, "c"), built = engine_coll(txn, "built");
    kiln_slice lent, key = {"many", 4}, value = {"v", 0};
    uint64_t count;
    kiln_bulk *bulk;

    OK(kiln_put(txn, coll, "k", 1, "v", 1, KILN_PUT_REPLACE));
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        STATUS(kiln_put(txn, coll, "k", 1, "v", sizes[i], KILN_PUT_REPLACE), KILN_TOOBIG);
        value.size = sizes[i];
        STATUS(kiln_put_many(txn, coll, &key, &value, 1, KILN_PUT_REPLACE, NULL), KILN_TOOBIG);
        OK(kiln_get(txn, coll, "k", 1, &lent));
        STATUS(kiln_put(txn, coll, "x", 1, lent.data, sizes[i], KILN_PUT_REPLACE), KILN_TOOBIG);
        STATUS(kiln_value_write(txn, coll, "k", 1, sizes[i], fill, NULL), KILN_TOOBIG);
    }
    OK(kiln_bulk_begin(txn, built, &bulk));
    OK(kiln_bulk_add(bulk, "a", 1, "v", 1));
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        STATUS(kiln_bulk_add(bulk, "b", 1, "v", sizes[i]), KILN_TOOBIG);
    OK(kiln_bulk_end(bulk));
    OK(kiln_coll_count(txn, coll, &count));
    CHECK_EQ(count, 1);
    OK(kiln_txn_commit(txn));
    OK(kiln_check(db, NULL));
    OK(kiln_close(db));
    simdisk_free(disk);
}

static void
what_is_to_be_called_read_or_filled_must_be_there(void)
{
    struct simdisk *disk = simdisk_new(NULL);
    kiln_db *db = engine_open(disk, KILN_CREATE);
    kiln_txn *txn = engine_begin(db, KILN_WRITE);
    kiln_coll coll = engine_coll(txn, "c");
    kiln_slice key = {"k", 1};
    kiln_cursor *cursor;
    size_t got;

    OK(kiln_put(txn, coll, "k", 1, "v", 1, KILN_PUT_REPLACE));
    STATUS(kiln_value_write(txn, coll, "k", 1, 10, NULL, NULL), KILN_INVALID);
    STATUS(kiln_value_write(txn, coll, "k", 1, 1000000, NULL, NULL), KILN_INVALID);
    STATUS(kiln_value_read(txn, coll, "k", 1, 0, NULL, 5, &got), KILN_INVALID);
    OK(kiln_value_read(txn, coll, "k", 1, 0, NULL, 0, &got));
    STATUS(kiln_get_many(txn, coll, &key, 1, NULL, NULL), KILN_INVALID);
    STATUS(kiln_get_many(txn, coll, NULL, 1, ignore, NULL), KILN_INVALID);
    OK(kiln_get_many(txn, coll, NULL, 0, NULL, NULL));
    STATUS(kiln_put_many(txn, coll, NULL, &key, 1, KILN_PUT_REPLACE, NULL), KILN_INVALID);
    STATUS(kiln_put_many(txn, coll, &key, NULL, 1, KILN_PUT_REPLACE, NULL), KILN_INVALID);
    STATUS(kiln_delete_many(txn, coll, NULL, 1, NULL), KILN_INVALID);
    STATUS(kiln_cursor_open(txn, coll, 2, &cursor), KILN_INVALID);
    CHECK(cursor == NULL);
    OK(kiln_value_write(txn, coll, "k", 1, 0, NULL, NULL));
    OK(kiln_txn_commit(txn));
    OK(kiln_close(db));
    simdisk_free(disk);
}

/* Else what a program asked for, KILN_CREATE or a durability, would be forgotten in silence. */
static void
structs_whose_size_is_not_set_are_refused(void)
{
    struct simdisk *disk = simdisk_new(NULL);
    kiln_db *db = engine_open(disk, KILN_CREATE), *none;
    kiln_options options = {.flags = KILN_CREATE};
    kiln_txn_options begin = {.kind = KILN_WRITE};
    kiln_check_options check = {.size = 0};
    kiln_txn *txn;

    STATUS(kiln_open("/nonexistent/directory/db", &options, &none), KILN_INVALID);
    CHECK(strstr(kiln_error_last()->text, "kiln_options.size") != NULL);
    options.size = SIZE_MAX;
    STATUS(kiln_open("/nonexistent/directory/db", &options, &none), KILN_INVALID);
    STATUS(kiln_txn_begin_with(db, &begin, &txn), KILN_INVALID);
    STATUS(kiln_txn_begin_with(db, NULL, &txn), KILN_INVALID);
    begin.size = sizeof(begin);
    OK(kiln_txn_begin_with(db, &begin, &txn));
    kiln_txn_abort(txn);
    STATUS(kiln_check(db, &check), KILN_INVALID);
    check.size = SIZE_MAX;
    STATUS(kiln_check(db, &check), KILN_INVALID);
    check.size = sizeof(check);
    OK(kiln_check(db, &check));
    OK(kiln_close(db));
    simdisk_free(disk);
}

TEST_MAIN("api_arguments", TEST(sizes_of_values_beyond_the_limit_are_refused_whatever_they_are),
          TEST(what_is_to_be_called_read_or_filled_must_be_there),
          TEST(structs_whose_size_is_not_set_are_refused))
