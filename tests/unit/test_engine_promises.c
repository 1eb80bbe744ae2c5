/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/test_engine_promises.c -- a commit is seen by readers when its promise holds, and so
 * do those of all commits before it, whatever durabilities they have.
 */
#include "engine/db/open.h"
#include "engine/txn/txn_state.h"
#include "ftk/clock.h"
#include "ftk/thread.h"
#include "tests/support/gatedisk.h"
#include "tests/unit/engine_testing.h"

#define WAIT_NS UINT64_C(20000000000)

static struct simdisk *disk;
static kiln_db *db;
static kiln_coll coll;

/* A thread that makes one commit. */
struct committer {
    struct ftk_thread thread;
    const char *key;
    kiln_durability durability;
    kiln_status status;
    _Atomic bool returned;
};

static void
commit_run(void *context)
{
    struct committer *committer = context;
    kiln_txn_options options = KILN_TXN_OPTIONS_INIT;
    kiln_txn *txn = NULL;

    options.kind = KILN_WRITE;
    options.durability = committer->durability;
    committer->status = kiln_txn_begin_with(db, &options, &txn);
    if (committer->status == KILN_OK) {
        committer->status = engine_put(txn, coll, committer->key, "1");
        if (committer->status == KILN_OK)
            committer->status = kiln_txn_commit(txn);
        else
            kiln_txn_abort(txn);
    }
    atomic_store(&committer->returned, true);
}

static void
begin(void)
{
    kiln_txn *txn;

    disk = simdisk_new(&(struct simdisk_options){.seed = test_seed()});
    db = engine_open(disk, KILN_CREATE);
    txn = engine_begin(db, KILN_WRITE);
    coll = engine_coll(txn, "c");
    OK(engine_put(txn, coll, "first", "0"));
    OK(kiln_txn_commit(txn));
    gate_install(disk, 0);
}

static void
end(void)
{
    (void)kiln_close(db);
    simdisk_free(disk);
}

static uint64_t
commits(void)
{
    return atomic_load(&db->commits);
}

static bool
seen(const char *key)
{
    kiln_txn *txn = engine_begin(db, KILN_READ);
    bool there = engine_value_is(txn, coll, key, "1");

    kiln_txn_abort(txn);
    return there;
}

static void
start(struct committer *committer, const char *key, kiln_durability durability)
{
    *committer = (struct committer){.key = key, .durability = durability};
    REQUIRE_OK(ftk_thread_start(&committer->thread, "committer", commit_run, committer));
}

/* Until it is in the log, whether it has returned or not. */
static void
wait_logged(uint64_t commits_wanted)
{
    uint64_t deadline = ftk_clock_ns() + WAIT_NS;

    while (commits() < commits_wanted && ftk_clock_ns() < deadline)
        ftk_thread_yield();
    REQUIRE(commits() >= commits_wanted);
}

static void
linger(void)
{
    uint64_t deadline = ftk_clock_ns() + UINT64_C(20000000);

    while (ftk_clock_ns() < deadline)
        ftk_thread_yield();
}

/*
 * The first commit is held where its promise is about to hold; others follow.  None may be seen, no
 * reader may wait, and nobody returns.
 */
static void
held(enum gate gate, kiln_durability first_as, const kiln_durability *then, size_t count, bool fail)
{
    static const char *const keys[] = {"k0", "k1", "k2", "k3"};
    struct committer first, others[4];
    kiln_txn *reader;
    uint64_t before;

    begin();
    reader = engine_begin(db, KILN_READ); /* no window: the turn is given up before the wait */
    before = commits();
    gate_hold(gate);
    if (fail)
        simdisk_fail(disk, SIMDISK_SYNC, 1, 1, 5);
    start(&first, "held", first_as);
    REQUIRE(gate_wait(gate));
    for (size_t i = 0; i < count; i++) {
        start(&others[i], keys[i], then[i]);
        wait_logged(before + 2 + i);
    }
    linger();
    CHECK(!atomic_load(&first.returned));
    CHECK(!seen("held"));
    for (size_t i = 0; i < count; i++) {
        CHECK(!atomic_load(&others[i].returned));
        CHECK(!seen(keys[i]));
    }
    gate_let(gate);
    ftk_thread_join(&first.thread);
    CHECK_EQ(first.status, fail ? KILN_FAILED : KILN_OK);
    CHECK_EQ(seen("held"), !fail);
    for (size_t i = 0; i < count; i++) {
        ftk_thread_join(&others[i].thread);
        if (fail)
            CHECK(others[i].status != KILN_OK);
        else
            CHECK_EQ(others[i].status, KILN_OK);
        CHECK_EQ(seen(keys[i]), !fail);
    }
    kiln_txn_abort(reader);
    simdisk_fail_clear(disk);
    end();
}

