/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/fuzz/fuzz_forged.c -- a database whose pages were changed and have the right checksums.
 *
 * Every call answers: no crash, no assertion, no end that never comes.  What it answers is free,
 * for what was changed may be as good as what was there.
 *
 * The first byte chooses the database (closed, or with a log to be replayed), and what is done with
 * it.  Each 8 bytes then are one change: kind, page (2), place (2), value (3).  Births and levels
 * that a reference is compared with stay right, but for the changes that mean them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/db/open.h"
#include "engine/db/txn.h"
#include "ftk/checksum.h"
#include "ftk/random.h"
#include "kiln.h"
#include "tests/support/forge.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

enum {
    PAGE = 4096,
    PAGES_MAX = 4096,
    SPECIAL_MAX = 64, /* pages of the catalog, the dictionary, and the space map */
    CHANGES_MAX = 16,
    COLLS = 70,
    STEPS_MAX = 4000, /* of one walk */
};
#define PATH "/db/data.kdb"

static struct simdisk *closed, *crashed;
static uint64_t pages[PAGES_MAX], special[SPECIAL_MAX];
static uint32_t page_count, special_count;
static uint64_t answers; /* of calls, by status: so that none is left out as unused */

static void
must(bool held)
{
    if (!held)
        abort();
}

static kiln_status
said(kiln_status rc)
{
    must(kiln_status_name(rc) != NULL);
    answers += (uint64_t)rc;
    return rc;
}

/* ---- the database ---------------------------------------------------------------------------- */

static kiln_status
open_on(struct simdisk *disk, uint32_t flags, kiln_db **db_out)
{
    struct db_environment environment = {.disk = simdisk_disk(disk), .manual = true};
    kiln_options options = KILN_OPTIONS_INIT;

    options.flags = flags;
    options.rfl_segment_bytes = 2u << 20;
    options.io_depth = 8;
    options.durability = KILN_LAZY;
    return (kiln_status)db_open("/db", &options, &environment, db_out);
}

static void
key_make(uint64_t i, uint8_t *key)
{
    ftk_put_be64(key, i);
}

static void
series_put(kiln_txn *txn, kiln_coll coll, uint64_t from, uint64_t to, size_t value_size)
{
    static uint8_t value[200000];
    uint8_t key[8];

    for (uint64_t i = from; i < to; i++) {
        key_make(i * 3, key);
        memset(value, (int)(i & 255), value_size);
        must(kiln_put(txn, coll, key, sizeof key, value, value_size, KILN_PUT_REPLACE) == KILN_OK);
    }
}

static void
long_keys_put(kiln_txn *txn, kiln_coll coll)
{
    uint8_t key[700];

    memset(key, 'k', sizeof key);
    for (uint32_t i = 0; i < 150; i++) {
        key[500 + i % 3] = (uint8_t)('a' + i % 23);
        ftk_put_be32(key + 600, i);
        must(kiln_put(txn, coll, key, 604 + i % 90, "v", 1, KILN_PUT_REPLACE) == KILN_OK);
    }
}

struct fields {
    kiln_field text, number, group, inner;
};

static void
record_fill(kiln_record *record, const struct fields *fields, uint64_t i)
{
    char text[1200];
    size_t size = i % 7 == 0 ? 1150 : 20;

    kiln_record_clear(record);
    memset(text, 'a' + (int)(i % 5), sizeof text);
    snprintf(text + size - 16, 16, "%015llu", (unsigned long long)i);
    must(kiln_record_text(record, fields->text, text, size) == KILN_OK);
    must(kiln_record_int(record, fields->number, (int64_t)(i * 17)) == KILN_OK);
    must(kiln_record_group_begin(record, fields->group) == KILN_OK);
    for (uint64_t n = 0; n <= i % 3; n++)
        must(kiln_record_int(record, fields->inner, (int64_t)(i + n)) == KILN_OK);
    must(kiln_record_group_end(record) == KILN_OK);
}

static void
index_make(kiln_txn *txn, const char *name, kiln_container container, kiln_field field,
           const kiln_field *path, uint32_t flags)
{
    kiln_index_options options = KILN_INDEX_OPTIONS_INIT;
    kiln_index_part part = {.field = field, .path = path, .path_count = path != NULL};
    kiln_index index;

    options.name = name;
    options.container = container;
    options.parts = &part;
    options.part_count = 1;
    options.flags = flags;
    must(kiln_index_define(txn, &options, &index) == KILN_OK);
}

