/* SPDX-License-Identifier: MIT */
/* array.c: many values of one type in shared memory; see shared.h. */
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "sync/shared.h"

static int enter(covey_array *array, const char *call)
{
    return cvy_sync_enter(array, CVY_KIND_ARRAY, call);
}

static int create(struct cvy_shared_want *want, covey_array **out)
{
    void *made = NULL;
    int r = cvy_shared_create(want, out ? &made : NULL);
    if (r >= 0 && out)
        *out = made;
    return r;
}

int covey_array_create(covey_array **out, char typecode, size_t count,
                       const void *initial, const struct covey_shared_opts *opts)
{
    static const char call[] = "covey_array_create";
    struct cvy_shared_want want = {CVY_KIND_ARRAY, call,    typecode, 0,
                                   count,          initial, opts};
    return typecode ? create(&want, out) : cvy_fail(-EINVAL, "%s: no typecode", call);
}

int covey_array_create_struct(covey_array **out, size_t size, size_t count,
                              const void *initial, const struct covey_shared_opts *opts)
{
    struct cvy_shared_want want = {
        CVY_KIND_ARRAY, "covey_array_create_struct", 0, size, count, initial, opts};
    return create(&want, out);
}

void *covey_array_data(covey_array *array)
{
    int r = enter(array, "covey_array_data");
    return r < 0 ? NULL : cvy_at(array->shared.data);
}

size_t covey_array_len(covey_array *array)
{
    int r = enter(array, "covey_array_len");
    return r < 0 ? 0 : array->shared.count;
}

size_t covey_array_item_size(covey_array *array)
{
    int r = enter(array, "covey_array_item_size");
    return r < 0 ? 0 : array->shared.item_size;
}

char covey_array_typecode(covey_array *array)
{
    int r = enter(array, "covey_array_typecode");
    if (r < 0)
        return 0;
    return (char)array->shared.typecode;
}

/* Where `count` elements from `index` on begin. -ERANGE: there are not so many. */
static int locate(covey_array *array, ptrdiff_t index, size_t count, const char *call,
                  size_t *ret_offset)
{
    size_t len = array->shared.count;
    size_t first = index < 0 ? len - (size_t) - (index + 1) - 1 : (size_t)index;
    if ((index < 0 && (size_t) - (index + 1) >= len) || first > len ||
        count > len - first)
        return cvy_fail(-ERANGE, "%s: array index out of range: %zu from %td of %zu",
                        call, count, index, len);
    *ret_offset = first * array->shared.item_size;
    return 0;
}

void *covey_array_at(covey_array *array, ptrdiff_t index)
{
    static const char call[] = "covey_array_at";
    size_t offset = 0;
    int r = enter(array, call);
    if (r >= 0)
        r = locate(array, index, 1, call, &offset);
    return r < 0 ? NULL : (char *)cvy_at(array->shared.data) + offset;
}

static int begin(covey_array *array, ptrdiff_t index, size_t count, const void *memory,
                 const char *call, size_t *ret_offset)
{
    int r = enter(array, call);
    if (r >= 0 && !memory && count)
        r = cvy_fail(-EINVAL, "%s: the memory is NULL", call);
    return r < 0 ? r : locate(array, index, count, call, ret_offset);
}

int covey_array_get(covey_array *array, ptrdiff_t index, size_t count, void *to)
{
    static const char call[] = "covey_array_get";
    size_t offset = 0;
    int r = begin(array, index, count, to, call, &offset);
    return r < 0 ? r
                 : cvy_shared_read(&array->shared, offset, to,
                                   count * array->shared.item_size, call);
}

int covey_array_set(covey_array *array, ptrdiff_t index, size_t count, const void *from)
{
    static const char call[] = "covey_array_set";
    size_t offset = 0;
    int r = begin(array, index, count, from, call, &offset);
    return r < 0 ? r
                 : cvy_shared_write(&array->shared, offset, from,
                                    count * array->shared.item_size, call);
}

static int enter_string(covey_array *array, const char *call)
{
    int r = enter(array, call);
    if (r >= 0 && array->shared.typecode != 'c')
        return cvy_fail(-EINVAL, "%s: the array's type is not 'c'", call);
    return r;
}

int covey_array_get_string(covey_array *array, struct covey_bytes *ret_text)
{
    static const char call[] = "covey_array_get_string";
    int r = enter_string(array, call);
    if (r >= 0 && !ret_text)
        r = cvy_fail(-EINVAL, "%s: ret_text is NULL", call);
    if (r < 0)
        return r;
    struct covey_bytes text = {0};
    size_t size = array->shared.count;
    r = covey_bytes_resize(&text, size + 1);
    if (r >= 0)
        r = cvy_shared_read(&array->shared, 0, text.data, size, call);
    if (r < 0) {
        covey_bytes_free(&text);
        return r;
    }
    ((char *)text.data)[size] = 0;
    text.size = strlen(text.data);
    covey_bytes_free(ret_text);
    *ret_text = text;
    return r;
}

int covey_array_set_string(covey_array *array, struct covey_view text)
{
    static const char call[] = "covey_array_set_string";
    int r = enter_string(array, call);
    if (r >= 0 && !text.data && text.size)
        r = cvy_fail(-EINVAL, "%s: %zu bytes at NULL", call, text.size);
    if (r < 0)
        return r;
    struct cvy_shared *s = &array->shared;
    if (text.size > s->count)
        return cvy_fail(-ERANGE, "%s: %zu bytes are too long for %llu", call, text.size,
                        (unsigned long long)s->count);
    r = s->lock ? cvy_shared_acquire(s, COVEY_FOREVER, call) : 0;
    if (r < 0)
        return r;
    char *data = cvy_at(s->data);
    if (text.size)
        memmove(data, text.data, text.size);
    if (text.size < s->count)
        data[text.size] = 0;
    if (s->lock)
        (void)cvy_shared_release(s, call);
    return r;
}

int covey_array_acquire(covey_array *array, covey_nsec timeout)
{
    static const char call[] = "covey_array_acquire";
    int r = enter(array, call);
    return cvy_unlikely(r < 0) ? r : cvy_shared_acquire(&array->shared, timeout, call);
}

int covey_array_release(covey_array *array)
{
    static const char call[] = "covey_array_release";
    int r = enter(array, call);
    return cvy_unlikely(r < 0) ? r : cvy_shared_release(&array->shared, call);
}

covey_rlock *covey_array_get_lock(covey_array *array)
{
    int r = enter(array, "covey_array_get_lock");
    return r < 0 ? NULL : cvy_shared_rlock(&array->shared);
}

int covey_array_copy(covey_array *array, covey_array **out)
{
    static const char call[] = "covey_array_copy";
    void *made = NULL;
    int r = enter(array, call);
    if (r >= 0)
        r = cvy_shared_copy(&array->shared, CVY_KIND_ARRAY, out ? &made : NULL, call);
    if (r >= 0 && out)
        *out = made;
    return r;
}

void covey_array_free(covey_array *array)
{
    cvy_sync_free(array, CVY_KIND_ARRAY, "covey_array_free");
}