static void
a_lazy_commit_does_not_show_the_full_one_before_it(void)
{
    held(GATE_SYNC, KILN_FULL, (kiln_durability[]){KILN_LAZY}, 1, false);
}

static void
an_os_commit_does_not_show_the_full_one_before_it(void)
{
    held(GATE_SYNC, KILN_FULL, (kiln_durability[]){KILN_OS}, 1, false);
}

static void
a_lazy_commit_does_not_show_the_os_one_before_it(void)
{
    held(GATE_WRITE, KILN_OS, (kiln_durability[]){KILN_LAZY}, 1, false);
}

static void
a_promise_is_kept_over_a_row_of_weaker_ones(void)
{
    held(GATE_SYNC, KILN_FULL, (kiln_durability[]){KILN_LAZY, KILN_OS, KILN_LAZY}, 3, false);
    held(GATE_SYNC, KILN_FULL, (kiln_durability[]){KILN_OS, KILN_LAZY, KILN_FULL, KILN_LAZY}, 4,
         false);
}

static void
what_a_failed_sync_takes_is_not_shown_by_those_who_follow(void)
{
    held(GATE_SYNC, KILN_FULL, (kiln_durability[]){KILN_LAZY, KILN_OS}, 2, true);
}

/* A thread that reads in a write transaction and commits without a change. */
struct looker {
    struct ftk_thread thread;
    kiln_status status;
    bool found;
    _Atomic bool looked, returned;
};

static void
look_run(void *context)
{
    struct looker *looker = context;
    kiln_txn_options options = KILN_TXN_OPTIONS_INIT;
    kiln_txn *txn = NULL;

    options.kind = KILN_WRITE;
    options.durability = KILN_LAZY;
    looker->status = kiln_txn_begin_with(db, &options, &txn);
    if (looker->status == KILN_OK) {
        looker->found = engine_value_is(txn, coll, "held", "1");
        atomic_store(&looker->looked, true);
        looker->status = kiln_txn_commit(txn);
    }
    atomic_store(&looker->returned, true);
}

/* The commit that it read is held where its promise is about to hold: it does not return either. */
static void
looked_at(enum gate gate, kiln_durability first_as, bool fail)
{
    struct looker looker = {.status = KILN_OK};
    struct committer first;
    kiln_txn *reader;
    uint64_t before, deadline = ftk_clock_ns() + WAIT_NS;

    begin();
    reader = engine_begin(db, KILN_READ); /* no window: the turn is given up before the wait */
    before = commits();
    gate_hold(gate);
    if (fail)
        simdisk_fail(disk, SIMDISK_SYNC, 1, 1, 5);
    start(&first, "held", first_as);
    REQUIRE(gate_wait(gate));
    wait_logged(before + 1);
    REQUIRE_OK(ftk_thread_start(&looker.thread, "looker", look_run, &looker));
    while (!atomic_load(&looker.looked) && ftk_clock_ns() < deadline)
        ftk_thread_yield();
    linger();
    CHECK(atomic_load(&looker.looked));
    CHECK(!atomic_load(&looker.returned));
    gate_let(gate);
    ftk_thread_join(&first.thread);
    ftk_thread_join(&looker.thread);
    CHECK(looker.found);
    CHECK_EQ(first.status, fail ? KILN_FAILED : KILN_OK);
    CHECK_EQ(looker.status == KILN_OK, !fail);
    kiln_txn_abort(reader);
    simdisk_fail_clear(disk);
    end();
}

static void
a_commit_without_a_change_waits_for_what_it_has_read(void)
{
    looked_at(GATE_SYNC, KILN_FULL, false);
    looked_at(GATE_WRITE, KILN_OS, false);
}

static void
a_commit_without_a_change_says_that_what_it_has_read_is_lost(void)
{
    looked_at(GATE_SYNC, KILN_FULL, true);
}

