/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/sim/test_engine_shortage_threads.c -- many threads, while memory, descriptors, threads and
 * reads are refused in passing, by chance.
 *
 * Two databases share a cache whose limit goes up and down: writers, readers, a thread of
 * checkpoints, one of checks and numbers, one that opens and closes a third database (and tries to
 * open the others a second time).  A shortage is an error of the call that met it, with words: no
 * database may fail, no reader may see anything but one commit, and each commit is all or nothing.
 *
 * The model.  Each transaction reads the number of the last commit, S, under the key "seq", puts
 * S + 1 there, and writes what the database will hold then into models[(S + 1) % MODELS] before it
 * commits: it has the writer's turn, and who fails leaves its model to the next, which has the same
 * number.  So whoever reads S in a snapshot knows what else is in it.
 *
 * A refused call has changed nothing, and half of the writers go on after it.  They change leaves
 * in place beside readers and checkpoints, and a leaf that is to be returned meets, one time in
 * four, a page that cannot be: who needs the leaf is refused, KILN_CORRUPT with these words, and no
 * one else.
 *
 * When writes and syncs fail as well, a database may fail, for all its threads, while its readers
 * read on; opened anew, with or without a power cut, it has at least the last full commit.
 *
 * In the end nothing is refused: the databases work, are checked, and hold their models; so they do
 * after a power cut (at least up to the last full commit) and when they are closed and opened anew.
 *
 * KILN_SHORTAGE_SECONDS says how long (3); the threads' order is the system's, so a seed gives the
 * same refusals but not the same run.
 */
#include <stdarg.h>
#include <stdlib.h>

#include "engine/tree/tree.h"
#include "ftk/clock.h"
#include "ftk/thread.h"
#include "tests/unit/engine_testing.h"

enum {
    DATABASES = 2,
    WRITERS = 2, /* of each */
    READERS = 2,
    KEYS = 96,    /* of the collection */
    RECORDS = 64, /* behind them in the model: record id 1 + i - KEYS */
    THINGS = KEYS + RECORDS,
    MODELS = 32768, /* no snapshot is held for so many commits */
    BATCH = 10,
    VALUE_BYTES_MAX = 160000,
    OTHERS = 4, /* threads beside writers and readers */
    THREADS = DATABASES * (WRITERS + READERS) + OTHERS,
    FINDINGS = 12,
};

struct model {
    _Atomic uint64_t seq;
    _Atomic uint32_t tags[THINGS]; /* 0: not there; the value follows from the tag */
};

struct base {
    struct simdisk *disk;
    kiln_db *db;
    kiln_coll coll;
    kiln_field tag;
    kiln_container things;
    struct model *models;
    _Atomic uint64_t seq_full; /* the last commit with KILN_FULL that returned */
};

static struct {
    struct base bases[DATABASES];
    struct simdisk *third;
    bool may_fail; /* writes and syncs are refused, too */
    _Atomic bool leaves_refused;
    _Atomic uint64_t leaves, leaf_refusals; /* that were to be returned; of calls */
    _Atomic bool stop;
    _Atomic uint64_t commits, reads, refusals, opens, checkpoints;
    struct ftk_mutex mutex; /* guards what follows */
    unsigned finding_count;
    char findings[FINDINGS][300];
} world;

struct worker {
    struct ftk_thread thread;
    struct base *base; /* NULL: of none */
    struct ftk_random random;
    kiln_txn *txn;
    uint64_t seq;
    uint32_t tags[THINGS]; /* as the transaction has them */
};

