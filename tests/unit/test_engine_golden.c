/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/unit/test_engine_golden.c -- databases written by earlier builds: one of each format
 * version, below tests/golden, that every later build opens, checks and reads.
 *
 * "closed" was closed properly; "crashed" has transactions that only its log holds.  A new format
 * version adds a directory; those of released versions are never made anew.  Making them:
 *     KILN_GOLDEN_MAKE=v2 build/tests/unit/test_engine_golden
 */
#include <glob.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "tests/unit/engine_testing.h"

enum { TEXTS = 500, LATER = 30, PEOPLE = 60, FILE_MAX = 64 << 20 };

static const uint32_t large_sizes[] = {1, 5000, 100000, 1000000};

static void
fill(uint8_t *to, size_t size)
{
    for (size_t i = 0; i < size; i++)
        to[i] = (uint8_t)(i * 7 + i / 251);
}

/* ---- making ---------------------------------------------------------------------------------- */

static void
make_texts(kiln_txn *txn)
{
    kiln_coll coll = engine_coll(txn, "texts");
    char key[KILN_KEY_MAX], value[64];

    for (unsigned i = 0; i < TEXTS; i++) {
        int key_size = snprintf(key, sizeof key, "text/with/a/prefix/%05u", i);
        int size = snprintf(value, sizeof value, "value %u", i * i);
        OK(kiln_put(txn, coll, key, (size_t)key_size, value, (size_t)size, 0));
    }
    for (unsigned i = 0; i < TEXTS; i += 5) {
        int key_size = snprintf(key, sizeof key, "text/with/a/prefix/%05u", i);
        OK(kiln_delete(txn, coll, key, (size_t)key_size));
    }
    memset(key, 'k', sizeof key);
    OK(kiln_put(txn, coll, key, sizeof key, "longest key", 11, 0));
    OK(kiln_put(txn, coll, "\0\xff", 2, "", 0, 0));
}

static void
make_large(kiln_txn *txn)
{
    kiln_coll coll = engine_coll(txn, "large");

    for (unsigned i = 0; i < sizeof large_sizes / sizeof large_sizes[0]; i++) {
        uint8_t *value = malloc(large_sizes[i]);
        uint8_t key = (uint8_t)i;
        fill(value, large_sizes[i]);
        OK(kiln_put(txn, coll, &key, 1, value, large_sizes[i], 0));
        free(value);
    }
}

static void
make_people(kiln_txn *txn)
{
    kiln_index_options options = KILN_INDEX_OPTIONS_INIT;
    kiln_index_part part = {0};
    kiln_container container;
    kiln_record *record = NULL;
    kiln_field name, age;
    kiln_index index;

    OK(kiln_field_define(txn, "name", KILN_TEXT, &name));
    OK(kiln_field_define(txn, "age", KILN_INT, &age));
    OK(kiln_container_define(txn, "people", &container));
    part.field = name;
    options.name = "by name";
    options.container = container;
    options.parts = &part;
    options.part_count = 1;
    OK(kiln_index_define(txn, &options, &index));
    OK(kiln_record_new(&record));
    for (unsigned i = 0; i < PEOPLE; i++) {
        uint64_t id = 0;
        char text[32];
        int size = snprintf(text, sizeof text, "person %u", i % 7);
        kiln_record_clear(record);
        OK(kiln_record_text(record, name, text, (size_t)size));
        OK(kiln_record_int(record, age, (int64_t)i - 20));
        OK(kiln_record_add(txn, container, record, &id));
        CHECK_EQ(id, i + 1);
    }
    kiln_record_free(record);
}

static void
make_later(kiln_db *db)
{
    for (unsigned i = 0; i < LATER; i++) {
        kiln_txn *txn = engine_begin(db, KILN_WRITE);
        kiln_coll coll = engine_coll(txn, "later");
        OK(engine_series(txn, coll, i, i + 1, 20));
        OK(kiln_savepoint(txn));
        OK(engine_put(txn, coll, "rolled back", ""));
        OK(kiln_savepoint_rollback(txn));
        if (i == LATER - 1)
            make_large(txn);
        OK(kiln_txn_commit(txn));
    }
}

static uint8_t file_bytes[FILE_MAX];

