/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_dict_define.c -- fields, containers and indexes in the dictionary. */
#include <stdio.h>
#include <time.h>

#include "tests/support/record_testing.h"

static void
fields_keep_number_and_type(void)
{
    kiln_db *db = records_open();
    kiln_txn *txn = records_begin(db, KILN_WRITE);
    kiln_field a, b, again;
    kiln_type type;
    char name[8];

    OK(kiln_field_define(txn, "name", KILN_TEXT, &a));
    OK(kiln_field_define(txn, "größe", KILN_INT, &b));
    CHECK(a != b && a != 0 && b != 0);
    OK(kiln_field_define(txn, "name", KILN_TEXT, &again));
    CHECK_EQ(again, a);
    STATUS(kiln_field_define(txn, "name", KILN_INT, &again), FTK_EXISTS);
    CHECK_EQ(again, 0);
    OK(kiln_txn_commit(txn));

    txn = records_begin(db, KILN_READ);
    OK(kiln_field_find(txn, "größe", &again, &type));
    CHECK_EQ(again, b);
    CHECK_EQ(type, KILN_INT);
    OK(kiln_field_name(txn, a, name, sizeof name));
    CHECK_STR(name, "name");
    STATUS(kiln_field_name(txn, a, name, 4), FTK_TRUNCATED);
    STATUS(kiln_field_name(txn, 99, name, sizeof name), FTK_NOTFOUND);
    STATUS(kiln_field_name(txn, 0, name, sizeof name), FTK_NOTFOUND);
    STATUS(kiln_field_find(txn, "nothing", &again, NULL), FTK_NOTFOUND);
    STATUS(kiln_field_define(txn, "new", KILN_INT, &again), FTK_READONLY);
    kiln_txn_abort(txn);
    records_close(db);
}

static void
bad_names_and_types_are_refused(void)
{
    static const char *const names[] = {"", "a\tb", "\x7f", "\xff", "caf\xc3"};
    kiln_db *db = records_open();
    kiln_txn *txn = records_begin(db, KILN_WRITE);
    char text[KILN_NAME_MAX + 2];
    uint32_t number;

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        STATUS(kiln_field_define(txn, names[i], KILN_TEXT, &number), FTK_INVALID);
        STATUS(kiln_container_define(txn, names[i], &number), FTK_INVALID);
    }
    STATUS(kiln_field_define(txn, NULL, KILN_TEXT, &number), FTK_INVALID);
    STATUS(kiln_field_define(txn, "x", KILN_TEXT, NULL), FTK_INVALID);
    STATUS(kiln_field_define(txn, "x", (kiln_type)0, &number), FTK_INVALID);
    STATUS(kiln_field_define(txn, "x", (kiln_type)8, &number), FTK_INVALID);
    STATUS(kiln_field_define(NULL, "x", KILN_TEXT, &number), FTK_INVALID);
    memset(text, 'x', sizeof text);
    text[KILN_NAME_MAX + 1] = '\0';
    STATUS(kiln_field_define(txn, text, KILN_TEXT, &number), FTK_INVALID);
    text[KILN_NAME_MAX] = '\0';
    OK(kiln_field_define(txn, text, KILN_TEXT, &number));
    OK(kiln_container_define(txn, text, &number));
    OK(kiln_txn_commit(txn));
    records_close(db);
}

static void
a_snapshot_keeps_its_dictionary(void)
{
    kiln_db *db = records_open();
    kiln_txn *empty = records_begin(db, KILN_READ);
    kiln_txn *txn = records_begin(db, KILN_WRITE);
    kiln_txn *before;
    kiln_field field;

    OK(kiln_field_define(txn, "one", KILN_TEXT, &field));
    OK(kiln_txn_commit(txn));
    before = records_begin(db, KILN_READ);
    OK(kiln_field_find(before, "one", &field, NULL));
    txn = records_begin(db, KILN_WRITE);
    OK(kiln_field_define(txn, "two", KILN_TEXT, &field));
    STATUS(kiln_field_find(before, "two", &field, NULL), FTK_NOTFOUND);
    OK(kiln_txn_commit(txn));
    STATUS(kiln_field_find(before, "two", &field, NULL), FTK_NOTFOUND);
    STATUS(kiln_field_find(empty, "one", &field, NULL), FTK_NOTFOUND);
    kiln_txn_abort(before);
    kiln_txn_abort(empty);
    txn = records_begin(db, KILN_READ);
    OK(kiln_field_find(txn, "two", &field, NULL));
    kiln_txn_abort(txn);
    records_close(db);
}

