/* SPDX-License-Identifier: Apache-2.0 */
/* The buffer manager: hand-over in order, completion in any, bounds, groups, errors. */
#include <string.h>

#include "ftk/clock.h"
#include "ftk/iobuf.h"
#include "ftk/mem.h"
#include "ftk/thread.h"
#include "tests/support/simdisk.h"
#include "tests/support/test.h"

/* ---- a disk whose I/Os end when the test says so --------------------------------------------- */

#define HELD_MAX 64

static struct {
    struct ftk_mutex mutex;
    struct ftk_io *ios[HELD_MAX];
    unsigned count;
} held;

static ftk_status
held_open(struct ftk_disk *disk, enum ftk_aio_kind kind, unsigned depth, struct ftk_aio **aio_out)
{
    static struct ftk_aio aio;
    (void)kind;
    (void)depth;
    aio = (struct ftk_aio){.disk = disk, .name = "held"};
    held.count = 0;
    ftk_mutex_init(&held.mutex);
    *aio_out = &aio;
    return FTK_OK;
}

static void
held_close(struct ftk_aio *aio)
{
    (void)aio;
    CHECK_EQ(held.count, 0);
    ftk_mutex_release(&held.mutex);
}

static void
held_submit(struct ftk_aio *aio, struct ftk_io **ios, size_t count)
{
    (void)aio;
    ftk_mutex_lock(&held.mutex);
    for (size_t i = 0; i < count; i++) {
        FTK_ASSERT(held.count < HELD_MAX);
        held.ios[held.count++] = ios[i];
    }
    ftk_mutex_unlock(&held.mutex);
}

static unsigned
held_count(void)
{
    ftk_mutex_lock(&held.mutex);
    unsigned count = held.count;
    ftk_mutex_unlock(&held.mutex);
    return count;
}

/* End the I/O at this offset. */
static void
held_end(uint64_t offset, ftk_status status)
{
    struct ftk_io *io = NULL;

    ftk_mutex_lock(&held.mutex);
    for (unsigned i = 0; i < held.count && io == NULL; i++) {
        if (held.ios[i]->offset == offset) {
            io = held.ios[i];
            held.ios[i] = held.ios[--held.count];
        }
    }
    ftk_mutex_unlock(&held.mutex);
    REQUIRE(io != NULL);
    io->status = status;
    if (status != FTK_OK)
        (void)FTK_FAIL_OS(status, 5, "held I/O at %d failed", (int)offset);
    io->done(io);
}

static struct ftk_disk *
held_disk(void)
{
    static const struct ftk_disk_ops ops = {
        .aio_open = held_open, .aio_close = held_close, .aio_submit = held_submit};
    static struct ftk_disk disk = {&ops};
    return &disk;
}

static struct ftk_iobufs *
held_bufs(uint32_t count, uint64_t bytes_max, bool wait_oldest)
{
    struct ftk_iobufs_options options = FTK_IOBUFS_OPTIONS_INIT;
    struct ftk_iobufs *bufs = NULL;

    options.disk = held_disk();
    options.count = count;
    options.bytes_max = bytes_max;
    options.wait_oldest = wait_oldest;
    REQUIRE_OK(ftk_iobufs_open(&options, &bufs));
    return bufs;
}

static void
submit(struct ftk_iobuf *buf, uint64_t offset, size_t size, struct ftk_iogroup *group)
{
    static char memory[1];
    ftk_iobuf_submit(buf, NULL, FTK_IO_WRITE, memory, size, offset, group, NULL, NULL);
}

static void
acquire_and_submit(struct ftk_iobufs *bufs, uint64_t offset, size_t size, struct ftk_iogroup *group)
{
    struct ftk_iobuf *buf;
    ftk_iobuf_acquire(bufs, &buf);
    submit(buf, offset, size, group);
}

/* ---- threads that wait ----------------------------------------------------------------------- */

struct sleeper {
    struct ftk_thread thread;
    struct ftk_iobufs *bufs;
    struct ftk_iobuf *buf;
    uint64_t offset;
    size_t size; /* submits that much when not 0 */
    struct ftk_iogroup *group;
    ftk_status status;
    struct ftk_error error;
    _Atomic bool awake;
};

