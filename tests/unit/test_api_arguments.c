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

/* ---- structs of other headers ---------------------------------------------------------------- */

/* A struct as a later header has it: 64 bytes longer, of which one may be set. */
struct later {
    _Alignas(16) uint8_t bytes[1024];
};

static struct later
later_of(const void *options, size_t size, bool asks)
{
    struct later later = {{0}};
    size_t longer = size + 64;

    REQUIRE(longer <= sizeof later.bytes);
    memcpy(later.bytes, options, size);
    memcpy(later.bytes, &longer, sizeof longer);
    later.bytes[size + 63] = asks;
    return later;
}

static const char *unknown = "does not know";

static void
options_of_other_headers_open_a_database(void)
{
    kiln_options options = KILN_OPTIONS_INIT;
    struct later later;
    kiln_db *db;

    options.flags = KILN_CREATE | KILN_NO_DIRECT_IO;
    options.size = offsetof(kiln_options, cache_bytes); /* an earlier one: the rest is default */
    options.io_depth = UINT32_MAX;                      /* which it does not have */
    OK(kiln_open(test_path("db"), &options, &db));
    OK(kiln_close(db));
    options.io_depth = 0;
    later = later_of(&options, sizeof options, false);
    OK(kiln_open(test_path("db"), (const void *)&later, &db));
    OK(kiln_close(db));
    later = later_of(&options, sizeof options, true);
    STATUS(kiln_open(test_path("db"), (const void *)&later, &db), KILN_INVALID);
    CHECK_HAS(kiln_error_last()->text, unknown);
}

static void
options_of_other_headers_begin_a_transaction(void)
{
    struct simdisk *disk = simdisk_new(NULL);
    kiln_db *db = engine_open(disk, KILN_CREATE);
    kiln_txn_options options = KILN_TXN_OPTIONS_INIT;
    struct later later;
    kiln_txn *txn;

    options.kind = KILN_READ;
    options.durability = (kiln_durability)77;
    options.size = offsetof(kiln_txn_options, durability);
    OK(kiln_txn_begin_with(db, &options, &txn));
    kiln_txn_abort(txn);
    options.durability = KILN_OS;
    later = later_of(&options, sizeof options, false);
    OK(kiln_txn_begin_with(db, (const void *)&later, &txn));
    kiln_txn_abort(txn);
    later = later_of(&options, sizeof options, true);
    STATUS(kiln_txn_begin_with(db, (const void *)&later, &txn), KILN_INVALID);
    CHECK_HAS(kiln_db_error(db)->text, unknown);
    engine_end(disk, db);
}

static int
not_called(void *context, uint64_t done, uint64_t total)
{
    (void)context;
    (void)done;
    (void)total;
    CHECK_MSG(false, "a member that the struct does not have was used");
    return 0;
}

static void
options_of_other_headers_check_a_database(void)
{
    struct simdisk *disk = simdisk_new(NULL);
    kiln_db *db = engine_open(disk, KILN_CREATE);
    kiln_check_options options = KILN_CHECK_OPTIONS_INIT;
    struct later later;

    options.progress = not_called;
    options.size = offsetof(kiln_check_options, progress);
    OK(kiln_check(db, &options));
    options.progress = NULL;
    later = later_of(&options, sizeof options, false);
    OK(kiln_check(db, (const void *)&later));
    later = later_of(&options, sizeof options, true);
    STATUS(kiln_check(db, (const void *)&later), KILN_INVALID);
    CHECK_HAS(kiln_db_error(db)->text, unknown);
    engine_end(disk, db);
}

static void
options_of_other_headers_define_an_index(void)
{
    struct simdisk *disk = simdisk_new(NULL);
    kiln_db *db = engine_open(disk, KILN_CREATE);
    kiln_txn *txn = engine_begin(db, KILN_WRITE);
    kiln_index_options options = KILN_INDEX_OPTIONS_INIT;
    kiln_index_part part = {0};
    struct later later;
    kiln_index index;

    OK(kiln_field_define(txn, "f", KILN_INT, &part.field));
    options.parts = &part;
    options.part_count = 1;
    options.name = "earlier";
    options.flags = UINT32_MAX;
    options.size = offsetof(kiln_index_options, flags);
    OK(kiln_index_define(txn, &options, &index));
    options.flags = 0;
    options.name = "later";
    later = later_of(&options, sizeof options, true);
    STATUS(kiln_index_define(txn, (const void *)&later, &index), KILN_INVALID);
    CHECK_HAS(kiln_txn_error(txn)->text, unknown);
    later = later_of(&options, sizeof options, false);
    OK(kiln_index_define(txn, (const void *)&later, &index));
    OK(kiln_txn_commit(txn));
    engine_end(disk, db);
}