static void
records_make(kiln_txn *txn)
{
    struct fields fields;
    kiln_container container;
    kiln_record *record;
    uint64_t id;

    must(kiln_field_define(txn, "text", KILN_TEXT, &fields.text) == KILN_OK);
    must(kiln_field_define(txn, "number", KILN_INT, &fields.number) == KILN_OK);
    must(kiln_field_define(txn, "group", KILN_GROUP, &fields.group) == KILN_OK);
    must(kiln_field_define(txn, "inner", KILN_INT, &fields.inner) == KILN_OK);
    must(kiln_record_new(&record) == KILN_OK);
    for (int c = 0; c < 3; c++) {
        must(kiln_container_define(txn,
                                   c == 0   ? "one"
                                   : c == 1 ? "two"
                                            : "three",
                                   &container) == KILN_OK);
        if (c == 0)
            index_make(txn, "unique", container, fields.text, NULL, KILN_UNIQUE);
        if (c == 1)
            index_make(txn, "all", 0, fields.inner, &fields.group, 0);
        for (uint64_t i = 1; i <= 90; i++) {
            record_fill(record, &fields, i);
            id = 0;
            must(kiln_record_add(txn, container, record, &id) == KILN_OK);
        }
        must(kiln_record_delete(txn, container, 90) == KILN_OK); /* a row 0 is kept */
    }
    kiln_record_free(record);
}

static void
colls_make(kiln_txn *txn)
{
    kiln_coll coll;
    char name[32];

    must(kiln_coll_open(txn, "series", KILN_COLL_CREATE, &coll) == KILN_OK);
    series_put(txn, coll, 0, 8000, 40);
    must(kiln_coll_open(txn, "long", KILN_COLL_CREATE, &coll) == KILN_OK);
    long_keys_put(txn, coll);
    must(kiln_coll_open(txn, "large", KILN_COLL_CREATE, &coll) == KILN_OK);
    series_put(txn, coll, 0, 4, 9000);
    series_put(txn, coll, 4, 6, 150000);
    series_put(txn, coll, 6, 30, 700);
    for (int i = 0; i < COLLS; i++) {
        snprintf(name, sizeof name, "collection of number %d", i);
        must(kiln_coll_open(txn, name, KILN_COLL_CREATE, &coll) == KILN_OK);
        if (i % 3 == 0)
            series_put(txn, coll, 0, (uint64_t)i, 10);
    }
}

/* What the log alone has: puts, deletes, records, a collection, a savepoint. */
static void
log_fill(kiln_db *db)
{
    uint8_t key[8];
    kiln_coll coll;
    kiln_txn *txn;

    must(kiln_txn_begin(db, KILN_WRITE, &txn) == KILN_OK);
    must(kiln_coll_open(txn, "series", 0, &coll) == KILN_OK);
    series_put(txn, coll, 500, 700, 50);
    for (uint64_t i = 1000; i < 1600; i++) {
        key_make(i * 3, key);
        must(kiln_delete(txn, coll, key, sizeof key) == KILN_OK);
    }
    must(kiln_coll_open(txn, "large", 0, &coll) == KILN_OK);
    series_put(txn, coll, 2, 5, 20000);
    must(kiln_savepoint(txn) == KILN_OK);
    must(kiln_coll_open(txn, "another", KILN_COLL_CREATE, &coll) == KILN_OK);
    must(kiln_savepoint_release(txn) == KILN_OK);
    must(kiln_coll_open(txn, "collection of number 60", 0, &coll) == KILN_OK);
    must(kiln_coll_drop(txn, coll) == KILN_OK);
    must(kiln_coll_open(txn, "collection of number 66", 0, &coll) == KILN_OK);
    must(kiln_coll_clear(txn, coll) == KILN_OK);
    must(kiln_txn_commit(txn) == KILN_OK);
}

/* The trees of the catalog and the dictionary are small, and all the others hang on them. */
static bool
is_special(const uint8_t *page)
{
    struct node node = {(uint8_t *)(uintptr_t)page, PAGE};
    uint8_t key[NODE_KEY_MAX];

    if (page[PAGE_TYPE] != PAGE_LEAF || node_count(page) == 0)
        return false;
    return (node_key(node, 0, key) == 5 && (key[0] == 'c' || key[0] <= 3)) || key[0] == 'n' ||
           key[0] == 0;
}