static void
sleeper_acquires(void *context)
{
    struct sleeper *sleeper = context;
    if (sleeper->buf == NULL)
        ftk_iobuf_acquire(sleeper->bufs, &sleeper->buf);
    if (sleeper->size > 0)
        submit(sleeper->buf, sleeper->offset, sleeper->size, NULL);
    atomic_store(&sleeper->awake, true);
}

static void
sleeper_waits_for_group(void *context)
{
    struct sleeper *sleeper = context;
    sleeper->status = ftk_iogroup_wait(sleeper->group);
    sleeper->error = *ftk_error_last();
    atomic_store(&sleeper->awake, true);
}

static uint32_t
waiting(struct ftk_iobufs *bufs)
{
    struct ftk_iobufs_stats stats;
    ftk_iobufs_stats(bufs, &stats);
    return stats.waiting;
}

#define UNTIL(x)                                                                                   \
    do {                                                                                           \
        uint64_t end_ns_ = ftk_clock_ns() + 20000000000u;                                          \
        while (!(x) && ftk_clock_ns() < end_ns_)                                                   \
            ftk_clock_sleep_ns(100000);                                                            \
        REQUIRE(x);                                                                                \
    } while (0)

static bool
still_asleep(struct sleeper *sleeper)
{
    ftk_clock_sleep_ns(3000000);
    return !atomic_load(&sleeper->awake);
}

/* ---- cases ----------------------------------------------------------------------------------- */

static void
any_completion_gives_a_buffer(void)
{
    struct ftk_iobufs *bufs = held_bufs(3, 1 << 20, false);
    struct sleeper sleeper = {.bufs = bufs};

    for (unsigned i = 0; i < 3; i++)
        acquire_and_submit(bufs, i, 1, NULL);
    CHECK(ftk_iobuf_try_acquire(bufs, 0) == NULL);
    REQUIRE_OK(ftk_thread_start(&sleeper.thread, "sleeper", sleeper_acquires, &sleeper));
    UNTIL(waiting(bufs) == 1);
    CHECK(still_asleep(&sleeper));
    held_end(1, FTK_OK); /* not the oldest */
    UNTIL(atomic_load(&sleeper.awake));
    ftk_thread_join(&sleeper.thread);
    ftk_iobuf_release(sleeper.buf);
    held_end(2, FTK_OK);
    held_end(0, FTK_OK);
    ftk_iobufs_close(bufs);
}

static void
waiters_are_served_in_the_order_they_came(void)
{
    struct ftk_iobufs *bufs = held_bufs(4, 1 << 20, false);
    struct sleeper sleepers[4] = {{.bufs = bufs}, {.bufs = bufs}, {.bufs = bufs}, {.bufs = bufs}};
    static const uint64_t ends[4] = {2, 0, 3, 1};

    for (unsigned i = 0; i < 4; i++)
        acquire_and_submit(bufs, i, 1, NULL);
    for (unsigned i = 0; i < 4; i++) {
        REQUIRE_OK(
            ftk_thread_start(&sleepers[i].thread, "sleeper", sleeper_acquires, &sleepers[i]));
        UNTIL(waiting(bufs) == i + 1);
    }
    for (unsigned i = 0; i < 4; i++) {
        held_end(ends[i], FTK_OK);
        UNTIL(atomic_load(&sleepers[i].awake));        /* exactly the first one */
        CHECK(ftk_iobuf_try_acquire(bufs, 0) == NULL); /* it went straight to him */
        for (unsigned j = i + 1; j < 4; j++)
            CHECK(!atomic_load(&sleepers[j].awake));
        CHECK_EQ(waiting(bufs), 3 - i);
    }
    struct ftk_iobufs_stats stats;
    ftk_iobufs_stats(bufs, &stats);
    CHECK_EQ(stats.waits, 4);
    CHECK(stats.wait_ns >= stats.wait_ns_max && stats.wait_ns_max > 0);
    for (unsigned i = 0; i < 4; i++) {
        ftk_thread_join(&sleepers[i].thread);
        ftk_iobuf_release(sleepers[i].buf);
    }
    ftk_iobufs_close(bufs);
}

