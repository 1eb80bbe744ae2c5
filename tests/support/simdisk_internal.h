/* SPDX-License-Identifier: Apache-2.0 */
/* tests/support/simdisk_internal.h -- what the parts of the simulated disk share. */
#ifndef TESTS_SUPPORT_SIMDISK_INTERNAL_H
#define TESTS_SUPPORT_SIMDISK_INTERNAL_H

#include <stdatomic.h>

#include "ftk/random.h"
#include "ftk/thread.h"
#include "tests/support/simdisk.h"

/* ---- memory that does not fail ---- */

void *sim_calloc(size_t count, size_t size);
void *sim_realloc(void *memory, size_t size);
char *sim_strdup(const char *text);

/* ---- images: bytes of a file in pages, shared copy on write (simdisk_image.c) ---- */

#define SIM_PAGE 4096u
#define SIM_CHUNK_PAGES 256u
#define SIM_CHUNK (SIM_PAGE * SIM_CHUNK_PAGES)
#define SIM_SIZE_MAX (16ull << 30) /* of a file: keeps tables small; beyond is EFBIG */

struct sim_chunk;
struct sim_image {
    struct sim_chunk **chunks;
    size_t chunks_count;
    uint64_t size;
};

void sim_image_copy(struct sim_image *to, const struct sim_image *from); /* to is overwritten */
void sim_image_release(struct sim_image *image);
void sim_image_write(struct sim_image *image, uint64_t offset, const void *memory, uint64_t size);
void sim_image_read(const struct sim_image *image, uint64_t offset, void *memory, uint64_t size);
void sim_image_resize(struct sim_image *image, uint64_t size);
/* Pages of the range get space; the size grows to its end at least. */
void sim_image_reserve(struct sim_image *image, uint64_t offset, uint64_t size);
uint64_t sim_image_missing(const struct sim_image *image, uint64_t offset, uint64_t size);
uint64_t sim_image_pages(const struct sim_image *image);

/* ---- changes of a file that are not durable ---- */

enum sim_change_kind { SIM_WRITE, SIM_RESIZE, SIM_RESERVE };

struct sim_change {
    _Atomic uint32_t refs; /* shared by clones */
    enum sim_change_kind kind;
    uint64_t number; /* when: order over the whole disk */
    uint64_t offset; /* SIM_RESIZE: 0, and size is the new size */
    uint64_t size;
    uint8_t bytes[]; /* SIM_WRITE */
};

struct sim_change *sim_change_new(enum sim_change_kind kind, uint64_t number, uint64_t offset,
                                  uint64_t size, const void *memory);
struct sim_change *sim_change_ref(struct sim_change *change);
void sim_change_release(struct sim_change *change);
void sim_change_apply(const struct sim_change *change, struct sim_image *image);

/* What becomes of a change in a power cut. */
enum sim_fate { SIM_KEPT, SIM_DROPPED, SIM_TORN_EDGE, SIM_SOME_SECTORS };
void sim_change_survive(const struct sim_change *change, struct sim_image *image,
                        struct ftk_random *random, enum sim_fate fate, double chance);

/* ---- nodes: files and directories ---- */

#define SIM_NO_NODE UINT32_MAX
#define SIM_ROOT 0u

struct sim_entry {
    char *name;
    uint32_t node;
};
struct sim_entries {
    struct sim_entry *list;
    size_t count;
};

struct sim_node {
    bool is_dir;
    uint64_t serial;        /* no other node ever has it */
    uint32_t links;         /* names now: 0 or 1 */
    uint32_t links_durable; /* names on disk */
    uint32_t links_pending; /* changes of names that speak of it */
    uint32_t opens;
    uint32_t locks_shared;
    bool lock_exclusive;

    struct sim_image now; /* durable, with all pending applied (and what was lost, if so) */
    struct sim_image durable;
    struct sim_change **pending; /* in the order of completion */
    size_t pending_count;
    uint64_t synced_changes; /* were pending before these */
    bool lost;               /* a sync has failed since the last power cut (rule 3) */

    struct sim_entries names;
    struct sim_entries names_durable;
};

/* A change of names that is not durable: entry by entry; node SIM_NO_NODE removes. */
struct sim_name_edit {
    uint32_t dir;
    char *name;
    uint32_t node;
};
struct sim_name_change {
    uint64_t number;
    uint32_t dir; /* whose sync makes it durable */
    unsigned edits_count;
    struct sim_name_edit edits[2];
};

struct sim_aio {
    struct ftk_aio base;
    struct simdisk *disk;
    unsigned depth;
    unsigned under_way;
    struct ftk_thread device; /* runs where options.device says so */
    struct ftk_cond submitted;
    bool closing;
};

/* An asynchronous I/O under way. */
struct sim_flight {
    struct sim_aio *aio; /* NULL in clones */
    struct ftk_io *io;
    uint32_t node;
    struct sim_change *change; /* writes */
    uint64_t generation;
    int os_errno; /* it will fail; 0: it is to be done */
};

struct sim_fault {
    unsigned ops;
    uint64_t skip;
    uint64_t times;
    int os_errno;
};
#define SIM_FAULTS_MAX 16

struct simdisk {
    struct ftk_disk base;
    struct ftk_mutex mutex; /* guards all below */
    struct simdisk_options options;
    struct ftk_random random;
    uint64_t generation; /* of open files: a crash makes older ones dead */
    uint64_t number;     /* of the last change */
    uint64_t serial;     /* of the last node made */
    uint64_t steps;
    void (*hook)(void *context, struct simdisk *disk, uint64_t step);
    void *hook_context;

