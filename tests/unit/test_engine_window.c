/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/test_engine_window.c -- what an open window must keep away from the file, the pin of a
 * checkpoint, and readers beside a window.
 *
 * A leaf that is changed in place is its snapshot's: written out before the commit it would outlive
 * an abort.  Each case opens a window on purpose and comes with what could write.
 */
#include "ftk/clock.h"
#include "tests/unit/window_testing.h"

/* The limit falls to an eighth while leaves are changed: nothing of it survives the abort, in the
 * cache, in the file, or after a power cut. */
static void
a_limit_that_falls_writes_nothing_of_a_window(void)
{
    for (enum change change = REPLACES; change < CHANGES; change++) {
        struct place place = place_new();
        kiln_txn *txn = windowed(&place, KEYS / 8);
        struct simdisk *after;
        kiln_options options = engine_options(0);

        REQUIRE_OK(cache_limit_set(8 * MIB));
        change_many(&place, txn, change);
        kiln_txn_abort(txn);
        expect_values(&place, OLD);
        OK(kiln_checkpoint(place.db));
        after = simdisk_clone(place.disk, 1);
        simdisk_crash_as(after, SIMDISK_NONE, 1);
        OK(kiln_close(place.db));
        simdisk_free(place.disk);
        place.disk = after;
        options.cache_bytes = 8 * MIB;
        REQUIRE_OK(engine_try_open(place.disk, &options, &place.db));
        expect_values(&place, OLD);
        place_free(&place);
    }
}

static void
a_commit_under_a_fallen_limit_has_everything(void)
{
    struct place place = place_new();
    kiln_txn *txn = windowed(&place, KEYS / 8);

    REQUIRE_OK(cache_limit_set(8 * MIB));
    OK(put_values(txn, place.coll, KEYS / 8, KEYS, NEW));
    OK(kiln_txn_commit(txn));
    expect_values(&place, NEW);
    place_free(&place);
}

/* Between its announcement and its pin a checkpoint wants a snapshot that has no number yet. */
static void
no_window_opens_beside_a_checkpoint_that_is_about_to_pin(void)
{
    struct place place = place_new();
    kiln_txn *txn = windowed(&place, 100);
    uint64_t pin = atomic_load(&place.db->checkpoint_pin);

    window_pin_all(place.db);
    CHECK(window_state(&place.db->window) == WINDOW_SHUT); /* it was given back */
    OK(put_values(txn, place.coll, 100, 200, NEW));
    CHECK(window_state(&place.db->window) == WINDOW_SHUT);
    kiln_txn_abort(txn);
    txn = engine_begin(place.db, KILN_WRITE);
    OK(put_values(txn, place.coll, 0, 100, NEW));
    CHECK(window_state(&place.db->window) == WINDOW_SHUT);
    kiln_txn_abort(txn);
    atomic_store(&place.db->checkpoint_pin, pin);
    kiln_txn_abort(windowed(&place, 100));
    expect_values(&place, OLD);
    place_free(&place);
}

/* What a checkpoint pinned, its number says it to every later window; a failed one leaves the pin
 * of the last. */
static void
a_checkpoint_leaves_its_number_as_the_pin(void)
{
    struct place place = place_new();
    kiln_txn *txn;

    OK(kiln_checkpoint(place.db));
    CHECK_EQ(atomic_load(&place.db->checkpoint_pin), place.db->newest.id);
    txn = engine_begin(place.db, KILN_WRITE);
    OK(put_values(txn, place.coll, 0, 100, OLD)); /* all leaves are the checkpoint's */
    CHECK(window_state(&place.db->window) != WINDOW_OPEN);
    OK(kiln_txn_commit(txn));
    CHECK(atomic_load(&place.db->checkpoint_pin) < place.db->newest.id);
    kiln_txn_abort(windowed(&place, 100));
    expect_values(&place, OLD);
    place_free(&place);
}

/* ---- readers beside a window ----------------------------------------------------------------- */

