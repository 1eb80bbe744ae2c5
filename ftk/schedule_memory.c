/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ftk/schedule_memory.c -- memory that a schedule has freed: nobody touches it any more.
 *
 * What is freed in a schedule (but for large memory) is filled with FREED_BYTE and stays allocated
 * until the schedule ends: a pointer read from it leads nowhere, a mutex in it says so, and what
 * was written into it is found at the end.  That does not depend on a sanitizer, which knows
 * nothing of the scheduler's stacks.
 */
#include "ftk/schedule_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FREED_BYTE = 0xdb, BYTES_MAX = 64 << 10 };

struct freed {
    void *base; /* what the allocator gave */
    uint8_t *memory;
    size_t bytes;
    const struct ftk_site *site; /* the last step of who freed it */
};

static struct {
    struct freed *list;
    size_t count, capacity;
} freed;

void
ftk__schedule_memory_free(void *base, void *memory, size_t bytes)
{
    struct ftk_schedule_thread *self = ftk__schedule_self();

    if (self == NULL || bytes > BYTES_MAX) { /* large memory is unmapped, which is noticed, too */
        free(base);
        return;
    }
    if (freed.count == freed.capacity) {
        freed.capacity = freed.capacity == 0 ? 1024 : 2 * freed.capacity;
        freed.list = realloc(freed.list, freed.capacity * sizeof(*freed.list));
        FTK_ASSERT(freed.list != NULL);
    }
    memset(memory, FREED_BYTE, bytes);
    freed.list[freed.count++] = (struct freed){base, memory, bytes, self->site};
}

void
ftk__schedule_memory_live(const void *pointer)
{
    struct ftk_schedule_thread *none;

    memset(&none, FREED_BYTE, sizeof(none));
    if (pointer == none)
        ftk__schedule_stuck("a mutex in memory that was freed is touched,");
}

static void
look(const struct freed *one)
{
    for (size_t i = 0; i < one->bytes; i++) {
        if (one->memory[i] == FREED_BYTE)
            continue;
        fprintf(stderr, "schedule: byte %zu of %zu was written after it was freed", i, one->bytes);
        if (one->site != NULL)
            fprintf(stderr, " behind %s:%" PRIu32 ", %s", one->site->file, one->site->line,
                    one->site->what);
        fprintf(stderr, "\n");
        ftk__schedule_stuck("memory was written to after it was freed,");
    }
}

void
ftk__schedule_memory_end(void)
{
    for (size_t i = 0; i < freed.count; i++) {
        look(&freed.list[i]);
        free(freed.list[i].base);
    }
    freed.count = 0;
}
