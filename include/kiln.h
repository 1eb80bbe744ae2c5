/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kiln.h -- kiln, a transactional embedded database engine.  The only header users include.
 *
 * Conventions
 *   - Every function that can fail returns a kiln_status; KILN_OK is 0.  kiln_error_last() tells
 *     the words and the place of the last error of the calling thread.
 *   - Texts, keys and values are pointer + length; nothing needs a terminating zero unless it says
 *     so ("path", "name").
 *   - Out-parameters come last and are set to NULL/0 first.
 *   - Handles (of databases, transactions, cursors, builders) and out-parameters must not be NULL
 *     where it does not say that they may: that is a fault of the program, not a status.
 *   - Options structs begin with their own size and have an initialiser: later versions add fields
 *     at the end, older programs go on working.  A size that is not set is KILN_INVALID.
 *   - Memory: *borrowed* = yours to read until the moment stated; *owned* = yours to free as
 *     stated.
 *   - The library prints nothing, never exits, and installs no signal handlers.
 *   - A call that fails (memory, room, a read that the device refuses) has changed nothing, where
 *     it is not said otherwise, its transaction goes on, and the call may be made again.  Only
 *     damage that a change meets can end a transaction: KILN_CORRUPT from then on, but for a
 *     rollback to a savepoint and the abort.
 *   - A kiln_db may be used from any thread.  A kiln_txn and its cursors may be used from any
 *     thread, but by one at a time.
 *   - Fork: an open database stays with the process that opened it.  The child has neither its lock
 *     nor its threads; there the calls that begin, commit or abort a transaction, checkpoint or
 *     close give KILN_STATE (abort: nothing) and touch nothing, and other calls must not be made.
 *     The child may exit at any time, and may open databases of its own, whatever threads of the
 *     parent were doing at the fork; their cache has its parent's limit and begins empty.  Once
 *     the parent has closed the database or died, others may open it, whatever the child still
 *     holds.
 *   - Paths are looked up once, in kiln_open.  After it the program may change its working
 *     directory, and the directories may be moved or replaced: a database goes on with its own
 *     files, or fails, and never touches others.  Descriptors 0 to 2 are never used.
 */
#ifndef KILN_H
#define KILN_H

/* clang-format off */ /* laid out by hand */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KILN_VERSION_MAJOR 0
#define KILN_VERSION_MINOR 1
#define KILN_VERSION_PATCH 0

#ifndef KILN_API
#define KILN_API __attribute__((visibility("default")))
#endif

/* ---- status ---------------------------------------------------------------------------------- */

typedef enum kiln_status {
    KILN_OK = 0,
    KILN_NOTFOUND = 1,     /* no such key, collection, record, or no further item */
    KILN_EXISTS = 2,       /* insert-only put of a key that is there; unique index violated */
    KILN_INVALID = 3,      /* an argument is wrong; nothing was done */
    KILN_NOMEM = 4,        /* out of memory, address space or file descriptors */
    KILN_IO = 5,           /* the operating system reported an error */
    KILN_NOSPACE = 6,      /* disk full, or a limit of the file reached */
    KILN_CORRUPT = 7,      /* bytes on disk are not what was written */
    KILN_INUSE = 8,        /* another process has the database open */
    KILN_FOREIGN = 9,      /* not a kiln file, or of another database */
    KILN_VERSION = 10,     /* written by a version this one cannot read */
    KILN_READONLY = 11,    /* the database or transaction is read-only */
    KILN_TIMEOUT = 12,     /* the wait for the writer lock timed out */
    KILN_TOOBIG = 13,      /* key, value or record beyond its limit */
    KILN_STATE = 14,       /* call not legal now (ended transaction, unpositioned cursor, ...) */
    KILN_FAILED = 15,      /* a write error was final: close and reopen */
    KILN_CANCELED = 16,    /* a callback asked to stop */
    KILN_UNSUPPORTED = 17, /* not supported on this system */
    KILN_TRUNCATED = 18,   /* the caller's buffer is too small; the needed size is told */
    KILN_CONSTRAINT = 19   /* a record lacks a required field, or has a wrong type */
} kiln_status;

KILN_API const char *kiln_status_text(kiln_status status); /* static, never NULL */
KILN_API const char *kiln_status_name(kiln_status status); /* static, such as "NOSPACE" */

typedef struct kiln_error {
    kiln_status status;
    int os_errno;     /* 0 when the operating system was not involved */
    const char *file; /* source place where the error was born; static */
    int line;
    const char *text; /* what happened, to what, where */
} kiln_error;

/* The words of the call that has just failed in this thread, plain answers such as KILN_NOTFOUND
 * included; borrowed until the thread's next failing call.  Before any failure: KILN_OK and an
 * empty text. */
KILN_API const kiln_error *kiln_error_last(void);

KILN_API const char *kiln_version(void); /* "0.1.0" */

/* ---- database -------------------------------------------------------------------------------- */

typedef struct kiln_db kiln_db;
typedef struct kiln_txn kiln_txn;
typedef struct kiln_cursor kiln_cursor;

/*
 * What a commit has promised when it returns; readers see it from then on.  They never see one
 * whose promise, or that of a commit before it, does not hold yet: a lazy commit behind a full one
 * whose sync is under way returns, and is seen, with it.
 */
