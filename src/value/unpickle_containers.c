/* SPDX-License-Identifier: MIT */
/*
 * Opcodes that make and fill containers.
 *
 * A value that was put into another does not change any more. Pickles change a value
 * after that only where it contains itself in some way, so this is what finds cycles.
 */
#include <errno.h>

#include "base/error.h"
#include "value/keys.h"
#include "value/list.h"
#include "value/object.h"
#include "value/unpickle.h"

int cvy_unpickle_changing(covey_value *value)
{
    if (!cvy_is_compound(value) || !(cvy_flags(value) & CVY_CONTAINED))
        return 0;
    cvy_fail(-ENOTSUP, "a %s changes after it was put into another value: a cycle",
             covey_value_type(value));
    return -ENOTSUP;
}

/* Remove the last mark; `*ret` receives the value below it, which is to be changed by
 * what is above. */
static int changed_by_many(struct cvy_unpickler *u, size_t *ret_first,
                           covey_value **ret)
{
    int r = cvy_unpickle_unmark(u, ret_first);

    if (r < 0)
        return r;
    if (*ret_first <= (u->mark_count ? u->marks[u->mark_count - 1] : 0))
        return cvy_unpickle_bad("nothing is below the mark");
    *ret = u->stack[*ret_first - 1];
    return cvy_unpickle_changing(*ret);
}

int cvy_unpickle_no_target(const covey_value *value, const char *what)
{
    return cvy_fail(COVEY_EPICKLE, "%s for a value of type %s", what,
                    covey_value_type(value));
}

static int append(struct cvy_unpickler *u, covey_value *target, covey_value *item)
{
    int r;

    if (cvy_is_kind(target, COVEY_VALUE_LIST))
        return cvy_seq_append(&u->heap, cvy_as_seq(target), item);
    if (cvy_is_kind(target, COVEY_VALUE_OBJECT))
        return cvy_object_append(&u->heap, cvy_as_object(target), item);
    r = cvy_unpickle_no_target(target, "list items");
    covey_value_free(item);
    return r;
}

static int set_item(struct cvy_unpickler *u, covey_value *target, covey_value *key,
                    covey_value *value)
{
    int r;

    if (cvy_is_kind(target, COVEY_VALUE_DICT))
        return cvy_keys_put(&u->heap, cvy_as_keys(target), key, value);
    if (cvy_is_kind(target, COVEY_VALUE_OBJECT))
        return cvy_object_put(&u->heap, cvy_as_object(target), key, value);
    r = cvy_unpickle_no_target(target, "dict items");
    covey_value_free(key);
    covey_value_free(value);
    return r;
}

static int add_item(struct cvy_unpickler *u, covey_value *target, covey_value *item)
{
    return cvy_keys_put(&u->heap, cvy_as_keys(target), item, NULL);
}

/* Put all from `first` on into `target`, and take it off the stack. */
static int put_above(struct cvy_unpickler *u, size_t first, covey_value *target,
                     int (*add)(struct cvy_unpickler *u, covey_value *target,
                                covey_value *item))
{
    int r = 0;

    for (size_t i = first; i < u->depth && r == 0; i++)
        r = add(u, target, cvy_unpickle_take_from(u, i));
    cvy_unpickle_drop_above(u, first);
    return r;
}

static int put_pairs_above(struct cvy_unpickler *u, size_t first, covey_value *target)
{
    int r = 0;

    if ((u->depth - first) % 2)
        return cvy_unpickle_bad("a key without a value");
    for (size_t i = first; i < u->depth && r == 0; i += 2) {
        covey_value *key = cvy_unpickle_take_from(u, i);

        r = set_item(u, target, key, cvy_unpickle_take_from(u, i + 1));
    }
    cvy_unpickle_drop_above(u, first);
    return r;
}

int cvy_unpickle_append(struct cvy_unpickler *u)
{
    covey_value *item, *target;
    int r = cvy_unpickle_pop(u, &item);

    if (r < 0)
        return r;
    if ((r = cvy_unpickle_top(u, &target)) < 0 ||
        (r = cvy_unpickle_changing(target)) < 0) {
        covey_value_free(item);
        return r;
    }
    return append(u, target, item);
}

int cvy_unpickle_appends(struct cvy_unpickler *u)
{
    covey_value *target;
    size_t first;
    int r = changed_by_many(u, &first, &target);

    return r < 0 ? r : put_above(u, first, target, append);
}

