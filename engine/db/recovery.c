/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/db/recovery.c -- replay of the log behind the durable checkpoint.
 *
 * Committed transactions are applied through the same tree code as when they were made, many small
 * ones together in one unlogged transaction (nobody can look in between), puts gathered per
 * collection into batches.  A transaction of several fragments is applied as it is read and aborted
 * when its end never comes.
 */
#include <string.h>

#include "engine/db/open.h"
#include "engine/db/txn.h"
#include "ftk/clock.h"
#include "ftk/mem.h"

enum {
    GATHER_OPS = 262144,     /* puts gathered for tree_put_many: many for one leaf */
    GATHER_BYTES = 24 << 20, /* their bytes */
    GATHER_FIRST = 1024,     /* of a collection, at first */
    TXN_BYTES = 256 << 20,   /* log bytes applied in one replay transaction: a leaf is copied
                                  once, then changed in place */
    COLLS_MAX = 16,          /* collections gathered for at once */
    PROGRESS_BYTES = 16 << 20,
};

struct gathered {
    kiln_coll coll;
    size_t count, capacity;
    kiln_slice *keys, *values; /* data are offsets into `bytes` until applied */
};

struct replay {
    kiln_db *db;
    kiln_txn *txn;   /* open, NULL: none */
    uint64_t txn_id; /* last one applied in it */
    uint64_t lsn;    /* end of its commit record */
    uint64_t bytes_in_txn;
    uint64_t large_id; /* transaction whose fragments are coming, 0: none */
    uint64_t skip_id;  /* one that did not fit the disk: an error only if it was committed */
    struct ftk_error skip_error;
    struct gathered gathered[COLLS_MAX];
    size_t gathered_count;
    size_t gathered_ops; /* of all of them */
    uint8_t *bytes;
    size_t bytes_used;
    /* a large value that arrives in chunks */
    bool large_open;
    struct value_writer writer;
    uint8_t *large_to;
    size_t large_left;
    kiln_coll large_coll;
    uint8_t large_key[NODE_KEY_MAX];
    uint32_t large_key_size;
    uint64_t ops, txns;
};

static ftk_status
malformed(uint64_t lsn, const char *what)
{
    return FTK_FAIL(FTK_CORRUPT, "log record at LSN %llu: %s", (unsigned long long)lsn, what);
}

/* ---- gathering ------------------------------------------------------------------------------- */

static void
gathered_release(struct gathered *g)
{
    ftk_free(g->keys);
    ftk_free(g->values);
    g->keys = g->values = NULL;
    g->count = g->capacity = 0;
}

static ftk_status
apply_one(struct replay *replay, struct gathered *g)
{
    struct tree *tree;
    size_t done;
    ftk_status rc;

    FTK_ASSERT(g->count > 0 && g->count <= g->capacity);
    for (size_t i = 0; i < g->count; i++) {
        g->keys[i].data = replay->bytes + (uintptr_t)g->keys[i].data;
        g->values[i].data = replay->bytes + (uintptr_t)g->values[i].data;
    }
    rc = txn_tree(replay->txn, g->coll, &tree);
    if (rc == FTK_OK)
        rc =
            tree_put_many(replay->txn, tree, g->keys, g->values, g->count, KILN_PUT_REPLACE, &done);
    return rc;
}

static void
gathered_forget(struct replay *replay)
{
    for (size_t i = 0; i < replay->gathered_count; i++) {
        struct gathered *g = &replay->gathered[i];
        if (g->capacity > GATHER_OPS / COLLS_MAX)
            gathered_release(g); /* all of them so large would be too much */
        g->count = 0;
    }
    FTK_ASSERT(replay->gathered_count <= COLLS_MAX && replay->gathered_ops <= GATHER_OPS);
    replay->gathered_ops = 0;
    replay->bytes_used = 0;
}

static ftk_status
apply_gathered(struct replay *replay)
{
    ftk_status rc = FTK_OK;

    for (size_t i = 0; i < replay->gathered_count && rc == FTK_OK; i++)
        if (replay->gathered[i].count > 0)
            rc = apply_one(replay, &replay->gathered[i]);
    gathered_forget(replay);
    return rc;
}

