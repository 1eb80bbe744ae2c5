/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/world.c -- the model, opening and comparing.  See world.h. */
#include "tests/support/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/db/txn.h"
#include "ftk/bytes.h"

static const char *const coll_names[WORLD_COLLS] = {"first", "second", "third"};

static void *
must(void *memory)
{
    if (memory == NULL)
        abort();
    return memory;
}

/* ---- keys ------------------------------------------------------------------------------------ */

static uint32_t
key_words(struct ftk_random *random, uint32_t i, uint8_t *to)
{
    static const char *const words[] = {"a", "ab", "abc", "kiln", "oven", "ware", "/", "clay-pot"};
    uint32_t size = 0, count = 1 + (uint32_t)ftk_random_below(random, 6);

    while (count-- > 0) {
        const char *word = words[ftk_random_below(random, 8)];
        memcpy(to + size, word, strlen(word));
        size += (uint32_t)strlen(word);
    }
    return size + (uint32_t)sprintf((char *)to + size, "%u", i);
}

static uint32_t
key_long(struct ftk_random *random, uint32_t i, uint8_t *to)
{
    static const uint32_t shared[] = {0, 10, 300, 700, 1000};
    uint32_t prefix = shared[ftk_random_below(random, 5)];
    uint32_t size = prefix + 4 + (uint32_t)ftk_random_below(random, KILN_KEY_MAX - prefix - 3);

    memset(to, 'p', prefix);
    for (uint32_t at = prefix; at < size; at++)
        to[at] = (uint8_t)('a' + ftk_random_below(random, 26));
    ftk_put_le32(to + size - 4, i);
    return size;
}

static uint32_t
key_binary(struct ftk_random *random, uint32_t i, uint8_t *to)
{
    uint32_t size = 1 + (uint32_t)ftk_random_below(random, 12);

    (void)i;
    for (uint32_t at = 0; at < size; at++)
        to[at] = ftk_random_below(random, 3) == 0 ? 0xff : (uint8_t)ftk_random_below(random, 2);
    return size;
}

static uint32_t
key_make(enum world_keys shape, struct ftk_random *random, uint32_t i, uint8_t *to)
{
    switch (shape) {
    case WORLD_KEYS_WORDS: return key_words(random, i, to);
    case WORLD_KEYS_LONG: return key_long(random, i, to);
    case WORLD_KEYS_BINARY: return key_binary(random, i, to);
    case WORLD_KEYS_SHORT:
    case WORLD_KEYS_SHAPES:
    default:
        ftk_put_be64(to, i);
        if (i % 3 == 0)
            memmove(to, to + 4, 4);
        return i % 3 == 0 ? 4 : 8;
    }
}

static int
key_order(const void *a, const void *b)
{
    const struct world_key *x = a, *y = b;

    return ftk_bytes_compare(x->bytes, x->size, y->bytes, y->size);
}

static void
keys_init(struct world *world)
{
    struct world_options *o = &world->options;
    uint8_t buffer[KILN_KEY_MAX + 64];
    uint32_t unique = 0;

    world->keys = must(calloc(o->keys, sizeof *world->keys));
    for (uint32_t i = 0; i < o->keys; i++) {
        struct world_key *key = &world->keys[i];
        key->size = (uint16_t)key_make(o->shape, &world->random, i, buffer);
        key->bytes = must(malloc(key->size));
        memcpy(key->bytes, buffer, key->size);
    }
    qsort(world->keys, o->keys, sizeof *world->keys, key_order);
    for (uint32_t i = 0; i < o->keys; i++) {
        if (unique > 0 && key_order(&world->keys[unique - 1], &world->keys[i]) == 0)
            free(world->keys[i].bytes);
        else
            world->keys[unique++] = world->keys[i];
    }
    o->keys = unique;
}

/* ---- states ---------------------------------------------------------------------------------- */

size_t
world_state_bytes(const struct world *world)
{
    return sizeof(struct world_state) +
           (size_t)WORLD_COLLS * world->options.keys * sizeof(struct world_value);
}

struct world_state *
world_state_copy(const struct world *world, const struct world_state *state)
{
    struct world_state *copy = must(malloc(world_state_bytes(world)));

    memcpy(copy, state, world_state_bytes(world));
    return copy;
}

struct world_value *
world_value(const struct world *world, struct world_state *state, unsigned coll, uint32_t key)
{
    return &state->values[(size_t)coll * world->options.keys + key];
}