typedef enum kiln_durability {
    KILN_DURABILITY_DEFAULT = 0, /* of a transaction: the database's; of a database: full */
    KILN_FULL = 1,               /* on stable storage */
    KILN_OS = 2,                 /* handed to the operating system: survives the process */
    KILN_LAZY = 3                /* flushed in the background within lazy_ms */
} kiln_durability;

typedef enum kiln_log_level {
    KILN_LOG_ERROR,
    KILN_LOG_WARNING,
    KILN_LOG_INFO,
    KILN_LOG_DEBUG
} kiln_log_level;

enum { /* kiln_options.flags */
    KILN_CREATE = 1,        /* create the database when it is missing */
    KILN_EXCLUSIVE = 2,     /* with KILN_CREATE: KILN_EXISTS when it is there */
    KILN_OPEN_READONLY = 4, /* nothing is written, not even a lock file; also on read-only media.
                               The database must have been closed cleanly, or its log is replayed
                               in memory */
    KILN_NO_DIRECT_IO = 8,  /* go through the page cache */
    KILN_EXTERNAL_LOG = 16, /* no log of its own: see kiln_txn_set_applied */
    KILN_NO_ARCHIVE = 32,   /* gives up archiving that an earlier open asked for (options.archive):
                               segments that are not archived are let go */
    KILN_LOG_MOVED = 64,    /* the log was moved to rfl_dir, which the database remembers from now
                               on; it must be all of the log: an older copy would lose commits */
    KILN_WITHOUT_LOG = 128, /* the log is missing: go on with a new one (read-only: with none) if
                               the database was closed cleanly, which loses nothing; else
                               KILN_CORRUPT.  KILN_EXISTS when the log is there */
    KILN_ACCEPT_LOSS = 256  /* with KILN_WITHOUT_LOG: also when it was not closed cleanly; commits
                               since the last checkpoint are lost */
};

typedef struct kiln_options {
    size_t size;                /* sizeof(kiln_options): set by the initialiser.  Of each options
                                   struct: one of an earlier header is filled up with defaults, one
                                   of a later header must be zero behind what this version knows
                                   (KILN_INVALID) */
    uint32_t flags;
    uint32_t page_bytes;        /* 4096..65536, a power of two; at creation only; 0: default */
    uint64_t cache_bytes;       /* not 0: sets the process-wide cache limit (kiln_cache_limit) */
    kiln_durability durability; /* of commits that do not say otherwise */
    uint32_t lazy_ms;           /* bound of KILN_LAZY; default 100 */
    const char *rfl_dir;        /* where the roll-forward log of a new database lives; NULL:
                                   <path>/rfl.  The database remembers it: later opens need not say
                                   it, and another one is KILN_INVALID.  KILN_INUSE while a copy of
                                   the database, which names the same log, is open */
    uint32_t rfl_segment_bytes; /* default 64 MiB */
    uint64_t rfl_bytes_max;     /* a checkpoint starts when the log since the last one is this long;
                                   default 1 GiB */
    uint64_t dirty_bytes_max;   /* ... or this much of the cache is dirty; default half the limit */
    uint32_t checkpoint_ms;     /* ... or this long after the first change; default 60000;
                                   0xffffffff: never */
    uint32_t io_depth;          /* I/O buffers under way; default 64 */
    uint32_t txn_timeout_ms;    /* default wait for the writer lock; default 0xffffffff: forever */
    /* Messages; may be NULL.  Called from any thread, with locks of kiln held: must not call kiln,
     * nor wait for a lock that is held around a call of kiln. */
    void (*log)(void *context, kiln_log_level level, const char *text);
    void *log_context;
    kiln_log_level log_level;
    /* Progress of recovery while kiln_open runs; return not 0 to cancel (KILN_CANCELED).  May use
     * other databases; this one is KILN_INUSE. */
    int (*progress)(void *context, uint64_t bytes_done, uint64_t bytes_total);
    void *progress_context;
    /*
     * Called for each full log segment that is no longer needed, oldest first: copy, link or move
     * it to where it is to stay, make that durable, return KILN_OK.  Any other status keeps the
     * segment; it is offered again after a later checkpoint, and so may one be that was taken just
     * before a crash.  The database remembers that it was asked to: opened without this function
     * it keeps all segments, until it is opened with one, or with KILN_NO_ARCHIVE.
     * Called from any thread, in kiln_close too: there transactions, checkpoint, check and close of
     * this database are KILN_STATE.
     */
    kiln_status (*archive)(void *context, const char *path);
    void *archive_context;
} kiln_options;

#define KILN_OPTIONS_INIT {.size = sizeof(kiln_options)}
KILN_API void kiln_options_init(kiln_options *options); /* the same, for C++ and bindings */

/*
 * Open the database in directory `path`; recovery is part of opening.  options may be NULL.
 * A missing log is KILN_CORRUPT, never a new one in silence: see KILN_WITHOUT_LOG.
 * errors: KILN_NOTFOUND (missing and no KILN_CREATE), KILN_INUSE, KILN_FOREIGN, KILN_VERSION,
 * KILN_CORRUPT, KILN_IO, KILN_NOSPACE, KILN_NOMEM, KILN_CANCELED, KILN_INVALID.
 */