static ftk_status
gathered_for(struct replay *replay, kiln_coll coll, struct gathered **out)
{
    ftk_status rc;

    for (size_t i = 0; i < replay->gathered_count; i++) {
        if (replay->gathered[i].coll == coll) {
            *out = &replay->gathered[i];
            return FTK_OK;
        }
    }
    if (replay->gathered_count == COLLS_MAX) { /* the first one makes room */
        rc = apply_gathered(replay);
        if (rc != FTK_OK)
            return rc;
        *out = &replay->gathered[0];
    } else {
        *out = &replay->gathered[replay->gathered_count++];
    }
    (*out)->coll = coll;
    return FTK_OK;
}

static ftk_status
gathered_grow(struct gathered *g)
{
    size_t capacity = g->capacity == 0 ? GATHER_FIRST : 2 * g->capacity;
    ftk_status rc;

    if (g->count < g->capacity)
        return FTK_OK;
    rc = ftk_realloc((void **)&g->keys, capacity * sizeof(*g->keys));
    if (rc == FTK_OK)
        rc = ftk_realloc((void **)&g->values, capacity * sizeof(*g->values));
    if (rc == FTK_OK)
        g->capacity = capacity;
    return rc;
}

static ftk_status
gather_put(struct replay *replay, kiln_coll coll, const uint8_t *key, size_t key_size,
           size_t value_size)
{
    struct gathered *g;
    uint8_t *to;
    ftk_status rc;

    if (replay->bytes_used + key_size + value_size > GATHER_BYTES ||
        replay->gathered_ops == GATHER_OPS) {
        rc = apply_gathered(replay);
        if (rc != FTK_OK)
            return rc;
    }
    rc = gathered_for(replay, coll, &g);
    if (rc == FTK_OK)
        rc = gathered_grow(g);
    if (rc != FTK_OK)
        return rc;
    FTK_ASSERT(g->coll == coll && g->count < g->capacity);
    FTK_ASSERT(replay->bytes_used + key_size + value_size <= GATHER_BYTES);
    to = replay->bytes + replay->bytes_used;
    memcpy(to, key, key_size + value_size); /* the value follows the key in the record */
    g->keys[g->count] = (kiln_slice){(const void *)(uintptr_t)replay->bytes_used, key_size};
    g->values[g->count] =
        (kiln_slice){(const void *)(uintptr_t)(replay->bytes_used + key_size), value_size};
    g->count++;
    replay->gathered_ops++;
    replay->bytes_used += key_size + value_size;
    return FTK_OK;
}

/* ---- operations ------------------------------------------------------------------------------ */

/* As every key that is put: a page with another one is damaged. */
static bool
key_fits(const struct log_operation *op)
{
    return op->key_size > 0 && op->key_size <= NODE_KEY_MAX;
}

static ftk_status
op_put(struct replay *replay, const struct log_operation *op, uint64_t lsn)
{
    if (!key_fits(op) || value_is_large(replay->db, op->key_size, op->value_size))
        return malformed(lsn, "put of an impossible size");
    return gather_put(replay, op->coll, op->key, op->key_size, op->value_size);
}

static ftk_status
op_delete(struct replay *replay, const struct log_operation *op, uint64_t lsn)
{
    struct tree *tree;
    ftk_status rc;

    if (!key_fits(op))
        return malformed(lsn, "delete is malformed");
    FTK_TRY(apply_gathered(replay));
    FTK_TRY(txn_tree(replay->txn, op->coll, &tree));
    rc = tree_delete(replay->txn, tree, op->key, op->key_size);
    if (rc == FTK_NOTFOUND)
        rc = malformed(lsn, "delete of a key that is not there");
out:
    return rc;
}

/* What is asked for must not be there yet; whether it is may be unknown: rule 9. */
static ftk_status
absent_check(ftk_status found, uint64_t lsn)
{
    if (found == FTK_OK)
        return malformed(lsn, "collection is made a second time");
    return found == FTK_NOTFOUND ? FTK_OK : found;
}

