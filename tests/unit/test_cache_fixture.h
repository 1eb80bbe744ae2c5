/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/test_cache_fixture.h -- a cache on a file of the case's directory, with pages whose
 * contents tell their id and version.
 *
 * A page: id, version, birth, checksum of the rest, then words derived from id and version.
 */
#ifndef TESTS_UNIT_TEST_CACHE_FIXTURE_H
#define TESTS_UNIT_TEST_CACHE_FIXTURE_H

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cache/cache.h"
#include "ftk/checksum.h"
#include "ftk/clock.h"
#include "ftk/thread.h"
#include "tests/support/test.h"

#define PAGE_BYTES 4096u
#define MIB (UINT64_C(1) << 20)

struct page {
    uint64_t id, version, birth, checksum;
    uint64_t words[PAGE_BYTES / 8 - 4];
};

struct fixture {
    struct ftk_disk *disk;
    struct ftk_file *file;
    struct ftk_iobufs *bufs;
    struct cache *cache;
    const struct cache_fast *fast;
    _Atomic uint64_t seals, verifies, pressed;
};

static inline uint64_t
page_checksum(const struct page *page)
{
    return ftk_checksum(page->words, sizeof page->words, page->id ^ page->version << 40);
}

static inline void
page_fill(struct page *page, uint64_t id, uint64_t version, uint64_t birth)
{
    page->id = id;
    page->version = version;
    page->birth = birth;
    page->checksum = 0;
    for (size_t i = 0; i < sizeof page->words / sizeof page->words[0]; i++)
        page->words[i] = id * 0x9e3779b97f4a7c15u + version + i;
}

/* Contents are whole and of this id (checksum aside). */
static inline bool
page_is(const struct page *page, uint64_t id)
{
    uint64_t first = page->id * 0x9e3779b97f4a7c15u + page->version;
    return page->id == id && page->words[0] == first && page->words[100] == first + 100 &&
           page->words[507] == first + 507;
}

static inline ftk_status
fixture_verify(void *context, uint64_t page_id, const void *memory)
{
    struct fixture *f = context;
    const struct page *page = memory;

    atomic_fetch_add(&f->verifies, 1);
    if (page->id != page_id || page->checksum != page_checksum(page))
        return FTK_FAIL(FTK_CORRUPT, "page %llu is corrupt", (unsigned long long)page_id);
    return FTK_OK;
}

static inline bool
fixture_seal(void *context, uint64_t page_id, void *memory, uint64_t limit)
{
    struct fixture *f = context;
    struct page *page = memory;

    if (page->birth > limit)
        return false;
    FTK_ASSERT(page->id == page_id);
    atomic_fetch_add(&f->seals, 1);
    page->checksum = page_checksum(page);
    return true;
}

/* The file becomes the fixture's. */
static inline void
fixture_open_file(struct fixture *f, struct ftk_file *file, uint64_t pages)
{
    struct ftk_iobufs_options io = FTK_IOBUFS_OPTIONS_INIT;

    memset(f, 0, sizeof *f);
    f->disk = file->disk;
    f->file = file;
    io.disk = file->disk;
    REQUIRE_OK(ftk_iobufs_open(&io, &f->bufs));
    struct cache_options options = {.file = f->file,
                                    .bufs = f->bufs,
                                    .page_bytes = PAGE_BYTES,
                                    .pages_want = pages,
                                    .pages_need = 1,
                                    .verify = fixture_verify,
                                    .seal = fixture_seal,
                                    .context = f};
    REQUIRE_OK(cache_open(&options, &f->cache));
    f->fast = cache_fast(f->cache);
}

static inline void
fixture_open_on(struct fixture *f, struct ftk_disk *disk, const char *path, uint64_t pages)
{
    struct ftk_file *file;

    REQUIRE_OK(ftk_file_open(disk, path, FTK_OPEN_CREATE | FTK_OPEN_DIRECT, &file));
    fixture_open_file(f, file, pages);
}

static inline void
fixture_open(struct fixture *f, const char *name, uint64_t pages)
{
    fixture_open_on(f, ftk_disk_native(), test_path(name), pages);
}

static inline void
fixture_close(struct fixture *f)
{
    cache_close(f->cache);
    ftk_iobufs_close(f->bufs);
    ftk_file_close(f->file);
}

/* Close and open the cache over the same file: everything is absent. */
static inline void
fixture_reopen(struct fixture *f, const char *name, uint64_t pages)
{
    fixture_close(f);
    fixture_open(f, name, pages);
}

static inline struct page *
fixture_page(struct fixture *f, uint64_t id)
{
    return (struct page *)(void *)cache_address(f->fast, id);
}

/* Make a page with contents, dirty. */
static inline void
fixture_make(struct fixture *f, uint64_t id, uint64_t version, uint64_t birth)
{
    cache_new(f->cache, id);
    page_fill(fixture_page(f, id), id, version, birth);
    cache_dirty(f->cache, f->fast, id);
}

/* Pages [first, first+count), reserved and made in steps, written out whenever a part is dirty. */
static inline ftk_status
fixture_load(struct fixture *f, uint64_t first, uint64_t count)
{
    ftk_status rc = FTK_OK;
    uint64_t part = cache_limit() / PAGE_BYTES / 4;

    for (uint64_t i = 0; i < count; i++) {
        if (i % 64 == 0)
            FTK_TRY(cache_reserve(f->cache, 64));
        fixture_make(f, first + i, 1, 1);
        if (cache_dirty_bytes(f->cache) / PAGE_BYTES >= part)
            FTK_TRY(cache_write_dirty(f->cache, 1, NULL));
    }
    FTK_TRY(cache_write_dirty(f->cache, 1, NULL));
out:
    cache_unreserve(f->cache);
    return rc;
}

/* Pages of a large value of which nothing can be verified. */
static inline ftk_status
fixture_fetch_run(struct fixture *f, uint64_t first, uint64_t count)
{
    return cache_fetch_run(f->cache,
                           &(struct cache_run){.first = first, .count = count, .tail = 1});
}

static inline uint32_t
fixture_state(struct fixture *f, uint64_t id)
{
    return atomic_load(&f->fast->states[id]);
}

/* Resident set of the process, in bytes. */
static inline uint64_t
resident_bytes(void)
{
    char text[128];
    unsigned long long size = 0, rss = 0;
    FILE *file = fopen("/proc/self/statm", "r");

    if (file == NULL)
        return 0;
    if (fgets(text, sizeof text, file) == NULL || sscanf(text, "%llu %llu", &size, &rss) != 2)
        rss = 0;
    fclose(file);
    return rss * (uint64_t)sysconf(_SC_PAGESIZE);
}

#endif
