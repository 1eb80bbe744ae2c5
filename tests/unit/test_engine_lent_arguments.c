/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/test_engine_lent_arguments.c -- batches, values in pieces, seeks and estimates that
 * are called with keys and values which the transaction has lent.
 *
 * Values in "names" are keys of "c".  A batch over the very collection that lent its arguments
 * moves them while it runs; a cache that is too small for what a call reads gives their page to
 * another one.
 */
#include "tests/unit/engine_testing.h"

enum { NAMES = 8000, MANY = 64, STRIDE = 5, SMALLEST = 4 << 20, LARGE = 200000 };

static struct simdisk *disk;
static kiln_coll coll, names;

/* The key of "c" that a name stands for: all different. */
static unsigned
meant_by(unsigned name)
{
    return name * 4001 % NAMES;
}

static unsigned
value_size(unsigned i)
{
    return 20 + i * 31 % 900;
}

static void
value_fill(unsigned i, uint8_t *value)
{
    for (unsigned at = 0; at < value_size(i); at++)
        value[at] = (uint8_t)(i * 13 + at * 3);
}

static bool
holds_value_of(kiln_txn *txn, unsigned at, unsigned i)
{
    uint8_t key[8], value[1000];
    kiln_slice got;

    engine_key(at, key);
    value_fill(i, value);
    return kiln_get(txn, coll, key, 8, &got) == KILN_OK && got.size == value_size(i) &&
           memcmp(got.data, value, got.size) == 0;
}

static kiln_db *
begin(kiln_durability durability)
{
    kiln_options options = engine_options(KILN_CREATE);
    uint8_t key[8], meant[8], value[1000];
    kiln_db *db = NULL;
    kiln_txn *txn;

    disk = simdisk_new(NULL);
    options.durability = durability;
    REQUIRE_OK(engine_try_open(disk, &options, &db));
    txn = engine_begin(db, KILN_WRITE);
    coll = engine_coll(txn, "c");
    names = engine_coll(txn, "names");
    for (unsigned i = 0; i < NAMES; i++) {
        engine_key(i, key);
        value_fill(i, value);
        OK(kiln_put(txn, coll, key, 8, value, value_size(i), KILN_PUT_REPLACE));
        engine_key(meant_by(i), meant);
        OK(kiln_put(txn, names, key, 8, meant, 8, KILN_PUT_REPLACE));
    }
    OK(kiln_txn_commit(txn));
    OK(kiln_close(db)); /* with a checkpoint: nothing is dirty when the limit falls */
    options.flags = 0;
    REQUIRE_OK(engine_try_open(disk, &options, &db));
    return db;
}

static void
end(kiln_db *db)
{
    REQUIRE_OK(cache_limit_set(256 << 20));
    engine_end(disk, db);
}

/* What the log has is what the tree had. */
static kiln_db *
recovered(kiln_db *db)
{
    struct simdisk *after = simdisk_clone(disk, 1);

    simdisk_crash_as(after, SIMDISK_ALL, 1);
    db_abandon(db);
    simdisk_free(disk);
    disk = after;
    return engine_open(disk, 0);
}

/* Many values lent at once, by a cursor each: every STRIDE-th key from `first`. */
struct loan {
    kiln_cursor *cursor[MANY];
    kiln_slice value[MANY];
};

static void
loan_begin(kiln_txn *txn, kiln_coll from, unsigned first, struct loan *loan)
{
    uint8_t key[8];

    for (unsigned i = 0; i < MANY; i++) {
        engine_key(first + i * STRIDE, key);
        OK(kiln_cursor_open(txn, from, 0, &loan->cursor[i]));
        OK(kiln_cursor_seek(loan->cursor[i], key, 8));
        OK(kiln_cursor_item(loan->cursor[i], NULL, &loan->value[i]));
    }
}

static void
loan_end(struct loan *loan)
{
    for (unsigned i = 0; i < MANY; i++)
        kiln_cursor_close(loan->cursor[i]);
}

