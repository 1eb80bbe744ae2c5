/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gigatest/giga_verify.c -- see giga_verify.h.
 *
 * Why this is a proof.  The container's walk meets every id that the model says is alive, in order,
 * no other, and each record's fields are those of the model.  The walk of an index is strictly
 * ascending, so no entry comes twice; each entry's values are those the model gives for its id; and
 * there are as many entries as records.  So the index holds one entry for every record.  The sums
 * of a hash of (id, names) over both walks agree, as a cross-check of this reasoning.  All of it is
 * read in one transaction, in the order of the pages.
 */
#include "gigatest/giga_verify.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "ftk/clock.h"
#include "gigatest/giga_database.h"
#include "gigatest/giga_mix.h"
#include "gigatest/giga_stop.h"

struct verifier {
    struct giga_run *run;
    kiln_txn *txn;
    kiln_record *record;
    uint64_t alive;   /* records that the model knows, up to the walk's place */
    uint64_t records; /* met */
    uint64_t age_sum; /* of a hash of (id, age), over the records */
};

__attribute__((format(printf, 2, 3))) static void
finding(struct giga_run *run, const char *format, ...)
{
    va_list arguments;
    char text[GIGA_NOTE_BYTES];

    if (++run->results.findings > GIGA_FINDINGS_MAX)
        return;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    giga_gauges_note(&run->gauges, text);
}

/* A call that failed is a finding when the bytes are at fault, and a fault of the run otherwise. */
static void
trouble(struct giga_run *run, kiln_status rc, const char *what)
{
    const kiln_error *error = kiln_error_last();
    const char *text = error != NULL && error->text != NULL ? error->text : "";

    if (rc == KILN_CORRUPT || rc == KILN_FOREIGN || rc == KILN_NOTFOUND)
        finding(run, "%s: %s (%s)", what, text, kiln_status_text(rc));
    else
        giga_fail(run, rc, "%s", what);
}

/* Tell the screen now and then; true: stop. */
static inline bool
progress(struct giga_run *run, uint64_t done)
{
    if ((done & 1023) == 0)
        atomic_store_explicit(&run->gauges.done, done, memory_order_relaxed);
    return (done & 1023) == 0 && giga_stop_wanted();
}

static inline bool
name_equals(const kiln_item *item, const struct giga_name *name)
{
    return item->type == KILN_TEXT && item->data.size == name->size &&
           memcmp(item->data.data, name->text, name->size) == 0;
}

static uint64_t
bytes_hash(const void *data, size_t size)
{
    uint64_t hash = size;
    char name[GIGA_NAME_BYTES] = {0};
    uint64_t head;
    uint32_t tail;

    memcpy(name, data, size < sizeof(name) ? size : sizeof(name));
    memcpy(&head, name, 8);
    memcpy(&tail, name + 8, 4);
    return (hash ^ head) * 0xbf58476d1ce4e5b9u ^ tail * 0x94d049bb133111ebu;
}

/* Of what was read, never of what was expected. */
static uint64_t
entry_hash(uint64_t id, kiln_slice last, kiln_slice first)
{
    return giga_mix(
        id ^ giga_mix(bytes_hash(last.data, last.size) + 3 * bytes_hash(first.data, first.size)));
}

static uint64_t
age_hash(uint64_t id, int64_t age)
{
    return giga_mix(giga_mix(id) + (uint64_t)age);
}

/* ---- the container -------------------------------------------------------------------------- */

