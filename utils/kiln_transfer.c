/* SPDX-License-Identifier: Apache-2.0 */
/*
 * utils/kiln_transfer.c -- kiln dump, kiln load: one line for a key, KEY tab VALUE, both escaped or
 * both hexadecimal (kiln_text.h).
 *
 * A dump begins and ends with a line without a tab, which no key can have:
 *
 *     #kiln dump 1 escaped        or hex
 *     KEY tab VALUE
 *     ...
 *     #end COUNT SUM              so many lines, and a sum over their keys and values
 *
 * so that load knows a dump that was cut or changed on its way, before it commits.  Lines from
 * elsewhere need neither.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ftk/checksum.h"
#include "utils/kiln_command.h"
#include "utils/kiln_text.h"

#define MARK_BEGIN "#kiln dump "
#define MARK_VERSION "1 "
#define MARK_END "#end "

enum { PIECE_BYTES = 1 << 20 };

/* Keys and values, in order: what the end mark says of them. */
struct contents {
    uint64_t count;
    uint64_t sum;
};

/* In pieces, so that a value adds the same whether it is at hand as a whole or not. */
static void
contents_add(struct contents *contents, const void *data, size_t size)
{
    const uint8_t *at = data;

    do {
        size_t n = size < PIECE_BYTES ? size : PIECE_BYTES;
        contents->sum = ftk_checksum(at, n, contents->sum + 1);
        at += n;
        size -= n;
    } while (size > 0);
}

/* ---- dump ----------------------------------------------------------------------------------- */

typedef void write_bytes(FILE *out, const void *data, size_t size);

struct dump {
    const struct utils_session *session;
    write_bytes *write;
    struct contents contents;
};

static void
dump_bytes(struct dump *dump, const void *data, size_t size)
{
    contents_add(&dump->contents, data, size);
    dump->write(stdout, data, size);
}

/* A value too large to be borrowed. */
static kiln_status
dump_large(struct dump *dump, kiln_slice key)
{
    const struct utils_session *session = dump->session;
    uint64_t size, offset = 0;
    size_t count = 0;
    char *piece = malloc(PIECE_BYTES);
    kiln_status status = KILN_NOMEM;

    if (piece != NULL)
        status = kiln_value_size(session->txn, session->coll, key.data, key.size, &size);
    for (; status == KILN_OK && offset < size; offset += count) {
        status = kiln_value_read(session->txn, session->coll, key.data, key.size, offset, piece,
                                 PIECE_BYTES, &count);
        if (status == KILN_OK)
            dump_bytes(dump, piece, count);
    }
    free(piece);
    return status;
}

static kiln_status
dump_item(struct dump *dump, kiln_cursor *cursor)
{
    kiln_slice key, value;
    kiln_status status = kiln_cursor_item(cursor, &key, NULL);

    if (status != KILN_OK)
        return status;
    dump_bytes(dump, key.data, key.size);
    putchar('\t');
    status = kiln_cursor_item(cursor, NULL, &value);
    if (status == KILN_OK)
        dump_bytes(dump, value.data, value.size);
    else if (status == KILN_TOOBIG && (status = kiln_cursor_item(cursor, &key, NULL)) == KILN_OK)
        status = dump_large(dump, key);
    putchar('\n');
    dump->contents.count++;
    return status;
}

static kiln_status
dump_all(struct dump *dump)
{
    kiln_cursor *cursor = NULL;
    kiln_status status =
        kiln_cursor_open(dump->session->txn, dump->session->coll, KILN_CURSOR_SCAN, &cursor);

    if (status != KILN_OK)
        return status;
    while ((status = kiln_cursor_next(cursor)) == KILN_OK) {
        status = dump_item(dump, cursor);
        if (status != KILN_OK || ferror(stdout))
            break;
    }
    kiln_cursor_close(cursor);
    return status == KILN_NOTFOUND ? KILN_OK : status;
}

int
utils_dump(const struct utils_call *call)
{
    bool hex = (call->options & UTILS_HEX) != 0;
    struct utils_session session;
    struct dump dump = {&session, hex ? utils_write_hex : utils_write_escaped, {0, 0}};
    kiln_status status;
    int result = utils_begin(call, KILN_READ, &session);

    if (result != UTILS_OK)
        return result;
    puts(hex ? MARK_BEGIN MARK_VERSION "hex" : MARK_BEGIN MARK_VERSION "escaped");
    status = dump_all(&dump);
    if (status != KILN_OK)
        result = utils_fail(call, status, call->arguments[0]);
    else
        printf(MARK_END "%" PRIu64 " %016" PRIx64 "\n", dump.contents.count, dump.contents.sum);
    return utils_end(call, &session, result);
}

/* ---- load ----------------------------------------------------------------------------------- */

struct load {
    const struct utils_call *call;
    struct utils_session *session;
    uint64_t line; /* the one in hand, from 1; 0: none yet */
    bool hex;
    bool marked; /* it is a dump: it has an end */
    bool ended;
    struct contents contents;
    uint64_t committed;
};

static int
load_fail(const struct load *load, const char *words)
{
    return utils_complain(load->call, "line %llu: %s; %llu lines are committed",
                          (unsigned long long)load->line, words,
                          (unsigned long long)load->committed);
}

static int
load_status(const struct load *load, kiln_status status)
{
    const kiln_error *error = kiln_error_last();

    if (status == KILN_EXISTS)
        return load_fail(load, "the key is there already");
    return load_fail(load, error->status == status ? error->text : kiln_status_text(status));
}

