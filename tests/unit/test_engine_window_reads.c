/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/test_engine_window_reads.c -- leaves changed in place whose parents cannot be read:
 * the error is that of whoever needs the leaf, nothing is lost, and the next one tries again.
 *
 * The parents of a dirty leaf are dirty, too, and so in the cache.  What the rules say of one that
 * is not there and cannot be read is shown with a page of another collection, which nobody has read
 * since the open, in the parent's place: the read is a real one, and fails on the disk.
 */
#include "tests/unit/window_testing.h"

static struct {
    window_copy *honest;
    uint64_t page;
} parent;

static bool
copy_below_an_absent_parent(kiln_txn *txn, const struct window_leaf *leaf, uint64_t *absent_out)
{
    bool there;

    cache_enter(txn->fast, txn->slot);
    there = cache_use(txn->fast, parent.page);
    cache_leave(txn->slot);
    *absent_out = parent.page;
    return there && parent.honest(txn, leaf, absent_out);
}

/* A place that has been opened anew; all leaves of its collection have been changed since then. */
static struct place
place_with_an_absent_parent(void)
{
    struct place place = place_new();
    kiln_options options = place_options(0);
    struct tree *tree;
    kiln_txn *txn = engine_begin(place.db, KILN_WRITE);

    OK(put_values(txn, engine_coll(txn, "parent"), 0, 100, OLD));
    OK(kiln_txn_commit(txn));
    OK(kiln_close(place.db));
    REQUIRE_OK(engine_try_open(place.disk, &options, &place.db));
    txn = engine_begin(place.db, KILN_WRITE);
    place.coll = engine_coll(txn, "c");
    OK(put_values(txn, place.coll, 0, KEYS, NEW));
    OK(put_values(txn, place.coll, 0, KEYS, OLD));
    REQUIRE_OK(txn_tree(txn, engine_coll(txn, "parent"), &tree));
    parent.page = page_ref_id(tree->root);
    parent.honest = place.db->window.copy;
    OK(kiln_txn_commit(txn));
    return place;
}

static void
reads_fail(struct place *place)
{
    place->db->window.copy = copy_below_an_absent_parent;
    simdisk_fail(place->disk, SIMDISK_READ, 1, UINT64_MAX, EIO);
}

static void
reads_work(struct place *place)
{
    simdisk_fail_clear(place->disk);
}

/* The call failed with the read that failed, and in its words. */
static void
expect_read_error(struct place *place, kiln_txn *txn, kiln_status rc)
{
    STATUS(rc, KILN_IO);
    CHECK_EQ(kiln_error_last()->status, KILN_IO);
    CHECK_HAS(kiln_error_last()->text, "data.kdb");
    CHECK_HAS(kiln_error_last()->text, "Input/output error");
    if (txn != NULL)
        CHECK_HAS(kiln_txn_error(txn)->text, "Input/output error");
    CHECK_EQ(window_state(&place->db->window), WINDOW_ASKED);
    window_check(place->db);
}

/* A call of a reader that meets a leaf, or all of them. */
typedef kiln_status reader_call(struct place *place, kiln_txn *reader);

static kiln_status
call_get(struct place *place, kiln_txn *reader)
{
    uint8_t key[8];
    kiln_slice got;

    scattered_key(0, key);
    return kiln_get(reader, place->coll, key, sizeof key, &got);
}

static kiln_status
call_value_read(struct place *place, kiln_txn *reader)
{
    uint8_t key[8], value[VALUE];
    size_t size;

    scattered_key(0, key);
    return kiln_value_read(reader, place->coll, key, sizeof key, 0, value, sizeof value, &size);
}

static kiln_status
call_get_many(struct place *place, kiln_txn *reader)
{
    uint8_t keys[40][8];
    kiln_slice slices[40];
    uint64_t old = 0;

    for (uint64_t i = 0; i < 40; i++) {
        scattered_key(i, keys[i]);
        slices[i] = (kiln_slice){keys[i], 8};
    }
    return kiln_get_many(reader, place->coll, slices, 40, count_old, &old);
}

