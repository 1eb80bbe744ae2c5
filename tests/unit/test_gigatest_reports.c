/* SPDX-License-Identifier: Apache-2.0 */
/* gigatest: reports, screen and lines, from a run that never was. */
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gigatest/giga_json.h"
#include "gigatest/giga_report.h"
#include "gigatest/giga_view.h"
#include "tests/support/test.h"

static struct giga_options options;
static struct giga_run run;

static void
run_invent(const char *db)
{
    char *argv[] = {(char[]){"gigatest"}};
    char error[100];

    REQUIRE(giga_options_parse(&options, 1, argv, error, sizeof(error)));
    options.db = db;
    giga_run_init(&run, &options, "gigatest");
    giga_model_init(&run.model, &options.plan);
    for (uint64_t i = 0; i < 3000; i++) {
        struct giga_sample sample = {.ns = i * 30000000,
                                     .work = i * 40000,
                                     .device_bytes = i * 1000000,
                                     .dirty_bytes = i % 100 << 20,
                                     .used_bytes = i << 18,
                                     .commit_p50_ns = 100000,
                                     .commit_p99_ns = i % 50 ? 300000 : 0,
                                     .commit_max_ns = i % 50 ? 900000 : 0};

        if (giga_series_due(&run.series, sample.ns))
            giga_series_add(&run.series, &sample);
        giga_histogram_add(&run.gauges.commits, 100000 + i * 100);
    }
    giga_series_stage(&run.series, 1, GIGA_STAGE_LOAD);
    run.series.checkpoint_count = 1;
    run.series.checkpoints[0] = (struct giga_checkpoint_span){.start_ns = 5, .sync_ns = 0};
    run.made = run.results.load_ran = run.results.stat_known = true;
    run.results.objects = run.results.objects_added = 1000000;
    run.results.seconds = 2;
    run.results.data_bytes = 35000000;
    run.results.device_rate = 1e9;
    run.results.stat.checkpoints = 3;
}

/* What the report writes, as a text to be freed. */
static char *
written(void (*write)(struct giga_run *, FILE *))
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    REQUIRE(out != NULL);
    write(&run, out);
    fclose(out);
    return text;
}

/* ---- a checker of JSON (RFC 8259): the place behind one value, or NULL ----------------------- */

static const char *json_value(const char *at, int depth);

static const char *
json_blank(const char *at)
{
    return at + strspn(at, " \t\r\n");
}

static const char *
json_string(const char *at)
{
    if (*at++ != '"')
        return NULL;
    while (*at != '"') {
        if ((unsigned char)*at < 0x20)
            return NULL;
        if (*at == '\\') {
            at++;
            if (*at == 'u')
                at += strspn(at + 1, "0123456789abcdefABCDEF") >= 4 ? 4 : 0;
            else if (*at == 0 || strchr("\"\\/bfnrt", *at) == NULL)
                return NULL;
        }
        at++;
    }
    return at + 1;
}

static const char *
json_number(const char *at)
{
    const char *start = at;

    at += *at == '-';
    if (!isdigit((unsigned char)*at) || (*at == '0' && isdigit((unsigned char)at[1])))
        return NULL;
    at += strspn(at, "0123456789");
    if (*at == '.') {
        if (!isdigit((unsigned char)at[1]))
            return NULL;
        at += 1 + strspn(at + 1, "0123456789");
    }
    if (*at == 'e' || *at == 'E') {
        at += 1 + (at[1] == '+' || at[1] == '-');
        if (!isdigit((unsigned char)*at))
            return NULL;
        at += strspn(at, "0123456789");
    }
    return at > start ? at : NULL;
}

static const char *
json_group(const char *at, int depth)
{
    char closing = *at == '{' ? '}' : ']';
    bool pairs = *at == '{';

    at = json_blank(at + 1);
    if (*at == closing)
        return at + 1;
    for (;;) {
        if (pairs) {
            at = json_string(json_blank(at));
            at = at == NULL ? NULL : json_blank(at);
            if (at == NULL || *at++ != ':')
                return NULL;
        }
        at = json_value(json_blank(at), depth + 1);
        if (at == NULL)
            return NULL;
        at = json_blank(at);
        if (*at == closing)
            return at + 1;
        if (*at++ != ',')
            return NULL;
    }
}