KILN_API kiln_status kiln_open(const char *path, const kiln_options *options, kiln_db **db_out);

/*
 * Checkpoint, then close.  Every transaction must have ended, a commit, kiln_check and
 * kiln_checkpoint returned (KILN_STATE otherwise, the database stays open), and no other call may
 * be under way.  The handle is gone after any other status; an error means that the last checkpoint
 * was not written: what was committed is in the log and is recovered by the next open.
 */
KILN_API kiln_status kiln_close(kiln_db *db);

/* Write a checkpoint of what is committed now and wait for it.  A shortage of memory, or a page
 * that must be read first and cannot be, is an error of this call alone: the next may succeed. */
KILN_API kiln_status kiln_checkpoint(kiln_db *db);

/* The memory limit of all page caches of this process together; takes effect at once, shrinking
 * happens as fast as pages can be cleaned.  Default: a quarter of the machine's memory, at least
 * 64 MiB.  At least 4 MiB (KILN_INVALID), and to open a database 96 of its pages.  Transactions of
 * several databases share it, each of any size; count about 24 pages for each that writes. */
KILN_API kiln_status kiln_cache_limit(uint64_t bytes);

/* ---- transactions ---------------------------------------------------------------------------- */

enum { KILN_READ = 0, KILN_WRITE = 1 };

typedef struct kiln_txn_options {
    size_t size;
    uint32_t kind;              /* KILN_READ or KILN_WRITE */
    kiln_durability durability; /* of this commit */
    uint32_t timeout_ms;        /* KILN_WRITE: wait for the writer lock; 0xffffffff: the database's;
                                   0: do not wait */
} kiln_txn_options;
#define KILN_TXN_OPTIONS_INIT {.size = sizeof(kiln_txn_options), .timeout_ms = 0xffffffffu}
KILN_API void kiln_txn_options_init(kiln_txn_options *options);

/*
 * Begin a transaction.  Writers: one at a time, first come first served.  Readers: any number, they
 * see the newest commit and keep seeing it, take no lock and block no one.
 * errors: KILN_TIMEOUT, KILN_READONLY, KILN_FAILED, KILN_NOMEM.
 */
KILN_API kiln_status kiln_txn_begin(kiln_db *db, uint32_t kind, kiln_txn **txn_out);
KILN_API kiln_status kiln_txn_begin_with(kiln_db *db, const kiln_txn_options *options,
                                         kiln_txn **txn_out);

/*
 * Commit; returns when the promise of its durability holds.  The transaction is gone whatever the
 * status (but see "functions of the program"); its cursors are only to be closed.  KILN_FAILED: the
 * log could not be written or synced, and the outcome is known only after reopening.  Any other
 * error means that nothing was committed, KILN_IO too (a page could not be read, say): the next
 * transaction may succeed.
 * A write transaction begins with the newest commit, which may still be waiting for its promise;
 * one that changes nothing returns when the promises of what it has read hold.
 */
KILN_API kiln_status kiln_txn_commit(kiln_txn *txn);
/*
 * The last call that failed on this transaction or its cursors; or on this database, which includes
 * the beginning and the commit of its transactions.  For languages whose tasks move between
 * threads: there kiln_error_last may be another task's.  Borrowed until the calling thread asks
 * again (and kiln_txn_error until the transaction's next failing call or its end).
 */
KILN_API const kiln_error *kiln_txn_error(const kiln_txn *txn);
KILN_API const kiln_error *kiln_db_error(kiln_db *db);
/*
 * Functions of the program.  A function that a call of a transaction calls (each of kiln_get_many,
 * read of kiln_value_write) may read that transaction: gets, cursors, holds, records.  Every other
 * call of it is KILN_STATE and changes nothing: puts and deletes, collections that are made,
 * dropped or cleared, definitions, changes of records, reads of an index whose changes are
 * gathered, bulk builders (also their end and abort), savepoints and what ends them,
 * kiln_txn_set_applied, kiln_txn_renew, kiln_txn_commit (the transaction goes on); kiln_txn_abort
 * does nothing.
 * Other transactions and other databases may be used, as anywhere.  In the functions of kiln_check
 * everything may, but kiln_close is KILN_STATE.  See kiln_options for `log`, `progress`, `archive`.
 */

/* Drop all changes.  Never fails; NULL is fine. */
KILN_API void kiln_txn_abort(kiln_txn *txn);
/* Move a read transaction to the newest commit (cheaper than begin and abort, and next to nothing
 * while there is no newer one); its cursors lose their position.  Fails only for a write
 * transaction (KILN_STATE). */
KILN_API kiln_status kiln_txn_renew(kiln_txn *txn);
/* A number that grows with every commit; of the snapshot the transaction reads. */
KILN_API uint64_t kiln_txn_id(const kiln_txn *txn);

/*
 * Savepoints: nested transactions inside a write transaction, any depth.  release keeps, rollback
 * drops what was done since the matching savepoint.  Cursors lose their position on rollback.  A
 * savepoint that fails is not set, and nothing has changed; release and rollback need no memory and
 * no I/O, and fail only with KILN_STATE and KILN_READONLY.  A released savepoint costs nothing: not
 * even pages of the file.
 */
