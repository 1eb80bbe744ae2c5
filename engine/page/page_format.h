/* SPDX-License-Identifier: Apache-2.0 */
/*
 * engine/page/page_format.h -- every byte of data.kdb.  Little-endian, alignment 1.
 *
 * The file is an array of pages of P bytes (4096..65536, a power of two); page id p is at p * P.
 * The first 65,536 bytes hold the headers; page ids below 65536 / P are never allocated.
 *
 * Header blocks (4096 bytes each), two slots with a twin each:
 *   slot 0 at byte offsets 0 and 32768, slot 1 at 16384 and 49152.
 *
 * Space map: a group is G = 4 * P consecutive page ids; the map of group g is stored in two pages,
 * at page ids g * G + m and g * G + m + 1 (m = 65536 / P for group 0, else 0), written alternately.
 */
#ifndef ENGINE_PAGE_FORMAT_H
#define ENGINE_PAGE_FORMAT_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ftk/bytes.h"
#include "ftk/status.h"

enum {
    PAGE_BYTES_MIN = 4096,
    PAGE_BYTES_MAX = 65536,
    PAGE_BYTES_DEFAULT = 4096, /* by measurement: docs/design-notes.md */
    HEADER_REGION_BYTES = 65536,
    HEADER_BLOCK_BYTES = 4096,
    HEADER_SLOTS = 2,
    HEADER_COPIES = 2,
};

/*
 * page_ref: how one page names another, 8 bytes
 *   bits  0..39  page id; the reference is 0 where there is no page
 *   bits 40..63  the lowest 24 bits of `birth` in that page's header
 * A page is written once with a birth (engine/txn/README.md, rule 3): what its place held before,
 * or holds because a write was lost, has another birth than its parent says.
 */
enum { PAGE_REF_BYTES = 8, PAGE_REF_ID_BITS = 40 };
#define PAGE_ID_MAX ((UINT64_C(1) << PAGE_REF_ID_BITS) - 1)

/*
 * Header of every page but those of large values
 * OFFSET SIZE FIELD          MEANING
 *      0    8 checksum       XXH3-64 of bytes 8..P-1, seeded with page id ^ the database's salt
 *      8    8 birth          number of the transaction that made the page
 *     16    1 type           PAGE_LEAF, PAGE_INNER, PAGE_MAP
 *     17    1 flags          PAGE_KEYS_ONLY (leaf: no values)
 *     18    1 level          0: leaf
 *     19    1 head_bytes     2 or 4: bytes of each key kept in the slot
 *     20    2 count          entries
 *     22    2 capacity       slots in the two arrays, >= count
 *     24    2 heap_bytes     bytes at the end of the page in use, garbage included
 *     26    2 garbage_bytes  of these, no longer referred to
 *     28    2 prefix_bytes   key bytes shared by all entries
 *     30    2 heads_at       where the heads begin: 32 + prefix_bytes rounded up to a multiple of 4
 *     32      prefix         prefix_bytes, then zeros: in the line that a search reads anyway
 *      .      heads          capacity * head_bytes: first bytes of each key behind the prefix, as a
 *                            little-endian number whose value orders as the bytes do, zero-padded
 *      .      offsets        capacity * 2: byte offset of each entry's body
 *      .      (free)
 *      .      heap           bodies
 *
 * Body of an inner entry: page_ref of the child (8), key length (below), key bytes behind the
 * head.
 * Body of a leaf entry with PAGE_KEYS_ONLY: key length, key bytes behind the head.
 * Body of a leaf entry otherwise: one byte K | V << 3, then
 *   K 0..6: suffix length; 7: varint (length - 7) follows;
 *   V 0..29: value length; 30: varint (length - 30) follows; 31: the value is a large_ref;
 *   then the key bytes behind the head, then the value.
 * Key length: one byte 0..254, or 255 and a varint (length - 255).
 * "Suffix" is the key without the page's prefix; its first head_bytes are in the slot only.
 * Entry 0 of an inner page stands for everything below entry 1: its suffix is empty.
 */
