/* SPDX-License-Identifier: MIT */
/** slot.h: the threads' records, as member.c and the attaching code need them. */
#ifndef CVY_REGION_SLOT_H
#define CVY_REGION_SLOT_H

#include "region/layout.h"

/** Called with the region lock held, in the transaction that frees a dead thread's slot: by
 * the layer that keeps journals in slots. */
extern void (*cvy_on_slot_death)(struct cvy_slot *slot);

/** Once per program, before the first claim. */
int cvy_slot_prepare(void);
/** Get a slot for the calling thread and lock its life word. -EAGAIN: none is free. */
int cvy_slot_claim(uint32_t *ret_owner);
/** Enter it into the member's list, as its witness if it has none. Takes the lock. */
void cvy_slot_link(uint32_t owner, uint32_t member);
/** The thread ends in order: out of the list, the life word unlocked, the slot free. */
void cvy_slot_detach(uint32_t owner);

/** The owner word of who has the slot now. */
uint32_t cvy_slot_owner(uint32_t index);
/** Whether the life word says that its thread ended otherwise than in order. */
bool cvy_slot_life_ended(uint32_t owner);

/* Region lock held: */
bool cvy_slot_is_linked(uint32_t owner);
/** Out of the list; the slot stays the thread's until it lets go. */
void cvy_slot_unlink_alive(uint32_t owner);
/** Out of the list, of a thread that is dead. Others claim free slots without the lock, so
 * it becomes free when this is committed, by the second call; cvy_slots_reclaim does it
 * if the caller dies in between. */
void cvy_slot_unlink(uint32_t index);
void cvy_slot_free_unlinked(uint32_t index);
/** Free slots that no living thread claims and that are in no list. */
void cvy_slots_reclaim(void);

/** Unlock the life word of an unlinked slot and free it. No lock needed. */
void cvy_slot_let_go(uint32_t owner);

#endif
