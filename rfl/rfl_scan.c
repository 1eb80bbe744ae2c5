/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rfl/rfl_scan.c -- sequential reading of one segment after the other.
 *
 * 1. A record belongs to the log when its checksum, its LSN and its salt are right: the salt of
 *    the record before, or, for an epoch record, a new one with the old one in its body.  The first
 *    record read has nobody before it and is taken at its word; invariant 4 of README.md makes that
 *    safe.
 * 2. Reads are whole blocks at block offsets; they grow from READ_FIRST to READ_MAX bytes, so that
 *    a short log costs little and a long one is read at the device's pace.
 */
#include <string.h>

#include "ftk/bytes.h"
#include "ftk/mem.h"
#include "rfl/rfl_internal.h"

#define READ_FIRST (64u << 10)
#define READ_MAX (UINT64_C(2) << 20)
#define CAPACITY (4u << 20) /* a record of RFL_BODY_MAX and a read behind it */
/* A hostile file could make every 8 bytes look like the beginning of a large record.  No crash
 * leaves more than a few broken records; after so many bytes of them it is damage. */
#define CLAIMS_WORK_MAX (256u << 20)

ftk_status
rfl__scan_init(struct rfl__scan *scan, const struct rfl_log *log)
{
    void *memory;
    ftk_status rc;

    memset(scan, 0, sizeof(*scan));
    rc = ftk_alloc_aligned(RFL_BLOCK, CAPACITY, &memory);
    if (rc != FTK_OK)
        return rc;
    scan->memory = memory;
    scan->capacity = CAPACITY;
    scan->log = log;
    scan->read_bytes = READ_FIRST;
    scan->lsn_limit = UINT64_MAX;
    return FTK_OK;
}

void
rfl__scan_release(struct rfl__scan *scan)
{
    ftk_file_close(scan->file);
    ftk_free(scan->memory);
    memset(scan, 0, sizeof(*scan));
}

ftk_status
rfl__scan_enter(struct rfl__scan *scan, struct rfl__segment *segment, uint64_t lsn)
{
    struct ftk_file *file;
    ftk_status rc;

    FTK_ASSERT(lsn >= segment->lsn_begin && lsn <= segment->lsn_end);
    rc = rfl__file_open(scan->log, segment->path, FTK_OPEN_READ_ONLY, &segment->identity, &file);
    if (rc != FTK_OK)
        return rc;
    ftk_file_close(scan->file);
    scan->file = file;
    scan->segment = segment;
    scan->lsn = lsn;
    scan->lsn_have = RFL_ALIGN_DOWN(lsn, RFL_BLOCK);
    scan->lsn_have_end = scan->lsn_have;
    return FTK_OK;
}

/*
 * Have [scan->lsn, scan->lsn + need) in memory, or as much of it as the segment and the limit
 * allow.  need: at most RFL_BODY_MAX and headers.
 */
static ftk_status
fill(struct rfl__scan *scan, uint64_t need)
{
    uint64_t base = RFL_ALIGN_DOWN(scan->lsn, RFL_BLOCK);
    uint64_t have = RFL_ALIGN_DOWN(scan->lsn_have_end, RFL_BLOCK);
    uint64_t end = scan->lsn + need;
    uint64_t limit = scan->segment->lsn_end;
    ftk_status rc;

    if (have < base)
        have = base;
    if (have > base)
        memmove(scan->memory, scan->memory + (base - scan->lsn_have), (size_t)(have - base));
    scan->lsn_have = base;
    scan->lsn_have_end = have;
    if (end < have + scan->read_bytes)
        end = have + scan->read_bytes;
    if (scan->read_bytes < READ_MAX)
        scan->read_bytes *= 2;
    if (limit > scan->lsn_limit)
        limit = scan->lsn_limit;
    if (end > limit)
        end = limit;
    end = RFL_ALIGN_UP(end, RFL_BLOCK);
    FTK_ASSERT(end <= base + scan->capacity);
    if (end <= have)
        return FTK_OK;
    rc = ftk_file_read(scan->file, scan->memory + (have - base), (size_t)(end - have),
                       rfl__offset(scan->segment, have));
    if (rc != FTK_OK)
        return rc;
    scan->lsn_have_end = end < limit ? end : limit;
    FTK_ASSERT(scan->lsn_have <= scan->lsn && scan->lsn_have_end - base <= scan->capacity);
    if (end < limit && scan->read_bytes == READ_MAX) /* the next read, while this is worked on */
        ftk_file_hint(scan->file, FTK_HINT_WILLNEED, rfl__offset(scan->segment, end),
                      limit - end < 4 * READ_MAX ? limit - end : 4 * READ_MAX);
    return FTK_OK;
}

static const uint8_t *
at(const struct rfl__scan *scan)
{
    return scan->memory + (scan->lsn - scan->lsn_have);
}

