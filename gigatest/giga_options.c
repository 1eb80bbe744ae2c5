/* SPDX-License-Identifier: Apache-2.0 */
/* gigatest/giga_options.c -- see giga_options.h. */
#include "gigatest/giga_options.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "ftk/number.h"

struct entry {
    const char *name, *argument;
    bool again;
    const char *help;
};

static const struct entry entries[GIGA_OPT_COUNT] = {
#define X(id, name, argument, again, help) {name, argument, again, help},
    GIGA_OPTIONS(X)
#undef X
};

/* ---- words ---------------------------------------------------------------------------------- */

static const char *const order_words[] = {"sequential", "random", NULL};
static const char *const ids_words[] = {"auto", "given", "scattered", NULL};
static const char *const index_words[] = {"none", "name", "age", "name,age", NULL};
static const char *const durability_words[] = {"default", "full", "os", "lazy", NULL};
static const char *const kind_words[] = {"update", "delete", "mixed", NULL};

static bool
word_find(const char *const *words, const char *text, uint32_t *number_out)
{
    for (uint32_t i = 0; words[i] != NULL; i++) {
        if (strcmp(words[i], text) == 0) {
            *number_out = i;
            return true;
        }
    }
    *number_out = 0;
    return false;
}

const char *
giga_order_text(enum giga_order order)
{
    return order_words[order];
}

const char *
giga_ids_text(enum giga_ids ids)
{
    return ids_words[ids];
}

const char *
giga_indexes_text(uint32_t indexes)
{
    return index_words[indexes & 3];
}

const char *
giga_durability_text(kiln_durability durability)
{
    return durability_words[durability];
}

const char *
giga_kind_text(enum giga_kind kind)
{
    return kind_words[kind];
}

bool
giga_order_parse(const char *text, enum giga_order *order_out)
{
    uint32_t number;
    bool found = word_find(order_words, text, &number);

    *order_out = (enum giga_order)number;
    return found;
}

bool
giga_ids_parse(const char *text, enum giga_ids *ids_out)
{
    uint32_t number;
    bool found = word_find(ids_words, text, &number);

    *ids_out = (enum giga_ids)number;
    return found;
}

bool
giga_indexes_parse(const char *text, uint32_t *indexes_out)
{
    if (strcmp(text, "age,name") == 0)
        text = "name,age";
    return word_find(index_words, text, indexes_out);
}

bool
giga_kind_parse(const char *text, enum giga_kind *kind_out)
{
    uint32_t number;
    bool found = word_find(kind_words, text, &number);

    *kind_out = (enum giga_kind)number;
    return found;
}

static bool
durability_parse(const char *text, kiln_durability *durability_out)
{
    uint32_t number;
    bool found = word_find(durability_words, text, &number) && number != 0;

    *durability_out = (kiln_durability)number;
    return found;
}

/* ---- parsing -------------------------------------------------------------------------------- */

struct parser {
    struct giga_options *options;
    char *error;
    size_t error_size;
};

__attribute__((format(printf, 2, 3))) static bool
wrong(struct parser *parser, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(parser->error, parser->error_size, format, arguments);
    va_end(arguments);
    return false;
}

static bool
number_take(struct parser *parser, const char *what, const char *text, struct ftk_number_rule rule,
            uint64_t *number_out)
{
    char words[FTK_NUMBER_ERROR_MAX];

    return ftk_number_parse(&rule, text, number_out, words) || wrong(parser, "%s: %s", what, words);
}

static bool
count_take(struct parser *parser, const char *what, const char *text, uint64_t max,
           uint64_t *count_out)
{
    return number_take(parser, what, text, (struct ftk_number_rule){FTK_NUMBER_COUNT, 1, max},
                       count_out);
}

static bool
small_take(struct parser *parser, const char *what, const char *text, uint32_t max, uint32_t *out)
{
    uint64_t count;

    if (!count_take(parser, what, text, max, &count))
        return false;
    *out = (uint32_t)count;
    return true;
}

static bool
size_take(struct parser *parser, const char *what, const char *text, uint64_t min, uint64_t max,
          uint64_t *bytes_out)
{
    return number_take(parser, what, text, (struct ftk_number_rule){FTK_NUMBER_SIZE, min, max},
                       bytes_out);
}

