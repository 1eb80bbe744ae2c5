/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/db/checkpoint.c -- what a checkpoint consists of; the checkpointer (cache/) decides when.
 *
 * Invariants
 * 1. The header of checkpoint C is written only after every page C reaches, its map pages, and the
 *    log up to C's LSN are durable.
 * 2. Log bytes are released, and pages of the last checkpoint become free, only when C's header is
 *    durable.
 */
#include "engine/db/log_place.h"
#include "engine/db/open.h"
#include "engine/txn/db_state.h"
#include "ftk/clock.h"

static uint64_t
pin_newest(void *context)
{
    kiln_db *db = context;

    FTK_ASSERT(db->newest.id >= db->durable_id && db->newest.coll_next >= db->durable_coll_next);
    db->checkpoint_of = db->newest;
    atomic_store(&db->checkpoint_pin, db->newest.id);
    return db->newest.id;
}

static ftk_status
begin(void *context, bool forced, uint64_t *limit_out, bool *due_out)
{
    kiln_db *db = context;
    uint64_t pin_before = atomic_load(&db->checkpoint_pin);
    ftk_status rc;

    *due_out = false;
    rc = db_check_failed(db);
    if (rc != FTK_OK)
        return rc;
    rc = window_pin_all(db);
    if (rc == FTK_OK)
        rc = space_checkpoint_begin(db->space, db->checkpoint + 1, pin_newest, db);
    if (rc != FTK_OK) {
        atomic_store(&db->checkpoint_pin, pin_before);
        return rc;
    }
    FTK_ASSERT(atomic_load(&db->checkpoint_pin) == db->checkpoint_of.id);
    if (!forced && db->checkpoint_of.id == db->durable_id && db->checkpoint_of.id != 0 &&
        db->checkpoint_of.lsn == atomic_load(&db->durable_lsn) &&
        db->checkpoint_of.coll_next == db->durable_coll_next) {
        space_checkpoint_end(db->space, false);
        return FTK_OK;
    }
    *limit_out = db->checkpoint_of.id;
    *due_out = true;
    return FTK_OK;
}

static ftk_status
write_more(void *context)
{
    kiln_db *db = context;

    return space_checkpoint_write(db->space, db->bufs, &db->checkpoint_pages_end,
                                  &db->checkpoint_map_hash);
}

static ftk_status
sync_all(void *context)
{
    kiln_db *db = context;
    ftk_status rc = FTK_OK;

    if (db->log != NULL && db->checkpoint_of.lsn > 0)
        rc = rfl_commit(db->log, db->checkpoint_of.lsn, RFL_FULL);
    if (rc == FTK_OK)
        rc = ftk_file_sync(db->data);
    return rc;
}

uint32_t
db_header_flags(const kiln_db *db)
{
    return (db->options.flags & KILN_EXTERNAL_LOG ? HEADER_EXTERNAL_LOG : 0u) |
           (db->archiving ? HEADER_ARCHIVING : 0u);
}

static ftk_status
write_header(void *context)
{
    kiln_db *db = context;
    struct header header = {.page_bytes = db->page_bytes,
                            .checkpoint = db->checkpoint + 1,
                            .snapshot = db->checkpoint_of,
                            .pages_end = db->checkpoint_pages_end,
                            .map_hash = db->checkpoint_map_hash,
                            .wall_ns = ftk_clock_wall_ns(),
                            .flags = db_header_flags(db)};

    FTK_ASSERT(header.pages_end > 0 && header.snapshot.lsn >= atomic_load(&db->durable_lsn));
    for (unsigned i = 0; i < sizeof(header.identity); i++)
        header.identity[i] = db->identity[i];
    log_place_put(db, &header);
    return header_write(db->data, &header);
}

static void
end(void *context, ftk_status status)
{
    kiln_db *db = context;

    space_checkpoint_end(db->space, status == FTK_OK);
    if (status != FTK_OK) {
        (void)db_fail_if_final(db, status);
        return;
    }
    db->checkpoint++;
    db->durable_id = db->checkpoint_of.id;
    db->durable_coll_next = db->checkpoint_of.coll_next;
    atomic_store(&db->durable_lsn, db->checkpoint_of.lsn);
    if (db->log != NULL) {
        ftk_status rc = rfl_release(db->log, db->checkpoint_of.lsn);
        if (rc != FTK_OK) /* segments stay; the next checkpoint tries again */
            ftk_log(&db->log_to, FTK_LOG_WARNING, "log not released: %s", ftk_error_last()->text);
    }
}

void
checkpoint_hooks_init(kiln_db *db)
{
    db->hooks = (struct checkpointer_hooks){.begin = begin,
                                            .write_more = write_more,
                                            .sync = sync_all,
                                            .header = write_header,
                                            .end = end,
                                            .context = db};
}
