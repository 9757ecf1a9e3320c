/* SPDX-License-Identifier: MIT */
/* remote_pool.c: pools of managers, what is to come of their work, and its iterators. */
#include <errno.h>

#include "base/error.h"
#include "manager/client.h"

/* ---- arguments: what is NULL where a value must be sticks to the tuple as an error ---- */

static covey_value *apply_args(covey_value *function, covey_value *args,
                               covey_value *kwargs)
{
    covey_value *all = cvy_remote_args2(function, args ? args : covey_value_tuple());
    (void)covey_value_append(all, kwargs ? kwargs : covey_value_dict());
    return all;
}

static covey_value *map_args(covey_value *function, covey_value *items,
                             size_t chunksize)
{
    covey_value *all = cvy_remote_args2(function, items);
    if (chunksize)
        (void)covey_value_append(all, covey_value_uint(chunksize));
    return all;
}

/* ---- results at once ---- */

int covey_proxy_pool_apply(covey_proxy *pool, covey_value *function, covey_value *args,
                           covey_value *kwargs, covey_value **out)
{
    return cvy_remote_call_for(pool, out, "apply", apply_args(function, args, kwargs),
                               COVEY_FOREVER);
}

int covey_proxy_pool_map(covey_proxy *pool, covey_value *function, covey_value *items,
                         size_t chunksize, covey_value **out)
{
    return cvy_remote_call_for(pool, out, "map", map_args(function, items, chunksize),
                               COVEY_FOREVER);
}

int covey_proxy_pool_starmap(covey_proxy *pool, covey_value *function,
                             covey_value *items, size_t chunksize, covey_value **out)
{
    return cvy_remote_call_for(pool, out, "starmap",
                               map_args(function, items, chunksize), COVEY_FOREVER);
}

/* ---- results to come ---- */

int covey_proxy_pool_apply_async(covey_proxy **out, covey_proxy *pool,
                                 covey_value *function, covey_value *args,
                                 covey_value *kwargs)
{
    return cvy_remote_call_proxy(pool, out, "apply_async",
                                 apply_args(function, args, kwargs));
}

int covey_proxy_pool_map_async(covey_proxy **out, covey_proxy *pool,
                               covey_value *function, covey_value *items,
                               size_t chunksize)
{
    return cvy_remote_call_proxy(pool, out, "map_async",
                                 map_args(function, items, chunksize));
}

int covey_proxy_pool_starmap_async(covey_proxy **out, covey_proxy *pool,
                                   covey_value *function, covey_value *items,
                                   size_t chunksize)
{
    return cvy_remote_call_proxy(pool, out, "starmap_async",
                                 map_args(function, items, chunksize));
}

int covey_proxy_pool_imap(covey_proxy **out, covey_proxy *pool, covey_value *function,
                          covey_value *items)
{
    return cvy_remote_call_proxy(pool, out, "imap", map_args(function, items, 0));
}

int covey_proxy_pool_imap_unordered(covey_proxy **out, covey_proxy *pool,
                                    covey_value *function, covey_value *items)
{
    return cvy_remote_call_proxy(pool, out, "imap_unordered",
                                 map_args(function, items, 0));
}

int covey_proxy_result_get(covey_proxy *result, covey_value **out, covey_nsec timeout)
{
    return cvy_remote_call_for(result, out, "get",
                               cvy_remote_args1(cvy_remote_seconds(timeout)), timeout);
}

int covey_proxy_result_wait(covey_proxy *result, covey_nsec timeout)
{
    int r = cvy_remote_call_for(result, NULL, "wait",
                                cvy_remote_args1(cvy_remote_seconds(timeout)), timeout);
    if (r >= 0)
        r = covey_proxy_result_ready(result);
    if (r == 0)
        r = cvy_fail(-ETIMEDOUT, "%s.wait: not in time", result->type_id);
    return r < 0 ? r : 0;
}

int covey_proxy_result_ready(covey_proxy *result)
{
    return cvy_remote_truth(result, "ready", covey_value_tuple());
}

int covey_proxy_result_successful(covey_proxy *result)
{
    return cvy_remote_truth(result, "successful", covey_value_tuple());
}

/* ---- the end ---- */

int covey_proxy_pool_close(covey_proxy *pool)
{
    return cvy_remote_call(pool, NULL, "close", covey_value_tuple());
}

int covey_proxy_pool_terminate(covey_proxy *pool)
{
    return cvy_remote_call_for(pool, NULL, "terminate", covey_value_tuple(),
                               COVEY_FOREVER);
}

int covey_proxy_pool_join(covey_proxy *pool)
{
    return cvy_remote_call_for(pool, NULL, "join", covey_value_tuple(), COVEY_FOREVER);
}
