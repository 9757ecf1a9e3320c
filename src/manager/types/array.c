/* SPDX-License-Identifier: MIT */
/*
 * Array: Python's array.array. Items lie in memory as there, so that slices and pickles
 * are copies of bytes.
 */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/memory.h"
#include "manager/types/help.h"
#include "manager/types/types.h"
#include "value/list.h"
#include "value/slice.h"
#include "value/text.h"
#include "value/walk.h"

struct type {
    char code;
    char sort; /* 'i': signed, 'u': unsigned, 'f': float, 't': code point */
    uint16_t size;
    uint32_t format; /* by which pickles call it: array.array's machine format code */
};

static const struct type types[] = {
    {'b', 'i', 1, 1},  {'B', 'u', 1, 0},  {'u', 't', 4, 20}, {'w', 't', 4, 20},
    {'h', 'i', 2, 4},  {'H', 'u', 2, 2},  {'i', 'i', 4, 8},  {'I', 'u', 4, 6},
    {'l', 'i', 8, 12}, {'L', 'u', 8, 10}, {'q', 'i', 8, 12}, {'Q', 'u', 8, 10},
    {'f', 'f', 4, 14}, {'d', 'f', 8, 16},
};

struct array {
    const struct type *type;
    struct covey_bytes items;
};

static size_t count_of(const struct array *array)
{
    return array->items.size / array->type->size;
}

static const struct type *find_type(char code)
{
    for (size_t i = 0; i < CVY_ARRAY_SIZE(types); i++) {
        if (types[i].code == code)
            return &types[i];
    }
    return NULL;
}

/* ---- items to values ----------------------------------------------------------- */

static covey_value *get_item(const struct type *type, const char *item)
{
    char point[4];
    uint64_t bits = 0;
    float single;
    double number;

    memcpy(&bits, item, type->size); /* of this machine, where the lowest comes first */
    if (type->sort == 't')
        return covey_value_str_size(point, cvy_utf8_put(point, (uint32_t)bits));
    if (type->sort == 'u')
        return covey_value_uint(bits);
    if (type->sort == 'i') {
        unsigned unused = 64 - 8 * (unsigned)type->size;

        return covey_value_int((int64_t)(bits << unused) >> unused);
    }
    if (type->code == 'd') {
        memcpy(&number, item, sizeof(number));
        return covey_value_float(number);
    }
    memcpy(&single, item, sizeof(single));
    return covey_value_float((double)single);
}

/* ---- values to items ----------------------------------------------------------- */

static int overflow(struct cvy_call *call, const char *what, bool less)
{
    return cvy_raise(call, "OverflowError", "%s is %s than %s", what,
                     less ? "less" : "greater", less ? "minimum" : "maximum");
}

struct limits {
    const char *what;
    int64_t low, high;
};

/* An int within limits. */
static int get_within(struct cvy_call *call, const covey_value *value,
                      const struct limits *limits, uint64_t *ret)
{
    int64_t number;

    if (covey_value_get_int(value, &number) < 0)
        return cvy_raise(call, "OverflowError",
                         "Python int too large to convert to C long");
    if (number < limits->low || number > limits->high)
        return overflow(call, limits->what, number < limits->low);
    *ret = (uint64_t)number;
    return 0;
}

static int get_unsigned(struct cvy_call *call, char code, const covey_value *value,
                        uint64_t *ret)
{
    struct cvy_int parts;

    cvy_int_of(value, &parts);
    if (parts.negative)
        return cvy_raise(call, "OverflowError",
                         code == 'Q' ? "can't convert negative int to unsigned"
                                     : "can't convert negative value to unsigned int");
    if (parts.size > 1)
        return cvy_raise(call, "OverflowError",
                         code == 'Q' ? "int too big to convert"
                                     : "Python int too large to convert to C unsigned "
                                       "long");
    *ret = parts.size ? parts.limbs[0] : 0;
    if (code == 'I' && *ret > UINT32_MAX)
        return overflow(call, "unsigned int", false);
    return 0;
}

static int get_long(struct cvy_call *call, char code, const covey_value *value,
                    uint64_t *ret)
{
    int64_t number;

    if (covey_value_get_int(value, &number) < 0)
        return cvy_raise(call, "OverflowError",
                         code == 'q' ? "int too big to convert"
                                     : "Python int too large to convert to C long");
    *ret = (uint64_t)number;
    return 0;
}

