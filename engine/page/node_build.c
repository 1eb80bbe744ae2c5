/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/page/node_build.c -- whole pages: rebuild, split, merge, validate.  See
 * engine/page/node.h.
 */
#include <string.h>

#include "engine/page/node.h"
#include "engine/page/node_internal.h"
#include "ftk/invariant.h"

/* Of splits: a key for the parent is short when it exceeds the page's prefix by no more than this
 * part of a page; a shorter one is worth so many bytes of imbalance for each of its own. */
enum { SHORT_PART = 64, AWAY_PART = 8 };

uint32_t
node_source_count(const struct node_source *source)
{
    bool adds = source->extra_pos != UINT32_MAX && !source->replace;

    return node_count(source->node.page) + (adds ? 1 : 0);
}

/* Position in the page of sequence element `index`; UINT32_MAX: the extra entry. */
static uint32_t
source_pos(const struct node_source *source, uint32_t index)
{
    if (source->extra_pos == UINT32_MAX || index < source->extra_pos)
        return index;
    if (index == source->extra_pos)
        return UINT32_MAX;
    return source->replace ? index : index - 1;
}

uint32_t
node_source_key(const struct node_source *source, uint32_t index, uint8_t *buffer)
{
    uint32_t pos = source_pos(source, index);

    if (pos != UINT32_MAX)
        return node_key(source->node, pos, buffer);
    memcpy(buffer, source->extra_key, source->extra_key_size);
    return source->extra_key_size;
}

static uint32_t
common_bytes(const uint8_t *a, uint32_t a_size, const uint8_t *b, uint32_t b_size)
{
    uint32_t n = a_size < b_size ? a_size : b_size;
    uint32_t i = 0;

    while (i < n && a[i] == b[i])
        i++;
    return i;
}

/* The prefix for elements [from, to): into buffer, size returned. */
static uint32_t
best_prefix(const struct node_source *source, uint32_t from, uint32_t to, uint8_t *buffer)
{
    bool inner = source->node.page[PAGE_TYPE] == PAGE_INNER;
    uint8_t last[NODE_KEY_MAX];
    uint32_t first_size, last_size;

    if (to - from == 1) { /* alone: its neighbours will come from the whole range */
        from = 0;
        to = node_source_count(source);
    }
    if (inner)
        from++; /* element `from` becomes entry 0 */
    if (to <= from)
        return 0;
    first_size = node_source_key(source, from, buffer);
    last_size = node_source_key(source, to - 1, last);
    return common_bytes(buffer, first_size, last, last_size);
}

/* Writes entries one behind the other into a fresh page of known capacity. */
struct builder {
    struct node dst;
    uint32_t count;
    uint32_t capacity;
    uint32_t heap;
};

static uint8_t *
builder_body(struct builder *builder, uint32_t head, uint32_t body_bytes)
{
    uint8_t *page = builder->dst.page;
    uint32_t arrays = node_heads_at(page) + builder->capacity * (page[PAGE_HEAD_BYTES] + 2u);

    FTK_ASSERT(builder->count < builder->capacity);
    if (arrays + builder->heap + body_bytes > builder->dst.bytes)
        return NULL;
    builder->heap += body_bytes;
    node_head_set(page, builder->count, head);
    ftk_put_le16(page + node_heads_at(page) + (size_t)builder->capacity * page[PAGE_HEAD_BYTES] +
                     builder->count * sizeof(uint16_t),
                 (uint16_t)(builder->dst.bytes - builder->heap));
    builder->count++;
    return page + builder->dst.bytes - builder->heap;
}

static bool
builder_add(struct builder *builder, const uint8_t *suffix, uint32_t suffix_size,
            const struct node_value *value)
{
    uint8_t *page = builder->dst.page;
    uint32_t head_bytes = page[PAGE_HEAD_BYTES];
    uint8_t *body = builder_body(builder, node_head_of(suffix, suffix_size, head_bytes),
                                 node__body_bytes(page, suffix_size, value));

    if (body == NULL)
        return false;
    node__body_write(page, body, suffix_size > head_bytes ? suffix + head_bytes : suffix,
                     suffix_size, value);
    return true;
}

