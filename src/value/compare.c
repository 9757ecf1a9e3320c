/* SPDX-License-Identifier: MIT */
/*
 * Equality and order as Python has them. Inside containers what is identical counts as
 * equal, which makes a difference for nan only.
 */
#include "value/compare.h"

#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "value/keys.h"
#include "value/number.h"

static bool is_bytes(const covey_value *value)
{
    return value->kind == COVEY_VALUE_BYTES || value->kind == COVEY_VALUE_BYTEARRAY;
}

static bool is_set(const covey_value *value)
{
    return value->kind == COVEY_VALUE_SET || value->kind == COVEY_VALUE_FROZENSET;
}

/* ---- equality ---------------------------------------------------------------- */

static int equal(const covey_value *a, const covey_value *b, uint64_t *steps);

static int spend(uint64_t *steps, uint64_t number)
{
    if (!steps)
        return 0;
    if (number > *steps)
        return cvy_fail(-EMSGSIZE, "comparing its keys takes too long");
    *steps -= number;
    return 0;
}

/* What it takes beyond a step to compare these, if both are ints of many limbs. */
static uint64_t number_cost(const covey_value *a, const covey_value *b)
{
    if (cvy_is_small(a) || cvy_is_small(b) || a->kind != COVEY_VALUE_INT ||
        b->kind != COVEY_VALUE_INT)
        return 0;
    return cvy_min_size(cvy_as_big(a)->size, cvy_as_big(b)->size) / 8;
}

int cvy_same(const covey_value *a, const covey_value *b, uint64_t *steps)
{
    return a == b ? 1 : equal(a, b, steps);
}

static int equal_texts(const struct cvy_text *a, const struct cvy_text *b,
                       uint64_t *steps)
{
    int r;

    if (a->size != b->size)
        return 0;
    if ((r = spend(steps, a->size / 64)) < 0)
        return r;
    return !memcmp(a->data, b->data, a->size);
}

/* Whether the first `count` items are equal; `*ret` receives how many are, from the first
 * one on. Items that are identical cost a little too, as there may be many. */
static int equal_items(const struct cvy_seq *a, const struct cvy_seq *b, size_t count,
                       uint64_t *steps, size_t *ret)
{
    int r = 1;

    for (*ret = 0; *ret < count; ++*ret) {
        if ((*ret % 8 == 7 && (r = spend(steps, 1)) < 0) ||
            (r = cvy_same(a->items[*ret], b->items[*ret], steps)) <= 0)
            return r;
    }
    return 1;
}

static int equal_seqs(const struct cvy_seq *a, const struct cvy_seq *b, uint64_t *steps)
{
    size_t equal_ones;

    return a->count == b->count ? equal_items(a, b, a->count, steps, &equal_ones) : 0;
}

/* Whether `b` has all that `a` has. */
static int is_within(const struct cvy_keys *a, const struct cvy_keys *b,
                     uint64_t *steps)
{
    bool dict = a->base.head.kind == COVEY_VALUE_DICT;
    const struct cvy_entry *entry, *found;
    size_t position = 0;
    int r = 1;

    while (r > 0 && (entry = cvy_keys_next(a, &position))) {
        if ((r = spend(steps, 1)) < 0 ||
            (r = cvy_keys_lookup(b, entry->key, entry->hash, steps, &found)) < 0)
            return r;
        r = found != NULL;
        if (found && dict)
            r = cvy_same(entry->value, found->value, steps);
    }
    return r;
}

static int equal_tables(const struct cvy_keys *a, const struct cvy_keys *b,
                        uint64_t *steps)
{
    return a->count == b->count ? is_within(a, b, steps) : 0;
}

static int equal_globals(const struct cvy_global *a, const struct cvy_global *b,
                         uint64_t *steps)
{
    int r = cvy_same(a->module, b->module, steps);

    return r > 0 ? cvy_same(a->name, b->name, steps) : r;
}

static int equal_objects(const struct cvy_object *a, const struct cvy_object *b,
                         uint64_t *steps)
{
    const covey_value *parts[][2] = {{a->callable, b->callable}, {a->args, b->args},
                                     {a->kwargs, b->kwargs},     {a->state, b->state},
                                     {a->items, b->items},       {a->pairs, b->pairs}};
    int r = a->calls == b->calls;

    for (size_t i = 0; i < CVY_ARRAY_SIZE(parts) && r > 0; i++) {
        if (parts[i][0] && parts[i][1])
            r = cvy_same(parts[i][0], parts[i][1], steps);
        else
            r = parts[i][0] == parts[i][1];
    }
    return r;
}

/* As sequences: by length, first item and, if there are more, step. */
static int equal_ranges(const struct cvy_range *a, const struct cvy_range *b)
{
    size_t count = covey_value_count(&a->head);

    if (count != covey_value_count(&b->head))
        return 0;
    return !count || (a->start == b->start && (count == 1 || a->step == b->step));
}

static int equal_kinds(const covey_value *a, const covey_value *b, uint64_t *steps)
{
    switch (a->kind) {
    case COVEY_VALUE_NONE:
        return 1;
    case COVEY_VALUE_STR:
        return equal_texts(cvy_as_text(a), cvy_as_text(b), steps);
    case COVEY_VALUE_LIST:
    case COVEY_VALUE_TUPLE:
    case COVEY_VALUE_SLICE:
        return equal_seqs(cvy_as_seq(a), cvy_as_seq(b), steps);
    case COVEY_VALUE_DICT:
        return equal_tables(cvy_as_keys(a), cvy_as_keys(b), steps);
    case COVEY_VALUE_RANGE:
        return equal_ranges(cvy_as_range(a), cvy_as_range(b));
    case COVEY_VALUE_GLOBAL:
        return equal_globals(cvy_as_global(a), cvy_as_global(b), steps);
    default:
        return equal_objects(cvy_as_object(a), cvy_as_object(b), steps);
    }
}

