/* SPDX-License-Identifier: MIT */
/**
 * covey/value.h: values as Python has them, and their pickles.
 *
 * A value is one of Python's simple objects: None, bool, int of any size, float, complex,
 * str, bytes, bytearray, list, tuple, dict, set, frozenset, slice, range; or the name of
 * a class or function, or an object that is described (its class, arguments and state)
 * but never brought to life. Reading a pickle runs no code.
 *
 * Ownership, in four rules:
 *
 *   1. What makes a value gives you one reference; covey_value_free drops it.
 *   2. Putting a value into another takes your reference, whether or not that succeeds.
 *      covey_value_ref gives you one more where you want to keep it.
 *   3. What looks into a value gives a `const covey_value *`: borrowed, valid as long as
 *      the container is alive and not changed.
 *   4. Only containers change, and only while you alone hold them and they were not put
 *      into another, whether or not that is still there; covey_value_take and the like take
 *      them out. Else a change is COVEY_ESTATE. covey_value_copy gives one of your own.
 *
 * Hence values never have cycles, a value that others can see never changes, and any
 * number of places may share one. Making and putting can be nested without a check in
 * between, because errors stick: makers return NULL on failure; putting NULL into a
 * container fails with the code of this thread's last failure; and a container that an
 * addition to has failed keeps that error until it is cleared: covey_value_check tells
 * it, and putting it elsewhere or pickling it fails with it.
 *
 * ```c
 * covey_value *squares = covey_value_list();
 * for (int i = 0; i < 10; i++)
 *     covey_value_append(squares, covey_value_int(i * i));
 * struct covey_bytes pickle = {0};
 * if (covey_value_pickle(squares, &pickle) < 0)
 *     fprintf(stderr, "%s\n", covey_error_detail());
 * covey_value_free(squares);
 * covey_bytes_free(&pickle);
 * ```
 *
 * The defaults of covey/base.h hold, and:
 *
 * Returns:  makers: a new value; NULL when there is no memory or as said, with the detail
 *           set. NULL where a value is wanted, or where a result is to go, is -EINVAL, if
 *           it is not said that it may be NULL; for what is taken it is the code of the last
 *           failure.
 * Threads:  any number may read a value and take and drop references at the same time;
 *           what changes one needs it alone, which rule 4 ensures.
 * Fork:     values are private memory: a fork child has copies.
 */
#ifndef COVEY_VALUE_H
#define COVEY_VALUE_H

#include <covey/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/** A value, or one reference to it. */
typedef struct covey_value covey_value;

/** What a value is. */
enum covey_kind {
    COVEY_VALUE_NULL = 0, /**< no value: NULL */
    COVEY_VALUE_NONE,
    COVEY_VALUE_BOOL,
    COVEY_VALUE_INT,
    COVEY_VALUE_FLOAT,
    COVEY_VALUE_COMPLEX,
    COVEY_VALUE_STR,
    COVEY_VALUE_BYTES,
    COVEY_VALUE_BYTEARRAY,
    COVEY_VALUE_LIST,
    COVEY_VALUE_TUPLE,
    COVEY_VALUE_DICT,
    COVEY_VALUE_SET,
    COVEY_VALUE_FROZENSET,
    COVEY_VALUE_SLICE,
    COVEY_VALUE_RANGE,
    COVEY_VALUE_GLOBAL, /**< a class or function, by module and qualified name */
    COVEY_VALUE_OBJECT  /**< an object of a class that covey does not know */
};

/**
 * Containers may be nested this deep; a list in a list has depth 2. What walks a value
 * takes up to 500 bytes of stack per level: threads with little should read pickles with
 * a lower `max_depth`.
 */
#define COVEY_VALUE_DEPTH_MAX 1000

/* ---- references ------------------------------------------------------------- */

/**
 * Take one more reference to a value.
 *
 * Returns:  `value`; NULL for NULL.
 */
COVEY_API covey_value *covey_value_ref(const covey_value *value);

/** Drop a reference; with the last one the value goes. NULL is fine. */
COVEY_API void covey_value_free(covey_value *value);

/**
 * A value equal to this one that you may change: containers and objects are copied, not
 * what is in them (Python's copy.copy); of others you get one more reference.
 *
 * Returns:  a new value; NULL: -ENOMEM, or the error that sticks to `value`.
 */
COVEY_API covey_value *covey_value_copy(const covey_value *value);

