/* SPDX-License-Identifier: MIT */
/**
 * region.h: the family's memory as a whole: founding it, mapping it in a child, and the
 * descriptor that is passed on.
 */
#ifndef CVY_REGION_REGION_H
#define CVY_REGION_REGION_H

#include "region/layout.h"

#include <covey/process.h>

/** What a child must know to map the region; travels in its start message. */
struct cvy_region_ticket {
    uint64_t base, reservation, device, inode;
};

/** Make the region and its first member, the calling process. Detail set on failure. */
int cvy_region_found(void);
/** Undo cvy_region_found or cvy_region_map. */
void cvy_region_abandon(void);
/** Map the region of `ticket` from `fd`, which then belongs to the region. -EEXIST with
 * the detail set when something else lies at its address. */
int cvy_region_map(const struct cvy_region_ticket *ticket, int fd);
/** Move the region's descriptor above these numbers if it has one of them. */
int cvy_region_make_way(const int32_t *numbers, size_t count);
/** The ticket and the descriptor to pass with it, checked to be still ours; COVEY_ESTATE
 * when the program closed or replaced it. */
int cvy_region_ticket(struct cvy_region_ticket *ret_ticket, int *ret_fd);
/** Give free memory back to the system now, not when it is worth while. */
void cvy_region_trim(void);
/** Options for founding; see covey_family_configure. */
extern struct covey_family_opts cvy_family_opts;

/** Called when a process that is not (yet) a member attaches: by the layer that knows
 * processes, to enter what it keeps per process. Set before the first attach. */
extern void (*cvy_on_attach)(void);

#endif
