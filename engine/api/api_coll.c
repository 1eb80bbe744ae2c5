/* SPDX-License-Identifier: Apache-2.0 */
/* engine/api/api_coll.c -- kiln.h: collections, batches, bulk. */
#include <string.h>

#include "engine/api/api_lent.h"
#include "engine/db/coll.h"
#include "engine/db/extension.h"
#include "engine/db/txn.h"
#include "ftk/mem.h"

/* The end of a call that changes something: what a writer lent before is given back only now, so
 * that the call's arguments may lie there. */
static kiln_status
write_answer(kiln_txn *txn, ftk_status rc)
{
    txn_unhold(txn);
    FTK_ASSERT(!txn_holds_window(txn)); /* no lock outlives a call */
    return txn_answer(txn, rc);
}

kiln_status
kiln_coll_open(kiln_txn *txn, const char *name, uint32_t flags, kiln_coll *coll_out)
{
    *coll_out = 0;
    if (name == NULL || name[0] == COLL_RESERVED_NAME_BYTE)
        return txn_answer(txn, FTK_FAIL(FTK_INVALID, "not a name for a collection"));
    if (flags & ~(uint32_t)(KILN_COLL_CREATE | KILN_COLL_EXCLUSIVE))
        return txn_answer(txn, FTK_FAIL(FTK_INVALID, "unknown flags %#x", flags));
    return write_answer(txn, coll_open_internal(txn, name, strlen(name), flags, coll_out));
}

/* Who writes: a program, or an extension to a collection of its own. */
enum writer { PROGRAM, EXTENSION };

/* What every write to a collection begins with. */
static ftk_status
write_begin(kiln_txn *txn, kiln_coll coll, enum writer writer, struct tree **tree_out)
{
    ftk_status rc = txn_check_write(txn);

    if (rc == FTK_OK)
        rc = txn_tree(txn, coll, tree_out);
    if (rc == FTK_OK && FTK_UNLIKELY((*tree_out)->building))
        rc = FTK_FAIL(FTK_STATE, "a bulk builder is at work on collection %u", coll);
    if (rc == FTK_OK && FTK_UNLIKELY((*tree_out)->reserved && writer == PROGRAM))
        rc = FTK_FAIL(FTK_INVALID,
                      "collection %u holds records or an index: it is changed by their calls alone",
                      coll);
    FTK_ASSERT(rc != FTK_OK || ((*tree_out)->id == coll && !(*tree_out)->dropped));
    return rc;
}

static ftk_status
check_key(const void *key, size_t size)
{
    if (FTK_LIKELY(key != NULL && size > 0 && size <= KILN_KEY_MAX))
        return FTK_OK;
    if (size > KILN_KEY_MAX)
        return FTK_FAIL(FTK_TOOBIG, "a key of %zu bytes (at most %d)", size, KILN_KEY_MAX);
    return FTK_FAIL(FTK_INVALID, "an empty key");
}

static ftk_status
check_keys(const kiln_slice *keys, size_t count)
{
    ftk_status rc = FTK_OK;

    if (keys == NULL && count > 0)
        return FTK_FAIL(FTK_INVALID, "no keys");
    for (size_t i = 0; i < count && rc == FTK_OK; i++)
        rc = check_key(keys[i].data, keys[i].size);
    return rc;
}

static kiln_status
drop(kiln_txn *txn, kiln_coll coll, enum writer writer)
{
    struct tree *tree;
    ftk_status rc = write_begin(txn, coll, writer, &tree);

    return write_answer(txn, rc != FTK_OK ? rc : coll_drop(txn, coll));
}

kiln_status
kiln_coll_drop(kiln_txn *txn, kiln_coll coll)
{
    return drop(txn, coll, PROGRAM);
}

kiln_status
extension_coll_drop(kiln_txn *txn, kiln_coll coll)
{
    return drop(txn, coll, EXTENSION);
}

kiln_status
kiln_coll_clear(kiln_txn *txn, kiln_coll coll)
{
    struct tree *tree;
    ftk_status rc;

    FTK_TRY(write_begin(txn, coll, PROGRAM, &tree));
    rc = logged_clear(txn, tree);
out:
    return write_answer(txn, rc);
}

kiln_status
kiln_coll_next(kiln_txn *txn, kiln_coll after, char *buffer, size_t buffer_size,
               kiln_coll *coll_out)
{
    kiln_coll coll = 0;
    ftk_status rc;

    rc = coll_name_next(txn, after, 0, buffer, buffer_size, &coll);
    FTK_ASSERT(rc != FTK_OK || coll > after); /* so that a walk ends */
    if (coll_out != NULL)
        *coll_out = coll;
    return txn_answer(txn, rc);
}

