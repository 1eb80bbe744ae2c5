/* SPDX-License-Identifier: Apache-2.0 */
/* engine/db/open.c -- open, create, close. */
#include "engine/db/open.h"
#include "engine/db/log_place.h"

#include <stdlib.h>
#include <string.h>

#include "engine/db/extension.h"
#include "engine/db/txn.h"
#include "engine/page/node.h"
#include "ftk/checksum.h"
#include "ftk/clock.h"
#include "ftk/fork.h"
#include "ftk/mem.h"
#include "ftk/random.h"

enum {
    CHECKPOINT_MS_DEFAULT = 60000,
    LAZY_MS_DEFAULT = 100,
    IO_DEPTH_DEFAULT = 64,
    CACHE_PAGES_MIN = 96, /* a transaction prepares some, holds some, cleans some */
};
#define DATA_FILE "data.kdb"
#define DATA_FILE_NEW "data.kdb.new"
static const uint64_t RFL_BYTES_MAX_DEFAULT = UINT64_C(1) << 30;
static const uint64_t REGION_BYTES_MIN = UINT64_C(64) << 30;

static uint64_t
page_sum(const kiln_db *db, uint64_t page_id, const void *page)
{
    return ftk_checksum((const uint8_t *)page + 8, db->page_bytes - 8u, page_id ^ db->salt);
}

static ftk_status
verify_page(void *context, uint64_t page_id, const void *memory)
{
    kiln_db *db = context;
    const uint8_t *page = memory;
    ftk_status rc;

    if (ftk_get_le64(page + PAGE_CHECKSUM) != page_sum(db, page_id, page))
        return FTK_FAIL(FTK_CORRUPT, "%s: page %llu fails its checksum", db->data->path,
                        (unsigned long long)page_id);
    if (node_birth(page) >= db_births(db)) /* it would pass for one of a later transaction */
        return FTK_FAIL(FTK_CORRUPT, "%s: page %llu is of transaction %llu, which never was",
                        db->data->path, (unsigned long long)page_id,
                        (unsigned long long)node_birth(page));
    rc = node_validate(page, db->page_bytes, page_id, true);
    if (rc != FTK_OK || page[PAGE_TYPE] != PAGE_INNER)
        return rc;
    for (uint32_t i = 0; i < node_count(page); i++)
        if (page_ref_id(node_child(page, i)) >= db->fast->pages_max)
            return FTK_FAIL(FTK_CORRUPT, "%s: page %llu refers to page %llu, which cannot be",
                            db->data->path, (unsigned long long)page_id,
                            (unsigned long long)page_ref_id(node_child(page, i)));
    return FTK_OK;
}

static bool
seal_page(void *context, uint64_t page_id, void *memory, uint64_t limit)
{
    kiln_db *db = context;
    uint8_t *page = memory;

    if (node_birth(page) > limit)
        return false;
    FTK_ASSERT(node_birth(page) <= atomic_load(&db->window.above)); /* it cannot change meanwhile */
    ftk_put_le64(page + PAGE_CHECKSUM, page_sum(db, page_id, page));
    return true;
}

static void
options_resolve(kiln_db *db, const kiln_options *options)
{
    kiln_options *o = &db->options;

    *o = (kiln_options)KILN_OPTIONS_INIT;
    if (options != NULL)
        memcpy(o, options, options->size < sizeof(*o) ? options->size : sizeof(*o));
    o->size = sizeof(*o);
    if (o->page_bytes == 0)
        o->page_bytes = PAGE_BYTES_DEFAULT;
    if (o->durability == KILN_DURABILITY_DEFAULT)
        o->durability = KILN_FULL;
    if (o->lazy_ms == 0)
        o->lazy_ms = LAZY_MS_DEFAULT;
    if (o->rfl_segment_bytes == 0)
        o->rfl_segment_bytes = RFL_SEGMENT_BYTES_DEFAULT;
    if (o->rfl_bytes_max == 0)
        o->rfl_bytes_max = RFL_BYTES_MAX_DEFAULT;
    if (o->checkpoint_ms == 0)
        o->checkpoint_ms = CHECKPOINT_MS_DEFAULT;
    if (o->io_depth == 0)
        o->io_depth = IO_DEPTH_DEFAULT;
    if (o->txn_timeout_ms == 0)
        o->txn_timeout_ms = UINT32_MAX;
    db->log_to = (struct ftk_log){(void (*)(void *, enum ftk_log_level, const char *))o->log,
                                  o->log_context, (enum ftk_log_level)o->log_level};
    db->read_only = (o->flags & KILN_OPEN_READONLY) != 0;
}

