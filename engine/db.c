/* engine/db.c -- open, create, close; the writer queue; published snapshots. */
#include "engine/db.h"

#include <string.h>

#include "engine/node.h"
#include "engine/txn.h"
#include "ftk/checksum.h"
#include "ftk/clock.h"
#include "ftk/mem.h"
#include "ftk/random.h"

/* ---- failure --------------------------------------------------------------------------------- */

ftk_status
db_fail(kiln_db *db, ftk_status status)
{
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
db_check_failed(kiln_db *db)
{
    if (FTK_LIKELY(atomic_load_explicit(&db->failed, memory_order_acquire) == FTK_OK))
        return FTK_OK;
    return FTK_FAIL(FTK_FAILED, "refused after an earlier error: %s (%s:%d)", db->error.text,
                    db->error.file, db->error.line);
}

/* ---- published snapshot ---------------------------------------------------------------------- */

void
db_publish(kiln_db *db, const struct db_snapshot *snapshot)
{
    struct db_published *p = &db->published;

    ftk_mutex_lock(&db->publish_mutex);
    if (snapshot->id > atomic_load_explicit(&p->words[0], memory_order_relaxed)) {
        atomic_fetch_add(&p->sequence, 1);
        atomic_store(&p->words[0], snapshot->id);
        atomic_store(&p->words[1], snapshot->catalog_root);
        atomic_store(&p->words[2], snapshot->catalog_keys);
        atomic_store(&p->words[3], (uint64_t)snapshot->catalog_height << 32 | snapshot->coll_next);
        atomic_store(&p->words[4], snapshot->lsn);
        atomic_store(&p->words[5], snapshot->applied);
        atomic_fetch_add(&p->sequence, 1);
    }
    ftk_mutex_unlock(&db->publish_mutex);
}

void
db_published_get(kiln_db *db, struct db_snapshot *snapshot)
{
    struct db_published *p = &db->published;
    uint64_t before;

    do {
        while ((before = atomic_load(&p->sequence)) & 1)
            ftk_cpu_relax();
        uint64_t both = atomic_load(&p->words[3]);
        snapshot->id = atomic_load(&p->words[0]);
        snapshot->catalog_root = atomic_load(&p->words[1]);
        snapshot->catalog_keys = atomic_load(&p->words[2]);
        snapshot->catalog_height = (uint32_t)(both >> 32);
        snapshot->coll_next = (uint32_t)both;
        snapshot->lsn = atomic_load(&p->words[4]);
        snapshot->applied = atomic_load(&p->words[5]);
    } while (atomic_load(&p->sequence) != before);
}

uint64_t
db_published_id(kiln_db *db)
{
    struct db_snapshot snapshot;

    db_published_get(db, &snapshot);
    return snapshot.id;
}

/* ---- writer queue ---------------------------------------------------------------------------- */

static void
queue_remove(kiln_db *db, struct writer_wait *wait)
{
    struct writer_wait **at = &db->queue_first;
    struct writer_wait *last = NULL;

    while (*at != wait) {
        last = *at;
        at = &(*at)->next;
    }
    *at = wait->next;
    if (db->queue_last == wait)
        db->queue_last = last;
}

ftk_status
db_writer_lock(kiln_db *db, uint32_t timeout_ms)
{
    struct writer_wait wait = {0};
    uint64_t deadline = 0;
    ftk_status rc = FTK_OK;

    ftk_mutex_lock(&db->queue_mutex);
    if (!db->queue_busy) {
        db->queue_busy = true;
        ftk_mutex_unlock(&db->queue_mutex);
        return FTK_OK;
    }
    if (timeout_ms == 0) {
        ftk_mutex_unlock(&db->queue_mutex);
        return FTK_FAIL(FTK_TIMEOUT, "another write transaction is active");
    }
    if (timeout_ms != UINT32_MAX)
        deadline = ftk_clock_ns() + (uint64_t)timeout_ms * 1000000;
    ftk_cond_init(&wait.cond);
    if (db->queue_last != NULL)
        db->queue_last->next = &wait;
    else
        db->queue_first = &wait;
    db->queue_last = &wait;
    while (!wait.granted) {
        if (timeout_ms == UINT32_MAX) {
            ftk_cond_wait(&wait.cond, &db->queue_mutex);
        } else if (!ftk_cond_wait_until(&wait.cond, &db->queue_mutex, deadline) && !wait.granted) {
            queue_remove(db, &wait);
            rc = FTK_FAIL(FTK_TIMEOUT, "no write transaction within %u ms", timeout_ms);
            break;
        }
    }
    ftk_mutex_unlock(&db->queue_mutex);
    ftk_cond_release(&wait.cond);
    return rc;
}

void
db_writer_unlock(kiln_db *db)
{
    ftk_mutex_lock(&db->queue_mutex);
    struct writer_wait *first = db->queue_first;
    if (first != NULL) { /* handed over: nobody can overtake */
        db->queue_first = first->next;
        if (db->queue_first == NULL)
            db->queue_last = NULL;
        first->granted = true;
        ftk_cond_signal(&first->cond);
    } else {
        db->queue_busy = false;
    }
    ftk_mutex_unlock(&db->queue_mutex);
}

/* ---- cache callbacks ------------------------------------------------------------------------- */

/* ---- open ------------------------------------------------------------------------------------ */

