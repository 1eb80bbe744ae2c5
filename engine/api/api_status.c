/* engine/api/api_status.c -- the public face of status codes and errors. */
#include "ftk/status.h"

#include <assert.h>

#include "ftk/log.h"
#include "kiln.h"

#define STATUS_SAME(name, number, text)                                                            \
    static_assert((int)KILN_##name == (number), "kiln.h and ftk/status.h differ");
FTK_STATUS_MAP(STATUS_SAME)
#undef STATUS_SAME

static_assert((int)KILN_LOG_ERROR == (int)FTK_LOG_ERROR &&
                  (int)KILN_LOG_DEBUG == (int)FTK_LOG_DEBUG,
              "log levels");

#define TEXT_OF(x) TEXT_OF_(x)
#define TEXT_OF_(x) #x

const char *
kiln_status_text(kiln_status status)
{
    return ftk_status_text((ftk_status)status);
}

const char *
kiln_status_name(kiln_status status)
{
    return ftk_status_name((ftk_status)status);
}

const kiln_error *
kiln_error_last(void)
{
    static _Thread_local kiln_error shown;
    const struct ftk_error *last = ftk_error_last();

    shown =
        (kiln_error){(kiln_status)last->status, last->os_errno, last->file, last->line, last->text};
    return &shown;
}

const char *
kiln_version(void)
{
    return TEXT_OF(KILN_VERSION_MAJOR) "." TEXT_OF(KILN_VERSION_MINOR) "." TEXT_OF(
        KILN_VERSION_PATCH);
}
