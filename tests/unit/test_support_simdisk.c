/* SPDX-License-Identifier: Apache-2.0 */
/* The simulated disk keeps its promises, and no more than those (tests/support/simdisk.h). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ftk/clock.h"
#include "ftk/iobuf.h"
#include "tests/support/simdisk.h"
#include "tests/support/test.h"

#define SECTORS 64
#define SIZE (SECTORS * SIMDISK_SECTOR)

static uint8_t old_bytes[SIZE];
static uint8_t new_bytes[SIZE];

static struct ftk_file *
open_new(struct simdisk *disk, const char *path)
{
    struct ftk_file *file = NULL;
    REQUIRE_OK(ftk_file_open(simdisk_disk(disk), path, FTK_OPEN_CREATE, &file));
    return file;
}

/* A file whose old content is durable, with its name, and whose new content is pending. */
static struct simdisk *
disk_with_pending_write(struct ftk_file **file_out)
{
    struct simdisk *disk = simdisk_new(&(struct simdisk_options){.seed = test_seed()});
    struct ftk_file *file = open_new(disk, "f");

    memset(old_bytes, 'o', SIZE);
    memset(new_bytes, 'n', SIZE);
    REQUIRE_OK(ftk_file_write(file, old_bytes, SIZE, 0));
    REQUIRE_OK(ftk_file_sync(file));
    REQUIRE_OK(test_dir_sync(simdisk_disk(disk), "/"));
    REQUIRE_OK(ftk_file_write(file, new_bytes, SIZE, 0));
    *file_out = file;
    return disk;
}

/* Sectors with the new content; each must be wholly old or new. */
static unsigned
sectors_new(struct simdisk *disk)
{
    uint8_t bytes[SIZE];
    unsigned count = 0;

    REQUIRE(simdisk_peek(disk, "f", 0, bytes, SIZE));
    for (unsigned i = 0; i < SECTORS; i++) {
        const uint8_t *sector = bytes + i * SIMDISK_SECTOR;
        CHECK(sector[0] == 'o' || sector[0] == 'n');
        CHECK_EQ(memcmp(sector, sector + 1, SIMDISK_SECTOR - 1), 0);
        count += sector[0] == 'n';
    }
    return count;
}

static void
synced_bytes_survive_every_power_cut(void)
{
    struct ftk_file *file;
    struct simdisk *disk = disk_with_pending_write(&file);

    REQUIRE_OK(ftk_file_sync(file));
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct simdisk *after = simdisk_clone(disk, seed);
        simdisk_crash(after, test_seed() + seed);
        CHECK_EQ(sectors_new(after), SECTORS);
        simdisk_free(after);
    }
    ftk_file_close(file);
    simdisk_free(disk);
}

static void
unsynced_sectors_survive_by_policy(void)
{
    struct ftk_file *file;
    struct simdisk *disk = disk_with_pending_write(&file);
    bool mixed[SIMDISK_POLICIES] = {false};

    for (uint64_t seed = 0; seed < 100; seed++) {
        for (int policy = 0; policy < SIMDISK_POLICIES; policy++) {
            struct simdisk *after = simdisk_clone(disk, seed);
            simdisk_crash_as(after, (enum simdisk_policy)policy, test_seed() + seed);
            unsigned count = sectors_new(after);
            if (policy == SIMDISK_ALL)
                CHECK_EQ(count, SECTORS);
            if (policy == SIMDISK_NONE)
                CHECK_EQ(count, 0);
            mixed[policy] |= count > 0 && count < SECTORS;
            simdisk_free(after);
        }
    }
    CHECK(mixed[SIMDISK_SECTORS]);
    CHECK(mixed[SIMDISK_TORN]);
    CHECK(mixed[SIMDISK_PREFIX]);
    CHECK_EQ(sectors_new(disk), SECTORS); /* the clones left the original alone */
    ftk_file_close(file);
    simdisk_free(disk);
}

