/* SPDX-License-Identifier: MIT */
/*
 * Text and bytes. A str is UTF-8 in which surrogates may stand too, each in three bytes,
 * as Python's error handler surrogatepass writes them. Byte order is then the order of
 * code points, which is Python's order.
 */
#include "value/text.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"

/* ---- UTF-8 ------------------------------------------------------------------- */

/* Bytes of the sequence at `bytes`, of which `size` are there; 0 if it is none. */
static size_t sequence(const unsigned char *bytes, size_t size)
{
    unsigned first = bytes[0];
    size_t length = first < 0x80   ? 1
                    : first < 0xc2 ? 0 /* a continuation, or longer than need be */
                    : first < 0xe0 ? 2
                    : first < 0xf0 ? 3
                    : first < 0xf5 ? 4
                                   : 0;

    if (length > size)
        return 0;
    for (size_t i = 1; i < length; i++) {
        if ((bytes[i] & 0xc0) != 0x80)
            return 0;
    }
    if ((first == 0xe0 && bytes[1] < 0xa0) || (first == 0xf0 && bytes[1] < 0x90) ||
        (first == 0xf4 && bytes[1] > 0x8f))
        return 0;
    return length;
}

size_t cvy_utf8_valid(const char *text, size_t size)
{
    const unsigned char *bytes = (const unsigned char *)text;
    size_t at = 0, length;

    while (at < size) {
        uint64_t eight;

        if (size - at >= sizeof(eight)) { /* most text is ASCII */
            memcpy(&eight, bytes + at, sizeof(eight));
            if (!(eight & UINT64_C(0x8080808080808080))) {
                at += sizeof(eight);
                continue;
            }
        }
        length = sequence(bytes + at, size - at);
        if (!length)
            return at;
        at += length;
    }
    return at;
}

uint32_t cvy_utf8_next(const char *text, size_t *at)
{
    const unsigned char *bytes = (const unsigned char *)text + *at;

    if (bytes[0] < 0x80) {
        *at += 1;
        return bytes[0];
    }
    if (bytes[0] < 0xe0) {
        *at += 2;
        return (bytes[0] & 0x1fU) << 6 | (bytes[1] & 0x3fU);
    }
    if (bytes[0] < 0xf0) {
        *at += 3;
        return (bytes[0] & 0xfU) << 12 | (bytes[1] & 0x3fU) << 6 | (bytes[2] & 0x3fU);
    }
    *at += 4;
    return (bytes[0] & 7U) << 18 | (bytes[1] & 0x3fU) << 12 | (bytes[2] & 0x3fU) << 6 |
           (bytes[3] & 0x3fU);
}

size_t cvy_utf8_put(char bytes[4], uint32_t point)
{
    if (point < 0x80) {
        bytes[0] = (char)point;
        return 1;
    }
    if (point < 0x800) {
        bytes[0] = (char)(0xc0 | point >> 6);
        bytes[1] = (char)(0x80 | (point & 0x3f));
        return 2;
    }
    if (point < 0x10000) {
        bytes[0] = (char)(0xe0 | point >> 12);
        bytes[1] = (char)(0x80 | (point >> 6 & 0x3f));
        bytes[2] = (char)(0x80 | (point & 0x3f));
        return 3;
    }
    bytes[0] = (char)(0xf0 | point >> 18);
    bytes[1] = (char)(0x80 | (point >> 12 & 0x3f));
    bytes[2] = (char)(0x80 | (point >> 6 & 0x3f));
    bytes[3] = (char)(0x80 | (point & 0x3f));
    return 4;
}

/* ---- making ------------------------------------------------------------------ */

struct cvy_text *cvy_text_new(struct cvy_heap *heap, unsigned kind, size_t size)
{
    struct cvy_text *text;
    size_t total;

    if (__builtin_add_overflow(size, sizeof(*text) + 1, &total)) {
        cvy_fail(-ENOMEM, "value: no memory for %zu bytes", size);
        return NULL;
    }
    /* Not by cvy_node, which would write zeros all over it. */
    text = cvy_heap_alloc(heap, total);
    if (!text)
        return NULL;
    memset(text, 0, sizeof(*text));
    atomic_init(&text->head.refs, 1);
    text->head.kind = (uint8_t)kind;
    text->size = size;
    text->data[size] = 0;
    if (kind == COVEY_VALUE_BYTEARRAY)
        cvy_set_flags(&text->head, CVY_UNHASHABLE);
    return text;
}

