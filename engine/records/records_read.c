/* SPDX-License-Identifier: Apache-2.0 */
/* engine/records/records_read.c -- one record read. */
#include <string.h>

#include "engine/records/records_internal.h"
#include "ftk/bytes.h"
#include "ftk/mem.h"

static void
key_put(uint8_t key[8], uint64_t id)
{
    ftk_put_be64(key, id);
}

/* A body too large to be borrowed. */
static ftk_status
read_large(struct records_txn *state, const struct dict_container *container, const uint8_t key[8],
           struct kiln_record *record)
{
    uint64_t bytes;
    size_t done = 0, part;
    ftk_status rc;

    FTK_TRY(kiln_value_size(state->txn, container->coll, key, 8, &bytes));
    if (bytes > RECORD_BYTES_MAX) {
        rc = FTK_FAIL(FTK_CORRUPT, "container '%s': record of %llu bytes", container->name,
                      (unsigned long long)bytes);
        goto out;
    }
    FTK_TRY(record_body_room(record, (size_t)bytes));
    for (; done < bytes; done += part) {
        FTK_TRY(kiln_value_read(state->txn, container->coll, key, 8, done, record->body + done,
                                (size_t)bytes - done, &part));
        if (part == 0) {
            rc = FTK_FAIL(FTK_CORRUPT, "container '%s': short value", container->name);
            goto out;
        }
    }
    FTK_ASSERT(done == bytes && bytes <= record->body_capacity);
    rc = record_decode_in_place(record, &state->dict->types, (size_t)bytes);
out:
    return rc;
}

static ftk_status
body_decode(struct records_txn *state, const struct dict_container *container, uint64_t id,
            kiln_slice value, struct kiln_record *record)
{
    char text[FTK_ERROR_TEXT_MAX];
    ftk_status rc = record_decode(record, &state->dict->types, value.data, value.size);

    if (FTK_UNLIKELY(rc == FTK_CORRUPT)) {
        memcpy(text, ftk_error_last()->text, sizeof(text));
        rc = FTK_FAIL(FTK_CORRUPT, "container '%s', record %llu: %.160s", container->name,
                      (unsigned long long)id, text);
    }
    return rc;
}

ftk_status
records_read(struct records_txn *state, const struct dict_container *container, uint64_t id,
             struct kiln_record *record)
{
    uint8_t key[8];
    kiln_slice value;
    ftk_status rc;

    FTK_ASSERT(id != 0); /* row 0 is no record */
    key_put(key, id);
    rc = kiln_get(state->txn, container->coll, key, sizeof(key), &value);
    if (FTK_LIKELY(rc == FTK_OK))
        return body_decode(state, container, id, value, record);
    kiln_record_clear(record);
    if (rc == FTK_TOOBIG)
        rc = read_large(state, container, key, record);
    return rc;
}

ftk_status
records_cursor_read(struct records_txn *state, const struct dict_container *container,
                    kiln_cursor *cursor, uint64_t *id_out, struct kiln_record *record)
{
    kiln_slice key, value;
    uint8_t copy[8];
    ftk_status rc;

    rc = kiln_cursor_item(cursor, &key, NULL);
    if (rc != FTK_OK)
        return rc;
    if (key.size != 8)
        return FTK_FAIL(FTK_CORRUPT, "container '%s': key of %zu bytes", container->name, key.size);
    memcpy(copy, key.data, sizeof(copy));
    *id_out = ftk_get_be64(copy);
    if (record == NULL)
        return FTK_OK;
    rc = kiln_cursor_item(cursor, NULL, &value);
    if (FTK_LIKELY(rc == FTK_OK))
        return body_decode(state, container, *id_out, value, record);
    if (rc == FTK_TOOBIG)
        rc = read_large(state, container, copy, record);
    return rc;
}
