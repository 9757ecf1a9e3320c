/* SPDX-License-Identifier: MIT */
/* Arguments, results and exceptions as CPython has them; see help.h. */
#include "manager/types/help.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "manager/message.h"
#include "manager/types/types.h"
#include "value/hash.h"
#include "value/repr.h"
#include "value/slice.h"
#include "value/text.h"
#include "value/walk.h"

/* ---- arguments ----------------------------------------------------------------- */

static size_t kwd_count(const struct cvy_call *call)
{
    return covey_value_count(call->kwds);
}

static const char *plural(size_t count)
{
    return count == 1 ? "" : "s";
}

static int no_kwds(struct cvy_call *call, const char *cls)
{
    if (!kwd_count(call))
        return 0;
    return cvy_raise(call, "TypeError", "%s.%s() takes no keyword arguments", cls,
                     call->method);
}

/* "pop expected at least 1 argument, got 0" */
static int expect(struct cvy_call *call, const char *name, size_t least, size_t most)
{
    size_t count = cvy_arg_count(call), wanted = count < least ? least : most;

    if (count >= least && count <= most)
        return 0;
    return cvy_raise(call, "TypeError", "%s expected %s%zu argument%s, got %zu", name,
                     least == most   ? ""
                     : count < least ? "at least "
                                     : "at most ",
                     wanted, plural(wanted), count);
}

static void give(const struct cvy_call *call, size_t count, const covey_value **ret)
{
    for (size_t i = 0; i < count; i++)
        ret[i] = covey_value_at(call->args, i);
}

int cvy_take_none(struct cvy_call *call, const char *cls)
{
    int r = no_kwds(call, cls);

    if (r || !cvy_arg_count(call))
        return r;
    return cvy_raise(call, "TypeError", "%s.%s() takes no arguments (%zu given)", cls,
                     call->method, cvy_arg_count(call));
}

int cvy_take_one(struct cvy_call *call, const char *cls, const covey_value **ret)
{
    int r = no_kwds(call, cls);

    if (r)
        return r;
    if (cvy_arg_count(call) != 1)
        return cvy_raise(call, "TypeError",
                         "%s.%s() takes exactly one argument (%zu given)", cls,
                         call->method, cvy_arg_count(call));
    *ret = covey_value_at(call->args, 0);
    return 0;
}

int cvy_take_some(struct cvy_call *call, const char *cls, size_t least, size_t most,
                  const covey_value **ret)
{
    int r = no_kwds(call, cls);

    if (r || (r = expect(call, call->method, least, most)))
        return r;
    give(call, most, ret);
    return 0;
}

int cvy_take_slot(struct cvy_call *call, size_t count, const char *gap,
                  const covey_value **ret)
{
    if (kwd_count(call))
        return cvy_raise(call, "TypeError", "wrapper %s() takes no keyword arguments",
                         call->method);
    if (cvy_arg_count(call) != count)
        return cvy_raise(call, "TypeError", "%sexpected %zu argument%s, got %zu", gap,
                         count, plural(count), cvy_arg_count(call));
    give(call, count, ret);
    return 0;
}

int cvy_take_made_of(struct cvy_call *call, const char *cls, bool kwds,
                     const covey_value **ret)
{
    int r;

    if (!kwds && kwd_count(call))
        return cvy_raise(call, "TypeError", "%s() takes no keyword arguments", cls);
    if ((r = expect(call, cls, 0, 1)))
        return r;
    give(call, 1, ret);
    return 0;
}

/* The number of a parameter; `count` if there is none of this name. */
static size_t find_name(const char *const names[], size_t count, const covey_value *key)
{
    size_t i = 0;

    while (i < count && !cvy_text_is(key, names[i]))
        i++;
    return i;
}

static int unexpected(struct cvy_call *call, const char *function,
                      const covey_value *key)
{
    const char *text;
    size_t size;

    if (covey_value_get_str(key, &text, &size) < 0)
        return cvy_raise(call, "TypeError", "keywords must be strings");
    return cvy_raise(call, "TypeError", "%s() got an unexpected keyword argument '%s'",
                     function, text);
}

