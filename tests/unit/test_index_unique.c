/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/test_index_unique.c -- unique indexes are judged by what a transaction ends with.
 *
 * How its changes were gathered, in which order records passed through each other's values, and
 * what was read in between, makes no difference.
 */
#include <stdio.h>

#include "ftk/bytes.h"
#include "ftk/checksum.h"
#include "tests/support/record_testing.h"

static kiln_index
unique_last(kiln_txn *txn, const struct people *people)
{
    return index_on(txn, "unique last", people->container, &people->last, 1, KILN_UNIQUE);
}

/* One field of a record, and no other, is changed. */
static void
age_set(kiln_txn *txn, const struct people *people, uint64_t id, int64_t age)
{
    kiln_record *record;

    OK(kiln_record_new(&record));
    person_fill(record, people, NULL, NULL, age);
    OK(kiln_record_update(txn, people->container, id, record));
    kiln_record_free(record);
}

static void
last_set(kiln_txn *txn, const struct people *people, uint64_t id, const char *last)
{
    kiln_record *record;

    OK(kiln_record_new(&record));
    person_fill(record, people, NULL, last, -1);
    OK(kiln_record_update(txn, people->container, id, record));
    kiln_record_free(record);
}

static uint64_t
entries_of(kiln_txn *txn, kiln_index index, const kiln_item *value)
{
    kiln_index_cursor *cursor;
    uint64_t id, count = 0;
    kiln_status status;

    OK(kiln_index_cursor_open(txn, index, value, 1, &cursor));
    while ((status = kiln_index_cursor_next(cursor, &id, NULL, NULL, 0)) == KILN_OK)
        count++;
    CHECK_STATUS(status, FTK_NOTFOUND);
    kiln_index_cursor_close(cursor);
    return count;
}

static uint64_t
records_with(kiln_txn *txn, kiln_index index, const char *last)
{
    kiln_item value = text_item(last);

    return entries_of(txn, index, &value);
}

/* ---- passing through each other's values ----------------------------------------------------- */

enum { SHIFTED = 3000 };

/* Each record takes the next one's value, first to last, so that every step makes two of it. */
static void
all_values_shift_by_one(void)
{
    kiln_db *db = records_open();
    kiln_txn *txn = records_begin(db, KILN_WRITE);
    struct people people = people_define(txn);
    kiln_index unique = index_on(txn, "unique age", people.container, &people.age, 1, KILN_UNIQUE);
    kiln_item value = {.type = KILN_INT};

    for (int64_t i = 0; i < SHIFTED; i++)
        (void)person_add(txn, &people, NULL, NULL, i);
    OK(kiln_txn_commit(txn));

    for (int every = 1; every <= SHIFTED; every *= 11) { /* gathered a little, and much */
        txn = records_begin(db, KILN_WRITE);
        for (uint64_t id = 1; id <= SHIFTED; id++) {
            age_set(txn, &people, id, (int64_t)id);
            if (id % (uint64_t)every != 0)
                continue;
            value.integer = (int64_t)id; /* read in between: the state so far, and no error */
            CHECK_EQ(entries_of(txn, unique, &value), id < SHIFTED ? 2 : 1);
        }
        OK(kiln_records_flush(txn));
        for (uint64_t id = SHIFTED; id >= 1; id--) /* and back, last to first */
            age_set(txn, &people, id, (int64_t)id - 1);
        OK(kiln_txn_commit(txn));
    }
    records_close(db);
}

static void
two_records_exchange_their_values_between_savepoints(void)
{
    kiln_db *db = records_open();
    kiln_txn *txn = records_begin(db, KILN_WRITE);
    struct people people = people_define(txn);
    kiln_index unique = unique_last(txn, &people);
    uint64_t a = person_add(txn, &people, NULL, "Curie", -1);
    uint64_t b = person_add(txn, &people, NULL, "Meitner", -1);

    OK(kiln_savepoint(txn)); /* it applies what is gathered */
    last_set(txn, &people, a, "Meitner");
    OK(kiln_savepoint(txn));
    CHECK_EQ(records_with(txn, unique, "Meitner"), 2);
    STATUS(kiln_records_flush(txn), FTK_EXISTS); /* asked now, it is not unique now */
    last_set(txn, &people, b, "Curie");
    OK(kiln_records_flush(txn));
    OK(kiln_savepoint_release(txn));
    OK(kiln_savepoint_release(txn));
    OK(kiln_txn_commit(txn));
    records_close(db);
}

