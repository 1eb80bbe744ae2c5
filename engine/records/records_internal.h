/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/records/records_internal.h -- state that a transaction keeps for its records.
 *
 * Invariants:
 *   1. dict is the dictionary of the transaction's snapshot, with its own definitions.
 *   2. gathers and batches are indexed by the positions of containers and indexes in dict; they are
 *      empty and unknown whenever dict is replaced.
 *   3. What was gathered is applied (records_flush) before anything reads it: a read of the
 *      container or index, a definition, a savepoint, the commit.  Whether unique indexes are
 *      unique is asked at the commit (and by kiln_records_flush), not when changes are applied.
 *   4. What could not be applied stays gathered, and is applied again in whole the next time: a
 *      record leaves its gather when it is in its container; changes of an index may be applied
 *      twice, a key put again or a deleted one not found.
 */
#ifndef ENGINE_RECORDS_INTERNAL_H
#define ENGINE_RECORDS_INTERNAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/db/extension.h"
#include "engine/records/dict.h"
#include "engine/records/index_keys.h"
#include "engine/records/record.h"
#include "ftk/status.h"
#include "ftk/thread.h"
#include "kiln.h"

/* Gathered bytes that make a flush: enough to sort well, little beside the page cache. */
#define RECORDS_PENDING_BYTES_MAX (16u << 20)
/* A body larger than this is put at once. */
#define RECORDS_GATHER_BODY_MAX 65536u

/* New records of one container, ascending by id, all ids above those in the tree. */
struct record_gather {
    bool used;      /* by this transaction: its position is in used of records_txn */
    bool known;     /* high and kept are */
    uint64_t high;  /* the highest id that a record has or had */
    uint64_t given; /* the last id that kiln chose in this transaction; 0: none */
    uint64_t floor; /* ids up to this were chosen by kiln, be it in vain */
    uint64_t kept;  /* what key 0 of the container says; 0: nothing */
    uint64_t *keys; /* ids, BE */
    uint32_t *ends; /* of the bodies */
    uint32_t count, capacity;
    uint8_t *bodies;
    uint32_t bodies_bytes, bodies_capacity;
};

/* Values that two records of a unique index had at some time of the transaction: index_unique.c. */
struct index_suspects {
    kiln_index number;
    bool all;         /* too many to be kept: any values */
    bool settled_all; /* the same of `settled` */
    bool doubted;     /* there was a rollback: what is settled may be suspect again */
    struct index_batch values;
    struct index_batch settled; /* once suspect, and judged while a savepoint was open */
};

struct records_db; /* what the transactions of a database share */

struct records_txn {
    kiln_txn *txn;
    struct records_db *db;
    struct dict *dict;    /* NULL: not known (after a rollback, or when the snapshot has changed) */
    uint64_t snapshot_id; /* txn->snapshot.id when dict was found: a renewal changes it */
    const struct dict_container *container_last; /* of dict: the one used last, or NULL */
    bool write;
    bool dict_own;     /* dict is nobody else's */
    bool dict_changed; /* this transaction has written to the dictionary */
    bool coll_known;
    bool recalls; /* what the last commit knew of highest ids holds still */
    kiln_coll dict_coll;
    struct record_gather *gathers; /* of a transaction that writes */
    uint32_t gather_capacity;
    uint32_t *used; /* gather_capacity: the positions of the used_count that are used */
    uint32_t used_count;
    size_t idle_bytes; /* memory of the gathers that are not */
    struct index_batch *batches;
    uint32_t batch_capacity;
    size_t pending_bytes; /* gathered, all together */
    struct index_suspects *suspects;
    uint32_t suspect_count, suspect_capacity;
    struct index_scan scan, scan_old;
    struct kiln_record record_old;
    struct index_batch keys_old, keys_new; /* of one record, for updates */
    struct index_sorter sorter;
    kiln_slice *slices; /* 2 * slice_capacity: keys, values */
    size_t slice_capacity;
};

/*
 * The state of a transaction, made when missing, with its dictionary.
 * errors: FTK_INVALID, FTK_NOMEM, FTK_CORRUPT, FTK_VERSION ...
 */
ftk_status records_enter(kiln_txn *txn, struct records_txn **state_out);
/* The same for changes.  errors: FTK_READONLY too. */
ftk_status records_enter_write(kiln_txn *txn, struct records_txn **state_out);

/* Apply everything gathered.  What fails stays gathered. */
ftk_status records_flush(struct records_txn *state);
/* Apply the gathered records of one container. */
ftk_status records_flush_container(struct records_txn *state,
                                   const struct dict_container *container);
/* Expensive: what is gathered and known keeps its rules (records_state_check.c); between calls. */
void records_state_check(const struct records_txn *state);
/* Before records of the container change.  Costs nothing for the containers that do not. */
void records_use(struct records_txn *state, const struct dict_container *container);
/* Forget everything gathered and known. */
void records_forget(struct records_txn *state);

/*
 * Make a definition: all of it or nothing.  After an error state->dict is not known.
 */
ftk_status records_define(struct records_txn *state,
                          ftk_status (*change)(kiln_txn *txn, void *context), void *context);