static kiln_status
call_estimate(struct place *place, kiln_txn *reader)
{
    uint8_t key[8];
    uint64_t count;

    scattered_key(0, key);
    return kiln_range_estimate(reader, place->coll, (kiln_slice){key, 8}, (kiln_slice){NULL, 0},
                               &count);
}

static kiln_status
call_seek(struct place *place, kiln_txn *reader)
{
    kiln_cursor *cursor;
    uint8_t key[8];
    kiln_status rc;

    scattered_key(0, key);
    OK(kiln_cursor_open(reader, place->coll, 0, &cursor));
    rc = kiln_cursor_seek(cursor, key, sizeof key);
    kiln_cursor_close(cursor);
    return rc;
}

static kiln_status
walk(struct place *place, kiln_txn *reader, uint32_t flags, bool forward)
{
    kiln_cursor *cursor;
    kiln_status rc;

    OK(kiln_cursor_open(reader, place->coll, flags, &cursor));
    for (rc = forward ? kiln_cursor_first(cursor) : kiln_cursor_last(cursor); rc == KILN_OK;)
        rc = forward ? kiln_cursor_next(cursor) : kiln_cursor_prev(cursor);
    kiln_cursor_close(cursor);
    return rc == KILN_NOTFOUND ? KILN_OK : rc;
}

static kiln_status
call_walk(struct place *place, kiln_txn *reader)
{
    return walk(place, reader, KILN_CURSOR_SCAN, true);
}

static kiln_status
call_walk_back(struct place *place, kiln_txn *reader)
{
    return walk(place, reader, 0, false);
}

static kiln_status
call_stat(struct place *place, kiln_txn *txn)
{
    kiln_coll_stat stat = {.size = sizeof stat};

    return kiln_coll_stat_get(txn, place->coll, &stat);
}

static kiln_status
call_renewed_get(struct place *place, kiln_txn *reader)
{
    OK(kiln_txn_renew(reader));
    return call_get(place, reader);
}

static void
a_reader_has_the_error_of_a_read_and_tries_again(void)
{
    reader_call *const calls[] = {call_get,       call_value_read, call_get_many,
                                  call_estimate,  call_seek,       call_walk,
                                  call_walk_back, call_stat,       call_renewed_get};

    for (unsigned i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        struct place place = place_with_an_absent_parent();
        reader_call *call = calls[i];
        kiln_txn *txn = windowed(&place, KEYS / 8), *reader = engine_begin(place.db, KILN_READ);
        reads_fail(&place);
        for (unsigned n = 0; n < 3; n++)
            expect_read_error(&place, reader, call(&place, reader));
        expect_read_error(&place, NULL, kiln_check(place.db, NULL));
        CHECK_EQ(place.db->window.returned, 0);
        CHECK(value_is(txn, place.coll, 0, NEW));
        reads_work(&place);
        OK(call(&place, reader));
        CHECK_EQ(by_get(&place, reader), KEYS);
        OK(put_values(txn, place.coll, KEYS / 8, KEYS, NEW));
        if (i % 2 == 0)
            OK(kiln_txn_commit(txn));
        else
            kiln_txn_abort(txn);
        CHECK_EQ(by_get(&place, reader), KEYS);
        kiln_txn_abort(reader);
        expect_values(&place, i % 2 == 0 ? NEW : OLD);
        place_free(&place);
    }
}

/* The first leaf can be returned, the next ones cannot. */
static void
a_cursor_that_met_an_unreadable_leaf_goes_on_from_where_it_was(void)
{
    struct place place = place_with_an_absent_parent();
    kiln_txn *txn = windowed(&place, KEYS / 8), *reader = engine_begin(place.db, KILN_READ);
    uint64_t old = 0, failures = 0;
    kiln_slice value;
    kiln_cursor *cursor;
    kiln_status rc;

    OK(kiln_cursor_open(reader, place.coll, 0, &cursor));
    rc = kiln_cursor_first(cursor);
    reads_fail(&place);
    while (rc != KILN_NOTFOUND) {
        if (rc == KILN_OK) {
            OK(kiln_cursor_item(cursor, NULL, &value));
            (void)count_old(&old, 0, value);
        } else {
            expect_read_error(&place, reader, rc);
            reads_work(&place);
            failures++;
        }
        rc = kiln_cursor_next(cursor);
    }
    CHECK_EQ(failures, 1);
    CHECK_EQ(old, KEYS);
    kiln_cursor_close(cursor);
    kiln_txn_abort(reader);
    OK(kiln_txn_commit(txn));
    OK(kiln_check(place.db, NULL));
    place_free(&place);
}

