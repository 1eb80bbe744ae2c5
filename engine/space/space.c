/* SPDX-License-Identifier: Apache-2.0 */
/* engine/space/space.c -- page ids given out and taken back.  Invariants: engine/space/space.h. */
#include "engine/space/space.h"

#include <string.h>

#include "engine/space/space_internal.h"
#include "ftk/mem.h"

enum {
    GROW_BYTES_MIN = 16 << 20,
    GROW_BYTES_MAX = 1 << 30,
    GROW_BYTES_LAST = 1 << 20, /* on a nearly full disk */
    RESERVE_PAGES = 512,       /* for deletes and checkpoints on a full disk */
};

ftk_status
space_extents_ensure(struct space_extents *extents, size_t more)
{
    size_t capacity = extents->capacity == 0 ? 64 : extents->capacity;
    ftk_status rc;

    if (extents->count + more <= extents->capacity)
        return FTK_OK;
    while (capacity < extents->count + more)
        capacity *= 2;
    rc = ftk_realloc((void **)&extents->items, capacity * sizeof(*extents->items));
    if (rc == FTK_OK)
        extents->capacity = capacity;
    return rc;
}

void
space_extents_release(struct space_extents *extents)
{
    ftk_free(extents->items);
    *extents = (struct space_extents){0};
}

/* ---- groups ---------------------------------------------------------------------------------- */

ftk_status
space__groups_extend(struct space *space, uint64_t end)
{
    ftk_status rc = FTK_OK;

    while (((uint64_t)space->group_count << space->group_shift) < end) {
        uint64_t group = space->group_count;
        ftk_mutex_lock(&space->mutex);
        if (group == space->group_capacity) {
            size_t capacity = space->group_capacity == 0 ? 64 : space->group_capacity * 2;
            rc = ftk_realloc((void **)&space->groups, capacity * sizeof(*space->groups));
            if (rc != FTK_OK) {
                ftk_mutex_unlock(&space->mutex);
                return rc;
            }
            space->group_capacity = capacity;
        }
        space->groups[group] = (struct space_group){.dirty = true};
        space->group_count++;
        for (unsigned copy = 0; copy < 2; copy++) {
            uint64_t page = space__map_page(space, group, copy);
            space->live[page / 64] |= UINT64_C(1) << (page % 64);
        }
        ftk_mutex_unlock(&space->mutex);
    }
    return rc;
}

void
space_compare_begin(struct space *space)
{
    ftk_mutex_lock(&space->mutex);
}

void
space_compare_end(struct space *space)
{
    ftk_mutex_unlock(&space->mutex);
}

bool
space_is_live(const struct space *space, uint64_t page)
{
    return page < (uint64_t)space->group_count << space->group_shift &&
           space__bit(space->live, page);
}

bool
space_has(const struct space *space, uint64_t page, uint32_t count)
{
    uint64_t last = page + count - 1;

    return page >= space__first_page(space) && page < space->pages_end && last < space->pages_end &&
           page >> space->group_shift == last >> space->group_shift &&
           !space_is_fixed(space, page) && !space_is_fixed(space, last);
}

bool
space_is_fixed(const struct space *space, uint64_t page)
{
    uint64_t map = space__map_page(space, page >> space->group_shift, 0);

    return page < space__first_page(space) || page == map || page == map + 1;
}

/* ---- growing the file ------------------------------------------------------------------------ */

ftk_status
space_grow(const struct space *space, uint64_t *bytes_out)
{
    uint64_t bytes = space->pages_file << space->page_shift;
    uint64_t step = bytes / 8;
    ftk_status rc = FTK_OK;

    step = step < GROW_BYTES_MIN ? GROW_BYTES_MIN : step > GROW_BYTES_MAX ? GROW_BYTES_MAX : step;
    step &= ~(uint64_t)(GROW_BYTES_LAST - 1);
    while (!space->read_only) { /* else a replay in memory: nothing is written */
        rc = ftk_file_allocate(space->file, bytes, step);
        if (rc != FTK_NOSPACE || step <= GROW_BYTES_LAST)
            break;
        step = step / 2 < GROW_BYTES_LAST ? GROW_BYTES_LAST : step / 2;
    }
    *bytes_out = rc == FTK_OK ? step : 0;
    return rc;
}

