/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rfl/rfl_segment.c -- the files of a log.
 *
 * 1. A file becomes a segment in this order: its space is allocated under the name .new (a raw
 *    spare); perhaps all its blocks are written and synced, it is renamed to .spare, the directory
 *    synced (a pre-written spare); header and a zero first record block written, synced; renamed to
 *    <number>.rfl, directory synced.  So a file named .rfl always has its header, its whole size
 *    and space, and at its first LSN there is no old record.
 * 2. Segments leave from the oldest, or (rfl__segments_cut) from the newest with a directory sync
 *    after each: the numbers in a directory have no gap, but for segments below the owner's
 *    lsn_start, whose removal needs no sync.
 * 3. Nothing here touches the bytes of records.
 * 4. Raw or pre-written is a question of speed alone.  A recycled file was written nearly to its
 *    end and counts as pre-written.  So does every .spare found at open: one in a long while, left
 *    by a crash, may be a raw one that was cut from behind the tail.
 * 5. A file is written under its new name only when that name is durable: whoever opens a log that
 *    a process left by dying syncs the names that it finds, first.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ftk/bytes.h"
#include "ftk/clock.h"
#include "ftk/mem.h"
#include "rfl/rfl_internal.h"

#define PREWRITE_BYTES (1u << 20)

/* ---- names ---- */

uint64_t
rfl__offset(const struct rfl__segment *segment, uint64_t lsn)
{
    FTK_ASSERT(lsn >= segment->lsn_begin && lsn <= segment->lsn_end);
    return RFL_BLOCK + (lsn - segment->lsn_begin);
}

ftk_status
rfl__name_path(const char *dir, uint64_t number, const char *suffix, char **path_out)
{
    char name[RFL_NAME_DIGITS + 8];

    snprintf(name, sizeof(name), "%016" PRIx64 "%s", number, suffix);
    return ftk_path_join(dir, name, path_out);
}

bool
rfl__name_parse(const char *name, const char *suffix, uint64_t *number_out)
{
    uint64_t number = 0;

    for (int i = 0; i < RFL_NAME_DIGITS; i++) {
        char c = name[i];
        if (c >= '0' && c <= '9')
            number = number << 4 | (uint64_t)(c - '0');
        else if (c >= 'a' && c <= 'f')
            number = number << 4 | (uint64_t)(c - 'a' + 10);
        else
            return false;
    }
    *number_out = number;
    return strcmp(name + RFL_NAME_DIGITS, suffix) == 0;
}

void
rfl__segment_free(struct rfl__segment *segment)
{
    if (segment == NULL)
        return;
    ftk_file_close(segment->file);
    ftk_free(segment->path);
    ftk_free(segment);
}

void
rfl__spare_free(struct rfl__spare *spare)
{
    if (spare == NULL)
        return;
    ftk_free(spare->path);
    ftk_free(spare);
}

/* Does this name still stand for the file that it stood for?  FTK_FOREIGN when it does not. */
static ftk_status
identity_check(const struct rfl_log *log, const char *path, const struct ftk_identity *wanted)
{
    struct ftk_identity found;
    ftk_status rc = ftk_dir_identify(log->home, rfl__file_name(path), &found);

    if (rc == FTK_OK && !ftk_identity_same(&found, wanted))
        rc = FTK_FAIL(FTK_FOREIGN,
                      "%s: another file has taken the place of the log's own; it is not touched",
                      path);
    return rc;
}

ftk_status
rfl__file_open(const struct rfl_log *log, const char *path, unsigned flags,
               const struct ftk_identity *identity, struct ftk_file **file_out)
{
    ftk_status rc = ftk_file_open_in(log->home, rfl__file_name(path), flags, file_out);

    if (rc != FTK_OK || identity == NULL || ftk_identity_same(&(*file_out)->identity, identity))
        return rc;
    ftk_file_close(*file_out);
    *file_out = NULL;
    return FTK_FAIL(FTK_FOREIGN,
                    "%s: another file has taken the place of the log's own; it is not touched",
                    path);
}