static int get_integer(struct cvy_call *call, char code, const covey_value *value,
                       uint64_t *ret)
{
    static const struct limits shorts = {"signed short integer", INT16_MIN, INT16_MAX};
    static const struct limits ints = {"signed integer", INT32_MIN, INT32_MAX};
    static const struct limits chars = {"signed char", INT8_MIN, INT8_MAX};
    static const struct limits bytes = {"unsigned byte integer", 0, UINT8_MAX};
    static const struct limits words = {"unsigned short", 0, UINT16_MAX};
    int r;

    if (!cvy_is_integer(value))
        return cvy_raise(call, "TypeError",
                         "'%s' object cannot be interpreted as an integer",
                         cvy_type_of(value));
    switch (code) {
    case 'b': /* CPython takes a wider number first, and complains about that */
        r = get_within(call, value, &shorts, ret);
        return r ? r : get_within(call, value, &chars, ret);
    case 'B':
        return get_within(call, value, &bytes, ret);
    case 'h':
        return get_within(call, value, &shorts, ret);
    case 'H':
        r = get_within(call, value, &ints, ret);
        return r ? r : get_within(call, value, &words, ret);
    case 'i':
        return get_within(call, value, &ints, ret);
    case 'l':
    case 'q':
        return get_long(call, code, value, ret);
    default:
        return get_unsigned(call, code, value, ret);
    }
}

static int put_real(struct cvy_call *call, const struct type *type,
                    const covey_value *value, char *item)
{
    double number;
    float single;

    if (!cvy_is_real(value))
        return cvy_raise(call, "TypeError", "must be real number, not %s",
                         cvy_type_of(value));
    if (covey_value_get_float(value, &number) < 0)
        return cvy_raise(call, "OverflowError", "int too large to convert to float");
    single = (float)number; /* what is too large becomes infinite, as in CPython */
    if (type->code == 'd')
        memcpy(item, &number, sizeof(number));
    else
        memcpy(item, &single, sizeof(single));
    return 0;
}

static int put_point(struct cvy_call *call, const covey_value *value, char *item)
{
    const struct cvy_text *text = cvy_as_text(value);
    size_t at = 0;
    uint32_t point;

    if (!cvy_is_kind(value, COVEY_VALUE_STR) || covey_value_count(value) != 1)
        return cvy_raise(call, "TypeError", "array item must be unicode character");
    point = cvy_utf8_next(text->data, &at);
    memcpy(item, &point, sizeof(point));
    return 0;
}

static int put_item(struct cvy_call *call, const struct type *type,
                    const covey_value *value, char *item)
{
    uint64_t bits;
    int r;

    if (type->sort == 'f')
        return put_real(call, type, value, item);
    if (type->sort == 't')
        return put_point(call, value, item);
    if ((r = get_integer(call, type->code, value, &bits)))
        return r;
    memcpy(item, &bits, type->size);
    return 0;
}

/* ---- making -------------------------------------------------------------------- */

static int append_bytes(struct cvy_call *call, struct array *array, const void *data,
                        size_t size)
{
    int r;

    if (size % array->type->size)
        return cvy_raise(call, "ValueError",
                         "bytes length not a multiple of item size");
    if ((r = cvy_heap_charge(&call->budget, size)) < 0)
        return r;
    return cvy_bytes_append(&array->items, data, size);
}

static int append_walked(struct cvy_call *call, struct array *array,
                         struct cvy_walk *walk)
{
    covey_value *item;
    char bytes[8];
    size_t size;
    int r;

    if (__builtin_mul_overflow(walk->count, array->type->size, &size))
        size = SIZE_MAX;
    if ((r = cvy_heap_charge(&call->budget, size)) < 0 ||
        (r = cvy_bytes_reserve(&array->items, size)) < 0)
        return r;
    while ((r = cvy_walk_next(walk, &call->budget, &item)) > 0) {
        r = put_item(call, array->type, item, bytes);
        covey_value_free(item);
        if (r || (r = cvy_bytes_append(&array->items, bytes, array->type->size)) < 0)
            return r;
    }
    return r;
}

/* The code and bytes of an array as a pickle has it: array.array(code, bytes) in those that
 * multiprocessing writes, else array._array_reconstructor(class, code, format, bytes).
 * Returns: whether it is one. */
