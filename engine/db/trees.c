/* SPDX-License-Identifier: Apache-2.0 */
/* engine/db/trees.c -- the open trees of a transaction.  Invariants: engine/db/trees.h. */
#include "engine/db/trees.h"

#include <string.h>

#include "ftk/mem.h"

enum {
    SCANNED = 8,        /* so few are looked through without a table */
    OBJECTS_KEPT = 256, /* stay with an idle transaction object */
    SLOTS_MIN = 64,
};

/* ---- by number ------------------------------------------------------------------------------- */

static size_t
find_slot(const kiln_txn *txn, kiln_coll coll)
{
    size_t mask = txn->tree_slot_count - 1;
    size_t slot = (size_t)(coll * UINT64_C(0x9e3779b97f4a7c15) >> 32) & mask;

    while (txn->tree_slots[slot] != 0 && txn->trees[txn->tree_slots[slot] - 1]->id != coll)
        slot = (slot + 1) & mask;
    return slot;
}

struct tree *
trees_find(const kiln_txn *txn, kiln_coll coll)
{
    uint32_t place;

    if (txn->tree_count > SCANNED) {
        place = txn->tree_slots[find_slot(txn, coll)];
        return place == 0 ? NULL : txn->trees[place - 1];
    }
    for (size_t i = txn->tree_count; i-- > 0;)
        if (txn->trees[i]->id == coll)
            return txn->trees[i];
    return NULL;
}

/* A table for `count` trees, with those that are open in it. */
static ftk_status
slots_build(kiln_txn *txn, size_t count)
{
    size_t slots = SLOTS_MIN;
    uint32_t *fresh = NULL;
    ftk_status rc;

    while (slots < 2 * count)
        slots *= 2;
    FTK_ASSERT(count > SCANNED && count >= txn->tree_count);
    if (slots <= txn->tree_slot_count) {
        memset(txn->tree_slots, 0, txn->tree_slot_count * sizeof(*fresh));
    } else {
        rc = FTK_NEW_ARRAY(&fresh, slots);
        if (rc != FTK_OK)
            return rc;
        ftk_free(txn->tree_slots);
        txn->tree_slots = fresh;
        txn->tree_slot_count = slots;
    }
    for (size_t i = 0; i < txn->tree_count; i++)
        txn->tree_slots[find_slot(txn, txn->trees[i]->id)] = (uint32_t)i + 1;
    return FTK_OK;
}

/* ---- open ------------------------------------------------------------------------------------ */

static ftk_status
objects_reserve(kiln_txn *txn)
{
    size_t capacity = txn->tree_capacity == 0 ? 8 : txn->tree_capacity * 2;
    ftk_status rc;

    if (txn->tree_count == txn->tree_capacity) {
        rc = ftk_realloc((void **)&txn->trees, capacity * sizeof(struct tree *));
        if (rc != FTK_OK)
            return rc;
        memset(txn->trees + txn->tree_capacity, 0,
               (capacity - txn->tree_capacity) * sizeof(struct tree *));
        txn->tree_capacity = capacity;
    }
    if (txn->trees[txn->tree_count] != NULL) /* one of an earlier transaction */
        return FTK_OK;
    return FTK_NEW(&txn->trees[txn->tree_count]);
}

static ftk_status
before_reserve(struct txn_writer *writer)
{
    size_t capacity = writer->before_capacity == 0 ? 16 : writer->before_capacity * 2;
    ftk_status rc;

    if (writer->savepoint_count == 0 || writer->before_count < writer->before_capacity)
        return FTK_OK;
    rc = ftk_realloc((void **)&writer->before, capacity * sizeof(*writer->before));
    if (rc == FTK_OK)
        writer->before_capacity = capacity;
    return rc;
}

