/* SPDX-License-Identifier: Apache-2.0 */
/* tests/crash/native/crash_trial.c -- see crash_trial.h. */
#include "tests/crash/native/crash_trial.h"

#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    PROCESS_SECONDS_MAX = 240, /* a hang is a finding; sanitizers are slow */
    RECOVERY_ONE_IN = 12,      /* crashes whose recovery is crashed */
    RECOVERY_CRASHES = 4,
    OPS_TOLD = 24, /* last ops before a crash, in the words of a finding */
};

/* ---- verdicts and processes ----------------------------------------------------------------- */

__attribute__((format(printf, 2, 3))) static bool
found_wrong(struct trial *trial, const char *format, ...)
{
    va_list arguments;

    if (trial->verdict->wrong)
        return false;
    trial->verdict->wrong = true;
    va_start(arguments, format);
    vsnprintf(trial->verdict->text, sizeof trial->verdict->text, format, arguments);
    va_end(arguments);
    return false;
}

/* Exit code of a process that ran body; below zero: it ended otherwise. */
static int
run_apart(void (*body)(struct trial *trial, void *context), struct trial *trial, void *context)
{
    int status = 0;
    pid_t child;

    fflush(NULL);
    child = fork();
    if (child == 0) {
        (void)alarm(PROCESS_SECONDS_MAX);
        body(trial, context);
        _exit(0);
    }
    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
        continue;
    if (child < 0)
        return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static int
remove_one(const char *path, const struct stat *about, int kind, struct FTW *where)
{
    (void)about;
    (void)kind;
    return where->level == 0 ? 0 : remove(path);
}

/* The trial's directory at this depth, empty. */
static void
dir_begin(const struct trial *trial, char *path, size_t path_size)
{
    snprintf(path, path_size, "%s/depth%u", trial->dir, trial->depth);
    (void)mkdir(path, 0777);
    (void)nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

bool
trial_open(struct trial *trial, const char *dir)
{
    memset(trial, 0, sizeof *trial);
    trial->dir = dir;
    trial->verdict = mmap(NULL, sizeof *trial->verdict, PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (trial->verdict == MAP_FAILED)
        trial->verdict = NULL;
    for (unsigned i = 0; i < TRIAL_DEPTH; i++)
        trial->recordings[i] = recording_new();
    return trial->verdict != NULL && trial->recordings[TRIAL_DEPTH - 1] != NULL;
}

void
trial_close(struct trial *trial)
{
    image_free(trial->base);
    if (trial->verdict != NULL)
        munmap(trial->verdict, sizeof *trial->verdict);
    for (unsigned i = 0; i < TRIAL_DEPTH; i++)
        recording_free(trial->recordings[i]);
}

/* ---- recording ------------------------------------------------------------------------------ */

static struct promise *
promise_at(const struct trial *trial, uint32_t op)
{
    static struct promise promise;

    promise = trial->before;
    promise_read(&promise, trial->recordings[trial->depth], op);
    return &promise;
}

struct life_order {
    const char *dir;
    uint32_t last;
};

static void
live(struct trial *trial, void *context)
{
    const struct life_order *order = context;
    struct recording *recording = trial->recordings[trial->depth];
    const struct promise *promise = promise_at(trial, recording->op_count);

    recorder_use(recording);
    recorder_refuse_libaio(trial->workload->io_threads);
    const char *wrong =
        workload_live(trial->workload, trial->seed, order->dir, promise, order->last);
    if (wrong != NULL) {
        found_wrong(trial, "while it was recorded, at op %u: %s", recording->op_count, wrong);
        _exit(1);
    }
}

/* The next process dies at an op by chance, or with names that it has just changed not synced. */
static void
death_plan(struct trial *trial, struct ftk_random *random)
{
    struct recording *recording = trial->recordings[trial->depth];
    uint32_t ops = (uint32_t)ftk_random_below(random, trial->workload->death_ops);

    if (ftk_random_below(random, 2) == 0)
        recording->die_at_dir_sync = 1 + ops / 8;
    else
        recording->die_at = recording->op_count + 1 + ops;
}

/* Lives up to the last transaction: of clean opens, and of processes that die. */
static bool
lives_record(struct trial *trial, const char *dir, struct ftk_random *random, unsigned opens,
             uint32_t first, uint32_t last)
{
    struct recording *recording = trial->recordings[trial->depth];
    unsigned deaths = trial->depth == 0 ? trial->workload->deaths : 0;

    for (unsigned i = 1; i <= opens; i++) {
        struct life_order order = {.dir = dir, .last = first + (last - first) * i / opens};
        bool dies = deaths > 0;
        if (dies)
            death_plan(trial, random);
        int code = run_apart(live, trial, &order);
        recording_bury(recording);
        if (code != 0 && code != RECORDER_DEATH)
            return found_wrong(trial, "while it was recorded: exit code %d", code);
        deaths -= dies;
        i -= code == RECORDER_DEATH;
    }
    return true;
}

bool
trial_record(struct trial *trial, const struct workload *workload, uint64_t seed)
{
    struct recording *recording = trial->recordings[0];
    struct image_crash whole = {.process = true, .seed = seed};
    struct ftk_random random;
    char dir[1024], words[512];

    ftk_random_seed(&random, seed);
    trial->workload = workload;
    trial->seed = seed;
    trial->depth = 0;
    trial->verdict->wrong = false;
    memset(&trial->before, 0, sizeof trial->before);
    image_free(trial->base);
    trial->base = image_new();
    dir_begin(trial, dir, sizeof dir);
    recording_reset(recording, seed);
    recording->sync_ns = workload->sync_ns;
    recording_adopt(recording, dir);
    if (!lives_record(trial, dir, &random, workload->opens, 0, workload->txns))
        return false;
    whole.op = recording->op_count;
    struct image *image = image_build(trial->base, recording, &whole);
    bool good = image_matches(image, recording, dir, words, sizeof words);
    image_free(image);
    return good || found_wrong(trial, "the recording is not what was done: %s", words);
}

/* ---- crashing ------------------------------------------------------------------------------- */

enum moment { ANY_OP, A_PROMISE, A_SYNC, A_NAME, MOMENTS };

static bool
moment_is(const struct recording *recording, uint32_t index, enum moment moment)
{
    const struct op *op = &recording->ops[index];

    switch (moment) {
    case A_PROMISE: return op->kind == OP_NOTE && (op->note == NOTE_FULL || op->note == NOTE_SAVED);
    case A_SYNC: return op->kind == OP_SYNC || op->kind == OP_END;
    case A_NAME: return op->kind <= OP_RENAME;
    default: return true;
    }
}

/* A few ops behind a sync that a liar did not do; 0: there is none. */
static uint32_t
op_draw_lie(const struct recording *recording, struct ftk_random *random, image_liar liar)
{
    uint32_t count = recording->op_count;
    uint32_t at = (uint32_t)ftk_random_below(random, count), tries = 0;

    while (tries++ < count && !(recording->ops[at].kind == OP_SYNC && liar(recording, at)))
        at = (at + 1) % count;
    at += 1 + (uint32_t)ftk_random_below(random, 8);
    return tries > count ? 0 : at < count ? at : count;
}

/* The number of ops before the crash: one of a kind, drawn, is the last of them, or the next. */
static uint32_t
op_draw(const struct recording *recording, struct ftk_random *random)
{
    enum moment moment = (enum moment)ftk_random_below(random, MOMENTS);
    uint32_t count = recording->op_count;
    uint32_t at = (uint32_t)ftk_random_below(random, count), tries = 0;

    while (tries++ < count && !moment_is(recording, at, moment))
        at = (at + 1) % count;
    return moment == A_PROMISE ? at + 1 : at + (uint32_t)ftk_random_below(random, 2);
}

static void
tell(struct trial *trial, const struct image_crash *crash, const char *wrong)
{
    const struct recording *recording = trial->recordings[trial->depth];
    uint32_t from = crash->op < OPS_TOLD ? 0 : crash->op - OPS_TOLD;
    struct verdict *verdict = trial->verdict;
    bool first = !verdict->wrong;
    char line[256];

    found_wrong(trial, "%s, depth %u of %s, seed %" PRIu64 ", crash seed %" PRIu64 ", %s\n", wrong,
                trial->depth, trial->workload->name, trial->seed, crash->seed, crash->how);
    for (uint32_t i = from; first && i < crash->op; i++) {
        size_t size = strlen(verdict->text);
        op_describe(recording, i, line, sizeof line);
        snprintf(verdict->text + size, sizeof verdict->text - size, "    %s\n", line);
    }
}

struct crash_order {
    struct image_crash crash;
    bool with_recovery, with_reader;
    uint64_t seed;
};

static bool crash_once(struct trial *trial, struct crash_order *order);

/* The image's directory, opened and worked on while that is recorded; then crashes of that. */
static bool
recovery_crash(struct trial *trial, struct image *image, const char *dir, struct promise *promise,
               const struct crash_order *order)
{
    struct trial deeper = *trial;
    struct ftk_random random;

    deeper.depth++;
    struct recording *recording = deeper.recordings[deeper.depth];
    ftk_random_seed(&random, order->seed);
    recording_reset(recording, order->seed);
    recording->sync_ns = trial->workload->sync_ns;
    if (!image_write(image, dir, recording))
        return found_wrong(trial, "the image cannot be written: %s", strerror(errno));
    deeper.base = image;
    deeper.before = *promise;
    deeper.before.low_os = order->crash.process ? promise->low_os : promise->low;
    if (!lives_record(&deeper, dir, &random, 1, 0, promise->high + 2))
        return false;
    for (uint32_t i = 0; i < recording->op_count; i++) {
        const struct op *op = &recording->ops[i];
        /* What it found was on the disk: a crash of the recovery does not change that. */
        if (op->kind == OP_NOTE && op->note == NOTE_ADOPT)
            deeper.before.low = deeper.before.low_os = deeper.before.high = op->number;
    }
    for (unsigned i = 0; i < RECOVERY_CRASHES; i++) {
        struct crash_order next = {.seed = ftk_random_next(&random)};
        next.crash.op = op_draw(recording, &random);
        next.crash.seed = ftk_random_next(&random);
        next.crash.process = ftk_random_below(&random, 8) == 0;
        if (!crash_once(&deeper, &next))
            return false;
    }
    return true;
}

static void
crash_body(struct trial *trial, void *context)
{
    struct crash_order *order = context;
    const struct recording *recording = trial->recordings[trial->depth];
    struct promise *promise = promise_at(trial, order->crash.op);
    struct image *image = image_build(trial->base, recording, &order->crash);
    const char *keep = getenv("KILN_NATIVE_KEEP");
    const char *wrong = NULL;
    char dir[1024];

    recorder_use(NULL);
    recorder_refuse_libaio(order->seed % 8 != 0);
    trial->verdict->states++;
    dir_begin(trial, dir, sizeof dir);
    if (order->with_recovery) {
        if (!recovery_crash(trial, image, dir, promise, order))
            tell(trial, &order->crash, "a crash of the recovery");
        dir_begin(trial, dir, sizeof dir);
        recorder_use(NULL);
    }
    if (trial->verdict->wrong)
        _exit(1);
    if (order->crash.process)
        promise->low = promise->low_os;
    if (image_write(image, dir, NULL))
        wrong = workload_survives(trial->workload, trial->seed, dir, promise, order->with_reader);
    else
        wrong = strerror(errno);
    if (wrong != NULL)
        tell(trial, &order->crash, wrong);
    if (wrong != NULL && keep != NULL)
        (void)image_write(image, keep, NULL);
    image_free(image);
    _exit(wrong != NULL);
}

static bool
crash_once(struct trial *trial, struct crash_order *order)
{
    int code = run_apart(crash_body, trial, order);
    char words[64];

    if (code != 0 && !trial->verdict->wrong) {
        snprintf(words, sizeof words, "the survivor's process ended with %d", code);
        tell(trial, &order->crash, words);
    }
    return code == 0;
}

bool
trial_crash(struct trial *trial, struct ftk_random *random, image_liar liar)
{
    struct crash_order order = {.seed = ftk_random_next(random)};

    trial->verdict->wrong = false;
    if (liar != NULL && ftk_random_below(random, 2) == 0)
        order.crash.op = op_draw_lie(trial->recordings[0], random, liar);
    else
        order.crash.op = op_draw(trial->recordings[0], random);
    order.crash.seed = ftk_random_next(random);
    order.crash.process = ftk_random_below(random, 10) == 0;
    order.crash.liar = liar;
    order.with_recovery = liar == NULL && ftk_random_below(random, RECOVERY_ONE_IN) == 0;
    order.with_reader = ftk_random_below(random, 3) == 0;
    return crash_once(trial, &order);
}
