/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/bench/waiters/waiters.c -- what the buffer-waiter queue is worth.
 *
 *     waiters [--ios N] [--threads N] [--buffers N] [--size BYTES] [--seed N] [--even NS] [--file
 * PATH]
 *
 * Writes the same I/Os twice through the buffer manager: a waiter gets the buffer of whichever I/O
 * ends first, or (as engines did before completion callbacks) has to wait for the oldest.  On a
 * simulated device with a heavy tail of latencies; with --file on a real file, which is written
 * once before so that both find the same blocks.  One line each.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ftk/clock.h"
#include "ftk/iobuf.h"
#include "ftk/mem.h"
#include "ftk/thread.h"
#include "tests/support/slowdisk.h"

struct bench {
    uint64_t ios;
    uint64_t threads;
    uint64_t buffers;
    uint64_t size;
    uint64_t seed;
    uint64_t even_ns; /* every I/O takes that long; 0: a heavy tail */
    const char *path;
};

struct writer {
    struct ftk_thread thread;
    struct ftk_iobufs *bufs;
    struct ftk_file *file;
    const struct bench *bench;
    void *memory;
    _Atomic uint64_t *next;
    ftk_status status;
};

static void
writer_run(void *context)
{
    struct writer *writer = context;
    const struct bench *bench = writer->bench;
    struct ftk_iogroup group;
    uint64_t n;

    ftk_iogroup_init(&group, writer->bufs);
    while ((n = atomic_fetch_add(writer->next, 1)) < bench->ios) {
        struct ftk_iobuf *buf;
        ftk_iobuf_acquire(writer->bufs, &buf);
        ftk_iobuf_submit(buf, writer->file, FTK_IO_WRITE, writer->memory, (size_t)bench->size,
                         n * bench->size, &group, NULL, NULL);
    }
    writer->status = ftk_iogroup_wait(&group);
}

static ftk_status
run_writers(const struct bench *bench, struct ftk_iobufs *bufs, struct ftk_file *file)
{
    struct writer *writers = NULL;
    _Atomic uint64_t next = 0;
    void *memory = NULL;
    ftk_status rc = FTK_OK;
    uint64_t started = 0;

    FTK_TRY(ftk_alloc_aligned(4096, (size_t)bench->size, &memory));
    memset(memory, 'k', (size_t)bench->size);
    FTK_TRY(FTK_NEW_ARRAY(&writers, bench->threads));
    for (; started < bench->threads && rc == FTK_OK; started++) {
        struct writer *writer = &writers[started];
        *writer = (struct writer){
            .bufs = bufs, .file = file, .bench = bench, .memory = memory, .next = &next};
        rc = ftk_thread_start(&writer->thread, "writer", writer_run, writer);
    }
    for (uint64_t i = 0; i < started; i++) {
        ftk_thread_join(&writers[i].thread);
        if (rc == FTK_OK)
            rc = writers[i].status;
    }
out:
    ftk_free(writers);
    ftk_free(memory);
    return rc;
}

static ftk_status
measure(const struct bench *bench, bool wait_oldest, double *mb_per_s_out)
{
    struct slowdisk_options slow = SLOWDISK_OPTIONS_INIT;
    struct ftk_iobufs_options options = FTK_IOBUFS_OPTIONS_INIT;
    struct ftk_iobufs_stats stats;
    struct slowdisk *disk = NULL;
    struct ftk_iobufs *bufs = NULL;
    struct ftk_file *file = NULL;
    ftk_status rc = FTK_OK;

    slow.seed = bench->seed;
    slow.discard = true;
    if (bench->even_ns != 0) {
        memset(slow.levels, 0, sizeof slow.levels);
        slow.levels[0].share = 1;
        slow.levels[0].ns = bench->even_ns;
    }
    if (bench->path == NULL)
        disk = slowdisk_new(&slow);
    options.disk = disk != NULL ? slowdisk_disk(disk) : ftk_disk_native();
    options.count = (uint32_t)bench->buffers;
    options.bytes_max = bench->buffers * bench->size;
    options.wait_oldest = wait_oldest;
    FTK_TRY(ftk_iobufs_open(&options, &bufs));
    if (bench->path != NULL) {
        FTK_TRY(ftk_file_open(options.disk, bench->path, FTK_OPEN_CREATE | FTK_OPEN_DIRECT, &file));
        FTK_TRY(ftk_file_allocate(file, 0, bench->ios * bench->size));
    }

    uint64_t begin_ns = ftk_clock_ns();
    FTK_TRY(run_writers(bench, bufs, file));
    double seconds = (double)(ftk_clock_ns() - begin_ns) / 1e9;
    ftk_iobufs_stats(bufs, &stats);
    *mb_per_s_out = (double)stats.write_bytes / 1e6 / seconds;
    printf("%-12s %8.1f MB/s  %7.3f s  waits %" PRIu64 " (longest %.1f ms)  out of order %" PRIu64
           " of %" PRIu64 "  at most %" PRIu32 " under way\n",
           wait_oldest ? "oldest" : "any", *mb_per_s_out, seconds, stats.waits,
           (double)stats.wait_ns_max / 1e6, stats.out_of_order, stats.writes, stats.pending_max);
out:
    ftk_file_close(file);
    ftk_iobufs_close(bufs);
    slowdisk_free(disk);
    return rc;
}

static bool
parse(int argc, char **argv, struct bench *bench)
{
    for (int i = 1; i + 1 < argc; i += 2) {
        uint64_t number = strtoull(argv[i + 1], NULL, 0);
        if (strcmp(argv[i], "--ios") == 0)
            bench->ios = number;
        else if (strcmp(argv[i], "--threads") == 0)
            bench->threads = number;
        else if (strcmp(argv[i], "--buffers") == 0)
            bench->buffers = number;
        else if (strcmp(argv[i], "--size") == 0)
            bench->size = number;
        else if (strcmp(argv[i], "--seed") == 0)
            bench->seed = number;
        else if (strcmp(argv[i], "--even") == 0)
            bench->even_ns = number;
        else if (strcmp(argv[i], "--file") == 0)
            bench->path = argv[i + 1];
        else
            return false;
    }
    return argc % 2 == 1 && bench->ios > 0 && bench->threads > 0 && bench->buffers > 0 &&
           bench->size > 0 && bench->size % 4096 == 0;
}

int
main(int argc, char **argv)
{
    struct bench bench = {.ios = 5000, .threads = 1, .buffers = 32, .size = 128 << 10, .seed = 1};
    double any, oldest;

    if (!parse(argc, argv, &bench)) {
        fprintf(stderr, "usage: waiters [--ios N] [--threads N] [--buffers N] [--size BYTES] "
                        "[--seed N] [--even NS] [--file PATH]\n");
        return 2;
    }
    if (bench.path != NULL) {
        printf("first, to fill the file:\n");
        (void)measure(&bench, false, &any); /* an error comes again below */
    }
    if (measure(&bench, false, &any) != FTK_OK || measure(&bench, true, &oldest) != FTK_OK) {
        fprintf(stderr, "waiters: %s\n", ftk_error_last()->text);
        return 1;
    }
    printf("%-12s %8.2f times as fast\n", "any/oldest", any / oldest);
    return 0;
}
