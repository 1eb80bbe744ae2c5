/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/space/space_map.c -- the durable form of the space map.
 *
 * Each group has two map pages at fixed places.  A checkpoint writes the map of every group that
 * changed to the copy that its predecessor's header does not need, so the map needs no space of its
 * own (no recursion), and a crash before the header leaves the old map whole.  Of a group's two
 * copies the one with the largest number not above the header's counts; the header keeps a hash
 * over those numbers, so that a copy that rots later is noticed and not replaced by its older twin.
 */
#include <string.h>

#include "engine/space/space_internal.h"
#include "ftk/checksum.h"
#include "ftk/mem.h"

uint64_t
space__group_hash(uint64_t group, uint64_t checkpoint)
{
    uint8_t bytes[16];

    ftk_put_le64(bytes, group);
    ftk_put_le64(bytes + 8, checkpoint);
    return ftk_checksum(bytes, sizeof(bytes), 0);
}

static uint64_t
page_checksum(const struct space *space, const uint8_t *page, uint64_t page_id)
{
    return ftk_checksum(page + 8, space->page_bytes - 8u, page_id ^ space->salt);
}

static uint32_t
map_words(const struct space *space)
{
    return (UINT32_C(1) << space->group_shift) / 64;
}

/* ---- load ------------------------------------------------------------------------------------ */

static bool
map_page_ok(const struct space *space, const uint8_t *page, uint64_t group, uint64_t page_id)
{
    return ftk_get_le64(page + PAGE_CHECKSUM) == page_checksum(space, page, page_id) &&
           page[PAGE_TYPE] == PAGE_MAP && ftk_get_le64(page + MAP_GROUP) == group;
}

static void
group_adopt(struct space *space, uint64_t group, const uint8_t *page)
{
    uint64_t *live = space->live + group * map_words(space);

    for (uint32_t i = 0; i < map_words(space); i++)
        live[i] = ftk_get_le64(page + MAP_BITS + i * sizeof(*live));
}

static ftk_status
group_load(struct space *space, uint64_t group, uint64_t checkpoint, uint8_t *pages)
{
    struct space_group *g = &space->groups[group];
    uint64_t first = space__map_page(space, group, 0);
    const uint8_t *best = NULL;
    uint64_t best_number = 0;
    bool stale = false;
    ftk_status rc;

    if (first + 2 > space->pages_file)
        return FTK_FAIL(FTK_CORRUPT, "data.kdb is cut: map pages of group %llu are missing",
                        (unsigned long long)group);
    rc = ftk_file_read(space->file, pages, (size_t)2 * space->page_bytes,
                       first << space->page_shift);
    if (rc != FTK_OK)
        return rc;
    for (unsigned copy = 0; copy < 2; copy++) {
        const uint8_t *page = pages + (size_t)copy * space->page_bytes;
        uint64_t number = ftk_get_le64(page + MAP_CHECKPOINT);
        if (!map_page_ok(space, page, group, first + copy))
            continue;
        if (number > checkpoint) { /* of a checkpoint that never got its header: write over it */
            stale = true;
            continue;
        }
        g->copy_checkpoint[copy] = number;
        if (best == NULL || number > best_number) {
            best = page;
            best_number = number;
        }
    }
    if (best == NULL)
        return FTK_FAIL(FTK_CORRUPT,
                        "space map of group %llu: both copies (pages %llu, %llu) are "
                        "damaged",
                        (unsigned long long)group, (unsigned long long)first,
                        (unsigned long long)first + 1);
    g->dirty = stale;
    group_adopt(space, group, best);
    space->map_hash += space__group_hash(group, best_number);
    return FTK_OK;
}

/* Everything below pages_end that is not live is available. */
static void
avail_fill(struct space *space)
{
    space->pages_live = 0;
    for (uint64_t word = 0; word * 64 < space->pages_end; word++) {
        uint64_t mask = UINT64_MAX;
        uint64_t free_bits;
        if (space->pages_end - word * 64 < 64)
            mask = (UINT64_C(1) << (space->pages_end - word * 64)) - 1;
        free_bits = ~space->live[word] & mask;
        space->avail[word] = free_bits;
        uint32_t n = (uint32_t)__builtin_popcountll(free_bits);
        space->groups[word * 64 >> space->group_shift].avail += n;
        space->groups[word * 64 >> space->group_shift].run_max = UINT32_MAX;
        space->pages_avail += n;
        space->pages_live += (uint64_t)__builtin_popcountll(space->live[word] & mask);
    }
}

