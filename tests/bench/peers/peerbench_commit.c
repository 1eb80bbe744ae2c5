/* SPDX-License-Identifier: Apache-2.0 */
/* peerbench_commit.c -- commits: durable ones, beside a reader, beside checkpoints. */
#include "peerbench.h"

#include <stdlib.h>
#include <time.h>

#define COMMIT_BASE 100000 /* records in the store before the durable commits */
#define MIXED_BASE 2000000 /* and before mixed and latency */
#define SMALL_TXN 10       /* puts of a transaction of mixed and latency */
#define READS_PER_SNAPSHOT 100

static uint64_t
at_most(uint64_t count, uint64_t max)
{
    return count < max ? count : max;
}

/* Puts the base records in a store of its own making, closes it. */
static int
base_make(struct pb_ctx *ctx, uint64_t records)
{
    struct pb_open how = {.durability = PEER_OS, .checkpoint_auto = true};
    struct pb_load load = {.count = records, .per_txn = PB_PER_TXN, .order = PB_RANDOM};
    struct peer_session *session = NULL;
    struct peer_db *db;
    int rc, close_rc;

    rc = pb_store_open(ctx, ctx->dir, &how, &db);
    if (rc != PEER_OK)
        return rc;
    rc = ctx->ops->session_open(db, &session);
    if (rc == PEER_OK)
        rc = pb_store_load(ctx, session, &load);
    if (rc == PEER_OK)
        rc = ctx->ops->checkpoint(db);
    if (session != NULL)
        ctx->ops->session_close(session);
    close_rc = ctx->ops->close(db);
    ctx->records = load.done;
    return rc == PEER_OK ? close_rc : rc;
}

static int
hists_make(struct pb_worker *workers, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        workers[i].hist = calloc(1, sizeof *workers[i].hist);
        if (workers[i].hist == NULL)
            return peer_fail("peerbench", "calloc", "out of memory");
    }
    return PEER_OK;
}

static void
hists_free(struct pb_worker *workers, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        free(workers[i].hist);
}

/* ---- durable commits of one new record each -------------------------------------------------- */

static int
commit_loop(struct pb_worker *worker)
{
    struct pb_ctx *ctx = worker->ctx;
    uint64_t first = ctx->records + ((uint64_t)worker->index << 40);
    struct pb_batch batch;
    int rc = pb_batch_init(&batch, 1);

    while (rc == PEER_OK && !atomic_load(worker->stop)) {
        uint64_t start = pb_now_ns();

        if (start >= worker->until_ns)
            break;
        pb_batch_set(&batch, 0, first + worker->ops, 0, PB_RANDOM, ctx->options->seed);
        rc = pb_store_put_txn(ctx, worker->session, batch.records, 1);
        pb_hist_add(worker->hist, pb_now_ns() - start);
        worker->ops += rc == PEER_OK;
    }
    pb_batch_release(&batch);
    return rc;
}

/* Every acknowledged record of every worker must be there. */
static int
commits_check(struct pb_ctx *ctx, struct peer_db *db, const struct pb_worker *workers,
              unsigned threads)
{
    struct peer_session *session = NULL;
    int rc = ctx->ops->session_open(db, &session);

    if (rc != PEER_OK)
        return rc;
    rc = ctx->ops->txn_begin(session, false);
    for (unsigned t = 0; t < threads; t++) {
        for (uint64_t k = 0; k < workers[t].ops && rc == PEER_OK; k++)
            rc = pb_get_checked(ctx, session, ctx->records + ((uint64_t)t << 40) + k, PB_RANDOM);
    }
    if (rc == PEER_OK)
        rc = ctx->ops->txn_commit(session);
    ctx->ops->session_close(session);
    return rc;
}

static int
commit_full(struct pb_ctx *ctx, unsigned threads)
{
    struct pb_open how = {
        .durability = PEER_FULL, .checkpoint_auto = true, .sessions_max = threads + 1};
    struct pb_worker workers[8] = {0};
    struct peer_db *db = NULL;
    uint64_t ops = 0;
    int close_rc;
    int rc = base_make(ctx, at_most(ctx->options->records, COMMIT_BASE));

    if (rc == PEER_OK)
        rc = hists_make(workers, threads);
    if (rc == PEER_OK)
        rc = pb_store_open(ctx, ctx->dir, &how, &db);
    for (unsigned i = 0; i < threads; i++)
        workers[i].run = commit_loop;
    if (rc == PEER_OK)
        rc = pb_workers_run(ctx, db, workers, threads, ctx->options->seconds);
    if (rc == PEER_OK)
        rc = commits_check(ctx, db, workers, threads);
    close_rc = db != NULL ? ctx->ops->close(db) : PEER_OK;
    rc = rc == PEER_OK ? close_rc : rc;
    if (rc == PEER_OK) {
        for (unsigned i = 0; i < threads; i++)
            ops += workers[i].ops;
        for (unsigned i = 1; i < threads; i++)
            pb_hist_merge(workers[0].hist, workers[i].hist);
        pb_metric(ctx, "rate", "/s", (double)ops / ctx->options->seconds, PB_HIGHER, true);
        pb_hist_metrics(ctx, workers[0].hist, "", false);
    }
    hists_free(workers, threads);
    return rc;
}

int
pb_commit_full_1t(struct pb_ctx *ctx)
{
    return commit_full(ctx, 1);
}

int
pb_commit_full_8t(struct pb_ctx *ctx)
{
    return commit_full(ctx, 8);
}

/* ---- small transactions of updates ----------------------------------------------------------- */

