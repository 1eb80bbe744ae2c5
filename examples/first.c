/* SPDX-License-Identifier: Apache-2.0 */
#include <kiln.h>
#include <stdio.h>

int
main(void)
{
    kiln_options options = {.size = sizeof(options), .flags = KILN_CREATE};
    kiln_db *db;
    kiln_txn *txn;
    kiln_coll capitals;
    kiln_slice value;

    if (kiln_open("first.db", &options, &db) != KILN_OK ||
        kiln_txn_begin(db, KILN_WRITE, &txn) != KILN_OK ||
        kiln_coll_open(txn, "capitals", KILN_COLL_CREATE, &capitals) != KILN_OK ||
        kiln_put(txn, capitals, "Norway", 6, "Oslo", 4, KILN_PUT_REPLACE) != KILN_OK ||
        kiln_get(txn, capitals, "Norway", 6, &value) != KILN_OK)
        return fprintf(stderr, "%s\n", kiln_error_last()->text), 1;
    printf("%.*s\n", (int)value.size, (const char *)value.data);
    return kiln_txn_commit(txn) != KILN_OK || kiln_close(db) != KILN_OK;
}