/* It reads, changes what it has changed in place, what is beside that, and more; it does not try by
 * the way what has just failed; and what it leaves is what it would have left. */
static void
a_writer_goes_on_with_leaves_that_cannot_be_returned(void)
{
    for (unsigned i = 0; i < 2 * RUNS; i++) {
        struct place place = place_with_an_absent_parent();
        kiln_txn *txn = windowed(&place, KEYS / 8), *reader = engine_begin(place.db, KILN_READ);
        uint64_t failed, count = 0;
        reads_fail(&place);
        expect_read_error(&place, reader, call_get(&place, reader));
        failed = simdisk_failed(place.disk);
        change_many(&place, txn, (enum change)(i / 2));
        OK(put_values(txn, place.coll, 0, 200, 'a'));
        OK(put_values(txn, place.coll, 100, 200, NEW));
        CHECK(value_is(txn, place.coll, 50, 'a'));
        CHECK(value_is(txn, place.coll, 150, NEW));
        CHECK(value_is(txn, place.coll, KEYS / 8 - 1, NEW));
        CHECK_EQ(simdisk_failed(place.disk), failed);
        expect_read_error(&place, reader, call_get(&place, reader));
        reads_work(&place);
        CHECK_EQ(by_get(&place, reader), KEYS);
        OK(put_values(txn, place.coll, 0, 100, NEW));
        if (i % 2 == 0)
            OK(kiln_txn_commit(txn));
        else
            kiln_txn_abort(txn);
        CHECK_EQ(by_get(&place, reader), KEYS);
        kiln_txn_abort(reader);
        OK(kiln_check(place.db, NULL));
        reader = engine_begin(place.db, KILN_READ);
        OK(kiln_coll_count(reader, place.coll, &count));
        CHECK_EQ(count, KEYS + (i % 2 != 0         ? 0
                                : i / 2 == DELETES ? -(KEYS / 2)
                                : i / 2 == INSERTS ? KEYS
                                                   : 0));
        kiln_txn_abort(reader);
        if (i % 2 != 0)
            expect_values(&place, OLD);
        place_free(&place);
    }
}

/* ---- calls of the writer that end its window ---- */

static kiln_status
call_savepoint(struct place *place, kiln_txn *txn)
{
    (void)place;
    return kiln_savepoint(txn);
}

static kiln_status
call_cursor_open(struct place *place, kiln_txn *txn)
{
    kiln_cursor *cursor;
    kiln_status rc = kiln_cursor_open(txn, place->coll, 0, &cursor);

    if (rc == KILN_OK)
        kiln_cursor_close(cursor);
    return rc;
}

static kiln_status
call_large_put(struct place *place, kiln_txn *txn)
{
    static uint8_t large[300000];

    return kiln_put(txn, place->coll, "large", 5, large, sizeof large, 0);
}

static kiln_status
call_clear(struct place *place, kiln_txn *txn)
{
    return kiln_coll_clear(txn, place->coll);
}

static kiln_status
call_drop(struct place *place, kiln_txn *txn)
{
    return kiln_coll_drop(txn, place->coll);
}

static kiln_status
call_create(struct place *place, kiln_txn *txn)
{
    kiln_coll coll;

    (void)place;
    return kiln_coll_open(txn, "another", KILN_COLL_CREATE, &coll);
}

