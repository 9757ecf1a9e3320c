/* SPDX-License-Identifier: MIT */
/* look.c: snapshots of families; see look.h. */
#include "region/look.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/memory.h"
#include "region/object.h"
#include "region/undo.h"

#include <covey/family.h>

#define KINDS 32u

static struct {
    enum cvy_kind kind;
    size_t name_at, name_size;
    cvy_look_fn *look;
} kinds[KINDS];

void cvy_look_register(enum cvy_kind kind, size_t name_at, size_t name_size,
                       cvy_look_fn *look)
{
    for (size_t i = 0; i < KINDS; i++)
        if (!kinds[i].kind) {
            kinds[i].kind = kind;
            kinds[i].name_at = name_at;
            kinds[i].name_size = name_size;
            kinds[i].look = look;
            return;
        }
}

/* ---- reading ---- */

const void *cvy_look_at(const struct cvy_head *head, cvy_ref ref)
{
    return ref && ref < head->reservation ? (const char *)head + ref : NULL;
}

static const struct cvy_member *member_at(const struct cvy_head *head, uint32_t index)
{
    return (const struct cvy_member *)(const void *)((const char *)head +
                                                     head->members) +
           index;
}

static const struct cvy_slot *slot_at(const struct cvy_head *head, uint32_t index)
{
    return (const struct cvy_slot *)(const void *)((const char *)head + head->slots) +
           index;
}

static uint64_t word_of(const _Atomic uint64_t *word)
{
    return atomic_load_explicit(word, memory_order_relaxed);
}

/* The member that `owner` names, NULL if its record has another user now. */
static const struct cvy_member *find_member(const struct cvy_head *head, uint32_t owner)
{
    uint32_t index = CVY_INDEX_OF(owner);
    if (!owner || index >= head->member_limit)
        return NULL;
    const struct cvy_member *m = member_at(head, index);
    return cvy_user_generation(word_of(&m->word)) == CVY_GENERATION_OF(owner) ? m
                                                                              : NULL;
}

void cvy_look_member(const struct cvy_head *head, uint32_t owner, char *text,
                     size_t size)
{
    const struct cvy_member *m = find_member(head, owner);
    if (m)
        (void)snprintf(text, size, "%.59s (pid %d)", m->name,
                       cvy_user_id(word_of(&m->word)));
    else
        (void)snprintf(text, size, "a process that has ended");
}

uint32_t cvy_look_member_of(const struct cvy_head *head, uint32_t slot_owner)
{
    uint32_t index = CVY_INDEX_OF(slot_owner);
    if (!slot_owner || index >= head->slot_limit)
        return 0;
    const struct cvy_slot *s = slot_at(head, index);
    uint32_t member = cvy_load32(&s->member);
    return cvy_user_generation(word_of(&s->word)) == CVY_GENERATION_OF(slot_owner)
               ? member
               : 0;
}

/* ---- a snapshot ---- */

/* What is being made; the lists grow. */
struct snapshot {
    struct covey_family_snapshot shown;
    struct covey_bytes members, threads, objects;
};

static int append(struct covey_bytes *list, const void *item, size_t size)
{
    int r = cvy_bytes_append(list, item, size);
    return r;
}

static int pid_of(const struct cvy_head *head, uint32_t member)
{
    const struct cvy_member *m = find_member(head, member);
    return m ? cvy_user_id(word_of(&m->word)) : 0;
}

static int add_members(const struct cvy_head *head, struct snapshot *s)
{
    static const char *const states[] = {"free", "starting", "running", "ended",
                                         "dead"};
    uint32_t high = cvy_load32(&head->member_high);
    for (uint32_t i = 0; i < high && i < head->member_limit; i++) {
        const struct cvy_member *m = member_at(head, i);
        uint64_t word = word_of(&m->word);
        uint32_t state = cvy_user_state(word);
        if (state == CVY_MEMBER_FREE || state >= CVY_ARRAY_SIZE(states))
            continue;
        struct covey_family_member shown = {.pid = cvy_user_id(word),
                                            .starter =
                                                pid_of(head, cvy_load32(&m->starter)),
                                            .threads = cvy_load32(&m->thread_count)};
        (void)snprintf(shown.name, sizeof shown.name, "%.59s", m->name);
        (void)snprintf(shown.state, sizeof shown.state, "%s", states[state]);
        int r = append(&s->members, &shown, sizeof shown);
        if (r < 0)
            return r;
    }
    return 0;
}

