/* SPDX-License-Identifier: Apache-2.0 */
/* gigatest/giga_machine.h -- where a run was made: figures without it say little. */
#ifndef GIGATEST_GIGA_MACHINE_H
#define GIGATEST_GIGA_MACHINE_H

#include <stdint.h>

#define GIGA_MACHINE_TEXT 160

/* Texts are "unknown" where the system does not tell. */
struct giga_machine {
    char cpu[GIGA_MACHINE_TEXT];
    uint32_t cores;        /* that this process may use */
    uint64_t memory_bytes; /* of the machine */
    char kernel[GIGA_MACHINE_TEXT];
    char file_system[GIGA_MACHINE_TEXT]; /* of the database's directory: "ext4" */
    char device[GIGA_MACHINE_TEXT];      /* below it: "/dev/nvme0n1p2, some model, not rotating" */
    const char *compiler;
    const char *commit; /* of the source, as git names it; "unknown": not built in a git tree */
};

/* path: the database's directory, which need not be there: its parent counts then. */
void giga_machine_learn(struct giga_machine *machine, const char *path);

#endif
