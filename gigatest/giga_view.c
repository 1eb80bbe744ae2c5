/* SPDX-License-Identifier: Apache-2.0 */
/* gigatest/giga_view.c -- see giga_view.h. */
#include "gigatest/giga_view.h"

#include <stdarg.h>
#include <string.h>
#include <time.h>

#include "ftk/number.h"

#define NOW_NS 1000000000u

__attribute__((format(printf, 3, 4))) static void
row(struct giga_rows *rows, const char *label, const char *format, ...)
{
    struct giga_row *at = &rows->rows[rows->count];
    va_list arguments;

    if (rows->count == GIGA_ROWS_MAX)
        return;
    rows->count++;
    at->heading = false;
    snprintf(at->label, sizeof(at->label), "%s", label);
    va_start(arguments, format);
    vsnprintf(at->value, sizeof(at->value), format, arguments);
    va_end(arguments);
}

static void
heading(struct giga_rows *rows, const char *text)
{
    row(rows, text, "%s", "");
    rows->rows[rows->count - 1].heading = true;
}

/* ---- rates ---------------------------------------------------------------------------------- */

double
giga_rate_overall(const struct giga_moment *moment)
{
    uint64_t ns = moment->ns > moment->stage_ns ? moment->ns - moment->stage_ns : 0;

    return ns == 0 ? 0 : (double)(moment->done - moment->before) * 1e9 / (double)ns;
}

/* The series knows objects written; other stages have their overall rate only. */
double
giga_rate_now(const struct giga_moment *moment)
{
    const struct giga_sample *ago = giga_series_ago(moment->series, NOW_NS);
    const struct giga_sample *newest;

    if (ago == NULL || moment->stage >= GIGA_STAGE_VERIFY_RECORDS)
        return giga_rate_overall(moment);
    newest = &moment->series->samples[moment->series->sample_count - 1];
    return newest->ns == ago->ns
               ? 0
               : (double)(newest->work - ago->work) * 1e9 / (double)(newest->ns - ago->ns);
}

double
giga_rate_device(const struct giga_moment *moment)
{
    const struct giga_sample *ago = giga_series_ago(moment->series, NOW_NS);
    const struct giga_sample *newest;

    if (ago == NULL)
        return 0;
    newest = &moment->series->samples[moment->series->sample_count - 1];
    return newest->ns == ago->ns ? 0
                                 : (double)(newest->device_bytes - ago->device_bytes) * 1e9 /
                                       (double)(newest->ns - ago->ns);
}

/* ---- rows ----------------------------------------------------------------------------------- */

static const char *
checkpoint_text(uint32_t state)
{
    switch (state) {
    case KILN_CHECKPOINT_IDLE: return "idle";
    case KILN_CHECKPOINT_WRITING: return "writing pages";
    case KILN_CHECKPOINT_SYNCING: return "syncing";
    case KILN_CHECKPOINT_HEADER: return "writing the header";
    default: return "?";
    }
}

static void
estimate_row(struct giga_rows *rows, const struct giga_moment *moment)
{
    double rate = giga_rate_overall(moment);
    char left_text[FTK_NUMBER_TEXT_MAX];
    char end_text[FTK_NUMBER_TEXT_MAX];
    double left;
    time_t end;
    struct tm local;

    if (rate <= 0 || moment->total <= moment->done) {
        row(rows, "Estimated end", "-");
        return;
    }
    left = (double)(moment->total - moment->done) / rate;
    end = (time_t)((double)moment->wall_ns / 1e9 + (left < 1e9 ? left : 0));
    localtime_r(&end, &local);
    strftime(end_text, sizeof(end_text), left < 43200 ? "%H:%M:%S" : "%Y-%m-%d %H:%M", &local);
    row(rows, "Estimated end", "%s (in %s)", left < 1e9 ? end_text : "never",
        ftk_seconds_text(left_text, left));
}

static void
work_rows(struct giga_rows *rows, const struct giga_moment *moment)
{
    char text[FTK_NUMBER_TEXT_MAX];

    heading(rows, giga_stage_text(moment->stage));
    row(rows, "Total", "%s", ftk_count_text(text, moment->total));
    if (moment->total > 0)
        row(rows, "Done", "%s (%.1f %%)", ftk_count_text(text, moment->done),
            100.0 * (double)moment->done / (double)moment->total);
    else
        row(rows, "Done", "%s", ftk_count_text(text, moment->done));
    row(rows, "Transaction size", "%s", ftk_count_text(text, moment->options->txn));
    row(rows, "Per second now", "%s", ftk_count_text(text, (uint64_t)giga_rate_now(moment)));
    row(rows, "Per second overall", "%s",
        ftk_count_text(text, (uint64_t)giga_rate_overall(moment)));
    row(rows, "Elapsed", "%s", ftk_seconds_text(text, (double)moment->ns / 1e9));
    estimate_row(rows, moment);
}

