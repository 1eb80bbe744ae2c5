/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/support/simdisk_crash.c -- clones, power cuts, and damage to bytes at rest.
 *
 * 1. What survives a power cut is the durable state with some of the pending changes applied in
 *    their order; which ones, and which sectors of them, policy and seed say.
 * 2. A sector is old or new, never a mixture.
 * 3. Afterwards nothing is pending, nothing is open, and every node is reachable from the root.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/support/simdisk_internal.h"

struct cut {
    enum simdisk_policy policy;
    struct ftk_random random;
    double chance;   /* that a sector survives */
    uint64_t moment; /* SIMDISK_PREFIX, SIMDISK_REORDERED */
};

const char *
simdisk_policy_name(enum simdisk_policy policy)
{
    static const char *const names[SIMDISK_POLICIES] = {"all",  "none",   "sectors",
                                                        "torn", "prefix", "reordered"};
    return (unsigned)policy < SIMDISK_POLICIES ? names[policy] : "unknown";
}

enum simdisk_policy
simdisk_policy_of(uint64_t seed)
{
    struct ftk_random random;
    ftk_random_seed(&random, seed ^ 0x706f6c696379u);
    /* Half of the cuts by sectors: the strongest test. */
    uint64_t r = ftk_random_below(&random, 10);
    return r < SIMDISK_POLICIES ? (enum simdisk_policy)r : SIMDISK_SECTORS;
}

/* ---- what survives of one change ------------------------------------------------------------ */

static bool
coin(struct ftk_random *random, double chance)
{
    return ftk_random_double(random) < chance;
}

/* The sectors of a write that reached the disk. */
static void
write_survive(const struct sim_change *change, struct sim_image *image, struct ftk_random *random,
              enum sim_fate fate, double chance)
{
    uint64_t end = change->offset + change->size;
    uint64_t first = change->offset / SIMDISK_SECTOR;
    uint64_t count = (end + SIMDISK_SECTOR - 1) / SIMDISK_SECTOR - first;
    uint64_t edge = fate == SIM_TORN_EDGE ? ftk_random_below(random, count + 1) : 0;
    bool head = coin(random, 0.5); /* before the edge, or behind it */

    /* The new size is recorded apart from the bytes. */
    if (end > image->size && coin(random, fate == SIM_SOME_SECTORS ? chance : 0.5))
        sim_image_resize(image, end);
    for (uint64_t i = 0; i < count; i++) {
        bool kept = fate == SIM_TORN_EDGE ? (i < edge) == head : coin(random, chance);
        uint64_t from = (first + i) * SIMDISK_SECTOR;
        uint64_t to = from + SIMDISK_SECTOR;
        from = from > change->offset ? from : change->offset;
        to = to < end ? to : end;
        to = to < image->size ? to : image->size;
        if (kept && from < to)
            sim_image_write(image, from, change->bytes + (from - change->offset), to - from);
    }
}

void
sim_change_survive(const struct sim_change *change, struct sim_image *image,
                   struct ftk_random *random, enum sim_fate fate, double chance)
{
    if (fate == SIM_KEPT) {
        sim_change_apply(change, image);
    } else if (fate == SIM_DROPPED) {
        return;
    } else if (change->kind == SIM_WRITE) {
        write_survive(change, image, random, fate, chance);
    } else if (coin(random, fate == SIM_SOME_SECTORS ? chance : 0.5)) {
        sim_change_apply(change, image);
    }
}

static enum sim_fate
fate_of(struct cut *cut, uint64_t number)
{
    switch (cut->policy) {
    case SIMDISK_ALL: return SIM_KEPT;
    case SIMDISK_NONE: return SIM_DROPPED;
    case SIMDISK_TORN:
        return (enum sim_fate)ftk_random_below(&cut->random, 3); /* kept, dropped, torn edge */
    case SIMDISK_PREFIX:
        if (number == cut->moment)
            return SIM_TORN_EDGE;
        return number < cut->moment ? SIM_KEPT : SIM_DROPPED;
    case SIMDISK_REORDERED:
        return coin(&cut->random, number >= cut->moment ? 0.9 : 0.3) ? SIM_KEPT : SIM_DROPPED;
    case SIMDISK_SECTORS:
    default: return SIM_SOME_SECTORS;
    }
}

/* ---- power cut ------------------------------------------------------------------------------ */

