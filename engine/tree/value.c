/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/tree/value.c -- large values: runs of pages outside the leaf.
 *
 * A value of up to LARGE_PIECE_BYTES is one run: its bytes, then a checksum for each page that
 * holds any.  A larger one is cut into pieces of so many bytes, each such a run, and one more run
 * lists their first pages: 4 GiB / 16 MiB = 256 pieces, 1536 bytes.
 *
 * 1. Only a few pages of a run are held at a time, so that a value of any size is written, read and
 *    replayed in the smallest cache: VALUE_PART_BYTES while it is written, hold_pages while it is
 *    read.  The exception is value_pin, which lends a value as a whole, if it is small beside the
 *    cache.
 * 2. The pages from the first checksum on are the run's tail.  Its first page may hold data as
 *    well.  The tail is held as long as any page of the run is; a page of data is verified against
 *    it when it is read, before anyone can see it.
 * 3. The runs of a value that is given up half way are the last pages that the transaction made
 *    (value_runs_drop): nothing else makes any from the value's beginning until it is in its place.
 * 4. The seed of the checksums has the birth of the value in it: what another value left in these
 *    pages, checksums included, does not pass for this one.
 */
#include <string.h>

#include "engine/tree/tree.h"
#include "ftk/checksum.h"
#include "ftk/mem.h"

enum {
    HOLD_BYTES_MAX = 4 << 20, /* read at a time, */
    HOLD_PART = 16,           /* but no more than this part of the cache */
};

/* ---- a run ----------------------------------------------------------------------------------- */

static uint64_t
sums_offset(uint64_t bytes)
{
    return (bytes + 7) & ~UINT64_C(7);
}

static struct value_run
run_of(const kiln_db *db, uint64_t first, uint64_t bytes, uint64_t birth)
{
    struct value_run run = {.first = first, .bytes = bytes, .birth = birth};
    uint64_t page = db->page_bytes;
    uint8_t seed[8];

    ftk_put_le64(seed, birth);
    run.seed = db->salt ^ ftk_checksum(seed, sizeof(seed), 0);
    run.data_pages = (uint32_t)((bytes + page - 1) / page);
    run.tail_at = (uint32_t)(sums_offset(bytes) / page);
    FTK_ASSERT(bytes > 0 && bytes <= LARGE_PIECE_BYTES);
    run.pages = (uint32_t)((sums_offset(bytes) + UINT64_C(8) * run.data_pages + page - 1) / page);
    return run;
}

static uint8_t *
run_memory(const kiln_txn *txn, const struct value_run *run)
{
    return cache_address(txn->fast, run->first);
}

static uint8_t *
run_sum_at(const kiln_txn *txn, const struct value_run *run, uint32_t page)
{
    return run_memory(txn, run) + sums_offset(run->bytes) + UINT64_C(8) * page;
}

/* Of the data in one page. */
static uint64_t
run_sum(const kiln_txn *txn, const struct value_run *run, uint32_t page)
{
    uint64_t at = (uint64_t)page * txn->db->page_bytes;
    uint64_t left = run->bytes - at;
    size_t size = left < txn->db->page_bytes ? (size_t)left : txn->db->page_bytes;

    FTK_DEBUG_ASSERT(page < run->data_pages);
    return ftk_checksum(run_memory(txn, run) + at, size, (run->first + page) ^ run->seed);
}

/* ---- write ----------------------------------------------------------------------------------- */

ftk_status
value_writer_begin(kiln_txn *txn, uint64_t size, struct value_writer *writer)
{
    ftk_status rc = in_place_end(txn); /* who returns leaves makes pages */

    if (rc != FTK_OK)
        return rc;
    *writer = (struct value_writer){
        .size = size, .birth = txn->writer.birth, .born = txn->writer.born.list.count};
    if (size > KILN_VALUE_MAX)
        return FTK_FAIL(FTK_TOOBIG, "a value of %llu bytes", (unsigned long long)size);
    FTK_ASSERT(size > 0);
    writer->list_count = (uint32_t)((size + LARGE_PIECE_BYTES - 1) / LARGE_PIECE_BYTES);
    return FTK_OK;
}

