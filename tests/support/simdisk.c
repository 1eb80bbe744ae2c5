/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/support/simdisk.c -- the table of functions of the simulated disk.
 *
 * 1. A change is applied to the node's `now` and appended to its pending changes; sync makes `now`
 *    the durable image, or (options.device) what `now` was when the sync began.
 * 2. Every change ends in sim_step_end: one step, and the hook.
 * 3. A file whose generation is not the disk's is dead.
 */
#include "tests/support/simdisk.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ftk/clock.h"
#include "ftk/mem.h"
#include "tests/support/simdisk_internal.h"

enum { SYNC_NS = 20000 }; /* a sync takes up to so long, where it takes time at all */

static struct simdisk *
sim_of(struct ftk_disk *disk)
{
    return (struct simdisk *)disk;
}

static struct sim_file *
file_of(struct ftk_file *file)
{
    return (struct sim_file *)file;
}

/* ---- steps and faults ----------------------------------------------------------------------- */

void
sim_step_end(struct simdisk *disk)
{
    uint64_t step = ++disk->steps;
    void (*hook)(void *context, struct simdisk *disk, uint64_t step) = disk->hook;
    void *context = disk->hook_context;

    ftk_mutex_unlock(&disk->mutex);
    if (hook != NULL) {
        struct ftk_error error = *ftk_error_last(); /* of the step: not the hook's to overwrite */
        hook(context, disk, step);
        ftk_error_set(&error);
    }
}

static enum ftk_fault
fault_of_op(enum simdisk_op op)
{
    if (op == SIMDISK_READ || op == SIMDISK_OPEN)
        return FTK_FAULT_READ;
    return op == SIMDISK_SYNC || op == SIMDISK_SYNC_DIR ? FTK_FAULT_SYNC : FTK_FAULT_WRITE;
}

int
sim_fault(struct simdisk *disk, enum simdisk_op op)
{
    int err = ftk_fault_due(fault_of_op(op)) ? EIO : 0;

    if (op == SIMDISK_OPEN && ftk_fault_due(FTK_FAULT_DESCRIPTOR))
        err = EMFILE;
    disk->op_counts[__builtin_ctz(op)]++;
    for (unsigned i = 0; i < disk->faults_count; i++) {
        struct sim_fault *fault = &disk->faults[i];
        if ((fault->ops & op) == 0 || fault->times == 0)
            continue;
        if (fault->skip > 0) {
            fault->skip--;
            continue;
        }
        if (fault->times != UINT64_MAX)
            fault->times--;
        if (err == 0) {
            err = fault->os_errno;
            disk->faults_delivered++;
        }
    }
    return err;
}

ftk_status
sim_path_failed(const char *operation, const char *path, int err)
{
    return FTK_FAIL_OS(ftk_status_of_errno(err), err, "%s of %s failed: %s", operation, path,
                       strerror(err));
}

static ftk_status
alive(struct sim_file *file)
{
    if (file->generation != sim_of(file->base.disk)->generation)
        return FTK_FAIL_OS(FTK_IO, EIO, "%s: the disk has lost power since it was opened",
                           file->base.path);
    return FTK_OK;
}

/* Alive, writable, and no fault: may the change begin? */
static ftk_status
change_check(struct sim_file *file, const char *operation, enum simdisk_op op)
{
    ftk_status rc = alive(file);
    if (rc != FTK_OK)
        return rc;
    if (file->read_only)
        return FTK_FAIL(FTK_READONLY, "%s of %s: opened read-only", operation, file->base.path);
    int err = sim_fault(sim_of(file->base.disk), op);
    return err == 0 ? FTK_OK : sim_path_failed(operation, file->base.path, err);
}

/* ---- space ---------------------------------------------------------------------------------- */

uint64_t
sim_used_bytes(const struct simdisk *disk)
{
    uint64_t pages = 0;

    for (size_t i = 0; i < disk->nodes_count; i++) {
        const struct sim_node *node = disk->nodes[i];
        if (node != NULL && (node->links > 0 || node->opens > 0))
            pages += sim_image_pages(&node->now);
    }
    return pages * SIM_PAGE;
}