void
space_grown(struct space *space, uint64_t bytes)
{
    FTK_ASSERT(space->pages_end <= space->pages_file);
    space->pages_file += bytes >> space->page_shift;
    space->grow_failed = bytes == 0 && !space->read_only;
}

/* The file is too short for so many pages behind the last one given out. */
static bool
file_is_short(const struct space *space, uint64_t count, bool reserve)
{
    return space->pages_end + count + (reserve ? 0 : RESERVE_PAGES) > space->pages_file;
}

/* See that [pages_end, pages_end + count) is inside the file. */
static ftk_status
room_at_end(struct space *space, uint64_t count, bool reserve)
{
    uint64_t bytes;
    ftk_status rc;

    if (space->pages_end + count > space->pages_max)
        return FTK_FAIL(FTK_NOSPACE, "the address space of the cache ends at page %llu",
                        (unsigned long long)space->pages_max);
    while (file_is_short(space, count, reserve)) {
        rc = space_grow(space, &bytes);
        space_grown(space, bytes);
        if (rc != FTK_OK)
            return rc;
    }
    return space__groups_extend(space, space->pages_end + count);
}

/* ---- giving out ------------------------------------------------------------------------------ */

static void
avail_clear(struct space *space, uint64_t page)
{
    FTK_ASSERT(space__bit(space->avail, page) && space->pages_avail > 0);
    space->avail[page / 64] &= ~(UINT64_C(1) << (page % 64));
    space->groups[page >> space->group_shift].avail--;
    space->pages_avail--;
}

/*
 * How many of 64 neighbouring pages must be free for a word of the map to be used.  Pages freed at
 * random leave holes of one or two pages; a checkpoint that fills those writes 4 KiB here and
 * there, a tenth of what the device does in long runs.  So crowded words are passed over and the
 * file grows instead, until so much of it is free that holes are what there is: a file under random
 * updates settles at about 3/8 free.
 */
static uint32_t
word_threshold(const struct space *space)
{
    uint64_t free_pages = space->pages_avail;

    if (space->grow_failed || free_pages >= space->pages_end / 2)
        return 1;
    if (free_pages >= space->pages_end / 8 * 3)
        return 12;
    return free_pages >= space->pages_end / 4 ? 24 : 40;
}

/* The first word in [from, to) with `threshold` free pages; UINT64_MAX: none. */
static uint64_t
word_next(const struct space *space, uint64_t from, uint64_t to, uint32_t threshold)
{
    uint64_t group_words = (UINT64_C(1) << space->group_shift) / 64;

    while (from < to) {
        uint64_t group = from / group_words;
        uint64_t end = (group + 1) * group_words;
        if (end > to)
            end = to;
        if (space->groups[group].avail >= threshold)
            for (uint64_t word = from; word < end; word++)
                if ((uint32_t)__builtin_popcountll(space->avail[word]) >= threshold)
                    return word;
        from = end;
    }
    return UINT64_MAX;
}

/* Move the cursor to a word worth using; false: none, the file should grow. */
static bool
cursor_advance(struct space *space)
{
    uint32_t threshold = word_threshold(space);
    uint64_t words = (space->pages_end + 63) / 64, here = space->cursor / 64, word;

    if (threshold > 1 && threshold >= space->scan_threshold &&
        space->pages_avail < space->scan_avail)
        return false; /* looked in vain, and little was freed since */
    word = word_next(space, here + 1, words, threshold);
    if (word == UINT64_MAX)
        word = word_next(space, 0, here + 1 < words ? here + 1 : words, threshold);
    if (word == UINT64_MAX) {
        space->scan_threshold = threshold;
        space->scan_avail = space->pages_avail + space->pages_avail / 16 + 256;
        return false;
    }
    space->scan_avail = 0;
    space->cursor = word * 64;
    return true;
}

