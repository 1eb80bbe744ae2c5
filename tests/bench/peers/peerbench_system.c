/* SPDX-License-Identifier: Apache-2.0 */
/* peerbench_system.c -- what the operating system tells and does. */
#include "peerbench.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <unistd.h>

/* The number after `name` at the start of a line of a small file, or 0. */
static uint64_t
file_number(const char *path, const char *name)
{
    char line[256];
    uint64_t number = 0;
    FILE *file = fopen(path, "r");

    if (file == NULL)
        return 0;
    while (fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, name, strlen(name)) == 0) {
            number = strtoull(line + strlen(name), NULL, 10);
            break;
        }
    }
    fclose(file);
    return number;
}

/* ---- bytes written --------------------------------------------------------------------------- */

static uint64_t
device_written_bytes(const char *dir)
{
    struct stat st;
    char line[512];
    unsigned major_number, minor_number;
    unsigned long long sectors;
    uint64_t bytes = 0;
    FILE *file;

    if (stat(dir, &st) != 0 || (file = fopen("/proc/diskstats", "r")) == NULL)
        return 0;
    while (fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "%u %u %*s %*u %*u %*u %*u %*u %*u %llu", &major_number, &minor_number,
                   &sectors) == 3 &&
            makedev(major_number, minor_number) == st.st_dev) {
            bytes = sectors * 512;
            break;
        }
    }
    fclose(file);
    return bytes;
}

void
pb_io_read(const char *dir, struct pb_io *io_out)
{
    uint64_t written = file_number("/proc/self/io", "write_bytes:");
    uint64_t cancelled = file_number("/proc/self/io", "cancelled_write_bytes:");

    io_out->process_bytes = written > cancelled ? written - cancelled : 0;
    io_out->device_bytes = device_written_bytes(dir);
}

uint64_t
pb_rss_anon_bytes(int pid)
{
    char path[64];

    snprintf(path, sizeof path, "/proc/%d/status", pid);
    return file_number(path, "RssAnon:") << 10;
}

/* ---- directories ----------------------------------------------------------------------------- */

static uint64_t tree_bytes; /* nftw takes no context; used by one thread at a time */
static pthread_mutex_t tree_lock = PTHREAD_MUTEX_INITIALIZER;

static int
bytes_visit(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)path;
    (void)ftw;
    if (type == FTW_F)
        tree_bytes += (uint64_t)st->st_blocks * 512;
    return 0;
}

uint64_t
pb_dir_bytes(const char *dir)
{
    uint64_t bytes;

    pthread_mutex_lock(&tree_lock);
    tree_bytes = 0;
    (void)nftw(dir, bytes_visit, 16, FTW_PHYS);
    bytes = tree_bytes;
    pthread_mutex_unlock(&tree_lock);
    return bytes;
}

static int
remove_visit(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    (void)remove(path);
    return 0;
}

void
pb_dir_remove(const char *dir)
{
    (void)nftw(dir, remove_visit, 16, FTW_PHYS | FTW_DEPTH);
}

/* ---- page cache ------------------------------------------------------------------------------ */

static uint64_t resident_pages, total_pages;

/* Counts the pages of one file that are in the page cache, in windows of 1 GiB. */
static void
residency_count(int fd, uint64_t size)
{
    const uint64_t page = 4096, window = (uint64_t)1 << 30;
    unsigned char *vector = malloc(window / page);

    for (uint64_t at = 0; vector != NULL && at < size; at += window) {
        uint64_t length = size - at < window ? size - at : window;
        uint64_t pages = (length + page - 1) / page;
        void *map = mmap(NULL, length, PROT_READ, MAP_SHARED, fd, (off_t)at);

        if (map == MAP_FAILED)
            break;
        if (mincore(map, length, vector) == 0) {
            for (uint64_t i = 0; i < pages; i++)
                resident_pages += vector[i] & 1;
        }
        munmap(map, length);
    }
    free(vector);
}