static void
later_writes_can_survive_earlier_ones(void)
{
    struct simdisk *disk = simdisk_new(NULL);
    struct ftk_file *file = open_new(disk, "f");
    bool reordered = false;
    uint8_t bytes[2 * SIMDISK_SECTOR] = {0};

    REQUIRE_OK(ftk_file_write(file, bytes, sizeof bytes, 0));
    REQUIRE_OK(ftk_file_sync(file));
    REQUIRE_OK(test_dir_sync(simdisk_disk(disk), "/"));
    REQUIRE_OK(ftk_file_write(file, "1", 1, 0));
    REQUIRE_OK(ftk_file_write(file, "2", 1, SIMDISK_SECTOR));
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct simdisk *after = simdisk_clone(disk, seed);
        simdisk_crash_as(after, SIMDISK_REORDERED, test_seed() + seed);
        REQUIRE(simdisk_peek(after, "f", 0, bytes, sizeof bytes));
        reordered |= bytes[0] == 0 && bytes[SIMDISK_SECTOR] == '2';
        simdisk_free(after);
        /* In order of time, never. */
        after = simdisk_clone(disk, seed);
        simdisk_crash_as(after, SIMDISK_PREFIX, test_seed() + seed);
        REQUIRE(simdisk_peek(after, "f", 0, bytes, sizeof bytes));
        CHECK(!(bytes[0] == 0 && bytes[SIMDISK_SECTOR] == '2'));
        simdisk_free(after);
    }
    CHECK(reordered);
    ftk_file_close(file);
    simdisk_free(disk);
}

static void
names_are_durable_after_sync_dir_only(void)
{
    struct simdisk *disk = simdisk_new(NULL);
    struct ftk_disk *base = simdisk_disk(disk);
    uint64_t size;

    REQUIRE_OK(base->ops->mkdir(base, NULL, "d"));
    struct ftk_file *file = open_new(disk, "d/a");
    REQUIRE_OK(ftk_file_write(file, "x", 1, 0));
    REQUIRE_OK(ftk_file_sync(file));
    ftk_file_close(file);

    struct simdisk *after = simdisk_clone(disk, 1);
    simdisk_crash_as(after, SIMDISK_NONE, 1);
    CHECK(!simdisk_size(after, "d/a", &size));
    simdisk_free(after);

    REQUIRE_OK(test_dir_sync(base, "/"));
    REQUIRE_OK(test_dir_sync(base, "/d"));
    REQUIRE_OK(base->ops->rename(base, NULL, "d/a", "/d/b"));
    unsigned renamed = 0;
    for (uint64_t seed = 0; seed < 50; seed++) {
        after = simdisk_clone(disk, seed);
        simdisk_crash(after, test_seed() + seed);
        bool a = simdisk_size(after, "d/a", &size);
        bool b = simdisk_size(after, "d/b", &size);
        CHECK(a != b); /* one rename is atomic */
        renamed += b;
        simdisk_free(after);
    }
    CHECK(renamed > 0 && renamed < 50);
    REQUIRE_OK(test_dir_sync(base, "d"));
    simdisk_crash_as(disk, SIMDISK_NONE, 1);
    CHECK(simdisk_size(disk, "d/b", &size));
    CHECK_EQ(size, 1);
    CHECK_STATUS(base->ops->remove(base, NULL, "d/a"), FTK_NOTFOUND);
    CHECK_OK(base->ops->remove(base, NULL, "d/b"));
    CHECK_OK(base->ops->remove(base, NULL, "d"));
    simdisk_free(disk);
}

static void
open_files_die_with_the_power(void)
{
    struct ftk_file *file;
    struct simdisk *disk = disk_with_pending_write(&file);
    char byte;

    CHECK_OK(ftk_file_lock(file, true));
    simdisk_crash(disk, test_seed());
    CHECK_STATUS(ftk_file_read(file, &byte, 1, 0), FTK_IO);
    CHECK_STATUS(ftk_file_write(file, "x", 1, 0), FTK_IO);
    CHECK_STATUS(ftk_file_sync(file), FTK_IO);
    struct ftk_file *again = open_new(disk, "f");
    CHECK_OK(ftk_file_lock(again, true)); /* the dead one's lock is gone */
    CHECK_OK(ftk_file_read(again, &byte, 1, 0));
    ftk_file_close(file);
    CHECK_OK(ftk_file_read(again, &byte, 1, 0));
    ftk_file_close(again);
    simdisk_free(disk);
}

