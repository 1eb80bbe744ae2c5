/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/records/dict.h -- the dictionary in memory: fields, containers and indexes by number and
 * by name.
 *
 * A dictionary is one version of the rows of collection DICT_COLLECTION (records_format.h, 2).  One
 * that several transactions share never changes; a write transaction that defines something has a
 * copy of its own (dict_define.c).
 *
 * owner: everything that a dictionary points to lives as long as it does.
 */
#ifndef ENGINE_DICT_H
#define ENGINE_DICT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/records/index_plan.h"
#include "engine/records/keycode.h"
#include "engine/records/record.h"
#include "engine/records/records_format.h"
#include "ftk/status.h"

struct dict_part {
    uint32_t field;
    uint8_t type;  /* kiln_type of the field */
    uint8_t flags; /* KILN_DESCENDING, KILN_REQUIRED */
    uint8_t path_count;
    const uint32_t *path;
};

struct dict_index {
    uint32_t number;
    uint32_t position; /* in dict->indexes */
    const char *name;
    kiln_coll coll;
    uint32_t container; /* 0: all */
    uint8_t flags;      /* KILN_UNIQUE */
    uint8_t part_count;
    uint16_t text_limit; /* of the key bytes of one text part */
    struct dict_part parts[KILN_INDEX_PARTS_MAX];
};

struct dict_container {
    uint32_t number;
    uint32_t position; /* in dict->containers */
    const char *name;
    kiln_coll coll;
    struct index_plan plan; /* the indexes of its records */
};

struct dict_chunk; /* memory of a dictionary */
struct dict_name;

struct dict {
    _Atomic uint32_t references;
    uint64_t version; /* 0: there is no dictionary yet */
    uint32_t field_next, container_next, index_next;
    uint32_t field_gaps;       /* numbers below field_next that no field has */
    struct record_types types; /* by field number */
    uint8_t *types_own;        /* what types.types points to */
    const char **field_names;  /* by field number */
    uint32_t field_capacity;
    struct dict_container **containers; /* ascending by number */
    uint32_t container_count, container_capacity;
    struct dict_index **indexes; /* ascending by number */
    uint32_t index_count, index_capacity;
    struct dict_name *names; /* open addressing, by kind and name */
    uint32_t name_count, name_capacity;
    struct dict_chunk *chunks;
};

/* An empty dictionary with one reference.  errors: FTK_NOMEM. */
ftk_status dict_new(struct dict **dict_out);
void dict_retain(struct dict *dict);
void dict_release(struct dict *dict); /* NULL is fine */

/* Read the dictionary that txn sees in collection coll.  errors: FTK_CORRUPT, FTK_VERSION, ... */
ftk_status dict_load(kiln_txn *txn, kiln_coll coll, struct dict **dict_out);
/* Its version alone: one get. */
ftk_status dict_version_read(kiln_txn *txn, kiln_coll coll, uint64_t *version_out);

/* The number behind a name; 0: none.  kind: DICT_KIND_*. */
uint32_t dict_find(const struct dict *dict, int kind, const char *name, size_t name_bytes);
/* NULL: no such number. */
const struct dict_container *dict_container_of(const struct dict *dict, uint32_t number);
const struct dict_index *dict_index_of(const struct dict *dict, uint32_t number);

/* Add what a row says; only to a dictionary that nobody shares.  Names are checked by the
 * caller. */
ftk_status dict_add_field(struct dict *dict, uint32_t number, kiln_type type, const char *name,
                          size_t name_bytes);
ftk_status dict_add_container(struct dict *dict, uint32_t number, kiln_coll coll, const char *name,
                              size_t name_bytes);
/* model's number, coll and what describes the index; model->name and paths are copied. */
ftk_status dict_add_index(struct dict *dict, const struct dict_index *model);
/* Make the plan of a container anew, 0: of all (after it or an index of it was added). */
ftk_status dict_plan(struct dict *dict, uint32_t container);

/* Expensive: the rules of dict.c hold, and the plans are those of its indexes. */
void dict_check(const struct dict *dict);

/* Memory that lives as long as the dictionary.  errors: FTK_NOMEM. */
ftk_status dict_memory(struct dict *dict, size_t bytes, void **out);

/* Open the collection of a container or index ('c' or 'i').  flags: KILN_COLL_CREATE, COLL_*. */
ftk_status dict_coll_open(kiln_txn *txn, char letter, uint32_t number, uint32_t flags,
                          kiln_coll *coll_out);

/* Well-formed UTF-8 of 1..KILN_NAME_MAX bytes without control characters. */
bool dict_name_is_good(const char *name, size_t name_bytes);
/* The most key bytes that each text part of the index may take, so that every key fits. */
uint16_t dict_text_limit(const struct dict_index *index);

/* Write the header row; dict->version grows by one. */
ftk_status dict_header_write(kiln_txn *txn, kiln_coll coll, struct dict *dict);
/* Key of a row: into 5 bytes. */
void dict_key_put(uint8_t key[5], int kind, uint32_t number);
/* The row of an index; room for DICT_ROW_BYTES_MAX.  Returns its size. */
size_t dict_index_row_put(uint8_t *row, const struct dict_index *index);

#endif
