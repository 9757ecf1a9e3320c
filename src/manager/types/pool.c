/* SPDX-License-Identifier: MIT */
/*
 * Pool: Python's multiprocessing.Pool, whose workers are children of the manager and call
 * functions that its program has registered.
 *
 * Chunks are CPython's: one is one task, ends with its first exception, and counts as one
 * for maxtasksperchild.
 */
#include <errno.h>

#include "base/error.h"
#include "manager/types/help.h"
#include "manager/types/results.h"
#include "manager/types/types.h"
#include "value/node.h"
#include "value/walk.h"

#define FUNCTION   "func"
#define MOST_CHUNK ((int64_t)1 << 40)

/* ---- making one ---------------------------------------------------------------- */

static int take_workers(struct cvy_call *call, const covey_value *value, size_t *ret)
{
    int64_t count;
    int r;

    *ret = 0;
    if (cvy_is_missing(value))
        return 0;
    if (!cvy_is_real(value))
        return cvy_raise_unordered(call, "<", value, covey_value_int(1));
    if (cvy_is_integer(value) && covey_value_get_int(value, &count) == 0 && count < 1)
        return cvy_raise(call, "ValueError", "Number of processes must be at least 1");
    if ((r = cvy_take_index(call, value, &count)))
        return r;
    *ret = (size_t)count;
    return 0;
}

static int take_max_tasks(struct cvy_call *call, const covey_value *value, size_t *ret)
{
    int64_t count;

    *ret = 0;
    if (cvy_is_missing(value))
        return 0;
    if (!cvy_is_integer(value) || covey_value_get_int(value, &count) < 0 || count <= 0)
        return cvy_raise(call, "ValueError",
                         "maxtasksperchild must be a positive int or None");
    *ret = (size_t)count;
    return 0;
}

static int take_initializer(struct cvy_call *call, const covey_value *value,
                            const struct cvy_function **ret)
{
    const struct cvy_server *server = call->server;
    int r;

    *ret = NULL;
    if (cvy_is_missing(value) || !server)
        return 0;
    if ((r = cvy_function_find(call, server->registry->functions, value, ret)))
        return r;
    return *ret ? 0 : cvy_raise(call, "TypeError", "initializer must be a callable");
}

/* What can be walked, as a list or tuple. `*ret` is the caller's. */
static int take_items(struct cvy_call *call, const covey_value *value,
                      covey_value *(*make)(void), covey_value **ret)
{
    covey_value *items, *item;
    struct cvy_walk walk;
    int r = cvy_take_walk(call, value, &walk);

    if (r)
        return r;
    items = make();
    while ((r = cvy_walk_next(&walk, &call->budget, &item)) > 0) {
        if ((r = covey_value_append(items, item)) < 0)
            break;
    }
    if (r < 0) {
        covey_value_free(items);
        return r;
    }
    *ret = items;
    return 0;
}

static int pool_create(struct cvy_call *call, void **ret_self)
{
    static const struct cvy_params params = {
        .function = "Pool.__init__",
        .self = 1,
        .count = 4,
        .names = {"processes", "initializer", "initargs", "maxtasksperchild"}};
    const covey_value *args[CVY_PARAMS];
    struct cvy_crew_plan plan = {0};
    covey_value *initargs = NULL;
    struct cvy_crew *crew = NULL;
    int r;

    if ((r = cvy_take_params(call, &params, args)) ||
        (r = take_workers(call, args[0], &plan.workers)) ||
        (r = take_max_tasks(call, args[3], &plan.max_tasks)) ||
        (r = take_initializer(call, args[1], &plan.initializer)))
        return r;
    if (plan.initializer && args[2] &&
        (r = take_items(call, args[2], covey_value_tuple, &initargs)))
        return r;
    plan.initargs = initargs;
    r = cvy_crew_make(call, &plan, &crew);
    covey_value_free(initargs);
    *ret_self = crew;
    return r;
}

static void pool_destroy(void *self)
{
    cvy_crew_drop(self);
}

static void pool_visit(const void *self, cvy_visit_fn *fn, void *context)
{
    const struct cvy_crew *crew = self;

    for (const struct cvy_errand *e = crew->errands; e; e = e->next)
        cvy_errand_visit(e, fn, context);
}

static int pool_repr(struct cvy_call *call, void *self)
{
    static const char *const states[] = {"RUN", "CLOSE", "TERMINATE"};
    const struct cvy_crew *crew = self;

    return cvy_return(call, covey_value_str_format(
                                "<multiprocessing.pool.Pool state=%s pool_size=%zu>",
                                states[crew->state], crew->workers));
}

/* ---- orders -------------------------------------------------------------------- */

/* A function that is called here when the result is there would be one of the client's. */
static int refuse_callback(struct cvy_call *call, const covey_value *value,
                           const char *name)
{
    if (cvy_is_missing(value))
        return 0;
    return cvy_raise(call, "NotImplementedError", "%s: the manager has no callbacks",
                     name);
}

