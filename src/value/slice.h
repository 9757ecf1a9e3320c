/* SPDX-License-Identifier: MIT */
/**
 * value/slice.h: parts of lists, as Python's slices name them, and lists repeated.
 *
 * These functions do not ask whether the value may be changed.
 */
#ifndef CVY_VALUE_SLICE_H
#define CVY_VALUE_SLICE_H

#include "value/heap.h"

/** What a slice means for a sequence: the items start, start + step and so on, `count` of
 * them. Of none, `start` is where something would be put in, for a step of 1. */
struct cvy_slice {
    int64_t start, step;
    size_t count;
};

/**
 * Apply a slice to a sequence of `length` items.
 * Returns: 0; COVEY_ETYPE if one of its three is neither an int nor None; -EINVAL if the
 * step is 0.
 */
int cvy_slice_apply(const covey_value *slice, size_t length,
                    struct cvy_slice *ret) COVEY_MUST_CHECK;

/** The same item numbers from the lowest on. */
struct cvy_slice cvy_slice_ascending(struct cvy_slice slice);

/** The index of item `i` of a slice. */
static inline size_t cvy_slice_at(const struct cvy_slice *slice, size_t i)
{
    return (size_t)(slice->start + slice->step * (int64_t)i);
}

/** A list of these items of a list or tuple. Returns: NULL: -ENOMEM; -EMSGSIZE. */
covey_value *cvy_seq_pick(struct cvy_heap *heap, const struct cvy_seq *seq,
                          const struct cvy_slice *slice);

/**
 * Put `count` items in the place of the `removed` ones from `at` on. Takes the items, also
 * on failure, when nothing has changed.
 * Returns: 0; -ENOMEM; -EMSGSIZE.
 */
int cvy_seq_splice(struct cvy_heap *heap, struct cvy_seq *seq, size_t at,
                   size_t removed, covey_value *const *items,
                   size_t count) COVEY_MUST_CHECK;

/** Replace just the items of a slice by as many. As cvy_seq_splice. */
int cvy_seq_replace(struct cvy_heap *heap, struct cvy_seq *seq,
                    const struct cvy_slice *slice,
                    covey_value *const *items) COVEY_MUST_CHECK;

/** Take the items of a slice out. */
void cvy_seq_drop(struct cvy_seq *seq, const struct cvy_slice *slice);

/** Make a list `times` as long by repeating it; 0 empties it.
 * Returns: 0; -ENOMEM; -EMSGSIZE; nothing has changed then. */
int cvy_seq_repeat(struct cvy_heap *heap, struct cvy_seq *seq,
                   size_t times) COVEY_MUST_CHECK;

/** Turn the order round. */
void cvy_seq_reverse(struct cvy_seq *seq);

#endif
