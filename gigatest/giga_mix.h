/* SPDX-License-Identifier: Apache-2.0 */
/* gigatest/giga_mix.h -- the mixing function under every choice gigatest makes.  Frozen. */
#ifndef GIGATEST_GIGA_MIX_H
#define GIGATEST_GIGA_MIX_H

#include <stdint.h>

/* Finaliser of splitmix64 (Steele, Lea and Flood, OOPSLA 2014, variant 13 of Stafford): a bijection
 * of 64 bits. */
static inline uint64_t
giga_mix(uint64_t value)
{
    value += 0x9e3779b97f4a7c15u;
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
    return value ^ (value >> 31);
}

/* The upper half of `value`, scaled to 0 <= r < bound (Lemire, 2019; the bias is below 2^-16 for
 * the bounds in use, and always the same). */
static inline uint32_t
giga_scale(uint64_t value, uint32_t bound)
{
    return (uint32_t)(((value >> 32) * bound) >> 32);
}

#endif
