/* SPDX-License-Identifier: MIT */
/*
 * Numbers. Ints beyond 63 bits are sign and magnitude. Nothing is computed with them: they
 * are read, written, compared and converted, so there is no need of a library for it.
 */
#include "value/number.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "base/error.h"

/* ---- ints -------------------------------------------------------------------- */

void cvy_int_of(const covey_value *value, struct cvy_int *ret)
{
    int64_t number;

    if (!cvy_is_small(value) && value->kind == COVEY_VALUE_INT) {
        const struct cvy_big *big = cvy_as_big(value);

        ret->negative = big->negative;
        ret->size = big->size;
        ret->limbs = big->limbs;
        return;
    }
    number = cvy_is_small(value) ? cvy_small(value) : value == covey_value_bool(1);
    ret->negative = number < 0;
    ret->limb = number < 0 ? -(uint64_t)number : (uint64_t)number;
    ret->size = number != 0;
    ret->limbs = &ret->limb;
}

/* A node for a magnitude of `size` limbs, to be filled in. */
static struct cvy_big *new_big(struct cvy_heap *heap, bool negative, size_t size)
{
    struct cvy_big *big =
        cvy_node(heap, COVEY_VALUE_INT, sizeof(*big) + size * sizeof(big->limbs[0]));

    if (!big)
        return NULL;
    big->negative = negative;
    big->size = size;
    return big;
}

static covey_value *one_limb(struct cvy_heap *heap, bool negative, uint64_t limb)
{
    struct cvy_big *big;

    if (limb <= CVY_SMALL_MAX || (negative && limb == -(uint64_t)CVY_SMALL_MIN))
        return cvy_make_small(negative ? (int64_t)-limb : (int64_t)limb);
    big = new_big(heap, negative, 1);
    if (!big)
        return NULL;
    big->limbs[0] = limb;
    return &big->head;
}

covey_value *cvy_int(struct cvy_heap *heap, int64_t number)
{
    return one_limb(heap, number < 0,
                    number < 0 ? -(uint64_t)number : (uint64_t)number);
}

covey_value *covey_value_int(int64_t number)
{
    return cvy_int(NULL, number);
}

covey_value *covey_value_uint(uint64_t number)
{
    return one_limb(NULL, false, number);
}

/* Up to 8 bytes of a little-endian number, the missing ones as `fill`. */
static uint64_t load_limb(const unsigned char *bytes, size_t size, unsigned char fill)
{
    uint64_t limb = 0;

    for (size_t i = 0; i < 8; i++)
        limb |= (uint64_t)(i < size ? bytes[i] : fill) << 8 * i;
    return limb;
}

covey_value *cvy_int_from_bytes(struct cvy_heap *heap, const void *data, size_t size)
{
    const unsigned char *bytes = data;
    bool negative = size && bytes[size - 1] & 0x80;
    unsigned char fill = negative ? 0xff : 0;
    struct cvy_big *big;
    bool carry = negative;

    while (size && bytes[size - 1] == fill)
        size--;
    if (size < 8 || (size == 8 && bytes[7] >> 7 == negative))
        return cvy_int(heap, (int64_t)load_limb(bytes, size, fill));
    /* A magnitude can need one bit more than the two's complement without its sign. */
    big = new_big(heap, negative, size / 8 + 1);
    if (!big)
        return NULL;
    for (size_t i = 0; i < big->size; i++) {
        uint64_t limb = load_limb(bytes + 8 * i, size - 8 * i, fill);

        big->limbs[i] = negative ? ~limb + carry : limb;
        carry = carry && big->limbs[i] == 0;
    }
    while (!big->limbs[big->size - 1])
        big->size--;
    return &big->head;
}

covey_value *covey_value_int_bytes(const void *data, size_t size)
{
    if (!data && size) {
        cvy_fail(-EINVAL, "value: int of NULL bytes");
        return NULL;
    }
    return cvy_int_from_bytes(NULL, data, size);
}

size_t cvy_int_bytes_size(const struct cvy_int *number)
{
    uint64_t top;
    size_t bits;

    if (!number->size)
        return 1;
    top = number->limbs[number->size - 1];
    bits = 64 * number->size - (size_t)__builtin_clzll(top);
    if (number->negative && (top & (top - 1)) == 0) { /* -2^n has room in n + 1 bits */
        size_t i = 0;

        while (i + 1 < number->size && !number->limbs[i])
            i++;
        if (i + 1 == number->size)
            bits--;
    }
    return bits / 8 + 1;
}

void cvy_int_to_bytes(const struct cvy_int *number, unsigned char *bytes, size_t size)
{
    bool carry = number->negative;

    for (size_t i = 0; i < size; i++) {
        uint64_t limb = i / 8 < number->size ? number->limbs[i / 8] : 0;
        unsigned byte = (unsigned)(limb >> i % 8 * 8) & 0xff;

        if (number->negative) {
            byte = (~byte & 0xff) + carry;
            carry = byte > 0xff;
        }
        bytes[i] = (unsigned char)byte;
    }
}

