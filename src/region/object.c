/* SPDX-License-Identifier: MIT */
/* object.c: objects, holds, and the end of objects; see object.h. */
#include "region/object.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "region/alloc.h"
#include "region/area.h"
#include "region/lock.h"
#include "region/member.h"
#include "region/undo.h"

#include <covey/process.h>

#define LINE 64u

/* What a living object's first word may be, and what people call it. */
static const struct {
    enum cvy_kind kind;
    const char *name;
} kinds[] = {{CVY_KIND_PROCESS, "process"},
             {CVY_KIND_POOL, "pool"},
             {CVY_KIND_SERVER, "fork server"},
             {CVY_KIND_LOCK, "lock"},
             {CVY_KIND_RLOCK, "rlock"},
             {CVY_KIND_SEMAPHORE, "semaphore"},
             {CVY_KIND_BOUNDED_SEMAPHORE, "bounded semaphore"},
             {CVY_KIND_CONDITION, "condition"},
             {CVY_KIND_EVENT, "event"},
             {CVY_KIND_BARRIER, "barrier"},
             {CVY_KIND_SHARED_VALUE, "shared value"},
             {CVY_KIND_ARRAY, "array"},
             {CVY_KIND_QUEUE, "queue"},
             {CVY_KIND_JOINABLE_QUEUE, "joinable queue"},
             {CVY_KIND_SIMPLE_QUEUE, "simple queue"},
             {CVY_KIND_PIPE, "pipe"},
             {CVY_KIND_CONN, "connection"},
             {CVY_KIND_STREAM, "connection's state"},
             {CVY_KIND_MANAGER, "manager"},
             {CVY_KIND_PROXY, "proxy"},
             {CVY_KIND_LANE, "manager's lane"},
             {CVY_KIND_TEST, "object"}};

static bool is_kind(uint32_t kind)
{
    for (size_t i = 0; i < CVY_ARRAY_SIZE(kinds); i++)
        if (kinds[i].kind == kind)
            return true;
    return false;
}

const char *cvy_kind_name(uint32_t kind)
{
    for (size_t i = 0; i < CVY_ARRAY_SIZE(kinds); i++)
        if (kinds[i].kind == kind)
            return kinds[i].name;
    return "object";
}

/* ---- handles ---- */

static bool is_in_area(const void *object)
{
    return cvy_head &&
           (const char *)object >= (const char *)cvy_at(cvy_head->objects) &&
           (const char *)object <
               (const char *)cvy_at(cvy_head->objects) + cvy_head->object_bytes &&
           (uintptr_t)object % LINE == 0;
}

/* NULL: it has none. */
static struct cvy_object *inner_of(struct cvy_object *object)
{
    uint32_t line = object->flags / CVY_OBJECT_INNER;
    return line ? (void *)((char *)object + (size_t)line * LINE) : NULL;
}

/* The object that is held where `handle` is: itself, or what it lies in. NULL: what is
 * there is no object. */
static struct cvy_object *whole_of(struct cvy_object *handle)
{
    if (cvy_likely(handle->size))
        return handle;
    struct cvy_object *whole = cvy_at(handle->runs);
    return is_in_area(whole) && inner_of(whole) == handle ? whole : NULL;
}

/* ---- holds ---- */

static struct cvy_hold *find_hold(struct cvy_object *handle, uint32_t member_index)
{
    struct cvy_object *object = whole_of(handle);
    for (cvy_ref r = object ? object->holders : 0; r;) {
        struct cvy_hold *hold = cvy_at(r);
        if (hold->member == member_index && hold->handle == cvy_ref_of(handle))
            return hold;
        r = hold->object_next;
    }
    return NULL;
}

static void add_to_holders(struct cvy_object *object, cvy_ref ref)
{
    struct cvy_hold *hold = cvy_at(ref);
    hold->object_next = object->holders;
    if (object->holders) {
        struct cvy_hold *next = cvy_at(object->holders);
        cvy_set64(&next->object_previous, ref);
        if (next->member != hold->member && !(object->flags & CVY_OBJECT_SHARED))
            cvy_set32(&object->flags, object->flags | CVY_OBJECT_SHARED);
    }
    cvy_set64(&object->holders, ref);
    cvy_set32(&object->holds, object->holds + 1);
}

