/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/records/index_cursor.c -- entries of an index in its order.
 *
 * A key holds all values of its parts, except texts longer than the index's text_limit: of these
 * the record is read, for the values returned and for the comparison with the values searched.
 */
#include <string.h>

#include "engine/records/keycode.h"
#include "engine/records/records_internal.h"
#include "ftk/bytes.h"
#include "ftk/mem.h"

struct kiln_index_cursor {
    kiln_txn *txn;
    kiln_index index;
    kiln_cursor *cursor;
    kiln_item wanted[KILN_INDEX_PARTS_MAX]; /* the values searched; texts are in wanted_text */
    uint32_t wanted_count;
    uint8_t *wanted_text;
    uint8_t prefix[KILN_KEY_MAX]; /* that every key begins with */
    size_t prefix_bytes;
    bool again;                 /* the entry of key could not be given: it comes again */
    uint8_t key[KILN_KEY_MAX];  /* the last entry given */
    size_t key_bytes;           /* 0: none yet */
    uint8_t text[KILN_KEY_MAX]; /* its texts, decoded */
    struct kiln_record record;  /* its record, when a text was truncated */
    struct index_scan scan;
};

/* ---- open ------------------------------------------------------------------------------------ */

static bool
has_text(kiln_type type)
{
    return type == KILN_TEXT || type == KILN_BYTES;
}

static ftk_status
value_check(const struct dict_index *index, const kiln_item *value, uint32_t number)
{
    if (value->type != 0 && value->type != (kiln_type)index->parts[number].type)
        return FTK_FAIL(FTK_INVALID, "index '%s': value %u is of type %d, the field of type %d",
                        index->name, number, (int)value->type, index->parts[number].type);
    if (value->reserved[0] != 0 || value->reserved[1] != 0)
        return FTK_FAIL(FTK_INVALID, "index '%s': value %u: reserved bytes are not zero",
                        index->name, number);
    if (has_text(value->type) && value->data.data == NULL && value->data.size > 0)
        return FTK_FAIL(FTK_INVALID, "index '%s': value %u is NULL", index->name, number);
    return FTK_OK;
}

/* Copies of the values: texts into one piece of memory. */
static ftk_status
wanted_copy(kiln_index_cursor *cursor, const struct dict_index *index, const kiln_item *values)
{
    const uint32_t count = cursor->wanted_count;
    size_t bytes = 1;
    uint8_t *to;
    ftk_status rc = FTK_OK;

    FTK_ASSERT(values != NULL || count == 0);
    for (uint32_t i = 0; i < count; i++) {
        FTK_TRY(value_check(index, &values[i], i));
        bytes += has_text(values[i].type) ? values[i].data.size : 0;
    }
    FTK_TRY(ftk_alloc(bytes, (void **)&cursor->wanted_text));
    to = cursor->wanted_text;
    for (uint32_t i = 0; i < count; i++) {
        cursor->wanted[i] = values[i];
        if (has_text(values[i].type) && values[i].data.size > 0) {
            memcpy(to, values[i].data.data, values[i].data.size);
            cursor->wanted[i].data.data = to;
            to += values[i].data.size;
        }
    }
    FTK_ASSERT((size_t)(to - cursor->wanted_text) < bytes);
out:
    return rc;
}

static uint8_t *
wanted_put(uint8_t *to, const struct dict_part *part, const kiln_item *value, size_t text_limit,
           bool *truncated)
{
    uint8_t *first = to;

    switch (value->type) {
    case KILN_TEXT:
    case KILN_BYTES:
        to = keycode_text_put(to, value->data.data, value->data.size, text_limit, truncated);
        break;
    case KILN_INT:
    case KILN_DATETIME: to = keycode_int_put(to, value->integer); break;
    case KILN_DOUBLE: to = keycode_double_put(to, value->real); break;
    case KILN_BOOL: to = keycode_bool_put(to, value->integer != 0); break;
    default: to = keycode_missing_put(to, (kiln_type)part->type); break;
    }
    if ((part->flags & KILN_DESCENDING) != 0)
        keycode_invert(first, to);
    return to;
}

static ftk_status
cursor_open(kiln_index_cursor *cursor, const struct dict_index *index, const kiln_item *values)
{
    uint8_t *to = cursor->prefix;
    bool truncated = false; /* entry_next looks at what was found instead */
    ftk_status rc;

    FTK_TRY(wanted_copy(cursor, index, values));
    for (uint32_t i = 0; i < cursor->wanted_count; i++)
        to = wanted_put(to, &index->parts[i], &cursor->wanted[i], index->text_limit, &truncated);
    cursor->prefix_bytes = (size_t)(to - cursor->prefix);
    FTK_ASSERT(cursor->prefix_bytes <= sizeof(cursor->prefix)); /* text_limit */
    FTK_ASSERT((cursor->prefix_bytes == 0) == (cursor->wanted_count == 0));
    rc = kiln_cursor_open(cursor->txn, index->coll,
                          cursor->wanted_count == 0 ? KILN_CURSOR_SCAN : 0, &cursor->cursor);
out:
    return rc;
}