static void
aborted_and_rolled_back_definitions_are_gone(void)
{
    kiln_db *db = records_open();
    kiln_txn *txn = records_begin(db, KILN_WRITE);
    kiln_field one, two, again;
    kiln_container container;

    OK(kiln_field_define(txn, "one", KILN_TEXT, &one));
    kiln_txn_abort(txn);
    txn = records_begin(db, KILN_WRITE);
    STATUS(kiln_field_find(txn, "one", &one, NULL), FTK_NOTFOUND);
    OK(kiln_savepoint(txn));
    OK(kiln_field_define(txn, "one", KILN_TEXT, &one));
    OK(kiln_container_define(txn, "c", &container));
    OK(kiln_savepoint_rollback(txn));
    STATUS(kiln_field_find(txn, "one", &again, NULL), FTK_NOTFOUND);
    OK(kiln_field_define(txn, "one", KILN_INT, &one));
    OK(kiln_savepoint(txn));
    OK(kiln_field_define(txn, "two", KILN_INT, &two));
    OK(kiln_savepoint_release(txn));
    OK(kiln_txn_commit(txn));
    txn = records_begin(db, KILN_READ);
    OK(kiln_field_find(txn, "one", &again, NULL));
    OK(kiln_field_find(txn, "two", &again, NULL));
    CHECK_EQ(again, two);
    STATUS(kiln_container_find(txn, "c", &container), FTK_NOTFOUND);
    kiln_txn_abort(txn);
    records_close(db);
}

static void
many_fields_in_one_and_in_many_transactions(void)
{
    kiln_db *db = records_open();
    kiln_txn *txn = records_begin(db, KILN_WRITE);
    char name[32];
    kiln_field field;

    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "field-%d", i);
        OK(kiln_field_define(txn, name, i % 2 ? KILN_INT : KILN_TEXT, &field));
        CHECK_EQ(field, i + 1);
        if (i % 100 == 99) {
            OK(kiln_txn_commit(txn));
            txn = records_begin(db, KILN_WRITE);
        }
    }
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "field-%d", i);
        OK(kiln_field_find(txn, name, &field, NULL));
        REQUIRE_EQ(field, i + 1);
    }
    kiln_txn_abort(txn);
    records_close(db);
}

static void
dropped_containers_take_their_records_and_indexes(void)
{
    kiln_db *db = records_open();
    kiln_txn *txn = records_begin(db, KILN_WRITE);
    struct people people = people_define(txn);
    kiln_container other, again;
    kiln_index all, found;
    kiln_record *record;
    uint64_t count, id = 0;

    OK(kiln_container_define(txn, "other", &other));
    all = index_on(txn, "all_by_last", 0, &people.last, 1, 0);
    person_add(txn, &people, "Ada", "Lovelace", 36);
    OK(kiln_record_new(&record));
    person_fill(record, &people, "Alan", "Turing", 41);
    OK(kiln_record_add(txn, other, record, &id));
    OK(kiln_index_count(txn, all, &count));
    CHECK_EQ(count, 2);
    OK(kiln_container_drop(txn, people.container));
    OK(kiln_index_count(txn, all, &count));
    CHECK_EQ(count, 1);
    STATUS(kiln_index_find(txn, "by_name", &found), FTK_NOTFOUND);
    STATUS(kiln_index_count(txn, people.index, &count), FTK_NOTFOUND);
    STATUS(kiln_record_get(txn, people.container, 1, record), FTK_NOTFOUND);
    STATUS(kiln_container_drop(txn, people.container), FTK_NOTFOUND);
    OK(kiln_container_define(txn, "people", &again));
    CHECK(again != people.container); /* numbers are not given out twice */
    OK(kiln_txn_commit(txn));
    kiln_record_free(record);
    records_close(db);
}