static void
a_killed_process_loses_nothing_written(void)
{
    struct ftk_file *file;
    struct simdisk *disk = disk_with_pending_write(&file);

    simdisk_kill(disk, test_seed());
    CHECK_EQ(sectors_new(disk), SECTORS);
    ftk_file_close(file);
    simdisk_crash_as(disk, SIMDISK_NONE, 1); /* but it was not durable */
    CHECK_EQ(sectors_new(disk), 0);
    simdisk_free(disk);
}

static void
a_failed_sync_may_lose_and_no_later_sync_saves(void)
{
    unsigned lost = 0;

    for (uint64_t seed = 0; seed < 20; seed++) {
        struct ftk_file *file;
        struct simdisk *disk = disk_with_pending_write(&file);
        simdisk_fail(disk, SIMDISK_SYNC, 1, 1, EIO);
        CHECK_STATUS(ftk_file_sync(file), FTK_IO);
        CHECK_EQ(sectors_new(disk), SECTORS);
        CHECK_OK(ftk_file_sync(file));
        simdisk_crash(disk, test_seed() + seed);
        lost += sectors_new(disk) < SECTORS;
        ftk_file_close(file);
        simdisk_free(disk);
    }
    CHECK(lost > 0);
}

static void
the_nth_operation_fails_as_told(void)
{
    struct simdisk *disk = simdisk_new(NULL);
    struct ftk_file *file = open_new(disk, "f");
    uint8_t bytes[1024] = {1};

    simdisk_fail(disk, SIMDISK_WRITE, 2, 1, ENOSPC);
    CHECK_OK(ftk_file_write(file, bytes, sizeof bytes, 0));
    CHECK_STATUS(ftk_file_write(file, bytes, sizeof bytes, 0), FTK_NOSPACE);
    CHECK_OK(ftk_file_write(file, bytes, sizeof bytes, 0));
    simdisk_fail(disk, SIMDISK_READ, 1, 1, SIMDISK_SHORT_READ);
    CHECK_STATUS(ftk_file_read(file, bytes, sizeof bytes, 0), FTK_IO);
    CHECK_HAS(ftk_error_last()->text, "short read");
    CHECK_OK(ftk_file_read(file, bytes, sizeof bytes, 0));
    simdisk_fail(disk, SIMDISK_ANY, 1, UINT64_MAX, EIO);
    CHECK_STATUS(ftk_file_truncate(file, 0), FTK_IO);
    CHECK_STATUS(ftk_file_allocate(file, 0, 1), FTK_IO);
    simdisk_fail_clear(disk);
    CHECK_OK(ftk_file_truncate(file, 0));
    CHECK_EQ(simdisk_failed(disk), 4);
    ftk_fault_arm(FTK_FAULT_WRITE, 1, 1);
    CHECK_STATUS(ftk_file_write(file, bytes, sizeof bytes, 0), FTK_IO);
    CHECK_EQ(ftk_fault_hits(FTK_FAULT_WRITE), 1);
    ftk_file_close(file);
    simdisk_free(disk);
}

static void
a_full_disk_refuses_and_takes_more_when_raised(void)
{
    struct simdisk *disk = simdisk_new(&(struct simdisk_options){.capacity = 64 << 10});
    struct ftk_file *file = open_new(disk, "f");
    static uint8_t bytes[48 << 10];
    uint64_t size;

    memset(bytes, 1, sizeof bytes);
    CHECK_OK(ftk_file_write(file, bytes, sizeof bytes, 0));
    CHECK_OK(ftk_file_write(file, bytes, sizeof bytes, 0)); /* in place: no more space */
    CHECK_STATUS(ftk_file_write(file, bytes, sizeof bytes, sizeof bytes), FTK_NOSPACE);
    CHECK_OK(ftk_file_truncate(file, sizeof bytes));
    CHECK_STATUS(ftk_file_allocate(file, 0, 128 << 10), FTK_NOSPACE);
    CHECK_OK(ftk_file_size(file, &size));
    CHECK_EQ(size, sizeof bytes);
    simdisk_capacity(disk, 128 << 10);
    CHECK_OK(ftk_file_allocate(file, 0, 128 << 10));
    CHECK_EQ(simdisk_used(disk), 128 << 10);
    ftk_file_close(file);
    CHECK_OK(simdisk_disk(disk)->ops->remove(simdisk_disk(disk), NULL, "f"));
    CHECK_EQ(simdisk_used(disk), 0);
    simdisk_free(disk);
}

