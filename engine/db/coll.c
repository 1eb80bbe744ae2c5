/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/db/coll.c -- the catalog: collections by number and by name.  Bytes:
 * engine/page/page_format.h.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/db/coll.h"
#include "engine/db/trees.h"
#include "engine/db/txn.h"
#include "engine/tree/cursor.h"
#include "ftk/mem.h"

enum { CATALOG_ENTRY_MAX = CATALOG_NAME + KILN_COLLECTION_NAME_MAX, NAME_KEY_MAX = 256 };

static void
number_key(kiln_coll coll, uint8_t key[5])
{
    key[0] = 'c';
    ftk_put_be32(key + 1, coll);
}

static ftk_status
tree_decode(kiln_txn *txn, kiln_coll coll, const uint8_t *entry, uint32_t size, struct tree *tree)
{
    if (size <= CATALOG_NAME || (entry[CATALOG_FLAGS] & ~CATALOG_FLAGS_KNOWN) != 0 ||
        entry[CATALOG_HEIGHT] > TREE_HEIGHT_MAX ||
        (entry[CATALOG_HEIGHT] == 0) != page_ref_is_none(page_ref_get(entry + CATALOG_ROOT)) ||
        (entry[CATALOG_HEIGHT] == 0 && ftk_get_le64(entry + CATALOG_KEYS) != 0) ||
        page_ref_id(page_ref_get(entry + CATALOG_ROOT)) >= txn->fast->pages_max)
        return FTK_FAIL(FTK_CORRUPT, "catalog entry of collection %u is malformed", coll);
    *tree = (struct tree){.id = coll,
                          .flags = entry[CATALOG_FLAGS],
                          .reserved = entry[CATALOG_NAME] == COLL_RESERVED_NAME_BYTE,
                          .height = entry[CATALOG_HEIGHT],
                          .root = page_ref_get(entry + CATALOG_ROOT),
                          .keys = ftk_get_le64(entry + CATALOG_KEYS)};
    return FTK_OK;
}

/* A get in the catalog; the value is copied out. */
static ftk_status
catalog_get(kiln_txn *txn, const void *key, size_t key_size, uint8_t *value, uint32_t *size_out)
{
    struct tree_look look = {.buffer = value, .buffer_size = CATALOG_ENTRY_MAX};
    ftk_status rc;

    FTK_ASSERT(key_size > 1 && key_size <= NAME_KEY_MAX);
    rc = tree_look(txn, &txn->catalog, (kiln_slice){key, key_size}, &look);
    if (rc != FTK_OK)
        return rc;
    if (look.large || look.size > CATALOG_ENTRY_MAX)
        return FTK_FAIL(FTK_CORRUPT, "catalog entry of %llu bytes", (unsigned long long)look.size);
    *size_out = (uint32_t)look.size;
    return FTK_OK;
}

static ftk_status
catalog_put(kiln_txn *txn, const void *key, size_t key_size, const void *data, uint32_t size)
{
    struct node_value value = {.data = data, .size = size};

    FTK_ASSERT(txn->write && size > 0 && size <= CATALOG_ENTRY_MAX);
    return tree_put(txn, &txn->catalog, key, key_size, &value, KILN_PUT_REPLACE);
}

/* Read a tree's entry.  FTK_NOTFOUND: there is none. */
static ftk_status
tree_read(kiln_txn *txn, kiln_coll coll, struct tree *tree)
{
    uint8_t key[5], entry[CATALOG_ENTRY_MAX];
    uint32_t size = 0;
    ftk_status rc;

    number_key(coll, key);
    rc = catalog_get(txn, key, sizeof(key), entry, &size);
    if (rc == FTK_OK)
        rc = tree_decode(txn, coll, entry, size, tree);
    if (rc == FTK_OK)
        tree->renewal = txn->reader.renewals;
    return rc;
}

/* The transaction was renewed since the tree was read: it is read again. */
static ftk_status
tree_renew(kiln_txn *txn, struct tree *tree)
{
    FTK_ASSERT(!txn->write && !tree->dirty);
    uint64_t changes = tree->changes + 1;
    struct tree fresh = {.id = tree->id, .dropped = true, .renewal = txn->reader.renewals};
    ftk_status rc = tree_read(txn, tree->id, &fresh);

    if (rc != FTK_OK && rc != FTK_NOTFOUND)
        return rc;
    *tree = fresh;
    tree->changes = changes;
    return FTK_OK;
}