static void finding(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void
finding(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    ftk_mutex_lock(&world.mutex);
    if (world.finding_count < FINDINGS)
        vsnprintf(world.findings[world.finding_count++], sizeof world.findings[0], format,
                  arguments);
    ftk_mutex_unlock(&world.mutex);
    va_end(arguments);
}

static uint64_t
draw(struct worker *worker, uint64_t bound)
{
    return ftk_random_below(&worker->random, bound);
}

/* True: done.  False: refused, in words; anything else is a finding. */
static bool
went(kiln_status rc, const char *what)
{
    const kiln_error *error = kiln_error_last();

    if (rc == KILN_OK)
        return true;
    bool leaf = rc == KILN_CORRUPT && strstr(error->text, "no such page") != NULL;
    bool expected =
        rc == KILN_NOMEM || rc == KILN_IO || leaf || (rc == KILN_FAILED && world.may_fail);
    if (!expected || error->status != rc || error->text == NULL || error->text[0] == '\0')
        finding("%s: %s; words of %s: %s (%s:%d)", what, kiln_status_name(rc),
                kiln_status_name(error->status), error->text, error->file, error->line);
    atomic_fetch_add(&world.refusals, 1);
    atomic_fetch_add(&world.leaf_refusals, leaf);
    return false;
}

/* ---- values ---------------------------------------------------------------------------------- */

static size_t
value_size(uint32_t tag)
{
    return tag % 5 == 0 ? 2000 + tag / 5 % (VALUE_BYTES_MAX - 2000) : 4 + tag % 300;
}

static void
value_fill(uint32_t tag, uint8_t *value)
{
    size_t size = value_size(tag);

    memset(value, (int)(tag * 31 % 251), size);
    ftk_put_le32(value, tag);
    value[size - 1] ^= 0x5a;
}

static bool
value_is(uint32_t tag, kiln_slice value)
{
    uint8_t wanted[VALUE_BYTES_MAX];

    if (value.size != value_size(tag))
        return false;
    value_fill(tag, wanted);
    return memcmp(wanted, value.data, value.size) == 0;
}

static uint32_t
new_tag(struct worker *worker)
{
    return 1 + (uint32_t)draw(worker, 1u << 30);
}

/* Of a large value. */
static uint32_t
large_tag(struct worker *worker)
{
    return new_tag(worker) / 5 * 5 + 5;
}

/* ---- one transaction ------------------------------------------------------------------------- */

static bool
seq_read(struct worker *worker)
{
    kiln_slice value;
    kiln_status rc = kiln_get(worker->txn, worker->base->coll, "seq", 3, &value);

    if (!went(rc, "get of the number"))
        return false;
    worker->seq = ftk_get_le64(value.data);
    return true;
}

/* What the model says of snapshot `seq`; false when it has been overwritten. */
static bool
model_take(struct worker *worker)
{
    struct model *model = &worker->base->models[worker->seq % MODELS];

    for (unsigned i = 0; i < THINGS; i++)
        worker->tags[i] = atomic_load_explicit(&model->tags[i], memory_order_relaxed);
    return atomic_load(&model->seq) == worker->seq;
}

static void
model_keep(struct worker *worker)
{
    struct model *model = &worker->base->models[(worker->seq + 1) % MODELS];

    atomic_store(&model->seq, worker->seq + 1);
    for (unsigned i = 0; i < THINGS; i++)
        atomic_store_explicit(&model->tags[i], worker->tags[i], memory_order_relaxed);
}

static bool
write_put(struct worker *worker)
{
    uint8_t value[VALUE_BYTES_MAX], key[8];
    uint64_t i = draw(worker, KEYS);
    uint32_t tag = draw(worker, 2) == 0 ? new_tag(worker) : large_tag(worker);

    engine_key(i, key);
    value_fill(tag, value);
    if (!went(kiln_put(worker->txn, worker->base->coll, key, sizeof key, value, value_size(tag), 0),
              "put"))
        return draw(worker, 2) == 0; /* goes on: nothing has changed */
    worker->tags[i] = tag;
    return true;
}

static bool
write_delete(struct worker *worker)
{
    uint64_t i = draw(worker, KEYS);
    uint8_t key[8];
    kiln_status rc;

    engine_key(i, key);
    rc = kiln_delete(worker->txn, worker->base->coll, key, sizeof key);
    if (rc == KILN_NOTFOUND && worker->tags[i] == 0)
        return true;
    if (!went(rc, "delete"))
        return draw(worker, 2) == 0; /* goes on: nothing has changed */
    if (worker->tags[i] == 0)
        finding("delete of a key that is not there");
    worker->tags[i] = 0;
    return true;
}

/* A batch that is refused may have done a part: the caller gives the transaction up. */
static bool
write_batch(struct worker *worker)
{
    static const uint32_t tag_step = 5 * 257 + 1;
    uint8_t keys_bytes[BATCH][8], values_bytes[BATCH][300 + 4];
    kiln_slice keys[BATCH], values[BATCH];
    uint32_t tags[BATCH], tag = new_tag(worker);
    uint64_t first = draw(worker, KEYS - BATCH);

    for (uint64_t i = 0; i < BATCH; i++) {
        do
            tag += tag_step;
        while (tag % 5 == 0);
        tags[i] = tag;
        value_fill(tag, values_bytes[i]);
        engine_key(first + i, keys_bytes[i]);
        keys[i] = (kiln_slice){keys_bytes[i], 8};
        values[i] = (kiln_slice){values_bytes[i], value_size(tag)};
    }
    if (!went(kiln_put_many(worker->txn, worker->base->coll, keys, values, BATCH, 0, NULL),
              "put_many"))
        return false;
    memcpy(worker->tags + first, tags, sizeof tags);
    return true;
}

static int
deliver(void *context, void *buffer, size_t size)
{
    const uint8_t **at = context;

    memcpy(buffer, *at, size);
    *at += size;
    return 0;
}

static bool
write_in_pieces(struct worker *worker)
{
    uint8_t value[VALUE_BYTES_MAX], key[8];
    const uint8_t *at = value;
    uint64_t i = draw(worker, KEYS);
    uint32_t tag = large_tag(worker);

    engine_key(i, key);
    value_fill(tag, value);
    if (!went(kiln_value_write(worker->txn, worker->base->coll, key, sizeof key, value_size(tag),
                               deliver, &at),
              "value_write"))
        return draw(worker, 2) == 0; /* goes on: nothing has changed */
    worker->tags[i] = tag;
    return true;
}

static bool
write_record(struct worker *worker)
{
    uint64_t id = 1 + draw(worker, RECORDS);
    uint32_t *there = &worker->tags[KEYS + id - 1], tag = new_tag(worker);
    kiln_container things = worker->base->things;
    kiln_record *record = NULL;
    kiln_status rc;

    if (*there != 0 && draw(worker, 3) == 0) {
        tag = 0;
        rc = kiln_record_delete(worker->txn, things, id);
    } else {
        rc = kiln_record_new(&record);
        if (rc == KILN_OK)
            rc = kiln_record_int(record, worker->base->tag, tag);
        if (rc == KILN_OK && *there == 0)
            rc = kiln_record_add(worker->txn, things, record, &id);
        else if (rc == KILN_OK)
            rc = kiln_record_update(worker->txn, things, id, record);
        kiln_record_free(record);
    }
    if (!went(rc, "record"))
        return false;
    *there = tag;
    return true;
}

/* A collection made, filled by a builder, emptied or not, and dropped. */
static bool
write_passing(struct worker *worker)
{
    kiln_bulk *bulk = NULL;
    kiln_coll coll = 0;
    uint8_t key[8];
    bool good = went(kiln_coll_open(worker->txn, "passing", KILN_COLL_CREATE, &coll), "collection");

    if (!good || !went(kiln_bulk_begin(worker->txn, coll, &bulk), "bulk"))
        return false;
    for (uint64_t i = 0; i < 200 && good; i++) {
        engine_key(i, key);
        good = went(kiln_bulk_add(bulk, key, sizeof key, key, sizeof key), "bulk add");
    }
    if (good)
        good = went(kiln_bulk_end(bulk), "bulk end");
    else
        (void)kiln_bulk_abort(bulk);
    if (good && draw(worker, 2) == 0)
        good = went(kiln_coll_clear(worker->txn, coll), "clear");
    return good && went(kiln_coll_drop(worker->txn, coll), "drop");
}

static bool
write_one(struct worker *worker)
{
    switch (draw(worker, 12)) {
    case 0:
    case 1: return write_delete(worker);
    case 2: return write_batch(worker);
    case 3: return write_in_pieces(worker);
    case 4:
    case 5: return write_record(worker);
    case 6: return write_passing(worker);
    default: return write_put(worker);
    }
}

/* A few changes, in a savepoint: kept, or undone, which nothing may refuse. */
static bool
write_scope(struct worker *worker)
{
    uint32_t tags[THINGS];
    bool good = true;
    kiln_status rc;

    memcpy(tags, worker->tags, sizeof tags);
    if (!went(kiln_savepoint(worker->txn), "savepoint"))
        return false;
    for (uint64_t i = 1 + draw(worker, 5); i > 0 && good; i--)
        good = write_one(worker);
    if (good && draw(worker, 2) == 0) {
        rc = kiln_savepoint_release(worker->txn);
    } else {
        rc = kiln_savepoint_rollback(worker->txn);
        memcpy(worker->tags, tags, sizeof tags);
    }
    if (rc != KILN_OK)
        finding("end of a savepoint: %s: %s", kiln_status_name(rc), kiln_error_last()->text);
    return rc == KILN_OK;
}

static bool
write_all(struct worker *worker)
{
    uint8_t seq[8];

    if (!seq_read(worker))
        return false;
    if (!model_take(worker)) {
        finding("a writer begins with commit %llu, which has no model",
                (unsigned long long)worker->seq);
        return false;
    }
    for (uint64_t i = 1 + draw(worker, 6); i > 0; i--)
        if (!(draw(worker, 3) == 0 ? write_scope(worker) : write_one(worker)))
            return false;
    ftk_put_le64(seq, worker->seq + 1);
    return went(kiln_put(worker->txn, worker->base->coll, "seq", 3, seq, sizeof seq, 0),
                "put of the number");
}

static void
full_note(struct base *base, uint64_t seq)
{
    uint64_t before = atomic_load(&base->seq_full);

    while (before < seq && !atomic_compare_exchange_weak(&base->seq_full, &before, seq))
        ;
}

static void
write_round(struct worker *worker)
{
    kiln_txn_options options = KILN_TXN_OPTIONS_INIT;

    options.kind = KILN_WRITE;
    options.durability = draw(worker, 6) == 0   ? KILN_FULL
                         : draw(worker, 2) == 0 ? KILN_OS
                                                : KILN_LAZY;
    atomic_store(&worker->base->db->window.rest, 0); /* a window in spite of the readers */
    if (!went(kiln_txn_begin_with(worker->base->db, &options, &worker->txn), "begin"))
        return;
    if (!write_all(worker)) {
        kiln_txn_abort(worker->txn);
        return;
    }
    model_keep(worker);
    if (!went(kiln_txn_commit(worker->txn), "commit"))
        return;
    atomic_fetch_add(&world.commits, 1);
    if (options.durability == KILN_FULL)
        full_note(worker->base, worker->seq + 1);
}

/* ---- reading --------------------------------------------------------------------------------- */

static int
many_one(void *context, size_t index, kiln_slice value)
{
    struct worker *worker = context;
    uint32_t tag = worker->tags[index];

    if (value.data == NULL ? tag != 0 : tag == 0 || !value_is(tag, value))
        finding("get_many: key %zu of commit %llu", index, (unsigned long long)worker->seq);
    return 0;
}

static bool
read_many(struct worker *worker)
{
    uint8_t bytes[KEYS][8];
    kiln_slice keys[KEYS];

    for (uint64_t i = 0; i < KEYS; i++) {
        engine_key(i, bytes[i]);
        keys[i] = (kiln_slice){bytes[i], 8};
    }
    return went(kiln_get_many(worker->txn, worker->base->coll, keys, KEYS, many_one, worker),
                "get_many");
}

static bool
read_one(struct worker *worker)
{
    uint64_t i = draw(worker, KEYS);
    uint32_t tag = worker->tags[i];
    kiln_slice value;
    uint8_t key[8];
    kiln_status rc;

    engine_key(i, key);
    rc = kiln_get(worker->txn, worker->base->coll, key, sizeof key, &value);
    if (rc == KILN_NOTFOUND && tag == 0)
        return true;
    if (!went(rc, "get"))
        return false;
    if (tag == 0 || !value_is(tag, value))
        finding("get: key %llu of commit %llu", (unsigned long long)i,
                (unsigned long long)worker->seq);
    return true;
}

/* All keys, in order; the last is "seq". */
static bool
read_walk(struct worker *worker)
{
    uint32_t flags = draw(worker, 2) == 0 ? KILN_CURSOR_SCAN : 0;
    kiln_cursor *cursor = NULL;
    kiln_slice key, value;
    uint64_t next = 0;
    kiln_status rc;

    if (!went(kiln_cursor_open(worker->txn, worker->base->coll, flags, &cursor), "cursor"))
        return false;
    while ((rc = kiln_cursor_next(cursor)) == KILN_OK) {
        rc = kiln_cursor_item(cursor, &key, &value);
        if (rc != KILN_OK)
            break;
        while (next < KEYS && worker->tags[next] == 0)
            next++;
        if (key.size == 3 ? next != KEYS
                          : next == KEYS || ftk_get_be64(key.data) != next ||
                                !value_is(worker->tags[next], value))
            finding("walk: key %llu of commit %llu", (unsigned long long)next,
                    (unsigned long long)worker->seq);
        next += key.size == 8;
    }
    if (rc == KILN_NOTFOUND && next != KEYS)
        finding("walk: ends before key %llu of commit %llu", (unsigned long long)next,
                (unsigned long long)worker->seq);
    kiln_cursor_close(cursor);
    return rc == KILN_NOTFOUND || went(rc, "walk");
}

static bool
read_records(struct worker *worker)
{
    kiln_record *record = NULL;
    kiln_item item;
    bool good = went(kiln_record_new(&record), "record");

    for (uint64_t id = 1; id <= RECORDS && good; id++) {
        uint32_t tag = worker->tags[KEYS + id - 1];
        kiln_status rc = kiln_record_get(worker->txn, worker->base->things, id, record);

        if (rc == KILN_NOTFOUND && tag == 0)
            continue;
        good = went(rc, "get of a record");
        if (good && (tag == 0 || kiln_record_find(record, worker->base->tag, 0, &item) != KILN_OK ||
                     item.integer != tag))
            finding("record %llu of commit %llu", (unsigned long long)id,
                    (unsigned long long)worker->seq);
    }
    kiln_record_free(record);
    return good;
}

/* False when something was refused. */
static bool
read_all(struct worker *worker, bool calm)
{
    if (!seq_read(worker) || !model_take(worker)) {
        if (calm)
            finding("the last commit has no model");
        return false;
    }
    atomic_fetch_add(&world.reads, 1);
    if (calm)
        return read_many(worker) && read_walk(worker) && read_records(worker);
    switch (draw(worker, 6)) {
    case 0: return read_many(worker);
    case 1: return read_walk(worker);
    case 2: return read_records(worker);
    default: return read_one(worker);
    }
}

static void
read_round(struct worker *worker)
{
    if (!went(kiln_txn_begin(worker->base->db, KILN_READ, &worker->txn), "begin to read"))
        return;
    for (uint64_t i = 1 + draw(worker, 4); i > 0; i--) {
        (void)read_all(worker, false);
        if (draw(worker, 2) == 0)
            (void)went(kiln_txn_renew(worker->txn), "renewal");
    }
    if (draw(worker, 2) == 0)
        (void)went(kiln_txn_commit(worker->txn), "end of a read");
    else
        kiln_txn_abort(worker->txn);
}

/* ---- the others ------------------------------------------------------------------------------ */

static void
checkpoint_round(struct worker *worker)
{
    struct base *base = &world.bases[draw(worker, DATABASES)];

    if (went(kiln_checkpoint(base->db), "checkpoint"))
        atomic_fetch_add(&world.checkpoints, 1);
    ftk_clock_sleep_ns(draw(worker, 3000000));
}

static void
limit_round(struct worker *worker)
{
    (void)went(kiln_cache_limit((4 + draw(worker, 12)) << 20), "limit");
    ftk_clock_sleep_ns(draw(worker, 5000000));
}

static void
found_by_check(void *context, const char *text)
{
    finding("%s: %s", (const char *)context, text);
}

static void
check_round(struct worker *worker)
{
    struct base *base = &world.bases[draw(worker, DATABASES)];
    kiln_check_options options = KILN_CHECK_OPTIONS_INIT;
    kiln_stat stat;

    kiln_stat_init(&stat);
    (void)went(kiln_stat_get(base->db, &stat), "numbers");
    options.finding = found_by_check;
    options.context = (void *)(uintptr_t) "check beside the others";
    (void)went(kiln_check(base->db, &options), "check");
    ftk_clock_sleep_ns(draw(worker, 10000000));
}

static kiln_status
archive(void *context, const char *path)
{
    static _Atomic unsigned calls;

    (void)context;
    (void)path;
    return atomic_fetch_add(&calls, 1) % 3 == 0 ? KILN_IO : KILN_OK;
}

static bool
copy_or_refuse(kiln_txn *txn, const struct window_leaf *leaf, uint64_t *absent_out)
{
    uint64_t chance = atomic_fetch_add(&world.leaves, 1) * UINT64_C(0x9e3779b97f4a7c15) >> 62;

    *absent_out = txn->fast->pages_max;
    return (chance != 0 || !atomic_load(&world.leaves_refused)) &&
           in_place_copy(txn, leaf, absent_out);
}

static ftk_status
base_open(struct simdisk *disk, bool archives, kiln_db **db_out)
{
    struct db_environment environment = {.disk = simdisk_disk(disk)};
    kiln_options options = engine_options(KILN_CREATE);

    options.page_bytes = 4096;
    options.checkpoint_ms = 40;
    options.lazy_ms = 5;
    options.archive = archives ? archive : NULL;
    ftk_status rc = db_open("/db", &options, &environment, db_out);
    if (rc == FTK_OK)
        (*db_out)->window.copy = copy_or_refuse;
    return rc;
}

/* Opens a third database, puts the next number into it, closes it; and the others are in use. */
static void
open_round(struct worker *worker)
{
    kiln_db *db = NULL;
    kiln_txn *txn = NULL;
    kiln_coll coll = 0;
    kiln_slice value = {NULL, 0};
    kiln_status rc = (kiln_status)base_open(world.bases[draw(worker, DATABASES)].disk, false, &db);

    if (rc == KILN_OK || (rc != KILN_INUSE && went(rc, "second open")))
        finding("a database was opened twice");
    rc = (kiln_status)base_open(world.third, false, &db);
    if (!went(rc, "open"))
        return;
    atomic_fetch_add(&world.opens, 1);
    rc = kiln_txn_begin(db, KILN_WRITE, &txn);
    if (rc == KILN_OK)
        rc = kiln_coll_open(txn, "c", KILN_COLL_CREATE, &coll);
    if (rc == KILN_OK)
        rc = kiln_get(txn, coll, "number", 6, &value);
    if (rc == KILN_OK && ftk_get_le64(value.data) != worker->seq)
        finding("third database: %llu, wanted %llu", (unsigned long long)ftk_get_le64(value.data),
                (unsigned long long)worker->seq);
    if (rc == KILN_OK || (rc == KILN_NOTFOUND && worker->seq == 0)) {
        uint8_t next[8];
        ftk_put_le64(next, worker->seq + 1);
        rc = kiln_put(txn, coll, "number", 6, next, sizeof next, 0);
    }
    if (txn != NULL && rc == KILN_OK) {
        if (went(kiln_txn_commit(txn), "commit in the third"))
            worker->seq++;
    } else {
        (void)went(rc, "third");
        kiln_txn_abort(txn);
    }
    (void)went(kiln_close(db), "close");
}

/* ---- the run --------------------------------------------------------------------------------- */

static void
write_run(void *context)
{
    while (!atomic_load(&world.stop))
        write_round(context);
}

static void
read_run(void *context)
{
    while (!atomic_load(&world.stop))
        read_round(context);
}

static void
checkpoint_run(void *context)
{
    while (!atomic_load(&world.stop))
        checkpoint_round(context);
}

static void
limit_run(void *context)
{
    while (!atomic_load(&world.stop))
        limit_round(context);
}

static void
check_run(void *context)
{
    while (!atomic_load(&world.stop))
        check_round(context);
}

static void
open_run(void *context)
{
    while (!atomic_load(&world.stop))
        open_round(context);
}

static void
worker_start(struct worker *worker, struct base *base, struct ftk_random *random,
             void (*run)(void *))
{
    *worker = (struct worker){.base = base};
    ftk_random_seed(&worker->random, ftk_random_next(random));
    REQUIRE_OK(ftk_thread_start(&worker->thread, "worker", run, worker));
}

static unsigned
workers_start(struct worker *workers, struct ftk_random *random, bool opens)
{
    unsigned count = 0;

    for (unsigned i = 0; i < DATABASES; i++) {
        for (unsigned j = 0; j < WRITERS; j++)
            worker_start(&workers[count++], &world.bases[i], random, write_run);
        for (unsigned j = 0; j < READERS; j++)
            worker_start(&workers[count++], &world.bases[i], random, read_run);
    }
    worker_start(&workers[count++], NULL, random, checkpoint_run);
    worker_start(&workers[count++], NULL, random, limit_run);
    worker_start(&workers[count++], NULL, random, check_run);
    if (opens)
        worker_start(&workers[count++], NULL, random, open_run);
    return count;
}

/* A few kinds at a time, each with its chance, for some milliseconds; then nothing for a while. */
static void
refuse_for(struct ftk_random *random, uint64_t until_ns)
{
    static const struct {
        enum ftk_fault fault;
        uint64_t one_in_min, one_in_max;
    } kinds[] = {{FTK_FAULT_ALLOC, 3, 400},
                 {FTK_FAULT_DESCRIPTOR, 1, 10},
                 {FTK_FAULT_THREAD, 1, 4},
                 {FTK_FAULT_READ, 10, 1000}};

    atomic_store(&world.leaves_refused, true);
    while (ftk_clock_ns() < until_ns) {
        for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
            uint64_t range = kinds[i].one_in_max - kinds[i].one_in_min + 1;
            if (ftk_random_below(random, 2) == 0)
                ftk_fault_arm_chance(kinds[i].fault,
                                     kinds[i].one_in_min + ftk_random_below(random, range),
                                     ftk_random_next(random));
        }
        ftk_clock_sleep_ns(1000000 + ftk_random_below(random, 30000000));
        ftk_fault_disarm();
        ftk_clock_sleep_ns(ftk_random_below(random, 10000000));
    }
    atomic_store(&world.leaves_refused, false);
}