static bool
builder_init(struct builder *builder, struct node dst, const uint8_t *like, uint64_t birth,
             const uint8_t *prefix, uint32_t prefix_bytes, uint32_t count)
{
    uint32_t head_bytes = like[PAGE_HEAD_BYTES];

    *builder = (struct builder){.dst = dst, .capacity = count};
    if (node_heads_at_for(prefix_bytes) + count * (head_bytes + 2) > dst.bytes)
        return false;
    node_init(dst, like[PAGE_TYPE], like[PAGE_FLAGS], like[PAGE_LEVEL], (uint8_t)head_bytes, birth,
              prefix, prefix_bytes);
    ftk_put_le16(dst.page + PAGE_CAPACITY, (uint16_t)count);
    return true;
}

static void
builder_finish(struct builder *builder)
{
    FTK_ASSERT(builder->count == builder->capacity);
    ftk_put_le16(builder->dst.page + PAGE_COUNT, (uint16_t)builder->count);
    ftk_put_le16(builder->dst.page + PAGE_HEAP_BYTES, (uint16_t)builder->heap);
    FTK_DEBUG_ASSERT_SOUND(builder->count == 0 ? NULL : node_check(builder->dst));
}

static void
entry_value(const struct node_entry *entry, struct node_value *value_out)
{
    value_out->data = entry->value;
    value_out->size = entry->value_size;
    value_out->large = entry->large;
    value_out->child = entry->child;
}

/* Add entry pos of a page whose prefix is as long as the destination's: the body as it is. */
static bool
copy_verbatim(struct builder *builder, struct node from, uint32_t pos)
{
    struct node_entry entry;
    const uint8_t *body = node_body(from.page, pos);
    uint8_t *to;

    node_entry(from, pos, &entry);
    to = builder_body(builder, node_head(from.page, pos), entry.body_bytes);
    if (to == NULL)
        return false;
    memcpy(to, body, entry.body_bytes);
    return true;
}

/* Add entry pos of a page under another prefix length. */
static bool
copy_rekeyed(struct builder *builder, struct node from, uint32_t pos, uint32_t prefix_bytes)
{
    struct node_entry entry;
    struct node_value value;
    uint8_t key[NODE_KEY_MAX];
    uint32_t key_size = node_key(from, pos, key);

    node_entry(from, pos, &entry);
    entry_value(&entry, &value);
    return builder_add(builder, key + prefix_bytes, key_size - prefix_bytes, &value);
}

/* The first element of an inner page: only its child counts. */
static bool
copy_first_child(struct builder *builder, const struct node_source *source, uint32_t index)
{
    uint32_t pos = source_pos(source, index);
    struct node_value value = {0};

    value.child =
        pos == UINT32_MAX ? source->extra_value->child : node_child(source->node.page, pos);
    return builder_add(builder, (const uint8_t *)"", 0, &value);
}

bool
node_build(const struct node_source *source, uint32_t from, uint32_t to, struct node dst,
           uint64_t birth, enum node_prefix prefix)
{
    const uint8_t *page = source->node.page;
    bool inner = page[PAGE_TYPE] == PAGE_INNER;
    uint32_t old_prefix = node_prefix_bytes(page);
    const uint8_t *prefix_at = page + PAGE_HEADER_BYTES;
    uint32_t prefix_bytes = old_prefix;
    uint8_t buffer[NODE_KEY_MAX];
    struct builder builder;

    FTK_ASSERT(from <= to && to <= node_source_count(source));
    FTK_ASSERT(dst.page != page && dst.bytes == source->node.bytes);
    if (prefix == NODE_PREFIX_BEST) {
        prefix_bytes = best_prefix(source, from, to, buffer);
        prefix_at = buffer;
    }
    if (!builder_init(&builder, dst, page, birth, prefix_at, prefix_bytes, to - from))
        return false;
    for (uint32_t i = from; i < to; i++) {
        uint32_t pos = source_pos(source, i);
        bool ok;
        if (inner && i == from)
            ok = copy_first_child(&builder, source, i);
        else if (pos == UINT32_MAX)
            ok = builder_add(&builder, source->extra_key + prefix_bytes,
                             source->extra_key_size - prefix_bytes, source->extra_value);
        else if (prefix_bytes == old_prefix)
            ok = copy_verbatim(&builder, source->node, pos);
        else
            ok = copy_rekeyed(&builder, source->node, pos, prefix_bytes);
        if (!ok)
            return false;
    }
    builder_finish(&builder);
    return true;
}

