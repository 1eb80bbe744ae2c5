/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/page/header.c -- the file's header: two slots, each in two copies.
 *
 * Checkpoint N is written to slot N mod 2, first copy, sync, second copy, sync.  From this follows
 * what each finding at opening means:
 *   first copy bad, second copy of N-2      the crash that wrote N: fall back to N-1
 *   first copy of N, second copy older/bad  the crash between the copies (or rot): N counts, repair
 *   first copy bad, second copy of N        rot: N counts, repair
 *   both copies bad                         no crash does that: corruption, never fall back
 * The other slot is repaired, too: checkpoint N+1 begins by overwriting its first copy.
 * A repair syncs before it writes: a copy read after the death of a process may not have reached
 * the device, and a power cut could then tear both.  When that sync fails, what was read may be
 * gone after a power cut, and nothing must be built on it; a copy that cannot be written does no
 * harm here: an open after a process that did not come to its end writes both copies again
 * (engine/db/README.md, rule 6).
 */
#include <string.h>

#include "engine/page/header.h"
#include "ftk/checksum.h"
#include "ftk/mem.h"

static uint64_t
block_offset(unsigned slot, unsigned copy)
{
    FTK_ASSERT(slot < HEADER_SLOTS && copy < HEADER_COPIES);
    return slot * 16384u + copy * 32768u;
}

