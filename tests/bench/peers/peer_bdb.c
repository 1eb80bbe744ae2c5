/* SPDX-License-Identifier: Apache-2.0 */
/* peer_bdb.c -- Berkeley DB 5.3, transactional B-tree.  Settings: README.md. */
#include "peer.h"

#include <db.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PAGE_BYTES 8192
#define BULK_BYTES (256 << 10)
#define CHECKPOINT_KB (1 << 20) /* of log between automatic checkpoints */
#define SCAN_BULK_BYTES (256 << 10)

struct peer_db {
    DB_ENV *env;
    DB *db;
    char clean_path[512]; /* this file is there while the store is closed */
    pthread_t checkpointer;
    bool checkpointer_started;
    atomic_bool closing;
};

struct peer_session {
    struct peer_db *db;
    DB_TXN *txn;
    bool write;
    unsigned char *bulk; /* BULK_BYTES, for put_many and scan */
    unsigned char value[512];
};

static int
fail(const char *call, int rc)
{
    return peer_fail("bdb", call, db_strerror(rc));
}

static void
bdb_version(char *text, size_t text_size)
{
    int major, minor, patch;

    (void)db_version(&major, &minor, &patch);
    snprintf(text, text_size, "%d.%d.%d", major, minor, patch);
}

/* The library leaves checkpoints to the application; this is the application's part. */
static void *
checkpointer_run(void *arg)
{
    struct peer_db *db = arg;

    while (!atomic_load(&db->closing)) {
        struct timespec pause = {0, 200 * 1000 * 1000};

        nanosleep(&pause, NULL);
        (void)db->env->txn_checkpoint(db->env, CHECKPOINT_KB, 1, 0);
    }
    return NULL;
}

static int
env_open(struct peer_db *db, const char *dir, const struct peer_options *options)
{
    const uint64_t gib = (uint64_t)1 << 30;
    DB_ENV *env = db->env;
    /* Recovery costs seconds and a rewritten log even when there is nothing to do. */
    u_int32_t recover = unlink(db->clean_path) == 0 ? 0 : DB_RECOVER;
    int rc = env->set_cachesize(env, (u_int32_t)(options->cache_bytes / gib),
                                (u_int32_t)(options->cache_bytes % gib), 1);

    if (rc != 0)
        return rc;
    (void)env->set_lg_bsize(env, 16 << 20);
    (void)env->set_lg_max(env, 64 << 20);
    (void)env->set_lk_max_locks(env, 200000);
    (void)env->set_lk_max_objects(env, 200000);
    (void)env->set_lk_max_lockers(env, 1000);
    (void)env->set_lk_detect(env, DB_LOCK_YOUNGEST);
    (void)env->log_set_config(env, DB_LOG_AUTO_REMOVE, 1);
    if (options->durability == PEER_OS)
        (void)env->set_flags(env, DB_TXN_WRITE_NOSYNC, 1);
    return env->open(env, dir,
                     DB_CREATE | DB_INIT_MPOOL | DB_INIT_TXN | DB_INIT_LOG | DB_INIT_LOCK |
                         DB_THREAD | DB_PRIVATE | recover,
                     0644);
}

static int
tree_open(struct peer_db *db)
{
    int rc = db_create(&db->db, db->env, 0);

    if (rc == 0)
        rc = db->db->set_pagesize(db->db, PAGE_BYTES);
    if (rc == 0)
        rc = db->db->open(db->db, NULL, "bench.db", NULL, DB_BTREE,
                          DB_CREATE | DB_AUTO_COMMIT | DB_THREAD, 0644);
    return rc;
}

static void
clean_mark(const struct peer_db *db)
{
    FILE *file = fopen(db->clean_path, "w");

    if (file != NULL)
        fclose(file);
}

static int
bdb_close(struct peer_db *db)
{
    int rc = 0;

    atomic_store(&db->closing, true);
    if (db->checkpointer_started)
        pthread_join(db->checkpointer, NULL);
    if (db->db != NULL)
        rc = db->db->close(db->db, DB_NOSYNC); /* the checkpoint below writes the pages */
    if (db->env != NULL) {
        if (rc == 0 && db->db != NULL)
            rc = db->env->txn_checkpoint(db->env, 0, 0, DB_FORCE);
        (void)db->env->close(db->env, 0);
    }
    if (rc == 0 && db->db != NULL)
        clean_mark(db);
    free(db);
    return rc == 0 ? PEER_OK : fail("close", rc);
}

