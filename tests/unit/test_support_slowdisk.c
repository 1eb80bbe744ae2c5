/* SPDX-License-Identifier: Apache-2.0 */
/* The slow disk keeps its bytes and its times; the buffer-waiter queue pays off on it. */
#include <string.h>

#include "ftk/clock.h"
#include "ftk/iobuf.h"
#include "tests/support/slowdisk.h"
#include "tests/support/test.h"

#define BYTES 4096u

/* Writes count buffers of the disk's own memory; the nanoseconds it took. */
static uint64_t
write_through(const struct slowdisk_options *slow, bool wait_oldest, unsigned count,
              struct ftk_iobufs_stats *stats_out)
{
    struct slowdisk *disk = slowdisk_new(slow);
    struct ftk_iobufs_options options = FTK_IOBUFS_OPTIONS_INIT;
    struct ftk_iobufs *bufs;
    struct ftk_iogroup group;
    struct ftk_file *file;

    options.disk = slowdisk_disk(disk);
    options.count = 16;
    options.memory_bytes = BYTES;
    options.wait_oldest = wait_oldest;
    REQUIRE_OK(ftk_file_open(options.disk, test_path("f"), FTK_OPEN_CREATE, &file));
    REQUIRE_OK(ftk_iobufs_open(&options, &bufs));
    ftk_iogroup_init(&group, bufs);
    uint64_t begin_ns = ftk_clock_ns();
    for (unsigned i = 0; i < count; i++) {
        struct ftk_iobuf *buf;
        void *memory;
        ftk_iobuf_acquire(bufs, &buf);
        REQUIRE_OK(ftk_iobuf_memory(buf, &memory));
        memset(memory, (int)i, BYTES);
        ftk_iobuf_submit(buf, file, FTK_IO_WRITE, memory, BYTES, i * BYTES, &group, NULL, NULL);
    }
    CHECK_OK(ftk_iogroup_wait(&group));
    uint64_t took_ns = ftk_clock_ns() - begin_ns;
    ftk_iobufs_stats(bufs, stats_out);
    ftk_iobufs_close(bufs);
    ftk_file_close(file);
    slowdisk_free(disk);
    return took_ns;
}

static void
writes_take_their_time_and_arrive(void)
{
    struct slowdisk_options slow = {.seed = test_seed(), .channels = 4, .levels = {{1, 2000000}}};
    struct ftk_iobufs_stats stats;
    struct ftk_file *file;
    unsigned char byte;

    uint64_t took_ns = write_through(&slow, false, 20, &stats);
    CHECK(took_ns >= 20 / 4 * 2000000u); /* 20 I/Os on 4 channels, 2 ms each */
    REQUIRE_OK(ftk_file_open(ftk_disk_native(), test_path("f"), 0, &file));
    for (unsigned i = 0; i < 20; i++) {
        CHECK_OK(ftk_file_read(file, &byte, 1, i * BYTES));
        CHECK_EQ(byte, i);
    }
    ftk_file_close(file);
}

static void
waiting_for_any_buffer_beats_waiting_for_the_oldest(void)
{
    struct slowdisk_options slow = {.seed = 1, /* the same I/Os every time: a fair comparison */
                                    .channels = 16,
                                    .discard = true,
                                    .levels = {{0.97, 50000}, {0.03, 20000000}}};
    struct ftk_iobufs_stats any, oldest;
    uint64_t any_ns = write_through(&slow, false, 400, &any);
    uint64_t oldest_ns = write_through(&slow, true, 400, &oldest);

    CHECK_MSG(any_ns * 2 < oldest_ns, "any %llu ns, oldest %llu ns", (unsigned long long)any_ns,
              (unsigned long long)oldest_ns);
    CHECK(any.out_of_order > 0);
}

TEST_MAIN("support_slowdisk", TEST(writes_take_their_time_and_arrive),
          TEST(waiting_for_any_buffer_beats_waiting_for_the_oldest))