static int
drop_visit(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    int fd;

    (void)ftw;
    if (type != FTW_F || st->st_size == 0 || (fd = open(path, O_RDONLY)) < 0)
        return 0;
    (void)fsync(fd);
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    residency_count(fd, (uint64_t)st->st_size);
    total_pages += (uint64_t)st->st_blocks / 8; /* files may be sparse */
    close(fd);
    return 0;
}

static double
drop_once(const char *dir)
{
    resident_pages = total_pages = 0;
    (void)nftw(dir, drop_visit, 16, FTW_PHYS);
    return total_pages == 0 ? 0 : (double)resident_pages / (double)total_pages;
}

double
pb_cache_drop(const char *dir)
{
    double left;
    int fd;

    pthread_mutex_lock(&tree_lock);
    left = drop_once(dir);
    if (left > 0.01 && (fd = open("/proc/sys/vm/drop_caches", O_WRONLY)) >= 0) {
        (void)!write(fd, "1\n", 2);
        close(fd);
        left = drop_once(dir);
    }
    pthread_mutex_unlock(&tree_lock);
    return left;
}

/* ---- memory cgroups -------------------------------------------------------------------------- */

static bool
file_write(const char *dir, const char *name, const char *text)
{
    char path[512];
    int fd;
    bool done;

    peer_path(path, sizeof path, dir, name);
    fd = open(path, O_WRONLY);
    if (fd < 0)
        return false;
    done = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    close(fd);
    return done;
}

static bool
cgroup_try(const char *parent, const char *limit_file, const char *swap_file, uint64_t limit_bytes,
           char *path, size_t path_size)
{
    char number[32];

    snprintf(path, path_size, "%s/peerbench.%d", parent, (int)getpid());
    if (mkdir(path, 0755) != 0 && errno != EEXIST)
        return false;
    snprintf(number, sizeof number, "%llu", (unsigned long long)limit_bytes);
    if (!file_write(path, limit_file, number)) {
        (void)rmdir(path);
        return false;
    }
    (void)file_write(path, swap_file, strcmp(swap_file, "memory.swap.max") == 0 ? "0" : number);
    return true;
}

/* Version 2: below our own group when memory is delegated to it, else below the root. */
static bool
cgroup2_make(uint64_t limit_bytes, char *path, size_t path_size)
{
    char own[300] = "", line[256], parent[400];
    FILE *file = fopen("/proc/self/cgroup", "r");

    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "0::", 3) == 0) {
            line[strcspn(line, "\n")] = '\0';
            snprintf(own, sizeof own, "%s", line + 3);
        }
    }
    if (file != NULL)
        fclose(file);
    snprintf(parent, sizeof parent, "/sys/fs/cgroup%s", strcmp(own, "/") == 0 ? "" : own);
    if (cgroup_try(parent, "memory.max", "memory.swap.max", limit_bytes, path, path_size))
        return true;
    (void)file_write("/sys/fs/cgroup", "cgroup.subtree_control", "+memory");
    return cgroup_try("/sys/fs/cgroup", "memory.max", "memory.swap.max", limit_bytes, path,
                      path_size);
}

bool
pb_cgroup_make(uint64_t limit_bytes, char *path, size_t path_size, char *why, size_t why_size)
{
    if (access("/sys/fs/cgroup/memory/memory.limit_in_bytes", F_OK) == 0) {
        if (cgroup_try("/sys/fs/cgroup/memory", "memory.limit_in_bytes",
                       "memory.memsw.limit_in_bytes", limit_bytes, path, path_size))
            return true;
    } else if (access("/sys/fs/cgroup/cgroup.controllers", F_OK) == 0) {
        if (cgroup2_make(limit_bytes, path, path_size))
            return true;
    } else {
        snprintf(why, why_size, "no memory cgroups here");
        return false;
    }
    snprintf(why, why_size, "no memory cgroup can be made: %s", strerror(errno));
    return false;
}

bool
pb_cgroup_join(const char *path)
{
    char pid[32];

    snprintf(pid, sizeof pid, "%d", (int)getpid());
    return file_write(path, "cgroup.procs", pid);
}

