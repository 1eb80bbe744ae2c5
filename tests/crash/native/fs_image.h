/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tests/crash/native/fs_image.h -- what a file system may hold after a crash.
 *
 * An image is a tree of directories and files in memory.  image_build makes one from the image that
 * was there before (durable, all of it), the first ops of a recording, and a seed:
 *
 * 1. A change of a file is *durable* when it ended before a sync of that file began which ended
 *    before the crash; a change of names, before such a sync of their directory.  A sync of a file
 *    says nothing about its name, one of a directory nothing about its files.
 * 2. What is not durable survives or not, each change for itself: bytes in sectors of 512, sizes,
 *    names.  Later ones may survive without earlier ones.  Which do is drawn by one of the ways of
 *    enum image_way, for bytes, sizes and names each.
 * 3. A sector holds what the page cache held after the last change of it that survived: a later
 *    change of a part of a sector brings the earlier ones of the other parts along.
 *    Of a vague write a sector is as it was at its begin or at its end.
 * 4. Where a size survived without its bytes there are zeros; bytes behind the size are gone.
 * 5. A rename is one change: never both names, never none.  A change of a name that does not fit
 *    what survived before it (a rename of a file whose creation was lost) is lost too.
 */
#ifndef TESTS_CRASH_NATIVE_FS_IMAGE_H
#define TESTS_CRASH_NATIVE_FS_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/crash/native/recorder.h"

enum { SECTOR = 512, IMAGE_NODES_MAX = NODES_MAX };

struct image_name {
    uint32_t dir, node;
    char name[NAME_MAX_HERE];
};

struct image_file {
    bool is_dir;
    uint64_t size, room;
    unsigned char *bytes; /* room of them; zero behind size */
};

struct image {
    uint32_t node_count; /* node 0: the directory that all is in */
    struct image_file files[IMAGE_NODES_MAX];
    uint32_t name_count;
    struct image_name names[IMAGE_NODES_MAX];
};

/* Of the changes that are not durable ... */
enum image_way {
    WAY_NONE,   /* none survives */
    WAY_ALL,    /* all do */
    WAY_EACH,   /* each by chance */
    WAY_SECTOR, /* each sector by chance (of sizes and names: as WAY_EACH) */
    WAY_BEFORE, /* those before a moment do */
    WAY_NODE,   /* those of one file or directory do not */
    WAY_NODE_ONLY,
    WAY_ONE, /* one does not, torn perhaps */
    WAY_ONE_ONLY,
    WAY_COUNT
};

/* Syncs that the model takes for not done: a canary. */
typedef bool (*image_liar)(const struct recording *recording, uint32_t sync);

struct image_crash {
    uint32_t op;     /* the crash is before this op */
    bool process;    /* only the process died: all survives */
    uint64_t seed;   /* draws what survives */
    image_liar liar; /* or NULL */
    char how[120];   /* out: for people */
};

/* An empty directory. */
struct image *image_new(void);
void image_free(struct image *image);
struct image *image_build(const struct image *before, const struct recording *recording,
                          struct image_crash *crash);

/* Into the empty directory at path.  With a recording the image's nodes become its nodes.  false:
 * the system failed, errno says why. */
bool image_write(const struct image *image, const char *path, struct recording *recording);
/* Does the directory hold the image, byte for byte (vague ones aside) and nothing else?  false:
 * words says where not. */
bool image_matches(const struct image *image, const struct recording *recording, const char *path,
                   char *words, size_t words_size);
/* Path of a node relative to the image's directory; false when it has no name. */
bool image_path(const struct image *image, uint32_t node, char *path, size_t path_size);

#endif
