/* SPDX-License-Identifier: Apache-2.0 */
/* engine/txn/txn_pages.c -- pages of a write transaction: made, copied, retired. */
#include <string.h>

#include "engine/txn/txn_state.h"
#include "ftk/mem.h"

enum {
    PREPARE_PAGES = 256, /* at a time, */
    PREPARE_PART = 32,   /* but no more than this part of the cache */
    SPILL_PAGES_MIN =
        8, /* one operation's pages, or so: written out when even these are too many */
};

/* A replay in memory can write nothing out: what it dirties must leave room for what is
 * prepared. */
static ftk_status
replay_fits(const kiln_txn *txn)
{
    uint64_t limit = cache_limit();

    /* At the least limit, 4 MiB: 2 MiB dirty, 1 MiB prepared, the rest states of pages. */
    if (cache_dirty_bytes(txn->cache) < limit / 8 * 7 - (3u << 19))
        return FTK_OK;
    return FTK_FAIL(FTK_NOMEM,
                    "%s: what its log changes does not fit into a cache of %llu bytes; make it "
                    "larger, or open for writing",
                    txn->db->path, (unsigned long long)limit);
}

static uint64_t
spill_pages(const struct txn_writer *writer)
{
    return atomic_load_explicit(&writer->spill_pages, memory_order_relaxed);
}

/* By the one that holds the window's mutex, if there is a window: no need of an atomic addition. */
static void
spill_add(struct txn_writer *writer, uint64_t pages)
{
    atomic_store_explicit(&writer->spill_pages, spill_pages(writer) + pages, memory_order_relaxed);
}

static void
take_prepared(struct txn_writer *writer)
{
    uint32_t prepared = atomic_load_explicit(&writer->prepared, memory_order_relaxed);

    FTK_ASSERT(prepared > 0);
    atomic_store_explicit(&writer->prepared, prepared - 1, memory_order_relaxed);
}

/* Write out this transaction's pages so that they can be evicted.  Those that it changes again get
 * a new birth: a page is written once with a birth (engine/txn/README.md, rule 3). */
static ftk_status
spill(kiln_txn *txn)
{
    struct cache_write_stats stats;
    ftk_status rc = in_place_end(txn); /* what is written out has only what an abort can drop */

    if (rc != FTK_OK)
        return rc;
    atomic_store_explicit(&txn->writer.spill_pages, 0, memory_order_relaxed);
    rc = cache_write_dirty(txn->cache, UINT64_MAX, &stats);
    txn->writer.birth = db_birth_take(txn->db);
    return rc == FTK_OK ? FTK_OK : db_fail_if_final(txn->db, rc);
}

/* When they are more than this writer's share of the cache, or when what `pages` more leave of it
 * is not enough for everyone who reads: twice the share is all that the other writers leave. */
static ftk_status
spill_if_large(kiln_txn *txn, uint32_t pages)
{
    bool read_only = txn->db->read_only;
    uint64_t part = read_only ? cache_limit() / 16 : cache_share(txn->cache), due;
    ftk_status rc;

    due = part / txn->db->page_bytes;
    if (due < SPILL_PAGES_MIN)
        due = SPILL_PAGES_MIN;
    atomic_store_explicit(&txn->writer.spill_due, due, memory_order_relaxed);
    if (spill_pages(&txn->writer) < due &&
        (spill_pages(&txn->writer) == 0 ||
         (spill_pages(&txn->writer) + pages) * txn->db->page_bytes <= 2 * part))
        return FTK_OK;
    if (!read_only && cache_dirty_bytes(txn->cache) >= part)
        return spill(txn);
    rc = in_place_end(txn); /* so that the pages of a window never count twice */
    if (rc != FTK_OK)
        return rc;
    atomic_store_explicit(&txn->writer.spill_pages, 0, memory_order_relaxed);
    return read_only ? replay_fits(txn) : FTK_OK;
}

/* This transaction holds pages that nobody else can clean. */
static bool
may_spill(const kiln_txn *txn)
{
    return !txn->db->read_only && spill_pages(&txn->writer) > 0;
}

