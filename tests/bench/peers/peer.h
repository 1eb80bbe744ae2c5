/* SPDX-License-Identifier: Apache-2.0 */
/* peer.h -- one interface over the engines compared.  Settings of each: README.md. */
#ifndef PEERS_PEER_H
#define PEERS_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum peer_durability {
    PEER_OS,  /* commit returns when the OS has the bytes: survives the process, not the machine */
    PEER_FULL /* commit returns when the bytes are on stable storage */
};

/* What an operation can say.  Everything but OK is a failure of the call, never a crash. */
enum peer_rc {
    PEER_OK = 0,
    PEER_NOTFOUND,
    PEER_RETRY, /* conflict or deadlock: the transaction is gone, run it again */
    PEER_SPACE, /* the store cannot grow any further */
    PEER_ERROR  /* peer_error() has the text */
};

struct peer_options {
    uint64_t cache_bytes;    /* all memory the engine may use for pages, memtables, buffers */
    uint64_t data_bytes_max; /* upper bound of the files, for engines that must know it */
    uint64_t dirty_bytes;    /* expected unwritten data when checkpoint_auto is false, or 0 */
    enum peer_durability durability;
    uint32_t sessions_max; /* threads that will hold a session at the same time */
    bool checkpoint_auto;  /* false: no checkpoint, or flush, until peer_ops.checkpoint */
    bool memory_tight;     /* the page cache of the OS is limited as well */
    bool ascending;        /* every key put will be above all before it */
};

struct peer_slice {
    const void *data;
    size_t size;
};

struct peer_record {
    struct peer_slice key;
    struct peer_slice value;
};

struct peer_stat {
    uint64_t written_bytes; /* by the engine's own count, 0 when it keeps none */
    char note[160];         /* what that count includes */
};

struct peer_db;      /* each driver's own; open to close */
struct peer_session; /* what one thread holds; session_open to session_close */

/* One record of a scan; slices are borrowed until it returns.  False ends the scan. */
typedef bool peer_visit(void *ctx, struct peer_slice key, struct peer_slice value);

#define PEER_CAN_SNAPSHOT 1u /* a read transaction may stay open for long while others write */
#define PEER_CAN_DIRTY 2u    /* can keep a whole load unwritten until told to checkpoint */

/*
 * Rules for drivers.
 * 1. open creates the store when the directory is empty and recovers it when it was not closed.
 * 2. put, put_many and del are called inside a write transaction; get, get_many and scan inside
 *    a read transaction of the same session.  A session holds one transaction at a time.
 * 3. put_many takes the records in any order and may reorder them; of equal keys any may win.
 * 4. get gives a slice borrowed until the next call on the session; get_many calls visit once
 *    for every key found, in any order.
 * 5. scan visits up to `limit` records from the first key >= `from` (empty: from the start).
 * 6. checkpoint returns when every committed record is on stable storage outside the log (for
 *    engines whose log is their only copy of new data: when the log has been merged).
 * 7. After PEER_RETRY from any call the transaction has been rolled back.
 */
struct peer_ops {
    const char *name;
    unsigned flags;
    void (*version)(char *text, size_t text_size);
    int (*open)(const char *dir, const struct peer_options *options, struct peer_db **db_out);
    int (*close)(struct peer_db *db);
    int (*session_open)(struct peer_db *db, struct peer_session **session_out);
    void (*session_close)(struct peer_session *session);
    int (*txn_begin)(struct peer_session *session, bool write);
    int (*txn_commit)(struct peer_session *session);
    void (*txn_abort)(struct peer_session *session);
    int (*put)(struct peer_session *session, const struct peer_record *record);
    int (*put_many)(struct peer_session *session, struct peer_record *records, size_t count);
    int (*get)(struct peer_session *session, struct peer_slice key, struct peer_slice *value_out);
    int (*get_many)(struct peer_session *session, const struct peer_slice *keys, size_t count,
                    peer_visit *visit, void *ctx);
    int (*scan)(struct peer_session *session, struct peer_slice from, uint64_t limit,
                peer_visit *visit, void *ctx);
    int (*del)(struct peer_session *session, struct peer_slice key);
    int (*checkpoint)(struct peer_db *db);
    int (*settle)(struct peer_db *db); /* NULL, or: background work done, ready for reading */
    int (*stat)(struct peer_db *db, struct peer_stat *stat_out);
};

extern const struct peer_ops peer_kiln;
extern const struct peer_ops peer_lmdb;
extern const struct peer_ops peer_rocksdb;
extern const struct peer_ops peer_leveldb;
extern const struct peer_ops peer_wiredtiger;
extern const struct peer_ops peer_bdb;
extern const struct peer_ops peer_sqlite;

/* Records the first failure of this process, for the report; returns PEER_ERROR. */
int peer_fail(const char *engine, const char *call, const char *reason);
const char *peer_error(void);

/* Key order, for drivers whose put_many gains from it. */
void peer_sort_records(struct peer_record *records, size_t count);

/* get_many as a loop of gets, for engines that have no batch call. */
int peer_get_many_by_get(const struct peer_ops *ops, struct peer_session *session,
                         const struct peer_slice *keys, size_t count, peer_visit *visit, void *ctx);
int peer_put_many_by_put(const struct peer_ops *ops, struct peer_session *session,
                         const struct peer_record *records, size_t count);

/* The process is single-threaded per session: a plain path join into a buffer. */
void peer_path(char *path, size_t path_size, const char *dir, const char *name);

#endif