/* Nothing is refused: the database has its last commit's model, and finds no fault in itself. */
static void
base_verify(struct base *base, struct ftk_random *random, const char *when)
{
    kiln_check_options options = KILN_CHECK_OPTIONS_INIT;
    struct worker worker = {.base = base};

    ftk_random_seed(&worker.random, ftk_random_next(random));
    OK(kiln_txn_begin(base->db, KILN_READ, &worker.txn));
    CHECK_MSG(read_all(&worker, true), "%s: %s", when, kiln_error_last()->text);
    CHECK_MSG(worker.seq >= atomic_load(&base->seq_full), "%s: commit %llu, %llu was durable", when,
              (unsigned long long)worker.seq, (unsigned long long)atomic_load(&base->seq_full));
    kiln_txn_abort(worker.txn);
    options.finding = found_by_check;
    options.context = (void *)(uintptr_t)when;
    CHECK_MSG(kiln_check(base->db, &options) == KILN_OK, "%s: %s", when, kiln_error_last()->text);
}

static void
base_make(struct base *base, uint64_t seed, bool archives)
{
    kiln_index_options index = KILN_INDEX_OPTIONS_INIT;
    kiln_index_part part = {0};
    uint8_t seq[8] = {0};
    kiln_index number;
    kiln_txn *txn;

    base->disk = simdisk_new(&(struct simdisk_options){.seed = seed, .device = true});
    base->models = calloc(MODELS, sizeof *base->models);
    REQUIRE(base->models != NULL);
    REQUIRE_OK(base_open(base->disk, archives, &base->db));
    txn = engine_begin(base->db, KILN_WRITE);
    base->coll = engine_coll(txn, "c");
    OK(kiln_field_define(txn, "tag", KILN_INT, &base->tag));
    OK(kiln_container_define(txn, "things", &base->things));
    part.field = base->tag;
    index.name = "by_tag";
    index.container = base->things;
    index.parts = &part;
    index.part_count = 1;
    OK(kiln_index_define(txn, &index, &number));
    OK(kiln_put(txn, base->coll, "seq", 3, seq, sizeof seq, 0));
    OK(kiln_txn_commit(txn));
}

