/* SPDX-License-Identifier: Apache-2.0 */
/* engine/txn/lent.c -- what a read transaction has lent.  Invariants: engine/txn/lent.h. */
#include "engine/txn/lent.h"

#include <string.h>

#include "ftk/invariant.h"
#include "ftk/mem.h"

enum {
    GRANT_LEAVES = 16, /* asked for at a time */
    HOLD_SLOTS_MIN = 16,
};

void
lent_init(struct txn_lent *lent)
{
    memset(lent, 0, sizeof(*lent));
    lent->slots = 1;
}

void
lent_check(const struct txn_lent *lent)
{
    uint64_t pages = 0;

    FTK_INVARIANT_COUNT("what is lent");
    FTK_ASSERT(lent->slots >= 1 && lent->slots <= LENT_LEAVES_MAX && lent->next <= lent->slots);
    FTK_ASSERT((lent->newest == 0) == (lent->next == 0 && lent->leaf[0] == 0));
    FTK_ASSERT(lent->next == 0 || lent->leaf[lent->next - 1] == lent->newest);
    for (uint32_t i = lent->slots; i <= LENT_LEAVES_MAX; i++)
        FTK_ASSERT(lent->leaf[i] == 0);
    FTK_ASSERT(lent->run_count < LENT_RUNS_MAX);
    for (uint32_t i = 0; i < lent->run_count; i++)
        pages += lent->runs[i].pages;
    FTK_ASSERT(pages == lent->run_pages);
    FTK_ASSERT(lent->hold_count == 0 || lent->hold_count < lent->hold_slots);
}

/* ---- leaves ---------------------------------------------------------------------------------- */

/* All leaves but the newest are given back.  Their grant is the caller's from now on. */
static uint32_t
leaves_drop(struct txn_lent *lent, struct cache *cache)
{
    const struct cache_fast *fast = cache_fast(cache);
    uint32_t granted = lent->slots - 1;
    uint32_t newest = lent->next - 1; /* its slot: a leaf may be in the ring more than once */

    if (lent->newest == 0)
        return granted;
    FTK_ASSERT(lent->next > 0 && lent->leaf[newest] == lent->newest);
    for (uint32_t i = 0; i < lent->slots; i++) {
        if (lent->leaf[i] != 0 && i != newest)
            cache_unpin(fast, lent->leaf[i]);
        lent->leaf[i] = 0;
    }
    lent->leaf[0] = lent->newest;
    lent->slots = lent->next = 1;
    return granted;
}

/* Likewise the runs. */
static uint32_t
runs_drop(struct txn_lent *lent, struct cache *cache)
{
    uint32_t granted = lent->run_pages;

    for (uint32_t i = 0; i < lent->run_count; i++)
        cache_unpin_run(cache, lent->runs[i].first, lent->runs[i].pages);
    lent->run_count = lent->run_pages = 0;
    return granted;
}

static void
all_drop(struct txn_lent *lent, struct cache *cache)
{
    uint32_t granted = leaves_drop(lent, cache);

    granted += runs_drop(lent, cache);
    cache_lend_end(cache, granted);
}

/* At the end of the ring the oldest leaf is in its first slot: so a longer ring goes on behind the
 * newest. */
void
lent_round(struct txn_lent *lent, struct cache *cache)
{
    uint32_t more = LENT_LEAVES_MAX - lent->slots;

    FTK_ASSERT(lent->next == lent->slots && lent->newest != 0);
    if (FTK_UNLIKELY(cache_lends_too_much())) { /* the limit was lowered */
        all_drop(lent, cache);
        lent->wait = LENT_LEAVES_MAX;
        more = 0;
    } else if (lent->wait > 0) {
        lent->wait--;
        more = 0;
    } else if (more > 0) {
        more = cache_lend(cache, more < GRANT_LEAVES ? more : GRANT_LEAVES);
        lent->wait = more > 0 ? 0 : LENT_LEAVES_MAX / lent->slots;
    }
    lent->slots += more;
    if (more == 0)
        lent->next = 0;
    FTK_ASSERT(lent->next < lent->slots);
}

/* ---- runs ------------------------------------------------------------------------------------ */

static void
oldest_run_drop(struct txn_lent *lent, struct cache *cache)
{
    struct lent_run oldest = lent->runs[0];

    FTK_ASSERT(lent->run_count > 0 && lent->run_pages >= oldest.pages);
    cache_unpin_run(cache, oldest.first, oldest.pages);
    cache_lend_end(cache, oldest.pages);
    lent->run_pages -= oldest.pages;
    lent->run_count--;
    memmove(lent->runs, lent->runs + 1, lent->run_count * sizeof(lent->runs[0]));
}