/* Who asks for one after the other goes on from the last answer. */
kiln_status
kiln_coll_name(kiln_txn *txn, uint64_t n, char *buffer, size_t buffer_size, kiln_coll *coll_out)
{
    struct txn_named *last = &txn->named;
    kiln_coll coll = 0;
    ftk_status rc;

    if (n < last->count || last->changes != txn->catalog.changes ||
        last->renewals != txn->reader.renewals)
        *last =
            (struct txn_named){.changes = txn->catalog.changes, .renewals = txn->reader.renewals};
    rc = coll_name_next(txn, last->coll, n - last->count, buffer, buffer_size, &coll);
    if (rc == FTK_OK) {
        FTK_ASSERT(coll > last->coll && n >= last->count);
        last->coll = coll;
        last->count = n + 1;
    }
    if (coll_out != NULL)
        *coll_out = coll;
    return txn_answer(txn, rc);
}

/* ---- get ------------------------------------------------------------------------------------- */

kiln_status
kiln_get(kiln_txn *txn, kiln_coll coll, const void *key, size_t key_size, kiln_slice *value_out)
{
    uint8_t ref[LARGE_REF_BYTES];
    struct node_entry entry;
    struct lent_run run;
    struct tree *tree;
    ftk_status rc;

    *value_out = (kiln_slice){NULL, 0};
    rc = txn_tree(txn, coll, &tree);
    if (FTK_UNLIKELY(rc != FTK_OK))
        return txn_answer(txn, rc);
    rc = check_key(key, key_size);
    if (FTK_UNLIKELY(rc != FTK_OK))
        return txn_answer(txn, rc);
    rc = tree_get(txn, tree, key, key_size, ref, &entry);
    if (rc != FTK_OK)
        return txn_answer(txn, rc);
    if (FTK_LIKELY(!entry.large)) {
        *value_out = (kiln_slice){entry.value, entry.value_size};
        return KILN_OK;
    }
    txn_lend_run_next(txn);
    rc = value_pin(txn, ref, &run, value_out);
    FTK_ASSERT(rc != FTK_OK || (run.pages > 0 && api_is_lent(txn, value_out->data)));
    if (rc == FTK_OK)
        txn_lend_run(txn, run);
    return txn_answer(txn, rc);
}

kiln_status
kiln_get_many(kiln_txn *txn, kiln_coll coll, const kiln_slice *keys, size_t count,
              int (*each)(void *context, size_t index, kiln_slice value), void *context)
{
    struct api_lent lent = {.keys = keys};
    struct tree *tree;
    ftk_status rc;

    FTK_TRY(txn_tree(txn, coll, &tree));
    FTK_TRY(check_keys(keys, count));
    if (each == NULL && count > 0) {
        rc = FTK_FAIL(FTK_INVALID, "get_many: no function to call");
        goto out;
    }
    FTK_TRY(api_lent_copy(txn, &lent, count));
    rc = tree_get_many(txn, tree, lent.keys, count, each, context);
out:
    api_lent_free(&lent);
    return txn_answer(txn, rc);
}

kiln_status
kiln_value_size(kiln_txn *txn, kiln_coll coll, const void *key, size_t key_size, uint64_t *size_out)
{
    struct tree_look look = {0};
    struct tree *tree;
    ftk_status rc;

    *size_out = 0;
    FTK_TRY(txn_tree(txn, coll, &tree));
    FTK_TRY(check_key(key, key_size));
    FTK_TRY(tree_look(txn, tree, (kiln_slice){key, key_size}, &look));
    *size_out = look.size;
out:
    return txn_answer(txn, rc);
}

kiln_status
kiln_value_read(kiln_txn *txn, kiln_coll coll, const void *key, size_t key_size, uint64_t offset,
                void *buffer, size_t buffer_size, size_t *read_out)
{
    struct tree_look look = {.offset = offset, .buffer = buffer, .buffer_size = buffer_size};
    struct tree *tree;
    ftk_status rc;

    *read_out = 0;
    FTK_TRY(txn_tree(txn, coll, &tree));
    FTK_TRY(check_key(key, key_size));
    if (buffer == NULL && buffer_size > 0) {
        rc = FTK_FAIL(FTK_INVALID, "value_read: no buffer");
        goto out;
    }
    FTK_TRY(tree_value_read(txn, tree, (kiln_slice){key, key_size}, &look));
    FTK_ASSERT(look.copied <= buffer_size);
    FTK_ASSERT(look.copied == 0 || look.copied <= look.size - offset);
    *read_out = look.copied;
out:
    return txn_answer(txn, rc);
}

