/* SPDX-License-Identifier: Apache-2.0 */
/* peer_rocksdb.c -- RocksDB through its C API.  Settings: README.md. */
#include "peer.h"

#include <rocksdb/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BATCH_MAX 256 /* keys handed to one batched get */

struct peer_db {
    rocksdb_t *db;
    rocksdb_column_family_handle_t *family;
    rocksdb_options_t *options;
    rocksdb_writeoptions_t *write_options;
    rocksdb_cache_t *cache;
};

struct peer_session {
    struct peer_db *db;
    rocksdb_writebatch_t *batch;
    rocksdb_readoptions_t *read_options;
    const rocksdb_snapshot_t *snapshot; /* of the open read transaction */
    rocksdb_pinnableslice_t *pinned;    /* the value lent out by get */
};

static int
fail(const char *call, char *reason)
{
    int rc = peer_fail("rocksdb", call, reason);

    rocksdb_free(reason);
    return rc;
}

static void
rocksdb_version(char *text, size_t text_size)
{
#ifdef PEER_ROCKSDB_VERSION
    snprintf(text, text_size, "%s", PEER_ROCKSDB_VERSION);
#else
    snprintf(text, text_size, "?");
#endif
}

static uint64_t
clamp_u64(uint64_t value, uint64_t low, uint64_t high)
{
    return value < low ? low : value > high ? high : value;
}

/* Memtables get up to a half of the memory, the block cache what remains. */
static uint64_t
memtable_options(rocksdb_options_t *o, const struct peer_options *options)
{
    uint64_t one = clamp_u64(options->cache_bytes / 8, 8 << 20, 128 << 20);
    int count = 4;

    if (!options->checkpoint_auto) {
        one = clamp_u64(options->dirty_bytes, one, options->cache_bytes);
        count = 2;
        rocksdb_options_set_disable_auto_compactions(o, 1);
    }
    rocksdb_options_set_write_buffer_size(o, one);
    rocksdb_options_set_max_write_buffer_number(o, count);
    rocksdb_options_set_min_write_buffer_number_to_merge(o, 1);
    rocksdb_options_set_target_file_size_base(o, clamp_u64(one, 8 << 20, 64 << 20));
    rocksdb_options_set_max_bytes_for_level_base(o, one * 4);
    return one * (uint64_t)count < options->cache_bytes
               ? options->cache_bytes - one * (uint64_t)count
               : 32 << 20;
}

static void
options_make(struct peer_db *db, const struct peer_options *options)
{
    rocksdb_options_t *o = rocksdb_options_create();
    rocksdb_block_based_table_options_t *table = rocksdb_block_based_options_create();
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    db->options = o;
    rocksdb_options_set_create_if_missing(o, 1);
    rocksdb_options_set_compression(o, rocksdb_no_compression);
    rocksdb_options_increase_parallelism(o, (int)(cores < 2 ? 2 : cores));
    rocksdb_options_set_max_open_files(o, -1);
    rocksdb_options_set_bytes_per_sync(o, 1 << 20);
    rocksdb_options_set_level_compaction_dynamic_level_bytes(o, 1);
    rocksdb_options_set_recycle_log_file_num(o, options->durability == PEER_FULL ? 4 : 0);
    rocksdb_options_set_stats_dump_period_sec(o, 0);
    rocksdb_options_set_max_subcompactions(o, 2);
    db->cache = rocksdb_cache_create_lru(memtable_options(o, options));
    rocksdb_block_based_options_set_block_cache(table, db->cache);
    rocksdb_block_based_options_set_filter_policy(table,
                                                  rocksdb_filterpolicy_create_bloom_full(10));
    rocksdb_block_based_options_set_format_version(table, 5);
    rocksdb_options_set_block_based_table_factory(o, table);
    rocksdb_block_based_options_destroy(table);
    db->write_options = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(db->write_options, options->durability == PEER_FULL);
}

static int
rocks_close(struct peer_db *db)
{
    if (db->family != NULL)
        rocksdb_column_family_handle_destroy(db->family);
    if (db->db != NULL)
        rocksdb_close(db->db);
    rocksdb_writeoptions_destroy(db->write_options);
    rocksdb_options_destroy(db->options);
    rocksdb_cache_destroy(db->cache);
    free(db);
    return PEER_OK;
}