/* ---- what is not unique does not commit ------------------------------------------------------ */

static void
a_conflict_from_before_a_rollback_is_remembered(void)
{
    kiln_db *db = records_open();
    kiln_txn *txn = records_begin(db, KILN_WRITE);
    struct people people = people_define(txn);
    kiln_index unique = unique_last(txn, &people);

    (void)person_add(txn, &people, NULL, "Noether", -1);
    OK(kiln_txn_commit(txn));

    txn = records_begin(db, KILN_WRITE);
    (void)person_add(txn, &people, NULL, "Noether", -1);
    OK(kiln_savepoint(txn)); /* two of them */
    (void)person_add(txn, &people, NULL, "Hilbert", -1);
    OK(kiln_savepoint_rollback(txn)); /* and no call for records after it */
    STATUS(kiln_txn_commit(txn), FTK_EXISTS);

    txn = records_begin(db, KILN_WRITE);
    OK(kiln_savepoint(txn));
    (void)person_add(txn, &people, NULL, "Noether", -1);
    CHECK_EQ(records_with(txn, unique, "Noether"), 2);
    OK(kiln_savepoint_rollback(txn));
    OK(kiln_txn_commit(txn)); /* it is gone with the savepoint */

    txn = records_begin(db, KILN_WRITE);
    (void)person_add(txn, &people, NULL, "Noether", -1);
    CHECK_EQ(records_with(txn, unique, "Noether"), 2);
    OK(kiln_index_drop(txn, unique));
    OK(kiln_txn_commit(txn)); /* nothing is unique any more */
    records_close(db);
}

static void
an_index_defined_on_values_that_are_not_unique_now_is_refused(void)
{
    kiln_db *db = records_open();
    kiln_txn *txn = records_begin(db, KILN_WRITE);
    struct people people = people_define(txn);
    kiln_index_part part = {.field = people.last};
    kiln_index_options options = KILN_INDEX_OPTIONS_INIT;
    uint64_t b;
    kiln_index index;

    options.name = "late";
    options.container = people.container;
    options.parts = &part;
    options.part_count = 1;
    options.flags = KILN_UNIQUE;
    (void)person_add(txn, &people, NULL, "Bose", -1);
    b = person_add(txn, &people, NULL, "Bose", -1);
    STATUS(kiln_index_define(txn, &options, &index), FTK_EXISTS);
    last_set(txn, &people, b, "Einstein");
    OK(kiln_index_define(txn, &options, &index));
    last_set(txn, &people, b, "Bose");
    CHECK_EQ(records_with(txn, index, "Bose"), 2);
    STATUS(kiln_txn_commit(txn), FTK_EXISTS);
    records_close(db);
}

/* More conflicts under way than are remembered one by one. */
static void
so_many_conflicts_that_the_whole_index_is_judged(void)
{
    enum { MANY = 45000 };
    kiln_db *db = records_open();
    kiln_txn *txn = records_begin(db, KILN_WRITE);
    struct people people = people_define(txn);
    kiln_record *record;
    char text[120];
    uint64_t first = 0;

    (void)unique_last(txn, &people);
    OK(kiln_record_new(&record));
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < MANY; i++) {
            uint64_t id = 0;
            snprintf(text, sizeof text, "%090u", i);
            person_fill(record, &people, NULL, text, -1);
            OK(kiln_record_add(txn, people.container, record, &id));
            if (round == 1 && i == 0)
                first = id;
        }
        if (round == 0) {
            OK(kiln_txn_commit(txn));
            txn = records_begin(db, KILN_WRITE);
        }
    }
    STATUS(kiln_records_flush(txn), FTK_EXISTS);
    for (uint64_t id = first; id < first + MANY - 1; id++)
        OK(kiln_record_delete(txn, people.container, id));
    STATUS(kiln_records_flush(txn), FTK_EXISTS); /* one is left */
    for (unsigned i = 0; i < 2; i++) {
        OK(kiln_savepoint(txn));
        OK(kiln_record_delete(txn, people.container, first + MANY - 1));
        OK(kiln_records_flush(txn));
        OK(kiln_savepoint_rollback(txn)); /* and is back */
        STATUS(kiln_records_flush(txn), FTK_EXISTS);
    }
    OK(kiln_record_delete(txn, people.container, first + MANY - 1));
    OK(kiln_txn_commit(txn));
    kiln_record_free(record);
    records_close(db);
}