covey_value *cvy_bytes(struct cvy_heap *heap, unsigned kind, const void *data,
                       size_t size)
{
    struct cvy_text *text;

    if (!data && size) {
        cvy_fail(-EINVAL, "value: NULL as data");
        return NULL;
    }
    text = cvy_text_new(heap, kind, size);
    if (!text)
        return NULL;
    if (size)
        memcpy(text->data, data, size);
    return &text->head;
}

covey_value *cvy_str(struct cvy_heap *heap, const char *text, size_t size)
{
    size_t valid = text ? cvy_utf8_valid(text, size) : 0;

    if (valid < size && text) {
        cvy_fail(-EILSEQ, "value: text is not UTF-8 at byte %zu", valid);
        return NULL;
    }
    return cvy_bytes(heap, COVEY_VALUE_STR, text, size);
}

covey_value *covey_value_str(const char *text)
{
    return cvy_str(NULL, text, text ? strlen(text) : 1);
}

covey_value *covey_value_str_size(const char *text, size_t size)
{
    return cvy_str(NULL, text, size);
}

COVEY_PRINTF(1, 0)
static struct cvy_text *format_text(const char *format, va_list args)
{
    struct cvy_text *text;
    va_list again;
    int length;

    va_copy(again, args);
    length = vsnprintf(NULL, 0, format, again);
    va_end(again);
    if (length < 0) {
        cvy_fail(-EILSEQ, "value: cannot format text");
        return NULL;
    }
    text = cvy_text_new(NULL, COVEY_VALUE_STR, (size_t)length);
    if (text)
        vsnprintf(text->data, text->size + 1, format, args);
    return text;
}

covey_value *covey_value_str_format(const char *format, ...)
{
    struct cvy_text *text;
    va_list args;
    size_t valid;

    va_start(args, format);
    text = format_text(format, args);
    va_end(args);
    if (!text)
        return NULL;
    valid = cvy_utf8_valid(text->data, text->size);
    if (valid < text->size) {
        cvy_fail(-EILSEQ, "value: text is not UTF-8 at byte %zu", valid);
        covey_value_free(&text->head);
        return NULL;
    }
    return &text->head;
}

covey_value *cvy_str_format_any(const char *format, va_list args)
{
    struct cvy_text *text = format_text(format, args);
    size_t from = 0, to = 0, size = text ? text->size : 0;

    while (from < size) {
        size_t valid = cvy_utf8_valid(text->data + from, size - from);

        memmove(text->data + to, text->data + from, valid);
        from += valid;
        to += valid;
        if (from == size)
            break;
        text->data[to++] = '?';
        do
            from++;
        while (from < size && (text->data[from] & 0xc0) == 0x80);
    }
    if (!text)
        return NULL;
    text->data[to] = 0;
    text->size = to;
    return &text->head;
}

covey_value *covey_value_bytes(const void *data, size_t size)
{
    return cvy_bytes(NULL, COVEY_VALUE_BYTES, data, size);
}

covey_value *covey_value_bytearray(const void *data, size_t size)
{
    return cvy_bytes(NULL, COVEY_VALUE_BYTEARRAY, data, size);
}

/* ---- reading ----------------------------------------------------------------- */

bool cvy_text_is(const covey_value *value, const char *text)
{
    const struct cvy_text *str = cvy_as_text(value);

    return cvy_is_kind(value, COVEY_VALUE_STR) && str->size == strlen(text) &&
           !memcmp(str->data, text, str->size);
}

int covey_value_get_str(const covey_value *value, const char **ret_text,
                        size_t *ret_size)
{
    const struct cvy_text *text = cvy_as_text(value);

    if (!cvy_is_kind(value, COVEY_VALUE_STR))
        return cvy_wrong_type(value, "str");
    if (!ret_text)
        return cvy_no_place();
    if (!ret_size && memchr(text->data, 0, text->size))
        return cvy_fail(-EINVAL, "value: str contains a NUL");
    *ret_text = text->data;
    if (ret_size)
        *ret_size = text->size;
    return 0;
}

int covey_value_get_bytes(const covey_value *value, struct covey_view *ret)
{
    const struct cvy_text *text = cvy_as_text(value);

    if (!cvy_is_kind(value, COVEY_VALUE_BYTES) &&
        !cvy_is_kind(value, COVEY_VALUE_BYTEARRAY))
        return cvy_wrong_type(value, "bytes");
    if (!ret)
        return cvy_no_place();
    *ret = COVEY_VIEW(text->data, text->size);
    return 0;
}