/* Leaves become the transaction's, so that changes move what is in them. */
static void
own_leaves(kiln_txn *txn, kiln_coll of, unsigned first)
{
    uint8_t key[8], copy[1000];
    kiln_slice got;

    for (unsigned i = 0; i < MANY * STRIDE; i++) {
        engine_key(first + i, key);
        OK(kiln_get(txn, of, key, 8, &got));
        memcpy(copy, got.data, got.size);
        OK(kiln_put(txn, of, key, 8, copy, got.size, KILN_PUT_REPLACE));
    }
}

/* ---- batches --------------------------------------------------------------------------------- */

static void
a_batch_turns_values_round_within_their_collection(void)
{
    kiln_db *db = begin(KILN_FULL);
    kiln_txn *txn = engine_begin(db, KILN_WRITE);
    uint8_t bytes[MANY][8];
    kiln_slice keys[MANY];
    struct loan loan;
    size_t done = 0;

    own_leaves(txn, coll, 100);
    loan_begin(txn, coll, 100, &loan);
    for (unsigned i = 0; i < MANY; i++) {
        engine_key(100 + (i + 1) % MANY * STRIDE, bytes[i]);
        keys[i] = (kiln_slice){bytes[i], 8};
    }
    OK(kiln_put_many(txn, coll, keys, loan.value, MANY, KILN_PUT_REPLACE, &done));
    CHECK_EQ(done, MANY);
    loan_end(&loan);
    for (unsigned i = 0; i < MANY; i++)
        CHECK_MSG(holds_value_of(txn, 100 + (i + 1) % MANY * STRIDE, 100 + i * STRIDE), "%u", i);
    OK(kiln_txn_commit(txn));
    db = recovered(db);
    txn = engine_begin(db, KILN_READ);
    for (unsigned i = 0; i < MANY; i++)
        CHECK_MSG(holds_value_of(txn, 100 + (i + 1) % MANY * STRIDE, 100 + i * STRIDE),
                  "recovered: %u", i);
    kiln_txn_abort(txn);
    end(db);
}

/* Both sides of each put are the same lent bytes, in the collection that the batch changes. */
static void
a_batch_puts_lent_keys_with_lent_values(void)
{
    kiln_db *db = begin(KILN_OS);
    kiln_txn *txn = engine_begin(db, KILN_WRITE);
    struct loan loan;
    uint8_t key[8];
    kiln_slice got;

    own_leaves(txn, names, 0);
    loan_begin(txn, names, 0, &loan);
    OK(kiln_put_many(txn, names, loan.value, loan.value, MANY, KILN_PUT_UPDATE, NULL));
    loan_end(&loan);
    for (unsigned i = 0; i < MANY; i++) {
        engine_key(meant_by(i * STRIDE), key);
        OK(kiln_get(txn, names, key, 8, &got));
        CHECK_MSG(got.size == 8 && memcmp(got.data, key, 8) == 0, "%u", i);
    }
    OK(kiln_txn_commit(txn));
    end(db);
}

/* Such a batch goes key by key: a put gives up the run that a later one is to read. */
static void
a_batch_exchanges_large_values(void)
{
    enum { COUNT = 6 };
    static uint8_t data[COUNT][LARGE];
    kiln_db *db = begin(KILN_FULL);
    kiln_txn *txn = engine_begin(db, KILN_WRITE);
    kiln_slice keys[COUNT], values[COUNT], got;
    kiln_cursor *cursors[COUNT];

    for (unsigned i = 0; i < COUNT; i++) {
        memset(data[i], (int)('A' + i), LARGE);
        keys[i] = (kiln_slice){"uvwxyz" + i, 1};
        OK(kiln_put(txn, coll, keys[i].data, 1, data[i], LARGE, KILN_PUT_REPLACE));
    }
    for (unsigned i = 0; i < COUNT; i++) {
        OK(kiln_cursor_open(txn, coll, 0, &cursors[i]));
        OK(kiln_cursor_seek(cursors[i], keys[i].data, 1));
        OK(kiln_cursor_item(cursors[i], NULL, &values[(i + COUNT / 2) % COUNT]));
    }
    OK(kiln_put_many(txn, coll, keys, values, COUNT, KILN_PUT_REPLACE, NULL));
    for (unsigned i = 0; i < COUNT; i++) {
        kiln_cursor_close(cursors[i]);
        OK(kiln_get(txn, coll, keys[(i + COUNT / 2) % COUNT].data, 1, &got));
        CHECK_MSG(got.size == LARGE && memcmp(got.data, data[i], LARGE) == 0, "%u", i);
    }
    OK(kiln_txn_commit(txn));
    end(db);
}