static uint64_t
oldest_number(const struct simdisk *disk)
{
    uint64_t oldest = disk->number + 1;

    for (size_t i = 0; i < disk->nodes_count; i++) {
        const struct sim_node *node = disk->nodes[i];
        for (size_t j = 0; node != NULL && j < node->pending_count; j++) {
            if (node->pending[j]->number < oldest)
                oldest = node->pending[j]->number;
        }
    }
    for (size_t i = 0; i < disk->name_changes_count; i++) {
        if (disk->name_changes[i].number < oldest)
            oldest = disk->name_changes[i].number;
    }
    for (size_t i = 0; i < disk->flights_count; i++) {
        const struct sim_change *change = disk->flights[i].change;
        if (change != NULL && change->number < oldest)
            oldest = change->number;
    }
    return oldest;
}

/* A rename cannot survive what gave it its source: no file system does that. */
static bool
rename_possible(const struct simdisk *disk, const struct sim_name_change *change)
{
    const struct sim_name_edit *from = &change->edits[0];

    return change->edits_count < 2 || sim_entries_find(&disk->nodes[from->dir]->names_durable,
                                                       from->name) == change->edits[1].node;
}

static void
cut_names(struct simdisk *disk, struct cut *cut)
{
    for (size_t i = 0; i < disk->name_changes_count; i++) {
        struct sim_name_change *change = &disk->name_changes[i];
        enum sim_fate fate = fate_of(cut, change->number);
        bool kept = fate == SIM_KEPT || (fate != SIM_DROPPED && coin(&cut->random, cut->chance));
        if (kept && rename_possible(disk, change))
            sim_name_change_apply(disk, change);
        sim_name_change_drop(disk, change);
    }
    disk->name_changes_count = 0;
}

static void
cut_file(struct simdisk *disk, uint32_t id, struct cut *cut)
{
    struct sim_node *node = disk->nodes[id];

    for (size_t i = 0; i < node->pending_count; i++) {
        struct sim_change *change = node->pending[i];
        sim_change_survive(change, &node->durable, &cut->random, fate_of(cut, change->number),
                           cut->chance);
        sim_change_release(change);
    }
    node->pending_count = 0;
    node->lost = false;
    sim_image_release(&node->now); /* made anew when the flights have landed */
}

/* Writes under way have reached the disk in any order, if at all. */
static void
cut_flights(struct simdisk *disk, struct cut *cut)
{
    size_t count = disk->flights_count;
    size_t *order = sim_calloc(count, sizeof *order);

    for (size_t i = 0; i < count; i++) {
        size_t j = (size_t)ftk_random_below(&cut->random, i + 1);
        order[i] = order[j];
        order[j] = i;
    }
    for (size_t i = 0; i < count; i++) {
        const struct sim_flight *flight = &disk->flights[order[i]];
        if (flight->change != NULL && flight->node != SIM_NO_NODE && flight->os_errno == 0)
            sim_change_survive(flight->change, &disk->nodes[flight->node]->durable, &cut->random,
                               fate_of(cut, flight->change->number), cut->chance);
    }
    free(order);
}

/* Open files are dead; flights of a live disk complete with an error, those of a clone are gone. */
static void
handles_kill(struct simdisk *disk)
{
    size_t kept = 0;

    disk->generation++;
    for (size_t i = 0; i < disk->flights_count; i++) {
        struct sim_flight flight = disk->flights[i];
        sim_change_release(flight.change);
        flight.change = NULL;
        flight.node = SIM_NO_NODE;
        if (flight.aio != NULL)
            disk->flights[kept++] = flight;
    }
    disk->flights_count = kept;
    for (size_t i = 0; i < disk->nodes_count; i++) {
        struct sim_node *node = disk->nodes[i];
        if (node != NULL) {
            node->opens = 0;
            node->locks_shared = 0;
            node->lock_exclusive = false;
        }
    }
}

/* Count links from the root; what has none is gone with its directory. */
static void
links_count(struct simdisk *disk, uint32_t id)
{
    struct sim_node *node = disk->nodes[id];

    node->links++;
    node->links_durable++;
    if (node->links > 1)
        return;
    for (size_t i = 0; i < node->names.count; i++)
        links_count(disk, node->names.list[i].node);
}

static void
names_settle(struct simdisk *disk)
{
    for (size_t i = 0; i < disk->nodes_count; i++) {
        struct sim_node *node = disk->nodes[i];
        if (node == NULL)
            continue;
        node->links = 0;
        node->links_durable = 0;
        sim_entries_release(&node->names);
        sim_entries_copy(&node->names, &node->names_durable);
    }
    links_count(disk, SIM_ROOT);
    sim_nodes_collect(disk);
}

