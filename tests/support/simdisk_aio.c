/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/support/simdisk_aio.c -- asynchronous I/O of the simulated disk.
 *
 * 1. A submitted I/O is under way until aio_poll, a full queue, aio_close or the device's thread
 *    completes it; which one comes next, the disk's generator says.
 * 2. The bytes of a write are taken at submit and compared at completion: memory that changes in
 *    between is a bug of its owner, and the program ends there.  With a device's thread it is none:
 *    each sector is what it was or what it is.
 * 3. Whether it fails is decided at submit, so that the nth operation is the nth submitted.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/simdisk_internal.h"

/* Completes one I/O after another until the queue is closed. */
static void
device_run(void *context)
{
    struct sim_aio *aio = context;
    struct simdisk *disk = aio->disk;

    ftk_mutex_lock(&disk->mutex);
    while (!aio->closing || aio->under_way > 0) {
        if (aio->under_way == 0) {
            ftk_cond_wait(&aio->submitted, &disk->mutex);
            continue;
        }
        ftk_mutex_unlock(&disk->mutex);
        (void)sim_aio_poll(&aio->base);
        ftk_mutex_lock(&disk->mutex);
    }
    ftk_mutex_unlock(&disk->mutex);
}

static ftk_status
device_start(struct sim_aio *aio)
{
    aio->base.polled = false;
    ftk_cond_init(&aio->submitted);
    return ftk_thread_start(&aio->device, "device", device_run, aio);
}

static void
device_stop(struct sim_aio *aio)
{
    ftk_mutex_lock(&aio->disk->mutex);
    aio->closing = true;
    ftk_cond_broadcast(&aio->submitted);
    ftk_mutex_unlock(&aio->disk->mutex);
    ftk_thread_join(&aio->device);
    ftk_cond_release(&aio->submitted);
}

ftk_status
sim_aio_open(struct ftk_disk *base, enum ftk_aio_kind kind, unsigned depth,
             struct ftk_aio **aio_out)
{
    struct simdisk *disk = (struct simdisk *)base;
    struct sim_aio *aio;

    (void)kind;
    *aio_out = NULL;
    if (depth == 0)
        return FTK_FAIL(FTK_INVALID, "a queue of no I/Os");
    aio = sim_calloc(1, sizeof *aio);
    aio->base.disk = base;
    aio->base.name = "simulated";
    aio->base.polled = true;
    aio->disk = disk;
    aio->depth = depth;
    if (disk->options.device) {
        ftk_status rc = device_start(aio);
        if (rc != FTK_OK) {
            free(aio);
            return rc;
        }
    }
    ftk_mutex_lock(&disk->mutex);
    disk->aios_open++;
    ftk_mutex_unlock(&disk->mutex);
    *aio_out = &aio->base;
    return FTK_OK;
}

static void
io_end(struct ftk_io *io, ftk_status status)
{
    io->status = status;
    io->os_errno = status == FTK_OK ? 0 : ftk_error_last()->os_errno;
    io->done(io);
}

/* One of the queue's flights, by chance, out of the array; false when there is none. */
static bool
flight_take(struct sim_aio *aio, struct sim_flight *flight_out)
{
    struct simdisk *disk = aio->disk;

    if (aio->under_way == 0)
        return false;
    uint64_t skip = ftk_random_below(&disk->random, aio->under_way);
    for (size_t i = 0; i < disk->flights_count; i++) {
        if (disk->flights[i].aio != aio || skip-- > 0)
            continue;
        *flight_out = disk->flights[i];
        memmove(&disk->flights[i], &disk->flights[i + 1],
                (disk->flights_count - i - 1) * sizeof *disk->flights);
        disk->flights_count--;
        aio->under_way--;
        return true;
    }
    abort();
}

/*
 * A device takes the memory of a write at any time while it is under way.  A detector of races does
 * not see what a device does, and must not see this: there it is the memory as of the submit.
 */
