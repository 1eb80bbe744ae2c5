/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/test_cache_states.c -- what a page's state allows while I/O of it is under way: nobody
 * waits inside an epoch, no write of a former life harms the next one, and nobody sees a page that
 * was not verified.  The disk holds asynchronous I/O until the test lets it go.
 */
#include "cache/cache_internal.h"
#include "tests/unit/test_cache_fixture.h"

#define PAGES 2048u
#define HELD_MAX 256

/* ---- a disk with a gate ---------------------------------------------------------------------- */

static struct {
    struct ftk_mutex mutex;
    struct ftk_disk_ops ops;
    struct ftk_disk disk;
    bool shut, fails;
    struct ftk_io *ios[HELD_MAX];
    unsigned count;
} gate;

static void
gate_do(struct ftk_io *io)
{
    if (gate.fails)
        io->status = FTK_FAIL_OS(FTK_IO, 5, "the test says so");
    else
        io->status = io->op == FTK_IO_READ
                         ? ftk_file_read(io->file, io->memory, io->size, io->offset)
                         : ftk_file_write(io->file, io->memory, io->size, io->offset);
    io->done(io);
}

static ftk_status
gate_aio_open(struct ftk_disk *disk, enum ftk_aio_kind kind, unsigned depth,
              struct ftk_aio **aio_out)
{
    static struct ftk_aio aio;
    (void)kind;
    (void)depth;
    aio = (struct ftk_aio){.disk = disk, .name = "gate"};
    *aio_out = &aio;
    return FTK_OK;
}

static void
gate_aio_close(struct ftk_aio *aio)
{
    (void)aio;
    CHECK_EQ(gate.count, 0);
}

static void
gate_aio_submit(struct ftk_aio *aio, struct ftk_io **ios, size_t count)
{
    (void)aio;
    for (size_t i = 0; i < count; i++) {
        ftk_mutex_lock(&gate.mutex);
        bool shut = gate.shut;
        if (shut) {
            FTK_ASSERT(gate.count < HELD_MAX);
            gate.ios[gate.count++] = ios[i];
        }
        ftk_mutex_unlock(&gate.mutex);
        if (!shut)
            gate_do(ios[i]);
    }
}

static unsigned
gate_held(void)
{
    ftk_mutex_lock(&gate.mutex);
    unsigned count = gate.count;
    ftk_mutex_unlock(&gate.mutex);
    return count;
}

/* Those held end, in the order of their coming; shut: later ones are held again. */
static void
gate_pass(bool shut)
{
    struct ftk_io *ios[HELD_MAX];
    unsigned count;

    ftk_mutex_lock(&gate.mutex);
    gate.shut = shut;
    count = gate.count;
    memcpy(ios, gate.ios, sizeof ios);
    gate.count = 0;
    ftk_mutex_unlock(&gate.mutex);
    for (unsigned i = 0; i < count; i++)
        gate_do(ios[i]);
}

/* A fixture whose I/O comes to the gate, which is open. */
static void
open_gated(struct fixture *f, const char *name)
{
    gate.ops = *ftk_disk_native()->ops;
    gate.ops.aio_open = gate_aio_open;
    gate.ops.aio_close = gate_aio_close;
    gate.ops.aio_submit = gate_aio_submit;
    gate.disk.ops = &gate.ops;
    gate.shut = gate.fails = false;
    gate.count = 0;
    ftk_mutex_init(&gate.mutex);
    fixture_open_on(f, &gate.disk, test_path(name), PAGES);
}

static void
close_checked(struct fixture *f)
{
    cache__check(f->cache);
    fixture_close(f);
    ftk_mutex_release(&gate.mutex);
}

#define UNTIL(x)                                                                                   \
    do {                                                                                           \
        uint64_t until_ns = ftk_clock_ns() + UINT64_C(60) * 1000000000;                            \
        while (!(x) && ftk_clock_ns() < until_ns)                                                  \
            ftk_clock_sleep_ns(200000);                                                            \
        REQUIRE(x);                                                                                \
    } while (0)

#define KIND(f, id) (fixture_state((f), (id)) & CACHE_STATE_MASK)

/* ---- a thread that does one thing ------------------------------------------------------------ */

struct helper {
    struct ftk_thread thread;
    struct fixture *f;
    uint64_t id;
    struct cache_run run;
    ftk_status status;
    _Atomic bool done;
};

static void
write_pass(void *context)
{
    struct helper *h = context;
    h->status = cache_write_dirty(h->f->cache, UINT64_MAX, NULL);
    atomic_store(&h->done, true);
}

static void
reserve(void *context)
{
    struct helper *h = context;
    h->status = cache_reserve(h->f->cache, 4);
    atomic_store(&h->done, true);
}

