/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_engine_names.c -- numbers and names of collections; many of them. */
#include <time.h>

#include "tests/unit/engine_testing.h"

static struct simdisk *disk;
static kiln_db *db;
static kiln_txn *txn;

static void
begin(void)
{
    disk = simdisk_new(NULL);
    db = engine_open(disk, KILN_CREATE);
    txn = engine_begin(db, KILN_WRITE);
}

static void
end(void)
{
    OK(kiln_txn_commit(txn));
    engine_end(disk, db);
}

/* Commit or abort, and the next write transaction. */
static void
next(bool commit)
{
    if (commit)
        OK(kiln_txn_commit(txn));
    else
        kiln_txn_abort(txn);
    txn = engine_begin(db, KILN_WRITE);
}

/* A number that no collection has: no call does anything with it. */
static void
number_is_nobodys(kiln_coll coll)
{
    kiln_slice value;
    uint64_t count;
    kiln_cursor *cursor;

    STATUS(kiln_put(txn, coll, "k", 1, "v", 1, 0), KILN_NOTFOUND);
    STATUS(kiln_get(txn, coll, "k", 1, &value), KILN_NOTFOUND);
    STATUS(kiln_coll_count(txn, coll, &count), KILN_NOTFOUND);
    STATUS(kiln_cursor_open(txn, coll, 0, &cursor), KILN_NOTFOUND);
    STATUS(kiln_coll_drop(txn, coll), KILN_NOTFOUND);
}

/* ---- numbers --------------------------------------------------------------------------------- */

static void
number_of_a_collection_that_was_never_committed_is_nobodys(void)
{
    kiln_coll aborted, rolled, inner, again;

    begin();
    aborted = engine_coll(txn, "a");
    OK(engine_put(txn, aborted, "k", "v"));
    next(false);
    OK(kiln_savepoint(txn));
    rolled = engine_coll(txn, "b");
    OK(kiln_savepoint(txn));
    inner = engine_coll(txn, "c");
    OK(kiln_savepoint_release(txn));
    OK(kiln_savepoint_rollback(txn));
    again = engine_coll(txn, "a");
    CHECK(again > inner && inner > rolled && rolled > aborted);
    number_is_nobodys(aborted);
    number_is_nobodys(rolled);
    number_is_nobodys(inner);
    next(true);
    number_is_nobodys(rolled);
    CHECK(engine_coll(txn, "d") > again);
    end();
}

static void
number_of_a_dropped_collection_is_nobodys(void)
{
    kiln_coll dropped, other;

    begin();
    dropped = engine_coll(txn, "a");
    OK(kiln_coll_drop(txn, dropped));
    number_is_nobodys(dropped);
    other = engine_coll(txn, "a");
    CHECK(other > dropped);
    next(true);
    OK(kiln_coll_drop(txn, other));
    next(true);
    OK(kiln_txn_commit(txn));
    db = engine_reopen(disk, db);
    txn = engine_begin(db, KILN_WRITE);
    CHECK(engine_coll(txn, "a") > other);
    number_is_nobodys(dropped);
    number_is_nobodys(other);
    end();
}

/* Nothing is committed at all, and the database is closed and opened again. */
static void
numbers_stay_taken_over_a_close(void)
{
    kiln_coll aborted, rolled;

    for (unsigned last = 0; last < 2; last++) {
        begin();
        OK(engine_put(txn, engine_coll(txn, "first"), "k", "v"));
        next(true);
        OK(kiln_savepoint(txn));
        rolled = engine_coll(txn, "r");
        OK(kiln_savepoint_rollback(txn));
        next(last == 1);
        aborted = engine_coll(txn, "a");
        kiln_txn_abort(txn);
        db = engine_reopen(disk, db);
        txn = engine_begin(db, KILN_WRITE);
        CHECK(engine_coll(txn, "b") > aborted && aborted > rolled);
        end();
    }
}

/* The log says the numbers of a committed transaction, rolled back or not; a checkpoint those of
 * aborted ones. */
