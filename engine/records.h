/*
 * engine/records.h -- what the records part offers to the transactions below it.
 *
 * Records are built on collections (kiln_get, kiln_put_many ...).  A transaction keeps a slot for
 * the state of its records; the state is made at the first use of a record, field, container or
 * index.
 */
#ifndef ENGINE_RECORDS_H
#define ENGINE_RECORDS_H

#include "engine/status_map.h"
#include "ftk/status.h"
#include "kiln.h"

struct db_extension;
extern const struct db_extension records_extension;

struct records_txn; /* what a transaction has gathered, and its dictionary */

/*
 * Provided by engine/txn.h:
 *   struct records_txn **txn_records(kiln_txn *txn);  the slot of a transaction, NULL at first
 *   void **db_records(kiln_txn *txn);                 the slot of its database, NULL at first
 */

/* Apply gathered changes.  A status other than FTK_OK aborts the commit: nothing is committed. */
ftk_status records_before_commit(kiln_txn *txn);

/* Free the state: at commit (after it) and at abort.  Nothing when there is none. */
void records_txn_end(kiln_txn *txn);

/* Apply gathered changes before a savepoint is set.  A status other than FTK_OK: no savepoint. */
ftk_status records_savepoint(kiln_txn *txn);

/* After a rollback to a savepoint: forget gathered changes and what was read. */
void records_rollback(kiln_txn *txn);

/* Free what db_records holds: when the database closes.  NULL is fine. */
void records_db_end(void *state);

/*
 * Every record against the dictionary, every index entry against its record and the other way
 * round.  errors: FTK_CORRUPT when there was a fault; others end the check.
 */
struct records_check_calls {
    void (*finding)(void *context, const char *text); /* each fault */
    ftk_status (*step)(void *context);                /* each record; an error ends the check */
    void *context;
};
ftk_status records_check(kiln_txn *read_txn, const struct records_check_calls *calls);
/* Records of all containers. */
ftk_status records_count(kiln_txn *read_txn, uint64_t *count_out);


#endif
