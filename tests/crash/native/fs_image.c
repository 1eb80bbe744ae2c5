/* SPDX-License-Identifier: Apache-2.0 */
/* tests/crash/native/fs_image.c -- see fs_image.h for the model. */
#include "tests/crash/native/fs_image.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ftk/random.h"

/* ---- images --------------------------------------------------------------------------------- */

static void *
need(void *memory)
{
    if (memory == NULL) {
        fprintf(stderr, "fs_image: out of memory\n");
        abort();
    }
    return memory;
}

struct image *
image_new(void)
{
    struct image *image = need(calloc(1, sizeof *image));

    image->node_count = 1;
    image->files[0].is_dir = true;
    return image;
}

void
image_free(struct image *image)
{
    if (image == NULL)
        return;
    for (uint32_t i = 0; i < image->node_count; i++)
        free(image->files[i].bytes);
    free(image);
}

/* Bytes for a size; they are zero. */
static void
file_room(struct image_file *file, uint64_t size)
{
    uint64_t room = file->room == 0 ? (uint64_t)1 << 20 : file->room;

    if (size <= file->room)
        return;
    while (room < size)
        room *= 2;
    unsigned char *bytes = need(calloc(1, room)); /* pages never touched cost nothing */
    if (file->size > 0)
        memcpy(bytes, file->bytes, file->size);
    free(file->bytes);
    file->bytes = bytes;
    file->room = room;
}

static bool
is_zero(const unsigned char *bytes, uint64_t size)
{
    static const unsigned char zeros[4096];

    for (uint64_t at = 0; at < size; at += sizeof zeros) {
        uint64_t n = size - at < sizeof zeros ? size - at : sizeof zeros;
        if (memcmp(bytes + at, zeros, n) != 0)
            return false;
    }
    return true;
}

/* Zeros, touching no page that has them. */
static void
clear_sparse(unsigned char *bytes, uint64_t size)
{
    for (uint64_t at = 0; at < size; at += 4096) {
        uint64_t n = size - at < 4096 ? size - at : 4096;
        if (!is_zero(bytes + at, n))
            memset(bytes + at, 0, n);
    }
}

/* Copies that touch no page where both sides are zero. */
static void
copy_sparse(unsigned char *to, const unsigned char *from, uint64_t size)
{
    for (uint64_t at = 0; at < size; at += 4096) {
        uint64_t n = size - at < 4096 ? size - at : 4096;
        if (memcmp(to + at, from + at, n) != 0)
            memcpy(to + at, from + at, n);
    }
}

static struct image *
image_copy(const struct image *from)
{
    struct image *image = need(calloc(1, sizeof *image));

    *image = *from;
    for (uint32_t i = 0; i < image->node_count; i++) {
        struct image_file *file = &image->files[i];
        file->bytes = NULL;
        file->room = 0;
        file->size = 0;
        file_room(file, from->files[i].size);
        file->size = from->files[i].size;
        copy_sparse(file->bytes, from->files[i].bytes, file->size);
    }
    return image;
}

/* ---- names ---------------------------------------------------------------------------------- */

static struct image_name *
name_find(struct image *image, uint32_t dir, const char *name)
{
    for (uint32_t i = 0; i < image->name_count; i++) {
        if (image->names[i].dir == dir && strcmp(image->names[i].name, name) == 0)
            return &image->names[i];
    }
    return NULL;
}

static void
name_remove(struct image *image, struct image_name *name)
{
    if (name != NULL)
        *name = image->names[--image->name_count];
}

static void
name_set(struct image *image, uint32_t dir, const char *name, uint32_t node)
{
    struct image_name *there = name_find(image, dir, name);

    if (there == NULL) {
        if (image->name_count == IMAGE_NODES_MAX)
            need(NULL);
        there = &image->names[image->name_count++];
    }
    there->dir = dir;
    there->node = node;
    snprintf(there->name, sizeof there->name, "%s", name);
}

static void
node_begin(struct image *image, uint32_t node, bool is_dir)
{
    while (image->node_count <= node)
        memset(&image->files[image->node_count++], 0, sizeof image->files[0]);
    image->files[node].is_dir = is_dir;
}

static void
names_apply(struct image *image, const struct op *op)
{
    struct image_name *from;

    if (op->kind == OP_REMOVE) {
        name_remove(image, name_find(image, op->dir, op->name));
    } else if (op->kind == OP_RENAME) {
        from = name_find(image, op->dir, op->name);
        if (from == NULL || from->node != op->node)
            return;
        name_remove(image, from);
        name_set(image, op->dir, op->name_to, op->node);
    } else {
        name_set(image, op->dir, op->name, op->node);
    }
}

