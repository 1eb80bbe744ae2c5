/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/records/index_build.c -- entries of records that are there already.
 *
 * Memory is bounded: keys are gathered up to BUILD_BYTES, sorted and put, so a large index is built
 * from few long ascending runs.
 */
#include <string.h>

#include "engine/records/records_internal.h"

enum { BUILD_BYTES = 64 << 20 };

ftk_status
records_each(struct records_txn *state, const struct dict_container *container,
             ftk_status (*each)(void *context, uint64_t id, const struct kiln_record *record),
             void *context)
{
    static const uint8_t first[8] = {0, 0, 0, 0, 0, 0, 0, 1};
    kiln_cursor *cursor = NULL;
    struct kiln_record record;
    uint64_t id;
    ftk_status rc;

    record_init(&record);
    FTK_TRY(kiln_cursor_open(state->txn, container->coll, KILN_CURSOR_SCAN, &cursor));
    for (rc = kiln_cursor_seek(cursor, first, sizeof(first)); rc == FTK_OK;
         rc = kiln_cursor_next(cursor)) {
        FTK_TRY(records_cursor_read(state, container, cursor, &id, &record));
        FTK_TRY(each(context, id, &record));
    }
    if (rc == FTK_NOTFOUND)
        rc = FTK_OK;
out:
    kiln_cursor_close(cursor);
    record_release(&record);
    return rc;
}

/* ---- build ----------------------------------------------------------------------------------- */

struct build {
    struct records_txn *state;
    const struct dict_container *container;
    const struct index_plan_use *use;
    struct index_batch batch;
    uint32_t flags; /* of the changes */
};

static ftk_status
build_each(void *context, uint64_t id, const struct kiln_record *record)
{
    struct build *build = context;
    struct records_txn *state = build->state;
    ftk_status rc;

    FTK_TRY(index_scan(&state->scan, &state->dict->types, &build->container->plan, record));
    FTK_TRY(index_keys_push(&build->batch, &state->scan, build->use, build->container->number, id,
                            build->flags));
    if (build->batch.keys_bytes >= BUILD_BYTES)
        rc = index_flush(state, build->use->index, &build->batch);
out:
    return rc;
}

/* One container's records into one index, or out of it. */
static ftk_status
build_container(struct build *build, const struct dict_container *container,
                const struct index_plan_use *use)
{
    build->container = container;
    build->use = use;
    return records_each(build->state, container, build_each, build);
}

ftk_status
index_build(struct records_txn *state, const struct dict_index *index)
{
    struct build build = {.state = state};
    const struct index_plan_use *use;
    ftk_status rc = FTK_OK;

    for (uint32_t i = 0; i < state->dict->container_count; i++) {
        use = index_plan_use_of(&state->dict->containers[i]->plan, index);
        if (use != NULL)
            FTK_TRY(build_container(&build, state->dict->containers[i], use));
    }
    FTK_TRY(index_flush(state, index, &build.batch));
    FTK_ASSERT(build.batch.count == 0);
    rc = index_suspects_judge(state, index);
    if (rc != FTK_OK)
        index_suspects_drop(state, index->number);
out:
    index_batch_release(&build.batch);
    return rc;
}

ftk_status
index_entries_drop(struct records_txn *state, kiln_container number)
{
    struct build build = {.state = state, .flags = INDEX_CHANGE_DELETE};
    const struct dict_container *container;
    const struct index_plan *plan;
    ftk_status rc;

    FTK_TRY(records_flush(state));
    FTK_TRY(records_container(state, number, &container));
    FTK_ASSERT(state->write && state->pending_bytes == 0);
    plan = &container->plan;
    for (uint32_t u = 0; u < plan->use_count; u++) {
        if (plan->uses[u].index->container != 0)
            continue;
        FTK_TRY(build_container(&build, container, &plan->uses[u]));
        FTK_TRY(index_flush(state, plan->uses[u].index, &build.batch));
    }
out:
    index_batch_release(&build.batch);
    return rc;
}