static bool
run_granted(struct cache *cache, uint32_t pages)
{
    uint32_t granted = cache_lend(cache, pages);

    if (granted == pages)
        return true;
    cache_lend_end(cache, granted);
    return false;
}

void
lent_run_next(struct txn_lent *lent, struct cache *cache)
{
    uint64_t most = LENT_RUN_BYTES_MAX >> cache_fast(cache)->page_shift;
    struct lent_run run = lent->newest_run;

    if (run.pages == 0)
        return;
    lent->newest_run.pages = 0;
    while (lent->run_count > 0 &&
           (lent->run_count == LENT_RUNS_MAX - 1 || lent->run_pages + run.pages > most))
        oldest_run_drop(lent, cache);
    while (run.pages > most || !run_granted(cache, run.pages)) {
        if (lent->run_count == 0) {
            cache_unpin_run(cache, run.first, run.pages);
            return;
        }
        oldest_run_drop(lent, cache);
    }
    lent->runs[lent->run_count++] = run;
    lent->run_pages += run.pages;
    FTK_DEBUG_ASSERT((lent_check(lent), true));
}

void
lent_run(struct txn_lent *lent, struct cache *cache, struct lent_run run)
{
    FTK_ASSERT(run.pages > 0 && lent->newest_run.pages == 0);
    lent->newest_run = run;
    if (lent->run_count > 0 && lent->runs[lent->run_count - 1].first == run.first) {
        /* asked for again: one pin will do */
        FTK_ASSERT(lent->runs[lent->run_count - 1].pages == run.pages);
        cache_unpin_run(cache, run.first, run.pages);
        cache_lend_end(cache, run.pages);
        lent->run_pages -= run.pages;
        lent->run_count--;
    }
    FTK_DEBUG_ASSERT((lent_check(lent), true));
}

/* ---- holds ----------------------------------------------------------------------------------- */

/* The slot of what begins here and has this size, or the empty one that it would take. */
static size_t
hold_slot(const struct txn_lent *lent, const void *data, size_t size)
{
    size_t mask = lent->hold_slots - 1;
    size_t slot =
        (size_t)(((uintptr_t)data ^ size << 40) * UINT64_C(0x9e3779b97f4a7c15) >> 32) & mask;

    while (lent->holds[slot].data != NULL &&
           (lent->holds[slot].data != data || lent->holds[slot].size != size))
        slot = (slot + 1) & mask;
    return slot;
}

bool
lent_find(const struct txn_lent *lent, const void *data, size_t size, uint64_t page,
          struct lent_run *run_out)
{
    if (page - lent->shown.first < lent->shown.pages) {
        *run_out = lent->shown;
        return true;
    }
    for (uint32_t i = 0; i < lent->slots; i++)
        if (lent->leaf[i] == page && page != 0) {
            *run_out = (struct lent_run){page, 1};
            return true;
        }
    if (page - lent->newest_run.first < lent->newest_run.pages) {
        *run_out = lent->newest_run;
        return true;
    }
    for (uint32_t i = 0; i < lent->run_count; i++)
        if (page - lent->runs[i].first < lent->runs[i].pages) {
            *run_out = lent->runs[i];
            return true;
        }
    if (lent->hold_count == 0 || lent->holds[hold_slot(lent, data, size)].data == NULL)
        return false;
    *run_out = lent->holds[hold_slot(lent, data, size)].run;
    return true;
}

/* Room for one more: less than half of the slots are taken. */
static ftk_status
hold_reserve(struct txn_lent *lent)
{
    struct lent_hold *old = lent->holds;
    size_t old_slots = lent->hold_slots;
    size_t slots = old_slots == 0 ? HOLD_SLOTS_MIN : 2 * old_slots;
    ftk_status rc;

    if (2 * (lent->hold_count + 1) < old_slots)
        return FTK_OK;
    rc = FTK_NEW_ARRAY(&lent->holds, slots);
    if (rc != FTK_OK) {
        lent->holds = old;
        return rc;
    }
    lent->hold_slots = slots;
    for (size_t i = 0; i < old_slots; i++)
        if (old[i].data != NULL)
            lent->holds[hold_slot(lent, old[i].data, old[i].size)] = old[i];
    ftk_free(old);
    return FTK_OK;
}

/* One pin more. */
static void
run_pin(struct cache *cache, struct lent_run run)
{
    for (uint32_t i = 0; i < run.pages; i++)
        cache_pin(cache_fast(cache), run.first + i);
}

static bool
run_pinned_often(struct cache *cache, struct lent_run run)
{
    for (uint32_t i = 0; i < run.pages; i++)
        if (FTK_UNLIKELY(cache_pins_many(cache_fast(cache), run.first + i)))
            return true;
    return false;
}

