/*
 * engine/tree/value.c -- large values: runs of pages outside the leaf.
 *
 * A value of up to CHUNK bytes is one run: its bytes, then a checksum for each page that holds any.
 * A larger one is cut into chunks of CHUNK bytes, each such a run, and a last run of one page
 * lists their first pages (6 bytes each): 4 GiB / 16 MiB = 256 chunks, 1536 bytes.
 */
#include <string.h>

#include "engine/tree/tree.h"
#include "ftk/checksum.h"
#include "ftk/mem.h"

enum { VALUE_CHUNK_BYTES = 16 << 20 };

static uint32_t
data_pages(const kiln_db *db, uint64_t bytes)
{
    return (uint32_t)((bytes + db->page_bytes - 1) / db->page_bytes);
}

static uint64_t
sums_offset(uint64_t bytes)
{
    return (bytes + 7) & ~UINT64_C(7);
}

static uint32_t
run_pages(const kiln_db *db, uint64_t bytes)
{
    return data_pages(db, sums_offset(bytes) + UINT64_C(8) * data_pages(db, bytes));
}

static uint64_t
page_sum(const kiln_db *db, uint64_t first, uint64_t bytes, uint32_t i)
{
    uint64_t at = (uint64_t)i * db->page_bytes;
    size_t size = bytes - at < db->page_bytes ? (size_t)(bytes - at) : db->page_bytes;

    return ftk_checksum(cache_address(db->fast, first) + at, size, (first + i) ^ db->salt);
}

/* Seal a filled run and mark it dirty; it is pinned until here. */
static void
run_finish(kiln_txn *txn, uint64_t first, uint64_t bytes)
{
    kiln_db *db = txn->db;
    uint8_t *memory = cache_address(txn->fast, first);
    uint64_t at = sums_offset(bytes);
    uint64_t end = (uint64_t)run_pages(db, bytes) * db->page_bytes;

    memset(memory + bytes, 0, end - bytes);
    for (uint32_t i = 0; i < data_pages(db, bytes); i++)
        ftk_put_le64(memory + at + UINT64_C(8) * i, page_sum(db, first, bytes, i));
    cache_dirty_run(txn->cache, first, run_pages(db, bytes));
}

/* Bring a run in and pin it; verifies what had to be read. */
static ftk_status
run_hold(kiln_txn *txn, uint64_t first, uint64_t bytes)
{
    kiln_db *db = txn->db;
    const uint8_t *memory = cache_address(txn->fast, first);
    uint32_t pages = run_pages(db, bytes);
    bool read = false;
    ftk_status rc;

    if (first == 0 || first + pages > txn->fast->pages_max)
        return FTK_FAIL(FTK_CORRUPT, "large value at page %llu: cannot be",
                        (unsigned long long)first);
    rc = cache_fetch_run(txn->cache, first, pages, &read);
    if (rc != FTK_OK || !read)
        return rc;
    for (uint32_t i = 0; i < data_pages(db, bytes); i++) {
        if (ftk_get_le64(memory + sums_offset(bytes) + UINT64_C(8) * i) ==
            page_sum(db, first, bytes, i))
            continue;
        cache_unpin_run(txn->cache, first, pages);
        return FTK_FAIL(FTK_CORRUPT, "large value: page %llu fails its checksum",
                        (unsigned long long)first + i);
    }
    return FTK_OK;
}

static void
run_release(kiln_txn *txn, uint64_t first, uint64_t bytes)
{
    cache_unpin_run(txn->cache, first, run_pages(txn->db, bytes));
}

static void
ref_put(uint8_t *ref, uint64_t page, uint64_t size, uint64_t birth)
{
    page_put_le48(ref + LARGE_REF_PAGE, page);
    ftk_put_le64(ref + LARGE_REF_SIZE, size);
    ftk_put_le64(ref + LARGE_REF_BIRTH, birth);
}

/* ---- write ----------------------------------------------------------------------------------- */

