/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/test_engine_badinput.c -- data.kdb and the log with bytes that are not what was
 * written.
 *
 * Whatever is done to the files: opening, reading everything and checking end with an error that
 * says so, or find exactly what was there.  Never other data, never a crash, never a hang.
 */
#include <stdlib.h>

#include "ftk/checksum.h"
#include "tests/unit/engine_testing.h"

enum { KEYS = 400, LARGE = 30000, PAGE = 4096, UNLOGGED = 0, LOGGED = 40 };

static struct simdisk *whole; /* the undamaged files */
static uint64_t data_bytes;

/* Keys [0, KEYS) in two collections, a large value; `logged` commits more that only the log has. */
static void
make(unsigned logged)
{
    static uint8_t large[LARGE];
    kiln_db *db;
    kiln_txn *txn;
    kiln_coll coll;

    whole = simdisk_new(NULL);
    db = engine_open(whole, KILN_CREATE);
    for (unsigned i = 0; i < 3; i++) { /* so that both header slots and map copies are in use */
        txn = engine_begin(db, KILN_WRITE);
        OK(engine_series(txn, engine_coll(txn, "a"), 0, KEYS, 60));
        OK(engine_series(txn, engine_coll(txn, "b"), 0, KEYS / 4, 200));
        coll = engine_coll(txn, "large");
        memset(large, 'x', sizeof large);
        OK(kiln_put(txn, coll, "large", 5, large, sizeof large, 0));
        OK(kiln_txn_commit(txn));
        OK(kiln_checkpoint(db));
    }
    db = engine_reopen(whole, db);
    for (unsigned i = 0; i < logged; i++) {
        txn = engine_begin(db, KILN_WRITE);
        OK(engine_series(txn, engine_coll(txn, "logged"), i, i + 1, 60));
        OK(kiln_txn_commit(txn));
    }
    if (logged > 0)
        db_abandon(db);
    else
        OK(kiln_close(db));
    REQUIRE(simdisk_size(whole, "/db/data.kdb", &data_bytes));
}

/* ---- what is found --------------------------------------------------------------------------- */

static kiln_status
read_series(kiln_txn *txn, const char *name, uint64_t count, size_t size, uint64_t *found)
{
    kiln_cursor *cursor = NULL;
    kiln_slice key, value;
    kiln_coll coll;
    kiln_status rc = kiln_coll_open(txn, name, 0, &coll);

    *found = 0;
    if (rc != KILN_OK)
        return rc;
    rc = kiln_cursor_open(txn, coll, 0, &cursor);
    while (rc == KILN_OK && (rc = kiln_cursor_next(cursor)) == KILN_OK) {
        rc = kiln_cursor_item(cursor, &key, &value);
        if (rc != KILN_OK)
            break;
        REQUIRE_MSG(*found < count && key.size == 8 && ftk_get_be64(key.data) == *found &&
                        value.size == size && ftk_get_be64(value.data) == *found,
                    "other data in \"%s\": item %llu", name, (unsigned long long)*found);
        ++*found;
    }
    kiln_cursor_close(cursor);
    return rc == KILN_NOTFOUND ? KILN_OK : rc;
}

static kiln_status
read_large(kiln_txn *txn)
{
    kiln_coll coll;
    kiln_slice value;
    kiln_status rc = kiln_coll_open(txn, "large", 0, &coll);

    if (rc == KILN_OK)
        rc = kiln_get(txn, coll, "large", 5, &value);
    if (rc != KILN_OK)
        return rc;
    REQUIRE(value.size == LARGE);
    for (size_t i = 0; i < value.size; i++)
        REQUIRE_MSG(((const uint8_t *)value.data)[i] == 'x', "other data: large value, byte %zu",
                    i);
    return KILN_OK;
}

/* Reads everything; the first error.  *logged_out: items only the log has. */
static kiln_status
read_all(kiln_db *db, unsigned logged, uint64_t *logged_out)
{
    kiln_txn *txn = engine_begin(db, KILN_READ);
    uint64_t found = 0;
    kiln_status rc = read_series(txn, "a", KEYS, 60, &found);

    if (rc == KILN_OK) {
        REQUIRE_EQ(found, KEYS);
        rc = read_series(txn, "b", KEYS / 4, 200, &found);
    }
    if (rc == KILN_OK) {
        REQUIRE_EQ(found, KEYS / 4);
        rc = read_large(txn);
    }
    if (rc == KILN_OK && logged > 0) {
        rc = read_series(txn, "logged", logged, 60, logged_out);
        rc = rc == KILN_NOTFOUND ? KILN_OK : rc;
    }
    kiln_txn_abort(txn);
    return rc;
}

