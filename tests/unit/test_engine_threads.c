/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/test_engine_threads.c -- readers, a writer, checkpoints and eviction at the same time.
 *
 * Accounts hold money that moves in transactions; every snapshot has the same sum.  The cache holds
 * a part of the database, so pages come and go under the readers.
 */
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "ftk/clock.h"
#include "tests/unit/engine_testing.h"

enum {
    ACCOUNTS = 12000,
    MONEY = 100,
    BALLAST = 600, /* bytes of a value beside the money */
    THREADS = 8,
};

struct bank {
    kiln_db *db;
    _Atomic bool stop;
    _Atomic uint64_t audits, transfers;
    _Atomic int failed; /* line */
    uint64_t seed;
};

#define BANK_CHECK(bank, x)                                                                        \
    do {                                                                                           \
        if (!(x)) {                                                                                \
            int none = 0;                                                                          \
            atomic_compare_exchange_strong(&(bank)->failed, &none, __LINE__);                      \
            atomic_store(&(bank)->stop, true);                                                     \
        }                                                                                          \
    } while (0)

static kiln_status
money_put(kiln_txn *txn, kiln_coll coll, uint64_t account, uint64_t money)
{
    uint8_t key[8], value[BALLAST + 8];

    engine_key(account, key);
    memset(value, (int)(account & 0xff), sizeof value);
    ftk_put_be64(value, money);
    return kiln_put(txn, coll, key, 8, value, sizeof value - money % 64, KILN_PUT_REPLACE);
}

static kiln_status
money_get(kiln_txn *txn, kiln_coll coll, uint64_t account, uint64_t *money)
{
    uint8_t key[8];
    kiln_slice value;
    kiln_status rc;

    engine_key(account, key);
    rc = kiln_get(txn, coll, key, 8, &value);
    if (rc == KILN_OK)
        *money = ftk_get_be64(value.data);
    return rc;
}

static void
bank_open(struct bank *bank, uint64_t cache_bytes)
{
    kiln_options options = engine_options(KILN_CREATE);
    kiln_txn *txn;
    kiln_coll coll;

    memset(bank, 0, sizeof *bank);
    options.durability = KILN_OS;
    options.dirty_bytes_max = 1 << 20;
    OK(kiln_cache_limit(cache_bytes));
    OK(kiln_open(test_path("db"), &options, &bank->db));
    txn = engine_begin(bank->db, KILN_WRITE);
    coll = engine_coll(txn, "accounts");
    for (uint64_t i = 0; i < ACCOUNTS; i++)
        OK(money_put(txn, coll, i, MONEY));
    OK(kiln_txn_commit(txn));
    bank->seed = test_seed();
}

/* ---- the threads ---- */

static void
transfer(struct bank *bank, struct ftk_random *random)
{
    uint64_t a = ftk_random_below(random, ACCOUNTS), b = ftk_random_below(random, ACCOUNTS);
    uint64_t has_a = 0, has_b = 0, amount;
    kiln_txn *txn = NULL;
    kiln_coll coll;

    if (a == b)
        return;
    BANK_CHECK(bank, kiln_txn_begin(bank->db, KILN_WRITE, &txn) == KILN_OK);
    BANK_CHECK(bank, kiln_coll_open(txn, "accounts", 0, &coll) == KILN_OK);
    for (unsigned i = 0; i < 5; i++, a = (a + 7) % ACCOUNTS) {
        if (a == b)
            continue;
        BANK_CHECK(bank, money_get(txn, coll, a, &has_a) == KILN_OK);
        BANK_CHECK(bank, money_get(txn, coll, b, &has_b) == KILN_OK);
        amount = has_a == 0 ? 0 : ftk_random_below(random, has_a);
        BANK_CHECK(bank, money_put(txn, coll, a, has_a - amount) == KILN_OK);
        BANK_CHECK(bank, money_put(txn, coll, b, has_b + amount) == KILN_OK);
    }
    if (ftk_random_below(random, 8) == 0)
        kiln_txn_abort(txn);
    else
        BANK_CHECK(bank, kiln_txn_commit(txn) == KILN_OK);
    atomic_fetch_add(&bank->transfers, 1);
}

