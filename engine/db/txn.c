/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/db/txn.c -- begin, commit, abort.
 *
 *     begin --> active --commit--> logged --(writer lock released)--> durable --> published
 *                 |                  +--(with an open window: durable, published, lock released)
 *                 |
 *                 +--abort / any error that leaves it `ended`--> gone
 *
 * Invariants
 * 1. Commit order = log order = visibility order: the record is appended and the snapshot becomes
 *    the newest under the writer lock; it is published after its bytes are as durable as promised,
 *    and those of all commits before as durable as they promised.
 * 2. A page dead in transaction T is looked at for reuse only when T is published.
 */
#include "engine/db/txn.h"

#include <stdlib.h>
#include <string.h>

#include "engine/db/log_place.h"
#include "engine/db/trees.h"
#include "engine/tree/cursor.h"
#include "ftk/mem.h"

enum {
    APPENDS_MANY = 16,
    BATCH_KEPT = 2 << 20, /* bytes of memory for batches that stay with an idle object */
};

/* ---- objects --------------------------------------------------------------------------------- */

static void
writer_release(struct txn_writer *writer)
{
    txn_born_release(&writer->born);
    space_extents_release(&writer->dead);
    space_extents_release(&writer->retired_own);
    space_extents_release(&writer->going);
    ftk_free(writer->savepoints);
    ftk_free(writer->page_scratch);
    ftk_free(writer->batch_memory);
    ftk_free(writer->ops);
}

void
txn_free(kiln_txn *txn)
{
    if (txn == NULL)
        return;
    trees_release(txn);
    writer_release(&txn->writer);
    lent_free(&txn->reader.lent);
    if (txn->slot != NULL)
        cache_slot_give(txn->slot);
    ftk_free(txn);
}

static ftk_status
txn_object(kiln_db *db, kiln_txn **txn_out)
{
    kiln_txn *txn = NULL;
    ftk_status rc;

    for (size_t i = 0; i < DB_IDLE_TXNS; i++) {
        if (atomic_load_explicit(&db->idle[i], memory_order_relaxed) == NULL)
            continue;
        txn = atomic_exchange(&db->idle[i], NULL);
        if (txn != NULL) {
            FTK_ASSERT(txn->db == db && atomic_load(&txn->slot->snapshot) == 0);
            *txn_out = txn;
            return FTK_OK;
        }
    }
    FTK_TRY(FTK_NEW(&txn));
    txn->db = db;
    lent_init(&txn->reader.lent);
    txn->cache = db->cache;
    txn->fast = db->fast;
    FTK_TRY(cache_slot_take(db->cache, &txn->slot));
    *txn_out = txn;
    txn = NULL;
out:
    txn_free(txn);
    return rc;
}

/* Give the object back for the next transaction.  This one counts as open until txn_gone: a commit
 * that waits for the device needs the database. */
static void
txn_idle(kiln_txn *txn)
{
    kiln_db *db = txn->db;

    FTK_ASSERT(txn->cursors == NULL && txn->writer.held_page == 0 && txn->extension == NULL);
    if (txn->writer.batch_bytes > BATCH_KEPT) {
        ftk_free(txn->writer.batch_memory);
        txn->writer.batch_memory = NULL;
        txn->writer.batch_bytes = 0;
    }
    atomic_store(&txn->slot->snapshot, 0);
    for (size_t i = 0; i < DB_IDLE_TXNS; i++) {
        kiln_txn *none = NULL;
        if (atomic_load_explicit(&db->idle[i], memory_order_relaxed) == NULL &&
            atomic_compare_exchange_strong(&db->idle[i], &none, txn))
            return;
    }
    txn_free(txn);
}

/* The last that the call does with the database: from here on it may be closed. */
static void
txn_gone(kiln_db *db)
{
    uint64_t before = atomic_fetch_sub(&db->open_txns, 1);

    FTK_ASSERT(before > 0);
}

static void
writer_start(struct txn_writer *writer, uint64_t birth)
{
    FTK_ASSERT(writer->bulks == NULL);
    writer->logs = writer->grows = writer->reserve = false;
    writer->birth = writer->birth_first = writer->birth_floor = birth;
    atomic_store_explicit(&writer->prepared, 0, memory_order_relaxed);
    atomic_store_explicit(&writer->spill_pages, 0, memory_order_relaxed);
    atomic_store_explicit(&writer->spill_due, 0, memory_order_relaxed);
    writer->appends = 0;
    txn_born_reset(&writer->born);
    writer->dead.count = writer->retired_own.count = 0;
    writer->ops_size = writer->ops_kept = 0;
    writer->mark = NULL;
    writer->fragments = 0;
    writer->savepoint_count = 0;
    writer->scope_born = 0;
}

