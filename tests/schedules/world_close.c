/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/schedules/world_close.c -- a database is closed beside all that goes on in it.
 *
 * Writers and a reader, lazy commits, a checkpoint that is asked for; then it is closed while the
 * threads of the log, of the cache and of the checkpointer are where they are; opened again, and
 * closed again.  Nothing hangs, and all that was committed is there, be it lazy.
 */
#include <string.h>

#include "tests/schedules/schedule_world.h"

enum { TRANSACTIONS = 3 };

struct scene {
    struct bank bank;
    struct ftk_random write_random;
};

static void
write_some(void *context)
{
    struct scene *scene = context;
    struct ftk_random *random = &scene->write_random;

    for (unsigned i = 0; i < TRANSACTIONS; i++)
        bank_write(&scene->bank, random, 1 + (uint32_t)ftk_random_below(random, 4),
                   ftk_random_below(random, 3) == 0 ? KILN_FULL : KILN_LAZY,
                   ftk_random_below(random, 4) > 0);
}

static void
read_some(void *context)
{
    struct scene *scene = context;
    kiln_txn *txn;

    MUST_OK(kiln_txn_begin(scene->bank.db, KILN_READ, &txn));
    bank_read(&scene->bank, txn, 0);
    MUST(kiln_close(scene->bank.db) == KILN_STATE, "closed under an open transaction");
    bank_read(&scene->bank, txn, 0);
    kiln_txn_abort(txn);
}

static void
checkpoint_once(void *context)
{
    struct scene *scene = context;

    MUST_OK(kiln_checkpoint(scene->bank.db));
}

static void
look_at_all(struct bank *bank)
{
    kiln_txn *txn;

    MUST_OK(kiln_txn_begin(bank->db, KILN_READ, &txn));
    MUST(bank_read(bank, txn, bank->newest) == bank->newest, "a commit has gone");
    kiln_txn_abort(txn);
}

static void
scenario(struct simdisk *disk, struct ftk_random *random)
{
    static struct scene scene;
    struct bank_crash crash = {.disk = NULL};
    struct ftk_thread writer, reader, checkpoint;
    bool checkpoints = ftk_random_below(random, 2) == 0;

    memset(&scene, 0, sizeof scene);
    bank_init(&scene.bank, disk);
    ftk_random_seed(&scene.write_random, ftk_random_next(random));

    ftk_schedule_explore(true);
    MUST_OK(ftk_thread_start(&writer, "writer", write_some, &scene));
    MUST_OK(ftk_thread_start(&reader, "reader", read_some, &scene));
    if (checkpoints)
        MUST_OK(ftk_thread_start(&checkpoint, "checkpoint", checkpoint_once, &scene));
    ftk_thread_join(&reader);
    ftk_thread_join(&writer);
    if (checkpoints)
        ftk_thread_join(&checkpoint);
    bank_close(&scene.bank);
    scene.bank.durable = scene.bank.written = scene.bank.newest;
    bank_crash_take(&scene.bank, &crash, disk, BANK_HARD, ftk_random_next(random));

    bank_open(&scene.bank, disk);
    look_at_all(&scene.bank);
    bank_write(&scene.bank, &scene.write_random, 2, KILN_LAZY, true);
    bank_close(&scene.bank);
    ftk_schedule_explore(false);

    bank_open(&scene.bank, disk);
    look_at_all(&scene.bank);
    bank_close(&scene.bank);
    bank_crash_look(&scene.bank, &crash);
}

SCHEDULE_WORLD(.name = "close", .prepare = bank_prepare, .scenario = scenario)
