/* SPDX-License-Identifier: Apache-2.0 */
/* engine/api/api_txn.c -- kiln.h: transactions and savepoints. */
#include <string.h>

#include "engine/db/txn.h"

static kiln_status
begin(kiln_db *db, uint32_t kind, kiln_durability durability, uint32_t timeout_ms,
      kiln_txn **txn_out)
{
    ftk_status rc = txn_begin(db, kind, durability, timeout_ms, txn_out);

    FTK_ASSERT((rc == FTK_OK) == (*txn_out != NULL));
    FTK_ASSERT(rc != FTK_OK || (*txn_out)->write == (kind == KILN_WRITE));
    return db_answer(db, rc);
}

kiln_status
kiln_txn_begin(kiln_db *db, uint32_t kind, kiln_txn **txn_out)
{
    *txn_out = NULL;
    return begin(db, kind, KILN_DURABILITY_DEFAULT, UINT32_MAX, txn_out);
}

kiln_status
kiln_txn_begin_with(kiln_db *db, const kiln_txn_options *options, kiln_txn **txn_out)
{
    kiln_txn_options o = KILN_TXN_OPTIONS_INIT;
    ftk_status rc;

    *txn_out = NULL;
    if (options == NULL)
        return db_answer(db, FTK_FAIL(FTK_INVALID, "options is NULL"));
    rc = struct_options_read(options, "kiln_txn_options", &o, sizeof(o));
    if (rc != FTK_OK)
        return db_answer(db, rc);
    if (o.durability > KILN_LAZY)
        return db_answer(db, FTK_FAIL(FTK_INVALID, "durability %d", (int)o.durability));
    return begin(db, o.kind, o.durability, o.timeout_ms, txn_out);
}

kiln_status
kiln_txn_commit(kiln_txn *txn)
{
    return txn_commit(txn);
}

void
kiln_txn_abort(kiln_txn *txn)
{
    if (txn != NULL)
        txn_abort(txn);
}

kiln_status
kiln_txn_renew(kiln_txn *txn)
{
    return txn_answer(txn, txn_renew(txn));
}

uint64_t
kiln_txn_id(const kiln_txn *txn)
{
    FTK_ASSERT(!txn->write || txn->writer.birth > txn->snapshot.id); /* it grows with commits */
    return txn->write ? txn->writer.birth : txn->snapshot.id;
}

/* A builder's open pages are known to itself alone. */
static ftk_status
no_builders(const kiln_txn *txn)
{
    if (FTK_UNLIKELY(txn->writer.bulks != NULL))
        return FTK_FAIL(FTK_STATE, "a bulk builder is at work: end or abort it first");
    return FTK_OK;
}

kiln_status
kiln_savepoint(kiln_txn *txn)
{
    ftk_status rc = no_builders(txn);

    return txn_answer(txn, rc != FTK_OK ? rc : txn_savepoint(txn));
}

kiln_status
kiln_savepoint_release(kiln_txn *txn)
{
    ftk_status rc = no_builders(txn);

    return txn_answer(txn, rc != FTK_OK ? rc : txn_savepoint_release(txn));
}

kiln_status
kiln_savepoint_rollback(kiln_txn *txn)
{
    ftk_status rc = no_builders(txn);

    return txn_answer(txn, rc != FTK_OK ? rc : txn_savepoint_rollback(txn));
}

kiln_status
kiln_txn_set_applied(kiln_txn *txn, uint64_t index)
{
    ftk_status rc = txn_check_write(txn);

    if (rc == FTK_OK && txn->db->log != NULL)
        rc = FTK_FAIL(FTK_STATE, "the database keeps its own log");
    if (rc == FTK_OK && index < txn->snapshot.applied)
        rc = FTK_FAIL(FTK_INVALID, "applied index would go down");
    if (rc == FTK_OK)
        txn->snapshot.applied = index;
    return txn_answer(txn, rc);
}

kiln_status
kiln_txn_applied(kiln_txn *txn, uint64_t *index_out)
{
    *index_out = txn->snapshot.applied;
    return KILN_OK;
}
