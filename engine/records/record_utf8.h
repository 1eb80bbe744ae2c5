/* SPDX-License-Identifier: Apache-2.0 */
/* engine/records/record_utf8.h -- checks of UTF-8 texts and of names. */
#ifndef ENGINE_RECORD_UTF8_H
#define ENGINE_RECORD_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The offset of the first byte that is not well-formed UTF-8 (RFC 3629); text_bytes when all is. */
size_t record_utf8_check(const void *text, size_t text_bytes);

/* ASCII all through: what the usual text is.  Eight bytes at a time. */
bool record_utf8_is_ascii(const void *text, size_t text_bytes);

#endif
