/* SPDX-License-Identifier: MIT */
/*
 * Iterator: what __iter__ of a dict or set gives. As in CPython it goes on only while the
 * table has as many keys as at its beginning.
 */
#include "manager/types/iterator.h"

#include <errno.h>

#include "base/error.h"
#include "base/memory.h"
#include "manager/types/help.h"
#include "value/keys.h"

struct iterator {
    covey_value *table; /* NULL: at the end */
    size_t count;       /* keys it had; SIZE_MAX: it was changed */
    size_t left, position;
    bool is_dict;
};

int cvy_return_iterator(struct cvy_call *call, covey_value *table)
{
    struct iterator *it = cvy_malloc(sizeof(*it));
    size_t count = covey_value_count(table);

    if (!it)
        return cvy_fail(-ENOMEM, "no memory for an iterator");
    *it = (struct iterator){covey_value_ref(table), count, count, 0,
                            cvy_is_kind(table, COVEY_VALUE_DICT)};
    return cvy_return_object(call, &cvy_type_iterator, it);
}

static void iterator_destroy(void *self)
{
    struct iterator *it = self;

    covey_value_free(it->table);
    cvy_free(it);
}

static void iterator_visit(const void *self, cvy_visit_fn *fn, void *context)
{
    const struct iterator *it = self;

    if (it->table)
        fn(context, it->table);
}

static int iterator_next(struct cvy_call *call, void *self)
{
    struct iterator *it = self;
    const struct cvy_entry *entry;
    int r = cvy_take_slot(call, 0, "", NULL);

    if (r)
        return r;
    if (!it->table)
        return cvy_raise(call, "StopIteration", NULL);
    if (covey_value_count(it->table) != it->count) {
        it->count = SIZE_MAX; /* for good */
        return cvy_raise(call, "RuntimeError", "%s changed size during iteration",
                         it->is_dict ? "dictionary" : "Set");
    }
    if ((r = cvy_heap_spend(&call->budget, cvy_as_keys(it->table)->used / 64)) < 0)
        return r;
    entry = cvy_keys_next(cvy_as_keys(it->table), &it->position);
    if (entry && it->left) {
        it->left--;
        return cvy_return(call, covey_value_ref(entry->key));
    }
    if (entry && it->is_dict)
        return cvy_raise(call, "RuntimeError",
                         "dictionary keys changed during iteration");
    covey_value_free(it->table);
    it->table = NULL;
    return cvy_raise(call, "StopIteration", NULL);
}

/* send, throw and close are for generators. */
static int iterator_refuse(struct cvy_call *call, void *self)
{
    const struct iterator *it = self;

    return cvy_raise(call, "AttributeError", "'%s' object has no attribute '%s'",
                     it->is_dict ? "dict_keyiterator" : "set_iterator", call->method);
}

static int iterator_repr(struct cvy_call *call, void *self)
{
    const struct iterator *it = self;

    return cvy_return_address(
        call, it->is_dict ? "dict_keyiterator object" : "set_iterator object", it, "");
}

static const struct cvy_method methods[] = {
    {"__next__", iterator_next, 0},
    {"send", iterator_refuse, 0},
    {"throw", iterator_refuse, 0},
    {"close", iterator_refuse, 0},
};

const struct cvy_class cvy_type_iterator = {
    .name = "Iterator",
    .proxy = "IteratorProxy",
    .methods = methods,
    .method_count = CVY_ARRAY_SIZE(methods),
    .destroy = iterator_destroy,
    .visit = iterator_visit,
    .repr = iterator_repr,
};
