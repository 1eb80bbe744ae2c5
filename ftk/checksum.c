/* SPDX-License-Identifier: Apache-2.0 */
/* ftk/checksum.c -- XXH3, 64 bits. */
#include "ftk/checksum.h"

#include <xxhash.h>

uint64_t
ftk_checksum(const void *memory, size_t size, uint64_t seed)
{
    return XXH3_64bits_withSeed(memory, size, seed);
}
