/* SPDX-License-Identifier: MIT */
/**
 * value/walk.h: walking through whatever Python can iterate over.
 */
#ifndef CVY_VALUE_WALK_H
#define CVY_VALUE_WALK_H

#include "value/heap.h"

struct cvy_walk {
    const covey_value *value; /* borrowed; must not change during the walk */
    size_t position;
    size_t count; /* items that are left */
};

/**
 * Begin a walk through a list, tuple, set, frozenset, range, the keys of a dict, the code
 * points of a str, or the numbers of a bytes or bytearray.
 * Returns: 0; COVEY_ETYPE for anything else.
 */
int cvy_walk_begin(struct cvy_walk *walk, const covey_value *value) COVEY_MUST_CHECK;

/** The next item, the caller's. Takes a step. Returns: 1; 0 at the end; -ENOMEM;
 * -EMSGSIZE. */
int cvy_walk_next(struct cvy_walk *walk, struct cvy_heap *heap,
                  covey_value **ret) COVEY_MUST_CHECK;

#endif