/* The value of the last get comes last in a batch that needs more of the cache than there is. */
static void
a_batch_puts_the_large_value_of_a_get_last(void)
{
    enum { COUNT = 40 };
    static uint8_t data[LARGE], filler[LARGE];
    kiln_db *db = begin(KILN_FULL);
    kiln_txn *txn = engine_begin(db, KILN_WRITE);
    kiln_slice keys[COUNT], values[COUNT];
    uint8_t bytes[COUNT][9] = {0};

    memset(data, 'd', sizeof data);
    OK(kiln_put(txn, coll, "d", 1, data, LARGE, KILN_PUT_REPLACE));
    OK(kiln_txn_commit(txn));
    REQUIRE_OK(cache_limit_set(SMALLEST));
    txn = engine_begin(db, KILN_WRITE);
    for (unsigned i = 0; i < COUNT; i++) {
        engine_key(i, bytes[i]);
        keys[i] = (kiln_slice){bytes[i], 9};
        values[i] = (kiln_slice){filler, LARGE};
    }
    OK(kiln_get(txn, coll, "d", 1, &values[COUNT - 1]));
    OK(kiln_put_many(txn, coll, keys, values, COUNT, KILN_PUT_INSERT, NULL));
    OK(kiln_get(txn, coll, bytes[COUNT - 1], 9, &values[0]));
    CHECK(values[0].size == LARGE && memcmp(values[0].data, data, LARGE) == 0);
    OK(kiln_txn_commit(txn));
    end(db);
}

/* Little of the cache is not pinned: what is not held is evicted while the copy is written. */
static void
a_put_reads_the_large_value_of_a_get_to_its_end(void)
{
    enum { MUCH = SMALLEST / 9, CURSORS = 640, APART = NAMES / CURSORS };
    static kiln_cursor *cursors[CURSORS];
    static uint8_t data[MUCH];
    kiln_db *db = begin(KILN_FULL);
    kiln_txn *txn = engine_begin(db, KILN_WRITE), *reader;
    uint8_t key[9] = {0};
    kiln_slice got;

    for (unsigned i = 0; i < MUCH; i++)
        data[i] = (uint8_t)(i / 4096 + i);
    OK(kiln_put(txn, coll, "d", 1, data, MUCH, KILN_PUT_REPLACE));
    OK(kiln_txn_commit(txn));
    OK(kiln_checkpoint(db)); /* clean: it may be evicted */
    REQUIRE_OK(cache_limit_set(SMALLEST));
    reader = engine_begin(db, KILN_READ);
    for (unsigned i = 0; i < CURSORS; i++) {
        engine_key(i * APART, key);
        OK(kiln_cursor_open(reader, coll, 0, &cursors[i]));
        OK(kiln_cursor_seek(cursors[i], key, 8));
    }
    txn = engine_begin(db, KILN_WRITE);
    for (unsigned i = 0; i < 6; i++) {
        engine_key(i, key);
        OK(kiln_get(txn, coll, "d", 1, &got));
        OK(kiln_put(txn, coll, key, 9, got.data, got.size, KILN_PUT_REPLACE));
        OK(kiln_get(txn, coll, key, 9, &got));
        CHECK_MSG(got.size == MUCH && memcmp(got.data, data, MUCH) == 0, "copy %u", i);
    }
    OK(kiln_txn_commit(txn));
    for (unsigned i = 0; i < CURSORS; i++)
        kiln_cursor_close(cursors[i]);
    kiln_txn_abort(reader);
    end(db);
}

