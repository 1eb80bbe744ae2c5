/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/test_engine_log_shortages.c -- the log goes on into its next segments, and old ones
 * are archived, while one thing after the other is refused; so with a log of the owner's.
 *
 * A life: transactions that fill several segments, checkpoints, and an archive function that takes
 * copies, or the files themselves, or refuses every other time.  The n-th call of a kind fails, n =
 * 1, 2, 3 ...; what was refused is tried again and succeeds; a write or sync that fails ends the
 * database, which is opened anew.  In the end every commit that was acknowledged is there, and each
 * segment is in the archive or in the log: no hole.
 */
#include <errno.h>
#include <stdlib.h>

#include "tests/support/simdisk_internal.h"
#include "tests/unit/engine_testing.h"

enum { TXNS = 44, VALUE_BYTES = 150000, PER_CHECKPOINT = 9, SEGMENTS_MAX = 64 };

static struct {
    struct simdisk *disk;
    bool moves, refuses;
    unsigned calls;
    bool taken[SEGMENTS_MAX];
} archives;

static kiln_status
archive(void *context, const char *path)
{
    uint64_t number = strtoull(strrchr(path, '/') + 1, NULL, 16);
    struct ftk_disk *disk = simdisk_disk(archives.disk);
    char to[64];

    (void)context;
    REQUIRE(number < SEGMENTS_MAX);
    if (archives.refuses && archives.calls++ % 2 == 0)
        return KILN_IO;
    if (archives.moves) {
        snprintf(to, sizeof to, "/archive/%llu", (unsigned long long)number);
        if (disk->ops->rename(disk, NULL, path, to) != FTK_OK)
            return KILN_IO;
    }
    archives.taken[number] = true;
    return KILN_OK;
}

/* ---- what is refused ------------------------------------------------------------------------- */

static const struct {
    const char *name;
    int fault; /* enum ftk_fault; -1: of the disk */
    unsigned ops;
    int os_errno;
    bool final; /* a database may fail of it */
} refusals[] = {
    {"allocation", FTK_FAULT_ALLOC, 0, 0, false}, {"descriptor", FTK_FAULT_DESCRIPTOR, 0, 0, false},
    {"name", -1, SIMDISK_NAMES, EACCES, false},   {"space", -1, SIMDISK_ALLOCATE, ENOSPC, false},
    {"read", FTK_FAULT_READ, 0, 0, false},        {"write", FTK_FAULT_WRITE, 0, 0, true},
    {"sync", FTK_FAULT_SYNC, 0, 0, true},
};
#define REFUSALS (sizeof refusals / sizeof refusals[0])

static void
refuse(size_t what, uint64_t n)
{
    if (refusals[what].fault >= 0)
        ftk_fault_arm((enum ftk_fault)refusals[what].fault, n, 1 + n % 2);
    else
        simdisk_fail(archives.disk, refusals[what].ops, n, 1 + n % 2, refusals[what].os_errno);
}

static bool
refused(size_t what)
{
    bool hit = refusals[what].fault >= 0 ? ftk_fault_hits((enum ftk_fault)refusals[what].fault) > 0
                                         : simdisk_failed(archives.disk) > 0;

    ftk_fault_disarm();
    simdisk_fail_clear(archives.disk);
    return hit;
}

/* ---- the life -------------------------------------------------------------------------------- */

struct life {
    kiln_db *db;
    uint32_t flags;     /* of the open */
    uint64_t committed; /* transactions that were acknowledged */
    size_t what;
    char how[120];
};

static void
life_open(struct life *life, uint32_t flags)
{
    kiln_options options = engine_options(life->flags | flags);

    options.durability = KILN_FULL;
    if ((life->flags & KILN_EXTERNAL_LOG) == 0)
        options.archive = archive;
    REQUIRE_OK(engine_try_open(archives.disk, &options, &life->db));
}

