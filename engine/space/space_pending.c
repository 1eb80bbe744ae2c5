/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/space/space_pending.c -- from death to reuse.  See the drawing in engine/space/space.h.
 *
 * A dead page is attached to the newest pinned snapshot that reaches it.  When that snapshot is
 * unpinned the page is looked at again: it is free, or an older snapshot reaches it.  So every page
 * moves at most as often as there are pinned snapshots, and one old reader holds the pages of its
 * snapshot and nothing else.
 */
#include <string.h>

#include "engine/space/space_internal.h"
#include "ftk/mem.h"

static ftk_status
batches_reserve(struct space_batches *batches, size_t more)
{
    size_t capacity = batches->capacity;
    ftk_status rc;

    if (batches->count + more <= capacity)
        return FTK_OK;
    capacity = capacity == 0 ? 16 : capacity * 2;
    rc = ftk_realloc((void **)&batches->items, capacity * sizeof(*batches->items));
    if (rc == FTK_OK)
        batches->capacity = capacity;
    return rc;
}

static void
batches_release(struct space_batches *batches)
{
    for (size_t i = 0; i < batches->count; i++) {
        space_extents_release(&batches->items[i].extents);
        ftk_free(batches->items[i].deaths);
    }
    ftk_free(batches->items);
    *batches = (struct space_batches){0};
}

void
space__pending_release(struct space *space)
{
    batches_release(&space->limbo);
    batches_release(&space->held);
}

void
space__stats_show(struct space *space)
{
    space->shown = (struct space_stats){.pages_end = space->pages_end,
                                        .pages_file = space->pages_file,
                                        .pages_live = space->pages_live,
                                        .pages_avail = space->pages_avail + space->hot_count,
                                        .pages_pending = space->pages_pending};
}

/* ---- commit ---------------------------------------------------------------------------------- */

static void
live_change(struct space *space, struct space_extent extent, bool alive)
{
    uint64_t page = space_extent_page(extent);
    uint32_t count = space_extent_count(extent);

    FTK_ASSERT(page + count <= space->pages_end);
    for (; count > 0; count--, page++) {
        uint64_t bit = UINT64_C(1) << (page % 64);
        uint64_t *word = &space->live[page / 64];
        FTK_DEBUG_ASSERT(alive == !(*word & bit));
        *word = alive ? *word | bit : *word & ~bit;
        space->groups[page >> space->group_shift].dirty = true;
        space->pages_live += alive ? 1 : UINT64_MAX;
    }
}

static bool
is_alive(const struct space *space, struct space_extent extent)
{
    uint64_t page = space_extent_page(extent);

    for (uint32_t i = 0; i < space_extent_count(extent); i++)
        if (!space__bit(space->live, page + i))
            return false;
    return true;
}

/*
 * Not alive any more.  A page dies once: of one that two parents on disk reach, or none, the later
 * deaths leave the list, else its id would be given out twice.
 */
static void
deaths_take(struct space *space, struct space_extents *extents)
{
    size_t kept = 0;

    for (size_t i = 0; i < extents->count; i++) {
        struct space_extent extent = extents->items[i];
        if (FTK_UNLIKELY(!is_alive(space, extent)))
            continue;
        live_change(space, extent, false);
        extents->items[kept++] = extent;
    }
    extents->count = kept;
}

ftk_status
space_commit_prepare(struct space *space)
{
    return batches_reserve(&space->limbo, 1);
}

void
space_commit(struct space *space, const struct space_extents *born, struct space_extents *dropped,
             struct space_extents *dead, uint64_t death, void (*publish)(void *context),
             void *context)
{
    ftk_mutex_lock(&space->mutex);
    for (size_t i = 0; i < born->count; i++)
        live_change(space, born->items[i], true);
    deaths_take(space, dropped);
    deaths_take(space, dead);
    publish(context);
    if (dead->count > 0) {
        FTK_ASSERT(space->limbo.count < space->limbo.capacity);
        FTK_ASSERT(space->limbo.count == 0 ||
                   space->limbo.items[space->limbo.count - 1].snapshot < death);
        space->limbo.items[space->limbo.count++] =
            (struct space_batch){.snapshot = death, .extents = *dead};
        for (size_t i = 0; i < dead->count; i++)
            space->pages_pending += space_extent_count(dead->items[i]);
        *dead = (struct space_extents){0};
    }
    space__stats_show(space);
    ftk_mutex_unlock(&space->mutex);
    FTK_DEBUG_ASSERT_SOUND(space_check(space));
}

/* ---- reclaim --------------------------------------------------------------------------------- */

struct pins {
    const uint64_t *readers;
    size_t reader_count;
    uint64_t durable, checkpointing;
};

/* The newest pin in [birth, death); 0: none. */
static uint64_t
pin_newest(const struct pins *pins, uint64_t birth, uint64_t death)
{
    uint64_t found = 0;
    size_t low = 0, high = pins->reader_count;

    while (low < high) { /* first reader >= death */
        size_t middle = low + (high - low) / 2;
        if (pins->readers[middle] < death)
            low = middle + 1;
        else
            high = middle;
    }
    if (low > 0 && pins->readers[low - 1] >= birth)
        found = pins->readers[low - 1];
    if (pins->durable >= birth && pins->durable < death && pins->durable > found)
        found = pins->durable;
    if (pins->checkpointing >= birth && pins->checkpointing < death && pins->checkpointing > found)
        found = pins->checkpointing;
    return found;
}