/* `handle` is the object or its inner one. */
static int hold_new(struct cvy_object *object, struct cvy_object *handle,
                    uint32_t member_index)
{
    struct cvy_member *m = cvy_member_at(member_index);
    cvy_ref ref = 0;
    int r = cvy_block_take(sizeof(struct cvy_hold), &ref);
    if (r < 0)
        return r;
    struct cvy_hold *hold = cvy_at(ref);
    hold->object = cvy_ref_of(object); /* nobody's before the commit */
    hold->handle = cvy_ref_of(handle);
    hold->member = member_index;
    hold->count = 1;
    hold->member_next = m->holds;
    if (m->holds)
        cvy_set64(&((struct cvy_hold *)cvy_at(m->holds))->member_previous, ref);
    cvy_set64(&m->holds, ref);
    if (!(object->flags & CVY_OBJECT_PRIVATE))
        cvy_set32(&m->shared_holds, m->shared_holds + 1);
    add_to_holders(object, ref);
    return 0;
}

static int hold_add(struct cvy_object *object, struct cvy_object *handle,
                    uint32_t member_index)
{
    struct cvy_hold *hold = find_hold(handle, member_index);
    if (!hold)
        return hold_new(object, handle, member_index);
    cvy_set32(&hold->count, hold->count + 1);
    cvy_set32(&object->holds, object->holds + 1);
    return 0;
}

/* Nobody holds it any more. */
static void end_object(struct cvy_object *object)
{
    bool owes = object->flags & CVY_OBJECT_OWES;
    struct cvy_object *inner = owes ? NULL : inner_of(object);
    if (inner)
        cvy_object_set_kind(inner, 0);
    cvy_ref *list = owes ? &cvy_head->owed : &cvy_head->graves;
    uint32_t kind = atomic_load(&object->kind);
    cvy_object_set_kind(object, owes ? kind | CVY_KIND_OWED : CVY_KIND_GRAVE);
    cvy_set64(&object->grave, *list);
    cvy_set64(list, cvy_ref_of(object));
    if (cvy_kind_is_living(kind))
        cvy_set64(&cvy_head->object_count, cvy_head->object_count - 1);
}

/* Take `count` holds out of a node, and the node away when it is empty. */
static void hold_drop(struct cvy_hold *hold, uint32_t count)
{
    struct cvy_object *object = cvy_at(hold->object);
    cvy_set32(&object->holds, object->holds - count);
    if (count < hold->count) {
        cvy_set32(&hold->count, hold->count - count);
        return;
    }
    if (hold->member_next)
        cvy_set64(&((struct cvy_hold *)cvy_at(hold->member_next))->member_previous,
                  hold->member_previous);
    if (hold->member_previous)
        cvy_set64(&((struct cvy_hold *)cvy_at(hold->member_previous))->member_next,
                  hold->member_next);
    else
        cvy_set64(&cvy_member_at(hold->member)->holds, hold->member_next);
    if (hold->object_next)
        cvy_set64(&((struct cvy_hold *)cvy_at(hold->object_next))->object_previous,
                  hold->object_previous);
    if (hold->object_previous)
        cvy_set64(&((struct cvy_hold *)cvy_at(hold->object_previous))->object_next,
                  hold->object_next);
    else
        cvy_set64(&object->holders, hold->object_next);
    if (!(object->flags & CVY_OBJECT_PRIVATE)) {
        struct cvy_member *m = cvy_member_at(hold->member);
        cvy_set32(&m->shared_holds, m->shared_holds - 1);
    }
    cvy_block_give(cvy_ref_of(hold));
    if (!object->holds)
        end_object(object);
}

void cvy_hold_drop_first(uint32_t member_index)
{
    struct cvy_hold *hold = cvy_at(cvy_member_at(member_index)->holds);
    hold_drop(hold, hold->count);
}

static cvy_ref *kept_by(struct cvy_object *object)
{
    return (cvy_ref *)(object + 1);
}

static void drop_kept(struct cvy_object *object)
{
    struct cvy_object *kept = whole_of(cvy_at(*kept_by(object)));
    cvy_set32(&object->flags, object->flags & ~(uint32_t)CVY_OBJECT_KEEPS);
    cvy_set32(&kept->holds, kept->holds - 1);
    if (!kept->holds)
        end_object(kept);
}