static void
fetch_run(void *context)
{
    struct helper *h = context;
    h->status = cache_fetch_run(h->f->cache, &h->run);
    atomic_store(&h->done, true);
}

static void
start(struct helper *h, void (*run)(void *context))
{
    atomic_store(&h->done, false);
    REQUIRE_OK(ftk_thread_start(&h->thread, "helper", run, h));
}

/* A next life, inside an epoch, as a writer begins it. */
static void
live_again(struct fixture *f, uint64_t id, uint64_t version)
{
    struct cache_slot *slot;

    REQUIRE_OK(cache_slot_take(f->cache, &slot));
    cache_enter(f->fast, slot);
    fixture_make(f, id, version, 1);
    cache_leave(slot);
    cache_slot_give(slot);
}

static void
expect_version(struct fixture *f, uint64_t id, uint64_t version)
{
    REQUIRE_OK(cache_fetch(f->cache, id, 0));
    CHECK(page_is(fixture_page(f, id), id));
    CHECK_EQ(fixture_page(f, id)->version, version);
    cache_unpin(f->fast, id);
}

/* ---- writes ---------------------------------------------------------------------------------- */

static void
a_next_life_begins_while_the_last_one_is_written(void)
{
    struct fixture f;
    struct helper pass = {.f = &f};

    open_gated(&f, "data");
    REQUIRE_OK(cache_reserve(f.cache, 64));
    for (uint64_t id = 10; id < 14; id++)
        fixture_make(&f, id, 1, 1);
    gate.shut = true;
    start(&pass, write_pass);
    UNTIL(gate_held() == 1);
    CHECK_EQ(fixture_state(&f, 11) & (CACHE_WRITING | CACHE_DIRTY), CACHE_WRITING);
    cache_free(f.cache, 11);
    live_again(&f, 11, 2); /* returns, although nothing has ended */
    CHECK_EQ(fixture_state(&f, 11) & (CACHE_WRITING | CACHE_DIRTY), CACHE_WRITING | CACHE_DIRTY);
    cache_free(f.cache, 12); /* and one more, which dies again */
    live_again(&f, 12, 2);
    cache_free(f.cache, 12);
    CHECK(!atomic_load(&pass.done));
    gate_pass(false);
    ftk_thread_join(&pass.thread);
    CHECK_OK(pass.status);
    CHECK_EQ(cache_dirty_bytes(f.cache), PAGE_BYTES);
    CHECK(cache_is_dirty(f.fast, 11));
    REQUIRE_OK(cache_write_dirty(f.cache, 1, NULL));
    CHECK_EQ(cache_dirty_bytes(f.cache), 0);
    cache_unreserve(f.cache);
    close_checked(&f);

    open_gated(&f, "data");
    expect_version(&f, 10, 1);
    expect_version(&f, 11, 2);
    close_checked(&f);
}

static void
a_failed_write_makes_dirty_again_what_is_alive(void)
{
    struct fixture f;
    struct helper pass = {.f = &f};

    open_gated(&f, "data");
    REQUIRE_OK(cache_reserve(f.cache, 64));
    for (uint64_t id = 0; id < 5; id++)
        fixture_make(&f, id, 1, 1);
    gate.shut = true;
    start(&pass, write_pass);
    UNTIL(gate_held() == 1);
    cache_free(f.cache, 1);
    cache_free(f.cache, 2);
    live_again(&f, 2, 2);
    cache_free(f.cache, 3);
    cache_new(f.cache, 3); /* and not dirty yet */
    gate.fails = true;
    gate_pass(false);
    ftk_thread_join(&pass.thread);
    CHECK_STATUS(pass.status, FTK_IO);
    gate.fails = false;
    CHECK(cache_is_dirty(f.fast, 0) && cache_is_dirty(f.fast, 2) && cache_is_dirty(f.fast, 4));
    CHECK(!cache_is_dirty(f.fast, 1) && !cache_is_dirty(f.fast, 3));
    CHECK_EQ(KIND(&f, 3), CACHE_FRESH);
    CHECK_EQ(cache_dirty_bytes(f.cache), 3 * PAGE_BYTES);
    cache_free(f.cache, 3);
    cache__check(f.cache);
    REQUIRE_OK(cache_write_dirty(f.cache, 1, NULL));
    CHECK_EQ(cache_dirty_bytes(f.cache), 0);
    cache_unreserve(f.cache);
    close_checked(&f);
    open_gated(&f, "data");
    expect_version(&f, 2, 2);
    expect_version(&f, 4, 1);
    close_checked(&f);
}

static struct fixture *freeing;