static void
writer(void *context)
{
    struct bank *bank = context;
    struct ftk_random random;

    ftk_random_seed(&random, bank->seed);
    while (!atomic_load(&bank->stop))
        transfer(bank, &random);
}

static uint64_t
audit_scan(struct bank *bank, kiln_txn *txn, kiln_coll coll, bool forward)
{
    kiln_cursor *cursor = NULL;
    kiln_slice key, value;
    uint64_t sum = 0, count = 0;

    BANK_CHECK(bank, kiln_cursor_open(txn, coll, forward ? KILN_CURSOR_SCAN : 0, &cursor) == 0);
    while ((forward ? kiln_cursor_next(cursor) : kiln_cursor_prev(cursor)) == KILN_OK) {
        BANK_CHECK(bank, kiln_cursor_item(cursor, &key, &value) == KILN_OK);
        if (value.data == NULL)
            break;
        sum += ftk_get_be64(value.data);
        BANK_CHECK(bank, ((const uint8_t *)value.data)[100] == ((const uint8_t *)key.data)[7]);
        count++;
    }
    BANK_CHECK(bank, count == ACCOUNTS);
    kiln_cursor_close(cursor);
    return sum;
}

static int
audit_each(void *context, size_t index, kiln_slice value)
{
    uint64_t *sum = context;

    (void)index;
    *sum += value.data == NULL ? 0 : ftk_get_be64(value.data);
    return 0;
}

static uint64_t
audit_many(struct bank *bank, kiln_txn *txn, kiln_coll coll)
{
    enum { BATCH = 400 };
    uint8_t bytes[BATCH][8];
    kiln_slice keys[BATCH];
    uint64_t sum = 0;

    for (uint64_t from = 0; from < ACCOUNTS; from += BATCH) {
        for (uint64_t i = 0; i < BATCH; i++) {
            engine_key(from + (i * 171) % BATCH, bytes[i]);
            keys[i] = (kiln_slice){bytes[i], 8};
        }
        BANK_CHECK(bank, kiln_get_many(txn, coll, keys, BATCH, audit_each, &sum) == KILN_OK);
    }
    return sum;
}

static uint64_t
audit_gets(struct bank *bank, kiln_txn *txn, kiln_coll coll)
{
    uint64_t sum = 0, money = 0;

    for (uint64_t i = 0; i < ACCOUNTS; i++) {
        BANK_CHECK(bank, money_get(txn, coll, i * 7919 % ACCOUNTS, &money) == KILN_OK);
        sum += money;
    }
    return sum;
}

static void
auditor(void *context)
{
    struct bank *bank = context;
    kiln_txn *txn = NULL;
    kiln_coll coll = 0;

    for (unsigned round = 0; !atomic_load(&bank->stop); round++) {
        uint64_t sum;
        if (txn == NULL)
            BANK_CHECK(bank, kiln_txn_begin(bank->db, KILN_READ, &txn) == KILN_OK);
        else
            BANK_CHECK(bank, kiln_txn_renew(txn) == KILN_OK);
        BANK_CHECK(bank, kiln_coll_open(txn, "accounts", 0, &coll) == KILN_OK);
        sum = round % 4 == 0   ? audit_scan(bank, txn, coll, true)
              : round % 4 == 1 ? audit_many(bank, txn, coll)
              : round % 4 == 2 ? audit_scan(bank, txn, coll, false)
                               : audit_gets(bank, txn, coll);
        BANK_CHECK(bank, sum == (uint64_t)ACCOUNTS * MONEY);
        atomic_fetch_add(&bank->audits, 1);
        if (round % 3 == 2) {
            kiln_txn_abort(txn);
            txn = NULL;
        }
    }
    kiln_txn_abort(txn);
}

static void
checkpoints(void *context)
{
    struct bank *bank = context;

    while (!atomic_load(&bank->stop)) {
        BANK_CHECK(bank, kiln_checkpoint(bank->db) == KILN_OK);
        ftk_clock_sleep_ns(5000000);
    }
}

