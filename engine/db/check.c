/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/db/check.c -- is everything what it says?  Walks one snapshot of a live database.
 *
 * Checked: every page's checksum and structure (when it is read), order of keys inside and across
 * pages against the separators above, levels, key counts, large values, that no page is reached
 * twice, and the space map against what is reached; then records and indexes.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "engine/db/extension.h"
#include "engine/db/txn.h"
#include "ftk/mem.h"

enum { SPACE_FINDINGS = 10 }; /* of the space map: the first ones tell */

struct check {
    kiln_db *db;
    kiln_txn *txn;
    const kiln_check_options *options;
    uint64_t *seen; /* bitmap by page id */
    uint64_t pages_end;
    uint64_t done, total; /* pages, then records */
    uint64_t findings;
    uint64_t keys; /* of the tree being walked */
};

static void finding(struct check *check, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void
finding(struct check *check, const char *format, ...)
{
    char text[512];
    va_list args;

    check->findings++;
    if (check->options->finding == NULL)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    check->options->finding(check->options->context, text);
}

static void
extension_finding(void *context, const char *text)
{
    finding(context, "%s", text);
}

/* Note that the snapshot reaches a page. */
static void
reach(struct check *check, uint64_t page, uint32_t count)
{
    FTK_ASSERT(count > 0);
    for (; count > 0; count--, page++) {
        uint64_t bit = UINT64_C(1) << (page % 64);
        if (page >= check->pages_end) {
            finding(check, "page %llu is reached but lies behind the end of the file",
                    (unsigned long long)page);
            return;
        }
        if (check->seen[page / 64] & bit)
            finding(check, "page %llu is reached twice", (unsigned long long)page);
        check->seen[page / 64] |= bit;
    }
}

static ftk_status
check_run(void *context, const struct value_run *run)
{
    struct check *check = context;
    ftk_status rc = value_check_run(check->txn, run);

    reach(check, run->first, run->pages);
    if (rc == FTK_CORRUPT) {
        finding(check, "%s", ftk_error_last()->text);
        rc = FTK_OK;
    }
    return rc;
}

/* The bounds a page's keys must keep, from the separators above it; NULL: none. */
struct bounds {
    const uint8_t *low, *high;
    uint32_t low_size, high_size;
};

static ftk_status
check_leaf(struct check *check, struct node node, uint64_t page_id)
{
    for (uint32_t i = 0; i < node_count(node.page); i++) {
        struct node_entry entry;
        ftk_status rc;
        node_entry(node, i, &entry);
        if (!entry.large)
            continue;
        rc = value_each_run(check->txn, entry.value, check_run, check);
        if (rc == FTK_CORRUPT)
            finding(check, "page %llu entry %u: %s", (unsigned long long)page_id, i,
                    ftk_error_last()->text);
        else if (rc != FTK_OK)
            return rc;
    }
    check->keys += node_count(node.page);
    return FTK_OK;
}

static void
check_order(struct check *check, struct node node, uint64_t page_id, const struct bounds *bounds)
{
    uint32_t first = node.page[PAGE_TYPE] == PAGE_INNER ? 1 : 0;
    uint32_t count = node_count(node.page);

    if (node_validate(node.page, node.bytes, page_id, true) != FTK_OK) {
        finding(check, "%s", ftk_error_last()->text);
        return;
    }
    if (count <= first)
        return;
    if (bounds->low != NULL && node_compare(node, first, bounds->low, bounds->low_size) < 0)
        finding(check, "page %llu: first key lies below its parent's separator",
                (unsigned long long)page_id);
    if (bounds->high != NULL && node_compare(node, count - 1, bounds->high, bounds->high_size) >= 0)
        finding(check, "page %llu: last key lies above its parent's next separator",
                (unsigned long long)page_id);
}

static ftk_status check_page(struct check *check, struct page_ref ref, uint32_t level,
                             const struct bounds *bounds);

static ftk_status
check_children(struct check *check, struct node node, uint32_t level, const struct bounds *bounds)
{
    uint8_t keys[2][NODE_KEY_MAX];
    struct bounds inner = *bounds;
    uint32_t count = node_count(node.page);
    ftk_status rc = FTK_OK;

    FTK_ASSERT(level > 0 && level < TREE_HEIGHT_MAX);
    for (uint32_t i = 0; i < count && rc == FTK_OK; i++) {
        if (i > 0) {
            inner.low = keys[i % 2];
            inner.low_size = node_key(node, i, keys[i % 2]);
        }
        if (i + 1 < count) {
            inner.high = keys[(i + 1) % 2];
            inner.high_size = node_key(node, i + 1, keys[(i + 1) % 2]);
        } else {
            inner.high = bounds->high;
            inner.high_size = bounds->high_size;
        }
        rc = check_page(check, node_child(node.page, i), level - 1, &inner);
    }
    return rc;
}

static ftk_status
check_progress(void *context)
{
    struct check *check = context;
    const kiln_check_options *options = check->options;

    check->done++;
    if (options->progress == NULL || check->done % 256 != 0 ||
        options->progress(options->progress_context, check->done, check->total) == 0)
        return FTK_OK;
    return FTK_FAIL(FTK_CANCELED, "the check was canceled");
}

static ftk_status
check_page(struct check *check, struct page_ref ref, uint32_t level, const struct bounds *bounds)
{
    kiln_txn *txn = check->txn;
    uint64_t page_id = page_ref_id(ref);
    struct node node = tree_node(txn, page_id);
    ftk_status rc;

    FTK_ASSERT(level < TREE_HEIGHT_MAX);
    rc = check_progress(check);
    if (rc != FTK_OK)
        return rc;
    reach(check, page_id, 1);
    rc = page_id < txn->fast->pages_max
             ? cache_fetch(txn->cache, page_id, CACHE_SCAN)
             : FTK_FAIL(FTK_CORRUPT, "reference to page %llu, which cannot be",
                        (unsigned long long)page_id);
    if (rc == FTK_OK) {
        rc = tree_check_page(txn, ref, level);
        if (rc == FTK_OK) {
            check_order(check, node, page_id, bounds);
            rc = level > 0 ? check_children(check, node, level, bounds)
                           : check_leaf(check, node, page_id);
        }
        cache_unpin(txn->fast, page_id);
    }
    if (rc == FTK_CORRUPT) {
        finding(check, "%s", ftk_error_last()->text);
        rc = FTK_OK;
    }
    return rc;
}

static ftk_status
check_tree(struct check *check, const struct tree *tree, const char *name)
{
    struct bounds none = {0};
    uint64_t findings = check->findings;
    ftk_status rc = FTK_OK;

    FTK_ASSERT(page_ref_is_none(tree->root) == (tree->height == 0));
    check->keys = 0;
    if (!page_ref_is_none(tree->root))
        rc = check_page(check, tree->root, tree->height - 1u, &none);
    if (rc == FTK_OK && check->keys != tree->keys && check->findings == findings)
        finding(check, "%s: %llu keys, the catalog says %llu", name,
                (unsigned long long)check->keys, (unsigned long long)tree->keys);
    return rc;
}

static ftk_status
check_coll(void *context, kiln_coll coll, const struct tree *tree, const uint8_t *name,
           size_t name_size)
{
    struct check *check = context;
    char text[64];

    (void)name;
    (void)name_size;
    snprintf(text, sizeof(text), "collection %u", coll);
    if (coll >= check->txn->snapshot.coll_next)
        finding(check, "%s: its number is still to be given out, from %u on", text,
                check->txn->snapshot.coll_next);
    return check_tree(check, tree, text);
}

static bool
is_reached(const struct check *check, uint64_t page)
{
    return check->seen[page / 64] >> (page % 64) & 1;
}

/* The space map against what was reached; only while the snapshot is the newest.  The program's
 * function is called behind it: it may begin transactions, which need the map. */
static void
check_space(struct check *check)
{
    uint64_t wrong[SPACE_FINDINGS];
    uint32_t count = 0;

    space_compare_begin(check->db->space);
    if (check->db->newest.id == check->txn->snapshot.id)
        for (uint64_t page = 0; page < check->pages_end && count < SPACE_FINDINGS; page++)
            if (is_reached(check, page) != space_is_live(check->db->space, page) &&
                !space_is_fixed(check->db->space, page))
                wrong[count++] = page;
    space_compare_end(check->db->space);
    for (uint32_t i = 0; i < count; i++)
        finding(check,
                is_reached(check, wrong[i])
                    ? "page %llu is in use but the space map has it free"
                    : "page %llu is in the space map but nothing reaches it",
                (unsigned long long)wrong[i]);
}

kiln_status
kiln_check(kiln_db *db, const kiln_check_options *options)
{
    kiln_check_options known = KILN_CHECK_OPTIONS_INIT;
    struct check check = {.db = db, .options = &known};
    struct extension_check_calls calls = {extension_finding, check_progress, &check};
    struct space_stats space;
    ftk_status rc;

    if (options != NULL)
        FTK_TRY(struct_options_read(options, "kiln_check_options", &known, sizeof(known)));
    FTK_TRY(txn_begin(db, KILN_READ, KILN_DURABILITY_DEFAULT, 0, &check.txn));
    FTK_TRY(window_settle_all(check.txn));
    space_stats(db->space, &space);
    check.pages_end = space.pages_end;
    if (db_extension_records.count(check.txn, &check.total) != FTK_OK)
        check.total = 0; /* the check itself tells why */
    check.total += space.pages_live;
    FTK_TRY(FTK_NEW_ARRAY(&check.seen, check.pages_end / 64 + 1));
    FTK_TRY(check_tree(&check, &check.txn->catalog, "catalog"));
    FTK_TRY(coll_each(check.txn, check_coll, &check));
    check_space(&check);
    check.done = space.pages_live; /* of pages of large values only the first was counted */
    rc = db_extension_records.check(check.txn, &calls);
    if (rc == FTK_CORRUPT) /* counted */
        rc = FTK_OK;
    if (rc == FTK_OK && known.progress != NULL) /* the whole, exactly */
        known.progress(known.progress_context, check.total, check.total);
out:
    ftk_free(check.seen);
    if (rc == FTK_OK && check.findings > 0)
        rc = FTK_FAIL(FTK_CORRUPT, "%llu findings", (unsigned long long)check.findings);
    rc = db_answer(db, rc);
    if (check.txn != NULL)
        txn_abort(check.txn); /* last: then the database may be closed */
    return rc;
}
