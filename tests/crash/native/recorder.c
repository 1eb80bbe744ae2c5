/* SPDX-License-Identifier: Apache-2.0 */
/* tests/crash/native/recorder.c -- see recorder.h for the rules. */
#include "tests/crash/native/recorder.h"

#include <errno.h>
#include <fcntl.h>
#include <libaio.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define NO_NODE UINT32_MAX

static struct recording *recording_now;
static bool syncs_skipped, libaio_refused;

/* ---- recordings ----------------------------------------------------------------------------- */

static void
mutex_make(struct recording *r)
{
    pthread_mutexattr_t attributes;

    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutex_init(&r->mutex, &attributes);
    pthread_mutexattr_destroy(&attributes);
}

struct recording *
recording_new(void)
{
    struct recording *r = mmap(NULL, sizeof *r + BYTES_MAX, PROT_READ | PROT_WRITE,
                               MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (r == MAP_FAILED)
        return NULL;
    recording_reset(r, 0);
    return r;
}

void
recording_free(struct recording *r)
{
    if (r != NULL)
        munmap(r, sizeof *r + BYTES_MAX);
}

void
recording_reset(struct recording *r, uint64_t seed)
{
    mutex_make(r);
    r->op_count = 0;
    r->node_count = 0;
    r->bytes_used = 0;
    r->die_at = UINT32_MAX;
    r->die_at_dir_sync = 0;
    r->notes_only = false;
    r->sync_ns = 0;
    r->random = seed;
    memset(r->flights, 0, sizeof r->flights);
}

/* The recorder's own faults are not the library's: say so and end. */
static void
give_up(const char *why)
{
    fprintf(stderr, "recorder: %s\n", why);
    abort();
}

static uint32_t
node_add(struct recording *r, const struct stat *about)
{
    if (r->node_count == NODES_MAX)
        give_up("more files than NODES_MAX");
    r->device = about->st_dev;
    r->nodes[r->node_count] = about->st_ino;
    return r->node_count++;
}

uint32_t
recording_adopt(struct recording *r, const char *path)
{
    struct stat about;

    if (stat(path, &about) != 0)
        give_up("a file to adopt is not there");
    return node_add(r, &about);
}

static uint32_t
node_find(const struct recording *r, const struct stat *about)
{
    uint32_t node = about->st_dev == r->device ? r->node_count : 0;

    while (node > 0 && r->nodes[node - 1] != about->st_ino)
        node--;
    return node == 0 ? NO_NODE : node - 1;
}

static uint32_t
node_of_fd(const struct recording *r, int fd)
{
    struct stat about;
    int saved = errno;
    uint32_t node = fstat(fd, &about) == 0 ? node_find(r, &about) : NO_NODE;

    errno = saved;
    return node;
}

static bool
is_dir(int fd)
{
    struct stat about;

    return fstat(fd, &about) == 0 && S_ISDIR(about.st_mode);
}

/* ---- ops ------------------------------------------------------------------------------------ */

static void
lock(struct recording *r)
{
    pthread_mutex_lock(&r->mutex);
    if (r->op_count >= r->die_at)
        _exit(RECORDER_DEATH);
}

/* NULL when nothing is recorded; else with the mutex. */
static struct recording *
enter(void)
{
    struct recording *r = recording_now;

    if (r == NULL || r->notes_only)
        return NULL;
    lock(r);
    return r;
}

static void
leave(struct recording *r)
{
    if (r != NULL)
        pthread_mutex_unlock(&r->mutex);
}

static struct op *
op_add(struct recording *r, enum op_kind kind, uint32_t node)
{
    struct op *op = &r->ops[r->op_count];

    if (r->op_count == OPS_MAX)
        give_up("more ops than OPS_MAX");
    memset(op, 0, sizeof *op);
    op->kind = kind;
    op->node = node;
    op->end = r->op_count++;
    return op;
}

static void
op_end(struct recording *r, uint32_t of)
{
    uint32_t end = r->op_count;

    op_add(r, OP_END, r->ops[of].node)->of = of;
    r->ops[of].end = end;
}

void
recording_bury(struct recording *r)
{
    mutex_make(r);
    r->die_at = UINT32_MAX;
    r->die_at_dir_sync = 0;
    for (unsigned i = 0; i < FLIGHTS_MAX; i++) {
        if (r->flights[i].iocb != NULL) {
            struct op *op = &r->ops[r->flights[i].op];
            op->bytes_end = op->bytes;
            op->is_vague = true; /* its memory is gone */
            op_end(r, r->flights[i].op);
        }
        r->flights[i].iocb = NULL;
    }
}

void
recorder_use(struct recording *r)
{
    recording_now = r;
    syncs_skipped = r == NULL || !r->notes_only;
}

void
recorder_refuse_libaio(bool refuse)
{
    libaio_refused = refuse;
}

void
recorder_note(uint32_t note, uint32_t number, uint32_t epoch)
{
    struct recording *r = recording_now;

    if (r == NULL)
        return;
    lock(r);
    struct op *op = op_add(r, OP_NOTE, 0);
    op->number = number;
    op->epoch = epoch;
    __atomic_store_n(&op->note, note, __ATOMIC_RELEASE); /* last: a kill may come between */
    leave(r);
}

void
op_describe(const struct recording *r, uint32_t index, char *text, size_t text_size)
{
    static const char *const names[] = {"create",   "mkdir",    "link", "remove", "rename", "write",
                                        "truncate", "allocate", "sync", "end",    "note"};
    const struct op *op = &r->ops[index];
    int size = snprintf(text, text_size, "%u %s", index, names[op->kind]);

    text += size;
    text_size -= (size_t)size;
    if (op->kind == OP_END)
        snprintf(text, text_size, " of %u", op->of);
    else if (op->kind == OP_NOTE)
        snprintf(text, text_size, " %u: %u in %u", op->note, op->number, op->epoch);
    else if (op->kind <= OP_RENAME)
        snprintf(text, text_size, " node %u in %u %s %s", op->node, op->dir, op->name, op->name_to);
    else
        snprintf(text, text_size, " node %u %llu+%llu%s%s%s", op->node,
                 (unsigned long long)op->offset, (unsigned long long)op->size,
                 op->kind == OP_WRITE && op->bytes == BYTES_ZERO ? " zero" : "",
                 op->is_vague ? " vague" : "", op->end == OP_UNFINISHED ? " unfinished" : "");
}

/* ---- names ---------------------------------------------------------------------------------- */

/* The directory of a name, and the name in it; false: not one that is recorded. */
static bool
place_find(const struct recording *r, int at, const char *path, uint32_t *dir_out, char *name_out)
{
    size_t size = strlen(path);
    struct stat about;
    char parent[4096];

    while (size > 1 && path[size - 1] == '/')
        size--;
    size_t begin = size;
    while (begin > 0 && path[begin - 1] != '/')
        begin--;
    snprintf(parent, sizeof parent, "%.*s", begin == 0 ? 1 : (int)begin, begin == 0 ? "." : path);
    if (fstatat(at, parent, &about, 0) != 0)
        return false;
    *dir_out = node_find(r, &about);
    if (*dir_out == NO_NODE)
        return false;
    if (size - begin >= NAME_MAX_HERE)
        give_up("a name longer than NAME_MAX_HERE");
    snprintf(name_out, NAME_MAX_HERE, "%.*s", (int)(size - begin), path + begin);
    return true;
}

/* A name more, of a node that is new or was there. */
static void
name_add(struct recording *r, enum op_kind kind, int at, const char *path)
{
    struct stat about;
    uint32_t dir, node;
    char name[NAME_MAX_HERE];

    if (!place_find(r, at, path, &dir, name))
        return;
    if (fstatat(at, path, &about, AT_SYMLINK_NOFOLLOW) != 0)
        give_up("a name just made is not there");
    node = kind == OP_LINK ? node_find(r, &about) : node_add(r, &about);
    if (node == NO_NODE)
        give_up("a file from elsewhere is linked into the recorded directory");
    struct op *op = op_add(r, kind, node);
    op->dir = dir;
    memcpy(op->name, name, sizeof name);
}

int __real_openat(int at, const char *path, int flags, ...);

static int
open_recorded(struct recording *r, int at, const char *path, int flags, mode_t mode)
{
    struct stat about;
    bool made = (flags & O_CREAT) != 0 && fstatat(at, path, &about, 0) != 0;
    int fd = __real_openat(at, path, flags, mode);

    if (fd < 0)
        return fd;
    if (made)
        name_add(r, OP_CREATE, at, path);
    else if ((flags & O_TRUNC) != 0 && node_of_fd(r, fd) != NO_NODE)
        op_add(r, OP_TRUNCATE, node_of_fd(r, fd));
    return fd;
}

int __wrap_openat(int at, const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_creat(const char *path, mode_t mode);

static int
open_any(int at, const char *path, int flags, mode_t mode)
{
    struct recording *r = enter();
    int fd =
        r == NULL ? __real_openat(at, path, flags, mode) : open_recorded(r, at, path, flags, mode);

    leave(r);
    return fd;
}

int
__wrap_openat(int at, const char *path, int flags, ...)
{
    va_list arguments;

    va_start(arguments, flags);
    mode_t mode = (flags & O_CREAT) != 0 ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    return open_any(at, path, flags, mode);
}

int
__wrap_open(const char *path, int flags, ...)
{
    va_list arguments;

    va_start(arguments, flags);
    mode_t mode = (flags & O_CREAT) != 0 ? va_arg(arguments, mode_t) : 0;
    va_end(arguments);
    return open_any(AT_FDCWD, path, flags, mode);
}

int
__wrap_creat(const char *path, mode_t mode)
{
    return open_any(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

int __real_mkdirat(int at, const char *path, mode_t mode);
int __wrap_mkdirat(int at, const char *path, mode_t mode);
int __wrap_mkdir(const char *path, mode_t mode);

int
__wrap_mkdirat(int at, const char *path, mode_t mode)
{
    struct recording *r = enter();
    int rc = __real_mkdirat(at, path, mode);

    if (r != NULL && rc == 0)
        name_add(r, OP_MKDIR, at, path);
    leave(r);
    return rc;
}

int
__wrap_mkdir(const char *path, mode_t mode)
{
    return __wrap_mkdirat(AT_FDCWD, path, mode);
}

int __real_linkat(int from_at, const char *from, int to_at, const char *to, int flags);
int __wrap_linkat(int from_at, const char *from, int to_at, const char *to, int flags);
int __wrap_link(const char *from, const char *to);

int
__wrap_linkat(int from_at, const char *from, int to_at, const char *to, int flags)
{
    struct recording *r = enter();
    int rc = __real_linkat(from_at, from, to_at, to, flags);

    if (r != NULL && rc == 0)
        name_add(r, OP_LINK, to_at, to);
    leave(r);
    return rc;
}

int
__wrap_link(const char *from, const char *to)
{
    return __wrap_linkat(AT_FDCWD, from, AT_FDCWD, to, 0);
}

int __real_unlinkat(int at, const char *path, int flags);
int __wrap_unlinkat(int at, const char *path, int flags);
int __wrap_unlink(const char *path);
int __wrap_rmdir(const char *path);
int __wrap_remove(const char *path);

int
__wrap_unlinkat(int at, const char *path, int flags)
{
    struct recording *r = enter();
    uint32_t dir = 0;
    char name[NAME_MAX_HERE];
    bool known = r != NULL && place_find(r, at, path, &dir, name);
    int rc = __real_unlinkat(at, path, flags);

    if (known && rc == 0) {
        struct op *op = op_add(r, OP_REMOVE, NO_NODE);
        op->dir = dir;
        memcpy(op->name, name, sizeof name);
    }
    leave(r);
    return rc;
}

int
__wrap_unlink(const char *path)
{
    return __wrap_unlinkat(AT_FDCWD, path, 0);
}

int
__wrap_rmdir(const char *path)
{
    return __wrap_unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

int
__wrap_remove(const char *path)
{
    int rc = __wrap_unlinkat(AT_FDCWD, path, 0);

    return rc != 0 && (errno == EISDIR || errno == EPERM) ? __wrap_rmdir(path) : rc;
}

int __real_renameat(int from_at, const char *from, int to_at, const char *to);
int __wrap_renameat(int from_at, const char *from, int to_at, const char *to);
int __wrap_rename(const char *from, const char *to);
int __real_renameat2(int from_at, const char *from, int to_at, const char *to, unsigned flags);
int __wrap_renameat2(int from_at, const char *from, int to_at, const char *to, unsigned flags);

int
__wrap_renameat2(int from_at, const char *from, int to_at, const char *to, unsigned flags)
{
    struct recording *r = enter();
    struct op op = {.kind = OP_RENAME};
    struct stat about;
    uint32_t dir_to = NO_NODE;
    bool known = r != NULL && place_find(r, from_at, from, &op.dir, op.name);
    bool known_to = r != NULL && place_find(r, to_at, to, &dir_to, op.name_to);

    if (known != known_to || (known && op.dir != dir_to) || (known && (flags & ~1u) != 0))
        give_up("a rename between directories, or an exchange: the model has none");
    if (known && fstatat(from_at, from, &about, AT_SYMLINK_NOFOLLOW) == 0)
        op.node = node_find(r, &about);
    int rc = flags == 0 ? __real_renameat(from_at, from, to_at, to)
                        : __real_renameat2(from_at, from, to_at, to, flags);
    if (known && rc == 0) {
        struct op *new_op = op_add(r, OP_RENAME, op.node);
        op.end = new_op->end;
        *new_op = op;
    }
    leave(r);
    return rc;
}

int
__wrap_renameat(int from_at, const char *from, int to_at, const char *to)
{
    return __wrap_renameat2(from_at, from, to_at, to, 0);
}

int
__wrap_rename(const char *from, const char *to)
{
    return __wrap_renameat2(AT_FDCWD, from, AT_FDCWD, to, 0);
}

/* ---- bytes and sizes ------------------------------------------------------------------------ */

struct gather {
    const struct iovec *parts;
    int count;
};

/* Bytes that another thread may be changing: its affair, as it would be with a device. */
__attribute__((no_sanitize("thread"))) static uint64_t
gather_copy(const struct gather *gather, unsigned char *to, uint64_t size)
{
    uint64_t done = 0;

    for (int i = 0; i < gather->count; i++) {
        const volatile unsigned char *from = gather->parts[i].iov_base;
        for (uint64_t k = 0; k < gather->parts[i].iov_len && done < size; k++)
            to[done++] = from[k];
    }
    return done;
}

static uint64_t
gather_size(const struct gather *gather)
{
    uint64_t size = 0;

    for (int i = 0; i < gather->count; i++)
        size += gather->parts[i].iov_len;
    return size;
}

/* A copy of the bytes as they are; BYTES_ZERO when they are. */
static uint64_t
bytes_take(struct recording *r, const struct gather *gather, uint64_t size)
{
    unsigned char *to = r->bytes + r->bytes_used;

    if (size > BYTES_MAX - r->bytes_used)
        give_up("more bytes than BYTES_MAX");
    gather_copy(gather, to, size);
    if (size > 0 && to[0] == 0 && memcmp(to, to + 1, size - 1) == 0)
        return BYTES_ZERO;
    r->bytes_used += size;
    return (uint64_t)(to - r->bytes);
}

/* The op of a write that is about to begin; NULL: it is not recorded. */
static struct op *
write_begin(struct recording *r, int fd, uint64_t offset, const struct gather *gather)
{
    uint32_t node = r == NULL ? NO_NODE : node_of_fd(r, fd);
    struct op *op;

    if (node == NO_NODE)
        return NULL;
    op = op_add(r, OP_WRITE, node);
    op->durable = (fcntl(fd, F_GETFL) & O_DSYNC) != 0;
    op->offset = offset;
    op->size = gather_size(gather);
    op->bytes = bytes_take(r, gather, op->size);
    return op;
}

/* Are the bytes still the same?  done: so many were written. */
static void
write_end(struct recording *r, struct op *op, const struct gather *gather, uint64_t done)
{
    uint64_t used = r->bytes_used;
    uint64_t now;

    if (done < op->size)
        op->size = done;
    now = bytes_take(r, gather, op->size);
    op->bytes_end = now;
    op->is_vague =
        (now == BYTES_ZERO) != (op->bytes == BYTES_ZERO) ||
        (now != BYTES_ZERO && memcmp(r->bytes + now, r->bytes + op->bytes, op->size) != 0);
    if (!op->is_vague)
        r->bytes_used = used;
}

ssize_t __real_pwritev(int fd, const struct iovec *parts, int count, off_t offset);
ssize_t __wrap_pwritev(int fd, const struct iovec *parts, int count, off_t offset);
ssize_t __wrap_pwrite(int fd, const void *bytes, size_t size, off_t offset);
ssize_t __real_write(int fd, const void *bytes, size_t size);
ssize_t __wrap_write(int fd, const void *bytes, size_t size);

/* A write while the mutex is held: the op of one that failed is the last, and goes. */
static void
write_settle(struct recording *r, struct op *op, const struct gather *gather, ssize_t done)
{
    if (op != NULL && done > 0)
        write_end(r, op, gather, (uint64_t)done);
    else if (op != NULL)
        r->op_count--;
}

ssize_t
__wrap_pwritev(int fd, const struct iovec *parts, int count, off_t offset)
{
    struct gather gather = {.parts = parts, .count = count};
    struct recording *r = enter();
    struct op *op = write_begin(r, fd, (uint64_t)offset, &gather);
    ssize_t done = __real_pwritev(fd, parts, count, offset);

    write_settle(r, op, &gather, done);
    leave(r);
    return done;
}

ssize_t
__wrap_pwrite(int fd, const void *bytes, size_t size, off_t offset)
{
    struct iovec part = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = size};

    return __wrap_pwritev(fd, &part, 1, offset);
}

ssize_t
__wrap_write(int fd, const void *bytes, size_t size)
{
    struct iovec part = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = size};
    struct gather gather = {.parts = &part, .count = 1};
    struct recording *r = enter();
    off_t offset =
        r == NULL ? 0 : lseek(fd, 0, (fcntl(fd, F_GETFL) & O_APPEND) ? SEEK_END : SEEK_CUR);
    struct op *op = offset < 0 ? NULL : write_begin(r, fd, (uint64_t)offset, &gather);
    ssize_t done = __real_write(fd, bytes, size);

    write_settle(r, op, &gather, done);
    leave(r);
    return done;
}

static int
size_record(struct recording *r, int fd, enum op_kind kind, uint64_t size)
{
    uint32_t node = node_of_fd(r, fd);

    if (node != NO_NODE)
        op_add(r, kind, node)->size = size;
    return 0;
}

int __real_ftruncate(int fd, off_t size);
int __wrap_ftruncate(int fd, off_t size);
int __real_fallocate(int fd, int mode, off_t offset, off_t size);
int __wrap_fallocate(int fd, int mode, off_t offset, off_t size);
int __wrap_posix_fallocate(int fd, off_t offset, off_t size);

int
__wrap_ftruncate(int fd, off_t size)
{
    struct recording *r = enter();
    int rc = __real_ftruncate(fd, size);

    if (r != NULL && rc == 0)
        size_record(r, fd, OP_TRUNCATE, (uint64_t)size);
    leave(r);
    return rc;
}

int
__wrap_fallocate(int fd, int mode, off_t offset, off_t size)
{
    struct recording *r = enter();
    int rc = __real_fallocate(fd, mode, offset, size);

    if (r != NULL && rc == 0 && (mode & ~FALLOC_FL_KEEP_SIZE) != 0)
        give_up("fallocate with a mode that the model does not know");
    if (r != NULL && rc == 0 && mode == 0)
        size_record(r, fd, OP_ALLOCATE, (uint64_t)(offset + size));
    leave(r);
    return rc;
}

int
__wrap_posix_fallocate(int fd, off_t offset, off_t size)
{
    return __wrap_fallocate(fd, 0, offset, size) == 0 ? 0 : errno;
}

/* ---- syncs ---------------------------------------------------------------------------------- */

static void
take_time(uint64_t ns)
{
    struct timespec left = {.tv_nsec = (long)ns};

    if (ns > 0)
        (void)nanosleep(&left, NULL);
}

static uint64_t
random_next(struct recording *r)
{
    uint64_t x = r->random += 0x9e3779b97f4a7c15u; /* splitmix64 (Steele, Lea, Flood, 2014) */

    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* Whether the sync is done with. */
static bool
sync_recorded(int fd)
{
    struct recording *r = enter();
    uint32_t node, sync;
    uint64_t ns;

    if (r == NULL)
        return syncs_skipped;
    node = node_of_fd(r, fd);
    if (node == NO_NODE) {
        leave(r);
        return syncs_skipped;
    }
    if (r->die_at_dir_sync > 0 && is_dir(fd) && --r->die_at_dir_sync == 0)
        _exit(RECORDER_DEATH);
    sync = r->op_count;
    op_add(r, OP_SYNC, node)->end = OP_UNFINISHED;
    ns = r->sync_ns == 0 ? 0 : random_next(r) % r->sync_ns;
    leave(r);
    take_time(ns);
    r = enter();
    op_end(r, sync);
    leave(r);
    return true;
}

int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);

int
__wrap_fsync(int fd)
{
    return sync_recorded(fd) ? 0 : __real_fsync(fd);
}

int
__wrap_fdatasync(int fd)
{
    return sync_recorded(fd) ? 0 : __real_fdatasync(fd);
}

/* ---- asynchronous writes -------------------------------------------------------------------- */

/* What an iocb writes; one is room for a gather of one part.  false: it does not write. */
static bool
flight_gather(const struct iocb *iocb, struct iovec *one, struct gather *gather)
{
    one->iov_base = iocb->u.c.buf;
    one->iov_len = iocb->u.c.nbytes;
    gather->parts = one;
    gather->count = 1;
    if (iocb->aio_lio_opcode == IO_CMD_PWRITEV) {
        gather->parts = iocb->u.c.buf;
        gather->count = (int)iocb->u.c.nbytes;
    }
    return iocb->aio_lio_opcode == IO_CMD_PWRITE || iocb->aio_lio_opcode == IO_CMD_PWRITEV;
}

static unsigned
flight_find(const struct recording *r, const struct iocb *iocb)
{
    unsigned flight = 0;

    while (flight < FLIGHTS_MAX && r->flights[flight].iocb != iocb)
        flight++;
    return flight;
}

static void
flight_begin(struct recording *r, const struct iocb *iocb)
{
    struct gather gather;
    struct iovec one;
    struct op *op = NULL;
    unsigned flight = flight_find(r, NULL);

    if (flight_gather(iocb, &one, &gather))
        op = write_begin(r, iocb->aio_fildes, (uint64_t)iocb->u.c.offset, &gather);
    if (op == NULL)
        return;
    if (flight == FLIGHTS_MAX)
        give_up("more writes under way than FLIGHTS_MAX");
    op->end = OP_UNFINISHED;
    r->flights[flight].iocb = iocb;
    r->flights[flight].op = (uint32_t)(op - r->ops);
}

/* result: bytes written, or below zero when it failed or was never begun. */
static void
flight_end(struct recording *r, const struct iocb *iocb, long result)
{
    struct gather gather;
    struct iovec one;
    unsigned flight = flight_find(r, iocb);

    if (flight == FLIGHTS_MAX)
        return;
    struct op *op = &r->ops[r->flights[flight].op];
    (void)flight_gather(iocb, &one, &gather);
    if (result < 0)
        op->is_void = true;
    else
        write_end(r, op, &gather, (uint64_t)result);
    op_end(r, r->flights[flight].op);
    r->flights[flight].iocb = NULL;
}

int __real_io_setup(int depth, io_context_t *context);
int __wrap_io_setup(int depth, io_context_t *context);
int __real_io_submit(io_context_t context, long count, struct iocb **iocbs);
int __wrap_io_submit(io_context_t context, long count, struct iocb **iocbs);
int __real_io_getevents(io_context_t context, long least, long most, struct io_event *events,
                        struct timespec *timeout);
int __wrap_io_getevents(io_context_t context, long least, long most, struct io_event *events,
                        struct timespec *timeout);

int
__wrap_io_setup(int depth, io_context_t *context)
{
    return libaio_refused ? -EAGAIN : __real_io_setup(depth, context);
}

int
__wrap_io_submit(io_context_t context, long count, struct iocb **iocbs)
{
    struct recording *r = enter();

    for (long i = 0; r != NULL && i < count; i++)
        flight_begin(r, iocbs[i]);
    int begun = __real_io_submit(context, count, iocbs);
    for (long i = begun < 0 ? 0 : begun; r != NULL && i < count; i++)
        flight_end(r, iocbs[i], -1);
    leave(r);
    return begun;
}

int
__wrap_io_getevents(io_context_t context, long least, long most, struct io_event *events,
                    struct timespec *timeout)
{
    int count = __real_io_getevents(context, least, most, events, timeout);
    struct recording *r = count > 0 ? enter() : NULL;

    for (int i = 0; r != NULL && i < count; i++)
        flight_end(r, events[i].obj, (long)events[i].res);
    leave(r);
    return count;
}