bool
image_path(const struct image *image, uint32_t node, char *path, size_t path_size)
{
    char parent[2048];

    if (node == 0) {
        snprintf(path, path_size, ".");
        return true;
    }
    for (uint32_t i = 0; i < image->name_count; i++) {
        const struct image_name *name = &image->names[i];
        if (name->node != node)
            continue;
        if (!image_path(image, name->dir, parent, sizeof parent))
            return false;
        snprintf(path, path_size, "%s/%s", parent, name->name);
        return true;
    }
    return false;
}

/* ---- what survives -------------------------------------------------------------------------- */

struct part { /* bytes, sizes or names */
    enum image_way way;
    uint32_t before, node, one; /* of WAY_BEFORE, WAY_NODE, WAY_ONE */
    bool torn;                  /* the one is torn */
    uint64_t chance;            /* of 16 */
};

struct builder {
    const struct recording *recording;
    struct image_crash *crash;
    struct image *disk;         /* what is made */
    struct image *cache;        /* what the process saw */
    uint32_t synced[NODES_MAX]; /* changes that ended before this op are durable */
    struct part bytes, sizes, names;
};

static bool
is_name(const struct op *op)
{
    return op->kind <= OP_RENAME;
}

static bool
is_change(const struct op *op)
{
    return op->kind <= OP_ALLOCATE && !op->is_void;
}

static bool
is_durable(const struct builder *b, const struct op *op)
{
    if (is_name(op))
        return op->end < b->synced[op->dir];
    return op->end < b->synced[op->node] || (op->durable && op->end < b->crash->op);
}

static uint64_t
mix(uint64_t seed, uint64_t a, uint64_t b)
{
    struct ftk_random random;

    ftk_random_seed(&random, seed ^ a * 0x9e3779b97f4a7c15u ^ b * 0xd6e8feb86659fd93u);
    return ftk_random_next(&random);
}

/* Sector: which one of the change; UINT64_MAX: the change as a whole. */
static bool
survives(const struct builder *b, const struct part *part, uint32_t index, uint64_t sector)
{
    const struct op *op = &b->recording->ops[index];
    uint32_t node = is_name(op) ? op->dir : op->node;
    uint64_t seed = b->crash->seed;
    bool sector_coin = mix(seed, index + 1, sector) % 16 < part->chance;
    bool coin = mix(seed, index + 1, UINT64_MAX) % 16 < part->chance;

    switch (part->way) {
    case WAY_NONE: return false;
    case WAY_ALL: return true;
    case WAY_SECTOR: return sector_coin;
    case WAY_BEFORE: return index < part->before || (index == part->before && sector_coin);
    case WAY_NODE: return node != part->node;
    case WAY_NODE_ONLY: return node == part->node;
    case WAY_ONE: return index != part->one || (part->torn && sector_coin);
    case WAY_ONE_ONLY: return index == part->one && (!part->torn || sector_coin);
    default: return coin;
    }
}

static bool
belongs(const struct op *op, bool names)
{
    return is_change(op) && is_name(op) == names;
}

static void
part_draw(struct builder *b, struct part *part, struct ftk_random *random, bool names)
{
    const struct recording *r = b->recording;
    uint32_t open = 0, nth;

    part->way = (enum image_way)ftk_random_below(random, WAY_COUNT);
    part->chance = 1 + ftk_random_below(random, 15);
    part->torn = ftk_random_below(random, 3) == 0;
    for (uint32_t i = 0; i < b->crash->op; i++)
        open += belongs(&r->ops[i], names) && !is_durable(b, &r->ops[i]);
    if (open == 0)
        return;
    nth = (uint32_t)ftk_random_below(random, open);
    for (uint32_t i = 0; i < b->crash->op; i++) {
        const struct op *op = &r->ops[i];
        if (!belongs(op, names) || is_durable(b, op) || nth-- > 0)
            continue;
        part->one = part->before = i;
        part->node = names ? op->dir : op->node;
        break;
    }
}

/* ---- building ------------------------------------------------------------------------------- */

static void
syncs_find(struct builder *b)
{
    const struct recording *r = b->recording;

    for (uint32_t i = 0; i < b->crash->op; i++) {
        const struct op *op = &r->ops[i];
        if (op->kind == OP_SYNC && op->end < b->crash->op &&
            (b->crash->liar == NULL || !b->crash->liar(r, i)))
            b->synced[op->node] = i;
    }
}

/* A size of the page cache reaches the disk, or does not. */
static void
size_apply(struct builder *b, uint32_t index, uint64_t size, bool is_certain)
{
    struct image_file *disk = &b->disk->files[b->recording->ops[index].node];
    bool does = is_certain || survives(b, &b->sizes, index, UINT64_MAX);

    if (!does)
        return;
    file_room(disk, size);
    if (size < disk->size)
        clear_sparse(disk->bytes + size, disk->room - size);
    disk->size = size;
}