static void
a_reader_begins_without_returning_leaves(void)
{
    struct place place = place_new();
    kiln_txn *txn = windowed(&place, KEYS / 8), *reader = engine_begin(place.db, KILN_READ);
    struct window *window = &place.db->window;

    CHECK_EQ(window_state(window), WINDOW_ASKED);
    CHECK(window->leaf_count > 50);
    CHECK_EQ(window->returned, 0);
    for (unsigned i = 0; i < 10; i++)
        CHECK(value_is(reader, place.coll, 0, OLD)); /* one leaf */
    CHECK_EQ(window->returned, 1);
    window_check(place.db);
    CHECK(value_is(txn, place.coll, 0, NEW)); /* the writer's turn: some more */
    CHECK(window->returned > 1);
    CHECK(window->returned < 20);
    window_check(place.db);
    kiln_txn_abort(reader);
    while (window_state(window) == WINDOW_ASKED)
        CHECK(value_is(txn, place.coll, 1, NEW));
    CHECK_EQ(window_state(window), WINDOW_SHUT);
    kiln_txn_abort(txn);
    expect_values(&place, OLD);
    place_free(&place);
}

/* Reads everything in some way; the number of items with the old value. */
typedef uint64_t read_way(struct place *place, kiln_txn *reader);

static uint64_t
by_get_many(struct place *place, kiln_txn *reader)
{
    static uint8_t keys[KEYS][8];
    static kiln_slice slices[KEYS];
    uint64_t old = 0;

    for (uint64_t i = 0; i < KEYS; i++) {
        scattered_key(i, keys[i]);
        slices[i] = (kiln_slice){keys[i], 8};
    }
    OK(kiln_get_many(reader, place->coll, slices, KEYS, count_old, &old));
    return old;
}

static uint64_t
by_cursor(struct place *place, kiln_txn *reader, uint32_t flags, bool forward)
{
    kiln_cursor *cursor;
    kiln_slice key, value;
    uint64_t old = 0;
    kiln_status rc;

    OK(kiln_cursor_open(reader, place->coll, flags, &cursor));
    for (rc = forward ? kiln_cursor_first(cursor) : kiln_cursor_last(cursor); rc == KILN_OK;
         rc = forward ? kiln_cursor_next(cursor) : kiln_cursor_prev(cursor)) {
        OK(kiln_cursor_item(cursor, &key, &value));
        (void)count_old(&old, 0, value);
    }
    STATUS(rc, KILN_NOTFOUND);
    kiln_cursor_close(cursor);
    return old;
}

static uint64_t
by_scan(struct place *place, kiln_txn *reader)
{
    return by_cursor(place, reader, KILN_CURSOR_SCAN, true);
}

static uint64_t
by_cursor_back(struct place *place, kiln_txn *reader)
{
    return by_cursor(place, reader, 0, false);
}

/* Pages, not items: what they have adds up, and the space map agrees. */
static uint64_t
by_pages(struct place *place, kiln_txn *reader)
{
    kiln_coll_stat stat = {.size = sizeof stat};

    OK(kiln_coll_stat_get(reader, place->coll, &stat));
    OK(kiln_check(place->db, NULL));
    return stat.value_bytes / VALUE;
}

static uint64_t
by_renewed(struct place *place, kiln_txn *reader)
{
    OK(kiln_txn_renew(reader));
    return by_get(place, reader);
}

static void
every_way_of_reading_sees_the_state_before(void)
{
    read_way *const ways[] = {by_get, by_get_many, by_scan, by_cursor_back, by_pages, by_renewed};

    for (unsigned way = 0; way < sizeof ways / sizeof ways[0]; way++) {
        for (unsigned commits = 0; commits < 2; commits++) {
            struct place place = place_new();
            kiln_txn *txn = windowed(&place, KEYS / 8), *reader = engine_begin(place.db, KILN_READ);
            OK(put_values(txn, place.coll, KEYS / 8, KEYS / 8 + 10, NEW)); /* beside it, copies */
            CHECK_EQ(ways[way](&place, reader), KEYS);
            OK(put_values(txn, place.coll, 0, KEYS, NEW));
            CHECK_EQ(by_get(&place, reader), KEYS);
            if (commits)
                OK(kiln_txn_commit(txn));
            else
                kiln_txn_abort(txn);
            CHECK_EQ(by_get(&place, reader), KEYS);
            kiln_txn_abort(reader);
            expect_values(&place, commits ? NEW : OLD);
            place_free(&place);
        }
    }
}

