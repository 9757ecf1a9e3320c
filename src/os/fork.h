/* SPDX-License-Identifier: MIT */
/**
 * os/fork.h: what forks of a process with threads have to find whole: part of the contract
 * with the system, os.h has its rules.
 */
#ifndef CVY_OS_FORK_H
#define CVY_OS_FORK_H

#include <pthread.h>
#include <stdbool.h>

/** A mutex that each fork takes before, and gives back after, in parent and child. */
struct cvy_os_fork_guard {
    pthread_mutex_t *mutex;
    /** In the child, before the mutex is given back; NULL: nothing is to be done. */
    void (*in_child)(void);
    /** Who has it may take others that are guarded, and those none. So forks take it
     * first, and give it back last. */
    bool is_outer;
    struct cvy_os_fork_guard *next; /* of this list alone */
};

/** Guard a mutex from now on. Only a constructor may: a fork in another thread between
 * this and a first use later on would leave the mutex taken in the child for ever. */
void cvy_os_guard_forks(struct cvy_os_fork_guard *guard);

#endif
