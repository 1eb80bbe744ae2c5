/* SPDX-License-Identifier: Apache-2.0 */
/*
 * peerbench_run.c -- rounds, engines in turn, each run in a child process of its own.
 *
 * In every round the engines take turns, beginning with another one each time.  Workloads on one
 * loaded store follow each other on it (load, settle, reads), then the store is removed.  A run is
 * bounded in time (a soft deadline that its loops see, then SIGKILL) and in disk space.
 */
#include "peerbench.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define POLL_US 20000
#define POLLS_PER_DISK_CHECK 50 /* once a second */

const struct pb_workload pb_workloads[] = {
    {"device", PB_RAW, pb_device, "limits of the device by fio, O_DIRECT", NULL, NULL, NULL},
    {"raw_sync_1t", PB_RAW, pb_raw_sync_1t, "4 KiB write + fdatasync in a plain loop, 1 thread",
     NULL, NULL, NULL},
    {"raw_sync_8t", PB_RAW, pb_raw_sync_8t, "4 KiB write + fdatasync, 8 threads, a file each", NULL,
     NULL, NULL},
    {"seq_load", 0, pb_seq_load, "ascending keys, 1000 per transaction, os", NULL, NULL, NULL},
    {"rand_load", PB_LEAVES_LOADED, pb_rand_load,
     "random keys, 1000 per transaction, os, in the cache", NULL, NULL, NULL},
    {"rand_get", PB_NEEDS_LOADED, pb_rand_get, "random gets, 1 thread, warm", NULL, NULL, NULL},
    {"rand_get_2t", PB_NEEDS_LOADED, pb_rand_get_2t, "random gets, 2 threads, warm", NULL, NULL,
     NULL},
    {"get_many64", PB_NEEDS_LOADED, pb_get_many64, "batches of 64 random gets (keys/s), warm", NULL,
     NULL, NULL},
    {"scan100", PB_NEEDS_LOADED, pb_scan100, "100 records from a random key (scans/s), warm", NULL,
     NULL, NULL},
    {"cold_scan", PB_NEEDS_LOADED, pb_cold_scan, "everything in key order, nothing in any cache",
     NULL, NULL, NULL},
    {"commit_full_1t", 0, pb_commit_full_1t, "durable commits of 1 put, 1 thread", "raw_sync_1t",
     "best", "rate"},
    {"commit_full_8t", 0, pb_commit_full_8t, "durable commits of 1 put, 8 threads", "raw_sync_8t",
     "best", "rate"},
    {"mixed", 0, pb_mixed, "a writer (10 updates a transaction, os) beside a reader", NULL, NULL,
     NULL},
    {"latency", 0, pb_latency, "commits of 10 updates, os, without and with checkpoints running",
     NULL, NULL, NULL},
    {"ckpt", PB_NEEDS_DIRTY, pb_ckpt, "checkpoint of a random load that is all in memory", "device",
     "seqwrite_1m_d32", "device_rate"},
    {"recovery", 0, pb_recovery, "kill -9 of a loading process, time of the next open", NULL, NULL,
     NULL},
    {"filesize", PB_NEEDS_SNAPSHOT, pb_filesize,
     "files under updates, with and without an old reader", NULL, NULL, NULL},
    {"bigload", PB_LIMITED, pb_bigload, "random keys, more than memory (a memory cgroup)", NULL,
     NULL, NULL},
};
const unsigned pb_workload_count = sizeof pb_workloads / sizeof pb_workloads[0];

static volatile sig_atomic_t interrupted;

void
pb_interrupt(int signal_number)
{
    interrupted = signal_number;
}

/* ---- in the child ---------------------------------------------------------------------------- */

