/* SPDX-License-Identifier: Apache-2.0 */
/* engine/records/index_define.c -- indexes: define, find, drop, count. */
#include <string.h>

#include "engine/records/records_internal.h"

/* ---- define ---------------------------------------------------------------------------------- */

static ftk_status
part_check(const struct dict *dict, const kiln_index_part *part, uint32_t number,
           struct dict_part *part_out)
{
    const struct record_types *types = &dict->types;
    uint32_t field;

    for (size_t i = 0; i < sizeof(part->reserved) / sizeof(part->reserved[0]); i++)
        if (part->reserved[i] != 0)
            return FTK_FAIL(FTK_INVALID, "part %u: reserved bytes are not zero", number);
    if ((part->flags & ~(uint32_t)(KILN_DESCENDING | KILN_REQUIRED)) != 0)
        return FTK_FAIL(FTK_INVALID, "part %u: unknown flags 0x%x", number, part->flags);
    if (part->path_count > KILN_RECORD_DEPTH_MAX || (part->path == NULL && part->path_count > 0))
        return FTK_FAIL(FTK_INVALID, "part %u: a path of %u groups, or NULL", number,
                        part->path_count);
    for (uint32_t i = 0; i <= part->path_count; i++) {
        field = i < part->path_count ? part->path[i] : part->field;
        if (field >= types->count || types->types[field] == 0)
            return FTK_FAIL(FTK_NOTFOUND, "part %u: there is no field %u", number, field);
        if ((types->types[field] == KILN_GROUP) != (i < part->path_count))
            return FTK_FAIL(FTK_INVALID, "part %u: field %u is %s group", number, field,
                            i < part->path_count ? "no" : "a");
    }
    part_out->field = part->field;
    part_out->type = types->types[part->field];
    part_out->flags = (uint8_t)part->flags;
    part_out->path_count = (uint8_t)part->path_count;
    part_out->path = part->path;
    return FTK_OK;
}

/* What the options say, as a dictionary index that borrows from them. */
static ftk_status
options_read(const struct dict *dict, const kiln_index_options *options, struct dict_index *index)
{
    ftk_status rc;

    memset(index, 0, sizeof(*index));
    FTK_TRY(dict_name_check("index", options->name));
    if ((options->flags & ~(uint32_t)KILN_UNIQUE) != 0) {
        rc = FTK_FAIL(FTK_INVALID, "index '%s': unknown flags 0x%x", options->name, options->flags);
        goto out;
    }
    if (options->part_count == 0 || options->part_count > KILN_INDEX_PARTS_MAX ||
        options->parts == NULL) {
        rc = FTK_FAIL(FTK_INVALID, "index '%s': %u parts, or NULL; 1 to %d are allowed",
                      options->name, options->part_count, KILN_INDEX_PARTS_MAX);
        goto out;
    }
    if (options->container != 0 && dict_container_of(dict, options->container) == NULL) {
        rc = FTK_FAIL(FTK_NOTFOUND, "index '%s': there is no container %u", options->name,
                      options->container);
        goto out;
    }
    index->name = options->name;
    index->container = options->container;
    index->flags = (uint8_t)options->flags;
    index->part_count = (uint8_t)options->part_count;
    for (uint32_t i = 0; i < options->part_count; i++)
        FTK_TRY(part_check(dict, &options->parts[i], i, &index->parts[i]));
    index->text_limit = dict_text_limit(index);
    FTK_ASSERT(index->text_limit >= KEYCODE_TEXT_LIMIT_MIN);
out:
    return rc;
}

static bool
same_meaning(const struct dict_index *a, const struct dict_index *b)
{
    if (a->container != b->container || a->flags != b->flags || a->part_count != b->part_count)
        return false;
    for (uint32_t i = 0; i < a->part_count; i++) {
        const struct dict_part *left = &a->parts[i], *right = &b->parts[i];
        if (left->field != right->field || left->flags != right->flags ||
            left->path_count != right->path_count)
            return false;
        for (uint32_t p = 0; p < left->path_count; p++) {
            if (left->path[p] != right->path[p])
                return false;
        }
    }
    return true;
}