static bool get_pickled(const struct covey_object *parts, const char **ret_code,
                        size_t *ret_code_size, struct covey_view *ret)
{
    const struct type *type;
    const covey_value *class;
    unsigned format;

    if (covey_value_is(parts->callable, "array", "array"))
        return covey_value_unpack(parts->args, "(s#, y#)", ret_code, ret_code_size,
                                  &ret->data, &ret->size) == 0;
    if (!covey_value_is(parts->callable, "array", "_array_reconstructor") ||
        covey_value_unpack(parts->args, "(O, s#, I, y#)", &class, ret_code,
                           ret_code_size, &format, &ret->data, &ret->size) < 0)
        return false;
    type = find_type(**ret_code);
    return type && type->format == format;
}

/* An array that came as argument. Returns: whether it is one, of a format that this machine
 * has. */
static bool get_array(const covey_value *value, const struct type **ret_type,
                      struct covey_view *ret_items)
{
    struct covey_object parts;
    const char *code;
    size_t size;

    if (covey_value_get_object(value, &parts) < 0 ||
        !get_pickled(&parts, &code, &size, ret_items))
        return false;
    *ret_type = size == 1 ? find_type(*code) : NULL;
    return *ret_type && ret_items->size % (*ret_type)->size == 0;
}

static int append_array(struct cvy_call *call, struct array *array,
                        const struct type *type, struct covey_view items)
{
    const char *from = items.data;
    char bytes[8];
    int r;

    if (type == array->type)
        return append_bytes(call, array, items.data, items.size);
    if ((r = cvy_heap_spend(&call->budget, items.size)) < 0)
        return r;
    for (size_t at = 0; at < items.size; at += type->size) {
        covey_value *item = get_item(type, from + at);

        if (!item)
            return covey_value_check(NULL);
        r = put_item(call, array->type, item, bytes);
        covey_value_free(item);
        if (r || (r = append_bytes(call, array, bytes, array->type->size)))
            return r;
    }
    return 0;
}

static int check_code(struct cvy_call *call, const covey_value *code, char *ret)
{
    const char *text;
    size_t size;

    if (covey_value_get_str(code, &text, &size) < 0 || covey_value_count(code) != 1)
        return cvy_raise(call, "TypeError",
                         "array() argument 1 must be a unicode character, not %s",
                         covey_value_is_none(code) ? "None" : cvy_type_of(code));
    *ret = '?'; /* none beyond ASCII is one */
    if (size == 1)
        *ret = *text;
    return 0;
}

/* What CPython asks before it looks at the type code. */
static int check_initial(struct cvy_call *call, char code, const covey_value *initial)
{
    bool text = code == 'u' || code == 'w';
    struct covey_view items;
    const struct type *type;
    struct cvy_walk walk;

    if (cvy_is_kind(initial, COVEY_VALUE_STR) && !text)
        return cvy_raise(call, "TypeError",
                         "cannot use a str to initialize an array with typecode '%c'",
                         code);
    if (!get_array(initial, &type, &items))
        return cvy_take_walk(call, initial, &walk);
    if (type->sort == 't' && !text)
        return cvy_raise(
            call, "TypeError",
            "cannot use a unicode array to initialize an array with typecode '%c'",
            code);
    return 0;
}

static int fill(struct cvy_call *call, struct array *array, const covey_value *initial)
{
    struct covey_view items;
    const struct type *type;
    struct cvy_walk walk;
    int r;

    if (get_array(initial, &type, &items))
        return append_array(call, array, type, items);
    if (covey_value_get_bytes(initial, &items) == 0)
        return append_bytes(call, array, items.data, items.size);
    if ((r = cvy_take_walk(call, initial, &walk)))
        return r;
    return append_walked(call, array, &walk);
}

static void array_destroy(void *self)
{
    struct array *array = self;

    covey_bytes_free(&array->items);
    cvy_free(array);
}