int cvy_take_keywords(struct cvy_call *call, const char *function, size_t count,
                      const char *const names[], const covey_value **ret)
{
    size_t given = cvy_arg_count(call), position = 0;
    const covey_value *key, *value;

    if (given + kwd_count(call) > count)
        return cvy_raise(call, "TypeError",
                         "%s() takes at most %zu %sargument%s (%zu given)", function,
                         count, given ? "" : "keyword ", plural(count),
                         given + kwd_count(call));
    give(call, count, ret);
    while (covey_value_next(call->kwds, &position, &key, &value)) {
        size_t i = find_name(names, count, key);

        if (i == count)
            return unexpected(call, function, key);
        if (ret[i])
            return cvy_raise(call, "TypeError",
                             "argument for %s() given by name ('%s') and position "
                             "(%zu)",
                             function, names[i], i + 1);
        ret[i] = value;
    }
    return 0;
}

int cvy_check_names(struct cvy_call *call, const covey_value *kwds)
{
    const covey_value *key;
    size_t position = 0;

    while (covey_value_next(kwds, &position, &key, NULL)) {
        if (!cvy_is_kind(key, COVEY_VALUE_STR))
            return cvy_raise(call, "TypeError", "keywords must be strings");
    }
    return 0;
}

/* Queue.put() missing 1 required positional argument: 'item' */
static int missing(struct cvy_call *call, const struct cvy_params *params,
                   const covey_value *const found[CVY_PARAMS])
{
    const char *absent[CVY_PARAMS];
    char list[200] = "";
    size_t count = 0;

    for (unsigned i = 0; i < params->required; i++) {
        if (!found[i])
            absent[count++] = params->names[i];
    }
    for (size_t i = 0; i < count; i++) {
        size_t used = strlen(list);

        snprintf(list + used, sizeof(list) - used, "%s'%s'",
                 i == 0          ? ""
                 : i + 1 < count ? ", "
                 : count == 2    ? " and "
                                 : ", and ",
                 absent[i]);
    }
    if (!count)
        return 0;
    return cvy_raise(call, "TypeError",
                     "%s() missing %zu required positional argument%s: %s",
                     params->function, count, plural(count), list);
}

static int too_many(struct cvy_call *call, const struct cvy_params *params)
{
    size_t given = cvy_arg_count(call) + params->self;
    unsigned least = params->required + params->self;
    unsigned most = params->count + params->self;
    char from[20] = "";

    if (least < most)
        snprintf(from, sizeof(from), "from %u to ", least);
    return cvy_raise(call, "TypeError",
                     "%s() takes %s%u positional argument%s but %zu %s given",
                     params->function, from, most, *from ? "s" : plural(most), given,
                     given == 1 ? "was" : "were");
}

int cvy_take_params(struct cvy_call *call, const struct cvy_params *params,
                    const covey_value *ret[CVY_PARAMS])
{
    const covey_value *key, *value;
    size_t position = 0;

    memset(ret, 0, CVY_PARAMS * sizeof(ret[0]));
    give(call, params->count, ret);
    while (covey_value_next(call->kwds, &position, &key, &value)) {
        size_t i = find_name(params->names, params->count, key);

        if (i == params->count)
            return unexpected(call, params->function, key);
        if (ret[i])
            return cvy_raise(call, "TypeError",
                             "%s() got multiple values for argument '%s'",
                             params->function, params->names[i]);
        ret[i] = value;
    }
    if (cvy_arg_count(call) > params->count)
        return too_many(call, params);
    return missing(call, params, ret);
}

int cvy_take_no_params(struct cvy_call *call, const char *function)
{
    const struct cvy_params params = {.function = function, .self = 1};
    const covey_value *none[CVY_PARAMS];

    return cvy_take_params(call, &params, none);
}

int cvy_take_index(struct cvy_call *call, const covey_value *value, int64_t *ret)
{
    if (!cvy_is_integer(value))
        return cvy_raise(call, "TypeError",
                         "'%s' object cannot be interpreted as an integer",
                         cvy_type_of(value));
    if (covey_value_get_int(value, ret) < 0)
        return cvy_raise(call, "OverflowError",
                         "Python int too large to convert to C ssize_t");
    return 0;
}

