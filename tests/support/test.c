/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/support/test.c -- runs the cases of a test program under CUnit.
 *
 * 1. A check that fails is told at once, with file, line, values, and the command that replays it.
 * 2. Each case starts with no fault armed, no directory, and the generator of the run's seed.
 */
#include "tests/support/test.h"

#include <CUnit/Basic.h>
#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATHS_MAX 64

static struct {
    const char *program;
    uint64_t seed;
    uint64_t draws; /* generators handed out in this case */
    unsigned failures;
    char dir[512];
    char *paths[PATHS_MAX];
    size_t paths_count;
} run;

/* ---- seeds ---------------------------------------------------------------------------------- */

static uint64_t
env_number(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text != NULL && *text != '\0' ? strtoull(text, NULL, 0) : otherwise;
}

uint64_t
test_seed(void)
{
    return run.seed;
}

struct ftk_random
test_random(void)
{
    struct ftk_random random;
    ftk_random_seed(&random, run.seed + run.draws++ * 0x9e3779b97f4a7c15u);
    return random;
}

uint64_t
test_rounds(uint64_t rounds)
{
    uint64_t scaled = rounds * env_number("KILN_TEST_SCALE", 1);
    return scaled > 0 ? scaled : 1;
}

/* ---- directories ---------------------------------------------------------------------------- */

static int
remove_one(const char *path, const struct stat *about, int kind, struct FTW *where)
{
    (void)about;
    (void)where;
    if (kind == FTW_D || kind == FTW_DNR)
        (void)chmod(path, 0700);
    return remove(path);
}

const char *
test_dir(void)
{
    if (run.dir[0] == '\0') {
        const char *base = getenv("TMPDIR");
        const char *name = strrchr(run.program, '/');
        snprintf(run.dir, sizeof run.dir, "%s/kiln-%s-XXXXXX", base != NULL ? base : "/tmp",
                 name != NULL ? name + 1 : run.program);
        if (mkdtemp(run.dir) == NULL) {
            fprintf(stderr, "cannot make directory %s: %s\n", run.dir, strerror(errno));
            abort();
        }
    }
    return run.dir;
}

const char *
test_path(const char *name)
{
    char *path = NULL;

    if (run.paths_count == PATHS_MAX || asprintf(&path, "%s/%s", test_dir(), name) < 0) {
        fprintf(stderr, "test_path: too many paths in one case (%d)\n", PATHS_MAX);
        abort();
    }
    run.paths[run.paths_count++] = path;
    return path;
}

