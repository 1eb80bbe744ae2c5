/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/schedules/world_limit.c -- the cache limit falls and rises while a transaction is written.
 *
 * A transaction that changes every leaf, some of them in place, has to write pages out before it
 * commits when the limit falls, and half of these transactions abort.  Nothing of an aborted one is
 * seen, then or after a crash.  Others leave it some dozens of pages of the lower limit.
 */
#include <string.h>

#include "tests/schedules/schedule_world.h"

enum {
    TRANSACTIONS = 2,
    LIMIT_LOW = SCHEDULE_OTHERS_LIMIT,
    LIMIT_HIGH = 120 << 20, /* much is prepared below it, more than the lower one has room for */
    LIMIT_MIDDLE = 9 << 19, /* a window has up to 9 leaves below it: the others are copied */
    LEFT_MIN = 24,          /* pages that the others leave, at least, and up to so many more */
    LEFT_MORE = 64,
    SHARE_MIN = 8, /* of a writer, below the lower limit; see cache_share */
    SHARE_MORE = 48,
};

/* Values that shrank: many leaves, and little to log. */
static const struct bank_shape shape = {.page_bytes = 4096,
                                        .keys = 80,
                                        .value_bytes = 100,
                                        .first_bytes = 904,
                                        .cache_bytes = LIMIT_HIGH,
                                        .keeps = true};

/* ---- threads --------------------------------------------------------------------------------- */

struct scene {
    struct bank bank;
    struct ftk_random write_random, limit_random;
    uint64_t limit; /* the higher one */
    bool reads, checkpoints;
};

static void
write_some(void *context)
{
    struct scene *scene = context;
    struct ftk_random *random = &scene->write_random;

    for (unsigned i = 0; i < TRANSACTIONS; i++)
        bank_write(&scene->bank, random, 2 * shape.keys, KILN_LAZY,
                   ftk_random_below(random, 2) == 0);
}

/* From high to low and back, each after a part of a transaction. */
static void
limit_some(void *context)
{
    struct scene *scene = context;

    for (unsigned i = 0; i < 4; i++) {
        schedule_stand(&scene->limit_random, 800);
        MUST_OK(kiln_cache_limit(LIMIT_LOW));
        schedule_stand(&scene->limit_random, 400);
        MUST_OK(kiln_cache_limit(scene->limit));
    }
    MUST_OK(kiln_cache_limit(LIMIT_LOW));
}

static void
beside_run(void *context)
{
    struct scene *scene = context;
    kiln_txn *txn;

    if (scene->checkpoints)
        MUST_OK(kiln_checkpoint(scene->bank.db));
    if (!scene->reads)
        return;
    uint32_t low = scene->bank.returned;
    MUST_OK(kiln_txn_begin(scene->bank.db, KILN_READ, &txn));
    bank_glance(&scene->bank, txn, low, &scene->write_random);
    kiln_txn_abort(txn);
}

/* ---- the world ------------------------------------------------------------------------------- */

static void
look_at_all(struct bank *bank)
{
    kiln_txn *txn;

    MUST_OK(kiln_txn_begin(bank->db, KILN_READ, &txn));
    MUST(bank_read(bank, txn, bank->newest) == bank->newest, "a commit has gone");
    kiln_txn_abort(txn);
}

static void
prepare(struct simdisk *disk)
{
    bank_prepare_as(disk, &shape);
}

static void
scenario(struct simdisk *disk, struct ftk_random *random)
{
    static struct scene scene;
    struct bank_crash crash = {.disk = NULL};
    struct schedule_others others;
    struct ftk_thread writer, limiter, beside;
    uint64_t left, share;

    memset(&scene, 0, sizeof scene);
    bank_init_as(&scene.bank, disk, &shape);
    ftk_random_seed(&scene.write_random, ftk_random_next(random));
    bank_write(&scene.bank, &scene.write_random, 2 * shape.keys, KILN_LAZY, true);
    ftk_random_seed(&scene.limit_random, ftk_random_next(random));
    left = LEFT_MIN + ftk_random_below(random, LEFT_MORE);
    share = SHARE_MIN + ftk_random_below(random, SHARE_MORE);
    schedule_others_open(&others, disk, left * shape.page_bytes, share * shape.page_bytes);
    scene.limit = ftk_random_below(random, 2) == 0 ? LIMIT_MIDDLE : LIMIT_HIGH;
    MUST_OK(kiln_cache_limit(scene.limit));
    scene.reads = ftk_random_below(random, 4) == 0;
    scene.checkpoints = ftk_random_below(random, 4) == 0;

    ftk_schedule_explore(true);
    MUST_OK(ftk_thread_start(&writer, "writer", write_some, &scene));
    MUST_OK(ftk_thread_start(&limiter, "limiter", limit_some, &scene));
    MUST_OK(ftk_thread_start(&beside, "beside", beside_run, &scene));
    ftk_thread_join(&writer);
    ftk_thread_join(&limiter);
    ftk_thread_join(&beside);
    ftk_schedule_explore(false);

    schedule_others_close(&others);
    look_at_all(&scene.bank);
    MUST_OK(
        kiln_checkpoint(scene.bank.db)); /* what is clean by then must be as it is in the file */
    bank_crash_take(&scene.bank, &crash, disk,
                    (enum bank_crash_kind)ftk_random_below(random, BANK_CRASH_KINDS),
                    ftk_random_next(random));
    bank_crash_look(&scene.bank, &crash);
    bank_abandon(&scene.bank);
}

SCHEDULE_WORLD(.name = "limit", .prepare = prepare, .scenario = scenario)
