/* SPDX-License-Identifier: MIT */
/* pool.c: making a pool, its private record, its size, its numbers.
 *
 * The object lies in the region and is held by its creator and by each worker process,
 * so that its memory is not given to others while a worker may still write to it. What
 * else the creator knows is private memory, reached from the object by its owner only:
 * a fork child that the program made finds another owner's word there. */
#include "pool/pool.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/opts.h"
#include "os/context.h"
#include "pool/worker.h"
#include "process/process.h"
#include "region/member.h"
#include "region/object.h"
#include "region/wait.h"

#define LISTED      64u /* pools */
#define LEAST_LINES 16u

static _Atomic uint32_t pools; /* made by this process, for names */

/* For the end of the process. The region alone points to the records otherwise, where no
 * leak checker looks; fork children inherit them. Who takes a pool out may use it. Lists
 * stay as long as the process: a walk needs no lock, which a fork might copy held. */
struct list {
    struct {
        _Atomic(struct cvy_pool *) pool;
        _Atomic uint32_t owner; /* of the pool; an earlier one's until that is listed */
    } entries[LISTED];
    _Atomic(struct list *) next;
};

static struct list listed;

/* Returns: whether there was room. */
static bool put_into(struct list *list, struct cvy_pool *pool)
{
    for (uint32_t i = 0; i < LISTED; i++) {
        struct cvy_pool *none = NULL;
        if (atomic_compare_exchange_strong(&list->entries[i].pool, &none, pool)) {
            atomic_store(&list->entries[i].owner, pool->owner);
            return true;
        }
    }
    return false;
}

/* The next list, which is made where there is none. NULL: no memory. */
static struct list *next_list(struct list *list)
{
    struct list *next = atomic_load(&list->next), *made;
    if (next || !(made = cvy_calloc(1, sizeof *made)))
        return next;
    if (atomic_compare_exchange_strong(&list->next, &next, made))
        return made;
    cvy_free(made);
    return next;
}

static bool enlist(struct cvy_pool *pool)
{
    struct list *list = &listed;
    while (list && !put_into(list, pool))
        list = next_list(list);
    return list != NULL;
}

static bool unlist(struct cvy_pool *pool)
{
    for (struct list *list = &listed; list; list = atomic_load(&list->next))
        for (uint32_t i = 0; i < LISTED; i++) {
            struct cvy_pool *expected = pool;
            if (atomic_load(&list->entries[i].pool) == pool &&
                atomic_compare_exchange_strong(&list->entries[i].pool, &expected, NULL))
                return true;
        }
    return false;
}

/* Nobody starts workers in place of those that end with the process. What a fork child
 * inherited is not written to, which would copy a page. */
static void stop_listed(struct list *list)
{
    for (uint32_t i = 0; i < LISTED; i++) {
        struct cvy_pool *pool = atomic_load(&list->entries[i].pool);
        if (!pool || atomic_load(&list->entries[i].owner) != cvy_member_owner() ||
            !atomic_compare_exchange_strong(&list->entries[i].pool, &pool, NULL))
            continue;
        if (pool->method != COVEY_THREAD)
            cvy_pool_stop_at_exit(pool);
        (void)enlist(pool);
    }
}

static void stop_all(void)
{
    for (struct list *list = &listed; list; list = atomic_load(&list->next))
        stop_listed(list);
}

/* As many as there are cores for them. */
static int count_workers(size_t *ret_workers)
{
    size_t cores = 0;
    int r = cvy_pool_share_of_cores(&cores);
    if (r >= 0 && !cores)
        r = covey_cpu_count(&cores);
    *ret_workers = cvy_min_size(cores, CVY_POOL_WORKERS);
    return r;
}

