/* SPDX-License-Identifier: Apache-2.0 */
/* tests/schedules/schedule_bank.c -- a database whose every state is known, and its crashes. */
#include <string.h>

#include "engine/db/open.h"
#include "ftk/bytes.h"
#include "tests/schedules/schedule_world.h"

enum { TRIES_MAX = 200 }; /* of a call that is refused half of the time */

static const struct bank_shape small = BANK_SHAPE_SMALL;

static kiln_db *
open_shape(struct simdisk *disk, const struct bank_shape *shape)
{
    struct db_environment environment = {.disk = simdisk_disk(disk)};
    kiln_options options = KILN_OPTIONS_INIT;
    kiln_db *db = NULL;

    options.flags = KILN_CREATE;
    options.page_bytes = shape->page_bytes;
    options.cache_bytes = shape->cache_bytes;
    options.rfl_segment_bytes = 2u << 20;
    options.io_depth = 4;
    options.checkpoint_ms = UINT32_MAX;
    MUST_OK(db_open("/db", &options, &environment, &db));
    return db;
}

static void
key_make(uint32_t k, uint8_t key[4])
{
    ftk_put_be32(key, k * 0x01000193u);
}

bool
bank_is_refused(const struct bank *bank, kiln_status status)
{
    return bank->refused && status == KILN_CORRUPT && kiln_error_last()->status == KILN_CORRUPT &&
           strstr(kiln_error_last()->text, "page") != NULL;
}

static uint32_t
size_of(const struct bank_shape *shape, uint32_t k)
{
    return shape->value_bytes + (shape->keys - 1 - k) * shape->step_bytes;
}

/* Each four bytes of a value tell its version and where they stand. */
static uint32_t
word_at(uint32_t version, size_t at)
{
    return version + (uint32_t)at * 0x10001u;
}

static void
put(const struct bank *bank, kiln_txn *txn, uint32_t k, uint32_t version, uint32_t size)
{
    static uint8_t value[64 << 10]; /* one writer at a time puts */
    uint8_t key[4];
    kiln_status status;

    key_make(k, key);
    MUST(size <= sizeof value && size % 4 == 0, "a value of %u bytes", size);
    for (size_t i = 0; i < size; i += 4)
        ftk_put_le32(value + i, word_at(version, i));
    for (unsigned tries = 0; tries < TRIES_MAX; tries++) {
        status = version == 0
                     ? kiln_delete(txn, bank->coll, key, sizeof key)
                     : kiln_put(txn, bank->coll, key, sizeof key, value, size, KILN_PUT_REPLACE);
        if (!bank_is_refused(bank, status))
            break;
    }
    MUST(status == KILN_OK || (version == 0 && status == KILN_NOTFOUND), "change of key %u: %s: %s",
         k, kiln_status_name(status), kiln_error_last()->text);
}

static void
bytes_look(const uint8_t *bytes, size_t size, uint32_t k, uint32_t version, size_t at)
{
    for (size_t i = 0; i < size; i += 4)
        MUST(ftk_get_le32(bytes + i) == word_at(version, at + i), "key %u is torn at %zu", k,
             at + i);
}

/* The version of a key, 0 when it is absent; its bytes are whole. */
static uint32_t
get(const struct bank *bank, kiln_txn *txn, uint32_t k, uint32_t size)
{
    uint8_t key[4];
    kiln_slice value;
    kiln_status status;
    unsigned tries = 0;

    key_make(k, key);
    do
        status = kiln_get(txn, bank->coll, key, sizeof key, &value);
    while (bank_is_refused(bank, status) && ++tries < TRIES_MAX);
    if (status == KILN_NOTFOUND)
        return 0;
    MUST(status == KILN_OK, "get of key %u: %s: %s", k, kiln_status_name(status),
         kiln_error_last()->text);
    MUST(value.size == size, "key %u has %zu bytes", k, value.size);
    uint32_t version = ftk_get_le32(value.data);
    bytes_look(value.data, value.size, k, version, 0);
    return version;
}

/* ---- in pieces ------------------------------------------------------------------------------- */

enum { PIECE_BYTES = 5000, PIECE_STAND_STEPS = 200 };

