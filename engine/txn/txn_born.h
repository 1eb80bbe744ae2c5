/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/txn/txn_born.h -- the pages that an open transaction has made and still has.
 *
 * A list in the order of making, so that what a savepoint's scope made is its tail.  A page that
 * its own scope no longer needs leaves the list at once and goes back to the space map: who makes
 * and drops pages for ever in one transaction needs no more of them than it has at a time.  To
 * leave, a page is found by an index that is built when the first one leaves: most transactions
 * never drop a page they made, and pay nothing.
 *
 * Invariants
 * 1. No page is in the list twice, and none of it is free in the space map.
 * 2. Removing takes from the tail behind every open savepoint's mark only: the marks stay true.
 */
#ifndef ENGINE_TXN_BORN_H
#define ENGINE_TXN_BORN_H

#include "engine/space/space.h"

struct txn_born {
    struct space_extents list;
    uint32_t *index;    /* first page of an extent -> its place in the list + 1, open addressing */
    size_t index_slots; /* a power of two; 0: there is no index */
};

/* Room for `more` extents.  errors: FTK_NOMEM. */
ftk_status txn_born_ensure(struct txn_born *born, size_t more);
/* Add without failing: room was ensured. */
void txn_born_add(struct txn_born *born, struct space_extent extent);
/*
 * Take out an extent that is at place `from` or behind it.  False: no memory for the index, it
 * stays; or, with *there_out false, it is not there: a tree on disk reaches it twice.
 */
bool txn_born_remove(struct txn_born *born, struct space_extent extent, size_t from,
                     bool *there_out);
/* Forget all from place `from` on. */
void txn_born_cut(struct txn_born *born, size_t from);
void txn_born_reset(struct txn_born *born); /* empty, for the next transaction */
void txn_born_release(struct txn_born *born);
/* Invariant 1, expensive; and the index says what the list says. */
bool txn_born_is_sound(const struct txn_born *born, struct space *space);

#endif