static void
checker(void *context)
{
    struct bank *bank = context;
    kiln_stat stat = {.size = sizeof stat};

    while (!atomic_load(&bank->stop)) {
        BANK_CHECK(bank, kiln_check(bank->db, NULL) == KILN_OK);
        BANK_CHECK(bank, kiln_stat_get(bank->db, &stat) == KILN_OK);
        ftk_clock_sleep_ns(20000000);
    }
}

/* ---- cases ---- */

static void
run(struct bank *bank, void (*const *bodies)(void *), unsigned count, unsigned ms)
{
    struct ftk_thread threads[16];

    for (unsigned i = 0; i < count; i++)
        REQUIRE_OK(ftk_thread_start(&threads[i], "test", bodies[i], bank));
    for (unsigned i = 0; i < ms / 10 && !atomic_load(&bank->stop); i++)
        ftk_clock_sleep_ns(10000000);
    atomic_store(&bank->stop, true);
    for (unsigned i = 0; i < count; i++)
        ftk_thread_join(&threads[i]);
    CHECK_MSG(atomic_load(&bank->failed) == 0, "line %d", atomic_load(&bank->failed));
}

static void
every_snapshot_has_the_same_sum(void)
{
    static void (*const bodies[])(void *) = {writer,  auditor, auditor,     auditor,
                                             auditor, writer,  checkpoints, checker};
    struct bank bank;

    bank_open(&bank, 4 << 20);
    run(&bank, bodies, 8, (unsigned)test_rounds(3000));
    printf("    %llu transfers, %llu audits\n", (unsigned long long)atomic_load(&bank.transfers),
           (unsigned long long)atomic_load(&bank.audits));
    CHECK(atomic_load(&bank.transfers) > 10);
    CHECK(atomic_load(&bank.audits) > 2);
    engine_check(bank.db);
    OK(kiln_close(bank.db));
    OK(kiln_cache_limit(256 << 20));
}

struct committer {
    kiln_db *db;
    unsigned number;
    uint64_t done;
    kiln_status status;
};

static void
commit_series(void *context)
{
    struct committer *committer = context;
    uint8_t key[8];

    for (uint64_t i = 1; i <= 60 && committer->status == KILN_OK; i++) {
        kiln_txn_options options = KILN_TXN_OPTIONS_INIT;
        kiln_txn *txn = NULL;
        kiln_coll coll = 0;
        options.kind = KILN_WRITE;
        options.durability = i % 7 == 3 ? KILN_LAZY : i % 5 == 2 ? KILN_OS : KILN_FULL;
        committer->status = kiln_txn_begin_with(committer->db, &options, &txn);
        if (committer->status != KILN_OK)
            return;
        committer->status = kiln_coll_open(txn, "c", KILN_COLL_CREATE, &coll);
        engine_key(committer->number, key);
        if (committer->status == KILN_OK)
            committer->status = kiln_put(txn, coll, key, 8, &i, 8, KILN_PUT_REPLACE);
        if (committer->status == KILN_OK)
            committer->status = kiln_txn_commit(txn);
        else
            kiln_txn_abort(txn);
        if (committer->status == KILN_OK)
            committer->done = i;
    }
}

static void
commits_of_eight_threads_share_syncs_and_are_all_there(void)
{
    kiln_options options = engine_options(KILN_CREATE);
    struct committer committers[THREADS];
    struct ftk_thread threads[THREADS];
    kiln_slice value;
    kiln_coll coll;
    kiln_txn *txn;
    kiln_db *db;
    uint8_t key[8];

    OK(kiln_open(test_path("db"), &options, &db));
    for (unsigned i = 0; i < THREADS; i++) {
        committers[i] = (struct committer){.db = db, .number = i};
        REQUIRE_OK(ftk_thread_start(&threads[i], "test", commit_series, &committers[i]));
    }
    for (unsigned i = 0; i < THREADS; i++)
        ftk_thread_join(&threads[i]);
    db_abandon(db);
    options.flags = 0;
    OK(kiln_open(test_path("db"), &options, &db));
    txn = engine_begin(db, KILN_READ);
    OK(kiln_coll_open(txn, "c", 0, &coll));
    for (unsigned i = 0; i < THREADS; i++) {
        engine_key(i, key);
        OK((kiln_status)committers[i].status);
        OK(kiln_get(txn, coll, key, 8, &value));
        CHECK_EQ(ftk_get_le64(value.data), committers[i].done);
    }
    kiln_txn_abort(txn);
    engine_check(db);
    OK(kiln_close(db));
}

