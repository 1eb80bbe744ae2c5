/* SPDX-License-Identifier: Apache-2.0 */
/* gigatest/giga_run.h -- one run: what all its parts share.  Rules: README.md. */
#ifndef GIGATEST_GIGA_RUN_H
#define GIGATEST_GIGA_RUN_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "gigatest/giga_gauges.h"
#include "gigatest/giga_model.h"
#include "gigatest/giga_names.h"
#include "gigatest/giga_options.h"
#include "gigatest/giga_series.h"
#include "kiln.h"

#define GIGA_TEXT_BYTES 1024

/* What went wrong first. */
struct giga_fault {
    bool set;
    kiln_status status;
    char text[GIGA_TEXT_BYTES];
};

struct giga_phase_result {
    enum giga_kind kind;
    uint64_t done;
    double seconds;
};

struct giga_results {
    bool load_ran;          /* this run loaded objects, or made sure that all are there */
    uint64_t objects;       /* in the database now, deleted ones not counted */
    uint64_t objects_added; /* by the load of this run */
    double seconds;         /* of the load, all in: open, load, checkpoint, close */
    double load_seconds;    /* of the transactions alone */
    double checkpoint_seconds, close_seconds, open_seconds;
    uint32_t phase_count;
    struct giga_phase_result phases[GIGA_PHASES_MAX + 1];
    kiln_stat stat; /* after the final checkpoint, before closing */
    bool stat_known;
    uint64_t heap_bytes; /* at the same time; 0: the allocator cannot tell */
    uint64_t data_bytes, data_allocated_bytes, log_bytes;
    uint64_t device_bytes_written; /* by this run, up to and with the close */
    double device_rate;            /* measured limit, bytes per second; 0: not measured */
    double cpu_seconds;            /* up to and with the close */
    bool verify_ran, verified;
    uint64_t findings;
    double verify_seconds;
    uint64_t records_checksum, index_checksum;
};

struct giga_run {
    const struct giga_options *options;
    const char *program;
    uint64_t start_ns; /* monotonic: the clock of `seconds` */
    uint64_t start_wall_ns;
    uint64_t device_before; /* giga_device_written() at the start */
    double cpu_before;
    struct giga_names *names;
    struct giga_model model; /* fixed while workers run */
    struct giga_gauges gauges;
    struct giga_series series; /* the watching thread's, until it has ended */
    struct giga_results results;
    /* The phases of the command line, each less what the database knows of. */
    struct giga_phase phases[GIGA_PHASES_MAX];
    bool made; /* the database holds the plan: a resumption can succeed */

    kiln_db *db;
    kiln_coll meta;
    kiln_container container;
    kiln_field first, last, age;
    kiln_index index_name, index_age;

    pthread_mutex_t lock;
    struct giga_fault fault; /* guarded by lock */
};

void giga_run_init(struct giga_run *run, const struct giga_options *options, const char *program);
void giga_run_release(struct giga_run *run);

/* Note what went wrong, unless something has before.  Adds the words of kiln's last error when
 * status is not KILN_OK.  Returns false always. */
bool giga_fail(struct giga_run *run, kiln_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
bool giga_failed(struct giga_run *run);

#endif