/* The fields "first", "last", "age" and no other; false: noted. */
static bool
record_check(struct verifier *verifier, uint64_t id, const struct giga_state *state,
             kiln_item items[3])
{
    struct giga_run *run = verifier->run;
    const kiln_field fields[3] = {run->first, run->last, run->age};
    const struct giga_name *first = &run->names->given[state->given];
    const struct giga_name *last = &run->names->family[state->family];
    kiln_item extra;
    kiln_walk walk;

    kiln_walk_begin(&walk, verifier->record);
    for (uint32_t i = 0; i < 3; i++) {
        if (kiln_walk_next(&walk, &items[i]) != KILN_OK || items[i].field != fields[i]) {
            finding(run, "record %" PRIu64 ": field %" PRIu32 " is missing or another", id, i + 1);
            return false;
        }
    }
    if (kiln_walk_next(&walk, &extra) != KILN_NOTFOUND)
        finding(run, "record %" PRIu64 ": has a field more than it must", id);
    if (!name_equals(&items[0], first) || !name_equals(&items[1], last))
        finding(run, "record %" PRIu64 ": names \"%.*s %.*s\", expected \"%s %s\"", id,
                (int)items[0].data.size, (const char *)items[0].data.data, (int)items[1].data.size,
                (const char *)items[1].data.data, first->text, last->text);
    if (items[2].type != KILN_INT || items[2].integer != (int64_t)state->age)
        finding(run, "record %" PRIu64 ": age %" PRId64 ", expected %" PRIu32, id, items[2].integer,
                state->age);
    return items[0].type == KILN_TEXT && items[1].type == KILN_TEXT;
}

/* Every id of the model from `id` on that must be there and is below `met`, is missing. */
static void
missing_note(struct verifier *verifier, uint64_t id, uint64_t met)
{
    struct giga_run *run = verifier->run;
    struct giga_state state;

    for (; id < met && id <= run->model.plan.count; id++) {
        giga_model_state(&run->model, id, run->model.round_count, &state);
        if (state.alive) {
            verifier->alive++;
            finding(run, "record %" PRIu64 " is missing", id);
        }
        if (progress(run, id))
            return;
    }
}

static void
records_walk(struct verifier *verifier, kiln_record_cursor *cursor)
{
    struct giga_run *run = verifier->run;
    const struct giga_model *model = &run->model;
    uint64_t expected = 1;
    uint64_t id;
    kiln_status rc;

    while ((rc = kiln_record_cursor_next(cursor, &id, verifier->record)) == KILN_OK) {
        struct giga_state state;
        kiln_item items[3];

        if (id < expected || id > model->plan.count) {
            finding(run, "record %" PRIu64 " is not one that was loaded, or out of order", id);
            continue;
        }
        missing_note(verifier, expected, id);
        expected = id + 1;
        verifier->records++;
        giga_model_state(model, id, model->round_count, &state);
        if (!state.alive) {
            finding(run, "record %" PRIu64 " must not be there", id);
            continue;
        }
        verifier->alive++;
        if (record_check(verifier, id, &state, items)) {
            run->results.records_checksum += entry_hash(id, items[1].data, items[0].data);
            verifier->age_sum += age_hash(id, items[2].integer);
        }
        if (progress(run, verifier->records))
            return;
    }
    if (rc == KILN_NOTFOUND)
        missing_note(verifier, expected, model->plan.count + 1);
    else
        trouble(run, rc, "the walk over the records ended early");
}

static void
records_verify(struct verifier *verifier)
{
    struct giga_run *run = verifier->run;
    kiln_record_cursor *cursor;
    uint64_t counted = 0;
    kiln_status rc = kiln_container_count(verifier->txn, run->container, &counted);

    if (rc != KILN_OK) {
        trouble(run, rc, "cannot count the records");
        return;
    }
    giga_gauges_stage(&run->gauges, GIGA_STAGE_VERIFY_RECORDS, counted, 0);
    rc = kiln_record_cursor_open(verifier->txn, run->container, 1, &cursor);
    if (rc != KILN_OK) {
        trouble(run, rc, "cannot walk over the records");
        return;
    }
    records_walk(verifier, cursor);
    kiln_record_cursor_close(cursor);
    atomic_store(&run->gauges.done, verifier->records);
    if (!giga_stop_wanted() && (counted != verifier->records || counted != verifier->alive))
        finding(run,
                "the container counts %" PRIu64 " records, %" PRIu64 " were met, %" PRIu64
                " were to be there",
                counted, verifier->records, verifier->alive);
    run->results.objects = verifier->records;
}

/* ---- an index ------------------------------------------------------------------------------- */