static void
pages_note(const struct forge *forge)
{
    uint8_t page[PAGE], maps[2][PAGE];
    const uint8_t *map;

    forge_read(forge, HEADER_REGION_BYTES / PAGE, maps[0]);
    forge_read(forge, HEADER_REGION_BYTES / PAGE + 1, maps[1]);
    map = maps[ftk_get_le64(maps[1] + MAP_CHECKPOINT) > ftk_get_le64(maps[0] + MAP_CHECKPOINT)];
    for (uint64_t id = HEADER_REGION_BYTES / PAGE; id < forge->pages && page_count < PAGES_MAX;
         id++) {
        forge_read(forge, id, page);
        if ((map[MAP_BITS + id / 8] >> id % 8 & 1) == 0 ||
            (page[PAGE_TYPE] != PAGE_MAP && node_validate(page, PAGE, id, true) != FTK_OK))
            continue;
        pages[page_count++] = id;
        if (special_count < SPECIAL_MAX && (page[PAGE_TYPE] == PAGE_MAP || is_special(page)))
            special[special_count++] = id;
    }
    must(page_count > 100 && special_count > 2);
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    struct forge forge;
    kiln_db *db;
    kiln_txn *txn;

    (void)argc;
    (void)argv;
    closed = simdisk_new(NULL);
    must(open_on(closed, KILN_CREATE, &db) == KILN_OK);
    must(kiln_txn_begin(db, KILN_WRITE, &txn) == KILN_OK);
    colls_make(txn);
    records_make(txn);
    must(kiln_txn_commit(txn) == KILN_OK);
    must(kiln_close(db) == KILN_OK);
    forge = forge_of(closed, PATH);
    pages_note(&forge);
    crashed = simdisk_clone(closed, 1);
    must(open_on(crashed, 0, &db) == KILN_OK);
    log_fill(db);
    db_abandon(db);
    return 0;
}

/* ---- the changes ----------------------------------------------------------------------------- */

struct change {
    uint8_t kind;
    uint32_t page, place;
    uint32_t value;
};

static void
slots_swap(uint8_t *page, uint32_t a, uint32_t b)
{
    uint32_t head_bytes = page[PAGE_HEAD_BYTES], heads = node_heads_at(page);
    uint32_t offsets = heads + node_capacity(page) * head_bytes;
    uint8_t kept[4];

    memcpy(kept, page + heads + a * head_bytes, head_bytes);
    memcpy(page + heads + a * head_bytes, page + heads + b * head_bytes, head_bytes);
    memcpy(page + heads + b * head_bytes, kept, head_bytes);
    memcpy(kept, page + offsets + a * 2, 2);
    memcpy(page + offsets + a * 2, page + offsets + b * 2, 2);
    memcpy(page + offsets + b * 2, kept, 2);
}

/* A child becomes another page, with the right birth. */
static void
child_set(const struct forge *forge, uint8_t *page, const struct change *change)
{
    struct node node = {page, PAGE};
    uint32_t pos = change->place % node_count(page);
    uint64_t id = pages[change->value % page_count];
    uint8_t other[PAGE];

    if (change->value & 1) {
        node_set_child(node, pos, node_child(page, (change->value >> 1) % node_count(page)));
    } else if (change->value & 2) {
        page_ref_put(page + (node_body(page, pos) - page),
                     (struct page_ref){change->value & 4 ? 0 : change->value << 8});
    } else {
        forge_read(forge, id, other);
        node_set_child(node, pos, page_ref_make(id, node_birth(other)));
    }
}

static void
value_set(uint8_t *page, uint32_t at, const struct change *change)
{
    static const uint64_t edges[] = {0,      1,          0x7f,      0x80,       0xff,
                                     0xffff, UINT32_MAX, INT64_MAX, UINT64_MAX, (uint64_t)1 << 40};
    uint32_t width = 1u << (change->value >> 16) % 4;
    uint64_t value = edges[(change->value >> 18) % (sizeof edges / sizeof edges[0])];

    if (change->value & 1)
        value = change->value >> 1 & 0xff;
    for (uint32_t i = 0; i < width && at + i < PAGE; i++)
        page[at + i] = (uint8_t)(value >> 8 * i);
}

/* An entry of a leaf gets more bytes than any that is put may have, others give them. */
static void
value_grow(uint8_t *page, uint32_t pos, const struct change *change)
{
    static const uint8_t filling[PAGE];
    struct node_value value = {.data = filling, .size = change->value % 3900};
    struct node node = {page, PAGE};
    uint8_t scratch[PAGE];

    while (!node_replace(node, pos, &value, scratch) && node_count(page) > 1) {
        node_remove(node, pos > 1 ? pos - 2 : node_count(page) - 1);
        pos -= pos > 1;
        if (pos >= node_count(page))
            return;
    }
}

