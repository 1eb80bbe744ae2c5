/* SPDX-License-Identifier: Apache-2.0 */
/* gigatest/giga_report.h -- what is told at the end. */
#ifndef GIGATEST_GIGA_REPORT_H
#define GIGATEST_GIGA_REPORT_H

#include <stdio.h>

#include "gigatest/giga_machine.h"
#include "gigatest/giga_run.h"

/* Figures that more than one report shows. */
struct giga_figures {
    double objects_per_second, bytes_per_object, checkpoint_bytes_per_second;
    uint64_t data_used_bytes; /* pages in use, of data.kdb */
    struct giga_histogram_copy commits;
    uint64_t p50_ns, p99_ns, p999_ns;
    uint64_t peak_rss_bytes;
    /* Of all checkpoints; writing as kiln counts it, syncing (and headers) as it was seen. */
    double checkpoint_write_seconds, checkpoint_sync_seconds;
    struct giga_machine machine;
};
void giga_figures_make(struct giga_figures *figures, struct giga_run *run);

void giga_report_text(struct giga_run *run, FILE *out);
/* False: could not be written; noted with giga_fail.  "-": standard output. */
bool giga_report_json(struct giga_run *run, const char *path);
bool giga_report_html(struct giga_run *run, const char *path);
void giga_report_json_write(struct giga_run *run, FILE *out);
void giga_report_html_write(struct giga_run *run, FILE *out);

#endif