static const char *
base_name(const char *path)
{
    return strrchr(path, '/') + 1;
}

/* from -> to_dir/<its name>.gz */
static void
store_file(const char *from, const char *to_dir)
{
    char to[800];
    FILE *in = fopen(from, "rb");
    gzFile out;
    size_t size;

    snprintf(to, sizeof to, "%s/%s.gz", to_dir, base_name(from));
    out = gzopen(to, "wb9");
    REQUIRE(in != NULL && out != NULL);
    size = fread(file_bytes, 1, sizeof file_bytes, in);
    REQUIRE(size > 0 && gzwrite(out, file_bytes, (unsigned)size) == (int)size);
    fclose(in);
    REQUIRE(gzclose(out) == Z_OK);
}

static void
store(const char *from_dir, const char *to_dir)
{
    char pattern[600];
    glob_t found;

    snprintf(pattern, sizeof pattern, "%s/data.kdb", from_dir);
    store_file(pattern, to_dir);
    snprintf(pattern, sizeof pattern, "%s/rfl/*.rfl", from_dir);
    REQUIRE(glob(pattern, 0, NULL, &found) == 0);
    for (size_t i = 0; i < found.gl_pathc; i++)
        store_file(found.gl_pathv[i], to_dir);
    globfree(&found);
}

static void
make(const char *to_dir, bool closed)
{
    kiln_options options = engine_options(KILN_CREATE);
    struct db_environment environment = {.manual = true};
    kiln_db *db = NULL;
    kiln_txn *txn;

    REQUIRE_OK(db_open(test_path(to_dir), &options, &environment, &db));
    txn = engine_begin(db, KILN_WRITE);
    make_texts(txn);
    make_people(txn);
    if (closed)
        make_large(txn);
    OK(kiln_txn_commit(txn));
    OK(kiln_checkpoint(db));
    make_later(db);
    if (closed)
        OK(kiln_close(db));
    else
        db_abandon(db);
    store(test_path(to_dir), to_dir);
}

/* ---- reading --------------------------------------------------------------------------------- */

static void
check_texts(kiln_txn *txn)
{
    char key[KILN_KEY_MAX], value[64];
    kiln_coll coll = 0;
    uint64_t count = 0;
    kiln_slice got;

    OK(kiln_coll_open(txn, "texts", 0, &coll));
    OK(kiln_coll_count(txn, coll, &count));
    CHECK_EQ(count, TEXTS - TEXTS / 5 + 2);
    for (unsigned i = 0; i < TEXTS; i++) {
        snprintf(key, sizeof key, "text/with/a/prefix/%05u", i);
        snprintf(value, sizeof value, "value %u", i * i);
        CHECK_VALUE(txn, coll, key, i % 5 == 0 ? NULL : value);
    }
    memset(key, 'k', sizeof key);
    OK(kiln_get(txn, coll, key, sizeof key, &got));
    CHECK_EQ(got.size, 11);
    OK(kiln_get(txn, coll, "\0\xff", 2, &got));
    CHECK_EQ(got.size, 0);
}

static void
check_large(kiln_txn *txn)
{
    static uint8_t wanted[1000000];
    kiln_coll coll = 0;
    kiln_slice got;

    fill(wanted, sizeof wanted);
    OK(kiln_coll_open(txn, "large", 0, &coll));
    for (unsigned i = 0; i < sizeof large_sizes / sizeof large_sizes[0]; i++) {
        uint8_t key = (uint8_t)i;
        OK(kiln_get(txn, coll, &key, 1, &got));
        REQUIRE_EQ(got.size, large_sizes[i]);
        CHECK_MEM(got.data, wanted, got.size);
    }
}