/* An open tree is about to be used: by this scope, in this snapshot. */
static ftk_status
tree_ready(kiln_txn *txn, struct tree *tree)
{
    ftk_status rc = FTK_OK;

    if (tree->renewal != txn->reader.renewals)
        rc = tree_renew(txn, tree);
    if (rc == FTK_OK && tree->dropped)
        rc = FTK_FAIL(FTK_NOTFOUND, "collection %u was dropped", tree->id);
    return rc == FTK_OK ? trees_use(txn, tree) : rc;
}

ftk_status
txn_tree_slow(kiln_txn *txn, kiln_coll coll, struct tree **tree_out)
{
    struct tree *open = trees_find(txn, coll);
    struct tree tree;
    ftk_status rc;

    if (open != NULL) {
        rc = tree_ready(txn, open);
    } else {
        rc = trees_reserve(txn);
        if (rc == FTK_OK)
            rc = tree_read(txn, coll, &tree);
        if (rc == FTK_OK)
            open = trees_add(txn, &tree, &tree); /* not changed since before this scope */
        else if (rc == FTK_NOTFOUND)
            rc = FTK_FAIL(FTK_NOTFOUND, "there is no collection %u", coll);
    }
    if (rc != FTK_OK)
        return rc;
    FTK_ASSERT(open->id == coll && !open->dropped);
    *tree_out = txn->tree_last = open;
    return FTK_OK;
}

ftk_status
coll_cursor_ready(kiln_cursor *cursor)
{
    ftk_status rc = FTK_OK;

    if (cursor->txn == NULL)
        return FTK_ANSWER(FTK_STATE, "the cursor's transaction has ended");
    FTK_ASSERT(!cursor->positioned);
    if (cursor->tree->renewal != cursor->txn->reader.renewals)
        rc = tree_renew(cursor->txn, cursor->tree);
    cursor->renewed = rc != FTK_OK;
    return rc;
}

static uint32_t
entry_encode(const struct tree *tree, const void *name, size_t name_size, uint8_t *entry)
{
    FTK_ASSERT(page_ref_is_none(tree->root) == (tree->height == 0));
    FTK_ASSERT(tree->height > 0 || tree->keys == 0);
    FTK_ASSERT(name_size <= KILN_COLLECTION_NAME_MAX && !tree->dropped);
    page_ref_put(entry + CATALOG_ROOT, tree->root);
    entry[CATALOG_HEIGHT] = tree->height;
    entry[CATALOG_FLAGS] = tree->flags;
    ftk_put_le64(entry + CATALOG_KEYS, tree->keys);
    memcpy(entry + CATALOG_NAME, name, name_size);
    return CATALOG_NAME + (uint32_t)name_size;
}

struct creation {
    kiln_coll coll;
    uint8_t flags;
    const void *name;
    size_t name_size;
};

/* Two entries of the catalog, and the tree is open. */
static ftk_status
create(kiln_txn *txn, void *context)
{
    const struct creation *wanted = context;
    uint8_t key[5], entry[CATALOG_ENTRY_MAX], name_key[NAME_KEY_MAX], number[4];
    struct tree tree = {.id = wanted->coll,
                        .flags = wanted->flags,
                        .reserved = *(const uint8_t *)wanted->name == COLL_RESERVED_NAME_BYTE,
                        .renewal = txn->reader.renewals};
    struct tree none = {.id = wanted->coll, .dropped = true, .renewal = txn->reader.renewals};
    size_t entry_size = entry_encode(&tree, wanted->name, wanted->name_size, entry);
    ftk_status rc;

    number_key(wanted->coll, key);
    name_key[0] = 'n';
    memcpy(name_key + 1, wanted->name, wanted->name_size);
    ftk_put_le32(number, wanted->coll);
    txn->writer.grows = true;
    FTK_TRY(txn_log_reserve(txn, log_op_bytes(OP_COLL_CREATE, wanted->name_size, 0)));
    FTK_TRY(trees_reserve(txn));
    FTK_TRY(catalog_put(txn, key, sizeof(key), entry, (uint32_t)entry_size));
    FTK_TRY(catalog_put(txn, name_key, wanted->name_size + 1, number, sizeof(number)));
    if (wanted->coll >= txn->db->coll_next) /* a replay says the number */
        txn->db->coll_next = wanted->coll + 1;
    txn_log_coll_create(txn, wanted->coll, wanted->flags, wanted->name, wanted->name_size);
    (void)trees_add(txn, &tree, &none);
out:
    return rc;
}

ftk_status
coll_create_numbered(kiln_txn *txn, kiln_coll coll, uint8_t flags, const void *name,
                     size_t name_size)
{
    struct creation wanted = {coll, flags, name, name_size};

    FTK_ASSERT(coll > 0 && name_size > 0 && name_size <= KILN_COLLECTION_NAME_MAX);
    return txn_statement(txn, create, &wanted);
}

