/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/test_engine_reopen.c -- a database is closed after a sync, write or allocation has
 * failed and opened again without a power cut between: what never became durable can still be read
 * (simdisk.h, rule 3), in the log, in the header and in pages.  Then power fails at last.
 */
#include "engine/db/open.h"
#include "tests/unit/engine_testing.h"

#define TXNS_MAX 4000
#define EXTERNAL_KEYS 600 /* enough that pages are used again */

/* Transaction i of the history writes its serial number under "h" i, and other keys with it. */
struct model {
    struct simdisk *disk;
    struct ftk_random *random;
    uint64_t serials[TXNS_MAX];
    uint64_t count;    /* committed or tried */
    uint64_t promised; /* of them durable: committed FULL, or seen after an open */
    uint64_t serial_next;
    uint32_t flags;
};

static void
history_key(uint64_t i, uint8_t key[9])
{
    key[0] = 'h';
    ftk_put_be64(key + 1, i);
}

static kiln_status
write_one(kiln_db *db, struct model *model, kiln_durability durability)
{
    static uint8_t value[9000];
    kiln_txn_options options = KILN_TXN_OPTIONS_INIT;
    uint8_t key[9];
    kiln_txn *txn = NULL;
    kiln_coll coll;
    kiln_status rc;

    options.kind = KILN_WRITE;
    options.durability = durability;
    rc = kiln_txn_begin_with(db, &options, &txn);
    if (rc != KILN_OK)
        return rc;
    rc = kiln_coll_open(txn, "c", KILN_COLL_CREATE, &coll);
    history_key(model->count, key);
    ftk_put_le64(value, model->serial_next);
    if (rc == KILN_OK)
        rc = kiln_put(txn, coll, key, sizeof key, value, 8, KILN_PUT_REPLACE);
    for (uint64_t n = ftk_random_below(model->random, 20); rc == KILN_OK && n > 0; n--) {
        key[0] = 'x';
        ftk_put_be64(key + 1, ftk_random_below(model->random, 20000));
        rc = kiln_put(txn, coll, key, sizeof key, value,
                      8 + ftk_random_below(model->random, n == 1 ? 8000 : 600), KILN_PUT_REPLACE);
    }
    if (rc != KILN_OK) {
        kiln_txn_abort(txn);
        return rc;
    }
    model->serials[model->count++] = model->serial_next++;
    rc = kiln_txn_commit(txn);
    if (rc == KILN_OK && durability == KILN_FULL)
        model->promised = model->count;
    return rc;
}

/* The history is a prefix of the model's, as long as promised, and everything fits together. */
static void
compare(kiln_db *db, struct model *model, const char *how)
{
    kiln_check_options check = KILN_CHECK_OPTIONS_INIT;
    kiln_txn *txn = engine_begin(db, KILN_READ);
    kiln_coll coll;
    uint8_t key[9];
    kiln_slice value;
    uint64_t found = 0;

    if (kiln_coll_open(txn, "c", 0, &coll) == KILN_OK) {
        for (;; found++) {
            history_key(found, key);
            if (kiln_get(txn, coll, key, sizeof key, &value) != KILN_OK)
                break;
            REQUIRE(value.size == 8 && found < model->count);
            REQUIRE_EQ(ftk_get_le64(value.data), model->serials[found]);
        }
    }
    kiln_txn_abort(txn);
    REQUIRE_MSG(found >= model->promised, "%s: %llu transactions, promised %llu", how,
                (unsigned long long)found, (unsigned long long)model->promised);
    REQUIRE_MSG(kiln_check(db, &check) == KILN_OK, "%s: %s", how, ftk_error_last()->text);
    model->count = model->promised = found;
}

static kiln_options
options_of(const struct model *model)
{
    kiln_options options = engine_options(model->flags);

    options.cache_bytes = 4u << 20;
    return options;
}

static kiln_db *
open_and_compare(struct model *model, const char *how)
{
    kiln_options options = options_of(model);
    kiln_db *db = NULL;
    ftk_status rc = engine_try_open(model->disk, &options, &db);

    REQUIRE_MSG(rc == FTK_OK, "%s: %s", how, ftk_error_last()->text);
    compare(db, model, how);
    return db;
}

/* After a power cut of any kind just now. */
static void
check_survives(const struct model *model, const char *how)
{
    for (int policy = 0; policy < SIMDISK_POLICIES; policy++) {
        struct model other = *model;
        kiln_db *db;

        other.disk = simdisk_clone(model->disk, (uint64_t)policy);
        simdisk_crash_as(other.disk, (enum simdisk_policy)policy, (uint64_t)policy + 7);
        db = open_and_compare(&other, how);
        (void)kiln_close(db);
        simdisk_free(other.disk);
    }
}