static void
numbers_stay_taken_over_a_crash(void)
{
    kiln_coll aborted, rolled, dropped;

    begin();
    aborted = engine_coll(txn, "a");
    kiln_txn_abort(txn);
    OK(kiln_checkpoint(db));
    db_abandon(db);
    db = engine_open(disk, 0);
    txn = engine_begin(db, KILN_WRITE);
    OK(engine_put(txn, engine_coll(txn, "first"), "k", "v"));
    dropped = engine_coll(txn, "d");
    OK(kiln_coll_drop(txn, dropped));
    OK(kiln_savepoint(txn));
    rolled = engine_coll(txn, "r");
    OK(kiln_savepoint_rollback(txn));
    OK(kiln_txn_commit(txn));
    db_abandon(db);
    db = engine_open(disk, 0);
    txn = engine_begin(db, KILN_WRITE);
    CHECK(engine_coll(txn, "b") > rolled && rolled > dropped && dropped > aborted + 1);
    number_is_nobodys(rolled);
    number_is_nobodys(aborted);
    end();
}

static void
making_one_that_fails_takes_its_number_with_it(void)
{
    kiln_coll coll, seen = 0;
    unsigned failures = 0;
    bool failed = true;

    begin();
    for (uint64_t n = 1; failed; n++) {
        char name[32];
        snprintf(name, sizeof name, "n%llu", (unsigned long long)n);
        OK(kiln_savepoint(txn));
        ftk_fault_arm(FTK_FAULT_ALLOC, n, 1);
        failed = kiln_coll_open(txn, name, KILN_COLL_CREATE, &coll) != KILN_OK;
        ftk_fault_disarm();
        failures += failed;
        CHECK(!failed || coll == 0);
        OK(kiln_savepoint_rollback(txn));
        STATUS(kiln_coll_open(txn, name, 0, &coll), KILN_NOTFOUND);
        coll = engine_coll(txn, name);
        CHECK(coll > seen);
        seen = coll;
        OK(engine_put(txn, coll, "k", "v"));
        next(true);
    }
    CHECK(failures > 0);
    end();
}

static void
no_number_is_left_at_the_end(void)
{
    kiln_coll last, none;

    begin();
    db->coll_next = UINT32_MAX - 1;
    last = engine_coll(txn, "last");
    CHECK_EQ(last, UINT32_MAX - 1);
    STATUS(kiln_coll_open(txn, "none", KILN_COLL_CREATE, &none), KILN_NOSPACE);
    OK(engine_put(txn, last, "k", "v"));
    OK(kiln_txn_commit(txn));
    db_abandon(db);
    db = engine_open(disk, 0);
    txn = engine_begin(db, KILN_WRITE);
    CHECK_VALUE(txn, last, "k", "v");
    STATUS(kiln_coll_open(txn, "none", KILN_COLL_CREATE, &none), KILN_NOSPACE);
    end();
}

/* ---- listing --------------------------------------------------------------------------------- */

static void
place_is(uint64_t n, const char *name)
{
    char buffer[KILN_COLLECTION_NAME_MAX + 1];
    kiln_coll coll, same;
    kiln_status rc = kiln_coll_name(txn, n, buffer, sizeof buffer, &coll);

    if (name == NULL) {
        CHECK_EQ(rc, KILN_NOTFOUND);
        CHECK_EQ(coll, 0);
        return;
    }
    OK(rc);
    CHECK_STR(buffer, name);
    OK(kiln_coll_open(txn, name, 0, &same));
    CHECK_EQ(coll, same);
}

static void
places_are_right_in_any_order_and_after_changes(void)
{
    begin();
    engine_coll(txn, "a");
    engine_coll(txn, "b");
    engine_coll(txn, "c");
    next(true);
    place_is(0, "a");
    place_is(1, "b");
    place_is(1, "b");
    place_is(2, "c");
    place_is(3, NULL);
    place_is(0, "a");
    place_is(2, "c");
    OK(kiln_savepoint(txn));
    OK(kiln_coll_drop(txn, engine_coll(txn, "a")));
    place_is(0, "b");
    place_is(1, "c");
    OK(kiln_savepoint_rollback(txn));
    place_is(1, "b");
    OK(kiln_savepoint(txn)); /* as many changes as before the rollback, but others */
    OK(kiln_coll_drop(txn, engine_coll(txn, "c")));
    place_is(2, NULL);
    OK(kiln_savepoint_rollback(txn));
    engine_coll(txn, "d");
    place_is(2, "c");
    place_is(3, "d");
    end();
}

