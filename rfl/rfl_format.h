/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rfl/rfl_format.h -- every byte of the roll-forward log.  Version 1.  Little-endian, alignment 1.
 *
 * A log is a directory of files of three kinds; <n> is 16 lower-case hexadecimal digits:
 *
 *   <n>.rfl     segment number n, n >= 1, numbers without a gap
 *   <n>.spare   pre-written, content without meaning, waiting to become a segment
 *   <n>.new     the same with its space allocated only, or being pre-written; removed at the next
 *               open
 *
 * A segment: one header block, then the record area.  The LSN space counts record areas only:
 *
 *   [0, 4096)                    header block
 *   [4096, segment_bytes)        records of LSN [lsn_begin, lsn_begin + segment_bytes - 4096)
 *
 * so that LSN L of this segment is at file offset 4096 + (L - lsn_begin), and the next segment's
 * lsn_begin is this one's plus segment_bytes - 4096.  Both are multiples of 4096.
 *
 * Segment header (the rest of the block is zero and not read):
 *
 *   OFFSET SIZE FIELD          MEANING
 *        0    8 magic          "KILNRFL\n"
 *        8    4 version        1
 *       12    4 header_bytes   4096
 *       16   16 identity       of the owner
 *       32    8 number         as in the file's name
 *       40    8 lsn_begin      LSN of the first byte of the record area; multiple of 4096
 *       48    8 lsn_records    LSN of the first record: lsn_begin, or up to 4095 more when the log
 *                              was begun at an LSN that is not a multiple of 4096
 *       56    8 segment_bytes  size of the file used; multiple of 4096
 *       64    8 created_ns     wall clock, for people
 *       72   48 reserved       zero, checked
 *      120    8 checksum       XXH3-64 of bytes [0, 120), seed 0
 *
 * Record: header, body, zero bytes up to a multiple of 8.  LSNs of records are multiples of 8.
 *
 *   OFFSET SIZE FIELD          MEANING
 *        0    8 checksum       XXH3-64 of bytes [8, end of padding); of a filler: [8, 36).
 *                              Seed: the XXH3-64 of the 16 identity bytes, seed 0
 *        8    8 lsn            its own LSN
 *       16    4 durable_delta  (lsn - LSN known durable when this was appended, rounded down to a
 *                              multiple of 8) / 8; 2^32-1: nothing is said
 *       20    4 salt           of the open that appended it
 *       24    4 body_size      kinds 1..255: 1 .. 2^20
 *       28    4 stream         the owner's; kind 0: zero
 *       32    1 kind           1..255 the owner's; 0: internal, says the one flag that is set:
 *       33    1 flags          1 filler: the record reaches to the end of the segment (body_size
 *                                bytes that are not written and have no meaning)
 *                              2 epoch: a new open begins; salt is the new one, the body holds
 *                                the old one
 *                              4 close: the log was closed here; no body
 *       34    2 reserved       zero, checked
 *       36      body
 *
 * Where less than 36 bytes are left in a segment, no filler is needed: the next record is the
 * next segment's first.
 *
 * Epoch body:
 *
 *   OFFSET SIZE FIELD          MEANING
 *        0    4 salt_before    salt of the record before; 0 when there is none
 *        4    4 reserved       zero, checked
 *        8    8 opened_ns      wall clock, for people
 */
#ifndef RFL_RFL_FORMAT_H
#define RFL_RFL_FORMAT_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ftk/status.h"

#define RFL_BLOCK 4096u /* all writes are whole blocks */
#define RFL_FORMAT_VERSION 1u
#define RFL_MAGIC "KILNRFL\n"

#define RFL_SEGMENT_SUFFIX ".rfl"
#define RFL_SPARE_SUFFIX ".spare"
#define RFL_NEW_SUFFIX ".new"
#define RFL_LOCK_NAME "rfl.lock"
#define RFL_NAME_DIGITS 16

