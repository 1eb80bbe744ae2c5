/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/records/record.c -- records in memory: append, walk, find; decode what was stored.
 *
 * Invariants:
 *   1. body[0..body_bytes) is well-formed (records_format.h, 3) whenever no group is open; an open
 *      group has its header and no length yet.
 *   2. items lists every item in order, a group before what is in it.
 *   3. A call that fails leaves the record as it was; record_decode leaves it empty.
 */
#include "engine/records/record.h"

#include <string.h>

#include "engine/records/record_utf8.h"
#include "ftk/bytes.h"
#include "ftk/mem.h"

enum { BODY_CAPACITY_FIRST = 256, ITEM_CAPACITY_FIRST = 16 };

void
record_init(struct kiln_record *record)
{
    memset(record, 0, sizeof(*record));
}

void
record_release(struct kiln_record *record)
{
    ftk_free(record->body);
    ftk_free(record->items);
    memset(record, 0, sizeof(*record));
}

kiln_status
kiln_record_new(kiln_record **record_out)
{
    if (record_out == NULL)
        return FTK_FAIL(FTK_INVALID, "record_out is NULL");
    *record_out = NULL;
    return FTK_NEW(record_out);
}

void
kiln_record_free(kiln_record *record)
{
    if (record != NULL) {
        record_release(record);
        ftk_free(record);
    }
}

void
kiln_record_clear(kiln_record *record)
{
    if (record != NULL) {
        record->body_bytes = 0;
        record->item_count = 0;
        record->depth = 0;
    }
}

/* ---- room ------------------------------------------------------------------------------------ */

ftk_status
record_body_room(struct kiln_record *record, size_t body_bytes)
{
    size_t capacity = record->body_capacity != 0 ? record->body_capacity : BODY_CAPACITY_FIRST;
    void *body = record->body;
    ftk_status rc;

    if (body_bytes <= record->body_capacity)
        return FTK_OK;
    if (body_bytes > RECORD_BYTES_MAX)
        return FTK_FAIL(FTK_TOOBIG, "record of %zu bytes; the limit is %u", body_bytes,
                        RECORD_BYTES_MAX);
    while (capacity < body_bytes)
        capacity *= 2;
    rc = ftk_realloc(&body, capacity);
    if (rc == FTK_OK) {
        record->body = body;
        record->body_capacity = capacity;
    }
    return rc;
}

static ftk_status
item_room(struct kiln_record *record)
{
    uint32_t capacity =
        record->item_capacity != 0 ? record->item_capacity * 2 : ITEM_CAPACITY_FIRST;
    void *items = record->items;
    ftk_status rc;

    if (record->item_count == RECORD_ITEMS_MAX)
        return FTK_FAIL(FTK_TOOBIG, "record of more than %u fields", RECORD_ITEMS_MAX);
    rc = ftk_realloc(&items, capacity * sizeof(*record->items));
    if (rc == FTK_OK) {
        record->items = items;
        record->item_capacity = capacity;
    }
    return rc;
}

/* ---- append ---------------------------------------------------------------------------------- */

static uint8_t *
head_put(uint8_t *to, kiln_field field, unsigned length_code)
{
    if (field <= RECORD_FIELD_DIRECT_MAX) {
        *to = (uint8_t)(field << 4 | length_code);
        return to + 1;
    }
    *to = (uint8_t)(RECORD_FIELD_FOLLOWS << 4 | length_code);
    return ftk_varint_put(to + 1, field);
}

static ftk_status
append_refuse(const struct kiln_record *record, kiln_field field, const void *data,
              size_t data_bytes)
{
    if (record == NULL)
        return FTK_FAIL(FTK_INVALID, "record is NULL");
    if (field == 0)
        return FTK_FAIL(FTK_INVALID, "field number 0");
    if (data == NULL && data_bytes > 0)
        return FTK_FAIL(FTK_INVALID, "field %u: data is NULL, its size is %zu", field, data_bytes);
    return FTK_FAIL(FTK_TOOBIG, "field %u: record of %zu bytes and %zu more; the limit is %u",
                    field, record->body_bytes, data_bytes, RECORD_BYTES_MAX);
}

