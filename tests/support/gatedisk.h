/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/support/gatedisk.h -- gates in a simulated disk: a test holds the thread that writes, syncs
 * or asks for write-back, as long as it likes, and does something else meanwhile.
 *
 * One disk at a time has gates.  A gate holds one thread, the first that comes after gate_hold;
 * every wait has a bound, after which the gate opens by itself.
 */
#ifndef TESTS_SUPPORT_GATEDISK_H
#define TESTS_SUPPORT_GATEDISK_H

#include <stdbool.h>
#include <stddef.h>

struct simdisk;

enum gate {
    GATE_WRITE, /* before a write */
    GATE_SYNC,  /* behind a sync: what is written while it is held is not covered by it */
    GATE_HINT,  /* in FTK_HINT_WRITEBACK, which is not passed on */
    GATES
};

/* From here on the disk's calls pass the gates; writes of fewer bytes than write_min do not. */
void gate_install(struct simdisk *disk, size_t write_min);
/* The next thread to come stays. */
void gate_hold(enum gate gate);
/* Whoever is held goes on. */
void gate_let(enum gate gate);
bool gate_is_inside(enum gate gate);
/* Until a thread is held; false when none came in time. */
bool gate_wait(enum gate gate);

#endif
