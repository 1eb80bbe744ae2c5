/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/test_engine_taken_back.c -- a call that fails half way takes its half back: rule 5 of
 * engine/txn/README.md, and rule 4 of engine/records/README.md.
 *
 * The table has calls of many steps, most of them with more operations than stay in memory, so that
 * a part is in the log when they fail: tests/unit/engine_shortages.h says what is asked of each.
 */
#include "tests/unit/engine_shortages.h"

enum { STREAM_BYTES = 700000, LIST_BYTES = 17 << 20, LONG_PEOPLE = 8 };

static uint8_t stream_value[STREAM_BYTES];

/* ---- large values ---------------------------------------------------------------------------- */

static kiln_status
stream_put(struct run *run, size_t size)
{
    return kiln_put(run->txn, run->large, "streams", 7, stream_value, size, KILN_PUT_REPLACE);
}

static void
stream_there(struct run *run)
{
    change(run);
    OK(stream_put(run, STREAM_BYTES - 100000));
}

static kiln_status
call_stream_put(struct run *run)
{
    return stream_put(run, STREAM_BYTES);
}

static kiln_status
call_stream_write(struct run *run)
{
    return kiln_value_write(run->txn, run->large, "streams", 7, STREAM_BYTES, deliver, NULL);
}

static int
give_up(void *context, void *buffer, size_t size)
{
    unsigned *left = context;

    memset(buffer, 'g', size);
    return (*left)-- == 0;
}

static kiln_status
call_give_up(struct run *run)
{
    unsigned left = 2;
    kiln_status rc =
        kiln_value_write(run->txn, run->large, "streams", 7, STREAM_BYTES, give_up, &left);

    return rc == KILN_CANCELED ? KILN_OK : rc;
}

enum { BATCH = 24 };

static void
batch_keys(uint8_t bytes[BATCH][8], kiln_slice *keys)
{
    for (unsigned i = 0; i < BATCH; i++) {
        engine_key(i < LARGE_KEYS ? i : i * 3, bytes[i]);
        keys[i] = (kiln_slice){bytes[i], 8};
    }
}

static kiln_status
put_batch(struct run *run, bool large)
{
    uint8_t bytes[BATCH][8];
    kiln_slice keys[BATCH], values[BATCH];

    batch_keys(bytes, keys);
    for (unsigned i = 0; i < BATCH; i++)
        values[i] = (kiln_slice){large_value, large && i % 3 == 0 ? 25000 : 50};
    return kiln_put_many(run->txn, run->large, keys, values, BATCH, 0, NULL);
}

static kiln_status
call_batch_large(struct run *run)
{
    return put_batch(run, true);
}

static kiln_status
call_batch_over_large(struct run *run)
{
    return put_batch(run, false);
}

static kiln_status
call_delete_batch(struct run *run)
{
    uint8_t bytes[BATCH][8];
    kiln_slice keys[BATCH];

    batch_keys(bytes, keys);
    return kiln_delete_many(run->txn, run->large, keys, BATCH, NULL);
}

static kiln_status
call_bulk_stream(struct run *run)
{
    kiln_bulk *bulk = NULL;
    uint8_t key[8];
    kiln_status rc = kiln_bulk_begin(run->txn, run->spare, &bulk);

    for (uint64_t i = 0; i < 60 && rc == KILN_OK; i++) {
        engine_key(i, key);
        rc = kiln_bulk_add(bulk, key, sizeof key, large_value, i % 2 ? LARGE_BYTES : 900);
    }
    if (rc == KILN_OK)
        return kiln_bulk_end(bulk);
    if (kiln_bulk_abort(bulk) != KILN_OK)
        run->bulk = bulk;
    return rc;
}

/* ---- collections ----------------------------------------------------------------------------- */

static kiln_status
call_deletes_that_merge(struct run *run)
{
    kiln_status rc = KILN_OK;
    uint8_t key[8];

    for (uint64_t i = 0; i < SMALL_KEYS - 10 && rc == KILN_OK; i++) {
        engine_key(i * 7 % SMALL_KEYS, key);
        rc = kiln_delete(run->txn, run->small, key, sizeof key);
    }
    return rc;
}

static kiln_status
call_collections(struct run *run)
{
    kiln_status rc = KILN_OK;
    char name[32];
    kiln_coll coll;

    for (unsigned i = 0; i < 12 && rc == KILN_OK; i++) {
        snprintf(name, sizeof name, "collection %u", i * 5 % 12);
        rc = kiln_coll_open(run->txn, name, KILN_COLL_CREATE, &coll);
        if (rc == KILN_OK)
            rc = kiln_put(run->txn, coll, "key", 3, name, strlen(name), KILN_PUT_REPLACE);
    }
    return rc;
}

