/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ftk/schedule.c -- the scheduler of a test build: who goes on, time, and who is stuck.
 *
 * Threads are contexts of one thread of the operating system, so that a switch costs a fraction of
 * a microsecond and nothing but the seed decides.
 *
 * Priorities (Burckhardt, Kothari, Musuvathi, Nagarakatte: A Randomized Scheduler with
 * Probabilistic Guarantees of Finding Bugs, ASPLOS 2010): each thread gets a priority by chance,
 * the highest that is ready goes on; at d - 1 steps drawn beforehand the running thread falls below
 * all others.  A fault that needs d orderings is met with probability 1 / (n k^(d-1)) or more, for
 * n threads and k steps.
 *
 * Places: the same, but the changes are at places in the source that are drawn by chance, at every
 * second visit.  Most steps are spent in a few loops; this gives the rare places, where protocols
 * stand, the same chance as those.
 *
 * Delays: the running thread goes on until, by chance or at places drawn as above, it stands still
 * for up to 2^n steps of the others; in some schedules only some threads do.  Finds what needs one
 * thread held in a short stretch while another passes a long one.
 *
 * Meetings: delays, but mostly before a word (a mutex) that another thread touched shortly before;
 * half of them last until another thread comes to touch it, too.  Then it is by chance who is
 * first, and whether the other follows at once: protocols in which one announces and then looks go
 * wrong there (Sen: Race Directed Random Testing of Concurrent Programs, PLDI 2008).  A word is
 * known by its name in the source, since addresses differ from one process to the next.
 *
 * Patience, where a world asks for it, in half of its schedules: a thread that stands still, or has
 * fallen below all others, does not go on because the others sleep, as those do who wait for a
 * device.  Finds what needs one thread held while another does I/O from beginning to end.
 *
 * 1. A thread that yields falls below all others, and one that took STREAK_MAX steps in a row, too:
 *    who spins for another lets it go on.
 * 2. Time stands still but for FTK_SCHEDULE_STEP_NS a step.  It jumps to the next deadline when
 *    nobody is ready, or all who are ready spin; with patience also when all who are ready stand
 *    still, and up to PATIENCE_MAX times before the one that fell goes on (it may be the one that
 *    others sleep for); and now and then by chance, in half of the seeds.
 * 3. Nothing outside of the seed and of the threads themselves enters a choice: no address, no
 *    clock, no number of the operating system's.
 */
#include "ftk/schedule_internal.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "ftk/clock.h"
#include "ftk/random.h"
#include "ftk/schedule_atomics.h"

enum {
    THREADS_MAX = 64,
    CHANGES_MAX = 5,
    TOUCHES = 256,
    PATIENCE_MAX = 128,
    MEETING_STEPS = 2000, /* a thread waits so long to meet another */
    STACK_BYTES = 512 << 10,
    GUARD_BYTES = 64 << 10,
    STREAK_MAX = 20000,
    STEPS_MAX = 400000,
    JUMP_ONE_IN = 512, /* steps, in a hasty schedule */
};
static const uint64_t JUMP_NS_MAX = 1000000000;    /* of one by chance */
static const uint64_t TIME_NS_MAX = 3600000000000; /* of a schedule: nobody gets anywhere */
static const uint64_t TIME_NS_START = 1000000000;

static struct {
    struct ftk_schedule_options options;
    struct ftk_schedule_result result;
    struct ftk_random random;
    struct ftk_schedule_thread threads[THREADS_MAX];
    unsigned count;
    struct ftk_schedule_thread *self;
    ucontext_t outside;
    bool exploring, hasty, patient;
    uint32_t patience; /* so often time may pass before the one that fell goes on */
    uint32_t one_in;   /* steps (WALK, DELAYS), places (PLACES) */
    uint32_t place_seed;
    uint32_t visit_one_in; /* visits of a place that count */
    uint32_t delay_bits;   /* a delay is up to 2^this steps */
    uint64_t delayed;      /* bit per thread: may be delayed */
    bool delays_at_places;
    struct touch {
        uint64_t step;
        unsigned thread;
    } touches[TOUCHES];               /* by the hash of a name: who touched such a word last */
    struct ftk_schedule_thread *next; /* after this step; NULL: whoever */
    uint32_t met_bits;                /* within 2^this steps */
    uint32_t met_one_in;              /* such steps */
    uint64_t changes[CHANGES_MAX];
    unsigned change_count;
    int64_t lowest; /* the next priority below all */
    uint64_t steps, streak, now_ns;
} run;