ftk_status
value_writer_begin(kiln_txn *txn, uint64_t size, struct value_writer *writer)
{
    *writer = (struct value_writer){.size = size};
    if (size > KILN_VALUE_MAX)
        return FTK_FAIL(FTK_TOOBIG, "a value of %llu bytes", (unsigned long long)size);
    writer->chunk_count = (uint32_t)((size + VALUE_CHUNK_BYTES - 1) / VALUE_CHUNK_BYTES);
    (void)txn;
    return FTK_OK;
}

/* Memory for the next piece; *size_out bytes of it are to be filled. */
ftk_status
value_writer_next(kiln_txn *txn, struct value_writer *writer, uint8_t **memory_out,
                  size_t *size_out)
{
    uint64_t left = writer->size - writer->done;
    ftk_status rc;

    writer->bytes = left < VALUE_CHUNK_BYTES ? left : VALUE_CHUNK_BYTES;
    rc = txn_run_new(txn, run_pages(txn->db, writer->bytes), &writer->page);
    if (rc != FTK_OK)
        return rc;
    writer->open = true;
    *memory_out = cache_address(txn->fast, writer->page);
    *size_out = (size_t)writer->bytes;
    return FTK_OK;
}

void
value_writer_filled(kiln_txn *txn, struct value_writer *writer)
{
    run_finish(txn, writer->page, writer->bytes);
    writer->open = false;
    page_put_le48(writer->chunks + (size_t)writer->chunk * CHILD_BYTES, writer->page);
    writer->chunk++;
    writer->done += writer->bytes;
}

ftk_status
value_writer_end(kiln_txn *txn, struct value_writer *writer, uint8_t *ref)
{
    uint64_t page = writer->page;
    uint32_t bytes = writer->chunk_count * CHILD_BYTES;

    if (writer->chunk_count > 1) {
        ftk_status rc = txn_run_new(txn, run_pages(txn->db, bytes), &page);
        if (rc != FTK_OK)
            return rc;
        memcpy(cache_address(txn->fast, page), writer->chunks, bytes);
        run_finish(txn, page, bytes);
    }
    ref_put(ref, page, writer->size, txn->birth);
    return FTK_OK;
}

void
value_writer_abort(kiln_txn *txn, struct value_writer *writer)
{
    if (writer->open)
        run_finish(txn, writer->page, writer->bytes); /* whatever it holds: nothing refers to it */
    writer->open = false;
    txn->ended = txn->ended || writer->chunk > 0; /* the runs go with the transaction */
}

ftk_status
value_write(kiln_txn *txn, const void *data, uint64_t size, uint8_t *ref)
{
    struct value_writer writer;
    uint8_t *memory;
    size_t piece;
    ftk_status rc = value_writer_begin(txn, size, &writer);

    while (rc == FTK_OK && writer.done < size) {
        rc = value_writer_next(txn, &writer, &memory, &piece);
        if (rc != FTK_OK)
            break;
        memcpy(memory, (const uint8_t *)data + writer.done, piece);
        value_writer_filled(txn, &writer);
    }
    return rc == FTK_OK ? value_writer_end(txn, &writer, ref) : rc;
}

/* ---- read ------------------------------------------------------------------------------------ */

/* First page of the chunk that holds `offset`. */
static ftk_status
chunk_page(kiln_txn *txn, const uint8_t *ref, uint64_t offset, uint64_t *page_out)
{
    uint64_t size = value_ref_size(ref);
    uint64_t page = page_get_le48(ref + LARGE_REF_PAGE);
    uint64_t count = (size + VALUE_CHUNK_BYTES - 1) / VALUE_CHUNK_BYTES;
    ftk_status rc;

    if (size > KILN_VALUE_MAX)
        return FTK_FAIL(FTK_CORRUPT, "large value of %llu bytes", (unsigned long long)size);
    if (count <= 1) {
        *page_out = page;
        return FTK_OK;
    }
    rc = run_hold(txn, page, count * CHILD_BYTES);
    if (rc != FTK_OK)
        return rc;
    *page_out =
        page_get_le48(cache_address(txn->fast, page) + offset / VALUE_CHUNK_BYTES * CHILD_BYTES);
    run_release(txn, page, count * CHILD_BYTES);
    return FTK_OK;
}