static kiln_status
call_clear_small(struct run *run)
{
    return kiln_coll_clear(run->txn, run->small);
}

static kiln_status
call_drop_large(struct run *run)
{
    return kiln_coll_drop(run->txn, run->large);
}

static void
another_filled(struct run *run)
{
    kiln_coll another = engine_coll(run->txn, "another");

    change(run);
    OK(engine_series(run->txn, another, 0, 300, 60));
    OK(kiln_put(run->txn, another, "large", 5, large_value, LARGE_BYTES, 0));
}

static kiln_status
call_drop_another(struct run *run)
{
    kiln_coll another;

    OK(kiln_coll_open(run->txn, "another", 0, &another));
    return kiln_coll_drop(run->txn, another);
}

/* ---- records --------------------------------------------------------------------------------- */

/* Somebody whose name does not fit into a leaf. */
static kiln_status
long_person_put(struct run *run, unsigned i)
{
    kiln_record *record = NULL;
    char name[3000];
    uint64_t id = 0;
    kiln_status rc = kiln_record_new(&record);

    memset(name, 'a' + (int)(i % 26), sizeof name);
    if (rc == KILN_OK)
        rc = kiln_record_text(record, run->name, name, sizeof name);
    if (rc == KILN_OK)
        rc = kiln_record_add(run->txn, run->people, record, &id);
    kiln_record_free(record);
    return rc;
}

static void
more_indexes(struct run *run)
{
    kiln_index index;

    OK(index_make(run->txn, "by_age", run->people, run->age, &index));
    OK(index_make(run->txn, "all_by_name", 0, run->name, &index));
    OK(index_make(run->txn, "all_by_age", 0, run->age, &index));
    people_change(run);
    for (unsigned i = 0; i < LONG_PEOPLE; i++)
        OK(long_person_put(run, i));
}

static void
more_indexes_in_scopes(struct run *run)
{
    OK(kiln_savepoint(run->txn));
    more_indexes(run);
    OK(kiln_savepoint(run->txn));
    for (unsigned i = 11; i <= 15; i++)
        OK(person_put(run, i, 800 + i));
}

static kiln_status
call_many_people(struct run *run)
{
    kiln_status rc = KILN_OK;

    for (unsigned i = 1; i <= 5 && rc == KILN_OK; i++) {
        rc = person_put(run, 0, 900 + i);
        if (rc == KILN_OK)
            rc = person_put(run, 30 + i, 950 + i);
        if (rc == KILN_OK)
            rc = kiln_record_delete(run->txn, run->people, 40 + i);
    }
    return rc;
}

static kiln_status
call_index_read(struct run *run)
{
    uint64_t count;

    return kiln_index_count(run->txn, run->by_name, &count);
}

static kiln_status
call_index_again(struct run *run)
{
    kiln_index index;

    return index_make(run->txn, "ages", run->people, run->age, &index);
}

static void
names_alike(struct run *run)
{
    people_change(run);
    OK(person_put(run, 0, 1021)); /* the name of person 21 */
}

static kiln_status
call_unique(struct run *run)
{
    kiln_index_options options = KILN_INDEX_OPTIONS_INIT;
    kiln_index_part part = {.field = run->name};
    kiln_index index;
    kiln_status rc;

    options.name = "unique";
    options.container = run->people;
    options.parts = &part;
    options.part_count = 1;
    options.flags = KILN_UNIQUE;
    rc = kiln_index_define(run->txn, &options, &index);
    CHECK(rc != KILN_OK);
    return rc == KILN_EXISTS ? KILN_OK : rc;
}

static kiln_status
call_people_drop(struct run *run)
{
    return kiln_container_drop(run->txn, run->people);
}

