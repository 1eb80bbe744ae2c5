/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_engine_recovery.c -- what the log brings back, and what it must not. */
#include "tests/unit/engine_testing.h"

static struct simdisk *disk;
static kiln_db *db;
static kiln_txn *txn;
static kiln_coll coll;

/* As after a crash: nothing but the log says what was committed. */
static void
recover(void)
{
    db_abandon(db);
    db = engine_open(disk, 0);
    engine_check(db);
}

static void
stream_and_abort(void)
{
    static const uint8_t value[900];

    txn = engine_begin(db, KILN_WRITE);
    coll = engine_coll(txn, "c");
    for (unsigned i = 0; i < 2000; i++) {
        char key[16];
        int size = snprintf(key, sizeof key, "stale%u", i);
        OK(kiln_put(txn, coll, key, (size_t)size, value, sizeof value, 0));
    }
    kiln_txn_abort(txn);
}

/* Numbers of transactions that left nothing in the log are given again after a recovery. */
static void
fragments_of_an_unfinished_transaction_never_join_a_later_one(void)
{
    for (unsigned empty = 0; empty < 8; empty++) {
        disk = simdisk_new(NULL);
        db = engine_open(disk, KILN_CREATE);
        txn = engine_begin(db, KILN_WRITE);
        coll = engine_coll(txn, "c");
        OK(kiln_txn_commit(txn));
        for (unsigned i = 0; i < 4; i++)
            kiln_txn_abort(engine_begin(db, KILN_WRITE));
        stream_and_abort();
        recover();
        for (unsigned i = 0; i < empty; i++)
            kiln_txn_abort(engine_begin(db, KILN_WRITE));
        txn = engine_begin(db, KILN_WRITE);
        OK(engine_put(txn, coll, "new", "value"));
        OK(kiln_txn_commit(txn));
        recover();
        txn = engine_begin(db, KILN_READ);
        CHECK_VALUE(txn, coll, "new", "value");
        CHECK_VALUE(txn, coll, "stale0", NULL);
        OK(kiln_txn_commit(txn));
        engine_end(disk, db);
    }
}

/* Nothing comes behind its fragments: the log simply ends. */
static void
a_transaction_whose_end_the_log_lacks_never_was(void)
{
    disk = simdisk_new(NULL);
    db = engine_open(disk, KILN_CREATE);
    txn = engine_begin(db, KILN_WRITE);
    coll = engine_coll(txn, "c");
    OK(engine_put(txn, coll, "kept", "value"));
    OK(kiln_txn_commit(txn));
    stream_and_abort();
    for (unsigned i = 0; i < 2; i++) {
        recover();
        txn = engine_begin(db, KILN_READ);
        CHECK_VALUE(txn, coll, "kept", "value");
        CHECK_VALUE(txn, coll, "stale0", NULL);
        CHECK_VALUE(txn, coll, "stale1", NULL);
        OK(kiln_txn_commit(txn));
    }
    engine_end(disk, db);
}

/* A replay gathers puts; whatever is not one must not overtake them. */
static void
operations_are_replayed_in_their_order(void)
{
    kiln_coll cleared, dropped;

    disk = simdisk_new(NULL);
    db = engine_open(disk, KILN_CREATE);
    txn = engine_begin(db, KILN_WRITE);
    coll = engine_coll(txn, "c");
    cleared = engine_coll(txn, "cleared");
    dropped = engine_coll(txn, "dropped");
    OK(engine_put(txn, coll, "deleted", "1"));
    OK(engine_put(txn, coll, "again", "1"));
    OK(kiln_delete(txn, coll, "deleted", 7));
    OK(kiln_delete(txn, coll, "again", 5));
    OK(engine_put(txn, coll, "again", "2"));
    OK(engine_put(txn, cleared, "before", "1"));
    OK(kiln_coll_clear(txn, cleared));
    OK(engine_put(txn, cleared, "behind", "1"));
    OK(engine_put(txn, dropped, "gone", "1"));
    OK(kiln_coll_drop(txn, dropped));
    OK(kiln_savepoint(txn));
    OK(engine_put(txn, coll, "again", "3"));
    OK(engine_put(txn, coll, "undone", "1"));
    OK(kiln_savepoint_rollback(txn));
    OK(engine_put(txn, coll, "last", "1"));
    OK(kiln_txn_commit(txn));
    recover();
    txn = engine_begin(db, KILN_READ);
    CHECK_VALUE(txn, coll, "deleted", NULL);
    CHECK_VALUE(txn, coll, "again", "2");
    CHECK_VALUE(txn, coll, "undone", NULL);
    CHECK_VALUE(txn, coll, "last", "1");
    CHECK_VALUE(txn, cleared, "before", NULL);
    CHECK_VALUE(txn, cleared, "behind", "1");
    OK(kiln_txn_commit(txn));
    engine_end(disk, db);
}

static void
puts_into_more_collections_than_are_gathered_for_come_back_in_theirs(void)
{
    enum { COLLS = 40 };
    kiln_coll colls[COLLS];
    char name[16];

    disk = simdisk_new(NULL);
    db = engine_open(disk, KILN_CREATE);
    txn = engine_begin(db, KILN_WRITE);
    for (unsigned i = 0; i < COLLS; i++) {
        snprintf(name, sizeof name, "c%u", i);
        colls[i] = engine_coll(txn, name);
    }
    OK(kiln_txn_commit(txn));
    txn = engine_begin(db, KILN_WRITE);
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < COLLS; i++) {
            snprintf(name, sizeof name, "%u of %u", round, i);
            OK(engine_put(txn, colls[i], name, name));
        }
    }
    OK(kiln_txn_commit(txn));
    recover();
    txn = engine_begin(db, KILN_READ);
    for (unsigned i = 0; i < COLLS; i++) {
        uint64_t count = 0;
        OK(kiln_coll_count(txn, colls[i], &count));
        CHECK_EQ(count, 3);
        for (unsigned round = 0; round < 3; round++) {
            snprintf(name, sizeof name, "%u of %u", round, i);
            CHECK_VALUE(txn, colls[i], name, name);
        }
    }
    OK(kiln_txn_commit(txn));
    engine_end(disk, db);
}

TEST_MAIN("engine_recovery", TEST(fragments_of_an_unfinished_transaction_never_join_a_later_one),
          TEST(a_transaction_whose_end_the_log_lacks_never_was),
          TEST(operations_are_replayed_in_their_order),
          TEST(puts_into_more_collections_than_are_gathered_for_come_back_in_theirs))
