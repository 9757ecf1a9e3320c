/* SPDX-License-Identifier: MIT */
/**
 * value/sort.h: sorting a list.
 */
#ifndef CVY_VALUE_SORT_H
#define CVY_VALUE_SORT_H

#include "value/compare.h"
#include "value/heap.h"

/**
 * Sort a list as Python's list.sort, reverse: the largest first.
 *
 * `ret_pair`: receives, with COVEY_ETYPE, what has no order; may be NULL.
 * Returns:  0; COVEY_ETYPE; -EMSGSIZE; -ENOMEM. On failure the order is as it was.
 */
int cvy_seq_sort(struct cvy_heap *heap, struct cvy_seq *seq, bool reverse,
                 struct cvy_pair *ret_pair) COVEY_MUST_CHECK;

#endif
