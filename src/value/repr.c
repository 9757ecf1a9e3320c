/* SPDX-License-Identifier: MIT */
/*
 * repr(): what Python prints for the same value. Recursion is bounded, as depth is.
 */
#include "value/repr.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "value/double.h"
#include "value/number.h"
#include "value/object.h"
#include "value/printable.h"
#include "value/text.h"

/* Where the text goes, and what it may take. */
struct writer {
    struct covey_bytes *text;
    struct cvy_heap *heap;
    cvy_repr_fn *objects;
};

static int write_value(struct writer *w, const covey_value *value);

static int put_size(struct writer *w, const char *part, size_t size)
{
    int r = cvy_heap_charge(w->heap, size);

    return r < 0 ? r : cvy_bytes_append(w->text, part, size);
}

static int put(struct writer *w, const char *part)
{
    return put_size(w, part, strlen(part));
}

/* ---- numbers ----------------------------------------------------------------- */

static int write_double(struct writer *w, double number, bool point)
{
    char digits[CVY_DOUBLE_TEXT];

    return put_size(w, digits, cvy_double_write(digits, number, point));
}

/* Decimal digits take quadratic time, of which there is an end. */
static int write_int(struct writer *w, const covey_value *value)
{
    size_t before = w->text->size, limbs;
    struct cvy_int number;
    int r;

    cvy_int_of(value, &number);
    limbs = cvy_min_size(number.size, CVY_INT_DIGITS / 19);
    if ((r = cvy_heap_spend(w->heap, limbs * limbs / 16)) < 0 ||
        (r = cvy_int_append(w->text, value)) < 0)
        return r;
    return cvy_heap_charge(w->heap, w->text->size - before);
}

/* 2j, or (1+2j) unless the real part is just 0. */
static int write_complex(struct writer *w, const struct cvy_complex *complex)
{
    bool pure = complex->real == 0 && !__builtin_signbit(complex->real);
    bool sign = !__builtin_signbit(complex->imag) || complex->imag != complex->imag;
    int r = 0;

    if (!pure && (r = put(w, "(")) == 0 &&
        (r = write_double(w, complex->real, false)) == 0 && sign)
        r = put(w, "+");
    if (r == 0 && (r = write_double(w, complex->imag, false)) == 0)
        r = put(w, pure ? "j" : "j)");
    return r;
}

/* ---- text -------------------------------------------------------------------- */

/* The quote that needs no escape, ' if both or none would do. */
static char choose_quote(const struct cvy_text *text)
{
    return memchr(text->data, '\'', text->size) && !memchr(text->data, '"', text->size)
               ? '"'
               : '\'';
}

/* Write an escape for a code point or byte if it needs one. Returns: whether. */
static bool escape(char out[16], uint32_t point, char quote, bool printable)
{
    static const char short_ones[] = "\tt\nn\rr\\\\";
    const char *found = NULL;

    if (point == (unsigned char)quote)
        return snprintf(out, 16, "\\%c", quote) > 0;
    for (size_t i = 0; i < sizeof(short_ones) - 1; i += 2) {
        if (point == (unsigned char)short_ones[i])
            found = &short_ones[i + 1];
    }
    if (found)
        return snprintf(out, 16, "\\%c", *found) > 0;
    if (printable)
        return false;
    return snprintf(out, 16,
                    point < 0x100     ? "\\x%02x"
                    : point < 0x10000 ? "\\u%04x"
                                      : "\\U%08x",
                    point) > 0;
}

