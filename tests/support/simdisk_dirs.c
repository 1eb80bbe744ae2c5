/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/support/simdisk_dirs.c -- the table of functions of the simulated disk: directories, names.
 *
 * An open directory is a node: relative paths begin there, wherever it is moved.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ftk/mem.h"
#include "tests/support/simdisk_internal.h"

#define SPACE_WITHOUT_LIMIT (1ull << 40)

static struct simdisk *
sim_of(struct ftk_disk *disk)
{
    return (struct simdisk *)disk;
}

static const struct sim_dir *
dir_of(const struct ftk_dir *dir)
{
    return (const struct sim_dir *)dir;
}

ftk_status
sim_dir_base(struct simdisk *disk, const struct ftk_dir *dir, uint32_t *node_out)
{
    *node_out = SIM_ROOT;
    if (dir == NULL)
        return FTK_OK;
    if (dir_of(dir)->generation != disk->generation)
        return FTK_FAIL_OS(FTK_IO, EIO, "%s: the disk has lost power since it was opened",
                           dir->path);
    *node_out = dir_of(dir)->node;
    return FTK_OK;
}

char *
sim_path_shown(const struct ftk_dir *dir, const char *path)
{
    const char *before = dir == NULL || *path == '/' ? "" : dir->path;
    size_t before_size = strlen(before);
    size_t size = before_size + strlen(path) + 2;
    char *shown = sim_calloc(1, size);
    bool between = before_size > 0 && before[before_size - 1] != '/';

    snprintf(shown, size, "%s%s%s", before, between ? "/" : "", path);
    return shown;
}

bool
sim_dir_removed(const struct simdisk *disk, uint32_t node)
{
    return node == SIM_NO_NODE || disk->nodes[node]->links == 0;
}

/* ---- names ---------------------------------------------------------------------------------- */

static bool
is_below(const struct simdisk *disk, uint32_t dir, uint32_t below)
{
    const struct sim_entries *names = &disk->nodes[dir]->names;

    if (dir == below)
        return true;
    for (size_t i = 0; i < names->count; i++) {
        if (disk->nodes[names->list[i].node]->is_dir && is_below(disk, names->list[i].node, below))
            return true;
    }
    return false;
}

static int
rename_errno(struct simdisk *disk, uint32_t base, const char *from, const char *to)
{
    uint32_t from_dir, from_node, to_dir, to_node;
    char from_name[256], to_name[256];

    if (!sim_resolve(disk, base, from, &from_dir, from_name, &from_node) ||
        from_node == SIM_NO_NODE || !sim_resolve(disk, base, to, &to_dir, to_name, &to_node) ||
        sim_dir_removed(disk, to_dir))
        return ENOENT;
    if (from_node == SIM_ROOT || to_node == SIM_ROOT)
        return EBUSY;
    const struct sim_node *moved = disk->nodes[from_node];
    const struct sim_node *replaced = to_node != SIM_NO_NODE ? disk->nodes[to_node] : NULL;
    if (to_node == from_node)
        return 0;
    if (replaced != NULL && moved->is_dir != replaced->is_dir)
        return moved->is_dir ? ENOTDIR : EISDIR;
    if (replaced != NULL && replaced->is_dir && replaced->names.count > 0)
        return ENOTEMPTY;
    if (moved->is_dir && is_below(disk, from_node, to_dir))
        return EINVAL;
    int err = sim_fault(disk, SIMDISK_NAMES);
    if (err != 0)
        return err;
    struct sim_name_edit edits[2] = {
        {.dir = from_dir, .name = from_name, .node = SIM_NO_NODE},
        {.dir = to_dir, .name = to_name, .node = from_node},
    };
    sim_name_change(disk, to_dir, edits, 2);
    return 0;
}

ftk_status
sim_rename(struct ftk_disk *base, const struct ftk_dir *dir, const char *from, const char *to)
{
    struct simdisk *disk = sim_of(base);
    uint32_t start;

    ftk_mutex_lock(&disk->mutex);
    ftk_status rc = sim_dir_base(disk, dir, &start);
    int err = rc == FTK_OK ? rename_errno(disk, start, from, to) : 0;
    if (err != 0)
        rc = FTK_FAIL_OS(ftk_status_of_errno(err), err, "rename of %s to %s failed: %s", from, to,
                         strerror(err));
    sim_step_end(disk);
    return rc;
}