/* The bytes of a write, into the page cache. */
static void
cache_write(const struct builder *b, struct image_file *cache, uint32_t index)
{
    const struct op *op = &b->recording->ops[index];
    uint64_t end = op->offset + op->size, n;

    for (uint64_t at = op->offset; at < end; at += n) {
        uint64_t sector = at / SECTOR;
        bool late = op->is_vague && mix(b->crash->seed, index + 1, ~sector) % 2 == 0;
        uint64_t from = late ? op->bytes_end : op->bytes;
        n = op->is_vague ? (sector + 1) * SECTOR - at : end - at;
        n = n < end - at ? n : end - at;
        if (from == BYTES_ZERO)
            clear_sparse(cache->bytes + at, n);
        else
            memcpy(cache->bytes + at, b->recording->bytes + from + (at - op->offset), n);
    }
}

static void
write_apply(struct builder *b, uint32_t index)
{
    const struct op *op = &b->recording->ops[index];
    struct image_file *cache = &b->cache->files[op->node], *disk = &b->disk->files[op->node];
    bool is_certain = is_durable(b, op);
    uint64_t end = op->offset + op->size;
    bool grows = end > cache->size;

    if (op->size == 0)
        return;
    file_room(cache, end);
    file_room(disk, cache->room);
    if (grows)
        cache->size = end;
    cache_write(b, cache, index);
    for (uint64_t at = op->offset / SECTOR * SECTOR; at < end; at += SECTOR) {
        uint64_t n = cache->room - at < SECTOR ? cache->room - at : SECTOR;
        if ((is_certain || survives(b, &b->bytes, index, at / SECTOR)) &&
            memcmp(disk->bytes + at, cache->bytes + at, n) != 0)
            memcpy(disk->bytes + at, cache->bytes + at, n);
    }
    if (grows)
        size_apply(b, index, end, is_certain);
}

static void
truncate_apply(struct builder *b, uint32_t index)
{
    const struct op *op = &b->recording->ops[index];
    struct image_file *cache = &b->cache->files[op->node];
    bool grows = op->size > cache->size;

    if (!grows && op->kind == OP_ALLOCATE)
        return;
    file_room(cache, op->size);
    if (!grows)
        clear_sparse(cache->bytes + op->size, cache->room - op->size);
    cache->size = op->size;
    size_apply(b, index, op->size, is_durable(b, op));
}

static void
change_apply(struct builder *b, uint32_t index)
{
    const struct op *op = &b->recording->ops[index];

    if (op->kind == OP_CREATE || op->kind == OP_MKDIR) {
        node_begin(b->disk, op->node, op->kind == OP_MKDIR);
        node_begin(b->cache, op->node, op->kind == OP_MKDIR);
    }
    if (is_name(op)) {
        if (is_durable(b, op) || survives(b, &b->names, index, UINT64_MAX))
            names_apply(b->disk, op);
    } else if (op->kind == OP_WRITE) {
        write_apply(b, index);
    } else {
        truncate_apply(b, index);
    }
}

/* What was in the file behind its size is lost. */
static void
tails_cut(struct image *image)
{
    for (uint32_t i = 0; i < image->node_count; i++) {
        struct image_file *file = &image->files[i];
        clear_sparse(file->bytes + file->size, file->room - file->size);
    }
}

struct image *
image_build(const struct image *before, const struct recording *recording,
            struct image_crash *crash)
{
    static const char *const ways[] = {"none", "all",      "each", "sector", "before",
                                       "node", "nodeonly", "one",  "oneonly"};
    struct builder *b = need(calloc(1, sizeof *b));
    struct ftk_random random;

    b->recording = recording;
    b->crash = crash;
    b->disk = image_copy(before);
    b->cache = image_copy(before);
    syncs_find(b);
    ftk_random_seed(&random, crash->seed);
    part_draw(b, &b->bytes, &random, false);
    part_draw(b, &b->sizes, &random, false);
    part_draw(b, &b->names, &random, true);
    if (crash->process)
        b->bytes.way = b->sizes.way = b->names.way = WAY_ALL;
    snprintf(crash->how, sizeof crash->how, "op %u, %s, bytes %s %u, sizes %s %u, names %s %u",
             crash->op, crash->process ? "process died" : "power cut", ways[b->bytes.way],
             b->bytes.one, ways[b->sizes.way], b->sizes.one, ways[b->names.way], b->names.one);
    for (uint32_t i = 0; i < crash->op; i++) {
        if (is_change(&recording->ops[i]))
            change_apply(b, i);
    }
    tails_cut(b->disk);
    struct image *image = b->disk;
    image_free(b->cache);
    free(b);
    return image;
}

/* ---- real directories ----------------------------------------------------------------------- */

