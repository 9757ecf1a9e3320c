/* SPDX-License-Identifier: MIT */
/* submit.c: tasks that nobody waits for.
 *
 *   submission -> heap --(pull)--> flow of the pool --> its result --> callback, ready
 *
 * The heap is private memory: what waits costs nothing in the region, can be taken back at
 * any time, and is in the order of priorities. Only what keeps the workers busy for a while
 * is in batches; tasks of the same function and limits share them. Whoever has the `turn`
 * feeds and collects: who submits, who waits for a result, the watcher, or the event loop.
 *
 * A key is the time of the submission minus a second per priority: so what waits ages
 * without anybody counting. */
#include "pool/submit.h"

#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "pool/limits.h"
#include "region/wait.h"

#define BACKLOG       100000u
#define BACKLOG_BYTES (UINT64_C(1) << 30)
#define FULL_TIME     COVEY_MSEC(50)

/* ---- the source ---- */

static bool is_like(const struct cvy_flow *flow, const struct covey_result *result)
{
    return flow->map.fn == result->fn && flow->width == result->work.width &&
           memcmp(&flow->limits, &result->limits, sizeof flow->limits) == 0 &&
           flow->affinity.key == result->affinity.key &&
           flow->affinity.wait == result->affinity.wait &&
           memcmp(flow->map.bounds.outers, result->bounds.outers,
                  sizeof result->bounds.outers) == 0;
}

/* Batches from now on are of this function. It was encoded once before. */
static void turn_to(struct cvy_flow *flow, const struct covey_result *result)
{
    if (flow->map.fn != result->fn)
        (void)cvy_code_encode((cvy_code_fn *)result->fn, &flow->map.code);
    cvy_flow_set_fn(flow, result->fn);
    flow->width = result->work.width;
    flow->limits = result->limits;
    flow->affinity = result->affinity;
    memcpy(flow->map.bounds.outers, result->bounds.outers,
           sizeof result->bounds.outers);
    if (cvy_limits_any(&result->limits))
        flow->map.pool->limited = true;
}

/* What declares nothing is always admitted, and never waits for memory itself. */
static bool is_admitted(const struct cvy_submissions *tasks,
                        const struct covey_result *result)
{
    uint64_t budget = tasks->flow.map.pool->memory;
    return !budget || !result->memory || tasks->memory + result->memory <= budget;
}

static int pull(void *ctx, struct cvy_item *ret_item)
{
    struct cvy_submissions *tasks = ctx;
    struct cvy_flow *flow = &tasks->flow;
    struct cvy_pool *pool = flow->map.pool;
    int r = 0;
    (void)pthread_mutex_lock(&pool->lock);
    struct covey_result *result = tasks->count ? tasks->heap[0] : NULL;
    if (result && (!flow->is_filling || is_like(flow, result)) &&
        is_admitted(tasks, result)) {
        if (!is_like(flow, result))
            turn_to(flow, result);
        r = cvy_work_pull(&result->work, ret_item);
        ret_item->cookie.owner = result;
        ret_item->deadline = result->bounds.deadline;
        tasks->waiting--;
        tasks->memory += result->memory;
        if (result->work.next == result->work.n)
            cvy_heap_remove(tasks, result);
    }
    (void)pthread_mutex_unlock(&pool->lock);
    return r;
}

/* ---- ends ---- */

void cvy_tasks_tell(struct cvy_pool *pool)
{
    cvy_pool_ring_map(pool, pool->tasks->flow.map.index);
}

/* With the turn, not locked. */
static void complete(struct cvy_submissions *tasks, struct covey_result *result)
{
    struct cvy_pool *pool = tasks->flow.map.pool;
    bool calls_back = cvy_result_settle(result);
    (void)pthread_mutex_lock(&pool->lock);
    if (result->previous)
        result->previous->next = result->next;
    else
        tasks->first = result->next;
    if (result->next)
        result->next->previous = result->previous;
    atomic_store(&result->state, calls_back ? CVY_RESULT_DONE : CVY_RESULT_READY);
    if (calls_back)
        cvy_watcher_queue(pool, result);
    (void)pthread_mutex_unlock(&pool->lock);
    cvy_tasks_tell(pool);
    if (!calls_back)
        cvy_result_unref(result);
}