static void
waiting_for_the_oldest_waits_for_the_oldest(void)
{
    struct ftk_iobufs *bufs = held_bufs(3, 1 << 20, true);
    struct sleeper sleeper = {.bufs = bufs};

    for (unsigned i = 0; i < 3; i++)
        acquire_and_submit(bufs, i, 1, NULL);
    REQUIRE_OK(ftk_thread_start(&sleeper.thread, "sleeper", sleeper_acquires, &sleeper));
    UNTIL(waiting(bufs) == 1);
    held_end(1, FTK_OK);
    held_end(2, FTK_OK);
    CHECK(still_asleep(&sleeper));
    held_end(0, FTK_OK);
    UNTIL(atomic_load(&sleeper.awake));
    ftk_thread_join(&sleeper.thread);
    struct ftk_iobuf *second = ftk_iobuf_try_acquire(bufs, 0);
    struct ftk_iobuf *third = ftk_iobuf_try_acquire(bufs, 0);
    CHECK(second != NULL && third != NULL);
    ftk_iobuf_release(third);
    ftk_iobuf_release(second);
    ftk_iobuf_release(sleeper.buf);
    ftk_iobufs_close(bufs);
}

static void
bytes_under_way_are_bounded(void)
{
    struct ftk_iobufs *bufs = held_bufs(4, 100, false);
    struct sleeper sleeper = {.bufs = bufs, .offset = 2, .size = 41};

    acquire_and_submit(bufs, 0, 60, NULL);
    ftk_iobuf_acquire(bufs, &sleeper.buf);
    REQUIRE_OK(ftk_thread_start(&sleeper.thread, "sleeper", sleeper_acquires, &sleeper));
    CHECK(still_asleep(&sleeper));
    CHECK_EQ(held_count(), 1);
    held_end(0, FTK_OK);
    UNTIL(atomic_load(&sleeper.awake));
    ftk_thread_join(&sleeper.thread);
    CHECK_EQ(held_count(), 1);
    acquire_and_submit(bufs, 3, 59, NULL); /* 41 and 59 fit exactly */
    held_end(2, FTK_OK);
    held_end(3, FTK_OK);
    acquire_and_submit(bufs, 4, 1000, NULL); /* alone, larger than the bound */
    held_end(4, FTK_OK);
    ftk_iobufs_close(bufs);
}

static void
who_holds_bytes_submits_without_waiting(void)
{
    struct ftk_iobufs *bufs = held_bufs(4, 100, false);
    struct sleeper sleeper = {.bufs = bufs, .offset = 2, .size = 41};
    struct ftk_iobuf *holder;

    ftk_iobuf_acquire_for(bufs, 60, &holder);
    CHECK(ftk_iobuf_try_acquire(bufs, 41) == NULL); /* a buffer, but not so many bytes */
    REQUIRE_OK(ftk_thread_start(&sleeper.thread, "sleeper", sleeper_acquires, &sleeper));
    CHECK(still_asleep(&sleeper));
    submit(holder, 0, 59, NULL); /* nothing has ended, and it returns; one byte is left over */
    UNTIL(atomic_load(&sleeper.awake));
    ftk_thread_join(&sleeper.thread);
    CHECK_EQ(held_count(), 2);
    held_end(0, FTK_OK);
    held_end(2, FTK_OK);

    ftk_iobuf_acquire_for(bufs, 100, &holder);
    CHECK(ftk_iobuf_try_acquire(bufs, 1) == NULL);
    ftk_iobuf_release(holder); /* with its bytes */
    holder = ftk_iobuf_try_acquire(bufs, 100);
    REQUIRE(holder != NULL);
    ftk_iobuf_release(holder);
    ftk_iobuf_acquire_for(bufs, 1000, &holder); /* alone, larger than the bound */
    submit(holder, 5, 1000, NULL);
    held_end(5, FTK_OK);
    ftk_iobufs_close(bufs);
}

/* The only buffer's owner submits while another waits for that buffer. */
static void
a_submit_never_stands_behind_an_acquire(void)
{
    struct ftk_iobufs *bufs = held_bufs(1, 10, false);
    struct sleeper sleeper = {.bufs = bufs};
    struct ftk_iobuf *buf;

    ftk_iobuf_acquire(bufs, &buf);
    REQUIRE_OK(ftk_thread_start(&sleeper.thread, "sleeper", sleeper_acquires, &sleeper));
    UNTIL(waiting(bufs) == 1);
    submit(buf, 0, 1000, NULL); /* would hang */
    held_end(0, FTK_OK);
    ftk_thread_join(&sleeper.thread);
    ftk_iobuf_release(sleeper.buf);
    ftk_iobufs_close(bufs);
}

