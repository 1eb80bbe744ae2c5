/* SPDX-License-Identifier: Apache-2.0 */
/*
 * utils/kiln_command.h -- what the parts of the kiln command share: arguments, messages, sessions.
 *
 * A command returns an exit status.  It reports an error in one line on standard error, once, where
 * the error is noticed.
 */
#ifndef UTILS_KILN_COMMAND_H
#define UTILS_KILN_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "kiln.h"

enum utils_exit {
    UTILS_OK = 0,
    UTILS_FAILED = 1, /* findings, or an error */
    UTILS_USAGE = 2,  /* the command line is wrong; nothing was done */
};

/* Options; a command says which of them it takes. */
enum utils_option {
    UTILS_HEX = 1 << 0,
    UTILS_JSON = 1 << 1,
    UTILS_RAW = 1 << 2,
    UTILS_CREATE = 1 << 3,
    UTILS_INSERT = 1 << 4,
    UTILS_BATCH = 1 << 5,
    UTILS_FILE = 1 << 6,
    UTILS_PROGRESS = 1 << 7,
    UTILS_CACHE = 1 << 8,
    UTILS_RFL_DIR = 1 << 9,
    UTILS_WITHOUT_LOG = 1 << 10,
    UTILS_ACCEPT_LOSS = 1 << 11,
    UTILS_LOG_MOVED = 1 << 12,
    UTILS_HELP = 1 << 13, /* of every command */
};

struct utils_call;

struct utils_command {
    const char *name;
    const char *synopsis;
    const char *about; /* a sentence */
    int arguments_min, arguments_max;
    unsigned options; /* enum utils_option */
    int (*run)(const struct utils_call *call);
};

/* A command line, understood. */
struct utils_call {
    const struct utils_command *command;
    unsigned options; /* those given */
    uint64_t batch;   /* default 10000 */
    uint64_t cache_bytes;
    const char *rfl_dir;
    const char *file;
    char **arguments;
    int argument_count;
};

/* argv[0] is the command's name.  Reports what is wrong; UTILS_OK or UTILS_USAGE.  With UTILS_HELP
 * among the options given nothing else of the call is there. */
int utils_call_parse(const struct utils_command *command, int argc, char **argv,
                     struct utils_call *call_out);

/* What a command does, and its options. */
void utils_help(FILE *out, const struct utils_command *command);

/* "kiln COMMAND: words"; returns UTILS_FAILED. */
int utils_complain(const struct utils_call *call, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The same with the words of the status behind: those of the thread's last error where it is this
 * one, else those of the status alone. */
int utils_fail(const struct utils_call *call, kiln_status status, const char *what);

/* An open database (first argument), a transaction, and a collection (second argument, when there
 * is one). */
struct utils_session {
    kiln_db *db;
    kiln_txn *txn;
    kiln_coll coll;
};

/* kind: KILN_READ (the database is opened read-only) or KILN_WRITE.  Reports errors. */
int utils_begin(const struct utils_call *call, uint32_t kind, struct utils_session *session_out);
/* Commit when `result` is UTILS_OK, else abort; close.  Reports errors; the first counts. */
int utils_end(const struct utils_call *call, struct utils_session *session, int result);

/* The commands. */
int utils_check(const struct utils_call *call);
int utils_stat(const struct utils_call *call);
int utils_list(const struct utils_call *call);
int utils_get(const struct utils_call *call);
int utils_put(const struct utils_call *call);
int utils_delete(const struct utils_call *call);
int utils_dump(const struct utils_call *call);
int utils_load(const struct utils_call *call);
int utils_recover(const struct utils_call *call);

#endif
