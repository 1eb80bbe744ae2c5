/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gigatest/giga_load.c -- see giga_load.h.
 *
 * A worker begins a write transaction, and only then learns from the database where the work goes
 * on: for the load, the number of records; for a round, its text in the collection "gigatest".  So
 * any number of workers may run side by side (one executes while others wait for the log), commits
 * may fail, and the process may be killed anywhere: the database alone says what is done.
 */
#include "gigatest/giga_load.h"

#include <inttypes.h>
#include <string.h>

#include "ftk/clock.h"
#include "ftk/status.h"
#include "gigatest/giga_database.h"
#include "gigatest/giga_stop.h"

enum outcome { MORE, COMPLETE, FAILED };

struct worker {
    struct giga_run *run;
    kiln_record *record;
    kiln_record *record_there; /* as the database has it */
    uint32_t round;
    enum outcome (*transaction)(struct worker *worker, kiln_txn *txn, uint64_t *done_out);
};

/* ---- records -------------------------------------------------------------------------------- */

static inline kiln_status
record_fill(const struct giga_run *run, kiln_record *record, const struct giga_state *state)
{
    const struct giga_name *first = &run->names->given[state->given];
    const struct giga_name *last = &run->names->family[state->family];
    kiln_status rc;

    kiln_record_clear(record);
    rc = kiln_record_text(record, run->first, first->text, first->size);
    if (rc == KILN_OK)
        rc = kiln_record_text(record, run->last, last->text, last->size);
    if (rc == KILN_OK)
        rc = kiln_record_int(record, run->age, (int64_t)state->age);
    return rc;
}

static bool
record_add(struct worker *worker, kiln_txn *txn, uint64_t id, const struct giga_state *state,
           bool chosen_by_database)
{
    struct giga_run *run = worker->run;
    uint64_t id_there = chosen_by_database ? 0 : id;
    kiln_status rc = record_fill(run, worker->record, state);

    if (rc == KILN_OK)
        rc = kiln_record_add(txn, run->container, worker->record, &id_there);
    if (rc != KILN_OK)
        return giga_fail(run, rc, "cannot add record %" PRIu64, id);
    if (id_there != id)
        return giga_fail(run, KILN_OK,
                         "the database chose id %" PRIu64 " where %" PRIu64 " is next", id_there,
                         id);
    return true;
}

/* ---- one transaction of the load ------------------------------------------------------------ */

static enum outcome
load_transaction(struct worker *worker, kiln_txn *txn, uint64_t *done_out)
{
    struct giga_run *run = worker->run;
    const struct giga_model *model = &run->model;
    bool chosen_by_database = model->plan.ids == GIGA_IDS_AUTO;
    uint64_t position;
    uint64_t end;
    kiln_status rc = kiln_container_count(txn, run->container, &position);

    if (rc != KILN_OK) {
        giga_fail(run, rc, "cannot count the records");
        return FAILED;
    }
    if (position >= model->plan.count)
        return COMPLETE;
    end = model->plan.count - position;
    end = position + (end < run->options->txn ? end : run->options->txn);
    *done_out = end - position;
    for (; position < end; position++) {
        struct giga_state state;
        uint64_t id = giga_model_load(model, position, &state);

        if (!record_add(worker, txn, id, &state, chosen_by_database))
            return FAILED;
    }
    return MORE;
}

/* ---- one transaction of a round ------------------------------------------------------------- */

static bool
name_equals(const kiln_item *item, const struct giga_name *name)
{
    return item->data.size == name->size && memcmp(item->data.data, name->text, name->size) == 0;
}

static bool
record_agrees(struct worker *worker, kiln_txn *txn, uint64_t id, const struct giga_state *state)
{
    struct giga_run *run = worker->run;
    const struct giga_name *first = &run->names->given[state->given];
    const struct giga_name *last = &run->names->family[state->family];
    kiln_item item[3];
    kiln_status rc = kiln_record_get(txn, run->container, id, worker->record_there);

    if (rc != KILN_OK)
        return giga_fail(run, rc, "cannot read record %" PRIu64, id);
    if (kiln_record_find(worker->record_there, run->first, 0, &item[0]) != KILN_OK ||
        kiln_record_find(worker->record_there, run->last, 0, &item[1]) != KILN_OK ||
        kiln_record_find(worker->record_there, run->age, 0, &item[2]) != KILN_OK ||
        !name_equals(&item[0], first) || !name_equals(&item[1], last) ||
        item[2].integer != (int64_t)state->age)
        return giga_fail(run, KILN_OK, "record %" PRIu64 " does not read as it was written", id);
    return true;
}

