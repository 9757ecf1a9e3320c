/* SPDX-License-Identifier: MIT */
/* region.c: one sparse memory file, at one address in all of the family.
 *
 * A root founds it at the first of a few addresses that is free; children map it at the
 * root's, or fail by name. The descriptor is kept for passing on; when the program has
 * closed it, fork still works, the other methods say so. */
#include "region/region.h"

#include <errno.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "base/opts.h"
#include "region/alloc.h"
#include "region/member.h"
#include "region/undo.h"
#include "region/wait.h"

#define MIB       (UINT64_C(1) << 20)
#define GIB       (UINT64_C(1) << 30)
#define HEAD_ROOM 65536u

struct cvy_head *cvy_head;
struct covey_family_opts cvy_family_opts;
static int region_fd = -1;
static struct cvy_os_file_id region_id;

/* The second suits address spaces of 39 bits and ThreadSanitizer's layout. */
static const uint64_t bases[] = {UINT64_C(0x200000000000), UINT64_C(0x4000000000),
                                 UINT64_C(0x100000000000)};
static const uint64_t sizes[] = {1024 * GIB, 256 * GIB, 64 * GIB, 16 * GIB};

static uint64_t page_up(uint64_t n)
{
    return (n + CVY_PAGE - 1) & ~(uint64_t)(CVY_PAGE - 1);
}

/* Where the parts lie; see the drawing in layout.h. */
static void lay_out(struct cvy_head *h, uint64_t reservation)
{
    uint64_t records = reservation / 16384 < 65535 ? reservation / 16384 : 65535;
    h->reservation = reservation;
    h->slot_limit = h->member_limit = (uint32_t)records;
    h->slots = HEAD_ROOM;
    h->members = page_up(h->slots + records * sizeof(struct cvy_slot));
    h->object_bytes = reservation / 16;
    h->object_pages = page_up(h->members + records * sizeof(struct cvy_member));
    h->objects =
        page_up(h->object_pages + h->object_bytes / CVY_PAGE * sizeof(uint32_t));
    h->runs = h->objects + h->object_bytes;
    uint64_t rest = reservation - h->runs - CVY_PAGE;
    h->heap_pages = rest / (CVY_PAGE + sizeof(struct cvy_run));
    h->heap = page_up(h->runs + h->heap_pages * sizeof(struct cvy_run));
    h->object_next = h->objects;
}

/* That there is no room tells more than that something lies at one of the places. */
static int map_somewhere(int fd, uint64_t size, uint64_t *ret_base)
{
    int error = -EEXIST;
    bool dump = cvy_family_opts.core_dump == COVEY_ON;
    for (size_t i = 0; i < CVY_ARRAY_SIZE(bases); i++) {
        int r = cvy_os_map_at((void *)(uintptr_t)bases[i], size, fd, dump);
        if (r >= 0) {
            *ret_base = bases[i];
            return 0;
        }
        if (r != -EEXIST)
            error = r;
    }
    return error;
}

/* A memory file of that size and its mapping. */
static int reserve_size(uint64_t size, uint64_t *ret_base, int *ret_fd)
{
    int fd = cvy_os_memfd_create("covey", size);
    int r = fd < 0 ? fd : map_somewhere(fd, size, ret_base);
    if (r < 0)
        cvy_os_close(fd);
    else
        *ret_fd = fd;
    return r;
}

static int fail_to_reserve(int r, uint64_t size)
{
    const char *why = "a memory file";
    if (r == -ENOMEM)
        why = "address space (see ulimit -v, or set .reservation)";
    else if (r == -EEXIST)
        why = "address space where covey looks for it, something else lies there";
    else if (r == -EFBIG)
        why = "a memory file (see ulimit -f, or set .reservation)";
    return cvy_fail_os(r, "founding the family: %llu MiB of %s",
                       (unsigned long long)(size / MIB), why);
}

