/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/records/dict_rows.c -- rows of the dictionary (engine/records/records_format.h, 2):
 * read, check, write.
 */
#include <string.h>

#include "engine/db/extension.h"
#include "engine/records/dict.h"
#include "engine/records/record_utf8.h"
#include "ftk/bytes.h"

/* What is being read. */
struct row_reader {
    struct dict *dict;
    kiln_txn *txn;
    kiln_coll coll;          /* of the dictionary */
    const uint8_t *at, *end; /* of the row */
    uint8_t kind;            /* of this row and of the one before it */
    uint32_t number;
    uint32_t gaps; /* field numbers that have no row, still to be met */
};

void
dict_key_put(uint8_t key[5], int kind, uint32_t number)
{
    FTK_ASSERT(kind >= DICT_KIND_HEADER && kind <= DICT_KIND_INDEX);
    key[0] = (uint8_t)kind;
    ftk_put_be32(key + 1, number);
}

static ftk_status
row_fail(const struct row_reader *reader, const char *kind, const char *what)
{
    return FTK_FAIL(FTK_CORRUPT, "dictionary, %s %u: %s", kind, reader->number, what);
}

/* ---- header ---------------------------------------------------------------------------------- */

static ftk_status
header_row_check(const struct dict_header_row *row, size_t row_bytes)
{
    uint32_t format;

    if (row_bytes != sizeof(*row))
        return FTK_FAIL(FTK_CORRUPT, "dictionary: header of %zu bytes instead of %zu", row_bytes,
                        sizeof(*row));
    format = ftk_get_le32(row->format);
    if (format != DICT_FORMAT)
        return FTK_FAIL(FTK_VERSION, "dictionary: format %u; this version reads %u", format,
                        DICT_FORMAT);
    if (ftk_get_le32(row->field_gaps) > DICT_FIELD_GAPS_MAX ||
        ftk_get_le32(row->field_gaps) >= ftk_get_le32(row->field_next) ||
        ftk_get_le32(row->reserved_28) != 0 || ftk_get_le64(row->version) == 0 ||
        ftk_get_le32(row->container_next) == 0 || ftk_get_le32(row->index_next) == 0)
        return FTK_FAIL(FTK_CORRUPT, "dictionary: malformed header");
    return FTK_OK;
}

static ftk_status
header_row_read(kiln_txn *txn, kiln_coll coll, struct dict_header_row *row_out)
{
    static const uint8_t key[1] = {DICT_KIND_HEADER};
    kiln_slice value;
    ftk_status rc;

    rc = kiln_get(txn, coll, key, sizeof(key), &value);
    if (rc == FTK_OK)
        rc = header_row_check(value.data, value.size);
    if (rc == FTK_OK)
        memcpy(row_out, value.data, sizeof(*row_out));
    return rc;
}

ftk_status
dict_version_read(kiln_txn *txn, kiln_coll coll, uint64_t *version_out)
{
    struct dict_header_row row;
    ftk_status rc = header_row_read(txn, coll, &row);

    *version_out = rc == FTK_OK ? ftk_get_le64(row.version) : 0;
    return rc;
}

ftk_status
dict_header_write(kiln_txn *txn, kiln_coll coll, struct dict *dict)
{
    static const uint8_t key[1] = {DICT_KIND_HEADER};
    struct dict_header_row row = {{0}, {0}, {0}, {0}, {0}, {0}, {0}};
    ftk_status rc;

    FTK_ASSERT(dict->field_gaps < dict->field_next);
    FTK_ASSERT(dict->container_next > 0 && dict->index_next > 0);
    ftk_put_le32(row.format, DICT_FORMAT);
    ftk_put_le64(row.version, dict->version + 1);
    ftk_put_le32(row.field_gaps, dict->field_gaps);
    ftk_put_le32(row.field_next, dict->field_next);
    ftk_put_le32(row.container_next, dict->container_next);
    ftk_put_le32(row.index_next, dict->index_next);
    rc = extension_put(txn, coll, (kiln_slice){key, sizeof(key)}, (kiln_slice){&row, sizeof(row)},
                       KILN_PUT_REPLACE);
    if (rc == FTK_OK)
        dict->version++;
    return rc;
}

/* ---- rows ------------------------------------------------------------------------------------ */

