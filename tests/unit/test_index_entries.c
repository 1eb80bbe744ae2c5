/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_index_entries.c -- index entries: order, kinds of parts, uniqueness, long
 * texts. */
#include <math.h>
#include <stdio.h>

#include "tests/support/record_testing.h"
#include "tests/unit/engine_testing.h"

static void
entries_are_in_order_and_carry_values(void)
{
    kiln_db *db = records_open();
    kiln_txn *txn = records_begin(db, KILN_WRITE);
    struct people people = people_define(txn);
    uint64_t turing = person_add(txn, &people, "Alan", "Turing", 41);
    uint64_t hopper = person_add(txn, &people, "Grace", "Hopper", 85);
    uint64_t lovelace = person_add(txn, &people, "Ada", "Lovelace", 36);
    uint64_t nobody = person_add(txn, &people, NULL, NULL, 1);
    uint64_t first_only = person_add(txn, &people, "Zoe", NULL, 2);
    uint64_t empty = person_add(txn, &people, "", "", 3);
    uint64_t wanted[] = {first_only, empty, hopper, lovelace, turing};
    struct ids ids = index_ids(txn, people.index, NULL, 0);
    kiln_index_cursor *cursor;
    kiln_container container;
    kiln_item values[3];
    kiln_item search = text_item("Hopper");
    uint64_t id;

    (void)nobody; /* no value at all: no entry */
    CHECK_EQ(ids.count, 5);
    CHECK_MEM(ids.id, wanted, sizeof wanted);
    OK(kiln_txn_commit(txn));
    txn = records_begin(db, KILN_READ);
    OK(kiln_index_cursor_open(txn, people.index, &search, 1, &cursor));
    OK(kiln_index_cursor_next(cursor, &id, &container, values, 3));
    CHECK_EQ(id, hopper);
    CHECK_EQ(container, people.container);
    CHECK_EQ(values[0].type, KILN_TEXT);
    CHECK_EQ(values[0].data.size, 6);
    CHECK_MEM(values[0].data.data, "Hopper", 6);
    CHECK_MEM(values[1].data.data, "Grace", 5);
    CHECK_EQ(values[2].type, 0);
    STATUS(kiln_index_cursor_next(cursor, &id, NULL, NULL, 0), FTK_NOTFOUND);
    STATUS(kiln_index_cursor_next(cursor, &id, NULL, NULL, 0), FTK_NOTFOUND);
    kiln_index_cursor_close(cursor);
    OK(kiln_index_cursor_open(txn, people.index, NULL, 0, &cursor));
    OK(kiln_index_cursor_next(cursor, &id, NULL, values, 2));
    CHECK_EQ(values[0].type, 0); /* no last name */
    CHECK_EQ(values[1].type, KILN_TEXT);
    kiln_index_cursor_close(cursor);
    search.type = 0; /* those without a last name */
    ids = index_ids(txn, people.index, &search, 1);
    CHECK_EQ(ids.count, 1);
    kiln_txn_abort(txn);
    records_close(db);
}

/* An index of one part of each type, ascending and descending. */
static void
every_type_is_ordered_both_ways(void)
{
    static const int64_t integers[] = {INT64_MIN, -1000, -1, 0, 7, 191, 192, INT64_MAX};
    static const double reals[] = {-INFINITY, -2.5, 0.0, 1e-300, 3.0, 1e300, INFINITY, NAN};
    static const char *const texts[] = {"", "\x01", "a", "a\x02", "aa", "b", "é", "漢"};
    static const struct {
        const char *name;
        kiln_type type;
    } fields[] = {{"int", KILN_INT},   {"double", KILN_DOUBLE}, {"text", KILN_TEXT},
                  {"bool", KILN_BOOL}, {"bytes", KILN_BYTES},   {"time", KILN_DATETIME}};
    kiln_db *db = records_open();
    kiln_txn *txn = records_begin(db, KILN_WRITE);
    kiln_index_options options = KILN_INDEX_OPTIONS_INIT;
    kiln_index_part part = {0};
    kiln_container container;
    kiln_field field[6];
    kiln_index index;
    kiln_record *record;
    struct ids ids;
    char name[16];

    OK(kiln_record_new(&record));
    OK(kiln_container_define(txn, "values", &container));
    for (int i = 0; i < 6; i++)
        OK(kiln_field_define(txn, fields[i].name, fields[i].type, &field[i]));
    for (uint64_t i = 0; i < 8; i++) {
        uint64_t id = i + 1;
        kiln_record_clear(record);
        OK(kiln_record_int(record, field[0], integers[i]));
        OK(kiln_record_double(record, field[1], reals[i]));
        OK(kiln_record_text(record, field[2], texts[i], strlen(texts[i])));
        OK(kiln_record_bool(record, field[3], i >= 4));
        OK(kiln_record_bytes(record, field[4], "\0\1\2\3\4\5\6\7", i));
        OK(kiln_record_datetime(record, field[5], integers[i]));
        OK(kiln_record_add(txn, container, record, &id));
    }
    options.container = container;
    options.parts = &part;
    options.part_count = 1;
    options.name = name;
    for (uint32_t i = 0; i < 12; i++) {
        snprintf(name, sizeof name, "index%u", i);
        part.field = field[i % 6];
        part.flags = i < 6 ? 0 : KILN_DESCENDING;
        OK(kiln_index_define(txn, &options, &index));
        ids = index_ids(txn, index, NULL, 0);
        REQUIRE_EQ(ids.count, 8);
        for (uint32_t k = 0; k < 8; k++) {
            if (part.field == field[3])
                CHECK_EQ(ids.id[k], i < 6 ? k + 1 : (k + 4) % 8 + 1);
            else
                CHECK_EQ(ids.id[k], i < 6 ? k + 1 : 8 - k);
        }
    }
    OK(kiln_txn_commit(txn));
    kiln_record_free(record);
    records_close(db);
}