static ftk_status
op_create(struct replay *replay, const struct log_operation *op, uint64_t lsn)
{
    struct tree *tree;
    kiln_coll other;
    ftk_status rc;

    if (op->key_size == 0 || op->key_size > KILN_COLLECTION_NAME_MAX ||
        (op->flags & ~CATALOG_FLAGS_KNOWN) != 0 || op->coll == 0 || op->coll == UINT32_MAX)
        return malformed(lsn, "collection is malformed");
    FTK_TRY(absent_check(txn_tree(replay->txn, op->coll, &tree), lsn));
    FTK_TRY(absent_check(coll_open_internal(replay->txn, op->key, op->key_size, 0, &other), lsn));
    rc = coll_create_numbered(replay->txn, op->coll, op->flags, op->key, op->key_size);
out:
    return rc;
}

static ftk_status
op_coll(struct replay *replay, const struct log_operation *op, uint64_t lsn)
{
    struct tree *tree;
    ftk_status rc = apply_gathered(replay);

    if (rc != FTK_OK)
        return rc;
    if (op->op == OP_COLL_CREATE)
        return op_create(replay, op, lsn);
    if (op->op == OP_COLL_DROP)
        return coll_drop(replay->txn, op->coll);
    rc = txn_tree(replay->txn, op->coll, &tree);
    return rc == FTK_OK ? tree_clear(replay->txn, tree) : rc;
}

static ftk_status
large_next_part(struct replay *replay)
{
    return value_writer_next(replay->txn, &replay->writer, &replay->large_to, &replay->large_left);
}

static ftk_status
op_large(struct replay *replay, const struct log_operation *op, uint64_t lsn)
{
    struct tree *tree;
    ftk_status rc;

    if (!key_fits(op) || replay->large_open || op->value_size == 0)
        return malformed(lsn, "large value is malformed");
    FTK_TRY(apply_gathered(replay));
    FTK_TRY(txn_tree(replay->txn, op->coll, &tree));
    if (tree->flags & CATALOG_KEYS_ONLY)
        FTK_TRY(malformed(lsn, "large value in a collection without values"));
    replay->large_coll = op->coll;
    memcpy(replay->large_key, op->key, op->key_size);
    replay->large_key_size = (uint32_t)op->key_size;
    FTK_TRY(value_writer_begin(replay->txn, op->value_size, &replay->writer));
    FTK_TRY(large_next_part(replay));
    replay->large_open = true;
out:
    return rc;
}

/* The last chunk is in: the value takes its place. */
static ftk_status
large_finish(struct replay *replay)
{
    uint8_t ref[LARGE_REF_BYTES];
    struct node_value value = {.data = ref, .size = sizeof(ref), .large = true};
    struct tree *tree;
    ftk_status rc;

    replay->large_open = false;
    FTK_TRY(value_writer_end(replay->txn, &replay->writer, ref));
    FTK_TRY(txn_tree(replay->txn, replay->large_coll, &tree));
    rc = tree_put(replay->txn, tree, replay->large_key, replay->large_key_size, &value,
                  KILN_PUT_REPLACE);
out:
    return rc;
}

static ftk_status
op_chunk(struct replay *replay, const struct log_operation *op, uint64_t lsn)
{
    uint64_t size = op->value_size;
    const uint8_t *data = op->value;

    if (!replay->large_open)
        return malformed(lsn, "piece of no large value");
    while (size > 0) {
        size_t n = size < replay->large_left ? (size_t)size : replay->large_left;
        if (n == 0)
            return malformed(lsn, "large value is longer than it said");
        memcpy(replay->large_to, data, n);
        replay->large_to += n;
        replay->large_left -= n;
        data += n;
        size -= n;
        if (replay->large_left > 0)
            continue;
        value_writer_filled(replay->txn, &replay->writer);
        if (replay->writer.done < replay->writer.size) {
            ftk_status rc = large_next_part(replay);
            if (rc != FTK_OK)
                return rc;
        }
    }
    return replay->writer.done == replay->writer.size ? large_finish(replay) : FTK_OK;
}

