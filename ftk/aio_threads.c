/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ftk/aio_threads.c -- asynchronous I/O by a pool of threads with pread and pwrite.
 *
 * 1. I/Os are started in the order of their submission and end in any.
 * 2. under_way counts what was let in and whose callback has not returned; it never passes depth.
 * 3. Callbacks run on the pool's threads, never with the mutex held.
 */
#include <stdio.h>

#include "ftk/disk_internal.h"
#include "ftk/mem.h"
#include "ftk/thread.h"

#define THREADS_MAX 8

struct aio_threads {
    struct native_aio native;
    unsigned depth;
    unsigned threads_count;
    struct ftk_thread threads[THREADS_MAX];

    struct ftk_mutex mutex;
    struct ftk_cond work; /* the queue has grown, or closing */
    struct ftk_cond room; /* under_way fell */
    struct ftk_io *head;  /* guarded by mutex, as what follows */
    struct ftk_io *tail;
    unsigned under_way;
    unsigned room_waiters;
    bool closing;
};

static struct ftk_io *
link_get(struct ftk_io *io)
{
    return (struct ftk_io *)(uintptr_t)io->backend[FTK__IO_LINK];
}

static void
link_set(struct ftk_io *io, struct ftk_io *next)
{
    io->backend[FTK__IO_LINK] = (uintptr_t)next;
}

static struct ftk_io *
queue_take(struct aio_threads *aio)
{
    struct ftk_io *io = aio->head;
    aio->head = link_get(io);
    if (aio->head == NULL)
        aio->tail = NULL;
    return io;
}

static void
aio_threads_run(void *context)
{
    struct aio_threads *aio = context;

    ftk_mutex_lock(&aio->mutex);
    for (;;) {
        while (aio->head == NULL && !aio->closing)
            ftk_cond_wait(&aio->work, &aio->mutex);
        if (aio->head == NULL)
            break;
        struct ftk_io *io = queue_take(aio);
        ftk_mutex_unlock(&aio->mutex);

        ftk_status rc = ftk__transfer_check(io->file, io->op, io->memory, io->size, io->offset);
        if (rc == FTK_OK)
            rc = ftk__transfer_finish(io->file, io->op, io->memory, io->size, io->offset, 0);
        ftk__io_complete(io, rc);

        ftk_mutex_lock(&aio->mutex);
        aio->under_way--;
        if (aio->room_waiters > 0)
            ftk_cond_broadcast(&aio->room);
    }
    ftk_mutex_unlock(&aio->mutex);
}

static void
aio_threads_submit(struct ftk_aio *base, struct ftk_io **ios, size_t count)
{
    struct aio_threads *aio = (struct aio_threads *)base;

    ftk_mutex_lock(&aio->mutex);
    for (size_t i = 0; i < count; i++) {
        while (aio->under_way == aio->depth) {
            aio->room_waiters++;
            ftk_cond_wait(&aio->room, &aio->mutex);
            aio->room_waiters--;
        }
        link_set(ios[i], NULL);
        if (aio->tail != NULL)
            link_set(aio->tail, ios[i]);
        else
            aio->head = ios[i];
        aio->tail = ios[i];
        aio->under_way++;
        ftk_cond_signal(&aio->work);
    }
    ftk_mutex_unlock(&aio->mutex);
}

static void
aio_threads_close(struct ftk_aio *base)
{
    struct aio_threads *aio = (struct aio_threads *)base;

    ftk_mutex_lock(&aio->mutex);
    aio->closing = true; /* the threads end when the queue is empty */
    ftk_cond_broadcast(&aio->work);
    ftk_mutex_unlock(&aio->mutex);
    for (unsigned i = 0; i < aio->threads_count; i++)
        ftk_thread_join(&aio->threads[i]);
    FTK_ASSERT(aio->under_way == 0);
    ftk_cond_release(&aio->work);
    ftk_cond_release(&aio->room);
    ftk_mutex_release(&aio->mutex);
    ftk_free(aio);
}

ftk_status
ftk__aio_threads_open(struct ftk_disk *disk, unsigned depth, struct ftk_aio **aio_out)
{
    static const struct native_aio_ops ops = {.close = aio_threads_close,
                                              .submit = aio_threads_submit};
    struct aio_threads *aio = NULL;

    *aio_out = NULL;
    ftk_status rc = FTK_NEW(&aio);
    if (rc != FTK_OK)
        return rc;
    ftk_mutex_init(&aio->mutex);
    ftk_cond_init(&aio->work);
    ftk_cond_init(&aio->room);
    aio->native.base.disk = disk;
    aio->native.base.name = "threads";
    aio->native.ops = &ops;
    aio->depth = depth;

    unsigned wanted = depth < THREADS_MAX ? depth : THREADS_MAX;
    while (rc == FTK_OK && aio->threads_count < wanted) {
        char name[16];
        snprintf(name, sizeof(name), "kiln-aio-%u", aio->threads_count % 100);
        rc = ftk_thread_start(&aio->threads[aio->threads_count], name, aio_threads_run, aio);
        aio->threads_count += rc == FTK_OK;
    }
    if (rc != FTK_OK) {
        struct ftk_error first = *ftk_error_last();
        aio_threads_close(&aio->native.base);
        ftk_error_set(&first);
        return rc;
    }
    *aio_out = &aio->native.base;
    return FTK_OK;
}
