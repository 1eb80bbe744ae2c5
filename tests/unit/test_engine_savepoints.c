/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/test_engine_savepoints.c -- what a savepoint costs, and what is left when setting or
 * ending one meets a shortage.
 */
#include <stdlib.h>
#include <time.h>

#include "engine/space/space.h"
#include "tests/unit/engine_testing.h"

static struct simdisk *disk;
static kiln_db *db;
static kiln_txn *txn;
static kiln_coll coll;

static void
begin(void)
{
    disk = simdisk_new(NULL);
    db = engine_open(disk, KILN_CREATE);
    txn = engine_begin(db, KILN_WRITE);
    coll = engine_coll(txn, "c");
}

static uint64_t
pages_end(void)
{
    struct space_stats stats;

    space_stats(db->space, &stats);
    return stats.pages_end;
}

/* Keys [from, to) are there with their own values, and so many keys in all. */
static void
series_is(uint64_t from, uint64_t to, uint64_t count)
{
    uint8_t key[8];
    kiln_slice value;
    uint64_t keys = 0, wrong = 0;

    for (uint64_t i = from; i < to; i++) {
        engine_key(i, key);
        if (kiln_get(txn, coll, key, sizeof key, &value) != KILN_OK || value.size < 8 ||
            ftk_get_be64(value.data) != i)
            wrong++;
    }
    CHECK_EQ(wrong, 0);
    OK(kiln_coll_count(txn, coll, &keys));
    CHECK_EQ(keys, count);
}

/* ---- what a scope leaves behind in the file -------------------------------------------------- */

enum { ROUNDS = 2000, KEYS = 500, LARGE_BYTES = 20000 };

static uint8_t large[LARGE_BYTES];

static void
put_over(unsigned i)
{
    OK(engine_series(txn, coll, i % KEYS, i % KEYS + 1, 40));
}

static void
put_over_large(unsigned i)
{
    uint8_t key[8];

    engine_key(i % 3 + KEYS, key);
    large[0] = (uint8_t)i;
    OK(kiln_put(txn, coll, key, sizeof key, large, LARGE_BYTES - i % 5000, 0));
}

static int
read_large(void *context, void *buffer, size_t size)
{
    (void)context;
    memset(buffer, 'w', size);
    return 0;
}

static void
write_large(unsigned i)
{
    uint8_t key[8];

    engine_key(i % 2 + KEYS, key); /* sets a savepoint of its own */
    OK(kiln_value_write(txn, coll, key, sizeof key, LARGE_BYTES, read_large, NULL));
}

static void
delete_and_put_leaves(unsigned i)
{
    uint8_t key[8];

    for (unsigned k = 0; k < 60; k++) { /* pages merge and split again */
        engine_key((i * 60 + k) % KEYS, key);
        OK(kiln_delete(txn, coll, key, sizeof key));
    }
    for (unsigned k = 0; k < 60; k++)
        put_over(i * 60 + k);
}

static void
other_collection(unsigned i)
{
    char name[8];
    kiln_coll other;

    snprintf(name, sizeof name, "o%u", i % 7);
    OK(kiln_coll_open(txn, name, KILN_COLL_CREATE, &other));
    OK(engine_put(txn, other, "key", "value"));
    if (i % 7 == 3)
        OK(kiln_coll_clear(txn, other));
}

struct cost {
    const char *name;
    void (*step)(unsigned i);
    bool outer;    /* inside one savepoint that stays */
    bool rolls;    /* each scope is rolled back */
    bool no_scope; /* no savepoints at all */
};

static void
cost_is_of_one(const struct cost *cost)
{
    uint64_t before;

    begin();
    OK(engine_series(txn, coll, 0, KEYS, 40));
    put_over_large(0);
    put_over_large(1);
    put_over_large(2);
    OK(kiln_txn_commit(txn));
    before = pages_end();
    txn = engine_begin(db, KILN_WRITE);
    if (cost->outer)
        OK(kiln_savepoint(txn));
    for (unsigned i = 0; i < ROUNDS; i++) {
        if (!cost->no_scope)
            OK(kiln_savepoint(txn));
        cost->step(i);
        if (!cost->no_scope)
            OK(cost->rolls ? kiln_savepoint_rollback(txn) : kiln_savepoint_release(txn));
    }
    CHECK(txn_pages_check(txn) == NULL);
    OK(kiln_txn_commit(txn));
    CHECK_MSG(pages_end() < before + 200, "%s: %llu pages before, %llu after", cost->name,
              (unsigned long long)before, (unsigned long long)pages_end());
    txn = engine_begin(db, KILN_READ);
    series_is(0, KEYS, KEYS + 3);
    OK(kiln_txn_commit(txn));
    db = engine_reopen(disk, db);
    engine_end(disk, db);
}