static const struct call calls[] = {
    {"put of a value that streams", 0, change, call_stream_put},
    {"put over a value that streams", 0, stream_there, call_stream_put},
    {"put of a value that streams in scopes", 0, in_scopes, call_stream_put},
    {"write of a value that streams", 0, stream_there, call_stream_write},
    {"write that is given up", 0, stream_there, call_give_up},
    {"batch with large values", PARTLY, change, call_batch_large},
    {"batch over large values", PARTLY, NULL, call_batch_over_large},
    {"batch of deletes with large values", PARTLY, in_scopes, call_delete_batch},
    {"bulk that streams", 0, change, call_bulk_stream},
    {"deletes that merge", PARTLY, NULL, call_deletes_that_merge},
    {"collections", PARTLY, change, call_collections},
    {"clear of what was changed", 0, change, call_clear_small},
    {"clear in scopes", 0, in_scopes, call_clear_small},
    {"drop with large values", 0, in_scopes, call_drop_large},
    {"drop of what was just filled", 0, another_filled, call_drop_another},
    {"records with several indexes", GATHERS | PARTLY, more_indexes, call_many_people},
    {"read of an index", GATHERS, more_indexes_in_scopes, call_index_read},
    {"index in scopes", GATHERS, more_indexes_in_scopes, call_index_again},
    {"unique index that is none", GATHERS, names_alike, call_unique},
    {"container drop in scopes", GATHERS, more_indexes_in_scopes, call_people_drop},
};

static void
a_call_of_many_steps_without_memory_leaves_what_was(void)
{
    EACH_FAULT(FTK_FAULT_ALLOC, calls);
}

static void
a_call_of_many_steps_that_cannot_read_leaves_what_was(void)
{
    EACH_FAULT(FTK_FAULT_READ, calls);
}

/* Taking back must not need what the call could not have. */
static void
a_call_takes_its_half_back_while_there_is_no_memory(void)
{
    faults_in_a_row = UINT32_MAX;
    EACH_FAULT(FTK_FAULT_ALLOC, calls);
    faults_in_a_row = 1;
}

static void
a_call_takes_its_half_back_while_nothing_is_read(void)
{
    faults_in_a_row = UINT32_MAX;
    EACH_FAULT(FTK_FAULT_READ, calls);
    faults_in_a_row = 1;
}

static void
a_call_of_many_steps_that_cannot_write_leaves_what_was(void)
{
    EACH_FAULT(FTK_FAULT_WRITE, calls);
}

/* ---- by themselves --------------------------------------------------------------------------- */

/* A value of several pieces: which they are must be read before one of them goes. */
static void
a_value_whose_pieces_are_not_known_is_not_deleted(void)
{
    struct simdisk *disk = simdisk_new(NULL);
    kiln_db *db = engine_open(disk, KILN_CREATE);
    kiln_txn *txn = engine_begin(db, KILN_WRITE);
    kiln_coll coll = engine_coll(txn, "c");
    uint64_t size, failed = 0;
    bool hit = true;

    OK(kiln_value_write(txn, coll, "list", 4, LIST_BYTES, deliver, NULL));
    OK(kiln_txn_commit(txn));
    for (uint64_t n = 1; hit; n++) {
        db = engine_reopen(disk, db);
        txn = engine_begin(db, KILN_WRITE);
        OK(engine_put(txn, coll, "before", "1"));
        ftk_fault_arm(FTK_FAULT_READ, n, 1);
        kiln_status rc =
            n % 2 ? kiln_delete(txn, coll, "list", 4) : engine_put(txn, coll, "list", "small");
        hit = ftk_fault_hits(FTK_FAULT_READ) > 0;
        ftk_fault_disarm();
        CHECK_EQ(rc == KILN_OK, !hit);
        failed += hit;
        if (hit) {
            OK(kiln_value_size(txn, coll, "list", 4, &size));
            CHECK_EQ(size, LIST_BYTES);
        }
        OK(engine_put(txn, coll, "behind", "1"));
        OK(kiln_txn_commit(txn));
    }
    CHECK(failed > 0);
    engine_end(disk, db);
}

/* Clear or drop a cold tree of many pages, in part the transaction's own, in a scope or not;
 * from the n-th on every allocation or read fails.  False: none did. */
static bool
clear_fails(kiln_db *db, enum ftk_fault kind, uint64_t n, uint64_t *count)
{
    kiln_txn *txn = engine_begin(db, KILN_WRITE);
    kiln_coll coll = engine_coll(txn, "c");
    uint64_t now;
    bool hit;

    if (n % 3 == 0)
        OK(kiln_savepoint(txn));
    OK(engine_series(txn, coll, 500, 700, 99));
    OK(kiln_coll_count(txn, coll, count));
    ftk_fault_arm(kind, n, UINT32_MAX);
    kiln_status rc = n % 2 ? kiln_coll_clear(txn, coll) : kiln_coll_drop(txn, coll);
    hit = ftk_fault_hits(kind) > 0;
    ftk_fault_disarm();
    if (rc == KILN_OK) {
        kiln_txn_abort(txn);
        return hit;
    }
    CHECK(hit);
    OK(kiln_coll_count(txn, coll, &now));
    CHECK_EQ(now, *count);
    OK(engine_put(txn, coll, "behind", "1"));
    OK(kiln_coll_count(txn, coll, count));
    OK(kiln_txn_commit(txn));
    return true;
}

