/* SPDX-License-Identifier: Apache-2.0 */
/* gigatest/giga_json.c -- see giga_json.h. */
#include "gigatest/giga_json.h"

#include <inttypes.h>
#include <math.h>

static void
string_put(FILE *out, const char *text)
{
    putc('"', out);
    for (; *text != 0; text++) {
        unsigned char byte = (unsigned char)*text;

        if (byte == '"' || byte == '\\')
            fprintf(out, "\\%c", byte);
        else if (byte < 0x20)
            fprintf(out, "\\u%04x", byte);
        else
            putc(byte, out);
    }
    putc('"', out);
}

static void
member(struct giga_json *json, const char *key)
{
    if (json->member[json->depth])
        putc(',', json->out);
    json->member[json->depth] = true;
    if (key != NULL) {
        fprintf(json->out, "\n%*s", (int)json->depth * 2, "");
        string_put(json->out, key);
        fputs(": ", json->out);
    }
}

void
giga_json_begin(struct giga_json *json, const char *key, char bracket)
{
    member(json, key);
    putc(bracket, json->out);
    if (json->depth + 1 < GIGA_JSON_DEPTH)
        json->depth++;
    json->member[json->depth] = false;
}

void
giga_json_end(struct giga_json *json, char bracket)
{
    if (json->depth > 0)
        json->depth--;
    if (bracket == '}')
        fprintf(json->out, "\n%*s", (int)json->depth * 2, "");
    putc(bracket, json->out);
    if (json->depth == 0)
        putc('\n', json->out);
}

void
giga_json_text(struct giga_json *json, const char *key, const char *text)
{
    member(json, key);
    if (text == NULL)
        fputs("null", json->out);
    else
        string_put(json->out, text);
}

void
giga_json_count(struct giga_json *json, const char *key, uint64_t value)
{
    member(json, key);
    fprintf(json->out, "%" PRIu64, value);
}

void
giga_json_real(struct giga_json *json, const char *key, double value)
{
    member(json, key);
    if (isfinite(value))
        fprintf(json->out, "%.10g", value);
    else
        fputs("null", json->out);
}

void
giga_json_bool(struct giga_json *json, const char *key, bool value)
{
    member(json, key);
    fputs(value ? "true" : "false", json->out);
}

void
giga_json_null(struct giga_json *json, const char *key)
{
    member(json, key);
    fputs("null", json->out);
}
