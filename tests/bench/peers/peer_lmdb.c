/* SPDX-License-Identifier: Apache-2.0 */
/* peer_lmdb.c -- LMDB 0.9.  Settings: README.md. */
#include "peer.h"

#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct peer_db {
    MDB_env *env;
    MDB_dbi dbi;
    bool ascending;
};

struct peer_session {
    struct peer_db *db;
    MDB_txn *reader; /* reset between read transactions, renewed by the next */
    MDB_txn *writer;
    MDB_txn *current;
    MDB_cursor *cursor; /* of the reader, for scans */
};

static int
fail(const char *call, int rc)
{
    if (rc == MDB_MAP_FULL) {
        (void)peer_fail("lmdb", call, "map full");
        return PEER_SPACE;
    }
    return peer_fail("lmdb", call, mdb_strerror(rc));
}

static void
lmdb_version(char *text, size_t text_size)
{
    int major, minor, patch;

    (void)mdb_version(&major, &minor, &patch);
    snprintf(text, text_size, "%d.%d.%d", major, minor, patch);
}

static unsigned
env_flags(const struct peer_options *options)
{
    unsigned flags = MDB_NOTLS;

    /* The writable map is the faster one, except where the file only grows at its end. */
    if (options->durability == PEER_OS)
        flags |= MDB_NOSYNC | (options->ascending ? 0 : MDB_WRITEMAP);
    if (options->memory_tight)
        flags |= MDB_NORDAHEAD;
    return flags;
}

static int
dbi_open(struct peer_db *db)
{
    MDB_txn *txn;
    int rc = mdb_txn_begin(db->env, NULL, 0, &txn);

    if (rc != 0)
        return rc;
    rc = mdb_dbi_open(txn, NULL, 0, &db->dbi);
    if (rc != 0) {
        mdb_txn_abort(txn);
        return rc;
    }
    return mdb_txn_commit(txn);
}

static int
lmdb_close(struct peer_db *db)
{
    mdb_env_close(db->env);
    free(db);
    return PEER_OK;
}

static int
lmdb_open(const char *dir, const struct peer_options *options, struct peer_db **db_out)
{
    struct peer_db *db = calloc(1, sizeof *db);
    int rc;

    *db_out = NULL;
    if (db == NULL)
        return peer_fail("lmdb", "calloc", "out of memory");
    rc = mdb_env_create(&db->env);
    if (rc != 0) {
        free(db);
        return fail("mdb_env_create", rc);
    }
    db->ascending = options->ascending;
    (void)mdb_env_set_mapsize(db->env, options->data_bytes_max);
    (void)mdb_env_set_maxreaders(db->env, options->sessions_max + 8);
    rc = mdb_env_open(db->env, dir, env_flags(options), 0644);
    if (rc == 0)
        rc = dbi_open(db);
    if (rc != 0) {
        (void)lmdb_close(db);
        return fail("mdb_env_open", rc);
    }
    *db_out = db;
    return PEER_OK;
}

static int
lmdb_session_open(struct peer_db *db, struct peer_session **session_out)
{
    struct peer_session *session = calloc(1, sizeof *session);

    *session_out = session;
    if (session == NULL)
        return peer_fail("lmdb", "calloc", "out of memory");
    session->db = db;
    return PEER_OK;
}

static void
lmdb_session_close(struct peer_session *session)
{
    if (session->cursor != NULL)
        mdb_cursor_close(session->cursor);
    if (session->reader != NULL)
        mdb_txn_abort(session->reader);
    free(session);
}

static int
lmdb_txn_begin(struct peer_session *session, bool write)
{
    int rc;

    if (write) {
        rc = mdb_txn_begin(session->db->env, NULL, 0, &session->writer);
        session->current = session->writer;
        return rc == 0 ? PEER_OK : fail("mdb_txn_begin", rc);
    }
    if (session->reader != NULL)
        rc = mdb_txn_renew(session->reader);
    else
        rc = mdb_txn_begin(session->db->env, NULL, MDB_RDONLY, &session->reader);
    session->current = session->reader;
    return rc == 0 ? PEER_OK : fail("mdb_txn_renew", rc);
}

static int
lmdb_txn_commit(struct peer_session *session)
{
    int rc;

    if (session->current == session->reader) {
        mdb_txn_reset(session->reader);
        return PEER_OK;
    }
    rc = mdb_txn_commit(session->writer);
    session->writer = session->current = NULL;
    return rc == 0 ? PEER_OK : fail("mdb_txn_commit", rc);
}

static void
lmdb_txn_abort(struct peer_session *session)
{
    if (session->current == session->reader)
        mdb_txn_reset(session->reader);
    else if (session->writer != NULL)
        mdb_txn_abort(session->writer);
    session->writer = session->current = NULL;
}