/* Stacks stay from one schedule to the next: their pages are there already. */
static uint8_t *stacks[THREADS_MAX];

/* ---- what the primitives see ----------------------------------------------------------------- */

struct ftk_schedule_thread *
ftk__schedule_self(void)
{
    return run.self;
}

struct ftk_random *
ftk__schedule_random(void)
{
    return &run.random;
}

void
ftk_schedule_at(struct ftk_site *site)
{
    if (run.self != NULL)
        run.self->site = site;
}

void
ftk_schedule_point(struct ftk_site *site)
{
    if (run.self == NULL)
        return;
    run.self->site = site;
    ftk__schedule_step();
}

void
ftk_schedule_explore(bool on)
{
    run.exploring = on;
}

/* ---- reports --------------------------------------------------------------------------------- */

static const char *
state_text(const struct ftk_schedule_thread *thread)
{
    switch (thread->state) {
    case FTK_SCHEDULE_READY: return thread->spins ? "spins" : "is ready";
    case FTK_SCHEDULE_LOCKING: return "waits for a mutex";
    case FTK_SCHEDULE_WAITING: return "waits for a condition";
    case FTK_SCHEDULE_SLEEPING: return "sleeps";
    case FTK_SCHEDULE_JOINING: return "joins a thread";
    default: return "has ended";
    }
}

static void
site_print(const struct ftk_site *site)
{
    if (site != NULL)
        fprintf(stderr, " at %s:%u, %s", site->file, site->line, site->what);
}

void
ftk_schedule_report(void)
{
    for (unsigned i = 0; i < run.count; i++) {
        const struct ftk_schedule_thread *thread = &run.threads[i];
        if (thread->state == FTK_SCHEDULE_ENDED)
            continue;
        fprintf(stderr, "schedule:   thread %u (%s) %s", i, thread->name, state_text(thread));
        site_print(thread->site);
        if (thread->state == FTK_SCHEDULE_LOCKING) {
            const struct ftk_mutex *mutex = thread->object;
            if (mutex->owner != NULL) {
                fprintf(stderr, "; thread %u has it", mutex->owner->number);
                site_print(mutex->site);
            }
        }
        if (thread->deadline_ns != UINT64_MAX)
            fprintf(stderr, "; until %" PRIu64 " us from now",
                    (thread->deadline_ns - run.now_ns) / 1000);
        fprintf(stderr, "\n");
    }
}

void
ftk__schedule_stuck(const char *what)
{
    fprintf(stderr, "schedule: %s after %" PRIu64 " steps, seed %" PRIu64 "\n", what, run.steps,
            run.options.seed);
    ftk_schedule_report();
    fflush(stderr);
    run.self = NULL;
    abort();
}

/* ---- time ------------------------------------------------------------------------------------ */

static void
time_set(uint64_t now_ns)
{
    if (now_ns > run.now_ns)
        run.now_ns = now_ns;
    if (run.now_ns > TIME_NS_START + TIME_NS_MAX)
        ftk__schedule_stuck("nobody got anywhere for an hour (of the schedule's time),");
    for (unsigned i = 0; i < run.count; i++) {
        struct ftk_schedule_thread *thread = &run.threads[i];
        if (thread->deadline_ns > run.now_ns || thread->state == FTK_SCHEDULE_READY ||
            thread->state == FTK_SCHEDULE_ENDED)
            continue;
        if (thread->state == FTK_SCHEDULE_WAITING) {
            struct ftk_cond *cond = (struct ftk_cond *)(uintptr_t)thread->object;
            cond->waiters--;
        }
        thread->in_time = false;
        thread->deadline_ns = UINT64_MAX;
        thread->state = FTK_SCHEDULE_READY;
    }
}

/* Of all deadlines the first; UINT64_MAX when there is none. */
static uint64_t
deadline_next(void)
{
    uint64_t next = UINT64_MAX;

    for (unsigned i = 0; i < run.count; i++)
        if (run.threads[i].deadline_ns < next)
            next = run.threads[i].deadline_ns;
    return next;
}

static uint64_t
clock_monotonic(void *context)
{
    (void)context;
    return run.now_ns;
}

static uint64_t
clock_wall(void *context)
{
    (void)context;
    return UINT64_C(1500000000000000000) + run.now_ns;
}

