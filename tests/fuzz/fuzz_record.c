/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/fuzz/fuzz_record.c -- record bodies: any bytes are refused, or are the only form of a
 * record (append gives the same bytes again).
 */
#include <stdlib.h>
#include <string.h>

#include "engine/records/record.h"
#include "engine/records/record_utf8.h"
#include "engine/records/records_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t type_table[] = {
    0, KILN_TEXT, KILN_INT, KILN_DOUBLE, KILN_BOOL, KILN_BYTES, KILN_DATETIME, KILN_GROUP,
    0, KILN_TEXT, KILN_INT, KILN_DOUBLE, KILN_BOOL, KILN_BYTES, KILN_DATETIME, KILN_GROUP,
    0, KILN_TEXT, KILN_INT, KILN_DOUBLE, KILN_BOOL, KILN_BYTES, KILN_DATETIME, KILN_GROUP};
static const struct record_types types = {type_table, sizeof type_table};

static void
require(bool held)
{
    if (!held)
        abort();
}

static kiln_status
append(kiln_record *record, const kiln_item *item)
{
    switch (item->type) {
    case KILN_TEXT: return kiln_record_text(record, item->field, item->data.data, item->data.size);
    case KILN_BYTES:
        return kiln_record_bytes(record, item->field, item->data.data, item->data.size);
    case KILN_INT: return kiln_record_int(record, item->field, item->integer);
    case KILN_DATETIME: return kiln_record_datetime(record, item->field, item->integer);
    case KILN_BOOL: return kiln_record_bool(record, item->field, item->integer != 0);
    case KILN_DOUBLE: return kiln_record_double(record, item->field, item->real);
    case KILN_GROUP: return kiln_record_group_begin(record, item->field);
    default: abort();
    }
}

static void
append_again(const struct kiln_record *record)
{
    struct kiln_record again;
    kiln_walk walk;
    kiln_item item;

    record_init(&again);
    kiln_walk_begin(&walk, record);
    while (kiln_walk_next(&walk, &item) == KILN_OK) {
        while (again.depth > item.depth)
            require(kiln_record_group_end(&again) == KILN_OK);
        require(append(&again, &item) == KILN_OK);
    }
    while (again.depth > 0)
        require(kiln_record_group_end(&again) == KILN_OK);
    require(again.body_bytes == record->body_bytes);
    require(again.body_bytes == 0 || memcmp(again.body, record->body, again.body_bytes) == 0);
    record_release(&again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct kiln_record record;
    ftk_status rc;

    record_init(&record);
    rc = record_decode(&record, NULL, data, size);
    require(rc == FTK_OK || rc == FTK_CORRUPT);
    rc = record_decode(&record, &types, data, size);
    require(rc == FTK_OK || rc == FTK_CORRUPT);
    if (rc == FTK_OK && record_check_texts(&record) == FTK_OK)
        append_again(&record);
    record_release(&record);
    return 0;
}