/* The disk at each step of a checkpoint, looked at afterwards. */
struct steps {
    struct simdisk *disks[400];
    size_t count;
};

static void
keep_step(void *context, struct simdisk *disk, uint64_t step)
{
    struct steps *steps = context;

    if (steps->count < sizeof steps->disks / sizeof steps->disks[0])
        steps->disks[steps->count++] = simdisk_clone(disk, step);
}

static void
checkpoint_survives(kiln_db *db, const struct model *model)
{
    static struct steps steps;

    steps.count = 0;
    simdisk_hook(model->disk, keep_step, &steps);
    OK(kiln_checkpoint(db));
    simdisk_hook(model->disk, NULL, NULL);
    for (size_t i = 0; i < steps.count; i++) {
        struct model other = *model;

        other.disk = steps.disks[i];
        simdisk_crash_as(other.disk, i % 3 == 0 ? SIMDISK_SECTORS : SIMDISK_NONE, i);
        (void)kiln_close(open_and_compare(&other, "power cut in a checkpoint"));
        simdisk_free(other.disk);
    }
}

/* Some commits and checkpoints, until one fails. */
static void
work(kiln_db *db, struct model *model, uint64_t txns)
{
    kiln_status rc = KILN_OK;

    for (uint64_t i = 0; i < txns && rc == KILN_OK && model->count < TXNS_MAX; i++) {
        if (ftk_random_below(model->random, 6) == 0)
            rc = kiln_checkpoint(db);
        if (rc == KILN_OK)
            rc = write_one(db, model, (kiln_durability)(1 + ftk_random_below(model->random, 3)));
    }
}

static void
model_begin(struct model *model, struct ftk_random *random, uint64_t seed)
{
    ftk_random_seed(random, seed);
    *model = (struct model){.random = random, .serial_next = 1, .flags = KILN_CREATE};
    model->disk = simdisk_new(&(struct simdisk_options){.seed = seed});
}

/* ---- one failure, at each place ---- */

/* The nth sync of a checkpoint fails, and, unless 0, the again-th of the open that follows. */
static void
checkpoint_sync_fails(uint64_t nth, uint64_t again)
{
    static struct model model;
    struct ftk_random random;
    kiln_db *db;

    model_begin(&model, &random, 1 + nth + 10 * again);
    db = open_and_compare(&model, "new");
    work(db, &model, 10);
    OK(kiln_checkpoint(db));
    work(db, &model, 10);
    OK(write_one(db, &model, KILN_FULL)); /* a checkpoint has syncs: data, header, its twin */
    simdisk_fail(model.disk, SIMDISK_SYNC, nth, 1, 5);
    (void)kiln_checkpoint(db);
    CHECK_EQ(simdisk_failed(model.disk), nth <= 3);
    simdisk_fail_clear(model.disk);
    (void)kiln_close(db);
    if (again > 0) { /* whatever this open takes for durable, its own sync has failed */
        kiln_options options = options_of(&model);
        simdisk_fail(model.disk, SIMDISK_SYNC, again, 1, 5);
        if (engine_try_open(model.disk, &options, &db) == FTK_OK)
            db_abandon(db);
        simdisk_fail_clear(model.disk);
    }
    db = open_and_compare(&model, "reopened");
    check_survives(&model, "reopened, then power cut");
    for (int i = 0; i < 2; i++) {
        OK(write_one(db, &model, KILN_FULL));
        check_survives(&model, "worked on, then power cut");
        checkpoint_survives(db, &model);
    }
    (void)kiln_close(db);
    simdisk_free(model.disk);
}

static void
each_sync_of_a_checkpoint_fails_before_a_reopening(void)
{
    for (uint64_t nth = 1; nth <= 3; nth++)
        checkpoint_sync_fails(nth, 0);
}

static void
each_sync_of_a_checkpoint_and_of_the_reopening_fails(void)
{
    for (uint64_t nth = 1; nth <= 3; nth++)
        for (uint64_t again = 1; again <= 5; again++)
            checkpoint_sync_fails(nth, again);
}

/* ---- without a log of its own: nothing says that the last owner came to its end ---- */

static void
put_applied(kiln_db *db, uint64_t n)
{
    kiln_txn *txn = engine_begin(db, KILN_WRITE);
    kiln_coll coll = engine_coll(txn, "c");
    uint8_t value[400] = {0}, key[9];

    ftk_put_le64(value, n);
    for (uint64_t i = 0; i < EXTERNAL_KEYS; i++) {
        history_key(i, key);
        OK(kiln_put(txn, coll, key, sizeof key, value, sizeof value, KILN_PUT_REPLACE));
    }
    OK(kiln_txn_set_applied(txn, n));
    OK(kiln_txn_commit(txn));
}

