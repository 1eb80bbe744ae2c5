/* SPDX-License-Identifier: Apache-2.0 */
/* gigatest/giga_device.h -- what the operating system knows: devices, bytes, files. */
#ifndef GIGATEST_GIGA_DEVICE_H
#define GIGATEST_GIGA_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

/* Bytes this process caused to be written to storage; 0 when the system does not tell. */
uint64_t giga_device_written(void);
uint64_t giga_memory_peak(void); /* resident set, bytes */
uint64_t giga_heap_bytes(void);  /* in live allocations; 0 when the allocator cannot tell */
double giga_cpu_seconds(void);   /* of this process, user and system */
/* Size of a file, and what it takes on the device; 0 when it is not there. */
uint64_t giga_file_size(const char *path, uint64_t *allocated_out);
uint64_t giga_directory_size(const char *path); /* of the files in it */

/*
 * Bytes per second of writing 1 MiB pieces one after another, several under way, past the page
 * cache where the file system allows it, into a file in `directory` that is removed again.  At most
 * 256 MiB twice: once to lay the file out, once to measure.  0: could not be measured.
 */
double giga_device_measure(const char *directory);

#endif
