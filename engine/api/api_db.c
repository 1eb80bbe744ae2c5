/* engine/api/api_db.c -- kiln.h: databases. */
#include "engine/db/open.h"
#include "kiln.h"

void
kiln_options_init(kiln_options *options)
{
    *options = (kiln_options)KILN_OPTIONS_INIT;
}

kiln_status
kiln_open(const char *path, const kiln_options *options, kiln_db **db_out)
{
    return db_open(path, options, NULL, db_out);
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
    rc = db_check_process(db);
    if (rc == FTK_OK)
        rc = db_check_failed(db);
    return db_answer(db, rc != FTK_OK ? rc : checkpointer_run(db->checkpointer, false));
}

kiln_status
kiln_cache_limit(uint64_t bytes)
{
    return cache_limit_set(bytes);
}
