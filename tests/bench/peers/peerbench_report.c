/* SPDX-License-Identifier: Apache-2.0 */
/* peerbench_report.c -- medians over the rounds, the plain table, JSON. */
#include "peerbench.h"

#include <stdlib.h>
#include <string.h>

/* ---- summaries ------------------------------------------------------------------------------- */

static const struct pb_metric *
metric_find(const struct pb_result *result, const char *name)
{
    for (unsigned i = 0; i < result->metric_count; i++) {
        if (strcmp(result->metrics[i].name, name) == 0)
            return &result->metrics[i];
    }
    return NULL;
}

static bool
counts(const struct pb_run *run, unsigned engine, unsigned workload)
{
    return run->engine == engine && run->workload == workload &&
           (run->result.status == PB_DONE || run->result.status == PB_CUT);
}

static int
compare_double(const void *a, const void *b)
{
    double left, right;

    memcpy(&left, a, sizeof left);
    memcpy(&right, b, sizeof right);
    return (left > right) - (left < right);
}

bool
pb_summary_of(const struct pb_plan *plan, unsigned engine, unsigned workload, const char *metric,
              struct pb_summary *summary_out)
{
    double values[PB_ROUNDS_MAX];
    unsigned count = 0;

    memset(summary_out, 0, sizeof *summary_out);
    for (unsigned i = 0; i < plan->run_count && count < PB_ROUNDS_MAX; i++) {
        const struct pb_metric *found;

        if (!counts(&plan->runs[i], engine, workload))
            continue;
        found = metric_find(&plan->runs[i].result, metric);
        if (found == NULL)
            continue;
        if (count == 0)
            summary_out->metric = found;
        values[count++] = found->value;
    }
    if (count == 0)
        return false;
    qsort(values, count, sizeof values[0], compare_double);
    summary_out->count = count;
    summary_out->min = values[0];
    summary_out->max = values[count - 1];
    summary_out->median = (values[(count - 1) / 2] + values[count / 2]) / 2;
    return true;
}

unsigned
pb_metric_names(const struct pb_plan *plan, unsigned workload, const struct pb_metric **metrics,
                unsigned metric_max)
{
    unsigned count = 0;

    for (unsigned i = 0; i < plan->run_count; i++) {
        const struct pb_run *run = &plan->runs[i];

        if (!counts(run, run->engine, workload))
            continue;
        for (unsigned m = 0; m < run->result.metric_count; m++) {
            unsigned k = 0;

            while (k < count && strcmp(metrics[k]->name, run->result.metrics[m].name) != 0)
                k++;
            if (k == count && count < metric_max)
                metrics[count++] = &run->result.metrics[m];
        }
    }
    return count;
}

const struct pb_result *
pb_result_odd(const struct pb_plan *plan, unsigned engine, unsigned workload)
{
    for (unsigned i = 0; i < plan->run_count; i++) {
        const struct pb_run *run = &plan->runs[i];

        if (run->engine == engine && run->workload == workload && run->result.status != PB_DONE)
            return &run->result;
    }
    return NULL;
}

int
pb_engine_find(const struct pb_plan *plan, const char *name)
{
    for (unsigned e = 0; e < plan->engine_count; e++) {
        if (strcmp(plan->engines[e]->name, name) == 0)
            return (int)e;
    }
    return -1;
}

static const char *
engine_name(const struct pb_plan *plan, unsigned engine)
{
    return engine < plan->engine_count ? plan->engines[engine]->name : "device";
}

/* ---- the table ------------------------------------------------------------------------------- */

#define COLUMNS_MAX 9 /* metrics side by side; more go into a second block */
#define COLUMN 13

