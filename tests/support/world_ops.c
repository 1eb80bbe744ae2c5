/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/world_ops.c -- random work on a database and its model.  See world.h. */
#include <stdlib.h>
#include <string.h>

#include "engine/txn/txn_state.h"
#include "ftk/bytes.h"
#include "tests/support/world.h"

static const char *const coll_names[WORLD_COLLS] = {"first", "second", "third"};

enum { BATCH_MAX = 40 };

static uint32_t
below(struct world *world, uint32_t bound)
{
    return (uint32_t)ftk_random_below(&world->random, bound);
}

static uint32_t
any_key(struct world *world)
{
    return below(world, world->options.keys);
}

static uint32_t
any_size(struct world *world, bool large_too)
{
    const struct world_options *o = &world->options;

    if (large_too && o->large_max > 0 && below(world, o->large_one_in) == 0)
        return below(world, o->large_max);
    if (below(world, 12) == 0)
        return below(world, 3) == 0 ? 0 : o->value_max - below(world, 4);
    return below(world, o->value_max / (1 + below(world, 8)) + 1);
}

/* A new value for a key, its bytes in `to`. */
static struct world_value
any_value(struct world *world, bool large_too, uint8_t *to)
{
    uint32_t size = any_size(world, large_too);
    struct world_value value = {(uint32_t)ftk_random_next(&world->random), size + 1};

    world_fill(to, size, value.seed);
    return value;
}

/* ---- single operations ----------------------------------------------------------------------- */

static bool
op_put(struct world *world, unsigned c)
{
    uint32_t k = any_key(world);
    uint32_t flags = below(world, 8) == 0 ? 1 + below(world, 2) : KILN_PUT_REPLACE;
    struct world_value *at = world_value(world, world->work, c, k);
    struct world_value value = any_value(world, true, world->buffer);
    bool there = at->size_plus_1 != 0;
    kiln_status wanted = flags == KILN_PUT_INSERT && there    ? KILN_EXISTS
                         : flags == KILN_PUT_UPDATE && !there ? KILN_NOTFOUND
                                                              : KILN_OK;
    kiln_status rc = kiln_put(world->txn, world->colls[c], world->keys[k].bytes,
                              world->keys[k].size, world->buffer, value.size_plus_1 - 1, flags);

    if (wanted != KILN_OK && rc == wanted)
        return true;
    REQUIRE_MSG(rc != KILN_OK || wanted == KILN_OK, "put %u of key %u should be %s", flags, k,
                kiln_status_name(wanted));
    if (!world_ok(world, (ftk_status)rc, "put"))
        return false;
    *at = value;
    return true;
}

/* Ascending runs, as loads are. */
static bool
op_put_run(struct world *world, unsigned c)
{
    uint32_t k = any_key(world), n = 1 + below(world, BATCH_MAX);

    for (; n > 0 && k < world->options.keys; n--, k++) {
        struct world_value value = any_value(world, false, world->buffer);
        kiln_status rc =
            kiln_put(world->txn, world->colls[c], world->keys[k].bytes, world->keys[k].size,
                     world->buffer, value.size_plus_1 - 1, KILN_PUT_REPLACE);
        if (!world_ok(world, (ftk_status)rc, "put of a run"))
            return false;
        *world_value(world, world->work, c, k) = value;
    }
    return true;
}

static bool
op_delete(struct world *world, unsigned c)
{
    uint32_t k = any_key(world);
    struct world_value *at = world_value(world, world->work, c, k);
    kiln_status rc =
        kiln_delete(world->txn, world->colls[c], world->keys[k].bytes, world->keys[k].size);

    if (at->size_plus_1 == 0 && rc == KILN_NOTFOUND)
        return true;
    REQUIRE_MSG(at->size_plus_1 != 0 || rc != KILN_OK, "delete of key %u, which is not there", k);
    if (!world_ok(world, (ftk_status)rc, "delete"))
        return false;
    at->size_plus_1 = 0;
    return true;
}

struct batch {
    uint32_t count;
    uint32_t key[BATCH_MAX];
    struct world_value value[BATCH_MAX];
    kiln_slice keys[BATCH_MAX], values[BATCH_MAX];
    uint8_t *bytes[BATCH_MAX];
};

