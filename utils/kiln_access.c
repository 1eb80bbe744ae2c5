/* SPDX-License-Identifier: Apache-2.0 */
/* utils/kiln_access.c -- kiln get, kiln put, kiln delete. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "utils/kiln_command.h"
#include "utils/kiln_text.h"

enum { PIECE_BYTES = 1 << 20 };

/* The argument as bytes; hexadecimal digits are changed in place. */
static int
argument_bytes(const struct utils_call *call, int n, kiln_slice *slice)
{
    char *text = call->arguments[n];
    size_t size = strlen(text);

    if ((call->options & UTILS_HEX) != 0 && !utils_read_hex(text, size, &size)) {
        utils_complain(call, "\"%s\" is not pairs of hexadecimal digits", text);
        return UTILS_USAGE;
    }
    *slice = (kiln_slice){text, size};
    return UTILS_OK;
}

static int
access_fail(const struct utils_call *call, kiln_status status)
{
    if (status == KILN_NOTFOUND)
        return utils_complain(call, "no such key");
    if (status == KILN_EXISTS)
        return utils_complain(call, "the key is there already");
    return utils_fail(call, status, call->arguments[0]);
}

/* ---- get ------------------------------------------------------------------------------------ */

static int
get_pieces(const struct utils_call *call, const struct utils_session *session, kiln_slice key)
{
    uint64_t offset = 0, size;
    char *piece = malloc(PIECE_BYTES);
    kiln_status status = KILN_NOMEM;
    size_t count;

    if (piece != NULL)
        status = kiln_value_size(session->txn, session->coll, key.data, key.size, &size);
    while (status == KILN_OK && offset < size) {
        status = kiln_value_read(session->txn, session->coll, key.data, key.size, offset, piece,
                                 PIECE_BYTES, &count);
        if (status != KILN_OK)
            break;
        if (call->options & UTILS_HEX)
            utils_write_hex(stdout, piece, count);
        else
            fwrite(piece, 1, count, stdout);
        offset += count;
    }
    free(piece);
    if (status == KILN_OK && (call->options & UTILS_RAW) == 0)
        putchar('\n');
    return status == KILN_OK ? UTILS_OK : access_fail(call, status);
}

int
utils_get(const struct utils_call *call)
{
    struct utils_session session;
    kiln_slice key;
    int result = argument_bytes(call, 2, &key);

    if (result == UTILS_OK)
        result = utils_begin(call, KILN_READ, &session);
    if (result != UTILS_OK)
        return result;
    return utils_end(call, &session, get_pieces(call, &session, key));
}

/* ---- put ------------------------------------------------------------------------------------ */

/*
 * What is to be put.  The first bytes are read to memory: a file that ends there is known, whatever
 * the file system says of its size (0 for those of /proc, a page for those of /sys).  The rest of a
 * longer one goes in piece by piece where its size is known, and else through memory.
 */
struct source {
    FILE *in;
    char *head; /* owned */
    size_t head_size, head_done;
};

/* Read to the end of the file, or until `room` bytes are there; false: no memory. */
static bool
head_read(struct source *source, size_t room)
{
    char *more = realloc(source->head, room);
    size_t count;

    if (more == NULL)
        return false;
    source->head = more;
    while (source->head_size < room && (count = fread(source->head + source->head_size, 1,
                                                      room - source->head_size, source->in)) > 0)
        source->head_size += count;
    return true;
}

static bool
is_at_end(const struct source *source)
{
    return feof(source->in) || ferror(source->in);
}

/* Bytes of a regular file from where it was to be read; 0: not known. */
static uint64_t
size_known(const struct source *source)
{
    off_t at = ftello(source->in);
    struct stat info;

    if (at < 0 || fstat(fileno(source->in), &info) != 0 || !S_ISREG(info.st_mode) ||
        info.st_size <= at)
        return 0;
    return source->head_size + (uint64_t)(info.st_size - at);
}

