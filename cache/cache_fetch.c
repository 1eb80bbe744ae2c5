/*
 * cache/cache_fetch.c -- misses: direct reads into the page's own memory.
 *
 * 1. Memory is charged before a page is marked READING, so that nobody waits for memory while
 *    others wait for him.
 * 2. A page is verified before it becomes RESIDENT.  One that could not be read or verified is
 *    ABSENT again, its memory given back.
 * 3. A single page is read on the caller's thread.  Several go through the buffer manager, adjacent
 *    ones as one I/O.
 */
#include <stdlib.h>
#include <string.h>

#include "cache/cache_internal.h"
#include "ftk/bytes.h"
#include "ftk/mem.h"

/* READING -> RESIDENT or ABSENT. */
void
cache__read_finish(struct cache *cache, uint64_t page_id, bool scan, bool raw, bool ok)
{
    if (FTK_LIKELY(ok)) {
        uint32_t flags = CACHE_REF | (scan ? CACHE_SCANNED : 0u) | (raw ? CACHE_RAW : 0u);
        cache__bits_set(&cache->resident, page_id);
        cache__state_move(cache, page_id, CACHE_STATE_MASK, CACHE_RESIDENT | flags);
        if (scan)
            cache__ring_add(&cache->scanned, page_id);
        return;
    }
    bool covered = (atomic_load(&cache->fast.states[page_id]) & CACHE_COVERED) != 0;
    if (covered) /* its memory goes with the block; what it would have been when discarded: */
        memset(cache_address(&cache->fast, page_id), 0, cache->page_bytes);
    else
        ftk_region_discard(cache_address(&cache->fast, page_id), cache->page_bytes);
    if ((cache__state_move(cache, page_id, UINT32_MAX, CACHE_ABSENT) & CACHE_COVERED) == 0)
        cache__uncharge(cache, 1);
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
read_one(struct cache *cache, uint64_t page_id, bool scan, bool raw)
{
    uint8_t *page = cache_address(&cache->fast, page_id);
    ftk_status rc =
        ftk_file_read(cache->file, page, cache->page_bytes, page_id << cache->fast.page_shift);

    if (rc != FTK_OK)
        rc = read_failed(cache, page_id, rc);
    else if (!raw && cache->verify != NULL)
        rc = cache->verify(cache->context, page_id, page);
    cache__read_finish(cache, page_id, scan, raw, rc == FTK_OK);
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

/* Resident and pinned in one step: true.  False: not resident (*state_out says what instead). */
static bool
try_pin(struct cache *cache, uint64_t page_id, bool scan, uint32_t *state_out)
{
    _Atomic uint32_t *word = &cache->fast.states[page_id];
    uint32_t state = atomic_load(word);

    for (;;) {
        uint32_t kind = state & CACHE_STATE_MASK;
        *state_out = state;
        if (kind != CACHE_RESIDENT && kind != CACHE_EVICTING && kind != CACHE_FRESH)
            return false;
        uint32_t wanted = (state | (scan ? 0u : CACHE_REF)) + CACHE_PIN_ONE;
        if (!scan)
            wanted &= ~(uint32_t)CACHE_SCANNED;
        if (kind == CACHE_EVICTING)
            wanted = (wanted & ~(uint32_t)CACHE_STATE_MASK) | CACHE_RESIDENT;
        if (atomic_compare_exchange_weak(word, &state, wanted)) {
            if (kind == CACHE_EVICTING)
                atomic_fetch_add_explicit(&cache->rescues, 1, memory_order_relaxed);
            return true;
        }
    }
}

/* ABSENT -> READING, for a page that is charged; false: it is not ABSENT any more. */
static bool
mark_reading(struct cache *cache, uint64_t page_id)
{
    uint32_t absent = CACHE_ABSENT, cover = cache__cover(cache, page_id);

    if (!atomic_compare_exchange_strong(&cache->fast.states[page_id], &absent,
                                        CACHE_READING | cover))
        return false;
    if (cover != 0)
        cache__covered(cache, page_id);
    return true;
}

/* *read_out (may be NULL) becomes true when the page had to be read. */
static ftk_status
fetch_one(struct cache *cache, uint64_t page_id, bool scan, bool raw, bool *read_out)
{
    bool charged = false;
    ftk_status rc = FTK_OK;
    uint32_t state;

    while (!try_pin(cache, page_id, scan, &state)) {
        if ((state & CACHE_STATE_MASK) != CACHE_ABSENT) {
            cache__wait_page(cache, page_id, false);
            continue;
        }
        if (!charged) {
            FTK_TRY(cache__charge(cache, 1));
            charged = true;
            continue;
        }
        if (!mark_reading(cache, page_id))
            continue;
        charged = false; /* the page has it now */
        atomic_fetch_add_explicit(&cache->misses, 1, memory_order_relaxed);
        if (read_out != NULL)
            *read_out = true;
        FTK_TRY(read_one(cache, page_id, scan, raw));
    }
out:
    if (charged)
        cache__uncharge(cache, 1);
    return rc;
}

ftk_status
cache_fetch(struct cache *cache, uint64_t page_id, unsigned flags)
{
    ftk_status rc = check_range(cache, page_id, 1);

    if (rc == FTK_OK)
        rc = fetch_one(cache, page_id, (flags & CACHE_SCAN) != 0, false, NULL);
    return rc;
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
    bool loose = read->loose;

    if (status != FTK_OK) {
        (void)read_failed(cache, first + count - 1, status);
        first_error(read);
    }
    for (uint64_t id = first; id < first + count; id++) {
        bool ok = status == FTK_OK;
        if (ok && !read->raw && cache->verify != NULL &&
            cache->verify(cache->context, id, cache_address(&cache->fast, id)) != FTK_OK) {
            first_error(read);
            ok = false;
        }
        cache__read_finish(cache, id, read->scan, read->raw, ok);
    }
    if (loose)
        atomic_fetch_sub(&cache->loose_pending, 1);
}

/* Sorted, each once, in range, and only those that are ABSENT now. */
static size_t
pick_absent(struct cache *cache, const uint64_t *ids, size_t count, uint64_t *picked)
{
    size_t n = 0, kept = 0;

    for (size_t i = 0; i < count; i++)
        if (ids[i] < cache->fast.pages_max &&
            (atomic_load_explicit(&cache->fast.states[ids[i]], memory_order_relaxed) &
             CACHE_STATE_MASK) == CACHE_ABSENT)
            picked[n++] = ids[i];
    if (n > 1)
        qsort(picked, n, sizeof *picked, ftk_u64_order);
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || picked[kept - 1] != picked[i])
            picked[kept++] = picked[i];
    return kept;
}

/* Mark READING what is still ABSENT; what is not is dropped from the list. */
static size_t
claim(struct cache *cache, uint64_t *picked, size_t count)
{
    size_t kept = 0;

    for (size_t i = 0; i < count; i++)
        if (mark_reading(cache, picked[i]))
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
    return n;
}

static void
submit_run(struct cache *cache, struct ftk_iobuf *buf, uint64_t first, size_t count,
           struct ftk_iogroup *group, struct cache__read *read)
{
    ftk_iobuf_submit(buf, cache->file, FTK_IO_READ, cache_address(&cache->fast, first),
                     count << cache->fast.page_shift, first << cache->fast.page_shift, group,
                     read_done, read);
}

/* How many pages to charge at once: all of a batch, but no great part of a small cache. */
static size_t
batch_pages(struct cache *cache)
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
reads_init(struct reads *reads, struct cache *cache, bool scan, bool raw)
{
    reads->read = (struct cache__read){.cache = cache, .scan = scan, .raw = raw};
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

/* Memory for what is absent of one batch; those pages are READING then.  *count_out: their number,
 * 0 where it fails. */
static ftk_status
claim_absent(struct cache *cache, const uint64_t *ids, size_t count, uint64_t *picked,
             size_t *count_out)
{
    size_t wanted = pick_absent(cache, ids, count, picked);
    ftk_status rc = wanted > 0 ? cache__charge(cache, wanted) : FTK_OK;

    *count_out = 0;
    if (wanted == 0 || rc != FTK_OK)
        return rc;
    *count_out = claim(cache, picked, wanted);
    cache__uncharge(cache, wanted - *count_out);
    atomic_fetch_add_explicit(&cache->misses, *count_out, memory_order_relaxed);
    return FTK_OK;
}

static void
submit_claimed(struct cache *cache, const uint64_t *picked, size_t claimed,
               struct ftk_iogroup *group, struct cache__read *read)
{
    for (size_t i = 0; i < claimed;) {
        size_t n = run_length(cache, &picked[i], claimed - i);
        struct ftk_iobuf *buf;
        ftk_iobuf_acquire(cache->bufs, &buf);
        if (read->loose)
            atomic_fetch_add(&cache->loose_pending, 1);
        submit_run(cache, buf, picked[i], n, group, read);
        i += n;
    }
}

/* Start to read what is absent of one batch. */
static ftk_status
reads_start(struct reads *reads, const uint64_t *ids, size_t count)
{
    struct cache *cache = reads->read.cache;
    uint64_t picked[CACHE__BATCH_PAGES];
    size_t claimed;
    ftk_status rc = claim_absent(cache, ids, count, picked, &claimed);

    reads->started += claimed;
    if (reads->started == 1 && claimed == 1) /* alone, as far as can be seen */
        return read_one(cache, picked[0], reads->read.scan, reads->read.raw);
    submit_claimed(cache, picked, claimed, &reads->group, &reads->read);
    return rc;
}

void
cache__read_start(struct cache *cache, const uint64_t *ids, size_t count)
{
    uint64_t picked[CACHE__BATCH_PAGES];
    size_t claimed;

    (void)claim_absent(cache, ids, count, picked, &claimed); /* who needs them is told */
    submit_claimed(cache, picked, claimed, &cache->loose, &cache->loose_read[false]);
}

/* Batches follow each other without a wait, up to a part of the cache: those that are read cannot
 * make room. */
ftk_status
cache_fetch_many(struct cache *cache, const uint64_t *ids, size_t count, unsigned flags)
{
    size_t batch = batch_pages(cache);
    uint64_t most = (cache_limit() >> cache->fast.page_shift) / 16;
    struct reads reads;
    ftk_status rc = FTK_OK;

    for (size_t i = 0; i < count; i++)
        if (FTK_UNLIKELY(ids[i] >= cache->fast.pages_max))
            return check_range(cache, ids[i], 1);
    reads_init(&reads, cache, (flags & CACHE_SCAN) != 0, false);
    for (size_t i = 0; i < count && rc == FTK_OK; i += batch) {
        if (reads.started + batch > most)
            rc = reads_wait(&reads);
        if (rc == FTK_OK)
            rc = reads_start(&reads, ids + i, count - i < batch ? count - i : batch);
    }
    FTK_KEEP_FIRST(reads_wait(&reads));
    for (size_t i = 0; i < count && rc == FTK_OK; i++) /* those that others are reading */
        cache__wait_page(cache, ids[i], false);
    return rc;
}

static ftk_status
fetch_run_part(struct cache *cache, uint64_t first, size_t count, bool *read_out)
{
    uint64_t ids[CACHE__BATCH_PAGES];
    size_t pinned = 0;
    struct reads reads;
    ftk_status rc = FTK_OK;

    for (size_t i = 0; i < count; i++)
        ids[i] = first + i;
    reads_init(&reads, cache, false, true);
    rc = reads_start(&reads, ids, count);
    if (reads.started > 0)
        *read_out = true;
    FTK_KEEP_FIRST(reads_wait(&reads));
    if (rc != FTK_OK)
        goto out;
    for (; pinned < count; pinned++) /* reads again what was evicted in between */
        FTK_TRY(fetch_one(cache, first + pinned, false, true, read_out));
out:
    if (rc != FTK_OK)
        cache_unpin_run(cache, first, pinned);
    return rc;
}

ftk_status
cache_fetch_run(struct cache *cache, uint64_t first, uint64_t count, bool *read_out)
{
    size_t batch = batch_pages(cache);
    uint64_t done = 0;
    bool read = false;
    ftk_status rc = FTK_OK;

    if (read_out != NULL)
        *read_out = false;
    FTK_TRY(check_range(cache, first, count));
    if (count << cache->fast.page_shift > cache_limit()) {
        rc = FTK_FAIL(FTK_NOMEM, "%llu pages at once are more than the cache limit of %llu bytes",
                      (unsigned long long)count, (unsigned long long)cache_limit());
        goto out;
    }
    while (done < count) {
        size_t part = count - done < batch ? (size_t)(count - done) : batch;
        FTK_TRY(fetch_run_part(cache, first + done, part, &read));
        done += part;
    }
    if (read_out != NULL)
        *read_out = read;
out:
    if (rc != FTK_OK)
        cache_unpin_run(cache, first, done);
    return rc;
}

/* Start one read that nobody waits for; false: no buffer to be had. */
static bool
prefetch_run(struct cache *cache, const uint64_t *ids, size_t count, bool scan)
{
    struct ftk_iobuf *buf = ftk_iobuf_try_acquire(cache->bufs);
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
    atomic_fetch_add(&cache->loose_pending, 1);
    submit_run(cache, buf, ids[0], claimed, &cache->loose, &cache->loose_read[scan]);
    return true;
}

void
cache_prefetch(struct cache *cache, const uint64_t *ids, size_t count, unsigned flags)
{
    uint64_t picked[CACHE__BATCH_PAGES];
    size_t batch = batch_pages(cache);

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