static ftk_status
options_check(const kiln_options *o)
{
    if (o->page_bytes < PAGE_BYTES_MIN || o->page_bytes > PAGE_BYTES_MAX ||
        (o->page_bytes & (o->page_bytes - 1)) != 0)
        return FTK_FAIL(FTK_INVALID, "page size %u: a power of two from %d to %d", o->page_bytes,
                        PAGE_BYTES_MIN, PAGE_BYTES_MAX);
    if (o->durability > KILN_LAZY)
        return FTK_FAIL(FTK_INVALID, "durability %d", (int)o->durability);
    if (o->flags & ~(uint32_t)(KILN_CREATE | KILN_EXCLUSIVE | KILN_OPEN_READONLY |
                               KILN_NO_DIRECT_IO | KILN_EXTERNAL_LOG | KILN_NO_ARCHIVE |
                               KILN_LOG_MOVED | KILN_WITHOUT_LOG | KILN_ACCEPT_LOSS))
        return FTK_FAIL(FTK_INVALID, "unknown flags %#x", o->flags);
    if ((o->flags & KILN_LOG_MOVED) && (o->rfl_dir == NULL || (o->flags & KILN_EXTERNAL_LOG)))
        return FTK_FAIL(FTK_INVALID, "KILN_LOG_MOVED goes with rfl_dir, which says where it is");
    if ((o->flags & KILN_ACCEPT_LOSS) && !(o->flags & KILN_WITHOUT_LOG))
        return FTK_FAIL(FTK_INVALID, "KILN_ACCEPT_LOSS goes with KILN_WITHOUT_LOG");
    if ((o->flags & KILN_OPEN_READONLY) && (o->flags & KILN_CREATE))
        return FTK_FAIL(FTK_INVALID, "a database cannot be created read-only");
    if (o->rfl_segment_bytes < RFL_SEGMENT_BYTES_MIN || o->rfl_segment_bytes % 4096 != 0)
        return FTK_FAIL(FTK_INVALID, "log segments of %u bytes: a multiple of 4096 from %u on",
                        o->rfl_segment_bytes, RFL_SEGMENT_BYTES_MIN);
    if (o->archive != NULL && (o->flags & KILN_NO_ARCHIVE))
        return FTK_FAIL(FTK_INVALID, "archiving cannot be given up and asked for at once");
    if (o->io_depth > 4096)
        return FTK_FAIL(FTK_INVALID, "I/O depth %u: at most 4096", o->io_depth);
    return FTK_OK;
}

/*
 * The file "lock" keeps others out.  It must still have its name once it is locked: who removed it
 * (or removes it while the database is open) would let another in beside us, so data.kdb is locked
 * too, when it is open.
 */
static ftk_status
open_lock(kiln_db *db)
{
    unsigned flags = db->read_only ? FTK_OPEN_READ_ONLY : FTK_OPEN_CREATE;
    struct ftk_identity named;
    bool ours = false;
    ftk_status rc = FTK_OK;

    while (rc == FTK_OK && !ours) {
        rc = ftk_file_open_in(db->dir, "lock", flags, &db->lock_file);
        if (rc == FTK_NOTFOUND && db->read_only) /* nobody ever wrote here */
            return FTK_OK;
        if (rc == FTK_OK)
            rc = ftk_file_lock(db->lock_file, !db->read_only);
        if (rc != FTK_OK)
            break;
        rc = ftk_dir_identify(db->dir, "lock", &named);
        ours = rc == FTK_OK && ftk_identity_same(&named, &db->lock_file->identity);
        if (!ours && (rc == FTK_OK || rc == FTK_NOTFOUND)) {
            ftk_file_close(db->lock_file);
            db->lock_file = NULL;
            rc = FTK_OK;
        }
    }
    return rc;
}

