/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/txn/db_state.h -- the database: what is shared by its transactions.
 *
 * Lock order: engine/README.md.
 *
 * Three snapshots matter:
 *   newest     of the last commit; the next writer builds on it (writer lock; space mutex to set)
 *   published  newest one whose durability promise holds; readers get it (seqlock)
 *   durable    of the header on disk (space map pins it)
 */
#ifndef ENGINE_DB_STATE_H
#define ENGINE_DB_STATE_H

#include "cache/cache.h"
#include "cache/checkpointer.h"
#include "engine/page/header.h"
#include "engine/page/page_format.h"
#include "engine/space/space.h"
#include "engine/txn/window.h"
#include "ftk/thread.h"
#include "kiln.h"
#include "rfl/rfl.h"

enum { DB_IDLE_TXNS = 64 };

struct db_published {
    _Atomic uint64_t sequence; /* odd while it changes */
    _Atomic uint64_t words[6];
};

/* Ends of the last commits that promised so much: whoever follows is visible after them. */
struct db_promise {
    uint64_t lsn_full; /* to be durable */
    uint64_t lsn_os;   /* to be written */
};

struct writer_wait {
    struct writer_wait *next;
    struct ftk_cond cond;
    bool granted;
};

struct kiln_db {
    kiln_options options; /* resolved */
    char *path;
    char *rfl_path; /* how the log's directory was named: for messages */
    struct ftk_disk *disk;
    char log_place[HEADER_LOG_DIR_MAX + 1]; /* as in the header: see engine/db/log_place.h */
    struct ftk_dir *dir; /* all names of files are looked up in it: the path is used once */
    struct ftk_log log_to;
    unsigned forks; /* ftk_forks() at the open */
    bool read_only;
    bool archiving; /* log segments leave through an archive function alone: HEADER_ARCHIVING */
    bool manual;    /* no threads: simulation */
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
    _Atomic uint64_t birth_next; /* changed by the holder of the turn, read by any (db_births) */
    uint64_t birth_skip;         /* from what an earlier process left to births of this one */
    struct db_promise promise;
    uint32_t coll_next; /* number of the next collection: it only grows, also when transactions that
                           took numbers end without a commit */
    bool appends_many;  /* the last transaction put many keys behind the last of a tree */

    struct db_published published;
    struct ftk_mutex publish_mutex;
    struct window window;

    /* checkpointing: the checkpointer's thread only */
    uint64_t checkpoint;              /* number of the last header */
    uint64_t durable_id;              /* its snapshot */
    uint32_t durable_coll_next;       /* ... and number of the next collection */
    struct db_snapshot checkpoint_of; /* snapshot of the one under way */
    uint64_t checkpoint_pages_end, checkpoint_map_hash;
    _Atomic uint64_t durable_lsn; /* of the last header */
    /* newest snapshot that a checkpoint has pinned; PIN_ALL: one is about to */
    _Atomic uint64_t checkpoint_pin;

    _Atomic int failed; /* ftk_status of the failure that made the database refuse writes */
    struct ftk_mutex error_mutex;
    struct ftk_error error;
    struct ftk_error call_error; /* of the last call on the database that failed (error_mutex) */

    _Atomic(kiln_txn *)
        idle[DB_IDLE_TXNS]; /* transaction objects to be used again, with their slot */

    void *extension; /* what the extension shares among transactions; NULL at first */

    _Atomic uint64_t open_txns; /* and calls that wait beside them: nobody closes it meanwhile */
    _Atomic uint64_t commits, aborts;
    uint64_t recovered_txns, recovered_ops, recovery_ns;
};

/* A device failed a write or sync, or what became of a commit is not known: remembered, and every
 * later write is refused. */
ftk_status db_fail(kiln_db *db, ftk_status status);
/* The same, but a shortage of memory (ftk_error_passes) is only returned. */
ftk_status db_fail_if_final(kiln_db *db, ftk_status status);
/* What a call of the public interface returns: an error's words are kept for kiln_db_error. */
ftk_status db_answer(kiln_db *db, ftk_status status);

/* Of a struct of options or numbers that begins by its size: somebody has set it. */
static inline bool
struct_size_is_set(size_t size)
{
    return size >= sizeof(size) && size <= 65536;
}

/*
 * Options that begin by their size, of a program with this header, an earlier or a later one: into
 * `known`, which holds the defaults.  What lies behind it must be zero, for it asks for what this
 * version does not know.  errors: FTK_INVALID, also when nobody has set the size.
 */
ftk_status struct_options_read(const void *options, const char *name, void *known,
                               size_t known_size);

void db_answer_last(kiln_db *db, struct ftk_error *error_out);
/* FTK_FAILED with the words of the first failure, or FTK_OK. */
ftk_status db_check_failed(kiln_db *db);
/* FTK_STATE in a child forked since the open: its threads and its lock are the parent's. */
ftk_status db_check_process(const kiln_db *db);

void db_publish(kiln_db *db, const struct db_snapshot *snapshot);
void db_published_get(kiln_db *db, struct db_snapshot *snapshot_out);
uint64_t db_published_id(kiln_db *db);

/* Free dead pages that no pinned snapshot reaches.  By the holder of the writer's turn. */
void snapshots_reclaim(kiln_db *db);

/* Births are given by the holder of the writer's turn; those of pages on disk are below the
 * next. */
static inline uint64_t
db_births(const kiln_db *db)
{
    return atomic_load_explicit(&db->birth_next, memory_order_relaxed);
}
static inline void
db_births_raise(kiln_db *db, uint64_t next)
{
    FTK_ASSERT(next > db_births(db));
    atomic_store_explicit(&db->birth_next, next, memory_order_relaxed);
}
static inline uint64_t
db_birth_take(kiln_db *db)
{
    uint64_t birth = db_births(db);

    db_births_raise(db, birth + 1);
    return birth;
}

/* Writer queue.  timeout_ms 0xffffffff: forever.  errors: FTK_TIMEOUT. */
ftk_status db_writer_lock(kiln_db *db, uint32_t timeout_ms);
void db_writer_unlock(kiln_db *db);

#endif
