/* SPDX-License-Identifier: Apache-2.0 */
/* peerbench_html.c -- one page that needs nothing else: bars per workload, tables, settings. */
#include "peerbench.h"

#include <string.h>

#define BAR_LEFT 96   /* px: engine names */
#define BAR_WIDTH 300 /* the longest bar */
#define BAR_RIGHT 92  /* values */
#define BAR_HEIGHT 16
#define BAR_STEP 24

static const char style[] =
    ":root{--bg:#fff;--fg:#1c1e21;--dim:#66707a;--line:#dfe3e7;--own:#c2410c;--peer:#9aa5b1;"
    "--good:#15803d;--bad:#b42318}"
    "@media(prefers-color-scheme:dark){:root{--bg:#15181b;--fg:#e6e8ea;--dim:#97a1ab;"
    "--line:#31373d;--own:#f97316;--peer:#5b6670;--good:#4ade80;--bad:#f87171}}"
    "body{font:15px/1.5 system-ui,sans-serif;background:var(--bg);color:var(--fg);"
    "max-width:1100px;margin:2em auto;padding:0 1em}"
    "h1{font-size:1.5em;margin-bottom:.2em}h2{font-size:1.1em;margin:2.2em 0 .1em}"
    "p{margin:.2em 0 .8em;color:var(--dim)}"
    ".charts{display:flex;flex-wrap:wrap;gap:1em 2em}figure{margin:0}"
    "figcaption{font-size:.85em;color:var(--dim);margin-bottom:.3em}"
    "svg text{font:12px system-ui,sans-serif;fill:var(--fg)}svg .v{fill:var(--dim)}"
    ".own{fill:var(--own)}.peer{fill:var(--peer)}.range{stroke:var(--fg);stroke-width:1.5}"
    ".scroll{overflow-x:auto}table{border-collapse:collapse;font-size:.85em;"
    "font-variant-numeric:tabular-nums;margin-top:.8em}"
    "th,td{padding:.2em .7em;text-align:right;border-bottom:1px solid var(--line);"
    "white-space:nowrap}th:first-child,td:first-child{text-align:left}th{font-weight:600;"
    "color:var(--dim)}.g{color:var(--good)}.b{color:var(--bad)}.odd{color:var(--bad)}";

static void
html_text(FILE *out, const char *text)
{
    for (; *text != '\0'; text++) {
        switch (*text) {
        case '<': fputs("&lt;", out); break;
        case '>': fputs("&gt;", out); break;
        case '&': fputs("&amp;", out); break;
        case '"': fputs("&quot;", out); break;
        default: fputc(*text, out);
        }
    }
}

static const char *
engine_name(const struct pb_plan *plan, unsigned engine)
{
    return engine < plan->engine_count ? plan->engines[engine]->name : "device";
}

static void
value_print(FILE *out, double value, const char *unit)
{
    char text[32];

    pb_format(text, sizeof text, value, unit);
    fputs(text, out);
    if (unit[0] == '/' || strcmp(unit, "B") == 0 || strcmp(unit, "x") == 0)
        fputs(unit, out);
    else if (unit[0] != '\0')
        fprintf(out, " %s", unit);
}

/* ---- charts ---------------------------------------------------------------------------------- */

static void
bar_print(FILE *out, const struct pb_plan *plan, unsigned engine, const struct pb_summary *s,
          double top, int y)
{
    double width = top > 0 ? s->median / top * BAR_WIDTH : 0;
    double low = top > 0 ? s->min / top * BAR_WIDTH : 0;
    double high = top > 0 ? s->max / top * BAR_WIDTH : 0;
    bool own = strcmp(engine_name(plan, engine), "kiln") == 0;

    fprintf(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"end\">%s</text>", BAR_LEFT - 8, y + 13,
            engine_name(plan, engine));
    fprintf(out, "<rect class=\"%s\" x=\"%d\" y=\"%d\" width=\"%.1f\" height=\"%d\" rx=\"2\"/>",
            own ? "own" : "peer", BAR_LEFT, y, width < 1 ? 1 : width, BAR_HEIGHT);
    if (s->count > 1)
        fprintf(out, "<path class=\"range\" d=\"M%.1f %dH%.1f\"/>", BAR_LEFT + low,
                y + BAR_HEIGHT / 2, BAR_LEFT + high);
    fprintf(out, "<text class=\"v\" x=\"%.1f\" y=\"%d\">",
            BAR_LEFT + (high > width ? high : width) + 6, y + 13);
    value_print(out, s->median, s->metric->unit);
    fputs("</text>", out);
}

static void
chart_print(FILE *out, const struct pb_plan *plan, unsigned workload,
            const struct pb_metric *metric)
{
    struct pb_summary summaries[PB_ENGINES_MAX + 1];
    bool there[PB_ENGINES_MAX + 1];
    double top = 0;
    int bars = 0, y = 0;

    for (unsigned e = 0; e <= plan->engine_count; e++) {
        there[e] = pb_summary_of(plan, e, workload, metric->name, &summaries[e]);
        bars += there[e];
        if (there[e] && summaries[e].max > top)
            top = summaries[e].max;
    }
    fprintf(out, "<figure><figcaption>%s (%s%s)</figcaption>", metric->name, metric->unit,
            metric->better == PB_HIGHER ? ", more is better" : ", less is better");
    fprintf(out, "<svg width=\"%d\" height=\"%d\" role=\"img\" aria-label=\"%s of each engine\">",
            BAR_LEFT + BAR_WIDTH + BAR_RIGHT, bars * BAR_STEP, metric->name);
    for (unsigned e = 0; e <= plan->engine_count; e++) {
        if (there[e]) {
            bar_print(out, plan, e, &summaries[e], top, y);
            y += BAR_STEP;
        }
    }
    fputs("</svg></figure>\n", out);
}