static bool
pin_is(const struct pins *pins, uint64_t snapshot)
{
    return pin_newest(pins, snapshot, snapshot + 1) != 0;
}

static void
free_extent(struct space *space, struct space_extent extent)
{
    uint64_t page = space_extent_page(extent);
    uint32_t count = space_extent_count(extent);

    for (uint32_t i = 0; i < count; i++)
        cache_free(space->cache, page + i);
    FTK_ASSERT(space->pages_pending >= count);
    space->pages_pending -= count;
    space__give(space, page, count, extent.birth > space->hot_birth);
}

static struct space_batch *
held_batch(struct space *space, uint64_t snapshot)
{
    for (size_t i = 0; i < space->held.count; i++)
        if (space->held.items[i].snapshot == snapshot)
            return &space->held.items[i];
    if (batches_reserve(&space->held, 1) != FTK_OK)
        return NULL;
    space->held.items[space->held.count] = (struct space_batch){.snapshot = snapshot};
    return &space->held.items[space->held.count++];
}

/* Room for one more extent and its death. */
static bool
batch_room(struct space_batch *batch)
{
    size_t had = batch->extents.capacity;

    if (batch->extents.count < had)
        return true;
    if (space_extents_ensure(&batch->extents, 1) == FTK_OK &&
        ftk_realloc((void **)&batch->deaths, batch->extents.capacity * sizeof(*batch->deaths)) ==
            FTK_OK)
        return true;
    batch->extents.capacity = had; /* no more than the deaths have room for */
    return false;
}

/* Attach an extent to the pin that holds it.  False: no memory for that. */
static bool
hold_extent(struct space *space, uint64_t snapshot, struct space_extent extent, uint64_t death)
{
    struct space_batch *batch = held_batch(space, snapshot);

    if (batch == NULL)
        return false;
    if (!batch_room(batch)) {
        if (batch->extents.count == 0) { /* it is new, and the last one */
            space_extents_release(&batch->extents);
            space->held.count--;
        }
        return false;
    }
    batch->deaths[batch->extents.count] = death;
    space_extents_push(&batch->extents, extent);
    return true;
}

/* Free or pass on what the batch has.  What there was no memory for stays in it, and is looked at
 * again the next time.  True: nothing is left of it. */
static bool
reclaim_batch(struct space *space, const struct pins *pins, struct space_batch *batch)
{
    size_t kept = 0;

    for (size_t i = 0; i < batch->extents.count; i++) {
        struct space_extent extent = batch->extents.items[i];
        uint64_t death = batch->deaths != NULL ? batch->deaths[i] : batch->snapshot;
        uint64_t pin = pin_newest(pins, extent.birth, death);
        if (pin == 0) {
            free_extent(space, extent);
        } else if (!hold_extent(space, pin, extent, death)) {
            batch->extents.items[kept] = extent;
            if (batch->deaths != NULL)
                batch->deaths[kept] = death;
            kept++;
        }
    }
    batch->extents.count = kept;
    if (kept > 0)
        return false;
    space_extents_release(&batch->extents);
    ftk_free(batch->deaths);
    return true;
}

bool
space_reclaim_due(const struct space *space, uint64_t published)
{
    return (space->limbo.count > 0 && space->limbo.items[0].snapshot <= published) ||
           space->held.count > 0;
}

void
space_reclaim(struct space *space, uint64_t published, const uint64_t *pinned, size_t count)
{
    struct pins pins = {.readers = pinned, .reader_count = count};
    size_t kept = 0, seen = 0;

    ftk_mutex_lock(&space->mutex);
    FTK_ASSERT(count == 0 || pinned[0] <= pinned[count - 1]);
    pins.durable = space->durable;
    pins.checkpointing = space->checkpointing;
    space->hot_birth = pins.checkpointing > pins.durable ? pins.checkpointing : pins.durable;
    ftk_mutex_unlock(&space->mutex);

    /* Batches that come to be meanwhile are of pins, and are passed over. */
    for (size_t i = 0; i < space->held.count;) {
        struct space_batch batch = space->held.items[i];
        if (!pin_is(&pins, batch.snapshot)) {
            bool gone = reclaim_batch(space, &pins, &batch);
            space->held.items[i] = gone ? space->held.items[--space->held.count] : batch;
            if (gone)
                continue;
        }
        i++;
    }
    for (; seen < space->limbo.count && space->limbo.items[seen].snapshot <= published; seen++) {
        struct space_batch batch = space->limbo.items[seen];
        if (!reclaim_batch(space, &pins, &batch))
            space->limbo.items[kept++] = batch;
    }
    if (kept < seen) {
        space->limbo.count -= seen - kept;
        memmove(space->limbo.items + kept, space->limbo.items + seen,
                (space->limbo.count - kept) * sizeof(*space->limbo.items));
    }
    FTK_DEBUG_ASSERT_SOUND(space_check(space));
}