/* The next free page of the cursor's word, then of the next good word; UINT64_MAX: grow. */
static uint64_t
avail_take(struct space *space)
{
    uint64_t bits = space->avail[space->cursor / 64] & (~UINT64_C(0) << (space->cursor % 64));
    uint64_t page;

    if (bits == 0) {
        if (space->pages_avail == 0 || !cursor_advance(space))
            return UINT64_MAX;
        bits = space->avail[space->cursor / 64];
    }
    page = (space->cursor & ~UINT64_C(63)) + (uint64_t)__builtin_ctzll(bits);
    space->cursor = page % 64 == 63 ? page : page + 1; /* stays inside the word */
    avail_clear(space, page);
    return page;
}

/* How many of `count` pages have to come from the end of the file; 0: none. */
static uint64_t
wanted_at_end(const struct space *space, uint32_t count, bool reserve)
{
    uint64_t keep = reserve ? 0 : RESERVE_PAGES;
    uint64_t ready = space->hot_count;

    /* Holes count only when the file cannot grow: else they may be passed over. */
    if (space->grow_failed && space->pages_avail > keep)
        ready += space->pages_avail - keep;
    /* At the end of the file every group costs two ids. */
    return ready >= count ? 0 : count - ready + 4;
}

bool
space_must_grow(const struct space *space, uint32_t count, bool reserve)
{
    uint64_t wanted = wanted_at_end(space, count, reserve);

    return wanted > 0 && file_is_short(space, wanted, reserve);
}

ftk_status
space_ensure(struct space *space, uint32_t count, bool reserve)
{
    uint64_t wanted = wanted_at_end(space, count, reserve);
    ftk_status rc;

    if (wanted == 0)
        return FTK_OK;
    rc = room_at_end(space, wanted, reserve);
    if (rc == FTK_NOSPACE && space->grow_failed &&
        space->hot_count + space->pages_avail >= count + (reserve ? 0 : RESERVE_PAGES))
        rc = FTK_OK; /* now they do count */
    return rc;
}

static ftk_status
alloc_at_end(struct space *space, uint32_t count, bool reserve, uint64_t *page_out)
{
    uint64_t group_pages = UINT64_C(1) << space->group_shift;
    ftk_status rc = room_at_end(space, count + 2, reserve);
    uint64_t page;

    if (rc != FTK_OK)
        return rc;
    page = space->pages_end;
    /* Skip map pages; a run must not cross into the next group. */
    if (count > 1 && (page & (group_pages - 1)) + count > group_pages) {
        uint64_t next = (page | (group_pages - 1)) + 1;
        rc = room_at_end(space, next - page + count + 2, reserve);
        if (rc != FTK_OK)
            return rc;
        space->pages_end = next;
        space__give(space, page, (uint32_t)(next - page), false);
        page = next;
    }
    if ((page & (group_pages - 1)) == 0)
        page += 2;
    rc = space__groups_extend(space, page + count);
    if (rc != FTK_OK)
        return rc;
    FTK_ASSERT(page >= space->pages_end && page + count <= space->pages_file);
    FTK_ASSERT(!space_is_fixed(space, page) && !space_is_fixed(space, page + count - 1));
    space->pages_end = page + count;
    *page_out = page;
    return FTK_OK;
}

ftk_status
space_alloc(struct space *space, bool reserve, uint64_t *page_out)
{
    uint64_t page;

    if (space->hot_count > 0) {
        *page_out = space->hot[--space->hot_count];
        FTK_ASSERT(*page_out < space->pages_end);
        return FTK_OK;
    }
    if (space->pages_avail > (reserve || !space->grow_failed ? 0 : RESERVE_PAGES)) {
        page = avail_take(space);
        if (page != UINT64_MAX) {
            *page_out = page;
            return FTK_OK;
        }
    }
    return alloc_at_end(space, 1, reserve, page_out);
}

