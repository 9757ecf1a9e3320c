/* SPDX-License-Identifier: MIT */
/**
 * value/heap.h: memory for values, and what may be spent on them.
 *
 * What returns a pointer returns NULL on failure with the detail set; cvy_last_code then
 * tells -ENOMEM, or -EMSGSIZE if the limit does not allow it.
 */
#ifndef CVY_VALUE_HEAP_H
#define CVY_VALUE_HEAP_H

#include "value/node.h"

/**
 * What somebody may use who reads a pickle or works on values on behalf of others; NULL
 * in place of a pointer to it: as much as there is.
 */
struct cvy_heap {
    size_t used, limit;  /* bytes; what is freed meanwhile is not given back */
    uint64_t max_weight; /* of one value */
    unsigned max_depth;  /* at most COVEY_VALUE_DEPTH_MAX */
    bool strict;         /* refuse equal keys that Python may tell apart */
    uint64_t steps;      /* left for walking and comparing */
};

/** Take bytes from what may be used. Returns: 0; -EMSGSIZE. */
int cvy_heap_charge(struct cvy_heap *heap, size_t size) COVEY_MUST_CHECK;

/** Take steps. Returns: 0; -EMSGSIZE. */
int cvy_heap_spend(struct cvy_heap *heap, uint64_t steps) COVEY_MUST_CHECK;

/** Where the functions that take steps only find them. */
static inline uint64_t *cvy_heap_steps(struct cvy_heap *heap)
{
    return heap ? &heap->steps : NULL;
}

void *cvy_heap_alloc(struct cvy_heap *heap, size_t size) __attribute__((malloc));

/** Make an array hold `capacity` items of `size` bytes; `*array` is untouched on failure.
 * Returns: 0; -ENOMEM; -EMSGSIZE. */
int cvy_heap_grow(struct cvy_heap *heap, void *array, size_t old_capacity,
                  size_t capacity, size_t size) COVEY_MUST_CHECK;

/** A node of `size` bytes, all zero but the head, which has one reference. */
void *cvy_node(struct cvy_heap *heap, unsigned kind, size_t size);

/** The same for what contains others. */
void *cvy_compound_node(struct cvy_heap *heap, unsigned kind, size_t size);

/**
 * Account for a child that goes into a compound: error, depth, weight, flags. Nothing is
 * changed on failure.
 * Returns: 0; the child's error, for NULL cvy_last_code; -EMSGSIZE.
 */
int cvy_adopt(struct cvy_heap *heap, struct cvy_compound *parent,
              covey_value *child) COVEY_MUST_CHECK;

/** The converse, for a child that leaves; depth and flags of the parent stay until they are
 * settled. */
void cvy_disown(struct cvy_compound *parent, covey_value *child);

/**
 * Make depth and flags those of what a value has, if others were taken out of it. That is
 * done once it matters: when the value goes into another. Takes as long as a walk through
 * it then, but only once.
 * Returns: the depth.
 */
unsigned cvy_settle(const covey_value *value);

/** The flags of an empty compound. */
unsigned cvy_own_flags(unsigned kind);

/** A reference more to a node that no other thread knows. */
static inline covey_value *cvy_ref_private(covey_value *value)
{
    if (!cvy_is_small(value)) {
        uint32_t refs = atomic_load_explicit(&value->refs, memory_order_relaxed);
        if (refs < CVY_FOR_EVER)
            atomic_store_explicit(&value->refs, refs + 1, memory_order_relaxed);
    }
    return value;
}

/** Whether the caller may change this compound. Returns: 0; COVEY_ESTATE. */
int cvy_changeable(const covey_value *value) COVEY_MUST_CHECK;

/** The same for putting `item` into it, which is not the compound itself; that sticks.
 * Returns: 0; COVEY_ESTATE. */
int cvy_takes(covey_value *value, const covey_value *item) COVEY_MUST_CHECK;

/** Drop an item that was to go into `value`; but if it is the only reference to `value`
 * itself, this stays the caller's. */
void cvy_refuse(const covey_value *value, covey_value *item);

/** Let an error stick to a compound, if it is the first. Returns: `code`. */
int cvy_stick(covey_value *value, int code);

/** Empty a list, tuple, dict, set or frozenset, and forget an error that stuck to it. */
void cvy_clear(covey_value *container);

/** Set the detail: `value` is no `wanted`. Returns: COVEY_ETYPE. */
int cvy_wrong_type(const covey_value *value, const char *wanted);
/** Set the detail: NULL where a result is to go. Returns: -EINVAL. */
int cvy_no_place(void);

#endif