struct source {
    kiln_txn *txn;
    const struct bank *bank;
    struct ftk_random *random;
    uint32_t version, at;
    bool gives_up;
};

/* Whoever delivers takes its time, and looks at others of the transaction perhaps. */
static int
deliver(void *context, void *buffer, size_t size)
{
    struct source *source = context;
    const struct bank *bank = source->bank;

    for (size_t i = 0; i < size; i += 4)
        ftk_put_le32((uint8_t *)buffer + i, word_at(source->version, source->at + i));
    source->at += (uint32_t)size;
    schedule_stand(source->random, PIECE_STAND_STEPS);
    if (ftk_random_below(source->random, 4) == 0) {
        uint32_t k = (uint32_t)ftk_random_below(source->random, bank->shape.keys);
        (void)get(bank, source->txn, k, size_of(&bank->shape, k));
    }
    return source->gives_up;
}

static kiln_status
put_pieces(struct source *source, uint32_t k)
{
    uint8_t key[4];

    key_make(k, key);
    return kiln_value_write(source->txn, source->bank->coll, key, sizeof key,
                            size_of(&source->bank->shape, k), deliver, source);
}

/* The same key and version as `get` has just found, or nothing where it is absent. */
static void
read_pieces(kiln_txn *txn, const struct bank *bank, uint32_t k, uint32_t version)
{
    uint32_t size = size_of(&bank->shape, k);
    uint8_t key[4], bytes[PIECE_BYTES];
    uint64_t whole;
    size_t done;

    key_make(k, key);
    MUST_OK(kiln_value_size(txn, bank->coll, key, sizeof key, &whole));
    MUST(whole == size, "key %u has %llu bytes", k, (unsigned long long)whole);
    for (uint32_t at = 0; at < size; at += (uint32_t)done) {
        MUST_OK(kiln_value_read(txn, bank->coll, key, sizeof key, at, bytes, sizeof bytes, &done));
        MUST(done > 0, "key %u ends at %u", k, at);
        bytes_look(bytes, done, k, version, at);
    }
}

/* What leaves no trace: a value given up half way, or taken back. */
static void
detour(const struct bank *bank, kiln_txn *txn, struct ftk_random *random)
{
    uint32_t k = (uint32_t)ftk_random_below(random, bank->shape.keys);
    struct source source = {.txn = txn, .bank = bank, .random = random, .version = BANK_STATES + 1};

    if (ftk_random_below(random, 2) == 0) {
        source.gives_up = true;
        MUST(put_pieces(&source, k) == KILN_CANCELED, "a value that was given up is there");
        return;
    }
    MUST_OK(kiln_savepoint(txn));
    MUST_OK(put_pieces(&source, k));
    put(bank, txn, k, ftk_random_below(random, 2) == 0 ? 0 : BANK_STATES + 1,
        size_of(&bank->shape, k));
    MUST_OK(kiln_savepoint_rollback(txn));
}

/* A key of the next state, one way or the other. */
static void
put_some_way(const struct bank *bank, kiln_txn *txn, struct ftk_random *random, uint32_t k,
             uint32_t version)
{
    struct source source = {.txn = txn, .bank = bank, .random = random, .version = version};

    if (bank->shape.pieces && ftk_random_below(random, 4) == 0)
        detour(bank, txn, random);
    if (bank->shape.pieces && version > 0 && ftk_random_below(random, 2) == 0)
        MUST_OK(put_pieces(&source, k));
    else
        put(bank, txn, k, version, size_of(&bank->shape, k));
}

/* ---- states ---------------------------------------------------------------------------------- */

void
bank_prepare_as(struct simdisk *disk, const struct bank_shape *shape)
{
    struct bank bank = {.db = open_shape(disk, shape)};
    kiln_txn *txn;

    MUST_OK(kiln_txn_begin(bank.db, KILN_WRITE, &txn));
    MUST_OK(kiln_coll_open(txn, "bank", KILN_COLL_CREATE, &bank.coll));
    for (uint32_t k = 0; k < shape->keys && shape->first_bytes > 0; k++)
        put(&bank, txn, k, 1, shape->first_bytes);
    for (uint32_t k = 0; k < shape->keys; k++)
        put(&bank, txn, k, 1, size_of(shape, k));
    MUST_OK(kiln_txn_commit(txn));
    MUST_OK(kiln_close(bank.db));
}