/* name_bytes bytes of name, at reader->at. */
static ftk_status
name_take(struct row_reader *reader, const char *kind, uint8_t name_bytes, const char **name_out)
{
    if (name_bytes == 0 || name_bytes > reader->end - reader->at)
        return row_fail(reader, kind, "malformed name");
    *name_out = (const char *)reader->at;
    if (!dict_name_is_good(*name_out, name_bytes))
        return row_fail(reader, kind, "name is no UTF-8 text");
    reader->at += name_bytes;
    return FTK_OK;
}

/* The collection of a container or index. */
static ftk_status
coll_take(const struct row_reader *reader, char letter, const char *kind, kiln_coll *coll_out)
{
    ftk_status rc = dict_coll_open(reader->txn, letter, reader->number, 0, coll_out);

    if (rc == FTK_NOTFOUND)
        rc = row_fail(reader, kind, "its collection is missing");
    if (rc == FTK_OK && *coll_out == reader->coll)
        rc = row_fail(reader, kind, "its collection is the dictionary's own");
    return rc;
}

static ftk_status
container_row(struct row_reader *reader)
{
    const struct dict_container_row *row = (const void *)reader->at;
    const char *name = NULL;
    kiln_coll coll;
    ftk_status rc;

    if (reader->end - reader->at < (ptrdiff_t)sizeof(*row) || row->form != DICT_ROW_FORM ||
        row->flags != 0)
        return row_fail(reader, "container", "malformed row");
    reader->at += sizeof(*row);
    FTK_TRY(name_take(reader, "container", row->name_bytes, &name));
    if (reader->at != reader->end || reader->number >= reader->dict->container_next) {
        rc = row_fail(reader, "container", "malformed row or number");
        goto out;
    }
    rc = coll_take(reader, 'c', "container", &coll);
    if (rc == FTK_OK)
        rc = dict_add_container(reader->dict, reader->number, coll, name, row->name_bytes);
out:
    return rc;
}

static ftk_status
field_row(struct row_reader *reader)
{
    const struct dict_field_row *row = (const void *)reader->at;
    uint32_t least = reader->dict->types.count == 0 ? 1 : reader->dict->types.count;
    const char *name = NULL;
    ftk_status rc;

    if (reader->end - reader->at < (ptrdiff_t)sizeof(*row) || row->form != DICT_ROW_FORM ||
        row->flags != 0 || row->type < KILN_TEXT || row->type > KILN_GROUP)
        return row_fail(reader, "field", "malformed row");
    reader->at += sizeof(*row);
    FTK_TRY(name_take(reader, "field", row->name_bytes, &name));
    if (reader->at != reader->end || reader->number < least ||
        reader->number - least > reader->gaps || reader->number >= reader->dict->field_next) {
        rc = row_fail(reader, "field", "malformed row or number");
        goto out;
    }
    reader->gaps -= reader->number - least;
    rc = dict_add_field(reader->dict, reader->number, (kiln_type)row->type, name, row->name_bytes);
out:
    return rc;
}

static bool
number_take(struct row_reader *reader, uint32_t *number_out)
{
    uint64_t number = 0;
    const uint8_t *after = ftk_varint_get(reader->at, reader->end, &number);

    if (after == NULL || number == 0 || number >= reader->dict->types.count ||
        reader->dict->types.types[number] == 0 ||
        ftk_varint_size(number) != (size_t)(after - reader->at))
        return false;
    *number_out = (uint32_t)number;
    reader->at = after;
    return true;
}

/* One part; its path goes into `path`, of KILN_RECORD_DEPTH_MAX. */
static bool
part_take(struct row_reader *reader, struct dict_part *part, uint32_t *path)
{
    const struct record_types *types = &reader->dict->types;
    const uint8_t *at = reader->at;

    if (reader->end - at < 3 || (at[0] & ~(KILN_DESCENDING | KILN_REQUIRED)) != 0 || at[1] != 0 ||
        at[2] > KILN_RECORD_DEPTH_MAX)
        return false;
    part->flags = at[0];
    part->path_count = at[2];
    part->path = path;
    reader->at += 3;
    for (uint32_t i = 0; i < part->path_count; i++) {
        if (!number_take(reader, &path[i]) || types->types[path[i]] != KILN_GROUP)
            return false;
    }
    if (!number_take(reader, &part->field))
        return false;
    part->type = types->types[part->field];
    return part->type != KILN_GROUP;
}

