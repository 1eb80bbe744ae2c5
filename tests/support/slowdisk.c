/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/support/slowdisk.c -- asynchronous I/O with latencies drawn from a distribution.
 *
 * 1. An I/O is due when its channel is free plus the latency drawn for it; the channel is the one
 *    that is free first, and is taken until then.
 * 2. `due` is a binary heap by time; one thread waits for its top, does the I/O and completes it.
 * 3. Latencies are drawn at submit: the nth I/O has the same latency in every run of a seed.
 */
#include "tests/support/slowdisk.h"

#include <stdlib.h>
#include <string.h>

#include "ftk/clock.h"
#include "ftk/random.h"
#include "ftk/thread.h"

struct slowdisk {
    struct ftk_disk base;
    struct ftk_disk_ops ops; /* the native disk's, with our own asynchronous I/O */
    struct slowdisk_options options;
};

struct due {
    uint64_t ns;
    struct ftk_io *io;
};

struct slow_aio {
    struct ftk_aio base;
    struct slowdisk *disk;
    unsigned depth;
    struct ftk_thread thread;

    struct ftk_mutex mutex; /* guards what follows */
    struct ftk_cond wake;   /* an earlier I/O is due, or closing */
    struct ftk_cond room;   /* under_way fell */
    struct ftk_random random;
    struct due *due;
    unsigned due_count;
    unsigned under_way;
    uint64_t *channel_free_ns;
    bool closing;
};

/* ---- the heap ------------------------------------------------------------------------------- */