static inline ftk_status
append(struct kiln_record *record, kiln_field field, kiln_type type, const void *data,
       size_t data_bytes)
{
    struct record_item *item;
    uint8_t *to;
    size_t bytes_max; /* of the body with it */
    ftk_status rc;

    if (FTK_UNLIKELY(record == NULL || field == 0 || (data == NULL && data_bytes > 0) ||
                     data_bytes > RECORD_BYTES_MAX - RECORD_ITEM_HEAD_MAX - record->body_bytes ||
                     record->body_bytes > RECORD_BYTES_MAX - RECORD_ITEM_HEAD_MAX))
        return append_refuse(record, field, data, data_bytes);
    bytes_max = record->body_bytes + RECORD_ITEM_HEAD_MAX + data_bytes;
    if (FTK_UNLIKELY(bytes_max > record->body_capacity)) {
        rc = record_body_room(record, bytes_max);
        if (rc != FTK_OK)
            return rc;
    }
    if (FTK_UNLIKELY(record->item_count == record->item_capacity)) {
        rc = item_room(record);
        if (rc != FTK_OK)
            return rc;
    }
    to = record->body + record->body_bytes;
    if (data_bytes <= RECORD_LENGTH_DIRECT_MAX) {
        to = head_put(to, field, (unsigned)data_bytes);
    } else {
        to = head_put(to, field, RECORD_LENGTH_FOLLOWS);
        to = ftk_varint_put(to, data_bytes);
    }
    FTK_ASSERT((size_t)(to - record->body) + data_bytes <= record->body_capacity);
    item = &record->items[record->item_count++];
    item->field = field;
    item->type = (uint8_t)type;
    item->depth = (uint8_t)record->depth;
    item->reserved = 0;
    item->offset = (uint32_t)(to - record->body);
    item->bytes = (uint32_t)data_bytes;
    if (data_bytes > 0)
        memcpy(to, data, data_bytes);
    record->body_bytes = item->offset + data_bytes;
    return FTK_OK;
}

kiln_status
kiln_record_text(kiln_record *record, kiln_field field, const char *text, size_t text_size)
{
    size_t good;

    if (FTK_LIKELY(text != NULL) && FTK_UNLIKELY(!record_utf8_is_ascii(text, text_size))) {
        good = record_utf8_check(text, text_size);
        if (good != text_size)
            return FTK_FAIL(FTK_INVALID, "field %u: no UTF-8 at byte %zu of the text", field, good);
    }
    return append(record, field, KILN_TEXT, text, text_size);
}

kiln_status
kiln_record_bytes(kiln_record *record, kiln_field field, const void *data, size_t data_size)
{
    return append(record, field, KILN_BYTES, data, data_size);
}

static ftk_status
append_int(struct kiln_record *record, kiln_field field, kiln_type type, int64_t value)
{
    uint64_t zigzag = (uint64_t)value << 1 ^ (value < 0 ? UINT64_MAX : 0);
    uint8_t data[8];

    ftk_put_le64(data, zigzag);
    return append(record, field, type, data,
                  zigzag == 0 ? 0 : (71u - (unsigned)__builtin_clzll(zigzag)) / 8);
}

kiln_status
kiln_record_int(kiln_record *record, kiln_field field, int64_t value)
{
    return append_int(record, field, KILN_INT, value);
}

kiln_status
kiln_record_datetime(kiln_record *record, kiln_field field, int64_t microseconds)
{
    return append_int(record, field, KILN_DATETIME, microseconds);
}

