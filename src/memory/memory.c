/* SPDX-License-Identifier: MIT */
/*
 * memory.c: handles of named memory.
 *
 * A handle is open, with a map and a seat in the roster, or closed, with neither. The
 * descriptor is closed as soon as the map exists: the map keeps the file open, and with
 * it the lock that makes this process a user. So an open memory costs no descriptor, and
 * a program that closes descriptors which are not its own does not end the use.
 */
#include "memory/memory.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/opts.h"
#include "memory/roster.h"
#include "memory/users.h"
#include "os/os.h"

#define EMPTY_PATIENCE COVEY_MSEC(100)
#define OWN_NAME_SIZE  sizeof("covey_01234567")
/* From here on asking how much memory there is does not matter. */
#define LARGE ((uint64_t)64 << 20)

struct covey_memory {
    void *data; /* NULL: closed */
    cvy_seat *seat;
    struct cvy_os_shm_info file;
    uint64_t mapped;
    bool is_writable;
    bool is_removed; /* the name, by the close of this handle */
    char name[CVY_OS_SHM_NAME + 1];
};

/* ---- names and options ----------------------------------------------------------- */

/* The part of a name behind its leading slashes; NULL, and the code, if it is none. */
static const char *check_name(const char *name, const char *call, int *ret_error)
{
    const char *rest = name;

    *ret_error = -EINVAL;
    if (!name) {
        (void)cvy_fail(-EINVAL, "%s: the name is NULL", call);
        return NULL;
    }
    while (*rest == '/')
        rest++;
    if (!*rest || strchr(rest, '/') || !strcmp(rest, ".") || !strcmp(rest, "..")) {
        (void)cvy_fail(-EINVAL, "%s: '%s' is no name for memory", call, name);
        return NULL;
    }
    if (strlen(rest) > CVY_OS_SHM_NAME) {
        *ret_error = cvy_fail(-ENAMETOOLONG, "%s: a name has at most %d bytes", call,
                              CVY_OS_SHM_NAME);
        return NULL;
    }
    return rest;
}

static int take_opts(struct covey_memory_opts *o, const struct covey_memory_opts *opts,
                     bool creates, const char *call)
{
    int r = CVY_TAKE_OPTS(o, opts, call);

    if (r >= 0)
        r = CVY_CHECK_SWITCHES(call, {".readonly", o->readonly}, {".keep", o->keep},
                               {".sparse", o->sparse});
    if (r < 0)
        return r;
    if (creates && o->readonly == COVEY_ON)
        return cvy_fail(-EINVAL, "%s: .readonly is for covey_memory_open", call);
    if (!creates && (o->keep == COVEY_ON || o->sparse == COVEY_ON || o->permissions))
        return cvy_fail(
            -EINVAL, "%s: .keep, .sparse and .permissions are for its creator", call);
    if (!o->permissions)
        o->permissions = 0600;
    if ((o->permissions & 0600U) != 0600 || o->permissions > 0777)
        return cvy_fail(-EINVAL, "%s: permissions 0%o are not 0600 and more", call,
                        o->permissions);
    return 0;
}

static void make_own_name(char name[CVY_OS_SHM_NAME + 1])
{
    uint32_t number;

    if (cvy_os_random(&number, sizeof(number)) < 0) /* it need not be secret */
        number = (uint32_t)cvy_os_now() ^ (uint32_t)cvy_os_pid() << 16;
    snprintf(name, OWN_NAME_SIZE, "covey_%08" PRIx32, number);
}

/* ---- a handle -------------------------------------------------------------------- */

static void unmap(struct covey_memory *m)
{
    (void)cvy_os_unmap(m->data, m->mapped);
    m->data = NULL;
}

/* Map the file that `fd` is a user of. */
static int map(struct covey_memory *m, int fd, const struct cvy_os_shm_info *info)
{
    int r;

    m->file = *info;
    m->mapped = cvy_round_up(info->size, cvy_os_page_size());
    r = cvy_os_shm_map(fd, m->mapped, m->is_writable, NULL, &m->data);
    if (r < 0)
        return r;
    m->seat = cvy_roster_add(m);
    if (!m->seat)
        unmap(m);
    return m->seat ? 0 : -ENOMEM;
}

