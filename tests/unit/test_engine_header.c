/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/test_engine_header.c -- the header of data.kdb: what each finding at an opening means,
 * and that neither crash nor repair damages both copies of a slot.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "engine/db/open.h"
#include "engine/db/txn.h"
#include "ftk/checksum.h"
#include "ftk/log.h"
#include "tests/support/simdisk.h"
#include "tests/support/test.h"

#define PATH "/data.kdb"

/* ---- a file of nothing but headers ----------------------------------------------------------- */

static uint64_t
block_at(unsigned slot, unsigned copy)
{
    return slot * 16384u + copy * 32768u;
}

static struct simdisk *
disk_new(void)
{
    return simdisk_new(&(struct simdisk_options){.seed = test_seed()});
}

static struct ftk_file *
file_open(struct simdisk *disk)
{
    struct ftk_file *file = NULL;

    REQUIRE_OK(ftk_file_open(simdisk_disk(disk), PATH, FTK_OPEN_CREATE | FTK_OPEN_DIRECT, &file));
    return file;
}

/* The region of the headers, zero and durable. */
static struct ftk_file *
file_make(struct simdisk *disk)
{
    struct ftk_file *file = file_open(disk);

    REQUIRE_OK(ftk_file_allocate(file, 0, HEADER_REGION_BYTES));
    REQUIRE_OK(ftk_file_sync(file));
    REQUIRE_OK(test_dir_sync(simdisk_disk(disk), "/"));
    return file;
}

static struct header
header_of(uint64_t checkpoint, struct ftk_random *random)
{
    struct header header = {.page_bytes = PAGE_BYTES_MIN << ftk_random_below(random, 5),
                            .checkpoint = checkpoint,
                            .pages_end = ftk_random_below(random, PAGE_ID_MAX + 1),
                            .map_hash = ftk_random_next(random),
                            .wall_ns = ftk_random_next(random),
                            .flags = (uint32_t)ftk_random_below(random, 2)};

    for (unsigned i = 0; i < sizeof header.identity; i++)
        header.identity[i] = (uint8_t)ftk_random_next(random);
    header.snapshot.id = ftk_random_next(random) >> 1;
    header.snapshot.lsn = ftk_random_next(random) >> 1;
    header.snapshot.applied = ftk_random_next(random);
    header.snapshot.coll_next = (uint32_t)ftk_random_next(random);
    header.snapshot.catalog_height = (uint32_t)ftk_random_below(random, 25);
    if (header.snapshot.catalog_height > 0) {
        header.snapshot.catalog_root =
            page_ref_make(1 + ftk_random_below(random, PAGE_ID_MAX), ftk_random_next(random));
        header.snapshot.catalog_keys = ftk_random_next(random);
    }
    return header;
}

static bool
same(const struct header *a, const struct header *b)
{
    return a->page_bytes == b->page_bytes &&
           memcmp(a->identity, b->identity, sizeof a->identity) == 0 &&
           a->checkpoint == b->checkpoint && a->snapshot.id == b->snapshot.id &&
           a->snapshot.lsn == b->snapshot.lsn && a->snapshot.applied == b->snapshot.applied &&
           a->snapshot.catalog_root.bits == b->snapshot.catalog_root.bits &&
           a->snapshot.catalog_keys == b->snapshot.catalog_keys &&
           a->snapshot.catalog_height == b->snapshot.catalog_height &&
           a->snapshot.coll_next == b->snapshot.coll_next && a->pages_end == b->pages_end &&
           a->map_hash == b->map_hash && a->wall_ns == b->wall_ns && a->flags == b->flags;
}

/* The block that header_write makes of it. */
static void
block_of(const struct header *header, uint8_t *block)
{
    struct simdisk *disk = disk_new();
    struct ftk_file *file = file_make(disk);

    REQUIRE_OK(header_write(file, header));
    REQUIRE(
        simdisk_peek(disk, PATH, block_at(header->checkpoint % 2, 0), block, HEADER_BLOCK_BYTES));
    ftk_file_close(file);
    simdisk_free(disk);
}