static void
clock_sleep(void *context, uint64_t ns)
{
    (void)context;
    if (run.self != NULL)
        ftk__schedule_block(FTK_SCHEDULE_SLEEPING, NULL, run.now_ns + ns);
}

/* ---- who goes on ----------------------------------------------------------------------------- */

struct ready {
    struct ftk_schedule_thread *threads[THREADS_MAX];
    unsigned count, spinning;
};

static void
ready_find(struct ready *ready)
{
    ready->count = ready->spinning = 0;
    for (unsigned i = 0; i < run.count; i++) {
        struct ftk_schedule_thread *thread = &run.threads[i];
        if (thread->state != FTK_SCHEDULE_READY)
            continue;
        ready->threads[ready->count++] = thread;
        ready->spinning += thread->spins;
    }
}

/* Someone is ready and does not spin, if time can bring that about. */
static void
ready_wait(struct ready *ready)
{
    for (;;) {
        ready_find(ready);
        if (ready->spinning < ready->count)
            return;
        uint64_t next = deadline_next();
        if (next == UINT64_MAX) {
            if (ready->count == 0)
                ftk__schedule_stuck("deadlock");
            return; /* they spin for each other, or for ever: the number of steps tells */
        }
        time_set(next);
    }
}

static struct ftk_schedule_thread *
by_chance(const struct ready *ready)
{
    return ready->threads[ftk_random_below(&run.random, ready->count)];
}

static uint32_t
mix(uint32_t hash)
{
    hash = (hash ^ hash >> 16) * 0x7feb352du;
    hash = (hash ^ hash >> 15) * 0x846ca68bu;
    return hash ^ hash >> 16;
}

static void
site_know(struct ftk_site *site)
{
    uint32_t hash = site->line, word = 0;

    if (site->hash != 0)
        return;
    for (const char *at = site->file; *at != 0; at++)
        hash = mix(hash ^ (uint8_t)*at);
    for (const char *at = site->what; *at != 0; at++)
        word = isalnum((unsigned char)*at) || *at == '_' ? mix(word ^ (uint8_t)*at) : 0;
    site->hash = hash | 1;
    site->word = word;
}

/* The thread stands at one of the places drawn, and this visit counts. */
static bool
at_place(const struct ftk_schedule_thread *self)
{
    return self->site != NULL && mix(self->site->hash ^ run.place_seed) % run.one_in == 0 &&
           ftk_random_below(&run.random, run.visit_one_in) == 0;
}

/* A change of priorities is due at this step. */
static bool
change_due(const struct ftk_schedule_thread *self)
{
    if (run.options.kind == FTK_SCHEDULE_PLACES)
        return at_place(self);
    for (unsigned i = 0; i < run.change_count; i++)
        if (run.changes[i] == run.result.steps)
            return true;
    return false;
}

/* Another thread has touched a word of this name in the last steps.  Remembers that self does. */
static bool
meets(const struct ftk_schedule_thread *self)
{
    struct touch *touch;
    bool met;

    if (self->site == NULL)
        return false;
    touch = &run.touches[self->site->word % TOUCHES];
    met = touch->step > 0 && touch->thread != self->number &&
          run.steps - touch->step < UINT64_C(1) << run.met_bits;
    *touch = (struct touch){run.steps, self->number};
    return met;
}

static bool
delay_due(const struct ftk_schedule_thread *self)
{
    if (run.options.kind == FTK_SCHEDULE_MEETINGS) {
        uint32_t one_in = meets(self) ? run.met_one_in : run.met_one_in << 7;
        return ftk_random_below(&run.random, one_in) == 0;
    }
    if ((run.delayed >> self->number % 64 & 1) == 0)
        return false;
    return run.delays_at_places ? at_place(self) : ftk_random_below(&run.random, run.one_in) == 0;
}

/* A step before which a thread that stands still now goes on. */
static uint64_t
delay_end(void)
{
    uint64_t most = UINT64_C(1) << (1 + ftk_random_below(&run.random, run.delay_bits));

    return run.steps + 1 + ftk_random_below(&run.random, most);
}

/* Until the next of those who sleep may go on.  False: that is far away, or nobody sleeps. */
static bool
time_passes(void)
{
    uint64_t next = deadline_next();

    if (next >= run.now_ns + JUMP_NS_MAX)
        return false;
    time_set(next);
    return true;
}

