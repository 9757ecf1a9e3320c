/* SPDX-License-Identifier: MIT */
/* segments.c: named memory that a manager looks after for its clients.
 *
 * A client makes memory and tells its name. From then on the manager is a user of it, too,
 * so the name stays when the client goes; it is removed when a client releases it, and
 * when the manager ends, however that does.
 *
 * If it is killed, the reaper removes the names: a fork child that sleeps until then, in a
 * session of its own, without signals. What there is to remove stands in the roll, which
 * both have in common: an entry counts from the store of its `is_used` on, which comes
 * before the client is told that its memory is looked after. A reaper that is killed is
 * replaced, by an event and before the next entry. If both are killed at once, names that
 * covey made are left as those of any users that were: see memory/users.h. */
#include "manager/segments.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "manager/server.h"
#include "memory/memory.h"
#include "os/os.h"
#include "os/shm.h"

#include <covey/memory.h>

/* Each costs the manager a map, of which a process has some 65,000. */
#define MOST 16384

/* Written by the manager, read by the reaper when that has ended. */
struct entry {
    /* [store] after the rest was written; pairs with reap() */
    _Atomic uint32_t is_used;
    uint32_t unused;
    uint64_t device, inode;
    char name[CVY_OS_SHM_NAME + 1];
};

struct roll {
    int32_t manager; /* its pid */
    int32_t has_pidfd;
    struct entry entries[MOST];
};

struct segment {
    covey_memory *memory;
    struct entry *entry;
};

struct cvy_segments {
    struct roll *roll;
    struct segment *list; /* in the order in which they came */
    size_t count, capacity;
    size_t low; /* all entries below it are used */
    int events; /* those of the loop; -1: it does not run yet */
    int reaper, pidfd;
    struct cvy_source source;
};

/* ---- the reaper ---- */

static void await_manager(const struct roll *roll)
{
    while (roll->has_pidfd && cvy_os_poll_in(0, INT64_MAX) != 1)
        continue;
    while (!roll->has_pidfd && cvy_os_ppid() == roll->manager) {
        cvy_word word = 0;
        (void)cvy_os_futex_wait_for(&word, 0, COVEY_MSEC(20));
    }
}

static void reap(void *context)
{
    struct roll *roll = context;
    cvy_os_set_comm("covey-reaper");
    cvy_memory_end_if_used(); /* it is no user of what the manager had open */
    await_manager(roll);
    for (size_t i = 0; i < MOST; i++) {
        const struct entry *e = &roll->entries[i];
        if (atomic_load(&e->is_used))
            (void)cvy_memory_unlink_file(e->name, e->device, e->inode);
    }
}

static int start_reaper(struct cvy_segments *s)
{
    int own = cvy_os_pidfd_open(cvy_os_pid());
    s->roll->manager = cvy_os_pid();
    s->roll->has_pidfd = own >= 0;
    int pid = cvy_os_fork_apart(own >= 0 ? own : -1, reap, s->roll);
    if (own >= 0)
        cvy_os_close(own);
    if (pid < 0)
        return cvy_fail_os(pid,
                           "the process that removes segments of a killed manager");
    s->reaper = pid;
    s->pidfd = cvy_os_pidfd_open(pid);
    if (s->pidfd >= 0 && s->events >= 0)
        (void)cvy_os_events_add(s->events, s->pidfd, CVY_OS_CAN_READ, &s->source);
    return 0;
}

static void forget_reaper(struct cvy_segments *s)
{
    if (s->pidfd >= 0)
        s->pidfd = cvy_os_close(s->pidfd);
    s->reaper = 0;
}

static int have_reaper(struct cvy_segments *s)
{
    struct cvy_os_exit ended;
    if (s->reaper && cvy_os_wait_child(s->reaper, s->pidfd, 0, &ended) == -ETIMEDOUT)
        return 0;
    if (s->reaper)
        (void)covey_log(COVEY_LOG_WARNING,
                        "the process that removes a killed manager's segments has "
                        "ended; there will be another");
    forget_reaper(s);
    return start_reaper(s);
}

void cvy_segments_reaper_ended(struct cvy_server *server)
{
    if (have_reaper(server->segments) < 0)
        (void)covey_log(COVEY_LOG_WARNING, "manager %s: %s", server->address,
                        covey_error_detail());
}

/* ---- what is looked after ---- */

static struct segment *find(struct cvy_segments *s, const char *name)
{
    for (size_t i = 0; i < s->count; i++)
        if (strcmp(s->list[i].entry->name, name) == 0)
            return &s->list[i];
    return NULL;
}

static int make_room(struct cvy_segments *s)
{
    if (s->count == MOST)
        return cvy_fail(-ENOMEM, "the manager looks after %d segments already", MOST);
    if (s->count < s->capacity)
        return 0;
    size_t capacity = s->capacity ? 2 * s->capacity : 16;
    struct segment *list = cvy_realloc(s->list, capacity * sizeof *list);
    if (!list)
        return cvy_fail(-ENOMEM, "no memory for a segment's name");
    s->list = list;
    s->capacity = capacity;
    return 0;
}