static int write_quoted(struct writer *w, const struct cvy_text *text)
{
    unsigned kind = text->head.kind;
    bool str = kind == COVEY_VALUE_STR;
    char quote = choose_quote(text), escaped[16];
    size_t plain = 0, at = 0;
    char escaped_quote = quote;
    int r = put_size(w, &quote, 1);

    if (kind == COVEY_VALUE_BYTEARRAY) /* there Python escapes ' even if it need not */
        escaped_quote = '\'';
    while (at < text->size && r == 0) {
        size_t begin = at;
        uint32_t point =
            str ? cvy_utf8_next(text->data, &at) : (unsigned char)text->data[at++];

        if (!escape(escaped, point, escaped_quote,
                    str ? cvy_printable(point) : point >= ' ' && point < 0x7f))
            continue;
        r = put_size(w, text->data + plain, begin - plain);
        if (r == 0)
            r = put(w, escaped);
        plain = at;
    }
    if (r == 0)
        r = put_size(w, text->data + plain, text->size - plain);
    return r < 0 ? r : put_size(w, &quote, 1);
}

static int write_text(struct writer *w, const struct cvy_text *text)
{
    unsigned kind = text->head.kind;
    int r = put(w, kind == COVEY_VALUE_STR     ? ""
                   : kind == COVEY_VALUE_BYTES ? "b"
                                               : "bytearray(b");

    if (r == 0)
        r = write_quoted(w, text);
    return r == 0 && kind == COVEY_VALUE_BYTEARRAY ? put(w, ")") : r;
}

/* ---- containers ---------------------------------------------------------------- */

/* All that `container` has, between commas. */
static int write_items(struct writer *w, const covey_value *container)
{
    const covey_value *key, *value;
    size_t position = 0;
    int r = 0;

    for (bool first = true;
         r == 0 && covey_value_next(container, &position, &key, &value);
         first = false) {
        if ((!first && (r = put(w, ", ")) < 0) || (r = write_value(w, key)) < 0)
            break;
        if (value && (r = put(w, ": ")) == 0)
            r = write_value(w, value);
    }
    return r;
}

static int enclose(struct writer *w, const char *before, const covey_value *container,
                   const char *after)
{
    int r = put(w, before);

    if (r == 0)
        r = write_items(w, container);
    return r < 0 ? r : put(w, after);
}

static int write_container(struct writer *w, const covey_value *value)
{
    switch (value->kind) {
    case COVEY_VALUE_LIST:
        return enclose(w, "[", value, "]");
    case COVEY_VALUE_TUPLE:
        return enclose(w, "(", value, cvy_as_seq(value)->count == 1 ? ",)" : ")");
    case COVEY_VALUE_DICT:
        return enclose(w, "{", value, "}");
    case COVEY_VALUE_SET:
        return cvy_as_keys(value)->count ? enclose(w, "{", value, "}")
                                         : put(w, "set()");
    default:
        return cvy_as_keys(value)->count ? enclose(w, "frozenset({", value, "})")
                                         : put(w, "frozenset()");
    }
}

static int write_slice(struct writer *w, const struct cvy_seq *slice)
{
    static const char *const before[3] = {"slice(", ", ", ", "};
    int r = 0;

    for (size_t i = 0; i < 3 && r == 0; i++) {
        r = put(w, before[i]);
        if (r == 0)
            r = write_value(w, slice->items[i]);
    }
    return r < 0 ? r : put(w, ")");
}

static int write_range(struct writer *w, const struct cvy_range *range)
{
    char numbers[96];
    int length = snprintf(numbers, sizeof(numbers), "range(%lld, %lld",
                          (long long)range->start, (long long)range->stop);

    if (range->step != 1)
        snprintf(numbers + length, sizeof(numbers) - (size_t)length, ", %lld",
                 (long long)range->step);
    length = put(w, numbers);
    return length < 0 ? length : put(w, ")");
}

/* ---- objects ----------------------------------------------------------------- */

/* The name of a global; without "builtins." before it. */
static int write_global(struct writer *w, const struct cvy_global *global)
{
    const struct cvy_text *module = cvy_as_text(global->module);
    const struct cvy_text *name = cvy_as_text(global->name);
    int r = 0;

    if (!cvy_text_is(global->module, "builtins") &&
        (r = put_size(w, module->data, module->size)) == 0)
        r = put(w, ".");
    return r < 0 ? r : put_size(w, name->data, name->size);
}