static void
heading_print(FILE *out, const struct pb_metric *const *metrics, unsigned count)
{
    char text[64];

    fprintf(out, "  %-18s", "");
    for (unsigned m = 0; m < count; m++) {
        const char *unit = metrics[m]->unit;

        if (unit[0] == '\0' || strcmp(unit, "x") == 0)
            snprintf(text, sizeof text, "%s", metrics[m]->name);
        else
            snprintf(text, sizeof text, "%s%s%s", metrics[m]->name, unit[0] == '/' ? "" : " ",
                     unit);
        fprintf(out, " %*s", strlen(text) > COLUMN ? (int)strlen(text) : COLUMN, text);
    }
    fprintf(out, "\n");
}

/* As wide as its heading. */
static int
column_width(const struct pb_metric *metric)
{
    size_t unit = strlen(metric->unit);
    size_t width = strlen(metric->name);

    if (unit > 0 && strcmp(metric->unit, "x") != 0)
        width += unit + (metric->unit[0] != '/');
    return width > COLUMN ? (int)width : COLUMN;
}

static void
row_print(FILE *out, const struct pb_plan *plan, unsigned engine, unsigned workload,
          const struct pb_metric *const *metrics, unsigned count)
{
    fprintf(out, "  %-18s", engine_name(plan, engine));
    for (unsigned m = 0; m < count; m++) {
        struct pb_summary summary;
        char text[32] = "-";

        if (pb_summary_of(plan, engine, workload, metrics[m]->name, &summary))
            pb_format(text, sizeof text, summary.median, metrics[m]->unit);
        fprintf(out, " %*s", column_width(metrics[m]), text);
    }
    fprintf(out, "\n");
}

/* kiln / peer; '+' where kiln is the better. */
static void
ratio_print(FILE *out, const struct pb_plan *plan, unsigned engine, unsigned workload,
            const struct pb_metric *const *metrics, unsigned count)
{
    unsigned kiln = (unsigned)pb_engine_find(plan, "kiln");
    char name[64];

    snprintf(name, sizeof name, "kiln / %s", engine_name(plan, engine));
    fprintf(out, "  %-18s", name);
    for (unsigned m = 0; m < count; m++) {
        struct pb_summary own, peer;
        char text[48] = "";

        if (metrics[m]->better != PB_NEITHER &&
            pb_summary_of(plan, kiln, workload, metrics[m]->name, &own) &&
            pb_summary_of(plan, engine, workload, metrics[m]->name, &peer) && peer.median > 0) {
            double ratio = own.median / peer.median;
            bool better = metrics[m]->better == PB_HIGHER ? ratio > 1 : ratio < 1;

            snprintf(text, sizeof text, "%.2fx%c", ratio, better ? '+' : ' ');
        }
        fprintf(out, " %*s", column_width(metrics[m]), text);
    }
    fprintf(out, "\n");
}

static bool
took_part(const struct pb_plan *plan, unsigned engine, unsigned workload)
{
    for (unsigned i = 0; i < plan->run_count; i++) {
        if (plan->runs[i].engine == engine && plan->runs[i].workload == workload)
            return true;
    }
    return false;
}

static void
block_print(FILE *out, const struct pb_plan *plan, unsigned workload,
            const struct pb_metric *const *metrics, unsigned count)
{
    int kiln = pb_engine_find(plan, "kiln");

    heading_print(out, metrics, count);
    for (unsigned e = 0; e <= plan->engine_count; e++) {
        if (took_part(plan, e, workload))
            row_print(out, plan, e, workload, metrics, count);
    }
    for (unsigned e = 0; e < plan->engine_count && kiln >= 0; e++) {
        if ((int)e != kiln && took_part(plan, e, workload))
            ratio_print(out, plan, e, workload, metrics, count);
    }
}