static void
cache_rows(struct giga_rows *rows, const struct giga_moment *moment)
{
    const kiln_stat *stat = &moment->stat;
    double seconds = (double)stat->checkpoint_ns / 1e9;
    char text[FTK_NUMBER_TEXT_MAX];
    char more[FTK_NUMBER_TEXT_MAX];

    heading(rows, "cache");
    row(rows, "Size", "%s", ftk_bytes_text(text, stat->cache_limit_bytes));
    row(rows, "Used", "%s", ftk_bytes_text(text, stat->cache_used_bytes));
    row(rows, "Dirty", "%s", ftk_bytes_text(text, stat->cache_dirty_bytes));
    row(rows, "Log to replay", "%s", ftk_bytes_text(text, stat->rfl_since_checkpoint_bytes));
    heading(rows, "checkpoint");
    row(rows, "State", "%s", checkpoint_text(stat->checkpoint_state));
    row(rows, "Left to write", "%s", ftk_bytes_text(text, stat->checkpoint_left_bytes));
    row(rows, "Done", "%s, %s", ftk_count_text(text, stat->checkpoints),
        ftk_bytes_text(more, stat->checkpoint_bytes));
    row(rows, "Speed", "%s",
        ftk_rate_text(text, seconds > 0 ? (double)stat->checkpoint_bytes / seconds : 0));
    row(rows, "Last took", "%s",
        ftk_seconds_text(text, (double)stat->checkpoint_last_total_ns / 1e9));
}

static void
device_rows(struct giga_rows *rows, const struct giga_moment *moment)
{
    const kiln_stat *stat = &moment->stat;
    const struct giga_histogram_copy *commits = &moment->commits;
    char text[FTK_NUMBER_TEXT_MAX];
    char more[FTK_NUMBER_TEXT_MAX];
    char most[FTK_NUMBER_TEXT_MAX];

    heading(rows, "device");
    row(rows, "Writes now", "%s", ftk_rate_text(text, giga_rate_device(moment)));
    row(rows, "File", "%s", ftk_bytes_text(text, stat->file_bytes));
    row(rows, "Buffer waits", "%s, %s", ftk_count_text(text, stat->io_waits),
        ftk_seconds_text(more, (double)stat->io_wait_ns / 1e9));
    row(rows, "Ended out of order", "%s", ftk_count_text(text, stat->io_out_of_order));
    row(rows, "Writers slowed", "%s", ftk_seconds_text(text, (double)stat->throttle_ns / 1e9));
    row(rows, "Memory", "%s", ftk_bytes_text(text, moment->memory_bytes));
    heading(rows, "commits");
    row(rows, "Count", "%s", ftk_count_text(text, commits->count));
    row(rows, "p50, p99", "%s, %s", ftk_latency_text(text, giga_histogram_percentile(commits, 0.5)),
        ftk_latency_text(more, giga_histogram_percentile(commits, 0.99)));
    row(rows, "p99.9, max", "%s, %s",
        ftk_latency_text(text, giga_histogram_percentile(commits, 0.999)),
        ftk_latency_text(most, commits->max));
}

void
giga_view_make(struct giga_view *view, const struct giga_moment *moment)
{
    memset(view, 0, sizeof(*view));
    snprintf(view->title, sizeof(view->title), "gigatest %s   %s   page %u   %s%s", kiln_version(),
             moment->options->db, moment->stat.page_bytes,
             giga_durability_text(moment->options->durability),
             moment->stopping ? "   STOPPING" : "");
    view->share = moment->total > 0 ? (double)moment->done / (double)moment->total : -1;
    if (view->share > 1)
        view->share = 1;
    work_rows(&view->work, moment);
    cache_rows(&view->cache, moment);
    device_rows(&view->device, moment);
}

void
giga_view_line(const struct giga_moment *moment, char *line, size_t line_size)
{
    char seconds[FTK_NUMBER_TEXT_MAX];
    char done[FTK_NUMBER_TEXT_MAX];
    char total[FTK_NUMBER_TEXT_MAX];
    char rate[FTK_NUMBER_TEXT_MAX];
    char dirty[FTK_NUMBER_TEXT_MAX];
    char log[FTK_NUMBER_TEXT_MAX];
    int used =
        snprintf(line, line_size, "%8s  %s", ftk_seconds_text(seconds, (double)moment->ns / 1e9),
                 giga_stage_text(moment->stage));

    if (moment->total > 0)
        used += snprintf(line + used, line_size - (size_t)used, "  %s of %s (%.1f %%)  %s/s",
                         ftk_count_text(done, moment->done), ftk_count_text(total, moment->total),
                         100.0 * (double)moment->done / (double)moment->total,
                         ftk_count_text(rate, (uint64_t)giga_rate_now(moment)));
    if (moment->stat_known)
        snprintf(line + used, line_size - (size_t)used, "  dirty %s  log %s  checkpoint %s",
                 ftk_bytes_text(dirty, moment->stat.cache_dirty_bytes),
                 ftk_bytes_text(log, moment->stat.rfl_since_checkpoint_bytes),
                 checkpoint_text(moment->stat.checkpoint_state));
}

void
giga_view_end_line(const struct giga_stage_end *end, uint64_t run_ns, char *line, size_t line_size)
{
    uint64_t ns = end->end_ns > end->start_ns ? end->end_ns - end->start_ns : 1;
    uint64_t at_ns = end->end_ns > run_ns ? end->end_ns - run_ns : 0;
    char at[FTK_NUMBER_TEXT_MAX];
    char done[FTK_NUMBER_TEXT_MAX];
    char total[FTK_NUMBER_TEXT_MAX];
    char took[FTK_NUMBER_TEXT_MAX];
    char rate[FTK_NUMBER_TEXT_MAX];

    snprintf(
        line, line_size, "%8s  %s  %s of %s (%.1f %%) in %s: %s/s",
        ftk_seconds_text(at, (double)at_ns / 1e9), giga_stage_text(end->stage),
        ftk_count_text(done, end->done), ftk_count_text(total, end->total),
        100.0 * (double)end->done / (double)end->total, ftk_seconds_text(took, (double)ns / 1e9),
        ftk_count_text(rate, (uint64_t)((double)(end->done - end->before) * 1e9 / (double)ns)));
}