/**
 * Whether a value is whole.
 *
 * Returns:  0; the code with which adding something to this container first failed; for
 *           NULL the code of this thread's last failure.
 */
COVEY_API int covey_value_check(const covey_value *value);

/* ---- making values ------------------------------------------------------------ */

/** Returns: None. Never NULL. */
COVEY_API covey_value *covey_value_none(void);
/** Returns: True if `truth` is not 0, else False. Never NULL. */
COVEY_API covey_value *covey_value_bool(int truth);
/** Returns: an int. */
COVEY_API covey_value *covey_value_int(int64_t number);
/** Returns: an int. */
COVEY_API covey_value *covey_value_uint(uint64_t number);

/**
 * An int of any size from its two's complement, lowest byte first, which is Python's
 * `int.from_bytes(data, 'little', signed=True)`. No bytes are 0.
 *
 * Returns:  an int.
 */
COVEY_API covey_value *covey_value_int_bytes(const void *data, size_t size);

/**
 * An int of any size from text: decimal of at most 4300 digits as in Python, or any
 * length of hexadecimal after `0x`; a sign may come first, nothing else.
 *
 * Returns:  an int; NULL: -EINVAL for other text.
 */
COVEY_API covey_value *covey_value_int_text(const char *text);

/** Returns: a float. */
COVEY_API covey_value *covey_value_float(double number);
/** Returns: a complex. */
COVEY_API covey_value *covey_value_complex(double real, double imag);

/**
 * A str from UTF-8. Encoded surrogates are taken, as by Python's `surrogatepass`.
 *
 * Returns:  a str; NULL: -EILSEQ if it is not UTF-8; -EINVAL if `text` is NULL.
 */
COVEY_API covey_value *covey_value_str(const char *text);
/** The same for `size` bytes, which may contain NULs. Returns: as covey_value_str. */
COVEY_API covey_value *covey_value_str_size(const char *text, size_t size);
/** A str by a format as of printf. Returns: as covey_value_str. */
COVEY_API covey_value *covey_value_str_format(const char *format, ...)
    COVEY_PRINTF(1, 2);

/** Returns: a bytes; the data is copied. */
COVEY_API covey_value *covey_value_bytes(const void *data, size_t size);
/** Returns: a bytearray; the data is copied. */
COVEY_API covey_value *covey_value_bytearray(const void *data, size_t size);

/** Returns: an empty list. */
COVEY_API covey_value *covey_value_list(void);
/** Returns: an empty tuple, to which you may append. */
COVEY_API covey_value *covey_value_tuple(void);
/** Returns: an empty dict. */
COVEY_API covey_value *covey_value_dict(void);
/** Returns: an empty set. */
COVEY_API covey_value *covey_value_set(void);
/** Returns: an empty frozenset, to which you may add. */
COVEY_API covey_value *covey_value_frozenset(void);

/**
 * A slice of any three values.
 *
 * Returns:  a slice; NULL also if one of the three is.
 * Owner:    takes the three.
 */
COVEY_API covey_value *covey_value_slice(covey_value *start, covey_value *stop,
                                         covey_value *step);
/** Returns: a range; NULL: -EINVAL if `step` is 0. */
COVEY_API covey_value *covey_value_range(int64_t start, int64_t stop, int64_t step);

/**
 * A class or function by its name, for instance ("builtins", "ValueError").
 *
 * `name`:   the qualified name, with dots where it is nested.
 * Returns:  a global; NULL: -EILSEQ, -EINVAL as of covey_value_str.
 */
COVEY_API covey_value *covey_value_global(const char *module, const char *name);

/**
 * An object that Python makes by calling `callable(*args)`: the usual way for
 * exceptions and for what `__reduce__` returns. List items, dict items and a state, if it
 * has any, are put in by covey_value_append, covey_value_put, covey_value_put_state.
 *
 * Returns:  an object; NULL also if one of the two is; COVEY_ETYPE if `callable` is
 *           neither a global nor an object, or `args` is no tuple.
 * Owner:    takes both.
 */
COVEY_API covey_value *covey_value_call(covey_value *callable, covey_value *args);

/**
 * An object that Python makes by `cls.__new__(cls, *args)`: the usual way for instances
 * of plain classes, with args () and a dict of attributes as state.
 *
 * Returns:  as covey_value_call.
 * Owner:    takes both.
 */
