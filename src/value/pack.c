/* SPDX-License-Identifier: MIT */
/*
 * Values by a format. After an error the rest of the format is still gone through, so
 * that what the caller gave away is dropped; the first error is what is returned.
 */
#include "value/pack.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "base/error.h"
#include "value/format.h"
#include "value/heap.h"

struct packer {
    const char *format, *at;
    va_list args;
    int error;
    bool bad; /* the format is: nobody knows what the other arguments are */
};

int cvy_format_bad(const char *call, const char *format, const char *at)
{
    return cvy_fail(-EINVAL, "%s: bad format \"%s\" at \"%s\"", call, format, at);
}

static covey_value *bad(struct packer *p)
{
    p->bad = true;
    cvy_format_bad("value_pack", p->format, p->at);
    return NULL;
}

static covey_value *make(struct packer *p);

/* What stands up to the closing bracket goes into `container`. */
static covey_value *make_items(struct packer *p, char closing, covey_value *container)
{
    while (!p->bad) {
        char next = cvy_format_next(&p->at);

        if (next == closing) {
            p->at++;
            break;
        }
        if (!next) {
            bad(p);
        } else if (closing == '}') {
            covey_value *key = make(p);

            if (cvy_format_next(&p->at) == closing) {
                covey_value_free(key);
                bad(p);
            } else {
                covey_value_put(container, key, make(p));
            }
        } else {
            covey_value_append(container, make(p));
        }
    }
    return container;
}

/* A str or bytes of a char pointer, with a size after it if # follows. */
static covey_value *make_text(struct packer *p, char unit)
{
    const char *text = va_arg(p->args, const char *);
    size_t size;

    if (*p->at == '#') {
        p->at++;
        size = va_arg(p->args, size_t);
    } else {
        size = text ? strlen(text) : 0;
    }
    if (!text && unit == 'z')
        return covey_value_none();
    if (!text && !(unit == 'y' && size == 0)) {
        cvy_fail(-EINVAL, "value_pack: NULL as text");
        return NULL;
    }
    return unit == 'y' ? covey_value_bytes(text, size)
                       : covey_value_str_size(text, size);
}

static covey_value *make_unit(struct packer *p, char unit)
{
    switch (unit) {
    case 's':
    case 'z':
    case 'y':
        return make_text(p, unit);
    case 'i':
        return covey_value_int(va_arg(p->args, int));
    case 'k':
        return covey_value_uint(va_arg(p->args, unsigned long));
    case 'I':
        return covey_value_int(va_arg(p->args, unsigned));
    case 'K':
        return covey_value_uint(va_arg(p->args, unsigned long long));
    case 'l':
        return covey_value_int(va_arg(p->args, long));
    case 'n':
        return covey_value_uint(va_arg(p->args, size_t));
    case 'L':
        return covey_value_int(va_arg(p->args, long long));
    case 'd':
        return covey_value_float(va_arg(p->args, double));
    case 'p':
        return covey_value_bool(va_arg(p->args, int));
    case 'O':
        return covey_value_ref(va_arg(p->args, const covey_value *));
    case 'N':
        return va_arg(p->args, covey_value *);
    default:
        p->at--;
        return bad(p);
    }
}

/* The next value. NULL on failure, with the error noted. */
static covey_value *make(struct packer *p)
{
    char unit = cvy_format_next(&p->at);
    covey_value *value;
    int r;

    if (!unit)
        return bad(p);
    p->at++;
    if (unit == '(')
        value = make_items(p, ')', covey_value_tuple());
    else if (unit == '[')
        value = make_items(p, ']', covey_value_list());
    else if (unit == '{')
        value = make_items(p, '}', covey_value_dict());
    else
        value = make_unit(p, unit);
    r = covey_value_check(value);
    if (r < 0 && !p->error)
        p->error = r;
    return value;
}

int cvy_value_pack_list(covey_value **out, const char *format, va_list args)
{
    struct packer p = {.format = format, .at = format};
    covey_value *value;

    if (!format)
        return cvy_fail(-EINVAL, "value_pack: NULL as format");
    va_copy(p.args, args);
    value = make(&p);
    if (!p.bad && cvy_format_next(&p.at))
        bad(&p);
    if (p.bad)
        p.error = -EINVAL;
    va_end(p.args);
    if (p.error || !out) {
        covey_value_free(value);
        return p.error ? p.error : cvy_fail(-EINVAL, "value_pack: NULL for the result");
    }
    *out = value;
    return 0;
}

int covey_value_pack(covey_value **out, const char *format, ...)
{
    va_list args;
    int r;

    va_start(args, format);
    r = cvy_value_pack_list(out, format, args);
    va_end(args);
    return r;
}
