/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ftk/spin.h -- a loop that waits for a few instructions of another thread.
 *
 * Where that thread can be anywhere, also off the processor, or of a lower priority, a loop that
 * only looks again keeps it from going on.  So each turn that was in vain is one call of
 * ftk_spin_turn: the first ones stay on the processor, the next let others run, and from then on
 * each sleeps a little (a yield does not let a thread of lower priority run).
 */
#ifndef FTK_SPIN_H
#define FTK_SPIN_H

enum {
    FTK_SPIN_RELAXED = 100,  /* turns on the processor: about as long as a thread's way back */
    FTK_SPIN_YIELDED = 1000, /* turns before it sleeps */
    FTK_SPIN_NAP_NS = 50000,
};

/* *turns_inout: 0 before the first turn. */
void ftk_spin_turn(unsigned *turns_inout);

#endif
