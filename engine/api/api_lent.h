/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/api/api_lent.h -- arguments of a call that the transaction has lent (README, rule 4).
 *
 * They lie in pages that the call may change in place, copy, or let go before it has read them.
 */
#ifndef ENGINE_API_LENT_H
#define ENGINE_API_LENT_H

#include <string.h>

#include "engine/txn/txn_state.h"

static inline bool
api_is_lent(const kiln_txn *txn, const void *data)
{
    return (uint64_t)((uintptr_t)data - (uintptr_t)txn->fast->base) >> txn->fast->page_shift <
           txn->fast->pages_max;
}

/* The key, or its copy if it was lent; one that is too long is left for the call to refuse. */
static inline const void *
api_lent_key(const kiln_txn *txn, const void *key, size_t size, uint8_t copy[KILN_KEY_MAX])
{
    if (FTK_LIKELY(!api_is_lent(txn, key)) || size > KILN_KEY_MAX)
        return key;
    return memcpy(copy, key, size);
}

struct api_lent {
    const kiln_slice *keys, *values; /* of the call; after api_lent_copy to be used instead */
    void *memory;
};
/* Those of `count` keys and values that were lent are copied; keys or values may be NULL.  The
 * slices have been checked.  errors: FTK_NOMEM. */
ftk_status api_lent_copy(const kiln_txn *txn, struct api_lent *lent, size_t count);
/* Do any of them lie in lent pages? */
bool api_any_lent(const kiln_txn *txn, const struct api_lent *lent, size_t count);
void api_lent_free(struct api_lent *lent);

#endif