/* Cache, space map and checkpointer over the open data file. */
static ftk_status
open_storage(kiln_db *db, const struct header *header)
{
    struct cache_options cache = {.file = db->data,
                                  .bufs = db->bufs,
                                  .log = &db->log_to,
                                  .page_bytes = db->page_bytes,
                                  .verify = verify_page,
                                  .seal = seal_page,
                                  .context = db};
    struct space_options space = {.file = db->data,
                                  .page_bytes = db->page_bytes,
                                  .salt = db->salt,
                                  .pages_end = header->pages_end,
                                  .checkpoint = header->checkpoint,
                                  .map_hash = header->map_hash,
                                  .read_only = db->read_only};
    struct checkpointer_options checkpointer = {
        .hooks = &db->hooks,
        .log = &db->log_to,
        .dirty_bytes_max = db->options.dirty_bytes_max,
        .interval_ms = db->options.checkpoint_ms == UINT32_MAX ? 0 : db->options.checkpoint_ms,
        .thread = !db->manual && !db->read_only};
    uint64_t free_bytes = 0, total_bytes = 0, size = 0, region;
    ftk_status rc;

    FTK_TRY(ftk_dir_space(db->dir, &free_bytes, &total_bytes));
    FTK_TRY(ftk_file_size(db->data, &size));
    region = total_bytes * 2;
    if (region < REGION_BYTES_MIN && !db->manual)
        region = REGION_BYTES_MIN;
    if (region < size * 2)
        region = size * 2;
    cache.pages_want = region / db->page_bytes;
    cache.pages_need = (size + (64u << 20)) / db->page_bytes;
    if (cache.pages_want < cache.pages_need)
        cache.pages_want = cache.pages_need;
    FTK_TRY(cache_open(&cache, &db->cache));
    db->fast = cache_fast(db->cache);
    space.cache = db->cache;
    FTK_TRY(space_open(&space, &db->space));
    space_set_durable(db->space, header->snapshot.id);
    checkpoint_hooks_init(db);
    checkpointer.cache = db->cache;
    FTK_TRY(checkpointer_open(&checkpointer, &db->checkpointer));
out:
    return rc;
}

static void
identity_set(kiln_db *db, const uint8_t identity[16])
{
    memcpy(db->identity, identity, 16);
    db->salt = ftk_checksum(identity, 16, 0);
}

static void
adopt_header(kiln_db *db, const struct header *header)
{
    db->page_bytes = header->page_bytes;
    db->inline_max = db->page_bytes / 4 < KILN_KEY_MAX ? KILN_KEY_MAX : db->page_bytes / 4;
    identity_set(db, header->identity);
    db->checkpoint = header->checkpoint;
    db->newest = header->snapshot;
    db->coll_next = header->snapshot.coll_next;
    db->durable_id = header->snapshot.id;
    db->durable_coll_next = header->snapshot.coll_next;
    atomic_store(&db->checkpoint_pin, header->snapshot.id);
    db->birth_next = header->snapshot.id + 1;
    atomic_store(&db->durable_lsn, header->snapshot.lsn);
    db_publish(db, &header->snapshot);
}

/*
 * Births of an earlier process that neither header nor log tell of: of pages that it wrote early,
 * for a transaction with savepoints or one that it aborted.  They must not be given again
 * (engine/txn/README.md, rule 3), and nobody knows how many there were: so go on at a distance that
 * meets the births of a page_ref by a chance of one in 2^24.
 */
static void
births_skip(kiln_db *db)
{
    uint32_t skip;

    ftk_random_system(&skip, sizeof(skip));
    db->birth_skip = skip & (UINT64_MAX >> PAGE_REF_ID_BITS);
    db->birth_next += db->birth_skip;
}

static unsigned
data_flags(const kiln_db *db)
{
    return (db->options.flags & KILN_NO_DIRECT_IO ? 0 : FTK_OPEN_DIRECT) |
           (db->read_only ? FTK_OPEN_READ_ONLY : 0);
}

