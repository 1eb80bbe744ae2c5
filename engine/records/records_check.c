/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/records/records_check.c -- every record against the dictionary, every index against its
 * records.
 *
 * Each record gives its keys, and each key must be in its index (batched gets).  When the number of
 * keys and of entries agree, there is no entry without a record, for entries are distinct; else the
 * index is walked and every entry is looked up in its record.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "engine/records/keycode.h"
#include "engine/records/records_internal.h"
#include "ftk/bytes.h"
#include "ftk/mem.h"

enum { CHECK_BYTES = 1 << 20 };

struct check {
    struct records_txn *state;
    const struct extension_check_calls *calls;
    bool found; /* a fault */
    const struct dict_container *container;
    struct index_batch *batches; /* by index position: keys that must be there */
    uint64_t *expected;          /* by index position: entries that must be there */
    const struct dict_index *index;
    const struct index_sort_entry *order;
};

static void __attribute__((format(printf, 2, 3)))
report(struct check *check, const char *format, ...)
{
    char text[FTK_ERROR_TEXT_MAX * 2];
    va_list arguments;

    check->found = true;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    check->calls->finding(check->calls->context, text);
}

/* ---- records: each key is in its index ------------------------------------------------------- */

static int
key_each(void *context, size_t number, kiln_slice value)
{
    struct check *check = context;
    const struct index_batch *batch = &check->batches[check->index->position];
    const struct index_change *change = &batch->changes[check->order[number].change];
    const uint8_t *key = batch->keys + change->offset;
    kiln_container container = 0;
    uint64_t id = 0;

    if (value.data == NULL) {
        if (index_suffix_get(check->index, key + change->values_bytes, key + change->key_bytes,
                             &container, &id) == FTK_OK)
            report(check, "index '%s': no entry for record %llu of container %u",
                   check->index->name, (unsigned long long)id, container);
    } else if (value.size != 0) {
        report(check, "index '%s': an entry has a value of %zu bytes", check->index->name,
               value.size);
    }
    return 0;
}

static ftk_status
batch_check(struct check *check, const struct dict_index *index)
{
    struct records_txn *state = check->state;
    struct index_batch *batch = &check->batches[index->position];
    kiln_slice *keys, *values;
    uint32_t count;
    ftk_status rc = FTK_OK;

    check->index = index;
    if (batch->count == 0)
        goto out;
    FTK_TRY(index_sort(&state->sorter, batch, &check->order, &count));
    FTK_TRY(records_slices(state, count, &keys, &values));
    for (uint32_t i = 0; i < count; i++) {
        const struct index_change *change = &batch->changes[check->order[i].change];
        keys[i] = (kiln_slice){batch->keys + change->offset, change->key_bytes};
    }
    check->expected[index->position] += count;
    FTK_TRY(kiln_get_many(state->txn, index->coll, keys, count, key_each, check));
    index_batch_clear(batch);
out:
    return rc;
}

static ftk_status
record_check(struct check *check, uint64_t id, const struct kiln_record *record)
{
    struct records_txn *state = check->state;
    const struct dict_container *container = check->container;
    const struct index_plan *plan = &container->plan;
    struct index_batch *batch;
    ftk_status rc;

    rc = record_check_texts(record);
    if (rc == FTK_OK)
        rc = index_scan(&state->scan, &state->dict->types, plan, record);
    if (rc == FTK_CORRUPT || rc == FTK_CONSTRAINT) {
        report(check, "container '%s', record %llu: %s", container->name, (unsigned long long)id,
               ftk_error_last()->text);
        rc = FTK_OK;
        goto out;
    }
    for (uint32_t i = 0; i < plan->use_count && rc == FTK_OK; i++) {
        batch = &check->batches[plan->uses[i].index->position];
        rc = index_keys_push(batch, &state->scan, &plan->uses[i], container->number, id, 0);
        /* A record's equal keys are one entry: they lie in the same batch and are counted once. */
        if (rc == FTK_OK && batch->keys_bytes >= CHECK_BYTES)
            rc = batch_check(check, plan->uses[i].index);
    }
out:
    return rc;
}

