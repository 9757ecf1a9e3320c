/* SPDX-License-Identifier: MIT */
/*
 * list. The state is the list value itself, which only this object changes; replies may
 * hold it until they are sent. So it is changed by the functions that do not ask who else
 * has it (value/list.h, value/slice.h).
 *
 * Room for what the list keeps is not taken from the request's bytes, as the list may be
 * large already when it grows; what the request adds to it is.
 */
#include "value/list.h"

#include "base/memory.h"
#include "manager/types/help.h"
#include "manager/types/types.h"
#include "value/compare.h"
#include "value/slice.h"
#include "value/sort.h"
#include "value/walk.h"

static const char cls[] = "list";

static struct cvy_seq *seq_of(void *self)
{
    return cvy_as_seq(self);
}

/* Charge for `count` more items, and make room for them. */
static int make_room(struct cvy_call *call, struct cvy_seq *seq, size_t count)
{
    size_t bytes;
    int r;

    if (__builtin_mul_overflow(count, sizeof(covey_value *), &bytes))
        bytes = SIZE_MAX;
    if ((r = cvy_heap_charge(&call->budget, bytes)) < 0)
        return r;
    return cvy_seq_reserve(NULL, seq, count);
}

/* Moving many items takes time. */
static int pay_for_moving(struct cvy_call *call, size_t count)
{
    return cvy_heap_spend(&call->budget, count / 64);
}

static int add_walked(struct cvy_call *call, struct cvy_seq *seq, struct cvy_walk *walk)
{
    covey_value *item;
    int r;

    if ((r = make_room(call, seq, walk->count)) < 0)
        return r;
    while ((r = cvy_walk_next(walk, &call->budget, &item)) > 0) {
        if ((r = cvy_seq_append(&call->budget, seq, item)) < 0)
            break;
    }
    return r;
}

/* All that an iterable gives, as a list of its own. */
static int collect(struct cvy_call *call, struct cvy_walk *walk, covey_value **ret)
{
    covey_value *list = covey_value_list();
    int r = list ? add_walked(call, cvy_as_seq(list), walk) : covey_value_check(NULL);

    if (r < 0) {
        covey_value_free(list);
        return r;
    }
    *ret = list;
    return 0;
}

/* ---- the object ---------------------------------------------------------------- */

static int list_create(struct cvy_call *call, void **ret_self)
{
    const covey_value *iterable;
    struct cvy_walk walk;
    covey_value *list;
    int r = cvy_take_made_of(call, cls, false, &iterable);

    if (r)
        return r;
    if (!iterable) {
        *ret_self = covey_value_list();
        return covey_value_check(*ret_self);
    }
    if ((r = cvy_take_walk(call, iterable, &walk)) ||
        (r = collect(call, &walk, &list)) < 0)
        return r;
    *ret_self = list;
    return 0;
}

/* ---- subscripts ---------------------------------------------------------------- */

static int wrong_subscript(struct cvy_call *call, const covey_value *index)
{
    return cvy_raise(call, "TypeError",
                     "list indices must be integers or slices, not %s",
                     cvy_type_of(index));
}

static int list_getitem(struct cvy_call *call, void *self)
{
    struct cvy_seq *seq = seq_of(self);
    const covey_value *index;
    struct cvy_slice slice;
    size_t at;
    int r = cvy_take_one(call, cls, &index);

    if (r)
        return r;
    if (cvy_is_kind(index, COVEY_VALUE_SLICE)) {
        if ((r = cvy_take_slice(call, index, seq->count, &slice)) ||
            (r = cvy_heap_spend(&call->budget, slice.count)) < 0)
            return r;
        return cvy_return(call, cvy_seq_pick(&call->budget, seq, &slice));
    }
    if (!cvy_is_integer(index))
        return wrong_subscript(call, index);
    r = cvy_take_subscript(call, index, seq->count, "list index out of range", &at);
    return r ? r : cvy_return(call, covey_value_ref(seq->items[at]));
}