void
world_fill(uint8_t *to, uint32_t size, uint32_t seed)
{
    uint64_t word = seed * UINT64_C(0x9e3779b97f4a7c15) + size;

    for (; size >= 8; size -= 8, to += 8) {
        ftk_put_le64(to, word);
        word = word * UINT64_C(6364136223846793005) + 1442695040888963407u;
    }
    for (uint32_t i = 0; i < size; i++)
        to[i] = (uint8_t)(word >> (8 * i));
}

static void
world_buffers(struct world *world)
{
    size_t bytes = (size_t)world->options.large_max + world->options.value_max + 64;

    world->buffer = must(malloc(bytes));
    world->buffer2 = must(malloc(bytes));
}

void
world_init(struct world *world, const struct world_options *options)
{
    memset(world, 0, sizeof *world);
    world->options = *options;
    if (world->options.path == NULL)
        world->options.path = "/db";
    ftk_random_seed(&world->random, options->seed);
    keys_init(world);
    world->now = must(calloc(1, world_state_bytes(world)));
    world->work = world_state_copy(world, world->now);
    world->history[0] = world_state_copy(world, world->now);
    world_buffers(world);
}

void
world_release(struct world *world)
{
    if (!world->keys_borrowed) {
        for (uint32_t i = 0; i < world->options.keys; i++)
            free(world->keys[i].bytes);
        free(world->keys);
    }
    for (unsigned i = 0; i < WORLD_HISTORY; i++)
        free(world->history[i]);
    for (unsigned i = 0; i < WORLD_SAVEPOINTS; i++)
        free(world->saved[i]);
    free(world->now);
    free(world->work);
    free(world->buffer);
    free(world->buffer2);
    memset(world, 0, sizeof *world);
}

void
world_copy(struct world *to, const struct world *from, struct simdisk *disk, uint64_t seed)
{
    *to = *from;
    to->keys_borrowed = true;
    to->disk = disk;
    to->db = NULL;
    to->txn = NULL;
    to->lenient = to->maybe = false;
    to->error = FTK_OK;
    ftk_random_seed(&to->random, seed);
    memset(to->readers, 0, sizeof to->readers);
    memset(to->saved, 0, sizeof to->saved);
    to->saved_count = 0;
    memset(to->history, 0, sizeof to->history);
    for (uint64_t n = from->floor_full; n <= from->now->commit + from->committing; n++)
        to->history[n % WORLD_HISTORY] = world_state_copy(from, from->history[n % WORLD_HISTORY]);
    to->now = world_state_copy(from, from->now);
    to->work = world_state_copy(from, from->now);
    world_buffers(to);
}

bool
world_ok(struct world *world, ftk_status status, const char *what)
{
    if (status == FTK_OK)
        return true;
    REQUIRE_MSG(world->lenient, "%s: %s: %s", what, ftk_status_text(status),
                ftk_error_last()->text);
    world->error = status;
    if (getenv("KILN_TEST_LOG") != NULL)
        fprintf(stderr, "# %s: %s: %s\n", what, ftk_status_text(status), ftk_error_last()->text);
    return false;
}

/* ---- open, close ----------------------------------------------------------------------------- */

static void
log_errors(void *context, kiln_log_level level, const char *text)
{
    (void)context;
    if (getenv("KILN_TEST_LOG") != NULL)
        fprintf(stderr, "# log %d: %s\n", (int)level, text);
}

ftk_status
world_try_open(struct world *world, uint32_t flags)
{
    struct db_environment environment = {0};
    kiln_options options = KILN_OPTIONS_INIT;

    options.flags = flags | (world->options.external_log ? KILN_EXTERNAL_LOG : 0);
    options.page_bytes = world->options.page_bytes;
    options.rfl_segment_bytes =
        world->options.rfl_segment_bytes != 0 ? world->options.rfl_segment_bytes : 2u << 20;
    options.dirty_bytes_max = world->options.dirty_bytes_max;
    options.io_depth = 8;
    options.log = log_errors;
    options.log_level = KILN_LOG_DEBUG;
    if (!world->options.real_disk) {
        environment.disk = simdisk_disk(world->disk);
        environment.manual = true;
    }
    return db_open(world->options.path, &options, &environment, &world->db);
}

void
world_open(struct world *world, uint32_t flags)
{
    ftk_status rc = world_try_open(world, flags);

    REQUIRE_MSG(rc == FTK_OK, "open: %s: %s", ftk_status_text(rc), ftk_error_last()->text);
}

