/* SPDX-License-Identifier: Apache-2.0 */
/* peerbench.h -- the parts of the comparison program.  What is measured and how: README.md. */
#ifndef PEERS_PEERBENCH_H
#define PEERS_PEERBENCH_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "peer.h"

#define PB_KEY_BYTES 16
#define PB_VALUE_BYTES 100
#define PB_RECORD_BYTES (PB_KEY_BYTES + PB_VALUE_BYTES)
#define PB_PER_TXN 1000 /* records of a loading transaction */
#define PB_METRICS_MAX 40
#define PB_ENGINES_MAX 10
#define PB_WORKLOADS_MAX 24
#define PB_ROUNDS_MAX 15

/* ---- options --------------------------------------------------------------------------------- */

struct pb_options {
    uint64_t records;          /* --n: of the loads that fit the cache */
    uint64_t big_records;      /* --big-n: of bigload */
    uint64_t big_cache_bytes;  /* --big-cache */
    uint64_t big_extra_bytes;  /* --big-extra: memory limit of bigload above the cache */
    uint64_t recovery_records; /* --recovery-n */
    uint64_t ckpt_bytes;       /* --ckpt-bytes */
    uint64_t file_records;     /* --file-n: keys of filesize */
    uint64_t file_updates;     /* --file-updates */
    uint64_t cache_bytes;      /* --cache */
    uint64_t disk_bytes_max;   /* --disk-max */
    uint64_t seed;             /* --seed */
    double seconds;            /* --seconds: of the workloads that run for a time */
    double seconds_max;        /* --max-seconds: of any one run */
    uint64_t touch_bytes;      /* --touch: memory touched and freed before each run */
    unsigned rounds;           /* --rounds */
    bool verbose;
    char dir[400]; /* --dir: our own folder below it */
    const char *json_path;
    const char *html_path;
    char command[512]; /* to say it in the reports */
};

/* ---- results --------------------------------------------------------------------------------- */

enum pb_status { PB_NONE = 0, PB_DONE, PB_CUT, PB_SKIPPED, PB_FAILED };

enum pb_better { PB_NEITHER = 0, PB_HIGHER = 1, PB_LOWER = -1 };

struct pb_metric {
    char name[28];
    char unit[12]; /* "/s", "s", "us", "B", "x", "MB/s", "" */
    double value;
    int better;   /* enum pb_better */
    bool primary; /* gets a chart */
};

/* Lives in memory shared between the program and the child that runs. */
struct pb_result {
    int status; /* enum pb_status */
    char note[240];
    uint64_t loaded; /* records in the store, for the runs that follow on it */
    unsigned metric_count;
    struct pb_metric metrics[PB_METRICS_MAX];
};

struct pb_run {
    unsigned round;
    unsigned engine;   /* index in pb_plan.engines */
    unsigned workload; /* index in pb_plan.workloads */
    struct pb_result result;
};

/* ---- one run, in its child ------------------------------------------------------------------- */

struct pb_ctx {
    const struct pb_options *options;
    const struct peer_ops *ops; /* NULL for the raw device workloads */
    struct pb_result *result;
    char dir[440];           /* the store's; exists */
    uint64_t deadline_ns;    /* soft: loops stop there and say so */
    uint64_t records;        /* in the store already, for workloads on a loaded store */
    atomic_ullong put_bytes; /* user bytes put, for write amplification */
    uint64_t disk_bytes;     /* of the store when it was last measured, 0: measure at the end */
};

typedef int pb_workload_run(struct pb_ctx *ctx);

#define PB_NEEDS_LOADED 1u /* runs on what rand_load left */
#define PB_LEAVES_LOADED 2u
#define PB_RAW 4u     /* no engine */
#define PB_LIMITED 8u /* in a memory cgroup */
#define PB_NEEDS_SNAPSHOT 16u
#define PB_NEEDS_DIRTY 32u

struct pb_workload {
    const char *name;
    unsigned flags;
    pb_workload_run *run;
    const char *what;   /* one line for the reports */
    const char *beside; /* raw workload whose limit is shown beside this one, or NULL */
    const char *limit;  /* its metric, */
    const char *own;    /* and the one to compare with it */
};

extern const struct pb_workload pb_workloads[];
extern const unsigned pb_workload_count;

struct pb_plan {
    const struct peer_ops *engines[PB_ENGINES_MAX];
    unsigned engine_count;
    const struct pb_workload *workloads[PB_WORKLOADS_MAX];
    unsigned workload_count;
    struct pb_run *runs; /* of run_max */
    unsigned run_count;
    unsigned run_max;
};

