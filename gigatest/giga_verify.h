/* SPDX-License-Identifier: Apache-2.0 */
/* gigatest/giga_verify.h -- the proof that the database holds what it must, and nothing else. */
#ifndef GIGATEST_GIGA_VERIFY_H
#define GIGATEST_GIGA_VERIFY_H

#include "gigatest/giga_run.h"

#define GIGA_FINDINGS_MAX 20 /* lines printed; all are counted */

/*
 * Opens the database, walks the container and every index against the model, lets kiln check its
 * pages, and closes.  Findings go to standard error and are counted in run->results.  False: what
 * was to be read could not be (run->fault), or there are findings; true also when stopped before
 * the end (then results.verified is false).
 */
bool giga_verify(struct giga_run *run);

#endif
