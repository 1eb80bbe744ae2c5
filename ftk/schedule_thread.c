/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ftk/schedule_thread.c -- the primitives of ftk/thread.h over the scheduler.
 *
 * Outside of a schedule there is one thread: locks are taken and let go, and a wait is a bug.  A
 * mutex that is let go belongs to nobody: who comes first has it, as with POSIX threads.  A signal
 * wakes one waiter, by chance which; now and then a wait ends for no reason, as POSIX allows.
 */
#include "ftk/schedule_internal.h"

#include "ftk/clock.h"
#include "ftk/random.h"
#include "ftk/thread.h"

#undef ftk_mutex_lock
#undef ftk_mutex_try_lock
#undef ftk_mutex_unlock
#undef ftk_cond_wait
#undef ftk_cond_wait_until
#undef ftk_cond_signal
#undef ftk_cond_broadcast
#undef ftk_thread_start
#undef ftk_thread_join
#undef ftk_thread_yield

enum { WAKE_ONE_IN = 64 }; /* waits that end for no reason */

/* Who has a mutex that was locked outside of a schedule. */
static struct ftk_schedule_thread outside;

static struct ftk_schedule_thread *
self_or_outside(void)
{
    struct ftk_schedule_thread *self = ftk__schedule_self();
    return self != NULL ? self : &outside;
}

void
ftk_mutex_init(struct ftk_mutex *mutex)
{
    *mutex = (struct ftk_mutex)FTK_MUTEX_INIT;
}

void
ftk_mutex_release(struct ftk_mutex *mutex)
{
    FTK_ASSERT(mutex->owner == NULL);
}

void
ftk_mutex_lock(struct ftk_mutex *mutex)
{
    struct ftk_schedule_thread *self = self_or_outside();

    if (self != &outside) {
        ftk__schedule_step();
        ftk__schedule_memory_live(mutex->owner);
        while (mutex->owner != NULL)
            ftk__schedule_block(FTK_SCHEDULE_LOCKING, mutex, UINT64_MAX);
    }
    FTK_ASSERT(mutex->owner == NULL);
    mutex->owner = self;
    mutex->site = self->site;
}

bool
ftk_mutex_try_lock(struct ftk_mutex *mutex)
{
    struct ftk_schedule_thread *self = self_or_outside();

    if (self != &outside)
        ftk__schedule_step();
    if (mutex->owner != NULL)
        return false;
    mutex->owner = self;
    mutex->site = self->site;
    return true;
}

static void
let_go(struct ftk_mutex *mutex)
{
    FTK_ASSERT(mutex->owner == self_or_outside());
    mutex->owner = NULL;
    ftk__schedule_wake(FTK_SCHEDULE_LOCKING, mutex, UINT32_MAX);
}

void
ftk_mutex_unlock(struct ftk_mutex *mutex)
{
    let_go(mutex);
    if (ftk__schedule_self() != NULL)
        ftk__schedule_step();
}

void
ftk_cond_init(struct ftk_cond *cond)
{
    *cond = (struct ftk_cond){0};
}

void
ftk_cond_release(struct ftk_cond *cond)
{
    FTK_ASSERT(cond->waiters == 0);
}

static bool
wait_until(struct ftk_cond *cond, struct ftk_mutex *mutex, uint64_t deadline_ns)
{
    struct ftk_schedule_thread *self = ftk__schedule_self();
    struct ftk_site *site = self->site;
    bool in_time = true;

    FTK_ASSERT(mutex->owner == self);
    ftk__schedule_step(); /* what it looked at may change before it sleeps, but for the mutex */
    let_go(mutex);
    if (ftk_random_below(ftk__schedule_random(), WAKE_ONE_IN) == 0) {
        ftk__schedule_step();
    } else {
        cond->waiters++;
        ftk__schedule_block(FTK_SCHEDULE_WAITING, cond, deadline_ns);
        in_time = self->in_time;
    }
    while (mutex->owner != NULL)
        ftk__schedule_block(FTK_SCHEDULE_LOCKING, mutex, UINT64_MAX);
    mutex->owner = self;
    mutex->site = site;
    return in_time;
}

void
ftk_cond_wait(struct ftk_cond *cond, struct ftk_mutex *mutex)
{
    (void)wait_until(cond, mutex, UINT64_MAX);
}

bool
ftk_cond_wait_until(struct ftk_cond *cond, struct ftk_mutex *mutex, uint64_t deadline_ns)
{
    if (deadline_ns <= ftk_clock_ns())
        deadline_ns = ftk_clock_ns();
    return wait_until(cond, mutex, deadline_ns);
}

static void
wake(struct ftk_cond *cond, uint32_t most)
{
    if (ftk__schedule_self() == NULL)
        return;
    ftk__schedule_step();
    most = most < cond->waiters ? most : cond->waiters;
    cond->waiters -= most;
    ftk__schedule_wake(FTK_SCHEDULE_WAITING, cond, most);
}

void
ftk_cond_signal(struct ftk_cond *cond)
{
    wake(cond, 1);
}

void
ftk_cond_broadcast(struct ftk_cond *cond)
{
    wake(cond, UINT32_MAX);
}

ftk_status
ftk_thread_start(struct ftk_thread *thread, const char *name, void (*run)(void *), void *context)
{
    FTK_ASSERT(ftk__schedule_self() != NULL);
    thread->self = ftk__schedule_new(name, run, context);
    thread->running = true;
    ftk__schedule_step();
    return FTK_OK;
}

void
ftk_thread_join(struct ftk_thread *thread)
{
    if (!thread->running)
        return;
    while (thread->self->state != FTK_SCHEDULE_ENDED)
        ftk__schedule_block(FTK_SCHEDULE_JOINING, thread->self, UINT64_MAX);
    thread->self->joined = true;
    thread->running = false;
}

void
ftk_thread_yield(void)
{
    if (ftk__schedule_self() != NULL)
        ftk__schedule_yield();
}
