/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/fuzz/fuzz_rfl_record.c -- any bytes as a segment's header, as a record, and as a whole log.
 *
 * The first byte chooses: 0 the header, 1 a record at an LSN of its own, else the record area of
 * a log that is opened, read to its end, appended to and closed.  So that a mutated record is not
 * always stopped at its checksum, inputs with bit 7 of the first byte set get their checksums put
 * right before.
 */
#include <stdlib.h>
#include <string.h>

#include "ftk/bytes.h"
#include "ftk/checksum.h"
#include "rfl/rfl.h"
#include "rfl/rfl_format.h"
#include "tests/support/simdisk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t identity[16] = "kiln fuzz target";

static void
must(bool held)
{
    if (!held)
        abort();
}

static void
fuzz_header(const uint8_t *data, size_t size, bool mend)
{
    uint8_t block[RFL_BLOCK] = {0}, again[RFL_BLOCK];
    struct rfl__segment_header header;

    (void)rfl__segment_decode(data, size, identity, "fuzz", &header);
    memcpy(block, data, size < RFL_BLOCK ? size : RFL_BLOCK);
    if (mend)
        ftk_put_le64(block + RFL_SEGMENT_CHECKSUM, ftk_checksum(block, RFL_SEGMENT_CHECKSUM, 0));
    if (rfl__segment_decode(block, RFL_SEGMENT_HEADER_USED, NULL, "fuzz", &header) != FTK_OK)
        return;
    rfl__segment_encode(&header, again); /* what is accepted is what a writer makes */
    must(memcmp(block, again, RFL_SEGMENT_HEADER_USED) == 0);
}

/* Right checksum for the record at p, as far as its size makes sense. */
static void
record_mend(uint8_t *p, size_t available)
{
    uint64_t size;

    if (available < RFL_RECORD_HEADER)
        return;
    size = rfl__record_bytes(ftk_get_le32(p + RFL_RECORD_BODY_SIZE));
    if (p[RFL_RECORD_FLAGS] & RFL_FLAG_FILLER)
        size = RFL_RECORD_HEADER;
    if (size <= available)
        ftk_put_le64(p, ftk_checksum(p + 8, (size_t)size - 8, rfl__record_seed(identity)));
}

static void
fuzz_record(const uint8_t *data, size_t size, bool mend)
{
    struct rfl__record_header header;
    uint64_t seed = rfl__record_seed(identity);
    uint64_t lsn, record_bytes, end;
    uint8_t *copy;

    if (size < 8)
        return;
    copy = malloc(size);
    must(copy != NULL);
    memcpy(copy, data, size);
    if (mend)
        record_mend(copy, size);
    lsn = (size >= 16 ? ftk_get_le64(data + 8) : 0) & (UINT64_MAX >> 2) & ~UINT64_C(7);
    end = lsn + ftk_get_le32(data) % (3u << 20);
    switch (rfl__record_check(copy, size, lsn, end, seed, &header, &record_bytes)) {
    case RFL__GOOD:
        must(header.lsn == lsn && header.lsn_durable <= lsn && lsn + record_bytes <= end);
        must(header.body_size <= record_bytes - RFL_RECORD_HEADER);
        break;
    case RFL__MORE: must(record_bytes > size && record_bytes <= RFL_BODY_MAX + 64); break;
    case RFL__BAD: break;
    }
    free(copy);
}

/* Put right all checksums and LSNs of records that follow each other from the beginning. */
static void
area_mend(uint8_t *p, size_t size)
{
    size_t at = 0;

    while (size - at >= RFL_RECORD_HEADER) {
        uint64_t bytes = rfl__record_bytes(ftk_get_le32(p + at + RFL_RECORD_BODY_SIZE));
        ftk_put_le64(p + at + RFL_RECORD_LSN, at);
        record_mend(p + at, size - at);
        if (bytes > size - at)
            break;
        at += bytes;
    }
}

static void
read_and_append(struct rfl_log *log)
{
    struct rfl_reader *reader;
    struct rfl_record record;
    struct rfl_part part = {"fuzz", 4};
    uint64_t lsn, lsn_end;
    ftk_status rc;

    must(rfl_reader_open(log, 0, &reader) == FTK_OK);
    while ((rc = rfl_reader_next(reader, &record)) == FTK_OK)
        must(record.body_size >= 1 && record.body_size <= RFL_BODY_MAX && record.kind != 0);
    must(rc == FTK_NOTFOUND); /* what open accepted can be read */
    rfl_reader_close(reader);
    must(rfl_append(log, 1, 1, &part, 1, &lsn, &lsn_end) == FTK_OK);
    must(rfl_commit(log, lsn_end, RFL_FULL) == FTK_OK);
}

static struct rfl_options
options_on(struct simdisk *disk)
{
    struct rfl_options options = {
        .disk = simdisk_disk(disk),
        .dir = "/log",
        .segment_bytes = RFL_SEGMENT_BYTES_MIN,
        .buffer_bytes = 1u << 20,
    };

    memcpy(options.identity, identity, sizeof identity);
    return options;
}

/* A disk with an empty log, made once and cloned for each input. */
static struct simdisk *
disk_new(void)
{
    static struct simdisk *empty;

    if (empty == NULL) {
        struct rfl_options options;
        struct rfl_log *log;

        empty = simdisk_new(NULL);
        options = options_on(empty);
        must(rfl_open(&options, true, 0, &log) == FTK_OK);
        must(rfl_close(log) == FTK_OK);
    }
    return simdisk_clone(empty, 1);
}

static void
fuzz_log(const uint8_t *data, size_t size, bool mend)
{
    struct simdisk *disk = disk_new();
    struct rfl_options options = options_on(disk);
    struct rfl_log *log;
    uint8_t *area;

    if (size > RFL_SEGMENT_BYTES_MIN - RFL_BLOCK)
        size = RFL_SEGMENT_BYTES_MIN - RFL_BLOCK;
    area = malloc(size + 1);
    must(area != NULL);
    memcpy(area, data, size);
    if (mend)
        area_mend(area, size);
    must(simdisk_poke(disk, "/log/0000000000000001.rfl", RFL_BLOCK, area, size));
    if (rfl_open(&options, false, 0, &log) == FTK_OK) {
        read_and_append(log);
        must(rfl_close(log) == FTK_OK);
    }
    free(area);
    simdisk_free(disk);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bool mend;

    if (size == 0)
        return 0;
    mend = data[0] & 0x80;
    switch (data[0] & 3) {
    case 0: fuzz_header(data + 1, size - 1, mend); break;
    case 1: fuzz_record(data + 1, size - 1, mend); break;
    default: fuzz_log(data + 1, size - 1, mend); break;
    }
    return 0;
}