ftk_status
coll_open_internal(kiln_txn *txn, const void *name, size_t name_size, uint32_t flags,
                   kiln_coll *coll_out)
{
    uint8_t name_key[NAME_KEY_MAX], value[CATALOG_ENTRY_MAX];
    uint8_t tree_flags = 0;
    uint32_t size = 0;
    ftk_status rc;

    *coll_out = 0;
    if (name_size == 0 || name_size > KILN_COLLECTION_NAME_MAX)
        return FTK_FAIL(FTK_INVALID, "a collection's name has 1 to %d bytes",
                        KILN_COLLECTION_NAME_MAX);
    name_key[0] = 'n';
    memcpy(name_key + 1, name, name_size);
    rc = catalog_get(txn, name_key, name_size + 1, value, &size);
    if (rc == FTK_OK) {
        if (size != 4)
            return FTK_FAIL(FTK_CORRUPT, "catalog name entry of %u bytes", size);
        if (flags & KILN_COLL_EXCLUSIVE)
            return FTK_FAIL(FTK_EXISTS, "collection \"%.*s\" exists", (int)name_size,
                            (const char *)name);
        *coll_out = ftk_get_le32(value);
        if (*coll_out == 0)
            return FTK_FAIL(FTK_CORRUPT, "catalog name entry of \"%.*s\" has number 0",
                            (int)name_size, (const char *)name);
        return FTK_OK;
    }
    if (rc != FTK_NOTFOUND)
        return rc;
    if (!(flags & KILN_COLL_CREATE))
        return FTK_FAIL(FTK_NOTFOUND, "there is no collection \"%.*s\"", (int)name_size,
                        (const char *)name);
    rc = txn_check_write(txn);
    if (rc != FTK_OK)
        return rc;
    if (flags & COLL_KEYS_ONLY)
        tree_flags |= CATALOG_KEYS_ONLY;
    if (flags & COLL_U64_KEYS)
        tree_flags |= CATALOG_U64_KEYS;
    uint32_t number = txn->db->coll_next;
    if (number == UINT32_MAX)
        return FTK_FAIL(FTK_NOSPACE, "the database has no number left for another collection");
    txn->db->coll_next++; /* for good, whatever becomes of the transaction */
    rc = coll_create_numbered(txn, number, tree_flags, name, name_size);
    if (rc == FTK_OK)
        *coll_out = number;
    return rc;
}

bool
coll_entries_due(const kiln_txn *txn)
{
    for (size_t i = 0; i < txn->tree_count; i++)
        if (txn->trees[i]->dirty && !txn->trees[i]->dropped)
            return true;
    return false;
}

/* The first dirty tree from *at on, clean now; its entry up to the name.  NULL: none is left. */
static struct tree *
dirty_next(kiln_txn *txn, size_t *at, uint8_t head[CATALOG_NAME])
{
    struct tree *tree = NULL;

    txn_window_hold(txn); /* who gives a window back changes root and dirty */
    while (*at < txn->tree_count && (!txn->trees[*at]->dirty || txn->trees[*at]->dropped))
        (*at)++;
    if (*at < txn->tree_count) {
        tree = txn->trees[*at];
        tree->dirty = false;
        entry_encode(tree, "", 0, head);
    }
    txn_window_let(txn);
    return tree;
}

ftk_status
coll_write_entries(kiln_txn *txn)
{
    uint8_t key[5], head[CATALOG_NAME];
    struct tree *tree;
    ftk_status rc;

    FTK_ASSERT(txn->write && txn->writer.savepoint_count == 0); /* no rollback takes `dirty` back */
    for (size_t i = 0; (tree = dirty_next(txn, &i, head)) != NULL; i++) {
        number_key(tree->id, key);
        rc = tree_overwrite(txn, &txn->catalog, key, sizeof(key), head, sizeof(head));
        if (rc == FTK_NOTFOUND)
            rc = FTK_FAIL(FTK_CORRUPT, "the catalog has lost collection %u", tree->id);
        if (rc != FTK_OK)
            return rc;
    }
    return FTK_OK;
}

