/* SPDX-License-Identifier: Apache-2.0 */
/* ftk/random.c -- xoshiro256** (Blackman and Vigna, 2018), seeded through splitmix64. */
#include "ftk/random.h"

#include <errno.h>
#include <sys/random.h>

#include "ftk/status.h"

static void (*system_fill)(void *context, void *memory, size_t size);
static void *system_context;

uint64_t
ftk_random_at(uint64_t seed, uint64_t number)
{
    uint64_t z = seed + (number + 1) * 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

void
ftk_random_seed(struct ftk_random *random, uint64_t seed)
{
    for (unsigned i = 0; i < 4; i++)
        random->state[i] = ftk_random_at(seed, i);
}

static inline uint64_t
rotate_left(uint64_t v, int bits)
{
    return (v << bits) | (v >> (64 - bits));
}

uint64_t
ftk_random_next(struct ftk_random *random)
{
    uint64_t *s = random->state;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

uint64_t
ftk_random_below(struct ftk_random *random, uint64_t bound)
{
    FTK_ASSERT(bound > 0);
    if ((bound & (bound - 1)) == 0)
        return ftk_random_next(random) & (bound - 1);

    /* Numbers below 2^64 mod bound would make some results likelier: draw again. */
    uint64_t unfair = (0 - bound) % bound;
    uint64_t r;
    do
        r = ftk_random_next(random);
    while (r < unfair);
    return r % bound;
}

double
ftk_random_double(struct ftk_random *random)
{
    return (double)(ftk_random_next(random) >> 11) * 0x1.0p-53;
}

void
ftk_random_system(void *memory, size_t size)
{
    if (FTK_UNLIKELY(system_fill != NULL)) {
        system_fill(system_context, memory, size);
        return;
    }
    unsigned char *at = memory;
    while (size > 0) {
        ssize_t got = getrandom(at, size, 0);
        FTK_ASSERT(got > 0 || errno == EINTR);
        if (got > 0) {
            at += got;
            size -= (size_t)got;
        }
    }
}

void
ftk_random_system_use(void (*fill)(void *context, void *memory, size_t size), void *context)
{
    system_fill = fill;
    system_context = context;
}
