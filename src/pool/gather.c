/* SPDX-License-Identifier: MIT */
/* gather.c: flows for callers that wait: from an exchange's source into its sink. The usual
 * exchange is arrays: arguments of any size, tuples, values, a single task, and maps whose
 * items have limits. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/opts.h"
#include "pool/limits.h"
#include "pool/result.h"
#include "region/wait.h"

#define PROGRESS_STEP COVEY_MSEC(50)
#define WIDTH_MOST    4096u

bool cvy_map_needs_flow(const struct cvy_pool *pool, const struct covey_map_opts *opts)
{
    return opts->time_limit || opts->soft_limit || opts->memory_limit || pool->trace ||
           pool->measures || pool->faults.die_at || pool->faults.hang_at ||
           pool->faults.memory_at;
}

void cvy_flow_limit(struct cvy_flow *flow, int64_t time, int64_t soft, uint64_t memory)
{
    struct cvy_pool *pool = flow->map.pool;
    flow->limits = (struct cvy_limits){.time = time, .soft = soft, .memory = memory};
    if (!cvy_limits_any(&flow->limits))
        return;
    (void)pthread_mutex_lock(&pool->lock);
    pool->limited = true;
    (void)pthread_mutex_unlock(&pool->lock);
}

/* ---- driving ---- */

struct gather {
    struct cvy_flow flow;
    const struct cvy_exchange *exchange;
    void *ctx; /* of that */
    const struct covey_map_opts *opts;
    int64_t deadline, progress_due;
};

/* There may be many, each of which takes its time. Returns: whether any was finished. */
static bool collect(struct gather *g)
{
    struct cvy_done done;
    uint64_t count = 0;
    while (cvy_flow_take(&g->flow, &done)) {
        g->exchange->put(g->ctx, &done);
        cvy_flow_release(&g->flow, &done);
        if (++count % CVY_LOOK_EVERY == 0)
            cvy_map_look_meanwhile(&g->flow.map);
    }
    return count > 0;
}

/* Others may need less. */
static void refuse_held(struct gather *g, int code)
{
    struct cvy_done done;
    cvy_flow_refuse(&g->flow, code, &done);
    g->exchange->put(g->ctx, &done);
}

static int64_t show_progress(struct gather *g)
{
    uint64_t done = 0, total = 0;
    if (!g->opts->progress)
        return INT64_MAX;
    int64_t now = cvy_os_now();
    if (now >= g->progress_due) {
        g->progress_due = now + PROGRESS_STEP;
        g->exchange->tell(g->ctx, &done, &total);
        g->opts->progress(g->opts->progress_ctx, (size_t)done, (size_t)total);
    }
    return g->progress_due;
}

/* Begin nothing more; what is out is collected as it comes. An item that was held is not
 * begun either. */
static void stop(struct gather *g, enum covey_outcome outcome,
                 enum covey_outcome running)
{
    bool held = g->flow.has_held;
    cvy_flow_stop(&g->flow, outcome, running);
    g->exchange->drop(g->ctx, outcome, held);
    g->deadline = INT64_MAX;
}

/* End early if the pool is broken or goes, or the time is over. Returns: whether there are
 * outcomes by that, of which nobody rings. */
static bool check_end(struct gather *g)
{
    struct cvy_pool *pool = g->flow.map.pool;
    if (g->flow.ended != 1 && !g->flow.out)
        return false;
    if (g->flow.map.give_up && pool->closing)
        stop(g, COVEY_OUTCOME_CANCELLED, COVEY_OUTCOME_CANCELLED);
    else if (g->flow.map.give_up)
        stop(g, COVEY_OUTCOME_LOST, COVEY_OUTCOME_LOST);
    else if (g->deadline != INT64_MAX && cvy_os_now() >= g->deadline)
        stop(g, COVEY_OUTCOME_CANCELLED, COVEY_OUTCOME_TIMEOUT);
    else if (g->flow.ended == 1 && cvy_bounds_canceled(&g->flow.map.bounds))
        stop(g, COVEY_OUTCOME_CANCELLED, COVEY_OUTCOME_NONE);
    else
        return false;
    return true;
}

