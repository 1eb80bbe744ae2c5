/* SPDX-License-Identifier: Apache-2.0 */
/* ftk/clock.h -- time, behind a table so that a test can own it. */
#ifndef FTK_CLOCK_H
#define FTK_CLOCK_H

#include <stdint.h>

uint64_t ftk_clock_ns(void);      /* monotonic */
uint64_t ftk_clock_wall_ns(void); /* since 1970-01-01 UTC */
void ftk_clock_sleep_ns(uint64_t ns);

struct ftk_clock_ops {
    uint64_t (*monotonic_ns)(void *context);
    uint64_t (*wall_ns)(void *context);
    void (*sleep_ns)(void *context, uint64_t ns);
};
/* Tests only, before any database is open; NULL puts the system's clock back. */
void ftk_clock_use(const struct ftk_clock_ops *ops, void *context);

#endif
