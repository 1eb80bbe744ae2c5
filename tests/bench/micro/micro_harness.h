/* SPDX-License-Identifier: Apache-2.0 */
/* tests/bench/micro/micro_harness.h -- what the micro-benchmarks measure, in C; driven from C++. */
#ifndef MICRO_HARNESS_H
#define MICRO_HARNESS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Every function ends the program with a message when something fails: a benchmark of wrong results
 * is worth nothing. */

struct micro_db; /* a database of `records` records of 16 + 100 bytes in a temporary directory */
struct micro_db *micro_db_open(uint64_t records, int random_order);
void micro_db_close(struct micro_db *db);

void micro_get(struct micro_db *db, uint64_t count); /* random gets, one transaction */
void micro_get_many(struct micro_db *db, uint64_t count, size_t batch);
uint64_t micro_scan(struct micro_db *db, uint64_t scans, uint64_t length); /* records seen */
void micro_put(struct micro_db *db, uint64_t count, uint64_t per_txn);     /* random updates */
void micro_append(struct micro_db *db, uint64_t count, uint64_t per_txn);  /* behind the last key */
void micro_read_txn(struct micro_db *db, uint64_t count);                  /* begin, one get, end */

/* One page of memory. */
struct micro_node;
struct micro_node *micro_node_new(uint32_t page_bytes);
void micro_node_free(struct micro_node *node);
uint64_t micro_node_search(struct micro_node *node, uint64_t count);
uint64_t micro_node_fill(struct micro_node *node); /* entries that fit, in random order */
uint64_t micro_checksum(uint32_t page_bytes, uint64_t count);
void micro_sort(size_t keys, uint64_t rounds);

#ifdef __cplusplus
}
#endif

#endif