static void
count_warning(void *context, enum ftk_log_level level, const char *text)
{
    CHECK_EQ(level, FTK_LOG_WARNING);
    if (strstr(text, "repaired from its twin") != NULL)
        ++*(unsigned *)context;
    else
        CHECK_HAS(text, "not repaired: ");
}

static ftk_status
read_header(struct simdisk *disk, bool repair, unsigned *repaired_out, struct header *header_out)
{
    struct ftk_log log = {count_warning, repaired_out, FTK_LOG_DEBUG};
    struct ftk_file *file = file_open(disk);
    ftk_status rc;

    *repaired_out = 0;
    rc = header_read(file, &log, repair, header_out);
    ftk_file_close(file);
    return rc;
}

/* ---- the table in engine/page/header.c ------------------------------------------------------- */

enum copy { NEW, OLD, TORN, ROTTEN, COPIES };
static const char *const copy_names[COPIES] = {"new", "old", "torn", "rotten"};

/* What is told of a file with checkpoints up to N, by the two copies in the slot of N. */
static const struct row {
    enum copy first, second;
    int behind;      /* the answer is N - behind; -1: both copies are damaged */
    int repaired[2]; /* how often each copy is made anew */
} rows[] = {
    {NEW, NEW, 0, {0, 0}},        {NEW, OLD, 0, {0, 1}},      {NEW, TORN, 0, {0, 1}},
    {NEW, ROTTEN, 0, {0, 1}},     {OLD, NEW, 0, {1, 0}},      {TORN, NEW, 0, {1, 0}},
    {ROTTEN, NEW, 0, {1, 0}},     {OLD, OLD, 1, {0, 0}},      {TORN, OLD, 1, {1, 0}},
    {ROTTEN, OLD, 1, {1, 0}},     {OLD, TORN, 1, {0, 1}},     {OLD, ROTTEN, 1, {0, 1}},
    {TORN, TORN, -1, {0, 0}},     {TORN, ROTTEN, -1, {0, 0}}, {ROTTEN, TORN, -1, {0, 0}},
    {ROTTEN, ROTTEN, -1, {0, 0}},
};

/* The blocks of checkpoint N and N - 2. */
struct pair {
    uint8_t now[HEADER_BLOCK_BYTES], before[HEADER_BLOCK_BYTES];
};

static void
copy_poke(struct simdisk *disk, unsigned slot, unsigned number, enum copy copy,
          const struct pair *pair, struct ftk_random *random)
{
    uint8_t block[HEADER_BLOCK_BYTES];
    size_t edge = SIMDISK_SECTOR * (1 + ftk_random_below(random, 7));
    bool head = ftk_random_below(random, 2) == 0;

    memcpy(block, copy == OLD ? pair->before : pair->now, sizeof block);
    if (copy == TORN)
        memcpy(head ? block : block + edge, head ? pair->before : pair->before + edge,
               head ? edge : sizeof block - edge);
    if (copy == ROTTEN)
        block[ftk_random_below(random, sizeof block)] ^=
            (uint8_t)(1u << ftk_random_below(random, 8));
    REQUIRE(simdisk_poke(disk, PATH, block_at(slot, number), block, sizeof block));
}

/* A file with checkpoints n and n - 1, and before them older ones. */
static struct simdisk *
disk_with(const struct header *headers, uint64_t n)
{
    struct simdisk *disk = disk_new();
    struct ftk_file *file = file_make(disk);

    for (uint64_t i = 1; i <= n; i++)
        REQUIRE_OK(header_write(file, &headers[i]));
    ftk_file_close(file);
    return disk;
}

static void
row_check(const struct row *row, uint64_t n, bool newest_slot, bool repair,
          struct ftk_random *random)
{
    uint64_t of = newest_slot ? n : n - 1; /* the checkpoint whose slot has these copies */
    uint64_t wanted = newest_slot ? n - (uint64_t)row->behind : n;
    unsigned slot = of % 2, repaired = 0, wanted_repaired;
    uint8_t before[2][HEADER_BLOCK_BYTES], after[2][HEADER_BLOCK_BYTES];
    struct header headers[8], got;
    struct simdisk *disk;
    struct pair pair;
    char how[160];
    ftk_status rc;

