/* SPDX-License-Identifier: MIT */
/** value/pack.h: covey_value_pack for functions that take a format themselves, and what is
 * made without one. */
#ifndef CVY_VALUE_PACK_H
#define CVY_VALUE_PACK_H

#include <stdarg.h>

#include <covey/value.h>

/** covey_value_pack, with a list of arguments that is yours to end. */
int cvy_value_pack_list(covey_value **out, const char *format,
                        va_list args) COVEY_MUST_CHECK;

/** A tuple of items, which it takes, also on failure. Returns: NULL as all makers. */
covey_value *cvy_value_tuple_of(covey_value *const *items, size_t count);

#endif
