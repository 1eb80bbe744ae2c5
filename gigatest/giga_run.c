/* SPDX-License-Identifier: Apache-2.0 */
/* gigatest/giga_run.c -- see giga_run.h. */
#include "gigatest/giga_run.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ftk/clock.h"
#include "gigatest/giga_device.h"

void
giga_run_init(struct giga_run *run, const struct giga_options *options, const char *program)
{
    memset(run, 0, sizeof(*run));
    run->options = options;
    run->program = program;
    memcpy(run->phases, options->phases, sizeof(run->phases));
    pthread_mutex_init(&run->lock, NULL);
    giga_gauges_init(&run->gauges);
    giga_series_init(&run->series);
    run->start_ns = ftk_clock_ns();
    run->start_wall_ns = ftk_clock_wall_ns();
    run->device_before = giga_device_written();
    run->cpu_before = giga_cpu_seconds();
}

void
giga_run_release(struct giga_run *run)
{
    giga_names_free(run->names);
    giga_gauges_release(&run->gauges);
    pthread_mutex_destroy(&run->lock);
}

bool
giga_fail(struct giga_run *run, kiln_status status, const char *format, ...)
{
    const kiln_error *error = status == KILN_OK ? NULL : kiln_error_last();
    va_list arguments;
    char text[GIGA_TEXT_BYTES / 2];

    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    pthread_mutex_lock(&run->lock);
    if (!run->fault.set) {
        run->fault.set = true;
        run->fault.status = status;
        if (status == KILN_OK)
            snprintf(run->fault.text, sizeof(run->fault.text), "%s", text);
        else if (error != NULL && error->status == status && error->text != NULL)
            snprintf(run->fault.text, sizeof(run->fault.text), "%s: %s (%s)", text, error->text,
                     kiln_status_text(status));
        else
            snprintf(run->fault.text, sizeof(run->fault.text), "%s: %s", text,
                     kiln_status_text(status));
    }
    pthread_mutex_unlock(&run->lock);
    return false;
}

bool
giga_failed(struct giga_run *run)
{
    bool set;

    pthread_mutex_lock(&run->lock);
    set = run->fault.set;
    pthread_mutex_unlock(&run->lock);
    return set;
}