/* ---- acquitted inside a savepoint, and brought back by its rollback -------------------------- */

/* Two records have the same last name, which a savepoint finds. */
struct twins {
    kiln_db *db;
    kiln_txn *txn;
    struct people people;
    kiln_index unique;
    uint64_t a, b;
};

static struct twins
twins_begin(void)
{
    struct twins twins = {.db = records_open()};

    twins.txn = records_begin(twins.db, KILN_WRITE);
    twins.people = people_define(twins.txn);
    twins.unique = unique_last(twins.txn, &twins.people);
    twins.a = person_add(twins.txn, &twins.people, NULL, "Germain", -1);
    OK(kiln_txn_commit(twins.txn));
    twins.txn = records_begin(twins.db, KILN_WRITE);
    twins.b = person_add(twins.txn, &twins.people, NULL, "Germain", -1);
    OK(kiln_savepoint(twins.txn));
    return twins;
}

static void
twins_end(struct twins *twins)
{
    STATUS(kiln_records_flush(twins->txn), FTK_EXISTS);
    STATUS(kiln_txn_commit(twins->txn), FTK_EXISTS);
    OK(kiln_check(twins->db, NULL));
    records_close(twins->db);
}

static void
a_conflict_that_was_mended_inside_a_savepoint_is_back_after_its_rollback(void)
{
    struct twins twins = twins_begin();

    last_set(twins.txn, &twins.people, twins.b, "Agnesi");
    OK(kiln_records_flush(twins.txn));
    OK(kiln_savepoint_rollback(twins.txn));
    twins_end(&twins);
}

static void
a_conflict_that_was_deleted_savepoints_deeper_is_back_after_a_rollback(void)
{
    struct twins twins = twins_begin();

    OK(kiln_savepoint(twins.txn));
    OK(kiln_record_delete(twins.txn, twins.people.container, twins.a));
    OK(kiln_records_flush(twins.txn));
    OK(kiln_savepoint(twins.txn));
    OK(kiln_records_flush(twins.txn));
    OK(kiln_savepoint_release(twins.txn));
    OK(kiln_savepoint_release(twins.txn));
    OK(kiln_savepoint_rollback(twins.txn));
    twins_end(&twins);
}

static void
a_conflict_is_back_when_the_drop_of_its_index_is_rolled_back(void)
{
    struct twins twins = twins_begin();

    OK(kiln_index_drop(twins.txn, twins.unique));
    OK(kiln_records_flush(twins.txn));
    OK(kiln_savepoint_rollback(twins.txn));
    twins_end(&twins);
}

static void
a_conflict_is_back_when_the_drop_of_its_container_is_rolled_back(void)
{
    struct twins twins = twins_begin();

    OK(kiln_container_drop(twins.txn, twins.people.container));
    OK(kiln_records_flush(twins.txn));
    OK(kiln_savepoint_rollback(twins.txn));
    twins_end(&twins);
}

/* What was found and mended after the savepoint does not stand in the way. */
static void
a_conflict_made_and_mended_inside_a_savepoint_leaves_nothing_behind(void)
{
    struct twins twins = twins_begin();

    last_set(twins.txn, &twins.people, twins.b, "Agnesi");
    OK(kiln_savepoint(twins.txn));
    (void)person_add(twins.txn, &twins.people, NULL, "Agnesi", -1);
    STATUS(kiln_records_flush(twins.txn), FTK_EXISTS);
    OK(kiln_savepoint_rollback(twins.txn));
    OK(kiln_records_flush(twins.txn));
    OK(kiln_txn_commit(twins.txn));
    records_close(twins.db);
}

/* ---- texts longer than a key ----------------------------------------------------------------- */

enum { LONG = 3000 };

static void
long_text(char text[LONG + 1], char last)
{
    memset(text, 'x', LONG);
    text[LONG - 1] = last;
    text[LONG] = 0;
}

