/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache/checkpointer.c -- when to checkpoint, one checkpoint, and the smooth throttle.
 *
 * 1. One checkpoint at a time; its steps run without the mutex.
 * 2. A run is served by a checkpoint that began after it was asked for: tickets.  `asked` counts
 *    up; a checkpoint notes `asked` before `begin` and puts it into `served` at its end.
 * 3. The first error of a step is final: no checkpoint begins after it, throttle and run return it.
 *    A shortage of memory passes, and so does any error of `begin` but FTK_FAILED, for nothing was
 *    written: who asked for that checkpoint gets the error, and whatever it was wanted for, it is
 *    tried again when one is asked for, or after RETRY_NS; until then nothing else starts one, and
 *    the thread sleeps.
 * 4. The mutex is taken under the pool's mutex (the pressure hook); nothing that takes the pool's
 *    mutex is called under it.
 *
 * The throttle.  Let hard be the dirty bytes that must not be exceeded (7/8 of what pages may use),
 * soft a mark between the one that starts a checkpoint and hard, and x = (dirty - soft) / (hard -
 * soft).  Writers may dirty (1 - x) / x bytes per byte cleaned: any number at x = 0, as many as are
 * cleaned at x = 1/2, none at x = 1.  So a call owes
 *
 *     net bytes dirtied since the last call x  x / (1 - x)  /  cleaning rate
 *
 * of sleep.  What is owed is slept in pieces of at least DEBT_NS, since shorter sleeps are not
 * exact.  The level settles where the writers are as fast as the device; as long as the device
 * keeps up, dirty stays below soft and no one sleeps.
 */
#include "cache/checkpointer.h"

#include <string.h>

#include "cache/cache_internal.h"
#include "ftk/clock.h"
#include "ftk/mem.h"

#define DEBT_NS 200000u         /* sleeps shorter than this are saved up */
#define SLEEP_NS_MAX 100000000u /* longest sleep of one call: it comes by again */
#define RETRY_NS 100000000u     /* after an error that passes */
#define X_MAX 0.98       /* the factor is at most 49; beyond that memory itself is the limit */
#define RATE_FIRST 200e6 /* bytes/s, before anything was measured */

struct checkpointer {
    struct cache *cache;
    struct checkpointer_hooks hooks;
    const struct ftk_log *log;
    uint64_t dirty_bytes_max;
    uint64_t interval_ns;
    bool threaded;
    struct ftk_thread thread;

    struct ftk_mutex turn;  /* without thread: one checkpoint at a time */
    struct ftk_mutex mutex; /* guards what follows, down to stats */
    struct ftk_cond wake;   /* the thread: there may be something to do */
    struct ftk_cond served_more;
    uint64_t asked, served;
    uint64_t succeeded; /* tickets up to this one are served by a checkpoint that succeeded */
    uint64_t retry_ns;  /* the next one then, unless one is asked for before; 0: all went well */
    struct ftk_error passing; /* the last error that passes */
    uint64_t forced; /* tickets up to this one are to be served even when nothing changed */
    bool kicked, closing;
    struct ftk_error error; /* the first; status FTK_OK: none */
    struct checkpointer_stats stats;

    _Atomic uint32_t failed;
    _Atomic uint32_t state;        /* enum checkpointer_state */
    _Atomic uint64_t changed_ns;   /* time of the first change since the last begin; 0: none */
    _Atomic uint64_t trigger;      /* dirty bytes that start the next one */
    _Atomic uint64_t rate;         /* bytes cleaned per second, smoothed */
    _Atomic uint64_t seen_dirtied; /* net pages dirtied, as of the last throttle */
    _Atomic uint64_t debt_ns;
    _Atomic uint64_t throttle_ns, throttles;
};

static uint64_t
start_mark(struct checkpointer *self)
{
    return self->dirty_bytes_max != 0 ? self->dirty_bytes_max : cache_limit() / 2;
}