/* The last leaves are returned by the steps of the commit itself, or just before it. */
static void
a_commit_has_what_its_own_steps_returned(void)
{
    struct place place = place_new();

    for (unsigned keys = 1; keys < 40; keys++) {
        int value = 'a' + (int)keys % 20;
        uint8_t key[8], data[VALUE];
        kiln_txn *txn, *reader;
        atomic_store(&place.db->window.rest, 0);
        txn = engine_begin(place.db, KILN_WRITE);
        memset(data, value, sizeof data);
        for (uint64_t i = 0; i < keys; i++) {
            scattered_key(i * 500, key);
            OK(kiln_put(txn, place.coll, key, 8, data, sizeof data, KILN_PUT_REPLACE));
        }
        CHECK_EQ(window_state(&place.db->window), WINDOW_OPEN);
        reader = engine_begin(place.db, KILN_READ);
        OK(kiln_txn_commit(txn));
        kiln_txn_abort(reader);
        reader = engine_begin(place.db, KILN_READ);
        for (uint64_t i = 0; i < keys; i++)
            CHECK(value_is(reader, place.coll, i * 500, value));
        kiln_txn_abort(reader);
    }
    OK(kiln_check(place.db, NULL));
    place_free(&place);
}

/* A leaf with many changes is a long wait for who comes to it: it is copied before. */
static void
a_leaf_takes_a_bounded_number_of_changes(void)
{
    struct place place = place_new();
    kiln_txn *txn = windowed(&place, 1);
    const struct window *window = &place.db->window;

    for (unsigned i = 0; i < 1000; i++)
        OK(put_values(txn, place.coll, 0, 1, 'a' + (int)i % 20));
    CHECK_EQ(window->leaf_count, 1);
    CHECK(window->undo.count <= 64);
    CHECK_EQ(window_state(window), WINDOW_OPEN);
    OK(put_values(txn, place.coll, 100, 200, NEW)); /* others go on */
    CHECK(window->leaf_count > 50);
    kiln_txn_abort(txn);
    expect_values(&place, OLD);
    place_free(&place);
}

/* ---- threads --------------------------------------------------------------------------------- */

struct beside {
    struct place place;
    _Atomic bool stop;
    _Atomic uint64_t begun, failures;
};

static void
reader_main(void *context)
{
    struct beside *beside = context;

    while (!atomic_load(&beside->stop)) {
        kiln_txn *txn;
        if (kiln_txn_begin(beside->place.db, KILN_READ, &txn) != KILN_OK) {
            atomic_fetch_add(&beside->failures, 1);
            return;
        }
        kiln_txn_abort(txn);
        atomic_fetch_add(&beside->begun, 1);
        ftk_clock_sleep_ns(100000);
    }
}

/* A writer that appends and changes at random in one collection; who gives its windows back moves
 * the leaf that it appends to.  For the thread sanitizer. */