kiln_status
kiln_record_double(kiln_record *record, kiln_field field, double value)
{
    uint64_t bits;
    uint8_t data[8];

    memcpy(&bits, &value, sizeof(bits));
    ftk_put_be64(data, bits);
    return append(record, field, KILN_DOUBLE, data,
                  bits == 0 ? 0 : 8 - (unsigned)__builtin_ctzll(bits) / 8);
}

kiln_status
kiln_record_bool(kiln_record *record, kiln_field field, bool value)
{
    static const uint8_t one = 1;

    return append(record, field, KILN_BOOL, &one, value ? 1 : 0);
}

kiln_status
kiln_record_group_begin(kiln_record *record, kiln_field field)
{
    uint32_t index;
    ftk_status rc;

    if (record == NULL)
        return FTK_FAIL(FTK_INVALID, "record is NULL");
    if (record->depth == KILN_RECORD_DEPTH_MAX)
        return FTK_FAIL(FTK_TOOBIG, "field %u: groups nest deeper than %d", field,
                        KILN_RECORD_DEPTH_MAX);
    rc = append(record, field, KILN_GROUP, NULL, 0);
    if (rc != FTK_OK)
        return rc;
    index = record->item_count - 1;
    FTK_ASSERT(record->items[index].offset == record->body_bytes); /* the header is the last */
    /* The header is there with length code 0 (append wrote no payload). */
    record->body[record->items[index].offset - 1 -
                 (field > RECORD_FIELD_DIRECT_MAX ? ftk_varint_size(field) : 0)] |=
        RECORD_LENGTH_GROUP;
    record->open[record->depth++] = index;
    return KILN_OK;
}

kiln_status
kiln_record_group_end(kiln_record *record)
{
    struct record_item *group;
    size_t length_bytes;
    uint8_t *first;
    ftk_status rc;

    if (record == NULL)
        return FTK_FAIL(FTK_INVALID, "record is NULL");
    if (record->depth == 0)
        return FTK_FAIL(FTK_STATE, "no group is open");
    FTK_ASSERT(record->open[record->depth - 1] < record->item_count);
    group = &record->items[record->open[record->depth - 1]];
    FTK_ASSERT(group->type == KILN_GROUP && group->offset <= record->body_bytes);
    group->bytes = (uint32_t)(record->body_bytes - group->offset);
    length_bytes = ftk_varint_size(group->bytes);
    rc = record_body_room(record, record->body_bytes + length_bytes);
    if (rc != FTK_OK)
        return rc;
    first = record->body + group->offset;
    memmove(first + length_bytes, first, group->bytes);
    ftk_varint_put(first, group->bytes);
    record->body_bytes += length_bytes;
    for (struct record_item *item = group; item < record->items + record->item_count; item++)
        item->offset += (uint32_t)length_bytes;
    record->depth--;
    return KILN_OK;
}

/* ---- values, walk ---------------------------------------------------------------------------- */

int64_t
record_item_int(const struct kiln_record *record, const struct record_item *item)
{
    const uint8_t *from = record->body + item->offset;
    uint64_t zigzag = 0;

    FTK_DEBUG_ASSERT(item->bytes <= 8 && item->offset + item->bytes <= record->body_bytes);
    for (uint32_t i = item->bytes; i-- > 0;)
        zigzag = zigzag << 8 | from[i];
    return (int64_t)(zigzag >> 1 ^ (0 - (zigzag & 1)));
}

double
record_item_double(const struct kiln_record *record, const struct record_item *item)
{
    const uint8_t *from = record->body + item->offset;
    uint64_t bits = 0;
    double value;

    FTK_DEBUG_ASSERT(item->bytes <= 8 && item->offset + item->bytes <= record->body_bytes);
    for (uint32_t i = 0; i < 8; i++)
        bits = bits << 8 | (i < item->bytes ? from[i] : 0);
    memcpy(&value, &bits, sizeof(value));
    return value;
}