/* Nothing is waited for when all promises before hold: no sync, and windows open. */
static void
weak_commits_after_strong_ones_that_hold_do_not_wait(void)
{
    kiln_txn_options options = KILN_TXN_OPTIONS_INIT;
    uint64_t syncs, changes;

    begin();
    options.kind = KILN_WRITE;
    options.durability = KILN_LAZY;
    syncs = simdisk_count(disk, SIMDISK_SYNC);
    changes = atomic_load(&db->window.changes);
    for (int i = 0; i < 50; i++) {
        kiln_txn *txn = NULL;
        OK(kiln_txn_begin_with(db, &options, &txn));
        OK(engine_put(txn, coll, "again", i % 2 == 0 ? "1" : "2"));
        OK(kiln_txn_commit(txn));
        CHECK_EQ(seen("again"), i % 2 == 0);
    }
    CHECK_EQ(simdisk_count(disk, SIMDISK_SYNC), syncs);
    CHECK(atomic_load(&db->window.changes) > changes);
    end();
}

/* A commit that waits for the device needs the database: it has not ended. */
static void
a_database_is_not_closed_under_a_commit_that_waits(void)
{
    struct committer committer;
    uint64_t before;

    begin();
    before = commits();
    gate_hold(GATE_SYNC);
    start(&committer, "k", KILN_FULL);
    REQUIRE(gate_wait(GATE_SYNC));
    wait_logged(before + 1);
    linger(); /* its object has been given back */
    STATUS(kiln_close(db), KILN_STATE);
    CHECK(!atomic_load(&committer.returned));
    gate_let(GATE_SYNC);
    ftk_thread_join(&committer.thread);
    CHECK_EQ(committer.status, KILN_OK);
    CHECK(seen("k"));
    OK(kiln_close(db));
    simdisk_free(disk);
}

static _Atomic bool refuse_now;

/* A transaction whose commit is refused, on a thread that another one watches. */
static void
refused_run(void *context)
{
    struct committer *committer = context;
    kiln_txn *txn = engine_begin(db, KILN_WRITE);

    txn->refusal = TXN_DAMAGED; /* as after a reference that leads nowhere */
    while (!atomic_load(&refuse_now))
        ftk_cpu_relax();
    committer->status = kiln_txn_commit(txn);
}

/* Who sees that no transaction is open may close the database: it must not be needed any more, for
 * the words of a refusal neither. */
static void
a_commit_that_is_refused_leaves_the_database_before_it_counts_as_ended(void)
{
    begin();
    for (int i = 0; i < 300; i++) {
        struct committer committer = {.status = KILN_OK};
        uint64_t deadline = ftk_clock_ns() + WAIT_NS;
        ftk_status words;

        db->call_error.status = FTK_OK; /* nobody else is in the database */
        atomic_store(&refuse_now, false);
        REQUIRE_OK(ftk_thread_start(&committer.thread, "refused", refused_run, &committer));
        while (atomic_load(&db->open_txns) == 0 && ftk_clock_ns() < deadline)
            ftk_thread_yield();
        atomic_store(&refuse_now, true);
        while (atomic_load(&db->open_txns) > 0 && ftk_clock_ns() < deadline)
            ftk_cpu_relax();
        words = db->call_error.status;
        ftk_thread_join(&committer.thread);
        CHECK_EQ(words, FTK_CORRUPT);
        CHECK_EQ(committer.status, KILN_CORRUPT);
    }
    end();
}

TEST_MAIN("engine_promises", TEST(a_lazy_commit_does_not_show_the_full_one_before_it),
          TEST(an_os_commit_does_not_show_the_full_one_before_it),
          TEST(a_lazy_commit_does_not_show_the_os_one_before_it),
          TEST(a_promise_is_kept_over_a_row_of_weaker_ones),
          TEST(what_a_failed_sync_takes_is_not_shown_by_those_who_follow),
          TEST(a_commit_without_a_change_waits_for_what_it_has_read),
          TEST(a_commit_without_a_change_says_that_what_it_has_read_is_lost),
          TEST(weak_commits_after_strong_ones_that_hold_do_not_wait),
          TEST(a_database_is_not_closed_under_a_commit_that_waits),
          TEST(a_commit_that_is_refused_leaves_the_database_before_it_counts_as_ended))
