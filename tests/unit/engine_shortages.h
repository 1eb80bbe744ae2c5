/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/engine_shortages.h -- every allocation and every I/O of one call fails, in turn.
 *
 * For each call of a table: a copy of one database, opened cold; a write transaction that has
 * changed something; the call, with its n-th allocation (or read, write, sync) failing, n = 1, 2, 3
 * ... until none fails.  Then
 *
 *     the call succeeded        what is committed is what the call makes of it
 *     it failed                 the transaction has what it had, later calls and the commit work;
 *                               with a failed write or sync it may be ended, and then nothing is
 *                               committed
 *     it was the commit         KILN_FAILED: all or nothing; any other error: nothing
 *
 * and in every case: the accounts agree, kiln_check finds nothing, before and after opening anew,
 * what the log alone brings back is what was committed, and but for a failed write or sync the
 * database goes on.
 */
#ifndef TESTS_UNIT_ENGINE_SHORTAGES_H
#define TESTS_UNIT_ENGINE_SHORTAGES_H

#include <stdlib.h>

#include "engine/db/coll.h"
#include "engine/space/space.h"
#include "ftk/checksum.h"
#include "tests/unit/engine_testing.h"

enum { SMALL_KEYS = 400, LARGE_KEYS = 5, LARGE_BYTES = 30000, PEOPLE = 60, COLLS = 64 };

static uint8_t large_value[LARGE_BYTES];

/* ---- the database ---------------------------------------------------------------------------- */

struct run {
    struct simdisk *disk;
    kiln_db *db;
    kiln_txn *txn;
    kiln_txn *reader;
    kiln_cursor *cursor; /* of the reader */
    kiln_bulk *bulk;     /* one that could not be aborted: it is as it was */
    kiln_coll small, large, spare;
    kiln_field name, age;
    kiln_container people;
    kiln_index by_name;
};

static kiln_status
index_make(kiln_txn *txn, const char *name, kiln_container container, kiln_field field,
           kiln_index *index_out)
{
    kiln_index_options options = KILN_INDEX_OPTIONS_INIT;
    kiln_index_part part = {.field = field};

    options.name = name;
    options.container = container;
    options.parts = &part;
    options.part_count = 1;
    return kiln_index_define(txn, &options, index_out);
}

/* Person i of so many; id 0: a new one. */
static kiln_status
person_put(struct run *run, uint64_t id, unsigned i)
{
    kiln_record *record = NULL;
    char name[32];
    kiln_status rc = kiln_record_new(&record);

    snprintf(name, sizeof name, "name %u", i * 7919 % 1000);
    if (rc == KILN_OK)
        rc = kiln_record_text(record, run->name, name, strlen(name));
    if (rc == KILN_OK)
        rc = kiln_record_int(record, run->age, i);
    if (rc == KILN_OK && id == 0)
        rc = kiln_record_add(run->txn, run->people, record, &id);
    else if (rc == KILN_OK)
        rc = kiln_record_update(run->txn, run->people, id, record);
    kiln_record_free(record);
    return rc;
}

static kiln_status
large_put(struct run *run, unsigned i, size_t size)
{
    uint8_t key[8];

    engine_key(i, key);
    large_value[0] = (uint8_t)i;
    return kiln_put(run->txn, run->large, key, sizeof key, large_value, size, 0);
}

static void
colls_find(struct run *run)
{
    run->small = engine_coll(run->txn, "small");
    run->large = engine_coll(run->txn, "large");
    run->spare = engine_coll(run->txn, "spare");
}

static kiln_db *
open_database(struct simdisk *disk, uint32_t flags)
{
    kiln_options options = engine_options(flags);
    kiln_db *db = NULL;

    options.durability = KILN_OS;
    options.page_bytes = 4096;
    REQUIRE_OK(engine_try_open(disk, &options, &db));
    return db;
}

static void
base_make(struct run *base)
{
    memset(base, 0, sizeof *base);
    base->disk = simdisk_new(NULL);
    base->db = open_database(base->disk, KILN_CREATE);
    base->txn = engine_begin(base->db, KILN_WRITE);
    colls_find(base);
    OK(engine_series(base->txn, base->small, 0, SMALL_KEYS, 100));
    for (unsigned i = 0; i < LARGE_KEYS; i++)
        OK(large_put(base, i, LARGE_BYTES - i * 1000));
    OK(kiln_field_define(base->txn, "name", KILN_TEXT, &base->name));
    OK(kiln_field_define(base->txn, "age", KILN_INT, &base->age));
    OK(kiln_container_define(base->txn, "people", &base->people));
    OK(index_make(base->txn, "by_name", base->people, base->name, &base->by_name));
    for (unsigned i = 1; i <= PEOPLE; i++)
        OK(person_put(base, 0, i));
    OK(kiln_txn_commit(base->txn));
    OK(kiln_close(base->db));
}