/*
 * Inside of one, before a change of the dictionary: own it, have its collection.
 * After: write the header, unless rc is an error; returns the first error.
 */
ftk_status records_dict_change(struct records_txn *state);
ftk_status records_dict_changed(struct records_txn *state, ftk_status rc);

/* Keys and values for a batch call.  values are {NULL, 0}.  errors: FTK_NOMEM. */
ftk_status records_slices(struct records_txn *state, size_t count, kiln_slice **keys_out,
                          kiln_slice **values_out);

/* errors: FTK_NOTFOUND. */
ftk_status records_container(struct records_txn *state, kiln_container number,
                             const struct dict_container **container_out);
ftk_status records_index(const struct records_txn *state, kiln_index number,
                         const struct dict_index **index_out);

/* Read a record from its collection (gathered ones are not there yet).
 * errors: FTK_NOTFOUND (without words), FTK_CORRUPT, ... */
ftk_status records_read(struct records_txn *state, const struct dict_container *container,
                        uint64_t id, struct kiln_record *record);

/* The cursor's present record; record may be NULL.  errors: as records_read. */
ftk_status records_cursor_read(struct records_txn *state, const struct dict_container *container,
                               kiln_cursor *cursor, uint64_t *id_out, struct kiln_record *record);
/* The container's highest id, when the last commit knew it and this transaction has not changed
 * it. */
bool records_high_recall(const struct records_txn *state, kiln_container container,
                         struct record_gather *gather);
/* Before ids are given: so that records_forget can note those given, and floor.  errors:
 * FTK_NOMEM. */
ftk_status records_given_learn(struct records_txn *state, kiln_container container,
                               struct record_gather *gather);
/* Of the holder of the writer's turn: the least number of this kind that was never taken. */
uint32_t *records_numbers(struct records_txn *state, int kind);
/* Is the container's row 0 well-formed?  errors: FTK_CORRUPT. */
ftk_status records_high_check(struct records_txn *state, const struct dict_container *container);
/* Calls each for every record of a container (index_build.c).  The record is borrowed during the
 * call. */
ftk_status records_each(struct records_txn *state, const struct dict_container *container,
                        ftk_status (*each)(void *context, uint64_t id,
                                           const struct kiln_record *record),
                        void *context);

/* dict_define.c.  errors: FTK_INVALID (the name is malformed). */
ftk_status dict_name_check(const char *what, const char *name);
/* Write the row of a new index and make its collection; model gets its number and coll. */
ftk_status dict_index_define(struct records_txn *state, struct dict_index *model);
ftk_status dict_index_drop(struct records_txn *state, kiln_index number);

/* index_build.c: entries of all records that are there (one index), or of a container that goes
 * (all indexes over all containers). */
ftk_status index_build(struct records_txn *state, const struct dict_index *index);
ftk_status index_entries_drop(struct records_txn *state, kiln_container container);

/* index_flush.c: apply one batch to its index and empty it.  Whether a unique index is still
 * unique is another question: index_suspects_judge. */
ftk_status index_flush(struct records_txn *state, const struct dict_index *index,
                       struct index_batch *batch);

/* index_unique.c */
/* The puts of a batch have been applied: remember the values that another entry has too. */
ftk_status index_unique_note(struct records_txn *state, const struct dict_index *index,
                             const struct index_batch *batch, const struct index_sort_entry *order,
                             uint32_t count);
/* Have two records these values, in whole?  ids_out: theirs.  truncated: the values are. */
ftk_status index_unique_judge(struct records_txn *state, const struct dict_index *index,
                              kiln_cursor *cursor, kiln_slice values, bool truncated,
                              uint64_t ids_out[2], bool *conflict_out);
/* Calls each for every set of values in the index that two records have. */
ftk_status index_unique_walk(struct records_txn *state, const struct dict_index *index,
                             ftk_status (*each)(void *context, const uint64_t ids[2]),
                             void *context);
/* What was put since the last judgement is unique now, in this index or in all.  errors: FTK_EXISTS
 * (and the transaction may go on and mend it). */
ftk_status index_suspects_judge(struct records_txn *state, const struct dict_index *index);
ftk_status records_unique_judge(struct records_txn *state);
void index_suspects_drop(struct records_txn *state, kiln_index number);
void index_suspects_release(struct records_txn *state);
/* After a rollback; needs no memory. */
void index_suspects_doubt(struct records_txn *state);

void records_highs_remember(struct records_txn *state);
ftk_status records_state_new(kiln_txn *txn, void **slot);
ftk_status records_dict_find(struct records_txn *state);
ftk_status records_positions_room(struct records_txn *state);

/* The calls of db_extension_records: see engine/db/extension.h. */
ftk_status records_before_commit(kiln_txn *txn);
ftk_status records_savepoint(kiln_txn *txn);
void records_rollback(kiln_txn *txn);
void records_txn_end(kiln_txn *txn);
void records_db_end(void *state);
/* Every record against the dictionary, every index entry against its record and the other way
 * round. */
ftk_status records_check(kiln_txn *read_txn, const struct extension_check_calls *calls);
/* Records of all containers. */
ftk_status records_count(kiln_txn *read_txn, uint64_t *count_out);

#endif
