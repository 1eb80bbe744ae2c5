/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/space/space.h -- the space map: which page ids are free, and when dead pages become free.
 *
 * Two bitmaps in memory, one bit a page (32 MiB each for a file of 1 TiB with 4 KiB pages):
 *   live   reachable from the newest committed snapshot; what a checkpoint stores in the map pages
 *   avail  may be given out now
 *
 * A page lives from its birth (transaction that made it) to its death (transaction that replaced
 * it).  Dead pages go through
 *
 *     in limbo (until the snapshot that does without them is published)
 *       --> free at once, if no pinned snapshot s has birth <= s < death
 *       --> else held on the list of the newest such snapshot, looked at again when it is unpinned
 *
 * Invariants
 * 1. A page is given out only if no pinned or published snapshot and no durable header reaches it.
 * 2. live changes only together with the newest snapshot, under the mutex.
 * 3. Page ids of headers and map pages are always live, never avail.
 *
 * Locks: everything is called by the holder of the writer lock, but for space_checkpoint_* (the
 * checkpointer) and space_stats; `mutex` guards what both touch.
 */
#ifndef ENGINE_SPACE_H
#define ENGINE_SPACE_H

#include "cache/cache.h"
#include "engine/page/page_format.h"
#include "ftk/thread.h"

struct space;

/* Dead pages: [page, page + count) born together. */
struct space_extent {
    uint64_t page_count; /* page | count << 48 */
    uint64_t birth;
};
static inline struct space_extent
space_extent(uint64_t page, uint32_t count, uint64_t birth)
{
    return (struct space_extent){page | (uint64_t)count << 48, birth};
}
static inline uint64_t
space_extent_page(struct space_extent extent)
{
    return extent.page_count & PAGE_ID_MAX;
}
static inline uint32_t
space_extent_count(struct space_extent extent)
{
    return (uint32_t)(extent.page_count >> 48);
}

/* A growing list of extents. */
struct space_extents {
    struct space_extent *items;
    size_t count, capacity;
};
/* Room for `more`.  errors: FTK_NOMEM, the list is as it was. */
ftk_status space_extents_ensure(struct space_extents *extents, size_t more);
/* Add without failing: room was ensured. */
static inline void
space_extents_push(struct space_extents *extents, struct space_extent extent)
{
    FTK_ASSERT(extents->count < extents->capacity);
    extents->items[extents->count++] = extent;
}
void space_extents_release(struct space_extents *extents);

struct space_options {
    struct ftk_file *file;
    struct cache *cache;
    uint32_t page_bytes;
    uint64_t salt;       /* of checksums */
    uint64_t pages_end;  /* from the header; 0: a new file */
    uint64_t checkpoint; /* number of the header's checkpoint */
    uint64_t map_hash;   /* from the header */
    bool read_only;
};

/* errors: FTK_CORRUPT (a map page is damaged, or the maps are not those of the header). */
ftk_status space_open(const struct space_options *options, struct space **space_out);
void space_close(struct space *space);

/* ---- the writer ---- */

/* One page id.  reserve: may use the last pages of a full disk.  errors: FTK_NOSPACE, FTK_IO. */
ftk_status space_alloc(struct space *space, bool reserve, uint64_t *page_out);
/* count contiguous ids. */
ftk_status space_alloc_run(struct space *space, uint32_t count, bool reserve, uint64_t *page_out);
/* Pages that no snapshot ever reached: free again now. */
void space_unalloc(struct space *space, uint64_t page, uint32_t count);

/* See that the next `count` space_alloc cannot fail; may grow the file.  errors: as space_alloc. */
ftk_status space_ensure(struct space *space, uint32_t count, bool reserve);
/*
 * The same in three steps, for a writer that must not do I/O under a lock: space_ensure would grow
 * the file; grow it by *bytes_out, 0 on failure, which changes nothing that others look at; take
 * note of that.  The first and the last one under the lock.
 */
bool space_must_grow(const struct space *space, uint32_t count, bool reserve);
ftk_status space_grow(const struct space *space, uint64_t *bytes_out);
void space_grown(struct space *space, uint64_t bytes);

/*
 * A transaction commits: its new pages come alive (but for `dropped`, which it made and no longer
 * needs; the caller gives them back), its dead ones go into limbo.  Runs `publish` (which makes the
 * snapshot the newest) under the mutex.  dead is moved; what was not alive (only a damaged tree
 * reaches such pages) leaves dropped and dead.  Cannot fail: space_commit_prepare took the memory.
 */
ftk_status space_commit_prepare(struct space *space);
void space_commit(struct space *space, const struct space_extents *born,
                  struct space_extents *dropped, struct space_extents *dead, uint64_t death,
                  void (*publish)(void *context), void *context);

/*
 * Free what can be freed.  published: newest snapshot that readers can get, all older ones can be
 * reached only through pins; pinned[0..count): pinned snapshot ids, ascending (the durable header's
 * and the running checkpoint's are added by the space map itself).
 */
void space_reclaim(struct space *space, uint64_t published, const uint64_t *pinned, size_t count);
/* True when reclaim would have something to look at. */
bool space_reclaim_due(const struct space *space, uint64_t published);
/* Few pages are left that can be had without growing the file, and the file cannot grow. */
bool space_is_full(const struct space *space);

/* For checks, between begin and end (under the mutex): is the page live; is it a header or map
 * page, which no tree reaches? */
void space_compare_begin(struct space *space);
void space_compare_end(struct space *space);
bool space_is_live(const struct space *space, uint64_t page);
bool space_is_fixed(const struct space *space, uint64_t page);

/* By the writer: all of these ids have been given out at some time. */
bool space_has(const struct space *space, uint64_t page, uint32_t count);
/* Expensive; by the writer between two calls.  What does not agree, NULL: all does. */
const char *space_check(struct space *space);
/* Neither live nor free: the writer has made these pages, or they wait for reuse. */
bool space_is_given_out(struct space *space, uint64_t page, uint32_t count);

/* ---- the checkpointer ---- */

/* Begin: freeze the live map as of now; `pin` runs under the mutex (it takes the newest snapshot
 * and returns its id, which is pinned from here to space_checkpoint_end). */
ftk_status space_checkpoint_begin(struct space *space, uint64_t checkpoint,
                                  uint64_t (*pin)(void *context), void *context);
/* Write the frozen map pages; *pages_end_out and *map_hash_out go into the header. */
ftk_status space_checkpoint_write(struct space *space, struct ftk_iobufs *bufs,
                                  uint64_t *pages_end_out, uint64_t *map_hash_out);
/* ok: the header is durable: this checkpoint's snapshot replaces the last one's pin. */
void space_checkpoint_end(struct space *space, bool ok);
/* The snapshot of the header found at opening is durable. */
void space_set_durable(struct space *space, uint64_t snapshot);
/* At a clean close, after the last checkpoint: cut the file behind the last live page. */
ftk_status space_trim(struct space *space);

struct space_stats {
    uint64_t pages_end, pages_file, pages_live, pages_avail, pages_pending;
    uint64_t map_bytes_written;
};
void space_stats(struct space *space, struct space_stats *stats_out);

#endif