/* A grant for a hold: if it comes to that, the one of what is lent beside.  The run is pinned by
 * the caller, whatever is given back. */
static bool
hold_granted(struct txn_lent *lent, struct cache *cache, uint32_t pages)
{
    uint32_t granted = cache_lend(cache, pages);

    if (FTK_LIKELY(granted == pages))
        return true;
    if (granted + lent->slots - 1 + lent->run_pages < pages) {
        cache_lend_end(cache, granted);
        return false;
    }
    granted += leaves_drop(lent, cache);
    if (granted < pages)
        granted += runs_drop(lent, cache);
    FTK_ASSERT(granted >= pages);
    cache_lend_end(cache, granted - pages);
    return true;
}

ftk_status
lent_hold(struct txn_lent *lent, struct cache *cache, const void *data, size_t size,
          struct lent_run run)
{
    struct lent_hold *hold;
    ftk_status rc = hold_reserve(lent);

    if (rc != FTK_OK)
        return rc;
    hold = &lent->holds[hold_slot(lent, data, size)];
    if (hold->data != NULL) {
        FTK_ASSERT(hold->run.first == run.first);
        FTK_ASSERT(hold->count > 0);
        if (hold->count == UINT32_MAX)
            return FTK_FAIL(FTK_NOMEM, "hold: %u times already", hold->count);
        hold->count++;
        return FTK_OK;
    }
    if (run_pinned_often(cache, run))
        return FTK_FAIL(FTK_NOMEM, "hold: %d times readers hold or look at a page already",
                        CACHE_PINS_MOST);
    run_pin(cache, run);
    if (!hold_granted(lent, cache, run.pages)) {
        cache_unpin_run(cache, run.first, run.pages);
        return FTK_FAIL(FTK_NOMEM,
                        "hold: readers have lent or hold an eighth of the cache limit of %llu "
                        "bytes, which is as much as may be",
                        (unsigned long long)cache_limit());
    }
    *hold = (struct lent_hold){.data = data, .size = size, .run = run, .count = 1};
    lent->hold_count++;
    FTK_DEBUG_ASSERT((lent_check(lent), true));
    return FTK_OK;
}

/* Entries behind the one that was taken out move up to where they are looked for. */
static void
hold_remove(struct txn_lent *lent, size_t slot)
{
    size_t mask = lent->hold_slots - 1;

    lent->holds[slot].data = NULL;
    for (size_t i = (slot + 1) & mask; lent->holds[i].data != NULL; i = (i + 1) & mask) {
        struct lent_hold moved = lent->holds[i];
        lent->holds[i].data = NULL;
        lent->holds[hold_slot(lent, moved.data, moved.size)] = moved;
    }
    lent->hold_count--;
}

static void
hold_end(struct cache *cache, const struct lent_hold *hold)
{
    cache_unpin_run(cache, hold->run.first, hold->run.pages);
    cache_lend_end(cache, hold->run.pages);
}

ftk_status
lent_release(struct txn_lent *lent, struct cache *cache, const void *data, size_t size)
{
    size_t slot;

    if (lent->hold_count == 0 || data == NULL)
        return FTK_FAIL(FTK_INVALID, "release: the value is not held");
    slot = hold_slot(lent, data, size);
    if (lent->holds[slot].data == NULL)
        return FTK_FAIL(FTK_INVALID, "release: the value is not held");
    FTK_ASSERT(lent->holds[slot].count > 0);
    if (--lent->holds[slot].count > 0)
        return FTK_OK;
    hold_end(cache, &lent->holds[slot]);
    hold_remove(lent, slot);
    return FTK_OK;
}

/* ---- the end --------------------------------------------------------------------------------- */

void
lent_end_slow(struct txn_lent *lent, struct cache *cache)
{
    all_drop(lent, cache);
    cache_unpin_run(cache, lent->newest_run.first, lent->newest_run.pages);
    lent->newest_run = (struct lent_run){0};
    for (size_t i = 0; i < lent->hold_slots && lent->hold_count > 0; i++)
        if (lent->holds[i].data != NULL) {
            hold_end(cache, &lent->holds[i]);
            lent->holds[i].data = NULL;
            lent->hold_count--;
        }
    if (lent->hold_slots > HOLD_SLOTS_MIN)
        lent_free(lent);
    lent->wait = 0;
}

void
lent_free(struct txn_lent *lent)
{
    FTK_ASSERT(lent->hold_count == 0);
    ftk_free(lent->holds);
    lent->holds = NULL;
    lent->hold_slots = 0;
}