COVEY_API covey_value *covey_value_instance(covey_value *cls, covey_value *args);

/**
 * Make a value by a format, as Python's Py_BuildValue:
 *
 *   s     const char *             str          s#  const char *, size_t
 *   z     the same; NULL is None                z#  the same
 *   y     const char *             bytes        y#  const void *, size_t
 *   i I   int, unsigned            int          n   size_t
 *   l k   long, unsigned long      int          L K long long, unsigned long long
 *   d     double                   float        p   int as bool
 *   O     const covey_value *: one more reference of it
 *   N     covey_value *: it is taken, also on failure
 *   (...) tuple   [...] list   {key: value, ...} dict
 *
 * Blanks, commas and colons may stand anywhere. The format gives exactly one value.
 *
 * ```c
 * covey_value *request;
 * if (covey_value_pack(&request, "(z, s, (i, [d, d]), {s: i})", NULL, "create", 7, 0.5,
 *                      1.5, "priority", 3) == 0)
 *     covey_value_free(request); // (None, 'create', (7, [0.5, 1.5]), {'priority': 3})
 * ```
 *
 * Returns:  0; -EINVAL for a bad format; the errors of making each; -ENOMEM.
 */
COVEY_API int covey_value_pack(covey_value **out, const char *format,
                               ...) COVEY_MUST_CHECK;

/* ---- reading values ----------------------------------------------------------- */

/** Returns: what `value` is; COVEY_VALUE_NULL for NULL. */
COVEY_API enum covey_kind covey_value_kind(const covey_value *value);

/**
 * The name of the type in Python: "NoneType", "int", "list"; of an object the name of
 * its class without the module; of a global "type".
 *
 * Returns:  a string that lives as long as the value; "NULL" for NULL.
 */
COVEY_API const char *covey_value_type(const covey_value *value);

/** Returns: 1 for None, else 0. */
COVEY_API int covey_value_is_none(const covey_value *value);

/** Returns: 0 or 1: what Python's bool() gives; 1 for globals and objects. */
COVEY_API int covey_value_truth(const covey_value *value);

/**
 * Get a bool.
 *
 * Returns:  0; COVEY_ETYPE for anything else.
 */
COVEY_API int covey_value_get_bool(const covey_value *value,
                                   int *ret_truth) COVEY_MUST_CHECK;
/**
 * Get an int or bool.
 *
 * Returns:  0; COVEY_ETYPE for anything else; -EOVERFLOW out of the range of int64_t.
 */
COVEY_API int covey_value_get_int(const covey_value *value,
                                  int64_t *ret_number) COVEY_MUST_CHECK;
/** The same within limits. Returns: 0; COVEY_ETYPE; -EOVERFLOW out of [low, high]. */
COVEY_API int covey_value_get_int_in(const covey_value *value, int64_t low,
                                     int64_t high,
                                     int64_t *ret_number) COVEY_MUST_CHECK;
/** The same, unsigned. Returns: 0; COVEY_ETYPE; -EOVERFLOW if negative or too large. */
COVEY_API int covey_value_get_uint(const covey_value *value,
                                   uint64_t *ret_number) COVEY_MUST_CHECK;

/**
 * Get an int of any size, or a bool, as the shortest two's complement, lowest byte first;
 * 0 is one byte. `ret` is overwritten.
 *
 * Returns:  0; COVEY_ETYPE; -ENOMEM.
 */
COVEY_API int covey_value_get_int_bytes(const covey_value *value,
                                        struct covey_bytes *ret) COVEY_MUST_CHECK;

/**
 * Get a float, or an int or bool as the nearest double.
 *
 * Returns:  0; COVEY_ETYPE; -EOVERFLOW for an int beyond the largest double.
 */
COVEY_API int covey_value_get_float(const covey_value *value,
                                    double *ret_number) COVEY_MUST_CHECK;
/** Get a complex, or any real number as one. Returns: as covey_value_get_float. */
COVEY_API int covey_value_get_complex(const covey_value *value, double *ret_real,
                                      double *ret_imag) COVEY_MUST_CHECK;

/**
 * Get the UTF-8 of a str; a NUL follows it that the size omits. It is borrowed.
 *
 * `ret_size`: may be NULL; then a str that contains a NUL is an error.
 * Returns:  0; COVEY_ETYPE; -EINVAL for a NUL inside.
 */
COVEY_API int covey_value_get_str(const covey_value *value, const char **ret_text,
                                  size_t *ret_size) COVEY_MUST_CHECK;