static bool
file_write(const struct image_file *file, const char *path)
{
    int fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0666);
    bool good = fd >= 0 && ftruncate(fd, (off_t)file->size) == 0;

    for (uint64_t at = 0; good && at < file->size; at += 4096) {
        uint64_t n = file->size - at < 4096 ? file->size - at : 4096;
        good = is_zero(file->bytes + at, n) ||
               pwrite(fd, file->bytes + at, n, (off_t)at) == (ssize_t)n;
    }
    if (fd >= 0)
        close(fd);
    return good;
}

/* One node below path, at its first name; further names become links. */
static bool
node_write(const struct image *image, uint32_t node, const char *path)
{
    const struct image_file *file = &image->files[node];
    char relative[2048], first[4096], more[4096];
    bool good = true, made = false;

    for (uint32_t i = 0; good && i < image->name_count; i++) {
        const struct image_name *name = &image->names[i];
        if (name->node != node || !image_path(image, name->dir, relative, sizeof relative))
            continue;
        snprintf(more, sizeof more, "%s/%s/%s", path, relative, name->name);
        if (made)
            good = link(first, more) == 0;
        else
            good = file->is_dir ? mkdir(more, 0777) == 0 : file_write(file, more);
        if (!made)
            memcpy(first, more, sizeof first);
        made = true;
    }
    return good;
}

bool
image_write(const struct image *image, const char *path, struct recording *recording)
{
    char relative[2048], whole[4096];

    /* A directory is made before what is in it: its number is lower. */
    for (uint32_t node = 1; node < image->node_count; node++) {
        if (!node_write(image, node, path))
            return false;
    }
    for (uint32_t node = 0; recording != NULL && node < image->node_count; node++) {
        bool named = image_path(image, node, relative, sizeof relative);
        snprintf(whole, sizeof whole, "%s/%s", path, named ? relative : "");
        if (named)
            recording_adopt(recording, whole);
        else
            recording->nodes[recording->node_count++] = 0; /* no inode: never found again */
    }
    return true;
}

/* Was the last write of the sector at `at` a vague one? */
static bool
is_vague(const struct recording *recording, uint32_t node, uint64_t at)
{
    for (uint32_t i = recording->op_count; i-- > 0;) {
        const struct op *op = &recording->ops[i];
        if (op->kind == OP_WRITE && op->node == node && !op->is_void && op->offset < at + SECTOR &&
            op->offset + op->size > at)
            return op->is_vague;
    }
    return false;
}

static bool
file_matches(const struct image *image, uint32_t node, const struct recording *recording,
             const char *path, uint64_t *at_out)
{
    const struct image_file *file = &image->files[node];
    unsigned char bytes[SECTOR];
    struct stat about;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool good = fd >= 0 && fstat(fd, &about) == 0 && (uint64_t)about.st_size == file->size;

    *at_out = UINT64_MAX; /* the size */
    for (uint64_t at = 0; good && at < file->size; at += sizeof bytes) {
        ssize_t n = pread(fd, bytes, sizeof bytes, (off_t)at);
        good = n > 0 &&
               (memcmp(bytes, file->bytes + at, (size_t)n) == 0 || is_vague(recording, node, at));
        *at_out = at;
    }
    if (fd >= 0)
        close(fd);
    return good;
}

static uint64_t entries_seen;

static int
entry_count(const char *path, const struct stat *about, int kind, struct FTW *where)
{
    (void)path;
    (void)about;
    (void)kind;
    entries_seen += where->level > 0;
    return 0;
}

bool
image_matches(const struct image *image, const struct recording *recording, const char *path,
              char *words, size_t words_size)
{
    char relative[2048], whole[4096];
    struct stat about;
    uint64_t named = 0, at = 0;

    for (uint32_t i = 0; i < image->name_count; i++) {
        const struct image_name *name = &image->names[i];
        const struct image_file *file = &image->files[name->node];
        if (!image_path(image, name->dir, relative, sizeof relative))
            continue;
        named++;
        snprintf(whole, sizeof whole, "%s/%s/%s", path, relative, name->name);
        if (stat(whole, &about) != 0 || S_ISDIR(about.st_mode) != file->is_dir) {
            snprintf(words, words_size, "%s/%s is not there", relative, name->name);
            return false;
        }
        if (!file->is_dir && !file_matches(image, name->node, recording, whole, &at)) {
            snprintf(words, words_size, "%s/%s of %llu bytes (recorded: %llu) differs at %llu",
                     relative, name->name, (unsigned long long)about.st_size,
                     (unsigned long long)file->size, (unsigned long long)at);
            return false;
        }
    }
    entries_seen = 0;
    (void)nftw(path, entry_count, 16, FTW_PHYS);
    snprintf(words, words_size, "%llu names there, %llu recorded", (unsigned long long)entries_seen,
             (unsigned long long)named);
    return entries_seen == named;
}