static void
a_batch_deletes_the_keys_that_its_collection_lent(void)
{
    kiln_db *db = begin(KILN_FULL);
    kiln_txn *txn = engine_begin(db, KILN_WRITE);
    struct loan loan;
    uint64_t deleted = 0, count = 0;
    uint8_t key[8];
    kiln_slice got;

    own_leaves(txn, names, 0);
    for (unsigned i = 0; i < MANY; i++) { /* each name beside the one that is lent stands for it */
        uint8_t meant[8];
        engine_key(i * STRIDE, key);
        engine_key((i + 1) % MANY * STRIDE, meant);
        OK(kiln_put(txn, names, key, 8, meant, 8, KILN_PUT_REPLACE));
    }
    loan_begin(txn, names, 0, &loan);
    OK(kiln_delete_many(txn, names, loan.value, MANY, &deleted));
    CHECK_EQ(deleted, MANY);
    loan_end(&loan);
    for (unsigned i = 0; i < MANY; i++) {
        engine_key(i * STRIDE, key);
        STATUS(kiln_get(txn, names, key, 8, &got), KILN_NOTFOUND);
    }
    OK(kiln_txn_commit(txn));
    db = recovered(db);
    txn = engine_begin(db, KILN_READ);
    OK(kiln_coll_count(txn, names, &count));
    CHECK_EQ(count, NAMES - MANY);
    kiln_txn_abort(txn);
    end(db);
}

/* The last of a batch that reads more than the cache has room for. */
static void
a_batch_deletes_a_key_that_a_get_lent(void)
{
    static uint8_t bytes[NAMES][8];
    static kiln_slice keys[NAMES];
    kiln_db *db = begin(KILN_FULL);
    uint64_t deleted = 0, count = 1;
    unsigned name = 0;
    kiln_txn *txn;

    REQUIRE_OK(cache_limit_set(SMALLEST));
    txn = engine_begin(db, KILN_WRITE);
    for (unsigned i = 0; i < NAMES; i++) {
        name = meant_by(i) == NAMES - 1 ? i : name;
        engine_key(i, bytes[i]);
        keys[i] = (kiln_slice){bytes[i], 8};
    }
    OK(kiln_get(txn, names, bytes[name], 8, &keys[NAMES - 1]));
    OK(kiln_delete_many(txn, coll, keys, NAMES, &deleted));
    CHECK_EQ(deleted, NAMES);
    OK(kiln_coll_count(txn, coll, &count));
    CHECK_EQ(count, 0);
    OK(kiln_txn_commit(txn));
    end(db);
}

struct answers {
    kiln_txn *txn;
    unsigned count, wrong, last; /* last: the key that the last of them is to have */
};

static int
answer(void *context, size_t index, kiln_slice value)
{
    struct answers *answers = context;
    unsigned of = index == NAMES - 1 ? answers->last : (unsigned)index;
    uint8_t bytes[1000], key[8];
    kiln_slice got;

    value_fill(of, bytes);
    answers->count++;
    answers->wrong += value.data == NULL || value.size != value_size(of) ||
                      memcmp(value.data, bytes, value.size) != 0;
    engine_key(index, key);
    OK(kiln_get(answers->txn, names, key, 8, &got)); /* lends another one meanwhile */
    return 0;
}

/* The last key of a batch that reads more than the cache has room for. */
static void
a_batch_gets_a_key_that_was_lent(void)
{
    static uint8_t bytes[NAMES][8];
    static kiln_slice keys[NAMES];
    kiln_db *db = begin(KILN_FULL);

    REQUIRE_OK(cache_limit_set(SMALLEST));
    for (uint32_t kind = 0; kind < 2; kind++) {
        struct answers answers = {.txn = engine_begin(db, kind == 0 ? KILN_READ : KILN_WRITE),
                                  .last = meant_by(77)};
        for (unsigned i = 0; i < NAMES; i++) {
            engine_key(i, bytes[i]);
            keys[i] = (kiln_slice){bytes[i], 8};
        }
        OK(kiln_get(answers.txn, names, bytes[77], 8, &keys[NAMES - 1]));
        OK(kiln_get_many(answers.txn, coll, keys, NAMES, answer, &answers));
        CHECK_EQ(answers.count, NAMES);
        CHECK_EQ(answers.wrong, 0);
        kiln_txn_abort(answers.txn);
    }
    end(db);
}