enum {
    PAGE_CHECKSUM = 0,
    PAGE_BIRTH = 8,
    PAGE_TYPE = 16,
    PAGE_FLAGS = 17,
    PAGE_LEVEL = 18,
    PAGE_HEAD_BYTES = 19,
    PAGE_COUNT = 20,
    PAGE_CAPACITY = 22,
    PAGE_HEAP_BYTES = 24,
    PAGE_GARBAGE_BYTES = 26,
    PAGE_PREFIX_BYTES = 28,
    PAGE_HEADS_AT = 30,
    PAGE_HEADER_BYTES = 32,
};
enum page_type { PAGE_LEAF = 1, PAGE_INNER = 2, PAGE_MAP = 3 };
enum { PAGE_KEYS_ONLY = 1, PAGE_FLAGS_KNOWN = PAGE_KEYS_ONLY };

enum {
    BODY_KEY_ESCAPE = 7,
    BODY_VALUE_ESCAPE = 30,
    BODY_VALUE_LARGE = 31,
    KEY_LENGTH_ESCAPE = 255,
};

/*
 * large_ref: where a large value lives
 * OFFSET SIZE FIELD     MEANING
 *      0    6 page      first page of the run
 *      6    8 size      bytes of the value
 *     14    8 birth     number of the transaction that wrote the run
 * The run: the value's bytes from the first page's first byte on, then (8-aligned, still inside the
 * last pages of the run) one XXH3-64 for each page that holds value bytes: of these bytes, seeded
 * with page id ^ the database's salt ^ XXH3-64(birth (8), seed 0).
 * A value of more than LARGE_PIECE_BYTES is cut into pieces of so many bytes, each such a run;
 * `page` is then one more run, whose bytes are the first pages of the pieces (LARGE_ID_BYTES each).
 */
enum { LARGE_REF_PAGE = 0, LARGE_REF_SIZE = 6, LARGE_REF_BIRTH = 14, LARGE_REF_BYTES = 22 };
enum { LARGE_PIECE_BYTES = 16 << 20, LARGE_ID_BYTES = 6 };

/*
 * Space map page: the header above with type PAGE_MAP, then
 * OFFSET SIZE FIELD       MEANING
 *     32    8 checkpoint  number of the checkpoint that wrote this copy
 *     40    8 group
 *     48   16 reserved    0
 *     64  P/2 bits        bit i: page g * G + i is reachable from the checkpoint, or is a map or
 *                         header page
 */
enum { MAP_CHECKPOINT = 32, MAP_GROUP = 40, MAP_RESERVED = 48, MAP_BITS = 64 };

/*
 * Header block
 * OFFSET SIZE FIELD         MEANING
 *      0    8 magic         "kiln.kdb"
 *      8    4 version       FILE_VERSION
 *     12    4 page_bytes
 *     16   16 identity      random, made with the database; seeds all checksums
 *     32    8 checkpoint    number of this checkpoint; slot = checkpoint mod 2
 *     40    8 txn           number of the snapshot's last transaction
 *     48    8 lsn           the log is replayed from here
 *     56    8 applied       external log index (0 when unused)
 *     64    8 catalog_root  page_ref, 0: empty
 *     72    8 catalog_keys
 *     80    4 catalog_height
 *     84    4 coll_next     next collection number
 *     88    8 pages_end     page ids below this may be in use
 *     96    8 map_hash      sum over groups of XXH3-64(group, checkpoint number of its copy)
 *    104    8 wall_ns       when this checkpoint was written
 *    112    4 flags         HEADER_EXTERNAL_LOG, HEADER_ARCHIVING, HEADER_LOG_PLACE
 *    116    4 log_dir_bytes with HEADER_LOG_PLACE: bytes of log_dir; 0: the log is in "rfl"
 *    120 1024 log_dir       directory of the log, relative to the database's or absolute; then 0
 *   1144 2944 reserved      0
 *   4088    8 checksum      XXH3-64 of bytes 0..4087, seed 0
 */
