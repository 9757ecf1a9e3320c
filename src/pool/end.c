/* SPDX-License-Identifier: MIT */
/* end.c: the end of a pool.
 *
 *   OPEN --(close)--> CLOSED --(join)--> ENDED          all is done, workers end in order
 *      \---------------\--(terminate, free)--> ENDED    what runs is ended by force
 *
 * The object stays until covey_pool_free, so that everything else says what is wrong. */
#include <errno.h>

#include "base/error.h"
#include "base/log.h"
#include "pool/flow.h"
#include "region/member.h"
#include "region/wait.h"

#define HOOK_TIME COVEY_SEC(1) /* for exit hooks, whatever the caller's time */

/* Tell all maps to end, and wait until they have. */
static void end_maps(struct cvy_pool *pool)
{
    (void)pthread_mutex_lock(&pool->lock);
    cvy_pool_close_maps(pool);
    (void)pthread_mutex_unlock(&pool->lock);
    cvy_tasks_end(pool);
    cvy_iterators_end(pool);
    (void)pthread_mutex_lock(&pool->lock);
    while (pool->map_count)
        cvy_pool_await_change(pool);
    (void)pthread_mutex_unlock(&pool->lock);
}

/* Callbacks of what was cancelled are still called, here. */
static void call_back(struct cvy_pool *pool)
{
    while (pool->tasks && cvy_watcher_call_back(pool))
        ;
}

/* Returns: whether this call is the one that ends it. */
static bool end_state(struct cvy_pool *pool)
{
    return atomic_exchange(&pool->state, CVY_POOL_ENDED) != CVY_POOL_ENDED;
}

/* By the call that ends it, as the last step. */
static void finish_end(struct cvy_pool *pool)
{
    cvy_trace_close(pool);
    (void)pthread_mutex_lock(&pool->lock);
    pool->is_over = true;
    (void)pthread_cond_broadcast(&pool->changed);
    (void)pthread_mutex_unlock(&pool->lock);
}

/* Another call ends it. Returns: whether it has done so by the deadline. */
static bool await_over(struct cvy_pool *pool, int64_t deadline)
{
    (void)pthread_mutex_lock(&pool->lock);
    while (!pool->is_over && (deadline == INT64_MAX || cvy_os_now() < deadline))
        cvy_pool_await_change_until(pool, deadline);
    bool is_over = pool->is_over;
    (void)pthread_mutex_unlock(&pool->lock);
    return is_over;
}

static void terminate(struct cvy_pool *pool)
{
    if (!end_state(pool)) {
        atomic_store(&pool->hurries, true); /* perhaps it is ended in order */
        (void)await_over(pool, INT64_MAX);
        return;
    }
    cvy_watcher_stop(pool);
    end_maps(pool);
    call_back(pool);
    cvy_pool_stop_workers(pool, 0);
    finish_end(pool);
}

int covey_pool_close(covey_pool *object)
{
    struct cvy_pool *pool = NULL;
    uint32_t open = CVY_POOL_OPEN;
    int r = cvy_pool_enter(object, "covey_pool_close", false, &pool);
    if (r < 0)
        return r;
    (void)pthread_mutex_lock(&pool->lock);
    (void)atomic_compare_exchange_strong(&pool->state, &open, CVY_POOL_CLOSED);
    (void)pthread_mutex_unlock(&pool->lock);
    return 0;
}

int covey_pool_terminate(covey_pool *object)
{
    static const char call[] = "covey_pool_terminate";
    struct cvy_pool *pool = NULL;
    int r = cvy_pool_enter(object, call, false, &pool);
    if (r >= 0 && cvy_watcher_is_me(pool))
        r = cvy_fail(COVEY_ESTATE, "%s: not from a callback", call);
    if (r >= 0 && cvy_pool_visit(pool)) {
        terminate(pool);
        cvy_pool_leave(pool);
    }
    return r < 0 ? r : 0;
}

/* ---- joining ---- */

static bool tasks_left(struct cvy_pool *pool)
{
    (void)pthread_mutex_lock(&pool->lock);
    bool left = cvy_tasks_are_left(pool);
    (void)pthread_mutex_unlock(&pool->lock);
    return left;
}

