/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/crash/native/crash_trial.h -- record a workload, then try what crashes leave of it.
 *
 * Each life and each survivor is a process of its own: an assertion of the library, or a hang, is a
 * finding like any other.
 */
#ifndef TESTS_CRASH_NATIVE_CRASH_TRIAL_H
#define TESTS_CRASH_NATIVE_CRASH_TRIAL_H

#include <stdbool.h>
#include <stdint.h>

#include "ftk/random.h"
#include "tests/crash/native/fs_image.h"
#include "tests/crash/native/workload.h"

enum { TRIAL_DEPTH = 2 }; /* crashes of workloads, and crashes of recoveries from those */

struct verdict { /* in shared memory */
    bool wrong;
    uint32_t states; /* tried so far */
    char text[2048]; /* of the first that was wrong */
};

struct trial {
    const struct workload *workload;
    uint64_t seed;
    const char *dir;    /* an empty directory of the trial's own */
    struct image *base; /* what was there before the recording */
    struct promise before;
    struct recording *recordings[TRIAL_DEPTH];
    unsigned depth; /* the recording that is tried */
    struct verdict *verdict;
};

/* Memory for trials, shared with their processes.  false: there is none. */
bool trial_open(struct trial *trial, const char *dir);
void trial_close(struct trial *trial);

/* Record a new workload, with its deaths and opens.  false: it went wrong, verdict says how. */
bool trial_record(struct trial *trial, const struct workload *workload, uint64_t seed);

/* Crash the recorded workload at an op drawn by chance, look at what is left, and at some crashes
 * of its recovery.  false: verdict says what is wrong. */
bool trial_crash(struct trial *trial, struct ftk_random *random, image_liar liar);

#endif