static void
child_metrics(struct pb_ctx *ctx, const struct pb_io *before)
{
    struct pb_io after;
    struct rusage usage;
    double put_bytes = (double)atomic_load(&ctx->put_bytes);
    double written, device;

    pb_io_read(ctx->dir, &after);
    (void)getrusage(RUSAGE_SELF, &usage);
    written = (double)(after.process_bytes - before->process_bytes);
    device = (double)(after.device_bytes - before->device_bytes);
    if (ctx->ops != NULL) {
        uint64_t disk = ctx->disk_bytes != 0 ? ctx->disk_bytes : pb_dir_bytes(ctx->dir);

        pb_metric(ctx, "disk", "B", (double)disk, PB_LOWER, false);
        pb_metric(ctx, "written", "B", written, PB_LOWER, false);
        pb_metric(ctx, "device_written", "B", device, PB_LOWER, false);
        if (put_bytes > 0)
            pb_metric(ctx, "write_amp", "x", written / put_bytes, PB_LOWER, false);
        pb_metric(ctx, "cpu_seconds", "s",
                  (double)usage.ru_utime.tv_sec + (double)usage.ru_utime.tv_usec / 1e6 +
                      (double)usage.ru_stime.tv_sec + (double)usage.ru_stime.tv_usec / 1e6,
                  PB_LOWER, false);
        pb_metric(ctx, "rss_max", "B", (double)usage.ru_maxrss * 1024, PB_LOWER, false);
    }
}

static void
child_main(struct pb_ctx *ctx, const struct pb_workload *workload, const char *cgroup)
{
    struct pb_io before;
    int rc;

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)signal(SIGINT, SIG_IGN); /* the parent decides */
    if (cgroup != NULL && !pb_cgroup_join(cgroup)) {
        ctx->result->status = PB_SKIPPED;
        pb_note(ctx, "the memory cgroup cannot be joined");
        _exit(0);
    }
    pb_io_read(ctx->dir, &before);
    rc = workload->run(ctx);
    if (rc != PEER_OK) {
        ctx->result->status = PB_FAILED;
        pb_note(ctx, "%s", peer_error()[0] != '\0' ? peer_error() : "failed without a word");
    } else if (ctx->result->status != PB_SKIPPED) {
        child_metrics(ctx, &before);
        if (ctx->result->status == PB_NONE)
            ctx->result->status = PB_DONE;
    }
    _exit(0);
}

/* ---- in the parent --------------------------------------------------------------------------- */

struct watch {
    uint64_t hard_ns;
    uint64_t disk_bytes_max;
    uint64_t anon_max;
    const char *killed; /* why, or NULL */
};

static void
child_kill(pid_t pid, struct watch *watch, const char *why)
{
    if (watch->killed == NULL)
        watch->killed = why;
    (void)kill(pid, SIGKILL);
}

/* Waits for the child, within the bounds; returns its wait status. */
static int
child_watch(pid_t pid, const char *dir, struct watch *watch)
{
    int status = 0;

    for (unsigned polls = 0; waitpid(pid, &status, WNOHANG) == 0; polls++) {
        uint64_t anon = pb_rss_anon_bytes(pid);

        watch->anon_max = anon > watch->anon_max ? anon : watch->anon_max;
        if (interrupted)
            child_kill(pid, watch, "interrupted");
        else if (pb_now_ns() > watch->hard_ns)
            child_kill(pid, watch, "did not end in time");
        else if (polls % POLLS_PER_DISK_CHECK == 0 && pb_dir_bytes(dir) > watch->disk_bytes_max)
            child_kill(pid, watch, "used more disk than --disk-max");
        usleep(POLL_US);
    }
    return status;
}

static void
child_end(struct pb_ctx *ctx, int status, const struct watch *watch, bool limited)
{
    struct pb_result *result = ctx->result;

    if (watch->killed != NULL) {
        result->status = PB_FAILED;
        pb_note(ctx, "%s", watch->killed);
    } else if (limited && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) {
        result->status = PB_FAILED;
        pb_note(ctx, "killed: needed more memory than the limit");
    } else if (WIFSIGNALED(status)) {
        result->status = PB_FAILED;
        pb_note(ctx, "ended by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    } else if (result->status == PB_NONE) {
        result->status = PB_FAILED;
        pb_note(ctx, "ended early, status %d", WEXITSTATUS(status));
    }
    if ((result->status == PB_DONE || result->status == PB_CUT) && ctx->ops != NULL)
        pb_metric(ctx, "rss_anon", "B", (double)watch->anon_max, PB_LOWER, false);
}

/* Sets the memory limit when the workload wants one; false: skipped, and said so. */
static bool
limit_make(struct pb_ctx *ctx, const struct pb_workload *workload, char *path, size_t path_size)
{
    const struct pb_options *o = ctx->options;
    char why[120];

    path[0] = '\0';
    if ((workload->flags & PB_LIMITED) == 0)
        return true;
    if (pb_cgroup_make(o->big_cache_bytes + o->big_extra_bytes, path, path_size, why, sizeof why))
        return true;
    path[0] = '\0';
    ctx->result->status = PB_SKIPPED;
    pb_note(ctx, "%s", why);
    return false;
}

/* A virtual machine's memory may be backed by its host only when it is touched, at twenty times the
 * cost; what was just freed is backed. */
static void
memory_touch(uint64_t bytes)
{
    char *memory;

    if (bytes == 0)
        return;
    memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                  -1, 0);
    if (memory == MAP_FAILED)
        return;
    for (uint64_t at = 0; at < bytes; at += 4096)
        memory[at] = 1;
    munmap(memory, bytes);
}