static int
update_loop(struct pb_worker *worker)
{
    struct pb_ctx *ctx = worker->ctx;
    struct pb_batch batch;
    int rc = pb_batch_init(&batch, SMALL_TXN);

    while (rc == PEER_OK && !atomic_load(worker->stop)) {
        uint64_t start;

        for (uint32_t j = 0; j < SMALL_TXN; j++)
            pb_batch_set(&batch, j, pb_rng_below(&worker->rng, ctx->records), worker->ops + 1,
                         PB_RANDOM, ctx->options->seed);
        start = pb_now_ns();
        if (start >= worker->until_ns)
            break;
        rc = pb_store_put_txn(ctx, worker->session, batch.records, SMALL_TXN);
        pb_hist_add(worker->hist, pb_now_ns() - start);
        worker->ops++;
    }
    pb_batch_release(&batch);
    return rc;
}

static int
reader_loop(struct pb_worker *worker)
{
    struct pb_ctx *ctx = worker->ctx;
    int rc = PEER_OK;

    while (rc == PEER_OK && pb_now_ns() < worker->until_ns && !atomic_load(worker->stop)) {
        rc = ctx->ops->txn_begin(worker->session, false);
        for (unsigned k = 0; k < READS_PER_SNAPSHOT && rc == PEER_OK; k++)
            rc = pb_get_checked(ctx, worker->session, pb_rng_below(&worker->rng, ctx->records),
                                PB_RANDOM);
        if (rc == PEER_OK)
            rc = ctx->ops->txn_commit(worker->session);
        worker->ops += READS_PER_SNAPSHOT;
    }
    return rc;
}

int
pb_mixed(struct pb_ctx *ctx)
{
    struct pb_open how = {.durability = PEER_OS, .checkpoint_auto = true, .sessions_max = 2};
    struct pb_worker workers[2] = {{.run = update_loop}, {.run = reader_loop}};
    double seconds = ctx->options->seconds;
    struct peer_db *db = NULL;
    int close_rc;
    int rc = base_make(ctx, at_most(ctx->options->records, MIXED_BASE));

    if (rc == PEER_OK)
        rc = hists_make(workers, 1);
    if (rc == PEER_OK)
        rc = pb_store_open(ctx, ctx->dir, &how, &db);
    if (rc == PEER_OK)
        rc = pb_warm(ctx, db);
    if (rc == PEER_OK)
        rc = pb_workers_run(ctx, db, workers, 2, seconds);
    if (rc == PEER_OK)
        rc = ctx->ops->checkpoint(db); /* so that all bytes are counted */
    close_rc = db != NULL ? ctx->ops->close(db) : PEER_OK;
    rc = rc == PEER_OK ? close_rc : rc;
    if (rc == PEER_OK) {
        pb_metric(ctx, "puts", "/s", (double)workers[0].ops * SMALL_TXN / seconds, PB_HIGHER, true);
        pb_metric(ctx, "gets", "/s", (double)workers[1].ops / seconds, PB_HIGHER, true);
        pb_hist_metrics(ctx, workers[0].hist, "txn_", false);
    }
    hists_free(workers, 1);
    return rc;
}

/* ---- latency of commits, with and without checkpoints ---------------------------------------- */

static int
checkpoint_loop(struct pb_worker *worker)
{
    int rc = PEER_OK;

    while (rc == PEER_OK && pb_now_ns() < worker->until_ns && !atomic_load(worker->stop)) {
        uint64_t start = pb_now_ns();

        rc = worker->ctx->ops->checkpoint(worker->db);
        worker->arg += pb_now_ns() - start;
        worker->ops++;
        if (pb_seconds_since(start) < 0.01) { /* nothing to write yet */
            struct timespec pause = {0, 10 * 1000 * 1000};

            nanosleep(&pause, NULL);
        }
    }
    return rc;
}

static int
latency_phase(struct pb_ctx *ctx, bool checkpoints, const char *prefix)
{
    struct pb_open how = {.durability = PEER_OS,
                          .checkpoint_auto = checkpoints,
                          .sessions_max = 2,
                          .dirty_bytes = (uint64_t)1 << 30};
    struct pb_worker workers[2] = {{.run = update_loop}, {.run = checkpoint_loop}};
    double seconds = ctx->options->seconds;
    struct peer_db *db = NULL;
    char name[28];
    int close_rc;
    int rc = hists_make(workers, 1);

    if (rc == PEER_OK)
        rc = pb_store_open(ctx, ctx->dir, &how, &db);
    if (rc == PEER_OK)
        rc = pb_warm(ctx, db);
    if (rc == PEER_OK)
        rc = pb_workers_run(ctx, db, workers, checkpoints ? 2 : 1, seconds);
    if (rc == PEER_OK)
        rc = ctx->ops->checkpoint(db); /* so that all bytes are counted */
    close_rc = db != NULL ? ctx->ops->close(db) : PEER_OK;
    rc = rc == PEER_OK ? close_rc : rc;
    if (rc == PEER_OK) {
        pb_hist_metrics(ctx, workers[0].hist, prefix, true);
        snprintf(name, sizeof name, "%stxns", prefix);
        pb_metric(ctx, name, "/s", (double)workers[0].ops / seconds, PB_HIGHER, false);
    }
    if (rc == PEER_OK && checkpoints && workers[1].ops > 0)
        pb_metric(ctx, "ckpt_seconds", "s", (double)workers[1].arg / 1e9 / (double)workers[1].ops,
                  PB_NEITHER, false);
    hists_free(workers, 1);
    return rc;
}

int
pb_latency(struct pb_ctx *ctx)
{
    int rc = base_make(ctx, at_most(ctx->options->records, MIXED_BASE));

    if (rc == PEER_OK)
        rc = latency_phase(ctx, false, "");
    return rc == PEER_OK ? latency_phase(ctx, true, "ckpt_") : rc;
}
