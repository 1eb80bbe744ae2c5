/* SPDX-License-Identifier: Apache-2.0 */
/* ftk/log.c -- formats a message and hands it to the owner's callback. */
#include "ftk/log.h"

#include <stdarg.h>
#include <stdio.h>

#define LOG_TEXT_MAX 1024

void
ftk_log(const struct ftk_log *log, enum ftk_log_level level, const char *format, ...)
{
    char text[LOG_TEXT_MAX];
    va_list arguments;

    if (log == NULL || log->write == NULL || level > log->level_max)
        return;
    va_start(arguments, format);
    int size = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (size >= 0)
        log->write(log->context, level, text);
}
