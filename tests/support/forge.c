/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/forge.c -- see tests/support/forge.h. */
#include "tests/support/forge.h"

#include <stdlib.h>
#include <string.h>

#include "ftk/checksum.h"

/* Also in programs that have no test cases. */
static void
must(bool held)
{
    if (!held)
        abort();
}

static uint64_t
block_at(unsigned slot, unsigned copy)
{
    return slot * 16384u + copy * 32768u;
}

static bool
block_read(const struct forge *forge, unsigned number, uint8_t *block)
{
    must(simdisk_peek(forge->disk, forge->path, block_at(number / 2, number % 2), block,
                      HEADER_BLOCK_BYTES));
    return ftk_get_le64(block + HEADER_CHECKSUM) == ftk_checksum(block, HEADER_CHECKSUM, 0);
}

struct forge
forge_of(struct simdisk *disk, const char *path)
{
    struct forge forge = {.disk = disk, .path = path};
    uint8_t block[HEADER_BLOCK_BYTES];
    uint64_t bytes = 0;
    bool whole = false;

    for (unsigned number = 0; number < HEADER_SLOTS * HEADER_COPIES && !whole; number++)
        whole = block_read(&forge, number, block);
    must(whole && simdisk_size(disk, path, &bytes));
    forge.page_bytes = ftk_get_le32(block + HEADER_PAGE_BYTES);
    forge.salt = ftk_checksum(block + HEADER_IDENTITY, 16, 0);
    forge.pages = bytes / forge.page_bytes;
    return forge;
}

void
forge_read(const struct forge *forge, uint64_t page_id, uint8_t *page)
{
    must(simdisk_peek(forge->disk, forge->path, page_id * forge->page_bytes, page,
                      forge->page_bytes));
}

void
forge_write(const struct forge *forge, uint64_t page_id, uint8_t *page)
{
    ftk_put_le64(page + PAGE_CHECKSUM,
                 ftk_checksum(page + 8, forge->page_bytes - 8, page_id ^ forge->salt));
    must(simdisk_poke(forge->disk, forge->path, page_id * forge->page_bytes, page,
                      forge->page_bytes));
}

void
forge_headers(const struct forge *forge, void (*change)(void *context, uint8_t *block),
              void *context)
{
    uint8_t block[HEADER_BLOCK_BYTES];

    for (unsigned number = 0; number < HEADER_SLOTS * HEADER_COPIES; number++) {
        if (!block_read(forge, number, block))
            continue;
        change(context, block);
        ftk_put_le64(block + HEADER_CHECKSUM, ftk_checksum(block, HEADER_CHECKSUM, 0));
        must(simdisk_poke(forge->disk, forge->path, block_at(number / 2, number % 2), block,
                          sizeof block));
    }
}

static bool
holds(struct node node, const void *key, uint32_t key_size)
{
    uint8_t mine[NODE_KEY_MAX];

    for (uint32_t i = node.page[PAGE_TYPE] == PAGE_INNER; i < node_count(node.page); i++)
        if (node_key(node, i, mine) == key_size && memcmp(mine, key, key_size) == 0)
            return true;
    return false;
}

uint64_t
forge_find(const struct forge *forge, enum page_type type, const void *key, uint32_t key_size,
           uint8_t *page)
{
    struct node node = {page, forge->page_bytes};

    for (uint64_t id = forge->pages; id-- > HEADER_REGION_BYTES / forge->page_bytes;) {
        forge_read(forge, id, page);
        if (page[PAGE_TYPE] == type && node_validate(page, node.bytes, id, true) == FTK_OK &&
            holds(node, key, key_size))
            return id;
    }
    return 0;
}

void
forge_move(const struct forge *forge, uint8_t *page, uint32_t from, uint32_t to)
{
    struct node node = {page, forge->page_bytes};
    uint8_t key[NODE_KEY_MAX], data[PAGE_BYTES_MAX], scratch[PAGE_BYTES_MAX];
    uint32_t key_size = node_key(node, from, key);
    struct node_value value = {.data = data};
    struct node_entry entry;

    node_entry(node, from, &entry);
    memcpy(data, entry.value, entry.value_size);
    value.size = entry.value_size;
    value.large = entry.large;
    node_remove(node, from);
    must(node_insert(node, to, key, key_size, &value, scratch));
}
