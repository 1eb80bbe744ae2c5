/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gigatest/giga_report_html.c -- the report as one page: a summary, and plots over one time axis.
 *
 * Plots are inline SVG, drawn here; the script of giga_report_html_text.c only adds a cross-hair.
 * Nothing is loaded from elsewhere.
 */
#include "gigatest/giga_report_html.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ftk/number.h"
#include "gigatest/giga_json.h"
#include "gigatest/giga_points.h"
#include "gigatest/giga_report.h"

/*
 * An SVG and the drawing area in it.  Each plot is drawn in two shapes, and the page shows the one
 * that fits: text in a wide one that is scaled down to a telephone cannot be read.
 */
struct shape {
    const char *style;
    double width, height;
    double left, right, top, bottom; /* margins */
    uint32_t times_max;              /* labels along the time */
};

static const struct shape shapes[] = {
    {"wide", 960, 250, 76, 12, 10, 42, 10},
    {"narrow", 360, 250, 64, 10, 10, 42, 4},
};

#define PLOT_LINES_MAX 3

struct line {
    const char *name;
    const char *style; /* class of the page's style sheet */
    const double *values;
    bool area;
};

struct plot {
    const char *title;
    const char *unit;
    double scale; /* values are divided by it */
    struct line lines[PLOT_LINES_MAX];
    uint32_t line_count;
    bool logarithmic;
    double limit; /* a level to be drawn, before scaling; 0: none */
    const char *limit_name;
    const char *limit_style;
};

struct axes {
    const struct shape *shape;
    double seconds;
    double low, high; /* scaled; powers of ten when logarithmic */
    bool logarithmic;
};

static void
escape(FILE *out, const char *text)
{
    for (; *text != 0; text++) {
        switch (*text) {
        case '<': fputs("&lt;", out); break;
        case '>': fputs("&gt;", out); break;
        case '&': fputs("&amp;", out); break;
        case '"': fputs("&quot;", out); break;
        default: putc(*text, out);
        }
    }
}

/* ---- axes ----------------------------------------------------------------------------------- */

static double
x_of(const struct axes *axes, double seconds)
{
    double share = axes->seconds > 0 ? seconds / axes->seconds : 0;

    return axes->shape->left +
           (axes->shape->width - axes->shape->left - axes->shape->right) * (share > 1 ? 1 : share);
}

static double
y_of(const struct axes *axes, double value)
{
    double share;

    if (axes->logarithmic)
        share = value <= axes->low ? 0 : log10(value / axes->low) / log10(axes->high / axes->low);
    else
        share = value / axes->high;
    share = share < 0 ? 0 : share > 1 ? 1 : share;
    return axes->shape->height - axes->shape->bottom -
           (axes->shape->height - axes->shape->top - axes->shape->bottom) * share;
}

/* The least round number that is not below `value`. */
static double
nice(double value)
{
    static const double steps[] = {1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10};
    double power = pow(10, floor(log10(value > 0 ? value : 1)));

    for (uint32_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
        if (steps[i] * power >= value * 0.999999)
            return steps[i] * power;
    }
    return 10 * power;
}

static void
axes_make(struct axes *axes, const struct plot *plot, const struct giga_points *points)
{
    double most = plot->limit / plot->scale;
    double least = INFINITY;

    for (uint32_t i = 0; i < plot->line_count; i++) {
        for (uint32_t k = 0; k < points->count; k++) {
            double value = plot->lines[i].values[k] / plot->scale;

            most = value > most ? value : most;
            least = value > 0 && value < least ? value : least;
        }
    }
    axes->seconds = points->seconds;
    axes->logarithmic = plot->logarithmic;
    if (plot->logarithmic) {
        axes->low = isfinite(least) ? pow(10, floor(log10(least))) : 1;
        axes->high = most > axes->low ? pow(10, ceil(log10(most))) : axes->low * 10;
        axes->high = axes->high > axes->low ? axes->high : axes->low * 10;
    } else {
        axes->low = 0;
        axes->high = most > 0 ? nice(most / 4) * 4 : 1;
    }
}