static int array_create(struct cvy_call *call, void **ret_self)
{
    static const struct cvy_params params = {.function = "Array",
                                             .required = 2,
                                             .count = 3,
                                             .names = {"typecode", "sequence", "lock"}};
    const covey_value *args[CVY_PARAMS];
    struct array *array;
    char code = 0;
    int r;

    if ((r = cvy_take_params(call, &params, args)) ||
        (r = check_code(call, args[0], &code)) ||
        (r = check_initial(call, code, args[1])))
        return r;
    if (!find_type(code))
        return cvy_raise(
            call, "ValueError",
            "bad typecode (must be b, B, u, h, H, i, I, l, L, q, Q, f or d)");
    if (!(array = cvy_calloc(1, sizeof(*array))))
        return cvy_fail(-ENOMEM, "no memory for an Array");
    array->type = find_type(code);
    if ((r = fill(call, array, args[1]))) {
        array_destroy(array);
        return r;
    }
    *ret_self = array;
    return 0;
}

/* ---- as a value ---------------------------------------------------------------- */

/* What these items are as an array in a pickle of multiprocessing. */
static covey_value *pickled(const struct type *type, const void *items, size_t size)
{
    covey_value *args;

    if (covey_value_pack(&args, "(s#, y#)", &type->code, (size_t)1, size ? items : "",
                         size) < 0)
        return NULL;
    return covey_value_call(covey_value_global("array", "array"), args);
}

static int array_value(struct cvy_call *call, void *self)
{
    const struct array *array = self;

    return cvy_return(call, pickled(array->type, array->items.data, array->items.size));
}

/* The items as a list, or as a str of code points. */
static covey_value *contents(struct cvy_call *call, const struct array *array)
{
    struct cvy_seq *list = cvy_seq_new(&call->budget, COVEY_VALUE_LIST);
    const char *items = array->items.data;

    if (!list)
        return NULL;
    for (size_t at = 0; at < array->items.size; at += array->type->size) {
        if (cvy_heap_spend(&call->budget, 1) < 0 ||
            cvy_seq_append(&call->budget, list, get_item(array->type, items + at)) <
                0) {
            covey_value_free(&list->base.head);
            return NULL;
        }
    }
    return &list->base.head;
}

static covey_value *text_of(struct cvy_call *call, const struct array *array)
{
    struct covey_bytes text = {0};
    const char *items = array->items.data;
    covey_value *str = NULL;
    uint32_t point;
    char bytes[4];
    int r = cvy_heap_charge(&call->budget, array->items.size);

    for (size_t at = 0; at < array->items.size && r == 0; at += sizeof(point)) {
        memcpy(&point, items + at, sizeof(point));
        r = cvy_bytes_append(&text, bytes, cvy_utf8_put(bytes, point));
    }
    if (r == 0)
        str = covey_value_str_size(text.data ? text.data : "", text.size);
    covey_bytes_free(&text);
    return str;
}

static int array_repr(struct cvy_call *call, void *self)
{
    const struct array *array = self;
    struct covey_bytes text = {0};
    covey_value *list;
    int r = cvy_bytes_format(&text, "array('%c'", array->type->code);

    if (r == 0 && array->items.size) {
        list = array->type->sort == 't' ? text_of(call, array) : contents(call, array);
        r = list ? cvy_bytes_append(&text, ", ", 2) : covey_value_check(NULL);
        if (r == 0)
            r = cvy_add_repr(call, list, &text);
        covey_value_free(list);
    }
    if (r == 0)
        r = cvy_bytes_append(&text, ")", 1);
    return cvy_return_text(call, r, &text);
}

/* ---- methods ------------------------------------------------------------------- */

static int array_len(struct cvy_call *call, void *self)
{
    int r = cvy_take_slot(call, 0, "", NULL);

    return r ? r : cvy_return_size(call, count_of(self));
}

static int wrong_subscript(struct cvy_call *call)
{
    return cvy_raise(call, "TypeError", "array indices must be integers");
}

static int get_slice(struct cvy_call *call, const struct array *array,
                     const covey_value *index)
{
    size_t size = array->type->size;
    struct covey_bytes part = {0};
    struct cvy_slice slice;
    covey_value *copy;
    int r;

    if ((r = cvy_take_slice(call, index, count_of(array), &slice)) ||
        (r = cvy_heap_spend(&call->budget, slice.count)) < 0 ||
        (r = cvy_bytes_reserve(&part, slice.count * size)) < 0)
        return r;
    for (size_t i = 0; i < slice.count && r == 0; i++)
        r = cvy_bytes_append(
            &part, (char *)array->items.data + cvy_slice_at(&slice, i) * size, size);
    copy = r < 0 ? NULL : pickled(array->type, part.data, part.size);
    covey_bytes_free(&part);
    return cvy_return(call, copy);
}

