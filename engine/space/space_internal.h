/* SPDX-License-Identifier: Apache-2.0 */
/* engine/space/space_internal.h -- shared by space.c, space_pending.c and space_map.c. */
#ifndef ENGINE_SPACE_INTERNAL_H
#define ENGINE_SPACE_INTERNAL_H

#include "engine/space/space.h"

struct space_group {
    uint64_t copy_checkpoint[2]; /* number in each map copy; 0: never written */
    uint32_t avail;              /* bits set in `avail` */
    uint32_t run_max;            /* no run of avail bits is longer */
    bool dirty;                  /* live changed since the last frozen map */
};

/* Dead pages waiting for the snapshot to be unpinned (held), or to be left behind (limbo). */
struct space_batch {
    uint64_t snapshot; /* held: the pin; limbo: the death */
    uint64_t *deaths;  /* held: one for each extent; limbo: NULL (all die at `snapshot`) */
    struct space_extents extents;
};
struct space_batches {
    struct space_batch *items;
    size_t count, capacity;
};

struct space {
    struct ftk_file *file;
    struct cache *cache;
    uint32_t page_bytes;
    uint32_t page_shift;
    uint32_t group_shift; /* pages of a group = 1 << group_shift */
    uint64_t salt;
    bool read_only;
    uint64_t pages_max; /* the address space's end */

    struct ftk_mutex mutex;
    /* guarded by the mutex */
    uint64_t *live;
    struct space_group *groups;
    size_t group_count, group_capacity;
    uint64_t pages_live;
    uint64_t durable, checkpointing; /* pinned snapshot ids; 0: none */
    uint64_t checkpoint;             /* number of the one under way or last */
    uint8_t *frozen_maps;            /* map pages of the frozen groups, one after the other */
    uint32_t *frozen_groups;
    size_t frozen_count;
    uint64_t frozen_pages_end;
    uint64_t frozen_hash;
    uint64_t map_hash; /* sum over all groups as of the durable header */
    uint64_t map_bytes_written;
    struct space_stats shown; /* as of the last commit */

    /* the writer's */
    uint64_t *avail;
    uint64_t pages_end, pages_file;
    uint64_t pages_avail;
    uint64_t cursor;         /* next fit: page id in the word being used */
    uint32_t scan_threshold; /* the last look for a word with so many free pages was in vain ... */
    uint64_t scan_avail;     /* ... and another makes no sense before so many pages are free */
    uint64_t hot_birth;      /* pages born after this snapshot are not on disk: reuse them first */
    uint64_t *hot;           /* free pages likely to be in the cache */
    size_t hot_count, hot_capacity;
    bool grow_failed;
    struct space_batches limbo, held;
    uint64_t pages_pending;
};

static inline uint64_t
space__first_page(const struct space *space)
{
    return HEADER_REGION_BYTES / space->page_bytes;
}
static inline uint64_t
space__map_page(const struct space *space, uint64_t group, unsigned copy)
{
    return (group << space->group_shift) + (group == 0 ? space__first_page(space) : 0) + copy;
}
static inline bool
space__bit(const uint64_t *bits, uint64_t i)
{
    return bits[i / 64] >> (i % 64) & 1;
}

/* Put a free page where the next allocation finds it. */
void space__give(struct space *space, uint64_t page, uint32_t count, bool hot);
/* Begin groups up to the one holding page id `end` - 1. */
ftk_status space__groups_extend(struct space *space, uint64_t end);
uint64_t space__group_hash(uint64_t group, uint64_t checkpoint);
ftk_status space__maps_load(struct space *space, uint64_t checkpoint, uint64_t map_hash);
void space__pending_release(struct space *space);
void space__stats_show(struct space *space); /* under the mutex */

#endif