/* Headers and map pages are in use in every map, and nothing behind its end is. */
static ftk_status
live_check(const struct space *space)
{
    uint64_t end = (uint64_t)space->group_count << space->group_shift;

    for (uint64_t page = 0; page < space__first_page(space); page++)
        if (!space__bit(space->live, page))
            return FTK_FAIL(FTK_CORRUPT, "the space map has header page %llu free",
                            (unsigned long long)page);
    for (uint64_t group = 0; group < space->group_count; group++)
        for (unsigned copy = 0; copy < 2; copy++)
            if (!space__bit(space->live, space__map_page(space, group, copy)))
                return FTK_FAIL(FTK_CORRUPT, "the space map of group %llu has itself free",
                                (unsigned long long)group);
    for (uint64_t page = space->pages_end; page < end; page++)
        if (space__bit(space->live, page))
            return FTK_FAIL(FTK_CORRUPT,
                            "the space map has page %llu in use, behind its end at %llu",
                            (unsigned long long)page, (unsigned long long)space->pages_end);
    return FTK_OK;
}

/* Ids behind the end of the file are not given out before the file has grown again. */
static ftk_status
end_adjust(struct space *space)
{
    uint64_t end = space->pages_end;

    while (end > space->pages_file) {
        if (space__bit(space->live, end - 1))
            return FTK_FAIL(FTK_CORRUPT, "data.kdb is cut: page %llu is missing",
                            (unsigned long long)end - 1);
        end--;
    }
    space->pages_end = end;
    return FTK_OK;
}

ftk_status
space__maps_load(struct space *space, uint64_t checkpoint, uint64_t map_hash)
{
    uint8_t *pages = NULL;
    ftk_status rc;

    FTK_TRY(ftk_alloc_aligned(4096, (size_t)2 * space->page_bytes, (void **)&pages));
    for (uint64_t group = 0; group < space->group_count; group++)
        FTK_TRY(group_load(space, group, checkpoint, pages));
    if (space->map_hash != map_hash) {
        rc = FTK_FAIL(FTK_CORRUPT, "the space map is not the one checkpoint %llu wrote",
                      (unsigned long long)checkpoint);
        goto out;
    }
    FTK_TRY(live_check(space));
    FTK_TRY(end_adjust(space));
    avail_fill(space);
    space__stats_show(space);
out:
    ftk_free(pages);
    return rc;
}

/* ---- checkpoint ------------------------------------------------------------------------------ */

static void
frozen_release(struct space *space)
{
    ftk_free(space->frozen_maps);
    ftk_free(space->frozen_groups);
    space->frozen_maps = NULL;
    space->frozen_groups = NULL;
    space->frozen_count = 0;
}

static void
group_freeze(struct space *space, uint64_t group, uint8_t *page)
{
    struct space_group *g = &space->groups[group];
    const uint64_t *live = space->live + group * map_words(space);
    unsigned copy = g->copy_checkpoint[0] <= g->copy_checkpoint[1] ? 0 : 1;
    uint64_t page_id = space__map_page(space, group, copy);

    FTK_ASSERT(space->checkpoint > g->copy_checkpoint[1 - copy]); /* the twin stays the older one */
    memset(page, 0, space->page_bytes);
    page[PAGE_TYPE] = PAGE_MAP;
    ftk_put_le64(page + MAP_CHECKPOINT, space->checkpoint);
    ftk_put_le64(page + MAP_GROUP, group);
    for (uint32_t i = 0; i < map_words(space); i++)
        ftk_put_le64(page + MAP_BITS + i * sizeof(*live), live[i]);
    ftk_put_le64(page + PAGE_BIRTH, page_id); /* where it goes; sealed when it is written */
    if (g->copy_checkpoint[1 - copy] != 0)
        space->frozen_hash -= space__group_hash(group, g->copy_checkpoint[1 - copy]);
    space->frozen_hash += space__group_hash(group, space->checkpoint);
    g->dirty = false;
}