KILN_API kiln_status kiln_savepoint(kiln_txn *txn);
KILN_API kiln_status kiln_savepoint_release(kiln_txn *txn);
KILN_API kiln_status kiln_savepoint_rollback(kiln_txn *txn);

/* KILN_EXTERNAL_LOG: the owner's log position that this transaction brings the database to, stored
 * atomically with it; must not go down.  Where the database keeps its own log, set_applied is
 * KILN_STATE and applied gives 0. */
KILN_API kiln_status kiln_txn_set_applied(kiln_txn *txn, uint64_t index);
KILN_API kiln_status kiln_txn_applied(kiln_txn *txn, uint64_t *index_out);

/* ---- collections: named ordered trees of byte strings ---------------------------------------- */

#define KILN_KEY_MAX 1024            /* bytes; also for the smallest page */
#define KILN_VALUE_MAX 4294967295u   /* bytes */
#define KILN_COLLECTION_NAME_MAX 255 /* bytes, any but 0, at least one; the first is not 01 */

/*
 * Identifies a collection inside its database.  A number is given once: whatever becomes of the
 * collection, dropped, rolled back or aborted, no other one gets it, and calls with it are
 * KILN_NOTFOUND.  One exception: numbers that only aborted transactions took are forgotten when the
 * process is killed before the next checkpoint (kiln_close writes one).
 * Records and indexes are kept in collections without a name for programs: whoever has the number
 * of one can read it, and every change by the calls below is KILN_INVALID.
 */
typedef uint32_t kiln_coll;

enum { KILN_COLL_CREATE = 1, KILN_COLL_EXCLUSIVE = 2 };

/* Find (or, in a write transaction with KILN_COLL_CREATE, make) a collection.  The identifier stays
 * valid in every transaction that can see the collection. */
KILN_API kiln_status kiln_coll_open(kiln_txn *txn, const char *name, uint32_t flags,
                                    kiln_coll *coll_out);
KILN_API kiln_status kiln_coll_drop(kiln_txn *txn, kiln_coll coll);
/* Remove every key. */
KILN_API kiln_status kiln_coll_clear(kiln_txn *txn, kiln_coll coll);
/*
 * The collections one after the other, in the order of their numbers: the first whose number is
 * above `after` (0 at the beginning, then what the last call gave), its name into buffer, with a
 * zero byte.  coll_out may be NULL.  Collections may be made and dropped meanwhile.
 * errors: KILN_NOTFOUND (there are no more), KILN_TRUNCATED.
 */
KILN_API kiln_status kiln_coll_next(kiln_txn *txn, kiln_coll after, char *buffer,
                                    size_t buffer_size, kiln_coll *coll_out);
/* The same by place, n = 0, 1, 2 ...: asked for in this order each answer takes the same time;
 * otherwise, or when the collections have changed, it counts from the first. */
KILN_API kiln_status kiln_coll_name(kiln_txn *txn, uint64_t n, char *buffer, size_t buffer_size,
                                    kiln_coll *coll_out);

typedef struct kiln_slice {
    const void *data;
    size_t size;
} kiln_slice;

enum { /* flags of puts */
    KILN_PUT_REPLACE = 0,
    KILN_PUT_INSERT = 1, /* KILN_EXISTS when the key is there */
    KILN_PUT_UPDATE = 2  /* KILN_NOTFOUND when it is not */
};

/*
 * The value of a key.  *value_out is borrowed.  A value too large to be held in the cache at once
 * gives KILN_TOOBIG: read it with kiln_value_read.  Below, a value is *large* when it and its key
 * together exceed 1,024 bytes and a quarter of a page, else *small*.
 *
 * In a write transaction it is valid until the next call on the transaction or its end, and never
 * past a write to the same collection.  That next call may have it as its key or value, also among
 * those of a batch, and so may one have what cursors lend; but a function that the call calls must
 * not look at it.
 * In a read transaction it is valid until the transaction ends or is renewed, or until it is given
 * back, the oldest first, by a later kiln_get, kiln_hold or call for records.  The last small value
 * and the last large one stay in any case until the next of their kind is asked for.  What the last
 * KILN_LENT_MAX gets of small values and KILN_LENT_LARGE_MAX of large ones got stays, the large
 * ones up to KILN_LENT_BYTES_MAX together beside the last, as long as all readers of the process
 * together have not used up an eighth of the cache limit (kiln_cache_limit) with what is borrowed
 * and held; after that it takes up to KILN_LENT_MAX gets until more than the last stay again.
 *
 * kiln_hold keeps a value that a read transaction has lent (kiln_get, kiln_get_many inside its
 * callback, the value of a cursor) until kiln_release with the same arguments, once for each hold,
 * or until the transaction ends or is renewed.  Each value that is held counts to the eighth, by
 * whole pages; a part of it may be held too.  When that is used up, what the transaction has lent
 * beside is given back for it, the last small value and the last large one excepted; KILN_NOMEM
 * when that does not do, memory is short, or one page is held and looked at half a million times:
 * nothing is held and nothing given back.  KILN_INVALID: it lies in no pages that are lent, or is
 * not held.  KILN_STATE: in a write transaction, where values are to be copied.  An empty value
 * needs neither call.  What is held when kiln_cache_limit lowers the limit stays.
 */
