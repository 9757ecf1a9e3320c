/* SPDX-License-Identifier: MIT */
/**
 * value/text.h: str, bytes and bytearray.
 */
#ifndef CVY_VALUE_TEXT_H
#define CVY_VALUE_TEXT_H

#include <stdarg.h>

#include "value/heap.h"

/** A text of `size` bytes, to be filled in. */
struct cvy_text *cvy_text_new(struct cvy_heap *heap, unsigned kind, size_t size);

/** A str, after a look whether it is UTF-8; surrogates are taken. */
covey_value *cvy_str(struct cvy_heap *heap, const char *text, size_t size);

/** A str made as by vprintf of whatever there is: what is not UTF-8, such as half of a
 * character that a precision has cut, becomes '?'. */
covey_value *cvy_str_format_any(const char *format, va_list args) COVEY_PRINTF(1, 0);

covey_value *cvy_bytes(struct cvy_heap *heap, unsigned kind, const void *data,
                       size_t size);

/** Where `text` stops being UTF-8; `size` if it does not. */
size_t cvy_utf8_valid(const char *text, size_t size);

/** The code point at `*at` of valid UTF-8; `*at` goes on to the next. */
uint32_t cvy_utf8_next(const char *text, size_t *at);

/** Write a code point, also a surrogate. Returns: how many of the 4 bytes. */
size_t cvy_utf8_put(char bytes[4], uint32_t point);

/** Whether this is a str with just this text. */
bool cvy_text_is(const covey_value *value, const char *text);

#endif
