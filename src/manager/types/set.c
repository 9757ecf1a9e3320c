/* SPDX-License-Identifier: MIT */
/*
 * set, which SyncManager has since Python 3.14. The state is the set value itself; see
 * list.c about changing it and about room. Sets keep the order in which items came.
 */
#include "manager/types/help.h"
#include "manager/types/iterator.h"
#include "manager/types/set_items.h"
#include "value/compare.h"

static const char cls[] = "set";

static struct cvy_keys *table_of(void *self)
{
    return cvy_as_keys(self);
}

/* ---- the object ---------------------------------------------------------------- */

static int set_create(struct cvy_call *call, void **ret_self)
{
    const covey_value *iterable;
    int r = cvy_take_made_of(call, cls, false, &iterable);

    if (r)
        return r;
    *ret_self = cvy_set_of(call, iterable, false, &r);
    return r;
}

/* ---- methods about one item ---------------------------------------------------- */

/* The item that a method is about, and its entry; NULL: it is not there. */
static int take_item(struct cvy_call *call, void *self, const covey_value **ret_item,
                     const struct cvy_entry **ret_entry)
{
    int r = cvy_take_one(call, cls, ret_item);

    return r ? r : cvy_set_find(call, self, *ret_item, ret_entry);
}

static int set_contains(struct cvy_call *call, void *self)
{
    const struct cvy_entry *entry;
    const covey_value *item;
    int r = take_item(call, self, &item, &entry);

    return r ? r : cvy_return_bool(call, entry != NULL);
}

static int set_add(struct cvy_call *call, void *self)
{
    const covey_value *item;
    int r;

    if ((r = cvy_take_one(call, cls, &item)) || (r = cvy_set_put(call, self, item)))
        return r;
    return cvy_return_none(call);
}

static int set_discard(struct cvy_call *call, void *self)
{
    const struct cvy_entry *entry;
    const covey_value *item;
    int r = take_item(call, self, &item, &entry);

    if (r)
        return r;
    if (entry)
        cvy_set_drop(self, entry);
    return cvy_return_none(call);
}

static int set_remove(struct cvy_call *call, void *self)
{
    const struct cvy_entry *entry;
    const covey_value *item;
    int r = take_item(call, self, &item, &entry);

    if (r)
        return r;
    if (!entry)
        return cvy_raise_one(call, "KeyError", covey_value_ref(item));
    cvy_set_drop(self, entry);
    return cvy_return_none(call);
}

static int set_pop(struct cvy_call *call, void *self)
{
    struct cvy_keys *table = table_of(self);
    int r = cvy_take_none(call, cls);

    if (r)
        return r;
    if (!table->count)
        return cvy_raise(call, "KeyError", "pop from an empty set");
    return cvy_return(call, cvy_keys_take(table, &table->entries[table->used - 1]).key);
}

static int set_clear(struct cvy_call *call, void *self)
{
    int r = cvy_take_none(call, cls);

    if (r)
        return r;
    cvy_clear(self);
    return cvy_return_none(call);
}

static int set_copy(struct cvy_call *call, void *self)
{
    int r = cvy_take_none(call, cls);

    return r ? r : cvy_return(call, cvy_set_copy(call, self));
}

static int set_len(struct cvy_call *call, void *self)
{
    int r = cvy_take_slot(call, 0, "", NULL);

    return r ? r : cvy_return_size(call, table_of(self)->count);
}

static int set_iter(struct cvy_call *call, void *self)
{
    int r = cvy_take_slot(call, 0, "", NULL);

    return r ? r : cvy_return_iterator(call, self);
}

/* ---- methods over iterables ---------------------------------------------------- */

static int no_kwds(struct cvy_call *call)
{
    const covey_value *unused;

    /* The wording is the same for any number of arguments. */
    return covey_value_count(call->kwds) ? cvy_take_one(call, cls, &unused) : 0;
}

/* Do what `each` does with the items of all arguments. */
static int walk_through_all(struct cvy_call *call, covey_value *set,
                            cvy_set_each_fn *each)
{
    size_t count = cvy_arg_count(call);
    int r = 0;

    for (size_t i = 0; i < count && r == 0; i++)
        r = cvy_set_walk(call, covey_value_at(call->args, i), set, each);
    return r;
}

static int update_by(struct cvy_call *call, void *self, cvy_set_each_fn *each)
{
    int r;

    if ((r = no_kwds(call)) || (r = walk_through_all(call, self, each)))
        return r;
    return cvy_return_none(call);
}

static int copy_by(struct cvy_call *call, void *self, cvy_set_each_fn *each)
{
    covey_value *copy;
    int r = no_kwds(call);

    if (r)
        return r;
    copy = cvy_set_copy(call, self);
    r = copy ? walk_through_all(call, copy, each) : covey_value_check(NULL);
    return cvy_return_made(call, r, copy);
}

static int set_update(struct cvy_call *call, void *self)
{
    return update_by(call, self, cvy_set_put);
}

static int set_union(struct cvy_call *call, void *self)
{
    return copy_by(call, self, cvy_set_put);
}

