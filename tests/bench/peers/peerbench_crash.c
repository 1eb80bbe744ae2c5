/* SPDX-License-Identifier: Apache-2.0 */
/* peerbench_crash.c -- recovery after kill -9, checkpoints, and the file behind an old reader. */
#include "peerbench.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- recovery -------------------------------------------------------------------------------- */

#define RECOVERY_BASE_MAX 1000000 /* records below the checkpoint */
#define RECOVERY_OVERRUN 100      /* the victim goes on until killed, at most this many targets */

struct victim {
    atomic_ullong committed; /* records, base included */
    atomic_bool failed;
    char error[200];
};

/* The child to be killed: base, checkpoint, then loads without end. */
static int
victim_load(struct pb_ctx *ctx, struct victim *victim, uint64_t base)
{
    struct pb_open how = {.durability = PEER_OS,
                          .checkpoint_auto = false,
                          .dirty_bytes = ctx->options->recovery_records * 256};
    struct pb_load load = {.count = base, .per_txn = PB_PER_TXN, .order = PB_RANDOM};
    struct peer_session *session;
    struct peer_db *db;
    int rc = pb_store_open(ctx, ctx->dir, &how, &db);

    if (rc == PEER_OK)
        rc = ctx->ops->session_open(db, &session);
    if (rc == PEER_OK)
        rc = pb_store_load(ctx, session, &load);
    if (rc == PEER_OK)
        rc = ctx->ops->checkpoint(db);
    load.first = base;
    load.count = ctx->options->recovery_records * RECOVERY_OVERRUN;
    load.progress = &victim->committed;
    if (rc == PEER_OK)
        rc = pb_store_load(ctx, session, &load);
    return rc;
}

static void
victim_main(struct pb_ctx *ctx, struct victim *victim, uint64_t base)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (victim_load(ctx, victim, base) != PEER_OK) {
        snprintf(victim->error, sizeof victim->error, "%s", peer_error());
        atomic_store(&victim->failed, true);
    }
    for (;;)
        pause(); /* to be killed: the store must not be closed */
}

/* Kills the victim once it has committed the target; gives what it had committed by then. */
static int
victim_run(struct pb_ctx *ctx, struct victim *victim, uint64_t base, uint64_t *committed_out)
{
    uint64_t target = base + ctx->options->recovery_records;
    pid_t pid = fork();
    int status;

    if (pid < 0)
        return peer_fail("peerbench", "fork", strerror(errno));
    if (pid == 0)
        victim_main(ctx, victim, base);
    while (atomic_load(&victim->committed) < target && !atomic_load(&victim->failed)) {
        if (pb_now_ns() > ctx->deadline_ns || waitpid(pid, &status, WNOHANG) == pid)
            break;
        usleep(500);
    }
    *committed_out = atomic_load(&victim->committed); /* before the kill: these must survive */
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, &status, 0);
    if (atomic_load(&victim->failed))
        return peer_fail(ctx->ops->name, "the process to be killed", victim->error);
    if (*committed_out == 0)
        return peer_fail(ctx->ops->name, "the process to be killed", "committed nothing in time");
    return PEER_OK;
}

/* Whole transactions, from the first to some one at or after the last acknowledged. */
static int
survivors_check(struct pb_ctx *ctx, struct peer_db *db, uint64_t base, uint64_t committed,
                uint64_t *found_out)
{
    uint64_t seen_max = committed + 1000 * PB_PER_TXN;
    struct pb_visitor visitor = {.order = PB_RANDOM, .seen_max = seen_max};
    struct peer_session *session = NULL;
    uint64_t prefix = 0;
    int rc;

    visitor.seen = calloc(seen_max / 64 + 1, sizeof visitor.seen[0]);
    if (visitor.seen == NULL)
        return peer_fail("peerbench", "calloc", "out of memory");
    rc = ctx->ops->session_open(db, &session);
    if (rc == PEER_OK)
        rc = pb_scan_all(ctx, session, &visitor);
    if (session != NULL)
        ctx->ops->session_close(session);
    while (prefix < seen_max && (visitor.seen[prefix / 64] >> (prefix % 64) & 1) != 0)
        prefix++;
    free(visitor.seen);
    *found_out = visitor.count;
    if (rc != PEER_OK)
        return rc;
    if (prefix < committed)
        return pb_wrong(ctx, "record %llu was committed, and lost (%llu acknowledged)",
                        (unsigned long long)prefix, (unsigned long long)committed);
    if (visitor.count != prefix || (prefix - base) % PB_PER_TXN != 0)
        return pb_wrong(ctx, "%llu records, of which %llu without a gap: a transaction was torn",
                        (unsigned long long)visitor.count, (unsigned long long)prefix);
    return PEER_OK;
}

