/* SPDX-License-Identifier: Apache-2.0 */
/* ftk/status.h -- status codes, their texts, and the place where an error was born. */
#ifndef FTK_STATUS_H
#define FTK_STATUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The one table of status codes: name, number, text.  Numbers are frozen: they are part of the
 * public interface (engine/api/api_status.c asserts that kiln.h shows the same).
 */
#define FTK_STATUS_MAP(X)                                                                          \
    X(OK, 0, "success")                                                                            \
    X(NOTFOUND, 1, "not found")                                                                    \
    X(EXISTS, 2, "already exists")                                                                 \
    X(INVALID, 3, "invalid argument")                                                              \
    X(NOMEM, 4, "out of memory")                                                                   \
    X(IO, 5, "input/output error")                                                                 \
    X(NOSPACE, 6, "no space left")                                                                 \
    X(CORRUPT, 7, "data is corrupt")                                                               \
    X(INUSE, 8, "in use by another process")                                                       \
    X(FOREIGN, 9, "not a kiln file")                                                               \
    X(VERSION, 10, "format version is not supported")                                              \
    X(READONLY, 11, "opened read-only")                                                            \
    X(TIMEOUT, 12, "timed out")                                                                    \
    X(TOOBIG, 13, "too large")                                                                     \
    X(STATE, 14, "not legal in this state")                                                        \
    X(FAILED, 15, "the database has failed and must be reopened")                                  \
    X(CANCELED, 16, "canceled")                                                                    \
    X(UNSUPPORTED, 17, "not supported here")                                                       \
    X(TRUNCATED, 18, "buffer too small")                                                           \
    X(CONSTRAINT, 19, "violates a constraint")

#define FTK_STATUS_ENUM(name, number, text) FTK_##name = number,
enum { FTK_STATUS_MAP(FTK_STATUS_ENUM) };
#undef FTK_STATUS_ENUM
/* An int, so that it and kiln_status, which has the same numbers, need no conversions. */
typedef int ftk_status;

#define FTK_ERROR_TEXT_MAX 256

/* The last error of this thread: where it was born and with what words. */
struct ftk_error {
    ftk_status status;
    int os_errno;     /* 0 when the operating system was not involved */
    const char *file; /* static storage */
    int line;
    char text[FTK_ERROR_TEXT_MAX];
};

/* Static text of a code; never NULL, also for numbers outside the table. */
const char *ftk_status_text(ftk_status status);

/* Static name of a code, such as "NOSPACE". */
const char *ftk_status_name(ftk_status status);

/* The last error born in this thread; borrowed, valid until the next one.  Never NULL. */
const struct ftk_error *ftk_error_last(void);

/* Copy an error born in another thread into this thread's slot (a background failure reported). */
void ftk_error_set(const struct ftk_error *error);

/* Keep the thread's last error, which a call is about to return as `status`. */
void ftk_error_copy(struct ftk_error *copy_out, ftk_status status);

/* Record an error in the thread's slot and return its code, which is not FTK_OK.  Used through
 * FTK_FAIL. */
ftk_status ftk_error_born(ftk_status status, int os_errno, const char *file, int line,
                          const char *format, ...) __attribute__((format(printf, 5, 6)));

/* Likewise, for FTK_ANSWER; words_size counts the terminating zero. */
ftk_status ftk_error_answer(ftk_status status, const char *file, int line, const char *words,
                            size_t words_size);

/* What ftk_error_born asserts, where compilers and analysers see it. */
static inline ftk_status
ftk_failed(ftk_status status)
{
    if (status == FTK_OK)
        __builtin_unreachable();
    return status;
}

#define FTK_FAIL(status, ...)                                                                      \
    ftk_failed(ftk_error_born((status), 0, __FILE__, __LINE__, __VA_ARGS__))
/* A plain answer (not found, exists): words is a literal and nothing is formatted, so that a call
 * which often gives it costs little more for having words. */
#define FTK_ANSWER(status, words)                                                                  \
    ftk_failed(ftk_error_answer((status), __FILE__, __LINE__, "" words, sizeof("" words)))
#define FTK_FAIL_OS(status, err, ...)                                                              \
    ftk_failed(ftk_error_born((status), (err), __FILE__, __LINE__, __VA_ARGS__))

/* The thread's last error, of this status, is a shortage of memory that passes: no device was asked
 * for anything, so nothing is in doubt. */
bool ftk_error_passes(ftk_status status);

/* Maps an errno to a code: ENOMEM, ENOSPC/EDQUOT/EFBIG, EROFS, EEXIST, ENOENT; else FTK_IO. */
ftk_status ftk_status_of_errno(int os_errno);

/* rc = call; on failure go to the cleanup label `out`. */
#define FTK_TRY(call)                                                                              \
    do {                                                                                           \
        rc = (call);                                                                               \
        if (rc != FTK_OK)                                                                          \
            goto out;                                                                              \
    } while (0)

/* Keep the first error: for cleanups that can fail themselves. */
#define FTK_KEEP_FIRST(call)                                                                       \
    do {                                                                                           \
        ftk_status keep_ = (call);                                                                 \
        if (rc == FTK_OK)                                                                          \
            rc = keep_;                                                                            \
    } while (0)

/*
 * Assertions are for bugs of our own, never for input.
 * FTK_ASSERT: cheap, always on.  FTK_DEBUG_ASSERT: expensive, on with -DKILN_DEBUG.
 * _SOUND: of a call that says in words what is wrong, NULL when nothing is.
 */
void ftk_assert_failed(const char *expression, const char *file, int line)
    __attribute__((noreturn));
#define FTK_ASSERT(x) ((x) ? (void)0 : ftk_assert_failed(#x, __FILE__, __LINE__))
#define FTK_ASSERT_SOUND(call)                                                                     \
    do {                                                                                           \
        const char *fault_ = (call);                                                               \
        if (fault_ != NULL)                                                                        \
            ftk_assert_failed(fault_, __FILE__, __LINE__);                                         \
    } while (0)
#ifdef KILN_DEBUG
#define FTK_DEBUG_ASSERT(x) FTK_ASSERT(x)
#define FTK_DEBUG_ASSERT_SOUND(call) FTK_ASSERT_SOUND(call)
#else
#define FTK_DEBUG_ASSERT(x) ((void)sizeof((x) ? 1 : 0))
#define FTK_DEBUG_ASSERT_SOUND(call) ((void)sizeof((call) != NULL))
#endif

#define FTK_INLINE static inline __attribute__((always_inline))
#define FTK_LIKELY(x) __builtin_expect(!!(x), 1)
#define FTK_UNLIKELY(x) __builtin_expect(!!(x), 0)

#endif