/* Names, keys and values of all collections. */
struct contents {
    kiln_coll colls[COLLS];
    bool reserved[COLLS]; /* of the records part */
    unsigned count;
    uint64_t sum;
};

static ftk_status
contents_coll(void *context, kiln_coll coll, const struct tree *tree, const uint8_t *name,
              size_t name_size)
{
    struct contents *contents = context;

    (void)tree;
    REQUIRE(contents->count < COLLS);
    contents->reserved[contents->count] = name[0] == COLL_RESERVED_NAME_BYTE;
    contents->colls[contents->count++] = coll;
    contents->sum = ftk_checksum(name, name_size, contents->sum);
    return FTK_OK;
}

static uint64_t
contents_of(kiln_txn *txn)
{
    struct contents contents = {.sum = 1};
    kiln_slice key, value;
    kiln_cursor *cursor;
    kiln_status rc;

    REQUIRE_OK(coll_each(txn, contents_coll, &contents));
    for (unsigned i = 0; i < contents.count; i++) {
        OK(kiln_cursor_open(txn, contents.colls[i], 0, &cursor));
        while ((rc = kiln_cursor_next(cursor)) == KILN_OK) {
            OK(kiln_cursor_item(cursor, &key, &value));
            if (contents.reserved[i] && key.size == 1) /* the dictionary's next numbers */
                continue;
            contents.sum = ftk_checksum(key.data, key.size, contents.sum);
            contents.sum = ftk_checksum(value.data, value.size, contents.sum + 1);
        }
        CHECK_EQ(rc, KILN_NOTFOUND);
        kiln_cursor_close(cursor);
    }
    return contents.sum;
}

static uint64_t
committed_contents(kiln_db *db)
{
    kiln_txn *txn = engine_begin(db, KILN_READ);
    uint64_t sum = contents_of(txn);

    kiln_txn_abort(txn);
    return sum;
}

/* ---- calls ----------------------------------------------------------------------------------- */

enum {
    GATHERS = 1, /* records: what is in the transaction shows when it is committed */
    PARTLY = 2,  /* a batch: what it did before the error stays, and is said */
    OUTSIDE = 4, /* no write transaction is open: the call makes its own, or none */
    ENDS = 8,    /* the call ends the transaction */
};

struct call {
    const char *name;
    unsigned flags;
    void (*before)(struct run *run); /* NULL: nothing */
    kiln_status (*run)(struct run *run);
};

static void
change(struct run *run)
{
    uint8_t key[8];

    OK(engine_series(run->txn, run->small, 100, 200, 90));
    OK(large_put(run, 1, 9000));
    for (uint64_t i = 200; i < 260; i++) {
        engine_key(i, key);
        OK(kiln_delete(run->txn, run->small, key, sizeof key));
    }
}

static void
in_scopes(struct run *run)
{
    OK(kiln_savepoint(run->txn));
    change(run);
    OK(kiln_savepoint(run->txn));
    OK(engine_series(run->txn, run->small, 50, 150, 30));
    OK(large_put(run, 2, 15000));
    OK(large_put(run, LARGE_KEYS, 15000));
}

static void
people_change(struct run *run)
{
    change(run);
    for (unsigned i = 1; i <= 10; i++) {
        OK(person_put(run, 0, 500 + i));
        OK(person_put(run, i, 700 + i));
    }
    OK(kiln_record_delete(run->txn, run->people, 20));
}

/* As kiln_value_write's read. */
static int
deliver(void *context, void *buffer, size_t size)
{
    (void)context;
    memset(buffer, 'd', size);
    return 0;
}

/* ---- one run --------------------------------------------------------------------------------- */

struct outcome {
    kiln_status rc, commit;
    bool hit;
    uint64_t inside;    /* contents in the transaction, when it goes on */
    uint64_t committed; /* ... in the end, after opening anew */
};

static void
agree(struct run *run, const char *how)
{
    const char *fault = space_check(run->db->space);

    CHECK_MSG(fault == NULL, "%s: space map: %s", how, fault);
    fault = run->txn == NULL ? NULL : txn_pages_check(run->txn);
    CHECK_MSG(fault == NULL, "%s: transaction: %s", how, fault);
}

static void
run_begin(struct run *run, const struct run *base, const struct call *call)
{
    *run = *base;
    run->disk = simdisk_clone(base->disk, 1);
    run->db = open_database(run->disk, 0);
    run->txn = engine_begin(run->db, KILN_WRITE);
    colls_find(run);
    if (call->flags & OUTSIDE) {
        OK(engine_put(run->txn, run->spare, "before", "1"));
        OK(kiln_txn_commit(run->txn));
        run->txn = NULL;
    }
    if (call->before != NULL)
        call->before(run);
}

