/* SPDX-License-Identifier: Apache-2.0 */
/* tests/schedules/schedule_world.c -- runs a world over many seeds; says which one failed. */
#include "tests/schedules/schedule_world.h"

#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "ftk/clock.h"
#include "ftk/invariant.h"

static struct {
    const struct schedule_world *world;
    const char *program;
    struct simdisk *template;
    uint64_t seed, done;
    bool trace;
} now;

/* ---- failures -------------------------------------------------------------------------------- */

/* On a stack of its own: that of a thread may be what has run out. */
static void
on_signal(int number)
{
    char text[512];
    int size = snprintf(text, sizeof text,
                        "schedules: world %s fails at seed %" PRIu64 " (signal %d, %" PRIu64
                        " schedules before it were well)\n"
                        "schedules: replay with: %s --seed %" PRIu64 " --trace\n",
                        now.world->name, now.seed, number, now.done, now.program, now.seed);
    if (write(STDERR_FILENO, text, (size_t)size) < 0)
        _exit(3);
    _exit(1);
}

static void
signals_catch(void)
{
    static const int numbers[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    static uint8_t stack[64 << 10];
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK};

    sigaltstack(&(stack_t){.ss_sp = stack, .ss_size = sizeof stack}, NULL);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        sigaction(numbers[i], &action, NULL);
}

void
schedule_fail(const char *file, int line, const char *format, ...)
{
    va_list arguments;

    fprintf(stderr, "schedules: %s:%d: ", file, line);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, "\n");
    ftk_schedule_report();
    abort();
}

void
schedule_must_ok(ftk_status status, const char *call, const char *file, int line)
{
    if (status != FTK_OK)
        schedule_fail(file, line, "%s: %s: %s", call, ftk_status_name(status),
                      ftk_error_last()->text);
}

void
schedule_stand(struct ftk_random *random, uint32_t steps)
{
    if (steps > 0)
        ftk_clock_sleep_ns(ftk_random_below(random, steps) * FTK_SCHEDULE_STEP_NS);
}

/* ---- one schedule ---------------------------------------------------------------------------- */

static void
template_make(void *context)
{
    (void)context;
    if (now.world->prepare != NULL)
        now.world->prepare(now.template);
}

static void
scenario_run(void *context)
{
    struct ftk_random *random = context;
    struct simdisk *disk = simdisk_clone(now.template, ftk_random_next(random));

    now.world->scenario(disk, random);
    simdisk_free(disk);
}

static void
random_fill(void *context, void *memory, size_t size)
{
    uint8_t *bytes = memory;

    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)ftk_random_next(context);
}

static struct ftk_schedule_result
one_here(uint64_t seed, enum ftk_schedule_kind kind, uint64_t steps_expected)
{
    struct ftk_schedule_options options = {.seed = seed,
                                           .kind = kind,
                                           .steps_expected = steps_expected,
                                           .steps_max = now.world->steps_max,
                                           .patient = now.world->patient,
                                           .trace = now.trace};
    struct ftk_schedule_result result;
    struct ftk_random random, system;

    now.seed = seed;
    ftk_random_seed(&random, ~seed);
    ftk_random_seed(&system, seed + 1);
    ftk_random_system_use(random_fill, &system);
    ftk_schedule_run(&options, scenario_run, &random, &result);
    return result;
}

/* In a child, which says itself what is wrong. */
static struct ftk_schedule_result
one_forked(uint64_t seed, enum ftk_schedule_kind kind, uint64_t steps_expected)
{
    struct ftk_schedule_result result = {0};
    int ends[2], status = 0;

    fflush(NULL);
    MUST(pipe(ends) == 0, "pipe");
    pid_t child = fork();
    MUST(child >= 0, "fork");
    if (child == 0) {
        result = one_here(seed, kind, steps_expected);
        _exit(write(ends[1], &result, sizeof result) == (ssize_t)sizeof result ? 0 : 3);
    }
    close(ends[1]);
    ssize_t size = read(ends[0], &result, sizeof result);
    close(ends[0]);
    MUST(waitpid(child, &status, 0) == child, "waitpid");
    if (status != 0)
        exit(1);
    MUST(size == (ssize_t)sizeof result, "a child said nothing");
    return result;
}