static void
direct_files_want_alignment(void)
{
    struct simdisk *disk = simdisk_new(&(struct simdisk_options){.align = 4096});
    struct ftk_file *file;
    _Alignas(4096) static uint8_t bytes[8192];

    REQUIRE_OK(ftk_file_open(simdisk_disk(disk), "f", FTK_OPEN_CREATE | FTK_OPEN_DIRECT, &file));
    CHECK_EQ(file->io_align, 4096);
    CHECK_OK(ftk_file_write(file, bytes, 4096, 4096));
    CHECK_STATUS(ftk_file_write(file, bytes, 512, 0), FTK_INVALID);
    CHECK_STATUS(ftk_file_write(file, bytes, 4096, 512), FTK_INVALID);
    CHECK_STATUS(ftk_file_read(file, bytes + 512, 4096, 0), FTK_INVALID);
    ftk_file_close(file);
    simdisk_free(disk);
}

static void
bits_flip_where_told(void)
{
    struct ftk_file *file;
    struct simdisk *disk = disk_with_pending_write(&file);
    uint8_t byte;

    CHECK(simdisk_flip(disk, "f", 700, 0x01));
    CHECK(!simdisk_flip(disk, "f", SIZE, 0x01));
    CHECK(!simdisk_flip(disk, "g", 0, 0x01));
    CHECK_OK(ftk_file_read(file, &byte, 1, 700));
    CHECK_EQ(byte, 'n' ^ 1);
    ftk_file_close(file);
    simdisk_free(disk);
}

/* ---- asynchronous I/O ---- */

struct order {
    unsigned char list[32];
    unsigned count;
};

static void
note_order(void *context, void *memory, size_t size, ftk_status status)
{
    struct order *order = context;
    (void)size;
    CHECK_EQ(status, FTK_OK);
    order->list[order->count++] = *(unsigned char *)memory;
}

static void
completions_of(uint64_t seed, struct order *order)
{
    struct simdisk *disk = simdisk_new(&(struct simdisk_options){.seed = seed});
    struct ftk_iobufs_options options = FTK_IOBUFS_OPTIONS_INIT;
    struct ftk_iobufs *bufs;
    struct ftk_iogroup group;
    struct ftk_file *file = open_new(disk, "f");

    memset(order, 0, sizeof *order);
    options.disk = simdisk_disk(disk);
    options.count = 8;
    options.memory_bytes = 512;
    REQUIRE_OK(ftk_iobufs_open(&options, &bufs));
    ftk_iogroup_init(&group, bufs);
    for (unsigned i = 0; i < 32; i++) {
        struct ftk_iobuf *buf;
        void *memory;
        ftk_iobuf_acquire(bufs, &buf);
        REQUIRE_OK(ftk_iobuf_memory(buf, &memory));
        memset(memory, (int)i, 512);
        ftk_iobuf_submit(buf, file, FTK_IO_WRITE, memory, 512, i * 512u, &group, note_order, order);
    }
    CHECK_OK(ftk_iogroup_wait(&group));
    CHECK_EQ(order->count, 32);
    for (unsigned i = 0; i < 32; i++) {
        uint8_t byte;
        CHECK_OK(ftk_file_read(file, &byte, 1, i * 512u));
        CHECK_EQ(byte, i);
    }
    ftk_iobufs_close(bufs);
    ftk_file_close(file);
    simdisk_free(disk);
}

static void
completions_come_in_an_order_drawn_from_the_seed(void)
{
    struct order one, same, other;
    unsigned in_order = 0;

    completions_of(test_seed(), &one);
    completions_of(test_seed(), &same);
    completions_of(test_seed() + 1, &other);
    CHECK_MEM(one.list, same.list, 32);
    CHECK(memcmp(one.list, other.list, 32) != 0);
    for (unsigned i = 0; i < 32; i++)
        in_order += one.list[i] == i;
    CHECK(in_order < 32);
}