static int
bdb_open(const char *dir, const struct peer_options *options, struct peer_db **db_out)
{
    struct peer_db *db = calloc(1, sizeof *db);
    int rc;

    *db_out = NULL;
    if (db == NULL)
        return peer_fail("bdb", "calloc", "out of memory");
    peer_path(db->clean_path, sizeof db->clean_path, dir, "closed");
    rc = db_env_create(&db->env, 0);
    if (rc == 0)
        rc = env_open(db, dir, options);
    if (rc == 0)
        rc = tree_open(db);
    if (rc == 0 && options->checkpoint_auto) {
        rc = pthread_create(&db->checkpointer, NULL, checkpointer_run, db);
        db->checkpointer_started = rc == 0;
    }
    if (rc != 0) {
        int result = fail("open", rc);

        (void)bdb_close(db);
        return result;
    }
    *db_out = db;
    return PEER_OK;
}

static int
bdb_session_open(struct peer_db *db, struct peer_session **session_out)
{
    struct peer_session *session = calloc(1, sizeof *session);

    *session_out = session;
    if (session == NULL || (session->bulk = malloc(BULK_BYTES)) == NULL) {
        free(session);
        *session_out = NULL;
        return peer_fail("bdb", "malloc", "out of memory");
    }
    session->db = db;
    return PEER_OK;
}

static void
bdb_session_close(struct peer_session *session)
{
    free(session->bulk);
    free(session);
}

/* Reads are single operations at degree 2: a page lock held for the length of the call. */
static int
bdb_txn_begin(struct peer_session *session, bool write)
{
    DB_ENV *env = session->db->env;
    int rc = write ? env->txn_begin(env, NULL, &session->txn, 0) : 0;

    session->write = write;
    return rc == 0 ? PEER_OK : fail("txn_begin", rc);
}

static void
bdb_txn_abort(struct peer_session *session)
{
    if (session->txn != NULL)
        (void)session->txn->abort(session->txn);
    session->txn = NULL;
}

static int
result_of(struct peer_session *session, const char *call, int rc)
{
    if (rc == 0)
        return PEER_OK;
    if (rc == DB_NOTFOUND)
        return PEER_NOTFOUND;
    if (rc == DB_LOCK_DEADLOCK) {
        bdb_txn_abort(session);
        return PEER_RETRY;
    }
    return fail(call, rc);
}

static int
bdb_txn_commit(struct peer_session *session)
{
    DB_TXN *txn = session->txn;

    session->txn = NULL;
    return txn == NULL ? PEER_OK : result_of(session, "commit", txn->commit(txn, 0));
}

static DBT
dbt_of(struct peer_slice slice)
{
    DBT dbt;

    memset(&dbt, 0, sizeof dbt);
    dbt.data = (void *)(uintptr_t)slice.data;
    dbt.size = (u_int32_t)slice.size;
    return dbt;
}

static int
bdb_put(struct peer_session *session, const struct peer_record *record)
{
    DBT key = dbt_of(record->key);
    DBT value = dbt_of(record->value);
    DB *db = session->db->db;

    return result_of(session, "put", db->put(db, session->txn, &key, &value, 0));
}

static int
bdb_put_many(struct peer_session *session, struct peer_record *records, size_t count)
{
    DB *db = session->db->db;
    size_t done = 0;

    peer_sort_records(records, count);
    while (done < count) {
        DBT bulk;
        void *cursor;
        int rc;

        memset(&bulk, 0, sizeof bulk);
        bulk.data = session->bulk;
        bulk.ulen = BULK_BYTES;
        bulk.flags = DB_DBT_USERMEM | DB_DBT_BULK;
        DB_MULTIPLE_WRITE_INIT(cursor, &bulk);
        while (done < count) {
            const struct peer_record *r = &records[done];

            DB_MULTIPLE_KEY_WRITE_NEXT(cursor, &bulk, r->key.data, r->key.size, r->value.data,
                                       r->value.size);
            if (cursor == NULL)
                break;
            done++;
        }
        rc = db->put(db, session->txn, &bulk, NULL, DB_MULTIPLE_KEY);
        if (rc != 0)
            return result_of(session, "put (bulk)", rc);
    }
    return PEER_OK;
}

