/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/rfl_testing.h -- what the tests of the log share: records that can be recognised. */
#ifndef TESTS_UNIT_RFL_TESTING_H
#define TESTS_UNIT_RFL_TESTING_H

#include <stdlib.h>
#include <string.h>

#include "ftk/bytes.h"
#include "rfl/rfl_internal.h"
#include "tests/support/simdisk.h"
#include "tests/support/test.h"

#define TESTING_UNUSED __attribute__((unused))

static const uint8_t testing_identity[16] = "kiln test log 01";

static TESTING_UNUSED struct rfl_options
testing_options(struct ftk_disk *disk, const char *dir)
{
    struct rfl_options options = {
        .disk = disk,
        .dir = dir,
        .segment_bytes = RFL_SEGMENT_BYTES_MIN,
        .buffer_bytes = 1u << 20,
        .spare_segments = 1,
    };

    memcpy(options.identity, testing_identity, sizeof options.identity);
    return options;
}

/* Body of the record `number`: its number, then bytes that follow from it. */
static TESTING_UNUSED void
testing_body(uint64_t number, uint8_t *body, size_t size)
{
    ftk_put_le64(body, number);
    for (size_t i = 8; i < size; i++)
        body[i] = (uint8_t)(number * 31 + i * 7 + (i >> 8));
}

/* The log's invariants hold, now and between any two calls. */
static TESTING_UNUSED void
testing_check_log(struct rfl_log *log)
{
    ftk_mutex_lock(&log->mutex);
    (void)rfl__check(log);
    ftk_mutex_unlock(&log->mutex);
}

/* Append record `number` of size bytes (at least 8) in two parts. */
static TESTING_UNUSED ftk_status
testing_append(struct rfl_log *log, uint64_t number, size_t size, uint64_t *lsn_end_out)
{
    uint8_t *body = malloc(size); /* not shared: a hook of the disk may append in another world */
    struct rfl_part parts[2] = {{body, size / 3}, {body + size / 3, size - size / 3}};
    uint64_t lsn;
    ftk_status rc;

    testing_body(number, body, size);
    rc = rfl_append(log, (uint32_t)(number % 7), (uint8_t)(1 + number % 255), parts, 2, &lsn,
                    lsn_end_out);
    free(body);
    testing_check_log(log);
    return rc;
}

/* The record is a whole one made by testing_append; its number. */
static TESTING_UNUSED bool
testing_check(const struct rfl_record *record, uint64_t *number_out)
{
    static _Thread_local uint8_t body[RFL_BODY_MAX];

    if (record->body_size < 8 || record->body_size > RFL_BODY_MAX)
        return false;
    *number_out = ftk_get_le64(record->body);
    testing_body(*number_out, body, record->body_size);
    return memcmp(body, record->body, record->body_size) == 0 &&
           record->stream == *number_out % 7 && record->kind == 1 + *number_out % 255;
}

/*
 * Read all records from lsn on: they must be whole and numbered first, first + 1 ...  Returns how
 * many there were; SIZE_MAX when one was wrong or the reader failed.
 */
static TESTING_UNUSED size_t
testing_read(struct rfl_log *log, uint64_t lsn, uint64_t first)
{
    struct rfl_reader *reader;
    struct rfl_record record;
    uint64_t number;
    size_t count = 0;
    ftk_status rc = rfl_reader_open(log, lsn, &reader);

    if (rc != FTK_OK)
        return SIZE_MAX;
    while ((rc = rfl_reader_next(reader, &record)) == FTK_OK) {
        if (!testing_check(&record, &number) || number != first + count) {
            count = SIZE_MAX;
            break;
        }
        count++;
    }
    rfl_reader_close(reader);
    testing_check_log(log);
    return rc == FTK_NOTFOUND ? count : SIZE_MAX;
}

#endif