/* Bytes of a sequence element under the page's own prefix. */
static uint32_t
source_cost(const struct node_source *source, uint32_t index)
{
    uint32_t pos = source_pos(source, index);
    uint32_t prefix = node_prefix_bytes(source->node.page);
    struct node_entry entry;

    if (pos == UINT32_MAX) {
        uint32_t size = source->extra_key_size;
        return node_cost(source->node.page, size > prefix ? size - prefix : 0, source->extra_value);
    }
    node_entry(source->node, pos, &entry);
    return entry.body_bytes + source->node.page[PAGE_HEAD_BYTES] + 2u;
}

uint32_t
node_split_point(const struct node_source *source)
{
    const uint8_t *page = source->node.page;
    uint32_t count = node_source_count(source);
    uint32_t left = 0, total;

    FTK_ASSERT(count >= 2);
    total = node_heap_bytes(page) - node_garbage_bytes(page) +
            node_count(page) * (page[PAGE_HEAD_BYTES] + 2u);
    if (source->extra_pos != UINT32_MAX)
        total += source_cost(source, source->extra_pos);
    for (uint32_t i = 0; i + 1 < count; i++) {
        left += source_cost(source, i);
        if (left >= total / 2)
            return i + 1;
    }
    return count - 1;
}

/* Bytes of the key that a split in front of element `at` gives the parent; keys: those of at - 1
 * (leaf) and at. */
static uint32_t
separator_bytes(const struct node_source *source, const uint8_t *left, uint32_t left_size,
                const uint8_t *right, uint32_t right_size)
{
    if (source->node.page[PAGE_TYPE] == PAGE_INNER)
        return right_size;
    return common_bytes(left, left_size, right, right_size) + 1;
}

uint32_t
node_split_short(const struct node_source *source, uint32_t point)
{
    uint8_t keys[2][NODE_KEY_MAX];
    uint32_t sizes[2], count = node_source_count(source), best = point;
    uint32_t enough = node_prefix_bytes(source->node.page) + source->node.bytes / SHORT_PART;
    uint32_t left = 0, middle = 0, best_score;

    FTK_ASSERT(point > 0 && point < count);
    sizes[0] = node_source_key(source, point - 1, keys[0]);
    sizes[1] = node_source_key(source, point, keys[1]);
    best_score = separator_bytes(source, keys[0], sizes[0], keys[1], sizes[1]);
    if (FTK_LIKELY(best_score <= enough))
        return point;
    for (uint32_t i = 0; i < point; i++)
        middle += source_cost(source, i);
    sizes[0] = node_source_key(source, 0, keys[0]);
    for (uint32_t at = 1; at < count; at++) {
        uint32_t away, score, b = at % 2, a = 1 - b;
        left += source_cost(source, at - 1);
        away = left > middle ? left - middle : middle - left;
        sizes[b] = node_source_key(source, at, keys[b]);
        score = separator_bytes(source, keys[a], sizes[a], keys[b], sizes[b]) + away / AWAY_PART;
        if (score < best_score) {
            best_score = score;
            best = at;
        }
    }
    return best;
}

/* Are the left keys below the right ones, and the separator (inner) between them?  So it is in
 * every tree that is whole; pages of one whose separators lie are not put together. */
static bool
merge_in_order(struct node left, struct node right, const void *separator, uint32_t separator_size)
{
    uint32_t left_count = node_count(left.page), right_count = node_count(right.page);
    uint8_t key[NODE_KEY_MAX];
    uint32_t size;

    if (left.page[PAGE_TYPE] == PAGE_INNER)
        return (left_count < 2 ||
                node_compare(left, left_count - 1, separator, separator_size) < 0) &&
               (right_count < 2 || node_compare(right, 1, separator, separator_size) > 0);
    if (left_count == 0 || right_count == 0)
        return true;
    size = node_key(left, left_count - 1, key);
    return node_compare(right, 0, key, size) > 0;
}

bool
node_merge(struct node left, struct node right, const void *separator, uint32_t separator_size,
           struct node dst, uint64_t birth)
{
    bool inner = left.page[PAGE_TYPE] == PAGE_INNER;
    uint32_t left_count = node_count(left.page), right_count = node_count(right.page);
    uint32_t first = inner ? 1 : 0; /* the first entry with a key */
    uint8_t prefix[NODE_KEY_MAX], last[NODE_KEY_MAX];
    uint32_t first_size, last_size, prefix_bytes;
    struct node_value value = {0};
    struct builder builder;

