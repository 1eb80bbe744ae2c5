/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/engine_testing.h -- what the tests of the engine share. */
#ifndef TESTS_UNIT_ENGINE_TESTING_H
#define TESTS_UNIT_ENGINE_TESTING_H

#include <stdio.h>
#include <string.h>

#include "engine/db/open.h"
#include "engine/db/txn.h"
#include "kiln.h"
#include "tests/support/simdisk.h"
#include "tests/support/test.h"

/* kiln_status of the public functions in the checks of test.h. */
#ifndef OK
#define OK(call) REQUIRE_OK((ftk_status)(call))
#define STATUS(call, status) CHECK_STATUS((ftk_status)(call), (ftk_status)(status))
#endif

static inline kiln_options
engine_options(uint32_t flags)
{
    kiln_options options = KILN_OPTIONS_INIT;

    options.flags = flags;
    options.rfl_segment_bytes = 2u << 20;
    options.io_depth = 8;
    return options;
}

/* Without threads, on a simulated disk. */
static inline ftk_status
engine_try_open(struct simdisk *disk, const kiln_options *options, kiln_db **db_out)
{
    struct db_environment environment = {.disk = simdisk_disk(disk), .manual = true};

    return db_open("/db", options, &environment, db_out);
}

static inline kiln_db *
engine_open(struct simdisk *disk, uint32_t flags)
{
    kiln_options options = engine_options(flags);
    kiln_db *db = NULL;

    REQUIRE_OK(engine_try_open(disk, &options, &db));
    return db;
}

static inline kiln_txn *
engine_begin(kiln_db *db, uint32_t kind)
{
    kiln_txn *txn = NULL;

    OK(kiln_txn_begin(db, kind, &txn));
    return txn;
}

static inline kiln_coll
engine_coll(kiln_txn *txn, const char *name)
{
    kiln_coll coll = 0;

    OK(kiln_coll_open(txn, name, txn == NULL ? 0 : KILN_COLL_CREATE, &coll));
    return coll;
}

static inline kiln_status
engine_put(kiln_txn *txn, kiln_coll coll, const char *key, const char *value)
{
    return kiln_put(txn, coll, key, strlen(key), value, strlen(value), KILN_PUT_REPLACE);
}

/* The value of a text key is this text; NULL: there is no such key. */
#define CHECK_VALUE(txn, coll, key, value)                                                         \
    test_check(engine_value_is((txn), (coll), (key), (value)), #key " has " #value, __FILE__,      \
               __LINE__, false)
static inline bool
engine_value_is(kiln_txn *txn, kiln_coll coll, const char *key, const char *value)
{
    kiln_slice got;
    kiln_status rc = kiln_get(txn, coll, key, strlen(key), &got);

    if (value == NULL)
        return rc == KILN_NOTFOUND;
    return rc == KILN_OK && got.size == strlen(value) && memcmp(got.data, value, got.size) == 0;
}

/* The i-th key of a series: 8 bytes, big-endian. */
static inline void
engine_key(uint64_t i, uint8_t key[8])
{
    ftk_put_be64(key, i);
}

/* Put keys [from, to) of a series with values of so many bytes, each holding i. */
static inline kiln_status
engine_series(kiln_txn *txn, kiln_coll coll, uint64_t from, uint64_t to, uint32_t size)
{
    uint8_t key[8], value[1024] = {0};
    kiln_status rc = KILN_OK;

    for (uint64_t i = from; i < to && rc == KILN_OK; i++) {
        engine_key(i, key);
        ftk_put_be64(value, i);
        rc = kiln_put(txn, coll, key, sizeof key, value, size, KILN_PUT_REPLACE);
    }
    return rc;
}

static inline void
engine_finding(void *context, const char *text)
{
    (void)context;
    CHECK_MSG(false, "kiln_check: %s", text);
}

static inline void
engine_check(kiln_db *db)
{
    kiln_check_options options = KILN_CHECK_OPTIONS_INIT;

    options.finding = engine_finding;
    OK(kiln_check(db, &options));
    const char *fault = space_check(db->space);
    CHECK_MSG(fault == NULL, "space map: %s", fault);
}

/* Check, close, open anew. */
static inline kiln_db *
engine_reopen(struct simdisk *disk, kiln_db *db)
{
    engine_check(db);
    OK(kiln_close(db));
    return engine_open(disk, 0);
}

static inline void
engine_end(struct simdisk *disk, kiln_db *db)
{
    engine_check(db);
    OK(kiln_close(db));
    simdisk_free(disk);
}

#endif
