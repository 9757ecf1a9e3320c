/* SPDX-License-Identifier: MIT */
/*
 * Namespace. The state is a dict of its attributes; see list.c about changing it.
 */
#include <string.h>

#include "base/bytes.h"
#include "manager/types/help.h"
#include "manager/types/types.h"
#include "value/keys.h"
#include "value/list.h"
#include "value/sort.h"
#include "value/text.h"

/* ---- the object ---------------------------------------------------------------- */

static int put(struct cvy_call *call, void *self, const covey_value *name,
               const covey_value *value)
{
    return cvy_keys_put(&call->budget, cvy_as_keys(self), covey_value_ref(name),
                        covey_value_ref(value));
}

static int put_all(struct cvy_call *call, void *self, const covey_value *dict)
{
    const covey_value *name, *value;
    size_t position = 0;
    int r = cvy_check_names(call, dict);

    while (r == 0 && covey_value_next(dict, &position, &name, &value))
        r = put(call, self, name, value);
    return r;
}

static int namespace_create(struct cvy_call *call, void **ret_self)
{
    const covey_value *kwds = call->kwds;
    covey_value *dict;
    int r;

    call->kwds = NULL; /* whatever their names, they are attributes */
    r = cvy_take_no_params(call, "Namespace.__init__");
    call->kwds = kwds;
    if (r)
        return r;
    if (!(dict = covey_value_dict()))
        return covey_value_check(NULL);
    if ((r = put_all(call, dict, kwds))) {
        covey_value_free(dict);
        return r;
    }
    *ret_self = dict;
    return 0;
}

/* "name=repr" of each attribute that is not hidden, as list. */
static int list_attributes(struct cvy_call *call, void *self, struct cvy_seq *list)
{
    const covey_value *name, *value;
    struct covey_bytes text = {0};
    size_t position = 0;
    int r = 0;

    while (r == 0 && covey_value_next(self, &position, &name, &value)) {
        const struct cvy_text *str = cvy_as_text(name);

        if (str->data[0] == '_')
            continue;
        text.size = 0;
        if ((r = cvy_bytes_append(&text, str->data, str->size)) < 0 ||
            (r = cvy_bytes_append(&text, "=", 1)) < 0 ||
            (r = cvy_add_repr(call, value, &text)) < 0)
            break;
        r = cvy_seq_append(&call->budget, list,
                           cvy_str(&call->budget, text.data, text.size));
    }
    covey_bytes_free(&text);
    return r;
}

static int namespace_repr(struct cvy_call *call, void *self)
{
    struct cvy_seq *list = cvy_seq_new(NULL, COVEY_VALUE_LIST);
    struct covey_bytes text = {0};
    int r;

    if (!list)
        return covey_value_check(NULL);
    if ((r = list_attributes(call, self, list)) < 0 ||
        (r = cvy_seq_sort(&call->budget, list, false, NULL)) < 0)
        goto out;
    r = cvy_bytes_append(&text, "Namespace(", 10);
    for (size_t i = 0; i < list->count && r == 0; i++) {
        const struct cvy_text *part = cvy_as_text(list->items[i]);

        r = i ? cvy_bytes_append(&text, ", ", 2) : 0;
        if (r == 0)
            r = cvy_bytes_append(&text, part->data, part->size);
    }
    if (r == 0)
        r = cvy_bytes_append(&text, ")", 1);
out:
    covey_value_free(&list->base.head);
    return cvy_return_text(call, r, &text);
}

static covey_value *class_of(void)
{
    return covey_value_global("multiprocessing.managers", "Namespace");
}

static int namespace_value(struct cvy_call *call, void *self)
{
    covey_value *copy = covey_value_instance(class_of(), covey_value_tuple());

    if (cvy_as_keys(self)->count)
        covey_value_put_state(copy, covey_value_ref(self));
    return cvy_return(call, copy);
}

/* ---- attributes ---------------------------------------------------------------- */