/* Put the items of `value` in the place of a slice. Its items are moved out of `list`. */
static int put_items(struct cvy_call *call, struct cvy_seq *seq,
                     const struct cvy_slice *slice, const struct cvy_seq *list)
{
    int r = pay_for_moving(call, seq->count);

    if (r < 0)
        return r;
    for (size_t i = 0; i < list->count; i++)
        covey_value_ref(list->items[i]);
    if (slice->step == 1)
        r = cvy_seq_splice(&call->budget, seq, (size_t)slice->start, slice->count,
                           list->items, list->count);
    else
        r = cvy_seq_replace(&call->budget, seq, slice, list->items);
    return r < 0 ? r : cvy_return_none(call);
}

static int set_slice(struct cvy_call *call, struct cvy_seq *seq,
                     const struct cvy_slice *slice, const covey_value *value)
{
    struct cvy_walk walk;
    covey_value *list;
    int r;

    if (cvy_walk_begin(&walk, value) < 0 &&
        covey_value_kind(value) != COVEY_VALUE_OBJECT)
        return cvy_raise(call, "TypeError", "must assign iterable to extended slice");
    if ((r = cvy_take_walk(call, value, &walk)))
        return r;
    if (slice->step != 1 && walk.count != slice->count)
        return cvy_raise(call, "ValueError",
                         "attempt to assign sequence of size %zu to extended slice of "
                         "size %zu",
                         walk.count, slice->count);
    if ((r = collect(call, &walk, &list)) < 0)
        return r;
    if (slice->step == 1 && covey_value_count(list) > slice->count)
        r = cvy_seq_reserve(NULL, seq, covey_value_count(list) - slice->count);
    if (r == 0)
        r = put_items(call, seq, slice, cvy_as_seq(list));
    covey_value_free(list);
    return r;
}

static int list_setitem(struct cvy_call *call, void *self)
{
    struct cvy_seq *seq = seq_of(self);
    const covey_value *args[2];
    struct cvy_slice slice;
    size_t at;
    int r = cvy_take_slot(call, 2, " ", args);

    if (r)
        return r;
    if (cvy_is_kind(args[0], COVEY_VALUE_SLICE)) {
        r = cvy_take_slice(call, args[0], seq->count, &slice);
        return r ? r : set_slice(call, seq, &slice, args[1]);
    }
    if (!cvy_is_integer(args[0]))
        return wrong_subscript(call, args[0]);
    if ((r = cvy_take_subscript(call, args[0], seq->count,
                                "list assignment index out of range", &at)) ||
        (r = cvy_seq_put_at(&call->budget, seq, at, covey_value_ref(args[1]))) < 0)
        return r;
    return cvy_return_none(call);
}

static int list_delitem(struct cvy_call *call, void *self)
{
    struct cvy_seq *seq = seq_of(self);
    const covey_value *index;
    struct cvy_slice slice;
    size_t at;
    int r = cvy_take_slot(call, 1, "", &index);

    if (r)
        return r;
    if (cvy_is_kind(index, COVEY_VALUE_SLICE)) {
        if ((r = cvy_take_slice(call, index, seq->count, &slice)) ||
            (r = cvy_heap_spend(&call->budget, slice.count + seq->count / 8)) < 0)
            return r;
        cvy_seq_drop(seq, &slice);
        return cvy_return_none(call);
    }
    if (!cvy_is_integer(index))
        return wrong_subscript(call, index);
    if ((r = cvy_take_subscript(call, index, seq->count,
                                "list assignment index out of range", &at)) ||
        (r = pay_for_moving(call, seq->count - at)) < 0)
        return r;
    covey_value_free(cvy_seq_take(seq, at));
    return cvy_return_none(call);
}

static int list_len(struct cvy_call *call, void *self)
{
    int r = cvy_take_slot(call, 0, "", NULL);

    return r ? r : cvy_return_size(call, seq_of(self)->count);
}

/* ---- adding and taking --------------------------------------------------------- */