static void
readers_end(struct world *world)
{
    for (unsigned i = 0; i < WORLD_READERS; i++) {
        kiln_txn_abort(world->readers[i].txn);
        free(world->readers[i].state);
        world->readers[i] = (struct world_reader){0};
    }
}

void
world_close(struct world *world)
{
    kiln_db *db = world->db;

    readers_end(world);
    world->db = NULL;
    if (!world_ok(world, db_close(db), "close"))
        return;
    world->floor_full = world->floor_os = world->now->commit;
}

void
world_abandon(struct world *world)
{
    readers_end(world);
    if (world->db != NULL)
        db_abandon(world->db);
    world->db = NULL;
}

/* ---- compare --------------------------------------------------------------------------------- */

bool
world_colls(struct world *world, kiln_txn *txn, kiln_coll colls[WORLD_COLLS])
{
    for (unsigned i = 0; i < WORLD_COLLS; i++) {
        kiln_status rc = kiln_coll_open(txn, coll_names[i], 0, &colls[i]);
        if (rc != KILN_NOTFOUND && !world_ok(world, (ftk_status)rc, "coll_open"))
            return false;
    }
    return true;
}

bool
world_compare_value(struct world *world, kiln_txn *txn, kiln_coll coll, uint32_t key,
                    const struct world_value *value, const char *how)
{
    const struct world_key *k = &world->keys[key];
    kiln_slice got;
    kiln_status rc = kiln_get(txn, coll, k->bytes, k->size, &got);
    uint32_t size = value->size_plus_1 - 1;

    if (rc != KILN_OK && rc != KILN_NOTFOUND)
        return world_ok(world, (ftk_status)rc, how);
    if (value->size_plus_1 == 0) {
        REQUIRE_MSG(rc == KILN_NOTFOUND, "%s: key %u is there", how, key);
        return true;
    }
    REQUIRE_MSG(rc == KILN_OK, "%s: key %u is not there", how, key);
    world_fill(world->buffer2, size, value->seed);
    REQUIRE_MSG(got.size == size && (size == 0 || memcmp(got.data, world->buffer2, size) == 0),
                "%s: key %u has another value (%zu bytes, wanted %u)", how, key, got.size, size);
    return true;
}

/* Rank of a key in the universe; UINT32_MAX: not a key of the world. */
static uint32_t
key_rank(const struct world *world, const kiln_slice *key)
{
    struct world_key wanted = {(uint16_t)key->size, NULL};
    const struct world_key *found;

    memcpy(&wanted.bytes, &key->data, sizeof(void *));
    found = bsearch(&wanted, world->keys, world->options.keys, sizeof *world->keys, key_order);
    return found == NULL ? UINT32_MAX : (uint32_t)(found - world->keys);
}

/* All items of one collection, forward or backward, against the model. */
static void
scan(struct world *world, kiln_txn *txn, kiln_coll coll, const struct world_value *values,
     bool forward, const char *how)
{
    uint32_t keys = world->options.keys;
    kiln_cursor *cursor = NULL;
    kiln_slice key, value;
    kiln_status rc;

    OK(kiln_cursor_open(txn, coll, forward ? KILN_CURSOR_SCAN : 0, &cursor));
    for (uint32_t step = 0; step < keys; step++) {
        uint32_t i = forward ? step : keys - 1 - step;
        uint32_t size = values[i].size_plus_1 - 1;
        if (values[i].size_plus_1 == 0)
            continue;
        rc = forward ? kiln_cursor_next(cursor) : kiln_cursor_prev(cursor);
        REQUIRE_MSG(rc == KILN_OK, "%s: scan ends before key %u: %s %s", how, i,
                    kiln_status_name(rc), rc == KILN_NOTFOUND ? "" : ftk_error_last()->text);
        rc = kiln_cursor_item(cursor, &key, &value);
        REQUIRE_MSG(rc == KILN_OK, "%s: item of key %u: %s: %s", how, i, kiln_status_name(rc),
                    ftk_error_last()->text);
        REQUIRE_MSG(key.size == world->keys[i].size &&
                        memcmp(key.data, world->keys[i].bytes, key.size) == 0,
                    "%s: scan finds key %u instead of %u", how, key_rank(world, &key), i);
        world_fill(world->buffer2, size, values[i].seed);
        REQUIRE_MSG(value.size == size &&
                        (size == 0 || memcmp(value.data, world->buffer2, size) == 0),
                    "%s: scan: key %u has another value", how, i);
    }
    rc = forward ? kiln_cursor_next(cursor) : kiln_cursor_prev(cursor);
    REQUIRE_MSG(rc == KILN_NOTFOUND, "%s: scan goes on: %s", how, kiln_status_name(rc));
    kiln_cursor_close(cursor);
}

