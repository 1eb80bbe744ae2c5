/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/db/recovery_warm.c -- before a replay: leaves into the cache.
 *
 * A long log touches most leaves of a database it is large beside.  Then, if they fit the cache,
 * they are read first, in page order and many at a time: the device does 3 GB/s that way and a
 * tenth of it in the order of the log.
 */
#include <stdlib.h>

#include "engine/db/open.h"
#include "engine/db/txn.h"
#include "ftk/mem.h"

enum {
    WARM_LOG_SHARE = 4,     /* the log is at least this part of the database */
    WARM_IDS = 1024 * 1024, /* sorted at a time */
    WARM_CHILDREN = PAGE_BYTES_MAX / (PAGE_REF_BYTES + 2), /* of a page, at most */
};

struct warm {
    kiln_txn *txn;
    uint64_t *ids;
    size_t count, capacity;
    uint64_t *inner; /* children of one page */
};

static ftk_status
warm_flush(struct warm *warm)
{
    size_t count = warm->count;

    warm->count = 0;
    if (count > 1)
        qsort(warm->ids, count, sizeof(*warm->ids), ftk_u64_order);
    return cache_fetch_many(warm->txn->cache, warm->ids, count, 0);
}

static ftk_status
warm_children(struct warm *warm, struct page_ref ref, uint32_t level)
{
    kiln_txn *txn = warm->txn;
    uint64_t page_id = page_ref_id(ref);
    struct node node = tree_node(txn, page_id);
    ftk_status rc = cache_fetch(txn->cache, page_id, 0);
    uint32_t count;

    if (rc != FTK_OK)
        return rc;
    FTK_TRY(tree_check_page(txn, ref, level));
    count = node_count(node.page);
    FTK_ASSERT(level > 0 && count <= WARM_CHILDREN);
    if (level == 1) { /* leaves wait for more of them */
        if (warm->count + count > warm->capacity)
            FTK_TRY(warm_flush(warm));
        FTK_ASSERT(warm->count + count <= warm->capacity);
        for (uint32_t i = 0; i < count; i++)
            warm->ids[warm->count++] = page_ref_id(node_child(node.page, i));
        goto out;
    }
    for (uint32_t i = 0; i < count; i++)
        warm->inner[i] = page_ref_id(node_child(node.page, i));
    FTK_TRY(cache_fetch_many(txn->cache, warm->inner, count, 0));
    for (uint32_t i = 0; i < count; i++)
        FTK_TRY(warm_children(warm, node_child(node.page, i), level - 1));
out:
    cache_unpin(txn->fast, page_id);
    return rc;
}

static ftk_status
warm_tree(void *context, kiln_coll coll, const struct tree *tree, const uint8_t *name,
          size_t name_size)
{
    (void)coll;
    (void)name;
    (void)name_size;
    return tree->height < 2 ? FTK_OK : warm_children(context, tree->root, tree->height - 1u);
}

ftk_status
recovery_warm(kiln_db *db, uint64_t log_bytes)
{
    struct warm warm = {0};
    struct space_stats space;
    ftk_status rc;

    space_stats(db->space, &space);
    if (space.pages_live * db->page_bytes > cache_limit() / 2 ||
        log_bytes < space.pages_live * db->page_bytes / WARM_LOG_SHARE)
        return FTK_OK;
    warm.capacity = space.pages_live < WARM_IDS ? (size_t)space.pages_live : WARM_IDS;
    warm.capacity += WARM_CHILDREN;
    FTK_TRY(ftk_alloc(warm.capacity * sizeof(*warm.ids), (void **)&warm.ids));
    FTK_TRY(ftk_alloc(WARM_CHILDREN * sizeof(*warm.inner), (void **)&warm.inner));
    FTK_TRY(txn_begin(db, KILN_READ, KILN_DURABILITY_DEFAULT, 0, &warm.txn));
    FTK_TRY(coll_each(warm.txn, warm_tree, &warm));
    rc = warm_flush(&warm);
out:
    if (warm.txn != NULL)
        txn_abort(warm.txn);
    ftk_free(warm.ids);
    ftk_free(warm.inner);
    return rc;
}
