/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/txn/txn_log.c -- a transaction's operations, gathered for the roll-forward log.
 *
 * A call that may fail behind its first operation sets a mark.  While the operations behind it are
 * all in memory they are taken back by forgetting them, and the log never hears of the call.  When
 * some must leave (much has gathered), OP_SAVEPOINT is put in at each open mark first; what ends
 * the mark is then OP_RELEASE or OP_ROLLBACK, so a replay takes the half back as well.  Room for
 * both is kept from when the mark is set: `ops_kept`.
 *
 * Invariants
 * 1. The buffer has room for ops_kept bytes more: one for each savepoint, MARK_BYTES for each mark.
 * 2. Marks lie in the order of their positions; outside an inner mark that is logged there is none
 *    that is not.
 */
#include <string.h>

#include "engine/txn/txn_state.h"
#include "ftk/mem.h"

enum {
    OPS_STREAM_BYTES = 512 << 10, /* append a fragment when so much has gathered */
    OPS_CAPACITY_MIN = 4096,
    MARK_BYTES = 2, /* its beginning and its end */
};

/* On a full disk a checkpoint gives log segments back; what only deletes may use the last one. */
static ftk_status
append_somehow(kiln_txn *txn, enum log_kind kind, const struct rfl_part *parts, size_t count,
               uint64_t *lsn_end_out)
{
    kiln_db *db = txn->db;
    uint64_t lsn;
    ftk_status rc = rfl_append(db->log, 0, (uint8_t)kind, parts, count, &lsn, lsn_end_out);

    if (rc != FTK_NOSPACE || txn_holds_window(txn)) /* a checkpoint wants the window shut */
        return rc;
    rc = checkpointer_run(db->checkpointer, true);
    if (rc == FTK_OK)
        rc = rfl_append(db->log, 0, (uint8_t)kind, parts, count, &lsn, lsn_end_out);
    if (rc == FTK_NOSPACE && !txn->writer.grows)
        rc = rfl_append_reserved(db->log, 0, (uint8_t)kind, parts, count, &lsn, lsn_end_out);
    return rc;
}

static ftk_status
ops_append(kiln_txn *txn, enum log_kind kind, uint64_t *lsn_end_out)
{
    struct txn_writer *writer = &txn->writer;
    uint8_t head[FTK_VARINT_MAX];
    size_t head_size = (size_t)(ftk_varint_put(head, writer->birth_first) - head);
    struct rfl_part parts[2] = {{head, head_size}, {writer->ops, writer->ops_size}};
    ftk_status rc = append_somehow(txn, kind, parts, writer->ops_size > 0 ? 2 : 1, lsn_end_out);

    if (rc == FTK_OK)
        writer->ops_size = 0;
    else if (rfl_has_failed(txn->db->log))
        (void)db_fail(txn->db, rc); /* otherwise a file could not be made: over with this call */
    return rc;
}

/* Before operations leave: savepoints where the marks are, the innermost first. */
static void
marks_log(struct txn_writer *writer)
{
    for (struct txn_log_mark *mark = writer->mark; mark != NULL && !mark->logged;
         mark = mark->outer) {
        uint8_t *at = writer->ops + mark->at;
        FTK_ASSERT(mark->at <= writer->ops_size && writer->ops_size < writer->ops_capacity);
        memmove(at + 1, at, writer->ops_size - mark->at);
        *at = OP_SAVEPOINT;
        writer->ops_size++;
        mark->logged = true;
    }
}

ftk_status
txn_log_reserve(kiln_txn *txn, size_t bytes)
{
    struct txn_writer *writer = &txn->writer;
    size_t capacity = writer->ops_capacity;
    uint64_t lsn_end;
    ftk_status rc;

    bytes += writer->ops_kept;
    if (!writer->logs || writer->ops_size + bytes <= capacity)
        return FTK_OK;
    if (writer->ops_size >= OPS_STREAM_BYTES / 2 && writer->ops_size + bytes > OPS_STREAM_BYTES) {
        marks_log(writer);
        rc = ops_append(txn, LOG_FRAGMENT, &lsn_end);
        if (rc != FTK_OK)
            return rc;
        writer->fragments++;
    }
    if (writer->ops_size + bytes <= capacity)
        return FTK_OK;
    capacity = capacity == 0 ? OPS_CAPACITY_MIN : capacity;
    while (capacity < writer->ops_size + bytes)
        capacity *= 2;
    rc = ftk_realloc((void **)&writer->ops, capacity);
    if (rc == FTK_OK)
        writer->ops_capacity = capacity;
    return rc;
}

