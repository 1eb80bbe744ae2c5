/* SPDX-License-Identifier: Apache-2.0 */
/* gigatest/giga_database.h -- making, opening, closing and removing the database; its dictionary;
 * and the collection "gigatest" that says what the database is to hold. */
#ifndef GIGATEST_GIGA_DATABASE_H
#define GIGATEST_GIGA_DATABASE_H

#include "gigatest/giga_run.h"

/* All of these that take a run note what goes wrong in run->fault and return false then. */

bool giga_database_exists(const struct giga_options *options);
/* May one be made, which is not there?  Not over a log in --rfl-dir, which is another one's. */
bool giga_database_may_make(const struct giga_options *options);
/*
 * May --overwrite remove what is there?  Not what kiln has not made, what another process has open,
 * and, outside of the database's directory, a log that is not known to be this database's.  false:
 * `reason` is a sentence.
 */
bool giga_database_may_remove(const struct giga_options *options, char *reason, size_t reason_size);
/* The files of a database, and its directories when they are empty then; nothing else. */
bool giga_database_remove(struct giga_run *run);

/*
 * Open the database and learn its plan.  `create`: it must not exist; the plan of the command line
 * is stored in the first transaction.  Else the plan found is compared with what the command line
 * says, and becomes run->model with its rounds and what is loaded.
 */
bool giga_database_open(struct giga_run *run, bool create);
/* Checkpoint, statistics, close. */
bool giga_database_finish(struct giga_run *run);
/* Close after trouble or a stop: what is committed stays, and a second fault is not noted. */
void giga_database_abandon(struct giga_run *run);

/* Round `number` of the model as the database has it, read in txn. */
bool giga_round_read(struct giga_run *run, kiln_txn *txn, uint32_t number,
                     struct giga_round *round);
bool giga_round_write(struct giga_run *run, kiln_txn *txn, uint32_t number,
                      const struct giga_round *round);

/* Texts of the collection; parse returns false for anything that plan_text did not write. */
#define GIGA_PLAN_BYTES 256
int giga_plan_text(const struct giga_plan *plan, char text[GIGA_PLAN_BYTES]);
bool giga_plan_parse(const char *text, size_t text_size, struct giga_plan *plan_out);
int giga_round_text(const struct giga_round *round, char text[GIGA_PLAN_BYTES]);
/* Fills kind, target, walked and done. */
bool giga_round_parse(const char *text, size_t text_size, struct giga_round *round_out);

#endif
