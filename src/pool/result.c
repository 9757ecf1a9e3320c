/* SPDX-License-Identifier: MIT */
/* result.c: submissions and what comes of them.
 *
 *   PENDING --(its last task)--> DONE --(callback returned)--> READY
 *                                  \--(there is none)---------/
 *
 * A result is private memory of the process that submitted. The program and the pool have a
 * reference each; with the last one it goes. It outlives its pool. */
#include "pool/result.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/opts.h"
#include "pool/limits.h"
#include "region/member.h"
#include "region/wait.h"

#define MAGIC         0x72657331u
#define PRIORITY_MOST 100
#define AGE_STEP      COVEY_SEC(1)

/* ---- making ---- */

static struct covey_result *new_result(struct cvy_pool *pool, const char *call,
                                       covey_task_fn *fn, size_t bytes)
{
    struct covey_result *result = cvy_calloc(1, sizeof *result + bytes);
    if (!result) {
        (void)cvy_fail(-ENOMEM, "%s: no memory for a result", call);
        return NULL;
    }
    result->magic = MAGIC;
    result->owner = cvy_member_owner();
    result->pool = pool;
    atomic_store(&result->refs, 1);
    result->fn = fn;
    result->submitted = cvy_os_now();
    result->deadline = INT64_MAX;
    result->work.call = call;
    result->work.given = result->submitted;
    result->work.sum.first_failed = SIZE_MAX;
    result->report.backtrace = result->report.text = "";
    (void)pthread_mutex_lock(&pool->lock);
    pool->refs++;
    (void)pthread_mutex_unlock(&pool->lock);
    return result;
}

void cvy_result_unref(struct covey_result *result)
{
    if (atomic_fetch_sub(&result->refs, 1) > 1)
        return;
    result->magic = 0;
    cvy_pool_unref(result->pool);
    if (result->keeps_array)
        cvy_free(result->work.out);
    covey_bytes_free(&result->bytes);
    cvy_free(result->backtrace);
    cvy_free(result);
}

struct wishes {
    int64_t time, soft, timeout, duplicate;
    uint64_t memory;
    int priority;
    uint64_t group;
    covey_done_fn *callback, *error_callback;
    void *ctx;
    bool detached;
};

static int take_wishes(struct covey_result *result, const struct wishes *wishes)
{
    if (wishes->priority < -PRIORITY_MOST || wishes->priority > PRIORITY_MOST)
        return cvy_fail(-EINVAL, "%s: priority %d, -%d to %d are possible",
                        result->work.call, wishes->priority, PRIORITY_MOST,
                        PRIORITY_MOST);
    result->limits = (struct cvy_limits){.time = wishes->time,
                                         .soft = wishes->soft,
                                         .duplicate = wishes->duplicate,
                                         .memory = wishes->memory};
    int r = cvy_limits_refuse(result->work.call, &result->limits);
    if (r < 0)
        return r;
    result->key = result->submitted - wishes->priority * AGE_STEP;
    cvy_bounds_take(&result->bounds, wishes->timeout, wishes->detached);
    result->deadline = result->bounds.deadline;
    result->group = wishes->group;
    result->callback = wishes->callback;
    result->error_callback = wishes->error_callback;
    result->callback_ctx = wishes->ctx;
    return 0;
}

static int take_memory(struct covey_result *result, const struct covey_task_opts *opts)
{
    const struct cvy_pool *pool = result->pool;
    const char *call = result->work.call;
    if (pool->memory && opts->memory > pool->memory)
        return cvy_fail(-EINVAL, "%s: the task declares %llu bytes, %s has %llu", call,
                        (unsigned long long)opts->memory, pool->name,
                        (unsigned long long)pool->memory);
    if (opts->memory_growth && (opts->memory_growth < 2 || !opts->memory_limit))
        return cvy_fail(-EINVAL,
                        "%s: `.memory_growth` is %u; it is a factor of at least 2 for "
                        "`.memory_limit`",
                        call, opts->memory_growth);
    result->memory = opts->memory;
    result->growth = opts->memory_growth;
    return 0;
}

