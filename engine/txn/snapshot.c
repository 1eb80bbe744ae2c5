/* SPDX-License-Identifier: Apache-2.0 */
/* engine/txn/snapshot.c -- the published snapshot, and what no snapshot needs any longer. */
#include <stdlib.h>
#include <string.h>

#include "engine/txn/txn_state.h"
#include "ftk/mem.h"
#include "ftk/spin.h"

/*
 * A sequence lock of one writer (publish_mutex) and any readers: a reader that has seen one of the
 * words change (acquire) sees the odd number that was stored before it (release).  The id is
 * besides a word of the protocol of pins (window.h), and read alone there: hence seq_cst.
 */
void
db_publish(kiln_db *db, const struct db_snapshot *snapshot)
{
    struct db_published *p = &db->published;
    uint64_t both = (uint64_t)snapshot->catalog_height << 32 | snapshot->coll_next;

    ftk_mutex_lock(&db->publish_mutex);
    if (snapshot->id > atomic_load_explicit(&p->words[0], memory_order_relaxed)) {
        atomic_fetch_add(&p->sequence, 1);
        atomic_store(&p->words[0], snapshot->id);
        atomic_store_explicit(&p->words[1], snapshot->catalog_root.bits, memory_order_release);
        atomic_store_explicit(&p->words[2], snapshot->catalog_keys, memory_order_release);
        atomic_store_explicit(&p->words[3], both, memory_order_release);
        atomic_store_explicit(&p->words[4], snapshot->lsn, memory_order_release);
        atomic_store_explicit(&p->words[5], snapshot->applied, memory_order_release);
        atomic_fetch_add(&p->sequence, 1);
    }
    FTK_ASSERT((atomic_load(&p->sequence) & 1) == 0);
    ftk_mutex_unlock(&db->publish_mutex);
}

void
db_published_get(kiln_db *db, struct db_snapshot *snapshot)
{
    struct db_published *p = &db->published;
    unsigned turns = 0;
    uint64_t before;

    do {
        while (FTK_UNLIKELY((before = atomic_load(&p->sequence)) & 1))
            ftk_spin_turn(&turns);
        uint64_t both = atomic_load(&p->words[3]);
        snapshot->id = atomic_load(&p->words[0]);
        snapshot->catalog_root.bits = atomic_load(&p->words[1]);
        snapshot->catalog_keys = atomic_load(&p->words[2]);
        snapshot->catalog_height = (uint32_t)(both >> 32);
        snapshot->coll_next = (uint32_t)both;
        snapshot->lsn = atomic_load(&p->words[4]);
        snapshot->applied = atomic_load(&p->words[5]);
    } while (atomic_load(&p->sequence) != before);
}

/* Of a snapshot that is being published it may be the id already; whoever then reads the whole
 * waits for it. */
uint64_t
db_published_id(kiln_db *db)
{
    return atomic_load(&db->published.words[0]);
}

/* Whoever frees pages publishes first, then reads the slots; whoever pins looks at what is
 * published once more after that (db_pin in window.c). */
void
snapshots_reclaim(kiln_db *db)
{
    uint64_t published = db_published_id(db);
    uint64_t few[128];
    uint64_t *pins = few;
    size_t count = 0, capacity = 128;

    if (!space_reclaim_due(db->space, published))
        return;
    for (struct cache_slot *slot = NULL; (slot = cache_slot_next(db->cache, slot)) != NULL;) {
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
        FTK_ASSERT(count < capacity);
        pins[count++] = id;
    }
    qsort(pins, count, sizeof(*pins), ftk_u64_order);
    space_reclaim(db->space, published, pins, count);
out:
    if (pins != few)
        ftk_free(pins);
}