/* Bytes of [offset, offset+size) that fit, counted from its begin. */
static uint64_t
bytes_that_fit(const struct simdisk *disk, const struct sim_node *node, uint64_t offset,
               uint64_t size)
{
    if (disk->options.capacity == 0)
        return size;
    uint64_t used = sim_used_bytes(disk);
    uint64_t room = used < disk->options.capacity ? (disk->options.capacity - used) / SIM_PAGE : 0;
    uint64_t fit = 0;

    if (sim_image_missing(&node->now, offset, size) <= room)
        return size;
    while (fit < size) {
        uint64_t at = offset + fit;
        uint64_t n = SIM_PAGE - at % SIM_PAGE < size - fit ? SIM_PAGE - at % SIM_PAGE : size - fit;
        uint64_t missing = sim_image_missing(&node->now, at, n);
        if (missing > room)
            break;
        room -= missing;
        fit += n;
    }
    return fit;
}

/* ---- transfers ------------------------------------------------------------------------------ */

void
sim_pending_add(struct sim_node *node, struct sim_change *change)
{
    sim_change_apply(change, &node->now);
    if ((node->pending_count & (node->pending_count - 1)) == 0) {
        size_t room = node->pending_count == 0 ? 1 : node->pending_count * 2;
        node->pending = sim_realloc(node->pending, room * sizeof *node->pending);
    }
    node->pending[node->pending_count++] = change;
}

ftk_status
sim_transfer_check(struct sim_file *file, enum ftk_io_op op, const void *memory, uint64_t size,
                   uint64_t offset)
{
    const char *name = op == FTK_IO_READ ? "read" : "write";
    ftk_status rc = alive(file);

    if (rc != FTK_OK)
        return rc;
    if (op == FTK_IO_WRITE && file->read_only)
        return FTK_FAIL(FTK_READONLY, "write at offset %" PRIu64 " of %s: opened read-only", offset,
                        file->base.path);
    if (file->base.direct &&
        (offset % file->base.io_align != 0 || size % file->base.io_align != 0 ||
         (uintptr_t)memory % file->base.mem_align != 0))
        return FTK_FAIL(FTK_INVALID,
                        "%s of %" PRIu64 " bytes at offset %" PRIu64 " of %s: direct I/O wants "
                        "multiples of %" PRIu32 " (memory is %p)",
                        name, size, offset, file->base.path, file->base.io_align, memory);
    return FTK_OK;
}

static ftk_status
transfer_failed(struct sim_file *file, const char *name, uint64_t size, uint64_t offset, int err)
{
    return FTK_FAIL_OS(ftk_status_of_errno(err), err,
                       "%s of %" PRIu64 " bytes at offset %" PRIu64 " of %s failed: %s", name, size,
                       offset, file->base.path, strerror(err));
}

ftk_status
sim_read(struct sim_file *file, void *memory, uint64_t size, uint64_t offset, int err)
{
    const struct sim_node *node = sim_of(file->base.disk)->nodes[file->node];
    uint64_t there = node->now.size > offset ? node->now.size - offset : 0;

    if (err > 0)
        return transfer_failed(file, "read", size, offset, err);
    if (there > size)
        there = size;
    if (err == SIMDISK_SHORT_READ && there > 0)
        there = ftk_random_below(&sim_of(file->base.disk)->random, there);
    sim_image_read(&node->now, offset, memory, there);
    if (there < size)
        return FTK_FAIL(FTK_IO,
                        "short read: %" PRIu64 " of %" PRIu64 " bytes at offset %" PRIu64 " of %s",
                        there, size, offset, file->base.path);
    return FTK_OK;
}

