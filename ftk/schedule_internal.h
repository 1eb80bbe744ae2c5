/* SPDX-License-Identifier: Apache-2.0 */
/* ftk/schedule_internal.h -- what the scheduler offers the primitives of ftk/schedule_thread.c. */
#ifndef FTK_SCHEDULE_INTERNAL_H
#define FTK_SCHEDULE_INTERNAL_H

#include <ucontext.h>

#include "ftk/schedule.h"
#include "ftk/status.h"

/*
 *     READY --lock taken by another--> LOCKING --it is let go--> READY
 *           --wait--> WAITING --signal, deadline, or for no reason--> READY
 *           --sleep--> SLEEPING --deadline--> READY
 *           --join--> JOINING --the other ends--> READY
 *           --returns--> ENDED
 */
enum ftk_schedule_state {
    FTK_SCHEDULE_READY,
    FTK_SCHEDULE_LOCKING,
    FTK_SCHEDULE_WAITING,
    FTK_SCHEDULE_SLEEPING,
    FTK_SCHEDULE_JOINING,
    FTK_SCHEDULE_ENDED,
};

struct ftk_schedule_thread {
    ucontext_t context;
    char name[16];
    void (*run)(void *);
    void *argument;
    enum ftk_schedule_state state;
    const void *object;   /* mutex, condition or thread that it waits for */
    uint64_t deadline_ns; /* UINT64_MAX: none */
    bool in_time;         /* how the last wait with a deadline ended */
    bool spins;           /* yielded, and nothing else since */
    int64_t priority;
    uint64_t still_until; /* a step: it stands still until then */
    bool meets;           /* or until another comes to the word that it stands before */
    struct ftk_site *site;
    struct ftk_error error; /* the thread's slot while another runs */
    unsigned number;
    bool joined;
};

/* The thread that runs; NULL outside a schedule, where there is only one. */
struct ftk_schedule_thread *ftk__schedule_self(void);
struct ftk_random;
struct ftk_random *ftk__schedule_random(void);

/* A step of this thread: another may go on first. */
void ftk__schedule_step(void);
/* This thread cannot go on; state and object say why.  Returns when it is READY and chosen. */
void ftk__schedule_block(enum ftk_schedule_state state, const void *object, uint64_t deadline_ns);
/* Others first. */
void ftk__schedule_yield(void);
/* Threads in this state, for this object, are READY; at most `most` of them, by chance which. */
void ftk__schedule_wake(enum ftk_schedule_state state, const void *object, unsigned most);
struct ftk_schedule_thread *ftk__schedule_new(const char *name, void (*run)(void *),
                                              void *argument);
/* Memory of ftk/mem.h is given back: not to the allocator before the schedule ends. */
void ftk__schedule_memory_free(void *base, void *memory, size_t bytes);
/* A pointer out of memory that may have been freed. */
void ftk__schedule_memory_live(const void *pointer);
/* The schedule's last: what it freed is as it was then. */
void ftk__schedule_memory_end(void);
/* Ends the program with the report of all threads. */
void ftk__schedule_stuck(const char *what) __attribute__((noreturn));

#endif
