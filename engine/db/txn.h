/* SPDX-License-Identifier: Apache-2.0 */
/* engine/db/txn.h -- begin, commit, abort, savepoints. */
#ifndef ENGINE_TXN_H
#define ENGINE_TXN_H

#include "engine/db/coll.h"

/* ---- engine/db/txn.c ---- */

ftk_status txn_begin(kiln_db *db, uint32_t kind, kiln_durability durability, uint32_t timeout_ms,
                     kiln_txn **txn_out);
/* The error is noted (db_answer): when it returns the database may be closed. */
ftk_status txn_commit(kiln_txn *txn);
void txn_abort(kiln_txn *txn);
/* recovery: a write transaction that is not logged; commit gives it id and LSN. */
ftk_status txn_begin_replay(kiln_db *db, kiln_txn **txn_out);
ftk_status txn_commit_replay(kiln_txn *txn, uint64_t id, uint64_t lsn);
void txn_free(kiln_txn *txn); /* an idle object: for good */
ftk_status txn_renew(kiln_txn *txn);

/* ---- engine/db/savepoint.c ---- */

ftk_status txn_savepoint(kiln_txn *txn);
ftk_status txn_savepoint_release(kiln_txn *txn);
ftk_status txn_savepoint_rollback(kiln_txn *txn);
/*
 * Make a change of several steps: all of it, or, when one fails, nothing, and the transaction goes
 * on.  The trees that it changes are found inside of it (txn_tree).
 * errors: those of the change; FTK_NOMEM, FTK_NOSPACE, FTK_IO before it.
 */
ftk_status txn_statement(kiln_txn *txn, ftk_status (*change)(kiln_txn *txn, void *context),
                         void *context);

#endif