static bool
time_take(struct parser *parser, const char *what, const char *text, uint64_t min, uint64_t *ms_out)
{
    return number_take(parser, what, text,
                       (struct ftk_number_rule){FTK_NUMBER_TIME, min, UINT32_MAX - 1}, ms_out);
}

static bool
phase_take(struct parser *parser, const char *what, const char *text, enum giga_kind kind)
{
    struct giga_options *options = parser->options;
    uint64_t count;

    if (!count_take(parser, what, text, GIGA_COUNT_MAX, &count))
        return false;
    if (options->phase_count == GIGA_PHASES_MAX)
        return wrong(parser, "more than %d phases", GIGA_PHASES_MAX);
    options->phases[options->phase_count++] = (struct giga_phase){.kind = kind, .count = count};
    return true;
}

/* Decimal, or hexadecimal behind 0x, as tests print their seeds. */
static bool
seed_take(struct parser *parser, const char *text)
{
    bool hexadecimal = text[0] == '0' && (text[1] | 0x20) == 'x';
    const char *digits = hexadecimal ? text + 2 : text;
    char *end = NULL;

    errno = 0;
    if (isxdigit((unsigned char)*digits))
        parser->options->plan.seed = strtoull(digits, &end, hexadecimal ? 16 : 10);
    return (end != NULL && *end == 0 && errno == 0) ||
           wrong(parser, "--seed: \"%s\" is not a number from 0 to 2^64 - 1", text);
}

static bool
page_take(struct parser *parser, const char *what, const char *text)
{
    uint64_t bytes;

    if (!size_take(parser, what, text, 4096, 65536, &bytes))
        return false;
    if ((bytes & (bytes - 1)) != 0)
        return wrong(parser, "%s: \"%s\" is not a power of two", what, text);
    parser->options->page_bytes = (uint32_t)bytes;
    return true;
}

/* Options with a size or a time. */
static bool
measure_take(struct parser *parser, enum giga_option id, const char *what, const char *text)
{
    struct giga_options *options = parser->options;
    uint64_t value = 0;

    switch (id) {
    case GIGA_OPT_PAGE: return page_take(parser, what, text);
    case GIGA_OPT_CACHE:
        return size_take(parser, what, text, 4u << 20, 1ull << 50, &options->cache_bytes);
    case GIGA_OPT_DIRTY_MAX:
        return size_take(parser, what, text, 1u << 20, 1ull << 50, &options->dirty_bytes);
    case GIGA_OPT_LOG_MAX:
        return size_take(parser, what, text, 1u << 20, 1ull << 50, &options->log_bytes);
    case GIGA_OPT_SEGMENT:
        if (!size_take(parser, what, text, 2u << 20, 1ull << 31, &value))
            return false;
        options->segment_bytes = (uint32_t)value;
        return true;
    case GIGA_OPT_CHECKPOINT_INTERVAL:
        if (!time_take(parser, what, text, 0, &value))
            return false;
        options->checkpoint_ms = (uint32_t)value;
        return true;
    case GIGA_OPT_LAZY:
        if (!time_take(parser, what, text, 1, &value))
            return false;
        options->lazy_ms = (uint32_t)value;
        return true;
    default: return time_take(parser, what, text, 10, &options->interval_ms);
    }
}