void
bank_prepare(struct simdisk *disk)
{
    bank_prepare_as(disk, &small);
}

void
bank_open(struct bank *bank, struct simdisk *disk)
{
    kiln_txn *txn;

    bank->db = open_shape(disk, &bank->shape);
    MUST_OK(kiln_txn_begin(bank->db, KILN_READ, &txn));
    MUST_OK(kiln_coll_open(txn, "bank", 0, &bank->coll));
    kiln_txn_abort(txn);
}

void
bank_init_as(struct bank *bank, struct simdisk *disk, const struct bank_shape *shape)
{
    memset(bank, 0, sizeof *bank);
    bank->shape = *shape;
    for (uint32_t k = 0; k < shape->keys; k++)
        bank->states[0][k] = 1;
    bank_open(bank, disk);
}

void
bank_init(struct bank *bank, struct simdisk *disk)
{
    bank_init_as(bank, disk, &small);
}

void
bank_close(struct bank *bank)
{
    MUST_OK(kiln_close(bank->db));
    bank->db = NULL;
}

void
bank_abandon(struct bank *bank)
{
    db_abandon(bank->db);
    bank->db = NULL;
}

static void
raise(uint32_t *number, uint32_t to)
{
    if (*number < to)
        *number = to;
}

/* The state has been seen, or its commit has returned. */
static void
promises_hold(struct bank *bank, uint32_t state)
{
    for (uint32_t i = 1; i <= state; i++) {
        if (bank->promises[i] == KILN_FULL)
            raise(&bank->durable, i);
        if (bank->promises[i] != KILN_LAZY)
            raise(&bank->written, i);
    }
}

void
bank_write(struct bank *bank, struct ftk_random *random, uint32_t keys, kiln_durability durability,
           bool commit)
{
    bank_write_in(bank, bank_writer_begin(bank, durability), random, keys, durability, commit);
}

kiln_txn *
bank_writer_begin(struct bank *bank, kiln_durability durability)
{
    kiln_txn_options options = KILN_TXN_OPTIONS_INIT;
    kiln_txn *txn;

    options.kind = KILN_WRITE;
    options.durability = durability;
    MUST_OK(kiln_txn_begin_with(bank->db, &options, &txn));
    return txn;
}

void
bank_write_in(struct bank *bank, kiln_txn *txn, struct ftk_random *random, uint32_t keys,
              kiln_durability durability, bool commit)
{
    uint32_t next[BANK_KEYS_MAX], all = bank->shape.keys;
    uint32_t state = bank->newest + 1; /* nobody else's until the commit */
    MUST(state < BANK_STATES, "the world wants more states");
    memcpy(next, bank->states[bank->newest], sizeof next);
    next[0] = state + 1;
    for (; keys > 0; keys--)
        next[1 + ftk_random_below(random, all - 1)] =
            ftk_random_below(random, 4) == 0 && !bank->shape.keeps ? 0 : state + 1;
    for (uint32_t k = 0; k < all; k++)
        if (next[k] != bank->states[bank->newest][k])
            put_some_way(bank, txn, random, k, next[k]);
    for (uint32_t k = 0; k < all && bank->refused; k++)
        MUST(get(bank, txn, k, size_of(&bank->shape, k)) == next[k],
             "the writer does not see its own version of key %u", k);
    if (!commit) {
        kiln_txn_abort(txn);
        return;
    }
    memcpy(bank->states[state], next, sizeof next);
    bank->promises[state] = durability;
    bank->newest = state;
    kiln_status status = kiln_txn_commit(txn);
    if (bank_is_refused(bank, status)) {
        bank->newest = state - 1;
        return;
    }
    MUST_OK(status);
    raise(&bank->returned, state);
    promises_hold(bank, state);
}

/* By key 0. */
static uint32_t
state_seen(const struct bank *bank, kiln_txn *txn, uint32_t low)
{
    uint32_t version = get(bank, txn, 0, size_of(&bank->shape, 0));
    uint32_t state = version - 1;

    MUST(version > 0 && state <= bank->newest, "state %u, which was never committed", state);
    MUST(state >= low, "state %u, though state %u was there before", state, low);
    return state;
}