static bool
step_take(struct worker *worker, kiln_txn *txn, const struct giga_round *round, uint64_t id,
          enum giga_step *step_out)
{
    struct giga_run *run = worker->run;
    struct giga_state state;
    kiln_status rc = KILN_OK;

    giga_model_state(&run->model, id, worker->round, &state);
    *step_out = giga_round_step(round, id, &state);
    switch (*step_out) {
    case GIGA_STEP_NONE: return true;
    case GIGA_STEP_READ: return record_agrees(worker, txn, id, &state);
    case GIGA_STEP_ADD: return record_add(worker, txn, id, &state, false);
    case GIGA_STEP_DELETE: rc = kiln_record_delete(txn, run->container, id); break;
    case GIGA_STEP_UPDATE:
        rc = record_fill(run, worker->record, &state);
        if (rc == KILN_OK)
            rc = kiln_record_update(txn, run->container, id, worker->record);
        break;
    }
    return rc == KILN_OK || giga_fail(run, rc, "cannot %s record %" PRIu64,
                                      *step_out == GIGA_STEP_DELETE ? "delete" : "update", id);
}

static enum outcome
round_transaction(struct worker *worker, kiln_txn *txn, uint64_t *done_out)
{
    struct giga_run *run = worker->run;
    struct giga_round round = run->model.rounds[worker->round];
    uint32_t steps = 0;

    if (!giga_round_read(run, txn, worker->round, &round))
        return FAILED;
    if (round.done >= round.target || round.walked >= run->model.plan.count)
        return COMPLETE;
    while (steps < run->options->txn && round.done < round.target &&
           round.walked < run->model.plan.count) {
        uint64_t id = giga_permute_forward(&round.permute, round.walked) + 1;
        enum giga_step step;

        if (!step_take(worker, txn, &round, id, &step))
            return FAILED;
        round.walked++;
        round.done += step != GIGA_STEP_NONE;
        steps += step != GIGA_STEP_NONE;
    }
    *done_out = steps;
    return giga_round_write(run, txn, worker->round, &round) ? MORE : FAILED;
}

/* ---- workers -------------------------------------------------------------------------------- */

static bool
commit(struct giga_run *run, kiln_txn *txn, uint64_t done)
{
    uint64_t start_ns = ftk_clock_ns();
    kiln_status rc = kiln_txn_commit(txn);

    if (rc != KILN_OK)
        return giga_fail(run, rc, "a transaction did not commit");
    giga_histogram_add(&run->gauges.commits, ftk_clock_ns() - start_ns);
    atomic_fetch_add_explicit(&run->gauges.done, done, memory_order_relaxed);
    atomic_fetch_add_explicit(&run->gauges.work, done, memory_order_relaxed);
    return true;
}

static void *
worker_run(void *context)
{
    struct worker *worker = context;
    struct giga_run *run = worker->run;
    enum outcome outcome = MORE;

    while (outcome == MORE && !giga_stop_wanted() && !giga_failed(run)) {
        uint64_t done = 0;
        kiln_txn *txn;
        kiln_status rc = kiln_txn_begin(run->db, KILN_WRITE, &txn);

        if (rc != KILN_OK) {
            giga_fail(run, rc, "cannot begin a transaction");
            break;
        }
        outcome = worker->transaction(worker, txn, &done);
        if (outcome != MORE)
            kiln_txn_abort(txn);
        else if (!commit(run, txn, done))
            break;
    }
    return NULL;
}

#define WORKERS_MAX 64