/* Options that are words or counts. */
static bool
argument_take(struct parser *parser, enum giga_option id, const char *what, const char *text)
{
    struct giga_options *options = parser->options;
    struct giga_plan *plan = &options->plan;

    switch (id) {
    case GIGA_OPT_DB: options->db = text; return *text != 0 || wrong(parser, "--db: no directory");
    case GIGA_OPT_RFL_DIR:
        options->rfl_dir = text;
        return *text != 0 || wrong(parser, "--rfl-dir: no directory");
    case GIGA_OPT_JSON:
        options->json = text;
        if (strcmp(text, "-") == 0)
            options->quiet = true; /* standard output is to be one JSON object */
        return *text != 0 || wrong(parser, "--json: no file");
    case GIGA_OPT_HTML: options->html = text; return *text != 0 || wrong(parser, "--html: no file");
    case GIGA_OPT_TXN: return small_take(parser, what, text, 100000000, &options->txn);
    case GIGA_OPT_THREADS: return small_take(parser, what, text, 64, &options->threads);
    case GIGA_OPT_IO_DEPTH: return small_take(parser, what, text, 4096, &options->io_depth);
    case GIGA_OPT_SEED: return seed_take(parser, text);
    case GIGA_OPT_UPDATE: return phase_take(parser, what, text, GIGA_UPDATE);
    case GIGA_OPT_DELETE: return phase_take(parser, what, text, GIGA_DELETE);
    case GIGA_OPT_MIXED: return phase_take(parser, what, text, GIGA_MIXED);
    case GIGA_OPT_ORDER:
        return giga_order_parse(text, &plan->order) ||
               wrong(parser, "--order: \"%s\" is neither sequential nor random", text);
    case GIGA_OPT_IDS:
        return giga_ids_parse(text, &plan->ids) ||
               wrong(parser, "--ids: \"%s\" is none of auto, given, scattered", text);
    case GIGA_OPT_INDEX:
        return giga_indexes_parse(text, &plan->indexes) ||
               wrong(parser, "--index: \"%s\" is none of none, name, age, name,age", text);
    case GIGA_OPT_DURABILITY:
        return durability_parse(text, &options->durability) ||
               wrong(parser, "--durability: \"%s\" is none of full, os, lazy", text);
    default: return measure_take(parser, id, what, text);
    }
}

static void
flag_take(struct giga_options *options, enum giga_option id)
{
    switch (id) {
    case GIGA_OPT_NO_DIRECT: options->no_direct = true; break;
    case GIGA_OPT_VERIFY: options->verify = true; break;
    case GIGA_OPT_RESUME: options->resume = true; break;
    case GIGA_OPT_OVERWRITE: options->overwrite = true; break;
    case GIGA_OPT_REMOVE: options->remove = true; break;
    case GIGA_OPT_KEEP: options->remove = false; break;
    case GIGA_OPT_PLAIN: options->plain = true; break;
    case GIGA_OPT_QUIET: options->quiet = true; break;
    case GIGA_OPT_HELP: options->help = true; break;
    case GIGA_OPT_VERSION: options->version = true; break;
    default: break;
    }
}

/* "--name", "--name=text" or "--name text"; *used_out counts the words taken. */
static bool
option_take(struct parser *parser, const char *word, const char *next, int *used_out)
{
    const char *name = word + 2;
    size_t name_size = strcspn(name, "=");
    const char *text = name[name_size] == '=' ? name + name_size + 1 : NULL;
    uint32_t id = 0;
    char what[48];

    while (id < GIGA_OPT_COUNT && (strlen(entries[id].name) != name_size ||
                                   strncmp(entries[id].name, name, name_size) != 0))
        id++;
    if (id == GIGA_OPT_COUNT)
        return wrong(parser, "no such option: %s (gigatest --help lists them)", word);
    snprintf(what, sizeof(what), "--%s", entries[id].name);
    *used_out = 1;
    parser->options->given[id] = true;
    if (entries[id].argument[0] == 0) {
        if (text != NULL)
            return wrong(parser, "%s takes no argument", what);
        flag_take(parser->options, (enum giga_option)id);
        return true;
    }
    if (text == NULL) {
        if (next == NULL)
            return wrong(parser, "%s wants an argument: %s", what, entries[id].argument);
        text = next;
        *used_out = 2;
    }
    parser->options->text[id] = text;
    return argument_take(parser, (enum giga_option)id, what, text);
}

static bool
together(struct parser *parser)
{
    struct giga_options *options = parser->options;

    if (options->resume && options->overwrite)
        return wrong(parser, "--resume and --overwrite do not go together");
    if (options->given[GIGA_OPT_KEEP] && options->given[GIGA_OPT_REMOVE])
        return wrong(parser, "--keep and --remove do not go together");
    if (options->plan.ids == GIGA_IDS_SCATTERED && options->given[GIGA_OPT_ORDER] &&
        options->plan.order == GIGA_RANDOM)
        return wrong(parser, "--order random and --ids scattered do not go together: scattered ids "
                             "are a random order already");
    options->verify_only = options->verify && !options->count_given && !options->resume &&
                           !options->overwrite && options->phase_count == 0;
    if (options->threads == 0)
        options->threads = options->durability == KILN_FULL ? 4 : 1;
    return true;
}