static void
tick_text(FILE *out, double value)
{
    if (value >= 1e6)
        fprintf(out, "%.3gM", value / 1e6);
    else if (value >= 1e4)
        fprintf(out, "%.4gk", value / 1e3);
    else
        fprintf(out, "%.4g", value);
}

static void
y_tick(FILE *out, const struct axes *axes, double value)
{
    double y = y_of(axes, value);

    fprintf(out,
            "<line class=grid x1=%.1f x2=%.1f y1=%.1f y2=%.1f /><text class=tick x=%.1f "
            "y=%.1f text-anchor=end>",
            axes->shape->left, axes->shape->width - axes->shape->right, y, y, axes->shape->left - 8,
            y + 4);
    tick_text(out, value);
    fputs("</text>\n", out);
}

/* What the axes are of: the unit along the values, the clock along the time. */
static void
axes_name(FILE *out, const struct axes *axes, const char *unit)
{
    const struct shape *shape = axes->shape;
    double middle = shape->top + (shape->height - shape->top - shape->bottom) / 2;

    fprintf(out, "<path class=axis d=\"M%.1f %.1fV%.1fH%.1f\" />\n", shape->left, shape->top,
            shape->height - shape->bottom, shape->width - shape->right);
    fprintf(out,
            "<text class=tick text-anchor=middle transform=\"translate(11 %.1f) rotate(-90)\">"
            "%s</text>\n",
            middle, unit);
    fprintf(out, "<text class=tick x=%.1f y=%.1f text-anchor=middle>since the start, %s</text>\n",
            (shape->left + shape->width - shape->right) / 2, shape->height - 6,
            axes->seconds < 600 ? "seconds" : "h:mm");
}

static void
axes_draw(FILE *out, const struct axes *axes)
{
    const struct shape *shape = axes->shape;
    double step = nice(axes->seconds / shape->times_max);
    uint32_t powers = (uint32_t)lround(log10(axes->high / (axes->low > 0 ? axes->low : 1)));

    if (axes->logarithmic) {
        for (uint32_t i = 0; i <= powers; i++)
            y_tick(out, axes, axes->low * pow(10, i));
    } else {
        for (uint32_t i = 0; i <= 4; i++)
            y_tick(out, axes, axes->high * i / 4);
    }
    for (uint32_t i = 0; i <= shape->times_max && step * i <= axes->seconds * 1.0001; i++) {
        double t = step * i;

        fprintf(out, "<text class=tick x=%.1f y=%.1f text-anchor=middle>", x_of(axes, t),
                shape->height - shape->bottom + 16);
        if (axes->seconds < 600)
            fprintf(out, "%g</text>\n", t);
        else
            fprintf(out, "%d:%02d</text>\n", (int)(t / 3600), (int)(t / 60) % 60);
    }
}

/* ---- what lies behind and upon -------------------------------------------------------------- */

static void
band(FILE *out, const struct axes *axes, const char *style, double from, double to)
{
    double left = x_of(axes, from);
    double width = x_of(axes, to) - left;

    fprintf(out, "<rect class=%s x=%.1f y=%.1f width=%.2f height=%.1f />\n", style, left,
            axes->shape->top, width < 1.2 ? 1.2 : width,
            axes->shape->height - axes->shape->top - axes->shape->bottom);
}

static void
bands_draw(FILE *out, const struct axes *axes, const struct giga_series *series)
{
    for (uint32_t i = 0; i < series->checkpoint_count; i++) {
        const struct giga_checkpoint_span *span = &series->checkpoints[i];
        double end = span->end_ns != 0 ? (double)span->end_ns / 1e9 : axes->seconds;
        double sync = span->sync_ns != 0 ? (double)span->sync_ns / 1e9 : end;

        band(out, axes, "ckpt", (double)span->start_ns / 1e9, sync);
        if (end > sync)
            band(out, axes, "sync", sync, end);
    }
}