void cvy_tasks_give_back(struct cvy_submissions *tasks, struct covey_result *result)
{
    tasks->flow.has_held = false;
    tasks->memory -= result->memory;
    result->work.next--;
    if (result->place)
        tasks->waiting++;
}

bool cvy_tasks_take_out(struct cvy_submissions *tasks,
                        const struct covey_result *result, uint64_t index,
                        enum covey_outcome outcome, enum covey_outcome running)
{
    struct cvy_flow *flow = &tasks->flow;
    struct cvy_pool *pool = flow->map.pool;
    bool any = false;
    for (uint32_t b = 0; b < flow->order_count; b++) {
        uint32_t slot = flow->order[b];
        const struct cvy_slot_room *room = &pool->rooms[slot];
        for (uint64_t i = 0; i < pool->slots[slot].n; i++)
            if (room->cookies[i].owner == result && !room->marks[i] &&
                (index == UINT64_MAX || room->cookies[i].index == index))
                any |= cvy_flow_cancel(pool, slot, i, outcome, running);
    }
    (void)cvy_pool_start_workers(pool);
    return any;
}

/* What was not pulled of a result is not begun any more. Returns: whether there was any. */
static bool skip_rest(struct cvy_submissions *tasks, struct covey_result *result,
                      enum covey_outcome outcome)
{
    uint64_t done = result->work.done;
    cvy_work_skip(&result->work, outcome);
    bool any = result->work.done > done;
    if (any && result->work.done == result->work.n)
        complete(tasks, result);
    return any;
}

/* An item that was not begun is over. */
static void end_item(struct cvy_submissions *tasks, struct cvy_done *done)
{
    struct covey_result *result = cvy_duplicate_judge(tasks, done);
    if (!result)
        return;
    cvy_result_put(result, done);
    if (result->work.done == result->work.n)
        complete(tasks, result);
}

/* A copy that was not begun is not begun any more. */
static void end_copy(struct cvy_submissions *tasks, struct covey_result *copy,
                     enum covey_outcome outcome)
{
    struct cvy_done done = {.cookie = {.owner = copy},
                            .outcome = (uint8_t)outcome,
                            .code = cvy_outcome_code((uint8_t)outcome),
                            .text = cvy_outcome_text((uint8_t)outcome)};
    end_item(tasks, &done);
}

/* There is no memory for the item that is held. Others may need less. */
static void refuse_held(struct cvy_submissions *tasks, int code)
{
    struct cvy_done done;
    cvy_flow_refuse(&tasks->flow, code, &done);
    tasks->memory -= ((const struct covey_result *)done.cookie.owner)->memory;
    end_item(tasks, &done);
}

/* What waits of it is not begun any more; what is out is ended if `running` says so. */
static bool take_back(struct cvy_submissions *tasks, struct covey_result *result,
                      enum covey_outcome outcome, enum covey_outcome running)
{
    struct cvy_flow *flow = &tasks->flow;
    struct cvy_pool *pool = flow->map.pool;
    struct covey_result *copy;
    result->growth = 0; /* nor is it tried again */
    atomic_fetch_add(&result->refs, 1);
    (void)pthread_mutex_lock(&pool->lock);
    result->is_canceled = true;
    cvy_heap_remove(tasks, result);
    if (flow->has_held && flow->held.cookie.owner == result)
        cvy_tasks_give_back(tasks, result); /* it is the last one that was pulled */
    bool any = cvy_duplicates_cancel(tasks, result, outcome, running);
    any |= cvy_tasks_take_out(tasks, result, UINT64_MAX, outcome, running);
    (void)pthread_mutex_unlock(&pool->lock);
    any |= skip_rest(tasks, result, outcome);
    while ((copy = cvy_duplicates_withdraw(tasks, result))) {
        end_copy(tasks, copy, outcome);
        any = true;
    }
    cvy_result_unref(result);
    return any;
}