/* "kiln reaches 92 % of best (raw_sync_1t)": for workloads with a raw limit beside them. */
static void
limit_print(FILE *out, const struct pb_plan *plan, unsigned workload)
{
    const struct pb_workload *w = plan->workloads[workload];
    struct pb_summary limit = {0}, own;
    unsigned beside = 0;

    if (w->beside == NULL)
        return;
    while (beside < plan->workload_count && strcmp(plan->workloads[beside]->name, w->beside) != 0)
        beside++;
    if (beside == plan->workload_count ||
        !pb_summary_of(plan, plan->engine_count, beside, w->limit, &limit) || limit.median <= 0)
        return;
    fprintf(out, "  %s beside %s of %s (%.0f %s):", w->own, w->limit, w->beside, limit.median,
            limit.metric->unit);
    for (unsigned e = 0; e < plan->engine_count; e++) {
        if (pb_summary_of(plan, e, workload, w->own, &own))
            fprintf(out, "  %s %.0f %%", engine_name(plan, e), 100 * own.median / limit.median);
    }
    fprintf(out, "\n");
}

static void
odd_print(FILE *out, const struct pb_plan *plan, unsigned workload)
{
    static const char *const names[] = {"?", "done", "cut", "skipped", "FAILED"};

    for (unsigned e = 0; e <= plan->engine_count; e++) {
        const struct pb_result *odd = pb_result_odd(plan, e, workload);

        if (odd != NULL)
            fprintf(out, "  %s: %s: %s\n", engine_name(plan, e), names[odd->status], odd->note);
    }
}

void
pb_report_table(FILE *out, const struct pb_options *options, const struct pb_plan *plan)
{
    const struct pb_metric *metrics[PB_METRICS_MAX];

    fprintf(out, "\nMedians of %u round%s.  kiln / peer: '+' where kiln is the better.\n",
            options->rounds, options->rounds == 1 ? "" : "s");
    for (unsigned w = 0; w < plan->workload_count; w++) {
        unsigned count = pb_metric_names(plan, w, metrics, PB_METRICS_MAX);

        fprintf(out, "\n%s: %s\n", plan->workloads[w]->name, plan->workloads[w]->what);
        for (unsigned first = 0; first < count; first += COLUMNS_MAX) {
            unsigned n = count - first < COLUMNS_MAX ? count - first : COLUMNS_MAX;

            block_print(out, plan, w, metrics + first, n);
        }
        limit_print(out, plan, w);
        odd_print(out, plan, w);
    }
    fprintf(out, "\nseed %llu\n", (unsigned long long)options->seed);
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static void
json_text(FILE *out, const char *text)
{
    fputc('"', out);
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;

        if (c == '"' || c == '\\')
            fprintf(out, "\\%c", c);
        else if (c < 0x20)
            fprintf(out, "\\u%04x", c);
        else
            fputc(c, out);
    }
    fputc('"', out);
}

static void
json_pair(FILE *out, const char *name, const char *text)
{
    fprintf(out, "\"%s\": ", name);
    json_text(out, text);
    fprintf(out, ", ");
}

static void
json_head(FILE *out, const struct pb_options *o, const struct pb_machine *machine,
          const struct pb_plan *plan)
{
    fprintf(out, "{\n\"options\": {");
    json_pair(out, "command", o->command);
    fprintf(out,
            "\"seed\": %llu, \"n\": %llu, \"big_n\": %llu, \"cache_bytes\": %llu, "
            "\"big_cache_bytes\": %llu, \"big_extra_bytes\": %llu, \"recovery_n\": %llu, "
            "\"ckpt_bytes\": %llu, \"file_n\": %llu, \"file_updates\": %llu, \"rounds\": %u, "
            "\"seconds\": %g, \"key_bytes\": %d, \"value_bytes\": %d},\n",
            (unsigned long long)o->seed, (unsigned long long)o->records,
            (unsigned long long)o->big_records, (unsigned long long)o->cache_bytes,
            (unsigned long long)o->big_cache_bytes, (unsigned long long)o->big_extra_bytes,
            (unsigned long long)o->recovery_records, (unsigned long long)o->ckpt_bytes,
            (unsigned long long)o->file_records, (unsigned long long)o->file_updates, o->rounds,
            o->seconds, PB_KEY_BYTES, PB_VALUE_BYTES);
    fprintf(out, "\"machine\": {");
    json_pair(out, "kernel", machine->kernel);
    json_pair(out, "cpu", machine->cpu);
    json_pair(out, "filesystem", machine->filesystem);
    json_pair(out, "device", machine->device);
    fprintf(out, "\"cores\": %u, \"memory_bytes\": %llu},\n\"engines\": {", machine->cores,
            (unsigned long long)machine->memory_bytes);
    for (unsigned e = 0; e < plan->engine_count; e++) {
        char version[64];

        plan->engines[e]->version(version, sizeof version);
        fprintf(out, "%s\"%s\": ", e == 0 ? "" : ", ", plan->engines[e]->name);
        json_text(out, version);
    }
    fprintf(out, "},\n");
}

