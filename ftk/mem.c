/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ftk/mem.c -- memory and fault points.
 *
 * 1. Every allocation passes alloc_begin, which counts it and asks the fault points.
 * 2. With no fault armed, a fault point costs one relaxed load.
 * 3. The allocator is the program's: a library that brought its own could not be loaded by dlopen.
 * 4. Each allocation knows its size, so that all of kiln's can be told.
 * 5. Allocations are counted in shards, one cache line each, so that threads do not share a line.
 */
#include "ftk/mem.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ftk/random.h"

#ifdef FTK_SCHEDULE
#include "ftk/schedule_internal.h"
#endif

/* ---- fault points ------------------------------------------------------------------------- */

struct fault_point {
    _Atomic uint64_t after;
    _Atomic uint64_t repeat;
    _Atomic uint64_t one_in; /* by chance; 0: by number */
    _Atomic uint64_t seed;
    _Atomic uint64_t calls;
    _Atomic uint64_t hits;
};

static struct fault_point fault_points[FTK_FAULT_COUNT];
static _Atomic unsigned fault_armed; /* bit per kind */

static void
fault_arm(enum ftk_fault kind, const struct fault_point *as)
{
    struct fault_point *point = &fault_points[kind];

    atomic_fetch_and(&fault_armed, ~(1u << kind));
    atomic_store(&point->after, as->after);
    atomic_store(&point->repeat, as->repeat);
    atomic_store(&point->one_in, as->one_in);
    atomic_store(&point->seed, as->seed);
    atomic_store(&point->calls, 0);
    atomic_store(&point->hits, 0);
    atomic_fetch_or(&fault_armed, 1u << kind);
}

void
ftk_fault_arm(enum ftk_fault kind, uint64_t after, uint64_t repeat)
{
    fault_arm(kind, &(struct fault_point){.after = after, .repeat = repeat});
}

void
ftk_fault_arm_chance(enum ftk_fault kind, uint64_t one_in, uint64_t seed)
{
    FTK_ASSERT(one_in > 0);
    fault_arm(kind, &(struct fault_point){.one_in = one_in, .seed = seed});
}

void
ftk_fault_disarm(void)
{
    atomic_store(&fault_armed, 0);
}

uint64_t
ftk_fault_hits(enum ftk_fault kind)
{
    return atomic_load(&fault_points[kind].hits);
}

uint64_t
ftk_fault_calls(enum ftk_fault kind)
{
    return atomic_load(&fault_points[kind].calls);
}

static bool
fault_is_it(struct fault_point *point, uint64_t call)
{
    uint64_t one_in = atomic_load(&point->one_in);
    uint64_t after = atomic_load(&point->after);

    if (one_in != 0)
        return ftk_random_at(atomic_load(&point->seed), call) % one_in == 0;
    return call >= after && call - after < atomic_load(&point->repeat);
}

bool
ftk_fault_due(enum ftk_fault kind)
{
    if (FTK_LIKELY((atomic_load_explicit(&fault_armed, memory_order_relaxed) & (1u << kind)) == 0))
        return false;

    struct fault_point *point = &fault_points[kind];
    uint64_t call = atomic_fetch_add(&point->calls, 1) + 1;
    if (!fault_is_it(point, call))
        return false;
    atomic_fetch_add(&point->hits, 1);
    return true;
}

/* ---- allocation --------------------------------------------------------------------------- */

#define ALLOC_SHARDS 16

struct alloc_shard {
    _Alignas(64) _Atomic uint64_t count;
    _Atomic uint64_t
        bytes; /* taken less given back by its threads: only the sum of all has sense */
};

static struct alloc_shard alloc_shards[ALLOC_SHARDS];
static _Atomic unsigned alloc_shard_next;
static _Thread_local unsigned alloc_shard_own; /* index + 1; 0 before the first allocation */

static struct alloc_shard *
alloc_shard(void)
{
    if (FTK_UNLIKELY(alloc_shard_own == 0))
        alloc_shard_own = atomic_fetch_add(&alloc_shard_next, 1) % ALLOC_SHARDS + 1;
    return &alloc_shards[alloc_shard_own - 1];
}

/* In front of every allocation. */
struct alloc_head {
    size_t bytes;    /* as asked for */
    uint32_t offset; /* of the caller's memory in the allocator's */
    uint32_t mark;
};
static_assert(sizeof(struct alloc_head) == 16, "malloc's alignment is kept");

#define ALLOC_MARK UINT32_C(0x6b696c6e)

static struct alloc_head *
head_of(void *memory)
{
    struct alloc_head *head = (struct alloc_head *)memory - 1;

    FTK_ASSERT(head->mark == ALLOC_MARK); /* not ours, or freed before */
    return head;
}

/* The caller's memory in the allocator's. */
static void *
head_put(void *base, size_t offset, size_t bytes)
{
    void *memory = (uint8_t *)base + offset;

    ((struct alloc_head *)memory)[-1] =
        (struct alloc_head){.bytes = bytes, .offset = (uint32_t)offset, .mark = ALLOC_MARK};
    atomic_fetch_add_explicit(&alloc_shard()->bytes, bytes, memory_order_relaxed);
    return memory;
}

static ftk_status
alloc_failed(size_t size)
{
    /* No errno: this error passes (ftk_error_passes), a device's ENOMEM does not. */
    return FTK_FAIL(FTK_NOMEM, "out of memory: %zu bytes", size);
}

