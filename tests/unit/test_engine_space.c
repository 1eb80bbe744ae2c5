/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_engine_space.c -- growth, reuse, trimming at the close. */
#include <stdlib.h>

#include "engine/space/space_internal.h"
#include "ftk/mem.h"
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

/* One value of about so many pages, and then single pages, up to page `end` of the file. */
static void
fill_to(uint64_t end, const char *key)
{
    uint64_t now;
    uint8_t *value;

    OK(kiln_txn_commit(txn));
    now = pages_end();
    txn = engine_begin(db, KILN_WRITE);
    if (now >= end)
        return;
    size_t size = (size_t)(end - now) * 4096 / 1026 * 1024;
    if (size > 12 << 20)
        size = 12 << 20;
    value = calloc(1, size);
    OK(kiln_put(txn, coll, key, strlen(key), value, size, 0));
    free(value);
}

/* A group is 16,384 pages of 4 KiB; its map pages are reserved before its first page is used. */
static void
file_that_ends_near_a_group_can_be_opened_again(void)
{
    char key[16];

    for (uint64_t end = 16384 - 320; end <= 16384 + 64; end += 64) {
        begin();
        for (unsigned i = 0; i < 24; i++) {
            snprintf(key, sizeof key, "%u", i);
            fill_to(end, key);
        }
        OK(kiln_txn_commit(txn));
        db = engine_reopen(disk, db);
        txn = engine_begin(db, KILN_WRITE);
        OK(engine_series(txn, coll, 0, 1000, 100));
        OK(kiln_txn_commit(txn));
        db = engine_reopen(disk, db);
        engine_end(disk, db);
    }
}

/* One reader stays on its snapshot through thousands of updates of every page. */
static void
old_reader_holds_its_own_pages_and_no_others(void)
{
    kiln_stat stat = {.size = sizeof stat};
    uint64_t file_bytes = 0, number;
    kiln_slice value;
    kiln_txn *reader;
    uint8_t key[8];

    begin();
    OK(engine_series(txn, coll, 0, 20000, 100));
    OK(kiln_txn_commit(txn));
    reader = engine_begin(db, KILN_READ);
    for (unsigned round = 0; round < 40; round++) {
        for (uint64_t i = 0; i < 20000; i += 2000) {
            txn = engine_begin(db, KILN_WRITE);
            OK(engine_series(txn, coll, i, i + 2000, 60 + round % 40));
            OK(kiln_txn_commit(txn));
        }
        if (round % 8 == 3)
            OK(kiln_checkpoint(db));
        OK(kiln_stat_get(db, &stat));
        if (round == 10)
            file_bytes = stat.file_bytes;
    }
    CHECK_MSG(stat.file_bytes <= file_bytes, "the file grew from %llu to %llu bytes",
              (unsigned long long)file_bytes, (unsigned long long)stat.file_bytes);
    for (number = 0; number < 20000; number++) {
        engine_key(number, key);
        OK(kiln_get(reader, coll, key, 8, &value));
        REQUIRE_EQ(value.size, 100);
        REQUIRE_EQ(ftk_get_be64(value.data), number);
    }
    kiln_txn_abort(reader);
    engine_end(disk, db);
}

static void
many_readers_at_many_snapshots_hold_theirs(void)
{
    enum { READERS = 200 };
    kiln_txn *readers[READERS];
    struct space_stats stats;

    begin();
    OK(engine_series(txn, coll, 0, 500, 100));
    OK(kiln_txn_commit(txn));
    for (unsigned i = 0; i < READERS; i++) {
        readers[i] = engine_begin(db, KILN_READ);
        txn = engine_begin(db, KILN_WRITE);
        OK(engine_series(txn, coll, 0, 500, i % 90 + 8));
        OK(kiln_txn_commit(txn));
    }
    for (unsigned i = 0; i < READERS; i++) {
        kiln_slice value;
        uint8_t key[8];
        unsigned at = i * 77 % READERS; /* in any order */
        engine_key(at, key);
        OK(kiln_get(readers[at], coll, key, 8, &value));
        CHECK_EQ(value.size, at == 0 ? 100 : (at - 1) % 90 + 8);
        kiln_txn_abort(readers[at]);
    }
    for (unsigned i = 0; i < 3; i++) {
        OK(kiln_checkpoint(db));
        txn = engine_begin(db, KILN_WRITE);
        OK(engine_series(txn, coll, 0, 1, i + 8));
        OK(kiln_txn_commit(txn));
    }
    space_stats(db->space, &stats);
    CHECK_MSG(stats.pages_pending < 20, "%llu pages are pending",
              (unsigned long long)stats.pages_pending);
    engine_end(disk, db);
}

static void
pages_of_aborted_transactions_are_available_again(void)
{
    uint64_t end = 0;

    begin();
    OK(engine_series(txn, coll, 0, 1000, 100));
    OK(kiln_txn_commit(txn));
    for (unsigned round = 0; round < 20; round++) {
        txn = engine_begin(db, KILN_WRITE);
        OK(engine_series(txn, coll, 1000, 11000, 100));
        kiln_txn_abort(txn);
        if (round == 1)
            end = pages_end();
    }
    CHECK_MSG(pages_end() <= end, "from %llu to %llu pages", (unsigned long long)end,
              (unsigned long long)pages_end());
    engine_end(disk, db);
}

