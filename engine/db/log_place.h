/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/db/log_place.h -- where the log of a database is, how it is opened, whether it may be
 * missing.
 */
#ifndef ENGINE_LOG_PLACE_H
#define ENGINE_LOG_PLACE_H

#include "engine/txn/db_state.h"

/* A database of which nothing is there yet: its log's place has no other log.  Nothing is changed.
 * errors: FTK_FOREIGN, those of open. */
ftk_status log_place_is_free(kiln_db *db);

/*
 * A new database: make the log's directory if it is not the usual one, and remember it in the
 * header.  errors: FTK_TOOBIG (the path is too long to be remembered), those of mkdir and open.
 */
ftk_status log_place_make(kiln_db *db, struct header *header);

/*
 * An existing one: the place that the header has, which the option must not contradict, but with
 * KILN_LOG_MOVED, when the option counts from now on.  errors: FTK_INVALID.
 */
ftk_status log_place_find(kiln_db *db, const struct header *header);

/* What every later header says. */
void log_place_put(const kiln_db *db, struct header *header);

/* The log of a database that is being made; closed again. */
ftk_status log_make(kiln_db *db);

/*
 * Open the log of a database whose header was adopted.  A log that is missing is FTK_CORRUPT, and
 * the words say what is lost and what can be done; with KILN_WITHOUT_LOG the database goes on with
 * a new one (read-only: with none), if it was closed cleanly or KILN_ACCEPT_LOSS is given.
 */
ftk_status log_open(kiln_db *db, const struct header *header);

/*
 * May this thread begin, checkpoint or close?  Its archive function runs where the log changes
 * hands, in the close too, and cannot.  errors: FTK_STATE; those of db_check_process.
 */
ftk_status db_check_caller(const kiln_db *db);

/*
 * The close note, in the file "lock": this checkpoint has everything, the log held nothing more
 * when it was closed.  Written at the end of a close, struck out when the database is opened for
 * writing, before its log can grow.
 */
void close_note_write(kiln_db *db);
ftk_status close_note_strike(kiln_db *db);

#endif