static bool is_same(const struct cvy_os_shm_info *a, const struct cvy_os_shm_info *b)
{
    return a->device == b->device && a->inode == b->inode;
}

/* Open the file once more, if the name still is its; else `*ret_fd` is -1. */
static int reopen(const struct covey_memory *m, bool writable, int *ret_fd)
{
    struct cvy_os_shm_info info;
    int fd = cvy_os_shm_open(m->name, writable), r;

    *ret_fd = -1;
    if (fd < 0)
        return fd == -ENOENT || fd == -ENOSYS ? 0 : fd;
    r = cvy_os_shm_info(fd, &info);
    if (r == 0 && is_same(&info, &m->file))
        *ret_fd = fd;
    else
        cvy_os_close(fd);
    return r;
}

int covey_memory_close(covey_memory *memory)
{
    int fd = -1, r = 0;

    if (!memory)
        return cvy_fail(-EINVAL, "covey_memory_close: there is no memory");
    if (!memory->data)
        return 0;
    if (!cvy_roster_remove(memory->seat, memory))
        return 0; /* the process ends, and its end looks after it */
    if (memory->file.is_marked)
        r = reopen(memory, false, &fd);
    unmap(memory);
    if (fd >= 0)
        r = cvy_users_leave(fd, memory->name, &memory->file);
    memory->is_removed = r > 0;
    if (r < 0)
        return cvy_fail_os(r, "covey_memory_close: the name '%s' may be left",
                           memory->name);
    return 0;
}

void covey_memory_free(covey_memory *memory)
{
    if (!memory)
        return;
    (void)covey_memory_close(memory);
    if (!memory->data)
        cvy_free(memory);
}

/* The last user must not go before its threads do, so the map is replaced by one that is
 * no user. */
static void leave_at_end(struct covey_memory *m)
{
    void *same;
    int fd;

    if (!m->file.is_marked || reopen(m, m->is_writable, &fd) < 0 || fd < 0)
        return;
    if (cvy_os_shm_map(fd, m->mapped, m->is_writable, m->data, &same) < 0)
        cvy_os_close(fd);
    else
        (void)cvy_users_leave(fd, m->name, &m->file);
}

void cvy_memory_end(void)
{
    cvy_roster_end(leave_at_end);
}

/* The last thing that libc's exit() does: after all handlers, which may use memory. */
__attribute__((destructor)) static void at_exit(void)
{
    cvy_memory_end();
}

/* ---- create ---------------------------------------------------------------------- */

/* Remove the name if all its users have died. Returns: whether it can be had now. */
static bool take_over(const char *name)
{
    struct cvy_os_shm_info info;
    int fd = cvy_os_shm_open(name, false), r;

    if (fd < 0)
        return fd == -ENOENT;
    r = cvy_os_shm_info(fd, &info);
    if (r == 0 && info.is_memory)
        return cvy_users_leave(fd, name, &info) > 0 || !info.is_named;
    cvy_os_close(fd);
    return false;
}

/* Put the draft under the handle's name, or under one of its own. */
static int publish(struct covey_memory *m, struct cvy_os_shm_draft *draft)
{
    bool own_name = !m->name[0];
    int r;

    do {
        if (own_name)
            make_own_name(m->name);
        r = cvy_os_shm_publish(draft, m->name);
    } while (r == -EEXIST && (own_name || take_over(m->name)));
    if (r < 0 && own_name)
        m->name[0] = 0;
    return r;
}

/* What is asked of create. */
struct order {
    const char *call;
    const char *name; /* "": one of its own */
    size_t size;
    struct covey_memory_opts opts;
    cvy_memory_fill_fn *fill;
    void *context;
};

/* Publishing is the last step: before it there is nothing to be found, or to be left. */
static int create_once(struct covey_memory *m, const struct order *order)
{
    struct cvy_os_shm_draft draft;
    struct cvy_os_shm_info info;
    int r =
        cvy_os_shm_draft(order->size, order->opts.permissions,
                         (order->opts.keep == COVEY_ON ? 0 : CVY_OS_SHM_MARKED) |
                             (order->opts.sparse == COVEY_ON ? CVY_OS_SHM_SPARSE : 0),
                         &draft);

    if (r < 0)
        return r;
    r = cvy_os_shm_info(draft.fd, &info);
    if (r == 0)
        r = map(m, draft.fd, &info);
    if (r == 0 && order->fill)
        r = order->fill(m->data, order->context);
    if (r == 0)
        r = publish(m, &draft);
    if (r < 0 && m->data && cvy_roster_remove(m->seat, m))
        unmap(m);
    cvy_os_shm_drop(&draft);
    return r;
}