static int set_difference_update(struct cvy_call *call, void *self)
{
    return update_by(call, self, cvy_set_out);
}

static int set_difference(struct cvy_call *call, void *self)
{
    return copy_by(call, self, cvy_set_out);
}

/* What is in the set and in all arguments. */
static covey_value *common_to_all(struct cvy_call *call, void *self, int *ret_error)
{
    size_t count = cvy_arg_count(call);
    covey_value *found = cvy_set_copy(call, self);

    *ret_error = found ? 0 : covey_value_check(NULL);
    for (size_t i = 0; i < count && found; i++) {
        covey_value *less = cvy_set_common(call, found, covey_value_at(call->args, i),
                                           false, ret_error);

        covey_value_free(found);
        found = less;
    }
    return found;
}

static int set_intersection(struct cvy_call *call, void *self)
{
    covey_value *found;
    int r = no_kwds(call);

    if (r)
        return r;
    found = common_to_all(call, self, &r);
    return r ? r : cvy_return(call, found);
}

static int set_intersection_update(struct cvy_call *call, void *self)
{
    covey_value *found;
    int r = no_kwds(call);

    if (r)
        return r;
    found = common_to_all(call, self, &r);
    if (r)
        return r;
    cvy_set_become(self, found);
    return cvy_return_none(call);
}

/* Put in what only one of the two has. Each item of `other` counts once. */
static int turn(struct cvy_call *call, covey_value *set, const covey_value *other)
{
    covey_value *once;
    int r;

    if (cvy_set_is_any(other) || cvy_is_kind(other, COVEY_VALUE_DICT))
        return cvy_set_walk(call, other, set, cvy_set_turned);
    once = cvy_set_of(call, other, false, &r);
    if (!r)
        r = cvy_set_walk(call, once, set, cvy_set_turned);
    covey_value_free(once);
    return r;
}

static int set_symmetric_difference_update(struct cvy_call *call, void *self)
{
    const covey_value *other;
    int r;

    if ((r = cvy_take_one(call, cls, &other)) || (r = turn(call, self, other)))
        return r;
    return cvy_return_none(call);
}

static int set_symmetric_difference(struct cvy_call *call, void *self)
{
    const covey_value *other;
    covey_value *copy;
    int r = cvy_take_one(call, cls, &other);

    if (r)
        return r;
    copy = cvy_set_copy(call, self);
    r = copy ? turn(call, copy, other) : covey_value_check(NULL);
    return cvy_return_made(call, r, copy);
}

/* Return whether all items of the argument, or none, are in the set. */
static int return_whether(struct cvy_call *call, void *self, cvy_set_each_fn *each)
{
    const covey_value *other;
    int r = cvy_take_one(call, cls, &other);

    if (r || ((r = cvy_set_walk(call, other, self, each)) && r != CVY_SET_STOP))
        return r;
    return cvy_return_bool(call, r == 0);
}

static int set_issuperset(struct cvy_call *call, void *self)
{
    return return_whether(call, self, cvy_set_is_in);
}

static int set_isdisjoint(struct cvy_call *call, void *self)
{
    return return_whether(call, self, cvy_set_is_not_in);
}

static int set_issubset(struct cvy_call *call, void *self)
{
    const covey_value *other;
    covey_value *found;
    bool all;
    int r = cvy_take_one(call, cls, &other);

    if (r)
        return r;
    found = cvy_set_common(call, self, other, false, &r);
    if (r)
        return r;
    all = cvy_as_keys(found)->count == table_of(self)->count;
    covey_value_free(found);
    return cvy_return_bool(call, all);
}

/* ---- operators ----------------------------------------------------------------- */

/* The set that an operator is about. Returns: 0; else what the method has to return, 
 * `*ret_other` being NULL. */
static int take_set(struct cvy_call *call, const covey_value **ret_other)
{
    int r = cvy_take_slot(call, 1, "", ret_other);

    if (r || cvy_set_is_any(*ret_other))
        return r;
    *ret_other = NULL;
    return cvy_return_not_implemented(call);
}

/* A copy of `first` changed by the items of `second`. The result is of its kind. */
static int return_changed(struct cvy_call *call, const covey_value *first,
                          const covey_value *second, cvy_set_each_fn *each)
{
    covey_value *copy = cvy_set_copy(call, first);
    int r = copy ? cvy_set_walk(call, second, copy, each) : covey_value_check(NULL);

    return cvy_return_made(call, r, copy);
}

static int left(struct cvy_call *call, void *self, cvy_set_each_fn *each)
{
    const covey_value *other = NULL;
    int r = take_set(call, &other);

    return other && !r ? return_changed(call, self, other, each) : r;
}

static int right(struct cvy_call *call, void *self, cvy_set_each_fn *each)
{
    const covey_value *other = NULL;
    int r = take_set(call, &other);

    return other && !r ? return_changed(call, other, self, each) : r;
}

static int in_place(struct cvy_call *call, void *self, cvy_set_each_fn *each)
{
    const covey_value *other = NULL;
    int r = take_set(call, &other);

    if (r || !other || (r = cvy_set_walk(call, other, self, each)))
        return r;
    return cvy_return(call, covey_value_ref(self));
}

