/* SPDX-License-Identifier: MIT */
/**
 * memory/roster.h: the memories that this process has open, for its end.
 *
 * Without locks, so that a fork child can use it whatever other threads were doing.
 */
#ifndef CVY_MEMORY_ROSTER_H
#define CVY_MEMORY_ROSTER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct covey_memory;

/** Who sits there: 0 nobody; a memory's address; that and 1 once the end of the process
 * looks after it. It stays to be seen then: for leak checkers it is not lost. */
typedef _Atomic uintptr_t cvy_seat;

/** Take a seat for it. NULL: there is no memory. */
cvy_seat *cvy_roster_add(struct covey_memory *memory);
/** Leave the seat. Returns: false if the end of the process was faster, whose it is now. */
bool cvy_roster_remove(cvy_seat *seat, struct covey_memory *memory);
/** Whether there ever was one, in this process or those it is a fork of. */
extern _Atomic unsigned char cvy_roster_is_used;
/** The process ends: call `fn` for each, once. */
void cvy_roster_end(void (*fn)(struct covey_memory *memory));

#endif
