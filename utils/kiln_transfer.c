/*
 * utils/kiln_transfer.c -- kiln dump, kiln load: one line for a key, KEY tab VALUE, both escaped or
 * both hexadecimal (kiln_text.h).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "utils/kiln_command.h"
#include "utils/kiln_text.h"

enum { PIECE_BYTES = 1 << 20 };

/* ---- dump ----------------------------------------------------------------------------------- */

typedef void write_bytes(FILE *out, const void *data, size_t size);

/* A value too large to be borrowed. */
static kiln_status
dump_large(const struct utils_session *session, kiln_slice key, write_bytes *write)
{
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
            write(stdout, piece, count);
    }
    free(piece);
    return status;
}

static kiln_status
dump_item(const struct utils_session *session, kiln_cursor *cursor, write_bytes *write)
{
    kiln_slice key, value;
    kiln_status status = kiln_cursor_item(cursor, &key, NULL);

    if (status != KILN_OK)
        return status;
    write(stdout, key.data, key.size);
    putchar('\t');
    status = kiln_cursor_item(cursor, NULL, &value);
    if (status == KILN_OK)
        write(stdout, value.data, value.size);
    else if (status == KILN_TOOBIG && (status = kiln_cursor_item(cursor, &key, NULL)) == KILN_OK)
        status = dump_large(session, key, write);
    putchar('\n');
    return status;
}

static kiln_status
dump_all(const struct utils_session *session, write_bytes *write)
{
    kiln_cursor *cursor = NULL;
    kiln_status status = kiln_cursor_open(session->txn, session->coll, KILN_CURSOR_SCAN, &cursor);

    if (status != KILN_OK)
        return status;
    while ((status = kiln_cursor_next(cursor)) == KILN_OK) {
        status = dump_item(session, cursor, write);
        if (status != KILN_OK || ferror(stdout))
            break;
    }
    kiln_cursor_close(cursor);
    return status == KILN_NOTFOUND ? KILN_OK : status;
}

int
utils_dump(const struct utils_call *call)
{
    struct utils_session session;
    kiln_status status;
    int result = utils_begin(call, KILN_READ, &session);

    if (result != UTILS_OK)
        return result;
    status = dump_all(&session, call->options & UTILS_HEX ? utils_write_hex : utils_write_escaped);
    if (status != KILN_OK)
        result = utils_fail(call, status, call->arguments[0]);
    result = utils_end(call, &session, result);
    return result != UTILS_OK ? result : utils_flush(call);
}

/* ---- load ----------------------------------------------------------------------------------- */

struct load {
    const struct utils_call *call;
    struct utils_session *session;
    uint64_t line; /* the one in hand, from 1; 0: none yet */
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

/* One line without its end; it is decoded in place. */
static int
load_line(const struct load *load, char *line, size_t size)
{
    bool hex = (load->call->options & UTILS_HEX) != 0;
    uint32_t flags = load->call->options & UTILS_INSERT ? KILN_PUT_INSERT : KILN_PUT_REPLACE;
    bool (*decode)(char *, size_t, size_t *) = hex ? utils_read_hex : utils_read_escaped;
    char *tab = memchr(line, '\t', size);
    size_t key_size, value_size;
    kiln_status status;

    if (tab == NULL)
        return load_fail(load, "there is no tab between key and value");
    if (!decode(line, (size_t)(tab - line), &key_size) ||
        !decode(tab + 1, size - (size_t)(tab + 1 - line), &value_size))
        return load_fail(load, hex ? "not pairs of hexadecimal digits"
                                   : "a backslash is followed by none of \\ t n r xHH");
    status = kiln_put(load->session->txn, load->session->coll, line, key_size, tab + 1, value_size,
                      flags);
    return status == KILN_OK ? UTILS_OK : load_status(load, status);
}

/* End the transaction and begin the next. */
static int
load_commit(struct load *load)
{
    kiln_status status = kiln_txn_commit(load->session->txn);

    load->session->txn = NULL;
    if (status == KILN_OK) {
        load->committed = load->line;
        status = kiln_txn_begin(load->session->db, KILN_WRITE, &load->session->txn);
    }
    return status == KILN_OK ? UTILS_OK : load_status(load, status);
}

int
utils_load(const struct utils_call *call)
{
    struct utils_session session;
    struct load load = {call, &session, 0, 0};
    char *line = NULL;
    size_t room = 0;
    ssize_t size;
    int result = utils_begin(call, KILN_WRITE, &session);

    if (result != UTILS_OK)
        return result;
    while (result == UTILS_OK && (size = getline(&line, &room, stdin)) > 0) {
        load.line++;
        if (line[size - 1] == '\n')
            size--;
        result = load_line(&load, line, (size_t)size);
        if (result == UTILS_OK && load.line % call->batch == 0)
            result = load_commit(&load);
    }
    if (result == UTILS_OK && !feof(stdin))
        result = load_fail(&load, strerror(errno));
    if (result == UTILS_OK)
        result = load_commit(&load);
    free(line);
    result = utils_end(call, &session, result);
    if (result == UTILS_OK)
        printf("%llu\n", (unsigned long long)load.line);
    return result != UTILS_OK ? result : utils_flush(call);
}