ftk_status
rfl__file_remove(const struct rfl_log *log, const char *path, const struct ftk_identity *identity)
{
    ftk_status rc = identity_check(log, path, identity);

    return rc != FTK_OK ? rc : ftk_dir_remove(log->home, rfl__file_name(path));
}

/* The log makes each name once: a file that stands there already is somebody else's. */
static ftk_status
free_check(const struct rfl_log *log, const char *path)
{
    struct ftk_error before = *ftk_error_last();
    struct ftk_identity there;
    ftk_status rc = ftk_dir_identify(log->home, rfl__file_name(path), &there);

    if (rc == FTK_OK)
        return FTK_FAIL(FTK_EXISTS, "%s: a file that is not the log's has this name", path);
    if (rc != FTK_NOTFOUND)
        return rc;
    ftk_error_set(&before);
    return FTK_OK;
}

/*
 * A write or sync that fails is final, also one of a file that has no place in the log yet: the
 * disk is not trusted any more.  A shortage is not: the log does without the file until it is over.
 */
static ftk_status
final(struct rfl_log *log, ftk_status rc)
{
    if (rc == FTK_OK || rc == FTK_NOSPACE || rc == FTK_NOMEM)
        return rc;
    ftk_mutex_lock(&log->mutex);
    rfl__fail(log);
    ftk_mutex_unlock(&log->mutex);
    return rc;
}

/* Everything up to the rename may fail and nothing has happened. */
static ftk_status
move_and_sync(struct rfl_log *log, const char *from, const char *to,
              const struct ftk_identity *identity)
{
    ftk_status rc = identity_check(log, from, identity);

    if (rc == FTK_OK)
        rc = free_check(log, to);
    if (rc == FTK_OK)
        rc = ftk_dir_rename(log->home, rfl__file_name(from), rfl__file_name(to));
    return rc != FTK_OK ? rc : final(log, ftk_dir_sync(log->home));
}

ftk_status
rfl__names_sync(struct rfl_log *log)
{
    ftk_status rc = ftk_dir_sync(log->home);

    return rc != FTK_OK ? rc : ftk_dir_sync_name(log->home);
}

/* ---- load ---- */

struct listing {
    uint64_t *numbers; /* of .rfl files */
    size_t count, capacity;
    struct rfl_log *log;
    uint64_t *others; /* of .spare and .new files: number * 2 + (1 for .new) */
    size_t other_count, other_capacity;
};

static ftk_status
number_push(uint64_t **numbers, size_t *count, size_t *capacity, uint64_t number)
{
    if (*count == *capacity) {
        size_t more = *capacity == 0 ? 64 : *capacity * 2;
        void *memory = *numbers;
        ftk_status rc = ftk_realloc(&memory, more * sizeof(**numbers));
        if (rc != FTK_OK)
            return rc;
        *numbers = memory;
        *capacity = more;
    }
    (*numbers)[(*count)++] = number;
    return FTK_OK;
}

static ftk_status
segment_seen(void *context, const char *name)
{
    uint64_t number;

    if (rfl__name_parse(name, RFL_SEGMENT_SUFFIX, &number))
        *(bool *)context = true;
    return FTK_OK;
}

ftk_status
rfl_is_in(struct ftk_dir *dir, bool *there_out)
{
    *there_out = false;
    return ftk_dir_list(dir, segment_seen, there_out);
}

static ftk_status
list_each(void *context, const char *name)
{
    struct listing *list = context;
    uint64_t number;
    bool spare;

    if (rfl__name_parse(name, RFL_SEGMENT_SUFFIX, &number))
        return number_push(&list->numbers, &list->count, &list->capacity, number);
    spare = rfl__name_parse(name, RFL_SPARE_SUFFIX, &number);
    if (!spare && !rfl__name_parse(name, RFL_NEW_SUFFIX, &number))
        return FTK_OK;
    number &= UINT64_MAX >> 1;
    if (number >= list->log->file_number_next)
        list->log->file_number_next = number + 1;
    return number_push(&list->others, &list->other_count, &list->other_capacity,
                       number * 2 + !spare);
}