static void run(struct gather *g)
{
    struct cvy_map *map = &g->flow.map;
    cvy_word *word = cvy_map_ring(map);
    bool slice = false;
    for (;;) {
        uint32_t gong = cvy_gong(), seen = atomic_load(word);
        int fed = cvy_flow_feed(&g->flow);
        bool any = collect(g);
        if (fed < 0)
            refuse_held(g, fed);
        if (cvy_flow_is_over(&g->flow))
            return;
        bool moves = any || fed != 0;
        if (moves)
            cvy_map_look_meanwhile(map);
        else
            cvy_map_look_after(map, slice);
        if (check_end(g) && (collect(g) || cvy_flow_is_over(&g->flow)))
            continue;
        int64_t until = cvy_min_i64(g->deadline, show_progress(g));
        if (moves)
            continue;
        until = cvy_min_i64(until, cvy_flow_plan_look(&g->flow));
        if (g->flow.is_starved)
            until = cvy_iterators_make_room(g->flow.map.pool, until);
        slice = cvy_map_wait(map, seen, gong, until);
    }
}

int cvy_exchange_run(struct cvy_pool *pool, const char *call, covey_task_fn *fn,
                     uint32_t width, const struct cvy_exchange *exchange, void *ctx,
                     const struct covey_map_opts *opts)
{
    struct gather g = {.exchange = exchange, .ctx = ctx, .opts = opts};
    if (!fn)
        return cvy_fail(-EINVAL, "%s: the function is NULL", call);
    int r = cvy_limits_refuse(
        call, &(struct cvy_limits){.time = opts->time_limit, .soft = opts->soft_limit});
    if (r < 0)
        return r;
    r = cvy_code_encode((cvy_code_fn *)fn, &g.flow.map.code);
    if (r < 0)
        return cvy_fail_os(r, "%s: the function", call);
    cvy_flow_init(&g.flow, pool, fn, exchange->pull, ctx);
    g.flow.map.call = call;
    g.flow.map.chunk = (uint32_t)cvy_min_u64(opts->chunksize, CVY_RANGE_COUNT);
    g.flow.width = width;
    cvy_bounds_take(&g.flow.map.bounds, opts->timeout, opts->detached == COVEY_ON);
    g.deadline = g.flow.map.bounds.deadline;
    cvy_flow_limit(&g.flow, opts->time_limit, opts->soft_limit, opts->memory_limit);
    r = cvy_map_begin(&g.flow.map);
    if (r < 0)
        return r;
    if (exchange->open)
        exchange->open(ctx, &g.flow.map);
    run(&g);
    r = g.flow.ended == COVEY_EEND ? 0 : g.flow.ended;
    if (exchange->close)
        r = exchange->close(ctx, &g.flow.map, r);
    cvy_flow_free(&g.flow);
    cvy_map_end(&g.flow.map); /* the pool may go now */
    return r;
}

int cvy_gather(struct cvy_pool *pool, covey_task_fn *fn, struct cvy_work *work,
               const struct covey_map_opts *opts)
{
    work->outcomes = opts->outcomes;
    work->opts = opts;
    work->given = cvy_os_now();
    work->sum.first_failed = SIZE_MAX;
    int r =
        cvy_exchange_run(pool, work->call, fn, work->width, &cvy_arrays, work, opts);
    if (r == -ETIMEDOUT && work->done < work->n) { /* it was not opened in time */
        cvy_work_skip(work, COVEY_OUTCOME_CANCELLED);
        (void)snprintf(work->sum.text, sizeof work->sum.text, "%s",
                       covey_error_detail());
        if (opts->summary)
            *opts->summary = work->sum;
    }
    return r;
}

/* ---- public calls ---- */

int cvy_check_views(const char *call, const struct covey_view *in, size_t width,
                    size_t n)
{
    size_t views = 0;
    if (n && !in)
        return cvy_fail(-EINVAL, "%s: `in` is NULL", call);
    if (!width || width > WIDTH_MOST)
        return cvy_fail(-EINVAL, "%s: `width` is %zu, 1 to %u are possible", call,
                        width, WIDTH_MOST);
    if (__builtin_mul_overflow(n, width * sizeof *in, &views))
        return cvy_fail(-EINVAL, "%s: %zu items do not fit into memory", call, n);
    for (size_t i = 0; i < n * width; i++)
        if (in[i].size && !in[i].data)
            return cvy_fail(-EINVAL, "%s: argument %zu of item %zu is NULL", call,
                            i % width, i / width);
    return 0;
}