static int
rocks_open(const char *dir, const struct peer_options *options, struct peer_db **db_out)
{
    const char *name = "default";
    const rocksdb_options_t *family_options;
    struct peer_db *db = calloc(1, sizeof *db);
    char *error = NULL;

    *db_out = NULL;
    if (db == NULL)
        return peer_fail("rocksdb", "calloc", "out of memory");
    options_make(db, options);
    family_options = db->options;
    db->db = rocksdb_open_column_families(db->options, dir, 1, &name, &family_options, &db->family,
                                          &error);
    if (error != NULL) {
        db->db = NULL;
        db->family = NULL;
        (void)rocks_close(db);
        return fail("rocksdb_open", error);
    }
    *db_out = db;
    return PEER_OK;
}

static int
rocks_session_open(struct peer_db *db, struct peer_session **session_out)
{
    struct peer_session *session = calloc(1, sizeof *session);

    *session_out = session;
    if (session == NULL)
        return peer_fail("rocksdb", "calloc", "out of memory");
    session->db = db;
    session->batch = rocksdb_writebatch_create();
    session->read_options = rocksdb_readoptions_create();
    return PEER_OK;
}

static void
value_release(struct peer_session *session)
{
    if (session->pinned != NULL)
        rocksdb_pinnableslice_destroy(session->pinned);
    session->pinned = NULL;
}

static void
rocks_txn_abort(struct peer_session *session)
{
    value_release(session);
    rocksdb_writebatch_clear(session->batch);
    if (session->snapshot != NULL) {
        rocksdb_readoptions_set_snapshot(session->read_options, NULL);
        rocksdb_release_snapshot(session->db->db, session->snapshot);
        session->snapshot = NULL;
    }
}

static void
rocks_session_close(struct peer_session *session)
{
    rocks_txn_abort(session);
    rocksdb_writebatch_destroy(session->batch);
    rocksdb_readoptions_destroy(session->read_options);
    free(session);
}

static int
rocks_txn_begin(struct peer_session *session, bool write)
{
    if (!write) {
        session->snapshot = rocksdb_create_snapshot(session->db->db);
        rocksdb_readoptions_set_snapshot(session->read_options, session->snapshot);
    }
    return PEER_OK;
}

static int
rocks_txn_commit(struct peer_session *session)
{
    char *error = NULL;

    if (session->snapshot == NULL)
        rocksdb_write(session->db->db, session->db->write_options, session->batch, &error);
    rocks_txn_abort(session); /* what the transaction held; the batch has been applied */
    return error == NULL ? PEER_OK : fail("rocksdb_write", error);
}

static int
rocks_put(struct peer_session *session, const struct peer_record *record)
{
    rocksdb_writebatch_put(session->batch, record->key.data, record->key.size, record->value.data,
                           record->value.size);
    return PEER_OK;
}

static int
rocks_put_many(struct peer_session *session, struct peer_record *records, size_t count)
{
    return peer_put_many_by_put(&peer_rocksdb, session, records, count);
}

static int
rocks_get(struct peer_session *session, struct peer_slice key, struct peer_slice *value_out)
{
    char *error = NULL;

    value_release(session);
    session->pinned =
        rocksdb_get_pinned(session->db->db, session->read_options, key.data, key.size, &error);
    if (error != NULL)
        return fail("rocksdb_get_pinned", error);
    if (session->pinned == NULL)
        return PEER_NOTFOUND;
    value_out->data = rocksdb_pinnableslice_value(session->pinned, &value_out->size);
    return PEER_OK;
}

static int
batch_visit(rocksdb_pinnableslice_t **values, char **errors, const struct peer_slice *keys,
            size_t count, peer_visit *visit, void *ctx)
{
    int rc = PEER_OK;

    for (size_t i = 0; i < count; i++) {
        struct peer_slice value;

        if (errors[i] != NULL) {
            rc = fail("rocksdb_batched_multi_get_cf", errors[i]);
            continue;
        }
        if (values[i] == NULL)
            continue;
        value.data = rocksdb_pinnableslice_value(values[i], &value.size);
        (void)visit(ctx, keys[i], value);
        rocksdb_pinnableslice_destroy(values[i]);
    }
    return rc;
}