static void
indexes_are_defined_once_with_one_meaning(void)
{
    kiln_db *db = records_open();
    kiln_txn *txn = records_begin(db, KILN_WRITE);
    struct people people = people_define(txn);
    kiln_field fields[2] = {people.last, people.first};
    kiln_index_options options = KILN_INDEX_OPTIONS_INIT;
    kiln_index_part parts[2] = {{.field = people.last}, {.field = people.first}};
    kiln_field group;
    kiln_index index;
    _Alignas(kiln_index_options) uint8_t longer[sizeof options + 64] = {0};

    CHECK_EQ(index_on(txn, "by_name", people.container, fields, 2, 0), people.index);
    options.name = "by_name";
    options.container = people.container;
    options.parts = parts;
    options.part_count = 1;
    STATUS(kiln_index_define(txn, &options, &index), FTK_EXISTS);
    options.part_count = 2;
    options.flags = KILN_UNIQUE;
    STATUS(kiln_index_define(txn, &options, &index), FTK_EXISTS);
    options.name = "another";
    options.flags = 64;
    STATUS(kiln_index_define(txn, &options, &index), FTK_INVALID);
    options.flags = 0;
    options.part_count = 0;
    STATUS(kiln_index_define(txn, &options, &index), FTK_INVALID);
    options.part_count = KILN_INDEX_PARTS_MAX + 1;
    STATUS(kiln_index_define(txn, &options, &index), FTK_INVALID);
    options.part_count = 1;
    parts[0].flags = 128;
    STATUS(kiln_index_define(txn, &options, &index), FTK_INVALID);
    parts[0].flags = 0;
    parts[0].field = 77;
    STATUS(kiln_index_define(txn, &options, &index), FTK_NOTFOUND);
    OK(kiln_field_define(txn, "group", KILN_GROUP, &group));
    parts[0].field = group;
    STATUS(kiln_index_define(txn, &options, &index), FTK_INVALID);
    parts[0].field = people.last;
    parts[0].path = &people.first;
    parts[0].path_count = 1;
    STATUS(kiln_index_define(txn, &options, &index), FTK_INVALID);
    parts[0].path_count = 0;
    options.container = 55;
    STATUS(kiln_index_define(txn, &options, &index), FTK_NOTFOUND);
    options.size = 3;
    STATUS(kiln_index_define(txn, &options, &index), FTK_INVALID);
    STATUS(kiln_index_define(txn, NULL, &index), FTK_INVALID);
    options.container = people.container; /* of a program with a later header */
    options.size = sizeof options + 64;
    memcpy(longer, &options, sizeof options);
    OK(kiln_index_define(txn, (const kiln_index_options *)(const void *)longer, &index));
    OK(kiln_index_drop(txn, index));
    parts[0].field = people.last;
    options.size = offsetof(kiln_index_options, flags); /* and with an earlier one */
    OK(kiln_index_define(txn, &options, &index));
    OK(kiln_index_drop(txn, people.index));
    STATUS(kiln_index_drop(txn, people.index), FTK_NOTFOUND);
    STATUS(kiln_index_find(txn, "by_name", &index), FTK_NOTFOUND);
    OK(kiln_txn_commit(txn));
    records_close(db);
}

#ifdef KILN_DEBUG /* which checks the whole dictionary after each definition */
enum { MANY = 200, INDEXES = 20 };
#else
enum { MANY = 20000, INDEXES = 1000 };
#endif

/* Neither a definition nor a transaction looks at the containers that it does not use: with a look
 * at each this took minutes. */
static void
a_container_costs_the_same_beside_many_others(void)
{
    kiln_db *db = records_open();
    kiln_txn *txn = records_begin(db, KILN_WRITE);
    kiln_container container = 0, first = 0;
    kiln_field field;
    kiln_record *record;
    uint64_t id, count;
    char name[24];
    double allowed = (double)clock() / CLOCKS_PER_SEC + 5;

    OK(kiln_field_define(txn, "n", KILN_INT, &field));
    OK(kiln_record_new(&record));
    OK(kiln_record_int(record, field, 1));
    for (unsigned i = 0; i < MANY; i++) {
        (void)snprintf(name, sizeof name, "container %u", i);
        OK(kiln_container_define(txn, name, &container));
        first = i == 0 ? container : first;
        if (i < INDEXES)
            index_on(txn, name, container, &field, 1, 0);
    }
    OK(kiln_txn_commit(txn));
    for (unsigned i = 0; i < MANY; i++) { /* each in turn: what is known of the others stays idle */
        txn = records_begin(db, KILN_WRITE);
        id = 0;
        OK(kiln_record_add(txn, first + i, record, &id));
        CHECK_EQ(id, 1);
        OK(kiln_txn_commit(txn));
        txn = records_begin(db, KILN_READ);
        OK(kiln_record_get(txn, first + i / 2, 1, record));
        kiln_txn_abort(txn);
    }
    CHECK((double)clock() / CLOCKS_PER_SEC < allowed);
    txn = records_begin(db, KILN_WRITE);
    for (unsigned i = 0; i < MANY; i += 50) { /* many in one transaction */
        id = 0;
        OK(kiln_record_add(txn, first + MANY - 1 - i, record, &id));
        CHECK_EQ(id, 2);
    }
    OK(kiln_savepoint(txn));
    OK(kiln_record_delete(txn, first, 1));
    OK(kiln_savepoint_rollback(txn));
    for (unsigned i = 0; i < MANY; i++) {
        OK(kiln_container_count(txn, first + i, &count));
        CHECK_EQ(count, (MANY - 1 - i) % 50 == 0 ? 2 : 1);
    }
    OK(kiln_txn_commit(txn));
    kiln_record_free(record);
    records_close(db);
}

TEST_MAIN("dict_define", TEST(fields_keep_number_and_type), TEST(bad_names_and_types_are_refused),
          TEST(a_snapshot_keeps_its_dictionary), TEST(aborted_and_rolled_back_definitions_are_gone),
          TEST(many_fields_in_one_and_in_many_transactions),
          TEST(a_container_costs_the_same_beside_many_others),
          TEST(dropped_containers_take_their_records_and_indexes),
          TEST(indexes_are_defined_once_with_one_meaning))
