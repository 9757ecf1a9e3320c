/* SPDX-License-Identifier: MIT */
/*
 * dict. The state is the dict value itself; see list.c about changing it and about room.
 */
#include "manager/types/help.h"
#include "manager/types/iterator.h"
#include "value/hash.h"
#include "value/keys.h"
#include "value/list.h"
#include "value/slice.h"
#include "value/walk.h"

static const char cls[] = "dict";

static struct cvy_keys *table_of(void *self)
{
    return cvy_as_keys(self);
}

/* Set a key. Returns: 0; CVY_RAISED; a negative code. */
static int put(struct cvy_call *call, void *self, const covey_value *key,
               const covey_value *value)
{
    int r;

    if (cvy_unhashable(key))
        return cvy_raise_unhashable(call, key);
    if ((r = cvy_heap_charge(&call->budget, sizeof(struct cvy_entry))) < 0)
        return r;
    return cvy_keys_put(&call->budget, table_of(self), covey_value_ref(key),
                        covey_value_ref(value));
}

/* Look a key up. Returns: as put. */
static int find(struct cvy_call *call, void *self, const covey_value *key,
                const struct cvy_entry **ret)
{
    *ret = NULL;
    if (cvy_unhashable(key))
        return cvy_raise_unhashable(call, key);
    return cvy_keys_get(&call->budget, table_of(self), key, ret);
}

static int key_error(struct cvy_call *call, const covey_value *key)
{
    return cvy_raise_one(call, "KeyError", covey_value_ref(key));
}

/* Take an entry out and return its value. */
static int return_taken(struct cvy_call *call, void *self,
                        const struct cvy_entry *entry)
{
    struct cvy_entry taken = cvy_keys_take(table_of(self), entry);

    covey_value_free(taken.key);
    return cvy_return(call, taken.value);
}

/* ---- updating ------------------------------------------------------------------ */

static int put_all(struct cvy_call *call, void *self, const covey_value *dict)
{
    const covey_value *key, *value;
    size_t position = 0;
    int r = 0;

    while (r == 0 && covey_value_next(dict, &position, &key, &value)) {
        r = cvy_heap_spend(&call->budget, 1);
        if (r == 0)
            r = put(call, self, key, value);
    }
    return r;
}

/* Set what the `number`th item of an iterable, a pair, tells. */
static int put_pair(struct cvy_call *call, void *self, const covey_value *pair,
                    size_t number)
{
    covey_value *parts[2] = {NULL, NULL};
    struct cvy_walk walk;
    int r;

    if (cvy_walk_begin(&walk, pair) < 0)
        return cvy_raise(
            call, "TypeError",
            "cannot convert dictionary update sequence element #%zu to a sequence",
            number);
    if (walk.count != 2)
        return cvy_raise(
            call, "ValueError",
            "dictionary update sequence element #%zu has length %zu; 2 is required",
            number, walk.count);
    r = cvy_walk_next(&walk, &call->budget, &parts[0]);
    if (r > 0)
        r = cvy_walk_next(&walk, &call->budget, &parts[1]);
    if (r > 0)
        r = put(call, self, parts[0], parts[1]);
    covey_value_free(parts[0]);
    covey_value_free(parts[1]);
    return r;
}

static int put_pairs(struct cvy_call *call, void *self, const covey_value *iterable)
{
    struct cvy_walk walk;
    covey_value *pair;
    size_t number = 0;
    int r;

    if ((r = cvy_take_walk(call, iterable, &walk)))
        return r;
    while ((r = cvy_walk_next(&walk, &call->budget, &pair)) > 0) {
        r = put_pair(call, self, pair, number++);
        covey_value_free(pair);
        if (r)
            return r;
    }
    return r;
}

/* Put in what a dict, a mapping that came as object, or an iterable of pairs has. */
static int merge(struct cvy_call *call, void *self, const covey_value *other)
{
    struct covey_object parts;
    const covey_value *items;

    other = cvy_look_through(call, other);
    if (cvy_collection_items(other, &items) && cvy_is_kind(items, COVEY_VALUE_DICT))
        other = items;
    if (cvy_is_kind(other, COVEY_VALUE_DICT))
        return put_all(call, self, other);
    if (covey_value_get_object(other, &parts) == 0 && parts.pairs)
        return put_all(call, self, parts.pairs);
    return put_pairs(call, self, other);
}