static void
run_child(struct pb_ctx *ctx, const struct pb_workload *workload)
{
    struct watch watch = {.disk_bytes_max = ctx->options->disk_bytes_max};
    char cgroup[500];
    pid_t pid;

    if (!limit_make(ctx, workload, cgroup, sizeof cgroup))
        return;
    ctx->deadline_ns = pb_now_ns() + (uint64_t)(ctx->options->seconds_max * 1e9);
    watch.hard_ns = ctx->deadline_ns + (uint64_t)(ctx->options->seconds_max * 0.5e9) + 60000000000u;
    memory_touch(ctx->options->touch_bytes);
    fflush(NULL);
    pid = fork();
    if (pid == 0)
        child_main(ctx, workload, cgroup[0] != '\0' ? cgroup : NULL);
    if (pid < 0) {
        ctx->result->status = PB_FAILED;
        pb_note(ctx, "fork: %s", strerror(errno));
    } else {
        child_end(ctx, child_watch(pid, ctx->dir, &watch), &watch, cgroup[0] != '\0');
    }
    if (cgroup[0] != '\0')
        pb_cgroup_remove(cgroup);
}

/* ---- the plan -------------------------------------------------------------------------------- */

static const char *
status_name(int status)
{
    static const char *const names[] = {"?", "done", "cut", "skipped", "FAILED"};

    return names[status];
}

static void
progress_print(const struct pb_options *options, const struct pb_run *run, const char *engine,
               const char *workload, double seconds)
{
    const struct pb_result *r = &run->result;
    char number[32] = "";

    if (r->metric_count > 0 && (r->status == PB_DONE || r->status == PB_CUT))
        pb_format(number, sizeof number, r->metrics[0].value, r->metrics[0].unit);
    fprintf(stderr, "round %u/%u  %-14s %-10s %6.1f s  %s", run->round + 1, options->rounds,
            workload, engine, seconds, status_name(r->status));
    if (number[0] != '\0')
        fprintf(stderr, "  %s %s%s", r->metrics[0].name, number, r->metrics[0].unit);
    fprintf(stderr, "%s%s\n", r->note[0] != '\0' ? "  -- " : "", r->note);
}

struct turn { /* one engine's, in one round: what the runs of a group share */
    const struct pb_options *options;
    struct pb_plan *plan;
    struct pb_result *shared;
    unsigned round;
    unsigned engine;
    char dir[440];
    uint64_t loaded;
    bool settled;
};

static const struct peer_ops *
engine_ops(const struct pb_plan *plan, unsigned engine)
{
    return engine < plan->engine_count ? plan->engines[engine] : NULL;
}

/* Runs one workload; keeps the result when it belongs to the plan. */
static int
turn_run(struct turn *turn, const struct pb_workload *workload, unsigned index, bool keep)
{
    struct pb_ctx ctx = {.options = turn->options,
                         .ops = engine_ops(turn->plan, turn->engine),
                         .result = turn->shared,
                         .records = turn->loaded};
    uint64_t start = pb_now_ns();
    struct pb_run *run;

    memset(turn->shared, 0, sizeof *turn->shared);
    snprintf(ctx.dir, sizeof ctx.dir, "%s", turn->dir);
    run_child(&ctx, workload);
    if ((workload->flags & PB_LEAVES_LOADED) != 0)
        turn->loaded = turn->shared->loaded;
    if (keep && turn->plan->run_count < turn->plan->run_max) {
        run = &turn->plan->runs[turn->plan->run_count++];
        *run = (struct pb_run){turn->round, turn->engine, index, *turn->shared};
        progress_print(turn->options, run, ctx.ops != NULL ? ctx.ops->name : "device",
                       workload->name, pb_seconds_since(start));
    }
    return turn->shared->status;
}

