/* SPDX-License-Identifier: Apache-2.0 */
/* Asynchronous I/O of the native disk, both backends: every I/O ends once, with the right
 * status. */
#include <string.h>
#include <unistd.h>

#include "ftk/disk.h"
#include "ftk/mem.h"
#include "ftk/thread.h"
#include "tests/support/test.h"

#define IOS 200
#define BYTES 4096u

struct collector {
    struct ftk_mutex mutex;
    struct ftk_cond changed;
    unsigned ended;
    unsigned twice;
    char text[FTK_ERROR_TEXT_MAX]; /* of the last failure */
    bool seen[IOS];
    struct ftk_io ios[IOS];
    struct ftk_io *list[IOS];
};

static void
collect(struct ftk_io *io)
{
    struct collector *collector = io->context;
    size_t index = (size_t)(io - collector->ios);

    ftk_mutex_lock(&collector->mutex);
    collector->twice += collector->seen[index];
    collector->seen[index] = true;
    if (io->status != FTK_OK)
        memcpy(collector->text, ftk_error_last()->text, sizeof collector->text);
    collector->ended++;
    ftk_cond_signal(&collector->changed);
    ftk_mutex_unlock(&collector->mutex);
}

static void
collector_init(struct collector *collector)
{
    memset(collector, 0, sizeof *collector);
    ftk_mutex_init(&collector->mutex);
    ftk_cond_init(&collector->changed);
}

static void
collector_release(struct collector *collector)
{
    ftk_cond_release(&collector->changed);
    ftk_mutex_release(&collector->mutex);
}

static void
run(struct collector *collector, struct ftk_aio *aio, struct ftk_file *file, enum ftk_io_op op,
    char *memory, unsigned count)
{
    collector->ended = 0;
    memset(collector->seen, 0, sizeof collector->seen);
    for (unsigned i = 0; i < count; i++) {
        collector->ios[i] = (struct ftk_io){.file = file,
                                            .op = op,
                                            .memory = memory + i * BYTES,
                                            .size = BYTES,
                                            .offset = i * BYTES,
                                            .done = collect,
                                            .context = collector};
        collector->list[i] = &collector->ios[i];
    }
    aio->disk->ops->aio_submit(aio, collector->list, count);
    ftk_mutex_lock(&collector->mutex);
    while (collector->ended < count)
        ftk_cond_wait(&collector->changed, &collector->mutex);
    ftk_mutex_unlock(&collector->mutex);
    CHECK_EQ(collector->twice, 0);
}

static void
io_ends_once_with(enum ftk_aio_kind kind, unsigned flags)
{
    struct ftk_disk *disk = ftk_disk_native();
    static struct collector collector;
    struct ftk_aio *aio;
    struct ftk_file *file;
    char *memory;

    collector_init(&collector);
    REQUIRE_OK(ftk_alloc_aligned(4096, (IOS + 1) * BYTES, (void **)&memory));
    REQUIRE_OK(ftk_file_open(disk, test_path("f"), flags | FTK_OPEN_CREATE, &file));
    REQUIRE_OK(disk->ops->aio_open(disk, kind, 7, &aio)); /* fewer than are submitted at once */
    CHECK(!aio->polled);
    CHECK(!disk->ops->aio_poll(aio));

    for (unsigned i = 0; i < IOS; i++)
        memset(memory + i * BYTES, (int)i, BYTES);
    run(&collector, aio, file, FTK_IO_WRITE, memory, IOS);
    for (unsigned i = 0; i < IOS; i++)
        CHECK_EQ(collector.ios[i].status, FTK_OK);
    memset(memory, 0xee, IOS * BYTES);
    run(&collector, aio, file, FTK_IO_READ, memory, IOS);
    for (unsigned i = 0; i < IOS; i++) {
        CHECK_EQ(collector.ios[i].status, FTK_OK);
        CHECK_EQ((unsigned char)memory[i * BYTES], i);
    }

    /* The last one is cut short by the end of the file. */
    CHECK_EQ(truncate(file->path, IOS * BYTES - 100), 0);
    run(&collector, aio, file, FTK_IO_READ, memory, IOS);
    CHECK_EQ(collector.ios[IOS - 2].status, FTK_OK);
    CHECK_EQ(collector.ios[IOS - 1].status, FTK_IO);
    CHECK_HAS(collector.text, "short read");

    /* A fault hits exactly one. */
    ftk_fault_arm(FTK_FAULT_WRITE, 3, 1);
    run(&collector, aio, file, FTK_IO_WRITE, memory, IOS);
    ftk_fault_disarm();
    unsigned bad = 0;
    for (unsigned i = 0; i < IOS; i++)
        bad += collector.ios[i].status == FTK_IO;
    CHECK_EQ(bad, 1);
    CHECK_HAS(collector.text, "injected");

    if (file->direct && file->mem_align > 1) {
        run(&collector, aio, file, FTK_IO_WRITE, memory + 1, 3);
        for (unsigned i = 0; i < 3; i++)
            CHECK_EQ(collector.ios[i].status, FTK_INVALID);
    }
    disk->ops->aio_close(aio);
    ftk_file_close(file);

    REQUIRE_OK(ftk_file_open(disk, test_path("f"), FTK_OPEN_READ_ONLY, &file));
    REQUIRE_OK(disk->ops->aio_open(disk, kind, 4, &aio));
    run(&collector, aio, file, FTK_IO_WRITE, memory, 2);
    CHECK_EQ(collector.ios[0].status, FTK_READONLY);
    disk->ops->aio_close(aio);
    ftk_file_close(file);
    ftk_free(memory);
    collector_release(&collector);
}

