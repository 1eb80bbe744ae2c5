/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/test_engine_lost_writes.c -- pages that are whole, and not the ones meant: an older
 * version put back (what a lost write leaves), another database's, two that changed places, zeros.
 *
 * The model is a table of values; whatever is read with KILN_OK must be what it says.
 */
#include <stdlib.h>

#include "engine/page/node.h"
#include "ftk/checksum.h"
#include "tests/unit/engine_testing.h"

enum { PAGE = 4096, KEYS = 2000, ROUNDS = 8, DATA_MAX = 8 << 20, VALUE_MAX = 30000 };

static const char data_path[] = "/db/data.kdb";

static uint32_t model[KEYS]; /* what each key's value begins with; 0: absent */
static kiln_coll coll;

static uint32_t
value_size(uint32_t value)
{
    static const uint32_t large[] = {3000, 4000, 9000, VALUE_MAX};

    return value % 64 == 0 ? large[value / 64 % 4] : 8 + value % 40;
}

static void
value_fill(uint32_t value, uint8_t *to)
{
    uint32_t size = value_size(value);

    for (uint32_t at = 0; at + 4 <= size; at += 4)
        ftk_put_le32(to + at, value + at);
}

/* Keys are long, so that the tree has pages above its lowest inner ones. */
static uint32_t
key_make(unsigned i, uint8_t *key)
{
    memset(key, 'k', 200);
    ftk_put_be32(key + 20, i);
    return 200;
}

static void
put(kiln_txn *txn, unsigned i, uint32_t value)
{
    static uint8_t data[VALUE_MAX];
    uint8_t key[256];
    uint32_t key_size = key_make(i, key);

    value_fill(value, data);
    OK(kiln_put(txn, coll, key, key_size, data, value_size(value), KILN_PUT_REPLACE));
    model[i] = value;
}

static void delete (kiln_txn *txn, unsigned i)
{
    uint8_t key[256];
    uint32_t key_size = key_make(i, key);
    kiln_status rc = kiln_delete(txn, coll, key, key_size);

    REQUIRE(rc == (model[i] != 0 ? KILN_OK : KILN_NOTFOUND));
    model[i] = 0;
}

/* One round of changes; transactions without a wait change leaves in place, too. */
static void
change(kiln_db *db, unsigned round, struct ftk_random *random)
{
    for (unsigned t = 0; t < 4; t++) {
        kiln_txn *txn = engine_begin(db, KILN_WRITE);
        unsigned from = (unsigned)ftk_random_below(random, KEYS);
        coll = engine_coll(txn, "c");
        for (unsigned n = 0; n < KEYS / 20; n++) {
            unsigned i = round == 0 ? t * (KEYS / 4) + n * 5 : (from + n) % KEYS;
            if (ftk_random_below(random, 4) == 0)
                delete (txn, i);
            else
                put(txn, i, 1 + (uint32_t)ftk_random_below(random, UINT32_MAX));
        }
        OK(kiln_txn_commit(txn));
    }
}

static kiln_db *
open_lazy(struct simdisk *disk, uint32_t flags)
{
    kiln_options options = engine_options(flags);
    kiln_db *db = NULL;

    options.durability = KILN_OS;
    REQUIRE_OK(engine_try_open(disk, &options, &db));
    return db;
}

/* A database of some checkpoints, and the disk as it was after each. */
struct history {
    struct simdisk *after[ROUNDS];
    uint64_t pages;
    uint64_t salt;
    bool live[DATA_MAX / PAGE];
};

static struct simdisk *
history_make(struct history *history, struct ftk_random *random)
{
    struct simdisk *disk = simdisk_new(NULL);
    kiln_db *db = open_lazy(disk, KILN_CREATE);
    uint64_t bytes = 0;

    memset(model, 0, sizeof model);
    for (unsigned round = 0; round < ROUNDS; round++) {
        change(db, round, random);
        OK(kiln_checkpoint(db));
        history->after[round] = simdisk_clone(disk, round);
    }
    OK(kiln_close(db));
    REQUIRE(simdisk_size(disk, data_path, &bytes) && bytes <= DATA_MAX);
    history->pages = bytes / PAGE;
    db = open_lazy(disk, 0);
    history->salt = db->salt;
    space_compare_begin(db->space);
    for (uint64_t page = 0; page < history->pages; page++)
        history->live[page] = space_is_live(db->space, page) && !space_is_fixed(db->space, page);
    space_compare_end(db->space);
    OK(kiln_close(db));
    return disk;
}

static void
history_free(struct history *history)
{
    for (unsigned round = 0; round < ROUNDS; round++)
        simdisk_free(history->after[round]);
}

static bool
is_right(unsigned i, kiln_slice value)
{
    static uint8_t wanted[VALUE_MAX];

    if (model[i] == 0 || value.size != value_size(model[i]))
        return false;
    value_fill(model[i], wanted);
    return memcmp(value.data, wanted, value.size / 4 * 4) == 0;
}

