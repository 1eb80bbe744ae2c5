/* SPDX-License-Identifier: Apache-2.0 */
/* examples/cursors.c -- ranges, prefixes, both directions, deleting while walking. */
#include <kiln.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void
must(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "cursors: %s: %s\n", what, kiln_error_last()->text);
        exit(1);
    }
}

static void
fill(kiln_txn *txn, kiln_coll coll)
{
    static const char *const keys[] = {"2024-01-31 rent", "2024-02-03 bread", "2024-02-17 shoes",
                                       "2024-02-29 rent", "2024-03-01 bread", "2025-02-01 skis"};
    static const char *const values[] = {"900", "3", "80", "900", "3", "400"};

    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        must(kiln_put(txn, coll, keys[i], strlen(keys[i]), values[i], strlen(values[i]),
                      KILN_PUT_REPLACE) == KILN_OK,
             "put");
}

/* Walk from the cursor's first item to its last; returns how many there are. */
static int
walk(kiln_cursor *cursor, const char *title)
{
    kiln_slice key, value;
    kiln_status status;
    int count = 0;

    printf("%s\n", title);
    for (status = kiln_cursor_first(cursor); status == KILN_OK; status = kiln_cursor_next(cursor)) {
        must(kiln_cursor_item(cursor, &key, &value) == KILN_OK, "item");
        printf("  %.*s = %.*s\n", (int)key.size, (const char *)key.data, (int)value.size,
               (const char *)value.data);
        count++;
    }
    must(status == KILN_NOTFOUND, "walk"); /* the end; anything else is an error */
    return count;
}

static void
look(kiln_txn *txn, kiln_coll coll)
{
    kiln_slice low = {"2024-02-10", 10}, high = {"2024-03-01 bread", 16}, key;
    kiln_cursor *cursor;

    must(kiln_cursor_open(txn, coll, 0, &cursor) == KILN_OK, "open");
    must(walk(cursor, "everything") == 6, "six items");
    must(kiln_cursor_prefix(cursor, "2024-02", 7) == KILN_OK, "prefix");
    must(walk(cursor, "February 2024") == 3, "three items");
    must(kiln_cursor_bounds(cursor, low, high) == KILN_OK, "bounds");
    must(walk(cursor, "from low up to, not including, high") == 2, "two items");

    must(kiln_cursor_bounds(cursor, (kiln_slice){NULL, 0}, (kiln_slice){NULL, 0}) == KILN_OK,
         "no bounds");
    must(kiln_cursor_seek_before(cursor, "2024-12-31", 10) == KILN_OK, "seek before");
    must(kiln_cursor_item(cursor, &key, NULL) == KILN_OK, "item");
    must(key.size == 16 && memcmp(key.data, "2024-03-01 bread", 16) == 0, "last of 2024");
    must(kiln_cursor_prev(cursor) == KILN_OK, "previous");
    must(kiln_cursor_item(cursor, &key, NULL) == KILN_OK, "item");
    must(memcmp(key.data, "2024-02-29 rent", 15) == 0, "the one before");
    kiln_cursor_close(cursor);
}

static void
delete_rents(kiln_txn *txn, kiln_coll coll)
{
    kiln_cursor *cursor;
    kiln_slice key;
    uint64_t count;

    must(kiln_cursor_open(txn, coll, 0, &cursor) == KILN_OK, "open");
    while (kiln_cursor_next(cursor) == KILN_OK) { /* from no position: the first */
        must(kiln_cursor_item(cursor, &key, NULL) == KILN_OK, "item");
        if (memcmp((const char *)key.data + 11, "rent", 4) == 0)
            must(kiln_cursor_delete(cursor) == KILN_OK, "delete"); /* next gives the one after */
    }
    must(walk(cursor, "without rents") == 4, "four items");
    kiln_cursor_close(cursor);
    must(kiln_coll_count(txn, coll, &count) == KILN_OK && count == 4, "count");
}

int
main(void)
{
    kiln_options options = KILN_OPTIONS_INIT;
    kiln_db *db;
    kiln_txn *txn;
    kiln_coll coll;

    options.flags = KILN_CREATE;
    must(kiln_open("cursors.db", &options, &db) == KILN_OK, "open");
    must(kiln_txn_begin(db, KILN_WRITE, &txn) == KILN_OK, "begin");
    must(kiln_coll_open(txn, "spending", KILN_COLL_CREATE, &coll) == KILN_OK, "collection");
    must(kiln_coll_clear(txn, coll) == KILN_OK, "clear");
    fill(txn, coll);
    look(txn, coll);
    delete_rents(txn, coll);
    must(kiln_txn_commit(txn) == KILN_OK, "commit");
    must(kiln_close(db) == KILN_OK, "close");
    return 0;
}