static void
every_io_of_libaio_ends_once(void)
{
    io_ends_once_with(FTK_AIO_LIBAIO, FTK_OPEN_DIRECT);
    io_ends_once_with(FTK_AIO_LIBAIO, 0);
}

static void
every_io_of_the_threads_ends_once(void)
{
    io_ends_once_with(FTK_AIO_THREADS, FTK_OPEN_DIRECT);
    io_ends_once_with(FTK_AIO_THREADS, 0);
}

static void
close_waits_for_what_is_under_way(void)
{
    static const enum ftk_aio_kind kinds[] = {FTK_AIO_LIBAIO, FTK_AIO_THREADS};
    struct ftk_disk *disk = ftk_disk_native();
    static struct collector collector;
    struct ftk_file *file;
    char *memory;

    collector_init(&collector);
    REQUIRE_OK(ftk_alloc_aligned(4096, 64 * BYTES, (void **)&memory));
    memset(memory, 1, 64 * BYTES);
    REQUIRE_OK(ftk_file_open(disk, test_path("f"), FTK_OPEN_CREATE | FTK_OPEN_DIRECT, &file));
    for (unsigned k = 0; k < 2; k++) {
        for (unsigned round = 0; round < 20; round++) {
            struct ftk_aio *aio;
            REQUIRE_OK(disk->ops->aio_open(disk, kinds[k], 64, &aio));
            collector.ended = 0;
            memset(collector.seen, 0, sizeof collector.seen);
            for (unsigned i = 0; i < 64; i++) {
                collector.ios[i] = (struct ftk_io){.file = file,
                                                   .op = FTK_IO_WRITE,
                                                   .memory = memory + i * BYTES,
                                                   .size = BYTES,
                                                   .offset = i * BYTES,
                                                   .done = collect,
                                                   .context = &collector};
                collector.list[i] = &collector.ios[i];
            }
            disk->ops->aio_submit(aio, collector.list, round % 2 == 0 ? 64 : 0);
            disk->ops->aio_close(aio);
            CHECK_EQ(collector.ended, round % 2 == 0 ? 64 : 0);
        }
    }
    ftk_file_close(file);
    ftk_free(memory);
    collector_release(&collector);
}

static void
threads_take_over_where_libaio_is_refused(void)
{
    struct ftk_disk *disk = ftk_disk_native();
    struct ftk_aio *aio;

    CHECK_STATUS(disk->ops->aio_open(disk, FTK_AIO_AUTO, 0, &aio), FTK_INVALID);
    REQUIRE_OK(disk->ops->aio_open(disk, FTK_AIO_AUTO, 4, &aio));
    disk->ops->aio_close(aio);
    /* The kernel's whole allowance (fs.aio-max-nr is 65536 unless raised). */
    ftk_status rc = disk->ops->aio_open(disk, FTK_AIO_LIBAIO, 65536, &aio);
    if (rc == FTK_OK) {
        disk->ops->aio_close(aio);
        return;
    }
    CHECK_EQ(rc, FTK_UNSUPPORTED);
    CHECK_HAS(ftk_error_last()->text, "io_setup");
    REQUIRE_OK(disk->ops->aio_open(disk, FTK_AIO_AUTO, 65536, &aio));
    CHECK_STR(aio->name, "threads");
    disk->ops->aio_close(aio);
}

static ftk_status
open_and_close(void *context)
{
    struct ftk_disk *disk = ftk_disk_native();
    enum ftk_aio_kind *kind = context;
    struct ftk_aio *aio = NULL;
    ftk_status rc = disk->ops->aio_open(disk, *kind, 4, &aio);
    CHECK((rc == FTK_OK) == (aio != NULL));
    if (aio != NULL)
        disk->ops->aio_close(aio);
    return rc;
}

static void
a_queue_opens_wholly_or_not_at_all(void)
{
    enum ftk_aio_kind kinds[] = {FTK_AIO_LIBAIO, FTK_AIO_THREADS, FTK_AIO_AUTO};

    for (unsigned i = 0; i < 3; i++)
        CHECK(test_each_fault(FTK_FAULT_ALLOC, open_and_close, &kinds[i]) >= 2);
}

TEST_MAIN("ftk_aio", TEST(every_io_of_libaio_ends_once), TEST(every_io_of_the_threads_ends_once),
          TEST(close_waits_for_what_is_under_way), TEST(threads_take_over_where_libaio_is_refused),
          TEST(a_queue_opens_wholly_or_not_at_all))
