/* SPDX-License-Identifier: MIT */
/**
 * value/object.h: globals, objects, ranges, and None, True and False.
 */
#ifndef CVY_VALUE_OBJECT_H
#define CVY_VALUE_OBJECT_H

#include "value/heap.h"

/** Takes both strs, also on failure. */
covey_value *cvy_global(struct cvy_heap *heap, covey_value *module, covey_value *name);

/** Whether this is the global of that name. */
bool cvy_is_global(const covey_value *value, const char *module, const char *name);

/** An object; `kwargs` may be NULL. Takes all, also on failure. */
covey_value *cvy_object(struct cvy_heap *heap, bool calls, covey_value *callable,
                        covey_value *args, covey_value *kwargs);

/** Add a list item, a dict item, or the state. All take what they are given, also on
 * failure. Returns: 0; the codes of cvy_adopt and cvy_keys_put. */
int cvy_object_append(struct cvy_heap *heap, struct cvy_object *object,
                      covey_value *item) COVEY_MUST_CHECK;
int cvy_object_put(struct cvy_heap *heap, struct cvy_object *object, covey_value *key,
                   covey_value *value) COVEY_MUST_CHECK;
int cvy_object_put_state(struct cvy_heap *heap, struct cvy_object *object,
                         covey_value *state) COVEY_MUST_CHECK;

/** What the public functions do for objects: ask whether it may be changed, and let an
 * error stick. */
int cvy_object_append_checked(covey_value *object, covey_value *item);
int cvy_object_put_checked(covey_value *object, covey_value *key, covey_value *value);

void cvy_object_destroy(struct cvy_object *object);
covey_value *cvy_object_copy(const struct cvy_object *object);

covey_value *cvy_range(struct cvy_heap *heap, int64_t start, int64_t stop,
                       int64_t step);

#endif
