/* SPDX-License-Identifier: Apache-2.0 */
/* ftk/log.h -- messages to the owner's callback.  The library prints nothing itself. */
#ifndef FTK_LOG_H
#define FTK_LOG_H

enum ftk_log_level { FTK_LOG_ERROR, FTK_LOG_WARNING, FTK_LOG_INFO, FTK_LOG_DEBUG };

struct ftk_log {
    void (*write)(void *context, enum ftk_log_level level, const char *text); /* NULL: silent */
    void *context;
    enum ftk_log_level level_max;
};

void ftk_log(const struct ftk_log *log, enum ftk_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
