/* SPDX-License-Identifier: Apache-2.0 */
/* ftk/thread.c -- POSIX threads; a failure of a primitive is a bug, hence an assertion. */
#include "ftk/thread.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "ftk/clock.h"
#include "ftk/mem.h"

void
ftk_mutex_init(struct ftk_mutex *mutex)
{
    int err = pthread_mutex_init(&mutex->os, NULL);
    FTK_ASSERT(err == 0);
}

void
ftk_mutex_release(struct ftk_mutex *mutex)
{
    int err = pthread_mutex_destroy(&mutex->os);
    FTK_ASSERT(err == 0);
}

void
ftk_mutex_lock(struct ftk_mutex *mutex)
{
    int err = pthread_mutex_lock(&mutex->os);
    FTK_ASSERT(err == 0);
}

bool
ftk_mutex_try_lock(struct ftk_mutex *mutex)
{
    int err = pthread_mutex_trylock(&mutex->os);
    FTK_ASSERT(err == 0 || err == EBUSY);
    return err == 0;
}

void
ftk_mutex_unlock(struct ftk_mutex *mutex)
{
    int err = pthread_mutex_unlock(&mutex->os);
    FTK_ASSERT(err == 0);
}

void
ftk_cond_init(struct ftk_cond *cond)
{
    pthread_condattr_t attributes;
    int err = pthread_condattr_init(&attributes);
    FTK_ASSERT(err == 0);
    err = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    FTK_ASSERT(err == 0);
    err = pthread_cond_init(&cond->os, &attributes);
    FTK_ASSERT(err == 0);
    pthread_condattr_destroy(&attributes);
}

void
ftk_cond_release(struct ftk_cond *cond)
{
    int err = pthread_cond_destroy(&cond->os);
    FTK_ASSERT(err == 0);
}

void
ftk_cond_wait(struct ftk_cond *cond, struct ftk_mutex *mutex)
{
    int err = pthread_cond_wait(&cond->os, &mutex->os);
    FTK_ASSERT(err == 0);
}

bool
ftk_cond_wait_until(struct ftk_cond *cond, struct ftk_mutex *mutex, uint64_t deadline_ns)
{
    /* A test's clock may tell another time than the system: wait for the difference. */
    uint64_t now_ns = ftk_clock_ns();
    uint64_t left_ns = deadline_ns > now_ns ? deadline_ns - now_ns : 0;
    struct timespec until;
    int err = clock_gettime(CLOCK_MONOTONIC, &until);
    FTK_ASSERT(err == 0);

    uint64_t ns = (uint64_t)until.tv_nsec + left_ns % 1000000000u;
    uint64_t seconds = left_ns / 1000000000u + ns / 1000000000u;
    if (seconds > 4000000000u) /* UINT64_MAX means for ever; keep time_t in range */
        seconds = 4000000000u;
    until.tv_sec += (time_t)seconds;
    until.tv_nsec = (long)(ns % 1000000000u);

    err = pthread_cond_timedwait(&cond->os, &mutex->os, &until);
    FTK_ASSERT(err == 0 || err == ETIMEDOUT);
    return err == 0;
}

void
ftk_cond_signal(struct ftk_cond *cond)
{
    int err = pthread_cond_signal(&cond->os);
    FTK_ASSERT(err == 0);
}

void
ftk_cond_broadcast(struct ftk_cond *cond)
{
    int err = pthread_cond_broadcast(&cond->os);
    FTK_ASSERT(err == 0);
}

struct thread_start {
    void (*run)(void *);
    void *context;
    char name[16];
};

static void *
thread_main(void *argument)
{
    struct thread_start start = *(struct thread_start *)argument;
    ftk_free(argument);
#ifdef __linux__
    (void)pthread_setname_np(pthread_self(), start.name);
#endif
    start.run(start.context);
    return NULL;
}

ftk_status
ftk_thread_start(struct ftk_thread *thread, const char *name, void (*run)(void *), void *context)
{
    struct thread_start *start = NULL;
    sigset_t all, before;

    thread->running = false;
    ftk_status rc = FTK_NEW(&start);
    if (rc != FTK_OK)
        return rc;
    start->run = run;
    start->context = context;
    strncpy(start->name, name, sizeof(start->name) - 1);

    /* Signals are the application's: our threads take none but those they cause themselves. */
    static const int own[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS, SIGPROF};
    sigfillset(&all);
    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
        sigdelset(&all, own[i]);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int err = ftk_fault_due(FTK_FAULT_THREAD)
                  ? EAGAIN
                  : pthread_create(&thread->os, NULL, thread_main, start);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (err != 0) {
        ftk_free(start);
        return FTK_FAIL_OS(FTK_NOMEM, err, "cannot start thread %s: %s", name, strerror(err));
    }
    thread->running = true;
    return FTK_OK;
}

void
ftk_thread_join(struct ftk_thread *thread)
{
    if (!thread->running)
        return;
    int err = pthread_join(thread->os, NULL);
    FTK_ASSERT(err == 0);
    thread->running = false;
}

void
ftk_thread_yield(void)
{
    (void)sched_yield();
}