/* peerbench_run.c: runs everything of the plan; returns the number of failed runs. */
unsigned pb_run_all(const struct pb_options *options, struct pb_plan *plan);
void pb_interrupt(int signal_number);

/* ---- peerbench_util.c: clock, numbers, keys, values, histogram ------------------------------- */

uint64_t pb_now_ns(void);
double pb_seconds_since(uint64_t start_ns);

uint64_t pb_mix(uint64_t x); /* a bijection of 64-bit numbers (splitmix64's finaliser) */
struct pb_rng {
    uint64_t state;
};
uint64_t pb_rng_next(struct pb_rng *rng);
uint64_t pb_rng_below(struct pb_rng *rng, uint64_t bound);

enum pb_order { PB_ASCENDING, PB_RANDOM };
/* key[PB_KEY_BYTES] of number i: for PB_RANDOM a permutation of all 64-bit numbers, by seed. */
void pb_key_make(uint8_t *key, uint64_t i, enum pb_order order, uint64_t seed);
/* value[PB_VALUE_BYTES]: number, version, and a pattern that both determine. */
void pb_value_make(uint8_t *value, uint64_t i, uint64_t version);
/* False when the value is not one that pb_value_make gives. */
bool pb_value_check(struct peer_slice value, uint64_t *i_out, uint64_t *version_out);

#define PB_HIST_SUB 64
#define PB_HIST_BUCKETS (60 * PB_HIST_SUB)
struct pb_hist {
    uint64_t count;
    uint64_t max_ns;
    uint64_t buckets[PB_HIST_BUCKETS]; /* log-linear: error below 1/64 */
};
void pb_hist_add(struct pb_hist *hist, uint64_t ns);
void pb_hist_merge(struct pb_hist *into, const struct pb_hist *from);
uint64_t pb_hist_at(const struct pb_hist *hist, double fraction);

/* Read everything once, so that no engine starts with a cold cache. */
int pb_warm(struct pb_ctx *ctx, struct peer_db *db);
bool pb_parse_count(const char *text, uint64_t *count_out); /* 10m = 10,000,000 */
bool pb_parse_bytes(const char *text, uint64_t *bytes_out); /* 4G = 4 GiB */
void pb_format(char *text, size_t text_size, double value, const char *unit);

void pb_metric(struct pb_ctx *ctx, const char *name, const char *unit, double value, int better,
               bool primary);
void pb_note(struct pb_ctx *ctx, const char *format, ...) __attribute__((format(printf, 2, 3)));
int pb_selftest(void);

/* ---- peerbench_system.c: what the operating system tells and does ---------------------------- */

struct pb_io {
    uint64_t process_bytes; /* /proc/self/io: write_bytes - cancelled_write_bytes */
    uint64_t device_bytes;  /* /proc/diskstats of the device below dir, 0: not found */
};
void pb_io_read(const char *dir, struct pb_io *io_out);
uint64_t pb_dir_bytes(const char *dir); /* allocated blocks of all files below */
void pb_dir_remove(const char *dir);
uint64_t pb_rss_anon_bytes(int pid);
/* Drops what the page cache has of the files; returns the fraction still resident. */
double pb_cache_drop(const char *dir);

/* A memory cgroup, version 1 or 2.  false: none can be made, why in text. */
bool pb_cgroup_make(uint64_t limit_bytes, char *path, size_t path_size, char *why, size_t why_size);
bool pb_cgroup_join(const char *path);
void pb_cgroup_remove(const char *path);

struct pb_machine {
    char kernel[128];
    char cpu[128];
    unsigned cores;
    uint64_t memory_bytes;
    char filesystem[64];
    char device[64];
};
void pb_machine_read(const char *dir, struct pb_machine *machine_out);

/* fio on dir, O_DIRECT.  False: not installed or failed. */
struct pb_rate {
    double bytes; /* per second */
    double ios;
};
bool pb_fio(const char *dir, const char *rw, unsigned block_kib, unsigned depth, double seconds,
            struct pb_rate *rate_out);

/* ---- peerbench_store.c: stores, loading, verifying ------------------------------------------- */

struct pb_open {
    enum peer_durability durability;
    bool checkpoint_auto;
    bool ascending;
    uint32_t sessions_max;
    uint64_t cache_bytes; /* 0: the options' */
    uint64_t dirty_bytes;
};
int pb_store_open(struct pb_ctx *ctx, const char *dir, const struct pb_open *how,
                  struct peer_db **db_out);

