/* SPDX-License-Identifier: MIT */
/*
 * Opcodes of protocol 0, whose arguments are lines of text, and those for strs of
 * Python 2. As in Python 3 these become strs if they are ASCII; else nobody knows what
 * they say.
 */
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "value/double.h"
#include "value/number.h"
#include "value/text.h"
#include "value/unpickle.h"

/* ---- numbers ----------------------------------------------------------------- */

static int push_int(struct cvy_unpickler *u, const char *text, size_t size)
{
    size_t sign = size && (text[0] == '-' || text[0] == '+');

    /* Python takes 010 for a number of another base, or for an error. */
    if (size > sign + 1 && text[sign] == '0')
        return cvy_unpickle_bad("an int that begins with 0");
    return cvy_unpickle_push(u, cvy_int_from_text(&u->heap, text, size));
}

int cvy_unpickle_int(struct cvy_unpickler *u)
{
    const char *text;
    size_t size;
    int r = cvy_unpickle_line(u, &text, &size);

    if (r < 0)
        return r;
    if (size == 2 && text[0] == '0' && (text[1] == '0' || text[1] == '1'))
        return cvy_unpickle_push(u, covey_value_bool(text[1] == '1'));
    return push_int(u, text, size);
}

int cvy_unpickle_long(struct cvy_unpickler *u)
{
    const char *text;
    size_t size;
    int r = cvy_unpickle_line(u, &text, &size);

    if (r < 0)
        return r;
    if (size && text[size - 1] == 'L')
        size--;
    return push_int(u, text, size);
}

int cvy_unpickle_float(struct cvy_unpickler *u)
{
    const char *text;
    double number;
    size_t size;
    int r = cvy_unpickle_line(u, &text, &size);

    if (r < 0)
        return r;
    if (!cvy_double_read(text, size, &number))
        return cvy_unpickle_bad("a float that is none");
    return cvy_unpickle_push(u, cvy_float(&u->heap, number));
}

/* A line that is a number for the memo. */
static int read_index(struct cvy_unpickler *u, uint64_t *ret)
{
    const char *text;
    size_t size;
    int r = cvy_unpickle_line(u, &text, &size);

    if (r < 0)
        return r;
    *ret = 0;
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9' || i > 15)
            size = 0;
        *ret = *ret * 10 + (uint64_t)(text[i] - '0');
    }
    return size ? 0 : cvy_unpickle_bad("a number for the memo that is none");
}

int cvy_unpickle_text_put(struct cvy_unpickler *u)
{
    uint64_t number;
    int r = read_index(u, &number);

    return r < 0 ? r : cvy_unpickle_put(u, number);
}

int cvy_unpickle_text_get(struct cvy_unpickler *u)
{
    uint64_t number;
    int r = read_index(u, &number);

    return r < 0 ? r : cvy_unpickle_get(u, number);
}

/* ---- text -------------------------------------------------------------------- */

/* The value of `count` hexadecimal digits; UINT32_MAX if they are none. */
static uint32_t read_hex(const char *text, const char *end, size_t count)
{
    uint32_t number = 0;

    if ((size_t)(end - text) < count)
        return UINT32_MAX;
    for (size_t i = 0; i < count; i++) {
        static const char digits[] = "0123456789abcdef0123456789ABCDEF";
        const char *found = text[i] ? strchr(digits, text[i]) : NULL;

        if (!found)
            return UINT32_MAX;
        number = number << 4 | (uint32_t)(found - digits) % 16;
    }
    return number;
}

/* Decode Latin 1 in which \uXXXX and \UXXXXXXXX stand for code points. `out` has room for
 * twice the size. Returns: the size, or SIZE_MAX for an escape that is none. */
static size_t decode_unicode(const char *text, size_t size, char *out)
{
    const char *end = text + size;
    size_t length = 0;

    while (text < end) {
        uint32_t point = (unsigned char)*text++;

        if (point == '\\' && text < end && (*text == 'u' || *text == 'U')) {
            size_t digits = *text == 'u' ? 4 : 8;

            point = read_hex(++text, end, digits);
            if (point > 0x10ffff)
                return SIZE_MAX;
            text += digits;
        } else if (point == '\\' && text < end) {
            out[length++] = '\\'; /* what follows does not begin an escape */
            point = (unsigned char)*text++;
        }
        length += cvy_utf8_put(out + length, point);
    }
    return length;
}

