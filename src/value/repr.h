/* SPDX-License-Identifier: MIT */
/**
 * value/repr.h: values as text, with a limit.
 */
#ifndef CVY_VALUE_REPR_H
#define CVY_VALUE_REPR_H

#include "value/heap.h"

/**
 * Add the repr of a value to `text`, without a NUL.
 * Returns: 0; -ENOMEM; -EMSGSIZE; the error that sticks to the value.
 */
int cvy_repr(struct cvy_heap *heap, const covey_value *value,
             struct covey_bytes *text) COVEY_MUST_CHECK;

#endif