static void
repeated_and_nested_values_give_each_combination(void)
{
    kiln_db *db = records_open();
    kiln_txn *txn = records_begin(db, KILN_WRITE);
    struct people people = people_define(txn);
    kiln_field address, city;
    kiln_index_options options = KILN_INDEX_OPTIONS_INIT;
    kiln_index_part parts[2] = {{.field = people.last}, {0}};
    kiln_index index;
    kiln_record *record;
    kiln_item search;
    uint64_t id = 0, count;

    OK(kiln_field_define(txn, "address", KILN_GROUP, &address));
    OK(kiln_field_define(txn, "city", KILN_TEXT, &city));
    parts[1].field = city;
    parts[1].path = &address;
    parts[1].path_count = 1;
    options.name = "by_city";
    options.container = people.container;
    options.parts = parts;
    options.part_count = 2;
    OK(kiln_index_define(txn, &options, &index));
    OK(kiln_record_new(&record));
    OK(kiln_record_text(record, people.last, "Curie", 5));
    OK(kiln_record_text(record, city, "not in an address", 17));
    for (int i = 0; i < 3; i++) {
        OK(kiln_record_group_begin(record, address));
        OK(kiln_record_text(record, city, i == 1 ? "Warsaw" : "Paris", i == 1 ? 6 : 5));
        OK(kiln_record_group_begin(record, address)); /* another path */
        OK(kiln_record_text(record, city, "deeper", 6));
        OK(kiln_record_group_end(record));
        OK(kiln_record_group_end(record));
    }
    OK(kiln_record_text(record, people.last, "Sklodowska", 10));
    OK(kiln_record_add(txn, people.container, record, &id));
    OK(kiln_index_count(txn, index, &count));
    CHECK_EQ(count, 4); /* 2 names, 2 different cities */
    search = text_item("Sklodowska");
    CHECK_EQ(index_ids(txn, index, &search, 1).count, 2);
    kiln_record_clear(record);
    OK(kiln_record_text(record, people.last, "Curie", 5));
    OK(kiln_record_update(txn, people.container, id, record));
    OK(kiln_index_count(txn, index, &count));
    CHECK_EQ(count, 1);
    OK(kiln_record_delete(txn, people.container, id));
    OK(kiln_index_count(txn, index, &count));
    CHECK_EQ(count, 0);
    OK(kiln_txn_commit(txn));
    kiln_record_free(record);
    records_close(db);
}