static kiln_index
index_of_parts(kiln_txn *txn, const char *name, kiln_container container,
               const kiln_index_part *parts, uint32_t count)
{
    kiln_index_options options = KILN_INDEX_OPTIONS_INIT;
    kiln_index index;

    options.name = name;
    options.container = container;
    options.parts = parts;
    options.part_count = count;
    options.flags = KILN_UNIQUE;
    OK(kiln_index_define(txn, &options, &index));
    return index;
}

/* An update whose text differs only beyond the key's end. */
static void
update_to_the_same_long_text(const kiln_index_part *parts, uint32_t count, const char *first)
{
    kiln_db *db = records_open();
    kiln_txn *txn = records_begin(db, KILN_WRITE);
    struct people people = people_define(txn);
    char a_text[LONG + 1], b_text[LONG + 1];
    uint64_t a, b;
    kiln_record *record;

    long_text(a_text, 'a');
    long_text(b_text, 'b');
    (void)index_of_parts(txn, "long", count == 3 ? 0 : people.container, parts, count);
    a = person_add(txn, &people, first, a_text, 1);
    b = person_add(txn, &people, first, b_text, 1);
    OK(kiln_txn_commit(txn));
    OK(kiln_record_new(&record));

    txn = records_begin(db, KILN_WRITE);
    person_fill(record, &people, first, a_text, 1);
    OK(kiln_record_update(txn, people.container, b, record));
    STATUS(kiln_txn_commit(txn), FTK_EXISTS);

    txn = records_begin(db, KILN_WRITE); /* the same, and then the other one goes away */
    OK(kiln_record_update(txn, people.container, b, record));
    STATUS(kiln_records_flush(txn), FTK_EXISTS);
    person_fill(record, &people, first, b_text, 1);
    OK(kiln_record_update(txn, people.container, a, record));
    OK(kiln_txn_commit(txn));

    txn = records_begin(db, KILN_WRITE); /* to itself is no conflict */
    OK(kiln_record_update(txn, people.container, a, record));
    OK(kiln_txn_commit(txn));
    kiln_record_free(record);
    records_close(db);
}

static void
an_update_beyond_the_end_of_the_key_is_judged(void)
{
    /* The fields' numbers are those that people_define gives: first 1, last 2, age 3. */
    update_to_the_same_long_text((kiln_index_part[]){{.field = 2}}, 1, NULL);
}

static void
an_update_beyond_the_end_of_a_descending_key_is_judged(void)
{
    update_to_the_same_long_text((kiln_index_part[]){{.field = 2, .flags = KILN_DESCENDING}}, 1,
                                 NULL);
}

static void
an_update_beyond_the_end_of_a_part_is_judged(void)
{
    update_to_the_same_long_text((kiln_index_part[]){{.field = 1}, {.field = 2}}, 2, "Max");
}

static void
an_update_beyond_the_end_of_a_part_over_all_containers_is_judged(void)
{
    update_to_the_same_long_text((kiln_index_part[]){{.field = 2}, {.field = 1}, {.field = 3}}, 3,
                                 "Max");
}

/* Each was compared with all others once, record by record: hours for this many. */
static void
many_texts_that_begin_alike_are_judged_in_time(void)
{
    enum { MANY = 20000 };
    kiln_db *db = records_open();
    kiln_txn *txn = records_begin(db, KILN_WRITE);
    struct people people = people_define(txn);
    kiln_record *record;
    char text[1200];

    (void)unique_last(txn, &people);
    OK(kiln_record_new(&record));
    memset(text, 'x', sizeof text);
    for (unsigned i = 0; i < MANY; i++) {
        uint64_t id = 0;
        snprintf(text + 1100, 100, "%u", i % (MANY - 1)); /* one of them twice */
        person_fill(record, &people, NULL, text, -1);
        OK(kiln_record_add(txn, people.container, record, &id));
    }
    STATUS(kiln_records_flush(txn), FTK_EXISTS);
    OK(kiln_record_delete(txn, people.container, MANY));
    OK(kiln_txn_commit(txn));
    kiln_record_free(record);
    records_close(db);
}

/* ---- check ----------------------------------------------------------------------------------- */

static void
finding_count(void *context, const char *text)
{
    unsigned *count = context;

    if (strstr(text, "is unique") != NULL)
        ++*count;
}

