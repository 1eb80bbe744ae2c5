/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/test_cache_invariants.c -- cache__check_state and cache__check notice each state and
 * account that is not what it must be.
 */
#include "cache/cache_internal.h"
#include "tests/support/simdisk.h"
#include "tests/unit/test_cache_fixture.h"

enum { PAGES = 256, MADE = 16 };

static void
look_at(void *context)
{
    cache__check_state(*(const uint32_t *)context);
}

#define STATE_DIES(state, words) CHECK_DIES(look_at, &(uint32_t){state}, words)

static void
a_state_that_cannot_be_dies(void)
{
    cache__check_state(CACHE_ABSENT | CACHE_FREE);
    cache__check_state(CACHE_RESIDENT | CACHE_DIRTY | CACHE_SEALING);
    cache__check_state(CACHE_RESIDENT | CACHE_DIRTY | CACHE_WRITING);
    STATE_DIES(CACHE_ABSENT | CACHE_DIRTY, "CACHE_FREE");
    STATE_DIES(CACHE_READING | CACHE_DIRTY, "CACHE_WAITED | CACHE_COVERED");
    STATE_DIES(CACHE_RESIDENT | CACHE_WAITED, "flags & CACHE_WAITED");
    STATE_DIES(CACHE_EVICTING | CACHE_WRITING, "CACHE_SEALING | CACHE_WRITING");
    STATE_DIES(CACHE_LEAVING | CACHE_DIRTY, "CACHE_DIRTY | CACHE_SEALING");
    STATE_DIES(CACHE_FRESH | CACHE_FREE, "CACHE_FREE | CACHE_WAITED");
    STATE_DIES(CACHE_RESIDENT | CACHE_FREE | CACHE_REF, "flags & alive");
    STATE_DIES(CACHE_RESIDENT | CACHE_DIRTY | CACHE_SEALING | CACHE_WRITING,
               "flags & CACHE_WRITING");
    STATE_DIES(CACHE_RESIDENT | CACHE_SEALING, "CACHE_DIRTY | CACHE_FREE");
}

static void
check(struct fixture *f)
{
    cache__check(f->cache);
}

static void
charge_lost(void *context)
{
    struct fixture *f = context;

    atomic_fetch_sub(&f->cache->used_pages, 1);
    check(f);
}

static void
dirty_without_a_mark(void *context)
{
    struct fixture *f = context;

    atomic_fetch_or(&f->fast->states[3], CACHE_DIRTY); /* 3 was written */
    check(f);
}

static void
dirty_miscounted(void *context)
{
    struct fixture *f = context;

    atomic_fetch_and(&f->fast->states[MADE - 1], ~(uint32_t)CACHE_DIRTY);
    check(f);
}

static void
read_that_never_ended(void *context)
{
    struct fixture *f = context;

    atomic_store(&f->fast->states[3], CACHE_READING);
    check(f);
}

static void
write_that_never_ended(void *context)
{
    struct fixture *f = context;

    atomic_store(&f->cache->write_left, 1);
    check(f);
}

static void
beyond_the_address_space(void *context)
{
    struct fixture *f = context;

    atomic_store(&f->cache->resident.end, f->fast->pages_max + 1);
    check(f);
}

static void
a_broken_account_dies(void)
{
    struct simdisk *disk = simdisk_new(NULL);
    struct fixture f;

    fixture_open_on(&f, simdisk_disk(disk), "/data", PAGES);
    REQUIRE_OK(cache_reserve(f.cache, MADE));
    for (uint64_t id = 0; id < MADE; id++) {
        if (id == MADE / 2)
            REQUIRE_OK(cache_write_dirty(f.cache, UINT64_MAX, NULL));
        fixture_make(&f, id, 1, 1);
    }
    cache_unreserve(f.cache);
    check(&f);
    CHECK_DIES(charge_lost, &f, "tally.charged == ");
    CHECK_DIES(dirty_without_a_mark, &f, "CACHE_DIRTY");
    CHECK_DIES(dirty_miscounted, &f, "tally.dirty");
    CHECK_DIES(read_that_never_ended, &f, "kind != CACHE_READING");
    CHECK_DIES(write_that_never_ended, &f, "cache->write_left");
    CHECK_DIES(beyond_the_address_space, &f, "end <= cache->fast.pages_max");
    check(&f); /* all of it was the children's */
    fixture_close(&f);
    simdisk_free(disk);
}

TEST_MAIN("cache_invariants", TEST(a_state_that_cannot_be_dies), TEST(a_broken_account_dies))