/* Before every allocation: may it go on? */
static bool
alloc_begin(size_t size)
{
    atomic_fetch_add_explicit(&alloc_shard()->count, 1, memory_order_relaxed);
    return size <= PTRDIFF_MAX / 2 && !FTK_UNLIKELY(ftk_fault_due(FTK_FAULT_ALLOC));
}

ftk_status
ftk_alloc(size_t size, void **out)
{
    void *base = alloc_begin(size) ? malloc(sizeof(struct alloc_head) + size) : NULL;

    *out = base != NULL ? head_put(base, sizeof(struct alloc_head), size) : NULL;
    return base != NULL ? FTK_OK : alloc_failed(size);
}

ftk_status
ftk_zalloc(size_t size, void **out)
{
    void *base = alloc_begin(size) ? calloc(1, sizeof(struct alloc_head) + size) : NULL;

    *out = base != NULL ? head_put(base, sizeof(struct alloc_head), size) : NULL;
    return base != NULL ? FTK_OK : alloc_failed(size);
}

ftk_status
ftk_zalloc_array(size_t size, size_t count, void **out)
{
    size_t total;

    *out = NULL;
    if (__builtin_mul_overflow(size, count, &total))
        return FTK_FAIL_OS(FTK_NOMEM, ENOMEM, "out of memory: %zu times %zu bytes", count, size);
    return ftk_zalloc(total, out);
}

ftk_status
ftk_alloc_aligned(size_t alignment, size_t size, void **out)
{
    size_t offset = alignment < sizeof(struct alloc_head) ? sizeof(struct alloc_head) : alignment;
    void *base = NULL;

    FTK_ASSERT(alignment >= sizeof(void *) && (alignment & (alignment - 1)) == 0);
    FTK_ASSERT(alignment <= UINT32_MAX);
    *out = NULL;
    if (!alloc_begin(size) || posix_memalign(&base, offset, offset + size) != 0)
        return alloc_failed(size);
    *out = head_put(base, offset, size);
    return FTK_OK;
}

ftk_status
ftk_realloc(void **inout, size_t size)
{
    struct alloc_head *head = *inout == NULL ? NULL : head_of(*inout);
    size_t before = head == NULL ? 0 : head->bytes;
    void *base = NULL;

    FTK_ASSERT(head == NULL || head->offset == sizeof(*head)); /* aligned memory does not move */
    if (alloc_begin(size))
        base = realloc(head, sizeof(*head) + size);
    if (base == NULL)
        return alloc_failed(size);
    atomic_fetch_sub_explicit(&alloc_shard()->bytes, before, memory_order_relaxed);
    *inout = head_put(base, sizeof(*head), size);
    return FTK_OK;
}

ftk_status
ftk_strdup(const char *text, char **out)
{
    size_t size = strlen(text) + 1;
    ftk_status rc = ftk_alloc(size, (void **)out);

    if (rc == FTK_OK)
        memcpy(*out, text, size);
    return rc;
}

void
ftk_free(void *memory)
{
    struct alloc_head *head;

    if (memory == NULL)
        return;
    head = head_of(memory);
    head->mark = 0;
    atomic_fetch_sub_explicit(&alloc_shard()->bytes, head->bytes, memory_order_relaxed);
#ifdef FTK_SCHEDULE
    ftk__schedule_memory_free((uint8_t *)memory - head->offset, memory, head->bytes);
#else
    free((uint8_t *)memory - head->offset);
#endif
}

/* ---- regions ------------------------------------------------------------------------------ */

ftk_status
ftk_region_reserve(size_t size, void **out)
{
    *out = NULL;
    if (size == 0)
        return FTK_FAIL(FTK_INVALID, "a region of no bytes");
    if (!alloc_begin(size))
        return alloc_failed(size);

    void *region = mmap(NULL, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (region == MAP_FAILED)
        return FTK_FAIL_OS(FTK_NOMEM, errno, "cannot reserve %zu bytes of address space: %s", size,
                           strerror(errno));
    *out = region;
    return FTK_OK;
}

void
ftk_region_release(void *region, size_t size)
{
    if (region != NULL) {
        int failed = munmap(region, size);
        FTK_ASSERT(failed == 0);
    }
}

void
ftk_region_discard(void *address, size_t size)
{
    FTK_DEBUG_ASSERT((uintptr_t)address % (uintptr_t)sysconf(_SC_PAGESIZE) == 0);
    FTK_DEBUG_ASSERT(size % (size_t)sysconf(_SC_PAGESIZE) == 0);
    int failed;
    do
        failed = madvise(address, size, MADV_DONTNEED);
    while (failed != 0 && errno == EAGAIN);
    FTK_ASSERT(failed == 0);
}

/* ---- statistics --------------------------------------------------------------------------- */

uint64_t
ftk_mem_bytes(void)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < ALLOC_SHARDS; i++)
        bytes += atomic_load_explicit(&alloc_shards[i].bytes, memory_order_relaxed);
    return bytes;
}

uint64_t
ftk_mem_allocs(void)
{
    uint64_t allocs = 0;

    for (size_t i = 0; i < ALLOC_SHARDS; i++)
        allocs += atomic_load_explicit(&alloc_shards[i].count, memory_order_relaxed);
    return allocs;
}