static bool
says_so(kiln_status rc)
{
    return (rc == KILN_CORRUPT || rc == KILN_FOREIGN || rc == KILN_VERSION || rc == KILN_IO ||
            rc == KILN_NOTFOUND || rc == KILN_INVALID) &&
           kiln_error_last()->text[0] != 0;
}

enum outcome { SAME, NOTICED };

/* Opens the damaged disk; it is freed.  Losing the last commit of the log is all that may be
 * lost. */
static enum outcome
judge(struct simdisk *disk, unsigned logged, const char *how)
{
    kiln_options options = engine_options(0);
    enum outcome outcome = SAME;
    uint64_t found = logged;
    kiln_db *db = NULL;
    kiln_status rc = (kiln_status)engine_try_open(disk, &options, &db);

    if (rc == KILN_OK) {
        rc = read_all(db, logged, &found);
        if (rc == KILN_OK) {
            REQUIRE_MSG(found + 1 >= logged, "%s: %llu of %u commits", how,
                        (unsigned long long)found, logged);
            rc = kiln_check(db, NULL);
        }
        REQUIRE_MSG(rc != KILN_NOTFOUND, "%s: silently gone", how);
    }
    if (rc != KILN_OK) {
        outcome = NOTICED;
        REQUIRE_MSG(says_so(rc), "%s: %s: %s", how, kiln_status_name(rc), kiln_error_last()->text);
    }
    if (db != NULL)
        db_abandon(db);
    simdisk_free(disk);
    return outcome;
}

static enum outcome
flip(const char *path, uint64_t offset, unsigned logged)
{
    struct simdisk *disk = simdisk_clone(whole, 1);
    char how[128];

    snprintf(how, sizeof how, "bit flipped in byte %llu of %s", (unsigned long long)offset, path);
    REQUIRE(simdisk_flip(disk, path, offset, (uint8_t)(1u << offset % 8)));
    return judge(disk, logged, how);
}

/* ---- cases ----------------------------------------------------------------------------------- */

static void
flips_of_one_header_block_are_repaired_from_the_others(void)
{
    make(UNLOGGED);
    for (unsigned block = 0; block < 4; block++) {
        for (uint64_t at = 0; at < PAGE; at += at < 128 || at >= 4080 ? 1 : 61)
            CHECK_EQ(flip("/db/data.kdb", block * 16384 + at, 0), SAME);
    }
    simdisk_free(whole);
}

static void
two_damaged_copies_of_a_header_are_reported(void)
{
    make(UNLOGGED);
    for (unsigned slot = 0; slot < 2; slot++) {
        struct simdisk *disk = simdisk_clone(whole, 1);
        REQUIRE(simdisk_flip(disk, "/db/data.kdb", slot * 16384 + 50, 1));
        REQUIRE(simdisk_flip(disk, "/db/data.kdb", slot * 16384 + 32768 + 50, 1));
        CHECK_EQ(judge(disk, 0, "both copies"), NOTICED);
    }
    simdisk_free(whole);
}

static void
flips_of_pages_are_noticed_where_bytes_count(void)
{
    unsigned noticed = 0, same = 0;

    make(UNLOGGED);
    for (uint64_t page = HEADER_REGION_BYTES; page < data_bytes; page += PAGE) {
        for (uint64_t at = 0; at < PAGE; at += at < 64 ? 7 : 233) {
            if (flip("/db/data.kdb", page + at, 0) == NOTICED)
                noticed++;
            else
                same++; /* a free page, an old map */
        }
    }
    printf("    %u noticed, %u in bytes that are not used\n", noticed, same);
    CHECK(noticed > 500);
    simdisk_free(whole);
}

static void
flips_of_the_log_are_noticed_or_cut_one_commit(void)
{
    struct ftk_random random = test_random();
    uint64_t size = 0;
    unsigned noticed = 0;

    make(LOGGED);
    REQUIRE(simdisk_size(whole, "/db/rfl/0000000000000001.rfl", &size));
    for (unsigned i = 0; i < 2500; i++) {
        uint64_t at = i < 300    ? i
                      : i < 2000 ? 4096 + ftk_random_below(&random, 24000)
                                 : ftk_random_below(&random, size);
        if (at < size)
            noticed += flip("/db/rfl/0000000000000001.rfl", at, LOGGED) == NOTICED;
    }
    printf("    %u noticed\n", noticed);
    CHECK(noticed > 100);
    simdisk_free(whole);
}

