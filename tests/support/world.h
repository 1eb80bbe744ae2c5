/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/support/world.h -- a database and a model of it, worked on at random.
 *
 * The keys of a world are a fixed, sorted universe, so that a model's state is one array: for each
 * collection and key the value's seed and size.  Values are made from their seeds.  Every committed
 * transaction writes its number under one more key, so that a recovered database says which state
 * it claims to be.
 *
 *     world_init(&world, &options);  world.disk = simdisk_new(...);
 *     world_open(&world, KILN_CREATE);
 *     world_step(&world, weights) ...          a transaction, a checkpoint, a reader, a reopening
 *     world_verify(&world, &world.now);        everything, both ways, and kiln_check
 *     world_close(&world);  world_release(&world);
 *
 * Everything is a function of options.seed.  A deviation from the model ends the case.
 */
#ifndef TESTS_SUPPORT_WORLD_H
#define TESTS_SUPPORT_WORLD_H

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

enum { WORLD_COLLS = 3, WORLD_READERS = 3, WORLD_SAVEPOINTS = 4, WORLD_HISTORY = 48 };

enum world_keys {
    WORLD_KEYS_SHORT,  /* numbers of 4 and 8 bytes */
    WORLD_KEYS_WORDS,  /* texts with shared prefixes of all lengths */
    WORLD_KEYS_LONG,   /* up to 1,024 bytes, prefixes of hundreds */
    WORLD_KEYS_BINARY, /* 0x00 and 0xff, one being the prefix of the next */
    WORLD_KEYS_SHAPES
};

struct world_options {
    uint64_t seed;
    uint32_t page_bytes; /* 0: default */
    uint32_t keys;       /* in the universe of each collection */
    enum world_keys shape;
    uint32_t value_max;    /* small values */
    uint32_t large_max;    /* large ones, 0: none */
    uint32_t large_one_in; /* puts */
    uint32_t ops_max;      /* of a transaction */
    uint32_t rfl_segment_bytes;
    uint64_t dirty_bytes_max;
    bool external_log; /* nothing is promised between checkpoints; applied: the commit's number */
    bool real_disk;    /* path on the operating system's disk, with threads */
    const char *path;  /* NULL: "/db" */
};

struct world_value {
    uint32_t seed;
    uint32_t size_plus_1; /* 0: absent */
};

struct world_state {
    uint64_t commit; /* number of the last committed transaction */
    bool exists[WORLD_COLLS];
    struct world_value values[]; /* WORLD_COLLS * keys */
};

struct world_key {
    uint16_t size;
    uint8_t *bytes;
};

struct world_reader {
    kiln_txn *txn;
    struct world_state *state;
};

struct world {
    struct world_options options;
    struct ftk_random random;
    struct simdisk *disk;
    kiln_db *db;
    struct world_key *keys; /* shared by copies of the world */
    bool keys_borrowed;
    struct world_state *now;  /* committed */
    struct world_state *work; /* of the open transaction */
    struct world_state *saved[WORLD_SAVEPOINTS];
    unsigned saved_count;
    kiln_txn *txn;
    kiln_bulk *bulk; /* a builder that could not be aborted before its transaction */
    kiln_coll colls[WORLD_COLLS];
    struct world_reader readers[WORLD_READERS];
    uint8_t *buffer, *buffer2; /* large_max + value_max + 1 each */

    /* for crashes: states by number, number % WORLD_HISTORY */
    struct world_state *history[WORLD_HISTORY];
    uint64_t floor_full; /* at least this commit survives a power cut */
    uint64_t floor_os;   /* ... the end of the process */
    bool committing;     /* history has work under number now->commit + 1 */
    bool lenient;        /* errors of the database are expected: they end the transaction */
    ftk_status error;    /* the last of them */
    bool os_is_full;     /* a canary: KILN_OS is taken for KILN_FULL */
    bool maybe;          /* ... and it left open whether the transaction was committed */
    uint64_t commits, aborts, checkpoints, reopens, gets;
};

void world_init(struct world *world, const struct world_options *options);
void world_release(struct world *world);
/* Another world in the same state on another disk, without transactions. */
void world_copy(struct world *to, const struct world *from, struct simdisk *disk, uint64_t seed);

size_t world_state_bytes(const struct world *world);
struct world_state *world_state_copy(const struct world *world, const struct world_state *state);

ftk_status world_try_open(struct world *world, uint32_t flags);
void world_open(struct world *world, uint32_t flags);
void world_close(struct world *world);   /* readers first */
void world_abandon(struct world *world); /* as a crash would */

/* The newest state of the database is `state`: all items, cursors both ways, counts; kiln_check. */
void world_verify(struct world *world, const struct world_state *state, const char *how);
void world_check(struct world *world, const char *how);
/* The state the database is in must be one of the history from `floor` to the newest; it becomes
 * the world's.  Errors of reading its number are returned. */
ftk_status world_adopt(struct world *world, uint64_t floor, const char *how);

/* One random step. */
void world_step(struct world *world);
void world_transaction(struct world *world);
void world_checkpoint(struct world *world);

/* Expected bytes of a value. */
void world_fill(uint8_t *to, uint32_t size, uint32_t seed);
struct world_value *world_value(const struct world *world, struct world_state *state, unsigned coll,
                                uint32_t key);
/* True when status is FTK_OK; otherwise a deviation, or with `lenient` noted. */
bool world_ok(struct world *world, ftk_status status, const char *what);
/* The named collections' numbers as txn sees them; 0: absent. */
bool world_colls(struct world *world, kiln_txn *txn, kiln_coll colls[WORLD_COLLS]);
/* Compare the value at hand with what the model has; false: an error that was expected. */
bool world_compare_value(struct world *world, kiln_txn *txn, kiln_coll coll, uint32_t key,
                         const struct world_value *value, const char *how);

#endif