kiln_status
kiln_hold(kiln_txn *txn, const void *value, size_t value_size)
{
    ftk_status rc = FTK_OK;

    if (txn->write)
        rc = FTK_FAIL(FTK_STATE, "hold: in a write transaction values are to be copied");
    else if (value_size > 0)
        rc = tree_hold(txn, (kiln_slice){value, value_size});
    return txn_answer(txn, rc);
}

kiln_status
kiln_release(kiln_txn *txn, const void *value, size_t value_size)
{
    ftk_status rc = FTK_OK;

    if (txn->write)
        rc = FTK_FAIL(FTK_STATE, "release: in a write transaction nothing is held");
    else if (value_size > 0)
        rc = lent_release(&txn->reader.lent, txn->cache, value, value_size);
    return txn_answer(txn, rc);
}

kiln_status
kiln_coll_count(kiln_txn *txn, kiln_coll coll, uint64_t *count_out)
{
    struct tree *tree;
    ftk_status rc = txn_tree(txn, coll, &tree);

    *count_out = rc == FTK_OK ? tree->keys : 0;
    return txn_answer(txn, rc);
}

kiln_status
kiln_range_estimate(kiln_txn *txn, kiln_coll coll, kiln_slice low, kiln_slice high,
                    uint64_t *count_out)
{
    struct tree *tree;
    ftk_status rc;

    *count_out = 0;
    FTK_TRY(txn_tree(txn, coll, &tree));
    rc = tree_range_estimate(txn, tree, low, high, count_out);
    FTK_ASSERT(*count_out <= tree->keys);
out:
    return txn_answer(txn, rc);
}

/* ---- put, delete ----------------------------------------------------------------------------- */

static inline kiln_status
put(kiln_txn *txn, kiln_coll coll, kiln_slice key, kiln_slice value, uint32_t flags,
    enum writer writer)
{
    struct tree *tree;
    ftk_status rc = write_begin(txn, coll, writer, &tree);

    if (rc == FTK_OK)
        rc = check_key(key.data, key.size);
    if (FTK_UNLIKELY(rc != FTK_OK))
        return write_answer(txn, rc);
    if (FTK_UNLIKELY(flags > KILN_PUT_UPDATE || (value.data == NULL && value.size > 0)))
        return write_answer(txn, FTK_FAIL(FTK_INVALID, "put: flags %#x or no value", flags));
    return write_answer(txn, logged_put(txn, tree, key, value, flags));
}

/* A large value may stay where it is: nobody changes a run, and this one is pinned to the end. */
static kiln_status
put_lent(kiln_txn *txn, kiln_coll coll, kiln_slice key, kiln_slice value, uint32_t flags,
         enum writer writer)
{
    bool large = key.size <= KILN_KEY_MAX && value_is_large(txn->db, key.size, value.size);
    struct api_lent lent = {.keys = &key, .values = large ? NULL : &value};
    kiln_status rc;

    if (key.size > KILN_KEY_MAX)
        return txn_answer(txn, check_key(key.data, key.size));
    rc = txn_answer(txn, api_lent_copy(txn, &lent, 1));
    FTK_ASSERT(rc != KILN_OK || !api_is_lent(txn, lent.keys->data));
    if (rc == KILN_OK)
        rc = put(txn, coll, *lent.keys, large ? value : *lent.values, flags, writer);
    api_lent_free(&lent);
    return rc;
}

kiln_status
kiln_put(kiln_txn *txn, kiln_coll coll, const void *key, size_t key_size, const void *value,
         size_t value_size, uint32_t flags)
{
    const kiln_slice key_slice = {key, key_size}, value_slice = {value, value_size};

    if (FTK_UNLIKELY(api_is_lent(txn, value) || api_is_lent(txn, key)))
        return put_lent(txn, coll, key_slice, value_slice, flags, PROGRAM);
    return put(txn, coll, key_slice, value_slice, flags, PROGRAM);
}

kiln_status
extension_put(kiln_txn *txn, kiln_coll coll, kiln_slice key, kiln_slice value, uint32_t flags)
{
    if (FTK_UNLIKELY(api_is_lent(txn, value.data) || api_is_lent(txn, key.data)))
        return put_lent(txn, coll, key, value, flags, EXTENSION);
    return put(txn, coll, key, value, flags, EXTENSION);
}

