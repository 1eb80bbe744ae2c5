/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/records/index_keys.h -- from a record to its index keys, and batches of index changes.
 *
 * A record is scanned once for all indexes of its container (index_scan); then each index gives its
 * keys, one for each combination of the values of its parts (index_keys_push).
 */
#ifndef ENGINE_INDEX_KEYS_H
#define ENGINE_INDEX_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/records/dict.h"

/* The values of one slot of a plan: items of the record. */
struct index_slot {
    uint32_t first, last; /* items */
    uint32_t count;
};

struct index_scan {
    const struct kiln_record *record; /* the one scanned; borrowed */
    struct index_slot *slots;         /* slots[0] is not used */
    uint32_t slot_capacity;
    bool repeats;   /* some slot has more than one value */
    uint32_t *next; /* by item: the next value of its slot; valid where count > 1 */
    uint32_t next_capacity;
};
void index_scan_release(struct index_scan *scan);

/*
 * Compare the record's types with the dictionary and find the values that the plan asks for.
 * errors: FTK_CONSTRAINT (unknown field, another type, a required field is missing), FTK_NOMEM.
 */
ftk_status index_scan(struct index_scan *scan, const struct record_types *types,
                      const struct index_plan *plan, const struct kiln_record *record);

/* ---- combinations ---------------------------------------------------------------------------- */

#define INDEX_NO_ITEM UINT32_MAX
/* Entries of one record in one index, at most. */
#define INDEX_COMBINATIONS_MAX 100000

/* One value for each part. */
struct index_combination {
    uint32_t items[KILN_INDEX_PARTS_MAX]; /* INDEX_NO_ITEM: missing */
};
/* false: there is none (no part has a value), or no further one. */
bool index_combination_first(const struct index_scan *scan, const struct index_plan_use *use,
                             struct index_combination *combination);
bool index_combination_next(const struct index_scan *scan, const struct index_plan_use *use,
                            struct index_combination *combination);

enum { INDEX_CHANGE_DELETE = 1, INDEX_CHANGE_MISSING = 2, INDEX_CHANGE_TRUNCATED = 4 };

/*
 * The key of a combination without container and id.  *flags_inout: INDEX_CHANGE_MISSING and
 * INDEX_CHANGE_TRUNCATED are added.  shapes: `to` has room for KILN_KEY_MAX with the index's own
 * text_limit, else for index_values_bytes_max.
 */
uint8_t *index_values_put(uint8_t *to, const struct kiln_record *record,
                          const struct dict_index *index,
                          const struct index_combination *combination, size_t text_limit,
                          unsigned *flags_inout);
/* Container (when the index is over all) and id after the values. */
uint8_t *index_suffix_put(uint8_t *to, const struct dict_index *index, uint32_t container,
                          uint64_t id);

/* The values of a key: how many bytes, and INDEX_CHANGE_MISSING, INDEX_CHANGE_TRUNCATED.
 * errors: FTK_CORRUPT. */
ftk_status index_values_get(const struct dict_index *index, const uint8_t *key, size_t key_bytes,
                            size_t *values_bytes_out, unsigned *flags_out);
/* Read container and id back.  errors: FTK_CORRUPT. */
ftk_status index_suffix_get(const struct dict_index *index, const uint8_t *suffix,
                            const uint8_t *end, kiln_container *container_out, uint64_t *id_out);

/* ---- batches --------------------------------------------------------------------------------- */

struct index_change {
    uint32_t offset; /* of the key in keys */
    uint32_t key_bytes;
    uint32_t values_bytes; /* of the key: without container and id */
    uint32_t flags;        /* INDEX_CHANGE_* */
};

/* Changes of one index, in the order they were made: of two changes to a key, the later counts. */
struct index_batch {
    uint8_t *keys;
    size_t keys_bytes, keys_capacity;
    struct index_change *changes;
    uint32_t count, capacity;
    uint32_t mark_count; /* see index_batch_mark */
    size_t mark_bytes;
};
void index_batch_release(struct index_batch *batch);
void index_batch_clear(struct index_batch *batch);
/* Remember the end; index_batch_cut drops what was added after. */
void index_batch_mark(struct index_batch *batch);
void index_batch_cut(struct index_batch *batch);

/* Add the keys of the scanned record.  flags: 0 or INDEX_CHANGE_DELETE.
 * errors: FTK_NOMEM, FTK_TOOBIG (combinations). */
ftk_status index_keys_push(struct index_batch *batch, const struct index_scan *scan,
                           const struct index_plan_use *use, uint32_t container, uint64_t id,
                           uint32_t flags);
/* The same with whole texts, which may make keys longer than KILN_KEY_MAX. */
ftk_status index_keys_push_whole(struct index_batch *batch, const struct index_scan *scan,
                                 const struct index_plan_use *use);
/* Add one change, as it stands in another batch. */
ftk_status index_batch_copy(struct index_batch *batch, const struct index_batch *from,
                            const struct index_change *change, uint32_t flags);

/* Likewise its values alone. */
ftk_status index_batch_values(struct index_batch *batch, const struct index_batch *from,
                              const struct index_change *change);

/*
 * Sort: *order_out = the changes, ascending by key, of equal keys only the last made; *count_out of
 * them.  owner: *order_out is borrowed from sorter until its next use.
 */
struct index_sort_entry {
    uint64_t head; /* the first bytes of the key that differ from others, BE */
    uint32_t change;
    uint32_t reserved;
};
struct index_sorter {
    struct index_sort_entry *entries; /* 2 * room */
    uint32_t capacity;
};
void index_sorter_release(struct index_sorter *sorter);
ftk_status index_sort(struct index_sorter *sorter, const struct index_batch *batch,
                      const struct index_sort_entry **order_out, uint32_t *count_out);

#endif