    for (uint64_t i = 1; i <= n; i++)
        headers[i] = header_of(i, random);
    disk = disk_with(headers, n);
    block_of(&headers[of], pair.now);
    block_of(&headers[of - 2], pair.before);
    copy_poke(disk, slot, 0, row->first, &pair, random);
    copy_poke(disk, slot, 1, row->second, &pair, random);
    for (unsigned i = 0; i < 2; i++)
        REQUIRE(simdisk_peek(disk, PATH, block_at(slot, i), before[i], sizeof before[i]));
    snprintf(how, sizeof how, "slot %u of checkpoint %llu of %llu: first %s, second %s, %s", slot,
             (unsigned long long)of, (unsigned long long)n, copy_names[row->first],
             copy_names[row->second], repair ? "repair" : "no repair");
    rc = read_header(disk, repair, &repaired, &got);
    for (unsigned i = 0; i < 2; i++) {
        REQUIRE(simdisk_peek(disk, PATH, block_at(slot, i), after[i], sizeof after[i]));
        const uint8_t *bytes = repair && row->repaired[i] > 0 ? before[1 - i] : before[i];
        CHECK_MSG(memcmp(after[i], bytes, sizeof after[i]) == 0, "%s: copy %u", how, i);
    }
    wanted_repaired = repair ? (unsigned)(row->repaired[0] + row->repaired[1]) : 0;
    CHECK_MSG(repaired == wanted_repaired, "%s: %u repaired", how, repaired);
    if (row->behind < 0) {
        CHECK_MSG(rc == FTK_CORRUPT, "%s: %s", how, ftk_status_name(rc));
        CHECK_HAS(ftk_error_last()->text, "both copies of header slot");
    } else {
        CHECK_MSG(rc == FTK_OK, "%s: %s", how, ftk_error_last()->text);
        CHECK_MSG(rc != FTK_OK || same(&got, &headers[wanted]), "%s: checkpoint %llu", how,
                  (unsigned long long)got.checkpoint);
    }
    simdisk_free(disk);
}

static void
copies_of_the_newest_slot_mean_what_the_table_says(void)
{
    struct ftk_random random = test_random();

    for (uint64_t round = 0; round < test_rounds(8); round++) {
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            for (uint64_t n = 4; n <= 5; n++) {
                row_check(&rows[i], n, true, false, &random);
                row_check(&rows[i], n, true, true, &random);
            }
        }
    }
}

/*
 * The older slot does not change the answer, unless both its copies are bad: it might have been the
 * newest.  It is repaired, too: the next checkpoint begins by overwriting one of its copies.
 */
static void
copies_of_the_older_slot_are_repaired_and_change_nothing(void)
{
    struct ftk_random random = test_random();

    for (uint64_t round = 0; round < test_rounds(8); round++) {
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            for (uint64_t n = 5; n <= 6; n++) {
                row_check(&rows[i], n, false, false, &random);
                row_check(&rows[i], n, false, true, &random);
            }
        }
    }
}

static void
only_the_first_checkpoint_may_have_an_empty_slot_beside_it(void)
{
    struct ftk_random random = test_random();
    static const uint8_t zero[HEADER_BLOCK_BYTES];

    for (uint64_t n = 1; n <= 3; n++) {
        struct header headers[4], got;
        unsigned other = 1 - n % 2, repaired;
        for (uint64_t i = 1; i <= n; i++)
            headers[i] = header_of(i, &random);
        struct simdisk *disk = disk_with(headers, n);
        for (unsigned copy = 0; copy < 2; copy++)
            REQUIRE(simdisk_poke(disk, PATH, block_at(other, copy), zero, sizeof zero));
        CHECK_STATUS(read_header(disk, false, &repaired, &got), n == 1 ? FTK_OK : FTK_CORRUPT);
        CHECK(n > 1 || same(&got, &headers[1]));
        /* A torn first copy of checkpoint 2: its second is still zero. */
        REQUIRE(simdisk_poke(disk, PATH, block_at(other, 0) + 8, "torn", 4));
        CHECK_STATUS(read_header(disk, true, &repaired, &got), n == 1 ? FTK_OK : FTK_CORRUPT);
        CHECK_EQ(repaired, 0);
        /* The second is written after the first is whole. */
        REQUIRE(simdisk_poke(disk, PATH, block_at(other, 1) + 8, "torn", 4));
        CHECK_STATUS(read_header(disk, true, &repaired, &got), FTK_CORRUPT);
        simdisk_free(disk);
    }
}

