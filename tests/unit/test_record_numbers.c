/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/test_record_numbers.c -- numbers of fields, containers and indexes, and ids of
 * records, are given once, whatever becomes of the transaction that took them.
 */
#include "engine/db/extension.h"
#include "engine/records/records_format.h"
#include "ftk/bytes.h"
#include "tests/support/record_testing.h"

static kiln_db *db;
static kiln_txn *txn;
static struct people people;

static void
begin(void)
{
    db = records_open();
    txn = records_begin(db, KILN_WRITE);
    people = people_define(txn);
    person_add(txn, &people, "Ada", "L", 36);
    OK(kiln_txn_commit(txn));
    txn = records_begin(db, KILN_WRITE);
}

static void
end(void)
{
    OK(kiln_txn_commit(txn));
    records_close(db);
}

static void
reopen(void)
{
    OK(kiln_txn_commit(txn));
    records_close(db);
    db = records_open();
    txn = records_begin(db, KILN_WRITE);
}

enum how { ABORT, ROLLBACK, ROLLBACK_OF_RELEASED, WAYS };

static void
scope_begin(enum how how)
{
    if (how != ABORT)
        OK(kiln_savepoint(txn));
    if (how == ROLLBACK_OF_RELEASED)
        OK(kiln_savepoint(txn));
}

static void
scope_end(enum how how)
{
    if (how == ABORT) {
        kiln_txn_abort(txn);
        txn = records_begin(db, KILN_WRITE);
        return;
    }
    if (how == ROLLBACK_OF_RELEASED)
        OK(kiln_savepoint_release(txn));
    OK(kiln_savepoint_rollback(txn));
}

static kiln_field
field_define(const char *name)
{
    kiln_field field = 0;

    OK(kiln_field_define(txn, name, KILN_INT, &field));
    return field;
}

static kiln_container
container_define(const char *name)
{
    kiln_container container = 0;

    OK(kiln_container_define(txn, name, &container));
    return container;
}

static void
field_that_was_never_committed_is_no_other_one(void)
{
    char name[16];
    kiln_record *record;
    kiln_field stale, field, found;
    kiln_type type;

    for (enum how how = ABORT; how < WAYS; how++) {
        begin();
        for (unsigned i = 0; i < 40; i++) { /* beyond the room for a few */
            scope_begin(how);
            stale = field_define("stale");
            scope_end(how);
            snprintf(name, sizeof name, "f%u_%u", how, i);
            field = field_define(name);
            CHECK_EQ(field, stale + 1);
            STATUS(kiln_field_name(txn, stale, name, sizeof name), FTK_NOTFOUND);
            STATUS(kiln_field_find(txn, "stale", &found, &type), FTK_NOTFOUND);
            if (how == ABORT) {
                OK(kiln_txn_commit(txn));
                txn = records_begin(db, KILN_WRITE);
            }
        }
        reopen();
        OK(kiln_record_new(&record));
        OK(kiln_record_int(record, stale, 1)); /* the record does not know the dictionary */
        uint64_t id = 0;
        CHECK(kiln_record_add(txn, people.container, record, &id) != KILN_OK);
        kiln_record_free(record);
        for (unsigned i = 0; i < 40; i++) {
            snprintf(name, sizeof name, "f%u_%u", how, i);
            OK(kiln_field_find(txn, name, &found, &type));
            CHECK_EQ(found, field - 2 * (39 - i));
            CHECK_EQ(type, KILN_INT);
        }
        kiln_index index = index_on(txn,
                                    how == 0   ? "by_0"
                                    : how == 1 ? "by_1"
                                               : "by_2",
                                    people.container, &field, 1, 0);
        CHECK(index > people.index);
        reopen();
        end();
    }
}

/* The header counts the gaps: a field's row that is missing is none. */
static void
a_gap_that_the_header_does_not_count_is_damage(void)
{
    enum { FIELD_GONE = 2, HEADER_KEY = DICT_KIND_HEADER };
    uint8_t key[5] = {HEADER_KEY};
    struct dict_header_row header;
    kiln_field field;
    kiln_slice value;
    kiln_coll coll;

    begin();
    OK(kiln_savepoint(txn));
    field_define("stale");
    OK(kiln_savepoint_rollback(txn));
    field_define("behind");
    reopen();
    for (int change = -1; change <= FIELD_GONE; change++) {
        OK(coll_open_internal(txn, DICT_COLLECTION, DICT_COLLECTION_BYTES, 0, &coll));
        dict_key_put(key, HEADER_KEY, 0);
        OK(kiln_get(txn, coll, key, 1, &value));
        REQUIRE_EQ(value.size, sizeof header);
        memcpy(&header, value.data, sizeof header);
        CHECK_EQ(ftk_get_le32(header.field_gaps), 1);
        ftk_put_le64(header.version, 1000 + (uint64_t)(change + 1)); /* one that was never kept */
        if (change == -1 || change == 1)
            ftk_put_le32(header.field_gaps, (uint32_t)(1 + change));
        OK(extension_put(txn, coll, (kiln_slice){key, 1}, (kiln_slice){&header, sizeof header}, 0));
        if (change == FIELD_GONE) {
            dict_key_put(key, DICT_KIND_FIELD, people.age);
            OK(extension_delete(txn, coll, (kiln_slice){key, sizeof key}));
        }
        STATUS(kiln_field_find(txn, "behind", &field, NULL), change == 0 ? FTK_OK : FTK_CORRUPT);
        kiln_txn_abort(txn);
        txn = records_begin(db, KILN_WRITE);
    }
    end();
}

