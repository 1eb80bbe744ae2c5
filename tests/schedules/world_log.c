/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/schedules/world_log.c -- group commit: writers whose promises differ, the log's threads.
 *
 * Three writers that promise FULL, OS or LAZY as the seed says, and commit without a change now and
 * then; a reader; the log comes to the end of its segment on the way, and a checkpoint releases the
 * old one.  What a reader has seen, and what a commit has promised, is there after a crash at that
 * moment.
 */
#include <string.h>

#include "engine/txn/db_state.h"
#include "tests/schedules/schedule_world.h"

enum { WRITERS = 3, TRANSACTIONS = 3, READS = 12, STAND_STEPS = 400, SEGMENT_BYTES = 2 << 20 };

struct scene {
    struct bank bank;
    struct ftk_random random[WRITERS], read_random;
    struct bank_crash crash;
    unsigned crash_write; /* after so many transactions */
    uint32_t stand;
    bool crash_read; /* when more is seen than has returned */
};

struct writer {
    struct scene *scene;
    unsigned number;
    struct ftk_thread thread;
};

/* A commit without a change returns when what it has read is as durable as was promised. */
static void
nothing_once(struct scene *scene)
{
    uint32_t promised = scene->bank.durable + scene->bank.written;

    bank_write_nothing(&scene->bank);
    if (scene->crash_read && scene->bank.durable + scene->bank.written > promised)
        bank_crash_now(&scene->crash);
}

static void
write_some(void *context)
{
    static const kiln_durability promises[] = {KILN_FULL, KILN_OS, KILN_LAZY};
    struct writer *writer = context;
    struct ftk_random *random = &writer->scene->random[writer->number];

    for (unsigned i = 0; i < TRANSACTIONS; i++) {
        bank_write(&writer->scene->bank, random, 1 + (uint32_t)ftk_random_below(random, 3),
                   promises[ftk_random_below(random, 3)], ftk_random_below(random, 8) > 0);
        if (ftk_random_below(random, 3) == 0)
            nothing_once(writer->scene);
        if (writer->scene->crash_write > 0 && --writer->scene->crash_write == 0)
            bank_crash_now(&writer->scene->crash);
    }
}

static void
read_some(void *context)
{
    struct scene *scene = context;
    kiln_txn *txn;

    for (unsigned i = 0; i < READS; i++) {
        schedule_stand(&scene->read_random, scene->stand);
        uint32_t low = scene->bank.returned;
        MUST_OK(kiln_txn_begin(scene->bank.db, KILN_READ, &txn));
        uint32_t promised = scene->bank.durable + scene->bank.written;
        bank_glance(&scene->bank, txn, low, &scene->read_random);
        if (scene->crash_read && scene->bank.durable + scene->bank.written > promised)
            bank_crash_now(&scene->crash); /* seen before its commit has returned */
        kiln_txn_abort(txn);
    }
}

static void
checkpoint_once(void *context)
{
    struct scene *scene = context;

    MUST_OK(kiln_checkpoint(scene->bank.db));
}

/* The log is a few kilobytes from the end of its segment. */
static void
prepare(struct simdisk *disk)
{
    static uint8_t filler[256 << 10];
    struct bank bank;
    kiln_txn *txn;
    kiln_coll coll;

    bank_prepare(disk);
    bank_init(&bank, disk);
    for (;;) {
        uint64_t left = SEGMENT_BYTES - 4096 - rfl_lsn_end(bank.db->log) % (SEGMENT_BYTES - 4096);
        if (left < 12 << 10)
            break;
        left = left - (8 << 10) < sizeof filler ? left - (8 << 10) : sizeof filler;
        MUST_OK(kiln_txn_begin(bank.db, KILN_WRITE, &txn));
        MUST_OK(kiln_coll_open(txn, "filler", KILN_COLL_CREATE, &coll));
        MUST_OK(kiln_put(txn, coll, "f", 1, filler, left, KILN_PUT_REPLACE));
        MUST_OK(kiln_txn_commit(txn));
    }
    bank_close(&bank);
}

static void
scenario(struct simdisk *disk, struct ftk_random *random)
{
    static struct scene scene;
    struct writer writers[WRITERS];
    struct ftk_thread reader, checkpoint;

    memset(&scene, 0, sizeof scene);
    bank_init(&scene.bank, disk);
    bank_crash_draw(&scene.crash, &scene.bank, disk, random);
    switch (ftk_random_below(random, 4)) {
    case 0:
    case 1: scene.crash_read = true; break;
    case 2: scene.crash_write = 1 + (unsigned)ftk_random_below(random, 8); break;
    default: scene.crash.step = simdisk_steps(disk) + 1 + ftk_random_below(random, 60);
    }
    if (scene.crash.step == 0 && scene.crash.kind == BANK_POWER)
        scene.crash.kind = BANK_HARD; /* it is about what must be there */
    simdisk_hook(disk, bank_crash_at_step, &scene.crash);
    ftk_random_seed(&scene.read_random, ftk_random_next(random));
    scene.stand = ftk_random_below(random, 4) == 0 ? 0 : STAND_STEPS;

    ftk_schedule_explore(true);
    for (unsigned i = 0; i < WRITERS; i++) {
        ftk_random_seed(&scene.random[i], ftk_random_next(random));
        writers[i] = (struct writer){.scene = &scene, .number = i};
        MUST_OK(ftk_thread_start(&writers[i].thread, "writer", write_some, &writers[i]));
    }
    MUST_OK(ftk_thread_start(&reader, "reader", read_some, &scene));
    MUST_OK(ftk_thread_start(&checkpoint, "checkpoint", checkpoint_once, &scene));
    for (unsigned i = 0; i < WRITERS; i++)
        ftk_thread_join(&writers[i].thread);
    ftk_thread_join(&reader);
    ftk_thread_join(&checkpoint);
    ftk_schedule_explore(false);

    simdisk_hook(disk, NULL, NULL);
    bank_crash_now(&scene.crash);
    bank_crash_look(&scene.bank, &scene.crash);
    bank_abandon(&scene.bank);
}

SCHEDULE_WORLD(.name = "log", .prepare = prepare, .scenario = scenario)