static bool
dirty_due(struct checkpointer *self)
{
    uint64_t mark = start_mark(self), trigger = atomic_load(&self->trigger);
    return cache_dirty_bytes(self->cache) >= (trigger > mark ? trigger : mark);
}

static bool
interval_due(struct checkpointer *self, uint64_t now_ns)
{
    uint64_t changed_ns = atomic_load(&self->changed_ns);
    return self->interval_ns != 0 && changed_ns != 0 && now_ns >= changed_ns &&
           now_ns - changed_ns >= self->interval_ns;
}

/* The states that may follow each one: the next step, or the end. */
static const uint8_t moves[] = {
    [CHECKPOINTER_IDLE] = 1u << CHECKPOINTER_WRITING,
    [CHECKPOINTER_WRITING] = 1u << CHECKPOINTER_SYNCING | 1u << CHECKPOINTER_IDLE,
    [CHECKPOINTER_SYNCING] = 1u << CHECKPOINTER_HEADER | 1u << CHECKPOINTER_IDLE,
    [CHECKPOINTER_HEADER] = 1u << CHECKPOINTER_IDLE,
};

/* By the one checkpoint there is. */
static void
state_set(struct checkpointer *self, enum checkpointer_state state)
{
    FTK_ASSERT((moves[atomic_load(&self->state)] >> state & 1) != 0);
    atomic_store(&self->state, (uint32_t)state);
}

/* ---- one checkpoint -------------------------------------------------------------------------- */

/* How fast the device cleans, and when to begin the next time. */
static void
learn(struct checkpointer *self, const struct cache_write_stats *written)
{
    uint64_t mark = start_mark(self), left = cache_dirty_bytes(self->cache);

    if (written->ns > 0 && written->bytes >= 1u << 20) {
        uint64_t old = atomic_load(&self->rate);
        uint64_t now = (uint64_t)((double)written->bytes * 1e9 / (double)written->ns);
        atomic_store(&self->rate, old == 0 ? now : (old + now) / 2);
    }
    /* A pass that found little to write (one long transaction has it all) would find so again. */
    atomic_store(&self->trigger, written->bytes >= mark / 8 ? 0 : left + mark / 8);
}

static ftk_status
steps(struct checkpointer *self, uint64_t limit, struct cache_write_stats *written)
{
    const struct checkpointer_hooks *hooks = &self->hooks;
    ftk_status rc = FTK_OK;

    FTK_TRY(cache_write_dirty(self->cache, limit, written));
    learn(self, written);
    if (hooks->write_more != NULL)
        FTK_TRY(hooks->write_more(hooks->context));
    state_set(self, CHECKPOINTER_SYNCING);
    FTK_TRY(hooks->sync(hooks->context));
    state_set(self, CHECKPOINTER_HEADER);
    FTK_TRY(hooks->header(hooks->context));
out:
    return rc;
}

static void
stats_add(struct checkpointer *self, const struct cache_write_stats *written, uint64_t total_ns)
{
    struct checkpointer_stats *stats = &self->stats;

    stats->checkpoints++;
    stats->bytes += written->bytes;
    stats->write_ns += written->ns;
    stats->total_ns += total_ns;
    stats->last_bytes = written->bytes;
    stats->last_write_ns = written->ns;
    stats->last_total_ns = total_ns;
}

/* Rule 3.  begun: the steps followed.  The mutex is held. */
static void
failed(struct checkpointer *self, ftk_status rc, bool begun)
{
    bool passes = ftk_error_passes(rc) || (!begun && rc != FTK_FAILED);
    struct ftk_error *error = passes ? &self->passing : &self->error;

    FTK_ASSERT(self->error.status == FTK_OK); /* no checkpoint begins after a final error */
    bool again = error->status == rc && strcmp(error->text, ftk_error_last()->text) == 0;
    *error = *ftk_error_last();
    error->status = rc;
    if (passes) {
        self->retry_ns = ftk_clock_ns() + RETRY_NS;
    } else {
        atomic_store(&self->failed, 1);
    }
    if (!again) /* the log need not have it every RETRY_NS */
        ftk_log(self->log, passes ? FTK_LOG_WARNING : FTK_LOG_ERROR, "checkpoint failed: %s: %s",
                ftk_status_text(rc), error->text);
}