static void
key_look(const struct bank *bank, kiln_txn *txn, uint32_t state, uint32_t k)
{
    uint32_t version = get(bank, txn, k, size_of(&bank->shape, k));

    MUST(version == bank->states[state][k], "state %u: key %u has version %u instead of %u", state,
         k, version, bank->states[state][k]);
    if (bank->shape.pieces && version > 0)
        read_pieces(txn, bank, k, version);
}

uint32_t
bank_read(struct bank *bank, kiln_txn *txn, uint32_t low)
{
    uint32_t state = state_seen(bank, txn, low);

    for (uint32_t k = 1; k < bank->shape.keys; k++)
        key_look(bank, txn, state, k);
    promises_hold(bank, state);
    return state;
}

uint32_t
bank_glance(struct bank *bank, kiln_txn *txn, uint32_t low, struct ftk_random *random)
{
    uint32_t state = state_seen(bank, txn, low);

    for (unsigned i = 0; i < 3; i++)
        key_look(bank, txn, state, 1 + (uint32_t)ftk_random_below(random, bank->shape.keys - 1));
    promises_hold(bank, state);
    return state;
}

void
bank_crash_draw(struct bank_crash *crash, const struct bank *bank, struct simdisk *disk,
                struct ftk_random *random)
{
    crash->bank = bank;
    crash->running = disk;
    crash->kind = (enum bank_crash_kind)ftk_random_below(random, BANK_CRASH_KINDS);
    crash->seed = ftk_random_next(random);
}

void
bank_crash_now(struct bank_crash *crash)
{
    bank_crash_take(crash->bank, crash, crash->running, crash->kind, crash->seed);
}

void
bank_crash_at_step(void *context, struct simdisk *disk, uint64_t step)
{
    struct bank_crash *crash = context;

    (void)disk;
    if (step == crash->step)
        bank_crash_now(crash);
}

static void
finding(void *context, const char *text)
{
    (void)context;
    MUST(false, "check: %s", text);
}

void
bank_check(const struct bank *bank)
{
    kiln_check_options check = KILN_CHECK_OPTIONS_INIT;

    check.finding = finding;
    MUST_OK(kiln_check(bank->db, &check));
}

uint32_t
bank_write_nothing(struct bank *bank)
{
    kiln_txn *txn;

    MUST_OK(kiln_txn_begin(bank->db, KILN_WRITE, &txn));
    uint32_t state = state_seen(bank, txn, 0);
    MUST_OK(kiln_txn_commit(txn));
    promises_hold(bank, state);
    return state;
}

/* ---- crashes --------------------------------------------------------------------------------- */

void
bank_crash_take(const struct bank *bank, struct bank_crash *crash, struct simdisk *disk,
                enum bank_crash_kind kind, uint64_t seed)
{
    struct simdisk *clone;

    if (crash->begun)
        return;
    crash->begun = true;
    crash->low = kind == BANK_KILL ? bank->written : bank->durable;
    clone = simdisk_clone(disk, seed);
    crash->high = bank->newest; /* others may have gone on until the disk was free */
    if (kind == BANK_KILL)
        simdisk_kill(clone, seed);
    else if (kind == BANK_POWER)
        simdisk_crash(clone, seed);
    else
        simdisk_crash_as(clone, SIMDISK_NONE, seed);
    crash->disk = clone;
}

void
bank_crash_look(const struct bank *bank, struct bank_crash *crash)
{
    struct bank after = *bank;
    kiln_txn *txn;

    while (crash->disk == NULL) /* a thread of the database's is taking it */
        ftk_thread_yield();
    after.refused = false;
    bank_open(&after, crash->disk);
    MUST_OK(kiln_txn_begin(after.db, KILN_READ, &txn));
    uint32_t state = bank_read(&after, txn, crash->low);
    kiln_txn_abort(txn);
    MUST(state <= crash->high, "after the crash state %u, which came later", state);
    bank_check(&after);
    bank_abandon(&after);
    simdisk_free(crash->disk);
    crash->disk = NULL;
}