/* One entry; the state is the model's. */
static void
name_entry(struct verifier *verifier, uint64_t id, const struct giga_state *state,
           const kiln_item items[2], uint64_t *sum)
{
    struct giga_run *run = verifier->run;
    const struct giga_name *first = &run->names->given[state->given];
    const struct giga_name *last = &run->names->family[state->family];

    *sum += entry_hash(id, items[0].data, items[1].data);
    if (!name_equals(&items[0], last) || !name_equals(&items[1], first))
        finding(run,
                "index name: entry of record %" PRIu64 " says \"%.*s, %.*s\", expected "
                "\"%s, %s\"",
                id, (int)items[0].data.size, (const char *)items[0].data.data,
                (int)items[1].data.size, (const char *)items[1].data.data, last->text, first->text);
}

static void
age_entry(struct verifier *verifier, uint64_t id, const struct giga_state *state,
          const kiln_item items[2], uint64_t *sum)
{
    *sum += age_hash(id, items[0].integer);
    if (items[0].type != KILN_INT || items[0].integer != (int64_t)state->age)
        finding(verifier->run,
                "index age: entry of record %" PRIu64 " says %" PRId64 ", expected %" PRIu32, id,
                items[0].integer, state->age);
}

struct place { /* of an entry, for the order */
    char last[GIGA_NAME_BYTES], first[GIGA_NAME_BYTES];
    uint64_t age;
    uint64_t id;
};

static int
place_compare(const struct place *left, const struct place *right)
{
    int order = memcmp(left, right, offsetof(struct place, age));

    if (order == 0 && left->age != right->age)
        order = left->age < right->age ? -1 : 1;
    if (order == 0 && left->id != right->id)
        order = left->id < right->id ? -1 : 1;
    return order;
}

/* Names longer than any of ours are cut: their entry is a finding anyway. */
static void
place_take(struct place *place, uint64_t id, const kiln_item items[2], bool names)
{
    memset(place, 0, sizeof(*place));
    place->id = id;
    if (!names) {
        place->age = (uint64_t)items[0].integer ^ (1ull << 63);
        return;
    }
    for (uint32_t i = 0; i < 2; i++) {
        size_t size = items[i].data.size < GIGA_NAME_BYTES ? items[i].data.size : GIGA_NAME_BYTES;

        if (items[i].type == KILN_TEXT && size > 0)
            memcpy(i == 0 ? place->last : place->first, items[i].data.data, size);
    }
}

/* False: the entry is not to be looked at further. */
static bool
entry_check(struct verifier *verifier, const char *name, uint64_t id, kiln_container container,
            struct giga_state *state_out)
{
    struct giga_run *run = verifier->run;

    if (container != run->container || id < 1 || id > run->model.plan.count) {
        finding(run,
                "index %s: an entry of record %" PRIu64 " in container %" PRIu32
                ", which was not loaded",
                name, id, container);
        return false;
    }
    giga_model_state(&run->model, id, run->model.round_count, state_out);
    if (!state_out->alive) {
        finding(run, "index %s: an entry of record %" PRIu64 ", which must not be there", name, id);
        return false;
    }
    return true;
}

static uint64_t
index_walk(struct verifier *verifier, const char *name, kiln_index_cursor *cursor, bool names,
           uint64_t *sum)
{
    struct giga_run *run = verifier->run;
    struct place places[2];
    uint64_t entries = 0;
    kiln_container container;
    kiln_item items[2];
    uint64_t id;
    kiln_status rc;

    memset(items, 0, sizeof(items));
    while ((rc = kiln_index_cursor_next(cursor, &id, &container, items, names ? 2 : 1)) ==
           KILN_OK) {
        struct giga_state state;
        struct place *now = &places[entries & 1];

        place_take(now, id, items, names);
        if (entries > 0 && place_compare(&places[(entries - 1) & 1], now) >= 0)
            finding(run, "index %s: the entry of record %" PRIu64 " is out of order", name, id);
        entries++;
        if (entry_check(verifier, name, id, container, &state))
            (names ? name_entry : age_entry)(verifier, id, &state, items, sum);
        if (progress(run, entries))
            return entries;
    }
    if (rc != KILN_NOTFOUND)
        trouble(run, rc, "the walk over an index ended early");
    return entries;
}