static bool
workers_start_and_wait(struct giga_run *run, struct worker *workers, uint32_t count)
{
    pthread_t threads[WORKERS_MAX];
    uint32_t started = 0;

    while (started + 1 < count &&
           pthread_create(&threads[started], NULL, worker_run, &workers[started + 1]) == 0)
        started++;
    worker_run(&workers[0]); /* on this thread; a thread that cannot be had is done without */
    for (uint32_t i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    return !giga_failed(run);
}

static bool
work(struct giga_run *run, uint32_t round,
     enum outcome (*transaction)(struct worker *, kiln_txn *, uint64_t *))
{
    struct worker workers[WORKERS_MAX] = {{.run = run}};
    uint32_t count = run->options->threads < WORKERS_MAX ? run->options->threads : WORKERS_MAX;
    kiln_status rc = KILN_OK;

    FTK_ASSERT(count > 0); /* the options have seen to it */
    for (uint32_t i = 0; i < count; i++) {
        workers[i] = (struct worker){.run = run, .round = round, .transaction = transaction};
        if (rc == KILN_OK)
            rc = kiln_record_new(&workers[i].record);
        if (rc == KILN_OK)
            rc = kiln_record_new(&workers[i].record_there);
    }
    if (rc == KILN_OK)
        workers_start_and_wait(run, workers, count);
    else
        giga_fail(run, rc, "cannot make a record");
    for (uint32_t i = 0; i < count; i++) {
        kiln_record_free(workers[i].record);
        kiln_record_free(workers[i].record_there);
    }
    return !giga_failed(run);
}

bool
giga_load(struct giga_run *run)
{
    uint64_t start_ns = ftk_clock_ns();
    uint64_t before = run->model.loaded;
    bool good;

    run->results.load_ran = true;
    if (before > run->model.plan.count)
        return giga_fail(run, KILN_OK,
                         "there are %" PRIu64 " records where %" PRIu64 " were to be loaded",
                         before, run->model.plan.count);
    giga_gauges_stage(&run->gauges, GIGA_STAGE_LOAD, run->model.plan.count, before);
    good = before == run->model.plan.count || work(run, 0, load_transaction);
    run->results.load_seconds = (double)(ftk_clock_ns() - start_ns) / 1e9;
    run->model.loaded = atomic_load(&run->gauges.done);
    run->results.objects_added = run->model.loaded - before;
    return good;
}

/* ---- rounds --------------------------------------------------------------------------------- */

static bool
round_store(struct giga_run *run, uint32_t number)
{
    kiln_txn *txn;
    kiln_status rc = kiln_txn_begin(run->db, KILN_WRITE, &txn);

    if (rc != KILN_OK)
        return giga_fail(run, rc, "cannot begin a transaction");
    if (!giga_round_write(run, txn, number, &run->model.rounds[number])) {
        kiln_txn_abort(txn);
        return false;
    }
    rc = kiln_txn_commit(txn);
    return rc == KILN_OK || giga_fail(run, rc, "a transaction did not commit");
}

static bool
round_run(struct giga_run *run, uint32_t number)
{
    static const enum giga_stage stages[] = {GIGA_STAGE_UPDATE, GIGA_STAGE_DELETE,
                                             GIGA_STAGE_MIXED};
    struct giga_round *round = &run->model.rounds[number];
    struct giga_phase_result *result = &run->results.phases[run->results.phase_count];
    uint64_t start_ns = ftk_clock_ns();
    kiln_txn *txn;
    bool good;

    giga_gauges_stage(&run->gauges, stages[round->kind], round->target, round->done);
    good = work(run, number, round_transaction);
    if (result->seconds == 0)
        result->kind = round->kind;
    result->seconds += (double)(ftk_clock_ns() - start_ns) / 1e9;
    result->done += atomic_load(&run->gauges.done) - round->done;
    if (!good || kiln_txn_begin(run->db, KILN_READ, &txn) != KILN_OK)
        return good;
    good = giga_round_read(run, txn, number, round);
    kiln_txn_abort(txn);
    return good;
}

/* A phase takes as many rounds as it needs: one round comes by each object once. */
static bool
phase_run(struct giga_run *run, struct giga_phase *phase)
{
    bool good = true;

    while (good && phase->count > 0 && !giga_stop_wanted()) {
        uint64_t count = run->model.plan.count;
        uint64_t target = phase->count < count ? phase->count : count;
        uint32_t number = run->model.round_count;

        if (!giga_model_round_add(&run->model, phase->kind, target))
            return giga_fail(run, KILN_OK,
                             "the database has seen %d rounds of changes, which is "
                             "the limit",
                             GIGA_ROUNDS_MAX);
        if (!round_store(run, number))
            return false;
        phase->count -= target;
        good = round_run(run, number);
        if (good && run->model.rounds[number].done == 0 && !giga_stop_wanted())
            phase->count = 0; /* there is nothing left to update or delete */
    }
    return good;
}

static bool
round_unfinished(const struct giga_model *model)
{
    const struct giga_round *last = &model->rounds[model->round_count - 1]; /* if any */

    return model->round_count > 0 && last->done < last->target && last->walked < model->plan.count;
}

bool
giga_phases(struct giga_run *run)
{
    bool good = true;

    if (round_unfinished(&run->model)) {
        good = round_run(run, run->model.round_count - 1);
        run->results.phase_count++;
    }
    for (uint32_t i = 0; good && i < run->options->phase_count && !giga_stop_wanted(); i++) {
        good = phase_run(run, &run->phases[i]);
        run->results.phase_count++;
    }
    return good;
}
