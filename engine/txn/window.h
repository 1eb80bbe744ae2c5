/*
 * engine/txn/window.h -- changing a leaf of an older transaction where it is.
 *
 * Copy on write keeps every snapshot as it was.  But a page that is younger than the checkpoints
 * and that no reader has pinned would be copied for nobody: its old contents are wanted again only
 * if the transaction aborts, or if a reader or a checkpoint begins while it is open.  So such a
 * leaf is changed in place, and how to undo the change is kept until the commit.  What is undone is
 * one entry at a time: no page is copied, no parent changes.
 *
 * The window of a transaction is the time in which it may have such leaves:
 *
 *     untried --first older leaf--> open --commit: for good | abort: undone--> shut
 *        |                           |
 *        +--- not now --> shut <-----+ given back: T gets copies of its leaves, then all is undone
 *
 * It is given back by whoever needs the snapshot that T began from: a reader that begins, a
 * checkpoint that begins, or T itself before a savepoint, a cursor, a large value, or a page walk.
 *
 * Invariants
 * 1. A leaf is changed in place only when its birth is above every pinned snapshot and above the
 *    snapshot of the last checkpoint begun: no one can reach it but through the newest snapshot.
 * 2. While a window is open nobody has the newest snapshot pinned.  The writer announces the
 *    window, then looks at the pins; a reader pins, then looks for a window (db_pin).  A
 *    checkpoint's pin is one word, read once: PIN_ALL before it looks for a window, then the
 *    snapshot's id.  A writer that reads an older id has announced its window before the checkpoint
 *    looks.
 * 3. The window's mutex is held by T whenever it is inside an epoch (txn_enter), so that who gives
 *    the window back meets T between two operations.  It is not held where T waits for memory, a
 *    checkpoint or a page.  At a commit it is held until the snapshot is published.
 * 4. Pages for the copies that giving back makes are prepared beforehand (in_place.reserved).
 * 5. Commits with durability full do not open windows: a reader would wait for the device.
 *
 * Lock order: writer queue > window mutex > space mutex, cache and log locks.
 */
#ifndef ENGINE_WINDOW_H
#define ENGINE_WINDOW_H

#include <stdatomic.h>

#include "engine/page/page_format.h"
#include "ftk/thread.h"
#include "kiln.h"

struct tree;
struct tree_path;
struct node_value;

/* Of the database. */
struct in_place_db {
    struct ftk_mutex mutex;
    _Atomic bool open;          /* a window is open: its transaction is `txn` (mutex) */
    _Atomic uint32_t rest;      /* so many transactions do without: readers come often */
    void (*give_back)(kiln_db *db);
    kiln_txn *txn;
    uint64_t number; /* of windows opened */
    _Atomic uint64_t changes, returns;
};

enum in_place_state { IN_PLACE_SHUT, IN_PLACE_UNTRIED, IN_PLACE_OPEN };

struct in_place_leaf {
    uint64_t page;
    struct tree *tree;
    uint32_t slot; /* of the set */
};

/* Takes back one change. */
struct in_place_undo {
    uint64_t page;
    uint32_t at; /* of the old key and value in `bytes` */
    uint32_t pos;
    uint16_t key_size, value_size;
    uint16_t kind;
};

/* Of a write transaction. */
struct in_place {
    enum in_place_state state; /* as its own thread knows it */
    _Atomic bool open;         /* cleared by whoever gives the window back (mutex) */
    _Atomic int failed;        /* ftk_status: it could not be given back, T can only be aborted */
    bool locked;               /* T has the mutex */
    uint64_t above;            /* births above this may be changed */
    _Atomic uint32_t reserved; /* of the prepared pages: for the copies */
    uint32_t leaves_max, leaf_count, leaf_capacity;
    struct in_place_leaf *leaves;
    uint32_t *set; /* page -> index in leaves + 1, open addressing */
    uint64_t last_path[TREE_HEIGHT_MAX];
    struct in_place_undo *undo;
    size_t undo_count, undo_capacity;
    uint8_t *bytes;
    size_t bytes_used, bytes_capacity;
    uint8_t *value; /* one page: a value handed out of a leaf that may be undone */
};

/*
 * give_back: the transaction gets copies of its leaves, then all is undone
 * (engine/tree/in_place.c).
 */
void in_place_db_init(kiln_db *db, void (*give_back)(kiln_db *db));
void in_place_db_release(kiln_db *db);
void in_place_release(kiln_txn *txn); /* the memory */

/* At the beginning of a write transaction. */
void in_place_begin(kiln_txn *txn, bool allowed);
bool in_place_has(const kiln_txn *txn, uint64_t page);

/* The leaf of the path may be changed in place: it is in the set.  Inside an epoch. */
bool window_leaf_take(kiln_txn *txn, struct tree *tree, const struct tree_path *path);
/* Room for one more change and `bytes` of the old key and value that it needs. */
bool window_undo_room(struct in_place *mine, size_t bytes);
void window_undo_push(struct in_place *mine, const struct in_place_undo *undo);
/* The window is no more; mutex held. */
void window_shut(kiln_txn *txn);

/* A leaf with this birth is likely to be changed in place. */
bool in_place_expected(const kiln_txn *txn, uint64_t birth);

/* The transaction's own thread takes the mutex; false: no window is open (any more). */
bool in_place_lock(kiln_txn *txn);
void in_place_unlock(kiln_txn *txn);
/* It gives its window back and does without from here on.  Outside an epoch. */
ftk_status in_place_end_slow(kiln_txn *txn);
/* The changes stay; the mutex is held and given up. */
void in_place_commit(kiln_txn *txn);

/* A reader that has announced its pin: when this returns, no window is open. */
void in_place_yield(kiln_db *db);
/* A checkpoint that is going to pin the newest snapshot, whichever that will be: when this returns,
 * no window is open, and none opens until the pin is a number again. */
#define PIN_ALL UINT64_MAX
void in_place_pin_all(kiln_db *db);

#endif
