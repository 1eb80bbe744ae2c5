/* SPDX-License-Identifier: Apache-2.0 */
/* peer_kiln.c -- kiln through its public header.  Settings: README.md. */
#include "peer.h"

#include <kiln.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH_MAX 1000 /* records handed over in one call */

struct peer_db {
    kiln_db *db;
    kiln_coll coll;
};

struct peer_session {
    struct peer_db *db;
    kiln_txn *reader; /* kept between read transactions, renewed by the next */
    kiln_txn *txn;    /* the one open now: reader or a writer */
};

static int
fail(const char *call, kiln_status rc)
{
    const kiln_error *error = kiln_error_last();
    const char *text = error != NULL && error->status == rc && error->text != NULL
                           ? error->text
                           : kiln_status_text(rc);

    (void)peer_fail("kiln", call, text);
    return rc == KILN_NOSPACE ? PEER_SPACE : PEER_ERROR;
}

static int
result_of(const char *call, kiln_status rc)
{
    return rc == KILN_OK ? PEER_OK : rc == KILN_NOTFOUND ? PEER_NOTFOUND : fail(call, rc);
}

static void
kiln_peer_version(char *text, size_t text_size)
{
    snprintf(text, text_size, "%s", kiln_version());
}

static kiln_status
coll_open(struct peer_db *db)
{
    kiln_txn *txn;
    kiln_status rc = kiln_txn_begin(db->db, KILN_WRITE, &txn);

    if (rc != KILN_OK)
        return rc;
    rc = kiln_coll_open(txn, "bench", KILN_COLL_CREATE, &db->coll);
    if (rc != KILN_OK) {
        kiln_txn_abort(txn);
        return rc;
    }
    return kiln_txn_commit(txn);
}

static int
kiln_peer_close(struct peer_db *db)
{
    kiln_status rc = kiln_close(db->db);

    free(db);
    return result_of("kiln_close", rc);
}

static int
kiln_peer_open(const char *dir, const struct peer_options *options, struct peer_db **db_out)
{
    struct peer_db *db = calloc(1, sizeof *db);
    kiln_options kiln;
    kiln_status rc;
    char path[512];

    *db_out = NULL;
    if (db == NULL)
        return peer_fail("kiln", "calloc", "out of memory");
    kiln_options_init(&kiln);
    kiln.flags = KILN_CREATE;
    kiln.cache_bytes = options->cache_bytes;
    kiln.durability = options->durability == PEER_FULL ? KILN_FULL : KILN_OS;
    if (!options->checkpoint_auto) {
        kiln.rfl_bytes_max = (uint64_t)1 << 50;
        kiln.dirty_bytes_max = options->cache_bytes;
        kiln.checkpoint_ms = UINT32_MAX; /* seven weeks */
    }
    peer_path(path, sizeof path, dir, "db");
    rc = kiln_open(path, &kiln, &db->db);
    if (rc != KILN_OK) {
        free(db);
        return fail("kiln_open", rc);
    }
    rc = coll_open(db);
    if (rc != KILN_OK) {
        int result = fail("kiln_coll_open", rc);

        (void)kiln_peer_close(db);
        return result;
    }
    *db_out = db;
    return PEER_OK;
}

static int
kiln_session_open(struct peer_db *db, struct peer_session **session_out)
{
    struct peer_session *session = calloc(1, sizeof *session);

    *session_out = session;
    if (session == NULL)
        return peer_fail("kiln", "calloc", "out of memory");
    session->db = db;
    return PEER_OK;
}

static void
kiln_session_close(struct peer_session *session)
{
    kiln_txn_abort(session->reader);
    free(session);
}

static int
kiln_begin(struct peer_session *session, bool write)
{
    kiln_status rc;

    if (write) {
        /* A reader kept for later would hold its snapshot's pages for as long. */
        kiln_txn_abort(session->reader);
        session->reader = NULL;
        rc = kiln_txn_begin(session->db->db, KILN_WRITE, &session->txn);
        return result_of("kiln_txn_begin", rc);
    }
    rc = session->reader != NULL ? kiln_txn_renew(session->reader)
                                 : kiln_txn_begin(session->db->db, KILN_READ, &session->reader);
    session->txn = session->reader;
    return result_of("kiln_txn_renew", rc);
}

static int
kiln_commit(struct peer_session *session)
{
    kiln_txn *txn = session->txn;

    session->txn = NULL;
    return txn == session->reader ? PEER_OK : result_of("kiln_txn_commit", kiln_txn_commit(txn));
}

static void
kiln_abort(struct peer_session *session)
{
    if (session->txn != session->reader)
        kiln_txn_abort(session->txn);
    session->txn = NULL;
}

static int
kiln_peer_put(struct peer_session *session, const struct peer_record *record)
{
    return result_of("kiln_put",
                     kiln_put(session->txn, session->db->coll, record->key.data, record->key.size,
                              record->value.data, record->value.size, KILN_PUT_REPLACE));
}

