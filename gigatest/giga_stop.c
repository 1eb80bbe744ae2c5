/* SPDX-License-Identifier: Apache-2.0 */
/* gigatest/giga_stop.c -- see giga_stop.h. */
#include "gigatest/giga_stop.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

static atomic_int stop_signal; /* lock-free: written by the handler */

static const int asked[] = {SIGINT, SIGTERM, SIGHUP};

static void
on_signal(int number)
{
    giga_stop_request(number);
}

static void
mask(int how)
{
    sigset_t set;

    sigemptyset(&set);
    for (unsigned i = 0; i < sizeof(asked) / sizeof(*asked); i++)
        sigaddset(&set, asked[i]);
    sigaddset(&set, SIGTSTP);
    sigaddset(&set, SIGWINCH);
    pthread_sigmask(how, &set, NULL);
}

void
giga_stop_install(void)
{
    struct sigaction action;

    memset(&action, 0, sizeof(action));
    action.sa_handler = on_signal;
    sigemptyset(&action.sa_mask);
    for (unsigned i = 0; i < sizeof(asked) / sizeof(*asked); i++) {
        struct sigaction old;

        /* nohup and shells' background jobs ignore some: let them */
        if (sigaction(asked[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
            sigaction(asked[i], &action, NULL);
    }
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, NULL);
    mask(SIG_BLOCK);
}

void
giga_stop_listen(void)
{
    mask(SIG_UNBLOCK);
}

void
giga_stop_request(int signal_number)
{
    int none = 0;

    atomic_compare_exchange_strong(&stop_signal, &none, signal_number);
}

int
giga_stop_signal(void)
{
    return atomic_load_explicit(&stop_signal, memory_order_relaxed);
}

void
giga_stop_reset(void)
{
    atomic_store(&stop_signal, 0);
}
