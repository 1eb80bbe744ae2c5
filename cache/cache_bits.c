/* SPDX-License-Identifier: Apache-2.0 */
/* cache/cache_bits.c -- sets of page ids in two levels; the rules stand at struct cache__bits. */
#include "cache/cache_internal.h"

/* Bits 0 .. n-1; n <= 64. */
static uint64_t
low_bits(uint64_t n)
{
    return n >= 64 ? UINT64_MAX : (UINT64_C(1) << n) - 1;
}

static void
summary_set(struct cache__bits *bits, uint64_t word)
{
    uint64_t bit = UINT64_C(1) << (word % 64);

    if ((atomic_load(&bits->summary[word / 64]) & bit) == 0)
        atomic_fetch_or(&bits->summary[word / 64], bit);
}

void
cache__bits_set(struct cache__bits *bits, uint64_t id)
{
    uint64_t end = atomic_load_explicit(&bits->end, memory_order_relaxed);

    while (end <= id && !atomic_compare_exchange_weak(&bits->end, &end, id + 1))
        ;
    /* Who clears a bit looks at the page after that: a bit still set will be looked at. */
    if ((atomic_load(&bits->leaf[id / 64]) >> (id % 64) & 1) == 0)
        atomic_fetch_or(&bits->leaf[id / 64], UINT64_C(1) << (id % 64));
    summary_set(bits, id / 64);
}

void
cache__bits_set_word(struct cache__bits *bits, uint64_t word, uint64_t mask)
{
    FTK_ASSERT(mask == 0 ||
               word * 64 + 63 - (uint64_t)__builtin_clzll(mask) < atomic_load(&bits->end));
    atomic_fetch_or(&bits->leaf[word], mask);
    summary_set(bits, word);
}

bool
cache__bits_has(const struct cache__bits *bits, uint64_t id)
{
    return (atomic_load(&bits->leaf[id / 64]) >> (id % 64) & 1) != 0;
}

void
cache__bits_clear(struct cache__bits *bits, uint64_t id)
{
    atomic_fetch_and(&bits->leaf[id / 64], ~(UINT64_C(1) << (id % 64)));
}

uint64_t
cache__bits_next(struct cache__bits *bits, uint64_t *word_inout, uint64_t word_end)
{
    uint64_t word = *word_inout;

    while (word < word_end) {
        uint64_t summary = atomic_load(&bits->summary[word / 64]) & ~low_bits(word % 64);
        if (summary == 0) {
            word = (word / 64 + 1) * 64;
            continue;
        }
        word = word / 64 * 64 + (uint64_t)__builtin_ctzll(summary);
        if (word >= word_end)
            break;
        uint64_t leaf = atomic_load(&bits->leaf[word]);
        if (leaf != 0) {
            *word_inout = word;
            return leaf;
        }
        atomic_fetch_and(&bits->summary[word / 64], ~(UINT64_C(1) << (word % 64)));
        if (atomic_load(&bits->leaf[word]) != 0)
            summary_set(bits, word); /* and look at it once more */
        else
            word++;
    }
    *word_inout = word_end;
    return 0;
}
