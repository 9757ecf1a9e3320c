/* SPDX-License-Identifier: MIT */
/* Value: one value that anybody may replace. The type code is for show, as in CPython. */
#include <errno.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/memory.h"
#include "manager/types/help.h"
#include "manager/types/types.h"

struct cell {
    covey_value *typecode, *value;
};

static int value_create(struct cvy_call *call, void **ret_self)
{
    static const struct cvy_params params = {.function = "Value.__init__",
                                             .self = 1,
                                             .required = 2,
                                             .count = 3,
                                             .names = {"typecode", "value", "lock"}};
    const covey_value *args[CVY_PARAMS];
    struct cell *cell;
    int r = cvy_take_params(call, &params, args);

    if (r)
        return r;
    if (!(cell = cvy_malloc(sizeof(*cell))))
        return cvy_fail(-ENOMEM, "no memory for a Value");
    cell->typecode = covey_value_ref(args[0]);
    cell->value = covey_value_ref(args[1]);
    *ret_self = cell;
    return 0;
}

static void value_destroy(void *self)
{
    struct cell *cell = self;

    covey_value_free(cell->typecode);
    covey_value_free(cell->value);
    cvy_free(cell);
}

static void value_visit(const void *self, cvy_visit_fn *fn, void *context)
{
    const struct cell *cell = self;

    fn(context, cell->typecode);
    fn(context, cell->value);
}

static int value_repr(struct cvy_call *call, void *self)
{
    const struct cell *cell = self;
    struct covey_bytes text = {0};
    int r = cvy_bytes_append(&text, "Value(", 6);

    if (r == 0 && (r = cvy_add_repr(call, cell->typecode, &text)) == 0 &&
        (r = cvy_bytes_append(&text, ", ", 2)) == 0 &&
        (r = cvy_add_repr(call, cell->value, &text)) == 0)
        r = cvy_bytes_append(&text, ")", 1);
    return cvy_return_text(call, r, &text);
}

static int value_value(struct cvy_call *call, void *self)
{
    const struct cell *cell = self;
    covey_value *copy = covey_value_instance(
        covey_value_global("multiprocessing.managers", "Value"), covey_value_tuple());
    covey_value *state;
    int r = covey_value_pack(&state, "{s: O, s: O}", "_typecode", cell->typecode,
                             "_value", cell->value);

    if (r < 0) {
        covey_value_free(copy);
        return r;
    }
    covey_value_put_state(copy, state);
    return cvy_return(call, copy);
}

static int value_get(struct cvy_call *call, void *self)
{
    const struct cell *cell = self;
    int r = cvy_take_no_params(call, "Value.get");

    return r ? r : cvy_return(call, covey_value_ref(cell->value));
}

static int value_set(struct cvy_call *call, void *self)
{
    static const struct cvy_params params = {.function = "Value.set",
                                             .self = 1,
                                             .required = 1,
                                             .count = 1,
                                             .names = {"value"}};
    const covey_value *args[CVY_PARAMS];
    struct cell *cell = self;
    covey_value *old = cell->value;
    int r = cvy_take_params(call, &params, args);

    if (r)
        return r;
    cell->value = covey_value_ref(args[0]);
    covey_value_free(old);
    return cvy_return_none(call);
}

static const struct cvy_method methods[] = {
    {"get", value_get, 0},
    {"set", value_set, CVY_GROWS},
};

const struct cvy_class cvy_type_value = {
    .name = "Value",
    .proxy = "ValueProxy",
    .methods = methods,
    .method_count = CVY_ARRAY_SIZE(methods),
    .create = value_create,
    .destroy = value_destroy,
    .visit = value_visit,
    .repr = value_repr,
    .value = value_value,
};