static void
check_people(kiln_txn *txn)
{
    kiln_container container;
    kiln_index index;
    kiln_index_cursor *cursor = NULL;
    kiln_record *record = NULL;
    kiln_field name, age;
    kiln_type type;
    kiln_item item = {0};
    uint64_t id, count = 0;
    unsigned found = 0;

    OK(kiln_field_find(txn, "name", &name, &type));
    CHECK_EQ(type, KILN_TEXT);
    OK(kiln_field_find(txn, "age", &age, &type));
    OK(kiln_container_find(txn, "people", &container));
    OK(kiln_container_count(txn, container, &count));
    CHECK_EQ(count, PEOPLE);
    OK(kiln_index_find(txn, "by name", &index));
    item.type = KILN_TEXT;
    item.data = (kiln_slice){"person 3", 8};
    OK(kiln_index_cursor_open(txn, index, &item, 1, &cursor));
    OK(kiln_record_new(&record));
    while (kiln_index_cursor_next(cursor, &id, &container, NULL, 0) == KILN_OK) {
        kiln_item got;
        OK(kiln_record_get(txn, container, id, record));
        OK(kiln_record_find(record, age, 0, &got));
        CHECK_EQ(got.integer, (int64_t)id - 1 - 20);
        CHECK_EQ((id - 1) % 7, 3);
        found++;
    }
    CHECK_EQ(found, (PEOPLE - 3 + 6) / 7);
    kiln_record_free(record);
    kiln_index_cursor_close(cursor);
}

/* from (.gz) -> to_dir/<its name> */
static void
fetch_file(const char *from, const char *to_dir)
{
    char to[800];
    gzFile in = gzopen(from, "rb");
    FILE *out;
    int size;

    snprintf(to, sizeof to, "%s/%s", to_dir, base_name(from));
    to[strlen(to) - 3] = 0;
    out = fopen(to, "wb");
    REQUIRE(in != NULL && out != NULL);
    size = gzread(in, file_bytes, sizeof file_bytes);
    REQUIRE(size > 0 && fwrite(file_bytes, 1, (size_t)size, out) == (size_t)size);
    gzclose(in);
    fclose(out);
}

static void
fetch(const char *version, const char *kind, const char *to_dir)
{
    const char *source = getenv("KILN_SRC");
    char pattern[600], rfl[700];
    glob_t found;

    snprintf(pattern, sizeof pattern, "%s/tests/golden/%s/%s/*.gz", source != NULL ? source : ".",
             version, kind);
    snprintf(rfl, sizeof rfl, "%s/rfl", to_dir);
    REQUIRE(mkdir(to_dir, 0755) == 0 && mkdir(rfl, 0755) == 0);
    REQUIRE_MSG(glob(pattern, 0, NULL, &found) == 0, "no %s (KILN_SRC is the source tree)",
                pattern);
    for (size_t i = 0; i < found.gl_pathc; i++)
        fetch_file(found.gl_pathv[i], strstr(found.gl_pathv[i], ".rfl") != NULL ? rfl : to_dir);
    globfree(&found);
}

static void
check(const char *version, const char *kind)
{
    kiln_options options = engine_options(0);
    char dir[512];
    kiln_coll coll = 0;
    uint64_t count = 0;
    kiln_db *db = NULL;

    snprintf(dir, sizeof dir, "%s", test_path(kind));
    fetch(version, kind, dir);
    for (unsigned round = 0; round < 2; round++) { /* as it was written, and by this build */
        kiln_txn *txn;
        OK(kiln_open(dir, &options, &db));
        txn = engine_begin(db, KILN_READ);
        check_texts(txn);
        check_large(txn);
        check_people(txn);
        OK(kiln_coll_open(txn, "later", 0, &coll));
        OK(kiln_coll_count(txn, coll, &count));
        CHECK_EQ(count, LATER + round);
        kiln_txn_abort(txn);
        engine_check(db);
        txn = engine_begin(db, KILN_WRITE);
        OK(engine_put(txn, coll, "by this build", ""));
        OK(kiln_txn_commit(txn));
        OK(kiln_close(db));
    }
}

static void
databases_of_every_format_version_can_be_read(void)
{
    const char *version = getenv("KILN_GOLDEN_MAKE");

    if (version != NULL) {
        char dir[300];
        REQUIRE(chdir("tests/golden") == 0);
        (void)mkdir(version, 0755);
        REQUIRE(chdir(version) == 0);
        for (unsigned i = 0; i < 2; i++) {
            snprintf(dir, sizeof dir, "%s", i == 0 ? "closed" : "crashed");
            (void)mkdir(dir, 0755);
            make(dir, i == 0);
        }
        return;
    }
    check("v2", "closed");
    check("v2", "crashed");
}

TEST_MAIN("engine_golden", TEST(databases_of_every_format_version_can_be_read))
