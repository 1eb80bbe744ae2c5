/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_record_store.c -- add, update, delete, get; against a model; faults; the
 * check. */
#include <stdio.h>
#include <stdlib.h>

#include "engine/db/txn.h"
#include "tests/support/record_testing.h"

static void
ids_are_never_given_out_twice(void)
{
    kiln_db *db = records_open();
    kiln_txn *txn = records_begin(db, KILN_WRITE);
    struct people people = people_define(txn);
    uint64_t id, count;

    for (uint64_t i = 1; i <= 3; i++)
        CHECK_EQ(person_add(txn, &people, "a", "b", 1), i);
    OK(kiln_record_delete(txn, people.container, 3)); /* the last one, gathered still */
    CHECK_EQ(person_add(txn, &people, "a", "b", 1), 4);
    OK(kiln_txn_commit(txn));
    txn = records_begin(db, KILN_WRITE);
    OK(kiln_record_delete(txn, people.container, 4));
    OK(kiln_record_delete(txn, people.container, 2));
    OK(kiln_record_delete(txn, people.container, 1));
    OK(kiln_txn_commit(txn));
    txn = records_begin(db, KILN_WRITE);
    OK(kiln_container_count(txn, people.container, &count));
    CHECK_EQ(count, 0);
    CHECK_EQ(person_add(txn, &people, "a", "b", 1), 5);
    OK(kiln_savepoint(txn));
    CHECK_EQ(person_add(txn, &people, "a", "b", 1), 6);
    OK(kiln_savepoint_rollback(txn));
    CHECK_EQ(person_add(txn, &people, "a", "b", 1), 7);
    OK(kiln_container_count(txn, people.container, &count));
    CHECK_EQ(count, 2);
    OK(kiln_txn_commit(txn));
    txn = records_begin(db, KILN_WRITE);
    CHECK_EQ(id = person_add(txn, &people, "a", "b", 1), 8);
    kiln_txn_abort(txn);
    records_close(db);
}

static void
chosen_ids_are_kept_and_may_be_anywhere(void)
{
    kiln_db *db = records_open();
    kiln_txn *txn = records_begin(db, KILN_WRITE);
    struct people people = people_define(txn);
    kiln_record *record;
    uint64_t id = 1000, next;

    OK(kiln_record_new(&record));
    person_fill(record, &people, "Ada", "Lovelace", 36);
    OK(kiln_record_add(txn, people.container, record, &id));
    STATUS(kiln_record_add(txn, people.container, record, &id), FTK_EXISTS); /* gathered */
    id = 5;
    OK(kiln_record_add(txn, people.container, record, &id));
    STATUS(kiln_record_add(txn, people.container, record, &id), FTK_EXISTS); /* in the tree */
    CHECK_EQ(person_add(txn, &people, "a", "b", 1), 1001);
    id = UINT64_MAX;
    OK(kiln_record_add(txn, people.container, record, &id));
    next = 0;
    STATUS(kiln_record_add(txn, people.container, record, &next), FTK_NOSPACE);
    OK(kiln_record_get(txn, people.container, UINT64_MAX, record));
    CHECK_EQ(index_ids(txn, people.index, NULL, 0).count, 4);
    OK(kiln_txn_commit(txn));
    kiln_record_free(record);
    records_close(db);
}

