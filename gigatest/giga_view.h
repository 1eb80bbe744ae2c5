/* SPDX-License-Identifier: Apache-2.0 */
/* gigatest/giga_view.h -- what the screen and the lines say, as text; knows no terminal. */
#ifndef GIGATEST_GIGA_VIEW_H
#define GIGATEST_GIGA_VIEW_H

#include "gigatest/giga_options.h"
#include "gigatest/giga_series.h"

/* All that a view is made of: a picture of one moment. */
struct giga_moment {
    const struct giga_options *options;
    const struct giga_series *series;
    enum giga_stage stage;
    bool stopping;
    uint64_t ns, stage_ns; /* since the start of the run, of the stage */
    uint64_t wall_ns;
    uint64_t total, before, done;
    bool stat_known;
    kiln_stat stat;
    struct giga_histogram_copy commits;
    uint64_t memory_bytes;
    const char *note; /* the latest; NULL: none */
};

#define GIGA_ROWS_MAX 48
#define GIGA_LABEL_BYTES 24
#define GIGA_VALUE_BYTES 64

struct giga_row {
    bool heading;
    char label[GIGA_LABEL_BYTES];
    char value[GIGA_VALUE_BYTES];
};

struct giga_rows {
    uint32_t count;
    struct giga_row rows[GIGA_ROWS_MAX];
};

struct giga_view {
    char title[256];
    double share;                         /* of the stage's total, 0..1; negative: unknown */
    struct giga_rows work, cache, device; /* cache: also checkpoints; device: also commits */
};

void giga_view_make(struct giga_view *view, const struct giga_moment *moment);
/* One line, without its end. */
void giga_view_line(const struct giga_moment *moment, char *line, size_t line_size);

/* Objects (pages) per second: over the last second or so, and since the stage began. */
double giga_rate_now(const struct giga_moment *moment);
double giga_rate_overall(const struct giga_moment *moment);
/* The device's write rate over the last second or so, bytes per second. */
double giga_rate_device(const struct giga_moment *moment);

/* One line for a stage that is over; run_ns: the clock when the run began. */
void giga_view_end_line(const struct giga_stage_end *end, uint64_t run_ns, char *line,
                        size_t line_size);

#endif
