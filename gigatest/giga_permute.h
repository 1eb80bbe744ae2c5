/* SPDX-License-Identifier: Apache-2.0 */
/* gigatest/giga_permute.h -- a seeded permutation of [0, count), computed, not stored.  Frozen. */
#ifndef GIGATEST_GIGA_PERMUTE_H
#define GIGATEST_GIGA_PERMUTE_H

#include <stdint.h>

#define GIGA_PERMUTE_ROUNDS 6
#define GIGA_PERMUTE_MAX (1ull << 62)

/*
 * A Feistel network over Z_rows x Z_columns, rows * columns >= count with less than one row to
 * spare, so that walking the cycle back into [0, count) is rare (Black and Rogaway, "Ciphers with
 * arbitrary finite domains", 2002, methods 2 and 3).
 */
struct giga_permute {
    uint64_t count;
    uint64_t rows, columns; /* both at most 2^31 */
    uint64_t keys[GIGA_PERMUTE_ROUNDS];
};

/* 1 <= count <= GIGA_PERMUTE_MAX */
void giga_permute_init(struct giga_permute *permute, uint64_t count, uint64_t seed);
/* index < count; the two are each other's inverse */
uint64_t giga_permute_forward(const struct giga_permute *permute, uint64_t index);
uint64_t giga_permute_back(const struct giga_permute *permute, uint64_t index);

#endif