static const char *
json_value(const char *at, int depth)
{
    static const char *const words[] = {"true", "false", "null"};

    if (depth > 50)
        return NULL;
    if (*at == '{' || *at == '[')
        return json_group(at, depth);
    if (*at == '"')
        return json_string(at);
    for (int i = 0; i < 3; i++) {
        if (strncmp(at, words[i], strlen(words[i])) == 0)
            return at + strlen(words[i]);
    }
    return json_number(at);
}

static bool
json_valid(const char *text)
{
    const char *end = json_value(json_blank(text), 0);

    return end != NULL && *json_blank(end) == 0;
}

/* ---- cases ---------------------------------------------------------------------------------- */

static void
the_checker_can_say_no(void)
{
    CHECK(json_valid("{\"a\": [1, -2.5e3, \"x\\n\", null, true]}\n"));
    CHECK(!json_valid("{\"a\": 1,}"));
    CHECK(!json_valid("{\"a\" 1}"));
    CHECK(!json_valid("[1 2]"));
    CHECK(!json_valid("[nan]"));
    CHECK(!json_valid("[01]"));
    CHECK(!json_valid("{} {}"));
    CHECK(!json_valid("\"\n\""));
}

static void
json_writer_escapes_and_nests(void)
{
    char *text = NULL;
    size_t size = 0;
    struct giga_json json = {.out = open_memstream(&text, &size)};

    REQUIRE(json.out != NULL);
    giga_json_begin(&json, NULL, '{');
    giga_json_text(&json, "quote \" and \\", "line\nend\x01");
    giga_json_real(&json, "nan", NAN);
    giga_json_real(&json, "inf", INFINITY);
    giga_json_real(&json, "half", 0.5);
    giga_json_begin(&json, "list", '[');
    giga_json_count(&json, NULL, UINT64_MAX);
    giga_json_bool(&json, NULL, false);
    giga_json_end(&json, ']');
    giga_json_begin(&json, "empty", '{');
    giga_json_end(&json, '}');
    giga_json_end(&json, '}');
    fclose(json.out);
    CHECK(json_valid(text));
    CHECK_HAS(text, "\"quote \\\" and \\\\\": \"line\\u000aend\\u0001\"");
    CHECK_HAS(text, "\"nan\": null");
    CHECK_HAS(text, "[18446744073709551615,false]");
    free(text);
}

static void
json_report_is_valid_and_complete(void)
{
    static const char *const fields[] = {
        "objects",
        "seconds",
        "objects_per_second",
        "data_bytes",
        "bytes_per_object",
        "log_bytes",
        "device_bytes_written",
        "checkpoints",
        "checkpoint_bytes_per_second",
        "commit_us",
        "p50",
        "p99",
        "p999",
        "max",
        "peak_rss_bytes",
        "cache_bytes",
        "seed",
        "options",
        "verified",
        "series",
        "phases",
        "error",
        "machine",
        "cpu",
        "cores",
        "memory_bytes",
        "kernel",
        "file_system",
        "device",
        "compiler",
        "commit",
        "checkpoint_write_seconds",
        "checkpoint_sync_seconds",
    };
    char *text;

    run_invent("a \"quoted\" \\ directory");
    text = written(giga_report_json_write);
    CHECK(json_valid(text));
    for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++) {
        char key[64];

        snprintf(key, sizeof(key), "\"%s\": ", fields[i]);
        CHECK_HAS(text, key);
    }
    CHECK_HAS(text, "\"objects_per_second\": 500000");
    CHECK_HAS(text, "\"bytes_per_object\": 35");
    CHECK_HAS(text, "\"verified\": null");
    free(text);
    giga_run_release(&run);
}

static void
json_report_of_nothing_is_valid(void)
{
    char *text;

    run_invent("d");
    giga_series_init(&run.series);
    memset(&run.results, 0, sizeof(run.results));
    text = written(giga_report_json_write);
    CHECK(json_valid(text));
    free(text);
    giga_run_release(&run);
}

