/*
 * engine/db.h -- the database: what is shared by its transactions.
 *
 * Lock order (outermost first):
 *   writer queue > catalog/records caches > in-place window > space mutex > cache and log locks
 * The writer queue is held from the beginning of a write transaction until its commit record is in
 * the log's buffer; it is not held while a commit waits for the disk.
 *
 * Three snapshots matter:
 *   newest     of the last commit; the next writer builds on it (writer lock; space mutex to set)
 *   published  newest one whose durability promise holds; readers get it (seqlock)
 *   durable    of the header on disk (space map pins it)
 */
#ifndef ENGINE_DB_H
#define ENGINE_DB_H

#include "cache/cache.h"
#include "cache/checkpointer.h"
#include "engine/in_place.h"
#include "engine/page_format.h"
#include "engine/records.h"
#include "engine/space.h"
#include "ftk/thread.h"
#include "kiln.h"
#include "rfl/rfl.h"

struct db_snapshot {
    uint64_t id; /* transaction number; 0: the empty database */
    uint64_t catalog_root;
    uint64_t catalog_keys;
    uint32_t catalog_height;
    uint32_t coll_next;
    uint64_t lsn; /* end of its commit record */
    uint64_t applied;
};

enum { DB_IDLE_TXNS = 64 };

struct db_published {
    _Atomic uint64_t sequence; /* odd while it changes */
    _Atomic uint64_t words[6];
};

struct writer_wait {
    struct writer_wait *next;
    struct ftk_cond cond;
    bool granted;
};

struct kiln_db {
    kiln_options options; /* resolved */
    char *path;
    char *rfl_path;
    struct ftk_disk *disk;
    struct ftk_log log_to;
    bool read_only;
    bool manual; /* no threads: simulation */
    enum ftk_aio_kind aio_kind;

    struct ftk_file *lock_file;
    struct ftk_file *data;
    struct ftk_iobufs *bufs;
    struct cache *cache;
    const struct cache_fast *fast;
    struct space *space;
    struct rfl_log *log;
    struct checkpointer *checkpointer;
    struct checkpointer_hooks hooks;

    uint32_t page_bytes;
    uint32_t inline_max; /* key + value bytes kept in a leaf */
    uint8_t identity[16];
    uint64_t salt;

    /* writer queue */
    struct ftk_mutex queue_mutex;
    struct writer_wait *queue_first, *queue_last;
    bool queue_busy;

    /* under the writer lock */
    struct db_snapshot newest;
    uint64_t birth_next;
    bool appends_many; /* the last transaction put many keys behind the last of a tree */

    struct db_published published;
    struct ftk_mutex publish_mutex;
    struct in_place_db in_place;

    /* checkpointing: the checkpointer's thread only */
    uint64_t checkpoint;              /* number of the last header */
    uint64_t durable_id;              /* its snapshot */
    struct db_snapshot checkpoint_of; /* snapshot of the one under way */
    uint64_t checkpoint_pages_end, checkpoint_map_hash;
    _Atomic uint64_t durable_lsn;   /* of the last header */
    _Atomic uint64_t checkpoint_id; /* newest snapshot that a checkpoint has pinned */

    _Atomic int failed; /* ftk_status of the failure that made the database refuse writes */
    struct ftk_mutex error_mutex;
    struct ftk_error error;

    _Atomic(kiln_txn *)
        idle[DB_IDLE_TXNS]; /* transaction objects to be used again, with their slot */

    void *records; /* of the records layer: see engine/records.h */

    _Atomic uint64_t open_txns;
    _Atomic uint64_t commits, aborts;
    uint64_t recovered_txns, recovered_ops, recovery_ns;
};

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

/* A final error: remembered, and every later write is refused. */
ftk_status db_fail(kiln_db *db, ftk_status status);
/* FTK_FAILED with the words of the first failure, or FTK_OK. */
ftk_status db_check_failed(kiln_db *db);

void db_publish(kiln_db *db, const struct db_snapshot *snapshot);
void db_published_get(kiln_db *db, struct db_snapshot *snapshot_out);
uint64_t db_published_id(kiln_db *db);
/* Pin the published snapshot in the slot: lock-free, but when a writer changes leaves of it in
 * place (engine/in_place.h). */
void db_pin(kiln_db *db, struct cache_slot *slot, struct db_snapshot *snapshot_out);

/* Writer queue.  timeout_ms 0xffffffff: forever.  errors: FTK_TIMEOUT. */
ftk_status db_writer_lock(kiln_db *db, uint32_t timeout_ms);
void db_writer_unlock(kiln_db *db);

/* engine/header.c */
struct header {
    uint32_t page_bytes;
    uint8_t identity[16];
    uint64_t checkpoint;
    struct db_snapshot snapshot;
    uint64_t pages_end, map_hash, wall_ns;
    uint32_t flags;
};
/* Both copies, each synced before the next. */
ftk_status header_write(struct ftk_file *file, const struct header *header);
/*
 * The newest valid header.  repair: rewrite a copy that is not as its twin; what is returned is
 * then durable.  errors: FTK_FOREIGN, FTK_VERSION, FTK_CORRUPT; FTK_IO: a copy cannot be read and
 * its twin is not whole, or it cannot be repaired, or a sync before a repair fails.  A damaged copy
 * that cannot be rewritten is only told to the log.
 */
ftk_status header_read(struct ftk_file *file, const struct ftk_log *log, bool repair,
                       struct header *header_out);

/* engine/recovery.c: replay the log from the newest snapshot's LSN. */
ftk_status recovery_run(kiln_db *db);
/* The leaves of a database that so much log is replayed into are in the cache, if that pays. */
ftk_status recovery_warm(kiln_db *db, uint64_t log_bytes);

/* engine/checkpoint.c */
void checkpoint_hooks_init(kiln_db *db);

/* The two enumerations have the same numbers (engine/status_api.c asserts it). */
static inline kiln_status
kiln_status_of(ftk_status status)
{
    return (kiln_status)status;
}

#endif
