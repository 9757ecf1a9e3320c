/* SPDX-License-Identifier: MIT */
/**
 * memory/users.h: who uses a name, and who is the last.
 *
 * A file's users hold its lock shared, through their maps. Three rules keep a name from
 * being removed under a user, and from being forgotten by the last:
 *
 *   1. A name that is marked is removed by who holds the lock exclusively, or by request
 *      (cvy_users_remove) under the shared lock and the name lock.
 *   2. Who opens a name takes the lock and then looks whether the file still has a name;
 *      if not it opens again.
 *   3. Whoever gives up a shared lock tries for the exclusive one afterwards, and goes on
 *      trying while somebody else holds it exclusively: that one may only be looking.
 *
 * Links are counted by the system, and nobody renames such files: a file that was opened
 * by a name and has a link still has that name.
 */
#ifndef CVY_MEMORY_USERS_H
#define CVY_MEMORY_USERS_H

#include <stdbool.h>

#include "os/shm.h"

/**
 * Open the file `name` and become a user of it.
 * Returns: 0; -EBUSY if a lock stays held that is only ever held for an instant; the
 *          errors of cvy_os_shm_open.
 * Blocks:  at most 1 s.
 */
int cvy_users_join(const char *name, bool writable, int *ret_fd,
                   struct cvy_os_shm_info *ret_info);

/**
 * Take the lock exclusively if no one uses the file. In any case the shared lock of this
 * open file is gone. Blocks: at most 1 s.
 */
bool cvy_users_are_none(int fd);

/**
 * Give up the lock of `fd`, remove the name if that was the last and the file is marked,
 * as `info` says, and close. Returns: 1 it removed the name; 0; what was in the way.
 */
int cvy_users_leave(int fd, const char *name, const struct cvy_os_shm_info *info);

/**
 * Remove the name, whoever uses the file, and close `fd`, which is writable and came from
 * cvy_users_join. Returns: 0; -ENOENT; -EBUSY; the errors of cvy_os_shm_unlink.
 * Blocks: at most 1 s.
 */
int cvy_users_remove(int fd, const char *name, const struct cvy_os_shm_info *info);

/** Sleep for a moment, unless `deadline` has passed. Returns: whether it has not. */
bool cvy_users_nap(int64_t deadline);

#endif
