/* SPDX-License-Identifier: Apache-2.0 */
/* engine/records/index_plan.c -- makes plans from the indexes in the dictionary. */
#include "engine/records/index_plan.h"

#include <string.h>

#include "engine/records/dict.h"

uint32_t
index_plan_edge_find(const struct index_plan *plan, uint32_t node, uint32_t field)
{
    for (uint32_t i = 1; i <= plan->edge_count; i++) {
        if (plan->edges[i].field == field && plan->edges[i].node == node)
            return i;
    }
    return 0;
}

const struct index_plan_use *
index_plan_use_of(const struct index_plan *plan, const struct dict_index *index)
{
    for (uint32_t i = 0; i < plan->use_count; i++) {
        if (plan->uses[i].index == index)
            return &plan->uses[i];
    }
    return NULL;
}

/* The edge, made when it is missing. */
static ftk_status
edge_of(struct index_plan *plan, uint32_t node, uint32_t field, struct index_plan_edge **edge_out)
{
    uint32_t edge = index_plan_edge_find(plan, node, field);

    if (edge == 0) {
        if (plan->edge_count == INDEX_EDGES_MAX)
            return FTK_FAIL(FTK_TOOBIG, "indexes of one container look at more than %d places",
                            INDEX_EDGES_MAX);
        edge = ++plan->edge_count;
        memset(&plan->edges[edge], 0, sizeof(plan->edges[edge]));
        plan->edges[edge].field = field;
        plan->edges[edge].node = (uint16_t)node;
    }
    FTK_ASSERT(edge >= 1 && edge <= plan->edge_count);
    *edge_out = &plan->edges[edge];
    return FTK_OK;
}

static ftk_status
part_slot(struct index_plan *plan, const struct dict_part *part, uint16_t *slot_out)
{
    struct index_plan_edge *edge;
    uint32_t node = 0;
    ftk_status rc = FTK_OK;

    for (uint32_t i = 0; i < part->path_count; i++) {
        FTK_TRY(edge_of(plan, node, part->path[i], &edge));
        if (edge->child == 0)
            edge->child = (uint16_t)plan->node_count++;
        node = edge->child;
    }
    FTK_TRY(edge_of(plan, node, part->field, &edge));
    if (edge->slot == 0)
        edge->slot = (uint16_t)++plan->slot_count;
    FTK_ASSERT(plan->slot_count <= plan->edge_count && plan->node_count <= plan->edge_count + 1);
    *slot_out = edge->slot;
out:
    return rc;
}

static ftk_status
root_make(struct dict *dict, struct index_plan *plan)
{
    void *memory;
    ftk_status rc;

    plan->root_count = 0;
    for (uint32_t i = 1; i <= plan->edge_count; i++) {
        if (plan->edges[i].node == 0 && plan->edges[i].field >= plan->root_count)
            plan->root_count = plan->edges[i].field + 1;
    }
    FTK_TRY(dict_memory(dict, (plan->root_count + 1) * sizeof(*plan->root), &memory));
    plan->root = memory;
    memset(plan->root, 0, (plan->root_count + 1) * sizeof(*plan->root));
    for (uint32_t i = 1; i <= plan->edge_count; i++) {
        if (plan->edges[i].node == 0)
            plan->root[plan->edges[i].field] = (uint16_t)i;
    }
out:
    return rc;
}

ftk_status
index_plan_make(struct dict *dict, struct dict_container *container)
{
    struct index_plan plan = {.node_count = 1};
    const struct dict_index *index;
    struct index_plan_use *use;
    uint64_t edges = 1;
    void *memory;
    ftk_status rc;

    for (uint32_t i = 0; i < dict->index_count; i++) {
        index = dict->indexes[i];
        if (index->container != 0 && index->container != container->number)
            continue;
        plan.use_count++;
        for (uint32_t p = 0; p < index->part_count; p++)
            edges += index->parts[p].path_count + 1u;
    }
    if (edges > INDEX_EDGES_MAX + 1)
        edges = INDEX_EDGES_MAX + 1;
    FTK_TRY(dict_memory(dict, edges * sizeof(*plan.edges), &memory));
    plan.edges = memory;
    FTK_TRY(dict_memory(dict, (plan.use_count + 1) * sizeof(*plan.uses), &memory));
    use = plan.uses = memory;
    for (uint32_t i = 0; i < dict->index_count; i++) {
        index = dict->indexes[i];
        if (index->container != 0 && index->container != container->number)
            continue;
        use->index = index;
        for (uint32_t p = 0; p < index->part_count; p++)
            FTK_TRY(part_slot(&plan, &index->parts[p], &use->slots[p]));
        use++;
    }
    FTK_ASSERT(use == plan.uses + plan.use_count && plan.edge_count < edges);
    FTK_TRY(root_make(dict, &plan));
    container->plan = plan;
out:
    return rc;
}

ftk_status
dict_plan(struct dict *dict, uint32_t container)
{
    const struct dict_container *one;
    ftk_status rc = FTK_OK;

    if (container != 0) {
        one = dict_container_of(dict, container);
        FTK_ASSERT(one != NULL);
        return index_plan_make(dict, dict->containers[one->position]);
    }
    for (uint32_t i = 0; i < dict->container_count; i++)
        FTK_TRY(index_plan_make(dict, dict->containers[i]));
out:
    return rc;
}
