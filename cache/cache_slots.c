/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache/cache_slots.c -- slots: what users of the cache announce, and how others walk over them.
 *
 * A board has a bit for each of its slots, and their memory in chunks of 64, made when one of them
 * is first taken.  Writers and evictors walk over the bits that are set, so they pay for the slots
 * that are taken now: 4,000 readers that have come and gone cost a look at 64 words.
 *
 * 1. The lowest free slot of a board is taken: chunks come into being in their order, and after a
 *    burst the slots in use gather at the front.
 * 2. Boards and chunks are never unlinked while the cache lives.  Only when a board is full is
 *    another begun behind it.
 * 3. Order.  A taker sets the bit, then writes to the slot (its epoch, its snapshot), then looks at
 *    what it announced itself for (a page's state, the published snapshot).  A walker changes that,
 *    then looks at the bit, then at the slot.  All of these are sequentially consistent: a walker
 *    that finds the bit clear has made its change before the taker looks.
 */
#include <string.h>

#include "cache/cache_internal.h"
#include "ftk/mem.h"

/* Set the lowest clear bit of a word; CACHE__SLOT_CHUNK: there is none. */
static unsigned
word_take(_Atomic uint64_t *word)
{
    uint64_t taken = atomic_load_explicit(word, memory_order_relaxed);

    while (taken != UINT64_MAX) {
        unsigned bit = (unsigned)__builtin_ctzll(~taken);
        if (atomic_compare_exchange_weak(word, &taken, taken | UINT64_C(1) << bit))
            return bit;
    }
    return CACHE__SLOT_CHUNK;
}

/* The memory of a chunk, made by whoever comes first. */
static ftk_status
chunk_need(struct cache *cache, struct cache__board *board, unsigned word,
           struct cache_slot **chunk_out)
{
    struct cache_slot *made = NULL;
    const size_t bytes = CACHE__SLOT_CHUNK * sizeof(*made);
    ftk_status rc;

    *chunk_out = atomic_load(&board->chunks[word]);
    if (*chunk_out != NULL)
        return FTK_OK;
    rc = ftk_alloc_aligned(64, bytes, (void **)&made);
    if (rc != FTK_OK)
        return rc;
    memset(made, 0, bytes);
    for (unsigned i = 0; i < CACHE__SLOT_CHUNK; i++) {
        made[i].cache = cache;
        made[i].board = board;
        made[i].number = word * CACHE__SLOT_CHUNK + i;
    }
    if (atomic_compare_exchange_strong(&board->chunks[word], chunk_out, made))
        *chunk_out = made;
    else
        ftk_free(made);
    return FTK_OK;
}

/* The board behind a full one, made by whoever comes first. */
static ftk_status
board_next(struct cache__board **board_inout)
{
    struct cache__board *board = *board_inout, *made = NULL;
    ftk_status rc = FTK_OK;

    *board_inout = atomic_load(&board->next);
    if (*board_inout != NULL)
        return FTK_OK;
    rc = FTK_NEW(&made);
    if (rc != FTK_OK)
        return rc;
    if (atomic_compare_exchange_strong(&board->next, board_inout, made))
        *board_inout = made;
    else
        ftk_free(made);
    return FTK_OK;
}

/* A slot of this board; *slot_out NULL: they are all taken. */
static ftk_status
board_take(struct cache *cache, struct cache__board *board, struct cache_slot **slot_out)
{
    for (unsigned word = 0; word < CACHE__SLOT_WORDS; word++) {
        struct cache_slot *chunk;
        ftk_status rc;
        unsigned bit;
        if (atomic_load_explicit(&board->taken[word], memory_order_relaxed) == UINT64_MAX)
            continue;
        rc = chunk_need(cache, board, word, &chunk); /* before the bit: a walker goes there */
        if (rc != FTK_OK)
            return rc;
        bit = word_take(&board->taken[word]);
        if (bit < CACHE__SLOT_CHUNK) {
            *slot_out = &chunk[bit];
            return FTK_OK;
        }
    }
    return FTK_OK;
}

ftk_status
cache_slot_take(struct cache *cache, struct cache_slot **slot_out)
{
    struct cache__board *board = &cache->board;
    ftk_status rc;

    *slot_out = NULL;
    for (;;) {
        rc = board_take(cache, board, slot_out);
        if (rc != FTK_OK)
            return rc;
        if (*slot_out != NULL)
            break;
        rc = board_next(&board);
        if (rc != FTK_OK)
            return rc;
    }
    FTK_ASSERT(atomic_load(&(*slot_out)->epoch) == 0);
    FTK_ASSERT(atomic_load(&(*slot_out)->snapshot) == 0);
    return FTK_OK;
}

void
cache_slot_give(struct cache_slot *slot)
{
    _Atomic uint64_t *word = &slot->board->taken[slot->number / CACHE__SLOT_CHUNK];
    uint64_t bit = UINT64_C(1) << (slot->number % CACHE__SLOT_CHUNK);

    FTK_ASSERT(atomic_load(&slot->epoch) == 0);
    atomic_store(&slot->snapshot, 0);
    uint64_t before = atomic_fetch_and(word, ~bit);
    FTK_ASSERT((before & bit) != 0);
}

struct cache_slot *
cache_slot_next(struct cache *cache, struct cache_slot *slot)
{
    struct cache__board *board = slot == NULL ? &cache->board : slot->board;
    uint32_t number = slot == NULL ? 0 : slot->number + 1; /* from here on */

    for (; board != NULL; board = atomic_load(&board->next), number = 0)
        for (uint32_t word = number / CACHE__SLOT_CHUNK; word < CACHE__SLOT_WORDS; word++) {
            struct cache_slot *chunk = atomic_load(&board->chunks[word]);
            if (chunk == NULL) /* rule 1: none behind it was ever taken */
                return NULL;
            uint64_t taken = atomic_load(&board->taken[word]);
            if (word == number / CACHE__SLOT_CHUNK)
                taken &= UINT64_MAX << (number % CACHE__SLOT_CHUNK);
            if (taken != 0)
                return &chunk[__builtin_ctzll(taken)];
        }
    return NULL;
}

void
cache__slots_release(struct cache *cache)
{
    for (struct cache__board *board = &cache->board, *next; board != NULL; board = next) {
        next = atomic_load(&board->next);
        for (unsigned word = 0; word < CACHE__SLOT_WORDS; word++)
            ftk_free(atomic_load(&board->chunks[word]));
        if (board != &cache->board)
            ftk_free(board);
    }
}
