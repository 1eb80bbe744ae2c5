/* SPDX-License-Identifier: Apache-2.0 */
/* peer_leveldb.c -- LevelDB through its C API.  Settings: README.md. */
#include "peer.h"

#include <leveldb/c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct peer_db {
    leveldb_t *db;
    leveldb_options_t *options;
    leveldb_writeoptions_t *write_options;
    leveldb_cache_t *cache;
    leveldb_filterpolicy_t *filter;
};

struct peer_session {
    struct peer_db *db;
    leveldb_writebatch_t *batch;
    leveldb_readoptions_t *read_options;
    const leveldb_snapshot_t *snapshot; /* of the open read transaction */
    char *value;                        /* lent out by get */
};

static int
fail(const char *call, char *reason)
{
    int rc = peer_fail("leveldb", call, reason);

    leveldb_free(reason);
    return rc;
}

static void
ldb_version(char *text, size_t text_size)
{
    snprintf(text, text_size, "%d.%d", leveldb_major_version(), leveldb_minor_version());
}

/* Two memtables may exist at a time; the block cache gets what they leave. */
static void
options_make(struct peer_db *db, const struct peer_options *options)
{
    uint64_t memtable = options->cache_bytes / 8;

    if (memtable > 128 << 20)
        memtable = 128 << 20;
    if (!options->checkpoint_auto && memtable < options->dirty_bytes)
        memtable = options->dirty_bytes < options->cache_bytes ? options->dirty_bytes
                                                               : options->cache_bytes;
    db->options = leveldb_options_create();
    leveldb_options_set_create_if_missing(db->options, 1);
    leveldb_options_set_compression(db->options, leveldb_no_compression);
    leveldb_options_set_write_buffer_size(db->options, memtable);
    leveldb_options_set_max_file_size(db->options, 32 << 20);
    leveldb_options_set_max_open_files(db->options, 10000);
    db->cache = leveldb_cache_create_lru(
        options->cache_bytes > 3 * memtable ? options->cache_bytes - 2 * memtable : 32 << 20);
    leveldb_options_set_cache(db->options, db->cache);
    db->filter = leveldb_filterpolicy_create_bloom(10);
    leveldb_options_set_filter_policy(db->options, db->filter);
    db->write_options = leveldb_writeoptions_create();
    leveldb_writeoptions_set_sync(db->write_options, options->durability == PEER_FULL);
}

static int
ldb_close(struct peer_db *db)
{
    if (db->db != NULL)
        leveldb_close(db->db);
    leveldb_writeoptions_destroy(db->write_options);
    leveldb_options_destroy(db->options);
    leveldb_cache_destroy(db->cache);
    leveldb_filterpolicy_destroy(db->filter);
    free(db);
    return PEER_OK;
}

static int
ldb_open(const char *dir, const struct peer_options *options, struct peer_db **db_out)
{
    struct peer_db *db = calloc(1, sizeof *db);
    char *error = NULL;

    *db_out = NULL;
    if (db == NULL)
        return peer_fail("leveldb", "calloc", "out of memory");
    options_make(db, options);
    db->db = leveldb_open(db->options, dir, &error);
    if (error != NULL) {
        db->db = NULL;
        (void)ldb_close(db);
        return fail("leveldb_open", error);
    }
    *db_out = db;
    return PEER_OK;
}

static int
ldb_session_open(struct peer_db *db, struct peer_session **session_out)
{
    struct peer_session *session = calloc(1, sizeof *session);

    *session_out = session;
    if (session == NULL)
        return peer_fail("leveldb", "calloc", "out of memory");
    session->db = db;
    session->batch = leveldb_writebatch_create();
    session->read_options = leveldb_readoptions_create();
    return PEER_OK;
}

static void
value_release(struct peer_session *session)
{
    if (session->value != NULL)
        leveldb_free(session->value);
    session->value = NULL;
}

static void
ldb_txn_abort(struct peer_session *session)
{
    value_release(session);
    leveldb_writebatch_clear(session->batch);
    if (session->snapshot != NULL) {
        leveldb_readoptions_set_snapshot(session->read_options, NULL);
        leveldb_release_snapshot(session->db->db, session->snapshot);
        session->snapshot = NULL;
    }
}

static void
ldb_session_close(struct peer_session *session)
{
    ldb_txn_abort(session);
    leveldb_writebatch_destroy(session->batch);
    leveldb_readoptions_destroy(session->read_options);
    free(session);
}

