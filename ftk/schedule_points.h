/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ftk/schedule_points.h -- the places where a scheduler may let another thread go on.
 *
 * The end of ftk/thread.h in a build with FTK_SCHEDULE: each call of a primitive remembers where it
 * stands, so that a report can say who waits where.  The atomics: ftk/schedule_atomics.h.
 */
#ifndef FTK_SCHEDULE_POINTS_H
#define FTK_SCHEDULE_POINTS_H

#include "ftk/schedule_atomics.h"

#define ftk_mutex_lock(mutex) (FTK_SCHEDULE_AT("lock " #mutex), ftk_mutex_lock(mutex))
#define ftk_mutex_try_lock(mutex) (FTK_SCHEDULE_AT("try " #mutex), ftk_mutex_try_lock(mutex))
#define ftk_mutex_unlock(mutex) (FTK_SCHEDULE_AT("unlock " #mutex), ftk_mutex_unlock(mutex))
#define ftk_cond_wait(cond, mutex) (FTK_SCHEDULE_AT("wait " #cond), ftk_cond_wait(cond, mutex))
#define ftk_cond_wait_until(cond, mutex, deadline_ns)                                              \
    (FTK_SCHEDULE_AT("wait " #cond), ftk_cond_wait_until(cond, mutex, deadline_ns))
#define ftk_cond_signal(cond) (FTK_SCHEDULE_AT("signal " #cond), ftk_cond_signal(cond))
#define ftk_cond_broadcast(cond) (FTK_SCHEDULE_AT("broadcast " #cond), ftk_cond_broadcast(cond))
#define ftk_thread_start(thread, name, run, context)                                               \
    (FTK_SCHEDULE_AT("start " #thread), ftk_thread_start(thread, name, run, context))
#define ftk_thread_join(thread) (FTK_SCHEDULE_AT("join " #thread), ftk_thread_join(thread))
#define ftk_thread_yield() (FTK_SCHEDULE_AT("yield"), ftk_thread_yield())
/* A pause in a loop that waits for another thread: that thread is let go on. */
#define ftk_cpu_relax() ftk_thread_yield()

#endif