static int take_affinity(struct covey_result *result,
                         const struct covey_task_opts *opts)
{
    if (opts->affinity_wait < 0 || (opts->affinity_wait && !opts->affinity))
        return cvy_fail(-EINVAL,
                        "%s: `.affinity_wait` is a time, and means nothing without "
                        "`.affinity`",
                        result->work.call);
    result->affinity = (struct cvy_affinity){opts->affinity, opts->affinity_wait};
    return 0;
}

/* In the pool, which stays meanwhile. */
static int submit_visiting(struct covey_result *result)
{
    struct cvy_pool *pool = result->pool;
    int r = cvy_tasks_begin(pool);
    if (r >= 0)
        r = cvy_watcher_start(pool);
    if (r >= 0)
        r = cvy_tasks_submit(pool, result);
    if (r < 0)
        return r;
    (void)cvy_tasks_step(pool, false);
    cvy_loop_look_by(pool, cvy_tasks_due(pool));
    cvy_loop_begin_slice(pool);
    return 0;
}

/* The program's reference goes to `out`, or nowhere. */
static int submit(struct covey_result *result, int r, covey_result **out)
{
    if (r >= 0 && !cvy_pool_visit(result->pool)) {
        r = cvy_fail(COVEY_EFREED, "%s: the pool is being freed", result->work.call);
    } else if (r >= 0) {
        r = submit_visiting(result);
        cvy_pool_leave(result->pool);
    }
    if (r >= 0 && out)
        *out = result;
    else
        cvy_result_unref(result);
    return r;
}

/* What every submission looks at first. */
static int enter_pool(covey_pool *object, const char *call, covey_task_fn *fn,
                      struct cvy_pool **ret_pool)
{
    struct cvy_code code;
    int r = cvy_pool_enter(object, call, true, ret_pool);
    if (r < 0)
        return r;
    if (!fn)
        return cvy_fail(-EINVAL, "%s: the function is NULL", call);
    r = cvy_code_encode((cvy_code_fn *)fn, &code);
    return r < 0 ? cvy_fail_os(r, "%s: the function", call) : 0;
}

int covey_pool_apply_async(covey_result **out, covey_pool *object, covey_task_fn *fn,
                           struct covey_view arg, const struct covey_task_opts *options)
{
    static const char call[] = "covey_pool_apply_async";
    struct covey_task_opts opts;
    struct cvy_pool *pool = NULL;
    int r = CVY_TAKE_OPTS(&opts, options, call);
    if (r >= 0)
        r = CVY_CHECK_SWITCHES(call, {".detached", opts.detached});
    if (r >= 0)
        r = enter_pool(object, call, fn, &pool);
    if (r >= 0 && arg.size && !arg.data)
        r = cvy_fail(-EINVAL, "%s: the argument is NULL", call);
    if (r < 0)
        return r;
    bool in_place = cvy_is_in_region(arg.data, arg.size);
    struct covey_result *result = new_result(pool, call, fn, in_place ? 0 : arg.size);
    if (!result)
        return -ENOMEM;
    result->arg = arg;
    if (!in_place && arg.size) {
        result->arg.data = result + 1;
        memcpy(result + 1, arg.data, arg.size);
    }
    result->work.n = 1;
    result->work.views = &result->arg;
    result->work.bytes = &result->bytes;
    struct wishes wishes = {opts.time_limit,
                            opts.soft_limit,
                            opts.timeout,
                            opts.duplicate_after,
                            opts.memory_limit,
                            opts.priority,
                            opts.group,
                            opts.callback,
                            opts.error_callback,
                            opts.callback_ctx,
                            opts.detached == COVEY_ON};
    r = take_wishes(result, &wishes);
    if (r >= 0)
        r = take_memory(result, &opts);
    if (r >= 0)
        r = take_affinity(result, &opts);
    return submit(result, r, out);
}

static int take_map_opts(struct covey_result *result, const struct covey_map_opts *opts)
{
    struct wishes wishes = {opts->time_limit,
                            opts->soft_limit,
                            opts->timeout,
                            opts->duplicate_after,
                            opts->memory_limit,
                            opts->priority,
                            opts->group,
                            opts->callback,
                            opts->error_callback,
                            opts->callback_ctx,
                            opts->detached == COVEY_ON};
    result->work.outcomes = opts->outcomes;
    result->summary = opts->summary;
    return take_wishes(result, &wishes);
}