static struct ftk_schedule_thread *
highest(const struct ready *ready)
{
    struct ftk_schedule_thread *best = ready->threads[0];

    for (unsigned i = 1; i < ready->count; i++)
        if (ready->threads[i]->priority > best->priority)
            best = ready->threads[i];
    return best;
}

/* The same; but one that has fallen goes on only when nobody else will soon. */
static struct ftk_schedule_thread *
highest_soon(struct ready *ready)
{
    struct ftk_schedule_thread *best = highest(ready);

    while (best->priority <= 0 && run.patience > 0 && time_passes()) {
        run.patience--;
        ready_find(ready);
        best = highest(ready);
    }
    return best;
}

/* In the order of their numbers, for the parts of a schedule that are not explored. */
static struct ftk_schedule_thread *
in_turn(const struct ready *ready, const struct ftk_schedule_thread *self)
{
    for (unsigned i = 0; i < ready->count; i++)
        if (ready->threads[i]->number > self->number)
            return ready->threads[i];
    return ready->threads[0];
}

/* The one that waits to meet another where self stands; NULL: none does. */
static struct ftk_schedule_thread *
met_by(const struct ftk_schedule_thread *self, const struct ready *ready)
{
    for (unsigned i = 0; i < ready->count; i++) {
        struct ftk_schedule_thread *thread = ready->threads[i];
        if (thread != self && thread->meets && thread->still_until > run.steps &&
            thread->site->word == self->site->word)
            return thread;
    }
    return NULL;
}

/* Two threads stand before the same word.  By chance: who goes first, and whether the other is next
 * right after its step. */
static struct ftk_schedule_thread *
choose_first(struct ftk_schedule_thread *self, struct ftk_schedule_thread *met)
{
    if (ftk_random_below(&run.random, 2) == 0)
        return self; /* the other waits on: not every visit of a word is the one that matters */

    bool goes = ftk_random_below(&run.random, 2) == 0;
    struct ftk_schedule_thread *first = goes ? self : met, *second = goes ? met : self;

    first->meets = second->meets = false;
    first->still_until = 0;
    second->still_until = delay_end();
    run.next = ftk_random_below(&run.random, 2) == 0 ? second : NULL;
    return first;
}

static void
moving_find(const struct ready *ready, const struct ftk_schedule_thread *without,
            struct ready *moving)
{
    moving->count = 0;
    for (unsigned i = 0; i < ready->count; i++) {
        struct ftk_schedule_thread *thread = ready->threads[i];
        if (thread->still_until <= run.steps && thread != without)
            moving->threads[moving->count++] = thread;
    }
}

/* Those that do not stand still; or, if all do, the one whose delay ends first. */
static struct ftk_schedule_thread *
choose_delayed(struct ftk_schedule_thread *self, struct ready *ready, bool stays)
{
    struct ready moving = {.count = 0};
    struct ftk_schedule_thread *first = ready->threads[0], *met = run.next;

    run.next = NULL;
    if (met != NULL) { /* self has taken its step */
        met->still_until = 0;
        if (stays)
            self->still_until = delay_end();
    } else if (stays && run.options.kind == FTK_SCHEDULE_MEETINGS && self->site != NULL &&
               (met = met_by(self, ready)) != NULL) {
        return choose_first(self, met);
    } else if (stays && delay_due(self)) {
        self->meets =
            run.options.kind == FTK_SCHEDULE_MEETINGS && ftk_random_below(&run.random, 2) == 0;
        self->still_until = self->meets ? run.steps + MEETING_STEPS : delay_end();
    }
    if (stays && self->still_until <= run.steps)
        return self;
    moving_find(ready, stays ? NULL : self, &moving);
    while (moving.count == 0 && run.patient && time_passes()) {
        ready_find(ready);
        moving_find(ready, NULL, &moving);
    }
    if (moving.count > 0)
        return by_chance(&moving);
    for (unsigned i = 0; i < ready->count; i++)
        if (ready->threads[i]->still_until < first->still_until)
            first = ready->threads[i];
    return first;
}

