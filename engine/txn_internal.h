/* engine/txn_internal.h -- shared by the txn_*.c files. */
#ifndef ENGINE_TXN_INTERNAL_H
#define ENGINE_TXN_INTERNAL_H

#include "engine/txn.h"

/* Free dead pages that no pinned snapshot reaches.  By the holder of the writer lock. */
void txn__reclaim(kiln_db *db);
/* Unposition the cursors of the transaction. */
void txn__cursors_reset(kiln_txn *txn);

#endif