/* Segment header, offsets. */
enum {
    RFL_SEGMENT_MAGIC = 0,
    RFL_SEGMENT_VERSION = 8,
    RFL_SEGMENT_HEADER_BYTES = 12,
    RFL_SEGMENT_IDENTITY = 16,
    RFL_SEGMENT_NUMBER = 32,
    RFL_SEGMENT_LSN_BEGIN = 40,
    RFL_SEGMENT_LSN_RECORDS = 48,
    RFL_SEGMENT_SIZE = 56,
    RFL_SEGMENT_CREATED = 64,
    RFL_SEGMENT_RESERVED = 72,
    RFL_SEGMENT_CHECKSUM = 120,
    RFL_SEGMENT_HEADER_USED = 128,
};
static_assert(sizeof(RFL_MAGIC) - 1 == RFL_SEGMENT_VERSION - RFL_SEGMENT_MAGIC, "magic is 8 bytes");
static_assert(RFL_SEGMENT_IDENTITY + 16 == RFL_SEGMENT_NUMBER, "identity is 16 bytes");
static_assert(RFL_SEGMENT_CHECKSUM + 8 == RFL_SEGMENT_HEADER_USED, "checksum is last");
static_assert(RFL_SEGMENT_HEADER_USED <= 512, "the header is within one sector");

/* Record header, offsets. */
enum {
    RFL_RECORD_CHECKSUM = 0,
    RFL_RECORD_LSN = 8,
    RFL_RECORD_DURABLE_DELTA = 16,
    RFL_RECORD_SALT = 20,
    RFL_RECORD_BODY_SIZE = 24,
    RFL_RECORD_STREAM = 28,
    RFL_RECORD_KIND = 32,
    RFL_RECORD_FLAGS = 33,
    RFL_RECORD_RESERVED = 34,
    RFL_RECORD_HEADER = 36, /* the body begins here */
};
static_assert(RFL_RECORD_KIND == RFL_RECORD_STREAM + 4, "fields are packed");
static_assert(RFL_RECORD_HEADER == RFL_RECORD_RESERVED + 2, "fields are packed");

enum { RFL_FLAG_FILLER = 1, RFL_FLAG_EPOCH = 2, RFL_FLAG_CLOSE = 4 };
enum {
    RFL_EPOCH_SALT_BEFORE = 0,
    RFL_EPOCH_RESERVED = 4,
    RFL_EPOCH_OPENED = 8,
    RFL_EPOCH_BODY = 16,
};
static_assert(RFL_EPOCH_OPENED + 8 == RFL_EPOCH_BODY, "fields are packed");

#define RFL_DURABLE_UNKNOWN UINT32_MAX
#define RFL_ALIGN_UP(x, a) (((x) + ((a)-1)) & ~(uint64_t)((a)-1))
#define RFL_ALIGN_DOWN(x, a) ((x) & ~(uint64_t)((a)-1))

/* Bytes that a record with this body takes in the log. */
static inline uint64_t
rfl__record_bytes(uint64_t body_size)
{
    return RFL_ALIGN_UP(RFL_RECORD_HEADER + body_size, 8u);
}

/* ---- in memory ---- */

struct rfl__segment_header {
    uint8_t identity[16];
    uint64_t number;
    uint64_t lsn_begin;
    uint64_t lsn_records;
    uint64_t segment_bytes;
    uint64_t created_ns;
};

struct rfl__record_header {
    uint64_t lsn;
    uint64_t lsn_durable; /* 0 when nothing is said */
    uint32_t salt;
    uint32_t body_size;
    uint32_t stream;
    uint8_t kind;
    uint8_t flags;
};

/* Fill block[RFL_BLOCK]. */
void rfl__segment_encode(const struct rfl__segment_header *header, uint8_t *block);

/*
 * Decode a segment's header.  identity NULL: any.
 * errors: FTK_CORRUPT, FTK_VERSION, FTK_FOREIGN (not a segment at all, or of another identity).
 */
ftk_status rfl__segment_decode(const uint8_t *bytes, size_t size, const uint8_t *identity,
                               const char *path, struct rfl__segment_header *header_out);

uint64_t rfl__record_seed(const uint8_t identity[16]);

/* Write header, padding and checksum around the body already at p + RFL_RECORD_HEADER. */
void rfl__record_seal(const struct rfl__record_header *header, uint64_t seed, uint8_t *p);

enum rfl__verdict {
    RFL__GOOD, /* a whole valid record of this LSN */
    RFL__MORE, /* its header is plausible, size_out bytes of it are needed to tell */
    RFL__BAD,  /* no record of this LSN */
};

/*
 * Judge the bytes p[0, available) as the record of LSN `lsn` in a segment that ends at
 * lsn_segment_end.  size_out: bytes of the log it takes, for a filler up to the segment's end (of
 * which only the header is needed).
 */
enum rfl__verdict rfl__record_check(const uint8_t *p, uint64_t available, uint64_t lsn,
                                    uint64_t lsn_segment_end, uint64_t seed,
                                    struct rfl__record_header *header_out, uint64_t *size_out);

#endif