struct definition {
    struct records_txn *state;
    struct dict_index *model; /* gets its number */
};

/* Define and build; the records may not allow it. */
static ftk_status
define(kiln_txn *txn, void *context)
{
    const struct definition *wanted = context;
    const struct dict_index *index;
    ftk_status rc;

    FTK_ASSERT(wanted->state->txn == txn);
    FTK_TRY(dict_index_define(wanted->state, wanted->model));
    FTK_TRY(records_index(wanted->state, wanted->model->number, &index));
    FTK_ASSERT(same_meaning(index, wanted->model) && index->coll == wanted->model->coll);
    rc = index_build(wanted->state, index);
out:
    return rc;
}

static ftk_status
index_new(struct records_txn *state, struct dict_index *model, kiln_index *index_out)
{
    struct definition wanted = {state, model};
    ftk_status rc;

    if (state->dict->index_count == INDEX_COUNT_MAX)
        return FTK_FAIL(FTK_NOSPACE, "there are %d indexes already", INDEX_COUNT_MAX);
    rc = records_define(state, define, &wanted);
    if (rc == FTK_OK)
        *index_out = model->number;
    return rc;
}

kiln_status
kiln_index_define(kiln_txn *txn, const kiln_index_options *options, kiln_index *index_out)
{
    kiln_index_options known = KILN_INDEX_OPTIONS_INIT;
    struct records_txn *state;
    struct dict_index model;
    uint32_t number;
    ftk_status rc;

    if (index_out == NULL || options == NULL)
        return extension_answer(txn, FTK_FAIL(FTK_INVALID, "options or index_out is NULL"));
    *index_out = 0;
    FTK_TRY(extension_options_read(options, "kiln_index_options", &known, sizeof(known)));
    FTK_TRY(records_enter_write(txn, &state));
    FTK_TRY(options_read(state->dict, &known, &model));
    FTK_ASSERT(model.name != NULL);
    number = dict_find(state->dict, DICT_KIND_INDEX, model.name, strlen(model.name));
    if (number == 0)
        rc = index_new(state, &model, index_out);
    else if (!same_meaning(dict_index_of(state->dict, number), &model))
        rc = FTK_FAIL(FTK_EXISTS, "index '%s' is there with another meaning", model.name);
    else
        *index_out = number;
out:
    return extension_answer(txn, rc);
}

/* ---- find, drop, count ----------------------------------------------------------------------- */

kiln_status
kiln_index_find(kiln_txn *txn, const char *name, kiln_index *index_out)
{
    struct records_txn *state;
    ftk_status rc;

    if (index_out == NULL)
        return extension_answer(txn, FTK_FAIL(FTK_INVALID, "index_out is NULL"));
    *index_out = 0;
    FTK_TRY(dict_name_check("index", name));
    FTK_TRY(records_enter(txn, &state));
    *index_out = dict_find(state->dict, DICT_KIND_INDEX, name, strlen(name));
    if (*index_out == 0)
        rc = FTK_FAIL(FTK_NOTFOUND, "there is no index '%s'", name);
out:
    return extension_answer(txn, rc);
}

kiln_status
kiln_index_drop(kiln_txn *txn, kiln_index index)
{
    struct records_txn *state;
    ftk_status rc = records_enter_write(txn, &state);

    if (rc == FTK_OK)
        rc = dict_index_drop(state, index);
    return extension_answer(txn, rc);
}

kiln_status
kiln_index_count(kiln_txn *txn, kiln_index index, uint64_t *count_out)
{
    const struct dict_index *found;
    struct records_txn *state;
    ftk_status rc;

    if (count_out == NULL)
        return extension_answer(txn, FTK_FAIL(FTK_INVALID, "count_out is NULL"));
    *count_out = 0;
    FTK_TRY(records_enter(txn, &state));
    FTK_TRY(records_index(state, index, &found));
    FTK_TRY(records_flush(state));
    FTK_TRY(kiln_coll_count(txn, found->coll, count_out));
out:
    return extension_answer(txn, rc);
}
