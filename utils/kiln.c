/* SPDX-License-Identifier: Apache-2.0 */
/* utils/kiln.c -- the kiln command: look into databases, change them, move data in and out. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "utils/kiln_command.h"

enum { ALL = UTILS_CACHE | UTILS_RFL_DIR };

static const struct utils_command commands[] = {
    {"check", "DIR [--progress]",
     "Check everything in a database, and write a line for each finding, or \"ok\".", 1, 1,
     ALL | UTILS_PROGRESS, utils_check},
    {"stat", "DIR [COLLECTION] [--json]", "Write the numbers of a database, or of a collection.", 1,
     2, ALL | UTILS_JSON, utils_stat},
    {"list", "DIR [--json]", "List the collections, with how many keys they have.", 1, 1,
     ALL | UTILS_JSON, utils_list},
    {"get", "DIR COLLECTION KEY [--raw | --hex]", "Write the value of a key, and a line feed.", 3,
     3, ALL | UTILS_RAW | UTILS_HEX, utils_get},
    {"put", "DIR COLLECTION KEY VALUE | --file FILE [--create] [--insert] [--hex]",
     "Put a value, replacing the one that is there.", 3, 4,
     ALL | UTILS_CREATE | UTILS_INSERT | UTILS_HEX | UTILS_FILE, utils_put},
    {"delete", "DIR COLLECTION KEY [--hex]", "Delete a key.", 3, 3, ALL | UTILS_HEX, utils_delete},
    {"dump", "DIR COLLECTION [--hex]", "Write all keys and values as lines that load reads.", 2, 2,
     ALL | UTILS_HEX, utils_dump},
    {"load", "DIR COLLECTION [--create] [--insert] [--hex] [--batch N]",
     "Put the lines of standard input, KEY tab VALUE, and write how many there were.", 2, 2,
     ALL | UTILS_CREATE | UTILS_INSERT | UTILS_HEX | UTILS_BATCH, utils_load},
    {"recover", "DIR [--rfl-dir DIR --log-moved | --without-log [--accept-loss]]",
     "Open a database that must be told where its log is, or that it is gone.", 1, 1,
     ALL | UTILS_WITHOUT_LOG | UTILS_ACCEPT_LOSS | UTILS_LOG_MOVED, utils_recover},
};

enum { COMMAND_COUNT = sizeof(commands) / sizeof(commands[0]) };

static void
usage(FILE *out)
{
    fputs("usage: kiln COMMAND ARGUMENT ...\n\n", out);
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        fprintf(out, "  kiln %-7s %s\n", commands[i].name, commands[i].synopsis);
    fputs("  kiln version\n"
          "  kiln help [COMMAND]\n\n"
          "All but the last two take --cache SIZE, --rfl-dir DIR and --help.  Manual: kiln(1).\n",
          out);
}

static const struct utils_command *
command_find(const char *name)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(name, commands[i].name) == 0)
            return &commands[i];
    }
    fprintf(stderr, "kiln: there is no command \"%s\"; see kiln help\n", name);
    return NULL;
}

static bool
is_one_of(const char *word, const char *a, const char *b)
{
    return strcmp(word, a) == 0 || strcmp(word, b) == 0;
}

static int
command_help(const char *name)
{
    const struct utils_command *command = command_find(name);

    if (command == NULL)
        return UTILS_USAGE;
    utils_help(stdout, command);
    return UTILS_OK;
}

static int
command_run(int argc, char **argv)
{
    const struct utils_command *command = command_find(argv[0]);
    struct utils_call call;
    int result;

    if (command == NULL)
        return UTILS_USAGE;
    result = utils_call_parse(command, argc, argv, &call);
    if (result != UTILS_OK)
        return result;
    if (call.options & UTILS_HELP)
        return command_help(command->name);
    return command->run(&call);
}

/* Standard output is whole, or that is an error; the first one counts. */
static int
finish(const char *name, int result)
{
    bool failed;

    errno = 0;
    failed = fflush(stdout) != 0 || ferror(stdout);
    if (fclose(stdout) == 0 && !failed)
        return result;
    if (result == UTILS_OK)
        fprintf(stderr, "kiln %s: standard output: %s\n", name,
                errno != 0 ? strerror(errno) : "a write failed");
    return result != UTILS_OK ? result : UTILS_FAILED;
}

int
main(int argc, char **argv)
{
    const char *name = argc < 2 ? "" : argv[1];

    if (argc < 2) {
        usage(stderr);
        return UTILS_USAGE;
    }
    if (argc == 2 && is_one_of(name, "version", "--version")) {
        printf("kiln %s\n", kiln_version());
        return finish("version", UTILS_OK);
    }
    if (argc == 2 && (is_one_of(name, "help", "--help") || strcmp(name, "-h") == 0)) {
        usage(stdout);
        return finish("help", UTILS_OK);
    }
    if (argc == 3 && strcmp(name, "help") == 0)
        return finish("help", command_help(argv[2]));
    return finish(name, command_run(argc - 1, argv + 1));
}