static void
a_tree_that_is_cleared_in_part_is_whole(void)
{
    enum { KEYS = 20000, FEW = 12 };
    static const enum ftk_fault kinds[] = {FTK_FAULT_ALLOC, FTK_FAULT_READ};

    for (unsigned k = 0; k < 2; k++) {
        struct simdisk *disk = simdisk_new(NULL);
        kiln_db *db = engine_open(disk, KILN_CREATE);
        kiln_txn *txn = engine_begin(db, KILN_WRITE);
        kiln_coll coll = engine_coll(txn, "c");
        uint64_t count, found, hits = 0;
        bool hit = true;
        uint8_t key[8];

        OK(engine_series(txn, coll, 0, KEYS, 100));
        for (uint64_t i = 0; i < KEYS; i += 100) {
            engine_key(i, key);
            OK(kiln_put(txn, coll, key, sizeof key, stream_value, 9000, 0));
        }
        OK(kiln_txn_commit(txn));
        db = engine_reopen(disk, db);
        for (uint64_t n = 1; hit || n <= FEW; n += n < FEW ? 1 : 17) {
            hit = clear_fails(db, kinds[k], n, &count);
            hits += hit;
            db = engine_reopen(disk, db);
            txn = engine_begin(db, KILN_READ);
            OK(kiln_coll_count(txn, coll, &found));
            CHECK(!hit || found == count);
            kiln_txn_abort(txn);
        }
        CHECK(hits > 2);
        engine_end(disk, db);
    }
}

/* What has not left for the log when the call fails never comes there. */
static void
what_is_taken_back_in_memory_is_not_logged(void)
{
    struct simdisk *disk = simdisk_new(NULL);
    kiln_db *db = engine_open(disk, KILN_CREATE);
    kiln_txn *txn = engine_begin(db, KILN_WRITE);
    kiln_coll coll = engine_coll(txn, "c");
    unsigned left = 0;

    OK(engine_put(txn, coll, "key", "1"));
    size_t before = txn->writer.ops_size;
    txn->writer.grows = false; /* as if it had only deleted */
    STATUS(kiln_value_write(txn, coll, "large", 5, 40000, give_up, &left), KILN_CANCELED);
    CHECK_EQ(txn->writer.ops_size, before);
    CHECK(!txn->writer.grows);
    CHECK_EQ(txn->writer.fragments, 0);
    left = 2;
    STATUS(kiln_value_write(txn, coll, "large", 5, STREAM_BYTES, give_up, &left), KILN_CANCELED);
    CHECK(txn->writer.fragments > 0); /* and here the replay takes it back */
    OK(kiln_put(txn, coll, "large", 5, stream_value, 50000, 0));
    OK(kiln_txn_commit(txn));
    struct simdisk *after = simdisk_clone(disk, 1);
    simdisk_crash_as(after, SIMDISK_ALL, 1);
    kiln_db *recovered = engine_open(after, 0);
    uint64_t size;
    CHECK(recovered->recovered_txns > 0);
    txn = engine_begin(recovered, KILN_READ);
    CHECK_VALUE(txn, coll, "key", "1");
    OK(kiln_value_size(txn, coll, "large", 5, &size));
    CHECK_EQ(size, 50000);
    kiln_txn_abort(txn);
    engine_end(after, recovered);
    engine_end(disk, db);
}

static uint64_t
pages_taken(kiln_db *db)
{
    kiln_stat stat = {.size = sizeof stat};

    OK(kiln_stat_get(db, &stat));
    return stat.file_bytes / stat.page_bytes - stat.file_pages_free;
}

/* A value that is given up costs no page of the file, be it given up again and again. */
static void
what_is_given_up_costs_nothing(void)
{
    enum { TXNS = 40 };
    struct simdisk *disk = simdisk_new(NULL);
    kiln_db *db = engine_open(disk, KILN_CREATE);
    uint64_t before = 0;

    for (unsigned i = 0; i <= TXNS; i++) {
        kiln_txn *txn = engine_begin(db, KILN_WRITE);
        kiln_coll coll = engine_coll(txn, "c");
        unsigned left = 1;
        STATUS(kiln_value_write(txn, coll, "large", 5, STREAM_BYTES, give_up, &left),
               KILN_CANCELED);
        OK(engine_put(txn, coll, "key", "1"));
        OK(kiln_txn_commit(txn));
        if (i == 0)
            before = pages_taken(db);
    }
    CHECK(pages_taken(db) < before + TXNS * 10); /* those of the puts, until a checkpoint */
    engine_end(disk, db);
}

