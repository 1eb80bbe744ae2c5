/* SPDX-License-Identifier: Apache-2.0 */
/* peer_wiredtiger.c -- WiredTiger.  Settings: README.md. */
#include "peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wiredtiger.h>

#define TABLE "table:bench"

struct peer_db {
    WT_CONNECTION *connection;
    WT_SESSION *control; /* checkpoints and statistics */
};

struct peer_session {
    WT_SESSION *session;
    WT_CURSOR *cursor;
    bool open; /* a transaction is */
};

static int
fail(const char *call, int rc)
{
    if (rc == WT_ROLLBACK)
        return PEER_RETRY;
    return peer_fail("wiredtiger", call, wiredtiger_strerror(rc));
}

static void
wt_version(char *text, size_t text_size)
{
    int major, minor, patch;

    (void)wiredtiger_version(&major, &minor, &patch);
    snprintf(text, text_size, "%d.%d.%d", major, minor, patch);
}

static void
config_make(char *config, size_t config_size, const struct peer_options *options)
{
    const char *checkpoint = options->checkpoint_auto ? ",checkpoint=(wait=60,log_size=2GB)" : "";
    /* Memory is for dirty pages too: the defaults start writing at 5 % and block at 20 %. */
    const char *dirty = options->memory_tight ? ""
                        : options->checkpoint_auto
                            ? ",eviction_dirty_target=40,eviction_dirty_trigger=60"
                            : ",eviction_dirty_target=85,eviction_dirty_trigger=95";
    const char *method = options->durability == PEER_FULL ? "fsync" : "none";

    snprintf(config, config_size,
             "create,cache_size=%lluM,session_max=%u,statistics=(none)"
             ",log=(enabled=true,file_max=100MB,prealloc=true)"
             ",transaction_sync=(enabled=true,method=%s)"
             ",eviction=(threads_min=1,threads_max=4)%s%s",
             (unsigned long long)(options->cache_bytes >> 20), options->sessions_max + 32, method,
             checkpoint, dirty);
}

static int
wt_close(struct peer_db *db)
{
    int rc = db->connection != NULL ? db->connection->close(db->connection, NULL) : 0;

    free(db);
    return rc == 0 ? PEER_OK : fail("close", rc);
}

static int
wt_open(const char *dir, const struct peer_options *options, struct peer_db **db_out)
{
    struct peer_db *db = calloc(1, sizeof *db);
    char config[512];
    int rc;

    *db_out = NULL;
    if (db == NULL)
        return peer_fail("wiredtiger", "calloc", "out of memory");
    config_make(config, sizeof config, options);
    rc = wiredtiger_open(dir, NULL, config, &db->connection);
    if (rc == 0)
        rc = db->connection->open_session(db->connection, NULL, "isolation=snapshot", &db->control);
    if (rc == 0)
        rc = db->control->create(db->control, TABLE,
                                 "key_format=u,value_format=u,leaf_page_max=32KB"
                                 ",internal_page_max=16KB,checksum=on");
    if (rc != 0) {
        int result = fail("wiredtiger_open", rc);

        (void)wt_close(db);
        return result;
    }
    *db_out = db;
    return PEER_OK;
}

static void
wt_session_close(struct peer_session *session)
{
    if (session->session != NULL)
        (void)session->session->close(session->session, NULL);
    free(session);
}

static int
wt_session_open(struct peer_db *db, struct peer_session **session_out)
{
    struct peer_session *session = calloc(1, sizeof *session);
    int rc;

    *session_out = NULL;
    if (session == NULL)
        return peer_fail("wiredtiger", "calloc", "out of memory");
    rc =
        db->connection->open_session(db->connection, NULL, "isolation=snapshot", &session->session);
    if (rc == 0)
        rc = session->session->open_cursor(session->session, TABLE, NULL, "overwrite=true",
                                           &session->cursor);
    if (rc != 0) {
        wt_session_close(session);
        return fail("open_session", rc);
    }
    *session_out = session;
    return PEER_OK;
}

static int
wt_txn_begin(struct peer_session *session, bool write)
{
    int rc = session->session->begin_transaction(session->session, NULL);

    (void)write;
    session->open = rc == 0;
    return rc == 0 ? PEER_OK : fail("begin_transaction", rc);
}

static void
wt_txn_abort(struct peer_session *session)
{
    if (session->open)
        (void)session->session->rollback_transaction(session->session, NULL);
    session->open = false;
}

static int
wt_txn_commit(struct peer_session *session)
{
    int rc;

    (void)session->cursor->reset(session->cursor);
    session->open = false;
    rc = session->session->commit_transaction(session->session, NULL);
    return rc == 0 ? PEER_OK : fail("commit_transaction", rc);
}