ftk_status
sim_write(struct sim_file *file, const void *memory, uint64_t size, uint64_t offset, int err)
{
    struct simdisk *disk = sim_of(file->base.disk);
    struct sim_node *node = disk->nodes[file->node];
    uint64_t good = size;

    if (err == 0 && (size > SIM_SIZE_MAX || offset > SIM_SIZE_MAX - size))
        err = EFBIG;
    else if (err != 0) /* some of it may have been written (rule 4 of the header) */
        good = ftk_random_below(&disk->random, size / SIMDISK_SECTOR + 1) * SIMDISK_SECTOR;
    if (err == EFBIG)
        good = 0;
    uint64_t fit = bytes_that_fit(disk, node, offset, good);
    if (fit < good) {
        good = fit;
        err = err != 0 ? err : ENOSPC;
    }
    if (good > 0)
        sim_pending_add(node, sim_change_new(SIM_WRITE, ++disk->number, offset, good, memory));
    return err == 0 ? FTK_OK : transfer_failed(file, "write", size, offset, err);
}

static ftk_status
sim_file_read(struct ftk_file *base, void *memory, size_t size, uint64_t offset)
{
    struct sim_file *file = file_of(base);
    struct simdisk *disk = sim_of(base->disk);

    ftk_mutex_lock(&disk->mutex);
    ftk_status rc = sim_transfer_check(file, FTK_IO_READ, memory, size, offset);
    if (rc == FTK_OK)
        rc = sim_read(file, memory, size, offset, sim_fault(disk, SIMDISK_READ));
    ftk_mutex_unlock(&disk->mutex);
    return rc;
}

static ftk_status
sim_file_write(struct ftk_file *base, const void *memory, size_t size, uint64_t offset)
{
    struct sim_file *file = file_of(base);
    struct simdisk *disk = sim_of(base->disk);

    ftk_mutex_lock(&disk->mutex);
    ftk_status rc = sim_transfer_check(file, FTK_IO_WRITE, memory, size, offset);
    if (rc == FTK_OK)
        rc = sim_write(file, memory, size, offset, sim_fault(disk, SIMDISK_WRITE));
    sim_step_end(disk);
    return rc;
}

/* The first `count` of what is pending become durable; or, when the sync fails, survive by chance,
 * for good. */
static void
node_sync(struct simdisk *disk, struct sim_node *node, size_t count, bool good)
{
    bool all = good && !node->lost && count == node->pending_count;

    FTK_ASSERT(count <= node->pending_count);
    if (all) {
        sim_image_release(&node->durable);
        sim_image_copy(&node->durable, &node->now);
    }
    for (size_t i = 0; i < count; i++) {
        if (!good)
            sim_change_survive(node->pending[i], &node->durable, &disk->random, SIM_SOME_SECTORS,
                               0.5);
        else if (!all)
            sim_change_apply(node->pending[i], &node->durable);
        sim_change_release(node->pending[i]);
    }
    node->pending_count -= count;
    if (node->pending_count > 0)
        memmove(node->pending, node->pending + count, node->pending_count * sizeof *node->pending);
    node->synced_changes += count;
    node->lost |= !good;
}

/*
 * With the lock, which others may have for a while: what they write meanwhile this sync, which has
 * begun, need not save; and when they cut the power, it saves nothing and its file is dead.  How
 * many of what is pending it saves.
 */
static ftk_status
sync_takes_time(struct simdisk *disk, struct sim_file *file, size_t *count_out)
{
    const struct sim_node *node = disk->nodes[file->node];
    uint64_t last = node->synced_changes + node->pending_count;
    uint64_t ns = ftk_random_below(&disk->random, 2) * ftk_random_below(&disk->random, SYNC_NS);
    ftk_status rc;

    ftk_mutex_unlock(&disk->mutex);
    ftk_clock_sleep_ns(ns);
    ftk_mutex_lock(&disk->mutex);
    rc = alive(file);
    if (rc != FTK_OK)
        return rc;
    node = disk->nodes[file->node];
    uint64_t begun = node->synced_changes; /* another sync may have saved some */
    *count_out = begun < last ? (size_t)(last - begun) : 0;
    return FTK_OK;
}