/* First run of `count` avail bits in the group; UINT64_MAX: none, and run_max becomes exact. */
static uint64_t
run_in_group(struct space *space, uint64_t group, uint32_t count)
{
    uint64_t from = group << space->group_shift;
    uint64_t end = (group + 1) << space->group_shift;
    uint32_t longest = 0, run = 0;

    if (end > space->pages_end)
        end = space->pages_end;
    for (uint64_t page = from; page < end;) {
        uint64_t word = space->avail[page / 64];
        if (page % 64 == 0 && word == 0) {
            run = 0;
            page += 64;
            continue;
        }
        if (page % 64 == 0 && word == UINT64_MAX && page + 64 <= end && run + 64 < count) {
            run += 64;
            page += 64;
        } else {
            run = word >> (page % 64) & 1 ? run + 1 : 0;
            page++;
        }
        if (run == count)
            return page - count;
        if (run > longest)
            longest = run;
    }
    space->groups[group].run_max = longest;
    return UINT64_MAX;
}

ftk_status
space_alloc_run(struct space *space, uint32_t count, bool reserve, uint64_t *page_out)
{
    FTK_ASSERT(count > 0 && count < (UINT64_C(1) << space->group_shift) - 2);
    if (count == 1)
        return space_alloc(space, reserve, page_out);
    for (uint64_t group = 0; group < space->group_count && space->pages_avail >= count; group++) {
        struct space_group *g = &space->groups[group];
        uint64_t page;
        if (g->avail < count || g->run_max < count)
            continue;
        page = run_in_group(space, group, count);
        if (page == UINT64_MAX)
            continue;
        for (uint32_t i = 0; i < count; i++)
            avail_clear(space, page + i);
        FTK_ASSERT(page >> space->group_shift == group && page + count <= space->pages_end);
        *page_out = page;
        return FTK_OK;
    }
    return alloc_at_end(space, count, reserve, page_out);
}

void
space__give(struct space *space, uint64_t page, uint32_t count, bool hot)
{
    for (uint32_t i = 0; i < count; i++) {
        uint64_t id = page + i;
        struct space_group *group = &space->groups[id >> space->group_shift];
        if (hot && count == 1) {
            if (space->hot_count == space->hot_capacity) {
                size_t capacity = space->hot_capacity == 0 ? 1024 : space->hot_capacity * 2;
                if (ftk_realloc((void **)&space->hot, capacity * sizeof(*space->hot)) == FTK_OK)
                    space->hot_capacity = capacity;
            }
            if (space->hot_count < space->hot_capacity) {
                space->hot[space->hot_count++] = id;
                return;
            }
        }
        FTK_DEBUG_ASSERT(!space__bit(space->avail, id) && !space_is_fixed(space, id));
        space->avail[id / 64] |= UINT64_C(1) << (id % 64);
        group->avail++;
        group->run_max = UINT32_MAX;
        space->pages_avail++;
    }
}

void
space_unalloc(struct space *space, uint64_t page, uint32_t count)
{
    FTK_ASSERT(count > 0 && page + count <= space->pages_end);
    FTK_ASSERT(!space_is_fixed(space, page) && !space__bit(space->live, page));
    for (uint32_t i = 0; i < count; i++)
        cache_free(space->cache, page + i);
    space__give(space, page, count, true);
}

bool
space_is_full(const struct space *space)
{
    return space->grow_failed &&
           space->pages_avail + space->hot_count + (space->pages_file - space->pages_end) <
               UINT64_C(2) * RESERVE_PAGES;
}

/* ---- open, close ----------------------------------------------------------------------------- */

