/* SPDX-License-Identifier: Apache-2.0 */
/* engine/txn/failure.c -- the first final error, after which the database refuses writes. */
#include "engine/txn/db_state.h"
#include "ftk/fork.h"

ftk_status
db_fail(kiln_db *db, ftk_status status)
{
    FTK_ASSERT(status != FTK_OK);
    ftk_mutex_lock(&db->error_mutex);
    if (atomic_load(&db->failed) == FTK_OK) {
        db->error = *ftk_error_last();
        db->error.status = status;
        atomic_store(&db->failed, (int)status);
        ftk_log(&db->log_to, FTK_LOG_ERROR, "%s refuses writes from now on: %s", db->path,
                db->error.text);
    }
    ftk_mutex_unlock(&db->error_mutex);
    return status;
}

ftk_status
db_fail_if_final(kiln_db *db, ftk_status status)
{
    return ftk_error_passes(status) ? status : db_fail(db, status);
}

ftk_status
db_check_failed(kiln_db *db)
{
    if (FTK_LIKELY(atomic_load_explicit(&db->failed, memory_order_acquire) == FTK_OK))
        return FTK_OK;
    return FTK_FAIL(FTK_FAILED, "refused after an earlier error: %s (%s:%d)", db->error.text,
                    db->error.file, db->error.line);
}

ftk_status
db_answer(kiln_db *db, ftk_status status)
{
    /* In the child of a fork a thread that is not there may have the mutex for ever. */
    if (status != FTK_OK && FTK_LIKELY(db->forks == ftk_forks())) {
        ftk_mutex_lock(&db->error_mutex);
        ftk_error_copy(&db->call_error, status);
        ftk_mutex_unlock(&db->error_mutex);
    }
    return status;
}

void
db_answer_last(kiln_db *db, struct ftk_error *error)
{
    ftk_mutex_lock(&db->error_mutex);
    *error = db->call_error;
    ftk_mutex_unlock(&db->error_mutex);
}

ftk_status
db_check_process(const kiln_db *db)
{
    if (FTK_LIKELY(db->forks == ftk_forks()))
        return FTK_OK;
    return FTK_FAIL(FTK_STATE, "%s was opened before this process was forked: open it again here",
                    db->path);
}
