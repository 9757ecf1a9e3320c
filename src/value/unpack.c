/* SPDX-License-Identifier: MIT */
/*
 * Values taken apart by a format, in two passes of the same code: the first only looks,
 * so that nothing is written unless all fits.
 */
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <string.h>

#include "base/error.h"
#include "value/format.h"
#include "value/heap.h"
#include "value/keys.h"

struct unpacker {
    const char *format, *at;
    va_list args;
    bool writes; /* the second pass */
};

/* All that take a value get NULL for one that is missing and may be: then they go over
 * the format and its arguments. */
static int take(struct unpacker *u, const covey_value *value);

static int bad(struct unpacker *u)
{
    return cvy_format_bad("value_unpack", u->format, u->at);
}

/* ---- texts and numbers --------------------------------------------------------- */

static int take_text(struct unpacker *u, char unit, const covey_value *value)
{
    bool sized = *u->at == '#', bytes = unit == 'y';
    void *out = va_arg(u->args, void *); /* const char ** or const void ** */
    size_t *out_size = NULL, size = 0;
    struct covey_view view = {0};
    const char *text = NULL;
    int r = 0;

    if (bytes && !sized)
        return bad(u);
    if (sized) {
        u->at++;
        out_size = va_arg(u->args, size_t *);
    }
    if (value && (!out || (sized && !out_size)))
        return cvy_no_place();
    if (value && bytes)
        r = covey_value_get_bytes(value, &view);
    else if (value && !(unit == 'z' && covey_value_is_none(value)))
        r = covey_value_get_str(value, &text, sized ? &size : NULL);
    if (r < 0 || !value || !u->writes)
        return r;
    if (bytes)
        memcpy(out, &view.data, sizeof(view.data));
    else
        memcpy(out, &text, sizeof(text));
    if (sized)
        *out_size = bytes ? view.size : size;
    return 0;
}

/* Write the lowest `size` bytes of a number that was found to fit. */
static void write_number(void *out, uint64_t number, size_t size)
{
    uint32_t low = (uint32_t)number;

    if (size == sizeof(low))
        memcpy(out, &low, size);
    else
        memcpy(out, &number, size);
}

static int take_int(struct unpacker *u, char unit, const covey_value *value)
{
    void *out = va_arg(u->args, void *); /* of a type as `unit` says */
    size_t size = unit == 'i' ? sizeof(int) : unit == 'l' ? sizeof(long) : 8;
    int64_t number;
    int r;

    if (!value)
        return 0;
    if (!out)
        return cvy_no_place();
    r = covey_value_get_int_in(value, size == 4 ? INT_MIN : INT64_MIN,
                               size == 4 ? INT_MAX : INT64_MAX, &number);
    if (r == 0 && u->writes)
        write_number(out, (uint64_t)number, size);
    return r;
}

static int take_unsigned(struct unpacker *u, char unit, const covey_value *value)
{
    void *out = va_arg(u->args, void *);
    size_t size = unit == 'I'   ? sizeof(unsigned)
                  : unit == 'k' ? sizeof(unsigned long)
                  : unit == 'n' ? sizeof(size_t)
                                : 8;
    uint64_t number;
    int r;

    if (!value)
        return 0;
    if (!out)
        return cvy_no_place();
    if ((r = covey_value_get_uint(value, &number)) < 0)
        return r;
    if (size == 4 && number > UINT_MAX)
        return cvy_fail(-EOVERFLOW, "value: int is too large for an unsigned number");
    if (u->writes)
        write_number(out, number, size);
    return 0;
}

static int take_float(struct unpacker *u, const covey_value *value)
{
    double *out = va_arg(u->args, double *), number;
    int r = value ? covey_value_get_float(value, &number) : 0;

    if (value && !out)
        return cvy_no_place();
    if (r == 0 && value && u->writes)
        *out = number;
    return r;
}

/* ---- values and containers ----------------------------------------------------- */

