/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/db/log_place.c -- where the log of a database is, how it is opened, whether it may be
 * missing.
 *
 * 1. The header remembers the place: nothing (the directory "rfl" in the database's own), a path
 *    relative to the database's directory (it moves with it), or an absolute one.
 * 2. A log that is missing is never replaced in silence.  Whether it held commits that data.kdb
 *    does not have is known from the close note alone, which names the last checkpoint; it is
 *    struck out, durably, before the log can grow.
 * 3. A log begun in place of a missing one begins LOG_GAP further on, and the header says so before
 *    it is made: the old log, should it turn up, ends below and is refused.
 */
#include "engine/db/log_place.h"

#include <stdio.h>
#include <string.h>

#include "ftk/checksum.h"
#include "ftk/mem.h"

#define LOG_DIR "rfl"
#define LOG_GAP (UINT64_C(1) << 40)

/* ---- the place ------------------------------------------------------------------------------- */

/* The directory that names of the log's place are relative to. */
static const struct ftk_dir *
place_base(const kiln_db *db)
{
    return *db->log_place == '/' ? NULL : db->dir;
}

static const char *
place_name(const kiln_db *db)
{
    return *db->log_place == 0 ? LOG_DIR : db->log_place;
}

/* The place for messages. */
static ftk_status
place_show(kiln_db *db)
{
    if (db->rfl_path != NULL) /* as the program named it */
        return FTK_OK;
    return ftk_path_join(*db->log_place == '/' ? "" : db->path, place_name(db), &db->rfl_path);
}

/* How a directory that lies at `path` is remembered: rule 1. */
static ftk_status
place_take(kiln_db *db, const char *path)
{
    struct ftk_dir *dir = NULL;
    char *at = NULL, *own = NULL;
    const char *place;
    size_t own_size;
    ftk_status rc;

    FTK_TRY(ftk_dir_open(db->disk, path, &dir));
    FTK_TRY(ftk_dir_locate(dir, &at));
    FTK_TRY(ftk_dir_locate(db->dir, &own));
    own_size = strlen(own);
    place = at;
    if (strcmp(at, own) == 0)
        place = ".";
    else if (strncmp(at, own, own_size) == 0 && at[own_size] == '/')
        place = at + own_size + 1;
    if (strlen(place) > HEADER_LOG_DIR_MAX) {
        rc = FTK_FAIL(FTK_TOOBIG, "a log's directory is remembered in %d bytes, %.150s has more",
                      HEADER_LOG_DIR_MAX, at);
        goto out;
    }
    snprintf(db->log_place, sizeof(db->log_place), "%s", strcmp(place, LOG_DIR) == 0 ? "" : place);
out:
    ftk_free(own);
    ftk_free(at);
    ftk_dir_close(dir);
    return rc;
}

void
log_place_put(const kiln_db *db, struct header *header)
{
    if (db->options.flags & KILN_EXTERNAL_LOG)
        return;
    header->flags |= HEADER_LOG_PLACE;
    memcpy(header->log_dir, db->log_place, sizeof(header->log_dir));
}

ftk_status
log_place_is_free(kiln_db *db)
{
    const char *path = db->options.rfl_dir;
    struct ftk_dir *dir = NULL;
    bool there = false;
    ftk_status rc;

    if (db->options.flags & KILN_EXTERNAL_LOG)
        return FTK_OK;
    rc = path != NULL ? ftk_dir_open(db->disk, db->rfl_path, &dir)
                      : ftk_dir_open_in(db->dir, LOG_DIR, &dir);
    if (rc == FTK_OK)
        rc = rfl_is_in(dir, &there);
    ftk_dir_close(dir);
    if (rc == FTK_OK && there)
        rc = FTK_FAIL(FTK_FOREIGN, "%.200s has the log of another database already",
                      path != NULL ? db->rfl_path : LOG_DIR);
    return rc == FTK_NOTFOUND ? FTK_OK : rc;
}

ftk_status
log_place_make(kiln_db *db, struct header *header)
{
    const char *path = db->options.rfl_dir;
    ftk_status rc = FTK_OK;

    db->log_place[0] = 0;
    if (path != NULL && !(db->options.flags & KILN_EXTERNAL_LOG)) {
        rc = db->disk->ops->mkdir(db->disk, NULL, db->rfl_path);
        if (rc == FTK_OK || rc == FTK_EXISTS)
            rc = place_take(db, db->rfl_path);
    }
    if (rc == FTK_OK)
        log_place_put(db, header);
    return rc == FTK_OK ? place_show(db) : rc;
}

/*
 * Does the option name the directory that is remembered?  Where one of the two is not there the
 * names must be the same; one that cannot be looked at is an error, and not another directory.
 */
static ftk_status
place_compare(kiln_db *db, const char *path, bool *same_out)
{
    struct ftk_identity asked, remembered;
    ftk_status rc = db->disk->ops->identify(db->disk, NULL, path, &asked);

    if (rc == FTK_OK)
        rc = db->disk->ops->identify(db->disk, place_base(db), place_name(db), &remembered);
    *same_out =
        rc == FTK_OK ? ftk_identity_same(&asked, &remembered) : strcmp(path, db->log_place) == 0;
    return rc == FTK_NOTFOUND || *same_out ? FTK_OK : rc;
}

ftk_status
log_place_find(kiln_db *db, const struct header *header)
{
    bool asked = db->options.rfl_dir != NULL;
    bool known = (header->flags & HEADER_LOG_PLACE) != 0;
    bool same = true;
    ftk_status rc = FTK_OK;

    if (db->options.flags & KILN_EXTERNAL_LOG)
        return FTK_OK;
    memcpy(db->log_place, header->log_dir, sizeof(db->log_place));
    if (asked && (!known || (db->options.flags & KILN_LOG_MOVED) != 0)) {
        rc = place_take(db, db->rfl_path);
        return rc == FTK_NOTFOUND
                   ? FTK_FAIL(FTK_CORRUPT, "no log in %.200s: there is no such directory",
                              db->rfl_path)
                   : rc;
    }
    if (asked)
        rc = place_compare(db, db->rfl_path, &same);
    if (!same && rc == FTK_OK)
        return FTK_FAIL(FTK_INVALID,
                        "the log of %.80s is in %.80s, not in %.60s (if it was moved: kiln recover "
                        "--log-moved)",
                        db->path, place_name(db), db->rfl_path);
    return rc != FTK_OK ? rc : place_show(db);
}

/* ---- the close note -------------------------------------------------------------------------- */

static void
note_encode(const kiln_db *db, uint64_t first, uint64_t last, uint8_t note[CLOSE_NOTE_BYTES])
{
    memset(note, 0, CLOSE_NOTE_BYTES);
    memcpy(note + CLOSE_NOTE_MAGIC_AT, CLOSE_NOTE_MAGIC, sizeof(CLOSE_NOTE_MAGIC) - 1);
    memcpy(note + CLOSE_NOTE_IDENTITY, db->identity, sizeof(db->identity));
    ftk_put_le64(note + CLOSE_NOTE_FIRST, first);
    ftk_put_le64(note + CLOSE_NOTE_LAST, last);
    ftk_put_le64(note + CLOSE_NOTE_CHECKSUM, ftk_checksum(note, CLOSE_NOTE_CHECKSUM, 0));
}

/*
 * Is the newest header what a close left?  A note that cannot be read may be there: no answer, for
 * the other one is that commits may be lost.
 */
static ftk_status
was_closed(kiln_db *db, bool *closed_out)
{
    uint8_t whole[CLOSE_NOTE_BYTES], found[CLOSE_NOTE_BYTES];
    uint64_t first, last, size = 0;
    ftk_status rc = FTK_OK;

    *closed_out = false;
    if (db->lock_file == NULL)
        return FTK_OK;
    FTK_TRY(ftk_file_size(db->lock_file, &size));
    if (size < sizeof(found))
        goto out;
    FTK_TRY(ftk_file_read(db->lock_file, found, sizeof(found), 0));
    first = ftk_get_le64(found + CLOSE_NOTE_FIRST);
    last = ftk_get_le64(found + CLOSE_NOTE_LAST);
    note_encode(db, first, last, whole);
    *closed_out = memcmp(found, whole, sizeof(found)) == 0 && first <= db->checkpoint &&
                  db->checkpoint <= last;
out:
    return rc;
}

static ftk_status
note_put(kiln_db *db, const uint8_t note[CLOSE_NOTE_BYTES])
{
    ftk_status rc = ftk_file_write(db->lock_file, note, CLOSE_NOTE_BYTES, 0);

    return rc != FTK_OK ? rc : ftk_file_sync(db->lock_file);
}

void
close_note_write(kiln_db *db)
{
    struct ftk_error before = *ftk_error_last();
    uint8_t note[CLOSE_NOTE_BYTES];

    note_encode(db, db->checkpoint, db->checkpoint, note);
    if (note_put(db, note) != FTK_OK) {
        ftk_log(&db->log_to, FTK_LOG_WARNING, "%s: closed, but no note was left: %s", db->path,
                ftk_error_last()->text);
        ftk_error_set(&before);
    }
}

ftk_status
close_note_strike(kiln_db *db)
{
    static const uint8_t nothing[CLOSE_NOTE_BYTES];
    struct ftk_error before = *ftk_error_last();
    uint8_t found[CLOSE_NOTE_BYTES];
    uint64_t size = 0;
    ftk_status rc = ftk_file_size(db->lock_file, &size);

    if (rc != FTK_OK || size < sizeof(found))
        return rc;
    if (ftk_file_read(db->lock_file, found, sizeof(found), 0) == FTK_OK &&
        memcmp(found, nothing, sizeof(found)) == 0)
        return FTK_OK;
    ftk_error_set(&before);
    return note_put(db, nothing);
}

/* ---- the log --------------------------------------------------------------------------------- */

/* The database whose archive function this thread is in. */
static _Thread_local const kiln_db *archives;

static ftk_status
archive_segment(void *context, const char *path, uint64_t lsn_begin, uint64_t lsn_end)
{
    kiln_db *db = context;
    const kiln_db *outer = archives; /* whose archive function closes this one */
    ftk_status rc;

    (void)lsn_begin;
    (void)lsn_end;
    archives = db;
    rc = (ftk_status)db->options.archive(db->options.archive_context, path);
    FTK_ASSERT(archives == db);
    archives = outer;
    return rc;
}

ftk_status
db_check_caller(const kiln_db *db)
{
    ftk_status rc = db_check_process(db);

    if (rc == FTK_OK && FTK_UNLIKELY(db->options.archive != NULL) && archives == db)
        rc = FTK_FAIL(FTK_STATE, "%s: its archive function cannot use it", db->path);
    return rc;
}

static ftk_status
log_try(kiln_db *db, bool create, uint64_t lsn_start)
{
    struct rfl_options options = {.disk = db->disk,
                                  .log = &db->log_to,
                                  .parent = place_base(db),
                                  .dir = place_name(db),
                                  .segment_bytes = db->options.rfl_segment_bytes,
                                  .lazy_ms = db->options.lazy_ms,
                                  .read_only = db->read_only,
                                  .background = !db->manual,
                                  .allow_short = create && lsn_start > 0,
                                  .archiving = db->archiving,
                                  .archive = db->options.archive != NULL ? archive_segment : NULL,
                                  .archive_context = db};

    memcpy(options.identity, db->identity, sizeof(options.identity));
    return rfl_open(&options, create, lsn_start, &db->log);
}

ftk_status
log_make(kiln_db *db)
{
    ftk_status rc = log_try(db, true, 0);

    if (rc == FTK_OK)
        rc = rfl_close(db->log);
    db->log = NULL;
    return rc;
}

/* The way on without a log: rule 3. */
static ftk_status
log_replace(kiln_db *db, const struct header *header, bool clean)
{
    uint8_t note[CLOSE_NOTE_BYTES];
    ftk_status rc;

    ftk_log(&db->log_to, FTK_LOG_WARNING, "%s: goes on without its log; %s", db->path,
            clean ? "nothing is lost" : "commits since the last checkpoint are");
    if (db->read_only)
        return FTK_OK;
    if (db->newest.lsn > INT64_MAX - 2 * LOG_GAP)
        return FTK_FAIL(FTK_NOSPACE, "%s: log positions are used up", db->path);
    rc = header_write(db->data, header); /* it was read: now it is on the device too */
    if (rc == FTK_OK && clean) {         /* it still is with the header that comes now */
        note_encode(db, db->checkpoint, db->checkpoint + 1, note);
        rc = note_put(db, note);
    }
    if (rc != FTK_OK)
        return rc;
    db->newest.lsn += LOG_GAP;
    rc = checkpointer_run(db->checkpointer, true);
    if (rc != FTK_OK)
        return rc;
    return log_try(db, true, db->newest.lsn);
}

ftk_status
log_open(kiln_db *db, const struct header *header)
{
    bool accepted = (db->options.flags & KILN_ACCEPT_LOSS) != 0;
    ftk_status rc = log_try(db, false, db->newest.lsn);
    bool clean;

    if (rc == FTK_OK && (db->options.flags & KILN_WITHOUT_LOG) != 0)
        rc = FTK_FAIL(FTK_EXISTS, "%s: its log is there; open it with that, or move it away",
                      db->path);
    if (rc == FTK_NOTFOUND) {
        rc = was_closed(db, &clean);
        if (rc != FTK_OK && !accepted)
            return rc;
        if ((db->options.flags & KILN_WITHOUT_LOG) != 0 && (clean || accepted))
            return log_replace(db, header, clean);
        rc = FTK_FAIL(FTK_CORRUPT,
                      clean
                          ? "no log in %.90s, but the database was closed cleanly: put it back, or "
                            "go on with kiln recover --without-log, which loses nothing"
                          : "no log in %.90s, which may have had commits that data.kdb has not: "
                            "put it back, or lose them: kiln recover --without-log --accept-loss",
                      db->rfl_path);
    }
    return rc;
}
