/* SPDX-License-Identifier: MIT */
/* held_locks.c: see held_locks.h. */
#include "manager/held_locks.h"

#include <stdio.h>
#include <string.h>

#include "base/memory.h"

struct cvy_held_lock {
    struct cvy_held_lock *next;
    unsigned count; /* of an RLock or a semaphore it may be many */
    char ident[CVY_IDENT_MAX + 1];
};

/* Its place, or the end of the list. */
static struct cvy_held_lock **place_of(struct cvy_held_locks *held, const char *ident)
{
    struct cvy_held_lock **place = &held->first;
    while (*place && strcmp((*place)->ident, ident) != 0)
        place = &(*place)->next;
    return place;
}

void cvy_held_locks_add(struct cvy_held_locks *held, const char *ident)
{
    struct cvy_held_lock **place = place_of(held, ident);
    if (!*place && (*place = cvy_calloc(1, sizeof **place)))
        (void)snprintf((*place)->ident, sizeof(*place)->ident, "%s", ident);
    if (*place)
        (*place)->count++;
    else
        held->nameless++;
}

bool cvy_held_locks_take(struct cvy_held_locks *held, const char *ident)
{
    struct cvy_held_lock **place = place_of(held, ident), *one = *place;
    if (!one)
        return false;
    if (!--one->count) {
        *place = one->next;
        cvy_free(one);
    }
    return true;
}

unsigned cvy_held_locks_count(const struct cvy_held_locks *held)
{
    unsigned count = held->nameless;
    for (const struct cvy_held_lock *one = held->first; one; one = one->next)
        count += one->count;
    return count;
}

void cvy_held_locks_clear(struct cvy_held_locks *held)
{
    while (held->first) {
        struct cvy_held_lock *one = held->first;
        held->first = one->next;
        cvy_free(one);
    }
    held->nameless = 0;
}