static bool
seal_and_free(void *context, uint64_t page_id, void *memory, uint64_t limit)
{
    bool sealed = fixture_seal(context, page_id, memory, limit);

    if (page_id == 5)
        cache_free(freeing->cache, page_id);
    return sealed;
}

static void
a_page_freed_while_it_is_sealed_is_not_written(void)
{
    struct fixture f;
    struct cache_write_stats written;

    open_gated(&f, "data");
    freeing = &f;
    f.cache->seal = seal_and_free;
    REQUIRE_OK(cache_reserve(f.cache, 16));
    for (uint64_t id = 4; id < 8; id++)
        fixture_make(&f, id, 1, 1);
    REQUIRE_OK(cache_write_dirty(f.cache, 1, &written));
    CHECK_EQ(written.pages, 3);
    CHECK_EQ(fixture_state(&f, 5) & (CACHE_FREE | CACHE_DIRTY | CACHE_SEALING | CACHE_WRITING),
             CACHE_FREE);
    CHECK_EQ(cache_dirty_bytes(f.cache), 0);
    cache_unreserve(f.cache);
    close_checked(&f);
}

/* However few buffers there are: what is WRITING is with the device. */
static void
the_pass_holds_no_page_while_it_waits_for_a_buffer(void)
{
    struct fixture f;
    struct helper pass = {.f = &f};
    struct ftk_iobufs_options io = FTK_IOBUFS_OPTIONS_INIT;
    unsigned runs = 0;

    REQUIRE_OK(cache_limit_set(64 * MIB));
    open_gated(&f, "data");
    struct ftk_iobufs *own = f.cache->bufs;
    io.disk = &gate.disk;
    io.count = 3;
    REQUIRE_OK(ftk_iobufs_open(&io, &f.cache->bufs));
    REQUIRE_OK(cache_reserve(f.cache, 1000));
    for (uint64_t id = 0; id < 900; id++)
        if (id % 5 != 4) /* runs of four */
            fixture_make(&f, id, 1, 1);
    cache_unreserve(f.cache);
    gate.shut = true;
    start(&pass, write_pass);
    for (; runs < 30; runs++) {
        unsigned writing = 0;
        UNTIL(gate_held() == 3);
        struct ftk_iobufs_stats stats;
        do /* it waits for a fourth one */
            ftk_iobufs_stats(f.cache->bufs, &stats);
        while (stats.waiting == 0);
        for (uint64_t id = 0; id < 900; id++)
            writing += (fixture_state(&f, id) & (CACHE_WRITING | CACHE_SEALING)) != 0;
        CHECK_EQ(writing, 12);
        gate_pass(true);
    }
    gate_pass(false);
    ftk_thread_join(&pass.thread);
    CHECK_OK(pass.status);
    CHECK_EQ(cache_dirty_bytes(f.cache), 0);
    ftk_iobufs_close(f.cache->bufs);
    f.cache->bufs = own;
    close_checked(&f);
}

/* ---- the circle: pass, evictor, writer ------------------------------------------------------- */

static struct {
    struct fixture f;
    _Atomic bool in_seal, in_new, done;
} circle;

static bool
seal_slowly(void *context, uint64_t page_id, void *memory, uint64_t limit)
{
    bool sealed = fixture_seal(context, page_id, memory, limit);

    if (page_id == 20 && !atomic_exchange(&circle.in_seal, true))
        for (uint64_t until_ns = ftk_clock_ns() + 60000000000u;
             !atomic_load(&circle.in_new) && ftk_clock_ns() < until_ns;)
            ftk_thread_yield();
    return sealed;
}

static void
lower_the_limit(void *context)
{
    struct helper *h = context;
    h->status = cache_limit_set(4 * MIB);
    atomic_store(&h->done, true);
}

static void
replace_in_an_epoch(void *context)
{
    struct helper *h = context;
    struct cache_slot *slot;

    h->status = cache_slot_take(h->f->cache, &slot);
    cache_free(h->f->cache, h->id);
    cache_enter(h->f->fast, slot);
    atomic_store(&circle.in_new, true);
    cache_new(h->f->cache, h->id);
    page_fill(fixture_page(h->f, h->id), h->id, 3, 1);
    cache_dirty(h->f->cache, h->f->fast, h->id);
    cache_leave(slot);
    cache_slot_give(slot);
    atomic_store(&h->done, true);
}

/* The limit falls while pages are taken, and a writer that is inside an epoch, so that the evictor
 * waits for it, wants one of them. */