static void
close_storage(kiln_db *db)
{
    checkpointer_close(db->checkpointer);
    db->checkpointer = NULL;
    for (size_t i = 0; i < DB_IDLE_TXNS; i++)
        txn_free(atomic_exchange(&db->idle[i], NULL));
    space_close(db->space);
    db->space = NULL;
    if (db->cache != NULL)
        cache_close(db->cache);
    db->cache = NULL;
}

/* The directory's own name and those in it are durable, whoever made them, even if he has died. */
static ftk_status
names_sync(kiln_db *db)
{
    ftk_status rc = ftk_dir_sync_name(db->dir);

    return rc != FTK_OK ? rc : ftk_dir_sync(db->dir);
}

/* Archiving that was asked for once holds for every later open, until it is given up. */
static void
archiving_resolve(kiln_db *db, uint32_t header_flags)
{
    bool before = (header_flags & HEADER_ARCHIVING) != 0;

    if (db->options.flags & (KILN_EXTERNAL_LOG | KILN_NO_ARCHIVE))
        before = false;
    db->archiving =
        before || (db->options.archive != NULL && !(db->options.flags & KILN_EXTERNAL_LOG));
    if (before && db->options.archive == NULL && !db->read_only)
        ftk_log(&db->log_to, FTK_LOG_WARNING,
                "%s: log segments are to be archived, and this open has no function for it: they "
                "are kept",
                db->path);
}

/*
 * Make a new database.  data.kdb.new gets its first checkpoint, then the log is made, then the file
 * is renamed: whatever a crash leaves is taken up again, with the same identity.  A place for the
 * log that will not do is refused before there is a file.
 */
static ftk_status
create(kiln_db *db)
{
    struct header header = {.page_bytes = db->options.page_bytes, .snapshot = {.coll_next = 1}};
    struct ftk_identity before;
    struct header left;
    bool made;
    ftk_status rc;

    rc = ftk_dir_identify(db->dir, DATA_FILE_NEW, &before);
    if (rc == FTK_NOTFOUND)
        rc = log_place_is_free(db);
    if (rc == FTK_OK)
        rc = log_place_make(db, &header);
    if (rc != FTK_OK)
        return rc;
    FTK_TRY(ftk_file_open_in(db->dir, DATA_FILE_NEW, data_flags(db) | FTK_OPEN_CREATE, &db->data));
    rc = header_read(db->data, &db->log_to, true, &left);
    if (rc != FTK_OK && rc != FTK_FOREIGN && rc != FTK_CORRUPT)
        goto out;
    if (rc == FTK_OK)
        memcpy(header.identity, left.identity, sizeof(header.identity)); /* the log may have it */
    else /* nothing yet, or cut by a crash */
        ftk_random_system(header.identity, sizeof(header.identity));
    made = rc == FTK_OK && left.page_bytes == header.page_bytes &&
           strcmp(left.log_dir, header.log_dir) == 0 &&
           !(left.flags & HEADER_EXTERNAL_LOG) == !(db->options.flags & KILN_EXTERNAL_LOG);
    identity_set(db, header.identity);
    archiving_resolve(db, 0);
    if (made) { /* it can be read, which does not say that it is on the device */
        FTK_TRY(header_write(db->data, &left));
    } else {
        FTK_TRY(ftk_file_truncate(db->data, 0));
        FTK_TRY(ftk_file_allocate(db->data, 0, HEADER_REGION_BYTES + 2u * header.page_bytes));
        adopt_header(db, &header);
        FTK_TRY(open_storage(db, &header));
        FTK_TRY(checkpointer_run(db->checkpointer, true));
        close_storage(db);
    }
    /* The log carries the identity: it must not outlive the file that has it, nor, where it lies
     * elsewhere, the directory that has the file. */
    FTK_TRY(names_sync(db));
    if (!(db->options.flags & KILN_EXTERNAL_LOG)) {
        FTK_TRY(log_make(db));
    }
    ftk_file_close(db->data);
    db->data = NULL;
    FTK_TRY(ftk_dir_rename(db->dir, DATA_FILE_NEW, DATA_FILE));
    ftk_log(&db->log_to, FTK_LOG_INFO, "%s: created, pages of %u bytes", db->path,
            db->options.page_bytes);
out:
    return rc;
}