static void
io_done(struct ftk_io *io)
{
    ++*(unsigned *)io->context;
}

static void
writes_under_way_are_not_made_durable_by_a_sync(void)
{
    struct ftk_file *file;
    struct simdisk *disk = disk_with_pending_write(&file);
    struct ftk_disk *base = simdisk_disk(disk);
    struct ftk_aio *aio;
    unsigned done = 0, survived = 0;
    struct ftk_io io = {.file = file, .op = FTK_IO_WRITE, .size = SIZE, .done = io_done};
    struct ftk_io *ios[1] = {&io};

    REQUIRE_OK(ftk_file_write(file, old_bytes, SIZE, 0));
    REQUIRE_OK(base->ops->aio_open(base, FTK_AIO_AUTO, 4, &aio));
    io.memory = new_bytes;
    io.context = &done;
    base->ops->aio_submit(aio, ios, 1);
    REQUIRE_OK(ftk_file_sync(file));
    CHECK_EQ(done, 0);
    for (uint64_t seed = 0; seed < 50; seed++) {
        struct simdisk *after = simdisk_clone(disk, seed);
        simdisk_crash_as(after, SIMDISK_NONE, seed);
        CHECK_EQ(sectors_new(after), 0);
        simdisk_free(after);
        after = simdisk_clone(disk, seed);
        simdisk_crash_as(after, SIMDISK_SECTORS, test_seed() + seed);
        survived += sectors_new(after) > 0; /* it may have reached the disk all the same */
        simdisk_free(after);
    }
    CHECK(survived > 0);
    simdisk_crash(disk, 1);
    CHECK(base->ops->aio_poll(aio));
    CHECK_EQ(done, 1);
    CHECK_EQ(io.status, FTK_IO);
    base->ops->aio_close(aio);
    ftk_file_close(file);
    simdisk_free(disk);
}

struct tally {
    uint64_t steps;
    uint64_t crashes;
};

static void
crash_at_step(void *context, struct simdisk *disk, uint64_t step)
{
    struct tally *tally = context;
    struct simdisk *after = simdisk_clone(disk, step);

    tally->steps++;
    CHECK_EQ(tally->steps, step);
    simdisk_crash(after, test_seed() + step);
    simdisk_free(after);
    tally->crashes++;
}

static void
every_step_can_be_crashed_without_replaying(void)
{
    struct simdisk *disk = simdisk_new(NULL);
    struct ftk_file *file = open_new(disk, "f");
    struct tally tally = {0, 0};
    static uint8_t bytes[4096];
    uint64_t before = simdisk_steps(disk);

    CHECK_OK(ftk_file_allocate(file, 0, 4 << 20));
    tally.steps = simdisk_steps(disk);
    simdisk_hook(disk, crash_at_step, &tally);
    for (uint64_t i = 0; i < 2000; i++) {
        memset(bytes, (int)i, sizeof bytes);
        CHECK_OK(ftk_file_write(file, bytes, sizeof bytes, i % 1024 * 4096));
        if (i % 16 == 15)
            CHECK_OK(ftk_file_sync(file));
    }
    CHECK_EQ(tally.crashes, 2125);
    CHECK_EQ(simdisk_steps(disk), before + 1 + 2125);
    ftk_file_close(file);
    simdisk_free(disk);
}

