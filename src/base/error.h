/* SPDX-License-Identifier: MIT */
/**
 * base/error.h: setting the line that covey_error_detail returns.
 *
 * None of these allocates or changes errno. They format with vsnprintf, which glibc keeps
 * free of locks for the conversions used here, so a fork child of a threaded program may
 * call them.
 */
#ifndef CVY_BASE_ERROR_H
#define CVY_BASE_ERROR_H

#include <covey/base.h>

/** Bytes a detail may have, its end included; what is longer is cut. */
#define CVY_DETAIL_SIZE 512

/** Set the detail. Returns: `code`, for `return cvy_fail(...)`. */
int cvy_fail(int code, const char *format, ...) COVEY_PRINTF(2, 3);

/** Set the detail to the text followed by ": " and the text of `code`. Returns: `code`. */
int cvy_fail_os(int code, const char *format, ...) COVEY_PRINTF(2, 3);

/** The code that came with this thread's last detail; -EINVAL before the first. */
int cvy_last_code(void);

/** Put text and a colon in front of the detail: what a caller further up was about to do. */
void cvy_detail_prefix(const char *format, ...) COVEY_PRINTF(1, 2);

/* So that analyzers, which look into one file at a time, see that what fails is a failure.
 * `code` is evaluated twice. */
static inline int cvy_failure(int told, int code)
{
    (void)told;
    return code;
}
#define cvy_fail(code, ...)    cvy_failure(cvy_fail((code), __VA_ARGS__), (code))
#define cvy_fail_os(code, ...) cvy_failure(cvy_fail_os((code), __VA_ARGS__), (code))

#endif