void
simdisk_crash_as(struct simdisk *disk, enum simdisk_policy policy, uint64_t seed)
{
    static const double chances[] = {0.1, 0.5, 0.9};
    struct cut cut = {.policy = policy};

    ftk_random_seed(&cut.random, seed);
    cut.chance = chances[ftk_random_below(&cut.random, 3)];
    ftk_mutex_lock(&disk->mutex);
    uint64_t oldest = oldest_number(disk);
    cut.moment = oldest + ftk_random_below(&cut.random, disk->number + 2 - oldest);

    cut_names(disk, &cut);
    for (uint32_t i = 0; i < disk->nodes_count; i++) {
        if (disk->nodes[i] != NULL && !disk->nodes[i]->is_dir)
            cut_file(disk, i, &cut);
    }
    cut_flights(disk, &cut);
    handles_kill(disk);
    names_settle(disk);
    for (uint32_t i = 0; i < disk->nodes_count; i++) {
        if (disk->nodes[i] != NULL && !disk->nodes[i]->is_dir)
            sim_image_copy(&disk->nodes[i]->now, &disk->nodes[i]->durable);
    }
    ftk_random_seed(&disk->random, seed + 1);
    ftk_mutex_unlock(&disk->mutex);
}

void
simdisk_crash(struct simdisk *disk, uint64_t seed)
{
    simdisk_crash_as(disk, simdisk_policy_of(seed), seed);
}

void
simdisk_kill(struct simdisk *disk, uint64_t seed)
{
    struct ftk_random random;

    ftk_random_seed(&random, seed);
    ftk_mutex_lock(&disk->mutex);
    for (size_t i = 0; i < disk->flights_count; i++) {
        struct sim_flight *flight = &disk->flights[i];
        if (flight->change != NULL && flight->node != SIM_NO_NODE && flight->os_errno == 0 &&
            coin(&random, 0.5))
            sim_pending_add(disk->nodes[flight->node], sim_change_ref(flight->change));
    }
    handles_kill(disk);
    sim_nodes_collect(disk);
    ftk_random_seed(&disk->random, seed + 1);
    ftk_mutex_unlock(&disk->mutex);
}

/* ---- clone ---------------------------------------------------------------------------------- */

static struct sim_node *
node_clone(const struct sim_node *from)
{
    struct sim_node *to = sim_calloc(1, sizeof *to);
    size_t room = 1;

    *to = *from;
    to->opens = 0;
    to->locks_shared = 0;
    to->lock_exclusive = false;
    sim_image_copy(&to->now, &from->now);
    sim_image_copy(&to->durable, &from->durable);
    sim_entries_copy(&to->names, &from->names);
    sim_entries_copy(&to->names_durable, &from->names_durable);
    while (room < from->pending_count) /* sim_pending_add grows at powers of two */
        room *= 2;
    to->pending = sim_calloc(room, sizeof *to->pending);
    for (size_t i = 0; i < from->pending_count; i++)
        to->pending[i] = sim_change_ref(from->pending[i]);
    return to;
}

struct simdisk *
simdisk_clone(struct simdisk *disk, uint64_t seed)
{
    struct simdisk_options options = disk->options;

    options.seed = seed;
    options.capacity = 0;
    struct simdisk *clone = sim_alloc(&options);
    ftk_mutex_lock(&disk->mutex);
    clone->number = disk->number;
    clone->serial = disk->serial;
    clone->nodes_count = disk->nodes_count;
    clone->nodes = sim_calloc(disk->nodes_count, sizeof *clone->nodes);
    for (size_t i = 0; i < disk->nodes_count; i++) {
        if (disk->nodes[i] != NULL)
            clone->nodes[i] = node_clone(disk->nodes[i]);
    }
    clone->name_changes_count = disk->name_changes_count;
    clone->name_changes = sim_calloc(disk->name_changes_count, sizeof *clone->name_changes);
    for (size_t i = 0; i < disk->name_changes_count; i++) {
        clone->name_changes[i] = disk->name_changes[i];
        for (unsigned j = 0; j < disk->name_changes[i].edits_count; j++)
            clone->name_changes[i].edits[j].name = sim_strdup(disk->name_changes[i].edits[j].name);
    }
    clone->flights = sim_calloc(disk->flights_count, sizeof *clone->flights);
    for (size_t i = 0; i < disk->flights_count; i++) {
        struct sim_flight flight = disk->flights[i];
        if (flight.change == NULL)
            continue; /* a read, or dead */
        sim_change_ref(flight.change);
        flight.aio = NULL;
        flight.io = NULL;
        clone->flights[clone->flights_count++] = flight;
    }
    ftk_mutex_unlock(&disk->mutex);
    return clone;
}

