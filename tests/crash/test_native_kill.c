/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/crash/test_native_kill.c -- a cluster of processes, each writing a database, killed with
 * SIGKILL again and again at any moment: in creation, recovery, commits, checkpoints, switches of
 * segments.  Who comes after finds all that was acknowledged KILN_OS or KILN_FULL, one commit as a
 * whole, and goes on (native/workload.h; the notes lie in memory that outlives the killed).
 *
 *   KILN_NATIVE_KILLS=n  how many kills
 *   KILN_SEED=n          replays workloads; moments are those of the machine
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ftk/clock.h"
#include "tests/crash/native/recorder.h"
#include "tests/crash/native/workload.h"
#include "tests/support/test.h"

enum {
    MEMBERS = 4,
    KILLS_DEFAULT = 60,
    KILLS_CANARY_MAX = 400,
    LIFE_MS_MAX = 40,       /* after it found its database */
    CHILDHOOD_MS_MAX = 12,  /* of those that are killed before */
    WAIT_SECONDS_MAX = 120, /* for a process to find its database, or to end */
    PROCESS_SECONDS_MAX = 240,
    LAST = TXNS_MAX - 2
};

#define MEMBER                                                                                     \
    .txns = LAST, .threads = 3, .opens = 1, .keys = 60, .ops_max = 8, .value_max = 6000,           \
    .large_max = 60000, .large_one_in = 20, .drop_one_in = 60, .bulk_one_in = 60,                  \
    .abort_one_in = 10, .nest_one_in = 10, .checkpoint_one_in = 100, .rfl_bytes_max = 4 << 20,     \
    .dirty_bytes_max = 4 << 20

static const struct workload honest = {.name = "cluster", .full = 1, .os = 4, .lazy = 1, MEMBER};
static const struct workload liar = {
    .name = "cluster that claims too much", .lazy = 1, .overclaims = true, MEMBER};

struct member {
    const struct workload *workload;
    struct recording *recording;
    uint64_t seed;
    pid_t process;      /* 0: none */
    uint32_t ops_begin; /* of its process */
    char dir[1024];
    char *words; /* in shared memory: what its process found wrong, or "" */
};

enum { WORDS_SIZE = 1024 };

static struct promise *
promise_of(const struct member *member)
{
    static struct promise promise;

    memset(&promise, 0, sizeof promise);
    promise_read(&promise, member->recording, member->recording->op_count);
    return &promise;
}

