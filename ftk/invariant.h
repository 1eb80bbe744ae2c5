/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ftk/invariant.h -- which rules of structs were looked at, and how often.
 *
 * A struct with rules has a function that looks at all of them (an invariant function).  It begins
 * with FTK_INVARIANT_COUNT and its name.  With -DKILN_DEBUG each run counts, so that a test can say
 * that a simulation did look, and how often; otherwise the macro is nothing.
 */
#ifndef FTK_INVARIANT_H
#define FTK_INVARIANT_H

#include <stdatomic.h>
#include <stdint.h>

struct ftk_invariant {
    const char *name;
    _Atomic uint64_t runs;
    struct ftk_invariant *next; /* set once, before it is listed */
};

#ifdef KILN_DEBUG
#define FTK_INVARIANT_COUNT(words)                                                                 \
    do {                                                                                           \
        static struct ftk_invariant invariant_ = {.name = (words)};                                \
        ftk_invariant_count(&invariant_);                                                          \
    } while (0)
#else
#define FTK_INVARIANT_COUNT(words) ((void)sizeof(words))
#endif

/* One run; the first one puts it on the process's list.  Any thread. */
void ftk_invariant_count(struct ftk_invariant *invariant);
/* Runs in this process of the functions with this name; 0: none, or not built with KILN_DEBUG. */
uint64_t ftk_invariant_runs(const char *name);
/* Each that was run. */
void ftk_invariant_each(void (*each)(void *context, const char *name, uint64_t runs),
                        void *context);

#endif
