/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/schedules/world_value.c -- values of several pages are made while others go.
 *
 * A writer puts large values, some of them delivered in pieces, given up half way or taken back,
 * and a quarter of its transactions abort; a reader reads them as a whole and in pieces;
 * checkpoints write what is dirty; and others want memory all the time, so that what is clean is
 * evicted at once.  A page of a large value has no birth: any checkpoint may write it as soon as
 * it is dirty.
 * At the end every value is read from the file, then and after a crash.
 */
#include <string.h>

#include "engine/txn/db_state.h"
#include "tests/schedules/schedule_world.h"

enum {
    TRANSACTIONS = 6,
    KEYS_CHANGED = 2,
    LEFT_MIN = 64, /* pages that the others leave, at least, and up to so many more */
    LEFT_MORE = 64,
    SHARE_MIN = 8, /* of a writer; see cache_share */
    SHARE_MORE = 48,
    STAND_STEPS = 400,
    STAND_STEPS_MIN = 50, /* between two checkpoints: up to 8 times as many; of those who want
                             memory: up to 32 */
};

/* From one page to six, each with the sums of its pages behind. */
static const struct bank_shape shape = {.page_bytes = 4096,
                                        .keys = 6,
                                        .value_bytes = 3000,
                                        .step_bytes = 3700,
                                        .cache_bytes = SCHEDULE_OTHERS_LIMIT,
                                        .pieces = true};

struct scene {
    struct bank bank;
    struct schedule_others others;
    struct simdisk *disk;
    struct ftk_random write_random, read_random, checkpoint_random, press_random;
    struct bank_crash crash;
    uint32_t checkpoint_stand, press_stand, reads;
    struct ftk_mutex press_mutex;
    bool presses;
    bool written; /* the writer has ended: the others do, too */
};

/* ---- threads --------------------------------------------------------------------------------- */

static void
write_some(void *context)
{
    struct scene *scene = context;
    struct ftk_random *random = &scene->write_random;

    for (unsigned i = 0; i < TRANSACTIONS; i++)
        bank_write(&scene->bank, random, (uint32_t)ftk_random_below(random, KEYS_CHANGED + 1),
                   (kiln_durability)(KILN_FULL + ftk_random_below(random, 3)),
                   ftk_random_below(random, 4) > 0);
    scene->written = true;
}

static void
read_some(void *context)
{
    struct scene *scene = context;
    kiln_txn *txn;

    for (unsigned i = 0; i < scene->reads; i++) {
        schedule_stand(&scene->read_random, STAND_STEPS);
        uint32_t low = scene->bank.returned;
        MUST_OK(kiln_txn_begin(scene->bank.db, KILN_READ, &txn));
        bank_glance(&scene->bank, txn, low, &scene->read_random);
        kiln_txn_abort(txn);
    }
}

static void
press(struct scene *scene)
{
    ftk_mutex_lock(&scene->press_mutex);
    schedule_others_press(&scene->others, SCHEDULE_OTHERS_LIMIT / 4);
    ftk_mutex_unlock(&scene->press_mutex);
}

static void
checkpoint_some(void *context)
{
    struct scene *scene = context;

    for (; !scene->written; ftk_thread_yield()) { /* nobody starves behind it */
        schedule_stand(&scene->checkpoint_random, scene->checkpoint_stand);
        if (ftk_random_below(&scene->checkpoint_random, 4) == 0)
            MUST_OK(kiln_checkpoint(scene->bank.db));
        else /* as the engine asks for one, whether anything is committed or not */
            MUST_OK(checkpointer_run(scene->bank.db->checkpointer, true));
        press(scene); /* what it has written is clean now */
    }
}

static void
press_some(void *context)
{
    struct scene *scene = context;

    for (; scene->presses && !scene->written; ftk_thread_yield()) {
        schedule_stand(&scene->press_random, scene->press_stand);
        press(scene);
    }
}

/* ---- the world ------------------------------------------------------------------------------- */

/* All of it comes from the file: what is there after a checkpoint, and nothing of it in memory. */
static void
look_at_all(struct scene *scene)
{
    struct bank *bank = &scene->bank;
    kiln_txn *txn;

    MUST_OK(kiln_checkpoint(bank->db));
    press(scene);
    MUST_OK(kiln_txn_begin(bank->db, KILN_READ, &txn));
    MUST(bank_read(bank, txn, bank->newest) == bank->newest, "a commit has gone");
    kiln_txn_abort(txn);
    bank_check(bank);
}

static void
prepare(struct simdisk *disk)
{
    bank_prepare_as(disk, &shape);
}

static void
draw(struct scene *scene, struct ftk_random *random)
{
    ftk_random_seed(&scene->write_random, ftk_random_next(random));
    ftk_random_seed(&scene->read_random, ftk_random_next(random));
    ftk_random_seed(&scene->checkpoint_random, ftk_random_next(random));
    ftk_random_seed(&scene->press_random, ftk_random_next(random));
    scene->presses = ftk_random_below(random, 2) == 0;
    scene->checkpoint_stand = STAND_STEPS_MIN << ftk_random_below(random, 4);
    scene->press_stand = STAND_STEPS_MIN << ftk_random_below(random, 6);
    scene->reads = (uint32_t)ftk_random_below(random, 5);
    bank_crash_draw(&scene->crash, &scene->bank, scene->disk, random);
    if (ftk_random_below(random, 2) == 0) /* else at the end */
        scene->crash.step = simdisk_steps(scene->disk) + 1 + ftk_random_below(random, 100);
}

static void
scenario(struct simdisk *disk, struct ftk_random *random)
{
    static struct scene scene;
    struct ftk_thread writer, reader, checkpoint, press;
    uint64_t left, share;

    memset(&scene, 0, sizeof scene);
    scene.disk = disk;
    left = LEFT_MIN + ftk_random_below(random, LEFT_MORE);
    share = SHARE_MIN + ftk_random_below(random, SHARE_MORE);
    bank_init_as(&scene.bank, disk, &shape);
    schedule_others_open(&scene.others, disk, left * shape.page_bytes, share * shape.page_bytes);
    draw(&scene, random);
    bank_write(&scene.bank, random, KEYS_CHANGED, KILN_LAZY, true); /* the first checkpoint's */
    simdisk_hook(disk, bank_crash_at_step, &scene.crash);

    ftk_schedule_explore(true);
    MUST_OK(ftk_thread_start(&writer, "writer", write_some, &scene));
    MUST_OK(ftk_thread_start(&reader, "reader", read_some, &scene));
    MUST_OK(ftk_thread_start(&checkpoint, "checkpoint", checkpoint_some, &scene));
    MUST_OK(ftk_thread_start(&press, "press", press_some, &scene));
    ftk_thread_join(&writer);
    ftk_thread_join(&reader);
    ftk_thread_join(&checkpoint);
    ftk_thread_join(&press);
    ftk_schedule_explore(false);

    simdisk_hook(disk, NULL, NULL);
    look_at_all(&scene);
    bank_crash_now(&scene.crash);
    schedule_others_close(&scene.others);
    bank_crash_look(&scene.bank, &scene.crash);
    bank_abandon(&scene.bank);
}

SCHEDULE_WORLD(.name = "value", .patient = true, .prepare = prepare, .scenario = scenario)