static void
dir_remove(void)
{
    while (run.paths_count > 0)
        free(run.paths[--run.paths_count]);
    if (run.dir[0] == '\0')
        return;
    if (env_number("KILN_KEEP", 0) != 0)
        printf("kept: %s\n", run.dir);
    else
        (void)nftw(run.dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    run.dir[0] = '\0';
}

ftk_status
test_dir_sync(struct ftk_disk *disk, const char *path)
{
    struct ftk_dir *dir;
    ftk_status rc = ftk_dir_open(disk, path, &dir);

    if (rc == FTK_OK)
        rc = ftk_dir_sync(dir);
    ftk_dir_close(dir);
    return rc;
}

ftk_status
test_dir_list(struct ftk_disk *disk, const char *path,
              ftk_status (*each)(void *context, const char *name), void *context)
{
    struct ftk_dir *dir;
    ftk_status rc = ftk_dir_open(disk, path, &dir);

    if (rc == FTK_OK)
        rc = ftk_dir_list(dir, each, context);
    ftk_dir_close(dir);
    return rc;
}

ftk_status
test_dir_space(struct ftk_disk *disk, const char *path, uint64_t *free_out, uint64_t *total_out)
{
    struct ftk_dir *dir;
    ftk_status rc = ftk_dir_open(disk, path, &dir);

    *free_out = 0;
    *total_out = 0;
    if (rc == FTK_OK)
        rc = ftk_dir_space(dir, free_out, total_out);
    ftk_dir_close(dir);
    return rc;
}

/* ---- faults --------------------------------------------------------------------------------- */

uint64_t
test_each_fault(enum ftk_fault kind, ftk_status (*body)(void *context), void *context)
{
    for (uint64_t n = 1;; n++) {
        ftk_fault_arm(kind, n, 1);
        ftk_status status = body(context);
        ftk_fault_disarm();
        if (ftk_fault_hits(kind) == 0) {
            test_check_status(status, FTK_OK, "the run without a fault", __FILE__, __LINE__, false);
            test_check(n > 1, "at least one fault was delivered", __FILE__, __LINE__, false);
            return n - 1;
        }
    }
}

/* ---- assertions ----------------------------------------------------------------------------- */

/* The child: what it says on stderr goes to the pipe, and no core is left behind. */
static void
die(void (*body)(void *context), void *context, const int pipe_fds[2])
{
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    signal(SIGABRT, SIG_DFL);
    if (dup2(pipe_fds[1], STDERR_FILENO) >= 0)
        body(context);
    _exit(0);
}

static size_t
read_all(int fd, char *text, size_t size)
{
    size_t used = 0;
    ssize_t got;

    while (used + 1 < size && (got = read(fd, text + used, size - used - 1)) > 0)
        used += (size_t)got;
    text[used] = 0;
    return used;
}

bool
test_check_dies(void (*body)(void *context), void *context, const char *words,
                const char *body_words, const char *file, int line)
{
    char text[4096];
    int pipe_fds[2], status = 0;
    pid_t child;

    if (pipe(pipe_fds) != 0)
        return test_check_text(false, body_words, file, line, true, "no pipe");
    fflush(NULL);
    child = fork();
    if (child == 0)
        die(body, context, pipe_fds);
    close(pipe_fds[1]);
    read_all(pipe_fds[0], text, sizeof text);
    close(pipe_fds[0]);
    if (child < 0 || waitpid(child, &status, 0) != child)
        return test_check_text(false, body_words, file, line, true, "no child");
    return test_check_text(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT &&
                               strstr(text, "assertion failed: ") != NULL &&
                               strstr(text, words) != NULL,
                           body_words, file, line, false, "wanted an assertion about \"%s\": %s",
                           words, text[0] == 0 ? "it went well" : text);
}

/* ---- checks --------------------------------------------------------------------------------- */

static bool
failed(const char *words, const char *file, int line, bool fatal, const char *text)
{
    CU_pTest test = CU_get_current_test();

    run.failures++;
    fprintf(stderr, "\n%s:%d: %s\n", file, line, text);
    fprintf(stderr, "  replay: KILN_SEED=%" PRIu64 " %s %s\n", run.seed, run.program,
            test != NULL ? test->pName : "");
    fflush(stderr);
    CU_assertImplementation(CU_FALSE, (unsigned)line, words, file, "", fatal ? CU_TRUE : CU_FALSE);
    return false;
}

static bool
passed(const char *words, const char *file, int line)
{
    CU_assertImplementation(CU_TRUE, (unsigned)line, words, file, "", CU_FALSE);
    return true;
}

bool
test_check(bool held, const char *words, const char *file, int line, bool fatal)
{
    return test_check_text(held, words, file, line, fatal, "does not hold");
}

bool
test_check_text(bool held, const char *words, const char *file, int line, bool fatal,
                const char *format, ...)
{
    char text[512];
    char all[1024];
    va_list arguments;

    if (held)
        return passed(words, file, line);
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    snprintf(all, sizeof all, "%s: %s", words, text);
    return failed(words, file, line, fatal, all);
}

bool
test_check_status(ftk_status got, ftk_status wanted, const char *words, const char *file, int line,
                  bool fatal)
{
    char text[1024];
    const struct ftk_error *error = ftk_error_last();

    if (got == wanted)
        return passed(words, file, line);
    int size = snprintf(text, sizeof text, "%s: got %s, wanted %s", words, ftk_status_name(got),
                        ftk_status_name(wanted));
    if (got != FTK_OK && error->status == got)
        snprintf(text + size, sizeof text - (size_t)size, "\n  %s (%s:%d)", error->text,
                 error->file, error->line);
    return failed(words, file, line, fatal, text);
}

bool
test_check_eq(long long got, long long wanted, const char *got_words, const char *wanted_words,
              const char *file, int line, bool fatal)
{
    char text[512];

    if (got == wanted)
        return passed(got_words, file, line);
    snprintf(text, sizeof text, "%s: got %lld, wanted %s = %lld", got_words, got, wanted_words,
             wanted);
    return failed(got_words, file, line, fatal, text);
}

bool
test_check_str(const char *got, const char *wanted, const char *words, const char *file, int line,
               bool fatal)
{
    char text[1024];

    if (got == wanted || (got != NULL && wanted != NULL && strcmp(got, wanted) == 0))
        return passed(words, file, line);
    snprintf(text, sizeof text, "%s: got \"%s\", wanted \"%s\"", words, got != NULL ? got : "NULL",
             wanted != NULL ? wanted : "NULL");
    return failed(words, file, line, fatal, text);
}

bool
test_check_has(const char *text, const char *part, const char *words, const char *file, int line,
               bool fatal)
{
    char all[1024];

    if (text != NULL && strstr(text, part) != NULL)
        return passed(words, file, line);
    snprintf(all, sizeof all, "%s: \"%s\" does not contain \"%s\"", words,
             text != NULL ? text : "NULL", part);
    return failed(words, file, line, fatal, all);
}

bool
test_check_mem(const void *got, const void *wanted, size_t size, const char *words,
               const char *file, int line, bool fatal)
{
    const unsigned char *a = got;
    const unsigned char *b = wanted;
    char text[512];
    size_t at = 0;

    while (at < size && a[at] == b[at])
        at++;
    if (at == size)
        return passed(words, file, line);
    snprintf(text, sizeof text, "%s: byte %zu of %zu is 0x%02x, wanted 0x%02x", words, at, size,
             a[at], b[at]);
    return failed(words, file, line, fatal, text);
}

/* ---- main ----------------------------------------------------------------------------------- */

static void
case_begin(void)
{
    run.draws = 0;
    ftk_fault_disarm();
}

static void
case_end(void)
{
    ftk_fault_disarm();
    dir_remove();
}

static void
timed_out(int signal_number)
{
    static const char text[] = "\ntimed out (KILN_TEST_TIMEOUT)\n";
    (void)signal_number;
    if (write(STDERR_FILENO, text, sizeof text - 1) < 0)
        _exit(3);
    abort();
}

static bool
selected(const char *name, int argc, char **argv)
{
    if (argc < 2)
        return true;
    for (int i = 1; i < argc; i++) {
        if (strstr(name, argv[i]) != NULL)
            return true;
    }
    return false;
}

int
test_main(const char *suite_name, const struct test_case *cases, size_t count, int argc,
          char **argv)
{
    size_t added = 0;

    run.program = argv[0];
    ftk_random_system(&run.seed, sizeof run.seed);
    run.seed = env_number("KILN_SEED", run.seed >> 32);
    if (argc == 2 && strcmp(argv[1], "--list") == 0) {
        for (size_t i = 0; i < count; i++)
            printf("%s\n", cases[i].name);
        return 0;
    }
    signal(SIGALRM, timed_out);
    alarm((unsigned)env_number("KILN_TEST_TIMEOUT", 300));

    if (CU_initialize_registry() != CUE_SUCCESS)
        return 2;
    CU_pSuite suite =
        CU_add_suite_with_setup_and_teardown(suite_name, NULL, NULL, case_begin, case_end);
    for (size_t i = 0; i < count && suite != NULL; i++) {
        if (selected(cases[i].name, argc, argv) &&
            CU_add_test(suite, cases[i].name, cases[i].run) != NULL)
            added++;
    }
    if (added == 0) {
        fprintf(stderr, "%s: no case to run\n", argv[0]);
        return 2;
    }
    printf("seed: KILN_SEED=%" PRIu64 "\n", run.seed);
    fflush(stdout);
    CU_basic_set_mode(CU_BRM_VERBOSE);
    CU_ErrorCode code = CU_basic_run_tests();
    bool bad = code != CUE_SUCCESS || CU_get_number_of_failures() > 0 || run.failures > 0;
    CU_cleanup_registry();
    return bad ? 1 : 0;
}
