/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/records/index_plan.h -- what to pick out of a container's records for its indexes.
 *
 * A plan is a tree of field numbers: an edge leads from a group (node; 0 is the record itself) over
 * a field to another group, to a slot, or nowhere.  A slot gathers the values of one field at one
 * place of the tree; several indexes may use the same slot.  So one pass over a record's items
 * finds the values of all its indexes.
 */
#ifndef ENGINE_INDEX_PLAN_H
#define ENGINE_INDEX_PLAN_H

#include <stdint.h>

#include "engine/records/records_format.h"
#include "ftk/status.h"

struct dict;
struct dict_container;
struct dict_index;

struct index_plan_edge {
    uint32_t field;
    uint16_t node;  /* from */
    uint16_t child; /* the group's node; 0: no index looks into it */
    uint16_t slot;  /* 0: none */
    uint16_t reserved;
};

struct index_plan_use {
    const struct dict_index *index;
    uint16_t slots[KILN_INDEX_PARTS_MAX]; /* by part */
};

struct index_plan {
    uint16_t *root; /* by field number: edge from node 0; 0: none */
    uint32_t root_count;
    struct index_plan_edge *edges; /* 1..edge_count */
    uint32_t edge_count;
    uint32_t node_count; /* with node 0 */
    uint32_t slot_count; /* slots are 1..slot_count */
    struct index_plan_use *uses;
    uint32_t use_count;
};

/* Indexes of a database, at most: 16 parts each with 33 edges fit 16 bits. */
#define INDEX_COUNT_MAX 1024
#define INDEX_EDGES_MAX 65535

/* Make the plan of a container.  errors: FTK_NOMEM; FTK_TOOBIG: more than INDEX_EDGES_MAX. */
ftk_status index_plan_make(struct dict *dict, struct dict_container *container);

/* The edge from a node that is not 0; 0: none. */
uint32_t index_plan_edge_find(const struct index_plan *plan, uint32_t node, uint32_t field);

/* How the plan's container uses an index; NULL: not. */
const struct index_plan_use *index_plan_use_of(const struct index_plan *plan,
                                               const struct dict_index *index);

#endif
