/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/txn/failure.c -- the first final error, after which the database refuses writes; words of
 * errors; structs that a program gives.
 */
#include <string.h>

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
    if (status != FTK_OK) {
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

/* ---- structs of a program -------------------------------------------------------------------- */

ftk_status
struct_options_read(const void *options, const char *name, void *known, size_t known_size)
{
    size_t size;

    FTK_ASSERT(options != NULL && known_size >= sizeof(size));
    memcpy(&size, options, sizeof(size));
    if (!struct_size_is_set(size))
        return FTK_FAIL(FTK_INVALID, "%s.size is not set: begin it by its initialiser", name);
    for (size_t i = known_size; i < size; i++)
        if (((const uint8_t *)options)[i] != 0)
            return FTK_FAIL(FTK_INVALID,
                            "%s of %zu bytes asks for what this version of kiln, with "
                            "%zu, does not know",
                            name, size, known_size);
    memcpy(known, options, size < known_size ? size : known_size);
    memcpy(known, &known_size, sizeof(known_size));
    return FTK_OK;
}
