/* SPDX-License-Identifier: Apache-2.0 */
/* rfl/rfl_format.c -- encode and decode segment headers and records.  Bytes: rfl/rfl_format.h. */
#include "rfl/rfl_format.h"

#include <string.h>

#include "ftk/bytes.h"
#include "ftk/checksum.h"
#include "rfl/rfl.h"

/* The fields make sense together; what was checked is what a writer makes. */
static bool
segment_sane(const struct rfl__segment_header *header)
{
    uint64_t payload = header->segment_bytes - RFL_BLOCK;

    return header->number != 0 && header->segment_bytes >= RFL_SEGMENT_BYTES_MIN &&
           header->segment_bytes <= UINT32_MAX && header->segment_bytes % RFL_BLOCK == 0 &&
           header->lsn_begin % RFL_BLOCK == 0 && header->lsn_begin <= INT64_MAX - payload &&
           header->lsn_records % 8 == 0 && header->lsn_records >= header->lsn_begin &&
           header->lsn_records - header->lsn_begin < RFL_BLOCK;
}

void
rfl__segment_encode(const struct rfl__segment_header *header, uint8_t *block)
{
    FTK_ASSERT(segment_sane(header)); /* what is written is what a reader takes */
    memset(block, 0, RFL_BLOCK);
    memcpy(block + RFL_SEGMENT_MAGIC, RFL_MAGIC, sizeof(RFL_MAGIC) - 1);
    ftk_put_le32(block + RFL_SEGMENT_VERSION, RFL_FORMAT_VERSION);
    ftk_put_le32(block + RFL_SEGMENT_HEADER_BYTES, RFL_BLOCK);
    memcpy(block + RFL_SEGMENT_IDENTITY, header->identity, sizeof(header->identity));
    ftk_put_le64(block + RFL_SEGMENT_NUMBER, header->number);
    ftk_put_le64(block + RFL_SEGMENT_LSN_BEGIN, header->lsn_begin);
    ftk_put_le64(block + RFL_SEGMENT_LSN_RECORDS, header->lsn_records);
    ftk_put_le64(block + RFL_SEGMENT_SIZE, header->segment_bytes);
    ftk_put_le64(block + RFL_SEGMENT_CREATED, header->created_ns);
    ftk_put_le64(block + RFL_SEGMENT_CHECKSUM, ftk_checksum(block, RFL_SEGMENT_CHECKSUM, 0));
}

static bool
all_zero(const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != 0)
            return false;
    return true;
}

ftk_status
rfl__segment_decode(const uint8_t *bytes, size_t size, const uint8_t *identity, const char *path,
                    struct rfl__segment_header *header_out)
{
    struct rfl__segment_header header;
    uint32_t version;

    memset(header_out, 0, sizeof(*header_out));
    if (size < RFL_SEGMENT_HEADER_USED)
        return FTK_FAIL(FTK_CORRUPT, "%s: %zu bytes are no segment header", path, size);
    if (all_zero(bytes, RFL_SEGMENT_HEADER_USED))
        return FTK_FAIL(FTK_CORRUPT, "%s: the segment header is blank", path);
    if (memcmp(bytes + RFL_SEGMENT_MAGIC, RFL_MAGIC, sizeof(RFL_MAGIC) - 1) != 0)
        return FTK_FAIL(FTK_FOREIGN, "%s: not a log segment", path);
    version = ftk_get_le32(bytes + RFL_SEGMENT_VERSION);
    if (version > RFL_FORMAT_VERSION)
        return FTK_FAIL(FTK_VERSION, "%s: log format %u, newer than %u", path, version,
                        RFL_FORMAT_VERSION);
    if (ftk_get_le64(bytes + RFL_SEGMENT_CHECKSUM) != ftk_checksum(bytes, RFL_SEGMENT_CHECKSUM, 0))
        return FTK_FAIL(FTK_CORRUPT, "%s: the segment header fails its checksum", path);
    memcpy(header.identity, bytes + RFL_SEGMENT_IDENTITY, sizeof(header.identity));
    if (identity != NULL && memcmp(header.identity, identity, sizeof(header.identity)) != 0)
        return FTK_FAIL(FTK_FOREIGN, "%s: the segment belongs to another database", path);
    header.number = ftk_get_le64(bytes + RFL_SEGMENT_NUMBER);
    header.lsn_begin = ftk_get_le64(bytes + RFL_SEGMENT_LSN_BEGIN);
    header.lsn_records = ftk_get_le64(bytes + RFL_SEGMENT_LSN_RECORDS);
    header.segment_bytes = ftk_get_le64(bytes + RFL_SEGMENT_SIZE);
    header.created_ns = ftk_get_le64(bytes + RFL_SEGMENT_CREATED);
    if (version != RFL_FORMAT_VERSION ||
        ftk_get_le32(bytes + RFL_SEGMENT_HEADER_BYTES) != RFL_BLOCK || !segment_sane(&header) ||
        !all_zero(bytes + RFL_SEGMENT_RESERVED, RFL_SEGMENT_CHECKSUM - RFL_SEGMENT_RESERVED))
        return FTK_FAIL(FTK_CORRUPT, "%s: the segment header holds impossible values", path);
    *header_out = header;
    return FTK_OK;
}

