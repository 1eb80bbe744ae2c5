/* utils/kiln.c -- the kiln command: look into databases, change them, move data in and out. */
#include <stdio.h>
#include <string.h>

#include "utils/kiln_command.h"

enum { ALL = UTILS_CACHE | UTILS_RFL_DIR };

static const struct utils_command commands[] = {
    {"check", "DIR [--progress]", 1, 1, ALL | UTILS_PROGRESS, utils_check},
    {"stat", "DIR [COLLECTION] [--json]", 1, 2, ALL | UTILS_JSON, utils_stat},
    {"list", "DIR [--json]", 1, 1, ALL | UTILS_JSON, utils_list},
    {"get", "DIR COLLECTION KEY [--raw | --hex]", 3, 3, ALL | UTILS_RAW | UTILS_HEX, utils_get},
    {"put", "DIR COLLECTION KEY VALUE | --file FILE [--create] [--insert] [--hex]", 3, 4,
     ALL | UTILS_CREATE | UTILS_INSERT | UTILS_HEX | UTILS_FILE, utils_put},
    {"delete", "DIR COLLECTION KEY [--hex]", 3, 3, ALL | UTILS_HEX, utils_delete},
    {"dump", "DIR COLLECTION [--hex]", 2, 2, ALL | UTILS_HEX, utils_dump},
    {"load", "DIR COLLECTION [--create] [--insert] [--hex] [--batch N]", 2, 2,
     ALL | UTILS_CREATE | UTILS_INSERT | UTILS_HEX | UTILS_BATCH, utils_load},
    {"recover", "DIR [--rfl-dir DIR --log-moved | --without-log [--accept-loss]]", 1, 1,
     ALL | UTILS_WITHOUT_LOG | UTILS_ACCEPT_LOSS | UTILS_LOG_MOVED, utils_recover},
};

static void
usage(FILE *out)
{
    fputs("usage: kiln COMMAND ARGUMENT ...\n\n", out);
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        fprintf(out, "  kiln %-7s %s\n", commands[i].name, commands[i].synopsis);
    fputs("  kiln version\n"
          "  kiln help\n\n"
          "All but the last two take --cache SIZE and --rfl-dir DIR.  Manual: kiln(1).\n",
          out);
}

static int
is_one_of(const char *word, const char *a, const char *b)
{
    return strcmp(word, a) == 0 || strcmp(word, b) == 0;
}

int
main(int argc, char **argv)
{
    struct utils_call call;
    int result;

    if (argc < 2) {
        usage(stderr);
        return UTILS_USAGE;
    }
    if (argc == 2 && is_one_of(argv[1], "version", "--version"))
        return printf("kiln %s\n", kiln_version()) < 0 || fflush(stdout) != 0;
    if (argc == 2 && is_one_of(argv[1], "help", "--help")) {
        usage(stdout);
        return fflush(stdout) != 0;
    }
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
        if (strcmp(argv[1], commands[i].name) != 0)
            continue;
        result = utils_call_parse(&commands[i], argc - 1, argv + 1, &call);
        return result != UTILS_OK ? result : commands[i].run(&call);
    }
    fprintf(stderr, "kiln: there is no command \"%s\"; see kiln help\n", argv[1]);
    return UTILS_USAGE;
}
