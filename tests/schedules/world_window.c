/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/schedules/world_window.c -- leaves changed in place, beside readers and a checkpoint.
 *
 * A writer whose commits open windows (LAZY and OS), a third of its transactions aborted; a reader;
 * checkpoints.  Readers see states that were committed, whole; what a crash leaves is such a state.
 *
 * What goes wrong here goes wrong where a window opens, is asked for or is decided, beside a pin
 * that begins.  So half of the schedules have many small transactions, and readers that come often
 * and go soon; and the writer does not go without a window after a reader has come (window.h,
 * `rest`), as if so many transactions had passed in between.
 *
 * In a third of the schedules a leaf that is to be returned meets, every other time, a page that
 * cannot be read: whoever needs it has the error and tries again, and a commit that meets it
 * commits nothing.
 */
#include <string.h>

#include "engine/txn/txn_state.h"
#include "tests/schedules/schedule_world.h"

enum {
    TRANSACTIONS = 5,
    KEYS = 8,
    SMALL_TRANSACTIONS = 16,
    SMALL_KEYS = 1,
    OLD_READERS = 16,
    STAND_STEPS = 400
};

struct scene {
    struct bank bank;
    struct ftk_random writer_random, reader_random, checkpoint_random;
    kiln_txn *old_readers[OLD_READERS];
    struct bank_crash crash;
    uint32_t transactions, keys, stand;
    uint32_t checkpoints, crash_after, reads, glances, old_reader_count;
};

static struct {
    window_copy *honest;
    struct ftk_random random;
} refusal; /* with the window's mutex */

static bool
copy_or_refuse(kiln_txn *txn, const struct window_leaf *leaf, uint64_t *absent_out)
{
    *absent_out = txn->fast->pages_max;
    return ftk_random_below(&refusal.random, 2) == 0 && refusal.honest(txn, leaf, absent_out);
}

static void
refusal_begin(struct bank *bank, struct ftk_random *random)
{
    ftk_random_seed(&refusal.random, ftk_random_next(random));
    bank->refused = ftk_random_below(random, 3) == 0;
    refusal.honest = bank->db->window.copy;
    if (bank->refused)
        bank->db->window.copy = copy_or_refuse;
}

static void
write_some(void *context)
{
    struct scene *scene = context;
    struct ftk_random *random = &scene->writer_random;

    for (unsigned i = 0; i < scene->transactions; i++) {
        atomic_store_explicit(&scene->bank.db->window.rest, 0, memory_order_relaxed);
        bank_write(&scene->bank, random, 1 + (uint32_t)ftk_random_below(random, scene->keys),
                   ftk_random_below(random, 2) == 0 ? KILN_OS : KILN_LAZY,
                   ftk_random_below(random, 3) > 0);
    }
}

static void
read_some(void *context)
{
    struct scene *scene = context;
    struct bank *bank = &scene->bank;
    kiln_txn *txn;

    for (unsigned i = 0; i < scene->reads; i++) {
        schedule_stand(&scene->reader_random, scene->stand);
        uint32_t low = bank->returned;
        MUST_OK(kiln_txn_begin(bank->db, KILN_READ, &txn));
        uint32_t state = bank_read(bank, txn, low);
        MUST(bank_read(bank, txn, low) == state, "the snapshot has moved");
        kiln_txn_abort(txn);
    }
    for (unsigned i = 0; i < scene->glances; i++) {
        schedule_stand(&scene->reader_random, scene->stand);
        uint32_t low = bank->returned;
        MUST_OK(kiln_txn_begin(bank->db, KILN_READ, &txn));
        bank_glance(bank, txn, low, &scene->reader_random);
        kiln_txn_abort(txn);
    }
}

