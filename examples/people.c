/* SPDX-License-Identifier: Apache-2.0 */
/* examples/people.c -- records: fields, groups, repeated fields, indexes, a search by an index. */
#include <kiln.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct schema {
    kiln_field name, born, mail, address, city;
    kiln_container people;
    kiln_index by_name, by_mail, by_city;
};

static void
must(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "people: %s: %s\n", what, kiln_error_last()->text);
        exit(1);
    }
}

/* Defining again what is there already gives the same numbers. */
static void
define_schema(kiln_txn *txn, struct schema *s)
{
    kiln_index_options index = KILN_INDEX_OPTIONS_INIT;

    must(kiln_field_define(txn, "name", KILN_TEXT, &s->name) == KILN_OK, "field");
    must(kiln_field_define(txn, "born", KILN_INT, &s->born) == KILN_OK, "field");
    must(kiln_field_define(txn, "mail", KILN_TEXT, &s->mail) == KILN_OK, "field");
    must(kiln_field_define(txn, "address", KILN_GROUP, &s->address) == KILN_OK, "field");
    must(kiln_field_define(txn, "city", KILN_TEXT, &s->city) == KILN_OK, "field");
    must(kiln_container_define(txn, "people", &s->people) == KILN_OK, "container");

    kiln_index_part by_name[] = {{.field = s->name, .flags = KILN_REQUIRED},
                                 {.field = s->born, .flags = KILN_DESCENDING}};
    index.name = "by name";
    index.container = s->people;
    index.parts = by_name;
    index.part_count = 2;
    must(kiln_index_define(txn, &index, &s->by_name) == KILN_OK, "index by name");

    kiln_index_part by_mail[] = {{.field = s->mail}};
    index.name = "by mail";
    index.parts = by_mail;
    index.part_count = 1;
    index.flags = KILN_UNIQUE;
    must(kiln_index_define(txn, &index, &s->by_mail) == KILN_OK, "index by mail");

    kiln_index_part by_city[] = {{.field = s->city, .path = &s->address, .path_count = 1}};
    index.name = "by city";
    index.parts = by_city;
    index.flags = 0;
    must(kiln_index_define(txn, &index, &s->by_city) == KILN_OK, "index by city");
}

static void
text(kiln_record *record, kiln_field field, const char *value)
{
    must(kiln_record_text(record, field, value, strlen(value)) == KILN_OK, "text");
}

struct person {
    const char *name, *mail, *city;
    int born;
};

static kiln_status
add_person(kiln_txn *txn, const struct schema *s, const struct person *person, uint64_t *id)
{
    kiln_record *record;
    kiln_status status;

    must(kiln_record_new(&record) == KILN_OK, "record");
    text(record, s->name, person->name);
    must(kiln_record_int(record, s->born, person->born) == KILN_OK, "int");
    text(record, s->mail, person->mail);
    must(kiln_record_group_begin(record, s->address) == KILN_OK, "group");
    text(record, s->city, person->city);
    must(kiln_record_group_end(record) == KILN_OK, "group end");
    *id = 0; /* kiln chooses */
    status = kiln_record_add(txn, s->people, record, id);
    kiln_record_free(record);
    return status;
}

/* Print who lives in a city, in order of the index; returns how many. */
static int
search_city(kiln_txn *txn, const struct schema *s, const char *city)
{
    kiln_item wanted = {.type = KILN_TEXT, .data = {city, strlen(city)}}, name;
    kiln_index_cursor *cursor;
    kiln_container container;
    kiln_record *record;
    kiln_status status;
    uint64_t id;
    int count = 0;

    must(kiln_record_new(&record) == KILN_OK, "record");
    must(kiln_index_cursor_open(txn, s->by_city, &wanted, 1, &cursor) == KILN_OK, "index cursor");
    while ((status = kiln_index_cursor_next(cursor, &id, &container, NULL, 0)) == KILN_OK) {
        must(kiln_record_get(txn, container, id, record) == KILN_OK, "record of the entry");
        must(kiln_record_find(record, s->name, 0, &name) == KILN_OK, "name");
        printf("%s: %.*s\n", city, (int)name.data.size, (const char *)name.data.data);
        count++;
    }
    must(status == KILN_NOTFOUND, "search");
    kiln_index_cursor_close(cursor);
    kiln_record_free(record);
    return count;
}

/* A mail address that is taken is noticed when the index changes are applied. */
static void
add_twin(kiln_txn *txn, const struct schema *s)
{
    static const struct person twin = {"Twin", "ann@example.org", "Bergen", 1990};
    uint64_t id, count;

    must(kiln_savepoint(txn) == KILN_OK, "savepoint");
    must(add_person(txn, s, &twin, &id) == KILN_OK, "add");
    must(kiln_records_flush(txn) == KILN_EXISTS, "the second owner of an address is refused");
    must(kiln_savepoint_rollback(txn) == KILN_OK, "rollback");
    must(kiln_container_count(txn, s->people, &count) == KILN_OK && count == 3, "three people");
}

/* Ann moves, and has two addresses from now on. */
static void
move_ann(kiln_txn *txn, const struct schema *s, uint64_t ann)
{
    kiln_record *record;

    must(kiln_record_new(&record) == KILN_OK, "record");
    must(kiln_record_get(txn, s->people, ann, record) == KILN_OK, "get");
    must(kiln_record_group_begin(record, s->address) == KILN_OK, "group");
    text(record, s->city, "Oslo");
    must(kiln_record_group_end(record) == KILN_OK, "group end");
    must(kiln_record_update(txn, s->people, ann, record) == KILN_OK, "update");
    kiln_record_free(record);
}

int
main(void)
{
    kiln_options options = KILN_OPTIONS_INIT;
    struct schema s;
    static const struct person people[] = {{"Ann", "ann@example.org", "Bergen", 1961},
                                           {"Bob", "bob@example.org", "Oslo", 1975},
                                           {"Cyd", "cyd@example.org", "Bergen", 1980}};
    uint64_t ids[3], count;
    kiln_container old;
    kiln_db *db;
    kiln_txn *txn;

    options.flags = KILN_CREATE;
    must(kiln_open("people.db", &options, &db) == KILN_OK, "open");
    must(kiln_txn_begin(db, KILN_WRITE, &txn) == KILN_OK, "begin");
    if (kiln_container_find(txn, "people", &old) == KILN_OK) /* of an earlier run */
        must(kiln_container_drop(txn, old) == KILN_OK, "drop");
    define_schema(txn, &s);
    for (int i = 0; i < 3; i++)
        must(add_person(txn, &s, &people[i], &ids[i]) == KILN_OK, "add");
    must(search_city(txn, &s, "Bergen") == 2, "two in Bergen");
    add_twin(txn, &s);
    move_ann(txn, &s, ids[0]);
    must(search_city(txn, &s, "Oslo") == 2, "two in Oslo");
    must(kiln_record_delete(txn, s.people, ids[1]) == KILN_OK, "delete");
    must(search_city(txn, &s, "Oslo") == 1, "one in Oslo");
    must(kiln_index_count(txn, s.by_city, &count) == KILN_OK && count == 3, "three entries");
    must(kiln_txn_commit(txn) == KILN_OK, "commit");
    must(kiln_check(db, NULL) == KILN_OK, "check");
    must(kiln_close(db) == KILN_OK, "close");
    return 0;
}