static int list_append(struct cvy_call *call, void *self)
{
    const covey_value *item;
    int r = cvy_take_one(call, cls, &item);

    if (r || (r = cvy_seq_reserve(NULL, seq_of(self), 1)) < 0 ||
        (r = cvy_seq_append(&call->budget, seq_of(self), covey_value_ref(item))) < 0)
        return r;
    return cvy_return_none(call);
}

static int list_extend(struct cvy_call *call, void *self)
{
    const covey_value *iterable;
    struct cvy_walk walk;
    int r = cvy_take_one(call, cls, &iterable);

    if (r || (r = cvy_take_walk(call, iterable, &walk)) ||
        (r = add_walked(call, seq_of(self), &walk)) < 0)
        return r;
    return cvy_return_none(call);
}

static int list_insert(struct cvy_call *call, void *self)
{
    struct cvy_seq *seq = seq_of(self);
    int64_t at, count = (int64_t)seq->count;
    const covey_value *args[2];
    int r;

    if ((r = cvy_take_some(call, cls, 2, 2, args)) ||
        (r = cvy_take_index(call, args[0], &at)))
        return r;
    if (at < 0)
        at += count;
    at = at < 0 ? 0 : cvy_min_i64(at, count);
    if ((r = pay_for_moving(call, (size_t)(count - at))) < 0 ||
        (r = cvy_seq_reserve(NULL, seq, 1)) < 0 ||
        (r = cvy_seq_insert(&call->budget, seq, (size_t)at, covey_value_ref(args[1]))) <
            0)
        return r;
    return cvy_return_none(call);
}

static int list_pop(struct cvy_call *call, void *self)
{
    struct cvy_seq *seq = seq_of(self);
    const covey_value *index;
    int64_t at = -1;
    int r = cvy_take_some(call, cls, 0, 1, &index);

    if (r || (index && (r = cvy_take_index(call, index, &at))))
        return r;
    if (!seq->count)
        return cvy_raise(call, "IndexError", "pop from empty list");
    if (at < 0)
        at += (int64_t)seq->count;
    if (at < 0 || (uint64_t)at >= seq->count)
        return cvy_raise(call, "IndexError", "pop index out of range");
    if ((r = pay_for_moving(call, seq->count - (size_t)at)) < 0)
        return r;
    return cvy_return(call, cvy_seq_take(seq, (size_t)at));
}

static int list_clear(struct cvy_call *call, void *self)
{
    int r = cvy_take_none(call, cls);

    if (r)
        return r;
    cvy_clear(self);
    return cvy_return_none(call);
}

/* ---- searching ----------------------------------------------------------------- */

/* Where an item is within [start, stop). Returns: 1; 0: nowhere; a negative code. */
static int find(struct cvy_call *call, const struct cvy_seq *seq,
                const covey_value *item, size_t start, size_t stop, size_t *ret)
{
    int r = 0;

    for (size_t i = start; i < stop && i < seq->count && r == 0; i++) {
        if ((r = cvy_heap_spend(&call->budget, 1)) == 0)
            r = cvy_same(seq->items[i], item, &call->budget.steps);
        *ret = i;
    }
    return r;
}

static int list_contains(struct cvy_call *call, void *self)
{
    const covey_value *item;
    size_t at;
    int r = cvy_take_slot(call, 1, "", &item);

    if (r || (r = find(call, seq_of(self), item, 0, SIZE_MAX, &at)) < 0)
        return r;
    return cvy_return_bool(call, r);
}

static int list_count(struct cvy_call *call, void *self)
{
    const struct cvy_seq *seq = seq_of(self);
    size_t at = 0, count = 0;
    const covey_value *item;
    int r = cvy_take_one(call, cls, &item);

    if (r)
        return r;
    for (size_t i = 0; (r = find(call, seq, item, i, SIZE_MAX, &at)) > 0; i = at + 1)
        count++;
    return r < 0 ? r : cvy_return_size(call, count);
}

