/* SPDX-License-Identifier: MIT */
/*
 * Byte buffers. Invariant: size <= capacity, and `data` is NULL exactly when the capacity
 * is 0. Capacity at least doubles when it grows, so appending costs constant time each.
 */
#include "base/bytes.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "base/error.h"
#include "base/memory.h"

int cvy_bytes_reserve(struct covey_bytes *bytes, size_t capacity)
{
    size_t grown;
    void *data;

    if (capacity <= bytes->capacity)
        return 0;
    if (capacity > PTRDIFF_MAX)
        return cvy_fail(-ENOMEM, "bytes: %zu bytes are more than memory has", capacity);
    grown = cvy_max_size(capacity, cvy_max_size(bytes->capacity * 2, 64));
    data = cvy_realloc(bytes->data, grown);
    if (!data && grown > capacity) {
        grown = capacity;
        data = cvy_realloc(bytes->data, grown);
    }
    if (!data)
        return cvy_fail(-ENOMEM, "bytes: no memory for %zu bytes", capacity);
    bytes->data = data;
    bytes->capacity = grown;
    return 0;
}

int covey_bytes_resize(struct covey_bytes *bytes, size_t size)
{
    int r = cvy_bytes_reserve(bytes, size);

    if (r < 0)
        return r;
    bytes->size = size;
    return 0;
}

void covey_bytes_free(struct covey_bytes *bytes)
{
    if (!bytes)
        return;
    cvy_free(bytes->data);
    *bytes = (struct covey_bytes){0};
}

int cvy_bytes_append(struct covey_bytes *bytes, const void *data, size_t size)
{
    size_t old_size = bytes->size;
    int r;

    if (!size)
        return 0;
    if (size > PTRDIFF_MAX - old_size)
        return cvy_fail(-ENOMEM, "bytes: %zu more are more than memory has", size);
    r = covey_bytes_resize(bytes, old_size + size);
    if (r < 0)
        return r;
    memcpy((char *)bytes->data + old_size, data, size);
    return 0;
}

int cvy_bytes_format(struct covey_bytes *bytes, const char *format, ...)
{
    va_list args;
    int length, r;

    va_start(args, format);
    length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (length < 0)
        return cvy_fail(-ENOMEM, "bytes: cannot format text");
    r = cvy_bytes_reserve(bytes, bytes->size + (size_t)length + 1);
    if (r < 0)
        return r;
    va_start(args, format);
    vsnprintf((char *)bytes->data + bytes->size, (size_t)length + 1, format, args);
    va_end(args);
    bytes->size += (size_t)length;
    return 0;
}