ftk_status
space_open(const struct space_options *options, struct space **space_out)
{
    const struct cache_fast *fast = cache_fast(options->cache);
    struct space *space = NULL;
    uint64_t size = 0;
    ftk_status rc;

    *space_out = NULL;
    FTK_TRY(FTK_NEW(&space));
    ftk_mutex_init(&space->mutex);
    space->file = options->file;
    space->cache = options->cache;
    space->page_bytes = options->page_bytes;
    space->page_shift = (uint32_t)__builtin_ctz(options->page_bytes);
    space->group_shift = space->page_shift + 2;
    space->salt = options->salt;
    space->read_only = options->read_only;
    space->pages_max = fast->pages_max;
    space->checkpoint = options->checkpoint;
    FTK_ASSERT(options->page_bytes >= 4096 &&
               (options->page_bytes & (options->page_bytes - 1)) == 0);
    FTK_TRY(ftk_region_reserve(fast->pages_max / 8 + 8, (void **)&space->live));
    FTK_TRY(ftk_region_reserve(fast->pages_max / 8 + 8, (void **)&space->avail));
    FTK_TRY(ftk_file_size(options->file, &size));
    space->pages_file = size >> space->page_shift;
    for (uint64_t page = 0; page < space__first_page(space); page++)
        space->live[page / 64] |= UINT64_C(1) << (page % 64);
    if (options->pages_end == 0) {
        space->pages_end = space__first_page(space) + 2;
        FTK_TRY(space__groups_extend(space, space->pages_end));
    } else {
        uint64_t last_group = (options->pages_end - 1) >> space->group_shift;
        if (options->pages_end > space->pages_max ||
            space__map_page(space, last_group, 1) >= space->pages_file) {
            rc = FTK_FAIL(FTK_CORRUPT, "data.kdb is cut: %llu pages, and the header says %llu",
                          (unsigned long long)space->pages_file,
                          (unsigned long long)options->pages_end);
            goto out;
        }
        if (options->pages_end <= space__map_page(space, last_group, 1)) {
            rc = FTK_FAIL(FTK_CORRUPT, "the header's end, page %llu, lies before a space map",
                          (unsigned long long)options->pages_end);
            goto out;
        }
        space->pages_end = options->pages_end;
        FTK_TRY(space__groups_extend(space, space->pages_end));
        FTK_TRY(space__maps_load(space, options->checkpoint, options->map_hash));
    }
    *space_out = space;
    space = NULL;
out:
    space_close(space);
    return rc;
}

void
space_close(struct space *space)
{
    if (space == NULL)
        return;
    if (space->live != NULL)
        ftk_region_release(space->live, space->pages_max / 8 + 8);
    if (space->avail != NULL)
        ftk_region_release(space->avail, space->pages_max / 8 + 8);
    space__pending_release(space);
    ftk_free(space->frozen_maps);
    ftk_free(space->frozen_groups);
    ftk_free(space->groups);
    ftk_free(space->hot);
    ftk_mutex_release(&space->mutex);
    ftk_free(space);
}

ftk_status
space_trim(struct space *space)
{
    uint64_t last =
        space->group_count == 0 ? 0 : space__map_page(space, space->group_count - 1, 1) + 1;
    uint64_t pages;

    if (last < space->pages_end) /* groups are begun before the first of their pages is used */
        last = space->pages_end;
    while (last > space__first_page(space) + 2 && !space__bit(space->live, last - 1))
        last--;
    FTK_ASSERT(last >= space__first_page(space) + 2); /* the first group's map pages */
    /* The header's pages_end stays: ids above `last` are free and read as nothing. */
    pages = last;
    if (pages >= space->pages_file)
        return FTK_OK;
    return ftk_file_truncate(space->file, pages << space->page_shift);
}

void
space_stats(struct space *space, struct space_stats *stats_out)
{
    ftk_mutex_lock(&space->mutex);
    *stats_out = space->shown;
    stats_out->map_bytes_written = space->map_bytes_written;
    ftk_mutex_unlock(&space->mutex);
}