    FTK_ASSERT(node_level(left.page) == node_level(right.page));
    FTK_ASSERT(left.page[PAGE_HEAD_BYTES] == right.page[PAGE_HEAD_BYTES]);
    FTK_ASSERT(!inner || separator_size <= NODE_KEY_MAX);
    /* The lowest and the highest key of the result. */
    if (first < left_count) {
        first_size = node_key(left, first, prefix);
    } else if (inner) {
        memcpy(prefix, separator, separator_size);
        first_size = separator_size;
    } else {
        first_size = node_key(right, 0, prefix);
    }
    if (right_count > first) {
        last_size = node_key(right, right_count - 1, last);
    } else if (inner) {
        memcpy(last, separator, separator_size);
        last_size = separator_size;
    } else {
        last_size = node_key(left, left_count - 1, last);
    }
    if (!merge_in_order(left, right, separator, separator_size))
        return false;
    prefix_bytes = common_bytes(prefix, first_size, last, last_size);
    if (!builder_init(&builder, dst, left.page, birth, prefix, prefix_bytes,
                      left_count + right_count))
        return false;
    for (uint32_t i = 0; i < left_count + right_count; i++) {
        struct node from = i < left_count ? left : right;
        uint32_t pos = i < left_count ? i : i - left_count;
        bool ok;
        if (inner && pos == 0) {
            value.child = node_child(from.page, 0);
            ok = i == 0 ? builder_add(&builder, (const uint8_t *)"", 0, &value)
                        : builder_add(&builder, (const uint8_t *)separator + prefix_bytes,
                                      separator_size - prefix_bytes, &value);
        } else {
            ok = copy_rekeyed(&builder, from, pos, prefix_bytes);
        }
        if (!ok)
            return false;
    }
    builder_finish(&builder);
    return true;
}

uint32_t
node_separator(const uint8_t *left, uint32_t left_size, const uint8_t *right, uint32_t right_size,
               uint8_t *buffer)
{
    uint32_t size = common_bytes(left, left_size, right, right_size) + 1;

    FTK_ASSERT(size <= right_size); /* left is below right */
    memcpy(buffer, right, size);
    return size;
}

/* ---- validation ------------------------------------------------------------------------------ */

static ftk_status
bad(uint64_t page_id, const char *what)
{
    return FTK_FAIL(FTK_CORRUPT, "page %llu: %s", (unsigned long long)page_id, what);
}

/* A bounded varint below 2^31. */
static const uint8_t *
varint_bounded(const uint8_t *at, const uint8_t *end, uint32_t *value_out)
{
    const uint8_t *from = at;
    uint64_t value;

    at = ftk_varint_get(at, end, &value);
    if (at == NULL || value > PAGE_BYTES_MAX || at - from > 3) /* no more than it needs */
        return NULL;
    *value_out = (uint32_t)value;
    return at;
}

/* End of the body at `at`, which must not pass `end`; NULL: malformed. */
static const uint8_t *
body_end(const uint8_t *page, const uint8_t *at, const uint8_t *end, uint32_t *suffix_out)
{
    uint32_t head_bytes = page[PAGE_HEAD_BYTES];
    uint32_t k, v = 0;

    if (page[PAGE_TYPE] == PAGE_INNER) {
        if (end - at < PAGE_REF_BYTES)
            return NULL;
        at += PAGE_REF_BYTES;
    }
    if (at == end)
        return NULL;
    if (page[PAGE_TYPE] == PAGE_INNER || (page[PAGE_FLAGS] & PAGE_KEYS_ONLY)) {
        k = *at++;
        if (k == KEY_LENGTH_ESCAPE) {
            at = varint_bounded(at, end, &k);
            k += KEY_LENGTH_ESCAPE;
        }
    } else {
        k = *at & 7;
        v = *at++ >> 3;
        if (k == BODY_KEY_ESCAPE) {
            at = varint_bounded(at, end, &k);
            k += BODY_KEY_ESCAPE;
        }
        if (at != NULL && v == BODY_VALUE_ESCAPE) {
            at = varint_bounded(at, end, &v);
            v += BODY_VALUE_ESCAPE;
        } else if (v == BODY_VALUE_LARGE) {
            v = LARGE_REF_BYTES;
        }
    }
    if (at == NULL)
        return NULL;
    *suffix_out = k;
    v += k > head_bytes ? k - head_bytes : 0;
    return (size_t)(end - at) < v ? NULL : at + v;
}