static void
checkpoint_some(void *context)
{
    struct scene *scene = context;

    for (unsigned i = 1; i <= scene->checkpoints; i++) {
        schedule_stand(&scene->checkpoint_random, scene->stand);
        kiln_status status = kiln_checkpoint(scene->bank.db);
        if (!bank_is_refused(&scene->bank, status))
            MUST_OK(status);
        if (i == scene->crash_after)
            bank_crash_now(&scene->crash);
    }
}

/* In half of the schedules many read what was there before: their pins are looked at one by one
 * when someone wants to know what is pinned, which takes its time. */
static void
old_readers_begin(struct scene *scene)
{
    for (unsigned i = 0; i < scene->old_reader_count; i++)
        MUST_OK(kiln_txn_begin(scene->bank.db, KILN_READ, &scene->old_readers[i]));
}

static void
old_readers_end(struct scene *scene)
{
    if (scene->old_reader_count > 0)
        MUST(bank_read(&scene->bank, scene->old_readers[0], 0) == 0, "an old snapshot has moved");
    for (unsigned i = 0; i < scene->old_reader_count; i++)
        kiln_txn_abort(scene->old_readers[i]);
}

/* Few readers: windows stay open longer.  Small transactions: there are more of them. */
static void
shape_draw(struct scene *scene, struct ftk_random *random)
{
    bool small = ftk_random_below(random, 4) > 0;

    scene->transactions = small ? SMALL_TRANSACTIONS : TRANSACTIONS;
    scene->keys = small ? SMALL_KEYS : KEYS;
    scene->stand = ftk_random_below(random, 4) == 0 ? 0 : STAND_STEPS;
    switch (ftk_random_below(random, 4)) {
    case 0: scene->reads = 2; break;
    case 1: scene->glances = 8; break;
    case 2: scene->glances = 2; break;
    default: break;
    }
}

static void
scenario(struct simdisk *disk, struct ftk_random *random)
{
    static struct scene scene;
    struct ftk_thread writer, reader, checkpoint;

    memset(&scene, 0, sizeof scene);
    bank_init(&scene.bank, disk);
    scene.old_reader_count = ftk_random_below(random, 4) == 0 ? OLD_READERS : 0;
    old_readers_begin(&scene);
    ftk_random_seed(&scene.writer_random, ftk_random_next(random));
    ftk_random_seed(&scene.reader_random, ftk_random_next(random));
    ftk_random_seed(&scene.checkpoint_random, ftk_random_next(random));
    bank_write(&scene.bank, &scene.writer_random, 4 * scene.bank.shape.keys, KILN_LAZY, true);
    bank_crash_draw(&scene.crash, &scene.bank, disk, random);
    scene.checkpoints = 1 + (uint32_t)ftk_random_below(random, 9);
    shape_draw(&scene, random);
    refusal_begin(&scene.bank, random);
    /* A crash after a checkpoint, or at some step, or, if there are not so many, at the end. */
    scene.crash_after = (uint32_t)ftk_random_below(random, scene.checkpoints + 2);
    if (scene.crash_after == 0)
        scene.crash.step = simdisk_steps(disk) + 1 + ftk_random_below(random, 60);
    simdisk_hook(disk, bank_crash_at_step, &scene.crash);

    ftk_schedule_explore(true);
    MUST_OK(ftk_thread_start(&writer, "writer", write_some, &scene));
    MUST_OK(ftk_thread_start(&reader, "reader", read_some, &scene));
    MUST_OK(ftk_thread_start(&checkpoint, "checkpoint", checkpoint_some, &scene));
    ftk_thread_join(&writer);
    ftk_thread_join(&reader);
    ftk_thread_join(&checkpoint);
    ftk_schedule_explore(false);

    simdisk_hook(disk, NULL, NULL);
    old_readers_end(&scene);
    bank_crash_now(&scene.crash);
    bank_crash_look(&scene.bank, &scene.crash);
    bank_abandon(&scene.bank);
}

SCHEDULE_WORLD(.name = "window", .prepare = bank_prepare, .scenario = scenario)