int cvy_take_subscript(struct cvy_call *call, const covey_value *value, size_t count,
                       const char *out_of_range, size_t *ret)
{
    int64_t index;

    if (covey_value_get_int(value, &index) < 0)
        return cvy_raise(call, "IndexError",
                         "cannot fit 'int' into an index-sized integer");
    if (index < 0)
        index += (int64_t)count;
    if (index < 0 || (uint64_t)index >= count)
        return cvy_raise(call, "IndexError", "%s", out_of_range);
    *ret = (size_t)index;
    return 0;
}

int cvy_take_slice(struct cvy_call *call, const covey_value *value, size_t count,
                   struct cvy_slice *ret)
{
    switch (cvy_slice_apply(value, count, ret)) {
    case 0:
        return 0;
    case -EINVAL:
        return cvy_raise(call, "ValueError", "slice step cannot be zero");
    default:
        return cvy_raise(call, "TypeError",
                         "slice indices must be integers or None or have an __index__ "
                         "method");
    }
}

const covey_value *cvy_look_through(struct cvy_call *call, const covey_value *value)
{
    const struct cvy_class *class = NULL;
    const covey_value *self;

    if (!cvy_is_kind(value, COVEY_VALUE_OBJECT))
        return value;
    self = cvy_call_find(call, value, &class);
    return self && (class == &cvy_type_list || class == &cvy_type_dict ||
                    class == &cvy_type_set)
               ? self
               : value;
}

bool cvy_collection_items(const covey_value *value, const covey_value **ret)
{
    struct covey_object parts;
    const covey_value *class, *first;
    size_t count;

    if (!cvy_is_kind(value, COVEY_VALUE_OBJECT) ||
        covey_value_get_object(value, &parts) < 0)
        return false;
    class = parts.callable;
    count = covey_value_count(parts.args);
    first = covey_value_at(parts.args, 0);
    *ret = parts.pairs;
    if (covey_value_is(class, "collections", "OrderedDict"))
        return count == 0;
    if (covey_value_is(class, "collections", "defaultdict"))
        return count <= 1; /* what makes values that are missing */
    *ret = first;
    if (covey_value_is(class, "collections", "Counter"))
        return count == 1 && cvy_is_kind(first, COVEY_VALUE_DICT);
    *ret = parts.items;
    return covey_value_is(class, "collections", "deque") &&
           (count == 0 || (count == 2 && covey_value_count(first) == 0));
}

int cvy_take_walk(struct cvy_call *call, const covey_value *value, struct cvy_walk *ret)
{
    const covey_value *items;

    if (cvy_walk_begin(ret, cvy_look_through(call, value)) == 0)
        return 0;
    if (cvy_collection_items(value, &items)) {
        *ret = (struct cvy_walk){.value = value}; /* nothing */
        return items ? cvy_walk_begin(ret, items) : 0;
    }
    if (covey_value_kind(value) == COVEY_VALUE_OBJECT)
        return cvy_raise(call, "NotImplementedError",
                         "this manager cannot iterate over a '%s' object",
                         cvy_type_of(value));
    return cvy_raise(call, "TypeError", "'%s' object is not iterable",
                     cvy_type_of(value));
}

const char *cvy_type_of(const covey_value *value)
{
    /* in C, where the module is part of the name */
    static const char *const names[] = {"collections.deque", "collections.defaultdict",
                                        "collections.OrderedDict"};
    struct cvy_pickled_proxy proxy;

    if (cvy_pickled_proxy_is(value) && cvy_pickled_proxy_read(value, &proxy) == 0)
        return proxy.class_name;
    for (size_t i = 0; i < CVY_ARRAY_SIZE(names); i++)
        if (cvy_is_kind(value, COVEY_VALUE_OBJECT) &&
            covey_value_is(covey_value_class(value), "collections",
                           strchr(names[i], '.') + 1))
            return names[i];
    return covey_value_type(value);
}

bool cvy_get_real(const covey_value *value, double *ret)
{
    if (!value || !cvy_is_real(value))
        return false;
    if (covey_value_get_float(value, ret) < 0)
        *ret = cvy_int_clip(value) < 0 ? -HUGE_VAL : HUGE_VAL;
    return true;
}

/* ---- results ------------------------------------------------------------------- */

int cvy_return_made(struct cvy_call *call, int r, covey_value *value)
{
    if (r == 0)
        return cvy_return(call, value);
    covey_value_free(value);
    return r;
}