static void
every_report_names_the_machine(void)
{
    static void (*const reports[])(struct giga_run *, FILE *) = {
        giga_report_text,
        giga_report_json_write,
        giga_report_html_write,
    };
    struct giga_machine machine;
    char gone[100];

    giga_machine_learn(&machine, "/no/such/place/at/all");
    CHECK_STR(machine.file_system, "unknown");
    CHECK_STR(machine.device, "unknown");
    giga_machine_learn(&machine, "/proc");
    CHECK_STR(machine.file_system, "proc");
    snprintf(gone, sizeof(gone), "%s", "/proc/not-there-yet"); /* then its parent's */
    giga_machine_learn(&machine, gone);
    CHECK_STR(machine.file_system, "proc");
    CHECK(machine.cores > 0);
    CHECK(machine.memory_bytes > 1 << 20);
    CHECK_HAS(machine.kernel, "Linux ");
    CHECK(machine.cpu[0] != 0 && machine.commit[0] != 0);
    run_invent(".");
    for (size_t i = 0; i < sizeof(reports) / sizeof(*reports); i++) {
        char *text = written(reports[i]);

        CHECK_HAS(text, machine.kernel);
        CHECK_HAS(text, machine.compiler);
        CHECK_HAS(text, machine.commit);
        free(text);
    }
    giga_run_release(&run);
}

static void
html_report_stands_alone(void)
{
    char *text;

    run_invent("<script>alert(1)</script>");
    text = written(giga_report_html_write);
    CHECK_HAS(text, "<!doctype html>");
    CHECK_HAS(text, "</html>");
    CHECK_HAS(text, "&lt;script&gt;");
    CHECK(strstr(text, "<script>alert") == NULL);
    CHECK(strstr(text, "http") == NULL);
    CHECK(strstr(text, " src=") == NULL);
    CHECK(strstr(text, "nan") == NULL);
    CHECK(strstr(text, "inf ") == NULL);
    CHECK_HAS(text, "Commit latency");
    CHECK_HAS(text, "limit measured");
    free(text);
    giga_run_release(&run);
}

static uint32_t
occurrences(const char *text, const char *words)
{
    uint32_t count = 0;

    while ((text = strstr(text, words)) != NULL) {
        text += strlen(words);
        count++;
    }
    return count;
}

static void
plots_fit_narrow_screens_and_have_axes(void)
{
    char *text;

    run_invent("d");
    text = written(giga_report_html_write);
    CHECK_EQ(occurrences(text, "<svg class=\"plot wide\" viewBox=\"0 0 960 "), 4);
    CHECK_EQ(occurrences(text, "<svg class=\"plot narrow\" viewBox=\"0 0 360 "), 4);
    CHECK_EQ(occurrences(text, "<path class=axis "), 8);
    CHECK_EQ(occurrences(text, "since the start, seconds"), 8);
    CHECK_HAS(text, "max-width:600px");
    free(text);
    giga_run_release(&run);
}

static void
the_highest_latency_lies_on_top(void)
{
    const char *p99, *max;
    char *text;

    run_invent("d");
    text = written(giga_report_html_write);
    p99 = strstr(text, "<path class=\"line c1 under\"");
    REQUIRE(p99 != NULL);
    max = strstr(p99, "<path class=\"line c3\""); /* what is drawn later covers what was there */
    REQUIRE(max != NULL);
    CHECK(strstr(p99, "</svg>") > max);
    free(text);
    giga_run_release(&run);
}

static void
summary_tells_speed_and_size(void)
{
    char *text;

    run_invent("d");
    run.results.verify_ran = run.results.verified = true;
    text = written(giga_report_text);
    CHECK_HAS(text, "1,000,000 objects in 2.0 s: 500,000 objects/s");
    CHECK_HAS(text, "35.0 bytes/object");
    CHECK_HAS(text, "verified");
    free(text);
    run.results.verified = false;
    run.results.findings = 3;
    text = written(giga_report_text);
    CHECK_HAS(text, "NOT GOOD    3 findings");
    free(text);
    giga_run_release(&run);
}