/* Number i, which is its position in the owner's log as well. */
static kiln_status
put_and_commit(struct life *life, uint64_t i)
{
    static uint8_t value[VALUE_BYTES];
    kiln_txn *txn = NULL;
    kiln_coll coll;
    uint8_t key[8];
    kiln_status rc = kiln_txn_begin(life->db, KILN_WRITE, &txn);

    if (rc != KILN_OK)
        return rc;
    engine_key(i, key);
    rc = kiln_coll_open(txn, "c", KILN_COLL_CREATE, &coll);
    if (rc == KILN_OK)
        rc = kiln_put(txn, coll, key, sizeof key, value, sizeof value, KILN_PUT_INSERT);
    if (rc == KILN_OK && (life->flags & KILN_EXTERNAL_LOG))
        rc = kiln_txn_set_applied(txn, i + 1);
    if (rc == KILN_OK)
        return kiln_txn_commit(txn);
    kiln_txn_abort(txn);
    return rc;
}

/* How many transactions the database has: all of them up to there, and no other. */
static uint64_t
count_in(struct life *life)
{
    kiln_txn *txn = engine_begin(life->db, KILN_READ);
    uint64_t count = 0, applied = 0;
    kiln_coll coll;
    kiln_slice value;
    uint8_t key[8];

    if (kiln_coll_open(txn, "c", 0, &coll) == KILN_OK)
        OK(kiln_coll_count(txn, coll, &count));
    for (uint64_t i = 0; i < count; i++) {
        engine_key(i, key);
        OK(kiln_get(txn, coll, key, sizeof key, &value));
        CHECK_EQ(value.size, VALUE_BYTES);
    }
    if (life->flags & KILN_EXTERNAL_LOG) {
        OK(kiln_txn_applied(txn, &applied));
        CHECK_MSG(applied == count, "%s: %llu transactions, applied to %llu", life->how,
                  (unsigned long long)count, (unsigned long long)applied);
    }
    kiln_txn_abort(txn);
    return count;
}

/* True: done.  False: refused, with words; a database that has failed of it is opened anew. */
static bool
went(struct life *life, kiln_status rc, const char *call)
{
    const kiln_error *error = kiln_error_last();

    if (rc == KILN_OK)
        return true;
    CHECK_MSG(error->status == rc && error->text != NULL && error->text[0] != '\0',
              "%s: %s: %s, words of %s", life->how, call, kiln_status_name(rc),
              kiln_status_name(error->status));
    CHECK_MSG(rc == KILN_NOMEM || rc == KILN_IO || rc == KILN_NOSPACE ||
                  (rc == KILN_FAILED && refusals[life->what].final),
              "%s: %s: %s: %s", life->how, call, kiln_status_name(rc), error->text);
    if (refusals[life->what].final) {
        (void)refused(life->what);
        (void)kiln_close(life->db);
        life_open(life, 0);
        uint64_t count = count_in(life);
        if (life->flags & KILN_EXTERNAL_LOG)
            life->committed = count; /* what its owner's log has from there on is put again */
        CHECK_MSG(count == life->committed || count == life->committed + 1,
                  "%s: %llu transactions, %llu were acknowledged", life->how,
                  (unsigned long long)count, (unsigned long long)life->committed);
        life->committed = count;
    }
    return false;
}

static void
live(struct life *life)
{
    unsigned tries = 0;

    while (life->committed < TXNS) {
        REQUIRE_MSG(tries++ < 3 * TXNS, "%s: %s", life->how, kiln_error_last()->text);
        if (!went(life, put_and_commit(life, life->committed), "commit"))
            continue;
        life->committed++;
        if (life->committed % PER_CHECKPOINT == 0)
            while (!went(life, kiln_checkpoint(life->db), "checkpoint"))
                REQUIRE_MSG(tries++ < 3 * TXNS, "%s", kiln_error_last()->text);
    }
}

/* ---- the end --------------------------------------------------------------------------------- */