/* Nothing to do is ready at once, and no callback is called, as in Python. */
static int finish_empty(struct covey_result *result, covey_result **out)
{
    (void)cvy_result_settle(result);
    atomic_store(&result->state, CVY_RESULT_READY);
    if (out)
        *out = result;
    else
        cvy_result_unref(result);
    return 0;
}

/* What covey_pool_map takes, and the result. NOLINTNEXTLINE(readability-function-size) */
int covey_pool_map_async(covey_result **out_result, covey_pool *object,
                         covey_task_fn *fn, const void *in, size_t in_size, void *out,
                         size_t out_size, size_t n,
                         const struct covey_map_opts *options)
{
    static const char call[] = "covey_pool_map_async";
    struct covey_map_opts opts;
    struct cvy_pool *pool = NULL;
    size_t in_bytes = 0, out_bytes = 0;
    int r = CVY_TAKE_OPTS(&opts, options, call);
    if (r >= 0)
        r = CVY_CHECK_SWITCHES(call, {".detached", opts.detached});
    if (r >= 0)
        r = enter_pool(object, call, fn, &pool);
    if (r >= 0 && n && in_size && !in)
        r = cvy_fail(-EINVAL, "%s: `in` is NULL and `in_size` is %zu", call, in_size);
    if (r >= 0 && (__builtin_mul_overflow(n, in_size, &in_bytes) ||
                   __builtin_mul_overflow(n, out_size, &out_bytes)))
        r = cvy_fail(-EINVAL, "%s: %zu items do not fit into memory", call, n);
    if (r < 0)
        return r;
    struct covey_result *result = new_result(pool, call, fn, 0);
    if (!result)
        return -ENOMEM;
    r = take_map_opts(result, &opts);
    result->work.n = n;
    result->work.in = in;
    result->work.in_size = in_size;
    result->work.out = out;
    result->work.out_size = out_size;
    if (!out && out_bytes) {
        result->work.out = cvy_malloc(out_bytes);
        result->keeps_array = true;
        if (!result->work.out)
            r = cvy_fail(-ENOMEM, "%s: no memory for %zu results", call, n);
    }
    return n || r < 0 ? submit(result, r, out_result)
                      : finish_empty(result, out_result);
}

int covey_pool_starmap_async(covey_result **out_result, covey_pool *object,
                             covey_task_fn *fn, const struct covey_view *in,
                             size_t width, struct covey_bytes *out, size_t n,
                             const struct covey_map_opts *options)
{
    static const char call[] = "covey_pool_starmap_async";
    struct covey_map_opts opts;
    struct cvy_pool *pool = NULL;
    int r = CVY_TAKE_OPTS(&opts, options, call);
    if (r >= 0)
        r = CVY_CHECK_SWITCHES(call, {".detached", opts.detached});
    if (r >= 0)
        r = enter_pool(object, call, fn, &pool);
    if (r >= 0)
        r = cvy_check_views(call, in, width, n);
    if (r < 0)
        return r;
    struct covey_result *result = new_result(pool, call, fn, 0);
    if (!result)
        return -ENOMEM;
    r = take_map_opts(result, &opts);
    result->work.n = n;
    result->work.views = in;
    result->work.width = width > 1 ? (uint32_t)width : 0;
    result->work.bytes = out;
    return n || r < 0 ? submit(result, r, out_result)
                      : finish_empty(result, out_result);
}

/* ---- what comes of it; with the turn ---- */