static void
due_push(struct slow_aio *aio, struct due due)
{
    unsigned at = aio->due_count++;

    while (at > 0 && aio->due[(at - 1) / 2].ns > due.ns) {
        aio->due[at] = aio->due[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    aio->due[at] = due;
}

static struct ftk_io *
due_pop(struct slow_aio *aio)
{
    struct ftk_io *io = aio->due[0].io;
    struct due last = aio->due[--aio->due_count];
    unsigned at = 0;

    for (;;) {
        unsigned child = 2 * at + 1;
        if (child + 1 < aio->due_count && aio->due[child + 1].ns < aio->due[child].ns)
            child++;
        if (child >= aio->due_count || aio->due[child].ns >= last.ns)
            break;
        aio->due[at] = aio->due[child];
        at = child;
    }
    aio->due[at] = last;
    return io;
}

/* ---- the device ----------------------------------------------------------------------------- */

static uint64_t
latency_draw(struct slow_aio *aio)
{
    const struct slowdisk_options *options = &aio->disk->options;
    double r = ftk_random_double(&aio->random);
    unsigned level = 0;

    while (level + 1 < SLOWDISK_LEVELS && r >= options->levels[level].share) {
        r -= options->levels[level].share;
        level++;
    }
    while (level > 0 && options->levels[level].ns == 0)
        level--; /* rounding led past the last one */
    return options->levels[level].ns;
}

static uint64_t
device_due(struct slow_aio *aio)
{
    uint64_t now_ns = ftk_clock_ns();
    uint32_t best = 0;

    for (uint32_t i = 1; i < aio->disk->options.channels; i++) {
        if (aio->channel_free_ns[i] < aio->channel_free_ns[best])
            best = i;
    }
    uint64_t begin_ns = aio->channel_free_ns[best] > now_ns ? aio->channel_free_ns[best] : now_ns;
    aio->channel_free_ns[best] = begin_ns + latency_draw(aio);
    return aio->channel_free_ns[best];
}

static ftk_status
device_do(struct slow_aio *aio, struct ftk_io *io)
{
    if (aio->disk->options.discard) {
        if (io->op == FTK_IO_READ)
            memset(io->memory, 0, io->size);
        return FTK_OK;
    }
    return io->op == FTK_IO_READ ? ftk_file_read(io->file, io->memory, io->size, io->offset)
                                 : ftk_file_write(io->file, io->memory, io->size, io->offset);
}

static void
slow_run(void *context)
{
    struct slow_aio *aio = context;

    ftk_mutex_lock(&aio->mutex);
    while (!aio->closing || aio->due_count > 0) {
        if (aio->due_count == 0) {
            ftk_cond_wait(&aio->wake, &aio->mutex);
            continue;
        }
        if (aio->due[0].ns > ftk_clock_ns()) {
            (void)ftk_cond_wait_until(&aio->wake, &aio->mutex, aio->due[0].ns);
            continue;
        }
        struct ftk_io *io = due_pop(aio);
        ftk_mutex_unlock(&aio->mutex);
        io->status = device_do(aio, io);
        io->os_errno = io->status == FTK_OK ? 0 : ftk_error_last()->os_errno;
        io->done(io);
        ftk_mutex_lock(&aio->mutex);
        aio->under_way--;
        ftk_cond_signal(&aio->room);
    }
    ftk_mutex_unlock(&aio->mutex);
}

/* ---- the table of functions ------------------------------------------------------------------ */

static void
slow_free(struct slow_aio *aio)
{
    ftk_cond_release(&aio->wake);
    ftk_cond_release(&aio->room);
    ftk_mutex_release(&aio->mutex);
    free(aio->channel_free_ns);
    free(aio->due);
    free(aio);
}

static ftk_status
slow_aio_open(struct ftk_disk *base, enum ftk_aio_kind kind, unsigned depth,
              struct ftk_aio **aio_out)
{
    struct slowdisk *disk = (struct slowdisk *)base;
    struct slow_aio *aio = calloc(1, sizeof *aio);

    (void)kind;
    *aio_out = NULL;
    FTK_ASSERT(aio != NULL);
    aio->base.disk = base;
    aio->base.name = "slow";
    aio->disk = disk;
    aio->depth = depth;
    aio->due = calloc(depth, sizeof *aio->due);
    aio->channel_free_ns = calloc(disk->options.channels, sizeof *aio->channel_free_ns);
    FTK_ASSERT(aio->due != NULL && aio->channel_free_ns != NULL);
    ftk_random_seed(&aio->random, disk->options.seed);
    ftk_mutex_init(&aio->mutex);
    ftk_cond_init(&aio->wake);
    ftk_cond_init(&aio->room);
    ftk_status rc = ftk_thread_start(&aio->thread, "slowdisk", slow_run, aio);
    if (rc != FTK_OK) {
        slow_free(aio);
        return rc;
    }
    *aio_out = &aio->base;
    return FTK_OK;
}

static void
slow_aio_close(struct ftk_aio *base)
{
    struct slow_aio *aio = (struct slow_aio *)base;

    ftk_mutex_lock(&aio->mutex);
    aio->closing = true;
    ftk_cond_signal(&aio->wake);
    ftk_mutex_unlock(&aio->mutex);
    ftk_thread_join(&aio->thread);
    slow_free(aio);
}

static void
slow_aio_submit(struct ftk_aio *base, struct ftk_io **ios, size_t count)
{
    struct slow_aio *aio = (struct slow_aio *)base;

    ftk_mutex_lock(&aio->mutex);
    for (size_t i = 0; i < count; i++) {
        while (aio->under_way == aio->depth)
            ftk_cond_wait(&aio->room, &aio->mutex);
        aio->under_way++;
        due_push(aio, (struct due){.ns = device_due(aio), .io = ios[i]});
        if (aio->due[0].io == ios[i])
            ftk_cond_signal(&aio->wake);
    }
    ftk_mutex_unlock(&aio->mutex);
}

static bool
slow_aio_poll(struct ftk_aio *base)
{
    (void)base;
    return false;
}

struct slowdisk *
slowdisk_new(const struct slowdisk_options *options)
{
    struct slowdisk *disk = calloc(1, sizeof *disk);

    FTK_ASSERT(disk != NULL && options->channels > 0);
    disk->options = *options;
    disk->ops = *ftk_disk_native()->ops; /* which keeps no state in the disk */
    disk->ops.aio_open = slow_aio_open;
    disk->ops.aio_close = slow_aio_close;
    disk->ops.aio_submit = slow_aio_submit;
    disk->ops.aio_poll = slow_aio_poll;
    disk->base.ops = &disk->ops;
    return disk;
}

void
slowdisk_free(struct slowdisk *disk)
{
    free(disk);
}

struct ftk_disk *
slowdisk_disk(struct slowdisk *disk)
{
    return &disk->base;
}
