/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/test_engine_invariants.c -- the invariant functions of page, space, transaction and
 * window notice each field that is not what it must be.  A field is broken in a child, which looks.
 */
#include <stdlib.h>
#include <unistd.h>

#include "engine/page/node.h"
#include "engine/space/space_internal.h"
#include "tests/unit/engine_testing.h"

enum { KEYS = 4000 };

static struct simdisk *disk;
static kiln_db *db;
static kiln_txn *txn;
static kiln_coll coll;

/* A database of some pages, dead ones among them. */
static void
begin(void)
{
    kiln_options options = engine_options(KILN_CREATE);

    options.durability = KILN_LAZY;
    options.checkpoint_ms = UINT32_MAX;
    disk = simdisk_new(NULL);
    REQUIRE_OK(engine_try_open(disk, &options, &db));
    for (unsigned round = 0; round < 2; round++) {
        txn = engine_begin(db, KILN_WRITE);
        coll = engine_coll(txn, "c");
        OK(engine_series(txn, coll, 0, KEYS, 100));
        OK(kiln_savepoint(txn)); /* what it changes from here on is copied: pages die */
        OK(engine_series(txn, coll, 0, KEYS, 90));
        OK(kiln_savepoint_release(txn));
        OK(kiln_txn_commit(txn));
    }
}

static void
end(void)
{
    engine_end(disk, db);
}

/* ---- page ------------------------------------------------------------------------------------ */

struct field {
    unsigned at;
    uint16_t value;
};

static void
page_broken(void *context)
{
    const struct field *field = context;
    struct node node = {calloc(1, PAGE_BYTES_MIN), PAGE_BYTES_MIN};
    static uint8_t scratch[PAGE_BYTES_MAX];
    struct node_value value = {.data = (const uint8_t *)"value", .size = 5};

    node_init(node, PAGE_LEAF, 0, 0, 4, 1, "", 0);
    for (uint8_t key = 0; key < 20; key++)
        if (!node_insert(node, key, &key, 1, &value, scratch))
            _exit(1);
    FTK_ASSERT_SOUND(node_check(node));
    ftk_put_le16(node.page + field->at, field->value);
    FTK_ASSERT_SOUND(node_check(node));
}

#define PAGE_DIES(at, value, words) CHECK_DIES(page_broken, (&(struct field){at, value}), words)

static void
a_broken_page_dies(void)
{
    PAGE_DIES(PAGE_TYPE, 7, "neither a leaf nor an inner page");
    PAGE_DIES(PAGE_LEVEL, 3 | 4 << 8, "level does not fit the type");
    PAGE_DIES(PAGE_COUNT, 5000, "impossible number of entries");
    PAGE_DIES(PAGE_COUNT, 19, "entries do not add up");
    PAGE_DIES(PAGE_HEAP_BYTES, PAGE_BYTES_MIN, "slots and heap overlap");
    PAGE_DIES(PAGE_GARBAGE_BYTES, 5, "entries do not add up");
    PAGE_DIES(PAGE_PREFIX_BYTES, 5000, "impossible prefix");
}

/* ---- space ----------------------------------------------------------------------------------- */

static void
look_at_space(void)
{
    FTK_ASSERT_SOUND(space_check(db->space));
}

static void
live_and_free(void *context)
{
    (void)context;
    for (uint64_t page = 0; page < db->space->pages_end; page++)
        if (space__bit(db->space->live, page))
            db->space->avail[page / 64] |= UINT64_C(1) << (page % 64);
    look_at_space();
}

static void
free_page_lost(void *context)
{
    (void)context;
    db->space->pages_avail--;
    look_at_space();
}

static void
group_miscounts(void *context)
{
    (void)context;
    db->space->groups[0].avail++;
    look_at_space();
}

static void
ids_beyond_the_groups(void *context)
{
    (void)context;
    db->space->pages_end = (uint64_t)db->space->group_count << db->space->group_shift;
    db->space->pages_end++;
    look_at_space();
}

static void
dead_before_it_was_born(void *context)
{
    (void)context;
    db->space->limbo.items[0].snapshot = 1;
    look_at_space();
}

static void
dead_page_lives(void *context)
{
    struct space_extent extent = db->space->limbo.items[0].extents.items[0];
    uint64_t page = space_extent_page(extent);

    (void)context;
    db->space->live[page / 64] |= UINT64_C(1) << (page % 64);
    look_at_space();
}

static void
pending_miscounted(void *context)
{
    (void)context;
    db->space->pages_pending++;
    look_at_space();
}

static void
checkpoint_goes_back(void *context)
{
    (void)context;
    db->space->durable = 9;
    db->space->checkpointing = 8;
    look_at_space();
}

