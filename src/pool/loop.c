/* SPDX-License-Identifier: MIT */
/* loop.c: a pool that the program's event loop drives, without a thread of covey's.
 *
 *   descriptor = set of: flag    raised by workers that finished something, if `fd_armed`
 *                        timer   when a limit, a deadline or a start is due, or a slice over
 *                        ends    of the workers
 *
 * A worker that is killed between taking `fd_armed` down and raising the flag is seen by
 * its end. After arming, the pool is looked at once more.
 *
 * As for all who wait there are slices, for what is not heard: a worker may have no sentinel
 * for lack of descriptors, and memory may not say that it died. They pass while tasks are
 * under way or a worker has no sentinel, so an idle pool leaves the loop alone. */
#include <errno.h>

#include "base/error.h"
#include "base/memory.h"
#include "os/socket.h"
#include "pool/limits.h"
#include "region/wait.h"

struct cvy_loop {
    int set, flag, timer;
    int *ends;             /* by worker, -1 none; locked */
    pthread_mutex_t mutex; /* of the timer; before the pool's lock */
    int64_t due;           /* what it is set to */
    int64_t slice_end;     /* INT64_MAX: no slice has begun */
};

enum { TAG_FLAG = 1, TAG_TIMER, TAG_END };

static void free_loop(struct cvy_loop *loop)
{
    if (!loop)
        return;
    cvy_os_close(loop->flag);
    cvy_os_close(loop->timer);
    cvy_os_close(loop->set);
    (void)pthread_mutex_destroy(&loop->mutex);
    cvy_free(loop->ends);
    cvy_free(loop);
}

void cvy_loop_free(struct cvy_pool *pool)
{
    free_loop(pool->loop);
    pool->loop = NULL;
}

int cvy_loop_create(struct cvy_pool *pool)
{
    struct cvy_loop *loop = cvy_calloc(1, sizeof *loop);
    if (!loop)
        return cvy_fail(-ENOMEM, "no memory for an event loop");
    (void)pthread_mutex_init(&loop->mutex, NULL);
    loop->due = loop->slice_end = INT64_MAX;
    loop->ends = cvy_calloc(pool->lines, sizeof *loop->ends);
    for (uint32_t i = 0; loop->ends && i < pool->lines; i++)
        loop->ends[i] = -1;
    int r = loop->ends ? 0 : -ENOMEM;
    loop->set = r < 0 ? -1 : cvy_os_set_create();
    loop->flag = loop->set < 0 ? -1 : cvy_os_flag_create();
    loop->timer = loop->flag < 0 ? -1 : cvy_os_timer_create();
    if (r >= 0)
        r = loop->set < 0 ? loop->set : loop->flag < 0 ? loop->flag : loop->timer;
    if (r >= 0)
        r = cvy_os_set_add(loop->set, loop->flag, TAG_FLAG);
    if (r >= 0)
        r = cvy_os_set_add(loop->set, loop->timer, TAG_TIMER);
    if (r < 0) {
        free_loop(loop);
        return cvy_fail_os(r, "descriptors for an event loop");
    }
    pool->loop = loop;
    pool->shared->hooks.fd = loop->flag;
    atomic_store(&pool->shared->hooks.fd_armed, 1);
    return 0;
}

/* Who has brought something before the store of INT64_MAX is seen afterwards, and who brings
 * it later rings, so that nobody sleeps over it. */
int64_t cvy_loop_next_look(struct cvy_pool *pool)
{
    atomic_store(&pool->next_look, INT64_MAX);
    (void)pthread_mutex_lock(&pool->lock);
    int64_t due = cvy_limits_check(pool);
    due = cvy_min_i64(due, cvy_affinity_check(pool));
    due = cvy_min_i64(due, cvy_pool_due(pool)); /* of those that were ended, too */
    (void)pthread_mutex_unlock(&pool->lock);
    due = cvy_min_i64(due, cvy_tasks_due(pool));
    atomic_store(&pool->next_look, due);
    return due;
}

void cvy_loop_look_by(struct cvy_pool *pool, int64_t due)
{
    if (due >= atomic_load(&pool->next_look))
        return;
    if (pool->tasks)
        cvy_tasks_tell(pool);
    else
        cvy_loop_raise(pool);
}

void cvy_loop_raise(struct cvy_pool *pool)
{
    if (pool->loop && atomic_exchange(&pool->shared->hooks.fd_armed, 0))
        cvy_os_flag_raise(pool->loop->flag);
}

/* Without a sentinel its end is found at the end of a slice, which tries this again. */
void cvy_loop_watch(struct cvy_pool *pool, uint32_t index)
{
    int fd = -1;
    if (!pool->loop || covey_process_sentinel(pool->worker[index].process, &fd) < 0)
        return;
    if (cvy_os_set_add(pool->loop->set, fd, TAG_END + index) >= 0)
        pool->loop->ends[index] = fd;
}

void cvy_loop_unwatch(struct cvy_pool *pool, uint32_t index)
{
    if (!pool->loop || pool->loop->ends[index] < 0)
        return;
    cvy_os_set_remove(pool->loop->set, pool->loop->ends[index]);
    pool->loop->ends[index] = -1;
}

/* ---- the timer; with the mutex ---- */

static void set_timer(struct cvy_loop *loop, int64_t due)
{
    loop->due = due;
    cvy_os_timer_set(loop->timer, due);
}

