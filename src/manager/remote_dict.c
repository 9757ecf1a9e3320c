/* SPDX-License-Identifier: MIT */
/* remote_dict.c: dicts, iterators, namespaces and values of managers; each function is one
 * method of Python's. */
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "manager/client.h"

#define args1 cvy_remote_args1
#define args2 cvy_remote_args2

int covey_dict_get(covey_proxy *dict, covey_value *key, covey_value **out)
{
    return cvy_remote_call(dict, out, "__getitem__", args1(key));
}

int covey_dict_get_or(covey_proxy *dict, covey_value *key, covey_value *otherwise,
                      covey_value **out)
{
    return cvy_remote_call(dict, out, "get", args2(key, otherwise));
}

int covey_dict_set(covey_proxy *dict, covey_value *key, covey_value *value)
{
    return cvy_remote_call(dict, NULL, "__setitem__", args2(key, value));
}

int covey_dict_delete(covey_proxy *dict, covey_value *key)
{
    return cvy_remote_call(dict, NULL, "__delitem__", args1(key));
}

int covey_dict_pop(covey_proxy *dict, covey_value *key, covey_value **out)
{
    return cvy_remote_call(dict, out, "pop", args1(key));
}

int covey_dict_popitem(covey_proxy *dict, covey_value **out)
{
    return cvy_remote_call(dict, out, "popitem", covey_value_tuple());
}

int covey_dict_setdefault(covey_proxy *dict, covey_value *key, covey_value *value,
                          covey_value **out)
{
    return cvy_remote_call(dict, out, "setdefault", args2(key, value));
}

int covey_dict_update(covey_proxy *dict, covey_value *other)
{
    return cvy_remote_call(dict, NULL, "update", args1(other));
}

int covey_dict_clear(covey_proxy *dict)
{
    return cvy_remote_call(dict, NULL, "clear", covey_value_tuple());
}

int covey_dict_contains(covey_proxy *dict, covey_value *key)
{
    return cvy_remote_truth(dict, "__contains__", args1(key));
}

int covey_dict_count(covey_proxy *dict, size_t *ret_count)
{
    return cvy_remote_count(dict, "__len__", covey_value_tuple(), ret_count);
}

int covey_dict_keys(covey_proxy *dict, covey_value **out)
{
    return cvy_remote_call(dict, out, "keys", covey_value_tuple());
}

int covey_dict_values(covey_proxy *dict, covey_value **out)
{
    return cvy_remote_call(dict, out, "values", covey_value_tuple());
}

int covey_dict_items(covey_proxy *dict, covey_value **out)
{
    return cvy_remote_call(dict, out, "items", covey_value_tuple());
}

int covey_dict_iterate(covey_proxy *dict, covey_proxy **out)
{
    int r = cvy_proxy_enter(dict, "covey_dict_iterate");
    return r < 0 ? r
                 : covey_proxy_call_proxy(dict, out, "__iter__", NULL, NULL,
                                          cvy_manager_of(dict)->timeout);
}

static int next_item(covey_proxy *iterator, covey_value **out, covey_value *args,
                     covey_nsec timeout, const char *call)
{
    if (!out) {
        covey_value_free(args);
        return cvy_fail(-EINVAL, "%s: out is NULL", call);
    }
    int r = cvy_remote_call_for(iterator, out, "__next__", args, timeout);
    if (r == COVEY_EREMOTE && strcmp(covey_proxy_error_type(), "StopIteration") == 0)
        return 0;
    return r < 0 ? r : 1;
}

int covey_proxy_next(covey_proxy *iterator, covey_value **out)
{
    return next_item(iterator, out, covey_value_tuple(), COVEY_NOWAIT,
                     "covey_proxy_next");
}

int covey_proxy_next_within(covey_proxy *iterator, covey_value **out,
                            covey_nsec timeout)
{
    return next_item(iterator, out, args1(cvy_remote_seconds(timeout)), timeout,
                     "covey_proxy_next_within");
}

/* ---- namespaces, Value ------------------------------------------------------ */

int covey_namespace_get(covey_proxy *space, const char *name, covey_value **out)
{
    return cvy_remote_call(space, out, "__getattribute__",
                           args1(covey_value_str(name)));
}

int covey_namespace_set(covey_proxy *space, const char *name, covey_value *value)
{
    return cvy_remote_call(space, NULL, "__setattr__",
                           args2(covey_value_str(name), value));
}

int covey_namespace_delete(covey_proxy *space, const char *name)
{
    return cvy_remote_call(space, NULL, "__delattr__", args1(covey_value_str(name)));
}

int covey_proxy_value_get(covey_proxy *value, covey_value **out)
{
    return cvy_remote_call(value, out, "get", covey_value_tuple());
}

int covey_proxy_value_set(covey_proxy *value, covey_value *to)
{
    return cvy_remote_call(value, NULL, "set", args1(to));
}
