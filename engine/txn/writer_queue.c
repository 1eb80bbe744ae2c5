/* SPDX-License-Identifier: Apache-2.0 */
/* engine/txn/writer_queue.c -- one writer at a time, first come, first served. */
#include "engine/txn/db_state.h"
#include "ftk/clock.h"

static void
queue_remove(kiln_db *db, struct writer_wait *wait)
{
    struct writer_wait **at = &db->queue_first;
    struct writer_wait *last = NULL;

    while (*at != wait) {
        FTK_ASSERT(*at != NULL); /* who was not granted the turn is in the queue */
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
    FTK_ASSERT(db->queue_busy && (first == NULL) == (db->queue_last == NULL));
    if (first != NULL) { /* handed over: nobody can overtake */
        db->queue_first = first->next;
        if (db->queue_first == NULL)
            db->queue_last = NULL;
        FTK_ASSERT(!first->granted);
        first->granted = true;
        ftk_cond_signal(&first->cond);
    } else {
        db->queue_busy = false;
    }
    ftk_mutex_unlock(&db->queue_mutex);
}