static uint64_t
chunk_bytes(uint64_t size, uint64_t offset)
{
    uint64_t begin = offset / VALUE_CHUNK_BYTES * VALUE_CHUNK_BYTES;

    return size - begin < VALUE_CHUNK_BYTES ? size - begin : VALUE_CHUNK_BYTES;
}

ftk_status
value_read(kiln_txn *txn, const uint8_t *ref, uint64_t offset, void *buffer, size_t size)
{
    uint64_t total = value_ref_size(ref);
    uint8_t *to = buffer;

    while (size > 0) {
        uint64_t bytes = chunk_bytes(total, offset);
        uint64_t at = offset % VALUE_CHUNK_BYTES;
        size_t n = bytes - at < size ? (size_t)(bytes - at) : size;
        uint64_t page;
        ftk_status rc = chunk_page(txn, ref, offset, &page);
        if (rc == FTK_OK)
            rc = run_hold(txn, page, bytes);
        if (rc != FTK_OK)
            return rc;
        memcpy(to, cache_address(txn->fast, page) + at, n);
        run_release(txn, page, bytes);
        to += n;
        offset += n;
        size -= n;
    }
    return FTK_OK;
}

ftk_status
value_hold(kiln_txn *txn, const uint8_t *ref, kiln_slice *value_out)
{
    uint64_t size = value_ref_size(ref);
    uint64_t page = page_get_le48(ref + LARGE_REF_PAGE);
    ftk_status rc;

    if (size > VALUE_CHUNK_BYTES || size > cache_limit() / 8)
        return FTK_FAIL(FTK_TOOBIG, "a value of %llu bytes: read it in pieces",
                        (unsigned long long)size);
    rc = run_hold(txn, page, size);
    if (rc != FTK_OK)
        return rc;
    txn_unhold(txn);
    txn->held_page = page;
    txn->held_count = run_pages(txn->db, size);
    txn->held_run = true;
    *value_out = (kiln_slice){cache_address(txn->fast, page), (size_t)size};
    return FTK_OK;
}

/* ---- retire, walk ---------------------------------------------------------------------------- */

ftk_status
value_each_run(kiln_txn *txn, const uint8_t *ref,
               ftk_status (*each)(void *context, uint64_t page, uint32_t count, uint64_t bytes),
               void *context)
{
    uint64_t size = value_ref_size(ref);
    uint64_t page = page_get_le48(ref + LARGE_REF_PAGE);
    uint64_t count = (size + VALUE_CHUNK_BYTES - 1) / VALUE_CHUNK_BYTES;
    ftk_status rc = FTK_OK;

    for (uint64_t i = 0; i < count && rc == FTK_OK; i++) {
        uint64_t chunk;
        uint64_t bytes = chunk_bytes(size, i * VALUE_CHUNK_BYTES);
        rc = chunk_page(txn, ref, i * VALUE_CHUNK_BYTES, &chunk);
        if (rc == FTK_OK)
            rc = each(context, chunk, run_pages(txn->db, bytes), bytes);
    }
    if (rc == FTK_OK && count > 1)
        rc = each(context, page, run_pages(txn->db, count * CHILD_BYTES), count * CHILD_BYTES);
    return rc;
}

ftk_status
value_check_run(kiln_txn *txn, uint64_t page, uint64_t bytes)
{
    ftk_status rc = run_hold(txn, page, bytes);

    if (rc == FTK_OK)
        run_release(txn, page, bytes);
    return rc;
}

struct retire {
    kiln_txn *txn;
    uint64_t birth;
};

static ftk_status
retire_run(void *context, uint64_t page, uint32_t count, uint64_t bytes)
{
    struct retire *retire = context;
    ftk_status rc = txn_retire_reserve(retire->txn, 1);

    (void)bytes;
    if (rc == FTK_OK)
        txn_page_retire(retire->txn, page, count, retire->birth);
    return rc;
}

ftk_status
value_retire(kiln_txn *txn, const uint8_t *ref)
{
    struct retire retire = {txn, ftk_get_le64(ref + LARGE_REF_BIRTH)};
    ftk_status rc = in_place_end(txn);

    if (rc == FTK_OK)
        rc = value_each_run(txn, ref, retire_run, &retire);

    if (rc != FTK_OK)
        txn->ended = true;
    return rc;
}