/* All of one state, which is at least `promised`. */
static void
check_applied(struct simdisk *disk, const kiln_options *options, uint64_t promised)
{
    kiln_check_options check = KILN_CHECK_OPTIONS_INIT;
    kiln_db *db = NULL;
    kiln_txn *txn;
    kiln_slice value;
    kiln_coll coll;
    uint64_t applied = 0;
    uint8_t key[9];

    REQUIRE_OK(engine_try_open(disk, options, &db));
    OK(kiln_check(db, &check));
    txn = engine_begin(db, KILN_READ);
    OK(kiln_txn_applied(txn, &applied));
    CHECK(applied >= promised);
    OK(kiln_coll_open(txn, "c", 0, &coll));
    for (uint64_t i = 0; i < EXTERNAL_KEYS; i += 7) {
        history_key(i, key);
        OK(kiln_get(txn, coll, key, sizeof key, &value));
        CHECK_EQ(ftk_get_le64(value.data), applied);
    }
    kiln_txn_abort(txn);
    db_abandon(db);
}

static void
header_of_an_external_log_fails(uint64_t nth, uint64_t again, uint64_t seed)
{
    static struct steps steps;
    struct simdisk *disk = simdisk_new(&(struct simdisk_options){.seed = seed});
    kiln_options options = engine_options(KILN_CREATE | KILN_EXTERNAL_LOG);
    kiln_db *db = NULL;

    REQUIRE_OK(engine_try_open(disk, &options, &db));
    put_applied(db, 1);
    OK(kiln_checkpoint(db));
    put_applied(db, 2);
    simdisk_fail(disk, SIMDISK_SYNC, nth, 1, 5);
    (void)kiln_checkpoint(db);
    simdisk_fail_clear(disk);
    db_abandon(db);
    simdisk_fail(disk, SIMDISK_SYNC, again, 1, 5);
    if (engine_try_open(disk, &options, &db) == FTK_OK)
        db_abandon(db);
    simdisk_fail_clear(disk);
    REQUIRE_OK(engine_try_open(disk, &options, &db));
    put_applied(db, 3);
    put_applied(db, 4);
    steps.count = 0;
    simdisk_hook(disk, keep_step, &steps);
    OK(kiln_checkpoint(db));
    simdisk_hook(disk, NULL, NULL);
    for (size_t i = 0; i < steps.count; i++) {
        simdisk_crash_as(steps.disks[i], i % 2 == 0 ? SIMDISK_NONE : SIMDISK_SECTORS, i);
        check_applied(steps.disks[i], &options, 1);
        simdisk_free(steps.disks[i]);
    }
    db_abandon(db);
    simdisk_free(disk);
}

static void
the_header_of_a_database_without_a_log_is_durable_after_reopening(void)
{
    for (uint64_t nth = 1; nth <= 3; nth++)
        for (uint64_t again = 1; again <= 4; again++)
            header_of_an_external_log_fails(nth, again, nth);
    /* The first copy of the header, then the second: what is left of them is a matter of chance. */
    for (uint64_t seed = 1; seed <= test_rounds(8); seed++)
        header_of_an_external_log_fails(2, 2, seed);
}

/* The database is being made, and each sync fails in turn; then it is made after all. */
static void
each_sync_of_a_creation_fails_before_another(void)
{
    uint64_t failed = 1;

    for (uint64_t nth = 1; failed > 0; nth++) {
        static struct model model;
        struct ftk_random random;
        kiln_options options;
        kiln_db *db = NULL;

        model_begin(&model, &random, nth);
        options = options_of(&model);
        for (int i = 0; i < 2; i++) {
            simdisk_fail(model.disk, SIMDISK_SYNC | SIMDISK_SYNC_DIR, nth, 1, 5);
            if (engine_try_open(model.disk, &options, &db) == FTK_OK)
                (void)kiln_close(db);
            simdisk_fail_clear(model.disk);
        }
        failed = simdisk_failed(model.disk);
        db = open_and_compare(&model, "made");
        check_survives(&model, "made, then power cut");
        work(db, &model, 20);
        check_survives(&model, "worked, then power cut");
        (void)kiln_close(db);
        simdisk_free(model.disk);
        REQUIRE(nth < 100);
    }
}

static void
each_sync_of_a_close_fails_before_a_reopening(void)
{
    for (uint64_t nth = 1; nth <= 6; nth++) {
        static struct model model;
        struct ftk_random random;
        kiln_db *db;

        model_begin(&model, &random, nth);
        db = open_and_compare(&model, "new");
        work(db, &model, 40);
        simdisk_fail(model.disk, SIMDISK_SYNC | SIMDISK_TRUNCATE, nth, 1, 5);
        (void)kiln_close(db);
        simdisk_fail_clear(model.disk);
        db = open_and_compare(&model, "reopened");
        check_survives(&model, "reopened, then power cut");
        work(db, &model, 40);
        check_survives(&model, "worked on, then power cut");
        (void)kiln_close(db);
        simdisk_free(model.disk);
    }
}

