/* SPDX-License-Identifier: Apache-2.0 */
/* ftk/checksum.h -- XXH3 64 bits (libxxhash); the checksum of pages and log records. */
#ifndef FTK_CHECKSUM_H
#define FTK_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

uint64_t ftk_checksum(const void *memory, size_t size, uint64_t seed);

#endif
