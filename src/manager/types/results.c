/* SPDX-License-Identifier: MIT */
/*
 * AsyncResult, which is Python's ApplyResult and MapResult, and the Iterators of imap.
 * What waits is a call that is parked at the errand; results come to it by the errand's
 * wake-ups.
 */
#include "manager/types/results.h"

#include <errno.h>

#include "base/error.h"
#include "base/memory.h"
#include "manager/types/help.h"
#include "manager/types/lock.h"
#include "manager/types/types.h"

static int raise_timeout(struct cvy_call *call)
{
    return cvy_raise_args(call, "multiprocessing.context", "TimeoutError", NULL);
}

/* ---- waiting for all of an errand ---------------------------------------------- */

static int give(struct cvy_call *call, const struct cvy_errand *errand)
{
    covey_value *whole = covey_value_ref(errand->whole);

    return errand->first_raised == SIZE_MAX ? cvy_return(call, whole)
                                            : cvy_raise_value(call, whole);
}

/* The call of a get has a reference of its errand: the AsyncResult may go meanwhile. */
static int get_resume(struct cvy_call *call, void *self, enum cvy_why why)
{
    struct cvy_errand *errand = call->kept[0].pointer;
    int r = 0;

    (void)self;
    if (why == CVY_WOKEN)
        r = give(call, errand);
    else if (why == CVY_TIMED_OUT)
        r = raise_timeout(call);
    cvy_errand_drop(errand);
    return r;
}

int cvy_errand_get(struct cvy_call *call, struct cvy_errand *errand, int64_t until)
{
    int r;

    if (cvy_errand_is_finished(errand))
        return give(call, errand);
    if (!until)
        return raise_timeout(call);
    call->kept[0].pointer = errand;
    r = cvy_park(call, &errand->waiters, until, get_resume);
    if (r == CVY_PARKED)
        cvy_errand_ref(errand);
    return r;
}

/* ---- AsyncResult --------------------------------------------------------------- */

struct async_result {
    struct cvy_errand *errand; /* watched */
    bool is_map;
};

int cvy_return_async_result(struct cvy_call *call, struct cvy_errand *errand,
                            bool is_map)
{
    struct async_result *result = cvy_malloc(sizeof(*result));

    if (!result) {
        cvy_errand_drop(errand);
        return cvy_fail(-ENOMEM, "no memory for an AsyncResult");
    }
    *result = (struct async_result){errand, is_map};
    cvy_errand_watch(errand);
    cvy_errand_drop(errand);
    return cvy_return_object(call, &cvy_type_async_result, result);
}

static void result_destroy(void *self)
{
    struct async_result *result = self;

    cvy_errand_unwatch(result->errand);
    cvy_free(result);
}

static void result_visit(const void *self, cvy_visit_fn *fn, void *context)
{
    const struct async_result *result = self;

    cvy_errand_visit(result->errand, fn, context);
}

static int result_repr(struct cvy_call *call, void *self)
{
    const struct async_result *result = self;

    return cvy_return_address(call,
                              result->is_map
                                  ? "multiprocessing.pool.MapResult object"
                                  : "multiprocessing.pool.ApplyResult object",
                              self, "");
}

/* The one parameter of get and wait. */
static int take_time(struct cvy_call *call, const char *function, int64_t *ret)
{
    const struct cvy_params params = {
        .function = function, .self = 1, .count = 1, .names = {"timeout"}};
    const covey_value *args[CVY_PARAMS];
    int r = cvy_take_params(call, &params, args);

    return r ? r : cvy_take_timeout(call, args[0], ">", ret);
}

static int result_get(struct cvy_call *call, void *self)
{
    struct async_result *result = self;
    int64_t until;
    int r = take_time(call, "ApplyResult.get", &until);

    return r ? r : cvy_errand_get(call, result->errand, until);
}

static int wait_resume(struct cvy_call *call, void *self, enum cvy_why why)
{
    (void)self;
    (void)why;
    cvy_errand_drop(call->kept[0].pointer);
    return cvy_return_none(call);
}

static int result_wait(struct cvy_call *call, void *self)
{
    struct async_result *result = self;
    int64_t until;
    int r = take_time(call, "ApplyResult.wait", &until);

    if (r)
        return r;
    if (cvy_errand_is_finished(result->errand) || !until)
        return cvy_return_none(call);
    call->kept[0].pointer = result->errand;
    r = cvy_park(call, &result->errand->waiters, until, wait_resume);
    if (r == CVY_PARKED)
        cvy_errand_ref(result->errand);
    return r;
}