/* A row of a collection that is kiln's own is copied: same value, another record id at its end. */
static void
row_copy(kiln_txn *txn, const char *name, uint8_t from, uint8_t to)
{
    kiln_cursor *cursor;
    kiln_coll coll;
    kiln_slice key, value;
    uint8_t copy[KILN_KEY_MAX], value_copy[8192];
    size_t size, value_size;

    OK(coll_open_internal(txn, name, strlen(name), 0, &coll));
    OK(kiln_cursor_open(txn, coll, 0, &cursor));
    OK(kiln_cursor_first(cursor));
    for (;;) {
        OK(kiln_cursor_item(cursor, &key, &value));
        if (((const uint8_t *)key.data)[key.size - 1] == from)
            break;
        OK(kiln_cursor_next(cursor));
    }
    REQUIRE(key.size <= sizeof copy && value.size <= sizeof value_copy);
    size = key.size;
    value_size = value.size;
    memcpy(copy, key.data, size);
    if (value_size > 0)
        memcpy(value_copy, value.data, value_size);
    copy[size - 1] = to;
    kiln_cursor_close(cursor);
    OK(extension_put(txn, coll, (kiln_slice){copy, size}, (kiln_slice){value_copy, value_size}, 0));
}

static void
check_compares_neighbours(void)
{
    for (unsigned is_long = 0; is_long < 2; is_long++) {
        kiln_options open_options = KILN_OPTIONS_INIT;
        kiln_check_options options = KILN_CHECK_OPTIONS_INIT;
        kiln_db *db = NULL;
        kiln_txn *txn;
        struct people people;
        char text[LONG + 1];
        unsigned findings = 0;

        open_options.flags = KILN_CREATE | KILN_NO_DIRECT_IO;
        OK(kiln_open(test_path(is_long ? "long" : "short"), &open_options, &db));
        txn = records_begin(db, KILN_WRITE);
        people = people_define(txn);
        long_text(text, 'a');
        (void)unique_last(txn, &people);
        (void)person_add(txn, &people, NULL, is_long ? text : "Gauss", -1);
        OK(kiln_txn_commit(txn));
        txn = records_begin(db, KILN_WRITE); /* behind the records part's back */
        row_copy(txn,
                 "\x01"
                 "c1",
                 1, 2);
        row_copy(txn,
                 "\x01"
                 "i1",
                 1, 2);
        row_copy(txn,
                 "\x01"
                 "i2",
                 1, 2);
        OK(kiln_txn_commit(txn));
        options.finding = finding_count;
        options.context = &findings;
        STATUS(kiln_check(db, &options), FTK_CORRUPT);
        CHECK_EQ(findings, 1);
        OK(kiln_close(db));
    }
}

/* ---- against a model ------------------------------------------------------------------------- */

enum { MODEL_RECORDS = 24, MODEL_VALUES = 20 };

struct model {
    int value[MODEL_RECORDS + 1]; /* by id; -1: no such record */
};

static bool
model_is_unique(const struct model *model)
{
    bool seen[MODEL_VALUES] = {false};

    for (unsigned id = 1; id <= MODEL_RECORDS; id++) {
        if (model->value[id] < 0)
            continue;
        if (seen[model->value[id]])
            return false;
        seen[model->value[id]] = true;
    }
    return true;
}

/* Values 0..9 are short; 10..19 begin alike far beyond the end of a key. */
static void
model_text(char text[LONG + 1], int value)
{
    if (value < MODEL_VALUES / 2)
        snprintf(text, LONG, "short %d", value);
    else
        long_text(text, (char)('a' + value));
}

static void
model_step(kiln_txn *txn, struct ftk_random *random, const struct people *people,
           struct model *model)
{
    uint64_t id = 1 + ftk_random_below(random, MODEL_RECORDS);
    int value = (int)ftk_random_below(random, MODEL_VALUES);
    char text[LONG + 1];
    kiln_record *record;

    if (model->value[id] >= 0 && ftk_random_below(random, 3) == 0) {
        OK(kiln_record_delete(txn, people->container, id));
        model->value[id] = -1;
        return;
    }
    model_text(text, value);
    OK(kiln_record_new(&record));
    person_fill(record, people, NULL, text, 1);
    if (model->value[id] < 0)
        OK(kiln_record_add(txn, people->container, record, &id));
    else
        OK(kiln_record_update(txn, people->container, id, record));
    kiln_record_free(record);
    model->value[id] = value;
}