static int check_name(struct cvy_call *call, const covey_value *name)
{
    if (cvy_is_kind(name, COVEY_VALUE_STR))
        return 0;
    return cvy_raise(call, "TypeError", "attribute name must be string, not '%s'",
                     cvy_type_of(name));
}

static int no_attribute(struct cvy_call *call, const covey_value *name)
{
    return cvy_raise(call, "AttributeError", "'Namespace' object has no attribute '%s'",
                     cvy_as_text(name)->data);
}

/* An attribute that every object has and that can be pickled; NULL: none. */
static covey_value *of_class(void *self, const covey_value *name)
{
    if (cvy_text_is(name, "__dict__"))
        return covey_value_ref(self);
    if (cvy_text_is(name, "__class__"))
        return class_of();
    if (cvy_text_is(name, "__module__"))
        return covey_value_str("multiprocessing.managers");
    if (cvy_text_is(name, "__doc__"))
        return covey_value_none();
    return NULL;
}

static int namespace_get(struct cvy_call *call, void *self)
{
    const struct cvy_entry *entry;
    const covey_value *name;
    covey_value *common;
    int r;

    if ((r = cvy_take_slot(call, 1, "", &name)) || (r = check_name(call, name)) ||
        (r = cvy_keys_get(&call->budget, cvy_as_keys(self), name, &entry)) < 0)
        return r;
    if (entry)
        return cvy_return(call, covey_value_ref(entry->value));
    common = of_class(self, name);
    return common ? cvy_return(call, common) : no_attribute(call, name);
}

/* Replace all attributes. */
static int set_dict(struct cvy_call *call, void *self, const covey_value *value)
{
    int r;

    if (!cvy_is_kind(value, COVEY_VALUE_DICT))
        return cvy_raise(call, "TypeError",
                         "__dict__ must be set to a dictionary, not a '%s'",
                         cvy_type_of(value));
    if ((r = cvy_check_names(call, value)))
        return r;
    cvy_clear(self);
    r = put_all(call, self, value);
    return r ? r : cvy_return_none(call);
}

static int namespace_set(struct cvy_call *call, void *self)
{
    const covey_value *args[2];
    int r;

    if ((r = cvy_take_slot(call, 2, " ", args)) || (r = check_name(call, args[0])))
        return r;
    if (cvy_text_is(args[0], "__dict__"))
        return set_dict(call, self, args[1]);
    if (cvy_text_is(args[0], "__class__"))
        return cvy_raise(call, "TypeError",
                         "__class__ must be set to a class, not '%s' object",
                         cvy_type_of(args[1]));
    if ((r = put(call, self, args[0], args[1])))
        return r;
    return cvy_return_none(call);
}

static int namespace_delete(struct cvy_call *call, void *self)
{
    const struct cvy_entry *entry;
    const covey_value *name;
    struct cvy_entry taken;
    int r;

    if ((r = cvy_take_slot(call, 1, "", &name)) || (r = check_name(call, name)) ||
        (r = cvy_keys_get(&call->budget, cvy_as_keys(self), name, &entry)) < 0)
        return r;
    if (!entry)
        return no_attribute(call, name);
    taken = cvy_keys_take(cvy_as_keys(self), entry);
    covey_value_free(taken.key);
    covey_value_free(taken.value);
    return cvy_return_none(call);
}

/* ---- the class ----------------------------------------------------------------- */

static const struct cvy_method methods[] = {
    {"__getattribute__", namespace_get, 0},
    {"__setattr__", namespace_set, CVY_GROWS},
    {"__delattr__", namespace_delete, 0},
};

const struct cvy_class cvy_type_namespace = {
    .name = "Namespace",
    .proxy = "NamespaceProxy",
    .methods = methods,
    .method_count = CVY_ARRAY_SIZE(methods),
    .create = namespace_create,
    .destroy = cvy_state_free,
    .visit = cvy_state_visit,
    .repr = namespace_repr,
    .value = namespace_value,
};