static void
unique_conflicts_are_found_at_flush_and_commit(void)
{
    kiln_db *db = records_open();
    kiln_txn *txn = records_begin(db, KILN_WRITE);
    struct people people = people_define(txn);
    kiln_field fields[2] = {people.last, people.first};
    kiln_index unique = index_on(txn, "unique", people.container, fields, 2, KILN_UNIQUE);
    uint64_t a = person_add(txn, &people, "Ada", "Lovelace", 1), b;
    kiln_record *record;
    uint64_t count;

    OK(kiln_record_new(&record));
    person_add(txn, &people, NULL, "Lovelace", 1); /* a missing part conflicts with none */
    person_add(txn, &people, NULL, "Lovelace", 2);
    OK(kiln_txn_commit(txn));

    txn = records_begin(db, KILN_WRITE); /* with the tree */
    person_add(txn, &people, "Ada", "Lovelace", 2);
    STATUS(kiln_records_flush(txn), FTK_EXISTS);
    OK(kiln_record_get(txn, people.container, a, record)); /* it may be mended yet */
    STATUS(kiln_txn_commit(txn), FTK_EXISTS);

    txn = records_begin(db, KILN_WRITE); /* inside the transaction, found by the commit */
    person_add(txn, &people, "Alan", "Turing", 2);
    person_add(txn, &people, "Alan", "Turing", 3);
    STATUS(kiln_txn_commit(txn), FTK_EXISTS);

    txn = records_begin(db, KILN_WRITE); /* a savepoint heals it */
    OK(kiln_savepoint(txn));
    person_add(txn, &people, "Ada", "Lovelace", 2);
    STATUS(kiln_records_flush(txn), FTK_EXISTS);
    OK(kiln_savepoint_rollback(txn));
    b = person_add(txn, &people, "Grace", "Hopper", 2);
    OK(kiln_records_flush(txn));
    person_fill(record, &people, "Grace", "Hopper", 1); /* exchange the names of two records */
    OK(kiln_record_update(txn, people.container, a, record));
    person_fill(record, &people, "Ada", "Lovelace", 1);
    OK(kiln_record_update(txn, people.container, b, record));
    OK(kiln_records_flush(txn));
    OK(kiln_record_delete(txn, people.container, a)); /* free it, and take it again */
    person_add(txn, &people, "Grace", "Hopper", 9);
    OK(kiln_txn_commit(txn));
    txn = records_begin(db, KILN_READ);
    OK(kiln_index_count(txn, unique, &count));
    CHECK_EQ(count, 4);
    kiln_txn_abort(txn);
    kiln_record_free(record);
    records_close(db);
}

static void
an_index_that_records_do_not_allow_is_not_made(void)
{
    kiln_db *db = records_open();
    kiln_txn *txn = records_begin(db, KILN_WRITE);
    struct people people = people_define(txn);
    kiln_index_options options = KILN_INDEX_OPTIONS_INIT;
    kiln_index_part part = {.field = people.last};
    kiln_index index;
    uint64_t count;

    person_add(txn, &people, "Marie", "Curie", 66);
    person_add(txn, &people, "Pierre", "Curie", 46);
    person_add(txn, &people, "Voltaire", NULL, 83);
    options.name = "unique_last";
    options.container = people.container;
    options.parts = &part;
    options.part_count = 1;
    options.flags = KILN_UNIQUE;
    STATUS(kiln_index_define(txn, &options, &index), FTK_EXISTS);
    CHECK_EQ(index, 0);
    options.flags = 0;
    part.flags = KILN_REQUIRED;
    STATUS(kiln_index_define(txn, &options, &index), FTK_CONSTRAINT);
    STATUS(kiln_index_find(txn, "unique_last", &index), FTK_NOTFOUND);
    part.flags = 0;
    OK(kiln_index_define(txn, &options, &index)); /* the transaction goes on */
    OK(kiln_index_count(txn, index, &count));
    CHECK_EQ(count, 2);
    OK(kiln_txn_commit(txn));
    records_close(db);
}

static void
required_fields_are_required(void)
{
    kiln_db *db = records_open();
    kiln_txn *txn = records_begin(db, KILN_WRITE);
    struct people people = people_define(txn);
    kiln_index_options options = KILN_INDEX_OPTIONS_INIT;
    kiln_index_part part = {.field = people.age, .flags = KILN_REQUIRED};
    kiln_index index;
    kiln_record *record;
    uint64_t id = 0, count;

    options.name = "age";
    options.container = people.container;
    options.parts = &part;
    options.part_count = 1;
    OK(kiln_index_define(txn, &options, &index));
    OK(kiln_record_new(&record));
    person_fill(record, &people, "Ada", "Lovelace", -1);
    STATUS(kiln_record_add(txn, people.container, record, &id), FTK_CONSTRAINT);
    CHECK_EQ(id, 0);
    person_fill(record, &people, "Ada", "Lovelace", 36);
    OK(kiln_record_add(txn, people.container, record, &id));
    person_fill(record, &people, "Ada", "Lovelace", -1);
    STATUS(kiln_record_update(txn, people.container, id, record), FTK_CONSTRAINT);
    OK(kiln_index_count(txn, people.index, &count));
    CHECK_EQ(count, 1);
    OK(kiln_txn_commit(txn));
    kiln_record_free(record);
    records_close(db);
}

