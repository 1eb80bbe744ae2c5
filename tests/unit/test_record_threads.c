/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_record_threads.c -- readers share dictionaries while a writer changes them. */
#include <stdatomic.h>
#include <stdio.h>

#include "ftk/thread.h"
#include "tests/support/record_testing.h"

enum { READERS = 3, ROUNDS = 60, PER_ROUND = 20 };

struct reader {
    struct ftk_thread thread;
    kiln_db *db;
    struct people people;
    const _Atomic uint32_t *rounds_done;
    uint64_t passes;
    const char *fault; /* NULL: none; checks belong to the main thread */
};

/* What every snapshot must show: round r has defined field "extra-r" and added PER_ROUND
 * records. */
static const char *
snapshot_fault(struct reader *reader, kiln_txn *txn, kiln_record *record)
{
    uint64_t count, entries;
    char name[32];
    kiln_field field;
    uint32_t rounds;

    if (kiln_container_count(txn, reader->people.container, &count) != KILN_OK ||
        kiln_index_count(txn, reader->people.index, &entries) != KILN_OK)
        return "counts";
    if (count != entries || count % PER_ROUND != 0)
        return "counts differ";
    rounds = (uint32_t)(count / PER_ROUND);
    snprintf(name, sizeof name, "extra-%u", rounds);
    if (rounds > 0 && kiln_field_find(txn, name, &field, NULL) != KILN_OK)
        return "field of this snapshot";
    snprintf(name, sizeof name, "extra-%u", rounds + 1);
    if (kiln_field_find(txn, name, &field, NULL) != KILN_NOTFOUND)
        return "field of a later snapshot";
    if (count > 0 && kiln_record_get(txn, reader->people.container, count, record) != KILN_OK)
        return "last record";
    return NULL;
}

static void
reader_run(void *context)
{
    struct reader *reader = context;
    kiln_record *record = NULL;
    kiln_txn *txn;

    if (kiln_record_new(&record) != KILN_OK)
        reader->fault = "record";
    while (reader->fault == NULL &&
           atomic_load_explicit(reader->rounds_done, memory_order_acquire) < ROUNDS) {
        if (kiln_txn_begin(reader->db, KILN_READ, &txn) != KILN_OK) {
            reader->fault = "begin";
            break;
        }
        reader->fault = snapshot_fault(reader, txn, record);
        kiln_txn_abort(txn);
        reader->passes++;
    }
    kiln_record_free(record);
}

static void
readers_see_the_dictionary_of_their_snapshot(void)
{
    kiln_db *db = records_open();
    kiln_txn *txn = records_begin(db, KILN_WRITE);
    struct people people = people_define(txn);
    static _Atomic uint32_t rounds_done;
    struct reader readers[READERS];
    char name[32];
    kiln_field field;

    atomic_store(&rounds_done, 0);
    OK(kiln_txn_commit(txn));
    memset(readers, 0, sizeof readers);
    for (int i = 0; i < READERS; i++) {
        readers[i].db = db;
        readers[i].people = people;
        readers[i].rounds_done = &rounds_done;
        REQUIRE_OK(ftk_thread_start(&readers[i].thread, "reader", reader_run, &readers[i]));
    }
    for (uint32_t round = 1; round <= ROUNDS; round++) {
        txn = records_begin(db, KILN_WRITE);
        snprintf(name, sizeof name, "extra-%u", round);
        CHECK_OK(kiln_field_define(txn, name, KILN_INT, &field));
        for (int i = 0; i < PER_ROUND; i++)
            person_add(txn, &people, "Ada", "Lovelace", i);
        CHECK_OK(kiln_txn_commit(txn));
        atomic_store_explicit(&rounds_done, round, memory_order_release);
    }
    for (int i = 0; i < READERS; i++) {
        ftk_thread_join(&readers[i].thread);
        CHECK_MSG(readers[i].fault == NULL, "reader %d: %s", i, readers[i].fault);
    }
    records_close(db);
}

TEST_MAIN("record_threads", TEST(readers_see_the_dictionary_of_their_snapshot))