static void
txn_start(kiln_txn *txn)
{
    txn->inside = false;
    txn->refusal = TXN_FIT;
    txn->error.status = FTK_OK;
    txn->error.text[0] = 0;
    trees_start(txn);
    txn->named = (struct txn_named){0};
    FTK_ASSERT(txn->writer.held_page == 0 && txn->reader.lent.newest == 0);
    txn->cursors = NULL;
    FTK_ASSERT(txn->window == NULL);
    txn->catalog = (struct tree){.root = txn->snapshot.catalog_root,
                                 .keys = txn->snapshot.catalog_keys,
                                 .height = (uint8_t)txn->snapshot.catalog_height};
    atomic_fetch_add(&txn->db->open_txns, 1);
}

/* ---- begin ----------------------------------------------------------------------------------- */

static ftk_status
begin_read(kiln_db *db, kiln_txn **txn_out)
{
    kiln_txn *txn;
    ftk_status rc = txn_object(db, &txn);

    if (rc != FTK_OK)
        return rc;
    db_pin(db, txn->slot, &txn->snapshot, &txn->reader.beside);
    txn->write = false;
    txn_start(txn);
    FTK_DEBUG_ASSERT((txn_check(txn), true));
    *txn_out = txn;
    return FTK_OK;
}

/* Pages are taken out of it with what lies between their entries, which goes to the file: so the
 * program's memory is cleared out of it, once. */
static ftk_status
scratch_new(const kiln_db *db, uint8_t **scratch_out)
{
    ftk_status rc = ftk_alloc_aligned(64, db->page_bytes, (void **)scratch_out);

    if (rc == FTK_OK)
        memset(*scratch_out, 0, db->page_bytes);
    return rc;
}

/* The writer lock is held. */
static ftk_status
begin_write(kiln_db *db, kiln_txn **txn_out)
{
    kiln_txn *txn;
    ftk_status rc = txn_object(db, &txn);

    if (rc != FTK_OK)
        return rc;
    if (txn->writer.page_scratch == NULL)
        rc = scratch_new(db, &txn->writer.page_scratch);
    if (rc != FTK_OK) {
        txn_free(txn);
        return rc;
    }
    snapshots_reclaim(db);
    FTK_ASSERT(db_births(db) > db->newest.id && db->coll_next >= db->newest.coll_next);
    txn->write = true;
    txn->reader.beside = NULL;
    txn->snapshot = db->newest;
    writer_start(&txn->writer, db_birth_take(db));
    txn_start(txn);
    FTK_DEBUG_ASSERT((txn_check(txn), true));
    *txn_out = txn;
    return FTK_OK;
}

ftk_status
txn_begin(kiln_db *db, uint32_t kind, kiln_durability durability, uint32_t timeout_ms,
          kiln_txn **txn_out)
{
    ftk_status rc = db_check_caller(db);

    if (rc != FTK_OK)
        return rc;
    if (kind == KILN_READ)
        return begin_read(db, txn_out);
    if (kind != KILN_WRITE)
        return FTK_FAIL(FTK_INVALID, "a transaction is KILN_READ or KILN_WRITE, not %u", kind);
    if (db->read_only)
        return FTK_FAIL(FTK_READONLY, "the database is open read-only");
    rc = db_check_failed(db);
    if (rc != FTK_OK)
        return rc;
    rc = db_writer_lock(db, timeout_ms == UINT32_MAX ? db->options.txn_timeout_ms : timeout_ms);
    if (rc != FTK_OK)
        return rc;
    rc = begin_write(db, txn_out);
    if (rc != FTK_OK) {
        db_writer_unlock(db);
        return rc;
    }
    if (durability == KILN_DURABILITY_DEFAULT)
        durability = db->options.durability;
    (*txn_out)->writer.logs = db->log != NULL;
    (*txn_out)->writer.durability = durability;
    window_begin(*txn_out, db->log == NULL || durability != KILN_FULL);
    return FTK_OK;
}

ftk_status
txn_begin_replay(kiln_db *db, kiln_txn **txn_out)
{
    ftk_status rc = db_writer_lock(db, UINT32_MAX);

    if (rc != FTK_OK)
        return rc;
    rc = begin_write(db, txn_out);
    if (rc != FTK_OK) {
        db_writer_unlock(db);
        return rc;
    }
    (*txn_out)->writer.reserve = true;
    window_begin(*txn_out, !db->read_only);
    return FTK_OK;
}