/* Reads by key: the number of those that were refused as corrupt. */
static unsigned
read_keys(kiln_txn *txn, uint64_t page)
{
    uint8_t key[256];
    unsigned refused = 0;
    kiln_slice value;

    for (unsigned i = 0; i < KEYS; i++) {
        uint32_t key_size = key_make(i, key);
        kiln_status rc = kiln_get(txn, coll, key, key_size, &value);
        refused += rc == KILN_CORRUPT;
        REQUIRE_MSG(rc == KILN_CORRUPT || (rc == KILN_OK && is_right(i, value)) ||
                        (rc == KILN_NOTFOUND && model[i] == 0),
                    "page %llu changed: key %u gives %s", (unsigned long long)page, i,
                    kiln_status_name(rc));
    }
    return refused;
}

static unsigned
read_in_order(kiln_txn *txn, uint64_t page)
{
    kiln_cursor *cursor = NULL;
    kiln_slice key, value;
    unsigned next = 0, refused = 0;
    kiln_status rc;

    OK(kiln_cursor_open(txn, coll, KILN_CURSOR_SCAN, &cursor));
    while ((rc = kiln_cursor_next(cursor)) == KILN_OK) {
        unsigned i;
        rc = kiln_cursor_item(cursor, &key, &value);
        REQUIRE(rc == KILN_OK || rc == KILN_CORRUPT);
        refused += rc == KILN_CORRUPT;
        i = ftk_get_be32((const uint8_t *)key.data + 20);
        REQUIRE_MSG(i < KEYS && (rc == KILN_CORRUPT || is_right(i, value)),
                    "page %llu changed: scan gives %u", (unsigned long long)page, i);
        for (; next < i; next++)
            REQUIRE_MSG(model[next] == 0, "page %llu changed: scan misses %u",
                        (unsigned long long)page, next);
        next = i + 1;
    }
    REQUIRE(rc == KILN_NOTFOUND || rc == KILN_CORRUPT);
    for (; rc == KILN_NOTFOUND && next < KEYS; next++)
        REQUIRE_MSG(model[next] == 0, "page %llu changed: scan ends before %u",
                    (unsigned long long)page, next);
    kiln_cursor_close(cursor);
    return refused + (rc == KILN_CORRUPT);
}

/* What a database gives whose page is not the one meant. */
static void
expect_refused(struct simdisk *disk, uint64_t page, bool live)
{
    kiln_options options = engine_options(KILN_OPEN_READONLY);
    kiln_check_options check = KILN_CHECK_OPTIONS_INIT;
    unsigned refused = 0;
    kiln_db *db = NULL;
    kiln_status rc;
    kiln_txn *txn;

    if (engine_try_open(disk, &options, &db) != FTK_OK) {
        CHECK_STATUS(ftk_error_last()->status, FTK_CORRUPT);
        return;
    }
    txn = engine_begin(db, KILN_READ);
    rc = kiln_coll_open(txn, "c", 0, &coll);
    REQUIRE(rc == KILN_OK || rc == KILN_CORRUPT);
    if (rc == KILN_OK)
        refused = read_keys(txn, page) + read_in_order(txn, page);
    else
        refused = 1;
    kiln_txn_abort(txn);
    rc = kiln_check(db, &check);
    REQUIRE_MSG(rc == (live ? KILN_CORRUPT : KILN_OK), "page %llu changed: check says %s",
                (unsigned long long)page, kiln_status_name(rc));
    CHECK_MSG(!live || refused > 0, "page %llu changed: nobody met it", (unsigned long long)page);
    db_abandon(db);
}

static void
page_swap_in(struct simdisk *disk, uint64_t page, const uint8_t *bytes, bool live)
{
    uint8_t kept[PAGE];

    REQUIRE(simdisk_peek(disk, data_path, page * PAGE, kept, PAGE));
    if (memcmp(kept, bytes, PAGE) == 0)
        return;
    REQUIRE(simdisk_poke(disk, data_path, page * PAGE, bytes, PAGE));
    expect_refused(disk, page, live);
    REQUIRE(simdisk_poke(disk, data_path, page * PAGE, kept, PAGE));
}

static void
older_version_of_a_page_is_never_served(void)
{
    struct ftk_random random = test_random();
    static struct history history;
    struct simdisk *disk = history_make(&history, &random);
    uint8_t old[PAGE], now[PAGE];
    unsigned tried = 0;

    for (uint64_t page = 65536 / PAGE; page < history.pages; page++) {
        REQUIRE(simdisk_peek(disk, data_path, page * PAGE, now, PAGE));
        for (unsigned round = 0; round + 1 < ROUNDS; round++) {
            uint64_t bytes = 0;
            REQUIRE(simdisk_size(history.after[round], data_path, &bytes));
            if ((page + 1) * PAGE > bytes)
                continue;
            REQUIRE(simdisk_peek(history.after[round], data_path, page * PAGE, old, PAGE));
            if (old[PAGE_TYPE] == PAGE_MAP)
                continue; /* the two copies of a map take turns */
            tried += history.live[page] && memcmp(old, now, PAGE) != 0;
            page_swap_in(disk, page, old, history.live[page]);
        }
    }
    CHECK_MSG(tried > 50, "only %u versions tried", tried);
    history_free(&history);
    simdisk_free(disk);
}

