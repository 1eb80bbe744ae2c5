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
    result = utils_end(call, &session, get_pieces(call, &session, key));
    return result != UTILS_OK ? result : utils_flush(call);
}

/* ---- put ------------------------------------------------------------------------------------ */

static int
source_read(void *context, void *buffer, size_t buffer_size)
{
    return fread(buffer, 1, buffer_size, context) != buffer_size;
}

/* All that a stream of unknown length holds; owned. */
static char *
read_all(FILE *in, size_t *size_out)
{
    size_t room = 65536, size = 0, count;
    char *data = malloc(room), *more;

    while (data != NULL && (count = fread(data + size, 1, room - size, in)) > 0) {
        size += count;
        if (size < room)
            continue;
        more = realloc(data, room *= 2);
        if (more == NULL)
            free(data);
        data = more;
    }
    *size_out = size;
    return data;
}

/* A regular file goes in piece by piece, anything else through memory. */
static int
put_stream(const struct utils_call *call, const struct utils_session *session, kiln_slice key,
           FILE *in)
{
    uint32_t flags = call->options & UTILS_INSERT ? KILN_PUT_INSERT : KILN_PUT_REPLACE;
    kiln_slice found;
    struct stat info;
    kiln_status status;
    size_t size;
    char *data;

    if (flags == KILN_PUT_REPLACE && fstat(fileno(in), &info) == 0 && S_ISREG(info.st_mode)) {
        status = kiln_value_write(session->txn, session->coll, key.data, key.size,
                                  (uint64_t)info.st_size, source_read, in);
        if (status == KILN_CANCELED)
            return utils_complain(call, "%s: %s", call->file,
                                  ferror(in) ? strerror(errno) : "it became shorter");
        return status == KILN_OK ? UTILS_OK : access_fail(call, status);
    }
    if (flags == KILN_PUT_INSERT &&
        kiln_get(session->txn, session->coll, key.data, key.size, &found) == KILN_OK)
        return access_fail(call, KILN_EXISTS);
    data = read_all(in, &size);
    if (data == NULL)
        return utils_complain(call, "%s: out of memory", call->file);
    if (ferror(in)) {
        free(data);
        return utils_complain(call, "%s: %s", call->file, strerror(errno));
    }
    status = kiln_put(session->txn, session->coll, key.data, key.size, data, size, flags);
    free(data);
    return status == KILN_OK ? UTILS_OK : access_fail(call, status);
}

static int
put_file(const struct utils_call *call, const struct utils_session *session, kiln_slice key)
{
    FILE *in = strcmp(call->file, "-") == 0 ? stdin : fopen(call->file, "rb");
    int result;

    if (in == NULL)
        return utils_complain(call, "%s: %s", call->file, strerror(errno));
    result = put_stream(call, session, key, in);
    if (in != stdin)
        fclose(in);
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
