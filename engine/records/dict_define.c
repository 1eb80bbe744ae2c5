/* SPDX-License-Identifier: Apache-2.0 */
/* engine/records/dict_define.c -- fields and containers: define, find, drop. */
#include <string.h>

#include "engine/records/records_internal.h"
#include "ftk/bytes.h"

ftk_status
dict_name_check(const char *what, const char *name)
{
    size_t name_bytes;

    if (name == NULL)
        return FTK_FAIL(FTK_INVALID, "the %s's name is NULL", what);
    name_bytes = strnlen(name, KILN_NAME_MAX + 1);
    if (!dict_name_is_good(name, name_bytes))
        return FTK_FAIL(FTK_INVALID,
                        "the %s's name is not 1 to %d bytes of UTF-8 without control characters",
                        what, KILN_NAME_MAX);
    return FTK_OK;
}

/* The buffer of a kiln_*_name call. */
static ftk_status
name_give(const char *name, char *buffer, size_t buffer_bytes)
{
    size_t name_bytes = strlen(name);

    if (buffer == NULL)
        return FTK_FAIL(FTK_INVALID, "buffer is NULL");
    if (buffer_bytes <= name_bytes)
        return FTK_FAIL(FTK_TRUNCATED, "the name needs a buffer of %zu bytes", name_bytes + 1);
    memcpy(buffer, name, name_bytes + 1);
    return FTK_OK;
}

/* Put a row of the dictionary. */
static ftk_status
row_put(struct records_txn *state, int kind, uint32_t number, const void *row, size_t row_bytes)
{
    uint8_t key[5];

    FTK_ASSERT(row_bytes <= DICT_ROW_BYTES_MAX && state->dict_own); /* else others would see it */
    dict_key_put(key, kind, number);
    return extension_put(state->txn, state->dict_coll, (kiln_slice){key, sizeof(key)},
                         (kiln_slice){row, row_bytes}, KILN_PUT_REPLACE);
}

/* A number for something new of this kind.  It is taken for good, whatever becomes of the
 * transaction: programs keep numbers. */
static ftk_status
number_take(struct records_txn *state, int kind, const char *what, uint32_t *number_out)
{
    const struct dict *dict = state->dict;
    uint32_t next = kind == DICT_KIND_FIELD       ? dict->field_next
                    : kind == DICT_KIND_CONTAINER ? dict->container_next
                                                  : dict->index_next;
    uint32_t *taken = records_numbers(state, kind);

    if (next < *taken &&
        (kind != DICT_KIND_FIELD || dict->field_gaps + (*taken - next) <= DICT_FIELD_GAPS_MAX))
        next = *taken;
    if (next == UINT32_MAX)
        return FTK_FAIL(FTK_NOSPACE, "the dictionary has no number left for another %s", what);
    FTK_ASSERT(next >= 1 && dict->field_gaps <= DICT_FIELD_GAPS_MAX);
    *taken = next + 1;
    *number_out = next;
    return FTK_OK;
}

/* ---- fields ---------------------------------------------------------------------------------- */

/* What one is to be, and which it is then (records_define). */
struct definition {
    struct records_txn *state;
    const char *name;
    kiln_type type;  /* of a field */
    uint32_t number; /* out; of what is dropped, in */
};

static ftk_status
field_define(kiln_txn *txn, void *context)
{
    struct definition *wanted = context;
    struct records_txn *state = wanted->state;
    uint8_t bytes[sizeof(struct dict_field_row) + KILN_NAME_MAX];
    struct dict_field_row *row = (void *)bytes;
    size_t name_bytes = strlen(wanted->name);
    uint32_t number;
    ftk_status rc;

    FTK_ASSERT(state->txn == txn);
    FTK_TRY(records_dict_change(state));
    FTK_TRY(number_take(state, DICT_KIND_FIELD, "field", &number));
    row->form = DICT_ROW_FORM;
    row->flags = 0;
    row->type = (uint8_t)wanted->type;
    row->name_bytes = (uint8_t)name_bytes;
    memcpy(row + 1, wanted->name, name_bytes);
    rc = row_put(state, DICT_KIND_FIELD, number, bytes, sizeof(*row) + name_bytes);
    if (rc == FTK_OK)
        rc = dict_add_field(state->dict, number, wanted->type, wanted->name, name_bytes);
    if (rc == FTK_OK) {
        FTK_ASSERT(number >= state->dict->field_next);
        state->dict->field_gaps += number - state->dict->field_next;
        state->dict->field_next = number + 1;
    }
    FTK_TRY(records_dict_changed(state, rc));
    wanted->number = number;
out:
    return rc;
}

