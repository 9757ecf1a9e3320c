/* SPDX-License-Identifier: MIT */
/*
 * leftover.c: the names that covey made, and those of them whose users have died.
 *
 * Looking takes the exclusive lock for an instant where nobody uses the name. Who wants
 * to open it or leaves it meanwhile tries again, see users.h.
 */
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "memory/memory.h"
#include "memory/users.h"
#include "os/os.h"

static int fail(int code, const char *call)
{
    if (code == -ENOSYS)
        return cvy_fail(code, "%s: there is no /dev/shm here", call);
    return cvy_fail_os(code, "%s: the names of /dev/shm", call);
}

/* Returns: a descriptor if covey made it; -ENOENT if not, or if it is not to be opened by
 * this user; what keeps every name from being opened: -EMFILE, -ENFILE, -ENOMEM. */
static int open_marked(const char *name, struct cvy_os_shm_info *ret_info)
{
    int fd = cvy_os_shm_open(name, false);

    if (fd == -EMFILE || fd == -ENFILE || fd == -ENOMEM)
        return fd;
    if (fd < 0)
        return -ENOENT;
    if (cvy_os_shm_info(fd, ret_info) == 0 && ret_info->is_memory &&
        ret_info->is_marked && ret_info->is_named)
        return fd;
    cvy_os_close(fd);
    return -ENOENT;
}

struct listing {
    covey_memory_list_fn *fn;
    void *context;
    int result; /* the first of `fn` that is not 0 */
    int error;  /* which ended the walk */
};

static int list_one(void *context, const char *name)
{
    struct listing *listing = context;
    struct cvy_os_shm_info info;
    struct covey_memory_entry entry = {.name = name};
    int fd = open_marked(name, &info);

    if (fd == -ENOENT)
        return 0;
    if (fd < 0)
        return listing->error = fd;
    entry.bytes = info.size;
    entry.in_use = cvy_os_shm_lock(fd, true) < 0;
    cvy_os_close(fd);
    listing->result = listing->fn(listing->context, &entry);
    return listing->result != 0;
}

int covey_memory_list(covey_memory_list_fn *fn, void *ctx)
{
    struct listing listing = {fn, ctx, 0, 0};
    int r;

    if (!fn)
        return cvy_fail(-EINVAL, "covey_memory_list: there is no function to tell");
    r = cvy_os_shm_each(list_one, &listing);
    if (r >= 0)
        r = listing.error;
    return r < 0 ? fail(r, "covey_memory_list") : listing.result;
}

struct cleaning {
    const char *prefix;
    size_t count;
    int error; /* which ended the walk */
};

static int clean_one(void *context, const char *name)
{
    struct cleaning *cleaning = context;
    struct cvy_os_shm_info info;
    int fd;

    if (strncmp(name, cleaning->prefix, strlen(cleaning->prefix)) != 0)
        return 0;
    fd = open_marked(name, &info);
    if (fd < 0)
        return cleaning->error = fd == -ENOENT ? 0 : fd;
    if (cvy_users_leave(fd, name, &info) > 0)
        cleaning->count++;
    return 0;
}

int covey_memory_clean(const char *prefix, size_t *ret_count)
{
    struct cleaning cleaning = {prefix ? prefix : "", 0, 0};
    int r;

    while (*cleaning.prefix == '/')
        cleaning.prefix++;
    r = cvy_os_shm_each(clean_one, &cleaning);
    if (r >= 0)
        r = cleaning.error;
    if (r < 0)
        return fail(r, "covey_memory_clean");
    if (ret_count)
        *ret_count = cleaning.count;
    return 0;
}