/* Keep a spare found in the directory, or remove it when it is of no use. */
static ftk_status
other_load(struct rfl_log *log, uint64_t other)
{
    struct rfl__spare *spare = NULL;
    struct ftk_file *file = NULL;
    bool is_new = other & 1;
    uint64_t size = 0;
    ftk_status rc;

    FTK_TRY(FTK_NEW(&spare));
    FTK_TRY(rfl__name_path(log->dir, other / 2, is_new ? RFL_NEW_SUFFIX : RFL_SPARE_SUFFIX,
                           &spare->path));
    if (!is_new) {
        FTK_TRY(rfl__file_open(log, spare->path, FTK_OPEN_READ_ONLY, NULL, &file));
        spare->identity = file->identity;
        FTK_TRY(ftk_file_size(file, &size));
        ftk_file_close(file);
        file = NULL;
    }
    spare->bytes = RFL_ALIGN_DOWN(size, RFL_BLOCK);
    spare->prewritten = true; /* or taken for it, see rule 4 */
    if (size < RFL_SEGMENT_BYTES_MIN || size > UINT32_MAX ||
        log->spare_count >= log->spare_segments + 1) {
        rc = ftk_dir_remove(log->home, rfl__file_name(spare->path));
        goto out;
    }
    spare->next = log->spares;
    log->spares = spare;
    log->spare_count++;
    spare = NULL;
out:
    ftk_file_close(file);
    rfl__spare_free(spare);
    return rc;
}

static ftk_status
segment_load(struct rfl_log *log, uint64_t number, struct rfl__segment **segment_out)
{
    struct rfl__segment_header header;
    struct rfl__segment *segment = NULL;
    struct ftk_file *file = NULL;
    void *block = NULL;
    uint64_t size;
    ftk_status rc;

    FTK_TRY(FTK_NEW(&segment));
    FTK_TRY(rfl__name_path(log->dir, number, RFL_SEGMENT_SUFFIX, &segment->path));
    FTK_TRY(ftk_alloc_aligned(RFL_BLOCK, RFL_BLOCK, &block));
    FTK_TRY(rfl__file_open(log, segment->path, FTK_OPEN_READ_ONLY, NULL, &file));
    segment->identity = file->identity;
    FTK_TRY(ftk_file_size(file, &size));
    if (size < RFL_BLOCK) {
        rc = FTK_FAIL(FTK_CORRUPT, "%s: %" PRIu64 " bytes are no segment", segment->path, size);
        goto out;
    }
    FTK_TRY(ftk_file_read(file, block, RFL_BLOCK, 0));
    FTK_TRY(rfl__segment_decode(block, RFL_BLOCK, log->identity, segment->path, &header));
    if (header.number != number || header.segment_bytes > size) {
        rc = FTK_FAIL(FTK_CORRUPT,
                      "%s: header says segment %" PRIu64 " of %" PRIu64
                      " bytes, the file has %" PRIu64,
                      segment->path, header.number, header.segment_bytes, size);
        goto out;
    }
    segment->number = number;
    segment->bytes = header.segment_bytes;
    segment->lsn_begin = header.lsn_begin;
    segment->lsn_records = header.lsn_records;
    segment->lsn_end = header.lsn_begin + header.segment_bytes - RFL_BLOCK;
    *segment_out = segment;
    segment = NULL;
out:
    ftk_file_close(file);
    ftk_free(block);
    rfl__segment_free(segment);
    return rc;
}

/*
 * Remove files of segments that lie below a gap that lies below lsn_start: left-overs of removals
 * whose order a crash has changed.  With an archive each removal is durable before the next, so
 * that a gap is somebody else's work, and what is below it may be in no archive: it stays.
 */