/* A run of so many bytes, with its tail. */
static ftk_status
run_open(kiln_txn *txn, struct value_writer *writer, uint64_t bytes)
{
    struct value_run run = run_of(txn->db, 0, bytes, writer->birth);
    ftk_status rc = txn_run_alloc(txn, run.pages, &run.first);

    if (rc == FTK_OK)
        rc = txn_run_pages(txn, run.first + run.tail_at, run.pages - run.tail_at);
    if (rc != FTK_OK)
        return rc;
    writer->run = run;
    writer->run_done = 0;
    writer->open = true;
    return FTK_OK;
}

/* Pages of the part in hand that are not in the tail: [*from, *to). */
static void
part_pages(const kiln_txn *txn, const struct value_writer *writer, uint32_t *from, uint32_t *to)
{
    uint64_t page = txn->db->page_bytes;
    uint64_t end = (writer->run_done + writer->part + page - 1) / page;

    *from = (uint32_t)(writer->run_done / page);
    *to = end < writer->run.tail_at ? (uint32_t)end : writer->run.tail_at;
    if (*from > *to)
        *from = *to;
}

/* The next part of the open run. */
static ftk_status
part_open(kiln_txn *txn, struct value_writer *writer)
{
    uint64_t left = writer->run.bytes - writer->run_done;
    uint32_t from, to;
    ftk_status rc = FTK_OK;

    FTK_ASSERT(writer->open && writer->part == 0 && left > 0);
    writer->part = left < VALUE_PART_BYTES ? (uint32_t)left : VALUE_PART_BYTES;
    part_pages(txn, writer, &from, &to);
    if (from < to)
        rc = txn_run_pages(txn, writer->run.first + from, to - from);
    if (rc != FTK_OK)
        writer->part = 0;
    return rc;
}

/* What is between the last byte and the first checksum, and behind the last checksum. */
static void
gaps_clear(const kiln_txn *txn, const struct value_run *run)
{
    uint64_t page = txn->db->page_bytes;
    uint8_t *sums_end = run_sum_at(txn, run, run->data_pages);
    uint8_t *end = run_memory(txn, run) + (uint64_t)run->pages * page;

    FTK_ASSERT(cache_is_fresh(txn->fast, run->first + run->data_pages - 1));
    FTK_ASSERT(cache_is_fresh(txn->fast, run->first + run->pages - 1));
    memset(run_memory(txn, run) + run->bytes, 0, sums_offset(run->bytes) - run->bytes);
    memset(sums_end, 0, (size_t)(end - sums_end));
}

/* The part is filled: sealed and dirty; with the last one the tail, too.  Nothing is stored behind
 * that: from when it is dirty a page of a value may be written by any checkpoint, and evicted by
 * anyone. */
static void
part_close(kiln_txn *txn, struct value_writer *writer)
{
    const struct value_run *run = &writer->run;
    uint64_t page = txn->db->page_bytes;
    uint32_t first = (uint32_t)(writer->run_done / page), behind, from, to;

    part_pages(txn, writer, &from, &to);
    writer->run_done += writer->part;
    writer->part = 0;
    writer->open = writer->run_done < run->bytes;
    FTK_ASSERT(writer->run_done % page == 0 || !writer->open);
    behind = writer->open ? (uint32_t)(writer->run_done / page) : run->data_pages;
    for (uint32_t i = first; i < behind; i++) {
        FTK_ASSERT(cache_is_fresh(txn->fast, run->first + i));
        ftk_put_le64(run_sum_at(txn, run, i), run_sum(txn, run, i));
    }
    if (!writer->open)
        gaps_clear(txn, run);
    if (from < to)
        cache_dirty_run(txn->cache, run->first + from, to - from);
    if (!writer->open)
        cache_dirty_run(txn->cache, run->first + run->tail_at, run->pages - run->tail_at);
}

