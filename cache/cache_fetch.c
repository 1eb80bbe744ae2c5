/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache/cache_fetch.c -- misses: direct reads into the page's own memory.
 *
 * 1. Memory is charged before a page is marked READING, so that nobody waits for memory while
 *    others wait for him.
 * 2. A page is verified before it becomes RESIDENT, a page of a large value by a function of who
 *    fetches it.  One that could not be read or verified is ABSENT again, its memory given back; so
 *    is one that was freed meanwhile.
 * 3. A single page is read on the caller's thread.  Several go through the buffer manager, adjacent
 *    ones as one I/O.
 * 4. What is to be pinned becomes RESIDENT with its pin, where this thread reads it: nobody evicts
 *    it in between, and memory charged once is enough.
 */
#include <stdlib.h>
#include <string.h>

#include "cache/cache_internal.h"
#include "ftk/bytes.h"
#include "ftk/mem.h"

void
cache__read_init(struct cache__read *read, struct cache *cache, bool scan)
{
    *read = (struct cache__read){
        .cache = cache, .scan = scan, .verify = cache->verify, .context = cache->context};
}

/* READING -> ABSENT, and the memory is given back, but not its charge: pages still charged. */
static uint64_t
read_undo(struct cache *cache, uint64_t page_id)
{
    bool covered = (atomic_load(&cache->fast.states[page_id]) & CACHE_COVERED) != 0;

    if (covered) /* its memory goes with the block; what it would have been when discarded: */
        memset(cache_address(&cache->fast, page_id), 0, cache->page_bytes);
    else
        ftk_region_discard(cache_address(&cache->fast, page_id), cache->page_bytes);
    uint32_t state = cache__state_move(cache, page_id, ~(uint32_t)CACHE_FREE, CACHE_ABSENT);
    FTK_ASSERT((state & CACHE_STATE_MASK) == CACHE_READING);
    if ((state & CACHE_FREE) != 0)
        cache__freed_read_ended(cache);
    return (state & CACHE_COVERED) == 0;
}

static void
read_drop(struct cache *cache, uint64_t page_id)
{
    cache__uncharge(cache, read_undo(cache, page_id));
}

/* READING -> RESIDENT, or ABSENT if it could not be read or was freed meanwhile. */
static void
read_finish(const struct cache__read *read, uint64_t page_id, bool ok)
{
    struct cache *cache = read->cache;
    bool pins = read->pinned != NULL;
    uint32_t flags = CACHE_REF | (read->scan ? CACHE_SCANNED : 0u) | (read->raw ? CACHE_RAW : 0u) |
                     (pins ? CACHE_PIN_ONE : 0u); /* there was none: it was not resident */

    if (FTK_UNLIKELY(!ok)) {
        read_drop(cache, page_id);
        return;
    }
    cache__bits_set(&cache->resident, page_id);
    ok = cache__state_move_unless(cache, page_id, CACHE_FREE, CACHE_STATE_MASK,
                                  CACHE_RESIDENT | flags);
    if (FTK_UNLIKELY(!ok)) {
        cache__bits_clear(&cache->resident, page_id);
        read_drop(cache, page_id);
        return;
    }
    if (read->scan)
        cache__ring_add(&cache->scanned, page_id);
    if (pins)
        read->pinned[page_id - read->pinned_first] = true;
}

static ftk_status
read_verify(const struct cache__read *read, uint64_t page_id)
{
    if (read->verify == NULL)
        return FTK_OK;
    return read->verify(read->context, page_id, cache_address(&read->cache->fast, page_id));
}

/* What a failed read means: beyond the end of the file is a reference that cannot be. */
static ftk_status
read_failed(struct cache *cache, uint64_t page_id, ftk_status status)
{
    uint64_t end = (page_id + 1) << cache->fast.page_shift;
    uint64_t size;
    struct ftk_error first = *ftk_error_last();

    if (status != FTK_IO)
        return status;
    if (ftk_file_size(cache->file, &size) != FTK_OK || size >= end) {
        ftk_error_set(&first);
        return status;
    }
    return FTK_FAIL(FTK_CORRUPT, "%s: page %llu lies past the end of the file (%llu bytes)",
                    cache->file->path, (unsigned long long)page_id, (unsigned long long)size);
}