/* ---- bytes at rest -------------------------------------------------------------------------- */

static struct sim_node *
find_file(struct simdisk *disk, const char *path)
{
    uint32_t dir, node;
    char name[256];

    if (!sim_resolve(disk, SIM_ROOT, path, &dir, name, &node) || node == SIM_NO_NODE ||
        disk->nodes[node]->is_dir)
        return NULL;
    return disk->nodes[node];
}

static bool
poke_locked(struct simdisk *disk, const char *path, uint64_t offset, const void *memory,
            size_t size)
{
    struct sim_node *node = find_file(disk, path);

    if (node == NULL || size > node->now.size || offset > node->now.size - size)
        return false;
    sim_image_write(&node->now, offset, memory, size);
    if (offset < node->durable.size) {
        uint64_t there = node->durable.size - offset;
        sim_image_write(&node->durable, offset, memory, size < there ? size : there);
    }
    return true;
}

static bool
peek_locked(struct simdisk *disk, const char *path, uint64_t offset, void *memory, size_t size)
{
    const struct sim_node *node = find_file(disk, path);

    if (node == NULL || size > node->now.size || offset > node->now.size - size)
        return false;
    sim_image_read(&node->now, offset, memory, size);
    return true;
}

bool
simdisk_flip(struct simdisk *disk, const char *path, uint64_t offset, uint8_t mask)
{
    uint8_t byte;

    ftk_mutex_lock(&disk->mutex);
    bool there = peek_locked(disk, path, offset, &byte, 1);
    if (there) {
        byte ^= mask;
        poke_locked(disk, path, offset, &byte, 1);
    }
    ftk_mutex_unlock(&disk->mutex);
    return there;
}

bool
simdisk_poke(struct simdisk *disk, const char *path, uint64_t offset, const void *memory,
             size_t size)
{
    ftk_mutex_lock(&disk->mutex);
    bool there = poke_locked(disk, path, offset, memory, size);
    ftk_mutex_unlock(&disk->mutex);
    return there;
}

bool
simdisk_peek(struct simdisk *disk, const char *path, uint64_t offset, void *memory, size_t size)
{
    ftk_mutex_lock(&disk->mutex);
    bool there = peek_locked(disk, path, offset, memory, size);
    ftk_mutex_unlock(&disk->mutex);
    return there;
}

bool
simdisk_size(struct simdisk *disk, const char *path, uint64_t *size_out)
{
    ftk_mutex_lock(&disk->mutex);
    const struct sim_node *node = find_file(disk, path);
    *size_out = node != NULL ? node->now.size : 0;
    ftk_mutex_unlock(&disk->mutex);
    return node != NULL;
}

static bool
save_file(const struct sim_image *image, const char *path)
{
    uint8_t page[SIM_PAGE];
    FILE *file = fopen(path, "wbe");
    bool good = file != NULL;

    for (uint64_t at = 0; good && at < image->size; at += SIM_PAGE) {
        uint64_t n = image->size - at < SIM_PAGE ? image->size - at : SIM_PAGE;
        sim_image_read(image, at, page, n);
        good = fwrite(page, 1, (size_t)n, file) == n;
    }
    if (file != NULL && fclose(file) != 0)
        good = false;
    return good;
}

static bool
save_dir(struct simdisk *disk, uint32_t id, const char *path)
{
    const struct sim_entries *names = &disk->nodes[id]->names;
    bool good = mkdir(path, 0777) == 0 || errno == EEXIST;

    for (size_t i = 0; good && i < names->count; i++) {
        char below[4096];
        struct sim_node *node = disk->nodes[names->list[i].node];
        snprintf(below, sizeof below, "%s/%s", path, names->list[i].name);
        good = node->is_dir ? save_dir(disk, names->list[i].node, below)
                            : save_file(&node->now, below);
    }
    return good;
}

bool
simdisk_save(struct simdisk *disk, const char *directory)
{
    ftk_mutex_lock(&disk->mutex);
    bool good = save_dir(disk, SIM_ROOT, directory);
    ftk_mutex_unlock(&disk->mutex);
    return good;
}
