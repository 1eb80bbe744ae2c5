/* SPDX-License-Identifier: Apache-2.0 */
/* engine/txn/txn_state.c -- what a transaction holds. */
#include "engine/txn/txn_state.h"

void
txn_unhold_slow(kiln_txn *txn)
{
    struct txn_writer *writer = &txn->writer;

    FTK_ASSERT(txn->write);
    if (writer->held_run)
        cache_unpin_run(txn->cache, writer->held_page, writer->held_count);
    else
        cache_unpin(txn->fast, writer->held_page);
    writer->held_page = 0;
    writer->held_run = false;
}

void
txn_lend_run_next(kiln_txn *txn)
{
    if (txn->write)
        txn_unhold(txn);
    else
        lent_run_next(&txn->reader.lent, txn->cache);
}

void
txn_lend_run(kiln_txn *txn, struct lent_run run)
{
    if (!txn->write) {
        lent_run(&txn->reader.lent, txn->cache, run);
        return;
    }
    FTK_ASSERT(txn->writer.held_page == 0);
    txn->writer.held_page = run.first;
    txn->writer.held_count = run.pages;
    txn->writer.held_run = true;
}

static_assert(LENT_LEAVES_MAX == KILN_LENT_MAX && LENT_RUNS_MAX == KILN_LENT_LARGE_MAX &&
                  LENT_RUN_BYTES_MAX == KILN_LENT_BYTES_MAX,
              "kiln.h tells what is lent");

ftk_status
txn_check_ended(const kiln_txn *txn)
{
    if (FTK_UNLIKELY(txn->refusal == TXN_DAMAGED))
        return FTK_FAIL(FTK_CORRUPT, "this transaction met a tree that contradicts itself (check "
                                     "says where): abort it");
    return FTK_OK;
}

ftk_status
txn_check_idle(const kiln_txn *txn)
{
    if (FTK_LIKELY(txn->refusal != TXN_BUSY))
        return FTK_OK;
    return FTK_FAIL(FTK_STATE, "a function that a call of this transaction calls cannot end it");
}

void
txn_damage(kiln_txn *txn)
{
    FTK_ASSERT(txn->write);
    txn->refusal = TXN_DAMAGED;
}

ftk_status
txn_check_write(kiln_txn *txn)
{
    FTK_DEBUG_ASSERT((txn_check(txn), true));
    if (FTK_UNLIKELY(!txn->write))
        return FTK_FAIL(FTK_READONLY, "a read transaction cannot change anything");
    if (FTK_UNLIKELY(txn->refusal == TXN_BUSY))
        return FTK_FAIL(FTK_STATE, "a function that a call of this transaction calls cannot change "
                                   "anything");
    return txn_check_ended(txn);
}