static void
batch_make(struct world *world, struct batch *batch, bool values)
{
    uint32_t first = any_key(world);
    bool near = below(world, 2) == 0;

    batch->count = 1 + below(world, BATCH_MAX);
    for (uint32_t i = 0; i < batch->count; i++) {
        uint32_t k =
            near ? (first + below(world, 2 * BATCH_MAX)) % world->options.keys : any_key(world);
        batch->key[i] = k;
        batch->keys[i] = (kiln_slice){world->keys[k].bytes, world->keys[k].size};
        batch->bytes[i] = NULL;
        if (!values)
            continue;
        batch->value[i] = any_value(world, below(world, BATCH_MAX) == 0, world->buffer);
        batch->values[i].size = batch->value[i].size_plus_1 - 1;
        batch->bytes[i] = malloc(batch->values[i].size + 1);
        memcpy(batch->bytes[i], world->buffer, batch->values[i].size);
        batch->values[i].data = batch->bytes[i];
    }
}

static bool
op_put_many(struct world *world, unsigned c)
{
    struct batch batch;
    size_t done = 0;
    kiln_status rc;

    batch_make(world, &batch, true);
    rc = kiln_put_many(world->txn, world->colls[c], batch.keys, batch.values, batch.count,
                       KILN_PUT_REPLACE, &done);
    for (uint32_t i = 0; i < batch.count; i++)
        free(batch.bytes[i]);
    if (!world_ok(world, (ftk_status)rc, "put_many")) {
        world->maybe = true; /* how far it came is not known: only abort */
        return false;
    }
    REQUIRE_EQ(done, batch.count);
    for (uint32_t i = 0; i < batch.count; i++)
        *world_value(world, world->work, c, batch.key[i]) = batch.value[i];
    return true;
}

static bool
op_delete_many(struct world *world, unsigned c)
{
    struct batch batch;
    uint64_t deleted = 0, wanted = 0;
    kiln_status rc;

    batch_make(world, &batch, false);
    rc = kiln_delete_many(world->txn, world->colls[c], batch.keys, batch.count, &deleted);
    if (!world_ok(world, (ftk_status)rc, "delete_many")) {
        world->maybe = true;
        return false;
    }
    for (uint32_t i = 0; i < batch.count; i++) {
        struct world_value *at = world_value(world, world->work, c, batch.key[i]);
        wanted += at->size_plus_1 != 0;
        at->size_plus_1 = 0;
    }
    REQUIRE_EQ(deleted, wanted);
    return true;
}

struct source {
    const uint8_t *at;
    uint32_t left;
    uint32_t gives_up_at; /* bytes left; UINT32_MAX: never */
};

static int
source_read(void *context, void *buffer, size_t size)
{
    struct source *source = context;

    if (source->left <= source->gives_up_at && source->gives_up_at != UINT32_MAX)
        return 1;
    if (size > source->left)
        return 1;
    memcpy(buffer, source->at, size);
    source->at += size;
    source->left -= (uint32_t)size;
    return 0;
}

static bool
op_value_write(struct world *world, unsigned c)
{
    uint32_t k = any_key(world);
    struct world_value value = any_value(world, true, world->buffer);
    uint32_t size = value.size_plus_1 - 1;
    struct source source = {world->buffer, size, UINT32_MAX};
    kiln_status rc;

    if (size > 0 && below(world, 4) == 0)
        source.gives_up_at = below(world, size + 1);
    rc = kiln_value_write(world->txn, world->colls[c], world->keys[k].bytes, world->keys[k].size,
                          size, source_read, &source);
    if (rc == KILN_CANCELED && source.gives_up_at != UINT32_MAX)
        return true; /* the key is unchanged, and the transaction goes on */
    if (!world_ok(world, (ftk_status)rc, "value_write"))
        return false;
    *world_value(world, world->work, c, k) = value;
    return true;
}

/* ---- reading --------------------------------------------------------------------------------- */

static bool
op_get(struct world *world, unsigned c)
{
    for (unsigned i = 0; i < 4; i++) {
        uint32_t k = any_key(world);
        if (!world_compare_value(world, world->txn, world->colls[c], k,
                                 world_value(world, world->work, c, k), "get"))
            return false;
        world->gets++;
    }
    return true;
}

