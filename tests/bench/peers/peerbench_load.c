/* SPDX-License-Identifier: Apache-2.0 */
/* peerbench_load.c -- loads: ascending, random, larger than memory.  And settling. */
#include "peerbench.h"

#include <stdlib.h>

#define SAMPLE 1000 /* records read back after a load */

static int
sample_check(struct pb_ctx *ctx, struct peer_session *session, const struct pb_load *load)
{
    struct pb_rng rng = {ctx->options->seed};
    int rc = ctx->ops->txn_begin(session, false);

    for (unsigned k = 0; k < SAMPLE && rc == PEER_OK && load->done > 0; k++)
        rc = pb_get_checked(ctx, session, pb_rng_below(&rng, load->done), load->order);
    if (rc != PEER_OK) {
        ctx->ops->txn_abort(session);
        return rc;
    }
    return ctx->ops->txn_commit(session);
}

static void
load_metrics(struct pb_ctx *ctx, const struct pb_load *load, double load_seconds,
             double closed_seconds, const struct peer_stat *stat)
{
    ctx->result->loaded = load->done;
    pb_metric(ctx, "rate", "/s", (double)load->done / load_seconds, PB_HIGHER, true);
    pb_metric(ctx, "rate_closed", "/s", (double)load->done / closed_seconds, PB_HIGHER, true);
    pb_metric(ctx, "seconds", "s", load_seconds, PB_LOWER, false);
    pb_metric(ctx, "seconds_closed", "s", closed_seconds, PB_LOWER, false);
    pb_hist_metrics(ctx, load->hist, "txn_", false);
    if (stat->written_bytes > 0)
        pb_metric(ctx, "engine_written", "B", (double)stat->written_bytes, PB_LOWER, false);
}

/* Load, checkpoint, read a sample back (not timed), close. */
static int
load_measured(struct pb_ctx *ctx, struct peer_db *db, struct pb_load *load)
{
    struct peer_session *session = NULL;
    struct peer_stat stat = {0};
    double load_seconds, after_seconds = 0;
    uint64_t start;
    int rc, close_rc;

    rc = ctx->ops->session_open(db, &session);
    start = pb_now_ns();
    if (rc == PEER_OK)
        rc = pb_store_load(ctx, session, load);
    load_seconds = pb_seconds_since(start);
    start = pb_now_ns();
    if (rc == PEER_OK)
        rc = ctx->ops->checkpoint(db);
    after_seconds += pb_seconds_since(start);
    if (rc == PEER_OK)
        rc = sample_check(ctx, session, load);
    if (rc == PEER_OK)
        rc = ctx->ops->stat(db, &stat);
    if (session != NULL)
        ctx->ops->session_close(session);
    start = pb_now_ns();
    close_rc = ctx->ops->close(db);
    after_seconds += pb_seconds_since(start);
    if (rc == PEER_OK)
        load_metrics(ctx, load, load_seconds, load_seconds + after_seconds, &stat);
    return rc == PEER_OK ? close_rc : rc;
}

static int
load_run(struct pb_ctx *ctx, enum pb_order order, uint64_t count, uint64_t cache_bytes)
{
    struct pb_open how = {
        .durability = PEER_OS,
        .checkpoint_auto = true,
        .ascending = order == PB_ASCENDING,
        .cache_bytes = cache_bytes,
    };
    struct pb_load load = {.count = count, .per_txn = PB_PER_TXN, .order = order};
    struct peer_db *db;
    int rc;

    load.hist = calloc(1, sizeof *load.hist);
    if (load.hist == NULL)
        return peer_fail("peerbench", "calloc", "out of memory");
    rc = pb_store_open(ctx, ctx->dir, &how, &db);
    if (rc == PEER_OK)
        rc = load_measured(ctx, db, &load);
    free(load.hist);
    return rc;
}

int
pb_seq_load(struct pb_ctx *ctx)
{
    return load_run(ctx, PB_ASCENDING, ctx->options->records, 0);
}

int
pb_rand_load(struct pb_ctx *ctx)
{
    return load_run(ctx, PB_RANDOM, ctx->options->records, 0);
}

int
pb_bigload(struct pb_ctx *ctx)
{
    return load_run(ctx, PB_RANDOM, ctx->options->big_records, ctx->options->big_cache_bytes);
}

/* Between a load and the reads that follow on it: background work is done, nothing measured. */
int
pb_settle(struct pb_ctx *ctx)
{
    struct pb_open how = {.durability = PEER_OS, .checkpoint_auto = true};
    struct peer_db *db;
    int rc, close_rc;

    rc = pb_store_open(ctx, ctx->dir, &how, &db);
    if (rc != PEER_OK)
        return rc;
    rc = ctx->ops->settle != NULL ? ctx->ops->settle(db) : ctx->ops->checkpoint(db);
    close_rc = ctx->ops->close(db);
    return rc == PEER_OK ? close_rc : rc;
}
