/* SPDX-License-Identifier: Apache-2.0 */
/* gigatest/giga_permute.c -- see giga_permute.h. */
#include "gigatest/giga_permute.h"

#include "gigatest/giga_mix.h"

static uint64_t
root_up(uint64_t count) /* the least r with r * r >= count */
{
    uint64_t root = 1;

    while (root * root < count)
        root <<= 1;
    for (uint64_t step = root >> 1; step > 0; step >>= 1) {
        if ((root - step) * (root - step) >= count)
            root -= step;
    }
    return root;
}

void
giga_permute_init(struct giga_permute *permute, uint64_t count, uint64_t seed)
{
    permute->count = count;
    permute->rows = root_up(count);
    permute->columns = (count + permute->rows - 1) / permute->rows;
    for (uint32_t i = 0; i < GIGA_PERMUTE_ROUNDS; i++)
        permute->keys[i] = giga_mix(seed ^ giga_mix(i + 1));
}

/* 0 <= r < bound, from the other half and the round's key. */
static inline uint64_t
offset(uint64_t half, uint64_t key, uint64_t bound)
{
    uint64_t value = (half ^ key) * 0xbf58476d1ce4e5b9u;

    value = (value ^ (value >> 29) ^ (key << 7)) * 0x94d049bb133111ebu;
    return ((value >> 32) * bound) >> 32;
}

uint64_t
giga_permute_forward(const struct giga_permute *permute, uint64_t index)
{
    do {
        uint64_t row = index / permute->columns;
        uint64_t column = index % permute->columns;

        for (uint32_t i = 0; i < GIGA_PERMUTE_ROUNDS; i += 2) {
            row += offset(column, permute->keys[i], permute->rows);
            row -= row >= permute->rows ? permute->rows : 0;
            column += offset(row, permute->keys[i + 1], permute->columns);
            column -= column >= permute->columns ? permute->columns : 0;
        }
        index = row * permute->columns + column;
    } while (index >= permute->count);
    return index;
}

uint64_t
giga_permute_back(const struct giga_permute *permute, uint64_t index)
{
    do {
        uint64_t row = index / permute->columns;
        uint64_t column = index % permute->columns;

        for (uint32_t i = GIGA_PERMUTE_ROUNDS; i > 0; i -= 2) {
            uint64_t down = offset(row, permute->keys[i - 1], permute->columns);
            uint64_t across;

            column += column < down ? permute->columns - down : 0 - down;
            across = offset(column, permute->keys[i - 2], permute->rows);
            row += row < across ? permute->rows - across : 0 - across;
        }
        index = row * permute->columns + column;
    } while (index >= permute->count);
    return index;
}
