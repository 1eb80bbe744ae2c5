/* SPDX-License-Identifier: Apache-2.0 */
/* engine/db/stat.c -- statistics: of the database, and the shape of one tree. */
#include <string.h>

#include "engine/db/txn.h"
#include "ftk/mem.h"

static void
stat_io(kiln_db *db, kiln_stat *stat)
{
    struct ftk_iobufs_stats io;

    ftk_iobufs_stats(db->bufs, &io);
    stat->io_reads = io.reads;
    stat->io_read_bytes = io.read_bytes;
    stat->io_writes = io.writes;
    stat->io_write_bytes = io.write_bytes;
    stat->io_busy_ns = io.busy_ns;
    stat->io_out_of_order = io.out_of_order;
    stat->io_waits = io.waits;
    stat->io_wait_ns = io.wait_ns;
    stat->io_wait_max_ns = io.wait_ns_max;
    stat->io_pending = io.pending;
    stat->io_pending_max = io.pending_max;
    for (size_t i = 0; i < 16; i++)
        stat->io_depth[i] = io.depth[i];
}

static void
stat_cache(kiln_db *db, kiln_stat *stat)
{
    struct cache_stats cache;
    struct checkpointer_stats check;

    cache_stats(db->cache, &cache);
    stat->cache_limit_bytes = cache.limit_bytes;
    stat->cache_used_bytes = cache.used_bytes;
    stat->cache_process_bytes = cache.process_bytes;
    stat->cache_dirty_bytes = cache.dirty_bytes;
    stat->cache_misses = cache.misses;
    stat->cache_evictions = cache.evictions;
    checkpointer_stats(db->checkpointer, &check);
    stat->checkpoints = check.checkpoints;
    stat->checkpoint_bytes = check.bytes;
    stat->checkpoint_ns = check.write_ns;
    stat->checkpoint_last_bytes = check.last_bytes;
    stat->checkpoint_last_ns = check.last_write_ns;
    stat->checkpoint_last_total_ns = check.last_total_ns;
    stat->checkpoint_state = (uint32_t)check.state;
    stat->checkpoint_left_bytes = check.left_bytes;
    stat->throttle_ns = check.throttle_ns;
}

static void
stat_log(kiln_db *db, kiln_stat *stat)
{
    struct rfl_stats log;
    uint64_t durable_lsn =
        atomic_load(&db->durable_lsn); /* first: a checkpoint may end meanwhile */

    if (db->log == NULL)
        return;
    rfl_stats(db->log, &log);
    FTK_ASSERT(log.lsn_end >= durable_lsn);
    stat->rfl_appends = log.appends;
    stat->rfl_bytes = log.append_bytes;
    stat->rfl_flushes = log.flushes;
    stat->rfl_flush_bytes = log.flush_bytes;
    stat->rfl_syncs = log.syncs;
    stat->rfl_sync_ns = log.sync_ns;
    stat->rfl_disk_bytes = log.bytes_on_disk;
    stat->rfl_since_checkpoint_bytes = log.lsn_end - durable_lsn;
}

static void
stat_txns(kiln_db *db, kiln_stat *stat)
{
    for (struct cache_slot *slot = NULL; (slot = cache_slot_next(db->cache, slot)) != NULL;) {
        uint64_t id = atomic_load(&slot->snapshot);
        if (id == 0)
            continue;
        stat->readers++;
        if (stat->oldest_reader_txn_id == 0 || id < stat->oldest_reader_txn_id)
            stat->oldest_reader_txn_id = id;
    }
    stat->commits = atomic_load(&db->commits);
    stat->aborts = atomic_load(&db->aborts);
    stat->in_place_changes = atomic_load(&db->window.changes);
    stat->in_place_returns = atomic_load(&db->window.returns);
    stat->txn_id = db_published_id(db);
    stat->recovered_txns = db->recovered_txns;
    stat->recovered_ops = db->recovered_ops;
    stat->recovery_ns = db->recovery_ns;
}

kiln_status
kiln_stat_get(kiln_db *db, kiln_stat *stat_inout)
{
    size_t size = stat_inout->size;
    kiln_stat stat = {.size = sizeof(stat)};
    struct space_stats space;

    if (!struct_size_is_set(size))
        return db_answer(db, FTK_FAIL(FTK_INVALID, "kiln_stat.size is not set"));
    stat.page_bytes = db->page_bytes;
    space_stats(db->space, &space);
    stat.file_bytes = space.pages_file * db->page_bytes;
    stat.file_pages_free = space.pages_avail;
    if (space.pages_file > space.pages_end) /* the file grows ahead of its pages */
        stat.file_pages_free += space.pages_file - space.pages_end;
    stat.pages_pending = space.pages_pending;
    stat_cache(db, &stat);
    stat_io(db, &stat);
    stat_log(db, &stat);
    stat_txns(db, &stat);
    stat.heap_bytes = ftk_mem_bytes();
    stat.size = size < sizeof(stat) ? size : sizeof(stat);
    memcpy(stat_inout, &stat, stat.size);
    stat_inout->size = size;
    return KILN_OK;
}

/* ---- one tree -------------------------------------------------------------------------------- */

struct shape {
    kiln_txn *txn;
    kiln_coll_stat *stat;
};

static ftk_status
shape_run(void *context, const struct value_run *run)
{
    struct shape *shape = context;

    shape->stat->large_pages += run->pages;
    return FTK_OK;
}

static ftk_status
shape_page(void *context, struct page_ref ref, uint32_t level)
{
    uint64_t page_id = page_ref_id(ref);
    struct shape *shape = context;
    kiln_txn *txn = shape->txn;
    kiln_coll_stat *stat = shape->stat;
    struct node node = tree_node(txn, page_id);
    struct node_entry entry;
    ftk_status rc = txn_fetch(txn, page_id, CACHE_SCAN, 0);

    if (rc != FTK_OK)
        return rc;
    rc = tree_check_page(txn, ref, level);
    stat->used_bytes += node_used_bytes(node);
    if (level > 0)
        stat->inner_pages++;
    else
        stat->leaf_pages++;
    for (uint32_t i = 0; rc == FTK_OK && level == 0 && i < node_count(node.page); i++) {
        node_entry(node, i, &entry);
        stat->key_bytes += node_prefix_bytes(node.page) + entry.suffix_size;
        stat->value_bytes += entry.large ? value_ref_size(entry.value) : entry.value_size;
        if (entry.large)
            rc = value_each_run(txn, entry.value, shape_run, shape);
    }
    cache_unpin(txn->fast, page_id);
    return rc;
}

kiln_status
kiln_coll_stat_get(kiln_txn *txn, kiln_coll coll, kiln_coll_stat *stat_inout)
{
    size_t size = stat_inout->size;
    kiln_coll_stat stat = {.size = sizeof(stat)};
    struct shape shape = {txn, &stat};
    struct tree *tree;
    ftk_status rc;

    if (!struct_size_is_set(size))
        return txn_answer(txn, FTK_FAIL(FTK_INVALID, "kiln_coll_stat.size is not set"));
    txn_unhold(txn);
    FTK_TRY(in_place_end(txn));
    FTK_TRY(window_settle_all(txn));
    FTK_TRY(txn_tree(txn, coll, &tree));
    stat.keys = tree->keys;
    stat.height = tree->height;
    if (!page_ref_is_none(tree->root))
        FTK_TRY(tree_each_page(txn, tree->root, tree->height - 1u, shape_page, &shape));
    memcpy(stat_inout, &stat, size < sizeof(stat) ? size : sizeof(stat));
    stat_inout->size = size;
out:
    return txn_answer(txn, rc);
}