static void
wrong_records_are_refused_and_leave_nothing(void)
{
    kiln_db *db = records_open();
    kiln_txn *txn = records_begin(db, KILN_WRITE);
    struct people people = people_define(txn);
    kiln_field group;
    kiln_record *record;
    uint64_t id = 0, count;

    OK(kiln_field_define(txn, "group", KILN_GROUP, &group));
    OK(kiln_record_new(&record));
    OK(kiln_record_int(record, people.last, 5));
    STATUS(kiln_record_add(txn, people.container, record, &id), FTK_CONSTRAINT);
    CHECK_HAS(ftk_error_last()->text, "of type text, the record has int");
    kiln_record_clear(record);
    OK(kiln_record_text(record, people.last, "x", 1));
    OK(kiln_record_int(record, 4711, 5));
    STATUS(kiln_record_add(txn, people.container, record, &id), FTK_CONSTRAINT);
    CHECK_HAS(ftk_error_last()->text, "4711 is not in the dictionary");
    kiln_record_clear(record);
    OK(kiln_record_group_begin(record, group));
    STATUS(kiln_record_add(txn, people.container, record, &id), FTK_STATE);
    OK(kiln_record_group_end(record));
    STATUS(kiln_record_add(txn, 99, record, &id), FTK_NOTFOUND);
    STATUS(kiln_record_add(txn, people.container, NULL, &id), FTK_INVALID);
    STATUS(kiln_record_add(NULL, people.container, record, &id), FTK_INVALID);
    STATUS(kiln_record_update(txn, people.container, 1, record), FTK_NOTFOUND);
    STATUS(kiln_record_update(txn, people.container, 0, record), FTK_NOTFOUND);
    STATUS(kiln_record_delete(txn, people.container, 1), FTK_NOTFOUND);
    STATUS(kiln_record_get(txn, people.container, 0, record), FTK_NOTFOUND);
    STATUS(kiln_record_get(txn, people.container, 1, NULL), FTK_INVALID);
    CHECK_EQ(id, 0);
    OK(kiln_container_count(txn, people.container, &count));
    CHECK_EQ(count, 0);
    OK(kiln_index_count(txn, people.index, &count));
    CHECK_EQ(count, 0);
    OK(kiln_txn_commit(txn));
    txn = records_begin(db, KILN_READ);
    kiln_record_clear(record);
    STATUS(kiln_record_add(txn, people.container, record, &id), FTK_READONLY);
    STATUS(kiln_record_update(txn, people.container, 1, record), FTK_READONLY);
    STATUS(kiln_record_delete(txn, people.container, 1), FTK_READONLY);
    STATUS(kiln_container_drop(txn, people.container), FTK_READONLY);
    kiln_txn_abort(txn);
    kiln_record_free(record);
    records_close(db);
}

static void
large_and_empty_records_come_back(void)
{
    enum { LARGE = 3 << 20 };
    kiln_db *db = records_open();
    kiln_txn *txn = records_begin(db, KILN_WRITE);
    struct people people = people_define(txn);
    char *text = malloc(LARGE);
    kiln_record *record;
    kiln_field note;
    kiln_item item;
    uint64_t id;

    REQUIRE(text != NULL);
    memset(text, 'x', LARGE);
    OK(kiln_field_define(txn, "note", KILN_TEXT, &note));
    OK(kiln_record_new(&record));
    for (uint64_t i = 1; i <= 6; i++) {
        kiln_record_clear(record);
        if (i % 2 == 0)
            OK(kiln_record_text(record, note, text, (size_t)LARGE >> (6 - i)));
        id = 0;
        OK(kiln_record_add(txn, people.container, record, &id));
        CHECK_EQ(id, i);
    }
    OK(kiln_txn_commit(txn));
    txn = records_begin(db, KILN_READ);
    for (uint64_t i = 1; i <= 6; i++) {
        OK(kiln_record_get(txn, people.container, i, record));
        if (i % 2 == 1) {
            CHECK_EQ(kiln_record_find(record, note, 0, &item), KILN_NOTFOUND);
        } else {
            OK(kiln_record_find(record, note, 0, &item));
            REQUIRE_EQ(item.data.size, LARGE >> (6 - i));
            CHECK_MEM(item.data.data, text, item.data.size);
        }
    }
    kiln_txn_abort(txn);
    kiln_record_free(record);
    free(text);
    records_close(db);
}

static void
everything_is_there_after_reopening(void)
{
    kiln_db *db = records_open();
    kiln_txn *txn = records_begin(db, KILN_WRITE);
    struct people people = people_define(txn), again;
    kiln_item search = text_item("Hopper");
    uint64_t id;

    person_add(txn, &people, "Ada", "Lovelace", 36);
    id = person_add(txn, &people, "Grace", "Hopper", 85);
    OK(kiln_txn_commit(txn));
    records_close(db);
    db = records_open();
    txn = records_begin(db, KILN_WRITE);
    again = people_define(txn); /* with the same meaning: finds them */
    CHECK_MEM(&again, &people, sizeof people);
    CHECK_EQ(index_ids(txn, people.index, &search, 1).id[0], id);
    CHECK_EQ(person_add(txn, &people, "Alan", "Turing", 41), id + 1);
    OK(kiln_txn_commit(txn));
    records_close(db);
}