/* It goes on, what is in it survives a power cut and a close. */
static void
base_end(struct base *base, bool archives, struct ftk_random *random)
{
    struct worker worker = {.base = base};
    struct base after = *base;
    uint64_t commits = atomic_load(&world.commits), full = atomic_load(&base->seq_full);

    base_verify(base, random, "when nothing is refused any more");
    ftk_random_seed(&worker.random, ftk_random_next(random));
    for (unsigned i = 0; i < 20; i++)
        write_round(&worker);
    CHECK_EQ(atomic_load(&world.commits), commits + 20);
    OK(kiln_checkpoint(base->db));
    base_verify(base, random, "after more work");

    after.disk = simdisk_clone(base->disk, full);
    after.seq_full = full;
    simdisk_crash(after.disk, ftk_random_next(random));
    REQUIRE_OK(base_open(after.disk, archives, &after.db));
    base_verify(&after, random, "after a power cut");
    OK(kiln_close(after.db));
    simdisk_free(after.disk);

    OK(kiln_close(base->db));
    REQUIRE_OK(base_open(base->disk, archives, &base->db));
    base_verify(base, random, "opened anew");
    OK(kiln_close(base->db));
    simdisk_free(base->disk);
    free(base->models);
}

static uint64_t
run_ns(void)
{
    const char *text = getenv("KILN_SHORTAGE_SECONDS");

    return (text != NULL && *text != '\0' ? strtoull(text, NULL, 10) : 3) * UINT64_C(1000000000);
}