/* ---- values in pieces, estimates ------------------------------------------------------------- */

static int
same_bytes(void *context, void *buffer, size_t size)
{
    memset(buffer, *(const uint8_t *)context, size);
    return 0;
}

/* To write the value takes most of the cache, and the key is needed behind it. */
static void
a_value_is_written_to_a_key_that_was_lent(void)
{
    const uint64_t sizes[] = {0, 100, LARGE, 6 << 20};
    kiln_db *db = begin(KILN_FULL);
    kiln_txn *txn;
    uint64_t count;

    REQUIRE_OK(cache_limit_set(SMALLEST));
    txn = engine_begin(db, KILN_WRITE);
    for (unsigned i = 0; i < 24; i++) {
        uint64_t size = sizes[i % 4], found;
        uint8_t byte = (uint8_t)(i + 1), name[8], key[8], end_byte = 0;
        kiln_slice got;
        size_t read;
        engine_key(i * 300, name);
        engine_key(meant_by(i * 300), key);
        OK(kiln_get(txn, names, name, 8, &got));
        OK(kiln_value_write(txn, coll, got.data, got.size, size, same_bytes, &byte));
        OK(kiln_value_size(txn, coll, key, 8, &found));
        CHECK_EQ(found, size);
        if (size == 0)
            continue;
        OK(kiln_value_read(txn, coll, key, 8, size - 1, &end_byte, 1, &read));
        CHECK(read == 1 && end_byte == byte);
    }
    OK(kiln_coll_count(txn, coll, &count));
    CHECK_EQ(count, NAMES);
    OK(kiln_txn_commit(txn));
    end(db);
}

static void
sizes_pieces_and_estimates_are_of_keys_that_were_lent(void)
{
    kiln_db *db = begin(KILN_FULL);
    struct ftk_random random = test_random();
    kiln_txn *txn;

    REQUIRE_OK(cache_limit_set(SMALLEST));
    txn = engine_begin(db, KILN_READ);
    for (unsigned n = 0; n < 4000; n++) {
        unsigned i = (unsigned)ftk_random_below(&random, NAMES), of = meant_by(i);
        uint8_t name[8], bytes[1000], piece[1000];
        kiln_slice got, open = {NULL, 0};
        uint64_t number, own;
        size_t read;
        engine_key(i, name);
        value_fill(of, bytes);
        OK(kiln_get(txn, names, name, 8, &got));
        OK(kiln_value_size(txn, coll, got.data, got.size, &number));
        CHECK_EQ(number, value_size(of));
        OK(kiln_get(txn, names, name, 8, &got));
        OK(kiln_value_read(txn, coll, got.data, got.size, 10, piece, sizeof piece, &read));
        CHECK(read == value_size(of) - 10 && memcmp(piece, bytes + 10, read) == 0);
        OK(kiln_get(txn, names, name, 8, &got));
        OK(kiln_range_estimate(txn, coll, open, got, &number));
        engine_key(of, name);
        OK(kiln_range_estimate(txn, coll, open, (kiln_slice){name, 8}, &own));
        CHECK_EQ(number, own);
    }
    kiln_txn_abort(txn);
    end(db);
}

/* In a window a get hands out a copy; to look whether a key is there must leave that alone. */
static void
a_large_value_is_put_to_a_key_that_a_window_lent(void)
{
    static uint8_t data[LARGE];
    kiln_db *db = begin(KILN_OS);
    kiln_txn *txn = engine_begin(db, KILN_WRITE);
    uint8_t name[8], key[8];
    kiln_slice got;

    own_leaves(txn, names, 0);
    own_leaves(txn, coll, 0);
    OK(kiln_txn_commit(txn)); /* younger than the checkpoint: changed where they are */
    txn = engine_begin(db, KILN_WRITE);
    engine_key(3, name);
    engine_key(9, key);
    OK(kiln_put(txn, names, name, 8, key, 8, KILN_PUT_REPLACE));
    OK(kiln_put(txn, coll, key, 8, "changed where it is", 19, KILN_PUT_REPLACE));
    OK(kiln_get(txn, names, name, 8, &got));
    OK(kiln_put(txn, coll, got.data, got.size, data, LARGE, KILN_PUT_UPDATE));
    OK(kiln_get(txn, coll, key, 8, &got));
    CHECK_EQ(got.size, LARGE);
    OK(kiln_txn_commit(txn));
    end(db);
}