static int update_from_args(struct cvy_call *call, void *self, const covey_value *other)
{
    int r = cvy_check_names(call, call->kwds);

    if (r || (other && (r = merge(call, self, other))))
        return r;
    return put_all(call, self, call->kwds);
}

static int dict_update(struct cvy_call *call, void *self)
{
    const covey_value *other;
    int r = cvy_take_made_of(call, "update", true, &other);

    if (r || (r = update_from_args(call, self, other)))
        return r;
    return cvy_return_none(call);
}

/* ---- the object ---------------------------------------------------------------- */

static int dict_create(struct cvy_call *call, void **ret_self)
{
    const covey_value *other;
    covey_value *dict;
    int r = cvy_take_made_of(call, cls, true, &other);

    if (r)
        return r;
    if (!(dict = covey_value_dict()))
        return covey_value_check(NULL);
    if ((r = update_from_args(call, dict, other))) {
        covey_value_free(dict);
        return r;
    }
    *ret_self = dict;
    return 0;
}

/* ---- one key ------------------------------------------------------------------- */

static int dict_contains(struct cvy_call *call, void *self)
{
    const struct cvy_entry *entry;
    const covey_value *key;
    int r;

    if ((r = cvy_take_one(call, cls, &key)) || (r = find(call, self, key, &entry)))
        return r;
    return cvy_return_bool(call, entry != NULL);
}

static int dict_getitem(struct cvy_call *call, void *self)
{
    const struct cvy_entry *entry;
    const covey_value *key;
    int r;

    if ((r = cvy_take_one(call, cls, &key)) || (r = find(call, self, key, &entry)))
        return r;
    return entry ? cvy_return(call, covey_value_ref(entry->value))
                 : key_error(call, key);
}

static int dict_setitem(struct cvy_call *call, void *self)
{
    const covey_value *args[2];
    int r;

    if ((r = cvy_take_slot(call, 2, " ", args)) ||
        (r = put(call, self, args[0], args[1])))
        return r;
    return cvy_return_none(call);
}

static int dict_delitem(struct cvy_call *call, void *self)
{
    const struct cvy_entry *entry;
    const covey_value *key;
    int r;

    if ((r = cvy_take_slot(call, 1, "", &key)) || (r = find(call, self, key, &entry)))
        return r;
    if (!entry)
        return key_error(call, key);
    if ((r = return_taken(call, self, entry)))
        return r;
    return cvy_return_none(call);
}

/* A key, what is used without it, and the key's entry. */
static int take_and_find(struct cvy_call *call, void *self, const covey_value *args[2],
                         const struct cvy_entry **ret_entry)
{
    int r = cvy_take_some(call, cls, 1, 2, args);

    return r ? r : find(call, self, args[0], ret_entry);
}

static int dict_get(struct cvy_call *call, void *self)
{
    const struct cvy_entry *entry;
    const covey_value *args[2];
    int r = take_and_find(call, self, args, &entry);

    if (r)
        return r;
    if (entry)
        return cvy_return(call, covey_value_ref(entry->value));
    return args[1] ? cvy_return(call, covey_value_ref(args[1])) : cvy_return_none(call);
}

static int dict_pop(struct cvy_call *call, void *self)
{
    const struct cvy_entry *entry = NULL;
    const covey_value *args[2];
    int r;

    if ((r = cvy_take_some(call, cls, 1, 2, args)))
        return r;
    /* Of an empty dict CPython does not even hash the key. */
    if (table_of(self)->count && (r = find(call, self, args[0], &entry)))
        return r;
    if (entry)
        return return_taken(call, self, entry);
    return args[1] ? cvy_return(call, covey_value_ref(args[1]))
                   : key_error(call, args[0]);
}