static ftk_status
validate_header(const uint8_t *page, uint32_t bytes, uint64_t id)
{
    uint32_t type = page[PAGE_TYPE];
    uint32_t count = node_count(page);

    if (type != PAGE_LEAF && type != PAGE_INNER)
        return bad(id, "neither a leaf nor an inner page");
    if ((page[PAGE_FLAGS] & ~PAGE_FLAGS_KNOWN) != 0)
        return bad(id, "unknown flags");
    if ((type == PAGE_LEAF) != (page[PAGE_LEVEL] == 0))
        return bad(id, "level does not fit the type");
    if (page[PAGE_HEAD_BYTES] != 4 && page[PAGE_HEAD_BYTES] != 2)
        return bad(id, "head size is neither 2 nor 4");
    if (count > node_capacity(page) || (type == PAGE_INNER && count == 0))
        return bad(id, "impossible number of entries");
    if (node_prefix_bytes(page) > NODE_KEY_MAX ||
        node_heads_at(page) != node_heads_at_for(node_prefix_bytes(page)))
        return bad(id, "impossible prefix");
    if (node_arrays_end(page) + node_heap_bytes(page) > bytes)
        return bad(id, "slots and heap overlap");
    return FTK_OK;
}

/* Take [from, to) of a bitmap; false: some of it was taken. */
static bool
range_take(uint64_t *taken, uint32_t from, uint32_t to)
{
    while (from < to) {
        uint32_t end = (from | 63) + 1 < to ? (from | 63) + 1 : to;
        uint64_t mask = (~UINT64_C(0) >> (64 - (end - from))) << (from % 64);
        if (taken[from / 64] & mask)
            return false;
        taken[from / 64] |= mask;
        from = end;
    }
    return true;
}

ftk_status
node_validate(const uint8_t *page, uint32_t bytes, uint64_t id, bool ordered)
{
    uint64_t taken[PAGE_BYTES_MAX / 64]; /* bytes of the page that belong to a body */
    ftk_status rc = validate_header(page, bytes, id);
    uint32_t count = node_count(page), bodies = 0, head_bytes = page[PAGE_HEAD_BYTES];
    uint32_t first = page[PAGE_TYPE] == PAGE_INNER; /* the first entry with a key */
    uint32_t prefix, heap;

    if (rc != FTK_OK)
        return rc;
    prefix = node_prefix_bytes(page);
    heap = bytes - node_heap_bytes(page);
    memset(taken, 0, bytes / 8);
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *body = node_body(page, i);
        uint32_t suffix = 0;
        const uint8_t *end;
        if (body < page + heap || body >= page + bytes)
            return bad(id, "entry outside the heap");
        end = body_end(page, body, page + bytes, &suffix);
        if (end == NULL)
            return bad(id, "entry is malformed");
        if (prefix + suffix > NODE_KEY_MAX)
            return bad(id, "key too long");
        if (suffix < head_bytes &&
            (node_head(page, i) & ((UINT64_C(1) << 8 * (head_bytes - suffix)) - 1)) != 0)
            return bad(id, "head of a short key is not padded with zeros");
        if (i == 0 && suffix != 0 && page[PAGE_TYPE] == PAGE_INNER)
            return bad(id, "first entry of an inner page has a key");
        if (!range_take(taken, (uint32_t)(body - page), (uint32_t)(end - page)))
            return bad(id, "entries overlap");
        bodies += (uint32_t)(end - body);
        if (i >= first && prefix + suffix == 0)
            return bad(id, "empty key");
        if (page[PAGE_TYPE] == PAGE_INNER && page_ref_is_none(page_ref_get(body)))
            return bad(id, "reference to no page");
        if (ordered && i > first && !node__is_above(page, i))
            return bad(id, "keys are not in ascending order");
    }
    if (bodies + node_garbage_bytes(page) != node_heap_bytes(page))
        return bad(id, "entries do not add up to the heap");
    return FTK_OK;
}

const char *
node_check(struct node node)
{
    FTK_INVARIANT_COUNT("page");
    return node_validate(node.page, node.bytes, 0, false) == FTK_OK ? NULL : ftk_error_last()->text;
}
