/* SPDX-License-Identifier: Apache-2.0 */
/* gigatest/giga_machine.c -- see giga_machine.h. */
#include "gigatest/giga_machine.h"

#include <libgen.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <unistd.h>

#ifndef GIGA_COMMIT /* from the Makefile */
#define GIGA_COMMIT ""
#endif

#ifdef __clang__
#define COMPILER "clang " __clang_version__
#else
#define COMPILER "gcc " __VERSION__
#endif

#define PATH_BYTES 4096

static void
text_set(char text[GIGA_MACHINE_TEXT], const char *from)
{
    size_t size;

    from += strspn(from, " \t");
    size = strcspn(from, "\n");
    while (size > 0 && from[size - 1] == ' ')
        size--;
    snprintf(text, GIGA_MACHINE_TEXT, "%.*s", (int)(size < 150 ? size : 150), from);
    if (size == 0)
        snprintf(text, GIGA_MACHINE_TEXT, "unknown");
}

/* The first line of a small file; false: none. */
static bool
line_read(const char *path, char *line, int line_size)
{
    FILE *in = fopen(path, "re");
    bool good;

    if (in == NULL)
        return false;
    good = fgets(line, line_size, in) != NULL;
    fclose(in);
    return good;
}

static void
cpu_learn(struct giga_machine *machine)
{
    static const char *const names[] = {"model name", "Model", "cpu model", "Processor"};
    FILE *in = fopen("/proc/cpuinfo", "re");
    char line[512];

    text_set(machine->cpu, "");
    while (in != NULL && fgets(line, sizeof(line), in) != NULL) {
        const char *colon = strchr(line, ':');

        for (unsigned i = 0; colon != NULL && i < sizeof(names) / sizeof(*names); i++) {
            if (strncmp(line, names[i], strlen(names[i])) == 0) {
                text_set(machine->cpu, colon + 1);
                fclose(in);
                return;
            }
        }
    }
    if (in != NULL)
        fclose(in);
}

static void
system_learn(struct giga_machine *machine)
{
    struct utsname name;
    cpu_set_t cores;
    long pages = sysconf(_SC_PHYS_PAGES);
    long online = sysconf(_SC_NPROCESSORS_ONLN);

    machine->cores = online > 0 ? (uint32_t)online : 0;
    if (sched_getaffinity(0, sizeof(cores), &cores) == 0)
        machine->cores = (uint32_t)CPU_COUNT(&cores);
    machine->memory_bytes = pages > 0 ? (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
    text_set(machine->kernel, "");
    if (uname(&name) == 0)
        snprintf(machine->kernel, GIGA_MACHINE_TEXT, "%.30s %.80s %.30s", name.sysname,
                 name.release, name.machine);
}

/*
 * The mount of a device number, by /proc/self/mountinfo (proc(5)): ID, parent, MAJOR:MINOR, root,
 * mount point, options, ... "-" TYPE SOURCE options.
 */
static void
mount_learn(struct giga_machine *machine, dev_t dev)
{
    FILE *in = fopen("/proc/self/mountinfo", "re");
    unsigned wanted_major = major(dev), wanted_minor = minor(dev);
    char line[PATH_BYTES];

    while (in != NULL && fgets(line, sizeof(line), in) != NULL) {
        const char *behind = strstr(line, " - ");
        char type[64], source[128];
        unsigned major_now, minor_now;

        if (behind == NULL || sscanf(line, "%*d %*d %u:%u ", &major_now, &minor_now) != 2 ||
            major_now != wanted_major || minor_now != wanted_minor ||
            sscanf(behind, " - %63s %127s", type, source) != 2)
            continue;
        text_set(machine->file_system, type);
        text_set(machine->device, source);
        break;
    }
    if (in != NULL)
        fclose(in);
}

/* Model and kind of a block device; a partition has those of its disk. */
static void
device_learn(struct giga_machine *machine, dev_t dev)
{
    static const char *const places[] = {"", "/.."};
    char path[128], line[128], model[64];

    for (unsigned i = 0; i < sizeof(places) / sizeof(*places); i++) {
        size_t used = strlen(machine->device);

        snprintf(path, sizeof(path), "/sys/dev/block/%u:%u%s/queue/rotational", major(dev),
                 minor(dev), places[i]);
        if (!line_read(path, line, sizeof(line)))
            continue;
        snprintf(path, sizeof(path), "/sys/dev/block/%u:%u%s/device/model", major(dev), minor(dev),
                 places[i]);
        if (!line_read(path, model, sizeof(model)))
            model[0] = 0;
        model[strcspn(model, "\n")] = 0;
        for (size_t end = strlen(model); end > 0 && model[end - 1] == ' '; end--)
            model[end - 1] = 0;
        snprintf(machine->device + used, GIGA_MACHINE_TEXT - used, "%s%s, %s",
                 model[0] != 0 ? ", " : "", model, line[0] == '1' ? "rotating" : "not rotating");
        return;
    }
}

void
giga_machine_learn(struct giga_machine *machine, const char *path)
{
    char copy[PATH_BYTES];
    struct stat info;

    memset(machine, 0, sizeof(*machine));
    machine->compiler = COMPILER;
    machine->commit = GIGA_COMMIT[0] != 0 ? GIGA_COMMIT : "unknown";
    cpu_learn(machine);
    system_learn(machine);
    text_set(machine->file_system, "");
    text_set(machine->device, "");
    snprintf(copy, sizeof(copy), "%s", path);
    if (stat(path, &info) != 0 && stat(dirname(copy), &info) != 0)
        return;
    mount_learn(machine, info.st_dev);
    device_learn(machine, info.st_dev);
}