static bool
turn_dir_make(struct turn *turn)
{
    static unsigned number;
    const struct peer_ops *ops = engine_ops(turn->plan, turn->engine);

    snprintf(turn->dir, sizeof turn->dir, "%.400s/%s.%u", turn->options->dir,
             ops != NULL ? ops->name : "device", number++);
    return mkdir(turn->dir, 0755) == 0;
}

static bool
fits(const struct pb_plan *plan, unsigned engine, const struct pb_workload *workload)
{
    const struct peer_ops *ops = engine_ops(plan, engine);

    if ((workload->flags & PB_RAW) != 0)
        return ops == NULL;
    if (ops == NULL)
        return false;
    if ((workload->flags & PB_NEEDS_SNAPSHOT) != 0 && (ops->flags & PEER_CAN_SNAPSHOT) == 0)
        return false;
    return (workload->flags & PB_NEEDS_DIRTY) == 0 || (ops->flags & PEER_CAN_DIRTY) != 0;
}

static const struct pb_workload settle_workload = {"settle", 0, pb_settle, "", NULL, NULL, NULL};
static const struct pb_workload load_workload = {
    "rand_load", PB_LEAVES_LOADED, pb_rand_load, "", NULL, NULL, NULL};

/* A run that wanted what the failed one would have left. */
static void
turn_skip(struct turn *turn, unsigned index, const char *why)
{
    struct pb_run *run;

    if (turn->plan->run_count == turn->plan->run_max)
        return;
    run = &turn->plan->runs[turn->plan->run_count++];
    *run = (struct pb_run){turn->round, turn->engine, index, {.status = PB_FAILED}};
    snprintf(run->result.note, sizeof run->result.note, "%s", why);
}

static bool
turn_prepare_reads(struct turn *turn)
{
    if (turn->loaded == 0)
        (void)turn_run(turn, &load_workload, 0, false);
    if (turn->loaded > 0 && !turn->settled)
        turn->settled = turn_run(turn, &settle_workload, 0, false) == PB_DONE;
    return turn->settled;
}

/* The workloads first .. last-1 on one store. */
static void
turn_group(struct turn *turn, unsigned first, unsigned last)
{
    turn->loaded = 0;
    turn->settled = false;
    if (!turn_dir_make(turn))
        return;
    for (unsigned w = first; w < last && !interrupted; w++) {
        const struct pb_workload *workload = turn->plan->workloads[w];

        if ((workload->flags & PB_NEEDS_LOADED) != 0 && !turn_prepare_reads(turn))
            turn_skip(turn, w, turn->shared->note[0] != '\0' ? turn->shared->note : "no load");
        else
            (void)turn_run(turn, workload, w, true);
    }
    pb_dir_remove(turn->dir);
}

/* The end of the group that begins at `first`: workloads that share one loaded store. */
static unsigned
group_end(const struct pb_plan *plan, unsigned first)
{
    const unsigned shares = PB_LEAVES_LOADED | PB_NEEDS_LOADED;
    unsigned last = first + 1;

    if ((plan->workloads[first]->flags & shares) == 0)
        return last;
    while (last < plan->workload_count && (plan->workloads[last]->flags & PB_NEEDS_LOADED) != 0)
        last++;
    return last;
}

static void
round_run(const struct pb_options *options, struct pb_plan *plan, struct pb_result *shared,
          unsigned round)
{
    for (unsigned first = 0; first < plan->workload_count && !interrupted;) {
        unsigned last = group_end(plan, first);

        for (unsigned k = 0; k <= plan->engine_count && !interrupted; k++) {
            struct turn turn = {.options = options, .plan = plan, .shared = shared, .round = round};

            /* Turn about; the device, last in number, where it comes. */
            turn.engine = k == plan->engine_count ? k : (k + round) % plan->engine_count;
            if (fits(plan, turn.engine, plan->workloads[first]))
                turn_group(&turn, first, last);
        }
        first = last;
    }
}

unsigned
pb_run_all(const struct pb_options *options, struct pb_plan *plan)
{
    struct pb_result *shared =
        mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    unsigned failed = 0;

    if (shared == MAP_FAILED)
        return 1;
    for (unsigned round = 0; round < options->rounds && !interrupted; round++)
        round_run(options, plan, shared, round);
    munmap(shared, sizeof *shared);
    for (unsigned i = 0; i < plan->run_count; i++)
        failed += plan->runs[i].result.status == PB_FAILED;
    return failed;
}