/* A reference for the time in which a list is walked that changes meanwhile. */
static struct covey_result *first_over(struct cvy_submissions *tasks, int64_t now)
{
    struct cvy_pool *pool = tasks->flow.map.pool;
    struct covey_result *over = NULL;
    int64_t next = INT64_MAX;
    (void)pthread_mutex_lock(&pool->lock);
    for (struct covey_result *r = tasks->first; r && !over; r = r->next) {
        if (r->deadline <= now) {
            over = r;
            r->is_late = true;
            r->deadline = INT64_MAX;
        } else {
            next = cvy_min_i64(next, r->deadline);
        }
    }
    if (!over)
        tasks->next_deadline = next;
    (void)pthread_mutex_unlock(&pool->lock);
    return over;
}

static void check_deadlines(struct cvy_submissions *tasks)
{
    struct covey_result *result;
    int64_t now;
    if (tasks->next_deadline == INT64_MAX ||
        (now = cvy_os_now()) < tasks->next_deadline)
        return;
    while ((result = first_over(tasks, now)))
        (void)take_back(tasks, result, COVEY_OUTCOME_CANCELLED, COVEY_OUTCOME_TIMEOUT);
}

/* ---- driving; with the turn ---- */

/* Whether there is room for so many times more. */
static bool may_grow(const struct covey_result *result)
{
    const struct cvy_pool *pool = result->pool;
    uint64_t memory = 0, limit = 0;
    uint64_t most = pool->memory ? pool->memory : cvy_os_memory_limit() / 2;
    return !__builtin_mul_overflow(result->memory, result->growth, &memory) &&
           !__builtin_mul_overflow(result->limits.memory, result->growth, &limit) &&
           cvy_max_u64(memory, limit) <= most;
}

/* A task that took more memory than it was allowed may be worth another try with more.
 * Returns: whether it waits for that. */
static bool try_with_more(struct cvy_submissions *tasks, struct covey_result *result,
                          const struct cvy_done *done)
{
    struct cvy_pool *pool = tasks->flow.map.pool;
    if (cvy_likely(done->outcome != COVEY_OUTCOME_MEMORY) || !result->growth ||
        tasks->drops_all || !may_grow(result))
        return false;
    (void)pthread_mutex_lock(&pool->lock);
    result->work.next--;
    bool waits = cvy_heap_add(tasks, result) >= 0;
    if (waits) {
        result->memory *= result->growth;
        result->limits.memory *= result->growth;
        result->more_runs++;
    } else {
        result->work.next++;
    }
    (void)pthread_mutex_unlock(&pool->lock);
    return waits;
}

static bool collect(struct cvy_submissions *tasks)
{
    struct cvy_flow *flow = &tasks->flow;
    struct cvy_done done;
    bool any = false;
    while (cvy_flow_take(flow, &done)) {
        struct covey_result *result = done.cookie.owner;
        tasks->memory -= result->memory;
        result = cvy_duplicate_judge(tasks, &done);
        bool again = result && try_with_more(tasks, result, &done);
        if (result && !again)
            cvy_result_put(result, &done);
        if (!result)
            cvy_flow_uncount(flow, &done);
        cvy_flow_release(flow, &done);
        if (result && !again && result->work.done == result->work.n)
            complete(tasks, result);
        any = true;
    }
    return any;
}

static void end_waiting(struct cvy_submissions *tasks, struct covey_result *result,
                        enum covey_outcome outcome)
{
    if (result->is_copy)
        end_copy(tasks, result, outcome);
    else
        (void)skip_rest(tasks, result, outcome);
}