static void
a_view_shows_the_moment(void)
{
    struct giga_moment moment = {.options = &options,
                                 .series = &run.series,
                                 .stage = GIGA_STAGE_LOAD,
                                 .total = 10000000,
                                 .done = 2500000,
                                 .ns = 5000000000u,
                                 .stat_known = true};
    struct giga_view view;
    char line[512];

    run_invent("d");
    moment.stat.cache_dirty_bytes = 100u << 20;
    moment.stat.checkpoint_state = KILN_CHECKPOINT_WRITING;
    giga_view_make(&view, &moment);
    CHECK(view.share > 0.249 && view.share < 0.251);
    CHECK_STR(view.work.rows[0].label, "loading");
    CHECK_STR(view.work.rows[2].value, "2,500,000 (25.0 %)");
    CHECK_HAS(view.cache.rows[3].value, "100 MiB");
    giga_view_line(&moment, line, sizeof(line));
    CHECK_HAS(line, "loading  2,500,000 of 10,000,000 (25.0 %)");
    CHECK_HAS(line, "dirty 100 MiB");
    CHECK_HAS(line, "checkpoint writing pages");
    giga_run_release(&run);
}

static void
a_stage_that_is_over_says_how_far_it_came(void)
{
    struct giga_gauges gauges;
    struct giga_stage_end end;
    char line[512];

    giga_gauges_init(&gauges);
    giga_gauges_stage(&gauges, GIGA_STAGE_LOAD, 2000, 500);
    CHECK(!giga_gauges_stage_end(&gauges, 0, &end)); /* starting had no total */
    atomic_store(&gauges.done, 2000);
    giga_gauges_stage(&gauges, GIGA_STAGE_CLOSE, 0, 0);
    giga_gauges_stage(&gauges, GIGA_STAGE_DONE, 0, 0);
    REQUIRE(giga_gauges_stage_end(&gauges, 0, &end));
    CHECK(!giga_gauges_stage_end(&gauges, 1, &end));
    end.end_ns = end.start_ns + 3000000000;
    giga_view_end_line(&end, end.start_ns, line, sizeof(line));
    CHECK_HAS(line, "3.0 s  loading  2,000 of 2,000 (100.0 %) in 3.0 s: 500/s");
    for (int i = 0; i < 3 * GIGA_STAGE_ENDS_MAX; i++)
        giga_gauges_stage(&gauges, GIGA_STAGE_UPDATE, 10, 0);
    CHECK(giga_gauges_stage_end(&gauges, GIGA_STAGE_ENDS_MAX - 1, &end));
    CHECK(!giga_gauges_stage_end(&gauges, GIGA_STAGE_ENDS_MAX, &end));
    giga_gauges_release(&gauges);
}

static void
a_view_of_nothing_is_well(void)
{
    struct giga_moment moment = {.options = &options, .series = &run.series};
    struct giga_view view;
    char line[512];

    run_invent("d");
    giga_series_init(&run.series);
    for (int stage = 0; stage < GIGA_STAGE_COUNT; stage++) {
        moment.stage = (enum giga_stage)stage;
        giga_view_make(&view, &moment);
        giga_view_line(&moment, line, sizeof(line));
        CHECK(view.share < 0);
        CHECK(view.work.count > 0);
    }
    giga_run_release(&run);
}

TEST_MAIN("gigatest_reports", TEST(the_checker_can_say_no), TEST(json_writer_escapes_and_nests),
          TEST(json_report_is_valid_and_complete), TEST(json_report_of_nothing_is_valid),
          TEST(every_report_names_the_machine), TEST(html_report_stands_alone),
          TEST(plots_fit_narrow_screens_and_have_axes), TEST(the_highest_latency_lies_on_top),
          TEST(summary_tells_speed_and_size), TEST(a_view_shows_the_moment),
          TEST(a_stage_that_is_over_says_how_far_it_came), TEST(a_view_of_nothing_is_well))
