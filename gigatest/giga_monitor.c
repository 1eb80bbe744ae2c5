/* SPDX-License-Identifier: Apache-2.0 */
/* gigatest/giga_monitor.c -- see giga_monitor.h. */
#include "gigatest/giga_monitor.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ftk/clock.h"
#include "gigatest/giga_device.h"
#include "gigatest/giga_display.h"
#include "gigatest/giga_stop.h"

#define DRAW_NS 250000000u
#define TICK_MS_MAX 100

struct giga_monitor {
    struct giga_run *run;
    pthread_t thread;
    bool screen; /* the full one */
    bool lines;
    uint64_t drawn_ns, line_ns;
    uint32_t notes_shown, stage_ends_shown;
    char note[GIGA_NOTE_BYTES];
    enum giga_stage stage_seen;
    struct giga_histogram_copy commits_before, commits_now, commits_ever;
    struct giga_moment moment;

    pthread_mutex_t lock; /* of all below */
    pthread_cond_t wake;
    bool ending;
    bool settled; /* no checkpoint is asked for any more */
    bool checkpoint_runs, checkpoint_joinable;
    pthread_t checkpoint_thread;
    kiln_db *checkpoint_db;
};

/* ---- samples -------------------------------------------------------------------------------- */

static void
moment_take(struct giga_monitor *monitor)
{
    struct giga_run *run = monitor->run;
    struct giga_gauges *gauges = &run->gauges;
    struct giga_moment *moment = &monitor->moment;
    uint64_t now_ns = ftk_clock_ns();
    uint64_t stage_ns = atomic_load(&gauges->stage_ns);

    moment->options = run->options;
    moment->series = &run->series;
    moment->stage = (enum giga_stage)atomic_load(&gauges->stage);
    moment->stopping = giga_stop_wanted();
    moment->ns = now_ns > run->start_ns ? now_ns - run->start_ns : 0;
    moment->stage_ns = stage_ns > run->start_ns ? stage_ns - run->start_ns : 0;
    moment->wall_ns = ftk_clock_wall_ns();
    moment->total = atomic_load(&gauges->total);
    moment->before = atomic_load(&gauges->before);
    moment->done = atomic_load(&gauges->done);
    moment->note = monitor->note[0] != 0 ? monitor->note : NULL;
    moment->stat_known = giga_gauges_stat(gauges, &moment->stat);
}

static void
sample_take(struct giga_monitor *monitor)
{
    struct giga_run *run = monitor->run;
    const struct giga_moment *moment = &monitor->moment;
    const kiln_stat *stat = &moment->stat;
    struct giga_sample sample = {.ns = moment->ns, .work = atomic_load(&run->gauges.work)};

    giga_histogram_copy(&run->gauges.commits, &monitor->commits_ever);
    monitor->commits_now = monitor->commits_ever;
    giga_histogram_since(&monitor->commits_now, &monitor->commits_before);
    monitor->commits_before = monitor->commits_ever;
    sample.device_bytes = giga_device_written() - run->device_before;
    sample.checkpoint_bytes = stat->checkpoint_bytes;
    sample.log_bytes = stat->rfl_bytes;
    sample.commits = monitor->commits_ever.count;
    sample.dirty_bytes = stat->cache_dirty_bytes;
    sample.used_bytes = stat->cache_used_bytes;
    sample.limit_bytes = stat->cache_limit_bytes;
    sample.log_since_bytes = stat->rfl_since_checkpoint_bytes;
    sample.commit_p50_ns = giga_histogram_percentile(&monitor->commits_now, 0.5);
    sample.commit_p99_ns = giga_histogram_percentile(&monitor->commits_now, 0.99);
    sample.commit_max_ns = monitor->commits_now.max;
    giga_series_add(&run->series, &sample);
}

