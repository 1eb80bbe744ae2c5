/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/fuzz/fuzz_kiln_text.c -- lines of kiln load: any text is refused or becomes bytes that are
 * written and read back as they were.  Input: a byte (hexadecimal or escaped), then the text.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "utils/kiln_text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
require(bool held)
{
    if (!held)
        abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    bool hex = size > 0 && data[0] % 2 != 0;
    bool (*decode)(char *, size_t, size_t *) = hex ? utils_read_hex : utils_read_escaped;
    char *text, *again = NULL;
    size_t bytes, again_size, again_bytes;
    FILE *out;

    if (size == 0)
        return 0;
    text = malloc(size);
    require(text != NULL);
    memcpy(text, data + 1, size - 1);
    if (decode(text, size - 1, &bytes)) {
        require(bytes < size);
        out = open_memstream(&again, &again_size);
        require(out != NULL);
        (hex ? utils_write_hex : utils_write_escaped)(out, text, bytes);
        require(fclose(out) == 0);
        require(hex || memchr(again, '\t', again_size) == NULL);
        require(decode(again, again_size, &again_bytes));
        require(again_bytes == bytes && memcmp(again, text, bytes) == 0);
        free(again);
    }
    free(text);
    return 0;
}
