/* SPDX-License-Identifier: Apache-2.0 */
/* gigatest/giga_options.h -- the command line. */
#ifndef GIGATEST_GIGA_OPTIONS_H
#define GIGATEST_GIGA_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "gigatest/giga_model.h"
#include "kiln.h"

/*
 * One table for parsing, for --help and for the command that resumes.
 *   id, name, argument ("" = none), passed on to a resumed run, help
 */
#define GIGA_OPTIONS(X)                                                                            \
    X(DB, "db", "DIR", true, "directory of the database (gigatest.db)")                            \
    X(RFL_DIR, "rfl-dir", "DIR", true, "directory of the roll-forward log (inside the database)")  \
    X(TXN, "txn", "N", true, "objects per transaction (100)")                                      \
    X(ORDER, "order", "ORDER", false, "of the names: sequential or random (sequential)")           \
    X(IDS, "ids", "IDS", false, "auto, given or scattered (auto)")                                 \
    X(INDEX, "index", "LIST", false, "none, name, age or name,age (name)")                         \
    X(SEED, "seed", "S", false, "of names, ages and orders (1)")                                   \
    X(PAGE, "page", "SIZE", false, "of the database, 4k to 64k (the engine's default)")            \
    X(CACHE, "cache", "SIZE", true, "limit of the page cache (the engine's default)")              \
    X(DIRTY_MAX, "dirty-max", "SIZE", true, "dirty cache that starts a checkpoint")                \
    X(LOG_MAX, "log-max", "SIZE", true, "log length that starts a checkpoint")                     \
    X(CHECKPOINT_INTERVAL, "checkpoint-interval", "S", true,                                       \
      "seconds from a change to its checkpoint (60; 0: never by time)")                            \
    X(SEGMENT, "segment", "SIZE", true, "of the log's files")                                      \
    X(DURABILITY, "durability", "MODE", true, "full, os or lazy (full)")                           \
    X(LAZY, "lazy", "S", true, "bound of --durability lazy (0.1)")                                 \
    X(THREADS, "threads", "N", true, "that commit side by side (4 with full, else 1)")             \
    X(IO_DEPTH, "io-depth", "N", true, "I/O buffers under way (the engine's default)")             \
    X(NO_DIRECT, "no-direct", "", true, "go through the operating system's page cache")            \
    X(UPDATE, "update", "N", false, "then update N objects")                                       \
    X(DELETE, "delete", "N", false, "then delete N objects")                                       \
    X(MIXED, "mixed", "N", false, "then take N steps of reads, updates, deletes and adds")         \
    X(VERIFY, "verify", "", true, "prove every object and index entry; alone: of what is there")   \
    X(RESUME, "resume", "", false, "go on with the database that is there")                        \
    X(OVERWRITE, "overwrite", "", false, "remove a database that is there first")                  \
    X(REMOVE, "remove", "", true, "remove the database at the end, when all is well")              \
    X(KEEP, "keep", "", true, "keep the database at the end (the default)")                        \
    X(JSON, "json", "FILE", true, "write a report for machines (-: to standard output)")           \
    X(HTML, "html", "FILE", true, "write a report with plots; measures the device first")          \
    X(PLAIN, "plain", "", true, "lines instead of the full screen")                                \
    X(INTERVAL, "interval", "S", true, "between these lines (2)")                                  \
    X(QUIET, "quiet", "", true, "no screen, no lines, no summary")                                 \
    X(HELP, "help", "", false, "this text")                                                        \
    X(VERSION, "version", "", false, "the version")

enum giga_option {
#define X(id, name, argument, again, help) GIGA_OPT_##id,
    GIGA_OPTIONS(X)
#undef X
        GIGA_OPT_COUNT
};

#define GIGA_PHASES_MAX 32

struct giga_phase {
    enum giga_kind kind;
    uint64_t count;
};

struct giga_options {
    struct giga_plan plan;
    bool count_given;
    bool given[GIGA_OPT_COUNT];
    const char
        *text[GIGA_OPT_COUNT]; /* the last argument of each, borrowed from the command line */

    const char *db, *rfl_dir;
    uint32_t txn, threads, io_depth, page_bytes, segment_bytes, lazy_ms, checkpoint_ms;
    uint64_t cache_bytes, dirty_bytes, log_bytes, interval_ms;
    kiln_durability durability;
    struct giga_phase phases[GIGA_PHASES_MAX];
    uint32_t phase_count;
    bool verify, resume, overwrite, remove, plain, quiet, no_direct, help, version;
    bool verify_only; /* --verify without COUNT, --resume and phases */
    const char *json, *html;
};

/* False: *error holds one line that says what is wrong. */
bool giga_options_parse(struct giga_options *options, int argc, char *const *argv, char *error,
                        size_t error_size);
void giga_options_help(FILE *out);

/* The command that goes on with this run: `program` --resume ..., with the phases given here.
 * Written as a shell reads it; false when it does not fit. */
bool giga_options_resume_command(const struct giga_options *options, const char *program,
                                 const struct giga_phase *phases, uint32_t phase_count,
                                 char *buffer, size_t buffer_size);

const char *giga_order_text(enum giga_order order);
const char *giga_ids_text(enum giga_ids ids);
const char *giga_indexes_text(uint32_t indexes);
const char *giga_durability_text(kiln_durability durability);
const char *giga_kind_text(enum giga_kind kind);
bool giga_order_parse(const char *text, enum giga_order *order_out);
bool giga_ids_parse(const char *text, enum giga_ids *ids_out);
bool giga_indexes_parse(const char *text, uint32_t *indexes_out);
bool giga_kind_parse(const char *text, enum giga_kind *kind_out);

#endif
