/* SPDX-License-Identifier: Apache-2.0 */
/* utils/kiln_text.c -- bytes as text: escaped, hexadecimal, JSON. */
#include "utils/kiln_text.h"

#include <stdint.h>
#include <string.h>

static const char digits[] = "0123456789abcdef";

/* ---- write ---------------------------------------------------------------------------------- */

void
utils_write_escaped(FILE *out, const void *data, size_t size)
{
    const uint8_t *at = data;

    for (const uint8_t *end = at + size; at < end; at++) {
        switch (*at) {
        case '\\': fputs("\\\\", out); break;
        case '\t': fputs("\\t", out); break;
        case '\n': fputs("\\n", out); break;
        case '\r': fputs("\\r", out); break;
        default:
            if (*at >= 0x20 && *at != 0x7f)
                putc(*at, out);
            else
                fprintf(out, "\\x%02x", *at);
        }
    }
}

void
utils_write_hex(FILE *out, const void *data, size_t size)
{
    const uint8_t *at = data;

    for (const uint8_t *end = at + size; at < end; at++) {
        putc(digits[*at >> 4], out);
        putc(digits[*at & 15], out);
    }
}

/* Bytes of the UTF-8 character at `at` (terminated text); 0: none. */
static size_t
utf8_bytes(const uint8_t *at)
{
    uint32_t code = at[0];
    size_t bytes = code < 0x80 ? 1 : code < 0xc2 ? 0 : code < 0xe0 ? 2 : code < 0xf0 ? 3 : 4;

    if (bytes < 2 || code > 0xf4)
        return code > 0xf4 ? 0 : bytes;
    code &= 0x7fu >> bytes;
    for (size_t i = 1; i < bytes; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (at[i] & 0x3f);
    }
    if ((bytes == 3 && (code < 0x800 || (code >= 0xd800 && code < 0xe000))) ||
        (bytes == 4 && (code < 0x10000 || code > 0x10ffff)))
        return 0;
    return bytes;
}

void
utils_write_json(FILE *out, const char *text)
{
    const uint8_t *at = (const uint8_t *)text;

    putc('"', out);
    while (*at != 0) {
        size_t bytes = utf8_bytes(at);
        if (bytes == 0)
            fputs("\\ufffd", out);
        else if (*at == '"' || *at == '\\')
            fprintf(out, "\\%c", *at);
        else if (*at < 0x20 || *at == 0x7f)
            fprintf(out, "\\u%04x", *at);
        else
            fwrite(at, 1, bytes, out);
        at += bytes == 0 ? 1 : bytes;
    }
    putc('"', out);
}

/* ---- read ----------------------------------------------------------------------------------- */

static int
digit_value(char c)
{
    const char *at;

    if (c >= 'A' && c <= 'F')
        c = (char)(c - 'A' + 'a');
    at = c == 0 ? NULL : strchr(digits, c);
    return at == NULL ? -1 : (int)(at - digits);
}

/* Two digits; -1: they are not. */
static int
byte_value(const char *from)
{
    int high = digit_value(from[0]), low = high < 0 ? -1 : digit_value(from[1]);

    return low < 0 ? -1 : high << 4 | low;
}

/* The byte behind a backslash; *used_out: characters of it. */
static int
escape_value(const char *from, size_t size, size_t *used_out)
{
    *used_out = 1;
    if (size == 0)
        return -1;
    switch (from[0]) {
    case '\\': return '\\';
    case 't': return '\t';
    case 'n': return '\n';
    case 'r': return '\r';
    case 'x': *used_out = 3; return size < 3 ? -1 : byte_value(from + 1);
    default: return -1;
    }
}

bool
utils_read_escaped(char *text, size_t size, size_t *size_out)
{
    size_t to = 0, used;

    *size_out = 0;
    for (size_t i = 0; i < size; i++) {
        int value = (uint8_t)text[i];
        if (value == '\\') {
            value = escape_value(text + i + 1, size - i - 1, &used);
            if (value < 0)
                return false;
            i += used;
        }
        text[to++] = (char)value;
    }
    *size_out = to;
    return true;
}

bool
utils_read_hex(char *text, size_t size, size_t *size_out)
{
    *size_out = 0;
    if (size % 2 != 0)
        return false;
    for (size_t i = 0; i < size; i += 2) {
        int value = byte_value(text + i);
        if (value < 0)
            return false;
        text[i / 2] = (char)value;
    }
    *size_out = size / 2;
    return true;
}
