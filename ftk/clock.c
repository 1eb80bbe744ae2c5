/* SPDX-License-Identifier: Apache-2.0 */
/* ftk/clock.c -- the system's clocks, unless a test has put its own in place. */
#include "ftk/clock.h"

#include <errno.h>
#include <stddef.h>
#include <time.h>

#include "ftk/status.h"

/* Written before any database is open, so that plain variables do. */
static const struct ftk_clock_ops *clock_ops;
static void *clock_context;

static uint64_t
system_ns(clockid_t id)
{
    struct timespec now;
    int err = clock_gettime(id, &now);
    FTK_ASSERT(err == 0);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t
ftk_clock_ns(void)
{
    if (FTK_UNLIKELY(clock_ops != NULL))
        return clock_ops->monotonic_ns(clock_context);
    return system_ns(CLOCK_MONOTONIC);
}

uint64_t
ftk_clock_wall_ns(void)
{
    if (FTK_UNLIKELY(clock_ops != NULL))
        return clock_ops->wall_ns(clock_context);
    return system_ns(CLOCK_REALTIME);
}

void
ftk_clock_sleep_ns(uint64_t ns)
{
    if (FTK_UNLIKELY(clock_ops != NULL)) {
        clock_ops->sleep_ns(clock_context, ns);
        return;
    }
    struct timespec left = {.tv_sec = (time_t)(ns / 1000000000u),
                            .tv_nsec = (long)(ns % 1000000000u)};
    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        ;
}

void
ftk_clock_use(const struct ftk_clock_ops *ops, void *context)
{
    clock_ops = ops;
    clock_context = context;
}
