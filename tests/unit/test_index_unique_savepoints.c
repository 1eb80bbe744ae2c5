/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/test_index_unique_savepoints.c -- a conflict that was mended behind a savepoint is
 * back when that savepoint is rolled back, whatever was judged in between.
 *
 * Two records have the same values in a unique index; behind a savepoint the conflict goes away
 * and kiln_records_flush finds nothing; after the rollback the commit must refuse.
 */
#include <stdio.h>

#include "tests/support/record_testing.h"

enum { PAIRS_MANY = 45000 }; /* more conflicts than are remembered one by one */

struct pairs {
    kiln_db *db;
    kiln_txn *txn;
    struct people people;
    kiln_index unique;
    uint64_t second; /* the second records of the pairs: ids from here on */
    unsigned count;
};

static void
pairs_add(struct pairs *pairs, unsigned from, unsigned count)
{
    kiln_record *record;
    char text[120];

    OK(kiln_record_new(&record));
    pairs->count = count;
    for (unsigned i = 0; i < 2 * count; i++) {
        uint64_t id = 0;
        snprintf(text, sizeof text, "%090u", from + i % count);
        person_fill(record, &pairs->people, NULL, text, -1);
        OK(kiln_record_add(pairs->txn, pairs->people.container, record, &id));
        if (i == count)
            pairs->second = id;
    }
    kiln_record_free(record);
}

/* A committed dictionary; a transaction with so many conflicts, and a savepoint behind them. */
static struct pairs
pairs_begin(unsigned count)
{
    struct pairs pairs = {.db = records_open()};

    pairs.txn = records_begin(pairs.db, KILN_WRITE);
    pairs.people = people_define(pairs.txn);
    pairs.unique = index_on(pairs.txn, "unique last", pairs.people.container, &pairs.people.last, 1,
                            KILN_UNIQUE);
    OK(kiln_txn_commit(pairs.txn));
    pairs.txn = records_begin(pairs.db, KILN_WRITE);
    pairs_add(&pairs, 0, count);
    STATUS(kiln_records_flush(pairs.txn), FTK_EXISTS);
    OK(kiln_savepoint(pairs.txn));
    return pairs;
}

static void
pairs_mend(struct pairs *pairs)
{
    for (unsigned i = 0; i < pairs->count; i++)
        OK(kiln_record_delete(pairs->txn, pairs->people.container, pairs->second + i));
}

static void
pairs_refused(struct pairs *pairs)
{
    STATUS(kiln_txn_commit(pairs->txn), FTK_EXISTS);
    records_close(pairs->db);
}

static void
a_conflict_mended_and_judged_is_back_after_the_rollback(void)
{
    struct pairs pairs = pairs_begin(1);

    pairs_mend(&pairs);
    OK(kiln_records_flush(pairs.txn));
    OK(kiln_savepoint_rollback(pairs.txn));
    pairs_refused(&pairs);
}

static void
so_it_is_when_an_inner_savepoint_was_released(void)
{
    struct pairs pairs = pairs_begin(3);

    OK(kiln_savepoint(pairs.txn));
    pairs_mend(&pairs);
    OK(kiln_records_flush(pairs.txn));
    OK(kiln_savepoint_release(pairs.txn));
    OK(kiln_records_flush(pairs.txn));
    OK(kiln_savepoint_rollback(pairs.txn));
    pairs_refused(&pairs);
}

static void
so_it_is_when_it_was_mended_twice(void)
{
    struct pairs pairs = pairs_begin(3);

    for (int i = 0; i < 2; i++) {
        pairs_mend(&pairs);
        OK(kiln_records_flush(pairs.txn));
        OK(kiln_savepoint_rollback(pairs.txn));
        STATUS(kiln_records_flush(pairs.txn), FTK_EXISTS);
        OK(kiln_savepoint(pairs.txn));
    }
    pairs_refused(&pairs);
}

static void
so_it_is_when_the_index_was_dropped(void)
{
    struct pairs pairs = pairs_begin(1);

    OK(kiln_index_drop(pairs.txn, pairs.unique));
    OK(kiln_records_flush(pairs.txn));
    OK(kiln_savepoint_rollback(pairs.txn));
    pairs_refused(&pairs);
}

static void
so_it_is_when_the_container_was_dropped(void)
{
    struct pairs pairs = pairs_begin(2);

    OK(kiln_container_drop(pairs.txn, pairs.people.container));
    OK(kiln_records_flush(pairs.txn));
    OK(kiln_savepoint_rollback(pairs.txn));
    pairs_refused(&pairs);
}

static void
so_it_is_with_more_conflicts_than_are_remembered(void)
{
    struct pairs pairs = pairs_begin(PAIRS_MANY);

    pairs_mend(&pairs);
    OK(kiln_records_flush(pairs.txn));
    OK(kiln_savepoint_rollback(pairs.txn));
    pairs_refused(&pairs);
}

/* One is suspect before the savepoint; those behind it push it out of what is remembered. */
static void
so_it_is_when_it_was_forgotten_for_others(void)
{
    struct pairs pairs = pairs_begin(1);

    pairs_mend(&pairs);
    pairs_add(&pairs, 1, PAIRS_MANY);
    STATUS(kiln_records_flush(pairs.txn), FTK_EXISTS);
    pairs_mend(&pairs);
    OK(kiln_records_flush(pairs.txn));
    OK(kiln_savepoint_rollback(pairs.txn));
    pairs_refused(&pairs);
}

static void
what_is_mended_after_the_rollback_commits(void)
{
    struct pairs pairs = pairs_begin(3);

    pairs_mend(&pairs);
    OK(kiln_records_flush(pairs.txn));
    OK(kiln_savepoint_rollback(pairs.txn));
    pairs_mend(&pairs);
    OK(kiln_txn_commit(pairs.txn));
    records_close(pairs.db);
}

TEST_MAIN("index_unique_savepoints", TEST(a_conflict_mended_and_judged_is_back_after_the_rollback),
          TEST(so_it_is_when_an_inner_savepoint_was_released),
          TEST(so_it_is_when_it_was_mended_twice), TEST(so_it_is_when_the_index_was_dropped),
          TEST(so_it_is_when_the_container_was_dropped),
          TEST(so_it_is_with_more_conflicts_than_are_remembered),
          TEST(so_it_is_when_it_was_forgotten_for_others),
          TEST(what_is_mended_after_the_rollback_commits))