static void
leftover_remove(struct rfl_log *log, uint64_t number)
{
    char *path = NULL;

    if (log->read_only || rfl__name_path(log->dir, number, RFL_SEGMENT_SUFFIX, &path) != FTK_OK)
        return;
    if (log->archiving)
        ftk_log(log->messages, FTK_LOG_WARNING,
                "%s: the next segment is missing; this one may not be archived and is kept", path);
    else if (ftk_dir_remove(log->home, rfl__file_name(path)) != FTK_OK)
        ftk_log(log->messages, FTK_LOG_WARNING, "cannot remove the old log segment %s", path);
    ftk_free(path);
}

/* From the newest down, until the first, or a gap that does not matter. */
static ftk_status
chain_load(struct rfl_log *log, const struct listing *list, uint64_t lsn_start)
{
    ftk_status rc = FTK_OK;

    for (size_t i = list->count; i-- > 0;) {
        struct rfl__segment *newer = log->oldest;
        struct rfl__segment *segment = NULL;

        if (newer != NULL && newer->number != list->numbers[i] + 1) {
            if (newer->lsn_begin > lsn_start)
                return FTK_FAIL(FTK_CORRUPT,
                                "%s: log segment %016" PRIx64 RFL_SEGMENT_SUFFIX " is missing",
                                log->dir, newer->number - 1);
            leftover_remove(log, list->numbers[i]);
            continue;
        }
        rc = segment_load(log, list->numbers[i], &segment);
        if (rc != FTK_OK)
            return rc;
        segment->next = newer;
        log->oldest = segment;
        if (newer == NULL)
            log->last = segment;
        else if (newer->lsn_begin != segment->lsn_end || newer->lsn_records != newer->lsn_begin)
            return FTK_FAIL(FTK_CORRUPT,
                            "%s: ends at LSN %" PRIu64 ", the next segment begins at %" PRIu64,
                            segment->path, segment->lsn_end, newer->lsn_records);
    }
    return rc;
}

ftk_status
rfl__segments_load(struct rfl_log *log, uint64_t lsn_start)
{
    struct listing list = {.log = log};
    ftk_status rc;

    log->file_number_next = 1;
    FTK_TRY(ftk_dir_list(log->home, list_each, &list));
    /* What a dead process renamed is not for good yet: rule 5. */
    if (!log->read_only && list.count + list.other_count > 0)
        FTK_TRY(rfl__names_sync(log));
    /* Segments first: in the directory of another database's log nothing is touched. */
    if (list.count > 0) {
        qsort(list.numbers, list.count, sizeof(*list.numbers), ftk_u64_order);
        FTK_TRY(chain_load(log, &list, lsn_start));
    }
    for (size_t i = 0; i < list.other_count && !log->read_only; i++)
        FTK_TRY(other_load(log, list.others[i]));
    if (list.count == 0)
        rc = FTK_FAIL(FTK_NOTFOUND, "%s: holds no log", log->dir);
out:
    ftk_free(list.numbers);
    ftk_free(list.others);
    return rc;
}

/* ---- make ---- */

static ftk_status
prewrite(struct rfl_log *log, struct ftk_file *file, uint64_t bytes)
{
    void *zeros = NULL;
    ftk_status rc;

    FTK_TRY(ftk_alloc_aligned(RFL_BLOCK, PREWRITE_BYTES, &zeros));
    memset(zeros, 0, PREWRITE_BYTES);
    for (uint64_t at = 0; at < bytes; at += PREWRITE_BYTES)
        FTK_TRY(final(
            log, ftk_file_write(file, zeros,
                                bytes - at < PREWRITE_BYTES ? (size_t)(bytes - at) : PREWRITE_BYTES,
                                at)));
    rc = final(log, ftk_file_sync(file));
out:
    ftk_free(zeros);
    return rc;
}

/* A new raw spare of so many bytes; not in any list yet. */
static ftk_status
spare_create(struct rfl_log *log, uint64_t file_number, uint64_t bytes,
             struct rfl__spare **spare_out)
{
    struct rfl__spare *spare = NULL;
    struct ftk_file *file = NULL;
    ftk_status rc;