static int fail_create(int code, const struct order *order)
{
    if (code == -EEXIST)
        return cvy_fail(code, "%s: the name '%s' is in use", order->call, order->name);
    if (code == -ENOSYS)
        return cvy_fail(code, "%s: there is no /dev/shm here", order->call);
    return cvy_fail_os(code, "%s: '%s' of %zu bytes", order->call, order->name,
                       order->size);
}

static int create(covey_memory **out, const struct order *order)
{
    struct covey_memory *m;
    int r;

    /* Where a cgroup has less, reserving would end in a kill. */
    if (order->size >= LARGE && order->opts.sparse != COVEY_ON &&
        order->size > cvy_os_memory_limit())
        return fail_create(-ENOMEM, order);
    m = cvy_calloc(1, sizeof(*m));
    if (!m)
        return fail_create(-ENOMEM, order);
    m->is_writable = true;
    strncat(m->name, order->name, CVY_OS_SHM_NAME);
    do
        r = create_once(m, order);
    while (r == -EAGAIN);
    if (r < 0) {
        if (!m->data)
            cvy_free(m);
        return fail_create(r, order);
    }
    *out = m;
    return 0;
}

int cvy_memory_create(covey_memory **out, const char *name, size_t size,
                      const struct covey_memory_opts *opts, const char *call,
                      cvy_memory_fill_fn *fill, void *context)
{
    struct order order = {call, "", size, {0}, fill, context};
    int r = take_opts(&order.opts, opts, true, call);

    if (r < 0)
        return r;
    if (!out || !size)
        return cvy_fail(-EINVAL, "%s: %s", call,
                        out ? "a size of 0" : "no room for the handle");
    if (name)
        order.name = check_name(name, call, &r);
    return order.name ? create(out, &order) : r;
}

int covey_memory_create(covey_memory **out, const char *name, size_t size,
                        const struct covey_memory_opts *opts)
{
    return cvy_memory_create(out, name, size, opts, "covey_memory_create", NULL, NULL);
}

/* ---- open ------------------------------------------------------------------------ */

/* What a maker does between shm_open and ftruncate takes it microseconds. */
static int join_sized(const char *name, bool writable, int *ret_fd,
                      struct cvy_os_shm_info *ret_info)
{
    int64_t deadline = cvy_os_deadline(EMPTY_PATIENCE);
    int r;

    while ((r = cvy_users_join(name, writable, ret_fd, ret_info)) == 0) {
        if (ret_info->is_memory && ret_info->size)
            return 0;
        (void)cvy_users_leave(*ret_fd, name, ret_info);
        if (!ret_info->is_memory)
            return -ENODEV;
        if (!cvy_users_nap(deadline))
            return COVEY_ESTATE;
    }
    return r;
}

static int open_memory(struct covey_memory *m)
{
    struct cvy_os_shm_info info;
    int fd, r = join_sized(m->name, m->is_writable, &fd, &info);

    if (r < 0)
        return r;
    r = map(m, fd, &info);
    if (r < 0)
        (void)cvy_users_leave(fd, m->name, &info);
    else
        cvy_os_close(fd);
    return r;
}

static int fail_open(int code, const char *name)
{
    static const char call[] = "covey_memory_open";

    if (code == COVEY_ESTATE)
        return cvy_fail(code, "%s: '%s' is empty: its maker is not ready or died", call,
                        name);
    if (code == -ENODEV)
        return cvy_fail(code, "%s: '%s' is no memory", call, name);
    if (code == -ENOSYS)
        return cvy_fail(code, "%s: there is no /dev/shm here", call);
    return cvy_fail_os(code, "%s: '%s'", call, name);
}