int64_t cvy_int_clip(const covey_value *value)
{
    struct cvy_int number;
    uint64_t limb;

    cvy_int_of(value, &number);
    limb = number.size ? number.limbs[0] : 0;
    if (number.size > 1 || limb > INT64_MAX)
        return number.negative ? INT64_MIN : INT64_MAX;
    return number.negative ? -(int64_t)limb : (int64_t)limb;
}

static int int_compare(const struct cvy_int *a, const struct cvy_int *b)
{
    int larger = a->negative ? -1 : 1; /* the order if the magnitude of `a` is larger */

    if (a->negative != b->negative)
        return larger;
    if (a->size != b->size)
        return a->size > b->size ? larger : -larger;
    for (size_t i = a->size; i-- > 0;) {
        if (a->limbs[i] != b->limbs[i])
            return a->limbs[i] > b->limbs[i] ? larger : -larger;
    }
    return 0;
}

/* ---- floats ------------------------------------------------------------------ */

covey_value *cvy_float(struct cvy_heap *heap, double number)
{
    struct cvy_float *node = cvy_node(heap, COVEY_VALUE_FLOAT, sizeof(*node));

    if (!node)
        return NULL;
    node->number = number;
    return &node->head;
}

covey_value *cvy_complex(struct cvy_heap *heap, double real, double imag)
{
    struct cvy_complex *node = cvy_node(heap, COVEY_VALUE_COMPLEX, sizeof(*node));

    if (!node)
        return NULL;
    node->real = real;
    node->imag = imag;
    return &node->head;
}

covey_value *covey_value_float(double number)
{
    return cvy_float(NULL, number);
}

covey_value *covey_value_complex(double real, double imag)
{
    return cvy_complex(NULL, real, imag);
}

void cvy_int_of_double(double number, uint64_t limbs[CVY_DOUBLE_LIMBS],
                       struct cvy_int *ret)
{
    int exponent;
    double fraction = frexp(fabs(number), &exponent);
    uint64_t mantissa = (uint64_t)ldexp(fraction, 53);

    memset(limbs, 0, sizeof(uint64_t) * CVY_DOUBLE_LIMBS);
    ret->negative = number < 0;
    ret->limbs = limbs;
    exponent -= 53;
    if (exponent <= 0) {
        limbs[0] = exponent > -64 ? mantissa >> -exponent : 0;
    } else {
        unsigned shift = (unsigned)exponent % 64, at = (unsigned)exponent / 64;

        limbs[at] = mantissa << shift;
        limbs[at + 1] = shift ? mantissa >> (64 - shift) : 0;
    }
    ret->size = CVY_DOUBLE_LIMBS;
    while (ret->size && !limbs[ret->size - 1])
        ret->size--;
    ret->negative = ret->negative && ret->size;
}

/* The nearest double, half to even; infinite if it is too large. */
static double int_to_double(const struct cvy_int *number)
{
    size_t top = number->size;
    uint64_t high, low;
    unsigned shift;
    double result;

    if (!top)
        return 0;
    high = number->limbs[top - 1];
    low = top > 1 ? number->limbs[top - 2] : 0;
    shift = (unsigned)__builtin_clzll(high);
    if (shift) {
        high = high << shift | low >> (64 - shift);
        low <<= shift;
    }
    /* Of what is cut off only whether it is 0 counts: 11 bits are to spare. */
    for (size_t i = 0; i + 2 < top && !low; i++)
        low |= number->limbs[i];
    high |= low != 0;
    if (top > 16)
        return number->negative ? -HUGE_VAL : HUGE_VAL;
    result = ldexp((double)high, (int)(64 * (top - 1)) - (int)shift);
    return number->negative ? -result : result;
}

/* Order of an int and a finite double. */
static int int_double_compare(const struct cvy_int *a, double b)
{
    uint64_t limbs[CVY_DOUBLE_LIMBS];
    struct cvy_int whole;
    double unused, rest = modf(b, &unused); /* trunc would need libm */
    int order;

    cvy_int_of_double(b, limbs, &whole);
    order = int_compare(a, &whole);
    if (order)
        return order;
    return rest > 0 ? COVEY_ORDER_LESS : rest < 0 ? COVEY_ORDER_GREATER : 0;
}

static int double_compare(double a, double b)
{
    if (isnan(a) || isnan(b))
        return COVEY_ORDER_NONE;
    return (a > b) - (a < b);
}

int cvy_real_compare(const covey_value *a, const covey_value *b)
{
    struct cvy_int x, y;
    double number;

    if (cvy_kind(a) == COVEY_VALUE_FLOAT) {
        int order;

        number = cvy_as_float(a)->number;
        if (cvy_kind(b) == COVEY_VALUE_FLOAT)
            return double_compare(number, cvy_as_float(b)->number);
        order = cvy_real_compare(b, a);
        return order == COVEY_ORDER_NONE ? order : -order;
    }
    cvy_int_of(a, &x);
    if (cvy_kind(b) != COVEY_VALUE_FLOAT) {
        cvy_int_of(b, &y);
        return int_compare(&x, &y);
    }
    number = cvy_as_float(b)->number;
    if (!isfinite(number))
        return double_compare(0, number);
    return int_double_compare(&x, number);
}