static void
a_renewed_reader_sees_the_newest(void)
{
    kiln_db *db = records_open();
    kiln_txn *txn = records_begin(db, KILN_WRITE);
    struct people people = people_define(txn);
    kiln_txn *reader;
    kiln_field field;
    uint64_t count;

    OK(kiln_txn_commit(txn));
    reader = records_begin(db, KILN_READ);
    OK(kiln_container_count(reader, people.container, &count));
    txn = records_begin(db, KILN_WRITE);
    OK(kiln_field_define(txn, "new", KILN_BOOL, &field));
    person_add(txn, &people, "Ada", "Lovelace", 36);
    OK(kiln_txn_commit(txn));
    STATUS(kiln_field_find(reader, "new", &field, NULL), FTK_NOTFOUND);
    OK(kiln_txn_renew(reader));
    OK(kiln_field_find(reader, "new", &field, NULL));
    OK(kiln_container_count(reader, people.container, &count));
    CHECK_EQ(count, 1);
    kiln_txn_abort(reader);
    records_close(db);
}

/* ---- a model --------------------------------------------------------------------------------- */

enum { IDS = 400, NAMES = 12 };

struct model {
    struct {
        bool there;
        int first, last, age; /* -1: no such field */
    } people[IDS + 1];
    uint64_t high; /* the highest id given out */
};

/* The highest id that kiln has chosen: no rollback takes it back. */
static uint64_t model_given;

static const char *
model_name(int number)
{
    static const char *const names[NAMES] = {"Ada",    "Alan",   "Alonzo", "Barbara",
                                             "Dennis", "Edsger", "Grace",  "Haskell",
                                             "Ken",    "Kurt",   "",       "Tony"};
    return number < 0 ? NULL : names[number];
}

static void
model_person(struct ftk_random *random, struct model *model, uint64_t id)
{
    model->people[id].there = true;
    model->people[id].first = (int)ftk_random_below(random, NAMES + 1) - 1;
    model->people[id].last = (int)ftk_random_below(random, NAMES + 1) - 1;
    model->people[id].age = (int)ftk_random_below(random, 4) - 1;
}

static void
model_fill(kiln_record *record, const struct people *people, const struct model *model, uint64_t id)
{
    person_fill(record, people, model_name(model->people[id].first),
                model_name(model->people[id].last), model->people[id].age);
}

static void
model_change(struct ftk_random *random, struct model *model, kiln_txn *txn,
             const struct people *people, kiln_record *record)
{
    uint64_t id = 1 + ftk_random_below(random, model->high + 2);
    uint64_t chosen = 0;
    uint64_t last = model->high > model_given ? model->high : model_given;

    if (id > IDS)
        id = IDS;
    switch (ftk_random_below(random, 4)) {
    case 0:
    case 1:
        if (last == IDS)
            break;
        if (ftk_random_below(random, 4) == 0 && !model->people[id].there)
            chosen = id;
        id = chosen != 0 ? chosen : last + 1;
        if (chosen == 0)
            model_given = id;
        model_person(random, model, id);
        model_fill(record, people, model, id);
        OK(kiln_record_add(txn, people->container, record, &chosen));
        REQUIRE_EQ(chosen, id);
        if (id > model->high)
            model->high = id;
        break;
    case 2:
        if (!model->people[id].there) {
            STATUS(kiln_record_update(txn, people->container, id, record), FTK_NOTFOUND);
            break;
        }
        if (ftk_random_below(random, 4) != 0)
            model_person(random, model, id);
        model_fill(record, people, model, id);
        OK(kiln_record_update(txn, people->container, id, record));
        break;
    default:
        REQUIRE_EQ(kiln_record_delete(txn, people->container, id),
                   model->people[id].there ? KILN_OK : KILN_NOTFOUND);
        model->people[id].there = false;
        break;
    }
}