#define KILN_LENT_MAX 64
#define KILN_LENT_LARGE_MAX 16
#define KILN_LENT_BYTES_MAX 4194304
KILN_API kiln_status kiln_get(kiln_txn *txn, kiln_coll coll, const void *key, size_t key_size,
                              kiln_slice *value_out);
KILN_API kiln_status kiln_hold(kiln_txn *txn, const void *value, size_t value_size);
KILN_API kiln_status kiln_release(kiln_txn *txn, const void *value, size_t value_size);
KILN_API kiln_status kiln_put(kiln_txn *txn, kiln_coll coll, const void *key, size_t key_size,
                              const void *value, size_t value_size, uint32_t flags);
KILN_API kiln_status kiln_delete(kiln_txn *txn, kiln_coll coll, const void *key, size_t key_size);

/*
 * Batches: kiln sorts them, prefetches, and reads missing pages together, so that a batch costs far
 * less than its calls one by one.
 *
 * put_many: as count puts, in the order of their keys and, of equal keys, in that of the call (the
 *   last wins with KILN_PUT_REPLACE).  With INSERT or UPDATE it stops at the first that offends:
 *   *done_out (may be NULL) counts the puts before it.  They stay; to undo them go back to a
 *   savepoint.
 * get_many: calls `each` once for every key in an order that kiln chooses, with value.data NULL
 *   when the key is absent; the value is borrowed during the call; a return other than 0 stops
 *   (KILN_CANCELED).
 */
KILN_API kiln_status kiln_put_many(kiln_txn *txn, kiln_coll coll, const kiln_slice *keys,
                                   const kiln_slice *values, size_t count, uint32_t flags,
                                   size_t *done_out);
KILN_API kiln_status kiln_get_many(kiln_txn *txn, kiln_coll coll, const kiln_slice *keys,
                                   size_t count,
                                   int (*each)(void *context, size_t index, kiln_slice value),
                                   void *context);
KILN_API kiln_status kiln_delete_many(kiln_txn *txn, kiln_coll coll, const kiln_slice *keys,
                                      size_t count, uint64_t *deleted_out);

/* Large values, in pieces.  *size_out: of the whole value. */
KILN_API kiln_status kiln_value_size(kiln_txn *txn, kiln_coll coll, const void *key,
                                     size_t key_size, uint64_t *size_out);
KILN_API kiln_status kiln_value_read(kiln_txn *txn, kiln_coll coll, const void *key,
                                     size_t key_size, uint64_t offset, void *buffer,
                                     size_t buffer_size, size_t *read_out);
/* Put a value of `size` bytes that `read` delivers in pieces (exactly size bytes in all; it returns
 * not 0 to give up: KILN_CANCELED, key unchanged). */
KILN_API kiln_status kiln_value_write(kiln_txn *txn, kiln_coll coll, const void *key,
                                      size_t key_size, uint64_t size,
                                      int (*read)(void *context, void *buffer, size_t buffer_size),
                                      void *context);

/* Number of keys (exact) in a collection, and an estimate of those in [low, high); NULL data: open
 * end. */
KILN_API kiln_status kiln_coll_count(kiln_txn *txn, kiln_coll coll, uint64_t *count_out);
KILN_API kiln_status kiln_range_estimate(kiln_txn *txn, kiln_coll coll, kiln_slice low,
                                         kiln_slice high, uint64_t *count_out);

/*
 * Bulk builder: fill an empty collection from keys in strictly ascending order, faster and denser
 * than puts.  Until its end the collection reads as empty, and changes of it, savepoints (also
 * their release and rollback) and the commit, which then aborts, are KILN_STATE.  KILN_INVALID: a
 * key not above its predecessor.  A builder outlives its transaction until it is ended or aborted.
 */
typedef struct kiln_bulk kiln_bulk;
KILN_API kiln_status kiln_bulk_begin(kiln_txn *txn, kiln_coll coll, kiln_bulk **bulk_out);
KILN_API kiln_status kiln_bulk_add(kiln_bulk *bulk, const void *key, size_t key_size,
                                   const void *value, size_t value_size);
KILN_API kiln_status kiln_bulk_end(kiln_bulk *bulk);   /* frees bulk whatever the status */
/* The collection is empty again.  An error (memory, I/O): the builder is as it was, and may be
 * aborted again, now or behind the end of its transaction, where that cannot fail. */
KILN_API kiln_status kiln_bulk_abort(kiln_bulk *bulk);

/* ---- cursors --------------------------------------------------------------------------------- */

enum { KILN_CURSOR_SCAN = 1 }; /* read ahead, and do not flush the working set from the cache */

/* A cursor belongs to its transaction: when that ends every call but close is KILN_STATE, and close
 * is still to be called, then or later.  It sees the transaction's own changes; after a change it
 * finds its place again by its key. */
KILN_API kiln_status kiln_cursor_open(kiln_txn *txn, kiln_coll coll, uint32_t flags,
                                      kiln_cursor **cursor_out);
KILN_API void kiln_cursor_close(kiln_cursor *cursor); /* NULL is fine */

/* Moves: KILN_NOTFOUND when there is no such item, the cursor is then unpositioned (next from there
 * gives the first, prev the last).  A next or prev that fails otherwise (memory, I/O, damage)
 * leaves the cursor where it was and may be made again; first, last and seeks leave it
 * unpositioned. */