kiln_status
kiln_value_write(kiln_txn *txn, kiln_coll coll, const void *key, size_t key_size, uint64_t size,
                 int (*read)(void *context, void *buffer, size_t buffer_size), void *context)
{
    struct value_source source = {.read = read, .context = context};
    uint8_t lent[KILN_KEY_MAX], *small = NULL;
    struct tree *tree;
    ftk_status rc;

    if (key != NULL && key_size <= sizeof(lent)) /* `read` may call what lends another value */
        key = memcpy(lent, key, key_size);
    FTK_TRY(write_begin(txn, coll, PROGRAM, &tree));
    FTK_TRY(check_key(key, key_size));
    if (size > KILN_VALUE_MAX)
        FTK_TRY(FTK_FAIL(FTK_TOOBIG, "a value of %llu bytes", (unsigned long long)size));
    if (read == NULL && size > 0)
        FTK_TRY(FTK_FAIL(FTK_INVALID, "value_write: no function to read from"));
    if (value_is_large(txn->db, key_size, size)) {
        rc = logged_put_large(txn, tree, (kiln_slice){key, key_size}, size, &source,
                              KILN_PUT_REPLACE);
        goto out;
    }
    FTK_TRY(ftk_alloc(size + 1, (void **)&small));
    if (size > 0)
        FTK_TRY(value_source_read(txn, &source, small, size));
    rc = (ftk_status)kiln_put(txn, coll, key, key_size, small, size, KILN_PUT_REPLACE);
out:
    ftk_free(small);
    return write_answer(txn, rc);
}

static kiln_status
delete_key(kiln_txn *txn, kiln_coll coll, kiln_slice key, enum writer writer)
{
    uint8_t lent[KILN_KEY_MAX];
    struct tree *tree;
    ftk_status rc;

    key.data = api_lent_key(txn, key.data, key.size, lent);
    FTK_TRY(write_begin(txn, coll, writer, &tree));
    FTK_TRY(check_key(key.data, key.size));
    rc = logged_delete(txn, tree, key);
out:
    return write_answer(txn, rc);
}

kiln_status
kiln_delete(kiln_txn *txn, kiln_coll coll, const void *key, size_t key_size)
{
    return delete_key(txn, coll, (kiln_slice){key, key_size}, PROGRAM);
}

kiln_status
extension_delete(kiln_txn *txn, kiln_coll coll, kiln_slice key)
{
    return delete_key(txn, coll, key, EXTENSION);
}

static ftk_status
check_batch(const struct logged_batch *batch)
{
    if (batch->flags > KILN_PUT_UPDATE)
        return FTK_FAIL(FTK_INVALID, "put: flags %#x", batch->flags);
    if (batch->values == NULL && batch->count > 0)
        return FTK_FAIL(FTK_INVALID, "put_many: no values");
    for (size_t i = 0; i < batch->count; i++) {
        if (batch->values[i].data == NULL && batch->values[i].size > 0)
            return FTK_FAIL(FTK_INVALID, "put_many: key %zu has no value", i);
    }
    return check_keys(batch->keys, batch->count);
}

static kiln_status
put_many(kiln_txn *txn, kiln_coll coll, struct logged_batch *batch, enum writer writer,
         size_t *done_out)
{
    struct api_lent lent = {.keys = batch->keys, .values = batch->values};
    size_t done = 0;
    struct tree *tree;
    ftk_status rc;

    if (done_out != NULL)
        *done_out = 0;
    FTK_TRY(write_begin(txn, coll, writer, &tree));
    if (writer == PROGRAM) { /* the extension's are right, and its own */
        FTK_TRY(check_batch(batch));
        FTK_TRY(api_lent_copy(txn, &lent, batch->count));
    }
    FTK_DEBUG_ASSERT(check_batch(batch) == FTK_OK && !api_any_lent(txn, &lent, batch->count));
    batch->keys = lent.keys;
    batch->values = lent.values;
    rc = logged_put_many(txn, tree, batch, &done);
    FTK_ASSERT(rc == FTK_OK ? done == batch->count : done <= batch->count);
    if (done_out != NULL)
        *done_out = done;
out:
    api_lent_free(&lent);
    return write_answer(txn, rc);
}

kiln_status
kiln_put_many(kiln_txn *txn, kiln_coll coll, const kiln_slice *keys, const kiln_slice *values,
              size_t count, uint32_t flags, size_t *done_out)
{
    struct logged_batch batch = {keys, values, count, flags};

    return put_many(txn, coll, &batch, PROGRAM, done_out);
}

