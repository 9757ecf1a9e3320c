/* SPDX-License-Identifier: MIT */
/**
 * value/compare.h: equality and order with a limit.
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

/** Two values that have no order; both borrowed. */
struct cvy_pair {
    const covey_value *a, *b;
};

/**
 * Order two values, as covey_value_compare does.
 *
 * `ret_pair`: receives, with COVEY_ETYPE, what it is that has no order: the two values or
 *           two that lie in them. May be NULL.
 * Returns:  0; COVEY_ETYPE; -EMSGSIZE when no steps are left.
 */
int cvy_compare(const covey_value *a, const covey_value *b, uint64_t *steps,
                struct cvy_pair *ret_pair, enum covey_order *ret_order);

/** Whether `b` has all that `a` has; both are sets or frozensets. Returns: as cvy_same. */
int cvy_is_subset(const covey_value *a, const covey_value *b, uint64_t *steps);

#endif