static int
lmdb_put(struct peer_session *session, const struct peer_record *record)
{
    MDB_val key = {record->key.size, (void *)(uintptr_t)record->key.data};
    MDB_val value = {record->value.size, (void *)(uintptr_t)record->value.data};
    int rc = mdb_put(session->writer, session->db->dbi, &key, &value, 0);

    return rc == 0 ? PEER_OK : fail("mdb_put", rc);
}

static int
lmdb_put_many(struct peer_session *session, struct peer_record *records, size_t count)
{
    MDB_cursor *cursor;
    unsigned flags = session->db->ascending ? MDB_APPEND : 0;
    int rc = mdb_cursor_open(session->writer, session->db->dbi, &cursor);

    if (rc != 0)
        return fail("mdb_cursor_open", rc);
    peer_sort_records(records, count);
    for (size_t i = 0; i < count && rc == 0; i++) {
        MDB_val key = {records[i].key.size, (void *)(uintptr_t)records[i].key.data};
        MDB_val value = {records[i].value.size, (void *)(uintptr_t)records[i].value.data};

        rc = mdb_cursor_put(cursor, &key, &value, flags);
    }
    mdb_cursor_close(cursor);
    return rc == 0 ? PEER_OK : fail("mdb_cursor_put", rc);
}

static int
lmdb_get(struct peer_session *session, struct peer_slice key, struct peer_slice *value_out)
{
    MDB_val k = {key.size, (void *)(uintptr_t)key.data};
    MDB_val v;
    int rc = mdb_get(session->current, session->db->dbi, &k, &v);

    if (rc == MDB_NOTFOUND)
        return PEER_NOTFOUND;
    if (rc != 0)
        return fail("mdb_get", rc);
    *value_out = (struct peer_slice){v.mv_data, v.mv_size};
    return PEER_OK;
}

static int
lmdb_get_many(struct peer_session *session, const struct peer_slice *keys, size_t count,
              peer_visit *visit, void *ctx)
{
    return peer_get_many_by_get(&peer_lmdb, session, keys, count, visit, ctx);
}

static int
cursor_ready(struct peer_session *session)
{
    if (session->cursor != NULL)
        return mdb_cursor_renew(session->reader, session->cursor);
    return mdb_cursor_open(session->reader, session->db->dbi, &session->cursor);
}

static int
lmdb_scan(struct peer_session *session, struct peer_slice from, uint64_t limit, peer_visit *visit,
          void *ctx)
{
    MDB_val k = {from.size, (void *)(uintptr_t)from.data};
    MDB_val v;
    int rc = cursor_ready(session);

    if (rc != 0)
        return fail("mdb_cursor_renew", rc);
    rc = mdb_cursor_get(session->cursor, &k, &v, from.size == 0 ? MDB_FIRST : MDB_SET_RANGE);
    for (uint64_t i = 0; rc == 0; i++) {
        if (!visit(ctx, (struct peer_slice){k.mv_data, k.mv_size},
                   (struct peer_slice){v.mv_data, v.mv_size}) ||
            i + 1 >= limit)
            return PEER_OK;
        rc = mdb_cursor_get(session->cursor, &k, &v, MDB_NEXT);
    }
    return rc == MDB_NOTFOUND ? PEER_OK : fail("mdb_cursor_get", rc);
}

static int
lmdb_del(struct peer_session *session, struct peer_slice key)
{
    MDB_val k = {key.size, (void *)(uintptr_t)key.data};
    int rc = mdb_del(session->writer, session->db->dbi, &k, NULL);

    if (rc == MDB_NOTFOUND)
        return PEER_NOTFOUND;
    return rc == 0 ? PEER_OK : fail("mdb_del", rc);
}

static int
lmdb_checkpoint(struct peer_db *db)
{
    int rc = mdb_env_sync(db->env, 1);

    return rc == 0 ? PEER_OK : fail("mdb_env_sync", rc);
}

static int
lmdb_stat(struct peer_db *db, struct peer_stat *stat_out)
{
    (void)db;
    stat_out->written_bytes = 0;
    snprintf(stat_out->note, sizeof stat_out->note, "keeps no count");
    return PEER_OK;
}

const struct peer_ops peer_lmdb = {
    .name = "lmdb",
    .flags = PEER_CAN_SNAPSHOT | PEER_CAN_DIRTY,
    .version = lmdb_version,
    .open = lmdb_open,
    .close = lmdb_close,
    .session_open = lmdb_session_open,
    .session_close = lmdb_session_close,
    .txn_begin = lmdb_txn_begin,
    .txn_commit = lmdb_txn_commit,
    .txn_abort = lmdb_txn_abort,
    .put = lmdb_put,
    .put_many = lmdb_put_many,
    .get = lmdb_get,
    .get_many = lmdb_get_many,
    .scan = lmdb_scan,
    .del = lmdb_del,
    .checkpoint = lmdb_checkpoint,
    .stat = lmdb_stat,
};