static void
pass_evictor_and_writer_do_not_wait_for_each_other(void)
{
    struct fixture *f = &circle.f;
    struct helper pass = {.f = f}, writer = {.f = f, .id = 20}, limit = {.f = f};

    atomic_store(&circle.in_seal, false);
    atomic_store(&circle.in_new, false);
    REQUIRE_OK(cache_limit_set(64 * MIB));
    fixture_open(f, "data", 8192);
    REQUIRE_OK(fixture_load(f, 0, 4096));
    REQUIRE_OK(cache_reserve(f->cache, 8));
    fixture_make(f, 10, 2, 1);
    fixture_make(f, 20, 2, 1); /* not beside the other: the pass submits in between */
    f->cache->seal = seal_slowly;
    start(&pass, write_pass);
    UNTIL(atomic_load(&circle.in_seal));
    start(&limit, lower_the_limit);
    start(&writer, replace_in_an_epoch);
    UNTIL(atomic_load(&writer.done) && atomic_load(&pass.done) && atomic_load(&limit.done));
    ftk_thread_join(&pass.thread);
    ftk_thread_join(&writer.thread);
    ftk_thread_join(&limit.thread);
    CHECK_OK(pass.status);
    CHECK_OK(limit.status);
    REQUIRE_OK(cache_write_dirty(f->cache, 1, NULL));
    cache_unreserve(f->cache);
    cache__check(f->cache);
    fixture_reopen(f, "data", 8192);
    expect_version(f, 10, 2);
    expect_version(f, 20, 3);
    fixture_close(f);
    REQUIRE_OK(cache_limit_set(64 * MIB));
}

/* ---- reads ----------------------------------------------------------------------------------- */

static void
a_page_freed_while_it_is_read_is_given_out_afterwards(void)
{
    struct fixture f;
    struct helper reserver = {.f = &f};
    uint64_t ids[3] = {7, 8, 9};

    open_gated(&f, "data");
    REQUIRE_OK(fixture_load(&f, 0, 20));
    close_checked(&f);
    open_gated(&f, "data");
    gate.shut = true;
    cache_prefetch(f.cache, ids, 3, 0);
    CHECK_EQ(KIND(&f, 8), CACHE_READING);
    cache_free(f.cache, 8);
    cache_free(f.cache, 9);
    start(&reserver, reserve);
    ftk_clock_sleep_ns(3000000);
    CHECK(
        !atomic_load(&reserver.done)); /* outside any epoch it waits for what fills their memory */
    gate_pass(false);
    ftk_thread_join(&reserver.thread);
    CHECK_OK(reserver.status);
    CHECK_EQ(KIND(&f, 7), CACHE_RESIDENT);
    CHECK_EQ(fixture_state(&f, 8), CACHE_ABSENT | CACHE_FREE);
    gate.shut = true;
    live_again(&f, 8, 2); /* and nothing has to be waited for here */
    live_again(&f, 9, 2);
    gate_pass(false);
    REQUIRE_OK(cache_write_dirty(f.cache, 1, NULL));
    cache_unreserve(f.cache);
    close_checked(&f);
}

static void
no_read_of_a_free_page_begins(void)
{
    struct fixture f;
    struct cache_slot *slot;
    uint64_t ids[2] = {3, 4};

    open_gated(&f, "data");
    REQUIRE_OK(fixture_load(&f, 0, 20));
    close_checked(&f);
    open_gated(&f, "data");
    cache_free(f.cache, 3);                 /* absent */
    REQUIRE_OK(cache_fetch(f.cache, 4, 0)); /* resident */
    cache_unpin(f.fast, 4);
    cache_free(f.cache, 4);
    gate.shut = true;
    cache_prefetch(f.cache, ids, 2, CACHE_SCAN);
    cache_read_ahead(f.cache, ids, 2);
    CHECK_EQ(gate_held(), 0);
    gate_pass(false);
    CHECK_STATUS(cache_fetch(f.cache, 3, 0), FTK_CORRUPT);
    CHECK_HAS(ftk_error_last()->text, "page 3 is free");
    CHECK_STATUS(cache_fetch(f.cache, 4, 0), FTK_CORRUPT);
    CHECK_STATUS(cache_fetch_many(f.cache, ids, 2, 0), FTK_CORRUPT);
    CHECK_STATUS(fixture_fetch_run(&f, 3, 2), FTK_CORRUPT);
    REQUIRE_OK(cache_slot_take(f.cache, &slot));
    cache_enter(f.fast, slot);
    CHECK(!cache_use(f.fast, 4));
    cache_leave(slot);
    cache_slot_give(slot);
    REQUIRE_OK(cache_reserve(f.cache, 2));
    live_again(&f, 3, 2);
    live_again(&f, 4, 2);
    cache_unreserve(f.cache);
    REQUIRE_OK(cache_write_dirty(f.cache, 1, NULL));
    expect_version(&f, 4, 2);
    close_checked(&f);
}

/* ---- runs ------------------------------------------------------------------------------------ */