/* All of them, waiting or out. */
static void drop_all(struct cvy_submissions *tasks, enum covey_outcome outcome)
{
    struct cvy_flow *flow = &tasks->flow;
    struct covey_result *held = flow->has_held ? flow->held.cookie.owner : NULL;
    tasks->drops_all = true;
    if (held)
        cvy_tasks_give_back(tasks, held);
    cvy_flow_finish_out(flow, outcome, outcome);
    if (held && !held->place) /* nothing else of it waits */
        end_waiting(tasks, held, outcome);
    for (;;) {
        (void)pthread_mutex_lock(&flow->map.pool->lock);
        struct covey_result *result = tasks->count ? tasks->heap[0] : NULL;
        if (result)
            cvy_heap_remove(tasks, result);
        (void)pthread_mutex_unlock(&flow->map.pool->lock);
        if (!result)
            break;
        end_waiting(tasks, result, outcome);
    }
    (void)collect(tasks);
    tasks->drops_all = false;
}

static uint64_t count_left(const struct cvy_submissions *tasks)
{
    return tasks->flow.out + tasks->waiting + tasks->flow.has_held;
}

/* The pool goes, and what there is is CANCELLED; or the workers keep dying, it is LOST, and
 * what comes later tries anew. */
static bool give_up(struct cvy_submissions *tasks)
{
    struct cvy_pool *pool = tasks->flow.map.pool;
    if (!tasks->flow.map.give_up)
        return false;
    if (pool->closing) {
        uint64_t before = count_left(tasks);
        drop_all(tasks, COVEY_OUTCOME_CANCELLED);
        return count_left(tasks) < before;
    }
    drop_all(tasks, COVEY_OUTCOME_LOST);
    (void)pthread_mutex_lock(&pool->lock);
    tasks->flow.map.give_up = false;
    pool->barren = 0;
    (void)pthread_mutex_unlock(&pool->lock);
    return true;
}

static void count_queue(const struct cvy_submissions *tasks)
{
    struct cvy_pool_counts *counts = &tasks->flow.map.pool->shared->counts;
    atomic_store_explicit(&counts->queued, atomic_load(&tasks->waiting),
                          memory_order_relaxed);
    atomic_store_explicit(&counts->running, tasks->flow.out, memory_order_relaxed);
}

bool cvy_tasks_step(struct cvy_pool *pool, bool slice)
{
    struct cvy_submissions *tasks = pool->tasks;
    bool any = false;
    (void)pthread_mutex_lock(&pool->turn);
    if (atomic_load(&tasks->is_open)) {
        check_deadlines(tasks);
        any = collect(tasks);
        int fed = cvy_flow_feed(&tasks->flow);
        any = any || fed != 0;
        if (fed < 0)
            refuse_held(tasks, fed);
        if (!any || slice)
            cvy_map_look_after(&tasks->flow.map, slice);
        else
            cvy_map_look_meanwhile(&tasks->flow.map);
        if (!any)
            any = give_up(tasks);
        if (!any)
            cvy_map_call_all(&tasks->flow.map);
        if (!any || fed > 0 || pool->loop) /* the caller does not always step again */
            (void)cvy_flow_plan_look(&tasks->flow);
        count_queue(tasks);
    }
    bool starved = tasks->flow.is_starved && !tasks->flow.out;
    (void)pthread_mutex_unlock(&pool->turn);
    if (starved)
        cvy_iterators_relieve(pool);
    return any;
}

int64_t cvy_tasks_due(struct cvy_pool *pool)
{
    int64_t due = atomic_load(&pool->tasks->next_deadline);
    due = cvy_min_i64(due, atomic_load(&pool->tasks->flow.next_look));
    if (atomic_load(&pool->tasks->flow.is_starved))
        due = cvy_min_i64(due, cvy_os_now() + CVY_STARVED_TIME);
    return due;
}

struct cvy_map *cvy_tasks_map(struct cvy_pool *pool)
{
    return &pool->tasks->flow.map;
}

bool cvy_tasks_are_left(const struct cvy_pool *pool)
{
    return (pool->tasks && pool->tasks->first) || pool->callbacks || pool->calls_back;
}

/* ---- from outside ---- */