static int array_getitem(struct cvy_call *call, void *self)
{
    const struct array *array = self;
    const covey_value *index;
    size_t at;
    int r = cvy_take_slot(call, 1, "", &index);

    if (r)
        return r;
    if (cvy_is_kind(index, COVEY_VALUE_SLICE))
        return get_slice(call, array, index);
    if (!cvy_is_integer(index))
        return wrong_subscript(call);
    if ((r = cvy_take_subscript(call, index, count_of(array),
                                "array index out of range", &at)))
        return r;
    return cvy_return(call, get_item(array->type, (char *)array->items.data +
                                                      at * array->type->size));
}

/* Replace the bytes of a slice without step by others. */
static int splice(struct array *array, size_t at, size_t removed,
                  struct covey_view items)
{
    struct covey_bytes *bytes = &array->items;
    size_t rest = bytes->size - at - removed;
    int r = cvy_bytes_reserve(bytes, bytes->size - removed + items.size);

    if (r < 0)
        return r;
    if (rest)
        memmove((char *)bytes->data + at + items.size,
                (char *)bytes->data + at + removed, rest);
    if (items.size)
        memcpy((char *)bytes->data + at, items.data, items.size);
    bytes->size += items.size - removed;
    return 0;
}

/* Take the items of a slice out. */
static void drop(struct array *array, const struct cvy_slice *slice)
{
    struct cvy_slice up = cvy_slice_ascending(*slice);
    size_t size = array->type->size, count = count_of(array), next = 0, to = 0;
    char *items = array->items.data;

    for (size_t i = 0; i < count; i++) {
        if (next < up.count && i == cvy_slice_at(&up, next))
            next++;
        else
            memmove(items + to++ * size, items + i * size, size);
    }
    array->items.size = to * size;
}

static int set_slice(struct cvy_call *call, struct array *array,
                     const covey_value *index, const covey_value *value)
{
    size_t size = array->type->size, count;
    const struct type *type;
    struct covey_view items;
    struct cvy_slice slice;
    int r = cvy_take_slice(call, index, count_of(array), &slice);

    if (r)
        return r;
    if (!get_array(value, &type, &items))
        return cvy_raise(call, "TypeError",
                         "can only assign array (not \"%s\") to array slice",
                         cvy_type_of(value));
    if (type != array->type)
        return cvy_raise(call, "TypeError", "bad argument type for built-in operation");
    if ((r = cvy_heap_spend(&call->budget, array->items.size / size)) < 0)
        return r;
    count = items.size / size;
    if (slice.step == 1) {
        r = splice(array, (size_t)slice.start * size, slice.count * size, items);
        return r < 0 ? r : cvy_return_none(call);
    }
    if (!count) {
        drop(array, &slice);
        return cvy_return_none(call);
    }
    if (count != slice.count)
        return cvy_raise(
            call, "ValueError",
            "attempt to assign array of size %zu to extended slice of size %zu", count,
            slice.count);
    for (size_t i = 0; i < count; i++)
        memcpy((char *)array->items.data + cvy_slice_at(&slice, i) * size,
               (const char *)items.data + i * size, size);
    return cvy_return_none(call);
}

static int array_setitem(struct cvy_call *call, void *self)
{
    struct array *array = self;
    const covey_value *args[2];
    size_t at;
    int r = cvy_take_slot(call, 2, " ", args);

    if (r)
        return r;
    if (cvy_is_kind(args[0], COVEY_VALUE_SLICE))
        return set_slice(call, array, args[0], args[1]);
    if (!cvy_is_integer(args[0]))
        return wrong_subscript(call);
    if ((r = cvy_take_subscript(call, args[0], count_of(array),
                                "array assignment index out of range", &at)) ||
        (r = put_item(call, array->type, args[1],
                      (char *)array->items.data + at * array->type->size)))
        return r;
    return cvy_return_none(call);
}

static const struct cvy_method methods[] = {
    {"__len__", array_len, 0},
    {"__getitem__", array_getitem, 0},
    {"__setitem__", array_setitem, CVY_GROWS},
};

const struct cvy_class cvy_type_array = {
    .name = "Array",
    .proxy = "ArrayProxy",
    .methods = methods,
    .method_count = CVY_ARRAY_SIZE(methods),
    .create = array_create,
    .destroy = array_destroy,
    .repr = array_repr,
    .value = array_value,
};