/* A run like that of a large value: a sum for each page, in the last one. */
struct sums {
    struct fixture *f;
    uint64_t first, count;
    _Atomic uint64_t calls, seen_too_early;
};

static uint64_t
sum_of(struct fixture *f, uint64_t id)
{
    return ftk_checksum(cache_address(f->fast, id), PAGE_BYTES, id);
}

static ftk_status
sums_verify(void *context, uint64_t page_id, const void *page)
{
    struct sums *sums = context;
    uint64_t i = page_id - sums->first;
    const uint64_t *table =
        (const uint64_t *)(const void *)cache_address(sums->f->fast, sums->first + sums->count - 1);

    atomic_fetch_add(&sums->calls, 1);
    if (KIND(sums->f, page_id) != CACHE_READING || page != cache_address(sums->f->fast, page_id))
        atomic_fetch_add(&sums->seen_too_early, 1);
    if (i + 1 < sums->count && table[i] != sum_of(sums->f, page_id))
        return FTK_FAIL(FTK_CORRUPT, "page %llu of a run", (unsigned long long)page_id);
    return FTK_OK;
}

static void
sums_make(struct fixture *f, struct sums *sums)
{
    REQUIRE_OK(cache_reserve(f->cache, sums->count));
    REQUIRE_OK(cache_new_run(f->cache, sums->first, sums->count));
    uint64_t *table = (uint64_t *)(void *)cache_address(f->fast, sums->first + sums->count - 1);
    memset(table, 0, PAGE_BYTES);
    for (uint64_t i = 0; i + 1 < sums->count; i++) {
        memset(cache_address(f->fast, sums->first + i), (int)i + 1, PAGE_BYTES);
        table[i] = sum_of(f, sums->first + i);
    }
    cache_dirty_run(f->cache, sums->first, sums->count);
    REQUIRE_OK(cache_write_dirty(f->cache, 0, NULL));
}

static void
flip(struct fixture *f, uint64_t offset)
{
    uint8_t *block;
    uint64_t at = offset & ~(uint64_t)(PAGE_BYTES - 1);

    REQUIRE_OK(ftk_alloc_aligned(4096, PAGE_BYTES, (void **)&block));
    REQUIRE_OK(ftk_file_read(f->file, block, PAGE_BYTES, at));
    block[offset - at] ^= 4;
    REQUIRE_OK(ftk_file_write(f->file, block, PAGE_BYTES, at));
    ftk_free(block);
}

/* Read in one I/O, and in several; by one, and by two at once; again and again. */
static void
a_damaged_run_is_never_seen(void)
{
    static const uint64_t counts[4] = {2, 9, 250, 400}; /* the last is more than one I/O */
    struct fixture f;

    REQUIRE_OK(cache_limit_set(64 * MIB));
    for (size_t n = 0; n < 4; n++) {
        struct sums sums = {.f = &f, .first = 100, .count = counts[n]};
        struct cache_run run = {
            .first = 100, .count = counts[n], .tail = 1, .verify = sums_verify, .context = &sums};
        struct helper a = {.f = &f, .run = run}, b = {.f = &f, .run = run};
        uint64_t bad = 100 + counts[n] / 2 - (counts[n] == 2), good = 0;

        open_gated(&f, "data");
        sums_make(&f, &sums);
        close_checked(&f);
        open_gated(&f, "data");
        REQUIRE_OK(cache_fetch_run(f.cache, &run)); /* whole it is */
        CHECK_EQ(sums.calls, counts[n]);
        cache_unpin_run(f.cache, run.first, run.count);
        flip(&f, bad * PAGE_BYTES + 77);
        close_checked(&f);

        open_gated(&f, "data");
        for (unsigned round = 0; round < 3; round++) {
            CHECK_STATUS(cache_fetch_run(f.cache, &run), FTK_CORRUPT);
            CHECK_EQ(KIND(&f, bad), CACHE_ABSENT);
        }
        start(&a, fetch_run);
        start(&b, fetch_run);
        ftk_thread_join(&a.thread);
        ftk_thread_join(&b.thread);
        CHECK_STATUS(a.status, FTK_CORRUPT);
        CHECK_STATUS(b.status, FTK_CORRUPT);
        CHECK_EQ(sums.seen_too_early, 0);
        for (uint64_t id = run.first; id < run.first + run.count; id++) {
            CHECK_EQ(CACHE__PINS(fixture_state(&f, id)), 0);
            good += KIND(&f, id) == CACHE_RESIDENT;
        }
        CHECK(good <= counts[n] - 1);
        flip(&f, bad * PAGE_BYTES + 77); /* healed */
        REQUIRE_OK(cache_fetch_run(f.cache, &run));
        cache_unpin_run(f.cache, run.first, run.count);
        close_checked(&f);
    }
}

