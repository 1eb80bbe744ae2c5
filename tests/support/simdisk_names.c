/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/support/simdisk_names.c -- nodes, directories, and changes of names that are not durable.
 *
 * 1. names = names_durable with all pending changes of that directory applied, in their order.
 * 2. A node lives while a name, a durable name, a pending change, an open file or an I/O under way
 *    speaks of it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/simdisk_internal.h"

struct sim_node *
sim_node_new(struct simdisk *disk, bool is_dir, uint32_t *id_out)
{
    size_t id = 0;

    while (id < disk->nodes_count && disk->nodes[id] != NULL)
        id++;
    if (id == disk->nodes_count) {
        disk->nodes = sim_realloc(disk->nodes, (id + 1) * sizeof *disk->nodes);
        disk->nodes_count++;
    }
    disk->nodes[id] = sim_calloc(1, sizeof *disk->nodes[id]);
    disk->nodes[id]->is_dir = is_dir;
    disk->nodes[id]->serial = ++disk->serial;
    *id_out = (uint32_t)id;
    return disk->nodes[id];
}

void
sim_node_free(struct simdisk *disk, uint32_t id)
{
    struct sim_node *node = disk->nodes[id];

    for (size_t i = 0; i < node->pending_count; i++)
        sim_change_release(node->pending[i]);
    free(node->pending);
    sim_image_release(&node->now);
    sim_image_release(&node->durable);
    sim_entries_release(&node->names);
    sim_entries_release(&node->names_durable);
    free(node);
    disk->nodes[id] = NULL;
}

static bool
node_in_flight(const struct simdisk *disk, uint32_t id)
{
    for (size_t i = 0; i < disk->flights_count; i++) {
        if (disk->flights[i].node == id)
            return true;
    }
    return false;
}

void
sim_nodes_collect(struct simdisk *disk)
{
    for (uint32_t id = 1; id < disk->nodes_count; id++) {
        const struct sim_node *node = disk->nodes[id];
        if (node != NULL && node->links == 0 && node->links_durable == 0 &&
            node->links_pending == 0 && node->opens == 0 && !node_in_flight(disk, id))
            sim_node_free(disk, id);
    }
}

/* ---- entries -------------------------------------------------------------------------------- */

uint32_t
sim_entries_find(const struct sim_entries *entries, const char *name)
{
    for (size_t i = 0; i < entries->count; i++) {
        if (strcmp(entries->list[i].name, name) == 0)
            return entries->list[i].node;
    }
    return SIM_NO_NODE;
}

void
sim_entries_set(struct sim_entries *entries, const char *name, uint32_t node)
{
    size_t i = 0;

    while (i < entries->count && strcmp(entries->list[i].name, name) != 0)
        i++;
    if (i < entries->count && node != SIM_NO_NODE) {
        entries->list[i].node = node;
    } else if (i < entries->count) {
        free(entries->list[i].name);
        entries->list[i] = entries->list[--entries->count];
    } else if (node != SIM_NO_NODE) {
        entries->list = sim_realloc(entries->list, (i + 1) * sizeof *entries->list);
        entries->list[i].name = sim_strdup(name);
        entries->list[i].node = node;
        entries->count++;
    }
}

void
sim_entries_copy(struct sim_entries *to, const struct sim_entries *from)
{
    to->count = from->count;
    to->list = sim_calloc(from->count, sizeof *to->list);
    for (size_t i = 0; i < from->count; i++) {
        to->list[i].name = sim_strdup(from->list[i].name);
        to->list[i].node = from->list[i].node;
    }
}

void
sim_entries_release(struct sim_entries *entries)
{
    for (size_t i = 0; i < entries->count; i++)
        free(entries->list[i].name);
    free(entries->list);
    memset(entries, 0, sizeof *entries);
}

/* ---- paths ---------------------------------------------------------------------------------- */

/* The next part of a path, skipping "/" and "."; false at the end or when it is too long. */
static bool
path_part(const char **path, char name[256])
{
    for (;;) {
        while (**path == '/')
            (*path)++;
        size_t size = strcspn(*path, "/");
        if (size == 0 || size > 255)
            return false;
        memcpy(name, *path, size);
        name[size] = '\0';
        *path += size;
        if (strcmp(name, ".") != 0)
            return true;
    }
}