static ftk_status
container_check(struct check *check, const struct dict_container *container)
{
    struct records_txn *state = check->state;
    kiln_cursor *cursor = NULL;
    struct kiln_record record;
    uint64_t id;
    ftk_status rc;

    record_init(&record);
    check->container = container;
    FTK_TRY(kiln_cursor_open(state->txn, container->coll, KILN_CURSOR_SCAN, &cursor));
    for (rc = kiln_cursor_first(cursor); rc == FTK_OK; rc = kiln_cursor_next(cursor)) {
        FTK_TRY(check->calls->step(check->calls->context));
        rc = records_cursor_read(state, container, cursor, &id, NULL);
        if (rc == FTK_OK && id == 0)
            continue;
        if (rc == FTK_OK)
            rc = records_cursor_read(state, container, cursor, &id, &record);
        if (rc == FTK_CORRUPT) {
            report(check, "%s", ftk_error_last()->text);
            continue;
        }
        if (rc == FTK_OK)
            rc = record_check(check, id, &record);
        if (rc != FTK_OK)
            goto out;
    }
    if (rc == FTK_NOTFOUND)
        rc = records_high_check(state, container);
    if (rc == FTK_CORRUPT) {
        report(check, "%s", ftk_error_last()->text);
        rc = FTK_OK;
    }
out:
    kiln_cursor_close(cursor);
    record_release(&record);
    return rc;
}

/* ---- indexes: each entry has its record ------------------------------------------------------ */

/* Is the key one of the record's? */
static ftk_status
entry_of_record(struct check *check, const struct dict_container *container, uint64_t id,
                const uint8_t *key, size_t key_bytes, struct kiln_record *record, bool *met_out)
{
    struct records_txn *state = check->state;
    const struct index_plan_use *use = index_plan_use_of(&container->plan, check->index);
    struct index_batch *batch = &state->keys_old;
    ftk_status rc;

    *met_out = false;
    index_batch_clear(batch);
    FTK_TRY(records_read(state, container, id, record));
    FTK_TRY(index_scan(&state->scan, &state->dict->types, &container->plan, record));
    if (use != NULL)
        FTK_TRY(index_keys_push(batch, &state->scan, use, container->number, id, 0));
    for (uint32_t i = 0; i < batch->count && !*met_out; i++)
        *met_out = ftk_bytes_compare(batch->keys + batch->changes[i].offset,
                                     batch->changes[i].key_bytes, key, key_bytes) == 0;
out:
    return rc;
}

static ftk_status
entry_check(struct check *check, const uint8_t *key, size_t key_bytes, struct kiln_record *record)
{
    const struct dict_container *container;
    kiln_container number = 0;
    size_t values_bytes;
    unsigned flags;
    uint64_t id = 0;
    bool met;
    ftk_status rc;

    rc = index_values_get(check->index, key, key_bytes, &values_bytes, &flags);
    if (rc == FTK_OK)
        rc = index_suffix_get(check->index, key + values_bytes, key + key_bytes, &number, &id);
    if (rc == FTK_OK)
        rc = records_container(check->state, number, &container);
    if (rc == FTK_OK)
        rc = entry_of_record(check, container, id, key, key_bytes, record, &met);
    if (rc == FTK_NOTFOUND || (rc == FTK_OK && !met))
        report(check, "index '%s': an entry for record %llu of container %u, which %s",
               check->index->name, (unsigned long long)id, number,
               rc == FTK_OK ? "has no such values" : "is not there");
    if (rc == FTK_CORRUPT || rc == FTK_CONSTRAINT)
        report(check, "%s", ftk_error_last()->text);
    return rc == FTK_NOTFOUND || rc == FTK_CORRUPT || rc == FTK_CONSTRAINT ? FTK_OK : rc;
}

