/* SPDX-License-Identifier: MIT */
/**
 * value/node.h: how values lie in memory.
 *
 * A value is a pointer to a node, or, if its lowest bit is set, an int of 63 bits. Every
 * node begins with a head; what follows depends on the kind:
 *
 *     int:  none, bool  | head |
 *           float       | head | number |
 *           complex     | head | real | imag |
 *           int         | head | hash | negative | size | limbs[] |  beyond 63 bits only
 *           str, bytes, bytearray
 *                       | head | hash | size | data[] | NUL |
 *           range       | head | start | stop | step |
 *           global      | head | hash | module | name |
 *     compounds:        | head | error | weight | hash | ...
 *           list, tuple, slice         ... | count | capacity | items |
 *           dict, set, frozenset       ... | count | used | capacity | entries | index |
 *           object                     ... | callable, args, kwargs, state, items, pairs |
 *
 * Invariants:
 *   - a node is changed only by who holds its single reference, while it is not
 *     `contained`; so what a compound contains never changes, there are no cycles, and
 *     the depth kept in a node is that of all below it, or more while it is `loose`;
 *   - depth <= COVEY_VALUE_DEPTH_MAX, so recursion into values is bounded;
 *   - `weight` is the number of values below, each counted as often as it occurs; it
 *     stops at UINT64_MAX;
 *   - a hash that is kept in a node is 0 when it is not known; only the words for it, for
 *     depth and for flags are written in a node that others see, atomically.
 */
#ifndef CVY_VALUE_NODE_H
#define CVY_VALUE_NODE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/base.h"

#include <covey/value.h>

struct covey_value {
    _Atomic uint32_t refs; /* from CVY_FOR_EVER on it is not counted */
    uint8_t kind;
    _Atomic uint8_t flags;
    _Atomic uint16_t depth; /* 0, for compounds at least 1 */
};

#define CVY_FOR_EVER ((uint32_t)1 << 31)

enum cvy_value_flag {
    CVY_CONTAINED = 1,  /* was put into another value: does not change any more */
    CVY_UNHASHABLE = 2, /* is or has what Python cannot hash */
    CVY_HAS_OBJECT = 4, /* is or has an object, whose equality in Python is not known */
    CVY_BY_CONTENT = 8, /* the module of a global: counts as the same as an equal one */
    CVY_LOOSE = 16      /* something was taken out: see cvy_settle */
};

struct cvy_float {
    struct covey_value head;
    double number;
};

struct cvy_complex {
    struct covey_value head;
    double real, imag;
};

/** Sign and magnitude; the highest limb is not 0. */
struct cvy_big {
    struct covey_value head;
    _Atomic uint64_t hash;
    uint32_t negative;
    uint32_t unused;
    size_t size;      /* in limbs */
    uint64_t limbs[]; /* lowest first */
};

/** str, bytes, bytearray. */
struct cvy_text {
    struct covey_value head;
    _Atomic uint64_t hash;
    size_t size; /* in bytes */
    char data[]; /* and a NUL */
};

struct cvy_range {
    struct covey_value head;
    int64_t start, stop, step;
};

struct cvy_global {
    struct covey_value head;
    _Atomic uint64_t hash;
    covey_value *module, *name; /* str */
};

/** What all that contain others begin with. */
struct cvy_compound {
    struct covey_value head;
    int32_t error; /* what went wrong first when something was put in */
    uint32_t unused;
    uint64_t weight;
    _Atomic uint64_t hash;
};

/** list, tuple, slice. */
struct cvy_seq {
    struct cvy_compound base;
    size_t count, capacity;
    covey_value **items; /* `own`, or allocated */
    covey_value *own[];  /* for tuples and slices that were made in one go */
};

struct cvy_entry {
    uint64_t hash;
    covey_value *key; /* NULL: was taken out */
    covey_value *value;
};