static int take_value(struct unpacker *u, char unit, const covey_value *value)
{
    void *out = va_arg(u->args, void *); /* int *, const covey_value ** or the like */
    covey_value *taken;

    if (value && !out)
        return cvy_no_place();
    if (!value || !u->writes)
        return 0;
    if (unit == 'p') {
        int truth = covey_value_truth(value);
        memcpy(out, &truth, sizeof(truth));
    } else if (unit == 'O') {
        memcpy(out, &value, sizeof(value));
    } else {
        taken = covey_value_ref(value);
        memcpy(out, &taken, sizeof(taken));
    }
    return 0;
}

/* The items of a tuple or list. */
static int take_items(struct unpacker *u, char closing, const covey_value *value)
{
    unsigned kind = closing == ')' ? COVEY_VALUE_TUPLE : COVEY_VALUE_LIST;
    size_t count = covey_value_count(value);
    bool optional = false, more = false;
    size_t index = 0;
    char next;
    int r;

    if (value && !cvy_is_kind(value, kind))
        return cvy_wrong_type(value, closing == ')' ? "tuple" : "list");
    while ((next = cvy_format_next(&u->at)) != closing) {
        if (!next || more)
            return bad(u);
        if (next == '|' || next == '*') {
            optional = optional || next == '|';
            more = next == '*';
            u->at++;
            continue;
        }
        if (value && index >= count && !optional)
            return cvy_fail(COVEY_ETYPE, "value: a %s of %zu items is too short",
                            covey_value_type(value), count);
        r = take(u, value && index < count ? covey_value_at(value, index) : NULL);
        if (r < 0)
            return r;
        index++;
    }
    u->at++;
    if (value && index < count && !more)
        return cvy_fail(COVEY_ETYPE, "value: a %s of %zu items is too long",
                        covey_value_type(value), count);
    return 0;
}

static int take_keys(struct unpacker *u, const covey_value *value)
{
    bool optional = false;
    char next;

    if (value && !cvy_is_kind(value, COVEY_VALUE_DICT))
        return cvy_wrong_type(value, "dict");
    while ((next = cvy_format_next(&u->at)) != '}') {
        const covey_value *item;
        const char *key;
        int r;

        u->at++;
        if (next == '|') {
            optional = true;
            continue;
        }
        if (next != 's') {
            u->at--;
            return bad(u);
        }
        key = va_arg(u->args, const char *);
        item = value ? covey_value_find_str(value, key) : NULL;
        if (value && !item && !optional)
            return cvy_fail(-ENOENT, "value: a dict without key '%s'", key);
        if ((r = take(u, item)) < 0)
            return r;
    }
    u->at++;
    return 0;
}

static int take(struct unpacker *u, const covey_value *value)
{
    char unit = cvy_format_next(&u->at);

    if (!unit)
        return bad(u);
    u->at++;
    switch (unit) {
    case '(':
    case '[':
        return take_items(u, cvy_format_closing(unit), value);
    case '{':
        return take_keys(u, value);
    case 's':
    case 'z':
    case 'y':
        return take_text(u, unit, value);
    case 'i':
    case 'l':
    case 'L':
        return take_int(u, unit, value);
    case 'I':
    case 'k':
    case 'K':
    case 'n':
        return take_unsigned(u, unit, value);
    case 'd':
        return take_float(u, value);
    case 'p':
    case 'O':
    case 'N':
        return take_value(u, unit, value);
    default:
        u->at--;
        return bad(u);
    }
}

int covey_value_unpack(const covey_value *value, const char *format, ...)
{
    struct unpacker u = {.format = format};
    int r = 0;

    if (!value || !format)
        return cvy_fail(-EINVAL, "value_unpack: NULL as %s",
                        value ? "format" : "value");
    for (int pass = 0; pass < 2 && r == 0; pass++) {
        u.at = format;
        u.writes = pass == 1;
        va_start(u.args, format);
        r = take(&u, value);
        va_end(u.args);
        if (r == 0 && cvy_format_next(&u.at))
            r = bad(&u);
    }
    return r;
}