/* ---- tables ---------------------------------------------------------------------------------- */

static void
cell_print(FILE *out, const struct pb_plan *plan, unsigned engine, unsigned workload,
           const struct pb_metric *metric)
{
    int kiln = pb_engine_find(plan, "kiln");
    struct pb_summary own, peer;
    double ratio;

    if (!pb_summary_of(plan, engine, workload, metric->name, &peer)) {
        fputs("<td></td>", out);
        return;
    }
    fputs("<td>", out);
    value_print(out, peer.median, metric->unit);
    if (kiln >= 0 && (int)engine != kiln && engine < plan->engine_count && peer.median > 0 &&
        metric->better != PB_NEITHER &&
        pb_summary_of(plan, (unsigned)kiln, workload, metric->name, &own)) {
        ratio = own.median / peer.median;
        fprintf(out, " <span class=\"%s\">%.2fx</span>",
                (metric->better == PB_HIGHER ? ratio >= 1 : ratio <= 1) ? "g" : "b", ratio);
    }
    fputs("</td>", out);
}

static void
table_print(FILE *out, const struct pb_plan *plan, unsigned workload,
            const struct pb_metric *const *metrics, unsigned count)
{
    fputs("<div class=\"scroll\"><table><tr><th></th>", out);
    for (unsigned m = 0; m < count; m++)
        fprintf(out, "<th>%s</th>", metrics[m]->name);
    fputs("</tr>\n", out);
    for (unsigned e = 0; e <= plan->engine_count; e++) {
        struct pb_summary any;
        bool there = false;

        for (unsigned m = 0; m < count && !there; m++)
            there = pb_summary_of(plan, e, workload, metrics[m]->name, &any);
        if (!there)
            continue;
        fprintf(out, "<tr><td>%s</td>", engine_name(plan, e));
        for (unsigned m = 0; m < count; m++)
            cell_print(out, plan, e, workload, metrics[m]);
        fputs("</tr>\n", out);
    }
    fputs("</table></div>\n", out);
}

static void
odd_print(FILE *out, const struct pb_plan *plan, unsigned workload)
{
    static const char *const names[] = {"?", "done", "cut", "skipped", "failed"};

    for (unsigned e = 0; e <= plan->engine_count; e++) {
        const struct pb_result *odd = pb_result_odd(plan, e, workload);

        if (odd == NULL)
            continue;
        fprintf(out, "<p class=\"odd\">%s: %s: ", engine_name(plan, e), names[odd->status]);
        html_text(out, odd->note);
        fputs("</p>\n", out);
    }
}

static void
workload_print(FILE *out, const struct pb_plan *plan, unsigned workload)
{
    const struct pb_metric *metrics[PB_METRICS_MAX];
    unsigned count = pb_metric_names(plan, workload, metrics, PB_METRICS_MAX);

    fprintf(out, "<h2>%s</h2><p>", plan->workloads[workload]->name);
    html_text(out, plan->workloads[workload]->what);
    fputs("</p>\n<div class=\"charts\">\n", out);
    for (unsigned m = 0; m < count; m++) {
        if (metrics[m]->primary)
            chart_print(out, plan, workload, metrics[m]);
    }
    fputs("</div>\n", out);
    odd_print(out, plan, workload);
    if (count > 0)
        table_print(out, plan, workload, metrics, count);
}

static void
head_print(FILE *out, const struct pb_options *o, const struct pb_machine *machine,
           const struct pb_plan *plan)
{
    fprintf(out,
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">"
            "<meta name=\"viewport\" content=\"width=device-width\">"
            "<title>kiln beside its peers</title><style>%s</style></head><body>\n"
            "<h1>kiln beside its peers</h1>\n<p>",
            style);
    for (unsigned e = 0; e < plan->engine_count; e++) {
        char version[64];

        plan->engines[e]->version(version, sizeof version);
        fprintf(out, "%s%s ", e == 0 ? "" : ", ", plan->engines[e]->name);
        html_text(out, version);
    }
    fputs(".<br>", out);
    html_text(out, machine->cpu);
    fprintf(out, ", %u cores, %.1f GiB, ", machine->cores,
            (double)machine->memory_bytes / (1 << 30));
    html_text(out, machine->kernel);
    fprintf(
        out,
        ", %s.<br>Records of %d + %d bytes, cache %.2f GiB, medians of %u rounds (the line in a "
        "bar: least to most), seed %llu.<br>Small numbers in the tables: kiln divided by the "
        "peer; green where kiln is the better.<br><code>",
        machine->filesystem, PB_KEY_BYTES, PB_VALUE_BYTES, (double)o->cache_bytes / (1 << 30),
        o->rounds, (unsigned long long)o->seed);
    html_text(out, o->command);
    fputs("</code></p>\n", out);
}

bool
pb_report_html(const char *path, const struct pb_options *options, const struct pb_machine *machine,
               const struct pb_plan *plan)
{
    FILE *out = fopen(path, "w");

    if (out == NULL)
        return false;
    head_print(out, options, machine, plan);
    for (unsigned w = 0; w < plan->workload_count; w++)
        workload_print(out, plan, w);
    fputs("</body></html>\n", out);
    return fclose(out) == 0;
}