static uint64_t
available(const struct rfl__scan *scan)
{
    return scan->lsn_have_end > scan->lsn ? scan->lsn_have_end - scan->lsn : 0;
}

/* Judge the record at scan->lsn, reading what is needed. */
static ftk_status
judge(struct rfl__scan *scan, enum rfl__verdict *verdict_out, struct rfl__record_header *header_out,
      uint64_t *size_out)
{
    for (;;) {
        ftk_status rc;

        *verdict_out =
            rfl__record_check(at(scan), available(scan), scan->lsn, scan->segment->lsn_end,
                              scan->log->seed, header_out, size_out);
        if (*verdict_out != RFL__MORE)
            return FTK_OK;
        rc = fill(scan, *size_out);
        if (rc != FTK_OK)
            return rc;
        if (available(scan) < *size_out) {
            *verdict_out = RFL__BAD; /* cut off by the limit */
            return FTK_OK;
        }
    }
}

/* Rule 1; moves the salt on. */
static bool
salt_follows(struct rfl__scan *scan, const struct rfl__record_header *header)
{
    uint32_t before = header->salt;

    if (header->flags == RFL_FLAG_EPOCH)
        before = ftk_get_le32(at(scan) + RFL_RECORD_HEADER + RFL_EPOCH_SALT_BEFORE);
    if (scan->salt_known && before != scan->salt)
        return false;
    scan->salt = header->salt;
    scan->salt_known = true;
    return true;
}

ftk_status
rfl__scan_next(struct rfl__scan *scan, enum rfl__verdict *verdict_out,
               struct rfl__record_header *header_out, const uint8_t **body_out)
{
    uint64_t size;
    ftk_status rc;

    if (scan->segment->lsn_end - scan->lsn < RFL_RECORD_HEADER) {
        *verdict_out = RFL__MORE;
        return FTK_OK;
    }
    rc = judge(scan, verdict_out, header_out, &size);
    if (rc != FTK_OK || *verdict_out == RFL__BAD)
        return rc;
    if (!salt_follows(scan, header_out)) {
        *verdict_out = RFL__BAD;
        return FTK_OK;
    }
    *body_out = at(scan) + RFL_RECORD_HEADER;
    scan->closed = header_out->flags == RFL_FLAG_CLOSE;
    scan->filled = header_out->flags == RFL_FLAG_FILLER;
    scan->lsn += size;
    if (header_out->flags == RFL_FLAG_FILLER) { /* its body is not read */
        scan->lsn_have = scan->lsn;
        scan->lsn_have_end = scan->lsn;
    }
    return FTK_OK;
}

ftk_status
rfl__scan_claims(struct rfl__scan *scan, uint64_t lsn_bad, uint64_t bytes_max, bool *damaged_out)
{
    uint64_t end = scan->segment->lsn_end - RFL_RECORD_HEADER;
    uint64_t work = 0;

    *damaged_out = false;
    if (scan->lsn > end)
        return FTK_OK;
    if (bytes_max < end - scan->lsn)
        end = scan->lsn + bytes_max;
    while (scan->lsn <= end) {
        struct rfl__record_header header;
        enum rfl__verdict verdict;
        uint64_t size;
        ftk_status rc;

        if (available(scan) < RFL_RECORD_HEADER) {
            rc = fill(scan, RFL_RECORD_HEADER);
            if (rc != FTK_OK)
                return rc;
        }
        if (ftk_get_le64(at(scan) + RFL_RECORD_LSN) != scan->lsn) {
            scan->lsn += 8;
            continue;
        }
        rc = judge(scan, &verdict, &header, &size);
        if (rc != FTK_OK)
            return rc;
        if (verdict != RFL__GOOD) {
            work += size;
            scan->lsn += 8;
        } else if (header.flags == RFL_FLAG_FILLER) {
            *damaged_out = header.lsn_durable > lsn_bad;
            return FTK_OK;
        } else {
            scan->lsn += size;
        }
        if (work > CLAIMS_WORK_MAX || (verdict == RFL__GOOD && header.lsn_durable > lsn_bad)) {
            *damaged_out = true;
            return FTK_OK;
        }
    }
    return FTK_OK;
}

ftk_status
rfl__scan_blank(struct rfl__scan *scan, bool *blank_out)
{
    uint64_t size = scan->segment->lsn_end - scan->lsn;
    ftk_status rc = FTK_OK;

    *blank_out = true;
    if (size > RFL_RECORD_HEADER)
        size = RFL_RECORD_HEADER;
    if (available(scan) < size)
        rc = fill(scan, size);
    for (uint64_t i = 0; rc == FTK_OK && i < size; i++)
        if (at(scan)[i] != 0)
            *blank_out = false;
    return rc;
}