struct waiter {
    kiln_db *db;
    unsigned number;
    _Atomic unsigned *order;
    unsigned place;
    kiln_status status;
    uint32_t timeout_ms;
};

static void
wait_for_turn(void *context)
{
    struct waiter *waiter = context;
    kiln_txn_options options = KILN_TXN_OPTIONS_INIT;
    kiln_txn *txn = NULL;

    options.kind = KILN_WRITE;
    options.timeout_ms = waiter->timeout_ms;
    waiter->status = kiln_txn_begin_with(waiter->db, &options, &txn);
    if (waiter->status == KILN_OK)
        waiter->place = atomic_fetch_add(waiter->order, 1);
    kiln_txn_abort(txn);
}

/* Within a minute; false: there are others. */
static bool
queue_has(kiln_db *db, unsigned wanted)
{
    uint64_t end = ftk_clock_ns() + UINT64_C(60) * 1000000000;
    unsigned count;

    do {
        ftk_clock_sleep_ns(100000);
        count = 0;
        ftk_mutex_lock(&db->queue_mutex);
        for (struct writer_wait *wait = db->queue_first; wait != NULL; wait = wait->next)
            count++;
        ftk_mutex_unlock(&db->queue_mutex);
    } while (count != wanted && ftk_clock_ns() < end);
    return count == wanted;
}

static void
writers_come_in_the_order_they_asked_and_time_out(void)
{
    kiln_options options = engine_options(KILN_CREATE);
    struct waiter waiters[THREADS];
    struct ftk_thread threads[THREADS];
    _Atomic unsigned order = 0;
    unsigned queued = 0;
    kiln_txn *txn;
    kiln_db *db;

    OK(kiln_open(test_path("db"), &options, &db));
    txn = engine_begin(db, KILN_WRITE);
    for (unsigned i = 0; i < THREADS; i++) { /* every third gives up meanwhile */
        waiters[i] = (struct waiter){
            .db = db, .number = i, .order = &order, .timeout_ms = i % 3 == 1 ? 20 : 60000};
        REQUIRE_OK(ftk_thread_start(&threads[i], "test", wait_for_turn, &waiters[i]));
        if (i % 3 == 1)
            ftk_thread_join(&threads[i]); /* nobody else ends the wait */
        else
            CHECK(queue_has(db, ++queued));
    }
    STATUS(kiln_txn_begin_with(
               db, &(kiln_txn_options){.size = sizeof(kiln_txn_options), .kind = KILN_WRITE},
               &(kiln_txn *){NULL}),
           KILN_TIMEOUT);
    kiln_txn_abort(txn);
    for (unsigned i = 0; i < THREADS; i++)
        if (i % 3 != 1)
            ftk_thread_join(&threads[i]);
    for (unsigned i = 0, place = 0; i < THREADS; i++) {
        STATUS(waiters[i].status, i % 3 == 1 ? KILN_TIMEOUT : KILN_OK);
        if (waiters[i].status == KILN_OK)
            CHECK_EQ(waiters[i].place, place++);
    }
    OK(kiln_close(db));
}

/* Someone is off the processor in the middle of publishing, for as long as a reader does not let it
 * go on: the sleep of the reader, or, where it never sleeps, an alarm, ends the publication. */
static struct {
    kiln_db *db;
    unsigned sleeps;
    bool alarmed;
} interrupted;

static uint64_t
no_time(void *context)
{
    (void)context;
    return 1;
}

static void
publication_ends(void *context, uint64_t ns)
{
    (void)context;
    (void)ns;
    interrupted.sleeps++;
    atomic_fetch_add(&interrupted.db->published.sequence, 1);
}

