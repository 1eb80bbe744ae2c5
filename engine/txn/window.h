/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/txn/window.h -- changing a leaf of an older transaction where it is.
 *
 * Copy on write keeps every snapshot as it was.  But a page that is younger than the checkpoints
 * and that no reader has pinned would be copied for nobody: its old contents are wanted again only
 * if the transaction aborts, or if a reader or a checkpoint begins while it is open.  So such a
 * leaf is changed in place, and how to undo the change is kept until the commit
 * (engine/page/undo.h).
 *
 * The window of a transaction T is the time in which it may have such leaves.  There is one writer,
 * so there is one window, of the database.  Its states, and who makes the moves:
 *
 *     SHUT --begin (T)--> UNTRIED --first older leaf (T)--> OPEN --commit (T)--> COMMITTING
 *      ^                    |                              |  |                    |
 *      +------not now-------+       a reader or checkpoint |  | abort              | published
 *      |                            begins, or T needs its |  | (T)                | (T)
 *      |                            leaves copied          v  |                    |
 *      +------- all leaves are returned, or abort ------ ASKED|                    |
 *      +------------------------------------------------------+--------------------+
 *
 * To return a leaf: T gets a copy of it as it is, then its changes are undone in the leaf, which is
 * the snapshot's again.  ASKED takes no more leaves and changes none.  A leaf is returned by the
 * first one who needs it: a reader that comes to it (window_settle), T with each of its operations
 * (a few), and at once all of them by T at its commit and before a savepoint, a cursor, a large
 * value or a walk over pages, and by a checkpoint.  So a reader begins at once, and for each leaf
 * that it comes to while the writer is not done it waits for one leaf.
 * A leaf that cannot be returned, because its parents cannot be read, stays as it is: who needed it
 * has the error of the read, and the next who needs it tries again.  The window stays ASKED, which
 * takes no leaves, so T copies from then on; it does not try by the way what has just failed, and
 * cannot commit before all are returned.
 *
 * Invariants
 * 1. A leaf is changed in place only when its birth is above `above`: above every pinned snapshot
 *    and above the snapshot of the last checkpoint begun.  Only the newest snapshot reaches it.
 * 2. Nothing writes a page with a birth above `above` (seal_page asserts it): who writes T's pages
 *    early ends its window first, and a checkpoint's limit is never above `above`.
 * 3. The mutex guards the leaves, their undo and everything of T that returning one changes.  T
 *    holds it whenever it is inside an epoch (txn_enter), and so meets others between two
 *    operations only.  T does not hold it where it waits for memory, a checkpoint or a page, or
 *    where the file grows.  From COMMITTING on it is held until the snapshot is published.
 * 4. Pages for the copies that returning makes are prepared beforehand: `reserved` of
 *    txn->writer.prepared.
 * 5. Commits with durability full do not open windows: a reader would wait for the device.
 *
 * The protocol of pins and windows (window.c, all of it; every load and store of it is seq_cst)
 *    The writer announces:   state = OPEN, then reads the pins (slots, then checkpoint_pin).
 *    A reader announces:     its slot = id of the published snapshot, then reads the state: OPEN
 *                            becomes ASKED; COMMITTING is waited for.  Then it looks whether its
 *                            snapshot is still the published one, and begins anew if not.
 *    A checkpoint announces: checkpoint_pin = PIN_ALL, then reads the state: while there is a
 *                            window its leaves are returned.  Then it pins the newest snapshot:
 *                            checkpoint_pin = its id.  If one cannot be returned it gives up, and
 *                            then alone puts back the id of the checkpoint before, which the
 *                            window's `above` is not below.
 *    Of two that announce and then look, the later announcement in the one order of all seq_cst
 *    operations is followed by a look that sees the earlier.  So either the writer sees the pin
 *    (and has no window, or none below it), or the pinning one sees the window.  The checkpoint's
 *    pin is one word, read once: a writer that reads the id of the checkpoint before has announced
 *    its window before PIN_ALL was stored, and is seen.
 *    A window that was committed between a reader's two loads of the published snapshot has changed
 *    it before it left COMMITTING: the second load sees that.
 *
 * Lock order: engine/README.md.
 */
#ifndef ENGINE_WINDOW_H
#define ENGINE_WINDOW_H

#include <stdatomic.h>

#include "engine/page/page_format.h"
#include "engine/page/undo.h"
#include "ftk/thread.h"
#include "kiln.h"

struct tree;
struct tree_path;
struct cache_slot;
struct db_snapshot;

enum window_state {
    WINDOW_SHUT,
    WINDOW_UNTRIED,
    WINDOW_OPEN,
    WINDOW_ASKED,
    WINDOW_COMMITTING,
    WINDOW_STATES
};