KILN_API kiln_status kiln_cursor_first(kiln_cursor *cursor);
KILN_API kiln_status kiln_cursor_last(kiln_cursor *cursor);
KILN_API kiln_status kiln_cursor_next(kiln_cursor *cursor);
KILN_API kiln_status kiln_cursor_prev(kiln_cursor *cursor);
/* The first item with a key >= / the last with a key <= the one given. */
KILN_API kiln_status kiln_cursor_seek(kiln_cursor *cursor, const void *key, size_t key_size);
KILN_API kiln_status kiln_cursor_seek_before(kiln_cursor *cursor, const void *key, size_t key_size);
/* Bounds of all later moves: [low, high); NULL data: open end.  The cursor loses its position. */
KILN_API kiln_status kiln_cursor_bounds(kiln_cursor *cursor, kiln_slice low, kiln_slice high);
KILN_API kiln_status kiln_cursor_prefix(kiln_cursor *cursor, const void *prefix,
                                        size_t prefix_size);

/* Key and value of the present item; borrowed until the cursor's next call, unless that asks for
 * the same item again, or a write to the collection.  Either out may be NULL. */
KILN_API kiln_status kiln_cursor_item(kiln_cursor *cursor, kiln_slice *key_out,
                                      kiln_slice *value_out);
/* next then gives the following one */
KILN_API kiln_status kiln_cursor_delete(kiln_cursor *cursor);

/* ---- records: containers, dictionary, indexes ------------------------------------------------ */

/*
 * A container is a collection of records with 64-bit ids.  A record is an ordered tree of typed
 * fields; a field may occur several times, and groups nest.  Names and types of fields live in the
 * database's dictionary, one number for a name in the whole database.
 */
typedef uint32_t kiln_field;     /* number of a field in the dictionary, 1..  */
typedef uint32_t kiln_container; /* number of a container */
typedef uint32_t kiln_index;     /* number of an index */

typedef enum kiln_type {
    KILN_TEXT = 1, /* UTF-8, checked */
    KILN_INT = 2,  /* signed 64 bits */
    KILN_DOUBLE = 3,
    KILN_BOOL = 4,
    KILN_BYTES = 5,
    KILN_DATETIME = 6, /* signed microseconds since 1970-01-01 UTC */
    KILN_GROUP = 7
} kiln_type;

#define KILN_NAME_MAX 255          /* bytes of a field, container or index name */
#define KILN_RECORD_DEPTH_MAX 32   /* nesting of groups */
#define KILN_INDEX_PARTS_MAX 16

/* A record in memory; reusable. */
typedef struct kiln_record kiln_record;
KILN_API kiln_status kiln_record_new(kiln_record **record_out);
KILN_API void kiln_record_free(kiln_record *record); /* NULL is fine */
KILN_API void kiln_record_clear(kiln_record *record);

/* Append a field to the innermost open group (the record itself at first). */
KILN_API kiln_status kiln_record_text(kiln_record *record, kiln_field field, const char *text,
                                      size_t text_size);
KILN_API kiln_status kiln_record_int(kiln_record *record, kiln_field field, int64_t value);
KILN_API kiln_status kiln_record_double(kiln_record *record, kiln_field field, double value);
KILN_API kiln_status kiln_record_bool(kiln_record *record, kiln_field field, bool value);
KILN_API kiln_status kiln_record_bytes(kiln_record *record, kiln_field field, const void *data,
                                       size_t data_size);
KILN_API kiln_status kiln_record_datetime(kiln_record *record, kiln_field field,
                                          int64_t microseconds);
KILN_API kiln_status kiln_record_group_begin(kiln_record *record, kiln_field field);
KILN_API kiln_status kiln_record_group_end(kiln_record *record);

/* Walk over a record's fields.  `record` must outlive the walk unchanged. */
typedef struct kiln_item {
    kiln_field field;
    kiln_type type;
    uint32_t depth;  /* 0: top level */
    int64_t integer; /* KILN_INT, KILN_DATETIME, KILN_BOOL (0 or 1) */
    double real;     /* KILN_DOUBLE */
    kiln_slice data; /* KILN_TEXT, KILN_BYTES: borrowed from the record */
    uint64_t reserved[2]; /* zero, also in values that are searched for */
} kiln_item;
typedef struct kiln_walk {
    const kiln_record *record;
    size_t position; /* private */
    uint32_t depth;  /* private */
    size_t ends[KILN_RECORD_DEPTH_MAX]; /* private */
    uint64_t reserved[4];               /* private */
} kiln_walk;
KILN_API void kiln_walk_begin(kiln_walk *walk, const kiln_record *record);
KILN_API kiln_status kiln_walk_next(kiln_walk *walk, kiln_item *item_out); /* KILN_NOTFOUND: end */
/* The first (nth = 0) or a later occurrence of a top-level field. */
KILN_API kiln_status kiln_record_find(const kiln_record *record, kiln_field field, uint32_t nth,
                                      kiln_item *item_out);

/* Dictionary.  Defining again with the same meaning is KILN_OK and gives the same number; with
 * another it is KILN_EXISTS.  Numbers of fields, containers and indexes, and ids of records that
 * kiln chooses, are given once: no other one gets them, also when they were taken by a transaction
 * that was aborted or rolled back (which is forgotten when the database is closed). */
