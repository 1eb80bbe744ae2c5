/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/schedules/world_close.c -- a database is closed beside all that goes on in it.
 *
 * Two writers, a reader with a cursor, a checkpoint that is asked for.  When each has begun its
 * last transaction, another thread closes the database, again and again until it may: the last
 * commit waits for the device, or is refused, the cursor is closed late, the threads of the log, of
 * the cache and of the checkpointer are where they are.  Then it is opened again, and closed again.
 * Nothing hangs, and all that was committed is there, be it lazy.
 */
#include <string.h>

#include "tests/schedules/schedule_world.h"

enum { WRITERS = 2, TRANSACTIONS = 2, STAND_STEPS = 400 };

struct scene {
    struct bank bank;
    uint32_t last_begun; /* actors whose last transaction has begun: they begin no other */
    uint32_t actors;
};

struct actor {
    struct scene *scene;
    struct ftk_random random;
    struct ftk_thread thread;
    bool refused; /* its last commit is */
};

/* A builder is at work: the commit is refused, and both outlive the database perhaps. */
static void
commit_refused(struct scene *scene)
{
    struct bank *bank = &scene->bank;
    kiln_txn *txn = bank_writer_begin(bank, KILN_FULL);
    kiln_bulk *bulk;
    kiln_coll coll;

    MUST_OK(kiln_coll_open(txn, "built", KILN_COLL_CREATE, &coll));
    MUST_OK(kiln_bulk_begin(txn, coll, &bulk));
    scene->last_begun++;
    MUST(kiln_txn_commit(txn) == KILN_STATE, "a builder was at work");
    (void)kiln_bulk_abort(bulk);
}

static void
write_some(void *context)
{
    struct actor *writer = context;
    struct scene *scene = writer->scene;
    struct ftk_random *random = &writer->random;

    for (unsigned i = 0; i < TRANSACTIONS; i++)
        bank_write(&scene->bank, random, 1 + (uint32_t)ftk_random_below(random, 4),
                   ftk_random_below(random, 3) == 0 ? KILN_FULL : KILN_LAZY,
                   ftk_random_below(random, 4) > 0);
    if (writer->refused) {
        commit_refused(scene);
        return;
    }
    kiln_durability durability = (kiln_durability)(KILN_FULL + ftk_random_below(random, 3));
    kiln_txn *txn = bank_writer_begin(&scene->bank, durability);
    scene->last_begun++;
    bank_write_in(&scene->bank, txn, random, 1 + (uint32_t)ftk_random_below(random, 2), durability,
                  ftk_random_below(random, 8) > 0);
}

static void
read_some(void *context)
{
    struct actor *reader = context;
    struct scene *scene = reader->scene;
    kiln_cursor *cursor;
    kiln_txn *txn;

    MUST_OK(kiln_txn_begin(scene->bank.db, KILN_READ, &txn));
    bank_read(&scene->bank, txn, 0);
    MUST(kiln_close(scene->bank.db) == KILN_STATE, "closed under an open transaction");
    kiln_txn_abort(txn);
    schedule_stand(&reader->random, STAND_STEPS);
    MUST_OK(kiln_txn_begin(scene->bank.db, KILN_READ, &txn));
    scene->last_begun++;
    MUST_OK(kiln_cursor_open(txn, scene->bank.coll, 0, &cursor));
    MUST_OK(kiln_cursor_first(cursor));
    bank_read(&scene->bank, txn, 0);
    kiln_txn_abort(txn);
    kiln_cursor_close(cursor); /* the database may be gone by then */
}

static void
checkpoint_once(void *context)
{
    struct actor *actor = context;
    kiln_txn *txn;

    MUST_OK(kiln_checkpoint(actor->scene->bank.db));
    MUST_OK(kiln_txn_begin(actor->scene->bank.db, KILN_READ, &txn));
    actor->scene->last_begun++;
    kiln_txn_abort(txn);
}

static void
close_at_last(void *context)
{
    struct actor *closer = context;
    struct scene *scene = closer->scene;
    kiln_status status;

    while (scene->last_begun < scene->actors)
        ftk_thread_yield();
    schedule_stand(&closer->random, STAND_STEPS);
    while ((status = kiln_close(scene->bank.db)) == KILN_STATE)
        ftk_thread_yield();
    MUST(status == KILN_OK, "close: %s", kiln_status_name(status));
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
    struct actor actors[WRITERS + 3];
    void (*runs[])(void *) = {write_some, write_some, read_some, close_at_last, checkpoint_once};
    static const char *const names[] = {"writer", "writer", "reader", "closer", "checkpoint"};
    unsigned count = WRITERS + 2 + (unsigned)ftk_random_below(random, 2);

    memset(&scene, 0, sizeof scene);
    bank_init(&scene.bank, disk);
    scene.actors = count - 1; /* without the closer */
    for (unsigned i = 0; i < count; i++) {
        actors[i] = (struct actor){.scene = &scene, .refused = ftk_random_below(random, 3) == 0};
        ftk_random_seed(&actors[i].random, ftk_random_next(random));
    }

    ftk_schedule_explore(true);
    for (unsigned i = 0; i < count; i++)
        MUST_OK(ftk_thread_start(&actors[i].thread, names[i], runs[i], &actors[i]));
    for (unsigned i = 0; i < count; i++)
        ftk_thread_join(&actors[i].thread);
    scene.bank.db = NULL;
    scene.bank.durable = scene.bank.written = scene.bank.newest;
    bank_crash_take(&scene.bank, &crash, disk, BANK_HARD, ftk_random_next(random));

    bank_open(&scene.bank, disk);
    look_at_all(&scene.bank);
    bank_write(&scene.bank, random, 2, KILN_LAZY, true);
    bank_close(&scene.bank);
    ftk_schedule_explore(false);

    bank_open(&scene.bank, disk);
    look_at_all(&scene.bank);
    bank_close(&scene.bank);
    bank_crash_look(&scene.bank, &crash);
}

SCHEDULE_WORLD(.name = "close", .prepare = bank_prepare, .scenario = scenario, .patient = true)
