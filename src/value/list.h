/* SPDX-License-Identifier: MIT */
/**
 * value/list.h: lists, tuples and slices.
 *
 * These functions do not ask whether the value may be changed; the public ones do.
 */
#ifndef CVY_VALUE_LIST_H
#define CVY_VALUE_LIST_H

#include "value/heap.h"

struct cvy_seq *cvy_seq_new(struct cvy_heap *heap, unsigned kind);

/**
 * A tuple or slice of these items, whose references it takes, also on failure. For no
 * items it is the empty tuple, which there is only one of.
 */
covey_value *cvy_seq_of(struct cvy_heap *heap, unsigned kind, covey_value *const *items,
                        size_t count);

/** Append. Takes `item`, also on failure. Returns: 0; the codes of cvy_adopt. */
int cvy_seq_append(struct cvy_heap *heap, struct cvy_seq *seq,
                   covey_value *item) COVEY_MUST_CHECK;

/** Insert before `index`, which is at most the count. As cvy_seq_append. */
int cvy_seq_insert(struct cvy_heap *heap, struct cvy_seq *seq, size_t index,
                   covey_value *item) COVEY_MUST_CHECK;

/** Replace the item at `index`, which is there. As cvy_seq_append. */
int cvy_seq_put_at(struct cvy_heap *heap, struct cvy_seq *seq, size_t index,
                   covey_value *item) COVEY_MUST_CHECK;

/** Take out the item at `index`, which is there. Returns: it, the caller's. */
covey_value *cvy_seq_take(struct cvy_seq *seq, size_t index);

/** Make room for `more` items. Returns: 0; -ENOMEM; -EMSGSIZE. */
int cvy_seq_reserve(struct cvy_heap *heap, struct cvy_seq *seq,
                    size_t more) COVEY_MUST_CHECK;

void cvy_seq_destroy(struct cvy_seq *seq);

/** The same items. */
covey_value *cvy_seq_copy(struct cvy_heap *heap, const struct cvy_seq *seq);

#endif