bool
giga_options_parse(struct giga_options *options, int argc, char *const *argv, char *error,
                   size_t error_size)
{
    struct parser parser = {.options = options, .error = error, .error_size = error_size};
    bool options_end = false;

    memset(options, 0, sizeof(*options));
    options->plan.count = 1000000;
    options->plan.seed = 1;
    options->plan.indexes = GIGA_INDEX_NAME;
    options->db = "gigatest.db";
    options->txn = 100;
    options->durability = KILN_FULL;
    options->lazy_ms = 100;
    options->checkpoint_ms = 60000;
    options->interval_ms = 2000;
    for (int i = 1; i < argc;) {
        const char *word = argv[i];
        int used = 1;

        if (!options_end && strcmp(word, "--") == 0) {
            options_end = true;
        } else if (!options_end && strncmp(word, "--", 2) == 0) {
            if (!option_take(&parser, word, i + 1 < argc ? argv[i + 1] : NULL, &used))
                return false;
        } else if (!options_end && word[0] == '-' && word[1] != 0) {
            return wrong(&parser, "no such option: %s (gigatest --help lists them)", word);
        } else if (options->count_given) {
            return wrong(&parser, "one COUNT only: \"%s\" is a second", word);
        } else {
            if (!count_take(&parser, "COUNT", word, GIGA_COUNT_MAX, &options->plan.count))
                return false;
            options->count_given = true;
        }
        i += used;
    }
    return together(&parser);
}

void
giga_options_help(FILE *out)
{
    fprintf(out, "usage: gigatest [COUNT] [option ...]\n"
                 "Load COUNT Person records (1m) into a kiln database, and tell how fast.\n\n");
    for (uint32_t i = 0; i < GIGA_OPT_COUNT; i++) {
        char left[40];

        snprintf(left, sizeof(left), "--%s %s", entries[i].name, entries[i].argument);
        fprintf(out, "  %-26s %s\n", left, entries[i].help);
    }
    fprintf(out, "\nCounts end in k, m, b (10^9) or t; sizes in k, M, G or T (powers of 1024).\n"
                 "Exit status: 0 done and proven; 1 failed, or something is wrong with the data; "
                 "2 wrong\ncommand line; 128 + number of the signal that stopped it.\n");
}

/* ---- the command that resumes --------------------------------------------------------------- */

struct line {
    char *buffer;
    size_t size, used;
};

static void
line_put(struct line *line, const char *text)
{
    size_t size = strlen(text);

    if (line->used + size < line->size)
        memcpy(line->buffer + line->used, text, size + 1);
    line->used += size;
}

static void
line_put_quoted(struct line *line, const char *text)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "_-./,:=+@%";

    if (*text != 0 && strspn(text, plain) == strlen(text)) {
        line_put(line, text);
        return;
    }
    line_put(line, "'");
    for (; *text != 0; text++) {
        char one[2] = {*text, 0};

        line_put(line, *text == '\'' ? "'\\''" : one);
    }
    line_put(line, "'");
}

bool
giga_options_resume_command(const struct giga_options *options, const char *program,
                            const struct giga_phase *phases, uint32_t phase_count, char *buffer,
                            size_t buffer_size)
{
    struct line line = {.buffer = buffer, .size = buffer_size, .used = 0};

    buffer[0] = 0;
    line_put_quoted(&line, program);
    line_put(&line, " --resume");
    if (!options->given[GIGA_OPT_DB]) {
        line_put(&line, " --db ");
        line_put_quoted(&line, options->db);
    }
    for (uint32_t i = 0; i < GIGA_OPT_COUNT; i++) {
        if (!options->given[i] || !entries[i].again)
            continue;
        line_put(&line, " --");
        line_put(&line, entries[i].name);
        if (entries[i].argument[0] != 0) {
            line_put(&line, " ");
            line_put_quoted(&line, options->text[i]);
        }
    }
    for (uint32_t i = 0; i < phase_count; i++) {
        char text[64];

        snprintf(text, sizeof(text), " --%s %llu", giga_kind_text(phases[i].kind),
                 (unsigned long long)phases[i].count);
        line_put(&line, text);
    }
    return line.used < line.size;
}
