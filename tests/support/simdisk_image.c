/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/support/simdisk_image.c -- bytes of a file in pages, shared copy on write.
 *
 * 1. A page or chunk with more than one reference never changes.
 * 2. No page: a hole, reads as zero.  `zero_page`: space is reserved, reads as zero.
 * 3. Bytes behind the size are zero.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/simdisk_internal.h"

struct sim_page {
    _Atomic uint32_t refs;
    uint8_t bytes[SIM_PAGE];
};

struct sim_chunk {
    _Atomic uint32_t refs;
    struct sim_page *pages[SIM_CHUNK_PAGES];
};

static struct sim_page zero_page;

void *
sim_calloc(size_t count, size_t size)
{
    void *memory = calloc(count > 0 ? count : 1, size > 0 ? size : 1);
    if (memory == NULL)
        abort();
    return memory;
}

void *
sim_realloc(void *memory, size_t size)
{
    memory = realloc(memory, size > 0 ? size : 1);
    if (memory == NULL)
        abort();
    return memory;
}

char *
sim_strdup(const char *text)
{
    char *copy = strdup(text);
    if (copy == NULL)
        abort();
    return copy;
}

static void
page_release(struct sim_page *page)
{
    if (page != NULL && page != &zero_page && atomic_fetch_sub(&page->refs, 1) == 1)
        free(page);
}

static void
chunk_release(struct sim_chunk *chunk)
{
    if (chunk == NULL || atomic_fetch_sub(&chunk->refs, 1) != 1)
        return;
    for (size_t i = 0; i < SIM_CHUNK_PAGES; i++)
        page_release(chunk->pages[i]);
    free(chunk);
}

/* The place of a page, in a chunk that is ours alone. */
static struct sim_page **
page_slot(struct sim_image *image, uint64_t page_number)
{
    size_t at = (size_t)(page_number / SIM_CHUNK_PAGES);

    if (at >= image->chunks_count) {
        image->chunks = sim_realloc(image->chunks, (at + 1) * sizeof *image->chunks);
        memset(image->chunks + image->chunks_count, 0,
               (at + 1 - image->chunks_count) * sizeof *image->chunks);
        image->chunks_count = at + 1;
    }
    struct sim_chunk *chunk = image->chunks[at];
    if (chunk == NULL || atomic_load(&chunk->refs) > 1) {
        struct sim_chunk *own = sim_calloc(1, sizeof *own);
        atomic_store(&own->refs, 1);
        for (size_t i = 0; chunk != NULL && i < SIM_CHUNK_PAGES; i++) {
            own->pages[i] = chunk->pages[i];
            if (own->pages[i] != NULL && own->pages[i] != &zero_page)
                atomic_fetch_add(&own->pages[i]->refs, 1);
        }
        chunk_release(chunk);
        image->chunks[at] = chunk = own;
    }
    return &chunk->pages[page_number % SIM_CHUNK_PAGES];
}

static struct sim_page *
page_find(const struct sim_image *image, uint64_t page_number)
{
    size_t at = (size_t)(page_number / SIM_CHUNK_PAGES);
    if (at >= image->chunks_count || image->chunks[at] == NULL)
        return NULL;
    return image->chunks[at]->pages[page_number % SIM_CHUNK_PAGES];
}

static struct sim_page *
page_own(struct sim_page **slot, bool keep_bytes)
{
    struct sim_page *page = *slot;

    if (page != NULL && page != &zero_page && atomic_load(&page->refs) == 1)
        return page;
    struct sim_page *own = malloc(sizeof *own);
    if (own == NULL)
        abort();
    atomic_init(&own->refs, 1);
    if (keep_bytes && page != NULL)
        memcpy(own->bytes, page->bytes, SIM_PAGE);
    else if (keep_bytes)
        memset(own->bytes, 0, SIM_PAGE);
    page_release(page);
    *slot = own;
    return own;
}

void
sim_image_copy(struct sim_image *to, const struct sim_image *from)
{
    *to = *from;
    to->chunks = sim_calloc(from->chunks_count, sizeof *to->chunks);
    for (size_t i = 0; i < from->chunks_count; i++) {
        to->chunks[i] = from->chunks[i];
        if (to->chunks[i] != NULL)
            atomic_fetch_add(&to->chunks[i]->refs, 1);
    }
}

void
sim_image_release(struct sim_image *image)
{
    for (size_t i = 0; i < image->chunks_count; i++)
        chunk_release(image->chunks[i]);
    free(image->chunks);
    memset(image, 0, sizeof *image);
}

static bool
all_zero(const uint8_t *bytes, size_t size)
{
    return size == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0);
}