int cvy_return_none(struct cvy_call *call)
{
    return cvy_return(call, covey_value_none());
}

int cvy_return_bool(struct cvy_call *call, bool truth)
{
    return cvy_return(call, covey_value_bool(truth));
}

int cvy_return_size(struct cvy_call *call, size_t size)
{
    return cvy_return(call, covey_value_uint(size));
}

int cvy_return_text(struct cvy_call *call, int r, struct covey_bytes *text)
{
    if (r == 0)
        r = cvy_return(call,
                       covey_value_str_size(text->data ? text->data : "", text->size));
    covey_bytes_free(text);
    return r;
}

int cvy_return_not_implemented(struct cvy_call *call)
{
    return cvy_return(call, covey_value_global("builtins", "NotImplemented"));
}

/* A number as good as an address, which is nobody's business. */
static uint64_t number_of(const void *data, size_t size)
{
    return cvy_hash_text(data, size) & 0x7ffffffffff0;
}

/* <ListProxy object, typeid 'list' at 0x7f3b5c0d1e20> */
static int add_proxy(const covey_value *object, struct covey_bytes *text)
{
    struct cvy_pickled_proxy proxy;
    char of[CVY_DETAIL_SIZE] = "";
    int r;

    if (!cvy_pickled_proxy_is(object) || cvy_pickled_proxy_read(object, &proxy) < 0)
        return 0;
    if (proxy.exposed)
        snprintf(of, sizeof(of), "[%s]", proxy.token.type_id);
    r = cvy_bytes_format(text, "<%s%s object, typeid '%s' at 0x%" PRIx64 ">",
                         proxy.class_name, of, proxy.token.type_id,
                         number_of(proxy.token.ident, strlen(proxy.token.ident)));
    return r < 0 ? r : 1;
}

int cvy_add_repr(struct cvy_call *call, const covey_value *value,
                 struct covey_bytes *text)
{
    return cvy_repr(&call->budget, value, add_proxy, text);
}

int cvy_return_repr(struct cvy_call *call, const covey_value *value)
{
    struct covey_bytes text = {0};
    int r = cvy_add_repr(call, value, &text);

    return cvy_return_text(call, r, &text);
}

int cvy_return_address(struct cvy_call *call, const char *what, const void *object,
                       const char *rest)
{
    return cvy_return(call,
                      covey_value_str_format("<%s at 0x%" PRIx64 "%s>", what,
                                             number_of(&object, sizeof(object)), rest));
}

int cvy_raise_one(struct cvy_call *call, const char *name, covey_value *argument)
{
    covey_value *args = covey_value_tuple();

    covey_value_append(args, argument);
    return cvy_raise_args(call, "builtins", name, args);
}

int cvy_raise_about(struct cvy_call *call, const char *name, const covey_value *value,
                    const char *rest)
{
    struct covey_bytes text = {0};
    covey_value *line;
    int r;

    if ((r = cvy_add_repr(call, value, &text)) < 0 ||
        (r = cvy_bytes_append(&text, rest, strlen(rest))) < 0) {
        covey_bytes_free(&text);
        return r;
    }
    line = covey_value_str_size(text.data, text.size);
    covey_bytes_free(&text);
    return cvy_raise_one(call, name, line);
}

int cvy_raise_unhashable(struct cvy_call *call, const covey_value *value)
{
    const covey_value *found = cvy_unhashable(value);

    return cvy_raise(call, "TypeError", "unhashable type: '%s'",
                     cvy_type_of(found ? found : value));
}

int cvy_raise_unordered(struct cvy_call *call, const char *operator,
                        const covey_value * a, const covey_value *b)
{
    return cvy_raise(call, "TypeError",
                     "'%s' not supported between instances of '%s' and '%s'", operator,
                     cvy_type_of(a), cvy_type_of(b));
}

/* ---- objects whose state is a value -------------------------------------------- */

void cvy_state_free(void *self)
{
    covey_value_free(self);
}

void cvy_state_visit(const void *self, cvy_visit_fn *fn, void *context)
{
    fn(context, self);
}

int cvy_state_repr(struct cvy_call *call, void *self)
{
    return cvy_return_repr(call, self);
}

int cvy_state_value(struct cvy_call *call, void *self)
{
    return cvy_return(call, covey_value_ref(self));
}
