/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_engine_cursor.c -- cursors: ends, bounds, prefixes, changes under them. */
#include <time.h>

#include "tests/unit/engine_testing.h"

static struct simdisk *disk;
static kiln_db *db;
static kiln_txn *txn;
static kiln_coll coll;
static kiln_cursor *cursor;

/* Keys of the letters, each with and without a tail. */
static void
begin(const char *letters)
{
    disk = simdisk_new(NULL);
    db = engine_open(disk, KILN_CREATE);
    txn = engine_begin(db, KILN_WRITE);
    coll = engine_coll(txn, "c");
    for (; *letters != 0; letters++) {
        char key[3] = {*letters, 't', 0};
        OK(kiln_put(txn, coll, key, 1, "1", 1, 0));
        OK(kiln_put(txn, coll, key, 2, "2", 1, 0));
    }
    OK(kiln_cursor_open(txn, coll, 0, &cursor));
}

static void
end(void)
{
    kiln_cursor_close(cursor);
    OK(kiln_txn_commit(txn));
    engine_end(disk, db);
}

/* The cursor is at this key; NULL: the move found nothing. */
#define AT(call, key)                                                                              \
    test_check(is_at((call), (key)), #call " is at " #key, __FILE__, __LINE__, false)
static bool
is_at(kiln_status rc, const char *key)
{
    kiln_slice got;

    if (key == NULL)
        return rc == KILN_NOTFOUND && kiln_cursor_item(cursor, &got, NULL) == KILN_STATE;
    return rc == KILN_OK && kiln_cursor_item(cursor, &got, NULL) == KILN_OK &&
           got.size == strlen(key) && memcmp(got.data, key, got.size) == 0;
}

static void
moves_past_an_end_unposition_and_come_back_from_the_other(void)
{
    begin("ac");
    AT(kiln_cursor_next(cursor), "a");
    AT(kiln_cursor_prev(cursor), NULL);
    AT(kiln_cursor_prev(cursor), "ct");
    AT(kiln_cursor_next(cursor), NULL);
    AT(kiln_cursor_next(cursor), "a");
    AT(kiln_cursor_last(cursor), "ct");
    AT(kiln_cursor_first(cursor), "a");
    end();
}

static void
seeks_find_the_nearest_key_on_their_side(void)
{
    begin("ace");
    AT(kiln_cursor_seek(cursor, "b", 1), "c");
    AT(kiln_cursor_seek(cursor, "c", 1), "c");
    AT(kiln_cursor_seek(cursor, "ca", 2), "ct");
    AT(kiln_cursor_seek(cursor, "f", 1), NULL);
    AT(kiln_cursor_seek(cursor, "", 0), "a");
    AT(kiln_cursor_seek_before(cursor, "b", 1), "at");
    AT(kiln_cursor_seek_before(cursor, "c", 1), "c");
    AT(kiln_cursor_seek_before(cursor, "A", 1), NULL);
    AT(kiln_cursor_seek_before(cursor, "z", 1), "et");
    STATUS(kiln_cursor_seek(cursor, NULL, 1), KILN_INVALID);
    end();
}

static void
bounds_hold_for_every_move(void)
{
    begin("abcdef");
    OK(kiln_cursor_bounds(cursor, (kiln_slice){"b", 1}, (kiln_slice){"dt", 2}));
    AT(kiln_cursor_first(cursor), "b");
    AT(kiln_cursor_prev(cursor), NULL);
    AT(kiln_cursor_last(cursor), "d");
    AT(kiln_cursor_next(cursor), NULL);
    AT(kiln_cursor_seek(cursor, "a", 1), "b");
    AT(kiln_cursor_seek(cursor, "e", 1), NULL);
    AT(kiln_cursor_seek_before(cursor, "f", 1), "d");
    AT(kiln_cursor_seek_before(cursor, "a", 1), NULL);
    OK(kiln_cursor_bounds(cursor, (kiln_slice){"x", 1}, (kiln_slice){NULL, 0}));
    AT(kiln_cursor_first(cursor), NULL);
    AT(kiln_cursor_last(cursor), NULL);
    OK(kiln_cursor_bounds(cursor, (kiln_slice){"e", 1}, (kiln_slice){"b", 1})); /* nothing */
    AT(kiln_cursor_first(cursor), NULL);
    AT(kiln_cursor_last(cursor), NULL);
    end();
}

static void
a_bound_without_data_is_open_whatever_its_size(void)
{
    begin("abc");
    OK(kiln_cursor_bounds(cursor, (kiln_slice){NULL, 3}, (kiln_slice){"c", 1}));
    AT(kiln_cursor_first(cursor), "a");
    AT(kiln_cursor_last(cursor), "bt");
    OK(kiln_cursor_bounds(cursor, (kiln_slice){"b", 1}, (kiln_slice){NULL, 3}));
    AT(kiln_cursor_first(cursor), "b");
    AT(kiln_cursor_last(cursor), "ct");
    end();
}

static void
prefix_walks_its_keys_alone_up_to_ff(void)
{
    begin("a");
    OK(kiln_put(txn, coll, "\xff", 1, "", 0, 0));
    OK(kiln_put(txn, coll, "\xff\xff", 2, "", 0, 0));
    OK(kiln_put(txn, coll, "b\xff", 2, "", 0, 0));
    OK(kiln_put(txn, coll, "b\xff\x01", 3, "", 0, 0));
    OK(kiln_put(txn, coll, "c", 1, "", 0, 0));
    OK(kiln_cursor_prefix(cursor, "b\xff", 2));
    AT(kiln_cursor_first(cursor), "b\xff");
    AT(kiln_cursor_next(cursor), "b\xff\x01");
    AT(kiln_cursor_next(cursor), NULL);
    AT(kiln_cursor_last(cursor), "b\xff\x01");
    OK(kiln_cursor_prefix(cursor, "\xff", 1));
    AT(kiln_cursor_first(cursor), "\xff");
    AT(kiln_cursor_last(cursor), "\xff\xff");
    OK(kiln_cursor_prefix(cursor, "", 0));
    AT(kiln_cursor_first(cursor), "a");
    AT(kiln_cursor_last(cursor), "\xff\xff");
    end();
}

static void
cursor_finds_its_place_after_changes(void)
{
    begin("ace");
    AT(kiln_cursor_seek(cursor, "c", 1), "c");
    OK(kiln_delete(txn, coll, "c", 1));
    AT(kiln_cursor_next(cursor), "ct");
    OK(engine_series(txn, coll, 0, 3000, 100)); /* splits under it */
    AT(kiln_cursor_next(cursor), "e");
    OK(kiln_cursor_delete(cursor));
    STATUS(kiln_cursor_delete(cursor), KILN_STATE);
    AT(kiln_cursor_next(cursor), "et");
    OK(kiln_cursor_delete(cursor));
    AT(kiln_cursor_prev(cursor), "ct");
    OK(kiln_coll_clear(txn, coll));
    AT(kiln_cursor_next(cursor), NULL);
    end();
}

static void
deleting_all_by_cursor_leaves_an_empty_collection(void)
{
    uint64_t count = 1;

    begin("");
    OK(engine_series(txn, coll, 0, 5000, 150));
    while (kiln_cursor_next(cursor) == KILN_OK)
        OK(kiln_cursor_delete(cursor));
    OK(kiln_coll_count(txn, coll, &count));
    CHECK_EQ(count, 0);
    end();
}

static void
item_and_large_value_stay_while_others_are_read(void)
{
    static uint8_t large[50000];
    kiln_slice key, value, other;

    memset(large, 'L', sizeof large);
    begin("ab");
    OK(kiln_put(txn, coll, "large", 5, large, sizeof large, 0));
    AT(kiln_cursor_seek(cursor, "large", 5), "large");
    OK(kiln_cursor_item(cursor, &key, &value));
    for (unsigned i = 0; i < 3; i++) { /* the transaction's own hold is another one */
        OK(kiln_get(txn, coll, "a", 1, &other));
        OK(kiln_get(txn, coll, "large", 5, &other));
    }
    CHECK_EQ(value.size, sizeof large);
    CHECK_MEM(value.data, large, sizeof large);
    AT(kiln_cursor_prev(cursor), "bt");
    end();
}

/* Each close takes the same time, whatever the order: 30,000 in the order of their opening took
 * seven seconds when a close searched for its cursor. */
enum { MANY = 30000 };

static void
many_cursors_close_in_any_order_each_at_once(void)
{
    static kiln_cursor *many[MANY];
    struct ftk_random random = test_random();
    double allowed = (double)clock() / CLOCKS_PER_SEC + 3;

    begin("ace");
    for (unsigned order = 0; order < 4; order++) {
        for (unsigned i = 0; i < MANY; i++)
            OK(kiln_cursor_open(txn, coll, 0, &many[i]));
        for (unsigned i = 0; i < MANY && order == 2; i++) {
            uint64_t j = i + ftk_random_below(&random, MANY - i);
            kiln_cursor *other = many[j];
            many[j] = many[i];
            many[i] = other;
        }
        for (unsigned i = 0; i < MANY && order < 3; i++)
            kiln_cursor_close(many[order == 1 ? MANY - 1 - i : i]);
        AT(kiln_cursor_seek(cursor, "c", 1), "c"); /* the one that is left is whole */
    }
    CHECK((double)clock() / CLOCKS_PER_SEC < allowed);
    end(); /* closes those of the last round */
}

static void
cursors_closed_among_others_leave_the_others_in_place(void)
{
    kiln_cursor *few[5];

    begin("ace");
    for (unsigned i = 0; i < 5; i++) {
        OK(kiln_cursor_open(txn, coll, 0, &few[i]));
        OK(kiln_cursor_seek(few[i], "a", 1));
    }
    kiln_cursor_close(few[2]); /* the middle, the newest, the second oldest */
    kiln_cursor_close(few[4]);
    kiln_cursor_close(few[0]);
    OK(kiln_savepoint(txn));
    OK(kiln_savepoint_rollback(txn)); /* unpositions every one that is open */
    STATUS(kiln_cursor_item(few[1], NULL, NULL), KILN_STATE);
    STATUS(kiln_cursor_item(few[3], NULL, NULL), KILN_STATE);
    OK(kiln_cursor_next(few[1]));
    kiln_cursor_close(few[3]);
    kiln_cursor_close(few[1]);
    AT(kiln_cursor_seek(cursor, "e", 1), "e");
    end();
}

/* However often it is asked for: it is neither its neighbour, nor does the next move pass one. */
static void
an_item_that_another_call_deleted_is_gone_until_the_cursor_moves(void)
{
    kiln_slice key, value;

    begin("abc");
    for (unsigned asked = 0; asked < 3; asked++) {
        AT(kiln_cursor_seek(cursor, "b", 1), "b");
        OK(kiln_delete(txn, coll, "b", 1));
        for (unsigned i = 0; i < asked; i++) {
            STATUS(kiln_cursor_item(cursor, &key, &value), KILN_STATE);
            STATUS(kiln_cursor_delete(cursor), KILN_STATE);
        }
        AT(kiln_cursor_next(cursor), "bt");
        OK(kiln_put(txn, coll, "b", 1, "1", 1, 0));
        AT(kiln_cursor_seek(cursor, "b", 1), "b");
        OK(kiln_delete(txn, coll, "b", 1));
        for (unsigned i = 0; i < asked; i++)
            STATUS(kiln_cursor_item(cursor, &key, NULL), KILN_STATE);
        AT(kiln_cursor_prev(cursor), "at");
        OK(kiln_put(txn, coll, "b", 1, "1", 1, 0));
        AT(kiln_cursor_last(cursor), "ct"); /* nothing is behind it */
        OK(kiln_delete(txn, coll, "ct", 2));
        for (unsigned i = 0; i < asked; i++) {
            STATUS(kiln_cursor_item(cursor, &key, &value), KILN_STATE);
            STATUS(kiln_cursor_delete(cursor), KILN_STATE);
        }
        OK(kiln_put(txn, coll, "ct", 2, "2", 1, 0)); /* and back */
        OK(kiln_cursor_item(cursor, &key, &value));
        CHECK_EQ(key.size, 2);
    }
    end();
}

/* What came and went around the cursor's item, not what was there when it was found. */
static void
steps_back_see_what_has_changed_before_the_item(void)
{
    begin("abc");
    AT(kiln_cursor_seek(cursor, "b", 1), "b");
    OK(kiln_put(txn, coll, "az", 2, "3", 1, 0));
    AT(kiln_cursor_prev(cursor), "az");
    AT(kiln_cursor_seek(cursor, "b", 1), "b");
    OK(kiln_delete(txn, coll, "az", 2));
    AT(kiln_cursor_prev(cursor), "at");
    AT(kiln_cursor_seek(cursor, "c", 1), "c");
    OK(kiln_delete(txn, coll, "a", 1));
    OK(kiln_delete(txn, coll, "at", 2));
    OK(kiln_delete(txn, coll, "b", 1));
    AT(kiln_cursor_prev(cursor), "bt");
    AT(kiln_cursor_prev(cursor), NULL);
    AT(kiln_cursor_seek(cursor, "c", 1), "c");
    OK(engine_series(txn, coll, 0, 3000, 100)); /* splits before it */
    AT(kiln_cursor_prev(cursor), "bt");
    OK(kiln_delete(txn, coll, "c", 1));
    AT(kiln_cursor_last(cursor), "ct");
    AT(kiln_cursor_prev(cursor), "bt");
    end();
}

static void
new_bounds_leave_the_cursor_on_no_item(void)
{
    kiln_slice key, none = {NULL, 0};

    begin("abc");
    AT(kiln_cursor_seek(cursor, "a", 1), "a");
    OK(kiln_cursor_bounds(cursor, (kiln_slice){"b", 1}, none));
    STATUS(kiln_cursor_item(cursor, &key, NULL), KILN_STATE);
    AT(kiln_cursor_next(cursor), "b"); /* the first of the new range */
    OK(kiln_cursor_bounds(cursor, none, (kiln_slice){"b", 1}));
    STATUS(kiln_cursor_item(cursor, &key, NULL), KILN_STATE);
    AT(kiln_cursor_prev(cursor), "at"); /* the last one */
    end();
}

/* Whatever has emptied it; and the place is found again when keys come back. */
static void
an_item_of_a_collection_that_was_emptied_is_gone_and_its_place_is_kept(void)
{
    static const char *const keys[] = {"a", "at", "b", "bt", "c", "ct"};

    begin("abc");
    for (unsigned round = 0; round < 8; round++) {
        AT(kiln_cursor_seek(cursor, "b", 1), "b");
        if (round % 2 == 0)
            OK(kiln_coll_clear(txn, coll));
        for (unsigned i = 0; i < 6 && round % 2 == 1; i++)
            OK(kiln_delete(txn, coll, keys[i], strlen(keys[i])));
        STATUS(kiln_cursor_item(cursor, NULL, NULL), KILN_STATE);
        STATUS(kiln_cursor_delete(cursor), KILN_STATE);
        for (unsigned i = 0; i < 6; i++)
            OK(engine_put(txn, coll, keys[i], "again"));
        if (round < 4)
            AT(KILN_OK, "b");
        if (round % 4 < 2)
            AT(kiln_cursor_next(cursor), "bt");
        else
            AT(kiln_cursor_prev(cursor), "at");
    }
    end();
}

/* ---- moves that fail ------------------------------------------------------------------------- */

enum { KEYS = 4000 };

/* A collection of many leaves, of which none is in memory. */
static void
begin_cold(uint32_t kind, uint32_t flags)
{
    disk = simdisk_new(NULL);
    db = engine_open(disk, KILN_CREATE);
    txn = engine_begin(db, KILN_WRITE);
    coll = engine_coll(txn, "c");
    OK(engine_series(txn, coll, 0, KEYS, 300));
    OK(kiln_txn_commit(txn));
    db = engine_reopen(disk, db);
    txn = engine_begin(db, kind);
    OK(kiln_cursor_open(txn, coll, flags, &cursor));
}

static uint64_t
number(void)
{
    kiln_slice key = {NULL, 0};

    OK(kiln_cursor_item(cursor, &key, NULL));
    CHECK_EQ(key.size, 8);
    return ftk_get_be64(key.data);
}

/* From item to item through reads of which every second fails: each item comes once. */
static void
walk(bool forward)
{
    uint64_t at, failed = 0;
    kiln_status rc = KILN_OK;

    simdisk_fail_clear(disk);
    OK(forward ? kiln_cursor_first(cursor) : kiln_cursor_last(cursor));
    for (at = number(); rc != KILN_NOTFOUND;) {
        simdisk_fail(disk, SIMDISK_READ, 1, 1, EIO);
        rc = forward ? kiln_cursor_next(cursor) : kiln_cursor_prev(cursor);
        simdisk_fail_clear(disk);
        if (rc == KILN_OK)
            at += forward ? 1 : UINT64_MAX;
        else if (rc == KILN_IO)
            failed++;
        else
            STATUS(rc, KILN_NOTFOUND);
        if (rc == KILN_IO && failed % 3 == 0) /* or without a look */
            OK(forward ? kiln_cursor_next(cursor) : kiln_cursor_prev(cursor)),
                at += forward ? 1 : UINT64_MAX;
        if (rc != KILN_NOTFOUND)
            CHECK_EQ(number(), at);
    }
    CHECK_EQ(at, forward ? KEYS - 1 : 0);
    CHECK(failed > 100);
}

static void
a_step_that_fails_leaves_the_cursor_where_it_was(void)
{
    uint8_t low[8];

    for (unsigned form = 0; form < 16; form++) {
        begin_cold(form & 1 ? KILN_WRITE : KILN_READ, form & 2 ? KILN_CURSOR_SCAN : 0);
        engine_key(0, low);
        if (form & 4)
            OK(kiln_cursor_bounds(cursor, (kiln_slice){low, 8}, (kiln_slice){"\xff", 1}));
        walk((form & 8) == 0);
        end();
    }
}

/* The item was deleted and its leaf is to be read again: the place is still known. */
static void
a_look_for_the_place_that_fails_keeps_it(void)
{
    uint8_t key[8];

    begin_cold(KILN_WRITE, 0);
    engine_key(2000, key);
    OK(kiln_cursor_seek(cursor, key, 8));
    OK(kiln_cursor_delete(cursor));
    OK(engine_series(txn, coll, KEYS, KEYS + 20000, 300)); /* it leaves the cache of 4 MiB */
    simdisk_fail(disk, SIMDISK_READ, 1, 1, EIO);
    STATUS(kiln_cursor_next(cursor), KILN_IO);
    simdisk_fail_clear(disk);
    STATUS(kiln_cursor_item(cursor, NULL, NULL), KILN_STATE);
    OK(kiln_cursor_next(cursor));
    CHECK_EQ(number(), 2001);
    end();
}

static void
a_seek_that_fails_leaves_the_cursor_on_no_item(void)
{
    uint8_t key[8];

    for (unsigned move = 0; move < 4; move++) {
        begin_cold(KILN_READ, 0);
        engine_key(1000, key);
        OK(kiln_cursor_seek(cursor, key, 8));
        engine_key(3000, key);
        simdisk_fail(disk, SIMDISK_READ, 1, 1, EIO);
        STATUS(move == 0   ? kiln_cursor_first(cursor)
               : move == 1 ? kiln_cursor_last(cursor)
               : move == 2 ? kiln_cursor_seek(cursor, key, 8)
                           : kiln_cursor_seek_before(cursor, key, 8),
               KILN_IO);
        simdisk_fail_clear(disk);
        STATUS(kiln_cursor_item(cursor, NULL, NULL), KILN_STATE);
        OK(kiln_cursor_next(cursor));
        CHECK_EQ(number(), 0);
        end();
    }
}

TEST_MAIN("engine_cursor", TEST(moves_past_an_end_unposition_and_come_back_from_the_other),
          TEST(seeks_find_the_nearest_key_on_their_side), TEST(bounds_hold_for_every_move),
          TEST(a_bound_without_data_is_open_whatever_its_size),
          TEST(prefix_walks_its_keys_alone_up_to_ff), TEST(cursor_finds_its_place_after_changes),
          TEST(an_item_that_another_call_deleted_is_gone_until_the_cursor_moves),
          TEST(deleting_all_by_cursor_leaves_an_empty_collection),
          TEST(item_and_large_value_stay_while_others_are_read),
          TEST(many_cursors_close_in_any_order_each_at_once),
          TEST(cursors_closed_among_others_leave_the_others_in_place),
          TEST(steps_back_see_what_has_changed_before_the_item),
          TEST(new_bounds_leave_the_cursor_on_no_item),
          TEST(an_item_of_a_collection_that_was_emptied_is_gone_and_its_place_is_kept),
          TEST(a_step_that_fails_leaves_the_cursor_where_it_was),
          TEST(a_look_for_the_place_that_fails_keeps_it),
          TEST(a_seek_that_fails_leaves_the_cursor_on_no_item))