static struct simdisk *
resized(const char *path, uint64_t size)
{
    struct simdisk *disk = simdisk_clone(whole, 1);
    struct ftk_file *file = NULL;

    REQUIRE_OK(ftk_file_open(simdisk_disk(disk), path, 0, &file));
    REQUIRE_OK(ftk_file_truncate(file, size));
    ftk_file_close(file);
    return disk;
}

static void
cut_files_are_noticed(void)
{
    make(UNLOGGED);
    for (uint64_t size = 0; size < data_bytes; size += size < 70000 ? 1111 : PAGE / 2) {
        char how[64];
        snprintf(how, sizeof how, "data.kdb cut to %llu bytes", (unsigned long long)size);
        CHECK_EQ(judge(resized("/db/data.kdb", size), 0, how), NOTICED);
    }
    simdisk_free(whole);
    make(LOGGED);
    for (uint64_t size = 0; size < 40000; size += 777) /* all that is behind the cut is lost, but */
        (void)judge(resized("/db/rfl/0000000000000001.rfl", size), 1, "log cut"); /* not more */
    simdisk_free(whole);
}

static void
pages_in_each_others_place_are_noticed(void)
{
    uint8_t a[PAGE], b[PAGE];
    unsigned noticed = 0, tried = 0;

    make(UNLOGGED);
    for (uint64_t one = HEADER_REGION_BYTES + 2 * PAGE; one + PAGE < data_bytes; one += PAGE) {
        struct simdisk *disk = simdisk_clone(whole, 1);
        REQUIRE(simdisk_peek(disk, "/db/data.kdb", one, a, PAGE));
        REQUIRE(simdisk_peek(disk, "/db/data.kdb", one + PAGE, b, PAGE));
        REQUIRE(simdisk_poke(disk, "/db/data.kdb", one, b, PAGE));
        REQUIRE(simdisk_poke(disk, "/db/data.kdb", one + PAGE, a, PAGE));
        tried++;
        noticed += judge(disk, 0, "swapped pages") == NOTICED;
    }
    CHECK_MSG(noticed * 2 > tried, "%u of %u", noticed, tried);
    simdisk_free(whole);
}

static void
put_file(struct simdisk *disk, const char *path, const void *bytes, size_t size)
{
    struct ftk_file *file = NULL;

    REQUIRE_OK(ftk_file_open(simdisk_disk(disk), path, FTK_OPEN_CREATE, &file));
    REQUIRE_OK(ftk_file_truncate(file, 0));
    REQUIRE_OK(ftk_file_write(file, bytes, size, 0));
    ftk_file_close(file);
}

static void
foreign_files_are_refused_and_left_alone(void)
{
    static uint8_t bytes[200000], after[200000];
    struct ftk_random random = test_random();
    kiln_options options = engine_options(KILN_CREATE);
    kiln_db *db = NULL;

    for (unsigned kind = 0; kind < 4; kind++) {
        struct simdisk *disk = simdisk_new(NULL);
        size_t size = kind == 0 ? 100 : sizeof bytes;
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = kind == 1 ? 0 : kind == 2 ? 'k' : (uint8_t)ftk_random_next(&random);
        REQUIRE_OK(simdisk_disk(disk)->ops->mkdir(simdisk_disk(disk), NULL, "/db"));
        put_file(disk, "/db/data.kdb", bytes, size);
        CHECK_STATUS(engine_try_open(disk, &options, &db), FTK_FOREIGN);
        REQUIRE(simdisk_peek(disk, "/db/data.kdb", 0, after, size));
        CHECK_MEM(after, bytes, size);
        simdisk_free(disk);
    }
}

static void
log_of_another_database_is_refused(void)
{
    static uint8_t log[2 << 20];
    struct simdisk *disk;

    make(LOGGED);
    REQUIRE(simdisk_peek(whole, "/db/rfl/0000000000000001.rfl", 0, log, sizeof log));
    simdisk_free(whole);
    make(LOGGED);
    disk = simdisk_clone(whole, 1);
    REQUIRE(simdisk_poke(disk, "/db/rfl/0000000000000001.rfl", 0, log, sizeof log));
    CHECK_EQ(judge(disk, LOGGED, "foreign log"), NOTICED);
    simdisk_free(whole);
}

