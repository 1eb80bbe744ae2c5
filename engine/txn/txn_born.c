/* SPDX-License-Identifier: Apache-2.0 */
/* engine/txn/txn_born.c -- pages that a transaction made.  Invariants: engine/txn/txn_born.h. */
#include "engine/txn/txn_born.h"

#include <string.h>

#include "ftk/mem.h"

enum {
    SLOTS_MIN = 64,
    SLOTS_KEPT = 1024, /* with an idle transaction object */
    PLACES_MAX = 1 << 30,
};

static size_t
home_slot(const struct txn_born *born, uint64_t page)
{
    return (size_t)(page * UINT64_C(0x9e3779b97f4a7c15) >> 32) & (born->index_slots - 1);
}

/* The slot of the page, or the free one where it would be. */
static size_t
find_slot(const struct txn_born *born, uint64_t page)
{
    size_t slot = home_slot(born, page);

    while (born->index[slot] != 0 &&
           space_extent_page(born->list.items[born->index[slot] - 1]) != page)
        slot = (slot + 1) & (born->index_slots - 1);
    return slot;
}

static void
index_drop(struct txn_born *born)
{
    ftk_free(born->index);
    born->index = NULL;
    born->index_slots = 0;
}

/* An index with room for `count` places.  False: no memory, the old one stays. */
static bool
index_build(struct txn_born *born, size_t count)
{
    struct txn_born fresh = {.list = born->list, .index_slots = SLOTS_MIN};

    if (count >= PLACES_MAX)
        return false;
    while (fresh.index_slots < 2 * count)
        fresh.index_slots *= 2;
    if (FTK_NEW_ARRAY(&fresh.index, fresh.index_slots) != FTK_OK)
        return false;
    for (size_t i = 0; i < born->list.count; i++) {
        size_t slot = find_slot(&fresh, space_extent_page(born->list.items[i]));
        FTK_ASSERT(fresh.index[slot] == 0); /* invariant 1 */
        fresh.index[slot] = (uint32_t)i + 1;
    }
    index_drop(born);
    born->index = fresh.index;
    born->index_slots = fresh.index_slots;
    return true;
}

/* Close the gap: whoever stands behind it and would be found earlier moves into it. */
static void
slot_clear(struct txn_born *born, size_t gap)
{
    size_t mask = born->index_slots - 1;

    for (size_t slot = (gap + 1) & mask; born->index[slot] != 0; slot = (slot + 1) & mask) {
        size_t home = home_slot(born, space_extent_page(born->list.items[born->index[slot] - 1]));
        if (((slot - home) & mask) < ((slot - gap) & mask))
            continue;
        born->index[gap] = born->index[slot];
        gap = slot;
    }
    born->index[gap] = 0;
}

ftk_status
txn_born_ensure(struct txn_born *born, size_t more)
{
    ftk_status rc = space_extents_ensure(&born->list, more);

    /* Without its index the list is as good: pages that leave later are kept until the end. */
    if (rc == FTK_OK && born->index_slots > 0 && born->index_slots < 2 * born->list.capacity &&
        !index_build(born, born->list.capacity))
        index_drop(born);
    return rc;
}

void
txn_born_add(struct txn_born *born, struct space_extent extent)
{
    space_extents_push(&born->list, extent);
    if (born->index_slots > 0) {
        size_t slot = find_slot(born, space_extent_page(extent));
        FTK_ASSERT(born->index[slot] == 0);
        born->index[slot] = (uint32_t)born->list.count;
    }
}

bool
txn_born_remove(struct txn_born *born, struct space_extent extent, size_t from, bool *there_out)
{
    struct space_extents *list = &born->list;
    size_t slot, place, last = list->count - 1;

    *there_out = from < list->count;
    if (!*there_out || (born->index_slots == 0 && !index_build(born, list->capacity)))
        return false;
    slot = find_slot(born, space_extent_page(extent));
    *there_out = born->index[slot] > from; /* invariant 2 */
    if (!*there_out)
        return false;
    place = born->index[slot] - 1;
    *there_out = space_extent_count(list->items[place]) == space_extent_count(extent);
    if (!*there_out)
        return false;
    slot_clear(born, slot);
    if (place != last) {
        size_t moved = find_slot(born, space_extent_page(list->items[last]));
        FTK_ASSERT(born->index[moved] == last + 1);
        born->index[moved] = (uint32_t)place + 1;
        list->items[place] = list->items[last];
    }
    list->count--;
    return true;
}

void
txn_born_cut(struct txn_born *born, size_t from)
{
    FTK_ASSERT(from <= born->list.count);
    for (size_t i = from; i < born->list.count && born->index_slots > 0; i++)
        slot_clear(born, find_slot(born, space_extent_page(born->list.items[i])));
    born->list.count = from;
}

void
txn_born_reset(struct txn_born *born)
{
    if (born->index_slots > SLOTS_KEPT)
        index_drop(born);
    if (born->index_slots > 0)
        memset(born->index, 0, born->index_slots * sizeof(*born->index));
    born->list.count = 0;
}

void
txn_born_release(struct txn_born *born)
{
    index_drop(born);
    space_extents_release(&born->list);
}

bool
txn_born_is_sound(const struct txn_born *born, struct space *space)
{
    for (size_t i = 0; i < born->list.count; i++) {
        uint64_t page = space_extent_page(born->list.items[i]);
        if (!space_is_given_out(space, page, space_extent_count(born->list.items[i])))
            return false;
        if (born->index_slots > 0 && born->index[find_slot(born, page)] != i + 1)
            return false;
    }
    return born->list.count <= born->list.capacity;
}