static int
ldb_txn_begin(struct peer_session *session, bool write)
{
    if (!write) {
        session->snapshot = leveldb_create_snapshot(session->db->db);
        leveldb_readoptions_set_snapshot(session->read_options, session->snapshot);
    }
    return PEER_OK;
}

static int
ldb_txn_commit(struct peer_session *session)
{
    char *error = NULL;

    if (session->snapshot == NULL)
        leveldb_write(session->db->db, session->db->write_options, session->batch, &error);
    ldb_txn_abort(session); /* what the transaction held; the batch has been applied */
    return error == NULL ? PEER_OK : fail("leveldb_write", error);
}

static int
ldb_put(struct peer_session *session, const struct peer_record *record)
{
    leveldb_writebatch_put(session->batch, record->key.data, record->key.size, record->value.data,
                           record->value.size);
    return PEER_OK;
}

static int
ldb_put_many(struct peer_session *session, struct peer_record *records, size_t count)
{
    return peer_put_many_by_put(&peer_leveldb, session, records, count);
}

static int
ldb_get(struct peer_session *session, struct peer_slice key, struct peer_slice *value_out)
{
    char *error = NULL;

    value_release(session);
    session->value = leveldb_get(session->db->db, session->read_options, key.data, key.size,
                                 &value_out->size, &error);
    if (error != NULL)
        return fail("leveldb_get", error);
    value_out->data = session->value;
    return session->value == NULL ? PEER_NOTFOUND : PEER_OK;
}

static int
ldb_get_many(struct peer_session *session, const struct peer_slice *keys, size_t count,
             peer_visit *visit, void *ctx)
{
    return peer_get_many_by_get(&peer_leveldb, session, keys, count, visit, ctx);
}

static int
ldb_scan(struct peer_session *session, struct peer_slice from, uint64_t limit, peer_visit *visit,
         void *ctx)
{
    leveldb_iterator_t *it = leveldb_create_iterator(session->db->db, session->read_options);
    char *error = NULL;

    if (from.size == 0)
        leveldb_iter_seek_to_first(it);
    else
        leveldb_iter_seek(it, from.data, from.size);
    for (uint64_t i = 0; i < limit && leveldb_iter_valid(it); i++) {
        struct peer_slice key, value;

        key.data = leveldb_iter_key(it, &key.size);
        value.data = leveldb_iter_value(it, &value.size);
        if (!visit(ctx, key, value))
            break;
        if (i + 1 < limit)
            leveldb_iter_next(it);
    }
    leveldb_iter_get_error(it, &error);
    leveldb_iter_destroy(it);
    return error == NULL ? PEER_OK : fail("leveldb_iter", error);
}

static int
ldb_del(struct peer_session *session, struct peer_slice key)
{
    leveldb_writebatch_delete(session->batch, key.data, key.size);
    return PEER_OK;
}

/*
 * The C API has no flush.  Compacting an empty range writes the memtable out and waits for that
 * (DBImpl::CompactRange calls TEST_CompactMemTable first), then finds no file to merge.
 */
static int
ldb_checkpoint(struct peer_db *db)
{
    static const char beyond[] = {'\xff', '\xff', '\xff', '\xff', '\xff', '\xff',
                                  '\xff', '\xff', '\xff', '\xff', '\xff', '\xff',
                                  '\xff', '\xff', '\xff', '\xff', '\xff'};

    leveldb_compact_range(db->db, beyond, sizeof beyond, beyond, sizeof beyond);
    return PEER_OK;
}

static int
ldb_settle(struct peer_db *db)
{
    leveldb_compact_range(db->db, NULL, 0, NULL, 0);
    return PEER_OK;
}

static int
ldb_stat(struct peer_db *db, struct peer_stat *stat_out)
{
    (void)db;
    stat_out->written_bytes = 0;
    snprintf(stat_out->note, sizeof stat_out->note, "keeps no count");
    return PEER_OK;
}

const struct peer_ops peer_leveldb = {
    .name = "leveldb",
    .flags = PEER_CAN_DIRTY,
    .version = ldb_version,
    .open = ldb_open,
    .close = ldb_close,
    .session_open = ldb_session_open,
    .session_close = ldb_session_close,
    .txn_begin = ldb_txn_begin,
    .txn_commit = ldb_txn_commit,
    .txn_abort = ldb_txn_abort,
    .put = ldb_put,
    .put_many = ldb_put_many,
    .get = ldb_get,
    .get_many = ldb_get_many,
    .scan = ldb_scan,
    .del = ldb_del,
    .checkpoint = ldb_checkpoint,
    .settle = ldb_settle,
    .stat = ldb_stat,
};
