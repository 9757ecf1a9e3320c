/* SPDX-License-Identifier: MIT */
/* remote_list.c: lists of managers; each function is one method of Python's. */
#include <errno.h>

#include "base/error.h"
#include "manager/client.h"

#define args1 cvy_remote_args1
#define args2 cvy_remote_args2

static covey_value *open_or(int64_t number)
{
    return number == COVEY_OPEN ? covey_value_none() : covey_value_int(number);
}

static covey_value *slice_of(int64_t start, int64_t stop, int64_t step)
{
    return covey_value_slice(open_or(start), open_or(stop), open_or(step));
}

int covey_list_append(covey_proxy *list, covey_value *item)
{
    return cvy_remote_call(list, NULL, "append", args1(item));
}

int covey_list_extend(covey_proxy *list, covey_value *items)
{
    return cvy_remote_call(list, NULL, "extend", args1(items));
}

int covey_list_insert(covey_proxy *list, int64_t index, covey_value *item)
{
    return cvy_remote_call(list, NULL, "insert", args2(covey_value_int(index), item));
}

int covey_list_get(covey_proxy *list, int64_t index, covey_value **out)
{
    return cvy_remote_call(list, out, "__getitem__", args1(covey_value_int(index)));
}

int covey_list_set(covey_proxy *list, int64_t index, covey_value *item)
{
    return cvy_remote_call(list, NULL, "__setitem__",
                           args2(covey_value_int(index), item));
}

int covey_list_delete(covey_proxy *list, int64_t index)
{
    return cvy_remote_call(list, NULL, "__delitem__", args1(covey_value_int(index)));
}

int covey_list_slice(covey_proxy *list, int64_t start, int64_t stop, int64_t step,
                     covey_value **out)
{
    return cvy_remote_call(list, out, "__getitem__",
                           args1(slice_of(start, stop, step)));
}

int covey_list_set_slice(covey_proxy *list, int64_t start, int64_t stop, int64_t step,
                         covey_value *items)
{
    return cvy_remote_call(list, NULL, "__setitem__",
                           args2(slice_of(start, stop, step), items));
}

int covey_list_delete_slice(covey_proxy *list, int64_t start, int64_t stop,
                            int64_t step)
{
    return cvy_remote_call(list, NULL, "__delitem__",
                           args1(slice_of(start, stop, step)));
}

int covey_list_clear(covey_proxy *list)
{
    return covey_list_delete_slice(list, COVEY_OPEN, COVEY_OPEN, COVEY_OPEN);
}

int covey_list_pop(covey_proxy *list, int64_t index, covey_value **out)
{
    return cvy_remote_call(list, out, "pop", args1(covey_value_int(index)));
}

/* There Python's ValueError says that no item is equal. */
static int not_found(int r)
{
    return r == -EINVAL ? -ENOENT : r;
}

int covey_list_remove(covey_proxy *list, covey_value *item)
{
    return not_found(cvy_remote_call(list, NULL, "remove", args1(item)));
}

int covey_list_index(covey_proxy *list, covey_value *item, size_t *ret_index)
{
    return not_found(cvy_remote_count(list, "index", args1(item), ret_index));
}

int covey_list_occurrences(covey_proxy *list, covey_value *item, size_t *ret_count)
{
    return cvy_remote_count(list, "count", args1(item), ret_count);
}

int covey_list_count(covey_proxy *list, size_t *ret_count)
{
    return cvy_remote_count(list, "__len__", covey_value_tuple(), ret_count);
}

int covey_list_contains(covey_proxy *list, covey_value *item)
{
    return cvy_remote_truth(list, "__contains__", args1(item));
}

int covey_list_sort(covey_proxy *list, int reverse)
{
    covey_value *kwargs = covey_value_dict();
    (void)covey_value_put_str(kwargs, "reverse", covey_value_bool(reverse));
    return cvy_remote_call_with(list, NULL, "sort", covey_value_tuple(), kwargs);
}

int covey_list_reverse(covey_proxy *list)
{
    return cvy_remote_call(list, NULL, "reverse", covey_value_tuple());
}

int covey_list_reversed(covey_proxy *list, covey_value **out)
{
    return covey_list_slice(list, COVEY_OPEN, COVEY_OPEN, -1, out);
}

int covey_list_concat(covey_proxy *list, covey_value *other, covey_value **out)
{
    return cvy_remote_call(list, out, "__add__", args1(other));
}

int covey_list_repeat(covey_proxy *list, int64_t times, covey_value **out)
{
    return cvy_remote_call(list, out, "__mul__", args1(covey_value_int(times)));
}

int covey_list_next(covey_proxy *list, size_t *position, covey_value **out)
{
    if (!position || !out)
        return cvy_fail(-EINVAL, "covey_list_next: position or out is NULL");
    int r =
        cvy_remote_call(list, out, "__getitem__", args1(covey_value_uint(*position)));
    if (r < 0)
        return r == -ENOENT ? 0 : r;
    ++*position;
    return 1;
}