/* Many at once over a part that comes and goes: nobody waits for ever, all verify. */
static void
run_hammer(void *context)
{
    struct helper *h = context;
    struct sums *sums = h->run.context;

    h->status = FTK_OK;
    for (unsigned i = 0; i < 60 && h->status == FTK_OK; i++) {
        h->status = cache_fetch_run(h->f->cache, &h->run);
        if (h->status != FTK_OK)
            break;
        for (uint64_t k = 0; k + 1 < sums->count; k++)
            if (cache_address(h->f->fast, sums->first + k)[i] != (uint8_t)(k + 1))
                atomic_fetch_add(&sums->seen_too_early, 1);
        cache_unpin_run(h->f->cache, h->run.first, h->run.count);
        for (uint64_t id = 0; id < 90; id += 7) { /* others want memory */
            if (cache_fetch(h->f->cache, 1000 + id * 10 + h->id, CACHE_SCAN) != FTK_OK)
                continue;
            cache_unpin(h->f->fast, 1000 + id * 10 + h->id);
        }
    }
    atomic_store(&h->done, true);
}

static void
runs_are_verified_beside_others_who_read_them(void)
{
    struct fixture f;
    struct sums sums = {.f = &f, .first = 100, .count = 120};
    struct cache_run run = {
        .first = 100, .count = 120, .tail = 3, .verify = sums_verify, .context = &sums};
    struct helper helpers[4];

    REQUIRE_OK(cache_limit_set(4 * MIB));
    fixture_open(&f, "data", PAGES);
    REQUIRE_OK(fixture_load(&f, 1000, 1000));
    sums_make(&f, &sums);
    fixture_reopen(&f, "data", PAGES);
    for (unsigned i = 0; i < 4; i++) {
        helpers[i] = (struct helper){.f = &f, .run = run, .id = i};
        start(&helpers[i], run_hammer);
    }
    for (unsigned i = 0; i < 4; i++) {
        ftk_thread_join(&helpers[i].thread);
        CHECK_OK(helpers[i].status);
    }
    CHECK_EQ(sums.seen_too_early, 0);
    fixture_close(&f);
    REQUIRE_OK(cache_limit_set(64 * MIB));
}

static void
a_page_of_a_run_is_no_page_of_a_tree(void)
{
    struct fixture f;
    struct sums sums = {.f = &f, .first = 100, .count = 4};
    struct cache_slot *slot;
    uint64_t id = 101;

    open_gated(&f, "data");
    REQUIRE_OK(fixture_load(&f, 0, 20));
    sums_make(&f, &sums);
    CHECK_STATUS(cache_fetch(f.cache, 101, 0), FTK_CORRUPT);
    CHECK_HAS(ftk_error_last()->text, "page 101 is part of a large value");
    CHECK_STATUS(cache_fetch_many(f.cache, &id, 1, 0), FTK_CORRUPT);
    CHECK_STATUS(fixture_fetch_run(&f, 3, 2), FTK_CORRUPT);
    CHECK_HAS(ftk_error_last()->text, "is not part of a large value");
    REQUIRE_OK(cache_slot_take(f.cache, &slot));
    cache_enter(f.fast, slot);
    CHECK(!cache_use(f.fast, 101));
    CHECK(cache_use(f.fast, 3));
    cache_leave(slot);
    cache_slot_give(slot);
    close_checked(&f);
}

/* ---- slots ----------------------------------------------------------------------------------- */

static uint64_t
slots_walked(struct cache *cache)
{
    uint64_t count = 0;
    for (struct cache_slot *slot = NULL; (slot = cache_slot_next(cache, slot)) != NULL;)
        count++;
    return count;
}

static void
a_burst_of_slots_is_not_walked_for_ever(void)
{
    enum { BURST = 10000 }; /* more than one board */
    static struct cache_slot *slots[BURST];
    struct cache_slot *late[100];
    struct fixture f;

    open_gated(&f, "data");
    CHECK_EQ(slots_walked(f.cache), 0);
    for (unsigned i = 0; i < BURST; i++) {
        REQUIRE_OK(cache_slot_take(f.cache, &slots[i]));
        atomic_store(&slots[i]->snapshot, i + 1);
    }
    uint64_t sum = 0;
    for (struct cache_slot *slot = NULL; (slot = cache_slot_next(f.cache, slot)) != NULL;)
        sum += atomic_load(&slot->snapshot);
    CHECK_EQ(sum, (uint64_t)BURST * (BURST + 1) / 2); /* each once */
    for (unsigned i = 0; i < BURST; i++)
        if (i != 70 && i != 5000 && i != BURST - 1)
            cache_slot_give(slots[i]);
    CHECK_EQ(slots_walked(f.cache), 3);
    for (unsigned i = 0; i < 100; i++) {
        REQUIRE_OK(cache_slot_take(f.cache, &late[i]));
        CHECK(late[i]->number < 128); /* at the front again */
        CHECK_EQ(atomic_load(&late[i]->snapshot), 0);
    }
    CHECK_EQ(slots_walked(f.cache), 103);
    for (unsigned i = 0; i < 100; i++)
        cache_slot_give(late[i]);
    cache_slot_give(slots[70]);
    cache_slot_give(slots[5000]);
    cache_slot_give(slots[BURST - 1]);
    CHECK_EQ(slots_walked(f.cache), 0);
    close_checked(&f);
}