/* As kiln_value_write asks. */
static int
source_read(void *context, void *buffer, size_t buffer_size)
{
    struct source *source = context;
    size_t left = source->head_size - source->head_done;
    size_t count = left < buffer_size ? left : buffer_size;

    memcpy(buffer, source->head + source->head_done, count);
    source->head_done += count;
    return fread((char *)buffer + count, 1, buffer_size - count, source->in) != buffer_size - count;
}

static int
put_source(const struct utils_call *call, const struct utils_session *session, kiln_slice key,
           struct source *source)
{
    size_t room = PIECE_BYTES;
    uint64_t size = 0;
    kiln_status status;

    while (head_read(source, room) && !is_at_end(source) && (size = size_known(source)) == 0 &&
           source->head_size <= KILN_VALUE_MAX)
        room = room < KILN_VALUE_MAX / 2 ? room * 2 : (size_t)KILN_VALUE_MAX + 1;
    if (ferror(source->in))
        return utils_complain(call, "%s: %s", call->file, strerror(errno));
    if (source->head_size < room && !feof(source->in))
        return utils_complain(call, "%s: out of memory", call->file);
    if (size == 0)
        size = source->head_size;
    status = kiln_value_write(session->txn, session->coll, key.data, key.size, size, source_read,
                              source);
    if (status == KILN_CANCELED)
        return utils_complain(call, "%s: %s", call->file,
                              ferror(source->in) ? strerror(errno) : "it became shorter meanwhile");
    if (status != KILN_OK)
        return access_fail(call, status);
    if (getc(source->in) != EOF)
        return utils_complain(call, "%s: it became longer meanwhile", call->file);
    return UTILS_OK;
}

static int
put_file(const struct utils_call *call, const struct utils_session *session, kiln_slice key)
{
    struct source source = {NULL, NULL, 0, 0};
    uint64_t size;
    int result;

    if ((call->options & UTILS_INSERT) &&
        kiln_value_size(session->txn, session->coll, key.data, key.size, &size) == KILN_OK)
        return access_fail(call, KILN_EXISTS);
    source.in = strcmp(call->file, "-") == 0 ? stdin : fopen(call->file, "rb");
    if (source.in == NULL)
        return utils_complain(call, "%s: %s", call->file, strerror(errno));
    result = put_source(call, session, key, &source);
    if (source.in != stdin)
        fclose(source.in);
    free(source.head);
    return result;
}

static int
put_value(const struct utils_call *call, const struct utils_session *session, kiln_slice key,
          kiln_slice value)
{
    uint32_t flags = call->options & UTILS_INSERT ? KILN_PUT_INSERT : KILN_PUT_REPLACE;
    kiln_status status =
        kiln_put(session->txn, session->coll, key.data, key.size, value.data, value.size, flags);

    return status == KILN_OK ? UTILS_OK : access_fail(call, status);
}

int
utils_put(const struct utils_call *call)
{
    struct utils_session session;
    kiln_slice key, value = {NULL, 0};
    int result;

    if ((call->argument_count == 4) == (call->file != NULL)) {
        utils_complain(call, "either VALUE or --file FILE");
        return UTILS_USAGE;
    }
    result = argument_bytes(call, 2, &key);
    if (result == UTILS_OK && call->file == NULL)
        result = argument_bytes(call, 3, &value);
    if (result == UTILS_OK)
        result = utils_begin(call, KILN_WRITE, &session);
    if (result != UTILS_OK)
        return result;
    if (call->file != NULL)
        result = put_file(call, &session, key);
    else
        result = put_value(call, &session, key, value);
    return utils_end(call, &session, result);
}

/* ---- delete --------------------------------------------------------------------------------- */

int
utils_delete(const struct utils_call *call)
{
    struct utils_session session;
    kiln_slice key;
    kiln_status status;
    int result = argument_bytes(call, 2, &key);

    if (result == UTILS_OK)
        result = utils_begin(call, KILN_WRITE, &session);
    if (result != UTILS_OK)
        return result;
    status = kiln_delete(session.txn, session.coll, key.data, key.size);
    if (status != KILN_OK)
        result = access_fail(call, status);
    return utils_end(call, &session, result);
}