static void
a_group_waits_for_all_and_reports_the_first_error(void)
{
    struct ftk_iobufs *bufs = held_bufs(8, 1 << 20, false);
    struct ftk_iogroup bad, good;
    struct sleeper sleeper = {.group = &bad};

    ftk_iogroup_init(&bad, bufs);
    ftk_iogroup_init(&good, bufs);
    CHECK_OK(ftk_iogroup_wait(&good)); /* nothing is pending */
    for (unsigned i = 0; i < 3; i++)
        acquire_and_submit(bufs, i, 1, &bad);
    acquire_and_submit(bufs, 3, 1, &good);
    REQUIRE_OK(ftk_thread_start(&sleeper.thread, "sleeper", sleeper_waits_for_group, &sleeper));
    held_end(2, FTK_NOSPACE);
    held_end(0, FTK_IO);
    CHECK(still_asleep(&sleeper));
    held_end(1, FTK_OK);
    UNTIL(atomic_load(&sleeper.awake));
    ftk_thread_join(&sleeper.thread);
    CHECK_EQ(sleeper.status, FTK_NOSPACE);
    CHECK_EQ(sleeper.error.status, FTK_NOSPACE);
    CHECK_EQ(sleeper.error.os_errno, 5);
    CHECK_STR(sleeper.error.text, "held I/O at 2 failed");
    held_end(3, FTK_OK);
    CHECK_OK(ftk_iogroup_wait(&good));
    ftk_iobufs_close(bufs);
}

static void
statistics_tell_what_happened(void)
{
    struct ftk_iobufs *bufs = held_bufs(8, 1 << 20, false);
    struct ftk_iobufs_stats stats;
    static const uint64_t ends[] = {3, 0, 2, 1}; /* 3 and 2 overtake */

    for (unsigned i = 0; i < 4; i++)
        acquire_and_submit(bufs, i, 10, NULL);
    ftk_iobufs_stats(bufs, &stats);
    CHECK_EQ(stats.pending, 4);
    for (unsigned i = 0; i < 4; i++)
        held_end(ends[i], FTK_OK);
    ftk_iobufs_stats(bufs, &stats);
    CHECK_EQ(stats.writes, 4);
    CHECK_EQ(stats.write_bytes, 40);
    CHECK_EQ(stats.reads, 0);
    CHECK_EQ(stats.out_of_order, 2);
    CHECK_EQ(stats.pending, 0);
    CHECK_EQ(stats.pending_max, 4);
    CHECK_EQ(stats.depth[0], 1); /* saw 1 */
    CHECK_EQ(stats.depth[1], 2); /* 2, 3 */
    CHECK_EQ(stats.depth[2], 1); /* 4 */
    CHECK(stats.busy_ns > 0);
    ftk_iobufs_close(bufs);
}

struct seen {
    unsigned calls;
    ftk_status status;
    void *memory;
    size_t size;
};

static void
note(void *context, void *memory, size_t size, ftk_status status)
{
    *(struct seen *)context =
        (struct seen){((struct seen *)context)->calls + 1, status, memory, size};
}

static void
the_owner_learns_of_each_end_once(void)
{
    struct ftk_iobufs *bufs = held_bufs(2, 1 << 20, false);
    struct seen seen = {0};
    struct ftk_iobuf *buf;
    void *memory;

    ftk_iobuf_acquire(bufs, &buf);
    REQUIRE_OK(ftk_iobuf_memory(buf, &memory));
    CHECK_EQ((uintptr_t)memory % 4096, 0);
    ftk_iobuf_submit(buf, NULL, FTK_IO_READ, memory, 77, 0, NULL, note, &seen);
    CHECK_EQ(seen.calls, 0);
    held_end(0, FTK_IO);
    CHECK_EQ(seen.calls, 1);
    CHECK_EQ(seen.status, FTK_IO);
    CHECK(seen.memory == memory);
    CHECK_EQ(seen.size, 77);
    ftk_iobufs_close(bufs);
}

