/* SPDX-License-Identifier: MIT */
/* remote_sync.c: locks, conditions, events, barriers and queues of managers. Waiting is
 * done in the manager, for a time that is sent along as seconds. */
#include <errno.h>
#include <stddef.h>

#include "base/error.h"
#include "manager/client.h"

#define args1   cvy_remote_args1
#define args2   cvy_remote_args2
#define seconds cvy_remote_seconds

/* Python's longest timeout of locks is PY_TIMEOUT_MAX; beyond a century it is for ever. */
#define FOREVER_FROM COVEY_SEC(INT64_C(3153600000))

covey_value *cvy_remote_seconds(covey_nsec timeout)
{
    if (timeout >= FOREVER_FROM)
        return covey_value_none();
    return covey_value_float(timeout <= 0 ? 0 : (double)timeout / 1e9);
}

/* What a method that tells by a bool whether it has waited in vain returns. */
static int wait_for(covey_proxy *proxy, const char *method, covey_value *args,
                    covey_nsec timeout)
{
    covey_value *value = NULL;
    int r = cvy_remote_call_for(proxy, &value, method, args, timeout);
    if (r >= 0 && !covey_value_truth(value))
        r = cvy_fail(-ETIMEDOUT, "%s.%s: not in time", proxy->type_id, method);
    covey_value_free(value);
    return r;
}

int covey_proxy_lock_acquire(covey_proxy *lock, covey_nsec timeout)
{
    covey_value *args;
    if (timeout <= 0)
        args = args1(covey_value_bool(0));
    else if (timeout >= FOREVER_FROM)
        args = covey_value_tuple();
    else
        args = args2(covey_value_bool(1), seconds(timeout));
    return wait_for(lock, "acquire", args, timeout);
}

int covey_proxy_lock_release(covey_proxy *lock)
{
    return cvy_remote_call(lock, NULL, "release", covey_value_tuple());
}

int covey_proxy_condition_wait(covey_proxy *condition, covey_nsec timeout)
{
    return wait_for(condition, "wait", args1(seconds(timeout)), timeout);
}

int covey_proxy_condition_notify(covey_proxy *condition, size_t count)
{
    return cvy_remote_call(condition, NULL, "notify", args1(covey_value_uint(count)));
}

int covey_proxy_condition_notify_all(covey_proxy *condition)
{
    return cvy_remote_call(condition, NULL, "notify_all", covey_value_tuple());
}

int covey_proxy_event_set(covey_proxy *event)
{
    return cvy_remote_call(event, NULL, "set", covey_value_tuple());
}

int covey_proxy_event_clear(covey_proxy *event)
{
    return cvy_remote_call(event, NULL, "clear", covey_value_tuple());
}

int covey_proxy_event_is_set(covey_proxy *event)
{
    return cvy_remote_truth(event, "is_set", covey_value_tuple());
}

int covey_proxy_event_wait(covey_proxy *event, covey_nsec timeout)
{
    return wait_for(event, "wait", args1(seconds(timeout)), timeout);
}

int covey_proxy_barrier_wait(covey_proxy *barrier, covey_nsec timeout,
                             size_t *ret_index)
{
    covey_value *value = NULL;
    uint64_t index = 0;
    int r =
        cvy_remote_call_for(barrier, &value, "wait", args1(seconds(timeout)), timeout);
    if (r >= 0)
        r = covey_value_get_uint(value, &index);
    covey_value_free(value);
    if (r >= 0 && ret_index)
        *ret_index = index;
    return r;
}

int covey_proxy_barrier_abort(covey_proxy *barrier)
{
    return cvy_remote_call(barrier, NULL, "abort", covey_value_tuple());
}

int covey_proxy_barrier_reset(covey_proxy *barrier)
{
    return cvy_remote_call(barrier, NULL, "reset", covey_value_tuple());
}

/* ---- queues ---- */

/* (..., block, timeout) of Queue.put and get, which are True and None by default. What is
 * not sent need not be made, read and freed. */
static void put_patience(covey_value *args, covey_nsec timeout)
{
    if (timeout >= FOREVER_FROM)
        return;
    (void)covey_value_append(args, covey_value_bool(timeout > 0));
    if (timeout > 0)
        (void)covey_value_append(args, seconds(timeout));
}

int covey_proxy_queue_put(covey_proxy *queue, covey_value *value, covey_nsec timeout)
{
    covey_value *args = args1(value);
    put_patience(args, timeout);
    return cvy_remote_call_for(queue, NULL, "put", args, timeout);
}

int covey_proxy_queue_get(covey_proxy *queue, covey_value **out, covey_nsec timeout)
{
    covey_value *args = covey_value_tuple();
    put_patience(args, timeout);
    return cvy_remote_call_for(queue, out, "get", args, timeout);
}

int covey_proxy_queue_count(covey_proxy *queue, size_t *ret_count)
{
    return cvy_remote_count(queue, "qsize", covey_value_tuple(), ret_count);
}

int covey_proxy_queue_empty(covey_proxy *queue)
{
    return cvy_remote_truth(queue, "empty", covey_value_tuple());
}

int covey_proxy_queue_full(covey_proxy *queue)
{
    return cvy_remote_truth(queue, "full", covey_value_tuple());
}

int covey_proxy_queue_done(covey_proxy *queue)
{
    return cvy_remote_call(queue, NULL, "task_done", covey_value_tuple());
}

int covey_proxy_queue_join(covey_proxy *queue)
{
    return cvy_remote_call(queue, NULL, "join", covey_value_tuple());
}