/* ---- guards ---------------------------------------------------------------------------------- */

struct move {
    uint32_t from, to;
};

static void
make(void *context)
{
    const struct move *move = context;
    _Atomic uint32_t word = move->from;
    uint32_t state = move->from;

    (void)cache__move(&word, &state, move->to);
}

#define MOVE_DIES(from, to) CHECK_DIES(make, (&(struct move){from, to}), "moves[")

static void
moves_that_are_not_in_the_table_abort(void)
{
    make(&(struct move){CACHE_ABSENT, CACHE_READING});
    make(&(struct move){CACHE_EVICTING, CACHE_LEAVING});
    MOVE_DIES(CACHE_ABSENT, CACHE_RESIDENT);  /* not verified */
    MOVE_DIES(CACHE_READING, CACHE_FRESH);    /* the device would fill it */
    MOVE_DIES(CACHE_RESIDENT, CACHE_LEAVING); /* without an epoch */
    MOVE_DIES(CACHE_RESIDENT, CACHE_ABSENT);
    MOVE_DIES(CACHE_LEAVING, CACHE_RESIDENT);
    MOVE_DIES(CACHE_FRESH, CACHE_EVICTING);
}

/* Marked ahead by a prefetch and not taken yet: resident still, and charged. */
static void
pages_marked_for_eviction_are_charged(void)
{
    struct fixture f;
    struct cache_stats stats;
    uint64_t evicting = 0, resident = 0, id = 0;

    REQUIRE_OK(cache_limit_set(4 * MIB));
    fixture_open(&f, "data", PAGES);
    REQUIRE_OK(fixture_load(&f, 0, 2000));
    fixture_reopen(&f, "data", PAGES);
    for (; id < 880; id++) {
        REQUIRE_OK(cache_fetch(f.cache, id, 0));
        cache_unpin(f.fast, id);
    }
    for (; id < 1000 && evicting == 0; id++) {
        cache_prefetch(f.cache, &id, 1, 0);
        UNTIL(KIND(&f, id) != CACHE_READING);
        evicting = 0;
        for (uint64_t i = 0; i < PAGES; i++)
            evicting += KIND(&f, i) == CACHE_EVICTING;
    }
    CHECK(evicting > 0);
    for (uint64_t i = 0; i < PAGES; i++)
        resident += KIND(&f, i) == CACHE_RESIDENT;
    cache_stats(f.cache, &stats);
    CHECK_EQ(stats.used_bytes, (resident + evicting) * PAGE_BYTES);
    UNTIL(atomic_load(&f.cache->loose_pending) == 0);
    cache__check(f.cache);
    fixture_close(&f);
    REQUIRE_OK(cache_limit_set(64 * MIB));
}

/* ---- who waits for a few instructions of another thread -------------------------------------- */

/* That thread is off the processor until the one that waits sleeps. */
static struct {
    struct fixture *f;
    struct cache_slot *slot; /* left then */
    _Atomic bool sealing, sealed;
    _Atomic unsigned sleeps;
} off;

static uint64_t
no_time(void *context)
{
    (void)context;
    return 1;
}

static void
on_again(void *context, uint64_t ns)
{
    (void)context;
    (void)ns;
    atomic_fetch_add(&off.sleeps, 1);
    if (off.slot != NULL)
        cache_leave(off.slot);
    atomic_store(&off.sealed, true);
}

static const struct ftk_clock_ops sleeps_alone = {no_time, no_time, on_again};

static void
an_evictor_sleeps_beside_a_reader_that_does_not_leave(void)
{
    struct fixture f;

    open_gated(&f, "data");
    memset(&off, 0, sizeof off);
    REQUIRE_OK(cache_limit_set(4 * MIB));
    REQUIRE_OK(fixture_load(&f, 0, 1100));
    REQUIRE_OK(cache_slot_take(f.cache, &off.slot));
    cache_enter(f.fast, off.slot);
    ftk_clock_use(&sleeps_alone, NULL);
    REQUIRE_OK(cache_reserve(f.cache, 500)); /* more than one batch of eviction */
    ftk_clock_use(NULL, NULL);
    CHECK(atomic_load(&off.sleeps) > 0);
    cache_unreserve(f.cache);
    cache_slot_give(off.slot);
    close_checked(&f);
    REQUIRE_OK(cache_limit_set(64 * MIB));
}

