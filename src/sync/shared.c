/* SPDX-License-Identifier: MIT */
/* shared.c: memory of a type with a lock beside it: what shared values and arrays are. */
#include "sync/shared.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/opts.h"
#include "region/look.h"

#define INLINE_BYTES (2048u - sizeof(struct cvy_shared))
#define PUNCH_BYTES  (UINT64_C(1) << 20) /* rather than writing so many zeros */

size_t covey_typecode_size(char typecode)
{
    static const struct {
        char code;
        unsigned char size;
    } types[] = {{'c', 1},
                 {'b', 1},
                 {'B', 1},
                 {'u', sizeof(wchar_t)},
                 {'h', 2},
                 {'H', 2},
                 {'i', 4},
                 {'I', 4},
                 {'f', 4},
                 {'d', 8},
                 {'q', 8},
                 {'Q', 8},
                 {'l', sizeof(long)},
                 {'L', sizeof(long)}};
    for (size_t i = 0; i < CVY_ARRAY_SIZE(types); i++)
        if (types[i].code == typecode)
            return types[i].size;
    return 0;
}

static bool is_locked_by_rlock(const struct cvy_shared *s)
{
    const struct covey_lock *lock = cvy_at(s->lock);
    return lock->object.kind == CVY_KIND_RLOCK;
}

int cvy_shared_acquire(struct cvy_shared *s, covey_nsec timeout, const char *call)
{
    if (!s->lock)
        return cvy_fail(COVEY_ESTATE, "%s: it was made without a lock", call);
    struct covey_lock *lock = cvy_at(s->lock);
    if (cvy_likely(is_locked_by_rlock(s)))
        return cvy_rlock_acquire(lock, timeout, call);
    return covey_lock_acquire(lock, timeout);
}

int cvy_shared_release(struct cvy_shared *s, const char *call)
{
    if (!s->lock)
        return cvy_fail(COVEY_ESTATE, "%s: it was made without a lock", call);
    struct covey_lock *lock = cvy_at(s->lock);
    return cvy_likely(is_locked_by_rlock(s)) ? cvy_rlock_release(lock, call)
                                             : covey_lock_release(lock);
}

covey_rlock *cvy_shared_rlock(struct cvy_shared *s)
{
    return s->lock && is_locked_by_rlock(s) ? cvy_at(s->lock) : NULL;
}

int cvy_shared_read(struct cvy_shared *s, size_t offset, void *to, size_t size,
                    const char *call)
{
    int r = s->lock ? cvy_shared_acquire(s, COVEY_FOREVER, call) : 0;
    if (r < 0)
        return r;
    if (size)
        memmove(to, (const char *)cvy_at(s->data) + offset, size);
    if (s->lock)
        (void)cvy_shared_release(s, call);
    return r;
}

int cvy_shared_write(struct cvy_shared *s, size_t offset, const void *from, size_t size,
                     const char *call)
{
    int r = s->lock ? cvy_shared_acquire(s, COVEY_FOREVER, call) : 0;
    if (r < 0)
        return r;
    if (size)
        memmove((char *)cvy_at(s->data) + offset, from, size);
    if (s->lock)
        (void)cvy_shared_release(s, call);
    return r;
}

/* ---- making ---- */

static int check_type(const struct cvy_shared_want *want, size_t *ret_item)
{
    *ret_item = want->typecode ? covey_typecode_size(want->typecode) : want->item_size;
    if (*ret_item)
        return 0;
    if (want->typecode)
        return cvy_fail(-EINVAL,
                        "%s: bad typecode '%c' (must be one of cubBhHiIlLqQfd)",
                        want->call, want->typecode);
    return cvy_fail(-EINVAL, "%s: an element of no bytes", want->call);
}

static int check_opts(const struct covey_shared_opts *o, const char *call)
{
    if (o->lock && o->rlock)
        return cvy_fail(-EINVAL, "%s: both .lock and .rlock", call);
    if ((o->lock || o->rlock) && o->synchronized == COVEY_OFF)
        return cvy_fail(-EINVAL, "%s: a lock, but .synchronized is off", call);
    if (o->align & (o->align - 1) || o->align > CVY_PAGE)
        return cvy_fail(-EINVAL, "%s: .align is %zu, not a power of two up to 4096",
                        call, o->align);
    if (o->lock)
        return cvy_sync_enter(o->lock, CVY_KIND_LOCK, call);
    return o->rlock ? cvy_sync_enter(o->rlock, CVY_KIND_RLOCK, call) : 0;
}

