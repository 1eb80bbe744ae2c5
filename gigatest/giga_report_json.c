/* SPDX-License-Identifier: Apache-2.0 */
/* gigatest/giga_report_json.c -- the report for machines.  Fields: gigatest.1. */
#include "gigatest/giga_json.h"
#include "gigatest/giga_points.h"
#include "gigatest/giga_report.h"

#include <stdlib.h>

static void
options_write(struct giga_json *json, struct giga_run *run)
{
    const struct giga_options *options = run->options;
    const struct giga_plan *plan = run->made ? &run->model.plan : &options->plan;

    giga_json_begin(json, "options", '{');
    giga_json_count(json, "count", plan->count);
    giga_json_text(json, "order", giga_order_text(plan->order));
    giga_json_text(json, "ids", giga_ids_text(plan->ids));
    giga_json_text(json, "index", giga_indexes_text(plan->indexes));
    giga_json_text(json, "db", options->db);
    giga_json_text(json, "rfl_dir", options->rfl_dir);
    giga_json_count(json, "txn", options->txn);
    giga_json_count(json, "threads", options->threads);
    giga_json_text(json, "durability", giga_durability_text(options->durability));
    giga_json_count(json, "page_bytes", run->results.stat.page_bytes);
    giga_json_count(json, "cache_bytes", options->cache_bytes);
    giga_json_count(json, "dirty_bytes_max", options->dirty_bytes);
    giga_json_count(json, "log_bytes_max", options->log_bytes);
    giga_json_count(json, "checkpoint_interval_ms", options->checkpoint_ms);
    giga_json_bool(json, "direct_io", !options->no_direct);
    giga_json_bool(json, "resume", options->resume);
    giga_json_end(json, '}');
}

static void
commits_write(struct giga_json *json, const struct giga_figures *figures)
{
    giga_json_begin(json, "commit_us", '{');
    giga_json_count(json, "count", figures->commits.count);
    giga_json_real(json, "mean",
                   figures->commits.count == 0
                       ? 0
                       : (double)figures->commits.sum / 1e3 / (double)figures->commits.count);
    giga_json_real(json, "p50", (double)figures->p50_ns / 1e3);
    giga_json_real(json, "p99", (double)figures->p99_ns / 1e3);
    giga_json_real(json, "p999", (double)figures->p999_ns / 1e3);
    giga_json_real(json, "max", (double)figures->commits.max / 1e3);
    giga_json_end(json, '}');
}

static void
engine_write(struct giga_json *json, const kiln_stat *stat)
{
    giga_json_begin(json, "engine", '{');
    giga_json_count(json, "file_pages_free", stat->file_pages_free);
    giga_json_count(json, "cache_misses", stat->cache_misses);
    giga_json_count(json, "cache_evictions", stat->cache_evictions);
    giga_json_count(json, "checkpoint_bytes", stat->checkpoint_bytes);
    giga_json_real(json, "checkpoint_seconds", (double)stat->checkpoint_ns / 1e9);
    giga_json_real(json, "throttle_seconds", (double)stat->throttle_ns / 1e9);
    giga_json_count(json, "io_reads", stat->io_reads);
    giga_json_count(json, "io_read_bytes", stat->io_read_bytes);
    giga_json_count(json, "io_writes", stat->io_writes);
    giga_json_count(json, "io_write_bytes", stat->io_write_bytes);
    giga_json_count(json, "io_out_of_order", stat->io_out_of_order);
    giga_json_count(json, "io_waits", stat->io_waits);
    giga_json_real(json, "io_wait_seconds", (double)stat->io_wait_ns / 1e9);
    giga_json_count(json, "io_pending_max", stat->io_pending_max);
    giga_json_begin(json, "io_depth", '[');
    for (uint32_t i = 0; i < 16; i++)
        giga_json_count(json, NULL, stat->io_depth[i]);
    giga_json_end(json, ']');
    giga_json_count(json, "rfl_bytes", stat->rfl_bytes);
    giga_json_count(json, "rfl_flush_bytes", stat->rfl_flush_bytes);
    giga_json_count(json, "rfl_syncs", stat->rfl_syncs);
    giga_json_real(json, "rfl_sync_seconds", (double)stat->rfl_sync_ns / 1e9);
    giga_json_count(json, "commits", stat->commits);
    giga_json_count(json, "recovered_txns", stat->recovered_txns);
    giga_json_end(json, '}');
}

static void
machine_write(struct giga_json *json, const struct giga_machine *machine)
{
    giga_json_begin(json, "machine", '{');
    giga_json_text(json, "cpu", machine->cpu);
    giga_json_count(json, "cores", machine->cores);
    giga_json_count(json, "memory_bytes", machine->memory_bytes);
    giga_json_text(json, "kernel", machine->kernel);
    giga_json_text(json, "file_system", machine->file_system);
    giga_json_text(json, "device", machine->device);
    giga_json_text(json, "compiler", machine->compiler);
    giga_json_text(json, "commit", machine->commit);
    giga_json_end(json, '}');
}

static void
column_write(struct giga_json *json, const char *key, const double *values, uint32_t count)
{
    giga_json_begin(json, key, '[');
    for (uint32_t i = 0; i < count; i++)
        giga_json_real(json, NULL, values[i]);
    giga_json_end(json, ']');
}