/* `self op other`, `other op self` and `self op= other`. */
#define OPERATOR(name, each)                                                           \
    static int set_##name(struct cvy_call *call, void *self)                           \
    {                                                                                  \
        return left(call, self, each);                                                 \
    }                                                                                  \
    static int set_r##name(struct cvy_call *call, void *self)                          \
    {                                                                                  \
        return right(call, self, each);                                                \
    }                                                                                  \
    static int set_i##name(struct cvy_call *call, void *self)                          \
    {                                                                                  \
        return in_place(call, self, each);                                             \
    }
OPERATOR(or, cvy_set_put)
OPERATOR(sub, cvy_set_out)
OPERATOR(xor, cvy_set_turned)

static int return_common(struct cvy_call *call, const covey_value *first,
                         const covey_value *second)
{
    bool frozen = cvy_is_kind(first, COVEY_VALUE_FROZENSET);
    covey_value *found;
    int r;

    found = cvy_set_common(call, first, second, frozen, &r);
    return r ? r : cvy_return(call, found);
}

static int set_and(struct cvy_call *call, void *self)
{
    const covey_value *other = NULL;
    int r = take_set(call, &other);

    return other && !r ? return_common(call, self, other) : r;
}

static int set_rand(struct cvy_call *call, void *self)
{
    const covey_value *other = NULL;
    int r = take_set(call, &other);

    return other && !r ? return_common(call, other, self) : r;
}

static int set_iand(struct cvy_call *call, void *self)
{
    const covey_value *other = NULL;
    covey_value *found;
    int r = take_set(call, &other);

    if (r || !other)
        return r;
    found = cvy_set_common(call, self, other, false, &r);
    if (r)
        return r;
    cvy_set_become(self, found);
    return cvy_return(call, covey_value_ref(self));
}

/* ---- order --------------------------------------------------------------------- */

/* Return whether `self` is within the argument (`inside`) or the reverse, and, if
 * `strictly`, has not as many. */
static int compare(struct cvy_call *call, void *self, bool inside, bool strictly)
{
    const covey_value *other = NULL;
    int r = take_set(call, &other);

    if (r || !other)
        return r;
    r = inside ? cvy_is_subset(self, other, &call->budget.steps)
               : cvy_is_subset(other, self, &call->budget.steps);
    if (r < 0)
        return r;
    return cvy_return_bool(
        call, r && (!strictly || covey_value_count(other) != table_of(self)->count));
}

static int set_le(struct cvy_call *call, void *self)
{
    return compare(call, self, true, false);
}

static int set_lt(struct cvy_call *call, void *self)
{
    return compare(call, self, true, true);
}

static int set_ge(struct cvy_call *call, void *self)
{
    return compare(call, self, false, false);
}

static int set_gt(struct cvy_call *call, void *self)
{
    return compare(call, self, false, true);
}

/* ---- the class ----------------------------------------------------------------- */

static const struct cvy_method methods[] = {
    {"__and__", set_and, 0},
    {"__contains__", set_contains, 0},
    {"__iand__", set_iand, 0},
    {"__ior__", set_ior, CVY_GROWS},
    {"__isub__", set_isub, 0},
    {"__iter__", set_iter, 0},
    {"__ixor__", set_ixor, CVY_GROWS},
    {"__len__", set_len, 0},
    {"__or__", set_or, 0},
    {"__rand__", set_rand, 0},
    {"__ror__", set_ror, 0},
    {"__rsub__", set_rsub, 0},
    {"__rxor__", set_rxor, 0},
    {"__sub__", set_sub, 0},
    {"__xor__", set_xor, 0},
    {"__ge__", set_ge, 0},
    {"__gt__", set_gt, 0},
    {"__le__", set_le, 0},
    {"__lt__", set_lt, 0},
    {"add", set_add, CVY_GROWS},
    {"clear", set_clear, 0},
    {"copy", set_copy, 0},
    {"difference", set_difference, 0},
    {"difference_update", set_difference_update, 0},
    {"discard", set_discard, 0},
    {"intersection", set_intersection, 0},
    {"intersection_update", set_intersection_update, 0},
    {"isdisjoint", set_isdisjoint, 0},
    {"issubset", set_issubset, 0},
    {"issuperset", set_issuperset, 0},
    {"pop", set_pop, 0},
    {"remove", set_remove, 0},
    {"symmetric_difference", set_symmetric_difference, 0},
    {"symmetric_difference_update", set_symmetric_difference_update, CVY_GROWS},
    {"union", set_union, 0},
    {"update", set_update, CVY_GROWS},
};

const struct cvy_class cvy_type_set = {
    .name = "set",
    .proxy = "SetProxy",
    .methods = methods,
    .method_count = CVY_ARRAY_SIZE(methods),
    .create = set_create,
    .destroy = cvy_state_free,
    .visit = cvy_state_visit,
    .repr = cvy_state_repr,
    .value = cvy_state_value,
};
