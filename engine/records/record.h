/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/records/record.h -- a record in memory: its body as it is stored, and a table of its
 * items.
 *
 * The body (engine/records/records_format.h, 3) does not repeat the types of its fields.  The
 * table has
 * them: from the append calls for a record that the user builds, from the dictionary for one that
 * was read. So adding a record neither decodes nor encodes anything: it compares types and copies
 * the body.
 */
#ifndef ENGINE_RECORD_H
#define ENGINE_RECORD_H

#include <stddef.h>
#include <stdint.h>

#include "engine/records/records_format.h"
#include "ftk/status.h"

struct record_item {
    uint32_t field;
    uint8_t type;  /* kiln_type; 0: not known (decoded without a dictionary) */
    uint8_t depth; /* groups around it */
    uint16_t reserved;
    uint32_t offset; /* of the payload in the body; of a group: of its first item */
    uint32_t bytes;  /* of the payload */
};
static_assert(sizeof(struct record_item) == 16, "small: four in a cache line");

struct kiln_record {
    uint8_t *body;
    struct record_item *items;
    size_t body_bytes, body_capacity;
    uint32_t item_count, item_capacity;
    uint32_t depth;                       /* open groups */
    uint32_t open[KILN_RECORD_DEPTH_MAX]; /* their items */
};

/* In-place forms of kiln_record_new and kiln_record_free. */
void record_init(struct kiln_record *record);
void record_release(struct kiln_record *record);

/* Which type a field has: types[field], field < type_count; 0: no such field. */
struct record_types {
    const uint8_t *types;
    uint32_t count;
};

/*
 * Read a body.  types NULL: by structure alone, the types stay 0.
 *
 * owner:  body is copied.
 * errors: FTK_CORRUPT (malformed, or a field that the dictionary does not know), FTK_NOMEM; the
 *         record is empty after both.
 */
ftk_status record_decode(struct kiln_record *record, const struct record_types *types,
                         const void *body, size_t body_bytes);
/* The same, of body bytes that the caller has put into record->body (record_body_room). */
ftk_status record_decode_in_place(struct kiln_record *record, const struct record_types *types,
                                  size_t body_bytes);
/* Room for body_bytes in record->body.  errors: FTK_NOMEM, FTK_TOOBIG. */
ftk_status record_body_room(struct kiln_record *record, size_t body_bytes);
/* What record_decode leaves out for speed: texts are UTF-8.  errors: FTK_CORRUPT. */
ftk_status record_check_texts(const struct kiln_record *record);

/* Values; the item's type says which is meant. */
int64_t record_item_int(const struct kiln_record *record, const struct record_item *item);
double record_item_double(const struct kiln_record *record, const struct record_item *item);
void record_item_value(const struct kiln_record *record, const struct record_item *item,
                       kiln_item *item_out);

#endif