uint32_t
sim_parent(const struct simdisk *disk, uint32_t node, const char **name_out)
{
    *name_out = "";
    if (node == SIM_ROOT)
        return SIM_ROOT;
    for (uint32_t id = 0; id < disk->nodes_count; id++) {
        const struct sim_node *dir = disk->nodes[id];
        for (size_t i = 0; dir != NULL && i < dir->names.count; i++) {
            *name_out = dir->names.list[i].name;
            if (dir->names.list[i].node == node)
                return id;
        }
    }
    *name_out = "";
    return SIM_NO_NODE;
}

bool
sim_resolve(const struct simdisk *disk, uint32_t base, const char *path, uint32_t *dir_out,
            char name[256], uint32_t *node_out)
{
    char part[256];
    const char *own;

    *dir_out = SIM_NO_NODE;
    *node_out = *path == '/' ? SIM_ROOT : base;
    name[0] = '\0';
    while (path_part(&path, part)) {
        if (*node_out == SIM_NO_NODE || !disk->nodes[*node_out]->is_dir)
            return false;
        if (strcmp(part, "..") == 0) {
            *node_out = sim_parent(disk, *node_out, &own);
            *dir_out = *node_out == SIM_NO_NODE ? SIM_NO_NODE : sim_parent(disk, *node_out, &own);
            snprintf(name, 256, "%s", own);
            continue;
        }
        *dir_out = *node_out;
        strcpy(name, part);
        *node_out = sim_entries_find(&disk->nodes[*dir_out]->names, name);
    }
    while (*path == '/')
        path++;
    return *path == '\0';
}

/* ---- changes of names ----------------------------------------------------------------------- */

/* Set one entry, with the counts of who is linked. */
static void
entry_set(struct simdisk *disk, uint32_t dir, const char *name, uint32_t node, bool durable)
{
    struct sim_node *holder = disk->nodes[dir];
    struct sim_entries *entries = durable ? &holder->names_durable : &holder->names;
    uint32_t before = sim_entries_find(entries, name);

    if (before != SIM_NO_NODE)
        durable ? disk->nodes[before]->links_durable-- : disk->nodes[before]->links--;
    sim_entries_set(entries, name, node);
    if (node != SIM_NO_NODE)
        durable ? disk->nodes[node]->links_durable++ : disk->nodes[node]->links++;
}

void
sim_name_change(struct simdisk *disk, uint32_t dir, const struct sim_name_edit *edits,
                unsigned count)
{
    size_t at = disk->name_changes_count++;
    disk->name_changes =
        sim_realloc(disk->name_changes, disk->name_changes_count * sizeof *disk->name_changes);

    struct sim_name_change *change = &disk->name_changes[at];
    memset(change, 0, sizeof *change);
    change->number = ++disk->number;
    change->dir = dir;
    change->edits_count = count;
    for (unsigned i = 0; i < count; i++) {
        change->edits[i] = edits[i];
        change->edits[i].name = sim_strdup(edits[i].name);
        disk->nodes[edits[i].dir]->links_pending++;
        if (edits[i].node != SIM_NO_NODE)
            disk->nodes[edits[i].node]->links_pending++;
        entry_set(disk, edits[i].dir, edits[i].name, edits[i].node, false);
    }
}

void
sim_name_change_apply(struct simdisk *disk, const struct sim_name_change *change)
{
    for (unsigned i = 0; i < change->edits_count; i++)
        entry_set(disk, change->edits[i].dir, change->edits[i].name, change->edits[i].node, true);
}

void
sim_name_change_drop(struct simdisk *disk, struct sim_name_change *change)
{
    for (unsigned i = 0; i < change->edits_count; i++) {
        disk->nodes[change->edits[i].dir]->links_pending--;
        if (change->edits[i].node != SIM_NO_NODE)
            disk->nodes[change->edits[i].node]->links_pending--;
        free(change->edits[i].name);
    }
}
