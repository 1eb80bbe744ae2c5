/* SPDX-License-Identifier: Apache-2.0 */
/* examples/large_values.c -- a value of 40 MB, written and read in pieces; small ones beside it. */
#include <kiln.h>
#include <stdio.h>
#include <stdlib.h>

enum { VALUE_BYTES = 40000000, PIECE_BYTES = 1 << 20 };

static void
must(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "large_values: %s: %s\n", what, kiln_error_last()->text);
        exit(1);
    }
}

/* The bytes of the value, made as they are asked for. */
struct source {
    uint64_t at;
    uint64_t fail_at; /* give up here; 0: never */
};

static unsigned char
byte_at(uint64_t at)
{
    return (unsigned char)(at * 2654435761u >> 24);
}

static int
source_read(void *context, void *buffer, size_t buffer_size)
{
    struct source *source = context;
    unsigned char *to = buffer;

    if (source->fail_at != 0 && source->at >= source->fail_at)
        return 1;
    for (size_t i = 0; i < buffer_size; i++)
        to[i] = byte_at(source->at++);
    return 0;
}

static void
write_value(kiln_db *db, kiln_coll coll)
{
    struct source source = {0, 0}, broken = {0, VALUE_BYTES / 2};
    kiln_txn *txn;

    must(kiln_txn_begin(db, KILN_WRITE, &txn) == KILN_OK, "begin");
    must(kiln_value_write(txn, coll, "film", 4, VALUE_BYTES, source_read, &source) == KILN_OK,
         "write");
    must(kiln_value_write(txn, coll, "film", 4, VALUE_BYTES, source_read, &broken) == KILN_CANCELED,
         "a source that gives up: the film stays as it was");
    must(kiln_txn_commit(txn) == KILN_OK, "commit");
}

static void
read_value(kiln_txn *txn, kiln_coll coll)
{
    static unsigned char piece[PIECE_BYTES];
    uint64_t size, at = 0;
    kiln_slice value;
    size_t count;

    must(kiln_get(txn, coll, "film", 4, &value) == KILN_TOOBIG, "too large to be borrowed");
    must(kiln_value_size(txn, coll, "film", 4, &size) == KILN_OK && size == VALUE_BYTES, "size");
    while (at < size) {
        must(kiln_value_read(txn, coll, "film", 4, at, piece, sizeof(piece), &count) == KILN_OK,
             "read");
        must(count > 0, "something was read");
        for (size_t i = 0; i < count; i++)
            must(piece[i] == byte_at(at + i), "bytes are those written");
        at += count;
    }
    must(kiln_value_read(txn, coll, "film", 4, size, piece, sizeof(piece), &count) == KILN_OK &&
             count == 0,
         "nothing behind the end");
    printf("%llu bytes\n", (unsigned long long)at);
}

int
main(void)
{
    kiln_options options = KILN_OPTIONS_INIT;
    kiln_db *db;
    kiln_txn *txn;
    kiln_coll coll;

    options.flags = KILN_CREATE;
    must(kiln_open("large_values.db", &options, &db) == KILN_OK, "open");
    must(kiln_txn_begin(db, KILN_WRITE, &txn) == KILN_OK, "begin");
    must(kiln_coll_open(txn, "films", KILN_COLL_CREATE, &coll) == KILN_OK, "collection");
    must(kiln_txn_commit(txn) == KILN_OK, "commit");
    write_value(db, coll);
    must(kiln_txn_begin(db, KILN_READ, &txn) == KILN_OK, "begin");
    read_value(txn, coll);
    kiln_txn_abort(txn);
    must(kiln_check(db, NULL) == KILN_OK, "check");
    must(kiln_close(db) == KILN_OK, "close");
    return 0;
}