/** Get the bytes of a bytes or bytearray, borrowed. Returns: 0; COVEY_ETYPE. */
COVEY_API int covey_value_get_bytes(const covey_value *value,
                                    struct covey_view *ret) COVEY_MUST_CHECK;
/** Get the three values of a slice, borrowed. Returns: 0; COVEY_ETYPE. */
COVEY_API int covey_value_get_slice(const covey_value *value,
                                    const covey_value **ret_start,
                                    const covey_value **ret_stop,
                                    const covey_value **ret_step) COVEY_MUST_CHECK;
/** Get the three numbers of a range. Returns: 0; COVEY_ETYPE. */
COVEY_API int covey_value_get_range(const covey_value *value, int64_t *ret_start,
                                    int64_t *ret_stop,
                                    int64_t *ret_step) COVEY_MUST_CHECK;
/** Get module and qualified name of a global, borrowed. Returns: 0; COVEY_ETYPE. */
COVEY_API int covey_value_get_global(const covey_value *value, const char **ret_module,
                                     const char **ret_name) COVEY_MUST_CHECK;

/** All there is to an object; borrowed from it. What it has not is NULL. */
struct covey_object {
    int calls;                   /**< 1: callable(*args); 0: callable.__new__(...) */
    const covey_value *callable; /**< a global or an object */
    const covey_value *args;     /**< a tuple */
    const covey_value *kwargs;   /**< a dict, for __new__ */
    const covey_value *state;    /**< for __setstate__, or the attributes */
    const covey_value *items;    /**< a list: what is appended to it */
    const covey_value *pairs;    /**< a dict: what is set in it */
};
/** Get the parts of an object. Returns: 0; COVEY_ETYPE. */
COVEY_API int covey_value_get_object(const covey_value *value,
                                     struct covey_object *ret) COVEY_MUST_CHECK;

/**
 * The class of an object: what is called to make it, if that is a global.
 *
 * Returns:  a global, borrowed; NULL if `value` is no object or its class is not known.
 */
COVEY_API const covey_value *covey_value_class(const covey_value *value);

/** Returns: 1 if `value` is an object of just this class, or this global; else 0. */
COVEY_API int covey_value_is(const covey_value *value, const char *module,
                             const char *name);

/**
 * Take a value apart by a format, the converse of covey_value_pack:
 *
 *   s     const char **            str without NULs   s#  const char **, size_t *
 *   z     the same; NULL for None                     z#  the same
 *   y#    const void **, size_t *  bytes or bytearray
 *   i I   int *, unsigned *        int or bool        n   size_t *
 *   l k   long *, unsigned long *                     L K long long *, unsigned ... *
 *   d     double *                 float, int, bool   p   int *: truth of anything
 *   O     const covey_value **: anything, borrowed
 *   N     covey_value **: anything, a reference of your own
 *   (...) a tuple   [...] a list: of just as many items, unless * ends them
 *   {s: ...} a dict that has the key, which is given as const char *; others may be there
 *   |     what follows in these brackets may be missing; its outputs stay as they are
 *
 * ```c
 * const char *kind;
 * const covey_value *result;
 * covey_value *reply;
 * if (covey_value_pack(&reply, "(s, i)", "#RETURN", 42) == 0 &&
 *     covey_value_unpack(reply, "(s, O)", &kind, &result) == 0)
 *     puts(kind);
 * covey_value_free(reply);
 * ```
 *
 * Returns:  0; -EINVAL for a bad format; COVEY_ETYPE for another kind of value or another
 *           number of items; -ENOENT for a missing key; -EOVERFLOW. All outputs are
 *           untouched then.
 */
COVEY_API int covey_value_unpack(const covey_value *value, const char *format,
                                 ...) COVEY_MUST_CHECK;

/* ---- looking into containers -------------------------------------------------- */

/**
 * Returns: what Python's len() gives, for a str its code points; 0 for what has no
 * length.
 */
COVEY_API size_t covey_value_count(const covey_value *value);

/** Returns: item `index` of a list or tuple, borrowed; NULL if there is none. */
COVEY_API const covey_value *covey_value_at(const covey_value *sequence, size_t index);

/**
 * Look up a key in a dict, by Python's equality: 1, 1.0 and True are the same key.
 *
 * Returns:  its value, borrowed; NULL if there is none, also if `dict` is no dict or
 *           `key` cannot be a key.
 */