struct pb_load {
    uint64_t first;
    uint64_t count;
    uint32_t per_txn;
    enum pb_order order;
    uint64_t version;
    bool updates;            /* numbers chosen at random below `count`, `first` of them */
    struct pb_hist *hist;    /* of transactions, or NULL */
    atomic_ullong *progress; /* records committed, or NULL */
    uint64_t done;           /* out */
};
/* Puts records in transactions until done, or the deadline (then PB_CUT is noted). */
int pb_store_load(struct pb_ctx *ctx, struct peer_session *session, struct pb_load *load);

/* One transaction of `count` puts, run again when the engine says so. */
int pb_store_put_txn(struct pb_ctx *ctx, struct peer_session *session, struct peer_record *records,
                     uint32_t count);

struct pb_batch { /* memory of `count` records, slices set */
    uint32_t count;
    struct peer_record *records;
    uint8_t *bytes;
};
int pb_batch_init(struct pb_batch *batch, uint32_t count);
void pb_batch_release(struct pb_batch *batch);
/* Fills slot j; the slices are set anew, as put_many may have reordered them. */
void pb_batch_set(struct pb_batch *batch, uint32_t j, uint64_t i, uint64_t version,
                  enum pb_order order, uint64_t seed);

/* A visit that checks key against value and ascending order; ctx: struct pb_visitor. */
struct pb_visitor {
    enum pb_order order;
    uint64_t seed;
    uint64_t count;
    uint64_t version_max;
    uint64_t bad;
    uint64_t sum; /* of record numbers */
    bool ordered; /* check that keys ascend */
    uint8_t last[PB_KEY_BYTES];
    uint64_t *seen; /* bitmap of seen_max numbers, or NULL */
    uint64_t seen_max;
};
bool pb_visit(void *ctx, struct peer_slice key, struct peer_slice value);
int pb_scan_all(struct pb_ctx *ctx, struct peer_session *session, struct pb_visitor *visitor);
/* Gets record i; PEER_ERROR when it is absent or wrong. */
int pb_get_checked(struct pb_ctx *ctx, struct peer_session *session, uint64_t i,
                   enum pb_order order);
int pb_wrong(struct pb_ctx *ctx, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Threads, each with a session of its own. */
struct pb_worker {
    struct pb_ctx *ctx;
    struct peer_db *db;
    struct peer_session *session;
    unsigned index;
    struct pb_rng rng;
    uint64_t until_ns;
    uint64_t ops;
    struct pb_hist *hist;
    atomic_bool *stop; /* set when one has failed */
    int rc;
    uint64_t arg; /* the workload's */
    int (*run)(struct pb_worker *worker);
};
int pb_workers_run(struct pb_ctx *ctx, struct peer_db *db, struct pb_worker *workers,
                   unsigned count, double seconds);

void pb_hist_metrics(struct pb_ctx *ctx, const struct pb_hist *hist, const char *prefix,
                     bool primary);

/* ---- workloads ------------------------------------------------------------------------------- */

pb_workload_run pb_seq_load, pb_rand_load, pb_settle, pb_bigload;
pb_workload_run pb_rand_get, pb_rand_get_2t, pb_get_many64, pb_scan100, pb_cold_scan;
pb_workload_run pb_commit_full_1t, pb_commit_full_8t, pb_mixed, pb_latency;
pb_workload_run pb_recovery, pb_ckpt, pb_filesize;
pb_workload_run pb_raw_sync_1t, pb_raw_sync_8t, pb_device;

/* ---- reports --------------------------------------------------------------------------------- */

struct pb_summary { /* of one metric of one engine in one workload, over the rounds */
    const struct pb_metric *metric; /* of the first run that has it */
    unsigned count;
    double median, min, max;
};
bool pb_summary_of(const struct pb_plan *plan, unsigned engine, unsigned workload,
                   const char *metric, struct pb_summary *summary_out);
/* Names of all metrics of a workload, in order of first appearance. */
unsigned pb_metric_names(const struct pb_plan *plan, unsigned workload,
                         const struct pb_metric **metrics, unsigned metric_max);
/* Status of an engine in a workload, for the tables: NULL when all rounds are done. */
const struct pb_result *pb_result_odd(const struct pb_plan *plan, unsigned engine,
                                      unsigned workload);
int pb_engine_find(const struct pb_plan *plan, const char *name);

void pb_report_table(FILE *out, const struct pb_options *options, const struct pb_plan *plan);
bool pb_report_json(const char *path, const struct pb_options *options,
                    const struct pb_machine *machine, const struct pb_plan *plan);
bool pb_report_html(const char *path, const struct pb_options *options,
                    const struct pb_machine *machine, const struct pb_plan *plan);

#endif