kiln_status
extension_put_many(kiln_txn *txn, kiln_coll coll, struct extension_batch *batch)
{
    struct logged_batch logged = {batch->keys, batch->values, batch->count, batch->flags};

    return put_many(txn, coll, &logged, EXTENSION, &batch->done);
}

static kiln_status
delete_many(kiln_txn *txn, kiln_coll coll, const kiln_slice *keys, size_t count, enum writer writer,
            uint64_t *deleted_out)
{
    struct api_lent lent = {.keys = keys};
    uint64_t deleted = 0;
    struct tree *tree;
    ftk_status rc;

    FTK_TRY(write_begin(txn, coll, writer, &tree));
    if (writer == PROGRAM) { /* as put_many */
        FTK_TRY(check_keys(keys, count));
        FTK_TRY(api_lent_copy(txn, &lent, count));
    }
    FTK_DEBUG_ASSERT(check_keys(keys, count) == FTK_OK && !api_any_lent(txn, &lent, count));
    if (count > 0)
        rc = tree_delete_many(txn, tree, lent.keys, count, &deleted);
    FTK_ASSERT(deleted <= count);
out:
    api_lent_free(&lent);
    if (deleted_out != NULL)
        *deleted_out = deleted;
    return write_answer(txn, rc);
}

kiln_status
kiln_delete_many(kiln_txn *txn, kiln_coll coll, const kiln_slice *keys, size_t count,
                 uint64_t *deleted_out)
{
    return delete_many(txn, coll, keys, count, PROGRAM, deleted_out);
}

kiln_status
extension_delete_many(kiln_txn *txn, kiln_coll coll, const kiln_slice *keys, size_t count)
{
    return delete_many(txn, coll, keys, count, EXTENSION, NULL);
}

/* ---- bulk ------------------------------------------------------------------------------------ */

kiln_status
kiln_bulk_begin(kiln_txn *txn, kiln_coll coll, kiln_bulk **bulk_out)
{
    struct tree *tree;
    ftk_status rc;

    *bulk_out = NULL;
    FTK_TRY(write_begin(txn, coll, PROGRAM, &tree));
    rc = bulk_begin(txn, tree, bulk_out);
    FTK_ASSERT((rc == FTK_OK) == (*bulk_out != NULL) && tree->building == (rc == FTK_OK));
out:
    return write_answer(txn, rc);
}

static kiln_status
builder_ended(void)
{
    return FTK_ANSWER(FTK_STATE, "the bulk builder's transaction has ended");
}

kiln_status
kiln_bulk_add(kiln_bulk *bulk, const void *key, size_t key_size, const void *value,
              size_t value_size)
{
    kiln_txn *txn = bulk_txn(bulk);
    ftk_status rc;

    if (FTK_UNLIKELY(txn == NULL))
        return builder_ended();
    FTK_ASSERT(txn->writer.bulks != NULL && bulk_tree(bulk)->building);
    FTK_TRY(txn_check_write(txn));
    FTK_TRY(check_key(key, key_size));
    FTK_TRY(bulk_check_order(bulk, key, key_size));
    if (value == NULL && value_size > 0) {
        rc = FTK_FAIL(FTK_INVALID, "bulk: no value");
        goto out;
    }
    rc = logged_bulk_add(bulk, (kiln_slice){key, key_size}, (kiln_slice){value, value_size});
out:
    return txn_answer(txn, rc);
}

kiln_status
kiln_bulk_end(kiln_bulk *bulk)
{
    kiln_txn *txn = bulk_txn(bulk);
    ftk_status rc;

    if (txn == NULL) {
        bulk_free(bulk);
        return builder_ended();
    }
    rc = txn_check_idle(txn);
    if (rc != FTK_OK)
        return txn_answer(txn, rc); /* it is still there */
    rc = txn_check_write(txn);
    bulk_end(bulk);
    return txn_answer(txn, rc);
}

kiln_status
kiln_bulk_abort(kiln_bulk *bulk)
{
    kiln_txn *txn = bulk == NULL ? NULL : bulk_txn(bulk);
    ftk_status rc;

    if (txn != NULL) {
        rc = txn_check_idle(txn);
        return txn_answer(txn, rc != FTK_OK ? rc : bulk_abort(bulk));
    }
    if (bulk != NULL)
        bulk_free(bulk); /* its keys went with the transaction */
    return KILN_OK;
}