/* A group whose last process has just ended may be busy for a moment. */
void
pb_cgroup_remove(const char *path)
{
    (void)file_write(path, "memory.force_empty", "0");
    for (int i = 0; i < 50 && rmdir(path) != 0 && errno == EBUSY; i++)
        usleep(20000);
}

/* ---- the machine ----------------------------------------------------------------------------- */

static void
cpu_name(char *name, size_t name_size)
{
    char line[256];
    FILE *file = fopen("/proc/cpuinfo", "r");

    snprintf(name, name_size, "?");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        char *colon = strchr(line, ':');

        if (strncmp(line, "model name", 10) == 0 && colon != NULL) {
            line[strcspn(line, "\n")] = '\0';
            snprintf(name, name_size, "%s", colon + 2);
            break;
        }
    }
    if (file != NULL)
        fclose(file);
}

static void
filesystem_name(const char *dir, char *name, size_t name_size)
{
    static const struct {
        unsigned magic;
        const char *name;
    } known[] = {{0xEF53, "ext4"},      {0x58465342, "xfs"},     {0x9123683E, "btrfs"},
                 {0x01021994, "tmpfs"}, {0x794c7630, "overlay"}, {0xF2F52010, "f2fs"}};
    struct statfs st;

    snprintf(name, name_size, "?");
    if (statfs(dir, &st) != 0)
        return;
    snprintf(name, name_size, "0x%x", (unsigned)st.f_type);
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (known[i].magic == (unsigned)st.f_type)
            snprintf(name, name_size, "%s", known[i].name);
    }
}

void
pb_machine_read(const char *dir, struct pb_machine *machine_out)
{
    struct utsname name;
    struct stat st;

    memset(machine_out, 0, sizeof *machine_out);
    (void)uname(&name);
    snprintf(machine_out->kernel, sizeof machine_out->kernel, "%.32s %.64s %.16s", name.sysname,
             name.release, name.machine);
    cpu_name(machine_out->cpu, sizeof machine_out->cpu);
    machine_out->cores = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
    machine_out->memory_bytes = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    filesystem_name(dir, machine_out->filesystem, sizeof machine_out->filesystem);
    if (stat(dir, &st) == 0)
        snprintf(machine_out->device, sizeof machine_out->device, "%u:%u", major(st.st_dev),
                 minor(st.st_dev));
}

/* ---- fio ------------------------------------------------------------------------------------- */

/* The n-th field (from 1) of fio's terse output, version 3. */
static double
terse_field(const char *line, int n)
{
    for (int i = 1; i < n && line != NULL; i++) {
        line = strchr(line, ';');
        line = line == NULL ? NULL : line + 1;
    }
    return line == NULL ? 0 : strtod(line, NULL);
}

bool
pb_fio(const char *dir, const char *rw, unsigned block_kib, unsigned depth, double seconds,
       struct pb_rate *rate_out)
{
    char command[900], line[4096];
    bool write = strstr(rw, "write") != NULL;
    FILE *pipe;

    memset(rate_out, 0, sizeof *rate_out);
    snprintf(command, sizeof command,
             "fio --name=limit --directory='%s' --filename=fio.limit --size=2g --rw=%s --bs=%uk "
             "--iodepth=%u --ioengine=libaio --direct=1 --time_based --runtime=%.0f --end_fsync=1 "
             "--output-format=terse --terse-version=3 2>/dev/null",
             dir, rw, block_kib, depth, seconds < 1 ? 1 : seconds);
    pipe = popen(command, "r");
    if (pipe == NULL)
        return false;
    while (fgets(line, sizeof line, pipe) != NULL) {
        if (strncmp(line, "3;", 2) != 0)
            continue;
        rate_out->bytes = terse_field(line, write ? 48 : 7) * 1024;
        rate_out->ios = terse_field(line, write ? 49 : 8);
    }
    return pclose(pipe) == 0 && rate_out->bytes > 0;
}