static int
reopen_timed(struct pb_ctx *ctx, uint64_t base, uint64_t committed)
{
    struct pb_open how = {.durability = PEER_OS,
                          .checkpoint_auto = false,
                          .dirty_bytes = ctx->options->recovery_records * 256};
    uint64_t disk_bytes = pb_dir_bytes(ctx->dir);
    uint64_t start = pb_now_ns(), found = 0;
    double seconds;
    struct peer_db *db;
    int close_rc;
    int rc = pb_store_open(ctx, ctx->dir, &how, &db);

    seconds = pb_seconds_since(start);
    if (rc != PEER_OK)
        return rc;
    rc = survivors_check(ctx, db, base, committed, &found);
    close_rc = ctx->ops->close(db);
    if (rc != PEER_OK)
        return rc;
    pb_metric(ctx, "seconds", "s", seconds, PB_LOWER, true);
    pb_metric(ctx, "rate", "/s", (double)(found - base) / seconds, PB_HIGHER, false);
    pb_metric(ctx, "records", "", (double)(found - base), PB_NEITHER, false);
    pb_metric(ctx, "crashed_disk", "B", (double)disk_bytes, PB_NEITHER, false);
    return close_rc;
}

int
pb_recovery(struct pb_ctx *ctx)
{
    uint64_t base =
        ctx->options->records < RECOVERY_BASE_MAX ? ctx->options->records : RECOVERY_BASE_MAX;
    struct victim *victim =
        mmap(NULL, sizeof *victim, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    uint64_t committed = 0;
    int rc;

    if (victim == MAP_FAILED)
        return peer_fail("peerbench", "mmap", strerror(errno));
    rc = victim_run(ctx, victim, base, &committed);
    if (rc == PEER_OK)
        rc = reopen_timed(ctx, base, committed);
    munmap(victim, sizeof *victim);
    return rc;
}

/* ---- checkpoint ------------------------------------------------------------------------------ */

#define CKPT_PER_TXN 10000

static int
ckpt_timed(struct pb_ctx *ctx, struct peer_db *db, const struct pb_load *load)
{
    struct pb_io before, after;
    uint64_t start;
    double seconds, device;
    int rc;

    pb_io_read(ctx->dir, &before);
    start = pb_now_ns();
    rc = ctx->ops->checkpoint(db);
    seconds = pb_seconds_since(start);
    pb_io_read(ctx->dir, &after);
    if (rc != PEER_OK)
        return rc;
    device = (double)(after.device_bytes - before.device_bytes);
    pb_metric(ctx, "seconds", "s", seconds, PB_LOWER, true);
    pb_metric(ctx, "records", "/s", (double)load->done / seconds, PB_HIGHER, false);
    pb_metric(ctx, "device_rate", "MB/s", device / seconds / 1e6, PB_HIGHER, true);
    pb_metric(ctx, "device_bytes", "B", device, PB_LOWER, false);
    return PEER_OK;
}

int
pb_ckpt(struct pb_ctx *ctx)
{
    struct pb_open how = {.durability = PEER_OS,
                          .checkpoint_auto = false,
                          .dirty_bytes = ctx->options->ckpt_bytes * 2};
    struct pb_load load = {
        .count = ctx->options->ckpt_bytes / 128, .per_txn = CKPT_PER_TXN, .order = PB_RANDOM};
    struct peer_session *session = NULL;
    struct peer_db *db;
    int rc, close_rc;

    if (ctx->options->ckpt_bytes * 2 > ctx->options->cache_bytes) {
        ctx->result->status = PB_SKIPPED;
        pb_note(ctx, "needs --cache of twice --ckpt-bytes");
        return PEER_OK;
    }
    rc = pb_store_open(ctx, ctx->dir, &how, &db);
    if (rc != PEER_OK)
        return rc;
    rc = ctx->ops->session_open(db, &session);
    if (rc == PEER_OK)
        rc = pb_store_load(ctx, session, &load);
    if (rc == PEER_OK)
        rc = ckpt_timed(ctx, db, &load);
    if (session != NULL)
        ctx->ops->session_close(session);
    close_rc = ctx->ops->close(db);
    return rc == PEER_OK ? close_rc : rc;
}

/* ---- the file behind an old reader ----------------------------------------------------------- */

#define FILE_STEPS 100 /* times the file is measured */

/* The snapshot of before the updates: every record still has the version it was loaded with. */
static int
reader_check(struct pb_ctx *ctx, struct peer_session *reader, uint64_t version_want)
{
    uint8_t key[PB_KEY_BYTES];
    struct peer_slice value;
    uint64_t i, version = 0;
    int rc = PEER_OK;

    for (uint64_t k = 0; k < 1000 && rc == PEER_OK; k++) {
        pb_key_make(key, k, PB_RANDOM, ctx->options->seed);
        rc = ctx->ops->get(reader, (struct peer_slice){key, sizeof key}, &value);
        if (rc == PEER_OK &&
            (!pb_value_check(value, &i, &version) || i != k || version != version_want))
            rc = pb_wrong(ctx, "the old reader sees version %llu of record %llu",
                          (unsigned long long)version, (unsigned long long)k);
    }
    return rc;
}

/* Updates in steps, so that the largest size of the files is seen. */
static int
updates_run(struct pb_ctx *ctx, const char *dir, struct peer_session *writer, uint64_t *peak_out,
            uint64_t *done_out)
{
    uint64_t step = ctx->options->file_updates / FILE_STEPS;
    int rc = PEER_OK;

    *done_out = 0;
    *peak_out = pb_dir_bytes(dir);
    while (rc == PEER_OK && *done_out < ctx->options->file_updates &&
           pb_now_ns() < ctx->deadline_ns) {
        struct pb_load load = {.first = ctx->options->file_records,
                               .count = step < PB_PER_TXN ? PB_PER_TXN : step,
                               .per_txn = PB_PER_TXN,
                               .order = PB_RANDOM,
                               .version = 1 + *done_out,
                               .updates = true};
        uint64_t bytes;

        rc = pb_store_load(ctx, writer, &load);
        *done_out += load.done;
        bytes = pb_dir_bytes(dir);
        *peak_out = bytes > *peak_out ? bytes : *peak_out;
    }
    return rc;
}

static void
phase_metrics(struct pb_ctx *ctx, const char *name, double rate, uint64_t done, uint64_t before,
              uint64_t peak)
{
    const struct {
        const char *name, *unit;
        double value;
        int better;
    } all[] = {{"rate", "/s", rate, PB_HIGHER},
               {"updates", "", (double)done, PB_HIGHER},
               {"before", "B", (double)before, PB_LOWER},
               {"peak", "B", (double)peak, PB_LOWER}};
    char text[28];

    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        snprintf(text, sizeof text, "%s_%s", name, all[i].name);
        pb_metric(ctx, text, all[i].unit, all[i].value, all[i].better, i == 3);
    }
}

