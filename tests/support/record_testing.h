/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/record_testing.h -- what tests of records, dictionary and indexes share. */
#ifndef TESTS_SUPPORT_RECORDS_H
#define TESTS_SUPPORT_RECORDS_H

#include <string.h>

#include "engine/records/records_internal.h"
#include "kiln.h"
#include "tests/support/test.h"

/* kiln_status of the public functions in the checks of test.h. */
#define OK(call) REQUIRE_OK(call)
#define STATUS(call, status) CHECK_STATUS(call, status)

/* An empty database in the case's directory. */
static inline kiln_db *
records_open(void)
{
    kiln_options options = KILN_OPTIONS_INIT;
    kiln_db *db = NULL;

    options.flags = KILN_CREATE | KILN_NO_DIRECT_IO;
    options.durability = KILN_LAZY;
    OK(kiln_open(test_path("db"), &options, &db));
    return db;
}

static inline void
records_finding(void *context, const char *text)
{
    (void)context;
    CHECK_MSG(false, "kiln_check: %s", text);
}

/* The whole check, then close. */
static inline void
records_close(kiln_db *db)
{
    kiln_check_options options = KILN_CHECK_OPTIONS_INIT;

    options.finding = records_finding;
    OK(kiln_check(db, &options));
    OK(kiln_close(db));
}

static inline kiln_txn *
records_begin(kiln_db *db, uint32_t kind)
{
    kiln_txn *txn = NULL;

    OK(kiln_txn_begin(db, kind, &txn));
    return txn;
}

/* The usual fields, a container, and an index of people by last and first name. */
struct people {
    kiln_field first, last, age;
    kiln_container container;
    kiln_index index;
};

static inline kiln_index
index_on(kiln_txn *txn, const char *name, kiln_container container, const kiln_field *fields,
         uint32_t count, uint32_t flags)
{
    kiln_index_options options = KILN_INDEX_OPTIONS_INIT;
    kiln_index_part parts[KILN_INDEX_PARTS_MAX];
    kiln_index index;

    memset(parts, 0, sizeof parts);
    for (uint32_t i = 0; i < count; i++)
        parts[i].field = fields[i];
    options.name = name;
    options.container = container;
    options.parts = parts;
    options.part_count = count;
    options.flags = flags;
    OK(kiln_index_define(txn, &options, &index));
    return index;
}

static inline struct people
people_define(kiln_txn *txn)
{
    struct people people;

    OK(kiln_field_define(txn, "first", KILN_TEXT, &people.first));
    OK(kiln_field_define(txn, "last", KILN_TEXT, &people.last));
    OK(kiln_field_define(txn, "age", KILN_INT, &people.age));
    OK(kiln_container_define(txn, "people", &people.container));
    people.index =
        index_on(txn, "by_name", people.container, (kiln_field[]){people.last, people.first}, 2, 0);
    return people;
}

static inline void
person_fill(kiln_record *record, const struct people *people, const char *first, const char *last,
            int64_t age)
{
    kiln_record_clear(record);
    if (first != NULL)
        OK(kiln_record_text(record, people->first, first, strlen(first)));
    if (last != NULL)
        OK(kiln_record_text(record, people->last, last, strlen(last)));
    if (age >= 0)
        OK(kiln_record_int(record, people->age, age));
}

static inline uint64_t
person_add(kiln_txn *txn, const struct people *people, const char *first, const char *last,
           int64_t age)
{
    kiln_record *record;
    uint64_t id = 0;

    OK(kiln_record_new(&record));
    person_fill(record, people, first, last, age);
    OK(kiln_record_add(txn, people->container, record, &id));
    kiln_record_free(record);
    return id;
}

/* A value to search for. */
static inline kiln_item
text_item(const char *text)
{
    kiln_item item;

    memset(&item, 0, sizeof item);
    item.type = KILN_TEXT;
    item.data.data = text;
    item.data.size = strlen(text);
    return item;
}

/* Ids of the entries equal to the values, in order; at most 64. */
struct ids {
    uint64_t id[64];
    uint32_t count;
};
static inline struct ids
index_ids(kiln_txn *txn, kiln_index index, const kiln_item *values, uint32_t value_count)
{
    kiln_index_cursor *cursor;
    struct ids ids = {{0}, 0};
    kiln_status rc;
    uint64_t id;

    OK(kiln_index_cursor_open(txn, index, values, value_count, &cursor));
    while ((rc = kiln_index_cursor_next(cursor, &id, NULL, NULL, 0)) == KILN_OK) {
        REQUIRE(ids.count < 64);
        ids.id[ids.count++] = id;
    }
    REQUIRE_EQ(rc, KILN_NOTFOUND);
    kiln_index_cursor_close(cursor);
    return ids;
}

#endif