static ftk_status
op_savepoint(struct replay *replay, enum log_op op)
{
    ftk_status rc = apply_gathered(replay);

    if (rc != FTK_OK)
        return rc;
    if (op == OP_SAVEPOINT)
        return txn_savepoint(replay->txn);
    if (op == OP_RELEASE)
        return txn_savepoint_release(replay->txn);
    replay->large_open = false; /* a value that was given up half way */
    return txn_savepoint_rollback(replay->txn);
}

static ftk_status
apply_op(struct replay *replay, const struct log_operation *op, uint64_t lsn)
{
    switch (op->op) {
    case OP_PUT: return op_put(replay, op, lsn);
    case OP_DELETE: return op_delete(replay, op, lsn);
    case OP_COLL_CREATE: return op_coll(replay, op, lsn);
    case OP_COLL_DROP: return op_coll(replay, op, lsn);
    case OP_COLL_CLEAR: return op_coll(replay, op, lsn);
    case OP_SAVEPOINT: return op_savepoint(replay, op->op);
    case OP_RELEASE: return op_savepoint(replay, op->op);
    case OP_ROLLBACK: return op_savepoint(replay, op->op);
    case OP_LARGE: return op_large(replay, op, lsn);
    case OP_CHUNK: return op_chunk(replay, op, lsn);
    }
    return malformed(lsn, "unknown operation"); /* the decoder knows no other */
}

static ftk_status
apply_ops(struct replay *replay, const uint8_t *at, const uint8_t *end, uint64_t lsn)
{
    ftk_status rc = FTK_OK;

    while (at < end && rc == FTK_OK) {
        struct log_operation op;
        at = log_op_decode(at, end, &op);
        if (at == NULL)
            return malformed(lsn, "unknown or malformed operation");
        replay->ops++;
        rc = apply_op(replay, &op, lsn);
    }
    return rc;
}

/* ---- transactions ---------------------------------------------------------------------------- */

static ftk_status
replay_commit(struct replay *replay)
{
    kiln_txn *txn = replay->txn;
    ftk_status rc;

    if (txn == NULL)
        return FTK_OK;
    rc = apply_gathered(replay);
    FTK_ASSERT(!txn->writer.logs && txn->writer.reserve); /* of a replay */
    replay->txn = NULL;
    replay->bytes_in_txn = 0;
    if (rc == FTK_OK)
        return txn_commit_replay(txn, replay->txn_id, replay->lsn);
    txn_abort(txn);
    return rc;
}

/* The transaction whose fragments came never ended. */
static void
replay_abort(struct replay *replay)
{
    gathered_forget(replay);
    replay->large_open = false;
    if (replay->txn != NULL)
        txn_abort(replay->txn);
    replay->txn = NULL;
    replay->large_id = 0;
    replay->bytes_in_txn = 0;
}

static ftk_status
replay_begin(struct replay *replay)
{
    return replay->txn != NULL ? FTK_OK : txn_begin_replay(replay->db, &replay->txn);
}

static ftk_status
replay_record(struct replay *replay, const struct rfl_record *record)
{
    const uint8_t *end = record->body + record->body_size;
    uint64_t id = 0;
    const uint8_t *ops = ftk_varint_get(record->body, end, &id);
    ftk_status rc = FTK_OK;

    if (ops == NULL || id == 0 || (record->kind != LOG_FRAGMENT && record->kind != LOG_COMMIT))
        return malformed(record->lsn, "not a transaction's record");
    if (db_births(replay->db) <= id + replay->db->birth_skip) /* also of one that never ends */
        db_births_raise(replay->db, id + replay->db->birth_skip + 1);
    if (replay->skip_id == id) {
        if (record->kind == LOG_FRAGMENT)
            return FTK_OK;
        ftk_error_set(&replay->skip_error);
        return replay->skip_error.status;
    }
    if (replay->large_id != 0 && replay->large_id != id)
        replay_abort(replay);
    if (record->kind == LOG_FRAGMENT && replay->large_id == 0) {
        FTK_TRY(replay_commit(replay)); /* what came before stands by itself */
        replay->large_id = id;
    }
    FTK_TRY(replay_begin(replay));
    rc = apply_ops(replay, ops, end, record->lsn);
    if (rc == FTK_NOSPACE && record->kind == LOG_FRAGMENT) { /* as when it was made, perhaps */
        replay->skip_id = id;
        replay->skip_error = *ftk_error_last();
        replay_abort(replay);
        rc = FTK_OK;
        goto out;
    }
    if (rc != FTK_OK)
        goto out;
    replay->bytes_in_txn += record->body_size;
    if (record->kind == LOG_FRAGMENT)
        goto out;
    if (replay->large_open)
        FTK_TRY(malformed(record->lsn, "transaction ends inside a large value"));
    replay->large_id = 0;
    FTK_ASSERT(record->lsn_end > replay->lsn && replay->gathered_count <= COLLS_MAX);
    replay->txn_id = id;
    replay->lsn = record->lsn_end;
    replay->txns++;
    if (replay->bytes_in_txn >= TXN_BYTES)
        rc = replay_commit(replay);
out:
    return rc;
}