static void
entry_change(const struct forge *forge, uint8_t *page, const struct change *change)
{
    struct node node = {page, PAGE};
    uint32_t count = node_count(page);
    uint32_t pos = count == 0 ? 0 : change->place % count;

    if (node_validate(page, PAGE, 1, false) != FTK_OK || count == 0)
        return;
    switch (change->value >> 20 & 3) {
    case 0: slots_swap(page, pos, change->value % count); break;
    case 1:
        if (page[PAGE_TYPE] == PAGE_LEAF || pos > 0 || count == 1)
            node_remove(node, pos);
        break;
    case 2:
        if (page[PAGE_TYPE] == PAGE_INNER)
            child_set(forge, page, change);
        else
            value_grow(page, pos, change);
        break;
    default: { /* into the body of the entry */
        uint32_t at = (uint32_t)(node_body(page, pos) - page);
        value_set(page, at + change->value % 24, change);
        break;
    }
    }
}

static void
header_change(void *context, uint8_t *block)
{
    const struct change *change = context;

    value_set(block, HEADER_CHECKPOINT + change->place % (HEADER_LOG_DIR - HEADER_CHECKPOINT),
              change);
}

static void
change_do(const struct forge *forge, const struct change *change)
{
    bool choose_special = (change->kind & 1) != 0;
    uint64_t id =
        choose_special ? special[change->page % special_count] : pages[change->page % page_count];
    uint8_t page[PAGE];

    if (change->kind >= 248) {
        forge_headers(forge, header_change, (void *)(uintptr_t)change);
        return;
    }
    forge_read(forge, id, page);
    switch (change->kind >> 1 & 7) {
    case 0: page[8 + change->place % (PAGE - 8)] ^= (uint8_t)(1u << change->value % 8); break;
    case 1: value_set(page, PAGE_TYPE + change->place % 16, change); break;
    case 2: value_set(page, PAGE_HEADER_BYTES + change->place % (PAGE - 40), change); break;
    case 3: value_set(page, PAGE_BIRTH + 3 + change->place % 5, change); break;
    case 4: forge_read(forge, pages[change->value % page_count], page); break;
    default: entry_change(forge, page, change); break;
    }
    forge_write(forge, id, page);
}

/* ---- what is done with it -------------------------------------------------------------------- */

static int
each_value(void *context, size_t index, kiln_slice value)
{
    uint64_t *sum = context;

    *sum += index + (value.data == NULL ? 0 : value.size);
    return 0;
}

static void
coll_read(kiln_txn *txn, kiln_coll coll, uint32_t step)
{
    uint8_t keys[8][8], piece[64];
    kiln_coll_stat stat = {.size = sizeof stat};
    kiln_slice slices[8], key, value;
    kiln_cursor *cursor;
    uint64_t sum = 0;
    size_t got;

    (void)said(kiln_coll_count(txn, coll, &sum));
    for (uint32_t i = 0; i < 8; i++) {
        key_make((i * 977 + step) % 8000 * 3, keys[i]);
        slices[i] = (kiln_slice){keys[i], 8};
        if (kiln_get(txn, coll, keys[i], 8, &value) == KILN_OK)
            for (size_t n = 0; n < value.size; n++)
                answers += ((const uint8_t *)value.data)[n];
        (void)said(kiln_value_read(txn, coll, keys[i], 8, step % 9000, piece, sizeof piece, &got));
    }
    (void)said(kiln_get_many(txn, coll, slices, 8, each_value, &answers));
    (void)said(kiln_range_estimate(txn, coll, slices[1], slices[2], &sum));
    (void)said(kiln_coll_stat_get(txn, coll, &stat));
    if (said(kiln_cursor_open(txn, coll, step % 2, &cursor)) != KILN_OK)
        return;
    for (int i = 0; i < STEPS_MAX && kiln_cursor_next(cursor) == KILN_OK; i++)
        (void)said(kiln_cursor_item(cursor, &key, &value));
    (void)said(kiln_cursor_seek_before(cursor, keys[0], 8));
    for (int i = 0; i < STEPS_MAX && kiln_cursor_prev(cursor) == KILN_OK; i++)
        (void)said(kiln_cursor_item(cursor, &key, &value));
    kiln_cursor_close(cursor);
}