/*
 * Nothing here can fail: trees are read again when they are used.  While nothing was published
 * since, all stays: the pin was never given back, so it protects what it did, and trees are as they
 * were.
 */
ftk_status
txn_renew(kiln_txn *txn)
{
    ftk_status rc = txn_check_idle(txn);

    if (rc != FTK_OK)
        return rc;
    if (txn->write)
        return FTK_FAIL(FTK_STATE, "a write transaction cannot be renewed");
    lent_end(&txn->reader.lent, txn->cache, txn->fast);
    for (kiln_cursor *cursor = txn->cursors; cursor != NULL; cursor = cursor->next) {
        cursor_unposition(cursor);
        cursor->renewed = true;
    }
    if (txn->extension != NULL)
        db_extension_records.txn_end(txn);
    uint64_t before = txn->snapshot.id;
    FTK_ASSERT(atomic_load_explicit(&txn->slot->snapshot, memory_order_relaxed) == before);
    if (db_published_id(txn->db) == before)
        return FTK_OK;
    db_pin(txn->db, txn->slot, &txn->snapshot, &txn->reader.beside);
    FTK_ASSERT(txn->snapshot.id >= before);
    txn->catalog = (struct tree){.root = txn->snapshot.catalog_root,
                                 .keys = txn->snapshot.catalog_keys,
                                 .height = (uint8_t)txn->snapshot.catalog_height};
    txn->reader.renewals++;
    txn->tree_last = NULL;
    FTK_DEBUG_ASSERT((txn_check(txn), true));
    return FTK_OK;
}

/* ---- end ------------------------------------------------------------------------------------- */

static void
end_common(kiln_txn *txn)
{
    txn_unhold(txn);
    lent_end(&txn->reader.lent, txn->cache, txn->fast);
    while (txn->writer.bulks != NULL)
        bulk_detach(txn->writer.bulks);
    while (txn->cursors != NULL)
        cursor_detach(txn->cursors);
    if (txn->extension != NULL)
        db_extension_records.txn_end(txn);
}

struct publish {
    kiln_db *db;
    const struct db_snapshot *snapshot;
};

static void
become_newest(void *context)
{
    struct publish *publish = context;

    publish->db->newest = *publish->snapshot;
}

/*
 * What outlives a transaction that is aborted: numbers that it took are not given again, and
 * fragments that it left in the log mean nothing; the next checkpoint has them behind it.
 */
static void
abort_note(kiln_txn *txn)
{
    kiln_db *db = txn->db;
    struct db_snapshot snapshot = db->newest;
    struct publish publish = {db, &snapshot};
    struct space_extents none = {0}, dead = {0};

    if (txn->writer.fragments == 0 && db->coll_next == snapshot.coll_next)
        return;
    FTK_ASSERT(db->coll_next >= snapshot.coll_next);
    snapshot.coll_next = db->coll_next;
    if (txn->writer.fragments > 0)
        snapshot.lsn = rfl_lsn_end(db->log);
    space_commit(db->space, &none, &none, &dead, snapshot.id, become_newest, &publish);
}

/* All of it is dropped; it still counts as open. */
static void
txn_drop(kiln_txn *txn)
{
    kiln_db *db = txn->db;

    FTK_DEBUG_ASSERT((txn_check(txn), true));
    end_common(txn);
    if (txn->write) {
        window_abort(txn);
        FTK_DEBUG_ASSERT_SOUND(txn_pages_check(txn));
        txn->writer.savepoint_count = 0;
        txn->writer.scope_born = 0;
        txn->writer.ops_kept = 0;
        cache_unreserve(txn->cache);
        txn_pages_give_back(txn, &txn->writer.born.list, 0);
        abort_note(txn);
        db_writer_unlock(db);
        atomic_fetch_add(&db->aborts, 1);
    }
    txn_idle(txn);
}

void
txn_abort(kiln_txn *txn)
{
    kiln_db *db = txn->db;

    if (db_check_process(db) != FTK_OK || txn_answer(txn, txn_check_idle(txn)) != FTK_OK)
        return;
    txn_drop(txn);
    txn_gone(db);
}

