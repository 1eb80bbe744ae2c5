/* SPDX-License-Identifier: Apache-2.0 */
/* peerbench_read.c -- reads of what rand_load left: gets, batches, scans. */
#include "peerbench.h"

#include <stdlib.h>

#define GETS_PER_TXN 1000
#define MANY 64
#define SCAN 100

int
pb_warm(struct pb_ctx *ctx, struct peer_db *db)
{
    struct peer_session *session = NULL;
    struct pb_visitor visitor = {.order = PB_RANDOM};
    int rc = ctx->ops->session_open(db, &session);

    if (rc == PEER_OK)
        rc = pb_scan_all(ctx, session, &visitor);
    if (session != NULL)
        ctx->ops->session_close(session);
    return rc;
}

/* The engine's cache is filled by one scan of everything, then by gets for a while. */
static int
warm(struct pb_ctx *ctx, struct peer_session *session)
{
    struct pb_visitor visitor = {.order = PB_RANDOM};
    struct pb_rng rng = {ctx->options->seed + 1};
    double seconds = ctx->options->seconds / 2 < 5 ? ctx->options->seconds / 2 : 5;
    uint64_t start;
    int rc = pb_scan_all(ctx, session, &visitor);

    if (rc == PEER_OK && visitor.count != ctx->records)
        rc = pb_wrong(ctx, "a scan gave %llu records of %llu", (unsigned long long)visitor.count,
                      (unsigned long long)ctx->records);
    start = pb_now_ns();
    while (rc == PEER_OK && pb_seconds_since(start) < seconds) {
        rc = ctx->ops->txn_begin(session, false);
        for (unsigned k = 0; k < GETS_PER_TXN && rc == PEER_OK; k++)
            rc = pb_get_checked(ctx, session, pb_rng_below(&rng, ctx->records), PB_RANDOM);
        if (rc == PEER_OK)
            rc = ctx->ops->txn_commit(session);
    }
    return rc;
}

static int
get_loop(struct pb_worker *worker)
{
    struct pb_ctx *ctx = worker->ctx;
    int rc = PEER_OK;

    while (rc == PEER_OK && pb_now_ns() < worker->until_ns && !atomic_load(worker->stop)) {
        rc = ctx->ops->txn_begin(worker->session, false);
        for (unsigned k = 0; k < GETS_PER_TXN && rc == PEER_OK; k++)
            rc = pb_get_checked(ctx, worker->session, pb_rng_below(&worker->rng, ctx->records),
                                PB_RANDOM);
        if (rc == PEER_OK)
            rc = ctx->ops->txn_commit(worker->session);
        worker->ops += GETS_PER_TXN;
    }
    return rc;
}

struct many {
    uint64_t found;
    uint64_t bad;
    uint64_t sum;
};

static bool
many_visit(void *context, struct peer_slice key, struct peer_slice value)
{
    struct many *many = context;
    uint64_t i, version;

    (void)key;
    if (pb_value_check(value, &i, &version))
        many->sum += i;
    else
        many->bad++;
    many->found++;
    return true;
}

/* One batch of random keys; the sum of the numbers found proves that each value is its key's. */
static int
many_once(struct pb_worker *worker)
{
    struct pb_ctx *ctx = worker->ctx;
    uint8_t keys[MANY][PB_KEY_BYTES];
    struct peer_slice slices[MANY];
    struct many many = {0};
    uint64_t sum = 0;
    int rc;

    for (unsigned k = 0; k < MANY; k++) {
        uint64_t i = pb_rng_below(&worker->rng, ctx->records);

        pb_key_make(keys[k], i, PB_RANDOM, ctx->options->seed);
        slices[k] = (struct peer_slice){keys[k], PB_KEY_BYTES};
        sum += i;
    }
    rc = ctx->ops->get_many(worker->session, slices, MANY, many_visit, &many);
    if (rc == PEER_OK && (many.found != MANY || many.bad > 0 || many.sum != sum))
        rc = pb_wrong(ctx, "a batch of gets: %llu of %u found, %llu wrong",
                      (unsigned long long)many.found, MANY, (unsigned long long)many.bad);
    worker->ops += MANY;
    return rc;
}

static int
many_loop(struct pb_worker *worker)
{
    struct pb_ctx *ctx = worker->ctx;
    int rc = PEER_OK;

    while (rc == PEER_OK && pb_now_ns() < worker->until_ns && !atomic_load(worker->stop)) {
        rc = ctx->ops->txn_begin(worker->session, false);
        for (unsigned k = 0; k < GETS_PER_TXN / MANY && rc == PEER_OK; k++)
            rc = many_once(worker);
        if (rc == PEER_OK)
            rc = ctx->ops->txn_commit(worker->session);
    }
    return rc;
}

/* worker->arg counts scans that ended early: right only near the end of the keys. */
static int
scan_once(struct pb_worker *worker)
{
    struct pb_ctx *ctx = worker->ctx;
    struct pb_visitor visitor = {.order = PB_RANDOM, .seed = ctx->options->seed, .ordered = true};
    uint8_t key[PB_KEY_BYTES];
    int rc;

    pb_key_make(key, pb_rng_below(&worker->rng, ctx->records), PB_RANDOM, ctx->options->seed);
    rc = ctx->ops->txn_begin(worker->session, false);
    if (rc == PEER_OK)
        rc = ctx->ops->scan(worker->session, (struct peer_slice){key, sizeof key}, SCAN, pb_visit,
                            &visitor);
    if (rc == PEER_OK)
        rc = ctx->ops->txn_commit(worker->session);
    worker->arg += visitor.count < SCAN;
    worker->ops++;
    if (rc == PEER_OK && (visitor.bad > 0 || visitor.count == 0 || visitor.count > SCAN))
        rc = pb_wrong(ctx, "a scan: %llu records, %llu wrong", (unsigned long long)visitor.count,
                      (unsigned long long)visitor.bad);
    return rc;
}