KILN_API kiln_status kiln_field_define(kiln_txn *txn, const char *name, kiln_type type,
                                       kiln_field *field_out);
KILN_API kiln_status kiln_field_find(kiln_txn *txn, const char *name, kiln_field *field_out,
                                     kiln_type *type_out);
KILN_API kiln_status kiln_field_name(kiln_txn *txn, kiln_field field, char *buffer,
                                     size_t buffer_size);
KILN_API kiln_status kiln_container_define(kiln_txn *txn, const char *name,
                                           kiln_container *container_out);
KILN_API kiln_status kiln_container_find(kiln_txn *txn, const char *name,
                                         kiln_container *container_out);
KILN_API kiln_status kiln_container_drop(kiln_txn *txn, kiln_container container);

enum { /* flags of an index part */
    KILN_DESCENDING = 1,
    KILN_REQUIRED = 2 /* a record without this field is KILN_CONSTRAINT */
};
enum { /* flags of an index */
    KILN_UNIQUE = 1 /* KILN_EXISTS when two records have the same values in all parts; as in SQL, an
                       entry with a missing value conflicts with none */
};
typedef struct kiln_index_part {
    kiln_field field;        /* a top-level field, or a path below */
    const kiln_field *path;  /* groups from the top level down to the field's parent; may be NULL */
    uint32_t path_count;
    uint32_t flags;
    uint64_t reserved[3];    /* zero: KILN_INVALID otherwise */
} kiln_index_part;
typedef struct kiln_index_options {
    size_t size;
    const char *name;
    kiln_container container; /* 0: all containers */
    const kiln_index_part *parts;
    uint32_t part_count;
    uint32_t flags;
} kiln_index_options;
#define KILN_INDEX_OPTIONS_INIT {.size = sizeof(kiln_index_options)}
KILN_API void kiln_index_options_init(kiln_index_options *options);
/* Define an index and, when the container has records, build it inside this transaction.  A record
 * gets an entry for each combination of its values; a record with no value for any part gets none
 * (a missing value of some parts counts as below all values).  Texts sort by their bytes; of a text
 * too long for a key (an index of one text: 1,005 bytes) the beginning alone decides the order,
 * while KILN_UNIQUE and searches compare all of it.  When the records that are there do not allow
 * the index (KILN_EXISTS, KILN_CONSTRAINT), it is not defined and the transaction goes on. */
KILN_API kiln_status kiln_index_define(kiln_txn *txn, const kiln_index_options *options,
                                       kiln_index *index_out);
KILN_API kiln_status kiln_index_find(kiln_txn *txn, const char *name, kiln_index *index_out);
KILN_API kiln_status kiln_index_drop(kiln_txn *txn, kiln_index index);

/*
 * Records.  Indexes are kept up to date inside the transaction: index changes are gathered and
 * applied in sorted batches, at the latest at commit or at the next read of the index.
 *
 * Unique indexes are judged by the commit, on what the transaction ends with: on the way records
 * may pass through each other's values, and reads of the index see them.  A commit that would leave
 * two records with the same values is KILN_EXISTS and commits nothing.  kiln_records_flush applies
 * and judges now: after its KILN_EXISTS the transaction goes on, with all changes, and may mend
 * them.
 * What could not be applied (memory, room, I/O) stays gathered: the read or flush that met the
 * error may be made again, and the commit applies it at the latest.
 *
 * add: *id_inout 0: the container's next id is chosen and returned; else KILN_EXISTS if it is
 *   taken.  Ids start at 1; one that was chosen by kiln is not chosen again, also when its record
 *   is deleted or rolled back (see Dictionary).
 * errors of add and update: KILN_CONSTRAINT (a field that the dictionary does not know, another
 *   type than its own, a required field missing), KILN_STATE (a group of the record is open).
 */
KILN_API kiln_status kiln_record_add(kiln_txn *txn, kiln_container container,
                                     const kiln_record *record, uint64_t *id_inout);
KILN_API kiln_status kiln_record_update(kiln_txn *txn, kiln_container container, uint64_t id,
                                        const kiln_record *record);
KILN_API kiln_status kiln_record_delete(kiln_txn *txn, kiln_container container, uint64_t id);
KILN_API kiln_status kiln_record_get(kiln_txn *txn, kiln_container container, uint64_t id,
                                     kiln_record *record);
KILN_API kiln_status kiln_records_flush(kiln_txn *txn);
/* Number of records in a container (exact), of entries in an index (exact). */
KILN_API kiln_status kiln_container_count(kiln_txn *txn, kiln_container container,
                                          uint64_t *count_out);
KILN_API kiln_status kiln_index_count(kiln_txn *txn, kiln_index index, uint64_t *count_out);

/* Records of a container in order of id. */
typedef struct kiln_record_cursor kiln_record_cursor;
KILN_API kiln_status kiln_record_cursor_open(kiln_txn *txn, kiln_container container,
                                             uint64_t id_first, kiln_record_cursor **cursor_out);
/* KILN_NOTFOUND at the end. */
KILN_API kiln_status kiln_record_cursor_next(kiln_record_cursor *cursor, uint64_t *id_out,
                                             kiln_record *record);