static void
model_compare_one(const struct model *model, kiln_txn *txn, const struct people *people,
                  kiln_record *record, uint64_t id)
{
    kiln_status rc = kiln_record_get(txn, people->container, id, record);
    kiln_item item;
    const char *name;

    if (!model->people[id].there) {
        REQUIRE_EQ(rc, KILN_NOTFOUND);
        return;
    }
    OK(rc);
    name = model_name(model->people[id].last);
    rc = kiln_record_find(record, people->last, 0, &item);
    REQUIRE_EQ(rc, name != NULL ? KILN_OK : KILN_NOTFOUND);
    if (name != NULL)
        REQUIRE(item.data.size == strlen(name) && memcmp(item.data.data, name, strlen(name)) == 0);
}

/* Entries of the index in order, each of a person that has these names. */
static void
model_compare_index(const struct model *model, kiln_txn *txn, const struct people *people)
{
    kiln_index_cursor *cursor;
    kiln_item values[2];
    uint64_t id, entries = 0, wanted = 0, count;
    kiln_status rc;

    OK(kiln_index_cursor_open(txn, people->index, NULL, 0, &cursor));
    while ((rc = kiln_index_cursor_next(cursor, &id, NULL, values, 2)) == KILN_OK) {
        REQUIRE(id >= 1 && id <= IDS && model->people[id].there);
        for (int i = 0; i < 2; i++) {
            const char *name =
                model_name(i == 0 ? model->people[id].last : model->people[id].first);
            REQUIRE_EQ(values[i].type, name == NULL ? 0 : KILN_TEXT);
            if (name != NULL)
                REQUIRE(values[i].data.size == strlen(name) &&
                        memcmp(values[i].data.data, name, strlen(name)) == 0);
        }
        entries++;
    }
    REQUIRE_EQ(rc, KILN_NOTFOUND);
    kiln_index_cursor_close(cursor);
    for (id = 1; id <= IDS; id++)
        wanted += model->people[id].there &&
                  (model->people[id].first >= 0 || model->people[id].last >= 0);
    REQUIRE_EQ(entries, wanted);
    OK(kiln_index_count(txn, people->index, &count));
    REQUIRE_EQ(count, wanted);
}

static void
model_compare(const struct model *model, kiln_txn *txn, const struct people *people,
              kiln_record *record)
{
    kiln_record_cursor *cursor;
    uint64_t count = 0, id;

    OK(kiln_record_cursor_open(txn, people->container, 0, &cursor));
    for (uint64_t i = 1; i <= IDS; i++) {
        if (model->people[i].there) {
            OK(kiln_record_cursor_next(cursor, &id, record));
            REQUIRE_EQ(id, i);
            count++;
        }
        model_compare_one(model, txn, people, record, i);
    }
    REQUIRE_EQ(kiln_record_cursor_next(cursor, &id, record), KILN_NOTFOUND);
    kiln_record_cursor_close(cursor);
    OK(kiln_container_count(txn, people->container, &id));
    REQUIRE_EQ(id, count);
    model_compare_index(model, txn, people);
}

static void
random_changes_agree_with_a_model(void)
{
    struct ftk_random random = test_random();
    kiln_check_options options = KILN_CHECK_OPTIONS_INIT;
    kiln_db *db = records_open();
    kiln_txn *txn = records_begin(db, KILN_WRITE);
    struct people people = people_define(txn);
    static struct model committed, now, saved;
    bool savepoint = false;
    kiln_record *record;

    options.finding = records_finding;
    memset(&committed, 0, sizeof committed);
    now = committed;
    model_given = 0;
    OK(kiln_record_new(&record));
    OK(kiln_txn_commit(txn));
    txn = records_begin(db, KILN_WRITE);
    for (uint64_t round = 0; round < test_rounds(6000); round++) {
        switch (ftk_random_below(&random, 60)) {
        case 0: /* end the transaction */
            if (ftk_random_below(&random, 3) == 0) {
                kiln_txn_abort(txn);
                now = committed;
            } else {
                OK(kiln_txn_commit(txn));
                committed = now;
                OK(kiln_check(db, &options));
            }
            savepoint = false;
            txn = records_begin(db, KILN_READ);
            model_compare(&committed, txn, &people, record);
            kiln_txn_abort(txn);
            txn = records_begin(db, KILN_WRITE);
            break;
        case 1:
            if (!savepoint) {
                OK(kiln_savepoint(txn));
                saved = now;
            } else if (ftk_random_below(&random, 2) == 0) {
                OK(kiln_savepoint_release(txn));
            } else {
                OK(kiln_savepoint_rollback(txn));
                now = saved;
            }
            savepoint = !savepoint;
            break;
        case 2: model_compare(&now, txn, &people, record); break;
        case 3: model_compare_index(&now, txn, &people); break;
        default: model_change(&random, &now, txn, &people, record); break;
        }
        if (now.high == IDS || model_given == IDS) { /* begin anew */
            model_given = 0;
            if (savepoint)
                OK(kiln_savepoint_release(txn));
            memset(&now, 0, sizeof now);
            OK(kiln_container_drop(txn, people.container));
            OK(kiln_container_define(txn, "people", &people.container));
            people.index = index_on(txn, "by_name", people.container,
                                    (kiln_field[]){people.last, people.first}, 2, 0);
            OK(kiln_txn_commit(txn));
            committed = now;
            savepoint = false;
            txn = records_begin(db, KILN_WRITE);
        }
    }
    kiln_txn_abort(txn);
    kiln_record_free(record);
    records_close(db);
}

