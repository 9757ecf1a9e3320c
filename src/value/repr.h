/* SPDX-License-Identifier: MIT */
/**
 * value/repr.h: values as text, with a limit.
 */
#ifndef CVY_VALUE_REPR_H
#define CVY_VALUE_REPR_H

#include "value/heap.h"

/** Who knows better adds the repr of an object. Returns: 1; 0: nobody; -ENOMEM. */
typedef int cvy_repr_fn(const covey_value *object, struct covey_bytes *text);

/**
 * Add the repr of a value to `text`, without a NUL.
 *
 * `objects`: is asked about each object first; may be NULL.
 * Returns:  0; -ENOMEM; -EMSGSIZE; the error that sticks to the value.
 */
int cvy_repr(struct cvy_heap *heap, const covey_value *value, cvy_repr_fn *objects,
             struct covey_bytes *text) COVEY_MUST_CHECK;

#endif