/* The transaction goes on and is committed, if it can be. */
static void
run_commit(struct run *run, const struct call *call, struct outcome *outcome)
{
    kiln_status rc;

    if (call->flags & (OUTSIDE | ENDS)) {
        run->txn = NULL;
        rc = kiln_txn_begin(run->db, KILN_WRITE, &run->txn);
        if (rc != KILN_OK) {
            outcome->commit = rc;
            return;
        }
    }
    rc = engine_put(run->txn, run->spare, "\377 behind", "1");
    if (rc == KILN_OK && !(call->flags & GATHERS))
        outcome->inside = contents_of(run->txn);
    if (rc == KILN_OK)
        agree(run, call->name);
    outcome->commit = kiln_txn_commit(run->txn);
    run->txn = NULL;
    CHECK(rc == KILN_OK || outcome->commit != KILN_OK);
}

/* What the log alone brings back, as after the end of the process. */
static uint64_t
recovered_contents(struct simdisk *disk)
{
    struct simdisk *after = simdisk_clone(disk, 1);
    kiln_db *db;
    uint64_t sum;

    simdisk_crash_as(after, SIMDISK_ALL, 1);
    db = open_database(after, 0);
    sum = committed_contents(db);
    engine_end(after, db);
    return sum;
}

/* A call that failed says what it was refused: the status, the words in the thread's slot, and
 * those kept for its transaction or database (a record in memory belongs to none). */
static void
words_verify(const struct run *run, const struct call *call, enum ftk_fault kind, uint64_t n,
             kiln_status rc)
{
    const kiln_error *last = kiln_error_last();
    kiln_status wanted = kind == FTK_FAULT_ALLOC ? KILN_NOMEM : KILN_IO;
    bool failed = rc == KILN_FAILED && (kind == FTK_FAULT_WRITE || kind == FTK_FAULT_SYNC);

    if (rc == KILN_OK)
        return;
    CHECK_MSG(rc == wanted || failed, "%s, fault %llu of kind %d: %s: %s", call->name,
              (unsigned long long)n, (int)kind, kiln_status_name(rc), last->text);
    CHECK_MSG(last->status == rc && last->text != NULL && last->text[0] != '\0',
              "%s, fault %llu of kind %d: %s, words of %s: %s", call->name, (unsigned long long)n,
              (int)kind, kiln_status_name(rc), kiln_status_name(last->status), last->text);
    if (run->reader != NULL || (call->flags & GATHERS))
        return;
    last = run->txn != NULL ? kiln_txn_error(run->txn) : kiln_db_error(run->db);
    CHECK_MSG(last->status == rc && last->text[0] != '\0',
              "%s, fault %llu of kind %d: %s, and kept is %s: %s", call->name,
              (unsigned long long)n, (int)kind, kiln_status_name(rc),
              kiln_status_name(last->status), last->text);
}

/* 1: the n-th fails, the next one does not; many: a shortage lasts to the end of the call. */
static uint64_t faults_in_a_row = 1;

/* kind FTK_FAULT_COUNT: none; skip: the call is not made. */
static struct outcome
run_once(const struct run *base, const struct call *call, enum ftk_fault kind, uint64_t n,
         bool skip)
{
    struct outcome outcome = {0};
    uint64_t heap = ftk_mem_bytes();
    struct run run;
    bool final = kind == FTK_FAULT_WRITE || kind == FTK_FAULT_SYNC;

    run_begin(&run, base, call);
    if (kind != FTK_FAULT_COUNT)
        ftk_fault_arm(kind, n, faults_in_a_row);
    if (!skip)
        outcome.rc = call->run(&run);
    else if (call->flags & ENDS)
        kiln_txn_abort(run.txn);
    if (call->flags & ENDS)
        run.txn = NULL;
    outcome.hit = kind != FTK_FAULT_COUNT && ftk_fault_hits(kind) > 0;
    ftk_fault_disarm();
    words_verify(&run, call, kind, n, outcome.rc);
    OK(kiln_bulk_abort(run.bulk));
    agree(&run, call->name);
    run_commit(&run, call, &outcome);
    kiln_cursor_close(run.cursor);
    if (run.reader != NULL)
        kiln_txn_abort(run.reader);
    agree(&run, call->name);
    if (!final) { /* a passing shortage: the database goes on */
        kiln_txn *txn = engine_begin(run.db, KILN_WRITE);
        kiln_txn_abort(txn);
        outcome.committed = committed_contents(run.db);
        CHECK_MSG(recovered_contents(run.disk) == outcome.committed,
                  "%s: another state is replayed", call->name);
        OK(kiln_checkpoint(run.db));
        CHECK_EQ(committed_contents(run.db), outcome.committed);
        engine_check(run.db);
    }
    (void)kiln_close(run.db);
    run.db = open_database(run.disk, 0);
    if (final)
        outcome.committed = committed_contents(run.db);
    else
        CHECK_EQ(committed_contents(run.db), outcome.committed);
    engine_end(run.disk, run.db);
    CHECK_MSG(ftk_mem_bytes() == heap, "%s, fault %llu of kind %d: %lld bytes are lost", call->name,
              (unsigned long long)n, (int)kind, (long long)(ftk_mem_bytes() - heap));
    return outcome;
}