/* ---- what is no header ----------------------------------------------------------------------- */

static void
foreign_and_short_files_are_told_apart_from_damage(void)
{
    struct simdisk *disk = disk_new();
    struct ftk_file *file = file_make(disk);
    struct ftk_random random = test_random();
    struct header header = header_of(1, &random), got;
    uint8_t block[HEADER_BLOCK_BYTES];
    unsigned repaired;

    CHECK_STATUS(read_header(disk, true, &repaired, &got), FTK_FOREIGN); /* zeros */
    memset(block, 'x', sizeof block);
    for (unsigned i = 0; i < 4; i++)
        REQUIRE(simdisk_poke(disk, PATH, i * UINT64_C(16384), block, sizeof block));
    CHECK_STATUS(read_header(disk, true, &repaired, &got), FTK_FOREIGN);
    CHECK_HAS(ftk_error_last()->text, "not a kiln database");
    /* The magic alone: it was one. */
    REQUIRE(simdisk_poke(disk, PATH, block_at(1, 1), HEADER_MAGIC, 8));
    CHECK_STATUS(read_header(disk, true, &repaired, &got), FTK_CORRUPT);
    CHECK_HAS(ftk_error_last()->text, "all four copies");
    CHECK_EQ(repaired, 0);
    memset(block, 0, sizeof block);
    for (unsigned i = 0; i < 4; i++)
        REQUIRE(simdisk_poke(disk, PATH, i * UINT64_C(16384), block, sizeof block));
    REQUIRE_OK(header_write(file, &header));
    REQUIRE_OK(header_read(file, NULL, true, &got));
    CHECK(same(&got, &header));
    for (uint64_t size = 0; size < HEADER_REGION_BYTES; size = size * 3 + 1) {
        REQUIRE_OK(ftk_file_truncate(file, HEADER_REGION_BYTES - 1 - size));
        CHECK_STATUS(header_read(file, NULL, true, &got), FTK_FOREIGN);
        CHECK_HAS(ftk_error_last()->text, "bytes");
    }
    ftk_file_close(file);
    simdisk_free(disk);
}

/* Fields that are refused though the checksum is right. */
static const struct field {
    const char *words; /* of the message */
    unsigned at, size;
    uint64_t value;
    ftk_status status;
} fields[] = {
    {"format version 0", HEADER_VERSION, 4, 0, FTK_VERSION},
    {"format version 1", HEADER_VERSION, 4, 1, FTK_VERSION},
    {"format version 3", HEADER_VERSION, 4, FILE_VERSION + 1, FTK_VERSION},
    {"page size 0", HEADER_PAGE_BYTES, 4, 0, FTK_CORRUPT},
    {"page size 2048", HEADER_PAGE_BYTES, 4, PAGE_BYTES_MIN / 2, FTK_CORRUPT},
    {"page size 12288", HEADER_PAGE_BYTES, 4, 12288, FTK_CORRUPT},
    {"page size 131072", HEADER_PAGE_BYTES, 4, PAGE_BYTES_MAX * 2, FTK_CORRUPT},
    {"flags 0x8", HEADER_FLAGS, 4, 8, FTK_VERSION},
    {"flags 0x80000001", HEADER_FLAGS, 4, UINT64_C(0x80000001), FTK_VERSION},
    {"catalog", HEADER_CATALOG_HEIGHT, 4, 25, FTK_CORRUPT},
    {"catalog", HEADER_CATALOG_HEIGHT, 4, 0, FTK_CORRUPT},             /* with a root */
    {"catalog", HEADER_CATALOG_ROOT, 8, 0, FTK_CORRUPT},               /* with a height */
    {"catalog", HEADER_CATALOG_ROOT, 8, PAGE_ID_MAX + 1, FTK_CORRUPT}, /* a birth, no page */
    {"catalog", HEADER_PAGES_END, 8, PAGE_ID_MAX + 1, FTK_CORRUPT},
    {"place of the log", HEADER_LOG_DIR_BYTES, 4, 1, FTK_CORRUPT}, /* without the flag */
    {"place of the log", HEADER_LOG_DIR_BYTES, 4, HEADER_LOG_DIR_MAX + 1, FTK_CORRUPT},
    {"place of the log", HEADER_LOG_DIR, 4, 'x', FTK_CORRUPT}, /* bytes behind its end */
    {"reserved", HEADER_RESERVED, 4, 1, FTK_CORRUPT},
    {"reserved", HEADER_CHECKSUM - 4, 4, UINT64_C(0x80000000), FTK_CORRUPT},
};

