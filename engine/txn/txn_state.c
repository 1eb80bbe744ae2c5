/* SPDX-License-Identifier: Apache-2.0 */
/* engine/txn/txn_state.c -- what a transaction holds. */
#include "engine/txn/txn_state.h"

void
txn_unhold_slow(kiln_txn *txn)
{
    if (txn->held_run)
        cache_unpin_run(txn->cache, txn->held_page, txn->held_count);
    else
        cache_unpin(txn->fast, txn->held_page);
    txn->held_page = 0;
    txn->held_run = false;
}

bool
txn_is_ended(const kiln_txn *txn)
{
    return txn->writer.refusal == WRITER_DAMAGED ||
           (txn->window != NULL && window_state(txn->window) == WINDOW_LOST);
}

ftk_status
txn_check_ended(const kiln_txn *txn)
{
    if (FTK_LIKELY(!txn_is_ended(txn)))
        return FTK_OK;
    if (txn->writer.refusal == WRITER_DAMAGED)
        return FTK_FAIL(FTK_CORRUPT, "this transaction met a tree that contradicts itself (check "
                                     "says where): abort it");
    return FTK_FAIL(FTK_STATE, "an earlier error ended this transaction: abort it");
}

void
txn_damage(kiln_txn *txn)
{
    FTK_ASSERT(txn->write);
    txn->writer.refusal = WRITER_DAMAGED;
}

ftk_status
txn_check_write(kiln_txn *txn)
{
    FTK_DEBUG_ASSERT((txn_check(txn), true));
    if (FTK_UNLIKELY(!txn->write))
        return FTK_FAIL(FTK_READONLY, "a read transaction cannot change anything");
    if (FTK_UNLIKELY(txn->writer.refusal == WRITER_BUSY))
        return FTK_FAIL(FTK_STATE, "a function that delivers a value cannot change anything");
    return txn_check_ended(txn);
}
