/* SPDX-License-Identifier: Apache-2.0 */
/* peer_sqlite.c -- SQLite, write-ahead log, one table without rowid.  Settings: README.md. */
#include "peer.h"

#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_BYTES 4096
#define WAL_PAGES_AUTO (256 << 8)    /* 256 MiB of log, then it is merged */
#define WAL_PAGES_UNTOLD (1024 << 8) /* 1 GiB, where checkpoints are left to the caller */
#define MMAP_BYTES_MAX ((uint64_t)0x7fff0000)

struct peer_db {
    char path[512];
    struct peer_options options;
    sqlite3 *control;           /* checkpoints */
    pthread_mutex_t write_lock; /* writers queue here, not in the busy handler */
};

struct peer_session {
    struct peer_db *db;
    sqlite3 *connection;
    sqlite3_stmt *begin, *begin_write, *commit, *rollback, *put, *get, *del, *scan;
    bool write;
    bool open;
};

static int
fail(sqlite3 *connection, const char *call)
{
    return peer_fail("sqlite", call, connection != NULL ? sqlite3_errmsg(connection) : "?");
}

static void
lite_version(char *text, size_t text_size)
{
    snprintf(text, text_size, "%s", sqlite3_libversion());
}

static int
pragma(sqlite3 *connection, const char *format, long long value)
{
    char sql[128];

    snprintf(sql, sizeof sql, format, value);
    return sqlite3_exec(connection, sql, NULL, NULL, NULL);
}

/* Each connection has a cache of its own, so the memory is divided among them. */
static int
connection_open(struct peer_db *db, sqlite3 **connection_out)
{
    const struct peer_options *options = &db->options;
    long long cache_kib = (long long)(options->cache_bytes / (options->sessions_max + 0ull)) >> 10;
    long long mapped = options->memory_tight ? 0 : (long long)MMAP_BYTES_MAX;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    int rc = sqlite3_open_v2(db->path, connection_out, flags, NULL);
    sqlite3 *c = *connection_out;

    if (rc != SQLITE_OK)
        return fail(c, "open");
    (void)sqlite3_busy_timeout(c, 60000);
    rc |= pragma(c, "PRAGMA page_size=%lld", PAGE_BYTES);
    rc |= sqlite3_exec(c, "PRAGMA journal_mode=WAL", NULL, NULL, NULL);
    rc |= pragma(c, "PRAGMA synchronous=%lld", options->durability == PEER_FULL ? 2 : 0);
    rc |= pragma(c, "PRAGMA cache_size=-%lld", cache_kib);
    rc |= pragma(c, "PRAGMA mmap_size=%lld", mapped);
    rc |= pragma(c, "PRAGMA wal_autocheckpoint=%lld",
                 options->checkpoint_auto ? WAL_PAGES_AUTO : WAL_PAGES_UNTOLD);
    return rc == SQLITE_OK ? PEER_OK : fail(c, "pragma");
}

static int
lite_close(struct peer_db *db)
{
    int rc = sqlite3_close(db->control);

    pthread_mutex_destroy(&db->write_lock);
    free(db);
    return rc == SQLITE_OK ? PEER_OK : peer_fail("sqlite", "close", sqlite3_errstr(rc));
}

static int
lite_open(const char *dir, const struct peer_options *options, struct peer_db **db_out)
{
    struct peer_db *db = calloc(1, sizeof *db);
    int rc;

    *db_out = NULL;
    if (db == NULL)
        return peer_fail("sqlite", "calloc", "out of memory");
    (void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    (void)sqlite3_config(SQLITE_CONFIG_MULTITHREAD);
    db->options = *options;
    pthread_mutex_init(&db->write_lock, NULL);
    peer_path(db->path, sizeof db->path, dir, "bench.sqlite");
    rc = connection_open(db, &db->control);
    if (rc == PEER_OK && sqlite3_exec(db->control,
                                      "CREATE TABLE IF NOT EXISTS bench"
                                      "(k BLOB PRIMARY KEY, v BLOB NOT NULL) WITHOUT ROWID",
                                      NULL, NULL, NULL) != SQLITE_OK)
        rc = fail(db->control, "create table");
    if (rc != PEER_OK) {
        (void)lite_close(db);
        return rc;
    }
    *db_out = db;
    return PEER_OK;
}

static void
lite_session_close(struct peer_session *session)
{
    sqlite3_stmt *all[] = {session->begin, session->begin_write, session->commit, session->rollback,
                           session->put,   session->get,         session->del,    session->scan};

    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        (void)sqlite3_finalize(all[i]);
    (void)sqlite3_close(session->connection);
    free(session);
}

static int
statements_prepare(struct peer_session *session)
{
    const struct {
        const char *sql;
        sqlite3_stmt **statement;
    } all[] = {
        {"BEGIN", &session->begin},
        {"BEGIN IMMEDIATE", &session->begin_write},
        {"COMMIT", &session->commit},
        {"ROLLBACK", &session->rollback},
        {"INSERT OR REPLACE INTO bench(k, v) VALUES(?1, ?2)", &session->put},
        {"SELECT v FROM bench WHERE k = ?1", &session->get},
        {"DELETE FROM bench WHERE k = ?1", &session->del},
        {"SELECT k, v FROM bench WHERE k >= ?1 ORDER BY k", &session->scan},
    };

    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (sqlite3_prepare_v3(session->connection, all[i].sql, -1, SQLITE_PREPARE_PERSISTENT,
                               all[i].statement, NULL) != SQLITE_OK)
            return fail(session->connection, all[i].sql);
    }
    return PEER_OK;
}

