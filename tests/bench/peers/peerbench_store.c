/* SPDX-License-Identifier: Apache-2.0 */
/* peerbench_store.c -- stores, loading and verifying: what the workloads are made of. */
#include "peerbench.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define RETRIES_MAX 10000

int
pb_store_open(struct pb_ctx *ctx, const char *dir, const struct pb_open *how,
              struct peer_db **db_out)
{
    const struct pb_options *o = ctx->options;
    struct peer_options options = {
        .cache_bytes = how->cache_bytes != 0 ? how->cache_bytes : o->cache_bytes,
        .data_bytes_max = o->disk_bytes_max * 4 / 5,
        .dirty_bytes = how->dirty_bytes,
        .durability = how->durability,
        .sessions_max = how->sessions_max != 0 ? how->sessions_max : 1,
        .checkpoint_auto = how->checkpoint_auto,
        .memory_tight = how->cache_bytes != 0,
        .ascending = how->ascending,
    };

    return ctx->ops->open(dir, &options, db_out);
}

int
pb_wrong(struct pb_ctx *ctx, const char *format, ...)
{
    char text[200];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return peer_fail(ctx->ops->name, "verification", text);
}

/* ---- batches --------------------------------------------------------------------------------- */

int
pb_batch_init(struct pb_batch *batch, uint32_t count)
{
    batch->count = count;
    batch->records = calloc(count, sizeof batch->records[0]);
    batch->bytes = calloc(count, PB_RECORD_BYTES);
    if (batch->records != NULL && batch->bytes != NULL)
        return PEER_OK;
    pb_batch_release(batch);
    return peer_fail("peerbench", "calloc", "out of memory");
}

void
pb_batch_release(struct pb_batch *batch)
{
    free(batch->records);
    free(batch->bytes);
    batch->records = NULL;
    batch->bytes = NULL;
}

void
pb_batch_set(struct pb_batch *batch, uint32_t j, uint64_t i, uint64_t version, enum pb_order order,
             uint64_t seed)
{
    uint8_t *bytes = batch->bytes + (size_t)j * PB_RECORD_BYTES;

    pb_key_make(bytes, i, order, seed);
    pb_value_make(bytes + PB_KEY_BYTES, i, version);
    batch->records[j].key = (struct peer_slice){bytes, PB_KEY_BYTES};
    batch->records[j].value = (struct peer_slice){bytes + PB_KEY_BYTES, PB_VALUE_BYTES};
}

/* ---- writing --------------------------------------------------------------------------------- */

static int
txn_try(struct pb_ctx *ctx, struct peer_session *session, struct peer_record *records,
        uint32_t count)
{
    int rc = ctx->ops->txn_begin(session, true);

    if (rc != PEER_OK)
        return rc;
    rc = count == 1 ? ctx->ops->put(session, records) : ctx->ops->put_many(session, records, count);
    if (rc == PEER_OK)
        return ctx->ops->txn_commit(session);
    if (rc != PEER_RETRY)
        ctx->ops->txn_abort(session);
    return rc;
}

int
pb_store_put_txn(struct pb_ctx *ctx, struct peer_session *session, struct peer_record *records,
                 uint32_t count)
{
    int rc = PEER_RETRY;

    for (unsigned i = 0; i < RETRIES_MAX && rc == PEER_RETRY; i++)
        rc = txn_try(ctx, session, records, count);
    if (rc == PEER_OK)
        atomic_fetch_add_explicit(&ctx->put_bytes, (uint64_t)count * PB_RECORD_BYTES,
                                  memory_order_relaxed);
    else if (rc == PEER_RETRY)
        rc = peer_fail(ctx->ops->name, "transaction", "conflicts without end");
    return rc;
}

static void
batch_fill(const struct pb_ctx *ctx, struct pb_batch *batch, const struct pb_load *load,
           uint32_t count, struct pb_rng *rng)
{
    for (uint32_t j = 0; j < count; j++) {
        if (load->updates)
            pb_batch_set(batch, j, pb_rng_below(rng, load->first), load->version + load->done + j,
                         load->order, ctx->options->seed);
        else
            pb_batch_set(batch, j, load->first + load->done + j, load->version, load->order,
                         ctx->options->seed);
    }
}

int
pb_store_load(struct pb_ctx *ctx, struct peer_session *session, struct pb_load *load)
{
    struct pb_batch batch;
    struct pb_rng rng = {ctx->options->seed + load->version};
    int rc = pb_batch_init(&batch, load->per_txn);

    load->done = 0;
    while (rc == PEER_OK && load->done < load->count) {
        uint64_t left = load->count - load->done;
        uint32_t count = left < load->per_txn ? (uint32_t)left : load->per_txn;
        uint64_t start;

        batch_fill(ctx, &batch, load, count, &rng);
        start = pb_now_ns();
        rc = pb_store_put_txn(ctx, session, batch.records, count);
        if (load->hist != NULL)
            pb_hist_add(load->hist, pb_now_ns() - start);
        if (rc != PEER_OK)
            break;
        load->done += count;
        if (load->progress != NULL)
            atomic_store(load->progress, load->first + load->done);
        if (start > ctx->deadline_ns) {
            if (load->done < load->count && ctx->result->status == PB_NONE) {
                ctx->result->status = PB_CUT;
                pb_note(ctx, "cut by time after %llu of %llu records",
                        (unsigned long long)load->done, (unsigned long long)load->count);
            }
            break;
        }
    }
    pb_batch_release(&batch);
    return rc;
}

