/* SPDX-License-Identifier: MIT */
/**
 * memory/roster.h: the memories that this process has open, for its end.
 *
 * Without locks, so that a fork child can use it whatever other threads were doing.
 */
#ifndef CVY_MEMORY_ROSTER_H
#define CVY_MEMORY_ROSTER_H

#include <stdatomic.h>

struct covey_memory;

typedef _Atomic(struct covey_memory *) cvy_seat;

/** Take a seat for it. NULL: there is no memory. */
cvy_seat *cvy_roster_add(struct covey_memory *memory);
/** Whether there ever was one, in this process or those it is a fork of. */
extern _Atomic unsigned char cvy_roster_is_used;
/** Call `fn` for each, and forget it. */
void cvy_roster_clear(void (*fn)(struct covey_memory *memory));

#endif