/* ---- faults ---------------------------------------------------------------------------------- */

static kiln_db *fault_db;
static struct people fault_people;

static ftk_status
fault_body(void *context)
{
    kiln_txn *txn = NULL;
    kiln_record *record = NULL;
    kiln_index_cursor *cursor = NULL;
    uint64_t id = 0;
    ftk_status rc;

    (void)context;
    FTK_TRY(kiln_record_new(&record));
    FTK_TRY(kiln_txn_begin(fault_db, KILN_WRITE, &txn));
    for (int i = 0; i < 300; i++) {
        kiln_record_clear(record);
        FTK_TRY(kiln_record_text(record, fault_people.last, "Lovelace", 8));
        FTK_TRY(kiln_record_int(record, fault_people.age, i));
        id = 0;
        FTK_TRY(kiln_record_add(txn, fault_people.container, record, &id));
    }
    FTK_TRY(kiln_record_get(txn, fault_people.container, id, record));
    FTK_TRY(kiln_record_delete(txn, fault_people.container, id - 1));
    kiln_record_clear(record);
    FTK_TRY(kiln_record_text(record, fault_people.last, "King", 4));
    FTK_TRY(kiln_record_update(txn, fault_people.container, id, record));
    FTK_TRY(kiln_index_cursor_open(txn, fault_people.index, NULL, 0, &cursor));
    FTK_TRY(kiln_index_cursor_next(cursor, &id, NULL, NULL, 0));
    kiln_index_cursor_close(cursor);
    cursor = NULL;
    rc = kiln_txn_commit(txn);
    txn = NULL;
out:
    ftk_fault_disarm();
    kiln_index_cursor_close(cursor);
    kiln_txn_abort(txn);
    kiln_record_free(record);
    return rc;
}

static void
every_failed_allocation_leaves_the_database_whole(void)
{
    kiln_txn *txn;

    fault_db = records_open();
    txn = records_begin(fault_db, KILN_WRITE);
    fault_people = people_define(txn);
    OK(kiln_txn_commit(txn));
    test_each_fault(FTK_FAULT_ALLOC, fault_body, NULL);
    records_close(fault_db);
}

/* ---- the check ------------------------------------------------------------------------------- */

static void
count_findings(void *context, const char *text)
{
    (void)text;
    ++*(int *)context;
}

