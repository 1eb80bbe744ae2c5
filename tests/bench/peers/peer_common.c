/* SPDX-License-Identifier: Apache-2.0 */
/* peer_common.c -- what several drivers share. */
#include "peer.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static pthread_mutex_t error_lock = PTHREAD_MUTEX_INITIALIZER;
static char error_text[256];

int
peer_fail(const char *engine, const char *call, const char *reason)
{
    pthread_mutex_lock(&error_lock);
    if (error_text[0] == '\0')
        snprintf(error_text, sizeof error_text, "%s: %s: %s", engine, call,
                 reason != NULL ? reason : "unknown");
    pthread_mutex_unlock(&error_lock);
    return PEER_ERROR;
}

const char *
peer_error(void)
{
    return error_text;
}

static int
record_compare(const void *a, const void *b)
{
    const struct peer_record *left = a;
    const struct peer_record *right = b;
    size_t size = left->key.size < right->key.size ? left->key.size : right->key.size;
    int order = memcmp(left->key.data, right->key.data, size);

    if (order != 0)
        return order;
    return (left->key.size > right->key.size) - (left->key.size < right->key.size);
}

void
peer_sort_records(struct peer_record *records, size_t count)
{
    qsort(records, count, sizeof records[0], record_compare);
}

int
peer_get_many_by_get(const struct peer_ops *ops, struct peer_session *session,
                     const struct peer_slice *keys, size_t count, peer_visit *visit, void *ctx)
{
    for (size_t i = 0; i < count; i++) {
        struct peer_slice value;
        int rc = ops->get(session, keys[i], &value);

        if (rc == PEER_NOTFOUND)
            continue;
        if (rc != PEER_OK)
            return rc;
        if (!visit(ctx, keys[i], value))
            break;
    }
    return PEER_OK;
}

int
peer_put_many_by_put(const struct peer_ops *ops, struct peer_session *session,
                     const struct peer_record *records, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int rc = ops->put(session, &records[i]);

        if (rc != PEER_OK)
            return rc;
    }
    return PEER_OK;
}

void
peer_path(char *path, size_t path_size, const char *dir, const char *name)
{
    snprintf(path, path_size, "%s/%s", dir, name);
}