/* ---- what must come out ---------------------------------------------------------------------- */

struct expected {
    struct outcome skipped, done; /* without the call, and with it */
    uint64_t base;                /* contents when nothing more is committed */
    uint64_t ended;               /* and when the call is what ended the transaction */
};

static void
judge(const struct call *call, enum ftk_fault kind, uint64_t n, const struct outcome *got,
      const struct expected *expected)
{
    const struct outcome *skipped = &expected->skipped, *done = &expected->done;
    uint64_t base = expected->base;
    static const char *const kinds[] = {"allocation", "read", "write", "sync"};
    char how[128];
    bool sure = got->commit == KILN_OK;

    snprintf(how, sizeof how, "%s, %s %llu: %s, then commit %s", call->name, kinds[kind],
             (unsigned long long)n, kiln_status_name(got->rc), kiln_status_name(got->commit));
    CHECK_MSG(got->rc != KILN_FAILED || kind == FTK_FAULT_WRITE || kind == FTK_FAULT_SYNC,
              "%s: a shortage is no reason to fail", how);
    if (got->rc == KILN_OK && sure) {
        CHECK_MSG(got->committed == done->committed, "%s: not what the call does", how);
        return;
    }
    if (sure) {
        CHECK_MSG((call->flags & PARTLY) || got->committed == skipped->committed,
                  "%s: the call failed and changed something", how);
        CHECK_MSG((call->flags & (PARTLY | GATHERS | OUTSIDE)) || got->inside == skipped->inside,
                  "%s: the call failed and changed something in the transaction", how);
        return;
    }
    CHECK_MSG((call->flags & ENDS) || kind == FTK_FAULT_WRITE || kind == FTK_FAULT_SYNC,
              "%s: a shortage is the call's error, and the transaction goes on", how);
    if (call->flags & ENDS)
        CHECK_MSG(got->committed == base ||
                      (got->rc == KILN_FAILED && got->committed == expected->ended),
                  "%s: something is committed, or a part", how);
    else if (got->commit != KILN_FAILED)
        CHECK_MSG(got->committed == base, "%s: something is committed", how);
    else
        CHECK_MSG(got->committed == base || got->committed == skipped->committed ||
                      got->committed == done->committed,
                  "%s: what is there was never written", how);
}

static void
each_fault_of(enum ftk_fault kind, const struct call *calls, size_t count)
{
    struct run base;
    uint64_t faults = 0;

    base_make(&base);
    for (size_t i = 0; i < count; i++) {
        const struct call *call = &calls[i];
        struct expected expected = {
            .skipped = run_once(&base, call, FTK_FAULT_COUNT, 0, true),
            .done = run_once(&base, call, FTK_FAULT_COUNT, 0, false),
        };
        struct run empty;
        CHECK_MSG(expected.done.rc == KILN_OK && expected.done.commit == KILN_OK,
                  "%s without faults", call->name);
        if (call->flags & ENDS) {
            run_begin(&empty, &base, call);
            OK(call->run(&empty));
            expected.ended = committed_contents(empty.db);
            engine_end(empty.disk, empty.db);
        }
        run_begin(&empty, &base, call); /* what is there when nothing more is committed */
        if (empty.txn != NULL)
            kiln_txn_abort(empty.txn);
        kiln_cursor_close(empty.cursor);
        if (empty.reader != NULL)
            kiln_txn_abort(empty.reader);
        expected.base = committed_contents(empty.db);
        engine_end(empty.disk, empty.db);
        for (uint64_t n = 1;; n++) {
            struct outcome got = run_once(&base, call, kind, n, false);
            judge(call, kind, n, &got, &expected);
            if (!got.hit)
                break;
            faults++;
        }
    }
    simdisk_free(base.disk);
    CHECK(faults > 0);
    printf("    %llu faults\n", (unsigned long long)faults);
}

#define EACH_FAULT(kind, calls) each_fault_of((kind), (calls), sizeof(calls) / sizeof((calls)[0]))

#endif