/* Random operations against a flat model: what is read is what was written. */
static void
contents_agree_with_a_model(void)
{
    enum { MODEL = 64 << 10 };
    static uint8_t model[MODEL], bytes[MODEL];
    struct ftk_random random = test_random();
    struct simdisk *disk = simdisk_new(&(struct simdisk_options){.seed = test_seed()});
    struct ftk_file *file = open_new(disk, "f");
    uint64_t size = 0, now;

    memset(model, 0, sizeof model);
    for (uint64_t round = 0; round < test_rounds(3000); round++) {
        uint64_t offset = ftk_random_below(&random, MODEL);
        uint64_t n = ftk_random_below(&random, MODEL - offset) + 1;
        switch (ftk_random_below(&random, 6)) {
        case 0:
            CHECK_OK(ftk_file_truncate(file, offset));
            if (offset < size)
                memset(model + offset, 0, size - offset);
            size = offset;
            break;
        case 1:
            CHECK_OK(ftk_file_allocate(file, offset, n));
            size = size > offset + n ? size : offset + n;
            break;
        case 2: CHECK_OK(ftk_file_sync(file)); break;
        default:
            memset(bytes, (int)ftk_random_below(&random, 3), n);
            CHECK_OK(ftk_file_write(file, bytes, n, offset));
            memcpy(model + offset, bytes, n);
            size = size > offset + n ? size : offset + n;
        }
        REQUIRE_OK(ftk_file_size(file, &now));
        REQUIRE_EQ(now, size);
        REQUIRE_OK(ftk_file_read(file, bytes, size, 0));
        REQUIRE_MEM(bytes, model, size);
        if (round % 64 == 0) { /* all survives: the same bytes after a power cut */
            struct simdisk *after = simdisk_clone(disk, round);
            simdisk_crash_as(after, SIMDISK_ALL, round);
            if (simdisk_size(after, "f", &now) && CHECK_EQ(now, size)) {
                REQUIRE(simdisk_peek(after, "f", 0, bytes, size));
                REQUIRE_MEM(bytes, model, size);
            }
            simdisk_free(after);
        }
    }
    ftk_file_close(file);
    simdisk_free(disk);
}

/* The clock of a disk whose syncs take time: the power fails while one is under way. */
static uint64_t
no_time(void *context)
{
    (void)context;
    return 1;
}

static void
power_fails_meanwhile(void *context, uint64_t ns)
{
    struct simdisk **disk = context;

    (void)ns;
    if (*disk != NULL)
        simdisk_crash_as(*disk, SIMDISK_NONE, 1);
    *disk = NULL;
}

static void
a_sync_that_the_power_cut_meets_saves_nothing(void)
{
    static const struct ftk_clock_ops clock = {no_time, no_time, power_fails_meanwhile};
    struct simdisk_options options = {.seed = test_seed(), .device = true};
    struct simdisk *disk = simdisk_new(&options), *to_cut = NULL;
    struct ftk_file *file = open_new(disk, "f");
    uint8_t bytes[SIZE];

    ftk_clock_use(&clock, &to_cut);
    memset(old_bytes, 'o', SIZE);
    memset(new_bytes, 'n', SIZE);
    REQUIRE_OK(ftk_file_write(file, old_bytes, SIZE, 0));
    REQUIRE_OK(ftk_file_sync(file));
    REQUIRE_OK(test_dir_sync(simdisk_disk(disk), "/"));
    for (int i = 0; i < 100; i++)
        REQUIRE_OK(ftk_file_write(file, new_bytes, SIMDISK_SECTOR, (uint64_t)i % SECTORS * 512));
    to_cut = disk;
    CHECK_STATUS(ftk_file_sync(file), FTK_IO);
    CHECK(to_cut == NULL);
    ftk_file_close(file);
    ftk_clock_use(NULL, NULL);
    REQUIRE(simdisk_peek(disk, "f", 0, bytes, SIZE));
    CHECK_MEM(bytes, old_bytes, SIZE);
    simdisk_free(disk);
}

TEST_MAIN("support_simdisk", TEST(synced_bytes_survive_every_power_cut),
          TEST(unsynced_sectors_survive_by_policy), TEST(later_writes_can_survive_earlier_ones),
          TEST(names_are_durable_after_sync_dir_only), TEST(open_files_die_with_the_power),
          TEST(a_sync_that_the_power_cut_meets_saves_nothing),
          TEST(a_killed_process_loses_nothing_written),
          TEST(a_failed_sync_may_lose_and_no_later_sync_saves),
          TEST(the_nth_operation_fails_as_told),
          TEST(a_full_disk_refuses_and_takes_more_when_raised), TEST(direct_files_want_alignment),
          TEST(bits_flip_where_told), TEST(completions_come_in_an_order_drawn_from_the_seed),
          TEST(writes_under_way_are_not_made_durable_by_a_sync),
          TEST(every_step_can_be_crashed_without_replaying), TEST(contents_agree_with_a_model))