int covey_memory_open(covey_memory **out, const char *name,
                      const struct covey_memory_opts *opts)
{
    static const char call[] = "covey_memory_open";
    struct covey_memory_opts o;
    struct covey_memory *m;
    int r = take_opts(&o, opts, false, call);

    if (r < 0)
        return r;
    if (!out)
        return cvy_fail(-EINVAL, "%s: no room for the handle", call);
    name = check_name(name, call, &r);
    if (!name)
        return r;
    m = cvy_calloc(1, sizeof(*m));
    if (!m)
        return fail_open(-ENOMEM, name);
    m->is_writable = o.readonly != COVEY_ON;
    strncat(m->name, name, CVY_OS_SHM_NAME);
    r = open_memory(m);
    if (r < 0) {
        cvy_free(m);
        return fail_open(r, name);
    }
    *out = m;
    return 0;
}

/* ---- unlink ---------------------------------------------------------------------- */

/* `file` NULL: whatever has the name. */
static int unlink_name(const char *name, const struct cvy_os_shm_info *file)
{
    struct cvy_os_shm_info info;
    int fd, r = cvy_users_join(name, true, &fd, &info);

    if (r < 0)
        return r;
    if (!file || is_same(&info, file))
        return cvy_users_remove(fd, name, &info);
    (void)cvy_users_leave(fd, name, &info);
    return -ENOENT;
}

static int fail_unlink(int code, const char *call, const char *name)
{
    if (code == -ENOSYS)
        return cvy_fail(code, "%s: there is no /dev/shm here", call);
    return cvy_fail_os(code, "%s: '%s'", call, name);
}

int covey_memory_unlink(covey_memory *memory)
{
    static const char call[] = "covey_memory_unlink";
    int r;

    if (!memory)
        return cvy_fail(-EINVAL, "%s: there is no memory", call);
    if (memory->is_removed) {
        memory->is_removed = false;
        return 0;
    }
    r = unlink_name(memory->name, &memory->file);
    return r < 0 ? fail_unlink(r, call, memory->name) : 0;
}

int covey_memory_unlink_name(const char *name)
{
    static const char call[] = "covey_memory_unlink_name";
    int r;

    name = check_name(name, call, &r);
    if (!name)
        return r;
    r = unlink_name(name, NULL);
    return r < 0 ? fail_unlink(r, call, name) : 0;
}

int cvy_memory_unlink_file(const char *name, uint64_t device, uint64_t inode)
{
    struct cvy_os_shm_info file = {.device = device, .inode = inode};

    return unlink_name(name, &file);
}

void cvy_memory_undo(covey_memory *memory)
{
    (void)unlink_name(memory->name, &memory->file);
}

int cvy_memory_keep(covey_memory *memory)
{
    int fd = -1, r = 0;

    if (!memory->file.is_marked)
        return 0;
    r = reopen(memory, false, &fd);
    if (r == 0 && fd < 0)
        r = -ENOENT;
    if (r == 0)
        r = cvy_os_shm_unmark(fd);
    cvy_os_close(fd);
    if (r == 0)
        memory->file.is_marked = false;
    return r < 0 ? cvy_fail_os(r, "the memory '%s'", memory->name) : 0;
}

/* ---- asking ---------------------------------------------------------------------- */

bool cvy_memory_is_writable(const covey_memory *memory)
{
    return memory->is_writable;
}

void cvy_memory_file(const covey_memory *memory, uint64_t *ret_device,
                     uint64_t *ret_inode)
{
    *ret_device = memory->file.device;
    *ret_inode = memory->file.inode;
}

void *covey_memory_data(const covey_memory *memory, size_t *ret_size)
{
    if (!memory || !memory->data) {
        (void)cvy_fail(memory ? COVEY_ECLOSED : -EINVAL, "covey_memory_data: %s",
                       memory ? "closed" : "there is no memory");
        return NULL;
    }
    if (ret_size)
        *ret_size = memory->file.size;
    return memory->data;
}

const char *covey_memory_name(const covey_memory *memory)
{
    return memory ? memory->name : NULL;
}

int covey_memory_size(const covey_memory *memory, size_t *ret_size)
{
    if (!memory || !ret_size)
        return cvy_fail(-EINVAL, "covey_memory_size: no memory or no room");
    *ret_size = memory->file.size;
    return 0;
}

int covey_memory_mapped_size(const covey_memory *memory, size_t *ret_size)
{
    if (!memory || !ret_size)
        return cvy_fail(-EINVAL, "covey_memory_mapped_size: no memory or no room");
    *ret_size = memory->mapped;
    return 0;
}