void cvy_graves_dig(void)
{
    struct cvy_object *object = cvy_at(cvy_head->graves);
    if (object->flags & CVY_OBJECT_KEEPS) {
        drop_kept(object);
        cvy_commit();
        return;
    }
    if (object->runs) {
        cvy_object_drop_first_run(object);
        cvy_commit();
        return;
    }
    cvy_set64(&cvy_head->graves, object->grave);
    cvy_place_give(object);
}

static uint64_t *id_of(struct cvy_object *object, size_t at)
{
    return (uint64_t *)(void *)((char *)object + at);
}

static struct cvy_object *find_id(uint32_t kind, size_t at, uint64_t id)
{
    struct cvy_place_walk walk = cvy_place_begin();
    struct cvy_object *o;
    while ((o = cvy_place_next(&walk)))
        if (atomic_load(&o->kind) == kind && cvy_load64(id_of(o, at)) == id)
            return o;
    return NULL;
}

/* ---- what the other layers call ---- */

/* Nobody's before the commit, but who looks at the region without the lock walks over it,
 * reading its kind, which is 0, and its size. */
static void clear(struct cvy_object *object, uint32_t size)
{
    const size_t seen = offsetof(struct cvy_object, holds);
    memset((char *)object + seen, 0, size - seen);
    __atomic_store_n(&object->size, size, __ATOMIC_RELAXED);
}

static int create_locked(enum cvy_kind kind, uint32_t size, uint32_t flags,
                         uint64_t body, struct cvy_object **out, cvy_ref *ret_body,
                         cvy_ref *ret_left)
{
    cvy_ref ref = 0;
    int r = cvy_place_take(size, &ref, ret_left);
    if (r < 0)
        return r;
    struct cvy_object *object = cvy_at(ref);
    clear(object, size);
    object->flags = flags;
    r = hold_new(object, object, CVY_INDEX_OF(cvy_member_owner()));
    if (r >= 0 && body)
        r = cvy_run_take(body, CVY_RUN_OBJECT, ref, ret_body);
    if (r < 0)
        return r;
    cvy_object_set_kind(object, kind);
    cvy_set64(&cvy_head->object_count, cvy_head->object_count + 1);
    *out = object;
    return 0;
}

/* Whether to do it once more: the dead of whom nobody took notice may hold what is short. */
static bool try_again(int r, int *tries)
{
    if ((r != -ENOMEM && r != -ENOSPC) || (*tries)++)
        return false;
    cvy_members_sweep_asking();
    return true;
}

static int create(enum cvy_kind kind, uint32_t size, uint32_t flags, uint64_t body,
                  struct cvy_object **out, cvy_ref *ret_body)
{
    cvy_ref left = 0;
    cvy_region_lock();
    int r = create_locked(kind, size, flags, body, out, ret_body, &left);
    if (r < 0)
        cvy_rollback();
    else
        cvy_commit();
    if (left && r >= 0)
        (void)cvy_os_punch(cvy_at(left), CVY_PAGE);
    cvy_region_unlock();
    return r;
}

int cvy_object_create(enum cvy_kind kind, uint32_t size, uint32_t flags, uint64_t body,
                      void **out, cvy_ref *ret_body)
{
    struct cvy_object *object = NULL;
    size = (size + LINE - 1) & ~(LINE - 1);
    if (size > CVY_OBJECT_LARGEST || !is_kind(kind))
        return cvy_fail(-EINVAL, "an object header of %u bytes, of kind %#x", size,
                        (unsigned)kind);
    int r, tries = 0;
    do
        r = create(kind, size, flags, body, &object, ret_body);
    while (try_again(r, &tries));
    if (r == -ENOSPC)
        return cvy_fail(
            -ENOMEM,
            "a new object: the %llu KiB for objects' headers are used up by %llu "
            "objects; see .reservation",
            (unsigned long long)(cvy_head->object_bytes / 1024),
            (unsigned long long)cvy_load64(&cvy_head->object_count));
    if (r < 0)
        return cvy_fail_budget("a new object", body + size);
    *out = object;
    return 0;
}