static void
block_change(struct simdisk *disk, unsigned slot, unsigned copy, const struct field *field)
{
    uint8_t block[HEADER_BLOCK_BYTES];

    REQUIRE(simdisk_peek(disk, PATH, block_at(slot, copy), block, sizeof block));
    if (field->size == 4)
        ftk_put_le32(block + field->at, (uint32_t)field->value);
    else
        ftk_put_le64(block + field->at, field->value);
    ftk_put_le64(block + HEADER_CHECKSUM, ftk_checksum(block, HEADER_CHECKSUM, 0));
    REQUIRE(simdisk_poke(disk, PATH, block_at(slot, copy), block, sizeof block));
}

static void
impossible_fields_under_a_right_checksum_are_refused(void)
{
    struct ftk_random random = test_random();

    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        struct header headers[4], got;
        unsigned repaired;
        for (uint64_t n = 1; n <= 3; n++)
            headers[n] = header_of(n, &random);
        headers[3].snapshot.catalog_height = 3;
        headers[3].snapshot.catalog_root = page_ref_make(PAGE_ID_MAX, UINT64_MAX);
        headers[3].pages_end = PAGE_ID_MAX;
        struct simdisk *disk = disk_with(headers, 3);
        REQUIRE_OK(read_header(disk, true, &repaired, &got)); /* the limits themselves are legal */
        block_change(disk, 1, 0, &fields[i]);
        block_change(disk, 1, 1, &fields[i]);
        CHECK_STATUS(read_header(disk, true, &repaired, &got), fields[i].status);
        CHECK_HAS(ftk_error_last()->text, fields[i].words);
        CHECK_EQ(repaired, 0);
        simdisk_free(disk);
    }
}

/* A header is written anew with other flags, and the crash comes between its two copies. */
static void
two_copies_of_one_checkpoint_that_differ_become_the_first(void)
{
    static const struct field flagged = {"", HEADER_FLAGS, 4, HEADER_ARCHIVING, FTK_OK};
    struct ftk_random random = test_random();
    struct header headers[4], got;
    uint8_t first[HEADER_BLOCK_BYTES], twin[HEADER_BLOCK_BYTES];
    struct simdisk *disk;
    unsigned repaired;

    for (uint64_t n = 1; n <= 3; n++)
        headers[n] = header_of(n, &random);
    disk = disk_with(headers, 3);
    block_change(disk, 1, 0, &flagged);
    REQUIRE_OK(read_header(disk, true, &repaired, &got));
    CHECK_EQ(repaired, 1);
    CHECK_EQ(got.flags, HEADER_ARCHIVING);
    REQUIRE(simdisk_peek(disk, PATH, block_at(1, 0), first, sizeof first));
    REQUIRE(simdisk_peek(disk, PATH, block_at(1, 1), twin, sizeof twin));
    CHECK_MEM(first, twin, sizeof first);
    REQUIRE_OK(read_header(disk, true, &repaired, &got));
    CHECK_EQ(repaired, 0);
    simdisk_free(disk);
}