static void
places_follow_a_renewal(void)
{
    kiln_txn *writer;

    begin();
    engine_coll(txn, "a");
    engine_coll(txn, "b");
    OK(kiln_txn_commit(txn));
    txn = engine_begin(db, KILN_READ);
    place_is(0, "a");
    writer = engine_begin(db, KILN_WRITE);
    OK(kiln_coll_drop(writer, engine_coll(writer, "a")));
    OK(kiln_txn_commit(writer));
    place_is(1, "b");
    OK(kiln_txn_renew(txn));
    place_is(0, "b");
    place_is(1, NULL);
    end();
}

static void
next_goes_on_while_collections_come_and_go(void)
{
    char name[KILN_COLLECTION_NAME_MAX + 1];
    kiln_coll coll = 0;
    unsigned seen = 0;

    begin();
    for (unsigned i = 0; i < 10; i++) {
        snprintf(name, sizeof name, "n%u", i);
        engine_coll(txn, name);
    }
    while (kiln_coll_next(txn, coll, name, sizeof name, &coll) == KILN_OK) {
        CHECK_EQ(name[1], '0' + (int)seen * 2);
        OK(kiln_coll_drop(txn, coll));
        if (seen < 4)
            OK(kiln_coll_drop(txn, coll + 1));
        seen++;
        if (seen == 5) /* the last one: two that are new are still to come */
            break;
    }
    engine_coll(txn, "n8");
    OK(kiln_coll_next(txn, coll, name, sizeof name, &coll));
    CHECK_STR(name, "n9");
    OK(kiln_coll_next(txn, coll, name, sizeof name, &coll));
    CHECK_STR(name, "n8");
    STATUS(kiln_coll_next(txn, coll, name, sizeof name, &coll), KILN_NOTFOUND);
    CHECK_EQ(coll, 0);
    STATUS(kiln_coll_next(txn, UINT32_MAX, name, sizeof name, NULL), KILN_NOTFOUND);
    STATUS(kiln_coll_next(txn, 0, name, 2, &coll), KILN_TRUNCATED);
    end();
}

/* Collections of the records part lie between the others, and are no answer. */
static void
listing_passes_over_collections_of_records(void)
{
    char name[KILN_COLLECTION_NAME_MAX + 1];
    kiln_container container;
    kiln_coll coll = 0;

    begin();
    engine_coll(txn, "a");
    for (unsigned i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "container%u", i);
        OK(kiln_container_define(txn, name, &container));
    }
    engine_coll(txn, "b");
    place_is(0, "a");
    place_is(1, "b");
    place_is(2, NULL);
    OK(kiln_coll_next(txn, coll, name, sizeof name, &coll));
    CHECK_STR(name, "a");
    OK(kiln_coll_next(txn, coll, name, sizeof name, &coll));
    CHECK_STR(name, "b");
    end();
}

/* ---- many ------------------------------------------------------------------------------------ */

enum { MANY = 40000 };

static double
cpu(void)
{
    return (double)clock() / CLOCKS_PER_SEC;
}

