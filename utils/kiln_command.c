/* SPDX-License-Identifier: Apache-2.0 */
/* utils/kiln_command.c -- arguments, messages, sessions of the kiln command. */
#include "utils/kiln_command.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "ftk/number.h"

/* All options, for parsing and for help. */
static const struct {
    enum utils_option option;
    const char *name, *argument, *about;
} all_options[] = {
    {UTILS_HEX, "hex", NULL, "keys and values are hexadecimal, two digits a byte"},
    {UTILS_JSON, "json", NULL, "output as JSON"},
    {UTILS_RAW, "raw", NULL, "nothing but the bytes of the value"},
    {UTILS_CREATE, "create", NULL, "make the database and the collection when they are missing"},
    {UTILS_INSERT, "insert", NULL, "a key that is there already is an error"},
    {UTILS_BATCH, "batch", "N", "lines in a transaction (10000; a dump: all of it)"},
    {UTILS_FILE, "file", "FILE", "where the value comes from (-: standard input)"},
    {UTILS_PROGRESS, "progress", NULL, "show on standard error how far it is"},
    {UTILS_CACHE, "cache", "SIZE", "memory for pages, at least 4M (a quarter of the machine's)"},
    {UTILS_RFL_DIR, "rfl-dir", "DIR", "the roll-forward log (a new database: inside it)"},
    {UTILS_WITHOUT_LOG, "without-log", NULL, "go on without the log, which is missing"},
    {UTILS_ACCEPT_LOSS, "accept-loss", NULL, "do so although commits may be lost"},
    {UTILS_LOG_MOVED, "log-moved", NULL, "the log was moved to where --rfl-dir says"},
    {UTILS_HELP, "help", NULL, "this text; also -h"},
};

enum { OPTION_COUNT = sizeof(all_options) / sizeof(all_options[0]) };

static void
long_options_make(struct option options[OPTION_COUNT + 1])
{
    for (int i = 0; i < OPTION_COUNT; i++)
        options[i] = (struct option){
            all_options[i].name,
            all_options[i].argument != NULL ? required_argument : no_argument,
            NULL,
            (int)all_options[i].option,
        };
    options[OPTION_COUNT] = (struct option){NULL, 0, NULL, 0};
}

void
utils_help(FILE *out, const struct utils_command *command)
{
    char left[40];

    fprintf(out, "usage: kiln %s %s\n%s\n\n", command->name, command->synopsis, command->about);
    for (int i = 0; i < OPTION_COUNT; i++) {
        const char *argument = all_options[i].argument;

        if (((command->options | UTILS_HELP) & all_options[i].option) == 0)
            continue;
        snprintf(left, sizeof(left), "--%s %s", all_options[i].name,
                 argument != NULL ? argument : "");
        fprintf(out, "  %-16s %s\n", left, all_options[i].about);
    }
}

/* ---- messages ------------------------------------------------------------------------------- */

int
utils_complain(const struct utils_call *call, const char *format, ...)
{
    va_list args;

    fflush(stdout);
    fprintf(stderr, "kiln %s: ", call->command->name);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    return UTILS_FAILED;
}

int
utils_fail(const struct utils_call *call, kiln_status status, const char *what)
{
    const kiln_error *error = kiln_error_last();
    const char *words = error->status == status ? error->text : kiln_status_text(status);

    return utils_complain(call, "%s: %s (%s)", what, words, kiln_status_name(status));
}

/* ---- arguments ------------------------------------------------------------------------------ */

static bool
number_take(struct utils_call *call, const char *what, const char *text,
            struct ftk_number_rule rule, uint64_t *number_out)
{
    char words[FTK_NUMBER_ERROR_MAX];

    if (ftk_number_parse(&rule, text, number_out, words))
        return true;
    utils_complain(call, "%s: %s", what, words);
    return false;
}

