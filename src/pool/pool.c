/* SPDX-License-Identifier: MIT */
/* pool.c: making and ending a pool.
 *
 *   open --(free)--> closing: maps end, then workers --> gone
 *
 * The object lies in the region and is held by its creator and by each worker process,
 * so that its memory is not given to others while a worker may still write to it. What
 * else the creator knows is private memory, reached from the object by its owner only:
 * a fork child that the program made finds another owner's word there. */
#include "pool/pool.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/opts.h"
#include "region/member.h"
#include "region/object.h"
#include "region/wait.h"

#define LISTED 64u

static _Atomic uint32_t pools; /* made by this process, for names */

/* Otherwise the region alone points to the records, where no leak checker looks; fork
 * children inherit them. Nothing else uses it, so more pools than that do no harm. */
static _Atomic(struct cvy_pool *) listed[LISTED];

static void list_replace(struct cvy_pool *from, struct cvy_pool *to)
{
    for (uint32_t i = 0; i < LISTED; i++) {
        struct cvy_pool *expected = from;
        if (atomic_compare_exchange_strong(&listed[i], &expected, to))
            return;
    }
}

static int take_options(struct covey_pool_opts *opts,
                        const struct covey_pool_opts *from, size_t *workers)
{
    static const char call[] = "covey_pool_create";
    int r = CVY_TAKE_OPTS(opts, from, call);
    if (r < 0)
        return r;
    if (opts->name && (!opts->name[0] || strlen(opts->name) > 63))
        return cvy_fail(-EINVAL, "%s: the name has %zu bytes, 1 to 63 are possible",
                        call, strlen(opts->name));
    if (opts->method == COVEY_DEFAULT_METHOD) {
        r = covey_get_start_method(0, &opts->method);
        if (r < 0)
            return r;
    }
    if (!covey_start_method_name(opts->method))
        return cvy_fail(-EINVAL, "%s: there is no start method %d", call,
                        (int)opts->method);
    if (!*workers) {
        r = covey_cpu_count(workers);
        if (r < 0)
            return r;
        *workers = cvy_min_size(*workers, CVY_POOL_WORKERS);
    }
    if (*workers > CVY_POOL_WORKERS)
        return cvy_fail(-EINVAL, "%s: %zu workers, at most %u are possible", call,
                        *workers, CVY_POOL_WORKERS);
    return 0;
}

static void free_private(struct cvy_pool *pool)
{
    if (!pool)
        return;
    list_replace(pool, NULL);
    (void)pthread_mutex_destroy(&pool->lock);
    (void)pthread_cond_destroy(&pool->changed);
    cvy_free(pool->worker);
    cvy_free(pool->ranges);
    cvy_free(pool);
}

static struct cvy_pool *new_private(size_t workers, const struct covey_pool_opts *opts)
{
    struct cvy_pool *pool = cvy_calloc(1, sizeof *pool);
    if (!pool)
        return NULL;
    (void)pthread_mutex_init(&pool->lock, NULL);
    (void)pthread_cond_init(&pool->changed, NULL);
    pool->workers = (uint32_t)workers;
    pool->method = opts->method;
    pool->retries = opts->retries;
    memcpy(pool->holds, opts->holds, sizeof pool->holds);
    if (opts->name)
        (void)snprintf(pool->name, sizeof pool->name, "%s", opts->name);
    else
        (void)snprintf(pool->name, sizeof pool->name, "Pool-%u", ++pools);
    pool->worker = cvy_calloc(workers, sizeof *pool->worker);
    pool->ranges = cvy_calloc(2 * workers + CVY_POOL_ORPHANS, sizeof *pool->ranges);
    list_replace(NULL, pool);
    if (pool->worker && pool->ranges)
        return pool;
    free_private(pool);
    return NULL;
}

static int new_object(struct cvy_pool *pool)
{
    void *object = NULL;
    cvy_ref shared = 0;
    uint64_t size = sizeof(struct cvy_pool_shared) +
                    pool->workers * (uint64_t)sizeof(struct cvy_pool_line);
    int r = cvy_object_create(CVY_KIND_POOL, sizeof(struct covey_pool),
                              CVY_OBJECT_PRIVATE, size, &object, &shared);
    if (r < 0)
        return r;
    pool->object = object;
    pool->shared = cvy_at(shared);
    memset((void *)pool->shared, 0, size);
    pool->shared->workers = pool->workers;
    pool->object->owner = cvy_member_owner();
    pool->object->state = (uint64_t)(uintptr_t)pool;
    pool->object->shared = shared;
    return 0;
}

int covey_pool_create(covey_pool **out, size_t workers,
                      const struct covey_pool_opts *options)
{
    struct covey_pool_opts opts;
    if (!out)
        return cvy_fail(-EINVAL, "covey_pool_create: `out` is NULL");
    int r = take_options(&opts, options, &workers);
    if (r >= 0)
        r = cvy_enter();
    if (r < 0)
        return r;
    struct cvy_pool *pool = new_private(workers, &opts);
    if (!pool)
        return cvy_fail(-ENOMEM, "covey_pool_create: no memory for %zu workers",
                        workers);
    r = new_object(pool);
    if (r >= 0)
        r = cvy_pool_start_workers(pool);
    if (r >= 0) {
        *out = pool->object;
        return 0;
    }
    if (pool->object) {
        char detail[CVY_DETAIL_SIZE];
        (void)snprintf(detail, sizeof detail, "%s", covey_error_detail());
        cvy_pool_stop_workers(pool);
        (void)cvy_object_release(pool->object);
        (void)cvy_fail(r, "%s", detail);
    }
    free_private(pool);
    return r;
}

/* Tell all maps to end, and wait until they have. */
static void end_maps(struct cvy_pool *pool)
{
    (void)pthread_mutex_lock(&pool->lock);
    pool->closing = true;
    for (uint32_t m = 0; m < CVY_POOL_BATCHES; m++)
        if (pool->maps[m]) {
            pool->maps[m]->give_up = true;
            cvy_pool_ring_map(pool, m);
        }
    (void)pthread_cond_broadcast(&pool->changed);
    while (pool->map_count)
        cvy_pool_await_change(pool);
    (void)pthread_mutex_unlock(&pool->lock);
}

void covey_pool_free(covey_pool *object)
{
    if (!object || cvy_enter() < 0 ||
        cvy_object_check(object, CVY_KIND_POOL, "covey_pool_free") < 0 ||
        object->owner != cvy_member_owner())
        return;
    struct cvy_pool *pool = (struct cvy_pool *)(uintptr_t)object->state;
    end_maps(pool);
    cvy_pool_stop_workers(pool);
    (void)cvy_object_release(object);
    free_private(pool);
}