static int dict_setdefault(struct cvy_call *call, void *self)
{
    const struct cvy_entry *entry;
    const covey_value *args[2];
    int r = take_and_find(call, self, args, &entry);

    if (r)
        return r;
    if (entry)
        return cvy_return(call, covey_value_ref(entry->value));
    if (!args[1])
        args[1] = covey_value_none();
    if ((r = put(call, self, args[0], args[1])))
        return r;
    return cvy_return(call, covey_value_ref(args[1]));
}

static int dict_popitem(struct cvy_call *call, void *self)
{
    struct cvy_keys *table = table_of(self);
    covey_value *pair = NULL;
    struct cvy_entry last;
    int r = cvy_take_none(call, cls);

    if (r)
        return r;
    if (!table->count)
        return cvy_raise(call, "KeyError", "popitem(): dictionary is empty");
    /* The last entry in use is never a hole. */
    last = cvy_keys_take(table, &table->entries[table->used - 1]);
    r = covey_value_pack(&pair, "(N, N)", last.key, last.value);
    return r < 0 ? r : cvy_return(call, pair);
}

/* ---- all keys ------------------------------------------------------------------ */

static int dict_len(struct cvy_call *call, void *self)
{
    int r = cvy_take_slot(call, 0, "", NULL);

    return r ? r : cvy_return_size(call, table_of(self)->count);
}

static int dict_iter(struct cvy_call *call, void *self)
{
    int r = cvy_take_slot(call, 0, "", NULL);

    return r ? r : cvy_return_iterator(call, self);
}

static int dict_clear(struct cvy_call *call, void *self)
{
    int r = cvy_take_none(call, cls);

    if (r)
        return r;
    cvy_clear(self);
    return cvy_return_none(call);
}

static covey_value *copy_of(struct cvy_call *call, void *self)
{
    if (cvy_heap_spend(&call->budget, table_of(self)->used) < 0)
        return NULL;
    return cvy_keys_copy(&call->budget, table_of(self));
}

static int dict_copy(struct cvy_call *call, void *self)
{
    int r = cvy_take_none(call, cls);

    return r ? r : cvy_return(call, copy_of(call, self));
}

enum part { KEYS, VALUES, ITEMS };

static covey_value *part_of(const covey_value *key, const covey_value *value,
                            enum part part)
{
    covey_value *pair;

    if (part == ITEMS)
        return covey_value_pack(&pair, "(O, O)", key, value) < 0 ? NULL : pair;
    return covey_value_ref(part == KEYS ? key : value);
}

/* The keys, values or pairs as list. A view is of no use to a client, so CPython's server
 * turns it into one, too. */
static covey_value *list_parts(struct cvy_call *call, void *self, enum part part)
{
    struct cvy_heap *heap = &call->budget;
    struct cvy_seq *list = cvy_seq_new(heap, COVEY_VALUE_LIST);
    const covey_value *key, *value;
    size_t position = 0, count = table_of(self)->count;

    if (!list || cvy_heap_spend(heap, count) < 0 ||
        (part == ITEMS &&
         cvy_heap_charge(heap, count * (sizeof(struct cvy_seq) + 16)) < 0) ||
        cvy_seq_reserve(heap, list, count) < 0)
        goto fail;
    while (covey_value_next(self, &position, &key, &value)) {
        if (cvy_seq_append(heap, list, part_of(key, value, part)) < 0)
            goto fail;
    }
    return &list->base.head;
fail:
    if (list)
        covey_value_free(&list->base.head);
    return NULL;
}

static int return_parts(struct cvy_call *call, void *self, enum part part)
{
    int r = cvy_take_none(call, cls);

    return r ? r : cvy_return(call, list_parts(call, self, part));
}

static int dict_keys(struct cvy_call *call, void *self)
{
    return return_parts(call, self, KEYS);
}

static int dict_values(struct cvy_call *call, void *self)
{
    return return_parts(call, self, VALUES);
}

static int dict_items(struct cvy_call *call, void *self)
{
    return return_parts(call, self, ITEMS);
}