/* The database's directory, made if that was asked for: the one use of its path. */
static ftk_status
open_dir(kiln_db *db)
{
    if (db->options.flags & KILN_CREATE) {
        ftk_status rc = db->disk->ops->mkdir(db->disk, NULL, db->path);
        if (rc != FTK_OK && rc != FTK_EXISTS)
            return rc;
    }
    return ftk_dir_open(db->disk, db->path, &db->dir);
}

static ftk_status
open_data(kiln_db *db)
{
    ftk_status rc = ftk_file_open_in(db->dir, DATA_FILE, data_flags(db), &db->data);

    if (rc == FTK_NOTFOUND && (db->options.flags & KILN_CREATE)) {
        rc = create(db);
        if (rc == FTK_OK)
            rc = ftk_file_open_in(db->dir, DATA_FILE, data_flags(db), &db->data);
    } else if (rc == FTK_OK && (db->options.flags & KILN_EXCLUSIVE)) {
        rc = FTK_FAIL(FTK_EXISTS, "there is a database in %s", db->path);
    }
    if (rc == FTK_OK)
        rc = ftk_file_lock(db->data, !db->read_only);
    if (rc == FTK_OK && !db->read_only)
        rc = names_sync(db);
    return rc;
}

/*
 * The header can be read; is it on the device (rule 6)?  Yes if the last owner came to its end:
 * the log says so.  Otherwise both copies are written over themselves, byte for byte, so that no
 * crash can tear them, before anything is built on the header: its free pages are written next.
 */
static ftk_status
header_settle(kiln_db *db, struct header *header)
{
    bool settled = db->log != NULL && rfl_was_closed(db->log);
    struct header before = *header;

    header->flags = db_header_flags(db);
    log_place_put(db, header);
    if (db->read_only ||
        (settled && header->flags == before.flags && strcmp(header->log_dir, before.log_dir) == 0))
        return FTK_OK;
    return header_write(db->data, header);
}

/* The log, and what it has beyond the header.  From here on the log may grow. */
static ftk_status
open_log(kiln_db *db, struct header *header)
{
    uint64_t checkpoint = db->checkpoint;
    ftk_status rc;

    FTK_TRY(log_place_find(db, header));
    if (!(db->options.flags & KILN_EXTERNAL_LOG))
        FTK_TRY(log_open(db, header));
    if (db->checkpoint == checkpoint)
        FTK_TRY(header_settle(db, header));
    if (db->log != NULL)
        FTK_TRY(recovery_run(db));
    if (!db->read_only)
        rc = close_note_strike(db);
out:
    return rc;
}

static ftk_status
open_all(kiln_db *db)
{
    struct ftk_iobufs_options bufs = FTK_IOBUFS_OPTIONS_INIT;
    struct header header;
    ftk_status rc;

    if (db->options.cache_bytes != 0)
        FTK_TRY(cache_limit_set(db->options.cache_bytes));
    FTK_TRY(open_dir(db));
    FTK_TRY(open_lock(db));
    bufs.disk = db->disk;
    bufs.aio_kind = db->aio_kind;
    bufs.count = db->options.io_depth;
    bufs.bytes_max = (uint64_t)db->options.io_depth << 20;
    FTK_TRY(ftk_iobufs_open(&bufs, &db->bufs));
    FTK_TRY(open_data(db));
    FTK_TRY(header_read(db->data, &db->log_to, !db->read_only, &header));
    if (!(header.flags & HEADER_EXTERNAL_LOG) != !(db->options.flags & KILN_EXTERNAL_LOG)) {
        rc = FTK_FAIL(FTK_INVALID, "%s was made with%s an external log", db->path,
                      header.flags & HEADER_EXTERNAL_LOG ? "" : "out");
        goto out;
    }
    archiving_resolve(db, header.flags);
    adopt_header(db, &header);
    if (cache_limit() / db->page_bytes < CACHE_PAGES_MIN) {
        rc = FTK_FAIL(FTK_INVALID,
                      "%s has pages of %u bytes: a cache of %llu bytes is too small, at least %u",
                      db->path, db->page_bytes, (unsigned long long)cache_limit(),
                      CACHE_PAGES_MIN * db->page_bytes);
        goto out;
    }
    FTK_TRY(open_storage(db, &header));
    if (!db->read_only)
        births_skip(db);
    FTK_TRY(open_log(db, &header));
out:
    return rc;
}

