/* SPDX-License-Identifier: MIT */
/*
 * Guards of forks: one list, so that the order in which a fork takes the mutexes does not
 * hang on the order in which files are linked.
 */
#include "os/fork.h"

#include <stddef.h>

/* Complete before the program begins: outer ones first. */
static struct cvy_os_fork_guard *guards;

static void before_fork(void)
{
    for (struct cvy_os_fork_guard *g = guards; g; g = g->next)
        (void)pthread_mutex_lock(g->mutex);
}

static void in_parent(void)
{
    for (struct cvy_os_fork_guard *g = guards; g; g = g->next)
        (void)pthread_mutex_unlock(g->mutex);
}

/* The inner ones are free when what an outer one protects is put right. */
static void put_right(bool is_outer)
{
    for (struct cvy_os_fork_guard *g = guards; g; g = g->next) {
        if (g->is_outer != is_outer)
            continue;
        if (g->in_child)
            g->in_child();
        (void)pthread_mutex_unlock(g->mutex);
    }
}

static void in_child(void)
{
    put_right(false);
    put_right(true);
}

void cvy_os_guard_forks(struct cvy_os_fork_guard *guard)
{
    struct cvy_os_fork_guard **place = &guards;

    if (!guards)
        (void)pthread_atfork(before_fork, in_parent, in_child);
    while (!guard->is_outer && *place && (*place)->is_outer)
        place = &(*place)->next;
    guard->next = *place;
    *place = guard;
}
