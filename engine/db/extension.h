/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/db/extension.h -- the door for what is built on collections: it hears what becomes of a
 * transaction, and keeps state of its own in transactions and in the database.
 *
 * An extension reads collections through kiln.h like any program, and changes its own through this
 * header, for a program that guesses their numbers may not; it sees no other part of the engine.
 * There is one, the records part: it defines db_extension_records.
 */
#ifndef ENGINE_EXTENSION_H
#define ENGINE_EXTENSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ftk/status.h"
#include "kiln.h"

struct extension_check_calls {
    void (*finding)(void *context, const char *text); /* each fault */
    ftk_status (*step)(void *context);                /* each record; an error ends the check */
    void *context;
};

/* The calls of a transaction are made only for one that has state, db_end only for a database that
 * has. */
struct db_extension {
    /* Apply what is gathered.  A status other than FTK_OK: nothing is committed. */
    ftk_status (*before_commit)(kiln_txn *txn);
    /* The same before a savepoint is set.  A status other than FTK_OK: no savepoint. */
    ftk_status (*savepoint)(kiln_txn *txn);
    /* After a rollback to a savepoint: forget what was gathered and read. */
    void (*rollback)(kiln_txn *txn);
    void (*txn_end)(kiln_txn *txn); /* free the state: after the commit, or at the abort */
    void (*db_end)(void *state);    /* the database closes */
    /* Is everything what it says?  errors: FTK_CORRUPT when there was a fault; others end it. */
    ftk_status (*check)(kiln_txn *read_txn, const struct extension_check_calls *calls);
    /* How many steps a check takes. */
    ftk_status (*count)(kiln_txn *read_txn, uint64_t *count_out);
};
extern const struct db_extension db_extension_records;

/* What an extension asks at the door of each of its calls. */
struct extension_txn {
    void **state;         /* its state in the transaction, NULL at first */
    uint64_t snapshot_id; /* changes when the transaction is renewed */
};
struct extension_txn extension_txn(kiln_txn *txn);
bool extension_txn_writes(const kiln_txn *txn);
/* Before a change is gathered.  errors: those of every change (txn_check_write). */
ftk_status extension_check_write(kiln_txn *txn);
bool extension_txn_scoped(const kiln_txn *txn); /* is a savepoint open? */
/* The number that a write transaction will have when it commits. */
uint64_t extension_txn_birth(const kiln_txn *txn);
/*
 * Its state in the database, NULL at first; shared by all threads: install it by
 * compare-and-swap.
 */
void **extension_db(kiln_txn *txn);
/* Has the cursor's transaction ended? */
bool extension_cursor_ended(const kiln_cursor *cursor);
/* A call of the extension begins: calls of kiln.h that fail until its answer are the extension's
 * own, and kiln_txn_error does not tell of them. */
void extension_enter(kiln_txn *txn);
/* Every call on a transaction returns through this: kiln_txn_error tells the words of one that
 * fails.  txn may be NULL. */
ftk_status extension_answer(kiln_txn *txn, ftk_status status);

/* Options of a program, of an earlier or a later header: as struct_options_read. */
ftk_status extension_options_read(const void *options, const char *name, void *known,
                                  size_t known_size);

/* Make a change of several calls: when one fails, none was made (txn_statement).  The extension's
 * state is its own: what it has learnt inside is wrong then. */
ftk_status extension_statement(kiln_txn *txn, ftk_status (*change)(kiln_txn *txn, void *context),
                               void *context);

enum { COLL_KEYS_ONLY = 1 << 8, COLL_U64_KEYS = 1 << 9 }; /* beside KILN_COLL_CREATE, _EXCLUSIVE */
/* As kiln_coll_open, for any name. */
ftk_status coll_open_internal(kiln_txn *txn, const void *name, size_t name_size, uint32_t flags,
                              kiln_coll *coll_out);
/* As the calls of kiln.h, for a collection that is the extension's own (engine/api/api_coll.c). */
kiln_status extension_put(kiln_txn *txn, kiln_coll coll, kiln_slice key, kiln_slice value,
                          uint32_t flags);
kiln_status extension_delete(kiln_txn *txn, kiln_coll coll, kiln_slice key);
struct extension_batch {
    const kiln_slice *keys, *values;
    size_t count;
    uint32_t flags; /* KILN_PUT_* */
    size_t done;    /* out: so many of them in ascending order, also when the call fails */
};
kiln_status extension_put_many(kiln_txn *txn, kiln_coll coll, struct extension_batch *batch);
kiln_status extension_delete_many(kiln_txn *txn, kiln_coll coll, const kiln_slice *keys,
                                  size_t count);
kiln_status extension_coll_drop(kiln_txn *txn, kiln_coll coll);

#endif