static void
world_begin(struct ftk_random *random)
{
    memset(&world, 0, sizeof world);
    ftk_mutex_init(&world.mutex);
    world.third = simdisk_new(&(struct simdisk_options){.device = true});
    for (unsigned i = 0; i < DATABASES; i++)
        base_make(&world.bases[i], ftk_random_next(random), i == 1);
}

static void
world_stop(struct worker *workers, unsigned count)
{
    atomic_store(&world.stop, true);
    for (unsigned i = 0; i < count; i++)
        ftk_thread_join(&workers[i].thread);
    OK(kiln_cache_limit(16u << 20));
}

static void
world_end(void)
{
    simdisk_free(world.third);
    ftk_mutex_release(&world.mutex);
    for (unsigned i = 0; i < world.finding_count; i++)
        CHECK_MSG(false, "%s", world.findings[i]);
    CHECK(world.commits > 0 && world.refusals > 0);
}

static void
threads_in_a_shortage_commit_all_or_nothing(void)
{
    struct ftk_random random = test_random();
    static struct worker workers[THREADS];
    uint64_t heap = ftk_mem_bytes();
    kiln_stat stat;
    unsigned count;

    world_begin(&random);
    count = workers_start(workers, &random, true);
    refuse_for(&random, ftk_clock_ns() + run_ns() / 4 * 3);
    world_stop(workers, count);
    kiln_stat_init(&stat);
    OK(kiln_stat_get(world.bases[0].db, &stat));
    for (unsigned i = 0; i < DATABASES; i++)
        base_end(&world.bases[i], i == 1, &random);
    world_end();
    CHECK_EQ(ftk_mem_bytes(), heap);
    CHECK(world.reads > 0 && world.opens > 0 && stat.cache_evictions > 0);
    CHECK(world.leaf_refusals > 0 || world.commits < 500);
    printf("    %llu commits, %llu reads, %llu checkpoints, %llu opens, %llu pages evicted; "
           "%llu calls refused, %llu of them a leaf\n",
           (unsigned long long)world.commits, (unsigned long long)world.reads,
           (unsigned long long)world.checkpoints, (unsigned long long)world.opens,
           (unsigned long long)stat.cache_evictions, (unsigned long long)world.refusals,
           (unsigned long long)world.leaf_refusals);
}