ftk_status
trees_reserve(kiln_txn *txn)
{
    size_t count = txn->tree_count + 1;
    ftk_status rc;

    FTK_TRY(objects_reserve(txn));
    FTK_TRY(before_reserve(&txn->writer));
    if (count == SCANNED + 1 || (count > SCANNED && txn->tree_slot_count < 2 * count))
        rc = slots_build(txn, count);
out:
    return rc;
}

static void
before_push(struct txn_writer *writer, struct tree *tree, const struct tree *was)
{
    FTK_ASSERT(writer->before_count < writer->before_capacity);
    FTK_ASSERT(writer->savepoint_count > 0 && tree->noted < writer->birth_floor);
    writer->before[writer->before_count++] = (struct tree_before){tree, *was};
    tree->noted = writer->birth_floor;
}

struct tree *
trees_add(kiln_txn *txn, const struct tree *tree, const struct tree *was)
{
    struct tree *added;

    FTK_ASSERT(txn->tree_count < txn->tree_capacity);
    added = txn->trees[txn->tree_count++];
    *added = *tree;
    if (txn->tree_count > SCANNED)
        txn->tree_slots[find_slot(txn, tree->id)] = (uint32_t)txn->tree_count;
    added->noted = 0;
    if (txn->writer.savepoint_count > 0)
        before_push(&txn->writer, added, was);
    FTK_DEBUG_ASSERT(trees_find(txn, tree->id) == added);
    return added;
}

/* ---- scopes ---------------------------------------------------------------------------------- */

ftk_status
trees_use(kiln_txn *txn, struct tree *tree)
{
    ftk_status rc;

    if (txn->writer.savepoint_count == 0 || tree->noted >= txn->writer.birth_floor)
        return FTK_OK;
    rc = before_reserve(&txn->writer);
    if (rc == FTK_OK)
        before_push(&txn->writer, tree, tree);
    return rc;
}

/* Of what the ending scope noted, the one around it keeps what it has not noted itself. */
void
trees_keep(kiln_txn *txn, const struct txn_savepoint *savepoint)
{
    struct txn_writer *writer = &txn->writer;
    size_t kept = savepoint->trees_before;

    FTK_ASSERT(kept <= writer->before_count);
    for (size_t i = kept; i < writer->before_count && writer->savepoint_count > 1; i++)
        if (writer->before[i].was.noted < savepoint->pages.birth_floor)
            writer->before[kept++] = writer->before[i];
    writer->before_count = kept;
    txn->tree_last = NULL;
}

void
trees_restore(kiln_txn *txn, const struct txn_savepoint *savepoint)
{
    struct txn_writer *writer = &txn->writer;

    FTK_ASSERT(savepoint->trees_before <= writer->before_count);
    while (writer->before_count > savepoint->trees_before) {
        const struct tree_before *before = &writer->before[--writer->before_count];
        uint64_t changes = before->tree->changes + 1;
        FTK_ASSERT(before->tree->id == before->was.id);
        *before->tree = before->was;
        before->tree->changes = changes;
    }
    txn->tree_last = NULL;
}

/* ---- life ------------------------------------------------------------------------------------ */

void
trees_start(kiln_txn *txn)
{
    FTK_ASSERT(txn->writer.savepoint_count == 0);
    if (txn->tree_capacity > OBJECTS_KEPT)
        trees_release(txn);
    txn->tree_count = 0;
    txn->writer.before_count = 0;
    txn->tree_last = NULL;
}

void
trees_release(kiln_txn *txn)
{
    struct txn_writer *writer = &txn->writer;

    for (size_t i = 0; i < txn->tree_capacity; i++)
        ftk_free(txn->trees[i]);
    ftk_free(txn->trees);
    ftk_free(txn->tree_slots);
    ftk_free(writer->before);
    txn->trees = NULL;
    txn->tree_slots = NULL;
    writer->before = NULL;
    txn->tree_count = txn->tree_capacity = txn->tree_slot_count = 0;
    writer->before_count = writer->before_capacity = 0;
}