void
sim_image_write(struct sim_image *image, uint64_t offset, const void *memory, uint64_t size)
{
    const uint8_t *from = memory;
    uint64_t end = offset + size;

    while (offset < end) {
        uint64_t in_page = offset % SIM_PAGE;
        uint64_t n = SIM_PAGE - in_page < end - offset ? SIM_PAGE - in_page : end - offset;
        struct sim_page **slot = page_slot(image, offset / SIM_PAGE);
        if (n == SIM_PAGE && all_zero(from, SIM_PAGE)) {
            page_release(*slot);
            *slot = &zero_page;
        } else {
            memcpy(page_own(slot, n < SIM_PAGE)->bytes + in_page, from, (size_t)n);
        }
        from += n;
        offset += n;
    }
    if (image->size < end)
        image->size = end;
}

void
sim_image_read(const struct sim_image *image, uint64_t offset, void *memory, uint64_t size)
{
    uint8_t *to = memory;
    uint64_t end = offset + size;

    while (offset < end) {
        uint64_t in_page = offset % SIM_PAGE;
        uint64_t n = SIM_PAGE - in_page < end - offset ? SIM_PAGE - in_page : end - offset;
        const struct sim_page *page = page_find(image, offset / SIM_PAGE);
        if (page != NULL)
            memcpy(to, page->bytes + in_page, (size_t)n);
        else
            memset(to, 0, (size_t)n);
        to += n;
        offset += n;
    }
}

void
sim_image_resize(struct sim_image *image, uint64_t size)
{
    uint64_t pages = (image->size + SIM_PAGE - 1) / SIM_PAGE;
    uint64_t keep = (size + SIM_PAGE - 1) / SIM_PAGE;

    for (uint64_t i = keep; i < pages; i++) {
        if (page_find(image, i) == NULL)
            continue;
        struct sim_page **slot = page_slot(image, i);
        page_release(*slot);
        *slot = NULL;
    }
    if (size < image->size && size % SIM_PAGE != 0 && page_find(image, size / SIM_PAGE) != NULL) {
        struct sim_page *page = page_own(page_slot(image, size / SIM_PAGE), true);
        memset(page->bytes + size % SIM_PAGE, 0, SIM_PAGE - size % SIM_PAGE);
    }
    image->size = size;
}

void
sim_image_reserve(struct sim_image *image, uint64_t offset, uint64_t size)
{
    if (size == 0)
        return;
    for (uint64_t i = offset / SIM_PAGE; i <= (offset + size - 1) / SIM_PAGE; i++) {
        struct sim_page **slot = page_slot(image, i);
        if (*slot == NULL)
            *slot = &zero_page;
    }
    if (image->size < offset + size)
        image->size = offset + size;
}

uint64_t
sim_image_missing(const struct sim_image *image, uint64_t offset, uint64_t size)
{
    uint64_t missing = 0;

    if (size == 0)
        return 0;
    for (uint64_t i = offset / SIM_PAGE; i <= (offset + size - 1) / SIM_PAGE; i++)
        missing += page_find(image, i) == NULL;
    return missing;
}

uint64_t
sim_image_pages(const struct sim_image *image)
{
    uint64_t pages = 0;

    for (size_t i = 0; i < image->chunks_count; i++) {
        for (size_t j = 0; image->chunks[i] != NULL && j < SIM_CHUNK_PAGES; j++)
            pages += image->chunks[i]->pages[j] != NULL;
    }
    return pages;
}

/* ---- changes -------------------------------------------------------------------------------- */

struct sim_change *
sim_change_new(enum sim_change_kind kind, uint64_t number, uint64_t offset, uint64_t size,
               const void *memory)
{
    size_t bytes = kind == SIM_WRITE ? (size_t)size : 0;
    struct sim_change *change = sim_realloc(NULL, sizeof *change + bytes);

    atomic_init(&change->refs, 1);
    change->kind = kind;
    change->number = number;
    change->offset = offset;
    change->size = size;
    if (bytes > 0)
        memcpy(change->bytes, memory, bytes);
    return change;
}

struct sim_change *
sim_change_ref(struct sim_change *change)
{
    atomic_fetch_add(&change->refs, 1);
    return change;
}

void
sim_change_release(struct sim_change *change)
{
    if (change != NULL && atomic_fetch_sub(&change->refs, 1) == 1)
        free(change);
}

void
sim_change_apply(const struct sim_change *change, struct sim_image *image)
{
    switch (change->kind) {
    case SIM_WRITE: sim_image_write(image, change->offset, change->bytes, change->size); break;
    case SIM_RESIZE: sim_image_resize(image, change->size); break;
    case SIM_RESERVE: sim_image_reserve(image, change->offset, change->size); break;
    }
}
