/* SPDX-License-Identifier: Apache-2.0 */
/* gigatest/giga_load.h -- the transactions: the load, and the rounds after it. */
#ifndef GIGATEST_GIGA_LOAD_H
#define GIGATEST_GIGA_LOAD_H

#include "gigatest/giga_run.h"

/* Each returns false when something is wrong (run->fault) and true otherwise, also when it stopped
 * because giga_stop_wanted: look. */

/* From run->model.loaded on to the plan's count. */
bool giga_load(struct giga_run *run);
/* The unfinished round of an earlier run, if there is one, then those of the command line. */
bool giga_phases(struct giga_run *run);

#endif