/* The iterator as Python pickles it: iter() of a list of what is to come. */
static int dict_reversed(struct cvy_call *call, void *self)
{
    covey_value *keys, *args;
    int r = cvy_take_none(call, cls);

    if (r)
        return r;
    if (!(keys = list_parts(call, self, KEYS)))
        return covey_value_check(NULL);
    cvy_seq_reverse(cvy_as_seq(keys));
    if ((r = covey_value_pack(&args, "(N)", keys)) < 0)
        return r;
    return cvy_return(call,
                      covey_value_call(covey_value_global("builtins", "iter"), args));
}

static int dict_fromkeys(struct cvy_call *call, void *self)
{
    const covey_value *args[2];
    covey_value *dict, *key;
    struct cvy_walk walk;
    int r;

    (void)self;
    if ((r = cvy_take_some(call, cls, 1, 2, args)) ||
        (r = cvy_take_walk(call, args[0], &walk)))
        return r;
    if (!(dict = covey_value_dict()))
        return covey_value_check(NULL);
    while ((r = cvy_walk_next(&walk, &call->budget, &key)) > 0) {
        r = put(call, dict, key, args[1] ? args[1] : covey_value_none());
        covey_value_free(key);
        if (r)
            break;
    }
    return cvy_return_made(call, r, dict);
}

/* ---- union --------------------------------------------------------------------- */

/* `first`, a copy that is taken, with what `second` has. */
static int return_union(struct cvy_call *call, covey_value *first,
                        const covey_value *second)
{
    int r = first ? put_all(call, first, second) : covey_value_check(NULL);

    return cvy_return_made(call, r, first);
}

static int dict_or(struct cvy_call *call, void *self)
{
    const covey_value *other;
    int r = cvy_take_slot(call, 1, "", &other);

    if (r)
        return r;
    if (!cvy_is_kind(other, COVEY_VALUE_DICT))
        return cvy_return_not_implemented(call);
    return return_union(call, copy_of(call, self), other);
}

static int dict_ror(struct cvy_call *call, void *self)
{
    const covey_value *other;
    int r = cvy_take_slot(call, 1, "", &other);

    if (r)
        return r;
    if (!cvy_is_kind(other, COVEY_VALUE_DICT))
        return cvy_return_not_implemented(call);
    return return_union(call, cvy_keys_copy(&call->budget, cvy_as_keys(other)), self);
}

static int dict_ior(struct cvy_call *call, void *self)
{
    const covey_value *other;
    int r;

    if ((r = cvy_take_slot(call, 1, "", &other)) || (r = merge(call, self, other)))
        return r;
    return cvy_return(call, covey_value_ref(self));
}

/* ---- the class ----------------------------------------------------------------- */

static const struct cvy_method methods[] = {
    {"__contains__", dict_contains, 0},
    {"__delitem__", dict_delitem, 0},
    {"__getitem__", dict_getitem, 0},
    {"__ior__", dict_ior, CVY_GROWS},
    {"__iter__", dict_iter, 0},
    {"__len__", dict_len, 0},
    {"__or__", dict_or, 0},
    {"__reversed__", dict_reversed, 0},
    {"__ror__", dict_ror, 0},
    {"__setitem__", dict_setitem, CVY_GROWS},
    {"clear", dict_clear, 0},
    {"copy", dict_copy, 0},
    {"fromkeys", dict_fromkeys, 0},
    {"get", dict_get, 0},
    {"items", dict_items, 0},
    {"keys", dict_keys, 0},
    {"pop", dict_pop, 0},
    {"popitem", dict_popitem, 0},
    {"setdefault", dict_setdefault, CVY_GROWS},
    {"update", dict_update, CVY_GROWS},
    {"values", dict_values, 0},
};

const struct cvy_class cvy_type_dict = {
    .name = "dict",
    .proxy = "DictProxy",
    .methods = methods,
    .method_count = CVY_ARRAY_SIZE(methods),
    .create = dict_create,
    .destroy = cvy_state_free,
    .visit = cvy_state_visit,
    .repr = cvy_state_repr,
    .value = cvy_state_value,
};