static int take_options(struct covey_pool_opts *opts,
                        const struct covey_pool_opts *from, size_t *workers)
{
    static const char call[] = "covey_pool_create";
    int r = CVY_TAKE_OPTS(opts, from, call);
    if (r >= 0)
        r = CVY_CHECK_SWITCHES(call, {".own_loop", opts->own_loop},
                               {".measure", opts->measure});
    if (r < 0)
        return r;
    if (opts->name && (!opts->name[0] || strlen(opts->name) > 63))
        return cvy_fail(-EINVAL, "%s: the name has %zu bytes, 1 to 63 are possible",
                        call, strlen(opts->name));
    if ((opts->initarg.size && !opts->initarg.data) ||
        (opts->exitarg.size && !opts->exitarg.data))
        return cvy_fail(-EINVAL, "%s: an argument is NULL", call);
    if (opts->max_workers && opts->max_workers < *workers)
        return cvy_fail(-EINVAL, "%s: %zu workers, and at most %zu", call, *workers,
                        opts->max_workers);
    if (opts->max_age < 0 || opts->idle_timeout < 0 ||
        (opts->min_workers && !opts->idle_timeout))
        return cvy_fail(-EINVAL,
                        "%s: `max_age` and `idle_timeout` are times, and `min_workers` "
                        "means nothing without the latter",
                        call);
    if (opts->cpus && strlen(opts->cpus) > 63)
        return cvy_fail(-EINVAL, "%s: `cpus` has more than 63 bytes", call);
    if (opts->method == COVEY_DEFAULT_METHOD) {
        r = covey_get_start_method(0, &opts->method);
        if (r < 0)
            return r;
    }
    if (!covey_start_method_name(opts->method))
        return cvy_fail(-EINVAL, "%s: there is no start method %d", call,
                        (int)opts->method);
    if (!*workers) {
        r = count_workers(workers);
        if (r < 0)
            return r;
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
    if (pool->is_listed && !unlist(pool))
        return; /* the process ends, and looks at it */
    cvy_tasks_free(pool);
    (void)pthread_mutex_destroy(&pool->lock);
    (void)pthread_mutex_destroy(&pool->stopping);
    (void)pthread_mutex_destroy(&pool->turn);
    (void)pthread_cond_destroy(&pool->changed);
    for (uint32_t i = 0; i < CVY_POOL_BATCHES; i++) {
        cvy_free(pool->rooms[i].marks);
        cvy_free(pool->rooms[i].cookies);
    }
    cvy_free(pool->worker);
    cvy_free(pool->ranges);
    cvy_free(pool);
}

void cvy_pool_unref(struct cvy_pool *pool)
{
    (void)pthread_mutex_lock(&pool->lock);
    uint32_t left = --pool->refs;
    (void)pthread_mutex_unlock(&pool->lock);
    if (!left)
        free_private(pool);
}

bool cvy_pool_visit(struct cvy_pool *pool)
{
    (void)pthread_mutex_lock(&pool->lock);
    bool is_there = pool->object != NULL;
    pool->visits += is_there;
    (void)pthread_mutex_unlock(&pool->lock);
    return is_there;
}

void cvy_pool_leave(struct cvy_pool *pool)
{
    (void)pthread_mutex_lock(&pool->lock);
    if (!--pool->visits)
        (void)pthread_cond_broadcast(&pool->changed);
    (void)pthread_mutex_unlock(&pool->lock);
}

/* For waits with a deadline of covey's clock. */
static void init_changed(struct cvy_pool *pool)
{
    pthread_condattr_t attributes;
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&pool->changed, &attributes);
    (void)pthread_condattr_destroy(&attributes);
}

void cvy_pool_await_change_until(struct cvy_pool *pool, int64_t deadline)
{
    struct timespec time = {deadline / COVEY_SEC(1), deadline % COVEY_SEC(1)};
    int cancel;
    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
    (void)pthread_cond_timedwait(&pool->changed, &pool->lock, &time);
    (void)pthread_setcancelstate(cancel, NULL);
}

/* How many lines there are to be, which a resize can use. */
static uint32_t capacity_for(size_t workers, size_t most)
{
    if (!most)
        most = cvy_max_size(4 * workers, LEAST_LINES);
    return (uint32_t)cvy_min_size(cvy_max_size(most, workers), CVY_POOL_WORKERS);
}

static void take_staff(struct cvy_pool *pool, const struct covey_pool_opts *opts)
{
    struct cvy_staff *staff = &pool->staff;
    staff->max_age = opts->max_age;
    staff->max_memory = opts->max_memory;
    staff->relieves = opts->max_age || opts->max_memory || opts->max_tasks;
    staff->idle_timeout = opts->idle_timeout;
    staff->least = (uint32_t)cvy_max_size(opts->min_workers, 1);
    staff->due = INT64_MAX;
    /* All may begin their last tasks, or be on their way out, at the same time. */
    pool->lines = 2 * pool->capacity;
}

