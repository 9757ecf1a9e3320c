/* SPDX-License-Identifier: MIT */
/*
 * Queue and JoinableQueue, which both are Python's queue.Queue: items with an optional
 * limit, a count of those whose task is not done, and shutdown as since Python 3.13.
 *
 * An item that comes wakes one getter and a place that becomes free one putter, who take
 * it before any other request is served; so nobody waits while he need not.
 */
#include <errno.h>
#include <math.h>

#include "base/error.h"
#include "base/memory.h"
#include "manager/types/help.h"
#include "manager/types/lock.h"
#include "manager/types/types.h"

struct queue {
    size_t limit;           /* SIZE_MAX: none */
    covey_value *odd_limit; /* what came as limit and is no number; NULL: none. Methods
                               that compare it complain, as CPython's do */
    covey_value **items;    /* a ring */
    size_t first, count, capacity;
    uint64_t unfinished;
    bool shut_down;
    struct cvy_waiters getters, putters, joiners;
};

/* ---- the ring ------------------------------------------------------------------ */

static bool is_full(const struct queue *q)
{
    return q->count >= q->limit;
}

static int grow(struct queue *q)
{
    size_t capacity = q->capacity ? 2 * q->capacity : 16;
    covey_value **items = capacity > SIZE_MAX / sizeof(*items)
                              ? NULL
                              : cvy_malloc(capacity * sizeof(*items));

    if (!items)
        return cvy_fail(-ENOMEM, "no memory for %zu items of a queue", capacity);
    for (size_t i = 0; i < q->count; i++)
        items[i] = q->items[(q->first + i) % q->capacity];
    cvy_free(q->items);
    q->items = items;
    q->first = 0;
    q->capacity = capacity;
    return 0;
}

static int push(struct queue *q, const covey_value *item)
{
    int r = q->count == q->capacity ? grow(q) : 0;

    if (r < 0)
        return r;
    q->items[(q->first + q->count++) % q->capacity] = covey_value_ref(item);
    q->unfinished++;
    cvy_wake_first(&q->getters);
    return 0;
}

static covey_value *pull(struct queue *q)
{
    covey_value *item = q->items[q->first];

    q->first = (q->first + 1) % q->capacity;
    q->count--;
    cvy_wake_first(&q->putters);
    return item;
}

/* ---- the object ---------------------------------------------------------------- */

static size_t limit_of(double limit)
{
    int64_t whole;

    if (!(limit > 0))
        return SIZE_MAX;
    whole = (int64_t)(limit < 0x1p62 ? limit : 0x1p62);
    return (size_t)whole + ((double)whole < limit);
}

static int queue_create(struct cvy_call *call, void **ret_self)
{
    static const struct cvy_params params = {
        .function = "Queue.__init__", .self = 1, .count = 1, .names = {"maxsize"}};
    const covey_value *args[CVY_PARAMS];
    struct queue *q;
    double limit = 0;
    int r;

    if ((r = cvy_take_params(call, &params, args)))
        return r;
    if (!(q = cvy_calloc(1, sizeof(*q))))
        return cvy_fail(-ENOMEM, "no memory for a Queue");
    if (args[0] && !cvy_get_real(args[0], &limit))
        q->odd_limit = covey_value_ref(args[0]);
    q->limit = limit_of(limit);
    *ret_self = q;
    return 0;
}

static void queue_destroy(void *self)
{
    struct queue *q = self;

    for (size_t i = 0; i < q->count; i++)
        covey_value_free(q->items[(q->first + i) % q->capacity]);
    cvy_free(q->items);
    covey_value_free(q->odd_limit);
    cvy_free(q);
}

static void queue_visit(const void *self, cvy_visit_fn *fn, void *context)
{
    const struct queue *q = self;

    if (q->odd_limit)
        fn(context, q->odd_limit);
    for (size_t i = 0; i < q->count; i++)
        fn(context, q->items[(q->first + i) % q->capacity]);
}

static int queue_repr(struct cvy_call *call, void *self)
{
    return cvy_return_address(call, "queue.Queue object", self, "");
}

/* ---- putting ------------------------------------------------------------------- */

static int raise_queue(struct cvy_call *call, const char *name)
{
    return cvy_raise_args(call, "queue", name, NULL);
}

