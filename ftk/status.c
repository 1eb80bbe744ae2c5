/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ftk/status.c -- texts of the status codes, and the thread's slot for its last error.
 *
 * 1. The slot belongs to its thread alone: no lock, no allocation, so that an error can always be
 *    recorded, also one about memory.
 * 2. The slot changes only when an error is born or set: success leaves it alone.
 * 3. Whoever returns a status other than FTK_OK has one born, by FTK_FAIL or FTK_ANSWER, or hands
 *    on what it was given: so the slot always belongs to the call that just failed.
 */
#include "ftk/status.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local struct ftk_error error_slot;

const char *
ftk_status_text(ftk_status status)
{
#define STATUS_TEXT(name, number, text)                                                            \
    case number: return text;
    switch ((int)status) {
        FTK_STATUS_MAP(STATUS_TEXT)
    default: return "unknown status";
    }
#undef STATUS_TEXT
}

const char *
ftk_status_name(ftk_status status)
{
#define STATUS_NAME(name, number, text)                                                            \
    case number: return #name;
    switch ((int)status) {
        FTK_STATUS_MAP(STATUS_NAME)
    default: return "UNKNOWN";
    }
#undef STATUS_NAME
}

const struct ftk_error *
ftk_error_last(void)
{
    return &error_slot;
}

void
ftk_error_set(const struct ftk_error *error)
{
    if (error != &error_slot)
        error_slot = *error;
}

void
ftk_error_copy(struct ftk_error *copy, ftk_status status)
{
    FTK_ASSERT(status != FTK_OK);
    FTK_DEBUG_ASSERT(status == error_slot.status); /* rule 3 */
    if (FTK_UNLIKELY(status != error_slot.status))
        ftk_error_born(status, 0, __FILE__, __LINE__, "%s", ftk_status_text(status));
    copy->status = error_slot.status;
    copy->os_errno = error_slot.os_errno;
    copy->file = error_slot.file;
    copy->line = error_slot.line;
    strcpy(copy->text, error_slot.text);
}

ftk_status
ftk_error_born(ftk_status status, int os_errno, const char *file, int line, const char *format, ...)
{
    char text[FTK_ERROR_TEXT_MAX]; /* the arguments may point into the slot */
    va_list arguments;

    FTK_ASSERT(status != FTK_OK);
    va_start(arguments, format);
    if (vsnprintf(text, sizeof(text), format, arguments) < 0)
        text[0] = '\0';
    va_end(arguments);

    error_slot.status = status;
    error_slot.os_errno = os_errno;
    error_slot.file = file;
    error_slot.line = line;
    memcpy(error_slot.text, text, sizeof(text));
    return status;
}

ftk_status
ftk_error_answer(ftk_status status, const char *file, int line, const char *words,
                 size_t words_size)
{
    FTK_ASSERT(status != FTK_OK && words_size <= sizeof(error_slot.text));
    error_slot.status = status;
    error_slot.os_errno = 0;
    error_slot.file = file;
    error_slot.line = line;
    memcpy(error_slot.text, words, words_size);
    return status;
}

bool
ftk_error_passes(ftk_status status)
{
    const struct ftk_error *error = ftk_error_last();

    return status == FTK_NOMEM && error->status == FTK_NOMEM && error->os_errno == 0;
}

ftk_status
ftk_status_of_errno(int os_errno)
{
    switch (os_errno) {
    case 0: return FTK_OK;
    case ENOMEM:
    case EMFILE:
    case ENFILE: return FTK_NOMEM; /* shortages that may pass */
    case ENOSPC:
    case EDQUOT:
    case EFBIG: return FTK_NOSPACE;
    case EROFS: return FTK_READONLY;
    case EEXIST: return FTK_EXISTS;
    case ENOENT: return FTK_NOTFOUND;
    default: return FTK_IO;
    }
}

void
ftk_assert_failed(const char *expression, const char *file, int line)
{
    /* The one place that prints: the process ends here, and someone must learn why. */
    fprintf(stderr, "kiln: bug: %s:%d: assertion failed: %s\n", file, line, expression);
    fflush(stderr);
    abort();
}