/* One transaction makes, fills, finds, lists and drops them: none of it searches through all. */
static void
a_transaction_with_many_collections_takes_time_in_proportion(void)
{
    char name[KILN_COLLECTION_NAME_MAX + 1];
    double allowed = cpu() + 20; /* searching took minutes */
    kiln_coll first, coll = 0;
    kiln_slice value;
    uint64_t n = 0;

    begin();
    first = engine_coll(txn, "n0");
    for (unsigned i = 1; i < MANY; i++) {
        snprintf(name, sizeof name, "n%u", i);
        OK(engine_put(txn, engine_coll(txn, name), "k", name));
    }
    next(true);
    for (unsigned i = 1; i < MANY; i++) {
        OK(kiln_get(txn, first + i, "k", 1, &value));
        OK(engine_put(txn, first + i, "l", "v"));
    }
    for (unsigned i = 1; i < MANY; i++) /* each is open by now */
        OK(kiln_get(txn, first + i, "l", 1, &value));
    for (; kiln_coll_name(txn, n, name, sizeof name, &coll) == KILN_OK; n++)
        CHECK_EQ(coll, first + n);
    CHECK_EQ(n, MANY);
    for (coll = 0, n = 0; kiln_coll_next(txn, coll, name, sizeof name, &coll) == KILN_OK;)
        n++;
    CHECK_EQ(n, MANY);
    for (unsigned i = 0; i < MANY; i += 2)
        OK(kiln_coll_drop(txn, first + i));
    next(true);
    STATUS(kiln_get(txn, first, "k", 1, &value), KILN_NOTFOUND);
    OK(kiln_get(txn, first + 1, "l", 1, &value));
    end();
    CHECK_MSG(cpu() < allowed, "%.1f s too much", cpu() - allowed);
}

/* A renewal leaves what is open to be read again when it is used. */
static void
renewing_with_many_collections_open_costs_what_is_used(void)
{
    char name[16];
    kiln_cursor *cursor;
    kiln_slice value;
    double allowed;
    kiln_coll first = 0;

    begin();
    for (unsigned i = 0; i < 3000; i++) {
        kiln_coll coll;
        snprintf(name, sizeof name, "n%u", i);
        coll = engine_coll(txn, name);
        first = i == 0 ? coll : first;
        OK(engine_put(txn, coll, "k", "v"));
    }
    OK(kiln_txn_commit(txn));
    txn = engine_begin(db, KILN_READ);
    for (unsigned i = 0; i < 3000; i++)
        OK(kiln_get(txn, first + i, "k", 1, &value));
    OK(kiln_cursor_open(txn, first + 7, 0, &cursor));
    allowed = cpu() + 3;
    for (unsigned i = 0; i < 3000; i++) {
        OK(kiln_txn_renew(txn));
        OK(kiln_get(txn, first + i, "k", 1, &value));
        OK(kiln_cursor_first(cursor));
    }
    CHECK_MSG(cpu() < allowed, "%.1f s too much", cpu() - allowed);
    kiln_txn *writer = engine_begin(db, KILN_WRITE);
    OK(engine_put(writer, first + 7, "a", "before k"));
    OK(kiln_coll_drop(writer, first + 9));
    OK(kiln_txn_commit(writer));
    OK(kiln_cursor_first(cursor));
    OK(kiln_cursor_item(cursor, &value, NULL));
    CHECK_EQ(value.size == 1 && *(const char *)value.data == 'k', true);
    OK(kiln_get(txn, first + 9, "k", 1, &value));
    OK(kiln_txn_renew(txn));
    OK(kiln_cursor_next(cursor));
    OK(kiln_cursor_item(cursor, &value, NULL));
    CHECK_EQ(value.size == 1 && *(const char *)value.data == 'a', true);
    STATUS(kiln_get(txn, first + 9, "k", 1, &value), KILN_NOTFOUND);
    end();
}

TEST_MAIN("engine_names", TEST(number_of_a_collection_that_was_never_committed_is_nobodys),
          TEST(number_of_a_dropped_collection_is_nobodys), TEST(numbers_stay_taken_over_a_close),
          TEST(numbers_stay_taken_over_a_crash),
          TEST(making_one_that_fails_takes_its_number_with_it), TEST(no_number_is_left_at_the_end),
          TEST(places_are_right_in_any_order_and_after_changes), TEST(places_follow_a_renewal),
          TEST(next_goes_on_while_collections_come_and_go),
          TEST(listing_passes_over_collections_of_records),
          TEST(a_transaction_with_many_collections_takes_time_in_proportion),
          TEST(renewing_with_many_collections_open_costs_what_is_used))