/* ---- verifying ------------------------------------------------------------------------------- */

bool
pb_visit(void *ctx, struct peer_slice key, struct peer_slice value)
{
    struct pb_visitor *visitor = ctx;
    uint8_t expected[PB_KEY_BYTES];
    uint64_t i, version;
    bool good = key.size == PB_KEY_BYTES && pb_value_check(value, &i, &version);

    if (good) {
        pb_key_make(expected, i, visitor->order, visitor->seed);
        good = memcmp(expected, key.data, PB_KEY_BYTES) == 0;
        if (visitor->ordered && visitor->count > 0)
            good = good && memcmp(visitor->last, key.data, PB_KEY_BYTES) < 0;
        memcpy(visitor->last, key.data, PB_KEY_BYTES);
        visitor->sum += i;
        if (visitor->seen != NULL && i < visitor->seen_max)
            visitor->seen[i / 64] |= (uint64_t)1 << (i % 64);
    }
    visitor->bad += !good;
    visitor->count++;
    return true;
}

int
pb_scan_all(struct pb_ctx *ctx, struct peer_session *session, struct pb_visitor *visitor)
{
    int rc = ctx->ops->txn_begin(session, false);

    visitor->seed = ctx->options->seed;
    visitor->ordered = true;
    if (rc != PEER_OK)
        return rc;
    rc = ctx->ops->scan(session, (struct peer_slice){NULL, 0}, UINT64_MAX, pb_visit, visitor);
    if (rc != PEER_OK) {
        ctx->ops->txn_abort(session);
        return rc;
    }
    rc = ctx->ops->txn_commit(session);
    if (rc == PEER_OK && visitor->bad > 0)
        return pb_wrong(ctx, "a scan gave %llu wrong records of %llu",
                        (unsigned long long)visitor->bad, (unsigned long long)visitor->count);
    return rc;
}

int
pb_get_checked(struct pb_ctx *ctx, struct peer_session *session, uint64_t i, enum pb_order order)
{
    uint8_t key[PB_KEY_BYTES];
    struct peer_slice value;
    uint64_t found, version;
    int rc;

    pb_key_make(key, i, order, ctx->options->seed);
    rc = ctx->ops->get(session, (struct peer_slice){key, sizeof key}, &value);
    if (rc == PEER_NOTFOUND)
        return pb_wrong(ctx, "record %llu is missing", (unsigned long long)i);
    if (rc != PEER_OK)
        return rc;
    if (!pb_value_check(value, &found, &version) || found != i)
        return pb_wrong(ctx, "record %llu has a wrong value", (unsigned long long)i);
    return PEER_OK;
}

/* ---- threads --------------------------------------------------------------------------------- */

static void *
worker_main(void *arg)
{
    struct pb_worker *worker = arg;

    worker->rc = worker->run(worker);
    if (worker->rc != PEER_OK)
        atomic_store(worker->stop, true);
    return NULL;
}

static int
workers_join(struct pb_worker *workers, pthread_t *threads, unsigned count)
{
    int rc = PEER_OK;

    for (unsigned i = 0; i < count; i++) {
        pthread_join(threads[i], NULL);
        if (rc == PEER_OK)
            rc = workers[i].rc;
    }
    return rc;
}

int
pb_workers_run(struct pb_ctx *ctx, struct peer_db *db, struct pb_worker *workers, unsigned count,
               double seconds)
{
    pthread_t threads[16];
    atomic_bool stop = false;
    unsigned opened = 0, started = 0;
    int rc = PEER_OK;

    for (; opened < count && rc == PEER_OK; opened++) {
        struct pb_worker *w = &workers[opened];

        w->ctx = ctx;
        w->db = db;
        w->index = opened;
        w->stop = &stop;
        w->rng.state = ctx->options->seed * 1000 + opened + 1;
        if (db != NULL)
            rc = ctx->ops->session_open(db, &w->session);
        if (rc != PEER_OK)
            break;
    }
    for (; rc == PEER_OK && started < count; started++) {
        workers[started].until_ns = pb_now_ns() + (uint64_t)(seconds * 1e9);
        if (pthread_create(&threads[started], NULL, worker_main, &workers[started]) != 0) {
            rc = peer_fail("peerbench", "pthread_create", "failed");
            atomic_store(&stop, true);
            break;
        }
    }
    if (workers_join(workers, threads, started) != PEER_OK && rc == PEER_OK)
        rc = PEER_ERROR;
    for (unsigned i = 0; i < opened && db != NULL; i++)
        ctx->ops->session_close(workers[i].session);
    return rc;
}