static int
kiln_peer_put_many(struct peer_session *session, struct peer_record *records, size_t count)
{
    kiln_slice keys[BATCH_MAX], values[BATCH_MAX];
    kiln_status rc = KILN_OK;

    for (size_t done = 0; done < count && rc == KILN_OK;) {
        size_t batch = count - done < BATCH_MAX ? count - done : BATCH_MAX;

        for (size_t i = 0; i < batch; i++) {
            const struct peer_record *r = &records[done + i];

            keys[i] = (kiln_slice){r->key.data, r->key.size};
            values[i] = (kiln_slice){r->value.data, r->value.size};
        }
        rc = kiln_put_many(session->txn, session->db->coll, keys, values, batch, KILN_PUT_REPLACE,
                           NULL);
        done += batch;
    }
    return result_of("kiln_put_many", rc);
}

static int
kiln_peer_get(struct peer_session *session, struct peer_slice key, struct peer_slice *value_out)
{
    kiln_slice value;
    kiln_status rc = kiln_get(session->txn, session->db->coll, key.data, key.size, &value);

    *value_out = (struct peer_slice){value.data, value.size};
    return result_of("kiln_get", rc);
}

struct each_context {
    const struct peer_slice *keys;
    peer_visit *visit;
    void *ctx;
};

static int
each(void *context, size_t index, kiln_slice value)
{
    struct each_context *each_context = context;

    if (value.data == NULL)
        return 0;
    return !each_context->visit(each_context->ctx, each_context->keys[index],
                                (struct peer_slice){value.data, value.size});
}

static int
kiln_peer_get_many(struct peer_session *session, const struct peer_slice *keys, size_t count,
                   peer_visit *visit, void *ctx)
{
    kiln_slice slices[BATCH_MAX];
    kiln_status rc = KILN_OK;

    for (size_t done = 0; done < count && rc == KILN_OK;) {
        size_t batch = count - done < BATCH_MAX ? count - done : BATCH_MAX;
        struct each_context context = {keys + done, visit, ctx};

        for (size_t i = 0; i < batch; i++)
            slices[i] = (kiln_slice){keys[done + i].data, keys[done + i].size};
        rc = kiln_get_many(session->txn, session->db->coll, slices, batch, each, &context);
        done += batch;
    }
    return rc == KILN_CANCELED ? PEER_OK : result_of("kiln_get_many", rc);
}

static int
kiln_peer_scan(struct peer_session *session, struct peer_slice from, uint64_t limit,
               peer_visit *visit, void *ctx)
{
    /* Reading ahead is for scans longer than a few pages. */
    uint32_t flags = limit > 10000 ? KILN_CURSOR_SCAN : 0;
    kiln_cursor *cursor;
    kiln_status rc = kiln_cursor_open(session->txn, session->db->coll, flags, &cursor);

    if (rc != KILN_OK)
        return fail("kiln_cursor_open", rc);
    rc =
        from.size == 0 ? kiln_cursor_first(cursor) : kiln_cursor_seek(cursor, from.data, from.size);
    for (uint64_t i = 0; rc == KILN_OK; i++) {
        kiln_slice key, value;

        rc = kiln_cursor_item(cursor, &key, &value);
        if (rc != KILN_OK ||
            !visit(ctx, (struct peer_slice){key.data, key.size},
                   (struct peer_slice){value.data, value.size}) ||
            i + 1 >= limit)
            break;
        rc = kiln_cursor_next(cursor);
    }
    kiln_cursor_close(cursor);
    return rc == KILN_NOTFOUND ? PEER_OK : result_of("kiln_cursor_next", rc);
}

static int
kiln_peer_del(struct peer_session *session, struct peer_slice key)
{
    return result_of("kiln_delete",
                     kiln_delete(session->txn, session->db->coll, key.data, key.size));
}

static int
kiln_peer_checkpoint(struct peer_db *db)
{
    return result_of("kiln_checkpoint", kiln_checkpoint(db->db));
}

static int
kiln_peer_stat(struct peer_db *db, struct peer_stat *stat_out)
{
    kiln_stat stat = {.size = sizeof stat};
    kiln_status rc = kiln_stat_get(db->db, &stat);

    stat_out->written_bytes = stat.io_write_bytes;
    snprintf(stat_out->note, sizeof stat_out->note, "all writes of the buffer manager");
    return result_of("kiln_stat_get", rc);
}

const struct peer_ops peer_kiln = {
    .name = "kiln",
    .flags = PEER_CAN_SNAPSHOT | PEER_CAN_DIRTY,
    .version = kiln_peer_version,
    .open = kiln_peer_open,
    .close = kiln_peer_close,
    .session_open = kiln_session_open,
    .session_close = kiln_session_close,
    .txn_begin = kiln_begin,
    .txn_commit = kiln_commit,
    .txn_abort = kiln_abort,
    .put = kiln_peer_put,
    .put_many = kiln_peer_put_many,
    .get = kiln_peer_get,
    .get_many = kiln_peer_get_many,
    .scan = kiln_peer_scan,
    .del = kiln_peer_del,
    .checkpoint = kiln_peer_checkpoint,
    .stat = kiln_peer_stat,
};
