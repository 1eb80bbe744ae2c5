/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/schedules/schedule_world.h -- what every world of `make schedules` starts with.
 *
 * A world is a program: a template made once, and a scenario that is run on a clone of it under
 * thousands of schedules, each from a seed.  How to write one: tests/schedules/README.md.
 */
#ifndef TESTS_SCHEDULES_SCHEDULE_WORLD_H
#define TESTS_SCHEDULES_SCHEDULE_WORLD_H

#include "ftk/random.h"
#include "ftk/thread.h"
#include "kiln.h"
#include "tests/support/simdisk.h"

struct schedule_world {
    const char *name;
    /* Fill the disk that every schedule begins with; NULL: an empty one. */
    void (*prepare)(struct simdisk *disk);
    /* One schedule.  Not explored until ftk_schedule_explore(true); files are closed at the end. */
    void (*scenario)(struct simdisk *disk, struct ftk_random *random);
    bool patient;       /* one thread must stand long while others do I/O: ftk/schedule.h */
    bool forks;         /* each schedule in a process of its own */
    uint64_t steps_max; /* 0: the scheduler's own */
};

/* Options: --seed N, --first N, --count N, --seconds N, --trace, --twice (the same again). */
int schedule_main(const struct schedule_world *world, int argc, char **argv);

#define SCHEDULE_WORLD(...)                                                                        \
    int main(int argc, char **argv)                                                                \
    {                                                                                              \
        static const struct schedule_world world = {__VA_ARGS__};                                  \
        return schedule_main(&world, argc, argv);                                                  \
    }

/* Ends the program with words, the seed and the command that replays it. */
void schedule_fail(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4), noreturn));
#define MUST(x, ...)                                                                               \
    do {                                                                                           \
        if (!(x))                                                                                  \
            schedule_fail(__FILE__, __LINE__, __VA_ARGS__);                                        \
    } while (0)
/* A call of kiln.h, or of the library's own, that must succeed. */
#define MUST_OK(call) schedule_must_ok((ftk_status)(call), #call, __FILE__, __LINE__)
void schedule_must_ok(ftk_status status, const char *call, const char *file, int line);

/* Whoever comes beside others comes at some time of their work, up to so many steps later. */
void schedule_stand(struct ftk_random *random, uint32_t steps);

/* ---- others that fill the cache -------------------------------------------------------------- */

/*
 * The lowest cache limit is 4 MiB, and a database that fills it costs milliseconds to open and to
 * read.  So most of it is another database's: a cache beside it, whose pages are dirty or pinned
 * and of which no byte is ever touched.
 */
enum { SCHEDULE_OTHERS_LIMIT = 4 << 20 };
struct schedule_others {
    struct ftk_file *file;
    struct ftk_iobufs *bufs;
    struct cache *cache;
};
/* Below SCHEDULE_OTHERS_LIMIT they leave so many bytes, of which a writer's share is so many (see
 * cache_share). */
void schedule_others_open(struct schedule_others *others, struct simdisk *disk, uint64_t left_bytes,
                          uint64_t share_bytes);
/* They want memory, and give it back at once: what can be evicted goes.  From one thread. */
void schedule_others_press(struct schedule_others *others, uint64_t bytes);
void schedule_others_close(struct schedule_others *others);

/* ---- a database whose every state is known --------------------------------------------------- */

enum { BANK_KEYS_MAX = 144, BANK_STATES = 64 };

struct bank_shape {
    uint32_t page_bytes;
    uint32_t keys, value_bytes;
    uint32_t first_bytes; /* of the values put first: leaves are cut by these; 0: value_bytes */
    uint64_t cache_bytes;
    uint32_t step_bytes; /* each value has so many more than that of the key behind */
    bool keeps;          /* no key is ever deleted, so that leaves stay as they are */
    bool pieces; /* some values are written and read in pieces, and some are given up half way */
};
/* Sixteen keys, four to a leaf; the cache is below the size that gets huge pages. */
#define BANK_SHAPE_SMALL                                                                           \
    {                                                                                              \
        .page_bytes = 4096, .keys = 16, .value_bytes = 904, .cache_bytes = 64u << 20               \
    }