static ftk_status
sim_file_sync(struct ftk_file *base)
{
    struct sim_file *file = file_of(base);
    struct simdisk *disk = sim_of(base->disk);

    ftk_mutex_lock(&disk->mutex);
    ftk_status rc = alive(file);
    size_t count = rc == FTK_OK ? disk->nodes[file->node]->pending_count : 0;
    if (rc == FTK_OK && disk->options.device)
        rc = sync_takes_time(disk, file, &count);
    if (rc == FTK_OK) {
        int err = sim_fault(disk, SIMDISK_SYNC);
        node_sync(disk, disk->nodes[file->node], count, err == 0);
        if (err != 0)
            rc = FTK_FAIL_OS(FTK_IO, err, "sync of %s failed: %s", base->path, strerror(err));
    }
    sim_step_end(disk);
    return rc;
}

/* ---- size ----------------------------------------------------------------------------------- */

static ftk_status
sim_file_size(struct ftk_file *base, uint64_t *size_out)
{
    struct simdisk *disk = sim_of(base->disk);

    *size_out = 0;
    ftk_mutex_lock(&disk->mutex);
    ftk_status rc = alive(file_of(base));
    if (rc == FTK_OK && ftk_fault_due(FTK_FAULT_READ))
        rc = sim_path_failed("size", base->path, EIO);
    if (rc == FTK_OK)
        *size_out = disk->nodes[file_of(base)->node]->now.size;
    ftk_mutex_unlock(&disk->mutex);
    return rc;
}

static ftk_status
sim_file_truncate(struct ftk_file *base, uint64_t size)
{
    struct simdisk *disk = sim_of(base->disk);

    ftk_mutex_lock(&disk->mutex);
    ftk_status rc = change_check(file_of(base), "truncate", SIMDISK_TRUNCATE);
    if (rc == FTK_OK && size > SIM_SIZE_MAX)
        rc = sim_path_failed("truncate", base->path, EFBIG);
    if (rc == FTK_OK)
        sim_pending_add(disk->nodes[file_of(base)->node],
                        sim_change_new(SIM_RESIZE, ++disk->number, 0, size, NULL));
    sim_step_end(disk);
    return rc;
}

static ftk_status
sim_file_allocate(struct ftk_file *base, uint64_t offset, uint64_t size)
{
    struct simdisk *disk = sim_of(base->disk);
    struct sim_node *node;

    ftk_mutex_lock(&disk->mutex);
    ftk_status rc = change_check(file_of(base), "allocate", SIMDISK_ALLOCATE);
    node = rc == FTK_OK ? disk->nodes[file_of(base)->node] : NULL;
    if (rc == FTK_OK && (size > SIM_SIZE_MAX || offset > SIM_SIZE_MAX - size))
        rc = sim_path_failed("allocate", base->path, EFBIG);
    if (rc == FTK_OK && bytes_that_fit(disk, node, offset, size) < size)
        rc = sim_path_failed("allocate", base->path, ENOSPC);
    if (rc == FTK_OK)
        sim_pending_add(node, sim_change_new(SIM_RESERVE, ++disk->number, offset, size, NULL));
    sim_step_end(disk);
    return rc;
}

static ftk_status
sim_file_lock(struct ftk_file *base, bool exclusive)
{
    struct sim_file *file = file_of(base);
    struct simdisk *disk = sim_of(base->disk);

    ftk_mutex_lock(&disk->mutex);
    ftk_status rc = alive(file);
    if (rc == FTK_OK) {
        struct sim_node *node = disk->nodes[file->node];
        bool others_exclusive = node->lock_exclusive && !file->lock_exclusive;
        bool others_shared = node->locks_shared > (file->lock_shared ? 1u : 0u);
        if (others_exclusive || (exclusive && others_shared)) {
            rc =
                FTK_FAIL(FTK_INUSE, "lock of %s refused: already open in this process", base->path);
        } else {
            node->locks_shared += (exclusive ? 0u : 1u) - (file->lock_shared ? 1u : 0u);
            node->lock_exclusive = exclusive;
            file->lock_shared = !exclusive;
            file->lock_exclusive = exclusive;
        }
    }
    ftk_mutex_unlock(&disk->mutex);
    return rc;
}

/* ---- open and close ------------------------------------------------------------------------- */