/* Memory for `pages`, after this transaction's unfinished pages were written out if there is none.
 * It is taken where it is found: to look first and take later would leave a gap in which the limit
 * may fall.  Without a window that could be asked for, or about to end it. */
static ftk_status
reserve_or_spill(kiln_txn *txn, uint32_t pages)
{
    ftk_status rc;

    if (may_spill(txn) && !cache_try_reserve(txn->cache, pages, true))
        FTK_TRY(spill(txn));
    FTK_TRY(cache_reserve(txn->cache, pages));
out:
    return rc;
}

/* What was prepared when the limit was higher may fill what it is now. */
static void
prepared_trim(kiln_txn *txn, uint32_t keep)
{
    uint32_t prepared;

    txn_window_hold(txn); /* whoever returns leaves takes of what is prepared */
    if (txn->window != NULL)
        keep += atomic_load_explicit(&txn->window->reserved, memory_order_relaxed);
    prepared = atomic_load_explicit(&txn->writer.prepared, memory_order_relaxed);
    if (prepared > keep)
        prepared = keep;
    atomic_store_explicit(&txn->writer.prepared, prepared, memory_order_relaxed);
    cache_reserve_trim(txn->cache, prepared);
    txn_window_let(txn);
}

/*
 * Memory for pages to be fetched, charged from here on.  Where there is none, what is prepared
 * beyond `keep` pages is given back; then this transaction's unfinished pages are written out, if
 * there are any, before anyone else is waited for, and with the window goes what was prepared for
 * returning its leaves.  Empty at last: the fetch waits.
 */
static ftk_status
room_take(kiln_txn *txn, size_t count, uint32_t keep, struct cache_room *room)
{
    ftk_status rc;

    FTK_ASSERT(!txn_holds_window(txn));
    if (cache_room_take(txn->cache, count, false, room))
        return FTK_OK;
    prepared_trim(txn, keep);
    if (cache_room_take(txn->cache, count, may_spill(txn), room))
        return FTK_OK;
    rc = may_spill(txn) ? spill(txn) : in_place_end(txn);
    if (rc != FTK_OK)
        return rc;
    prepared_trim(txn, keep);
    (void)cache_room_take(txn->cache, count, false, room);
    return FTK_OK;
}

ftk_status
txn_fetch(kiln_txn *txn, uint64_t page_id, unsigned flags, uint32_t keep)
{
    struct cache_room room = {0};
    ftk_status rc = txn->write ? room_take(txn, 1, keep, &room) : FTK_OK;

    if (rc == FTK_OK)
        rc = cache_fetch_in(txn->cache, page_id, flags, &room);
    cache_room_give(txn->cache, &room);
    return rc;
}

ftk_status
txn_fetch_many(kiln_txn *txn, const uint64_t *ids, size_t count, uint32_t keep)
{
    struct cache_room room = {0};
    ftk_status rc = txn->write && count > 0 ? room_take(txn, 1, keep, &room) : FTK_OK;

    if (rc == FTK_OK)
        rc = cache_fetch_many_in(txn->cache, ids, count, 0, &room);
    cache_room_give(txn->cache, &room);
    return rc;
}

ftk_status
txn_fetch_run(kiln_txn *txn, struct cache_run *run)
{
    struct cache_room room = {0};
    ftk_status rc = txn->write ? room_take(txn, run->count, 0, &room) : FTK_OK;

    run->room = &room;
    if (rc == FTK_OK)
        rc = cache_fetch_run(txn->cache, run);
    run->room = NULL;
    cache_room_give(txn->cache, &room);
    return rc;
}

/* Page ids, if need be after a checkpoint that frees what only the old one needed. */
static ftk_status
ensure_space(kiln_txn *txn, uint32_t pages, bool reserve)
{
    kiln_db *db = txn->db;
    ftk_status rc = space_ensure(db->space, pages, reserve);

    if (rc == FTK_NOSPACE && !db->read_only) {
        for (int round = 0; round < 2 && rc == FTK_NOSPACE; round++) {
            rc = checkpointer_run(db->checkpointer, true);
            if (rc != FTK_OK)
                return rc;
            snapshots_reclaim(db);
            rc = space_ensure(db->space, pages, reserve);
        }
    }
    return rc;
}