void cvy_result_put(struct covey_result *result, const struct cvy_done *done)
{
    struct covey_task_report *report = &result->report;
    uint64_t failed = result->work.sum.failed;
    cvy_work_put(&result->work, done->cookie.index, done);
    bool counts =
        result->work.n == 1 || (result->work.sum.failed > failed &&
                                result->work.sum.first_failed == done->cookie.index);
    if (!counts)
        return;
    unsigned more_runs = result->more_runs + done->more_runs;
    report->tries = more_runs + (done->line ? 1 : 0);
    if (done->attempt.deaths) {
        report->tries = more_runs + done->attempt.deaths +
                        (done->outcome != COVEY_OUTCOME_CRASHED &&
                         done->outcome != COVEY_OUTCOME_CANCELLED);
        report->exitcode = done->attempt.exitcode;
        cvy_free(result->backtrace);
        result->backtrace = NULL;
        if (done->attempt.backtrace) {
            size_t size = strlen(done->attempt.backtrace) + 1;
            result->backtrace = cvy_malloc(size);
            if (result->backtrace)
                memcpy(result->backtrace, done->attempt.backtrace, size);
        }
    }
    report->pid = done->pid;
    report->peak = done->peak;
    if (done->started) {
        report->wait = done->started - result->submitted;
        report->run =
            (done->ended > done->started ? done->ended : cvy_os_now()) - done->started;
    }
}

bool cvy_result_settle(struct covey_result *result)
{
    struct cvy_work *work = &result->work;
    struct covey_task_report *report = &result->report;
    result->code = cvy_work_judge(work);
    if (result->code < 0) {
        (void)snprintf(result->text, sizeof result->text, "%.250s",
                       covey_error_detail());
        report->outcome = (enum covey_outcome)work->first_outcome;
        if (report->outcome == COVEY_OUTCOME_LOST)
            (void)snprintf(result->text, sizeof result->text,
                           "%s: workers keep dying: %.180s", work->call,
                           result->pool->cause);
    } else {
        report->outcome = COVEY_OUTCOME_OK;
    }
    report->code = result->code;
    report->text = result->text;
    report->backtrace = result->backtrace ? result->backtrace : "";
    if (result->summary)
        *result->summary = work->sum;
    return result->code < 0 ? result->error_callback != NULL : result->callback != NULL;
}

/* ---- asking ---- */

static int enter(struct covey_result *result, const char *call)
{
    int r = cvy_enter();
    if (r < 0)
        return r;
    if (!result || result->magic != MAGIC)
        return cvy_fail(-EINVAL, "%s: %p is no result", call, (void *)result);
    if (result->owner != cvy_member_owner())
        return cvy_fail(COVEY_ENOTOWNER, "%s: another process submitted the task",
                        call);
    return 0;
}

bool cvy_result_is_ready(const struct covey_result *result)
{
    uint32_t state = atomic_load(&result->state);
    return state == CVY_RESULT_READY ||
           (state == CVY_RESULT_DONE && cvy_watcher_is_me(result->pool));
}

/* Where an event loop drives the pool, who waits does its work meanwhile. */
static bool step(struct cvy_pool *pool, bool slice)
{
    bool any = cvy_tasks_step(pool, slice);
    if (pool->loop && !cvy_watcher_is_me(pool))
        any = cvy_watcher_call_back(pool) || any;
    return any;
}

static int await_visiting(const struct covey_result *result, covey_nsec timeout,
                          const char *call)
{
    struct cvy_pool *pool = result->pool;
    struct cvy_spin spin = {0};
    bool slice = false;
    int64_t deadline = cvy_os_deadline(timeout);
    struct cvy_map *map = cvy_tasks_map(pool);
    while (!cvy_result_is_ready(result)) {
        uint32_t gong = cvy_gong(), seen = atomic_load(cvy_map_ring(map));
        bool any = step(pool, slice);
        slice = false;
        if (cvy_result_is_ready(result))
            break;
        if (deadline != INT64_MAX && cvy_os_now() >= deadline)
            return cvy_fail(-ETIMEDOUT, "%s: the result of %s is not ready", call,
                            result->work.call);
        if (any || cvy_spin(&spin))
            continue;
        slice =
            cvy_map_sleep(map, seen, gong, cvy_min_i64(deadline, cvy_tasks_due(pool)));
    }
    return 0;
}

/* When the pool has gone all are ready. */
static int await(const struct covey_result *result, covey_nsec timeout,
                 const char *call)
{
    if (cvy_result_is_ready(result) || !cvy_pool_visit(result->pool))
        return 0;
    int r = await_visiting(result, timeout, call);
    cvy_pool_leave(result->pool);
    return r;
}