struct window_leaf {
    uint64_t page;
    struct tree *tree;
    uint32_t slot;    /* of the set */
    uint32_t undo;    /* chain of its changes */
    uint16_t changes; /* their number */
    uint8_t reserve;  /* pages set aside for returning it */
    bool returned;
};

/* T gets a copy of a leaf if its tree still has it.  False: *absent_out is not resident.
 * (engine/tree/in_place.c) */
typedef bool window_copy(kiln_txn *txn, const struct window_leaf *leaf, uint64_t *absent_out);

struct window {
    struct ftk_mutex mutex;
    _Atomic uint32_t state;   /* enum window_state; moved by window_move alone */
    _Atomic uint32_t waiting; /* for the mutex, while leaves are returned */
    _Atomic uint32_t rest;    /* so many transactions do without: readers come often */
    _Atomic uint64_t above;   /* births above this may be changed; UINT64_MAX: none */
    window_copy *copy;

    /* T's own, and under the mutex while there is a window */
    kiln_txn *txn;
    bool held;                 /* by T's thread, which alone looks */
    uint64_t base;             /* the snapshot that T began from */
    _Atomic uint32_t reserved; /* of the prepared pages: for the copies */
    uint32_t leaves_max, leaf_count, leaf_capacity;
    uint32_t returned; /* so many leaves */
    uint32_t next;     /* all before this one are returned */
    bool unreadable;   /* the last one tried could not be: its parents cannot be read */
    struct window_leaf *leaves;
    uint32_t *set; /* page -> index in leaves + 1, open addressing */
    uint64_t last_path[TREE_HEIGHT_MAX];
    struct undo_log undo;
    uint8_t *value; /* one page: a value handed out of a leaf that may be undone */

    _Atomic uint64_t changes, returns; /* entries changed for good; windows that were asked for */
};

void window_init(kiln_db *db, window_copy *copy);
void window_release(kiln_db *db);
/* The state's and the leaves' rules; the mutex is not held by the caller (or is T's). */
void window_check(kiln_db *db);
static inline enum window_state
window_state(const struct window *window)
{
    return (enum window_state)atomic_load(&window->state);
}

/* ---- pins ---- */

#define PIN_ALL UINT64_MAX /* checkpoint_pin: the newest snapshot, whichever it will be */

/* Pin the published snapshot in the slot.  Lock-free, but for a commit that is being decided.
 * *beside_out: the window that was open, NULL: none; its leaves are settled before they are
 * read. */
void db_pin(kiln_db *db, struct cache_slot *slot, struct db_snapshot *snapshot_out,
            struct window **beside_out);
/* A checkpoint that is going to pin the newest snapshot.  When this returns FTK_OK there is no
 * window, and there is none until checkpoint_pin is a number again.  errors: of reading the parents
 * of leaves; nothing is pinned, and the caller puts back the number that was there. */
ftk_status window_pin_all(kiln_db *db);

/* ---- for readers that began beside a window; outside an epoch ---- */

/* The leaf has what it had when the window opened, and keeps it.  errors: of reading its parents;
 * then the leaf must not be read. */
ftk_status window_settle(kiln_txn *reader, uint64_t page);
/* All leaves have.  errors: the same. */
ftk_status window_settle_all(kiln_txn *reader);

/* ---- for T ---- */

/* At the beginning of a write transaction. */
void window_begin(kiln_txn *txn, bool allowed);
/* A window may be there: nobody returns its leaves until it is let.  Returns some if asked to;
 * outside an epoch. */
void window_hold(kiln_txn *txn);
void window_let(kiln_txn *txn);
/* T has changed this leaf in place, and may yet undo that. */
bool window_has(const kiln_txn *txn, uint64_t page);
/* The leaf of the path may be changed in place; NULL: not so.  Inside an epoch. */
struct window_leaf *window_leaf_take(kiln_txn *txn, struct tree *tree,
                                     const struct tree_path *path);
/* A leaf with this birth is likely to be changed in place. */
bool window_expected(const kiln_txn *txn, uint64_t birth);
/* It has no window from here on.  Outside an epoch.  errors: of reading the parents of leaves; it
 * has its window then as before. */
ftk_status window_end(kiln_txn *txn);
/* Not decided: a window was asked for its leaves and has returned them: trees have changed, look
 * again.  Else the changes stay if the log takes them; with a window its mutex is held.  errors: as
 * window_end. */
ftk_status window_commit_begin(kiln_txn *txn, bool *decided_out);
/* The log did not: as before. */
void window_commit_cancel(kiln_txn *txn);
/* The snapshot is published. */
void window_commit_end(kiln_txn *txn);
/* Everything is undone. */
void window_abort(kiln_txn *txn);

#endif
