/* SPDX-License-Identifier: Apache-2.0 */
/* ftk/invariant.c -- the list of the invariant functions that were run.  It only grows. */
#include "ftk/invariant.h"

#include <string.h>

static struct ftk_invariant *_Atomic listed;

void
ftk_invariant_count(struct ftk_invariant *invariant)
{
    struct ftk_invariant *first;

    if (atomic_fetch_add_explicit(&invariant->runs, 1, memory_order_relaxed) > 0)
        return;
    first = atomic_load(&listed);
    do
        invariant->next = first;
    while (!atomic_compare_exchange_weak(&listed, &first, invariant));
}

uint64_t
ftk_invariant_runs(const char *name)
{
    uint64_t runs = 0;

    for (struct ftk_invariant *i = atomic_load(&listed); i != NULL; i = i->next)
        if (strcmp(i->name, name) == 0)
            runs += atomic_load_explicit(&i->runs, memory_order_relaxed);
    return runs;
}

void
ftk_invariant_each(void (*each)(void *context, const char *name, uint64_t runs), void *context)
{
    for (struct ftk_invariant *i = atomic_load(&listed); i != NULL; i = i->next)
        each(context, i->name, atomic_load_explicit(&i->runs, memory_order_relaxed));
}
