/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/txn/log_ops.h -- operations of the log: what each consists of, encoded and decoded.
 *
 * One byte, then those parts that the operation has, in the order of enum log_part; the bytes of
 * key and value come last.  See engine/page/page_format.h.
 */
#ifndef ENGINE_LOG_OPS_H
#define ENGINE_LOG_OPS_H

#include <stdbool.h>
#include <string.h>

#include "engine/page/page_format.h"
#include "ftk/bytes.h"
#include "ftk/status.h"
#include "kiln.h"

enum log_part {
    LOG_PART_COLL = 1 << 0,  /* varint */
    LOG_PART_FLAGS = 1 << 1, /* 1 byte */
    LOG_PART_KEY = 1 << 2,   /* varint size, bytes; of OP_COLL_CREATE the name */
    LOG_PART_SIZE = 1 << 3,  /* varint size of the value */
    LOG_PART_VALUE = 1 << 4, /* so many bytes */
    LOG_PART_NONE = 1 << 5,  /* a known operation without parts */
};

static inline unsigned
log_op_parts(enum log_op op)
{
    switch (op) {
    case OP_PUT: return LOG_PART_COLL | LOG_PART_KEY | LOG_PART_SIZE | LOG_PART_VALUE;
    case OP_DELETE: return LOG_PART_COLL | LOG_PART_KEY;
    case OP_COLL_CREATE: return LOG_PART_COLL | LOG_PART_FLAGS | LOG_PART_KEY;
    case OP_COLL_DROP: return LOG_PART_COLL;
    case OP_COLL_CLEAR: return LOG_PART_COLL;
    case OP_SAVEPOINT: return LOG_PART_NONE;
    case OP_RELEASE: return LOG_PART_NONE;
    case OP_ROLLBACK: return LOG_PART_NONE;
    case OP_LARGE: return LOG_PART_COLL | LOG_PART_KEY | LOG_PART_SIZE;
    case OP_CHUNK: return LOG_PART_SIZE | LOG_PART_VALUE;
    }
    return 0; /* unknown */
}

struct log_operation {
    enum log_op op;
    kiln_coll coll;
    uint8_t flags; /* CATALOG_* */
    const void *key;
    size_t key_size;
    const void *value;
    uint64_t value_size; /* of OP_LARGE: of the value that follows in chunks */
};

/* Bytes that an operation takes at most. */
static inline size_t
log_op_bytes(enum log_op op, size_t key_size, size_t value_size)
{
    enum { NUMBER_BYTES = 5 }; /* of a 32-bit varint */
    unsigned parts = log_op_parts(op);
    size_t bytes = 1;

    bytes += parts & LOG_PART_COLL ? NUMBER_BYTES : 0;
    bytes += parts & LOG_PART_FLAGS ? 1 : 0;
    bytes += parts & LOG_PART_KEY ? FTK_VARINT_MAX + key_size : 0;
    bytes += parts & LOG_PART_SIZE ? FTK_VARINT_MAX : 0;
    bytes += parts & LOG_PART_VALUE ? value_size : 0;
    return bytes;
}

/* Inline: the parts are known where the operation is. */
static inline uint8_t *
log_op_encode(uint8_t *to, const struct log_operation *operation)
{
    unsigned parts = log_op_parts(operation->op);

    FTK_ASSERT(parts != 0);
    *to++ = (uint8_t)operation->op;
    if (parts & LOG_PART_COLL)
        to = ftk_varint_put(to, operation->coll);
    if (parts & LOG_PART_FLAGS)
        *to++ = operation->flags;
    if (parts & LOG_PART_KEY)
        to = ftk_varint_put(to, operation->key_size);
    if (parts & LOG_PART_SIZE)
        to = ftk_varint_put(to, operation->value_size);
    if (parts & LOG_PART_KEY) {
        memcpy(to, operation->key, operation->key_size);
        to += operation->key_size;
    }
    if ((parts & LOG_PART_VALUE) && operation->value_size > 0) {
        memcpy(to, operation->value, (size_t)operation->value_size);
        to += operation->value_size;
    }
    return to;
}

/* The operation at `at`, key and value borrowed from there; where it ends, or NULL: there is none
 * that can be, or it passes `end`. */
const uint8_t *log_op_decode(const uint8_t *at, const uint8_t *end,
                             struct log_operation *operation_out);

#endif