static struct ftk_schedule_thread *
choose(struct ftk_schedule_thread *self, bool yields)
{
    struct ready ready;
    bool stays = self->state == FTK_SCHEDULE_READY && !yields;

    if (run.exploring && run.hasty && ftk_random_below(&run.random, JUMP_ONE_IN) == 0) {
        uint64_t next = deadline_next();
        if (next != UINT64_MAX && next < run.now_ns + JUMP_NS_MAX)
            time_set(next);
    }
    ready_wait(&ready);
    if (!run.exploring || run.options.kind == FTK_SCHEDULE_IN_TURN)
        return stays ? self : in_turn(&ready, self);
    if (run.options.kind == FTK_SCHEDULE_WALK) {
        if (stays && ftk_random_below(&run.random, run.one_in) != 0)
            return self;
        struct ftk_schedule_thread *next = by_chance(&ready);
        return next == self && yields ? in_turn(&ready, self) : next;
    }
    if (run.options.kind == FTK_SCHEDULE_DELAYS || run.options.kind == FTK_SCHEDULE_MEETINGS)
        return choose_delayed(self, &ready, stays);
    if (yields || run.streak > STREAK_MAX || change_due(self)) {
        self->priority = run.lowest--;
        run.streak = 0;
        if (run.patient && !yields)
            run.patience = PATIENCE_MAX >> ftk_random_below(&run.random, 8);
    }
    return highest_soon(&ready);
}

static void
trace(const struct ftk_schedule_thread *thread)
{
    fprintf(stderr, "%8" PRIu64 " %-12s", run.steps, thread->name);
    site_print(thread->site);
    fprintf(stderr, "\n");
}

static void
go_on(struct ftk_schedule_thread *next)
{
    struct ftk_schedule_thread *self = run.self;

    run.streak = next == self ? run.streak + 1 : 0;
    if (next == self)
        return;
    run.result.switches += run.exploring;
    self->error = *ftk_error_last();
    ftk_error_set(&next->error);
    run.self = next;
    int err = swapcontext(&self->context, &next->context);
    FTK_ASSERT(err == 0);
}

static void
count_step(void)
{
    struct ftk_schedule_thread *self = run.self;
    uint64_t line = self->site != NULL ? self->site->line : 0;

    if (self->site != NULL)
        site_know(self->site);

    run.steps++;
    run.result.steps += run.exploring;
    run.result.trace_sum =
        (run.result.trace_sum ^ (line << 8 | self->number)) * UINT64_C(0x9e3779b97f4a7c15);
    run.result.trace_sum ^= run.result.trace_sum >> 29;
    if (run.options.trace)
        trace(self);
    if (run.steps > run.options.steps_max)
        ftk__schedule_stuck("livelock: no end");
    time_set(run.now_ns + FTK_SCHEDULE_STEP_NS);
}

void
ftk__schedule_step(void)
{
    count_step();
    run.self->spins = false;
    go_on(choose(run.self, false));
}

void
ftk__schedule_yield(void)
{
    count_step();
    run.self->spins = true;
    go_on(choose(run.self, true));
}

void
ftk__schedule_block(enum ftk_schedule_state state, const void *object, uint64_t deadline_ns)
{
    struct ftk_schedule_thread *self = run.self;

    count_step();
    self->spins = false;
    self->state = state;
    self->object = object;
    self->deadline_ns = deadline_ns;
    self->in_time = true;
    go_on(choose(self, false));
}

void
ftk__schedule_wake(enum ftk_schedule_state state, const void *object, unsigned most)
{
    struct ready waiting = {.count = 0};

    for (unsigned i = 0; i < run.count; i++)
        if (run.threads[i].state == state && run.threads[i].object == object)
            waiting.threads[waiting.count++] = &run.threads[i];
    for (; waiting.count > 0 && most > 0; most--) {
        unsigned which =
            most >= waiting.count ? 0 : (unsigned)ftk_random_below(&run.random, waiting.count);
        waiting.threads[which]->state = FTK_SCHEDULE_READY;
        waiting.threads[which]->deadline_ns = UINT64_MAX;
        waiting.threads[which] = waiting.threads[--waiting.count];
    }
}

/* ---- threads --------------------------------------------------------------------------------- */

static void
thread_main(void)
{
    struct ftk_schedule_thread *self = run.self;

    self->run(self->argument);
    self = run.self;
    ftk__schedule_wake(FTK_SCHEDULE_JOINING, self, UINT32_MAX);
    self->state = FTK_SCHEDULE_ENDED;
    if (self->number > 0) {
        count_step();
        go_on(choose(self, false));
    }
    setcontext(&run.outside);
    abort(); /* not reached */
}

static void *
stack_of(unsigned number)
{
    if (stacks[number] == NULL) {
        void *memory = mmap(NULL, GUARD_BYTES + STACK_BYTES, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK | MAP_NORESERVE, -1, 0);
        FTK_ASSERT(memory != MAP_FAILED);
        int err = mprotect(memory, GUARD_BYTES, PROT_NONE);
        FTK_ASSERT(err == 0);
        stacks[number] = memory;
    }
    return stacks[number] + GUARD_BYTES;
}

