/* engine/snapshot.c -- who has what pinned. */
#include "engine/txn_state.h"
#include "engine/txn_internal.h"
#include "ftk/mem.h"
#include <stdlib.h>
#include <string.h>

void
txn__reclaim(kiln_db *db)
{
    uint64_t published = db_published_id(db);
    uint64_t few[128];
    uint64_t *pins = few;
    size_t count = 0, capacity = 128;

    if (!space_reclaim_due(db->space, published))
        return;
    for (struct cache_slot *slot = cache_slots(db->cache); slot != NULL; slot = slot->next) {
        uint64_t id = atomic_load(&slot->snapshot);
        if (id == 0)
            continue;
        if (count == capacity) { /* more readers than fit on the stack */
            uint64_t *more = NULL;
            if (ftk_alloc(2 * capacity * sizeof(*more), (void **)&more) != FTK_OK)
                goto out; /* later, then */
            memcpy(more, pins, count * sizeof(*pins));
            if (pins != few)
                ftk_free(pins);
            pins = more;
            capacity *= 2;
        }
        pins[count++] = id;
    }
    qsort(pins, count, sizeof(*pins), ftk_u64_order);
    space_reclaim(db->space, published, pins, count);
out:
    if (pins != few)
        ftk_free(pins);
}

/* Births at or below this are reached by someone else: see invariant 1. */
uint64_t
snapshots__reached(kiln_db *db)
{
    uint64_t reached = atomic_load(&db->checkpoint_id);

    for (struct cache_slot *slot = cache_slots(db->cache); slot != NULL; slot = slot->next) {
        uint64_t id = atomic_load(&slot->snapshot);
        if (id > reached)
            reached = id;
    }
    return reached;
}