static void
alarm_ends(int number)
{
    (void)number;
    interrupted.alarmed = true;
    atomic_fetch_add(&interrupted.db->published.sequence, 1);
}

static void
a_reader_sleeps_beside_a_publication_that_was_interrupted(void)
{
    static const struct ftk_clock_ops clock = {no_time, no_time, publication_ends};
    struct simdisk *disk = simdisk_new(NULL);
    kiln_txn *txn;
    kiln_coll coll;

    interrupted.db = engine_open(disk, KILN_CREATE);
    txn = engine_begin(interrupted.db, KILN_WRITE);
    coll = engine_coll(txn, "c");
    OK(engine_put(txn, coll, "key", "value"));
    OK(kiln_txn_commit(txn));
    ftk_clock_use(&clock, NULL);
    signal(SIGALRM, alarm_ends);
    atomic_fetch_add(&interrupted.db->published.sequence, 1); /* db_publish has begun */
    alarm(10);
    txn = engine_begin(interrupted.db, KILN_READ);
    alarm(0);
    CHECK_EQ(interrupted.sleeps, 1);
    CHECK(!interrupted.alarmed);
    CHECK_VALUE(txn, coll, "key", "value");
    kiln_txn_abort(txn);
    ftk_clock_use(NULL, NULL);
    engine_end(disk, interrupted.db);
}

struct asking {
    kiln_db *db;
    kiln_status (*ask)(kiln_db *db);
    _Atomic bool inside, go_on;
    kiln_status status;
};

/* After each step of the disk. */
static void
asking_stands(void *context, struct simdisk *disk, uint64_t step)
{
    struct asking *asking = context;

    (void)disk;
    (void)step;
    atomic_store(&asking->inside, true);
    while (!atomic_load(&asking->go_on))
        ftk_clock_sleep_ns(100000);
}

static int
check_stands(void *context, uint64_t done, uint64_t total)
{
    (void)done;
    (void)total;
    asking_stands(context, NULL, 0);
    return 0;
}

static void
asks(void *context)
{
    struct asking *asking = context;
    kiln_check_options options = KILN_CHECK_OPTIONS_INIT;

    options.progress = check_stands;
    options.progress_context = asking;
    asking->status =
        asking->ask != NULL ? asking->ask(asking->db) : kiln_check(asking->db, &options);
}

static void
a_database_is_not_closed_under_a_call_that_waits(void)
{
    for (unsigned checks = 0; checks < 2; checks++) {
        struct simdisk *disk = simdisk_new(NULL);
        struct asking asking = {.db = engine_open(disk, KILN_CREATE),
                                .ask = checks ? NULL : kiln_checkpoint,
                                .status = KILN_CANCELED};
        struct ftk_thread thread = {0};
        kiln_txn *txn = engine_begin(asking.db, KILN_WRITE);

        OK(engine_series(txn, engine_coll(txn, "c"), 0, 500, 100));
        OK(kiln_txn_commit(txn));
        if (!checks)
            simdisk_hook(disk, asking_stands, &asking);
        REQUIRE_OK(ftk_thread_start(&thread, "asks", asks, &asking));
        for (unsigned i = 0; i < 100000 && !atomic_load(&asking.inside); i++)
            ftk_clock_sleep_ns(100000);
        CHECK(atomic_load(&asking.inside));
        STATUS(kiln_close(asking.db), KILN_STATE);
        CHECK_HAS(kiln_db_error(asking.db)->text, "under way");
        atomic_store(&asking.go_on, true);
        ftk_thread_join(&thread);
        STATUS(asking.status, KILN_OK);
        simdisk_hook(disk, NULL, NULL);
        OK(kiln_close(asking.db));
        simdisk_free(disk);
    }
}

TEST_MAIN("engine_threads", TEST(every_snapshot_has_the_same_sum),
          TEST(commits_of_eight_threads_share_syncs_and_are_all_there),
          TEST(writers_come_in_the_order_they_asked_and_time_out),
          TEST(a_database_is_not_closed_under_a_call_that_waits),
          TEST(a_reader_sleeps_beside_a_publication_that_was_interrupted))
