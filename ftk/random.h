/* SPDX-License-Identifier: Apache-2.0 */
/* ftk/random.h -- seeded pseudo-random numbers (not for secrets), and entropy of the system. */
#ifndef FTK_RANDOM_H
#define FTK_RANDOM_H

#include <stddef.h>
#include <stdint.h>

struct ftk_random {
    uint64_t state[4]; /* xoshiro256**, Blackman and Vigna */
};
void ftk_random_seed(struct ftk_random *random, uint64_t seed);
uint64_t ftk_random_next(struct ftk_random *random);
uint64_t ftk_random_below(struct ftk_random *random, uint64_t bound); /* 0 <= r < bound, unbiased */
/* The draw of this number from a seed, without a generator (splitmix64, Steele, Lea and Flood). */
uint64_t ftk_random_at(uint64_t seed, uint64_t number);
double ftk_random_double(struct ftk_random *random); /* 0 <= r < 1 */

/* Entropy of the operating system (database identities, default seeds); a test can replace it. */
void ftk_random_system(void *memory, size_t size);
void ftk_random_system_use(void (*fill)(void *context, void *memory, size_t size), void *context);

#endif