/* Without a window, or with its mutex held: `want` pages are there, and room to note them. */
static ftk_status
prepared_set(kiln_txn *txn, uint32_t want)
{
    ftk_status rc;

    FTK_TRY(txn_born_ensure(&txn->writer.born, want));
    FTK_TRY(space_extents_ensure(&txn->writer.dead, want));
    FTK_TRY(space_extents_ensure(&txn->writer.retired_own, want));
    FTK_ASSERT(txn->window == NULL || want >= atomic_load(&txn->window->reserved));
    atomic_store_explicit(&txn->writer.prepared, want, memory_order_relaxed);
out:
    return rc;
}

/* The file is long enough for `want` pages; grown, if it must be, while the mutex is free. */
static ftk_status
grow_beside_window(kiln_txn *txn, uint32_t want, bool reserve)
{
    struct space *space = txn->db->space;
    uint64_t bytes;
    bool must;

    for (;;) {
        txn_window_hold(txn);
        must = space_must_grow(space, want, reserve);
        txn_window_let(txn);
        if (!must)
            return FTK_OK;
        ftk_status rc = space_grow(space, &bytes);
        if (rc != FTK_OK) /* the space map hears of it when there is no window */
            return rc;
        txn_window_hold(txn);
        space_grown(space, bytes);
        txn_window_let(txn);
    }
}

/* `want` pages are prepared, unless the file must grow first: *short_out. */
static ftk_status
prepare_held(kiln_txn *txn, uint32_t want, bool reserve, bool *short_out)
{
    ftk_status rc = FTK_OK;

    *short_out = false;
    txn_window_hold(txn);
    if (!txn_holds_window(txn))
        return FTK_ANSWER(FTK_STATE, "the window must end");
    *short_out = space_must_grow(txn->db->space, want, reserve);
    if (!*short_out)
        rc = space_ensure(txn->db->space, want, reserve);
    if (!*short_out && rc == FTK_OK)
        rc = prepared_set(txn, want);
    txn_window_let(txn);
    return rc;
}

/* The same under an open window.  FTK_STATE: it is no more, or must end. */
static ftk_status
prepare_under_window(kiln_txn *txn, uint32_t want, bool reserve)
{
    bool is_short = true; /* and again when leaves that were returned meanwhile have used some */
    ftk_status rc = FTK_OK;

    while (rc == FTK_OK && is_short) {
        rc = grow_beside_window(txn, want, reserve);
        if (rc == FTK_OK && !cache_try_reserve(txn->cache, want, false))
            rc = FTK_ANSWER(FTK_STATE, "the window must end");
        if (rc == FTK_OK)
            rc = prepare_held(txn, want, reserve, &is_short);
    }
    return rc == FTK_NOSPACE ? FTK_ANSWER(FTK_STATE, "the window must end") : rc;
}

static uint32_t
pages_at_a_time(const kiln_txn *txn)
{
    uint64_t limit = cache_limit() / PREPARE_PART / txn->db->page_bytes;
    uint64_t part = atomic_load_explicit(&txn->writer.spill_due, memory_order_relaxed) /
                    (PREPARE_PART / 4); /* the share is a quarter, or less */

    if (part > limit)
        part = limit;
    return part < PREPARE_PAGES ? (uint32_t)part : PREPARE_PAGES;
}

ftk_status
txn_prepare_slow(kiln_txn *txn, uint32_t pages, bool reserve)
{
    uint32_t many, want;
    struct window *window;
    ftk_status rc;

    reserve = reserve || txn->writer.reserve;
    FTK_TRY(spill_if_large(txn, pages));
    many = pages_at_a_time(txn);
    want = pages < many ? many : pages;
    if (spill_pages(&txn->writer) > 0 && !txn->db->read_only)
        FTK_TRY(checkpointer_throttle(txn->db->checkpointer));
    window = txn->window;
    if (window != NULL && window_state(window) != WINDOW_UNTRIED) {
        rc = prepare_under_window(txn, want + atomic_load(&window->reserved), reserve);
        if (rc != FTK_STATE)
            goto out;
        FTK_TRY(in_place_end(txn));
    }
    rc = space_ensure(txn->db->space, want, reserve);
    if (rc == FTK_NOSPACE) {
        want = pages;
        rc = ensure_space(txn, want, reserve);
    }
    if (rc != FTK_OK)
        goto out;
    if (!cache_try_reserve(txn->cache, want, false)) { /* as few as will do, then */
        want = pages;
        txn->writer.prepared = 0;
        cache_unreserve(txn->cache);
        FTK_TRY(reserve_or_spill(txn, want));
    }
    rc = prepared_set(txn, want);
out:
    return rc;
}