static int equal(const covey_value *a, const covey_value *b, uint64_t *steps)
{
    int r;

    if ((r = spend(steps, 1 + number_cost(a, b))) < 0)
        return r;
    if (cvy_is_number(a) || cvy_is_number(b))
        return cvy_is_number(a) && cvy_is_number(b) && cvy_number_equal(a, b);
    if (is_bytes(a) && is_bytes(b))
        return equal_texts(cvy_as_text(a), cvy_as_text(b), steps);
    if (is_set(a) && is_set(b))
        return equal_tables(cvy_as_keys(a), cvy_as_keys(b), steps);
    return a->kind == b->kind ? equal_kinds(a, b, steps) : 0;
}

int covey_value_equal(const covey_value *a, const covey_value *b)
{
    return a && b ? equal(a, b, NULL) : a == b;
}

int covey_value_has(const covey_value *container, const covey_value *item)
{
    const struct cvy_seq *seq = cvy_as_seq(container);

    if (!container || !item)
        return 0;
    if (cvy_is_keys(container))
        return cvy_keys_find(cvy_as_keys(container), item) != NULL;
    if (cvy_kind(container) != COVEY_VALUE_LIST &&
        cvy_kind(container) != COVEY_VALUE_TUPLE)
        return 0;
    for (size_t i = 0; i < seq->count; i++) {
        if (cvy_same(seq->items[i], item, NULL) > 0)
            return 1;
    }
    return 0;
}

/* ---- order ------------------------------------------------------------------- */

static int order_of_texts(const struct cvy_text *a, const struct cvy_text *b,
                          uint64_t *steps, enum covey_order *ret_order)
{
    size_t both = cvy_min_size(a->size, b->size);
    int order, r = spend(steps, both / 64);

    if (r < 0)
        return r;
    order = memcmp(a->data, b->data, both);
    if (!order)
        order = (a->size > b->size) - (a->size < b->size);
    *ret_order = (order > 0) - (order < 0);
    return 0;
}

/* That of the first items that differ, or else that of the lengths. */
static int compare_seqs(const struct cvy_seq *a, const struct cvy_seq *b,
                        uint64_t *steps, struct cvy_pair *ret_pair,
                        enum covey_order *ret_order)
{
    size_t both = cvy_min_size(a->count, b->count), at;
    int r = equal_items(a, b, both, steps, &at);

    if (r < 0)
        return r;
    if (!r)
        return cvy_compare(a->items[at], b->items[at], steps, ret_pair, ret_order);
    *ret_order = (a->count > both) - (b->count > both);
    return 0;
}

static int compare_sets(const struct cvy_keys *a, const struct cvy_keys *b,
                        uint64_t *steps, enum covey_order *ret_order)
{
    enum covey_order order = a->count < b->count   ? COVEY_ORDER_LESS
                             : a->count > b->count ? COVEY_ORDER_GREATER
                                                   : COVEY_ORDER_EQUAL;
    int r =
        order == COVEY_ORDER_GREATER ? is_within(b, a, steps) : is_within(a, b, steps);

    if (r < 0)
        return r;
    *ret_order = r ? order : COVEY_ORDER_NONE;
    return 0;
}

int cvy_is_subset(const covey_value *a, const covey_value *b, uint64_t *steps)
{
    const struct cvy_keys *x = cvy_as_keys(a), *y = cvy_as_keys(b);

    return x->count <= y->count ? is_within(x, y, steps) : 0;
}

int cvy_compare(const covey_value *a, const covey_value *b, uint64_t *steps,
                struct cvy_pair *ret_pair, enum covey_order *ret_order)
{
    int r = spend(steps, 1 + number_cost(a, b));

    if (r < 0)
        return r;
    if (cvy_is_real(a) && cvy_is_real(b)) {
        *ret_order = cvy_real_compare(a, b);
        return 0;
    }
    if (!cvy_is_number(a) && !cvy_is_number(b)) {
        if ((a->kind == COVEY_VALUE_STR && b->kind == COVEY_VALUE_STR) ||
            (is_bytes(a) && is_bytes(b)))
            return order_of_texts(cvy_as_text(a), cvy_as_text(b), steps, ret_order);
        if (is_set(a) && is_set(b))
            return compare_sets(cvy_as_keys(a), cvy_as_keys(b), steps, ret_order);
        if (a->kind == b->kind && cvy_is_seq(a))
            return compare_seqs(cvy_as_seq(a), cvy_as_seq(b), steps, ret_pair,
                                ret_order);
    }
    if (ret_pair)
        *ret_pair = (struct cvy_pair){a, b};
    return cvy_fail(COVEY_ETYPE, "value: no order between '%s' and '%s'",
                    covey_value_type(a), covey_value_type(b));
}

int covey_value_compare(const covey_value *a, const covey_value *b,
                        enum covey_order *ret_order)
{
    if (!a || !b)
        return cvy_wrong_type(NULL, "a value");
    return ret_order ? cvy_compare(a, b, NULL, NULL, ret_order) : cvy_no_place();
}