struct many {
    struct world *world;
    struct batch *batch;
    unsigned coll;
    unsigned calls;
};

static int
many_each(void *context, size_t index, kiln_slice value)
{
    struct many *many = context;
    struct world *world = many->world;
    const struct world_value *wanted =
        world_value(world, world->work, many->coll, many->batch->key[index]);
    uint32_t size = wanted->size_plus_1 - 1;

    many->calls++;
    REQUIRE_MSG((value.data == NULL) == (wanted->size_plus_1 == 0), "get_many: key %u",
                many->batch->key[index]);
    if (value.data == NULL)
        return 0;
    world_fill(world->buffer2, size, wanted->seed);
    REQUIRE_MSG(value.size == size && memcmp(value.data, world->buffer2, size) == 0,
                "get_many: key %u has another value", many->batch->key[index]);
    return 0;
}

static bool
op_get_many(struct world *world, unsigned c)
{
    struct batch batch;
    struct many many = {world, &batch, c, 0};

    batch_make(world, &batch, false);
    if (!world_ok(world,
                  (ftk_status)kiln_get_many(world->txn, world->colls[c], batch.keys, batch.count,
                                            many_each, &many),
                  "get_many"))
        return false;
    REQUIRE_EQ(many.calls, batch.count);
    return true;
}

/* ---- cursors --------------------------------------------------------------------------------- */

/* The first present key at or after k (or at or before), UINT32_MAX: none. */
static uint32_t
present(struct world *world, unsigned c, uint32_t k, bool forward)
{
    for (; k < world->options.keys; k += forward ? 1 : UINT32_MAX)
        if (world_value(world, world->work, c, k)->size_plus_1 != 0)
            return k;
    return UINT32_MAX;
}

static bool
cursor_is_at(struct world *world, kiln_cursor *cursor, kiln_status rc, uint32_t k, const char *what)
{
    kiln_slice key;

    if (rc != KILN_OK && rc != KILN_NOTFOUND)
        return world_ok(world, (ftk_status)rc, what);
    if (k == UINT32_MAX) {
        REQUIRE_MSG(rc == KILN_NOTFOUND, "%s: %s instead of the end", what, kiln_status_name(rc));
        return true;
    }
    REQUIRE_MSG(rc == KILN_OK, "%s: the end instead of key %u", what, k);
    rc = kiln_cursor_item(cursor, &key, NULL);
    if (rc != KILN_OK && rc != KILN_STATE)
        return world_ok(world, (ftk_status)rc, what);
    REQUIRE_MSG(rc == KILN_OK && key.size == world->keys[k].size &&
                    memcmp(key.data, world->keys[k].bytes, key.size) == 0,
                "%s: not at key %u", what, k);
    return true;
}

/* One move of a cursor at key *at (UINT32_MAX: unpositioned; gone: its item was deleted). */
static bool
cursor_move(struct world *world, unsigned c, kiln_cursor *cursor, uint32_t *at, bool *gone)
{
    uint32_t k = any_key(world), next;
    const struct world_key *key = &world->keys[k];
    kiln_status rc;

    switch (below(world, 6)) {
    case 0:
        next = present(world, c, k, true);
        rc = kiln_cursor_seek(cursor, key->bytes, key->size);
        break;
    case 1:
        next = present(world, c, k, false);
        rc = kiln_cursor_seek_before(cursor, key->bytes, key->size);
        break;
    case 2:
    case 3:
        next = present(world, c, *at == UINT32_MAX ? 0 : *at + 1, true);
        rc = kiln_cursor_next(cursor);
        break;
    case 4:
        next = *at == 0
                   ? UINT32_MAX
                   : present(world, c, (*at == UINT32_MAX ? world->options.keys : *at) - 1, false);
        rc = kiln_cursor_prev(cursor);
        break;
    default:
        if (*at == UINT32_MAX || *gone)
            return true;
        rc = kiln_cursor_delete(cursor);
        if (!world_ok(world, (ftk_status)rc, "cursor_delete"))
            return false;
        world_value(world, world->work, c, *at)->size_plus_1 = 0;
        *gone = true;
        return true;
    }
    *gone = false;
    *at = next;
    return cursor_is_at(world, cursor, rc, next, "cursor");
}

