/*
 * engine/header.c -- the file's header: two slots, each in two copies.
 *
 * Checkpoint N is written to slot N mod 2, first copy, sync, second copy, sync.  From this follows
 * what each finding at opening means:
 *   first copy bad, second copy of N-2      the crash that wrote N: fall back to N-1
 *   first copy of N, second copy older/bad  the crash between the copies (or rot): N counts, repair
 *   first copy bad, second copy of N        rot: N counts, repair
 *   both copies bad                         no crash does that: corruption, never fall back
 * A repair syncs before it writes: a copy read after the death of a process may not have reached the
 * device, and a power cut could then tear both.
 */
#include <string.h>

#include "engine/db.h"
#include "ftk/checksum.h"
#include "ftk/mem.h"

static uint64_t
block_offset(unsigned slot, unsigned copy)
{
    return slot * 16384u + copy * 32768u;
}

static void
encode(const struct header *header, uint8_t *block)
{
    memset(block, 0, HEADER_BLOCK_BYTES);
    memcpy(block + HEADER_MAGIC_AT, HEADER_MAGIC, sizeof(HEADER_MAGIC) - 1);
    ftk_put_le32(block + HEADER_VERSION, FILE_VERSION);
    ftk_put_le32(block + HEADER_PAGE_BYTES, header->page_bytes);
    memcpy(block + HEADER_IDENTITY, header->identity, 16);
    ftk_put_le64(block + HEADER_CHECKPOINT, header->checkpoint);
    ftk_put_le64(block + HEADER_TXN, header->snapshot.id);
    ftk_put_le64(block + HEADER_LSN, header->snapshot.lsn);
    ftk_put_le64(block + HEADER_APPLIED, header->snapshot.applied);
    ftk_put_le64(block + HEADER_CATALOG_ROOT, header->snapshot.catalog_root);
    ftk_put_le64(block + HEADER_CATALOG_KEYS, header->snapshot.catalog_keys);
    ftk_put_le32(block + HEADER_CATALOG_HEIGHT, header->snapshot.catalog_height);
    ftk_put_le32(block + HEADER_COLL_NEXT, header->snapshot.coll_next);
    ftk_put_le64(block + HEADER_PAGES_END, header->pages_end);
    ftk_put_le64(block + HEADER_MAP_HASH, header->map_hash);
    ftk_put_le64(block + HEADER_WALL_NS, header->wall_ns);
    ftk_put_le32(block + HEADER_FLAGS, header->flags);
    ftk_put_le64(block + HEADER_CHECKSUM, ftk_checksum(block, HEADER_CHECKSUM, 0));
}

static bool
checksum_ok(const uint8_t *block)
{
    return ftk_get_le64(block + HEADER_CHECKSUM) == ftk_checksum(block, HEADER_CHECKSUM, 0);
}

static bool
magic_ok(const uint8_t *block)
{
    return memcmp(block + HEADER_MAGIC_AT, HEADER_MAGIC, 8) == 0;
}

static bool
is_zero(const uint8_t *block)
{
    return block[0] == 0 && memcmp(block, block + 1, HEADER_BLOCK_BYTES - 1) == 0;
}

/* The meaning of a block whose checksum is right. */
static ftk_status
decode(const uint8_t *block, struct header *header)
{
    uint32_t version = ftk_get_le32(block + HEADER_VERSION);
    uint32_t page_bytes = ftk_get_le32(block + HEADER_PAGE_BYTES);

    if (version != FILE_VERSION)
        return FTK_FAIL(FTK_VERSION, "data.kdb has format version %u, this build reads %u", version,
                        FILE_VERSION);
    if (page_bytes < PAGE_BYTES_MIN || page_bytes > PAGE_BYTES_MAX ||
        (page_bytes & (page_bytes - 1)) != 0)
        return FTK_FAIL(FTK_CORRUPT, "header: page size %u", page_bytes);
    memset(header, 0, sizeof(*header));
    header->page_bytes = page_bytes;
    memcpy(header->identity, block + HEADER_IDENTITY, 16);
    header->checkpoint = ftk_get_le64(block + HEADER_CHECKPOINT);
    header->snapshot.id = ftk_get_le64(block + HEADER_TXN);
    header->snapshot.lsn = ftk_get_le64(block + HEADER_LSN);
    header->snapshot.applied = ftk_get_le64(block + HEADER_APPLIED);
    header->snapshot.catalog_root = ftk_get_le64(block + HEADER_CATALOG_ROOT);
    header->snapshot.catalog_keys = ftk_get_le64(block + HEADER_CATALOG_KEYS);
    header->snapshot.catalog_height = ftk_get_le32(block + HEADER_CATALOG_HEIGHT);
    header->snapshot.coll_next = ftk_get_le32(block + HEADER_COLL_NEXT);
    header->pages_end = ftk_get_le64(block + HEADER_PAGES_END);
    header->map_hash = ftk_get_le64(block + HEADER_MAP_HASH);
    header->wall_ns = ftk_get_le64(block + HEADER_WALL_NS);
    header->flags = ftk_get_le32(block + HEADER_FLAGS);
    if ((header->flags & ~(uint32_t)HEADER_EXTERNAL_LOG) != 0)
        return FTK_FAIL(FTK_VERSION, "header: unknown flags %#x", header->flags);
    if (header->snapshot.catalog_height > 24 || header->snapshot.catalog_root > PAGE_ID_MAX ||
        header->pages_end > PAGE_ID_MAX ||
        (header->snapshot.catalog_height == 0) != (header->snapshot.catalog_root == 0))
        return FTK_FAIL(FTK_CORRUPT, "header: impossible catalog");
    return FTK_OK;
}