/* Of the asked size or the largest that fits. */
static int reserve(uint64_t *ret_base, uint64_t *ret_size, int *ret_fd)
{
    uint64_t wanted = cvy_family_opts.reservation;
    size_t last = wanted ? 0 : CVY_ARRAY_SIZE(sizes) - 1;
    for (size_t i = 0;; i++) {
        *ret_size = wanted ? wanted : sizes[i];
        int r = reserve_size(*ret_size, ret_base, ret_fd);
        if (r >= 0)
            return 0;
        if (i == last || (r != -ENOMEM && r != -EEXIST && r != -EFBIG))
            return fail_to_reserve(r, *ret_size);
    }
}

static uint64_t default_budget(void)
{
    return cvy_os_memory_limit() / 2;
}

static void fill_head(struct cvy_head *h, uint64_t base, uint64_t reservation)
{
    const struct covey_family_opts *o = &cvy_family_opts;
    lay_out(h, reservation);
    h->layout = CVY_LAYOUT;
    h->base = base;
    h->device = region_id.device;
    h->inode = region_id.inode;
    h->slice = (uint64_t)(o->slice > 0 ? o->slice : COVEY_MSEC(500));
    h->budget = o->budget ? o->budget : default_budget();
    h->flags = (o->core_dump == COVEY_ON ? CVY_HEAD_CORE_DUMP : 0) |
               (o->bell == COVEY_OFF ? CVY_HEAD_BELL_OFF : 0);
}

int cvy_region_found(void)
{
    uint64_t base = 0, size = 0;
    int fd = -1;
    int r = reserve(&base, &size, &fd);
    if (r < 0 || !base)
        return r;
    r = cvy_os_file_id(fd, &region_id);
    if (r < 0) {
        cvy_os_unmap((void *)(uintptr_t)base, size);
        cvy_os_close(fd);
        return cvy_fail_os(r, "founding the family: its memory file");
    }
    struct cvy_head *h = (struct cvy_head *)(uintptr_t)base;
    fill_head(h, base, size);
    cvy_head = h;
    region_fd = fd;
    if (!(h->flags & CVY_HEAD_BELL_OFF) && !cvy_bell_works())
        h->flags |= CVY_HEAD_NO_WAITV;
    h->magic = CVY_MAGIC;
    return 0;
}

void cvy_region_abandon(void)
{
    if (!cvy_head)
        return;
    cvy_bell_disarm(); /* the kernel must not look for it at what comes to lie there */
    cvy_os_unmap(cvy_head, cvy_head->reservation);
    region_fd = cvy_os_close(region_fd);
    cvy_head = NULL;
}

static int map_for_child(const struct cvy_region_ticket *t, int fd, bool in_core_dumps)
{
    void *base = (void *)(uintptr_t)t->base;
    int r = cvy_os_map_at(base, t->reservation, fd, in_core_dumps);
    if (r < 0)
        return cvy_fail_os(r, "mapping the family's memory: %llu MiB at %p%s",
                           (unsigned long long)(t->reservation / MIB), base,
                           r == -EEXIST ? ", where something else lies in this process"
                                        : " (see ulimit -v)");
    return 0;
}

int cvy_region_map(const struct cvy_region_ticket *t, int fd)
{
    struct cvy_head *h = (struct cvy_head *)(uintptr_t)t->base;
    int r = map_for_child(t, fd, false);
    if (r < 0)
        return r;
    bool is_ours = h->magic == CVY_MAGIC && h->layout == CVY_LAYOUT;
    uint32_t layout = h->layout, flags = h->flags;
    if (!is_ours || flags & CVY_HEAD_CORE_DUMP)
        cvy_os_unmap(h, t->reservation);
    if (!is_ours)
        return cvy_fail(
            COVEY_EBUILD,
            "the family's memory has layout %u, this program's covey has %u", layout,
            CVY_LAYOUT);
    if (flags & CVY_HEAD_CORE_DUMP) { /* which a mapping has from its start */
        r = map_for_child(t, fd, true);
        if (r < 0)
            return r;
    }
    region_id = (struct cvy_os_file_id){.device = t->device, .inode = t->inode};
    region_fd = fd;
    cvy_head = h;
    return 0;
}