/* What is no function raises where it would be called. */
static int take_function(struct cvy_call *call, const covey_value *value,
                         struct cvy_order *order)
{
    const struct cvy_server *server = call->server;
    int r =
        cvy_function_find(call, server->registry->functions, value, &order->function);

    if (r || order->function)
        return r;
    order->fault = cvy_exception_text(
        "builtins", "TypeError", "'%s' object is not callable", cvy_type_of(value));
    return order->fault ? 0 : cvy_last_code();
}

static int check_running(struct cvy_call *call, const struct cvy_crew *crew)
{
    if (crew->state == CVY_CREW_RUNS && !crew->ends)
        return 0;
    return cvy_raise(call, "ValueError", "Pool not running");
}

/* `operator`: by which CPython compares it first. */
static int take_chunk(struct cvy_call *call, const covey_value *value,
                      const char *operator, size_t * ret)
{
    int64_t chunk;
    int r;

    if (cvy_is_missing(value))
        return 0;
    if (!cvy_is_real(value))
        return cvy_raise_unordered(call, operator, value, covey_value_int(1));
    if ((r = cvy_take_index(call, value, &chunk)))
        return r;
    if (chunk < 1)
        return cvy_raise(call, "ValueError", "Chunksize must be 1+, not %lld",
                         (long long)chunk);
    *ret = (size_t)(chunk < MOST_CHUNK ? chunk : MOST_CHUNK);
    return 0;
}

static int begin(struct cvy_call *call, struct cvy_crew *crew, struct cvy_order *order,
                 const covey_value *function, struct cvy_errand **ret)
{
    int r = order->fault ? 0 : take_function(call, function, order);

    if (!r) /* what occurs several times is written as often */
        r = cvy_charge_steps(call, cvy_weight(order->items));
    if (r) {
        covey_value_free(order->fault);
        covey_value_free(order->items);
        return r;
    }
    return cvy_errand_begin(ret, call, crew, order);
}

/* ---- apply --------------------------------------------------------------------- */

static int begin_apply(struct cvy_call *call, struct cvy_crew *crew, bool callbacks,
                       struct cvy_errand **ret)
{
    const struct cvy_params params = {
        .function = callbacks ? "Pool.apply_async" : "Pool.apply",
        .self = 1,
        .required = 1,
        .count = callbacks ? 5 : 3,
        .names = {FUNCTION, "args", "kwds", "callback", "error_callback"}};
    const covey_value *args[CVY_PARAMS];
    struct cvy_order order = {.spread = CVY_SPREAD_NONE, .is_whole = true, .chunk = 1};
    covey_value *pair = NULL;
    int r;

    if ((r = cvy_take_params(call, &params, args)) || (r = check_running(call, crew)) ||
        (r = refuse_callback(call, args[3], params.names[3])) ||
        (r = refuse_callback(call, args[4], params.names[4])))
        return r;
    if ((r = covey_value_pack(&pair, "(N, N)",
                              args[1] ? covey_value_ref(args[1]) : covey_value_tuple(),
                              args[2] ? covey_value_ref(args[2]) : covey_value_dict())))
        return r;
    order.items = covey_value_list();
    (void)covey_value_append(order.items, pair);
    return begin(call, crew, &order, args[0], ret);
}

/* Return what comes of it, the reference of which is taken. */
static int wait_for(struct cvy_call *call, struct cvy_errand *errand)
{
    int r = cvy_errand_get(call, errand, INT64_MAX);

    cvy_errand_drop(errand);
    return r;
}

static int pool_apply(struct cvy_call *call, void *self)
{
    struct cvy_errand *errand;
    int r = begin_apply(call, self, false, &errand);

    return r ? r : wait_for(call, errand);
}

static int pool_apply_async(struct cvy_call *call, void *self)
{
    struct cvy_errand *errand;
    int r = begin_apply(call, self, true, &errand);

    return r ? r : cvy_return_async_result(call, errand, false);
}

/* ---- map ----------------------------------------------------------------------- */

static int begin_map(struct cvy_call *call, struct cvy_crew *crew, const char *name,
                     bool callbacks, enum cvy_spread spread, struct cvy_errand **ret)
{
    const struct cvy_params params = {
        .function = name,
        .self = 1,
        .required = 2,
        .count = callbacks ? 5 : 3,
        .names = {FUNCTION, "iterable", "chunksize", "callback", "error_callback"}};
    const covey_value *args[CVY_PARAMS];
    struct cvy_order order = {.spread = spread, .is_whole = true};
    int r;

    if ((r = cvy_take_params(call, &params, args)) || (r = check_running(call, crew)) ||
        (r = refuse_callback(call, args[3], params.names[3])) ||
        (r = refuse_callback(call, args[4], params.names[4])) ||
        (r = take_items(call, args[1], covey_value_list, &order.items)))
        return r;
    if (covey_value_count(order.items) &&
        (r = take_chunk(call, args[2], "<=", &order.chunk))) {
        covey_value_free(order.items);
        return r;
    }
    return begin(call, crew, &order, args[0], ret);
}

static int map(struct cvy_call *call, struct cvy_crew *crew, const char *name,
               enum cvy_spread spread)
{
    struct cvy_errand *errand;
    int r = begin_map(call, crew, name, false, spread, &errand);