static void
header_in_the_wrong_slot_is_refused(void)
{
    struct ftk_random random = test_random();

    for (uint64_t n = 2; n <= 3; n++) {
        struct header headers[5], got;
        uint8_t block[HEADER_BLOCK_BYTES];
        unsigned repaired;
        for (uint64_t i = 1; i <= 4; i++)
            headers[i] = header_of(i, &random);
        struct simdisk *disk = disk_with(headers, n);
        block_of(&headers[n + 1], block);
        REQUIRE(simdisk_poke(disk, PATH, block_at(n % 2, 0), block, sizeof block));
        CHECK_STATUS(read_header(disk, true, &repaired, &got), FTK_CORRUPT);
        CHECK_HAS(ftk_error_last()->text, "in slot");
        CHECK_EQ(repaired, 0);
        simdisk_free(disk);
    }
}

/* Numbers begin at 1; and when none is above 0, no block may be taken without its checksum. */
static void
checkpoint_0_is_refused(void)
{
    static const struct field number = {"damaged", HEADER_CHECKPOINT, 8, 0, FTK_CORRUPT};
    struct ftk_random random = test_random();
    struct header headers[3], got;
    unsigned repaired;

    headers[1] = header_of(1, &random);
    headers[2] = header_of(2, &random);
    struct simdisk *disk = disk_with(headers, 2);
    for (unsigned i = 0; i < 4; i++)
        block_change(disk, i / 2, i % 2, &number);
    CHECK_STATUS(read_header(disk, true, &repaired, &got), FTK_CORRUPT);
    CHECK_HAS(ftk_error_last()->text, number.words);
    REQUIRE(simdisk_flip(disk, PATH, block_at(0, 0) + HEADER_PAGE_BYTES, 0xff));
    CHECK_STATUS(read_header(disk, true, &repaired, &got), FTK_CORRUPT);
    CHECK_HAS(ftk_error_last()->text, number.words);
    CHECK_EQ(repaired, 0);
    simdisk_free(disk);
}

/* ---- crashes --------------------------------------------------------------------------------- */

/* What the next opening may find: the durable header, or the one that was being written. */
struct story {
    struct header durable, next;
    bool writing;
    unsigned depth; /* crashes that may still follow */
    struct ftk_random *random;
    const char *how;
};

static void live(struct simdisk *disk, const struct story *before);

/* In other worlds the process dies here, or the power fails. */
static void
crash_hook(void *context, struct simdisk *disk, uint64_t step)
{
    const struct story *story = context;
    struct story after = *story;

    for (unsigned i = 0; story->depth > 0 && i <= SIMDISK_POLICIES; i++) {
        uint64_t seed = ftk_random_next(story->random);
        struct simdisk *clone = simdisk_clone(disk, seed);
        char how[512];
        if (i == SIMDISK_POLICIES)
            simdisk_kill(clone, seed);
        else
            simdisk_crash_as(clone, (enum simdisk_policy)i, seed);
        snprintf(how, sizeof how, "%s, %s at step %llu", story->how,
                 i == SIMDISK_POLICIES ? "killed" : simdisk_policy_name((enum simdisk_policy)i),
                 (unsigned long long)step);
        after.depth = story->depth - 1;
        after.how = how;
        live(clone, &after);
        simdisk_free(clone);
    }
}

/* An opening, which repairs, and the next checkpoint.  What the opening has returned is what every
 * later one must find, power cut or not: the database has built on it. */
static void
live(struct simdisk *disk, const struct story *before)
{
    struct story story = *before;
    struct ftk_file *file = file_open(disk);
    struct header got;
    ftk_status rc;

    simdisk_hook(disk, crash_hook, &story);
    rc = header_read(file, NULL, true, &got);
    REQUIRE_MSG(rc == FTK_OK, "%s: %s", story.how, ftk_error_last()->text);
    REQUIRE_MSG(same(&got, &story.durable) || (story.writing && same(&got, &story.next)),
                "%s: checkpoint %llu, durable was %llu", story.how,
                (unsigned long long)got.checkpoint, (unsigned long long)story.durable.checkpoint);
    story.durable = got;
    story.next = header_of(got.checkpoint + 1, story.random);
    story.writing = true;
    REQUIRE_OK(header_write(file, &story.next));
    simdisk_hook(disk, NULL, NULL);
    REQUIRE_OK(header_read(file, NULL, false, &got));
    REQUIRE_MSG(same(&got, &story.next), "%s: the next checkpoint", story.how);
    ftk_file_close(file);
}

