/* engine/txn/txn_log.c -- a transaction's operations, gathered for the roll-forward log. */
#include <string.h>

#include "engine/txn/txn_state.h"
#include "ftk/mem.h"

enum {
    OPS_STREAM_BYTES = 512 << 10, /* append a fragment when so much has gathered */
    OPS_CAPACITY_MIN = 4096,
};

/* On a full disk a checkpoint gives log segments back; what only deletes may use the last one. */
static ftk_status
append_somehow(kiln_txn *txn, enum log_kind kind, const struct rfl_part *parts, size_t count,
               uint64_t *lsn_end_out)
{
    kiln_db *db = txn->db;
    uint64_t lsn;
    ftk_status rc = rfl_append(db->log, 0, (uint8_t)kind, parts, count, &lsn, lsn_end_out);

    if (rc != FTK_NOSPACE || txn->in_place.locked) /* a checkpoint wants the window shut */
        return rc;
    rc = checkpointer_run(db->checkpointer, true);
    if (rc == FTK_OK)
        rc = rfl_append(db->log, 0, (uint8_t)kind, parts, count, &lsn, lsn_end_out);
    if (rc == FTK_NOSPACE && !txn->grows)
        rc = rfl_append_reserved(db->log, 0, (uint8_t)kind, parts, count, &lsn, lsn_end_out);
    return rc;
}

static ftk_status
ops_append(kiln_txn *txn, enum log_kind kind, uint64_t *lsn_end_out)
{
    uint8_t head[FTK_VARINT_MAX];
    size_t head_size = (size_t)(ftk_varint_put(head, txn->birth_first) - head);
    struct rfl_part parts[2] = {{head, head_size}, {txn->ops, txn->ops_size}};
    ftk_status rc = append_somehow(txn, kind, parts, txn->ops_size > 0 ? 2 : 1, lsn_end_out);

    if (rc == FTK_OK)
        txn->ops_size = 0;
    else if ((rc == FTK_IO || rc == FTK_FAILED) && rfl_has_failed(txn->db->log))
        (void)db_fail(txn->db, rc); /* otherwise a file could not be made: over with this call */
    return rc;
}

ftk_status
txn_log_reserve(kiln_txn *txn, size_t bytes)
{
    size_t capacity = txn->ops_capacity;
    uint64_t lsn_end;
    ftk_status rc;

    bytes += txn->savepoint_count; /* each can end without failing */
    if (!txn->logs || txn->ops_size + bytes <= capacity)
        return FTK_OK;
    if (txn->ops_size >= OPS_STREAM_BYTES / 2 && txn->ops_size + bytes > OPS_STREAM_BYTES) {
        rc = ops_append(txn, LOG_FRAGMENT, &lsn_end);
        if (rc != FTK_OK)
            return rc;
        txn->fragments++;
    }
    if (txn->ops_size + bytes <= capacity)
        return FTK_OK;
    capacity = capacity == 0 ? OPS_CAPACITY_MIN : capacity;
    while (capacity < txn->ops_size + bytes)
        capacity *= 2;
    rc = ftk_realloc((void **)&txn->ops, capacity);
    if (rc == FTK_OK)
        txn->ops_capacity = capacity;
    return rc;
}

static void
op_end(kiln_txn *txn, const uint8_t *end)
{
    txn->ops_size = (size_t)(end - txn->ops);
    FTK_ASSERT(txn->ops_size <= txn->ops_capacity);
}

void
txn_log_put(kiln_txn *txn, kiln_coll coll, const void *key, size_t key_size, const void *value,
            size_t value_size)
{
    uint8_t *to;

    txn->grows = true;
    if (!txn->logs)
        return;
    to = txn->ops + txn->ops_size;
    *to++ = OP_PUT;
    to = ftk_varint_put(to, coll);
    to = ftk_varint_put(to, key_size);
    to = ftk_varint_put(to, value_size);
    memcpy(to, key, key_size);
    to += key_size;
    if (value_size > 0)
        memcpy(to, value, value_size);
    op_end(txn, to + value_size);
}

void
txn_log_delete(kiln_txn *txn, kiln_coll coll, const void *key, size_t key_size)
{
    uint8_t *to;

    if (!txn->logs)
        return;
    to = txn->ops + txn->ops_size;
    *to++ = OP_DELETE;
    to = ftk_varint_put(to, coll);
    to = ftk_varint_put(to, key_size);
    memcpy(to, key, key_size);
    op_end(txn, to + key_size);
}

void
txn_log_coll_create(kiln_txn *txn, kiln_coll coll, uint8_t flags, const void *name,
                    size_t name_size)
{
    uint8_t *to;

    if (!txn->logs)
        return;
    to = txn->ops + txn->ops_size;
    *to++ = OP_COLL_CREATE;
    to = ftk_varint_put(to, coll);
    *to++ = flags;
    to = ftk_varint_put(to, name_size);
    memcpy(to, name, name_size);
    op_end(txn, to + name_size);
}

void
txn_log_coll(kiln_txn *txn, enum log_op op, kiln_coll coll)
{
    uint8_t *to;

    if (!txn->logs)
        return;
    to = txn->ops + txn->ops_size;
    *to++ = (uint8_t)op;
    op_end(txn, ftk_varint_put(to, coll));
}

void
txn_log_op(kiln_txn *txn, enum log_op op)
{
    uint8_t *to;

    if (!txn->logs)
        return;
    to = txn->ops + txn->ops_size;
    *to++ = (uint8_t)op;
    op_end(txn, to);
}

void
txn_log_large(kiln_txn *txn, kiln_coll coll, const void *key, size_t key_size, uint64_t value_size)
{
    uint8_t *to;

    txn->grows = true;
    if (!txn->logs)
        return;
    to = txn->ops + txn->ops_size;
    *to++ = OP_LARGE;
    to = ftk_varint_put(to, coll);
    to = ftk_varint_put(to, key_size);
    to = ftk_varint_put(to, value_size);
    memcpy(to, key, key_size);
    op_end(txn, to + key_size);
}

void
txn_log_chunk(kiln_txn *txn, const void *data, size_t size)
{
    uint8_t *to;

    if (!txn->logs)
        return;
    to = txn->ops + txn->ops_size;
    *to++ = OP_CHUNK;
    to = ftk_varint_put(to, size);
    memcpy(to, data, size);
    op_end(txn, to + size);
}

ftk_status
txn_log_commit(kiln_txn *txn, uint64_t *lsn_end_out)
{
    return ops_append(txn, LOG_COMMIT, lsn_end_out);
}