kiln_status
kiln_index_cursor_open(kiln_txn *txn, kiln_index index, const kiln_item *values,
                       uint32_t value_count, kiln_index_cursor **cursor_out)
{
    kiln_index_cursor *cursor = NULL;
    const struct dict_index *found;
    struct records_txn *state;
    ftk_status rc;

    if (cursor_out == NULL)
        return extension_answer(txn, FTK_FAIL(FTK_INVALID, "cursor_out is NULL"));
    *cursor_out = NULL;
    FTK_TRY(records_enter(txn, &state));
    FTK_TRY(records_index(state, index, &found));
    if (value_count > found->part_count || (values == NULL && value_count > 0)) {
        rc = FTK_FAIL(FTK_INVALID, "index '%s' has %u parts; %u values, or NULL, were given",
                      found->name, found->part_count, value_count);
        goto out;
    }
    FTK_TRY(records_flush(state));
    FTK_TRY(FTK_NEW(&cursor));
    cursor->txn = txn;
    cursor->index = index;
    cursor->wanted_count = value_count;
    record_init(&cursor->record);
    FTK_TRY(cursor_open(cursor, found, values));
    *cursor_out = cursor;
    cursor = NULL;
out:
    kiln_index_cursor_close(cursor);
    return extension_answer(txn, rc);
}

void
kiln_index_cursor_close(kiln_index_cursor *cursor)
{
    if (cursor == NULL)
        return;
    kiln_cursor_close(cursor->cursor);
    record_release(&cursor->record);
    index_scan_release(&cursor->scan);
    ftk_free(cursor->wanted_text);
    ftk_free(cursor);
}

/* ---- next ------------------------------------------------------------------------------------ */

/* To the next key.  When the cursor below has lost its place (rollback), to the one after the last
 * given. */
static ftk_status
key_step(kiln_index_cursor *cursor, const struct dict_index *index)
{
    kiln_slice key;
    ftk_status rc;

    if (cursor->key_bytes == 0 && cursor->prefix_bytes == 0) {
        FTK_TRY(kiln_cursor_first(cursor->cursor));
    } else if (cursor->key_bytes == 0) {
        FTK_TRY(kiln_cursor_seek(cursor->cursor, cursor->prefix, cursor->prefix_bytes));
    } else if (cursor->again) {
        FTK_TRY(kiln_cursor_seek(cursor->cursor, cursor->key, cursor->key_bytes));
    } else {
        FTK_TRY(kiln_cursor_next(cursor->cursor));
    }
    FTK_TRY(kiln_cursor_item(cursor->cursor, &key, NULL));
    if (cursor->key_bytes != 0 && !cursor->again &&
        ftk_bytes_compare(key.data, key.size, cursor->key, cursor->key_bytes) <= 0) {
        rc = kiln_cursor_seek(cursor->cursor, cursor->key, cursor->key_bytes);
        for (; rc == FTK_OK; rc = kiln_cursor_next(cursor->cursor)) {
            FTK_TRY(kiln_cursor_item(cursor->cursor, &key, NULL));
            if (ftk_bytes_compare(key.data, key.size, cursor->key, cursor->key_bytes) > 0)
                break;
        }
        if (rc != FTK_OK)
            goto out;
    }
    if (key.size < cursor->prefix_bytes ||
        memcmp(key.data, cursor->prefix, cursor->prefix_bytes) != 0) {
        rc = FTK_ANSWER(FTK_NOTFOUND, "no further entry");
        goto out;
    }
    if (key.size > sizeof(cursor->key)) {
        rc = FTK_FAIL(FTK_CORRUPT, "index '%s': key of %zu bytes", index->name, key.size);
        goto out;
    }
    FTK_DEBUG_ASSERT(cursor->key_bytes == 0 || cursor->again ||
                     ftk_bytes_compare(key.data, key.size, cursor->key, cursor->key_bytes) > 0);
    memcpy(cursor->key, key.data, key.size);
    cursor->key_bytes = key.size;
out:
    return rc;
}

/* The values of the key, into values[part_count]; *suffix_out: what follows them. */
static ftk_status
key_read(kiln_index_cursor *cursor, const struct dict_index *index, kiln_item *values,
         bool *truncated_out, const uint8_t **suffix_out)
{
    const uint8_t *from = cursor->key, *end = cursor->key + cursor->key_bytes;
    uint8_t *text = cursor->text;
    struct keycode_part part;

    *truncated_out = false;
    for (uint32_t i = 0; i < index->part_count; i++) {
        from = keycode_part_get(from, end, (kiln_type)index->parts[i].type,
                                (index->parts[i].flags & KILN_DESCENDING) != 0, text, &part);
        if (from == NULL)
            return FTK_FAIL(FTK_CORRUPT, "index '%s': malformed key", index->name);
        memset(&values[i], 0, sizeof(values[i]));
        values[i].field = index->parts[i].field;
        values[i].depth = index->parts[i].path_count;
        values[i].type = part.type;
        values[i].integer = part.integer;
        values[i].real = part.real;
        values[i].data = (kiln_slice){part.text, part.text_bytes};
        *truncated_out |= part.truncated;
        text += part.text_bytes;
        FTK_ASSERT(text <= cursor->text + sizeof(cursor->text)); /* decoded is not longer */
    }
    *suffix_out = from;
    return FTK_OK;
}

