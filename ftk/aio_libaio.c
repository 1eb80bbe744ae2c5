/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ftk/aio_libaio.c -- asynchronous I/O by the kernel (io_submit), completed by one thread.
 *
 * 1. under_way counts what was let in and whose callback has not returned; it never passes depth,
 *    which io_setup was asked for (plus one for the wake-up of close): io_submit has room for all.
 * 2. Callbacks run on the completion thread, or on the submitting thread for what the kernel
 *    refuses; never with the mutex held.
 * 3. A short transfer is finished by plain system calls on the completion thread: it is rare.
 * 4. `published` orders a submitter's writes to an I/O before the completion thread's reads: the
 *    kernel does so too, but the language does not know.
 */
#include <errno.h>
#include <libaio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ftk/clock.h"
#include "ftk/disk_internal.h"
#include "ftk/mem.h"
#include "ftk/thread.h"

#define EVENTS_MAX 64
#define SUBMIT_MAX 64
#define AGAIN_SLEEP_NS 100000u

_Static_assert(sizeof(struct iocb) <= FTK__IO_LINK * sizeof(uint64_t),
               "an iocb fits ftk_io.backend");
_Static_assert(_Alignof(struct iocb) <= _Alignof(uint64_t), "and may lie there");

struct libaio {
    struct native_aio native;
    io_context_t kernel;
    unsigned depth;
    int wake_fd; /* an empty file in memory: a read of it completes at once; -1 if none */
    struct ftk_thread thread;
    _Atomic uint64_t published;
    _Atomic bool closing;

    struct ftk_mutex mutex;
    struct ftk_cond room; /* under_way fell */
    unsigned under_way;   /* guarded by mutex, as what follows */
    unsigned room_waiters;
};

static struct iocb *
iocb_of(struct ftk_io *io)
{
    return (struct iocb *)(void *)io->backend;
}

static void
libaio_left(struct libaio *aio, unsigned count)
{
    ftk_mutex_lock(&aio->mutex);
    FTK_ASSERT(aio->under_way >= count);
    aio->under_way -= count;
    if (aio->room_waiters > 0)
        ftk_cond_broadcast(&aio->room);
    ftk_mutex_unlock(&aio->mutex);
}

static void
libaio_event(struct ftk_io *io, long result)
{
    ftk_status status = FTK_OK;

    if (FTK_UNLIKELY(result < 0 && result != -EINTR && result != -EAGAIN))
        status = ftk__transfer_failed(io->file, io->op, io->size, io->offset, (int)-result);
    else if (FTK_UNLIKELY((size_t)result != io->size))
        status = ftk__transfer_finish(io->file, io->op, io->memory, io->size, io->offset,
                                      result < 0 ? 0 : (size_t)result);
    ftk__io_complete(io, status);
}

static void
libaio_run(void *context)
{
    struct libaio *aio = context;
    struct io_event events[EVENTS_MAX];
    bool stop = false;

    while (!stop) {
        struct timespec second = {.tv_sec = 1};
        int got =
            io_getevents(aio->kernel, 1, EVENTS_MAX, events, aio->wake_fd < 0 ? &second : NULL);
        FTK_ASSERT(got >= 0 || got == -EINTR);
        (void)atomic_load_explicit(&aio->published, memory_order_acquire);
        stop = got == 0 && atomic_load(&aio->closing);
        unsigned count = 0;
        for (int i = 0; i < got; i++) {
            if (events[i].data == NULL) {
                stop = true; /* from libaio_close: nothing else is under way */
                continue;
            }
            libaio_event(events[i].data, (long)events[i].res);
            count++;
        }
        if (count > 0)
            libaio_left(aio, count);
    }
}

/* Hand iocbs to the kernel; what it refuses is completed here, with the error. */
static void
libaio_push(struct libaio *aio, struct iocb **iocbs, unsigned count)
{
    unsigned at = 0;

    atomic_fetch_add_explicit(&aio->published, 1, memory_order_release);
    while (at < count) {
        int n = io_submit(aio->kernel, (long)(count - at), iocbs + at);
        if (n > 0) {
            at += (unsigned)n;
        } else if (n == -EAGAIN || n == 0) {
            ftk_clock_sleep_ns(AGAIN_SLEEP_NS); /* the kernel is short of something; it passes */
        } else if (n != -EINTR) {
            struct ftk_io *io = iocbs[at++]->data;
            ftk__io_complete(io, ftk__transfer_failed(io->file, io->op, io->size, io->offset, -n));
            libaio_left(aio, 1);
        }
    }
}