/* Reads, savepoints and questions in between; returns how deep the savepoints are. */
static unsigned
model_between(kiln_txn *txn, struct ftk_random *random, kiln_index unique, struct model *model,
              struct model *saved, unsigned depth)
{
    uint64_t count, wanted = 0;

    switch (ftk_random_below(random, 12)) {
    case 0:
        for (unsigned id = 1; id <= MODEL_RECORDS; id++)
            wanted += model->value[id] >= 0;
        OK(kiln_index_count(txn, unique, &count));
        CHECK_EQ(count, wanted);
        return depth;
    case 1:
        STATUS(kiln_records_flush(txn), model_is_unique(model) ? FTK_OK : FTK_EXISTS);
        return depth;
    case 2:
        if (depth == 8)
            return depth;
        OK(kiln_savepoint(txn));
        saved[depth] = *model;
        return depth + 1;
    case 3:
        if (depth == 0)
            return depth;
        OK(kiln_savepoint_release(txn));
        return depth - 1;
    case 4:
        if (depth == 0)
            return depth;
        OK(kiln_savepoint_rollback(txn));
        *model = saved[depth - 1];
        return depth - 1;
    default: return depth;
    }
}

static void
random_transactions_commit_when_their_end_is_unique(void)
{
    struct ftk_random random = test_random();
    kiln_db *db = records_open();
    kiln_txn *txn = records_begin(db, KILN_WRITE);
    struct people people = people_define(txn);
    kiln_index unique = unique_last(txn, &people);
    struct model committed, model, saved[8];
    unsigned refused = 0, accepted = 0;

    memset(&committed, 0xff, sizeof committed);
    OK(kiln_txn_commit(txn));
    for (uint64_t round = 0; round < test_rounds(3000); round++) {
        uint64_t steps = ftk_random_below(&random, 12);
        unsigned depth = 0;
        bool wanted;

        model = committed;
        txn = records_begin(db, KILN_WRITE);
        for (uint64_t step = 0; step < steps; step++) {
            model_step(txn, &random, &people, &model);
            depth = model_between(txn, &random, unique, &model, saved, depth);
        }
        wanted = model_is_unique(&model);
        STATUS(kiln_txn_commit(txn), wanted ? FTK_OK : FTK_EXISTS);
        if (wanted)
            committed = model;
        accepted += wanted;
        refused += !wanted;
    }
    CHECK(accepted > 20 && refused > 20); /* it tries both */
    records_close(db);
}

/* ---- texts of one checksum ------------------------------------------------------------------- */

/*
 * Two values of one length, one beginning and one checksum, so that nothing in their keys tells
 * them apart.  XXH3 adds the product of both halves of a word, each combined with a secret, to one
 * of its accumulators, and the word itself to another.  Where a word's low half is the secret's the
 * product is nothing; so two such words of one block may exchange their high halves.
 */
static void
twin_bytes(uint8_t bytes[LONG], uint8_t first, uint8_t second)
{
    static const uint8_t secret[2][4] = {{0xb8, 0xfe, 0x6c, 0x39}, {0x7c, 0x01, 0x81, 0x2c}};

    memset(bytes, 'x', LONG);
    memcpy(bytes + 1024, secret[0], 4); /* the first word of the second block, */
    memcpy(bytes + 1088, secret[1], 4); /* and of the stripe behind it */
    bytes[1028] = first;
    bytes[1092] = second;
}

static uint64_t
twin_add(kiln_txn *txn, kiln_container container, kiln_field field, const uint8_t bytes[LONG])
{
    kiln_record *record;
    uint64_t id = 0;

    OK(kiln_record_new(&record));
    OK(kiln_record_bytes(record, field, bytes, LONG));
    OK(kiln_record_add(txn, container, record, &id));
    kiln_record_free(record);
    return id;
}