uint64_t
txn_page_new(kiln_txn *txn)
{
    uint64_t page;
    ftk_status rc;

    take_prepared(&txn->writer);
    spill_add(&txn->writer, 1);
    rc = space_alloc(txn->db->space, true, &page);
    FTK_ASSERT(rc == FTK_OK); /* txn_prepare saw to it */
    txn_born_add(&txn->writer.born, space_extent(page, 1, txn->writer.birth));
    if (FTK_UNLIKELY(!cache_new(txn->cache, page))) /* the limit has fallen: look again */
        atomic_store_explicit(&txn->writer.spill_due, 0, memory_order_relaxed);
    return page;
}

void
txn_page_born(kiln_txn *txn, uint64_t page_id)
{
    cache_dirty(txn->cache, txn->fast, page_id);
}

void
txn_pages_give_back(kiln_txn *txn, const struct space_extents *extents, size_t from)
{
    for (size_t i = from; i < extents->count; i++)
        space_unalloc(txn->db->space, space_extent_page(extents->items[i]),
                      space_extent_count(extents->items[i]));
}

bool
txn_page_drop(kiln_txn *txn, struct space_extent extent)
{
    bool there;

    FTK_ASSERT(extent.birth >= txn->writer.birth_floor);
    if (txn_born_remove(&txn->writer.born, extent, txn->writer.scope_born, &there)) {
        space_unalloc(txn->db->space, space_extent_page(extent), space_extent_count(extent));
        return true;
    }
    if (!there) /* reached twice, and gone already */
        txn_damage(txn);
    return !there;
}

void
txn_scope_begin(kiln_txn *txn, struct txn_scope *scope)
{
    struct txn_writer *writer = &txn->writer;

    FTK_ASSERT(txn->window == NULL && db_births(txn->db) > writer->birth);
    *scope = (struct txn_scope){.born = writer->born.list.count,
                                .dead = writer->dead.count,
                                .retired_own = writer->retired_own.count,
                                .birth_floor = writer->birth_floor,
                                .scope_born = writer->scope_born};
    writer->birth = writer->birth_floor = db_birth_take(txn->db);
    writer->scope_born = scope->born;
}

/* Of what the scope replaced, drop what the scope around it made: no rollback wants it any more. */
void
txn_scope_keep(kiln_txn *txn, const struct txn_scope *scope)
{
    struct txn_writer *writer = &txn->writer;
    struct space_extents *retired = &writer->retired_own;
    size_t kept = scope->retired_own;

    FTK_ASSERT(kept <= retired->count);
    writer->birth_floor = scope->birth_floor;
    writer->scope_born = scope->scope_born;
    for (size_t i = kept; i < retired->count; i++) {
        struct space_extent extent = retired->items[i];
        if (extent.birth < writer->birth_floor || !txn_page_drop(txn, extent))
            retired->items[kept++] = extent;
    }
    retired->count = kept;
}

void
txn_scope_take_back(kiln_txn *txn, const struct txn_scope *scope)
{
    struct txn_writer *writer = &txn->writer;

    FTK_ASSERT(scope->dead <= writer->dead.count &&
               scope->retired_own <= writer->retired_own.count);
    txn_pages_give_back(txn, &writer->born.list, scope->born);
    txn_born_cut(&writer->born, scope->born);
    writer->dead.count = scope->dead;
    writer->retired_own.count = scope->retired_own;
    writer->birth_floor = scope->birth_floor;
    writer->scope_born = scope->scope_born;
}

