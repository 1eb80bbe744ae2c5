/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/support/test.h -- what every test program starts with.
 *
 *     #include "tests/support/test.h"
 *
 *     static void
 *     torn_tail_is_cut(void)
 *     {
 *         struct ftk_random random = test_random();           seeded, replays
 *         REQUIRE_OK(rfl_open(test_path("log"), &log));        stops the case
 *         CHECK_EQ(rfl_end(log), 4096);                        notes and goes on
 *         CHECK_STATUS(rfl_append(log, ...), FTK_NOSPACE);
 *     }
 *
 *     TEST_MAIN("rfl_tail", TEST(torn_tail_is_cut), TEST(whole_tail_is_kept))
 *
 * Run a program with names (or parts of names) of cases to run only those; `--list` lists them.
 * Environment: KILN_SEED=n replays a seed; TMPDIR says where directories go; KILN_KEEP=1 keeps
 * them; KILN_TEST_TIMEOUT=seconds (300) ends a program that hangs; KILN_TEST_SCALE=n multiplies the
 * rounds of random tests (test_rounds).
 *
 * Checks belong to the thread that runs the case: other threads hand their findings over.
 */
#ifndef TESTS_SUPPORT_TEST_H
#define TESTS_SUPPORT_TEST_H

#include <CUnit/CUnit.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ftk/disk.h"
#include "ftk/mem.h"
#include "ftk/random.h"
#include "ftk/status.h"

struct test_case {
    const char *name;
    void (*run)(void);
};

#define TEST(function)                                                                             \
    {                                                                                              \
#function, function                                                                        \
    }

#define TEST_MAIN(suite, ...)                                                                      \
    int main(int argc, char **argv)                                                                \
    {                                                                                              \
        static const struct test_case cases[] = {__VA_ARGS__};                                     \
        return test_main((suite), cases, sizeof cases / sizeof cases[0], argc, argv);              \
    }

/* Exit code: 0 all passed, 1 a check failed, 2 nothing to run. */
int test_main(const char *suite, const struct test_case *cases, size_t count, int argc,
              char **argv);

/* ---- seeds ---- */

/* The seed of this run: KILN_SEED, or drawn by chance; printed at the start and with failures. */
uint64_t test_seed(void);
/* A generator of its own per case and call order: the same for the same seed. */
struct ftk_random test_random(void);
/* rounds times KILN_TEST_SCALE. */
uint64_t test_rounds(uint64_t rounds);

/* ---- a directory per case ---- */

/* Made at first use, empty, on the real file system; removed after the case. */
const char *test_dir(void);
/* A path in it; borrowed until the case ends. */
const char *test_path(const char *name);

/* What a directory can do, by its path. */
ftk_status test_dir_sync(struct ftk_disk *disk, const char *path);
ftk_status test_dir_list(struct ftk_disk *disk, const char *path,
                         ftk_status (*each)(void *context, const char *name), void *context);
ftk_status test_dir_space(struct ftk_disk *disk, const char *path, uint64_t *free_out,
                          uint64_t *total_out);

/* ---- faults ---- */

/*
 * Run body again and again, with the 1st, the 2nd, the 3rd ... call of the kind failing, until one
 * run meets no fault.  body says with its status how it went and checks its own state; faults are
 * disarmed when it returns (call ftk_fault_disarm earlier to look around undisturbed).  Checks that
 * some fault was delivered, and that the last run, the one without fault, succeeded.  Returns the
 * number of faults delivered.
 */
uint64_t test_each_fault(enum ftk_fault kind, ftk_status (*body)(void *context), void *context);

/* ---- assertions ---- */

/*
 * A child of this process does `body(context)`: it must end by an assertion whose words contain
 * `words`.  The child has the caller's thread alone, and what it breaks stays broken in it alone.
 */
#define CHECK_DIES(body, context, words)                                                           \
    test_check_dies((body), (context), (words), #body, __FILE__, __LINE__)
bool test_check_dies(void (*body)(void *context), void *context, const char *words,
                     const char *body_words, const char *file, int line);

/* ---- checks: CHECK_x notes a failure and goes on, REQUIRE_x ends the case ---- */

#define CHECK(x) test_check((x), #x, __FILE__, __LINE__, false)
#define REQUIRE(x) test_check((x), #x, __FILE__, __LINE__, true)
/* With words of one's own: CHECK_MSG(a < b, "round %d", i). */
#define CHECK_MSG(x, ...) test_check_text((x), #x, __FILE__, __LINE__, false, __VA_ARGS__)
#define REQUIRE_MSG(x, ...) test_check_text((x), #x, __FILE__, __LINE__, true, __VA_ARGS__)

/* Status codes of ftk. */
#define CHECK_OK(call) test_check_status((call), FTK_OK, #call, __FILE__, __LINE__, false)
#define REQUIRE_OK(call) test_check_status((call), FTK_OK, #call, __FILE__, __LINE__, true)
#define CHECK_STATUS(call, status)                                                                 \
    test_check_status((call), (status), #call, __FILE__, __LINE__, false)
#define REQUIRE_STATUS(call, status)                                                               \
    test_check_status((call), (status), #call, __FILE__, __LINE__, true)

/* Integers, texts, bytes: got first, then wanted. */
#define CHECK_EQ(got, wanted)                                                                      \
    test_check_eq((long long)(got), (long long)(wanted), #got, #wanted, __FILE__, __LINE__, false)
#define REQUIRE_EQ(got, wanted)                                                                    \
    test_check_eq((long long)(got), (long long)(wanted), #got, #wanted, __FILE__, __LINE__, true)
#define CHECK_STR(got, wanted) test_check_str((got), (wanted), #got, __FILE__, __LINE__, false)
#define REQUIRE_STR(got, wanted) test_check_str((got), (wanted), #got, __FILE__, __LINE__, true)
/* The text contains the part. */
#define CHECK_HAS(text, part) test_check_has((text), (part), #text, __FILE__, __LINE__, false)
#define CHECK_MEM(got, wanted, size)                                                               \
    test_check_mem((got), (wanted), (size), #got, __FILE__, __LINE__, false)
#define REQUIRE_MEM(got, wanted, size)                                                             \
    test_check_mem((got), (wanted), (size), #got, __FILE__, __LINE__, true)

/* Behind the macros; each returns whether the check held. */
bool test_check(bool held, const char *words, const char *file, int line, bool fatal);
bool test_check_text(bool held, const char *words, const char *file, int line, bool fatal,
                     const char *format, ...) __attribute__((format(printf, 6, 7)));
bool test_check_status(ftk_status got, ftk_status wanted, const char *words, const char *file,
                       int line, bool fatal);
bool test_check_eq(long long got, long long wanted, const char *got_words, const char *wanted_words,
                   const char *file, int line, bool fatal);
bool test_check_str(const char *got, const char *wanted, const char *words, const char *file,
                    int line, bool fatal);
bool test_check_has(const char *text, const char *part, const char *words, const char *file,
                    int line, bool fatal);
bool test_check_mem(const void *got, const void *wanted, size_t size, const char *words,
                    const char *file, int line, bool fatal);

#endif