static struct cvy_pool *new_private(size_t workers, const struct covey_pool_opts *opts)
{
    struct cvy_pool *pool = cvy_calloc(1, sizeof *pool);
    if (!pool)
        return NULL;
    (void)pthread_mutex_init(&pool->lock, NULL);
    (void)pthread_mutex_init(&pool->stopping, NULL);
    (void)pthread_mutex_init(&pool->turn, NULL);
    init_changed(pool);
    pool->refs = 1;
    pool->next_look = INT64_MAX;
    pool->target = pool->workers = (uint32_t)workers;
    pool->capacity = capacity_for(workers, opts->max_workers);
    take_staff(pool, opts);
    pool->faults = opts->faults;
    pool->backlog = opts->backlog;
    pool->memory = opts->memory;
    pool->measures = opts->measure == COVEY_ON;
    if (opts->cpus)
        (void)snprintf(pool->cpus, sizeof pool->cpus, "%s", opts->cpus);
    pool->method = opts->method;
    pool->retries = opts->retries;
    memcpy(pool->holds, opts->holds, sizeof pool->holds);
    if (opts->name)
        (void)snprintf(pool->name, sizeof pool->name, "%s", opts->name);
    else
        (void)snprintf(pool->name, sizeof pool->name, "Pool-%u", ++pools);
    pool->worker = cvy_calloc(pool->lines, sizeof *pool->worker);
    pool->ranges =
        cvy_calloc(2 * (size_t)pool->lines + CVY_POOL_ORPHANS, sizeof *pool->ranges);
    for (uint32_t i = 0; pool->worker && i < workers; i++)
        pool->worker[i].is_wanted = true;
    pool->owner = cvy_member_owner();
    cvy_exit_set_before_daemons(stop_all);
    pool->is_listed = enlist(pool);
    if (pool->is_listed && pool->worker && pool->ranges)
        return pool;
    free_private(pool);
    return NULL;
}

/* What a worker runs before and after its tasks; the bytes lie behind the lines. */
static int set_hook(covey_target_fn *fn, struct covey_view arg, struct cvy_code *code,
                    uint32_t *ret_has, uint64_t *ret_arg, uint64_t *ret_size, char *to)
{
    if (!fn)
        return 0;
    int r = cvy_code_encode((cvy_code_fn *)fn, code);
    if (r < 0)
        return cvy_fail_os(r, "covey_pool_create: the initializer or exit hook");
    if (arg.size)
        memcpy(to, arg.data, arg.size);
    *ret_has = 1;
    *ret_arg = cvy_distance(to);
    *ret_size = arg.size;
    return 0;
}

static int set_hooks(struct cvy_pool *pool, const struct covey_pool_opts *opts,
                     char *to)
{
    struct cvy_pool_hooks *hooks = &pool->shared->hooks;
    size_t cores = 0;
    hooks->fd = -1;
    int r = cvy_pool_share_of_cores(&cores);
    if (r < 0)
        return r;
    hooks->cores = (uint32_t)cores;
    hooks->signals = cvy_os_blocked_signals();
    hooks->max_tasks = (uint32_t)cvy_min_size(opts->max_tasks, UINT32_MAX);
    r = set_hook(opts->initializer, opts->initarg, &hooks->init, &hooks->has_init,
                 &hooks->init_arg, &hooks->init_size, to);
    if (r >= 0)
        r = set_hook(opts->exit_hook, opts->exitarg, &hooks->exit, &hooks->has_exit,
                     &hooks->exit_arg, &hooks->exit_size,
                     to + cvy_round_up(opts->initarg.size, 16));
    return r;
}

static int new_object(struct cvy_pool *pool, const struct covey_pool_opts *opts)
{
    void *object = NULL;
    cvy_ref shared = 0;
    uint64_t lines = sizeof(struct cvy_pool_shared) +
                     pool->lines * (uint64_t)sizeof(struct cvy_pool_line);
    uint64_t size = lines + cvy_round_up(opts->initarg.size, 16) + opts->exitarg.size;
    int r = cvy_object_create(CVY_KIND_POOL, sizeof(struct covey_pool),
                              CVY_OBJECT_PRIVATE, size, &object, &shared);
    if (r < 0)
        return r;
    pool->object = object;
    pool->shared = cvy_at(shared);
    memset((void *)pool->shared, 0, lines);
    atomic_store(&pool->shared->workers, pool->workers);
    atomic_store(&pool->shared->counts.target, pool->target);
    pool->object->owner = cvy_member_owner();
    pool->object->state = (uint64_t)(uintptr_t)pool;
    pool->object->shared = shared;
    return set_hooks(pool, opts, (char *)pool->shared + lines);
}