ftk_status
coll_each(kiln_txn *txn,
          ftk_status (*each)(void *context, kiln_coll coll, const struct tree *tree,
                             const uint8_t *name, size_t name_size),
          void *context)
{
    struct kiln_cursor *cursor = NULL;
    kiln_slice key, value;
    ftk_status rc;

    FTK_TRY(cursor_open_tree(txn, &txn->catalog, KILN_CURSOR_SCAN, &cursor));
    rc = cursor_seek(cursor, "c", 1);
    while (rc == FTK_OK) {
        struct tree tree, *open = NULL;
        FTK_TRY(cursor_item(cursor, &key, &value));
        if (key.size != 5 || *(const uint8_t *)key.data != 'c')
            break;
        kiln_coll coll = ftk_get_be32((const uint8_t *)key.data + 1);
        FTK_TRY(tree_decode(txn, coll, value.data, (uint32_t)value.size, &tree));
        open = trees_find(txn, coll);
        if (open != NULL && open->renewal != txn->reader.renewals)
            FTK_TRY(tree_renew(txn, open));
        if (open == NULL || !open->dropped)
            FTK_TRY(each(context, coll, open != NULL ? open : &tree,
                         (const uint8_t *)value.data + CATALOG_NAME, value.size - CATALOG_NAME));
        rc = cursor_next(cursor);
    }
    if (rc == FTK_NOTFOUND)
        rc = FTK_OK;
out:
    cursor_close(cursor);
    return rc;
}

/* The cursor is at a catalog entry of a collection that programs see: its name and number. */
static ftk_status
name_take(kiln_slice key, kiln_slice value, char *buffer, size_t buffer_size, kiln_coll *coll_out)
{
    size_t name_size = value.size - CATALOG_NAME;

    if (name_size + 1 > buffer_size)
        return FTK_FAIL(FTK_TRUNCATED, "the name needs %zu bytes", name_size + 1);
    memcpy(buffer, (const char *)value.data + CATALOG_NAME, name_size);
    buffer[name_size] = 0;
    *coll_out = ftk_get_be32((const uint8_t *)key.data + 1);
    return FTK_OK;
}

ftk_status
coll_name_next(kiln_txn *txn, kiln_coll after, uint64_t skip, char *buffer, size_t buffer_size,
               kiln_coll *coll_out)
{
    struct kiln_cursor *cursor = NULL;
    kiln_slice key, value;
    uint8_t from[5];
    ftk_status rc;

    FTK_TRY(cursor_open_tree(txn, &txn->catalog, KILN_CURSOR_SCAN, &cursor));
    number_key(after, from);
    rc = cursor_seek(cursor, from, sizeof(from));
    for (; rc == FTK_OK; rc = cursor_next(cursor)) {
        FTK_TRY(cursor_item(cursor, &key, &value));
        if (key.size != 5 || *(const uint8_t *)key.data != 'c') {
            rc = FTK_ANSWER(FTK_NOTFOUND, "there are no more collections");
            goto out;
        }
        if (value.size <= CATALOG_NAME || value.size > CATALOG_ENTRY_MAX) {
            rc = FTK_FAIL(FTK_CORRUPT, "catalog entry of %zu bytes", value.size);
            goto out;
        }
        if (ftk_get_be32((const uint8_t *)key.data + 1) == after ||
            ((const uint8_t *)value.data)[CATALOG_NAME] == COLL_RESERVED_NAME_BYTE || skip-- > 0)
            continue;
        rc = name_take(key, value, buffer, buffer_size, coll_out);
        goto out;
    }
    if (rc == FTK_NOTFOUND)
        rc = FTK_ANSWER(FTK_NOTFOUND, "there are no more collections");
out:
    cursor_close(cursor);
    return rc;
}

/* The tree's pages and two entries of the catalog. */
static ftk_status
drop(kiln_txn *txn, void *context)
{
    kiln_coll coll = *(const kiln_coll *)context;
    uint8_t key[5], entry[CATALOG_ENTRY_MAX], name_key[NAME_KEY_MAX];
    uint32_t size = 0;
    struct tree *tree;
    ftk_status rc;

    FTK_TRY(txn_tree(txn, coll, &tree));
    number_key(coll, key);
    FTK_TRY(txn_log_reserve(txn, log_op_bytes(OP_COLL_DROP, 0, 0)));
    FTK_TRY(catalog_get(txn, key, sizeof(key), entry, &size));
    if (size <= CATALOG_NAME) {
        rc = FTK_FAIL(FTK_CORRUPT, "catalog entry of collection %u has no name", coll);
        goto out;
    }
    name_key[0] = 'n';
    memcpy(name_key + 1, entry + CATALOG_NAME, size - CATALOG_NAME);
    FTK_TRY(tree_clear(txn, tree));
    FTK_TRY(tree_delete(txn, &txn->catalog, name_key, size - CATALOG_NAME + 1));
    FTK_TRY(tree_delete(txn, &txn->catalog, key, sizeof(key)));
    tree->dropped = true;
    tree->dirty = false;
    txn_log_coll(txn, OP_COLL_DROP, coll);
out:
    return rc;
}

ftk_status
coll_drop(kiln_txn *txn, kiln_coll coll)
{
    return txn_statement(txn, drop, &coll);
}