CVY_CHILD_CODE int cvy_region_make_way(const int32_t *numbers, size_t count)
{
    int above = 3, moved;
    bool is_in_the_way = false;
    for (size_t i = 0; i < count; i++) {
        is_in_the_way = is_in_the_way || numbers[i] == region_fd;
        above = numbers[i] >= above ? numbers[i] + 1 : above;
    }
    if (!is_in_the_way || region_fd < 0)
        return 0;
    moved = cvy_os_dup(region_fd, above);
    if (moved < 0)
        return cvy_fail_os(moved, "a descriptor for the family's memory");
    cvy_os_close(region_fd);
    region_fd = moved;
    return 0;
}

/* Whether our descriptor is still what it was. Returns: 0; -EBADF; -ESTALE. */
static int look_at_descriptor(struct cvy_os_file_id *ret_id)
{
    int r = region_fd < 0 ? -EBADF : cvy_os_file_id(region_fd, ret_id);
    if (r < 0)
        return r;
    return ret_id->device == region_id.device && ret_id->inode == region_id.inode
               ? 0
               : -ESTALE;
}

int cvy_region_ticket(struct cvy_region_ticket *ret_ticket, int *ret_fd)
{
    struct cvy_os_file_id id;
    int r = look_at_descriptor(&id);
    if (r < 0)
        return cvy_fail(
            COVEY_ESTATE,
            "the program closed the family's descriptor %d%s; only fork works now",
            region_fd, r == -ESTALE ? " and opened another file by that number" : "");
    *ret_ticket = (struct cvy_region_ticket){cvy_head->base, cvy_head->reservation,
                                             region_id.device, region_id.inode};
    *ret_fd = region_fd;
    return 0;
}

/* ---- public ---- */

static bool is_power_of_two(uint64_t n)
{
    return n && !(n & (n - 1));
}

int covey_family_configure(const struct covey_family_opts *opts)
{
    struct covey_family_opts o = {0};
    if (!opts || !opts->size)
        return cvy_fail(-EINVAL, "covey_family_configure: options without a size; use "
                                 "COVEY_FAMILY_OPTS");
    int r = CVY_TAKE_OPTS(&o, opts, "covey_family_configure");
    if (r < 0)
        return r;
    if (cvy_head)
        return cvy_fail(COVEY_ESTATE,
                        "covey_family_configure: the family exists already");
    if (o.reservation && (!is_power_of_two(o.reservation) ||
                          o.reservation < 16u << 20 || o.reservation > 1024 * GIB))
        return cvy_fail(-EINVAL,
                        "covey_family_configure: reservation %zu is no power of "
                        "two from 16 MiB to 1 TiB",
                        o.reservation);
    if (o.slice < 0)
        return cvy_fail(-EINVAL, "covey_family_configure: negative slice");
    r = CVY_CHECK_SWITCHES("covey_family_configure", {".core_dump", o.core_dump},
                           {".bell", o.bell});
    if (r < 0)
        return r;
    cvy_family_opts = o;
    return 0;
}

int covey_family_usage(struct covey_family_usage *ret_usage)
{
    struct covey_family_usage u = {0};
    if (!ret_usage)
        return cvy_fail(-EINVAL, "covey_family_usage: no room for the answer");
    if (cvy_head) {
        struct cvy_os_file_id id = {0};
        int r = cvy_enter();
        if (r < 0)
            return r;
        cvy_members_sweep();
        u.reservation = cvy_head->reservation;
        u.budget = cvy_head->budget;
        u.used = cvy_load64(&cvy_head->used_pages) * CVY_PAGE;
        u.resident = look_at_descriptor(&id) < 0 ? 0 : id.resident;
        u.objects = cvy_load64(&cvy_head->object_count);
        u.members = cvy_load32(&cvy_head->member_count);
        u.threads = cvy_load32(&cvy_head->thread_count);
        u.deaths = atomic_load(&cvy_head->deaths);
    }
    *ret_usage = u;
    return 0;
}