KILN_API void kiln_record_cursor_close(kiln_record_cursor *cursor);

/*
 * Entries of an index in its order.  `values` (items with type and value, one for each leading part
 * given) restrict it to entries equal in these parts (type 0: those without a value); value_count
 * 0: all entries.
 */
typedef struct kiln_index_cursor kiln_index_cursor;
KILN_API kiln_status kiln_index_cursor_open(kiln_txn *txn, kiln_index index,
                                            const kiln_item *values, uint32_t value_count,
                                            kiln_index_cursor **cursor_out);
/* The next entry: record id, its container, and the parts' values (value_max at most; data borrowed
 * until the next call; type 0: the part had no value).  One that could not be given (memory, I/O,
 * damage) comes with the next call; so it is with records. */
KILN_API kiln_status kiln_index_cursor_next(kiln_index_cursor *cursor, uint64_t *id_out,
                                            kiln_container *container_out, kiln_item *values_out,
                                            uint32_t value_max);
KILN_API void kiln_index_cursor_close(kiln_index_cursor *cursor);

/* ---- check, statistics ----------------------------------------------------------------------- */

/* Walk everything reachable from the newest commit: checksums, order, references, counts, space
 * map, and every index against its records.  `finding` is called for each fault; KILN_CORRUPT when
 * there was one. */
typedef struct kiln_check_options {
    size_t size;
    void (*finding)(void *context, const char *text);
    void *context;
    /* done, total: pages and then records, about; not 0: cancel.  The last call of a check that
     * went to its end has done == total, and its answer is not looked at. */
    int (*progress)(void *context, uint64_t done, uint64_t total);
    void *progress_context;
} kiln_check_options;
#define KILN_CHECK_OPTIONS_INIT {.size = sizeof(kiln_check_options)}
KILN_API void kiln_check_options_init(kiln_check_options *options);
KILN_API kiln_status kiln_check(kiln_db *db, const kiln_check_options *options);

typedef struct kiln_stat {
    size_t size; /* set by the caller: sizeof(kiln_stat) */
    /* geometry */
    uint32_t page_bytes;
    uint64_t file_bytes, file_pages_free; /* free: also those that the file has grown by ahead; the
                                             others are in use, or pages_pending */
    /* cache: of this database, and of the process */
    uint64_t cache_limit_bytes, cache_used_bytes, cache_process_bytes;
    uint64_t cache_dirty_bytes, cache_misses, cache_evictions;
    /* checkpoints */
    uint64_t checkpoints, checkpoint_bytes, checkpoint_ns; /* bytes and time in the writing phase */
    uint64_t checkpoint_last_bytes, checkpoint_last_ns, checkpoint_last_total_ns;
    uint32_t checkpoint_state;    /* kiln_checkpoint_state */
    uint64_t checkpoint_left_bytes; /* of the one running */
    uint64_t throttle_ns;         /* time writers were slowed */
    /* I/O through the buffer manager */
    uint64_t io_reads, io_read_bytes, io_writes, io_write_bytes, io_busy_ns;
    uint64_t io_out_of_order, io_waits, io_wait_ns, io_wait_max_ns;
    uint32_t io_pending, io_pending_max;
    uint64_t io_depth[16]; /* bucket i: I/Os started with 2^i .. 2^(i+1)-1 under way */
    /* roll-forward log */
    uint64_t rfl_appends, rfl_bytes, rfl_flushes, rfl_flush_bytes, rfl_syncs, rfl_sync_ns;
    uint64_t rfl_disk_bytes, rfl_since_checkpoint_bytes;
    /* transactions */
    uint64_t commits, aborts, txn_id, readers, oldest_reader_txn_id;
    uint64_t pages_pending; /* dead, held by readers or the durable checkpoint; those let go since
                               are counted as free by the next transaction that needs pages */
    uint64_t in_place_changes; /* entries changed without copying their page */
    uint64_t in_place_returns; /* times that a reader or checkpoint made a writer copy after all */
    uint64_t recovered_txns, recovered_ops, recovery_ns;
    uint64_t heap_bytes; /* that kiln has allocated in this process, beside its caches */
} kiln_stat;

typedef enum kiln_checkpoint_state {
    KILN_CHECKPOINT_IDLE = 0,
    KILN_CHECKPOINT_WRITING = 1,
    KILN_CHECKPOINT_SYNCING = 2,
    KILN_CHECKPOINT_HEADER = 3
} kiln_checkpoint_state;

KILN_API void kiln_stat_init(kiln_stat *stat);
KILN_API kiln_status kiln_stat_get(kiln_db *db, kiln_stat *stat_inout);

typedef struct kiln_coll_stat {
    size_t size;
    uint64_t keys;
    uint32_t height;
    uint64_t leaf_pages, inner_pages, large_pages;
    uint64_t key_bytes, value_bytes; /* as the user gave them, large values included */
    uint64_t used_bytes;             /* of leaf and inner pages */
} kiln_coll_stat;
KILN_API void kiln_coll_stat_init(kiln_coll_stat *stat);
/* Shape of one tree; walks the whole tree. */
KILN_API kiln_status kiln_coll_stat_get(kiln_txn *txn, kiln_coll coll, kiln_coll_stat *stat_inout);

#ifdef __cplusplus
}
#endif

#endif