ftk_status
space_checkpoint_begin(struct space *space, uint64_t checkpoint, uint64_t (*pin)(void *context),
                       void *context)
{
    size_t dirty = 0;
    ftk_status rc = FTK_OK;

    ftk_mutex_lock(&space->mutex);
    FTK_ASSERT(space->checkpointing == 0 && space->group_count > 0);
    FTK_ASSERT(checkpoint >= space->checkpoint); /* again after one that failed */
    for (size_t i = 0; i < space->group_count; i++)
        dirty += space->groups[i].dirty;
    frozen_release(space);
    FTK_TRY(ftk_alloc_aligned(4096, (dirty + 1) * space->page_bytes, (void **)&space->frozen_maps));
    FTK_TRY(FTK_NEW_ARRAY(&space->frozen_groups, dirty + 1));
    space->checkpoint = checkpoint;
    space->frozen_hash = space->map_hash;
    for (size_t i = 0; i < space->group_count; i++) {
        if (!space->groups[i].dirty)
            continue;
        group_freeze(space, i, space->frozen_maps + space->frozen_count * space->page_bytes);
        space->frozen_groups[space->frozen_count++] = (uint32_t)i;
    }
    /* Covers every group that has a map, and every page that is live. */
    space->frozen_pages_end = space__map_page(space, space->group_count - 1, 1) + 1;
    if (space->frozen_pages_end < space->shown.pages_end)
        space->frozen_pages_end = space->shown.pages_end;
    FTK_ASSERT(space->frozen_count == dirty);
    space->checkpointing = pin(context);
    FTK_ASSERT(space->checkpointing >= space->durable);
out:
    ftk_mutex_unlock(&space->mutex);
    return rc;
}

ftk_status
space_checkpoint_write(struct space *space, struct ftk_iobufs *bufs, uint64_t *pages_end_out,
                       uint64_t *map_hash_out)
{
    struct ftk_iogroup group;

    ftk_iogroup_init(&group, bufs);
    for (size_t i = 0; i < space->frozen_count; i++) {
        uint8_t *page = space->frozen_maps + i * space->page_bytes;
        uint64_t page_id = ftk_get_le64(page + PAGE_BIRTH);
        struct ftk_iobuf *buf;
        FTK_ASSERT(page[PAGE_TYPE] == PAGE_MAP && space_is_fixed(space, page_id));
        ftk_put_le64(page + PAGE_BIRTH, 0);
        ftk_put_le64(page + PAGE_CHECKSUM, page_checksum(space, page, page_id));
        ftk_iobuf_acquire(bufs, &buf);
        ftk_iobuf_submit(buf, space->file, FTK_IO_WRITE, page, space->page_bytes,
                         page_id << space->page_shift, &group, NULL, NULL);
    }
    *pages_end_out = space->frozen_pages_end;
    *map_hash_out = space->frozen_hash;
    return ftk_iogroup_wait(&group);
}

void
space_checkpoint_end(struct space *space, bool ok)
{
    ftk_mutex_lock(&space->mutex);
    FTK_ASSERT(!ok || space->checkpointing >= space->durable);
    for (size_t i = 0; i < space->frozen_count; i++) {
        struct space_group *g = &space->groups[space->frozen_groups[i]];
        unsigned copy = g->copy_checkpoint[0] <= g->copy_checkpoint[1] ? 0 : 1;
        if (ok)
            g->copy_checkpoint[copy] = space->checkpoint;
        else
            g->dirty = true;
    }
    if (ok) {
        space->map_hash = space->frozen_hash;
        space->map_bytes_written += space->frozen_count * space->page_bytes;
        space->durable = space->checkpointing;
    }
    space->checkpointing = 0;
    frozen_release(space);
    ftk_mutex_unlock(&space->mutex);
}

void
space_set_durable(struct space *space, uint64_t snapshot)
{
    ftk_mutex_lock(&space->mutex);
    FTK_ASSERT(space->durable == 0 && space->checkpointing == 0);
    space->durable = snapshot;
    space->hot_birth = snapshot;
    ftk_mutex_unlock(&space->mutex);
}