/* Room for it was reserved.  Inline, so that the parts are known where the operation is. */
FTK_INLINE void
op_add(struct txn_writer *writer, const struct log_operation *operation)
{
    size_t bytes = log_op_bytes(operation->op, operation->key_size, (size_t)operation->value_size);

    if (!writer->logs)
        return;
    FTK_ASSERT(bytes <= writer->ops_capacity - writer->ops_size);
    writer->ops_size =
        (size_t)(log_op_encode(writer->ops + writer->ops_size, operation) - writer->ops);
}

void
txn_log_put(kiln_txn *txn, kiln_coll coll, const void *key, size_t key_size, const void *value,
            size_t value_size)
{
    txn->writer.grows = true;
    op_add(&txn->writer, &(struct log_operation){.op = OP_PUT,
                                                 .coll = coll,
                                                 .key = key,
                                                 .key_size = key_size,
                                                 .value = value,
                                                 .value_size = value_size});
}

void
txn_log_delete(kiln_txn *txn, kiln_coll coll, const void *key, size_t key_size)
{
    op_add(&txn->writer, &(struct log_operation){
                             .op = OP_DELETE, .coll = coll, .key = key, .key_size = key_size});
}

void
txn_log_coll_create(kiln_txn *txn, kiln_coll coll, uint8_t flags, const void *name,
                    size_t name_size)
{
    op_add(&txn->writer, &(struct log_operation){.op = OP_COLL_CREATE,
                                                 .coll = coll,
                                                 .flags = flags,
                                                 .key = name,
                                                 .key_size = name_size});
}

void
txn_log_coll(kiln_txn *txn, enum log_op op, kiln_coll coll)
{
    FTK_ASSERT(log_op_parts(op) == LOG_PART_COLL);
    op_add(&txn->writer, &(struct log_operation){.op = op, .coll = coll});
}

void
txn_log_op(kiln_txn *txn, enum log_op op)
{
    FTK_ASSERT(log_op_parts(op) == LOG_PART_NONE);
    op_add(&txn->writer, &(struct log_operation){.op = op});
}

void
txn_log_large(kiln_txn *txn, kiln_coll coll, const void *key, size_t key_size, uint64_t value_size)
{
    txn->writer.grows = true;
    op_add(&txn->writer, &(struct log_operation){.op = OP_LARGE,
                                                 .coll = coll,
                                                 .key = key,
                                                 .key_size = key_size,
                                                 .value_size = value_size});
}

void
txn_log_chunk(kiln_txn *txn, const void *data, size_t size)
{
    op_add(&txn->writer,
           &(struct log_operation){.op = OP_CHUNK, .value = data, .value_size = size});
}

ftk_status
txn_log_commit(kiln_txn *txn, uint64_t *lsn_end_out)
{
    return ops_append(txn, LOG_COMMIT, lsn_end_out);
}

/* ---- marks ----------------------------------------------------------------------------------- */

ftk_status
txn_log_mark(kiln_txn *txn, struct txn_log_mark *mark)
{
    struct txn_writer *writer = &txn->writer;
    ftk_status rc = txn_log_reserve(txn, MARK_BYTES);

    if (rc != FTK_OK)
        return rc;
    *mark = (struct txn_log_mark){
        .at = writer->ops_size, .grows = writer->grows, .outer = writer->mark};
    writer->mark = mark;
    writer->ops_kept += MARK_BYTES;
    return FTK_OK;
}

static void
mark_end(struct txn_writer *writer, const struct txn_log_mark *mark)
{
    FTK_ASSERT(writer->mark == mark && writer->ops_kept >= MARK_BYTES);
    writer->mark = mark->outer;
    writer->ops_kept -= MARK_BYTES;
}

void
txn_log_keep(kiln_txn *txn, struct txn_log_mark *mark)
{
    mark_end(&txn->writer, mark);
    if (mark->logged)
        txn_log_op(txn, OP_RELEASE);
}

void
txn_log_take_back(kiln_txn *txn, struct txn_log_mark *mark)
{
    struct txn_writer *writer = &txn->writer;

    mark_end(writer, mark);
    writer->grows = mark->grows;
    if (mark->logged) {
        txn_log_op(txn, OP_ROLLBACK);
    } else {
        FTK_ASSERT(mark->at <= writer->ops_size);
        writer->ops_size = mark->at;
    }
}