/* An end of what list.index searches. */
static int take_end(struct cvy_call *call, const covey_value *value, size_t count,
                    size_t *ret)
{
    int64_t at;

    if (!value)
        return 0;
    if (!cvy_is_integer(value))
        return cvy_raise(call, "TypeError",
                         "slice indices must be integers or have an __index__ method");
    at = cvy_int_clip(value);
    if (at < 0)
        at = cvy_max_i64(at + (int64_t)count, 0);
    *ret = (size_t)at;
    return 0;
}

static int list_index(struct cvy_call *call, void *self)
{
    const struct cvy_seq *seq = seq_of(self);
    size_t start = 0, stop = SIZE_MAX, at = 0;
    const covey_value *args[3];
    int r;

    if ((r = cvy_take_some(call, cls, 1, 3, args)) ||
        (r = take_end(call, args[1], seq->count, &start)) ||
        (r = take_end(call, args[2], seq->count, &stop)) ||
        (r = find(call, seq, args[0], start, stop, &at)) < 0)
        return r;
    return r ? cvy_return_size(call, at)
             : cvy_raise_about(call, "ValueError", args[0], " is not in list");
}

static int list_remove(struct cvy_call *call, void *self)
{
    struct cvy_seq *seq = seq_of(self);
    const covey_value *item;
    size_t at = 0;
    int r;

    if ((r = cvy_take_one(call, cls, &item)) ||
        (r = find(call, seq, item, 0, SIZE_MAX, &at)) < 0)
        return r;
    if (!r)
        return cvy_raise(call, "ValueError", "list.remove(x): x not in list");
    if ((r = pay_for_moving(call, seq->count - at)) < 0)
        return r;
    covey_value_free(cvy_seq_take(seq, at));
    return cvy_return_none(call);
}

/* ---- order --------------------------------------------------------------------- */

static int list_reverse(struct cvy_call *call, void *self)
{
    int r;

    if ((r = cvy_take_none(call, cls)) ||
        (r = cvy_heap_spend(&call->budget, seq_of(self)->count / 8)) < 0)
        return r;
    cvy_seq_reverse(seq_of(self));
    return cvy_return_none(call);
}

/* A key to sort by is a function, which no request can bring. */
static int check_key(struct cvy_call *call, const struct cvy_seq *seq,
                     const covey_value *key)
{
    enum covey_kind kind = covey_value_kind(key);

    if (cvy_is_missing(key))
        return 0;
    if (kind == COVEY_VALUE_GLOBAL || kind == COVEY_VALUE_OBJECT)
        return cvy_raise(call, "NotImplementedError",
                         "this manager cannot call what came as key");
    return seq->count ? cvy_raise(call, "TypeError", "'%s' object is not callable",
                                  cvy_type_of(key))
                      : 0;
}

static int list_sort(struct cvy_call *call, void *self)
{
    static const char *const names[] = {"key", "reverse"};
    const covey_value *args[2];
    struct cvy_pair pair;
    int r;

    if (cvy_arg_count(call) && cvy_arg_count(call) + covey_value_count(call->kwds) <= 2)
        return cvy_raise(call, "TypeError", "sort() takes no positional arguments");
    if ((r = cvy_take_keywords(call, "sort", 2, names, args)) ||
        (r = check_key(call, seq_of(self), args[0])))
        return r;
    r = cvy_seq_sort(&call->budget, seq_of(self), covey_value_truth(args[1]), &pair);
    if (r == COVEY_ETYPE)
        return cvy_raise_unordered(call, "<", pair.a, pair.b);
    return r < 0 ? r : cvy_return_none(call);
}

/* What Python's reversed() gives, as it is pickled: the list and where to begin. */
static int list_reversed(struct cvy_call *call, void *self)
{
    covey_value *args = covey_value_tuple(), *iterator;
    int r = cvy_take_none(call, cls);

    if (r == 0) {
        covey_value_append(args, covey_value_ref(self));
        iterator = covey_value_call(covey_value_global("builtins", "reversed"), args);
        covey_value_put_state(iterator,
                              covey_value_int((int64_t)seq_of(self)->count - 1));
        return cvy_return(call, iterator);
    }
    covey_value_free(args);
    return r;
}