static int
bdb_get(struct peer_session *session, struct peer_slice key, struct peer_slice *value_out)
{
    DBT k = dbt_of(key);
    DBT v;
    DB *db = session->db->db;
    int rc;

    memset(&v, 0, sizeof v);
    v.data = session->value;
    v.ulen = sizeof session->value;
    v.flags = DB_DBT_USERMEM;
    do
        rc = db->get(db, session->txn, &k, &v, 0);
    while (rc == DB_LOCK_DEADLOCK && session->txn == NULL);
    *value_out = (struct peer_slice){v.data, v.size};
    return result_of(session, "get", rc);
}

static int
bdb_get_many(struct peer_session *session, const struct peer_slice *keys, size_t count,
             peer_visit *visit, void *ctx)
{
    return peer_get_many_by_get(&peer_bdb, session, keys, count, visit, ctx);
}

/* Visits one bulk buffer; *left counts down.  True when the scan goes on. */
static bool
bulk_visit(DBT *bulk, uint64_t *left, peer_visit *visit, void *ctx)
{
    void *cursor;

    DB_MULTIPLE_INIT(cursor, bulk);
    while (*left > 0) {
        unsigned char *key, *value;
        size_t key_size, value_size;

        DB_MULTIPLE_KEY_NEXT(cursor, bulk, key, key_size, value, value_size);
        if (cursor == NULL)
            return true;
        (*left)--;
        if (!visit(ctx, (struct peer_slice){key, key_size}, (struct peer_slice){value, value_size}))
            return false;
    }
    return false;
}

static int
bdb_scan(struct peer_session *session, struct peer_slice from, uint64_t limit, peer_visit *visit,
         void *ctx)
{
    DB *db = session->db->db;
    DBC *cursor;
    DBT key = dbt_of(from);
    DBT bulk;
    /* Short scans fetch about what they need: a bulk get fills its buffer. */
    uint64_t want = limit < 1000 ? 16384 + limit * 16 : SCAN_BULK_BYTES;
    u_int32_t where = from.size == 0 ? DB_FIRST : DB_SET_RANGE;
    int rc = db->cursor(db, session->txn, &cursor, 0);

    if (rc != 0)
        return result_of(session, "cursor", rc);
    memset(&bulk, 0, sizeof bulk);
    bulk.data = session->bulk;
    bulk.ulen = (u_int32_t)(want & ~(uint64_t)1023);
    bulk.flags = DB_DBT_USERMEM;
    do {
        rc = cursor->get(cursor, &key, &bulk, where | DB_MULTIPLE_KEY);
        where = DB_NEXT;
    } while (rc == 0 && bulk_visit(&bulk, &limit, visit, ctx));
    (void)cursor->close(cursor);
    return rc == DB_NOTFOUND ? PEER_OK : result_of(session, "cursor get", rc);
}

static int
bdb_del(struct peer_session *session, struct peer_slice key)
{
    DBT k = dbt_of(key);
    DB *db = session->db->db;

    return result_of(session, "del", db->del(db, session->txn, &k, 0));
}

static int
bdb_checkpoint(struct peer_db *db)
{
    int rc = db->env->txn_checkpoint(db->env, 0, 0, DB_FORCE);

    return rc == 0 ? PEER_OK : fail("txn_checkpoint", rc);
}

static int
bdb_stat(struct peer_db *db, struct peer_stat *stat_out)
{
    DB_MPOOL_STAT *pool = NULL;
    DB_LOG_STAT *log = NULL;
    int rc = db->env->memp_stat(db->env, &pool, NULL, 0);

    if (rc == 0)
        rc = db->env->log_stat(db->env, &log, 0);
    if (rc == 0)
        stat_out->written_bytes = (uint64_t)pool->st_page_out * PAGE_BYTES +
                                  ((uint64_t)log->st_w_mbytes << 20) + log->st_w_bytes;
    snprintf(stat_out->note, sizeof stat_out->note, "pages written by the pool, and log");
    free(pool);
    free(log);
    return rc == 0 ? PEER_OK : fail("memp_stat", rc);
}

const struct peer_ops peer_bdb = {
    .name = "bdb",
    .flags = PEER_CAN_DIRTY,
    .version = bdb_version,
    .open = bdb_open,
    .close = bdb_close,
    .session_open = bdb_session_open,
    .session_close = bdb_session_close,
    .txn_begin = bdb_txn_begin,
    .txn_commit = bdb_txn_commit,
    .txn_abort = bdb_txn_abort,
    .put = bdb_put,
    .put_many = bdb_put_many,
    .get = bdb_get,
    .get_many = bdb_get_many,
    .scan = bdb_scan,
    .del = bdb_del,
    .checkpoint = bdb_checkpoint,
    .stat = bdb_stat,
};
