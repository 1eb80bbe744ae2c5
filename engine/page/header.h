/* SPDX-License-Identifier: Apache-2.0 */
/* engine/page/header.h -- the four header blocks. */
#ifndef ENGINE_HEADER_H
#define ENGINE_HEADER_H

#include "engine/page/page_format.h"
#include "ftk/disk.h"
#include "ftk/log.h"

struct db_snapshot {
    uint64_t id; /* transaction number; 0: the empty database */
    struct page_ref catalog_root;
    uint64_t catalog_keys;
    uint32_t catalog_height;
    uint32_t coll_next;
    uint64_t lsn; /* end of its commit record */
    uint64_t applied;
};

/* engine/page/header.c */
struct header {
    uint32_t page_bytes;
    uint8_t identity[16];
    uint64_t checkpoint;
    struct db_snapshot snapshot;
    uint64_t pages_end, map_hash, wall_ns;
    uint32_t flags;
    char log_dir[HEADER_LOG_DIR_MAX + 1]; /* with HEADER_LOG_PLACE; "": the usual one */
};
/* Both copies, each synced before the next. */
ftk_status header_write(struct ftk_file *file, const struct header *header);
/*
 * The newest valid header.  repair: rewrite a copy that is not as its twin; what is returned is
 * then durable.  errors: FTK_FOREIGN, FTK_VERSION, FTK_CORRUPT; FTK_IO: a copy cannot be read and
 * its twin is not whole, or it cannot be repaired, or a sync before a repair fails.  A damaged copy
 * that cannot be rewritten is only told to the log.
 */
ftk_status header_read(struct ftk_file *file, const struct ftk_log *log, bool repair,
                       struct header *header_out);

#endif
