/* SPDX-License-Identifier: Apache-2.0 */
/* gigatest/gigatest.c -- main of the bulk loader.  Rules: README.md; manual: gigatest.1. */
#include <errno.h>
#include <libgen.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "ftk/clock.h"
#include "ftk/number.h"
#include "gigatest/giga_database.h"
#include "gigatest/giga_device.h"
#include "gigatest/giga_load.h"
#include "gigatest/giga_monitor.h"
#include "gigatest/giga_report.h"
#include "gigatest/giga_stop.h"
#include "gigatest/giga_verify.h"

#define PATH_BYTES 4096

enum { EXIT_DONE = 0, EXIT_BAD = 1, EXIT_USAGE = 2, EXIT_SIGNAL = 128 };

/* All that was written to standard output is there; errno may say why not. */
static bool
output_good(void)
{
    errno = 0;
    return fflush(stdout) == 0 && !ferror(stdout);
}

static int
output_conclude(void)
{
    if (output_good())
        return EXIT_DONE;
    fprintf(stderr, "gigatest: cannot write standard output: %s\n",
            errno != 0 ? strerror(errno) : "a write failed");
    return EXIT_BAD;
}

/* What stands in the way before anything is done; NULL: nothing. */
static const char *
refusal(const struct giga_options *options, bool exists)
{
    static char reason[1024];
    struct stat stat_now;

    if (exists && options->overwrite && !giga_database_may_remove(options, reason, sizeof(reason)))
        return reason;
    if (exists && !options->resume && !options->overwrite && !options->verify_only)
        return options->verify
                   ? "a database is there already: --verify without COUNT checks it, --resume goes "
                     "on with it, --overwrite removes it first"
                   : "a database is there already: --resume goes on with it, --overwrite removes "
                     "it first";
    if (!exists && (options->verify_only || options->resume)) {
        snprintf(reason, sizeof(reason), "there is no database to %s: %s",
                 options->verify_only ? "verify" : "go on with",
                 stat(options->db, &stat_now) != 0 ? strerror(errno)
                 : S_ISDIR(stat_now.st_mode)       ? "the directory has no data.kdb"
                                                   : "it is not a directory");
        return reason;
    }
    if (!exists && !giga_database_may_make(options)) {
        snprintf(reason, sizeof(reason), "%.900s has the log of another database",
                 options->rfl_dir);
        return reason;
    }
    return NULL;
}

/* In the directory that holds the database, or is going to. */
static double
device_measure(const struct giga_options *options)
{
    char path[PATH_BYTES];
    struct stat stat_now;

    if (options->html == NULL || options->verify_only)
        return 0;
    snprintf(path, sizeof(path), "%s", options->db);
    if (stat(path, &stat_now) == 0)
        return giga_device_measure(path);
    return giga_device_measure(dirname(path));
}

/* The phases come after the load's own checkpoint, which ends the load's time. */
static bool
phases_work(struct giga_run *run)
{
    kiln_status rc = kiln_checkpoint(run->db);

    run->results.seconds = (double)(ftk_clock_ns() - run->start_ns) / 1e9;
    if (rc != KILN_OK)
        return giga_fail(run, rc, "the checkpoint after the load failed");
    return giga_phases(run);
}

/* Load and phases; the database is closed whatever happens. */
static bool
database_work(struct giga_run *run, struct giga_monitor *monitor, bool create)
{
    bool good = giga_database_open(run, create) && giga_load(run);
    uint64_t start_ns;

    if (good && !giga_stop_wanted() &&
        (run->options->phase_count > 0 || run->model.round_count > 0))
        good = phases_work(run);
    giga_monitor_settle(monitor);
    start_ns = run->results.seconds > 0 ? ftk_clock_ns() : run->start_ns;
    good = good && giga_database_finish(run);
    if (!good)
        giga_database_abandon(run);
    run->results.seconds += (double)(ftk_clock_ns() - start_ns) / 1e9;
    return good;
}

static bool
everything(struct giga_run *run, struct giga_monitor *monitor, bool exists)
{
    const struct giga_options *options = run->options;

    if (exists && options->overwrite && !giga_database_remove(run))
        return false;
    run->names = giga_names_new();
    if (run->names == NULL)
        return giga_fail(run, KILN_NOMEM, "no memory for the names");
    if (!options->verify_only && !database_work(run, monitor, !exists || options->overwrite))
        return false;
    if (giga_stop_wanted() || !options->verify)
        return true;
    return giga_verify(run);
}