static void
a_call_that_would_end_the_window_fails_and_can_be_made_again(void)
{
    reader_call *const calls[] = {call_savepoint, call_cursor_open, call_get_many, call_stat,
                                  call_large_put, call_clear,       call_drop,     call_create};

    for (unsigned i = 0; i < 2 * (sizeof calls / sizeof calls[0]); i++) {
        struct place place = place_with_an_absent_parent();
        reader_call *call = calls[i / 2];
        kiln_txn *txn = windowed(&place, KEYS / 8), *reader;
        uint64_t count;
        reads_fail(&place);
        for (unsigned n = 0; n < 2; n++)
            expect_read_error(&place, txn, call(&place, txn));
        STATUS(kiln_savepoint_release(txn), KILN_STATE);
        STATUS(kiln_savepoint_rollback(txn), KILN_STATE);
        OK(put_values(txn, place.coll, KEYS / 8, KEYS / 4, NEW));
        OK(kiln_coll_count(txn, place.coll, &count));
        CHECK_EQ(count, KEYS);
        CHECK(value_is(txn, place.coll, 0, NEW));
        reader = engine_begin(place.db, KILN_READ);
        expect_read_error(&place, reader, call_get(&place, reader));
        reads_work(&place);
        if (i % 2 == 0) {
            OK(call(&place, txn));
            CHECK_EQ(window_state(&place.db->window), WINDOW_SHUT);
            CHECK_EQ(by_get(&place, reader), KEYS);
            kiln_txn_abort(txn);
        } else {
            OK(put_values(txn, place.coll, KEYS / 4, KEYS, NEW));
            OK(kiln_txn_commit(txn));
            CHECK_EQ(by_get(&place, reader), KEYS);
        }
        kiln_txn_abort(reader);
        expect_values(&place, i % 2 == 0 ? OLD : NEW);
        place_free(&place);
    }
}

/* The window was asked for its leaves, a savepoint had to wait for a read, and is taken back. */
static void
a_savepoint_behind_a_failed_one_is_rolled_back_alone(void)
{
    struct place place = place_with_an_absent_parent();
    kiln_txn *txn = windowed(&place, KEYS / 8), *reader = engine_begin(place.db, KILN_READ);

    reads_fail(&place);
    expect_read_error(&place, reader, call_get(&place, reader));
    expect_read_error(&place, txn, kiln_savepoint(txn));
    OK(put_values(txn, place.coll, KEYS / 8, KEYS, NEW));
    reads_work(&place);
    OK(kiln_savepoint(txn));
    OK(put_values(txn, place.coll, 0, KEYS, 'a'));
    OK(kiln_savepoint(txn));
    OK(kiln_coll_clear(txn, place.coll));
    OK(kiln_savepoint_rollback(txn));
    CHECK(value_is(txn, place.coll, 0, 'a'));
    OK(kiln_savepoint_rollback(txn));
    CHECK_EQ(by_get(&place, reader), KEYS);
    kiln_txn_abort(reader);
    OK(kiln_txn_commit(txn));
    expect_values(&place, NEW);
    place_free(&place);
}

/* Nothing is committed, and the next transaction is a fresh one. */
static void
a_commit_that_cannot_return_leaves_commits_nothing(void)
{
    struct place place = place_with_an_absent_parent();

    for (unsigned round = 0; round < 3; round++) {
        kiln_txn *txn, *reader;
        atomic_store(&place.db->window.rest, 0);
        txn = windowed(&place, KEYS / 8);
        reader = engine_begin(place.db, KILN_READ);
        reads_fail(&place);
        OK(put_values(txn, place.coll, KEYS / 8, KEYS / 4, NEW)); /* its own try fails unheard */
        if (round == 1)
            expect_read_error(&place, reader, call_get(&place, reader));
        STATUS(kiln_txn_commit(txn), KILN_IO);
        CHECK_HAS(kiln_error_last()->text, "Input/output error");
        CHECK_EQ(window_state(&place.db->window), WINDOW_SHUT);
        window_check(place.db);
        CHECK_EQ(by_get(&place, reader), KEYS); /* no window, no read */
        kiln_txn_abort(reader);
        expect_keys(&place, OLD);
    }
    reads_work(&place);
    atomic_store(&place.db->window.rest, 0);
    kiln_txn *txn = windowed(&place, KEYS / 8);
    kiln_txn *reader = engine_begin(place.db, KILN_READ);
    OK(put_values(txn, place.coll, KEYS / 8, KEYS, NEW));
    OK(kiln_txn_commit(txn));
    CHECK_EQ(by_get(&place, reader), KEYS);
    kiln_txn_abort(reader);
    expect_values(&place, NEW);
    place_free(&place);
}

