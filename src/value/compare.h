/* SPDX-License-Identifier: MIT */
/**
 * value/compare.h: equality with a limit.
 */
#ifndef CVY_VALUE_COMPARE_H
#define CVY_VALUE_COMPARE_H

#include "value/node.h"

/**
 * Whether two values are the same key or item: identical or equal. Each comparison takes
 * from `*steps`; NULL: without limit.
 * Returns: 1; 0; -EMSGSIZE when no steps are left.
 */
int cvy_same(const covey_value *a, const covey_value *b, uint64_t *steps);

#endif
