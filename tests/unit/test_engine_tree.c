/* tests/unit/test_engine_tree.c -- puts, batches and bulk loads: shapes that went wrong once. */
#include "tests/unit/engine_testing.h"

static struct simdisk *disk;
static kiln_db *db;
static kiln_txn *txn;
static kiln_coll coll;

static void
begin(void)
{
    disk = simdisk_new(NULL);
    db = engine_open(disk, KILN_CREATE);
    txn = engine_begin(db, KILN_WRITE);
    coll = engine_coll(txn, "c");
}

static void
end(void)
{
    if (txn != NULL)
        OK(kiln_txn_commit(txn));
    txn = NULL;
    engine_end(disk, db);
}

static kiln_slice
text(const char *s)
{
    return (kiln_slice){s, strlen(s)};
}

static void
batch_of_equal_keys_into_an_empty_collection_keeps_the_last(void)
{
    kiln_slice keys[3] = {text("k"), text("k"), text("k")};
    kiln_slice values[3] = {text("one"), text("two"), text("three")};
    size_t done = 0;

    begin();
    OK(kiln_put_many(txn, coll, keys, values, 3, KILN_PUT_REPLACE, &done));
    CHECK_EQ(done, 3);
    CHECK_VALUE(txn, coll, "k", "three");
    end();
}

TEST_MAIN("engine_tree", TEST(batch_of_equal_keys_into_an_empty_collection_keeps_the_last))
