/* SPDX-License-Identifier: MIT */
/* Sets and the items of others; see set_items.h. */
#include "manager/types/set_items.h"

#include "manager/types/help.h"
#include "value/hash.h"
#include "value/walk.h"

/* ---- one item ------------------------------------------------------------------ */

int cvy_set_put(struct cvy_call *call, covey_value *set, const covey_value *item)
{
    int r;

    if (cvy_unhashable(item))
        return cvy_raise_unhashable(call, item);
    if ((r = cvy_heap_charge(&call->budget, sizeof(struct cvy_entry))) < 0)
        return r;
    return cvy_keys_put(&call->budget, cvy_as_keys(set), covey_value_ref(item), NULL);
}

static int find(struct cvy_call *call, const covey_value *set, const covey_value *item,
                const struct cvy_entry **ret)
{
    *ret = NULL;
    if (cvy_unhashable(item))
        return cvy_raise_unhashable(call, item);
    return cvy_keys_get(&call->budget, cvy_as_keys(set), item, ret);
}

/* The same where a set stands for the frozenset with the same items. */
int cvy_set_find(struct cvy_call *call, const covey_value *set, const covey_value *item,
                 const struct cvy_entry **ret)
{
    if (!cvy_is_kind(item, COVEY_VALUE_SET))
        return find(call, set, item, ret);
    return cvy_keys_lookup(cvy_as_keys(set), item, cvy_hash(item), &call->budget.steps,
                           ret);
}

void cvy_set_drop(covey_value *set, const struct cvy_entry *entry)
{
    covey_value_free(cvy_keys_take(cvy_as_keys(set), entry).key);
}

/* ---- many items ---------------------------------------------------------------- */

int cvy_set_walk(struct cvy_call *call, const covey_value *iterable, covey_value *set,
                 cvy_set_each_fn *each)
{
    struct cvy_walk walk;
    covey_value *item;
    int r;

    if ((r = cvy_take_walk(call, iterable, &walk)))
        return r;
    while ((r = cvy_walk_next(&walk, &call->budget, &item)) > 0) {
        r = each(call, set, item);
        covey_value_free(item);
        if (r)
            return r;
    }
    return r;
}

int cvy_set_out(struct cvy_call *call, covey_value *set, const covey_value *item)
{
    const struct cvy_entry *entry;
    int r = find(call, set, item, &entry);

    if (r == 0 && entry)
        cvy_set_drop(set, entry);
    return r;
}

int cvy_set_turned(struct cvy_call *call, covey_value *set, const covey_value *item)
{
    const struct cvy_entry *entry;
    int r = find(call, set, item, &entry);

    if (r)
        return r;
    if (!entry)
        return cvy_set_put(call, set, item);
    cvy_set_drop(set, entry);
    return 0;
}

int cvy_set_is_in(struct cvy_call *call, covey_value *set, const covey_value *item)
{
    const struct cvy_entry *entry;
    int r = find(call, set, item, &entry);

    return r ? r : entry ? 0 : CVY_SET_STOP;
}

int cvy_set_is_not_in(struct cvy_call *call, covey_value *set, const covey_value *item)
{
    int r = cvy_set_is_in(call, set, item);

    return r == CVY_SET_STOP ? 0 : r ? r : CVY_SET_STOP;
}

covey_value *cvy_set_of(struct cvy_call *call, const covey_value *iterable, bool frozen,
                        int *ret_error)
{
    covey_value *set = frozen ? covey_value_frozenset() : covey_value_set();

    *ret_error = !set       ? covey_value_check(NULL)
                 : iterable ? cvy_set_walk(call, iterable, set, cvy_set_put)
                            : 0;
    if (!*ret_error)
        return set;
    covey_value_free(set);
    return NULL;
}

covey_value *cvy_set_common(struct cvy_call *call, const covey_value *set,
                            const covey_value *other, bool frozen, int *ret_error)
{
    covey_value *found = cvy_set_of(call, NULL, frozen, ret_error), *item;
    bool is_smaller =
        cvy_set_is_any(other) && cvy_as_keys(set)->count < cvy_as_keys(other)->count;
    const covey_value *walked = is_smaller ? set : other,
                      *looked_at = is_smaller ? other : set;
    const struct cvy_entry *entry;
    struct cvy_walk walk;
    int r;

    if (!found)
        return NULL;
    r = cvy_take_walk(call, walked, &walk);
    while (r == 0 && (r = cvy_walk_next(&walk, &call->budget, &item)) > 0) {
        r = find(call, looked_at, item, &entry);
        if (r == 0 && entry)
            r = cvy_set_put(call, found, item);
        covey_value_free(item);
        if (r || (entry && cvy_as_keys(found)->count == cvy_as_keys(set)->count))
            break;
    }
    *ret_error = r;
    if (!r)
        return found;
    covey_value_free(found);
    return NULL;
}

void cvy_set_become(covey_value *set, covey_value *other)
{
    struct cvy_keys *a = cvy_as_keys(set), *b = cvy_as_keys(other), kept = *b;

    cvy_clear(set);
    a->base.weight = kept.base.weight;
    cvy_set_depth(&a->base.head, cvy_depth(&b->base.head));
    cvy_set_flags(&a->base.head, cvy_flags(&b->base.head));
    a->count = kept.count;
    a->used = kept.used;
    a->capacity = kept.capacity;
    a->entries = kept.entries;
    a->index = kept.index;
    b->entries = NULL;
    b->index = NULL;
    b->count = b->used = b->capacity = 0;
    covey_value_free(other);
}

covey_value *cvy_set_copy(struct cvy_call *call, const covey_value *set)
{
    if (cvy_heap_spend(&call->budget, cvy_as_keys(set)->used) < 0)
        return NULL;
    return cvy_keys_copy(&call->budget, cvy_as_keys(set));
}