/** dict, set, frozenset; see keys.c. */
struct cvy_keys {
    struct cvy_compound base;
    size_t count;    /* entries that are there */
    size_t used;     /* entries in use, some of which may have been taken out */
    size_t capacity; /* of `entries` */
    struct cvy_entry *entries;
    /* 2 * capacity places: 0, or a number of an entry + 1; NULL if few */
    uint32_t *index;
};

struct cvy_object {
    struct cvy_compound base;
    uint32_t calls, unused;
    covey_value *callable, *args, *kwargs, *state, *items, *pairs;
};

/* ---- small ints -------------------------------------------------------------- */

#define CVY_SMALL_MIN (INT64_MIN / 2)
#define CVY_SMALL_MAX (INT64_MAX / 2)

static inline bool cvy_is_small(const covey_value *value)
{
    return (uintptr_t)value & 1;
}

static inline int64_t cvy_small(const covey_value *value)
{
    return (int64_t)(intptr_t)value >> 1;
}

static inline covey_value *cvy_make_small(int64_t number)
{
    return (covey_value *)((uintptr_t)((uint64_t)number << 1) | 1);
}

/* ---- heads ------------------------------------------------------------------- */

static inline unsigned cvy_kind(const covey_value *value)
{
    return cvy_is_small(value) ? COVEY_VALUE_INT : value->kind;
}

static inline bool cvy_is_kind(const covey_value *value, unsigned kind)
{
    return value && cvy_kind(value) == kind;
}

static inline unsigned cvy_depth(const covey_value *value)
{
    return cvy_is_small(value)
               ? 0
               : atomic_load_explicit(&value->depth, memory_order_relaxed);
}

static inline void cvy_set_depth(covey_value *value, unsigned depth)
{
    atomic_store_explicit(&value->depth, (uint16_t)depth, memory_order_relaxed);
}

static inline unsigned cvy_flags(const covey_value *value)
{
    return cvy_is_small(value)
               ? 0
               : atomic_load_explicit(&value->flags, memory_order_relaxed);
}

static inline void cvy_set_flags(covey_value *value, unsigned flags)
{
    atomic_store_explicit(&value->flags, (uint8_t)flags, memory_order_relaxed);
}

static inline bool cvy_is_seq(const covey_value *value)
{
    unsigned kind = cvy_kind(value);
    return kind == COVEY_VALUE_LIST || kind == COVEY_VALUE_TUPLE ||
           kind == COVEY_VALUE_SLICE;
}

static inline bool cvy_is_keys(const covey_value *value)
{
    unsigned kind = cvy_kind(value);
    return kind == COVEY_VALUE_DICT || kind == COVEY_VALUE_SET ||
           kind == COVEY_VALUE_FROZENSET;
}

static inline bool cvy_is_compound(const covey_value *value)
{
    return cvy_depth(value) > 0;
}

/** The values in it, itself not counted. */
static inline uint64_t cvy_weight(const covey_value *value)
{
    return cvy_is_compound(value)
               ? ((const struct cvy_compound *)(const void *)value)->weight
               : 0;
}

/* ---- casts ------------------------------------------------------------------- */

#define CVY_CAST_(name, type)                                                          \
    static inline type *name(const covey_value *value)                                 \
    {                                                                                  \
        return (type *)(uintptr_t)value;                                               \
    }
CVY_CAST_(cvy_as_float, struct cvy_float)
CVY_CAST_(cvy_as_complex, struct cvy_complex)
CVY_CAST_(cvy_as_big, struct cvy_big)
CVY_CAST_(cvy_as_text, struct cvy_text)
CVY_CAST_(cvy_as_range, struct cvy_range)
CVY_CAST_(cvy_as_global, struct cvy_global)
CVY_CAST_(cvy_as_compound, struct cvy_compound)
CVY_CAST_(cvy_as_seq, struct cvy_seq)
CVY_CAST_(cvy_as_keys, struct cvy_keys)
CVY_CAST_(cvy_as_object, struct cvy_object)
#undef CVY_CAST_

#endif