static void
the_check_finds_lost_and_stray_entries(void)
{
    static const char stray[] = "Zuse\x01Konrad\x01\x0f";
    kiln_db *db = records_open();
    kiln_txn *txn = records_begin(db, KILN_WRITE);
    struct people people = people_define(txn);
    kiln_check_options options = KILN_CHECK_OPTIONS_INIT;
    kiln_slice second = {"\0\0\0\0\0\0\0\2", 8};
    kiln_coll index, container;
    int findings = 0;

    person_add(txn, &people, "Ada", "Lovelace", 36);
    person_add(txn, &people, "Alan", "Turing", 41);
    OK(kiln_txn_commit(txn));
    options.finding = count_findings;
    options.context = &findings;
    OK(kiln_check(db, &options));

    txn = records_begin(db, KILN_WRITE);
    REQUIRE_OK(coll_open_internal(txn,
                                  "\x01"
                                  "i1",
                                  3, 0, &index));
    REQUIRE_OK(coll_open_internal(txn,
                                  "\x01"
                                  "c1",
                                  3, 0, &container));
    OK(extension_delete(txn, index,
                        (kiln_slice){"Turing\x01"
                                     "Alan\x01\x02",
                                     13}));
    OK(kiln_txn_commit(txn));
    STATUS(kiln_check(db, &options), FTK_CORRUPT);
    CHECK(findings >= 1);

    txn = records_begin(db, KILN_WRITE); /* as many entries as records again */
    OK(extension_put(txn, index, (kiln_slice){stray, sizeof stray - 1}, (kiln_slice){NULL, 0}, 0));
    OK(kiln_txn_commit(txn));
    findings = 0;
    STATUS(kiln_check(db, &options), FTK_CORRUPT);
    CHECK(findings >= 1);

    txn = records_begin(db, KILN_WRITE);
    OK(extension_put(txn, index,
                     (kiln_slice){"Turing\x01"
                                  "Alan\x01\x02",
                                  13},
                     (kiln_slice){NULL, 0}, 0));
    OK(kiln_txn_commit(txn));
    findings = 0;
    STATUS(kiln_check(db, &options), FTK_CORRUPT);
    CHECK(findings >= 1);

    txn = records_begin(db, KILN_WRITE);
    OK(extension_delete(txn, index, (kiln_slice){stray, sizeof stray - 1}));
    OK(extension_put(txn, container, second, (kiln_slice){"\x13xyz", 4}, 0)); /* first name only */
    OK(kiln_txn_commit(txn));
    findings = 0;
    STATUS(kiln_check(db, &options), FTK_CORRUPT);
    CHECK(findings >= 1);

    txn = records_begin(db, KILN_WRITE);
    OK(extension_put(txn, container, second, (kiln_slice){"\x05", 1}, 0)); /* no record */
    OK(kiln_txn_commit(txn));
    findings = 0;
    STATUS(kiln_check(db, &options), FTK_CORRUPT);
    CHECK(findings >= 1);
    OK(kiln_close(db));
}

struct progress {
    uint64_t done, total, calls;
    uint64_t cancel_at;
};

static int
progress_note(void *context, uint64_t done, uint64_t total)
{
    struct progress *progress = context;

    CHECK(done > progress->done && done <= total);
    progress->done = done;
    progress->total = total;
    progress->calls++;
    return progress->cancel_at != 0 && done >= progress->cancel_at;
}

static void
the_check_shows_how_far_it_is_and_can_be_canceled(void)
{
    enum { PEOPLE = 5000 };
    kiln_check_options options = KILN_CHECK_OPTIONS_INIT;
    struct progress progress = {0};
    kiln_db *db = records_open();
    kiln_txn *txn = records_begin(db, KILN_WRITE);
    struct people people = people_define(txn);
    char name[16];

    for (int i = 0; i < PEOPLE; i++) {
        snprintf(name, sizeof name, "%d", i * 7919 % PEOPLE);
        person_add(txn, &people, name, "b", i);
    }
    OK(kiln_txn_commit(txn));
    options.progress = progress_note;
    options.progress_context = &progress;
    OK(kiln_check(db, &options));
    CHECK(progress.calls >= PEOPLE / 256);
    CHECK(progress.total > PEOPLE && progress.total - progress.done <= 256);
    progress = (struct progress){.cancel_at = progress.total / 2}; /* among the records */
    STATUS(kiln_check(db, &options), FTK_CANCELED);
    records_close(db);
}

/* Nothing but row 0 knows of them then. */
static void
highest_ids_of_deleted_records_are_not_given_again_after_reopening(void)
{
    for (uint64_t left = 0; left < 2; left++) {
        kiln_db *db = records_open();
        kiln_txn *txn = records_begin(db, KILN_WRITE);
        struct people people = people_define(txn);
        uint64_t first = person_add(txn, &people, "Ada", "Lovelace", 36), id = 0;

        for (int i = 0; i < 3; i++)
            id = person_add(txn, &people, "Alan", "Turing", 41);
        OK(kiln_txn_commit(txn));
        txn = records_begin(db, KILN_WRITE);
        for (uint64_t gone = first + left; gone <= id; gone++)
            OK(kiln_record_delete(txn, people.container, gone));
        OK(kiln_txn_commit(txn));
        records_close(db);
        db = records_open();
        txn = records_begin(db, KILN_WRITE);
        people = people_define(txn);
        CHECK_EQ(person_add(txn, &people, "Grace", "Hopper", 85), id + 1);
        OK(kiln_txn_commit(txn));
        records_close(db);
    }
}