static void
page_of_another_place_or_database_is_never_served(void)
{
    struct ftk_random random = test_random(), same = random;
    static struct history history, other;
    struct simdisk *disk, *disk2 = history_make(&other, &same);
    uint8_t bytes[PAGE];
    uint64_t last = 0;

    disk = history_make(&history, &random);
    for (uint64_t page = 65536 / PAGE; page < history.pages; page++) {
        if (!history.live[page])
            continue;
        if (page < other.pages) { /* the same steps, another identity */
            REQUIRE(simdisk_peek(disk2, data_path, page * PAGE, bytes, PAGE));
            page_swap_in(disk, page, bytes, true);
        }
        if (last != 0) {
            REQUIRE(simdisk_peek(disk, data_path, last * PAGE, bytes, PAGE));
            page_swap_in(disk, page, bytes, true);
        }
        memset(bytes, 0, PAGE);
        page_swap_in(disk, page, bytes, true);
        last = page;
    }
    history_free(&history);
    history_free(&other);
    simdisk_free(disk);
    simdisk_free(disk2);
}

/* ---- what the rule rests on: a page is written once with a birth ---- */

enum { SEEN_MAX = 64 << 20 };

struct seen {
    uint64_t birth[SEEN_MAX / PAGE], sum[SEEN_MAX / PAGE];
};

static void
seen_look(struct seen *seen, struct simdisk *disk, uint64_t salt)
{
    uint8_t page[PAGE];
    uint64_t bytes = 0;

    REQUIRE(simdisk_size(disk, data_path, &bytes) && bytes <= SEEN_MAX);
    for (uint64_t id = 65536 / PAGE; id < bytes / PAGE; id++) {
        uint64_t sum, birth;
        REQUIRE(simdisk_peek(disk, data_path, id * PAGE, page, PAGE));
        sum = ftk_get_le64(page + PAGE_CHECKSUM);
        birth = node_birth(page);
        if (birth == 0 || sum != ftk_checksum(page + 8, PAGE - 8, id ^ salt))
            continue; /* never written, or the map */
        REQUIRE_MSG(seen->birth[id] != birth || seen->sum[id] == sum,
                    "page %llu was written twice with birth %llu", (unsigned long long)id,
                    (unsigned long long)birth);
        seen->birth[id] = birth;
        seen->sum[id] = sum;
    }
}

/* A cache so small that transactions write out pages that they change again later. */
static void
page_is_written_once_with_a_birth(void)
{
    struct ftk_random random = test_random();
    static struct seen seen;
    uint64_t limit = cache_limit();
    struct simdisk *disk = simdisk_new(NULL);
    kiln_db *db;

    memset(&seen, 0, sizeof seen);
    OK(kiln_cache_limit(4u << 20));
    db = open_lazy(disk, KILN_CREATE);
    for (unsigned t = 0; t < 12; t++) {
        kiln_txn *txn = engine_begin(db, KILN_WRITE);
        kiln_coll series = engine_coll(txn, "series"), bulky = 0;
        kiln_bulk *bulk = NULL;
        char name[16];
        snprintf(name, sizeof name, "bulk %u", t);
        if (t % 4 == 3) {
            bulky = engine_coll(txn, name);
            OK(kiln_bulk_begin(txn, bulky, &bulk));
        }
        for (unsigned n = 0; n < (t % 3 != 1 ? 4000u : 30u); n++) {
            uint64_t i = ftk_random_below(&random, 12000);
            uint8_t key[8];
            if (bulk != NULL && n % 2 == 0) {
                engine_key(n, key);
                OK(kiln_bulk_add(bulk, key, sizeof key, "bulk", 4));
            }
            OK(engine_series(txn, series, i, i + 1, 100 + (uint32_t)ftk_random_below(&random, 60)));
            if (n % 100 == 0)
                seen_look(&seen, disk, db->salt);
            if (n % 700 == 699 && bulk == NULL) { /* a builder bears no savepoints */
                OK(kiln_savepoint(txn));
                if (t % 2 == 0)
                    OK(kiln_savepoint_release(txn));
            }
        }
        if (bulk != NULL)
            OK(kiln_bulk_end(bulk));
        if (t % 6 == 5)
            kiln_txn_abort(txn); /* its number is in no header and no log */
        else
            OK(kiln_txn_commit(txn));
        if (t % 5 == 4)
            OK(kiln_checkpoint(db));
        seen_look(&seen, disk, db->salt);
        if (t % 3 == 2) { /* the process dies; replay makes its own pages */
            db_abandon(db);
            db = open_lazy(disk, 0);
            seen_look(&seen, disk, db->salt);
        }
    }
    seen_look(&seen, disk, db->salt);
    engine_end(disk, db);
    OK(kiln_cache_limit(limit));
}

TEST_MAIN("engine_lost_writes", TEST(older_version_of_a_page_is_never_served),
          TEST(page_of_another_place_or_database_is_never_served),
          TEST(page_is_written_once_with_a_birth))
