/* SPDX-License-Identifier: MIT */
/** manager/held_locks.h: which locks and permits of a manager belong to a connection to it, as
 * far as this process's calls tell. */
#ifndef CVY_MANAGER_HELD_LOCKS_H
#define CVY_MANAGER_HELD_LOCKS_H

#include "manager/client.h"

struct cvy_held_lock;

struct cvy_held_locks {
    struct cvy_held_lock *first;
    unsigned nameless; /* there was no memory for their names */
};

/** One more has been acquired, of the object with this name. */
void cvy_held_locks_add(struct cvy_held_locks *held, const char *ident);
/** One has been released. Returns: whether it was one of these. */
bool cvy_held_locks_take(struct cvy_held_locks *held, const char *ident);
unsigned cvy_held_locks_count(const struct cvy_held_locks *held);
void cvy_held_locks_clear(struct cvy_held_locks *held);

#endif