/* The series ends with the writing: what verification reads is no part of it. */
static void
series_follow(struct giga_monitor *monitor)
{
    struct giga_run *run = monitor->run;
    const struct giga_moment *moment = &monitor->moment;

    if (moment->stage < GIGA_STAGE_OPEN || moment->stage >= GIGA_STAGE_VERIFY_RECORDS ||
        atomic_load(&run->gauges.series_ended))
        return;
    if (moment->stage != monitor->stage_seen) {
        monitor->stage_seen = moment->stage;
        giga_series_stage(&run->series, moment->ns, moment->stage);
    }
    if (!moment->stat_known)
        return;
    giga_series_checkpoint(&run->series, moment->ns, &moment->stat);
    if (giga_series_due(&run->series, moment->ns))
        sample_take(monitor);
}

/* ---- screen, lines, keys -------------------------------------------------------------------- */

static void *
checkpoint_run(void *context)
{
    struct giga_monitor *monitor = context;
    kiln_status rc = kiln_checkpoint(monitor->checkpoint_db);

    if (rc != KILN_OK)
        giga_gauges_note(&monitor->run->gauges, kiln_status_text(rc));
    pthread_mutex_lock(&monitor->lock);
    monitor->checkpoint_runs = false;
    pthread_cond_broadcast(&monitor->wake);
    pthread_mutex_unlock(&monitor->lock);
    return NULL;
}

/* Only while transactions run: later the database is closed, or checkpoints anyway. */
static void
checkpoint_ask(struct giga_monitor *monitor)
{
    struct giga_gauges *gauges = &monitor->run->gauges;
    enum giga_stage stage = (enum giga_stage)atomic_load(&gauges->stage);

    pthread_mutex_lock(&monitor->lock);
    if (!monitor->checkpoint_runs && !monitor->settled && stage >= GIGA_STAGE_LOAD &&
        stage <= GIGA_STAGE_MIXED) {
        if (monitor->checkpoint_joinable)
            pthread_join(monitor->checkpoint_thread, NULL);
        pthread_mutex_lock(&gauges->db_lock);
        monitor->checkpoint_db = gauges->db;
        pthread_mutex_unlock(&gauges->db_lock);
        monitor->checkpoint_joinable =
            monitor->checkpoint_db != NULL &&
            pthread_create(&monitor->checkpoint_thread, NULL, checkpoint_run, monitor) == 0;
        monitor->checkpoint_runs = monitor->checkpoint_joinable;
    }
    pthread_mutex_unlock(&monitor->lock);
}

static void
notes_show(struct giga_monitor *monitor)
{
    struct giga_gauges *gauges = &monitor->run->gauges;
    uint32_t count;

    pthread_mutex_lock(&gauges->notes_lock);
    count = gauges->note_count;
    pthread_mutex_unlock(&gauges->notes_lock);
    if (monitor->screen) {
        if (count > 0)
            giga_gauges_note_get(gauges, count - 1, monitor->note);
        return;
    }
    for (; monitor->notes_shown < count; monitor->notes_shown++) {
        char text[GIGA_NOTE_BYTES];

        if (giga_gauges_note_get(gauges, monitor->notes_shown, text))
            fprintf(stderr, "gigatest: %s\n", text);
    }
}

/* How far each stage came: to its end, unless the run was stopped. */
static void
stage_ends_show(struct giga_monitor *monitor)
{
    struct giga_stage_end end;
    char line[512];

    while (monitor->lines &&
           giga_gauges_stage_end(&monitor->run->gauges, monitor->stage_ends_shown, &end)) {
        monitor->stage_ends_shown++;
        giga_view_end_line(&end, monitor->run->start_ns, line, sizeof(line));
        printf("%s\n", line);
        fflush(stdout);
    }
}

static void
line_show(struct giga_monitor *monitor)
{
    char line[512];

    stage_ends_show(monitor);

    if (!monitor->lines || monitor->moment.stage < GIGA_STAGE_OPEN ||
        monitor->moment.ns < monitor->line_ns + monitor->run->options->interval_ms * 1000000)
        return;
    monitor->line_ns = monitor->moment.ns;
    giga_view_line(&monitor->moment, line, sizeof(line));
    printf("%s\n", line);
    fflush(stdout);
}