/* The words of what failed before stay. */
static void
db_free(kiln_db *db)
{
    struct ftk_error first = *ftk_error_last();

    if (db == NULL)
        return;
    close_storage(db);
    (void)rfl_abandon(db->log); /* only a database that has not failed closes its log */
    ftk_error_set(&first);
    ftk_file_close(db->data);
    ftk_iobufs_close(db->bufs);
    ftk_file_close(db->lock_file);
    ftk_dir_close(db->dir);
    if (db->extension != NULL)
        db_extension_records.db_end(db->extension);
    ftk_mutex_release(&db->queue_mutex);
    ftk_mutex_release(&db->publish_mutex);
    ftk_mutex_release(&db->error_mutex);
    window_release(db);
    ftk_free(db->path);
    ftk_free(db->rfl_path);
    ftk_free(db);
}

/* Without the "/" and "/." at its end, which mkdir(2) takes ill. */
static ftk_status
path_trimmed(const char *path, char **trimmed_out)
{
    ftk_status rc = ftk_strdup(path, trimmed_out);

    if (rc != FTK_OK)
        return rc;
    for (size_t size = strlen(path); size > 1; size--) {
        const char *end = path + size - 1;
        if (*end != '/' && !(*end == '.' && end[-1] == '/'))
            break;
        (*trimmed_out)[size - 1] = '\0';
    }
    return FTK_OK;
}

ftk_status
db_open(const char *path, const kiln_options *options, const struct db_environment *environment,
        kiln_db **db_out)
{
    kiln_db *db = NULL;
    ftk_status rc;

    *db_out = NULL;
    if (path == NULL || *path == 0)
        return FTK_FAIL(FTK_INVALID, "no path");
    FTK_TRY(FTK_NEW(&db));
    ftk_mutex_init(&db->queue_mutex);
    ftk_mutex_init(&db->publish_mutex);
    ftk_mutex_init(&db->error_mutex);
    window_init(db, in_place_copy);
    db->forks = ftk_forks();
    db->disk = ftk_disk_native();
    if (environment != NULL) {
        db->disk = environment->disk != NULL ? environment->disk : db->disk;
        db->manual = environment->manual;
        db->aio_kind = environment->aio_kind;
    }
    options_resolve(db, options);
    FTK_TRY(options_check(&db->options));
    FTK_TRY(path_trimmed(path, &db->path));
    if (db->options.rfl_dir != NULL)
        FTK_TRY(path_trimmed(db->options.rfl_dir, &db->rfl_path));
    FTK_TRY(open_all(db));
    *db_out = db;
    db = NULL;
out:
    db_free(db);
    return rc;
}

ftk_status
db_close(kiln_db *db)
{
    ftk_status rc = db_check_caller(db);

    if (rc != FTK_OK)
        return rc;
    if (atomic_load(&db->open_txns) > 0)
        return FTK_FAIL(FTK_STATE, "%llu transactions or checkpoints are under way",
                        (unsigned long long)atomic_load(&db->open_txns));
    if (!db->read_only && atomic_load(&db->failed) == FTK_OK) {
        rc = checkpointer_run(db->checkpointer, false);
        if (rc == FTK_OK)
            rc = space_trim(db->space);
        if (rc == FTK_OK && db->log != NULL) {
            rc = rfl_close(db->log);
            db->log = NULL;
            if (rc == FTK_OK)
                close_note_write(db);
        }
    } else if (!db->read_only) {
        rc = db_check_failed(db);
    }
    db_free(db);
    return rc;
}

void
db_abandon(kiln_db *db)
{
    db_free(db);
}
