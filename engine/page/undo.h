/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/page/undo.h -- how to take changes of leaf pages back, entry by entry.
 *
 * A log of changes in the order in which they were made.  Those of one page form a chain, from the
 * last one back to the first: `chain` of the page, 0 when there are none.  Pages are independent of
 * each other: what one page had before is had by walking its chain alone.
 *
 * Like node.c it knows nothing of trees, caches or transactions.
 */
#ifndef ENGINE_UNDO_H
#define ENGINE_UNDO_H

#include "engine/page/node.h"

enum undo_kind { UNDO_INSERT = 1, UNDO_REPLACE, UNDO_DELETE };

/* One change: what it was, and the old bytes that taking it back needs. */
struct undo_entry {
    uint32_t before;   /* of the same page: index + 1, 0: none */
    uint32_t bytes_at; /* old key (of a delete) and old value (of a delete or replace) */
    uint32_t pos;
    uint16_t key_size, value_size;
    uint16_t kind;
};

struct undo_log {
    struct undo_entry *entries;
    uint32_t count, capacity;
    uint32_t bytes_used, bytes_capacity;
    uint8_t *bytes;
};

void undo_release(struct undo_log *log);
/* Forget all changes; memory beyond a small amount goes back. */
void undo_clear(struct undo_log *log);

/* Room for one more change, and for so many old bytes.  False: memory, or the log is large enough:
 * do without. */
bool undo_room(struct undo_log *log, size_t bytes);

/*
 * Note a change of the leaf that has this chain, before it is made; room was had.  A change that
 * could not be made after all is dropped again, before anything else is noted.
 */
void undo_note_insert(struct undo_log *log, uint32_t *chain, uint32_t pos);
void undo_note_replace(struct undo_log *log, uint32_t *chain, uint32_t pos,
                       const struct node_entry *old);
void undo_note_delete(struct undo_log *log, uint32_t *chain, struct node node, uint32_t pos);
void undo_drop_last(struct undo_log *log, uint32_t *chain);

/* Take all changes of a page back.  Its chain is empty then; the entries stay in the log.
 * scratch: one page. */
void undo_page(const struct undo_log *log, uint32_t *chain, struct node node, uint8_t *scratch);

#endif