static void
values_that_no_key_tells_apart_are_two_values(void)
{
    kiln_db *db = records_open();
    kiln_txn *txn = records_begin(db, KILN_WRITE);
    uint8_t bytes[2][LONG];
    kiln_container container;
    kiln_index index;
    kiln_field field;
    uint64_t ids[2];

    twin_bytes(bytes[0], 'a', 'b');
    twin_bytes(bytes[1], 'b', 'a');
    REQUIRE_EQ(ftk_checksum(bytes[0], LONG, 0), ftk_checksum(bytes[1], LONG, 0));
    OK(kiln_field_define(txn, "bytes", KILN_BYTES, &field));
    OK(kiln_container_define(txn, "twins", &container));
    index = index_on(txn, "unique bytes", container, &field, 1, KILN_UNIQUE);
    for (unsigned i = 0; i < 2; i++)
        ids[i] = twin_add(txn, container, field, bytes[i]);
    OK(kiln_txn_commit(txn));
    txn = records_begin(db, KILN_WRITE);
    for (unsigned i = 0; i < 2; i++) {
        kiln_item item = {.type = KILN_BYTES, .data = {bytes[i], LONG}};
        struct ids found = index_ids(txn, index, &item, 1);
        CHECK_EQ(found.count, 1);
        CHECK_EQ(found.id[0], ids[i]);
    }
    (void)twin_add(txn, container, field, bytes[1]);
    STATUS(kiln_txn_commit(txn), FTK_EXISTS);
    records_close(db);
}

/* Records beside those of values [from, to), each with the value of one of them. */
static uint64_t
copies_add(kiln_txn *txn, const struct people *people, unsigned from, unsigned to)
{
    uint64_t id = 0;
    char text[120];

    for (unsigned i = from; i < to; i++) {
        snprintf(text, sizeof text, "%090u", i);
        id = person_add(txn, people, NULL, text, -1);
    }
    return id;
}

/* Enough of them, part by part, to be looked at before the commit; all are mended but one. */
static void
the_one_conflict_that_stays_among_many_that_are_mended_is_told(void)
{
    enum { PART = 15000, PARTS = 4 };
    kiln_db *db = records_open();
    kiln_txn *txn = records_begin(db, KILN_WRITE);
    struct people people = people_define(txn);
    uint64_t stays = 0;

    (void)unique_last(txn, &people);
    (void)copies_add(txn, &people, 0, PART * PARTS);
    OK(kiln_txn_commit(txn));
    txn = records_begin(db, KILN_WRITE);
    for (unsigned part = 0; part < PARTS; part++) {
        uint64_t last = copies_add(txn, &people, part * PART, (part + 1) * PART);
        STATUS(kiln_records_flush(txn), FTK_EXISTS);
        for (uint64_t id = last - PART + 1; id <= last; id++) {
            if (stays == 0)
                stays = id;
            else
                OK(kiln_record_delete(txn, people.container, id));
        }
        STATUS(kiln_records_flush(txn), FTK_EXISTS);
    }
    OK(kiln_savepoint(txn));
    OK(kiln_record_delete(txn, people.container, stays));
    OK(kiln_records_flush(txn));
    OK(kiln_savepoint_rollback(txn));
    STATUS(kiln_txn_commit(txn), FTK_EXISTS);
    records_close(db);
}

TEST_MAIN("index_unique", TEST(all_values_shift_by_one),
          TEST(two_records_exchange_their_values_between_savepoints),
          TEST(a_conflict_from_before_a_rollback_is_remembered),
          TEST(an_index_defined_on_values_that_are_not_unique_now_is_refused),
          TEST(so_many_conflicts_that_the_whole_index_is_judged),
          TEST(a_conflict_that_was_mended_inside_a_savepoint_is_back_after_its_rollback),
          TEST(a_conflict_that_was_deleted_savepoints_deeper_is_back_after_a_rollback),
          TEST(a_conflict_is_back_when_the_drop_of_its_index_is_rolled_back),
          TEST(a_conflict_is_back_when_the_drop_of_its_container_is_rolled_back),
          TEST(a_conflict_made_and_mended_inside_a_savepoint_leaves_nothing_behind),
          TEST(an_update_beyond_the_end_of_the_key_is_judged),
          TEST(an_update_beyond_the_end_of_a_descending_key_is_judged),
          TEST(an_update_beyond_the_end_of_a_part_is_judged),
          TEST(an_update_beyond_the_end_of_a_part_over_all_containers_is_judged),
          TEST(many_texts_that_begin_alike_are_judged_in_time), TEST(check_compares_neighbours),
          TEST(random_transactions_commit_when_their_end_is_unique),
          TEST(values_that_no_key_tells_apart_are_two_values),
          TEST(the_one_conflict_that_stays_among_many_that_are_mended_is_told))