/* Where one kind of work ends and another begins; the short stages at the ends are left out. */
static void
stages_draw(FILE *out, const struct axes *axes, const struct giga_series *series)
{
    for (uint32_t i = 0; i < series->stage_count; i++) {
        double x = x_of(axes, (double)series->stages[i].ns / 1e9);
        enum giga_stage stage = series->stages[i].stage;

        if (stage < GIGA_STAGE_UPDATE || stage > GIGA_STAGE_CHECKPOINT)
            continue;
        fprintf(out, "<line class=stage x1=%.1f x2=%.1f y1=%.1f y2=%.1f />\n", x, x,
                axes->shape->top, axes->shape->height - axes->shape->bottom);
        if (stage != GIGA_STAGE_CHECKPOINT) /* a band shows that one */
            fprintf(out, "<text class=\"tick mark\" x=%.1f y=%.1f>%s</text>\n", x + 4,
                    axes->shape->top + 11, giga_stage_text(stage));
    }
}

static void
line_draw(FILE *out, const struct axes *axes, const struct plot *plot, const struct line *line,
          const struct giga_points *points)
{
    bool drawing = false;

    if (points->count == 0)
        return;
    if (line->area) {
        fprintf(out, "<path class=\"area %s\" d=\"M%.1f %.1f", line->style,
                x_of(axes, points->t[0]), axes->shape->height - axes->shape->bottom);
        for (uint32_t i = 0; i < points->count; i++)
            fprintf(out, "L%.1f %.1f", x_of(axes, points->t[i]),
                    y_of(axes, line->values[i] / plot->scale));
        fprintf(out, "L%.1f %.1fZ\" />\n", x_of(axes, points->t[points->count - 1]),
                axes->shape->height - axes->shape->bottom);
    }
    fprintf(out, "<path class=\"line %s\" d=\"", line->style);
    for (uint32_t i = 0; i < points->count; i++) {
        bool gap = axes->logarithmic && line->values[i] <= 0; /* no commit in this step */

        if (!gap) /* a point without neighbours is a dot */
            fprintf(out, "%c%.1f %.1f%s", drawing ? 'L' : 'M', x_of(axes, points->t[i]),
                    y_of(axes, line->values[i] / plot->scale), drawing ? "" : "h0");
        drawing = !gap;
    }
    fputs("\" />\n", out);
}

static void
legend_draw(FILE *out, const struct plot *plot, bool checkpoints)
{
    fputs("<div class=legend>", out);
    for (uint32_t i = 0; i < plot->line_count; i++)
        fprintf(out, "<span><i class=\"%s\"></i>%s</span>", plot->lines[i].style,
                plot->lines[i].name);
    if (plot->limit > 0) {
        fprintf(out, "<span><i class=\"dash %s\"></i>", plot->limit_style);
        escape(out, plot->limit_name);
        fputs("</span>", out);
    }
    if (checkpoints)
        fputs("<span><i class=kc></i>checkpoint: writing</span><span><i class=ks></i>syncing"
              "</span>",
              out);
    fputs("</div>\n", out);
}

static void
shape_draw(FILE *out, const struct axes *axes, const struct plot *plot,
           const struct giga_points *points, const struct giga_series *series)
{
    const struct shape *shape = axes->shape;

    fprintf(out,
            "<svg class=\"plot %s\" viewBox=\"0 0 %.0f %.0f\" role=img aria-label=\"%s\" "
            "data-left=%.0f data-right=%.0f>\n",
            shape->style, shape->width, shape->height, plot->title, shape->left, shape->right);
    bands_draw(out, axes, series);
    axes_draw(out, axes);
    axes_name(out, axes, plot->unit);
    stages_draw(out, axes, series);
    for (uint32_t i = 0; i < plot->line_count; i++)
        line_draw(out, axes, plot, &plot->lines[i], points);
    if (plot->limit > 0) {
        double y = y_of(axes, plot->limit / plot->scale);

        fprintf(out, "<line class=\"limit %s\" x1=%.1f x2=%.1f y1=%.1f y2=%.1f />\n",
                plot->limit_style, shape->left, shape->width - shape->right, y, y);
    }
    fprintf(out, "<line class=cross y1=%.1f y2=%.1f /></svg>\n", shape->top,
            shape->height - shape->bottom);
}