static int
scan_loop(struct pb_worker *worker)
{
    uint64_t short_max;
    int rc = PEER_OK;

    while (rc == PEER_OK && pb_now_ns() < worker->until_ns && !atomic_load(worker->stop))
        rc = scan_once(worker);
    short_max = 10 + worker->ops * 3 * SCAN / worker->ctx->records;
    if (rc == PEER_OK && worker->arg > short_max)
        rc = pb_wrong(worker->ctx, "%llu of %llu scans ended early",
                      (unsigned long long)worker->arg, (unsigned long long)worker->ops);
    return rc;
}

static int
read_run(struct pb_ctx *ctx, unsigned threads, int (*loop)(struct pb_worker *), uint64_t *ops_out)
{
    struct pb_open how = {.durability = PEER_OS, .checkpoint_auto = true, .sessions_max = threads};
    struct pb_worker workers[8] = {0};
    struct peer_session *session = NULL;
    struct peer_db *db;
    int rc, close_rc;

    *ops_out = 0;
    rc = pb_store_open(ctx, ctx->dir, &how, &db);
    if (rc != PEER_OK)
        return rc;
    rc = ctx->ops->session_open(db, &session);
    if (rc == PEER_OK)
        rc = warm(ctx, session);
    for (unsigned i = 0; i < threads; i++)
        workers[i].run = loop;
    if (rc == PEER_OK)
        rc = pb_workers_run(ctx, db, workers, threads, ctx->options->seconds);
    for (unsigned i = 0; i < threads; i++)
        *ops_out += workers[i].ops;
    if (session != NULL)
        ctx->ops->session_close(session);
    close_rc = ctx->ops->close(db);
    return rc == PEER_OK ? close_rc : rc;
}

static int
read_reported(struct pb_ctx *ctx, unsigned threads, int (*loop)(struct pb_worker *),
              uint64_t records_per_op)
{
    uint64_t ops;
    int rc = read_run(ctx, threads, loop, &ops);

    if (rc != PEER_OK)
        return rc;
    pb_metric(ctx, "rate", "/s", (double)ops / ctx->options->seconds, PB_HIGHER, true);
    if (records_per_op > 1)
        pb_metric(ctx, "records", "/s",
                  (double)ops * (double)records_per_op / ctx->options->seconds, PB_HIGHER, false);
    return PEER_OK;
}

int
pb_rand_get(struct pb_ctx *ctx)
{
    return read_reported(ctx, 1, get_loop, 1);
}

int
pb_rand_get_2t(struct pb_ctx *ctx)
{
    return read_reported(ctx, 2, get_loop, 1);
}

int
pb_get_many64(struct pb_ctx *ctx)
{
    return read_reported(ctx, 1, many_loop, 1);
}

int
pb_scan100(struct pb_ctx *ctx)
{
    return read_reported(ctx, 1, scan_loop, SCAN);
}

static int
cold_scan_timed(struct pb_ctx *ctx, struct peer_session *session, double open_seconds)
{
    struct pb_visitor visitor = {.order = PB_RANDOM};
    uint64_t start = pb_now_ns();
    uint64_t n = ctx->records;
    uint64_t sum = n % 2 == 0 ? n / 2 * (n - 1) : (n - 1) / 2 * n; /* 0 + 1 + .. + n-1 */
    double seconds;
    int rc = pb_scan_all(ctx, session, &visitor);

    seconds = pb_seconds_since(start);
    if (rc != PEER_OK)
        return rc;
    if (visitor.count != n || visitor.sum != sum)
        return pb_wrong(ctx, "a scan gave %llu records of %llu", (unsigned long long)visitor.count,
                        (unsigned long long)n);
    pb_metric(ctx, "rate", "/s", (double)n / seconds, PB_HIGHER, true);
    pb_metric(ctx, "user_mb", "MB/s", (double)n * PB_RECORD_BYTES / seconds / 1e6, PB_HIGHER,
              false);
    pb_metric(ctx, "seconds", "s", seconds, PB_LOWER, false);
    pb_metric(ctx, "open_seconds", "s", open_seconds, PB_LOWER, false);
    return PEER_OK;
}

int
pb_cold_scan(struct pb_ctx *ctx)
{
    struct pb_open how = {.durability = PEER_OS, .checkpoint_auto = true};
    struct peer_session *session = NULL;
    struct peer_db *db;
    double left = pb_cache_drop(ctx->dir);
    uint64_t start = pb_now_ns();
    int rc, close_rc;

    if (left > 0.02)
        pb_note(ctx, "%.0f %% of the files stayed in the page cache", left * 100);
    rc = pb_store_open(ctx, ctx->dir, &how, &db);
    if (rc != PEER_OK)
        return rc;
    rc = ctx->ops->session_open(db, &session);
    if (rc == PEER_OK)
        rc = cold_scan_timed(ctx, session, pb_seconds_since(start));
    if (session != NULL)
        ctx->ops->session_close(session);
    close_rc = ctx->ops->close(db);
    return rc == PEER_OK ? close_rc : rc;
}