    FTK_TRY(FTK_NEW(&spare));
    FTK_TRY(rfl__name_path(log->dir, file_number, RFL_NEW_SUFFIX, &spare->path));
    FTK_TRY(rfl__file_open(log, spare->path, FTK_OPEN_CREATE | FTK_OPEN_EXCLUSIVE, NULL, &file));
    spare->identity = file->identity;
    rc = ftk_file_allocate(file, 0, bytes);
    if (rc != FTK_OK) {
        struct ftk_error why = *ftk_error_last();
        (void)rfl__file_remove(log, spare->path, &spare->identity);
        ftk_error_set(&why);
        goto out;
    }
    spare->bytes = bytes;
    *spare_out = spare;
    spare = NULL;
out:
    ftk_file_close(file);
    rfl__spare_free(spare);
    return rc;
}

/* A raw spare becomes a pre-written one; on failure it stays raw. */
static ftk_status
spare_prewrite(struct rfl_log *log, uint64_t file_number, struct rfl__spare *spare)
{
    struct ftk_file *file = NULL;
    char *path = NULL;
    ftk_status rc;

    FTK_TRY(rfl__name_path(log->dir, file_number, RFL_SPARE_SUFFIX, &path));
    FTK_TRY(rfl__file_open(log, spare->path, FTK_OPEN_DIRECT, &spare->identity, &file));
    FTK_TRY(prewrite(log, file, spare->bytes));
    FTK_TRY(move_and_sync(log, spare->path, path, &spare->identity));
    ftk_free(spare->path);
    spare->path = path;
    spare->prewritten = true;
    path = NULL;
out:
    ftk_file_close(file);
    ftk_free(path);
    return rc;
}

/* Header and an empty first record block; see rule 1. */
static ftk_status
header_write(struct rfl_log *log, struct rfl__segment *segment)
{
    struct rfl__segment_header header = {
        .number = segment->number,
        .lsn_begin = segment->lsn_begin,
        .lsn_records = segment->lsn_records,
        .segment_bytes = segment->bytes,
        .created_ns = ftk_clock_wall_ns(),
    };
    void *blocks = NULL;
    ftk_status rc;

    FTK_ASSERT(segment->file != NULL && segment->lsn_begin % RFL_BLOCK == 0);
    memcpy(header.identity, log->identity, sizeof(header.identity));
    FTK_TRY(ftk_alloc_aligned(RFL_BLOCK, (size_t)2 * RFL_BLOCK, &blocks));
    rfl__segment_encode(&header, blocks);
    memset((uint8_t *)blocks + RFL_BLOCK, 0, RFL_BLOCK);
    FTK_TRY(final(log, ftk_file_write(segment->file, blocks, (size_t)2 * RFL_BLOCK, 0)));
    rc = final(log, ftk_file_sync(segment->file));
out:
    ftk_free(blocks);
    return rc;
}

/* The spare becomes segment `number`.  The spare stays the caller's to free in any case. */
static ftk_status
segment_activate(struct rfl_log *log, const struct rfl__spare *spare, uint64_t number,
                 uint64_t lsn_records, struct rfl__segment **segment_out)
{
    struct rfl__segment *segment = NULL;
    ftk_status rc;

    FTK_ASSERT(spare->bytes >= RFL_SEGMENT_BYTES_MIN && lsn_records % 8 == 0 && number != 0);
    FTK_TRY(FTK_NEW(&segment));
    segment->number = number;
    segment->bytes = spare->bytes;
    segment->lsn_begin = RFL_ALIGN_DOWN(lsn_records, RFL_BLOCK);
    segment->lsn_records = lsn_records;
    segment->lsn_end = segment->lsn_begin + spare->bytes - RFL_BLOCK;
    FTK_TRY(rfl__name_path(log->dir, number, RFL_SEGMENT_SUFFIX, &segment->path));
    segment->identity = spare->identity;
    FTK_TRY(rfl__file_open(log, spare->path, 0, &spare->identity, &segment->file));
    FTK_TRY(header_write(log, segment));
    FTK_TRY(move_and_sync(log, spare->path, segment->path, &spare->identity));
    *segment_out = segment;
    segment = NULL;
out:
    rfl__segment_free(segment);
    return rc;
}