static void
live_often(struct simdisk *disk, const struct story *story, unsigned times)
{
    for (unsigned i = 0; i < times; i++) {
        struct simdisk *clone = simdisk_clone(disk, ftk_random_next(story->random));
        live(clone, story);
        simdisk_free(clone);
    }
}

static void
crashes_in_writes_and_repairs_leave_a_legal_header(void)
{
    struct ftk_random random = test_random();
    struct header headers[8];

    for (uint64_t round = 0; round < test_rounds(6); round++) {
        struct story story = {.random = &random, .how = "whole"};
        uint64_t n = 1 + round % 4;
        for (uint64_t i = 1; i <= n; i++)
            headers[i] = header_of(i, &random);
        struct simdisk *disk = disk_with(headers, n);
        story.durable = headers[n];
        story.depth = 2;
        live_often(disk, &story, 10);
        story.depth = 3;
        live_often(disk, &story, 1);
        simdisk_free(disk);
    }
}

static void
kill_after_first_copy(void *context, struct simdisk *disk, uint64_t step)
{
    struct simdisk **killed_out = context;

    if (*killed_out == NULL) {
        *killed_out = simdisk_clone(disk, step);
        simdisk_kill(*killed_out, step);
    }
}

/* A header that is read after the death of a process, and not made durable, is not to be built on:
 * the next checkpoint would overwrite the one that a power cut brings back. */
static void
what_a_repairing_read_returns_survives_though_the_repair_fails(void)
{
    struct ftk_random random = test_random();
    struct header headers[6], got, again;
    struct simdisk *disk, *killed = NULL;
    struct ftk_file *file;
    unsigned refused = 0, repaired;

    for (uint64_t i = 1; i <= 5; i++)
        headers[i] = header_of(i, &random);
    disk = disk_with(headers, 4);
    file = file_open(disk);
    simdisk_hook(disk, kill_after_first_copy, &killed);
    REQUIRE_OK(header_write(file, &headers[5]));
    ftk_file_close(file);
    REQUIRE(killed != NULL);
    for (unsigned i = 0; i < 3 * SIMDISK_POLICIES * test_rounds(20); i++) {
        static const struct {
            unsigned op, nth;
        } faults[3] = {{SIMDISK_SYNC, 1}, {SIMDISK_WRITE, 1}, {SIMDISK_SYNC, 2}};
        struct simdisk *clone = simdisk_clone(killed, ftk_random_next(&random));
        simdisk_fail(clone, faults[i % 3].op, faults[i % 3].nth, 1, EIO);
        ftk_status rc = read_header(clone, true, &repaired, &got);
        CHECK_EQ(simdisk_failed(clone), 1);
        CHECK_EQ(repaired, 0);
        CHECK_STATUS(rc, i % 3 == 0 ? FTK_IO : FTK_OK);
        refused += rc != FTK_OK;
        simdisk_crash_as(clone, (enum simdisk_policy)(i / 3 % SIMDISK_POLICIES),
                         ftk_random_next(&random));
        REQUIRE_OK(read_header(clone, true, &repaired, &again));
        CHECK(rc != FTK_OK || same(&got, &again));
        CHECK(same(&again, &headers[4]) || same(&again, &headers[5]));
        simdisk_free(clone);
    }
    CHECK(refused > 0);
    simdisk_free(killed);
    simdisk_free(disk);
}

/* ---- faults ---------------------------------------------------------------------------------- */