/* Room for up to `wanted` I/Os; sleeps until there is some. */
static unsigned
libaio_enter(struct libaio *aio, size_t wanted)
{
    ftk_mutex_lock(&aio->mutex);
    while (aio->under_way == aio->depth) {
        aio->room_waiters++;
        ftk_cond_wait(&aio->room, &aio->mutex);
        aio->room_waiters--;
    }
    unsigned room = aio->depth - aio->under_way;
    if (room > SUBMIT_MAX)
        room = SUBMIT_MAX;
    if (room > wanted)
        room = (unsigned)wanted;
    aio->under_way += room;
    ftk_mutex_unlock(&aio->mutex);
    return room;
}

static void
libaio_submit(struct ftk_aio *base, struct ftk_io **ios, size_t count)
{
    struct libaio *aio = (struct libaio *)base;
    struct iocb *iocbs[SUBMIT_MAX];

    while (count > 0) {
        unsigned entered = libaio_enter(aio, count);
        unsigned good = 0;
        for (unsigned i = 0; i < entered; i++) {
            struct ftk_io *io = ios[i];
            ftk_status rc = ftk__transfer_check(io->file, io->op, io->memory, io->size, io->offset);
            if (rc != FTK_OK) {
                ftk__io_complete(io, rc);
                continue;
            }
            int fd = ftk__native_file(io->file)->fd;
            if (io->op == FTK_IO_READ)
                io_prep_pread(iocb_of(io), fd, io->memory, io->size, (long long)io->offset);
            else
                io_prep_pwrite(iocb_of(io), fd, io->memory, io->size, (long long)io->offset);
            iocb_of(io)->data = io;
            iocbs[good++] = iocb_of(io);
        }
        if (good < entered)
            libaio_left(aio, entered - good);
        libaio_push(aio, iocbs, good);
        ios += entered;
        count -= entered;
    }
}

static void
libaio_free(struct libaio *aio)
{
    if (aio == NULL)
        return;
    if (aio->kernel != NULL)
        (void)io_destroy(aio->kernel);
    if (aio->wake_fd >= 0)
        close(aio->wake_fd);
    ftk_cond_release(&aio->room);
    ftk_mutex_release(&aio->mutex);
    ftk_free(aio);
}

static void
libaio_close(struct ftk_aio *base)
{
    struct libaio *aio = (struct libaio *)base;
    struct iocb wake;
    struct iocb *wakes[1] = {&wake};
    char nothing[1];

    ftk_mutex_lock(&aio->mutex);
    aio->room_waiters++;
    while (aio->under_way > 0)
        ftk_cond_wait(&aio->room, &aio->mutex);
    ftk_mutex_unlock(&aio->mutex);

    atomic_store(&aio->closing, true);
    if (aio->wake_fd >= 0) {
        io_prep_pread(&wake, aio->wake_fd, nothing, sizeof(nothing), 0);
        wake.data = NULL;
        while (io_submit(aio->kernel, 1, wakes) != 1)
            ftk_clock_sleep_ns(AGAIN_SLEEP_NS);
    }
    ftk_thread_join(&aio->thread);
    libaio_free(aio);
}

ftk_status
ftk__libaio_open(struct ftk_disk *disk, unsigned depth, struct ftk_aio **aio_out)
{
    static const struct native_aio_ops ops = {.close = libaio_close, .submit = libaio_submit};
    struct libaio *aio = NULL;

    *aio_out = NULL;
    ftk_status rc = FTK_NEW(&aio);
    if (rc != FTK_OK)
        return rc;
    ftk_mutex_init(&aio->mutex);
    ftk_cond_init(&aio->room);
    aio->native.base.disk = disk;
    aio->native.base.name = "libaio";
    aio->native.ops = &ops;
    aio->depth = depth;
    aio->wake_fd = -1; /* it may stay so, for want of a descriptor */
    if (!ftk_fault_due(FTK_FAULT_DESCRIPTOR))
        aio->wake_fd = ftk__fd_above(memfd_create("kiln-aio-wake", MFD_CLOEXEC));

    int failed = io_setup((int)depth + 1, &aio->kernel);
    if (failed != 0)
        FTK_TRY(FTK_FAIL_OS(failed == -ENOMEM ? FTK_NOMEM : FTK_UNSUPPORTED, -failed,
                            "io_setup for %u I/Os failed: %s", depth, ftk__errno_text(-failed)));
    FTK_TRY(ftk_thread_start(&aio->thread, "kiln-aio", libaio_run, aio));
    *aio_out = &aio->native.base;
    aio = NULL;
out:
    libaio_free(aio);
    return rc;
}
