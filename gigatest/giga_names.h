/* SPDX-License-Identifier: Apache-2.0 */
/* gigatest/giga_names.h -- two lists of names, made by a rule.  Frozen: a database loaded yesterday
 * must verify tomorrow, so the rule's tables, its generator and its counts never change. */
#ifndef GIGATEST_GIGA_NAMES_H
#define GIGATEST_GIGA_NAMES_H

#include <stdbool.h>
#include <stdint.h>

#define GIGA_GIVEN_COUNT 9000u
#define GIGA_FAMILY_COUNT 12500u
#define GIGA_COMBINATIONS ((uint64_t)GIGA_GIVEN_COUNT * GIGA_FAMILY_COUNT) /* 112,500,000 */
#define GIGA_NAME_BYTES 12                                                 /* zero-filled */

struct giga_name {
    char text[GIGA_NAME_BYTES]; /* 3..9 letters of ASCII, the first a capital */
    uint16_t size;
    uint16_t reserved;
};

/* Both ascending by bytes, and distinct. */
struct giga_names {
    struct giga_name given[GIGA_GIVEN_COUNT];
    struct giga_name family[GIGA_FAMILY_COUNT];
};

/* A few milliseconds.  NULL: no memory.  Free with giga_names_free. */
struct giga_names *giga_names_new(void);
void giga_names_free(struct giga_names *names); /* NULL is fine */

#endif