static void
screen_show(struct giga_monitor *monitor, bool now)
{
    if (!now && monitor->moment.ns < monitor->drawn_ns + DRAW_NS)
        return;
    monitor->drawn_ns = monitor->moment.ns;
    giga_histogram_copy(&monitor->run->gauges.commits, &monitor->moment.commits);
    monitor->moment.memory_bytes = giga_memory_peak();
    giga_display_draw(&monitor->moment);
}

static void
wait_a_tick(struct giga_monitor *monitor)
{
    struct timespec until;
    uint64_t until_ns;
    uint64_t wait_ms = monitor->run->series.interval_ns / 1000000;

    wait_ms = wait_ms < TICK_MS_MAX ? wait_ms : TICK_MS_MAX;
    if (monitor->screen) {
        enum giga_key key = giga_display_key((int)wait_ms);

        if (key == GIGA_KEY_QUIT)
            giga_stop_request(SIGINT);
        else if (key == GIGA_KEY_CHECKPOINT)
            checkpoint_ask(monitor);
        else if (key == GIGA_KEY_REDRAW)
            screen_show(monitor, true);
        return;
    }
    clock_gettime(CLOCK_MONOTONIC, &until);
    until_ns = (uint64_t)until.tv_nsec + wait_ms * 1000000;
    until.tv_sec += (time_t)(until_ns / 1000000000);
    until.tv_nsec = (long)(until_ns % 1000000000);
    pthread_mutex_lock(&monitor->lock);
    if (!monitor->ending)
        pthread_cond_timedwait(&monitor->wake, &monitor->lock, &until);
    pthread_mutex_unlock(&monitor->lock);
}

static bool
ending(struct giga_monitor *monitor)
{
    bool set;

    pthread_mutex_lock(&monitor->lock);
    set = monitor->ending;
    pthread_mutex_unlock(&monitor->lock);
    return set;
}

static void *
monitor_run(void *context)
{
    struct giga_monitor *monitor = context;
    const struct giga_options *options = monitor->run->options;

    giga_stop_listen();
    monitor->screen = !options->plain && !options->quiet && giga_display_open();
    monitor->lines = !monitor->screen && !options->quiet;
    while (!ending(monitor)) {
        moment_take(monitor);
        series_follow(monitor);
        notes_show(monitor);
        if (monitor->screen)
            screen_show(monitor, false);
        else
            line_show(monitor);
        wait_a_tick(monitor);
    }
    if (monitor->screen)
        giga_display_close();
    monitor->screen = false;
    notes_show(monitor);
    stage_ends_show(monitor);
    return NULL;
}

/* ---- start and stop ------------------------------------------------------------------------- */

struct giga_monitor *
giga_monitor_start(struct giga_run *run)
{
    struct giga_monitor *monitor = calloc(1, sizeof(*monitor));
    pthread_condattr_t attributes;

    if (monitor == NULL)
        return NULL;
    monitor->run = run;
    pthread_mutex_init(&monitor->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&monitor->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    if (pthread_create(&monitor->thread, NULL, monitor_run, monitor) != 0) {
        free(monitor);
        giga_stop_listen();
        return NULL;
    }
    return monitor;
}

void
giga_monitor_settle(struct giga_monitor *monitor)
{
    if (monitor == NULL)
        return;
    pthread_mutex_lock(&monitor->lock);
    monitor->settled = true;
    while (monitor->checkpoint_runs)
        pthread_cond_wait(&monitor->wake, &monitor->lock);
    pthread_mutex_unlock(&monitor->lock);
}

void
giga_monitor_stop(struct giga_monitor *monitor)
{
    if (monitor == NULL)
        return;
    pthread_mutex_lock(&monitor->lock);
    monitor->ending = true;
    pthread_cond_broadcast(&monitor->wake);
    pthread_mutex_unlock(&monitor->lock);
    pthread_join(monitor->thread, NULL);
    if (monitor->checkpoint_joinable)
        pthread_join(monitor->checkpoint_thread, NULL);
    pthread_cond_destroy(&monitor->wake);
    pthread_mutex_destroy(&monitor->lock);
    free(monitor);
}