static bool
op_cursor(struct world *world, unsigned c)
{
    kiln_cursor *cursor = NULL;
    uint32_t at = UINT32_MAX;
    bool gone = false, ok = true;

    if (!world_ok(world,
                  (ftk_status)kiln_cursor_open(world->txn, world->colls[c],
                                               below(world, 2) ? KILN_CURSOR_SCAN : 0, &cursor),
                  "cursor_open"))
        return false;
    for (unsigned i = 0, n = 1 + below(world, 12); i < n && ok; i++) {
        ok = cursor_move(world, c, cursor, &at, &gone);
        if (ok && below(world, 4) == 0) { /* a change under it */
            ok = below(world, 2) ? op_put(world, c) : op_delete(world, c);
            gone = gone ||
                   (at != UINT32_MAX && world_value(world, world->work, c, at)->size_plus_1 == 0);
            if (gone && at != UINT32_MAX &&
                world_value(world, world->work, c, at)->size_plus_1 != 0)
                break; /* deleted by the cursor and put again: at it or behind it, both are right */
        }
    }
    kiln_cursor_close(cursor);
    return ok;
}

/* ---- collections ----------------------------------------------------------------------------- */

static void
model_clear(struct world *world, unsigned c)
{
    memset(world_value(world, world->work, c, 0), 0,
           world->options.keys * sizeof(struct world_value));
}

static bool
op_clear(struct world *world, unsigned c)
{
    if (!world_ok(world, (ftk_status)kiln_coll_clear(world->txn, world->colls[c]), "clear"))
        return false;
    model_clear(world, c);
    return true;
}

static bool
op_drop(struct world *world, unsigned c)
{
    kiln_coll coll = world->colls[c];
    kiln_slice value;

    if (!world_ok(world, (ftk_status)kiln_coll_drop(world->txn, coll), "drop"))
        return false;
    STATUS(kiln_get(world->txn, coll, "k", 1, &value), KILN_NOTFOUND);
    model_clear(world, c);
    world->work->exists[c] = false;
    world->colls[c] = 0;
    return true;
}

static bool
op_create(struct world *world, unsigned c)
{
    if (!world_ok(world,
                  (ftk_status)kiln_coll_open(world->txn, coll_names[c],
                                             KILN_COLL_CREATE | KILN_COLL_EXCLUSIVE,
                                             &world->colls[c]),
                  "create"))
        return false;
    world->work->exists[c] = true;
    return true;
}

static bool
bulk_fill(struct world *world, unsigned c, kiln_bulk *bulk)
{
    uint32_t one_in = 1 + below(world, 5), added = 0;

    for (uint32_t k = 0; k < world->options.keys; k++) {
        struct world_value value;
        kiln_status rc;
        if (below(world, one_in) != 0)
            continue;
        value = any_value(world, true, world->buffer);
        rc = kiln_bulk_add(bulk, world->keys[k].bytes, world->keys[k].size, world->buffer,
                           value.size_plus_1 - 1);
        if (!world_ok(world, (ftk_status)rc, "bulk_add"))
            return false;
        *world_value(world, world->work, c, k) = value;
        if (added++ > 0 && below(world, 50) == 0) /* out of order: refused, nothing changed */
            STATUS(kiln_bulk_add(bulk, world->keys[0].bytes, world->keys[0].size, world->buffer,
                                 value.size_plus_1 - 1),
                   KILN_INVALID);
    }
    return true;
}

static bool
op_bulk(struct world *world, unsigned c)
{
    kiln_bulk *bulk = NULL;

    if (!op_clear(world, c) ||
        !world_ok(world, (ftk_status)kiln_bulk_begin(world->txn, world->colls[c], &bulk),
                  "bulk_begin"))
        return false;
    if (!bulk_fill(world, c, bulk)) {
        world->bulk = bulk; /* it goes with the transaction */
        world->maybe = true;
        return false;
    }
    if (below(world, 4) > 0)
        return world_ok(world, (ftk_status)kiln_bulk_end(bulk), "bulk_end");
    if (!world_ok(world, (ftk_status)kiln_bulk_abort(bulk), "bulk_abort")) {
        world->bulk = bulk;
        world->maybe = true;
        return false;
    }
    model_clear(world, c);
    return true;
}

