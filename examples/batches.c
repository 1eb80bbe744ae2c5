/* SPDX-License-Identifier: Apache-2.0 */
/* examples/batches.c -- many keys in one call: kiln sorts them and reads missing pages together. */
#include <kiln.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COUNT = 20000, KEY_BYTES = 8 };

static char keys[COUNT][KEY_BYTES + 1];
static kiln_slice key_slices[COUNT], value_slices[COUNT];

static void
must(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "batches: %s: %s\n", what, kiln_error_last()->text);
        exit(1);
    }
}

/* Keys in no order at all; a key's value is its number. */
static void
prepare(void)
{
    for (size_t i = 0; i < COUNT; i++) {
        snprintf(keys[i], sizeof(keys[i]), "%08zu", i * 7919 % COUNT);
        key_slices[i] = (kiln_slice){keys[i], KEY_BYTES};
        value_slices[i] = (kiln_slice){keys[i], KEY_BYTES};
    }
}

struct seen {
    size_t present, absent;
};

/* Called once for every key, in an order that kiln chooses; index tells which key it is. */
static int
each(void *context, size_t index, kiln_slice value)
{
    struct seen *seen = context;

    if (value.data == NULL) {
        seen->absent++;
        return 0;
    }
    seen->present++;
    return value.size != KEY_BYTES || memcmp(value.data, keys[index], KEY_BYTES) != 0;
}

int
main(void)
{
    kiln_options options = KILN_OPTIONS_INIT;
    struct seen seen = {0, 0};
    uint64_t deleted;
    size_t done;
    kiln_db *db;
    kiln_txn *txn;
    kiln_coll coll;

    prepare();
    options.flags = KILN_CREATE;
    must(kiln_open("batches.db", &options, &db) == KILN_OK, "open");
    must(kiln_txn_begin(db, KILN_WRITE, &txn) == KILN_OK, "begin");
    must(kiln_coll_open(txn, "numbers", KILN_COLL_CREATE, &coll) == KILN_OK, "collection");
    must(kiln_coll_clear(txn, coll) == KILN_OK, "clear");

    must(kiln_put_many(txn, coll, key_slices, value_slices, COUNT, KILN_PUT_INSERT, &done) ==
             KILN_OK,
         "put_many");
    must(done == COUNT, "all were put");
    must(kiln_put_many(txn, coll, key_slices, value_slices, 1, KILN_PUT_INSERT, &done) ==
             KILN_EXISTS,
         "a second insert of a key is refused");

    must(kiln_delete_many(txn, coll, key_slices, COUNT / 4, &deleted) == KILN_OK, "delete_many");
    must(deleted == COUNT / 4, "a quarter was deleted");

    must(kiln_get_many(txn, coll, key_slices, COUNT, each, &seen) == KILN_OK, "get_many");
    must(seen.present == COUNT - COUNT / 4 && seen.absent == COUNT / 4, "the rest is there");
    printf("%zu present, %zu absent\n", seen.present, seen.absent);

    must(kiln_txn_commit(txn) == KILN_OK, "commit");
    must(kiln_close(db) == KILN_OK, "close");
    return 0;
}
