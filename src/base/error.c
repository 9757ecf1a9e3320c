/* SPDX-License-Identifier: MIT */
/*
 * Result codes and their texts.
 *
 * Every text is a constant of this library or of libc (strerrordesc_np: not translated,
 * no locks), so it lives as long as the program. The detail is one buffer per thread;
 * a fork child starts with a copy of its forker's.
 */
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"

static _Thread_local char detail[CVY_DETAIL_SIZE]
    __attribute__((tls_model("initial-exec")));

static _Thread_local int last_code __attribute__((tls_model("initial-exec")));

struct code_text {
    int code;
    const char *name;
    const char *text;
    const char *python;
};

static const struct code_text own_codes[] = {
    {0, "0", "success", ""},
    {COVEY_ABANDONED, "COVEY_ABANDONED", "held now, its last owner died holding it",
     ""},
    {COVEY_PENDING, "COVEY_PENDING", "accepted, a part is still to be sent", ""},
    /* EOPNOTSUPP is the same number; Python and our documents say this one. */
    {-ENOTSUP, "ENOTSUP", "Operation not supported", "NotImplementedError"},
#define OWN_CODE(code, name, text, python) {code, "COVEY_" #name, text, python},
    COVEY_ERROR_MAP(OWN_CODE)
#undef OWN_CODE
};

/* What Python raises for an errno; everything else is a plain OSError. */
static const struct {
    int error;
    const char *python;
} python_errors[] = {
    {EINVAL, "ValueError"},
    {ENOMEM, "MemoryError"},
    {EOVERFLOW, "OverflowError"},
    {ETIMEDOUT, "TimeoutError"},
    {EAGAIN, "BlockingIOError"},
    {EALREADY, "BlockingIOError"},
    {EINPROGRESS, "BlockingIOError"},
    {EPIPE, "BrokenPipeError"},
    {ESHUTDOWN, "BrokenPipeError"},
    {ECHILD, "ChildProcessError"},
    {ECONNABORTED, "ConnectionAbortedError"},
    {ECONNREFUSED, "ConnectionRefusedError"},
    {ECONNRESET, "ConnectionResetError"},
    {EEXIST, "FileExistsError"},
    {ENOENT, "FileNotFoundError"},
    {EINTR, "InterruptedError"},
    {EISDIR, "IsADirectoryError"},
    {ENOTDIR, "NotADirectoryError"},
    {EACCES, "PermissionError"},
    {EPERM, "PermissionError"},
    {ESRCH, "ProcessLookupError"},
};

static const struct code_text *find_own(int code)
{
    for (size_t i = 0; i < CVY_ARRAY_SIZE(own_codes); i++) {
        if (own_codes[i].code == code)
            return &own_codes[i];
    }
    return NULL;
}

/* The errno in `code`, 0 if it is none that this system names. */
static int known_errno(int code)
{
    return code < 0 && code >= -4095 && strerrorname_np(-code) ? -code : 0;
}

const char *covey_strerror(int code)
{
    const struct code_text *own = find_own(code);

    if (own)
        return own->text;
    if (known_errno(code))
        return strerrordesc_np(-code);
    return "unknown result code";
}

const char *covey_error_name(int code)
{
    const struct code_text *own = find_own(code);

    if (own)
        return own->name;
    if (known_errno(code))
        return strerrorname_np(-code);
    return "unknown";
}

const char *covey_error_python(int code)
{
    const struct code_text *own = find_own(code);

    if (own)
        return own->python;
    for (size_t i = 0; i < CVY_ARRAY_SIZE(python_errors); i++) {
        if (-python_errors[i].error == code)
            return python_errors[i].python;
    }
    return code < 0 && code >= -4095 ? "OSError" : "RuntimeError";
}

const char *covey_error_detail(void)
{
    return detail;
}

/* Replace the detail by the text, ": " and `tail` (NULL: by the text alone). It is built
 * aside, as the arguments may point into the old one. */
static void set_detail(const char *tail, const char *format, va_list args)
    COVEY_PRINTF(2, 0);

static void set_detail(const char *tail, const char *format, va_list args)
{
    char text[CVY_DETAIL_SIZE];
    int saved_errno = errno;
    int written = vsnprintf(text, sizeof(text), format, args);
    size_t length = written < 0 ? 0 : cvy_min_size((size_t)written, sizeof(text) - 1);

    if (tail && strlen(tail) < sizeof(text) / 2) /* a short reason is not cut */
        length = cvy_min_size(length, sizeof(text) - strlen(tail) - sizeof(": "));
    text[length] = 0;
    if (tail)
        snprintf(text + length, sizeof(text) - length, ": %s", tail);
    cvy_flatten(text);
    memcpy(detail, text, sizeof(text));
    errno = saved_errno;
}

int(cvy_fail)(int code, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    set_detail(NULL, format, args);
    va_end(args);
    last_code = code;
    return code;
}

int(cvy_fail_os)(int code, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    set_detail(covey_strerror(code), format, args);
    va_end(args);
    last_code = code;
    return code;
}

int cvy_last_code(void)
{
    return last_code < 0 ? last_code : -EINVAL;
}

void cvy_detail_prefix(const char *format, ...)
{
    char old[CVY_DETAIL_SIZE];
    va_list args;

    memcpy(old, detail, sizeof(old));
    va_start(args, format);
    set_detail(old[0] ? old : NULL, format, args);
    va_end(args);
}