/* ---- arithmetic ---------------------------------------------------------------- */

static int list_copy(struct cvy_call *call, void *self)
{
    int r = cvy_take_none(call, cls);

    return r ? r : cvy_return(call, cvy_seq_copy(&call->budget, seq_of(self)));
}

static int list_add(struct cvy_call *call, void *self)
{
    const covey_value *other;
    struct cvy_walk walk;
    covey_value *sum;
    int r = cvy_take_slot(call, 1, "", &other);

    if (r)
        return r;
    if (!cvy_is_kind(other, COVEY_VALUE_LIST))
        return cvy_raise(call, "TypeError",
                         "can only concatenate list (not \"%s\") to list",
                         cvy_type_of(other));
    if ((r = cvy_walk_begin(&walk, other)) < 0)
        return r;
    sum = cvy_seq_copy(&call->budget, seq_of(self));
    if (!sum)
        return covey_value_check(NULL);
    if ((r = add_walked(call, cvy_as_seq(sum), &walk)) < 0) {
        covey_value_free(sum);
        return r;
    }
    return cvy_return(call, sum);
}

static int take_times(struct cvy_call *call, size_t *ret)
{
    const covey_value *times;
    int64_t number;
    int r = cvy_take_slot(call, 1, " ", &times);

    if (r)
        return r;
    if (!cvy_is_integer(times))
        return cvy_raise(call, "TypeError",
                         "'%s' object cannot be interpreted as an integer",
                         cvy_type_of(times));
    if (covey_value_get_int(times, &number) < 0)
        return cvy_raise(call, "OverflowError",
                         "cannot fit 'int' into an index-sized integer");
    *ret = number < 0 ? 0 : (size_t)number;
    return 0;
}

static int list_mul(struct cvy_call *call, void *self)
{
    covey_value *product;
    size_t times = 0;
    int r = take_times(call, &times);

    if (r)
        return r;
    product = cvy_seq_copy(&call->budget, seq_of(self));
    if (!product)
        return covey_value_check(NULL);
    if ((r = cvy_seq_repeat(&call->budget, cvy_as_seq(product), times)) < 0) {
        covey_value_free(product);
        return r;
    }
    return cvy_return(call, product);
}

static int list_imul(struct cvy_call *call, void *self)
{
    size_t times = 0;
    int r;

    if ((r = take_times(call, &times)) ||
        (r = cvy_seq_repeat(&call->budget, seq_of(self), times)) < 0)
        return r;
    return cvy_return(call, covey_value_ref(self));
}

/* ---- the class ----------------------------------------------------------------- */

static const struct cvy_method methods[] = {
    {"__add__", list_add, 0},
    {"__contains__", list_contains, 0},
    {"__delitem__", list_delitem, 0},
    {"__getitem__", list_getitem, 0},
    {"__imul__", list_imul, CVY_GROWS},
    {"__len__", list_len, 0},
    {"__mul__", list_mul, 0},
    {"__reversed__", list_reversed, 0},
    {"__rmul__", list_mul, 0},
    {"__setitem__", list_setitem, CVY_GROWS},
    {"append", list_append, CVY_GROWS},
    {"clear", list_clear, 0},
    {"copy", list_copy, 0},
    {"count", list_count, 0},
    {"extend", list_extend, CVY_GROWS},
    {"index", list_index, 0},
    {"insert", list_insert, CVY_GROWS},
    {"pop", list_pop, 0},
    {"remove", list_remove, 0},
    {"reverse", list_reverse, 0},
    {"sort", list_sort, 0},
};

const struct cvy_class cvy_type_list = {
    .name = "list",
    .proxy = "ListProxy",
    .methods = methods,
    .method_count = CVY_ARRAY_SIZE(methods),
    .create = list_create,
    .destroy = cvy_state_free,
    .visit = cvy_state_visit,
    .repr = cvy_state_repr,
    .value = cvy_state_value,
};