static void
plot_draw(FILE *out, const struct plot *plot, const struct giga_points *points,
          const struct giga_series *series)
{
    struct axes axes;

    axes_make(&axes, plot, points);
    fprintf(out, "<section class=\"card plots\"><h2>%s <small>%s</small></h2>\n", plot->title,
            plot->unit);
    legend_draw(out, plot, series->checkpoint_count > 0);
    for (uint32_t i = 0; i < sizeof(shapes) / sizeof(*shapes); i++) {
        axes.shape = &shapes[i];
        shape_draw(out, &axes, plot, points, series);
    }
    fputs("</section>\n", out);
}

/* ---- summary -------------------------------------------------------------------------------- */

static void
tile(FILE *out, const char *label, const char *value, const char *unit)
{
    fprintf(out, "<div class=tile><b>%s<small> %s</small></b><span>%s</span></div>\n", value, unit,
            label);
}

static void
tiles_draw(FILE *out, struct giga_run *run, const struct giga_figures *figures)
{
    const struct giga_results *results = &run->results;
    char text[FTK_NUMBER_TEXT_MAX];

    fputs("<div class=tiles>\n", out);
    tile(out, "objects per second, all in",
         ftk_count_text(text, (uint64_t)figures->objects_per_second), "/s");
    tile(out, "objects in the database", ftk_count_text(text, results->objects), "");
    tile(out, "open, load, checkpoint, close", ftk_seconds_text(text, results->seconds), "");
    snprintf(text, sizeof(text), "%.1f", figures->bytes_per_object);
    tile(out, "bytes on disk per object", text, "B");
    tile(out, "checkpoint speed", ftk_rate_text(text, figures->checkpoint_bytes_per_second), "");
    tile(out, "commits, 99th percentile", ftk_latency_text(text, figures->p99_ns), "");
    fputs("</div>\n", out);
}

static void
cell(FILE *out, const char *label, const char *value)
{
    fprintf(out, "<tr><th>%s</th><td>", label);
    escape(out, value);
    fputs("</td></tr>\n", out);
}

static void
results_table(FILE *out, struct giga_run *run, const struct giga_figures *figures)
{
    const struct giga_results *results = &run->results;
    const kiln_stat *stat = &results->stat;
    char text[4 * FTK_NUMBER_TEXT_MAX];
    char part[FTK_NUMBER_TEXT_MAX];

    fputs("<table>\n", out);
    cell(out, "Objects loaded by this run", ftk_count_text(text, results->objects_added));
    for (uint32_t i = 0; i < results->phase_count; i++) {
        const struct giga_phase_result *phase = &results->phases[i];

        snprintf(text, sizeof(text), "%s: %s objects in %.1f s", giga_kind_text(phase->kind),
                 ftk_count_text(part, phase->done), phase->seconds);
        cell(out, "Then", text);
    }
    cell(out, "Data file", ftk_bytes_text(text, results->data_bytes));
    cell(out, "Log on disk at the end", ftk_bytes_text(text, results->log_bytes));
    cell(out, "Written to the device", ftk_bytes_text(text, results->device_bytes_written));
    cell(out, "Device limit, 1 MiB writes",
         results->device_rate > 0 ? ftk_rate_text(text, results->device_rate) : "not measured");
    snprintf(text, sizeof(text), "%llu, %s", (unsigned long long)stat->checkpoints,
             ftk_bytes_text(part, stat->checkpoint_bytes));
    cell(out, "Checkpoints", text);
    cell(out, "Checkpoints: writing", ftk_seconds_text(text, figures->checkpoint_write_seconds));
    cell(out, "Checkpoints: syncing", ftk_seconds_text(text, figures->checkpoint_sync_seconds));
    cell(out, "Commits", ftk_count_text(text, figures->commits.count));
    cell(out, "Commit p50", ftk_latency_text(text, figures->p50_ns));
    cell(out, "Commit p99.9", ftk_latency_text(text, figures->p999_ns));
    cell(out, "Commit max", ftk_latency_text(text, figures->commits.max));
    cell(out, "Waits for an I/O buffer", ftk_count_text(text, stat->io_waits));
    cell(out, "I/Os ended out of order", ftk_count_text(text, stat->io_out_of_order));
    cell(out, "Writers slowed", ftk_seconds_text(text, (double)stat->throttle_ns / 1e9));
    cell(out, "CPU time", ftk_seconds_text(text, results->cpu_seconds));
    cell(out, "Memory at most", ftk_bytes_text(text, figures->peak_rss_bytes));
    cell(out, "Verified",
         !results->verify_ran ? "not asked for"
         : results->verified  ? "yes: every object and index entry"
         : results->findings  ? "NO: see standard error"
                              : "not to the end");
    fputs("</table>\n", out);
}