static void
options_that_make_no_sense_are_refused(void)
{
    struct ftk_iobufs_options options = FTK_IOBUFS_OPTIONS_INIT;
    struct ftk_iobufs *bufs;

    CHECK_STATUS(ftk_iobufs_open(&options, &bufs), FTK_INVALID);
    options.disk = ftk_disk_native();
    options.count = 0;
    CHECK_STATUS(ftk_iobufs_open(&options, &bufs), FTK_INVALID);
    options.count = 4;
    options.memory_align = 3000;
    CHECK_STATUS(ftk_iobufs_open(&options, &bufs), FTK_INVALID);
    CHECK(bufs == NULL);
    ftk_iobufs_close(NULL);
}

/* ---- with real files ------------------------------------------------------------------------- */

#define CHUNK 16384u
#define CHUNKS 10u /* more than there are buffers */

static ftk_status
write_and_read_back(struct ftk_disk *disk, enum ftk_aio_kind kind, const char *path)
{
    struct ftk_iobufs_options options = FTK_IOBUFS_OPTIONS_INIT;
    struct ftk_iobufs *bufs = NULL;
    struct ftk_file *file = NULL;
    struct ftk_iogroup group = {0};
    ftk_status rc = FTK_OK;

    options.disk = disk;
    options.aio_kind = kind;
    options.count = 4;
    options.memory_bytes = CHUNK;
    FTK_TRY(ftk_file_open(disk, path, FTK_OPEN_CREATE | FTK_OPEN_DIRECT, &file));
    FTK_TRY(ftk_iobufs_open(&options, &bufs));
    ftk_iogroup_init(&group, bufs);
    for (unsigned pass = 0; pass < 2 && rc == FTK_OK; pass++) {
        for (unsigned i = 0; i < CHUNKS && rc == FTK_OK; i++) {
            struct ftk_iobuf *buf;
            void *memory;
            ftk_iobuf_acquire(bufs, &buf);
            rc = ftk_iobuf_memory(buf, &memory);
            if (rc != FTK_OK) {
                ftk_iobuf_release(buf);
                break;
            }
            memset(memory, pass == 0 ? (int)i + 1 : 0, CHUNK);
            ftk_iobuf_submit(buf, file, pass == 0 ? FTK_IO_WRITE : FTK_IO_READ, memory, CHUNK,
                             i * CHUNK, &group, NULL, NULL);
        }
        FTK_KEEP_FIRST(ftk_iogroup_wait(&group));
    }
    FTK_TRY(rc);
    FTK_TRY(ftk_file_sync(file));
out:
    ftk_iobufs_close(bufs);
    ftk_file_close(file);
    return rc;
}

static ftk_status
libaio_round(void *context)
{
    return write_and_read_back(ftk_disk_native(), FTK_AIO_LIBAIO, context);
}

static ftk_status
threads_round(void *context)
{
    return write_and_read_back(ftk_disk_native(), FTK_AIO_THREADS, context);
}

static void
every_fault_is_reported_and_nothing_leaks(void)
{
    char path[512];
    strcpy(path, test_path("f"));

    CHECK_OK(libaio_round(path));
    CHECK_OK(threads_round(path));
    for (int kind = 0; kind < FTK_FAULT_COUNT; kind++) {
        CHECK(test_each_fault((enum ftk_fault)kind, libaio_round, path) > 0);
        CHECK(test_each_fault((enum ftk_fault)kind, threads_round, path) > 0);
    }
}

/* ---- many threads ---------------------------------------------------------------------------- */

#define HAMMERS 6
#define SLOTS 32

struct hammer {
    struct ftk_thread thread;
    struct ftk_iobufs *bufs;
    struct ftk_file *file;
    unsigned number;
    uint64_t rounds;
    unsigned wrong;
    ftk_status status;
    struct ftk_random random;
};

