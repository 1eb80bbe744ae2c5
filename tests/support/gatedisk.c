/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/gatedisk.c -- a table of functions around the simulated disk's. */
#include "tests/support/gatedisk.h"

#include <stdatomic.h>
#include <string.h>

#include "ftk/clock.h"
#include "ftk/thread.h"
#include "tests/support/simdisk.h"

#define WAIT_NS UINT64_C(20000000000) /* nothing that a test waits for takes so long */

static struct {
    _Atomic bool armed; /* the next one to come stays */
    _Atomic bool inside;
    _Atomic bool open;
} gates[GATES];

static const struct ftk_disk_ops *inner;
static struct ftk_disk_ops gated;
static size_t bytes_min;

static void
pass(enum gate gate)
{
    uint64_t deadline = ftk_clock_ns() + WAIT_NS;

    if (!atomic_exchange(&gates[gate].armed, false))
        return;
    atomic_store(&gates[gate].inside, true);
    while (!atomic_load(&gates[gate].open) && ftk_clock_ns() < deadline)
        ftk_thread_yield();
    atomic_store(&gates[gate].inside, false);
}

static ftk_status
gated_write(struct ftk_file *file, const void *memory, size_t size, uint64_t offset)
{
    if (size >= bytes_min)
        pass(GATE_WRITE);
    return inner->write(file, memory, size, offset);
}

static ftk_status
gated_sync(struct ftk_file *file)
{
    ftk_status rc = inner->sync(file);
    struct ftk_error error = *ftk_error_last();

    pass(GATE_SYNC);
    ftk_error_set(&error);
    return rc;
}

static void
gated_hint(struct ftk_file *file, enum ftk_hint hint, uint64_t offset, uint64_t size)
{
    (void)file;
    (void)offset;
    (void)size;
    if (hint == FTK_HINT_WRITEBACK)
        pass(GATE_HINT);
}

void
gate_install(struct simdisk *disk, size_t write_min)
{
    struct ftk_disk *base = simdisk_disk(disk);

    for (int i = 0; i < GATES; i++) {
        atomic_store(&gates[i].armed, false);
        atomic_store(&gates[i].inside, false);
        atomic_store(&gates[i].open, false);
    }
    inner = base->ops;
    gated = *inner;
    gated.write = gated_write;
    gated.sync = gated_sync;
    gated.hint = gated_hint;
    bytes_min = write_min;
    base->ops = &gated;
}

void
gate_hold(enum gate gate)
{
    atomic_store(&gates[gate].open, false);
    atomic_store(&gates[gate].armed, true);
}

void
gate_let(enum gate gate)
{
    atomic_store(&gates[gate].open, true);
}

bool
gate_is_inside(enum gate gate)
{
    return atomic_load(&gates[gate].inside);
}

bool
gate_wait(enum gate gate)
{
    uint64_t deadline = ftk_clock_ns() + WAIT_NS;

    while (!gate_is_inside(gate) && ftk_clock_ns() < deadline)
        ftk_thread_yield();
    return gate_is_inside(gate);
}