/* Its pin is as before, the database has not failed, and a commit behind it survives a cut. */
static void
a_checkpoint_that_cannot_begin_is_tried_again(void)
{
    for (unsigned asked = 0; asked < 2; asked++) {
        struct place place = place_with_an_absent_parent();
        uint64_t pin = atomic_load(&place.db->checkpoint_pin);
        kiln_txn *txn = windowed(&place, KEYS / 8), *reader = NULL;
        kiln_options options = engine_options(0);
        reads_fail(&place);
        if (asked) {
            reader = engine_begin(place.db, KILN_READ);
            expect_read_error(&place, reader, call_get(&place, reader));
        }
        for (unsigned n = 0; n < 3; n++) {
            expect_read_error(&place, NULL, kiln_checkpoint(place.db));
            CHECK_EQ(atomic_load(&place.db->checkpoint_pin), pin);
            OK(put_values(txn, place.coll, KEYS / 8 + n, KEYS / 8 + n + 1, NEW));
        }
        reads_work(&place);
        OK(kiln_checkpoint(place.db));
        CHECK(atomic_load(&place.db->checkpoint_pin) != pin);
        CHECK_EQ(window_state(&place.db->window), WINDOW_SHUT);
        OK(put_values(txn, place.coll, 0, KEYS, NEW));
        OK(kiln_txn_commit(txn));
        if (reader != NULL)
            CHECK_EQ(by_get(&place, reader), KEYS);
        kiln_txn_abort(reader);
        expect_values(&place, NEW);
        OK(kiln_checkpoint(place.db));
        struct simdisk *after = simdisk_clone(place.disk, 1);
        simdisk_crash_as(after, SIMDISK_NONE, 1);
        OK(kiln_close(place.db));
        simdisk_free(place.disk);
        place.disk = after;
        REQUIRE_OK(engine_try_open(place.disk, &options, &place.db));
        expect_values(&place, NEW);
        place_free(&place);
    }
}

/* A window that opens behind it sees the pin that was put back, not one of a checkpoint to come. */
static void
a_window_opens_behind_a_checkpoint_that_could_not_begin(void)
{
    struct place place = place_with_an_absent_parent();
    kiln_txn *txn = windowed(&place, KEYS / 8);

    reads_fail(&place);
    expect_read_error(&place, NULL, kiln_checkpoint(place.db));
    kiln_txn_abort(txn);
    CHECK_EQ(window_state(&place.db->window), WINDOW_SHUT);
    txn = windowed(&place, KEYS / 4);
    expect_read_error(&place, NULL, kiln_checkpoint(place.db));
    reads_work(&place);
    OK(kiln_checkpoint(place.db));
    kiln_txn_abort(txn);
    expect_values(&place, OLD);
    place_free(&place);
}

TEST_MAIN("engine_window_reads", TEST(a_reader_has_the_error_of_a_read_and_tries_again),
          TEST(a_cursor_that_met_an_unreadable_leaf_goes_on_from_where_it_was),
          TEST(a_writer_goes_on_with_leaves_that_cannot_be_returned),
          TEST(a_call_that_would_end_the_window_fails_and_can_be_made_again),
          TEST(a_savepoint_behind_a_failed_one_is_rolled_back_alone),
          TEST(a_commit_that_cannot_return_leaves_commits_nothing),
          TEST(a_checkpoint_that_cannot_begin_is_tried_again),
          TEST(a_window_opens_behind_a_checkpoint_that_could_not_begin))