/* The node of an existing or new file; *created_out: a step has happened. */
static ftk_status
open_node(struct simdisk *disk, uint32_t base, const char *path, unsigned flags, uint32_t *node_out,
          bool *created_out)
{
    uint32_t dir;
    char name[256];
    int err = sim_fault(disk, SIMDISK_OPEN);

    *created_out = false;
    if (err != 0)
        return sim_path_failed("open", path, err);
    if (!sim_resolve(disk, base, path, &dir, name, node_out))
        return sim_path_failed("open", path, ENOENT);
    if (*node_out != SIM_NO_NODE) {
        if (disk->nodes[*node_out]->is_dir)
            return FTK_FAIL(FTK_INVALID, "open of %s failed: not a regular file", path);
        if ((flags & FTK_OPEN_CREATE) && (flags & FTK_OPEN_EXCLUSIVE))
            return sim_path_failed("open", path, EEXIST);
        return FTK_OK;
    }
    if ((flags & FTK_OPEN_CREATE) == 0 || sim_dir_removed(disk, dir))
        return sim_path_failed("open", path, ENOENT);
    err = sim_fault(disk, SIMDISK_NAMES);
    if (err != 0)
        return sim_path_failed("open", path, err);
    sim_node_new(disk, false, node_out);
    struct sim_name_edit edit = {.dir = dir, .name = name, .node = *node_out};
    sim_name_change(disk, dir, &edit, 1);
    *created_out = true;
    return FTK_OK;
}

static ftk_status
sim_open(struct ftk_disk *base, const struct ftk_dir *dir, const char *path, unsigned flags,
         struct ftk_file **file_out)
{
    struct simdisk *disk = sim_of(base);
    uint32_t start, id;
    bool created = false;

    *file_out = NULL;
    ftk_mutex_lock(&disk->mutex);
    ftk_status rc = sim_dir_base(disk, dir, &start);
    if (rc == FTK_OK)
        rc = open_node(disk, start, path, flags, &id, &created);
    if (rc == FTK_OK) {
        struct sim_file *file = sim_calloc(1, sizeof *file);
        file->base.disk = base;
        file->base.direct = (flags & FTK_OPEN_DIRECT) != 0 && !disk->options.no_direct;
        file->base.io_align = file->base.direct ? disk->options.align : 1;
        file->base.mem_align = file->base.io_align;
        file->base.path = sim_path_shown(dir, path);
        file->base.identity = (struct ftk_identity){1, disk->nodes[id]->serial, 1};
        file->node = id;
        file->generation = disk->generation;
        file->read_only = (flags & FTK_OPEN_READ_ONLY) != 0;
        disk->nodes[id]->opens++;
        disk->files_open++;
        *file_out = &file->base;
    }
    if (rc == FTK_OK && created)
        sim_step_end(disk);
    else
        ftk_mutex_unlock(&disk->mutex);
    return rc;
}

static void
sim_close(struct ftk_file *base)
{
    struct sim_file *file = file_of(base);
    struct simdisk *disk = sim_of(base->disk);

    ftk_mutex_lock(&disk->mutex);
    if (file->generation == disk->generation) {
        struct sim_node *node = disk->nodes[file->node];
        node->opens--;
        node->locks_shared -= file->lock_shared ? 1 : 0;
        if (file->lock_exclusive)
            node->lock_exclusive = false;
        sim_nodes_collect(disk);
    }
    disk->files_open--;
    ftk_mutex_unlock(&disk->mutex);
    free(base->path);
    free(file);
}

/* ---- new and free --------------------------------------------------------------------------- */

struct simdisk *
sim_alloc(const struct simdisk_options *options)
{
    static const struct ftk_disk_ops ops = {
        .open = sim_open,
        .close = sim_close,
        .read = sim_file_read,
        .write = sim_file_write,
        .sync = sim_file_sync,
        .size = sim_file_size,
        .truncate = sim_file_truncate,
        .allocate = sim_file_allocate,
        .lock = sim_file_lock,
        .dir_open = sim_dir_open,
        .dir_close = sim_dir_close,
        .dir_sync = sim_dir_sync,
        .dir_list = sim_dir_list,
        .dir_space = sim_dir_space,
        .dir_locate = sim_dir_locate,
        .rename = sim_rename,
        .remove = sim_remove,
        .mkdir = sim_mkdir,
        .identify = sim_identify,
        .aio_open = sim_aio_open,
        .aio_close = sim_aio_close,
        .aio_submit = sim_aio_submit,
        .aio_poll = sim_aio_poll,
    };
    struct simdisk *disk = sim_calloc(1, sizeof *disk);

    disk->base.ops = &ops;
    if (options != NULL)
        disk->options = *options;
    if (disk->options.align == 0)
        disk->options.align = SIMDISK_SECTOR;
    ftk_random_seed(&disk->random, disk->options.seed);
    ftk_mutex_init(&disk->mutex);
    return disk;
}