/* ---- writes and syncs that fail -------------------------------------------------------------- */

/* A database that may have failed is closed and opened again, by turns with a power cut between. */
static void
base_revive(struct base *base, bool archives, struct ftk_random *random)
{
    bool cut = ftk_random_below(random, 2) == 0;

    (void)kiln_close(base->db);
    if (cut)
        simdisk_crash(base->disk, ftk_random_next(random));
    REQUIRE_OK(base_open(base->disk, archives, &base->db));
    base_verify(base, random, cut ? "after a failure and a power cut" : "after a failure");
}

/* One life: for some milliseconds nothing but shortages, then writes and syncs fail as well. */
static unsigned
life_until_it_fails(struct worker *workers, struct ftk_random *random)
{
    unsigned count = workers_start(workers, random, false), failed = 0;

    refuse_for(random, ftk_clock_ns() + ftk_random_below(random, 20000000));
    ftk_fault_arm_chance(ftk_random_below(random, 2) == 0 ? FTK_FAULT_WRITE : FTK_FAULT_SYNC,
                         1 + ftk_random_below(random, 40), ftk_random_next(random));
    refuse_for(random, ftk_clock_ns() + ftk_random_below(random, 30000000));
    ftk_fault_disarm();
    world_stop(workers, count);
    atomic_store(&world.stop, false);
    for (unsigned i = 0; i < DATABASES; i++)
        failed += atomic_load(&world.bases[i].db->failed) != FTK_OK;
    return failed;
}

static void
threads_at_a_failure_lose_nothing_that_was_durable(void)
{
    uint64_t until_ns = ftk_clock_ns() + run_ns() / 4;
    struct ftk_random random = test_random();
    static struct worker workers[THREADS];
    uint64_t heap = ftk_mem_bytes();
    unsigned lives = 0, failed = 0;

    world_begin(&random);
    world.may_fail = true;
    while (lives < 3 || ftk_clock_ns() < until_ns) {
        failed += life_until_it_fails(workers, &random);
        lives++;
        for (unsigned i = 0; i < DATABASES; i++)
            base_revive(&world.bases[i], i == 1, &random);
    }
    for (unsigned i = 0; i < DATABASES; i++)
        base_end(&world.bases[i], i == 1, &random);
    world_end();
    CHECK_EQ(ftk_mem_bytes(), heap);
    printf("    %u lives, %u databases failed; %llu commits, %llu calls refused\n", lives, failed,
           (unsigned long long)world.commits, (unsigned long long)world.refusals);
}

TEST_MAIN("engine_shortage_threads", TEST(threads_in_a_shortage_commit_all_or_nothing),
          TEST(threads_at_a_failure_lose_nothing_that_was_durable))
