/* SPDX-License-Identifier: Apache-2.0 */
/* gigatest/giga_report.c -- see giga_report.h. */
#include "gigatest/giga_report.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "ftk/number.h"
#include "gigatest/giga_device.h"

void
giga_figures_make(struct giga_figures *figures, struct giga_run *run)
{
    const struct giga_results *results = &run->results;
    const kiln_stat *stat = &results->stat;
    double seconds = (double)stat->checkpoint_ns / 1e9;

    memset(figures, 0, sizeof(*figures));
    giga_histogram_copy(&run->gauges.commits, &figures->commits);
    figures->p50_ns = giga_histogram_percentile(&figures->commits, 0.5);
    figures->p99_ns = giga_histogram_percentile(&figures->commits, 0.99);
    figures->p999_ns = giga_histogram_percentile(&figures->commits, 0.999);
    figures->peak_rss_bytes = giga_memory_peak();
    if (results->seconds > 0)
        figures->objects_per_second = (double)results->objects_added / results->seconds;
    if (results->objects > 0)
        figures->bytes_per_object = (double)results->data_bytes / (double)results->objects;
    if (seconds > 0)
        figures->checkpoint_bytes_per_second = (double)stat->checkpoint_bytes / seconds;
    figures->checkpoint_write_seconds = seconds;
    figures->checkpoint_sync_seconds = giga_series_sync_seconds(&run->series, stat);
    giga_machine_learn(&figures->machine, run->options->db);
    figures->data_used_bytes =
        stat->file_bytes - (stat->file_pages_free + stat->pages_pending) * stat->page_bytes;
}

static void
load_text(struct giga_run *run, const struct giga_figures *figures, FILE *out)
{
    const struct giga_results *results = &run->results;
    char a[FTK_NUMBER_TEXT_MAX], b[FTK_NUMBER_TEXT_MAX], c[FTK_NUMBER_TEXT_MAX],
        d[FTK_NUMBER_TEXT_MAX];

    fprintf(out, "loaded      %s objects in %s: %s objects/s\n",
            ftk_count_text(a, results->objects_added), ftk_seconds_text(b, results->seconds),
            ftk_count_text(c, (uint64_t)figures->objects_per_second));
    fprintf(out,
            "            open %s, transactions %s, final checkpoint %s, close %s, CPU %.1f s\n",
            ftk_seconds_text(a, results->open_seconds), ftk_seconds_text(b, results->load_seconds),
            ftk_seconds_text(c, results->checkpoint_seconds),
            ftk_seconds_text(d, results->close_seconds), results->cpu_seconds);
}

static void
stat_text(struct giga_run *run, const struct giga_figures *figures, FILE *out)
{
    const struct giga_results *results = &run->results;
    const kiln_stat *stat = &results->stat;
    char a[FTK_NUMBER_TEXT_MAX], b[FTK_NUMBER_TEXT_MAX], c[FTK_NUMBER_TEXT_MAX],
        d[FTK_NUMBER_TEXT_MAX];

    fprintf(out, "database    %s in %s objects: %.1f bytes/object; log %s\n",
            ftk_bytes_text(a, results->data_bytes), ftk_count_text(b, results->objects),
            figures->bytes_per_object, ftk_bytes_text(c, results->log_bytes));
    fprintf(out, "device      %s written", ftk_bytes_text(a, results->device_bytes_written));
    if (results->device_rate > 0)
        fprintf(out, "; it can do %s", ftk_rate_text(a, results->device_rate));
    fprintf(out, "\ncheckpoints %" PRIu64 ", %s written in %s at %s, then synced in %s;",
            stat->checkpoints, ftk_bytes_text(a, stat->checkpoint_bytes),
            ftk_seconds_text(b, figures->checkpoint_write_seconds),
            ftk_rate_text(c, figures->checkpoint_bytes_per_second),
            ftk_seconds_text(d, figures->checkpoint_sync_seconds));
    fprintf(out, " writers slowed %s\n", ftk_seconds_text(a, (double)stat->throttle_ns / 1e9));
    fprintf(out, "buffers     %s waits, %s in all; %s writes ended out of order\n",
            ftk_count_text(a, stat->io_waits), ftk_seconds_text(b, (double)stat->io_wait_ns / 1e9),
            ftk_count_text(c, stat->io_out_of_order));
    fprintf(out, "commits     %s: p50 %s, p99 %s, p99.9 %s, max ",
            ftk_count_text(a, figures->commits.count), ftk_latency_text(b, figures->p50_ns),
            ftk_latency_text(c, figures->p99_ns), ftk_latency_text(d, figures->p999_ns));
    fprintf(out, "%s\n", ftk_latency_text(a, figures->commits.max));
    fprintf(out, "memory      %s at most, cache limit %s\n",
            ftk_bytes_text(a, figures->peak_rss_bytes), ftk_bytes_text(b, stat->cache_limit_bytes));
}