kiln_status
kiln_field_define(kiln_txn *txn, const char *name, kiln_type type, kiln_field *field_out)
{
    struct records_txn *state;
    uint32_t number;
    ftk_status rc;

    if (field_out == NULL)
        return extension_answer(txn, FTK_FAIL(FTK_INVALID, "field_out is NULL"));
    *field_out = 0;
    if (type < KILN_TEXT || type > KILN_GROUP)
        return extension_answer(txn, FTK_FAIL(FTK_INVALID, "there is no type %d", (int)type));
    FTK_TRY(dict_name_check("field", name));
    FTK_TRY(records_enter_write(txn, &state));
    number = dict_find(state->dict, DICT_KIND_FIELD, name, strlen(name));
    if (number == 0) {
        struct definition wanted = {state, name, type, 0};
        rc = records_define(state, field_define, &wanted);
        *field_out = rc == FTK_OK ? wanted.number : 0;
    } else if (state->dict->types.types[number] != type) {
        rc = FTK_FAIL(FTK_EXISTS, "field '%s' is there with type %d", name,
                      state->dict->types.types[number]);
    } else {
        *field_out = number;
    }
out:
    return extension_answer(txn, rc);
}

kiln_status
kiln_field_find(kiln_txn *txn, const char *name, kiln_field *field_out, kiln_type *type_out)
{
    struct records_txn *state;
    uint32_t number;
    ftk_status rc;

    if (field_out != NULL)
        *field_out = 0;
    if (type_out != NULL)
        memset(type_out, 0, sizeof(*type_out));
    FTK_TRY(dict_name_check("field", name));
    FTK_TRY(records_enter(txn, &state));
    number = dict_find(state->dict, DICT_KIND_FIELD, name, strlen(name));
    if (number == 0) {
        rc = FTK_FAIL(FTK_NOTFOUND, "there is no field '%s'", name);
        goto out;
    }
    if (field_out != NULL)
        *field_out = number;
    if (type_out != NULL)
        *type_out = (kiln_type)state->dict->types.types[number];
out:
    return extension_answer(txn, rc);
}

kiln_status
kiln_field_name(kiln_txn *txn, kiln_field field, char *buffer, size_t buffer_size)
{
    struct records_txn *state;
    ftk_status rc;

    FTK_TRY(records_enter(txn, &state));
    if (field == 0 || field >= state->dict->types.count || state->dict->types.types[field] == 0)
        rc = FTK_FAIL(FTK_NOTFOUND, "there is no field %u", field);
    else
        rc = name_give(state->dict->field_names[field], buffer, buffer_size);
out:
    return extension_answer(txn, rc);
}

/* ---- containers ------------------------------------------------------------------------------ */

static ftk_status
container_define(kiln_txn *txn, void *context)
{
    struct definition *wanted = context;
    struct records_txn *state = wanted->state;
    uint8_t bytes[sizeof(struct dict_container_row) + KILN_NAME_MAX];
    struct dict_container_row *row = (void *)bytes;
    size_t name_bytes = strlen(wanted->name);
    kiln_coll coll;
    uint32_t number;
    ftk_status rc;

    FTK_ASSERT(state->txn == txn);
    FTK_TRY(records_dict_change(state));
    FTK_TRY(number_take(state, DICT_KIND_CONTAINER, "container", &number));
    row->form = DICT_ROW_FORM;
    row->flags = 0;
    row->name_bytes = (uint8_t)name_bytes;
    memcpy(row + 1, wanted->name, name_bytes);
    rc = dict_coll_open(state->txn, 'c', number, KILN_COLL_CREATE, &coll);
    if (rc == FTK_OK)
        rc = row_put(state, DICT_KIND_CONTAINER, number, bytes, sizeof(*row) + name_bytes);
    if (rc == FTK_OK)
        rc = dict_add_container(state->dict, number, coll, wanted->name, name_bytes);
    if (rc == FTK_OK)
        rc = dict_plan(state->dict, number);
    FTK_ASSERT(rc != FTK_OK || number >= state->dict->container_next);
    if (rc == FTK_OK)
        state->dict->container_next = number + 1;
    FTK_TRY(records_dict_changed(state, rc));
    wanted->number = number;
out:
    return rc;
}

kiln_status
kiln_container_define(kiln_txn *txn, const char *name, kiln_container *container_out)
{
    struct records_txn *state;
    uint32_t number;
    ftk_status rc;

    if (container_out == NULL)
        return extension_answer(txn, FTK_FAIL(FTK_INVALID, "container_out is NULL"));
    *container_out = 0;
    FTK_TRY(dict_name_check("container", name));
    FTK_TRY(records_enter_write(txn, &state));
    number = dict_find(state->dict, DICT_KIND_CONTAINER, name, strlen(name));
    if (number == 0) {
        struct definition wanted = {.state = state, .name = name};
        rc = records_define(state, container_define, &wanted);
        *container_out = rc == FTK_OK ? wanted.number : 0;
    } else {
        *container_out = number;
    }
out:
    return extension_answer(txn, rc);
}

