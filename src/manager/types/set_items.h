/* SPDX-License-Identifier: MIT */
/**
 * types/set_items.h: what sets have to do with the items of others.
 *
 * What returns an int returns 0, CVY_RAISED or a negative code, for a method to return.
 * Sets are changed whoever else holds them. What returns a set returns a new one, or NULL
 * with the result of the method in `*ret_error`, which else is 0.
 */
#ifndef CVY_MANAGER_TYPES_SET_ITEMS_H
#define CVY_MANAGER_TYPES_SET_ITEMS_H

#include "manager/class.h"
#include "value/keys.h"

/** Whether this is a set or a frozenset. */
static inline bool cvy_set_is_any(const covey_value *value)
{
    return cvy_is_kind(value, COVEY_VALUE_SET) ||
           cvy_is_kind(value, COVEY_VALUE_FROZENSET);
}

/** Add an item. */
int cvy_set_put(struct cvy_call *call, covey_value *set, const covey_value *item);

/** Look an item up, where a set stands for the frozenset with the same items. */
int cvy_set_find(struct cvy_call *call, const covey_value *set, const covey_value *item,
                 const struct cvy_entry **ret);

/** Take an item out. */
void cvy_set_drop(covey_value *set, const struct cvy_entry *entry);

/** What to do with each item of an iterable. Returns: 0: go on. */
typedef int cvy_set_each_fn(struct cvy_call *call, covey_value *set,
                            const covey_value *item);

/** What questions return that have their answer. */
enum { CVY_SET_STOP = 1000 };

/** Take it out of the set; put it in, or take it out if it is there; stop if it is not in
 * the set, or is in it. cvy_set_put is one, too. */
cvy_set_each_fn cvy_set_out, cvy_set_turned, cvy_set_is_in, cvy_set_is_not_in;

/** Do this with all items. Returns: 0; what `each` returned. */
int cvy_set_walk(struct cvy_call *call, const covey_value *iterable, covey_value *set,
                 cvy_set_each_fn *each);

/** A set, or frozenset, of what an iterable has; NULL: of nothing. */
covey_value *cvy_set_of(struct cvy_call *call, const covey_value *iterable, bool frozen,
                        int *ret_error);

/** The items that `set` and `other` have, as CPython finds them: each of `other` is looked
 * up, so that it must be hashable, until all of `set` are found. Of equal ones those of
 * `other` are taken, but if that is a set, those of the smaller one. */
covey_value *cvy_set_common(struct cvy_call *call, const covey_value *set,
                            const covey_value *other, bool frozen, int *ret_error);

/** Give a set that has other holders what `other` has, which is freed. */
void cvy_set_become(covey_value *set, covey_value *other);

/** NULL: see covey_value_check. */
covey_value *cvy_set_copy(struct cvy_call *call, const covey_value *set);

#endif