int cvy_tasks_begin(struct cvy_pool *pool)
{
    int r = 0;
    (void)pthread_mutex_lock(&pool->turn);
    if (!pool->tasks) {
        struct cvy_submissions *tasks = cvy_calloc(1, sizeof *tasks);
        r = tasks ? 0 : cvy_fail(-ENOMEM, "no memory for tasks");
        if (tasks) {
            cvy_flow_init(&tasks->flow, pool, NULL, pull, tasks);
            tasks->flow.is_mixed = true;
            tasks->flow.is_read = true;
            tasks->flow.map.call = "submitted tasks";
            tasks->next_deadline = INT64_MAX;
            r = cvy_map_begin(&tasks->flow.map);
        }
        if (r >= 0) {
            atomic_store(&tasks->is_open, true);
            pool->tasks = tasks;
        } else {
            cvy_free(tasks);
        }
    }
    (void)pthread_mutex_unlock(&pool->turn);
    return r;
}

static bool is_full(const struct cvy_pool *pool)
{
    const struct cvy_submissions *tasks = pool->tasks;
    return tasks->count &&
           (tasks->waiting >= (pool->backlog ? pool->backlog : BACKLOG) ||
            tasks->bytes >= BACKLOG_BYTES);
}

/* Back-pressure: who submits faster than tasks are done waits, and helps. */
static int help_until_room(struct cvy_pool *pool, const char *call)
{
    struct cvy_map *map = cvy_tasks_map(pool);
    for (;;) {
        uint32_t gong = cvy_gong(), seen = atomic_load(cvy_map_ring(map));
        bool any = cvy_tasks_step(pool, false);
        (void)pthread_mutex_lock(&pool->lock);
        bool full = is_full(pool), open = atomic_load(&pool->state) == CVY_POOL_OPEN;
        (void)pthread_mutex_unlock(&pool->lock);
        if (!open)
            return cvy_fail(COVEY_ECLOSED, "%s: the pool is closed", call);
        if (!full)
            return 0;
        if (cvy_watcher_is_me(pool))
            return cvy_fail(-EAGAIN, "%s: too many tasks wait", call);
        if (!any)
            (void)cvy_map_sleep(map, seen, gong, cvy_os_deadline(FULL_TIME));
    }
}

static int await_room(struct cvy_pool *pool, const char *call)
{
    if (!cvy_pool_visit(pool))
        return cvy_fail(COVEY_ECLOSED, "%s: the pool is closed", call);
    int r = help_until_room(pool, call);
    cvy_pool_leave(pool);
    return r;
}

int cvy_tasks_submit(struct cvy_pool *pool, struct covey_result *result)
{
    struct cvy_submissions *tasks = pool->tasks;
    int r = 0;
    (void)pthread_mutex_lock(&pool->lock);
    while (r >= 0 && is_full(pool)) {
        (void)pthread_mutex_unlock(&pool->lock);
        r = await_room(pool, result->work.call);
        (void)pthread_mutex_lock(&pool->lock);
    }
    if (r >= 0 && atomic_load(&pool->state) != CVY_POOL_OPEN)
        r = cvy_fail(COVEY_ECLOSED, "%s: the pool is closed", result->work.call);
    if (r >= 0)
        r = cvy_heap_add(tasks, result);
    if (r >= 0) {
        atomic_fetch_add(&result->refs, 1);
        result->next = tasks->first;
        if (tasks->first)
            tasks->first->previous = result;
        tasks->first = result;
        tasks->next_deadline = cvy_min_i64(tasks->next_deadline, result->deadline);
        cvy_count(&pool->shared->counts.submitted, result->work.n);
    }
    (void)pthread_mutex_unlock(&pool->lock);
    return r;
}

bool cvy_tasks_cancel(struct cvy_pool *pool, struct covey_result *result,
                      enum covey_outcome outcome, enum covey_outcome running)
{
    bool any = false;
    (void)pthread_mutex_lock(&pool->turn);
    if (atomic_load(&result->state) == CVY_RESULT_PENDING)
        any = take_back(pool->tasks, result, outcome, running);
    (void)pthread_mutex_unlock(&pool->turn);
    if (any)
        (void)cvy_tasks_step(pool, false);
    return any;
}