static int
filesize_sessions(struct pb_ctx *ctx, const char *dir, struct peer_db *db, bool with_reader,
                  const char *name, uint64_t *peak_out)
{
    struct peer_session *writer = NULL, *reader = NULL;
    struct pb_load base = {
        .count = ctx->options->file_records, .per_txn = PB_PER_TXN, .order = PB_RANDOM};
    uint64_t before = 0, peak = 0, done = 0, start;
    int rc = ctx->ops->session_open(db, &writer);

    if (rc == PEER_OK)
        rc = ctx->ops->session_open(db, &reader);
    if (rc == PEER_OK)
        rc = pb_store_load(ctx, writer, &base);
    if (rc == PEER_OK)
        rc = ctx->ops->checkpoint(db);
    before = pb_dir_bytes(dir);
    if (rc == PEER_OK && with_reader)
        rc = ctx->ops->txn_begin(reader, false);
    start = pb_now_ns();
    if (rc == PEER_OK)
        rc = updates_run(ctx, dir, writer, &peak, &done);
    if (rc == PEER_SPACE) {
        ctx->result->status = PB_CUT;
        pb_note(ctx, "%s: the store was full after %llu updates", name, (unsigned long long)done);
        rc = PEER_OK;
    }
    phase_metrics(ctx, name, (double)done / pb_seconds_since(start), done, before, peak);
    *peak_out = peak;
    if (rc == PEER_OK && with_reader)
        rc = reader_check(ctx, reader, 0);
    if (with_reader && reader != NULL)
        ctx->ops->txn_abort(reader);
    if (reader != NULL)
        ctx->ops->session_close(reader);
    if (writer != NULL)
        ctx->ops->session_close(writer);
    return rc;
}

static int
filesize_phase(struct pb_ctx *ctx, bool with_reader, const char *name, uint64_t *peak_out)
{
    struct pb_open how = {.durability = PEER_OS, .checkpoint_auto = true, .sessions_max = 2};
    struct peer_db *db;
    char dir[500];
    int rc, close_rc;

    peer_path(dir, sizeof dir, ctx->dir, name);
    if (mkdir(dir, 0755) != 0)
        return peer_fail("peerbench", "mkdir", strerror(errno));
    rc = pb_store_open(ctx, dir, &how, &db);
    if (rc != PEER_OK)
        return rc;
    rc = filesize_sessions(ctx, dir, db, with_reader, name, peak_out);
    close_rc = ctx->ops->close(db);
    ctx->disk_bytes = pb_dir_bytes(dir);
    pb_dir_remove(dir);
    return rc == PEER_OK ? close_rc : rc;
}

int
pb_filesize(struct pb_ctx *ctx)
{
    uint64_t alone = 0, reader = 0;
    int rc = filesize_phase(ctx, false, "alone", &alone);

    if (rc == PEER_OK)
        rc = filesize_phase(ctx, true, "reader", &reader);
    if (rc == PEER_OK && alone > 0)
        pb_metric(ctx, "growth", "x", (double)reader / (double)alone, PB_LOWER, true);
    return rc;
}
