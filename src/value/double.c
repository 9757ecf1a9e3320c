/* SPDX-License-Identifier: MIT */
/*
 * The shortest text of a double. glibc's printf and strtod are exact, so the digits are
 * found by trying: fewest first where that can be right. Both follow the locale in what
 * they take for the point; here there is none: digits are asked for as "d?ddde-5", where
 * ? is skipped, and given as "ddde-8".
 */
#include "value/double.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
    MOST_DIGITS = 17, /* which always suffice */
    SURE_DIGITS = 15, /* so many digits survive being a normal double */
    NUMBER_SIZE = 48
};

/* A decimal: 0.d1d2d3... * 10^point */
struct decimal {
    char digits[MOST_DIGITS + 1];
    int count, point;
};

/* Round |number| to `count` digits. */
static void round_to(double number, int count, struct decimal *ret)
{
    char text[NUMBER_SIZE];
    const char *at = text;

    snprintf(text, sizeof(text), "%.*e", count - 1, fabs(number));
    ret->count = 0;
    for (; *at != 'e'; at++) {
        if (*at >= '0' && *at <= '9')
            ret->digits[ret->count++] = *at;
    }
    ret->point = (int)strtol(at + 1, NULL, 10) + 1;
    while (ret->count > 1 && ret->digits[ret->count - 1] == '0')
        ret->count--;
    ret->digits[ret->count] = 0;
}

static bool gives(const struct decimal *decimal, double number)
{
    char text[NUMBER_SIZE];

    snprintf(text, sizeof(text), "%se%d", decimal->digits,
             decimal->point - decimal->count);
    return strtod(text, NULL) == fabs(number);
}

/* The next larger decimal of as many digits; a carry out of the first is left out. */
static void count_up(struct decimal *decimal, int count)
{
    int i = count - 1;

    while (decimal->count < count)
        decimal->digits[decimal->count++] = '0';
    while (i > 0 && decimal->digits[i] == '9')
        decimal->digits[i--] = '0';
    if (decimal->digits[i] < '9')
        decimal->digits[i] = (char)(decimal->digits[i] + 1);
    decimal->digits[count] = 0;
}

/* The shortest decimal that gives `number`, and the nearest of these. */
static void shortest(double number, struct decimal *ret)
{
    int count = fabs(number) < 2.2250738585072014e-308 ? 1 : SURE_DIGITS, exponent;
    /* A power of two has more room above than below: the nearest decimal can be too low
     * while the next one will do. */
    bool lopsided = frexp(fabs(number), &exponent) == 0.5;

    for (;; count++) {
        round_to(number, count, ret);
        if (count == MOST_DIGITS || gives(ret, number))
            return;
        if (lopsided) {
            count_up(ret, count);
            if (gives(ret, number))
                return;
        }
    }
}

/* Digit `i`; before the first and after the last there are zeros. */
static char digit_at(const struct decimal *decimal, int i)
{
    return *(i >= 0 && i < decimal->count ? &decimal->digits[i] : "0");
}

/* Write the digits, with zeros around them where `decimal` has none. */
static size_t write_fixed(char *text, const struct decimal *decimal, bool point)
{
    size_t size = 0;

    if (decimal->point <= 0)
        text[size++] = '0';
    for (int i = 0; i < decimal->point; i++)
        text[size++] = digit_at(decimal, i);
    if (decimal->count > decimal->point) {
        text[size++] = '.';
        for (int i = decimal->point; i < decimal->count; i++)
            text[size++] = digit_at(decimal, i);
    } else if (point) {
        text[size++] = '.';
        text[size++] = '0';
    }
    return size;
}

static size_t write_exponent(char *text, const struct decimal *decimal)
{
    size_t size = 0;

    text[size++] = decimal->digits[0];
    if (decimal->count > 1) {
        text[size++] = '.';
        memcpy(text + size, decimal->digits + 1, (size_t)decimal->count - 1);
        size += (size_t)decimal->count - 1;
    }
    return size + (size_t)sprintf(text + size, "e%+03d", decimal->point - 1);
}

size_t cvy_double_write(char text[CVY_DOUBLE_TEXT], double number, bool point)
{
    struct decimal decimal;
    size_t sign = 0;

    if (isnan(number)) {
        strcpy(text, "nan");
        return 3;
    }
    if (signbit(number))
        text[sign++] = '-';
    if (isinf(number)) {
        strcpy(text + sign, "inf");
        return sign + 3;
    }
    shortest(number, &decimal);
    if (number == 0)
        decimal.point = 1;
    if (decimal.point > 16 || decimal.point < -3)
        return sign + write_exponent(text + sign, &decimal);
    return sign + write_fixed(text + sign, &decimal, point);
}

/* ---- reading ----------------------------------------------------------------- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Copy the digits of `text` up to what follows them, without the point, to `digits`.
 * Returns: how many places the point was moved, or -1 for no digits. */
static int copy_digits(const char **text, char *digits, size_t *size)
{
    bool seen = false;
    int moved = 0;

    *size = 0;
    for (; is_digit(**text) || (**text == '.' && !seen); ++*text) {
        if (**text == '.') {
            seen = true;
            continue;
        }
        moved += seen;
        digits[(*size)++] = **text;
    }
    return *size ? moved : -1;
}

/* Read the number at `text`, which ends at a NUL, by way of `scratch` of twice its size. */
static bool read_number(const char *text, char *scratch, double *ret)
{
    char *end;
    size_t size;
    int moved = copy_digits(&text, scratch, &size);
    long exponent = 0;

    if (moved < 0)
        return false;
    if (*text == 'e' || *text == 'E') {
        const char *first = text + 1 + (text[1] == '+' || text[1] == '-');

        if (!is_digit(*first))
            return false;
        exponent = strtol(text + 1, &end, 10);
        text = end;
        if (exponent > 1000000 ||
            exponent < -1000000) /* any such gives 0 or infinity */
            exponent = exponent > 0 ? 1000000 : -1000000;
    }
    if (*text)
        return false;
    sprintf(scratch + size, "e%ld", exponent - moved);
    *ret = strtod(scratch, NULL);
    return true;
}

bool cvy_double_read(const char *text, size_t size, double *ret)
{
    enum { MOST = 800 }; /* digits beyond the 767th hardly ever matter */
    char copy[MOST + 1], scratch[MOST + 32];
    bool negative = size && text[0] == '-';
    double number;

    if (size && (text[0] == '-' || text[0] == '+')) {
        text++;
        size--;
    }
    if (!size || size > MOST || memchr(text, 0, size))
        return false;
    memcpy(copy, text, size);
    copy[size] = 0;
    if (!strcasecmp(copy, "inf") || !strcasecmp(copy, "infinity"))
        number = (double)INFINITY;
    else if (!strcasecmp(copy, "nan"))
        number = (double)NAN;
    else if (!read_number(copy, scratch, &number))
        return false;
    *ret = negative ? -number : number;
    return true;
}