static void
options_table(FILE *out, struct giga_run *run)
{
    const struct giga_options *options = run->options;
    const struct giga_plan *plan = run->made ? &run->model.plan : &options->plan;
    char text[FTK_NUMBER_TEXT_MAX];

    fputs("<table>\n", out);
    cell(out, "COUNT", ftk_count_text(text, plan->count));
    cell(out, "Database", options->db);
    cell(out, "Objects per transaction", ftk_count_text(text, options->txn));
    cell(out, "Threads", ftk_count_text(text, options->threads));
    cell(out, "Durability", giga_durability_text(options->durability));
    cell(out, "Order of names", giga_order_text(plan->order));
    cell(out, "Record ids", giga_ids_text(plan->ids));
    cell(out, "Indexes", giga_indexes_text(plan->indexes));
    snprintf(text, sizeof(text), "%llu", (unsigned long long)plan->seed);
    cell(out, "Seed", text);
    cell(out, "Cache limit", ftk_bytes_text(text, run->results.stat.cache_limit_bytes));
    cell(out, "Page", ftk_bytes_text(text, run->results.stat.page_bytes));
    cell(out, "Checkpoint interval", ftk_seconds_text(text, options->checkpoint_ms / 1e3));
    cell(out, "Direct I/O", options->no_direct ? "no" : "yes");
    fputs("</table>\n", out);
}

static void
machine_table(FILE *out, const struct giga_machine *machine)
{
    char text[FTK_NUMBER_TEXT_MAX];

    fputs("<table>\n", out);
    cell(out, "CPU", machine->cpu);
    cell(out, "Cores", ftk_count_text(text, machine->cores));
    cell(out, "Memory", ftk_bytes_text(text, machine->memory_bytes));
    cell(out, "Kernel", machine->kernel);
    cell(out, "File system", machine->file_system);
    cell(out, "Device", machine->device);
    cell(out, "Compiler", machine->compiler);
    cell(out, "kiln", kiln_version());
    cell(out, "Commit", machine->commit);
    fputs("</table>\n", out);
}

/* ---- the page ------------------------------------------------------------------------------- */

static void
plots_draw(FILE *out, struct giga_run *run, const struct giga_points *points)
{
    double limit = run->results.device_rate;
    char limit_name[64];
    char text[FTK_NUMBER_TEXT_MAX];
    const struct plot plots[] = {
        {"Objects",
         "per second",
         1,
         {{"objects/s", "c1", points->objects_per_second, true}},
         1,
         false,
         run->results.load_seconds > 0
             ? (double)run->results.objects_added / run->results.load_seconds
             : 0,
         "average of the load",
         "mean"},
        {"Device writes",
         "MB/s",
         1e6,
         {{"written", "c2", points->device_bytes_per_second, true}},
         1,
         false,
         limit,
         limit_name,
         ""},
        {"Cache",
         "MiB",
         1048576,
         {{"dirty", "c3", points->dirty_bytes, true},
          {"used", "c1", points->used_bytes, false},
          {"log to replay", "c4", points->log_bytes, false}},
         3,
         false,
         0,
         "",
         ""},
        {"Commit latency",
         "µs, logarithmic",
         1,
         /* The last is on top; p99 is a wide band, so that both show where they are the same. */
         {{"p50", "c2", points->p50_us, false},
          {"p99", "c1 under", points->p99_us, false},
          {"max", "c3", points->max_us, false}},
         3,
         true,
         0,
         "",
         ""},
    };

    snprintf(limit_name, sizeof(limit_name), "limit measured: %s", ftk_rate_text(text, limit));
    for (uint32_t i = 0; i < sizeof(plots) / sizeof(*plots); i++)
        plot_draw(out, &plots[i], points, &run->series);
}