/* ---- savepoints ------------------------------------------------------------------------------ */

static bool
op_savepoint(struct world *world)
{
    unsigned n = world->saved_count;

    if (n == WORLD_SAVEPOINTS)
        return true;
    if (!world_ok(world, (ftk_status)kiln_savepoint(world->txn), "savepoint"))
        return false;
    if (world->saved[n] == NULL)
        world->saved[n] = world_state_copy(world, world->work);
    memcpy(world->saved[n], world->work, world_state_bytes(world));
    world->saved_count++;
    return true;
}

static bool
op_savepoint_end(struct world *world, bool keep)
{
    kiln_status rc;

    if (world->saved_count == 0)
        return true;
    rc = keep ? kiln_savepoint_release(world->txn) : kiln_savepoint_rollback(world->txn);
    if (!world_ok(world, (ftk_status)rc, keep ? "release" : "rollback"))
        return false;
    world->saved_count--;
    if (!keep) {
        memcpy(world->work, world->saved[world->saved_count], world_state_bytes(world));
        return world_colls(world, world->txn, world->colls);
    }
    return true;
}

/* ---- readers, checkpoints -------------------------------------------------------------------- */

void
world_checkpoint(struct world *world)
{
    if (!world_ok(world, (ftk_status)kiln_checkpoint(world->db), "checkpoint"))
        return;
    world->floor_full = world->floor_os = world->now->commit;
    world->checkpoints++;
}

static void
reader_step(struct world *world)
{
    struct world_reader *reader = &world->readers[below(world, WORLD_READERS)];
    kiln_coll colls[WORLD_COLLS];

    if (reader->txn == NULL) {
        if (!world_ok(world, (ftk_status)kiln_txn_begin(world->db, KILN_READ, &reader->txn),
                      "begin"))
            return;
        reader->state = world_state_copy(world, world->now);
        return;
    }
    if (!world_colls(world, reader->txn, colls))
        return;
    for (unsigned c = 0; c < WORLD_COLLS; c++) {
        REQUIRE_MSG((colls[c] != 0) == reader->state->exists[c], "old reader: collection %u", c);
        for (uint32_t k = 0; k < world->options.keys && colls[c] != 0; k++)
            if (!world_compare_value(world, reader->txn, colls[c], k,
                                     world_value(world, reader->state, c, k), "old reader"))
                return;
    }
    if (below(world, 3) == 0) {
        if (!world_ok(world, (ftk_status)kiln_txn_renew(reader->txn), "renew")) {
            kiln_txn_abort(reader->txn);
            free(reader->state);
            *reader = (struct world_reader){0};
            return;
        }
        memcpy(reader->state, world->now, world_state_bytes(world));
    } else if (below(world, 2) == 0) {
        kiln_txn_abort(reader->txn);
        free(reader->state);
        *reader = (struct world_reader){0};
    }
}

/* ---- transactions ---------------------------------------------------------------------------- */

static bool
operation(struct world *world)
{
    unsigned c = below(world, WORLD_COLLS);
    uint32_t dice = below(world, 100);

    if (below(world, 24) == 0) { /* another begins meanwhile, and wants what was committed */
        if (below(world, 3) == 0)
            world_checkpoint(world);
        else
            reader_step(world);
    }
    window_check(world->db);
    txn_check(world->txn);
    if (dice >= 88)
        return dice < 94 ? op_savepoint(world) : op_savepoint_end(world, dice < 97);
    if (!world->work->exists[c])
        return op_create(world, c);
    if (dice < 30)
        return op_put(world, c);
    if (dice < 38)
        return op_put_run(world, c);
    if (dice < 46)
        return op_put_many(world, c);
    if (dice < 56)
        return op_delete(world, c);
    if (dice < 61)
        return op_delete_many(world, c);
    if (dice < 68)
        return op_cursor(world, c);
    if (dice < 74)
        return op_get(world, c);
    if (dice < 78)
        return op_get_many(world, c);
    if (dice < 83)
        return op_value_write(world, c);
    if (dice < 85)
        return op_bulk(world, c);
    return dice < 87 ? op_clear(world, c) : op_drop(world, c);
}