/* Does the combination equal the searched values, long texts too? */
static bool
is_wanted(const kiln_index_cursor *cursor, const kiln_item *values)
{
    for (uint32_t i = 0; i < cursor->wanted_count; i++) {
        const kiln_item *wanted = &cursor->wanted[i];
        if (has_text(wanted->type) &&
            ftk_bytes_compare(wanted->data.data, wanted->data.size, values[i].data.data,
                              values[i].data.size) != 0)
            return false;
    }
    return true;
}

/* The whole values of the entry, from its record.  FTK_NOTFOUND: they are not those searched. */
static ftk_status
whole_read(kiln_index_cursor *cursor, struct records_txn *state, const struct dict_index *index,
           kiln_container number, uint64_t id, kiln_item *values)
{
    const struct dict_container *container;
    const struct index_plan_use *use;
    struct index_combination combination;
    uint8_t key[KILN_KEY_MAX];
    size_t values_bytes;
    bool more, met = false;
    unsigned flags = 0;
    ftk_status rc;

    FTK_TRY(records_container(state, number, &container));
    FTK_TRY(records_flush_container(state, container));
    FTK_TRY(records_read(state, container, id, &cursor->record));
    FTK_TRY(index_scan(&cursor->scan, &state->dict->types, &container->plan, &cursor->record));
    use = index_plan_use_of(&container->plan, index);
    FTK_ASSERT(use != NULL);
    more = index_combination_first(&cursor->scan, use, &combination);
    for (; more; more = index_combination_next(&cursor->scan, use, &combination)) {
        values_bytes = (size_t)(index_values_put(key, &cursor->record, index, &combination,
                                                 index->text_limit, &flags) -
                                key);
        if (values_bytes > cursor->key_bytes || memcmp(key, cursor->key, values_bytes) != 0)
            continue;
        met = true;
        for (uint32_t i = 0; i < index->part_count; i++) {
            memset(&values[i], 0, sizeof(values[i]));
            if (combination.items[i] != INDEX_NO_ITEM)
                record_item_value(&cursor->record, &cursor->record.items[combination.items[i]],
                                  &values[i]);
            values[i].field = index->parts[i].field;
        }
        if (is_wanted(cursor, values))
            goto out;
    }
    rc = FTK_ANSWER(FTK_NOTFOUND, "no such entry");
out:
    if (rc == FTK_NOTFOUND && !met)
        rc = FTK_FAIL(FTK_CORRUPT, "index '%s': record %llu has no such entry", index->name,
                      (unsigned long long)id);
    return rc;
}

static ftk_status
entry_next(kiln_index_cursor *cursor, uint64_t *id_out, kiln_container *container_out,
           kiln_item *values)
{
    const struct dict_index *index;
    struct records_txn *state;
    const uint8_t *suffix = NULL;
    bool truncated;
    ftk_status rc;

    FTK_TRY(records_enter(cursor->txn, &state));
    FTK_TRY(records_index(state, cursor->index, &index));
    FTK_TRY(records_flush(state));
    for (;;) {
        FTK_TRY(key_step(cursor, index));
        cursor->again = true; /* until its values are read */
        FTK_TRY(key_read(cursor, index, values, &truncated, &suffix));
        FTK_TRY(index_suffix_get(index, suffix, cursor->key + cursor->key_bytes, container_out,
                                 id_out));
        if (truncated)
            rc = whole_read(cursor, state, index, *container_out, *id_out, values);
        if (rc != FTK_OK && rc != FTK_NOTFOUND)
            break;
        cursor->again = false;
        if (rc == FTK_OK)
            break;
    }
out:
    return rc;
}

kiln_status
kiln_index_cursor_next(kiln_index_cursor *cursor, uint64_t *id_out, kiln_container *container_out,
                       kiln_item *values_out, uint32_t value_max)
{
    kiln_item values[KILN_INDEX_PARTS_MAX];
    kiln_container container = 0;
    uint64_t id = 0;
    ftk_status rc;

    if (id_out != NULL)
        *id_out = 0;
    if (container_out != NULL)
        *container_out = 0;
    if (value_max > KILN_INDEX_PARTS_MAX)
        value_max = KILN_INDEX_PARTS_MAX;
    if (values_out != NULL)
        memset(values_out, 0, value_max * sizeof(*values_out));
    if (cursor == NULL)
        return FTK_FAIL(FTK_INVALID, "cursor is NULL");
    if (extension_cursor_ended(cursor->cursor))
        return FTK_ANSWER(FTK_STATE, "the cursor's transaction has ended");
    memset(values, 0, sizeof(values));
    FTK_TRY(entry_next(cursor, &id, &container, values));
    if (id_out != NULL)
        *id_out = id;
    if (container_out != NULL)
        *container_out = container;
    if (values_out != NULL)
        memcpy(values_out, values, value_max * sizeof(*values_out));
out:
    return extension_answer(cursor->txn, rc);
}