static void
container_and_index_that_were_never_committed_are_no_others(void)
{
    for (enum how how = ABORT; how < WAYS; how++) {
        const char *other = how == 0 ? "other 0" : how == 1 ? "other 1" : "other 2";
        kiln_container stale, container;
        kiln_index stale_index, index;
        uint64_t id = 0, count;
        kiln_record *record;
        begin();
        scope_begin(how);
        stale = container_define("stale");
        stale_index = index_on(txn, "stale", people.container, &people.age, 1, 0);
        scope_end(how);
        container = container_define(other);
        index = index_on(txn, other, people.container, &people.age, 1, 0);
        CHECK_EQ(container, stale + 1);
        CHECK_EQ(index, stale_index + 1);
        OK(kiln_record_new(&record));
        STATUS(kiln_record_add(txn, stale, record, &id), FTK_NOTFOUND);
        kiln_record_free(record);
        STATUS(kiln_index_count(txn, stale_index, &count), FTK_NOTFOUND);
        OK(kiln_index_count(txn, index, &count));
        CHECK_EQ(count, how + 1);
        reopen();
        CHECK(container_define(how == 0 ? "third" : how == 1 ? "fourth" : "fifth") > container);
        end();
    }
}

static void
id_that_was_never_committed_is_no_other_record(void)
{
    for (enum how how = ABORT; how < WAYS; how++) {
        uint64_t stale, id;
        kiln_record *record;
        begin();
        scope_begin(how);
        person_add(txn, &people, "a", "stale", 1);
        stale = person_add(txn, &people, "b", "stale", 2);
        scope_end(how);
        id = person_add(txn, &people, "c", "other", 3);
        CHECK_EQ(id, stale + 1);
        OK(kiln_record_new(&record));
        STATUS(kiln_record_get(txn, people.container, stale, record), FTK_NOTFOUND);
        STATUS(kiln_record_delete(txn, people.container, stale), FTK_NOTFOUND);
        STATUS(kiln_record_update(txn, people.container, stale, record), FTK_NOTFOUND);
        kiln_record_free(record);
        OK(kiln_txn_commit(txn));
        txn = records_begin(db, KILN_WRITE);
        CHECK_EQ(person_add(txn, &people, "d", "other", 4), id + 1);
        reopen();
        CHECK(person_add(txn, &people, "e", "other", 5) > id + 1);
        end();
    }
}

/* Of many containers, each has its own ids; those that callers choose are theirs. */
static void
ids_in_vain_are_remembered_for_each_container(void)
{
    enum { MANY = 50 };
    kiln_container containers[MANY];
    uint64_t ids[MANY], id;
    kiln_record *record;
    char name[16];

    begin();
    OK(kiln_record_new(&record));
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(name, sizeof name, "c%u", i);
        containers[i] = container_define(name);
    }
    OK(kiln_txn_commit(txn));
    txn = records_begin(db, KILN_WRITE);
    for (unsigned i = 0; i < MANY; i++)
        for (unsigned k = 0; k <= i; k++) {
            ids[i] = 0;
            OK(kiln_record_add(txn, containers[i], record, &ids[i]));
        }
    id = UINT64_MAX; /* chosen by the caller, and in vain: it takes nothing with it */
    OK(kiln_record_add(txn, people.container, record, &id));
    kiln_txn_abort(txn);
    txn = records_begin(db, KILN_WRITE);
    for (unsigned i = 0; i < MANY; i++) {
        id = 0;
        OK(kiln_record_add(txn, containers[i], record, &id));
        CHECK_EQ(id, ids[i] + 1);
    }
    id = 0;
    OK(kiln_record_add(txn, people.container, record, &id));
    CHECK_EQ(id, 2);
    kiln_record_free(record);
    end();
}

TEST_MAIN("record_numbers", TEST(field_that_was_never_committed_is_no_other_one),
          TEST(a_gap_that_the_header_does_not_count_is_damage),
          TEST(container_and_index_that_were_never_committed_are_no_others),
          TEST(id_that_was_never_committed_is_no_other_record),
          TEST(ids_in_vain_are_remembered_for_each_container))