    return r ? r : wait_for(call, errand);
}

static int map_async(struct cvy_call *call, struct cvy_crew *crew, const char *name,
                     enum cvy_spread spread)
{
    struct cvy_errand *errand;
    int r = begin_map(call, crew, name, true, spread, &errand);

    return r ? r : cvy_return_async_result(call, errand, true);
}

static int pool_map(struct cvy_call *call, void *self)
{
    return map(call, self, "Pool.map", CVY_SPREAD_MAP);
}

static int pool_map_async(struct cvy_call *call, void *self)
{
    return map_async(call, self, "Pool.map_async", CVY_SPREAD_MAP);
}

static int pool_starmap(struct cvy_call *call, void *self)
{
    return map(call, self, "Pool.starmap", CVY_SPREAD_STAR);
}

static int pool_starmap_async(struct cvy_call *call, void *self)
{
    return map_async(call, self, "Pool.starmap_async", CVY_SPREAD_STAR);
}

/* ---- imap ---------------------------------------------------------------------- */

/* In CPython a thread walks the input, so what is wrong with it comes as a result. */
static int take_input(struct cvy_call *call, const covey_value *value,
                      struct cvy_order *order)
{
    int r = take_items(call, value, covey_value_list, &order->items);

    if (r != CVY_RAISED || !call->reply)
        return r;
    order->fault = call->reply;
    call->reply = NULL;
    order->items = covey_value_list();
    if ((r = covey_value_append(order->items, covey_value_none())) < 0) {
        covey_value_free(order->fault);
        covey_value_free(order->items);
    }
    return r;
}

static int imap(struct cvy_call *call, struct cvy_crew *crew, const char *name,
                enum cvy_results_order how)
{
    const struct cvy_params params = {.function = name,
                                      .self = 1,
                                      .required = 2,
                                      .count = 3,
                                      .names = {FUNCTION, "iterable", "chunksize"}};
    const covey_value *args[CVY_PARAMS];
    struct cvy_order order = {.spread = CVY_SPREAD_MAP, .chunk = 1};
    struct cvy_errand *errand;
    int r;

    if ((r = cvy_take_params(call, &params, args)) || (r = check_running(call, crew)) ||
        (r = take_chunk(call, args[2], "<", &order.chunk)) ||
        (r = take_input(call, args[1], &order)) ||
        (r = begin(call, crew, &order, args[0], &errand)))
        return r;
    return cvy_return_results(call, errand, how, order.chunk > 1);
}

static int pool_imap(struct cvy_call *call, void *self)
{
    return imap(call, self, "Pool.imap", CVY_RESULTS_IN_ORDER);
}

static int pool_imap_unordered(struct cvy_call *call, void *self)
{
    return imap(call, self, "Pool.imap_unordered", CVY_RESULTS_AS_THEY_COME);
}

/* ---- the end ------------------------------------------------------------------- */

static int end_resume(struct cvy_call *call, void *self, enum cvy_why why)
{
    (void)self;
    (void)why;
    return cvy_return_none(call);
}

static int await_end(struct cvy_call *call, struct cvy_crew *crew)
{
    return crew->has_ended ? cvy_return_none(call)
                           : cvy_park(call, &crew->ends_awaited, INT64_MAX, end_resume);
}

static int pool_close(struct cvy_call *call, void *self)
{
    int r = cvy_take_no_params(call, "Pool.close");

    if (r)
        return r;
    cvy_crew_close(self);
    return cvy_return_none(call);
}

static int pool_join(struct cvy_call *call, void *self)
{
    const struct cvy_crew *crew = self;
    int r = cvy_take_no_params(call, "Pool.join");

    if (r)
        return r;
    if (crew->state == CVY_CREW_RUNS)
        return cvy_raise(call, "ValueError", "Pool is still running");
    return await_end(call, self);
}

static int pool_terminate(struct cvy_call *call, void *self)
{
    int r = cvy_take_no_params(call, "Pool.terminate");

    if (r)
        return r;
    cvy_crew_terminate(self);
    return await_end(call, self);
}

static const struct cvy_method methods[] = {
    {"apply", pool_apply, CVY_GROWS},
    {"apply_async", pool_apply_async, CVY_GROWS},
    {"close", pool_close, 0},
    {"imap", pool_imap, CVY_GROWS},
    {"imap_unordered", pool_imap_unordered, CVY_GROWS},
    {"join", pool_join, 0},
    {"map", pool_map, CVY_GROWS},
    {"map_async", pool_map_async, CVY_GROWS},
    {"starmap", pool_starmap, CVY_GROWS},
    {"starmap_async", pool_starmap_async, CVY_GROWS},
    {"terminate", pool_terminate, 0},
};

const struct cvy_class cvy_type_pool = {
    .name = "Pool",
    .proxy = "PoolProxy",
    .methods = methods,
    .method_count = CVY_ARRAY_SIZE(methods),
    .create = pool_create,
    .destroy = pool_destroy,
    .visit = pool_visit,
    .repr = pool_repr,
};