struct inside {
    kiln_txn *txn;
    kiln_coll coll;
    unsigned calls;
};

static int
changes_inside(void *context, void *buffer, size_t size)
{
    struct inside *inside = context;
    kiln_coll coll;

    memset(buffer, 'i', size);
    inside->calls++;
    STATUS(engine_put(inside->txn, inside->coll, "inside", "1"), KILN_STATE);
    STATUS(kiln_delete(inside->txn, inside->coll, "key", 3), KILN_STATE);
    STATUS(kiln_coll_open(inside->txn, "new", KILN_COLL_CREATE, &coll), KILN_STATE);
    STATUS(kiln_savepoint(inside->txn), KILN_STATE);
    STATUS(kiln_savepoint_release(inside->txn), KILN_STATE);
    STATUS(kiln_savepoint_rollback(inside->txn), KILN_STATE);
    CHECK_VALUE(inside->txn, inside->coll, "key", "1");
    return 0;
}

static void
a_function_that_delivers_a_value_reads_and_changes_nothing(void)
{
    static const uint64_t sizes[] = {100, 40000, STREAM_BYTES};
    struct simdisk *disk = simdisk_new(NULL);
    kiln_db *db = engine_open(disk, KILN_CREATE);
    struct inside inside = {.txn = engine_begin(db, KILN_WRITE)};
    uint64_t size;

    inside.coll = engine_coll(inside.txn, "c");
    OK(engine_put(inside.txn, inside.coll, "key", "1"));
    for (unsigned scopes = 0; scopes < 2; scopes++) {
        for (unsigned i = 0; i < 3; i++) {
            inside.calls = 0;
            OK(kiln_value_write(inside.txn, inside.coll, "value", 5, sizes[i], changes_inside,
                                &inside));
            CHECK(inside.calls > 0);
            OK(kiln_value_size(inside.txn, inside.coll, "value", 5, &size));
            CHECK_EQ(size, sizes[i]);
        }
        OK(kiln_savepoint(inside.txn));
    }
    OK(kiln_savepoint_rollback(inside.txn));
    OK(kiln_txn_commit(inside.txn));
    engine_end(disk, db);
}

/* A flush fails again and again, a little later each time; then it works, nothing is missing. */
static void
what_could_not_be_applied_is_applied_later(void)
{
    struct run base, run;
    uint64_t count, failed = 0;
    bool hit = true;

    base_make(&base);
    run = base;
    run.db = open_database(run.disk, 0);
    run.txn = engine_begin(run.db, KILN_WRITE);
    colls_find(&run);
    more_indexes(&run);
    for (uint64_t n = 1; hit; n++) {
        ftk_fault_arm(n % 2 ? FTK_FAULT_ALLOC : FTK_FAULT_READ, (n + 1) / 2, 1);
        kiln_status rc = kiln_index_count(run.txn, run.by_name, &count);
        hit = ftk_fault_hits(n % 2 ? FTK_FAULT_ALLOC : FTK_FAULT_READ) > 0;
        ftk_fault_disarm();
        CHECK_EQ(rc == KILN_OK, !hit);
        failed += hit;
        OK(person_put(&run, 0, 2000 + (unsigned)n)); /* beside what waits */
    }
    CHECK(failed > 1);
    OK(kiln_container_count(run.txn, run.people, &count));
    CHECK_EQ(count, PEOPLE + 10 + LONG_PEOPLE - 1 + failed + 1);
    OK(kiln_txn_commit(run.txn));
    run.db = engine_reopen(run.disk, run.db);
    engine_end(run.disk, run.db);
}

TEST_MAIN("engine_taken_back", TEST(a_call_of_many_steps_without_memory_leaves_what_was),
          TEST(a_call_of_many_steps_that_cannot_read_leaves_what_was),
          TEST(a_call_takes_its_half_back_while_there_is_no_memory),
          TEST(a_call_takes_its_half_back_while_nothing_is_read),
          TEST(a_call_of_many_steps_that_cannot_write_leaves_what_was),
          TEST(a_value_whose_pieces_are_not_known_is_not_deleted),
          TEST(a_tree_that_is_cleared_in_part_is_whole),
          TEST(what_is_taken_back_in_memory_is_not_logged), TEST(what_is_given_up_costs_nothing),
          TEST(a_function_that_delivers_a_value_reads_and_changes_nothing),
          TEST(what_could_not_be_applied_is_applied_later))