/* The mutex is held, but not while the steps run. */
static void
checkpoint(struct checkpointer *self)
{
    const struct checkpointer_hooks *hooks = &self->hooks;
    struct cache_write_stats written = {0};
    uint64_t ticket = self->asked, limit = 0, start_ns = ftk_clock_ns();
    bool forced = self->forced > self->served, due = false;

    FTK_ASSERT(self->error.status == FTK_OK); /* rule 3 */
    FTK_ASSERT(self->served <= ticket && self->forced <= ticket);
    self->kicked = false;
    self->retry_ns = 0;
    ftk_mutex_unlock(&self->mutex);

    atomic_store(&self->changed_ns, 0);
    state_set(self, CHECKPOINTER_WRITING);
    ftk_status rc = hooks->begin(hooks->context, forced, &limit, &due);
    if (rc == FTK_OK && due) {
        rc = steps(self, limit, &written);
        struct ftk_error error = *ftk_error_last();
        if (hooks->end != NULL)
            hooks->end(hooks->context, rc);
        if (rc != FTK_OK)
            ftk_error_set(&error);
    } else if (rc == FTK_OK) {
        learn(self, &written);
    }
    state_set(self, CHECKPOINTER_IDLE);

    ftk_mutex_lock(&self->mutex);
    if (rc == FTK_OK && due)
        stats_add(self, &written, ftk_clock_ns() - start_ns);
    if (rc == FTK_OK) {
        self->succeeded = ticket;
        self->passing.status = FTK_OK;
    } else {
        failed(self, rc, due);
    }
    FTK_ASSERT(self->served <= ticket); /* one at a time */
    self->served = ticket;
    ftk_cond_broadcast(&self->served_more);
}

static bool
is_due(struct checkpointer *self)
{
    uint64_t now_ns;

    if (self->error.status != FTK_OK)
        return false;
    if (self->asked > self->served)
        return true;
    now_ns = ftk_clock_ns();
    if (self->retry_ns != 0)
        return now_ns >= self->retry_ns;
    return self->kicked || dirty_due(self) || interval_due(self, now_ns);
}

/* When the thread looks again by itself; 0: when it is woken. */
static uint64_t
next_look_ns(struct checkpointer *self)
{
    uint64_t changed_ns = atomic_load(&self->changed_ns);

    if (self->error.status != FTK_OK)
        return 0;
    if (self->retry_ns != 0)
        return self->retry_ns;
    return self->interval_ns != 0 && changed_ns != 0 ? changed_ns + self->interval_ns : 0;
}

static void
thread_run(void *context)
{
    struct checkpointer *self = context;

    ftk_mutex_lock(&self->mutex);
    while (!self->closing || (self->asked > self->served && self->error.status == FTK_OK)) {
        if (is_due(self)) {
            checkpoint(self);
            continue;
        }
        uint64_t look_ns = next_look_ns(self);
        if (look_ns != 0)
            (void)ftk_cond_wait_until(&self->wake, &self->mutex, look_ns);
        else
            ftk_cond_wait(&self->wake, &self->mutex);
    }
    ftk_mutex_unlock(&self->mutex);
}

/* ---- asking for one -------------------------------------------------------------------------- */

static void
pressed(void *context)
{
    checkpointer_kick(context);
}

void
checkpointer_kick(struct checkpointer *self)
{
    ftk_mutex_lock(&self->mutex);
    if (!self->kicked) {
        self->kicked = true;
        ftk_cond_signal(&self->wake);
    }
    ftk_mutex_unlock(&self->mutex);
}