static int write_part(struct writer *w, const char *name, const covey_value *part)
{
    int r;

    if (!part)
        return 0;
    if ((r = put(w, " ")) < 0 || (r = put(w, name)) < 0 || (r = put(w, "=")) < 0)
        return r;
    return write_value(w, part);
}

/* The arguments; of a range that is too large to be one without a step of 1. */
static int write_args(struct writer *w, const struct cvy_object *object)
{
    const covey_value *const *args = (const void *)cvy_as_seq(object->args)->items;
    int r;

    if (covey_value_count(object->args) != 3 || args[2] != cvy_make_small(1) ||
        !cvy_is_global(object->callable, "builtins", "range"))
        return enclose(w, "(", object->args, ")");
    if ((r = put(w, "(")) < 0 || (r = write_value(w, args[0])) < 0 ||
        (r = put(w, ", ")) < 0 || (r = write_value(w, args[1])) < 0)
        return r;
    return put(w, ")");
}

/* name(args), in <> and with the rest if there is any. */
static int write_object(struct writer *w, const struct cvy_object *object)
{
    bool more = object->kwargs || object->state || object->items || object->pairs;
    size_t before = w->text->size;
    int r = w->objects ? w->objects(&object->base.head, w->text) : 0;

    if (r)
        return r < 0 ? r : cvy_heap_charge(w->heap, w->text->size - before);
    if ((more && (r = put(w, "<")) < 0) || (r = write_value(w, object->callable)) < 0 ||
        (r = write_args(w, object)) < 0 || !more)
        return r;
    if ((r = write_part(w, "kwargs", object->kwargs)) < 0 ||
        (r = write_part(w, "state", object->state)) < 0 ||
        (r = write_part(w, "items", object->items)) < 0 ||
        (r = write_part(w, "pairs", object->pairs)) < 0)
        return r;
    return put(w, ">");
}

/* ---- all --------------------------------------------------------------------- */

static int write_value(struct writer *w, const covey_value *value)
{
    int r = covey_value_check(value);

    if (r < 0 || (r = cvy_heap_spend(w->heap, 1)) < 0)
        return r;
    switch (cvy_kind(value)) {
    case COVEY_VALUE_NONE:
        return put(w, "None");
    case COVEY_VALUE_BOOL:
        return put(w, covey_value_truth(value) ? "True" : "False");
    case COVEY_VALUE_INT:
        return write_int(w, value);
    case COVEY_VALUE_FLOAT:
        return write_double(w, cvy_as_float(value)->number, true);
    case COVEY_VALUE_COMPLEX:
        return write_complex(w, cvy_as_complex(value));
    case COVEY_VALUE_STR:
    case COVEY_VALUE_BYTES:
    case COVEY_VALUE_BYTEARRAY:
        return write_text(w, cvy_as_text(value));
    case COVEY_VALUE_SLICE:
        return write_slice(w, cvy_as_seq(value));
    case COVEY_VALUE_RANGE:
        return write_range(w, cvy_as_range(value));
    case COVEY_VALUE_GLOBAL:
        return write_global(w, cvy_as_global(value));
    case COVEY_VALUE_OBJECT:
        return write_object(w, cvy_as_object(value));
    default:
        return write_container(w, value);
    }
}

int cvy_repr(struct cvy_heap *heap, const covey_value *value, cvy_repr_fn *objects,
             struct covey_bytes *text)
{
    struct writer w = {text, heap, objects};

    return write_value(&w, value);
}

int covey_value_repr(const covey_value *value, struct covey_bytes *text)
{
    int r;

    if (!value)
        return cvy_wrong_type(value, "a value");
    if (!text)
        return cvy_fail(-EINVAL, "repr: NULL for the result");
    text->size = 0;
    r = cvy_repr(NULL, value, NULL, text);
    if (r == 0)
        r = cvy_bytes_append(text, "", 1);
    if (r == 0)
        text->size--;
    return r;
}