static void
encode(const struct header *header, uint8_t *block)
{
    FTK_ASSERT(header->checkpoint > 0);
    FTK_ASSERT(header->snapshot.catalog_height <= TREE_HEIGHT_MAX);
    FTK_ASSERT((header->snapshot.catalog_height == 0) ==
               page_ref_is_none(header->snapshot.catalog_root));
    memset(block, 0, HEADER_BLOCK_BYTES);
    memcpy(block + HEADER_MAGIC_AT, HEADER_MAGIC, sizeof(HEADER_MAGIC) - 1);
    ftk_put_le32(block + HEADER_VERSION, FILE_VERSION);
    ftk_put_le32(block + HEADER_PAGE_BYTES, header->page_bytes);
    memcpy(block + HEADER_IDENTITY, header->identity, 16);
    ftk_put_le64(block + HEADER_CHECKPOINT, header->checkpoint);
    ftk_put_le64(block + HEADER_TXN, header->snapshot.id);
    ftk_put_le64(block + HEADER_LSN, header->snapshot.lsn);
    ftk_put_le64(block + HEADER_APPLIED, header->snapshot.applied);
    page_ref_put(block + HEADER_CATALOG_ROOT, header->snapshot.catalog_root);
    ftk_put_le64(block + HEADER_CATALOG_KEYS, header->snapshot.catalog_keys);
    ftk_put_le32(block + HEADER_CATALOG_HEIGHT, header->snapshot.catalog_height);
    ftk_put_le32(block + HEADER_COLL_NEXT, header->snapshot.coll_next);
    ftk_put_le64(block + HEADER_PAGES_END, header->pages_end);
    ftk_put_le64(block + HEADER_MAP_HASH, header->map_hash);
    ftk_put_le64(block + HEADER_WALL_NS, header->wall_ns);
    ftk_put_le32(block + HEADER_FLAGS, header->flags);
    ftk_put_le32(block + HEADER_LOG_DIR_BYTES, (uint32_t)strlen(header->log_dir));
    memcpy(block + HEADER_LOG_DIR, header->log_dir, strlen(header->log_dir));
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
is_zero(const uint8_t *bytes, size_t size)
{
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0;
}

static bool
log_dir_decode(const uint8_t *block, struct header *header)
{
    uint32_t size = ftk_get_le32(block + HEADER_LOG_DIR_BYTES);

    if (size > HEADER_LOG_DIR_MAX || (size > 0 && (header->flags & HEADER_LOG_PLACE) == 0))
        return false;
    memcpy(header->log_dir, block + HEADER_LOG_DIR, HEADER_LOG_DIR_MAX);
    /* A zero byte ends it, at its end and not before; all behind is zero. */
    return strlen(header->log_dir) == size &&
           (size == HEADER_LOG_DIR_MAX ||
            is_zero(block + HEADER_LOG_DIR + size, HEADER_LOG_DIR_MAX - size));
}

/* The meaning of a block whose checksum is right. */
static ftk_status
decode(const uint8_t *block, struct header *header)
{
    uint32_t version = ftk_get_le32(block + HEADER_VERSION);
    uint32_t page_bytes = ftk_get_le32(block + HEADER_PAGE_BYTES);

    if (version != FILE_VERSION)
        return FTK_FAIL(
            FTK_VERSION,
            "data.kdb has format version %u, this build reads and writes version %u: dump "
            "it with the build that wrote it, and load it here",
            version, FILE_VERSION);
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
    header->snapshot.catalog_root = page_ref_get(block + HEADER_CATALOG_ROOT);
    header->snapshot.catalog_keys = ftk_get_le64(block + HEADER_CATALOG_KEYS);
    header->snapshot.catalog_height = ftk_get_le32(block + HEADER_CATALOG_HEIGHT);
    header->snapshot.coll_next = ftk_get_le32(block + HEADER_COLL_NEXT);
    header->pages_end = ftk_get_le64(block + HEADER_PAGES_END);
    header->map_hash = ftk_get_le64(block + HEADER_MAP_HASH);
    header->wall_ns = ftk_get_le64(block + HEADER_WALL_NS);
    header->flags = ftk_get_le32(block + HEADER_FLAGS);
    if ((header->flags & ~(uint32_t)HEADER_FLAGS_KNOWN) != 0)
        return FTK_FAIL(FTK_VERSION, "header: unknown flags %#x", header->flags);
    if (!log_dir_decode(block, header))
        return FTK_FAIL(FTK_CORRUPT, "header: impossible place of the log");
    if (!is_zero(block + HEADER_RESERVED, HEADER_CHECKSUM - HEADER_RESERVED))
        return FTK_FAIL(FTK_CORRUPT, "header: reserved bytes are not zero");
    if (header->snapshot.catalog_height > TREE_HEIGHT_MAX || header->pages_end > PAGE_ID_MAX ||
        header->snapshot.coll_next == 0 ||
        (header->snapshot.catalog_height == 0 && header->snapshot.catalog_keys != 0) ||
        (header->snapshot.catalog_height == 0) != page_ref_is_none(header->snapshot.catalog_root) ||
        (header->snapshot.catalog_height == 0) != (page_ref_id(header->snapshot.catalog_root) == 0))
        return FTK_FAIL(FTK_CORRUPT, "header: impossible catalog");
    if (header->snapshot.id > INT64_MAX || header->snapshot.lsn > INT64_MAX ||
        header->checkpoint > INT64_MAX) /* what comes after them is counted up from there */
        return FTK_FAIL(FTK_CORRUPT, "header: impossible number of a transaction or checkpoint");
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
    uint8_t *blocks;                              /* slot * 2 + copy */
    uint64_t number[HEADER_SLOTS][HEADER_COPIES]; /* of the checkpoint; 0: not valid */
    bool unreadable[HEADER_SLOTS][HEADER_COPIES];
    struct ftk_error error; /* of the last read that failed */
};

static uint8_t *
found_block(const struct found *found, unsigned slot, unsigned copy)
{
    return found->blocks + (slot * HEADER_COPIES + copy) * (size_t)HEADER_BLOCK_BYTES;
}

/* A copy that cannot be read is as good as a damaged one, if its twin is whole: whatever it held
 * must not come back, so it has to be repaired. */
static ftk_status
unreadable_check(const struct found *found)
{
    for (unsigned slot = 0; slot < HEADER_SLOTS; slot++) {
        for (unsigned copy = 0; copy < HEADER_COPIES; copy++) {
            if (found->unreadable[slot][copy] && found->number[slot][1 - copy] == 0) {
                ftk_error_set(&found->error);
                return found->error.status;
            }
        }
    }
    return FTK_OK;
}

static ftk_status
read_all(struct ftk_file *file, struct found *found)
{
    bool any_magic = false, any_ok = false;
    ftk_status rc;

    for (unsigned slot = 0; slot < HEADER_SLOTS; slot++) {
        for (unsigned copy = 0; copy < HEADER_COPIES; copy++) {
            uint8_t *block = found_block(found, slot, copy);
            rc = ftk_file_read(file, block, HEADER_BLOCK_BYTES, block_offset(slot, copy));
            if (rc == FTK_IO) {
                found->unreadable[slot][copy] = true;
                found->error = *ftk_error_last();
                continue;
            }
            if (rc != FTK_OK)
                return rc;
            any_magic |= magic_ok(block);
            if (magic_ok(block) && checksum_ok(block))
                found->number[slot][copy] = ftk_get_le64(block + HEADER_CHECKPOINT);
            any_ok |= found->number[slot][copy] != 0;
        }
    }
    rc = unreadable_check(found);
    if (rc != FTK_OK)
        return rc;
    if (!any_magic)
        return FTK_FAIL(FTK_FOREIGN, "%s is not a kiln database", file->path);
    if (!any_ok)
        return FTK_FAIL(FTK_CORRUPT, "%s: all four copies of the header are damaged", file->path);
    return FTK_OK;
}

/* Rewrite a copy from its twin. */
static ftk_status
repair_copy(struct ftk_file *file, const struct ftk_log *log, const struct found *found,
            unsigned slot, unsigned copy)
{
    ftk_status rc = ftk_file_write(file, found_block(found, slot, 1 - copy), HEADER_BLOCK_BYTES,
                                   block_offset(slot, copy));

    if (rc == FTK_OK)
        rc = ftk_file_sync(file);
    if (rc == FTK_OK)
        ftk_log(log, FTK_LOG_WARNING, "%s: header slot %u copy %u repaired from its twin",
                file->path, slot, copy);
    else
        ftk_log(log, FTK_LOG_WARNING, "%s: header slot %u copy %u not repaired: %s", file->path,
                slot, copy, ftk_error_last()->text);
    return rc;
}

/* Two of one checkpoint differ when a crash came between the two of a header that was written
 * anew with other flags: the first is the newer. */
static bool
copy_is_behind(const struct found *found, unsigned slot, unsigned copy)
{
    uint64_t number = found->number[slot][copy], twin = found->number[slot][1 - copy];

    if (number != twin || number == 0 || copy == 0)
        return number < twin;
    return memcmp(found_block(found, slot, 0), found_block(found, slot, 1), HEADER_BLOCK_BYTES) !=
           0;
}

/* Repair each copy that is not valid or behind its twin, once what was read is durable. */
static ftk_status
repair_all(struct ftk_file *file, const struct ftk_log *log, const struct found *found)
{
    bool synced = false;
    ftk_status rc;

    for (unsigned slot = 0; slot < HEADER_SLOTS; slot++) {
        for (unsigned copy = 0; copy < HEADER_COPIES; copy++) {
            if (!copy_is_behind(found, slot, copy))
                continue;
            rc = synced ? FTK_OK : ftk_file_sync(file);
            if (rc != FTK_OK)
                return rc;
            synced = true;
            rc = repair_copy(file, log, found, slot, copy);
            if (rc != FTK_OK && found->unreadable[slot][copy])
                return rc;
        }
    }
    return FTK_OK;
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
            if (found.number[s][c] > newest) {
                newest = found.number[s][c];
                slot = s;
                copy = c;
            }
        }
    }
    other = 1 - slot;
    if (found.number[other][0] == 0 && found.number[other][1] == 0 &&
        !(newest == 1 && is_zero(found_block(&found, other, 1), HEADER_BLOCK_BYTES))) {
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
        rc = repair_all(file, log, &found);
out:
    ftk_free(found.blocks);
    return rc;
}
