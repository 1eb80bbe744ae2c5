/* SPDX-License-Identifier: Apache-2.0 */
/* engine/api/api_db.c -- kiln.h: databases. */
#include "engine/db/log_place.h"
#include "engine/db/open.h"
#include "kiln.h"

void
kiln_options_init(kiln_options *options)
{
    *options = (kiln_options)KILN_OPTIONS_INIT;
}

void
kiln_txn_options_init(kiln_txn_options *options)
{
    *options = (kiln_txn_options)KILN_TXN_OPTIONS_INIT;
}

void
kiln_index_options_init(kiln_index_options *options)
{
    *options = (kiln_index_options)KILN_INDEX_OPTIONS_INIT;
}

void
kiln_check_options_init(kiln_check_options *options)
{
    *options = (kiln_check_options)KILN_CHECK_OPTIONS_INIT;
}

void
kiln_stat_init(kiln_stat *stat)
{
    *stat = (kiln_stat){.size = sizeof(*stat)};
}

void
kiln_coll_stat_init(kiln_coll_stat *stat)
{
    *stat = (kiln_coll_stat){.size = sizeof(*stat)};
}

kiln_status
kiln_open(const char *path, const kiln_options *options, kiln_db **db_out)
{
    kiln_options known = KILN_OPTIONS_INIT;
    ftk_status rc = FTK_OK;

    *db_out = NULL;
    if (options != NULL)
        rc = struct_options_read(options, "kiln_options", &known, sizeof(known));
    if (rc == FTK_OK)
        rc = db_open(path, &known, NULL, db_out);
    FTK_ASSERT((rc == FTK_OK) == (*db_out != NULL));
    return rc;
}

kiln_status
kiln_close(kiln_db *db)
{
    ftk_status rc;

    if (db == NULL)
        return KILN_OK;
    rc = db_close(db);
    return rc == FTK_STATE ? db_answer(db, rc) : rc; /* only then it is still there */
}

kiln_status
kiln_checkpoint(kiln_db *db)
{
    ftk_status rc;

    if (db->read_only)
        return db_answer(db, FTK_FAIL(FTK_READONLY, "the database is open read-only"));
    rc = db_check_caller(db);
    if (rc != FTK_OK)
        return db_answer(db, rc);
    atomic_fetch_add(&db->open_txns, 1);
    rc = db_check_failed(db);
    rc = db_answer(db, rc != FTK_OK ? rc : checkpointer_run(db->checkpointer, false));
    atomic_fetch_sub(&db->open_txns, 1);
    return rc;
}

kiln_status
kiln_cache_limit(uint64_t bytes)
{
    return cache_limit_set(bytes);
}