/*
 * States 0 .. newest, each made by one commit.  states[i][k] is the version that key k has, 0 when
 * the key is absent; key 0 always has version i + 1 and so tells the state.
 */
struct bank {
    uint32_t states[BANK_STATES][BANK_KEYS_MAX];
    kiln_durability promises[BANK_STATES]; /* of the commit that made it */
    uint32_t newest;                       /* made; its commit has begun */
    uint32_t returned; /* the newest whose commit returned: a reader must see it */
    uint32_t written;  /* must survive the end of the process */
    uint32_t durable;  /* must survive a power cut */
    /* Pages that cannot be read are in the way now and then (KILN_CORRUPT): a call that met one is
     * made again, a commit that did has committed nothing. */
    bool refused;
    struct bank_shape shape;
    kiln_db *db;
    kiln_coll coll;
};

/* Make the database with state 0; closed again. */
void bank_prepare_as(struct simdisk *disk, const struct bank_shape *shape);
void bank_prepare(struct simdisk *disk); /* BANK_SHAPE_SMALL */
/* Open, in state 0. */
void bank_init_as(struct bank *bank, struct simdisk *disk, const struct bank_shape *shape);
void bank_init(struct bank *bank, struct simdisk *disk); /* BANK_SHAPE_SMALL */
void bank_open(struct bank *bank, struct simdisk *disk); /* again, in the state it has */
/* The call met a page that cannot be read, and says so. */
bool bank_is_refused(const struct bank *bank, kiln_status status);
/* One write transaction that changes about `keys` keys; commit, or abort.  From any thread. */
void bank_write(struct bank *bank, struct ftk_random *random, uint32_t keys,
                kiln_durability durability, bool commit);
/* The same in two parts: the transaction is begun, then changes and ends. */
kiln_txn *bank_writer_begin(struct bank *bank, kiln_durability durability);
void bank_write_in(struct bank *bank, kiln_txn *txn, struct ftk_random *random, uint32_t keys,
                   kiln_durability durability, bool commit);
/* The state that a read transaction sees: whole, not older than `low`; what it and those before it
 * promised must survive from now on. */
uint32_t bank_read(struct bank *bank, kiln_txn *txn, uint32_t low);
/* The same, but only at some of the keys. */
uint32_t bank_glance(struct bank *bank, kiln_txn *txn, uint32_t low, struct ftk_random *random);
/* A write transaction that only reads, and commits: what it saw is promised from then on. */
uint32_t bank_write_nothing(struct bank *bank);
void bank_check(const struct bank *bank); /* kiln_check finds nothing */
void bank_close(struct bank *bank);
void bank_abandon(struct bank *bank); /* as a crash would; quick */

enum bank_crash_kind {
    BANK_KILL,  /* the process ends */
    BANK_POWER, /* a power cut; of what is not durable anything may be there */
    BANK_HARD,  /* a power cut; nothing of it is */
    BANK_CRASH_KINDS
};

/* What a crash may leave: the states in [low, high]. */
struct bank_crash {
    const struct bank *bank; /* drawn: whose, of which disk, how, and when */
    struct simdisk *running;
    enum bank_crash_kind kind;
    uint64_t seed, step;  /* of the disk; 0: at none */
    bool begun;           /* someone takes it, or has */
    struct simdisk *disk; /* NULL: not there yet */
    uint32_t low, high;
};
/* The disk as it is now, after the crash.  Only the first call counts. */
void bank_crash_take(const struct bank *bank, struct bank_crash *crash, struct simdisk *disk,
                     enum bank_crash_kind kind, uint64_t seed);
/* How it will be; the world says when: it sets the step, or calls bank_crash_now. */
void bank_crash_draw(struct bank_crash *crash, const struct bank *bank, struct simdisk *disk,
                     struct ftk_random *random);
void bank_crash_now(struct bank_crash *crash);
/* For simdisk_hook; context: struct bank_crash. */
void bank_crash_at_step(void *context, struct simdisk *disk, uint64_t step);
/* Open it, look, check, abandon, free. */
void bank_crash_look(const struct bank *bank, struct bank_crash *crash);

#endif