static void
compare_colls(struct world *world, kiln_txn *txn, struct world_state *state, const char *how)
{
    kiln_coll colls[WORLD_COLLS];

    world_colls(world, txn, colls);
    for (unsigned i = 0; i < WORLD_COLLS; i++) {
        uint64_t count = 0, wanted = 0;
        REQUIRE_MSG((colls[i] != 0) == state->exists[i], "%s: collection %u is%s there", how, i,
                    colls[i] != 0 ? "" : " not");
        if (colls[i] == 0)
            continue;
        for (uint32_t k = 0; k < world->options.keys; k++)
            wanted += world_value(world, state, i, k)->size_plus_1 != 0;
        OK(kiln_coll_count(txn, colls[i], &count));
        REQUIRE_MSG(count == wanted, "%s: collection %u counts %llu keys, not %llu", how, i,
                    (unsigned long long)count, (unsigned long long)wanted);
        scan(world, txn, colls[i], world_value(world, state, i, 0), true, how);
        scan(world, txn, colls[i], world_value(world, state, i, 0), false, how);
    }
}

/* The number of the commit the newest snapshot is of. */
static ftk_status
commit_number(struct world *world, uint64_t *number_out)
{
    kiln_txn *txn = NULL;
    kiln_coll meta;
    kiln_slice value;
    kiln_status rc = kiln_txn_begin(world->db, KILN_READ, &txn);

    *number_out = 0;
    if (rc != KILN_OK)
        return (ftk_status)rc;
    rc = kiln_coll_open(txn, "meta", 0, &meta);
    if (rc == KILN_OK)
        rc = kiln_get(txn, meta, "commit", 6, &value);
    if (rc == KILN_OK) {
        REQUIRE_EQ(value.size, 8);
        *number_out = ftk_get_le64(value.data);
    } else if (rc == KILN_NOTFOUND) {
        rc = KILN_OK;
    }
    kiln_txn_abort(txn);
    return (ftk_status)rc;
}

void
world_verify(struct world *world, const struct world_state *state, const char *how)
{
    kiln_txn *txn = NULL;
    uint64_t number;

    REQUIRE_OK(commit_number(world, &number));
    OK(kiln_txn_begin(world->db, KILN_READ, &txn));
    REQUIRE_MSG(number == state->commit, "%s: commit %llu instead of %llu", how,
                (unsigned long long)number, (unsigned long long)state->commit);
    if (world->options.external_log) {
        uint64_t applied = 0;
        OK(kiln_txn_applied(txn, &applied));
        REQUIRE_EQ(applied, number);
    }
    struct world_state *copy = world_state_copy(world, state);
    compare_colls(world, txn, copy, how);
    free(copy);
    kiln_txn_abort(txn);
}

static void
check_finding(void *context, const char *text)
{
    CHECK_MSG(false, "%s: kiln_check: %s", (const char *)context, text);
}

void
world_check(struct world *world, const char *how)
{
    kiln_check_options options = KILN_CHECK_OPTIONS_INIT;
    kiln_status rc;
    char context[256];

    snprintf(context, sizeof context, "%s", how);
    options.finding = check_finding;
    options.context = context;
    rc = kiln_check(world->db, &options);
    REQUIRE_MSG(rc == KILN_OK, "%s: kiln_check: %s: %s", how, kiln_status_name(rc),
                ftk_error_last()->text);
    if (world->txn == NULL) { /* the accounts are whole between two transactions */
        const char *fault = space_check(world->db->space);
        REQUIRE_MSG(fault == NULL, "%s: space map: %s", how, fault);
    }
}

ftk_status
world_adopt(struct world *world, uint64_t floor, const char *how)
{
    uint64_t newest = world->now->commit + (world->committing || world->maybe);
    uint64_t number;
    ftk_status rc = commit_number(world, &number);

    if (rc != FTK_OK)
        return rc;
    REQUIRE_MSG(number >= floor, "%s: commit %llu came back, %llu was promised", how,
                (unsigned long long)number, (unsigned long long)floor);
    REQUIRE_MSG(number <= newest, "%s: commit %llu came back, the last was %llu", how,
                (unsigned long long)number, (unsigned long long)newest);
    memcpy(world->now, world->history[number % WORLD_HISTORY], world_state_bytes(world));
    world->committing = world->maybe = false;
    return FTK_OK;
}