static void
a_broken_space_map_dies(void)
{
    begin();
    REQUIRE(db->space->limbo.count > 0);
    CHECK_DIES(live_and_free, NULL, "both live and free");
    CHECK_DIES(free_page_lost, NULL, "free pages are counted wrongly");
    CHECK_DIES(group_miscounts, NULL, "a group counts its free pages wrongly");
    CHECK_DIES(ids_beyond_the_groups, NULL, "behind the last group");
    CHECK_DIES(dead_before_it_was_born, NULL, "died before it was born");
    CHECK_DIES(dead_page_lives, NULL, "a dead page is live");
    CHECK_DIES(pending_miscounted, NULL, "pages that wait are counted wrongly");
    CHECK_DIES(checkpoint_goes_back, NULL, "goes back behind the durable one");
    look_at_space();
    end();
}

/* ---- transaction ----------------------------------------------------------------------------- */

static void
catalog_without_height(void *context)
{
    (void)context;
    txn->catalog.height = 0;
    txn_check(txn);
}

static void
epoch_left_open(void *context)
{
    (void)context;
    atomic_store(&txn->slot->epoch, 1);
    txn_check(txn);
}

static void
run_held_without_a_page(void *context)
{
    (void)context;
    txn->writer.held_run = true;
    txn->writer.held_page = 0;
    txn_check(txn);
}

static void
floor_without_a_savepoint(void *context)
{
    (void)context;
    txn->writer.birth_floor++;
    txn->writer.birth++;
    db_births_raise(db, txn->writer.birth + 1);
    txn_check(txn);
}

static void
operations_beyond_their_memory(void *context)
{
    (void)context;
    txn->writer.ops_size = txn->writer.ops_capacity + 1;
    txn_check(txn);
}

static void
birth_of_nobody(void *context)
{
    (void)context;
    txn->writer.birth = UINT64_MAX;
    txn_check(txn);
}

static void
reader_unpinned(void *context)
{
    (void)context;
    atomic_store(&txn->slot->snapshot, 0);
    txn_check(txn);
}

static void
reader_with_a_savepoint(void *context)
{
    (void)context;
    txn->writer.savepoint_count = 1;
    txn_check(txn);
}

static void
reader_lends_nothing_known(void *context)
{
    (void)context;
    txn->reader.lent.run_pages = 7;
    txn_check(txn);
}

static void
a_broken_transaction_dies(void)
{
    kiln_slice got;
    uint8_t key[8];

    begin();
    txn = engine_begin(db, KILN_WRITE);
    coll = engine_coll(txn, "d"); /* the catalog's page is its own: no window */
    OK(kiln_savepoint(txn));
    OK(kiln_savepoint_release(txn));
    txn_check(txn);
    CHECK_DIES(catalog_without_height, NULL, "txn->catalog.height == 0");
    CHECK_DIES(epoch_left_open, NULL, "slot->epoch");
    CHECK_DIES(run_held_without_a_page, NULL, "writer.held_page == 0");
    CHECK_DIES(operations_beyond_their_memory, NULL, "writer->ops_size");
    CHECK_DIES(birth_of_nobody, NULL, "db_births");
    kiln_txn_abort(txn);
    txn = engine_begin(db, KILN_WRITE);
    CHECK_DIES(floor_without_a_savepoint, NULL, "writer->birth_floor == writer->birth_first");
    kiln_txn_abort(txn);
    txn = engine_begin(db, KILN_READ);
    coll = engine_coll(txn, "c");
    engine_key(1, key);
    OK(kiln_get(txn, coll, key, sizeof key, &got));
    txn_check(txn);
    CHECK_DIES(reader_unpinned, NULL, "slot->snapshot");
    CHECK_DIES(reader_with_a_savepoint, NULL, "savepoint_count == 0");
    CHECK_DIES(reader_lends_nothing_known, NULL, "lent->run_pages");
    kiln_txn_abort(txn);
    end();
}

/* ---- its pages ------------------------------------------------------------------------------- */

static void
look_at_pages(void)
{
    FTK_ASSERT_SOUND(txn_pages_check(txn));
}

static void
own_page_dead_as_older(void *context)
{
    (void)context;
    txn->writer.dead.items[0].birth = txn->writer.birth_first;
    look_at_pages();
}

static void
older_page_retired_as_own(void *context)
{
    (void)context;
    txn->writer.retired_own.items[0].birth = txn->writer.birth_first - 1;
    look_at_pages();
}

static void
page_of_outer_scope(void *context)
{
    (void)context;
    txn->writer.scope_born = 0;
    look_at_pages();
}

static void
births_go_back(void *context)
{
    (void)context;
    txn->writer.birth = txn->writer.birth_first - 1;
    look_at_pages();
}