uint64_t
rfl__record_seed(const uint8_t identity[16])
{
    return ftk_checksum(identity, 16, 0);
}

static uint64_t
record_checksum(const uint8_t *p, uint8_t flags, uint64_t size, uint64_t seed)
{
    size_t end = flags & RFL_FLAG_FILLER ? RFL_RECORD_HEADER : (size_t)size;

    return ftk_checksum(p + RFL_RECORD_LSN, end - RFL_RECORD_LSN, seed);
}

void
rfl__record_seal(const struct rfl__record_header *header, uint64_t seed, uint8_t *p)
{
    uint64_t delta = (header->lsn - RFL_ALIGN_DOWN(header->lsn_durable, 8u)) / 8;
    uint64_t end = RFL_RECORD_HEADER + (uint64_t)header->body_size;
    uint64_t size = rfl__record_bytes(header->body_size);

    FTK_ASSERT(header->lsn % 8 == 0 && header->lsn_durable <= header->lsn);
    FTK_ASSERT((header->kind == 0) == (header->flags != 0)); /* the owner's, or one of ours */
    ftk_put_le64(p + RFL_RECORD_LSN, header->lsn);
    ftk_put_le32(p + RFL_RECORD_DURABLE_DELTA,
                 delta < RFL_DURABLE_UNKNOWN ? (uint32_t)delta : RFL_DURABLE_UNKNOWN);
    ftk_put_le32(p + RFL_RECORD_SALT, header->salt);
    ftk_put_le32(p + RFL_RECORD_BODY_SIZE, header->body_size);
    ftk_put_le32(p + RFL_RECORD_STREAM, header->stream);
    p[RFL_RECORD_KIND] = header->kind;
    p[RFL_RECORD_FLAGS] = header->flags;
    p[RFL_RECORD_RESERVED] = 0;
    p[RFL_RECORD_RESERVED + 1] = 0;
    if (!(header->flags & RFL_FLAG_FILLER))
        memset(p + end, 0, (size_t)(size - end));
    ftk_put_le64(p + RFL_RECORD_CHECKSUM, record_checksum(p, header->flags, size, seed));
}

/* The shapes that a writer makes, and no other. */
static bool
record_sane(const struct rfl__record_header *header, uint64_t size, uint64_t room)
{
    if (header->kind != 0)
        return header->flags == 0 && header->body_size >= 1 && header->body_size <= RFL_BODY_MAX &&
               size <= room;
    if (header->stream != 0)
        return false;
    switch (header->flags) {
    case RFL_FLAG_FILLER: return size == room;
    case RFL_FLAG_EPOCH: return header->body_size == RFL_EPOCH_BODY && size <= room;
    case RFL_FLAG_CLOSE: return header->body_size == 0 && size <= room;
    default: return false;
    }
}

enum rfl__verdict
rfl__record_check(const uint8_t *p, uint64_t available, uint64_t lsn, uint64_t lsn_segment_end,
                  uint64_t seed, struct rfl__record_header *header_out, uint64_t *size_out)
{
    struct rfl__record_header header;
    uint64_t room = lsn_segment_end - lsn;
    uint64_t size, delta;

    *size_out = RFL_RECORD_HEADER;
    if (room < RFL_RECORD_HEADER)
        return RFL__BAD;
    if (available < RFL_RECORD_HEADER)
        return RFL__MORE;
    header.lsn = ftk_get_le64(p + RFL_RECORD_LSN);
    delta = ftk_get_le32(p + RFL_RECORD_DURABLE_DELTA);
    header.salt = ftk_get_le32(p + RFL_RECORD_SALT);
    header.body_size = ftk_get_le32(p + RFL_RECORD_BODY_SIZE);
    header.stream = ftk_get_le32(p + RFL_RECORD_STREAM);
    header.kind = p[RFL_RECORD_KIND];
    header.flags = p[RFL_RECORD_FLAGS];
    header.lsn_durable = 0;
    size = rfl__record_bytes(header.body_size);
    if (header.lsn != lsn || !record_sane(&header, size, room) || p[RFL_RECORD_RESERVED] != 0 ||
        p[RFL_RECORD_RESERVED + 1] != 0)
        return RFL__BAD;
    if (delta != RFL_DURABLE_UNKNOWN) {
        if (delta > lsn / 8)
            return RFL__BAD;
        header.lsn_durable = lsn - delta * 8;
    }
    *size_out = size;
    if (available < size && !(header.flags & RFL_FLAG_FILLER))
        return RFL__MORE;
    if (ftk_get_le64(p) != record_checksum(p, header.flags, size, seed))
        return RFL__BAD;
    if (header.flags == RFL_FLAG_EPOCH &&
        ftk_get_le32(p + RFL_RECORD_HEADER + RFL_EPOCH_RESERVED) != 0)
        return RFL__BAD;
    *header_out = header;
    return RFL__GOOD;
}
