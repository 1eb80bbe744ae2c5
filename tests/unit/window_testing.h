/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/window_testing.h -- a database in which windows are opened on purpose. */
#ifndef TESTS_UNIT_WINDOW_TESTING_H
#define TESTS_UNIT_WINDOW_TESTING_H

#include "tests/unit/engine_testing.h"

enum {
    KEYS = 24000,
    VALUE = 150,
    MIB = 1 << 20,
    OLD = 'o',
    NEW = 'N',
};

struct place {
    struct simdisk *disk;
    kiln_db *db;
    kiln_coll coll;
};

/* Keys in no order of their numbers. */
static inline void
scattered_key(uint64_t i, uint8_t key[8])
{
    ftk_put_be64(key, i * UINT64_C(0x9e3779b97f4a7c15));
}

static inline kiln_status
put_values(kiln_txn *txn, kiln_coll coll, uint64_t from, uint64_t to, int value)
{
    uint8_t key[8], data[VALUE];
    kiln_status rc = KILN_OK;

    memset(data, value, sizeof data);
    for (uint64_t i = from; i < to && rc == KILN_OK; i++) {
        scattered_key(i, key);
        rc = kiln_put(txn, coll, key, sizeof key, data, sizeof data, KILN_PUT_REPLACE);
    }
    return rc;
}

/* Nothing but a call begins a checkpoint. */
static inline kiln_options
place_options(uint32_t flags)
{
    kiln_options options = engine_options(flags);

    options.durability = KILN_LAZY;
    options.checkpoint_ms = UINT32_MAX;
    options.cache_bytes = 64 * MIB;
    options.dirty_bytes_max = 60 * MIB;
    options.rfl_bytes_max = UINT64_C(1) << 40;
    return options;
}

static inline struct place
place_new(void)
{
    struct place place = {.disk = simdisk_new(NULL)};
    kiln_options options = place_options(KILN_CREATE);
    kiln_txn *txn;

    REQUIRE_OK(engine_try_open(place.disk, &options, &place.db));
    txn = engine_begin(place.db, KILN_WRITE);
    place.coll = engine_coll(txn, "c");
    OK(put_values(txn, place.coll, 0, KEYS, OLD));
    OK(kiln_txn_commit(txn));
    return place;
}

/* All keys, and nothing beside them, have this value. */
static inline void
expect_keys(struct place *place, int value)
{
    kiln_txn *txn = engine_begin(place->db, KILN_READ);
    uint64_t count = 0;
    uint8_t key[8];
    kiln_slice got;

    for (uint64_t i = 0; i < KEYS; i++) {
        scattered_key(i, key);
        OK(kiln_get(txn, place->coll, key, sizeof key, &got));
        REQUIRE_MSG(got.size == VALUE && *(const uint8_t *)got.data == value,
                    "key %llu: %zu bytes of %c, wanted %c", (unsigned long long)i, got.size,
                    *(const uint8_t *)got.data, value);
    }
    OK(kiln_coll_count(txn, place->coll, &count));
    CHECK_EQ(count, KEYS);
    kiln_txn_abort(txn);
}

/* And all pages are what they should be. */
static inline void
expect_values(struct place *place, int value)
{
    expect_keys(place, value);
    OK(kiln_check(place->db, NULL));
}

static inline void
place_free(struct place *place)
{
    OK(kiln_close(place->db));
    simdisk_free(place->disk);
    REQUIRE_OK(cache_limit_set(256 * MIB));
}

/* A write transaction that has so many keys changed in place. */
static inline kiln_txn *
windowed(struct place *place, uint64_t keys)
{
    kiln_txn *txn = engine_begin(place->db, KILN_WRITE);

    OK(put_values(txn, place->coll, 0, keys, NEW));
    REQUIRE(window_state(&place->db->window) == WINDOW_OPEN);
    return txn;
}

enum change { REPLACES, BATCHES, DELETES, INSERTS, RUNS, CHANGES };

/* Many more changes of one kind, of keys that are not among the first. */
static inline void
change_many(struct place *place, kiln_txn *txn, enum change change)
{
    enum { FIRST = KEYS / 8, COUNT = KEYS / 2 };
    static uint8_t keys[COUNT][8], data[VALUE], large[300000];
    static kiln_slice key_slices[COUNT], value_slices[COUNT];

    memset(data, NEW, sizeof data);
    for (uint64_t i = 0; i < COUNT; i++) {
        scattered_key(FIRST + i, keys[i]);
        key_slices[i] = (kiln_slice){keys[i], 8};
        value_slices[i] = (kiln_slice){data, sizeof data};
    }
    switch (change) {
    case REPLACES: OK(put_values(txn, place->coll, FIRST, FIRST + COUNT, NEW)); break;
    case BATCHES:
        for (uint64_t i = 0; i < COUNT; i += COUNT / 8)
            OK(kiln_put_many(txn, place->coll, key_slices + i, value_slices + i, COUNT / 8,
                             KILN_PUT_REPLACE, NULL));
        break;
    case DELETES:
        for (uint64_t i = 0; i < COUNT; i++)
            OK(kiln_delete(txn, place->coll, keys[i], 8));
        break;
    case INSERTS: OK(put_values(txn, place->coll, KEYS, 2 * KEYS, NEW)); break;
    default:
        for (unsigned i = 0; i < 40; i++)
            OK(kiln_put(txn, place->coll, &i, sizeof i, large, sizeof large, KILN_PUT_REPLACE));
    }
}

static inline bool
value_is(kiln_txn *txn, kiln_coll coll, uint64_t i, int value)
{
    uint8_t key[8];
    kiln_slice got;

    scattered_key(i, key);
    return kiln_get(txn, coll, key, sizeof key, &got) == KILN_OK && got.size == VALUE &&
           *(const uint8_t *)got.data == value;
}

static inline uint64_t
by_get(struct place *place, kiln_txn *reader)
{
    uint64_t old = 0;

    for (uint64_t i = 0; i < KEYS; i++)
        old += value_is(reader, place->coll, i, OLD);
    return old;
}

static inline int
count_old(void *context, size_t index, kiln_slice value)
{
    (void)index;
    *(uint64_t *)context += value.size == VALUE && *(const uint8_t *)value.data == OLD;
    return 0;
}

#endif