ftk_status
value_writer_next(kiln_txn *txn, struct value_writer *writer, uint8_t **memory_out,
                  size_t *size_out)
{
    uint64_t left = writer->size - writer->done;
    ftk_status rc = FTK_OK;

    FTK_ASSERT(left > 0);
    if (!writer->open)
        rc = run_open(txn, writer, left < LARGE_PIECE_BYTES ? left : LARGE_PIECE_BYTES);
    if (rc == FTK_OK)
        rc = part_open(txn, writer);
    if (rc != FTK_OK)
        return rc;
    *memory_out = run_memory(txn, &writer->run) + writer->run_done;
    *size_out = writer->part;
    return FTK_OK;
}

void
value_writer_filled(kiln_txn *txn, struct value_writer *writer)
{
    writer->done += writer->part;
    part_close(txn, writer);
    if (writer->open)
        return;
    FTK_ASSERT(writer->listed < writer->list_count);
    page_put_le48(writer->list + (size_t)writer->listed * LARGE_ID_BYTES, writer->run.first);
    writer->listed++;
}

static void
ref_put(uint8_t *ref, uint64_t page, uint64_t size, uint64_t birth)
{
    page_put_le48(ref + LARGE_REF_PAGE, page);
    ftk_put_le64(ref + LARGE_REF_SIZE, size);
    ftk_put_le64(ref + LARGE_REF_BIRTH, birth);
}

ftk_status
value_writer_end(kiln_txn *txn, struct value_writer *writer, uint8_t *ref)
{
    uint32_t bytes = writer->list_count * LARGE_ID_BYTES;
    ftk_status rc = FTK_OK;

    FTK_ASSERT(writer->done == writer->size && writer->listed == writer->list_count);
    if (writer->list_count > 1) {
        FTK_TRY(run_open(txn, writer, bytes));
        FTK_TRY(part_open(txn, writer));
        memcpy(run_memory(txn, &writer->run), writer->list, bytes);
        part_close(txn, writer);
    }
    ref_put(ref, writer->run.first, writer->size, writer->birth);
out:
    return rc;
}

void
value_runs_drop(kiln_txn *txn, const struct value_writer *writer)
{
    struct txn_born *born = &txn->writer.born;

    FTK_ASSERT(writer->born <= born->list.count);
    txn_pages_give_back(txn, &born->list, writer->born);
    txn_born_cut(born, writer->born);
}

/* ---- hold and verify ------------------------------------------------------------------------- */

static ftk_status
run_verify(const kiln_txn *txn, const struct value_run *run, uint32_t page)
{
    if (page >= run->data_pages) /* checksums alone: the pages that they are of will tell */
        return FTK_OK;
    if (ftk_get_le64(run_sum_at(txn, run, page)) == run_sum(txn, run, page))
        return FTK_OK;
    return FTK_FAIL(FTK_CORRUPT, "large value: page %llu fails its checksum",
                    (unsigned long long)run->first + page);
}

struct verify {
    const kiln_txn *txn;
    const struct value_run *run;
};

static ftk_status
page_verify(void *context, uint64_t page_id, const void *page)
{
    const struct verify *verify = context;

    (void)page; /* where it always is */
    return run_verify(verify->txn, verify->run, (uint32_t)(page_id - verify->run->first));
}

/* Bring in and pin pages [from, to), the last `tail` of them first.  None: the tail is held. */
static ftk_status
span_hold(kiln_txn *txn, const struct value_run *run, uint32_t from, uint32_t to, uint32_t tail)
{
    struct verify verify = {txn, run};
    struct cache_run span = {.first = run->first + from,
                             .count = to - from,
                             .tail = tail,
                             .verify = page_verify,
                             .context = &verify};

    return from < to ? txn_fetch_run(txn, &span) : FTK_OK;
}

static void
span_release(kiln_txn *txn, const struct value_run *run, uint32_t from, uint32_t to)
{
    if (from < to)
        cache_unpin_run(txn->cache, run->first + from, to - from);
}

/* Of a reference from disk. */
static ftk_status
run_check(const kiln_txn *txn, const struct value_run *run)
{
    if (run->first == 0 || run->first >= txn->fast->pages_max ||
        run->pages > txn->fast->pages_max - run->first)
        return FTK_FAIL(FTK_CORRUPT, "large value at page %llu: cannot be",
                        (unsigned long long)run->first);
    return FTK_OK;
}

