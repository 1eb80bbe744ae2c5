/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/test_engine_stray_memory.c -- what the program had in memory does not reach a file.
 *
 * Memory that is allocated is full of one byte, and no run of it is found in any file of the
 * database.
 */
#include <dirent.h>
#include <stdlib.h>

#include "ftk/mem.h"
#include "tests/support/record_testing.h"
#include "tests/unit/engine_testing.h"

/* jemalloc reads it before main; nobody else does. */
__attribute__((visibility("default"))) extern const char *malloc_conf;
const char *malloc_conf = "junk:alloc";

enum { KEYS = 6000, RUN = 16 };

/* The byte that new memory is full of; 0: nothing fills it. */
static uint8_t
junk_byte(void)
{
    enum { SIZE = 3000 };
    void *memory;
    uint8_t byte;

    REQUIRE_OK(ftk_alloc(SIZE, &memory));
    const uint8_t *bytes = memory;
    byte = bytes[SIZE / 2];
    for (unsigned i = SIZE / 4; i < SIZE; i++)
        if (bytes[i] != byte)
            byte = 0;
    ftk_free(memory);
    return byte;
}

static void
file_look(const char *path, uint8_t junk)
{
    enum { PART = 1 << 20 };
    uint8_t *part = malloc(PART);
    FILE *file = fopen(path, "rb");
    uint64_t at = 0, run = 0, found = 0;
    size_t got;

    REQUIRE(part != NULL && file != NULL);
    while ((got = fread(part, 1, PART, file)) > 0) {
        for (size_t i = 0; i < got; i++, at++) {
            run = part[i] == junk ? run + 1 : 0;
            if (run == RUN)
                printf("%s: stray memory before byte %llu\n", path, (unsigned long long)at + 1);
            found += run == RUN;
        }
    }
    CHECK_EQ(found, 0);
    fclose(file);
    free(part);
}

/* Every file of a directory and of those in it. */
static void
files_look(const char *directory, uint8_t junk)
{
    DIR *dir = opendir(directory);
    struct dirent *entry;
    char path[4096];

    REQUIRE(dir != NULL);
    while ((entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
        if (entry->d_type == DT_DIR)
            files_look(path, junk);
        else
            file_look(path, junk);
    }
    closedir(dir);
}

static void
collections_change(kiln_db *db, uint32_t round)
{
    static uint8_t value[50000];
    kiln_txn *txn = engine_begin(db, KILN_WRITE);
    kiln_coll coll = engine_coll(txn, "c");
    kiln_bulk *bulk;
    char key[200];

    for (uint32_t i = 0; i < KEYS; i++) { /* in order, at random, long ones, and gone again */
        uint32_t n = i % 2 == 0 ? i : i * 7919u % KEYS;
        int size = snprintf(key, sizeof key, "%08u", n);
        if (n % 9 == 0)
            size += snprintf(key + size, sizeof key - (size_t)size, "%0150u", round);
        if (n % 5 == round)
            (void)kiln_delete(txn, coll, key, (size_t)size);
        else
            OK(kiln_put(txn, coll, key, (size_t)size, value, n % 97 == 0 ? 700 : n % 40, 0));
        if (i == KEYS / 2)
            OK(kiln_savepoint(txn));
    }
    OK(round % 2 == 0 ? kiln_savepoint_release(txn) : kiln_savepoint_rollback(txn));
    for (uint32_t i = 0; i < 20; i++)
        OK(kiln_put(txn, engine_coll(txn, "large"), key, i + 1, value, 1500 + 2417 * i, 0));
    snprintf(key, sizeof key, "bulk %u", round);
    OK(kiln_bulk_begin(txn, engine_coll(txn, key), &bulk));
    for (uint32_t i = 0; i < 2000; i++) {
        ftk_put_be32((uint8_t *)key, i);
        OK(kiln_bulk_add(bulk, key, 4, value, i % 60));
    }
    OK(kiln_bulk_end(bulk));
    OK(kiln_txn_commit(txn));
}

static void
records_change(kiln_db *db, uint32_t round)
{
    static struct people people;
    kiln_txn *txn = engine_begin(db, KILN_WRITE);
    char name[32];

    if (round == 0)
        people = people_define(txn);
    for (uint32_t i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "name %u", i * 7919u % 1000);
        (void)person_add(txn, &people, name, i % 3 == 0 ? NULL : name, i);
    }
    for (uint64_t id = 1; id < 500; id += 3)
        if (round > 0)
            OK(kiln_record_delete(txn, people.container, id + 1000 * (round - 1)));
    OK(kiln_txn_commit(txn));
}

static void
no_file_has_what_was_in_memory(void)
{
    const uint8_t junk = junk_byte();
    kiln_options options = engine_options(KILN_CREATE);
    kiln_db *db;

    if (junk == 0) {
        printf("new memory is not filled here: nothing to look for\n");
        return;
    }
    for (uint32_t round = 0; round < 4; round++) { /* closed, and out of the log */
        OK(kiln_open(test_path("db"), &options, &db));
        collections_change(db, round);
        OK(kiln_checkpoint(db));
        records_change(db, round);
        files_look(test_path("db"), junk);
        if (round % 2 == 0)
            OK(kiln_close(db));
        else
            db_abandon(db);
        files_look(test_path("db"), junk);
    }
}

TEST_MAIN("engine_stray_memory", TEST(no_file_has_what_was_in_memory))