static void
spare_push(struct rfl_log *log, struct rfl__spare *spare)
{
    FTK_ASSERT(spare->path != NULL && spare->bytes % RFL_BLOCK == 0);
    spare->next = log->spares;
    log->spares = spare;
    log->spare_count++;
}

/* One of this kind off the list; NULL when there is none. */
static struct rfl__spare *
spare_take(struct rfl_log *log, bool prewritten)
{
    struct rfl__spare **link = &log->spares;
    struct rfl__spare *spare;

    while (*link != NULL && (*link)->prewritten != prewritten)
        link = &(*link)->next;
    spare = *link;
    if (spare != NULL) {
        *link = spare->next;
        log->spare_count--;
    }
    return spare;
}

static uint32_t
spares_prewritten(const struct rfl_log *log)
{
    uint32_t count = 0;

    for (const struct rfl__spare *s = log->spares; s != NULL; s = s->next)
        count += s->prewritten;
    return count;
}

ftk_status
rfl__segment_create_first(struct rfl_log *log, uint64_t number, uint64_t lsn_start)
{
    struct rfl__spare *spare = spare_take(log, true);
    uint64_t bytes = log->segment_bytes;
    ftk_status rc = FTK_OK;

    if (bytes > RFL_SEGMENT_BYTES_FIRST)
        bytes = RFL_SEGMENT_BYTES_FIRST;
    if (spare == NULL) {
        FTK_TRY(spare_create(log, log->file_number_next++, bytes, &spare));
        FTK_TRY(spare_prewrite(log, log->file_number_next++, spare));
    }
    FTK_TRY(segment_activate(log, spare, number, lsn_start, &log->oldest));
    log->last = log->oldest;
out:
    rfl__spare_free(spare);
    return rc;
}

/* ---- prepare ahead ---- */

static struct rfl__segment *
active_segment(const struct rfl_log *log)
{
    return log->buffers[log->active].segment;
}

uint32_t
rfl__segments_ready(const struct rfl_log *log)
{
    uint32_t ready = log->spare_count;

    for (struct rfl__segment *s = active_segment(log)->next; s != NULL; s = s->next)
        ready++;
    return ready;
}

/* Size of a segment made now: each doubles the one before, up to the size asked for. */
static uint64_t
bytes_wanted(const struct rfl_log *log)
{
    uint64_t bytes = active_segment(log)->bytes * 2;

    return bytes < log->segment_bytes ? bytes : log->segment_bytes;
}

/* With the slot `preparing` and the mutex, which is dropped meanwhile: one segment more behind the
 * last, or one raw spare.  Metadata only. */
static ftk_status
prepare_step(struct rfl_log *log, bool activate)
{
    struct rfl__spare *spare = NULL;
    struct rfl__segment *segment = NULL;
    uint64_t number = log->last->number + 1;
    uint64_t lsn_begin = log->last->lsn_end;
    uint64_t file_number = log->file_number_next++;
    uint64_t bytes = bytes_wanted(log);
    ftk_status rc = FTK_OK;

    FTK_ASSERT(log->preparing && log->last->next == NULL);
    if (activate)
        spare = spare_take(log, true);
    if (activate && spare == NULL)
        spare = spare_take(log, false);
    ftk_mutex_unlock(&log->mutex);
    if (spare == NULL)
        rc = spare_create(log, file_number, bytes, &spare);
    if (rc == FTK_OK && activate)
        rc = segment_activate(log, spare, number, lsn_begin, &segment);
    ftk_mutex_lock(&log->mutex);
    FTK_ASSERT(log->preparing && log->last->number + 1 == number); /* nobody else has made one */
    if (segment != NULL) {
        log->stats.segments_raw += !spare->prewritten;
        log->last->next = segment;
        log->last = segment;
        rfl__spare_free(spare);
    } else if (spare != NULL) {
        spare_push(log, spare);
    }
    FTK_DEBUG_ASSERT(rfl__check(log));
    return rc;
}

