/* SPDX-License-Identifier: MIT */
/* shared_value.c: one typed value in shared memory; see shared.h. */
#include <errno.h>

#include "base/error.h"
#include "sync/shared.h"

static int enter(covey_shared_value *value, const char *call)
{
    return cvy_sync_enter(value, CVY_KIND_SHARED_VALUE, call);
}

int covey_shared_value_create(covey_shared_value **out, char typecode,
                              const void *initial, const struct covey_shared_opts *opts)
{
    static const char call[] = "covey_shared_value_create";
    struct cvy_shared_want want = {
        CVY_KIND_SHARED_VALUE, call, typecode, 0, 1, initial, opts};
    void *made = NULL;
    if (!typecode)
        return cvy_fail(-EINVAL, "%s: no typecode", call);
    int r = cvy_shared_create(&want, out ? &made : NULL);
    if (r >= 0 && out)
        *out = made;
    return r;
}

int covey_shared_value_create_struct(covey_shared_value **out, size_t size,
                                     const void *initial,
                                     const struct covey_shared_opts *opts)
{
    struct cvy_shared_want want = {CVY_KIND_SHARED_VALUE,
                                   "covey_shared_value_create_struct",
                                   0,
                                   size,
                                   1,
                                   initial,
                                   opts};
    void *made = NULL;
    int r = cvy_shared_create(&want, out ? &made : NULL);
    if (r >= 0 && out)
        *out = made;
    return r;
}

void *covey_shared_value_data(covey_shared_value *value)
{
    int r = enter(value, "covey_shared_value_data");
    return r < 0 ? NULL : cvy_at(value->shared.data);
}

size_t covey_shared_value_size(covey_shared_value *value)
{
    int r = enter(value, "covey_shared_value_size");
    return r < 0 ? 0 : value->shared.item_size;
}

char covey_shared_value_typecode(covey_shared_value *value)
{
    int r = enter(value, "covey_shared_value_typecode");
    if (r < 0)
        return 0;
    return (char)value->shared.typecode;
}

static int check_size(covey_shared_value *value, const void *memory, size_t size,
                      const char *call)
{
    int r = enter(value, call);
    if (r >= 0 && !memory)
        r = cvy_fail(-EINVAL, "%s: the memory is NULL", call);
    if (r >= 0 && size != value->shared.item_size)
        r = cvy_fail(-EINVAL, "%s: %zu bytes, but the value has %llu", call, size,
                     (unsigned long long)value->shared.item_size);
    return r;
}

int covey_shared_value_get(covey_shared_value *value, void *to, size_t size)
{
    static const char call[] = "covey_shared_value_get";
    int r = check_size(value, to, size, call);
    return r < 0 ? r : cvy_shared_read(&value->shared, 0, to, size, call);
}

int covey_shared_value_set(covey_shared_value *value, const void *from, size_t size)
{
    static const char call[] = "covey_shared_value_set";
    int r = check_size(value, from, size, call);
    return r < 0 ? r : cvy_shared_write(&value->shared, 0, from, size, call);
}

int covey_shared_value_acquire(covey_shared_value *value, covey_nsec timeout)
{
    static const char call[] = "covey_shared_value_acquire";
    int r = enter(value, call);
    return cvy_unlikely(r < 0) ? r : cvy_shared_acquire(&value->shared, timeout, call);
}

int covey_shared_value_release(covey_shared_value *value)
{
    static const char call[] = "covey_shared_value_release";
    int r = enter(value, call);
    return cvy_unlikely(r < 0) ? r : cvy_shared_release(&value->shared, call);
}

covey_rlock *covey_shared_value_get_lock(covey_shared_value *value)
{
    int r = enter(value, "covey_shared_value_get_lock");
    return r < 0 ? NULL : cvy_shared_rlock(&value->shared);
}

int covey_shared_value_copy(covey_shared_value *value, covey_shared_value **out)
{
    static const char call[] = "covey_shared_value_copy";
    void *made = NULL;
    int r = enter(value, call);
    if (r >= 0)
        r = cvy_shared_copy(&value->shared, CVY_KIND_SHARED_VALUE, out ? &made : NULL,
                            call);
    if (r >= 0 && out)
        *out = made;
    return r;
}

void covey_shared_value_free(covey_shared_value *value)
{
    cvy_sync_free(value, CVY_KIND_SHARED_VALUE, "covey_shared_value_free");
}
