/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ftk/disk_lock.c -- locks of files, and what a fork does to open files.
 *
 * 1. The lock is flock(2): it belongs to the open file, two opens of one process exclude each
 *    other, and closing another descriptor of the file does not give it up (POSIX record locks fail
 *    both).
 * 2. A forked child shares the open file, and with it the lock.  So its copy of the descriptor is
 *    closed in the child before fork returns there (pthread_atfork): the parent's death frees the
 *    lock although the child lives.
 * 3. The parent unlocks before it closes: a child made without the C library's fork, whose copy
 *    nobody closed, does not keep a closed database locked.
 * 4. A child does not unlock, and changes no file that was opened before the fork.
 * 5. What a process has once begins anew in a child, behind that (ftk_fork_in_child).
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ftk/disk_internal.h"
#include "ftk/fork.h"

_Atomic unsigned ftk__forks;

/* Files that hold a lock; not an ftk_mutex, since the handlers of fork hold it across the fork. */
static pthread_mutex_t locked_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct native_file *locked_first;

enum { IN_CHILD_MAX = 4 };
static void (*in_child[IN_CHILD_MAX])(void); /* guarded by the mutex */

static void
fork_prepare(void)
{
    (void)pthread_mutex_lock(&locked_mutex);
}

static void
fork_parent(void)
{
    (void)pthread_mutex_unlock(&locked_mutex);
}

static void
fork_child(void)
{
    for (struct native_file *file = locked_first; file != NULL; file = file->locked_next) {
        (void)close(file->fd);
        file->fd = -1;
        file->locked = false;
    }
    locked_first = NULL;
    atomic_fetch_add_explicit(&ftk__forks, 1, memory_order_relaxed);
    (void)pthread_mutex_unlock(&locked_mutex);
    for (unsigned i = 0; i < IN_CHILD_MAX && in_child[i] != NULL; i++)
        in_child[i]();
}

static void
fork_watch_begin(void)
{
    (void)pthread_atfork(fork_prepare, fork_parent, fork_child);
}

void
ftk__fork_watch(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, fork_watch_begin);
}

void
ftk_fork_in_child(void (*begin_anew)(void))
{
    unsigned i = 0;

    ftk__fork_watch();
    (void)pthread_mutex_lock(&locked_mutex);
    while (i < IN_CHILD_MAX && in_child[i] != NULL && in_child[i] != begin_anew)
        i++;
    FTK_ASSERT(i < IN_CHILD_MAX);
    in_child[i] = begin_anew;
    (void)pthread_mutex_unlock(&locked_mutex);
}

ftk_status
ftk__change_check(const struct ftk_file *file, const char *operation)
{
    const struct native_file *native = (const struct native_file *)file;

    if (FTK_UNLIKELY(native->forks != ftk_forks()))
        return FTK_FAIL(FTK_STATE, "%s of %s: it was opened before this process was forked",
                        operation, file->path);
    return FTK_OK;
}

/* The process that holds a flock on the file: /proc/locks tells, if it can be read; else 0. */
static long
lock_holder(int fd)
{
    int locks_fd = ftk__open_at(NULL, "/proc/locks", O_RDONLY);
    FILE *locks = locks_fd >= 0 ? fdopen(locks_fd, "r") : NULL;
    struct stat about;
    char line[256];
    long holder = 0;

    if (locks == NULL) {
        if (locks_fd >= 0)
            (void)close(locks_fd);
        return 0;
    }
    if (fstat(fd, &about) == 0) {
        while (holder == 0 && fgets(line, sizeof(line), locks) != NULL) {
            unsigned long long inode;
            long pid;
            /* 1: FLOCK  ADVISORY  WRITE 4242 fe:00:1234567 0 EOF */
            if (sscanf(line, "%*[^:]: FLOCK %*s %*s %ld %*x:%*x:%llu", &pid, &inode) == 2 &&
                inode == about.st_ino && pid > 0)
                holder = pid;
        }
    }
    fclose(locks);
    return holder;
}

/* Take the lock, or (F_UNLCK) give it back; 0, or an errno. */
static int
lock_os(int fd, short type)
{
    int operation = type == F_UNLCK ? LOCK_UN : type == F_WRLCK ? LOCK_EX : LOCK_SH;
    int failed;

    do
        failed = flock(fd, operation | LOCK_NB);
    while (failed != 0 && errno == EINTR);
    if (failed != 0 && errno != EWOULDBLOCK) {
        /* File systems without flock: byte-range locks of the open file. */
        struct flock range = {.l_type = type, .l_whence = SEEK_SET};
        failed = fcntl(fd, F_OFD_SETLK, &range);
    }
    return failed == 0 ? 0 : errno;
}

ftk_status
ftk__native_lock(struct ftk_file *base, bool exclusive)
{
    struct native_file *file = ftk__native_file(base);
    ftk_status rc = ftk__change_check(base, "lock");

    if (rc != FTK_OK)
        return rc;
    (void)pthread_mutex_lock(&locked_mutex); /* no fork between the lock and the list */
    int err = lock_os(file->fd, exclusive ? F_WRLCK : F_RDLCK);
    if (err == 0 && !file->locked) {
        file->locked = true;
        file->locked_next = locked_first;
        locked_first = file;
    }
    (void)pthread_mutex_unlock(&locked_mutex);
    if (err == 0)
        return FTK_OK;
    if (err != EWOULDBLOCK && err != EAGAIN && err != EACCES)
        return FTK_FAIL_OS(ftk_status_of_errno(err), err, "lock of %s failed: %s", base->path,
                           ftk__errno_text(err));

    long holder = lock_holder(file->fd);
    if (holder == (long)getpid())
        return FTK_FAIL(FTK_INUSE, "lock of %s refused: already open in this process", base->path);
    if (holder != 0)
        return FTK_FAIL(FTK_INUSE, "lock of %s refused: in use by process %ld", base->path, holder);
    return FTK_FAIL(FTK_INUSE, "lock of %s refused: somebody has it open", base->path);
}

void
ftk__native_unlock(struct native_file *file)
{
    (void)pthread_mutex_lock(&locked_mutex);
    if (file->locked) {
        struct native_file **link = &locked_first;
        while (*link != file)
            link = &(*link)->locked_next;
        *link = file->locked_next;
        file->locked = false;
        (void)lock_os(file->fd, F_UNLCK);
    }
    (void)pthread_mutex_unlock(&locked_mutex);
}
