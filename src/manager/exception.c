/* SPDX-License-Identifier: MIT */
/* exception.c: Python's exceptions as values. */
#include <stdarg.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "manager/message.h"
#include "value/node.h"
#include "value/text.h"

/* Arguments of more values than this are not written out: a small pickle may stand for a
 * text without an end. */
#define MOST_VALUES 16
#define MOST_BYTES  65536

covey_value *cvy_exception_make(const char *module, const char *name, covey_value *args)
{
    return covey_value_call(covey_value_global(module, name),
                            args ? args : covey_value_tuple());
}

covey_value *cvy_exception_text(const char *module, const char *name,
                                const char *format, ...)
{
    va_list list;
    covey_value *args = covey_value_tuple();
    va_start(list, format);
    (void)covey_value_append(args, cvy_str_format_any(format, list));
    va_end(list);
    return cvy_exception_make(module, name, args);
}

int cvy_exception_read(const covey_value *value, struct cvy_exception *ret)
{
    struct cvy_exception exception = {0};
    struct covey_object object = {0};
    if (covey_value_get_object(value, &object) < 0 ||
        covey_value_get_global(object.callable, &exception.module, &exception.name) < 0)
        return cvy_fail(COVEY_EPROTOCOL, "a %.60s came where an exception is wanted",
                        covey_value_type(value));
    exception.args = object.args;
    *ret = exception;
    return 0;
}

static int put(struct covey_bytes *text, const char *data, size_t size)
{
    return cvy_bytes_append(text, data, cvy_min_size(size, MOST_BYTES));
}

static size_t bytes_in(const covey_value *value)
{
    const char *text = NULL;
    struct covey_view view = {0};
    size_t size = 0;
    if (covey_value_kind(value) == COVEY_VALUE_STR)
        return covey_value_get_str(value, &text, &size) < 0 ? 0 : size;
    return covey_value_get_bytes(value, &view) < 0 ? 0 : view.size;
}

/* Whether writing it out is sure to stay short. */
static bool is_short(const covey_value *value)
{
    const covey_value *key = NULL, *item = NULL;
    size_t position = 0, bytes = bytes_in(value);
    if (cvy_weight(value) > MOST_VALUES ||
        covey_value_kind(value) == COVEY_VALUE_OBJECT)
        return false;
    while (covey_value_next(value, &position, &key, &item)) {
        if (!is_short(key) || (item && !is_short(item)))
            return false;
        bytes += bytes_in(key) + bytes_in(item);
    }
    return bytes <= MOST_BYTES / MOST_VALUES;
}

static int put_repr(struct covey_bytes *text, const covey_value *value)
{
    struct covey_bytes repr = {0};
    if (!is_short(value))
        return put(text, "...", 3);
    int r = covey_value_repr(value, &repr);
    if (r >= 0)
        r = put(text, repr.data, repr.size);
    covey_bytes_free(&repr);
    return r;
}

/* "[Errno 2] No such file or directory: 'x'"; of connections and files alike. */
static int put_os_error(struct covey_bytes *text, const covey_value *args)
{
    const char *what = NULL;
    size_t size = 0;
    int r = put(text, "[Errno ", 7);
    if (r >= 0)
        r = put_repr(text, covey_value_at(args, 0));
    if (r >= 0)
        r = put(text, "] ", 2);
    if (r >= 0 && covey_value_get_str(covey_value_at(args, 1), &what, &size) >= 0)
        r = put(text, what, size);
    if (r >= 0 && covey_value_count(args) >= 3) {
        r = put(text, ": ", 2);
        if (r >= 0)
            r = put_repr(text, covey_value_at(args, 2));
    }
    return r;
}

static bool is_os_error(const struct cvy_exception *e)
{
    static const char *const names[] = {"OSError",
                                        "FileNotFoundError",
                                        "FileExistsError",
                                        "PermissionError",
                                        "TimeoutError",
                                        "ConnectionError",
                                        "BrokenPipeError",
                                        "InterruptedError",
                                        "ConnectionRefusedError",
                                        "IsADirectoryError",
                                        "ConnectionResetError",
                                        "NotADirectoryError",
                                        "BlockingIOError",
                                        "ChildProcessError",
                                        "ProcessLookupError",
                                        "ConnectionAbortedError"};
    size_t count = covey_value_count(e->args);
    if (strcmp(e->module, "builtins") != 0 || count < 2 || count > 5 ||
        covey_value_kind(covey_value_at(e->args, 1)) != COVEY_VALUE_STR)
        return false;
    for (size_t i = 0; i < CVY_ARRAY_SIZE(names); i++)
        if (strcmp(e->name, names[i]) == 0)
            return true;
    return false;
}

static int put_str(struct covey_bytes *text, const struct cvy_exception *e)
{
    const covey_value *only = covey_value_at(e->args, 0);
    const char *what = NULL;
    size_t size = 0;
    if (is_os_error(e))
        return put_os_error(text, e->args);
    if (covey_value_count(e->args) != 1)
        return only ? put_repr(text, e->args) : 0;
    if (covey_value_kind(only) != COVEY_VALUE_STR || strcmp(e->name, "KeyError") == 0)
        return put_repr(text, only);
    int r = covey_value_get_str(only, &what, &size);
    return r < 0 ? r : put(text, what, size);
}

int cvy_exception_str(const struct cvy_exception *exception, struct covey_bytes *text)
{
    text->size = 0;
    int r = put_str(text, exception);
    if (r >= 0)
        r = cvy_bytes_append(text, "", 1);
    if (r >= 0)
        text->size--;
    return r;
}