static void
resume_tell(struct giga_run *run)
{
    struct giga_phase left[GIGA_PHASES_MAX];
    uint32_t count = 0;
    char command[8192];
    char text[FTK_NUMBER_TEXT_MAX];

    if (run->options->verify_only)
        return;
    if (!run->made) {
        if (!run->options->resume) /* else the database was refused */
            fprintf(stderr, "gigatest: nothing was committed yet\n");
        return;
    }
    for (uint32_t i = 0; i < run->options->phase_count; i++) {
        if (run->phases[i].count > 0)
            left[count++] = run->phases[i];
    }
    fprintf(stderr, "gigatest: %s objects are committed and kept\n",
            ftk_count_text(text, run->results.objects));
    if (giga_options_resume_command(run->options, run->program, left, count, command,
                                    sizeof(command)))
        fprintf(stderr, "gigatest: to go on:\n    %s\n", command);
}

static int
conclude(struct giga_run *run, bool good)
{
    const struct giga_options *options = run->options;
    const struct giga_results *results = &run->results;
    int stopped = giga_stop_signal();
    char text[FTK_NUMBER_TEXT_MAX];

    if (!options->quiet)
        giga_report_text(run, stdout);
    if (!output_good())
        giga_fail(run, KILN_OK, "cannot write standard output: %s",
                  errno != 0 ? strerror(errno) : "a write failed");
    if (options->json != NULL)
        giga_report_json(run, options->json);
    if (options->html != NULL)
        giga_report_html(run, options->html);
    if (results->findings > GIGA_FINDINGS_MAX)
        fprintf(stderr, "gigatest: ... %s findings in all\n",
                ftk_count_text(text, results->findings));
    if (run->fault.set)
        fprintf(stderr, "gigatest: %s\n", run->fault.text);
    if (run->fault.set && run->fault.status == KILN_NOSPACE)
        fprintf(stderr, "gigatest: the disk is full: make room first\n");
    if (!good && run->fault.set && !results->verify_ran)
        resume_tell(run);
    if (run->fault.set || !good)
        return EXIT_BAD;
    if (stopped != 0 && !(results->verify_ran && results->verified)) {
        fprintf(stderr, "gigatest: stopped (%s)\n", strsignal(stopped));
        if (!results->verify_ran)
            resume_tell(run);
        return EXIT_SIGNAL + stopped;
    }
    return EXIT_DONE;
}

static int
run_all(const struct giga_options *options, const char *program)
{
    struct giga_run *run = malloc(sizeof(*run));
    struct giga_monitor *monitor;
    bool exists = giga_database_exists(options);
    double device_rate = device_measure(options); /* before signals are caught: Ctrl-C ends it */
    bool good;
    int status;

    if (run == NULL) {
        fprintf(stderr, "gigatest: no memory\n");
        return EXIT_BAD;
    }
    giga_stop_install();
    giga_run_init(run, options, program);
    run->results.device_rate = device_rate;
    monitor = giga_monitor_start(run);
    good = everything(run, monitor, exists);
    giga_gauges_stage(&run->gauges, GIGA_STAGE_DONE, 0, 0);
    giga_monitor_stop(monitor);
    status = conclude(run, good);
    if (status == EXIT_DONE && options->remove && !giga_database_remove(run)) {
        fprintf(stderr, "gigatest: %s\n", run->fault.text);
        status = EXIT_BAD;
    }
    giga_run_release(run);
    free(run);
    return status;
}

int
main(int argc, char **argv)
{
    static struct giga_options options;
    char error[512];
    const char *reason;

    if (!giga_options_parse(&options, argc, argv, error, sizeof(error))) {
        fprintf(stderr, "gigatest: %s\n", error);
        return EXIT_USAGE;
    }
    if (options.help) {
        giga_options_help(stdout);
        return output_conclude();
    }
    if (options.version) {
        printf("gigatest %s\n", kiln_version());
        return output_conclude();
    }
    reason = refusal(&options, giga_database_exists(&options));
    if (reason != NULL) {
        fprintf(stderr, "gigatest: %s: %s\n", options.db, reason);
        return EXIT_USAGE;
    }
    return run_all(&options, argv[0]);
}