static ftk_status
segment_seen(void *context, const char *name)
{
    bool *seen = context;
    char *end;
    uint64_t number = strtoull(name, &end, 16);

    if (strcmp(end, ".rfl") == 0) {
        REQUIRE(number < SEGMENTS_MAX);
        seen[number] = true;
    }
    return FTK_OK;
}

static void
no_hole_verify(const struct life *life)
{
    bool seen[SEGMENTS_MAX] = {false};
    unsigned last = 0;

    REQUIRE_OK(test_dir_list(simdisk_disk(archives.disk), "/db/rfl", segment_seen, seen));
    for (unsigned i = 1; i < SEGMENTS_MAX; i++)
        if (seen[i] || archives.taken[i])
            last = i;
    CHECK_MSG(last >= 4, "%s: %u segments in all", life->how, last);
    for (unsigned i = 1; i <= last; i++)
        CHECK_MSG(seen[i] || archives.taken[i], "%s: segment %u is nowhere", life->how, i);
}

/* False when nothing was refused. */
static bool
life_refused(uint32_t flags, size_t what, uint64_t n)
{
    uint64_t heap = ftk_mem_bytes();
    struct life life = {.flags = flags, .what = what};
    bool hit;

    snprintf(life.how, sizeof life.how, "%s, %s %llu",
             flags & KILN_EXTERNAL_LOG ? "owner's log"
             : archives.moves          ? "archive by moving"
             : archives.refuses        ? "archive that refuses"
                                       : "archive by copying",
             refusals[what].name, (unsigned long long)n);
    memset(archives.taken, 0, sizeof archives.taken);
    archives.calls = 0;
    archives.disk = simdisk_new(NULL);
    REQUIRE_OK(
        simdisk_disk(archives.disk)->ops->mkdir(simdisk_disk(archives.disk), NULL, "/archive"));
    life_open(&life, KILN_CREATE);
    refuse(what, n);
    live(&life);
    hit = refused(what);
    CHECK_MSG(count_in(&life) == TXNS, "%s", life.how);
    engine_check(life.db);
    if ((flags & KILN_EXTERNAL_LOG) == 0)
        no_hole_verify(&life);
    OK(kiln_close(life.db));
    life_open(&life, 0);
    CHECK_MSG(count_in(&life) == TXNS, "%s, opened anew", life.how);
    OK(kiln_close(life.db));
    CHECK_MSG(archives.disk->files_open == 0, "%s: %zu files are open", life.how,
              archives.disk->files_open);
    simdisk_free(archives.disk);
    CHECK_MSG(ftk_mem_bytes() == heap, "%s: %lld bytes are lost", life.how,
              (long long)(ftk_mem_bytes() - heap));
    return hit;
}

static void
each_is_refused(uint32_t flags)
{
    uint64_t count = 0;

    for (size_t what = 0; what < REFUSALS; what++) {
        /* Allocations and reads of the work itself are the matter of test_engine_shortages. */
        uint64_t stride = refusals[what].fault == FTK_FAULT_ALLOC ? 5 : 1;
        for (uint64_t n = 1; life_refused(flags, what, n); n += stride)
            count++;
    }
    CHECK(count > 0);
    printf("    %llu refusals\n", (unsigned long long)count);
}

static void
an_archive_that_copies_has_no_hole(void)
{
    archives.moves = archives.refuses = false;
    each_is_refused(0);
}

static void
an_archive_that_moves_has_no_hole(void)
{
    archives.moves = true;
    archives.refuses = false;
    each_is_refused(0);
}

static void
an_archive_that_refuses_has_no_hole(void)
{
    archives.moves = false;
    archives.refuses = true;
    each_is_refused(0);
}

static void
the_position_of_an_owners_log_goes_with_its_transaction(void)
{
    each_is_refused(KILN_EXTERNAL_LOG);
}

TEST_MAIN("engine_log_shortages", TEST(an_archive_that_copies_has_no_hole),
          TEST(an_archive_that_moves_has_no_hole), TEST(an_archive_that_refuses_has_no_hole),
          TEST(the_position_of_an_owners_log_goes_with_its_transaction))