int cvy_object_add_run(void *object, uint64_t bytes, cvy_ref *ret_ref)
{
    int r, tries = 0;
    do {
        cvy_region_lock();
        r = cvy_run_take(bytes, CVY_RUN_OBJECT, cvy_ref_of(object), ret_ref);
        if (r < 0)
            cvy_rollback();
        cvy_region_unlock();
    } while (try_again(r, &tries));
    return r < 0 ? cvy_fail_budget("an object's memory", bytes) : 0;
}

void cvy_object_give_run(cvy_ref ref)
{
    cvy_region_lock();
    cvy_run_give(ref);
    cvy_region_unlock();
}

int cvy_object_check(const void *object, enum cvy_kind kind, const char *call)
{
    const char *name = cvy_kind_name(kind);
    if (!object)
        return cvy_fail(-EINVAL, "%s: the %s is NULL", call, name);
    if (!is_in_area(object))
        return cvy_fail(-EINVAL, "%s: %p is no %s of this family", call, object, name);
    uint32_t is = atomic_load_explicit(&((const struct cvy_object *)object)->kind,
                                       memory_order_acquire);
    if (is == kind)
        return 0;
    if (is_kind(is))
        return cvy_fail(-EINVAL, "%s: %p is a %s, not a %s", call, object,
                        cvy_kind_name(is), name);
    return cvy_fail(COVEY_EFREED, "%s: the %s at %p was freed", call, name, object);
}

static int hold_living(struct cvy_object *handle, uint32_t member_index)
{
    cvy_region_lock();
    uint32_t kind = atomic_load(&handle->kind);
    struct cvy_object *object = is_kind(kind) ? whole_of(handle) : NULL;
    int r = cvy_kind_is_living(kind) ? -EINVAL : COVEY_EFREED;
    if (object)
        r = hold_add(object, handle, member_index);
    if (r < 0)
        cvy_rollback();
    cvy_region_unlock();
    return r;
}

int cvy_object_hold(const void *object, uint32_t member, const char *call)
{
    int r = -EINVAL, tries = 0;
    if (is_in_area(object))
        do
            r = hold_living(cvy_at(cvy_ref_of(object)), CVY_INDEX_OF(member));
        while (try_again(r, &tries));
    if (r == -EINVAL)
        return cvy_fail(r, "%s: %p is no object of this family", call, object);
    if (r == COVEY_EFREED)
        return cvy_fail(r, "%s: nobody holds the object at %p any more", call, object);
    return r < 0 ? cvy_fail_budget("a hold", LINE) : 0;
}

static int join(struct cvy_object *mine, size_t at, uint64_t id, void **ret_object)
{
    int r = 0;
    cvy_region_lock();
    struct cvy_object *found = find_id(atomic_load(&mine->kind), at, id);
    if (found)
        r = hold_add(found, found, CVY_INDEX_OF(cvy_member_owner()));
    else
        cvy_set64(id_of(mine, at), id);
    if (r < 0)
        cvy_rollback();
    cvy_region_unlock();
    *ret_object = found ? found : mine;
    return r;
}

int cvy_object_join(void *mine, size_t at, uint64_t id, void **ret_object)
{
    int r, tries = 0;
    do
        r = join(mine, at, id, ret_object);
    while (try_again(r, &tries));
    return r < 0 ? cvy_fail_budget("a hold", LINE) : 0;
}

int cvy_object_keep(void *object, void *kept, const char *call)
{
    struct cvy_object *keeper = object, *handle = kept;
    cvy_region_lock();
    struct cvy_object *o =
        is_kind(atomic_load(&handle->kind)) ? whole_of(handle) : NULL;
    bool is_alive = o;
    if (o) {
        cvy_set64(kept_by(keeper), cvy_ref_of(kept));
        cvy_set32(&keeper->flags, keeper->flags | CVY_OBJECT_KEEPS);
        cvy_set32(&o->holds, o->holds + 1);
    }
    cvy_region_unlock();
    return is_alive
               ? 0
               : cvy_fail(COVEY_EFREED, "%s: nobody holds the object at %p any more",
                          call, kept);
}