/* A database that was closed is opened without writing its header or its log: what is written is
 * the note of the close, which is struck out. */
static void
a_closed_database_is_opened_with_one_write(void)
{
    static struct model model;
    struct ftk_random random;
    uint64_t writes, syncs;
    kiln_db *db;

    model_begin(&model, &random, 1);
    db = open_and_compare(&model, "new");
    work(db, &model, 20);
    OK(kiln_close(db));
    writes = simdisk_count(model.disk, SIMDISK_WRITE);
    syncs = simdisk_count(model.disk, SIMDISK_SYNC);
    db = open_and_compare(&model, "reopened");
    CHECK_EQ(simdisk_count(model.disk, SIMDISK_WRITE), writes + 1);
    CHECK_EQ(simdisk_count(model.disk, SIMDISK_SYNC), syncs + 1);
    OK(kiln_close(db));
    simdisk_free(model.disk);
}

/* ---- by chance ---- */

static unsigned
some_ops(struct ftk_random *random)
{
    static const unsigned ops[] = {SIMDISK_SYNC, SIMDISK_SYNC, SIMDISK_SYNC | SIMDISK_WRITE,
                                   SIMDISK_SYNC | SIMDISK_SYNC_DIR | SIMDISK_ALLOCATE};

    return ops[ftk_random_below(random, 4)];
}

static void
a_life(uint64_t seed)
{
    static struct model model;
    struct ftk_random random;
    const char *how = "new";
    kiln_db *db = NULL;

    model_begin(&model, &random, seed);
    for (int opens = 0; opens < 8; opens++) {
        kiln_options options = options_of(&model);

        if (ftk_random_below(&random, 3) == 0) { /* an open that may not end */
            simdisk_fail(model.disk, some_ops(&random), 1 + ftk_random_below(&random, 6), 1, 5);
            if (engine_try_open(model.disk, &options, &db) == FTK_OK)
                (void)kiln_close(db);
            simdisk_fail_clear(model.disk);
        }
        db = open_and_compare(&model, how);
        how = "reopened";
        if (ftk_random_below(&random, 4) > 0)
            simdisk_fail(model.disk, some_ops(&random), 1 + ftk_random_below(&random, 40), 1, 5);
        work(db, &model, 1 + ftk_random_below(&random, 80));
        if (ftk_random_below(&random, 3) > 0) {
            (void)kiln_close(db);
            simdisk_fail_clear(model.disk);
            continue;
        }
        struct simdisk *after = simdisk_clone(model.disk, ftk_random_next(&random));
        (void)kiln_close(db);
        simdisk_free(model.disk);
        model.disk = after;
        how = ftk_random_below(&random, 2) == 0 ? "power cut" : "killed";
        if (how[0] == 'p')
            simdisk_crash(after, ftk_random_next(&random));
        else
            simdisk_kill(after, ftk_random_next(&random));
    }
    check_survives(&model, "at last");
    simdisk_free(model.disk);
}

static void
lives_with_failed_syncs_and_reopening_keep_what_was_promised(void)
{
    struct ftk_random random = test_random();

    for (uint64_t i = 0; i < test_rounds(40); i++)
        a_life(ftk_random_next(&random));
}

/* Nothing else has changed: the number alone is worth a checkpoint. */
static void
number_of_a_collection_that_was_aborted_is_not_given_again(void)
{
    struct simdisk *disk = simdisk_new(NULL);
    kiln_db *db = engine_open(disk, KILN_CREATE);
    kiln_txn *txn = engine_begin(db, KILN_WRITE);
    kiln_coll given = engine_coll(txn, "kept");

    OK(kiln_txn_commit(txn));
    for (unsigned i = 0; i < 3; i++) {
        kiln_coll next;
        db = engine_reopen(disk, db);
        txn = engine_begin(db, KILN_WRITE);
        next = engine_coll(txn, "aborted");
        CHECK(next > given);
        given = next;
        kiln_txn_abort(txn);
    }
    engine_end(disk, db);
}

TEST_MAIN("engine_reopen", TEST(each_sync_of_a_checkpoint_fails_before_a_reopening),
          TEST(each_sync_of_a_checkpoint_and_of_the_reopening_fails),
          TEST(the_header_of_a_database_without_a_log_is_durable_after_reopening),
          TEST(each_sync_of_a_creation_fails_before_another),
          TEST(each_sync_of_a_close_fails_before_a_reopening),
          TEST(a_closed_database_is_opened_with_one_write),
          TEST(lives_with_failed_syncs_and_reopening_keep_what_was_promised),
          TEST(number_of_a_collection_that_was_aborted_is_not_given_again))