static uint64_t
person_add_as(kiln_txn *txn, const struct people *people, uint64_t id)
{
    kiln_record *record;

    OK(kiln_record_new(&record));
    person_fill(record, people, "a", "b", 1);
    OK(kiln_record_add(txn, people->container, record, &id));
    kiln_record_free(record);
    return id;
}

/* The highest id is kept in memory from commit to commit; that of another state must not be. */
static void
highest_id_is_that_of_the_state_at_hand(void)
{
    kiln_db *db = records_open();
    kiln_txn *txn = records_begin(db, KILN_WRITE);
    struct people people = people_define(txn);
    kiln_field field;

    CHECK_EQ(person_add(txn, &people, "a", "b", 1), 1);
    OK(kiln_txn_commit(txn));
    txn = records_begin(db, KILN_WRITE); /* a definition behind the record */
    (void)person_add_as(txn, &people, 50);
    OK(kiln_field_define(txn, "another", KILN_TEXT, &field));
    OK(kiln_txn_commit(txn));
    txn = records_begin(db, KILN_WRITE);
    CHECK_EQ(person_add(txn, &people, "a", "b", 1), 51);
    OK(kiln_txn_commit(txn));
    txn = records_begin(db, KILN_WRITE); /* a rollback to what is not committed yet */
    (void)person_add_as(txn, &people, 100);
    OK(kiln_savepoint(txn));
    (void)person_add_as(txn, &people, 200);
    OK(kiln_savepoint_rollback(txn));
    CHECK_EQ(person_add(txn, &people, "a", "b", 1), 101);
    OK(kiln_txn_commit(txn));
    txn = records_begin(db, KILN_WRITE); /* and to what was aborted */
    (void)person_add_as(txn, &people, 300);
    kiln_txn_abort(txn);
    txn = records_begin(db, KILN_WRITE);
    CHECK_EQ(person_add(txn, &people, "a", "b", 1), 102);
    OK(kiln_txn_commit(txn));
    records_close(db);
}

static void
record_cursor_goes_on_where_it_was_behind_a_rollback(void)
{
    kiln_db *db = records_open();
    kiln_txn *txn = records_begin(db, KILN_WRITE);
    struct people people = people_define(txn);
    kiln_record_cursor *cursor;
    uint64_t id;

    for (unsigned i = 0; i < 10; i++)
        (void)person_add(txn, &people, "a", "b", 1);
    OK(kiln_record_cursor_open(txn, people.container, 0, &cursor));
    for (uint64_t wanted = 1; wanted <= 10; wanted++) {
        OK(kiln_savepoint(txn));
        if (wanted % 2 == 0)
            (void)person_add(txn, &people, "a", "b", 1);
        OK(kiln_savepoint_rollback(txn));
        OK(kiln_record_cursor_next(cursor, &id, NULL));
        CHECK_EQ(id, wanted);
    }
    OK(kiln_savepoint(txn));
    OK(kiln_savepoint_rollback(txn));
    STATUS(kiln_record_cursor_next(cursor, &id, NULL), FTK_NOTFOUND);
    kiln_record_cursor_close(cursor);
    OK(kiln_txn_commit(txn));
    records_close(db);
}

static void
the_check_finds_a_kept_highest_id_that_is_none(void)
{
    kiln_db *db = records_open();
    kiln_txn *txn = records_begin(db, KILN_WRITE);
    struct people people = people_define(txn);
    kiln_check_options options = KILN_CHECK_OPTIONS_INIT;
    const char name[] = "\x01"
                        "c1";
    kiln_coll container;
    int findings = 0;

    person_add(txn, &people, "Ada", "Lovelace", 36);
    REQUIRE_OK(coll_open_internal(txn, name, 3, 0, &container));
    OK(kiln_txn_commit(txn));
    txn = records_begin(db, KILN_WRITE);
    OK(extension_put(txn, container, (kiln_slice){"\0\0\0\0\0\0\0\0", 8}, (kiln_slice){"abc", 3},
                     0));
    OK(kiln_txn_commit(txn));
    options.finding = count_findings;
    options.context = &findings;
    STATUS(kiln_check(db, &options), FTK_CORRUPT);
    CHECK_EQ(findings, 1);
    OK(kiln_close(db));
}

