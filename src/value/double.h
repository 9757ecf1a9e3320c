/* SPDX-License-Identifier: MIT */
/**
 * value/double.h: doubles as text, whatever the locale.
 */
#ifndef CVY_VALUE_DOUBLE_H
#define CVY_VALUE_DOUBLE_H

#include <stdbool.h>
#include <stddef.h>

enum { CVY_DOUBLE_TEXT = 32 };

/** Write the shortest text that gives this number again, as Python's repr does; with
 * `point` a whole number ends in ".0". Returns: its length. */
size_t cvy_double_write(char text[CVY_DOUBLE_TEXT], double number, bool point);

/** Read all of `text` as Python's float() does, without blanks and underscores. Returns:
 * whether it is a number. */
bool cvy_double_read(const char *text, size_t size, double *ret);

#endif