static ftk_status
index_row(struct row_reader *reader)
{
    const struct dict_index_row *row = (const void *)reader->at;
    uint32_t paths[KILN_INDEX_PARTS_MAX][KILN_RECORD_DEPTH_MAX];
    char name_text[KILN_NAME_MAX + 1];
    struct dict_index index = {.number = reader->number};
    const char *name = NULL;
    ftk_status rc = FTK_OK;

    if (reader->end - reader->at < (ptrdiff_t)sizeof(*row) || row->form != DICT_ROW_FORM ||
        row->state != DICT_INDEX_READY || (row->flags & ~KILN_UNIQUE) != 0 ||
        row->part_count == 0 || row->part_count > KILN_INDEX_PARTS_MAX ||
        ftk_get_le16(row->reserved_6) != 0 || ftk_get_le32(row->reserved_12) != 0 ||
        ftk_get_le64(row->position) != 0 || reader->dict->index_count == INDEX_COUNT_MAX)
        return row_fail(reader, "index", "malformed row");
    reader->at += sizeof(*row);
    FTK_TRY(name_take(reader, "index", row->name_bytes, &name));
    FTK_ASSERT(name != NULL);
    memcpy(name_text, name, row->name_bytes);
    name_text[row->name_bytes] = '\0';
    index.name = name_text;
    index.flags = row->flags;
    index.container = ftk_get_le32(row->container);
    index.text_limit = ftk_get_le16(row->text_limit);
    index.part_count = row->part_count;
    for (uint32_t i = 0; i < index.part_count; i++) {
        if (!part_take(reader, &index.parts[i], paths[i])) {
            rc = row_fail(reader, "index", "malformed part");
            goto out;
        }
    }
    if (reader->at != reader->end || reader->number >= reader->dict->index_next ||
        index.text_limit > dict_text_limit(&index) || index.text_limit < KEYCODE_TEXT_LIMIT_MIN ||
        (index.container != 0 && dict_container_of(reader->dict, index.container) == NULL)) {
        rc = row_fail(reader, "index", "malformed row, number or container");
        goto out;
    }
    rc = coll_take(reader, 'i', "index", &index.coll);
    if (rc == FTK_OK)
        rc = dict_add_index(reader->dict, &index);
out:
    return rc;
}

size_t
dict_index_row_put(uint8_t *row_bytes, const struct dict_index *index)
{
    struct dict_index_row *row = (void *)row_bytes;
    size_t name_bytes = strlen(index->name);
    uint8_t *to = row_bytes + sizeof(*row);

    FTK_ASSERT(name_bytes >= 1 && name_bytes <= KILN_NAME_MAX);
    memset(row, 0, sizeof(*row));
    row->form = DICT_ROW_FORM;
    row->state = DICT_INDEX_READY;
    row->flags = index->flags;
    row->part_count = index->part_count;
    ftk_put_le16(row->text_limit, index->text_limit);
    ftk_put_le32(row->container, index->container);
    row->name_bytes = (uint8_t)name_bytes;
    memcpy(to, index->name, name_bytes);
    to += name_bytes;
    for (const struct dict_part *part = index->parts; part < index->parts + index->part_count;
         part++) {
        *to++ = part->flags;
        *to++ = 0;
        *to++ = part->path_count;
        for (uint32_t i = 0; i < part->path_count; i++)
            to = ftk_varint_put(to, part->path[i]);
        to = ftk_varint_put(to, part->field);
    }
    FTK_ASSERT((size_t)(to - row_bytes) <= DICT_ROW_BYTES_MAX);
    return (size_t)(to - row_bytes);
}

uint16_t
dict_text_limit(const struct dict_index *index)
{
    size_t fixed =
        KEYCODE_NUMBER_BYTES_MAX + (index->container == 0 ? KEYCODE_CONTAINER_BYTES_MAX : 0);
    size_t texts = 0;

    for (uint32_t i = 0; i < index->part_count; i++) {
        if (index->parts[i].type == KILN_TEXT || index->parts[i].type == KILN_BYTES)
            texts++;
        else
            fixed += keycode_bytes_max((kiln_type)index->parts[i].type, 0);
    }
    FTK_ASSERT(fixed + texts * KEYCODE_TEXT_LIMIT_MIN <= KILN_KEY_MAX);
    return (uint16_t)((KILN_KEY_MAX - fixed) / (texts == 0 ? 1 : texts));
}