#define HEADER_MAGIC "kiln.kdb"
enum {
    FILE_VERSION = 2,
    HEADER_MAGIC_AT = 0,
    HEADER_VERSION = 8,
    HEADER_PAGE_BYTES = 12,
    HEADER_IDENTITY = 16,
    HEADER_CHECKPOINT = 32,
    HEADER_TXN = 40,
    HEADER_LSN = 48,
    HEADER_APPLIED = 56,
    HEADER_CATALOG_ROOT = 64,
    HEADER_CATALOG_KEYS = 72,
    HEADER_CATALOG_HEIGHT = 80,
    HEADER_COLL_NEXT = 84,
    HEADER_PAGES_END = 88,
    HEADER_MAP_HASH = 96,
    HEADER_WALL_NS = 104,
    HEADER_FLAGS = 112,
    HEADER_LOG_DIR_BYTES = 116,
    HEADER_LOG_DIR = 120,
    HEADER_RESERVED = 1144,
    HEADER_CHECKSUM = 4088,
};
enum {
    HEADER_EXTERNAL_LOG = 1,
    HEADER_ARCHIVING = 2, /* an archive function was given: log segments leave through one alone */
    HEADER_LOG_PLACE = 4, /* log_dir says where the log is */
    HEADER_FLAGS_KNOWN = HEADER_EXTERNAL_LOG | HEADER_ARCHIVING | HEADER_LOG_PLACE,
    HEADER_LOG_DIR_MAX = 1024,
};

/*
 * Close note: the first bytes of the file "lock"
 * OFFSET SIZE FIELD       MEANING
 *      0    8 magic       "kilnnote"
 *      8   16 identity    of the database
 *     24    8 first       with the header of this checkpoint,
 *     32    8 last        up to this one, data.kdb has everything: nothing is in the log alone
 *     40   16 reserved    0
 *     56    8 checksum    XXH3-64 of bytes 0..55, seed 0
 * Zero, something else, or nothing: the database is open for writing, or was not closed cleanly.
 */
#define CLOSE_NOTE_MAGIC "kilnnote"
enum {
    CLOSE_NOTE_MAGIC_AT = 0,
    CLOSE_NOTE_IDENTITY = 8,
    CLOSE_NOTE_FIRST = 24,
    CLOSE_NOTE_LAST = 32,
    CLOSE_NOTE_RESERVED = 40,
    CLOSE_NOTE_CHECKSUM = 56,
    CLOSE_NOTE_BYTES = 64,
};

/*
 * The catalog is a tree like any other:
 *   key 'c' + collection number (4, big-endian) -> catalog entry
 *   key 'n' + name -> collection number (4)
 * Catalog entry
 * OFFSET SIZE FIELD   MEANING
 *      0    8 root    page_ref, 0: empty
 *      8    1 height  levels, at most TREE_HEIGHT_MAX; 0: empty
 *      9    1 flags   CATALOG_KEYS_ONLY, CATALOG_U64_KEYS
 *     10    8 keys    number of keys
 *     18      name    the rest
 */
enum { TREE_HEIGHT_MAX = 24 };
enum {
    CATALOG_ROOT = 0,
    CATALOG_HEIGHT = 8,
    CATALOG_FLAGS = 9,
    CATALOG_KEYS = 10,
    CATALOG_NAME = 18,
};
enum { CATALOG_KEYS_ONLY = 1, CATALOG_U64_KEYS = 2, CATALOG_FLAGS_KNOWN = 3 };

/*
 * Log record kinds and the operations in their bodies.
 * A body: varint transaction number, then operations.  All fragments of a transaction are adjacent
 * in its stream; LOG_COMMIT carries the last of them.
 */