int covey_pool_map_bytes(covey_pool *object, covey_task_fn *fn,
                         const struct covey_view *in, struct covey_bytes *out, size_t n,
                         const struct covey_map_opts *options)
{
    static const char call[] = "covey_pool_map_bytes";
    struct covey_map_opts opts;
    struct cvy_pool *pool = NULL;
    struct cvy_work work = {.call = call, .n = n, .views = in, .bytes = out};
    int r = CVY_TAKE_OPTS(&opts, options, call);
    if (r >= 0)
        r = CVY_CHECK_SWITCHES(call, {".detached", opts.detached});
    if (r >= 0)
        r = cvy_pool_enter(object, call, true, &pool);
    if (r >= 0)
        r = cvy_check_views(call, in, 1, n);
    return r < 0 ? r : cvy_gather(pool, fn, &work, &opts);
}

int covey_pool_starmap(covey_pool *object, covey_task_fn *fn,
                       const struct covey_view *in, size_t width,
                       struct covey_bytes *out, size_t n,
                       const struct covey_map_opts *options)
{
    static const char call[] = "covey_pool_starmap";
    struct covey_map_opts opts;
    struct cvy_pool *pool = NULL;
    struct cvy_work work = {.call = call,
                            .n = n,
                            .views = in,
                            .width = width > 1 ? (uint32_t)width : 0,
                            .bytes = out};
    int r = CVY_TAKE_OPTS(&opts, options, call);
    if (r >= 0)
        r = CVY_CHECK_SWITCHES(call, {".detached", opts.detached});
    if (r >= 0)
        r = cvy_pool_enter(object, call, true, &pool);
    if (r >= 0)
        r = cvy_check_views(call, in, width, n);
    return r < 0 ? r : cvy_gather(pool, fn, &work, &opts);
}

/* Whether the task is to be one of those that are submitted: admitted by its memory, in its
 * place among them, found by its group, told of by callbacks. */
static bool needs_submission(const struct covey_task_opts *opts)
{
    return opts->memory || opts->memory_growth || opts->affinity ||
           opts->affinity_wait || opts->duplicate_after || opts->priority ||
           opts->group || opts->callback || opts->error_callback;
}

/* Why it was cancelled, in the words of covey_pool_apply. */
static int explain_cancel(const struct covey_result *result)
{
    struct cvy_pool *pool = result->pool;
    (void)pthread_mutex_lock(&pool->lock);
    bool goes = pool->closing;
    (void)pthread_mutex_unlock(&pool->lock);
    if (result->is_late)
        return cvy_fail(-ETIMEDOUT,
                        "covey_pool_apply: it had not begun when the time was over");
    return goes ? cvy_fail(COVEY_EFREED,
                           "covey_pool_apply: the pool was freed meanwhile")
                : -ECANCELED;
}

static int apply_and_get(covey_pool *object, covey_task_fn *fn, struct covey_view arg,
                         struct covey_bytes *ret_result,
                         const struct covey_task_opts *opts)
{
    covey_result *result = NULL;
    int r = covey_pool_apply_async(&result, object, fn, arg, opts);
    if (r < 0)
        return r;
    r = covey_result_get(result, ret_result, COVEY_FOREVER);
    if (r == -ECANCELED)
        r = explain_cancel(result);
    covey_result_free(result);
    return r;
}

int covey_pool_apply(covey_pool *object, covey_task_fn *fn, struct covey_view arg,
                     struct covey_bytes *ret_result,
                     const struct covey_task_opts *options)
{
    static const char call[] = "covey_pool_apply";
    struct covey_task_opts opts;
    struct cvy_pool *pool = NULL;
    struct cvy_work work = {.call = call, .n = 1, .views = &arg, .bytes = ret_result};
    int r = CVY_TAKE_OPTS(&opts, options, call);
    if (r >= 0)
        r = CVY_CHECK_SWITCHES(call, {".detached", opts.detached});
    if (r >= 0)
        r = cvy_pool_enter(object, call, true, &pool);
    if (r >= 0)
        r = cvy_check_views(call, &arg, 1, 1);
    if (r < 0)
        return r;
    if (needs_submission(&opts))
        return apply_and_get(object, fn, arg, ret_result, &opts);
    struct covey_map_opts map_opts = {.size = sizeof map_opts,
                                      .timeout = opts.timeout,
                                      .time_limit = opts.time_limit,
                                      .soft_limit = opts.soft_limit,
                                      .memory_limit = opts.memory_limit,
                                      .detached = opts.detached};
    return cvy_gather(pool, fn, &work, &map_opts);
}