static ftk_status
index_walk(struct check *check)
{
    kiln_cursor *cursor = NULL;
    uint8_t copy[KILN_KEY_MAX];
    struct kiln_record record;
    kiln_slice key;
    ftk_status rc;

    record_init(&record);
    FTK_TRY(kiln_cursor_open(check->state->txn, check->index->coll, KILN_CURSOR_SCAN, &cursor));
    for (rc = kiln_cursor_first(cursor); rc == FTK_OK; rc = kiln_cursor_next(cursor)) {
        FTK_TRY(kiln_cursor_item(cursor, &key, NULL));
        if (key.size > sizeof(copy)) {
            report(check, "index '%s': key of %zu bytes", check->index->name, key.size);
            continue;
        }
        memcpy(copy, key.data, key.size);
        FTK_TRY(entry_check(check, copy, key.size, &record));
    }
    if (rc == FTK_NOTFOUND)
        rc = FTK_OK;
out:
    kiln_cursor_close(cursor);
    record_release(&record);
    return rc;
}

static ftk_status
conflict_report(void *context, const uint64_t ids[2])
{
    struct check *check = context;

    report(check, "index '%s' is unique: records %llu and %llu have the same values",
           check->index->name, (unsigned long long)ids[0], (unsigned long long)ids[1]);
    return FTK_OK;
}

static ftk_status
index_check(struct check *check, const struct dict_index *index)
{
    uint64_t count;
    ftk_status rc;

    FTK_TRY(batch_check(check, index));
    if ((index->flags & KILN_UNIQUE) != 0)
        FTK_TRY(index_unique_walk(check->state, index, conflict_report, check));
    FTK_TRY(kiln_coll_count(check->state->txn, index->coll, &count));
    if (count == check->expected[index->position])
        goto out;
    report(check, "index '%s': %llu entries, the records have %llu", index->name,
           (unsigned long long)count, (unsigned long long)check->expected[index->position]);
    rc = index_walk(check);
out:
    return rc;
}

/* ---- all ------------------------------------------------------------------------------------- */

static ftk_status
all_check(struct check *check)
{
    const struct dict *dict = check->state->dict;
    ftk_status rc = FTK_OK;

    FTK_TRY(FTK_NEW_ARRAY(&check->batches, dict->index_count + 1));
    FTK_TRY(FTK_NEW_ARRAY(&check->expected, dict->index_count + 1));
    for (uint32_t i = 0; i < dict->container_count; i++)
        FTK_TRY(container_check(check, dict->containers[i]));
    for (uint32_t i = 0; i < dict->index_count; i++)
        FTK_TRY(index_check(check, dict->indexes[i]));
out:
    for (uint32_t i = 0; i < dict->index_count && check->batches != NULL; i++)
        index_batch_release(&check->batches[i]);
    ftk_free(check->batches);
    ftk_free(check->expected);
    return rc;
}

ftk_status
records_count(kiln_txn *read_txn, uint64_t *count_out)
{
    struct records_txn *state;
    uint64_t count;
    ftk_status rc;

    *count_out = 0;
    FTK_TRY(records_enter(read_txn, &state));
    for (uint32_t i = 0; i < state->dict->container_count; i++) {
        FTK_TRY(kiln_coll_count(state->txn, state->dict->containers[i]->coll, &count));
        *count_out += count;
    }
out:
    return rc;
}

ftk_status
records_check(kiln_txn *read_txn, const struct extension_check_calls *calls)
{
    struct check check = {.calls = calls};
    ftk_status rc;

    rc = records_enter(read_txn, &check.state);
    if (rc == FTK_CORRUPT) {
        report(&check, "%s", ftk_error_last()->text);
        return rc;
    }
    if (rc == FTK_OK)
        rc = records_flush(check.state);
    if (rc == FTK_OK)
        rc = all_check(&check);
    if (rc == FTK_OK && check.found)
        rc = FTK_FAIL(FTK_CORRUPT, "records and indexes do not agree with each other");
    return rc;
}