ftk_status
header_write(struct ftk_file *file, const struct header *header)
{
    unsigned slot = header->checkpoint % HEADER_SLOTS;
    uint8_t *block = NULL;
    ftk_status rc;

    FTK_TRY(ftk_alloc_aligned(HEADER_BLOCK_BYTES, HEADER_BLOCK_BYTES, (void **)&block));
    encode(header, block);
    for (unsigned copy = 0; copy < HEADER_COPIES; copy++) {
        FTK_TRY(ftk_file_write(file, block, HEADER_BLOCK_BYTES, block_offset(slot, copy)));
        FTK_TRY(ftk_file_sync(file));
    }
out:
    ftk_free(block);
    return rc;
}

struct found {
    uint8_t *blocks; /* slot * 2 + copy */
    bool ok[HEADER_SLOTS][HEADER_COPIES];
    uint64_t number[HEADER_SLOTS][HEADER_COPIES];
};

static uint8_t *
found_block(const struct found *found, unsigned slot, unsigned copy)
{
    return found->blocks + (slot * HEADER_COPIES + copy) * (size_t)HEADER_BLOCK_BYTES;
}

static ftk_status
read_all(struct ftk_file *file, struct found *found)
{
    bool any_magic = false, any_ok = false;

    for (unsigned slot = 0; slot < HEADER_SLOTS; slot++) {
        for (unsigned copy = 0; copy < HEADER_COPIES; copy++) {
            uint8_t *block = found_block(found, slot, copy);
            ftk_status rc =
                ftk_file_read(file, block, HEADER_BLOCK_BYTES, block_offset(slot, copy));
            if (rc != FTK_OK)
                return rc;
            any_magic |= magic_ok(block);
            found->ok[slot][copy] = magic_ok(block) && checksum_ok(block);
            found->number[slot][copy] = ftk_get_le64(block + HEADER_CHECKPOINT);
            any_ok |= found->ok[slot][copy];
        }
    }
    if (!any_magic)
        return FTK_FAIL(FTK_FOREIGN, "%s is not a kiln database", file->path);
    if (!any_ok)
        return FTK_FAIL(FTK_CORRUPT, "%s: all four copies of the header are damaged", file->path);
    return FTK_OK;
}

/* Rewrite the copies of the slot that are not the given one, once that is on the device. */
static void
repair_slot(struct ftk_file *file, const struct ftk_log *log, struct found *found, unsigned slot,
            unsigned good)
{
    for (unsigned copy = 0; copy < HEADER_COPIES; copy++) {
        if (copy == good ||
            (found->ok[slot][copy] && found->number[slot][copy] == found->number[slot][good]) ||
            ftk_file_sync(file) != FTK_OK)
            continue;
        ftk_log(log, FTK_LOG_WARNING, "%s: header slot %u copy %u repaired from its twin",
                file->path, slot, copy);
        if (ftk_file_write(file, found_block(found, slot, good), HEADER_BLOCK_BYTES,
                           block_offset(slot, copy)) == FTK_OK)
            (void)ftk_file_sync(file);
    }
}

ftk_status
header_read(struct ftk_file *file, const struct ftk_log *log, bool repair, struct header *header)
{
    struct found found = {0};
    unsigned slot = 0, copy = 0, other;
    uint64_t newest = 0;
    uint64_t size;
    ftk_status rc;

    FTK_TRY(ftk_alloc_aligned(HEADER_BLOCK_BYTES, (size_t)4 * HEADER_BLOCK_BYTES,
                              (void **)&found.blocks));
    FTK_TRY(ftk_file_size(file, &size));
    if (size < HEADER_REGION_BYTES) {
        rc = FTK_FAIL(FTK_FOREIGN, "%s has only %llu bytes: not a kiln database, or cut",
                      file->path, (unsigned long long)size);
        goto out;
    }
    FTK_TRY(read_all(file, &found));
    for (unsigned s = 0; s < HEADER_SLOTS; s++) {
        for (unsigned c = 0; c < HEADER_COPIES; c++) {
            if (found.ok[s][c] && found.number[s][c] > newest) {
                newest = found.number[s][c];
                slot = s;
                copy = c;
            }
        }
    }
    other = 1 - slot;
    if (!found.ok[other][0] && !found.ok[other][1] &&
        !(newest == 1 && is_zero(found_block(&found, other, 1)))) {
        rc = FTK_FAIL(FTK_CORRUPT,
                      "%s: both copies of header slot %u are damaged; checkpoint %llu is whole but "
                      "may not be the last",
                      file->path, other, (unsigned long long)newest);
        goto out;
    }
    FTK_TRY(decode(found_block(&found, slot, copy), header));
    if (newest % HEADER_SLOTS != slot) {
        rc = FTK_FAIL(FTK_CORRUPT, "%s: header of checkpoint %llu in slot %u", file->path,
                      (unsigned long long)newest, slot);
        goto out;
    }
    if (repair)
        repair_slot(file, log, &found, slot, copy);
out:
    ftk_free(found.blocks);
    return rc;
}