static void
data_column(struct giga_json *json, const char *key, const double *values, uint32_t count,
            double scale)
{
    giga_json_begin(json, key, '[');
    for (uint32_t i = 0; i < count; i++)
        giga_json_real(json, NULL, round(values[i] / scale * 100) / 100);
    giga_json_end(json, ']');
}

/* For the cross-hair: one list of [name, values] for each plot, in the plots' order. */
static void
data_write(FILE *out, const struct giga_points *points)
{
    struct giga_json json = {.out = out};
    uint32_t count = points->count;

    fputs("<script type=\"application/json\" id=data>", out);
    giga_json_begin(&json, NULL, '{');
    giga_json_real(&json, "seconds", points->seconds);
    data_column(&json, "t", points->t, count, 1);
    giga_json_begin(&json, "plots", '[');
    giga_json_begin(&json, NULL, '{');
    data_column(&json, "objects/s", points->objects_per_second, count, 1);
    giga_json_end(&json, '}');
    giga_json_begin(&json, NULL, '{');
    data_column(&json, "MB/s", points->device_bytes_per_second, count, 1e6);
    giga_json_end(&json, '}');
    giga_json_begin(&json, NULL, '{');
    data_column(&json, "dirty MiB", points->dirty_bytes, count, 1048576);
    data_column(&json, "used MiB", points->used_bytes, count, 1048576);
    data_column(&json, "log MiB", points->log_bytes, count, 1048576);
    giga_json_end(&json, '}');
    giga_json_begin(&json, NULL, '{');
    data_column(&json, "p50 µs", points->p50_us, count, 1);
    data_column(&json, "p99 µs", points->p99_us, count, 1);
    data_column(&json, "max µs", points->max_us, count, 1);
    giga_json_end(&json, '}');
    giga_json_end(&json, ']');
    giga_json_end(&json, '}');
    fputs("</script>\n", out);
}

void
giga_report_html_write(struct giga_run *run, FILE *out)
{
    struct giga_points *points = malloc(sizeof(*points));
    struct giga_figures figures;
    time_t started = (time_t)(run->start_wall_ns / 1000000000);
    struct tm local;
    char when[64];

    if (points == NULL)
        return;
    giga_figures_make(&figures, run);
    giga_points_make(points, &run->series);
    localtime_r(&started, &local);
    strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &local);
    fputs(giga_html_head, out);
    fprintf(out, "<header><h1>gigatest</h1><p>index %s, order %s",
            giga_indexes_text(run->model.plan.indexes), giga_order_text(run->model.plan.order));
    fprintf(out, " &middot; %s</p></header>\n", when);
    if (run->fault.set) {
        fputs("<p class=fault>", out);
        escape(out, run->fault.text);
        fputs("</p>\n", out);
    }
    tiles_draw(out, run, &figures);
    if (points->count > 1)
        plots_draw(out, run, points);
    fputs("<section class=\"card pair\"><div><h2>Results</h2>\n", out);
    results_table(out, run, &figures);
    fputs("</div><div><h2>Options</h2>\n", out);
    options_table(out, run);
    fputs("</div><div><h2>Machine and build</h2>\n", out);
    machine_table(out, &figures.machine);
    fputs("</div></section>\n", out);
    data_write(out, points);
    fputs(giga_html_tail, out);
    free(points);
}
