/* SPDX-License-Identifier: MIT */
/**
 * base/bytes.h: building up a struct covey_bytes.
 *
 * All return 0 or -ENOMEM with the detail set; on failure the bytes are as they were.
 */
#ifndef CVY_BASE_BYTES_H
#define CVY_BASE_BYTES_H

#include <covey/base.h>

/** Make room for `capacity` bytes in all. */
int cvy_bytes_reserve(struct covey_bytes *bytes, size_t capacity) COVEY_MUST_CHECK;

/** Add `size` bytes of `data`, which must not lie in `bytes`. */
int cvy_bytes_append(struct covey_bytes *bytes, const void *data,
                     size_t size) COVEY_MUST_CHECK;

/** Add text. A NUL follows it that the size omits. */
int cvy_bytes_format(struct covey_bytes *bytes, const char *format, ...)
    COVEY_PRINTF(2, 3) COVEY_MUST_CHECK;

#endif