static int
rocks_get_many(struct peer_session *session, const struct peer_slice *keys, size_t count,
               peer_visit *visit, void *ctx)
{
    const char *list[BATCH_MAX];
    size_t sizes[BATCH_MAX];
    rocksdb_pinnableslice_t *values[BATCH_MAX];
    char *errors[BATCH_MAX];
    int rc = PEER_OK;

    for (size_t done = 0; done < count && rc == PEER_OK;) {
        size_t batch = count - done < BATCH_MAX ? count - done : BATCH_MAX;

        for (size_t i = 0; i < batch; i++) {
            list[i] = keys[done + i].data;
            sizes[i] = keys[done + i].size;
            values[i] = NULL;
            errors[i] = NULL;
        }
        rocksdb_batched_multi_get_cf(session->db->db, session->read_options, session->db->family,
                                     batch, list, sizes, values, errors, false);
        rc = batch_visit(values, errors, keys + done, batch, visit, ctx);
        done += batch;
    }
    return rc;
}

static int
rocks_scan(struct peer_session *session, struct peer_slice from, uint64_t limit, peer_visit *visit,
           void *ctx)
{
    rocksdb_iterator_t *it = rocksdb_create_iterator(session->db->db, session->read_options);
    char *error = NULL;

    if (from.size == 0)
        rocksdb_iter_seek_to_first(it);
    else
        rocksdb_iter_seek(it, from.data, from.size);
    for (uint64_t i = 0; i < limit && rocksdb_iter_valid(it); i++) {
        struct peer_slice key, value;

        key.data = rocksdb_iter_key(it, &key.size);
        value.data = rocksdb_iter_value(it, &value.size);
        if (!visit(ctx, key, value))
            break;
        if (i + 1 < limit)
            rocksdb_iter_next(it);
    }
    rocksdb_iter_get_error(it, &error);
    rocksdb_iter_destroy(it);
    return error == NULL ? PEER_OK : fail("rocksdb_iter", error);
}

static int
rocks_del(struct peer_session *session, struct peer_slice key)
{
    rocksdb_writebatch_delete(session->batch, key.data, key.size);
    return PEER_OK;
}

static int
rocks_checkpoint(struct peer_db *db)
{
    rocksdb_flushoptions_t *flush = rocksdb_flushoptions_create();
    char *error = NULL;

    rocksdb_flushoptions_set_wait(flush, 1);
    rocksdb_flush(db->db, flush, &error);
    rocksdb_flushoptions_destroy(flush);
    return error == NULL ? PEER_OK : fail("rocksdb_flush", error);
}

static int
rocks_settle(struct peer_db *db)
{
    int rc = rocks_checkpoint(db);

    if (rc == PEER_OK)
        rocksdb_compact_range(db->db, NULL, 0, NULL, 0);
    return rc;
}

static int
rocks_stat(struct peer_db *db, struct peer_stat *stat_out)
{
    (void)db;
    stat_out->written_bytes = 0;
    snprintf(stat_out->note, sizeof stat_out->note, "statistics are left off, as by default");
    return PEER_OK;
}

const struct peer_ops peer_rocksdb = {
    .name = "rocksdb",
    .flags = PEER_CAN_DIRTY,
    .version = rocksdb_version,
    .open = rocks_open,
    .close = rocks_close,
    .session_open = rocks_session_open,
    .session_close = rocks_session_close,
    .txn_begin = rocks_txn_begin,
    .txn_commit = rocks_txn_commit,
    .txn_abort = rocks_txn_abort,
    .put = rocks_put,
    .put_many = rocks_put_many,
    .get = rocks_get,
    .get_many = rocks_get_many,
    .scan = rocks_scan,
    .del = rocks_del,
    .checkpoint = rocks_checkpoint,
    .settle = rocks_settle,
    .stat = rocks_stat,
};