/* With the slot `prewriting` and the mutex, which is dropped meanwhile: a pre-written spare. */
static ftk_status
prewrite_step(struct rfl_log *log)
{
    struct rfl__spare *spare = spare_take(log, false);
    uint64_t file_number = log->file_number_next;
    uint64_t bytes = bytes_wanted(log);
    ftk_status rc = FTK_OK;

    FTK_ASSERT(log->prewriting);
    log->file_number_next += 2;
    ftk_mutex_unlock(&log->mutex);
    if (spare == NULL)
        rc = spare_create(log, file_number, bytes, &spare);
    if (rc == FTK_OK)
        rc = spare_prewrite(log, file_number + 1, spare);
    ftk_mutex_lock(&log->mutex);
    if (spare != NULL)
        spare_push(log, spare);
    log->stats.prewrites += rc == FTK_OK;
    return rc;
}

/* Has the owner asked for a sync every RFL_PREWRITE_SYNC_BYTES since the segment before began? */
static bool
prewriting_pays(const struct rfl_log *log)
{
    uint64_t syncs = log->syncs_asked + log->syncs_asked_before;

    return syncs > 0 && syncs * RFL_PREWRITE_SYNC_BYTES >= log->lsn_end - log->lsn_syncs_asked;
}

enum step { PREPARED, PREWRITE, ACTIVATE, RAW_SPARE };

/* What rfl__segments_prepare has to do now. */
static enum step
prepare_what(const struct rfl_log *log, uint32_t ready, bool may_prewrite)
{
    const struct rfl__segment *next = active_segment(log)->next;
    bool pays = prewriting_pays(log);

    if (pays && may_prewrite && !log->prewriting && spares_prewritten(log) == 0 &&
        (next == NULL || ready > 1))
        return PREWRITE;
    if (next == NULL || (log->hurry && !pays && ready > 1 && next->next == NULL))
        return ACTIVATE;
    return rfl__segments_ready(log) < ready ? RAW_SPARE : PREPARED;
}

/* One step, with the slot it needs.  A step of another thread counts as one. */
static ftk_status
prepare_one(struct rfl_log *log, enum step step)
{
    ftk_status rc;

    if (step != PREWRITE && log->preparing) {
        ftk_cond_wait(&log->prepared, &log->mutex);
        return FTK_OK;
    }
    if (step == PREWRITE) {
        log->prewriting = true;
        rc = prewrite_step(log);
        log->prewriting = false;
    } else {
        log->preparing = true;
        rc = prepare_step(log, step == ACTIVATE);
        log->preparing = false;
    }
    ftk_cond_broadcast(&log->prepared);
    return rc;
}

ftk_status
rfl__segments_prepare(struct rfl_log *log, uint32_t ready, bool may_prewrite)
{
    ftk_status rc = FTK_OK;
    enum step step;

    while (rc == FTK_OK && !log->failed &&
           (step = prepare_what(log, ready, may_prewrite)) != PREPARED) {
        rc = prepare_one(log, step);
        if (rc == FTK_NOSPACE && log->prewriting) { /* the last space may be just there */
            ftk_cond_wait(&log->prepared, &log->mutex);
            rc = FTK_OK;
        }
    }
    log->no_space = rc == FTK_NOSPACE;
    /* Somebody else has changed the directory under the log: no shortage, and it does not pass. */
    if (rc == FTK_FOREIGN || rc == FTK_EXISTS || rc == FTK_NOTFOUND)
        rfl__fail(log);
    return rc == FTK_OK && log->failed ? rfl__failed(log) : rc;
}

/* ---- leave ---- */