/* The page is READING and ours. */
static ftk_status
read_one(const struct cache__read *read, uint64_t page_id)
{
    struct cache *cache = read->cache;
    uint8_t *page = cache_address(&cache->fast, page_id);
    ftk_status rc =
        ftk_file_read(cache->file, page, cache->page_bytes, page_id << cache->fast.page_shift);

    if (rc != FTK_OK)
        rc = read_failed(cache, page_id, rc);
    else
        rc = read_verify(read, page_id);
    read_finish(read, page_id, rc == FTK_OK);
    return rc;
}

static ftk_status
check_range(struct cache *cache, uint64_t first, uint64_t count)
{
    if (FTK_LIKELY(first < cache->fast.pages_max && count <= cache->fast.pages_max - first))
        return FTK_OK;
    return FTK_FAIL(FTK_CORRUPT, "%s: page %llu (%llu pages): no such page, ids end at %llu",
                    cache->file->path, (unsigned long long)first, (unsigned long long)count,
                    (unsigned long long)cache->fast.pages_max);
}

/* Nobody has a reference to such a page that is not damaged; FTK_OK: it may be what is wanted. */
static ftk_status
check_kind(struct cache *cache, uint64_t page_id, uint32_t state, bool raw)
{
    uint32_t kind = state & CACHE_STATE_MASK;
    bool there = kind == CACHE_RESIDENT || kind == CACHE_EVICTING || kind == CACHE_FRESH;

    if (FTK_UNLIKELY((state & CACHE_FREE) != 0))
        return FTK_FAIL(FTK_CORRUPT, "%s: page %llu is free, and something refers to it",
                        cache->file->path, (unsigned long long)page_id);
    if (FTK_UNLIKELY(there && ((state & CACHE_RAW) != 0) != raw))
        return FTK_FAIL(FTK_CORRUPT, "%s: page %llu is %spart of a large value", cache->file->path,
                        (unsigned long long)page_id, raw ? "not " : "");
    return FTK_OK;
}

/* Resident and pinned in one step: true.  False: not resident, or not what is wanted (*state_out
 * says what instead). */
static bool
try_pin(const struct cache__read *read, uint64_t page_id, uint32_t *state_out)
{
    struct cache *cache = read->cache;
    _Atomic uint32_t *word = &cache->fast.states[page_id];
    uint32_t state = atomic_load(word);

    for (;;) {
        uint32_t kind = state & CACHE_STATE_MASK;
        *state_out = state;
        if (kind != CACHE_RESIDENT && kind != CACHE_EVICTING && kind != CACHE_FRESH)
            return false;
        if (FTK_UNLIKELY((state & (CACHE_RAW | CACHE_FREE)) != (read->raw ? CACHE_RAW : 0u)))
            return false;
        uint32_t wanted = (state | (read->scan ? 0u : CACHE_REF)) + CACHE_PIN_ONE;
        if (!read->scan)
            wanted &= ~(uint32_t)CACHE_SCANNED;
        if (kind == CACHE_EVICTING)
            wanted = (wanted & ~(uint32_t)CACHE_STATE_MASK) | CACHE_RESIDENT;
        FTK_ASSERT(CACHE__PINS(wanted) != 0);
        if (cache__move(word, &state, wanted)) {
            if (kind == CACHE_EVICTING)
                atomic_fetch_add_explicit(&cache->rescues, 1, memory_order_relaxed);
            return true;
        }
    }
}

/* ABSENT -> READING, for a page that is charged; false: it is not ABSENT any more, or FREE. */
static bool
mark_reading(struct cache *cache, uint64_t page_id)
{
    _Atomic uint32_t *word = &cache->fast.states[page_id];
    uint32_t state = atomic_load(word), cover;

    if (state != CACHE_ABSENT)
        return false;
    cover = cache__cover(cache, page_id);
    while (!cache__move(word, &state, CACHE_READING | cover))
        if (state != CACHE_ABSENT)
            return false;
    if (cover != 0)
        cache__covered(cache, page_id);
    return true;
}

/* ---- the room that a read was given ---- */

/* Up to so many pages of it; they are charged. */
static uint64_t
room_use(const struct cache__read *read, uint64_t pages)
{
    struct cache_room *room = read->room;

    if (FTK_LIKELY(room == NULL))
        return 0;
    if (pages > room->pages)
        pages = room->pages;
    room->pages -= pages;
    return pages;
}

/* Charged, and not needed any more. */
static void
room_return(const struct cache__read *read, uint64_t pages)
{
    if (read->room != NULL)
        read->room->pages += pages;
    else
        cache__uncharge(read->cache, pages);
}