static const char *const coll_names[] = {"series", "long", "large", "collection of number 3"};
static const char *const container_names[] = {"one", "two", "three"};
static const char *const index_names[] = {"unique", "all"};

static void
index_read(kiln_txn *txn, const char *name)
{
    kiln_item wanted = {.type = KILN_TEXT}, values[2];
    kiln_index_cursor *cursor;
    kiln_container container;
    kiln_index index;
    uint64_t id;
    char text[1150];

    if (said(kiln_index_find(txn, name, &index)) != KILN_OK)
        return;
    (void)said(kiln_index_count(txn, index, &id));
    memset(text, 'c', sizeof text);
    wanted.data = (kiln_slice){text, sizeof text};
    for (uint32_t count = 0; count < 2; count++) {
        if (said(kiln_index_cursor_open(txn, index, count == 0 ? NULL : &wanted, count, &cursor)) !=
            KILN_OK)
            continue;
        for (int i = 0; i < STEPS_MAX; i++)
            if (said(kiln_index_cursor_next(cursor, &id, &container, values, 1)) != KILN_OK)
                break;
        kiln_index_cursor_close(cursor);
    }
}

static void
records_read_all(kiln_txn *txn)
{
    kiln_record_cursor *cursor;
    kiln_container container;
    kiln_record *record;
    uint64_t id;

    must(kiln_record_new(&record) == KILN_OK);
    for (int c = 0; c < 3; c++) {
        if (said(kiln_container_find(txn, container_names[c], &container)) != KILN_OK)
            continue;
        (void)said(kiln_container_count(txn, container, &id));
        (void)said(kiln_record_get(txn, container, 7, record));
        if (said(kiln_record_cursor_open(txn, container, 0, &cursor)) != KILN_OK)
            continue;
        for (int i = 0; i < STEPS_MAX; i++)
            if (said(kiln_record_cursor_next(cursor, &id, record)) != KILN_OK)
                break;
        kiln_record_cursor_close(cursor);
    }
    kiln_record_free(record);
    index_read(txn, "unique");
    index_read(txn, "all");
}

static void
read_all(kiln_db *db, uint32_t step)
{
    char name[KILN_COLLECTION_NAME_MAX + 1];
    kiln_coll coll = 0;
    kiln_txn *txn;

    if (said(kiln_txn_begin(db, KILN_READ, &txn)) != KILN_OK)
        return;
    for (int i = 0; i < COLLS * 2; i++)
        if (said(kiln_coll_next(txn, coll, name, sizeof name, &coll)) != KILN_OK)
            break;
    for (int i = 0; i < 4; i++)
        if (said(kiln_coll_open(txn, coll_names[i], 0, &coll)) == KILN_OK)
            coll_read(txn, coll, step);
    records_read_all(txn);
    kiln_txn_abort(txn);
}

static void
coll_change(kiln_txn *txn, kiln_coll coll, uint32_t step)
{
    uint8_t keys[64][8], value[900];
    kiln_slice key_slices[64], values[64];
    uint32_t size = step % 3 == 0 ? 8 : step % 3 == 1 ? 60 : 900;
    kiln_cursor *cursor;
    uint64_t deleted;
    size_t done;

    memset(value, 'v', sizeof value);
    for (uint32_t i = 0; i < 64; i++) {
        key_make((i * 61 + step * 7) % 8100 * (i % 2 + 2), keys[i]);
        key_slices[i] = (kiln_slice){keys[i], 8};
        values[i] = (kiln_slice){value, size};
        (void)said(kiln_put(txn, coll, keys[i], 8, value, size, i % 3));
    }
    for (uint32_t i = 0; i < 200; i++) {
        key_make(((step >> 3) * 100 + i) % 8000 * 3, keys[0]);
        (void)said(kiln_delete(txn, coll, keys[0], 8));
    }
    (void)said(kiln_put_many(txn, coll, key_slices + 1, values + 1, 63, KILN_PUT_REPLACE, &done));
    (void)said(kiln_delete_many(txn, coll, key_slices + 1, 40, &deleted));
    if (said(kiln_cursor_open(txn, coll, 0, &cursor)) == KILN_OK) {
        for (int i = 0; i < 300 && kiln_cursor_next(cursor) == KILN_OK; i++)
            (void)said(kiln_cursor_delete(cursor));
        for (int i = 0; i < 300 && kiln_cursor_prev(cursor) == KILN_OK; i++)
            (void)said(kiln_cursor_delete(cursor));
        kiln_cursor_close(cursor);
    }
    if (step % 5 == 0)
        (void)said(kiln_coll_clear(txn, coll));
    if (step % 7 == 0)
        (void)said(kiln_coll_drop(txn, coll));
}