/* Pages change hands and the snapshot becomes the newest; the log has the transaction. */
static void
commit_pages(kiln_txn *txn, uint64_t id)
{
    struct publish publish = {txn->db, &txn->snapshot};

    FTK_ASSERT(id >= txn->writer.birth && id > txn->db->newest.id);
    FTK_ASSERT(txn->snapshot.lsn >= txn->db->newest.lsn);
    FTK_ASSERT(page_ref_is_none(txn->catalog.root) == (txn->catalog.height == 0));
    txn->snapshot.id = id;
    txn->snapshot.coll_next = txn->db->coll_next;
    txn->snapshot.catalog_root = txn->catalog.root;
    txn->snapshot.catalog_height = txn->catalog.height;
    txn->snapshot.catalog_keys = txn->catalog.keys;
    if (db_births(txn->db) <= id)
        db_births_raise(txn->db, id + 1);
    txn->db->appends_many = txn->writer.appends >= APPENDS_MANY;
    space_commit(txn->db->space, &txn->writer.born.list, &txn->writer.retired_own,
                 &txn->writer.dead, id, become_newest, &publish);
    txn_pages_give_back(txn, &txn->writer.retired_own, 0);
    cache_unreserve(txn->cache);
    atomic_fetch_add(&txn->db->commits, 1);
}

/*
 * Everything that can fail before the commit record.  With an open window its mutex is held from
 * here on; one that has returned leaves meanwhile has changed trees whose entries were written.
 */
static ftk_status
commit_prepare(kiln_txn *txn)
{
    bool decided;
    ftk_status rc;

    while (txn->writer.savepoint_count > 0)
        FTK_TRY(txn_savepoint_release(txn));
    if (txn->extension != NULL)
        FTK_TRY(db_extension_records.before_commit(txn));
    FTK_TRY(txn_check_ended(txn));
    do {
        FTK_TRY(coll_write_entries(txn));
        FTK_TRY(window_commit_begin(txn, &decided));
    } while (!decided || coll_entries_due(txn));
    FTK_TRY(space_commit_prepare(txn->db->space));
    FTK_DEBUG_ASSERT_SOUND(txn_pages_check(txn));
    rc = txn_check_ended(txn);
out:
    FTK_ASSERT(rc != FTK_OK || txn->writer.savepoint_count == 0);
    return rc;
}

static enum rfl_durability
rfl_durability_of(kiln_durability durability)
{
    return durability == KILN_OS ? RFL_OS : durability == KILN_LAZY ? RFL_LAZY : RFL_FULL;
}

/* Under the writer's turn: what a commit that ends at lsn has to wait for, its own promise too. */
static struct db_promise
promise_add(kiln_db *db, uint64_t lsn, kiln_durability durability)
{
    if (durability == KILN_FULL)
        db->promise.lsn_full = lsn;
    else if (durability == KILN_OS)
        db->promise.lsn_os = lsn;
    return db->promise;
}

/*
 * Rule 6: the promises of all commits before hold, too, before readers see this one.  A full one is
 * waited for by joining its sync; where nothing is under way these are two comparisons.
 */
static ftk_status
promises_wait(kiln_db *db, const struct db_promise *promise, kiln_durability durability)
{
    ftk_status rc = rfl_commit(db->log, promise->lsn_full, RFL_FULL);

    if (rc == FTK_OK && durability == KILN_LAZY)
        rc = rfl_commit(db->log, promise->lsn_os, RFL_OS);
    return rc;
}

/* A record is in the log and its promise does not hold: whether it is there shows when the database
 * is opened again.  No other error of a commit leaves that open. */
static ftk_status
promise_failed(kiln_db *db, ftk_status rc)
{
    struct ftk_error cause = *ftk_error_last();

    (void)db_fail(db, rc);
    return FTK_FAIL_OS(FTK_FAILED, cause.os_errno,
                       "what is committed shows when the database is opened again: %.180s",
                       cause.text);
}

/* Wait until the promise holds, let readers see it, and be slowed if pages pile up. */
static ftk_status
commit_wait(kiln_db *db, const struct db_snapshot *snapshot, const struct db_promise *promise,
            kiln_durability durability)
{
    ftk_status rc = FTK_OK;

    if (db->log != NULL) {
        rc = rfl_commit(db->log, snapshot->lsn, rfl_durability_of(durability));
        if (rc == FTK_OK && durability != KILN_FULL)
            rc = promises_wait(db, promise, durability);
        if (rc != FTK_OK)
            return promise_failed(db, rc);
        if (snapshot->lsn > atomic_load(&db->durable_lsn) + db->options.rfl_bytes_max)
            checkpointer_kick(db->checkpointer);
    }
    db_publish(db, snapshot);
    /* This transaction is safe.  What is final of a checkpoint's errors has failed the database at
     * its end; what passes must not. */
    (void)checkpointer_throttle(db->checkpointer);
    return FTK_OK;
}

/*
 * Nothing changed, so nothing is logged.  But a writer begins with the newest snapshot, whose
 * promise may not hold yet: what this one says of it counts when readers could have seen it, too.
 */
