/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/support/slowdisk.h -- a disk whose asynchronous I/O takes the time of a given device.
 *
 * Files and names are the native disk's; only asynchronous I/O is ours.  A device is a number
 * of channels, each with one I/O at a time, and a distribution of latencies: most I/Os quick, a few
 * slow, some very slow, as flash is while it erases.  I/Os end in the order of their due times, not
 * of their submission.  Used to measure what waiting for the oldest I/O costs.
 */
#ifndef TESTS_SUPPORT_SLOWDISK_H
#define TESTS_SUPPORT_SLOWDISK_H

#include "ftk/disk.h"

#define SLOWDISK_LEVELS 4

struct slowdisk_options {
    uint64_t seed;
    uint32_t channels;
    bool discard; /* writes take their time and go nowhere; reads give zeros */
    struct {
        double share; /* of all I/Os; the shares add up to 1 */
        uint64_t ns;
    } levels[SLOWDISK_LEVELS];
};
/* 32 channels; 95 % of the I/Os take 100 us, 4 % 2 ms, 1 % 50 ms. */
#define SLOWDISK_OPTIONS_INIT                                                                      \
    {                                                                                              \
        .channels = 32, .levels = { {0.95, 100000}, {0.04, 2000000}, {0.01, 50000000} }            \
    }

struct slowdisk;
struct slowdisk *slowdisk_new(const struct slowdisk_options *options);
void slowdisk_free(struct slowdisk *disk); /* after its queues are closed; NULL is fine */
struct ftk_disk *slowdisk_disk(struct slowdisk *disk);

#endif
