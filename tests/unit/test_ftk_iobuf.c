/* The buffer manager: hand-over in order, completion in any, bounds, groups. */
#include <string.h>

#include "ftk/iobuf.h"
#include "ftk/mem.h"
#include "tests/support/test.h"

static void
what_is_written_is_read_back_with(enum ftk_aio_kind kind)
{
    struct ftk_iobufs_options options = FTK_IOBUFS_OPTIONS_INIT;
    struct ftk_iobufs *bufs;
    struct ftk_iogroup group;
    struct ftk_file *file;

    options.disk = ftk_disk_native();
    options.aio_kind = kind;
    options.count = 4;
    options.memory_bytes = 64 << 10;
    REQUIRE_OK(ftk_file_open(options.disk, test_path("f"), FTK_OPEN_CREATE | FTK_OPEN_DIRECT, &file));
    REQUIRE_OK(ftk_iobufs_open(&options, &bufs));
    ftk_iogroup_init(&group, bufs);
    for (int i = 0; i < 64; i++) {
        struct ftk_iobuf *buf;
        void *memory;
        ftk_iobuf_acquire(bufs, &buf);
        REQUIRE_OK(ftk_iobuf_memory(buf, &memory));
        memset(memory, i + 1, options.memory_bytes);
        ftk_iobuf_submit(buf, file, FTK_IO_WRITE, memory, options.memory_bytes,
                         (uint64_t)i * options.memory_bytes, &group, NULL, NULL);
    }
    CHECK_OK(ftk_iogroup_wait(&group));
    CHECK_OK(ftk_file_sync(file));

    char *memory;
    REQUIRE_OK(ftk_alloc_aligned(4096, options.memory_bytes, (void **)&memory));
    for (int i = 0; i < 64; i++) {
        REQUIRE_OK(ftk_file_read(file, memory, options.memory_bytes, (uint64_t)i * options.memory_bytes));
        CHECK_EQ(memory[0], i + 1);
        CHECK_EQ(memory[options.memory_bytes - 1], i + 1);
    }
    ftk_free(memory);
    struct ftk_iobufs_stats stats;
    ftk_iobufs_stats(bufs, &stats);
    CHECK_EQ(stats.writes, 64);
    CHECK_EQ(stats.write_bytes, 64 * 64 << 10);
    CHECK_EQ(stats.pending, 0);
    CHECK(stats.pending_max <= 4);
    ftk_iobufs_close(bufs);
    ftk_file_close(file);
}

static void
libaio_writes_what_it_is_given(void)
{
    what_is_written_is_read_back_with(FTK_AIO_LIBAIO);
}

static void
threads_write_what_they_are_given(void)
{
    what_is_written_is_read_back_with(FTK_AIO_THREADS);
}

TEST_MAIN("ftk_iobuf", TEST(libaio_writes_what_it_is_given), TEST(threads_write_what_they_are_given))