static ftk_status
commit_nothing(kiln_txn *txn)
{
    kiln_db *db = txn->db;
    struct db_promise promise = db->promise; /* nobody adds to it before the turn is given up */
    ftk_status rc = FTK_OK;

    txn_drop(txn);
    if (db->log != NULL)
        rc = promises_wait(db, &promise, KILN_LAZY);
    return rc == FTK_OK ? FTK_OK : promise_failed(db, rc);
}

/* The commit record into the log; with an open window as durable as it is to be. */
static ftk_status
commit_log(kiln_txn *txn, uint64_t *lsn_end_out)
{
    ftk_status rc = txn_log_commit(txn, lsn_end_out);

    if (!txn_holds_window(txn))
        return rc;
    if (rc == FTK_OK) {
        rc = rfl_commit(txn->db->log, *lsn_end_out, rfl_durability_of(txn->writer.durability));
        return rc == FTK_OK ? FTK_OK : promise_failed(txn->db, rc);
    }
    if (rc != FTK_NOSPACE)
        return rc;
    window_commit_cancel(txn); /* a checkpoint may give log space back: without a window */
    FTK_TRY(in_place_end(txn));
    FTK_TRY(commit_prepare(txn));
    rc = txn_log_commit(txn, lsn_end_out);
out:
    return rc;
}

/*
 * What was changed in place is what the snapshot before had: nobody may begin with that one now.
 * No promise is waited for here: a window opens only when the newest snapshot is published, so all
 * promises before hold, and the writer's turn has let nobody make another since.
 */
static void
commit_window(kiln_txn *txn)
{
    if (!txn_holds_window(txn))
        return;
    db_publish(txn->db, &txn->snapshot);
    window_commit_end(txn);
}

/* The transaction is dropped or durable then, and still counts as open. */
static ftk_status
commit(kiln_txn *txn)
{
    kiln_db *db = txn->db;
    struct db_snapshot snapshot;
    struct db_promise promise;
    kiln_durability durability = txn->writer.durability;
    uint64_t lsn_end = txn->snapshot.lsn;
    ftk_status rc = FTK_OK;

    if (!txn->write) {
        txn_drop(txn);
        return FTK_OK;
    }
    rc = txn_check_ended(txn);
    if (rc == FTK_OK && txn->writer.bulks != NULL)
        rc = FTK_FAIL(FTK_STATE, "a bulk builder is at work: the transaction was aborted");
    if (rc == FTK_OK)
        rc = commit_prepare(txn);
    if (rc == FTK_OK && !txn->catalog.dirty && txn->writer.ops_size == 0 &&
        txn->writer.fragments == 0 && txn->snapshot.applied == db->newest.applied)
        return commit_nothing(txn);
    if (rc == FTK_OK && txn->writer.logs)
        rc = commit_log(txn, &lsn_end);
    if (rc != FTK_OK) {
        txn_drop(txn);
        return rc;
    }
    txn->snapshot.lsn = lsn_end;
    commit_pages(txn, txn->writer.birth);
    snapshot = txn->snapshot;
    promise = promise_add(db, lsn_end, durability);
    commit_window(txn);
    end_common(txn);
    db_writer_unlock(db);
    txn_idle(txn);
    return commit_wait(db, &snapshot, &promise, durability);
}

ftk_status
txn_commit(kiln_txn *txn)
{
    kiln_db *db = txn->db;
    ftk_status rc = db_check_process(db);

    if (rc != FTK_OK)
        return rc; /* nothing of the parent's, or of its memory, is touched */
    rc = txn_check_idle(txn);
    if (rc != FTK_OK)
        return txn_answer(txn, rc);  /* it is still there */
    rc = db_answer(db, commit(txn)); /* before the database may be closed */
    txn_gone(db);
    return rc;
}

ftk_status
txn_commit_replay(kiln_txn *txn, uint64_t id, uint64_t lsn)
{
    kiln_db *db = txn->db;
    struct db_snapshot snapshot;
    ftk_status rc = commit_prepare(txn);

    if (rc != FTK_OK) {
        txn_abort(txn);
        return rc;
    }
    txn->snapshot.lsn = lsn;
    commit_pages(txn, id > txn->writer.birth ? id : txn->writer.birth);
    snapshot = txn->snapshot;
    commit_window(txn);
    end_common(txn);
    db_writer_unlock(db);
    txn_idle(txn);
    db_publish(db, &snapshot);
    rc = db->read_only ? FTK_OK : checkpointer_throttle(db->checkpointer);
    txn_gone(db);
    return rc;
}