void
record_item_value(const struct kiln_record *record, const struct record_item *item,
                  kiln_item *item_out)
{
    memset(item_out, 0, sizeof(*item_out));
    item_out->field = item->field;
    item_out->type = (kiln_type)item->type;
    item_out->depth = item->depth;
    switch (item->type) {
    case KILN_TEXT:
    case KILN_BYTES:
        item_out->data.data = record->body + item->offset;
        item_out->data.size = item->bytes;
        break;
    case KILN_INT:
    case KILN_DATETIME: item_out->integer = record_item_int(record, item); break;
    case KILN_BOOL: item_out->integer = item->bytes; break;
    case KILN_DOUBLE: item_out->real = record_item_double(record, item); break;
    default: break;
    }
}

void
kiln_walk_begin(kiln_walk *walk, const kiln_record *record)
{
    if (walk != NULL) {
        walk->record = record;
        walk->position = 0;
        walk->depth = 0;
    }
}

kiln_status
kiln_walk_next(kiln_walk *walk, kiln_item *item_out)
{
    if (item_out != NULL)
        memset(item_out, 0, sizeof(*item_out));
    if (walk == NULL || item_out == NULL || walk->record == NULL)
        return FTK_FAIL(FTK_INVALID, "walk, its record or item_out is NULL");
    if (walk->position >= walk->record->item_count)
        return FTK_ANSWER(FTK_NOTFOUND, "no further item");
    record_item_value(walk->record, &walk->record->items[walk->position++], item_out);
    walk->depth = item_out->depth;
    return KILN_OK;
}

kiln_status
kiln_record_find(const kiln_record *record, kiln_field field, uint32_t nth, kiln_item *item_out)
{
    const struct record_item *item;

    if (item_out != NULL)
        memset(item_out, 0, sizeof(*item_out));
    if (record == NULL || item_out == NULL)
        return FTK_FAIL(FTK_INVALID, "record or item_out is NULL");
    for (uint32_t i = 0; i < record->item_count; i++) {
        item = &record->items[i];
        if (item->field == field && item->depth == 0 && nth-- == 0) {
            record_item_value(record, item, item_out);
            return KILN_OK;
        }
    }
    return FTK_ANSWER(FTK_NOTFOUND, "the record has no such field");
}

/* ---- decode ---------------------------------------------------------------------------------- */

/* A varint in its shortest form, at most 32 bits. */
static const uint8_t *
number_get(const uint8_t *from, const uint8_t *end, uint32_t least, uint32_t *number_out)
{
    const uint8_t *after;
    uint64_t number;

    after = ftk_varint_get(from, end, &number);
    if (after == NULL || number > UINT32_MAX || number < least ||
        (after - from > 1 && after[-1] == 0))
        return NULL;
    *number_out = (uint32_t)number;
    return after;
}

/* The header of the item at `from`: field, payload size, group or not. */
static const uint8_t *
head_get(const uint8_t *from, const uint8_t *end, struct record_item *item, bool *group_out)
{
    unsigned field_code = *from >> 4;
    unsigned length_code = *from & 15;

    from++;
    item->field = field_code;
    if (field_code == 0)
        return NULL;
    if (field_code == RECORD_FIELD_FOLLOWS)
        from = number_get(from, end, RECORD_FIELD_FOLLOWS, &item->field);
    item->bytes = length_code;
    *group_out = length_code == RECORD_LENGTH_GROUP;
    if (from != NULL && length_code >= RECORD_LENGTH_FOLLOWS)
        from = number_get(from, end, *group_out ? 0 : RECORD_LENGTH_FOLLOWS, &item->bytes);
    if (from == NULL || item->bytes > (size_t)(end - from))
        return NULL;
    return from;
}

