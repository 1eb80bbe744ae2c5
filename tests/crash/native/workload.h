/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/crash/native/workload.h -- what the recorded processes do, and what must be left of it.
 *
 * Transactions are numbered; what transaction n of epoch e does follows from the seed, n and e
 * alone (an *epoch* is one open of the database).  Each puts (n, e) into the collection "meta", so
 * that a survivor says which commit it is; it must then be that commit: every collection, key and
 * byte.
 *
 *   NOTE_BEGIN  n, e  the commit of transaction n is about to be called
 *   NOTE_FULL   n     it returned, KILN_FULL: on the disk, and so are all before it
 *   NOTE_OS     n     it returned, KILN_OS: survives the process
 *   NOTE_SAVED  n     a checkpoint or a close that began after commit n returned
 *   NOTE_ADOPT  n, e  epoch e found commit n; it goes on from there
 *   NOTE_MOVED  s     the archive function has copied segment s
 *
 * From the notes before a crash follow a floor, a ceiling, and the epoch of each commit up to it
 * (promise_read).  An epoch's commits that it had not found may not come back later: transaction n
 * of another epoch is another transaction.
 */
#ifndef TESTS_CRASH_NATIVE_WORKLOAD_H
#define TESTS_CRASH_NATIVE_WORKLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kiln.h"
#include "tests/crash/native/recorder.h"

enum { NOTE_BEGIN = 1, NOTE_FULL, NOTE_OS, NOTE_SAVED, NOTE_ADOPT, NOTE_MOVED };

enum { COLLS = 4, KEYS_MAX = 120, TXNS_MAX = 12000 };

struct workload {
    const char *name;
    unsigned txns;      /* commits, in all lives together */
    unsigned threads;   /* that commit */
    unsigned opens;     /* clean closes with a new open between them, and 1 */
    unsigned deaths;    /* of the process, at chance ops */
    unsigned death_ops; /* a process that dies does so within so many ops */
    unsigned keys;      /* of each collection */
    unsigned ops_max;   /* of a transaction */
    unsigned value_max; /* bytes */
    unsigned large_max, large_one_in;
    unsigned drop_one_in, bulk_one_in; /* ops that drop or fill a collection; 0: none */
    unsigned abort_one_in, checkpoint_one_in, nest_one_in; /* transactions; 0: none */
    unsigned full, os, lazy;                               /* weights of the durabilities */
    uint64_t rfl_bytes_max, dirty_bytes_max;
    uint32_t page_bytes, flags;
    bool log_elsewhere; /* the log's directory is not below the database's */
    bool archive;
    bool io_threads;  /* while it is recorded, asynchronous I/O by threads and not by libaio */
    bool odd_names;   /* paths with slashes at their ends, relative ones, and so on */
    bool overclaims;  /* a canary: a commit that returned, KILN_LAZY, is noted as KILN_OS */
    bool made_before; /* the program makes the database's directory, and does not sync it */
    uint64_t cache_bytes;
    uint64_t sync_ns;
};

struct promise {
    uint32_t low, low_os; /* commits that a power cut, a death must leave */
    uint32_t high;        /* the last that can be there */
    uint32_t epoch_last;
    uint32_t moved;                /* segments up to this one were archived */
    uint32_t epochs[TXNS_MAX + 2]; /* of each commit up to high */
};

/* Bring a promise (all zero before anything) on by the notes of the first `ops` ops. */
void promise_read(struct promise *promise, const struct recording *recording, uint32_t ops);

/* A process of the workload: open below dir, commit up to transaction `last`, close.  Ends early in
 * recorder.h's way.  NULL, or words about what was wrong. */
const char *workload_live(const struct workload *workload, uint64_t seed, const char *dir,
                          const struct promise *promise, uint32_t last);

/*
 * Open what a crash has left below dir, as a program would: it opens, is one commit between
 * *low* and high of the promise, whole, kiln_check finds nothing, and it can be written, closed and
 * opened again.  NULL, or words.  with_reader: it is opened read-only first.
 */
const char *workload_survives(const struct workload *workload, uint64_t seed, const char *dir,
                              const struct promise *promise, bool with_reader);

#endif
