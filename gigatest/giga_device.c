/* SPDX-License-Identifier: Apache-2.0 */
/* gigatest/giga_device.c -- see giga_device.h. */
#include "gigatest/giga_device.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ftk/clock.h"
#include "gigatest/giga_mix.h"
#include "gigatest/giga_stop.h"

uint64_t
giga_device_written(void)
{
    char text[512];
    const char *found;
    unsigned long long bytes = 0;
    ssize_t size;
    int fd = open("/proc/self/io", O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return 0;
    size = read(fd, text, sizeof(text) - 1);
    close(fd);
    if (size <= 0)
        return 0;
    text[size] = 0;
    found = strstr(text, "\nwrite_bytes:");
    if (found != NULL)
        bytes = strtoull(found + sizeof("\nwrite_bytes:") - 1, NULL, 10);
    return bytes;
}

uint64_t
giga_memory_peak(void)
{
    struct rusage usage;

    return getrusage(RUSAGE_SELF, &usage) == 0 ? (uint64_t)usage.ru_maxrss * 1024 : 0;
}

/* Of jemalloc; a program built with a sanitizer does without it. */
int mallctl(const char *name, void *old, size_t *old_size, void *new, size_t new_size)
    __attribute__((weak));

uint64_t
giga_heap_bytes(void)
{
    uint64_t epoch = 1; /* jemalloc refreshes its statistics when the epoch is written */
    size_t bytes = 0, size = sizeof(epoch);

    if (mallctl == NULL || mallctl("epoch", &epoch, &size, &epoch, sizeof(epoch)) != 0)
        return 0;
    size = sizeof(bytes);
    return mallctl("stats.allocated", &bytes, &size, NULL, 0) == 0 ? bytes : 0;
}

double
giga_cpu_seconds(void)
{
    struct rusage usage;

    if (getrusage(RUSAGE_SELF, &usage) != 0)
        return 0;
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

uint64_t
giga_file_size(const char *path, uint64_t *allocated_out)
{
    struct stat stat_now;

    *allocated_out = 0;
    if (stat(path, &stat_now) != 0)
        return 0;
    *allocated_out = (uint64_t)stat_now.st_blocks * 512;
    return (uint64_t)stat_now.st_size;
}

uint64_t
giga_directory_size(const char *path)
{
    uint64_t bytes = 0;
    struct dirent *entry;
    DIR *directory = opendir(path);

    if (directory == NULL)
        return 0;
    while ((entry = readdir(directory)) != NULL) {
        struct stat stat_now;

        if (fstatat(dirfd(directory), entry->d_name, &stat_now, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISREG(stat_now.st_mode))
            bytes += (uint64_t)stat_now.st_size;
    }
    closedir(directory);
    return bytes;
}

/* ---- measuring ------------------------------------------------------------------------------ */

#define PIECE_BYTES (1u << 20)
#define PIECES 256u
#define WRITERS 4u
#define LAYOUT_NS_MAX                                                                              \
    3000000000u /* a slow device is measured over what was laid out in this time */

struct measure {
    int fd;
    void *piece;
    _Atomic uint32_t next;
    uint32_t pieces;
    uint64_t until_ns;
    _Atomic uint32_t written;
    atomic_bool failed;
};

static void *
writer(void *context)
{
    struct measure *measure = context;
    uint32_t number;

    while ((number = atomic_fetch_add(&measure->next, 1)) < measure->pieces &&
           !atomic_load(&measure->failed) && !giga_stop_wanted() &&
           ftk_clock_ns() < measure->until_ns) {
        if (pwrite(measure->fd, measure->piece, PIECE_BYTES, (off_t)number * PIECE_BYTES) !=
            (ssize_t)PIECE_BYTES) {
            atomic_store(&measure->failed, true);
            break;
        }
        atomic_fetch_add(&measure->written, 1);
    }
    return NULL;
}

/* Nanoseconds for up to measure->pieces pieces and a sync; 0: failed. */
static uint64_t
pass(struct measure *measure)
{
    pthread_t threads[WRITERS];
    uint32_t started = 0;
    uint64_t start_ns = ftk_clock_ns();

    atomic_store(&measure->next, 0);
    atomic_store(&measure->written, 0);
    measure->until_ns = start_ns + LAYOUT_NS_MAX;
    while (started < WRITERS && pthread_create(&threads[started], NULL, writer, measure) == 0)
        started++;
    for (uint32_t i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    if (started == 0 || atomic_load(&measure->failed) || fdatasync(measure->fd) != 0)
        return 0;
    return ftk_clock_ns() - start_ns;
}

double
giga_device_measure(const char *directory)
{
    struct measure measure = {.pieces = PIECES};
    char path[4096];
    double rate = 0;

    snprintf(path, sizeof(path), "%s/gigatest-device.tmp", directory);
    if (posix_memalign(&measure.piece, 4096, PIECE_BYTES) != 0)
        return 0;
    for (uint32_t i = 0; i < PIECE_BYTES / 8; i++)
        ((uint64_t *)measure.piece)[i] = giga_mix(i);
    measure.fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_DIRECT | O_CLOEXEC, 0600);
    if (measure.fd < 0)
        measure.fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
    if (measure.fd >= 0) {
        unlink(path); /* gone whatever happens */
        if (pass(&measure) != 0) {
            uint64_t ns;

            measure.pieces = atomic_load(&measure.written);
            ns = measure.pieces > 0 ? pass(&measure) : 0;
            if (ns > 0)
                rate = (double)atomic_load(&measure.written) * PIECE_BYTES * 1e9 / (double)ns;
        }
        close(measure.fd);
    }
    free(measure.piece);
    return rate;
}