static int add_threads(const struct cvy_head *head, struct snapshot *s)
{
    uint32_t high = atomic_load(&head->slot_high);
    for (uint32_t i = 0; i < high && i < head->slot_limit; i++) {
        const struct cvy_slot *slot = slot_at(head, i);
        uint64_t word = word_of(&slot->word), what = word_of(&slot->waits_for),
                 since = word_of(&slot->waits_since);
        if (cvy_user_state(word) != CVY_SLOT_ATTACHED)
            continue;
        struct covey_family_thread shown = {
            .tid = cvy_user_id(word), .pid = pid_of(head, cvy_load32(&slot->member))};
        if (what) {
            shown.waits_for = (const void *)(uintptr_t)(head->base + what);
            /* Not against a time before the look: it may have begun to wait meanwhile. */
            shown.waiting = cvy_os_now() - (int64_t)since;
        }
        int r = append(&s->threads, &shown, sizeof shown);
        if (r < 0)
            return r;
    }
    return 0;
}

/* How many wait for something that lies in the object. Those threads are then said to wait
 * for the object. */
static unsigned count_waiting(struct snapshot *s, const char *address, uint32_t size)
{
    struct covey_family_thread *threads = s->threads.data;
    unsigned n = 0;
    for (size_t i = 0; i < s->threads.size / sizeof *threads; i++) {
        const char *what = threads[i].waits_for;
        if (what < address || what >= address + size)
            continue;
        threads[i].waits_for = address;
        n++;
    }
    return n;
}

static int add_object(const struct cvy_head *head, struct snapshot *s,
                      const struct cvy_object *o, cvy_ref ref)
{
    uint32_t kind = atomic_load_explicit(&o->kind, memory_order_relaxed);
    struct covey_family_object shown = {
        .address = (const void *)(uintptr_t)(head->base + ref),
        .holders = cvy_load32(&o->holds),
        .bytes = cvy_load32(&o->size) + cvy_load64(&o->run_pages) * CVY_PAGE};
    (void)snprintf(shown.kind, sizeof shown.kind, "%s", cvy_kind_name(kind));
    shown.waiting = count_waiting(s, shown.address, cvy_load32(&o->size));
    for (size_t i = 0; i < KINDS && kinds[i].kind; i++) {
        if (kinds[i].kind != (enum cvy_kind)kind)
            continue;
        if (kinds[i].name_at)
            (void)snprintf(shown.name, sizeof shown.name, "%.*s",
                           (int)kinds[i].name_size, (const char *)o + kinds[i].name_at);
        if (kinds[i].look)
            kinds[i].look(head, o, shown.state, sizeof shown.state);
    }
    return append(&s->objects, &shown, sizeof shown);
}

static int add_objects(const struct cvy_head *head, struct snapshot *s)
{
    const uint32_t *live = cvy_look_at(head, head->object_pages);
    /* To read what was never written would give the family memory for it, for good. */
    cvy_ref high = cvy_load64(&head->object_high);
    uint64_t pages = high > head->objects ? (high - head->objects) / CVY_PAGE : 0;
    pages = cvy_min_u64(pages, head->object_bytes / CVY_PAGE);
    for (uint64_t page = 0; live && page < pages; page++) {
        if (!cvy_load32(&live[page]))
            continue;
        cvy_ref start = head->objects + page * CVY_PAGE;
        for (cvy_ref at = start; at < start + CVY_PAGE;) {
            const struct cvy_object *o = cvy_look_at(head, at);
            uint32_t size = o ? cvy_load32(&o->size) : 0;
            if (!size || size % 64 || size > CVY_PAGE)
                break;
            uint32_t kind = atomic_load_explicit(&o->kind, memory_order_relaxed);
            int r = cvy_kind_is_living(kind) ? add_object(head, s, o, at) : 0;
            if (r < 0)
                return r;
            at += size;
        }
    }
    return 0;
}

/* ---- from outside ---- */

struct map {
    const struct cvy_head *head;
    uint64_t size; /* 0: it is our own */
};

static int map_family(int pid, struct map *ret_map)
{
    const void *memory = NULL;
    uint64_t size = 0;
    *ret_map = (struct map){cvy_head, 0};
    if (pid == 0 && cvy_head)
        return 0;
    if (pid <= 0)
        return cvy_fail(pid ? -EINVAL : -ESRCH, "this process is in no family");
    int r = cvy_os_map_memfd_of(pid, "covey", &memory, &size);
    if (r < 0)
        return cvy_fail_os(r, "looking at the family of process %d", pid);
    const struct cvy_head *head = memory;
    if (size >= sizeof *head && head->magic == CVY_MAGIC &&
        head->layout == CVY_LAYOUT && head->reservation == size) {
        *ret_map = (struct map){head, size};
        return 0;
    }
    (void)cvy_os_unmap((void *)(uintptr_t)memory, size);
    return cvy_fail(-EPROTO, "the covey of process %d is of another version", pid);
}

