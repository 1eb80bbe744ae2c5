/* SPDX-License-Identifier: Apache-2.0 */
/* engine/api/api_cursor.c -- kiln.h: cursors. */
#include <string.h>

#include "engine/api/api_lent.h"
#include "engine/db/coll.h"
#include "engine/tree/cursor.h"
#include "ftk/mem.h"

kiln_status
kiln_cursor_open(kiln_txn *txn, kiln_coll coll, uint32_t flags, kiln_cursor **cursor_out)
{
    struct tree *tree;
    ftk_status rc;

    *cursor_out = NULL;
    txn_unhold(txn);
    if (flags & ~(uint32_t)KILN_CURSOR_SCAN) {
        rc = FTK_FAIL(FTK_INVALID, "unknown flags 0x%x", flags);
        goto out;
    }
    FTK_TRY(txn_tree(txn, coll, &tree));
    rc = cursor_open_tree(txn, tree, flags, cursor_out);
    FTK_ASSERT((rc == FTK_OK) == (*cursor_out != NULL));
    FTK_ASSERT(rc != FTK_OK || ((*cursor_out)->txn == txn && (*cursor_out)->tree == tree));
out:
    return txn_answer(txn, rc);
}

void
kiln_cursor_close(kiln_cursor *cursor)
{
    cursor_close(cursor);
}

/* Before a move: a renewed transaction's cursor reads its tree again, an ended one's has none. */
static inline ftk_status
ready(kiln_cursor *cursor)
{
    return FTK_UNLIKELY(cursor->renewed) ? coll_cursor_ready(cursor) : FTK_OK;
}

static inline kiln_status
answer(kiln_cursor *cursor, ftk_status status)
{
    return FTK_UNLIKELY(cursor->txn == NULL) ? status : txn_answer(cursor->txn, status);
}

/* For calls that need no place in the tree. */
static ftk_status
alive(const kiln_cursor *cursor)
{
    if (FTK_LIKELY(cursor->txn != NULL))
        return FTK_OK;
    return FTK_ANSWER(FTK_STATE, "the cursor's transaction has ended");
}

kiln_status
kiln_cursor_first(kiln_cursor *cursor)
{
    ftk_status rc = ready(cursor);

    return answer(cursor, FTK_LIKELY(rc == FTK_OK) ? cursor_first(cursor) : rc);
}

kiln_status
kiln_cursor_last(kiln_cursor *cursor)
{
    ftk_status rc = ready(cursor);

    return answer(cursor, FTK_LIKELY(rc == FTK_OK) ? cursor_last(cursor) : rc);
}

kiln_status
kiln_cursor_next(kiln_cursor *cursor)
{
    ftk_status rc = ready(cursor);

    return answer(cursor, FTK_LIKELY(rc == FTK_OK) ? cursor_next(cursor) : rc);
}

kiln_status
kiln_cursor_prev(kiln_cursor *cursor)
{
    ftk_status rc = ready(cursor);

    return answer(cursor, FTK_LIKELY(rc == FTK_OK) ? cursor_prev(cursor) : rc);
}

static ftk_status
check_seek(kiln_cursor *cursor, const void *key, size_t size)
{
    if ((key == NULL && size > 0) || size > KILN_KEY_MAX)
        return FTK_FAIL(FTK_INVALID, "seek: a key of %zu bytes", size);
    return ready(cursor);
}

kiln_status
kiln_cursor_seek(kiln_cursor *cursor, const void *key, size_t key_size)
{
    uint8_t lent[KILN_KEY_MAX];
    ftk_status rc = check_seek(cursor, key, key_size);

    if (FTK_LIKELY(rc == FTK_OK)) {
        key = key_size > 0 ? api_lent_key(cursor->txn, key, key_size, lent) : "";
        rc = cursor_seek(cursor, key, key_size);
    }
    return answer(cursor, rc);
}

kiln_status
kiln_cursor_seek_before(kiln_cursor *cursor, const void *key, size_t key_size)
{
    uint8_t lent[KILN_KEY_MAX];
    ftk_status rc = check_seek(cursor, key, key_size);

    if (FTK_LIKELY(rc == FTK_OK)) {
        key = key_size > 0 ? api_lent_key(cursor->txn, key, key_size, lent) : "";
        rc = cursor_seek_before(cursor, key, key_size);
    }
    return answer(cursor, rc);
}

kiln_status
kiln_cursor_bounds(kiln_cursor *cursor, kiln_slice low, kiln_slice high)
{
    ftk_status rc = alive(cursor);

    return answer(cursor, rc != FTK_OK ? rc : cursor_bounds(cursor, low, high));
}

kiln_status
kiln_cursor_prefix(kiln_cursor *cursor, const void *prefix, size_t prefix_size)
{
    uint8_t high[KILN_KEY_MAX];
    size_t size = prefix_size;
    kiln_slice above = {NULL, 0};
    ftk_status rc = alive(cursor);

    if (rc != FTK_OK)
        return rc;
    if (prefix_size > KILN_KEY_MAX || (prefix == NULL && prefix_size > 0))
        return answer(cursor, FTK_FAIL(FTK_INVALID, "a prefix of %zu bytes", prefix_size));
    if (prefix_size > 0)
        memcpy(high, prefix, prefix_size);
    while (size > 0 && high[size - 1] == 0xff)
        size--; /* the first byte string behind all with this prefix */
    FTK_ASSERT(size <= prefix_size && (size == 0 || high[size - 1] < 0xff));
    if (size > 0) {
        high[size - 1]++;
        above = (kiln_slice){high, size};
    }
    return txn_answer(
        cursor->txn,
        cursor_bounds(cursor, (kiln_slice){prefix_size > 0 ? prefix : "", prefix_size}, above));
}

kiln_status
kiln_cursor_item(kiln_cursor *cursor, kiln_slice *key_out, kiln_slice *value_out)
{
    ftk_status rc = alive(cursor);

    if (FTK_LIKELY(rc == FTK_OK))
        return answer(cursor, cursor_item(cursor, key_out, value_out));
    if (key_out != NULL)
        *key_out = (kiln_slice){NULL, 0};
    if (value_out != NULL)
        *value_out = (kiln_slice){NULL, 0};
    return rc;
}

kiln_status
kiln_cursor_delete(kiln_cursor *cursor)
{
    kiln_slice key;
    ftk_status rc = alive(cursor);

    if (rc == FTK_OK)
        rc = txn_check_write(cursor->txn);
    if (rc == FTK_OK)
        rc = cursor_item(cursor, &key, NULL);
    FTK_ASSERT(rc != FTK_OK || (cursor->txn->write && key.size > 0));
    if (rc == FTK_OK)
        rc = kiln_delete(cursor->txn, cursor->tree->id, key.data, key.size);
    if (rc == FTK_OK)
        cursor->deleted = true;
    return answer(cursor, rc);
}