/* The value of an option; false: reported. */
static bool
option_take(struct utils_call *call, int option, const char *value)
{
    static const struct ftk_number_rule batch = {FTK_NUMBER_COUNT, 1, INT64_MAX};
    static const struct ftk_number_rule cache = {FTK_NUMBER_SIZE, 4u << 20, 1ull << 50};

    switch (option) {
    case UTILS_BATCH: return number_take(call, "--batch", value, batch, &call->batch);
    case UTILS_CACHE: return number_take(call, "--cache", value, cache, &call->cache_bytes);
    case UTILS_FILE: call->file = value; return true;
    case UTILS_RFL_DIR: call->rfl_dir = value; return true;
    default: return true;
    }
}

int
utils_call_parse(const struct utils_command *command, int argc, char **argv,
                 struct utils_call *call)
{
    struct option long_options[OPTION_COUNT + 1];
    int option;

    long_options_make(long_options);
    *call = (struct utils_call){.command = command, .batch = 10000};
    opterr = 0;
    optind = 1;
    while ((option = getopt_long(argc, argv, ":h", long_options, NULL)) != -1) {
        if (option == ':') {
            utils_complain(call, "%s needs a value", argv[optind - 1]);
            return UTILS_USAGE;
        }
        if (option == UTILS_HELP || option == 'h') {
            call->options |= UTILS_HELP;
            return UTILS_OK;
        }
        if (option == '?' || (command->options & (unsigned)option) == 0) {
            utils_complain(call, "it has no such option; usage: kiln %s %s", command->name,
                           command->synopsis);
            return UTILS_USAGE;
        }
        call->options |= (unsigned)option;
        if (!option_take(call, option, optarg))
            return UTILS_USAGE;
    }
    call->arguments = argv + optind;
    call->argument_count = argc - optind;
    if (call->argument_count < command->arguments_min ||
        call->argument_count > command->arguments_max) {
        utils_complain(call, "usage: kiln %s %s", command->name, command->synopsis);
        return UTILS_USAGE;
    }
    return UTILS_OK;
}

/* ---- sessions ------------------------------------------------------------------------------- */

static int
open_database(const struct utils_call *call, uint32_t kind, kiln_db **db_out)
{
    kiln_options options = KILN_OPTIONS_INIT;
    kiln_status status;

    if (kind == KILN_READ)
        options.flags = KILN_OPEN_READONLY;
    else if (call->options & UTILS_CREATE)
        options.flags = KILN_CREATE;
    options.cache_bytes = call->cache_bytes;
    options.rfl_dir = call->rfl_dir;
    options.checkpoint_ms = UINT32_MAX; /* the close makes one */
    status = kiln_open(call->arguments[0], &options, db_out);
    return status == KILN_OK ? UTILS_OK : utils_fail(call, status, call->arguments[0]);
}

int
utils_begin(const struct utils_call *call, uint32_t kind, struct utils_session *session)
{
    uint32_t flags = call->options & UTILS_CREATE ? KILN_COLL_CREATE : 0;
    kiln_status status;
    int result;

    *session = (struct utils_session){NULL, NULL, 0};
    result = open_database(call, kind, &session->db);
    if (result != UTILS_OK)
        return result;
    status = kiln_txn_begin(session->db, kind, &session->txn);
    if (status != KILN_OK)
        return utils_end(call, session, utils_fail(call, status, call->arguments[0]));
    if (call->argument_count < 2)
        return UTILS_OK;
    status = kiln_coll_open(session->txn, call->arguments[1], flags, &session->coll);
    if (status != KILN_OK)
        return utils_end(call, session, utils_fail(call, status, call->arguments[0]));
    return UTILS_OK;
}

int
utils_end(const struct utils_call *call, struct utils_session *session, int result)
{
    kiln_status status = KILN_OK;

    if (session->txn != NULL && result == UTILS_OK)
        status = kiln_txn_commit(session->txn);
    else
        kiln_txn_abort(session->txn);
    if (status != KILN_OK)
        result = utils_fail(call, status, "commit");
    status = kiln_close(session->db);
    if (status != KILN_OK && result == UTILS_OK)
        result = utils_fail(call, status, "close");
    *session = (struct utils_session){NULL, NULL, 0};
    return result;
}
