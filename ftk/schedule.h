/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ftk/schedule.h -- threads that a test owns: one at a time, in an order drawn from a seed.
 *
 * Only in a build with FTK_SCHEDULE (`make schedules`), where ftk/schedule.c and
 * ftk/schedule_thread.c stand in for ftk/thread.c.  What a step is, what is virtual and what is
 * guaranteed: tests/schedules/README.md.
 */
#ifndef FTK_SCHEDULE_H
#define FTK_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

struct ftk_schedule_thread;

/* A place in the source where threads meet; static storage, changed by nobody but the scheduler. */
struct ftk_site {
    const char *file;
    const char *what;
    uint32_t line;
    uint32_t hash; /* of file and line; 0: not known yet */
    uint32_t word; /* hash of the last name in `what`: of the mutex or word that is touched */
};

/* All zero is a mutex that is free, and a condition without waiters. */
struct ftk_mutex {
    struct ftk_schedule_thread *owner;
    struct ftk_site *site; /* where it was locked */
};
#define FTK_MUTEX_INIT                                                                             \
    {                                                                                              \
        NULL, NULL                                                                                 \
    }
struct ftk_cond {
    uint32_t waiters;
};
struct ftk_thread {
    struct ftk_schedule_thread *self;
    bool running;
};

enum { FTK_SCHEDULE_STEP_NS = 50 }; /* of a schedule's time, which each step takes */

enum ftk_schedule_kind {
    FTK_SCHEDULE_BY_SEED,    /* the seed chooses one of the next five */
    FTK_SCHEDULE_PRIORITIES, /* probabilistic concurrency testing: changes at steps drawn before */
    FTK_SCHEDULE_PLACES,     /* the same with changes at places of the source */
    FTK_SCHEDULE_DELAYS,     /* a thread stands still by chance, for some of the others' steps */
    FTK_SCHEDULE_WALK,       /* a switch by chance at each step */
    FTK_SCHEDULE_MEETINGS,   /* delays, mostly where another thread was shortly before */
    FTK_SCHEDULE_IN_TURN,    /* a thread goes on until it waits; never by seed */
};

struct ftk_schedule_options {
    uint64_t seed;
    enum ftk_schedule_kind kind;
    uint64_t steps_expected; /* over which the points of change are drawn; 0: 1000 */
    uint64_t steps_max;      /* more is a livelock; 0: 400,000 */
    bool patient;            /* half of the schedules are: see the head of ftk/schedule.c */
    bool trace;              /* every step on stderr */
};

struct ftk_schedule_result {
    uint64_t steps;     /* while exploring */
    uint64_t switches;  /* while exploring */
    uint64_t trace_sum; /* of every step of every thread: equal for equal schedules */
};

/*
 * Run body as the first thread of a schedule, to its end and that of every thread it started.  A
 * deadlock, a livelock or a thread that is never joined is said on stderr, with what each thread
 * waits for, and the program ends by abort().
 */
void ftk_schedule_run(const struct ftk_schedule_options *options, void (*body)(void *context),
                      void *context, struct ftk_schedule_result *result_out);

/* Off, as at the start of a schedule: a thread goes on until it waits.  On: the seed decides. */
void ftk_schedule_explore(bool on);

/* Where each thread is, on stderr. */
void ftk_schedule_report(void);

#endif