static bool
number_put(struct world *world)
{
    uint8_t number[8];
    kiln_coll meta;

    world->work->commit = world->now->commit + 1;
    ftk_put_le64(number, world->work->commit);
    return world_ok(world, (ftk_status)kiln_coll_open(world->txn, "meta", KILN_COLL_CREATE, &meta),
                    "meta") &&
           world_ok(world, (ftk_status)kiln_put(world->txn, meta, "commit", 6, number, 8, 0),
                    "number") &&
           (!world->options.external_log ||
            world_ok(world, (ftk_status)kiln_txn_set_applied(world->txn, world->work->commit),
                     "applied"));
}

static kiln_durability
any_durability(struct world *world)
{
    uint32_t dice = below(world, 10);

    if (world->now->commit + 4 > world->floor_full + WORLD_HISTORY)
        return KILN_FULL; /* the history keeps so many states */
    return dice < 4 ? KILN_FULL : dice < 7 ? KILN_OS : KILN_LAZY;
}

static void
history_put(struct world *world)
{
    struct world_state **slot = &world->history[world->work->commit % WORLD_HISTORY];

    if (*slot == NULL)
        *slot = world_state_copy(world, world->work);
    memcpy(*slot, world->work, world_state_bytes(world));
}

static void
commit(struct world *world, kiln_durability durability)
{
    kiln_txn *txn = world->txn;
    kiln_status rc;

    history_put(world);
    world->committing = true;
    world->txn = NULL;
    rc = kiln_txn_commit(txn);
    world->committing = false;
    if (!world_ok(world, (ftk_status)rc, "commit")) {
        world->maybe = rc == KILN_FAILED; /* any other error: nothing was committed */
        return;
    }
    memcpy(world->now, world->work, world_state_bytes(world));
    world->commits++;
    if (world->options.external_log) { /* its owner's log has the promises */
        if (world->now->commit + 4 > world->floor_full + WORLD_HISTORY)
            world_checkpoint(world);
        return;
    }
    if (durability == KILN_FULL || (durability == KILN_OS && world->os_is_full))
        world->floor_full = world->now->commit;
    if (durability != KILN_LAZY)
        world->floor_os = world->now->commit;
}

void
world_transaction(struct world *world)
{
    kiln_txn_options options = KILN_TXN_OPTIONS_INIT;
    unsigned ops = 1 + below(world, world->options.ops_max);
    bool ok = true;

    options.kind = KILN_WRITE;
    options.durability = any_durability(world);
    if (below(world, 2) == 0)
        atomic_store(&world->db->window.rest, 0); /* as if no reader had come lately */
    if (!world_ok(world, (ftk_status)kiln_txn_begin_with(world->db, &options, &world->txn),
                  "begin"))
        return;
    memcpy(world->work, world->now, world_state_bytes(world));
    world->saved_count = 0;
    ok = world_colls(world, world->txn, world->colls);
    while (ok && ops-- > 0)
        ok = operation(world);
    ok = ok && number_put(world);
    if ((!ok && (world->maybe || below(world, 2))) || (ok && below(world, 8) == 0)) {
        world->maybe = false;
        kiln_txn_abort(world->txn);
        OK(kiln_bulk_abort(world->bulk));
        world->txn = NULL;
        world->bulk = NULL;
        world->aborts++;
        return;
    }
    world->maybe = false;
    /* An operation that failed has done nothing, or the commit refuses. */
    if (!ok && !number_put(world)) {
        kiln_txn_abort(world->txn);
        world->txn = NULL;
        return;
    }
    commit(world, options.durability);
}

/* ---- steps ----------------------------------------------------------------------------------- */

void
world_step(struct world *world)
{
    uint32_t dice = below(world, 100);

    if (dice < 84) {
        world_transaction(world);
    } else if (dice < 90) {
        reader_step(world);
    } else if (dice < 98) {
        world_checkpoint(world);
    } else {
        world_close(world);
        if (!world->lenient)
            world_open(world, 0);
        world->reopens++;
    }
}