int cvy_unpickle_additems(struct cvy_unpickler *u)
{
    covey_value *target;
    size_t first;
    int r = changed_by_many(u, &first, &target);

    if (r == 0 && !cvy_is_kind(target, COVEY_VALUE_SET))
        r = cvy_unpickle_no_target(target, "set items");
    return r < 0 ? r : put_above(u, first, target, add_item);
}

int cvy_unpickle_setitem(struct cvy_unpickler *u)
{
    covey_value *value, *key, *target;
    int r = cvy_unpickle_pop(u, &value);

    if (r < 0)
        return r;
    if ((r = cvy_unpickle_pop(u, &key)) < 0) {
        covey_value_free(value);
        return r;
    }
    if ((r = cvy_unpickle_top(u, &target)) < 0 ||
        (r = cvy_unpickle_changing(target)) < 0) {
        covey_value_free(key);
        covey_value_free(value);
        return r;
    }
    return set_item(u, target, key, value);
}

int cvy_unpickle_setitems(struct cvy_unpickler *u)
{
    covey_value *target;
    size_t first;
    int r = changed_by_many(u, &first, &target);

    return r < 0 ? r : put_pairs_above(u, first, target);
}

static int push_seq(struct cvy_unpickler *u, unsigned kind)
{
    struct cvy_seq *seq = cvy_seq_new(&u->heap, kind);

    return cvy_unpickle_push(u, seq ? &seq->base.head : NULL);
}

static int push_table(struct cvy_unpickler *u, unsigned kind)
{
    struct cvy_keys *table = cvy_keys_new(&u->heap, kind);

    return cvy_unpickle_push(u, table ? &table->base.head : NULL);
}

int cvy_unpickle_empty_list(struct cvy_unpickler *u)
{
    return push_seq(u, COVEY_VALUE_LIST);
}

int cvy_unpickle_empty_dict(struct cvy_unpickler *u)
{
    return push_table(u, COVEY_VALUE_DICT);
}

int cvy_unpickle_empty_set(struct cvy_unpickler *u)
{
    return push_table(u, COVEY_VALUE_SET);
}

/* Make a container of `kind` of what is above the last mark. */
static int collect(struct cvy_unpickler *u, unsigned kind)
{
    covey_value *target;
    size_t first;
    int r;

    if ((r = cvy_unpickle_unmark(u, &first)) < 0)
        return r;
    r = kind == COVEY_VALUE_LIST ? push_seq(u, kind) : push_table(u, kind);
    if (r < 0)
        return r;
    target = u->stack[--u->depth];
    r = kind == COVEY_VALUE_DICT
            ? put_pairs_above(u, first, target)
            : put_above(u, first, target, kind == COVEY_VALUE_LIST ? append : add_item);
    if (r < 0) {
        covey_value_free(target);
        return r;
    }
    return cvy_unpickle_push(u, target);
}

int cvy_unpickle_list(struct cvy_unpickler *u)
{
    return collect(u, COVEY_VALUE_LIST);
}

int cvy_unpickle_dict(struct cvy_unpickler *u)
{
    return collect(u, COVEY_VALUE_DICT);
}

int cvy_unpickle_frozenset(struct cvy_unpickler *u)
{
    return collect(u, COVEY_VALUE_FROZENSET);
}

int cvy_unpickle_make_tuple(struct cvy_unpickler *u, size_t first)
{
    size_t count = u->depth - first;
    covey_value **items = count ? u->stack + first : NULL;

    u->depth = first;
    return cvy_unpickle_push(u, cvy_seq_of(&u->heap, COVEY_VALUE_TUPLE, items, count));
}

int cvy_unpickle_empty_tuple(struct cvy_unpickler *u)
{
    return cvy_unpickle_make_tuple(u, u->depth);
}

int cvy_unpickle_tuple(struct cvy_unpickler *u)
{
    size_t first;
    int r = cvy_unpickle_unmark(u, &first);

    return r < 0 ? r : cvy_unpickle_make_tuple(u, first);
}

static int tuple_of(struct cvy_unpickler *u, size_t count)
{
    size_t floor = u->mark_count ? u->marks[u->mark_count - 1] : 0;

    if (u->depth - floor < count)
        return cvy_unpickle_bad("the stack is empty");
    return cvy_unpickle_make_tuple(u, u->depth - count);
}

int cvy_unpickle_tuple1(struct cvy_unpickler *u)
{
    return tuple_of(u, 1);
}

int cvy_unpickle_tuple2(struct cvy_unpickler *u)
{
    return tuple_of(u, 2);
}

int cvy_unpickle_tuple3(struct cvy_unpickler *u)
{
    return tuple_of(u, 3);
}
