/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ftk/disk_align.c -- direct I/O where the file takes it, with the alignment that it wants.
 *
 * 1. The kernel is asked first (statx with STATX_DIOALIGN, Linux 6.1); where it does not say, trial
 *    reads find the smallest power of two that works; an empty or short file cannot be tried and
 *    gets ALIGN_MAX.
 * 2. A file that refuses is served through the page cache: never an error.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ftk/disk_internal.h"

#define ALIGN_MIN 512u
#define ALIGN_MAX 4096u

#define DIOALIGN_MASK 0x2000u /* STATX_DIOALIGN */

/* struct statx of the kernel's interface, up to the fields of STATX_DIOALIGN; frozen there. */
struct kernel_statx {
    uint32_t mask;
    uint8_t before[0x98 - 4];
    uint32_t dio_mem_align;
    uint32_t dio_offset_align;
    uint8_t after[0x100 - 0xa0];
};
_Static_assert(sizeof(struct kernel_statx) == 0x100, "the kernel writes 256 bytes");

/* false when the kernel does not say; *align_out of 0 means no direct I/O on this file. */
static bool
align_ask(int fd, uint32_t *io_align_out, uint32_t *mem_align_out)
{
#ifdef SYS_statx
    struct kernel_statx about = {0};
    if (syscall(SYS_statx, fd, "", AT_EMPTY_PATH, DIOALIGN_MASK, &about) == 0 &&
        (about.mask & DIOALIGN_MASK) != 0) {
        *io_align_out = about.dio_offset_align;
        *mem_align_out = about.dio_mem_align;
        return true;
    }
#endif
    (void)fd;
    (void)io_align_out;
    (void)mem_align_out;
    return false;
}

uint32_t
ftk__align_try(int fd)
{
    void *memory = NULL;
    uint32_t found = 0;

    if (lseek(fd, 0, SEEK_END) < 2 * (off_t)ALIGN_MAX)
        return ALIGN_MAX;
    if (posix_memalign(&memory, ALIGN_MAX, 2 * (size_t)ALIGN_MAX) != 0)
        return ALIGN_MAX;
    for (uint32_t align = ALIGN_MIN; align <= ALIGN_MAX && found == 0; align *= 2) {
        ssize_t n;
        do
            n = pread(fd, (char *)memory + align, align, (off_t)align);
        while (n < 0 && errno == EINTR);
        if (n >= 0)
            found = align;
        else if (errno != EINVAL)
            found = ALIGN_MAX; /* an error of the device: not for us to judge */
    }
    free(memory);
    return found;
}

static bool
is_align(uint32_t align)
{
    return align != 0 && (align & (align - 1)) == 0;
}

void
ftk__direct_begin(struct native_file *file)
{
    uint32_t io_align = 0;
    uint32_t mem_align = 0;
    int flags = fcntl(file->fd, F_GETFL);

    /* Not at open: some file systems create the file first and refuse then. */
    if (flags < 0 || fcntl(file->fd, F_SETFL, flags | O_DIRECT) != 0)
        return;
    if (!align_ask(file->fd, &io_align, &mem_align)) {
        io_align = ftk__align_try(file->fd);
        mem_align = io_align;
    }
    if (!is_align(io_align) || !is_align(mem_align)) {
        (void)fcntl(file->fd, F_SETFL, flags);
        return;
    }
    file->base.direct = true;
    file->base.io_align = io_align;
    file->base.mem_align = mem_align;
}