/* ---- run ------------------------------------------------------------------------------------- */

static ftk_status
progress(kiln_db *db, uint64_t done, uint64_t total)
{
    if (db->options.progress == NULL ||
        db->options.progress(db->options.progress_context, done, total) == 0)
        return FTK_OK;
    return FTK_FAIL(FTK_CANCELED, "recovery was canceled");
}

static void
replay_release(struct replay *replay)
{
    replay_abort(replay);
    for (size_t i = 0; i < replay->gathered_count; i++)
        gathered_release(&replay->gathered[i]);
    ftk_free(replay->bytes);
    ftk_free(replay);
}

/* The log's operations and the database do not go together: one of them is damaged. */
static ftk_status
misfit(ftk_status rc, uint64_t lsn)
{
    if (rc != FTK_NOTFOUND && rc != FTK_EXISTS && rc != FTK_STATE && rc != FTK_INVALID &&
        rc != FTK_TOOBIG)
        return rc;
    return FTK_FAIL(FTK_CORRUPT, "the log up to LSN %llu does not fit the database: %s",
                    (unsigned long long)lsn, ftk_status_text(rc));
}

ftk_status
recovery_run(kiln_db *db)
{
    uint64_t start = db->newest.lsn, end = rfl_lsn_end(db->log), shown = start;
    uint64_t begin_ns = ftk_clock_ns();
    struct rfl_reader *reader = NULL;
    struct replay *replay = NULL;
    struct rfl_record record;
    ftk_status rc = FTK_OK;

    if (end <= start)
        return FTK_OK;
    FTK_TRY(FTK_NEW(&replay));
    replay->db = db;
    FTK_TRY(ftk_alloc(GATHER_BYTES, (void **)&replay->bytes));
    FTK_TRY(recovery_warm(db, end - start));
    FTK_TRY(rfl_reader_open(db->log, start, &reader));
    while ((rc = rfl_reader_next(reader, &record)) == FTK_OK) {
        if (record.stream == 0)
            FTK_TRY(misfit(replay_record(replay, &record), record.lsn));
        if (record.lsn_end - shown >= PROGRESS_BYTES) {
            shown = record.lsn_end;
            FTK_TRY(progress(db, shown - start, end - start));
        }
    }
    if (rc != FTK_NOTFOUND)
        goto out;
    if (replay->large_id != 0)
        replay_abort(replay);
    FTK_TRY(misfit(replay_commit(replay), end));
    FTK_ASSERT(replay->txn == NULL && db->newest.lsn >= start);
    FTK_TRY(progress(db, end - start, end - start));
    db->recovered_txns = replay->txns;
    db->recovered_ops = replay->ops;
    db->recovery_ns = ftk_clock_ns() - begin_ns;
    ftk_log(&db->log_to, FTK_LOG_INFO, "%s: recovered %llu transactions from %llu log bytes",
            db->path, (unsigned long long)replay->txns, (unsigned long long)(end - start));
out:
    rfl_reader_close(reader);
    if (replay != NULL)
        replay_release(replay);
    return rc;
}