bool
dict_name_is_good(const char *name, size_t name_bytes)
{
    if (name_bytes == 0 || name_bytes > KILN_NAME_MAX ||
        record_utf8_check(name, name_bytes) != name_bytes)
        return false;
    for (size_t i = 0; i < name_bytes; i++) {
        if ((uint8_t)name[i] < 0x20 || name[i] == 0x7f)
            return false;
    }
    return true;
}

/* ---- load ------------------------------------------------------------------------------------ */

/* Keys ascend in a tree that is whole; a page whose entries are out of order may come from disk. */
static ftk_status
row_read(struct row_reader *reader, const uint8_t *key, size_t key_bytes)
{
    uint8_t kind_before = reader->kind;
    uint32_t number_before = reader->number;

    if (key_bytes == 1 && key[0] == DICT_KIND_HEADER)
        return FTK_OK;
    if (key_bytes != 5)
        return FTK_FAIL(FTK_CORRUPT, "dictionary: key of %zu bytes", key_bytes);
    reader->kind = key[0];
    reader->number = ftk_get_be32(key + 1);
    if (reader->number == 0)
        return row_fail(reader, "row", "number 0");
    if (reader->kind < kind_before ||
        (reader->kind == kind_before && reader->number <= number_before))
        return row_fail(reader, "row", "not in ascending order");
    switch (key[0]) {
    case DICT_KIND_CONTAINER: return container_row(reader);
    case DICT_KIND_FIELD: return field_row(reader);
    case DICT_KIND_INDEX: return index_row(reader);
    default: return FTK_FAIL(FTK_CORRUPT, "dictionary: row of kind %u", key[0]);
    }
}

/* Rows come in the order of their kinds: containers, fields, indexes (which look at the others). */
ftk_status
dict_load(kiln_txn *txn, kiln_coll coll, struct dict **dict_out)
{
    struct row_reader reader = {.txn = txn, .coll = coll};
    uint8_t copy[DICT_ROW_BYTES_MAX];
    uint8_t key_copy[5] = {0};
    kiln_cursor *cursor = NULL;
    struct dict_header_row header;
    kiln_slice key, value;
    ftk_status rc;

    *dict_out = NULL;
    FTK_TRY(dict_new(&reader.dict));
    FTK_TRY(header_row_read(txn, coll, &header));
    reader.dict->version = ftk_get_le64(header.version);
    reader.dict->field_next = ftk_get_le32(header.field_next);
    reader.dict->field_gaps = reader.gaps = ftk_get_le32(header.field_gaps);
    reader.dict->container_next = ftk_get_le32(header.container_next);
    reader.dict->index_next = ftk_get_le32(header.index_next);
    FTK_TRY(kiln_cursor_open(txn, coll, 0, &cursor));
    for (rc = kiln_cursor_first(cursor); rc == FTK_OK; rc = kiln_cursor_next(cursor)) {
        FTK_TRY(kiln_cursor_item(cursor, &key, &value));
        if (value.size > sizeof(copy) || key.size > sizeof(key_copy)) {
            rc = FTK_FAIL(FTK_CORRUPT, "dictionary: row of %zu bytes", value.size);
            goto out;
        }
        /* Reading a row opens collections: other calls on the transaction end the borrowing. */
        memcpy(copy, value.data, value.size);
        memcpy(key_copy, key.data, key.size);
        reader.at = copy;
        reader.end = copy + value.size;
        FTK_TRY(row_read(&reader, key_copy, key.size));
    }
    if (rc != FTK_NOTFOUND)
        goto out;
    if (reader.dict->field_next - reader.gaps !=
        (reader.dict->types.count == 0 ? 1 : reader.dict->types.count)) {
        rc = FTK_FAIL(FTK_CORRUPT, "dictionary: a field's row is missing");
        goto out;
    }
    FTK_TRY(dict_plan(reader.dict, 0));
    FTK_DEBUG_ASSERT((dict_check(reader.dict), true));
    *dict_out = reader.dict;
    reader.dict = NULL;
out:
    kiln_cursor_close(cursor);
    dict_release(reader.dict);
    return rc;
}