/* Texts longer than a key holds, equal in what it holds. */
static void
long_texts_are_compared_in_their_records(void)
{
    kiln_db *db = records_open();
    kiln_txn *txn = records_begin(db, KILN_WRITE);
    struct people people = people_define(txn);
    kiln_index unique = index_on(txn, "unique", people.container, &people.last, 1, KILN_UNIQUE);
    static char a[3001], b[3001], c[1001];
    kiln_item search, value;
    kiln_index_cursor *cursor;
    uint64_t ids[3], id;
    struct ids found;

    memset(a, 'x', sizeof a - 1);
    memcpy(b, a, sizeof a);
    memcpy(c, a, sizeof c - 1);
    a[2999] = 'a';
    b[2999] = 'b';
    ids[0] = person_add(txn, &people, "1", b, 0);
    ids[1] = person_add(txn, &people, "2", a, 0);
    ids[2] = person_add(txn, &people, "3", c, 0);
    OK(kiln_records_flush(txn)); /* different as a whole */
    search = text_item(b);
    found = index_ids(txn, unique, &search, 1);
    CHECK_EQ(found.count, 1);
    CHECK_EQ(found.id[0], ids[0]);
    search = text_item(c);
    found = index_ids(txn, unique, &search, 1);
    CHECK_EQ(found.count, 1);
    CHECK_EQ(found.id[0], ids[2]);
    search = text_item(a);
    OK(kiln_index_cursor_open(txn, people.index, &search, 1, &cursor));
    OK(kiln_index_cursor_next(cursor, &id, NULL, &value, 1));
    CHECK_EQ(id, ids[1]);
    REQUIRE_EQ(value.data.size, 3000);
    CHECK_MEM(value.data.data, a, 3000);
    STATUS(kiln_index_cursor_next(cursor, &id, NULL, &value, 1), FTK_NOTFOUND);
    kiln_index_cursor_close(cursor);
    OK(kiln_savepoint(txn));
    person_add(txn, &people, "4", a, 0);
    STATUS(kiln_records_flush(txn), FTK_EXISTS);
    OK(kiln_savepoint_rollback(txn));
    OK(kiln_txn_commit(txn));
    records_close(db);
}

static void
an_index_over_all_containers_tells_which(void)
{
    kiln_db *db = records_open();
    kiln_txn *txn = records_begin(db, KILN_WRITE);
    struct people people = people_define(txn), other = people;
    kiln_index all = index_on(txn, "all", 0, &people.last, 1, 0);
    kiln_index_cursor *cursor;
    kiln_container container;
    uint64_t id;

    person_add(txn, &people, "Ada", "Lovelace", 36);
    OK(kiln_container_define(txn, "other", &other.container));
    person_add(txn, &other, "Augusta", "Lovelace", 36);
    OK(kiln_index_cursor_open(txn, all, NULL, 0, &cursor));
    OK(kiln_index_cursor_next(cursor, &id, &container, NULL, 0));
    CHECK_EQ(container, people.container);
    OK(kiln_index_cursor_next(cursor, &id, &container, NULL, 0));
    CHECK_EQ(container, other.container);
    CHECK_EQ(id, 1);
    kiln_index_cursor_close(cursor);
    OK(kiln_txn_commit(txn));
    records_close(db);
}

static void
a_cursor_goes_on_through_changes_and_rollback(void)
{
    kiln_db *db = records_open();
    kiln_txn *txn = records_begin(db, KILN_WRITE);
    struct people people = people_define(txn);
    kiln_index_cursor *cursor;
    kiln_record_cursor *records;
    kiln_record *record;
    uint64_t id;
    char last[8];

    OK(kiln_record_new(&record));
    for (int i = 0; i < 5; i++) {
        snprintf(last, sizeof last, "%c", 'a' + 2 * i);
        person_add(txn, &people, "x", last, i);
    }
    OK(kiln_index_cursor_open(txn, people.index, NULL, 0, &cursor));
    OK(kiln_record_cursor_open(txn, people.container, 1, &records));
    OK(kiln_index_cursor_next(cursor, &id, NULL, NULL, 0)); /* a */
    OK(kiln_record_cursor_next(records, &id, record));
    person_add(txn, &people, "x", "b", 9); /* id 6: just before c */
    OK(kiln_index_cursor_next(cursor, &id, NULL, NULL, 0));
    CHECK_EQ(id, 6);
    OK(kiln_savepoint(txn));
    OK(kiln_record_delete(txn, people.container, 6));
    OK(kiln_savepoint_rollback(txn));
    OK(kiln_index_cursor_next(cursor, &id, NULL, NULL, 0));
    CHECK_EQ(id, 2); /* c */
    OK(kiln_record_cursor_next(records, &id, record));
    CHECK_EQ(id, 2);
    for (int i = 3; i <= 6; i++)
        OK(kiln_record_cursor_next(records, &id, record));
    CHECK_EQ(id, 6);
    STATUS(kiln_record_cursor_next(records, &id, record), FTK_NOTFOUND);
    kiln_index_cursor_close(cursor);
    kiln_record_cursor_close(records);
    OK(kiln_txn_commit(txn));
    kiln_record_free(record);
    records_close(db);
}