static ftk_status
charge_one(const struct cache__read *read)
{
    return room_use(read, 1) > 0 ? FTK_OK : cache__charge(read->cache, 1);
}

/* Some of so many pages, without waiting; 0: there is no memory. */
static uint64_t
charge_some(const struct cache__read *read, uint64_t pages)
{
    uint64_t some = 0;

    if (read->room == NULL || read->room->pages < pages)
        some = cache__charge_some(read->cache, pages);
    return some > 0 ? some : room_use(read, pages);
}

static bool
charge_all(const struct cache__read *read, uint64_t pages)
{
    if (read->room != NULL && read->room->pages >= pages)
        return room_use(read, pages) == pages;
    return cache__charge_now(read->cache, pages);
}

static ftk_status
fetch_one(struct cache__read *read, uint64_t page_id)
{
    struct cache *cache = read->cache;
    bool charged = false, pinned = false;
    ftk_status rc = FTK_OK;
    uint32_t state;

    read->pinned = &pinned;
    read->pinned_first = page_id;
    while (!pinned && !try_pin(read, page_id, &state)) {
        FTK_TRY(check_kind(cache, page_id, state, read->raw));
        if ((state & CACHE_STATE_MASK) != CACHE_ABSENT) {
            cache__wait_page(cache, page_id);
            continue;
        }
        if (!charged) {
            FTK_TRY(charge_one(read));
            charged = true;
            continue;
        }
        if (!mark_reading(cache, page_id))
            continue;
        charged = false; /* the page has it now */
        atomic_fetch_add_explicit(&cache->misses, 1, memory_order_relaxed);
        FTK_TRY(read_one(read, page_id));
    }
out:
    read->pinned = NULL;
    FTK_ASSERT(rc == FTK_OK || !pinned);
    if (charged)
        room_return(read, 1);
    return rc;
}

ftk_status
cache_fetch_in(struct cache *cache, uint64_t page_id, unsigned flags, struct cache_room *room)
{
    struct cache__read read;
    ftk_status rc = check_range(cache, page_id, 1);

    if (rc != FTK_OK)
        return rc;
    cache__read_init(&read, cache, (flags & CACHE_SCAN) != 0);
    read.room = room;
    return fetch_one(&read, page_id);
}

ftk_status
cache_fetch(struct cache *cache, uint64_t page_id, unsigned flags)
{
    return cache_fetch_in(cache, page_id, flags, NULL);
}

/* ---- several at a time ----------------------------------------------------------------------- */

static void
first_error(struct cache__read *read)
{
    if (atomic_exchange(&read->failed, 1) == 0)
        read->error = *ftk_error_last();
}

/* Completion of one I/O; on the buffer manager's thread. */
static void
read_done(void *context, void *memory, size_t size, ftk_status status)
{
    struct cache__read *read = context;
    struct cache *cache = read->cache;
    uint64_t first = (uint64_t)((uint8_t *)memory - cache->fast.base) >> cache->fast.page_shift;
    uint64_t count = size >> cache->fast.page_shift;
    FTK_ASSERT(count << cache->fast.page_shift == size && first + count <= cache->fast.pages_max);
    bool loose = read->loose;

    if (status != FTK_OK) {
        (void)read_failed(cache, first + count - 1, status);
        first_error(read);
    }
    for (uint64_t id = first; id < first + count; id++) {
        bool ok = status == FTK_OK;
        if (ok && read_verify(read, id) != FTK_OK) {
            first_error(read);
            ok = false;
        }
        read_finish(read, id, ok);
    }
    if (loose)
        atomic_fetch_sub(&cache->loose_pending, 1);
}

/* Sorted, each once, in range, and only those that are ABSENT now and not FREE. */
static size_t
pick_absent(struct cache *cache, const uint64_t *ids, size_t count, uint64_t *picked)
{
    size_t n = 0, kept = 0;

    for (size_t i = 0; i < count; i++)
        if (ids[i] < cache->fast.pages_max &&
            atomic_load_explicit(&cache->fast.states[ids[i]], memory_order_relaxed) == CACHE_ABSENT)
            picked[n++] = ids[i];
    if (n > 1)
        qsort(picked, n, sizeof(*picked), ftk_u64_order);
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || picked[kept - 1] != picked[i])
            picked[kept++] = picked[i];
    return kept;
}