static int
remove_errno(struct simdisk *disk, uint32_t base, const char *path)
{
    uint32_t dir, node;
    char name[256];

    if (!sim_resolve(disk, base, path, &dir, name, &node) || node == SIM_NO_NODE)
        return ENOENT;
    if (node == SIM_ROOT)
        return EBUSY;
    if (disk->nodes[node]->is_dir && disk->nodes[node]->names.count > 0)
        return ENOTEMPTY;
    int err = sim_fault(disk, SIMDISK_NAMES);
    if (err == 0) {
        struct sim_name_edit edit = {.dir = dir, .name = name, .node = SIM_NO_NODE};
        sim_name_change(disk, dir, &edit, 1);
    }
    return err;
}

ftk_status
sim_remove(struct ftk_disk *base, const struct ftk_dir *dir, const char *path)
{
    struct simdisk *disk = sim_of(base);
    uint32_t start;

    ftk_mutex_lock(&disk->mutex);
    ftk_status rc = sim_dir_base(disk, dir, &start);
    int err = rc == FTK_OK ? remove_errno(disk, start, path) : 0;
    if (err != 0)
        rc = sim_path_failed("remove", path, err);
    sim_step_end(disk);
    return rc;
}

static int
mkdir_errno(struct simdisk *disk, uint32_t base, const char *path)
{
    uint32_t dir, node;
    char name[256];

    if (!sim_resolve(disk, base, path, &dir, name, &node))
        return ENOENT;
    if (node != SIM_NO_NODE)
        return EEXIST;
    if (sim_dir_removed(disk, dir))
        return ENOENT;
    int err = sim_fault(disk, SIMDISK_NAMES);
    if (err == 0) {
        sim_node_new(disk, true, &node);
        struct sim_name_edit edit = {.dir = dir, .name = name, .node = node};
        sim_name_change(disk, dir, &edit, 1);
    }
    return err;
}

ftk_status
sim_mkdir(struct ftk_disk *base, const struct ftk_dir *dir, const char *path)
{
    struct simdisk *disk = sim_of(base);
    uint32_t start;

    ftk_mutex_lock(&disk->mutex);
    ftk_status rc = sim_dir_base(disk, dir, &start);
    int err = rc == FTK_OK ? mkdir_errno(disk, start, path) : 0;
    if (err != 0)
        rc = sim_path_failed("mkdir", path, err);
    sim_step_end(disk);
    return rc;
}

/* ---- directories ----------------------------------------------------------------------------- */

ftk_status
sim_dir_open(struct ftk_disk *base, const struct ftk_dir *in, const char *path,
             struct ftk_dir **dir_out)
{
    struct simdisk *disk = sim_of(base);
    uint32_t start, holder, node = SIM_NO_NODE;
    char name[256];

    *dir_out = NULL;
    ftk_mutex_lock(&disk->mutex);
    ftk_status rc = sim_dir_base(disk, in, &start);
    int err = rc == FTK_OK ? sim_fault(disk, SIMDISK_OPEN) : 0;
    if (rc == FTK_OK && err == 0) {
        if (!sim_resolve(disk, start, path, &holder, name, &node) || node == SIM_NO_NODE)
            err = ENOENT;
        else if (!disk->nodes[node]->is_dir)
            err = ENOTDIR;
    }
    if (err != 0)
        rc = sim_path_failed("open", path, err);
    if (rc == FTK_OK) {
        struct sim_dir *dir = sim_calloc(1, sizeof *dir);
        dir->base.disk = base;
        dir->base.path = sim_path_shown(in, path);
        dir->node = node;
        dir->generation = disk->generation;
        disk->nodes[node]->opens++;
        disk->files_open++;
        *dir_out = &dir->base;
    }
    ftk_mutex_unlock(&disk->mutex);
    return rc;
}

void
sim_dir_close(struct ftk_dir *dir)
{
    struct simdisk *disk = sim_of(dir->disk);

    ftk_mutex_lock(&disk->mutex);
    if (dir_of(dir)->generation == disk->generation) {
        disk->nodes[dir_of(dir)->node]->opens--;
        sim_nodes_collect(disk);
    }
    disk->files_open--;
    ftk_mutex_unlock(&disk->mutex);
    free(dir->path);
    free(dir);
}