/* Ends the transaction on a conflict, as the interface promises. */
static int
write_result(struct peer_session *session, const char *call, int rc)
{
    int result = rc == 0 ? PEER_OK : fail(call, rc);

    if (result == PEER_RETRY)
        wt_txn_abort(session);
    return result;
}

static int
wt_put(struct peer_session *session, const struct peer_record *record)
{
    WT_CURSOR *cursor = session->cursor;
    WT_ITEM key = {.data = record->key.data, .size = record->key.size};
    WT_ITEM value = {.data = record->value.data, .size = record->value.size};

    cursor->set_key(cursor, &key);
    cursor->set_value(cursor, &value);
    return write_result(session, "insert", cursor->insert(cursor));
}

static int
wt_put_many(struct peer_session *session, struct peer_record *records, size_t count)
{
    peer_sort_records(records, count);
    return peer_put_many_by_put(&peer_wiredtiger, session, records, count);
}

static int
wt_get(struct peer_session *session, struct peer_slice key, struct peer_slice *value_out)
{
    WT_CURSOR *cursor = session->cursor;
    WT_ITEM k = {.data = key.data, .size = key.size};
    WT_ITEM v;
    int rc;

    cursor->set_key(cursor, &k);
    rc = cursor->search(cursor);
    if (rc == WT_NOTFOUND)
        return PEER_NOTFOUND;
    if (rc == 0)
        rc = cursor->get_value(cursor, &v);
    if (rc != 0)
        return write_result(session, "search", rc);
    *value_out = (struct peer_slice){v.data, v.size};
    return PEER_OK;
}

static int
wt_get_many(struct peer_session *session, const struct peer_slice *keys, size_t count,
            peer_visit *visit, void *ctx)
{
    return peer_get_many_by_get(&peer_wiredtiger, session, keys, count, visit, ctx);
}

static int
scan_start(WT_CURSOR *cursor, struct peer_slice from)
{
    WT_ITEM k = {.data = from.data, .size = from.size};
    int exact;
    int rc;

    if (from.size == 0) {
        rc = cursor->reset(cursor);
        return rc == 0 ? cursor->next(cursor) : rc;
    }
    cursor->set_key(cursor, &k);
    rc = cursor->search_near(cursor, &exact);
    return rc == 0 && exact < 0 ? cursor->next(cursor) : rc;
}

static int
wt_scan(struct peer_session *session, struct peer_slice from, uint64_t limit, peer_visit *visit,
        void *ctx)
{
    WT_CURSOR *cursor = session->cursor;
    int rc = scan_start(cursor, from);

    for (uint64_t i = 0; rc == 0; i++) {
        WT_ITEM k, v;

        rc = cursor->get_key(cursor, &k);
        if (rc == 0)
            rc = cursor->get_value(cursor, &v);
        if (rc != 0)
            break;
        if (!visit(ctx, (struct peer_slice){k.data, k.size}, (struct peer_slice){v.data, v.size}) ||
            i + 1 >= limit)
            break;
        rc = cursor->next(cursor);
    }
    (void)cursor->reset(cursor);
    return rc == 0 || rc == WT_NOTFOUND ? PEER_OK : write_result(session, "scan", rc);
}

static int
wt_del(struct peer_session *session, struct peer_slice key)
{
    WT_ITEM k = {.data = key.data, .size = key.size};
    int rc;

    session->cursor->set_key(session->cursor, &k);
    rc = session->cursor->remove(session->cursor);
    if (rc == WT_NOTFOUND)
        return PEER_NOTFOUND;
    return write_result(session, "remove", rc);
}

static int
wt_checkpoint(struct peer_db *db)
{
    int rc = db->control->checkpoint(db->control, NULL);

    return rc == 0 ? PEER_OK : fail("checkpoint", rc);
}

static int
wt_stat(struct peer_db *db, struct peer_stat *stat_out)
{
    (void)db;
    stat_out->written_bytes = 0;
    snprintf(stat_out->note, sizeof stat_out->note, "statistics are left off, as by default");
    return PEER_OK;
}

const struct peer_ops peer_wiredtiger = {
    .name = "wiredtiger",
    .flags = PEER_CAN_DIRTY,
    .version = wt_version,
    .open = wt_open,
    .close = wt_close,
    .session_open = wt_session_open,
    .session_close = wt_session_close,
    .txn_begin = wt_txn_begin,
    .txn_commit = wt_txn_commit,
    .txn_abort = wt_txn_abort,
    .put = wt_put,
    .put_many = wt_put_many,
    .get = wt_get,
    .get_many = wt_get_many,
    .scan = wt_scan,
    .del = wt_del,
    .checkpoint = wt_checkpoint,
    .stat = wt_stat,
};