static void
json_runs(FILE *out, const struct pb_plan *plan)
{
    static const char *const names[] = {"none", "done", "cut", "skipped", "failed"};

    fprintf(out, "\"runs\": [");
    for (unsigned i = 0; i < plan->run_count; i++) {
        const struct pb_run *run = &plan->runs[i];

        fprintf(out, "%s\n{\"round\": %u, ", i == 0 ? "" : ",", run->round + 1);
        json_pair(out, "engine", engine_name(plan, run->engine));
        json_pair(out, "workload", plan->workloads[run->workload]->name);
        json_pair(out, "status", names[run->result.status]);
        json_pair(out, "note", run->result.note);
        fprintf(out, "\"metrics\": {");
        for (unsigned m = 0; m < run->result.metric_count; m++)
            fprintf(out, "%s\"%s\": %.9g", m == 0 ? "" : ", ", run->result.metrics[m].name,
                    run->result.metrics[m].value);
        fprintf(out, "}}");
    }
    fprintf(out, "\n],\n");
}

static void
json_summary_row(FILE *out, const struct pb_plan *plan, unsigned engine, unsigned workload,
                 const struct pb_metric *metric, bool *first)
{
    int kiln = pb_engine_find(plan, "kiln");
    struct pb_summary summary, own;

    if (!pb_summary_of(plan, engine, workload, metric->name, &summary))
        return;
    fprintf(out, "%s\n{", *first ? "" : ",");
    *first = false;
    json_pair(out, "workload", plan->workloads[workload]->name);
    json_pair(out, "engine", engine_name(plan, engine));
    json_pair(out, "metric", metric->name);
    json_pair(out, "unit", metric->unit);
    json_pair(out, "better",
              metric->better == PB_HIGHER  ? "higher"
              : metric->better == PB_LOWER ? "lower"
                                           : "neither");
    fprintf(out, "\"median\": %.9g, \"min\": %.9g, \"max\": %.9g, \"rounds\": %u", summary.median,
            summary.min, summary.max, summary.count);
    if (kiln >= 0 && (int)engine != kiln && engine < plan->engine_count && summary.median > 0 &&
        pb_summary_of(plan, (unsigned)kiln, workload, metric->name, &own))
        fprintf(out, ", \"kiln_over_peer\": %.6g", own.median / summary.median);
    fprintf(out, "}");
}

bool
pb_report_json(const char *path, const struct pb_options *options, const struct pb_machine *machine,
               const struct pb_plan *plan)
{
    const struct pb_metric *metrics[PB_METRICS_MAX];
    FILE *out = fopen(path, "w");
    bool first = true;

    if (out == NULL)
        return false;
    json_head(out, options, machine, plan);
    json_runs(out, plan);
    fprintf(out, "\"summary\": [");
    for (unsigned w = 0; w < plan->workload_count; w++) {
        unsigned count = pb_metric_names(plan, w, metrics, PB_METRICS_MAX);

        for (unsigned m = 0; m < count; m++) {
            for (unsigned e = 0; e <= plan->engine_count; e++)
                json_summary_row(out, plan, e, w, metrics[m], &first);
        }
    }
    fprintf(out, "\n]\n}\n");
    return fclose(out) == 0;
}
