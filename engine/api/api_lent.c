/* SPDX-License-Identifier: Apache-2.0 */
/* engine/api/api_lent.c -- arguments of a call that the transaction has lent. */
#include "engine/api/api_lent.h"

#include "ftk/mem.h"

/* How many of the slices were lent; their bytes are added. */
static size_t
count_lent(const kiln_txn *txn, const kiln_slice *slices, size_t count, size_t *bytes)
{
    size_t n = 0;

    for (size_t i = 0; slices != NULL && i < count; i++) {
        if (FTK_LIKELY(!api_is_lent(txn, slices[i].data)))
            continue;
        *bytes += slices[i].size;
        n++;
    }
    return n;
}

/* Slices of the same bytes, those that were lent moved to *memory, which goes on behind them. */
static const kiln_slice *
copy_lent(const kiln_txn *txn, const kiln_slice *slices, size_t count, kiln_slice *copies,
          uint8_t **memory)
{
    for (size_t i = 0; i < count; i++) {
        copies[i] = slices[i];
        if (!api_is_lent(txn, slices[i].data))
            continue;
        copies[i].data = memcpy(*memory, slices[i].data, slices[i].size);
        *memory += slices[i].size;
    }
    return copies;
}

ftk_status
api_lent_copy(const kiln_txn *txn, struct api_lent *lent, size_t count)
{
    size_t bytes = 0;
    size_t keys = count_lent(txn, lent->keys, count, &bytes);
    size_t values = count_lent(txn, lent->values, count, &bytes);
    kiln_slice *slices;
    uint8_t *memory;
    ftk_status rc;

    if (FTK_LIKELY(keys == 0 && values == 0))
        return FTK_OK;
    FTK_ASSERT(lent->memory == NULL);
    FTK_ASSERT(count <= (SIZE_MAX - bytes) / (2 * sizeof(*slices)));
    rc = ftk_alloc(2 * count * sizeof(*slices) + bytes, &lent->memory);
    if (rc != FTK_OK)
        return rc;
    slices = lent->memory;
    memory = (uint8_t *)(slices + 2 * count);
    if (keys > 0)
        lent->keys = copy_lent(txn, lent->keys, count, slices, &memory);
    if (values > 0)
        lent->values = copy_lent(txn, lent->values, count, slices + count, &memory);
    FTK_ASSERT(memory == (uint8_t *)(slices + 2 * count) + bytes);
    return FTK_OK;
}

bool
api_any_lent(const kiln_txn *txn, const struct api_lent *lent, size_t count)
{
    size_t bytes = 0;

    return count_lent(txn, lent->keys, count, &bytes) +
               count_lent(txn, lent->values, count, &bytes) >
           0;
}

void
api_lent_free(struct api_lent *lent)
{
    ftk_free(lent->memory);
    lent->memory = NULL;
}