static void
page_missing_in_the_index(void *context)
{
    struct space_extent *extent = &txn->writer.born.list.items[0];

    (void)context;
    *extent = space_extent(space_extent_page(*extent) + 100000, 1, extent->birth);
    look_at_pages();
}

static void
no_room_for_the_ends(void *context)
{
    (void)context;
    txn->writer.ops_size = txn->writer.ops_capacity;
    look_at_pages();
}

static void
ends_miscounted(void *context)
{
    (void)context;
    txn->writer.ops_kept++;
    look_at_pages();
}

static void
broken_page_accounts_die(void)
{
    begin();
    txn = engine_begin(db, KILN_WRITE);
    coll = engine_coll(txn, "c");
    OK(kiln_savepoint(txn)); /* no window */
    OK(engine_series(txn, coll, 0, KEYS, 80));
    OK(kiln_savepoint(txn));
    OK(engine_series(txn, coll, 0, KEYS, 70));
    look_at_pages();
    REQUIRE(txn->writer.dead.count > 0 && txn->writer.retired_own.count > 0);
    CHECK_DIES(own_page_dead_as_older, NULL, "counts as one of an older snapshot");
    CHECK_DIES(older_page_retired_as_own, NULL, "counts as the transaction's");
    CHECK_DIES(page_of_outer_scope, NULL, "scope");
    CHECK_DIES(births_go_back, NULL, "births do not grow");
    CHECK_DIES(page_missing_in_the_index, NULL, "missing in the index");
    CHECK_DIES(no_room_for_the_ends, NULL, "no room for the ends");
    CHECK_DIES(ends_miscounted, NULL, "more or fewer savepoints");
    look_at_pages();
    OK(kiln_txn_commit(txn));
    end();
}

/* ---- window ---------------------------------------------------------------------------------- */

static void
window_of_nobody(void *context)
{
    (void)context;
    db->window.txn = NULL;
    window_check(db);
}

static void
shut_with_leaves(void *context)
{
    (void)context;
    atomic_store(&db->window.state, WINDOW_SHUT);
    db->window.txn = NULL;
    window_check(db);
}

static void
unasked_leaf_unreadable(void *context)
{
    (void)context;
    db->window.unreadable = true;
    window_check(db);
}

static void
window_below_a_pin(void *context)
{
    (void)context;
    atomic_store(&db->window.above, db->window.base);
    window_check(db);
}

static void
leaf_of_another_birth(void *context)
{
    (void)context;
    ftk_put_le64(cache_address(txn->fast, db->window.leaves[0].page) + PAGE_BIRTH,
                 db->window.base + 1);
    window_check(db);
}

static void
leaf_missing_in_the_set(void *context)
{
    (void)context;
    db->window.set[db->window.leaves[0].slot] = 0;
    window_check(db);
}

static void
change_without_undo(void *context)
{
    (void)context;
    db->window.leaves[0].undo = 0;
    window_check(db);
}

static void
leaf_written_out(void *context)
{
    (void)context;
    atomic_fetch_and(&txn->fast->states[db->window.leaves[0].page], ~(uint32_t)CACHE_DIRTY);
    window_check(db);
}

static void
leaf_returned_uncounted(void *context)
{
    (void)context;
    db->window.leaves[0].returned = true;
    window_check(db);
}

static void
a_broken_window_dies(void)
{
    begin();
    txn = engine_begin(db, KILN_WRITE);
    OK(engine_series(txn, coll, 0, KEYS, 90));
    REQUIRE(window_state(&db->window) == WINDOW_OPEN);
    window_check(db);
    CHECK_DIES(window_of_nobody, NULL, "window->txn == NULL");
    CHECK_DIES(shut_with_leaves, NULL, "window->leaf_count == 0");
    CHECK_DIES(unasked_leaf_unreadable, NULL, "!window->unreadable");
    CHECK_DIES(window_below_a_pin, NULL, "above < window->base");
    CHECK_DIES(leaf_of_another_birth, NULL, "birth <= window->base");
    CHECK_DIES(leaf_missing_in_the_set, NULL, "window->set[");
    CHECK_DIES(change_without_undo, NULL, "leaf->undo == 0");
    CHECK_DIES(leaf_written_out, NULL, "cache_is_dirty");
    CHECK_DIES(leaf_returned_uncounted, NULL, "window->returned");
    window_check(db);
    OK(kiln_txn_commit(txn));
    end();
}

TEST_MAIN("engine_invariants", TEST(a_broken_page_dies), TEST(a_broken_space_map_dies),
          TEST(a_broken_transaction_dies), TEST(broken_page_accounts_die),
          TEST(a_broken_window_dies))
