/* SPDX-License-Identifier: Apache-2.0 */
/* engine/txn/structs.c -- structs of a program that begin with their size. */
#include <string.h>

#include "engine/txn/db_state.h"

ftk_status
struct_options_read(const void *options, const char *name, void *known, size_t known_size)
{
    size_t size;

    FTK_ASSERT(options != NULL && known_size >= sizeof(size));
    memcpy(&size, options, sizeof(size));
    if (!struct_size_is_set(size))
        return FTK_FAIL(FTK_INVALID, "%s.size is not set: begin it by its initialiser", name);
    for (size_t i = known_size; i < size; i++)
        if (((const uint8_t *)options)[i] != 0)
            return FTK_FAIL(FTK_INVALID,
                            "%s of %zu bytes asks for what this version of kiln, with "
                            "%zu, does not know",
                            name, size, known_size);
    memcpy(known, options, size < known_size ? size : known_size);
    memcpy(known, &known_size, sizeof(known_size));
    return FTK_OK;
}
