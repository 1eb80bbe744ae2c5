/* SPDX-License-Identifier: Apache-2.0 */
/* peerbench_device.c -- the device's limits: write and sync in a plain loop, and fio. */
#include "peerbench.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOCK 4096
#define REGION_BLOCKS 2048 /* of each thread: 8 MiB */

struct raw_kind {
    const char *name;
    bool append;
    bool direct;
};

static const struct raw_kind raw_kinds[] = {
    {"overwrite_direct", false, true},
    {"overwrite_buffered", false, false},
    {"append_direct", true, true},
    {"append_buffered", true, false},
};

/* One file per thread; for overwriting, written once before and synced. */
static int
raw_file_open(const struct pb_worker *worker, const struct raw_kind *kind, unsigned char *block)
{
    char path[500], name[64];
    int fd;

    snprintf(name, sizeof name, "raw.%s.%u", kind->name, worker->index);
    peer_path(path, sizeof path, worker->ctx->dir, name);
    fd = open(path, O_RDWR | O_CREAT | O_TRUNC | (kind->direct ? O_DIRECT : 0), 0644);
    for (unsigned i = 0; fd >= 0 && !kind->append && i < REGION_BLOCKS; i++) {
        if (pwrite(fd, block, BLOCK, (off_t)i * BLOCK) != BLOCK) {
            close(fd);
            return -1;
        }
    }
    if (fd >= 0)
        (void)fsync(fd);
    return fd;
}

static double
raw_seconds(const struct pb_ctx *ctx)
{
    return ctx->options->seconds < 5 ? ctx->options->seconds : 5;
}

static int
raw_loop(struct pb_worker *worker)
{
    const struct raw_kind *kind = &raw_kinds[worker->arg];
    unsigned char *block = aligned_alloc(BLOCK, BLOCK);
    uint64_t until;
    int fd;

    if (block == NULL)
        return peer_fail("raw", "aligned_alloc", "out of memory");
    memset(block, 0xa5, BLOCK);
    fd = raw_file_open(worker, kind, block);
    until = pb_now_ns() + (uint64_t)(raw_seconds(worker->ctx) * 1e9); /* preparing not counted */
    while (fd >= 0 && pb_now_ns() < until) {
        off_t at = (off_t)(kind->append ? worker->ops : worker->ops % REGION_BLOCKS) * BLOCK;

        memcpy(block, &worker->ops, sizeof worker->ops);
        if (pwrite(fd, block, BLOCK, at) != BLOCK || fdatasync(fd) != 0)
            break;
        worker->ops++;
    }
    free(block);
    if (fd < 0 || pb_now_ns() < until) {
        int rc = peer_fail("raw", kind->name, strerror(errno));

        if (fd >= 0)
            close(fd);
        return rc;
    }
    close(fd);
    return PEER_OK;
}

static int
raw_sync(struct pb_ctx *ctx, unsigned threads)
{
    double best = 0;
    int rc = PEER_OK;

    for (size_t k = 0; k < sizeof raw_kinds / sizeof raw_kinds[0] && rc == PEER_OK; k++) {
        struct pb_worker workers[8] = {0};
        uint64_t ops = 0;
        double rate;

        for (unsigned i = 0; i < threads; i++) {
            workers[i].run = raw_loop;
            workers[i].arg = k;
        }
        rc = pb_workers_run(ctx, NULL, workers, threads, raw_seconds(ctx));
        for (unsigned i = 0; i < threads; i++)
            ops += workers[i].ops;
        rate = (double)ops / raw_seconds(ctx);
        pb_metric(ctx, raw_kinds[k].name, "/s", rate, PB_HIGHER, true);
        best = rate > best ? rate : best;
    }
    pb_metric(ctx, "best", "/s", best, PB_HIGHER, false);
    return rc;
}

int
pb_raw_sync_1t(struct pb_ctx *ctx)
{
    return raw_sync(ctx, 1);
}

int
pb_raw_sync_8t(struct pb_ctx *ctx)
{
    return raw_sync(ctx, 8);
}

static const struct {
    const char *name, *rw;
    unsigned block_kib, depth;
    bool bytes;
} fio_jobs[] = {
    {"seqwrite_1m_d32", "write", 1024, 32, true},    {"seqread_1m_d32", "read", 1024, 32, true},
    {"randwrite_4k_d32", "randwrite", 4, 32, false}, {"randread_4k_d32", "randread", 4, 32, false},
    {"randread_4k_d1", "randread", 4, 1, false},
};

int
pb_device(struct pb_ctx *ctx)
{
    for (size_t i = 0; i < sizeof fio_jobs / sizeof fio_jobs[0]; i++) {
        struct pb_rate rate;
        bool done = pb_fio(ctx->dir, fio_jobs[i].rw, fio_jobs[i].block_kib, fio_jobs[i].depth,
                           raw_seconds(ctx), &rate);

        if (!done) {
            ctx->result->status = PB_SKIPPED;
            pb_note(ctx, "fio is not installed, or failed");
            return PEER_OK;
        }
        if (fio_jobs[i].bytes)
            pb_metric(ctx, fio_jobs[i].name, "MB/s", rate.bytes / 1e6, PB_HIGHER, true);
        else
            pb_metric(ctx, fio_jobs[i].name, "/s", rate.ios, PB_HIGHER, true);
    }
    return PEER_OK;
}