/* Somebody has to look also while nobody waits for tasks. */
static int watch_staff(struct cvy_pool *pool, covey_pool **out)
{
    const struct cvy_staff *staff = &pool->staff;
    bool is_needed = staff->max_age || staff->max_memory || staff->idle_timeout;
    int r = is_needed ? cvy_tasks_begin(pool) : 0;
    if (r >= 0 && is_needed)
        r = cvy_watcher_start(pool);
    if (r < 0) {
        char detail[CVY_DETAIL_SIZE];
        (void)snprintf(detail, sizeof detail, "%s", covey_error_detail());
        covey_pool_free(pool->object);
        return cvy_fail(r, "%s", detail);
    }
    (void)pthread_mutex_lock(&pool->lock);
    cvy_staff_look(pool);
    int64_t due = pool->staff.due;
    (void)pthread_mutex_unlock(&pool->lock);
    cvy_loop_look_by(pool, due);
    *out = pool->object;
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
    r = new_object(pool, &opts);
    if (r >= 0)
        r = cvy_trace_open(pool, opts.trace);
    if (r >= 0 && opts.own_loop == COVEY_ON)
        r = cvy_loop_create(pool);
    if (r >= 0)
        r = cvy_pool_start_workers(pool);
    if (r >= 0)
        return watch_staff(pool, out);
    if (pool->object) {
        char detail[CVY_DETAIL_SIZE];
        (void)snprintf(detail, sizeof detail, "%s", covey_error_detail());
        cvy_pool_stop_workers(pool, 0);
        (void)cvy_object_release(pool->object);
        (void)cvy_fail(r, "%s", detail);
    }
    cvy_trace_close(pool);
    cvy_loop_free(pool);
    free_private(pool);
    return r;
}

int cvy_pool_enter(covey_pool *object, const char *call, bool open,
                   struct cvy_pool **ret_pool)
{
    int r = cvy_enter();
    if (r < 0)
        return r;
    r = cvy_object_check(object, CVY_KIND_POOL, call);
    if (r < 0)
        return r;
    if (object->owner != cvy_member_owner())
        return cvy_fail(COVEY_ENOTOWNER, "%s: another process created the pool", call);
    struct cvy_pool *pool = cvy_pool_of(object);
    if (open && atomic_load(&pool->state) != CVY_POOL_OPEN)
        return cvy_fail(COVEY_ECLOSED, "%s: %s is closed", call, pool->name);
    *ret_pool = pool;
    return 0;
}

/* ---- size ---- */

int covey_pool_resize(covey_pool *object, size_t workers)
{
    static const char call[] = "covey_pool_resize";
    struct cvy_pool *pool = NULL;
    int r = cvy_pool_enter(object, call, true, &pool);
    if (r < 0)
        return r;
    if (!workers || workers > pool->capacity)
        return cvy_fail(-EINVAL, "%s: %zu workers, 1 to %u are possible", call, workers,
                        pool->capacity);
    (void)pthread_mutex_lock(&pool->lock);
    r = cvy_staff_resize(pool, (uint32_t)workers);
    (void)pthread_mutex_unlock(&pool->lock);
    return r;
}

/* ---- numbers ---- */

static uint64_t count(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

int covey_pool_histogram(covey_pool *object, enum covey_pool_time which,
                         uint64_t ret_counts[COVEY_HISTOGRAM_SIZE])
{
    static const char call[] = "covey_pool_histogram";
    int r = cvy_enter();
    if (r >= 0)
        r = cvy_object_check(object, CVY_KIND_POOL, call);
    if (r >= 0 && ((unsigned)which > COVEY_TIME_FETCH || !ret_counts))
        r = cvy_fail(-EINVAL, "%s: time %d, or nowhere to put its counts", call,
                     (int)which);
    if (r < 0)
        return r;
    const struct cvy_pool_shared *shared = cvy_at(object->shared);
    for (int i = 0; i < COVEY_HISTOGRAM_SIZE; i++)
        ret_counts[i] = count(&shared->times.counts[which][i]);
    return 0;
}

int covey_pool_stats(covey_pool *object, struct covey_pool_stats *ret_stats)
{
    static const char call[] = "covey_pool_stats";
    int r = cvy_enter();
    if (r >= 0)
        r = cvy_object_check(object, CVY_KIND_POOL, call);
    if (r >= 0 && !ret_stats)
        r = cvy_fail(-EINVAL, "%s: ret_stats is NULL", call);
    if (r < 0)
        return r;
    const struct cvy_pool_shared *shared = cvy_at(object->shared);
    const struct cvy_pool_counts *counts = &shared->counts;
    *ret_stats = (struct covey_pool_stats){
        .workers = count(&counts->target),
        .submitted = count(&counts->submitted),
        .queued = count(&counts->queued),
        .running = count(&counts->running),
        .done = count(&counts->done),
        .failed = count(&counts->failed),
        .crashes = count(&counts->crashes),
        .retried = count(&counts->retried),
        .restarts = count(&counts->restarts),
        .bytes_in = count(&counts->bytes_in),
        .bytes_out = count(&counts->bytes_out),
    };
    return 0;
}