struct simdisk *
simdisk_new(const struct simdisk_options *options)
{
    struct simdisk *disk = sim_alloc(options);
    uint32_t root;

    sim_node_new(disk, true, &root)->links = 1;
    disk->nodes[root]->links_durable = 1;
    return disk;
}

void
simdisk_free(struct simdisk *disk)
{
    if (disk == NULL)
        return;
    FTK_ASSERT(disk->files_open == 0);
    FTK_ASSERT(disk->aios_open == 0);
    for (size_t i = 0; i < disk->flights_count; i++)
        sim_change_release(disk->flights[i].change);
    for (size_t i = 0; i < disk->name_changes_count; i++)
        sim_name_change_drop(disk, &disk->name_changes[i]);
    for (uint32_t i = 0; i < disk->nodes_count; i++) {
        if (disk->nodes[i] != NULL)
            sim_node_free(disk, i);
    }
    free(disk->nodes);
    free(disk->name_changes);
    free(disk->flights);
    ftk_mutex_release(&disk->mutex);
    free(disk);
}

struct ftk_disk *
simdisk_disk(struct simdisk *disk)
{
    return &disk->base;
}

void
simdisk_hook(struct simdisk *disk, void (*hook)(void *context, struct simdisk *disk, uint64_t step),
             void *context)
{
    ftk_mutex_lock(&disk->mutex);
    disk->hook = hook;
    disk->hook_context = context;
    ftk_mutex_unlock(&disk->mutex);
}

uint64_t
simdisk_steps(struct simdisk *disk)
{
    ftk_mutex_lock(&disk->mutex);
    uint64_t steps = disk->steps;
    ftk_mutex_unlock(&disk->mutex);
    return steps;
}

void
simdisk_fail(struct simdisk *disk, unsigned ops, uint64_t nth, uint64_t times, int os_errno)
{
    ftk_mutex_lock(&disk->mutex);
    FTK_ASSERT(disk->faults_count < SIM_FAULTS_MAX && nth > 0);
    disk->faults[disk->faults_count++] =
        (struct sim_fault){.ops = ops, .skip = nth - 1, .times = times, .os_errno = os_errno};
    ftk_mutex_unlock(&disk->mutex);
}

void
simdisk_fail_clear(struct simdisk *disk)
{
    ftk_mutex_lock(&disk->mutex);
    disk->faults_count = 0;
    ftk_mutex_unlock(&disk->mutex);
}

uint64_t
simdisk_failed(struct simdisk *disk)
{
    ftk_mutex_lock(&disk->mutex);
    uint64_t delivered = disk->faults_delivered;
    ftk_mutex_unlock(&disk->mutex);
    return delivered;
}

uint64_t
simdisk_count(struct simdisk *disk, enum simdisk_op op)
{
    ftk_mutex_lock(&disk->mutex);
    uint64_t count = disk->op_counts[__builtin_ctz(op)];
    ftk_mutex_unlock(&disk->mutex);
    return count;
}

void
simdisk_capacity(struct simdisk *disk, uint64_t bytes)
{
    ftk_mutex_lock(&disk->mutex);
    disk->options.capacity = bytes;
    ftk_mutex_unlock(&disk->mutex);
}

uint64_t
simdisk_used(struct simdisk *disk)
{
    ftk_mutex_lock(&disk->mutex);
    uint64_t used = sim_used_bytes(disk);
    ftk_mutex_unlock(&disk->mutex);
    return used;
}
