/* SPDX-License-Identifier: Apache-2.0 */
/* engine/txn/log_ops.c -- operations of the log, decoded. */
#include "engine/txn/log_ops.h"

static const uint8_t *
bytes_get(const uint8_t *at, const uint8_t *end, uint64_t size, const void **bytes_out)
{
    if (size > (uint64_t)(end - at))
        return NULL;
    *bytes_out = at;
    return at + size;
}

const uint8_t *
log_op_decode(const uint8_t *at, const uint8_t *end, struct log_operation *operation)
{
    uint64_t coll = 0, key_size = 0;
    unsigned parts;

    FTK_ASSERT(at < end);
    *operation = (struct log_operation){.op = (enum log_op) * at++};
    parts = log_op_parts(operation->op);
    if (parts == 0)
        return NULL;
    if (parts & LOG_PART_COLL)
        at = ftk_varint_get(at, end, &coll);
    if (at != NULL && (parts & LOG_PART_FLAGS)) {
        if (at == end)
            return NULL;
        operation->flags = *at++;
    }
    if (at != NULL && (parts & LOG_PART_KEY))
        at = ftk_varint_get(at, end, &key_size);
    if (at != NULL && (parts & LOG_PART_SIZE))
        at = ftk_varint_get(at, end, &operation->value_size);
    if (at != NULL && (parts & LOG_PART_KEY))
        at = bytes_get(at, end, key_size, &operation->key);
    if (at != NULL && (parts & LOG_PART_VALUE))
        at = bytes_get(at, end, operation->value_size, &operation->value);
    operation->coll = (kiln_coll)coll;
    operation->key_size = (size_t)key_size;
    return coll > UINT32_MAX ? NULL : at;
}