static void
missing_log_is_noticed(void)
{
    struct simdisk *disk;

    make(LOGGED);
    disk = simdisk_clone(whole, 1);
    REQUIRE_OK(
        simdisk_disk(disk)->ops->remove(simdisk_disk(disk), NULL, "/db/rfl/0000000000000001.rfl"));
    CHECK_EQ(judge(disk, LOGGED, "log removed"), NOTICED);
    simdisk_free(whole);
}

static void
later_format_version_is_refused(void)
{
    struct simdisk *disk;
    uint8_t block[HEADER_BLOCK_BYTES];
    kiln_options options = engine_options(0);
    kiln_db *db = NULL;

    make(UNLOGGED);
    disk = simdisk_clone(whole, 1);
    for (unsigned i = 0; i < 4; i++) {
        REQUIRE(simdisk_peek(disk, "/db/data.kdb", i * 16384, block, sizeof block));
        ftk_put_le32(block + HEADER_VERSION, FILE_VERSION + 1);
        ftk_put_le64(block + HEADER_CHECKSUM, ftk_checksum(block, HEADER_CHECKSUM, 0));
        REQUIRE(simdisk_poke(disk, "/db/data.kdb", i * 16384, block, sizeof block));
    }
    CHECK_STATUS(engine_try_open(disk, &options, &db), FTK_VERSION);
    simdisk_free(disk);
    simdisk_free(whole);
}

/* A crash while creating leaves data.kdb.new; who comes next may want another database. */
struct leftover {
    struct simdisk *disks[200];
    unsigned count;
};

static void
leftover_keep(void *context, struct simdisk *disk, uint64_t step)
{
    struct leftover *leftover = context;

    if (leftover->count < 200)
        leftover->disks[leftover->count++] = simdisk_clone(disk, step);
}

static void
a_creation_cut_short_is_taken_up_with_other_options(void)
{
    struct simdisk *disk = simdisk_new(NULL);
    struct leftover leftover = {.count = 0};
    kiln_options options = engine_options(KILN_CREATE), other = options;
    kiln_db *db;

    simdisk_hook(disk, leftover_keep, &leftover);
    REQUIRE_OK(engine_try_open(disk, &options, &db));
    simdisk_hook(disk, NULL, NULL);
    db_abandon(db);
    simdisk_free(disk);
    other.page_bytes = 8192;
    for (unsigned i = 0; i < leftover.count; i++) {
        kiln_stat stat = {.size = sizeof stat};
        simdisk_kill(leftover.disks[i], i);
        other.flags ^= KILN_EXTERNAL_LOG;
        ftk_status rc = engine_try_open(leftover.disks[i], &other, &db);
        if (rc == FTK_OK) {
            OK(kiln_stat_get(db, &stat));
            CHECK(stat.page_bytes == 8192 || stat.page_bytes == 4096);
            OK(kiln_close(db));
        } else { /* it was complete, and is another one */
            CHECK_STATUS(rc, FTK_INVALID);
            REQUIRE_OK(engine_try_open(leftover.disks[i], &options, &db));
            OK(kiln_close(db));
        }
        simdisk_free(leftover.disks[i]);
    }
}

static void
a_cache_too_small_for_the_pages_is_told(void)
{
    struct simdisk *disk = simdisk_new(NULL);
    kiln_options options = engine_options(KILN_CREATE);
    uint64_t limit = cache_limit();
    kiln_db *db = NULL;

    options.page_bytes = 65536;
    options.cache_bytes = 4 << 20;
    CHECK_STATUS(engine_try_open(disk, &options, &db), FTK_INVALID);
    options.cache_bytes = 6 << 20;
    REQUIRE_OK(engine_try_open(disk, &options, &db));
    OK(kiln_close(db));
    OK(kiln_cache_limit(limit));
    simdisk_free(disk);
}

TEST_MAIN("engine_badinput", TEST(flips_of_one_header_block_are_repaired_from_the_others),
          TEST(two_damaged_copies_of_a_header_are_reported),
          TEST(flips_of_pages_are_noticed_where_bytes_count),
          TEST(flips_of_the_log_are_noticed_or_cut_one_commit), TEST(cut_files_are_noticed),
          TEST(pages_in_each_others_place_are_noticed),
          TEST(foreign_files_are_refused_and_left_alone), TEST(log_of_another_database_is_refused),
          TEST(missing_log_is_noticed), TEST(later_format_version_is_refused),
          TEST(a_creation_cut_short_is_taken_up_with_other_options),
          TEST(a_cache_too_small_for_the_pages_is_told))