/* Length of the run of adjacent ids at the front, as long as one I/O may be. */
static size_t
run_length(struct cache *cache, const uint64_t *ids, size_t count)
{
    size_t n = 1;
    while (n < count && n < cache->run_pages && ids[n] == ids[0] + n)
        n++;
    FTK_ASSERT(ids[n - 1] == ids[0] + n - 1);
    return n;
}

/* The run is READING; buf holds bytes for it. */
static void
submit_run(struct cache *cache, struct ftk_iobuf *buf, uint64_t first, size_t count,
           struct ftk_iogroup *group, struct cache__read *read)
{
    FTK_ASSERT(count > 0 && count <= cache->run_pages);
    if (read->loose)
        atomic_fetch_add(&cache->loose_pending, 1);
    ftk_iobuf_submit(buf, cache->file, FTK_IO_READ, cache_address(&cache->fast, first),
                     count << cache->fast.page_shift, first << cache->fast.page_shift, group,
                     read_done, read);
}

/* How many pages to charge at once: all of a batch, but no great part of a small cache. */
size_t
cache__batch_pages(struct cache *cache)
{
    uint64_t part = (cache_limit() >> cache->fast.page_shift) / 16;
    return part >= CACHE__BATCH_PAGES ? CACHE__BATCH_PAGES : part < 8 ? 8 : (size_t)part;
}

/* Reads under way that one caller waits for. */
struct reads {
    struct cache__read read;
    struct ftk_iogroup group;
    size_t started; /* pages, since the last wait */
};

static void
reads_init(struct reads *reads, struct cache *cache, bool scan)
{
    cache__read_init(&reads->read, cache, scan);
    ftk_iogroup_init(&reads->group, cache->bufs);
    reads->started = 0;
}

static ftk_status
reads_wait(struct reads *reads)
{
    ftk_status rc = ftk_iogroup_wait(&reads->group);

    reads->started = 0;
    if (atomic_load(&reads->read.failed) != 0) { /* its text is better than that of the I/O alone */
        ftk_error_set(&reads->read.error);
        rc = reads->read.error.status;
    }
    return rc;
}

/* Mark READING what is still ABSENT of pages that are charged; what is not is dropped from the
 * list.  Their number. */
static size_t
claim(const struct cache__read *read, uint64_t *picked, size_t count)
{
    struct cache *cache = read->cache;
    size_t kept = 0;

    for (size_t i = 0; i < count; i++)
        if (mark_reading(cache, picked[i]))
            picked[kept++] = picked[i];
    room_return(read, count - kept);
    atomic_fetch_add_explicit(&cache->misses, kept, memory_order_relaxed);
    return kept;
}

static void
submit_claimed(struct cache *cache, const uint64_t *picked, size_t claimed,
               struct ftk_iogroup *group, struct cache__read *read)
{
    for (size_t i = 0; i < claimed;) {
        size_t n = run_length(cache, &picked[i], claimed - i);
        struct ftk_iobuf *buf;
        ftk_iobuf_acquire_for(cache->bufs, (uint64_t)n << cache->fast.page_shift, &buf);
        submit_run(cache, buf, picked[i], n, group, read);
        i += n;
    }
}

/* Start to read what is absent of one batch.  Where memory is short the reads are waited for in
 * between, since their pages cannot make room before, and it goes on page by page. */
static ftk_status
reads_start(struct reads *reads, const uint64_t *ids, size_t count)
{
    struct cache *cache = reads->read.cache;
    uint64_t picked[CACHE__BATCH_PAGES];
    size_t wanted = pick_absent(cache, ids, count, picked);
    ftk_status rc = FTK_OK;

    FTK_ASSERT(count <= CACHE__BATCH_PAGES);
    for (size_t at = 0, n; at < wanted; at += n) {
        n = charge_some(&reads->read, wanted - at);
        if (n == 0) {
            n = 1;
            FTK_TRY(reads_wait(reads));
            FTK_TRY(cache__charge(cache, n));
        }
        size_t claimed = claim(&reads->read, picked + at, n);
        reads->started += claimed;
        if (reads->started == 1 && claimed == 1 && wanted == 1) /* alone, as far as can be seen */
            rc = read_one(&reads->read, picked[at]);
        else
            submit_claimed(cache, picked + at, claimed, &reads->group, &reads->read);
        if (rc != FTK_OK)
            goto out;
    }
out:
    return rc;
}