static bool
begins_with(const char *line, size_t size, const char *words)
{
    return size >= strlen(words) && memcmp(line, words, strlen(words)) == 0;
}

static bool
is(const char *line, size_t size, const char *words)
{
    return size == strlen(words) && begins_with(line, size, words);
}

/* The first line of a dump. */
static int
load_begin_mark(struct load *load, const char *line, size_t size)
{
    if (is(line, size, MARK_BEGIN MARK_VERSION "hex"))
        load->hex = true;
    else if (!is(line, size, MARK_BEGIN MARK_VERSION "escaped"))
        return load_fail(load, "a dump of a kind that this version does not read");
    else if (load->hex)
        return load_fail(load, "the dump is escaped, not hexadecimal: without --hex");
    load->marked = true;
    return UTILS_OK;
}

/* The last line of a dump; size without the line feed, which must be there. */
static int
load_end_mark(struct load *load, const char *line, size_t size, bool whole)
{
    char wanted[64];

    snprintf(wanted, sizeof(wanted), MARK_END "%" PRIu64 " %016" PRIx64, load->contents.count,
             load->contents.sum);
    if (!whole || !is(line, size, wanted))
        return load_fail(load, "the dump is not what was written: its end mark differs");
    load->ended = true;
    return UTILS_OK;
}

/* KEY tab VALUE, decoded in place. */
static int
load_item(struct load *load, char *line, size_t size, char *tab)
{
    uint32_t flags = load->call->options & UTILS_INSERT ? KILN_PUT_INSERT : KILN_PUT_REPLACE;
    bool (*decode)(char *, size_t, size_t *) = load->hex ? utils_read_hex : utils_read_escaped;
    size_t key_size, value_size;
    kiln_status status;

    if (!decode(line, (size_t)(tab - line), &key_size) ||
        !decode(tab + 1, size - (size_t)(tab + 1 - line), &value_size))
        return load_fail(load, load->hex ? "not pairs of hexadecimal digits"
                                         : "a backslash is followed by none of \\ t n r xHH");
    contents_add(&load->contents, line, key_size);
    contents_add(&load->contents, tab + 1, value_size);
    load->contents.count++;
    status = kiln_put(load->session->txn, load->session->coll, line, key_size, tab + 1, value_size,
                      flags);
    return status == KILN_OK ? UTILS_OK : load_status(load, status);
}

/* One line with its line feed, but for a last one that may have none. */
static int
load_line(struct load *load, char *line, size_t size)
{
    bool whole = line[size - 1] == '\n';
    char *tab;

    size -= whole;
    if (size > 0 && line[size - 1] == '\r')
        return load_fail(load, "it ends in a carriage return (CR LF): lines end in a line feed "
                               "alone, and a carriage return of a value is \\r");
    if (load->line == 1 && begins_with(line, size, "\xef\xbb\xbf"))
        return load_fail(load, "it begins with a byte order mark: lines have none, and a key that "
                               "begins so is \\xef\\xbb\\xbf");
    if (load->ended)
        return load_fail(load, "there is more behind the end of the dump");
    tab = memchr(line, '\t', size);
    if (tab != NULL)
        return load_item(load, line, size, tab);
    if (load->line == 1 && begins_with(line, size, MARK_BEGIN))
        return load_begin_mark(load, line, size);
    if (load->marked && begins_with(line, size, MARK_END))
        return load_end_mark(load, line, size, whole);
    return load_fail(load, "there is no tab between key and value");
}

/* End the transaction and begin the next. */
static int
load_commit(struct load *load)
{
    kiln_status status = kiln_txn_commit(load->session->txn);

    load->session->txn = NULL;
    if (status == KILN_OK) {
        load->committed = load->contents.count;
        status = kiln_txn_begin(load->session->db, KILN_WRITE, &load->session->txn);
    }
    return status == KILN_OK ? UTILS_OK : load_status(load, status);
}

/* A dump is one transaction, unless --batch says otherwise: all of it or nothing. */
static bool
batch_is_full(const struct load *load)
{
    return load->contents.count > 0 && load->contents.count % load->call->batch == 0 &&
           (!load->marked || (load->call->options & UTILS_BATCH)) && !load->ended;
}

static int
load_all(struct load *load)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t size;
    int result = UTILS_OK;

    while (result == UTILS_OK && (size = getline(&line, &room, stdin)) > 0) {
        load->line++;
        result = load_line(load, line, (size_t)size);
        if (result == UTILS_OK && batch_is_full(load))
            result = load_commit(load);
    }
    if (result == UTILS_OK && !feof(stdin))
        result = load_fail(load, strerror(errno));
    if (result == UTILS_OK && load->marked && !load->ended)
        result = load_fail(load, "the dump is cut: its end mark is missing");
    free(line);
    return result;
}

int
utils_load(const struct utils_call *call)
{
    struct utils_session session;
    struct load load = {.call = call, .session = &session};
    int result = utils_begin(call, KILN_WRITE, &session);

    if (result != UTILS_OK)
        return result;
    load.hex = (call->options & UTILS_HEX) != 0;
    result = load_all(&load);
    if (result == UTILS_OK)
        result = load_commit(&load);
    result = utils_end(call, &session, result);
    if (result == UTILS_OK)
        printf("%llu\n", (unsigned long long)load.contents.count);
    return result;
}
