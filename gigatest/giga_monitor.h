/* SPDX-License-Identifier: Apache-2.0 */
/* gigatest/giga_monitor.h -- the thread that watches: samples, screen or lines, keys, signals. */
#ifndef GIGATEST_GIGA_MONITOR_H
#define GIGATEST_GIGA_MONITOR_H

#include "gigatest/giga_run.h"

struct giga_monitor;

/* NULL: no thread could be had; the run goes on unseen, and signals end it the hard way. */
struct giga_monitor *giga_monitor_start(struct giga_run *run);
/* Puts the terminal back; then run->series is the caller's.  NULL is fine. */
void giga_monitor_stop(struct giga_monitor *monitor);
/* Before the database is closed: waits for a checkpoint that a key has asked for, and lets no other
 * begin. */
void giga_monitor_settle(struct giga_monitor *monitor);

#endif