/* Look at the timeout of a blocking put or get, whether it has to wait or not. */
static int check_timeout(struct cvy_call *call, const covey_value *timeout)
{
    double seconds;

    if (cvy_is_missing(timeout))
        return 0;
    if (!cvy_get_real(timeout, &seconds))
        return cvy_raise_unordered(call, "<", timeout, covey_value_int(0));
    if (seconds < 0)
        return cvy_raise(call, "ValueError", "'timeout' must be a non-negative number");
    return cvy_check_addend(call, timeout);
}

/* Wait in a blocking put or get, or raise `exception` if there is no time. What is left of
 * the time is a float, whatever came. */
static int wait(struct cvy_call *call, struct cvy_waiters *waiters,
                const covey_value *timeout, cvy_resume_fn *resume,
                const char *exception)
{
    int64_t until = INT64_MAX;
    double seconds;
    int r = 0;

    if (cvy_get_real(timeout, &seconds)) {
        if (!(seconds > 0))
            return raise_queue(call, exception);
        r = cvy_take_deadline(call, seconds, false, &until);
    }
    return r ? r : cvy_park(call, waiters, until, resume);
}

static int put_resume(struct cvy_call *call, void *self, enum cvy_why why)
{
    struct queue *q = self;
    int r;

    if (why == CVY_WOKEN && q->shut_down)
        return raise_queue(call, "ShutDown");
    if (why != CVY_WOKEN)
        return raise_queue(call, "Full");
    if (is_full(q))
        return cvy_park_first(call, &q->putters, call->until, put_resume);
    r = push(q, call->kept[0].pointer);
    return r < 0 ? r : cvy_return_none(call);
}

/* Put `item`, which the call's arguments hold. */
static int put(struct cvy_call *call, struct queue *q, const covey_value *item,
               bool block, const covey_value *timeout)
{
    int r;

    if (q->shut_down)
        return raise_queue(call, "ShutDown");
    if (q->odd_limit)
        return cvy_raise_unordered(call, ">", q->odd_limit, covey_value_int(0));
    if (block && q->limit != SIZE_MAX && (r = check_timeout(call, timeout)))
        return r;
    if (!is_full(q)) {
        r = push(q, item);
        return r < 0 ? r : cvy_return_none(call);
    }
    if (!block)
        return raise_queue(call, "Full");
    call->kept[0].pointer = (void *)(uintptr_t)item;
    return wait(call, &q->putters, timeout, put_resume, "Full");
}

static int queue_put(struct cvy_call *call, void *self)
{
    static const struct cvy_params params = {.function = "Queue.put",
                                             .self = 1,
                                             .required = 1,
                                             .count = 3,
                                             .names = {"item", "block", "timeout"}};
    const covey_value *args[CVY_PARAMS];
    int r = cvy_take_params(call, &params, args);

    return r ? r
             : put(call, self, args[0], !args[1] || covey_value_truth(args[1]),
                   args[2]);
}

static int queue_put_nowait(struct cvy_call *call, void *self)
{
    static const struct cvy_params params = {.function = "Queue.put_nowait",
                                             .self = 1,
                                             .required = 1,
                                             .count = 1,
                                             .names = {"item"}};
    const covey_value *args[CVY_PARAMS];
    int r = cvy_take_params(call, &params, args);

    return r ? r : put(call, self, args[0], false, NULL);
}

/* ---- getting ------------------------------------------------------------------- */

static int get_resume(struct cvy_call *call, void *self, enum cvy_why why)
{
    struct queue *q = self;

    if (why == CVY_WOKEN && q->count)
        return cvy_return(call, pull(q));
    if (why == CVY_WOKEN && q->shut_down)
        return raise_queue(call, "ShutDown");
    if (why == CVY_WOKEN)
        return cvy_park_first(call, &q->getters, call->until, get_resume);
    return raise_queue(call, "Empty");
}

static int get(struct cvy_call *call, struct queue *q, bool block,
               const covey_value *timeout)
{
    int r;

    if (q->shut_down && !q->count)
        return raise_queue(call, "ShutDown");
    if (block && (r = check_timeout(call, timeout)))
        return r;
    if (q->count)
        return cvy_return(call, pull(q));
    if (!block)
        return raise_queue(call, "Empty");
    return wait(call, &q->getters, timeout, get_resume, "Empty");
}