COVEY_API const covey_value *covey_value_find(const covey_value *dict,
                                              const covey_value *key);
/** The same for a str. Returns: as covey_value_find. */
COVEY_API const covey_value *covey_value_find_str(const covey_value *dict,
                                                  const char *key);

/** Returns: 1 if a list, tuple, set or frozenset has the item, a dict the key; else 0. */
COVEY_API int covey_value_has(const covey_value *container, const covey_value *item);

/**
 * Walk through a list, tuple, set, frozenset or dict, in order of insertion.
 *
 * `position`: 0 at first; belongs to the walk.
 * `ret_key`: receives the next item, of a dict the key, borrowed.
 * `ret_value`: receives the value in a dict, else NULL; may itself be NULL.
 * Returns:  1, or 0 at the end or if it is no container.
 */
COVEY_API int covey_value_next(const covey_value *container, size_t *position,
                               const covey_value **ret_key,
                               const covey_value **ret_value);

/* ---- changing containers ------------------------------------------------------ */
/* All of these return COVEY_ESTATE for a container that you do not hold alone or that
 * was put into another, COVEY_ETYPE for one of another kind. Putting a container into itself is
 * COVEY_ESTATE too; the only reference to it is not taken then. */

/**
 * Append to a list, a tuple of yours, or the list items of an object.
 *
 * Returns:  0; -ENOMEM; -EMSGSIZE if it nests too deep; the error that sticks to `item`;
 *           COVEY_ESTATE; COVEY_ETYPE.
 * Owner:    takes `item`.
 */
COVEY_API int covey_value_append(covey_value *sequence, covey_value *item);
/** Append all that `other` has, as covey_value_next walks it. Returns: as append, with the
 * error that sticks to `other`, or to an item of it, for that of `item`. */
COVEY_API int covey_value_extend(covey_value *sequence, const covey_value *other);
/** Insert before `index` of a list; from its length on it appends. Returns: as append. */
COVEY_API int covey_value_insert(covey_value *list, size_t index, covey_value *item);
/** Replace item `index` of a list. Returns: as append; -ENOENT if there is none. */
COVEY_API int covey_value_put_at(covey_value *list, size_t index, covey_value *item);
/**
 * Take item `index` out of a list.
 *
 * `out`:    receives it, yours; NULL: it is dropped.
 * Returns:  0; -ENOENT if there is none; COVEY_ESTATE; COVEY_ETYPE.
 */
COVEY_API int covey_value_take_at(covey_value *list, size_t index, covey_value **out);
/**
 * Sort a list as Python's list.sort: stable, by what covey_value_compare says of `<`.
 *
 * `reverse`: not 0: the largest first.
 * Returns:  0; COVEY_ETYPE if two items have no order; -ENOMEM; COVEY_ESTATE. On failure
 *           the order is as it was.
 */
COVEY_API int covey_value_sort(covey_value *list, int reverse);

/**
 * Set a key of a dict, or of the dict items of an object. A key that is there keeps its
 * place.
 *
 * Returns:  as covey_value_append; COVEY_ETYPE also for a key that Python cannot hash.
 * Owner:    takes `key` and `value`.
 */
COVEY_API int covey_value_put(covey_value *dict, covey_value *key, covey_value *value);
/** The same for a str as key. Returns: as covey_value_put; -EILSEQ. */
COVEY_API int covey_value_put_str(covey_value *dict, const char *key,
                                  covey_value *value);
/** Add to a set, or a frozenset of yours. Returns: as covey_value_put. */
COVEY_API int covey_value_add(covey_value *set, covey_value *item);
/**
 * Take a key out of a dict, or an item out of a set.
 *
 * `out`:    receives the value, of a set the item, yours; NULL: it is dropped.
 * Returns:  0; -ENOENT if it is not there; COVEY_ESTATE; COVEY_ETYPE.
 */
COVEY_API int covey_value_take(covey_value *container, const covey_value *key,
                               covey_value **out);
/**
 * Empty a list, tuple, dict, set or frozenset, and forget an error that stuck to it.
 *
 * Returns:  0; COVEY_ESTATE; COVEY_ETYPE.
 */
COVEY_API int covey_value_clear(covey_value *container);

/**
 * Give an object its state: what Python hands to `__setstate__`, or a dict of
 * attributes. Again: replaces the first.
 *
 * Returns:  as covey_value_append.
 * Owner:    takes `state`.
 */
