/* SPDX-License-Identifier: Apache-2.0 */
/*
 * utils/kiln_text.h -- bytes as text: escaped, hexadecimal, JSON.
 *
 * Escaped: a backslash is \\, a tab \t, a line feed \n, a carriage return \r; other bytes below 20
 * and 7f are \xHH; all others stand for themselves.  What is read may have any byte as \xHH.
 */
#ifndef UTILS_KILN_TEXT_H
#define UTILS_KILN_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

void utils_write_escaped(FILE *out, const void *data, size_t size);
void utils_write_hex(FILE *out, const void *data, size_t size);
/* With quotation marks; bytes that are not UTF-8 become U+FFFD. */
void utils_write_json(FILE *out, const char *text);

/* In place: text[0, size) to bytes; *size_out <= size of them.  false: malformed. */
bool utils_read_escaped(char *text, size_t size, size_t *size_out);
bool utils_read_hex(char *text, size_t size, size_t *size_out);

#endif
