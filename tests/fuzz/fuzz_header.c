/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/fuzz/fuzz_header.c -- any bytes as the header region and the first map pages of data.kdb.
 *
 * The input goes over the file of a small database: for each piece a byte for the block (four
 * headers, two maps), two for the offset, one for the length, then the bytes.  With bit 7 of the
 * first byte set checksums are put right afterwards, so that the fields behind them are reached.
 * Opening and checking must end with a status.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/db/open.h"
#include "engine/db/txn.h"
#include "ftk/checksum.h"
#include "ftk/random.h"
#include "tests/support/simdisk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PAGE = 4096, BLOCKS = 6 };

static struct simdisk *whole;
static uint64_t salt;
static const uint64_t block_offset[BLOCKS] = {0, 16384, 32768, 49152, 65536, 65536 + PAGE};

static void
must(bool held)
{
    if (!held)
        abort();
}

static void
seed_random(void *context, void *memory, size_t size)
{
    (void)context;
    memset(memory, 'k', size);
}

static ftk_status
open_on(struct simdisk *disk, uint32_t flags, kiln_db **db_out)
{
    struct db_environment environment = {.disk = simdisk_disk(disk), .manual = true};
    kiln_options options = KILN_OPTIONS_INIT;

    options.flags = flags;
    options.rfl_segment_bytes = 2u << 20;
    options.io_depth = 4;
    return db_open("/db", &options, &environment, db_out);
}

static void
make_whole(void)
{
    kiln_db *db = NULL;
    kiln_txn *txn = NULL;
    kiln_coll coll;

    ftk_random_system_use(seed_random, NULL);
    whole = simdisk_new(NULL);
    must(open_on(whole, KILN_CREATE, &db) == FTK_OK);
    for (unsigned i = 0; i < 4; i++) {
        must(kiln_txn_begin(db, KILN_WRITE, &txn) == KILN_OK);
        must(kiln_coll_open(txn, "c", KILN_COLL_CREATE, &coll) == KILN_OK);
        must(kiln_put(txn, coll, &i, sizeof i, "value", 5, 0) == KILN_OK);
        must(kiln_txn_commit(txn) == KILN_OK);
        must(kiln_checkpoint(db) == KILN_OK);
    }
    salt = db->salt;
    must(kiln_close(db) == KILN_OK);
}

static void
mend(struct simdisk *disk, unsigned block)
{
    uint8_t bytes[PAGE];

    must(simdisk_peek(disk, "/db/data.kdb", block_offset[block], bytes, PAGE));
    if (block < 4)
        ftk_put_le64(bytes + HEADER_CHECKSUM, ftk_checksum(bytes, HEADER_CHECKSUM, 0));
    else
        ftk_put_le64(bytes, ftk_checksum(bytes + 8, PAGE - 8, (block_offset[block] / PAGE) ^ salt));
    must(simdisk_poke(disk, "/db/data.kdb", block_offset[block], bytes, PAGE));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct simdisk *disk;
    kiln_db *db = NULL;
    bool mending = size > 0 && (data[0] & 0x80) != 0;

    if (whole == NULL)
        make_whole();
    disk = simdisk_clone(whole, 1);
    while (size >= 5) {
        unsigned block = (data[0] & 0x7f) % BLOCKS;
        unsigned offset = ftk_get_le16(data + 1) % PAGE, length = data[3];
        data += 4;
        size -= 4;
        length = length > size ? (unsigned)size : length;
        length = length > PAGE - offset ? PAGE - offset : length;
        if (length > 0)
            must(simdisk_poke(disk, "/db/data.kdb", block_offset[block] + offset, data, length));
        if (mending)
            mend(disk, block);
        data += length;
        size -= length;
    }
    if (open_on(disk, 0, &db) == FTK_OK) {
        (void)kiln_check(db, NULL);
        db_abandon(db);
    }
    simdisk_free(disk);
    return 0;
}