static void
series_write(struct giga_json *json, const struct giga_series *series)
{
    struct giga_points *points = malloc(sizeof(*points));

    giga_json_begin(json, "series", '{');
    if (points != NULL) {
        giga_points_make(points, series);
        column_write(json, "seconds", points->t, points->count);
        column_write(json, "objects", points->objects, points->count);
        column_write(json, "objects_per_second", points->objects_per_second, points->count);
        column_write(json, "device_bytes_per_second", points->device_bytes_per_second,
                     points->count);
        column_write(json, "dirty_bytes", points->dirty_bytes, points->count);
        column_write(json, "cache_used_bytes", points->used_bytes, points->count);
        column_write(json, "log_to_replay_bytes", points->log_bytes, points->count);
        column_write(json, "commit_p50_us", points->p50_us, points->count);
        column_write(json, "commit_p99_us", points->p99_us, points->count);
        column_write(json, "commit_max_us", points->max_us, points->count);
    }
    giga_json_begin(json, "checkpoints", '[');
    for (uint32_t i = 0; i < series->checkpoint_count; i++) {
        const struct giga_checkpoint_span *span = &series->checkpoints[i];

        giga_json_begin(json, NULL, '[');
        giga_json_real(json, NULL, (double)span->start_ns / 1e9);
        giga_json_real(json, NULL, (double)span->sync_ns / 1e9);
        giga_json_real(json, NULL, (double)span->end_ns / 1e9);
        giga_json_end(json, ']');
    }
    giga_json_end(json, ']');
    giga_json_begin(json, "stages", '[');
    for (uint32_t i = 0; i < series->stage_count; i++) {
        giga_json_begin(json, NULL, '[');
        giga_json_real(json, NULL, (double)series->stages[i].ns / 1e9);
        giga_json_text(json, NULL, giga_stage_text(series->stages[i].stage));
        giga_json_end(json, ']');
    }
    giga_json_end(json, ']');
    giga_json_end(json, '}');
    free(points);
}

static void
phases_write(struct giga_json *json, const struct giga_results *results)
{
    giga_json_begin(json, "phases", '[');
    for (uint32_t i = 0; i < results->phase_count; i++) {
        const struct giga_phase_result *phase = &results->phases[i];

        giga_json_begin(json, NULL, '{');
        giga_json_text(json, "kind", giga_kind_text(phase->kind));
        giga_json_count(json, "objects", phase->done);
        giga_json_real(json, "seconds", phase->seconds);
        giga_json_real(json, "objects_per_second",
                       phase->seconds > 0 ? (double)phase->done / phase->seconds : 0);
        giga_json_end(json, '}');
    }
    giga_json_end(json, ']');
}

static void
load_write(struct giga_json *json, struct giga_run *run, const struct giga_figures *figures)
{
    const struct giga_results *results = &run->results;

    giga_json_count(json, "objects", results->objects);
    giga_json_count(json, "objects_loaded", results->objects_added);
    giga_json_real(json, "seconds", results->seconds);
    giga_json_real(json, "objects_per_second", figures->objects_per_second);
    giga_json_real(json, "open_seconds", results->open_seconds);
    giga_json_real(json, "load_seconds", results->load_seconds);
    giga_json_real(json, "checkpoint_seconds", results->checkpoint_seconds);
    giga_json_real(json, "close_seconds", results->close_seconds);
    giga_json_real(json, "cpu_seconds", results->cpu_seconds);
    giga_json_count(json, "data_bytes", results->data_bytes);
    giga_json_count(json, "data_allocated_bytes", results->data_allocated_bytes);
    giga_json_count(json, "data_used_bytes", figures->data_used_bytes);
    giga_json_real(json, "bytes_per_object", figures->bytes_per_object);
    giga_json_count(json, "log_bytes", results->log_bytes);
    giga_json_count(json, "device_bytes_written", results->device_bytes_written);
    giga_json_count(json, "engine_bytes_written",
                    results->stat.io_write_bytes + results->stat.rfl_flush_bytes);
    if (results->device_rate > 0)
        giga_json_real(json, "device_bytes_per_second_limit", results->device_rate);
    else
        giga_json_null(json, "device_bytes_per_second_limit");
    giga_json_count(json, "checkpoints", results->stat.checkpoints);
    giga_json_real(json, "checkpoint_bytes_per_second", figures->checkpoint_bytes_per_second);
    giga_json_real(json, "checkpoint_write_seconds", figures->checkpoint_write_seconds);
    giga_json_real(json, "checkpoint_sync_seconds", figures->checkpoint_sync_seconds);
    commits_write(json, figures);
    giga_json_count(json, "peak_rss_bytes", figures->peak_rss_bytes);
    giga_json_count(json, "heap_bytes", results->heap_bytes);
    giga_json_count(json, "cache_bytes", results->stat.cache_limit_bytes);
}

void
giga_report_json_write(struct giga_run *run, FILE *out)
{
    struct giga_json json = {.out = out};
    const struct giga_results *results = &run->results;
    struct giga_figures figures;
    char checksum[24];

    giga_figures_make(&figures, run);
    giga_json_begin(&json, NULL, '{');
    giga_json_text(&json, "program", "gigatest");
    giga_json_text(&json, "version", kiln_version());
    giga_json_count(&json, "started", run->start_wall_ns / 1000000000);
    machine_write(&json, &figures.machine);
    load_write(&json, run, &figures);
    giga_json_count(&json, "seed", run->made ? run->model.plan.seed : run->options->plan.seed);
    options_write(&json, run);
    phases_write(&json, results);
    if (results->verify_ran)
        giga_json_bool(&json, "verified", results->verified);
    else
        giga_json_null(&json, "verified");
    giga_json_count(&json, "findings", results->findings);
    giga_json_real(&json, "verify_seconds", results->verify_seconds);
    snprintf(checksum, sizeof(checksum), "%016llx", (unsigned long long)results->records_checksum);
    giga_json_text(&json, "checksum", results->verify_ran ? checksum : NULL);
    giga_json_text(&json, "error", run->fault.set ? run->fault.text : NULL);
    engine_write(&json, &results->stat);
    series_write(&json, &run->series);
    giga_json_end(&json, '}');
}
