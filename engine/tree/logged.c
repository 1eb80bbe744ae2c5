/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/tree/logged.c -- writes to a collection as the log has them: room for the operation, then
 * the change, then the operation.
 *
 * A change that is made has room for its operation, and one that fails leaves none.  Large values
 * are logged as they are written, before they are in their place.  One that is given up half way
 * takes its runs and its operations back (struct large), which cannot fail: nothing in a tree has
 * been changed by then, for the change of the tree comes last and takes all or nothing.
 */
#include <string.h>

#include "engine/tree/tree.h"
#include "ftk/mem.h"

ftk_status
value_source_read(kiln_txn *txn, const struct value_source *source, void *buffer, size_t size)
{
    uint8_t before;
    int given_up;

    FTK_ASSERT(source->data == NULL && source->read != NULL);
    FTK_ASSERT(txn->refusal == TXN_FIT);
    before = txn_calls_begin(txn);
    given_up = source->read(source->context, buffer, size);
    txn_calls_end(txn, before);
    return given_up ? FTK_FAIL(FTK_CANCELED, "the value's source gave up") : FTK_OK;
}

/* Fill and log one part. */
static ftk_status
large_part(kiln_txn *txn, struct value_writer *writer, const struct value_source *source)
{
    uint8_t *memory;
    size_t size;
    ftk_status rc = value_writer_next(txn, writer, &memory, &size);

    if (rc != FTK_OK)
        return rc;
    if (source->data != NULL)
        memcpy(memory, source->data + writer->done, size);
    else
        rc = value_source_read(txn, source, memory, size);
    if (rc == FTK_OK)
        rc = txn_log_reserve(txn, log_op_bytes(OP_CHUNK, 0, size));
    if (rc != FTK_OK)
        return rc;
    txn_log_chunk(txn, memory, size);
    value_writer_filled(txn, writer);
    return FTK_OK;
}

/* A large value from its beginning until it is in its place. */
struct large {
    struct value_writer *writer;
    struct txn_log_mark mark;
    uint8_t ref[LARGE_REF_BYTES];
};

static ftk_status
large_fill(kiln_txn *txn, const struct tree *tree, kiln_slice key,
           const struct value_source *source, struct large *large)
{
    struct value_writer *writer = large->writer;
    ftk_status rc;

    FTK_TRY(txn_log_reserve(txn, log_op_bytes(OP_LARGE, key.size, 0)));
    txn_log_large(txn, tree->id, key.data, key.size, writer->size);
    while (writer->done < writer->size)
        FTK_TRY(large_part(txn, writer, source));
    rc = value_writer_end(txn, writer, large->ref);
out:
    return rc;
}

/* rc: of the change that puts it into its place. */
static ftk_status
large_end(kiln_txn *txn, struct large *large, ftk_status rc)
{
    if (rc == FTK_OK) {
        txn_log_keep(txn, &large->mark);
    } else {
        value_runs_drop(txn, large->writer);
        txn_log_take_back(txn, &large->mark);
    }
    ftk_free(large->writer);
    return rc;
}

/* Write the value into runs and log it.  On success large_end is to follow. */
static ftk_status
large_write(kiln_txn *txn, const struct tree *tree, kiln_slice key, uint64_t size,
            const struct value_source *source, struct large *large)
{
    ftk_status rc = ftk_alloc(sizeof(*large->writer), (void **)&large->writer);

    if (rc != FTK_OK)
        return rc;
    rc = value_writer_begin(txn, size, large->writer);
    if (rc == FTK_OK)
        rc = txn_log_mark(txn, &large->mark);
    if (rc != FTK_OK) {
        ftk_free(large->writer);
        return rc;
    }
    rc = large_fill(txn, tree, key, source, large);
    return rc == FTK_OK ? FTK_OK : large_end(txn, large, rc);
}

/* Before gigabytes are written for nothing.  No value is handed out: key may lie where the last one
 * was. */
static ftk_status
check_presence(kiln_txn *txn, const struct tree *tree, kiln_slice key, uint32_t flags)
{
    struct tree_path path = {0};
    ftk_status rc;

    if (flags == KILN_PUT_REPLACE)
        return FTK_OK;
    if (tree->height > 0) {
        rc = tree_descend(txn, tree, key.data, key.size, 0, &path);
        if (rc != FTK_OK)
            return rc;
        txn_leave(txn);
    }
    if (path.exact == (flags == KILN_PUT_UPDATE))
        return FTK_OK;
    return path.exact ? FTK_ANSWER(FTK_EXISTS, "the key is there already")
                      : FTK_ANSWER(FTK_NOTFOUND, "no such key");
}

