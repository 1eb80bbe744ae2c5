/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/support/forge.h -- pages of a closed database on a simulated disk, changed and sealed
 * again: every checksum is right, and what it covers is not.
 */
#ifndef TESTS_SUPPORT_FORGE_H
#define TESTS_SUPPORT_FORGE_H

#include "engine/page/node.h"
#include "tests/support/simdisk.h"

struct forge {
    struct simdisk *disk; /* borrowed */
    const char *path;     /* of data.kdb */
    uint32_t page_bytes;
    uint64_t salt, pages;
};

/* Of a database whose header is whole. */
struct forge forge_of(struct simdisk *disk, const char *path);
void forge_read(const struct forge *forge, uint64_t page_id, uint8_t *page);
/* With the checksum that belongs to the bytes. */
void forge_write(const struct forge *forge, uint64_t page_id, uint8_t *page);
/* Every header block whose checksum is right is given to `change`, and sealed again. */
void forge_headers(const struct forge *forge, void (*change)(void *context, uint8_t *block),
                   void *context);

/* The first page of this type, from the end of the file on, that holds the key (its bytes, not
 * those that an older version of the page may still have there); 0: there is none. */
uint64_t forge_find(const struct forge *forge, enum page_type type, const void *key,
                    uint32_t key_size, uint8_t *page);
/* Move an entry of a leaf to another place, which its key does not fit. */
void forge_move(const struct forge *forge, uint8_t *page, uint32_t from, uint32_t to);

#endif