static void
sectors_move(struct simdisk *disk, struct sim_flight *flight)
{
#ifdef __SANITIZE_THREAD__
    (void)disk;
    (void)flight;
#else
    const uint8_t *memory = flight->io->memory;
    struct sim_change *before = flight->change, *moved;

    if (memcmp(before->bytes, memory, flight->io->size) == 0)
        return;
    moved = sim_change_new(SIM_WRITE, before->number, before->offset, before->size, before->bytes);
    for (size_t at = 0; at < flight->io->size; at += SIMDISK_SECTOR)
        if (ftk_random_below(&disk->random, 2) == 0)
            memcpy(moved->bytes + at, memory + at, SIMDISK_SECTOR);
    sim_change_release(before); /* clones may have it */
    flight->change = moved;
#endif
}

static ftk_status
flight_do(struct simdisk *disk, struct sim_flight *flight)
{
    struct ftk_io *io = flight->io;
    struct sim_file *file = (struct sim_file *)io->file;

    if (flight->generation != disk->generation)
        return FTK_FAIL_OS(FTK_IO, EIO, "%s: the disk has lost power", io->file->path);
    if (io->op == FTK_IO_READ)
        return sim_read(file, io->memory, io->size, io->offset, flight->os_errno);
    if (disk->options.device) {
        sectors_move(disk, flight);
    } else if (memcmp(io->memory, flight->change->bytes, io->size) != 0) {
        fprintf(stderr,
                "simdisk: bug: the memory of a write of %zu bytes at offset %llu of %s changed "
                "while it was under way\n",
                io->size, (unsigned long long)io->offset, io->file->path);
        abort();
    }
    return sim_write(file, flight->change->bytes, io->size, io->offset, flight->os_errno);
}

bool
sim_aio_poll(struct ftk_aio *base)
{
    struct sim_aio *aio = (struct sim_aio *)base;
    struct simdisk *disk = aio->disk;
    struct sim_flight flight;

    ftk_mutex_lock(&disk->mutex);
    if (!flight_take(aio, &flight)) {
        ftk_mutex_unlock(&disk->mutex);
        return false;
    }
    ftk_status status = flight_do(disk, &flight);
    sim_change_release(flight.change);
    if (flight.io->op == FTK_IO_WRITE)
        sim_step_end(disk);
    else
        ftk_mutex_unlock(&disk->mutex);
    io_end(flight.io, status);
    return true;
}

static void
submit_one(struct sim_aio *aio, struct ftk_io *io)
{
    struct simdisk *disk = aio->disk;
    struct sim_file *file = (struct sim_file *)io->file;

    ftk_mutex_lock(&disk->mutex);
    while (aio->under_way >= aio->depth) {
        ftk_mutex_unlock(&disk->mutex);
        sim_aio_poll(&aio->base);
        ftk_mutex_lock(&disk->mutex);
    }
    ftk_status rc = sim_transfer_check(file, io->op, io->memory, io->size, io->offset);
    if (rc != FTK_OK) {
        ftk_mutex_unlock(&disk->mutex);
        io_end(io, rc);
        return;
    }
    struct sim_flight flight = {
        .aio = aio, .io = io, .node = file->node, .generation = file->generation};
    flight.os_errno = sim_fault(disk, io->op == FTK_IO_READ ? SIMDISK_READ : SIMDISK_WRITE);
    if (io->op == FTK_IO_WRITE)
        flight.change = sim_change_new(SIM_WRITE, ++disk->number, io->offset, io->size, io->memory);
    disk->flights = sim_realloc(disk->flights, (disk->flights_count + 1) * sizeof *disk->flights);
    disk->flights[disk->flights_count++] = flight;
    aio->under_way++;
    if (disk->options.device)
        ftk_cond_signal(&aio->submitted);
    if (io->op == FTK_IO_WRITE)
        sim_step_end(disk);
    else
        ftk_mutex_unlock(&disk->mutex);
}

void
sim_aio_submit(struct ftk_aio *base, struct ftk_io **ios, size_t count)
{
    for (size_t i = 0; i < count; i++)
        submit_one((struct sim_aio *)base, ios[i]);
}

void
sim_aio_close(struct ftk_aio *base)
{
    struct sim_aio *aio = (struct sim_aio *)base;
    struct simdisk *disk = aio->disk;

    if (disk->options.device)
        device_stop(aio);
    while (sim_aio_poll(base))
        ;
    ftk_mutex_lock(&disk->mutex);
    disk->aios_open--;
    ftk_mutex_unlock(&disk->mutex);
    free(aio);
}