static void
wrong_arguments_of_cursors_are_refused(void)
{
    kiln_db *db = records_open();
    kiln_txn *txn = records_begin(db, KILN_WRITE);
    struct people people = people_define(txn);
    kiln_index_cursor *cursor;
    kiln_item values[3] = {{0}};

    STATUS(kiln_index_cursor_open(txn, 99, NULL, 0, &cursor), FTK_NOTFOUND);
    STATUS(kiln_index_cursor_open(txn, people.index, NULL, 1, &cursor), FTK_INVALID);
    STATUS(kiln_index_cursor_open(txn, people.index, values, 3, &cursor), FTK_INVALID);
    values[0].type = KILN_INT;
    STATUS(kiln_index_cursor_open(txn, people.index, values, 1, &cursor), FTK_INVALID);
    values[0].type = KILN_TEXT;
    values[0].data.size = 1;
    STATUS(kiln_index_cursor_open(txn, people.index, values, 1, &cursor), FTK_INVALID);
    CHECK(cursor == NULL);
    STATUS(kiln_index_cursor_open(txn, people.index, NULL, 0, NULL), FTK_INVALID);
    STATUS(kiln_index_cursor_next(NULL, NULL, NULL, NULL, 0), FTK_INVALID);
    kiln_index_cursor_close(NULL);
    kiln_txn_abort(txn);
    records_close(db);
}

/* Of an entry whose text is in its record the record is read too: what fails there comes again. */
static void
an_entry_that_could_not_be_read_comes_again(void)
{
    enum { RECORDS = 400 };
    struct simdisk *disk = simdisk_new(NULL);
    kiln_db *db = engine_open(disk, KILN_CREATE);
    kiln_txn *txn = engine_begin(db, KILN_WRITE);
    struct people people = people_define(txn);
    kiln_index_cursor *cursor = NULL;
    kiln_status rc = KILN_OK;
    uint64_t id, given = 0, failed = 0;
    static char text[2001];

    memset(text, 'x', sizeof text - 1);
    for (unsigned i = 0; i < RECORDS; i++) {
        (void)snprintf(text + 4, 5, "%04u", i);
        text[8] = 'x';
        person_add(txn, &people, "1", text, 0);
    }
    OK(kiln_txn_commit(txn));
    db = engine_reopen(disk, db);
    txn = engine_begin(db, KILN_READ);
    OK(kiln_index_cursor_open(txn, people.index, NULL, 0, &cursor));
    while (rc == KILN_OK || rc == KILN_IO) {
        if (rc == KILN_OK)
            simdisk_fail(disk, SIMDISK_READ, 1, 1, EIO);
        rc = kiln_index_cursor_next(cursor, &id, NULL, NULL, 0);
        simdisk_fail_clear(disk);
        given += rc == KILN_OK;
        failed += rc == KILN_IO;
        if (rc == KILN_OK)
            CHECK_EQ(id, given);
    }
    STATUS(rc, KILN_NOTFOUND);
    CHECK_EQ(given, RECORDS);
    CHECK(failed > RECORDS / 4);
    kiln_index_cursor_close(cursor);
    kiln_txn_abort(txn);
    engine_end(disk, db);
}

TEST_MAIN("index_entries", TEST(entries_are_in_order_and_carry_values),
          TEST(every_type_is_ordered_both_ways),
          TEST(repeated_and_nested_values_give_each_combination),
          TEST(unique_conflicts_are_found_at_flush_and_commit),
          TEST(an_index_that_records_do_not_allow_is_not_made), TEST(required_fields_are_required),
          TEST(long_texts_are_compared_in_their_records),
          TEST(an_entry_that_could_not_be_read_comes_again),
          TEST(an_index_over_all_containers_tells_which),
          TEST(a_cursor_goes_on_through_changes_and_rollback),
          TEST(wrong_arguments_of_cursors_are_refused))