int covey_result_wait(covey_result *result, covey_nsec timeout)
{
    static const char call[] = "covey_result_wait";
    int r = enter(result, call);
    return r < 0 ? r : await(result, timeout, call);
}

static int copy(struct covey_bytes *to, const void *data, size_t size)
{
    int r = covey_bytes_resize(to, size);
    if (r < 0)
        return cvy_fail(r, "covey_result_get: no memory for %zu bytes", size);
    if (size)
        memcpy(to->data, data, size);
    return 0;
}

int covey_result_get(covey_result *result, struct covey_bytes *ret_bytes,
                     covey_nsec timeout)
{
    static const char call[] = "covey_result_get";
    int r = enter(result, call);
    if (r >= 0)
        r = await(result, timeout, call);
    if (r < 0)
        return r;
    const struct cvy_work *work = &result->work;
    if (ret_bytes && result->keeps_array)
        r = copy(ret_bytes, work->out, (size_t)work->n * work->out_size);
    else if (ret_bytes && result->code >= 0)
        r = copy(ret_bytes, result->bytes.data, result->bytes.size);
    if (r >= 0 && result->code < 0)
        r = cvy_fail(result->code, "%s", result->text);
    return r;
}

int covey_result_ready(covey_result *result)
{
    int r = enter(result, "covey_result_ready");
    return r < 0 ? r : cvy_result_is_ready(result);
}

int covey_result_successful(covey_result *result)
{
    static const char call[] = "covey_result_successful";
    int r = enter(result, call);
    if (r >= 0 && !cvy_result_is_ready(result))
        r = cvy_fail(COVEY_ESTATE, "%s: the result of %s is not ready", call,
                     result->work.call);
    return r < 0 ? r : result->code >= 0;
}

int covey_result_cancel(covey_result *result, int running)
{
    static const char call[] = "covey_result_cancel";
    int r = enter(result, call);
    if (r < 0)
        return r;
    if (!cvy_result_is_ready(result) &&
        cvy_tasks_cancel(result->pool, result, COVEY_OUTCOME_CANCELLED,
                         running ? COVEY_OUTCOME_CANCELLED : COVEY_OUTCOME_NONE))
        return 0;
    return cvy_fail(-EALREADY, "%s: it is done", call);
}

int covey_pool_cancel_group(covey_pool *object, uint64_t group, int running)
{
    static const char call[] = "covey_pool_cancel_group";
    struct cvy_pool *pool = NULL;
    int r = cvy_pool_enter(object, call, false, &pool);
    if (r < 0)
        return r;
    if (!group)
        return cvy_fail(-EINVAL, "%s: group 0 is no group", call);
    if (cvy_tasks_cancel_group(pool, group,
                               running ? COVEY_OUTCOME_CANCELLED : COVEY_OUTCOME_NONE))
        return 0;
    return cvy_fail(-EALREADY, "%s: nothing of group %llu is left", call,
                    (unsigned long long)group);
}

int covey_result_progress(covey_result *result, uint64_t *ret_done, uint64_t *ret_total)
{
    static const char call[] = "covey_result_progress";
    int r = enter(result, call);
    if (r >= 0 && (!ret_done || !ret_total))
        r = cvy_fail(-EINVAL, "%s: there is nowhere to put it", call);
    if (r >= 0)
        cvy_tasks_progress(result->pool, result, ret_done, ret_total);
    return r < 0 ? r : 0;
}

int covey_result_report(covey_result *result, struct covey_task_report *ret_report)
{
    static const char call[] = "covey_result_report";
    int r = enter(result, call);
    if (r >= 0 && !ret_report)
        r = cvy_fail(-EINVAL, "%s: ret_report is NULL", call);
    if (r >= 0 && !cvy_result_is_ready(result))
        r = cvy_fail(COVEY_ESTATE, "%s: the result of %s is not ready", call,
                     result->work.call);
    if (r >= 0)
        *ret_report = result->report;
    return r < 0 ? r : 0;
}

void covey_result_free(covey_result *result)
{
    if (result && enter(result, "covey_result_free") >= 0)
        cvy_result_unref(result);
}