/* Numbers are given, not asked for: as many as both know, and nothing else is touched. */
static void
numbers_of_other_headers_are_given(void)
{
    struct simdisk *disk = simdisk_new(NULL);
    kiln_db *db = engine_open(disk, KILN_CREATE);
    kiln_txn *txn = engine_begin(db, KILN_WRITE);
    kiln_coll coll = engine_coll(txn, "c");
    kiln_coll_stat of_coll = {.size = offsetof(kiln_coll_stat, height), .height = 77};
    kiln_stat stat = {.size = offsetof(kiln_stat, file_bytes), .file_bytes = 77};
    struct later later;

    OK(engine_put(txn, coll, "k", "v"));
    OK(kiln_stat_get(db, &stat));
    CHECK_EQ(stat.page_bytes, 4096);
    CHECK_EQ(stat.file_bytes, 77);
    OK(kiln_coll_stat_get(txn, coll, &of_coll));
    CHECK_EQ(of_coll.keys, 1);
    CHECK_EQ(of_coll.height, 77);
    stat.size = sizeof stat;
    later = later_of(&stat, sizeof stat, true);
    OK(kiln_stat_get(db, (kiln_stat *)(void *)&later));
    CHECK_EQ(later.bytes[sizeof stat + 63], 1);
    later = later_of(&of_coll, sizeof of_coll, true);
    OK(kiln_coll_stat_get(txn, coll, (kiln_coll_stat *)(void *)&later));
    CHECK_EQ(later.bytes[sizeof of_coll + 63], 1);
    OK(kiln_txn_commit(txn));
    engine_end(disk, db);
}

/* Whatever the order of the call: what *done_out counts are the least keys of the batch. */
static void
a_batch_stops_at_the_least_key_that_offends(void)
{
    static const kiln_slice keys[] = {{"d", 1}, {"c", 1}, {"f", 1}, {"a", 1}, {"e", 1}, {"b", 1}};
    struct simdisk *disk = simdisk_new(NULL);
    kiln_db *db = engine_open(disk, KILN_CREATE);
    kiln_txn *txn = engine_begin(db, KILN_WRITE);
    kiln_coll coll = engine_coll(txn, "c");
    size_t done = 0;

    OK(engine_put(txn, coll, "c", "there"));
    OK(engine_put(txn, coll, "d", "there"));
    STATUS(kiln_put_many(txn, coll, keys, keys, 6, KILN_PUT_INSERT, &done), KILN_EXISTS);
    CHECK_EQ(done, 2);
    CHECK_VALUE(txn, coll, "a", "a");
    CHECK_VALUE(txn, coll, "b", "b");
    CHECK_VALUE(txn, coll, "c", "there");
    CHECK_VALUE(txn, coll, "d", "there");
    CHECK_VALUE(txn, coll, "e", NULL);
    STATUS(kiln_put_many(txn, coll, keys, keys, 6, KILN_PUT_UPDATE, &done), KILN_NOTFOUND);
    CHECK_EQ(done, 4);
    CHECK_VALUE(txn, coll, "d", "d");
    CHECK_VALUE(txn, coll, "f", NULL);
    OK(kiln_txn_commit(txn));
    engine_end(disk, db);
}

TEST_MAIN("api_arguments", TEST(sizes_of_values_beyond_the_limit_are_refused_whatever_they_are),
          TEST(what_is_to_be_called_read_or_filled_must_be_there),
          TEST(a_batch_stops_at_the_least_key_that_offends),
          TEST(structs_whose_size_is_not_set_are_refused),
          TEST(options_of_other_headers_open_a_database),
          TEST(options_of_other_headers_begin_a_transaction),
          TEST(options_of_other_headers_check_a_database),
          TEST(options_of_other_headers_define_an_index), TEST(numbers_of_other_headers_are_given))
