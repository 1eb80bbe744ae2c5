/* SPDX-License-Identifier: Apache-2.0 */
/* ftk/thread.h -- threads, mutexes, condition variables with deadlines on the monotonic clock. */
#ifndef FTK_THREAD_H
#define FTK_THREAD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "ftk/status.h"

#ifdef FTK_SCHEDULE
#include "ftk/schedule.h" /* the same words, run one at a time by a scheduler: `make schedules` */
#else
struct ftk_mutex {
    pthread_mutex_t os;
};
struct ftk_cond {
    pthread_cond_t os;
};
struct ftk_thread {
    pthread_t os;
    bool running;
};
/* For a mutex with static storage. */
#define FTK_MUTEX_INIT                                                                             \
    {                                                                                              \
        PTHREAD_MUTEX_INITIALIZER                                                                  \
    }
#endif

void ftk_mutex_init(struct ftk_mutex *mutex);
void ftk_mutex_release(struct ftk_mutex *mutex);
void ftk_mutex_lock(struct ftk_mutex *mutex);
bool ftk_mutex_try_lock(struct ftk_mutex *mutex);
void ftk_mutex_unlock(struct ftk_mutex *mutex);

void ftk_cond_init(struct ftk_cond *cond); /* waits measure time on CLOCK_MONOTONIC */
void ftk_cond_release(struct ftk_cond *cond);
void ftk_cond_wait(struct ftk_cond *cond, struct ftk_mutex *mutex);
/* deadline_ns as of ftk_clock_ns; false when it passed. */
bool ftk_cond_wait_until(struct ftk_cond *cond, struct ftk_mutex *mutex, uint64_t deadline_ns);
void ftk_cond_signal(struct ftk_cond *cond);
void ftk_cond_broadcast(struct ftk_cond *cond);

/* name: up to 15 bytes, shown by the operating system.  errors: FTK_NOMEM. */
ftk_status ftk_thread_start(struct ftk_thread *thread, const char *name, void (*run)(void *),
                            void *context);
void ftk_thread_join(struct ftk_thread *thread); /* nothing when it is not running */
void ftk_thread_yield(void);

#ifdef FTK_SCHEDULE
#include "ftk/schedule_points.h"
#else
static inline void
ftk_cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
}
#endif

#endif