int cvy_unpickle_unicode(struct cvy_unpickler *u)
{
    struct cvy_text *str;
    const char *text;
    size_t size, length;
    char *scratch;
    int r = cvy_unpickle_line(u, &text, &size);

    if (r < 0)
        return r;
    str = cvy_text_new(&u->heap, COVEY_VALUE_STR, 2 * size);
    if (!str)
        return cvy_last_code();
    scratch = str->data;
    length = decode_unicode(text, size, scratch);
    if (length == SIZE_MAX) {
        covey_value_free(&str->head);
        return cvy_unpickle_bad("a str with an escape that is none");
    }
    r = cvy_unpickle_push(u, cvy_str(&u->heap, scratch, length));
    covey_value_free(&str->head);
    return r;
}

static int push_ascii(struct cvy_unpickler *u, const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if ((unsigned char)text[i] > 0x7f)
            return cvy_fail(-ENOTSUP, "a str of Python 2 that is not ASCII");
    }
    return cvy_unpickle_push(u, cvy_str(&u->heap, text, size));
}

/* Decode an escape after its backslash; `*text` goes on behind it. Returns: the byte, or -1
 * if the backslash stands for itself, -2 for an escape that is none. */
static int decode_escape(const char **text, const char *end)
{
    static const char names[] = "abfnrtv\\'\"", bytes[] = "\a\b\f\n\r\t\v\\'\"";
    const char *found = **text ? strchr(names, **text) : NULL;
    int number = 0;

    if (found) {
        ++*text;
        return bytes[found - names];
    }
    if (**text == 'x') {
        uint32_t byte = read_hex(*text + 1, end, 2);

        *text += byte == UINT32_MAX ? 0 : 3;
        return byte == UINT32_MAX ? -2 : (int)byte;
    }
    if (**text < '0' || **text > '7')
        return -1;
    for (int i = 0; i < 3 && *text < end && **text >= '0' && **text <= '7'; i++)
        number = number * 8 + *(*text)++ - '0';
    return number & 0xff;
}

/* Decode what stands between the quotes of a bytes literal. `out` has room for its size.
 * Returns: the size, or SIZE_MAX for an escape that is none. */
static size_t decode_string(const char *text, size_t size, char *out)
{
    const char *end = text + size;
    size_t length = 0;

    while (text < end) {
        int byte = (unsigned char)*text++;

        if (byte == '\\') {
            if (text == end)
                return SIZE_MAX;
            byte = decode_escape(&text, end);
            if (byte == -2)
                return SIZE_MAX;
            if (byte == -1)
                byte = '\\';
        }
        out[length++] = (char)byte;
    }
    return length;
}

int cvy_unpickle_string(struct cvy_unpickler *u)
{
    struct cvy_text *scratch;
    const char *text;
    size_t size, length;
    int r = cvy_unpickle_line(u, &text, &size);

    if (r < 0)
        return r;
    if (size < 2 || text[0] != text[size - 1] || (text[0] != '\'' && text[0] != '"'))
        return cvy_unpickle_bad("a str without quotes");
    scratch = cvy_text_new(&u->heap, COVEY_VALUE_BYTES, size);
    if (!scratch)
        return cvy_last_code();
    length = decode_string(text + 1, size - 2, scratch->data);
    r = length == SIZE_MAX ? cvy_unpickle_bad("a str with an escape that is none")
                           : push_ascii(u, scratch->data, length);
    covey_value_free(&scratch->head);
    return r;
}

static int read_string(struct cvy_unpickler *u, size_t size_size)
{
    const unsigned char *bytes;
    uint64_t size;
    int r;

    if ((r = cvy_unpickle_number(u, size_size, &size)) < 0)
        return r;
    if (size > INT32_MAX)
        return cvy_unpickle_bad("a str has a negative size");
    if ((r = cvy_unpickle_take(u, size, &bytes)) < 0)
        return r;
    return push_ascii(u, (const char *)bytes, size);
}

int cvy_unpickle_binstring(struct cvy_unpickler *u)
{
    return read_string(u, 4);
}

int cvy_unpickle_short_binstring(struct cvy_unpickler *u)
{
    return read_string(u, 1);
}