/* No snapshot ever had them: they wait for no reader. */
static void
pages_that_one_transaction_makes_and_drops_are_never_pending(void)
{
    struct space_stats stats;
    uint8_t key[8];

    begin();
    OK(engine_series(txn, coll, 0, 100, 100));
    OK(kiln_txn_commit(txn));
    txn = engine_begin(db, KILN_WRITE);
    OK(engine_series(txn, coll, 100, 5100, 100));
    for (uint64_t i = 100; i < 5100; i++) {
        engine_key(i, key);
        OK(kiln_delete(txn, coll, key, sizeof key));
    }
    OK(kiln_txn_commit(txn));
    space_stats(db->space, &stats);
    CHECK_MSG(stats.pages_pending < 20, "%llu pages are pending",
              (unsigned long long)stats.pages_pending);
    engine_end(disk, db);
}

/* The copy of the first group's map that the last checkpoint wrote. */
static uint64_t
newest_map_page(void)
{
    const struct space_group *group = &db->space->groups[0];
    unsigned copy = group->copy_checkpoint[0] > group->copy_checkpoint[1] ? 0 : 1;

    return space__map_page(db->space, 0, copy);
}

/* Its twin is whole, and of an older checkpoint: pages that are in use now are free in it. */
static void
a_map_page_that_rots_is_not_replaced_by_its_older_twin(void)
{
    kiln_options options = engine_options(0);
    uint64_t page;

    begin();
    for (unsigned i = 0; i < 4; i++) {
        OK(engine_series(txn, coll, i * 100, i * 100 + 100, 100));
        OK(kiln_txn_commit(txn));
        OK(kiln_checkpoint(db));
        txn = engine_begin(db, KILN_WRITE);
    }
    kiln_txn_abort(txn);
    OK(kiln_close(db));
    db = engine_open(disk, 0);
    page = newest_map_page();
    OK(kiln_close(db));
    REQUIRE(simdisk_flip(disk, "/db/data.kdb", page * 4096 + 100, 1));
    CHECK_STATUS(engine_try_open(disk, &options, &db), FTK_CORRUPT);
    CHECK_HAS(ftk_error_last()->text, "space map");
    simdisk_free(disk);
}

/* One call for memory after the other fails in a checkpoint; nothing changes before the next one,
 * which has to write what the first one took upon itself. */
static void
a_checkpoint_that_ran_out_of_memory_is_made_good_by_the_next(void)
{
    kiln_status rc = KILN_NOMEM;

    for (uint64_t nth = 1; rc != KILN_OK; nth++) {
        REQUIRE(nth < 100);
        begin();
        OK(engine_series(txn, coll, 0, 1000, 100));
        OK(kiln_txn_commit(txn));
        OK(kiln_checkpoint(db));
        txn = engine_begin(db, KILN_WRITE);
        OK(engine_series(txn, coll, 1000, 3000, 100));
        OK(kiln_txn_commit(txn));
        ftk_fault_arm(FTK_FAULT_ALLOC, nth, 1);
        rc = kiln_checkpoint(db);
        ftk_fault_disarm();
        CHECK(rc == KILN_OK || rc == KILN_NOMEM);
        OK(kiln_checkpoint(db));
        db_abandon(db);
        db = engine_open(disk, 0);
        engine_end(disk, db);
    }
}

static uint64_t
pages_in_use(void)
{
    kiln_stat stat = {.size = sizeof stat};

    OK(kiln_stat_get(db, &stat));
    return stat.file_bytes / stat.page_bytes - stat.file_pages_free - stat.pages_pending;
}

/* While the file has grown ahead of what is in it, too. */
static void
what_is_neither_free_nor_pending_is_in_use(void)
{
    kiln_coll_stat stat = {.size = sizeof stat};
    uint64_t used, pages;

    begin();
    for (unsigned round = 0; round < 3; round++) {
        OK(engine_series(txn, coll, 0, 3000 * (round + 1), 100));
        OK(kiln_txn_commit(txn));
        OK(kiln_checkpoint(db));
        txn = engine_begin(db, KILN_READ);
        OK(kiln_coll_stat_get(txn, coll, &stat));
        kiln_txn_abort(txn);
        pages = stat.leaf_pages + stat.inner_pages;
        used = pages_in_use();
        CHECK_MSG(used >= pages && used < pages + 40, "%llu pages are in use, of %llu in the tree",
                  (unsigned long long)used, (unsigned long long)pages);
        txn = engine_begin(db, KILN_WRITE);
    }
    OK(kiln_coll_clear(txn, coll));
    OK(kiln_txn_commit(txn));
    CHECK(pages_in_use() < 40);
    db = engine_reopen(disk, db);
    CHECK(pages_in_use() < 40);
    engine_end(disk, db);
}

TEST_MAIN("engine_space", TEST(file_that_ends_near_a_group_can_be_opened_again),
          TEST(what_is_neither_free_nor_pending_is_in_use),
          TEST(old_reader_holds_its_own_pages_and_no_others),
          TEST(many_readers_at_many_snapshots_hold_theirs),
          TEST(pages_of_aborted_transactions_are_available_again),
          TEST(pages_that_one_transaction_makes_and_drops_are_never_pending),
          TEST(a_map_page_that_rots_is_not_replaced_by_its_older_twin),
          TEST(a_checkpoint_that_ran_out_of_memory_is_made_good_by_the_next))