static void begin_slice(struct cvy_loop *loop)
{
    if (loop->slice_end == INT64_MAX)
        loop->slice_end = cvy_os_deadline((covey_nsec)cvy_head->slice);
}

void cvy_loop_begin_slice(struct cvy_pool *pool)
{
    struct cvy_loop *loop = pool->loop;
    if (!loop)
        return;
    (void)pthread_mutex_lock(&loop->mutex);
    begin_slice(loop);
    if (loop->slice_end < loop->due)
        set_timer(loop, loop->slice_end);
    (void)pthread_mutex_unlock(&loop->mutex);
}

static bool is_heard(const struct cvy_pool *pool, uint32_t index)
{
    return !pool->worker[index].process || pool->loop->ends[index] >= 0;
}

/* Whether somebody's end may pass unheard while it matters. */
static bool needs_slices(struct cvy_pool *pool)
{
    const struct cvy_pool_counts *counts = &pool->shared->counts;
    bool all_heard = true;
    (void)pthread_mutex_lock(&pool->lock);
    for (uint32_t i = 0; i < pool->workers; i++)
        all_heard = all_heard && is_heard(pool, i);
    (void)pthread_mutex_unlock(&pool->lock);
    return !all_heard || atomic_load(&counts->running) || atomic_load(&counts->queued);
}

static void await_next_look(struct cvy_pool *pool)
{
    struct cvy_loop *loop = pool->loop;
    (void)pthread_mutex_lock(&loop->mutex);
    int64_t due = INT64_MAX;
    if (atomic_load(&pool->state) != CVY_POOL_ENDED) {
        due = cvy_loop_next_look(pool);
        if (needs_slices(pool))
            begin_slice(loop);
        else
            loop->slice_end = INT64_MAX;
        due = cvy_min_i64(due, loop->slice_end);
    }
    set_timer(loop, due);
    (void)pthread_mutex_unlock(&loop->mutex);
}

/* Returns: whether a slice is over, which the caller makes up for by asking the kernel. */
static bool end_slice(struct cvy_pool *pool)
{
    struct cvy_loop *loop = pool->loop;
    if (!loop)
        return false;
    (void)pthread_mutex_lock(&loop->mutex);
    bool is_over = loop->slice_end != INT64_MAX && cvy_os_now() >= loop->slice_end;
    if (is_over)
        loop->slice_end = INT64_MAX;
    (void)pthread_mutex_unlock(&loop->mutex);
    if (!is_over)
        return false;
    (void)pthread_mutex_lock(&pool->lock);
    for (uint32_t i = 0; i < pool->workers; i++)
        if (!is_heard(pool, i))
            cvy_loop_watch(pool, i);
    (void)pthread_mutex_unlock(&pool->lock);
    return true;
}

/* ---- dispatching ---- */

/* Returns: whether anything happened. */
static bool work(struct cvy_pool *pool, bool slice)
{
    bool any = cvy_tasks_step(pool, slice);
    return (!cvy_watcher_is_me(pool) && cvy_watcher_call_queued(pool, NULL)) || any;
}

static void arm(struct cvy_pool *pool)
{
    struct cvy_loop *loop = pool->loop;
    if (!loop)
        return;
    cvy_os_flag_lower(loop->flag);
    atomic_store(&pool->shared->hooks.fd_armed, 1);
    if (work(pool, false))
        cvy_loop_raise(pool);
    await_next_look(pool);
}

static bool has_ended(struct cvy_pool *pool)
{
    return atomic_load(&pool->state) == CVY_POOL_ENDED ||
           (cvy_tasks_map(pool)->give_up && pool->closing);
}

static bool wait(struct cvy_pool *pool, int64_t deadline)
{
    struct cvy_map *map = cvy_tasks_map(pool);
    bool slice = end_slice(pool), any = false;
    while (!any) {
        uint32_t gong = cvy_gong(), seen = atomic_load(cvy_map_ring(map));
        any = work(pool, slice);
        if (any || cvy_os_now() >= deadline || has_ended(pool))
            break;
        slice = cvy_map_sleep(map, seen, gong,
                              cvy_min_i64(deadline, cvy_loop_next_look(pool)));
    }
    return any;
}

int covey_pool_dispatch(covey_pool *object, covey_nsec timeout)
{
    static const char call[] = "covey_pool_dispatch";
    struct cvy_pool *pool = NULL;
    int r = cvy_pool_enter(object, call, false, &pool);
    if (r >= 0)
        r = cvy_tasks_begin(pool);
    if (r >= 0 && !cvy_pool_visit(pool))
        r = cvy_fail(COVEY_EFREED, "%s: the pool is being freed", call);
    if (r < 0)
        return r;
    bool any = wait(pool, cvy_os_deadline(timeout));
    arm(pool);
    cvy_pool_leave(pool);
    return any ? 0 : cvy_fail(-ETIMEDOUT, "%s: there was nothing to do", call);
}

int covey_pool_fd(covey_pool *object, int *ret_fd)
{
    static const char call[] = "covey_pool_fd";
    struct cvy_pool *pool = NULL;
    int r = cvy_pool_enter(object, call, false, &pool);
    if (r >= 0 && !ret_fd)
        r = cvy_fail(-EINVAL, "%s: ret_fd is NULL", call);
    if (r >= 0 && !pool->loop)
        r = cvy_fail(COVEY_ESTATE, "%s: the pool was not made with .own_loop", call);
    if (r >= 0)
        *ret_fd = pool->loop->set;
    return r < 0 ? r : 0;
}