/* Writes slots of its own part of the file and reads them back, all through the manager. */
static void
hammer_run(void *context)
{
    struct hammer *hammer = context;
    struct ftk_iogroup group;
    unsigned char *memory = NULL;

    ftk_iogroup_init(&group, hammer->bufs);
    hammer->status = ftk_alloc_aligned(4096, SLOTS * 4096, (void **)&memory);
    for (uint64_t round = 0; round < hammer->rounds && hammer->status == FTK_OK; round++) {
        unsigned n = (unsigned)ftk_random_below(&hammer->random, SLOTS) + 1;
        for (unsigned pass = 0; pass < 2; pass++) {
            for (unsigned i = 0; i < n; i++) {
                unsigned char *slot = memory + i * 4096;
                struct ftk_iobuf *buf;
                memset(slot, pass == 0 ? (int)(round + i) : 0, 4096);
                ftk_iobuf_acquire(hammer->bufs, &buf);
                ftk_iobuf_submit(buf, hammer->file, pass == 0 ? FTK_IO_WRITE : FTK_IO_READ, slot,
                                 4096, (hammer->number * SLOTS + i) * 4096u, &group, NULL, NULL);
            }
            hammer->status = ftk_iogroup_wait(&group);
        }
        for (unsigned i = 0; i < n; i++)
            hammer->wrong += memory[i * 4096 + 4095] != (unsigned char)(round + i);
    }
    ftk_free(memory);
}

static void
hammer_with(struct ftk_disk *disk, enum ftk_aio_kind kind, const char *path, bool wait_oldest)
{
    struct ftk_iobufs_options options = FTK_IOBUFS_OPTIONS_INIT;
    struct hammer hammers[HAMMERS];
    struct ftk_iobufs *bufs;
    struct ftk_file *file;
    struct ftk_iobufs_stats stats;

    options.disk = disk;
    options.aio_kind = kind;
    options.count = 8;
    options.bytes_max = 6 * 4096;
    options.wait_oldest = wait_oldest;
    REQUIRE_OK(ftk_file_open(disk, path, FTK_OPEN_CREATE | FTK_OPEN_DIRECT, &file));
    REQUIRE_OK(ftk_iobufs_open(&options, &bufs));
    for (unsigned i = 0; i < HAMMERS; i++) {
        hammers[i] = (struct hammer){.bufs = bufs,
                                     .file = file,
                                     .number = i,
                                     .rounds = test_rounds(10),
                                     .random = test_random()};
        REQUIRE_OK(ftk_thread_start(&hammers[i].thread, "hammer", hammer_run, &hammers[i]));
    }
    for (unsigned i = 0; i < HAMMERS; i++) {
        ftk_thread_join(&hammers[i].thread);
        CHECK_EQ(hammers[i].status, FTK_OK);
        CHECK_EQ(hammers[i].wrong, 0);
    }
    ftk_iobufs_stats(bufs, &stats);
    CHECK_EQ(stats.reads, stats.writes);
    CHECK(stats.pending_max <= 6);
    ftk_iobufs_close(bufs);
    ftk_file_close(file);
}

static void
many_threads_share_the_buffers(void)
{
    struct simdisk *sim = simdisk_new(&(struct simdisk_options){.seed = test_seed()});

    hammer_with(ftk_disk_native(), FTK_AIO_LIBAIO, test_path("f"), false);
    hammer_with(ftk_disk_native(), FTK_AIO_THREADS, test_path("f"), false);
    hammer_with(ftk_disk_native(), FTK_AIO_AUTO, test_path("f"), true);
    hammer_with(simdisk_disk(sim), FTK_AIO_AUTO, "f", false);
    simdisk_free(sim);
}

static void
an_io_allocates_nothing(void)
{
    struct ftk_iobufs *bufs = held_bufs(4, 1 << 20, false);
    uint64_t before, after;

    before = ftk_mem_allocs();
    for (unsigned i = 0; i < 1000; i++) {
        acquire_and_submit(bufs, i, 1, NULL);
        held_end(i, FTK_OK);
    }
    after = ftk_mem_allocs();
    CHECK_EQ(after, before);
    ftk_iobufs_close(bufs);
}

TEST_MAIN("ftk_iobuf", TEST(any_completion_gives_a_buffer),
          TEST(waiters_are_served_in_the_order_they_came),
          TEST(waiting_for_the_oldest_waits_for_the_oldest), TEST(bytes_under_way_are_bounded),
          TEST(who_holds_bytes_submits_without_waiting),
          TEST(a_submit_never_stands_behind_an_acquire),
          TEST(a_group_waits_for_all_and_reports_the_first_error),
          TEST(statistics_tell_what_happened), TEST(the_owner_learns_of_each_end_once),
          TEST(options_that_make_no_sense_are_refused),
          TEST(every_fault_is_reported_and_nothing_leaks), TEST(many_threads_share_the_buffers),
          TEST(an_io_allocates_nothing))