void
txn_page_retire(kiln_txn *txn, uint64_t page, uint32_t count, uint64_t birth)
{
    struct space_extent extent = space_extent(page, count, birth);

    if (atomic_load_explicit(&txn->writer.prepared, memory_order_relaxed) > 0)
        take_prepared(&txn->writer);
    if (FTK_UNLIKELY(!space_has(txn->db->space, page, count)))
        txn_damage(txn); /* a reference on disk leads nowhere */
    else if (birth < txn->writer.birth_first)
        space_extents_push(&txn->writer.dead, extent);
    else if (birth < txn->writer.birth_floor || !txn_page_drop(txn, extent))
        space_extents_push(&txn->writer.retired_own, extent);
}

void
txn_page_touch(kiln_txn *txn, uint64_t page_id)
{
    if (cache_is_dirty(txn->fast, page_id))
        return;
    spill_add(&txn->writer, 1); /* it was written out early */
    cache_dirty(txn->cache, txn->fast, page_id);
}

uint64_t
txn_page_own(kiln_txn *txn, uint64_t page_id)
{
    uint8_t *from = cache_address(txn->fast, page_id);
    uint64_t birth = node_birth(from);
    uint32_t bytes = txn->db->page_bytes;
    uint64_t page;
    uint8_t *to;
    uint32_t arrays, heap;

    if (txn_page_mine(txn, birth)) {
        if (!cache_is_dirty(txn->fast, page_id)) { /* written out early, under that birth */
            ftk_put_le64(from + PAGE_BIRTH, txn->writer.birth);
            txn_page_touch(txn, page_id);
        }
        return page_id;
    }
    page = txn_page_new(txn);
    to = cache_address(txn->fast, page);
    arrays = node_arrays_end(from);
    heap = ftk_get_le16(from + PAGE_HEAP_BYTES);
    /* Birth first, then DIRTY (a pass that looks now leaves the page alone), then the bytes: an
     * atomic operation behind them would wait until all of them are in the cache. */
    ftk_put_le64(to + PAGE_BIRTH, txn->writer.birth);
    cache_dirty(txn->cache, txn->fast, page);
    memcpy(to + PAGE_TYPE, from + PAGE_TYPE, arrays - PAGE_TYPE);
    memcpy(to + bytes - heap, from + bytes - heap, heap);
    txn_page_retire(txn, page_id, 1, birth);
    return page;
}

ftk_status
txn_retire_reserve(kiln_txn *txn, size_t count)
{
    ftk_status rc;

    FTK_TRY(in_place_end(txn));
    FTK_TRY(space_extents_ensure(&txn->writer.dead, count + txn->writer.prepared));
    FTK_TRY(space_extents_ensure(&txn->writer.retired_own, count + txn->writer.prepared));
out:
    return rc;
}

ftk_status
txn_run_alloc(kiln_txn *txn, uint32_t count, uint64_t *page_out)
{
    uint64_t page = 0;
    ftk_status rc;

    FTK_TRY(in_place_end(txn));
    FTK_TRY(txn_born_ensure(&txn->writer.born, 1));
    rc = space_alloc_run(txn->db->space, count, txn->writer.reserve, &page);
    if (rc == FTK_NOSPACE && !txn->db->read_only) {
        FTK_TRY(checkpointer_run(txn->db->checkpointer, true));
        snapshots_reclaim(txn->db);
        rc = space_alloc_run(txn->db->space, count, txn->writer.reserve, &page);
    }
    if (rc != FTK_OK)
        goto out;
    txn_born_add(&txn->writer.born, space_extent(page, count, txn->writer.birth));
    txn->writer.prepared = 0; /* the run may have taken what was ensured */
    *page_out = page;
out:
    return rc;
}

ftk_status
txn_run_pages(kiln_txn *txn, uint64_t first, uint32_t count)
{
    uint32_t prepared;
    ftk_status rc;

    FTK_TRY(spill_if_large(txn, count));
    prepared = atomic_load_explicit(&txn->writer.prepared, memory_order_relaxed);
    FTK_TRY(reserve_or_spill(txn, prepared + count));
    FTK_TRY(cache_new_run(txn->cache, first, count));
    spill_add(&txn->writer, count);
out:
    return rc;
}