static bool
seal_until_asleep(void *context, uint64_t page_id, void *memory, uint64_t limit)
{
    atomic_store(&off.sealing, true);
    while (!atomic_load(&off.sealed))
        ftk_thread_yield();
    return fixture_seal(context, page_id, memory, limit);
}

static void
a_next_life_sleeps_beside_a_seal(void)
{
    struct fixture f;
    struct helper pass = {.f = &f};

    open_gated(&f, "data");
    memset(&off, 0, sizeof off);
    f.cache->seal = seal_until_asleep;
    REQUIRE_OK(cache_reserve(f.cache, 8));
    fixture_make(&f, 1, 1, 1);
    start(&pass, write_pass);
    UNTIL(atomic_load(&off.sealing));
    cache_free(f.cache, 1);
    ftk_clock_use(&sleeps_alone, NULL);
    live_again(&f, 1, 2);
    ftk_clock_use(NULL, NULL);
    CHECK(atomic_load(&off.sleeps) > 0);
    ftk_thread_join(&pass.thread);
    CHECK_OK(pass.status);
    REQUIRE_OK(cache_write_dirty(f.cache, 1, NULL));
    expect_version(&f, 1, 2);
    cache_unreserve(f.cache);
    close_checked(&f);
}

/* A user sees the page while it is resident, and pins it when it has been marked: it stays. */
static void
a_page_that_is_pinned_after_it_was_marked_stays(void)
{
    struct fixture f;
    struct cache_slot *slot;
    uint64_t id = 0, marked = PAGES;

    REQUIRE_OK(cache_limit_set(4 * MIB));
    fixture_open(&f, "data", PAGES);
    REQUIRE_OK(fixture_load(&f, 0, 2000));
    fixture_reopen(&f, "data", PAGES);
    REQUIRE_OK(cache_slot_take(f.cache, &slot));
    for (; id < 880; id++) {
        REQUIRE_OK(cache_fetch(f.cache, id, 0));
        cache_unpin(f.fast, id);
    }
    cache_enter(f.fast, slot);
    for (; id < 1000 && marked == PAGES; id++) {
        cache_prefetch(f.cache, &id, 1, 0);
        UNTIL(KIND(&f, id) != CACHE_READING);
        for (uint64_t i = 0; i < 880 && marked == PAGES; i++)
            if (KIND(&f, i) == CACHE_EVICTING)
                marked = i;
    }
    REQUIRE(marked < PAGES);
    cache_pin(f.fast, marked); /* was resident when this epoch began */
    cache_leave(slot);
    for (; id < 2000; id++) {
        REQUIRE_OK(cache_fetch(f.cache, id, 0));
        cache_unpin(f.fast, id);
    }
    CHECK_EQ(KIND(&f, marked), CACHE_RESIDENT);
    CHECK(page_is(fixture_page(&f, marked), marked));
    cache_unpin(f.fast, marked);
    UNTIL(atomic_load(&f.cache->loose_pending) == 0);
    cache__check(f.cache);
    cache_slot_give(slot);
    fixture_close(&f);
    REQUIRE_OK(cache_limit_set(64 * MIB));
}

TEST_MAIN("cache_states", TEST(a_next_life_begins_while_the_last_one_is_written),
          TEST(a_failed_write_makes_dirty_again_what_is_alive),
          TEST(a_page_freed_while_it_is_sealed_is_not_written),
          TEST(the_pass_holds_no_page_while_it_waits_for_a_buffer),
          TEST(pass_evictor_and_writer_do_not_wait_for_each_other),
          TEST(a_page_freed_while_it_is_read_is_given_out_afterwards),
          TEST(no_read_of_a_free_page_begins), TEST(a_damaged_run_is_never_seen),
          TEST(runs_are_verified_beside_others_who_read_them),
          TEST(a_page_of_a_run_is_no_page_of_a_tree), TEST(a_burst_of_slots_is_not_walked_for_ever),
          TEST(moves_that_are_not_in_the_table_abort), TEST(pages_marked_for_eviction_are_charged),
          TEST(an_evictor_sleeps_beside_a_reader_that_does_not_leave),
          TEST(a_next_life_sleeps_beside_a_seal),
          TEST(a_page_that_is_pinned_after_it_was_marked_stays))