int covey_family_snapshot(int pid, struct covey_family_snapshot **out)
{
    struct map map;
    if (!out)
        return cvy_fail(-EINVAL, "covey_family_snapshot: out is NULL");
    int r = map_family(pid, &map);
    if (r < 0)
        return r;
    struct snapshot *s = cvy_calloc(1, sizeof *s);
    r = s ? add_members(map.head, s) : -ENOMEM;
    if (r >= 0)
        r = add_threads(map.head, s);
    if (r >= 0)
        r = add_objects(map.head, s);
    if (r < 0) {
        covey_family_snapshot_free(s ? &s->shown : NULL);
    } else {
        s->shown = (struct covey_family_snapshot){
            s->members.data,
            s->members.size / sizeof(struct covey_family_member),
            s->threads.data,
            s->threads.size / sizeof(struct covey_family_thread),
            s->objects.data,
            s->objects.size / sizeof(struct covey_family_object),
            cvy_load64(&map.head->used_pages) * CVY_PAGE,
            map.head->budget,
            word_of(&map.head->deaths)};
        *out = &s->shown;
    }
    if (map.size)
        (void)cvy_os_unmap((void *)(uintptr_t)map.head, map.size);
    return r < 0 ? cvy_fail(r, "covey_family_snapshot: no memory") : 0;
}

void covey_family_snapshot_free(struct covey_family_snapshot *snapshot)
{
    if (!snapshot)
        return;
    struct snapshot *s = CVY_CONTAINER_OF(snapshot, struct snapshot, shown);
    covey_bytes_free(&s->members);
    covey_bytes_free(&s->threads);
    covey_bytes_free(&s->objects);
    cvy_free(s);
}

/* ---- for people ---- */

static int describe_members(const struct covey_family_snapshot *s,
                            struct covey_bytes *text)
{
    int r = 0;
    for (size_t i = 0; i < s->member_count && r >= 0; i++) {
        const struct covey_family_member *m = &s->members[i];
        r = cvy_bytes_format(text, "process %s (pid %d), %s, %u thread%s", m->name,
                             m->pid, m->state, m->threads, m->threads == 1 ? "" : "s");
        if (r >= 0 && m->starter)
            r = cvy_bytes_format(text, ", started by %d", m->starter);
        if (r >= 0)
            r = cvy_bytes_format(text, "\n");
    }
    return r;
}

static int describe_waiting(const struct covey_family_snapshot *s,
                            const struct covey_family_object *o,
                            struct covey_bytes *text)
{
    int r = 0;
    for (size_t i = 0; i < s->thread_count && r >= 0; i++) {
        const struct covey_family_thread *t = &s->threads[i];
        if (t->waits_for == o->address)
            r = cvy_bytes_format(text, "    thread %d of process %d waits for %.3f s\n",
                                 t->tid, t->pid, (double)t->waiting * 1e-9);
    }
    return r;
}

static int describe_objects(const struct covey_family_snapshot *s,
                            struct covey_bytes *text)
{
    int r = 0;
    for (size_t i = 0; i < s->object_count && r >= 0; i++) {
        const struct covey_family_object *o = &s->objects[i];
        r = cvy_bytes_format(text, "%s%s%s at %p: %s%s%u hold%s, %" PRIu64 " bytes\n",
                             o->kind, o->name[0] ? " " : "", o->name, o->address,
                             o->state, o->state[0] ? "; " : "", o->holders,
                             o->holders == 1 ? "" : "s", o->bytes);
        if (r >= 0 && o->waiting)
            r = describe_waiting(s, o, text);
    }
    return r;
}

int covey_family_describe(int pid, struct covey_bytes *ret_text)
{
    struct covey_family_snapshot *s = NULL;
    if (!ret_text)
        return cvy_fail(-EINVAL, "covey_family_describe: ret_text is NULL");
    int r = covey_family_snapshot(pid, &s);
    if (r < 0 || !s)
        return r;
    ret_text->size = 0;
    r = cvy_bytes_format(ret_text,
                         "%zu processes, %zu threads, %zu objects; %" PRIu64
                         " of %" PRIu64 " KiB; %" PRIu64 " deaths\n",
                         s->member_count, s->thread_count, s->object_count,
                         s->used / 1024, s->budget / 1024, s->deaths);
    if (r >= 0)
        r = describe_members(s, ret_text);
    if (r >= 0)
        r = describe_objects(s, ret_text);
    covey_family_snapshot_free(s);
    return r < 0 ? r : 0;
}