static int
lite_session_open(struct peer_db *db, struct peer_session **session_out)
{
    struct peer_session *session = calloc(1, sizeof *session);
    int rc;

    *session_out = NULL;
    if (session == NULL)
        return peer_fail("sqlite", "calloc", "out of memory");
    session->db = db;
    rc = connection_open(db, &session->connection);
    if (rc == PEER_OK)
        rc = statements_prepare(session);
    if (rc != PEER_OK) {
        lite_session_close(session);
        return rc;
    }
    *session_out = session;
    return PEER_OK;
}

/* Runs a statement that gives no rows. */
static int
run(struct peer_session *session, sqlite3_stmt *statement, const char *call)
{
    int rc = sqlite3_step(statement);

    (void)sqlite3_reset(statement);
    return rc == SQLITE_DONE ? PEER_OK : fail(session->connection, call);
}

static void
txn_ended(struct peer_session *session)
{
    if (session->open && session->write)
        pthread_mutex_unlock(&session->db->write_lock);
    session->open = false;
}

static int
lite_txn_begin(struct peer_session *session, bool write)
{
    int rc;

    session->write = write;
    if (write)
        pthread_mutex_lock(&session->db->write_lock);
    session->open = true;
    rc = run(session, write ? session->begin_write : session->begin, "BEGIN");
    if (rc != PEER_OK)
        txn_ended(session);
    return rc;
}

static int
lite_txn_commit(struct peer_session *session)
{
    int rc;

    (void)sqlite3_reset(session->get);
    rc = run(session, session->commit, "COMMIT");
    txn_ended(session);
    return rc;
}

static void
lite_txn_abort(struct peer_session *session)
{
    if (session->open)
        (void)run(session, session->rollback, "ROLLBACK");
    txn_ended(session);
}

static int
lite_put(struct peer_session *session, const struct peer_record *record)
{
    (void)sqlite3_bind_blob(session->put, 1, record->key.data, (int)record->key.size,
                            SQLITE_STATIC);
    (void)sqlite3_bind_blob(session->put, 2, record->value.data, (int)record->value.size,
                            SQLITE_STATIC);
    return run(session, session->put, "INSERT");
}

static int
lite_put_many(struct peer_session *session, struct peer_record *records, size_t count)
{
    peer_sort_records(records, count);
    return peer_put_many_by_put(&peer_sqlite, session, records, count);
}

static int
lite_get(struct peer_session *session, struct peer_slice key, struct peer_slice *value_out)
{
    int rc;

    (void)sqlite3_reset(session->get);
    (void)sqlite3_bind_blob(session->get, 1, key.data, (int)key.size, SQLITE_STATIC);
    rc = sqlite3_step(session->get);
    if (rc == SQLITE_DONE)
        return PEER_NOTFOUND;
    if (rc != SQLITE_ROW)
        return fail(session->connection, "SELECT");
    value_out->data = sqlite3_column_blob(session->get, 0);
    value_out->size = (size_t)sqlite3_column_bytes(session->get, 0);
    return PEER_OK;
}

static int
lite_get_many(struct peer_session *session, const struct peer_slice *keys, size_t count,
              peer_visit *visit, void *ctx)
{
    return peer_get_many_by_get(&peer_sqlite, session, keys, count, visit, ctx);
}

static int
lite_scan(struct peer_session *session, struct peer_slice from, uint64_t limit, peer_visit *visit,
          void *ctx)
{
    sqlite3_stmt *scan = session->scan;
    int rc = SQLITE_ROW;

    (void)sqlite3_bind_blob(scan, 1, from.size == 0 ? "" : from.data, (int)from.size,
                            SQLITE_STATIC);
    for (uint64_t i = 0; i < limit; i++) {
        struct peer_slice key, value;

        rc = sqlite3_step(scan);
        if (rc != SQLITE_ROW)
            break;
        key = (struct peer_slice){sqlite3_column_blob(scan, 0),
                                  (size_t)sqlite3_column_bytes(scan, 0)};
        value = (struct peer_slice){sqlite3_column_blob(scan, 1),
                                    (size_t)sqlite3_column_bytes(scan, 1)};
        if (!visit(ctx, key, value))
            break;
    }
    (void)sqlite3_reset(scan);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? PEER_OK : fail(session->connection, "SELECT");
}

static int
lite_del(struct peer_session *session, struct peer_slice key)
{
    (void)sqlite3_bind_blob(session->del, 1, key.data, (int)key.size, SQLITE_STATIC);
    return run(session, session->del, "DELETE");
}

/* With syncs, whatever the commits do: FULL or NORMAL, a checkpoint syncs log and database. */
static int
lite_checkpoint(struct peer_db *db)
{
    sqlite3 *c = db->control;
    int rc = pragma(c, "PRAGMA synchronous=%lld", 2);

    if (rc == SQLITE_OK)
        rc = sqlite3_wal_checkpoint_v2(c, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    return rc == SQLITE_OK || rc == SQLITE_BUSY ? PEER_OK : fail(c, "checkpoint");
}

static int
lite_stat(struct peer_db *db, struct peer_stat *stat_out)
{
    (void)db;
    stat_out->written_bytes = 0;
    snprintf(stat_out->note, sizeof stat_out->note, "keeps no count");
    return PEER_OK;
}

const struct peer_ops peer_sqlite = {
    .name = "sqlite",
    .version = lite_version,
    .open = lite_open,
    .close = lite_close,
    .session_open = lite_session_open,
    .session_close = lite_session_close,
    .txn_begin = lite_txn_begin,
    .txn_commit = lite_txn_commit,
    .txn_abort = lite_txn_abort,
    .put = lite_put,
    .put_many = lite_put_many,
    .get = lite_get,
    .get_many = lite_get_many,
    .scan = lite_scan,
    .del = lite_del,
    .checkpoint = lite_checkpoint,
    .stat = lite_stat,
};