static void
machine_text(const struct giga_machine *machine, FILE *out)
{
    char memory[FTK_NUMBER_TEXT_MAX];

    fprintf(out, "machine     %s, %" PRIu32 " cores, %s; %s\n", machine->cpu, machine->cores,
            ftk_bytes_text(memory, machine->memory_bytes), machine->kernel);
    fprintf(out, "            %s on %s\n", machine->file_system, machine->device);
    fprintf(out, "build       kiln %s, commit %s, %s\n", kiln_version(), machine->commit,
            machine->compiler);
}

void
giga_report_text(struct giga_run *run, FILE *out)
{
    const struct giga_results *results = &run->results;
    struct giga_figures figures;
    char a[FTK_NUMBER_TEXT_MAX], b[FTK_NUMBER_TEXT_MAX], c[FTK_NUMBER_TEXT_MAX];

    giga_figures_make(&figures, run);
    if (results->load_ran)
        load_text(run, &figures, out);
    for (uint32_t i = 0; i < results->phase_count; i++) {
        const struct giga_phase_result *phase = &results->phases[i];

        fprintf(out, "%-11s %s objects in %s: %s objects/s\n", giga_kind_text(phase->kind),
                ftk_count_text(a, phase->done), ftk_seconds_text(b, phase->seconds),
                ftk_count_text(
                    c, phase->seconds > 0 ? (uint64_t)((double)phase->done / phase->seconds) : 0));
    }
    if (results->stat_known && run->made) /* else the database was refused */
        stat_text(run, &figures, out);
    if (run->made)
        machine_text(&figures.machine, out);
    if (results->verify_ran && results->verified)
        fprintf(out, "verified    %s objects and their index entries, in %s\n",
                ftk_count_text(a, results->objects), ftk_seconds_text(b, results->verify_seconds));
    else if (results->verify_ran && results->findings > 0)
        fprintf(out, "NOT GOOD    %s findings\n", ftk_count_text(a, results->findings));
    else if (results->verify_ran)
        fprintf(out, "verified    not to the end\n");
}

/* The first fault is the run's; a report that is missing is told nevertheless. */
static bool
report_fail(struct giga_run *run, const char *path, int cause)
{
    const char *words = cause != 0 ? strerror(cause) : "a write failed";

    if (giga_failed(run))
        fprintf(stderr, "gigatest: cannot write %s: %s\n", path, words);
    return giga_fail(run, KILN_OK, "cannot write %s: %s", path, words);
}

static bool
report_write(struct giga_run *run, const char *path, void (*write)(struct giga_run *, FILE *))
{
    bool standard = strcmp(path, "-") == 0;
    FILE *out = standard ? stdout : fopen(path, "w");
    bool good;
    int cause;

    if (out == NULL)
        return report_fail(run, path, errno);
    errno = 0;
    write(run, out);
    good = fflush(out) == 0 && !ferror(out);
    cause = errno;
    if (!standard && fclose(out) != 0 && good) {
        good = false;
        cause = errno;
    }
    return good || report_fail(run, path, cause);
}

bool
giga_report_json(struct giga_run *run, const char *path)
{
    return report_write(run, path, giga_report_json_write);
}

bool
giga_report_html(struct giga_run *run, const char *path)
{
    return report_write(run, path, giga_report_html_write);
}