kiln_status
kiln_container_find(kiln_txn *txn, const char *name, kiln_container *container_out)
{
    struct records_txn *state;
    ftk_status rc;

    if (container_out == NULL)
        return extension_answer(txn, FTK_FAIL(FTK_INVALID, "container_out is NULL"));
    *container_out = 0;
    FTK_TRY(dict_name_check("container", name));
    FTK_TRY(records_enter(txn, &state));
    *container_out = dict_find(state->dict, DICT_KIND_CONTAINER, name, strlen(name));
    if (*container_out == 0)
        rc = FTK_FAIL(FTK_NOTFOUND, "there is no container '%s'", name);
out:
    return extension_answer(txn, rc);
}

/* ---- rows of indexes, drops ------------------------------------------------------------------ */

ftk_status
dict_index_define(struct records_txn *state, struct dict_index *model)
{
    uint8_t row[DICT_ROW_BYTES_MAX];
    size_t row_bytes;
    ftk_status rc;

    FTK_TRY(records_dict_change(state));
    FTK_TRY(number_take(state, DICT_KIND_INDEX, "index", &model->number));
    row_bytes = dict_index_row_put(row, model);
    rc = dict_coll_open(state->txn, 'i', model->number, KILN_COLL_CREATE, &model->coll);
    if (rc == FTK_OK)
        rc = row_put(state, DICT_KIND_INDEX, model->number, row, row_bytes);
    if (rc == FTK_OK)
        rc = dict_add_index(state->dict, model);
    if (rc == FTK_OK)
        rc = dict_plan(state->dict, model->container);
    FTK_ASSERT(rc != FTK_OK || model->number >= state->dict->index_next);
    if (rc == FTK_OK)
        state->dict->index_next = model->number + 1;
    FTK_TRY(records_dict_changed(state, rc));
out:
    return rc;
}

/* Delete a row and its collection. */
static ftk_status
row_drop(struct records_txn *state, int kind, uint32_t number, kiln_coll coll)
{
    uint8_t key[5];
    ftk_status rc;

    FTK_ASSERT(state->dict_own && coll != 0 && coll != state->dict_coll);
    dict_key_put(key, kind, number);
    rc = extension_delete(state->txn, state->dict_coll, (kiln_slice){key, sizeof(key)});
    if (rc == FTK_OK)
        rc = extension_coll_drop(state->txn, coll);
    return rc;
}

/* The dictionary's positions change: read it anew. */
static ftk_status
drop_end(struct records_txn *state, ftk_status rc)
{
    rc = records_dict_changed(state, rc);
    if (rc == FTK_OK)
        records_forget(state);
    FTK_ASSERT(rc != FTK_OK || state->dict == NULL);
    return rc;
}

static ftk_status
index_drop(kiln_txn *txn, void *context)
{
    const struct definition *old = context;
    struct records_txn *state = old->state;
    kiln_index number = old->number;
    const struct dict_index *index;
    ftk_status rc;

    FTK_ASSERT(state->txn == txn);
    FTK_TRY(records_dict_change(state));
    FTK_TRY(records_index(state, number, &index));
    rc = drop_end(state, row_drop(state, DICT_KIND_INDEX, number, index->coll));
out:
    return rc;
}

ftk_status
dict_index_drop(struct records_txn *state, kiln_index number)
{
    struct definition old = {.state = state, .number = number};
    const struct dict_index *index;
    ftk_status rc = records_index(state, number, &index);

    return rc != FTK_OK ? rc : records_define(state, index_drop, &old);
}

/* Indexes of this container alone go with it; indexes over all containers lose its entries. */
static ftk_status
container_drop(kiln_txn *txn, void *context)
{
    const struct definition *old = context;
    struct records_txn *state = old->state;
    kiln_container number = old->number;
    const struct dict_container *container;
    const struct dict_index *index;
    bool shared = false;
    ftk_status rc;

    FTK_ASSERT(state->txn == txn);
    FTK_TRY(records_container(state, number, &container));
    for (uint32_t i = 0; i < container->plan.use_count; i++)
        shared |= container->plan.uses[i].index->container == 0;
    if (shared)
        FTK_TRY(index_entries_drop(state, number));
    FTK_TRY(records_dict_change(state));
    FTK_TRY(records_container(state, number, &container));
    for (uint32_t i = 0; i < container->plan.use_count && rc == FTK_OK; i++) {
        index = container->plan.uses[i].index;
        if (index->container == number)
            rc = row_drop(state, DICT_KIND_INDEX, index->number, index->coll);
    }
    if (rc == FTK_OK)
        rc = row_drop(state, DICT_KIND_CONTAINER, number, container->coll);
    rc = drop_end(state, rc);
out:
    return rc;
}

kiln_status
kiln_container_drop(kiln_txn *txn, kiln_container container)
{
    struct definition old = {.number = container};
    const struct dict_container *found;
    ftk_status rc = records_enter_write(txn, &old.state);

    if (rc == FTK_OK)
        rc = records_container(old.state, container, &found);
    if (rc == FTK_OK)
        rc = records_define(old.state, container_drop, &old);
    return extension_answer(txn, rc);
}