static void enter(struct cvy_segments *s, covey_memory *memory)
{
    while (atomic_load(&s->roll->entries[s->low].is_used))
        s->low++;
    struct entry *e = &s->roll->entries[s->low++];
    cvy_memory_file(memory, &e->device, &e->inode);
    memset(e->name, 0, sizeof e->name);
    strncat(e->name, covey_memory_name(memory), CVY_OS_SHM_NAME);
    atomic_store(&e->is_used, 1);
    s->list[s->count++] = (struct segment){memory, e};
}

/* Somebody else may have removed the name already. */
static void end_segment(struct cvy_segments *s, struct segment segment)
{
    size_t place = (size_t)(segment.entry - s->roll->entries);
    int r = covey_memory_unlink(segment.memory);
    if (r < 0 && r != -ENOENT)
        (void)covey_log(COVEY_LOG_WARNING, "a segment stays: %s", covey_error_detail());
    atomic_store(&segment.entry->is_used, 0);
    if (s->low > place)
        s->low = place;
    covey_memory_free(segment.memory);
}

static void take_out(struct cvy_segments *s, struct segment *found)
{
    struct segment segment = *found;
    size_t behind = s->count - (size_t)(found - s->list) - 1;
    memmove(found, found + 1, behind * sizeof *found);
    s->count--;
    end_segment(s, segment);
}

static bool is_file_of(const struct segment *segment, const covey_memory *memory)
{
    uint64_t device, inode;
    cvy_memory_file(memory, &device, &inode);
    return segment->entry->device == device && segment->entry->inode == inode;
}

int cvy_segments_track(struct cvy_server *server, const char *name)
{
    struct cvy_segments *s = server->segments;
    covey_memory *memory = NULL;
    int r = have_reaper(s);
    if (r >= 0)
        r = make_room(s);
    if (r >= 0)
        r = covey_memory_open(&memory, name, COVEY_MEMORY_OPTS(.readonly = COVEY_ON));
    if (r < 0)
        return r;
    struct segment *known = find(s, covey_memory_name(memory));
    if (known && is_file_of(known, memory)) {
        covey_memory_free(memory);
        return 0;
    }
    if (known)
        take_out(s, known); /* somebody has removed that one and made this one */
    enter(s, memory);
    return 0;
}

int cvy_segments_release(struct cvy_server *server, const char *name)
{
    struct cvy_segments *s = server->segments;
    while (*name == '/')
        name++;
    struct segment *found = find(s, name);
    if (!found)
        return cvy_fail(-EINVAL, "'%s' is no segment of this manager", name);
    take_out(s, found);
    return 0;
}

covey_value *cvy_segments_names(const struct cvy_server *server)
{
    const struct cvy_segments *s = server->segments;
    covey_value *names = covey_value_list();
    for (size_t i = 0; i < s->count; i++)
        (void)covey_value_append(names, covey_value_str(s->list[i].entry->name));
    return names;
}

void cvy_segments_clear(struct cvy_server *server)
{
    struct cvy_segments *s = server->segments;
    while (s && s->count)
        end_segment(s, s->list[--s->count]);
}

/* ---- all of it ---- */

int cvy_segments_open(struct cvy_server *server)
{
    struct cvy_segments *s = cvy_calloc(1, sizeof *s);
    void *roll = NULL;
    if (!s)
        return cvy_fail(-ENOMEM, "no memory for the names of segments");
    int r = cvy_os_map_common(sizeof(struct roll), &roll);
    if (r < 0) {
        cvy_free(s);
        return cvy_fail_os(r, "memory for the names of segments");
    }
    s->roll = roll;
    s->events = s->pidfd = -1;
    s->source.kind = CVY_SOURCE_REAPER;
    server->segments = s;
    r = start_reaper(s);
    if (r < 0)
        cvy_segments_close(server);
    return r;
}

int cvy_segments_listen(struct cvy_server *server)
{
    struct cvy_segments *s = server->segments;
    if (!s)
        return 0;
    s->events = server->events;
    return s->pidfd < 0
               ? 0
               : cvy_os_events_add(s->events, s->pidfd, CVY_OS_CAN_READ, &s->source);
}

void cvy_segments_close(struct cvy_server *server)
{
    struct cvy_segments *s = server->segments;
    struct cvy_os_exit ended;
    if (!s)
        return;
    cvy_segments_clear(server);
    if (s->reaper && cvy_os_kill(s->reaper, s->pidfd, SIGKILL) == 0)
        (void)cvy_os_wait_child(s->reaper, s->pidfd, INT64_MAX, &ended);
    forget_reaper(s);
    (void)cvy_os_unmap(s->roll, sizeof(struct roll));
    cvy_free(s->list);
    cvy_free(s);
    server->segments = NULL;
}
