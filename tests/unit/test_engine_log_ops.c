/* SPDX-License-Identifier: Apache-2.0 */
/* tests/unit/test_engine_log_ops.c -- operations of the log: bytes, bounds, and what is refused. */
#include "engine/txn/log_ops.h"
#include "tests/support/test.h"

enum { ROOM = 4096 };

static struct log_operation
random_operation(struct ftk_random *random, const uint8_t *bytes)
{
    struct log_operation op = {.op = (enum log_op)(1 + ftk_random_below(random, OP_CHUNK))};
    unsigned parts = log_op_parts(op.op);

    if (parts & LOG_PART_COLL)
        op.coll = (kiln_coll)ftk_random_next(random) >> ftk_random_below(random, 32);
    if (parts & LOG_PART_FLAGS)
        op.flags = (uint8_t)ftk_random_next(random);
    if (parts & LOG_PART_KEY) {
        op.key = bytes;
        op.key_size = ftk_random_below(random, 1025);
    }
    if (parts & LOG_PART_VALUE) {
        op.value = bytes + 7;
        op.value_size = ftk_random_below(random, 2000);
    } else if (parts & LOG_PART_SIZE) {
        op.value_size = ftk_random_next(random) >> ftk_random_below(random, 64);
    }
    return op;
}

static void
require_same(const struct log_operation *a, const struct log_operation *b)
{
    REQUIRE_EQ(a->op, b->op);
    REQUIRE_EQ(a->coll, b->coll);
    REQUIRE_EQ(a->flags, b->flags);
    REQUIRE_EQ(a->key_size, b->key_size);
    REQUIRE_EQ(a->value_size, b->value_size);
    if (a->key_size > 0)
        REQUIRE_MEM(b->key, a->key, a->key_size);
    if (log_op_parts(a->op) & LOG_PART_VALUE && a->value_size > 0)
        REQUIRE_MEM(b->value, a->value, a->value_size);
}

static void
operations_come_back_as_they_were_and_no_part_of_one_does(void)
{
    struct ftk_random random = test_random();
    uint8_t bytes[ROOM], encoded[ROOM];

    for (unsigned i = 0; i < ROOM; i++)
        bytes[i] = (uint8_t)ftk_random_next(&random);
    for (unsigned round = 0; round < test_rounds(2000); round++) {
        struct log_operation op = random_operation(&random, bytes), got;
        uint8_t *end = log_op_encode(encoded, &op);
        REQUIRE((size_t)(end - encoded) <= log_op_bytes(op.op, op.key_size, op.value_size));
        REQUIRE(log_op_decode(encoded, end, &got) == end);
        require_same(&op, &got);
        for (const uint8_t *cut = encoded + 1; cut < end; cut++)
            REQUIRE(log_op_decode(encoded, cut, &got) == NULL);
    }
}

/* Frozen: logs of format version 1 have these. */
static void
bytes_of_operations_are_those_of_the_format(void)
{
    static const struct {
        struct log_operation op;
        const char *bytes;
        size_t size;
    } frozen[] = {
        {{.op = OP_PUT, .coll = 300, .key = "key", .key_size = 3, .value = "v", .value_size = 1},
         "\x01\xac\x02\x03\x01keyv",
         9},
        {{.op = OP_DELETE, .coll = 1, .key = "key", .key_size = 3}, "\x02\x01\x03key", 6},
        {{.op = OP_COLL_CREATE, .coll = 2, .flags = 3, .key = "name", .key_size = 4},
         "\x03\x02\x03\x04name",
         8},
        {{.op = OP_COLL_DROP, .coll = 5}, "\x04\x05", 2},
        {{.op = OP_COLL_CLEAR, .coll = 5}, "\x05\x05", 2},
        {{.op = OP_SAVEPOINT}, "\x06", 1},
        {{.op = OP_RELEASE}, "\x07", 1},
        {{.op = OP_ROLLBACK}, "\x08", 1},
        {{.op = OP_LARGE, .coll = 1, .key = "k", .key_size = 1, .value_size = 100000},
         "\x09\x01\x01\xa0\x8d\x06k",
         7},
        {{.op = OP_CHUNK, .value = "bytes", .value_size = 5},
         "\x0a\x05"
         "bytes",
         7},
    };
    uint8_t encoded[64];

    for (size_t i = 0; i < sizeof frozen / sizeof frozen[0]; i++) {
        uint8_t *end = log_op_encode(encoded, &frozen[i].op);
        REQUIRE_EQ(end - encoded, frozen[i].size);
        CHECK_MEM(encoded, frozen[i].bytes, frozen[i].size);
    }
}

static void
impossible_operations_are_refused(void)
{
    static const struct {
        const char *bytes;
        size_t size;
    } bad[] = {
        {"\x00", 1},     /* no operation */
        {"\x0b\x01", 2}, /* nor this */
        {"\xff", 1},
        {"\x04\x80\x80\x80\x80\x10", 6},                           /* collection 2^32 */
        {"\x02\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01k", 13}, /* key of 2^64 - 1 */
        {"\x0a\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02", 11},      /* size of 2^64 */
        {"\x01\x01\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01kv", 15},
    };
    struct log_operation op;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const uint8_t *at = (const uint8_t *)bad[i].bytes;
        CHECK_MSG(log_op_decode(at, at + bad[i].size, &op) == NULL, "case %zu is taken", i);
    }
}

TEST_MAIN("engine_log_ops", TEST(operations_come_back_as_they_were_and_no_part_of_one_does),
          TEST(bytes_of_operations_are_those_of_the_format),
          TEST(impossible_operations_are_refused))