/* The file goes, or has gone: an archive function may have moved it. */
static ftk_status
segment_remove(struct rfl_log *log, const struct rfl__segment *segment)
{
    ftk_status rc = rfl__file_remove(log, segment->path, &segment->identity);

    if (rc == FTK_NOTFOUND)
        rc = FTK_OK;
    if (rc == FTK_OK && log->archiving) /* in order, also after a crash: leftover_remove */
        rc = final(log, ftk_dir_sync(log->home));
    return rc;
}

/* An archive function may have taken a link and died before it said so, and archiving may have been
 * given up since: a file that has another name is not written again. */
static bool
has_one_name(const struct rfl_log *log, const struct rfl__segment *segment)
{
    struct ftk_identity there;

    return ftk_dir_identify(log->home, rfl__file_name(segment->path), &there) == FTK_OK &&
           there.names == 1;
}

ftk_status
rfl__segment_retire(struct rfl_log *log, struct rfl__segment *segment)
{
    struct rfl__spare *spare = NULL, *raw = NULL;
    struct ftk_file *file;
    uint64_t file_number;
    bool keep;
    ftk_status rc = FTK_OK;

    ftk_mutex_lock(&log->mutex);
    FTK_ASSERT(segment->leaving && segment->users == 0 && segment->readers == 0);
    file = segment->file; /* a sync beside looks at it under the mutex (files_finished) */
    segment->file = NULL;
    /* What was archived may be a second name of this very file: it is never written again. */
    keep = !log->archiving && spares_prewritten(log) < log->spare_segments &&
           segment->bytes >= bytes_wanted(log) && segment->bytes <= log->segment_bytes;
    file_number = log->file_number_next++;
    ftk_mutex_unlock(&log->mutex);
    ftk_file_close(file);
    if (!keep || !has_one_name(log, segment)) {
        rc = segment_remove(log, segment);
        goto out;
    }
    FTK_TRY(FTK_NEW(&spare));
    spare->bytes = segment->bytes;
    spare->identity = segment->identity;
    spare->prewritten = true;
    FTK_TRY(rfl__name_path(log->dir, file_number, RFL_SPARE_SUFFIX, &spare->path));
    FTK_TRY(move_and_sync(log, segment->path, spare->path, &segment->identity));
    ftk_mutex_lock(&log->mutex);
    spare_push(log, spare);
    if (log->spare_count > log->spare_segments)
        raw = spare_take(log, false);
    ftk_mutex_unlock(&log->mutex);
    spare = NULL;
    if (raw != NULL) /* the segment has left in any case; the next open tries again */
        (void)rfl__file_remove(log, raw->path, &raw->identity);
out:
    rfl__spare_free(raw);
    rfl__spare_free(spare);
    return rc;
}

void
rfl__spares_raw_remove(struct rfl_log *log)
{
    struct ftk_error first = *ftk_error_last(); /* of a close that failed, say */
    struct rfl__spare *raw;

    while ((raw = spare_take(log, false)) != NULL) {
        (void)rfl__file_remove(log, raw->path, &raw->identity); /* the next open tries again */
        rfl__spare_free(raw);
    }
    ftk_error_set(&first);
}

ftk_status
rfl__segments_cut(struct rfl_log *log, struct rfl__segment *tail)
{
    while (tail->next != NULL) {
        struct rfl__segment *before = tail;
        struct rfl__segment *gone;
        struct rfl__spare *spare = NULL;
        ftk_status rc;

        while (before->next->next != NULL)
            before = before->next;
        gone = before->next;
        rc = FTK_NEW(&spare);
        if (rc == FTK_OK)
            rc = rfl__name_path(log->dir, log->file_number_next++, RFL_SPARE_SUFFIX, &spare->path);
        if (rc == FTK_OK)
            rc = move_and_sync(log, gone->path, spare->path, &gone->identity);
        if (rc != FTK_OK) {
            rfl__spare_free(spare);
            return rc;
        }
        spare->bytes = gone->bytes;
        spare->identity = gone->identity;
        spare->prewritten = true; /* or taken for it, see rule 4 */
        spare_push(log, spare);
        before->next = NULL;
        log->last = before;
        rfl__segment_free(gone);
    }
    return FTK_OK;
}