void cvy_object_embed(void *object, void *inner, enum cvy_kind kind)
{
    struct cvy_object *o = object, *in = inner;
    uint32_t line = (uint32_t)((char *)inner - (char *)object) / LINE;
    cvy_region_lock();
    cvy_set32(&o->flags, o->flags | line * CVY_OBJECT_INNER);
    cvy_set64(&in->runs, cvy_ref_of(object));
    cvy_object_set_kind(in, kind);
    cvy_region_unlock();
}

int covey_hold(const void *object)
{
    int r = cvy_enter();
    return r < 0 ? r : cvy_object_hold(object, cvy_member_owner(), "covey_hold");
}

static int release(void *object, bool tells, bool *ret_last)
{
    int r = 0;
    cvy_region_lock();
    struct cvy_hold *hold = find_hold(object, CVY_INDEX_OF(cvy_member_owner()));
    struct cvy_object *o = hold ? cvy_at(hold->object) : NULL;
    *ret_last = o && o->holds == 1;
    if (*ret_last && tells && o->flags & CVY_OBJECT_OWES)
        cvy_set32(&o->flags, o->flags & ~(uint32_t)CVY_OBJECT_OWES);
    if (hold)
        hold_drop(hold, 1);
    else
        r = cvy_fail(-EINVAL, "this process does not hold the object at %p", object);
    cvy_region_unlock();
    return r;
}

/* The caller tells of it. */
int cvy_object_release_told(void *object, bool *ret_last)
{
    return release(object, true, ret_last);
}

int cvy_object_release_owing(void *object, bool *ret_last)
{
    return release(object, false, ret_last);
}

int cvy_object_release(void *object)
{
    bool last;
    return cvy_object_release_told(object, &last);
}

void cvy_object_owe(void *object)
{
    struct cvy_object *o = object;
    cvy_region_lock();
    cvy_set32(&o->flags, o->flags | CVY_OBJECT_OWES);
    cvy_region_unlock();
}

/* Out of the owed, into the hands of the calling process; invisible to all others still. */
static int take_owed(struct cvy_object *object, cvy_ref *link)
{
    cvy_set64(link, object->grave);
    int r = hold_new(object, object, CVY_INDEX_OF(cvy_member_owner()));
    if (r < 0)
        cvy_rollback();
    return r;
}

void *cvy_object_take_owed(enum cvy_kind kind,
                           bool (*is_it)(const void *object, const void *context),
                           const void *context)
{
    struct cvy_object *found = NULL;
    if (!cvy_load64(&cvy_head->owed))
        return NULL;
    cvy_region_lock();
    for (cvy_ref *link = &cvy_head->owed; *link && !found;) {
        struct cvy_object *object = cvy_at(*link);
        if (atomic_load(&object->kind) == (kind | CVY_KIND_OWED) &&
            is_it(object, context))
            found = take_owed(object, link) < 0 ? NULL : object;
        link = &object->grave;
    }
    cvy_region_unlock();
    return found;
}

int cvy_object_release_spare(void *object)
{
    cvy_region_lock();
    struct cvy_hold *hold = find_hold(object, CVY_INDEX_OF(cvy_member_owner()));
    int r = hold ? hold->count > 1 : -EINVAL;
    if (r > 0)
        hold_drop(hold, 1);
    cvy_region_unlock();
    return r;
}

void cvy_head_flag(enum cvy_head_flag flag)
{
    if (cvy_head_has((uint32_t)flag))
        return;
    cvy_region_lock();
    cvy_set32(&cvy_head->flags, cvy_head->flags | (uint32_t)flag);
    cvy_region_unlock();
}

void *cvy_object_held(enum cvy_kind kind)
{
    void *found = NULL;
    cvy_region_lock();
    cvy_ref ref = cvy_member_at(CVY_INDEX_OF(cvy_member_owner()))->holds;
    while (ref && !found) {
        const struct cvy_hold *hold = cvy_at(ref);
        struct cvy_object *object = cvy_at(hold->object);
        if (atomic_load(&object->kind) == (uint32_t)kind)
            found = object;
        ref = hold->member_next;
    }
    cvy_region_unlock();
    return found;
}