/* A program that guesses the numbers of the collections that records, indexes and the dictionary
 * are in can read them, and is refused every change. */
static void
collections_of_records_are_changed_by_their_calls_alone(void)
{
    kiln_db *db = records_open();
    kiln_txn *txn = records_begin(db, KILN_WRITE);
    struct people people = people_define(txn);
    kiln_check_options options = KILN_CHECK_OPTIONS_INIT;
    kiln_slice key = {"k", 1}, value = {"v", 1};
    uint64_t count = 0, records = 0;
    kiln_cursor *cursor;
    kiln_bulk *bulk;
    kiln_coll own;
    int refused = 0;

    person_add(txn, &people, "Ada", "Lovelace", 36);
    OK(kiln_txn_commit(txn));
    for (int reopened = 0; reopened < 2; reopened++) {
        txn = records_begin(db, KILN_WRITE);
        OK(kiln_coll_open(txn, "own", KILN_COLL_CREATE, &own));
        for (kiln_coll coll = 1; coll <= 8; coll++) {
            if (coll == own || kiln_coll_count(txn, coll, &count) == KILN_NOTFOUND)
                continue;
            refused++;
            STATUS(kiln_put(txn, coll, "k", 1, "v", 1, 0), FTK_INVALID);
            STATUS(kiln_put_many(txn, coll, &key, &value, 1, 0, NULL), FTK_INVALID);
            STATUS(kiln_value_write(txn, coll, "k", 1, 0, NULL, NULL), FTK_INVALID);
            STATUS(kiln_delete(txn, coll, "k", 1), FTK_INVALID);
            STATUS(kiln_delete_many(txn, coll, &key, 1, NULL), FTK_INVALID);
            STATUS(kiln_bulk_begin(txn, coll, &bulk), FTK_INVALID);
            STATUS(kiln_coll_clear(txn, coll), FTK_INVALID);
            STATUS(kiln_coll_drop(txn, coll), FTK_INVALID);
            OK(kiln_cursor_open(txn, coll, 0, &cursor));
            OK(kiln_cursor_first(cursor));
            STATUS(kiln_cursor_delete(cursor), FTK_INVALID);
            kiln_cursor_close(cursor);
        }
        OK(kiln_put(txn, own, "k", 1, "v", 1, 0));
        person_add(txn, &people, "Alan", "Turing", 41);
        OK(kiln_txn_commit(txn));
        OK(kiln_check(db, &options));
        records_close(db);
        db = records_open();
    }
    CHECK(refused >= 6); /* the dictionary, a container, an index: twice */
    txn = records_begin(db, KILN_READ);
    OK(kiln_container_count(txn, people.container, &records));
    CHECK_EQ(records, 3);
    kiln_txn_abort(txn);
    records_close(db);
}

TEST_MAIN("record_store", TEST(collections_of_records_are_changed_by_their_calls_alone),
          TEST(ids_are_never_given_out_twice), TEST(chosen_ids_are_kept_and_may_be_anywhere),
          TEST(wrong_records_are_refused_and_leave_nothing),
          TEST(large_and_empty_records_come_back), TEST(everything_is_there_after_reopening),
          TEST(a_renewed_reader_sees_the_newest), TEST(random_changes_agree_with_a_model),
          TEST(every_failed_allocation_leaves_the_database_whole),
          TEST(the_check_finds_lost_and_stray_entries),
          TEST(the_check_shows_how_far_it_is_and_can_be_canceled),
          TEST(highest_ids_of_deleted_records_are_not_given_again_after_reopening),
          TEST(highest_id_is_that_of_the_state_at_hand),
          TEST(record_cursor_goes_on_where_it_was_behind_a_rollback),
          TEST(the_check_finds_a_kept_highest_id_that_is_none))
