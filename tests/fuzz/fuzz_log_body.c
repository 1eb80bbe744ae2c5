/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/fuzz/fuzz_log_body.c -- any bytes as the operations of a transaction in the log.
 *
 * The records are whole (right checksums), what they say is anything.  The input is cut into
 * records by its length bytes; recovery must end with a status, and a database that it opens is
 * sound.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/db/open.h"
#include "engine/db/txn.h"
#include "engine/page/page_format.h"
#include "tests/support/simdisk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct simdisk *whole;
static struct rfl_options log_options;
static uint64_t lsn_start;

static void
must(bool held)
{
    if (!held)
        abort();
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

    whole = simdisk_new(NULL);
    must(open_on(whole, KILN_CREATE, &db) == FTK_OK);
    must(kiln_txn_begin(db, KILN_WRITE, &txn) == KILN_OK);
    for (unsigned c = 0; c < 2; c++) {
        must(kiln_coll_open(txn, c == 0 ? "a" : "b", KILN_COLL_CREATE, &coll) == KILN_OK);
        for (unsigned i = 0; i < 300; i++) {
            uint8_t key[2] = {(uint8_t)('a' + i % 26), (uint8_t)i};
            must(kiln_put(txn, coll, key, 2, "some value", 10, 0) == KILN_OK);
        }
    }
    must(kiln_txn_commit(txn) == KILN_OK);
    must(kiln_checkpoint(db) == KILN_OK);
    log_options = (struct rfl_options){.dir = "/db/rfl", .segment_bytes = 2u << 20};
    memcpy(log_options.identity, db->identity, sizeof log_options.identity);
    lsn_start = atomic_load(&db->durable_lsn);
    must(kiln_close(db) == KILN_OK);
}

/* Two bytes of length, one of kind and transaction number, the operations. */
static void
write_log(struct simdisk *disk, const uint8_t *data, size_t size)
{
    struct rfl_log *log = NULL;
    uint64_t lsn, lsn_end;

    log_options.disk = simdisk_disk(disk);
    must(rfl_open(&log_options, false, lsn_start, &log) == FTK_OK);
    while (size >= 3) {
        size_t length = ftk_get_le16(data);
        uint8_t number = (uint8_t)(10 + (data[2] >> 1) % 8);
        uint8_t kind = data[2] & 1 ? LOG_COMMIT : LOG_FRAGMENT;
        data += 3;
        size -= 3;
        length = length > size ? size : length;
        struct rfl_part parts[2] = {{&number, 1}, {data, length}};
        must(rfl_append(log, 0, kind, parts, length > 0 ? 2 : 1, &lsn, &lsn_end) == FTK_OK);
        data += length;
        size -= length;
    }
    must(rfl_close(log) == FTK_OK);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct simdisk *disk;
    kiln_db *db = NULL;

    if (whole == NULL)
        make_whole();
    disk = simdisk_clone(whole, 1);
    write_log(disk, data, size);
    if (open_on(disk, 0, &db) == FTK_OK) {
        must(kiln_check(db, NULL) == KILN_OK);
        must(kiln_close(db) == KILN_OK);
    }
    simdisk_free(disk);
    return 0;
}