unsigned cvy_object_who_holds(const void *object)
{
    const struct cvy_object *o = object;
    unsigned held = 0;
    cvy_region_lock();
    for (cvy_ref ref = o->holders; ref;) {
        const struct cvy_hold *hold = cvy_at(ref);
        uint32_t owner = cvy_member_owner_at(hold->member);
        if (owner == cvy_member_owner())
            held |= CVY_HELD_BY_ME;
        else if (!cvy_member_is_dead(owner, false))
            held |= CVY_HELD_BY_OTHERS;
        ref = hold->object_next;
    }
    if (o->flags & CVY_OBJECT_SHARED)
        held |= CVY_HELD_BY_OTHERS_ONCE;
    cvy_region_unlock();
    return held;
}

bool cvy_object_is_held_by(const void *object, uint32_t owner)
{
    const struct cvy_object *o = object;
    bool is_held = false;
    cvy_region_lock();
    for (cvy_ref ref = o->holders; ref && !is_held;) {
        const struct cvy_hold *hold = cvy_at(ref);
        is_held = cvy_member_owner_at(hold->member) == owner;
        ref = hold->object_next;
    }
    cvy_region_unlock();
    return is_held && !cvy_member_is_dead(owner, false);
}

bool cvy_object_is_lonely(const void *object)
{
    unsigned held = cvy_object_who_holds(object);
    return !(held & CVY_HELD_BY_OTHERS) && held & CVY_HELD_BY_OTHERS_ONCE;
}

/* Each copy is committed by itself; `again` passes over those of the first time. */
static int copy_holds(uint32_t from_index, uint32_t to_index, bool again)
{
    int r = 0;
    cvy_region_lock();
    for (cvy_ref ref = cvy_member_at(from_index)->holds; ref && r >= 0;) {
        struct cvy_hold *hold = cvy_at(ref);
        struct cvy_object *object = cvy_at(hold->object);
        struct cvy_object *handle = cvy_at(hold->handle);
        ref = hold->member_next;
        if (object->flags & CVY_OBJECT_PRIVATE ||
            !cvy_kind_is_living(atomic_load(&object->kind)) ||
            (again && find_hold(handle, to_index)))
            continue;
        r = hold_new(object, handle, to_index);
        if (r < 0)
            cvy_rollback();
        else
            cvy_commit();
    }
    cvy_region_unlock();
    return r;
}

int cvy_holds_copy(uint32_t from, uint32_t to)
{
    int r, tries = 0;
    do
        r = copy_holds(CVY_INDEX_OF(from), CVY_INDEX_OF(to), tries > 0);
    while (try_again(r, &tries));
    return r < 0 ? cvy_fail_budget("the holds of a new process", LINE) : 0;
}

/* ---- who uses up the budget ---- */

struct biggest {
    uint64_t pages;
    cvy_ref ref;
    uint32_t kind;
};

static void note_if_big(struct biggest top[3], const struct cvy_object *o)
{
    struct biggest b = {o->run_pages, cvy_ref_of(o), atomic_load(&o->kind)};
    for (int i = 0; i < 3; i++) {
        if (b.pages <= top[i].pages)
            continue;
        struct biggest smaller = top[i];
        top[i] = b;
        b = smaller;
    }
}

static void find_biggest(struct biggest top[3])
{
    struct cvy_place_walk walk = cvy_place_begin();
    const struct cvy_object *o;
    while ((o = cvy_place_next(&walk)))
        note_if_big(top, o);
}

int cvy_fail_budget(const char *what, uint64_t bytes)
{
    struct biggest top[3] = {{0}};
    char list[192] = "";
    size_t used = 0;
    cvy_region_lock();
    uint64_t in_use = cvy_head->used_pages * CVY_PAGE;
    find_biggest(top);
    cvy_region_unlock();
    for (int i = 0; i < 3 && top[i].pages; i++)
        used += (size_t)snprintf(
            list + used, sizeof list - used, "%s%s %p with %llu KiB",
            i ? ", " : "; the biggest: ", cvy_kind_name(top[i].kind),
            cvy_at(top[i].ref), (unsigned long long)(top[i].pages * CVY_PAGE / 1024));
    return cvy_fail(
        -ENOMEM, "%s of %llu bytes: the family uses %llu of %llu KiB of its budget%s",
        what, (unsigned long long)bytes, (unsigned long long)(in_use / 1024),
        (unsigned long long)(cvy_head->budget / 1024), list);
}