static void
appends_and_changes_beside_readers_that_begin(void)
{
    struct beside beside = {.place = {.disk = NULL}};
    kiln_options options = engine_options(KILN_CREATE);
    struct ftk_random random = test_random();
    uint64_t last = 0, until, count;
    struct ftk_thread thread;
    kiln_txn *txn;

    options.durability = KILN_LAZY;
    OK(kiln_open(test_path("db"), &options, &beside.place.db));
    txn = engine_begin(beside.place.db, KILN_WRITE);
    beside.place.coll = engine_coll(txn, "c");
    OK(kiln_txn_commit(txn));
    REQUIRE_OK(ftk_thread_start(&thread, "reader", reader_main, &beside));
    until = ftk_clock_ns() + test_rounds(1) * UINT64_C(1000000000);
    for (uint64_t n = 0; ftk_clock_ns() < until; n++) {
        uint64_t before = last;
        atomic_store(&beside.place.db->window.rest, 0); /* always try */
        txn = engine_begin(beside.place.db, KILN_WRITE);
        for (unsigned i = n % 8 < 2 ? 300 : 3; i > 0; i--) {
            uint64_t at = i % 3 != 0 && last > 10 ? ftk_random_below(&random, last) : last++;
            OK(engine_series(txn, beside.place.coll, at, at + 1, 100));
        }
        if (n % 3 == 0) {
            kiln_txn_abort(txn);
            last = before;
        } else {
            OK(kiln_txn_commit(txn));
        }
    }
    atomic_store(&beside.stop, true);
    ftk_thread_join(&thread);
    CHECK_EQ(atomic_load(&beside.failures), 0);
    CHECK(atomic_load(&beside.begun) > 0);
    txn = engine_begin(beside.place.db, KILN_READ);
    OK(kiln_coll_count(txn, beside.place.coll, &count));
    CHECK_EQ(count, last);
    kiln_txn_abort(txn);
    OK(kiln_check(beside.place.db, NULL));
    OK(kiln_close(beside.place.db));
}

/* A disk that looks, while the data file grows, whether the window's mutex is free. */
static struct {
    const struct ftk_disk_ops *honest;
    kiln_db *db;
    unsigned grown, held;
} growing;

static ftk_status
allocate_looking(struct ftk_file *file, uint64_t offset, uint64_t size)
{
    if (growing.db != NULL && strstr(file->path, "data.kdb") != NULL &&
        window_state(&growing.db->window) == WINDOW_OPEN) {
        growing.grown++;
        if (ftk_mutex_try_lock(&growing.db->window.mutex))
            ftk_mutex_unlock(&growing.db->window.mutex);
        else
            growing.held++;
    }
    return growing.honest->allocate(file, offset, size);
}

static void
the_file_grows_without_the_mutex_of_the_window(void)
{
    struct place place = place_new();
    struct ftk_disk *disk = simdisk_disk(place.disk);
    struct ftk_disk_ops ops = *disk->ops;
    kiln_txn *txn;

    REQUIRE_OK(cache_limit_set(256 * MIB));
    growing.honest = disk->ops;
    growing.db = place.db;
    growing.grown = growing.held = 0;
    ops.allocate = allocate_looking;
    disk->ops = &ops;
    txn = windowed(&place, 1);
    for (uint64_t i = KEYS; i < 20 * KEYS && growing.grown == 0; i++)
        OK(put_values(txn, place.coll, i, i + 1, NEW));
    CHECK(growing.grown > 0);
    CHECK_EQ(growing.held, 0);
    CHECK_EQ(window_state(&place.db->window), WINDOW_OPEN);
    kiln_txn_abort(txn);
    disk->ops = growing.honest;
    growing.db = NULL;
    expect_values(&place, OLD);
    place_free(&place);
}

TEST_MAIN("engine_window", TEST(a_limit_that_falls_writes_nothing_of_a_window),
          TEST(a_commit_under_a_fallen_limit_has_everything),
          TEST(no_window_opens_beside_a_checkpoint_that_is_about_to_pin),
          TEST(a_checkpoint_leaves_its_number_as_the_pin),
          TEST(a_reader_begins_without_returning_leaves),
          TEST(every_way_of_reading_sees_the_state_before),
          TEST(a_commit_has_what_its_own_steps_returned),
          TEST(a_leaf_takes_a_bounded_number_of_changes),
          TEST(appends_and_changes_beside_readers_that_begin),
          TEST(the_file_grows_without_the_mutex_of_the_window))