ftk_status
sim_dir_sync(struct ftk_dir *dir)
{
    struct simdisk *disk = sim_of(dir->disk);
    uint32_t node;

    ftk_mutex_lock(&disk->mutex);
    ftk_status rc = sim_dir_base(disk, dir, &node);
    int fault = rc == FTK_OK ? sim_fault(disk, SIMDISK_SYNC_DIR) : 0;
    if (fault != 0) /* the names stay pending: a later sync may still save them */
        rc = FTK_FAIL_OS(FTK_IO, fault, "sync of directory %s failed: %s", dir->path,
                         strerror(fault));
    if (rc == FTK_OK) {
        size_t kept = 0;
        for (size_t i = 0; i < disk->name_changes_count; i++) {
            struct sim_name_change *change = &disk->name_changes[i];
            if (change->dir == node) {
                sim_name_change_apply(disk, change);
                sim_name_change_drop(disk, change);
            } else {
                disk->name_changes[kept++] = *change;
            }
        }
        disk->name_changes_count = kept;
        sim_nodes_collect(disk);
    }
    sim_step_end(disk);
    return rc;
}

ftk_status
sim_dir_list(struct ftk_dir *dir, ftk_status (*each)(void *context, const char *name),
             void *context)
{
    struct simdisk *disk = sim_of(dir->disk);
    struct sim_entries names = {NULL, 0};
    uint32_t node;

    ftk_mutex_lock(&disk->mutex);
    ftk_status rc = sim_dir_base(disk, dir, &node);
    if (rc == FTK_OK && ftk_fault_due(FTK_FAULT_READ))
        rc = sim_path_failed("list", dir->path, EIO);
    if (rc == FTK_OK)
        sim_entries_copy(&names, &disk->nodes[node]->names);
    ftk_mutex_unlock(&disk->mutex);
    for (size_t i = 0; i < names.count && rc == FTK_OK; i++)
        rc = each(context, names.list[i].name);
    sim_entries_release(&names);
    return rc;
}

ftk_status
sim_dir_space(struct ftk_dir *dir, uint64_t *free_out, uint64_t *total_out)
{
    struct simdisk *disk = sim_of(dir->disk);
    uint32_t node;

    *free_out = 0;
    *total_out = 0;
    ftk_mutex_lock(&disk->mutex);
    ftk_status rc = sim_dir_base(disk, dir, &node);
    if (rc == FTK_OK && ftk_fault_due(FTK_FAULT_READ))
        rc = sim_path_failed("space", dir->path, EIO);
    if (rc == FTK_OK) {
        uint64_t used = sim_used_bytes(disk);
        *total_out = disk->options.capacity != 0 ? disk->options.capacity : SPACE_WITHOUT_LIMIT;
        *free_out = used < *total_out ? *total_out - used : 0;
    }
    ftk_mutex_unlock(&disk->mutex);
    return rc;
}

ftk_status
sim_dir_locate(struct ftk_dir *dir, char **path_out)
{
    struct simdisk *disk = sim_of(dir->disk);
    char path[2048] = "", longer[2048];
    const char *name;
    uint32_t node;

    *path_out = NULL;
    ftk_mutex_lock(&disk->mutex);
    ftk_status rc = sim_dir_base(disk, dir, &node);
    while (rc == FTK_OK && node != SIM_ROOT) {
        node = sim_parent(disk, node, &name);
        if (node == SIM_NO_NODE || strlen(name) + strlen(path) + 2 > sizeof path)
            rc = sim_path_failed("path", dir->path, ENOENT);
        else {
            (void)snprintf(longer, sizeof longer, "/%s", name);
            strncat(longer, path, sizeof longer - strlen(longer) - 1);
            strcpy(path, longer);
        }
    }
    ftk_mutex_unlock(&disk->mutex);
    return rc != FTK_OK ? rc : ftk_strdup(*path != '\0' ? path : "/", path_out);
}

ftk_status
sim_identify(struct ftk_disk *base, const struct ftk_dir *dir, const char *path,
             struct ftk_identity *identity_out)
{
    struct simdisk *disk = sim_of(base);
    uint32_t start, holder, node = SIM_NO_NODE;
    char name[256];

    *identity_out = (struct ftk_identity){0};
    ftk_mutex_lock(&disk->mutex);
    ftk_status rc = sim_dir_base(disk, dir, &start);
    if (rc == FTK_OK && ftk_fault_due(FTK_FAULT_READ))
        rc = sim_path_failed("stat", path, EIO);
    if (rc == FTK_OK &&
        (!sim_resolve(disk, start, path, &holder, name, &node) || node == SIM_NO_NODE))
        rc = sim_path_failed("stat", path, ENOENT);
    if (rc == FTK_OK)
        *identity_out = (struct ftk_identity){1, disk->nodes[node]->serial, 1};
    ftk_mutex_unlock(&disk->mutex);
    return rc;
}
