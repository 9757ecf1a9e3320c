/* SPDX-License-Identifier: MIT */
/**
 * alloc.h: the family's allocator: runs of 4 KiB pages for what is big, blocks of 64 to
 * 2048 bytes for what is small. Every change goes through the undo log, so that it
 * happens whole or not at all; every run has an owner, so that what a dead process had in
 * its hands is found and freed.
 *
 *   run table:  | 5 USED . . . . | 3 FREE . TAIL | 4 SPAN . . . | ...   heap_top
 *                 first page's entry says how long; a free run's last page says it too,
 *                 so that a neighbour that becomes free finds its start
 *
 * Free runs wait in bins by the power of two of their length (segregated fit; see Wilson
 * et al., "Dynamic Storage Allocation: A Survey", 1995). They keep their memory, since a
 * page's first touch costs more than all the rest, until more than CVY_KEEP_PAGES (or a
 * quarter of the budget) are kept; then a freed run goes through limbo: out of the tables, its memory given back
 * without the lock, into a bin.
 *
 * Everything here needs the region lock, unless it says otherwise.
 */
#ifndef CVY_REGION_ALLOC_H
#define CVY_REGION_ALLOC_H

#include "region/layout.h"

#define CVY_KEEP_PAGES 16384u /* 64 MiB */

/** A run of at least `bytes`, in `state` OBJECT, MEMBER or SPAN, in its owner's list.
 * Contents are arbitrary. Returns: 0; -ENOMEM, without a detail. */
int cvy_run_take(uint64_t bytes, enum cvy_run_state state, cvy_ref owner,
                 cvy_ref *ret_ref);
/** Give back the run at `ref` and take it out of its owner's list. */
void cvy_run_give(cvy_ref ref);
/** Let the run at `ref` belong to another owner: `state` OBJECT or MEMBER. */
void cvy_run_pass(cvy_ref ref, enum cvy_run_state state, cvy_ref owner);
/** The run's entry. */
struct cvy_run *cvy_run_of(cvy_ref ref);
/** Give back the first run of a member's extents, or of an object. */
void cvy_extent_drop_first(uint32_t member_index);
void cvy_object_drop_first_run(struct cvy_object *object);

/** Whether `bytes` are at most 1/`part` of what nobody uses. */
bool cvy_alloc_is_little(uint64_t bytes, uint64_t part);

/** A block of at most 2048 bytes, zeroed. Returns: 0; -ENOMEM. */
int cvy_block_take(uint32_t bytes, cvy_ref *ret_ref);
void cvy_block_give(cvy_ref ref);

/** A run in limbo that this thread has to settle, or whose settler died; 0 if none. */
cvy_ref cvy_alloc_limbo_mine(void);
/** Give back the memory of such runs. Takes the region lock by itself. */
void cvy_alloc_settle(void);

/** Set the detail to: the budget is used up, and by which objects. Takes the lock by
 * itself. Returns: -ENOMEM. */
int cvy_fail_budget(const char *what, uint64_t bytes);

/** Check all tables against each other. Returns: NULL, or what is wrong (for tests). */
const char *cvy_alloc_check(void);

#endif