/* Data pages [from, to), and the tail. */
static ftk_status
run_hold(kiln_txn *txn, const struct value_run *run, uint32_t from, uint32_t to)
{
    uint32_t tail = run->pages - run->tail_at;
    ftk_status rc = run_check(txn, run);

    if (rc != FTK_OK)
        return rc;
    if (to > run->tail_at)
        to = run->tail_at;
    if (from == 0 && to == run->tail_at) /* the whole of it: with one I/O, if it can be */
        return span_hold(txn, run, 0, run->pages, tail);
    rc = span_hold(txn, run, run->tail_at, run->pages, tail);
    if (rc != FTK_OK)
        return rc;
    rc = span_hold(txn, run, from, to, 0);
    if (rc != FTK_OK)
        span_release(txn, run, run->tail_at, run->pages);
    return rc;
}

static void
run_release(kiln_txn *txn, const struct value_run *run, uint32_t from, uint32_t to)
{
    span_release(txn, run, from, to < run->tail_at ? to : run->tail_at);
    span_release(txn, run, run->tail_at, run->pages);
}

/* Data pages held at a time. */
static uint32_t
hold_pages(const kiln_txn *txn)
{
    uint64_t bytes = cache_limit() / HOLD_PART;
    uint64_t pages = (bytes < HOLD_BYTES_MAX ? bytes : HOLD_BYTES_MAX) / txn->db->page_bytes;

    return pages > 0 ? (uint32_t)pages : 1;
}

/* ---- read ------------------------------------------------------------------------------------ */

static uint64_t
ref_birth(const uint8_t *ref)
{
    return ftk_get_le64(ref + LARGE_REF_BIRTH);
}

static uint64_t
list_count(uint64_t size)
{
    return (size + LARGE_PIECE_BYTES - 1) / LARGE_PIECE_BYTES;
}

static struct value_run
list_run(const kiln_txn *txn, const uint8_t *ref)
{
    return run_of(txn->db, page_get_le48(ref + LARGE_REF_PAGE),
                  list_count(value_ref_size(ref)) * LARGE_ID_BYTES, ref_birth(ref));
}

/* The run that holds the value's byte at `offset`. */
static ftk_status
run_find(kiln_txn *txn, const uint8_t *ref, uint64_t offset, struct value_run *run_out)
{
    uint64_t size = value_ref_size(ref), page = page_get_le48(ref + LARGE_REF_PAGE);
    uint64_t i = offset / LARGE_PIECE_BYTES;
    uint64_t left = size - i * LARGE_PIECE_BYTES;
    ftk_status rc;

    if (size > KILN_VALUE_MAX || size == 0)
        return FTK_FAIL(FTK_CORRUPT, "large value of %llu bytes", (unsigned long long)size);
    FTK_ASSERT(offset < size);
    if (list_count(size) > 1) {
        struct value_run list = list_run(txn, ref);
        rc = run_hold(txn, &list, 0, list.data_pages);
        if (rc != FTK_OK)
            return rc;
        page = page_get_le48(run_memory(txn, &list) + i * LARGE_ID_BYTES);
        run_release(txn, &list, 0, list.data_pages);
    }
    *run_out =
        run_of(txn->db, page, left < LARGE_PIECE_BYTES ? left : LARGE_PIECE_BYTES, ref_birth(ref));
    return run_check(txn, run_out);
}

ftk_status
value_read(kiln_txn *txn, const uint8_t *ref, uint64_t offset, void *buffer, size_t size)
{
    uint64_t page = txn->db->page_bytes;
    uint8_t *to = buffer;

    while (size > 0) {
        struct value_run run;
        uint64_t at = offset % LARGE_PIECE_BYTES, most;
        uint32_t first = (uint32_t)(at / page), last;
        ftk_status rc = run_find(txn, ref, offset, &run);
        if (rc != FTK_OK)
            return rc;
        most = (uint64_t)(first + hold_pages(txn)) * page;
        most = (most < run.bytes ? most : run.bytes) - at;
        if (most > size)
            most = size;
        last = (uint32_t)((at + most - 1) / page);
        rc = run_hold(txn, &run, first, last + 1);
        if (rc != FTK_OK)
            return rc;
        memcpy(to, run_memory(txn, &run) + at, (size_t)most);
        run_release(txn, &run, first, last + 1);
        to += most;
        offset += most;
        size -= (size_t)most;
    }
    return FTK_OK;
}