static void
records_change(kiln_txn *txn, uint32_t step)
{
    struct fields fields;
    kiln_container container;
    kiln_record *record;
    kiln_index index;
    uint64_t id;

    if (said(kiln_field_find(txn, "text", &fields.text, NULL)) != KILN_OK ||
        said(kiln_field_find(txn, "number", &fields.number, NULL)) != KILN_OK ||
        said(kiln_field_find(txn, "group", &fields.group, NULL)) != KILN_OK ||
        said(kiln_field_find(txn, "inner", &fields.inner, NULL)) != KILN_OK)
        return;
    must(kiln_record_new(&record) == KILN_OK);
    for (uint32_t c = 0; c < 3; c++) {
        if (said(kiln_container_find(txn, container_names[c], &container)) != KILN_OK)
            continue;
        for (uint32_t i = 1; i < 90; i += 1 + step % 5) {
            record_fill(record, &fields, i + step);
            id = i % 4 == 0 ? i : 0;
            if (i % 3 == 0)
                (void)said(kiln_record_update(txn, container, i, record));
            else if (i % 3 == 1)
                (void)said(kiln_record_add(txn, container, record, &id));
            else
                (void)said(kiln_record_delete(txn, container, i));
        }
        if (step % 4 == c)
            (void)said(kiln_container_drop(txn, container));
    }
    (void)said(kiln_records_flush(txn));
    if (said(kiln_index_find(txn, index_names[step % 2], &index)) == KILN_OK && step % 3 == 0)
        (void)said(kiln_index_drop(txn, index));
    (void)said(kiln_container_define(txn, "four", &container));
    kiln_record_free(record);
}

static void
change_all(kiln_db *db, uint32_t step)
{
    kiln_coll coll;
    kiln_txn *txn;

    if (said(kiln_txn_begin(db, KILN_WRITE, &txn)) != KILN_OK)
        return;
    if (step % 2 == 0)
        (void)said(kiln_savepoint(txn));
    for (uint32_t i = 0; i < 4; i++)
        if (said(kiln_coll_open(txn, coll_names[i], KILN_COLL_CREATE, &coll)) == KILN_OK)
            coll_change(txn, coll, step + i);
    records_change(txn, step);
    (void)said(kiln_coll_open(txn, "of this", KILN_COLL_CREATE, &coll));
    if (step % 4 == 0)
        (void)said(kiln_savepoint_rollback(txn));
    if (step % 4 == 2)
        (void)said(kiln_savepoint_release(txn));
    if (step % 11 == 0)
        kiln_txn_abort(txn);
    else
        (void)said(kiln_txn_commit(txn));
}

static void
use(struct simdisk *disk, uint32_t step)
{
    kiln_check_options check = KILN_CHECK_OPTIONS_INIT;
    kiln_stat stat = {.size = sizeof stat};
    kiln_db *db;

    if (said(open_on(disk, step % 6 == 5 ? KILN_OPEN_READONLY : 0, &db)) != KILN_OK)
        return;
    (void)said(kiln_stat_get(db, &stat));
    if (step % 4 != 0)
        read_all(db, step);
    if (step % 4 == 1)
        (void)said(kiln_check(db, &check));
    if (step % 4 != 1)
        change_all(db, step);
    if (step % 8 == 3)
        (void)said(kiln_checkpoint(db));
    if (step % 4 == 2)
        change_all(db, step + 1);
    if (step % 3 == 0)
        (void)said(kiln_check(db, &check));
    if (step % 3 == 1)
        db_abandon(db);
    else
        (void)said(kiln_close(db));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct simdisk *disk = simdisk_clone(size > 0 && data[0] & 1 ? crashed : closed, 1);
    struct forge forge = forge_of(disk, PATH);
    uint32_t step = size > 0 ? data[0] >> 1 : 0;

    for (size_t at = 1; at + 8 <= size && at < CHANGES_MAX * 8; at += 8) {
        struct change change = {.kind = data[at],
                                .page = ftk_get_le16(data + at + 1),
                                .place = ftk_get_le16(data + at + 3),
                                .value = ftk_get_le16(data + at + 5) | data[at + 7] << 16};
        change_do(&forge, &change);
    }
    use(disk, step);
    use(disk, step + 1); /* what the first made durable */
    simdisk_free(disk);
    return 0;
}
