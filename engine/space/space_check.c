/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/space/space_check.c -- do the accounts of the space map agree with each other?
 *
 * What must hold between two calls of the writer.  Reads every word of both bitmaps: for debug
 * builds, simulations and tests.
 */
#include "engine/space/space_internal.h"
#include "ftk/invariant.h"

/* Both bitmaps, and what is counted of them. */
static const char *
check_bitmaps(const struct space *space)
{
    uint64_t group_words = (UINT64_C(1) << space->group_shift) / 64;
    uint64_t avail = 0, live = 0;

    if (space->pages_end > space->pages_max || space->pages_end > (uint64_t)space->group_count
                                                                      << space->group_shift)
        return "ids are given out behind the last group";
    for (uint64_t group = 0; group < space->group_count; group++) {
        uint64_t in_group = 0;
        for (uint64_t word = group * group_words; word < (group + 1) * group_words; word++) {
            if ((space->avail[word] & space->live[word]) != 0)
                return "a page is both live and free";
            in_group += (uint64_t)__builtin_popcountll(space->avail[word]);
            live += (uint64_t)__builtin_popcountll(space->live[word]);
        }
        if (in_group != space->groups[group].avail)
            return "a group counts its free pages wrongly";
        for (unsigned copy = 0; copy < 2; copy++)
            if (!space__bit(space->live, space__map_page(space, group, copy)))
                return "a map page is not live";
        avail += in_group;
    }
    if (avail != space->pages_avail)
        return "the free pages are counted wrongly";
    /* Groups begun since the map was read count neither their map pages nor the header's. */
    if (live < space->pages_live)
        return "fewer pages are live than are counted";
    for (uint64_t page = 0; page < space__first_page(space); page++)
        if (!space__bit(space->live, page))
            return "a page of the headers is not live";
    return NULL;
}

static bool
is_pending_page(const struct space *space, uint64_t page)
{
    return page < space->pages_end && !space__bit(space->live, page) &&
           !space__bit(space->avail, page) && !space_is_fixed(space, page);
}

static const char *
check_batch(const struct space *space, const struct space_batch *batch, uint64_t *pages)
{
    if (batch->extents.count == 0)
        return "a batch of dead pages is empty";
    for (size_t i = 0; i < batch->extents.count; i++) {
        struct space_extent extent = batch->extents.items[i];
        uint64_t death = batch->deaths != NULL ? batch->deaths[i] : batch->snapshot;
        if (extent.birth >= death)
            return "a page died before it was born";
        if (batch->deaths != NULL && (batch->snapshot < extent.birth || batch->snapshot >= death))
            return "a page is held for a snapshot that never reached it";
        for (uint32_t k = 0; k < space_extent_count(extent); k++, ++*pages)
            if (!is_pending_page(space, space_extent_page(extent) + k))
                return "a dead page is live, free, or no page of trees";
    }
    return NULL;
}

static const char *
check_pending(const struct space *space)
{
    uint64_t pages = 0;
    const char *fault;

    for (size_t i = 0; i < space->limbo.count; i++) {
        const struct space_batch *batch = &space->limbo.items[i];
        if (batch->deaths != NULL || (i > 0 && batch[-1].snapshot >= batch->snapshot))
            return "the dead in limbo are not in the order of their deaths";
        fault = check_batch(space, batch, &pages);
        if (fault != NULL)
            return fault;
    }
    for (size_t i = 0; i < space->held.count; i++) {
        for (size_t k = 0; k < i; k++)
            if (space->held.items[k].snapshot == space->held.items[i].snapshot)
                return "one snapshot has two batches of held pages";
        fault = check_batch(space, &space->held.items[i], &pages);
        if (fault != NULL)
            return fault;
    }
    return pages == space->pages_pending ? NULL : "the pages that wait are counted wrongly";
}

/* Hot pages are free, and not in `avail`; each is there once: they are marked there meanwhile. */
static const char *
check_hot(const struct space *space)
{
    const char *fault = NULL;
    size_t marked;

    for (marked = 0; marked < space->hot_count; marked++) {
        uint64_t page = space->hot[marked];
        if (!is_pending_page(space, page)) {
            fault = "a hot page is live, free twice, or no page of trees";
            break;
        }
        space->avail[page / 64] |= UINT64_C(1) << (page % 64);
    }
    while (marked-- > 0)
        space->avail[space->hot[marked] / 64] &= ~(UINT64_C(1) << (space->hot[marked] % 64));
    return fault;
}

const char *
space_check(struct space *space)
{
    const char *fault;

    FTK_INVARIANT_COUNT("space");
    ftk_mutex_lock(&space->mutex);
    fault = check_bitmaps(space);
    if (fault == NULL)
        fault = check_pending(space);
    if (fault == NULL)
        fault = check_hot(space);
    if (fault == NULL && space->checkpointing != 0 && space->checkpointing < space->durable)
        fault = "a checkpoint goes back behind the durable one";
    ftk_mutex_unlock(&space->mutex);
    return fault;
}

bool
space_is_given_out(struct space *space, uint64_t page, uint32_t count)
{
    bool is = true;

    ftk_mutex_lock(&space->mutex);
    for (uint32_t i = 0; i < count; i++)
        is = is && is_pending_page(space, page + i);
    ftk_mutex_unlock(&space->mutex);
    return is;
}