/* Does the payload fit the type? */
static bool
payload_is_good(const uint8_t *payload, uint32_t bytes, unsigned type, bool group)
{
    switch (type) {
    case KILN_TEXT:
    case KILN_BYTES: return !group;
    case KILN_INT:
    case KILN_DATETIME:
    case KILN_DOUBLE: return !group && bytes <= 8 && (bytes == 0 || payload[bytes - 1] != 0);
    case KILN_BOOL: return !group && (bytes == 0 || (bytes == 1 && payload[0] == 1));
    case KILN_GROUP: return group;
    default: return false;
    }
}

static ftk_status
decode_fail(struct kiln_record *record, size_t offset, const char *what, uint32_t field)
{
    kiln_record_clear(record);
    return FTK_FAIL(FTK_CORRUPT, "record body, byte %zu: %s (field %u)", offset, what, field);
}

ftk_status
record_decode_in_place(struct kiln_record *record, const struct record_types *types,
                       size_t body_bytes)
{
    const uint8_t *body = record->body;
    const uint8_t *from = body;
    const uint8_t *end = body_bytes == 0 ? body : body + body_bytes;
    const uint8_t *ends[KILN_RECORD_DEPTH_MAX + 1]; /* of the body, and of the open groups */
    struct record_item *item;
    uint32_t depth = 0;
    bool group;
    ftk_status rc;

    FTK_ASSERT(body_bytes <= record->body_capacity && body_bytes <= RECORD_BYTES_MAX);
    kiln_record_clear(record);
    if (body_bytes == 0) /* there may be no body at all */
        return FTK_OK;
    ends[0] = end;
    for (;;) {
        for (; from == end && depth > 0; depth--)
            end = ends[depth - 1];
        if (from == end)
            break;
        if (FTK_UNLIKELY(record->item_count == record->item_capacity)) {
            rc = item_room(record);
            if (rc != FTK_OK) {
                kiln_record_clear(record);
                return rc;
            }
        }
        item = &record->items[record->item_count];
        item->depth = (uint8_t)depth;
        item->reserved = 0;
        item->type = 0;
        item->offset = (uint32_t)(from - body);
        from = head_get(from, end, item, &group);
        if (from == NULL)
            return decode_fail(record, item->offset, "malformed item", item->field);
        if (types != NULL) {
            item->type = item->field < types->count ? types->types[item->field] : 0;
            if (item->type == 0)
                return decode_fail(record, item->offset, "not in the dictionary", item->field);
            if (!payload_is_good(from, item->bytes, item->type, group))
                return decode_fail(record, item->offset, "payload does not fit the type",
                                   item->field);
        } else if (group) {
            item->type = KILN_GROUP;
        }
        item->offset = (uint32_t)(from - body);
        record->item_count++;
        if (group) {
            if (depth == KILN_RECORD_DEPTH_MAX)
                return decode_fail(record, item->offset, "groups nest too deep", item->field);
            ends[++depth] = end = from + item->bytes;
        } else {
            from += item->bytes;
        }
    }
    FTK_ASSERT(from == body + body_bytes && depth == 0);
    record->body_bytes = body_bytes;
    return FTK_OK;
}

ftk_status
record_decode(struct kiln_record *record, const struct record_types *types, const void *body,
              size_t body_bytes)
{
    ftk_status rc;

    kiln_record_clear(record);
    rc = record_body_room(record, body_bytes);
    if (rc != FTK_OK)
        return rc;
    if (body_bytes > 0)
        memcpy(record->body, body, body_bytes);
    return record_decode_in_place(record, types, body_bytes);
}

ftk_status
record_check_texts(const struct kiln_record *record)
{
    const struct record_item *item;
    size_t good;

    for (uint32_t i = 0; i < record->item_count; i++) {
        item = &record->items[i];
        if (item->type != KILN_TEXT)
            continue;
        good = record_utf8_check(record->body + item->offset, item->bytes);
        if (good != item->bytes)
            return FTK_FAIL(FTK_CORRUPT, "record body, byte %zu: no UTF-8 (field %u)",
                            item->offset + good, item->field);
    }
    return FTK_OK;
}
