/* SPDX-License-Identifier: Apache-2.0 */
/* gigatest/giga_json.h -- writing JSON (RFC 8259), nothing else. */
#ifndef GIGATEST_GIGA_JSON_H
#define GIGATEST_GIGA_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define GIGA_JSON_DEPTH 16

struct giga_json {
    FILE *out;
    uint32_t depth;
    bool member[GIGA_JSON_DEPTH]; /* something stands at this depth already */
};

/* `key` is NULL inside an array and for the outermost value. */
void giga_json_begin(struct giga_json *json, const char *key, char bracket);    /* '{' or '[' */
void giga_json_end(struct giga_json *json, char bracket);                       /* '}' or ']' */
void giga_json_text(struct giga_json *json, const char *key, const char *text); /* NULL: null */
void giga_json_count(struct giga_json *json, const char *key, uint64_t value);
void giga_json_real(struct giga_json *json, const char *key, double value); /* not finite: null */
void giga_json_bool(struct giga_json *json, const char *key, bool value);
void giga_json_null(struct giga_json *json, const char *key);

#endif
