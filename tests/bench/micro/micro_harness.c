/* SPDX-License-Identifier: Apache-2.0 */
/* tests/bench/micro/micro_harness.c -- see micro_harness.h. */
#include "micro_harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/db/txn.h"
#include "engine/page/node.h"
#include "ftk/checksum.h"
#include "ftk/random.h"
#include "kiln.h"

enum { KEY_BYTES = 16, VALUE_BYTES = 100, LOAD_PER_TXN = 1000 };

#define OK(call)                                                                                   \
    do {                                                                                           \
        if ((call) != 0) {                                                                         \
            fprintf(stderr, "%s: %s\n", #call, kiln_error_last()->text);                           \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

struct micro_db {
    char dir[64];
    kiln_db *db;
    kiln_coll coll;
    uint64_t records;
    int random_order;
    uint64_t next;
    uint64_t seen;
    struct ftk_random random;
};

static uint64_t
mix(uint64_t x)
{
    x ^= x >> 33;
    x *= UINT64_C(0xff51afd7ed558ccd);
    x ^= x >> 33;
    x *= UINT64_C(0xc4ceb9fe1a85ec53);
    return x ^ x >> 33;
}

static void
key_of(const struct micro_db *db, uint64_t number, uint8_t *key)
{
    ftk_put_be64(key, db->random_order ? mix(number) : number);
    ftk_put_be64(key + 8, mix(number ^ 77));
}

static void
put_range(struct micro_db *db, const uint64_t *numbers, uint64_t first, uint64_t count)
{
    static uint8_t keys[LOAD_PER_TXN][KEY_BYTES], value[VALUE_BYTES];
    static kiln_slice key_slices[LOAD_PER_TXN], value_slices[LOAD_PER_TXN];
    kiln_txn *txn;

    for (uint64_t i = 0; i < count; i++) {
        key_of(db, numbers != NULL ? numbers[i] : first + i, keys[i]);
        key_slices[i] = (kiln_slice){keys[i], KEY_BYTES};
        value_slices[i] = (kiln_slice){value, VALUE_BYTES};
    }
    OK(kiln_txn_begin(db->db, KILN_WRITE, &txn));
    OK(kiln_coll_open(txn, "bench", KILN_COLL_CREATE, &db->coll));
    OK(kiln_put_many(txn, db->coll, key_slices, value_slices, count, KILN_PUT_REPLACE, NULL));
    OK(kiln_txn_commit(txn));
}

struct micro_db *
micro_db_open(uint64_t records, int random_order)
{
    struct micro_db *db = calloc(1, sizeof(*db));
    kiln_options options = KILN_OPTIONS_INIT;
    const char *tmp = getenv("TMPDIR");

    if (db == NULL)
        abort();
    snprintf(db->dir, sizeof(db->dir), "%s/kiln-micro-XXXXXX", tmp != NULL ? tmp : "/tmp");
    if (mkdtemp(db->dir) == NULL)
        abort();
    options.flags = KILN_CREATE;
    options.durability = KILN_OS;
    options.cache_bytes = UINT64_C(2) << 30;
    OK(kiln_open(db->dir, &options, &db->db));
    db->records = records;
    db->random_order = random_order;
    ftk_random_seed(&db->random, 1);
    for (uint64_t i = 0; i < records; i += LOAD_PER_TXN)
        put_range(db, NULL, i, records - i < LOAD_PER_TXN ? records - i : LOAD_PER_TXN);
    db->next = records;
    OK(kiln_checkpoint(db->db));
    return db;
}

void
micro_db_close(struct micro_db *db)
{
    char command[128];

    OK(kiln_close(db->db));
    snprintf(command, sizeof(command), "rm -rf '%s'", db->dir);
    if (system(command) != 0)
        fprintf(stderr, "left behind: %s\n", db->dir);
    free(db);
}

static kiln_txn *
read_txn(struct micro_db *db)
{
    kiln_txn *txn;

    OK(kiln_txn_begin(db->db, KILN_READ, &txn));
    OK(kiln_coll_open(txn, "bench", 0, &db->coll));
    return txn;
}

static void
get_one(struct micro_db *db, kiln_txn *txn)
{
    uint8_t key[KEY_BYTES];
    kiln_slice value;

    key_of(db, ftk_random_below(&db->random, db->records), key);
    OK(kiln_get(txn, db->coll, key, sizeof(key), &value));
    db->seen += value.size;
}

void
micro_get(struct micro_db *db, uint64_t count)
{
    kiln_txn *txn = read_txn(db);

    for (uint64_t i = 0; i < count; i++)
        get_one(db, txn);
    kiln_txn_abort(txn);
}

void
micro_read_txn(struct micro_db *db, uint64_t count)
{
    kiln_txn_abort(read_txn(db));
    for (uint64_t i = 0; i < count; i++) {
        kiln_txn *txn;
        OK(kiln_txn_begin(db->db, KILN_READ, &txn));
        get_one(db, txn);
        kiln_txn_abort(txn);
    }
}

static int
each_value(void *context, size_t index, kiln_slice value)
{
    struct micro_db *db = context;

    (void)index;
    if (value.size != VALUE_BYTES)
        abort();
    db->seen += *(const uint8_t *)value.data;
    return 0;
}

void
micro_get_many(struct micro_db *db, uint64_t count, size_t batch)
{
    uint8_t keys[1024][KEY_BYTES];
    kiln_slice slices[1024];
    kiln_txn *txn = read_txn(db);

    for (uint64_t i = 0; i < count; i += batch) {
        for (size_t j = 0; j < batch; j++) {
            key_of(db, ftk_random_below(&db->random, db->records), keys[j]);
            slices[j] = (kiln_slice){keys[j], KEY_BYTES};
        }
        OK(kiln_get_many(txn, db->coll, slices, batch, each_value, db));
    }
    kiln_txn_abort(txn);
}

uint64_t
micro_scan(struct micro_db *db, uint64_t scans, uint64_t length)
{
    uint8_t key[KEY_BYTES];
    kiln_txn *txn = read_txn(db);
    kiln_cursor *cursor;
    uint64_t records = 0;

    OK(kiln_cursor_open(txn, db->coll, 0, &cursor));
    for (uint64_t i = 0; i < scans; i++) {
        kiln_slice item_key, value;
        key_of(db, ftk_random_below(&db->random, db->records), key);
        OK(kiln_cursor_seek(cursor, key, sizeof(key)));
        for (uint64_t j = 0; j < length; j++) {
            OK(kiln_cursor_item(cursor, &item_key, &value));
            db->seen += value.size;
            records++;
            if (kiln_cursor_next(cursor) != KILN_OK)
                break;
        }
    }
    kiln_txn_abort(txn);
    return records;
}

void
micro_put(struct micro_db *db, uint64_t count, uint64_t per_txn)
{
    uint64_t numbers[LOAD_PER_TXN];

    for (uint64_t i = 0; i < count; i += per_txn) {
        for (uint64_t j = 0; j < per_txn; j++)
            numbers[j] = ftk_random_below(&db->random, db->records);
        put_range(db, numbers, 0, per_txn);
    }
}

void
micro_append(struct micro_db *db, uint64_t count, uint64_t per_txn)
{
    for (uint64_t i = 0; i < count; i += per_txn) {
        put_range(db, NULL, db->next, per_txn);
        db->next += per_txn;
    }
}

/* ---- pages ----------------------------------------------------------------------------------- */

struct micro_node {
    struct node node;
    uint8_t *scratch;
    uint32_t count;
};

static uint32_t
node_fill(struct micro_node *m)
{
    uint8_t value_bytes[VALUE_BYTES] = {0}, key[KEY_BYTES];
    struct node_value value = {.data = value_bytes, .size = VALUE_BYTES};
    uint32_t n = 0;
    bool exact;

    node_init(m->node, PAGE_LEAF, 0, 0, 4, 1, NULL, 0);
    for (;; n++) {
        ftk_put_be64(key, mix(n));
        ftk_put_be64(key + 8, n);
        uint32_t pos = node_lower_bound(m->node, key, sizeof(key), &exact);
        if (!node_insert(m->node, pos, key, sizeof(key), &value, m->scratch))
            return n;
    }
}

struct micro_node *
micro_node_new(uint32_t page_bytes)
{
    struct micro_node *m = calloc(1, sizeof(*m));

    if (m == NULL)
        abort();
    m->node.bytes = page_bytes;
    m->node.page = aligned_alloc(4096, page_bytes);
    m->scratch = aligned_alloc(4096, page_bytes);
    if (m->node.page == NULL || m->scratch == NULL)
        abort();
    m->count = node_fill(m);
    return m;
}

void
micro_node_free(struct micro_node *m)
{
    free(m->node.page);
    free(m->scratch);
    free(m);
}

uint64_t
micro_node_search(struct micro_node *m, uint64_t count)
{
    uint8_t key[KEY_BYTES];
    uint64_t found = 0;
    bool exact;

    for (uint64_t i = 0; i < count; i++) {
        uint64_t n = mix(i) % m->count;
        ftk_put_be64(key, mix(n));
        ftk_put_be64(key + 8, n);
        node_lower_bound(m->node, key, sizeof(key), &exact);
        found += exact;
    }
    if (found != count)
        abort();
    return found;
}

uint64_t
micro_node_fill(struct micro_node *m)
{
    return node_fill(m);
}

uint64_t
micro_checksum(uint32_t page_bytes, uint64_t count)
{
    static uint8_t page[65536];
    uint64_t sum = 0;

    for (uint64_t i = 0; i < count; i++)
        sum += ftk_checksum(page, page_bytes, i);
    return sum;
}

void
micro_sort(size_t count, uint64_t rounds)
{
    uint8_t(*keys)[KEY_BYTES] = calloc(count, KEY_BYTES);
    kiln_slice *slices = calloc(count, sizeof(*slices));
    struct batch_item *items = calloc(2 * count, sizeof(*items));

    if (keys == NULL || slices == NULL || items == NULL)
        abort();
    for (uint64_t round = 0; round < rounds; round++) {
        for (size_t i = 0; i < count; i++) {
            ftk_put_be64(keys[i], mix(round * count + i));
            slices[i] = (kiln_slice){keys[i], KEY_BYTES};
        }
        batch_sort(slices, count, items, items + count);
    }
    free(keys);
    free(slices);
    free(items);
}