static void
member_open(struct member *member, const struct workload *workload)
{
    memset(member, 0, sizeof *member);
    member->workload = workload;
    member->recording = recording_new();
    member->words =
        mmap(NULL, WORDS_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(member->recording != NULL && member->words != MAP_FAILED);
}

static void
member_close(struct member *member)
{
    munmap(member->words, WORDS_SIZE);
    recording_free(member->recording);
}

/* A database of its own, not made yet. */
static void
member_begin(struct member *member, struct ftk_random *random)
{
    static unsigned number;

    recording_reset(member->recording, 0);
    member->recording->notes_only = true;
    member->seed = ftk_random_next(random);
    snprintf(member->dir, sizeof member->dir, "%s/member%u", test_dir(), number++);
    REQUIRE(mkdir(member->dir, 0777) == 0);
}

/* A process of the member: it lives until it is killed, or has done all.  last: it looks, and puts
 * nothing on. */
static void
member_start(struct member *member, bool last)
{
    const char *wrong;

    fflush(NULL);
    recording_bury(member->recording);
    member->ops_begin = member->recording->op_count;
    member->process = fork();
    REQUIRE(member->process >= 0);
    if (member->process > 0)
        return;
    (void)alarm(PROCESS_SECONDS_MAX);
    struct promise *promise = promise_of(member);
    if (last) {
        promise->low = promise->low_os;
        wrong = workload_survives(member->workload, member->seed, member->dir, promise, false);
    } else {
        recorder_use(member->recording);
        wrong = workload_live(member->workload, member->seed, member->dir, promise, LAST);
    }
    if (wrong != NULL)
        snprintf(member->words, WORDS_SIZE, "%s", wrong);
    _exit(wrong != NULL);
}

/* Its process has ended: by a kill, or because it had done all, and found nothing wrong. */
static bool
member_wait(struct member *member)
{
    int status = 0;

    while (waitpid(member->process, &status, 0) < 0 && errno == EINTR)
        continue;
    member->process = 0;
    if (WIFSIGNALED(status) ? WTERMSIG(status) == SIGKILL : WEXITSTATUS(status) == 0)
        return true;
    size_t size = strlen(member->words);
    snprintf(member->words + size, WORDS_SIZE - size, " (%s, seed %llu, status %d)", member->dir,
             (unsigned long long)member->seed, status);
    return false;
}

/* Has its process found the database and noted more, or ended? */
static bool
member_is_grown(struct member *member)
{
    uint32_t count = __atomic_load_n(&member->recording->op_count, __ATOMIC_ACQUIRE);
    siginfo_t ended = {.si_pid = 0};

    (void)waitid(P_PID, (id_t)member->process, &ended, WEXITED | WNOHANG | WNOWAIT);
    return count > member->ops_begin + 1 || ended.si_pid != 0;
}

static bool
member_kill(struct member *member, struct ftk_random *random)
{
    uint64_t end = ftk_clock_ns() + (uint64_t)WAIT_SECONDS_MAX * 1000000000u;
    unsigned ms = CHILDHOOD_MS_MAX;
    bool late = false;

    if (ftk_random_below(random, 4) != 0) {
        ms = LIFE_MS_MAX;
        while (!late && !member_is_grown(member)) {
            ftk_clock_sleep_ns(500000);
            late = ftk_clock_ns() > end;
        }
    }
    ftk_clock_sleep_ns(ftk_random_below(random, (uint64_t)ms * 1000000u));
    (void)kill(member->process, SIGKILL);
    if (late)
        snprintf(member->words, WORDS_SIZE, "its process is not through the open after %u s",
                 WAIT_SECONDS_MAX);
    return member_wait(member) && !late;
}

/* The last of a member: its database is looked at from all sides, and is left. */
static bool
member_finish(struct member *member, uint64_t *commits)
{
    *commits += promise_of(member)->low_os;
    member_start(member, true);
    return member_wait(member);
}

/* One kill, and what comes after. */
static bool
kill_one(struct member *member, struct ftk_random *random, uint64_t *commits)
{
    if (!member_kill(member, random))
        return false;
    if (promise_of(member)->high > LAST / 2) { /* it has grown large enough */
        if (!member_finish(member, commits))
            return false;
        member_begin(member, random);
    }
    member_start(member, false);
    return true;
}

/* Words about the first member that is wrong; NULL: all went well. */
static const char *
cluster_run(const struct workload *workload, uint64_t kills, uint64_t *done_out, uint64_t *commits)
{
    static char words[WORDS_SIZE];
    struct ftk_random random = test_random();
    struct member members[MEMBERS];
    struct member *wrong = NULL;

    *commits = 0;
    for (unsigned i = 0; i < MEMBERS; i++) {
        member_open(&members[i], workload);
        member_begin(&members[i], &random);
    }
    for (unsigned i = 0; i < MEMBERS; i++)
        member_start(&members[i], false);
    for (*done_out = 0; wrong == NULL && *done_out < kills; ++*done_out) {
        struct member *member = &members[ftk_random_below(&random, MEMBERS)];
        if (!kill_one(member, &random, commits))
            wrong = member;
    }
    for (unsigned i = 0; i < MEMBERS; i++) {
        struct member *member = &members[i];
        bool good = member->process == 0 ||
                    (member_kill(member, &random) && member_finish(member, commits));
        if (!good && wrong == NULL)
            wrong = member;
    }
    if (wrong != NULL)
        snprintf(words, sizeof words, "%s", wrong->words);
    for (unsigned i = 0; i < MEMBERS; i++)
        member_close(&members[i]);
    return wrong == NULL ? NULL : words;
}

static void
what_was_acknowledged_survives_kills_at_any_moment(void)
{
    const char *text = getenv("KILN_NATIVE_KILLS");
    uint64_t kills = text != NULL ? strtoull(text, NULL, 10) : test_rounds(KILLS_DEFAULT);
    uint64_t done, commits;
    const char *wrong = cluster_run(&honest, kills, &done, &commits);

    printf("    %llu kills, %llu commits\n", (unsigned long long)done, (unsigned long long)commits);
    CHECK_MSG(wrong == NULL, "%s", wrong);
    CHECK(commits > 0);
}

static void
a_promise_that_does_not_hold_is_noticed(void)
{
    uint64_t done, commits;
    const char *wrong = cluster_run(&liar, KILLS_CANARY_MAX, &done, &commits);

    printf("    noticed after %llu kills\n", (unsigned long long)done);
    CHECK_MSG(wrong != NULL, "nothing noticed in %llu kills", (unsigned long long)done);
}

TEST_MAIN("native_kill", TEST(what_was_acknowledged_survives_kills_at_any_moment),
          TEST(a_promise_that_does_not_hold_is_noticed))