/* Fill the data, which nobody else knows yet. */
static void fill(struct cvy_shared *s, uint64_t bytes, const void *initial, bool is_run)
{
    char *data = cvy_at(s->data);
    if (initial)
        memcpy(data, initial, bytes);
    else if (!is_run || bytes < PUNCH_BYTES ||
             cvy_os_punch(data, cvy_round_up(bytes, CVY_PAGE)) < 0)
        memset(data, 0, bytes);
}

static void set_lock(struct cvy_shared *s, const struct covey_shared_opts *o)
{
    if (o->synchronized == COVEY_OFF)
        return;
    if (o->lock || o->rlock) {
        s->lock = cvy_ref_of(o->lock ? (void *)o->lock : o->rlock);
        return;
    }
    atomic_store(&s->own.depth, 1);
    cvy_object_embed(s, &s->own, CVY_KIND_RLOCK);
    s->lock = cvy_ref_of(&s->own);
}

int cvy_shared_create(const struct cvy_shared_want *want, void **out)
{
    struct covey_shared_opts o;
    size_t item = 0, bytes = 0;
    void *made = NULL;
    cvy_ref body = 0;
    int r = CVY_TAKE_OPTS(&o, want->opts, want->call);
    if (r >= 0)
        r = CVY_CHECK_SWITCHES(want->call, {".synchronized", o.synchronized});
    if (r >= 0)
        r = cvy_sync_begin(out, want->call);
    if (r >= 0)
        r = check_type(want, &item);
    if (r >= 0)
        r = check_opts(&o, want->call);
    if (r >= 0 && (__builtin_mul_overflow(item, want->count, &bytes) ||
                   bytes > PTRDIFF_MAX - CVY_PAGE))
        r = cvy_fail(-EOVERFLOW, "%s: %zu elements of %zu bytes", want->call,
                     want->count, item);
    if (r < 0 || !out) /* which is an error above */
        return r;
    bool is_run = bytes > INLINE_BYTES || o.align > CVY_CACHE_LINE;
    r = cvy_object_create(want->kind,
                          (uint32_t)(sizeof(struct cvy_shared) + (is_run ? 0 : bytes)),
                          0, is_run ? cvy_max_size(bytes, 1) : 0, &made, &body);
    if (r < 0)
        return r;
    struct cvy_shared *s = made;
    if (o.name)
        memcpy(s->name, o.name, strnlen(o.name, sizeof s->name - 1));
    s->data = is_run ? body : cvy_ref_of(s + 1);
    s->count = want->count;
    s->item_size = item;
    s->typecode = (unsigned char)want->typecode;
    set_lock(s, &o);
    fill(s, bytes, want->initial, is_run);
    *out = s;
    return 0;
}

int cvy_shared_copy(struct cvy_shared *s, enum cvy_kind kind, void **out,
                    const char *call)
{
    struct cvy_shared_want want = {.kind = kind,
                                   .call = call,
                                   .typecode = (char)s->typecode,
                                   .item_size = s->item_size,
                                   .count = s->count};
    void *made = NULL;
    int r = cvy_shared_create(&want, out ? &made : NULL);
    if (r < 0 || !out)
        return r;
    struct cvy_shared *copy = made;
    r = cvy_shared_read(s, 0, cvy_at(copy->data), s->count * s->item_size, call);
    if (r < 0)
        (void)cvy_object_release(copy);
    else
        *out = copy;
    return r;
}

static void look(const struct cvy_head *head, const struct cvy_object *object,
                 char *text, size_t size)
{
    const struct cvy_shared *s = (const void *)object;
    const struct cvy_object *lock = cvy_look_at(head, s->lock);
    char state[112] = "";
    if (lock)
        cvy_lock_look(head, lock, state, sizeof state);
    size_t n = (size_t)snprintf(text, size, "%llu x ", (unsigned long long)s->count);
    if (s->typecode)
        n += (size_t)snprintf(text + n, size - n, "'%c'", (char)s->typecode);
    else
        n += (size_t)snprintf(text + n, size - n, "%llu bytes",
                              (unsigned long long)s->item_size);
    if (lock)
        (void)snprintf(text + n, size - n, ", its lock is %s", state);
}

__attribute__((constructor)) static void show_shared(void)
{
    size_t name = offsetof(struct cvy_shared, name);
    size_t room = sizeof((struct cvy_shared *)0)->name;
    cvy_look_register(CVY_KIND_SHARED_VALUE, name, room, look);
    cvy_look_register(CVY_KIND_ARRAY, name, room, look);
}