ftk_status
value_pin(kiln_txn *txn, const uint8_t *ref, struct lent_run *run_out, kiln_slice *value_out)
{
    uint64_t size = value_ref_size(ref);
    struct value_run run;
    ftk_status rc;

    if (size > LARGE_PIECE_BYTES || size > cache_limit() / 8)
        return FTK_FAIL(FTK_TOOBIG, "a value of %llu bytes: read it in pieces",
                        (unsigned long long)size);
    rc = run_find(txn, ref, 0, &run);
    if (rc == FTK_OK)
        rc = run_hold(txn, &run, 0, run.data_pages);
    if (rc != FTK_OK)
        return rc;
    *run_out = (struct lent_run){run.first, run.pages};
    *value_out = (kiln_slice){run_memory(txn, &run), (size_t)size};
    return FTK_OK;
}

/* ---- retire, walk ---------------------------------------------------------------------------- */

ftk_status
value_each_run(kiln_txn *txn, const uint8_t *ref,
               ftk_status (*each)(void *context, const struct value_run *run), void *context)
{
    uint64_t size = value_ref_size(ref);
    struct value_run run;
    ftk_status rc = run_find(txn, ref, 0, &run);

    if (rc == FTK_OK)
        rc = each(context, &run);
    for (uint64_t at = LARGE_PIECE_BYTES; at < size && rc == FTK_OK; at += LARGE_PIECE_BYTES) {
        rc = run_find(txn, ref, at, &run);
        if (rc == FTK_OK)
            rc = each(context, &run);
    }
    if (rc == FTK_OK && list_count(size) > 1) {
        run = list_run(txn, ref);
        rc = each(context, &run);
    }
    return rc;
}

ftk_status
value_check_run(kiln_txn *txn, const struct value_run *run)
{
    uint32_t part = hold_pages(txn);
    ftk_status rc = FTK_OK;

    for (uint32_t from = 0; from < run->data_pages && rc == FTK_OK; from += part) {
        uint32_t to = run->data_pages - from < part ? run->data_pages : from + part;
        rc = run_hold(txn, run, from, to);
        if (rc != FTK_OK)
            break;
        /* In memory, too: damaged checksums may have come in after the data. */
        for (uint32_t i = from; i < to && rc == FTK_OK; i++)
            rc = run_verify(txn, run, i);
        run_release(txn, run, from, to);
    }
    return rc;
}

static ftk_status
going_add(void *context, const struct value_run *run)
{
    kiln_txn *txn = context;
    struct space_extents *going = &txn->writer.going;
    ftk_status rc;

    if (!space_has(txn->db->space, run->first, run->pages))
        return FTK_FAIL(FTK_CORRUPT, "large value at page %llu: cannot be",
                        (unsigned long long)run->first);
    rc = space_extents_ensure(going, 1);
    if (rc == FTK_OK)
        space_extents_push(going, space_extent(run->first, run->pages, run->birth));
    return rc;
}

ftk_status
value_retire_prepare(kiln_txn *txn, const uint8_t *ref, uint32_t pages, bool reserve)
{
    ftk_status rc;

    txn->writer.going.count = 0;
    FTK_TRY(in_place_end(txn));
    FTK_TRY(value_each_run(txn, ref, going_add, txn));
    FTK_TRY(txn_prepare(txn, pages, reserve));
    rc = txn_retire_reserve(txn, txn->writer.going.count);
out:
    return rc;
}

void
value_retire(kiln_txn *txn)
{
    struct space_extents *going = &txn->writer.going;

    FTK_ASSERT(going->count > 0);
    for (size_t i = 0; i < going->count; i++)
        txn_page_retire(txn, space_extent_page(going->items[i]),
                        space_extent_count(going->items[i]), going->items[i].birth);
    going->count = 0;
}
