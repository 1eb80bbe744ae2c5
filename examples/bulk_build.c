/* SPDX-License-Identifier: Apache-2.0 */
/* examples/bulk_build.c -- sorted input into an empty collection, beside the same by puts. */
#include <kiln.h>
#include <stdio.h>
#include <stdlib.h>

enum { COUNT = 100000 };

static void
must(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "bulk_build: %s: %s\n", what, kiln_error_last()->text);
        exit(1);
    }
}

static size_t
make_key(char key[32], unsigned n)
{
    return (size_t)snprintf(key, 32, "user/%09u/name", n);
}

static void
by_bulk(kiln_txn *txn, kiln_coll coll)
{
    kiln_bulk *bulk;
    char key[32];

    must(kiln_bulk_begin(txn, coll, &bulk) == KILN_OK, "begin"); /* the collection is empty */
    for (unsigned n = 0; n < COUNT; n++)
        must(kiln_bulk_add(bulk, key, make_key(key, n), &n, sizeof(n)) == KILN_OK, "add");
    must(kiln_bulk_add(bulk, "a", 1, "", 0) == KILN_INVALID, "keys must ascend");
    must(kiln_bulk_end(bulk) == KILN_OK, "end");
}

static void
by_puts(kiln_txn *txn, kiln_coll coll)
{
    char key[32];

    for (unsigned i = 0; i < COUNT; i++) {
        unsigned n = (unsigned)((uint64_t)i * 61 % COUNT); /* in another order */
        must(kiln_put(txn, coll, key, make_key(key, n), &n, sizeof(n), KILN_PUT_INSERT) == KILN_OK,
             "put");
    }
}

static uint64_t
pages(kiln_txn *txn, kiln_coll coll, const char *title)
{
    kiln_coll_stat stat = {.size = sizeof(stat)};

    must(kiln_coll_stat_get(txn, coll, &stat) == KILN_OK && stat.keys == COUNT, "shape");
    printf("%s: %llu keys in %llu leaf and %llu inner pages\n", title,
           (unsigned long long)stat.keys, (unsigned long long)stat.leaf_pages,
           (unsigned long long)stat.inner_pages);
    return stat.leaf_pages;
}

int
main(void)
{
    kiln_options options = KILN_OPTIONS_INIT;
    kiln_db *db;
    kiln_txn *txn;
    kiln_coll bulk, puts;

    options.flags = KILN_CREATE;
    must(kiln_open("bulk_build.db", &options, &db) == KILN_OK, "open");
    must(kiln_txn_begin(db, KILN_WRITE, &txn) == KILN_OK, "begin");
    must(kiln_coll_open(txn, "bulk", KILN_COLL_CREATE, &bulk) == KILN_OK, "collection");
    must(kiln_coll_open(txn, "puts", KILN_COLL_CREATE, &puts) == KILN_OK, "collection");
    must(kiln_coll_clear(txn, bulk) == KILN_OK && kiln_coll_clear(txn, puts) == KILN_OK, "clear");
    by_bulk(txn, bulk);
    by_puts(txn, puts);
    must(pages(txn, bulk, "bulk") <= pages(txn, puts, "puts"), "bulk is denser");
    must(kiln_txn_commit(txn) == KILN_OK, "commit");
    must(kiln_check(db, NULL) == KILN_OK, "check");
    must(kiln_close(db) == KILN_OK, "close");
    return 0;
}