/* The mutex is held. */
static ftk_status
final_error(struct checkpointer *self)
{
    if (self->error.status != FTK_OK)
        ftk_error_set(&self->error);
    return self->error.status;
}

/* Without a thread: on the caller's. */
static void
run_here(struct checkpointer *self)
{
    ftk_mutex_lock(&self->turn);
    ftk_mutex_lock(&self->mutex);
    if (self->error.status == FTK_OK)
        checkpoint(self);
    ftk_mutex_unlock(&self->mutex);
    ftk_mutex_unlock(&self->turn);
}

ftk_status
checkpointer_run(struct checkpointer *self, bool forced)
{
    ftk_mutex_lock(&self->mutex);
    uint64_t ticket = ++self->asked;
    if (forced)
        self->forced = ticket;
    if (!self->threaded) {
        ftk_mutex_unlock(&self->mutex);
        run_here(self);
        ftk_mutex_lock(&self->mutex);
    } else {
        ftk_cond_signal(&self->wake);
        while (self->served < ticket && self->error.status == FTK_OK)
            ftk_cond_wait(&self->served_more, &self->mutex);
    }
    ftk_status rc = final_error(self);
    FTK_ASSERT(rc != FTK_OK || self->served >= ticket);
    if (rc == FTK_OK && self->succeeded < ticket) {
        FTK_ASSERT(self->passing.status != FTK_OK); /* else the last one succeeded, and served it */
        ftk_error_set(&self->passing);
        rc = self->passing.status;
    }
    ftk_mutex_unlock(&self->mutex);
    return rc;
}

/* ---- the throttle ---------------------------------------------------------------------------- */

/* Net bytes made dirty since the last call, by anyone: written pages do not count against it, pages
 * that died dirty do. */
static uint64_t
newly_dirty(struct checkpointer *self)
{
    struct cache *cache = self->cache;
    uint64_t freed = atomic_load(&cache->freed_dirty);
    uint64_t net = atomic_load(&cache->dirtied) - freed;
    uint64_t seen = atomic_exchange(&self->seen_dirtied, net);
    return net > seen ? (net - seen) << cache->fast.page_shift : 0;
}

static uint64_t
owed_ns(struct checkpointer *self, uint64_t dirty, uint64_t fresh)
{
    uint64_t mark = start_mark(self), hard = cache__budget() / 8 * 7;
    uint64_t rate = atomic_load(&self->rate);

    if (mark > hard / 8 * 7)
        mark = hard / 8 * 7;
    uint64_t soft = mark + (hard - mark) / 4;
    if (soft < hard / 10 * 6)
        soft = hard / 10 * 6;
    FTK_ASSERT(soft < hard);
    if (dirty <= soft || fresh == 0)
        return 0;
    double x = (double)(dirty - soft) / (double)(hard - soft);
    if (x > X_MAX)
        x = X_MAX;
    return (uint64_t)((double)fresh * 1e9 / (rate != 0 ? (double)rate : RATE_FIRST) * x / (1 - x));
}

static void
pay(struct checkpointer *self, uint64_t owed)
{
    uint64_t debt = atomic_fetch_add(&self->debt_ns, owed) + owed;

    if (debt < DEBT_NS || !atomic_compare_exchange_strong(&self->debt_ns, &debt, 0))
        return; /* saved up, or another one pays */
    if (debt > SLEEP_NS_MAX)
        debt = SLEEP_NS_MAX;
    uint64_t start_ns = ftk_clock_ns();
    ftk_clock_sleep_ns(debt);
    atomic_fetch_add(&self->throttle_ns, ftk_clock_ns() - start_ns);
    atomic_fetch_add(&self->throttles, 1);
}

static void
note_change(struct checkpointer *self)
{
    uint64_t none = 0;

    if (self->interval_ns == 0 || atomic_load(&self->changed_ns) != 0)
        return;
    if (atomic_compare_exchange_strong(&self->changed_ns, &none, ftk_clock_ns()) &&
        self->threaded) {
        ftk_mutex_lock(&self->mutex); /* so that the thread sets its alarm */
        ftk_cond_signal(&self->wake);
        ftk_mutex_unlock(&self->mutex);
    }
}