/* ---- cursors, collections -------------------------------------------------------------------- */

/* From name to name: the cursor lends what it is then sent to. */
static void
a_cursor_goes_where_its_item_says(void)
{
    kiln_db *db = begin(KILN_FULL);

    REQUIRE_OK(cache_limit_set(SMALLEST));
    for (uint32_t kind = 0; kind < 2; kind++) {
        kiln_txn *txn = engine_begin(db, kind == 0 ? KILN_READ : KILN_WRITE);
        kiln_slice key = {NULL, 0}, value;
        kiln_cursor *cursor;
        uint8_t expected[8];
        unsigned at = 1;
        OK(kiln_cursor_open(txn, names, 0, &cursor));
        engine_key(at, expected);
        OK(kiln_cursor_seek(cursor, expected, 8));
        for (unsigned n = 0; n < 6000; n++) {
            OK(kiln_cursor_item(cursor, &key, &value));
            engine_key(at, expected);
            REQUIRE_MSG(key.size == 8 && memcmp(key.data, expected, 8) == 0, "step %u", n);
            switch (n % 5) {
            case 0: OK(kiln_cursor_seek(cursor, key.data, key.size)); continue;
            case 1: OK(kiln_cursor_seek_before(cursor, key.data, key.size)); continue;
            case 2: OK(kiln_cursor_seek_before(cursor, value.data, value.size)); break;
            case 3:
                OK(kiln_cursor_bounds(cursor, value, (kiln_slice){NULL, 0}));
                OK(kiln_cursor_first(cursor));
                OK(kiln_cursor_bounds(cursor, (kiln_slice){NULL, 0}, (kiln_slice){NULL, 0}));
                engine_key(meant_by(at), expected);
                OK(kiln_cursor_seek(cursor, expected, 8));
                break;
            default: OK(kiln_cursor_seek(cursor, value.data, value.size)); break;
            }
            at = meant_by(at);
        }
        kiln_cursor_close(cursor);
        kiln_txn_abort(txn);
    }
    end(db);
}

static void
a_collection_is_made_by_a_name_that_was_lent(void)
{
    kiln_db *db = begin(KILN_OS);
    kiln_txn *txn = engine_begin(db, KILN_WRITE);
    char name[40];
    kiln_slice got;
    kiln_coll made;

    for (unsigned i = 0; i < 300; i++) {
        snprintf(name, sizeof name, "made by a lent name, number %u", i);
        OK(kiln_put(txn, names, "name", 4, name, strlen(name) + 1, KILN_PUT_REPLACE));
        OK(kiln_get(txn, names, "name", 4, &got));
        OK(kiln_coll_open(txn, got.data, KILN_COLL_CREATE, &made));
        STATUS(kiln_coll_open(txn, name, KILN_COLL_CREATE | KILN_COLL_EXCLUSIVE, &made),
               KILN_EXISTS);
    }
    OK(kiln_txn_commit(txn));
    end(db);
}

TEST_MAIN("engine_lent_arguments", TEST(a_batch_turns_values_round_within_their_collection),
          TEST(a_batch_puts_lent_keys_with_lent_values), TEST(a_batch_exchanges_large_values),
          TEST(a_batch_puts_the_large_value_of_a_get_last),
          TEST(a_put_reads_the_large_value_of_a_get_to_its_end),
          TEST(a_batch_deletes_the_keys_that_its_collection_lent),
          TEST(a_batch_deletes_a_key_that_a_get_lent), TEST(a_batch_gets_a_key_that_was_lent),
          TEST(a_value_is_written_to_a_key_that_was_lent),
          TEST(sizes_pieces_and_estimates_are_of_keys_that_were_lent),
          TEST(a_large_value_is_put_to_a_key_that_a_window_lent),
          TEST(a_cursor_goes_where_its_item_says),
          TEST(a_collection_is_made_by_a_name_that_was_lent))
