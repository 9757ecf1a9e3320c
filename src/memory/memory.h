/* SPDX-License-Identifier: MIT */
/**
 * memory/memory.h: what the files of named memory share, and what the end of a process
 * calls.
 *
 *   memory.c          handles: create, open, close, unlink
 *   users.c           who uses a name, who is the last, and removing it
 *   leftover.c        names whose users have died
 *   roster.c          what this process has open
 *   slots.c           the layout of a shareable list
 *   shareable_list.c  its calls
 */
#ifndef CVY_MEMORY_MEMORY_H
#define CVY_MEMORY_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

#include "memory/roster.h"

#include <covey/memory.h>

/** Fills memory before anybody else sees it. Returns: 0; negative, and nothing is made. */
typedef int cvy_memory_fill_fn(void *data, void *context);

/** covey_memory_create for the public function `call`; `fill` may be NULL. */
int cvy_memory_create(covey_memory **out, const char *name, size_t size,
                      const struct covey_memory_opts *opts, const char *call,
                      cvy_memory_fill_fn *fill, void *context);

bool cvy_memory_is_writable(const covey_memory *memory);

/** Make it as with `.keep`: its name does not go with its last user any more. */
int cvy_memory_keep(covey_memory *memory);
/** Remove the name; its maker fails, and the detail of that stays. */
void cvy_memory_undo(covey_memory *memory);
/** Which file it is. */
void cvy_memory_file(const covey_memory *memory, uint64_t *ret_device,
                     uint64_t *ret_inode);
/** Remove the name if it is this file's, whoever uses it. Async-signal-safe, but for the
 * thread's detail. Returns: 0; -ENOENT; as covey_memory_unlink. */
int cvy_memory_unlink_file(const char *name, uint64_t device, uint64_t inode);

/**
 * The process ends: give up the use of all memory, and remove the names that it was the
 * last to use. The memory itself stays where it is, for threads that still run. libc's
 * exit() does it by itself.
 */
void cvy_memory_end(void);

/** The same for children that leave without exit(), most of which never had any. */
static inline void cvy_memory_end_if_used(void)
{
    if (atomic_load_explicit(&cvy_roster_is_used, memory_order_relaxed))
        cvy_memory_end();
}

#endif
