/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/test_engine_shortage.c -- a commit that meets a shortage where the log goes on into
 * its next segment (no descriptor, no memory, a name that cannot be made) fails and leaves nothing;
 * the next ones work as soon as the shortage is over.
 */
#include <errno.h>
#include <sys/resource.h>
#include <unistd.h>

#include "engine/db/open.h"
#include "tests/unit/engine_testing.h"

#define TXNS 60
#define VALUE_BYTES 100000 /* in the log of 2 MiB segments: twenty to one */
#define RETRIES 20

static uint8_t value[VALUE_BYTES];

static kiln_status
put_and_commit(kiln_db *db, uint64_t i)
{
    kiln_txn *txn = NULL;
    kiln_coll coll;
    uint8_t key[8];
    kiln_status rc = kiln_txn_begin(db, KILN_WRITE, &txn);

    if (rc != KILN_OK)
        return rc;
    engine_key(i, key);
    rc = kiln_coll_open(txn, "c", KILN_COLL_CREATE, &coll);
    if (rc == KILN_OK)
        rc = kiln_put(txn, coll, key, sizeof key, value, sizeof value, 0); /* insert: once only */
    if (rc == KILN_OK)
        return kiln_txn_commit(txn);
    kiln_txn_abort(txn);
    return rc;
}

static void
check_count(kiln_db *db, uint64_t wanted)
{
    kiln_check_options check = KILN_CHECK_OPTIONS_INIT;
    kiln_txn *txn = engine_begin(db, KILN_READ);
    kiln_coll coll;
    uint64_t count = 0;

    OK(kiln_coll_open(txn, "c", 0, &coll));
    OK(kiln_coll_count(txn, coll, &count));
    CHECK_EQ(count, wanted);
    kiln_txn_abort(txn);
    OK(kiln_check(db, &check));
}

/* The faults are armed; each transaction goes in, at the latest when they are over. */
static void
live(kiln_db *db)
{
    for (uint64_t i = 0; i < TXNS; i++) {
        int tries = 0;
        for (;;) {
            kiln_status rc = put_and_commit(db, i);
            if (rc == KILN_OK)
                break;
            CHECK(rc != KILN_FAILED && ftk_error_last()->text[0] != '\0');
            REQUIRE_MSG(++tries < RETRIES, "%s", ftk_error_last()->text);
        }
        if (i % 25 == 24)
            OK(kiln_checkpoint(db));
    }
}

static void
end(struct simdisk *disk, kiln_db *db)
{
    struct simdisk *after = simdisk_clone(disk, 1);

    check_count(db, TXNS);
    OK(kiln_close(db));
    simdisk_free(disk);
    simdisk_crash_as(after, SIMDISK_NONE, 1);
    db = engine_open(after, 0);
    check_count(db, TXNS);
    OK(kiln_close(db));
    simdisk_free(after);
}

static void
each_fails(unsigned ops, int os_errno)
{
    uint64_t delivered = 1;

    for (uint64_t nth = 1; delivered > 0; nth++) {
        struct simdisk *disk = simdisk_new(&(struct simdisk_options){.seed = nth});
        kiln_db *db = engine_open(disk, KILN_CREATE);

        simdisk_fail(disk, ops, nth, 1 + nth % 2, os_errno);
        live(db);
        delivered = simdisk_failed(disk);
        simdisk_fail_clear(disk);
        end(disk, db);
        REQUIRE(nth < 500);
    }
}

static void
a_commit_without_a_descriptor_fails_alone(void)
{
    each_fails(SIMDISK_OPEN, EMFILE);
}

static void
a_commit_whose_segment_cannot_be_named_fails_alone(void)
{
    each_fails(SIMDISK_NAMES, EACCES);
    each_fails(SIMDISK_NAMES, EIO);
}

/* Each allocation of memory from here on, in the log or elsewhere. */
static void
a_commit_without_memory_fails_alone(void)
{
    for (uint64_t nth = 1; nth < 3000; nth++) {
        struct simdisk *disk = simdisk_new(&(struct simdisk_options){.seed = nth});
        kiln_db *db = engine_open(disk, KILN_CREATE);
        uint64_t calls;

        for (uint64_t i = 0; i < 15; i++)
            OK(put_and_commit(db, i));
        ftk_fault_arm(FTK_FAULT_ALLOC, nth, 1);
        for (uint64_t i = 15; i < 25; i++) { /* over the end of the first segment */
            if (put_and_commit(db, i) != KILN_OK)
                OK(put_and_commit(db, i));
        }
        calls = ftk_fault_calls(FTK_FAULT_ALLOC);
        ftk_fault_disarm();
        check_count(db, 25);
        OK(kiln_close(db));
        simdisk_free(disk);
        if (nth > calls)
            break;
    }
}

/* The real thing: the process has as many descriptors open as it may. */
static void
a_commit_at_the_limit_of_descriptors_fails_and_the_next_works(void)
{
    kiln_options options = engine_options(KILN_CREATE);
    struct rlimit before, low;
    uint64_t refused = 0, i = 0;
    kiln_db *db = NULL;

    OK(kiln_open(test_path("db"), &options, &db));
    OK(put_and_commit(db, i++));
    REQUIRE(getrlimit(RLIMIT_NOFILE, &before) == 0);
    low = before;
    low.rlim_cur = 3; /* below what is open: nothing more can be */
    for (; i < 400 && refused < 3; i++) {
        kiln_status rc;
        REQUIRE(setrlimit(RLIMIT_NOFILE, &low) == 0);
        rc = put_and_commit(db, i);
        REQUIRE(setrlimit(RLIMIT_NOFILE, &before) == 0);
        if (rc == KILN_OK)
            continue;
        refused++;
        CHECK_EQ(rc, KILN_NOMEM);
        CHECK_HAS(ftk_error_last()->text, "no file descriptor is free");
        OK(put_and_commit(db, i));
    }
    CHECK_EQ(refused, 3);
    check_count(db, i);
    OK(kiln_close(db));
}

TEST_MAIN("engine_shortage", TEST(a_commit_without_a_descriptor_fails_alone),
          TEST(a_commit_whose_segment_cannot_be_named_fails_alone),
          TEST(a_commit_without_memory_fails_alone),
          TEST(a_commit_at_the_limit_of_descriptors_fails_and_the_next_works))
