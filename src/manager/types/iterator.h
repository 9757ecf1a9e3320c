/* SPDX-License-Identifier: MIT */
/**
 * types/iterator.h: iterators over the keys of dicts and the items of sets.
 */
#ifndef CVY_MANAGER_TYPES_ITERATOR_H
#define CVY_MANAGER_TYPES_ITERATOR_H

#include "manager/types/types.h"

/** Return a proxy of a new iterator over a dict or set. It keeps a reference of it, and
 * sees what is changed. */
int cvy_return_iterator(struct cvy_call *call, covey_value *table);

#endif