static void
many_scopes_one_after_the_other_take_the_pages_of_one(void)
{
    static const struct cost costs[] = {
        {"put", put_over, .outer = false},
        {"put in an outer scope", put_over, .outer = true},
        {"put, rolled back", put_over, .rolls = true},
        {"put, rolled back, in an outer scope", put_over, .outer = true, .rolls = true},
        {"large put", put_over_large, .outer = false},
        {"large put in an outer scope", put_over_large, .outer = true},
        {"large put, rolled back", put_over_large, .rolls = true},
        {"large put without savepoints", put_over_large, .no_scope = true},
        {"value write", write_large, .no_scope = true},
        {"value write in scopes", write_large, .outer = true},
        {"deletes and puts", delete_and_put_leaves, .outer = true},
        {"deletes and puts without savepoints", delete_and_put_leaves, .no_scope = true},
        {"collections", other_collection, .outer = false},
        {"collections, rolled back", other_collection, .outer = true, .rolls = true},
    };

    for (size_t i = 0; i < sizeof costs / sizeof costs[0]; i++)
        cost_is_of_one(&costs[i]);
}

/* Each used to copy what every open collection was. */
static void
a_savepoint_costs_the_same_with_many_collections_open(void)
{
    double allowed;
    char name[16];
    kiln_coll other;

    begin();
    for (unsigned i = 0; i < 10000; i++) {
        snprintf(name, sizeof name, "n%u", i);
        OK(kiln_coll_open(txn, name, KILN_COLL_CREATE, &other));
    }
    allowed = (double)clock() / CLOCKS_PER_SEC + 4;
    for (unsigned i = 0; i < 50000; i++) {
        OK(kiln_savepoint(txn));
        OK(engine_put(txn, coll, "key", "value"));
        OK(i % 2 == 0 ? kiln_savepoint_release(txn) : kiln_savepoint_rollback(txn));
    }
    CHECK((double)clock() / CLOCKS_PER_SEC < allowed);
    CHECK_VALUE(txn, coll, "key", "value");
    OK(kiln_txn_commit(txn));
    engine_end(disk, db);
}

/* ---- shortages ------------------------------------------------------------------------------- */

/* Everything that could fail fails. */
static void
shortage(void)
{
    for (int kind = 0; kind < FTK_FAULT_COUNT; kind++)
        ftk_fault_arm((enum ftk_fault)kind, 1, UINT64_MAX);
}

/* Thousands of pages made and dropped in the scope; then it ends while nothing can be had. */
static void
a_scope_ends_without_memory_or_device(void)
{
    uint8_t key[8];

    for (unsigned round = 0; round < 4; round++) {
        begin();
        OK(engine_series(txn, coll, 0, 500, 200));
        for (unsigned depth = 0; depth < 3; depth++)
            OK(kiln_savepoint(txn));
        OK(engine_series(txn, coll, 500, 8000, 200));
        for (uint64_t i = 400; i < 8000; i++) {
            engine_key(i, key);
            OK(kiln_delete(txn, coll, key, sizeof key));
        }
        shortage();
        OK(kiln_savepoint_release(txn));
        OK(round & 1 ? kiln_savepoint_release(txn) : kiln_savepoint_rollback(txn));
        OK(round & 2 ? kiln_savepoint_release(txn) : kiln_savepoint_rollback(txn));
        ftk_fault_disarm();
        STATUS(kiln_savepoint_release(txn), KILN_STATE);
        CHECK(txn_pages_check(txn) == NULL);
        series_is(0, round == 3 ? 400 : 500, round == 3 ? 400 : 500);
        OK(engine_series(txn, coll, 0, 9000, 200)); /* on the pages that came back */
        series_is(0, 9000, 9000);
        OK(kiln_txn_commit(txn));
        db = engine_reopen(disk, db);
        txn = engine_begin(db, KILN_READ);
        series_is(0, 9000, 9000);
        OK(kiln_txn_commit(txn));
        engine_end(disk, db);
    }
}

/* The n-th allocation of a savepoint fails: none is set, the contents stay, all goes on. */
static void
a_savepoint_that_fails_is_not_set(void)
{
    unsigned failures = 0;

    for (uint64_t n = 1;; n++) {
        kiln_status rc;
        begin();
        OK(engine_series(txn, coll, 0, 300, 100));
        for (unsigned depth = 0; depth < 4; depth++) /* the next one wants room */
            OK(kiln_savepoint(txn));
        OK(engine_series(txn, coll, 300, 600, 100));
        ftk_fault_arm(FTK_FAULT_ALLOC, n, 1);
        rc = kiln_savepoint(txn);
        ftk_fault_disarm();
        series_is(0, 600, 600);
        if (rc == KILN_OK)
            OK(kiln_savepoint_rollback(txn));
        else
            STATUS(rc, KILN_NOMEM);
        failures += rc != KILN_OK;
        series_is(0, 600, 600);
        OK(kiln_savepoint(txn));
        OK(engine_series(txn, coll, 600, 700, 100));
        OK(kiln_savepoint_rollback(txn)); /* of this one, not of one that failed */
        series_is(0, 600, 600);
        for (unsigned depth = 0; depth < 4; depth++)
            OK(kiln_savepoint_rollback(txn));
        STATUS(kiln_savepoint_rollback(txn), KILN_STATE);
        series_is(0, 300, 300);
        OK(kiln_txn_commit(txn));
        db = engine_reopen(disk, db);
        engine_end(disk, db);
        if (rc == KILN_OK)
            break;
    }
    CHECK(failures > 0);
}