static struct ftk_schedule_result
one(uint64_t seed, enum ftk_schedule_kind kind, uint64_t steps_expected)
{
    return now.world->forks ? one_forked(seed, kind, steps_expected)
                            : one_here(seed, kind, steps_expected);
}

/* ---- many ------------------------------------------------------------------------------------ */

struct plan {
    uint64_t first, count, seconds;
    enum ftk_schedule_kind kind;
    bool trace, twice;
};

static uint64_t
number_after(int argc, char **argv, int *at)
{
    if (*at + 1 >= argc) {
        fprintf(stderr, "%s: %s wants a number\n", argv[0], argv[*at]);
        exit(2);
    }
    return strtoull(argv[++*at], NULL, 10);
}

static struct plan
plan_parse(int argc, char **argv)
{
    struct plan plan = {.first = 1, .count = 1000};

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--seed") == 0) {
            plan.first = number_after(argc, argv, &i);
            plan.count = 1;
        } else if (strcmp(argv[i], "--first") == 0) {
            plan.first = number_after(argc, argv, &i);
        } else if (strcmp(argv[i], "--count") == 0) {
            plan.count = number_after(argc, argv, &i);
        } else if (strcmp(argv[i], "--seconds") == 0) {
            plan.seconds = number_after(argc, argv, &i);
        } else if (strcmp(argv[i], "--kind") == 0) {
            plan.kind = (enum ftk_schedule_kind)number_after(argc, argv, &i);
        } else if (strcmp(argv[i], "--trace") == 0) {
            plan.trace = true;
        } else if (strcmp(argv[i], "--twice") == 0) {
            plan.twice = true;
        } else {
            fprintf(stderr,
                    "usage: %s [--seed N] [--first N] [--count N] [--seconds N] [--kind N] "
                    "[--trace] [--twice]\n",
                    argv[0]);
            exit(2);
        }
    }
    return plan;
}

static double
seconds_now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* For test_schedules.sh, which adds them up. */
static void
invariant_tell(void *context, const char *name, uint64_t runs)
{
    (void)context;
    printf("invariant %8" PRIu64 " %s\n", runs, name);
}

int
schedule_main(const struct schedule_world *world, int argc, char **argv)
{
    struct plan plan = plan_parse(argc, argv);
    struct ftk_schedule_options quiet = {.seed = 0, .steps_max = UINT64_MAX};
    struct ftk_schedule_result result;
    struct ftk_random system;
    uint64_t expected, steps = 0, switches = 0;
    double start = seconds_now(), end;

    now.world = world;
    now.program = argv[0];
    signals_catch();
    now.template = simdisk_new(&(struct simdisk_options){.device = true, .seed = 1});
    ftk_random_seed(&system, 0);
    ftk_random_system_use(random_fill, &system);
    ftk_schedule_run(&quiet, template_make, NULL, &result);
    expected = one(0, FTK_SCHEDULE_IN_TURN, 0).steps; /* the length of a schedule, about */

    now.trace = plan.trace;
    for (uint64_t i = 0; i < plan.count; i++) {
        if (plan.seconds > 0 && seconds_now() - start > (double)plan.seconds)
            break;
        result = one(plan.first + i, plan.kind, expected);
        if (plan.twice && one(plan.first + i, plan.kind, expected).trace_sum != result.trace_sum)
            schedule_fail(__FILE__, __LINE__, "the same seed, and not the same schedule");
        steps += result.steps;
        switches += result.switches;
        now.done++;
    }
    end = seconds_now();
    simdisk_free(now.template);
    printf("%-8s %8" PRIu64
           " schedules well, %6.0f a second, %5.0f steps and %4.0f switches each\n",
           world->name, now.done, (double)now.done / (end - start),
           (double)steps / (double)(now.done > 0 ? now.done : 1),
           (double)switches / (double)(now.done > 0 ? now.done : 1));
    ftk_invariant_each(invariant_tell, NULL);
    return 0;
}