static int queue_get(struct cvy_call *call, void *self)
{
    static const struct cvy_params params = {
        .function = "Queue.get", .self = 1, .count = 2, .names = {"block", "timeout"}};
    const covey_value *args[CVY_PARAMS];
    int r = cvy_take_params(call, &params, args);

    return r ? r : get(call, self, !args[0] || covey_value_truth(args[0]), args[1]);
}

static int queue_get_nowait(struct cvy_call *call, void *self)
{
    int r = cvy_take_no_params(call, "Queue.get_nowait");

    return r ? r : get(call, self, false, NULL);
}

/* ---- tasks --------------------------------------------------------------------- */

static void finish(struct queue *q, uint64_t count)
{
    q->unfinished -= count;
    if (!q->unfinished)
        cvy_wake_all(&q->joiners);
}

static int queue_task_done(struct cvy_call *call, void *self)
{
    struct queue *q = self;
    int r = cvy_take_no_params(call, "Queue.task_done");

    if (r)
        return r;
    if (!q->unfinished)
        return cvy_raise(call, "ValueError", "task_done() called too many times");
    finish(q, 1);
    return cvy_return_none(call);
}

/* Another item may have come in the meantime. */
static int join_resume(struct cvy_call *call, void *self, enum cvy_why why)
{
    struct queue *q = self;

    if (why == CVY_WOKEN && q->unfinished)
        return cvy_park_first(call, &q->joiners, INT64_MAX, join_resume);
    return cvy_return_none(call);
}

static int queue_join(struct cvy_call *call, void *self)
{
    struct queue *q = self;
    int r = cvy_take_no_params(call, "Queue.join");

    if (r)
        return r;
    return q->unfinished ? cvy_park(call, &q->joiners, INT64_MAX, join_resume)
                         : cvy_return_none(call);
}

static int queue_shutdown(struct cvy_call *call, void *self)
{
    static const struct cvy_params params = {
        .function = "Queue.shutdown", .self = 1, .count = 1, .names = {"immediate"}};
    const covey_value *args[CVY_PARAMS];
    struct queue *q = self;
    int r = cvy_take_params(call, &params, args);

    if (r)
        return r;
    q->shut_down = true;
    if (covey_value_truth(args[0])) {
        uint64_t dropped = cvy_min_u64(q->count, q->unfinished);

        while (q->count)
            covey_value_free(pull(q));
        if (q->unfinished)
            finish(q, dropped);
    }
    cvy_wake_all(&q->getters);
    cvy_wake_all(&q->putters);
    return cvy_return_none(call);
}

/* ---- sizes --------------------------------------------------------------------- */

static int queue_qsize(struct cvy_call *call, void *self)
{
    const struct queue *q = self;
    int r = cvy_take_no_params(call, "Queue.qsize");

    return r ? r : cvy_return_size(call, q->count);
}

static int queue_empty(struct cvy_call *call, void *self)
{
    const struct queue *q = self;
    int r = cvy_take_no_params(call, "Queue.empty");

    return r ? r : cvy_return_bool(call, !q->count);
}

static int queue_full(struct cvy_call *call, void *self)
{
    const struct queue *q = self;
    int r = cvy_take_no_params(call, "Queue.full");

    if (!r && q->odd_limit)
        return cvy_raise_unordered(call, "<", covey_value_int(0), q->odd_limit);
    return r ? r : cvy_return_bool(call, is_full(q));
}

/* ---- the classes --------------------------------------------------------------- */

static const struct cvy_method methods[] = {
    {"empty", queue_empty, 0},
    {"full", queue_full, 0},
    {"get", queue_get, 0},
    {"get_nowait", queue_get_nowait, 0},
    {"join", queue_join, 0},
    {"put", queue_put, CVY_GROWS},
    {"put_nowait", queue_put_nowait, CVY_GROWS},
    {"qsize", queue_qsize, 0},
    {"shutdown", queue_shutdown, 0},
    {"task_done", queue_task_done, 0},
};

const struct cvy_class cvy_type_queue = {
    .name = "Queue",
    .methods = methods,
    .method_count = CVY_ARRAY_SIZE(methods),
    .create = queue_create,
    .destroy = queue_destroy,
    .visit = queue_visit,
    .repr = queue_repr,
};

const struct cvy_class cvy_type_joinable_queue = {
    .name = "JoinableQueue",
    .methods = methods,
    .method_count = CVY_ARRAY_SIZE(methods),
    .create = queue_create,
    .destroy = queue_destroy,
    .visit = queue_visit,
    .repr = queue_repr,
};
