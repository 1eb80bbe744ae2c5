/* SPDX-License-Identifier: Apache-2.0 */
/* engine/db/open.h -- a database opened and closed, and the parts that do it. */
#ifndef ENGINE_OPEN_H
#define ENGINE_OPEN_H

#include "engine/txn/db_state.h"

/* How tests open a database: on a disk of theirs, without threads. */
struct db_environment {
    struct ftk_disk *disk; /* NULL: the operating system's */
    bool manual;           /* no threads; checkpoints run in the writer */
    enum ftk_aio_kind aio_kind;
};
ftk_status db_open(const char *path, const kiln_options *options,
                   const struct db_environment *environment, kiln_db **db_out);
ftk_status db_close(kiln_db *db);
/* Give up as a crash would: nothing is written. */
void db_abandon(kiln_db *db);

/* engine/db/recovery.c: replay the log from the newest snapshot's LSN. */
ftk_status recovery_run(kiln_db *db);
/* The leaves of a database that so much log is replayed into are in the cache, if that pays. */
ftk_status recovery_warm(kiln_db *db, uint64_t log_bytes);

/* engine/db/checkpoint.c */
void checkpoint_hooks_init(kiln_db *db);
/* HEADER_* of this database's headers from now on. */
uint32_t db_header_flags(const kiln_db *db);

#endif
