/* SPDX-License-Identifier: MIT */
/*
 * Ints as text. Decimal goes through chunks of 19 digits, which takes quadratic time, so
 * it ends at as many digits as Python's; hexadecimal has no end.
 */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/memory.h"
#include "value/number.h"

__extension__ typedef unsigned __int128 uint128;

#define CHUNK UINT64_C(10000000000000000000)
enum {
    CHUNK_DIGITS = 19,
    MOST_LIMBS = 224, /* 64 * 224 bits are more than 4300 digits */
    MOST_TEXT = CVY_INT_DIGITS + CHUNK_DIGITS
};

/* ---- to text ----------------------------------------------------------------- */

/* Divide by CHUNK in place. Returns: the rest. */
static uint64_t divide(uint64_t *limbs, size_t *size)
{
    uint128 rest = 0;

    for (size_t i = *size; i-- > 0;) {
        rest = rest << 64 | limbs[i];
        limbs[i] = (uint64_t)(rest / CHUNK);
        rest %= CHUNK;
    }
    while (*size && !limbs[*size - 1])
        (*size)--;
    return (uint64_t)rest;
}

/* Write digits before `end`, at least one. Returns: where they begin. */
static char *write_decimal(const struct cvy_int *number, char *end)
{
    uint64_t limbs[MOST_LIMBS];
    size_t size = number->size;
    char *at = end;

    memcpy(limbs, number->limbs, size * sizeof(limbs[0]));
    while (size) {
        uint64_t chunk = divide(limbs, &size);

        for (int i = 0; i < CHUNK_DIGITS && (size || chunk); i++) {
            *--at = (char)('0' + chunk % 10);
            chunk /= 10;
        }
    }
    if (at == end)
        *--at = '0';
    return at;
}

static int append_hex(struct covey_bytes *text, const struct cvy_int *number)
{
    int r = cvy_bytes_format(text, "%s0x%llx", number->negative ? "-" : "",
                             (unsigned long long)number->limbs[number->size - 1]);

    for (size_t i = number->size - 1; i-- > 0 && r == 0;)
        r = cvy_bytes_format(text, "%016llx", (unsigned long long)number->limbs[i]);
    return r;
}

int cvy_int_append(struct covey_bytes *text, const covey_value *value)
{
    char digits[MOST_TEXT + CHUNK_DIGITS + 1], *begin, *end = digits + sizeof(digits);
    struct cvy_int number;

    cvy_int_of(value, &number);
    /* 2^14285 has 4301 digits */
    if (number.size > MOST_LIMBS ||
        (number.size == MOST_LIMBS &&
         number.limbs[MOST_LIMBS - 1] >> (14285 - 223 * 64)))
        return append_hex(text, &number);
    begin = write_decimal(&number, end);
    if (end - begin > CVY_INT_DIGITS)
        return append_hex(text, &number);
    if (number.negative)
        *--begin = '-';
    return cvy_bytes_append(text, begin, (size_t)(end - begin));
}

/* ---- from text ----------------------------------------------------------------- */

static covey_value *bad_text(void)
{
    cvy_fail(-EINVAL, "value: not the text of an int");
    return NULL;
}

/* Make an int of a magnitude of which the highest limbs may be 0. */
static covey_value *from_limbs(struct cvy_heap *heap, bool negative,
                               const uint64_t *limbs, size_t size)
{
    unsigned char bytes[(MOST_LIMBS + 1) * 8];
    struct cvy_int number = {.negative = negative, .limbs = limbs};

    while (size && !limbs[size - 1])
        size--;
    number.size = size;
    number.negative = negative && size;
    size = cvy_int_bytes_size(&number);
    cvy_int_to_bytes(&number, bytes, size);
    return cvy_int_from_bytes(heap, bytes, size);
}

static covey_value *from_decimal(struct cvy_heap *heap, bool negative, const char *text,
                                 size_t size)
{
    uint64_t limbs[MOST_LIMBS] = {0};
    size_t used = 0;

    if (size > CVY_INT_DIGITS) {
        cvy_fail(-EINVAL, "value: int of %zu digits, more than %d", size,
                 CVY_INT_DIGITS);
        return NULL;
    }
    for (size_t i = 0; i < size;) {
        uint64_t chunk = 0, factor = 1;
        uint128 carry;

        for (int n = 0; n < CHUNK_DIGITS && i < size; n++, i++) {
            if (text[i] < '0' || text[i] > '9')
                return bad_text();
            chunk = chunk * 10 + (uint64_t)(text[i] - '0');
            factor *= 10;
        }
        carry = chunk;
        for (size_t k = 0; k < used || (carry && k < MOST_LIMBS); k++) {
            carry += (uint128)limbs[k] * factor;
            limbs[k] = (uint64_t)carry;
            carry >>= 64;
            used = k + 1 > used ? k + 1 : used;
        }
    }
    return from_limbs(heap, negative, limbs, used);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static covey_value *from_hex(struct cvy_heap *heap, bool negative, const char *text,
                             size_t size)
{
    size_t length = size / 2 + 2; /* room for a sign */
    unsigned char *bytes = cvy_heap_alloc(heap, length);
    covey_value *value;
    unsigned carry = negative;

    if (!bytes)
        return NULL;
    memset(bytes, 0, length);
    for (size_t i = 0; i < size; i++) {
        int digit = hex_digit(text[size - 1 - i]);

        if (digit < 0) {
            cvy_free(bytes);
            return bad_text();
        }
        bytes[i / 2] |= (unsigned char)(digit << i % 2 * 4);
    }
    for (size_t i = 0; negative && i < length; i++) {
        carry += (unsigned char)~bytes[i];
        bytes[i] = (unsigned char)carry;
        carry >>= 8;
    }
    value = cvy_int_from_bytes(heap, bytes, length);
    cvy_free(bytes);
    return value;
}

covey_value *cvy_int_from_text(struct cvy_heap *heap, const char *text, size_t size)
{
    bool negative = size && text[0] == '-';

    if (size && (text[0] == '-' || text[0] == '+')) {
        text++;
        size--;
    }
    if (size > 2 && text[0] == '0' && (text[1] == 'x' || text[1] == 'X'))
        return from_hex(heap, negative, text + 2, size - 2);
    return size ? from_decimal(heap, negative, text, size) : bad_text();
}

covey_value *covey_value_int_text(const char *text)
{
    return text ? cvy_int_from_text(NULL, text, strlen(text)) : bad_text();
}