ftk_status
logged_put_large(kiln_txn *txn, struct tree *tree, kiln_slice key, uint64_t size,
                 const struct value_source *source, uint32_t flags)
{
    struct large large;
    struct node_value value = {.data = large.ref, .size = sizeof(large.ref), .large = true};
    ftk_status rc;

    FTK_ASSERT(value_is_large(txn->db, key.size, size));
    if (tree->flags & CATALOG_KEYS_ONLY)
        return FTK_FAIL(FTK_INVALID, "the collection has no values");
    rc = check_presence(txn, tree, key, flags);
    if (rc == FTK_OK)
        rc = large_write(txn, tree, key, size, source, &large);
    if (rc != FTK_OK)
        return rc;
    return large_end(txn, &large,
                     tree_put(txn, tree, key.data, key.size, &value, KILN_PUT_REPLACE));
}

ftk_status
logged_put(kiln_txn *txn, struct tree *tree, kiln_slice key, kiln_slice value, uint32_t flags)
{
    struct node_value small = {.data = value.data, .size = (uint32_t)value.size};
    ftk_status rc;

    FTK_ASSERT(key.size > 0 && key.size <= NODE_KEY_MAX);
    if (FTK_UNLIKELY(value_is_large(txn->db, key.size, value.size))) {
        struct value_source source = {.data = value.data};
        return logged_put_large(txn, tree, key, value.size, &source, flags);
    }
    rc = txn_log_reserve(txn, log_op_bytes(OP_PUT, key.size, value.size));
    if (rc == FTK_OK)
        rc = tree_put(txn, tree, key.data, key.size, &small, flags);
    if (rc == FTK_OK)
        txn_log_put(txn, tree->id, key.data, key.size, value.data, value.size);
    return rc;
}

/* One by one, in order, where one is large: as many as go before the first error. */
static ftk_status
put_each(kiln_txn *txn, struct tree *tree, const struct logged_batch *batch, size_t *done)
{
    ftk_status rc = FTK_OK;

    for (size_t i = 0; i < batch->count && rc == FTK_OK; i++) {
        rc = logged_put(txn, tree, batch->keys[i], batch->values[i], batch->flags);
        *done += rc == FTK_OK;
    }
    return rc;
}

ftk_status
logged_put_many(kiln_txn *txn, struct tree *tree, const struct logged_batch *batch,
                size_t *done_out)
{
    bool large = false;

    *done_out = 0;
    for (size_t i = 0; i < batch->count; i++)
        large |= value_is_large(txn->db, batch->keys[i].size, batch->values[i].size);
    if (large)
        return put_each(txn, tree, batch, done_out);
    return batch->count == 0 ? FTK_OK
                             : tree_put_many(txn, tree, batch->keys, batch->values, batch->count,
                                             batch->flags, done_out);
}

ftk_status
logged_delete(kiln_txn *txn, struct tree *tree, kiln_slice key)
{
    ftk_status rc = txn_log_reserve(txn, log_op_bytes(OP_DELETE, key.size, 0));

    if (rc == FTK_OK)
        rc = tree_delete(txn, tree, key.data, key.size);
    if (rc == FTK_OK)
        txn_log_delete(txn, tree->id, key.data, key.size);
    return rc;
}

ftk_status
logged_clear(kiln_txn *txn, struct tree *tree)
{
    ftk_status rc = txn_log_reserve(txn, log_op_bytes(OP_COLL_CLEAR, 0, 0));

    if (rc == FTK_OK)
        rc = tree_clear(txn, tree);
    if (rc == FTK_OK)
        txn_log_coll(txn, OP_COLL_CLEAR, tree->id);
    return rc;
}

ftk_status
logged_bulk_add(kiln_bulk *bulk, kiln_slice key, kiln_slice value)
{
    kiln_txn *txn = bulk_txn(bulk);
    struct tree *tree = bulk_tree(bulk);
    struct node_value entry = {.data = value.data, .size = (uint32_t)value.size};
    struct large large;
    ftk_status rc;

    if (value_is_large(txn->db, key.size, value.size)) {
        struct value_source source = {.data = value.data};
        rc = large_write(txn, tree, key, value.size, &source, &large);
        if (rc != FTK_OK)
            return rc;
        entry = (struct node_value){.data = large.ref, .size = sizeof(large.ref), .large = true};
        return large_end(txn, &large, bulk_add(bulk, key.data, (uint32_t)key.size, &entry));
    }
    rc = txn_log_reserve(txn, log_op_bytes(OP_PUT, key.size, value.size));
    if (rc == FTK_OK)
        rc = bulk_add(bulk, key.data, (uint32_t)key.size, &entry);
    if (rc == FTK_OK)
        txn_log_put(txn, tree->id, key.data, key.size, value.data, value.size);
    return rc;
}
