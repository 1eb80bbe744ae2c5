/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ftk/fork.h -- how often this process is the child of a fork, and what is begun anew in one.
 *
 * Files, locks and threads of kiln stay with the process that opened them.  Who keeps the count
 * from the time when it opened something knows by comparing whether that was before a fork, in
 * another process.  Counted from the first file opened on; implemented in disk_lock.c.
 */
#ifndef FTK_FORK_H
#define FTK_FORK_H

#include <stdatomic.h>

extern _Atomic unsigned ftk__forks; /* written in the child, before fork returns there */

static inline unsigned
ftk_forks(void)
{
    return atomic_load_explicit(&ftk__forks, memory_order_relaxed);
}

/*
 * From now on `begin_anew` is called in each child of a fork, on its one thread, before fork
 * returns there: for what a process has once.  Threads of the parent may have been anywhere in it,
 * with its locks held.  The same function again: nothing happens.
 */
void ftk_fork_in_child(void (*begin_anew)(void));

#endif
