/* SPDX-License-Identifier: MIT */
/**
 * value/number.h: ints of any size, and numbers of all kinds compared by value.
 */
#ifndef CVY_VALUE_NUMBER_H
#define CVY_VALUE_NUMBER_H

#include "value/heap.h"

/** Most decimal digits of an int, as in Python: converting takes quadratic time. */
#define CVY_INT_DIGITS 4300

/** An int or bool taken apart. `limbs` may point to `limb`: do not copy the struct. */
struct cvy_int {
    bool negative;
    size_t size; /* in limbs, 0 for 0 */
    const uint64_t *limbs;
    uint64_t limb;
};

/** `value` is an int or bool. */
void cvy_int_of(const covey_value *value, struct cvy_int *ret);

covey_value *cvy_int(struct cvy_heap *heap, int64_t number);
covey_value *cvy_int_from_bytes(struct cvy_heap *heap, const void *data, size_t size);

/** From text: [+-]digits or [+-]0x..., as covey_value_int_text. */
covey_value *cvy_int_from_text(struct cvy_heap *heap, const char *text, size_t size);

/** Bytes of the shortest two's complement, at least 1. */
size_t cvy_int_bytes_size(const struct cvy_int *number);
/** Write that many bytes, or fewer from the lowest, or more. */
void cvy_int_to_bytes(const struct cvy_int *number, unsigned char *bytes, size_t size);

/** Write as text: decimal up to CVY_INT_DIGITS digits, else hexadecimal. */
int cvy_int_append(struct covey_bytes *text, const covey_value *value) COVEY_MUST_CHECK;

/** An int or bool, or the end of the range of int64_t that it is beyond. */
int64_t cvy_int_clip(const covey_value *value);

covey_value *cvy_float(struct cvy_heap *heap, double number);
covey_value *cvy_complex(struct cvy_heap *heap, double real, double imag);

static inline bool cvy_is_integer(const covey_value *value)
{
    unsigned kind = cvy_kind(value);
    return kind == COVEY_VALUE_INT || kind == COVEY_VALUE_BOOL;
}

static inline bool cvy_is_real(const covey_value *value)
{
    return cvy_is_integer(value) || cvy_kind(value) == COVEY_VALUE_FLOAT;
}

static inline bool cvy_is_number(const covey_value *value)
{
    return cvy_is_real(value) || cvy_kind(value) == COVEY_VALUE_COMPLEX;
}

/** Compare real numbers exactly. Returns: one of enum covey_order. */
int cvy_real_compare(const covey_value *a, const covey_value *b);

/** Equality of any two numbers. */
bool cvy_number_equal(const covey_value *a, const covey_value *b);

enum { CVY_DOUBLE_LIMBS = 17 };
/** The integral part of a finite number; `limbs` is its room. */
void cvy_int_of_double(double number, uint64_t limbs[CVY_DOUBLE_LIMBS],
                       struct cvy_int *ret);

#endif
