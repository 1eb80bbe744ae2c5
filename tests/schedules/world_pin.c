/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/schedules/world_pin.c -- page ids that are used again while readers pin.
 *
 * Two writers whose commits are FULL, so that they copy what they change and the old pages go back;
 * two readers that keep their snapshots over commits and renew them; a checkpoint that holds pages,
 * too.  A snapshot stays what it was.
 */
#include <string.h>

#include "tests/schedules/schedule_world.h"

enum { READERS = 2, WRITERS = 2, TRANSACTIONS = 5, LOOKS = 8, STAND_STEPS = 400 };

struct scene {
    struct bank bank;
    bool checkpoint;
    uint32_t stand;
};

struct actor {
    struct scene *scene;
    struct ftk_random random;
    struct ftk_thread thread;
};

static void
write_some(void *context)
{
    struct actor *writer = context;
    struct ftk_random *random = &writer->random;

    for (unsigned i = 0; i < TRANSACTIONS; i++)
        bank_write(&writer->scene->bank, random, 1 + (uint32_t)ftk_random_below(random, 3),
                   KILN_FULL, ftk_random_below(random, 6) > 0);
}

static void
read_some(void *context)
{
    struct actor *reader = context;
    struct bank *bank = &reader->scene->bank;
    uint32_t low = bank->returned;
    kiln_txn *txn;

    MUST_OK(kiln_txn_begin(bank->db, KILN_READ, &txn));
    for (unsigned i = 0; i < LOOKS; i++) {
        schedule_stand(&reader->random, reader->scene->stand); /* what it has pinned must stay */
        bank_glance(bank, txn, low, &reader->random);
        low = bank->returned;
        if (ftk_random_below(&reader->random, 2) == 0) {
            MUST_OK(kiln_txn_renew(txn));
        } else {
            kiln_txn_abort(txn);
            MUST_OK(kiln_txn_begin(bank->db, KILN_READ, &txn));
        }
    }
    kiln_txn_abort(txn);
}

static void
checkpoint_once(void *context)
{
    struct scene *scene = context;

    if (scene->checkpoint)
        MUST_OK(kiln_checkpoint(scene->bank.db));
}

static void
scenario(struct simdisk *disk, struct ftk_random *random)
{
    static struct scene scene;
    struct bank_crash crash = {.disk = NULL};
    struct actor actors[READERS + WRITERS];
    struct ftk_thread checkpoint;

    memset(&scene, 0, sizeof scene);
    bank_init(&scene.bank, disk);
    scene.checkpoint = ftk_random_below(random, 2) == 0;
    scene.stand = ftk_random_below(random, 4) == 0 ? 0 : STAND_STEPS;

    ftk_schedule_explore(true);
    for (unsigned i = 0; i < READERS + WRITERS; i++) {
        bool reads = i < READERS;
        actors[i].scene = &scene;
        ftk_random_seed(&actors[i].random, ftk_random_next(random));
        MUST_OK(ftk_thread_start(&actors[i].thread, reads ? "reader" : "writer",
                                 reads ? read_some : write_some, &actors[i]));
    }
    MUST_OK(ftk_thread_start(&checkpoint, "checkpoint", checkpoint_once, &scene));
    for (unsigned i = 0; i < READERS + WRITERS; i++)
        ftk_thread_join(&actors[i].thread);
    ftk_thread_join(&checkpoint);
    ftk_schedule_explore(false);

    bank_crash_take(&scene.bank, &crash, disk, BANK_POWER, ftk_random_next(random));
    bank_crash_look(&scene.bank, &crash);
    bank_abandon(&scene.bank);
}

SCHEDULE_WORLD(.name = "pin", .prepare = bank_prepare, .scenario = scenario)
