/* SPDX-License-Identifier: Apache-2.0 */
/* gigatest/giga_stop.h -- the wish to stop, by a signal or a key. */
#ifndef GIGATEST_GIGA_STOP_H
#define GIGATEST_GIGA_STOP_H

#include <stdbool.h>

/*
 * SIGINT, SIGTERM and SIGHUP ask to stop, however often they come.  They and the terminal's signals
 * are blocked in the calling thread, and so in every thread started later: only a thread that calls
 * giga_stop_listen gets them, so that no system call of the database is interrupted.
 */
void giga_stop_install(void);
void giga_stop_listen(void);

void giga_stop_request(int signal_number);
int giga_stop_signal(void); /* 0: nobody wishes to stop */
void giga_stop_reset(void); /* tests only */

static inline bool
giga_stop_wanted(void)
{
    return giga_stop_signal() != 0;
}

#endif