static int result_ready(struct cvy_call *call, void *self)
{
    const struct async_result *result = self;
    int r = cvy_take_no_params(call, "ApplyResult.ready");

    return r ? r : cvy_return_bool(call, cvy_errand_is_finished(result->errand));
}

static int result_successful(struct cvy_call *call, void *self)
{
    const struct async_result *result = self;
    const char *repr;
    int r = cvy_take_no_params(call, "ApplyResult.successful");

    if (r)
        return r;
    if (cvy_errand_is_finished(result->errand))
        return cvy_return_bool(call, result->errand->first_raised == SIZE_MAX);
    if ((r = result_repr(call, self)) ||
        (r = covey_value_get_str(call->reply, &repr, NULL)) < 0)
        return r;
    return cvy_raise(call, "ValueError", "%s not ready", repr);
}

static const struct cvy_method result_methods[] = {
    {"get", result_get, 0},
    {"ready", result_ready, 0},
    {"successful", result_successful, 0},
    {"wait", result_wait, 0},
};

const struct cvy_class cvy_type_async_result = {
    .name = "AsyncResult",
    .methods = result_methods,
    .method_count = CVY_ARRAY_SIZE(result_methods),
    .destroy = result_destroy,
    .visit = result_visit,
    .repr = result_repr,
};

/* ---- Iterator ------------------------------------------------------------------ */

struct results {
    struct cvy_errand *errand; /* watched */
    enum cvy_results_order order;
    bool is_generator, has_begun;
    size_t part;    /* how many parts were fetched wholly */
    size_t in_part; /* items of the next one */
};

int cvy_return_results(struct cvy_call *call, struct cvy_errand *errand,
                       enum cvy_results_order order, bool is_generator)
{
    struct results *results = cvy_calloc(1, sizeof(*results));

    if (!results) {
        cvy_errand_drop(errand);
        return cvy_fail(-ENOMEM, "no memory for an Iterator");
    }
    results->errand = errand;
    results->order = order;
    results->is_generator = is_generator;
    cvy_errand_watch(errand);
    cvy_errand_drop(errand);
    return cvy_return_object(call, &cvy_type_results, results);
}

static void results_destroy(void *self)
{
    struct results *results = self;

    cvy_errand_unwatch(results->errand);
    cvy_free(results);
}

static void results_visit(const void *self, cvy_visit_fn *fn, void *context)
{
    const struct results *results = self;

    cvy_errand_visit(results->errand, fn, context);
}

static int results_repr(struct cvy_call *call, void *self)
{
    const struct results *results = self;
    bool in_order = results->order == CVY_RESULTS_IN_ORDER;

    if (results->is_generator)
        return cvy_return_address(call,
                                  in_order
                                      ? "generator object Pool.imap.<locals>.<genexpr>"
                                      : "generator object "
                                        "Pool.imap_unordered.<locals>.<genexpr>",
                                  self, "");
    return cvy_return_address(call,
                              in_order
                                  ? "multiprocessing.pool.IMapIterator object"
                                  : "multiprocessing.pool.IMapUnorderedIterator object",
                              self, "");
}

static bool is_at_end(const struct results *results)
{
    return results->part >= results->errand->parts;
}

/* The place of the part that comes next, if it is there. */
static bool find_part(const struct results *results, size_t *ret)
{
    const struct cvy_errand *errand = results->errand;

    if (results->order == CVY_RESULTS_IN_ORDER) {
        *ret = results->part;
        return errand->outcomes[*ret] != CVY_PART_PENDING;
    }
    *ret = results->part < errand->done ? errand->arrived[results->part] : 0;
    return results->part < errand->done;
}

/* Part `at` is used up: let go of it, and let the next one who waits have the rest. */
static void leave_part(struct results *results, size_t at)
{
    struct cvy_errand *errand = results->errand;

    covey_value_free(errand->results[at]);
    errand->results[at] = NULL;
    results->part++;
    results->in_part = 0;
}

static int take_item(struct cvy_call *call, struct results *results, size_t at)
{
    struct cvy_errand *errand = results->errand;
    covey_value *part = errand->results[at];
    bool raised = errand->outcomes[at] == CVY_PART_RAISED;
    covey_value *item =
        covey_value_ref(raised ? part : covey_value_at(part, results->in_part++));
    int r;

    if (raised || results->in_part >= covey_value_count(part))
        leave_part(results, at);
    r = raised ? cvy_raise_value(call, item) : cvy_return(call, item);
    if (raised && results->is_generator) /* which ends by what it raises */
        results->part = errand->parts;
    return r;
}