/* One of the group that has not been dealt with in this round. */
static struct covey_result *next_of_group(struct cvy_submissions *tasks, uint64_t group,
                                          uint64_t round)
{
    struct cvy_pool *pool = tasks->flow.map.pool;
    (void)pthread_mutex_lock(&pool->lock);
    struct covey_result *result = tasks->first;
    while (result && (result->group != group || result->round == round))
        result = result->next;
    if (result)
        result->round = round;
    (void)pthread_mutex_unlock(&pool->lock);
    return result;
}

bool cvy_tasks_cancel_group(struct cvy_pool *pool, uint64_t group,
                            enum covey_outcome running)
{
    struct covey_result *result;
    bool any = false;
    (void)pthread_mutex_lock(&pool->turn);
    struct cvy_submissions *tasks = pool->tasks;
    uint64_t round = tasks ? ++tasks->round : 0;
    while (tasks && (result = next_of_group(tasks, group, round)))
        if (atomic_load(&result->state) == CVY_RESULT_PENDING)
            any |= take_back(tasks, result, COVEY_OUTCOME_CANCELLED, running);
    (void)pthread_mutex_unlock(&pool->turn);
    if (any)
        (void)cvy_tasks_step(pool, false);
    return any;
}

/* Locked. Returns: false if its task has said nothing, or does not run. */
static bool find_said(struct cvy_submissions *tasks, const struct covey_result *result,
                      uint64_t *ret_done, uint64_t *ret_total)
{
    struct cvy_flow *flow = &tasks->flow;
    struct cvy_pool *pool = flow->map.pool;
    for (uint32_t b = 0; b < flow->order_count; b++) {
        uint32_t slot = flow->order[b];
        for (uint64_t i = 0; i < pool->slots[slot].n; i++)
            if (pool->rooms[slot].cookies[i].owner == result &&
                !pool->rooms[slot].marks[i])
                return cvy_limits_said(pool, slot, i, ret_done, ret_total);
    }
    return false;
}

void cvy_tasks_progress(struct cvy_pool *pool, const struct covey_result *result,
                        uint64_t *ret_done, uint64_t *ret_total)
{
    uint64_t done = 0, total = 0;
    (void)pthread_mutex_lock(&pool->turn);
    (void)pthread_mutex_lock(&pool->lock);
    bool has_said = result->work.n == 1 && !result->work.done && pool->tasks &&
                    find_said(pool->tasks, result, &done, &total);
    *ret_done = has_said ? done : result->work.done;
    *ret_total = has_said ? total : result->work.n;
    (void)pthread_mutex_unlock(&pool->lock);
    (void)pthread_mutex_unlock(&pool->turn);
}

void cvy_tasks_end(struct cvy_pool *pool)
{
    (void)pthread_mutex_lock(&pool->turn);
    struct cvy_submissions *tasks = pool->tasks;
    if (tasks && atomic_load(&tasks->is_open)) {
        struct cvy_map *map = &tasks->flow.map;
        drop_all(tasks, COVEY_OUTCOME_CANCELLED);
        tasks->drops_all = true;
        while (tasks->flow.out) { /* threads, which cannot be ended */
            uint32_t gong = cvy_gong(), seen = atomic_load(cvy_map_ring(map));
            cvy_map_look_after(map, false);
            if (!collect(tasks))
                (void)cvy_map_sleep(map, seen, gong, cvy_os_deadline(FULL_TIME));
        }
        (void)pthread_mutex_lock(&pool->lock);
        tasks->next_deadline = INT64_MAX; /* nobody looks any more */
        (void)pthread_mutex_unlock(&pool->lock);
        tasks->flow.next_look = INT64_MAX;
        tasks->flow.is_starved = false;
        atomic_store(&tasks->is_open, false);
        cvy_flow_free(&tasks->flow);
        cvy_map_end(map);
        cvy_tasks_tell(pool);
    }
    (void)pthread_mutex_unlock(&pool->turn);
}

void cvy_tasks_free(struct cvy_pool *pool)
{
    if (pool->tasks) {
        cvy_free(pool->tasks->heap);
        cvy_free(pool->tasks);
    }
    pool->tasks = NULL;
}
