/* SPDX-License-Identifier: Apache-2.0 */
/* ftk/spin.c -- one turn of a loop that waits for another thread. */
#include "ftk/spin.h"

#include "ftk/clock.h"
#include "ftk/thread.h"

void
ftk_spin_turn(unsigned *turns)
{
    if (*turns >= FTK_SPIN_YIELDED) {
        ftk_clock_sleep_ns(FTK_SPIN_NAP_NS);
        return;
    }
    if (++*turns <= FTK_SPIN_RELAXED)
        ftk_cpu_relax();
    else
        ftk_thread_yield();
}
