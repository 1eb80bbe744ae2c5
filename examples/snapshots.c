/* SPDX-License-Identifier: Apache-2.0 */
/* examples/snapshots.c -- what a reader sees while others write; savepoints. */
#include <kiln.h>
#include <stdio.h>
#include <stdlib.h>

static void
must(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "snapshots: %s: %s\n", what, kiln_error_last()->text);
        exit(1);
    }
}

/* The value of "balance" is one character. */
static void
set(kiln_txn *txn, kiln_coll coll, char value)
{
    must(kiln_put(txn, coll, "balance", 7, &value, 1, KILN_PUT_REPLACE) == KILN_OK, "put");
}

static char
get(kiln_txn *txn, kiln_coll coll)
{
    kiln_slice value;

    must(kiln_get(txn, coll, "balance", 7, &value) == KILN_OK && value.size == 1, "get");
    return *(const char *)value.data;
}

/* A reader keeps the state that it began with, whatever is committed meanwhile. */
static void
isolation(kiln_db *db, kiln_coll coll)
{
    kiln_txn *reader, *writer;

    must(kiln_txn_begin(db, KILN_READ, &reader) == KILN_OK, "begin reader");
    must(get(reader, coll) == '1', "reader sees 1");

    must(kiln_txn_begin(db, KILN_WRITE, &writer) == KILN_OK, "begin writer");
    set(writer, coll, '2');
    must(get(writer, coll) == '2', "the writer sees its own change");
    must(get(reader, coll) == '1', "the reader does not");
    must(kiln_txn_commit(writer) == KILN_OK, "commit");
    must(get(reader, coll) == '1', "not after the commit either");

    must(kiln_txn_renew(reader) == KILN_OK, "renew");
    must(get(reader, coll) == '2', "but when it moves on");
    kiln_txn_abort(reader);
}

/* Savepoints nest; rollback drops what came after the newest one, release keeps it. */
static void
savepoints(kiln_db *db, kiln_coll coll)
{
    kiln_txn *txn;

    must(kiln_txn_begin(db, KILN_WRITE, &txn) == KILN_OK, "begin");
    set(txn, coll, '3');
    must(kiln_savepoint(txn) == KILN_OK, "outer savepoint");
    set(txn, coll, '4');
    must(kiln_savepoint(txn) == KILN_OK, "inner savepoint");
    set(txn, coll, '5');
    must(kiln_savepoint_release(txn) == KILN_OK, "keep 5");
    must(get(txn, coll) == '5', "5 was kept");
    must(kiln_savepoint_rollback(txn) == KILN_OK, "drop 4 and 5");
    must(get(txn, coll) == '3', "3 is left");
    must(kiln_txn_commit(txn) == KILN_OK, "commit");
}

/* There is one writer at a time; who will not wait is told so. */
static void
one_writer(kiln_db *db, kiln_coll coll)
{
    kiln_txn_options options = KILN_TXN_OPTIONS_INIT;
    kiln_txn *first, *second, *reader;

    must(kiln_txn_begin(db, KILN_WRITE, &first) == KILN_OK, "begin");
    options.kind = KILN_WRITE;
    options.timeout_ms = 0;
    must(kiln_txn_begin_with(db, &options, &second) == KILN_TIMEOUT, "the second does not wait");
    set(first, coll, '9');
    kiln_txn_abort(first);
    must(kiln_txn_begin(db, KILN_READ, &reader) == KILN_OK, "begin reader");
    must(get(reader, coll) == '3', "an abort leaves nothing behind");
    kiln_txn_abort(reader);
}

int
main(void)
{
    kiln_options options = KILN_OPTIONS_INIT;
    kiln_db *db;
    kiln_txn *txn;
    kiln_coll coll;

    options.flags = KILN_CREATE;
    must(kiln_open("snapshots.db", &options, &db) == KILN_OK, "open");
    must(kiln_txn_begin(db, KILN_WRITE, &txn) == KILN_OK, "begin");
    must(kiln_coll_open(txn, "account", KILN_COLL_CREATE, &coll) == KILN_OK, "collection");
    set(txn, coll, '1');
    must(kiln_txn_commit(txn) == KILN_OK, "commit");
    isolation(db, coll);
    savepoints(db, coll);
    one_writer(db, coll);
    must(kiln_close(db) == KILN_OK, "close");
    puts("ok");
    return 0;
}