struct ftk_schedule_thread *
ftk__schedule_new(const char *name, void (*body)(void *), void *argument)
{
    FTK_ASSERT(run.count < THREADS_MAX);
    struct ftk_schedule_thread *thread = &run.threads[run.count];

    memset(thread, 0, sizeof(*thread));
    thread->number = run.count;
    strncpy(thread->name, name, sizeof(thread->name) - 1);
    thread->run = body;
    thread->argument = argument;
    thread->deadline_ns = UINT64_MAX;
    thread->priority = (int64_t)(ftk_random_next(&run.random) >> 2) + 1;
    int err = getcontext(&thread->context);
    FTK_ASSERT(err == 0);
    thread->context.uc_stack.ss_sp = stack_of(run.count);
    thread->context.uc_stack.ss_size = STACK_BYTES;
    makecontext(&thread->context, thread_main, 0);
    run.count++;
    return thread;
}

/* ---- a schedule ------------------------------------------------------------------------------ */

static void
plan(void)
{
    uint64_t expected = run.options.steps_expected > 0 ? run.options.steps_expected : 1000;
    uint64_t draw = ftk_random_next(&run.random);

    static const enum ftk_schedule_kind kinds[] = {
        FTK_SCHEDULE_PRIORITIES, FTK_SCHEDULE_DELAYS,   FTK_SCHEDULE_WALK,
        FTK_SCHEDULE_WALK,       FTK_SCHEDULE_PLACES,   FTK_SCHEDULE_PLACES,
        FTK_SCHEDULE_MEETINGS,   FTK_SCHEDULE_MEETINGS, FTK_SCHEDULE_MEETINGS,
        FTK_SCHEDULE_MEETINGS, /* each finds some faults best */
    };
    if (run.options.kind == FTK_SCHEDULE_BY_SEED)
        run.options.kind = kinds[draw % (sizeof(kinds) / sizeof(kinds[0]))];
    run.hasty = (draw >> 8) % 2 == 0;
    run.patient = run.options.patient && (draw >> 56) % 2 == 0;
    run.one_in = UINT32_C(4) << (draw >> 16) % 5;
    run.delay_bits = (run.patient ? 5 : 3) + (uint32_t)((draw >> 32) % 8);
    run.place_seed = (uint32_t)ftk_random_next(&run.random);
    run.visit_one_in = UINT32_C(1) << (1 + ftk_random_below(&run.random, 5));
    run.met_bits = 4 + (uint32_t)ftk_random_below(&run.random, 8);
    run.met_one_in = UINT32_C(1) << ftk_random_below(&run.random, 3);
    run.delays_at_places = (draw >> 40) % 2 == 0;
    run.delayed = ftk_random_next(&run.random) & ftk_random_next(&run.random);
    if ((draw >> 48) % 2 == 0)
        run.delayed = UINT64_MAX;
    run.change_count = 1 + (unsigned)((draw >> 24) % CHANGES_MAX);
    for (unsigned i = 0; i < run.change_count; i++)
        run.changes[i] = 1 + ftk_random_below(&run.random, expected);
}

void
ftk_schedule_run(const struct ftk_schedule_options *options, void (*body)(void *context),
                 void *context, struct ftk_schedule_result *result_out)
{
    static const struct ftk_clock_ops clock = {clock_monotonic, clock_wall, clock_sleep};

    FTK_ASSERT(run.self == NULL);
    memset(&run, 0, sizeof(run));
    run.options = *options;
    if (run.options.steps_max == 0)
        run.options.steps_max = STEPS_MAX;
    ftk_random_seed(&run.random, options->seed);
    run.now_ns = TIME_NS_START;
    plan();
    ftk_clock_use(&clock, NULL);
    run.self = ftk__schedule_new("main", body, context);
    int err = swapcontext(&run.outside, &run.self->context);
    FTK_ASSERT(err == 0);

    for (unsigned i = 1; i < run.count; i++)
        if (run.threads[i].state != FTK_SCHEDULE_ENDED || !run.threads[i].joined)
            ftk__schedule_stuck("a thread was never joined,");
    ftk__schedule_memory_end();
    run.self = NULL;
    ftk_clock_use(NULL, NULL);
    *result_out = run.result;
}