/* Returns: 0; -ETIMEDOUT. */
static int await_tasks(struct cvy_pool *pool, int64_t deadline)
{
    bool slice = false;
    if (!pool->tasks)
        return 0;
    struct cvy_map *map = cvy_tasks_map(pool);
    for (;;) {
        uint32_t gong = cvy_gong(), seen = atomic_load(cvy_map_ring(map));
        bool any = cvy_tasks_step(pool, slice);
        if (pool->loop)
            any = cvy_watcher_call_back(pool) || any;
        slice = false;
        if (!tasks_left(pool))
            return 0;
        if (deadline != INT64_MAX && cvy_os_now() >= deadline)
            return -ETIMEDOUT;
        if (any)
            continue;
        slice =
            cvy_map_sleep(map, seen, gong, cvy_min_i64(deadline, cvy_tasks_due(pool)));
    }
}

static int await_maps(struct cvy_pool *pool, int64_t deadline)
{
    int r = 0;
    (void)pthread_mutex_lock(&pool->lock);
    while (r >= 0 && cvy_maps_waited_for(pool)) {
        if (cvy_os_now() >= deadline)
            r = -ETIMEDOUT;
        else
            cvy_pool_await_change_until(pool, deadline);
    }
    (void)pthread_mutex_unlock(&pool->lock);
    return r;
}

static int join(struct cvy_pool *pool, int64_t deadline, const char *call)
{
    int r = await_tasks(pool, deadline);
    if (r >= 0)
        r = await_maps(pool, deadline);
    if (r < 0)
        return cvy_fail(r, "%s: tasks are not done yet", call);
    if (!end_state(pool))
        return await_over(pool, deadline)
                   ? 0
                   : cvy_fail(-ETIMEDOUT, "%s: workers have not ended yet", call);
    cvy_watcher_stop(pool);
    end_maps(pool);
    cvy_pool_stop_workers(pool, cvy_max_i64(deadline, cvy_os_deadline(HOOK_TIME)));
    finish_end(pool);
    return 0;
}

int covey_pool_join(covey_pool *object, covey_nsec timeout)
{
    static const char call[] = "covey_pool_join";
    struct cvy_pool *pool = NULL;
    int r = cvy_pool_enter(object, call, false, &pool);
    if (r < 0)
        return r;
    if (atomic_load(&pool->state) == CVY_POOL_OPEN)
        return cvy_fail(COVEY_ESTATE, "%s: the pool was not closed", call);
    if (cvy_watcher_is_me(pool))
        return cvy_fail(COVEY_ESTATE, "%s: not from a callback", call);
    if (!cvy_pool_visit(pool))
        return 0;
    r = join(pool, cvy_os_deadline(timeout), call);
    cvy_pool_leave(pool);
    return r;
}

/* Threads that wait in the pool find that it has ended, and leave. */
static void close_door(struct cvy_pool *pool)
{
    (void)pthread_mutex_lock(&pool->lock);
    while (pool->visits)
        cvy_pool_await_change(pool);
    pool->object = NULL;
    (void)pthread_mutex_unlock(&pool->lock);
}

void covey_pool_free(covey_pool *object)
{
    if (!object || cvy_enter() < 0 ||
        cvy_object_check(object, CVY_KIND_POOL, "covey_pool_free") < 0 ||
        object->owner != cvy_member_owner())
        return;
    struct cvy_pool *pool = cvy_pool_of(object);
    if (cvy_watcher_is_me(pool)) {
        (void)covey_log(COVEY_LOG_ERROR, "covey_pool_free of %s in a callback",
                        pool->name);
        return;
    }
    terminate(pool);
    close_door(pool);
    call_back(pool); /* what was left by another thread's callback */
    cvy_loop_free(pool);
    (void)pthread_mutex_lock(&pool->lock);
    pool->shared = NULL;
    (void)pthread_mutex_unlock(&pool->lock);
    (void)cvy_object_release(object);
    cvy_pool_unref(pool);
}