/* Trees used first in an inner scope, without memory to note what they were. */
static void
a_collection_first_used_in_a_scope_without_memory_can_be_used_later(void)
{
    unsigned failures = 0;

    for (uint64_t n = 1;; n++) {
        kiln_coll others[20];
        uint64_t keys = 0;
        bool failed = false;
        begin();
        for (unsigned i = 0; i < 20; i++) {
            char name[8];
            snprintf(name, sizeof name, "o%u", i);
            others[i] = engine_coll(txn, name);
            OK(engine_put(txn, others[i], "outer", "value"));
        }
        OK(kiln_savepoint(txn));
        ftk_fault_arm(FTK_FAULT_ALLOC, n, 1);
        for (unsigned i = 0; i < 20; i++) {
            kiln_status rc = engine_put(txn, others[i], "inner", "value");
            if (rc == KILN_NOMEM) { /* that call, and no other */
                failed = true;
                rc = engine_put(txn, others[i], "inner", "value");
            }
            OK(rc);
        }
        ftk_fault_disarm();
        failures += failed;
        OK(kiln_savepoint_rollback(txn));
        for (unsigned i = 0; i < 20; i++) {
            CHECK_VALUE(txn, others[i], "outer", "value");
            CHECK_VALUE(txn, others[i], "inner", NULL);
            OK(kiln_coll_count(txn, others[i], &keys));
            CHECK_EQ(keys, 1);
        }
        OK(kiln_txn_commit(txn));
        engine_end(disk, db);
        if (!failed)
            break;
    }
    CHECK(failures > 0);
}

/* ---- what a rollback restores ---------------------------------------------------------------- */

static void
a_rollback_restores_what_its_scope_used_in_scopes_inside_it(void)
{
    kiln_coll a, b, d;

    begin();
    a = engine_coll(txn, "a");
    b = engine_coll(txn, "b");
    OK(engine_put(txn, a, "k", "0"));
    OK(engine_put(txn, b, "k", "0"));
    OK(kiln_txn_commit(txn));
    txn = engine_begin(db, KILN_WRITE);
    OK(kiln_savepoint(txn)); /* 1 */
    OK(engine_put(txn, a, "k", "1"));
    OK(kiln_savepoint(txn)); /* 2: b is opened, a is used again, d is made */
    OK(engine_put(txn, a, "k", "2"));
    OK(engine_put(txn, b, "k", "2"));
    d = engine_coll(txn, "d");
    OK(engine_put(txn, d, "k", "2"));
    OK(kiln_savepoint_release(txn));
    OK(engine_put(txn, b, "k", "3"));
    OK(kiln_savepoint(txn)); /* 2 again: dropped, then back */
    OK(kiln_coll_drop(txn, a));
    OK(kiln_coll_clear(txn, b));
    STATUS(engine_put(txn, a, "k", "4"), KILN_NOTFOUND);
    OK(kiln_savepoint_rollback(txn));
    CHECK_VALUE(txn, a, "k", "2");
    CHECK_VALUE(txn, b, "k", "3");
    CHECK_VALUE(txn, d, "k", "2");
    OK(kiln_savepoint_rollback(txn)); /* 1 */
    CHECK_VALUE(txn, a, "k", "0");
    CHECK_VALUE(txn, b, "k", "0");
    STATUS(engine_put(txn, d, "k", "5"), KILN_NOTFOUND);
    OK(engine_put(txn, b, "k", "6"));
    OK(kiln_txn_commit(txn));
    db = engine_reopen(disk, db);
    txn = engine_begin(db, KILN_READ);
    CHECK_VALUE(txn, a, "k", "0");
    CHECK_VALUE(txn, b, "k", "6");
    OK(kiln_txn_commit(txn));
    engine_end(disk, db);
}

TEST_MAIN("engine_savepoints", TEST(many_scopes_one_after_the_other_take_the_pages_of_one),
          TEST(a_savepoint_costs_the_same_with_many_collections_open),
          TEST(a_scope_ends_without_memory_or_device), TEST(a_savepoint_that_fails_is_not_set),
          TEST(a_collection_first_used_in_a_scope_without_memory_can_be_used_later),
          TEST(a_rollback_restores_what_its_scope_used_in_scopes_inside_it))