static void
index_verify(struct verifier *verifier, const char *name, kiln_index index, bool names)
{
    struct giga_run *run = verifier->run;
    kiln_index_cursor *cursor;
    uint64_t counted = 0;
    uint64_t entries;
    uint64_t sum = 0;
    kiln_status rc = kiln_index_count(verifier->txn, index, &counted);

    if (rc == KILN_OK)
        rc = kiln_index_cursor_open(verifier->txn, index, NULL, 0, &cursor);
    if (rc != KILN_OK) {
        trouble(run, rc, "cannot walk over an index");
        return;
    }
    giga_gauges_stage(&run->gauges, GIGA_STAGE_VERIFY_INDEX, counted, 0);
    entries = index_walk(verifier, name, cursor, names, &sum);
    kiln_index_cursor_close(cursor);
    atomic_store(&run->gauges.done, entries);
    if (names)
        run->results.index_checksum = sum;
    if (giga_stop_wanted())
        return;
    if (counted != entries || entries != verifier->alive)
        finding(run,
                "index %s counts %" PRIu64 " entries, %" PRIu64 " were met, %" PRIu64
                " were to be there",
                name, counted, entries, verifier->alive);
    if (sum != (names ? run->results.records_checksum : verifier->age_sum))
        finding(run, "index %s and the container have different checksums", name);
}

/* ---- the pages ------------------------------------------------------------------------------ */

static void
on_check_finding(void *context, const char *text)
{
    finding(context, "check: %s", text);
}

static int
on_check_progress(void *context, uint64_t done, uint64_t total)
{
    struct giga_run *run = context;

    atomic_store(&run->gauges.done, done);
    atomic_store(&run->gauges.total, total);
    return giga_stop_wanted();
}

static void
pages_verify(struct giga_run *run)
{
    kiln_check_options options = KILN_CHECK_OPTIONS_INIT;
    uint64_t findings = run->results.findings;
    kiln_status rc;

    options.finding = on_check_finding;
    options.context = run;
    options.progress = on_check_progress;
    options.progress_context = run;
    giga_gauges_stage(&run->gauges, GIGA_STAGE_VERIFY_CHECK, 0, 0);
    rc = kiln_check(run->db, &options);
    if (rc == KILN_OK || rc == KILN_CANCELED || run->results.findings > findings)
        return;
    trouble(run, rc, "the check of the pages failed");
}

/* ---- all of it ------------------------------------------------------------------------------ */

static void
contents_verify(struct giga_run *run)
{
    struct verifier verifier = {.run = run};
    kiln_status rc = kiln_record_new(&verifier.record);

    if (rc == KILN_OK)
        rc = kiln_txn_begin(run->db, KILN_READ, &verifier.txn);
    if (rc != KILN_OK) {
        kiln_record_free(verifier.record);
        giga_fail(run, rc, "cannot begin a transaction");
        return;
    }
    records_verify(&verifier);
    if ((run->model.plan.indexes & GIGA_INDEX_NAME) != 0 && !giga_stop_wanted())
        index_verify(&verifier, "name", run->index_name, true);
    if ((run->model.plan.indexes & GIGA_INDEX_AGE) != 0 && !giga_stop_wanted())
        index_verify(&verifier, "age", run->index_age, false);
    kiln_txn_abort(verifier.txn);
    kiln_record_free(verifier.record);
}

/* A database that cannot be opened because of its bytes is a finding. */
static bool
open_for_verify(struct giga_run *run)
{
    if (giga_database_open(run, false))
        return true;
    if (run->fault.status == KILN_CORRUPT || run->fault.status == KILN_FOREIGN)
        run->results.findings++;
    return false;
}

bool
giga_verify(struct giga_run *run)
{
    uint64_t start_ns = ftk_clock_ns();

    run->results.verify_ran = true;
    atomic_store(&run->gauges.series_ended, true);
    if (open_for_verify(run)) {
        contents_verify(run);
        if (!giga_stop_wanted() && !giga_failed(run))
            pages_verify(run);
    }
    giga_gauges_db(&run->gauges, NULL);
    if (run->db != NULL) {
        kiln_status rc = kiln_close(run->db);

        run->db = NULL;
        if (rc != KILN_OK)
            giga_fail(run, rc, "closing the database failed");
    }
    run->results.verify_seconds = (double)(ftk_clock_ns() - start_ns) / 1e9;
    run->results.verified = !giga_stop_wanted() && !giga_failed(run) && run->results.findings == 0;
    return run->results.verified || giga_stop_wanted();
}