enum log_kind { LOG_FRAGMENT = 1, LOG_COMMIT = 2 };
/*
 * Operation: one byte, then
 *   OP_PUT          varint collection, varint key size, varint value size, key, value
 *   OP_DELETE       varint collection, varint key size, key
 *   OP_COLL_CREATE  varint collection, 1 byte flags, varint name size, name
 *   OP_COLL_DROP, OP_COLL_CLEAR   varint collection
 *   OP_SAVEPOINT, OP_RELEASE, OP_ROLLBACK   nothing
 *   OP_LARGE        varint collection, varint key size, varint value size, key; a value follows
 *   OP_CHUNK        varint size, bytes: the next piece of it
 */
enum log_op {
    OP_PUT = 1,
    OP_DELETE = 2,
    OP_COLL_CREATE = 3,
    OP_COLL_DROP = 4,
    OP_COLL_CLEAR = 5,
    OP_SAVEPOINT = 6,
    OP_RELEASE = 7,
    OP_ROLLBACK = 8,
    OP_LARGE = 9,
    OP_CHUNK = 10,
};

static_assert(PAGE_HEADER_BYTES == PAGE_HEADS_AT + 2, "page header");
static_assert(MAP_BITS == MAP_RESERVED + 16, "map page header");
static_assert(PAGE_TYPE == PAGE_BIRTH + 8, "page header");
static_assert(PAGE_REF_BYTES * 8 - PAGE_REF_ID_BITS == 24, "page_ref");
static_assert(HEADER_CHECKSUM + 8 == HEADER_BLOCK_BYTES, "header block");
static_assert(HEADER_RESERVED == HEADER_LOG_DIR + HEADER_LOG_DIR_MAX, "header block");
static_assert(CLOSE_NOTE_CHECKSUM + 8 == CLOSE_NOTE_BYTES, "close note");
static_assert(LARGE_REF_BYTES == LARGE_REF_BIRTH + 8, "large_ref");
static_assert(CATALOG_NAME == CATALOG_KEYS + 8, "catalog entry");
static_assert(CATALOG_HEIGHT == CATALOG_ROOT + PAGE_REF_BYTES, "catalog entry");
static_assert(HEADER_CATALOG_KEYS == HEADER_CATALOG_ROOT + PAGE_REF_BYTES, "header block");
static_assert(HEADER_LOG_DIR_BYTES == HEADER_FLAGS + 4, "header block");

/* A reference in memory; a type of its own, so that no page id passes for one. */
struct page_ref {
    uint64_t bits;
};

static inline struct page_ref
page_ref_make(uint64_t page_id, uint64_t birth)
{
    FTK_DEBUG_ASSERT(page_id <= PAGE_ID_MAX);
    return (struct page_ref){page_id | birth << PAGE_REF_ID_BITS};
}
static inline uint64_t
page_ref_id(struct page_ref ref)
{
    return ref.bits & PAGE_ID_MAX;
}
static inline bool
page_ref_is_none(struct page_ref ref)
{
    return ref.bits == 0;
}
/* The page with this birth is the one that is meant. */
static inline bool
page_ref_means(struct page_ref ref, uint64_t birth)
{
    return ref.bits >> PAGE_REF_ID_BITS == (birth & (UINT64_MAX >> PAGE_REF_ID_BITS));
}
static inline struct page_ref
page_ref_get(const void *p)
{
    return (struct page_ref){ftk_get_le64(p)};
}
static inline void
page_ref_put(void *p, struct page_ref ref)
{
    ftk_put_le64(p, ref.bits);
}

static inline uint64_t
page_get_le48(const void *p)
{
    return ftk_get_le32(p) | (uint64_t)ftk_get_le16((const uint8_t *)p + 4) << 32;
}

static inline void
page_put_le48(void *p, uint64_t v)
{
    ftk_put_le32(p, (uint32_t)v);
    ftk_put_le16((uint8_t *)p + 4, (uint16_t)(v >> 32));
}

#endif