    struct sim_node **nodes; /* by id; NULL where free */
    size_t nodes_count;
    struct sim_name_change *name_changes;
    size_t name_changes_count;
    struct sim_flight *flights;
    size_t flights_count;
    size_t files_open;
    size_t aios_open;

    struct sim_fault faults[SIM_FAULTS_MAX];
    unsigned faults_count;
    uint64_t faults_delivered;
    uint64_t op_counts[8];
};

struct sim_file {
    struct ftk_file base;
    uint32_t node;
    uint64_t generation;
    bool read_only;
    bool lock_shared;
    bool lock_exclusive;
};

struct sim_dir {
    struct ftk_dir base;
    uint32_t node;
    uint64_t generation;
};

/* simdisk_names.c, all with the lock held */
struct sim_node *sim_node_new(struct simdisk *disk, bool is_dir, uint32_t *id_out);
void sim_node_free(struct simdisk *disk, uint32_t id);
void sim_nodes_collect(struct simdisk *disk); /* frees those nobody can reach */
uint32_t sim_entries_find(const struct sim_entries *entries, const char *name);
void sim_entries_set(struct sim_entries *entries, const char *name, uint32_t node);
void sim_entries_copy(struct sim_entries *to, const struct sim_entries *from);
void sim_entries_release(struct sim_entries *entries);
/* From a directory, or the root where the path is absolute: the directory that holds the last part
 * of path, and that part; false when there is none. */
bool sim_resolve(const struct simdisk *disk, uint32_t base, const char *path, uint32_t *dir_out,
                 char name[256], uint32_t *node_out);
/* The directory that has a name for this node; the root for the root, SIM_NO_NODE for one that was
 * removed.  *name_out: borrowed. */
uint32_t sim_parent(const struct simdisk *disk, uint32_t node, const char **name_out);

/* simdisk_dirs.c: the part of the table that is about directories and names */
ftk_status sim_dir_open(struct ftk_disk *base, const struct ftk_dir *dir, const char *path,
                        struct ftk_dir **dir_out);
void sim_dir_close(struct ftk_dir *dir);
ftk_status sim_dir_sync(struct ftk_dir *dir);
ftk_status sim_dir_list(struct ftk_dir *dir, ftk_status (*each)(void *context, const char *name),
                        void *context);
ftk_status sim_dir_space(struct ftk_dir *dir, uint64_t *free_out, uint64_t *total_out);
ftk_status sim_dir_locate(struct ftk_dir *dir, char **path_out);
ftk_status sim_rename(struct ftk_disk *base, const struct ftk_dir *dir, const char *from,
                      const char *to);
ftk_status sim_remove(struct ftk_disk *base, const struct ftk_dir *dir, const char *path);
ftk_status sim_mkdir(struct ftk_disk *base, const struct ftk_dir *dir, const char *path);
ftk_status sim_identify(struct ftk_disk *base, const struct ftk_dir *dir, const char *path,
                        struct ftk_identity *identity_out);
/* The node that relative paths begin at; FTK_IO when the directory is dead. */
ftk_status sim_dir_base(struct simdisk *disk, const struct ftk_dir *dir, uint32_t *node_out);
/* Nothing can be made in a directory that has been removed. */
bool sim_dir_removed(const struct simdisk *disk, uint32_t node);
char *sim_path_shown(const struct ftk_dir *dir, const char *path); /* for messages; owned */
/* Now, and pending until the directory is synced. */
void sim_name_change(struct simdisk *disk, uint32_t dir, const struct sim_name_edit *edits,
                     unsigned count);
void sim_name_change_apply(struct simdisk *disk, const struct sim_name_change *change);
void sim_name_change_drop(struct simdisk *disk, struct sim_name_change *change);

/* simdisk_aio.c */
ftk_status sim_aio_open(struct ftk_disk *base, enum ftk_aio_kind kind, unsigned depth,
                        struct ftk_aio **aio_out);
void sim_aio_close(struct ftk_aio *base);
void sim_aio_submit(struct ftk_aio *base, struct ftk_io **ios, size_t count);
bool sim_aio_poll(struct ftk_aio *base);

/* simdisk.c; all but sim_step_end with the lock held */
/* Counts one operation; an errno when it must fail, SIMDISK_SHORT_READ too. */
int sim_fault(struct simdisk *disk, enum simdisk_op op);
/* Releases the lock, then calls the hook. */
void sim_step_end(struct simdisk *disk);
ftk_status sim_path_failed(const char *operation, const char *path, int err);
uint64_t sim_used_bytes(const struct simdisk *disk);
/* Is the file alive and the transfer aligned? */
ftk_status sim_transfer_check(struct sim_file *file, enum ftk_io_op op, const void *memory,
                              uint64_t size, uint64_t offset);
/* err: the fault to deliver, or 0. */
ftk_status sim_read(struct sim_file *file, void *memory, uint64_t size, uint64_t offset, int err);
ftk_status sim_write(struct sim_file *file, const void *memory, uint64_t size, uint64_t offset,
                     int err);
void sim_pending_add(struct sim_node *node, struct sim_change *change);
struct simdisk *sim_alloc(const struct simdisk_options *options);

#endif