void
cache__read_start(struct cache *cache, const uint64_t *ids, size_t count)
{
    uint64_t picked[CACHE__BATCH_PAGES];
    size_t n = cache__charge_some(cache, pick_absent(cache, ids, count, picked)); /* best effort */

    n = claim(&cache->loose_read[false], picked, n);
    submit_claimed(cache, picked, n, &cache->loose, &cache->loose_read[false]);
}

/* Batches follow each other without a wait, up to a part of the cache: those that are read cannot
 * make room. */
ftk_status
cache_fetch_many_in(struct cache *cache, const uint64_t *ids, size_t count, unsigned flags,
                    struct cache_room *room)
{
    size_t batch = cache__batch_pages(cache);
    uint64_t most = (cache_limit() >> cache->fast.page_shift) / 16;
    struct reads reads;
    ftk_status rc = FTK_OK;

    for (size_t i = 0; i < count; i++)
        if (FTK_UNLIKELY(ids[i] >= cache->fast.pages_max))
            return check_range(cache, ids[i], 1);
    reads_init(&reads, cache, (flags & CACHE_SCAN) != 0);
    reads.read.room = room;
    for (size_t i = 0; i < count && rc == FTK_OK; i += batch) {
        if (reads.started + batch > most)
            rc = reads_wait(&reads);
        if (rc == FTK_OK)
            rc = reads_start(&reads, ids + i, count - i < batch ? count - i : batch);
    }
    FTK_KEEP_FIRST(reads_wait(&reads));
    for (size_t i = 0; i < count && rc == FTK_OK; i++) { /* those that others are reading */
        cache__wait_page(cache, ids[i]);
        rc = check_kind(cache, ids[i], atomic_load(&cache->fast.states[ids[i]]), false);
    }
    return rc;
}

ftk_status
cache_fetch_many(struct cache *cache, const uint64_t *ids, size_t count, unsigned flags)
{
    return cache_fetch_many_in(cache, ids, count, flags, NULL);
}

static void
unpin_those(struct cache *cache, uint64_t first, size_t count, const bool *pinned)
{
    for (size_t i = 0; i < count; i++)
        if (pinned[i])
            cache_unpin(&cache->fast, first + i);
}

/* Up to CACHE__BATCH_PAGES of them are read, as far as they are absent, and pinned. */
static ftk_status
fetch_run_part(struct reads *reads, uint64_t first, size_t count)
{
    uint64_t ids[CACHE__BATCH_PAGES];
    bool pinned[CACHE__BATCH_PAGES] = {false};
    ftk_status rc;

    for (size_t i = 0; i < count; i++)
        ids[i] = first + i;
    reads->read.pinned = pinned;
    reads->read.pinned_first = first;
    rc = reads_start(reads, ids, count);
    FTK_KEEP_FIRST(reads_wait(reads));
    reads->read.pinned = NULL;
    for (size_t i = 0; i < count && rc == FTK_OK; i++) { /* those that were there */
        if (pinned[i])
            continue;
        rc = fetch_one(&reads->read, first + i);
        pinned[i] = rc == FTK_OK;
    }
    if (rc != FTK_OK)
        unpin_those(reads->read.cache, first, count, pinned);
    return rc;
}

/* Read the whole run with one I/O if it fits and nothing of it is there: then each page can be
 * verified whatever others it takes.  Else nothing happens, and it is not *pinned_out. */
static ftk_status
read_whole(struct reads *reads, uint64_t first, uint64_t count, bool *pinned_out)
{
    struct cache *cache = reads->read.cache;
    bool pinned[CACHE__BATCH_PAGES] = {false};
    struct ftk_iobuf *buf;
    uint64_t claimed = 0;
    ftk_status rc;

    *pinned_out = false;
    if (count < 2 || count > cache->run_pages || count > cache__batch_pages(cache) ||
        atomic_load(&cache->fast.states[first]) != CACHE_ABSENT || !charge_all(&reads->read, count))
        return FTK_OK;
    while (claimed < count && mark_reading(cache, first + claimed))
        claimed++;
    if (claimed < count) { /* others see to the rest; without it these cannot be verified */
        room_return(&reads->read, count - claimed);
        while (claimed > 0)
            room_return(&reads->read, read_undo(cache, first + --claimed));
        return FTK_OK;
    }
    atomic_fetch_add_explicit(&cache->misses, count, memory_order_relaxed);
    ftk_iobuf_acquire_for(cache->bufs, count << cache->fast.page_shift, &buf);
    reads->read.pinned = pinned;
    reads->read.pinned_first = first;
    submit_run(cache, buf, first, count, &reads->group, &reads->read);
    rc = reads_wait(reads);
    reads->read.pinned = NULL;
    if (rc != FTK_OK)
        unpin_those(cache, first, count, pinned);
    *pinned_out = rc == FTK_OK;
    return rc;
}