static int next_item(struct cvy_call *call, struct results *results, int64_t until,
                     bool again);

static int next_resume(struct cvy_call *call, void *self, enum cvy_why why)
{
    struct results *results = self;

    if (why == CVY_CANCELLED)
        return 0;
    if (why == CVY_TIMED_OUT)
        return raise_timeout(call);
    return next_item(call, results, call->until, true);
}

/* `again`: it was woken, and stays the first if it has to wait. */
static int next_item(struct cvy_call *call, struct results *results, int64_t until,
                     bool again)
{
    struct cvy_waiters *waiters = &results->errand->waiters;
    size_t at;
    int r;

    if (is_at_end(results)) {
        (void)cvy_wake_first(waiters);
        return cvy_raise(call, "StopIteration", NULL);
    }
    if (find_part(results, &at)) {
        r = take_item(call, results, at);
        (void)cvy_wake_first(waiters); /* which may find the next one */
        return r;
    }
    if (!until)
        return raise_timeout(call);
    return again ? cvy_park_first(call, waiters, until, next_resume)
                 : cvy_park(call, waiters, until, next_resume);
}

static int results_next(struct cvy_call *call, void *self)
{
    static const struct cvy_params params = {
        .function = "IMapIterator.next", .self = 1, .count = 1, .names = {"timeout"}};
    struct results *results = self;
    const covey_value *args[CVY_PARAMS];
    int64_t until = INT64_MAX;
    int r = results->is_generator ? cvy_take_slot(call, 0, "", NULL)
                                  : cvy_take_params(call, &params, args);

    if (!r && !results->is_generator)
        r = cvy_take_timeout(call, args[0], ">", &until);
    if (r)
        return r;
    results->has_begun = true;
    return next_item(call, results, until, false);
}

/* ---- what only generators have ------------------------------------------------- */

static int refuse(struct cvy_call *call, const struct results *results)
{
    return cvy_raise(call, "AttributeError", "'%s' object has no attribute '%s'",
                     results->order == CVY_RESULTS_IN_ORDER ? "IMapIterator"
                                                            : "IMapUnorderedIterator",
                     call->method);
}

static int results_send(struct cvy_call *call, void *self)
{
    struct results *results = self;
    const covey_value *value;
    int r;

    if (!results->is_generator)
        return refuse(call, results);
    if ((r = cvy_take_one(call, "generator", &value)))
        return r;
    if (!results->has_begun && !covey_value_is_none(value))
        return cvy_raise(call, "TypeError",
                         "can't send non-None value to a just-started generator");
    results->has_begun = true;
    return next_item(call, results, INT64_MAX, false);
}

static void end_results(struct results *results)
{
    results->has_begun = true;
    results->part = results->errand->parts;
}

/* An exception is raised where the generator stands, which ends it: it catches none. */
static int results_throw(struct cvy_call *call, void *self)
{
    struct results *results = self;
    const covey_value *args[3], *value;
    covey_value *given;
    const char *module, *name;
    int r;

    if (!results->is_generator)
        return refuse(call, results);
    if ((r = cvy_take_some(call, "generator", 1, 3, args)))
        return r;
    value = args[1];
    if (covey_value_kind(args[0]) == COVEY_VALUE_OBJECT) {
        end_results(results);
        return cvy_raise_value(call, covey_value_ref(args[0]));
    }
    if (covey_value_get_global(args[0], &module, &name) < 0)
        return cvy_raise(call, "TypeError",
                         "exceptions must be classes or instances deriving from "
                         "BaseException, not %s",
                         cvy_type_of(args[0]));
    end_results(results);
    given = covey_value_tuple();
    if (!cvy_is_missing(value))
        (void)covey_value_append(given, covey_value_ref(value));
    return cvy_raise_args(call, module, name, given);
}

static int results_close(struct cvy_call *call, void *self)
{
    struct results *results = self;
    int r;

    if (!results->is_generator)
        return refuse(call, results);
    if ((r = cvy_take_none(call, "generator")))
        return r;
    end_results(results);
    return cvy_return_none(call);
}

static const struct cvy_method results_methods[] = {
    {"__next__", results_next, 0},
    {"send", results_send, 0},
    {"throw", results_throw, 0},
    {"close", results_close, 0},
};

const struct cvy_class cvy_type_results = {
    .name = "Iterator",
    .proxy = "IteratorProxy",
    .methods = results_methods,
    .method_count = CVY_ARRAY_SIZE(results_methods),
    .destroy = results_destroy,
    .visit = results_visit,
    .repr = results_repr,
};
