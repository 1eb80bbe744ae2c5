/* SPDX-License-Identifier: Apache-2.0 */
/* ftk/mem.h -- memory: every allocation of kiln goes through here and can be made to fail. */
#ifndef FTK_MEM_H
#define FTK_MEM_H

#include <stddef.h>
#include <stdint.h>

#include "ftk/status.h"

/* owner: *out is owned, free with ftk_free; NULL on failure.  errors: FTK_NOMEM. */
ftk_status ftk_alloc(size_t size, void **out);  /* contents undefined */
ftk_status ftk_zalloc(size_t size, void **out); /* zeroed */
/* alignment: a power of two, at least sizeof(void *). */
ftk_status ftk_alloc_aligned(size_t alignment, size_t size, void **out);
/* *inout is resized; on failure it is unchanged and still valid. */
ftk_status ftk_realloc(void **inout, size_t size);
ftk_status ftk_strdup(const char *text, char **out);
void ftk_free(void *memory); /* NULL is fine; memory of any of the functions above */

/* Typed forms: struct foo *p; FTK_TRY(FTK_NEW(&p)); */
#define FTK_NEW(pp) ftk_zalloc(sizeof(**(pp)), (void **)(pp))
#define FTK_NEW_ARRAY(pp, n) ftk_zalloc_array(sizeof(**(pp)), (size_t)(n), (void **)(pp))
/* count elements of size bytes, zeroed.  errors: FTK_NOMEM, also when the product overflows. */
ftk_status ftk_zalloc_array(size_t size, size_t count, void **out);

/*
 * Reserve address space without committing memory (PROT_NONE is not used: pages appear when
 * touched).  errors: FTK_NOMEM (address space limit).
 */
ftk_status ftk_region_reserve(size_t size, void **out);
void ftk_region_release(void *region, size_t size);
/* Give the memory of whole pages back to the operating system; contents become zero. */
void ftk_region_discard(void *address, size_t size);

/* Bytes in live allocations, as they were asked for; regions do not count. */
uint64_t ftk_mem_bytes(void);
/* Number of allocations since the process began. */
uint64_t ftk_mem_allocs(void);

/*
 * Fault points.  A test arms a kind of fault: the call number `after` (1 = the next one) fails,
 * and so do the `repeat` - 1 after it.  Process-wide and off by default; one relaxed atomic load
 * when off.  Several kinds can be armed at a time, each with counters of its own; armed with
 * after = UINT64_MAX a kind only counts.  Or it is armed by chance: each call fails with a chance
 * of one in `one_in`, which seed and number of the call decide.
 *
 * ALLOC: every allocation and region reservation.  READ: read, open (of files and directories),
 * size, identify, list, space.  WRITE: write, truncate, allocate, rename, remove, mkdir.  SYNC: of
 * files and directories.  Synchronous or not, on the native disk and on the simulated one.
 * DESCRIPTOR: whatever takes a file descriptor, as if the process had no more (EMFILE).  THREAD:
 * the start of a thread (EAGAIN).
 */
enum ftk_fault {
    FTK_FAULT_ALLOC,
    FTK_FAULT_READ,
    FTK_FAULT_WRITE,
    FTK_FAULT_SYNC,
    FTK_FAULT_DESCRIPTOR,
    FTK_FAULT_THREAD,
    FTK_FAULT_COUNT
};
void ftk_fault_arm(enum ftk_fault kind, uint64_t after, uint64_t repeat);
void ftk_fault_arm_chance(enum ftk_fault kind, uint64_t one_in, uint64_t seed);
void ftk_fault_disarm(void);
uint64_t ftk_fault_hits(enum ftk_fault kind);  /* faults delivered since the last arm */
uint64_t ftk_fault_calls(enum ftk_fault kind); /* calls counted since the last arm */
bool ftk_fault_due(enum ftk_fault kind);       /* count one call; true when it must fail */

#endif