/* Bring in and pin what is absent, a batch at a time. */
static ftk_status
fetch_span(struct reads *reads, uint64_t first, uint64_t count)
{
    struct cache *cache = reads->read.cache;
    size_t batch = cache__batch_pages(cache);
    uint64_t done = 0;
    ftk_status rc = FTK_OK;

    while (done < count) {
        size_t part = count - done < batch ? (size_t)(count - done) : batch;
        FTK_TRY(fetch_run_part(reads, first + done, part));
        done += part;
    }
out:
    if (rc != FTK_OK)
        cache_unpin_run(cache, first, done);
    return rc;
}

ftk_status
cache_fetch_run(struct cache *cache, const struct cache_run *run)
{
    uint64_t tail = run->first + run->count - run->tail; /* its first page */
    uint64_t end = run->first + run->count;
    struct reads reads;
    bool whole;
    ftk_status rc = check_range(cache, run->first, run->count);

    if (rc != FTK_OK)
        return rc;
    FTK_ASSERT(run->count > 0 && run->tail <= run->count);
    if (run->count << cache->fast.page_shift > cache_limit())
        return FTK_FAIL(FTK_NOMEM, "%llu pages at once are more than the cache limit of %llu bytes",
                        (unsigned long long)run->count, (unsigned long long)cache_limit());
    reads_init(&reads, cache, false);
    reads.read.raw = true;
    reads.read.room = run->room;
    reads.read.verify = run->verify;
    reads.read.context = run->context;
    if (run->tail == 0)
        return fetch_span(&reads, run->first, run->count);
    rc = read_whole(&reads, run->first, run->count, &whole);
    if (rc != FTK_OK || whole)
        return rc;
    /* Each page finds pinned what it takes to verify it: the tail but for its first page, that one,
     * the others.  Nobody holds a page READING while he waits for one. */
    rc = fetch_span(&reads, tail + 1, end - tail - 1);
    if (rc != FTK_OK)
        return rc;
    rc = fetch_span(&reads, tail, 1);
    if (rc == FTK_OK) {
        rc = fetch_span(&reads, run->first, tail - run->first);
        if (rc != FTK_OK)
            cache_unpin(&cache->fast, tail);
    }
    if (rc != FTK_OK)
        cache_unpin_run(cache, tail + 1, end - tail - 1);
    return rc;
}

/* Start one read that nobody waits for; false: no buffer to be had. */
static bool
prefetch_run(struct cache *cache, const uint64_t *ids, size_t count, bool scan)
{
    struct ftk_iobuf *buf =
        ftk_iobuf_try_acquire(cache->bufs, (uint64_t)count << cache->fast.page_shift);
    size_t claimed = 0;

    if (buf == NULL)
        return false;
    if (!cache__charge_try(cache, count)) {
        ftk_iobuf_release(buf);
        return false;
    }
    while (claimed < count && mark_reading(cache, ids[claimed]))
        claimed++;
    cache__uncharge(cache, count - claimed);
    if (claimed == 0) {
        ftk_iobuf_release(buf);
        return true;
    }
    atomic_fetch_add_explicit(&cache->prefetches, claimed, memory_order_relaxed);
    submit_run(cache, buf, ids[0], claimed, &cache->loose, &cache->loose_read[scan]);
    return true;
}

void
cache_prefetch(struct cache *cache, const uint64_t *ids, size_t count, unsigned flags)
{
    uint64_t picked[CACHE__BATCH_PAGES];
    size_t batch = cache__batch_pages(cache);

    for (size_t i = 0; i < count; i += batch) {
        size_t n = pick_absent(cache, ids + i, count - i < batch ? count - i : batch, picked);
        for (size_t k = 0; k < n;) {
            size_t run = run_length(cache, &picked[k], n - k);
            if (!prefetch_run(cache, &picked[k], run, (flags & CACHE_SCAN) != 0))
                return;
            k += run;
        }
    }
}