/* Without a thread.  What passes is nothing to the caller, as if the thread had met it. */
static void
run_if_due(struct checkpointer *self)
{
    ftk_mutex_lock(&self->mutex);
    bool due = is_due(self);
    ftk_mutex_unlock(&self->mutex);
    if (due)
        (void)checkpointer_run(self, false);
}

ftk_status
checkpointer_throttle(struct checkpointer *self)
{
    ftk_status rc = FTK_OK;
    uint64_t dirty = cache_dirty_bytes(self->cache);

    note_change(self);
    if (!self->threaded)
        run_if_due(self);
    if (FTK_UNLIKELY(atomic_load(&self->failed) != 0)) {
        ftk_mutex_lock(&self->mutex);
        rc = final_error(self);
        ftk_mutex_unlock(&self->mutex);
        return rc;
    }
    if (!self->threaded)
        return FTK_OK;
    if (FTK_UNLIKELY(atomic_load(&self->state) == CHECKPOINTER_IDLE && dirty_due(self)))
        checkpointer_kick(self);
    uint64_t fresh = newly_dirty(self);
    uint64_t owed = owed_ns(self, dirty, fresh);
    if (FTK_UNLIKELY(owed > 0))
        pay(self, owed);
    return rc;
}

/* ---- open, close ----------------------------------------------------------------------------- */

ftk_status
checkpointer_open(const struct checkpointer_options *options,
                  struct checkpointer **checkpointer_out)
{
    struct checkpointer *self = NULL;
    ftk_status rc;

    *checkpointer_out = NULL;
    rc = FTK_NEW(&self);
    if (rc != FTK_OK)
        return rc;
    self->cache = options->cache;
    self->hooks = *options->hooks;
    self->log = options->log;
    self->dirty_bytes_max = options->dirty_bytes_max;
    self->interval_ns = (uint64_t)options->interval_ms * 1000000u;
    self->threaded = options->thread;
    ftk_mutex_init(&self->turn);
    ftk_mutex_init(&self->mutex);
    ftk_cond_init(&self->wake);
    ftk_cond_init(&self->served_more);
    if (self->threaded)
        rc = ftk_thread_start(&self->thread, "kiln-checkpoint", thread_run, self);
    if (rc != FTK_OK) {
        ftk_free(self);
        return rc;
    }
    cache__pressure_hook(self->cache, pressed, self);
    *checkpointer_out = self;
    return FTK_OK;
}

void
checkpointer_close(struct checkpointer *self)
{
    if (self == NULL)
        return;
    cache__pressure_hook(self->cache, NULL, NULL);
    ftk_mutex_lock(&self->mutex);
    self->closing = true;
    ftk_cond_signal(&self->wake);
    ftk_mutex_unlock(&self->mutex);
    ftk_thread_join(&self->thread);
    FTK_ASSERT(atomic_load(&self->state) == CHECKPOINTER_IDLE);
    ftk_mutex_release(&self->turn);
    ftk_mutex_release(&self->mutex);
    ftk_cond_release(&self->wake);
    ftk_cond_release(&self->served_more);
    ftk_free(self);
}

void
checkpointer_stats(struct checkpointer *self, struct checkpointer_stats *stats_out)
{
    struct cache_stats cache;

    cache_stats(self->cache, &cache);
    ftk_mutex_lock(&self->mutex);
    *stats_out = self->stats;
    ftk_mutex_unlock(&self->mutex);
    stats_out->throttle_ns = atomic_load(&self->throttle_ns);
    stats_out->throttles = atomic_load(&self->throttles);
    stats_out->state = (enum checkpointer_state)atomic_load(&self->state);
    stats_out->left_bytes = cache.write_left_bytes;
}
