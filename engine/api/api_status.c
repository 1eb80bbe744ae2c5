/* SPDX-License-Identifier: Apache-2.0 */
/* engine/api/api_status.c -- the public face of status codes and errors. */
#include <assert.h>

#include "engine/txn/txn_state.h"
#include "ftk/log.h"
#include "ftk/status.h"
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

/* Its text stays where it is. */
static kiln_error
error_of(const struct ftk_error *error)
{
    return (kiln_error){error->status, error->os_errno, error->file, error->line, error->text};
}

const kiln_error *
kiln_error_last(void)
{
    static _Thread_local kiln_error shown;

    shown = error_of(ftk_error_last());
    return &shown;
}

const kiln_error *
kiln_txn_error(const kiln_txn *txn)
{
    static _Thread_local kiln_error shown;

    shown = error_of(&txn->error);
    return &shown;
}

const kiln_error *
kiln_db_error(kiln_db *db)
{
    static _Thread_local struct ftk_error last; /* another thread may fail while it is read */
    static _Thread_local kiln_error shown;

    db_answer_last(db, &last);
    shown = error_of(&last);
    return &shown;
}

const char *
kiln_version(void)
{
    return TEXT_OF(KILN_VERSION_MAJOR) "." TEXT_OF(KILN_VERSION_MINOR) "." TEXT_OF(
        KILN_VERSION_PATCH);
}
