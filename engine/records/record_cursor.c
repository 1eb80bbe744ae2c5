/* SPDX-License-Identifier: Apache-2.0 */
/* engine/records/record_cursor.c -- records of a container in order of id. */
#include <string.h>

#include "engine/records/records_internal.h"
#include "ftk/bytes.h"
#include "ftk/mem.h"

struct kiln_record_cursor {
    kiln_txn *txn;
    kiln_container container;
    kiln_cursor *cursor;
    uint64_t id_next; /* the least id still to be given; 0: none is left */
    bool positioned;
};

/* To the least key that is still to be given. */
static kiln_status
seek(kiln_record_cursor *cursor)
{
    uint8_t key[8];

    FTK_ASSERT(cursor->id_next != 0);
    ftk_put_be64(key, cursor->id_next);
    return kiln_cursor_seek(cursor->cursor, key, sizeof(key));
}

/* After a rollback, or at the end, the cursor below has no place; it then begins anew. */
static ftk_status
step(kiln_record_cursor *cursor, struct records_txn *state, const struct dict_container *container,
     uint64_t *id_out, kiln_record *record)
{
    ftk_status rc;

    if (cursor->positioned) {
        FTK_TRY(kiln_cursor_next(cursor->cursor));
        FTK_TRY(records_cursor_read(state, container, cursor->cursor, id_out, NULL));
        if (*id_out < cursor->id_next)
            FTK_TRY(seek(cursor));
    } else {
        FTK_TRY(seek(cursor));
    }
    rc = records_cursor_read(state, container, cursor->cursor, id_out, record);
out:
    cursor->positioned = rc == FTK_OK;
    return rc;
}

kiln_status
kiln_record_cursor_open(kiln_txn *txn, kiln_container container, uint64_t id_first,
                        kiln_record_cursor **cursor_out)
{
    const struct dict_container *found;
    struct records_txn *state;
    kiln_record_cursor *cursor = NULL;
    ftk_status rc;

    if (cursor_out == NULL)
        return extension_answer(txn, FTK_FAIL(FTK_INVALID, "cursor_out is NULL"));
    *cursor_out = NULL;
    FTK_TRY(records_enter(txn, &state));
    FTK_TRY(records_container(state, container, &found));
    FTK_TRY(FTK_NEW(&cursor));
    cursor->txn = txn;
    cursor->container = container;
    cursor->id_next = id_first == 0 ? 1 : id_first;
    FTK_TRY(kiln_cursor_open(txn, found->coll, KILN_CURSOR_SCAN, &cursor->cursor));
    *cursor_out = cursor;
    cursor = NULL;
out:
    kiln_record_cursor_close(cursor);
    return extension_answer(txn, rc);
}

kiln_status
kiln_record_cursor_next(kiln_record_cursor *cursor, uint64_t *id_out, kiln_record *record)
{
    const struct dict_container *found;
    struct records_txn *state;
    uint64_t id;
    ftk_status rc;

    if (id_out != NULL)
        *id_out = 0;
    kiln_record_clear(record);
    if (cursor == NULL)
        return FTK_FAIL(FTK_INVALID, "cursor is NULL");
    if (extension_cursor_ended(cursor->cursor))
        return FTK_ANSWER(FTK_STATE, "the cursor's transaction has ended");
    FTK_TRY(records_enter(cursor->txn, &state));
    FTK_TRY(records_container(state, cursor->container, &found));
    FTK_TRY(records_flush_container(state, found));
    if (cursor->id_next == 0)
        FTK_TRY(FTK_ANSWER(FTK_NOTFOUND, "no further record"));
    FTK_TRY(step(cursor, state, found, &id, record));
    if (FTK_UNLIKELY(id < cursor->id_next)) {
        kiln_record_clear(record);
        rc = FTK_FAIL(FTK_CORRUPT, "container '%s': record %llu comes behind its place",
                      found->name, (unsigned long long)id);
        goto out;
    }
    cursor->id_next = id + 1;
    if (id_out != NULL)
        *id_out = id;
out:
    return extension_answer(cursor->txn, rc);
}

void
kiln_record_cursor_close(kiln_record_cursor *cursor)
{
    if (cursor != NULL) {
        kiln_cursor_close(cursor->cursor);
        ftk_free(cursor);
    }
}
