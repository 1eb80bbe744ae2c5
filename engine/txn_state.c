/* engine/txn_state.c -- what a transaction holds. */
#include "engine/txn_state.h"
#include "engine/txn_internal.h"

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
txn__is_ended(const kiln_txn *txn)
{
    return txn->ended ||
           atomic_load_explicit(&txn->in_place.failed, memory_order_relaxed) != FTK_OK;
}

ftk_status
txn_check_write(kiln_txn *txn)
{
    if (FTK_UNLIKELY(!txn->write))
        return FTK_FAIL(FTK_READONLY, "a read transaction cannot change anything");
    if (FTK_UNLIKELY(txn__is_ended(txn)))
        return FTK_FAIL(FTK_STATE, "an earlier error ended this transaction: abort it");
    return FTK_OK;
}

struct records_txn **
txn_records(kiln_txn *txn)
{
    return &txn->records;
}

void **
db_records(kiln_txn *txn)
{
    return &txn->db->records;
}

bool
txn_is_write(const kiln_txn *txn)
{
    return txn->write;
}