COVEY_API int covey_value_put_state(covey_value *object, covey_value *state);
/**
 * Give an object of covey_value_instance keyword arguments for `__new__`, a dict.
 *
 * Returns:  as covey_value_append.
 * Owner:    takes `kwargs`.
 */
COVEY_API int covey_value_put_kwargs(covey_value *object, covey_value *kwargs);

/* ---- comparing ---------------------------------------------------------------- */

/**
 * Whether two values are equal in Python: numbers by value whatever their type, bytes
 * and bytearray, set and frozenset by content, nan never. Objects are equal if all their
 * parts are.
 *
 * Returns:  1 or 0; NULL equals NULL only.
 */
COVEY_API int covey_value_equal(const covey_value *a, const covey_value *b);

/** How two values stand to each other. */
enum covey_order {
    COVEY_ORDER_LESS = -1,
    COVEY_ORDER_EQUAL = 0,
    COVEY_ORDER_GREATER = 1,
    COVEY_ORDER_NONE =
        2 /**< none of <, ==, >: nan, or sets of which none is a subset */
};

/**
 * Order two values where Python does: real numbers, str by code points, bytes and
 * bytearray, lists, tuples and slices item by item, sets and frozensets by inclusion.
 *
 * Returns:  0; COVEY_ETYPE where Python raises TypeError.
 */
COVEY_API int covey_value_compare(const covey_value *a, const covey_value *b,
                                  enum covey_order *ret_order) COVEY_MUST_CHECK;

/**
 * A number that is the same for equal values; another one in each program start, and not
 * Python's.
 *
 * Returns:  0; COVEY_ETYPE for what Python cannot hash.
 */
COVEY_API int covey_value_hash(const covey_value *value,
                               uint64_t *ret_hash) COVEY_MUST_CHECK;

/* ---- text ----------------------------------------------------------------------- */

/**
 * The value as Python's repr() writes it, in UTF-8; `text` is overwritten, and a NUL
 * follows that its size omits. What differs: sets are in order of insertion; an int of
 * more than 4300 digits, where Python refuses, is hexadecimal; objects print as
 * `name(args)`, with module and state where Python would call methods of theirs.
 *
 * Returns:  0; -ENOMEM; the error that sticks to the value.
 */
COVEY_API int covey_value_repr(const covey_value *value,
                               struct covey_bytes *text) COVEY_MUST_CHECK;

/* ---- pickles -------------------------------------------------------------------- */

/**
 * Pickle a value: protocol 4, as CPython itself would write it where it can. What is
 * shared inside the value is shared again where it is read. `pickle` is overwritten.
 *
 * Returns:  0; -ENOMEM; the error that sticks to the value or to one in it.
 */
COVEY_API int covey_value_pickle(const covey_value *value,
                                 struct covey_bytes *pickle) COVEY_MUST_CHECK;

/** Options of reading a pickle; zero means the default. */
struct covey_unpickle_opts {
    size_t size;       /**< sizeof(struct covey_unpickle_opts); the macro fills it */
    size_t max_memory; /**< bytes to allocate while reading; default 1 GiB */
    size_t max_count;  /**< values, counted as often as they occur; default 64 Mi */
    size_t max_depth;  /**< of nesting; default and most COVEY_VALUE_DEPTH_MAX */
    size_t *ret_size;  /**< receives the bytes read; what follows them is ignored */
};
#define COVEY_UNPICKLE_OPTS(...)                                                       \
    (&(struct covey_unpickle_opts){.size = sizeof(struct covey_unpickle_opts),         \
                                   __VA_ARGS__})

/**
 * Read a pickle of protocol 0 to 5. Nothing is executed or imported: what covey does not
 * know becomes a global or an object. Names of Python 2 are translated as Python 3 does.
 *
 * Returns:  0; COVEY_EPICKLE for a malformed pickle, or none; -EMSGSIZE beyond a limit;
 *           -ENOTSUP for cycles, persistent ids, extension codes, out-of-band buffers,
 *           and other things that cannot be kept; -ENOMEM. The detail tells position
 *           and reason.
 */
COVEY_API int
covey_value_unpickle(covey_value **out, const void *data, size_t size,
                     const struct covey_unpickle_opts *opts) COVEY_MUST_CHECK;

#ifdef __cplusplus
}
#endif

#endif
