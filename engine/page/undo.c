/* SPDX-License-Identifier: Apache-2.0 */
/* engine/page/undo.c -- see undo.h. */
#include "engine/page/undo.h"

#include "ftk/mem.h"

enum {
    ENTRIES_MAX = 1 << 16,
    BYTES_MAX = 4 << 20,
    ENTRIES_KEPT = 4096, /* memory for so much stays */
    BYTES_KEPT = 256 << 10,
};

void
undo_release(struct undo_log *log)
{
    ftk_free(log->entries);
    ftk_free(log->bytes);
    *log = (struct undo_log){0};
}

void
undo_clear(struct undo_log *log)
{
    log->count = 0;
    log->bytes_used = 0;
    if (log->capacity > ENTRIES_KEPT) {
        ftk_free(log->entries);
        log->entries = NULL;
        log->capacity = 0;
    }
    if (log->bytes_capacity > BYTES_KEPT) {
        ftk_free(log->bytes);
        log->bytes = NULL;
        log->bytes_capacity = 0;
    }
}

bool
undo_room(struct undo_log *log, size_t bytes)
{
    size_t capacity;

    if (log->count == log->capacity) {
        capacity = log->capacity == 0 ? 64 : 2 * (size_t)log->capacity;
        if (capacity > ENTRIES_MAX ||
            ftk_realloc((void **)&log->entries, capacity * sizeof(*log->entries)) != FTK_OK)
            return false;
        log->capacity = (uint32_t)capacity;
    }
    if (log->bytes_used + bytes <= log->bytes_capacity)
        return true;
    capacity = log->bytes_capacity == 0 ? 4096 : log->bytes_capacity;
    while (capacity < log->bytes_used + bytes)
        capacity *= 2;
    if (capacity > BYTES_MAX || ftk_realloc((void **)&log->bytes, capacity) != FTK_OK)
        return false;
    log->bytes_capacity = (uint32_t)capacity;
    return true;
}

static struct undo_entry *
note(struct undo_log *log, uint32_t *chain, enum undo_kind kind, uint32_t pos)
{
    struct undo_entry *entry = &log->entries[log->count];

    FTK_ASSERT(log->count < log->capacity && *chain <= log->count);
    *entry = (struct undo_entry){
        .before = *chain, .bytes_at = log->bytes_used, .pos = pos, .kind = (uint16_t)kind};
    *chain = ++log->count;
    return entry;
}

static void
keep_bytes(struct undo_log *log, const void *bytes, size_t size)
{
    FTK_ASSERT(size <= log->bytes_capacity - log->bytes_used);
    if (size > 0)
        memcpy(log->bytes + log->bytes_used, bytes, size);
    log->bytes_used += (uint32_t)size;
}

void
undo_note_insert(struct undo_log *log, uint32_t *chain, uint32_t pos)
{
    (void)note(log, chain, UNDO_INSERT, pos);
}

void
undo_note_replace(struct undo_log *log, uint32_t *chain, uint32_t pos, const struct node_entry *old)
{
    struct undo_entry *entry = note(log, chain, UNDO_REPLACE, pos);

    FTK_ASSERT(!old->large && old->value_size <= UINT16_MAX);
    entry->value_size = (uint16_t)old->value_size;
    keep_bytes(log, old->value, old->value_size);
}

void
undo_note_delete(struct undo_log *log, uint32_t *chain, struct node node, uint32_t pos)
{
    struct undo_entry *entry = note(log, chain, UNDO_DELETE, pos);
    uint8_t key[NODE_KEY_BUFFER];
    struct node_entry old;

    node_entry(node, pos, &old);
    FTK_ASSERT(!old.large && old.value_size <= UINT16_MAX);
    entry->key_size = (uint16_t)node_key(node, pos, key);
    entry->value_size = (uint16_t)old.value_size;
    keep_bytes(log, key, entry->key_size);
    keep_bytes(log, old.value, old.value_size);
}

void
undo_drop_last(struct undo_log *log, uint32_t *chain)
{
    const struct undo_entry *entry;

    FTK_ASSERT(log->count > 0 && *chain == log->count);
    entry = &log->entries[--log->count];
    log->bytes_used = entry->bytes_at;
    *chain = entry->before;
}

static void
take_back(const struct undo_log *log, const struct undo_entry *entry, struct node node,
          uint8_t *scratch)
{
    const uint8_t *key;
    struct node_value value;
    bool ok;

    FTK_ASSERT(entry->bytes_at + (size_t)entry->key_size + entry->value_size <= log->bytes_used);
    FTK_ASSERT(node_level(node.page) == 0);
    FTK_ASSERT(entry->pos < node_count(node.page) + (entry->kind == UNDO_DELETE));
    if (entry->kind == UNDO_INSERT) { /* keeps no bytes, and there may be none */
        node_remove(node, entry->pos);
        return;
    }
    key = log->bytes + entry->bytes_at;
    value = (struct node_value){.data = key + entry->key_size, .size = entry->value_size};
    if (entry->kind == UNDO_REPLACE)
        ok = node_replace(node, entry->pos, &value, scratch);
    else
        ok = node_insert(node, entry->pos, key, entry->key_size, &value, scratch);
    FTK_ASSERT(ok); /* it fitted before */
}

void
undo_page(const struct undo_log *log, uint32_t *chain, struct node node, uint8_t *scratch)
{
    for (uint32_t at = *chain; at != 0; at = log->entries[at - 1].before) {
        FTK_ASSERT(at <= log->count && log->entries[at - 1].before < at);
        take_back(log, &log->entries[at - 1], node, scratch);
    }
    *chain = 0;
}