bool cvy_number_equal(const covey_value *a, const covey_value *b)
{
    const struct cvy_complex *x;
    struct cvy_float real = {.head = {.kind = COVEY_VALUE_FLOAT}};

    if (cvy_kind(a) != COVEY_VALUE_COMPLEX) {
        if (cvy_kind(b) != COVEY_VALUE_COMPLEX)
            return cvy_real_compare(a, b) == COVEY_ORDER_EQUAL;
        return cvy_number_equal(b, a);
    }
    x = cvy_as_complex(a);
    real.number = x->real;
    if (cvy_kind(b) == COVEY_VALUE_COMPLEX)
        return x->real == cvy_as_complex(b)->real && x->imag == cvy_as_complex(b)->imag;
    return x->imag == 0 && cvy_real_compare(&real.head, b) == COVEY_ORDER_EQUAL;
}

/* ---- conversions --------------------------------------------------------------- */

int covey_value_get_bool(const covey_value *value, int *ret_truth)
{
    if (!cvy_is_kind(value, COVEY_VALUE_BOOL))
        return cvy_wrong_type(value, "bool");
    if (!ret_truth)
        return cvy_no_place();
    *ret_truth = value == covey_value_bool(1);
    return 0;
}

int covey_value_get_int_in(const covey_value *value, int64_t low, int64_t high,
                           int64_t *ret_number)
{
    struct cvy_int number;
    int64_t result;

    if (!value || !cvy_is_integer(value))
        return cvy_wrong_type(value, "int");
    if (!ret_number)
        return cvy_no_place();
    cvy_int_of(value, &number);
    result = (int64_t)(number.size ? number.limbs[0] : 0);
    if (number.size > 1 || (result < 0 && (!number.negative || result != INT64_MIN)))
        return cvy_fail(-EOVERFLOW, "value: int of more than 63 bits");
    if (number.negative && result >= 0)
        result = -result;
    if (result < low || result > high)
        return cvy_fail(-EOVERFLOW, "value: int %lld is not within %lld and %lld",
                        (long long)result, (long long)low, (long long)high);
    *ret_number = result;
    return 0;
}

int covey_value_get_int(const covey_value *value, int64_t *ret_number)
{
    return covey_value_get_int_in(value, INT64_MIN, INT64_MAX, ret_number);
}

int covey_value_get_uint(const covey_value *value, uint64_t *ret_number)
{
    struct cvy_int number;

    if (!value || !cvy_is_integer(value))
        return cvy_wrong_type(value, "int");
    if (!ret_number)
        return cvy_no_place();
    cvy_int_of(value, &number);
    if (number.negative || number.size > 1)
        return cvy_fail(-EOVERFLOW, "value: int is %s for an unsigned number",
                        number.negative ? "negative, not" : "too large");
    *ret_number = number.size ? number.limbs[0] : 0;
    return 0;
}

int covey_value_get_int_bytes(const covey_value *value, struct covey_bytes *ret)
{
    struct cvy_int number;
    int r;

    if (!value || !cvy_is_integer(value))
        return cvy_wrong_type(value, "int");
    if (!ret)
        return cvy_no_place();
    cvy_int_of(value, &number);
    if ((r = covey_bytes_resize(ret, cvy_int_bytes_size(&number))) < 0)
        return r;
    cvy_int_to_bytes(&number, ret->data, ret->size);
    return 0;
}

int covey_value_get_float(const covey_value *value, double *ret_number)
{
    struct cvy_int number;
    double result;

    if (!value || !cvy_is_real(value))
        return cvy_wrong_type(value, "float");
    if (!ret_number)
        return cvy_no_place();
    if (cvy_kind(value) == COVEY_VALUE_FLOAT) {
        *ret_number = cvy_as_float(value)->number;
        return 0;
    }
    cvy_int_of(value, &number);
    result = int_to_double(&number);
    if (isinf(result))
        return cvy_fail(-EOVERFLOW, "value: int too large for a float");
    *ret_number = result;
    return 0;
}

int covey_value_get_complex(const covey_value *value, double *ret_real,
                            double *ret_imag)
{
    double real = 0;
    int r;

    if (!ret_real || !ret_imag)
        return cvy_no_place();
    if (cvy_is_kind(value, COVEY_VALUE_COMPLEX)) {
        *ret_real = cvy_as_complex(value)->real;
        *ret_imag = cvy_as_complex(value)->imag;
        return 0;
    }
    if ((r = covey_value_get_float(value, &real)) < 0)
        return r == COVEY_ETYPE ? cvy_wrong_type(value, "complex") : r;
    *ret_real = real;
    *ret_imag = 0;
    return 0;
}