/* One copy after the other cannot be read: its twin is as good, but the copy must be repaired. */
static void
a_copy_that_cannot_be_read_is_repaired_from_its_twin(void)
{
    struct ftk_random random = test_random();
    struct simdisk *disk = disk_new();
    struct ftk_file *file = file_make(disk);
    struct header header = header_of(1, &random), next = header_of(2, &random), got;
    unsigned repaired;

    REQUIRE_OK(header_write(file, &header));
    REQUIRE_OK(header_write(file, &next));
    ftk_file_close(file);
    for (unsigned nth = 1; nth <= 4; nth++) {
        struct simdisk *clone = simdisk_clone(disk, nth);
        simdisk_fail(clone, SIMDISK_READ, nth, 1, EIO);
        CHECK_OK(read_header(clone, false, &repaired, &got));
        CHECK(same(&got, &next));
        CHECK_EQ(repaired, 0);
        simdisk_fail(clone, SIMDISK_READ, nth, 1, EIO);
        CHECK_OK(read_header(clone, true, &repaired, &got));
        CHECK(same(&got, &next));
        CHECK_EQ(repaired, 1);
        simdisk_fail(clone, SIMDISK_READ, nth, 1, EIO);
        simdisk_fail(clone, SIMDISK_WRITE, 1, 1, EIO);
        CHECK_STATUS(read_header(clone, true, &repaired, &got), FTK_IO);
        simdisk_free(clone);
    }
    simdisk_fail(disk, SIMDISK_READ, 1, 2, EIO); /* both copies of a slot */
    CHECK_STATUS(read_header(disk, true, &repaired, &got), FTK_IO);
    simdisk_free(disk);
}

/* Beside a slot that is still empty, too: it may have held the first half of checkpoint 2. */
static void
a_copy_that_cannot_be_read_beside_an_empty_one_is_refused(void)
{
    struct ftk_random random = test_random();
    struct simdisk *disk = disk_new();
    struct ftk_file *file = file_make(disk);
    struct header header = header_of(1, &random), got;
    unsigned repaired;

    REQUIRE_OK(header_write(file, &header));
    ftk_file_close(file);
    for (unsigned nth = 1; nth <= 4; nth++) {
        simdisk_fail(disk, SIMDISK_READ, nth, 1, EIO);
        CHECK_STATUS(read_header(disk, true, &repaired, &got), nth <= 2 ? FTK_IO : FTK_OK);
    }
    simdisk_free(disk);
}

struct attempt {
    struct header header;
    uint64_t failures;
};

static ftk_status
write_and_read(void *context)
{
    struct attempt *attempt = context;
    struct simdisk *disk = disk_new();
    struct ftk_file *file = NULL;
    struct header got;
    ftk_status rc;

    FTK_TRY(ftk_file_open(simdisk_disk(disk), PATH, FTK_OPEN_CREATE, &file));
    FTK_TRY(ftk_file_truncate(file, HEADER_REGION_BYTES));
    FTK_TRY(header_write(file, &attempt->header));
    FTK_TRY(header_read(file, NULL, true, &got));
    CHECK(same(&got, &attempt->header));
out:
    attempt->failures += rc != FTK_OK;
    ftk_file_close(file);
    simdisk_free(disk);
    return rc;
}

static void
each_fault_is_reported(void)
{
    static const enum ftk_fault kinds[] = {FTK_FAULT_READ, FTK_FAULT_WRITE, FTK_FAULT_SYNC,
                                           FTK_FAULT_ALLOC};
    struct ftk_random random = test_random();

    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        struct attempt attempt = {.header = header_of(1, &random)};
        uint64_t faults = test_each_fault(kinds[i], write_and_read, &attempt);
        CHECK(faults >= 2);
        /* Two of the reads have a twin: see above. */
        CHECK_EQ(attempt.failures, kinds[i] == FTK_FAULT_READ ? faults - 2 : faults);
    }
}

TEST_MAIN("engine_header", TEST(copies_of_the_newest_slot_mean_what_the_table_says),
          TEST(copies_of_the_older_slot_are_repaired_and_change_nothing),
          TEST(only_the_first_checkpoint_may_have_an_empty_slot_beside_it),
          TEST(foreign_and_short_files_are_told_apart_from_damage),
          TEST(impossible_fields_under_a_right_checksum_are_refused),
          TEST(two_copies_of_one_checkpoint_that_differ_become_the_first),
          TEST(header_in_the_wrong_slot_is_refused), TEST(checkpoint_0_is_refused),
          TEST(crashes_in_writes_and_repairs_leave_a_legal_header),
          TEST(what_a_repairing_read_returns_survives_though_the_repair_fails),
          TEST(a_copy_that_cannot_be_read_is_repaired_from_its_twin),
          TEST(a_copy_that_cannot_be_read_beside_an_empty_one_is_refused),
          TEST(each_fault_is_reported))
