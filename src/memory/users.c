/* SPDX-License-Identifier: MIT */
/* users.c: see users.h. */
#include "memory/users.h"

#include <errno.h>

#include "os/os.h"

#define PATIENCE COVEY_SEC(1)
#define NAP      COVEY_USEC(200)

bool cvy_users_nap(int64_t deadline)
{
    cvy_word word = 0;
    int64_t now = cvy_os_now();

    if (now >= deadline)
        return false;
    (void)cvy_os_futex_waitv(&(struct cvy_os_wait){&word, 0}, 1, now + NAP);
    return true;
}

/* Returns: 0; -EAGAIN to be tried again; what else is wrong. */
static int try_join(const char *name, bool writable, int *ret_fd,
                    struct cvy_os_shm_info *ret_info)
{
    int fd = cvy_os_shm_open(name, writable), r;

    if (fd < 0)
        return fd;
    r = cvy_os_shm_lock(fd, false);
    if (r == 0)
        r = cvy_os_shm_info(fd, ret_info);
    if (r == 0 && !ret_info->is_named)
        r = -EAGAIN;
    if (r < 0)
        cvy_os_close(fd);
    else
        *ret_fd = fd;
    return r;
}

int cvy_users_join(const char *name, bool writable, int *ret_fd,
                   struct cvy_os_shm_info *ret_info)
{
    int64_t deadline = 0;
    int r;

    while ((r = try_join(name, writable, ret_fd, ret_info)) == -EAGAIN) {
        if (!deadline)
            deadline = cvy_os_deadline(PATIENCE);
        if (!cvy_users_nap(deadline))
            return -EBUSY;
    }
    return r;
}

/* By the third rule a failure is final only if it is a user's lock that is in the way.
 * The exchange of the shared lock for the exclusive one drops the former, so that of two
 * who leave together the later one succeeds. */
bool cvy_users_are_none(int fd)
{
    int64_t deadline = 0;

    while (cvy_os_shm_lock(fd, true) < 0) {
        if (cvy_os_shm_lock(fd, false) == 0)
            return cvy_os_shm_lock(fd, true) == 0;
        if (!deadline)
            deadline = cvy_os_deadline(PATIENCE);
        if (!cvy_users_nap(deadline))
            return false;
    }
    return true;
}

int cvy_users_leave(int fd, const char *name, const struct cvy_os_shm_info *info)
{
    struct cvy_os_shm_info now;
    int r = 0;

    if (info->is_marked && cvy_users_are_none(fd)) {
        r = cvy_os_shm_info(fd, &now);
        if (r == 0 && now.is_named)
            r = cvy_os_shm_unlink(name);
        if (r == 0)
            r = now.is_named;
        if (r < 0)
            cvy_os_shm_unlock(fd); /* a map of `fd` would keep it */
    }
    cvy_os_close(fd);
    return r;
}

int cvy_users_remove(int fd, const char *name, const struct cvy_os_shm_info *info)
{
    int64_t deadline = cvy_os_deadline(PATIENCE);
    struct cvy_os_shm_info now;
    int r;

    while ((r = cvy_os_shm_lock_name(fd)) == -EAGAIN && cvy_users_nap(deadline))
        continue;
    if (r == 0)
        r = cvy_os_shm_info(fd, &now);
    if (r == 0)
        r = now.is_named ? cvy_os_shm_unlink(name) : -ENOENT;
    if (r < 0)
        (void)cvy_users_leave(fd, name, info);
    else
        cvy_os_close(fd);
    return r == -EAGAIN ? -EBUSY : r;
}
